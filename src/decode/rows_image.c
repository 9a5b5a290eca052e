/* Fields of messages → the cells of one image. See rows.h and rows_internal.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "decode/rows_cell.h"
#include "decode/rows_columns.h"
#include "decode/rows_internal.h"

#define NAME_ESCAPED_BYTES_MAX (6 * TR_ROWS_NAME_BYTES_MAX)

/* One field on its way to a column. */
struct field {
    uint32_t position; /* in its object */
    const char *name;
    size_t name_len;
    const struct tr_json_node *value;
    size_t offset; /* of the value in the message */
};

static enum tr_status at_offset(struct tr_error *err, const struct field *field)
{
    return tr_detail(err, "at byte %zu of the message", field->offset);
}

static enum tr_status unknown_field(struct tr_error *err, const struct field *field)
{
    int shown = field->name_len > 64 ? 64 : (int)field->name_len;
    (void)tr_fail(err, TR_E_MESSAGE_FIELD, "no column is for the field \"%.*s\"", shown,
                  field->name);
    return at_offset(err, field);
}

static enum tr_status add_inferred(struct tr_rows_table *table, const struct field *field,
                                   struct tr_error *err)
{
    struct tr_column spec = {.type = tr_infer_type(field->value),
                             .elem_type = TR_T_OTHER,
                             .source_typmod = -1,
                             .nullable = true};
    spec.source_type = spec.source_type_base = tr_columns_type_name(spec.type);
    if (tr_rows_add(table, &spec, field->name, field->name_len, TR_ROWS_INFERRED, err) == TR_OK)
        return TR_OK;
    return at_offset(err, field);
}

static enum tr_status widen(struct tr_rows_table *table, int index,
                            const struct tr_json_node *value, struct tr_error *err)
{
    if (tr_rows_touch(table, err) != TR_OK)
        return TR_FAIL;
    struct tr_column *spec = &table->columns[index].spec;
    spec->type = tr_infer_wider(spec->type, value);
    spec->source_type = spec->source_type_base = tr_columns_type_name(spec->type);
    return TR_OK;
}

static enum tr_status bad_value(const struct tr_column *column, const struct field *field,
                                const char *reason, struct tr_error *err)
{
    if (reason == tr_cell_no_memory)
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "%s", reason);
    (void)tr_fail(err, TR_E_MESSAGE_VALUE, "column \"%s\" (%s): %s", column->name,
                  column->source_type, reason);
    return at_offset(err, field);
}

static inline bool is_placeholder(const struct tr_rows_input *input,
                                  const struct tr_json_node *value)
{
    return input->placeholder != NULL && value->kind == TR_JSON_STRING &&
           tr_json_equal(value, input->placeholder, strlen(input->placeholder));
}

/* A string whose value is JSON text. */
static const char *json_from_string(struct tr_rows *rows, const struct tr_json_node *value,
                                    struct tr_batch *batch, struct tr_cell *cell)
{
    struct tr_slice text = tr_json_string_value(value, batch);
    if (text.ptr == NULL)
        return tr_cell_no_memory;
    if (!tr_json_parse(&rows->text_doc, text, 0))
        return "a string that does not hold JSON";
    *cell = (struct tr_cell){text.ptr, (uint32_t)text.len, TR_CELL_TEXT};
    return NULL;
}

