/* The whole engine with a source of messages and several sinks that are made up here. Everything fails
 * at random, so that the sinks are at different positions at each restart. In the end every event is
 * exactly once where it belongs: a row in every row sink or a late event in the dead letters, the same
 * decision for all; the windows count what the rows say; and no stored position has ever gone back.
 * Runs under the thread sanitizer. */
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
#include "config/bind.h"
#include "event/dead_letter.h"
#include "event/time_text.h"
#include "pipeline/engine.h"

#define SPLITS 5 /* the last is found while the source runs */
#define SPLITS_FIRST 4
#define MESSAGES 60 /* per split */
#define ROWS_MAX 2   /* per message */
#define KEYS 3
#define SECOND_US INT64_C(1000000)
#define BASE_US (INT64_C(1700000000) * SECOND_US)
#define DELAY_US (5 * SECOND_US)
#define LATE_US (3600 * SECOND_US)
#define FIRST_LATE 8 /* before it the watermark may not be known yet */
#define RUNS 60 /* of each kind */
#define SINKS_MAX 4
#define RESULTS_MAX 4096

enum { PLAIN, HISTORY, WINDOW, LETTERS };

static struct plan {
    unsigned seed, source_fail_one_in, sink_fail_one_in, stop_one_in;
    int late; /* enum tr_late */
    int window_kind;
    bool history_holds_position;
} plan;

static _Atomic unsigned random_state;
static unsigned next_random(void)
{
    unsigned x = atomic_fetch_add(&random_state, 0x9e3779b9u);
    x = (x ^ x >> 16) * 0x85ebca6bu;
    x = (x ^ x >> 13) * 0xc2b2ae35u;
    return (x ^ x >> 16) >> 3;
}
static enum tr_status maybe_fail(unsigned one_in, const char *who, struct tr_error *err)
{
    if (one_in != 0 && next_random() % one_in == 0)
        return tr_fail_as(err, TR_TRANSIENT, TR_E_INTERRUPTED, "a made-up failure of %s", who);
    return TR_OK;
}

/* ---- what a message holds: a function of seed, split and offset ---- */

enum kind { ON_TIME, DUBIOUS, LATE, MALFORMED };
struct row {
    enum kind kind;
    int64_t time_us;
    unsigned key;
    int64_t value;
};
static unsigned hash_of(unsigned split, unsigned offset, unsigned what)
{
    unsigned x = plan.seed ^ split * 0x9e3779b1u ^ offset * 0x85ebca77u ^ what * 0xc2b2ae3du;
    x = (x ^ x >> 15) * 0x2c1b3c6du;
    x = (x ^ x >> 12) * 0x297a2d39u;
    return (x ^ x >> 15) >> 2;
}
static unsigned rows_of(unsigned split, unsigned offset)
{
    return hash_of(split, offset, 1) % 12 == 0 ? ROWS_MAX : 1;
}
static struct row row_of(unsigned split, unsigned offset, unsigned index)
{
    struct row row = {.kind = ON_TIME,
                      .key = hash_of(split, offset, 2 + index) % KEYS,
                      .value = (int64_t)(hash_of(split, offset, 4 + index) % 2001) - 1000};
    unsigned kind = hash_of(split, offset, 6) % 100;
    int64_t disorder_us = hash_of(split, offset, 7 + index) % 4000000;
    if (kind < 3)
        row.kind = MALFORMED;
    else if (kind < 8 && offset >= FIRST_LATE)
        row.kind = LATE;
    /* the rows of a message may differ in being late */
    else if (hash_of(split, offset, 9 + index) % 100 < 12)
        row.kind = DUBIOUS;
    row.time_us = BASE_US + offset * 3 * SECOND_US - disorder_us;
    if (row.kind == LATE)
        row.time_us -= LATE_US;
    if (row.kind == DUBIOUS)
        row.time_us -= hash_of(split, offset, 11 + index) % 60 * SECOND_US;
    if (split >= SPLITS_FIRST && row.kind == ON_TIME)
        row.kind = DUBIOUS; /* the watermark did not wait for it */
    return row;
}
/* The rows of one message are judged together. */
static enum kind kind_of(unsigned split, unsigned offset)
{
    enum kind kind = row_of(split, offset, 0).kind;
    return kind == ON_TIME && rows_of(split, offset) > 1 ? row_of(split, offset, 1).kind : kind;
}

/* ---- the source ---- */

