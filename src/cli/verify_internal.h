/* Inside of the verify engine: one table's comparison, its ranges, its suspects. */
#ifndef TR_CLI_VERIFY_INTERNAL_H
#define TR_CLI_VERIFY_INTERNAL_H

#include "base/arena.h"
#include "cli/verify_compare.h"
#include "cli/verify_core.h"

#define TR_VERIFY_SHARDS_MAX 256                /* source tables of one target */
#define TR_VERIFY_RANGES_MAX 1024               /* then neighbours are joined */
#define TR_VERIFY_SUSPECT_BYTES_MAX (64u << 20) /* memory of their keys */
#define TR_VERIFY_PASSES_MAX 128                /* over a table without an order: 2^27 keys */
#define TR_VERIFY_POLL_MS 50
#define TR_VERIFY_CHECK_EVERY 1024 /* rows between looks at `cancelled` and calls of `progress` */

/* Rows of one key on one side: how many, and the sum of their hashes. */
struct tr_verify_tally {
    uint64_t rows, checksum;
};
struct tr_verify_suspect {
    struct tr_cell *key;                 /* in the suspects' arena */
    struct tr_verify_tally source, sink; /* what the range holds of them */
    struct tr_verify_tally again;        /* the source's row as it was read again */
    uint32_t range;
    bool settled;
};
struct tr_verify_suspects {
    struct tr_verify_suspect *items;
    size_t count, capacity;
    uint64_t overflow; /* keys that found no room */
    struct tr_arena arena;
};
struct tr_verify_span { /* a range under construction */
    char *first_key, *last_key;
    struct tr_verify_tally source, sink;
    bool unequal;
};

/* One target table under comparison. */
struct tr_verify_job {
    struct tr_verify *verify;
    const struct tr_table *
        *shards; /* source tables; all with the columns of `target`, in its order */
    uint32_t shard_count;
    struct tr_table *target;
    struct tr_verify_table report;
    struct tr_verify_span *spans;
    size_t span_count;
    uint64_t span_rows; /* rows of a span */
    uint64_t span_fill; /* rows of the last one */
    struct tr_verify_suspects suspects;
    uint32_t listed;
    uint64_t rows_seen; /* for progress and cancelled */
    bool sink_failed;   /* the error in hand came from the sink's scan */
    char problem[512];
};

struct tr_verify {
    struct tr_verify_side source, sink;
    struct tr_verify_options options;
    struct tr_verify_output output;
    bool stood_still;
    uint64_t sink_position; /* as last seen while waiting */
};

/* ---- verify_core.c ---- */
/* Once per row that is read: progress and cancelled. */
enum tr_status tr_verify_count_row(struct tr_verify_job *job, struct tr_error *err);
/* The key's cells out of a row's, into key[key_count]. */
void tr_verify_key_of(const struct tr_table *table, const struct tr_cell *cells,
                      struct tr_cell *key);
enum tr_status tr_verify_suspect_add(struct tr_verify_job *job, const struct tr_cell *key,
                                     struct tr_verify_tally source, struct tr_verify_tally sink,
                                     uint32_t range, struct tr_error *err);
void tr_verify_suspects_clear(struct tr_verify_suspects *suspects);
void tr_verify_list_row(struct tr_verify_job *job, enum tr_verify_row_kind kind, const char *key,
                        const char *columns);

/* ---- verify_hashed.c: HASHED and BAG ---- */
enum tr_status tr_verify_hashed(struct tr_verify_job *job, struct tr_error *err);
enum tr_status tr_verify_bag(struct tr_verify_job *job, struct tr_error *err);

/* ---- verify_recheck.c ---- */
/* Until the sink has passed the source's present position, or the time is up, or it stands still.
 */
enum tr_status tr_verify_wait(struct tr_verify *verify, struct tr_error *err);
/* Settles every suspect. */
enum tr_status tr_verify_recheck(struct tr_verify_job *job, struct tr_error *err);

#endif
