/* Writer thread of a branch: rings → route → schema changes / write → flush → durable.
 *
 * When it flushes: as soon as its rings are empty and a COMMIT waits (an idle pipeline adds no
 * latency, and under load the next batches gather while the flush runs), or when the oldest waiting
 * event is older than pipeline.batch.linger. The sink decides what a flush with timeout 0 costs; a
 * flush with a real timeout is only asked for when the pipeline drains. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/thread.h"
#include "event/dead_letter.h"
#include "pipeline/engine.h"
#include "pipeline/window.h"

#define IDLE_WAIT_MS 200
#define DURABLE_WAIT_FIRST_MS 1
#define DURABLE_WAIT_MAX_MS 20
#define FORCED_FLUSH_MS 1000

static enum tr_status scratch_reserve(struct tr_branch *branch, size_t extra, struct tr_error *err)
{
    if (branch->scratch_capacity - branch->scratch_count >= extra)
        return TR_OK;
    size_t capacity = branch->scratch_capacity * 2 + extra + TR_BATCH_EVENTS_MAX;
    struct tr_event *scratch = realloc(branch->scratch, capacity * sizeof *scratch);
    if (scratch == NULL)
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for a batch of events");
    branch->scratch = scratch;
    branch->scratch_capacity = capacity;
    return TR_OK;
}

static void count(struct tr_table_stats *stats, enum tr_op op)
{
    if (stats == NULL)
        return;
    _Atomic uint64_t *counter = op == TR_OP_READ     ? &stats->reads
                                : op == TR_OP_CREATE ? &stats->creates
                                : op == TR_OP_UPDATE ? &stats->updates
                                : op == TR_OP_DELETE ? &stats->deletes
                                                     : &stats->truncates;
    /* one thread writes it: no locked instruction needed */
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + 1,
                          memory_order_relaxed);
}

static const struct tr_cell *project_cells(struct tr_branch *branch, const struct tr_cell *cells,
                                           const struct tr_target *target)
{
    if (cells == NULL)
        return NULL;
    struct tr_cell *kept =
        tr_arena_alloc(&branch->arena, ((size_t)target->table->column_count + 1) * sizeof *kept,
                       _Alignof(struct tr_cell));
    for (uint16_t i = 0; kept != NULL && i < target->table->column_count; i++)
        kept[i] = cells[target->source_columns[i]];
    return kept;
}

/* A history row: what the row was, or of a delete what it had been; it only ever adds. */
static enum tr_status as_history(struct tr_branch *branch, struct tr_event *event,
                                 struct tr_error *err)
{
    const struct tr_cell *cells = event->after != NULL ? event->after : event->before;
    uint16_t count = event->table->column_count;
    struct tr_cell *kept = tr_arena_alloc(&branch->arena, ((size_t)count + 1) * sizeof *kept,
                                          _Alignof(struct tr_cell));
    if (kept == NULL)
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for a history row");
    for (uint16_t i = 0; i < count; i++) {
        kept[i] = cells[i];
        if (kept[i].state == TR_CELL_UNCHANGED && event->before != NULL)
            kept[i] = event->before[i];
        if (kept[i].state != TR_CELL_TEXT && kept[i].state != TR_CELL_BINARY)
            kept[i].state = TR_CELL_NULL; /* not known here */
    }
    event->op = TR_OP_CREATE;
    event->before = NULL;
    event->after = kept;
    event->raw = (struct tr_slice){NULL, 0};
    event->flags = 0;
    return TR_OK;
}

enum tr_status tr_branch_add(struct tr_branch *branch, const struct tr_event *event,
                             const struct tr_target *target, struct tr_error *err)
{
    if (branch->scratch_count == branch->scratch_capacity &&
        scratch_reserve(branch, 1, err) != TR_OK)
        return TR_FAIL;
    struct tr_event *copy = &branch->scratch[branch->scratch_count];
    *copy = *event;
    if (target != NULL) {
        copy->table = target->table;
        if (target->source_columns != NULL) {
            copy->before = project_cells(branch, event->before, target);
            copy->after = project_cells(branch, event->after, target);
            copy->raw = (struct tr_slice){NULL, 0};
            if ((event->before != NULL && copy->before == NULL) ||
                (event->after != NULL && copy->after == NULL))
                return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for a projected row");
        }
        if (target->history && as_history(branch, copy, err) != TR_OK)
            return TR_FAIL;
        count(target->stats, (enum tr_op)copy->op);
    }
    copy->seq = branch->seq_next++;
    if (event->op == TR_OP_COMMIT)
        branch->seq_commit = copy->seq;
    branch->scratch_count++;
    return TR_OK;
}

