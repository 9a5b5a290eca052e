/* The writer: events in, transactions on the target out. One thread.
 *
 *   changes   c, u, d: buffered. At a COMMIT event the buffer gets a boundary. Several source
 *             transactions gather until flush(), apply.batch.rows or apply.batch.bytes.
 *   commit    applies what is before the boundary, stores the marks, COMMIT; then durable_seq is
 * the boundary's. What lies behind it moves to the front of a fresh buffer. large     a buffer that
 * is full in the middle of a source transaction is applied without COMMIT
 *             (`beyond`), after what is before the boundary was committed. So the open transaction
 * holds either whole source transactions, or the pieces of one that has not ended; memory stays
 *             flat, and flush() never waits for its end.
 *   load      READ rows go straight into a COPY of the open transaction (load.c).
 *   schema    settles everything first. At a boundary CREATE TABLE commits at once, so that an idle
 *             pipeline holds no locks; every other change commits with the marks that follow it.
 *
 * After a failure the writer is not usable (except for a refused schema change): closing it makes
 * the server roll back, and the engine begins again at the stored marks. A connection that is lost
 * in COMMIT leaves the outcome open; the marks tell it. */
#include "sink/postgres/writer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/failpoint.h"
#include "base/log.h"

#define MAPS_MIN 64u
#define SCRATCH_KEEP_BYTES (1u << 20) /* of one column's scratch buffer, after a commit */
#define TAG_COMMIT 1u
#define TAG_GUARD 2u

/* ---- tables ---- */

const char *tr_pgs_schema_of(const struct tr_pgs_sink *sink, const struct tr_table_id *id)
{
    if (sink->options->schema != NULL)
        return sink->options->schema;
    return id->schema != NULL && *id->schema != '\0' ? id->schema : "public";
}

static struct tr_pgs_map *map_slot(struct tr_pgs_map *maps, uint32_t capacity,
                                   const struct tr_table *table)
{
    uint32_t at =
        (uint32_t)(((uintptr_t)table >> 5) * UINT64_C(0x9E3779B97F4A7C15) >> 32) & (capacity - 1);
    while (maps[at].table != NULL && maps[at].table != table)
        at = (at + 1) & (capacity - 1);
    return &maps[at];
}

static enum tr_status maps_grow(struct tr_pgs_writer *writer, struct tr_error *err)
{
    uint32_t capacity = writer->map_capacity == 0 ? MAPS_MIN : writer->map_capacity * 2;
    if (writer->map_count * 2 < writer->map_capacity)
        return TR_OK;
    struct tr_pgs_map *maps = calloc(capacity, sizeof *maps);
    if (maps == NULL)
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for target tables");
    for (uint32_t i = 0; i < writer->map_capacity; i++) {
        if (writer->maps[i].table != NULL)
            *map_slot(maps, capacity, writer->maps[i].table) = writer->maps[i];
    }
    free(writer->maps);
    writer->maps = maps;
    writer->map_capacity = capacity;
    return TR_OK;
}

static enum tr_status fail_missing(struct tr_pgs_writer *writer, const struct tr_pgs_target *target,
                                   const struct tr_table *table, struct tr_error *err)
{
    struct tr_outbuf sql = {0};
    struct tr_error other;
    if (target->exists) {
        (void)tr_fail(err, TR_E_PGSINK_TABLE_KIND, "target %s is not a table that takes rows",
                      target->quoted);
        return tr_hint(err, "%s", tr_error_info(TR_E_PGSINK_TABLE_KIND)->remedy);
    }
    (void)tr_fail(err, TR_E_PGSINK_TABLE_MISSING, "target table %s does not exist", target->quoted);
    if (tr_pgs_create_sql(&writer->link, table, target->quoted, &sql, &other) == TR_OK)
        (void)tr_hint(err, "%s;", tr_outbuf_cstr(&sql));
    tr_outbuf_free(&sql);
    return TR_FAIL;
}

