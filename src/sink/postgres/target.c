/* Catalog of one target table, and the layouts of rows in it. Facts: the manual's chapter on system
 * catalogs (pg_class, pg_attribute, pg_index, pg_trigger). */
#include "sink/postgres/target.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ARENA_BLOCK_BYTES 4096

/* ---- reading the catalog ---- */

static const char *text_at(const PGresult *result, int row, int column)
{
    return PQgetisnull(result, row, column) ? NULL : PQgetvalue(result, row, column);
}

static bool true_at(const PGresult *result, int row, int column)
{
    const char *text = text_at(result, row, column);
    return text != NULL && *text == 't';
}

static const char *keep(struct tr_pgs_target *target, const char *text)
{
    return text == NULL ? NULL : tr_arena_strdup(&target->arena, text);
}

static enum tr_status read_relation(struct tr_pgs_link *link, struct tr_pgs_target *target,
                                    struct tr_error *err)
{
    static const char sql[] =
        "SELECT c.oid, c.relkind, c.relrowsecurity AND NOT pg_catalog.pg_has_role(c.relowner, "
        "'USAGE')"
        " AND NOT (SELECT rolsuper OR rolbypassrls FROM pg_catalog.pg_roles WHERE rolname = "
        "current_user)"
        " FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname = $1 AND c.relname = $2 AND c.relkind IN ('r','p','v','m','f')";
    const char *params[] = {target->schema, target->table};
    PGresult *result;
    if (tr_pgs_query(link, sql, 2, params, "could not read the target's catalog", &result, err) !=
        TR_OK)
        return TR_FAIL;
    target->exists = PQntuples(result) == 1;
    if (target->exists) {
        target->oid = keep(target, text_at(result, 0, 0));
        target->relkind = *PQgetvalue(result, 0, 1);
        target->row_security = true_at(result, 0, 2);
    }
    PQclear(result);
    return TR_OK;
}

static enum tr_status read_columns(struct tr_pgs_link *link, struct tr_pgs_target *target,
                                   struct tr_error *err)
{
    static const char sql[] =
        "SELECT a.attname,"
        " pg_catalog.quote_ident(tn.nspname) || '.' || pg_catalog.quote_ident(t.typname),"
        " pg_catalog.quote_ident(an.nspname) || '.' || pg_catalog.quote_ident(at.typname),"
        " pg_catalog.format_type(a.atttypid, a.atttypmod), pg_catalog.pg_get_expr(d.adbin, "
        "d.adrelid),"
        " a.attgenerated <> '', a.attidentity <> '', a.attidentity = 'a', a.attnotnull,"
        " t.typcollation <> 0, a.atttypid"
        " FROM pg_catalog.pg_attribute a"
        " JOIN pg_catalog.pg_type t ON t.oid = a.atttypid"
        " JOIN pg_catalog.pg_namespace tn ON tn.oid = t.typnamespace"
        " LEFT JOIN pg_catalog.pg_type at ON at.oid = t.typarray AND t.typdelim = ','"
        " AND t.typtype NOT IN ('c', 'd')"
        " LEFT JOIN pg_catalog.pg_namespace an ON an.oid = at.typnamespace"
        " LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum"
        " WHERE a.attrelid = $1::pg_catalog.oid AND a.attnum > 0 AND NOT a.attisdropped"
        " ORDER BY a.attnum";
    const char *params[] = {target->oid};
    PGresult *result;
    if (tr_pgs_query(link, sql, 1, params, "could not read the target's columns", &result, err) !=
        TR_OK)
        return TR_FAIL;
    int count = PQntuples(result);
    struct tr_pgs_column *columns = tr_arena_alloc(
        &target->arena, ((size_t)count + 1) * sizeof *columns, _Alignof(struct tr_pgs_column));
    enum tr_status status = TR_OK;
    if (columns == NULL) {
        status = tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for a target table");
        goto cleanup;
    }
    for (int i = 0; i < count; i++) {
        struct tr_pgs_column *column = &columns[i];
        *column = (struct tr_pgs_column){
            .name = keep(target, text_at(result, i, 0)),
            .type = keep(target, text_at(result, i, 1)),
            .array_type = keep(target, text_at(result, i, 2)),
            .pretty = keep(target, text_at(result, i, 3)),
            .default_sql = keep(target, text_at(result, i, 4)),
            .generated = true_at(result, i, 5),
            .identity = true_at(result, i, 6),
            .identity_always = true_at(result, i, 7),
            .not_null = true_at(result, i, 8),
            .collatable = true_at(result, i, 9),
            .type_oid = (uint32_t)strtoul(PQgetvalue(result, i, 10), NULL, 10),
        };
        if (column->name == NULL || column->type == NULL)
            status = tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for a target table");
        if (column->generated)
            column->default_sql = NULL;
    }
    target->columns = columns;
    target->column_count = (uint16_t)count;
cleanup:
    PQclear(result);
    return status;
}

