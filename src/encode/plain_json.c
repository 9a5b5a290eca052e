/* "json": the row itself, {"column":value,…}, for consumers that want the state and not the change.
 *
 *   create, update, snapshot row → the after image
 *   delete → nothing, a tombstone (the sink's part), or the before image with "__deleted":"true"
 *   truncate, message → nothing: a flattened row has no place for them
 *
 * With json.include-metadata: "__op", "__table", "__ts_ms", "__lsn" at the end. A value that the
 * source did not send shows as the placeholder; a column that a before image lacks is left out. */
#include "encode/encode.h"
#include "encode/encoder.h"
#include "encode/json.h"

static enum tr_status plain_open(const void *options, const struct tr_format_context *context,
                                 struct tr_encoder **encoder, struct tr_error *err)
{
    return tr_encoder_open(options, context, tr_shape_plain, encoder, err);
}

static bool rewrites(const struct tr_encoder *encoder)
{
    int mode = encoder->options->delete_mode;
    return mode == TR_DELETE_REWRITE || mode == TR_DELETE_REWRITE_WITH_TOMBSTONE;
}

static void write_metadata(const struct tr_event *event, const struct tr_template *tpl, bool first,
                           struct tr_outbuf *out)
{
    uint64_t lsn = event->position != 0 ? event->position : event->commit_position;
    char op[] = "\"__op\":\"?\",\"__table\":";
    op[sizeof "\"__op\":\"" - 1] = (char)event->op;
    if (!first)
        tr_outbuf_byte(out, ',');
    tr_outbuf_bytes(out, op, sizeof op - 1);
    tr_outbuf_bytes(out, tpl->table_name.ptr, tpl->table_name.len);
    tr_outbuf_lit(out, ",\"__ts_ms\":");
    tr_outbuf_i64(out, event->ts_us / 1000 - (event->ts_us % 1000 < 0));
    tr_outbuf_lit(out, ",\"__lsn\":");
    tr_outbuf_u64(out, lsn);
}

static enum tr_status plain_value(struct tr_encoder *encoder, const struct tr_event *event,
                                  int64_t now_us, struct tr_outbuf *out, struct tr_error *err)
{
    (void)now_us;
    bool deleted = event->op == TR_OP_DELETE;
    if (tr_encoder_skips(encoder, event) || strchr("cudr", event->op) == NULL ||
        event->table == NULL || (deleted && !rewrites(encoder)))
        return TR_AGAIN;
    const struct tr_cell *cells = deleted ? event->before : event->after;
    if (cells == NULL)
        return TR_AGAIN;
    const struct tr_template *tpl;
    if (tr_template_get(&encoder->templates, event->table, &tpl, err) != TR_OK)
        return TR_FAIL;
    bool first = true;
    tr_outbuf_byte(out, '{');
    for (size_t i = 0; i < tpl->table->column_count; i++) {
        if (cells[i].state == TR_CELL_ABSENT)
            continue;
        if (!first)
            tr_outbuf_byte(out, ',');
        first = false;
        tr_outbuf_bytes(out, tpl->columns[i].bare.ptr, tpl->columns[i].bare.len);
        if (cells[i].state == TR_CELL_UNCHANGED) {
            tr_json_string(out, encoder->options->unavailable_placeholder,
                           strlen(encoder->options->unavailable_placeholder));
        } else if (tr_encoder_value(encoder, event, tpl, i, &cells[i], out, err) != TR_OK) {
            return TR_FAIL;
        }
    }
    if (rewrites(encoder)) {
        tr_outbuf_str(out, first ? "\"__deleted\":" : ",\"__deleted\":");
        tr_outbuf_str(out, deleted ? "\"true\"" : "\"false\"");
        first = false;
    }
    if (encoder->options->json_metadata)
        write_metadata(event, tpl, first, out);
    tr_outbuf_byte(out, '}');
    return tr_encoder_finish(encoder, event, out, err);
}

const struct tr_format_ops tr_format_plain_json = {
    .name = "json",
    .open = plain_open,
    .encode_key = tr_encoder_row_key,
    .encode_value = plain_value,
    .close = tr_encoder_close,
};
