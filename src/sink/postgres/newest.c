/* Tables with a version: last write wins (sink.h).
 *
 * A key is a register: it holds a row with its version, or a deletion with its version in
 * tailrace_deleted, or nothing. Within a batch the change with the greatest version is what counts
 * (coalesce.c); against the target each statement compares once more, so that rows and deletions are
 * set-wise too:
 *
 *   upsert   WITH f AS (DELETE the remembered deletions that are not newer)
 *            INSERT INTO t … SELECT … FROM s WHERE no newer deletion is remembered
 *              ON CONFLICT (key) DO UPDATE SET … WHERE t.v IS NULL OR t.v <= EXCLUDED.v
 *   update   of a row whose values did not all come: UPDATE t … AND (t.v IS NULL OR t.v <= s.v)
 *   delete   WITH g AS (DELETE FROM t … AND (t.v IS NULL OR t.v <= s.v))
 *            INSERT INTO tailrace_deleted … SELECT … WHERE no newer row is there
 *              ON CONFLICT … DO UPDATE … WHERE the remembered one is not newer
 *
 * Rows compare by their own type on the server; deletions by a key made of the version that compares by
 * its bytes (encode/version_key.h), "" for NULL. The target's column must be of the version's kind, so
 * that both orders are one. A deletion whose version is NULL is older than nothing and not
 * remembered. TRUNCATE has no version and leaves the remembered deletions alone.
 *
 * Two processes of one pipeline agree on a key when its changes come through one split, as Kafka's
 * partitioning by key has it: the split's position is guarded. Two that write one key at the same
 * moment out of different splits could miss each other's deletion.
 *
 *   tailrace_deleted(pipeline, target, key, version, deleted_at), in the schema of the position
 *   table; target is "schema"."table", key a JSON array of the key's values as text. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "encode/version_key.h"
#include "sink/postgres/encode.h"
#include "sink/postgres/writer.h"

#define SWEEP_MS_MIN 60000   /* at most once a minute, */
#define SWEEP_MS_MAX 3600000 /* at least once an hour, */
#define SWEEP_SHARE 100      /* and else a hundred times within the retention */
#define SWEEP_ROWS_MAX 50000

enum { KEY_TEXTS, VERSION_KEYS, VERSIONS };

static enum tr_status no_memory(struct tr_error *err)
{
    return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory to apply changes");
}

/* ---- what can be a version ------------------------------------------------------------------ */

/* Server types whose order is the order of the version's keys. */
static bool same_order(enum tr_type type, const char *target_type)
{
    static const char *const numbers[] = {"int2", "int4", "int8", "numeric", NULL};
    static const char *const floats[] = {"float4", "float8", "numeric", NULL};
    static const char *const times[] = {"timestamp", "timestamptz", NULL};
    static const char *const dates[] = {"date", "timestamp", "timestamptz", NULL};
    static const char *const day_times[] = {"time", NULL};
    static const char *const texts[] = {"text", "\"varchar\"", "varchar", NULL};
    static const char *const uuids[] = {"uuid", NULL};
    const char *const *names = numbers;
    switch (type) {
    case TR_T_FLOAT32:
    case TR_T_FLOAT64:
        names = floats;
        break;
    case TR_T_TIMESTAMP:
    case TR_T_TIMESTAMPTZ:
        names = times;
        break;
    case TR_T_DATE:
        names = dates;
        break;
    case TR_T_TIME:
        names = day_times;
        break;
    case TR_T_STRING:
        names = texts;
        break;
    case TR_T_UUID:
        names = uuids;
        break;
    default:
        break;
    }
    static const char schema[] = "pg_catalog.";
    if (strncmp(target_type, schema, sizeof schema - 1) != 0)
        return false;
    const char *name = target_type + sizeof schema - 1;
    size_t len = strlen(name);
    for (; *names != NULL; names++) { /* quote_ident puts some names into quotes */
        if (strcmp(*names, name) == 0 ||
            (len == strlen(*names) + 2 && strncmp(name + 1, *names, len - 2) == 0))
            return true;
    }
    return false;
}

