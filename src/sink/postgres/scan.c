/* Reading a target table back in key order, for verify. Each scan has a connection of its own,
 * because a COPY occupies it; a few are kept for the next scan. Text keys order by bytes. Values
 * come in the canonical text of event.h: the session's settings are those that it names. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sink/postgres/encode.h"
#include "sink/postgres/writer.h"

#define ARENA_KEEP_BYTES (1u << 20)

struct tr_scan {
    struct tr_pgs_sink *sink;
    struct tr_pgs_link link;
    struct tr_cell *cells;
    uint16_t column_count;
    struct tr_arena arena; /* the row's values */
    PGresult *single;      /* of a key lookup; NULL: a COPY */
    int single_row;
    bool ended;
};

static void scan_close(struct tr_scan *scan)
{
    if (scan == NULL)
        return;
    struct tr_pgs_sink *sink = scan->sink;
    PQclear(scan->single);
    if (tr_pgs_link_alive(&scan->link) && PQtransactionStatus(scan->link.conn) == PQTRANS_IDLE &&
        sink->idle_scan_count < TR_PGS_SCAN_LINKS_KEPT)
        sink->idle_scans[sink->idle_scan_count++] = scan->link;
    else
        tr_pgs_link_close(&scan->link);
    tr_arena_free(&scan->arena);
    free(scan->cells);
    free(scan);
}

static void select_list(struct tr_scan *scan, const struct tr_table *table, struct tr_outbuf *sql)
{
    for (uint16_t i = 0; i < table->column_count; i++) {
        if (i > 0)
            tr_outbuf_lit(sql, ", ");
        tr_outbuf_lit(sql, "t.");
        tr_pgs_identifier(&scan->link, sql, table->columns[i].name);
    }
}

static void order_by(struct tr_scan *scan, const struct tr_table *table,
                     const struct tr_pgs_target *target, struct tr_outbuf *sql)
{
    uint16_t count = table->key_count > 0 ? table->key_count : table->column_count;
    for (uint16_t i = 0; i < count; i++) {
        uint16_t column = table->key_count > 0 ? table->key_columns[i] : i;
        int at = tr_pgs_target_column(target, table->columns[column].name);
        tr_outbuf_str(sql, i == 0 ? " ORDER BY t." : ", t.");
        tr_pgs_identifier(&scan->link, sql, table->columns[column].name);
        if (table->key_count == 0 || table->columns[column].type == TR_T_ENUM)
            tr_outbuf_lit(sql, "::pg_catalog.text COLLATE \"C\"");
        else if (at >= 0 && target->columns[at].collatable)
            tr_outbuf_lit(sql, " COLLATE \"C\"");
    }
}

static enum tr_status check_columns(const struct tr_table *table,
                                    const struct tr_pgs_target *target, struct tr_error *err)
{
    if (!target->exists)
        return tr_fail(err, TR_E_PGSINK_TABLE_MISSING, "target table %s does not exist",
                       target->quoted);
    for (uint16_t i = 0; i < table->column_count; i++) {
        if (tr_pgs_target_column(target, table->columns[i].name) < 0)
            return tr_fail(err, TR_E_PGSINK_COLUMN_MISSING, "target table %s has no column \"%s\"",
                           target->quoted, table->columns[i].name);
    }
    return TR_OK;
}

static enum tr_status start_single(struct tr_scan *scan, const struct tr_table *table,
                                   const struct tr_pgs_target *target,
                                   const struct tr_cell *key_cells, struct tr_outbuf *sql,
                                   struct tr_error *err)
{
    const char *params[TR_PGS_KEY_COLUMNS_MAX];
    if (table->key_count == 0 || table->key_count > TR_PGS_KEY_COLUMNS_MAX)
        return tr_fail(err, TR_E_INTERNAL, "a row was asked for by key in a table without key");
    for (uint16_t i = 0; i < table->key_count; i++) {
        uint16_t column = table->key_columns[i];
        int at = tr_pgs_target_column(target, table->columns[column].name);
        params[i] = tr_arena_strndup(&scan->arena, key_cells[i].ptr, key_cells[i].len);
        if (params[i] == NULL || key_cells[i].state != TR_CELL_TEXT)
            return tr_fail(err, TR_E_INTERNAL, "a row was asked for by a key that is not text");
        tr_outbuf_str(sql, i == 0 ? " WHERE t." : " AND t.");
        tr_pgs_identifier(&scan->link, sql, table->columns[column].name);
        tr_outbuf_printf(sql, " = $%u::%s", i + 1u, target->columns[at].type);
    }
    const char *text = tr_outbuf_cstr(sql);
    if (sql->failed)
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for a scan");
    return tr_pgs_query(&scan->link, text, table->key_count, params, "could not read a row",
                        &scan->single, err);
}

