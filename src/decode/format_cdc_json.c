/* Format "cdc-json": a plain change envelope.
 *
 *   message = { op: word, before: object | null, after: object | null, timestamp: string | number,
 * … } word    = "c" | "create" | "insert" | "u" | "update" | "d" | "delete" | "r" | "read", in any
 * case
 *
 *   c, r   after is the row; before is not looked at
 *   u      after is the row; before may be null or have some of the columns only: the others are
 * ABSENT d      before names the row, else the message's key does; after is not looked at a message
 * without a value (a tombstone) deletes the row of its key
 *
 * The fields have the names that the options give. op and timestamp are hidden columns behind the
 * row's, so that transforms can name them. Members that the envelope does not know are not looked
 * at. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "decode/format_common.h"
#include "decode/rows_cell.h"

#define MS_PER_SECOND 1000

enum part { PART_OP, PART_BEFORE, PART_AFTER, PART_TIMESTAMP, PART_TABLE, PART_COUNT };
enum { HIDDEN_OP, HIDDEN_TIMESTAMP, HIDDEN_COUNT };

struct tr_decoder {
    struct tr_format base;
    struct tr_slice names[PART_COUNT]; /* ptr NULL: no such field */
};

struct work {
    struct tr_decoder *decoder;
    const struct tr_message *message;
    struct tr_rows_input input;
    const struct tr_json_node *parts[PART_COUNT]; /* NULL: not there, or null */
    enum tr_op op;
    struct tr_cell *before, *after;
    struct tr_cell hidden[HIDDEN_COUNT];
};

static enum tr_status check_names(const struct tr_decoder *decoder, struct tr_error *err)
{
    for (int i = 0; i < PART_COUNT; i++) {
        for (int j = 0; j < i; j++) {
            const struct tr_slice *a = &decoder->names[i], *b = &decoder->names[j];
            if (a->ptr != NULL && b->ptr != NULL && strcmp(a->ptr, b->ptr) == 0)
                return tr_fail(err, TR_E_DECODE_OPTION,
                               "cdc-json: two fields of the envelope have the name \"%s\"", a->ptr);
        }
    }
    return TR_OK;
}

static struct tr_slice given(const char *name, const char *unless_given)
{
    return tr_slice_of(name != NULL && name[0] != '\0' ? name : unless_given);
}

static enum tr_status open_decoder(const void *values, const struct tr_decoder_context *context,
                                   struct tr_decoder **out, struct tr_error *err)
{
    const struct tr_decoder_options *options = values;
    struct tr_decoder *decoder = calloc(1, sizeof *decoder);
    if (decoder == NULL)
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for a decoder");
    decoder->names[PART_OP] = given(options->op_field, "op");
    decoder->names[PART_BEFORE] = given(options->before_field, "before");
    decoder->names[PART_AFTER] = given(options->after_field, "after");
    decoder->names[PART_TIMESTAMP] = given(options->timestamp_field, "timestamp");
    decoder->names[PART_TABLE] = given(options->table_field, NULL);
    const char *hidden[HIDDEN_COUNT] = {decoder->names[PART_OP].ptr,
                                        decoder->names[PART_TIMESTAMP].ptr};
    if (check_names(decoder, err) != TR_OK ||
        tr_format_init(&decoder->base, options, context, hidden, HIDDEN_COUNT, err) != TR_OK) {
        tr_format_close(decoder);
        return TR_FAIL;
    }
    *out = decoder;
    return TR_OK;
}

/* ---- envelope ------------------------------------------------------------------------------- */

static void find_parts(struct work *work)
{
    const struct tr_decoder *decoder = work->decoder;
    const struct tr_json_node *nodes = decoder->base.doc.nodes, *name = &nodes[1];
    for (uint32_t i = 0; i < nodes[0].count; i++) {
        const struct tr_json_node *value = name + 1;
        for (int part = 0; part < PART_COUNT; part++) {
            const struct tr_slice *want = &decoder->names[part];
            if (want->ptr == NULL || !tr_json_equal(name, want->ptr, want->len))
                continue;
            work->parts[part] = value->kind == TR_JSON_NULL ? NULL : value;
            break;
        }
        name = &nodes[value->next];
    }
}

