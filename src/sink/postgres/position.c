/* Positions in the target: one row per mark, written in the transaction that holds the rows.
 *
 *   tailrace_position(pipeline, writer, item, value), primary key (pipeline, writer, item)
 *
 * Fencing: a writer holds a session-level advisory lock named after table, pipeline and writer.
 * Reading the marks takes the same lock for a moment. So a new process never reads positions while
 * a session of an earlier life (cut off in the middle of COMMIT) could still change them. Processes
 * that share a pipeline hold the lock together (and keep one out that does not share); the positions
 * of splits are guarded one by one instead. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/clock.h"
#include "event/state.h"
#include "sink/postgres/encode.h"
#include "sink/postgres/writer.h"

#define LOCK_WAIT_MS 15000
#define LOCK_STEP_MS 50

void tr_pgs_position_name(struct tr_pgs_sink *sink, struct tr_pgs_link *link, struct tr_outbuf *out)
{
    tr_pgs_identifier(link, out, sink->position_schema);
    tr_outbuf_byte(out, '.');
    tr_pgs_identifier(link, out, sink->position_table);
}

/* ---- storing ----
 *
 * One statement for all marks that are set, whatever their number: arrays, joined by unnest(). The
 * positions of splits are stored by compare-and-set (event/pending_marks.h): rows are updated where
 * they hold what they must, or made where there must be none; when fewer are stored than were sent,
 * the statement fails, and with it the transaction. A row that another process has locked is waited
 * for, and then looked at again as it is. */

enum { ITEMS, VALUES, KNOWN, CLAIMS };

struct run { /* marks between two deletions by prefix */
    struct tr_pgs_writer *writer;
    const struct tr_pending_mark *marks;
    size_t count;
    uint32_t tag;
    char number[16]; /* the writer's */
};

static enum tr_status no_memory(struct tr_error *err)
{
    return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for marks");
}

/* Appends an array's next element; text NULL: NULL. */
static void item(struct tr_outbuf *out, const char *text)
{
    struct tr_cell cell = {.ptr = text,
                           .len = text == NULL ? 0 : (uint32_t)strlen(text),
                           .state = text == NULL ? TR_CELL_NULL : TR_CELL_TEXT};
    tr_outbuf_byte(out, out->len == 0 ? '{' : ',');
    tr_pgs_array_item(out, &cell, false);
}

static enum tr_status queue_arrays(const struct run *run, struct tr_pgs_stmt *stmt, int array_count,
                                   const char *last, uint32_t tag, struct tr_error *err)
{
    struct tr_pgs_writer *writer = run->writer;
    const char *params[2 + TR_PGS_MARK_ARRAYS + 1] = {writer->sink->pipeline_name, run->number};
    for (int i = 0; i < array_count; i++) {
        struct tr_outbuf *out = &writer->mark_arrays[i];
        tr_outbuf_byte(out, '}');
        params[2 + i] = tr_outbuf_cstr(out);
        if (out->failed)
            return no_memory(err);
    }
    params[2 + array_count] = last;
    return tr_pgs_pipe_stmt(&writer->link, stmt, &(struct tr_pgs_params){.values = params}, tag,
                            err);
}

static void clear_arrays(struct tr_pgs_writer *writer)
{
    for (int i = 0; i < TR_PGS_MARK_ARRAYS; i++)
        tr_outbuf_clear(&writer->mark_arrays[i]);
}

/* The table's name stands between the two parts. */
static enum tr_status make(struct tr_pgs_writer *writer, struct tr_pgs_stmt *stmt, int param_count,
                           const char *before, const char *after, struct tr_error *err)
{
    struct tr_outbuf sql = {0};
    if (stmt->sql != NULL)
        return TR_OK;
    tr_outbuf_str(&sql, before);
    tr_pgs_position_name(writer->sink, &writer->link, &sql);
    tr_outbuf_str(&sql, after);
    const char *text = tr_outbuf_cstr(&sql);
    stmt->sql = sql.failed ? NULL : strdup(text);
    stmt->param_count = param_count;
    tr_outbuf_free(&sql);
    return stmt->sql == NULL ? no_memory(err) : TR_OK;
}

