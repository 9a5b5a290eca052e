/* The PostgreSQL source's operations; the work is in the other files of this folder:
 *   options connection catalog types slot preflight   asking the server
 *   start snapshot_plan snapshot                      where to begin, copying
 *   stream relation health                            following the log
 *   scan                                              reading back, for verify
 *   marks                                             the resume position
 *
 * Threads: see tailrace/source.h. The SQL connection belongs to the opening thread until stream(),
 * and to the stream's reader from then on. acknowledge only stores a number; interrupt only rings
 * eventfds: one for start and stream, one per snapshot reader, so that no waiter takes another's
 * wake-up. */
#include "source/postgres/source.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/log.h"

static void source_close(void *self)
{
    struct tr_pg_source *source = self;
    if (source == NULL)
        return;
    tr_pg_snapshot_close(source);
    tr_pg_stream_close(source);
    tr_pg_scan_close_all(source);
    tr_pg_known_free(&source->known);
    tr_pg_ahead_free(source->ahead);
    tr_pg_disconnect(&source->sql);
    tr_pg_catalog_free(&source->catalog);
    tr_pg_types_free(&source->types);
    tr_state_free(&source->marks);
    tr_pg_settings_free(&source->settings);
    for (size_t i = 0; i < sizeof source->wake_fds / sizeof *source->wake_fds; i++) {
        if (source->wake_fds[i] >= 0)
            (void)close(source->wake_fds[i]);
    }
    free(source);
}

static enum tr_status make_wake_fds(struct tr_pg_source *source, struct tr_error *err)
{
    size_t count = sizeof source->wake_fds / sizeof *source->wake_fds;
    for (size_t i = 0; i < count; i++)
        source->wake_fds[i] = -1;
    for (size_t i = 0; i < count; i++) {
        source->wake_fds[i] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
        if (source->wake_fds[i] < 0)
            return tr_fail(err, TR_E_OUT_OF_MEMORY, "could not make an eventfd: %m");
    }
    return TR_OK;
}

static enum tr_status source_open(const struct tr_config *config, const struct tr_context *context,
                                  void **self, struct tr_error *err)
{
    struct tr_pg_source *source = calloc(1, sizeof *source);
    *self = NULL;
    if (source == NULL)
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for the source");
    tr_state_init(&source->marks);
    tr_pg_types_init(&source->types);
    source->raw_rows = context->raw_rows;
    source->offer_binary = context->offer_binary;
    source->engine = context->engine;
    source->checking = context->checking;
    if (make_wake_fds(source, err) != TR_OK ||
        tr_pg_settings_init(&source->settings, tr_config_values(config), config,
                            context->pipeline_name, err) != TR_OK ||
        tr_pg_connect(&source->settings, false, -1, &source->sql, err) != TR_OK ||
        tr_pg_server_load(&source->sql, &source->server, err) != TR_OK) {
        source_close(source);
        return TR_FAIL;
    }
    source->bounded = source->settings.options->startup_mode == TR_PG_SNAPSHOT;
    *self = source;
    return TR_OK;
}

static enum tr_status source_validate(void *self, tr_report_fn report, void *report_ctx,
                                      struct tr_error *err)
{
    struct tr_pg_source *source = self;
    if (tr_pg_source_sql(source, err) != TR_OK || tr_pg_source_catalog(source, err) != TR_OK)
        return TR_FAIL;
    return tr_pg_preflight(&source->sql, &source->settings, &source->server, &source->catalog,
                           report, report_ctx, err);
}

static enum tr_status source_start(void *self, const struct tr_state *marks, struct tr_error *err)
{
    struct tr_pg_source *source = self;
    if (source->checking)
        return tr_fail(err, TR_E_INTERNAL, "a source opened for checking was started");
    return tr_pg_start(source, marks, err);
}

static unsigned source_snapshot_readers(void *self) { return tr_pg_snapshot_readers(self); }

