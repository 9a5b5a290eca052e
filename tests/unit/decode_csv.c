/* The format csv: records to rows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "decode/formats.h"
#include "event/batch.h"
#include "event/state.h"

struct fixture {
    struct tr_decoder_options options;
    const struct tr_decoder_ops *ops;
    struct tr_decoder *decoder;
    struct tr_batch *batch;
    struct tr_split splits[2];
    int64_t position[2];
    struct tr_error err;
};

static int open_fixture(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    assert_non_null(fixture);
    tr_decoder_options_default(&fixture->options);
    fixture->options.format = TR_DECODE_CSV;
    fixture->ops = tr_decoder_find(TR_DECODE_CSV);
    fixture->splits[0] = (struct tr_split){0, "a", "in/a.csv", 1, "t"};
    fixture->splits[1] = (struct tr_split){1, "b", "in/b.csv", 2, "t"};
    assert_int_equal(tr_batch_new(&fixture->batch, &fixture->err), TR_OK);
    *state = fixture;
    return 0;
}

static int close_fixture(void **state)
{
    struct fixture *fixture = *state;
    tr_batch_free(fixture->batch);
    fixture->ops->close(fixture->decoder);
    free(fixture);
    return 0;
}

static void open_decoder(struct fixture *fixture)
{
    const struct tr_decoder_context context = {.pipeline_name = "p", .namespace = "", .schema = ""};
    assert_int_equal(
        fixture->ops->open(&fixture->options, &context, &fixture->decoder, &fixture->err), TR_OK);
}

static enum tr_status feed(struct fixture *fixture, unsigned split, const char *record)
{
    size_t len = strlen(record);
    struct tr_message message = {.split = &fixture->splits[split],
                                 .position = fixture->position[split],
                                 .next = fixture->position[split] + (int64_t)len + 1,
                                 .ts_us = INT64_MIN,
                                 .value = {tr_batch_copy(fixture->batch, record, len), len}};
    fixture->position[split] = message.next;
    uint32_t before = fixture->batch->event_count;
    enum tr_status status =
        fixture->ops->decode(fixture->decoder, &message, fixture->batch, &fixture->err);
    if (status == TR_FAIL)
        assert_int_equal(fixture->batch->event_count, before);
    return status;
}

static void expect_row(struct fixture *fixture, const char *const *names, const char *const *values,
                       size_t count)
{
    const struct tr_event *event = &fixture->batch->events[fixture->batch->event_count - 1];
    assert_int_equal(event->op, TR_OP_CREATE);
    assert_string_equal(event->table->id.table, "t");
    for (size_t i = 0; i < count; i++) {
        int index = tr_table_column(event->table, names[i]);
        assert_true(index >= 0);
        const struct tr_cell *cell = &event->after[index];
        if (values[i] == NULL) {
            assert_int_equal(cell->state, TR_CELL_NULL);
            continue;
        }
        assert_int_equal(cell->state, TR_CELL_TEXT);
        assert_int_equal(cell->len, strlen(values[i]));
        assert_memory_equal(cell->ptr, values[i], cell->len);
    }
}
#define ROW(fixture, names, ...)                                                                   \
    expect_row(fixture, names, (const char *const[]){__VA_ARGS__}, sizeof names / sizeof *names)

static void expect_bad(struct fixture *fixture, const char *record, enum tr_code code)
{
    assert_int_equal(feed(fixture, 0, record), TR_FAIL);
    assert_int_equal(fixture->err.code, code);
    assert_int_equal(fixture->err.class, TR_DATA);
}

static void fields(void **state)
{
    struct fixture *fixture = *state;
    static const char *const names[] = {"a", "b c"};
    open_decoder(fixture);
    assert_int_equal(feed(fixture, 0, "a,\"b c\""), TR_OK);
    assert_int_equal(fixture->batch->event_count, 0); /* the header makes no event */
    assert_int_equal(feed(fixture, 0, "1,2"), TR_OK);
    assert_int_equal(fixture->batch->events[0].op, TR_OP_SCHEMA);
    ROW(fixture, names, "1", "2");
    assert_int_equal(feed(fixture, 0, "\"x,\"\"y\"\"\n\",5\" pipe"), TR_OK);
    ROW(fixture, names, "x,\"y\"\n", "5\" pipe");
    assert_int_equal(feed(fixture, 0, "\"\","), TR_OK);
    ROW(fixture, names, "", NULL);
    assert_int_equal(feed(fixture, 0, " 007 ,\"\"\"\""), TR_OK);
    ROW(fixture, names, " 007 ", "\"");
    expect_bad(fixture, "1", TR_E_CSV_FIELDS);
    expect_bad(fixture, "1,2,3", TR_E_CSV_FIELDS);
    expect_bad(fixture, "\"1\"x,2", TR_E_CSV_QUOTE);
    expect_bad(fixture, "\"1,2", TR_E_CSV_QUOTE);
    expect_bad(fixture, "1,\"", TR_E_CSV_QUOTE);
    expect_bad(fixture, "1,\xff", TR_E_CSV_VALUE);
    assert_int_equal(feed(fixture, 0, "3,4"), TR_OK);
    ROW(fixture, names, "3", "4");
}

