/* Transactions and durability. Writer thread, except durable_seq (any thread).
 *
 * Rows gather in a buffer (sqlite_buffer.c), over the ends of source transactions. One transaction
 * of ours then holds whole source transactions and their marks:
 *
 *      BEGIN IMMEDIATE · rows in the order of their keys · marks · COMMIT
 *
 * It is made in flush, and at a COMMIT event when there are enough changes or the first has waited
 * long enough. What came behind the last COMMIT event stays in the buffer. When that alone fills
 * the buffer, it goes piece by piece into a transaction that stays open (`beyond`), after what came
 * before it was committed. So an unfinished source transaction is always alone in ours, and flush
 * in its midst has nothing left to wait for. A transaction larger than memory spills from SQLite's
 * page cache into the WAL.
 *
 * The more changes one transaction holds, the fewer pages each costs. So flush without a timeout
 * puts off a commit (TR_AGAIN) while the sink is what everybody waits for: after a large commit,
 * until as much time has passed as that one took, and only as long as more changes keep coming.
 * A change that comes alone never waits.
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

#define GATHER_CHANGES_MIN 1000 /* a commit of fewer is small: the next one is not put off */
#define GATHER_QUIET_MS 20      /* nothing came for so long: there is nothing to wait for */

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

enum tr_status tr_sqlite_failpoint_error(const char *name, int number, struct tr_error *err)
{
    return tr_fail(err, number == ENOSPC ? TR_E_SQLITE_DISK_FULL : TR_E_SQLITE_IO,
                   "failpoint %s: %s", name, strerror(number));
}

