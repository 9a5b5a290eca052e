/* Fuzz target: a stored table schema. What is accepted must survive its own text form. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "event/table_text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tr_table *table = NULL, *again = NULL;
    struct tr_outbuf first = {0}, second = {0};
    struct tr_error err;
    char *text = malloc(size + 1);
    if (text == NULL)
        return 0;
    if (size > 0)
        memcpy(text, data, size);
    text[size] = '\0';
    if (tr_table_decode(text, &table, &err) == TR_OK) {
        tr_table_encode(table, &first);
        if (tr_table_decode(tr_outbuf_cstr(&first), &again, &err) != TR_OK)
            abort();
        tr_table_encode(again, &second);
        if (strcmp(tr_outbuf_cstr(&first), tr_outbuf_cstr(&second)) != 0)
            abort();
    }
    tr_table_unref(table);
    tr_table_unref(again);
    tr_outbuf_free(&first);
    tr_outbuf_free(&second);
    free(text);
    return 0;
}