static enum tr_status write_scratch(struct tr_branch *branch, struct tr_error *err)
{
    if (branch->scratch_count == 0)
        return TR_OK;
    if (branch->undurable_since_us == 0)
        branch->undurable_since_us = tr_clock_mono_us();
    enum tr_status status =
        branch->ops->write(branch->writer, branch->scratch, branch->scratch_count, err);
    atomic_fetch_add_explicit(&branch->events_written, branch->scratch_count, memory_order_relaxed);
    tr_metric_add(&tr_metric_events_written, (int64_t)branch->scratch_count);
    branch->scratch_count = 0;
    return status;
}

static bool truncate_is_kept(const struct tr_branch *branch, const struct tr_event *event,
                             const struct tr_target *target)
{
    if (event->flags & TR_EV_TRUNCATE_FOR_RELOAD)
        return true;
    if (!(branch->config->include_changes & TR_CHG_TRUNCATE_TABLE) ||
        !(branch->ops->caps & TR_CAP_TRUNCATE))
        return (branch->ops->caps & TR_CAP_DDL) == 0; /* streams carry it as a record */
    if (tr_branch_target_is_shared(branch, &target->table->id)) {
        tr_log(TR_LOG_WARN, "a truncated table shares its target with others: not truncated there",
               "table=%s.%s", event->table->id.schema, event->table->id.table);
        return false;
    }
    return true;
}

enum tr_status tr_branch_make_table(struct tr_branch *branch, const struct tr_table *table,
                                    struct tr_error *err)
{
    const struct tr_schema_change create = {.kind = TR_CHANGE_CREATE_TABLE};
    const struct tr_event event = {.op = TR_OP_SCHEMA, .table = table, .change = &create};
    if (write_scratch(branch, err) != TR_OK)
        return TR_FAIL;
    return table == NULL ? TR_OK : tr_branch_schema(branch, &event, err);
}

/* A boundary: windows close, and what this branch adds to the position goes with it. */
static enum tr_status route_commit(struct tr_branch *branch, const struct tr_event *event,
                                   struct tr_ack_record *record, struct tr_error *err)
{
    struct tr_event commit = *event;
    if (tr_branch_keep_position(branch, &commit.marks, commit.mark_count, err) != TR_OK)
        return TR_FAIL;
    if (branch->window != NULL) {
        const struct tr_mark *own;
        uint32_t own_count;
        if (tr_window_commit(branch->window, event, &own, &own_count, err) != TR_OK)
            return TR_FAIL;
        if (!branch->holds_position && record != NULL &&
            tr_ack_record_add(record, own, own_count, err) != TR_OK)
            return TR_FAIL;
        if (own_count > 0) {
            struct tr_mark *marks =
                tr_arena_alloc(&branch->arena, (commit.mark_count + own_count) * sizeof *marks,
                               _Alignof(struct tr_mark));
            if (marks == NULL)
                return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for a position");
            if (commit.mark_count > 0)
                memcpy(marks, commit.marks, commit.mark_count * sizeof *marks);
            memcpy(marks + commit.mark_count, own, own_count * sizeof *marks);
            commit.marks = marks;
            commit.mark_count += own_count;
        }
    }
    return tr_branch_add(branch, &commit, NULL, err);
}

static enum tr_status route_event(struct tr_branch *branch, const struct tr_event *event,
                                  struct tr_ack_record *record, struct tr_error *err)
{
    if (event->op == TR_OP_COMMIT)
        return route_commit(branch, event, record, err);
    if (event->op == TR_OP_SCHEMA) {
        if (branch->window != NULL)
            return TR_OK; /* it sees the table with the row */
        if (write_scratch(branch, err) != TR_OK)
            return TR_FAIL;
        return tr_branch_schema(branch, event, err);
    }
    if (event->table == NULL)
        return branch->window != NULL || branch->config->dead_letters
                   ? TR_OK
                   : tr_branch_add(branch, event, NULL, err);
    if (tr_branch_covers(branch, event))
        return TR_OK;
    if (branch->window != NULL)
        return tr_window_row(branch->window, event, err);
    if (!branch->letters_made && tr_is_dead_letter(event) && branch->config->dead_letters) {
        branch->letters_made = true;
        if (tr_branch_make_table(branch, event->table, err) != TR_OK)
            return TR_FAIL;
    }
    struct tr_target_entry *entry;
    if (tr_branch_targets(branch, event->table, &entry, err) != TR_OK)
        return TR_FAIL;
    for (uint32_t i = 0; i < entry->target_count; i++) {
        const struct tr_target *target = &entry->targets[i];
        if (event->op == TR_OP_TRUNCATE &&
            (target->history || !truncate_is_kept(branch, event, target)))
            continue;
        if (tr_branch_add(branch, event, target, err) != TR_OK)
            return TR_FAIL;
    }
    return TR_OK;
}