struct fake_source {
    struct tr_table *table;
    struct tr_split splits[SPLITS];
    char names[SPLITS][8];
    _Atomic unsigned split_count;
    unsigned next[SPLITS], committed[SPLITS];
    unsigned late_split_in; /* reads until the last split is found */
    bool began;
};
static struct tr_engine *engine;
static bool ended, stopped;
static bool last_is_there; /* the last split; from then on each start finds it */

static enum tr_status source_open(const struct tr_config *config, const struct tr_context *context,
                                  void **self, struct tr_error *err)
{
    (void)config;
    assert_true(context->has_dead_letters);
    if (maybe_fail(plan.source_fail_one_in, "the source", err) != TR_OK)
        return TR_FAIL;
    struct fake_source *source = calloc(1, sizeof *source);
    const struct tr_column columns[] = {
        {.name = "id", .type = TR_T_STRING, .source_type = "text", .key_index = 1},
        {.name = "k", .type = TR_T_STRING, .source_type = "text"},
        {.name = "v", .type = TR_T_INT64, .source_type = "int8"},
        {.name = "at", .type = TR_T_TIMESTAMP, .source_type = "timestamp", .precision = 6}};
    const struct tr_table spec = {
        .id = {"", "", "t"}, .version = 1, .column_count = 4, .columns = columns};
    *self = source;
    for (unsigned i = 0; i < SPLITS; i++) {
        (void)snprintf(source->names[i], sizeof source->names[i], "t/%u", i);
        source->splits[i] = (struct tr_split){
            .index = i, .name = source->names[i], .container = "t", .partition = (int32_t)i};
    }
    return tr_table_new(&spec, &source->table, err);
}
static enum tr_status source_start(void *self, const struct tr_state *marks, struct tr_error *err)
{
    struct fake_source *source = self;
    atomic_store(&source->split_count, last_is_there ? SPLITS : SPLITS_FIRST);
    for (unsigned i = 0; i < SPLITS; i++) {
        char key[24];
        (void)snprintf(key, sizeof key, TR_MARK_SPLIT "t/%u", i);
        const char *text = tr_state_get(marks, key);
        source->next[i] = source->committed[i] =
            text == NULL ? 0 : (unsigned)strtoul(text, NULL, 10);
    }
    source->late_split_in = 1 + next_random() % 20;
    return maybe_fail(plan.source_fail_one_in, "the source", err);
}
static unsigned source_readers(void *self)
{
    (void)self;
    return 0;
}
static enum tr_status source_stream(void *self, struct tr_error *err)
{
    (void)self;
    return maybe_fail(plan.source_fail_one_in, "the source", err);
}
static enum tr_status add_text(struct tr_batch *batch, struct tr_cell *cell, const char *text)
{
    size_t len = strlen(text);
    *cell = (struct tr_cell){tr_batch_copy(batch, text, len), (uint32_t)len, TR_CELL_TEXT};
    return TR_OK;
}
static enum tr_status add_message(struct fake_source *source, struct tr_batch *batch, unsigned split,
                                  struct tr_error *err)
{
    unsigned offset = source->next[split];
    char text[TR_TIME_TEXT_BYTES];
    struct tr_message *message =
        tr_arena_alloc(&batch->arena, sizeof *message, _Alignof(struct tr_message));
    *message = (struct tr_message){.split = &source->splits[split],
                                   .position = offset,
                                   .next = offset + 1,
                                   .ts_us = TR_TIME_NONE,
                                   .value = {"x", 1}};
    source->next[split]++;
    if (kind_of(split, offset) == MALFORMED) {
        const struct tr_dead_letter letter = {.reason = TR_DEAD_MALFORMED,
                                              .message = message,
                                              .event_time_us = TR_TIME_NONE,
                                              .watermark_us = TR_TIME_NONE};
        return tr_dead_letter_append(batch, &letter, err);
    }
    if (tr_batch_table(batch, source->table, err) != TR_OK)
        return TR_FAIL;
    for (unsigned i = 0; i < rows_of(split, offset); i++) {
        struct row row = row_of(split, offset, i);
        struct tr_event *event = tr_batch_event(batch, TR_OP_CREATE);
        struct tr_cell *cells = tr_batch_cells(batch, 4);
        (void)snprintf(text, sizeof text, "%u/%u/%u", split, offset, i);
        (void)add_text(batch, &cells[0], text);
        (void)snprintf(text, sizeof text, "k%u", row.key);
        (void)add_text(batch, &cells[1], text);
        (void)snprintf(text, sizeof text, "%lld", (long long)row.value);
        (void)add_text(batch, &cells[2], text);
        assert_true(tr_time_text_format(row.time_us, text) > 0);
        (void)add_text(batch, &cells[3], text);
        event->table = source->table;
        event->after = cells;
        event->message = message;
        event->ts_us = event->recv_ts_us = tr_clock_wall_us();
    }
    return TR_OK;
}
static enum tr_status add_commit(struct fake_source *source, struct tr_batch *batch,
                                 struct tr_error *err)
{
    struct tr_mark marks[SPLITS];
    char keys[SPLITS][24], values[SPLITS][16];
    uint32_t count = 0;
    for (unsigned i = 0; i < atomic_load(&source->split_count); i++) {
        bool first = !source->began && i < SPLITS_FIRST;
        if (source->next[i] == source->committed[i] && !first)
            continue;
        (void)snprintf(keys[i], sizeof keys[i], TR_MARK_SPLIT "t/%u", i);
        (void)snprintf(values[i], sizeof values[i], "%u", source->next[i]);
        marks[count++] = (struct tr_mark){tr_slice_of(keys[i]), tr_slice_of(values[i])};
        source->committed[i] = source->next[i];
    }
    source->began = true;
    return tr_batch_commit(batch, marks, count, NULL, err);
}
static bool may_read(const struct fake_source *source, unsigned split)
{
    if (source->next[split] == MESSAGES)
        return false;
    unsigned known = atomic_load(&source->split_count);
    for (unsigned i = 0; i < known && source->next[split] >= FIRST_LATE - 1; i++) {
        if (source->next[i] < FIRST_LATE - 1) /* the watermark is not known yet */
            return false;
    }
    return true;
}
static enum tr_status source_read(void *self, struct tr_batch *batch, int timeout_ms,
                                  struct tr_error *err)
{
    struct fake_source *source = self;
    (void)timeout_ms;
    if (maybe_fail(plan.source_fail_one_in, "the source", err) != TR_OK)
        return TR_FAIL;
    if (!source->began)
        return add_commit(source, batch, err);
    if (source->late_split_in > 0 && --source->late_split_in == 0) {
        last_is_there = true;
        atomic_store(&source->split_count, SPLITS);
    }
    bool any_left = atomic_load(&source->split_count) < SPLITS;
    for (unsigned i = 0; i < SPLITS; i++)
        any_left = any_left || source->next[i] < MESSAGES;
    if (!any_left) {
        ended = true;
        return TR_END;
    }
    if (plan.stop_one_in != 0 && !stopped && next_random() % plan.stop_one_in == 0) {
        stopped = true;
        tr_engine_stop(engine);
    }
    if (next_random() % 8 == 0)
        return TR_AGAIN;
    for (unsigned run = next_random() % 6 + 1; run > 0; run--) {
        unsigned split = next_random() % atomic_load(&source->split_count);
        for (unsigned count = next_random() % 12; count > 0 && may_read(source, split); count--) {
            if (add_message(source, batch, split, err) != TR_OK)
                return TR_FAIL;
        }
        if (batch->event_count > 0 && next_random() % 4 == 0 &&
            add_commit(source, batch, err) != TR_OK)
            return TR_FAIL;
    }
    if (batch->event_count == 0)
        return TR_AGAIN;
    return batch->events[batch->event_count - 1].op == TR_OP_COMMIT
               ? TR_OK
               : add_commit(source, batch, err);
}
static void source_acknowledge(void *self, const struct tr_state *marks)
{
    (void)self, (void)marks;
}
static enum tr_status source_keepalive(void *self, struct tr_error *err)
{
    (void)self, (void)err;
    return TR_OK;
}
static void source_interrupt(void *self) { (void)self; }
static void source_progress(void *self, struct tr_source_progress *progress)
{
    (void)self;
    *progress = (struct tr_source_progress){0};
}
static uint32_t source_split_count(void *self)
{
    return atomic_load(&((struct fake_source *)self)->split_count);
}
static const struct tr_split *source_split(void *self, uint32_t index)
{
    return &((struct fake_source *)self)->splits[index];
}
static void source_close(void *self)
{
    struct fake_source *source = self;
    if (source != NULL)
        tr_table_unref(source->table);
    free(source);
}
static const struct tr_source_ops source_ops = {.name = "fake",
                                                .abi = TR_SOURCE_ABI,
                                                .caps = TR_SRC_SPLITS,
                                                .open = source_open,
                                                .start = source_start,
                                                .snapshot_readers = source_readers,
                                                .stream = source_stream,
                                                .read = source_read,
                                                .acknowledge = source_acknowledge,
                                                .keepalive = source_keepalive,
                                                .interrupt = source_interrupt,
                                                .progress = source_progress,
                                                .split_count = source_split_count,
                                                .split = source_split,
                                                .close = source_close};