enum tr_status tr_sqlite_broken(struct sqlite_writer *writer, struct tr_error *err)
{
    bool one_only = err->class == TR_DATA || err->class == TR_SCHEMA || err->class == TR_CONFIG;
    if (one_only && !writer->half_done &&
        (!writer->in_transaction || !sqlite3_get_autocommit(writer->db))) {
        /* the statement was undone, the transaction stands; an empty one gives its lock back */
        if (writer->in_transaction && writer->txn_changes == 0 &&
            sqlite3_exec(writer->db, "ROLLBACK", NULL, NULL, NULL) == SQLITE_OK)
            writer->in_transaction = writer->inside_source = writer->beyond = false;
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
    return TR_OK;
}

/* Writes the first `count` changes of the buffer, which take `bytes`, into the open transaction.
 * Where that fails no part of the transaction can stand. */
static enum tr_status drain(struct sqlite_writer *writer, size_t bytes, size_t count,
                            struct tr_error *err)
{
    bool as_arrived;
    struct tr_event event;
    if (count == 0)
        return TR_OK;
    if (tr_sqlite_buffer_check(writer, &as_arrived, err) != TR_OK ||
        tr_sqlite_buffer_sort(writer, count, as_arrived, err) != TR_OK)
        return TR_FAIL;
    for (size_t i = 0; i < count; i++) {
        if (!tr_sqlite_buffer_event(writer, i, count, &event))
            continue;
        if (tr_sqlite_write_row(writer, &event, err) != TR_OK) {
            err->seq = event.seq;
            writer->half_done = true;
            return TR_FAIL;
        }
    }
    writer->txn_changes += (int64_t)count;
    tr_sqlite_buffer_drop(&writer->buffer, bytes, count);
    if (writer->rows_missing > 0)
        tr_metric_add(&tr_sqlite_metric_missing, writer->rows_missing);
    if (writer->rows_older > 0)
        tr_metric_add(&tr_sqlite_metric_older, writer->rows_older);
    writer->rows_missing = writer->rows_older = 0;
    return TR_OK;
}

static void set_checkpoint(struct sqlite_writer *writer, size_t changes)
{
    int pages = changes < GATHER_CHANGES_MIN ? CHECKPOINT_PAGES : CHECKPOINT_PAGES_BUSY;
    if (pages != writer->checkpoint_pages &&
        sqlite3_wal_autocheckpoint(writer->db, pages) == SQLITE_OK)
        writer->checkpoint_pages = pages;
}

/* Everything up to the last COMMIT event. Not when `beyond`. */
static enum tr_status commit_whole(struct sqlite_writer *writer, struct tr_error *err)
{
    struct sqlite_buffer *buffer = &writer->buffer;
    int64_t begin_ms = tr_clock_mono_ms();
    size_t changes = buffer->boundary_count;
    if (!writer->in_transaction && changes == 0 && writer->marks.pending.count == 0)
        goto committed;
    if (tr_sqlite_begin(writer, err) != TR_OK ||
        drain(writer, buffer->boundary, changes, err) != TR_OK ||
        tr_sqlite_deleted_sweep(writer, err) != TR_OK ||
        tr_sqlite_marks_write(&writer->marks, writer->db, err) != TR_OK)
        return TR_FAIL;
    int injected = TR_FAILPOINT("sink.sqlite.before_commit");
    if (injected != 0)
        return tr_sqlite_failpoint_error("sink.sqlite.before_commit", injected, err);
    set_checkpoint(writer, changes);
    if (tr_sqlite_step(writer->db, writer->commit, "commit a transaction", err) != TR_OK)
        return TR_FAIL;
    writer->in_transaction = false;
    writer->commit_end_ms = writer->gather_begin_ms = tr_clock_mono_ms();
    writer->commit_took_ms = writer->commit_end_ms - begin_ms;
    writer->commit_changes = (int64_t)changes;
    writer->gathered = (int64_t)buffer->count;
    tr_metric_add(&tr_sqlite_metric_commits, 1);
    injected = TR_FAILPOINT("sink.sqlite.after_commit");
    if (injected != 0)
        return tr_sqlite_failpoint_error("sink.sqlite.after_commit", injected, err);
committed:
    writer->committed_seq = writer->accepted_seq;
    return TR_OK;
}

enum tr_status tr_sqlite_settle(struct sqlite_writer *writer, struct tr_error *err)
{
    struct sqlite_buffer *buffer = &writer->buffer;
    if (!writer->beyond && commit_whole(writer, err) != TR_OK)
        return TR_FAIL;
    if (buffer->count == 0)
        return TR_OK;
    if (tr_sqlite_begin(writer, err) != TR_OK)
        return TR_FAIL;
    writer->beyond = true;
    return drain(writer, buffer->data.len, buffer->count, err);
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

/* Is it better to wait for more? See above. */
static bool is_gathering(const struct sqlite_writer *writer)
{
    if (writer->commit_changes < GATHER_CHANGES_MIN || writer->buffer.boundary_count == 0)
        return false;
    int64_t now_ms = tr_clock_mono_ms();
    return now_ms - writer->commit_end_ms < writer->commit_took_ms &&
           now_ms - writer->gather_begin_ms < writer->sink->options->commit_ms &&
           now_ms - writer->write_ms < GATHER_QUIET_MS;
}

enum tr_status tr_sqlite_writer_flush(void *self, int timeout_ms, struct tr_error *err)
{
    struct sqlite_writer *writer = self;
    if (writer->poisoned) {
        *err = writer->poison;
        return TR_FAIL;
    }
    atomic_store(&writer->sink->interrupted, false);
    bool due = !writer->beyond && writer->committed_seq < writer->accepted_seq;
    bool later = due && timeout_ms == 0 && is_gathering(writer);
    if (due && !later && commit_whole(writer, err) != TR_OK)
        return tr_sqlite_broken(writer, err);
    if (atomic_load(&writer->durable_seq) < writer->committed_seq) {
        int64_t begin_ms = tr_clock_mono_ms();
        if (sync_wal(writer, err) != TR_OK)
            return tr_sqlite_broken(writer, err);
        atomic_store(&writer->durable_seq, writer->committed_seq);
        if (!later) {
            writer->commit_end_ms = tr_clock_mono_ms();
            writer->commit_took_ms += writer->commit_end_ms - begin_ms;
        }
    }
    return later ? TR_AGAIN : TR_OK;
}

uint64_t tr_sqlite_writer_durable_seq(void *self)
{
    return atomic_load(&((struct sqlite_writer *)self)->durable_seq);
}

static enum tr_status on_commit(struct sqlite_writer *writer, const struct tr_event *event,
                                struct tr_error *err)
{
    const struct sqlite_options *options = writer->sink->options;
    bool empty = !writer->inside_source;
    for (uint32_t i = 0; i < event->mark_count; i++) {
        if (tr_pending_marks_add(&writer->marks.pending, &event->marks[i], empty, err) != TR_OK)
            return TR_FAIL;
    }
    writer->inside_source = writer->beyond = false;
    writer->accepted_seq = event->seq;
    tr_sqlite_buffer_boundary(&writer->buffer);
    bool many = tr_pending_marks_many(&writer->marks.pending);
    if (!writer->in_transaction && writer->buffer.boundary_count == 0 && !many) {
        if (writer->marks.pending.count == 0)
            writer->committed_seq = event->seq;
        return TR_OK;
    }
    if (many || writer->gathered >= options->commit_rows ||
        writer->write_ms - writer->gather_begin_ms >= options->commit_ms) {
        if (commit_whole(writer, err) != TR_OK)
            return TR_FAIL;
        if (options->journal != JOURNAL_WAL || options->synchronous == SYNC_FULL)
            atomic_store(&writer->durable_seq, writer->committed_seq);
    }
    return TR_OK;
}

/* ---- rows ----------------------------------------------------------------------------------- */

/* Not by way of the buffer: what is large, and what will be refused. */
static enum tr_status write_at_once(struct sqlite_writer *writer, const struct tr_event *event,
                                    struct tr_error *err)
{
    if (tr_sqlite_settle(writer, err) != TR_OK || tr_sqlite_begin(writer, err) != TR_OK)
        return TR_FAIL;
    writer->beyond = true;
    if (tr_sqlite_write_row(writer, event, err) != TR_OK)
        return TR_FAIL;
    writer->txn_changes++;
    return TR_OK;
}

static size_t bytes_of(const struct tr_cell *cell)
{
    return cell->state == TR_CELL_TEXT || cell->state == TR_CELL_BINARY ? cell->len : 0;
}

static bool is_large(const struct tr_event *event)
{
    size_t bytes = 0;
    for (unsigned i = 0; i < event->table->column_count; i++) {
        bytes += event->before != NULL ? bytes_of(&event->before[i]) : 0;
        bytes += event->after != NULL ? bytes_of(&event->after[i]) : 0;
    }
    return bytes > BUFFER_ROW_BYTES_MAX;
}

static enum tr_status accept(struct sqlite_writer *writer, const struct tr_event *event,
                             struct tr_error *err)
{
    struct table_entry *entry;
    int64_t bytes_max = writer->sink->options->commit_bytes;
    if (tr_sqlite_entry(writer, event->table, &entry, err) != TR_OK)
        return TR_FAIL;
    if (writer->scratch.used_bytes > 0)
        tr_arena_reset(&writer->scratch);
    if (writer->gathered++ == 0)
        writer->gather_begin_ms = writer->write_ms;
    writer->inside_source = true;
    enum tr_status status =
        is_large(event) ? TR_END : tr_sqlite_buffer_add(writer, entry, event, err);
    if (status == TR_END)
        return write_at_once(writer, event, err);
    if (status != TR_OK || !tr_sqlite_buffer_full(&writer->buffer, bytes_max))
        return status;
    if (!writer->beyond && commit_whole(writer, err) != TR_OK)
        return TR_FAIL;
    return tr_sqlite_buffer_full(&writer->buffer, bytes_max) ? tr_sqlite_settle(writer, err)
                                                             : TR_OK;
}

enum tr_status tr_sqlite_writer_write(void *self, const struct tr_event *events, size_t event_count,
                                      struct tr_error *err)
{
    struct sqlite_writer *writer = self;
    int64_t rows = 0;
    enum tr_status status = TR_OK;
    if (writer->poisoned) {
        *err = writer->poison;
        return TR_FAIL;
    }
    atomic_store(&writer->sink->interrupted, false);
    writer->write_ms = tr_clock_mono_ms();
    for (size_t i = 0; i < event_count && status == TR_OK; i++) {
        const struct tr_event *event = &events[i];
        if (event->op == TR_OP_COMMIT) {
            status = on_commit(writer, event, err);
        } else if (event->op != TR_OP_MESSAGE) {
            status = accept(writer, event, err);
            if (status != TR_OK && err->seq == 0)
                err->seq = event->seq;
            rows++;
        }
        if (i == event_count / 2) {
            int injected = TR_FAILPOINT("sink.sqlite.mid_batch");
            if (injected != 0 && status == TR_OK)
                status = tr_sqlite_failpoint_error("sink.sqlite.mid_batch", injected, err);
        }
    }
    tr_metric_add(&tr_sqlite_metric_rows, rows);
    return status == TR_OK ? TR_OK : tr_sqlite_broken(writer, err);
}
