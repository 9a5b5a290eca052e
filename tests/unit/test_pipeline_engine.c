/* The engine with a source and a sink made up here: both fail at random, and in the end every row
 * has arrived exactly once and in order, through any number of restarts. Runs under the thread
 * sanitizer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/log.h"
#include "pipeline/engine.h"

#define CHUNKS 24
#define CHUNK_ROWS 500
#define TXNS 3000
#define TXN_ROWS_MAX 40
#define HUGE_TXN 1234
#define HUGE_ROWS 60000
#define READ_AHEAD_WAIT_MS 20000

static struct plan {
    unsigned source_fail_one_in, sink_fail_one_in; /* 0 = never; per call */
    bool keyless_schema_changes;
    enum tr_schema_behavior behavior;
    bool sink_keeps_position;
    bool lazy_flush;         /* durable only after several flushes, as with a network */
    bool fills_up;           /* the source appends to a batch, one transaction a call */
    unsigned sink_waits_for; /* so many transactions must be read before it takes the first */
} plan;

static _Atomic unsigned random_state;
static unsigned next_random(void)
{
    unsigned x = atomic_fetch_add(&random_state, 0x9e3779b9u) * 2654435761u;
    return x >> 7;
}

/* ---- the source: CHUNKS chunks, then TXNS transactions ---- */

struct fake_source {
    bool chunk_done[CHUNKS];
    unsigned half_chunk[TR_SNAPSHOT_READERS_MAX]; /* chunk number + 1 */
    _Atomic unsigned next_chunk;
    unsigned txn; /* next */
    unsigned row; /* next within txn */
    struct tr_table *table, *wide;
    _Atomic bool interrupted;
    _Atomic unsigned acknowledged;
};
static unsigned rows_of(unsigned txn)
{
    return txn == HUGE_TXN ? HUGE_ROWS : 1 + txn * 7 % TXN_ROWS_MAX;
}
static _Atomic unsigned highest_ack, txns_read;

