/* The inside of the PostgreSQL source: one struct, and what its files offer each other. */
#ifndef TR_SOURCE_POSTGRES_SOURCE_H
#define TR_SOURCE_POSTGRES_SOURCE_H

#include <stdatomic.h>

#include "base/metric.h"
#include "decode/pgoutput.h"
#include "event/batch.h"
#include "source/postgres/ahead.h"
#include "source/postgres/postgres.h"
#include "source/postgres/preflight.h"

#define TR_PG_READERS_MAX 32
#define TR_PG_LSN_BYTES 24

/* A table as the stream knows it: what was last told to the sinks. */
struct tr_pg_known {
    uint32_t oid;                 /* as the stream names it */
    const struct tr_table *table; /* a reference; of PostgreSQL 12's partitions it is the root's,
                                     with the root's oid as source_id */
    uint64_t skip_lsn; /* rows of transactions that commit before it are in the copy already */
    uint64_t soft_lsn; /* schema changes of such transactions are in the copy already */
    bool dirty;        /* its mark has to ride on the next commit */
    bool silent; /* a partition of a captured root: announced only if a row comes under its name */
};
struct tr_pg_known_list {
    struct tr_pg_known *items; /* in the order in which they came */
    size_t count, capacity;
    uint32_t *slots; /* by hash of the oid: index + 1 in items, 0 free; see known.c */
    uint32_t slot_count;
    size_t dirty_count, dirty_first; /* the first dirty one's index, when there is one */
    size_t bound_count;              /* with skip_lsn or soft_lsn */
    uint64_t bound_lsn;              /* with bound_count: no bounds end below it */
    size_t silent_count;
};

struct tr_pg_progress {
    _Atomic bool snapshot_running;
    _Atomic uint64_t rows, rows_total;
    _Atomic uint32_t tables_done, tables_total;
    _Atomic uint64_t server_lsn, read_lsn, acknowledged_lsn;
};

struct tr_pg_snapshot; /* snapshot.c */
struct tr_pg_stream;   /* stream.c */

struct tr_pg_source {
    struct tr_pg_settings settings;
    struct tr_pg_server server;
    struct tr_pg_types types;
    struct tr_pg_conn sql;               /* catalog queries; start, then the stream's thread */
    int wake_fds[TR_PG_READERS_MAX + 1]; /* [0] start and stream, [1 + i] snapshot reader i */
    bool raw_rows;
    enum tr_status (*offer_binary)(void *engine, struct tr_binary_offer *offers,
                                   uint32_t offer_count, struct tr_error *err);
    void *engine;
    bool checking;
    bool bounded; /* scan.startup.mode snapshot */
    char source_id[128];
    struct tr_state marks; /* as given to start */
    bool resuming;         /* marks hold a position */
    struct tr_pg_catalog catalog;
    uint64_t stream_lsn; /* where the stream begins */
    bool start_commit;   /* the first read gives the marks that end the snapshot */
    struct tr_pg_known_list known;
    struct tr_pg_ahead *ahead; /* of the stream's thread */
    struct tr_pg_snapshot *snapshot;
    struct tr_pg_stream *stream;
    struct tr_pg_progress progress;
    struct tr_pg_conn scan_conn; /* kept for the next scan; pg NULL while one has it */
    struct tr_pg_catalog scan_catalog;
};

/* ---- start.c -------------------------------------------------------------------------------- */
enum tr_status tr_pg_start(struct tr_pg_source *source, const struct tr_state *marks,
                           struct tr_error *err);
/* (Re)loads source->catalog on the SQL connection and builds the tables. A pipeline that resumes
 * leaves out new tables that cannot be captured. */
enum tr_status tr_pg_source_catalog(struct tr_pg_source *source, struct tr_error *err);
/* Connects the SQL connection again if it is gone. */
enum tr_status tr_pg_source_sql(struct tr_pg_source *source, struct tr_error *err);
/* Waits some seconds for an active slot, which may be our last process's. PG_SLOT_IN_USE. */
enum tr_status tr_pg_wait_inactive(struct tr_pg_source *source, struct tr_pg_slot *slot,
                                   struct tr_error *err);

/* ---- snapshot_plan.c, snapshot.c ------------------------------------------------------------ */
/* Decides what is to be copied, under which snapshot. exporter: a walsender that has just made the
 * slot with an exported snapshot (taken over), or NULL: one is made when needed. */
enum tr_status tr_pg_snapshot_start(struct tr_pg_source *source, struct tr_pg_conn *exporter,
                                    const char *snapshot_name, uint64_t lsn, struct tr_error *err);
unsigned tr_pg_snapshot_readers(const struct tr_pg_source *source);
enum tr_status tr_pg_snapshot_read(struct tr_pg_source *source, unsigned reader_index,
                                   struct tr_batch *batch, int timeout_ms, struct tr_error *err);
