/* Fuzz target: an Avro schema, a NUL, and a value's bytes. The registry gives the schema for every
 * ID. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "decode/formats.h"
#include "event/batch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum tr_status registry(void *context, uint32_t id, char **text, struct tr_error *err)
{
    (void)id;
    *text = strdup(context);
    return *text != NULL ? TR_OK : tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory");
}

static void decode(struct tr_decoder *decoder, struct tr_batch *batch, struct tr_slice value)
{
    static const struct tr_split split = {.name = "t/0", .container = "t", .table = "t"};
    const struct tr_message message = {&split, 0, 1, 0, value, value};
    const struct tr_decoder_ops *ops = tr_decoder_find(TR_DECODE_AVRO);
    const struct tr_mark *marks;
    uint32_t count;
    struct tr_error err;
    if (ops->decode(decoder, &message, batch, &err) != TR_OK && batch->event_count != 0)
        abort();
    for (uint32_t i = 0; i < batch->event_count; i++) {
        const struct tr_event *event = &batch->events[i];
        for (int image = 0; event->table != NULL && image < 2; image++) {
            const struct tr_cell *cells = image == 0 ? event->before : event->after;
            for (uint16_t k = 0; cells != NULL && k < event->table->column_count; k++) {
                volatile char byte = 0; /* every byte must be there to be read */
                if (cells[k].state == TR_CELL_TEXT || cells[k].state == TR_CELL_BINARY) {
                    for (uint32_t at = 0; at < cells[k].len; at++)
                        byte = cells[k].ptr[at];
                }
                (void)byte;
            }
        }
    }
    (void)ops->schema_marks(decoder, batch, &marks, &count, &err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *nul = size == 0 ? NULL : memchr(data, '\0', size);
    if (nul == NULL)
        return 0;
    size_t text_len = (size_t)(nul - data), len = size - text_len - 1;
    char *text = strndup((const char *)data, text_len), *value = calloc(1, len + 5);
    struct tr_decoder_options options;
    struct tr_decoder *decoder = NULL;
    struct tr_batch *batch = NULL;
    struct tr_error err;
    tr_decoder_options_default(&options);
    const struct tr_decoder_context context = {.pipeline_name = "p",
                                               .namespace = "",
                                               .schema = "",
                                               .registry_schema = registry,
                                               .registry = text};
    if (text != NULL && value != NULL && tr_batch_new(&batch, &err) == TR_OK &&
        tr_decoder_find(TR_DECODE_AVRO)->open(&options, &context, &decoder, &err) == TR_OK) {
        memcpy(value + 5, nul + 1, len);
        decode(decoder, batch, (struct tr_slice){value, len + 5});
        tr_batch_reset(batch);
        decode(decoder, batch, (struct tr_slice){value, len + 5});
    }
    tr_decoder_find(TR_DECODE_AVRO)->close(decoder);
    tr_batch_free(batch);
    free(text);
    free(value);
    return 0;
}
