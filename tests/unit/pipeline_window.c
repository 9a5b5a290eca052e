/* Windows through a branch that only gathers what they give: kinds, offsets, groups, aggregates, what a
 * restart brings back, the end of the input, limits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/log.h"
#include "config/bind.h"
#include "event/time_text.h"
#include "pipeline/window.h"
#include "pipeline/window_state.h"

#define SECOND INT64_C(1000000)
#define MINUTE (60 * SECOND)
#define TEXT_BYTES 65536

static struct tr_error err;
static struct tr_config *config;
static unsigned applied; /* schema changes that the sink got */
static char columns[400]; /* of the last: "name:TYPE …" */

static enum tr_status sink_apply(void *writer, const struct tr_event *event, struct tr_error *error)
{
    (void)writer, (void)error;
    applied++;
    columns[0] = '\0';
    for (uint16_t i = 0; i < event->table->column_count; i++) {
        const struct tr_column *column = &event->table->columns[i];
        size_t len = strlen(columns);
        (void)snprintf(columns + len, sizeof columns - len, "%s%s:%s%s", i > 0 ? " " : "",
                       column->name, tr_type_name(column->type), column->key_index > 0 ? "!" : "");
    }
    return TR_OK;
}
static char output[TEXT_BYTES]; /* result rows: "start end group… sums…\n" */

static enum tr_status sink_write(void *writer, const struct tr_event *events, size_t count,
                                 struct tr_error *error)
{
    (void)writer, (void)error;
    for (size_t i = 0; i < count; i++) {
        if (events[i].op == TR_OP_COMMIT)
            continue;
        assert_int_equal(events[i].op, TR_OP_CREATE);
        for (uint16_t c = 0; c < events[i].table->column_count; c++) {
            const struct tr_cell *cell = &events[i].after[c];
            size_t len = strlen(output);
            assert_true(len + cell->len + 40 < sizeof output);
            if (cell->state == TR_CELL_NULL)
                (void)snprintf(output + len, sizeof output - len, "%sNULL", c > 0 ? "|" : "");
            else
                (void)snprintf(output + len, sizeof output - len, "%s%.*s", c > 0 ? "|" : "",
                               (int)cell->len, cell->ptr);
        }
        (void)strcat(output, "\n");
    }
    return TR_OK;
}
static const struct tr_sink_ops ops = {
    .name = "fake", .abi = TR_SINK_ABI, .caps = TR_CAP_UPSERT | TR_CAP_DDL, .apply = sink_apply,
    .write = sink_write};

static struct tr_engine engine;
static struct tr_pipeline_file file;
static struct tr_sink_config sink;
static struct tr_branch branch;
static struct tr_state stored; /* what the sink keeps */
static struct tr_table *table;

static const char *groups[8], *sums[16];

static struct tr_table *table_of(const char *name, enum tr_type value_type)
{
    struct tr_table *made;
    const struct tr_column spec_columns[] = {
        {.name = "id", .type = TR_T_INT64, .source_type = "int8", .key_index = 1},
        {.name = "k", .type = TR_T_STRING, .source_type = "text", .nullable = true},
        {.name = "n", .type = TR_T_INT32, .source_type = "int4", .nullable = true},
        {.name = "v", .type = value_type, .source_type = "x", .nullable = true}};
    const struct tr_table spec = {
        .id = {"", "app", name}, .version = 1, .column_count = 4, .columns = spec_columns};
    assert_int_equal(tr_table_new(&spec, &made, &err), TR_OK);
    return made;
}

