/* Format "debezium-json": Debezium's change events as Kafka Connect's JSON converter writes them,
 * bare (schemas.enable=false) or with their schema.
 *
 *   message  = envelope | { schema: connect schema, payload: envelope | null }
 *   envelope = { op: "c" | "r" | "u" | "d" | "t" | "m", before: row | null, after: row | null,
 *                source: { db, schema, table, ts_ms, ts_us, … }, ts_ms, … }
 *
 * With a schema, columns have its types (connect_value.h); without one they are inferred. The key's
 * columns are the members of the message's key. The table is source.db, source.schema,
 * source.table; a source without schemas (MySQL) gives its database as the schema.
 *
 * No event come from: a tombstone (it follows a delete), m (a logical message), heartbeats, and the
 * records of the transaction and schema history topics. A schema in a message is read once:
 * messages with the same bytes of schema use what was read. */
#include <stdlib.h>
#include <string.h>

#include "decode/connect_value.h"
#include "decode/format_common.h"
#include "decode/rows_cell.h"

#define MS_PER_SECOND 1000
#define US_PER_SECOND 1000000
#define SCHEMAS_MAX 64  /* kept; the oldest makes room */
#define PAYLOAD_DEPTH 5 /* payload, image, value, struct, its member */
#define PLACEHOLDER "__debezium_unavailable_value"
#define PLACEHOLDER_BASE64 "X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ=="

/* A row's schema, as one message had it. */
struct schema {
    char *text;
    size_t len;
    struct tr_connect_field *fields; /* names are in `names` */
    char *names;
    int *indexes; /* of the table's columns; -1: ignored */
    uint32_t field_count;
};

struct tr_decoder {
    struct tr_format base;
    struct tr_json_doc schema_doc, text_doc, key_doc;
    struct schema schemas[SCHEMAS_MAX];
    size_t schema_next;
    struct schema *schema_last;
};

struct work {
    struct tr_decoder *decoder;
    const struct tr_message *message;
    struct tr_rows_input input;
    const struct tr_json_node *payload, *before, *after, *source;
    struct schema *schema; /* NULL: columns are inferred */
    enum tr_op op;
    struct tr_cell *before_cells, *after_cells;
};

static void schema_free(struct schema *schema)
{
    free(schema->text);
    free(schema->fields);
    free(schema->names);
    free(schema->indexes);
    *schema = (struct schema){0};
}

static void close_decoder(struct tr_decoder *decoder)
{
    if (decoder == NULL)
        return;
    for (size_t i = 0; i < SCHEMAS_MAX; i++)
        schema_free(&decoder->schemas[i]);
    tr_json_doc_free(&decoder->schema_doc);
    tr_json_doc_free(&decoder->text_doc);
    tr_json_doc_free(&decoder->key_doc);
    tr_format_close(decoder);
}

static enum tr_status open_decoder(const void *options, const struct tr_decoder_context *context,
                                   struct tr_decoder **out, struct tr_error *err)
{
    struct tr_decoder *decoder = calloc(1, sizeof *decoder);
    if (decoder == NULL)
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for a decoder");
    if (tr_format_init(&decoder->base, options, context, NULL, 0, err) != TR_OK) {
        close_decoder(decoder);
        return TR_FAIL;
    }
    *out = decoder;
    return TR_OK;
}

static const struct tr_json_node *unless_null(const struct tr_json_node *node)
{
    return node == NULL || node->kind == TR_JSON_NULL ? NULL : node;
}

static const struct tr_json_node *part(const struct work *work, const struct tr_json_node *object,
                                       const char *name)
{
    return unless_null(tr_json_member(&work->decoder->base.doc, object, name));
}

/* ---- schemas -------------------------------------------------------------------------------- */

/* The field of that name in a struct's schema. */
static const struct tr_json_node *struct_field(const struct tr_json_doc *doc,
                                               const struct tr_json_node *schema, const char *name)
{
    const struct tr_json_node *fields = tr_json_member(doc, schema, "fields");
    if (fields == NULL || fields->kind != TR_JSON_ARRAY)
        return NULL;
    const struct tr_json_node *field = fields + 1;
    for (uint32_t i = 0; i < fields->count; i++, field = &doc->nodes[field->next]) {
        const struct tr_json_node *own = tr_json_member(doc, field, "field");
        if (own != NULL && own->kind == TR_JSON_STRING && tr_json_equal(own, name, strlen(name)))
            return field;
    }
    return NULL;
}

