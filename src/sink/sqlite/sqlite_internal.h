/* Inside of the SQLite sink, shared by its files only.
 *
 *   sqlite_sink.c     options, open, validate, load_marks, drop, writer life, the ops table
 *   sqlite_write.c    transactions, flush
 *   sqlite_buffer.c   changes that wait, and the order in which they are written
 *   sqlite_rows.c     the statements of one row event
 *   sqlite_tables.c   cache of prepared statements per schema version
 *   sqlite_marks.c    the position table
 *   sqlite_newest.c   rows of tables with a version: last write wins
 *   sqlite_deleted.c  the deletions that last write wins remembers
 *   sqlite_apply.c    schema changes
 *   sqlite_convert.c  values after a type change
 *   sqlite_shape.c    what a target table looks like, and what is wrong with it
 *   sqlite_value.c    cells ↔ SQLite's values
 *   sqlite_scan.c     reading back in key order
 *   sqlite_errors.c   SQLite's result codes → error codes */
#ifndef TR_SINK_SQLITE_INTERNAL_H
#define TR_SINK_SQLITE_INTERNAL_H

#include <sqlite3.h>
#include <stdatomic.h>

#include "base/arena.h"
#include "base/metric.h"
#include "base/outbuf.h"
#include "event/pending_marks.h"
#include "tailrace/sink.h"

#define SQLITE_COLUMNS_MAX 2000 /* SQLite's default SQLITE_MAX_COLUMN */
#define POSITION_TABLE "tailrace_position"

/* A checkpoint comes when so many pages of 4 KiB are in the WAL. Larger ones write a page less
 * often and hold a commit up for longer, so they are for when many changes come. */
#define CHECKPOINT_PAGES 8192
#define CHECKPOINT_PAGES_BUSY 32768

/* ---- options -------------------------------------------------------------------------------- */

enum sqlite_synchronous { SYNC_FULL, SYNC_NORMAL };
enum sqlite_journal { JOURNAL_WAL, JOURNAL_DELETE };

struct sqlite_options {
    const char *path;
    int synchronous; /* enum sqlite_synchronous */
    int journal;     /* enum sqlite_journal */
    bool create_tables;
    int64_t busy_timeout_ms;
    int64_t cache_bytes;
    int64_t commit_rows;
    int64_t commit_ms;
    int64_t commit_bytes;
    int64_t tombstone_retention_ms; /* 0: for ever */
};

/* ---- values --------------------------------------------------------------------------------- */

/* How a logical type lies in the file. */
enum sqlite_storage {
    STORE_BOOL, /* INTEGER 0 or 1 */
    STORE_INT,  /* INTEGER */
    STORE_UINT, /* INTEGER, above int64 TEXT */
    STORE_REAL, /* REAL; NaN is TEXT 'NaN', negative zero is BLOB '-0' */
    STORE_TEXT, /* the canonical text */
    STORE_TSTZ, /* the canonical text with +00:00 for +00, which SQLite's date functions read */
    STORE_BLOB  /* BLOB */
};
enum sqlite_affinity { AFF_INTEGER, AFF_TEXT, AFF_BLOB, AFF_REAL, AFF_NUMERIC };

struct sqlite_value {
    int kind; /* SQLITE_NULL, SQLITE_INTEGER, SQLITE_FLOAT, SQLITE_TEXT, SQLITE_BLOB */
    int64_t integer;
    double real;
    const char *ptr;
    size_t len;
};
enum sqlite_store_result { STORED, STORE_MALFORMED, STORE_NO_MEMORY };

enum sqlite_storage tr_sqlite_storage(enum tr_type type);
/* Declared type of a column that the sink makes. */
const char *tr_sqlite_declared(enum tr_type type);
enum sqlite_affinity tr_sqlite_affinity(const char *declared);
/* Whether values of `type` survive a column of this affinity unchanged (and in order, for a key).
 */
bool tr_sqlite_affinity_keeps(enum sqlite_affinity affinity, enum tr_type type, bool in_key);
/* Cell (NULL, TEXT or BINARY) → value; may point into the cell or into scratch. */
enum sqlite_store_result tr_sqlite_store(enum tr_type type, const struct tr_cell *cell,
                                         struct tr_arena *scratch, struct sqlite_value *value);