static enum tr_status target_of(struct tr_pgs_writer *writer, const struct tr_table *table,
                                struct tr_pgs_target **out, struct tr_error *err)
{
    const char *schema = tr_pgs_schema_of(writer->sink, &table->id);
    for (struct tr_pgs_target *target = writer->targets; target != NULL; target = target->next) {
        if (strcmp(target->table, table->id.table) == 0 && strcmp(target->schema, schema) == 0) {
            *out = target;
            return TR_OK;
        }
    }
    struct tr_pgs_target *target;
    if (tr_pgs_describe(&writer->link, schema, table->id.table, &target, err) != TR_OK)
        return TR_FAIL;
    if (!target->exists || (target->relkind != 'r' && target->relkind != 'p')) {
        (void)fail_missing(writer, target, table, err);
        tr_pgs_target_free(target);
        return TR_FAIL;
    }
    if (target->user_triggers || target->foreign_keys) {
        char name[160];
        tr_log(TR_LOG_INFO, "foreign keys or triggers fire: changes of this table go row by row",
               "table=%s", tr_log_quote(target->quoted, name, sizeof name));
    }
    target->next = writer->targets;
    writer->targets = target;
    *out = target;
    return TR_OK;
}

static enum tr_status check_version(struct tr_pgs_writer *writer,
                                    const struct tr_pgs_layout *layout, struct tr_error *err)
{
    if (tr_pgs_newest_check(layout->target, layout->table, err) != TR_OK)
        return TR_FAIL;
    if (!layout->has_arbiter) {
        (void)tr_fail(err, TR_E_PGSINK_NO_UNIQUE_KEY,
                      "%s has no unique index on the key, which last write wins needs",
                      layout->target->quoted);
        return tr_hint(err, "%s", tr_error_info(TR_E_PGSINK_NO_UNIQUE_KEY)->remedy);
    }
    return tr_pgs_deleted_create(writer, err);
}

/* A COPY that is under way has the connection: it ends before the catalog is read. */
enum tr_status tr_pgs_writer_layout(struct tr_pgs_writer *writer, const struct tr_table *table,
                                    struct tr_pgs_layout **out, struct tr_error *err)
{
    struct tr_pgs_target *target;
    if (writer->last_map.table == table) {
        *out = writer->last_map.layout;
        return TR_OK;
    }
    if (maps_grow(writer, err) != TR_OK)
        return TR_FAIL;
    struct tr_pgs_map *map = map_slot(writer->maps, writer->map_capacity, table);
    if (map->table == NULL) {
        struct tr_pgs_layout *layout;
        if (tr_pgs_load_end(writer, err) != TR_OK ||
            target_of(writer, table, &target, err) != TR_OK)
            return TR_FAIL;
        for (layout = writer->layouts; layout != NULL; layout = layout->next) {
            if (layout->target == target && tr_pgs_layout_fits(layout, table))
                break;
        }
        if (layout == NULL) {
            if (tr_pgs_layout_new(target, table, &layout, err) != TR_OK)
                return TR_FAIL;
            layout->next = writer->layouts;
            writer->layouts = layout;
            if (layout->version >= 0 && check_version(writer, layout, err) != TR_OK)
                return TR_FAIL;
        }
        map->table = tr_table_ref(table);
        map->layout = layout;
        writer->map_count++;
    }
    writer->last_map = *map;
    *out = map->layout;
    return TR_OK;
}

/* Maps are few and forgotten only at schema changes: rebuilding the table keeps the probing simple.
 */
static void forget_maps(struct tr_pgs_writer *writer, const struct tr_pgs_target *target)
{
    struct tr_pgs_map *old = writer->maps;
    struct tr_pgs_map *maps = old == NULL ? NULL : calloc(writer->map_capacity, sizeof *maps);
    writer->last_map = (struct tr_pgs_map){0};
    for (uint32_t i = 0; i < writer->map_capacity && old != NULL; i++) {
        if (old[i].table == NULL)
            continue;
        if (maps != NULL && target != NULL && old[i].layout->target != target) {
            *map_slot(maps, writer->map_capacity, old[i].table) = old[i];
            continue;
        }
        tr_table_unref(old[i].table);
        writer->map_count--;
    }
    if (maps == NULL) { /* no memory: everything is forgotten, and described again */
        writer->map_capacity = 0;
        writer->map_count = 0;
    }
    free(old);
    writer->maps = maps;
}

