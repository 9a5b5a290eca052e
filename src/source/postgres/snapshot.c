/* Copying the tables: N readers take jobs from one list and read them by COPY.
 *
 * All readers import the same exported snapshot (SET TRANSACTION SNAPSHOT), so together they see
 * one moment, exactly the one at which the slot's stream begins. The exporting connection stays
 * open, and idle, until the copy has ended. Each job is one transaction of its own and holds ACCESS
 * SHARE on its table only while it reads: that blocks no reader and no writer, and an ALTER TABLE
 * waits for one chunk at most. After the lock is held the file of the table is compared with the
 * snapshot's (a rewrite would show an old snapshot an empty table).
 *
 * A reader's states:
 *   CONNECT → PLAN (reader 0 only) → TAKE → BEGIN → ASK → COPY → END → TAKE … → DONE
 * PLAN announces every table (CREATE TABLE) and commits where the pipeline stands. A batch of
 * another reader may overtake that, so each reader announces a table again before its own first row
 * of it.
 *
 * A sink takes piece by piece, reader by reader, and gets the rows of a table about as they lie
 * there, which spares its indexes: readers begin in order, with one job each, the others when
 * reader 0 has given rows, or after TURN_WAIT_MAX_MS; and the end of a piece ends its batch, so
 * that the next reader has its turn.
 *
 * A job ends with a COMMIT event that carries its chunk's mark and everything that a restart needs
 * to understand it, because no other commit may be durable by then.
 *
 * Rows are copied into the batch's arena one behind the other: where cells are not asked for, a
 * sink can forward a run of rows in one piece. Tables that every sink takes in that form
 * (tr_pg_plan_binary) are read by binary COPY, all others as text.
 *
 * Threads: the start on the opening thread; read on one thread per reader; they share the job
 * counter. */
#include "source/postgres/snapshot.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "base/outbuf.h"
#include "decode/pgcopy.h"

#define ROW_HOLD_BYTES (64u << 10) /* larger rows stay in libpq's buffer */
#define GATHER_WAIT_MS 20          /* with rows in hand: the longest wait for more */
#define TURN_WAIT_MS 2             /* between two looks whether reader 0 gives rows */
#define TURN_WAIT_MAX_MS 100       /* it may wait for a lock: the others need not */
#define UNKNOWN_PAGES_MAX 16
#define ROWS_PER_TICK 1024 /* rows between two looks at the progress counter */

/* ---- start ---------------------------------------------------------------------------------- */

static void free_snapshot(struct tr_pg_snapshot *snapshot)
{
    if (snapshot == NULL)
        return;
    for (unsigned i = 0; i < snapshot->reader_count && snapshot->readers != NULL; i++) {
        tr_pg_disconnect(&snapshot->readers[i].conn);
        free(snapshot->readers[i].announced_here);
        free(snapshot->readers[i].mark_given);
    }
    tr_pg_disconnect(&snapshot->exporter);
    free(snapshot->readers);
    free(snapshot->jobs);
    tr_arena_free(&snapshot->arena);
    free(snapshot);
}

void tr_pg_snapshot_close(struct tr_pg_source *source)
{
    free_snapshot(source->snapshot);
    source->snapshot = NULL;
    atomic_store(&source->progress.snapshot_running, false);
}

/* A temporary slot's snapshot: its LSN is exact, and it goes away with the connection. */
static enum tr_status export_by_slot(struct tr_pg_source *source, struct tr_pg_snapshot *snapshot,
                                     struct tr_error *err)
{
    char name[TR_PG_NAME_BYTES_MAX + 1];
    if (tr_pg_connect(&source->settings, true, source->wake_fds[0], &snapshot->exporter, err) !=
        TR_OK)
        return TR_FAIL;
    (void)snprintf(name, sizeof name, "%.40s_copy_%d", source->settings.slot_name,
                   PQbackendPID(snapshot->exporter.pg));
    return tr_pg_slot_create(&snapshot->exporter, &source->server, name, true, true, false,
                             &snapshot->lsn, snapshot->name, err);
}

/* Without a stream to meet, a plain session exports; its LSN is only where about the copy stands.
 */