/* ---- the targets, which outlive the sink objects ---- */

struct record {
    unsigned split, offset, row;
    bool history, late;
    char result[4][40]; /* a window's: start, end, group, "count sum" */
};
static struct target {
    struct record *records;
    size_t count, capacity, durable;
    struct tr_state marks;
} targets[SINKS_MAX];

struct fake_sink {
    struct target *target;
    unsigned index;
    size_t committed_to;
    struct tr_state pending;
    uint64_t seq_commit, seq_durable;
    unsigned flushes_left;
};
static bool holds_position(unsigned index)
{
    return index != HISTORY || plan.history_holds_position;
}
static enum tr_status sink_open(unsigned index, void **self, struct tr_error *err)
{
    if (maybe_fail(plan.sink_fail_one_in, "a sink's open", err) != TR_OK)
        return TR_FAIL;
    struct fake_sink *sink = calloc(1, sizeof *sink);
    sink->target = &targets[index];
    sink->index = index;
    *self = sink;
    return TR_OK;
}
#define OPEN(n)                                                                                    \
    static enum tr_status open_##n(const struct tr_config *config,                                 \
                                   const struct tr_context *context, void **self,                  \
                                   struct tr_error *err)                                           \
    {                                                                                              \
        (void)config, (void)context;                                                               \
        return sink_open(n, self, err);                                                            \
    }