static void forget_target(struct tr_pgs_writer *writer, const struct tr_pgs_target *target)
{
    forget_maps(writer, target);
    for (struct tr_pgs_layout **at = &writer->layouts; *at != NULL;) {
        struct tr_pgs_layout *layout = *at;
        if (target != NULL && layout->target != target) {
            at = &layout->next;
            continue;
        }
        *at = layout->next;
        tr_pgs_layout_free(&writer->link, layout);
    }
    for (struct tr_pgs_target **at = &writer->targets; *at != NULL;) {
        struct tr_pgs_target *found = *at;
        if (target != NULL && found != target) {
            at = &found->next;
            continue;
        }
        *at = found->next;
        tr_pgs_target_free(found);
    }
}

void tr_pgs_writer_forget(struct tr_pgs_writer *writer, const struct tr_table_id *id)
{
    const char *schema = tr_pgs_schema_of(writer->sink, id);
    for (struct tr_pgs_target *target = writer->targets; target != NULL; target = target->next) {
        if (strcmp(target->table, id->table) == 0 && strcmp(target->schema, schema) == 0) {
            forget_target(writer, target);
            return;
        }
    }
}

/* ---- transactions ---- */

enum tr_status tr_pgs_writer_begin(struct tr_pgs_writer *writer, struct tr_error *err)
{
    if (writer->in_transaction)
        return TR_OK;
    if (tr_pgs_exec(&writer->link,
                    writer->link.replica_role ? TR_PGS_BEGIN : TR_PGS_BEGIN ";" TR_PGS_DEFER,
                    "could not begin a transaction", NULL, err) != TR_OK)
        return TR_FAIL;
    writer->in_transaction = true;
    return TR_OK;
}

struct commit_result {
    bool committed;
};

static void note_commit(void *ctx, uint32_t tag, long rows, const char *command)
{
    struct commit_result *result = ctx;
    (void)rows;
    if (tag == TAG_COMMIT && strcmp(command, "COMMIT") == 0)
        result->committed = true; /* COMMIT of a failed transaction answers ROLLBACK */
}

static enum tr_status queue_commit(struct tr_pgs_writer *writer, struct tr_error *err)
{
    struct tr_pgs_link *link = &writer->link;
    if (!writer->in_transaction && tr_pgs_pipe_sql(link, TR_PGS_BEGIN, 0, NULL, 0, err) != TR_OK)
        return TR_FAIL;
    if (tr_pgs_deleted_sweep(writer, 0, err) != TR_OK ||
        tr_pgs_marks_queue(writer, 0, TAG_GUARD, err) != TR_OK)
        return TR_FAIL;
    return tr_pgs_pipe_sql(link, "COMMIT", 0, NULL, TAG_COMMIT, err);
}

/* Marks and COMMIT in one pipeline: COMMIT is not reached when a mark cannot be stored. */
static enum tr_status store_and_commit(struct tr_pgs_writer *writer, struct tr_error *err)
{
    struct commit_result result = {false};
    if (TR_FAILPOINT("sink.postgres.before_commit") != 0)
        return tr_fail(err, TR_E_PGSINK_CONNECTION_LOST, "failpoint sink.postgres.before_commit");
    uint32_t failed_tag = 0;
    if (tr_pgs_pipe_begin(&writer->link, err) != TR_OK || queue_commit(writer, err) != TR_OK)
        return TR_FAIL;
    if (tr_pgs_pipe_sync(&writer->link, note_commit, &result, &failed_tag, err) != TR_OK) {
        if (failed_tag == TAG_GUARD && tr_pgs_sqlstate_is(&writer->link, TR_PGS_GUARD_SQLSTATE))
            return tr_mark_guard_conflict(writer->sink->pipeline_name, writer->sink->position_table,
                                          err);
        return TR_FAIL;
    }
    if (!result.committed)
        return tr_fail(err, TR_E_INTERNAL,
                       "the target rolled a transaction back that had not failed");
    if (TR_FAILPOINT("sink.postgres.after_commit") != 0)
        return tr_fail(err, TR_E_PGSINK_CONNECTION_LOST, "failpoint sink.postgres.after_commit");
    writer->in_transaction = false;
    return tr_pgs_pipe_end(&writer->link, err);
}