/* Value → canonical cell; may point into the value or into scratch. false: no memory. */
bool tr_sqlite_load(enum tr_type type, const struct sqlite_value *value, struct tr_arena *scratch,
                    struct tr_cell *cell);
/* Shortest text that reads back to the same number, as PostgreSQL 12+ prints it. */
void tr_sqlite_format_real(double real, bool single, char buf[32]);
int tr_sqlite_bind(sqlite3_stmt *stmt, int index, const struct sqlite_value *value);
/* An SQL literal. */
void tr_sqlite_literal(struct tr_outbuf *sql, const struct sqlite_value *value);
/* Collations tailrace_decimal and tailrace_time and the function tailrace_convert. */
int tr_sqlite_register(sqlite3 *db);
int tr_sqlite_register_convert(sqlite3 *db);
/* Does a type change alter how existing values are stored or printed? */
bool tr_sqlite_conversion_needed(const struct tr_column *before, const struct tr_column *after);
/* Appends tailrace_convert("column", …). */
void tr_sqlite_convert_call(struct tr_outbuf *sql, const char *name, const struct tr_column *before,
                            const struct tr_column *after);
/* "name" with quotes doubled. */
void tr_sqlite_quote(struct tr_outbuf *sql, const char *name);

/* ---- errors --------------------------------------------------------------------------------- */