static void files_differ(void **state)
{
    struct fixture *fixture = *state;
    static const char *const names[] = {"a", "b"};
    static const char *const more[] = {"a", "b", "c"};
    open_decoder(fixture);
    assert_int_equal(feed(fixture, 0, "a,b"), TR_OK);
    assert_int_equal(feed(fixture, 1, "c,b,a"), TR_OK);
    assert_int_equal(feed(fixture, 0, "1,2"), TR_OK);
    ROW(fixture, names, "1", "2");
    assert_int_equal(feed(fixture, 1, "z,y,x"), TR_OK);
    ROW(fixture, more, "x", "y", "z");
    assert_int_equal(feed(fixture, 0, "3,4"), TR_OK);
    ROW(fixture, more, "3", "4", NULL);
}

static void bad_headers(void **state)
{
    struct fixture *fixture = *state;
    static const char *const bad[] = {"a,a", "a,,b", "a,\"b", ""};
    open_decoder(fixture);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        fixture->position[0] = 0;
        assert_int_equal(feed(fixture, 0, bad[i]), TR_FAIL);
        assert_int_equal(fixture->err.class, TR_DATA);
        expect_bad(fixture, "1,2", TR_E_CSV_HEADER);
    }
    fixture->position[0] = 0;
    assert_int_equal(feed(fixture, 0, "a,b"), TR_OK);
    assert_int_equal(feed(fixture, 0, "1,2"), TR_OK);
}

static void types(void **state)
{
    struct fixture *fixture = *state;
    static const char *const columns[] = {"id INT NOT NULL", "at DATE"}, *const names[] = {"id",
                                                                                           "at"};
    fixture->options.columns = (struct tr_string_list){columns, 2};
    fixture->options.csv_null = "NULL";
    open_decoder(fixture);
    assert_int_equal(feed(fixture, 0, "at,extra,id"), TR_OK);
    assert_int_equal(feed(fixture, 0, "2024-02-29,x,7"), TR_OK);
    ROW(fixture, names, "7", "2024-02-29");
    assert_int_equal(tr_table_column(fixture->batch->events[1].table, "extra"), -1);
    assert_int_equal(feed(fixture, 0, "NULL,x,8"), TR_OK);
    ROW(fixture, names, "8", NULL);
    expect_bad(fixture, "2024-02-29,x,seven", TR_E_MESSAGE_VALUE);
    assert_int_equal(feed(fixture, 0, "2024-02-29,x,NULL"), TR_FAIL);
    assert_int_equal(fixture->err.class, TR_DATA);
}

static void no_header(void **state)
{
    struct fixture *fixture = *state;
    static const char *const columns[] = {"id INT", "v STRING"}, *const names[] = {"id", "v"};
    fixture->options.columns = (struct tr_string_list){columns, 2};
    fixture->options.csv_header = false;
    open_decoder(fixture);
    assert_int_equal(feed(fixture, 0, "1,x"), TR_OK);
    ROW(fixture, names, "1", "x");
}

static void needs_names(void **state)
{
    struct fixture *fixture = *state;
    const struct tr_decoder_context context = {.namespace = "", .schema = ""};
    fixture->options.csv_header = false;
    assert_int_equal(
        fixture->ops->open(&fixture->options, &context, &fixture->decoder, &fixture->err), TR_FAIL);
    assert_int_equal(fixture->err.code, TR_E_DECODE_OPTION);
    fixture->decoder = NULL;
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_fixture, close_fixture)
    const struct CMUnitTest tests[] = {TEST(fields), TEST(files_differ), TEST(bad_headers),
                                       TEST(types),  TEST(no_header),    TEST(needs_names)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