static enum tr_status bad_schema(struct tr_error *err)
{
    return tr_fail(err, TR_E_MESSAGE_ENVELOPE,
                   "the message's schema is not one of a Debezium event");
}

static enum tr_status read_fields(struct schema *schema, const struct tr_json_doc *doc,
                                  const struct tr_json_node *fields, struct tr_error *err)
{
    const struct tr_json_node *node = fields + 1;
    char *name = schema->names;
    for (uint32_t i = 0; i < fields->count; i++, node = &doc->nodes[node->next]) {
        const struct tr_json_node *own = tr_json_member(doc, node, "field");
        struct tr_connect_field *field = &schema->fields[i];
        if (own == NULL || own->kind != TR_JSON_STRING || own->len == 0 ||
            (own->flags & TR_JSON_NUL) != 0 || !tr_connect_field_read(doc, node, field))
            return bad_schema(err);
        size_t len = tr_json_unescape(own, name);
        name[len] = '\0';
        field->column.name = name;
        name += len + 1;
        schema->field_count++;
    }
    return TR_OK;
}

static enum tr_status read_schema(struct tr_decoder *decoder, struct tr_slice text,
                                  struct schema *schema, struct tr_error *err)
{
    struct tr_json_doc *doc = &decoder->schema_doc;
    if (!tr_json_parse(doc, text, TR_JSON_DEPTH_ALL))
        return bad_schema(err);
    const struct tr_json_node *row = struct_field(doc, &doc->nodes[0], "after");
    if (row == NULL)
        row = struct_field(doc, &doc->nodes[0], "before");
    const struct tr_json_node *fields = tr_json_member(doc, row, "fields");
    if (fields == NULL || fields->kind != TR_JSON_ARRAY)
        return bad_schema(err);
    schema->text = malloc(text.len + 1);
    schema->names = malloc(text.len + 1); /* the names are in the text */
    schema->fields = calloc((size_t)fields->count + 1, sizeof *schema->fields);
    schema->indexes = calloc((size_t)fields->count + 1, sizeof *schema->indexes);
    if (schema->text == NULL || schema->names == NULL || schema->fields == NULL ||
        schema->indexes == NULL)
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for a message's schema");
    memcpy(schema->text, text.ptr, text.len);
    schema->len = text.len;
    return read_fields(schema, doc, fields, err);
}

static bool is_schema(const struct schema *schema, struct tr_slice text)
{
    return schema->text != NULL && schema->len == text.len &&
           memcmp(schema->text, text.ptr, text.len) == 0;
}

static enum tr_status find_schema(struct work *work, const struct tr_json_node *node,
                                  struct tr_error *err)
{
    struct tr_decoder *decoder = work->decoder;
    struct tr_slice text = tr_json_text(node);
    if (decoder->schema_last != NULL && is_schema(decoder->schema_last, text)) {
        work->schema = decoder->schema_last;
        return TR_OK;
    }
    decoder->schema_last = NULL;
    for (size_t i = 0; i < SCHEMAS_MAX && decoder->schema_last == NULL; i++) {
        if (is_schema(&decoder->schemas[i], text))
            decoder->schema_last = &decoder->schemas[i];
    }
    if (decoder->schema_last == NULL) {
        struct schema *schema = &decoder->schemas[decoder->schema_next];
        schema_free(schema);
        if (read_schema(decoder, text, schema, err) != TR_OK) {
            schema_free(schema);
            return TR_FAIL;
        }
        decoder->schema_next = (decoder->schema_next + 1) % SCHEMAS_MAX;
        decoder->schema_last = schema;
    }
    work->schema = decoder->schema_last;
    return TR_OK;
}

/* ---- images --------------------------------------------------------------------------------- */

static bool is_string(const struct tr_json_node *value, const char *text)
{
    return value->kind == TR_JSON_STRING && tr_json_equal(value, text, strlen(text));
}

/* A large value that the source did not send: itself, in base64 for bytes, alone in an array. */
static bool is_placeholder(const struct tr_connect_field *field, const struct tr_json_node *value)
{
    if (value->kind == TR_JSON_ARRAY && value->count == 1)
        value++;
    return is_string(value, PLACEHOLDER) ||
           (field->is_bytes && is_string(value, PLACEHOLDER_BASE64));
}