static enum tr_status pending_add(struct tr_branch *branch, uint64_t seq,
                                  struct tr_ack_record *record, struct tr_error *err)
{
    if (branch->pending_count == branch->pending_capacity) {
        size_t capacity = branch->pending_capacity == 0 ? 256 : branch->pending_capacity * 2;
        struct tr_pending *pending = malloc(capacity * sizeof *pending);
        if (pending == NULL)
            return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for acknowledgements");
        for (size_t i = 0; i < branch->pending_count; i++)
            pending[i] = branch->pending[(branch->pending_first + i) % branch->pending_capacity];
        free(branch->pending);
        branch->pending = pending;
        branch->pending_first = 0;
        branch->pending_capacity = capacity;
    }
    size_t at = (branch->pending_first + branch->pending_count) % branch->pending_capacity;
    branch->pending[at] = (struct tr_pending){seq, record};
    branch->pending_count++;
    return TR_OK;
}

static enum tr_status take_batch(struct tr_branch *branch, struct tr_batch *batch,
                                 struct tr_error *err)
{
    struct tr_engine *engine = branch->engine;
    struct tr_ack_record *record = batch->owner;
    enum tr_status status = TR_OK;
    for (uint32_t i = 0; i < batch->event_count && status == TR_OK; i++)
        status = route_event(branch, &batch->events[i], record, err);
    if (status == TR_OK)
        status = write_scratch(branch, err);
    branch->scratch_count = 0;
    tr_arena_reset(&branch->arena);
    if (status == TR_OK && record != NULL)
        status = pending_add(branch, branch->seq_commit, record, err);
    if (atomic_fetch_sub(&batch->refs, 1) == 1)
        tr_reader_batch_done(engine, batch);
    return status;
}

/* Lets go of the records that are durable now. */
static void settle(struct tr_branch *branch)
{
    uint64_t durable = branch->ops->durable_seq(branch->writer);
    if (durable == branch->seq_durable)
        return;
    branch->seq_durable = durable;
    bool any = false;
    while (branch->pending_count > 0 && branch->pending[branch->pending_first].seq <= durable) {
        struct tr_ack_record *record = branch->pending[branch->pending_first].record;
        branch->pending_first = (branch->pending_first + 1) % branch->pending_capacity;
        branch->pending_count--;
        atomic_fetch_sub(&record->pending, 1);
        any = true;
    }
    branch->undurable_since_us = branch->pending_count > 0 ? tr_clock_mono_us() : 0;
    if (any)
        tr_bell_ring(&branch->engine->bell);
}

static bool ends_with_commit(const struct tr_batch *batch)
{
    return batch->event_count > 0 && batch->events[batch->event_count - 1].op == TR_OP_COMMIT;
}

/* The held ring will bring no more. After a stop it may have been cut in the middle of a chunk:
 * what comes from other rings must not be committed together with the half chunk, so nothing is
 * written any more, and it is read again after the start. Without a stop the reader had no chunk
 * left. */
static bool held_ring_has_ended(const struct tr_branch *branch)
{
    return branch->ring_held >= 0 &&
           atomic_load(&branch->engine->readers[branch->ring_held].ended) &&
           tr_ring_count(&branch->rings[branch->ring_held]) == 0;
}

static struct tr_batch *next_batch(struct tr_branch *branch)
{
    if (held_ring_has_ended(branch)) {
        branch->discarding = atomic_load(&branch->engine->stop_reading);
        branch->ring_held = -1;
    }
    for (unsigned i = 0; i < TR_READERS_MAX; i++) {
        unsigned at = branch->ring_held >= 0 ? (unsigned)branch->ring_held
                                             : (branch->ring_turn + i) % TR_READERS_MAX;
        struct tr_batch *batch = tr_ring_pop(&branch->rings[at]);
        if (batch != NULL) {
            bool whole = branch->engine->readers[at].stream || ends_with_commit(batch);
            branch->ring_held = whole || branch->discarding ? -1 : (int)at;
            branch->ring_turn = at + 1;
            return batch;
        }
        if (branch->ring_held >= 0)
            break;
    }
    return NULL;
}

static void discard(struct tr_branch *branch, struct tr_batch *batch)
{
    if (atomic_fetch_sub(&batch->refs, 1) == 1)
        tr_reader_batch_done(branch->engine, batch);
}