static bool find_op(const struct tr_json_node *node, enum tr_op *op)
{
    static const struct {
        const char *word;
        enum tr_op op;
    } words[] = {{"c", TR_OP_CREATE},      {"u", TR_OP_UPDATE},      {"d", TR_OP_DELETE},
                 {"r", TR_OP_READ},        {"create", TR_OP_CREATE}, {"insert", TR_OP_CREATE},
                 {"update", TR_OP_UPDATE}, {"delete", TR_OP_DELETE}, {"read", TR_OP_READ}};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (node->len == strlen(words[i].word) &&
            strncasecmp(node->ptr, words[i].word, node->len) == 0) {
            *op = words[i].op;
            return true;
        }
    }
    return false;
}

static enum tr_status check_image(const struct work *work, enum part part, bool required,
                                  struct tr_error *err)
{
    const struct tr_json_node *node = work->parts[part];
    if (node == NULL && required) {
        return tr_fail(err, TR_E_MESSAGE_ENVELOPE, "the message has no \"%s\", which its op needs",
                       work->decoder->names[part].ptr);
    }
    if (node != NULL && node->kind != TR_JSON_OBJECT) {
        (void)tr_fail(err, TR_E_MESSAGE_ENVELOPE, "\"%s\" is neither an object nor null",
                      work->decoder->names[part].ptr);
        return tr_detail(err, "at byte %zu of the message",
                         tr_json_offset(&work->decoder->base.doc, node));
    }
    return TR_OK;
}

/* What the op does not look at is forgotten here. */
static enum tr_status check_parts(struct work *work, struct tr_error *err)
{
    const struct tr_json_node *op = work->parts[PART_OP];
    if (op == NULL)
        return tr_fail(err, TR_E_MESSAGE_ENVELOPE, "the message has no \"%s\"",
                       work->decoder->names[PART_OP].ptr);
    if (op->kind != TR_JSON_STRING || !find_op(op, &work->op)) {
        (void)tr_fail(err, TR_E_MESSAGE_ENVELOPE, "\"%s\" is none of c, u, d, r",
                      work->decoder->names[PART_OP].ptr);
        return tr_detail(err, "at byte %zu of the message",
                         tr_json_offset(&work->decoder->base.doc, op));
    }
    if (work->op != TR_OP_UPDATE)
        work->parts[work->op == TR_OP_DELETE ? PART_AFTER : PART_BEFORE] = NULL;
    if (check_image(work, PART_BEFORE, false, err) != TR_OK)
        return TR_FAIL;
    return check_image(work, PART_AFTER, work->op != TR_OP_DELETE, err);
}

/* A value as the text of a hidden column; what cannot be one is NULL there. */
static struct tr_cell hidden_cell(const struct work *work, enum part part)
{
    static const struct tr_column text = {.name = "", .type = TR_T_STRING};
    struct tr_cell cell = {NULL, 0, TR_CELL_NULL};
    const struct tr_json_node *node = work->parts[part];
    if (node == NULL || tr_cell_from_json(&text, node, work->input.batch, &cell) != NULL)
        return (struct tr_cell){NULL, 0, TR_CELL_NULL};
    return cell;
}

/* table, schema.table or namespace.schema.table */
static enum tr_status named_table(struct work *work, struct tr_rows_table **table,
                                  struct tr_error *err)
{
    const struct tr_json_node *node = work->parts[PART_TABLE];
    struct tr_slice parts[3] = {{"", 0}, {"", 0}, {"", 0}};
    if (node == NULL || node->kind != TR_JSON_STRING)
        return tr_format_envelope(err, &work->decoder->base.doc, node,
                                  "the field that names the table is missing or not a string");
    struct tr_slice name = tr_json_string_value(node, work->input.batch);
    if (name.ptr == NULL)
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for a table's name");
    for (int part = 2; part >= 0; part--) {
        const char *dot = part == 0 ? NULL : memrchr(name.ptr, '.', name.len);
        size_t skip = dot == NULL ? 0 : (size_t)(dot - name.ptr) + 1;
        parts[part] = (struct tr_slice){name.ptr + skip, name.len - skip};
        if (dot == NULL)
            break;
        name.len = skip - 1;
    }
    return tr_rows_table(work->decoder->base.rows, parts[0], parts[1], parts[2], table, err);
}

/* ---- rows ----------------------------------------------------------------------------------- */

