/* Reading tables back in key order, for verify.
 *
 * A scan is one SELECT in single-row mode on a connection of its own, so that memory stays flat;
 * the server sorts. Text keys are ordered by bytes (COLLATE "C"), enums by their label's bytes,
 * everything else by its own order. The session prints values in the canonical text form.
 *
 * Thread: any one; several scans may be open at a time. One connection is kept for the next scan,
 * which makes many look-ups of single keys cheap. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/outbuf.h"
#include "source/postgres/source.h"

#define SCAN_WHAT "read a table"

struct tr_scan {
    struct tr_pg_source *source;
    struct tr_pg_conn conn;
    PGresult *row;
    struct tr_cell *cells;
    uint16_t column_count;
    bool ended;
};

/* ---- list ----------------------------------------------------------------------------------- */

static enum tr_status load_tables(struct tr_pg_source *source, struct tr_error *err)
{
    if (source->scan_catalog.relations != NULL)
        return TR_OK;
    tr_pg_catalog_free(&source->scan_catalog);
    if (tr_pg_source_sql(source, err) != TR_OK)
        return TR_FAIL;
    tr_pg_types_clear(&source->types);
    if (tr_pg_catalog_load(&source->sql, &source->settings, &source->server, &source->scan_catalog,
                           err) != TR_OK)
        return TR_FAIL;
    return tr_pg_catalog_describe(&source->sql, &source->server, &source->types,
                                  &source->scan_catalog, err);
}

static enum tr_status scan_list(void *self, void (*fn)(void *ctx, const struct tr_table *table),
                                void *ctx, struct tr_error *err)
{
    struct tr_pg_source *source = self;
    if (load_tables(source, err) != TR_OK)
        return TR_FAIL;
    for (size_t i = 0; i < source->scan_catalog.relation_count; i++) {
        if (source->scan_catalog.relations[i].captured)
            fn(ctx, source->scan_catalog.relations[i].table);
    }
    return TR_OK;
}

/* ---- open ----------------------------------------------------------------------------------- */

static void put_key_column(const struct tr_column *column, struct tr_outbuf *sql)
{
    tr_pg_put_identifier(sql, column->name);
    switch (column->type) {
    case TR_T_STRING:
        tr_outbuf_lit(sql, "::text COLLATE \"C\"");
        break;
    case TR_T_ENUM:
        tr_outbuf_lit(sql, "::text COLLATE \"C\"");
        break;
    default:
        break;
    }
}

static const struct tr_pg_relation *relation_of(struct tr_pg_source *source,
                                                const struct tr_table *table)
{
    for (size_t i = 0; i < source->scan_catalog.relation_count; i++) {
        const struct tr_pg_relation *relation = &source->scan_catalog.relations[i];
        if (relation->captured && strcmp(relation->id.schema, table->id.schema) == 0 &&
            strcmp(relation->id.table, table->id.table) == 0)
            return relation;
    }
    return NULL;
}

static void build_select(const struct tr_pg_relation *relation, const struct tr_table *table,
                         bool one_row, struct tr_outbuf *sql)
{
    const char *glue = " WHERE ";
    tr_outbuf_lit(sql, "SELECT ");
    for (uint16_t i = 0; i < table->column_count; i++) {
        if (i > 0)
            tr_outbuf_lit(sql, ", ");
        tr_pg_put_identifier(sql, table->columns[i].name);
    }
    tr_outbuf_str(sql, relation->kind == 'p' ? " FROM " : " FROM ONLY ");
    tr_pg_put_qualified(sql, table->id.schema, table->id.table);
    if (relation->row_filter != NULL) {
        tr_outbuf_printf(sql, "%s(", glue);
        tr_outbuf_str(sql, relation->row_filter);
        tr_outbuf_lit(sql, ")");
        glue = " AND ";
    }
    for (uint16_t i = 0; one_row && i < table->key_count; i++, glue = " AND ") {
        tr_outbuf_str(sql, glue); /* the parameter takes the column's type */
        tr_pg_put_identifier(sql, table->columns[table->key_columns[i]].name);
        tr_outbuf_printf(sql, " = $%u", i + 1u);
    }
    for (uint16_t i = 0; !one_row && i < table->key_count; i++) {
        tr_outbuf_str(sql, i == 0 ? " ORDER BY " : ", ");
        put_key_column(&table->columns[table->key_columns[i]], sql);
    }
}

static void scan_close(struct tr_scan *scan)
{
    if (scan == NULL)
        return;
    PQclear(scan->row);
    if (scan->conn.pg != NULL && scan->ended && scan->source->scan_conn.pg == NULL &&
        PQstatus(scan->conn.pg) == CONNECTION_OK)
        scan->source->scan_conn = scan->conn; /* for the next one */
    else
        tr_pg_disconnect(&scan->conn);
    free(scan->cells);
    free(scan);
}

static enum tr_status take_connection(struct tr_pg_source *source, struct tr_scan *scan,
                                      struct tr_error *err)
{
    scan->conn = source->scan_conn;
    source->scan_conn.pg = NULL;
    if (scan->conn.pg != NULL && PQstatus(scan->conn.pg) == CONNECTION_OK)
        return TR_OK;
    tr_pg_disconnect(&scan->conn);
    return tr_pg_connect(&source->settings, false, -1, &scan->conn, err);
}

