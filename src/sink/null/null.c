/* The null sink: counts events and bytes, and drops them. It shows what a source and the engine can
 * do without a target. Each writer belongs to one thread; the counters are shared and updated per
 * call. */
#include "null.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "base/metric.h"

enum counter {
    CREATES,
    UPDATES,
    DELETES,
    READS,
    TRUNCATES,
    MESSAGES,
    SCHEMAS,
    COMMITS,
    BYTES,
    COUNTERS
};

static struct tr_metric metrics[COUNTERS] = {
    [CREATES] = {"tailrace_null_creates_total", "events", "Inserts dropped by the null sink",
                 TR_COUNTER, 0, NULL, 0},
    [UPDATES] = {"tailrace_null_updates_total", "events", "Updates dropped by the null sink",
                 TR_COUNTER, 0, NULL, 0},
    [DELETES] = {"tailrace_null_deletes_total", "events", "Deletes dropped by the null sink",
                 TR_COUNTER, 0, NULL, 0},
    [READS] = {"tailrace_null_reads_total", "events", "Snapshot rows dropped by the null sink",
               TR_COUNTER, 0, NULL, 0},
    [TRUNCATES] = {"tailrace_null_truncates_total", "events", "Truncates dropped by the null sink",
                   TR_COUNTER, 0, NULL, 0},
    [MESSAGES] = {"tailrace_null_messages_total", "events", "Messages dropped by the null sink",
                  TR_COUNTER, 0, NULL, 0},
    [SCHEMAS] = {"tailrace_null_schema_changes_total", "events",
                 "Schema changes dropped by the null sink", TR_COUNTER, 0, NULL, 0},
    [COMMITS] = {"tailrace_null_commits_total", "events", "Commits seen by the null sink",
                 TR_COUNTER, 0, NULL, 0},
    [BYTES] = {"tailrace_null_bytes", "bytes", "Value bytes dropped by the null sink", TR_COUNTER,
               0, NULL, 0},
};

struct null_options {
    char unused; /* a struct needs a member */
};
struct null_writer {
    _Atomic uint64_t durable_seq;
};

static const struct tr_option options[] = {{.name = NULL}};

static enum tr_status null_open(const struct tr_config *config, const struct tr_context *context,
                                void **self, struct tr_error *err)
{
    static char nothing;
    (void)config;
    (void)context;
    (void)err;
    for (int i = 0; i < COUNTERS; i++)
        tr_metric_register(&metrics[i]);
    *self = &nothing;
    return TR_OK;
}

static enum tr_status null_validate(void *self, const struct tr_table *const *tables,
                                    size_t table_count, tr_report_fn report, void *report_ctx,
                                    struct tr_error *err)
{
    (void)self;
    (void)tables;
    (void)table_count;
    (void)err;
    struct tr_finding finding = {TR_INFO, TR_E_NONE, "sink", "events are counted and dropped",
                                 NULL};
    report(report_ctx, &finding);
    return TR_OK;
}

static enum tr_status null_writer_open(void *self, unsigned partition, void **out,
                                       struct tr_error *err)
{
    (void)self;
    (void)partition;
    struct null_writer *writer = calloc(1, sizeof *writer);
    if (writer == NULL)
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for a writer");
    *out = writer;
    return TR_OK;
}

static enum counter counter_of(uint8_t op)
{
    switch ((enum tr_op)op) {
    case TR_OP_CREATE:
        return CREATES;
    case TR_OP_UPDATE:
        return UPDATES;
    case TR_OP_DELETE:
        return DELETES;
    case TR_OP_READ:
        return READS;
    case TR_OP_TRUNCATE:
        return TRUNCATES;
    case TR_OP_MESSAGE:
        return MESSAGES;
    case TR_OP_SCHEMA:
        return SCHEMAS;
    case TR_OP_COMMIT:
        break;
    }
    return COMMITS;
}

static int64_t cell_bytes(const struct tr_event *event, const struct tr_cell *cells)
{
    int64_t bytes = 0;
    for (uint16_t i = 0; cells != NULL && event->table != NULL && i < event->table->column_count;
         i++) {
        if (cells[i].state == TR_CELL_TEXT || cells[i].state == TR_CELL_BINARY)
            bytes += cells[i].len;
    }
    return bytes;
}

static enum tr_status null_apply(void *self, const struct tr_event *event, struct tr_error *err)
{
    struct null_writer *writer = self;
    (void)err;
    tr_metric_add(&metrics[SCHEMAS], 1);
    atomic_store(&writer->durable_seq, event->seq);
    return TR_OK;
}

static enum tr_status null_write(void *self, const struct tr_event *events, size_t event_count,
                                 struct tr_error *err)
{
    struct null_writer *writer = self;
    int64_t counts[COUNTERS] = {0};
    (void)err;
    for (size_t i = 0; i < event_count; i++) {
        const struct tr_event *event = &events[i];
        counts[counter_of(event->op)]++;
        /* a row that came as it was read is counted as such: its cells may not be there */
        counts[BYTES] +=
            event->raw.len > 0 ? (int64_t)event->raw.len : cell_bytes(event, event->after);
        counts[BYTES] += cell_bytes(event, event->before);
    }
    for (int i = 0; i < COUNTERS; i++) {
        if (counts[i] > 0)
            tr_metric_add(&metrics[i], counts[i]);
    }
    if (event_count > 0)
        atomic_store(&writer->durable_seq, events[event_count - 1].seq);
    return TR_OK;
}

static enum tr_status null_flush(void *self, int timeout_ms, struct tr_error *err)
{
    (void)self;
    (void)timeout_ms;
    (void)err;
    return TR_OK;
}

static uint64_t null_durable_seq(void *self)
{
    return atomic_load(&((struct null_writer *)self)->durable_seq);
}

static void null_interrupt(void *self) { (void)self; }

static void null_writer_close(void *self) { free(self); }

static enum tr_status null_drop(void *self, tr_report_fn report, void *report_ctx,
                                struct tr_error *err)
{
    (void)self;
    (void)report;
    (void)report_ctx;
    (void)err;
    return TR_OK;
}

static void null_close(void *self) { (void)self; }

const struct tr_sink_ops tr_sink_null = {
    .name = "null",
    .abi = TR_SINK_ABI,
    .caps = TR_CAP_UPSERT | TR_CAP_DDL | TR_CAP_TRUNCATE | TR_CAP_PARALLEL | TR_CAP_RAW_PGCOPY,
    .options = options,
    .options_size = sizeof(struct null_options),
    .summary = "Counts events and drops them",
    .open = null_open,
    .validate = null_validate,
    .load_marks = NULL,
    .writer_open = null_writer_open,
    .apply = null_apply,
    .write = null_write,
    .flush = null_flush,
    .durable_seq = null_durable_seq,
    .interrupt = null_interrupt,
    .writer_close = null_writer_close,
    .drop = null_drop,
    .close = null_close,
    .scan = NULL,
};