static enum tr_status queue_sets(const struct run *run, struct tr_error *err)
{
    struct tr_pgs_writer *writer = run->writer;
    size_t count = 0;
    clear_arrays(writer);
    for (size_t i = 0; i < run->count; i++) {
        const struct tr_pending_mark *mark = &run->marks[i];
        if (mark->guarded || mark->value.len == 0)
            continue;
        item(&writer->mark_arrays[ITEMS], mark->key);
        item(&writer->mark_arrays[VALUES], tr_pending_value(mark));
        count++;
    }
    if (count == 0)
        return TR_OK;
    if (make(writer, &writer->marks_set, 4, "INSERT INTO ",
             " (pipeline, writer, item, value) SELECT $1::pg_catalog.text, $2::pg_catalog.int4,"
             " m.item, m.value"
             " FROM unnest($3::pg_catalog.text[], $4::pg_catalog.text[]) AS m(item, value)"
             " ON CONFLICT (pipeline, writer, item) DO UPDATE SET value = EXCLUDED.value",
             err) != TR_OK)
        return TR_FAIL;
    return queue_arrays(run, &writer->marks_set, 2, NULL, run->tag, err);
}

static enum tr_status queue_erases(const struct run *run, struct tr_error *err)
{
    struct tr_pgs_writer *writer = run->writer;
    size_t count = 0;
    clear_arrays(writer);
    for (size_t i = 0; i < run->count; i++) {
        if (run->marks[i].value.len > 0)
            continue;
        item(&writer->mark_arrays[ITEMS], run->marks[i].key);
        count++;
    }
    if (count == 0)
        return TR_OK;
    if (make(writer, &writer->marks_erase, 3, "DELETE FROM ",
             " WHERE pipeline = $1 AND writer = $2 AND item = ANY($3::pg_catalog.text[])",
             err) != TR_OK)
        return TR_FAIL;
    return queue_arrays(run, &writer->marks_erase, 1, NULL, run->tag, err);
}

static enum tr_status make_guarded(struct tr_pgs_writer *writer, struct tr_error *err)
{
    struct tr_outbuf after = {0};
    if (writer->marks_guarded.sql != NULL)
        return TR_OK;
    tr_outbuf_lit(
        &after,
        " AS p SET value = m.value FROM m WHERE p.pipeline = $1 AND p.writer = $2"
        " AND p.item = m.item AND (p.value = m.known OR p.value = m.claim OR (m.known IS NULL"
        " AND p.value !~ '[^0-9]' AND (length(p.value) < length(m.value)"
        " OR (length(p.value) = length(m.value) AND p.value COLLATE \"C\" <= m.value))))"
        " RETURNING 1), i AS (INSERT INTO ");
    tr_pgs_position_name(writer->sink, &writer->link, &after);
    tr_outbuf_lit(&after,
                  " (pipeline, writer, item, value) SELECT $1, $2, m.item, m.value FROM m"
                  " WHERE m.known IS NULL OR m.known = '' ON CONFLICT DO NOTHING RETURNING 1)"
                  " SELECT 1 / CASE WHEN (SELECT count(*) FROM u) + (SELECT count(*) FROM i) ="
                  " $7::pg_catalog.int8 THEN 1 ELSE 0 END");
    enum tr_status status =
        after.failed ? no_memory(err)
                     : make(writer, &writer->marks_guarded, 7,
                            "WITH m AS (SELECT * FROM unnest($3::pg_catalog.text[],"
                            " $4::pg_catalog.text[], $5::pg_catalog.text[],"
                            " $6::pg_catalog.text[]) AS m(item, value, known, claim)),"
                            " u AS (UPDATE ",
                            tr_outbuf_cstr(&after), err);
    tr_outbuf_free(&after);
    return status;
}

