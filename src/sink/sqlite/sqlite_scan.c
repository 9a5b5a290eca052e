/* Reading a target table back in the order of its key: what `tailrace verify` compares. A scan of a
 * whole table has a connection of its own and sees one state of the file; reading a single row and
 * the position use the sink's, so that they see the newest state while such a scan is open. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sqlite_internal.h"

struct tr_scan {
    sqlite3 *db;
    bool own_db;
    sqlite3_stmt *stmt;
    struct tr_table *table;
    struct tr_cell *cells;
    struct tr_arena arena;     /* of one row */
    struct tr_arena key_arena; /* bound key values */
};

/* ORDER BY terms that give the source's order: bytes for text, numbers and times by what they mean.
 */
static void append_order(struct tr_outbuf *sql, const struct tr_column *column)
{
    switch (column->type) {
    case TR_T_DECIMAL:
    case TR_T_MONEY:
    case TR_T_UINT64:
        tr_sqlite_quote(sql, column->name);
        tr_outbuf_str(sql, " COLLATE tailrace_decimal");
        return;
    case TR_T_DATE:
    case TR_T_TIMESTAMP:
    case TR_T_TIMESTAMPTZ:
        tr_sqlite_quote(sql, column->name);
        tr_outbuf_str(sql, " COLLATE tailrace_time");
        return;
    case TR_T_FLOAT32:
    case TR_T_FLOAT64: /* negative zero is a BLOB */
        tr_outbuf_str(sql, "CASE typeof(");
        tr_sqlite_quote(sql, column->name);
        tr_outbuf_str(sql, ") WHEN 'blob' THEN 0.0 ELSE ");
        tr_sqlite_quote(sql, column->name);
        tr_outbuf_str(sql, " END");
        return;
    default:
        tr_sqlite_quote(sql, column->name);
        tr_outbuf_str(sql, " COLLATE BINARY");
    }
}

static enum tr_status check_columns(struct sqlite_sink *sink, const struct tr_table *table,
                                    struct tr_error *err)
{
    struct shape shape;
    enum tr_status status = TR_END;
    if (sink->db != NULL)
        status = tr_sqlite_shape_load(sink->db, table->id.table, &shape, err);
    if (status == TR_END) {
        (void)tr_fail(err, TR_E_SQLITE_TABLE_ABSENT, "the target has no table \"%.100s\"",
                      table->id.table);
        return tr_hint(err, "has the pipeline run? It makes the table before the first row");
    }
    if (status != TR_OK)
        return TR_FAIL;
    for (unsigned i = 0; status == TR_OK && i < table->column_count; i++) {
        if (tr_sqlite_shape_column(&shape, table->columns[i].name) >= 0)
            continue;
        (void)tr_fail(err, TR_E_SQLITE_COLUMN_MISSING,
                      "target table \"%.100s\" has no column \"%.63s\"", table->id.table,
                      table->columns[i].name);
        status = tr_hint(err, "%s", tr_error_info(TR_E_SQLITE_COLUMN_MISSING)->remedy);
    }
    tr_sqlite_shape_free(&shape);
    return status;
}

static void scan_close(struct tr_scan *scan)
{
    if (scan == NULL)
        return;
    (void)sqlite3_finalize(scan->stmt);
    if (scan->own_db)
        (void)sqlite3_close_v2(scan->db);
    tr_table_unref(scan->table);
    free(scan->cells);
    tr_arena_free(&scan->arena);
    tr_arena_free(&scan->key_arena);
    free(scan);
}

static enum tr_status bind_key(struct tr_scan *scan, const struct tr_cell *key_cells,
                               struct tr_error *err)
{
    for (unsigned i = 0; i < scan->table->key_count; i++) {
        const struct tr_column *column = &scan->table->columns[scan->table->key_columns[i]];
        struct sqlite_value value;
        enum sqlite_store_result result =
            tr_sqlite_store(column->type, &key_cells[i], &scan->key_arena, &value);
        if (result == STORE_NO_MEMORY)
            return tr_sqlite_no_memory(err);
        if (result == STORE_MALFORMED)
            return tr_fail(err, TR_E_SQLITE_VALUE,
                           "a key value of \"%.63s\" is not in the form of %s", column->name,
                           tr_type_name(column->type));
        int rc = tr_sqlite_bind(scan->stmt, (int)i + 1, &value);
        if (rc != SQLITE_OK)
            return tr_sqlite_fail(err, scan->db, rc, "hand a key to SQLite");
    }
    return TR_OK;
}

static void scan_sql(struct tr_outbuf *sql, const struct tr_table *table, bool one_row)
{
    for (unsigned i = 0; i < table->column_count; i++) {
        tr_outbuf_str(sql, i == 0 ? "SELECT " : ", ");
        tr_sqlite_quote(sql, table->columns[i].name);
    }
    tr_outbuf_str(sql, " FROM ");
    tr_sqlite_quote(sql, table->id.table);
    for (unsigned i = 0; i < table->key_count; i++) {
        const struct tr_column *column = &table->columns[table->key_columns[i]];
        if (one_row) {
            tr_outbuf_str(sql, i == 0 ? " WHERE " : " AND ");
            tr_sqlite_quote(sql, column->name);
            tr_outbuf_printf(sql, " = ?%u", i + 1);
        } else {
            tr_outbuf_str(sql, i == 0 ? " ORDER BY " : ", ");
            append_order(sql, column);
        }
    }
}

