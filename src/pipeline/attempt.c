/* One attempt of a pipeline: open, recover the position, snapshot, stream, drain, close.
 *
 *   opening → (snapshot readers run → their batches durable → checkpoint) → streaming → draining
 * A failure anywhere leads to `leave`: everything is interrupted, joined and closed, and what was
 * not durable is read again by the next attempt. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "pipeline/engine.h"

#define RUNTIME_BATCH 1 /* tr_pipeline_options.runtime_mode */
#define CONTROL_WAIT_MS 100
#define PROGRESS_INTERVAL_US 200000
#define LOG_PROGRESS_INTERVAL_US 10000000
#define FINISH_MS 2000
#define READER_END_MS 10000

static enum tr_status cannot(const struct tr_sink_config *config, const char *what,
                             const char *hint, struct tr_error *err)
{
    (void)tr_fail(err, TR_E_CAPABILITY, "sink %s (%s) cannot do %s", config->name,
                  config->ops->name, what);
    return tr_hint(err, "%s", hint);
}

/* With several processes no single one sees all of a window. */
static enum tr_status check_sharing(const struct tr_engine *engine, struct tr_error *err)
{
    const struct tr_source_ops *ops = engine->file->source_ops;
    if (ops->is_shared == NULL || !ops->is_shared(engine->source))
        return TR_OK;
    for (unsigned i = 0; i < engine->branch_count; i++) {
        if (engine->branches[i].config->window.kind != TR_WINDOW_NONE)
            return cannot(engine->branches[i].config, "windows in a pipeline of several processes",
                          "set the source's scan.assignment to all, or count in the target", err);
    }
    return TR_OK;
}

static enum tr_status open_branches(struct tr_engine *engine, const struct tr_context *context,
                                    struct tr_error *err)
{
    const struct tr_pipeline_file *file = engine->file;
    if (file->sink_count > TR_BRANCHES_MAX)
        return tr_fail(err, TR_E_CAPABILITY, "a pipeline takes at most %d sinks", TR_BRANCHES_MAX);
    for (size_t i = 0; i < file->sink_count; i++) {
        struct tr_branch *branch = &engine->branches[i];
        branch->engine = engine;
        branch->index = (unsigned)i;
        branch->config = &file->sinks[i];
        branch->ops = file->sinks[i].ops;
        engine->branch_count++;
        const struct tr_sink_config *config = branch->config;
        if (config->last_write_wins && !(branch->ops->caps & TR_CAP_LAST_WRITE_WINS))
            return cannot(config, "write.mode last-write-wins",
                          "sqlite and postgres sinks can; a compacted topic keeps what comes last",
                          err);
        if (tr_router_new(config->own_routes ? config->routes : file->routes,
                          config->own_routes ? config->route_count : file->route_count,
                          file->options.route_mode, &branch->router, err) != TR_OK)
            return TR_FAIL;
        struct tr_context own = *context;
        own.position_name = config->position_name;
        if (branch->ops->open(config->config, &own, &branch->sink, err) != TR_OK)
            return TR_FAIL;
    }
    return TR_OK;
}