static enum tr_status flush_if_due(struct tr_branch *branch, bool idle, struct tr_error *err)
{
    struct tr_engine *engine = branch->engine;
    if (branch->seq_commit <= branch->seq_durable)
        return TR_OK;
    bool forced = atomic_load(&engine->force_flush);
    int64_t linger_us = engine->file->options.linger_ms * 1000;
    if (!idle && !forced && branch->undurable_since_us != 0 &&
        tr_clock_mono_us() - branch->undurable_since_us < linger_us)
        return TR_OK;
    if (!idle && forced)
        return TR_OK; /* a drain empties the rings first, then flushes once */
    return branch->ops->flush(branch->writer, forced ? FORCED_FLUSH_MS : 0, err);
}

static void *writer_main(void *arg)
{
    struct tr_branch *branch = arg;
    struct tr_engine *engine = branch->engine;
    struct tr_error err;
    int durable_wait_ms = DURABLE_WAIT_FIRST_MS;
    tr_thread_name("write", branch->config->name);
    while (!atomic_load(&engine->abandon)) {
        uint32_t ticket = tr_bell_ticket(&branch->bell);
        struct tr_batch *batch = next_batch(branch);
        enum tr_status status = TR_OK;
        if (batch != NULL && branch->discarding) {
            discard(branch, batch);
        } else if (batch != NULL) {
            status = take_batch(branch, batch, &err);
            durable_wait_ms = DURABLE_WAIT_FIRST_MS;
        }
        if (status != TR_FAIL)
            status = flush_if_due(branch, batch == NULL, &err);
        if (status == TR_FAIL) {
            if (!atomic_load(&engine->abandon))
                tr_engine_fail(engine, &err);
            break;
        }
        settle(branch);
        if (batch != NULL)
            continue;
        bool waiting = branch->seq_commit > branch->seq_durable;
        if (!waiting && atomic_load(&branch->drained_ticket) != ticket) {
            atomic_store(&branch->drained_ticket, ticket);
            tr_bell_ring(&engine->bell);
        }
        tr_bell_wait(&branch->bell, ticket, waiting ? durable_wait_ms : IDLE_WAIT_MS);
        if (waiting && durable_wait_ms < DURABLE_WAIT_MAX_MS)
            durable_wait_ms *= 2;
    }
    return NULL;
}

enum tr_status tr_writer_start(struct tr_branch *branch, struct tr_error *err)
{
    tr_arena_init(&branch->arena, 64u << 10, 4u << 20);
    branch->seq_next = 1;
    branch->ring_held = -1;
    for (unsigned i = 0; i < TR_READERS_MAX; i++) {
        if (!tr_ring_init(&branch->rings[i], TR_POOL_BATCHES_MAX))
            return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for a ring");
    }
    if (scratch_reserve(branch, TR_BATCH_EVENTS_MAX, err) != TR_OK)
        return TR_FAIL;
    if (branch->ops->writer_open(branch->sink, 0, &branch->writer, err) != TR_OK)
        return TR_FAIL;
    if (branch->config->window.kind != TR_WINDOW_NONE &&
        tr_window_open(branch, &branch->window, err) != TR_OK)
        return TR_FAIL;
    if (branch->reload && tr_branch_reload(branch, err) != TR_OK)
        return TR_FAIL;
    if (pthread_create(&branch->thread, NULL, writer_main, branch) != 0)
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "could not start a writer thread");
    branch->thread_started = true;
    return TR_OK;
}

void tr_branch_clear(struct tr_branch *branch)
{
    if (branch->writer != NULL)
        branch->ops->writer_close(branch->writer);
    for (unsigned i = 0; i < TR_READERS_MAX; i++) {
        struct tr_batch *batch;
        while (branch->rings[i].slots != NULL && (batch = tr_ring_pop(&branch->rings[i])) != NULL) {
            if (atomic_fetch_sub(&batch->refs, 1) == 1)
                tr_batch_pool_give(&branch->engine->pool, batch);
        }
        tr_ring_free(&branch->rings[i]);
    }
    tr_branch_targets_clear(branch);
    while (branch->pinned != NULL) {
        struct tr_pinned *pinned = branch->pinned;
        branch->pinned = pinned->next;
        tr_table_unref(pinned->table);
        free(pinned);
    }
    tr_branch_feeds_clear(branch);
    tr_window_close(branch->window);
    tr_state_free(&branch->marks);
    free(branch->covered.until);
    free(branch->pending);
    free(branch->scratch);
    tr_arena_free(&branch->arena);
    if (branch->sink != NULL)
        branch->ops->close(branch->sink);
    tr_router_free(branch->router);
    *branch = (struct tr_branch){0};
}
