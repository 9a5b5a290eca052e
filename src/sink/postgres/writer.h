/* The PostgreSQL sink's inside: the sink (shared, immutable after open, but for its control link)
 * and the writer (one thread). See writer.c for the state machine. */
#ifndef TR_SINK_POSTGRES_WRITER_H
#define TR_SINK_POSTGRES_WRITER_H

#include "event/pending_marks.h"
#include "sink/postgres/array.h"
#include "sink/postgres/changes.h"
#include "sink/postgres/postgres.h"

#define TR_PGS_SCAN_LINKS_KEPT 4

struct tr_pgs_sink {
    const struct tr_pgs_options *options;
    bool sslmode_given;
    bool checking;
    bool shared; /* other processes of this pipeline write too */
    struct tr_mark_guard loaded; /* what load_marks found; the writer goes on from it */
    char *pipeline_name;
    const char *position_schema, *position_table;
    int wake_fd;                /* eventfd: readable for good after interrupt() */
    struct tr_pgs_link control; /* marks, preflight; opened by open */
    struct tr_pgs_link idle_scans[TR_PGS_SCAN_LINKS_KEPT];
    unsigned idle_scan_count;
};

struct tr_pgs_map {               /* source table (schema version) → layout */
    const struct tr_table *table; /* reference held; NULL: free slot */
    struct tr_pgs_layout *layout;
};

#define TR_PGS_COPY_LINES_MAX 4096
struct tr_pgs_load { /* the COPY under way */
    bool active;
    bool raw;    /* the last row was a raw line or tuple */
    bool binary; /* it is of binary tuples */
    struct tr_pgs_layout *layout;
    struct tr_pgs_shape *shape;
    struct tr_outbuf out;
    struct tr_slice run; /* adjacent raw rows that are not yet sent */
    uint64_t line;       /* rows sent so far */
    struct {
        uint64_t line, seq; /* from this line on: its seq; lines and seqs go in step */
    } lines[TR_PGS_COPY_LINES_MAX];
    uint32_t line_count;
};

struct tr_pgs_bucket { /* rows of one group, kind and shape: one statement */
    uint32_t group, first, count;
    uint8_t kind;
    bool copy;
    long affected;
};

#define TR_PGS_MARK_ARRAYS 4
struct tr_pgs_writer {
    struct tr_pgs_sink *sink;
    struct tr_pgs_link link;
    unsigned partition;
    bool failed; /* a call failed in a way that cannot be gone on from */

    struct tr_pgs_target *targets;
    struct tr_pgs_layout *layouts;
    struct tr_pgs_map *maps; /* hash table by pointer */
    uint32_t map_count, map_capacity;
    struct tr_pgs_map last_map;

    struct tr_pgs_changes changes, spare;
    size_t boundary_count; /* changes before the last COMMIT event */
    uint64_t boundary_seq; /* of the last COMMIT event */
    uint64_t durable_seq;
    struct tr_pending_marks marks;
    struct tr_mark_guard guard;
    struct tr_pgs_stmt marks_set, marks_guarded, marks_erase;
    struct tr_outbuf mark_arrays[TR_PGS_MARK_ARRAYS];

    bool deleted_ready;       /* tailrace_deleted is there */
    int64_t deleted_swept_ms; /* tr_clock_mono_ms of its last sweep, 0 none */
    struct tr_outbuf newest_arrays[3], key_text;

    bool in_transaction;
    bool beyond; /* the open transaction holds something behind the last COMMIT event */

    struct tr_pgs_groups groups;
    struct tr_pgs_bucket *buckets;
    uint32_t bucket_count, bucket_capacity;
    struct tr_outbuf *columns; /* scratch: one array per column, … */
    struct tr_pgs_params params;
    tr_pgs_value_fn *value_fns; /* of a COPY's columns */
    uint32_t column_capacity;
    const struct tr_cell **cells; /* … and the cells of one of them */
    uint32_t cell_capacity;
    struct tr_outbuf sql;

    struct tr_pgs_load load;
};

/* ---- writer.c ---- */
/* The layout of a table of the events; describes the target at first sight. */
enum tr_status tr_pgs_writer_layout(struct tr_pgs_writer *writer, const struct tr_table *table,
                                    struct tr_pgs_layout **out,
                                    struct tr_error *err) TR_WARN_UNUSED;
/* Forgets what is known of the target named by an ID (it changed). Nothing may be buffered for it.
 */
void tr_pgs_writer_forget(struct tr_pgs_writer *writer, const struct tr_table_id *id);
/* The target's schema for an ID: the option, the ID's, or public. */
const char *tr_pgs_schema_of(const struct tr_pgs_sink *sink, const struct tr_table_id *id);
enum tr_status tr_pgs_writer_begin(struct tr_pgs_writer *writer,
                                   struct tr_error *err) TR_WARN_UNUSED;