static enum tr_status open_all(struct tr_engine *engine, struct tr_error *err)
{
    const struct tr_pipeline_file *file = engine->file;
    bool raw_rows = (file->source_ops->caps & TR_SRC_RAW_PGCOPY) != 0 &&
                    (file->options.schema_behavior == TR_SCHEMA_EVOLVE ||
                     file->options.schema_behavior == TR_SCHEMA_EXCEPTION) &&
                    file->transform_count == 0 && file->event_time.column == NULL;
    bool has_dead_letters = file->sinks[file->sink_count - 1].dead_letters;
    for (size_t i = 0; i < file->sink_count; i++) {
        const struct tr_sink_config *sink = &file->sinks[i];
        raw_rows = raw_rows && (sink->ops->caps & TR_CAP_RAW_PGCOPY) != 0 &&
                   sink->include_changes == TR_CHG_ALL && sink->history_table == NULL &&
                   !sink->last_write_wins;
    }
    struct tr_context context = {.pipeline_name = file->options.name,
                                 .state_dir = engine->run_options->state_dir,
                                 .raw_rows = raw_rows,
                                 .offer_binary = raw_rows ? tr_engine_offer_binary : NULL,
                                 .has_dead_letters = has_dead_letters,
                                 .stored_marks = tr_engine_stored_marks,
                                 .engine = engine};
    void *source = NULL;
    enum tr_status status = file->source_ops->open(file->source_config, &context, &source, err);
    (void)pthread_mutex_lock(&engine->source_lock);
    engine->source = source;
    (void)pthread_mutex_unlock(&engine->source_lock);
    if (status != TR_OK)
        return TR_FAIL;
    context.shared =
        file->source_ops->is_shared != NULL && file->source_ops->is_shared(source);
    if (open_branches(engine, &context, err) != TR_OK || check_sharing(engine, err) != TR_OK ||
        tr_engine_recover(engine, err) != TR_OK ||
        file->source_ops->start(source, &engine->state, err) != TR_OK)
        return TR_FAIL;
    unsigned batches = (unsigned)(file->options.buffer_memory_bytes / (int64_t)TR_BATCH_COST_BYTES);
    unsigned readers = file->source_ops->snapshot_readers(source);
    engine->reader_count = readers > TR_SNAPSHOT_READERS_MAX ? TR_SNAPSHOT_READERS_MAX : readers;
    if (batches < TR_POOL_BATCHES_MIN + engine->reader_count)
        batches = TR_POOL_BATCHES_MIN + engine->reader_count;
    if (tr_batch_pool_init(&engine->pool, batches, err) != TR_OK)
        return TR_FAIL;
    tr_log(TR_LOG_INFO, "the pipeline is open",
           "source=%s sinks=%u batches=%u memory_bound_bytes=%zu snapshot_readers=%u "
           "resumed=%s",
           file->source_ops->name, engine->branch_count, engine->pool.total,
           (size_t)engine->pool.total * TR_BATCH_COST_BYTES, engine->reader_count,
           engine->resumed ? "true" : "false");
    for (unsigned i = 0; i < engine->branch_count; i++) {
        if (tr_writer_start(&engine->branches[i], err) != TR_OK)
            return TR_FAIL;
    }
    return TR_OK;
}

/* Whether every sink begins, after a crash, where its rows say, and not where the checkpoint does. */
static bool all_hold_positions(const struct tr_engine *engine)
{
    for (unsigned i = 0; i < engine->branch_count; i++) {
        if (!engine->branches[i].holds_position)
            return false;
    }
    return true;
}

/* For the stage: late events that every sink has passed for good need no longer be known. */
static enum tr_status publish_acked(struct tr_engine *engine, struct tr_error *err)
{
    if (engine->branch_count < 2 || engine->file->event_time.column == NULL)
        return TR_OK;
    enum tr_status status = TR_OK;
    (void)pthread_mutex_lock(&engine->lock);
    for (size_t i = tr_state_seek(&engine->state, TR_MARK_SPLIT);
         status == TR_OK && tr_state_has_prefix(&engine->state, i, TR_MARK_SPLIT); i++)
        status = tr_state_set(&engine->acked, engine->state.items[i].key,
                              engine->state.items[i].value, err);
    (void)pthread_mutex_unlock(&engine->lock);
    atomic_fetch_add(&engine->acked_generation, 1);
    return status;
}

static enum tr_status advance(struct tr_engine *engine, struct tr_error *err)
{
    unsigned count = 0;
    int64_t commit_ts_us = 0, recv_ts_us = 0;
    for (unsigned i = 0; i < TR_READERS_MAX; i++) {
        if (tr_ack_advance(&engine->readers[i].acks, &engine->state, &count, &commit_ts_us,
                           &recv_ts_us, err) != TR_OK)
            return TR_FAIL;
    }
    if (count > 0 && all_hold_positions(engine) && publish_acked(engine, err) != TR_OK)
        return TR_FAIL;
    if (count > 0) {
        engine->state_dirty = true;
        engine->progressed = true;
        int64_t now_us = tr_clock_wall_us();
        if (commit_ts_us != 0) {
            atomic_store(&engine->commit_ts_us, commit_ts_us);
            atomic_store(&engine->lag_us, now_us > commit_ts_us ? now_us - commit_ts_us : 0);
        }
        if (recv_ts_us != 0)
            atomic_store(&engine->latency_us, now_us > recv_ts_us ? now_us - recv_ts_us : 0);
    }
    return TR_OK;
}