enum tr_status tr_sqlite_fail(struct tr_error *err, sqlite3 *db, int rc, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
enum tr_status tr_sqlite_no_memory(struct tr_error *err);
/* Runs SQL text; `what` completes "could not …". */
enum tr_status tr_sqlite_exec(sqlite3 *db, const char *sql, const char *what, struct tr_error *err);
enum tr_status tr_sqlite_exec_buf(sqlite3 *db, struct tr_outbuf *sql, const char *what,
                                  struct tr_error *err);
/* Runs a prepared statement that gives no rows, and resets it. */
enum tr_status tr_sqlite_step(sqlite3 *db, sqlite3_stmt *stmt, const char *what,
                              struct tr_error *err);
enum tr_status tr_sqlite_prepare(sqlite3 *db, const char *sql, bool persistent, sqlite3_stmt **stmt,
                                 const char *what, struct tr_error *err);

/* ---- shapes --------------------------------------------------------------------------------- */

struct shape_column {
    const char *name;
    const char *declared;
    const char *default_sql; /* or NULL */
    enum sqlite_affinity affinity;
    bool not_null;
    bool generated;
    int pk; /* 1-based place in the primary key, 0 none */
};
/* What the file holds under a table's name. */
struct shape {
    struct tr_arena arena;
    const char *name; /* as stored */
    const char *sql;
    bool is_view;
    struct shape_column *columns;
    size_t count;
    int pk_count;
};
/* TR_END: there is no such table. On TR_OK free it with tr_sqlite_shape_free. */
enum tr_status tr_sqlite_shape_load(sqlite3 *db, const char *name, struct shape *shape,
                                    struct tr_error *err);
void tr_sqlite_shape_free(struct shape *shape);
/* Index of a column (case-insensitive as SQLite is), -1 when absent. */
int tr_sqlite_shape_column(const struct shape *shape, const char *name);
/* Name and columns alone: what can be said without the file. */
enum tr_status tr_sqlite_check_names(const struct tr_table *table, struct tr_error *err);
/* Can the table's version column decide which row is newer? */
enum tr_status tr_sqlite_check_version(const struct tr_table *table, struct tr_error *err);
/* The existing target against the table, in the order: name, key, extra columns, types. */
enum tr_status tr_sqlite_check_target(sqlite3 *db, const struct tr_table *table,
                                      const struct shape *shape, struct tr_error *err);
/* Only the types: the first column whose values would change, -1 if none. */
int tr_sqlite_check_types(const struct tr_table *table, const struct shape *shape);
/* Can the table be made anew without losing a constraint that the sink did not make? */
bool tr_sqlite_shape_is_plain(const struct shape *shape);
void tr_sqlite_create_sql(struct tr_outbuf *sql, const struct tr_table *table);

/* ---- the sink ------------------------------------------------------------------------------- */

struct sqlite_sink {
    const struct sqlite_options *options;
    char *path;   /* absolute */
    char *folder; /* of path */
    char *pipeline;
    bool checking;
    _Atomic bool interrupted;    /* ends a wait for a lock */
    struct tr_mark_guard loaded; /* what load_marks found; the writer goes on from it */
    sqlite3 *db; /* marks, validate and scans; NULL when checking and the file is absent */
};

/* Opens a connection with the sink's settings. create: make the file when absent. */
enum tr_status tr_sqlite_connect(struct sqlite_sink *sink, bool create, bool writing, sqlite3 **db,
                                 struct tr_error *err);
enum tr_status tr_sqlite_position_table(sqlite3 *db, struct tr_error *err);

/* ---- marks ---------------------------------------------------------------------------------- */

struct sqlite_marks {
    struct tr_pending_marks pending;
    struct tr_mark_guard guard;
    sqlite3_stmt *get, *set, *erase, *erase_prefix;
    const struct sqlite_sink *sink;
};
enum tr_status tr_sqlite_marks_open(struct sqlite_marks *marks, sqlite3 *db,
                                    const struct sqlite_sink *sink, struct tr_error *err);
void tr_sqlite_marks_close(struct sqlite_marks *marks);
/* Into the open transaction. SINK_POSITION_CONFLICT: another process has written. */
enum tr_status tr_sqlite_marks_write(struct sqlite_marks *marks, sqlite3 *db, struct tr_error *err);

/* ---- remembered deletions (sqlite_deleted.c) ------------------------------------------------ */

#define DELETED_TABLE "tailrace_deleted"
struct sqlite_deleted {
    sqlite3_stmt *find, *set, *erase, *sweep; /* NULL: not needed yet */
    int64_t swept_ms;                         /* tr_clock_mono_ms of the last sweep, 0 none */
};
struct sqlite_writer;
/* Makes the table when absent, and the statements. */
enum tr_status tr_sqlite_deleted_open(struct sqlite_writer *writer, struct tr_error *err);
void tr_sqlite_deleted_close(struct sqlite_deleted *deleted);
/* *found: there is one; its version's key in *version, valid until the next call. */
enum tr_status tr_sqlite_deleted_find(struct sqlite_writer *writer, const char *target,
                                      struct tr_slice key, struct tr_outbuf *version, bool *found,
                                      struct tr_error *err);
enum tr_status tr_sqlite_deleted_set(struct sqlite_writer *writer, const char *target,
                                     struct tr_slice key, struct tr_slice version,
                                     struct tr_error *err);
enum tr_status tr_sqlite_deleted_erase(struct sqlite_writer *writer, const char *target,
                                       struct tr_slice key, struct tr_error *err);
/* Takes away what is older than tombstone.retention, now and then; in the open transaction. */
enum tr_status tr_sqlite_deleted_sweep(struct sqlite_writer *writer, struct tr_error *err);
/* The target was renamed (to), or is no more what it was (to NULL): its deletions follow. */
enum tr_status tr_sqlite_deleted_move(sqlite3 *db, const char *from, const char *to,
                                      struct tr_error *err);

/* ---- tables --------------------------------------------------------------------------------- */

#define TABLE_CACHE_MAX 256 /* schema versions with prepared statements */
#define TABLE_CACHE_BUCKETS 512
#define VARIANTS_MAX 16 /* statements for rows with missing cells, per schema version */

enum variant_kind {
    VARIANT_UPSERT,     /* insert the columns of the mask, on conflict update them */
    VARIANT_UPDATE,     /* set the columns of the mask but the key, by key */
    VARIANT_UPDATE_KEY, /* set the columns of the mask, the key too, by key */
    VARIANT_FIND,       /* keyless: rowid of one row that equals the columns of the mask */
    VARIANT_UPDATE_ROW  /* keyless: set the columns of the mask by rowid */
};
struct table_variant {
    enum variant_kind kind;
    uint8_t *mask; /* a byte a column */
    sqlite3_stmt *stmt;
    uint64_t used_at;
};
struct table_entry {
    const struct tr_table *table; /* reference held */
    struct table_entry *next;     /* in its bucket */
    uint64_t used_at;
    enum tr_type *types;    /* per column */
    const char *rowid_name; /* keyless */
    sqlite3_stmt *upsert;   /* all columns */
    sqlite3_stmt *update;   /* all columns but the key, by key; NULL when there are none */
    sqlite3_stmt *erase;    /* by key; keyless: by rowid */
    sqlite3_stmt *truncate;
    sqlite3_stmt *version;  /* of the row of a key; NULL: a table without versions */
    bool sortable;          /* see tr_sqlite_sortable */
    int64_t schema_version; /* of the file when that was found */
    uint32_t slot;          /* in the buffer, when slot_round is the buffer's round */
    uint64_t slot_round;
    struct table_variant variants[VARIANTS_MAX];
    uint8_t *mask; /* scratch of the current row, a byte a column */
};
/* Which source table writes into a target name. */
struct table_owner {
    char *target, *namespace, *schema;
};

/* ---- changes that wait (sqlite_buffer.c) ---------------------------------------------------- */

#define BUFFER_KEEP_BYTES (1u << 20)      /* more is given back when it is not needed any more */
#define BUFFER_ROW_BYTES_MAX (256u << 10) /* a larger row is written at once */
#define BUFFER_SLOTS_MAX 4096u            /* schema versions in the buffer */
#define BUFFER_GROUPS_MAX (1u << 30)
struct buffer_slot;
struct buffer_item;
struct sqlite_buffer {
    struct tr_outbuf data;           /* records */
    size_t count;                    /* of records */
    size_t boundary, boundary_count; /* bytes and records before the last COMMIT event */
    struct buffer_slot *slots;
    uint32_t slot_count, slot_capacity;
    uint32_t group_next;
    bool keys_void; /* order can show by now: what is in the buffer is written as it came */
    uint64_t round; /* counts how often the slots were cleared */
    struct buffer_item *items, *spare; /* the order */
    size_t item_capacity;
    struct tr_cell *before, *after; /* of the event in work */
};

struct sqlite_writer {
    struct sqlite_sink *sink;
    sqlite3 *db;
    sqlite3_stmt *begin, *commit, *schema_version;
    struct sqlite_buffer buffer;
    int64_t triggers_version; /* schema version of has_triggers; -1: not known */
    bool has_triggers;
    struct sqlite_marks marks;
    struct sqlite_deleted deleted;
    struct tr_outbuf key_text, version, old_version; /* of the row in work */
    struct table_entry *buckets[TABLE_CACHE_BUCKETS];
    size_t entry_count;
    uint64_t clock; /* counts look-ups: least recently used */
    struct table_entry *last;
    struct table_owner *owners;
    size_t owner_count, owner_capacity;
    struct tr_arena scratch; /* reset per row */
    struct tr_outbuf sql;
    bool in_transaction; /* ours is open */
    bool inside_source;  /* rows or DDL came since the last COMMIT event */
    bool beyond;         /* the open transaction holds a part of a source transaction whose COMMIT
                            has not come, and nothing else */
    int64_t txn_changes; /* rows, schema changes and early marks in it */
    int64_t gathered;    /* changes since the last commit */
    int64_t gather_begin_ms;                               /* of the first of them */
    int64_t write_ms;                                      /* when the last events came */
    int64_t commit_end_ms, commit_took_ms, commit_changes; /* of the last commit */
    int checkpoint_pages;
    uint64_t accepted_seq;  /* last COMMIT event */
    uint64_t committed_seq; /* visible in the file */
    _Atomic uint64_t durable_seq;
    int wal_fd;     /* for fdatasync; -1 not open */
    bool half_done; /* a part of the buffer is in the open transaction: it cannot stand */
    bool poisoned;
    struct tr_error poison;           /* what broke the writer: every later call repeats it */
    int64_t rows_missing, rows_older; /* since the last metric update */
};

enum tr_status tr_sqlite_buffer_open(struct sqlite_buffer *buffer, struct tr_error *err);
void tr_sqlite_buffer_free(struct sqlite_buffer *buffer);
/* Copies a row event. TR_END: not taken, it has to be written as it is (and will be refused): its
 * key or a value is missing or malformed. */
enum tr_status tr_sqlite_buffer_add(struct sqlite_writer *writer, struct table_entry *entry,
                                    const struct tr_event *event, struct tr_error *err);
bool tr_sqlite_buffer_full(const struct sqlite_buffer *buffer, int64_t bytes_max);
/* A COMMIT event: what is there now is whole. */
void tr_sqlite_buffer_boundary(struct sqlite_buffer *buffer);
/* In the open transaction: *as_arrived, the file's schema changed so that order can show. */
enum tr_status tr_sqlite_buffer_check(struct sqlite_writer *writer, bool *as_arrived,
                                      struct tr_error *err);
/* Puts the first `count` records into order; then tr_sqlite_buffer_event gives them one by one
 * (false: the next one makes this one void), valid until the next call. */
enum tr_status tr_sqlite_buffer_sort(struct sqlite_writer *writer, size_t count, bool as_arrived,
                                     struct tr_error *err);
bool tr_sqlite_buffer_event(struct sqlite_writer *writer, size_t index, size_t count,
                            struct tr_event *event);
/* Forgets the first `count` records, which take `bytes`. */
void tr_sqlite_buffer_drop(struct sqlite_buffer *buffer, size_t bytes, size_t count);

enum tr_status tr_sqlite_schema_version(struct sqlite_writer *writer, int64_t *version,
                                        struct tr_error *err);
/* May changes of different keys of this target change places? When it has a key and no other
 * uniqueness, and no trigger is in the file. Foreign keys are not enforced on our connection. */
enum tr_status tr_sqlite_sortable(struct sqlite_writer *writer, const struct tr_table *table,
                                  bool *sortable, struct tr_error *err);
enum tr_status tr_sqlite_entry(struct sqlite_writer *writer, const struct tr_table *table,
                               struct table_entry **entry, struct tr_error *err);
enum tr_status tr_sqlite_variant(struct sqlite_writer *writer, struct table_entry *entry,
                                 enum variant_kind kind, sqlite3_stmt **stmt, struct tr_error *err);
/* Forgets every statement on this target name (NULL: all). */
void tr_sqlite_entries_drop(struct sqlite_writer *writer, const char *target);
/* Registers the table as the one that writes into its target; refuses a second one. */
enum tr_status tr_sqlite_own(struct sqlite_writer *writer, const struct tr_table_id *id,
                             struct tr_error *err);
void tr_sqlite_disown(struct sqlite_writer *writer, const struct tr_table_id *id);
void tr_sqlite_owners_free(struct sqlite_writer *writer);

/* sqlite_rows.c */
enum tr_status tr_sqlite_write_row(struct sqlite_writer *writer, const struct tr_event *event,
                                   struct tr_error *err);
bool tr_sqlite_has_value(const struct tr_cell *cell);
enum tr_status tr_sqlite_bind_key(struct sqlite_writer *writer, struct table_entry *entry,
                                  sqlite3_stmt *stmt, const struct tr_cell *cells,
                                  const struct tr_cell *other, struct tr_error *err);
enum tr_status tr_sqlite_write_upsert(struct sqlite_writer *writer, struct table_entry *entry,
                                      const struct tr_cell *cells, struct tr_error *err);
enum tr_status tr_sqlite_write_update(struct sqlite_writer *writer, struct table_entry *entry,
                                      const struct tr_event *event, struct tr_error *err);
enum tr_status tr_sqlite_write_delete(struct sqlite_writer *writer, struct table_entry *entry,
                                      const struct tr_cell *key, const struct tr_cell *other,
                                      struct tr_error *err);
/* sqlite_newest.c: one row event of a table with a version. */
enum tr_status tr_sqlite_write_newest(struct sqlite_writer *writer, struct table_entry *entry,
                                      const struct tr_event *event, struct tr_error *err);

enum tr_status tr_sqlite_begin(struct sqlite_writer *writer, struct tr_error *err);
/* Commits what came before the last COMMIT event, and puts what came behind it into a transaction
 * of its own, which stays open. */
enum tr_status tr_sqlite_settle(struct sqlite_writer *writer, struct tr_error *err);
enum tr_status tr_sqlite_failpoint_error(const char *name, int number, struct tr_error *err);
/* After an error: rolls back and poisons unless the error concerns one row or one change only. */
enum tr_status tr_sqlite_broken(struct sqlite_writer *writer, struct tr_error *err);

enum tr_status tr_sqlite_writer_apply(void *writer, const struct tr_event *event,
                                      struct tr_error *err);
enum tr_status tr_sqlite_writer_write(void *writer, const struct tr_event *events,
                                      size_t event_count, struct tr_error *err);
enum tr_status tr_sqlite_writer_flush(void *writer, int timeout_ms, struct tr_error *err);
uint64_t tr_sqlite_writer_durable_seq(void *writer);

extern struct tr_metric tr_sqlite_metric_commits, tr_sqlite_metric_rows, tr_sqlite_metric_missing,
    tr_sqlite_metric_older, tr_sqlite_metric_syncs;
extern const struct tr_scan_ops tr_sqlite_scan;

#endif