static enum tr_status read_indexes(struct tr_pgs_link *link, struct tr_pgs_target *target,
                                   struct tr_error *err)
{
    static const char sql[] =
        "SELECT i.indisprimary, i.indimmediate, ic.relname, k.place, a.attname"
        " FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class ic ON ic.oid = i.indexrelid"
        " CROSS JOIN LATERAL pg_catalog.unnest(i.indkey::pg_catalog.int2[]) WITH ORDINALITY AS "
        "k(attnum, place)"
        " JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum"
        " WHERE i.indrelid = $1::pg_catalog.oid AND i.indisunique AND i.indisvalid"
        " AND i.indpred IS NULL AND i.indexprs IS NULL AND k.place <= i.indnkeyatts"
        " ORDER BY i.indisprimary DESC, i.indexrelid, k.place";
    const char *params[] = {target->oid};
    PGresult *result;
    if (tr_pgs_query(link, sql, 1, params, "could not read the target's indexes", &result, err) !=
        TR_OK)
        return TR_FAIL;
    int rows = PQntuples(result);
    enum tr_status status = TR_OK;
    target->indexes = tr_arena_alloc(&target->arena, ((size_t)rows + 1) * sizeof *target->indexes,
                                     _Alignof(struct tr_pgs_index));
    if (target->indexes == NULL) {
        status = tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for a target table");
        goto cleanup;
    }
    struct tr_pgs_index *index = NULL;
    for (int i = 0; i < rows; i++) {
        if (strcmp(PQgetvalue(result, i, 3), "1") == 0) {
            index = &target->indexes[target->index_count++];
            *index = (struct tr_pgs_index){.primary = true_at(result, i, 0),
                                           .immediate = true_at(result, i, 1),
                                           .name = keep(target, text_at(result, i, 2))};
        }
        int column = tr_pgs_target_column(target, PQgetvalue(result, i, 4));
        if (index != NULL && column >= 0 && index->column_count < TR_PGS_KEY_COLUMNS_MAX)
            index->columns[index->column_count++] = (uint16_t)column;
    }
cleanup:
    PQclear(result);
    return status;
}

/* Triggers that fire for our role, on the table and its partitions. Foreign keys are internal
 * triggers on both tables; deferrable unique constraints have one too, which does not matter here.
 */
static enum tr_status read_triggers(struct tr_pgs_link *link, struct tr_pgs_target *target,
                                    struct tr_error *err)
{
    static const char sql[] =
        "SELECT g.tgisinternal, g.tgname FROM pg_catalog.pg_trigger g"
        " WHERE g.tgrelid IN (SELECT $1::pg_catalog.oid UNION SELECT p.relid::pg_catalog.oid FROM"
        " pg_catalog.pg_partition_tree($1::pg_catalog.oid::pg_catalog.regclass) p)"
        " AND g.tgenabled IN ('A', $2)"
        " AND g.tgfoid <> 'pg_catalog.unique_key_recheck'::pg_catalog.regproc"
        " ORDER BY g.tgisinternal, g.tgname";
    const char *params[] = {target->oid, link->replica_role ? "R" : "O"};
    PGresult *result;
    if (tr_pgs_query(link, sql, 2, params, "could not read the target's triggers", &result, err) !=
        TR_OK)
        return TR_FAIL;
    for (int i = 0; i < PQntuples(result); i++) {
        if (true_at(result, i, 0)) {
            target->foreign_keys = true;
        } else if (!target->user_triggers) {
            target->user_triggers = true;
            (void)snprintf(target->first_trigger, sizeof target->first_trigger, "%s",
                           PQgetvalue(result, i, 1));
        }
    }
    PQclear(result);
    return TR_OK;
}