static enum tr_status fake_open(const struct tr_config *config, const struct tr_context *context,
                                void **self, struct tr_error *err)
{
    (void)config, (void)context;
    struct fake_source *source = calloc(1, sizeof *source);
    const struct tr_column columns[2] = {{.name = "id",
                                          .type = TR_T_INT64,
                                          .source_type = "int8",
                                          .source_type_base = "int8",
                                          .key_index = 1},
                                         {.name = "extra",
                                          .type = TR_T_STRING,
                                          .source_type = "text",
                                          .source_type_base = "text",
                                          .nullable = true}};
    struct tr_table spec = {.id = {"db", "public", "t"},
                            .source_id = 1,
                            .version = 1,
                            .column_count = 1,
                            .columns = columns};
    *self = source;
    if (tr_table_new(&spec, &source->table, err) != TR_OK)
        return TR_FAIL;
    spec.column_count = 2;
    spec.version = 2;
    return tr_table_new(&spec, &source->wide, err);
}
static enum tr_status fake_start(void *self, const struct tr_state *marks, struct tr_error *err)
{
    struct fake_source *source = self;
    (void)err;
    for (unsigned i = 0; i < CHUNKS; i++) {
        char key[32];
        (void)snprintf(key, sizeof key, "chunk/%u", i);
        source->chunk_done[i] = tr_state_get(marks, key) != NULL;
    }
    if (tr_state_get(marks, "snapshot") != NULL)
        atomic_store(&source->next_chunk, CHUNKS);
    const char *txn = tr_state_get(marks, "txn");
    source->txn = txn == NULL ? 0 : (unsigned)strtoul(txn, NULL, 10) + 1;
    return TR_OK;
}
static unsigned fake_readers(void *self)
{
    struct fake_source *source = self;
    return atomic_load(&source->next_chunk) >= CHUNKS ? 0 : 3;
}
static enum tr_status add_row(struct tr_batch *batch, const struct tr_table *table, char op,
                              unsigned long id, struct tr_error *err)
{
    struct tr_event *event = tr_batch_event(batch, (enum tr_op)op);
    struct tr_cell *cells = tr_batch_cells(batch, table->column_count);
    char text[24];
    int len = snprintf(text, sizeof text, "%lu", id);
    if (tr_batch_table(batch, table, err) != TR_OK)
        return TR_FAIL;
    cells[0] =
        (struct tr_cell){tr_batch_copy(batch, text, (size_t)len), (uint32_t)len, TR_CELL_TEXT};
    if (table->column_count > 1)
        cells[1] = (struct tr_cell){"x", 1, TR_CELL_TEXT};
    event->table = table;
    event->after = cells;
    event->ts_us = event->recv_ts_us = tr_clock_wall_us();
    return TR_OK;
}
static enum tr_status maybe_fail(unsigned one_in, const char *who, struct tr_error *err)
{
    if (one_in != 0 && next_random() % one_in == 0)
        return tr_fail_as(err, TR_TRANSIENT, TR_E_INTERRUPTED, "a made-up failure of the %s", who);
    return TR_OK;
}
static enum tr_status fake_snapshot(void *self, unsigned reader, struct tr_batch *batch,
                                    int timeout_ms, struct tr_error *err)
{
    struct fake_source *source = self;
    (void)timeout_ms;
    unsigned chunk, row = 0;
    if (source->half_chunk[reader] != 0) {
        chunk = source->half_chunk[reader] - 1;
        source->half_chunk[reader] = 0;
        row = CHUNK_ROWS / 2;
    } else
        do {
            chunk = atomic_fetch_add(&source->next_chunk, 1);
        } while (chunk < CHUNKS && source->chunk_done[chunk]);
    if (chunk >= CHUNKS) {
        /* a reader that found nothing to do has told of the table all the same: no COMMIT follows
         */
        const struct tr_schema_change create = {.kind = TR_CHANGE_CREATE_TABLE};
        if (tr_batch_schema_change(batch, source->table, &create, NULL, err) != TR_OK)
            return TR_FAIL;
        return TR_END;
    }
    if (maybe_fail(plan.source_fail_one_in, "source", err) != TR_OK)
        return TR_FAIL;
    for (unsigned i = row; i < CHUNK_ROWS; i++) {
        if (i == CHUNK_ROWS / 2 && row == 0) { /* chunks of two batches */
            source->half_chunk[reader] = chunk + 1;
            return TR_OK;
        }
        if (add_row(batch, source->table, 'r', chunk * CHUNK_ROWS + i, err) != TR_OK)
            return TR_FAIL;
    }
    char key[32];
    (void)snprintf(key, sizeof key, "chunk/%u", chunk);
    const struct tr_mark mark = {tr_slice_of(key), tr_slice_of("done")};
    return tr_batch_commit(batch, &mark, 1, NULL, err);
}
static enum tr_status fake_stream(void *self, struct tr_error *err)
{
    (void)self, (void)err;
    return TR_OK;
}
static enum tr_status fake_read(void *self, struct tr_batch *batch, int timeout_ms,
                                struct tr_error *err)
{
    struct fake_source *source = self;
    (void)timeout_ms;
    if (source->txn == TXNS)
        return TR_END;
    if (maybe_fail(plan.source_fail_one_in, "source", err) != TR_OK)
        return TR_FAIL;
    while (!tr_batch_full(batch) && source->txn < TXNS) {
        bool wide = plan.keyless_schema_changes && source->txn >= TXNS / 2;
        if (wide && source->txn == TXNS / 2 && source->row == 0) {
            const struct tr_alter_item item = {TR_ALTER_ADD_COLUMN, 0, 1};
            const struct tr_schema_change change = {.kind = TR_CHANGE_ALTER_TABLE,
                                                    .before = source->table,
                                                    .item_count = 1,
                                                    .items = &item};
            if (tr_batch_schema_change(batch, source->wide, &change, NULL, err) != TR_OK)
                return TR_FAIL;
        }
        while (source->row < rows_of(source->txn) && !tr_batch_full(batch)) {
            if (add_row(batch, wide ? source->wide : source->table, 'c',
                        1000000ul * (source->txn + 1) + source->row, err) != TR_OK)
                return TR_FAIL;
            source->row++;
        }
        if (source->row < rows_of(source->txn))
            return TR_OK;
        if (tr_batch_full(batch) && batch->event_count + 1 > TR_BATCH_EVENTS_MAX)
            return TR_OK;
        char value[16];
        (void)snprintf(value, sizeof value, "%u", source->txn);
        const struct tr_mark marks[] = {{tr_slice_of("txn"), tr_slice_of(value)},
                                        {tr_slice_of("snapshot"), tr_slice_of("done")}};
        if (tr_batch_commit(batch, marks, 2, NULL, err) != TR_OK)
            return TR_FAIL;
        source->txn++;
        source->row = 0;
        atomic_store(&txns_read, source->txn);
        if (plan.fills_up || next_random() % 40 == 0)
            break; /* batches of every size */
    }
    return TR_OK;
}
static void fake_acknowledge(void *self, const struct tr_state *marks)
{
    (void)self;
    const char *txn = tr_state_get(marks, "txn");
    unsigned now = txn == NULL ? 0 : (unsigned)strtoul(txn, NULL, 10);
    assert_true(now >= atomic_load(&highest_ack));
    atomic_store(&highest_ack, now);
}
static enum tr_status fake_keepalive(void *self, struct tr_error *err)
{
    (void)self, (void)err;
    return TR_OK;
}
static void fake_interrupt(void *self)
{
    atomic_store(&((struct fake_source *)self)->interrupted, true);
}
static void fake_progress(void *self, struct tr_source_progress *progress)
{
    (void)self;
    *progress = (struct tr_source_progress){0};
}
static void fake_close(void *self)
{
    struct fake_source *source = self;
    if (source == NULL)
        return;
    tr_table_unref(source->table);
    tr_table_unref(source->wide);
    free(source);
}
static const struct tr_source_ops fake_source_ops = {.name = "fake",
                                                     .abi = TR_SOURCE_ABI,
                                                     .open = fake_open,
                                                     .start = fake_start,
                                                     .snapshot_readers = fake_readers,
                                                     .snapshot = fake_snapshot,
                                                     .stream = fake_stream,
                                                     .read = fake_read,
                                                     .acknowledge = fake_acknowledge,
                                                     .keepalive = fake_keepalive,
                                                     .interrupt = fake_interrupt,
                                                     .progress = fake_progress,
                                                     .close = fake_close};

