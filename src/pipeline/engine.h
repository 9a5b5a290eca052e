/* The engine's inside: one `run` of a pipeline.
 *
 * Threads
 *   control   the caller of tr_engine_run: opens and closes everything, advances the ack frontier,
 *             saves checkpoints, acknowledges to the source, reports progress.
 *   readers   N snapshot readers, then one stream reader: take a free batch from the pool, fill it,
 *             hand it to every branch's writer through a ring of their own.
 *   writers   one per branch (sink): drain their rings in turn, route, apply schema changes, write,
 *             flush, and report what is durable.
 * Ownership of a batch: pool → reader → (refs = branches) writers → pool. A batch goes back when
 * write has returned; what waits for durability is only its ack record. A chunk of the snapshot may
 * span several batches, and only its end is a COMMIT. Chunks of two readers must not mix in a sink,
 * or the COMMIT of one would make half of the other durable without its mark: a writer stays with a
 * snapshot ring until a batch ends with a COMMIT. So that it cannot wait for a batch that nobody
 * has free, each snapshot reader has a quota of the pool; and with several branches, which could
 * wait for each other crosswise, there is one snapshot reader. Acknowledgement: a batch with COMMIT
 * events has one ack record holding their merged marks. When every branch is durable past it, and
 * every earlier record of the same reader is done, its marks enter the state; then checkpoint.save;
 * then source.acknowledge. Never in another order. */
#ifndef TR_PIPELINE_ENGINE_H
#define TR_PIPELINE_ENGINE_H

#include <jansson.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/metric.h"
#include "base/outbuf.h"
#include "base/ring.h"
#include "event/batch.h"
#include "event/state.h"
#include "pipeline/pipeline.h"
#include "pipeline/route.h"
#include "pipeline/stage.h"
#include "tailrace/checkpoint.h"

#define TR_SNAPSHOT_READERS_MAX 16
#define TR_READERS_MAX (TR_SNAPSHOT_READERS_MAX + 1)
#define TR_BRANCHES_MAX 16
#define TR_POOL_BATCHES_MIN 4
#define TR_POOL_BATCHES_MAX 256
/* What one full batch costs: its arena's target, its event slots, and the slack of one large row.
 */
#define TR_BATCH_COST_BYTES (TR_BATCH_BYTES_TARGET + TR_BATCH_EVENTS_MAX * sizeof(struct tr_event))
#define TR_TABLE_STATS_MAX 16384
#define TR_TABLE_SLOTS 1024 /* of the maps of tables; each is a list */
#define TR_TARGETS_MAX (TR_ROUTE_TARGETS_MAX + 1) /* the last is the history table */

enum tr_phase {
    TR_PHASE_STARTING,
    TR_PHASE_SNAPSHOT,
    TR_PHASE_STREAMING,
    TR_PHASE_DRAINING,
    TR_PHASE_RESTARTING,
    TR_PHASE_STOPPED,
    TR_PHASE_FAILED
};

/* ---- pool.c ---- */
struct tr_batch_pool {
    pthread_mutex_t lock;
    struct tr_batch *free[TR_POOL_BATCHES_MAX];
    unsigned free_count, total;
    struct tr_bell bell; /* rung when a batch comes back */
};
enum tr_status tr_batch_pool_init(struct tr_batch_pool *pool, unsigned batch_count,
                                  struct tr_error *err);
void tr_batch_pool_free(struct tr_batch_pool *pool);
unsigned tr_batch_pool_used(struct tr_batch_pool *pool);
struct tr_batch *tr_batch_pool_take(struct tr_batch_pool *pool); /* NULL: none free */
void tr_batch_pool_give(struct tr_batch_pool *pool, struct tr_batch *batch);

