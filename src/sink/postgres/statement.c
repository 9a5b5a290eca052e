/* The SQL of apply.
 *
 * Set statements take one array per column and join them by unnest(): one statement, one plan, no
 * temporary table (which would need a privilege, grow the catalog and be truncated at each commit).
 *
 *   INSERT INTO t (a, b) SELECT s.c0, s.c1 FROM s ON CONFLICT (a) DO UPDATE SET b = EXCLUDED.b
 *   UPDATE t SET b = s.c1 FROM s WHERE t.a = s.c0
 *   DELETE FROM t USING s WHERE t.a = s.c0
 *
 * where s is (SELECT unnest($1::int4[]) AS c0, unnest($2::text[]) AS c1): arrays of one length go
 * in step (PostgreSQL 10 and newer). In a SELECT list the server takes element by element; FROM
 * unnest($1, $2) would first write each array into a store of tuples and read them back, which was
 * a third of an UPDATE's cost.
 *
 * A type whose array cannot travel so (arrays themselves: unnest would flatten them; composites,
 * which it would spread over columns; box, whose delimiter is not the comma) goes as text[] and is
 * cast per row. Casts name types without modifiers: the assignment then checks length and
 * precision, where an explicit cast to varchar(3) would cut. */
#include <stdlib.h>
#include <string.h>

#include "sink/postgres/target.h"

static const struct tr_pgs_column *column_of(const struct tr_pgs_layout *layout, uint16_t source)
{
    return &layout->target->columns[layout->target_column[source]];
}

static void name_of(struct tr_pgs_link *link, const struct tr_pgs_layout *layout, uint16_t source,
                    struct tr_outbuf *out)
{
    tr_pgs_identifier(link, out, column_of(layout, source)->name);
}

static void name_list(struct tr_pgs_link *link, const struct tr_pgs_layout *layout,
                      const uint16_t *columns, uint16_t count, struct tr_outbuf *out)
{
    for (uint16_t i = 0; i < count; i++) {
        if (i > 0)
            tr_outbuf_lit(out, ", ");
        name_of(link, layout, columns[i], out);
    }
}

/* (SELECT unnest($1::…) AS c0, …) AS s for the columns of both lists */
static void rows_of_arrays(const struct tr_pgs_layout *layout, const uint16_t *const lists[2],
                           const uint16_t counts[2], struct tr_outbuf *out)
{
    unsigned number = 0;
    tr_outbuf_lit(out, "(SELECT ");
    for (int list = 0; list < 2; list++) {
        for (uint16_t i = 0; i < counts[list]; i++) {
            const char *array = column_of(layout, lists[list][i])->array_type;
            tr_outbuf_printf(out, "%spg_catalog.unnest($%u::%s) AS c%u", number > 0 ? ", " : "",
                             number + 1, array == NULL ? "pg_catalog._text" : array, number);
            number++;
        }
    }
    tr_outbuf_lit(out, ") AS s");
}

static void set_value(const struct tr_pgs_layout *layout, uint16_t source, unsigned number,
                      struct tr_outbuf *out)
{
    const struct tr_pgs_column *column = column_of(layout, source);
    tr_outbuf_printf(out, "s.c%u", number);
    if (column->array_type == NULL)
        tr_outbuf_printf(out, "::%s", column->type);
}

static void overriding(const struct tr_pgs_layout *layout, struct tr_outbuf *out)
{
    if (layout->overriding)
        tr_outbuf_lit(out, " OVERRIDING SYSTEM VALUE");
}

static void on_conflict(struct tr_pgs_link *link, const struct tr_pgs_layout *layout,
                        const struct tr_pgs_shape *shape, struct tr_outbuf *out)
{
    if (!layout->has_arbiter)
        return;
    tr_outbuf_lit(out, " ON CONFLICT (");
    name_list(link, layout, layout->key_columns, layout->key_count, out);
    if (shape->set_count == 0) {
        tr_outbuf_lit(out, ") DO NOTHING");
        return;
    }
    tr_outbuf_lit(out, ") DO UPDATE SET ");
    for (uint16_t i = 0; i < shape->set_count; i++) {
        if (i > 0)
            tr_outbuf_lit(out, ", ");
        name_of(link, layout, shape->set_columns[i], out);
        tr_outbuf_lit(out, " = EXCLUDED.");
        name_of(link, layout, shape->set_columns[i], out);
    }
}

