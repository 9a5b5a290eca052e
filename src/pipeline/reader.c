/* Reader threads: free batch → source → ring of every branch.
 *
 * A reader never drops a batch: the rings hold as many entries as the pool has batches, so a push
 * cannot fail. A snapshot reader has at most its share of the pool out. With no free batch the
 * stream reader only keeps the source's connection alive. */
#include "base/clock.h"
#include "base/log.h"
#include "pipeline/engine.h"

#define READ_TIMEOUT_MS 200
#define KEEPALIVE_INTERVAL_MS 1000
#define POOL_WAIT_MS 200

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

static void *reader_main(void *arg)
{
    struct tr_reader *reader = arg;
    struct tr_engine *engine = reader->engine;
    const struct tr_source_ops *ops = engine->file->source_ops;
    struct tr_batch *batch = NULL;
    struct tr_error err;
    for (;;) {
        if (batch == NULL && (batch = next_batch(reader)) == NULL)
            break;
        enum tr_status status =
            reader->stream
                ? ops->read(engine->source, batch, READ_TIMEOUT_MS, &err)
                : ops->snapshot(engine->source, reader->index, batch, READ_TIMEOUT_MS, &err);
        if (status == TR_FAIL) {
            if (!must_end(engine))
                tr_engine_fail(engine, &err);
            break;
        }
        if (batch->event_count > 0) {
            if (hand_on(reader, batch, &err) != TR_OK) {
                tr_engine_fail(engine, &err);
                batch = NULL;
                break;
            }
            batch = NULL;
        }
        if (status == TR_END)
            break;
        if (must_end(engine))
            break;
        if (atomic_load(&engine->paused) && batch != NULL) {
            tr_batch_pool_give(&engine->pool, batch);
            batch = NULL;
        }
    }
    if (batch != NULL)
        tr_batch_pool_give(&engine->pool, batch);
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
