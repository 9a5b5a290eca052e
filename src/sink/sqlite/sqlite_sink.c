/* The SQLite sink: options, connections, preflight, the stored marks, the ops table.
 *
 * Threads: one writer with a connection of its own; validate, load_marks, drop and scans use the
 * sink's connection on the thread that opened it. WAL mode lets both, and any other reader of the
 * file, work at the same time. interrupt only sets a flag that ends a wait for another process's
 * lock. */
#include "sqlite.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "event/state.h"
#include "sqlite_internal.h"

#define BUSY_SLEEP_MS_MAX 50
#define WAL_KEEP_BYTES (128 << 20)   /* a larger WAL is cut back after a checkpoint */
#define SQLITE_VERSION_LEAST 3037000 /* Ubuntu 22.04; DROP COLUMN came with 3.35 */

static const char *const synchronous_values[] = {"full", "normal", NULL};
static const char *const journal_values[] = {"wal", "delete", NULL};

static const struct tr_option options[] = {
    {.name = "path",
     .type = TR_OPT_STRING,
     .flags = TR_OPT_REQUIRED,
     .offset = offsetof(struct sqlite_options, path),
     .help = "The SQLite file. It is made when absent; its folder must exist."},
    {.name = "table.create.enabled",
     .type = TR_OPT_BOOL,
     .offset = offsetof(struct sqlite_options, create_tables),
     .default_text = "true",
     .help = "Make target tables that are absent. When false, an absent table is an error."},
    {.name = "synchronous",
     .type = TR_OPT_ENUM,
     .offset = offsetof(struct sqlite_options, synchronous),
     .default_text = "normal",
     .values = synchronous_values,
     .help = "normal: one sync for many commits; full: SQLite syncs every commit. With both, "
             "nothing is "
             "acknowledged to the source before it would survive a power loss."},
    {.name = "busy-timeout",
     .type = TR_OPT_DURATION,
     .offset = offsetof(struct sqlite_options, busy_timeout_ms),
     .default_text = "10s",
     .min = 0,
     .max = 3600000,
     .help = "How long to wait for another process that writes to the file."},
    {.name = "sink.buffer-flush.max-rows",
     .type = TR_OPT_INT,
     .flags = TR_OPT_ADVANCED,
     .offset = offsetof(struct sqlite_options, commit_rows),
     .default_text = "200000",
     .min = 1,
     .max = 100000000,
     .help = "Commit at the next end of a source transaction after this many rows."},
    {.name = "sink.buffer-flush.max-bytes",
     .type = TR_OPT_SIZE,
     .flags = TR_OPT_ADVANCED,
     .offset = offsetof(struct sqlite_options, commit_bytes),
     .default_text = "24MB",
     .min = 1 << 16,
     .max = (int64_t)1 << 30,
     .help =
         "Memory for changes that gather for one commit, in which they are written in the order "
         "of their keys. When it is full they are committed; a larger source transaction is "
         "written in several pieces and committed as a whole."},
    {.name = "sink.buffer-flush.interval",
     .type = TR_OPT_DURATION,
     .flags = TR_OPT_ADVANCED,
     .offset = offsetof(struct sqlite_options, commit_ms),
     .default_text = "1s",
     .min = 0,
     .max = 600000,
     .help =
         "Commit at the next end of a source transaction after this time. An idle pipeline commits "
         "at once."},
    {.name = "cache-size",
     .type = TR_OPT_SIZE,
     .flags = TR_OPT_ADVANCED,
     .offset = offsetof(struct sqlite_options, cache_bytes),
     .default_text = "8MB",
     .min = 1 << 20,
     .max = (int64_t)1 << 40,
     .help = "Memory for SQLite's page cache. A larger transaction spills to the write-ahead log."},
    {.name = "journal-mode",
     .type = TR_OPT_ENUM,
     .flags = TR_OPT_ADVANCED,
     .offset = offsetof(struct sqlite_options, journal),
     .default_text = "wal",
     .values = journal_values,
     .help = "wal: readers and the pipeline do not wait for each other; delete: for file systems "
             "without shared memory, such as network shares."},
    {.name = "tombstone.retention",
     .type = TR_OPT_DURATION,
     .flags = TR_OPT_ADVANCED,
     .offset = offsetof(struct sqlite_options, tombstone_retention_ms),
     .default_text = "7d",
     .min = 0,
     .max = INT64_C(315360000000),
     .help =
         "Last write wins: how long a deletion is remembered in tailrace_deleted, from the time "
         "when it was written. An older row that comes later than that brings its key back. 0: "
         "for ever."},
    {.name = NULL},
};