static enum tr_status export_by_session(struct tr_pg_source *source,
                                        struct tr_pg_snapshot *snapshot, struct tr_error *err)
{
    PGresult *row = NULL;
    if (tr_pg_connect(&source->settings, false, source->wake_fds[0], &snapshot->exporter, err) !=
            TR_OK ||
        tr_pg_exec(&snapshot->exporter, "export a snapshot",
                   source->server.in_recovery
                       ? "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SELECT "
                         "pg_catalog.pg_export_snapshot(), pg_catalog.pg_last_wal_replay_lsn()"
                       : "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SELECT "
                         "pg_catalog.pg_export_snapshot(), pg_catalog.pg_current_wal_lsn()",
                   TR_PG_QUERY_TIMEOUT_MS, &row, err) != TR_OK)
        return TR_FAIL;
    (void)snprintf(snapshot->name, sizeof snapshot->name, "%s", tr_pg_text(row, 0, 0));
    bool parsed = tr_lsn_parse(tr_pg_text(row, 0, 1), &snapshot->lsn);
    PQclear(row);
    return parsed ? TR_OK : tr_fail(err, TR_E_PG_PROTOCOL, "the server's LSN is not understood");
}

/* Loads the catalog as the snapshot sees it, and the snapshot's xmin. */
static enum tr_status look_through(struct tr_pg_source *source, struct tr_pg_snapshot *snapshot,
                                   struct tr_error *err)
{
    struct tr_outbuf sql = {0};
    PGresult *row = NULL, *end = NULL;
    tr_outbuf_lit(&sql,
                  "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT ");
    tr_pg_put_literal(&sql, snapshot->name);
    tr_outbuf_lit(&sql,
                  "; SELECT pg_catalog.txid_snapshot_xmin(pg_catalog.txid_current_snapshot())");
    enum tr_status status = tr_pg_exec(&source->sql, "import the snapshot", tr_outbuf_cstr(&sql),
                                       TR_PG_QUERY_TIMEOUT_MS, &row, err);
    tr_outbuf_free(&sql);
    if (status != TR_OK)
        return TR_FAIL;
    snapshot->xmin = (uint32_t)strtoull(tr_pg_text(row, 0, 0), NULL, 10); /* without its epoch */
    PQclear(row);
    if (tr_pg_source_catalog(source, err) != TR_OK ||
        tr_pg_catalog_sizes(&source->sql, &source->catalog, err) != TR_OK)
        return TR_FAIL;
    status = tr_pg_exec(&source->sql, "end the look at the catalog", "COMMIT",
                        TR_PG_QUERY_TIMEOUT_MS, &end, err);
    PQclear(status == TR_OK ? end : NULL);
    return status;
}

static uint32_t next_number(const struct tr_pg_source *source)
{
    uint32_t last = 0;
    size_t i = tr_state_seek(&source->marks, "snapshot/");
    for (; tr_state_has_prefix(&source->marks, i, "snapshot/"); i++) {
        uint32_t number = (uint32_t)strtoul(source->marks.items[i].key + 9, NULL, 10);
        if (number > last)
            last = number;
    }
    return last + 1;
}

static enum tr_status make_readers(struct tr_pg_source *source, struct tr_pg_snapshot *snapshot,
                                   struct tr_error *err)
{
    uint32_t wanted = (uint32_t)source->settings.options->snapshot_readers;
    unsigned count = wanted < snapshot->job_count ? wanted : snapshot->job_count;
    snapshot->readers = calloc(count, sizeof *snapshot->readers);
    if (snapshot->readers == NULL)
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for snapshot readers");
    snapshot->reader_count = count;
    atomic_store(&snapshot->next_job, count);
    for (unsigned i = 0; i < count; i++) {
        struct tr_pg_reader *reader = &snapshot->readers[i];
        reader->announced_here = calloc(snapshot->copy_count, sizeof *reader->announced_here);
        reader->mark_given = calloc(snapshot->copy_count, sizeof *reader->mark_given);
        if (reader->announced_here == NULL || reader->mark_given == NULL)
            return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for snapshot readers");
    }
    return TR_OK;
}