static enum tr_status put_field(struct tr_rows_table *table, const struct tr_rows_input *input,
                                const struct field *field, struct tr_cell *cells,
                                struct tr_error *err)
{
    int index = tr_rows_find(table, field->position, field->name, field->name_len);
    const struct tr_json_node *value = field->value;
    if (index < 0) {
        enum tr_unknown_fields unknown = table->rows->unknown;
        if (unknown == TR_UNKNOWN_FAIL)
            return unknown_field(err, field);
        if (unknown == TR_UNKNOWN_IGNORE || value->kind == TR_JSON_NULL ||
            is_placeholder(input, value))
            return TR_OK; /* a column known only by its name waits for a value */
        return add_inferred(table, field, err);
    }
    const struct tr_rows_column *column = &table->columns[index];
    if (value->kind == TR_JSON_STRING && value->flags == 0 && column->spec.type == TR_T_STRING &&
        column->spec.length == 0 && input->placeholder == NULL && index < table->built_count) {
        cells[index] = (struct tr_cell){value->ptr, value->len, TR_CELL_TEXT}; /* most values */
        return TR_OK;
    }
    if (is_placeholder(input, value)) {
        if (index < table->built_count)
            cells[index].state = TR_CELL_UNCHANGED;
        return TR_OK;
    }
    if (column->origin == TR_ROWS_INFERRED && value->kind != TR_JSON_NULL &&
        !tr_infer_fits(column->spec.type, value) && widen(table, index, value, err) != TR_OK)
        return TR_FAIL;
    if (index >= table->built_count)
        return TR_OK; /* it comes again when the column is built */
    bool in_string =
        input->json_in_strings && column->spec.type == TR_T_JSON && value->kind == TR_JSON_STRING;
    const char *reason = in_string
                             ? json_from_string(table->rows, value, input->batch, &cells[index])
                             : tr_cell_from_json(&column->spec, value, input->batch, &cells[index]);
    return reason == NULL ? TR_OK : bad_value(&column->spec, field, reason, err);
}

/* The name of a member, without escapes. buf is for the rare one that has some. */
static enum tr_status field_name(const struct tr_json_node *name, char *buf, struct field *field,
                                 struct tr_error *err)
{
    field->name = name->ptr;
    field->name_len = name->len;
    if ((name->flags & TR_JSON_ESCAPED) == 0)
        return TR_OK;
    if ((name->flags & TR_JSON_NUL) != 0) {
        (void)tr_fail(err, TR_E_MESSAGE_FIELD, "a field's name has the character U+0000");
        return at_offset(err, field);
    }
    if (name->len > NAME_ESCAPED_BYTES_MAX) {
        (void)tr_fail(err, TR_E_MESSAGE_LIMIT, "a field's name is longer than %d bytes",
                      TR_ROWS_NAME_BYTES_MAX);
        return at_offset(err, field);
    }
    field->name = buf;
    field->name_len = tr_json_unescape(name, buf);
    return TR_OK;
}

/* ---- images --------------------------------------------------------------------------------- */

enum tr_status tr_rows_image_new(struct tr_rows_table *table, const struct tr_rows_input *input,
                                 struct tr_cell **cells, struct tr_error *err)
{
    size_t count = (size_t)table->built_count + table->rows->hidden_count;
    struct tr_cell *made = tr_batch_cells(input->batch, count + 1);
    if (made == NULL)
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for a row");
    for (size_t i = 0; i < table->built_count; i++)
        made[i] = (struct tr_cell){NULL, 0, TR_CELL_ABSENT};
    for (size_t i = table->built_count; i < count; i++)
        made[i] = (struct tr_cell){NULL, 0, TR_CELL_NULL};
    *cells = made;
    return TR_OK;
}

static inline bool is_missing(const struct tr_cell *cell)
{
    return cell->state == TR_CELL_ABSENT || cell->state == TR_CELL_NULL;
}

static bool key_is_whole(const struct tr_rows_table *table, const struct tr_cell *cells)
{
    for (uint16_t i = 0; i < table->key_count; i++) {
        uint16_t index = table->keys[i];
        if (index == TR_ROWS_NONE || (index < table->built_count && is_missing(&cells[index])))
            return false;
    }
    return true;
}

/* {"schema": …, "payload": {…}} → the payload. */
static const struct tr_json_node *key_object(const struct tr_json_doc *doc)
{
    const struct tr_json_node *top = &doc->nodes[0];
    if (top->kind == TR_JSON_OBJECT && top->count == 2 &&
        tr_json_member(doc, top, "schema") != NULL && tr_json_member(doc, top, "payload") != NULL)
        return tr_json_member(doc, top, "payload");
    return top;
}