static enum tr_status start(struct tr_scan *scan, const struct tr_table *table,
                            const struct tr_cell *key_cells, struct tr_error *err)
{
    struct tr_pgs_target *target = NULL;
    struct tr_outbuf sql = {0};
    enum tr_status status = tr_pgs_describe(&scan->link, tr_pgs_schema_of(scan->sink, &table->id),
                                            table->id.table, &target, err);
    if (status == TR_OK)
        status = check_columns(table, target, err);
    if (status != TR_OK)
        goto cleanup;
    if (key_cells == NULL)
        tr_outbuf_lit(&sql, "COPY (");
    tr_outbuf_lit(&sql, "SELECT ");
    select_list(scan, table, &sql);
    tr_outbuf_printf(&sql, " FROM %s AS t", target->quoted);
    if (key_cells != NULL) {
        status = start_single(scan, table, target, key_cells, &sql, err);
        goto cleanup;
    }
    order_by(scan, table, target, &sql);
    tr_outbuf_lit(&sql, ") TO STDOUT");
    const char *text = tr_outbuf_cstr(&sql);
    if (sql.failed)
        status = tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for a scan");
    else
        status = tr_pgs_copy_begin(&scan->link, text, err);
cleanup:
    tr_pgs_target_free(target);
    tr_outbuf_free(&sql);
    return status;
}

static enum tr_status scan_open(void *self, const struct tr_table *table,
                                const struct tr_cell *key_cells, struct tr_scan **out,
                                struct tr_error *err)
{
    struct tr_pgs_sink *sink = self;
    struct tr_scan *scan = calloc(1, sizeof *scan);
    *out = NULL;
    if (scan == NULL)
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for a scan");
    scan->sink = sink;
    scan->column_count = table->column_count;
    tr_arena_init(&scan->arena, 16384, ARENA_KEEP_BYTES);
    scan->cells = calloc((size_t)table->column_count + 1, sizeof *scan->cells);
    enum tr_status status = TR_OK;
    if (scan->cells == NULL)
        status = tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for a scan");
    else if (sink->idle_scan_count > 0)
        scan->link = sink->idle_scans[--sink->idle_scan_count];
    else
        status = tr_pgs_sink_link(sink, &scan->link, TR_PGS_SCAN, err);
    if (status == TR_OK)
        status = start(scan, table, key_cells, err);
    if (status != TR_OK)
        scan_close(scan);
    else
        *out = scan;
    return status;
}

static enum tr_status next_single(struct tr_scan *scan, const struct tr_cell **cells)
{
    if (scan->single_row >= PQntuples(scan->single))
        return TR_END;
    for (int i = 0; i < scan->column_count; i++) {
        bool null = PQgetisnull(scan->single, scan->single_row, i);
        scan->cells[i] =
            (struct tr_cell){.ptr = PQgetvalue(scan->single, scan->single_row, i),
                             .len = (uint32_t)PQgetlength(scan->single, scan->single_row, i),
                             .state = null ? TR_CELL_NULL : TR_CELL_TEXT};
    }
    scan->single_row++;
    *cells = scan->cells;
    return TR_OK;
}

static enum tr_status scan_next(struct tr_scan *scan, const struct tr_cell **cells,
                                struct tr_error *err)
{
    char *data = NULL;
    int len;
    if (scan->single != NULL)
        return next_single(scan, cells);
    if (scan->ended)
        return TR_END;
    enum tr_status status = tr_pgs_copy_read(&scan->link, &data, &len, err);
    if (status != TR_OK) {
        scan->ended = true;
        return status;
    }
    tr_arena_reset(&scan->arena);
    if (!tr_pgs_split_line((struct tr_slice){data, (size_t)len}, scan->cells, scan->column_count,
                           &scan->arena))
        status = tr_fail(err, TR_E_PGSINK_ROW_FORMAT,
                         "the target sent a row of another number of columns");
    PQfreemem(data);
    *cells = scan->cells;
    return status;
}

static enum tr_status scan_position(void *self, uint64_t *position, struct tr_error *err)
{
    struct tr_pgs_sink *sink = self;
    struct tr_outbuf sql = {0};
    const char *params[] = {sink->pipeline_name};
    PGresult *result = NULL;
    if (tr_pgs_sink_control(sink, err) != TR_OK)
        return TR_FAIL;
    tr_outbuf_lit(&sql, "SELECT value FROM ");
    tr_pgs_position_name(sink, &sink->control, &sql);
    tr_outbuf_lit(&sql, " WHERE pipeline = $1 AND item = 'lsn' ORDER BY writer");
    const char *text = tr_outbuf_cstr(&sql);
    enum tr_status status = sql.failed
                                ? tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for the position")
                                : tr_pgs_query(&sink->control, text, 1, params,
                                               "could not read the position", &result, err);
    unsigned high = 0, low = 0;
    if (status == TR_OK && PQntuples(result) > 0 &&
        sscanf(PQgetvalue(result, 0, 0), "%8X/%8X", &high, &low) != 2)
        status = tr_fail(err, TR_E_INTERNAL, "the stored position is not an LSN");
    *position = (uint64_t)high << 32 | low;
    PQclear(result);
    tr_outbuf_free(&sql);
    return status;
}

const struct tr_scan_ops tr_pgs_scan_ops = {
    .open = scan_open,
    .next = scan_next,
    .close = scan_close,
    .position = scan_position,
};
