/* Applying buffered changes to the target.
 *
 *   1 set-wise: one statement for each (layout, kind, shape), all in one pipeline; a large set of
 * plain inserts is a COPY straight into the table. Groups that must keep the order of the source
 * (see coalesce.c) go row by row, in commit order across tables, in the same pipeline. 2 if rows of
 * a COPY exist already: again, with INSERT … ON CONFLICT in its place; 3 if a row is refused (a
 * second unique key whose values were swapped, a bad value, a constraint): again, everything row by
 * row in the order of the source. That succeeds where only the order was wrong. Where it does not,
 * the failing command is the offending event: the error names its seq.
 *
 * Between the tries the transaction is rolled back: as a whole when this apply opened it, else to a
 * savepoint. Deadlocks are retried the same way, DEADLOCK_TRIES_MAX times; after that the sink
 * fails TRANSIENT and the engine goes on from the stored marks.
 *
 * Updates of rows that are not there: with the whole row known it is inserted (a pipeline that
 * started at the latest position); else it is counted and logged once for each table. */
#include <stdlib.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "base/metric.h"
#include "sink/postgres/writer.h"

#define DEADLOCK_TRIES_MAX 5
#define DEADLOCK_WAIT_MS 20
#define PIPE_COMMANDS_MAX 256u /* row statements between two syncs */
#define COPY_ROWS_MIN 128u     /* a smaller set of inserts is a statement of the pipeline */
#define RUN_BYTES_MAX (128u << 10)
#define RUN_ROWS_MIN 4u     /* neighbouring row inserts of an ordered table become one set */
#define PENALTY_APPLIES 64u /* how long a table keeps the slower way after a failed faster one */
#define NEWEST_ARRAYS 4u    /* parameters of newest.c beside the columns */
#define TAG_CONTROL UINT32_MAX
#define TAG_BUCKET (UINT32_C(1) << 31)

static struct tr_metric metric_missing = {
    .name = "tailrace_sink_postgres_missing_rows_total",
    .unit = "rows",
    .kind = TR_COUNTER,
    .help = "Rows that an UPDATE with unchanged TOAST values did not find on the target."};
static struct tr_metric metric_retries = {.name = "tailrace_sink_postgres_apply_retries_total",
                                          .unit = "applies",
                                          .kind = TR_COUNTER,
                                          .help = "Times that a batch was rolled back and applied "
                                                  "in another way, or again after a deadlock."};

static struct tr_metric metric_older = {
    .name = "tailrace_sink_postgres_older_rows_total",
    .unit = "rows",
    .kind = TR_COUNTER,
    .help = "Rows that were left out because the target holds a newer row or deletion, or the row to "
            "update in part is not there."};

struct run {
    struct tr_pgs_writer *writer;
    size_t count;
    bool all_ordered;
    uint32_t failed_tag; /* of a failed pipeline; TAG_CONTROL: none known */
    struct tr_pgs_target *copy_failed;
    bool copy_odd; /* … only because of a value that goes as text */
};

static enum tr_status no_memory(struct tr_error *err)
{
    return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory to apply changes");
}

/* ---- set statements ---- */

/* Array parameters for rows order[first, first + count) of a group: their keys' cells, or the cells
 * of the columns. */
static enum tr_status key_arrays(struct tr_pgs_writer *writer, const struct tr_pgs_group *group,
                                 uint32_t first, uint32_t count, struct tr_error *err)
{
    const struct tr_pgs_layout *layout = group->layout;
    if (tr_pgs_params_cells(writer, count, err) != TR_OK)
        return TR_FAIL;
    for (uint16_t k = 0; k < layout->key_count; k++) {
        for (uint32_t i = 0; i < count; i++)
            writer->cells[i] = &group->rows[group->order[first + i].row].key[k];
        if (tr_pgs_params_array(writer, k, layout, layout->key_columns[k], count, err) != TR_OK)
            return TR_FAIL;
    }
    return TR_OK;
}