OPEN(0)
OPEN(1)
OPEN(2)
OPEN(3)
static enum tr_status sink_load(void *self, struct tr_state *marks, struct tr_error *err)
{
    const struct fake_sink *sink = self;
    if (maybe_fail(plan.sink_fail_one_in, "a sink's load_marks", err) != TR_OK)
        return TR_FAIL;
    return holds_position(sink->index) ? tr_state_copy(marks, &sink->target->marks, err) : TR_END;
}
static enum tr_status sink_writer(void *self, unsigned partition, void **writer,
                                  struct tr_error *err)
{
    struct fake_sink *sink = self;
    assert_int_equal(partition, 0);
    if (maybe_fail(plan.sink_fail_one_in, "a sink's writer_open", err) != TR_OK)
        return TR_FAIL;
    if (holds_position(sink->index)) /* what was not committed is rolled back; a file's lines stay */
        sink->target->count = sink->target->durable;
    sink->committed_to = sink->target->count;
    *writer = sink;
    return tr_state_copy(&sink->pending, &sink->target->marks, err);
}
static enum tr_status sink_apply(void *writer, const struct tr_event *event, struct tr_error *err)
{
    (void)writer;
    assert_int_equal(event->op, TR_OP_SCHEMA);
    return maybe_fail(plan.sink_fail_one_in, "a sink's apply", err);
}
static void cell_text(const struct tr_cell *cell, char *text, size_t size)
{
    assert_true(cell->state == TR_CELL_TEXT && cell->len < size);
    memcpy(text, cell->ptr, cell->len);
    text[cell->len] = '\0';
}
static void take_row(struct fake_sink *sink, const struct tr_event *event)
{
    struct target *target = sink->target;
    struct record *record;
    char text[40], more[40];
    if (target->count == target->capacity) {
        target->capacity = target->capacity * 2 + 1024;
        target->records = realloc(target->records, target->capacity * sizeof *target->records);
    }
    record = &target->records[target->count++];
    *record = (struct record){0};
    assert_int_equal(event->op, TR_OP_CREATE);
    if (sink->index == LETTERS) {
        assert_ptr_not_equal(strstr(event->table->id.table, "dead_letters"), NULL);
        cell_text(&event->after[0], text, sizeof text);
        record->late = strcmp(text, "late") == 0;
        assert_true(record->late || strcmp(text, "malformed") == 0);
        cell_text(&event->after[5], text, sizeof text);
        record->split = (unsigned)strtoul(text, NULL, 10);
        cell_text(&event->after[6], text, sizeof text);
        record->offset = (unsigned)strtoul(text, NULL, 10);
    } else if (sink->index == WINDOW) {
        for (unsigned i = 0; i < 3; i++)
            cell_text(&event->after[i], record->result[i], sizeof record->result[i]);
        cell_text(&event->after[3], text, sizeof text);
        cell_text(&event->after[4], more, sizeof more);
        (void)snprintf(record->result[3], sizeof record->result[3], "%.16s %.20s", text, more);
    } else {
        cell_text(&event->after[0], text, sizeof text);
        assert_int_equal(
            sscanf(text, "%u/%u/%u", &record->split, &record->offset, &record->row), 3);
        record->history = strcmp(event->table->id.table, "hist") == 0;
    }
}
static enum tr_status sink_write(void *writer, const struct tr_event *events, size_t count,
                                 struct tr_error *err)
{
    struct fake_sink *sink = writer;
    if (maybe_fail(plan.sink_fail_one_in, "a sink's write", err) != TR_OK)
        return TR_FAIL;
    for (size_t i = 0; i < count; i++) {
        const struct tr_event *event = &events[i];
        if (event->op != TR_OP_COMMIT) {
            take_row(sink, event);
            continue;
        }
        for (uint32_t m = 0; m < event->mark_count; m++)
            assert_int_equal(tr_state_apply(&sink->pending, event->marks[m].key,
                                            event->marks[m].value, err),
                             TR_OK);
        sink->committed_to = sink->target->count;
        sink->seq_commit = event->seq;
    }
    sink->flushes_left = next_random() % 4;
    return maybe_fail(plan.sink_fail_one_in, "a sink's write", err);
}
/* A position once durable never goes back, and is never lost. */
static void check_positions(const struct tr_state *before, const struct tr_state *after)
{
    for (size_t i = tr_state_seek(before, TR_MARK_SPLIT);
         tr_state_has_prefix(before, i, TR_MARK_SPLIT); i++) {
        const char *now = tr_state_get(after, before->items[i].key);
        assert_non_null(now);
        assert_true(strtoul(now, NULL, 10) >= strtoul(before->items[i].value, NULL, 10));
    }
    const char *was = tr_state_get(before, TR_MARK_WATERMARK),
               *is = tr_state_get(after, TR_MARK_WATERMARK);
    if (was != NULL)
        assert_true(is != NULL && strtoll(is, NULL, 10) >= strtoll(was, NULL, 10));
}
static enum tr_status sink_flush(void *writer, int timeout_ms, struct tr_error *err)
{
    struct fake_sink *sink = writer;
    if (maybe_fail(plan.sink_fail_one_in, "a sink's flush", err) != TR_OK)
        return TR_FAIL;
    if (timeout_ms == 0 && sink->flushes_left > 0) {
        sink->flushes_left--;
        return TR_AGAIN;
    }
    if (holds_position(sink->index)) /* else the checkpoint decides, and it may be older */
        check_positions(&sink->target->marks, &sink->pending);
    sink->seq_durable = sink->seq_commit;
    sink->target->durable = sink->committed_to;
    if (tr_state_copy(&sink->target->marks, &sink->pending, err) != TR_OK)
        return TR_FAIL;
    /* the answer may be lost when it is durable */
    return maybe_fail(plan.sink_fail_one_in * 2, "a sink's flush", err);
}
static uint64_t sink_durable(void *writer) { return ((struct fake_sink *)writer)->seq_durable; }
static void sink_interrupt(void *self) { (void)self; }
static void sink_writer_close(void *writer)
{
    tr_state_free(&((struct fake_sink *)writer)->pending);
}
static void sink_close(void *self) { free(self); }