/* ---- connections ---------------------------------------------------------------------------- */

/* Waits for another process's lock; a busy handler that interrupt can end. */
static int on_busy(void *ctx, int count)
{
    struct sqlite_sink *sink = ctx;
    int64_t waited_ms = 0;
    for (int i = 0; i < count && waited_ms < sink->options->busy_timeout_ms; i++)
        waited_ms += i + 1 < BUSY_SLEEP_MS_MAX ? i + 1 : BUSY_SLEEP_MS_MAX;
    if (waited_ms >= sink->options->busy_timeout_ms || atomic_load(&sink->interrupted))
        return 0;
    tr_clock_sleep_ms(count + 1 < BUSY_SLEEP_MS_MAX ? count + 1 : BUSY_SLEEP_MS_MAX);
    return 1;
}

static enum tr_status set_journal(struct sqlite_sink *sink, sqlite3 *db, struct tr_error *err)
{
    const char *wanted = journal_values[sink->options->journal];
    char sql[64];
    sqlite3_stmt *stmt = NULL;
    (void)snprintf(sql, sizeof sql, "PRAGMA journal_mode=%s", wanted);
    if (tr_sqlite_prepare(db, sql, false, &stmt, "set the journal mode", err) != TR_OK)
        return TR_FAIL;
    int rc = sqlite3_step(stmt);
    const char *got = rc == SQLITE_ROW ? (const char *)sqlite3_column_text(stmt, 0) : NULL;
    bool right = got != NULL && sqlite3_stricmp(got, wanted) == 0;
    (void)sqlite3_finalize(stmt);
    if (right)
        return TR_OK;
    if (rc != SQLITE_ROW)
        return tr_sqlite_fail(err, db, rc, "set the journal mode of %s", sink->path);
    (void)tr_fail(err, TR_E_SQLITE_CANNOT_OPEN, "%s cannot be put into journal mode %s", sink->path,
                  wanted);
    return tr_hint(err, "set sink.journal-mode: delete, if the file system has no shared memory");
}

