/* Tables learned from messages: making, restoring, changing, publishing. See rows.h; what goes into
 * cells is in rows_image.c.
 *
 * A table's columns are changed in place while a message is looked at, and `undo` holds what they
 * were; a schema version (tr_table) is built from them before cells are made, and published with
 * the message's rows or thrown away with them. */
#include "decode/rows.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "decode/rows_columns.h"
#include "decode/rows_internal.h"
#include "event/schema_diff.h"
#include "event/state.h"
#include "event/table_text.h"

#define ROUNDS_MAX 3        /* what there was, what it became, and one that must not be needed */
#define HIDDEN_ATTNUM 30001 /* beyond every column's */
#define MARK_KEY_TEXT_BYTES 200 /* of a table's escaped name within a mark's key */

/* ---- options -------------------------------------------------------------------------------- */

static enum tr_status key_of_options(struct tr_rows *rows, struct tr_error *err)
{
    const struct tr_string_list *list = &rows->options->primary_keys;
    if (list->count > TR_ROWS_KEY_MAX)
        return tr_fail(err, TR_E_DECODE_OPTION, "primary-keys: more than %d columns",
                       TR_ROWS_KEY_MAX);
    for (size_t i = 0; i < list->count; i++) {
        for (size_t j = 0; j < i; j++) {
            if (strcmp(list->items[i], list->items[j]) == 0)
                return tr_fail(err, TR_E_DECODE_OPTION, "primary-keys: \"%s\" is there twice",
                               list->items[i]);
        }
        rows->keys[rows->key_count++] = list->items[i];
        size_t at = 0;
        while (at < rows->declared_count && strcmp(rows->declared[at].name, list->items[i]) != 0)
            at++;
        if (at == rows->declared_count && at > 0 && rows->unknown != TR_UNKNOWN_EVOLVE)
            return tr_fail(err, TR_E_DECODE_OPTION, "primary-keys: \"%s\" is not in columns",
                           list->items[i]);
    }
    if (rows->key_count > 0)
        return TR_OK;
    for (uint16_t place = 1;; place++) {
        size_t at = 0;
        while (at < rows->declared_count && rows->declared[at].key_index != place)
            at++;
        if (at == rows->declared_count || rows->key_count == TR_ROWS_KEY_MAX)
            return TR_OK;
        rows->keys[rows->key_count++] = rows->declared[at].name;
    }
}

static enum tr_status read_options(struct tr_rows *rows, struct tr_error *err)
{
    const struct tr_decoder_options *options = rows->options;
    if (tr_columns_parse(&options->columns, &rows->arena, &rows->declared, &rows->declared_count,
                         err) != TR_OK)
        return TR_FAIL;
    rows->unknown = (enum tr_unknown_fields)options->unknown_fields;
    if (rows->unknown == TR_UNKNOWN_AUTO)
        rows->unknown = rows->declared_count > 0 ? TR_UNKNOWN_IGNORE : TR_UNKNOWN_EVOLVE;
    if (rows->unknown != TR_UNKNOWN_EVOLVE && rows->declared_count == 0)
        return tr_fail(err, TR_E_DECODE_OPTION,
                       "unknown-fields: %s needs columns, else every field is unknown",
                       tr_unknown_fields_values[rows->unknown]);
    return key_of_options(rows, err);
}

enum tr_status tr_rows_new(const struct tr_decoder_options *options,
                           const struct tr_decoder_context *context, const char *const *hidden,
                           size_t hidden_count, struct tr_rows **out, struct tr_error *err)
{
    struct tr_rows *rows = calloc(1, sizeof *rows);
    if (rows == NULL)
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for a decoder");
    rows->options = options;
    rows->context = *context;
    tr_arena_init(&rows->arena, 4096, 0);
    for (size_t i = 0; i < hidden_count && i < TR_ROWS_HIDDEN_MAX; i++)
        rows->hidden[rows->hidden_count++] = hidden[i];
    if (read_options(rows, err) != TR_OK) {
        tr_rows_free(rows);
        return TR_FAIL;
    }
    *out = rows;
    return TR_OK;
}

/* ---- tables --------------------------------------------------------------------------------- */