static enum tr_status cell_arrays(struct tr_pgs_writer *writer, const struct tr_pgs_group *group,
                                  const uint16_t *columns, uint16_t column_count, uint32_t param,
                                  uint32_t first, uint32_t count, struct tr_error *err)
{
    if (tr_pgs_params_cells(writer, count, err) != TR_OK)
        return TR_FAIL;
    for (uint16_t c = 0; c < column_count; c++) {
        for (uint32_t i = 0; i < count; i++)
            writer->cells[i] = &group->rows[group->order[first + i].row].cells[columns[c]];
        if (tr_pgs_params_array(writer, param + c, group->layout, columns[c], count, err) != TR_OK)
            return TR_FAIL;
    }
    return TR_OK;
}

static struct tr_pgs_shape *bucket_shape(const struct tr_pgs_writer *writer,
                                         const struct tr_pgs_bucket *bucket)
{
    const struct tr_pgs_group *group = &writer->groups.items[bucket->group];
    return group->rows[group->order[bucket->first].row].shape;
}

/* Without an index on the key a nested loop would read the table once per row. */
static enum tr_status hash_joins(struct tr_pgs_writer *writer, const struct tr_pgs_layout *layout,
                                 bool on, struct tr_error *err)
{
    if (layout->has_arbiter || layout->key_count == 0)
        return TR_OK;
    return tr_pgs_pipe_sql(
        &writer->link, on ? "SET LOCAL enable_hashjoin = on" : "SET LOCAL enable_hashjoin = off", 0,
        NULL, TAG_CONTROL, err);
}

static enum tr_status queue_bucket(struct tr_pgs_writer *writer, uint32_t index,
                                   struct tr_error *err)
{
    const struct tr_pgs_bucket *bucket = &writer->buckets[index];
    struct tr_pgs_group *group = &writer->groups.items[bucket->group];
    struct tr_pgs_layout *layout = group->layout;
    struct tr_pgs_shape *shape =
        bucket->kind == TR_PGS_ROW_DELETE ? NULL : bucket_shape(writer, bucket);
    enum tr_pgs_statement_kind kind = TR_PGS_INSERT_SET;
    enum tr_status status = tr_pgs_params_reserve(
        writer, (uint32_t)layout->key_count + layout->column_count + NEWEST_ARRAYS, err);
    if (status == TR_OK && layout->version >= 0)
        return tr_pgs_newest_queue(writer, layout, shape, bucket->kind, group->rows,
                                   group->order + bucket->first, bucket->count, TAG_BUCKET | index,
                                   err);
    if (status == TR_OK && bucket->kind == TR_PGS_ROW_DELETE) {
        kind = TR_PGS_DELETE_SET;
        status = key_arrays(writer, group, bucket->first, bucket->count, err);
    } else if (status == TR_OK && bucket->kind == TR_PGS_ROW_UPDATE) {
        kind = TR_PGS_UPDATE_SET;
        status = key_arrays(writer, group, bucket->first, bucket->count, err);
        if (status == TR_OK)
            status = cell_arrays(writer, group, shape->set_columns, shape->set_count,
                                 layout->key_count, bucket->first, bucket->count, err);
    } else if (status == TR_OK) {
        status = cell_arrays(writer, group, shape->columns, shape->column_count, 0, bucket->first,
                             bucket->count, err);
    }
    struct tr_pgs_stmt *stmt;
    if (status == TR_OK)
        status = tr_pgs_statement(&writer->link, layout, shape, kind, false, false, &stmt, err);
    if (status == TR_OK)
        status = hash_joins(writer, layout, true, err);
    if (status == TR_OK)
        status = tr_pgs_pipe_stmt(&writer->link, stmt, &writer->params, TAG_BUCKET | index, err);
    if (status == TR_OK)
        status = hash_joins(writer, layout, false, err);
    return status;
}