/* The stream will compare with what the copy tells the sinks. */
static enum tr_status tell_stream(struct tr_pg_source *source, struct tr_pg_snapshot *snapshot,
                                  struct tr_error *err)
{
    double rows = 0;
    bool guess = false; /* a large table was never analysed: no total is better than a wrong one */
    struct tr_pg_progress *progress = &source->progress;
    for (uint32_t i = 0; i < snapshot->copy_count; i++) {
        struct tr_pg_copy *copy = &snapshot->copies[i];
        struct tr_pg_known *known;
        if (tr_pg_known_add(source, copy->relation->oid, copy->table, copy->skip_lsn,
                            copy->soft_lsn, &known, err) != TR_OK)
            return TR_FAIL;
        for (uint32_t leaf = 0; leaf < copy->leaf_count; leaf++) {
            for (size_t k = 0; k < source->catalog.relation_count; k++) {
                const struct tr_pg_relation *relation = &source->catalog.relations[k];
                if (relation->oid != copy->leaves[leaf].oid)
                    continue;
                rows += relation->rows > 0 ? relation->rows : 0;
                guess |= relation->rows <= 0 && relation->pages > UNKNOWN_PAGES_MAX;
            }
        }
    }
    atomic_store(&progress->rows_total, guess ? 0 : (uint64_t)rows);
    atomic_store(&progress->tables_total, snapshot->copy_count);
    atomic_store(&progress->snapshot_running, true);
    return TR_OK;
}

static uint32_t binary_count(const struct tr_pg_snapshot *snapshot)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < snapshot->copy_count; i++)
        count += snapshot->copies[i].binary;
    return count;
}

enum tr_status tr_pg_snapshot_start(struct tr_pg_source *source, struct tr_pg_conn *exporter,
                                    const char *snapshot_name, uint64_t lsn, struct tr_error *err)
{
    char text[TR_PG_LSN_BYTES];
    struct tr_pg_snapshot *snapshot = calloc(1, sizeof *snapshot);
    if (snapshot == NULL) {
        if (exporter != NULL)
            tr_pg_disconnect(exporter);
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for a snapshot");
    }
    tr_arena_init(&snapshot->arena, 16 << 10, 0);
    enum tr_status status = TR_OK;
    if (exporter != NULL) {
        snapshot->exporter = *exporter;
        snapshot->lsn = lsn;
        (void)snprintf(snapshot->name, sizeof snapshot->name, "%s", snapshot_name);
    } else {
        status =
            tr_pg_plan(source, snapshot, err); /* with the catalog as it is: is there anything? */
        if (status == TR_OK)
            status = source->bounded ? export_by_session(source, snapshot, err)
                                     : export_by_slot(source, snapshot, err);
    }
    if (status != TR_OK)
        goto cleanup;
    snapshot->number = next_number(source);
    if (source->bounded || !source->resuming)
        source->stream_lsn = snapshot->lsn;
    if (look_through(source, snapshot, err) != TR_OK) {
        status = TR_FAIL;
        goto cleanup;
    }
    tr_arena_reset(&snapshot->arena);
    status = tr_pg_plan(source, snapshot, err);
    if (status != TR_OK)
        goto cleanup;
    if (tr_pg_plan_binary(source, snapshot, err) != TR_OK ||
        make_readers(source, snapshot, err) != TR_OK ||
        tell_stream(source, snapshot, err) != TR_OK) {
        status = TR_FAIL;
        goto cleanup;
    }
    tr_log(TR_LOG_INFO, "copying tables",
           "snapshot=%u lsn=%s tables=%u binary=%u chunks=%u readers=%u", snapshot->number,
           tr_lsn_format(snapshot->lsn, text, sizeof text), snapshot->copy_count,
           binary_count(snapshot), snapshot->job_count, snapshot->reader_count);
    source->start_commit = true;
    source->snapshot = snapshot;
    return TR_OK;
cleanup:
    free_snapshot(snapshot);
    return status == TR_END ? TR_OK : TR_FAIL; /* END: nothing is left to copy */
}

unsigned tr_pg_snapshot_readers(const struct tr_pg_source *source)
{
    return source->snapshot == NULL ? 0 : source->snapshot->reader_count;
}

/* ---- marks ---------------------------------------------------------------------------------- */