/* ---- the target, which outlives the sink objects: rows in arrival order, and marks ---- */

static struct target {
    unsigned long *rows;
    size_t count, capacity;
    struct tr_state marks;
    unsigned columns_seen, columns_applied;
} target;

struct fake_sink {
    size_t accepted, committed_to; /* rows behind target.count that wait for their COMMIT */
    struct tr_state pending_marks;
    uint64_t seq_commit, seq_durable;
    unsigned flushes_left;
};
static void rows_push(unsigned long id)
{
    if (target.count == target.capacity) {
        target.capacity = target.capacity * 2 + 1024;
        target.rows = realloc(target.rows, target.capacity * sizeof *target.rows);
    }
    target.rows[target.count++] = id;
}
static enum tr_status sink_open(const struct tr_config *config, const struct tr_context *context,
                                void **self, struct tr_error *err)
{
    (void)config, (void)context, (void)err;
    *self = calloc(1, sizeof(struct fake_sink));
    return TR_OK;
}
static enum tr_status sink_load(void *self, struct tr_state *marks, struct tr_error *err)
{
    (void)self;
    if (!plan.sink_keeps_position)
        return TR_END;
    return tr_state_copy(marks, &target.marks, err);
}
static enum tr_status sink_writer(void *self, unsigned partition, void **writer,
                                  struct tr_error *err)
{
    struct fake_sink *sink = self;
    assert_int_equal(partition, 0);
    sink->committed_to = target.count;
    *writer = sink;
    return tr_state_copy(&sink->pending_marks, &target.marks, err);
}
static enum tr_status sink_apply(void *writer, const struct tr_event *event, struct tr_error *err)
{
    (void)writer, (void)err;
    target.columns_applied = event->table->column_count;
    return TR_OK;
}
static void wait_for_txns(void)
{
    int64_t deadline_ms = tr_clock_mono_ms() + READ_AHEAD_WAIT_MS;
    while (atomic_load(&txns_read) < plan.sink_waits_for && tr_clock_mono_ms() < deadline_ms)
        tr_clock_sleep_ms(1);
    assert_true(atomic_load(&txns_read) >= plan.sink_waits_for);
}
static enum tr_status sink_write(void *writer, const struct tr_event *events, size_t count,
                                 struct tr_error *err)
{
    struct fake_sink *sink = writer;
    if (maybe_fail(plan.sink_fail_one_in, "sink", err) != TR_OK)
        return TR_FAIL;
    if (atomic_load(&txns_read) > 0)
        wait_for_txns();
    for (size_t i = 0; i < count; i++) {
        const struct tr_event *event = &events[i];
        assert_true(event->op != TR_OP_SCHEMA);
        if (event->op == TR_OP_COMMIT) {
            for (uint32_t m = 0; m < event->mark_count; m++)
                assert_int_equal(tr_state_apply(&sink->pending_marks, event->marks[m].key,
                                                event->marks[m].value, err),
                                 TR_OK);
            sink->committed_to = target.count;
            sink->seq_commit = event->seq;
        } else {
            char text[24] = {0};
            memcpy(text, event->after[0].ptr, event->after[0].len);
            rows_push(strtoul(text, NULL, 10));
            target.columns_seen = event->table->column_count;
        }
    }
    sink->flushes_left = plan.lazy_flush ? 3 : 0;
    return TR_OK;
}
static enum tr_status sink_flush(void *writer, int timeout_ms, struct tr_error *err)
{
    struct fake_sink *sink = writer;
    if (maybe_fail(plan.sink_fail_one_in, "sink", err) != TR_OK)
        return TR_FAIL;
    if (timeout_ms == 0 && sink->flushes_left > 0) {
        sink->flushes_left--;
        return TR_AGAIN;
    }
    sink->seq_durable = sink->seq_commit;
    return tr_state_copy(&target.marks, &sink->pending_marks, err);
}
static uint64_t sink_durable(void *writer) { return ((struct fake_sink *)writer)->seq_durable; }
static void sink_interrupt(void *self) { (void)self; }
static size_t durable_rows;
static void sink_writer_close(void *writer)
{
    /* what was not flushed is rolled back, as a database does */
    struct fake_sink *sink = writer;
    (void)sink;
    tr_state_free(&sink->pending_marks);
}
static void sink_close(void *self) { free(self); }

