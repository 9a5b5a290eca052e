/* Tables: immutable, counted; one allocation holds the struct, the columns and every string. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "tailrace/event.h"

#define TABLE_MAGIC 0x7ab1e001u

struct table_box {
    struct tr_table table; /* first: pointers to it are pointers to the box */
    struct tr_arena arena;
};

static const char *const type_names[TR_T_COUNT] = {
    "BOOLEAN", "INT8",     "INT16", "INT32", "INT64",     "UINT64",      "FLOAT32",  "FLOAT64", "DECIMAL",
    "STRING",  "BYTES",    "DATE",  "TIME",  "TIMETZ",    "TIMESTAMP",   "TIMESTAMPTZ", "INTERVAL",
    "UUID",    "JSON",     "XML",   "ENUM",  "BIT",       "MONEY",       "ARRAY",    "POINT",   "HSTORE",
    "OTHER"};

const char *tr_type_name(enum tr_type type)
{
    return type < TR_T_COUNT ? type_names[type] : "?";
}

static size_t string_bytes(const char *string) { return string == NULL ? 0 : strlen(string) + 1; }

/* What everything that the spec points to takes, with room to align it: a thousand tables with a
 * page each would be felt. */
static size_t bytes_of(const struct tr_table *spec)
{
    size_t bytes = string_bytes(spec->id.namespace) + string_bytes(spec->id.schema) +
                   string_bytes(spec->id.table) + 4 * sizeof(struct tr_column);
    bytes += spec->column_count * (sizeof(struct tr_column) + sizeof(uint16_t));
    for (uint16_t i = 0; i < spec->column_count; i++) {
        const struct tr_column *column = &spec->columns[i];
        bytes += string_bytes(column->name) + string_bytes(column->source_type) +
                 string_bytes(column->source_type_base) + string_bytes(column->default_value) +
                 string_bytes(column->enum_labels);
    }
    return bytes;
}

static bool dup_string(struct tr_arena *arena, const char **string)
{
    if (*string == NULL)
        return true;
    *string = tr_arena_strdup(arena, *string);
    return *string != NULL;
}

static bool copy_columns(struct table_box *box, const struct tr_table *spec)
{
    struct tr_table *table = &box->table;
    size_t count = spec->column_count;
    struct tr_column *columns =
        tr_arena_alloc(&box->arena, (count + 1) * sizeof *columns, _Alignof(struct tr_column));
    uint16_t *keys = tr_arena_alloc(&box->arena, (count + 1) * sizeof *keys, _Alignof(uint16_t));
    if (columns == NULL || keys == NULL)
        return false;
    table->key_count = 0;
    for (size_t i = 0; i < count; i++) {
        columns[i] = spec->columns[i];
        if (!dup_string(&box->arena, &columns[i].name) ||
            !dup_string(&box->arena, &columns[i].source_type) ||
            !dup_string(&box->arena, &columns[i].source_type_base) ||
            !dup_string(&box->arena, &columns[i].default_value) ||
            !dup_string(&box->arena, &columns[i].enum_labels))
            return false;
        if (columns[i].key_index > 0)
            table->key_count++;
    }
    for (uint16_t place = 1; place <= table->key_count; place++) {
        size_t i = 0;
        while (i < count && columns[i].key_index != place)
            i++;
        if (i == count)
            return false;
        keys[place - 1] = (uint16_t)i;
    }
    table->columns = columns;
    table->key_columns = keys;
    return true;
}

void tr_table_spec(const struct tr_table *table, struct tr_table *spec)
{
    *spec = (struct tr_table){.id = table->id,
                              .source_id = table->source_id,
                              .version = table->version,
                              .column_count = table->column_count,
                              .key_count = table->key_count,
                              .columns = table->columns,
                              .key_columns = table->key_columns,
                              .replica_identity = table->replica_identity,
                              .key_is_primary = table->key_is_primary,
                              .version_column = table->version_column};
}

enum tr_status tr_table_new(const struct tr_table *spec, struct tr_table **out, struct tr_error *err)
{
    struct table_box *box = calloc(1, sizeof *box);
    if (box == NULL)
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for a table's schema");
    tr_arena_init(&box->arena, bytes_of(spec), 0);
    tr_table_spec(spec, &box->table);
    box->table.magic = TABLE_MAGIC;
    atomic_init(&box->table.refs, 1);
    if (box->table.id.namespace == NULL)
        box->table.id.namespace = "";
    if (box->table.id.schema == NULL)
        box->table.id.schema = "";
    if (!dup_string(&box->arena, &box->table.id.namespace) ||
        !dup_string(&box->arena, &box->table.id.schema) ||
        !dup_string(&box->arena, &box->table.id.table) || !copy_columns(box, spec)) {
        tr_arena_free(&box->arena);
        free(box);
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for a table's schema, or a gap in its key");
    }
    *out = &box->table;
    return TR_OK;
}

enum tr_status tr_table_with_id(const struct tr_table *table, struct tr_table_id id,
                                struct tr_table **out, struct tr_error *err)
{
    struct tr_table spec;
    tr_table_spec(table, &spec);
    spec.id = id;
    return tr_table_new(&spec, out, err);
}

struct tr_table *tr_table_ref(const struct tr_table *table)
{
    struct tr_table *counted = (struct tr_table *)(uintptr_t)table;
    atomic_fetch_add_explicit(&counted->refs, 1, memory_order_relaxed);
    return counted;
}

void tr_table_unref(const struct tr_table *table)
{
    if (table == NULL)
        return;
    struct table_box *box = (struct table_box *)(uintptr_t)table;
    if (atomic_fetch_sub_explicit(&box->table.refs, 1, memory_order_acq_rel) != 1)
        return;
    box->table.magic = 0;
    tr_arena_free(&box->arena);
    free(box);
}

int tr_table_column(const struct tr_table *table, const char *name)
{
    for (int i = 0; i < table->column_count; i++) {
        if (strcmp(table->columns[i].name, name) == 0)
            return i;
    }
    return -1;
}

const char *tr_table_id_format(const struct tr_table_id *id, char *buf, size_t buf_size)
{
    (void)snprintf(buf, buf_size, "%s%s%s", id->schema, id->schema[0] ? "." : "", id->table);
    return buf;
}

bool tr_table_id_equal(const struct tr_table_id *a, const struct tr_table_id *b)
{
    return strcmp(a->namespace, b->namespace) == 0 && strcmp(a->schema, b->schema) == 0 &&
           strcmp(a->table, b->table) == 0;
}