static enum tr_status configure(struct sqlite_sink *sink, sqlite3 *db, bool writing,
                                struct tr_error *err)
{
    char sql[512];
    int rc = tr_sqlite_register(db);
    if (rc == SQLITE_OK)
        rc = tr_sqlite_register_convert(db);
    /* "name" is a name, and never a string because there is no such column */
    if (rc == SQLITE_OK)
        rc = sqlite3_db_config(db, SQLITE_DBCONFIG_DQS_DML, 0, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_db_config(db, SQLITE_DBCONFIG_DQS_DDL, 0, NULL);
    if (rc != SQLITE_OK)
        return tr_sqlite_fail(err, db, rc, "prepare a connection");
    if (!sink->checking && set_journal(sink, db, err) != TR_OK)
        return TR_FAIL;
    /* in delete mode EXTRA also syncs the folder after the journal is gone: a commit is then
     * durable */
    const char *synchronous = sink->options->journal == JOURNAL_DELETE  ? "EXTRA"
                              : sink->options->synchronous == SYNC_FULL ? "FULL"
                                                                        : "NORMAL";
    (void)snprintf(sql, sizeof sql,
                   "PRAGMA synchronous=%s; PRAGMA foreign_keys=OFF; PRAGMA recursive_triggers=OFF; "
                   "PRAGMA cache_size=-%lld; PRAGMA wal_autocheckpoint=%d; "
                   "PRAGMA journal_size_limit=%d; PRAGMA query_only=%d",
                   synchronous, (long long)(writing ? sink->options->cache_bytes / 1024 : 2048),
                   CHECKPOINT_PAGES, WAL_KEEP_BYTES, sink->checking);
    return tr_sqlite_exec(db, sql, "prepare a connection", err);
}

enum tr_status tr_sqlite_connect(struct sqlite_sink *sink, bool create, bool writing, sqlite3 **out,
                                 struct tr_error *err)
{
    sqlite3 *db = NULL;
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | (create ? SQLITE_OPEN_CREATE : 0);
    int rc = sqlite3_open_v2(sink->path, &db, flags, NULL);
    if (rc == SQLITE_OK && sqlite3_db_readonly(db, "main") == 1 && !sink->checking)
        rc = SQLITE_READONLY;
    if (rc != SQLITE_OK) {
        (void)tr_sqlite_fail(err, db, rc, "open %s", sink->path);
        (void)sqlite3_close_v2(db);
        return TR_FAIL;
    }
    (void)sqlite3_extended_result_codes(db, 1);
    (void)sqlite3_busy_handler(db, on_busy, sink);
    /* the first read tells whether it is a database at all */
    if (tr_sqlite_exec(db, "SELECT 1 FROM sqlite_schema LIMIT 1", "read the file", err) != TR_OK ||
        configure(sink, db, writing, err) != TR_OK) {
        (void)sqlite3_close_v2(db);
        return TR_FAIL;
    }
    *out = db;
    return TR_OK;
}

/* ---- open, close ---------------------------------------------------------------------------- */

/* path → absolute path and its folder. */
static enum tr_status resolve_path(struct sqlite_sink *sink, struct tr_error *err)
{
    const char *path = sink->options->path, *slash = path != NULL ? strrchr(path, '/') : NULL;
    const char *name = slash != NULL ? slash + 1 : path;
    if (path == NULL || name[0] == '\0' || name[0] == ':' || strlen(path) >= PATH_MAX - 16) {
        (void)tr_fail(err, TR_E_SQLITE_CANNOT_OPEN, "sink.path is not the path of a file");
        return tr_hint(err, "give a file name such as shop.db; a database in memory would be lost");
    }
    char *folder = slash == NULL   ? strdup(".")
                   : slash == path ? strdup("/")
                                   : strndup(path, (size_t)(slash - path));
    if (folder == NULL)
        return tr_sqlite_no_memory(err);
    sink->folder = realpath(folder, NULL);
    if (sink->folder == NULL) {
        (void)tr_fail(err, TR_E_SQLITE_CANNOT_OPEN, "the folder %s of sink.path cannot be used: %s",
                      folder, strerror(errno));
        (void)tr_hint(err, "mkdir -p '%.500s'", folder);
        free(folder);
        return TR_FAIL;
    }
    free(folder);
    bool root = strcmp(sink->folder, "/") == 0;
    if (asprintf(&sink->path, "%s/%s", root ? "" : sink->folder, name) < 0) {
        sink->path = NULL;
        return tr_sqlite_no_memory(err);
    }
    struct stat info;
    if (stat(sink->path, &info) == 0 && !S_ISREG(info.st_mode)) {
        (void)tr_fail(err, TR_E_SQLITE_CANNOT_OPEN, "%s is not a regular file", sink->path);
        return tr_hint(err, "set sink.path to a file");
    }
    return TR_OK;
}

static void sink_close(void *self)
{
    struct sqlite_sink *sink = self;
    if (sink == NULL)
        return;
    (void)sqlite3_close_v2(sink->db);
    free(sink->path);
    free(sink->folder);
    free(sink->pipeline);
    tr_mark_guard_free(&sink->loaded);
    free(sink);
}

static enum tr_status sink_open(const struct tr_config *config, const struct tr_context *context,
                                void **self, struct tr_error *err)
{
    *self = NULL;
    if (sqlite3_libversion_number() < SQLITE_VERSION_LEAST)
        return tr_fail(err, TR_E_SQLITE_CANNOT_OPEN, "SQLite %s is too old: 3.37 is needed",
                       sqlite3_libversion());
    struct sqlite_sink *sink = calloc(1, sizeof *sink);
    if (sink == NULL)
        return tr_sqlite_no_memory(err);
    *self = sink;
    sink->options = tr_config_values(config);
    sink->checking = context->checking;
    sink->pipeline =
        strdup(context->position_name == NULL ? context->pipeline_name : context->position_name);
    if (sink->pipeline == NULL)
        return tr_sqlite_no_memory(err);
    tr_metric_register(&tr_sqlite_metric_commits);
    tr_metric_register(&tr_sqlite_metric_rows);
    tr_metric_register(&tr_sqlite_metric_missing);
    tr_metric_register(&tr_sqlite_metric_older);
    tr_metric_register(&tr_sqlite_metric_syncs);
    if (resolve_path(sink, err) != TR_OK)
        return TR_FAIL;
    if (sink->checking && access(sink->path, F_OK) != 0)
        return TR_OK; /* nothing to read yet; validate says whether it can be made */
    return tr_sqlite_connect(sink, !sink->checking, false, &sink->db, err);
}

static void sink_interrupt(void *self)
{
    atomic_store(&((struct sqlite_sink *)self)->interrupted, true);
}

/* ---- validate ------------------------------------------------------------------------------- */

struct report {
    tr_report_fn fn;
    void *ctx;
};

static void tell(const struct report *report, enum tr_severity severity, enum tr_code code,
                 const char *object, const char *message, const char *remedy)
{
    struct tr_finding finding = {severity, code, object, message, remedy};
    report->fn(report->ctx, &finding);
}

static void tell_error(const struct report *report, const char *object, const struct tr_error *err)
{
    tell(report, TR_ERROR_SEVERITY, err->code, object, err->message, err->hint);
}

static void check_path(const struct sqlite_sink *sink, const struct report *report)
{
    char message[PATH_MAX + 64];
    bool exists = access(sink->path, F_OK) == 0;
    if ((exists && access(sink->path, W_OK) != 0) || access(sink->folder, W_OK | X_OK) != 0) {
        (void)snprintf(message, sizeof message, "%s cannot be written: %s",
                       exists ? sink->path : sink->folder, strerror(errno));
        tell(report, TR_ERROR_SEVERITY, TR_E_SQLITE_CANNOT_OPEN, "sink.path", message,
             tr_error_info(TR_E_SQLITE_CANNOT_OPEN)->remedy);
        return;
    }
    (void)snprintf(message, sizeof message, "%s %s", sink->path,
                   exists ? "can be written" : "will be made");
    tell(report, TR_INFO, TR_E_NONE, "sink.path", message, NULL);
}

/* One target table against the file: what apply would refuse, and what it would change. */
static enum tr_status check_table(const struct sqlite_sink *sink, const struct tr_table *table,
                                  const struct report *report, struct tr_error *err)
{
    char object[300], message[400];
    struct shape shape;
    struct tr_error finding;
    (void)tr_table_id_format(&table->id, object, sizeof object);
    if (tr_sqlite_check_names(table, &finding) != TR_OK ||
        (table->version_column > 0 && tr_sqlite_check_version(table, &finding) != TR_OK)) {
        tell_error(report, object, &finding);
        return TR_OK;
    }
    if (table->key_count == 0)
        tell(report, TR_WARNING, TR_E_NONE, object,
             "the table has no key: each update and delete reads the whole target table",
             "add a primary key at the source; without one the table needs REPLICA IDENTITY FULL");
    enum tr_status status = TR_END;
    if (sink->db != NULL)
        status = tr_sqlite_shape_load(sink->db, table->id.table, &shape, err);
    if (status == TR_FAIL)
        return TR_FAIL;
    if (status == TR_END) {
        if (!sink->options->create_tables)
            tell(report, TR_ERROR_SEVERITY, TR_E_SQLITE_TABLE_ABSENT, object,
                 "the target has no such table and sink.table.create.enabled is false",
                 tr_error_info(TR_E_SQLITE_TABLE_ABSENT)->remedy);
        return TR_OK;
    }
    if (tr_sqlite_check_target(sink->db, table, &shape, &finding) != TR_OK) {
        if (finding.code == TR_E_SQLITE_COLUMN_TYPE && tr_sqlite_shape_is_plain(&shape))
            tell(report, TR_WARNING, finding.code, object, finding.message,
                 "tailrace makes the table anew with a declared type that keeps the values");
        else
            tell_error(report, object, &finding);
    }
    for (unsigned i = 0; i < table->column_count; i++) {
        if (tr_sqlite_shape_column(&shape, table->columns[i].name) >= 0)
            continue;
        (void)snprintf(message, sizeof message, "column \"%.200s\" will be added to the target",
                       table->columns[i].name);
        tell(report, TR_INFO, TR_E_NONE, object, message, NULL);
    }
    tr_sqlite_shape_free(&shape);
    return TR_OK;
}

static enum tr_status sink_validate(void *self, const struct tr_table *const *tables,
                                    size_t table_count, tr_report_fn fn, void *report_ctx,
                                    struct tr_error *err)
{
    struct sqlite_sink *sink = self;
    struct report report = {fn, report_ctx};
    /* the writer's own book of who fills which target tells of clashes */
    struct sqlite_writer book = {0};
    enum tr_status status = TR_OK;
    check_path(sink, &report);
    for (size_t i = 0; i < table_count && status == TR_OK; i++) {
        struct tr_error finding;
        if (tr_sqlite_own(&book, &tables[i]->id, &finding) != TR_OK) {
            char object[300];
            tell_error(&report, tr_table_id_format(&tables[i]->id, object, sizeof object),
                       &finding);
        }
        status = check_table(sink, tables[i], &report, err);
    }
    tr_sqlite_owners_free(&book);
    return status;
}

/* ---- marks ---------------------------------------------------------------------------------- */

static enum tr_status sink_load_marks(void *self, struct tr_state *marks, struct tr_error *err)
{
    struct sqlite_sink *sink = self;
    struct shape shape;
    sqlite3_stmt *stmt = NULL;
    tr_state_clear(marks);
    if (sink->db == NULL)
        return TR_OK;
    if (!sink->checking && tr_sqlite_position_table(sink->db, err) != TR_OK)
        return TR_FAIL;
    enum tr_status status = tr_sqlite_shape_load(sink->db, POSITION_TABLE, &shape, err);
    if (status != TR_OK)
        return status == TR_END ? TR_OK : TR_FAIL;
    tr_sqlite_shape_free(&shape);
    if (tr_sqlite_prepare(sink->db,
                          "SELECT item, value FROM \"" POSITION_TABLE "\" WHERE pipeline = ?1",
                          false, &stmt, "read the position", err) != TR_OK)
        return TR_FAIL;
    (void)sqlite3_bind_text(stmt, 1, sink->pipeline, -1, SQLITE_STATIC);
    int rc;
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW && status == TR_OK) {
        struct tr_slice key = {(const char *)sqlite3_column_text(stmt, 0),
                               (size_t)sqlite3_column_bytes(stmt, 0)};
        struct tr_slice value = {(const char *)sqlite3_column_text(stmt, 1),
                                 (size_t)sqlite3_column_bytes(stmt, 1)};
        if (key.ptr == NULL || value.ptr == NULL || key.len == 0 || key.ptr[key.len - 1] == '*')
            status = tr_fail(err, TR_E_SQLITE_POSITION_TABLE, "the stored position cannot be read");
        else if (value.len > 0)
            status = tr_state_apply(marks, key, value, err);
    }
    if (status == TR_OK && rc != SQLITE_DONE)
        status = tr_sqlite_fail(err, sink->db, rc, "read the position");
    (void)sqlite3_finalize(stmt);
    return status == TR_OK ? tr_mark_guard_load(&sink->loaded, marks, err) : status;
}