static void table_free(struct tr_rows_table *table)
{
    if (table == NULL)
        return;
    for (size_t i = 0; i < table->column_count; i++)
        free((void *)(uintptr_t)table->columns[i].spec.name);
    free(table->columns);
    free(table->undo);
    free(table->order);
    free(table->slots);
    free(table->own_keys);
    free((void *)(uintptr_t)table->id.namespace);
    tr_table_unref(table->current);
    tr_table_unref(table->next);
    free(table);
}

void tr_rows_free(struct tr_rows *rows)
{
    if (rows == NULL)
        return;
    for (size_t i = 0; i < rows->table_count; i++)
        table_free(rows->tables[i]);
    free(rows->tables);
    free(rows->table_slots);
    tr_json_doc_free(&rows->text_doc);
    tr_json_doc_free(&rows->key_doc);
    tr_arena_free(&rows->arena);
    free(rows);
}

/* ---- names → columns ------------------------------------------------------------------------ */

static uint32_t hash_name(const char *name, size_t len)
{
    uint32_t hash = 2166136261u; /* FNV-1a */
    for (size_t i = 0; i < len; i++)
        hash = (hash ^ (uint8_t)name[i]) * 16777619u;
    return hash ^ hash >> 15;
}

/* The map is at most half full, so a probe always ends. */
static bool rebuild_lookup(struct tr_rows_table *table)
{
    uint32_t size = 16;
    while (size < 2u * table->column_capacity + 2u)
        size *= 2;
    uint16_t *slots = calloc(size, sizeof *slots);
    uint16_t *order = calloc((size_t)table->column_capacity + 1, sizeof *order);
    if (slots == NULL || order == NULL) {
        free(slots);
        free(order);
        return false;
    }
    free(table->slots);
    free(table->order);
    table->slots = slots;
    table->order = order;
    table->slot_mask = size - 1;
    for (uint16_t i = 0; i < table->column_count; i++) {
        const struct tr_rows_column *column = &table->columns[i];
        uint32_t at = hash_name(column->spec.name, column->name_len) & table->slot_mask;
        while (slots[at] != 0)
            at = (at + 1) & table->slot_mask;
        slots[at] = (uint16_t)(i + 1);
    }
    return true;
}

static inline bool is_named(const struct tr_rows_table *table, uint16_t index, const char *name,
                            size_t len)
{
    const struct tr_rows_column *column = &table->columns[index];
    return column->name_len == len && memcmp(column->spec.name, name, len) == 0;
}

int tr_rows_find(struct tr_rows_table *table, uint32_t position, const char *name, size_t len)
{
    if (table->slots == NULL)
        return -1;
    if (position < table->column_capacity) {
        uint16_t guess = table->order[position];
        if (guess < table->column_count && is_named(table, guess, name, len))
            return guess;
    }
    for (uint32_t at = hash_name(name, len) & table->slot_mask; table->slots[at] != 0;
         at = (at + 1) & table->slot_mask) {
        uint16_t index = (uint16_t)(table->slots[at] - 1);
        if (!is_named(table, index, name, len))
            continue;
        if (position < table->column_capacity)
            table->order[position] = index;
        return index;
    }
    return -1;
}

uint16_t tr_rows_key_place(const struct tr_rows_table *table, const char *name, size_t len)
{
    for (uint16_t i = 0; i < table->key_count; i++) {
        if (strlen(table->key_names[i]) == len && memcmp(table->key_names[i], name, len) == 0)
            return (uint16_t)(i + 1);
    }
    return 0;
}

static bool hash_tables(struct tr_rows *rows);

/* ---- changing columns ----------------------------------------------------------------------- */

enum tr_status tr_rows_touch(struct tr_rows_table *table, struct tr_error *err)
{
    table->changed = true;
    if (table->undo != NULL)
        return TR_OK;
    table->undo = malloc(((size_t)table->column_count + 1) * sizeof *table->undo);
    if (table->undo == NULL)
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for a table's columns");
    if (table->column_count > 0)
        memcpy(table->undo, table->columns, table->column_count * sizeof *table->undo);
    table->undo_count = table->column_count;
    table->undo_attnum = table->attnum_last;
    return TR_OK;
}

