/* A format of messages (FUZZ_FORMAT) on any bytes. The first byte chooses options; then lines, each
 * a message: "K" + key line sets the key of the next one, an empty line is a tombstone. Whatever
 * comes: a failed message leaves nothing in the batch, cells are in their type's form, a schema
 * that was published can be stored and restored, and a restored decoder goes on. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/outbuf.h"
#include "decode/formats.h"
#include "decode/json_number.h"
#include "decode/json_reader.h"
#include "decode/json_time.h"
#include "event/batch.h"
#include "event/state.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define LINES_MAX 64

static void require(bool good)
{
    if (!good)
        abort();
}

static void check_cell(const struct tr_column *column, const struct tr_cell *cell)
{
    struct tr_number number;
    struct tr_moment moment;
    if (cell->state == TR_CELL_BINARY)
        require(column->type == TR_T_BYTES);
    if (cell->state != TR_CELL_TEXT)
        return;
    switch (column->type) {
    case TR_T_BOOLEAN:
        require(cell->len == 1 && (cell->ptr[0] == 't' || cell->ptr[0] == 'f'));
        break;
    case TR_T_INT8:
    case TR_T_INT16:
    case TR_T_INT32:
    case TR_T_INT64: {
        char out[TR_NUMBER_TEXT_BYTES];
        int64_t value;
        require(tr_number_parse(cell->ptr, cell->len, &number) && tr_number_int64(&number, &value));
        require(tr_i64_text(value, out) == cell->len &&
                memcmp(out, cell->ptr, cell->len) == 0);
        break;
    }
    case TR_T_DECIMAL:
        require(memchr(cell->ptr, 'e', cell->len) == NULL &&
                tr_number_parse(cell->ptr, cell->len, &number));
        require(memcmp(cell->ptr, "-0", cell->len < 2 ? 1 : 2) != 0 || number.first < number.last);
        break;
    case TR_T_TIMESTAMP:
    case TR_T_TIMESTAMPTZ:
    case TR_T_DATE:
        require(tr_moment_parse(cell->ptr, cell->len, &moment) && moment.has_date);
        break;
    case TR_T_BYTES:
        require(false);
        break;
    default:
        require(tr_utf8_valid(cell->ptr, cell->len));
    }
}

static void check_image(const struct tr_table *table, const struct tr_cell *cells)
{
    for (uint16_t i = 0; cells != NULL && i < table->column_count; i++)
        check_cell(&table->columns[i], &cells[i]);
}

static void check_events(const struct tr_batch *batch)
{
    require(batch->event_count <= TR_DECODE_EVENTS_MAX);
    for (uint32_t i = 0; i < batch->event_count; i++) {
        const struct tr_event *event = &batch->events[i];
        require(event->table != NULL);
        if (event->op == TR_OP_SCHEMA)
            continue;
        require(event->op == TR_OP_TRUNCATE || event->after != NULL || event->op == TR_OP_DELETE);
        require(event->op != TR_OP_DELETE || event->before != NULL);
        check_image(event->table, event->before);
        check_image(event->table, event->after);
        for (uint16_t k = 0; event->after != NULL && k < event->table->key_count; k++)
            require(event->after[event->table->key_columns[k]].state >= TR_CELL_TEXT);
    }
}

static void set_options(struct tr_decoder_options *options, struct tr_decoder_context *context,
                        uint8_t choice)
{
    static const char *const columns[] = {
        "id INT NOT NULL",  "b BOOLEAN", "n DECIMAL(6,2)", "d DOUBLE",   "f FLOAT",
        "v VARCHAR(3)",     "y BYTES",   "da DATE",        "ti TIME(3)", "ts TIMESTAMP(3)",
        "tz TIMESTAMP_LTZ", "j JSON",    "u UUID",         "big BIGINT", "t TINYINT"};
    static const char *const keys[] = {"id"};
    tr_decoder_options_default(options);
    *context = (struct tr_decoder_context){.pipeline_name = "fuzz"};
    options->format = FUZZ_FORMAT;
    if ((choice & 1) != 0)
        options->columns = (struct tr_string_list){columns, sizeof columns / sizeof columns[0]};
    if ((choice & 2) != 0)
        options->primary_keys = (struct tr_string_list){keys, 1};
    if ((choice & 4) != 0)
        options->unknown_fields = TR_UNKNOWN_EVOLVE;
    context->take_key = (choice & 8) != 0;
    if ((choice & 16) != 0)
        context->table = "users";
    options->fail_on_missing_field = (choice & 32) != 0;
    if ((choice & 64) != 0)
        options->table_field = "table";
}

/* Closes the decoder and gives one that was restored from its marks. */
static struct tr_decoder *reopen(const struct tr_decoder_ops *ops, struct tr_decoder *decoder,
                                 const struct tr_decoder_options *options,
                                 const struct tr_decoder_context *context, struct tr_batch *batch)
{
    struct tr_error err;
    struct tr_state state;
    const struct tr_mark *marks;
    uint32_t count;
    tr_state_init(&state);
    require(ops->schema_marks(decoder, batch, &marks, &count, &err) == TR_OK);
    for (uint32_t i = 0; i < count; i++)
        require(tr_state_apply(&state, marks[i].key, marks[i].value, &err) == TR_OK);
    ops->close(decoder);
    require(ops->open(options, context, &decoder, &err) == TR_OK);
    require(ops->restore(decoder, &state, &err) == TR_OK);
    tr_state_free(&state);
    return decoder;
}