/* Into the table's column, which may be of another type: declared by the option, or widened. */
static const char *into_column(const struct tr_column *column, const struct tr_column *own,
                               struct tr_batch *batch, struct tr_cell *cell)
{
    if (column->type == own->type && column->precision == own->precision &&
        column->scale == own->scale && column->length == own->length)
        return NULL;
    if (cell->state == TR_CELL_BINARY)
        return column->type == TR_T_BYTES ? NULL : "bytes for a column of another type";
    if (column->type == TR_T_BYTES)
        return "not bytes, which the column holds";
    return tr_cell_from_text(column, (struct tr_slice){cell->ptr, cell->len}, batch, cell);
}

static enum tr_status put_value(struct work *work, struct tr_rows_table *table, uint32_t i,
                                const struct tr_json_node *value, bool is_after,
                                struct tr_cell *cells, struct tr_error *err)
{
    const struct tr_connect_field *field = &work->schema->fields[i];
    int index = work->schema->indexes[i];
    if (index < 0 || (size_t)index >= tr_rows_built(table))
        return TR_OK;
    struct tr_cell *cell = &cells[index];
    const char *reason = NULL;
    if (value->kind == TR_JSON_NULL) {
        cell->state = TR_CELL_NULL;
    } else if (is_placeholder(field, value)) {
        cell->state = is_after ? TR_CELL_UNCHANGED : TR_CELL_ABSENT;
    } else {
        const struct tr_column *column = tr_rows_column(table, index);
        reason = tr_connect_cell(field, &work->decoder->base.doc, value, &work->decoder->text_doc,
                                 work->input.batch, cell);
        if (reason == NULL)
            reason = into_column(column, &field->column, work->input.batch, cell);
    }
    if (reason == NULL)
        return TR_OK;
    if (reason == tr_cell_no_memory)
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "%s", reason);
    (void)tr_fail(err, TR_E_MESSAGE_VALUE, "column \"%s\": %s", field->column.name, reason);
    return tr_detail(err, "at byte %zu of the message",
                     tr_json_offset(&work->decoder->base.doc, value));
}

/* Connect writes members in the schema's order; another order is found too. */
static enum tr_status image_by_schema(struct work *work, struct tr_rows_table *table,
                                      const struct tr_json_node *row, enum tr_rows_image image,
                                      struct tr_cell **cells, struct tr_error *err)
{
    const struct tr_json_doc *doc = &work->decoder->base.doc;
    const struct schema *schema = work->schema;
    const struct tr_json_node *next = row + 1;
    if (tr_rows_image_new(table, &work->input, cells, err) != TR_OK)
        return TR_FAIL;
    for (uint32_t i = 0; i < schema->field_count; i++) {
        const char *name = schema->fields[i].column.name;
        const struct tr_json_node *value;
        if (i < row->count && tr_json_equal(next, name, strlen(name)))
            value = next + 1;
        else
            value = tr_json_member(doc, row, name);
        if (i + 1 < row->count)
            next = &doc->nodes[next[1].next];
        if (value != NULL &&
            put_value(work, table, i, value, image == TR_ROWS_FULL, *cells, err) != TR_OK)
            return TR_FAIL;
    }
    return tr_rows_image_finish(table, &work->input, image, *cells, err);
}

static enum tr_status image(struct work *work, struct tr_rows_table *table,
                            const struct tr_json_node *row, enum tr_rows_image kind,
                            struct tr_cell **cells, struct tr_error *err)
{
    if (work->schema != NULL)
        return image_by_schema(work, table, row, kind, cells, err);
    return tr_rows_object(table, &work->input, &work->decoder->base.doc, row, kind, cells, err);
}

static enum tr_status fill(void *context, struct tr_rows_table *table, struct tr_error *err)
{
    struct work *work = context;
    for (uint32_t i = 0; work->schema != NULL && i < work->schema->field_count; i++) {
        if (tr_rows_declare(table, &work->schema->fields[i].column, &work->schema->indexes[i],
                            err) != TR_OK)
            return TR_FAIL;
    }
    if (work->op == TR_OP_TRUNCATE)
        return TR_OK;
    if (work->op != TR_OP_DELETE &&
        image(work, table, work->after, TR_ROWS_FULL, &work->after_cells, err) != TR_OK)
        return TR_FAIL;
    if (work->before != NULL && work->op != TR_OP_CREATE && work->op != TR_OP_READ)
        return image(work, table, work->before,
                     work->op == TR_OP_DELETE ? TR_ROWS_KEY : TR_ROWS_PARTIAL, &work->before_cells,
                     err);
    if (work->op == TR_OP_DELETE)
        return tr_format_key_image(table, &work->input, &work->before_cells, err);
    return TR_OK;
}

/* ---- envelope ------------------------------------------------------------------------------- */