void tr_pg_snapshot_close(struct tr_pg_source *source);

/* ---- known.c --------------------------------------------------------------------------------- */
struct tr_pg_marks; /* marks.c, below */
/* The known table with this oid, also from the marks; NULL if it is new. */
enum tr_status tr_pg_known_find(struct tr_pg_source *source, uint32_t oid,
                                struct tr_pg_known **known, struct tr_error *err);
/* The same without a look at the marks. */
struct tr_pg_known *tr_pg_known_held(const struct tr_pg_known_list *list, uint32_t oid);
/* Of an oid that is not known yet. Pointers to other known tables are not valid after it. */
enum tr_status tr_pg_known_add(struct tr_pg_source *source, uint32_t oid,
                               const struct tr_table *table, uint64_t skip_lsn, uint64_t soft_lsn,
                               struct tr_pg_known **known, struct tr_error *err);
/* Makes it dirty. */
void tr_pg_known_soil(struct tr_pg_known_list *list, struct tr_pg_known *known);
/* Has a commit that ends at end_lsn more to carry than its position? Then the marks of what is
 * dirty and of the bounds that are passed, which are so no longer. */
bool tr_pg_known_marks_due(const struct tr_pg_known_list *list, uint64_t end_lsn);
void tr_pg_known_add_marks(struct tr_pg_known_list *list, uint64_t end_lsn,
                           struct tr_pg_marks *marks);
void tr_pg_known_free(struct tr_pg_known_list *list);

/* ---- relation.c ----------------------------------------------------------------------------- */
/* A Relation message inside the transaction whose commit record is at commit_lsn. */
enum tr_status tr_pg_relation_message(struct tr_pg_source *source,
                                      const struct tr_pgoutput_relation *relation,
                                      uint64_t commit_lsn, struct tr_batch *batch,
                                      const struct tr_table **table, struct tr_error *err);
/* Puts the CREATE_TABLE of a silent table behind the events before index, if the event there is
 * its. */
enum tr_status tr_pg_announce_silent(struct tr_pg_source *source, struct tr_batch *batch,
                                     uint32_t index, struct tr_error *err);
/* Which attribute each column of a Relation message is (0: cannot be told). `before` may be NULL.
 */
enum tr_status tr_pg_align(const struct tr_pgoutput_relation *relation,
                           const struct tr_pg_attrs *attrs, const struct tr_table *before,
                           int32_t *attnums, struct tr_error *err);

/* ---- stream.c ------------------------------------------------------------------------------- */
enum tr_status tr_pg_stream_start(struct tr_pg_source *source, struct tr_error *err);
enum tr_status tr_pg_stream_read(struct tr_pg_source *source, struct tr_batch *batch,
                                 int timeout_ms, struct tr_error *err);
enum tr_status tr_pg_stream_keepalive(struct tr_pg_source *source, struct tr_error *err);
enum tr_status tr_pg_stream_finish(struct tr_pg_source *source, int timeout_ms,
                                   struct tr_error *err);
void tr_pg_stream_close(struct tr_pg_source *source);

/* ---- health.c ------------------------------------------------------------------------------- */
/* Looks at the slot and for new tables, warns and sets metrics. Never fails the stream. */
void tr_pg_health(struct tr_pg_source *source, bool look_for_tables);

/* ---- scan.c --------------------------------------------------------------------------------- */
extern const struct tr_scan_ops tr_pg_scan_ops;
void tr_pg_scan_close_all(struct tr_pg_source *source);

/* ---- marks.c -------------------------------------------------------------------------------- */
/* A list of marks being made in an arena; `failed` is sticky. */
struct tr_pg_marks {
    struct tr_arena *arena;
    struct tr_mark *items;
    uint32_t count, capacity;
    bool failed;
};
void tr_pg_marks_init(struct tr_pg_marks *marks, struct tr_arena *arena);
void tr_pg_marks_add(struct tr_pg_marks *marks, const char *value, const char *key_format, ...)
    __attribute__((format(printf, 3, 4)));
void tr_pg_marks_add_lsn(struct tr_pg_marks *marks, const char *key, uint64_t lsn);
void tr_pg_marks_add_table(struct tr_pg_marks *marks, const struct tr_table *table);
/* Appends a COMMIT event with them. */
enum tr_status tr_pg_marks_commit(struct tr_pg_marks *marks, struct tr_batch *batch,
                                  struct tr_event **event, struct tr_error *err);
/* The LSN that a mark holds, 0 if there is none. */
uint64_t tr_pg_mark_lsn(const struct tr_state *state, const char *key_format, ...)
    __attribute__((format(printf, 2, 3)));
const char *tr_pg_mark_get(const struct tr_state *state, const char *key_format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