static enum tr_status bucket_add(struct tr_pgs_writer *writer, uint32_t group_index, uint32_t first,
                                 uint32_t count, struct tr_error *err)
{
    const struct tr_pgs_group *group = &writer->groups.items[group_index];
    const struct tr_pgs_target *target = group->layout->target;
    uint8_t kind = group->order[first].kind;
    if (writer->bucket_count == writer->bucket_capacity) {
        uint32_t capacity = writer->bucket_capacity == 0 ? 64 : writer->bucket_capacity * 2;
        struct tr_pgs_bucket *buckets = realloc(writer->buckets, capacity * sizeof *buckets);
        if (buckets == NULL)
            return no_memory(err);
        writer->buckets = buckets;
        writer->bucket_capacity = capacity;
    }
    bool copy =
        kind == TR_PGS_ROW_INSERT && target->no_copy_applies == 0 && !target->row_security &&
        (count >= COPY_ROWS_MIN || group->rows[group->order[first].row].shape->column_count == 0);
    writer->buckets[writer->bucket_count++] = (struct tr_pgs_bucket){
        .group = group_index, .first = first, .count = count, .kind = kind, .copy = copy};
    return TR_OK;
}

static enum tr_status make_buckets(struct tr_pgs_writer *writer, struct tr_error *err)
{
    writer->bucket_count = 0;
    for (uint32_t g = 0; g < writer->groups.count; g++) {
        const struct tr_pgs_group *group = &writer->groups.items[g];
        if (group->ordered)
            continue;
        for (uint32_t first = 0, i = 1; i <= group->order_count; i++) {
            bool same = i < group->order_count &&
                        group->order[i].kind == group->order[first].kind &&
                        (group->order[i].kind == TR_PGS_ROW_DELETE ||
                         group->rows[group->order[i].row].shape ==
                             group->rows[group->order[first].row].shape);
            if (same)
                continue;
            if (bucket_add(writer, g, first, i - first, err) != TR_OK)
                return TR_FAIL;
            first = i;
        }
    }
    return TR_OK;
}

/* ---- row statements ---- */

static enum tr_status queue_stmt(struct tr_pgs_writer *writer, struct tr_pgs_layout *layout,
                                 struct tr_pgs_shape *shape, enum tr_pgs_statement_kind kind,
                                 const struct tr_cell *cells, const uint16_t *columns,
                                 uint16_t count, const struct tr_cell *key, bool key_changed,
                                 bool insert_missing, uint32_t tag, struct tr_error *err)
{
    struct tr_pgs_stmt *stmt;
    uint32_t at = 0;
    if (tr_pgs_statement(&writer->link, layout, shape, kind, key_changed, insert_missing, &stmt,
                         err) != TR_OK ||
        tr_pgs_params_reserve(writer, (uint32_t)layout->key_count + layout->column_count + 1,
                              err) != TR_OK)
        return TR_FAIL;
    for (uint16_t i = 0; i < count; i++)
        writer->params.values[at++] =
            cells[columns[i]].state == TR_CELL_TEXT ? cells[columns[i]].ptr : NULL;
    for (uint16_t i = 0; key != NULL && i < layout->key_count; i++)
        writer->params.values[at++] = key[i].state == TR_CELL_TEXT ? key[i].ptr : NULL;
    const struct tr_pgs_params texts = {.values = writer->params.values};
    return tr_pgs_pipe_stmt(&writer->link, stmt, &texts, tag, err);
}

static enum tr_status queue_insert(struct tr_pgs_writer *writer, const struct tr_pgs_change *change,
                                   struct tr_pgs_shape *shape, uint32_t tag, struct tr_error *err)
{
    return queue_stmt(writer, change->layout, shape, TR_PGS_INSERT_ROW, change->after,
                      shape->columns, shape->column_count, NULL, false, false, tag, err);
}

static enum tr_status queue_delete(struct tr_pgs_writer *writer, struct tr_pgs_layout *layout,
                                   const struct tr_cell *key, uint32_t tag, struct tr_error *err)
{
    return queue_stmt(writer, layout, NULL, TR_PGS_DELETE_ROW, NULL, NULL, 0, key, false, false,
                      tag, err);
}