#define OPS(n, title)                                                                              \
    {                                                                                              \
        .name = title, .abi = TR_SINK_ABI,                                                         \
        .caps = TR_CAP_UPSERT | TR_CAP_TRANSACTIONS | TR_CAP_POSITION | TR_CAP_DDL,                \
        .open = open_##n, .load_marks = sink_load, .writer_open = sink_writer,                     \
        .apply = sink_apply, .write = sink_write, .flush = sink_flush,                             \
        .durable_seq = sink_durable, .interrupt = sink_interrupt,                                  \
        .writer_close = sink_writer_close, .close = sink_close                                     \
    }
static const struct tr_sink_ops sink_ops[SINKS_MAX] = {OPS(0, "plain"), OPS(1, "history"),
                                                       OPS(2, "window"), OPS(3, "letters")};

/* ---- what must have come out ---- */

static unsigned rows_in[SPLITS][MESSAGES][ROWS_MAX];    /* of the plain sink */
static unsigned current[SPLITS][MESSAGES][ROWS_MAX];    /* of the other's table */
static unsigned appended[SPLITS][MESSAGES][ROWS_MAX];   /* of its history */
static unsigned late_letters[SPLITS][MESSAGES], malformed_letters[SPLITS][MESSAGES];

static void count_records(void)
{
    memset(rows_in, 0, sizeof rows_in);
    memset(current, 0, sizeof current);
    memset(appended, 0, sizeof appended);
    memset(late_letters, 0, sizeof late_letters);
    memset(malformed_letters, 0, sizeof malformed_letters);
    for (unsigned sink = 0; sink < SINKS_MAX; sink++) {
        for (size_t i = 0; i < targets[sink].count; i++) {
            const struct record *r = &targets[sink].records[i];
            if (sink == PLAIN)
                rows_in[r->split][r->offset][r->row]++;
            else if (sink == HISTORY)
                (r->history ? appended : current)[r->split][r->offset][r->row]++;
            else if (sink == LETTERS)
                (r->late ? late_letters : malformed_letters)[r->split][r->offset]++;
        }
    }
}