static void add_base_marks(const struct tr_pg_source *source, const struct tr_pg_snapshot *snapshot,
                           struct tr_pg_marks *marks)
{
    char value[64], lsn[TR_PG_LSN_BYTES];
    tr_pg_marks_add(marks, source->source_id, "source.id");
    tr_pg_marks_add_lsn(marks, "lsn", source->stream_lsn);
    tr_pg_marks_add(marks, "running", "snapshot");
    (void)snprintf(value, sizeof value, "%s %u", tr_lsn_format(snapshot->lsn, lsn, sizeof lsn),
                   snapshot->xmin);
    tr_pg_marks_add(marks, value, "snapshot/%u", snapshot->number);
}

static void add_job_marks(const struct tr_pg_snapshot *snapshot, struct tr_pg_reader *reader,
                          struct tr_pg_marks *marks)
{
    const struct tr_pg_job *job = reader->job;
    const struct tr_pg_copy *copy = &snapshot->copies[job->table];
    char value[64], key[32];
    (void)snprintf(value, sizeof value, "%u", snapshot->number);
    tr_pg_marks_add(marks, value, "copy/%u", copy->relation->oid);
    for (uint32_t i = 0; i < job->leaf_count; i++) {
        const struct tr_pg_leaf *leaf = &copy->leaves[job->leaf_first + i];
        tr_pg_marks_add(marks, value, "chunk/%u/%u/%u", leaf->oid, leaf->filenode, job->chunk);
        char plan[64];
        (void)snprintf(plan, sizeof plan, "%u %u %u", leaf->filenode, leaf->chunk_pages,
                       leaf->chunk_count);
        tr_pg_marks_add(marks, plan, "plan/%u", leaf->oid);
    }
    for (uint32_t i = 0; copy->by_leaves && i < job->leaf_count; i++)
        tr_pg_marks_add(marks, "1", "leaf/%u", copy->leaves[job->leaf_first + i].oid);
    if (copy->skip_lsn != 0) {
        (void)snprintf(key, sizeof key, "skip/%u", copy->relation->oid);
        tr_pg_marks_add_lsn(marks, key, copy->skip_lsn);
    }
    if (copy->soft_lsn != 0) {
        (void)snprintf(key, sizeof key, "soft/%u", copy->relation->oid);
        tr_pg_marks_add_lsn(marks, key, copy->soft_lsn);
    }
    if (!reader->mark_given[job->table])
        tr_pg_marks_add_table(marks, copy->table);
    reader->mark_given[job->table] = true;
}

static void stamp(const struct tr_pg_snapshot *snapshot, const struct tr_pg_reader *reader,
                  struct tr_event *event)
{
    event->flags |= TR_EV_SNAPSHOT;
    event->position = snapshot->lsn;
    event->commit_position = snapshot->lsn;
    event->ts_us = reader->batch_us;
    event->recv_ts_us = reader->batch_us;
}

static enum tr_status commit(const struct tr_pg_source *source, struct tr_pg_reader *reader,
                             struct tr_batch *batch, bool of_job, struct tr_error *err)
{
    struct tr_pg_marks marks;
    struct tr_event *event;
    tr_pg_marks_init(&marks, &batch->arena);
    add_base_marks(source, source->snapshot, &marks);
    if (of_job)
        add_job_marks(source->snapshot, reader, &marks);
    if (tr_pg_marks_commit(&marks, batch, &event, err) != TR_OK)
        return TR_FAIL;
    stamp(source->snapshot, reader, event);
    event->txn_index = reader->row_index;
    return TR_OK;
}

/* ---- announcing tables ---------------------------------------------------------------------- */

static enum tr_status announce(struct tr_pg_snapshot *snapshot, struct tr_pg_reader *reader,
                               uint32_t index, struct tr_batch *batch, struct tr_error *err)
{
    struct tr_schema_change create = {.kind = TR_CHANGE_CREATE_TABLE};
    struct tr_event *event;
    if (reader->announced_here[index])
        return TR_OK;
    if (tr_batch_schema_change(batch, snapshot->copies[index].table, &create, &event, err) != TR_OK)
        return TR_FAIL;
    stamp(snapshot, reader, event);
    reader->announced_here[index] = true;
    return TR_OK;
}

