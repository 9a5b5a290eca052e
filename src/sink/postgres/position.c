/* Positions in the target: one row per mark, written in the transaction that holds the rows.
 *
 *   tailrace_position(pipeline, writer, item, value), primary key (pipeline, writer, item)
 *
 * Fencing: a writer holds a session-level advisory lock named after table, pipeline and writer.
 * Reading the marks takes the same lock for a moment. So a new process never reads positions while
 * a session of an earlier life (cut off in the middle of COMMIT) could still change them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/clock.h"
#include "event/state.h"
#include "sink/postgres/writer.h"

#define LOCK_WAIT_MS 15000
#define LOCK_STEP_MS 50

void tr_pgs_position_name(struct tr_pgs_sink *sink, struct tr_pgs_link *link, struct tr_outbuf *out)
{
    tr_pgs_identifier(link, out, sink->position_schema);
    tr_outbuf_byte(out, '.');
    tr_pgs_identifier(link, out, sink->position_table);
}

/* ---- marks between two commits ---- */

void tr_pgs_marks_clear(struct tr_pgs_marks *marks)
{
    marks->count = 0;
    tr_arena_reset(&marks->arena);
}

void tr_pgs_marks_free(struct tr_pgs_marks *marks)
{
    tr_arena_free(&marks->arena);
    free(marks->items);
    marks->items = NULL;
    marks->count = marks->capacity = 0;
}

/* Room for another mark; or the pending one of the same key, if no prefix was deleted since. */
static struct tr_pgs_mark *place(struct tr_pgs_marks *marks, struct tr_slice key)
{
    for (size_t i = marks->count; i-- > 0 && !marks->items[i].prefix;) {
        if (strlen(marks->items[i].key) == key.len &&
            memcmp(marks->items[i].key, key.ptr, key.len) == 0)
            return &marks->items[i];
    }
    if (marks->count == marks->capacity) {
        size_t capacity = marks->capacity == 0 ? 16 : marks->capacity * 2;
        struct tr_pgs_mark *items = realloc(marks->items, capacity * sizeof *items);
        if (items == NULL)
            return NULL;
        marks->items = items;
        marks->capacity = capacity;
    }
    struct tr_pgs_mark *mark = &marks->items[marks->count++];
    *mark = (struct tr_pgs_mark){0};
    return mark;
}

enum tr_status tr_pgs_marks_add(struct tr_pgs_marks *marks, const struct tr_mark *mark,
                                struct tr_error *err)
{
    struct tr_slice key = mark->key;
    if (key.len == 0 || key.len > TR_MARK_KEY_BYTES_MAX ||
        mark->value.len > TR_MARK_VALUE_BYTES_MAX)
        return tr_fail(err, TR_E_INTERNAL, "a source gave a mark that cannot be stored");
    bool prefix = key.ptr[key.len - 1] == '*';
    if (prefix)
        key.len--;
    struct tr_pgs_mark *to = place(marks, key);
    if (to == NULL)
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for marks");
    to->prefix = prefix;
    if (to->key == NULL)
        to->key = tr_arena_strndup(&marks->arena, key.ptr, key.len);
    to->value = prefix ? "" : tr_arena_strndup(&marks->arena, mark->value.ptr, mark->value.len);
    if (to->key == NULL || to->value == NULL)
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for marks");
    return TR_OK;
}

static enum tr_status queue_upsert(struct tr_pgs_writer *writer, const char *const *params,
                                   uint32_t tag, struct tr_error *err)
{
    struct tr_pgs_stmt *stmt = &writer->mark_upsert;
    if (stmt->sql == NULL) {
        struct tr_outbuf sql = {0};
        tr_outbuf_lit(&sql, "INSERT INTO ");
        tr_pgs_position_name(writer->sink, &writer->link, &sql);
        tr_outbuf_lit(&sql,
                      " (pipeline, writer, item, value) VALUES ($1, $2, $3, $4)"
                      " ON CONFLICT (pipeline, writer, item) DO UPDATE SET value = EXCLUDED.value");
        const char *text = tr_outbuf_cstr(&sql);
        stmt->sql = sql.failed ? NULL : strdup(text);
        stmt->param_count = 4;
        tr_outbuf_free(&sql);
        if (stmt->sql == NULL)
            return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for marks");
    }
    return tr_pgs_pipe_stmt(&writer->link, stmt, params, tag, err);
}