/* What is behind the boundary becomes the whole buffer. */
static enum tr_status carry_on(struct tr_pgs_writer *writer, size_t done, struct tr_error *err)
{
    struct tr_pgs_changes old = writer->changes;
    if (done < old.count) {
        tr_pgs_changes_reset(&writer->spare);
        if (tr_pgs_changes_move(&writer->spare, &old, done, err) != TR_OK)
            return TR_FAIL;
        writer->changes = writer->spare;
        writer->spare = old;
        tr_pgs_changes_reset(&writer->spare);
    } else {
        tr_pgs_changes_reset(&writer->changes);
    }
    for (uint32_t i = 0; i < writer->column_capacity; i++) {
        if (writer->columns[i].capacity > SCRATCH_KEEP_BYTES)
            tr_outbuf_free(&writer->columns[i]);
    }
    writer->boundary_count = 0;
    return TR_OK;
}

enum tr_status tr_pgs_writer_commit(struct tr_pgs_writer *writer, struct tr_error *err)
{
    size_t count = writer->boundary_count;
    if (writer->boundary_seq == writer->durable_seq)
        return TR_OK;
    if (writer->beyond)
        return tr_fail(err, TR_E_INTERNAL, "a transaction holds parts of two source transactions");
    if (tr_pgs_load_end(writer, err) != TR_OK || tr_pgs_apply(writer, count, err) != TR_OK)
        return TR_FAIL;
    if ((writer->in_transaction || writer->marks.count > 0) &&
        store_and_commit(writer, err) != TR_OK)
        return TR_FAIL;
    if (tr_mark_guard_stored(&writer->guard, &writer->marks, err) != TR_OK)
        return TR_FAIL;
    tr_pending_marks_clear(&writer->marks);
    writer->durable_seq = writer->boundary_seq;
    return carry_on(writer, count, err);
}

enum tr_status tr_pgs_writer_settle(struct tr_pgs_writer *writer, struct tr_error *err)
{
    if (tr_pgs_load_end(writer, err) != TR_OK || tr_pgs_writer_commit(writer, err) != TR_OK)
        return TR_FAIL;
    if (writer->changes.count == 0)
        return TR_OK;
    if (tr_pgs_apply(writer, writer->changes.count, err) != TR_OK)
        return TR_FAIL;
    writer->beyond = true;
    return carry_on(writer, writer->changes.count, err);
}

/* ---- events ---- */

static bool buffer_is_full(const struct tr_pgs_writer *writer)
{
    const struct tr_pgs_options *options = writer->sink->options;
    return writer->changes.count >= (size_t)options->apply_rows ||
           writer->changes.bytes >= (size_t)options->apply_bytes;
}

static enum tr_status write_change(struct tr_pgs_writer *writer, struct tr_pgs_layout *layout,
                                   const struct tr_event *event, struct tr_error *err)
{
    if (tr_pgs_changes_add(&writer->changes, layout, event, err) != TR_OK)
        return TR_FAIL;
    if (!buffer_is_full(writer))
        return TR_OK;
    if (tr_pgs_writer_commit(writer, err) != TR_OK)
        return TR_FAIL;
    return buffer_is_full(writer) ? tr_pgs_writer_settle(writer, err) : TR_OK;
}