static bool grow(struct tr_rows_table *table)
{
    uint16_t capacity = table->column_capacity == 0 ? 16 : (uint16_t)(table->column_capacity * 2);
    struct tr_rows_column *columns = realloc(table->columns, capacity * sizeof *columns);
    if (columns == NULL)
        return false;
    table->columns = columns;
    table->column_capacity = capacity;
    return true;
}

/* Where the key's columns are now. */
static void find_keys(struct tr_rows_table *table)
{
    for (uint16_t i = 0; i < TR_ROWS_KEY_MAX; i++)
        table->keys[i] = TR_ROWS_NONE;
    for (uint16_t i = 0; i < table->column_count; i++) {
        if (table->columns[i].spec.key_index > 0)
            table->keys[table->columns[i].spec.key_index - 1] = i;
    }
}

static enum tr_status append(struct tr_rows_table *table, const struct tr_column *spec,
                             const char *name, size_t name_len, enum tr_rows_origin origin,
                             struct tr_error *err)
{
    static const char failed[] = "no memory for a table's columns";
    if (table->column_count >= TR_ROWS_COLUMNS_MAX)
        return tr_fail(err, TR_E_MESSAGE_LIMIT, "table \"%s\" would have more than %d columns",
                       table->id.table, TR_ROWS_COLUMNS_MAX);
    if (table->column_count == table->column_capacity && !grow(table))
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "%s", failed);
    char *copy = malloc(name_len + 1);
    if (copy == NULL)
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "%s", failed);
    memcpy(copy, name, name_len);
    copy[name_len] = '\0';
    struct tr_rows_column *column = &table->columns[table->column_count++];
    *column = (struct tr_rows_column){*spec, (uint32_t)name_len, (uint8_t)origin};
    column->spec.name = copy;
    column->spec.key_index = tr_rows_key_place(table, name, name_len);
    if (column->spec.key_index > 0)
        column->spec.nullable = false;
    if (column->spec.source_attnum == 0)
        column->spec.source_attnum = ++table->attnum_last;
    else if (column->spec.source_attnum > table->attnum_last)
        table->attnum_last = column->spec.source_attnum;
    find_keys(table);
    if (!rebuild_lookup(table))
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "%s", failed);
    return TR_OK;
}

enum tr_status tr_rows_add(struct tr_rows_table *table, const struct tr_column *spec,
                           const char *name, size_t name_len, enum tr_rows_origin origin,
                           struct tr_error *err)
{
    if (name_len == 0)
        return tr_fail(err, TR_E_MESSAGE_FIELD, "a field has an empty name");
    if (name_len > TR_ROWS_NAME_BYTES_MAX)
        return tr_fail(err, TR_E_MESSAGE_LIMIT, "a field's name is longer than %d bytes",
                       TR_ROWS_NAME_BYTES_MAX);
    if (tr_rows_touch(table, err) != TR_OK)
        return TR_FAIL;
    return append(table, spec, name, name_len, origin, err);
}

/* Where the version's cells have the hidden columns. */
static void locate_hidden(struct tr_rows_table *table, const struct tr_table *version)
{
    const struct tr_rows *rows = table->rows;
    for (size_t i = 0; i < rows->hidden_count; i++) {
        int index = tr_table_column(version, rows->hidden[i]);
        bool there = index >= 0 && version->columns[index].hidden;
        table->hidden[i] = there ? (uint16_t)index : TR_ROWS_NONE;
    }
}

/* A table that no row was published of. */
static void forget_table(struct tr_rows *rows, struct tr_rows_table *table)
{
    size_t at = 0;
    while (rows->tables[at] != table)
        at++;
    rows->table_count--;
    memmove(&rows->tables[at], &rows->tables[at + 1],
            (rows->table_count - at) * sizeof(*rows->tables));
    rows->last = NULL;
    table_free(table);
    if (!hash_tables(rows)) /* then a hash that finds nothing: tables are made again */
        memset(rows->table_slots, 0, ((size_t)rows->table_mask + 1) * sizeof *rows->table_slots);
}