/* Everything up to the last COMMIT event into the target, durable. */
enum tr_status tr_pgs_writer_commit(struct tr_pgs_writer *writer,
                                    struct tr_error *err) TR_WARN_UNUSED;
/* Commits what may be committed and applies the rest: after it nothing is buffered, no COPY is
 * open. */
enum tr_status tr_pgs_writer_settle(struct tr_pgs_writer *writer,
                                    struct tr_error *err) TR_WARN_UNUSED;
/* How a transaction begins; the same text in a pipeline and alone. */
#define TR_PGS_BEGIN "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"
#define TR_PGS_DEFER "SET CONSTRAINTS ALL DEFERRED"

/* ---- apply.c ---- */
/* Applies changes [0, count) in the open transaction, or opens one. */
enum tr_status tr_pgs_apply(struct tr_pgs_writer *writer, size_t count,
                            struct tr_error *err) TR_WARN_UNUSED;
enum tr_status tr_pgs_truncate(struct tr_pgs_writer *writer, const struct tr_event *events,
                               size_t count, struct tr_error *err) TR_WARN_UNUSED;

/* ---- params.c: parameters of a statement, in the writer's scratch ---- */
/* Room for `count` parameters. */
enum tr_status tr_pgs_params_reserve(struct tr_pgs_writer *writer, uint32_t count,
                                     struct tr_error *err) TR_WARN_UNUSED;
void tr_pgs_params_free(struct tr_pgs_writer *writer);
/* Makes room in writer->cells for the cells of one column. */
enum tr_status tr_pgs_params_cells(struct tr_pgs_writer *writer, uint32_t count,
                                   struct tr_error *err) TR_WARN_UNUSED;
/* Parameter `index` is the array of writer->cells[0, count), values of a source column. */
enum tr_status tr_pgs_params_array(struct tr_pgs_writer *writer, uint32_t index,
                                   const struct tr_pgs_layout *layout, uint16_t column,
                                   uint32_t count, struct tr_error *err) TR_WARN_UNUSED;

/* ---- copy.c ---- */
/* Copies rows[order[i].row], i < count, into the table. When it fails with *odd, the same rows would go
 * as text. */
enum tr_status tr_pgs_copy_rows(struct tr_pgs_writer *writer, struct tr_pgs_layout *layout,
                                struct tr_pgs_shape *shape, const struct tr_pgs_row *rows,
                                const struct tr_pgs_order *order, uint32_t count, bool *odd,
                                struct tr_error *err) TR_WARN_UNUSED;

/* ---- load.c ---- */
/* What stands before and behind the tuples of a binary COPY: signature, no flags, no extension; and
 * a count of fields of -1 (the manual's page on COPY, "Binary Format"). */
#define TR_PGS_COPY_HEADER "PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\0"
#define TR_PGS_COPY_HEADER_BYTES (sizeof TR_PGS_COPY_HEADER - 1)
#define TR_PGS_COPY_TRAILER "\377\377"
_Static_assert(TR_PGS_COPY_HEADER_BYTES == 19, "as COPY has it");
/* One READ event: copied straight in (*merge false), or to be buffered like a change (*merge true).
 */
enum tr_status tr_pgs_load_row(struct tr_pgs_writer *writer, struct tr_pgs_layout *layout,
                               const struct tr_event *event, bool *merge,
                               struct tr_error *err) TR_WARN_UNUSED;
/* Before the memory of the events is gone. */
enum tr_status tr_pgs_load_detach(struct tr_pgs_writer *writer,
                                  struct tr_error *err) TR_WARN_UNUSED;
enum tr_status tr_pgs_load_end(struct tr_pgs_writer *writer, struct tr_error *err) TR_WARN_UNUSED;

/* ---- ddl.c ---- */
enum tr_status tr_pgs_ddl(struct tr_pgs_writer *writer, const struct tr_event *event,
                          struct tr_error *err) TR_WARN_UNUSED;
/* The CREATE TABLE statement for a table under a quoted name. */
enum tr_status tr_pgs_create_sql(struct tr_pgs_link *link, const struct tr_table *table,
                                 const char *quoted, struct tr_outbuf *out,
                                 struct tr_error *err) TR_WARN_UNUSED;
/* ---- ddl_types.c ---- */
/* The target's type for a column, as SQL. */
enum tr_status tr_pgs_column_type(struct tr_pgs_link *link, const struct tr_column *column,
                                  struct tr_outbuf *out, struct tr_error *err) TR_WARN_UNUSED;

/* ---- position.c ---- */
/* Queues the statements that store the pending marks. The guarded ones have the tag `guard_tag`: it
 * fails with TR_PGS_GUARD_SQLSTATE when another process has written. */
enum tr_status tr_pgs_marks_queue(struct tr_pgs_writer *writer, uint32_t tag, uint32_t guard_tag,
                                  struct tr_error *err) TR_WARN_UNUSED;
