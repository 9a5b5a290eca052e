/* Format "canal-json", as Alibaba's Canal and TiCDC write it: many rows of one table in a message.
 *
 *   message = { data: [row …], old: [changed …] | null, type: word, database, table, pkNames: [name
 * …], mysqlType: { column: type … }, es: ms, ts: ms, isDdl: bool, … } word    = "INSERT" | "UPDATE"
 * | "DELETE" | any other, which is DDL
 *
 * Values are strings or null; mysqlType says what they are, and without it they stay strings. old
 * has the columns that an update changed, in the order of data: what it does not name is as it was,
 * so the image before is whole. DDL gives no event: the schema follows the data. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "decode/format_common.h"
#include "decode/rows_columns.h"

#define MS_PER_SECOND 1000
#define TYPE_BYTES_MAX 64

struct tr_decoder {
    struct tr_format base;
    struct tr_format_row rows[TR_ROWS_MESSAGE_MAX];
};

struct work {
    struct tr_decoder *decoder;
    struct tr_rows_input input;
    enum tr_op op;
    const struct tr_json_node *data, *old, *types; /* NULL: not there, or null */
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

/* ---- MySQL's types -------------------------------------------------------------------------- */

/* "decimal(10,2)" → 10, 2 */
static void type_digits(const char *text, int32_t *precision, int32_t *scale)
{
    const char *open = strchr(text, '(');
    int p = 0, s = 0;
    if (open != NULL && sscanf(open, "(%4d,%4d", &p, &s) >= 1 && p > 0 && s >= 0 && s <= p) {
        *precision = p;
        *scale = s;
    }
}

/* What is not known here is STRING: its text is kept as it is. Unsigned integers get the next
 * larger type. Bytes come as a string of one character a byte, which only its reader can tell from
 * text: they are STRING too. */
static void mysql_type(const char *text, struct tr_column *column)
{
    static const struct {
        const char *word;
        enum tr_type type, unsigned_type;
    } words[] = {{"tinyint", TR_T_INT8, TR_T_INT16},
                 {"smallint", TR_T_INT16, TR_T_INT32},
                 {"mediumint", TR_T_INT32, TR_T_INT32},
                 {"int", TR_T_INT32, TR_T_INT64},
                 {"integer", TR_T_INT32, TR_T_INT64},
                 {"bigint", TR_T_INT64, TR_T_UINT64},
                 {"year", TR_T_INT32, TR_T_INT32},
                 {"float", TR_T_FLOAT32, TR_T_FLOAT32},
                 {"double", TR_T_FLOAT64, TR_T_FLOAT64},
                 {"decimal", TR_T_DECIMAL, TR_T_DECIMAL},
                 {"numeric", TR_T_DECIMAL, TR_T_DECIMAL},
                 {"date", TR_T_DATE, TR_T_DATE},
                 {"datetime", TR_T_TIMESTAMP, TR_T_TIMESTAMP},
                 {"timestamp", TR_T_TIMESTAMP, TR_T_TIMESTAMP},
                 {"json", TR_T_JSON, TR_T_JSON}};
    size_t len = strcspn(text, "( ");
    bool is_unsigned = strcasestr(text, "unsigned") != NULL;
    column->type = TR_T_STRING;
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (strlen(words[i].word) == len && strncasecmp(words[i].word, text, len) == 0)
            column->type = is_unsigned ? words[i].unsigned_type : words[i].type;
    }
    if (column->type == TR_T_DECIMAL)
        type_digits(text, &column->precision, &column->scale);
    if (column->type == TR_T_TIMESTAMP)
        column->precision = -1;
}

