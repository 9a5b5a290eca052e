/* Format "json": a message is a row.
 *
 *   message   = object                  → CREATE with its members
 *             | no value (a tombstone)  → DELETE of the row that the message's key names */
#include <stdlib.h>

#include "decode/format_common.h"

struct tr_decoder {
    struct tr_format base;
};

struct work {
    struct tr_decoder *decoder;
    struct tr_rows_input input;
    bool is_delete;
    struct tr_cell *cells;
};

static enum tr_status open_decoder(const void *options, const struct tr_decoder_context *context,
                                   struct tr_decoder **out, struct tr_error *err)
{
    struct tr_decoder *decoder = calloc(1, sizeof *decoder);
    if (decoder == NULL)
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for a decoder");
    if (tr_format_init(&decoder->base, options, context, NULL, 0, err) != TR_OK) {
        tr_format_close(decoder);
        return TR_FAIL;
    }
    *out = decoder;
    return TR_OK;
}

static enum tr_status fill(void *context, struct tr_rows_table *table, struct tr_error *err)
{
    struct work *work = context;
    const struct tr_json_doc *doc = &work->decoder->base.doc;
    if (work->is_delete)
        return tr_format_key_image(table, &work->input, &work->cells, err);
    return tr_rows_object(table, &work->input, doc, &doc->nodes[0], TR_ROWS_FULL, &work->cells,
                          err);
}

static enum tr_status decode_row(struct work *work, const struct tr_message *message,
                                 struct tr_error *err)
{
    struct tr_decoder *decoder = work->decoder;
    struct tr_rows_table *table;
    if (!work->is_delete) {
        if (tr_format_parse(&decoder->base.doc, message->value, 1, err) != TR_OK)
            return TR_FAIL;
        if (decoder->base.doc.nodes[0].kind != TR_JSON_OBJECT)
            return tr_format_envelope(err, &decoder->base.doc, NULL,
                                      "the message is not a JSON object");
    }
    if (tr_rows_table_of_message(decoder->base.rows, message, &table, err) != TR_OK ||
        tr_rows_settle(table, fill, work, err) != TR_OK)
        return TR_FAIL;
    const struct tr_format_row row = {.op = work->is_delete ? TR_OP_DELETE : TR_OP_CREATE,
                                      .before = work->is_delete ? work->cells : NULL,
                                      .after = work->is_delete ? NULL : work->cells};
    return tr_format_rows(table, work->input.batch, &row, 1, message->ts_us, err);
}

static enum tr_status decode(struct tr_decoder *decoder, const struct tr_message *message,
                             struct tr_batch *batch, struct tr_error *err)
{
    uint32_t first = batch->event_count;
    struct work work = {.decoder = decoder,
                        .input = {.batch = batch, .text = message->value.ptr},
                        .is_delete = message->value.ptr == NULL};
    if (work.is_delete || decoder->base.take_key) {
        work.input.key = message->key;
        work.input.key_plain = decoder->base.take_key;
    }
    return tr_format_end(decoder->base.rows, batch, first, decode_row(&work, message, err));
}

extern const struct tr_decoder_ops tr_decoder_json;
const struct tr_decoder_ops tr_decoder_json = {
    .name = "json",
    .summary = "a row per message; a message without value deletes the row of its key",
    .open = open_decoder,
    .restore = tr_format_restore,
    .decode = decode,
    .schema_marks = tr_format_marks,
    .close = tr_format_close,
};