enum tr_status tr_pgs_newest_check(const struct tr_pgs_target *target, const struct tr_table *table,
                                   struct tr_error *err)
{
    const struct tr_column *column =
        table->version_column <= table->column_count ? &table->columns[table->version_column - 1]
                                                     : NULL;
    int at = column == NULL ? -1 : tr_pgs_target_column(target, column->name);
    if (table->key_count == 0)
        (void)tr_fail(err, TR_E_SINK_VERSION_COLUMN,
                      "%s has no key: last write wins has nothing to compare", target->quoted);
    else if (column == NULL || column->key_index > 0 || !tr_version_type(column->type))
        (void)tr_fail(err, TR_E_SINK_VERSION_COLUMN, "\"%s\" of %s cannot be a version: %s",
                      column == NULL ? "?" : column->name, target->quoted,
                      column == NULL          ? "there is no such column"
                      : column->key_index > 0 ? "it is in the key"
                                              : "its type has no order");
    else if (at >= 0 && (target->columns[at].generated ||
                         !same_order(column->type, target->columns[at].type)))
        (void)tr_fail(err, TR_E_SINK_VERSION_COLUMN,
                      "\"%s\" of %s cannot be a version: it is %s on the target and %s in the source",
                      column->name, target->quoted,
                      target->columns[at].generated ? "generated" : target->columns[at].pretty,
                      tr_type_name(column->type));
    else
        return TR_OK;
    return tr_hint(err, "%s", tr_error_info(TR_E_SINK_VERSION_COLUMN)->remedy);
}

/* ---- SQL ------------------------------------------------------------------------------------ */

static const struct tr_pgs_column *column_of(const struct tr_pgs_layout *layout, uint16_t source)
{
    return &layout->target->columns[layout->target_column[source]];
}

static void name_of(struct tr_pgs_link *link, const struct tr_pgs_layout *layout, uint16_t source,
                    struct tr_outbuf *out)
{
    tr_pgs_identifier(link, out, column_of(layout, source)->name);
}

static void deleted_name(const struct tr_pgs_sink *sink, struct tr_pgs_link *link,
                         struct tr_outbuf *out)
{
    tr_pgs_identifier(link, out, sink->position_schema);
    tr_outbuf_lit(out, "." TR_PGS_DELETED_TABLE);
}

/* 'pipeline' AND … of the table d */
static void deleted_of(struct tr_pgs_writer *writer, const struct tr_pgs_layout *layout,
                       struct tr_outbuf *out)
{
    tr_outbuf_lit(out, "d.pipeline = ");
    tr_pgs_literal(&writer->link, out, writer->sink->pipeline_name);
    tr_outbuf_lit(out, " AND d.target = ");
    tr_pgs_literal(&writer->link, out, layout->target->quoted);
}

/* An array parameter and its column of s, without a name: see statement.c. NULL type: text. */
static void param(const char *array_type, unsigned *number, struct tr_outbuf *out)
{
    tr_outbuf_printf(out, "%spg_catalog.unnest($%u::%s) AS ", *number > 0 ? ", " : "", *number + 1,
                     array_type == NULL ? "pg_catalog._text" : array_type);
    ++*number;
}

/* … of a table's column: the columns come first and are c0, c1 … */
static void array_param(const struct tr_pgs_layout *layout, uint16_t source, unsigned *number,
                        struct tr_outbuf *out)
{
    param(column_of(layout, source)->array_type, number, out);
    tr_outbuf_printf(out, "c%u", *number - 1);
}

static void text_params(unsigned *number, struct tr_outbuf *out) /* key text and version key */
{
    param(NULL, number, out);
    tr_outbuf_lit(out, "kt");
    param(NULL, number, out);
    tr_outbuf_lit(out, "vk");
}

static void value(const struct tr_pgs_layout *layout, uint16_t source, unsigned number,
                  struct tr_outbuf *out)
{
    const struct tr_pgs_column *column = column_of(layout, source);
    tr_outbuf_printf(out, "s.c%u", number);
    if (column->array_type == NULL)
        tr_outbuf_printf(out, "::%s", column->type);
}

/* The key of `alias` equals s.c<first> … */
static void key_equals(struct tr_pgs_link *link, const struct tr_pgs_layout *layout,
                       const char *alias, unsigned first, struct tr_outbuf *out)
{
    for (uint16_t i = 0; i < layout->key_count; i++) {
        tr_outbuf_printf(out, "%s%s.", i > 0 ? " AND " : "", alias);
        name_of(link, layout, layout->key_columns[i], out);
        tr_outbuf_lit(out, " = ");
        value(layout, layout->key_columns[i], first + i, out);
    }
}