static void open_branch(void)
{
    branch = (struct tr_branch){
        .engine = &engine, .config = &sink, .ops = &ops, .holds_position = true};
    tr_arena_init(&branch.arena, 4096, 0);
    branch.seq_next = 1;
    tr_state_init(&branch.marks);
    assert_int_equal(tr_state_copy(&branch.marks, &stored, &err), TR_OK);
    assert_int_equal(tr_router_new(NULL, 0, 0, &branch.router, &err), TR_OK);
}
static enum tr_status open_window(void)
{
    return tr_window_open(&branch, &branch.window, &err);
}
static void close_window(void)
{
    tr_branch_clear(&branch);
}
static void begin(struct tr_window_options window, enum tr_type value_type)
{
    sink = (struct tr_sink_config){.ops = &ops,
                                   .config = config,
                                   .name = "sums",
                                   .include_changes = TR_CHG_ALL,
                                   .window = window};
    sink.window.group_by.items = groups;
    sink.window.aggregates.items = sums;
    while (groups[sink.window.group_by.count] != NULL)
        sink.window.group_by.count++;
    while (sums[sink.window.aggregates.count] != NULL)
        sink.window.aggregates.count++;
    if (sink.window.groups_max == 0)
        sink.window.groups_max = 100000;
    file = (struct tr_pipeline_file){.path = "t", .sinks = &sink, .sink_count = 1};
    file.options.schema_behavior = TR_SCHEMA_EVOLVE;
    engine.file = &file;
    tr_state_clear(&stored);
    output[0] = '\0';
    applied = 0;
    table = table_of("t", value_type);
    open_branch();
    assert_int_equal(open_window(), TR_OK);
}
static void end(void)
{
    close_window();
    tr_table_unref(table);
    table = NULL;
    tr_engine_stats_clear(&engine);
}
static void list(const char **into, size_t size, const char *const *items)
{
    memset(into, 0, size);
    for (size_t i = 0; items[i] != NULL; i++)
        into[i] = items[i];
}
#define GROUP(...) list(groups, sizeof groups, (const char *const[]){__VA_ARGS__, NULL})
#define SUMS(...) list(sums, sizeof sums, (const char *const[]){__VA_ARGS__, NULL})

static struct tr_cell text_cell(const char *text)
{
    return text == NULL ? (struct tr_cell){.state = TR_CELL_NULL}
                        : (struct tr_cell){text, (uint32_t)strlen(text), TR_CELL_TEXT};
}
static enum tr_status try_row(const struct tr_table *of, int64_t time_us, const char *k,
                              const char *n, const char *v)
{
    const struct tr_cell cells[4] = {text_cell("1"), text_cell(k), text_cell(n), text_cell(v)};
    const struct tr_event event = {
        .op = TR_OP_CREATE, .table = of, .after = cells, .event_time_us = time_us};
    return tr_window_row(branch.window, &event, &err);
}
static void row(int64_t time_us, const char *k, const char *v)
{
    if (try_row(table, time_us, k, "7", v) != TR_OK)
        fail_msg("%s (%s)", err.message, err.hint);
}
static enum tr_status try_commit(int64_t watermark_us, unsigned flags)
{
    const struct tr_mark *marks;
    uint32_t count;
    const struct tr_event event = {
        .op = TR_OP_COMMIT, .event_time_us = watermark_us, .flags = (uint16_t)flags};
    if (tr_window_commit(branch.window, &event, &marks, &count, &err) != TR_OK)
        return TR_FAIL;
    for (uint32_t i = 0; i < count; i++)
        assert_int_equal(tr_state_apply(&stored, marks[i].key, marks[i].value, &err), TR_OK);
    if (branch.scratch_count > 0)
        assert_int_equal(sink_write(NULL, branch.scratch, branch.scratch_count, &err), TR_OK);
    branch.scratch_count = 0;
    tr_arena_reset(&branch.arena);
    return TR_OK;
}
/* A COMMIT at this watermark; the results must be these. */
static void commit_is(int64_t watermark_us, unsigned flags, const char *results)
{
    output[0] = '\0';
    if (try_commit(watermark_us, flags) != TR_OK)
        fail_msg("%s (%s)", err.message, err.hint);
    assert_string_equal(output, results);
}
static void restart(void)
{
    close_window();
    open_branch();
    assert_int_equal(open_window(), TR_OK);
}
static size_t group_marks(void)
{
    size_t count = 0;
    for (size_t i = tr_state_seek(&stored, "w/sums/"); tr_state_has_prefix(&stored, i, "w/sums/");
         i++)
        count += strlen(stored.items[i].key) > 30;
    return count;
}