static enum tr_status declare_columns(const struct work *work, struct tr_rows_table *table,
                                      struct tr_error *err)
{
    const struct tr_json_doc *doc = &work->decoder->base.doc;
    const struct tr_json_node *name = work->types + 1;
    for (uint32_t i = 0; i < work->types->count; i++, name = &doc->nodes[name[1].next]) {
        char text[TYPE_BYTES_MAX], own[TR_ROWS_NAME_BYTES_MAX + 1];
        const struct tr_json_node *type = name + 1;
        struct tr_column column = {
            .elem_type = TR_T_OTHER, .source_typmod = -1, .nullable = true, .name = own};
        int index;
        if (type->kind != TR_JSON_STRING || name->len == 0 || name->len > TR_ROWS_NAME_BYTES_MAX ||
            (name->flags & TR_JSON_NUL) != 0)
            continue;
        own[tr_json_unescape(name, own)] = '\0';
        size_t len = type->len < sizeof text ? type->len : sizeof text - 1;
        memcpy(text, type->ptr, len);
        text[len] = '\0';
        mysql_type(text, &column);
        if (tr_rows_declare(table, &column, &index, err) != TR_OK)
            return TR_FAIL;
    }
    return TR_OK;
}

/* ---- rows ----------------------------------------------------------------------------------- */

static enum tr_status fill(void *context, struct tr_rows_table *table, struct tr_error *err)
{
    struct work *work = context;
    struct tr_decoder *decoder = work->decoder;
    const struct tr_json_doc *doc = &decoder->base.doc;
    const struct tr_json_node *row = work->data + 1,
                              *old = work->old == NULL ? NULL : work->old + 1;
    if (work->types != NULL && declare_columns(work, table, err) != TR_OK)
        return TR_FAIL;
    for (uint32_t i = 0; i < work->data->count; i++) {
        struct tr_format_row *out = &decoder->rows[i];
        struct tr_cell *cells;
        bool is_delete = work->op == TR_OP_DELETE;
        if (row->kind != TR_JSON_OBJECT)
            return tr_format_envelope(err, doc, row, "a row in \"data\" is not an object");
        if (tr_rows_object(table, &work->input, doc, row, is_delete ? TR_ROWS_KEY : TR_ROWS_FULL,
                           &cells, err) != TR_OK)
            return TR_FAIL;
        *out =
            (struct tr_format_row){work->op, is_delete ? cells : NULL, is_delete ? NULL : cells, 0};
        if (work->op == TR_OP_UPDATE && old != NULL && old->kind == TR_JSON_OBJECT &&
            tr_format_old_image(table, &work->input, doc, old, cells, &out->before, err) != TR_OK)
            return TR_FAIL;
        row = &doc->nodes[row->next];
        old = old == NULL ? NULL : &doc->nodes[old->next];
    }
    return TR_OK;
}

static struct tr_slice text_of(const struct tr_json_doc *doc, const char *name)
{
    const struct tr_json_node *node = tr_json_member(doc, &doc->nodes[0], name);
    if (node == NULL || node->kind != TR_JSON_STRING || (node->flags & TR_JSON_ESCAPED) != 0)
        return (struct tr_slice){"", 0};
    return (struct tr_slice){node->ptr, node->len};
}

static bool is_word(struct tr_slice text, const char *word)
{
    return text.len == strlen(word) && strncasecmp(text.ptr, word, text.len) == 0;
}

static const struct tr_json_node *unless_null(const struct tr_json_node *node)
{
    return node == NULL || node->kind == TR_JSON_NULL ? NULL : node;
}