/* Missing key columns from the message's key. What cannot be read there is simply not there. */
static enum tr_status key_from_message(struct tr_rows_table *table,
                                       const struct tr_rows_input *input, struct tr_cell *cells,
                                       struct tr_error *err)
{
    struct tr_json_doc *doc = &table->rows->key_doc;
    struct tr_json_node plain = {
        .ptr = input->key.ptr, .len = (uint32_t)input->key.len, .kind = TR_JSON_STRING};
    const struct tr_json_node *value = &plain;
    bool is_json = tr_json_parse(doc, input->key, 2);
    if (is_json)
        value = key_object(doc);
    if (!is_json && (!input->key_plain || input->key.len > TR_JSON_BYTES_MAX ||
                     !tr_utf8_valid(input->key.ptr, input->key.len)))
        return TR_OK;
    if (value->kind != TR_JSON_OBJECT && (!input->key_plain || table->key_count != 1))
        return TR_OK;
    for (uint16_t i = 0; i < table->key_count; i++) {
        uint16_t index = table->keys[i];
        const char *name = table->key_names[i];
        const struct tr_json_node *part =
            value->kind == TR_JSON_OBJECT ? tr_json_member(doc, value, name) : value;
        if (part == NULL || (index < table->built_count && !is_missing(&cells[index])))
            continue;
        struct field field = {UINT32_MAX, name, strlen(name), part, 0};
        if (put_field(table, input, &field, cells, err) != TR_OK)
            return tr_detail(err, "in the message's key");
    }
    return TR_OK;
}

static enum tr_status missing_key(const struct tr_rows_table *table, const struct tr_cell *cells,
                                  struct tr_error *err)
{
    for (uint16_t i = 0; i < table->key_count; i++) {
        uint16_t index = table->keys[i];
        if (index == TR_ROWS_NONE)
            return tr_fail(err, TR_E_MESSAGE_KEY,
                           "the message has no field \"%s\", which is of the key",
                           table->key_names[i]);
        if (index < table->built_count && is_missing(&cells[index]))
            return tr_fail(err, TR_E_MESSAGE_KEY,
                           "column \"%s\" is of the key, and %s in the message",
                           table->columns[index].spec.name,
                           cells[index].state == TR_CELL_NULL ? "null" : "not");
    }
    return TR_OK;
}

/* ABSENT becomes NULL where a row is whole. */
static enum tr_status fill_missing(struct tr_rows_table *table, struct tr_cell *cells,
                                   struct tr_error *err)
{
    for (uint16_t i = 0; i < table->built_count; i++) {
        struct tr_rows_column *column = &table->columns[i];
        if (cells[i].state == TR_CELL_ABSENT) {
            if (table->rows->options->fail_on_missing_field)
                return tr_fail(err, TR_E_MESSAGE_FIELD,
                               "the message has no field for column \"%s\"", column->spec.name);
            cells[i].state = TR_CELL_NULL;
        }
        if (cells[i].state != TR_CELL_NULL || column->spec.nullable)
            continue;
        if (column->origin == TR_ROWS_FROM_OPTION)
            return tr_fail(err, TR_E_MESSAGE_VALUE,
                           "column \"%s\" is NOT NULL, and null or not in the "
                           "message",
                           column->spec.name);
        /* what a schema promised does not hold any more: an older or newer writer */
        if (tr_rows_touch(table, err) != TR_OK)
            return TR_FAIL;
        column->spec.nullable = true;
    }
    return TR_OK;
}