/* Deletes this pipeline's rows of one of our tables, if it is there. */
static enum tr_status drop_from(struct sqlite_sink *sink, const char *table, const char *what,
                                const struct report *report, struct tr_error *err)
{
    struct shape shape;
    sqlite3_stmt *stmt = NULL;
    char sql[128], message[PATH_MAX + 200];
    enum tr_status status = tr_sqlite_shape_load(sink->db, table, &shape, err);
    if (status != TR_OK)
        return status;
    tr_sqlite_shape_free(&shape);
    (void)snprintf(sql, sizeof sql, "DELETE FROM \"%s\" WHERE pipeline = ?1", table);
    if (tr_sqlite_exec(sink->db, "PRAGMA query_only=0", "open the file for writing", err) !=
            TR_OK ||
        tr_sqlite_prepare(sink->db, sql, false, &stmt, "remove the position", err) != TR_OK)
        return TR_FAIL;
    (void)sqlite3_bind_text(stmt, 1, sink->pipeline, -1, SQLITE_STATIC);
    int rc = sqlite3_step(stmt);
    int removed = sqlite3_changes(sink->db);
    (void)sqlite3_finalize(stmt);
    if (rc != SQLITE_DONE)
        return tr_sqlite_fail(err, sink->db, rc, "remove the position");
    (void)snprintf(message, sizeof message, "removed %d %s of pipeline %.200s from %s", removed,
                   what, sink->pipeline, sink->path);
    tell(report, TR_INFO, TR_E_NONE, table, message, NULL);
    return TR_OK;
}