#define TR_PGS_GUARD_SQLSTATE "22012" /* division by zero: how plain SQL says no */
enum tr_status tr_pgs_position_create(struct tr_pgs_sink *sink,
                                      struct tr_error *err) TR_WARN_UNUSED;
enum tr_status tr_pgs_position_load(struct tr_pgs_sink *sink, struct tr_state *marks,
                                    struct tr_error *err) TR_WARN_UNUSED;
enum tr_status tr_pgs_position_drop(struct tr_pgs_sink *sink, tr_report_fn report, void *report_ctx,
                                    struct tr_error *err) TR_WARN_UNUSED;
/* Holds the pipeline's lock with this session, after those of an earlier life have ended. */
enum tr_status tr_pgs_position_lock(struct tr_pgs_sink *sink, struct tr_pgs_link *link,
                                    unsigned partition, struct tr_error *err) TR_WARN_UNUSED;
enum tr_status tr_pgs_position_unlock(struct tr_pgs_sink *sink, struct tr_pgs_link *link,
                                      unsigned partition, struct tr_error *err) TR_WARN_UNUSED;
/* Appends "schema"."table" of the position table. */
void tr_pgs_position_name(struct tr_pgs_sink *sink, struct tr_pgs_link *link,
                          struct tr_outbuf *out);

/* ---- newest.c: tables with a version, last write wins ---- */
#define TR_PGS_DELETED_TABLE "tailrace_deleted"
/* Queues what brings rows[order[i].row] (rows[i] without an order) to the target, one set of equal
 * kind and shape. */
enum tr_status tr_pgs_newest_queue(struct tr_pgs_writer *writer, struct tr_pgs_layout *layout,
                                   struct tr_pgs_shape *shape, enum tr_pgs_row_kind kind,
                                   const struct tr_pgs_row *rows, const struct tr_pgs_order *order,
                                   uint32_t count, uint32_t tag,
                                   struct tr_error *err) TR_WARN_UNUSED;
/* One change, in the order of the source. */
enum tr_status tr_pgs_newest_change(struct tr_pgs_writer *writer,
                                    const struct tr_pgs_change *change, uint32_t tag,
                                    struct tr_error *err) TR_WARN_UNUSED;
/* Can the table's version decide which row is newer, in this target? */
enum tr_status tr_pgs_newest_check(const struct tr_pgs_target *target, const struct tr_table *table,
                                   struct tr_error *err) TR_WARN_UNUSED;
/* Makes tailrace_deleted when absent. */
enum tr_status tr_pgs_deleted_create(struct tr_pgs_writer *writer,
                                     struct tr_error *err) TR_WARN_UNUSED;
/* Queues the removal of what is older than tombstone.retention, when it is time. */
enum tr_status tr_pgs_deleted_sweep(struct tr_pgs_writer *writer, uint32_t tag,
                                    struct tr_error *err) TR_WARN_UNUSED;
/* The table was renamed (to), or is no more what it was (to NULL): its deletions follow. */
enum tr_status tr_pgs_deleted_move(struct tr_pgs_writer *writer, const struct tr_table_id *from,
                                   const struct tr_table_id *to,
                                   struct tr_error *err) TR_WARN_UNUSED;
/* Is there a table of this name in the schema of our own tables? */
enum tr_status tr_pgs_own_table_exists(const struct tr_pgs_sink *sink, struct tr_pgs_link *link,
                                       const char *table, bool *found,
                                       struct tr_error *err) TR_WARN_UNUSED;

/* ---- sink.c, validate.c, scan.c ---- */
enum tr_status tr_pgs_sink_link(struct tr_pgs_sink *sink, struct tr_pgs_link *link,
                                enum tr_pgs_purpose purpose, struct tr_error *err) TR_WARN_UNUSED;
/* The control link, connected again if it was lost. */
enum tr_status tr_pgs_sink_control(struct tr_pgs_sink *sink, struct tr_error *err) TR_WARN_UNUSED;
enum tr_status tr_pgs_validate(void *self, const struct tr_table *const *tables, size_t table_count,
                               tr_report_fn report, void *report_ctx, struct tr_error *err);
extern const struct tr_scan_ops tr_pgs_scan_ops;
/* writer.c: the writer's part of the sink's operations. */
enum tr_status tr_pgs_writer_open(void *self, unsigned partition, void **out, struct tr_error *err);
enum tr_status tr_pgs_writer_apply(void *self, const struct tr_event *event, struct tr_error *err);
enum tr_status tr_pgs_writer_write(void *self, const struct tr_event *events, size_t event_count,
                                   struct tr_error *err);
enum tr_status tr_pgs_writer_flush(void *self, int timeout_ms, struct tr_error *err);
uint64_t tr_pgs_writer_durable_seq(void *self);
void tr_pgs_writer_close(void *self);

#endif