static void feed(const struct tr_decoder_ops *ops, struct tr_decoder *decoder,
                 struct tr_batch *batch, struct tr_slice key, struct tr_slice value)
{
    static const struct tr_split split = {.name = "topic/0", .container = "topic"};
    struct tr_message message = {
        .split = &split, .ts_us = TR_TIME_NONE, .key = key, .value = value};
    struct tr_error err;
    tr_batch_reset(batch);
    if (ops->decode(decoder, &message, batch, &err) == TR_OK)
        check_events(batch);
    else
        require(batch->event_count == 0 && err.class == TR_DATA);
}

static void run_lines(const struct tr_decoder_ops *ops, struct tr_decoder **decoder,
                      const struct tr_decoder_options *options,
                      const struct tr_decoder_context *context, struct tr_batch *batch,
                      struct tr_slice text)
{
    const char *at = text.ptr, *end = text.ptr + text.len;
    struct tr_slice key = {NULL, 0};
    for (int i = 0; i < LINES_MAX && at < end; i++) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        size_t len = (size_t)((newline == NULL ? end : newline) - at);
        if (len > 0 && at[0] == 'K') {
            key = (struct tr_slice){at + 1, len - 1};
        } else {
            feed(ops, *decoder, batch, key,
                 len == 0 ? (struct tr_slice){NULL, 0} : (struct tr_slice){at, len});
            key = (struct tr_slice){NULL, 0};
        }
        at += len + (newline != NULL);
    }
    *decoder = reopen(ops, *decoder, options, context, batch);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct tr_batch *batch;
    const struct tr_decoder_ops *ops = tr_decoder_find(FUZZ_FORMAT);
    struct tr_decoder_options options;
    struct tr_decoder_context context;
    struct tr_decoder *decoder;
    struct tr_error err;
    if (size == 0)
        return 0;
    if (batch == NULL)
        require(tr_batch_new(&batch, &err) == TR_OK);
    set_options(&options, &context, data[0]);
    require(ops->open(&options, &context, &decoder, &err) == TR_OK);
    struct tr_slice text = {(const char *)data + 1, size - 1};
    run_lines(ops, &decoder, &options, &context, batch, text);
    run_lines(ops, &decoder, &options, &context, batch, text); /* what was restored goes on */
    tr_batch_reset(batch);
    ops->close(decoder);
    return 0;
}