void tr_rows_rollback(struct tr_rows *rows)
{
    struct tr_rows_table *table = rows->dirty;
    rows->dirty = NULL;
    if (table == NULL)
        return;
    if (table->undo != NULL) {
        for (uint16_t i = table->undo_count; i < table->column_count; i++)
            free((void *)(uintptr_t)table->columns[i].spec.name);
        if (table->undo_count > 0)
            memcpy(table->columns, table->undo, table->undo_count * sizeof *table->undo);
        table->column_count = table->undo_count;
        table->attnum_last = table->undo_attnum;
        free(table->undo);
        table->undo = NULL;
        find_keys(table);
    }
    tr_table_unref(table->next);
    table->next = NULL;
    table->changed = false;
    if (table->current == NULL) {
        forget_table(rows, table);
        return;
    }
    table->built_count = table->column_count;
    locate_hidden(table, table->current);
    if (!rebuild_lookup(table)) {
        /* no memory: every name looks new until the next change, which cannot be made either */
        memset(table->slots, 0, ((size_t)table->slot_mask + 1) * sizeof *table->slots);
        memset(table->order, 0xff, table->column_capacity * sizeof *table->order);
    }
}

/* ---- making tables -------------------------------------------------------------------------- */

static bool slice_is(struct tr_slice slice, const char *string)
{
    return strncmp(slice.ptr, string, slice.len) == 0 && string[slice.len] == '\0';
}

static bool has_id(const struct tr_rows_table *table, const struct tr_slice id[3])
{
    return slice_is(id[2], table->id.table) && slice_is(id[1], table->id.schema) &&
           slice_is(id[0], table->id.namespace);
}

static uint32_t hash_id(const struct tr_slice id[3])
{
    return hash_name(id[2].ptr, id[2].len) ^ hash_name(id[1].ptr, id[1].len) * 31 ^
           hash_name(id[0].ptr, id[0].len) * 127;
}

static uint32_t *slot_of_table(const struct tr_rows *rows, const struct tr_slice id[3])
{
    uint32_t at = hash_id(id) & rows->table_mask;
    while (rows->table_slots[at] != 0 && !has_id(rows->tables[rows->table_slots[at] - 1], id))
        at = (at + 1) & rows->table_mask;
    return &rows->table_slots[at];
}

static struct tr_rows_table *find_table(const struct tr_rows *rows, const struct tr_slice id[3])
{
    if (rows->table_slots == NULL)
        return NULL;
    uint32_t slot = *slot_of_table(rows, id);
    return slot == 0 ? NULL : rows->tables[slot - 1];
}

/* Hashes every table again: tables come and go rarely. At most half full. */
static bool hash_tables(struct tr_rows *rows)
{
    uint32_t size = 16;
    while (size < 2 * rows->table_capacity + 2)
        size *= 2;
    uint32_t *slots = calloc(size, sizeof *slots);
    if (slots == NULL)
        return false;
    free(rows->table_slots);
    rows->table_slots = slots;
    rows->table_mask = size - 1;
    for (size_t i = 0; i < rows->table_count; i++) {
        const struct tr_table_id *name = &rows->tables[i]->id;
        const struct tr_slice id[3] = {tr_slice_of(name->namespace), tr_slice_of(name->schema),
                                       tr_slice_of(name->table)};
        *slot_of_table(rows, id) = (uint32_t)(i + 1);
    }
    return true;
}