static enum tr_status queue_update(struct tr_pgs_writer *writer, const struct tr_pgs_change *change,
                                   struct tr_pgs_shape *shape, uint32_t tag, struct tr_error *err)
{
    struct tr_pgs_layout *layout = change->layout;
    /* an INSERT in the same statement would fire the target's own INSERT triggers */
    bool insert_missing = change->full && !layout->target->user_triggers;
    const struct tr_cell *key = change->key_changed ? change->old_key : change->key;
    uint16_t count;
    if (change->key_changed && layout->identity_key) {
        if (!change->full) {
            (void)tr_fail(err, TR_E_PGSINK_SCHEMA,
                          "the key of %s is GENERATED ALWAYS AS IDENTITY and "
                          "cannot be updated",
                          layout->target->quoted);
            err->seq = change->seq;
            return tr_hint(err, "make it GENERATED BY DEFAULT on the target");
        }
        if (queue_delete(writer, layout, key, tag, err) != TR_OK)
            return TR_FAIL;
        return queue_insert(writer, change, shape, tag, err);
    }
    const uint16_t *columns = tr_pgs_assigned(shape, change->key_changed, &count);
    if (count == 0) /* nothing but the key: at most the row is missing */
        return change->full && layout->has_arbiter && !layout->target->user_triggers
                   ? queue_insert(writer, change, shape, tag, err)
                   : TR_OK;
    if (insert_missing) {
        columns = shape->columns;
        count = shape->column_count;
    }
    return queue_stmt(writer, layout, shape, TR_PGS_UPDATE_ROW, change->after, columns, count, key,
                      change->key_changed, insert_missing, tag, err);
}

static enum tr_status queue_keyless(struct tr_pgs_writer *writer,
                                    const struct tr_pgs_change *change, struct tr_pgs_shape *shape,
                                    uint32_t tag, struct tr_error *err)
{
    const struct tr_pgs_layout *layout = change->layout;
    int at = 0;
    if (shape != NULL && shape->set_count == 0)
        return TR_OK;
    if (tr_pgs_params_reserve(writer, (uint32_t)layout->column_count * 2 + 1, err) != TR_OK)
        return TR_FAIL;
    tr_outbuf_clear(&writer->sql);
    tr_pgs_keyless_sql(&writer->link, layout, shape, change->old_key, &writer->sql);
    const char *sql = tr_outbuf_cstr(&writer->sql);
    if (writer->sql.failed)
        return no_memory(err);
    for (uint16_t i = 0; shape != NULL && i < shape->set_count; i++) {
        const struct tr_cell *cell = &change->after[shape->set_columns[i]];
        writer->params.values[at++] = cell->state == TR_CELL_TEXT ? cell->ptr : NULL;
    }
    for (uint16_t i = 0; i < layout->column_count; i++) {
        if (layout->target_column[i] >= 0 && change->old_key[i].state == TR_CELL_TEXT)
            writer->params.values[at++] = change->old_key[i].ptr;
    }
    const struct tr_pgs_params texts = {.values = writer->params.values};
    return tr_pgs_pipe_sql(&writer->link, sql, at, &texts, tag, err);
}

static enum tr_status queue_change(struct tr_pgs_writer *writer, const struct tr_pgs_change *change,
                                   uint32_t tag, struct tr_error *err)
{
    struct tr_pgs_shape *shape = NULL;
    if (change->layout->version >= 0) {
        uint32_t most = (uint32_t)change->layout->key_count + change->layout->column_count;
        if (tr_pgs_params_reserve(writer, most + NEWEST_ARRAYS, err) != TR_OK)
            return TR_FAIL;
        return tr_pgs_newest_change(writer, change, tag, err);
    }
    if (change->after != NULL &&
        tr_pgs_shape_of(change->layout, change->after, &shape, err) != TR_OK)
        return TR_FAIL;
    if (change->op == TR_OP_CREATE)
        return queue_insert(writer, change, shape, tag, err);
    if (change->layout->key_count == 0)
        return queue_keyless(writer, change, shape, tag, err);
    if (change->op == TR_OP_DELETE)
        return queue_delete(writer, change->layout, change->key, tag, err);
    return queue_update(writer, change, shape, tag, err);
}

/* Neighbouring inserts of one ordered table: one set statement keeps the order. */
static size_t insert_run(const struct tr_pgs_writer *writer, size_t from, size_t count)
{
    const struct tr_pgs_change *first = &writer->changes.items[from];
    size_t end = from + 1;
    if (first->op != TR_OP_CREATE || first->layout->version >= 0 || first->layout->column_count == 0 ||
        first->layout->key_count == 0)
        return 1;
    while (end < count && writer->changes.items[end].op == TR_OP_CREATE &&
           writer->changes.items[end].layout == first->layout &&
           writer->changes.items[end].bytes < RUN_BYTES_MAX)
        end++;
    return end - from;
}