static enum tr_status queue_guarded(const struct run *run, uint32_t tag, struct tr_error *err)
{
    struct tr_pgs_writer *writer = run->writer;
    size_t count = 0;
    char wanted[24];
    clear_arrays(writer);
    for (size_t i = 0; i < run->count; i++) {
        const struct tr_pending_mark *mark = &run->marks[i];
        if (!mark->guarded || mark->value.len == 0)
            continue;
        item(&writer->mark_arrays[ITEMS], mark->key);
        item(&writer->mark_arrays[VALUES], tr_pending_value(mark));
        item(&writer->mark_arrays[KNOWN], tr_mark_guard_known(&writer->guard, mark->key));
        item(&writer->mark_arrays[CLAIMS], tr_pending_claim(mark));
        count++;
    }
    if (count == 0)
        return TR_OK;
    (void)snprintf(wanted, sizeof wanted, "%zu", count);
    if (make_guarded(writer, err) != TR_OK)
        return TR_FAIL;
    return queue_arrays(run, &writer->marks_guarded, 4, wanted, tag, err);
}

static enum tr_status queue_prefix(const struct run *run, const char *prefix, struct tr_error *err)
{
    struct tr_pgs_writer *writer = run->writer;
    struct tr_outbuf *sql = &writer->sql;
    const char *params[] = {writer->sink->pipeline_name, run->number, prefix};
    tr_outbuf_clear(sql);
    tr_outbuf_lit(sql, "DELETE FROM ");
    tr_pgs_position_name(writer->sink, &writer->link, sql);
    tr_outbuf_lit(sql, " WHERE pipeline = $1 AND writer = $2 AND pg_catalog.starts_with(item, $3)");
    const char *text = tr_outbuf_cstr(sql);
    if (sql->failed)
        return no_memory(err);
    return tr_pgs_pipe_sql(&writer->link, text, 3, &(struct tr_pgs_params){.values = params},
                           run->tag, err);
}

enum tr_status tr_pgs_marks_queue(struct tr_pgs_writer *writer, uint32_t tag, uint32_t guard_tag,
                                  struct tr_error *err)
{
    const struct tr_pending_marks *marks = &writer->marks;
    struct run run = {.writer = writer, .tag = tag};
    (void)snprintf(run.number, sizeof run.number, "%u", writer->partition);
    for (size_t i = 0; i < marks->count;) {
        if (marks->items[i].prefix) {
            if (queue_prefix(&run, marks->items[i++].key, err) != TR_OK)
                return TR_FAIL;
            continue;
        }
        run.marks = &marks->items[i];
        for (run.count = 0; i < marks->count && !marks->items[i].prefix; i++)
            run.count++;
        if (queue_erases(&run, err) != TR_OK || queue_sets(&run, err) != TR_OK ||
            queue_guarded(&run, guard_tag, err) != TR_OK)
            return TR_FAIL;
    }
    return TR_OK;
}

/* ---- the table ---- */

enum tr_status tr_pgs_own_table_exists(const struct tr_pgs_sink *sink, struct tr_pgs_link *link,
                                       const char *table, bool *found, struct tr_error *err)
{
    const char *params[] = {sink->position_schema, table};
    PGresult *result;
    if (tr_pgs_query(link,
                     "SELECT 1 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n"
                     " ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = $2",
                     2, params, "could not look for a table of our own", &result, err) != TR_OK)
        return TR_FAIL;
    *found = PQntuples(result) > 0;
    PQclear(result);
    return TR_OK;
}

static enum tr_status exists(struct tr_pgs_sink *sink, bool *found, struct tr_error *err)
{
    return tr_pgs_own_table_exists(sink, &sink->control, sink->position_table, found, err);
}

/* The advisory lock keeps two pipelines from making it at the same time: IF NOT EXISTS alone can
 * fail on the catalog's unique indexes. */