static enum tr_status table_new(struct tr_rows *rows, const struct tr_slice id[3],
                                struct tr_rows_table **out, struct tr_error *err)
{
    if (rows->table_count == TR_ROWS_TABLES_MAX)
        return tr_fail(err, TR_E_MESSAGE_LIMIT, "the messages name more than %d tables",
                       TR_ROWS_TABLES_MAX);
    if (rows->table_count == rows->table_capacity) {
        size_t capacity = rows->table_capacity == 0 ? 8 : rows->table_capacity * 2;
        struct tr_rows_table **tables = realloc(rows->tables, capacity * sizeof(*tables));
        if (tables == NULL)
            return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for tables");
        rows->tables = tables;
        rows->table_capacity = capacity;
    }
    struct tr_rows_table *table = calloc(1, sizeof *table);
    char *names = malloc(id[0].len + id[1].len + id[2].len + 3);
    if (table == NULL || names == NULL) {
        free(table);
        free(names);
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for a table");
    }
    const char **parts[3] = {&table->id.namespace, &table->id.schema, &table->id.table};
    for (int i = 0; i < 3; i++) {
        *parts[i] = names;
        memcpy(names, id[i].ptr, id[i].len);
        names[id[i].len] = '\0';
        names += id[i].len + 1;
    }
    table->rows = rows;
    table->key_count = rows->key_count;
    memcpy(table->key_names, rows->keys, sizeof table->key_names);
    rows->tables[rows->table_count++] = table;
    find_keys(table);
    if (!hash_tables(rows)) {
        rows->table_count--;
        table_free(table);
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for tables");
    }
    *out = table;
    return TR_OK;
}

static enum tr_status add_declared(struct tr_rows_table *table, struct tr_error *err)
{
    const struct tr_rows *rows = table->rows;
    for (size_t i = 0; i < rows->declared_count; i++) {
        const struct tr_column *spec = &rows->declared[i];
        if (append(table, spec, spec->name, strlen(spec->name), TR_ROWS_FROM_OPTION, err) != TR_OK)
            return TR_FAIL;
    }
    return TR_OK;
}

enum tr_status tr_rows_table(struct tr_rows *rows, struct tr_slice namespace,
                             struct tr_slice schema, struct tr_slice name,
                             struct tr_rows_table **out, struct tr_error *err)
{
    const struct tr_slice id[3] = {namespace, schema, name};
    rows->dirty = NULL;
    if (rows->last != NULL && has_id(rows->last, id)) {
        *out = rows->dirty = rows->last;
        return TR_OK;
    }
    for (int i = 0; i < 3; i++) {
        if (id[i].len > TR_ROWS_NAME_BYTES_MAX || memchr(id[i].ptr, '\0', id[i].len) != NULL)
            return tr_fail(err, TR_E_MESSAGE_LIMIT, "a table's name is longer than %d bytes",
                           TR_ROWS_NAME_BYTES_MAX);
    }
    if (name.len == 0)
        return tr_fail(err, TR_E_MESSAGE_ENVELOPE, "the message names no table");
    struct tr_rows_table *table = find_table(rows, id);
    if (table == NULL) {
        if (table_new(rows, id, &table, err) != TR_OK)
            return TR_FAIL;
        rows->dirty = table;
        if (add_declared(table, err) != TR_OK) {
            tr_rows_rollback(rows);
            return TR_FAIL;
        }
    }
    *out = rows->dirty = rows->last = table;
    return TR_OK;
}

enum tr_status tr_rows_table_of_message(struct tr_rows *rows, const struct tr_message *message,
                                        struct tr_rows_table **out, struct tr_error *err)
{
    const struct tr_decoder_context *context = &rows->context;
    const char *name = context->table;
    if (name == NULL)
        name = message->split->table != NULL ? message->split->table : message->split->container;
    return tr_rows_table(rows, tr_slice_of(context->namespace == NULL ? "" : context->namespace),
                         tr_slice_of(context->schema == NULL ? "" : context->schema),
                         tr_slice_of(name), out, err);
}

enum tr_status tr_rows_set_key(struct tr_rows_table *table, const struct tr_slice *names,
                               size_t count, struct tr_error *err)
{
    size_t bytes = 0;
    if (table->current != NULL || table->column_count > table->rows->declared_count ||
        table->key_count > 0 || count == 0)
        return TR_OK;
    if (count > TR_ROWS_KEY_MAX)
        return tr_fail(err, TR_E_MESSAGE_LIMIT, "the key has more than %d columns",
                       TR_ROWS_KEY_MAX);
    for (size_t i = 0; i < count; i++)
        bytes += names[i].len + 1;
    table->own_keys = malloc(bytes);
    if (table->own_keys == NULL)
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for a table's key");
    char *to = table->own_keys;
    for (size_t i = 0; i < count; i++) {
        table->key_names[table->key_count++] = to;
        memcpy(to, names[i].ptr, names[i].len);
        to[names[i].len] = '\0';
        to += names[i].len + 1;
    }
    for (uint16_t i = 0; i < table->column_count; i++) { /* those of the option `columns` */
        struct tr_rows_column *column = &table->columns[i];
        column->spec.key_index = tr_rows_key_place(table, column->spec.name, column->name_len);
        if (column->spec.key_index > 0)
            column->spec.nullable = false;
    }
    find_keys(table);
    return TR_OK;
}