/* The key's values as NUL-terminated strings. */
static const char **key_params(const struct tr_table *table, const struct tr_cell *key_cells,
                               struct tr_arena *arena)
{
    const char **params =
        tr_arena_alloc(arena, (table->key_count + 1u) * sizeof *params, _Alignof(const char *));
    for (uint16_t i = 0; params != NULL && i < table->key_count; i++) {
        params[i] = key_cells[i].state == TR_CELL_NULL
                        ? NULL
                        : tr_arena_strndup(arena, key_cells[i].ptr, key_cells[i].len);
        if (params[i] == NULL && key_cells[i].state != TR_CELL_NULL)
            return NULL;
    }
    return params;
}

static enum tr_status send_select(struct tr_scan *scan, const struct tr_pg_relation *relation,
                                  const struct tr_table *table, const struct tr_cell *key_cells,
                                  struct tr_error *err)
{
    struct tr_outbuf sql = {0};
    struct tr_arena arena;
    enum tr_status status = TR_FAIL;
    tr_arena_init(&arena, 1024, 0);
    const char **params = key_cells == NULL ? NULL : key_params(table, key_cells, &arena);
    build_select(relation, table, key_cells != NULL, &sql);
    if (sql.failed || (key_cells != NULL && params == NULL)) {
        (void)tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for a query");
        goto cleanup;
    }
    if (!PQsendQueryParams(scan->conn.pg, tr_outbuf_cstr(&sql),
                           key_cells == NULL ? 0 : table->key_count, NULL, params, NULL, NULL, 0) ||
        !PQsetSingleRowMode(scan->conn.pg)) {
        (void)tr_pg_fail_result(err, NULL, scan->conn.pg, SCAN_WHAT);
        goto cleanup;
    }
    status = TR_OK;
cleanup:
    tr_outbuf_free(&sql);
    tr_arena_free(&arena);
    return status;
}

static enum tr_status scan_open(void *self, const struct tr_table *table,
                                const struct tr_cell *key_cells, struct tr_scan **out,
                                struct tr_error *err)
{
    struct tr_pg_source *source = self;
    if (load_tables(source, err) != TR_OK)
        return TR_FAIL;
    const struct tr_pg_relation *relation = relation_of(source, table);
    if (relation == NULL)
        return tr_fail_as(err, TR_SCHEMA, TR_E_PG_TABLE_MISSING, "the table %s.%s is not captured",
                          table->id.schema, table->id.table);
    struct tr_scan *scan = calloc(1, sizeof *scan);
    if (scan == NULL)
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for a scan");
    scan->source = source;
    scan->column_count = table->column_count;
    scan->cells = calloc(table->column_count + 1u, sizeof *scan->cells);
    enum tr_status status = scan->cells == NULL
                                ? tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for a scan")
                                : take_connection(source, scan, err);
    if (status == TR_OK)
        status = send_select(scan, relation, table, key_cells, err);
    if (status != TR_OK) {
        scan_close(scan);
        return TR_FAIL;
    }
    *out = scan;
    return TR_OK;
}

/* ---- rows ----------------------------------------------------------------------------------- */

static enum tr_status scan_next(struct tr_scan *scan, const struct tr_cell **cells,
                                struct tr_error *err)
{
    if (scan->ended)
        return TR_END;
    PQclear(scan->row);
    scan->row = NULL;
    enum tr_status status;
    /* after the rows comes one empty result, then the end */
    while ((status = tr_pg_result(&scan->conn, SCAN_WHAT, TR_PG_NO_TIMEOUT, &scan->row, err)) ==
               TR_OK &&
           PQntuples(scan->row) == 0) {
        PQclear(scan->row);
        scan->row = NULL;
    }
    if (status != TR_OK) {
        scan->ended = status == TR_END;
        return status;
    }
    if (PQnfields(scan->row) != scan->column_count)
        return tr_fail(err, TR_E_PG_PROTOCOL,
                       "a row with another number of columns than asked for");
    for (int i = 0; i < scan->column_count; i++) {
        bool null = PQgetisnull(scan->row, 0, i);
        scan->cells[i] = (struct tr_cell){.ptr = PQgetvalue(scan->row, 0, i),
                                          .len = null ? 0 : (uint32_t)PQgetlength(scan->row, 0, i),
                                          .state = null ? TR_CELL_NULL : TR_CELL_TEXT};
    }
    *cells = scan->cells;
    return TR_OK;
}

static enum tr_status scan_position(void *self, uint64_t *position, struct tr_error *err)
{
    struct tr_pg_source *source = self;
    PGresult *row = NULL;
    if (tr_pg_source_sql(source, err) != TR_OK ||
        tr_pg_query(&source->sql, "read the log's end",
                    source->server.in_recovery ? "SELECT pg_catalog.pg_last_wal_replay_lsn()"
                                               : "SELECT pg_catalog.pg_current_wal_insert_lsn()",
                    0, NULL, &row, err) != TR_OK)
        return TR_FAIL;
    bool parsed = tr_lsn_parse(tr_pg_text(row, 0, 0), position);
    PQclear(row);
    return parsed ? TR_OK : tr_fail(err, TR_E_PG_PROTOCOL, "the server's LSN is not understood");
}

void tr_pg_scan_close_all(struct tr_pg_source *source)
{
    tr_pg_disconnect(&source->scan_conn);
    tr_pg_catalog_free(&source->scan_catalog);
}

const struct tr_scan_ops tr_pg_scan_ops = {.list = scan_list,
                                           .open = scan_open,
                                           .next = scan_next,
                                           .close = scan_close,
                                           .position = scan_position};