static void where_key_set(struct tr_pgs_link *link, const struct tr_pgs_layout *layout,
                          struct tr_outbuf *out)
{
    tr_outbuf_lit(out, " WHERE ");
    for (uint16_t i = 0; i < layout->key_count; i++) {
        tr_outbuf_str(out, i > 0 ? " AND t." : "t.");
        name_of(link, layout, layout->key_columns[i], out);
        tr_outbuf_lit(out, " = ");
        set_value(layout, layout->key_columns[i], i, out);
    }
}

static void where_key_row(struct tr_pgs_link *link, const struct tr_pgs_layout *layout,
                          unsigned first, struct tr_outbuf *out)
{
    tr_outbuf_lit(out, " WHERE ");
    for (uint16_t i = 0; i < layout->key_count; i++) {
        tr_outbuf_str(out, i > 0 ? " AND t." : "t.");
        name_of(link, layout, layout->key_columns[i], out);
        tr_outbuf_printf(out, " = $%u::%s", first + i,
                         column_of(layout, layout->key_columns[i])->type);
    }
}

static void delete_set(struct tr_pgs_link *link, const struct tr_pgs_layout *layout,
                       struct tr_outbuf *out)
{
    tr_outbuf_printf(out, "DELETE FROM %s AS t USING ", layout->target->quoted);
    rows_of_arrays(layout, (const uint16_t *const[2]){layout->key_columns, NULL},
                   (const uint16_t[2]){layout->key_count, 0}, out);
    where_key_set(link, layout, out);
}

static void update_set(struct tr_pgs_link *link, const struct tr_pgs_layout *layout,
                       const struct tr_pgs_shape *shape, struct tr_outbuf *out)
{
    tr_outbuf_printf(out, "UPDATE %s AS t SET ", layout->target->quoted);
    for (uint16_t i = 0; i < shape->set_count; i++) {
        if (i > 0)
            tr_outbuf_lit(out, ", ");
        name_of(link, layout, shape->set_columns[i], out);
        tr_outbuf_lit(out, " = ");
        set_value(layout, shape->set_columns[i], (unsigned)layout->key_count + i, out);
    }
    tr_outbuf_lit(out, " FROM ");
    rows_of_arrays(layout, (const uint16_t *const[2]){layout->key_columns, shape->set_columns},
                   (const uint16_t[2]){layout->key_count, shape->set_count}, out);
    where_key_set(link, layout, out);
}

static void insert_set(struct tr_pgs_link *link, const struct tr_pgs_layout *layout,
                       const struct tr_pgs_shape *shape, struct tr_outbuf *out)
{
    tr_outbuf_printf(out, "INSERT INTO %s (", layout->target->quoted);
    name_list(link, layout, shape->columns, shape->column_count, out);
    tr_outbuf_byte(out, ')');
    overriding(layout, out);
    tr_outbuf_lit(out, " SELECT ");
    for (uint16_t i = 0; i < shape->column_count; i++) {
        if (i > 0)
            tr_outbuf_lit(out, ", ");
        set_value(layout, shape->columns[i], i, out);
    }
    tr_outbuf_lit(out, " FROM ");
    rows_of_arrays(layout, (const uint16_t *const[2]){shape->columns, NULL},
                   (const uint16_t[2]){shape->column_count, 0}, out);
    if (!layout->has_arbiter && layout->key_count > 0) {
        tr_outbuf_printf(out, " WHERE NOT EXISTS (SELECT 1 FROM %s AS t WHERE ",
                         layout->target->quoted);
        for (uint16_t i = 0; i < layout->key_count; i++) {
            uint16_t number = 0;
            while (number < shape->column_count && shape->columns[number] != layout->key_columns[i])
                number++;
            tr_outbuf_str(out, i > 0 ? " AND t." : "t.");
            name_of(link, layout, layout->key_columns[i], out);
            tr_outbuf_lit(out, " = ");
            set_value(layout, layout->key_columns[i], number, out);
        }
        tr_outbuf_byte(out, ')');
    }
    on_conflict(link, layout, shape, out);
}