static enum tr_status scan_open(void *self, const struct tr_table *table,
                                const struct tr_cell *key_cells, struct tr_scan **out,
                                struct tr_error *err)
{
    struct sqlite_sink *sink = self;
    struct tr_outbuf sql = {0};
    if (table->column_count == 0)
        return tr_fail(err, TR_E_SQLITE_STATEMENT, "a table without columns cannot be read");
    if (check_columns(sink, table, err) != TR_OK)
        return TR_FAIL;
    struct tr_scan *scan = calloc(1, sizeof *scan);
    if (scan == NULL)
        return tr_sqlite_no_memory(err);
    tr_arena_init(&scan->arena, 16 << 10, 1 << 20);
    tr_arena_init(&scan->key_arena, 4 << 10, 0);
    scan->db = sink->db;
    scan->own_db = key_cells == NULL;
    scan->table = tr_table_ref(table);
    scan->cells = calloc((size_t)table->column_count + 1, sizeof *scan->cells);
    scan_sql(&sql, table, key_cells != NULL && table->key_count > 0);
    const char *text = tr_outbuf_cstr(&sql);
    enum tr_status status = scan->cells == NULL || sql.failed ? tr_sqlite_no_memory(err) : TR_OK;
    if (scan->own_db) {
        scan->db = NULL;
        if (status == TR_OK)
            status = tr_sqlite_connect(sink, false, false, &scan->db, err);
    }
    if (status == TR_OK)
        status = tr_sqlite_prepare(scan->db, text, false, &scan->stmt, "read a target table", err);
    if (status == TR_OK && key_cells != NULL)
        status = bind_key(scan, key_cells, err);
    tr_outbuf_free(&sql);
    if (status != TR_OK) {
        scan_close(scan);
        return TR_FAIL;
    }
    *out = scan;
    return TR_OK;
}

static enum tr_status scan_next(struct tr_scan *scan, const struct tr_cell **cells,
                                struct tr_error *err)
{
    int rc = sqlite3_step(scan->stmt);
    if (rc == SQLITE_DONE)
        return TR_END;
    if (rc != SQLITE_ROW)
        return tr_sqlite_fail(err, scan->db, rc, "read table \"%.100s\"", scan->table->id.table);
    tr_arena_reset(&scan->arena);
    for (int i = 0; i < scan->table->column_count; i++) {
        struct sqlite_value value = {.kind = sqlite3_column_type(scan->stmt, i)};
        if (value.kind == SQLITE_INTEGER)
            value.integer = sqlite3_column_int64(scan->stmt, i);
        else if (value.kind == SQLITE_FLOAT)
            value.real = sqlite3_column_double(scan->stmt, i);
        else if (value.kind != SQLITE_NULL) {
            value.ptr = sqlite3_column_blob(scan->stmt, i); /* of TEXT: its bytes */
            value.len = (size_t)sqlite3_column_bytes(scan->stmt, i);
            if (value.ptr == NULL)
                value.ptr = "";
        }
        if (!tr_sqlite_load(scan->table->columns[i].type, &value, &scan->arena, &scan->cells[i]))
            return tr_sqlite_no_memory(err);
    }
    *cells = scan->cells;
    return TR_OK;
}

/* X/X, as PostgreSQL prints an LSN. */
static bool parse_lsn(const char *text, uint64_t *lsn)
{
    char *end;
    if (strspn(text, "0123456789ABCDEFabcdef/") != strlen(text))
        return false;
    unsigned long long high = strtoull(text, &end, 16);
    if (end == text || *end != '/' || end[1] == '\0' || high > UINT32_MAX)
        return false;
    const char *low_text = end + 1;
    unsigned long long low = strtoull(low_text, &end, 16);
    if (*end != '\0' || low > UINT32_MAX)
        return false;
    *lsn = (uint64_t)high << 32 | low;
    return true;
}

static enum tr_status scan_position(void *self, uint64_t *position, struct tr_error *err)
{
    struct sqlite_sink *sink = self;
    struct shape shape;
    sqlite3_stmt *stmt = NULL;
    *position = 0;
    enum tr_status status =
        sink->db != NULL ? tr_sqlite_shape_load(sink->db, POSITION_TABLE, &shape, err) : TR_END;
    if (status != TR_OK)
        return status == TR_END ? TR_OK : TR_FAIL;
    tr_sqlite_shape_free(&shape);
    if (tr_sqlite_prepare(sink->db,
                          "SELECT value FROM \"" POSITION_TABLE "\" WHERE pipeline = ?1 AND "
                          "item = 'lsn'",
                          false, &stmt, "read the position", err) != TR_OK)
        return TR_FAIL;
    (void)sqlite3_bind_text(stmt, 1, sink->pipeline, -1, SQLITE_STATIC);
    int rc = sqlite3_step(stmt);
    if (rc == SQLITE_ROW) {
        const char *text = (const char *)sqlite3_column_text(stmt, 0);
        if (text == NULL || !parse_lsn(text, position))
            status = tr_fail(err, TR_E_SQLITE_POSITION_TABLE,
                             "the stored position is not a log position");
    } else if (rc != SQLITE_DONE) {
        status = tr_sqlite_fail(err, sink->db, rc, "read the position");
    }
    (void)sqlite3_finalize(stmt);
    return status;
}

const struct tr_scan_ops tr_sqlite_scan = {
    .list = NULL,
    .open = scan_open,
    .next = scan_next,
    .close = scan_close,
    .position = scan_position,
};
