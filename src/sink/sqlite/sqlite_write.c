/* Rows, transactions and durability. Writer thread, except durable_seq (any thread).
 *
 * One transaction of ours holds whole source transactions and their marks:
 *
 *      BEGIN IMMEDIATE · rows … COMMIT event · rows … COMMIT event · marks · COMMIT
 *
 * It ends at a COMMIT event when it is large or old enough, in flush, and before a source
 * transaction whose end is not yet in sight. So an unfinished source transaction is always alone in
 * ours, and flush in its midst has nothing left to wait for: what came before it is committed
 * already. A transaction larger than memory spills from SQLite's page cache into the WAL.
 *
 * In WAL mode with synchronous = normal a COMMIT writes the WAL without syncing it. What makes it
 * durable is one fdatasync of the WAL in flush: frames carry chained checksums, so after a power
 * loss SQLite recovers every commit up to the last synced byte
 * (https://www.sqlite.org/fileformat2.html, section 4); checkpoints sync the WAL before they copy
 * it. durable_seq moves only after that sync. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "sqlite_internal.h"

struct tr_metric tr_sqlite_metric_commits = {.name = "tailrace_sqlite_commits_total",
                                             .unit = "transactions",
                                             .help = "Transactions committed by the SQLite sink",
                                             .kind = TR_COUNTER};
struct tr_metric tr_sqlite_metric_rows = {.name = "tailrace_sqlite_rows_total",
                                          .unit = "rows",
                                          .help = "Row events applied by the SQLite sink",
                                          .kind = TR_COUNTER};
struct tr_metric tr_sqlite_metric_missing = {
    .name = "tailrace_sqlite_rows_missing_total",
    .unit = "rows",
    .help = "Updates and deletes that found no row in the target",
    .kind = TR_COUNTER};
struct tr_metric tr_sqlite_metric_older = {
    .name = "tailrace_sqlite_rows_older_total",
    .unit = "rows",
    .help = "Changes that were left out because the target holds a newer row or deletion",
    .kind = TR_COUNTER};
struct tr_metric tr_sqlite_metric_syncs = {.name = "tailrace_sqlite_syncs_total",
                                           .unit = "syncs",
                                           .help =
                                               "Times the SQLite sink synced the write-ahead log",
                                           .kind = TR_COUNTER};

/* ---- transactions --------------------------------------------------------------------------- */

static enum tr_status failpoint_error(const char *name, int number, struct tr_error *err)
{
    return tr_fail(err, number == ENOSPC ? TR_E_SQLITE_DISK_FULL : TR_E_SQLITE_IO,
                   "failpoint %s: %s", name, strerror(number));
}

enum tr_status tr_sqlite_broken(struct sqlite_writer *writer, struct tr_error *err)
{
    bool one_only = err->class == TR_DATA || err->class == TR_SCHEMA || err->class == TR_CONFIG;
    if (one_only && (!writer->in_transaction || !sqlite3_get_autocommit(writer->db))) {
        /* the statement was undone, the transaction stands; an empty one gives its lock back */
        if (writer->in_transaction && writer->txn_changes == 0 &&
            sqlite3_exec(writer->db, "ROLLBACK", NULL, NULL, NULL) == SQLITE_OK)
            writer->in_transaction = writer->inside_source = false;
        return TR_FAIL;
    }
    if (!sqlite3_get_autocommit(writer->db))
        (void)sqlite3_exec(writer->db, "ROLLBACK", NULL, NULL, NULL);
    writer->in_transaction = false;
    writer->poisoned = true;
    writer->poison = *err;
    return TR_FAIL;
}

enum tr_status tr_sqlite_begin(struct sqlite_writer *writer, struct tr_error *err)
{
    if (writer->in_transaction)
        return TR_OK;
    if (tr_sqlite_step(writer->db, writer->begin, "begin a transaction", err) != TR_OK)
        return TR_FAIL;
    writer->in_transaction = true;
    writer->txn_changes = 0;
    writer->txn_begin_ms = tr_clock_mono_ms();
    return TR_OK;
}