enum tr_status tr_pgs_describe(struct tr_pgs_link *link, const char *schema, const char *table,
                               struct tr_pgs_target **out, struct tr_error *err)
{
    struct tr_pgs_target *target = calloc(1, sizeof *target);
    struct tr_outbuf quoted = {0};
    *out = NULL;
    if (target == NULL)
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for a target table");
    tr_arena_init(&target->arena, ARENA_BLOCK_BYTES, 0);
    tr_pgs_identifier(link, &quoted, schema);
    tr_outbuf_byte(&quoted, '.');
    tr_pgs_identifier(link, &quoted, table);
    if (!quoted.failed)
        target->quoted = keep(target, tr_outbuf_cstr(&quoted));
    target->schema = keep(target, schema);
    target->table = keep(target, table);
    enum tr_status status = TR_FAIL;
    if (target->quoted == NULL || target->schema == NULL || target->table == NULL) {
        (void)tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for a target table");
        goto cleanup;
    }
    status = read_relation(link, target, err);
    if (status == TR_OK && target->exists)
        status = read_columns(link, target, err);
    if (status == TR_OK && target->exists)
        status = read_indexes(link, target, err);
    if (status == TR_OK && target->exists)
        status = read_triggers(link, target, err);
cleanup:
    tr_outbuf_free(&quoted);
    if (status != TR_OK)
        tr_pgs_target_free(target);
    else
        *out = target;
    return status;
}

void tr_pgs_target_free(struct tr_pgs_target *target)
{
    if (target == NULL)
        return;
    tr_arena_free(&target->arena);
    free(target);
}

enum tr_status tr_pgs_target_is_empty(struct tr_pgs_link *link, const struct tr_pgs_target *target,
                                      bool *empty, struct tr_error *err)
{
    struct tr_outbuf sql = {0};
    PGresult *result = NULL;
    enum tr_status status = TR_FAIL;
    tr_outbuf_printf(&sql, "SELECT 1 FROM %s LIMIT 1", target->quoted);
    if (sql.failed)
        (void)tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory to look into a target table");
    else
        status = tr_pgs_query(link, tr_outbuf_cstr(&sql), 0, NULL,
                              "could not look into the target table", &result, err);
    if (status == TR_OK) {
        *empty = PQntuples(result) == 0;
        PQclear(result);
    }
    tr_outbuf_free(&sql);
    return status;
}

int tr_pgs_target_column(const struct tr_pgs_target *target, const char *name)
{
    for (int i = 0; i < target->column_count; i++) {
        if (strcmp(target->columns[i].name, name) == 0)
            return i;
    }
    return -1;
}

const struct tr_pgs_index *tr_pgs_target_index(const struct tr_pgs_target *target,
                                               const int32_t *columns, uint16_t count)
{
    for (uint16_t i = 0; i < target->index_count; i++) {
        const struct tr_pgs_index *index = &target->indexes[i];
        uint16_t found = 0;
        for (uint16_t k = 0; k < count && index->column_count == count; k++) {
            for (uint16_t j = 0; j < count; j++)
                found = (uint16_t)(found + (index->columns[j] == columns[k]));
        }
        if (count > 0 && found == count && index->immediate)
            return index;
    }
    return NULL;
}

/* ---- layouts ---- */

