/* Reader threads: free batch → source → stage (transforms, event time) → ring of every branch.
 *
 * A reader never drops a batch: the rings hold as many entries as the pool has batches, so a push
 * cannot fail. A snapshot reader has at most its share of the pool out. With no free batch the
 * stream reader only keeps the source's connection alive. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/thread.h"
#include "pipeline/engine.h"

#define READ_TIMEOUT_MS 200
#define KEEPALIVE_INTERVAL_MS 1000
#define POOL_WAIT_MS 200
#define STAGE_WAIT_MS 5
#define BUSY_BATCHES 3 /* in use, with the reader's own: the sinks have enough to do */

static bool must_end(const struct tr_engine *engine)
{
    return atomic_load(&engine->abandon) || atomic_load(&engine->stop_reading);
}

/* NULL when the reader shall end, or failed (then the engine knows). */
static struct tr_batch *next_batch(struct tr_reader *reader)
{
    struct tr_engine *engine = reader->engine;
    const struct tr_source_ops *ops = engine->file->source_ops;
    int64_t kept_alive_ms = tr_clock_mono_ms();
    while (!must_end(engine)) {
        uint32_t ticket = tr_bell_ticket(&engine->pool.bell);
        if (!atomic_load(&engine->paused) && atomic_load(&reader->out) < reader->quota) {
            struct tr_batch *batch = tr_batch_pool_take(&engine->pool);
            if (batch != NULL)
                return batch;
        }
        int64_t now_ms = tr_clock_mono_ms();
        if (reader->stream && now_ms - kept_alive_ms >= KEEPALIVE_INTERVAL_MS) {
            struct tr_error err;
            kept_alive_ms = now_ms;
            if (ops->keepalive(engine->source, &err) == TR_FAIL) {
                tr_engine_fail(engine, &err);
                return NULL;
            }
        }
        tr_bell_wait(&engine->pool.bell, ticket, POOL_WAIT_MS);
    }
    return NULL;
}

static enum tr_status hand_on(struct tr_reader *reader, struct tr_batch *batch,
                              struct tr_error *err)
{
    struct tr_engine *engine = reader->engine;
    struct tr_ack_record *record;
    if (tr_ack_record_new(batch, engine->branch_count, &record, err) != TR_OK) {
        tr_batch_pool_give(&engine->pool, batch);
        return TR_FAIL;
    }
    batch->owner = record;
    batch->reader_index = reader->index;
    atomic_fetch_add(&reader->out, 1);
    if (record != NULL)
        tr_ack_append(&reader->acks, record);
    atomic_store(&batch->refs, engine->branch_count);
    atomic_fetch_add_explicit(&engine->events_read, batch->event_count, memory_order_relaxed);
    atomic_fetch_add_explicit(&engine->bytes_read, batch->arena.used_bytes + batch->foreign_bytes,
                              memory_order_relaxed);
    tr_metric_add(&tr_metric_events_read, batch->event_count);
    tr_metric_add(&tr_metric_bytes_read, (int64_t)(batch->arena.used_bytes + batch->foreign_bytes));
    atomic_store(&engine->last_event_us, tr_clock_mono_us());
    for (unsigned i = 0; i < engine->branch_count; i++) {
        struct tr_branch *branch = &engine->branches[i];
        if (!tr_ring_push(&branch->rings[reader->index], batch))
            return tr_fail(err, TR_E_INTERNAL, "a ring is smaller than the batch pool");
        tr_bell_ring(&branch->bell);
    }
    return TR_OK;
}

void tr_reader_batch_done(struct tr_engine *engine, struct tr_batch *batch)
{
    atomic_fetch_sub(&engine->readers[batch->reader_index].out, 1);
    tr_batch_pool_give(&engine->pool, batch);
}

/* ---- the stage ---- */

static enum tr_status open_stage(struct tr_reader *reader, struct tr_error *err)
{
    struct tr_engine *engine = reader->engine;
    struct tr_state marks;
    reader->stage_open = true;
    if (tr_stage_open(&reader->stage, engine->file, engine->file->source_ops, engine->source,
                      reader->stream, err) != TR_OK)
        return TR_FAIL;
    if (!reader->stream || engine->file->event_time.column == NULL)
        return TR_OK;
    const struct tr_source_ops *ops = engine->file->source_ops;
    struct tr_watermark *watermark = &reader->stage.watermark;
    watermark->tracks_late = engine->branch_count > 1;
    watermark->is_shared = ops->is_shared != NULL && ops->is_shared(engine->source);
    tr_state_init(&marks);
    enum tr_status status = tr_engine_stage_marks(engine, &marks, err);
    if (status == TR_OK)
        status = tr_watermark_restore(watermark, &marks, err);
    tr_state_free(&marks);
    return status;
}

/* What every sink holds needs no longer be known as late. */
static void forget_late(struct tr_reader *reader, unsigned *generation)
{
    struct tr_engine *engine = reader->engine;
    unsigned now = atomic_load(&engine->acked_generation);
    if (now == *generation)
        return;
    *generation = now;
    (void)pthread_mutex_lock(&engine->lock);
    for (size_t i = 0; i < engine->acked.count; i++)
        tr_watermark_acked(&reader->stage.watermark,
                           engine->acked.items[i].key + strlen(TR_MARK_SPLIT),
                           strtoll(engine->acked.items[i].value, NULL, 10));
    (void)pthread_mutex_unlock(&engine->lock);
}