enum tr_status tr_sqlite_commit(struct sqlite_writer *writer, struct tr_error *err)
{
    if (!writer->in_transaction && writer->marks.pending.count == 0)
        goto committed;
    if (tr_sqlite_begin(writer, err) != TR_OK ||
        tr_sqlite_deleted_sweep(writer, err) != TR_OK ||
        tr_sqlite_marks_write(&writer->marks, writer->db, err) != TR_OK)
        return TR_FAIL;
    int injected = TR_FAILPOINT("sink.sqlite.before_commit");
    if (injected != 0)
        return failpoint_error("sink.sqlite.before_commit", injected, err);
    if (tr_sqlite_step(writer->db, writer->commit, "commit a transaction", err) != TR_OK)
        return TR_FAIL;
    writer->in_transaction = false;
    tr_metric_add(&tr_sqlite_metric_commits, 1);
    injected = TR_FAILPOINT("sink.sqlite.after_commit");
    if (injected != 0)
        return failpoint_error("sink.sqlite.after_commit", injected, err);
committed:
    writer->committed_seq = writer->accepted_seq;
    return TR_OK;
}

static enum tr_status sync_wal(struct sqlite_writer *writer, struct tr_error *err)
{
    const struct sqlite_sink *sink = writer->sink;
    if (sink->options->journal != JOURNAL_WAL || sink->options->synchronous == SYNC_FULL)
        return TR_OK; /* SQLite synced at COMMIT */
    if (writer->wal_fd < 0) {
        char path[4096 + 8];
        if ((size_t)snprintf(path, sizeof path, "%s-wal", sink->path) >= sizeof path)
            return tr_fail(err, TR_E_SQLITE_CANNOT_OPEN, "the path is too long");
        writer->wal_fd = open(path, O_RDONLY | O_CLOEXEC);
        int folder = open(sink->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        int failed = writer->wal_fd < 0 || folder < 0 || fsync(folder) != 0 ? errno : 0;
        if (folder >= 0)
            (void)close(folder);
        if (failed != 0 && failed != EINVAL) /* EINVAL: a file system without folder sync */
            return tr_fail(err, TR_E_SQLITE_SYNC,
                           "could not open the write-ahead log to sync it: %s", strerror(failed));
    }
    if (fdatasync(writer->wal_fd) != 0) {
        if (errno == ENOSPC || errno == EDQUOT)
            return tr_fail(err, TR_E_SQLITE_DISK_FULL, "could not sync the write-ahead log: %s",
                           strerror(errno));
        return tr_fail(err, TR_E_SQLITE_SYNC, "could not sync the write-ahead log: %s",
                       strerror(errno));
    }
    tr_metric_add(&tr_sqlite_metric_syncs, 1);
    return TR_OK;
}

enum tr_status tr_sqlite_writer_flush(void *self, int timeout_ms, struct tr_error *err)
{
    (void)timeout_ms;
    struct sqlite_writer *writer = self;
    if (writer->poisoned) {
        *err = writer->poison;
        return TR_FAIL;
    }
    atomic_store(&writer->sink->interrupted, false);
    if (!writer->inside_source && writer->committed_seq < writer->accepted_seq &&
        tr_sqlite_commit(writer, err) != TR_OK)
        return tr_sqlite_broken(writer, err);
    if (atomic_load(&writer->durable_seq) < writer->committed_seq) {
        if (sync_wal(writer, err) != TR_OK)
            return tr_sqlite_broken(writer, err);
        atomic_store(&writer->durable_seq, writer->committed_seq);
    }
    return TR_OK;
}

uint64_t tr_sqlite_writer_durable_seq(void *self)
{
    return atomic_load(&((struct sqlite_writer *)self)->durable_seq);
}

static enum tr_status on_commit(struct sqlite_writer *writer, const struct tr_event *event,
                                struct tr_error *err)
{
    bool empty = !writer->inside_source;
    for (uint32_t i = 0; i < event->mark_count; i++) {
        if (tr_pending_marks_add(&writer->marks.pending, &event->marks[i], empty, err) != TR_OK)
            return TR_FAIL;
    }
    writer->inside_source = false;
    writer->accepted_seq = event->seq;
    bool many = tr_pending_marks_many(&writer->marks.pending);
    if (!writer->in_transaction && !many) {
        if (writer->marks.pending.count == 0)
            writer->committed_seq = event->seq;
        return TR_OK;
    }
    if (many || writer->txn_changes >= writer->sink->options->commit_rows ||
        tr_clock_mono_ms() - writer->txn_begin_ms >= writer->sink->options->commit_ms) {
        if (tr_sqlite_commit(writer, err) != TR_OK)
            return TR_FAIL;
        if (writer->sink->options->journal != JOURNAL_WAL ||
            writer->sink->options->synchronous == SYNC_FULL)
            atomic_store(&writer->durable_seq, writer->committed_seq);
    }
    return TR_OK;
}

/* ---- rows ----------------------------------------------------------------------------------- */

bool tr_sqlite_has_value(const struct tr_cell *cell)
{
    return cell->state != TR_CELL_UNCHANGED && cell->state != TR_CELL_ABSENT;
}

static enum tr_status bind_cell(struct sqlite_writer *writer, struct table_entry *entry,
                                sqlite3_stmt *stmt, int index, unsigned column,
                                const struct tr_cell *cell, struct tr_error *err)
{
    struct sqlite_value value;
    enum sqlite_store_result result =
        tr_sqlite_store(entry->types[column], cell, &writer->scratch, &value);
    if (result == STORED) {
        int rc = tr_sqlite_bind(stmt, index, &value);
        if (rc == SQLITE_OK)
            return TR_OK;
        return tr_sqlite_fail(err, writer->db, rc, "hand a value of \"%.63s\".\"%.63s\" to SQLite",
                              entry->table->id.table, entry->table->columns[column].name);
    }
    if (result == STORE_NO_MEMORY)
        return tr_sqlite_no_memory(err);
    return tr_fail(err, TR_E_SQLITE_VALUE,
                   "a value of \"%.63s\".\"%.63s\" is not in the form of %s",
                   entry->table->id.table, entry->table->columns[column].name,
                   tr_type_name(entry->types[column]));
}

/* Binds every cell that has a value and notes them in entry->mask. *all: none was left out. */
static enum tr_status bind_cells(struct sqlite_writer *writer, struct table_entry *entry,
                                 sqlite3_stmt *stmt, const struct tr_cell *cells, bool *all,
                                 struct tr_error *err)
{
    *all = true;
    for (unsigned i = 0; i < entry->table->column_count; i++) {
        entry->mask[i] = tr_sqlite_has_value(&cells[i]);
        if (!entry->mask[i])
            *all = false;
        else if (stmt != NULL &&
                 bind_cell(writer, entry, stmt, (int)i + 1, i, &cells[i], err) != TR_OK)
            return TR_FAIL;
    }
    return TR_OK;
}

/* Binds the key behind the columns: from `cells`, or from `other` where that has no value. */
enum tr_status tr_sqlite_bind_key(struct sqlite_writer *writer, struct table_entry *entry,
                               sqlite3_stmt *stmt, const struct tr_cell *cells,
                               const struct tr_cell *other, struct tr_error *err)
{
    const struct tr_table *table = entry->table;
    for (unsigned i = 0; i < table->key_count; i++) {
        unsigned column = table->key_columns[i];
        const struct tr_cell *cell = cells != NULL ? &cells[column] : NULL;
        if ((cell == NULL || !tr_sqlite_has_value(cell)) && other != NULL)
            cell = &other[column];
        if (cell == NULL || !tr_sqlite_has_value(cell))
            return tr_fail(err, TR_E_SQLITE_ROW_UNIDENTIFIED,
                           "an event on \"%.100s\" came without its key column \"%.63s\"",
                           table->id.table, table->columns[column].name);
        if (bind_cell(writer, entry, stmt, (int)(table->column_count + 1u + i), column, cell,
                      err) != TR_OK)
            return TR_FAIL;
    }
    return TR_OK;
}

static enum tr_status run(struct sqlite_writer *writer, const struct table_entry *entry,
                          sqlite3_stmt *stmt, struct tr_error *err)
{
    int rc = sqlite3_step(stmt);
    if (rc != SQLITE_DONE) /* before the reset, which may hide the system's own error */
        (void)tr_sqlite_fail(err, writer->db, rc, "write to table \"%.100s\"",
                             entry->table->id.table);
    (void)sqlite3_reset(stmt);
    return rc == SQLITE_DONE ? TR_OK : TR_FAIL;
}

enum tr_status tr_sqlite_write_upsert(struct sqlite_writer *writer, struct table_entry *entry,
                                   const struct tr_cell *cells, struct tr_error *err)
{
    sqlite3_stmt *stmt = entry->upsert;
    bool all;
    if (cells == NULL)
        return tr_fail(err, TR_E_INTERNAL, "a row event on \"%.100s\" came without its cells",
                       entry->table->id.table);
    if (bind_cells(writer, entry, stmt, cells, &all, err) != TR_OK)
        return TR_FAIL;
    if (!all) {
        if (tr_sqlite_variant(writer, entry, VARIANT_UPSERT, &stmt, err) != TR_OK)
            return TR_FAIL;
        for (unsigned i = 0; i < entry->table->column_count; i++) {
            if (entry->mask[i] &&
                bind_cell(writer, entry, stmt, (int)i + 1, i, &cells[i], err) != TR_OK)
                return TR_FAIL;
        }
    }
    return run(writer, entry, stmt, err);
}

enum tr_status tr_sqlite_write_delete(struct sqlite_writer *writer, struct table_entry *entry,
                                   const struct tr_cell *key, const struct tr_cell *other,
                                   struct tr_error *err)
{
    if (tr_sqlite_bind_key(writer, entry, entry->erase, key, other, err) != TR_OK)
        return TR_FAIL;
    return run(writer, entry, entry->erase, err);
}

/* The columns that are there, by the old key. */
static enum tr_status update_present(struct sqlite_writer *writer, struct table_entry *entry,
                                     const struct tr_event *event, enum variant_kind kind,
                                     struct tr_error *err)
{
    sqlite3_stmt *stmt;
    bool all;
    if (bind_cells(writer, entry, NULL, event->after, &all, err) != TR_OK ||
        tr_sqlite_variant(writer, entry, kind, &stmt, err) != TR_OK)
        return TR_FAIL;
    if (stmt == NULL) /* nothing to set */
        return TR_OK;
    for (unsigned i = 0; i < entry->table->column_count; i++) {
        if (!entry->mask[i] || (kind == VARIANT_UPDATE && entry->table->columns[i].key_index > 0))
            continue;
        if (bind_cell(writer, entry, stmt, (int)i + 1, i, &event->after[i], err) != TR_OK)
            return TR_FAIL;
    }
    if (tr_sqlite_bind_key(writer, entry, stmt, event->before, event->after, err) != TR_OK ||
        run(writer, entry, stmt, err) != TR_OK)
        return TR_FAIL;
    if (sqlite3_changes(writer->db) > 0)
        return TR_OK;
    if (all && kind == VARIANT_UPDATE_KEY)
        return tr_sqlite_write_upsert(writer, entry, event->after, err);
    writer->rows_missing++;
    return TR_OK;
}

/* Is the new key another one than the old? Asked only of events that say so: deleting at the new
 * key must never hit the row itself. */
static bool key_differs(const struct tr_table *table, const struct tr_event *event)
{
    for (unsigned i = 0; i < table->key_count; i++) {
        const struct tr_cell *old = &event->before[table->key_columns[i]];
        const struct tr_cell *new = &event->after[table->key_columns[i]];
        if (tr_sqlite_has_value(old) && tr_sqlite_has_value(new) &&
            (old->state != new->state || old->len != new->len ||
             (old->len > 0 && old->state != TR_CELL_NULL &&
              memcmp(old->ptr, new->ptr, old->len) != 0)))
            return true;
    }
    return false;
}

enum tr_status tr_sqlite_write_update(struct sqlite_writer *writer, struct table_entry *entry,
                                   const struct tr_event *event, struct tr_error *err)
{
    const struct tr_table *table = entry->table;
    bool all = true;
    if (event->after == NULL)
        return tr_fail(err, TR_E_INTERNAL, "an update of \"%.100s\" came without its row",
                       table->id.table);
    if (event->flags & TR_EV_KEY_CHANGED) {
        if (event->before == NULL)
            return tr_fail(err, TR_E_SQLITE_ROW_UNIDENTIFIED,
                           "an update of a key of \"%.100s\" came without the old key",
                           table->id.table);
        /* a row at the new key cannot be there unless the target was changed by another hand */
        if (key_differs(table, event) &&
            tr_sqlite_write_delete(writer, entry, event->after, event->before, err) != TR_OK)
            return TR_FAIL;
        return update_present(writer, entry, event, VARIANT_UPDATE_KEY, err);
    }
    for (unsigned i = 0; i < table->column_count && all; i++)
        all = tr_sqlite_has_value(&event->after[i]);
    if (!all)
        return update_present(writer, entry, event, VARIANT_UPDATE, err);
    if (entry->update == NULL) /* nothing but the key */
        return tr_sqlite_write_upsert(writer, entry, event->after, err);
    if (bind_cells(writer, entry, entry->update, event->after, &all, err) != TR_OK ||
        tr_sqlite_bind_key(writer, entry, entry->update, event->before, event->after, err) != TR_OK ||
        run(writer, entry, entry->update, err) != TR_OK)
        return TR_FAIL;
    return sqlite3_changes(writer->db) > 0 ? TR_OK : tr_sqlite_write_upsert(writer, entry, event->after, err);
}

/* Keyless: the rowid of one row that equals the before image. TR_END: there is none. */
static enum tr_status find_row(struct sqlite_writer *writer, struct table_entry *entry,
                               const struct tr_event *event, int64_t *rowid, struct tr_error *err)
{
    sqlite3_stmt *stmt;
    bool all, any = false;
    if (event->before == NULL || (event->flags & TR_EV_BEFORE_KEY_ONLY)) {
        (void)tr_fail(err, TR_E_SQLITE_ROW_UNIDENTIFIED,
                      "a change of \"%.100s\", which has no key, came without the old row",
                      entry->table->id.table);
        return tr_hint(err,
                       "at the source: ALTER TABLE … REPLICA IDENTITY FULL; or add a primary key");
    }
    if (bind_cells(writer, entry, NULL, event->before, &all, err) != TR_OK)
        return TR_FAIL;
    for (unsigned i = 0; i < entry->table->column_count; i++)
        any |= entry->mask[i];
    if (!any)
        return tr_fail(err, TR_E_SQLITE_ROW_UNIDENTIFIED,
                       "a change of \"%.100s\" came with an empty old row", entry->table->id.table);
    if (tr_sqlite_variant(writer, entry, VARIANT_FIND, &stmt, err) != TR_OK ||
        bind_cells(writer, entry, stmt, event->before, &all, err) != TR_OK)
        return TR_FAIL;
    int rc = sqlite3_step(stmt);
    *rowid = rc == SQLITE_ROW ? sqlite3_column_int64(stmt, 0) : 0;
    (void)sqlite3_reset(stmt);
    if (rc != SQLITE_ROW && rc != SQLITE_DONE)
        return tr_sqlite_fail(err, writer->db, rc, "find a row of table \"%.100s\"",
                              entry->table->id.table);
    return rc == SQLITE_ROW ? TR_OK : TR_END;
}

static enum tr_status write_keyless(struct sqlite_writer *writer, struct table_entry *entry,
                                    const struct tr_event *event, struct tr_error *err)
{
    int64_t rowid;
    bool all;
    sqlite3_stmt *stmt = entry->erase;
    if (event->op == TR_OP_UPDATE && event->after == NULL)
        return tr_fail(err, TR_E_INTERNAL, "an update came without its row");
    enum tr_status status = find_row(writer, entry, event, &rowid, err);
    if (status == TR_END)
        writer->rows_missing++;
    if (status != TR_OK)
        return status == TR_END ? TR_OK : TR_FAIL;
    if (event->op == TR_OP_UPDATE) {
        if (bind_cells(writer, entry, NULL, event->after, &all, err) != TR_OK ||
            tr_sqlite_variant(writer, entry, VARIANT_UPDATE_ROW, &stmt, err) != TR_OK)
            return TR_FAIL;
        if (stmt == NULL)
            return TR_OK;
        if (bind_cells(writer, entry, stmt, event->after, &all, err) != TR_OK)
            return TR_FAIL;
    }
    (void)sqlite3_bind_int64(stmt, (int)(entry->table->column_count + 1u), rowid);
    return run(writer, entry, stmt, err);
}

static enum tr_status write_row(struct sqlite_writer *writer, const struct tr_event *event,
                                struct tr_error *err)
{
    struct table_entry *entry;
    int injected = TR_FAILPOINT("sink.sqlite.write");
    if (injected != 0)
        return failpoint_error("sink.sqlite.write", injected, err);
    if (tr_sqlite_entry(writer, event->table, &entry, err) != TR_OK)
        return TR_FAIL;
    if (writer->scratch.used_bytes > 0)
        tr_arena_reset(&writer->scratch);
    if (entry->version != NULL && event->op != TR_OP_TRUNCATE)
        return tr_sqlite_write_newest(writer, entry, event, err);
    switch (event->op) {
    case TR_OP_CREATE:
    case TR_OP_READ:
        return tr_sqlite_write_upsert(writer, entry, event->after, err);
    case TR_OP_UPDATE:
        return entry->table->key_count > 0 ? tr_sqlite_write_update(writer, entry, event, err)
                                           : write_keyless(writer, entry, event, err);
    case TR_OP_DELETE:
        if (entry->table->key_count == 0)
            return write_keyless(writer, entry, event, err);
        if (tr_sqlite_write_delete(writer, entry, event->before, NULL, err) != TR_OK)
            return TR_FAIL;
        writer->rows_missing += sqlite3_changes(writer->db) == 0;
        return TR_OK;
    case TR_OP_TRUNCATE:
        return run(writer, entry, entry->truncate, err);
    default:
        return tr_fail(err, TR_E_INTERNAL, "the SQLite sink was handed an event of kind %d",
                       event->op);
    }
}

/* Before the first event of a source transaction. */
static enum tr_status begin_source(struct sqlite_writer *writer, bool end_in_sight,
                                   struct tr_error *err)
{
    if (writer->in_transaction && !end_in_sight && tr_sqlite_commit(writer, err) != TR_OK)
        return TR_FAIL;
    if (tr_sqlite_begin(writer, err) != TR_OK)
        return TR_FAIL;
    writer->inside_source = true;
    return TR_OK;
}

enum tr_status tr_sqlite_writer_write(void *self, const struct tr_event *events, size_t event_count,
                                      struct tr_error *err)
{
    struct sqlite_writer *writer = self;
    int64_t rows = 0;
    size_t commits_end = event_count; /* behind the last COMMIT event */
    enum tr_status status = TR_OK;
    if (writer->poisoned) {
        *err = writer->poison;
        return TR_FAIL;
    }
    atomic_store(&writer->sink->interrupted, false);
    while (commits_end > 0 && events[commits_end - 1].op != TR_OP_COMMIT)
        commits_end--;
    for (size_t i = 0; i < event_count && status == TR_OK; i++) {
        const struct tr_event *event = &events[i];
        if (event->op == TR_OP_COMMIT) {
            status = on_commit(writer, event, err);
        } else if (event->op != TR_OP_MESSAGE) {
            if (!writer->inside_source)
                status = begin_source(writer, i < commits_end, err);
            if (status == TR_OK)
                status = write_row(writer, event, err);
            if (status != TR_OK)
                err->seq = event->seq;
            else
                writer->txn_changes++;
            rows++;
        }
        if (i == event_count / 2) {
            int injected = TR_FAILPOINT("sink.sqlite.mid_batch");
            if (injected != 0 && status == TR_OK)
                status = failpoint_error("sink.sqlite.mid_batch", injected, err);
        }
    }
    tr_metric_add(&tr_sqlite_metric_rows, rows);
    if (writer->rows_missing > 0)
        tr_metric_add(&tr_sqlite_metric_missing, writer->rows_missing);
    if (writer->rows_older > 0)
        tr_metric_add(&tr_sqlite_metric_older, writer->rows_older);
    writer->rows_missing = writer->rows_older = 0;
    return status == TR_OK ? TR_OK : tr_sqlite_broken(writer, err);
}