static enum tr_status source_snapshot(void *self, unsigned reader_index, struct tr_batch *batch,
                                      int timeout_ms, struct tr_error *err)
{
    return tr_pg_snapshot_read(self, reader_index, batch, timeout_ms, err);
}

static enum tr_status source_stream(void *self, struct tr_error *err)
{
    return tr_pg_stream_start(self, err);
}

static enum tr_status source_read(void *self, struct tr_batch *batch, int timeout_ms,
                                  struct tr_error *err)
{
    return tr_pg_stream_read(self, batch, timeout_ms, err);
}

static void source_acknowledge(void *self, const struct tr_state *marks)
{
    struct tr_pg_source *source = self;
    uint64_t lsn = tr_pg_mark_lsn(marks, "lsn");
    uint64_t last = atomic_load(&source->progress.acknowledged_lsn);
    while (lsn > last &&
           !atomic_compare_exchange_weak(&source->progress.acknowledged_lsn, &last, lsn))
        continue;
}

static enum tr_status source_keepalive(void *self, struct tr_error *err)
{
    return tr_pg_stream_keepalive(self, err);
}

static enum tr_status source_finish(void *self, int timeout_ms, struct tr_error *err)
{
    return tr_pg_stream_finish(self, timeout_ms, err);
}

static void source_interrupt(void *self)
{
    struct tr_pg_source *source = self;
    for (size_t i = 0; i < sizeof source->wake_fds / sizeof *source->wake_fds; i++) {
        uint64_t one = 1;
        ssize_t written = write(source->wake_fds[i], &one, sizeof one);
        (void)written; /* full: it is ringing already */
    }
}

static enum tr_status source_drop(void *self, tr_report_fn report, void *report_ctx,
                                  struct tr_error *err)
{
    struct tr_pg_source *source = self;
    if (tr_pg_source_sql(source, err) != TR_OK)
        return TR_FAIL;
    if (source->bounded)
        return TR_OK; /* nothing was made */
    return tr_pg_remove(&source->sql, &source->settings, &source->server, report, report_ctx, err);
}

static void source_progress(void *self, struct tr_source_progress *progress)
{
    struct tr_pg_source *source = self;
    struct tr_pg_progress *own = &source->progress;
    memset(progress, 0, sizeof *progress);
    progress->snapshot_running = atomic_load(&own->snapshot_running);
    progress->snapshot_rows = atomic_load(&own->rows);
    progress->snapshot_rows_total = atomic_load(&own->rows_total);
    progress->snapshot_tables_done = atomic_load(&own->tables_done);
    progress->snapshot_tables_total = atomic_load(&own->tables_total);
    progress->server_position = atomic_load(&own->server_lsn);
    progress->read_position = atomic_load(&own->read_lsn);
    progress->acknowledged_position = atomic_load(&own->acknowledged_lsn);
    (void)tr_lsn_format(progress->read_position, progress->position_text,
                        sizeof progress->position_text);
}

const struct tr_source_ops tr_source_postgres = {
    .name = "postgres",
    .abi = TR_SOURCE_ABI,
    .caps = TR_SRC_SNAPSHOT | TR_SRC_RAW_PGCOPY | TR_SRC_FILLS_UP,
    .options = tr_pg_option_table,
    .options_size = sizeof(struct tr_pg_options),
    .summary = "PostgreSQL 12 to 18: parallel snapshot, then logical replication (pgoutput)",
    .open = source_open,
    .validate = source_validate,
    .start = source_start,
    .snapshot_readers = source_snapshot_readers,
    .snapshot = source_snapshot,
    .stream = source_stream,
    .read = source_read,
    .acknowledge = source_acknowledge,
    .keepalive = source_keepalive,
    .finish = source_finish,
    .interrupt = source_interrupt,
    .drop = source_drop,
    .progress = source_progress,
    .close = source_close,
    .scan = &tr_pg_scan_ops,
};
