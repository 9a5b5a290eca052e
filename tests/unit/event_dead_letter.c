/* Dead letters as rows: every cell, text or bytes, without a message, in place and appended. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "event/dead_letter.h"

static struct tr_batch *batch;
static struct tr_error err;
static const struct tr_split split = {
    .index = 3, .name = "t/7", .container = "users_cdc", .partition = 7};

static int setup(void **unused)
{
    (void)unused;
    return tr_batch_new(&batch, &err) == TR_OK ? 0 : -1;
}
static int teardown(void **unused)
{
    (void)unused;
    tr_batch_free(batch);
    return 0;
}

static const struct tr_cell *cell(const struct tr_event *event, const char *name)
{
    int at = tr_table_column(event->table, name);
    assert_true(at >= 0);
    return &event->after[at];
}
static void is(const struct tr_event *event, const char *name, const char *expected)
{
    const struct tr_cell *found = cell(event, name);
    if (expected == NULL) {
        if (found->state != TR_CELL_NULL)
            fail_msg("%s is %.*s", name, (int)found->len, found->ptr);
        return;
    }
    if (found->state != TR_CELL_TEXT || found->len != strlen(expected) ||
        memcmp(found->ptr, expected, found->len) != 0)
        fail_msg("%s is %d %.*s, expected %s", name, found->state,
                 found->state == TR_CELL_TEXT ? (int)found->len : 0, found->ptr, expected);
}
static struct tr_event *append(const struct tr_dead_letter *letter)
{
    tr_batch_reset(batch);
    assert_int_equal(tr_dead_letter_append(batch, letter, &err), TR_OK);
    assert_int_equal(batch->event_count, 1);
    return &batch->events[0];
}

static void the_table(void **unused)
{
    (void)unused;
    const struct tr_table *table = tr_dead_letter_table();
    static const char *const key[] = {"container", "split", "position", "reason"};
    assert_ptr_equal(table, tr_dead_letter_table());
    assert_string_equal(table->id.table, TR_DEAD_LETTER_TABLE);
    assert_int_equal(table->column_count, 15);
    assert_int_equal(table->key_count, 4);
    for (int i = 0; i < 4; i++)
        assert_string_equal(table->columns[table->key_columns[i]].name, key[i]);
    for (uint16_t i = 0; i < table->column_count; i++)
        assert_int_equal(table->columns[i].nullable, table->columns[i].key_index == 0);
}

static void every_cell(void **unused)
{
    (void)unused;
    struct tr_table *table;
    struct tr_error cause;
    const struct tr_table spec = {.id = {"db", "app", "users"}, .version = 1};
    assert_int_equal(tr_table_new(&spec, &table, &err), TR_OK);
    (void)tr_fail(&cause, TR_E_EVENT_TIME_VALUE, "the message");
    (void)tr_detail(&cause, "and more");
    const struct tr_message message = {.split = &split,
                                       .position = INT64_C(9007199254740993),
                                       .next = INT64_C(9007199254740994),
                                       .ts_us = INT64_C(1700000000123456),
                                       .key = {"k\xc3\xa4", 3},
                                       .value = {"{\"a\":1}", 7}};
    const struct tr_dead_letter letter = {.reason = TR_DEAD_NO_TIME,
                                          .message = &message,
                                          .table = table,
                                          .error = &cause,
                                          .event_time_us = -1,
                                          .watermark_us = 0};
    const struct tr_event *event = append(&letter);
    tr_table_unref(table);
    assert_true(tr_is_dead_letter(event));
    assert_int_equal(event->op, TR_OP_CREATE);
    assert_null(event->before);
    assert_ptr_equal(event->message, &message);
    assert_int_equal(event->event_time_us, -1);
    assert_true(event->ts_us > 0 && event->ts_us == event->recv_ts_us);
    is(event, "reason", "no-event-time");
    is(event, "code", "EVENT_TIME_VALUE");
    is(event, "error", "the message: and more");
    is(event, "source_table", "app.users");
    is(event, "container", "users_cdc");
    is(event, "split", "7");
    is(event, "position", "9007199254740993");
    is(event, "message_time", "2023-11-14 22:13:20.123456+00");
    is(event, "event_time", "1969-12-31 23:59:59.999999+00");
    is(event, "watermark", "1970-01-01 00:00:00.000000+00");
    assert_int_equal(cell(event, "failed_at")->state, TR_CELL_TEXT);
    is(event, "key", "k\xc3\xa4");
    is(event, "payload", "{\"a\":1}");
    is(event, "key_bytes", NULL);
    is(event, "payload_bytes", NULL);
    static const char *const reasons[] = {"malformed", "late", "transform", "no-event-time"};
    for (int i = 0; i < 4; i++)
        is(append(&(struct tr_dead_letter){.reason = (enum tr_dead_reason)i,
                                           .event_time_us = TR_TIME_NONE,
                                           .watermark_us = TR_TIME_NONE}),
           "reason", reasons[i]);
}

static void without_a_message(void **unused)
{
    (void)unused;
    const struct tr_event *event = append(&(struct tr_dead_letter){
        .reason = TR_DEAD_LATE, .event_time_us = TR_TIME_NONE, .watermark_us = TR_TIME_NONE});
    static const char *const nothing[] = {"code",  "error",     "source_table", "message_time",
                                          "key",   "event_time", "watermark",   "payload",
                                          "key_bytes", "payload_bytes"};
    for (size_t i = 0; i < sizeof nothing / sizeof nothing[0]; i++)
        is(event, nothing[i], NULL);
    is(event, "container", ""); /* the key has no NULLs */
    is(event, "split", "0");
    is(event, "position", "0");
    assert_null(event->message);
}