static enum tr_status write_row(struct tr_pgs_writer *writer, const struct tr_event *event,
                                struct tr_error *err)
{
    struct tr_pgs_layout *layout;
    bool merge = true;
    if (tr_pgs_writer_layout(writer, event->table, &layout, err) != TR_OK)
        return TR_FAIL;
    if (event->op == TR_OP_READ && tr_pgs_load_row(writer, layout, event, &merge, err) != TR_OK)
        return TR_FAIL;
    return merge ? write_change(writer, layout, event, err) : TR_OK;
}

static enum tr_status write_commit(struct tr_pgs_writer *writer, const struct tr_event *event,
                                   struct tr_error *err)
{
    bool empty = !writer->beyond && writer->changes.count == writer->boundary_count;
    for (uint32_t i = 0; i < event->mark_count; i++) {
        if (tr_pending_marks_add(&writer->marks, &event->marks[i], empty, err) != TR_OK)
            return TR_FAIL;
    }
    writer->boundary_seq = event->seq;
    writer->boundary_count = writer->changes.count;
    writer->beyond = false;
    return tr_pending_marks_many(&writer->marks) ? tr_pgs_writer_commit(writer, err) : TR_OK;
}

/* Takes all TRUNCATE events from events[0] on; *taken tells how many. */
static enum tr_status write_truncates(struct tr_pgs_writer *writer, const struct tr_event *events,
                                      size_t count, size_t *taken, struct tr_error *err)
{
    size_t run = 1;
    while (run < count && events[run].op == TR_OP_TRUNCATE &&
           events[run].txn_id == events[0].txn_id && events[run].flags == events[0].flags)
        run++;
    *taken = run;
    if (tr_pgs_writer_settle(writer, err) != TR_OK ||
        tr_pgs_truncate(writer, events, run, err) != TR_OK)
        return TR_FAIL;
    writer->beyond = true;
    return TR_OK;
}

static enum tr_status write_events(struct tr_pgs_writer *writer, const struct tr_event *events,
                                   size_t event_count, struct tr_error *err)
{
    if (TR_FAILPOINT("sink.postgres.write") != 0)
        return tr_fail(err, TR_E_PGSINK_CONNECTION_LOST, "failpoint sink.postgres.write");
    for (size_t i = 0; i < event_count;) {
        enum tr_status status = TR_OK;
        size_t taken = 1;
        switch ((enum tr_op)events[i].op) {
        case TR_OP_CREATE:
        case TR_OP_UPDATE:
        case TR_OP_DELETE:
        case TR_OP_READ:
            status = write_row(writer, &events[i], err);
            break;
        case TR_OP_TRUNCATE:
            status = write_truncates(writer, &events[i], event_count - i, &taken, err);
            break;
        case TR_OP_COMMIT:
            status = write_commit(writer, &events[i], err);
            break;
        case TR_OP_MESSAGE:
            break; /* a database has no place for messages */
        case TR_OP_SCHEMA:
            status = tr_fail(err, TR_E_INTERNAL, "a schema change came by write");
            break;
        }
        if (status != TR_OK)
            return TR_FAIL;
        i += taken;
    }
    return tr_pgs_load_detach(writer, err);
}

enum tr_status tr_pgs_writer_write(void *self, const struct tr_event *events, size_t event_count,
                                   struct tr_error *err)
{
    struct tr_pgs_writer *writer = self;
    if (writer->failed)
        return tr_fail(err, TR_E_INTERNAL, "the PostgreSQL writer was used after it failed");
    enum tr_status status = write_events(writer, events, event_count, err);
    writer->failed = status == TR_FAIL;
    return status;
}

enum tr_status tr_pgs_writer_flush(void *self, int timeout_ms, struct tr_error *err)
{
    struct tr_pgs_writer *writer = self;
    (void)timeout_ms; /* a statement that waits for a lock is bounded by lock.timeout and
                         interrupt() */
    if (writer->failed)
        return tr_fail(err, TR_E_INTERNAL, "the PostgreSQL writer was used after it failed");
    enum tr_status status = tr_pgs_writer_commit(writer, err);
    writer->failed = status == TR_FAIL;
    return status;
}