static const char *collation(const struct tr_pgs_layout *layout)
{
    return column_of(layout, (uint16_t)layout->version)->collatable ? " COLLATE \"C\"" : "";
}

/* (t.v IS NULL OR t.v <= other) */
static void not_newer(struct tr_pgs_link *link, const struct tr_pgs_layout *layout,
                      const char *alias, const char *other, struct tr_outbuf *out)
{
    tr_outbuf_printf(out, "(%s.", alias);
    name_of(link, layout, (uint16_t)layout->version, out);
    tr_outbuf_printf(out, " IS NULL OR %s.", alias);
    name_of(link, layout, (uint16_t)layout->version, out);
    tr_outbuf_printf(out, "%s <= %s)", collation(layout), other);
}

static void name_list(struct tr_pgs_link *link, const struct tr_pgs_layout *layout,
                      const uint16_t *columns, uint16_t count, struct tr_outbuf *out)
{
    for (uint16_t i = 0; i < count; i++) {
        tr_outbuf_str(out, i > 0 ? ", " : "");
        name_of(link, layout, columns[i], out);
    }
}

static void on_conflict(struct tr_pgs_link *link, const struct tr_pgs_layout *layout,
                        const uint16_t *set_columns, uint16_t set_count, struct tr_outbuf *out)
{
    struct tr_outbuf other = {0};
    tr_outbuf_lit(out, " ON CONFLICT (");
    name_list(link, layout, layout->key_columns, layout->key_count, out);
    tr_outbuf_lit(out, ") DO UPDATE SET ");
    for (uint16_t i = 0; i < set_count; i++) {
        tr_outbuf_str(out, i > 0 ? ", " : "");
        name_of(link, layout, set_columns[i], out);
        tr_outbuf_lit(out, " = EXCLUDED.");
        name_of(link, layout, set_columns[i], out);
    }
    tr_outbuf_lit(&other, "EXCLUDED.");
    name_of(link, layout, (uint16_t)layout->version, &other);
    tr_outbuf_lit(out, " WHERE ");
    not_newer(link, layout, "t", tr_outbuf_cstr(&other), out);
    out->failed = out->failed || other.failed;
    tr_outbuf_free(&other);
}

static void no_newer_deletion(struct tr_pgs_writer *writer, const struct tr_pgs_layout *layout,
                              struct tr_outbuf *out)
{
    tr_outbuf_lit(out, "NOT EXISTS (SELECT 1 FROM ");
    deleted_name(writer->sink, &writer->link, out);
    tr_outbuf_lit(out, " AS d WHERE ");
    deleted_of(writer, layout, out);
    tr_outbuf_lit(out, " AND d.key = s.kt AND d.version > s.vk)");
}

static int upsert_sql(struct tr_pgs_writer *writer, const struct tr_pgs_layout *layout,
                      const struct tr_pgs_shape *shape, struct tr_outbuf *out)
{
    unsigned number = 0;
    tr_outbuf_lit(out, "WITH s AS (SELECT ");
    for (uint16_t i = 0; i < shape->column_count; i++)
        array_param(layout, shape->columns[i], &number, out);
    text_params(&number, out);
    tr_outbuf_lit(out, "), f AS (DELETE FROM ");
    deleted_name(writer->sink, &writer->link, out);
    tr_outbuf_lit(out, " AS d USING s WHERE ");
    deleted_of(writer, layout, out);
    tr_outbuf_printf(out, " AND d.key = s.kt AND d.version <= s.vk) INSERT INTO %s AS t (",
                     layout->target->quoted);
    name_list(&writer->link, layout, shape->columns, shape->column_count, out);
    tr_outbuf_str(out, layout->overriding ? ") OVERRIDING SYSTEM VALUE SELECT " : ") SELECT ");
    for (uint16_t i = 0; i < shape->column_count; i++) {
        tr_outbuf_str(out, i > 0 ? ", " : "");
        value(layout, shape->columns[i], i, out);
    }
    tr_outbuf_lit(out, " FROM s WHERE ");
    no_newer_deletion(writer, layout, out);
    on_conflict(&writer->link, layout, shape->set_columns, shape->set_count, out);
    return (int)number;
}