static enum tr_status queue_delete(struct tr_pgs_writer *writer, bool prefix,
                                   const char *const *params, uint32_t tag, struct tr_error *err)
{
    struct tr_outbuf *sql = &writer->sql;
    tr_outbuf_clear(sql);
    tr_outbuf_lit(sql, "DELETE FROM ");
    tr_pgs_position_name(writer->sink, &writer->link, sql);
    tr_outbuf_lit(sql, " WHERE pipeline = $1 AND writer = $2 AND ");
    tr_outbuf_str(sql, prefix ? "pg_catalog.starts_with(item, $3)" : "item = $3");
    const char *text = tr_outbuf_cstr(sql);
    if (sql->failed)
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for marks");
    return tr_pgs_pipe_sql(&writer->link, text, 3, params, tag, err);
}

enum tr_status tr_pgs_marks_queue(struct tr_pgs_writer *writer, uint32_t tag, struct tr_error *err)
{
    char number[16];
    enum tr_status status = TR_OK;
    (void)snprintf(number, sizeof number, "%u", writer->partition);
    for (size_t i = 0; i < writer->marks.count && status == TR_OK; i++) {
        const struct tr_pgs_mark *mark = &writer->marks.items[i];
        const char *params[] = {writer->sink->pipeline_name, number, mark->key, mark->value};
        if (mark->prefix || *mark->value == '\0')
            status = queue_delete(writer, mark->prefix, params, tag, err);
        else
            status = queue_upsert(writer, params, tag, err);
    }
    return status;
}

/* ---- the table ---- */

static enum tr_status exists(struct tr_pgs_sink *sink, bool *found, struct tr_error *err)
{
    const char *params[] = {sink->position_schema, sink->position_table};
    PGresult *result;
    if (tr_pgs_query(&sink->control,
                     "SELECT 1 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n"
                     " ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = $2",
                     2, params, "could not look for the position table", &result, err) != TR_OK)
        return TR_FAIL;
    *found = PQntuples(result) > 0;
    PQclear(result);
    return TR_OK;
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
    for (;;) {
        PGresult *result;
        if (tr_pgs_query(link, "SELECT pg_catalog.pg_try_advisory_lock($1::pg_catalog.int8)", 1,
                         params, "could not lock the pipeline's position", &result, err) != TR_OK)
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
    if (tr_pgs_query(link, "SELECT pg_catalog.pg_advisory_unlock($1::pg_catalog.int8)", 1, params,
                     "could not unlock the pipeline's position", &result, err) != TR_OK)
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
    return status;
}

enum tr_status tr_pgs_position_drop(struct tr_pgs_sink *sink, tr_report_fn report, void *report_ctx,
                                    struct tr_error *err)
{
    struct tr_outbuf sql = {0};
    const char *params[] = {sink->pipeline_name};
    PGresult *result = NULL;
    char message[160];
    bool found;
    if (exists(sink, &found, err) != TR_OK)
        return TR_FAIL;
    if (!found)
        return TR_OK;
    tr_outbuf_lit(&sql, "DELETE FROM ");
    tr_pgs_position_name(sink, &sink->control, &sql);
    tr_outbuf_lit(&sql, " WHERE pipeline = $1");
    enum tr_status status = TR_FAIL;
    if (sql.failed)
        (void)tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory to remove the position");
    else
        status = tr_pgs_query(&sink->control, tr_outbuf_cstr(&sql), 1, params,
                              "could not remove the position", &result, err);
    if (status == TR_OK) {
        (void)snprintf(message, sizeof message, "%s stored marks removed",
                       *PQcmdTuples(result) == '\0' ? "0" : PQcmdTuples(result));
        if (report != NULL)
            report(report_ctx, &(struct tr_finding){.severity = TR_INFO,
                                                    .object = sink->position_table,
                                                    .message = message});
        PQclear(result);
    }
    tr_outbuf_free(&sql);
    return status;
}
