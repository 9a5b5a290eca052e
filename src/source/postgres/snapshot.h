/* The copy of the tables: its plan and its readers' state. Private to snapshot_plan.c and
 * snapshot.c. */
#ifndef TR_SOURCE_POSTGRES_SNAPSHOT_H
#define TR_SOURCE_POSTGRES_SNAPSHOT_H

#include "source/postgres/source.h"

/* A table or partition that holds rows. */
struct tr_pg_leaf {
    uint32_t oid;
    uint32_t filenode;
    const char *schema, *name;
    int64_t pages;
    uint32_t chunk_pages; /* 0: one chunk holds all */
    uint32_t chunk_count;
};

enum tr_pg_job_kind {
    TR_PG_JOB_CHUNK,  /* pages of one leaf */
    TR_PG_JOB_REREAD, /* the same, only rows that changed since an older snapshot */
    TR_PG_JOB_RELOAD  /* the whole table again, emptied first */
};
struct tr_pg_job {
    enum tr_pg_job_kind kind;
    uint32_t table;                  /* index into tables */
    uint32_t leaf_first, leaf_count; /* into that table's leaves; one unless RELOAD */
    uint32_t chunk;
    uint32_t since_xmin; /* REREAD */
    int64_t pages;       /* for the order: large ones first */
};
struct tr_pg_copy {
    const struct tr_pg_relation *relation;
    const struct tr_table *table; /* the relation's, borrowed */
    struct tr_pg_leaf *leaves;
    uint32_t leaf_count;
    uint64_t skip_lsn, soft_lsn; /* marks to set, 0 none */
    int64_t pages;
    bool binary;    /* rows are given as binary tuples: the sinks have accepted that */
    bool by_leaves; /* PostgreSQL 12: the leaves of a root are published, and known, one by one */
    _Atomic uint32_t jobs_left;
    _Atomic bool first_row_given;
};

enum tr_pg_reader_state {
    TR_PG_READER_CONNECT,
    TR_PG_READER_PLAN, /* reader 0: all tables are announced, and the plan is committed */
    TR_PG_READER_TAKE,
    TR_PG_READER_BEGIN, /* transaction, lock, check */
    TR_PG_READER_ASK,   /* COPY was sent */
    TR_PG_READER_COPY,
    TR_PG_READER_END,
    TR_PG_READER_DONE
};
struct tr_pg_reader {
    struct tr_pg_conn conn;
    bool begun;            /* it has taken its first job */
    int64_t turn_until_ms; /* the longest wait for reader 0 (tr_clock_mono_ms) */
    enum tr_pg_reader_state state;
    uint32_t announced;   /* PLAN: tables announced so far */
    bool *announced_here; /* per table: this reader has put its CREATE TABLE */
    bool *mark_given;     /* per table: this reader has given table/OID */
    const struct tr_pg_job *job;
    bool header_seen; /* of this job's COPY, binary */
    uint32_t row_index;
    bool piece_ended;      /* of a table in several: the batch goes on its way */
    uint64_t rows_counted; /* not yet in the progress */
    int64_t batch_us;      /* time of reading, taken once a call */
    bool table_held;       /* the batch has a reference on the job's table */
};

struct tr_pg_snapshot {
    struct tr_arena arena;
    struct tr_pg_conn exporter;
    char name[TR_PG_SNAPSHOT_NAME_BYTES];
    uint64_t lsn;
    uint32_t xmin;
    uint32_t number; /* N of snapshot/N */
    struct tr_pg_copy *copies;
    uint32_t copy_count;
    struct tr_pg_job *jobs;
    uint32_t job_count, job_capacity;
    struct tr_pg_reader *readers;
    unsigned reader_count;
    _Atomic uint32_t next_job; /* those below reader_count are the readers' first ones */
    _Atomic bool rows_flow;    /* reader 0 has given rows, or has ended its first job */
    _Atomic uint32_t jobs_done;
    _Atomic bool first_row_given;
};

/* What is to be copied with the catalog as loaded. TR_END: nothing is. snapshot->number and lsn are
 * set by the caller. */
enum tr_status tr_pg_plan(struct tr_pg_source *source, struct tr_pg_snapshot *snapshot,
                          struct tr_error *err);
/* Asks the sinks which tables may be copied as binary tuples. */
enum tr_status tr_pg_plan_binary(struct tr_pg_source *source, struct tr_pg_snapshot *snapshot,
                                 struct tr_error *err);
/* The statements of a job, in two simple queries: transaction, lock and check, which gives one row
 * that must be 0; then COPY and the end of the transaction. */
void tr_pg_job_begin_sql(const struct tr_pg_snapshot *snapshot, const struct tr_pg_job *job,
                         struct tr_outbuf *sql);
void tr_pg_job_copy_sql(const struct tr_pg_snapshot *snapshot, const struct tr_pg_job *job,
                        struct tr_outbuf *sql);

#endif
