/* The contract of a sink.
 *
 * Life: open → validate? → load_marks? → writer_open → (apply | write | flush)* → writer_close → close.
 * Threads: each writer belongs to one thread; interrupt may come from any.
 *
 * Three words that are kept apart:
 *   write   = the events are accepted, in order; nothing is promised yet;
 *   flush   = everything accepted, up to the last COMMIT event, is made durable;
 *   durable = durable_seq never falls, and covers an event only if a crash of this process and a
 *             restart of the target cannot undo it.
 * A sink with TR_CAP_POSITION commits rows only at COMMIT events, with that event's marks in the same
 * transaction, so that a reader of the target never sees half of a source transaction. It may put many
 * source transactions into one of its own. A source transaction of any size must go through in flat
 * memory: the batch is gone when write returns. */
#ifndef TAILRACE_SINK_H
#define TAILRACE_SINK_H

#include "catalog.h"
#include "event.h"
#include "option.h"
#include "source.h"

#define TR_SINK_ABI 1

enum tr_sink_caps {
    TR_CAP_UPSERT = 1,
    TR_CAP_TRANSACTIONS = 2,
    TR_CAP_POSITION = 4,   /* stores marks with the rows: exactly once */
    TR_CAP_DDL = 8,        /* apply changes tables */
    TR_CAP_TOMBSTONE = 16,
    TR_CAP_TRUNCATE = 32,
    TR_CAP_RAW_PGCOPY = 64, /* READ events with raw only are welcome */
    TR_CAP_PARALLEL = 128,  /* several writers can be opened */
    TR_CAP_LAST_WRITE_WINS = 256, /* takes tables with a version_column, see below */
};

/* Last write wins (tr_table.version_column != 0, the table has a key):
 *   - CREATE, READ and UPDATE write their row only when the target has no row of that key, or one
 *     whose version is not greater (equal: the later event wins), and no newer deletion is remembered;
 *   - DELETE removes the row only when its version (in the before image) is not smaller than the
 *     row's, and is remembered in the table tailrace_deleted of the target, so that an older row that
 *     comes later does not bring the key back. An accepted newer row forgets the deletion;
 *   - an UPDATE that changes the key is a DELETE of the old key and a CREATE of the new one, both with
 *     the version of the after image; a NULL version is older than every other;
 *   - this holds within a batch, across batches, and across restarts. Versions compare as values of
 *     their type: times as times, numbers as numbers. */

struct tr_sink_ops {
    const char *name;
    int abi; /* TR_SINK_ABI */
    unsigned caps;
    const struct tr_option *options;
    size_t options_size;
    const char *summary;

    enum tr_status (*open)(const struct tr_config *config, const struct tr_context *context,
                           void **self, struct tr_error *err);
    /* Preflight with the routed tables (their ID is the target's). Changes nothing. */
    enum tr_status (*validate)(void *self, const struct tr_table *const *tables, size_t table_count,
                               tr_report_fn report, void *report_ctx, struct tr_error *err);
    /* TR_CAP_RAW_PGCOPY: would READ events of this table be welcome with TR_EV_RAW_BINARY? After
     * load_marks, before writer_open, by the thread that opened it. The answer is about the target as it
     * is now: a writer that finds it changed when the rows come fails TRANSIENT, and the next attempt
     * asks again. NULL: never. */
    enum tr_status (*takes_binary)(void *self, const struct tr_binary_offer *offer, bool *takes,
                                   struct tr_error *err);
    /* TR_CAP_POSITION: puts the stored marks of this pipeline into *marks (empty if none). Also makes
     * the position table, topic or folder when absent (not when context->checking). TR_END: this sink
     * keeps no position in this configuration; the checkpoint alone decides. For sinks without the
     * capability: NULL. */
    enum tr_status (*load_marks)(void *self, struct tr_state *marks, struct tr_error *err);
    enum tr_status (*writer_open)(void *self, unsigned partition, void **writer,
                                  struct tr_error *err);
    /* One SCHEMA event, in order with the writes. Must be idempotent: after a crash it may come again.
     * Sinks that only carry data (Kafka, files) may write it as an event or do nothing. */
    enum tr_status (*apply)(void *writer, const struct tr_event *event, struct tr_error *err);
    /* n events in order: never a SCHEMA event; COMMIT events included. */
    enum tr_status (*write)(void *writer, const struct tr_event *events, size_t event_count,
                            struct tr_error *err);
    /* TR_OK: all accepted up to the last COMMIT is durable. TR_AGAIN: not within timeout_ms. */
    enum tr_status (*flush)(void *writer, int timeout_ms, struct tr_error *err);
    /* The highest event seq such that it and all before it are durable (see above). Cheap. May do the
     * non-blocking work of the client library (delivery reports). */
    uint64_t (*durable_seq)(void *writer);
    void (*interrupt)(void *self);
    void (*writer_close)(void *writer); /* NULL is fine; does not flush */
    /* Removes this pipeline's positions from the target (not the tables). */
    enum tr_status (*drop)(void *self, tr_report_fn report, void *report_ctx, struct tr_error *err);
    void (*close)(void *self); /* NULL is fine */

    const struct tr_scan_ops *scan; /* NULL: verify is not possible */
};

#endif