static enum tr_status queue_run(struct tr_pgs_writer *writer, size_t from, size_t count,
                                uint32_t tag, struct tr_error *err)
{
    const struct tr_pgs_change *changes = &writer->changes.items[from];
    struct tr_pgs_layout *layout = changes->layout;
    struct tr_pgs_shape *shape;
    struct tr_pgs_stmt *stmt;
    if (tr_pgs_shape_of(layout, changes->after, &shape, err) != TR_OK ||
        tr_pgs_params_reserve(writer, (uint32_t)layout->column_count + 1, err) != TR_OK ||
        tr_pgs_params_cells(writer, (uint32_t)count, err) != TR_OK)
        return TR_FAIL;
    for (uint16_t c = 0; c < shape->column_count; c++) {
        for (size_t i = 0; i < count; i++)
            writer->cells[i] = &changes[i].after[shape->columns[c]];
        if (tr_pgs_params_array(writer, c, layout, shape->columns[c], (uint32_t)count, err) !=
            TR_OK)
            return TR_FAIL;
    }
    if (tr_pgs_statement(&writer->link, layout, shape, TR_PGS_INSERT_SET, false, false, &stmt,
                         err) != TR_OK ||
        hash_joins(writer, layout, true, err) != TR_OK ||
        tr_pgs_pipe_stmt(&writer->link, stmt, &writer->params, tag, err) != TR_OK)
        return TR_FAIL;
    return hash_joins(writer, layout, false, err);
}

/* ---- one try ---- */

static void note_done(void *ctx, uint32_t tag, long rows, const char *command)
{
    struct tr_pgs_writer *writer = ctx;
    if (tag != TAG_CONTROL && (tag & TAG_BUCKET) != 0) {
        writer->buckets[tag & ~TAG_BUCKET].affected = rows;
    } else if (tag != TAG_CONTROL && rows == 0 && strncmp(command, "UPDATE", 6) == 0) {
        tr_metric_add(&metric_missing, 1);
    }
}

static enum tr_status sync(struct run *run, struct tr_error *err)
{
    return tr_pgs_pipe_sync(&run->writer->link, note_done, run->writer, &run->failed_tag, err);
}

static bool same_shape(const struct tr_pgs_change *changes, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        for (uint16_t c = 0; c < changes->layout->column_count; c++) {
            bool a = changes[0].after[c].state == TR_CELL_ABSENT;
            if (a != (changes[i].after[c].state == TR_CELL_ABSENT))
                return false;
        }
    }
    return true;
}

static enum tr_status queue_ordered(struct run *run, struct tr_error *err)
{
    struct tr_pgs_writer *writer = run->writer;
    for (size_t i = 0; i < run->count;) {
        const struct tr_pgs_change *change = &writer->changes.items[i];
        size_t length = 1;
        enum tr_status status = TR_OK;
        if (!writer->groups.items[change->layout->group_index].ordered) {
            i++;
            continue;
        }
        if (!run->all_ordered)
            length = insert_run(writer, i, run->count);
        if (length >= RUN_ROWS_MIN && same_shape(change, length)) {
            status = queue_run(writer, i, length, (uint32_t)i, err);
        } else {
            length = 1;
            status = queue_change(writer, change, (uint32_t)i, err);
        }
        if (status != TR_OK)
            return TR_FAIL;
        i += length;
        if (writer->link.queued_count >= PIPE_COMMANDS_MAX && sync(run, err) != TR_OK)
            return TR_FAIL;
    }
    return TR_OK;
}