/* TR_AGAIN: a message without rows. */
static enum tr_status read_envelope(struct work *work, struct tr_error *err)
{
    const struct tr_json_doc *doc = &work->decoder->base.doc;
    const struct tr_json_node *top = &doc->nodes[0];
    if (top->kind != TR_JSON_OBJECT)
        return tr_format_envelope(err, doc, NULL, "the message is not a JSON object");
    struct tr_slice type = text_of(doc, "type");
    const struct tr_json_node *ddl = tr_json_member(doc, top, "isDdl");
    if (type.len == 0)
        return tr_format_envelope(err, doc, NULL, "the message has no \"type\"");
    if (ddl != NULL && ddl->kind == TR_JSON_TRUE)
        return TR_AGAIN;
    if (is_word(type, "INSERT"))
        work->op = TR_OP_CREATE;
    else if (is_word(type, "UPDATE"))
        work->op = TR_OP_UPDATE;
    else if (is_word(type, "DELETE"))
        work->op = TR_OP_DELETE;
    else
        return TR_AGAIN;
    work->data = unless_null(tr_json_member(doc, top, "data"));
    work->old = unless_null(tr_json_member(doc, top, "old"));
    work->types = unless_null(tr_json_member(doc, top, "mysqlType"));
    if (work->data == NULL || work->data->kind != TR_JSON_ARRAY)
        return tr_format_envelope(err, doc, work->data, "\"data\" is not an array");
    if (work->types != NULL && work->types->kind != TR_JSON_OBJECT)
        return tr_format_envelope(err, doc, work->types, "\"mysqlType\" is not an object");
    if (work->old != NULL &&
        (work->old->kind != TR_JSON_ARRAY || work->old->count != work->data->count))
        return tr_format_envelope(err, doc, work->old, "\"old\" has not one entry for each row");
    if (work->data->count > TR_ROWS_MESSAGE_MAX)
        return tr_fail(err, TR_E_MESSAGE_LIMIT, "the message has %u rows, more than %d",
                       work->data->count, TR_ROWS_MESSAGE_MAX);
    return work->data->count == 0 ? TR_AGAIN : TR_OK;
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
    const struct tr_json_node *names = unless_null(tr_json_member(doc, &doc->nodes[0], "pkNames"));
    if (names == NULL)
        return TR_OK;
    if (!tr_format_strings(doc, names, keys, TR_ROWS_KEY_MAX, &key_count))
        return tr_format_envelope(err, doc, names, "\"pkNames\" is not a list of column names");
    return tr_rows_set_key(*table, keys, key_count, err);
}

static enum tr_status decode_rows(struct work *work, const struct tr_message *message,
                                  struct tr_error *err)
{
    struct tr_decoder *decoder = work->decoder;
    const struct tr_json_doc *doc = &decoder->base.doc;
    struct tr_rows_table *table;
    if (message->value.ptr == NULL)
        return TR_OK; /* a tombstone, for the log's compaction */
    if (tr_format_parse(&decoder->base.doc, message->value, 3, err) != TR_OK)
        return TR_FAIL;
    enum tr_status status = read_envelope(work, err);
    if (status != TR_OK)
        return status == TR_AGAIN ? TR_OK : TR_FAIL;
    if (find_table(work, message, &table, err) != TR_OK ||
        tr_rows_settle(table, fill, work, err) != TR_OK)
        return TR_FAIL;
    int64_t ts_us = tr_format_time(tr_json_member(doc, &doc->nodes[0], "es"), MS_PER_SECOND);
    if (ts_us == TR_TIME_NONE)
        ts_us = tr_format_time(tr_json_member(doc, &doc->nodes[0], "ts"), MS_PER_SECOND);
    return tr_format_rows(table, work->input.batch, decoder->rows, work->data->count,
                          ts_us == TR_TIME_NONE ? message->ts_us : ts_us, err);
}

static enum tr_status decode(struct tr_decoder *decoder, const struct tr_message *message,
                             struct tr_batch *batch, struct tr_error *err)
{
    uint32_t first = batch->event_count;
    struct work work = {
        .decoder = decoder,
        .input = {.batch = batch, .text = message->value.ptr, .json_in_strings = true}};
    return tr_format_end(decoder->base.rows, batch, first, decode_rows(&work, message, err));
}

extern const struct tr_decoder_ops tr_decoder_canal_json;
const struct tr_decoder_ops tr_decoder_canal_json = {
    .name = "canal-json",
    .summary = "Canal's and TiCDC's envelope: rows of one table with their MySQL types",
    .open = open_decoder,
    .restore = tr_format_restore,
    .decode = decode,
    .schema_marks = tr_format_marks,
    .close = tr_format_close,
};