static void wrong(const char *what, unsigned split, unsigned offset, unsigned row)
{
    fail_msg("seed %u late %d: %s: message %u/%u row %u (kind %d): rows %u, table %u, history %u, "
             "late letters %u, malformed %u",
             plan.seed, plan.late, what, split, offset, row, (int)kind_of(split, offset),
             rows_in[split][offset][row], current[split][offset][row],
             appended[split][offset][row], late_letters[split][offset],
             malformed_letters[split][offset]);
}

/* What a sink without a position was given before a crash is nobody's decision yet: it may have rows
 * that become late when they are read again. It lacks none. */
static void check_row(unsigned split, unsigned offset, unsigned row)
{
    unsigned rows = rows_in[split][offset][row];
    enum kind kind = kind_of(split, offset);
    if (kind == MALFORMED) {
        if (rows != 0 || malformed_letters[split][offset] != 1)
            wrong("not one letter", split, offset, row);
        return;
    }
    if (rows > 1 || malformed_letters[split][offset] != 0)
        wrong("not once", split, offset, row);
    unsigned letters = late_letters[split][offset];
    if (plan.late == TR_LATE_DEAD_LETTER &&
        letters != (rows == 1 ? 0 : rows_of(split, offset)))
        wrong("neither a row nor a letter, or both", split, offset, row);
    if (plan.late != TR_LATE_DEAD_LETTER && letters != 0)
        wrong("a letter", split, offset, row);
    if (rows == 0 && (plan.late == TR_LATE_PROCESS || kind == ON_TIME))
        wrong("lost", split, offset, row);
    if (rows == 1 && plan.late != TR_LATE_PROCESS && kind == LATE)
        wrong("late in any order", split, offset, row);
    bool same = plan.history_holds_position
                    ? current[split][offset][row] == rows && appended[split][offset][row] == rows
                    : rows == 0 || (current[split][offset][row] > 0 &&
                                    appended[split][offset][row] > 0);
    if (!same)
        wrong("the sinks differ", split, offset, row);
}

/* ---- windows: the same from the plain sink's rows ---- */

struct expected {
    int64_t start_us, end_us, count, sum;
    unsigned key;
};
static struct expected expected[RESULTS_MAX];
static size_t expected_count;

