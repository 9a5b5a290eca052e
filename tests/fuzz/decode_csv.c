/* CSV: any bytes, framed as the file source does and decoded. The first byte chooses the options.
 * Ends of records must not depend on the chunks, and what is decoded must be readable. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "decode/formats.h"
#include "decode/frame.h"
#include "event/batch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void touch(const struct tr_batch *batch)
{
    volatile unsigned sum = 0;
    for (uint32_t i = 0; i < batch->event_count; i++) {
        const struct tr_event *event = &batch->events[i];
        for (uint16_t c = 0; event->after != NULL && c < event->table->column_count; c++) {
            const struct tr_cell *cell = &event->after[c];
            for (uint32_t k = 0; cell->state == TR_CELL_TEXT && k < cell->len; k++)
                sum += (unsigned char)cell->ptr[k];
        }
    }
}

static void decode(const struct tr_decoder_ops *ops, struct tr_decoder *decoder,
                   struct tr_batch *batch, const char *text, size_t begin, size_t len)
{
    static const struct tr_split split = {.index = 3, .name = "s", .container = "c", .table = "t"};
    struct tr_error err;
    struct tr_message message = {.split = &split,
                                 .position = (int64_t)begin,
                                 .next = (int64_t)(begin + len),
                                 .ts_us = INT64_MIN};
    message.value.len = tr_frame_trim(text + begin, len);
    message.value.ptr = tr_batch_copy(batch, text + begin, message.value.len);
    uint32_t before = batch->event_count;
    if (ops->decode(decoder, &message, batch, &err) == TR_FAIL && batch->event_count != before)
        abort();
    if (batch->event_count + TR_DECODE_EVENTS_MAX + 2 > TR_BATCH_EVENTS_MAX ||
        tr_batch_full(batch)) {
        touch(batch);
        tr_batch_reset(batch);
    }
}

static void run(const struct tr_decoder_options *options, const char *text, size_t size)
{
    const struct tr_decoder_context context = {.pipeline_name = "p", .namespace = "", .schema = ""};
    const struct tr_decoder_ops *ops = tr_decoder_find(TR_DECODE_CSV);
    struct tr_decoder *decoder = NULL;
    struct tr_batch *batch = NULL;
    struct tr_frame whole, bytewise;
    struct tr_error err;
    if (tr_frame_init(&whole, options, &err) != TR_OK ||
        ops->open(options, &context, &decoder, &err) != TR_OK ||
        tr_batch_new(&batch, &err) != TR_OK)
        abort();
    bytewise = whole;
    for (size_t begin = 0; begin < size;) {
        size_t end = tr_frame_end(&whole, text + begin, size - begin), same = 0;
        size_t limit = end > 0 ? end : size - begin;
        for (size_t len = 1; len <= limit && same == 0; len++)
            same = tr_frame_end(&bytewise, text + begin, len);
        if (same != end || tr_frame_is_open(&whole) != tr_frame_is_open(&bytewise))
            abort();
        decode(ops, decoder, batch, text, begin, limit);
        begin += limit;
        tr_frame_start(&whole);
        tr_frame_start(&bytewise);
    }
    touch(batch);
    tr_batch_free(batch);
    ops->close(decoder);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const columns[] = {"id INT", "v STRING", "d DECIMAL(10,2)"};
    struct tr_decoder_options options;
    if (size < 1)
        return 0;
    tr_decoder_options_default(&options);
    options.format = TR_DECODE_CSV;
    options.csv_delimiter = data[0] & 1 ? ";" : ",";
    options.csv_quote = data[0] & 2 ? "" : "\"";
    options.csv_null = data[0] & 4 ? "NULL" : "";
    options.csv_header = !(data[0] & 8);
    if (data[0] & (8 | 16))
        options.columns = (struct tr_string_list){columns, 3};
    char *text = malloc(size > 1 ? size - 1 : 1); /* so that a byte too far is seen */
    if (text == NULL)
        return 0;
    memcpy(text, data + 1, size - 1);
    run(&options, text, size - 1);
    free(text);
    return 0;
}