static void tumbling(void **unused)
{
    (void)unused;
    GROUP("k");
    SUMS("COUNT(*) AS events", "SUM(v) AS total");
    begin((struct tr_window_options){.kind = TR_WINDOW_TUMBLING, .size_ms = 60000}, TR_T_INT64);
    row(0, "a", "1");
    row(MINUTE - 1, "a", "2");
    row(MINUTE, "a", "4"); /* the next one's */
    row(30 * SECOND, "b", NULL);
    row(-1, "a", "8"); /* before 1970 */
    row(-MINUTE, "a", "16");
    row(-MINUTE - 1, "a", "32");
    assert_int_equal(tr_window_count(branch.window), 5);
    commit_is(-MINUTE, 0, "1969-12-31 23:58:00|1969-12-31 23:59:00|a|1|32\n");
    assert_string_equal(columns, "window_start:TIMESTAMP! window_end:TIMESTAMP! k:STRING! "
                                 "events:INT64 total:INT64");
    assert_int_equal(applied, 1);
    commit_is(-1, 0, "");
    commit_is(0, 0, "1969-12-31 23:59:00|1970-01-01 00:00:00|a|2|24\n");
    commit_is(MINUTE - 1, 0, "");
    commit_is(MINUTE, 0,
              "1970-01-01 00:00:00|1970-01-01 00:01:00|a|2|3\n"
              "1970-01-01 00:00:00|1970-01-01 00:01:00|b|1|NULL\n");
    row(MINUTE - 1, "a", "1"); /* its window is gone; nobody is told twice */
    commit_is(2 * MINUTE, 0, "1970-01-01 00:01:00|1970-01-01 00:02:00|a|1|4\n");
    assert_int_equal(tr_window_count(branch.window), 0);
    assert_int_equal(group_marks(), 0);
    assert_int_equal(applied, 1);
    commit_is(TR_TIME_NONE, 0, "");
    end();
}

static void offset_shifts_the_windows(void **unused)
{
    (void)unused;
    GROUP(NULL);
    SUMS("COUNT(*) AS n");
    begin((struct tr_window_options){
              .kind = TR_WINDOW_TUMBLING, .size_ms = 86400000, .offset_ms = 22 * 3600000},
          TR_T_INT64);
    row(0, "a", NULL);
    row(22 * 60 * MINUTE - 1, "a", NULL);
    row(22 * 60 * MINUTE, "b", NULL);
    commit_is(1000 * 60 * MINUTE, 0,
              "1969-12-31 22:00:00|1970-01-01 22:00:00|2\n"
              "1970-01-01 22:00:00|1970-01-02 22:00:00|1\n");
    end();
}

static void hopping(void **unused)
{
    (void)unused;
    GROUP(NULL);
    SUMS("COUNT(*) AS n");
    begin((struct tr_window_options){
              .kind = TR_WINDOW_HOPPING, .size_ms = 60000, .slide_ms = 20000},
          TR_T_INT64);
    row(0, "a", NULL);
    row(-1, "a", NULL);
    row(20 * SECOND, "a", NULL);
    assert_int_equal(tr_window_count(branch.window), 5);
    commit_is(0, 0, "1969-12-31 23:59:00|1970-01-01 00:00:00|1\n");
    row(-1, "a", NULL); /* late: counts in those that are open */
    commit_is(MINUTE, 0,
              "1969-12-31 23:59:20|1970-01-01 00:00:20|3\n"
              "1969-12-31 23:59:40|1970-01-01 00:00:40|4\n"
              "1970-01-01 00:00:00|1970-01-01 00:01:00|2\n");
    commit_is(2 * MINUTE, 0, "1970-01-01 00:00:20|1970-01-01 00:01:20|1\n");
    end();
}