bool tr_rows_is_known(const struct tr_rows_table *table) { return table->current != NULL; }

/* ---- schema versions ------------------------------------------------------------------------ */

static size_t add_hidden(struct tr_rows_table *table, struct tr_column *columns, size_t count)
{
    const struct tr_rows *rows = table->rows;
    for (size_t i = 0; i < rows->hidden_count; i++) {
        const char *name = rows->hidden[i];
        if (tr_rows_find(table, UINT32_MAX, name, strlen(name)) >= 0)
            continue;
        columns[count++] = (struct tr_column){.name = name,
                                              .type = TR_T_STRING,
                                              .elem_type = TR_T_OTHER,
                                              .source_type = "STRING",
                                              .source_type_base = "STRING",
                                              .source_typmod = -1,
                                              .source_attnum = HIDDEN_ATTNUM + (int32_t)i,
                                              .nullable = true,
                                              .hidden = true};
    }
    return count;
}

static bool has_key_columns(const struct tr_rows_table *table)
{
    for (uint16_t i = 0; i < table->key_count; i++) {
        if (table->keys[i] == TR_ROWS_NONE)
            return false;
    }
    return true;
}

static enum tr_status build(struct tr_rows_table *table, struct tr_error *err)
{
    size_t count = table->column_count;
    if (count == 0)
        return tr_fail(err, TR_E_MESSAGE_FIELD, "the row has no field whose type is known");
    if (!has_key_columns(table))
        return tr_fail(err, TR_E_MESSAGE_KEY, "the message has not all columns of the key");
    struct tr_column *columns = malloc((count + TR_ROWS_HIDDEN_MAX) * sizeof *columns);
    if (columns == NULL)
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for a table's schema");
    for (size_t i = 0; i < count; i++)
        columns[i] = table->columns[i].spec;
    struct tr_table spec = {.id = table->id,
                            .version = table->current == NULL ? 1 : table->current->version + 1,
                            .columns = columns,
                            .replica_identity = TR_RI_DEFAULT,
                            .key_is_primary = table->key_count > 0};
    spec.column_count = (uint16_t)add_hidden(table, columns, count);
    tr_table_unref(table->next);
    table->next = NULL;
    enum tr_status status = tr_table_new(&spec, &table->next, err);
    if (status == TR_OK) {
        table->built_count = (uint16_t)count;
        locate_hidden(table, table->next);
    }
    free(columns);
    return status;
}

enum tr_status tr_rows_settle(struct tr_rows_table *table, tr_rows_fill_fn fill, void *context,
                              struct tr_error *err)
{
    /* a key that the options named since then may be a column that comes with this message */
    if (table->stale && table->next == NULL && has_key_columns(table) && build(table, err) != TR_OK)
        return TR_FAIL;
    for (int round = 0; round < ROUNDS_MAX; round++) {
        table->changed = false;
        if (fill(context, table, err) != TR_OK)
            return TR_FAIL;
        bool is_built = table->next != NULL || (table->current != NULL && !table->stale);
        if (!table->changed && is_built)
            return TR_OK;
        if (build(table, err) != TR_OK)
            return TR_FAIL;
    }
    return tr_fail(err, TR_E_INTERNAL, "a table's schema does not settle");
}

static enum tr_status announce(struct tr_rows_table *table, struct tr_batch *batch,
                               struct tr_error *err)
{
    const struct tr_schema_change create = {.kind = TR_CHANGE_CREATE_TABLE};
    const struct tr_table *what = table->current != NULL ? table->current : table->next;
    if (tr_batch_schema_change(batch, what, &create, NULL, err) != TR_OK)
        return TR_FAIL;
    table->announced = true;
    return TR_OK;
}