/* ---- ack.c ---- */
struct tr_ack_mark {
    char *key, *value;
};
struct tr_ack_record {
    struct tr_ack_record *next; /* per reader, oldest first */
    _Atomic uint32_t pending;   /* branches that are not durable past it yet */
    pthread_mutex_t lock;       /* guards the marks until it is done */
    uint32_t mark_count, mark_capacity;
    struct tr_ack_mark *marks;
    int64_t commit_ts_us; /* newest commit time in it, for lag */
    int64_t recv_ts_us;
    bool idle; /* only positions */
};
struct tr_ack_list { /* one reader's records; the reader appends, the control thread takes */
    pthread_mutex_t lock;
    struct tr_ack_record *first, *last;
};
/* Makes the record of a filled batch; *out stays NULL when it has no COMMIT event. */
enum tr_status tr_ack_record_new(const struct tr_batch *batch, uint32_t branch_count,
                                 struct tr_ack_record **out, struct tr_error *err);
void tr_ack_record_free(struct tr_ack_record *record);
/* Adds marks that a branch made itself (windows), before the record is done. Any writer thread. */
enum tr_status tr_ack_record_add(struct tr_ack_record *record, const struct tr_mark *marks,
                                 uint32_t mark_count, struct tr_error *err);
void tr_ack_append(struct tr_ack_list *list, struct tr_ack_record *record);
/* Applies the marks of all finished records at the head; counts them. */
enum tr_status tr_ack_advance(struct tr_ack_list *list, struct tr_state *state, unsigned *count,
                              int64_t *commit_ts_us, int64_t *recv_ts_us, struct tr_error *err);
bool tr_ack_empty(struct tr_ack_list *list);
void tr_ack_list_clear(struct tr_ack_list *list);

/* ---- positions.c: several sinks, each at its own position ---- */
struct tr_branch;
/* What a sink holds already of a message source's splits, and must not get again. */
struct tr_covered {
    int64_t *until; /* by split index: positions below are there; -1 not looked up yet */
    uint32_t count;
    unsigned generation; /* of tr_engine.fresh_generation that `until` is made of */
};
/* Reads the checkpoint and every sink's marks; engine->state becomes where the source begins. */
enum tr_status tr_engine_recover(struct tr_engine *engine, struct tr_error *err);
/* What the stage has to know of the sinks' positions: TR_MARK_COVERED and friends. */
enum tr_status tr_engine_stage_marks(struct tr_engine *engine, struct tr_state *marks,
                                     struct tr_error *err);
/* Writer thread: the branch's sink has this event already. */
bool tr_branch_covers(struct tr_branch *branch, const struct tr_event *event);
/* Writer thread: marks of a COMMIT that would take the sink's position back are replaced by what it
 * holds. *marks stays as it is when there are none. */
enum tr_status tr_branch_keep_position(struct tr_branch *branch, const struct tr_mark **marks,
                                       uint32_t mark_count, struct tr_error *err);
/* tr_context.stored_marks */
enum tr_status tr_engine_stored_marks(void *engine, struct tr_state *marks, struct tr_error *err);