static void sessions(void **unused)
{
    (void)unused;
    GROUP("k");
    SUMS("COUNT(*) AS n", "SUM(v) AS s", "MIN(v) AS low", "MAX(v) AS high");
    begin((struct tr_window_options){.kind = TR_WINDOW_SESSION, .gap_ms = 10000}, TR_T_INT64);
    row(100 * SECOND, "a", "5");
    row(110 * SECOND, "a", "6"); /* the gap has passed: another */
    row(105 * SECOND, "b", "1");
    assert_int_equal(tr_window_count(branch.window), 3);
    commit_is(50 * SECOND, 0, "");
    assert_int_equal(group_marks(), 3);
    row(101 * SECOND, "a", NULL); /* both in one */
    assert_int_equal(tr_window_count(branch.window), 2);
    commit_is(50 * SECOND, 0, "");
    assert_int_equal(group_marks(), 2);
    row(91 * SECOND, "a", "-3"); /* grows at its front: keeps its mark */
    commit_is(50 * SECOND, 0, "");
    assert_int_equal(group_marks(), 2);
    restart();
    assert_int_equal(tr_window_count(branch.window), 2);
    commit_is(115 * SECOND, 0, "1970-01-01 00:01:45|1970-01-01 00:01:55|b|1|1|1|1\n");
    commit_is(120 * SECOND, 0, "1970-01-01 00:01:31|1970-01-01 00:02:00|a|4|8|-3|6\n");
    assert_int_equal(group_marks(), 0);
    row(105 * SECOND, "a", "1"); /* ends below the watermark */
    assert_int_equal(tr_window_count(branch.window), 0);
    row(111 * SECOND, "a", "1");
    commit_is(121 * SECOND, 0, "1970-01-01 00:01:51|1970-01-01 00:02:01|a|1|1|1|1\n");
    end();
}

/* A session not stored yet takes in a stored one and may be named as it was. */
static void a_joined_session_survives_a_restart(void **unused)
{
    (void)unused;
    GROUP(NULL);
    SUMS("COUNT(*) AS n");
    for (int first = 0; first < 2; first++) {
        begin((struct tr_window_options){.kind = TR_WINDOW_SESSION, .gap_ms = 10000}, TR_T_INT64);
        row((first == 0 ? 50 : 65) * SECOND, "a", NULL);
        commit_is(0, 0, "");
        row((first == 0 ? 65 : 50) * SECOND, "a", NULL);
        row(58 * SECOND, "a", NULL);
        assert_int_equal(tr_window_count(branch.window), 1);
        commit_is(0, 0, "");
        assert_int_equal(group_marks(), 1);
        restart();
        commit_is(100 * SECOND, 0, "1970-01-01 00:00:50|1970-01-01 00:01:15|3\n");
        assert_int_equal(group_marks(), 0);
        end();
    }
}

static void groups_and_nulls(void **unused)
{
    (void)unused;
    GROUP("k", "n AS number");
    SUMS("COUNT(*) AS c", "COUNT(v) AS known");
    begin((struct tr_window_options){
              .kind = TR_WINDOW_TUMBLING, .size_ms = 60000, .table = "out.sums"},
          TR_T_STRING);
    row(1, "", "x");
    row(1, NULL, NULL); /* of a text NULL is the empty text */
    row(1, "a|b\n%\"\\\xc3\xa4", "x");
    assert_int_equal(try_row(table, 1, "a", NULL, "x"), TR_FAIL);
    assert_int_equal(err.code, TR_E_WINDOW_GROUP_NULL);
    assert_int_equal(err.class, TR_DATA);
    assert_null(strstr(err.message, "a|b"));
    commit_is(TR_TIME_NONE, 0, "");
    restart();
    commit_is(MINUTE, 0,
              "1970-01-01 00:00:00|1970-01-01 00:01:00||7|2|1\n"
              "1970-01-01 00:00:00|1970-01-01 00:01:00|a|b\n%\"\\\xc3\xa4|7|1|1\n");
    end();
}

struct value_case {
    enum tr_type type;
    const char *values[6];
    const char *result; /* SUM|MIN|MAX|AVG, or MIN|MAX */
};

