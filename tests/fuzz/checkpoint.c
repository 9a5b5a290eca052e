/* Fuzz target: the text of checkpoints and manifests. Each input is read as it is, and once more
 * with its checksum made right, so that what lies behind the checksum is reached too. What is good
 * must be written back byte for byte. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/outbuf.h"
#include "event/marks_text.h"

#define MAGIC "tailrace-checkpoint"
#define HASH_BYTES 17u /* digits and newline */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const char *data, size_t len)
{
    struct tr_marks_stamp stamp;
    struct tr_state marks;
    const char *why;
    uint32_t line;
    tr_state_init(&marks);
    if (tr_marks_text_parse(MAGIC, data, len, &stamp, &marks, &why, &line) == TR_MARKS_GOOD) {
        struct tr_outbuf again = {0};
        if (!tr_marks_text_format(MAGIC, &stamp, &marks, &again) || again.len != len ||
            memcmp(again.data, data, len) != 0)
            abort();
        tr_outbuf_free(&again);
    }
    tr_state_free(&marks);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check((const char *)data, size);
    if (size < HASH_BYTES)
        return 0;
    char *fixed = malloc(size);
    if (fixed == NULL)
        return 0;
    char digits[HASH_BYTES + 1];
    memcpy(fixed, data, size);
    (void)snprintf(digits, sizeof digits, "%016llx\n",
                   (unsigned long long)XXH3_64bits(fixed, size - HASH_BYTES));
    memcpy(fixed + size - HASH_BYTES, digits, HASH_BYTES);
    check(fixed, size);
    free(fixed);
    return 0;
}