static enum tr_status place_columns(struct tr_pgs_layout *layout, struct tr_error *err)
{
    const struct tr_table *table = layout->table;
    const struct tr_pgs_target *target = layout->target;
    for (uint16_t i = 0; i < table->column_count; i++) {
        int at = tr_pgs_target_column(target, table->columns[i].name);
        if (at < 0) {
            (void)tr_fail(err, TR_E_PGSINK_COLUMN_MISSING, "target table %s has no column \"%s\"",
                          target->quoted, table->columns[i].name);
            return tr_hint(
                err, "ALTER TABLE %s ADD COLUMN \"%s\" %s;", target->quoted, table->columns[i].name,
                table->columns[i].source_type == NULL ? "text" : table->columns[i].source_type);
        }
        layout->target_column[i] = target->columns[at].generated ? -1 : at;
        if (target->columns[at].generated)
            layout->dropped_columns = true;
        if (target->columns[at].identity_always)
            layout->overriding = true;
    }
    return TR_OK;
}

static enum tr_status place_key(struct tr_pgs_layout *layout, struct tr_error *err)
{
    int32_t columns[TR_PGS_KEY_COLUMNS_MAX];
    if (layout->key_count > TR_PGS_KEY_COLUMNS_MAX)
        return tr_fail(err, TR_E_PGSINK_SCHEMA, "the key of %s has more than %d columns",
                       layout->target->quoted, TR_PGS_KEY_COLUMNS_MAX);
    for (uint16_t i = 0; i < layout->key_count; i++) {
        columns[i] = layout->target_column[layout->key_columns[i]];
        if (columns[i] < 0)
            return tr_fail(
                err, TR_E_PGSINK_SCHEMA, "key column \"%s\" of target table %s is generated there",
                layout->table->columns[layout->key_columns[i]].name, layout->target->quoted);
        if (layout->target->columns[columns[i]].identity_always)
            layout->identity_key = true;
    }
    layout->has_arbiter = tr_pgs_target_index(layout->target, columns, layout->key_count) != NULL;
    return TR_OK;
}

enum tr_status tr_pgs_layout_new(struct tr_pgs_target *target, const struct tr_table *table,
                                 struct tr_pgs_layout **out, struct tr_error *err)
{
    struct tr_pgs_layout *layout = calloc(1, sizeof *layout);
    *out = NULL;
    if (layout == NULL)
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for a target table");
    tr_arena_init(&layout->arena, ARENA_BLOCK_BYTES, 0);
    layout->target = target;
    layout->table = tr_table_ref(table);
    layout->column_count = table->column_count;
    layout->key_count = table->key_count;
    layout->key_columns = table->key_columns;
    layout->version = (int32_t)table->version_column - 1;
    layout->bits_words = ((size_t)table->column_count + 63) / 64;
    layout->target_column = tr_arena_alloc(
        &layout->arena, ((size_t)table->column_count + 1) * sizeof *layout->target_column,
        _Alignof(int32_t));
    enum tr_status status = TR_FAIL;
    if (layout->target_column == NULL)
        (void)tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for a target table");
    else if (place_columns(layout, err) == TR_OK && place_key(layout, err) == TR_OK)
        status = TR_OK;
    if (status != TR_OK)
        tr_pgs_layout_free(NULL, layout);
    else
        *out = layout;
    return status;
}

bool tr_pgs_layout_fits(const struct tr_pgs_layout *layout, const struct tr_table *table)
{
    if (layout->column_count != table->column_count || layout->key_count != table->key_count ||
        layout->version != (int32_t)table->version_column - 1)
        return false;
    for (uint16_t i = 0; i < table->column_count; i++) {
        if (strcmp(layout->table->columns[i].name, table->columns[i].name) != 0 ||
            layout->table->columns[i].type != table->columns[i].type)
            return false;
    }
    for (uint16_t i = 0; i < table->key_count; i++) {
        if (layout->key_columns[i] != table->key_columns[i])
            return false;
    }
    return true;
}

/* ---- shapes ---- */

static bool present(const struct tr_cell *cells, uint16_t column)
{
    return cells == NULL || cells[column].state == TR_CELL_TEXT ||
           cells[column].state == TR_CELL_BINARY || cells[column].state == TR_CELL_NULL;
}