enum tr_status tr_engine_checkpoint(struct tr_engine *engine, bool now, struct tr_error *err)
{
    int64_t now_us = tr_clock_mono_us();
    if (!engine->state_dirty || (!now && now_us - engine->checkpoint_last_us <
                                             engine->file->options.checkpoint_interval_ms * 1000))
        return TR_OK;
    (void)TR_FAILPOINT("engine.before_checkpoint");
    engine->checkpoint_last_us = now_us;
    if (tr_checkpoint_file_ops.save(engine->store, &engine->state, err) != TR_OK) {
        if (err->class != TR_TRANSIENT || now)
            return TR_FAIL;
        /* the sinks go on; the source keeps its log until a checkpoint is saved again */
        char message[700];
        tr_metric_add(&tr_metric_errors, 1);
        tr_log(TR_LOG_WARN, "a checkpoint could not be saved; it is tried again",
               "code=%s error=%s", tr_error_info(err->code)->name,
               tr_log_quote(err->message, message, sizeof message));
        return TR_OK;
    }
    engine->state_dirty = false;
    atomic_fetch_add(&engine->checkpoints, 1);
    tr_metric_add(&tr_metric_checkpoints, 1);
    atomic_store(&engine->checkpoint_us, tr_clock_wall_us());
    (void)TR_FAILPOINT("engine.after_checkpoint");
    engine->file->source_ops->acknowledge(engine->source, &engine->state);
    return all_hold_positions(engine) ? TR_OK : publish_acked(engine, err);
}

static void report(struct tr_engine *engine, int64_t *last_us)
{
    int64_t now_us = tr_clock_mono_us();
    if (engine->run_options->show_progress) {
        if (now_us - *last_us >= PROGRESS_INTERVAL_US) {
            *last_us = now_us;
            tr_engine_progress_line(engine, false);
        }
    } else if (now_us - *last_us >= LOG_PROGRESS_INTERVAL_US) {
        *last_us = now_us;
        tr_engine_progress_line(engine, false);
    }
}

/* One turn of the control thread. TR_AGAIN: go on. TR_END: a stop was asked for. */
static enum tr_status turn(struct tr_engine *engine, int64_t *report_us, struct tr_error *err)
{
    uint32_t ticket = tr_bell_ticket(&engine->bell);
    if (tr_engine_failed(engine)) {
        *err = engine->failure;
        return TR_FAIL;
    }
    if (advance(engine, err) != TR_OK)
        return TR_FAIL;
    bool first = !atomic_load(&engine->first_saved) && engine->state_dirty &&
                 (engine->file->source_ops->caps & TR_SRC_SPLITS) != 0;
    bool wanted = atomic_exchange(&engine->checkpoint_wanted, false);
    if (tr_engine_checkpoint(engine, first || wanted, err) != TR_OK)
        return TR_FAIL;
    if (first) { /* the reader waits for it */
        atomic_store(&engine->first_saved, true);
        tr_bell_ring(&engine->pool.bell);
    }
    report(engine, report_us);
    if (atomic_load(&engine->stop_requests) > 0)
        return TR_END;
    tr_bell_wait(&engine->bell, ticket, CONTROL_WAIT_MS);
    return TR_AGAIN;
}

static bool readers_ended(const struct tr_engine *engine, unsigned from, unsigned to)
{
    for (unsigned i = from; i < to; i++) {
        if (engine->readers[i].thread_started && !atomic_load(&engine->readers[i].ended))
            return false;
    }
    return true;
}

static void join_readers(struct tr_engine *engine)
{
    for (unsigned i = 0; i < TR_READERS_MAX; i++) {
        if (engine->readers[i].thread_started)
            (void)pthread_join(engine->readers[i].thread, NULL);
        engine->readers[i].thread_started = false;
    }
}

static bool drained(struct tr_engine *engine)
{
    for (unsigned i = 0; i < engine->branch_count; i++) {
        struct tr_branch *branch = &engine->branches[i];
        if (atomic_load(&branch->drained_ticket) != tr_bell_ticket(&branch->bell))
            return false;
    }
    return true;
}