static enum tr_status step_plan(struct tr_pg_source *source, struct tr_pg_reader *reader,
                                struct tr_batch *batch, struct tr_error *err)
{
    struct tr_pg_snapshot *snapshot = source->snapshot;
    for (; reader->announced < snapshot->copy_count; reader->announced++) {
        if (tr_batch_full(batch))
            return TR_OK;
        if (announce(snapshot, reader, reader->announced, batch, err) != TR_OK)
            return TR_FAIL;
    }
    if (tr_batch_full(batch))
        return TR_OK;
    if (commit(source, reader, batch, false, err) != TR_OK)
        return TR_FAIL;
    reader->state = TR_PG_READER_TAKE;
    return TR_OK;
}

/* ---- one job -------------------------------------------------------------------------------- */

static enum tr_status send_sql(struct tr_pg_reader *reader, struct tr_outbuf *sql,
                               enum tr_pg_reader_state next, struct tr_error *err)
{
    bool sent = !sql->failed && PQsendQuery(reader->conn.pg, tr_outbuf_cstr(sql)) != 0;
    tr_outbuf_free(sql);
    if (!sent)
        return tr_pg_fail_result(err, NULL, reader->conn.pg, "copy a table");
    reader->state = next;
    return TR_OK;
}

/* TR_AGAIN: it is not this reader's turn yet. */
static enum tr_status step_take(struct tr_pg_source *source, struct tr_pg_reader *reader,
                                unsigned reader_index, struct tr_batch *batch, struct tr_error *err)
{
    struct tr_pg_snapshot *snapshot = source->snapshot;
    if (reader_index > 0 && !reader->begun && !atomic_load(&snapshot->rows_flow) &&
        tr_clock_mono_ms() < reader->turn_until_ms)
        return TR_AGAIN;
    uint32_t next = reader->begun ? atomic_fetch_add(&snapshot->next_job, 1) : reader_index;
    reader->begun = true;
    if (next >= snapshot->job_count) {
        reader->state = TR_PG_READER_DONE;
        return TR_END;
    }
    reader->job = &snapshot->jobs[next];
    reader->row_index = 0;
    reader->header_seen = false;
    reader->table_held = false;
    const struct tr_pg_copy *copy = &snapshot->copies[reader->job->table];
    if (announce(snapshot, reader, reader->job->table, batch, err) != TR_OK)
        return TR_FAIL;
    if (reader->job->kind == TR_PG_JOB_RELOAD) {
        struct tr_event *event = tr_batch_event(batch, TR_OP_TRUNCATE);
        if (event == NULL)
            return tr_fail(err, TR_E_INTERNAL, "a truncate did not fit into its batch");
        if (tr_batch_table(batch, copy->table, err) != TR_OK)
            return TR_FAIL;
        event->table = copy->table;
        event->flags = TR_EV_TRUNCATE_FOR_RELOAD;
        stamp(snapshot, reader, event);
    }
    struct tr_outbuf sql = {0};
    tr_pg_job_begin_sql(snapshot, reader->job, &sql);
    return send_sql(reader, &sql, TR_PG_READER_BEGIN, err);
}

static enum tr_status fail_changed(const struct tr_pg_copy *copy, struct tr_error *err)
{
    return tr_fail(
        err, TR_E_PG_TABLE_CHANGED,
        "the table \"%s\".\"%s\" was rewritten, renamed or dropped while it was being copied",
        copy->relation->id.schema, copy->relation->id.table);
}

/* What a failed statement of a job means: the table is gone, or the exported snapshot is. */
static enum tr_status fail_job(const struct tr_pg_copy *copy, const PGresult *result,
                               const PGconn *pg, struct tr_error *err)
{
    if (tr_pg_is_sqlstate(result, "42P01") || tr_pg_is_sqlstate(result, "42703") ||
        tr_pg_is_sqlstate(result, "3F000"))
        return fail_changed(copy, err);
    char what[200];
    (void)snprintf(what, sizeof what, "copy the table \"%.80s\".\"%.80s\"",
                   copy->relation->id.schema, copy->relation->id.table);
    (void)tr_pg_fail_result(err, result, pg, what);
    if (strstr(err->message, "snapshot") != NULL && err->code == TR_E_PG_QUERY) {
        err->code = TR_E_PG_CONNECT;
        err->class = TR_TRANSIENT;
        (void)tr_detail(err, "the connection that held the snapshot has ended");
    }
    return TR_FAIL;
}