enum tr_status tr_rows_publish(struct tr_rows_table *table, struct tr_batch *batch,
                               struct tr_error *err)
{
    struct tr_schema_change change;
    if (!table->announced && announce(table, batch, err) != TR_OK)
        return TR_FAIL;
    table->rows->dirty = NULL;
    if (table->next == NULL)
        return tr_batch_table(batch, table->current, err);
    if (table->current != NULL) {
        if (tr_schema_diff(table->current, table->next, &batch->arena, &change, err) != TR_OK)
            return TR_FAIL;
        if (change.item_count > 0 &&
            tr_batch_schema_change(batch, table->next, &change, NULL, err) != TR_OK)
            return TR_FAIL;
    }
    tr_table_unref(table->current);
    table->current = table->next;
    table->next = NULL;
    table->stale = false;
    free(table->undo);
    table->undo = NULL;
    if (!table->mark_due) {
        table->mark_due = true;
        table->rows->due_count++;
    }
    return tr_batch_table(batch, table->current, err);
}

const struct tr_table *tr_rows_current(const struct tr_rows_table *table)
{
    return table->next != NULL ? table->next : table->current;
}

const struct tr_column *tr_rows_column(const struct tr_rows_table *table, int index)
{
    return &table->columns[index].spec;
}

size_t tr_rows_key_count(const struct tr_rows_table *table) { return table->key_count; }

size_t tr_rows_built(const struct tr_rows_table *table) { return table->built_count; }

/* ---- marks ---------------------------------------------------------------------------------- */

/* A mark's key is printable ASCII without space, '=' and '*': other bytes are %XX. Names too long
 * for a key end in their hash; the value has the ID, so the key need only be its own. */
static void put_key_name(struct tr_outbuf *out, const char *name)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-";
    for (; *name != '\0'; name++) {
        if (strchr(plain, *name) != NULL)
            tr_outbuf_byte(out, *name);
        else
            tr_outbuf_printf(out, "%%%02X", (uint8_t)*name);
    }
}

static void put_mark_key(struct tr_outbuf *out, const struct tr_table_id *id)
{
    tr_outbuf_lit(out, TR_MARK_SCHEMA);
    if (id->namespace[0] != '\0' || id->schema[0] != '\0') {
        put_key_name(out, id->namespace);
        tr_outbuf_byte(out, '.');
        put_key_name(out, id->schema);
        tr_outbuf_byte(out, '.');
    }
    put_key_name(out, id->table);
    if (out->len > MARK_KEY_TEXT_BYTES) {
        uint64_t hash = UINT64_C(14695981039346656037);
        for (size_t i = 0; i < out->len; i++)
            hash = (hash ^ (uint8_t)out->data[i]) * UINT64_C(1099511628211);
        out->len = MARK_KEY_TEXT_BYTES;
        tr_outbuf_printf(out, "~%016llx", (unsigned long long)hash);
    }
}

static enum tr_status put_mark(const struct tr_rows_table *table, struct tr_batch *batch,
                               struct tr_mark *mark, struct tr_error *err)
{
    struct tr_outbuf key = {0}, value = {0};
    put_mark_key(&key, &table->id);
    tr_table_encode(table->current, &value);
    bool failed = key.failed || value.failed;
    if (!failed) {
        mark->key = (struct tr_slice){tr_batch_copy(batch, key.data, key.len), key.len};
        mark->value = (struct tr_slice){tr_batch_copy(batch, value.data, value.len), value.len};
        failed = mark->key.ptr == NULL || mark->value.ptr == NULL;
    }
    tr_outbuf_free(&key);
    tr_outbuf_free(&value);
    return failed ? tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for a table's schema") : TR_OK;
}

enum tr_status tr_rows_marks(struct tr_rows *rows, struct tr_batch *batch,
                             const struct tr_mark **marks, uint32_t *count, struct tr_error *err)
{
    uint32_t made = 0;
    *marks = NULL;
    *count = 0;
    if (rows->due_count == 0)
        return TR_OK;
    struct tr_mark *list =
        tr_arena_alloc(&batch->arena, rows->due_count * sizeof *list, _Alignof(struct tr_mark));
    if (list == NULL)
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for marks");
    for (size_t i = 0; i < rows->table_count; i++) {
        if (rows->tables[i]->mark_due &&
            put_mark(rows->tables[i], batch, &list[made++], err) != TR_OK)
            return TR_FAIL;
    }
    for (size_t i = 0; i < rows->table_count; i++)
        rows->tables[i]->mark_due = false;
    rows->due_count = 0;
    *marks = list;
    *count = made;
    return TR_OK;
}