/* ---- writer.c, targets.c ---- */
struct tr_table_stats { /* per target table; lives as long as the engine */
    struct tr_table_stats *next, *next_in_slot;
    char *source_name, *target_name;
    _Atomic uint64_t reads, creates, updates, deletes, truncates, schema_changes;
};
struct tr_target {                /* what one source table version becomes in a branch */
    const struct tr_table *table; /* the target's ID; columns the sink shall see */
    const uint16_t
        *source_columns; /* projection: index in the source table per column; NULL: all */
    struct tr_table_stats *stats;
    bool history; /* rows are appended, whatever happened to them */
};
struct tr_target_entry {           /* by source table pointer */
    struct tr_target_entry *next;  /* in its slot */
    const struct tr_table *source; /* reference held */
    uint32_t target_count;
    struct tr_target targets[TR_TARGETS_MAX];
};
struct tr_pinned { /* a target whose schema must not follow (ignored or failed change) */
    struct tr_pinned *next;
    struct tr_table *table;
};
struct tr_window; /* window.h */
struct tr_feed { /* which source tables feed a target ID */
    struct tr_feed *next; /* in the slot of its target */
    char *target_key, *source_key;
    bool routed;
};
struct tr_pending { /* a batch whose last COMMIT is not durable yet */
    uint64_t seq;
    struct tr_ack_record *record;
};
struct tr_branch {
    struct tr_engine *engine;
    unsigned index;
    const struct tr_sink_config *config;
    const struct tr_sink_ops *ops;
    void *sink, *writer;
    struct tr_router *router;
    pthread_t thread;
    bool thread_started;
    bool reload; /* `tailrace drop` came before: empty the targets, then copy */
    bool holds_position;   /* the sink keeps the marks; else the checkpoint is all there is */
    struct tr_state marks; /* where this sink is: its own marks, else the checkpoint's */
    struct tr_window *window; /* NULL: rows go on as rows */
    struct tr_covered covered;
    bool letters_made; /* the dead-letter table's CREATE was sent in this attempt */
    struct tr_ring rings[TR_READERS_MAX];
    struct tr_bell bell; /* rung when a ring got something, or a flush is asked for */
    /* the writer thread's own */
    unsigned ring_turn;
    int ring_held;   /* the snapshot ring whose chunk has begun, -1 none; see writer.c */
    bool discarding; /* a chunk was cut off by a stop: nothing more may become durable */
    uint64_t seq_next, seq_commit, seq_durable;
    int64_t undurable_since_us;
    struct tr_event *scratch;
    size_t scratch_count, scratch_capacity;
    struct tr_arena arena; /* projected cells, reset per batch */
    struct tr_target_entry *entries[TR_TABLE_SLOTS]; /* the last one asked for comes first */
    uint32_t entry_count;
    struct tr_pinned *pinned;
    struct tr_feed *feeds[TR_TABLE_SLOTS];
    struct tr_pending *pending; /* ring buffer, grows */
    size_t pending_first, pending_count, pending_capacity;
    _Atomic uint64_t events_written;
    /* The bell's count at which the writer last found its rings empty and everything up to the last
     * COMMIT durable. Every push rings after it, so with readers at rest the branch is drained when
     * this equals the bell's count. */
    _Atomic uint32_t drained_ticket;
};

/* ---- the whole ---- */
struct tr_reader {
    struct tr_engine *engine;
    unsigned index; /* 0 … snapshot readers - 1, then the stream */
    bool stream;
    pthread_t thread;
    bool thread_started;
    _Atomic bool ended;
    unsigned quota;       /* batches it may have out at once */
    _Atomic unsigned out; /* handed on and not yet back in the pool */
    struct tr_ack_list acks;
    struct tr_stage stage;
    bool stage_open;
};
struct tr_engine {
    const struct tr_pipeline_file *file;
    const struct tr_run_options *run_options;
    struct tr_checkpoint_store *store;
    struct tr_control_server *control;
    /* this attempt */
    void *source;
    struct tr_branch branches[TR_BRANCHES_MAX];
    unsigned branch_count;
    struct tr_reader readers[TR_READERS_MAX];
    unsigned reader_count;
    struct tr_batch_pool pool;
    struct tr_bell bell;   /* the control thread's */
    struct tr_state state; /* merged marks of what is durable */
    bool state_dirty, resumed;
    int64_t checkpoint_last_us;
    _Atomic bool checkpoint_wanted; /* the reader waits for one: see run_stage */
    _Atomic bool first_saved; /* a message source's first positions are in a checkpoint */
    struct tr_state acked;    /* guarded by lock: positions of splits, for the stage */
    _Atomic unsigned acked_generation;
    struct tr_state fresh[TR_BRANCHES_MAX]; /* guarded by lock: marks read again at a rebalance */
    _Atomic unsigned fresh_generation;
    _Atomic int stop_requests; /* 1 drain, 2 at once */
    _Atomic bool abandon;      /* readers and writers leave as soon as they can */
    _Atomic bool stop_reading; /* readers end; writers drain */
    _Atomic bool force_flush;  /* writers make durable what they have */
    _Atomic bool paused;
    uint64_t stop_position; /* until_caught_up: 0 = not asked for */
    bool progressed;        /* this attempt made something durable */
    _Atomic int phase;      /* enum tr_phase */
    pthread_mutex_t lock;   /* guards failure, last_error, stats list */
    bool failed;
    struct tr_error failure;    /* first failure of this attempt */
    struct tr_error last_error; /* of an earlier attempt, for status */
    bool has_last_error;
    struct tr_table_stats *stats;                       /* all of them */
    struct tr_table_stats *stats_slots[TR_TABLE_SLOTS]; /* by their names */
    unsigned stats_count;
    /* counters for status */
    int64_t started_us, attempt_started_us;
    unsigned restarts;
    _Atomic uint64_t events_read, bytes_read, checkpoints;
    _Atomic int64_t watermark_us; /* 0: none */
    _Atomic int64_t lag_us, latency_us, checkpoint_us, last_event_us, commit_ts_us;
    pthread_mutex_t source_lock; /* progress() against close() */
};