/* With a position: rows and marks roll back together. */
static enum tr_status exact_flush(void *writer, int timeout_ms, struct tr_error *err)
{
    struct fake_sink *sink = writer;
    enum tr_status status = sink_flush(writer, timeout_ms, err);
    if (status == TR_OK)
        durable_rows = sink->committed_to;
    return status;
}
static enum tr_status exact_writer(void *self, unsigned partition, void **writer,
                                   struct tr_error *err)
{
    target.count = durable_rows;
    return sink_writer(self, partition, writer, err);
}
static const struct tr_sink_ops exact_ops = {.name = "exact",
                                             .abi = TR_SINK_ABI,
                                             .caps = TR_CAP_UPSERT | TR_CAP_TRANSACTIONS |
                                                     TR_CAP_POSITION | TR_CAP_DDL | TR_CAP_TRUNCATE,
                                             .open = sink_open,
                                             .load_marks = sink_load,
                                             .writer_open = exact_writer,
                                             .apply = sink_apply,
                                             .write = sink_write,
                                             .flush = exact_flush,
                                             .durable_seq = sink_durable,
                                             .interrupt = sink_interrupt,
                                             .writer_close = sink_writer_close,
                                             .close = sink_close};
static const struct tr_sink_ops least_ops = {.name = "least",
                                             .abi = TR_SINK_ABI,
                                             .caps = TR_CAP_DDL,
                                             .open = sink_open,
                                             .writer_open = sink_writer,
                                             .apply = sink_apply,
                                             .write = sink_write,
                                             .flush = sink_flush,
                                             .durable_seq = sink_durable,
                                             .interrupt = sink_interrupt,
                                             .writer_close = sink_writer_close,
                                             .close = sink_close};

/* ---- runs ---- */