static void expect_in(int64_t start_us, int64_t end_us, const struct row *row)
{
    for (size_t i = 0; i < expected_count; i++) {
        struct expected *e = &expected[i];
        if (e->start_us == start_us && e->key == row->key && e->end_us == end_us) {
            e->count++;
            e->sum += row->value;
            return;
        }
    }
    assert_true(expected_count < RESULTS_MAX);
    expected[expected_count++] = (struct expected){start_us, end_us, 1, row->value, row->key};
}
static void expect_session(const struct row *row, int64_t gap_us)
{
    struct expected merged = {row->time_us, row->time_us + gap_us, 1, row->value, row->key};
    for (size_t i = 0; i < expected_count;) {
        struct expected *e = &expected[i];
        if (e->key != merged.key || e->start_us >= merged.end_us || e->end_us <= merged.start_us) {
            i++;
            continue;
        }
        merged.start_us = e->start_us < merged.start_us ? e->start_us : merged.start_us;
        merged.end_us = e->end_us > merged.end_us ? e->end_us : merged.end_us;
        merged.count += e->count;
        merged.sum += e->sum;
        *e = expected[--expected_count];
        i = 0;
    }
    assert_true(expected_count < RESULTS_MAX);
    expected[expected_count++] = merged;
}
static void expect_windows(const struct tr_window_options *window)
{
    expected_count = 0;
    for (unsigned split = 0; split < SPLITS; split++) {
        for (unsigned offset = 0; offset < MESSAGES; offset++) {
            for (unsigned i = 0; i < rows_of(split, offset); i++) {
                struct row row = row_of(split, offset, i);
                int64_t size_us = window->size_ms * 1000, slide_us = window->slide_ms * 1000;
                if (rows_in[split][offset][i] == 0)
                    continue;
                if (window->kind == TR_WINDOW_SESSION) {
                    expect_session(&row, window->gap_ms * 1000);
                    continue;
                }
                if (window->kind == TR_WINDOW_TUMBLING)
                    slide_us = size_us;
                for (int64_t start = row.time_us - row.time_us % slide_us;
                     start > row.time_us - size_us; start -= slide_us)
                    expect_in(start, start + size_us, &row);
            }
        }
    }
}
/* The last result of a window and group is the one that stays in an upserting target. */
static const struct record *result_of(const struct expected *e)
{
    char start[TR_TIME_TEXT_BYTES], end[TR_TIME_TEXT_BYTES], key[16];
    (void)tr_time_text_format(e->start_us, start);
    (void)tr_time_text_format(e->end_us, end);
    (void)snprintf(key, sizeof key, "k%u", e->key);
    for (size_t i = targets[WINDOW].count; i-- > 0;) {
        const struct record *r = &targets[WINDOW].records[i];
        if (strcmp(r->result[0], start) == 0 && strcmp(r->result[1], end) == 0 &&
            strcmp(r->result[2], key) == 0)
            return r;
    }
    return NULL;
}
static size_t distinct_results(void)
{
    size_t distinct = 0;
    for (size_t i = 0; i < targets[WINDOW].count; i++) {
        bool again = false;
        for (size_t k = i + 1; k < targets[WINDOW].count && !again; k++)
            again = memcmp(targets[WINDOW].records[i].result, targets[WINDOW].records[k].result,
                           3 * sizeof(char[40])) == 0;
        distinct += !again;
    }
    return distinct;
}
static void check_windows(const struct tr_window_options *window)
{
    expect_windows(window);
    for (size_t i = 0; i < expected_count; i++) {
        const struct expected *e = &expected[i];
        const struct record *r = result_of(e);
        char text[64];
        (void)snprintf(text, sizeof text, "%lld %lld", (long long)e->count, (long long)e->sum);
        if (plan.late == TR_LATE_PROCESS) { /* what came after its window had closed is not counted */
            assert_true(r == NULL || strtoll(r->result[3], NULL, 10) <= e->count);
            continue;
        }
        if (r == NULL || strcmp(r->result[3], text) != 0)
            fail_msg("seed %u kind %d: window %lld-%lld of k%u: expected %s, found %s", plan.seed,
                     window->kind, (long long)e->start_us, (long long)e->end_us, e->key, text,
                     r == NULL ? "nothing" : r->result[3]);
    }
    if (plan.late != TR_LATE_PROCESS)
        assert_int_equal(distinct_results(), expected_count);
}

/* ---- runs ---- */

static void run_to_the_end(const struct tr_pipeline_file *file, const char *dir)
{
    struct tr_run_options options = {.state_dir = dir};
    struct tr_error err;
    enum tr_status status;
    unsigned runs = 0;
    do {
        ended = stopped = false;
        assert_int_equal(tr_engine_open(file, &options, &engine, &err), TR_OK);
        status = tr_engine_run(engine, &err);
        tr_engine_close(engine);
        if (status != TR_OK && err.code != TR_E_INTERRUPTED)
            fail_msg("seed %u: %s (%s)", plan.seed, err.message, err.hint);
    } while ((status != TR_OK || !ended || stopped) && ++runs < 1000);
    assert_int_equal(status, TR_OK);
}