static void values_of_every_type(void **unused)
{
    (void)unused;
    static const struct value_case numbers[] = {
        {TR_T_INT64, {"5", "-7", NULL}, "-2|-7|5|-1"},
        {TR_T_INT64, {"9", "10", "100", NULL}, "119|9|100|39.666666666666664"},
        {TR_T_INT64, {"9223372036854775807", "-1", NULL},
         "9223372036854775806|-1|9223372036854775807|4.611686018427388e+18"},
        {TR_T_DECIMAL, {"0.1", "0.20", "-0.05", NULL}, "0.25|-0.05|0.20|0.08333333333333333"},
        {TR_T_DECIMAL, {"10", "9.5", "9.75", NULL}, "29.25|9.5|10|9.75"},
        {TR_T_DECIMAL, {"-0.5", "-0.25", NULL}, "-0.75|-0.5|-0.25|-0.375"},
        {TR_T_DECIMAL,
         {"99999999999999999999999999999999999999", "-99999999999999999999999999999999999998", NULL},
         "1|-99999999999999999999999999999999999998|99999999999999999999999999999999999999|0.5"},
        {TR_T_FLOAT64, {"0.5", "1e3", "-2.25", NULL}, "998.25|-2.25|1e3|332.75"},
        {TR_T_FLOAT64, {"1", "NaN", "2", NULL}, "NaN|1|NaN|NaN"},
        {TR_T_FLOAT64, {"NaN", "1", "2", NULL}, "NaN|1|NaN|NaN"},
        {TR_T_FLOAT64, {"Infinity", "1", NULL}, "Infinity|1|Infinity|Infinity"},
        {TR_T_FLOAT64, {"-Infinity", "1", NULL}, "-Infinity|-Infinity|1|-Infinity"},
    };
    static const struct value_case texts[] = {
        {TR_T_STRING, {"b", "a", "ab", "", NULL}, "|b"},
        {TR_T_DATE, {"2024-02-29", "2023-12-31", NULL}, "2023-12-31|2024-02-29"},
        {TR_T_TIMESTAMP,
         {"2024-01-01 10:00:00.5", "2024-01-01 10:00:00", "2024-01-01 10:00:00.45", NULL},
         "2024-01-01 10:00:00|2024-01-01 10:00:00.5"},
        {TR_T_TIMESTAMPTZ,
         {"2024-01-01 10:00:00+00", "2024-01-01 10:00:00.1+00", NULL},
         "2024-01-01 10:00:00+00|2024-01-01 10:00:00.1+00"},
        {TR_T_BOOLEAN, {"t", "f", NULL}, "f|t"}};
    GROUP(NULL);
    for (unsigned pass = 0; pass < 2; pass++) { /* with a restart after each row, too */
        SUMS("SUM(v) AS s", "MIN(v) AS a", "MAX(v) AS b", "AVG(v) AS m");
        for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
            char expected[300];
            begin((struct tr_window_options){.kind = TR_WINDOW_TUMBLING, .size_ms = 60000},
                  numbers[i].type);
            for (unsigned k = 0; numbers[i].values[k] != NULL; k++) {
                row(1, "a", numbers[i].values[k]);
                row(2, "a", NULL);
                commit_is(0, 0, "");
                if (pass == 1)
                    restart();
            }
            (void)snprintf(expected, sizeof expected,
                           "1970-01-01 00:00:00|1970-01-01 00:01:00|%s\n", numbers[i].result);
            commit_is(MINUTE, 0, expected);
            end();
        }
        SUMS("MIN(v) AS a", "MAX(v) AS b");
        for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
            char expected[300];
            begin((struct tr_window_options){.kind = TR_WINDOW_TUMBLING, .size_ms = 60000},
                  texts[i].type);
            for (unsigned k = 0; texts[i].values[k] != NULL; k++) {
                row(1, "a", texts[i].values[k]);
                commit_is(0, 0, "");
                if (pass == 1)
                    restart();
            }
            (void)snprintf(expected, sizeof expected,
                           "1970-01-01 00:00:00|1970-01-01 00:01:00|%s\n", texts[i].result);
            commit_is(MINUTE, 0, expected);
            end();
        }
    }
}