static size_t expected_rows(void)
{
    size_t rows = CHUNKS * CHUNK_ROWS;
    for (unsigned txn = 0; txn < TXNS; txn++)
        rows += rows_of(txn);
    return rows;
}

static void run(const struct tr_sink_ops *ops)
{
    struct tr_source_ops source_ops = fake_source_ops;
    if (plan.fills_up)
        source_ops.caps |= TR_SRC_FILLS_UP;
    char dir[] = "/tmp/tailrace-engine-XXXXXX", command[64];
    struct tr_error err;
    assert_non_null(mkdtemp(dir));
    free(target.rows);
    tr_state_free(&target.marks);
    memset(&target, 0, sizeof target);
    durable_rows = 0;
    atomic_store(&highest_ack, 0);
    atomic_store(&txns_read, 0);
    struct tr_sink_config sink = {.ops = ops, .include_changes = TR_CHG_ALL};
    struct tr_pipeline_file file = {.path = "test.yaml",
                                    .source_ops = &source_ops,
                                    .sinks = &sink,
                                    .sink_count = 1,
                                    .options = {.name = "test",
                                                .schema_behavior = (int)plan.behavior,
                                                .checkpoint_interval_ms = 1,
                                                .checkpoint_keep = 2,
                                                .linger_ms = 5,
                                                .buffer_memory_bytes = 8 << 20,
                                                .restart_kind = TR_RESTART_FIXED_DELAY,
                                                .restart_attempts = 1000000,
                                                .restart_delay_ms = 1,
                                                .restart_reset_ms = 0,
                                                .stop_timeout_ms = 20000}};
    struct tr_run_options options = {.state_dir = dir};
    struct tr_engine *engine;
    assert_int_equal(tr_engine_open(&file, &options, &engine, &err), TR_OK);
    /* a made-up failure before anything was delivered must not end the test */
    enum tr_status status;
    unsigned runs = 0;
    do {
        status = tr_engine_run(engine, &err);
    } while (status == TR_FAIL && err.code == TR_E_INTERRUPTED && ++runs < 1000);
    if (status == TR_FAIL)
        print_message("%s\n", err.message);
    assert_int_equal(status, TR_OK);
    tr_engine_close(engine);
    assert_int_equal(atomic_load(&highest_ack), TXNS - 1);
    (void)snprintf(command, sizeof command, "rm -rf %s", dir);
    assert_int_equal(system(command), 0);
}

static void check_exact(void)
{
    assert_int_equal(target.count, expected_rows());
    unsigned char *seen = calloc(CHUNKS * CHUNK_ROWS, 1);
    size_t at = 0;
    for (; at < CHUNKS * CHUNK_ROWS; at++) { /* chunks in any order, each row once */
        assert_true(target.rows[at] < CHUNKS * CHUNK_ROWS);
        assert_int_equal(seen[target.rows[at]]++, 0);
    }
    free(seen);
    for (unsigned txn = 0; txn < TXNS; txn++) {
        for (unsigned row = 0; row < rows_of(txn); row++)
            assert_int_equal(target.rows[at++], 1000000ul * (txn + 1) + row);
    }
}

