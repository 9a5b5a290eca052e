/* Format "maxwell-json", as Maxwell's daemon writes it: a row per message.
 *
 *   message = { database, table, type: word, ts: seconds, data: row, old: changed,
 *               primary_key_columns: [name …], … }
 *   word    = "insert" | "update" | "delete" | "bootstrap-insert" | any other, which has no row
 *
 * old has the columns that an update changed: what it does not name is as it was. DDL (table-create
 * …) and the ends of a bootstrap give no event. */
#include <stdlib.h>
#include <string.h>

#include "decode/format_common.h"

struct tr_decoder {
    struct tr_format base;
};

struct work {
    struct tr_decoder *decoder;
    struct tr_rows_input input;
    enum tr_op op;
    const struct tr_json_node *data, *old; /* NULL: not there, or null */
    struct tr_cell *before, *after;
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

static const struct tr_json_node *part(const struct tr_json_doc *doc, const char *name)
{
    const struct tr_json_node *node = tr_json_member(doc, &doc->nodes[0], name);
    return node == NULL || node->kind == TR_JSON_NULL ? NULL : node;
}

static struct tr_slice text_of(const struct tr_json_doc *doc, const char *name)
{
    const struct tr_json_node *node = part(doc, name);
    if (node == NULL || node->kind != TR_JSON_STRING || (node->flags & TR_JSON_ESCAPED) != 0)
        return (struct tr_slice){"", 0};
    return (struct tr_slice){node->ptr, node->len};
}

static bool is_word(struct tr_slice text, const char *word)
{
    return text.len == strlen(word) && memcmp(text.ptr, word, text.len) == 0;
}

static enum tr_status fill(void *context, struct tr_rows_table *table, struct tr_error *err)
{
    struct work *work = context;
    const struct tr_json_doc *doc = &work->decoder->base.doc;
    bool is_delete = work->op == TR_OP_DELETE;
    if (tr_rows_object(table, &work->input, doc, work->data, is_delete ? TR_ROWS_KEY : TR_ROWS_FULL,
                       is_delete ? &work->before : &work->after, err) != TR_OK)
        return TR_FAIL;
    if (work->op != TR_OP_UPDATE || work->old == NULL)
        return TR_OK;
    return tr_format_old_image(table, &work->input, doc, work->old, work->after, &work->before,
                               err);
}

/* TR_AGAIN: a message without a row. */
static enum tr_status read_envelope(struct work *work, struct tr_error *err)
{
    const struct tr_json_doc *doc = &work->decoder->base.doc;
    if (doc->nodes[0].kind != TR_JSON_OBJECT)
        return tr_format_envelope(err, doc, NULL, "the message is not a JSON object");
    struct tr_slice type = text_of(doc, "type");
    if (type.len == 0)
        return tr_format_envelope(err, doc, NULL, "the message has no \"type\"");
    if (is_word(type, "insert"))
        work->op = TR_OP_CREATE;
    else if (is_word(type, "bootstrap-insert"))
        work->op = TR_OP_READ;
    else if (is_word(type, "update"))
        work->op = TR_OP_UPDATE;
    else if (is_word(type, "delete"))
        work->op = TR_OP_DELETE;
    else
        return TR_AGAIN;
    work->data = part(doc, "data");
    work->old = part(doc, "old");
    if (work->data == NULL || work->data->kind != TR_JSON_OBJECT)
        return tr_format_envelope(err, doc, work->data, "\"data\" is not an object");
    if (work->old != NULL && work->old->kind != TR_JSON_OBJECT)
        return tr_format_envelope(err, doc, work->old, "\"old\" is not an object");
    return TR_OK;
}

static enum tr_status find_table(const struct work *work, const struct tr_message *message,
                                 struct tr_rows_table **table, struct tr_error *err)
{
    const struct tr_format *base = &work->decoder->base;
    const struct tr_json_doc *doc = &base->doc;
    struct tr_slice keys[TR_ROWS_KEY_MAX];
    size_t key_count;
    if ((base->table_given
             ? tr_rows_table_of_message(base->rows, message, table, err)
             : tr_rows_table(base->rows, (struct tr_slice){"", 0}, text_of(doc, "database"),
                             text_of(doc, "table"), table, err)) != TR_OK)
        return TR_FAIL;
    const struct tr_json_node *names = part(doc, "primary_key_columns");
    if (names == NULL)
        return TR_OK;
    if (!tr_format_strings(doc, names, keys, TR_ROWS_KEY_MAX, &key_count))
        return tr_format_envelope(err, doc, names,
                                  "\"primary_key_columns\" is not a list of column names");
    return tr_rows_set_key(*table, keys, key_count, err);
}

static enum tr_status decode_row(struct work *work, const struct tr_message *message,
                                 struct tr_error *err)
{
    struct tr_decoder *decoder = work->decoder;
    struct tr_rows_table *table;
    if (message->value.ptr == NULL)
        return TR_OK; /* a tombstone, for the log's compaction */
    if (tr_format_parse(&decoder->base.doc, message->value, 2, err) != TR_OK)
        return TR_FAIL;
    enum tr_status status = read_envelope(work, err);
    if (status != TR_OK)
        return status == TR_AGAIN ? TR_OK : TR_FAIL;
    if (find_table(work, message, &table, err) != TR_OK ||
        tr_rows_settle(table, fill, work, err) != TR_OK)
        return TR_FAIL;
    int64_t ts_us = tr_format_time(part(&decoder->base.doc, "ts"), 1);
    const struct tr_format_row row = {work->op, work->before, work->after, 0};
    return tr_format_rows(table, work->input.batch, &row, 1,
                          ts_us == TR_TIME_NONE ? message->ts_us : ts_us, err);
}

static enum tr_status decode(struct tr_decoder *decoder, const struct tr_message *message,
                             struct tr_batch *batch, struct tr_error *err)
{
    uint32_t first = batch->event_count;
    struct work work = {.decoder = decoder, .input = {.batch = batch, .text = message->value.ptr}};
    return tr_format_end(decoder->base.rows, batch, first, decode_row(&work, message, err));
}

extern const struct tr_decoder_ops tr_decoder_maxwell_json;
const struct tr_decoder_ops tr_decoder_maxwell_json = {
    .name = "maxwell-json",
    .summary = "Maxwell's envelope: a row per message",
    .open = open_decoder,
    .restore = tr_format_restore,
    .decode = decode,
    .schema_marks = tr_format_marks,
    .close = tr_format_close,
};