static enum tr_status run_pipeline(struct run *run, struct tr_error *err)
{
    struct tr_pgs_writer *writer = run->writer;
    struct tr_pgs_link *link = &writer->link;
    enum tr_status status = TR_OK;
    if (tr_pgs_pipe_begin(link, err) != TR_OK)
        return TR_FAIL;
    if (!writer->in_transaction) {
        status = tr_pgs_pipe_sql(link, TR_PGS_BEGIN, 0, NULL, TAG_CONTROL, err);
        writer->in_transaction = true;
        if (status == TR_OK && !link->replica_role)
            status = tr_pgs_pipe_sql(link, TR_PGS_DEFER, 0, NULL, TAG_CONTROL, err);
    }
    for (uint32_t i = 0; status == TR_OK && i < writer->bucket_count; i++) {
        if (!writer->buckets[i].copy)
            status = queue_bucket(writer, i, err);
    }
    if (status == TR_OK)
        status = queue_ordered(run, err);
    if (status == TR_OK)
        status = sync(run, err);
    if (!tr_pgs_link_alive(link) || PQpipelineStatus(link->conn) == PQ_PIPELINE_OFF)
        return status;
    if (status == TR_FAIL && link->queued_count > 0) {
        /* something could not be queued: what was sent before it still has results */
        struct tr_error ignored;
        if (tr_pgs_pipe_sync(link, NULL, NULL, NULL, &ignored) != TR_OK && !tr_pgs_link_alive(link))
            return TR_FAIL;
    }
    struct tr_error other;
    if (tr_pgs_pipe_end(link, status == TR_OK ? err : &other) != TR_OK)
        return TR_FAIL;
    return status;
}

static enum tr_status copy_bucket(struct run *run, const struct tr_pgs_bucket *bucket,
                                  struct tr_error *err)
{
    struct tr_pgs_writer *writer = run->writer;
    const struct tr_pgs_group *group = &writer->groups.items[bucket->group];
    run->copy_failed = group->layout->target;
    if (tr_pgs_copy_rows(writer, group->layout, bucket_shape(writer, bucket), group->rows,
                         group->order + bucket->first, bucket->count, &run->copy_odd, err) != TR_OK)
        return TR_FAIL;
    run->copy_failed = NULL;
    return TR_OK;
}

static void log_missing(struct tr_pgs_target *target, long rows)
{
    char name[160];
    tr_metric_add(&metric_missing, rows);
    if (target->missing_logged)
        return;
    target->missing_logged = true;
    tr_log(TR_LOG_WARN, "rows to update are not on the target and are not fully known",
           "table=%s rows=%ld", tr_log_quote(target->quoted, name, sizeof name), rows);
}

/* Updates that found fewer rows than they had: inserts those that are known in full. */
static enum tr_status mend_missing(struct run *run, struct tr_error *err)
{
    struct tr_pgs_writer *writer = run->writer;
    bool piped = false;
    for (uint32_t i = 0; i < writer->bucket_count; i++) {
        struct tr_pgs_bucket *bucket = &writer->buckets[i];
        struct tr_pgs_group *group = &writer->groups.items[bucket->group];
        if (group->layout->version >= 0) {
            if (bucket->kind != TR_PGS_ROW_DELETE && bucket->affected < (long)bucket->count)
                tr_metric_add(&metric_older, (long)bucket->count - bucket->affected);
            continue;
        }
        if (bucket->kind != TR_PGS_ROW_UPDATE || bucket->affected >= (long)bucket->count)
            continue;
        uint32_t kept = bucket->first;
        for (uint32_t k = bucket->first; k < bucket->first + bucket->count; k++) {
            if (group->rows[group->order[k].row].full)
                group->order[kept++] = group->order[k];
        }
        if (kept - bucket->first < bucket->count)
            log_missing(group->layout->target, (long)bucket->count - bucket->affected);
        bucket->count = kept - bucket->first;
        bucket->kind = TR_PGS_ROW_INSERT; /* INSERT … ON CONFLICT: rows that are there stay equal */
        if (bucket->count == 0)
            continue;
        if (!piped && tr_pgs_pipe_begin(&writer->link, err) != TR_OK)
            return TR_FAIL;
        piped = true;
        if (queue_bucket(writer, i, err) != TR_OK)
            return TR_FAIL;
    }
    if (!piped)
        return TR_OK;
    enum tr_status status = sync(run, err);
    struct tr_error other;
    if (tr_pgs_link_alive(&writer->link) &&
        tr_pgs_pipe_end(&writer->link, status == TR_OK ? err : &other) != TR_OK)
        return TR_FAIL;
    return status;
}