static int update_sql(struct tr_pgs_writer *writer, const struct tr_pgs_layout *layout,
                      const struct tr_pgs_shape *shape, struct tr_outbuf *out)
{
    unsigned number = 0, version = 0;
    char other[32];
    tr_outbuf_printf(out, "UPDATE %s AS t SET ", layout->target->quoted);
    for (uint16_t i = 0; i < shape->set_count; i++) {
        unsigned place = (unsigned)layout->key_count + i;
        tr_outbuf_str(out, i > 0 ? ", " : "");
        name_of(&writer->link, layout, shape->set_columns[i], out);
        tr_outbuf_lit(out, " = ");
        value(layout, shape->set_columns[i], place, out);
        if (shape->set_columns[i] == layout->version)
            version = place;
    }
    tr_outbuf_lit(out, " FROM (SELECT ");
    for (uint16_t i = 0; i < layout->key_count; i++)
        array_param(layout, layout->key_columns[i], &number, out);
    for (uint16_t i = 0; i < shape->set_count; i++)
        array_param(layout, shape->set_columns[i], &number, out);
    param(NULL, &number, out);
    tr_outbuf_lit(out, "kt) AS s WHERE ");
    key_equals(&writer->link, layout, "t", 0, out);
    tr_outbuf_lit(out, " AND ");
    (void)snprintf(other, sizeof other, "s.c%u", version);
    not_newer(&writer->link, layout, "t", other, out);
    return (int)number;
}

static int delete_sql(struct tr_pgs_writer *writer, const struct tr_pgs_layout *layout,
                      struct tr_outbuf *out)
{
    unsigned number = 0;
    struct tr_pgs_link *link = &writer->link;
    tr_outbuf_lit(out, "WITH s AS (SELECT ");
    for (uint16_t i = 0; i < layout->key_count; i++)
        array_param(layout, layout->key_columns[i], &number, out);
    text_params(&number, out);
    param(column_of(layout, (uint16_t)layout->version)->array_type, &number, out);
    tr_outbuf_lit(out, "v");
    tr_outbuf_printf(out, "), g AS (DELETE FROM %s AS t USING s WHERE ", layout->target->quoted);
    key_equals(link, layout, "t", 0, out);
    tr_outbuf_lit(out, " AND ");
    not_newer(link, layout, "t", "s.v", out);
    tr_outbuf_lit(out, ") INSERT INTO ");
    deleted_name(writer->sink, link, out);
    tr_outbuf_lit(out, " AS d (pipeline, target, key, version, deleted_at) SELECT ");
    tr_pgs_literal(link, out, writer->sink->pipeline_name);
    tr_outbuf_lit(out, ", ");
    tr_pgs_literal(link, out, layout->target->quoted);
    tr_outbuf_printf(out,
                     ", s.kt, s.vk, pg_catalog.now() FROM s WHERE s.vk <> '' AND NOT EXISTS"
                     " (SELECT 1 FROM %s AS t WHERE ",
                     layout->target->quoted);
    key_equals(link, layout, "t", 0, out);
    tr_outbuf_lit(out, " AND t.");
    name_of(link, layout, (uint16_t)layout->version, out);
    tr_outbuf_printf(out,
                     "%s > s.v) ON CONFLICT (pipeline, target, key) DO UPDATE SET"
                     " version = EXCLUDED.version, deleted_at = EXCLUDED.deleted_at"
                     " WHERE d.version <= EXCLUDED.version",
                     collation(layout));
    return (int)number;
}

/* Moves a row to another key, with the values that did not come; takes away the deletion that was
 * remembered there. Parameters: the shape's columns, the old key, key text and version key. */