enum tr_status tr_pgs_writer_apply(void *self, const struct tr_event *event, struct tr_error *err)
{
    struct tr_pgs_writer *writer = self;
    if (writer->failed)
        return tr_fail(err, TR_E_INTERNAL, "the PostgreSQL writer was used after it failed");
    if (event->change == NULL)
        return tr_fail(err, TR_E_INTERNAL, "a schema event has no change");
    if (tr_pgs_writer_settle(writer, err) != TR_OK) {
        writer->failed = true;
        return TR_FAIL;
    }
    enum tr_status status = tr_pgs_ddl(writer, event, err);
    if (status == TR_FAIL && (err->class == TR_TRANSIENT || err->class == TR_FATAL))
        writer->failed = true;
    return status;
}

uint64_t tr_pgs_writer_durable_seq(void *self)
{
    const struct tr_pgs_writer *writer = self;
    return writer->durable_seq;
}

/* ---- life ---- */

enum tr_status tr_pgs_writer_open(void *self, unsigned partition, void **out, struct tr_error *err)
{
    struct tr_pgs_sink *sink = self;
    *out = NULL;
    if (partition != 0) {
        (void)tr_fail(err, TR_E_PGSINK_PARTITION,
                      "the PostgreSQL sink was asked for a second writer");
        return tr_hint(err, "%s", tr_error_info(TR_E_PGSINK_PARTITION)->remedy);
    }
    struct tr_pgs_writer *writer = calloc(1, sizeof *writer);
    if (writer == NULL)
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for the PostgreSQL writer");
    writer->sink = sink;
    writer->partition = partition;
    tr_pgs_changes_init(&writer->changes);
    tr_pgs_changes_init(&writer->spare);
    if (tr_pgs_sink_link(sink, &writer->link, TR_PGS_WRITER, err) != TR_OK ||
        tr_pgs_position_lock(sink, &writer->link, partition, err) != TR_OK ||
        tr_state_copy(&writer->guard.known, &sink->loaded.known, err) != TR_OK) {
        tr_pgs_writer_close(writer);
        return TR_FAIL;
    }
    tr_log(TR_LOG_INFO, "the PostgreSQL sink is connected",
           "server=%d session_replication_role=%s rows_max=%lld bytes_max=%lld",
           writer->link.server_version / 10000, writer->link.replica_role ? "replica" : "origin",
           (long long)sink->options->apply_rows, (long long)sink->options->apply_bytes);
    *out = writer;
    return TR_OK;
}

void tr_pgs_writer_close(void *self)
{
    struct tr_pgs_writer *writer = self;
    if (writer == NULL)
        return;
    tr_pgs_link_close(&writer->link);
    forget_target(writer, NULL);
    tr_pgs_stmt_free(NULL, &writer->marks_set);
    tr_pgs_stmt_free(NULL, &writer->marks_guarded);
    tr_pgs_stmt_free(NULL, &writer->marks_erase);
    for (int i = 0; i < TR_PGS_MARK_ARRAYS; i++)
        tr_outbuf_free(&writer->mark_arrays[i]);
    for (int i = 0; i < 3; i++)
        tr_outbuf_free(&writer->newest_arrays[i]);
    tr_outbuf_free(&writer->key_text);
    free(writer->maps);
    tr_pgs_changes_free(&writer->changes);
    tr_pgs_changes_free(&writer->spare);
    tr_pending_marks_free(&writer->marks);
    tr_mark_guard_free(&writer->guard);
    tr_pgs_groups_free(&writer->groups);
    tr_pgs_params_free(writer);
    free(writer->buckets);
    tr_outbuf_free(&writer->sql);
    tr_outbuf_free(&writer->load.out);
    free(writer);
}