static void nothing_but_nulls(void **unused)
{
    (void)unused;
    GROUP(NULL);
    SUMS("COUNT(*) AS n", "COUNT(v) AS c", "SUM(v) AS s", "MIN(v) AS a", "MAX(v) AS b",
         "AVG(v) AS m");
    begin((struct tr_window_options){.kind = TR_WINDOW_TUMBLING, .size_ms = 60000}, TR_T_DECIMAL);
    row(1, "a", NULL);
    commit_is(0, 0, "");
    restart();
    commit_is(MINUTE, 0, "1970-01-01 00:00:00|1970-01-01 00:01:00|1|0|NULL|NULL|NULL|NULL\n");
    end();
}

static void overflow_is_told(void **unused)
{
    (void)unused;
    static const char most[] = "99999999999999999999999999999999999999"; /* 38 digits */
    GROUP(NULL);
    SUMS("SUM(v) AS s");
    begin((struct tr_window_options){.kind = TR_WINDOW_TUMBLING, .size_ms = 60000}, TR_T_DECIMAL);
    row(1, "a", most);
    assert_int_equal(try_row(table, 1, "a", "7", most), TR_FAIL); /* also beyond an __int128 */
    assert_int_equal(err.code, TR_E_WINDOW_OVERFLOW);
    assert_int_equal(try_row(table, 1, "a", "7", "1"), TR_FAIL);
    assert_int_equal(try_row(table, 1, "a", "7", "0.1"), TR_FAIL); /* 39 digits together */
    assert_int_equal(try_row(table, 1, "a", "7", "100000000000000000000000000000000000000"),
                     TR_FAIL);
    assert_int_equal(try_row(table, 1, "a", "7", "NaN"), TR_FAIL);
    end();
    begin((struct tr_window_options){.kind = TR_WINDOW_TUMBLING, .size_ms = 60000}, TR_T_INT64);
    row(1, "a", "9223372036854775807");
    row(1, "a", "1"); /* the column is an INT64; in between more is fine */
    row(1, "a", "-1");
    commit_is(0, 0, "");
    row(1, "a", "1");
    assert_int_equal(try_commit(MINUTE, 0), TR_FAIL);
    assert_int_equal(err.code, TR_E_WINDOW_OVERFLOW);
    end();
}

static void the_end_of_the_input(void **unused)
{
    (void)unused;
    GROUP("k");
    SUMS("COUNT(*) AS n");
    begin((struct tr_window_options){.kind = TR_WINDOW_TUMBLING, .size_ms = 60000}, TR_T_INT64);
    row(1, "a", NULL);
    row(MINUTE, "a", NULL);
    commit_is(MINUTE, TR_EV_END_OF_INPUT,
              "1970-01-01 00:00:00|1970-01-01 00:01:00|a|1\n"
              "1970-01-01 00:01:00|1970-01-01 00:02:00|a|1\n");
    assert_int_equal(tr_window_count(branch.window), 1); /* the later one may get more */
    restart();
    row(MINUTE + 1, "a", NULL);
    commit_is(MINUTE, TR_EV_END_OF_INPUT, "1970-01-01 00:01:00|1970-01-01 00:02:00|a|2\n");
    commit_is(2 * MINUTE, 0, "1970-01-01 00:01:00|1970-01-01 00:02:00|a|2\n");
    commit_is(2 * MINUTE, TR_EV_END_OF_INPUT, "");
    assert_int_equal(group_marks(), 0);
    end();
}

static void there_is_a_limit(void **unused)
{
    (void)unused;
    GROUP("k");
    SUMS("COUNT(*) AS n");
    begin((struct tr_window_options){
              .kind = TR_WINDOW_TUMBLING, .size_ms = 60000, .groups_max = 2},
          TR_T_INT64);
    row(1, "a", NULL);
    row(1, "b", NULL);
    row(2, "b", NULL);
    assert_int_equal(try_row(table, 3, "c", "7", NULL), TR_FAIL);
    assert_int_equal(err.code, TR_E_WINDOW_LIMIT);
    assert_int_equal(try_commit(MINUTE, 0), TR_OK);
    row(MINUTE, "c", NULL); /* closed ones make room */
    end();
}

/* Two tables of one result, with other types of the same column: each row is read as its own table
 * says, in whatever order they come. */