/* The results of BEGIN … check; then COPY is sent. TR_AGAIN: not there yet. */
static enum tr_status step_begin(struct tr_pg_snapshot *snapshot, struct tr_pg_reader *reader,
                                 struct tr_error *err)
{
    const struct tr_pg_copy *copy = &snapshot->copies[reader->job->table];
    while (!PQisBusy(reader->conn.pg)) {
        PGresult *result = PQgetResult(reader->conn.pg);
        ExecStatusType kind = PQresultStatus(result);
        enum tr_status status = TR_OK;
        if (result == NULL) {
            struct tr_outbuf sql = {0};
            tr_pg_job_copy_sql(snapshot, reader->job, &sql);
            return send_sql(reader, &sql, TR_PG_READER_ASK, err);
        }
        if (kind == PGRES_TUPLES_OK && tr_pg_int(result, 0, 0) != 0)
            status = fail_changed(copy, err);
        else if (kind != PGRES_COMMAND_OK && kind != PGRES_TUPLES_OK)
            status = fail_job(copy, result, reader->conn.pg, err);
        PQclear(result);
        if (status != TR_OK)
            return status;
    }
    return TR_AGAIN;
}

/* COPY's answer. TR_AGAIN: not there yet. */
static enum tr_status step_ask(struct tr_pg_snapshot *snapshot, struct tr_pg_reader *reader,
                               struct tr_error *err)
{
    if (PQisBusy(reader->conn.pg))
        return TR_AGAIN;
    PGresult *result = PQgetResult(reader->conn.pg);
    enum tr_status status = TR_OK;
    if (PQresultStatus(result) == PGRES_COPY_OUT)
        reader->state = TR_PG_READER_COPY;
    else
        status = fail_job(&snapshot->copies[reader->job->table], result, reader->conn.pg, err);
    PQclear(result);
    return status;
}

/* The row of a message of COPY into the batch's memory; a large one stays in libpq's buffer. */
static enum tr_status keep_row(char *message, size_t len, struct tr_batch *batch,
                               struct tr_slice *row, struct tr_error *err)
{
    if (row->len >= ROW_HOLD_BYTES && tr_batch_hold(batch, message, len, PQfreemem))
        return TR_OK;
    char *copy = tr_arena_alloc(&batch->arena, row->len, 1);
    if (copy != NULL)
        memcpy(copy, row->ptr, row->len);
    PQfreemem(message);
    row->ptr = copy;
    return copy == NULL ? tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for a row") : TR_OK;
}

/* One message of COPY, which is freed or kept by the batch. Binary: the first one begins with the
 * header, and the last one is the trailer. */
static enum tr_status put_row(struct tr_pg_source *source, struct tr_pg_reader *reader,
                              char *message, size_t len, struct tr_batch *batch,
                              struct tr_error *err)
{
    struct tr_pg_snapshot *snapshot = source->snapshot;
    struct tr_pg_copy *copy = &snapshot->copies[reader->job->table];
    const struct tr_table *table = copy->table;
    struct tr_slice row = {message, len};
    enum tr_status status = TR_OK;
    if (copy->binary)
        status = tr_pgcopy_binary_row(row, &reader->header_seen, table->column_count, &row, err);
    if (status == TR_OK && row.len > 0 && !reader->table_held)
        status = tr_batch_table(batch, table, err);
    if (status != TR_OK || row.len == 0) {
        PQfreemem(message);
        return status;
    }
    reader->table_held = true;
    if (keep_row(message, len, batch, &row, err) != TR_OK)
        return TR_FAIL;
    struct tr_cell *cells = NULL;
    if (!source->raw_rows) {
        cells = tr_batch_cells(batch, table->column_count);
        if (cells == NULL)
            return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for a row");
        if (tr_pgcopy_decode(row, table->column_count, cells, batch, err) != TR_OK)
            return TR_FAIL;
    }
    struct tr_event *event = tr_batch_event(batch, TR_OP_READ);
    if (event == NULL)
        return tr_fail(err, TR_E_INTERNAL, "a row did not fit into its batch");
    event->table = table;
    event->raw = row;
    event->flags = copy->binary ? TR_EV_RAW_BINARY : 0;
    event->after = cells;
    event->txn_index = reader->row_index++;
    stamp(snapshot, reader, event);
    if (reader->row_index == 1 && !atomic_exchange(&copy->first_row_given, true)) {
        event->flags |= TR_EV_SNAPSHOT_FIRST_IN_TABLE;
        if (!atomic_exchange(&snapshot->first_row_given, true))
            event->flags |= TR_EV_SNAPSHOT_FIRST;
    }
    return TR_OK;
}