/* {"ts_ms": …} and nothing else. */
static bool is_heartbeat(const struct work *work)
{
    const struct tr_json_doc *doc = &work->decoder->base.doc;
    const struct tr_json_node *name = work->payload + 1;
    for (uint32_t i = 0; i < work->payload->count; i++, name = &doc->nodes[name[1].next]) {
        if (name->len != 5 || memcmp(name->ptr, "ts_", 3) != 0)
            return false;
    }
    return work->payload->count > 0;
}

/* Records without op that Debezium writes beside rows. */
static bool is_side_record(const struct work *work)
{
    const struct tr_json_doc *doc = &work->decoder->base.doc;
    const struct tr_json_node *payload = work->payload;
    bool transaction = part(work, payload, "status") != NULL && part(work, payload, "id") != NULL &&
                       tr_json_member(doc, payload, "data_collections") != NULL;
    bool history = tr_json_member(doc, payload, "ddl") != NULL &&
                   tr_json_member(doc, payload, "databaseName") != NULL;
    return is_heartbeat(work) || transaction || history;
}

static enum tr_status read_op(struct work *work, struct tr_error *err)
{
    const struct tr_json_doc *doc = &work->decoder->base.doc;
    const struct tr_json_node *op = part(work, work->payload, "op");
    if (op == NULL)
        return is_side_record(work)
                   ? TR_AGAIN
                   : tr_format_envelope(err, doc, NULL, "the message has no \"op\"");
    if (op->kind != TR_JSON_STRING || op->len != 1 || strchr("crudtm", op->ptr[0]) == NULL)
        return tr_format_envelope(err, doc, op, "\"op\" is none of c, r, u, d, t, m");
    if (op->ptr[0] == 'm')
        return TR_AGAIN;
    work->op = (enum tr_op)op->ptr[0];
    work->before = part(work, work->payload, "before");
    work->after = part(work, work->payload, "after");
    work->source = part(work, work->payload, "source");
    if (work->before != NULL && work->before->kind != TR_JSON_OBJECT)
        return tr_format_envelope(err, doc, work->before,
                                  "\"before\" is neither an object nor null");
    if (work->op != TR_OP_DELETE && work->op != TR_OP_TRUNCATE &&
        (work->after == NULL || work->after->kind != TR_JSON_OBJECT))
        return tr_format_envelope(err, doc, work->after, "\"after\" is not an object");
    return TR_OK;
}

/* TR_AGAIN: a message without a row. */
static enum tr_status read_envelope(struct work *work, struct tr_error *err)
{
    const struct tr_json_doc *doc = &work->decoder->base.doc;
    const struct tr_json_node *top = &doc->nodes[0];
    if (top->kind == TR_JSON_NULL)
        return TR_AGAIN;
    if (top->kind != TR_JSON_OBJECT)
        return tr_format_envelope(err, doc, NULL, "the message is not a JSON object");
    const struct tr_json_node *payload = tr_json_member(doc, top, "payload");
    const struct tr_json_node *schema = part(work, top, "schema");
    work->payload = top;
    if (payload == NULL || tr_json_member(doc, top, "op") != NULL)
        return read_op(work, err);
    if (payload->kind == TR_JSON_NULL)
        return TR_AGAIN;
    if (payload->kind != TR_JSON_OBJECT)
        return tr_format_envelope(err, doc, payload, "\"payload\" is not an object");
    work->payload = payload;
    enum tr_status status = read_op(work, err);
    if (status != TR_OK || schema == NULL)
        return status;
    return find_schema(work, schema, err);
}

static enum tr_status source_text(const struct work *work, const char *name, struct tr_slice *text,
                                  struct tr_error *err)
{
    const struct tr_json_node *node = part(work, work->source, name);
    *text = (struct tr_slice){"", 0};
    if (node == NULL || node->kind != TR_JSON_STRING)
        return TR_OK;
    *text = tr_json_string_value(node, work->input.batch);
    return text->ptr != NULL ? TR_OK : tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for a name");
}