enum tr_status tr_pgs_position_create(struct tr_pgs_sink *sink, struct tr_error *err)
{
    struct tr_pgs_link *link = &sink->control;
    struct tr_outbuf sql = {0};
    bool found;
    if (exists(sink, &found, err) != TR_OK)
        return TR_FAIL;
    if (found)
        return TR_OK;
    tr_outbuf_lit(
        &sql,
        "BEGIN; SELECT pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtext('tailrace ddl'));");
    if (strcmp(sink->position_schema, "public") != 0) {
        tr_outbuf_lit(&sql, "CREATE SCHEMA IF NOT EXISTS ");
        tr_pgs_identifier(link, &sql, sink->position_schema);
        tr_outbuf_byte(&sql, ';');
    }
    tr_outbuf_lit(&sql, "CREATE TABLE IF NOT EXISTS ");
    tr_pgs_position_name(sink, link, &sql);
    tr_outbuf_lit(&sql, " (pipeline text NOT NULL, writer integer NOT NULL, item text NOT NULL,"
                        " value text NOT NULL, PRIMARY KEY (pipeline, writer, item)); COMMIT");
    enum tr_status status = TR_FAIL;
    if (sql.failed)
        (void)tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for the position table");
    else
        status = tr_pgs_exec(link, tr_outbuf_cstr(&sql), "could not create the position table",
                             NULL, err);
    if (status == TR_FAIL) {
        struct tr_error ignored;
        if (tr_pgs_link_alive(link) &&
            tr_pgs_exec(link, "ROLLBACK", "could not roll back", NULL, &ignored) != TR_OK)
            tr_pgs_link_close(link);
        if (err->code == TR_E_PGSINK_PRIVILEGE)
            (void)tr_hint(err,
                          "GRANT CREATE ON SCHEMA \"%s\" TO the role, or name another one by "
                          "position.schema",
                          sink->position_schema);
    }
    tr_outbuf_free(&sql);
    return status;
}

/* ---- the lock ---- */

static void lock_key(const struct tr_pgs_sink *sink, unsigned partition, char *buf, size_t buf_size)
{
    char text[1024];
    int len = snprintf(text, sizeof text, "tailrace\n%s\n%s\n%s\n%u", sink->position_schema,
                       sink->position_table, sink->pipeline_name, partition);
    if (len < 0 || (size_t)len >= sizeof text)
        len = sizeof text - 1;
    (void)snprintf(buf, buf_size, "%lld", (long long)XXH3_64bits(text, (size_t)len));
}

enum tr_status tr_pgs_position_lock(struct tr_pgs_sink *sink, struct tr_pgs_link *link,
                                    unsigned partition, struct tr_error *err)
{
    char key[32];
    const char *params[] = {key};
    int64_t deadline_ms = tr_clock_mono_ms() + LOCK_WAIT_MS;
    lock_key(sink, partition, key, sizeof key);
    const char *sql = sink->shared
                          ? "SELECT pg_catalog.pg_try_advisory_lock_shared($1::pg_catalog.int8)"
                          : "SELECT pg_catalog.pg_try_advisory_lock($1::pg_catalog.int8)";
    for (;;) {
        PGresult *result;
        if (tr_pgs_query(link, sql, 1, params, "could not lock the pipeline's position", &result, err) != TR_OK)
            return TR_FAIL;
        bool locked = *PQgetvalue(result, 0, 0) == 't';
        PQclear(result);
        if (locked)
            return TR_OK;
        if (tr_clock_mono_ms() >= deadline_ms)
            break;
        tr_clock_sleep_ms(LOCK_STEP_MS);
    }
    (void)tr_fail(err, TR_E_PGSINK_PIPELINE_BUSY,
                  "another session of pipeline %s is connected to the target", sink->pipeline_name);
    return tr_hint(
        err,
        "stop the other process, or: SELECT pg_terminate_backend(pid) FROM pg_locks WHERE "
        "locktype = 'advisory' AND objsubid = 1 AND (classid::bigint << 32 | "
        "objid::bigint) = %s;",
        key);
}