static void count_rows(struct tr_pg_source *source, struct tr_pg_reader *reader, uint64_t at_least)
{
    if (reader->rows_counted < at_least)
        return;
    atomic_fetch_add_explicit(&source->progress.rows, reader->rows_counted, memory_order_relaxed);
    reader->rows_counted = 0;
}

/* Rows that have arrived. TR_AGAIN: no more for now; TR_OK: the batch is full or the COPY has
 * ended. */
static enum tr_status step_copy(struct tr_pg_source *source, struct tr_pg_reader *reader,
                                struct tr_batch *batch, struct tr_error *err)
{
    const struct tr_pg_copy *copy = &source->snapshot->copies[reader->job->table];
    while (!tr_batch_full(batch)) {
        char *line = NULL;
        int len = PQgetCopyData(reader->conn.pg, &line, 1);
        if (len == 0)
            return TR_AGAIN;
        if (len == -1) {
            reader->state = TR_PG_READER_END;
            return TR_OK;
        }
        if (len < 0)
            return tr_pg_fail_result(err, NULL, reader->conn.pg, "copy a table");
        uint32_t rows_before = reader->row_index;
        if (put_row(source, reader, line, (size_t)len, batch, err) != TR_OK)
            return TR_FAIL;
        if (reader->row_index == rows_before)
            continue; /* binary: a message without a row */
        reader->rows_counted++;
        count_rows(source, reader, ROWS_PER_TICK);
        if (reader->row_index == 1 && TR_FAILPOINT("source.postgres.mid_copy") != 0)
            return tr_fail(err, TR_E_PG_CONNECT, "failpoint source.postgres.mid_copy (%s)",
                           copy->relation->id.table);
    }
    return TR_OK;
}

/* The results behind the rows, then the job's commit. TR_AGAIN: not there yet. */
static enum tr_status step_end(struct tr_pg_source *source, struct tr_pg_reader *reader,
                               struct tr_batch *batch, struct tr_error *err)
{
    struct tr_pg_snapshot *snapshot = source->snapshot;
    struct tr_pg_copy *copy = &snapshot->copies[reader->job->table];
    for (;;) {
        if (PQisBusy(reader->conn.pg))
            return TR_AGAIN;
        PGresult *result = PQgetResult(reader->conn.pg);
        if (result == NULL)
            break;
        enum tr_status status = PQresultStatus(result) == PGRES_COMMAND_OK
                                    ? TR_OK
                                    : fail_job(copy, result, reader->conn.pg, err);
        PQclear(result);
        if (status != TR_OK)
            return status;
    }
    bool last_of_table = atomic_fetch_sub(&copy->jobs_left, 1) == 1;
    bool last_of_all = atomic_fetch_add(&snapshot->jobs_done, 1) + 1 == snapshot->job_count;
    if (last_of_table && batch->event_count > 0) {
        struct tr_event *last = &batch->events[batch->event_count - 1];
        if (last->op == TR_OP_READ && last->table == copy->table)
            last->flags |= TR_EV_SNAPSHOT_LAST_IN_TABLE | (last_of_all ? TR_EV_SNAPSHOT_LAST : 0);
    }
    if (commit(source, reader, batch, true, err) != TR_OK)
        return TR_FAIL;
    count_rows(source, reader, 0);
    if (last_of_table)
        atomic_fetch_add(&source->progress.tables_done, 1);
    reader->piece_ended = copy->leaves[reader->job->leaf_first].chunk_count > 1;
    reader->job = NULL;
    reader->state = TR_PG_READER_TAKE;
    return TR_OK;
}