static enum tr_status try_once(struct run *run, struct tr_error *err)
{
    struct tr_pgs_writer *writer = run->writer;
    run->failed_tag = TAG_CONTROL;
    run->copy_failed = NULL;
    run->copy_odd = false;
    if (tr_pgs_coalesce(&writer->groups, &writer->link, &writer->changes, run->count,
                        run->all_ordered, err) != TR_OK ||
        make_buckets(writer, err) != TR_OK || run_pipeline(run, err) != TR_OK)
        return TR_FAIL;
    int failure = TR_FAILPOINT("sink.postgres.mid_batch");
    if (failure != 0)
        return tr_fail(err, TR_E_PGSINK_TRANSIENT, "failpoint sink.postgres.mid_batch");
    for (uint32_t i = 0; i < writer->bucket_count; i++) {
        if (writer->buckets[i].copy && copy_bucket(run, &writer->buckets[i], err) != TR_OK)
            return TR_FAIL;
    }
    return mend_missing(run, err);
}

/* ---- tries ---- */

static enum tr_status roll_back(struct tr_pgs_writer *writer, bool savepoint, struct tr_error *err)
{
    if (savepoint)
        return tr_pgs_exec(&writer->link, "ROLLBACK TO SAVEPOINT tailrace_apply",
                           "could not roll back", NULL, err);
    writer->in_transaction = false;
    return tr_pgs_exec(&writer->link, "ROLLBACK", "could not roll back", NULL, err);
}

static bool row_was_refused(const struct tr_error *err) { return err->class == TR_DATA; }

/* What to do after a failed try: TR_OK = try again. */
static enum tr_status choose_next(struct run *run, unsigned *deadlocks, struct tr_error *err)
{
    struct tr_pgs_writer *writer = run->writer;
    if (tr_pgs_sqlstate_is(&writer->link, "40") && err->code == TR_E_PGSINK_DEADLOCK) {
        if (++*deadlocks > DEADLOCK_TRIES_MAX)
            return TR_FAIL;
        tr_clock_sleep_ms(DEADLOCK_WAIT_MS << *deadlocks);
        return TR_OK;
    }
    if (run->copy_odd) {
        run->copy_failed->text_applies = PENALTY_APPLIES;
        return TR_OK;
    }
    if (!row_was_refused(err))
        return TR_FAIL;
    if (err->code == TR_E_PGSINK_UNIQUE && run->copy_failed != NULL &&
        run->copy_failed->no_copy_applies == 0) {
        run->copy_failed->no_copy_applies = PENALTY_APPLIES;
        return TR_OK;
    }
    if (!run->all_ordered) {
        if ((run->failed_tag & TAG_BUCKET) != 0 && run->failed_tag != TAG_CONTROL) {
            const struct tr_pgs_bucket *bucket = &writer->buckets[run->failed_tag & ~TAG_BUCKET];
            writer->groups.items[bucket->group].layout->target->ordered_applies = PENALTY_APPLIES;
        }
        run->all_ordered = true;
        return TR_OK;
    }
    if ((run->failed_tag & TAG_BUCKET) == 0)
        err->seq = writer->changes.items[run->failed_tag].seq;
    return TR_FAIL;
}

static void pay_penalties(struct tr_pgs_writer *writer)
{
    for (uint32_t i = 0; i < writer->groups.count; i++) {
        struct tr_pgs_target *target = writer->groups.items[i].layout->target;
        if (target->no_copy_applies > 0)
            target->no_copy_applies--;
        if (target->text_applies > 0)
            target->text_applies--;
        if (target->ordered_applies > 0)
            target->ordered_applies--;
    }
}