static void tables_of_other_types(void **unused)
{
    (void)unused;
    GROUP(NULL);
    SUMS("SUM(v) AS s", "COUNT(*) AS n");
    begin((struct tr_window_options){.kind = TR_WINDOW_TUMBLING, .size_ms = 60000, .table = "all"},
          TR_T_INT64);
    struct tr_table *other = table_of("u", TR_T_FLOAT64);
    row(1, "a", "1");
    assert_int_equal(try_row(other, 1, "a", "7", "0.5"), TR_OK);
    row(1, "a", "2");
    assert_int_equal(try_row(other, 1, "a", "7", "0.25"), TR_OK);
    row(1, "a", "4");
    commit_is(MINUTE, 0, "1970-01-01 00:00:00|1970-01-01 00:01:00|7.75|5\n");
    tr_table_unref(other);
    end();
}

static void without_a_table_it_is_of_one(void **unused)
{
    (void)unused;
    GROUP(NULL);
    SUMS("COUNT(*) AS n");
    begin((struct tr_window_options){.kind = TR_WINDOW_TUMBLING, .size_ms = 60000}, TR_T_INT64);
    struct tr_table *other = table_of("u", TR_T_INT64);
    row(1, "a", "1");
    assert_int_equal(try_row(other, 1, "a", "7", "1"), TR_FAIL);
    assert_int_equal(err.code, TR_E_WINDOW_EXPRESSION);
    commit_is(0, 0, "");
    restart(); /* and it is not forgotten */
    assert_int_equal(try_row(other, 1, "a", "7", "1"), TR_FAIL);
    tr_table_unref(other);
    end();
}

static void other_questions_are_not_answered_from_old_sums(void **unused)
{
    (void)unused;
    GROUP("k", "n");
    SUMS("COUNT(*) AS c", "SUM(v) AS s");
    begin((struct tr_window_options){.kind = TR_WINDOW_TUMBLING, .size_ms = 60000}, TR_T_INT64);
    row(1, "a", "1");
    commit_is(0, 0, "");
    static const struct {
        const char *group[3], *sum[3];
    } changes[] = {{{"n", "k"}, {"COUNT(*) AS c", "SUM(v) AS s"}},
                   {{"k"}, {"COUNT(*) AS c", "SUM(v) AS s"}},
                   {{"k", "n"}, {"SUM(v) AS s", "COUNT(*) AS c"}},
                   {{"k", "n"}, {"SUM(v) AS s"}}};
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        close_window();
        list(groups, sizeof groups, changes[i].group);
        list(sums, sizeof sums, changes[i].sum);
        for (sink.window.group_by.count = 0; groups[sink.window.group_by.count] != NULL;)
            sink.window.group_by.count++;
        for (sink.window.aggregates.count = 0; sums[sink.window.aggregates.count] != NULL;)
            sink.window.aggregates.count++;
        open_branch();
        assert_int_equal(open_window(), TR_FAIL);
        assert_int_equal(err.code, TR_E_WINDOW_STATE);
    }
    end();
}

static void damaged_state_is_told(void **unused)
{
    (void)unused;
    static const char *const values[] = {
        "x", "[]", "[0,60000000,0,\"%01%00%00%00a\"]", "[0,60000000,0,\"%09%00%00%00a\",[1,\"0\",0,\"0x0p+0\",null]]",
        "[0,60000000,0,\"\",[1,\"0\",0,\"0x0p+0\",null]]",
        "[0,60000000,0,\"%01%00%00%00ab\",[1,\"0\",0,\"0x0p+0\",null]]",
        "[0,60000000,0,\"%0\",[1,\"0\",0,\"0x0p+0\",null]]",
        "[0,60000000,0,\"%01%00%00%00a\",[1,\"0\",39,\"0x0p+0\",null]]",
        "[0,60000000,0,\"%01%00%00%00a\",[1,\"z\",0,\"0x0p+0\",null]]",
        "[0,60000000,0,\"%01%00%00%00a\",[1,\"0\",0,\"0x0p+0\",7]]"};
    GROUP("k");
    SUMS("COUNT(*) AS n");
    begin((struct tr_window_options){.kind = TR_WINDOW_TUMBLING, .size_ms = 60000}, TR_T_INT64);
    row(1, "a", NULL);
    commit_is(0, 0, "");
    close_window();
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        char key[] = "w/sums/0123456789abcdef0123456789abcdef/0";
        assert_int_equal(tr_state_set(&stored, key, values[i], &err), TR_OK);
        open_branch();
        if (open_window() != TR_FAIL)
            fail_msg("was taken: %s", values[i]);
        assert_int_equal(err.code, TR_E_WINDOW_STATE);
        close_window();
    }
    open_branch();
    end();
}