static bool shape_matches(const struct tr_pgs_layout *layout, const struct tr_pgs_shape *shape,
                          const struct tr_cell *cells)
{
    for (uint16_t i = 0; i < layout->column_count; i++) {
        bool has = (shape->bits[i / 64] >> (i % 64)) & 1;
        if (has != present(cells, i))
            return false;
    }
    return true;
}

static bool is_key(const struct tr_pgs_layout *layout, uint16_t column)
{
    for (uint16_t i = 0; i < layout->key_count; i++) {
        if (layout->key_columns[i] == column)
            return true;
    }
    return false;
}

static struct tr_pgs_shape *shape_new(const struct tr_pgs_layout *layout,
                                      const struct tr_cell *cells)
{
    struct tr_pgs_shape *shape = calloc(1, sizeof *shape);
    size_t columns = (size_t)layout->column_count + 1;
    if (shape == NULL)
        return NULL;
    shape->bits = calloc(layout->bits_words + 1, sizeof *shape->bits);
    shape->columns = calloc(columns, sizeof *shape->columns);
    shape->set_columns = calloc(columns, sizeof *shape->set_columns);
    if (shape->bits == NULL || shape->columns == NULL || shape->set_columns == NULL) {
        free(shape->bits);
        free(shape->columns);
        free(shape->set_columns);
        free(shape);
        return NULL;
    }
    for (uint16_t i = 0; i < layout->column_count; i++) {
        if (!present(cells, i))
            continue;
        shape->bits[i / 64] |= UINT64_C(1) << (i % 64);
        if (layout->target_column[i] < 0)
            continue;
        shape->columns[shape->column_count++] = i;
        if (!is_key(layout, i) &&
            !layout->target->columns[layout->target_column[i]].identity_always)
            shape->set_columns[shape->set_count++] = i;
    }
    return shape;
}

enum tr_status tr_pgs_shape_of(struct tr_pgs_layout *layout, const struct tr_cell *cells,
                               struct tr_pgs_shape **out, struct tr_error *err)
{
    for (struct tr_pgs_shape **at = &layout->shapes; *at != NULL; at = &(*at)->next) {
        struct tr_pgs_shape *shape = *at;
        if (!shape_matches(layout, shape, cells))
            continue;
        if (at != &layout->shapes) { /* the last used is the first to be tried */
            *at = shape->next;
            shape->next = layout->shapes;
            layout->shapes = shape;
        }
        *out = shape;
        return TR_OK;
    }
    struct tr_pgs_shape *shape = shape_new(layout, cells);
    if (shape == NULL)
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for a target table");
    shape->next = layout->shapes;
    layout->shapes = shape;
    layout->shape_count++;
    *out = shape;
    return TR_OK;
}

void tr_pgs_shapes_free(struct tr_pgs_link *link, struct tr_pgs_layout *layout)
{
    while (layout->shapes != NULL) {
        struct tr_pgs_shape *shape = layout->shapes;
        layout->shapes = shape->next;
        tr_pgs_stmt_free(link, &shape->insert_set);
        tr_pgs_stmt_free(link, &shape->update_set);
        tr_pgs_stmt_free(link, &shape->insert_row);
        tr_pgs_stmt_free(link, &shape->newest_upsert);
        tr_pgs_stmt_free(link, &shape->newest_update);
        for (int i = 0; i < 4; i++)
            tr_pgs_stmt_free(link, &shape->update_row[i / 2][i % 2]);
        free(shape->copy_sql[false]);
        free(shape->copy_sql[true]);
        free(shape->bits);
        free(shape->columns);
        free(shape->set_columns);
        free(shape);
    }
    layout->shape_count = 0;
}

void tr_pgs_layout_free(struct tr_pgs_link *link, struct tr_pgs_layout *layout)
{
    if (layout == NULL)
        return;
    tr_pgs_shapes_free(link, layout);
    tr_pgs_stmt_free(link, &layout->delete_set);
    tr_pgs_stmt_free(link, &layout->delete_row);
    tr_pgs_stmt_free(link, &layout->newest_delete);
    tr_table_unref(layout->table);
    tr_arena_free(&layout->arena);
    free(layout);
}