/* Waits while more late events are outstanding than can be kept. */
static enum tr_status run_stage(struct tr_reader *reader, struct tr_batch *batch,
                                unsigned *generation, struct tr_error *err)
{
    struct tr_engine *engine = reader->engine;
    uint32_t at = 0;
    enum tr_status status;
    forget_late(reader, generation);
    while ((status = tr_stage_batch(&reader->stage, batch, &at, err)) == TR_AGAIN) {
        if (must_end(engine))
            return TR_END; /* the batch is read again */
        atomic_store(&engine->checkpoint_wanted, true);
        tr_clock_sleep_ms(STAGE_WAIT_MS);
        forget_late(reader, generation);
    }
    return status;
}

/* The first positions of a message source are saved before anything is delivered: "latest" must
 * mean the same after a crash. */
static bool wait_until_saved(struct tr_reader *reader)
{
    struct tr_engine *engine = reader->engine;
    while (!atomic_load(&engine->first_saved) && !must_end(engine)) {
        uint32_t ticket = tr_bell_ticket(&engine->pool.bell);
        if (!atomic_load(&engine->first_saved))
            tr_bell_wait(&engine->pool.bell, ticket, POOL_WAIT_MS);
    }
    return !must_end(engine);
}

/* A source that has ended closes the windows with one more COMMIT. *batch may be NULL. */
static enum tr_status end_input(struct tr_reader *reader, struct tr_batch **batch,
                                struct tr_error *err)
{
    if (!reader->stream || (*batch == NULL && (*batch = next_batch(reader)) == NULL))
        return TR_OK;
    if (tr_stage_idle(&reader->stage, *batch, true, err) != TR_OK)
        return TR_FAIL;
    if ((*batch)->event_count == 0)
        return TR_OK;
    struct tr_batch *last = *batch;
    *batch = NULL;
    return hand_on(reader, last, err);
}

/* One batch that the source has filled, or left empty. Takes it when it is handed on. */
static enum tr_status deliver(struct tr_reader *reader, struct tr_batch **batch,
                              unsigned *generation, struct tr_error *err)
{
    enum tr_status status = (*batch)->event_count == 0
                                ? tr_stage_idle(&reader->stage, *batch, false, err)
                                : run_stage(reader, *batch, generation, err);
    if (reader->stream && reader->stage.watermark.watermark_us != TR_TIME_NONE)
        atomic_store(&reader->engine->watermark_us, reader->stage.watermark.watermark_us);
    if (status != TR_OK || (*batch)->event_count == 0)
        return status;
    struct tr_batch *filled = *batch;
    *batch = NULL;
    return hand_on(reader, filled, err);
}

/* One batch. While the sinks have enough to do they gain nothing from a small one: it takes what
 * the source has at once, until it is full, so that the rings hold as much as they may. */
static enum tr_status fill(struct tr_reader *reader, struct tr_batch *batch, struct tr_error *err)
{
    struct tr_engine *engine = reader->engine;
    const struct tr_source_ops *ops = engine->file->source_ops;
    if (!reader->stream)
        return ops->snapshot(engine->source, reader->index, batch, READ_TIMEOUT_MS, err);
    enum tr_status got = ops->read(engine->source, batch, READ_TIMEOUT_MS, err);
    if ((ops->caps & TR_SRC_FILLS_UP) == 0)
        return got;
    while (got == TR_OK && !tr_batch_full(batch) && !must_end(engine) &&
           tr_batch_pool_used(&engine->pool) > BUSY_BATCHES)
        got = ops->read(engine->source, batch, 0, err);
    return got == TR_AGAIN ? TR_OK : got;
}

static void *reader_main(void *arg)
{
    struct tr_reader *reader = arg;
    struct tr_engine *engine = reader->engine;
    const struct tr_source_ops *ops = engine->file->source_ops;
    struct tr_batch *batch = NULL;
    struct tr_error err;
    tr_thread_name("read", reader->stream ? "log" : "snapshot");
    unsigned generation = 0;
    bool has_splits = reader->stream && (ops->caps & TR_SRC_SPLITS) != 0;
    enum tr_status status = open_stage(reader, &err);
    while (status != TR_FAIL) {
        if (batch == NULL && (batch = next_batch(reader)) == NULL)
            break;
        enum tr_status got = fill(reader, batch, &err);
        if (got == TR_FAIL) {
            status = must_end(engine) ? TR_END : TR_FAIL;
            break;
        }
        status = deliver(reader, &batch, &generation, &err);
        if (status == TR_OK && got == TR_END) {
            status = must_end(engine) ? TR_OK : end_input(reader, &batch, &err);
            break;
        }
        if (status != TR_OK || must_end(engine))
            break;
        if (has_splits && batch == NULL && !wait_until_saved(reader))
            break;
        if (atomic_load(&engine->paused) && batch != NULL) {
            tr_batch_pool_give(&engine->pool, batch);
            batch = NULL;
        }
    }
    if (status == TR_FAIL)
        tr_engine_fail(engine, &err);
    if (batch != NULL)
        tr_batch_pool_give(&engine->pool, batch);
    if (reader->stage_open)
        tr_stage_close(&reader->stage);
    reader->stage_open = false;
    atomic_store(&reader->ended, true);
    tr_bell_ring(&engine->bell);
    return NULL;
}

enum tr_status tr_reader_start(struct tr_engine *engine, unsigned index, bool stream,
                               struct tr_error *err)
{
    struct tr_reader *reader = &engine->readers[index];
    reader->engine = engine;
    reader->index = index;
    reader->stream = stream;
    reader->quota = stream || engine->reader_count == 0 ? engine->pool.total
                                                        : engine->pool.total / engine->reader_count;
    atomic_store(&reader->out, 0);
    atomic_store(&reader->ended, false);
    if (pthread_create(&reader->thread, NULL, reader_main, reader) != 0)
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "could not start a reader thread");
    reader->thread_started = true;
    return TR_OK;
}