static enum tr_status sink_drop(void *self, tr_report_fn fn, void *report_ctx, struct tr_error *err)
{
    struct sqlite_sink *sink = self;
    struct report report = {fn, report_ctx};
    enum tr_status status = TR_END;
    if (sink->db != NULL) {
        if (drop_from(sink, DELETED_TABLE, "remembered deletions", &report, err) == TR_FAIL)
            return TR_FAIL;
        status = drop_from(sink, POSITION_TABLE, "items", &report, err);
    }
    if (status == TR_END)
        tell(&report, TR_INFO, TR_E_NONE, POSITION_TABLE, "the SQLite file holds no position",
             NULL);
    return status == TR_FAIL ? TR_FAIL : TR_OK;
}

/* ---- writer --------------------------------------------------------------------------------- */

static void writer_close(void *self)
{
    struct sqlite_writer *writer = self;
    if (writer == NULL)
        return;
    tr_sqlite_entries_drop(writer, NULL);
    tr_sqlite_marks_close(&writer->marks);
    tr_sqlite_deleted_close(&writer->deleted);
    (void)sqlite3_finalize(writer->begin);
    (void)sqlite3_finalize(writer->commit);
    (void)sqlite3_finalize(writer->schema_version);
    tr_sqlite_buffer_free(&writer->buffer);
    (void)sqlite3_close_v2(writer->db); /* rolls back what is open */
    if (writer->wal_fd >= 0)
        (void)close(writer->wal_fd);
    tr_sqlite_owners_free(writer);
    tr_arena_free(&writer->scratch);
    tr_outbuf_free(&writer->sql);
    tr_outbuf_free(&writer->key_text);
    tr_outbuf_free(&writer->version);
    tr_outbuf_free(&writer->old_version);
    free(writer);
}