/* ---- reading -------------------------------------------------------------------------------- */

static enum tr_status step(struct tr_pg_source *source, struct tr_pg_reader *reader,
                           unsigned reader_index, struct tr_batch *batch, struct tr_error *err)
{
    switch (reader->state) {
    case TR_PG_READER_CONNECT:
        if (tr_pg_connect(&source->settings, false, source->wake_fds[1 + reader_index],
                          &reader->conn, err) != TR_OK)
            return TR_FAIL;
        reader->turn_until_ms = tr_clock_mono_ms() + TURN_WAIT_MAX_MS;
        reader->state = reader_index == 0 ? TR_PG_READER_PLAN : TR_PG_READER_TAKE;
        return TR_OK;
    case TR_PG_READER_PLAN:
        return step_plan(source, reader, batch, err);
    case TR_PG_READER_TAKE:
        return step_take(source, reader, reader_index, batch, err);
    case TR_PG_READER_BEGIN:
        return step_begin(source->snapshot, reader, err);
    case TR_PG_READER_ASK:
        return step_ask(source->snapshot, reader, err);
    case TR_PG_READER_COPY:
        return step_copy(source, reader, batch, err);
    case TR_PG_READER_END:
        return step_end(source, reader, batch, err);
    case TR_PG_READER_DONE:
        return TR_END;
    }
    return tr_fail(err, TR_E_INTERNAL, "a snapshot reader is in no state");
}

static enum tr_status await(struct tr_pg_reader *reader, int timeout_ms, bool *woken,
                            struct tr_error *err)
{
    bool for_write = PQflush(reader->conn.pg) == 1;
    enum tr_status status = tr_pg_wait(&reader->conn, for_write, timeout_ms, woken);
    if (status == TR_OK && !PQconsumeInput(reader->conn.pg))
        return tr_pg_fail_result(err, NULL, reader->conn.pg, "copy a table");
    return status;
}

enum tr_status tr_pg_snapshot_read(struct tr_pg_source *source, unsigned reader_index,
                                   struct tr_batch *batch, int timeout_ms, struct tr_error *err)
{
    if (source->snapshot == NULL || reader_index >= source->snapshot->reader_count)
        return TR_END;
    struct tr_pg_reader *reader = &source->snapshot->readers[reader_index];
    int64_t deadline_ms = tr_clock_mono_ms() + timeout_ms;
    if (reader_index == 0 && reader->begun &&
        (reader->row_index > 0 || reader->job != &source->snapshot->jobs[0]))
        atomic_store(&source->snapshot->rows_flow, true); /* with the batch before */
    reader->batch_us = tr_clock_wall_us();
    reader->table_held = false;
    reader->piece_ended = false;
    while (!tr_batch_full(batch)) {
        enum tr_status status = step(source, reader, reader_index, batch, err);
        if (status == TR_FAIL)
            return err->code == TR_E_INTERRUPTED && batch->event_count == 0 ? TR_AGAIN : TR_FAIL;
        if (status == TR_END) {
            count_rows(source, reader, 0);
            tr_pg_disconnect(&reader->conn);
            return TR_END;
        }
        if (reader->piece_ended)
            break;
        if (status == TR_OK)
            continue;
        int64_t left = deadline_ms - tr_clock_mono_ms();
        if (left < 0)
            left = 0;
        bool have = batch->event_count > 0, woken = false;
        int wait_ms = have && left > GATHER_WAIT_MS ? GATHER_WAIT_MS : (int)left;
        if (reader->state == TR_PG_READER_TAKE && wait_ms > TURN_WAIT_MS)
            wait_ms = TURN_WAIT_MS;
        status = await(reader, wait_ms, &woken, err);
        if (status == TR_FAIL)
            return TR_FAIL;
        if (status == TR_AGAIN && (woken || have || tr_clock_mono_ms() >= deadline_ms))
            break;
    }
    return batch->event_count > 0 ? TR_OK : TR_AGAIN;
}