static void move_sql(struct tr_pgs_writer *writer, const struct tr_pgs_layout *layout,
                     const struct tr_pgs_shape *whole, const struct tr_pgs_shape *shape,
                     struct tr_outbuf *out)
{
    struct tr_pgs_link *link = &writer->link;
    unsigned number = 0, version = 0;
    char other[32];
    tr_outbuf_lit(out, "WITH s AS (SELECT ");
    for (uint16_t i = 0; i < shape->column_count; i++) {
        version = shape->columns[i] == layout->version ? i : version;
        array_param(layout, shape->columns[i], &number, out);
    }
    for (uint16_t i = 0; i < layout->key_count; i++)
        array_param(layout, layout->key_columns[i], &number, out);
    text_params(&number, out);
    tr_outbuf_printf(out, "), m AS (INSERT INTO %s AS t (", layout->target->quoted);
    name_list(link, layout, whole->columns, whole->column_count, out);
    tr_outbuf_str(out, layout->overriding ? ") OVERRIDING SYSTEM VALUE SELECT " : ") SELECT ");
    for (uint16_t i = 0; i < whole->column_count; i++) {
        uint16_t k = 0;
        while (k < shape->column_count && shape->columns[k] != whole->columns[i])
            k++;
        tr_outbuf_str(out, i > 0 ? ", " : "");
        if (k < shape->column_count) {
            value(layout, whole->columns[i], k, out);
        } else {
            tr_outbuf_lit(out, "o.");
            name_of(link, layout, whole->columns[i], out);
        }
    }
    tr_outbuf_printf(out, " FROM s JOIN %s AS o ON ", layout->target->quoted);
    key_equals(link, layout, "o", shape->column_count, out);
    tr_outbuf_lit(out, " AND ");
    (void)snprintf(other, sizeof other, "s.c%u", version);
    not_newer(link, layout, "o", other, out);
    tr_outbuf_lit(out, " WHERE ");
    no_newer_deletion(writer, layout, out);
    on_conflict(link, layout, whole->set_columns, whole->set_count, out);
    tr_outbuf_lit(out, " RETURNING 1) DELETE FROM ");
    deleted_name(writer->sink, link, out);
    tr_outbuf_lit(out, " AS d USING s WHERE ");
    deleted_of(writer, layout, out);
    tr_outbuf_lit(out, " AND d.key = s.kt AND EXISTS (SELECT 1 FROM m)");
}

static enum tr_status statement(struct tr_pgs_writer *writer, struct tr_pgs_layout *layout,
                                struct tr_pgs_shape *shape, enum tr_pgs_row_kind kind,
                                struct tr_pgs_stmt **out, struct tr_error *err)
{
    struct tr_pgs_stmt *stmt = kind == TR_PGS_ROW_DELETE   ? &layout->newest_delete
                               : kind == TR_PGS_ROW_UPDATE ? &shape->newest_update
                                                           : &shape->newest_upsert;
    struct tr_outbuf sql = {0};
    *out = stmt;
    if (stmt->sql != NULL)
        return TR_OK;
    if (kind == TR_PGS_ROW_DELETE)
        stmt->param_count = delete_sql(writer, layout, &sql);
    else if (kind == TR_PGS_ROW_UPDATE)
        stmt->param_count = update_sql(writer, layout, shape, &sql);
    else
        stmt->param_count = upsert_sql(writer, layout, shape, &sql);
    const char *text = tr_outbuf_cstr(&sql);
    stmt->sql = sql.failed ? NULL : strdup(text);
    tr_outbuf_free(&sql);
    return stmt->sql == NULL ? no_memory(err) : TR_OK;
}

/* ---- parameters ----------------------------------------------------------------------------- */

struct set {
    const struct tr_pgs_row *rows;
    const struct tr_pgs_order *order; /* NULL: rows in a row */
    uint32_t count;
};

static const struct tr_pgs_row *row_at(const struct set *set, uint32_t i)
{
    return &set->rows[set->order == NULL ? i : set->order[i].row];
}

static void key_text(struct tr_outbuf *out, const struct tr_pgs_layout *layout,
                     const struct tr_cell *key)
{
    tr_outbuf_clear(out);
    for (uint16_t i = 0; i < layout->key_count; i++)
        tr_key_text(out, i, layout->table->columns[layout->key_columns[i]].type, &key[i]);
    tr_outbuf_byte(out, ']');
}

static void element(struct tr_outbuf *out, const char *text, size_t len, bool plain)
{
    struct tr_cell cell = {text, (uint32_t)len, text == NULL ? TR_CELL_NULL : TR_CELL_TEXT};
    tr_outbuf_byte(out, out->len == 0 ? '{' : ',');
    tr_pgs_array_item(out, &cell, plain);
}

static enum tr_status take_array(struct tr_pgs_writer *writer, struct tr_outbuf *out, uint32_t at,
                                 struct tr_error *err)
{
    tr_outbuf_byte(out, '}');
    writer->params.values[at] = tr_outbuf_cstr(out);
    writer->params.formats[at] = 0;
    return out->failed ? no_memory(err) : TR_OK;
}