static void run(void)
{
    char dir[] = "/tmp/tailrace-streams-XXXXXX", command[64];
    struct tr_error err;
    static const struct tr_option none[] = {{.name = NULL}};
    struct tr_config *config;
    const char *groups[] = {"k"}, *sums[] = {"COUNT(*) AS n", "SUM(v) AS s"};
    const struct tr_window_options window = {.kind = plan.window_kind,
                                             .size_ms = 60000,
                                             .slide_ms = 20000,
                                             .gap_ms = 4000,
                                             .group_by = {groups, 1},
                                             .aggregates = {sums, 2},
                                             .groups_max = 100000};
    assert_non_null(mkdtemp(dir));
    last_is_there = false;
    assert_int_equal(tr_config_from_text("{}", none, 0, &config, &err), TR_OK);
    for (unsigned i = 0; i < SINKS_MAX; i++) {
        targets[i].count = targets[i].durable = 0;
        tr_state_clear(&targets[i].marks);
    }
    struct tr_sink_config sinks[SINKS_MAX];
    for (unsigned i = 0; i < SINKS_MAX; i++)
        sinks[i] = (struct tr_sink_config){.ops = &sink_ops[i],
                                           .config = config,
                                           .name = sink_ops[i].name,
                                           .include_changes = TR_CHG_ALL,
                                           .dead_letters = i == LETTERS};
    sinks[HISTORY].history_table = "hist";
    sinks[WINDOW].window = window;
    struct tr_pipeline_file file = {
        .path = "test.yaml",
        .source_ops = &source_ops,
        .sinks = sinks,
        .sink_count = SINKS_MAX,
        .event_time = {.column = "at", .delay_ms = DELAY_US / 1000, .late = plan.late, .where = "t"},
        .options = {.name = "test",
                    .schema_behavior = TR_SCHEMA_EVOLVE,
                    .checkpoint_interval_ms = next_random() % 2 == 0 ? 1 : 20,
                    .checkpoint_keep = 2,
                    .linger_ms = next_random() % 6,
                    .buffer_memory_bytes = 8 << 20,
                    .restart_kind = TR_RESTART_FIXED_DELAY,
                    .restart_attempts = 1000000,
                    .restart_delay_ms = 0,
                    .stop_timeout_ms = 20000}};
    run_to_the_end(&file, dir);
    count_records();
    for (unsigned split = 0; split < SPLITS; split++) {
        for (unsigned offset = 0; offset < MESSAGES; offset++) {
            for (unsigned row = 0; row < rows_of(split, offset); row++)
                check_row(split, offset, row);
        }
    }
    check_windows(&window);
    tr_config_free(config);
    (void)snprintf(command, sizeof command, "rm -rf %s", dir);
    assert_int_equal(system(command), 0);
}

static void many_runs(unsigned count, struct plan like)
{
    static const int kinds[] = {TR_WINDOW_TUMBLING, TR_WINDOW_HOPPING, TR_WINDOW_SESSION};
    for (unsigned i = 0; i < count; i++) {
        plan = like;
        plan.seed = next_random();
        plan.window_kind = like.late == TR_LATE_PROCESS ? TR_WINDOW_TUMBLING : kinds[i % 3];
        run();
    }
}

static void without_faults_the_sinks_agree(void **unused)
{
    (void)unused;
    many_runs(10, (struct plan){.history_holds_position = true});
}
static void through_restarts_every_event_is_once_in_one_place(void **unused)
{
    (void)unused;
    many_runs(RUNS, (struct plan){.source_fail_one_in = 70,
                                  .sink_fail_one_in = 150,
                                  .stop_one_in = 60,
                                  .history_holds_position = true});
}
static void late_events_are_dropped_for_all_or_for_none(void **unused)
{
    (void)unused;
    many_runs(RUNS, (struct plan){.source_fail_one_in = 70,
                                  .sink_fail_one_in = 150,
                                  .stop_one_in = 60,
                                  .late = TR_LATE_DROP,
                                  .history_holds_position = true});
}
static void processed_late_events_are_rows_everywhere(void **unused)
{
    (void)unused;
    many_runs(RUNS / 3, (struct plan){.source_fail_one_in = 70,
                                      .sink_fail_one_in = 150,
                                      .late = TR_LATE_PROCESS,
                                      .history_holds_position = true});
}
static void beside_a_sink_without_position_nothing_is_lost(void **unused)
{
    (void)unused;
    many_runs(RUNS, (struct plan){
                        .source_fail_one_in = 70, .sink_fail_one_in = 150, .stop_one_in = 60});
}

int main(int argc, char **argv)
{
    atomic_store(&random_state, argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10)
                                         : (unsigned)time(NULL) * 2654435761u);
    printf("seed %u\n", atomic_load(&random_state));
    tr_log_set_level(TR_LOG_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_faults_the_sinks_agree),
        cmocka_unit_test(through_restarts_every_event_is_once_in_one_place),
        cmocka_unit_test(late_events_are_dropped_for_all_or_for_none),
        cmocka_unit_test(processed_late_events_are_rows_everywhere),
        cmocka_unit_test(beside_a_sink_without_position_nothing_is_lost),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    for (unsigned i = 0; i < SINKS_MAX; i++) {
        free(targets[i].records);
        tr_state_free(&targets[i].marks);
    }
    return failed;
}