enum tr_status tr_pgs_position_unlock(struct tr_pgs_sink *sink, struct tr_pgs_link *link,
                                      unsigned partition, struct tr_error *err)
{
    char key[32];
    const char *params[] = {key};
    PGresult *result;
    lock_key(sink, partition, key, sizeof key);
    const char *sql = sink->shared
                          ? "SELECT pg_catalog.pg_advisory_unlock_shared($1::pg_catalog.int8)"
                          : "SELECT pg_catalog.pg_advisory_unlock($1::pg_catalog.int8)";
    if (tr_pgs_query(link, sql, 1, params, "could not unlock the pipeline's position", &result, err) != TR_OK)
        return TR_FAIL;
    PQclear(result);
    return TR_OK;
}

/* ---- reading and removing ---- */

enum tr_status tr_pgs_position_load(struct tr_pgs_sink *sink, struct tr_state *marks,
                                    struct tr_error *err)
{
    struct tr_outbuf sql = {0};
    const char *params[] = {sink->pipeline_name};
    PGresult *result = NULL;
    bool found;
    tr_state_clear(marks);
    if (exists(sink, &found, err) != TR_OK)
        return TR_FAIL;
    if (!found)
        return TR_OK;
    tr_outbuf_lit(&sql, "SELECT item, value FROM ");
    tr_pgs_position_name(sink, &sink->control, &sql);
    tr_outbuf_lit(&sql, " WHERE pipeline = $1 ORDER BY writer, item");
    enum tr_status status = TR_FAIL;
    if (sql.failed)
        (void)tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory to read the position");
    else
        status = tr_pgs_query(&sink->control, tr_outbuf_cstr(&sql), 1, params,
                              "could not read the position", &result, err);
    for (int i = 0; status == TR_OK && i < PQntuples(result); i++)
        status = tr_state_set(marks, PQgetvalue(result, i, 0), PQgetvalue(result, i, 1), err);
    PQclear(result);
    tr_outbuf_free(&sql);
    return status == TR_OK ? tr_mark_guard_load(&sink->loaded, marks, err) : status;
}

/* Deletes this pipeline's rows of one of our tables, if it is there. */
static enum tr_status drop_from(struct tr_pgs_sink *sink, const char *table, const char *what,
                                tr_report_fn report, void *report_ctx, struct tr_error *err)
{
    struct tr_outbuf sql = {0};
    const char *params[] = {sink->pipeline_name};
    PGresult *result = NULL;
    char message[160];
    bool found;
    if (tr_pgs_own_table_exists(sink, &sink->control, table, &found, err) != TR_OK)
        return TR_FAIL;
    if (!found)
        return TR_OK;
    tr_outbuf_lit(&sql, "DELETE FROM ");
    tr_pgs_identifier(&sink->control, &sql, sink->position_schema);
    tr_outbuf_byte(&sql, '.');
    tr_pgs_identifier(&sink->control, &sql, table);
    tr_outbuf_lit(&sql, " WHERE pipeline = $1");
    enum tr_status status = TR_FAIL;
    if (sql.failed)
        (void)tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory to remove the position");
    else
        status = tr_pgs_query(&sink->control, tr_outbuf_cstr(&sql), 1, params,
                              "could not remove the position", &result, err);
    if (status == TR_OK) {
        (void)snprintf(message, sizeof message, "%s %s removed",
                       *PQcmdTuples(result) == '\0' ? "0" : PQcmdTuples(result), what);
        if (report != NULL)
            report(report_ctx, &(struct tr_finding){
                                   .severity = TR_INFO, .object = table, .message = message});
        PQclear(result);
    }
    tr_outbuf_free(&sql);
    return status;
}

enum tr_status tr_pgs_position_drop(struct tr_pgs_sink *sink, tr_report_fn report, void *report_ctx,
                                    struct tr_error *err)
{
    if (drop_from(sink, TR_PGS_DELETED_TABLE, "remembered deletions", report, report_ctx, err) !=
        TR_OK)
        return TR_FAIL;
    return drop_from(sink, sink->position_table, "stored marks", report, report_ctx, err);
}