/* The texts of the keys, the keys of the versions, and for deletions the versions themselves. */
static enum tr_status newest_arrays(struct tr_pgs_writer *writer,
                                    const struct tr_pgs_layout *layout, const struct set *set,
                                    int array_count, uint32_t at, struct tr_error *err)
{
    bool plain = tr_pgs_type_is_plain(layout->table->columns[layout->version].type);
    for (int i = 0; i < 3; i++)
        tr_outbuf_clear(&writer->newest_arrays[i]);
    for (uint32_t i = 0; i < set->count; i++) {
        const struct tr_pgs_row *row = row_at(set, i);
        key_text(&writer->key_text, layout, row->key);
        if (writer->key_text.failed)
            return no_memory(err);
        element(&writer->newest_arrays[KEY_TEXTS], writer->key_text.data, writer->key_text.len,
                false);
        element(&writer->newest_arrays[VERSION_KEYS], row->version_key, strlen(row->version_key),
                false);
        if (array_count > VERSIONS)
            element(&writer->newest_arrays[VERSIONS], row->version,
                    row->version == NULL ? 0 : strlen(row->version), plain);
    }
    for (int i = 0; i < array_count; i++) {
        if (take_array(writer, &writer->newest_arrays[i], at + (uint32_t)i, err) != TR_OK)
            return TR_FAIL;
    }
    return TR_OK;
}

/* One array for each key column (keys) or each of the columns. */
static enum tr_status cell_arrays(struct tr_pgs_writer *writer, const struct tr_pgs_layout *layout,
                                  const struct set *set, const uint16_t *columns, uint16_t count,
                                  bool keys, uint32_t at, struct tr_error *err)
{
    if (tr_pgs_params_cells(writer, set->count, err) != TR_OK)
        return TR_FAIL;
    for (uint16_t c = 0; c < count; c++) {
        for (uint32_t i = 0; i < set->count; i++) {
            const struct tr_pgs_row *row = row_at(set, i);
            writer->cells[i] = keys ? &row->key[c] : &row->cells[columns[c]];
        }
        if (tr_pgs_params_array(writer, at + c, layout, columns[c], set->count, err) != TR_OK)
            return TR_FAIL;
    }
    return TR_OK;
}

enum tr_status tr_pgs_newest_queue(struct tr_pgs_writer *writer, struct tr_pgs_layout *layout,
                                   struct tr_pgs_shape *shape, enum tr_pgs_row_kind kind,
                                   const struct tr_pgs_row *rows, const struct tr_pgs_order *order,
                                   uint32_t count, uint32_t tag, struct tr_error *err)
{
    const struct set set = {rows, order, count};
    struct tr_pgs_stmt *stmt;
    uint32_t at = 0;
    enum tr_status status = TR_OK;
    if (kind != TR_PGS_ROW_UPDATE && kind != TR_PGS_ROW_DELETE) {
        at = shape->column_count;
        status = cell_arrays(writer, layout, &set, shape->columns, shape->column_count, false, 0,
                             err);
    } else {
        at = layout->key_count;
        status =
            cell_arrays(writer, layout, &set, layout->key_columns, layout->key_count, true, 0, err);
    }
    if (status == TR_OK && kind == TR_PGS_ROW_UPDATE) {
        status = cell_arrays(writer, layout, &set, shape->set_columns, shape->set_count, false, at,
                             err);
        at += shape->set_count;
    }
    int arrays = kind == TR_PGS_ROW_DELETE ? 3 : kind == TR_PGS_ROW_UPDATE ? 1 : 2;
    if (status != TR_OK || newest_arrays(writer, layout, &set, arrays, at, err) != TR_OK ||
        statement(writer, layout, shape, kind, &stmt, err) != TR_OK)
        return TR_FAIL;
    return tr_pgs_pipe_stmt(&writer->link, stmt, &writer->params, tag, err);
}

/* A changed key whose row did not come in full: the row moves where both keys give way. What is at
 * the new key is updated else, and the old key is deleted in any case. */