static void text_or_bytes(void **unused)
{
    (void)unused;
    static const struct {
        const char *bytes;
        size_t len;
        bool is_text;
    } cases[] = {
        {"", 0, true},
        {"plain\n\t", 7, true},
        {"a\0b", 3, false},
        {"\0", 1, false},
        {"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", 9, true},
        {"\xf4\x8f\xbf\xbf", 4, true},
        {"\xed\x9f\xbf\xee\x80\x80", 6, true},
        {"\xc3", 1, false},             /* cut off */
        {"\xe2\x82", 2, false},
        {"\xf0\x9f\x98", 3, false},
        {"\xc0\xaf", 2, false},         /* longer than needed */
        {"\xc1\xbf", 2, false},
        {"\xe0\x9f\xbf", 3, false},
        {"\xf0\x8f\xbf\xbf", 4, false},
        {"\xed\xa0\x80", 3, false},     /* a surrogate */
        {"\xf4\x90\x80\x80", 4, false}, /* beyond U+10FFFF */
        {"\xf5\x80\x80\x80", 4, false},
        {"\x80", 1, false},
        {"\xff\xfe", 2, false},
        {"\xc3\x28", 2, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char *exact = malloc(cases[i].len > 0 ? cases[i].len : 1); /* nothing behind it may be read */
        memcpy(exact, cases[i].bytes, cases[i].len);
        const struct tr_message message = {.split = &split,
                                           .position = 1,
                                           .next = 2,
                                           .ts_us = TR_TIME_NONE,
                                           .value = {exact, cases[i].len}};
        const struct tr_event *event =
            append(&(struct tr_dead_letter){.reason = TR_DEAD_MALFORMED,
                                            .message = &message,
                                            .event_time_us = TR_TIME_NONE,
                                            .watermark_us = TR_TIME_NONE});
        const struct tr_cell *text = cell(event, "payload"), *bytes = cell(event, "payload_bytes");
        const struct tr_cell *used = cases[i].is_text ? text : bytes;
        if (used->state != (cases[i].is_text ? TR_CELL_TEXT : TR_CELL_BINARY))
            fail_msg("case %zu", i);
        assert_int_equal((cases[i].is_text ? bytes : text)->state, TR_CELL_NULL);
        assert_int_equal(used->len, cases[i].len);
        assert_memory_equal(used->ptr, exact, cases[i].len);
        assert_ptr_not_equal(used->ptr, exact); /* a copy */
        is(event, "key", NULL);
        is(event, "key_bytes", NULL);
        is(event, "message_time", NULL);
        free(exact);
    }
}

static void long_errors_are_cut_between_characters(void **unused)
{
    (void)unused;
    for (unsigned shift = 0; shift < 4; shift++) {
        struct tr_error cause;
        char text[1200];
        size_t len = shift;
        memset(text, 'x', shift);
        while (len + 4 < sizeof text) {
            memcpy(text + len, "\xf0\x9f\x98\x80", 4);
            len += 4;
        }
        text[len] = '\0';
        (void)tr_fail(&cause, TR_E_INTERNAL, "%s", text);
        const struct tr_event *event = append(&(struct tr_dead_letter){.reason = TR_DEAD_TRANSFORM,
                                                                       .error = &cause,
                                                                       .event_time_us = TR_TIME_NONE,
                                                                       .watermark_us = TR_TIME_NONE});
        const struct tr_cell *found = cell(event, "error");
        assert_int_equal(found->state, TR_CELL_TEXT);
        assert_true(found->len > 100);
        assert_int_equal((found->len - shift) % 4, 0);
    }
}

static void an_event_becomes_one_in_place(void **unused)
{
    (void)unused;
    struct tr_table *table;
    const struct tr_column column = {.name = "id", .type = TR_T_INT64, .source_type = "int8"};
    const struct tr_table spec = {
        .id = {"", "", "t"}, .version = 1, .column_count = 1, .columns = &column};
    assert_int_equal(tr_table_new(&spec, &table, &err), TR_OK);
    tr_batch_reset(batch);
    struct tr_event *event = tr_batch_event(batch, TR_OP_UPDATE);
    const struct tr_cell before = {"1", 1, TR_CELL_TEXT};
    event->table = table;
    event->before = event->after = &before;
    event->flags = TR_EV_KEY_CHANGED;
    event->ts_us = 5;
    event->raw = (struct tr_slice){"raw", 3};
    assert_false(tr_is_dead_letter(event));
    const struct tr_dead_letter letter = {.reason = TR_DEAD_LATE,
                                          .table = table,
                                          .event_time_us = 7,
                                          .watermark_us = 9};
    assert_int_equal(tr_dead_letter_set(batch, event, &letter, &err), TR_OK);
    assert_true(tr_is_dead_letter(event));
    assert_int_equal(event->op, TR_OP_CREATE);
    assert_int_equal(event->flags, 0);
    assert_int_equal(event->ts_us, 5); /* it is where it was */
    assert_null(event->before);
    assert_null(event->raw.ptr);
    is(event, "source_table", "t");
    is(event, "watermark", "1970-01-01 00:00:00.000009+00");
    assert_int_equal(batch->event_count, 1);
    tr_batch_reset(batch);
    tr_table_unref(table);
}

static void a_full_batch_is_told(void **unused)
{
    (void)unused;
    tr_batch_reset(batch);
    while (batch->event_count < TR_BATCH_EVENTS_MAX)
        assert_non_null(tr_batch_event(batch, TR_OP_CREATE));
    const struct tr_dead_letter letter = {.reason = TR_DEAD_LATE};
    assert_int_equal(tr_dead_letter_append(batch, &letter, &err), TR_FAIL);
    assert_int_equal(batch->event_count, TR_BATCH_EVENTS_MAX);
    const struct tr_event no_table = {.op = TR_OP_COMMIT};
    assert_false(tr_is_dead_letter(&no_table));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_table),
        cmocka_unit_test(every_cell),
        cmocka_unit_test(without_a_message),
        cmocka_unit_test(text_or_bytes),
        cmocka_unit_test(long_errors_are_cut_between_characters),
        cmocka_unit_test(an_event_becomes_one_in_place),
        cmocka_unit_test(a_full_batch_is_told),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