/* With the readers at rest: waits until every branch is durable up to its last COMMIT. */
static enum tr_status settle_all(struct tr_engine *engine, int64_t deadline_ms,
                                 struct tr_error *err)
{
    int64_t report_us = 0;
    atomic_store(&engine->force_flush, true);
    for (unsigned i = 0; i < engine->branch_count; i++)
        tr_bell_ring(&engine->branches[i].bell);
    while (!drained(engine)) {
        enum tr_status status = turn(engine, &report_us, err);
        if (status == TR_FAIL)
            return TR_FAIL;
        if (status == TR_END) {
            uint32_t ticket = tr_bell_ticket(&engine->bell);
            if (!drained(engine))
                tr_bell_wait(&engine->bell, ticket, CONTROL_WAIT_MS);
        }
        if (deadline_ms != 0 && tr_clock_mono_ms() > deadline_ms) {
            (void)tr_fail(err, TR_E_DRAIN_TIMEOUT, "the sinks were not durable within %lld ms",
                          (long long)engine->file->options.stop_timeout_ms);
            return tr_hint(err, "nothing is lost: it is delivered at the next start; "
                                "stop.timeout sets the time");
        }
    }
    atomic_store(&engine->force_flush, false);
    if (tr_engine_failed(
            engine)) { /* a reader that failed as it ended, with nothing left to drain */
        *err = engine->failure;
        return TR_FAIL;
    }
    if (advance(engine, err) != TR_OK)
        return TR_FAIL;
    return tr_engine_checkpoint(engine, true, err);
}

static enum tr_status drain(struct tr_engine *engine, struct tr_error *err)
{
    int64_t deadline_ms = tr_clock_mono_ms() + engine->file->options.stop_timeout_ms;
    atomic_store(&engine->phase, TR_PHASE_DRAINING);
    atomic_store(&engine->stop_reading, true);
    (void)TR_FAILPOINT("engine.drain");
    engine->file->source_ops->interrupt(engine->source);
    tr_bell_ring(&engine->pool.bell);
    int64_t reader_deadline_ms = tr_clock_mono_ms() + READER_END_MS;
    while (!readers_ended(engine, 0, TR_READERS_MAX) && tr_clock_mono_ms() < reader_deadline_ms) {
        engine->file->source_ops->interrupt(engine->source);
        tr_clock_sleep_ms(5);
    }
    join_readers(engine);
    if (settle_all(engine, deadline_ms, err) != TR_OK)
        return TR_FAIL;
    struct tr_error ignored;
    if (engine->file->source_ops->finish != NULL &&
        engine->file->source_ops->finish(engine->source, FINISH_MS, &ignored) == TR_FAIL)
        tr_log(TR_LOG_WARN, "the source did not take the last acknowledgement", "code=%s",
               tr_error_info(ignored.code)->name);
    return TR_OK;
}

/* TR_END: a stop was asked for. */
static enum tr_status snapshot_phase(struct tr_engine *engine, struct tr_error *err)
{
    int64_t report_us = 0;
    if (engine->reader_count > 0) {
        atomic_store(&engine->phase, TR_PHASE_SNAPSHOT);
        for (unsigned i = 0; i < engine->reader_count; i++) {
            if (tr_reader_start(engine, i, false, err) != TR_OK)
                return TR_FAIL;
        }
        while (!readers_ended(engine, 0, engine->reader_count)) {
            enum tr_status status = turn(engine, &report_us, err);
            if (status != TR_AGAIN)
                return status;
        }
        join_readers(engine);
        if (tr_engine_failed(engine)) {
            *err = engine->failure;
            return TR_FAIL;
        }
        if (settle_all(engine, 0, err) != TR_OK)
            return TR_FAIL;
        for (unsigned i = 0; i < engine->reader_count; i++) {
            if (!tr_ack_empty(&engine->readers[i].acks))
                return tr_fail(err, TR_E_INTERNAL, "a part of the snapshot was not delivered");
        }
        tr_log(TR_LOG_INFO, "the snapshot is complete and durable", "events=%llu",
               (unsigned long long)atomic_load(&engine->events_read));
    }
    return atomic_load(&engine->stop_requests) > 0 ? TR_END : TR_OK;
}

