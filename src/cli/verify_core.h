/* The engine of `tailrace verify`: is what the sink holds what the source holds?
 *
 * Both sides are read back in the order of their key and merged; each range of keys has a row count
 * and a checksum (sum of row hashes) for both sides. While the pipeline runs, the two reads are of
 * different moments, so a key that differs is only a suspect: it is read again at the source, the
 * sink is given time to pass the log position of that reading, and then the sink's row is compared;
 * the source's row must not have changed meanwhile. Only what differs then is reported as
 * different.
 *
 * Tables whose key has a type without a common order are compared through a hash table, tables
 * without a key as bags of rows. Memory is bounded by the limits in verify_internal.h and the
 * options. Thread: one.
 */
#ifndef TR_CLI_VERIFY_CORE_H
#define TR_CLI_VERIFY_CORE_H

#include "tailrace/catalog.h"

struct tr_verify_side {
    const struct tr_scan_ops *ops;
    void *self;
};

/* Where a source table goes. route calls add once for each target ID (none: the table is left out).
 * NULL route: to the same ID. Source tables with one target are compared with it together. */
typedef enum tr_status (*tr_verify_add_fn)(void *add_ctx, const struct tr_table_id *target,
                                           struct tr_error *err);
struct tr_verify_router {
    enum tr_status (*route)(void *ctx, const struct tr_table *source, tr_verify_add_fn add,
                            void *add_ctx, struct tr_error *err);
    void *ctx;
};

struct tr_verify_options {
    uint64_t range_rows; /* rows of a key range; 0 = 10000. Grows when there are too many ranges */
    unsigned rounds;     /* re-checks of a key that keeps changing; 0 = 5 */
    unsigned listed_rows_max; /* rows handed to output.row per table */
    int timeout_ms;           /* how long to wait for the sink to pass a position, each time */
    uint64_t suspects_max;    /* keys of a table that are read again; more are counted; 0 = 65536 */
    uint64_t hashed_keys_max; /* keys held at once where there is no order; 0 = 2^20 (80 MiB) */
};

enum tr_verify_method {
    TR_VERIFY_MERGED, /* by key order */
    TR_VERIFY_HASHED, /* by key, without an order */
    TR_VERIFY_BAG     /* no key: rows and how often each occurs */
};
enum tr_verify_row_kind {
    TR_VERIFY_MISSING,   /* in the source only */
    TR_VERIFY_EXTRA,     /* in the sink only, or there more often */
    TR_VERIFY_DIFFERENT, /* in both, not equal */
    TR_VERIFY_CHANGING   /* differed each time, but the source changed each time too: not proven */
};
const char *tr_verify_row_kind_name(enum tr_verify_row_kind kind); /* "missing" */

struct tr_verify_row {
    enum tr_verify_row_kind kind;
    const char *key;     /* "id=7"; without a key the whole row */
    const char *columns; /* names of the columns that differ, "" unless DIFFERENT */
};
struct tr_verify_range {
    const char *first_key, *last_key; /* "" when the table has no order */
    uint64_t source_rows, sink_rows;
    uint64_t source_checksum, sink_checksum;
    bool equal;
};
/* Counts and checksums are after the re-checks. */
struct tr_verify_table {
    const struct tr_table_id *source; /* the first of them */
    uint32_t source_count;            /* tables that are routed to this target */
    const struct tr_table_id *target;
    enum tr_verify_method method;
    const char *problem; /* NULL, or why the sink's table cannot be read (it is absent, lacks a
                            column): all rows count as missing; equal when there are none */
    bool equal;
    uint64_t source_rows, sink_rows;
    uint64_t source_checksum, sink_checksum;
    uint64_t missing_rows, extra_rows, different_rows, changing_rows;
    uint64_t unchecked_rows; /* differed in the first reading, but too many to be looked at again */
    uint64_t suspect_rows;   /* keys that were read again */
    const struct tr_verify_range *ranges;
    size_t range_count;
};
struct tr_verify_output {
    void *ctx;
    /* Each may be NULL. Pointers are valid during the call. Per table: row … row, then table. */
    void (*row)(void *ctx, const struct tr_verify_table *table, const struct tr_verify_row *row);
    void (*table)(void *ctx, const struct tr_verify_table *table);
    void (*progress)(void *ctx, const struct tr_table_id *target, uint64_t source_rows);
    bool (*cancelled)(void *ctx); /* asked often; true ends with INTERRUPTED */
};
struct tr_verify_result {
    bool equal; /* exit code 0, else 1 */
    uint32_t table_count, unequal_table_count;
    uint64_t source_rows, sink_rows;
    bool positions_known;     /* both sides told theirs */
    uint64_t source_position; /* the log's end when the last table was done */
    uint64_t sink_position;
    uint64_t behind;       /* source_position - sink_position, 0 when the sink is not behind */
    bool sink_stood_still; /* a wait for the sink ran out and it had not moved: no pipeline runs, or
                              it is stuck; differences may be what it has not delivered yet */
};

/* Errors: those of the scans, but for SCHEMA errors of the sink (see problem); INTERRUPTED;
 * VERIFY_UNSUPPORTED for a side that cannot be scanned or a table beyond the limits; OUT_OF_MEMORY.
 */
enum tr_status tr_verify(const struct tr_verify_side *source, const struct tr_verify_side *sink,
                         const struct tr_verify_router *router,
                         const struct tr_verify_options *options,
                         const struct tr_verify_output *output, struct tr_verify_result *result,
                         struct tr_error *err) TR_WARN_UNUSED;

#endif