static void insert_row(struct tr_pgs_link *link, const struct tr_pgs_layout *layout,
                       const struct tr_pgs_shape *shape, struct tr_outbuf *out)
{
    tr_outbuf_printf(out, "INSERT INTO %s", layout->target->quoted);
    if (shape->column_count == 0) {
        tr_outbuf_lit(out, " DEFAULT VALUES");
        return;
    }
    tr_outbuf_lit(out, " (");
    name_list(link, layout, shape->columns, shape->column_count, out);
    tr_outbuf_byte(out, ')');
    overriding(layout, out);
    tr_outbuf_lit(out, " VALUES (");
    for (unsigned i = 0; i < shape->column_count; i++)
        tr_outbuf_printf(out, "%s$%u", i > 0 ? ", " : "", i + 1);
    tr_outbuf_byte(out, ')');
    on_conflict(link, layout, shape, out);
}

const uint16_t *tr_pgs_assigned(const struct tr_pgs_shape *shape, bool key_changed, uint16_t *count)
{
    *count = key_changed ? shape->column_count : shape->set_count;
    return key_changed ? shape->columns : shape->set_columns;
}

static void assignments(struct tr_pgs_link *link, const struct tr_pgs_layout *layout,
                        const struct tr_pgs_shape *shape, bool key_changed, bool all_params,
                        struct tr_outbuf *out)
{
    uint16_t count;
    const uint16_t *columns = tr_pgs_assigned(shape, key_changed, &count);
    for (uint16_t i = 0; i < count; i++) {
        unsigned number = i;
        if (all_params) {
            for (number = 0; shape->columns[number] != columns[i];)
                number++;
        }
        if (i > 0)
            tr_outbuf_lit(out, ", ");
        name_of(link, layout, columns[i], out);
        tr_outbuf_printf(out, " = $%u::%s", number + 1, column_of(layout, columns[i])->type);
    }
}

static void update_row(struct tr_pgs_link *link, const struct tr_pgs_layout *layout,
                       const struct tr_pgs_shape *shape, bool key_changed, bool insert_missing,
                       struct tr_outbuf *out)
{
    uint16_t assigned;
    (void)tr_pgs_assigned(shape, key_changed, &assigned);
    if (!insert_missing) {
        tr_outbuf_printf(out, "UPDATE %s AS t SET ", layout->target->quoted);
        assignments(link, layout, shape, key_changed, false, out);
        where_key_row(link, layout, (unsigned)assigned + 1, out);
        return;
    }
    tr_outbuf_printf(out, "WITH u AS (UPDATE %s AS t SET ", layout->target->quoted);
    assignments(link, layout, shape, key_changed, true, out);
    where_key_row(link, layout, (unsigned)shape->column_count + 1, out);
    tr_outbuf_printf(out, " RETURNING 1) INSERT INTO %s (", layout->target->quoted);
    name_list(link, layout, shape->columns, shape->column_count, out);
    tr_outbuf_byte(out, ')');
    overriding(layout, out);
    tr_outbuf_lit(out, " SELECT ");
    for (unsigned i = 0; i < shape->column_count; i++)
        tr_outbuf_printf(out, "%s$%u::%s", i > 0 ? ", " : "", i + 1,
                         column_of(layout, shape->columns[i])->type);
    tr_outbuf_lit(out, " WHERE NOT EXISTS (SELECT 1 FROM u)");
    if (layout->has_arbiter)
        tr_outbuf_lit(out, " ON CONFLICT DO NOTHING");
}

static struct tr_pgs_stmt *slot(struct tr_pgs_layout *layout, struct tr_pgs_shape *shape,
                                enum tr_pgs_statement_kind kind, bool key_changed,
                                bool insert_missing, int *param_count)
{
    uint16_t assigned;
    switch (kind) {
    case TR_PGS_DELETE_SET:
        *param_count = layout->key_count;
        return &layout->delete_set;
    case TR_PGS_DELETE_ROW:
        *param_count = layout->key_count;
        return &layout->delete_row;
    case TR_PGS_UPDATE_SET:
        *param_count = layout->key_count + shape->set_count;
        return &shape->update_set;
    case TR_PGS_INSERT_SET:
        *param_count = shape->column_count;
        return &shape->insert_set;
    case TR_PGS_INSERT_ROW:
        *param_count = shape->column_count;
        return &shape->insert_row;
    case TR_PGS_UPDATE_ROW:
        break;
    }
    (void)tr_pgs_assigned(shape, key_changed, &assigned);
    *param_count = (insert_missing ? shape->column_count : assigned) + layout->key_count;
    return &shape->update_row[key_changed][insert_missing];
}