static void what_is_written_must_be_readable(void **unused)
{
    (void)unused;
    static const char *const bad[] = {"COUNT(*)",        "MEDIAN(v) AS m", "SUM() AS s",
                                      "SUM v AS s",      "COUNT(DISTINCT v) AS n",
                                      "SUM(*) AS s",     " AS s",          "SUM(v) AS "};
    GROUP(NULL);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        SUMS("COUNT(*) AS n");
        begin((struct tr_window_options){.kind = TR_WINDOW_TUMBLING, .size_ms = 60000}, TR_T_INT64);
        close_window();
        sums[0] = bad[i];
        open_branch();
        enum tr_status status = open_window();
        if (status == TR_OK) /* SUM(*): known when a table is seen */
            status = try_row(table, 1, "a", "7", "1");
        if (status != TR_FAIL)
            fail_msg("was taken: %s", bad[i]);
        if (err.code != TR_E_WINDOW_EXPRESSION)
            fail_msg("%s: %s", bad[i], err.message);
        end();
    }
    SUMS("SUM(v) AS s");
    begin((struct tr_window_options){.kind = TR_WINDOW_TUMBLING, .size_ms = 60000}, TR_T_STRING);
    assert_int_equal(try_row(table, 1, "a", "7", "1"), TR_FAIL);
    assert_int_equal(err.code, TR_E_WINDOW_EXPRESSION);
    end();
    /* names in quotes, lower case, spaces */
    GROUP("  k   AS  `the key` ");
    SUMS("count( * ) as n", "Sum(\"v\") As \"my sum\"");
    begin((struct tr_window_options){.kind = TR_WINDOW_TUMBLING, .size_ms = 60000}, TR_T_INT64);
    row(1, "a", "1");
    commit_is(MINUTE, 0, "1970-01-01 00:00:00|1970-01-01 00:01:00|a|1|1\n");
    assert_string_equal(columns, "window_start:TIMESTAMP! window_end:TIMESTAMP! the key:STRING! "
                                 "n:INT64 my sum:INT64");
    end();
}

static int setup(void **unused)
{
    (void)unused;
    static const struct tr_option none[] = {{.name = NULL}};
    (void)pthread_mutex_init(&engine.lock, NULL);
    tr_state_init(&stored);
    return tr_config_from_text("{}", none, 0, &config, &err) == TR_OK ? 0 : -1;
}
static int teardown(void **unused)
{
    (void)unused;
    tr_config_free(config);
    tr_state_free(&stored);
    (void)pthread_mutex_destroy(&engine.lock);
    return 0;
}

int main(void)
{
    tr_log_set_level(TR_LOG_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tumbling),
        cmocka_unit_test(offset_shifts_the_windows),
        cmocka_unit_test(hopping),
        cmocka_unit_test(sessions),
        cmocka_unit_test(a_joined_session_survives_a_restart),
        cmocka_unit_test(groups_and_nulls),
        cmocka_unit_test(values_of_every_type),
        cmocka_unit_test(nothing_but_nulls),
        cmocka_unit_test(overflow_is_told),
        cmocka_unit_test(the_end_of_the_input),
        cmocka_unit_test(there_is_a_limit),
        cmocka_unit_test(tables_of_other_types),
        cmocka_unit_test(without_a_table_it_is_of_one),
        cmocka_unit_test(other_questions_are_not_answered_from_old_sums),
        cmocka_unit_test(damaged_state_is_told),
        cmocka_unit_test(what_is_written_must_be_readable),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