static bool caught_up(struct tr_engine *engine)
{
    bool batch = engine->file->options.runtime_mode == RUNTIME_BATCH &&
                 (engine->file->source_ops->caps & TR_SRC_SPLITS) != 0;
    if (!engine->run_options->until_caught_up && !batch)
        return false;
    struct tr_source_progress progress = {0};
    engine->file->source_ops->progress(engine->source, &progress);
    if (engine->stop_position == 0)
        engine->stop_position = progress.server_position;
    return engine->stop_position != 0 && progress.acknowledged_position >= engine->stop_position;
}

static enum tr_status stream_phase(struct tr_engine *engine, struct tr_error *err)
{
    int64_t report_us = 0;
    unsigned index = engine->reader_count;
    if (engine->file->source_ops->stream(engine->source, err) != TR_OK)
        return TR_FAIL;
    atomic_store(&engine->phase, TR_PHASE_STREAMING);
    engine->file->source_ops->acknowledge(engine->source, &engine->state);
    if (tr_reader_start(engine, index, true, err) != TR_OK)
        return TR_FAIL;
    for (;;) {
        enum tr_status status = turn(engine, &report_us, err);
        if (status != TR_AGAIN)
            return status;
        if (atomic_load(&engine->readers[index].ended) || caught_up(engine))
            return TR_END;
    }
}

static void leave(struct tr_engine *engine)
{
    const struct tr_source_ops *ops = engine->file->source_ops;
    atomic_store(&engine->abandon, true);
    if (engine->source != NULL)
        ops->interrupt(engine->source);
    for (unsigned i = 0; i < engine->branch_count; i++) {
        struct tr_branch *branch = &engine->branches[i];
        if (branch->sink != NULL && branch->ops->interrupt != NULL)
            branch->ops->interrupt(branch->sink);
        tr_bell_ring(&branch->bell);
    }
    tr_bell_ring(&engine->pool.bell);
    while (engine->source != NULL && !readers_ended(engine, 0, TR_READERS_MAX)) {
        ops->interrupt(engine->source);
        tr_clock_sleep_ms(5);
    }
    join_readers(engine);
    for (unsigned i = 0; i < engine->branch_count; i++) {
        if (engine->branches[i].thread_started)
            (void)pthread_join(engine->branches[i].thread, NULL);
    }
    for (unsigned i = 0; i < engine->branch_count; i++)
        tr_branch_clear(&engine->branches[i]);
    engine->branch_count = 0;
    for (unsigned i = 0; i < TR_READERS_MAX; i++)
        tr_ack_list_clear(&engine->readers[i].acks);
    (void)pthread_mutex_lock(&engine->source_lock);
    void *source = engine->source;
    engine->source = NULL;
    (void)pthread_mutex_unlock(&engine->source_lock);
    ops->close(source);
    if (engine->pool.total > 0)
        tr_batch_pool_free(&engine->pool);
}

enum tr_status tr_engine_attempt(struct tr_engine *engine, struct tr_error *err)
{
    engine->failed = false;
    engine->progressed = false;
    engine->reader_count = 0;
    engine->stop_position = 0;
    engine->state_dirty = false;
    engine->attempt_started_us = tr_clock_mono_us();
    atomic_store(&engine->abandon, false);
    atomic_store(&engine->stop_reading, false);
    atomic_store(&engine->force_flush, false);
    atomic_store(&engine->phase, TR_PHASE_STARTING);
    enum tr_status status = open_all(engine, err);
    if (status == TR_OK)
        status = snapshot_phase(engine, err);
    if (status == TR_OK && engine->file->options.runtime_mode == RUNTIME_BATCH &&
        !(engine->file->source_ops->caps & TR_SRC_SPLITS))
        status = TR_END; /* what was asked for is copied */
    if (status == TR_OK)
        status = stream_phase(engine, err);
    if (status == TR_END)
        status = drain(engine, err);
    if (status == TR_FAIL && tr_engine_failed(engine))
        *err = engine->failure;
    if (engine->run_options->show_progress)
        tr_engine_progress_line(engine, true);
    leave(engine);
    return status;
}