static enum tr_status queue_move(struct tr_pgs_writer *writer, const struct tr_pgs_change *change,
                                 struct tr_pgs_shape *shape, uint32_t tag, struct tr_error *err)
{
    struct tr_pgs_layout *layout = change->layout;
    struct tr_pgs_shape *whole;
    const struct tr_pgs_row to = {.cells = change->after,
                                  .key = change->key,
                                  .version = change->version,
                                  .version_key = change->version_key};
    struct tr_pgs_row from = to;
    from.key = change->old_key;
    from.cells = NULL;
    const struct set to_set = {&to, NULL, 1}, from_set = {&from, NULL, 1};
    uint32_t columns = shape->column_count, keys = layout->key_count;
    if (tr_pgs_shape_of(layout, NULL, &whole, err) != TR_OK ||
        cell_arrays(writer, layout, &to_set, shape->columns, shape->column_count, false, 0, err) !=
            TR_OK ||
        cell_arrays(writer, layout, &from_set, layout->key_columns, layout->key_count, true,
                    columns, err) != TR_OK ||
        newest_arrays(writer, layout, &to_set, 2, columns + keys, err) != TR_OK)
        return TR_FAIL;
    tr_outbuf_clear(&writer->sql);
    move_sql(writer, layout, whole, shape, &writer->sql);
    const char *sql = tr_outbuf_cstr(&writer->sql);
    if (writer->sql.failed)
        return no_memory(err);
    if (tr_pgs_pipe_sql(&writer->link, sql, (int)(columns + keys + 2), &writer->params, tag, err) !=
            TR_OK ||
        tr_pgs_newest_queue(writer, layout, shape, TR_PGS_ROW_UPDATE, &to, NULL, 1, tag, err) !=
            TR_OK)
        return TR_FAIL;
    return tr_pgs_newest_queue(writer, layout, NULL, TR_PGS_ROW_DELETE, &from, NULL, 1, tag, err);
}

enum tr_status tr_pgs_newest_change(struct tr_pgs_writer *writer,
                                    const struct tr_pgs_change *change, uint32_t tag,
                                    struct tr_error *err)
{
    struct tr_pgs_shape *shape = NULL;
    const struct tr_pgs_row row = {.cells = change->after,
                                   .key = change->key,
                                   .version = change->version,
                                   .version_key = change->version_key};
    if (change->after != NULL &&
        tr_pgs_shape_of(change->layout, change->after, &shape, err) != TR_OK)
        return TR_FAIL;
    if (change->key_changed)
        return queue_move(writer, change, shape, tag, err);
    enum tr_pgs_row_kind kind = change->op == TR_OP_DELETE                    ? TR_PGS_ROW_DELETE
                                : change->op == TR_OP_UPDATE && !change->full ? TR_PGS_ROW_UPDATE
                                                                              : TR_PGS_ROW_UPSERT;
    return tr_pgs_newest_queue(writer, change->layout, shape, kind, &row, NULL, 1, tag, err);
}

/* ---- the table of deletions ----------------------------------------------------------------- */

enum tr_status tr_pgs_deleted_create(struct tr_pgs_writer *writer, struct tr_error *err)
{
    struct tr_pgs_link *link = &writer->link;
    struct tr_outbuf sql = {0};
    bool alone = !writer->in_transaction;
    if (writer->deleted_ready)
        return TR_OK;
    if (tr_pgs_own_table_exists(writer->sink, link, TR_PGS_DELETED_TABLE, &writer->deleted_ready,
                                err) != TR_OK)
        return TR_FAIL;
    if (writer->deleted_ready)
        return TR_OK;
    tr_outbuf_str(&sql, alone ? "BEGIN;" : "");
    tr_outbuf_lit(
        &sql, "SELECT pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtext('tailrace ddl'));"
              "CREATE TABLE IF NOT EXISTS ");
    deleted_name(writer->sink, link, &sql);
    tr_outbuf_lit(&sql, " (pipeline text NOT NULL, target text NOT NULL,"
                        " key text COLLATE \"C\" NOT NULL, version text COLLATE \"C\" NOT NULL,"
                        " deleted_at timestamptz NOT NULL, PRIMARY KEY (pipeline, target, key))");
    tr_outbuf_str(&sql, alone ? ";COMMIT" : "");
    const char *text = tr_outbuf_cstr(&sql);
    enum tr_status status =
        sql.failed ? no_memory(err)
                   : tr_pgs_exec(link, text, "could not create " TR_PGS_DELETED_TABLE, NULL, err);
    if (status == TR_FAIL && err->code == TR_E_PGSINK_PRIVILEGE)
        (void)tr_hint(err, "GRANT CREATE ON SCHEMA \"%s\" TO the role, or name another one by "
                           "position.schema",
                      writer->sink->position_schema);
    writer->deleted_ready = status == TR_OK;
    tr_outbuf_free(&sql);
    return status;
}

