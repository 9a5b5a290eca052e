/* The contract of a source.
 *
 * Life: open → validate? → start → snapshot (n threads) → read (one thread) → close.
 * Threads: snapshot(reader_index) is called by one thread per reader, at the same time; read and
 * keepalive by one reader thread; acknowledge and interrupt by the control thread; everything else
 * by the thread that opened it, while no other call is under way. */
#ifndef TAILRACE_SOURCE_H
#define TAILRACE_SOURCE_H

#include "catalog.h"
#include "event.h"
#include "message.h"
#include "option.h"

#define TR_SOURCE_ABI 1

struct tr_state; /* the merged marks: src/event/state.h */

/* A table whose snapshot rows a source can give as binary COPY tuples, in columns of the types that
 * source_type_id names. To the source `table` is its own, to a sink it is the routed one. */
struct tr_binary_offer {
    const struct tr_table *table;
    int server_version; /* of the source's PostgreSQL, as 150004: some forms differ by version */
    bool emptied;       /* a TRUNCATE comes before the rows: what the target holds now does not count */
    bool accepted;      /* the answer */
};

struct tr_context {
    const char *pipeline_name;
    const char *position_name; /* sink: what its positions are stored under; the pipeline's name, or with
                                  several sinks "pipeline:sink". NULL: pipeline_name */
    const char *state_dir;  /* this pipeline's own folder; exists */
    bool raw_rows;          /* source: READ events need only `raw`, cells may be left out */
    /* Source, with raw_rows: asks the sinks which of the tables that will be copied may come with
     * TR_EV_RAW_BINARY; all others come as text. To be called once, within start, with all of them.
     * NULL: none may. */
    enum tr_status (*offer_binary)(void *engine, struct tr_binary_offer *offers,
                                   uint32_t offer_count, struct tr_error *err);
    bool checking;          /* opened by `check`, `verify` or `drop`: change nothing on the server */
    bool has_dead_letters;  /* the pipeline has a dead-letter sink: see event/dead_letter.h */
    bool shared;            /* sink: several processes of this pipeline write side by side; it does not
                               keep them out, since the positions of splits are guarded */
    /* Source with TR_SRC_SHARED: the marks as the sinks hold them now, over all processes of this
     * pipeline. Sinks without positions count for nothing: *marks may be empty. Any thread; blocks. */
    enum tr_status (*stored_marks)(void *engine, struct tr_state *marks, struct tr_error *err);
    void *engine;
};

enum tr_source_caps {
    TR_SRC_SNAPSHOT = 1,
    TR_SRC_RAW_PGCOPY = 2, /* can give READ events with `raw` only */
    TR_SRC_SPLITS = 4,     /* a message source: events carry `message`, COMMITs the marks TR_MARK_SPLIT */
    TR_SRC_SHARED = 8,     /* several processes of one pipeline may share its splits (is_shared) */
    TR_SRC_FILLS_UP = 16,  /* read may be given a batch that it filled in part: it appends */
};

/* A copy of counters, made by any thread. */
struct tr_source_progress {
    bool snapshot_running;
    uint64_t snapshot_rows;       /* read so far */
    uint64_t snapshot_rows_total; /* estimate by the server's statistics; 0 unknown */
    uint32_t snapshot_tables_done, snapshot_tables_total;
    uint64_t server_position;     /* the log's end as last heard (LSN) */
    uint64_t read_position;       /* read so far */
    uint64_t acknowledged_position;
    char position_text[64];       /* read_position in its readable form */
};

struct tr_source_ops {
    const char *name;
    int abi; /* TR_SOURCE_ABI */
    unsigned caps;
    const struct tr_option *options;
    size_t options_size; /* of the bound struct */
    const char *summary; /* one line for `tailrace list` */

    /* Connects and learns the server. Gives ownership of *self; on TR_FAIL *self is NULL or may still
     * be given to close. */
    enum tr_status (*open)(const struct tr_config *config, const struct tr_context *context,
                           void **self, struct tr_error *err);
    /* Preflight: reports every finding; changes nothing. TR_FAIL only when it could not be finished. */
    enum tr_status (*validate)(void *self, tr_report_fn report, void *report_ctx,
                               struct tr_error *err);
    /* Chooses where to begin from the marks of the last run (empty at the first). Makes slot and
     * publication when they are to be made. After it snapshot_readers is valid.
     * Errors: the position-lost and slot errors. */
    enum tr_status (*start)(void *self, const struct tr_state *marks, struct tr_error *err);
    /* How many threads shall call snapshot; 0 = no snapshot (left). */
    unsigned (*snapshot_readers)(void *self);
    /* Fills an empty batch. TR_OK: it holds events. TR_AGAIN: none within timeout_ms. TR_END: this
     * reader has no more; the batch may hold the last events. */
    enum tr_status (*snapshot)(void *self, unsigned reader_index, struct tr_batch *batch,
                               int timeout_ms, struct tr_error *err);
    /* Called once after all snapshot batches are durable, before the first read. */
    enum tr_status (*stream)(void *self, struct tr_error *err);
    /* Follows the log. As snapshot; TR_END when the source is bounded (scan.startup.mode snapshot, or
     * a message source that ends). */
    /* With TR_SRC_FILLS_UP the batch may hold events of earlier calls; what is said above is then
     * said of the events that come to them. timeout_ms 0 takes what is there. */
    enum tr_status (*read)(void *self, struct tr_batch *batch, int timeout_ms, struct tr_error *err);
    /* These marks are in a saved checkpoint: the server may forget what is before them. Must not
     * block on the network; the reader's next read or keepalive sends it. */
    void (*acknowledge)(void *self, const struct tr_state *marks);
    /* While the pipeline has no room for events: keep the connection alive, read nothing. */
    enum tr_status (*keepalive)(void *self, struct tr_error *err);
    /* Sends a last acknowledgement and closes the stream in an orderly way, within timeout_ms. */
    enum tr_status (*finish)(void *self, int timeout_ms, struct tr_error *err);
    /* From any thread: makes a blocked call return soon (TR_AGAIN). */
    void (*interrupt)(void *self);
    /* Removes what start made on the server (slot, publication). Reports each thing. */
    enum tr_status (*drop)(void *self, tr_report_fn report, void *report_ctx, struct tr_error *err);
    /* Progress for status and the terminal. */
    void (*progress)(void *self, struct tr_source_progress *progress);
    void (*close)(void *self); /* NULL is fine */

    const struct tr_scan_ops *scan; /* NULL: verify is not possible */

    /* TR_SRC_SPLITS, after start: the splits known now (the count may grow while it runs). Any thread.
     * The engine's watermark waits for every split that is named here and not at its end. */
    uint32_t (*split_count)(void *self);
    const struct tr_split *(*split)(void *self, uint32_t index); /* NULL: not this process's now */
    /* TR_SRC_SHARED: whether the configuration asks for sharing. */
    bool (*is_shared)(void *self);
};

#endif