static enum tr_status writer_open(void *self, unsigned partition, void **out, struct tr_error *err)
{
    struct sqlite_sink *sink = self;
    *out = NULL;
    if (partition != 0)
        return tr_fail(err, TR_E_CAPABILITY, "a SQLite file takes one writer only");
    struct sqlite_writer *writer = calloc(1, sizeof *writer);
    if (writer == NULL)
        return tr_sqlite_no_memory(err);
    writer->sink = sink;
    writer->wal_fd = -1;
    writer->triggers_version = -1;
    tr_arena_init(&writer->scratch, 64 << 10, 1 << 20);
    if (tr_sqlite_buffer_open(&writer->buffer, err) != TR_OK ||
        tr_sqlite_connect(sink, true, true, &writer->db, err) != TR_OK ||
        tr_sqlite_position_table(writer->db, err) != TR_OK ||
        tr_sqlite_prepare(writer->db, "BEGIN IMMEDIATE", true, &writer->begin, "prepare", err) !=
            TR_OK ||
        tr_sqlite_prepare(writer->db, "COMMIT", true, &writer->commit, "prepare", err) != TR_OK ||
        tr_sqlite_prepare(writer->db, "PRAGMA schema_version", true, &writer->schema_version,
                          "prepare", err) != TR_OK ||
        tr_sqlite_marks_open(&writer->marks, writer->db, sink, err) != TR_OK) {
        writer_close(writer);
        return TR_FAIL;
    }
    *out = writer;
    return TR_OK;
}

const struct tr_sink_ops tr_sink_sqlite = {
    .name = "sqlite",
    .abi = TR_SINK_ABI,
    .caps = TR_CAP_UPSERT | TR_CAP_TRANSACTIONS | TR_CAP_POSITION | TR_CAP_DDL | TR_CAP_TRUNCATE |
            TR_CAP_LAST_WRITE_WINS,
    .options = options,
    .options_size = sizeof(struct sqlite_options),
    .summary = "Tables in a SQLite file, with the position in the same transaction",
    .open = sink_open,
    .validate = sink_validate,
    .load_marks = sink_load_marks,
    .writer_open = writer_open,
    .apply = tr_sqlite_writer_apply,
    .write = tr_sqlite_writer_write,
    .flush = tr_sqlite_writer_flush,
    .durable_seq = tr_sqlite_writer_durable_seq,
    .interrupt = sink_interrupt,
    .writer_close = writer_close,
    .drop = sink_drop,
    .close = sink_close,
    .scan = &tr_sqlite_scan,
};