/* Rows that another process works on are left for another time. */
enum tr_status tr_pgs_deleted_sweep(struct tr_pgs_writer *writer, uint32_t tag,
                                    struct tr_error *err)
{
    int64_t retention_ms = writer->sink->options->tombstone_retention_ms;
    int64_t every_ms = retention_ms / SWEEP_SHARE, now_ms = tr_clock_mono_ms();
    char age[32];
    const char *params[] = {writer->sink->pipeline_name, age};
    struct tr_outbuf *sql = &writer->sql;
    if (every_ms < SWEEP_MS_MIN)
        every_ms = SWEEP_MS_MIN;
    if (every_ms > SWEEP_MS_MAX)
        every_ms = SWEEP_MS_MAX;
    if (!writer->deleted_ready || retention_ms == 0 ||
        (writer->deleted_swept_ms != 0 && now_ms - writer->deleted_swept_ms < every_ms))
        return TR_OK;
    writer->deleted_swept_ms = now_ms;
    (void)snprintf(age, sizeof age, "%lld", (long long)retention_ms);
    tr_outbuf_clear(sql);
    tr_outbuf_lit(sql, "DELETE FROM ");
    deleted_name(writer->sink, &writer->link, sql);
    tr_outbuf_lit(sql, " WHERE ctid = ANY(ARRAY(SELECT d.ctid FROM ");
    deleted_name(writer->sink, &writer->link, sql);
    tr_outbuf_printf(sql,
                     " AS d WHERE d.pipeline = $1 AND d.deleted_at < pg_catalog.now() -"
                     " $2::pg_catalog.int8 * interval '1 millisecond' LIMIT %d"
                     " FOR UPDATE SKIP LOCKED))",
                     SWEEP_ROWS_MAX);
    const char *text = tr_outbuf_cstr(sql);
    if (sql->failed)
        return no_memory(err);
    return tr_pgs_pipe_sql(&writer->link, text, 2, &(struct tr_pgs_params){.values = params}, tag,
                           err);
}

static void target_literal(struct tr_pgs_writer *writer, const struct tr_table_id *id,
                           struct tr_outbuf *out)
{
    struct tr_outbuf name = {0};
    tr_pgs_identifier(&writer->link, &name, tr_pgs_schema_of(writer->sink, id));
    tr_outbuf_byte(&name, '.');
    tr_pgs_identifier(&writer->link, &name, id->table);
    tr_pgs_literal(&writer->link, out, tr_outbuf_cstr(&name));
    out->failed = out->failed || name.failed;
    tr_outbuf_free(&name);
}

enum tr_status tr_pgs_deleted_move(struct tr_pgs_writer *writer, const struct tr_table_id *from,
                                   const struct tr_table_id *to, struct tr_error *err)
{
    struct tr_outbuf sql = {0};
    bool found;
    if (tr_pgs_own_table_exists(writer->sink, &writer->link, TR_PGS_DELETED_TABLE, &found, err) !=
        TR_OK)
        return TR_FAIL;
    if (!found)
        return TR_OK;
    tr_outbuf_lit(&sql, "DELETE FROM ");
    deleted_name(writer->sink, &writer->link, &sql);
    tr_outbuf_lit(&sql, " AS d WHERE d.target = ");
    target_literal(writer, to == NULL ? from : to, &sql);
    if (to != NULL) { /* not when it was done before */
        tr_outbuf_lit(&sql, " AND EXISTS (SELECT 1 FROM ");
        deleted_name(writer->sink, &writer->link, &sql);
        tr_outbuf_lit(&sql, " AS f WHERE f.target = ");
        target_literal(writer, from, &sql);
        tr_outbuf_lit(&sql, "); UPDATE ");
        deleted_name(writer->sink, &writer->link, &sql);
        tr_outbuf_lit(&sql, " SET target = ");
        target_literal(writer, to, &sql);
        tr_outbuf_lit(&sql, " WHERE target = ");
        target_literal(writer, from, &sql);
    }
    const char *text = tr_outbuf_cstr(&sql);
    enum tr_status status =
        sql.failed ? no_memory(err)
                   : tr_pgs_exec(&writer->link, text, "could not change " TR_PGS_DELETED_TABLE,
                                 NULL, err);
    tr_outbuf_free(&sql);
    return status;
}