enum tr_status tr_rows_image_finish(struct tr_rows_table *table, const struct tr_rows_input *input,
                                    enum tr_rows_image image, struct tr_cell *cells,
                                    struct tr_error *err)
{
    if (image != TR_ROWS_PARTIAL && !key_is_whole(table, cells)) {
        if (input->key.ptr != NULL && key_from_message(table, input, cells, err) != TR_OK)
            return TR_FAIL;
        if (missing_key(table, cells, err) != TR_OK)
            return TR_FAIL;
    }
    if (image == TR_ROWS_FULL)
        return fill_missing(table, cells, err);
    for (uint16_t i = 0; input->placeholder != NULL && i < table->built_count; i++) {
        if (cells[i].state == TR_CELL_UNCHANGED)
            cells[i].state = TR_CELL_ABSENT; /* what it was is not known */
    }
    return TR_OK;
}

enum tr_status tr_rows_object(struct tr_rows_table *table, const struct tr_rows_input *input,
                              const struct tr_json_doc *doc, const struct tr_json_node *object,
                              enum tr_rows_image image, struct tr_cell **cells,
                              struct tr_error *err)
{
    char buf[NAME_ESCAPED_BYTES_MAX];
    const struct tr_json_node *name = object + 1;
    if (tr_rows_image_new(table, input, cells, err) != TR_OK)
        return TR_FAIL;
    for (uint32_t i = 0; i < object->count; i++) {
        struct field field = {.position = i,
                              .value = name + 1,
                              .offset = (size_t)(tr_json_text(name + 1).ptr - input->text)};
        if (field_name(name, buf, &field, err) != TR_OK ||
            put_field(table, input, &field, *cells, err) != TR_OK)
            return TR_FAIL;
        name = &doc->nodes[name[1].next];
    }
    return tr_rows_image_finish(table, input, image, *cells, err);
}

enum tr_status tr_rows_texts(struct tr_rows_table *table, const struct tr_rows_input *input,
                             const struct tr_slice *names, const struct tr_slice *values,
                             size_t count, enum tr_rows_image image, struct tr_cell **cells,
                             struct tr_error *err)
{
    if (tr_rows_image_new(table, input, cells, err) != TR_OK)
        return TR_FAIL;
    for (size_t i = 0; i < count; i++) {
        struct tr_json_node value = {.kind = TR_JSON_NULL};
        if (values[i].ptr != NULL)
            value = (struct tr_json_node){
                .ptr = values[i].ptr, .len = (uint32_t)values[i].len, .kind = TR_JSON_STRING};
        struct field field = {
            .position = (uint32_t)i,
            .name = names[i].ptr,
            .name_len = names[i].len,
            .value = &value,
            .offset = values[i].ptr == NULL ? 0 : (size_t)(values[i].ptr - input->text)};
        if (put_field(table, input, &field, *cells, err) != TR_OK)
            return TR_FAIL;
    }
    return tr_rows_image_finish(table, input, image, *cells, err);
}

void tr_rows_set_hidden(const struct tr_rows_table *table, size_t hidden, struct tr_cell *cells,
                        struct tr_cell value)
{
    if (table->hidden[hidden] != TR_ROWS_NONE)
        cells[table->hidden[hidden]] = value;
}

bool tr_rows_key_changed(const struct tr_rows_table *table, const struct tr_cell *before,
                         const struct tr_cell *after)
{
    for (uint16_t i = 0; i < table->key_count; i++) {
        uint16_t index = table->keys[i];
        if (index == TR_ROWS_NONE || is_missing(&before[index]) || is_missing(&after[index]))
            return false;
    }
    for (uint16_t i = 0; i < table->key_count; i++) {
        const struct tr_cell *a = &before[table->keys[i]], *b = &after[table->keys[i]];
        if (a->state != b->state || a->len != b->len || memcmp(a->ptr, b->ptr, a->len) != 0)
            return true;
    }
    return false;
}

/* ---- schemas in messages -------------------------------------------------------------------- */

static int integer_rank(enum tr_type type)
{
    switch (type) {
    case TR_T_INT8:
        return 1;
    case TR_T_INT16:
        return 2;
    case TR_T_INT32:
        return 3;
    case TR_T_INT64:
        return 4;
    default:
        return 0;
    }
}