enum tr_status tr_pgs_statement(struct tr_pgs_link *link, struct tr_pgs_layout *layout,
                                struct tr_pgs_shape *shape, enum tr_pgs_statement_kind kind,
                                bool key_changed, bool insert_missing, struct tr_pgs_stmt **out,
                                struct tr_error *err)
{
    int param_count = 0;
    struct tr_pgs_stmt *stmt = slot(layout, shape, kind, key_changed, insert_missing, &param_count);
    *out = stmt;
    if (stmt->sql != NULL)
        return TR_OK;
    struct tr_outbuf sql = {0};
    switch (kind) {
    case TR_PGS_DELETE_SET:
        delete_set(link, layout, &sql);
        break;
    case TR_PGS_UPDATE_SET:
        update_set(link, layout, shape, &sql);
        break;
    case TR_PGS_INSERT_SET:
        insert_set(link, layout, shape, &sql);
        break;
    case TR_PGS_DELETE_ROW:
        tr_outbuf_printf(&sql, "DELETE FROM %s AS t", layout->target->quoted);
        where_key_row(link, layout, 1, &sql);
        break;
    case TR_PGS_INSERT_ROW:
        insert_row(link, layout, shape, &sql);
        break;
    case TR_PGS_UPDATE_ROW:
        update_row(link, layout, shape, key_changed, insert_missing, &sql);
        break;
    }
    if (!sql.failed)
        stmt->sql = strdup(tr_outbuf_cstr(&sql));
    tr_outbuf_free(&sql);
    stmt->param_count = param_count;
    if (stmt->sql == NULL)
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for a statement");
    return TR_OK;
}

const char *tr_pgs_copy_sql(struct tr_pgs_link *link, const struct tr_pgs_layout *layout,
                            struct tr_pgs_shape *shape, bool binary)
{
    if (shape->copy_sql[binary] != NULL)
        return shape->copy_sql[binary];
    struct tr_outbuf sql = {0};
    tr_outbuf_printf(&sql, "COPY %s ", layout->target->quoted);
    if (shape->column_count > 0) {
        tr_outbuf_byte(&sql, '(');
        name_list(link, layout, shape->columns, shape->column_count, &sql);
        tr_outbuf_byte(&sql, ')');
    }
    tr_outbuf_str(&sql, binary ? " FROM STDIN WITH (FORMAT binary)" : " FROM STDIN");
    if (!sql.failed)
        shape->copy_sql[binary] = strdup(tr_outbuf_cstr(&sql));
    tr_outbuf_free(&sql);
    return shape->copy_sql[binary];
}

/* Types whose equality is the equality of their text, or that have no equality operator at all. */
static bool compares_as_text(enum tr_type type)
{
    switch (type) {
    case TR_T_JSON:
    case TR_T_XML:
    case TR_T_ARRAY:
    case TR_T_POINT:
    case TR_T_HSTORE:
    case TR_T_OTHER:
        return true;
    default:
        return false;
    }
}

void tr_pgs_keyless_sql(struct tr_pgs_link *link, const struct tr_pgs_layout *layout,
                        const struct tr_pgs_shape *shape, const struct tr_cell *before,
                        struct tr_outbuf *out)
{
    const char *table = layout->target->quoted;
    unsigned number = 0;
    if (shape == NULL) {
        tr_outbuf_printf(out, "DELETE FROM %s AS t USING ", table);
    } else {
        tr_outbuf_printf(out, "UPDATE %s AS t SET ", table);
        assignments(link, layout, shape, false, false, out);
        tr_outbuf_lit(out, " FROM ");
        number = shape->set_count;
    }
    tr_outbuf_printf(out, "(SELECT x.tableoid AS o, x.ctid AS c FROM %s AS x WHERE true", table);
    for (uint16_t i = 0; i < layout->column_count; i++) {
        if (layout->target_column[i] < 0)
            continue;
        const struct tr_pgs_column *column = column_of(layout, i);
        if (before[i].state != TR_CELL_NULL && before[i].state != TR_CELL_TEXT)
            continue;
        tr_outbuf_lit(out, " AND x.");
        tr_pgs_identifier(link, out, column->name);
        if (before[i].state == TR_CELL_NULL) {
            tr_outbuf_lit(out, " IS NULL");
            continue;
        }
        const char *cast =
            compares_as_text(layout->table->columns[i].type) ? "::pg_catalog.text" : "";
        tr_outbuf_printf(out, "%s = $%u::%s%s", cast, ++number, column->type, cast);
    }
    tr_outbuf_lit(out, " LIMIT 1) AS r WHERE t.ctid = r.c AND t.tableoid = r.o");
}