void tr_engine_fail(struct tr_engine *engine, const struct tr_error *err); /* first one wins */
bool tr_engine_failed(struct tr_engine *engine);

/* writer.c: one event for the sink, numbered and counted */
enum tr_status tr_branch_add(struct tr_branch *branch, const struct tr_event *event,
                             const struct tr_target *target, struct tr_error *err);
/* writer.c: hands on what is gathered, then the CREATE of a table that the branch itself makes (NULL:
 * none) */
enum tr_status tr_branch_make_table(struct tr_branch *branch, const struct tr_table *table,
                                    struct tr_error *err);

/* reader.c */
void tr_reader_batch_done(struct tr_engine *engine, struct tr_batch *batch); /* last writer's */
enum tr_status tr_reader_start(struct tr_engine *engine, unsigned index, bool stream,
                               struct tr_error *err);
/* writer.c */
enum tr_status tr_writer_start(struct tr_branch *branch, struct tr_error *err);
void tr_branch_clear(struct tr_branch *branch); /* after its thread ended: frees what it holds */
/* targets.c: the targets of a source table in a branch; makes and caches them */
enum tr_status tr_branch_targets(struct tr_branch *branch, const struct tr_table *source,
                                 struct tr_target_entry **out, struct tr_error *err);
void tr_branch_targets_clear(struct tr_branch *branch);
void tr_branch_feeds_clear(struct tr_branch *branch);
void tr_engine_stats_clear(struct tr_engine *engine); /* of all branches; nobody uses them any more */
bool tr_branch_target_is_shared(const struct tr_branch *branch, const struct tr_table_id *target);
/* What the target has, when that is not what the source has; only the names matter. NULL: not
 * pinned. Pinning replaces an earlier pin. Both empty the cache of targets. */
const struct tr_table *tr_branch_pinned(const struct tr_branch *branch,
                                        const struct tr_table_id *id);
enum tr_status tr_branch_pin(struct tr_branch *branch, const struct tr_table_id *id,
                             const struct tr_column *columns, uint16_t column_count,
                             struct tr_error *err);
void tr_branch_unpin(struct tr_branch *branch, const struct tr_table_id *id);
/* `source` as this branch's sink sees it under the target's ID: with its version column, or without a
 * key for a history table. A new reference. */
enum tr_status tr_branch_dress(const struct tr_branch *branch, const struct tr_table *source,
                               const struct tr_table_id *id, bool history, struct tr_table **out,
                               struct tr_error *err);
/* offer.c: tr_context.offer_binary */
enum tr_status tr_engine_offer_binary(void *engine, struct tr_binary_offer *offers,
                                      uint32_t offer_count, struct tr_error *err);
/* reload.c: makes and empties every target of the captured tables, durably, before anything is
 * copied */
enum tr_status tr_branch_reload(struct tr_branch *branch, struct tr_error *err);
/* schema.c: one SCHEMA event for one branch */
enum tr_status tr_branch_schema(struct tr_branch *branch, const struct tr_event *event,
                                struct tr_error *err);
/* status.c */
json_t *tr_engine_status_json(struct tr_engine *engine); /* NULL: no memory */
char *tr_engine_metrics_text(struct tr_engine *engine);
void tr_engine_progress_line(struct tr_engine *engine, bool last);
const char *tr_phase_name(int phase);
/* attempt.c: one attempt from open to close */
enum tr_status tr_engine_attempt(struct tr_engine *engine, struct tr_error *err);
enum tr_status tr_engine_checkpoint(struct tr_engine *engine, bool now, struct tr_error *err);

extern struct tr_metric tr_metric_events_read, tr_metric_bytes_read, tr_metric_events_written,
    tr_metric_checkpoints, tr_metric_restarts, tr_metric_errors;

#endif