static enum tr_status fill(void *context, struct tr_rows_table *table, struct tr_error *err)
{
    struct work *work = context;
    const struct tr_json_doc *doc = &work->decoder->base.doc;
    const struct tr_json_node *before = work->parts[PART_BEFORE], *after = work->parts[PART_AFTER];
    if (after != NULL &&
        tr_rows_object(table, &work->input, doc, after, TR_ROWS_FULL, &work->after, err) != TR_OK)
        return TR_FAIL;
    if (before != NULL) {
        enum tr_rows_image image = work->op == TR_OP_DELETE ? TR_ROWS_KEY : TR_ROWS_PARTIAL;
        if (tr_rows_object(table, &work->input, doc, before, image, &work->before, err) != TR_OK)
            return TR_FAIL;
    } else if (work->op == TR_OP_DELETE &&
               tr_format_key_image(table, &work->input, &work->before, err) != TR_OK) {
        return TR_FAIL;
    }
    for (size_t i = 0; i < HIDDEN_COUNT; i++) {
        if (work->before != NULL)
            tr_rows_set_hidden(table, i, work->before, work->hidden[i]);
        if (work->after != NULL)
            tr_rows_set_hidden(table, i, work->after, work->hidden[i]);
    }
    return TR_OK;
}

static enum tr_status read_envelope(struct work *work, struct tr_error *err)
{
    struct tr_decoder *decoder = work->decoder;
    if (work->message->value.ptr == NULL) {
        work->op = TR_OP_DELETE;
        return TR_OK;
    }
    if (tr_format_parse(&decoder->base.doc, work->message->value, 2, err) != TR_OK)
        return TR_FAIL;
    if (decoder->base.doc.nodes[0].kind != TR_JSON_OBJECT)
        return tr_format_envelope(err, &decoder->base.doc, NULL,
                                  "the message is not a JSON object");
    find_parts(work);
    if (check_parts(work, err) != TR_OK)
        return TR_FAIL;
    work->hidden[HIDDEN_OP] = hidden_cell(work, PART_OP);
    work->hidden[HIDDEN_TIMESTAMP] = hidden_cell(work, PART_TIMESTAMP);
    return TR_OK;
}

static enum tr_status decode_change(struct work *work, struct tr_error *err)
{
    struct tr_decoder *decoder = work->decoder;
    struct tr_rows_table *table;
    if (read_envelope(work, err) != TR_OK)
        return TR_FAIL;
    if (work->op == TR_OP_DELETE || decoder->base.take_key) {
        work->input.key = work->message->key;
        work->input.key_plain = decoder->base.take_key;
    }
    bool named = decoder->names[PART_TABLE].ptr != NULL && work->message->value.ptr != NULL;
    if ((named ? named_table(work, &table, err)
               : tr_rows_table_of_message(decoder->base.rows, work->message, &table, err)) != TR_OK)
        return TR_FAIL;
    if (tr_rows_settle(table, fill, work, err) != TR_OK)
        return TR_FAIL;
    int64_t ts_us = tr_format_time(work->parts[PART_TIMESTAMP], MS_PER_SECOND);
    const struct tr_format_row row = {work->op, work->before, work->after, 0};
    return tr_format_rows(table, work->input.batch, &row, 1,
                          ts_us == TR_TIME_NONE ? work->message->ts_us : ts_us, err);
}

static enum tr_status decode(struct tr_decoder *decoder, const struct tr_message *message,
                             struct tr_batch *batch, struct tr_error *err)
{
    uint32_t first = batch->event_count;
    struct work work = {.decoder = decoder,
                        .message = message,
                        .input = {.batch = batch, .text = message->value.ptr},
                        .hidden = {{NULL, 0, TR_CELL_NULL}, {NULL, 0, TR_CELL_NULL}}};
    return tr_format_end(decoder->base.rows, batch, first, decode_change(&work, err));
}

extern const struct tr_decoder_ops tr_decoder_cdc_json;
const struct tr_decoder_ops tr_decoder_cdc_json = {
    .name = "cdc-json",
    .summary = "an envelope with op, before, after and timestamp",
    .open = open_decoder,
    .restore = tr_format_restore,
    .decode = decode,
    .schema_marks = tr_format_marks,
    .close = tr_format_close,
};