static void without_faults_everything_arrives_in_order(void **unused)
{
    (void)unused;
    plan = (struct plan){.behavior = TR_SCHEMA_EVOLVE, .sink_keeps_position = true};
    run(&exact_ops);
    check_exact();
}
static void through_restarts_each_row_arrives_once(void **unused)
{
    (void)unused;
    plan = (struct plan){.behavior = TR_SCHEMA_EVOLVE,
                         .sink_keeps_position = true,
                         .source_fail_one_in = 60,
                         .sink_fail_one_in = 150,
                         .lazy_flush = true};
    run(&exact_ops);
    check_exact();
}
static void at_least_once_loses_nothing(void **unused)
{
    (void)unused;
    plan = (struct plan){.behavior = TR_SCHEMA_EVOLVE,
                         .source_fail_one_in = 80,
                         .sink_fail_one_in = 150,
                         .lazy_flush = true};
    run(&least_ops);
    unsigned char *seen = calloc(TXNS, HUGE_ROWS > TXN_ROWS_MAX ? TXN_ROWS_MAX : HUGE_ROWS);
    size_t distinct = 0, huge = 0;
    for (size_t i = 0; i < target.count; i++) {
        unsigned long id = target.rows[i];
        if (id < 1000000ul)
            continue;
        unsigned long txn = id / 1000000ul - 1, row = id % 1000000ul;
        if (txn == HUGE_TXN)
            huge++;
        else if (seen[txn * TXN_ROWS_MAX + row]++ == 0)
            distinct++;
    }
    free(seen);
    assert_int_equal(distinct, expected_rows() - CHUNKS * CHUNK_ROWS - HUGE_ROWS);
    assert_true(huge >= HUGE_ROWS);
}
/* One transaction a batch, the pool would be used up after a few. */
static void batches_are_filled_while_the_sink_is_busy(void **unused)
{
    (void)unused;
    plan = (struct plan){.behavior = TR_SCHEMA_EVOLVE,
                         .sink_keeps_position = true,
                         .fills_up = true,
                         .sink_waits_for = 200};
    run(&exact_ops);
    check_exact();
}
static void filled_batches_arrive_once_through_restarts(void **unused)
{
    (void)unused;
    plan = (struct plan){.behavior = TR_SCHEMA_EVOLVE,
                         .sink_keeps_position = true,
                         .fills_up = true,
                         .source_fail_one_in = 300,
                         .sink_fail_one_in = 150,
                         .lazy_flush = true};
    run(&exact_ops);
    check_exact();
}
static void evolve_applies_a_change_and_widens_rows(void **unused)
{
    (void)unused;
    plan = (struct plan){
        .behavior = TR_SCHEMA_EVOLVE, .sink_keeps_position = true, .keyless_schema_changes = true};
    run(&exact_ops);
    check_exact();
    assert_int_equal(target.columns_applied, 2);
    assert_int_equal(target.columns_seen, 2);
}
static void ignore_keeps_the_targets_columns(void **unused)
{
    (void)unused;
    plan = (struct plan){
        .behavior = TR_SCHEMA_IGNORE, .sink_keeps_position = true, .keyless_schema_changes = true};
    run(&exact_ops);
    check_exact();
    assert_int_equal(target.columns_applied, 1);
    assert_int_equal(target.columns_seen, 1);
}
static void a_second_engine_is_refused(void **unused)
{
    (void)unused;
    char dir[] = "/tmp/tailrace-engine-XXXXXX", command[64];
    struct tr_error err;
    struct tr_sink_config sink = {.ops = &exact_ops, .include_changes = TR_CHG_ALL};
    struct tr_pipeline_file file = {.path = "t",
                                    .source_ops = &fake_source_ops,
                                    .sinks = &sink,
                                    .sink_count = 1,
                                    .options = {.name = "test", .checkpoint_keep = 2}};
    assert_non_null(mkdtemp(dir));
    struct tr_run_options options = {.state_dir = dir};
    struct tr_engine *first, *second;
    assert_int_equal(tr_engine_open(&file, &options, &first, &err), TR_OK);
    assert_int_equal(tr_engine_open(&file, &options, &second, &err), TR_FAIL);
    assert_int_equal(err.code, TR_E_ALREADY_RUNNING);
    tr_engine_close(first);
    (void)snprintf(command, sizeof command, "rm -rf %s", dir);
    assert_int_equal(system(command), 0);
}

int main(void)
{
    atomic_store(&random_state, (unsigned)time(NULL));
    printf("seed %u\n", atomic_load(&random_state));
    tr_log_set_level(TR_LOG_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_faults_everything_arrives_in_order),
        cmocka_unit_test(through_restarts_each_row_arrives_once),
        cmocka_unit_test(at_least_once_loses_nothing),
        cmocka_unit_test(batches_are_filled_while_the_sink_is_busy),
        cmocka_unit_test(filled_batches_arrive_once_through_restarts),
        cmocka_unit_test(evolve_applies_a_change_and_widens_rows),
        cmocka_unit_test(ignore_keeps_the_targets_columns),
        cmocka_unit_test(a_second_engine_is_refused),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    free(target.rows);
    tr_state_free(&target.marks);
    return failed;
}