/* Makes *into a type that holds what both hold; the canonical text of the narrower is right for it.
 */
static void merge_type(struct tr_column *into, const struct tr_column *other)
{
    int rank = integer_rank(into->type), other_rank = integer_rank(other->type);
    bool exact = rank > 0 || into->type == TR_T_DECIMAL || into->type == TR_T_UINT64;
    bool other_exact = other_rank > 0 || other->type == TR_T_DECIMAL || other->type == TR_T_UINT64;
    if (into->type == other->type) {
        if (into->type == TR_T_DECIMAL &&
            (into->precision == 0 || other->precision == 0 || into->scale != other->scale))
            into->precision = into->scale = 0; /* any digits */
        else if (into->precision != other->precision)
            into->precision = into->precision < 0 || other->precision < 0 ? -1
                              : into->precision > other->precision        ? into->precision
                                                                          : other->precision;
        if (into->length != other->length)
            into->length = into->length == 0 || other->length == 0 ? 0
                           : into->length > other->length          ? into->length
                                                                   : other->length;
        return;
    }
    if (rank > 0 && other_rank > 0) {
        into->type = other_rank > rank ? other->type : into->type;
        return;
    }
    bool both_float = (into->type == TR_T_FLOAT32 || into->type == TR_T_FLOAT64) &&
                      (other->type == TR_T_FLOAT32 || other->type == TR_T_FLOAT64);
    into->type = exact && other_exact ? TR_T_DECIMAL : both_float ? TR_T_FLOAT64 : TR_T_STRING;
    into->precision = into->scale = into->length = 0;
}

static bool same_type(const struct tr_column *a, const struct tr_column *b)
{
    return a->type == b->type && a->precision == b->precision && a->scale == b->scale &&
           a->length == b->length;
}

static enum tr_status add_from_schema(struct tr_rows_table *table, const struct tr_column *column,
                                      struct tr_error *err)
{
    struct tr_column spec = *column;
    spec.source_type = spec.source_type_base = tr_columns_type_name(spec.type);
    spec.source_attnum = 0;
    spec.default_value = spec.enum_labels = NULL;
    /* rows that are there already have no value for it */
    if (table->current != NULL)
        spec.nullable = true;
    return tr_rows_add(table, &spec, column->name, strlen(column->name), TR_ROWS_FROM_SCHEMA, err);
}

enum tr_status tr_rows_declare(struct tr_rows_table *table, const struct tr_column *column,
                               int *index, struct tr_error *err)
{
    size_t len = strlen(column->name);
    *index = tr_rows_find(table, UINT32_MAX, column->name, len);
    if (*index < 0) {
        if (table->rows->unknown == TR_UNKNOWN_IGNORE)
            return TR_OK;
        if (table->rows->unknown == TR_UNKNOWN_FAIL)
            return tr_fail(err, TR_E_MESSAGE_FIELD, "no column is for the field \"%.64s\"",
                           column->name);
        if (add_from_schema(table, column, err) != TR_OK)
            return TR_FAIL;
        *index = table->column_count - 1;
        return TR_OK;
    }
    struct tr_rows_column *mine = &table->columns[*index];
    if (mine->origin == TR_ROWS_FROM_OPTION)
        return TR_OK;
    struct tr_column merged = mine->spec;
    merge_type(&merged, column);
    merged.nullable |= column->nullable && merged.key_index == 0;
    mine->origin = TR_ROWS_FROM_SCHEMA;
    if (same_type(&merged, &mine->spec) && merged.nullable == mine->spec.nullable)
        return TR_OK;
    if (tr_rows_touch(table, err) != TR_OK)
        return TR_FAIL;
    merged.source_type = merged.source_type_base = tr_columns_type_name(merged.type);
    mine->spec = merged;
    return TR_OK;
}