/* ---- restore -------------------------------------------------------------------------------- */

/* Types that inference gives: such a column goes on widening. */
static bool is_inferable(const struct tr_column *column)
{
    switch (column->type) {
    case TR_T_BOOLEAN:
    case TR_T_INT64:
    case TR_T_FLOAT64:
    case TR_T_JSON:
        return true;
    case TR_T_DECIMAL:
        return column->precision == 0;
    case TR_T_STRING:
        return column->length == 0;
    default:
        return false;
    }
}

static enum tr_status restore_column(struct tr_rows_table *table, const struct tr_column *stored,
                                     struct tr_error *err)
{
    const struct tr_rows *rows = table->rows;
    struct tr_column spec = *stored;
    enum tr_rows_origin origin = is_inferable(stored) ? TR_ROWS_INFERRED : TR_ROWS_FROM_SCHEMA;
    for (size_t i = 0; i < rows->declared_count; i++) {
        if (strcmp(rows->declared[i].name, stored->name) == 0) {
            spec = rows->declared[i];
            origin = TR_ROWS_FROM_OPTION;
        }
    }
    spec.source_attnum = stored->source_attnum;
    if (origin != TR_ROWS_FROM_OPTION)
        spec.source_type = spec.source_type_base = tr_columns_type_name(spec.type);
    return append(table, &spec, stored->name, strlen(stored->name), origin, err);
}

static enum tr_status restore_table(struct tr_rows *rows, struct tr_table *stored,
                                    struct tr_error *err)
{
    const struct tr_slice id[3] = {tr_slice_of(stored->id.namespace),
                                   tr_slice_of(stored->id.schema), tr_slice_of(stored->id.table)};
    struct tr_rows_table *table;
    if (find_table(rows, id) != NULL || stored->column_count > TR_ROWS_COLUMNS_MAX)
        return tr_fail(err, TR_E_STORED_SCHEMA, "a stored table schema is there twice");
    if (table_new(rows, id, &table, err) != TR_OK)
        return TR_FAIL;
    table->stale = true;
    struct tr_slice keys[TR_ROWS_KEY_MAX];
    for (uint16_t i = 0; i < stored->key_count && i < TR_ROWS_KEY_MAX; i++)
        keys[i] = tr_slice_of(stored->columns[stored->key_columns[i]].name);
    if (tr_rows_set_key(table, keys, stored->key_count, err) != TR_OK)
        return TR_FAIL;
    for (uint16_t i = 0; i < stored->column_count; i++) {
        const struct tr_column *column = &stored->columns[i];
        if (!column->hidden && restore_column(table, column, err) != TR_OK)
            return TR_FAIL;
    }
    for (size_t i = 0; i < rows->declared_count; i++) {
        const struct tr_column *spec = &rows->declared[i];
        size_t len = strlen(spec->name);
        if (tr_rows_find(table, UINT32_MAX, spec->name, len) < 0 &&
            append(table, spec, spec->name, len, TR_ROWS_FROM_OPTION, err) != TR_OK)
            return TR_FAIL;
    }
    table->current = tr_table_ref(stored);
    return TR_OK;
}

enum tr_status tr_rows_restore(struct tr_rows *rows, const struct tr_state *marks,
                               struct tr_error *err)
{
    enum tr_status status = TR_OK;
    for (size_t i = tr_state_seek(marks, TR_MARK_SCHEMA);
         status == TR_OK && tr_state_has_prefix(marks, i, TR_MARK_SCHEMA); i++) {
        struct tr_table *stored;
        if (tr_table_decode(marks->items[i].value, &stored, err) != TR_OK)
            return TR_FAIL;
        status = restore_table(rows, stored, err);
        tr_table_unref(stored);
    }
    return status;
}