/* The members of the message's key name the key's columns. */
static enum tr_status take_key_names(struct work *work, struct tr_rows_table *table,
                                     struct tr_error *err)
{
    struct tr_json_doc *doc = &work->decoder->key_doc;
    struct tr_slice names[TR_ROWS_KEY_MAX];
    if (tr_rows_is_known(table) || tr_rows_key_count(table) > 0 || work->message->key.ptr == NULL ||
        !tr_json_parse(doc, work->message->key, 2))
        return TR_OK;
    const struct tr_json_node *key = &doc->nodes[0];
    const struct tr_json_node *payload = tr_json_member(doc, key, "payload");
    if (payload != NULL && tr_json_member(doc, key, "schema") != NULL)
        key = payload;
    if (key->kind != TR_JSON_OBJECT)
        return TR_OK;
    if (key->count > TR_ROWS_KEY_MAX)
        return tr_fail(err, TR_E_MESSAGE_LIMIT, "the key has more than %d columns",
                       TR_ROWS_KEY_MAX);
    const struct tr_json_node *name = key + 1;
    for (uint32_t i = 0; i < key->count; i++, name = &doc->nodes[name[1].next]) {
        if ((name->flags & TR_JSON_NUL) != 0)
            return tr_fail(err, TR_E_MESSAGE_FIELD, "a key column's name has the character U+0000");
        names[i] = tr_json_string_value(name, work->input.batch);
        if (names[i].ptr == NULL)
            return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for a name");
    }
    return tr_rows_set_key(table, names, key->count, err);
}

static enum tr_status find_table(struct work *work, struct tr_rows_table **table,
                                 struct tr_error *err)
{
    struct tr_slice db, schema, name;
    struct tr_rows *rows = work->decoder->base.rows;
    if (work->decoder->base.table_given)
        return tr_rows_table_of_message(rows, work->message, table, err);
    if (work->source == NULL)
        return tr_format_envelope(err, &work->decoder->base.doc, NULL,
                                  "the message has no \"source\"");
    if (source_text(work, "db", &db, err) != TR_OK ||
        source_text(work, "schema", &schema, err) != TR_OK ||
        source_text(work, "table", &name, err) != TR_OK)
        return TR_FAIL;
    if (schema.len == 0)
        return tr_rows_table(rows, (struct tr_slice){"", 0}, db, name, table, err);
    return tr_rows_table(rows, db, schema, name, table, err);
}

/* The time in the database; for want of it the connector's. */
static int64_t time_of(const struct work *work)
{
    int64_t ts_us = tr_format_time(part(work, work->source, "ts_us"), US_PER_SECOND);
    if (ts_us == TR_TIME_NONE)
        ts_us = tr_format_time(part(work, work->source, "ts_ms"), MS_PER_SECOND);
    if (ts_us == TR_TIME_NONE)
        ts_us = tr_format_time(part(work, work->payload, "ts_ms"), MS_PER_SECOND);
    return ts_us == TR_TIME_NONE ? work->message->ts_us : ts_us;
}

static enum tr_status decode_change(struct work *work, struct tr_error *err)
{
    struct tr_decoder *decoder = work->decoder;
    struct tr_rows_table *table;
    if (work->message->value.ptr == NULL)
        return TR_OK; /* a tombstone: the delete came before it */
    if (tr_format_parse(&decoder->base.doc, work->message->value, PAYLOAD_DEPTH, err) != TR_OK)
        return TR_FAIL;
    enum tr_status status = read_envelope(work, err);
    if (status != TR_OK)
        return status == TR_AGAIN ? TR_OK : TR_FAIL;
    if (find_table(work, &table, err) != TR_OK || take_key_names(work, table, err) != TR_OK)
        return TR_FAIL;
    if (work->op == TR_OP_TRUNCATE && !tr_rows_is_known(table)) {
        tr_rows_rollback(decoder->base.rows); /* no row of it went by, so its key is not known */
        return TR_OK;
    }
    if (tr_rows_settle(table, fill, work, err) != TR_OK)
        return TR_FAIL;
    const struct tr_format_row row = {work->op, work->before_cells, work->after_cells, 0};
    return tr_format_rows(table, work->input.batch, &row, 1, time_of(work), err);
}

static enum tr_status decode(struct tr_decoder *decoder, const struct tr_message *message,
                             struct tr_batch *batch, struct tr_error *err)
{
    uint32_t first = batch->event_count;
    struct work work = {.decoder = decoder,
                        .message = message,
                        .input = {.batch = batch,
                                  .text = message->value.ptr,
                                  .key = message->key,
                                  .placeholder = PLACEHOLDER}};
    return tr_format_end(decoder->base.rows, batch, first, decode_change(&work, err));
}

extern const struct tr_decoder_ops tr_decoder_debezium_json;
const struct tr_decoder_ops tr_decoder_debezium_json = {
    .name = "debezium-json",
    .summary = "Debezium's envelope, with or without its schema",
    .open = open_decoder,
    .restore = tr_format_restore,
    .decode = decode,
    .schema_marks = tr_format_marks,
    .close = close_decoder,
};