enum tr_status tr_pgs_apply(struct tr_pgs_writer *writer, size_t count, struct tr_error *err)
{
    struct run run = {.writer = writer, .count = count};
    bool savepoint = writer->in_transaction;
    unsigned deadlocks = 0;
    if (count == 0)
        return TR_OK;
    tr_metric_register(&metric_missing);
    tr_metric_register(&metric_retries);
    tr_metric_register(&metric_older);
    if (savepoint && tr_pgs_exec(&writer->link, "SAVEPOINT tailrace_apply",
                                 "could not set a savepoint", NULL, err) != TR_OK)
        return TR_FAIL;
    while (try_once(&run, err) != TR_OK) {
        struct tr_error other;
        if (!tr_pgs_link_alive(&writer->link) || err->code == TR_E_INTERRUPTED ||
            err->code == TR_E_OUT_OF_MEMORY)
            return TR_FAIL;
        enum tr_status next = choose_next(&run, &deadlocks, err);
        if (next != TR_OK)
            return TR_FAIL; /* the writer is closed: the server rolls back */
        if (roll_back(writer, savepoint, &other) != TR_OK) {
            *err = other;
            return TR_FAIL;
        }
        tr_metric_add(&metric_retries, 1);
    }
    if (savepoint && tr_pgs_exec(&writer->link, "RELEASE SAVEPOINT tailrace_apply",
                                 "could not release a savepoint", NULL, err) != TR_OK)
        return TR_FAIL;
    if (!run.all_ordered)
        pay_penalties(writer);
    return TR_OK;
}

/* ---- TRUNCATE ---- */

static enum tr_status truncate_one_by_one(struct tr_pgs_writer *writer,
                                          const struct tr_event *events, size_t count,
                                          struct tr_error *err)
{
    for (size_t i = 0; i < count; i++) {
        struct tr_pgs_layout *layout;
        struct tr_outbuf sql = {0};
        if (tr_pgs_writer_layout(writer, events[i].table, &layout, err) != TR_OK)
            return TR_FAIL;
        tr_outbuf_printf(&sql, "DELETE FROM %s", layout->target->quoted);
        enum tr_status status = sql.failed ? no_memory(err)
                                           : tr_pgs_exec(&writer->link, tr_outbuf_cstr(&sql),
                                                         "could not empty a table", NULL, err);
        tr_outbuf_free(&sql);
        if (status != TR_OK) {
            err->seq = events[i].seq;
            return TR_FAIL;
        }
    }
    return TR_OK;
}

/* Neighbouring TRUNCATE events are one statement, so that tables that refer to each other can be
 * emptied together. CASCADE is not passed on: the source names every table that it emptied, and the
 * target's other tables are none of its business. A table that another one refers to is emptied by
 * DELETE. */
enum tr_status tr_pgs_truncate(struct tr_pgs_writer *writer, const struct tr_event *events,
                               size_t count, struct tr_error *err)
{
    struct tr_outbuf sql = {0};
    enum tr_status status = TR_FAIL;
    tr_outbuf_lit(&sql, "TRUNCATE TABLE ");
    for (size_t i = 0; i < count; i++) {
        struct tr_pgs_layout *layout;
        if (tr_pgs_writer_layout(writer, events[i].table, &layout, err) != TR_OK)
            goto cleanup;
        layout->target->load = TR_PGS_LOAD_UNKNOWN;
        tr_outbuf_printf(&sql, "%s%s", i > 0 ? ", " : "", layout->target->quoted);
    }
    if ((events[0].flags & TR_EV_TRUNCATE_RESTART) != 0)
        tr_outbuf_lit(&sql, " RESTART IDENTITY");
    if (sql.failed) {
        (void)no_memory(err);
        goto cleanup;
    }
    if (tr_pgs_writer_begin(writer, err) != TR_OK ||
        tr_pgs_exec(&writer->link, "SAVEPOINT tailrace_truncate", "could not set a savepoint", NULL,
                    err) != TR_OK)
        goto cleanup;
    status = tr_pgs_exec(&writer->link, tr_outbuf_cstr(&sql), "could not truncate", NULL, err);
    if (status == TR_FAIL && tr_pgs_sqlstate_is(&writer->link, "0A000")) {
        status = tr_pgs_exec(&writer->link, "ROLLBACK TO SAVEPOINT tailrace_truncate",
                             "could not roll back", NULL, err);
        if (status == TR_OK)
            status = truncate_one_by_one(writer, events, count, err);
    }
    if (status == TR_OK)
        status = tr_pgs_exec(&writer->link, "RELEASE SAVEPOINT tailrace_truncate",
                             "could not release a savepoint", NULL, err);
cleanup:
    tr_outbuf_free(&sql);
    return status;
}
