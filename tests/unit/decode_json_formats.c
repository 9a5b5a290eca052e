/* The formats json and cdc-json: rows, envelopes, evolution, restart. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "decode_json_support.h"

static void test_sample(void **state)
{
    (void)state;
    struct bench bench;
    bench_init(&bench, TR_DECODE_CDC_JSON);
    bench.show_ts = true;
    BENCH_LIST(&bench.options.primary_keys, "id");
    bench_open(&bench);
    assert_feed(&bench,
                "{\"op\":\"c\",\"before\":null,\"after\":{\"id\":1,\"name\":\"Alice\","
                "\"email\":\"alice@example.com\"},\"timestamp\":\"2025-09-19T10:00:00Z\"}",
                "create users v1 (id INT64 key1, name STRING, email STRING, op STRING hidden, "
                "timestamp STRING hidden)\n"
                "c users after id=1 name='Alice' email='alice@example.com' op='c' "
                "timestamp='2025-09-19T10:00:00Z' ts=1758276000000000\n");
    assert_feed(&bench,
                "{\"op\":\"u\",\"before\":{\"id\":1,\"name\":\"Alice\"},\"after\":{\"id\":1,"
                "\"name\":\"Alice B\",\"email\":null},\"timestamp\":1758276000500}",
                "u users before id=1 name='Alice' email=- op='u' timestamp='1758276000500' after "
                "id=1 name='Alice B' email=~ op='u' timestamp='1758276000500' "
                "ts=1758276000500000\n");
    assert_feed(&bench, "{\"op\":\"d\",\"before\":{\"id\":1},\"after\":null}",
                "d users before id=1 name=- email=- op='d' [key-only] ts=none\n");
    assert_feed(&bench, "{\"op\":\"u\",\"before\":{\"id\":1},\"after\":{\"id\":2}}",
                "u users before id=1 name=- email=- op='u' after id=2 name=~ email=~ op='u' "
                "[key-only] [key-changed] ts=none\n");
    bench_free(&bench);
}

/* ---- bounds --------------------------------------------------------------------------------- */

static char *canal_message(int rows)
{
    struct tr_outbuf out = {0};
    tr_outbuf_lit(&out, "{\"type\":\"INSERT\",\"database\":\"d\",\"table\":\"t\",\"data\":[");
    for (int i = 0; i < rows; i++)
        tr_outbuf_printf(&out, "%s{\"id\":\"%d\"}", i == 0 ? "" : ",", i);
    tr_outbuf_lit(&out, "]}");
    (void)tr_outbuf_cstr(&out);
    assert_false(out.failed);
    return out.data;
}

static void test_rows_of_a_message(void **state)
{
    (void)state;
    struct bench bench;
    bench_init(&bench, TR_DECODE_CANAL_JSON);
    bench_open(&bench);
    char *most = canal_message(TR_DECODE_EVENTS_MAX - 2),
         *more = canal_message(TR_DECODE_EVENTS_MAX - 1);
    assert_string_equal(bench_feed(&bench, more),
                        "fail MESSAGE_LIMIT: the message has 511 rows, more than 510\n");
    (void)bench_feed(&bench, most);
    assert_int_equal(bench.batch->event_count, TR_DECODE_EVENTS_MAX - 1); /* and CREATE_TABLE */
    bench_restart(&bench);
    (void)bench_feed(&bench, "{\"type\":\"INSERT\",\"data\":[{\"id\":\"1\",\"x\":\"1\"}]}");
    assert_int_equal(bench.batch->event_count, 3); /* CREATE, ALTER, row */
    free(most);
    free(more);
    bench_free(&bench);
}

static char *wide_row(int columns)
{
    struct tr_outbuf out = {0};
    tr_outbuf_byte(&out, '{');
    for (int i = 0; i < columns; i++)
        tr_outbuf_printf(&out, "%s\"c%d\":%d", i == 0 ? "" : ",", i, i);
    tr_outbuf_byte(&out, '}');
    (void)tr_outbuf_cstr(&out);
    assert_false(out.failed);
    return out.data;
}

static void test_columns_of_a_table(void **state)
{
    (void)state;
    struct bench bench;
    bench_init(&bench, TR_DECODE_JSON);
    bench_open(&bench);
    char *most = wide_row(1600), *more = wide_row(1601);
    assert_int_equal(strncmp(bench_feed(&bench, more), "fail MESSAGE_LIMIT:", 19), 0);
    (void)bench_feed(&bench, most);
    assert_int_equal(bench.batch->event_count, 2);
    assert_int_equal(strncmp(bench_feed(&bench, more), "fail MESSAGE_LIMIT:", 19), 0);
    (void)bench_feed(&bench, most);
    assert_int_equal(bench.batch->event_count, 1);
    bench_restart(&bench);
    (void)bench_feed(&bench, most);
    assert_int_equal(bench.batch->event_count, 2);
    free(most);
    free(more);
    bench_free(&bench);
}

static void test_long_names(void **state)
{
    (void)state;
    struct bench bench;
    char text[2048], name[257];
    bench_init(&bench, TR_DECODE_JSON);
    bench_open(&bench);
    memset(name, 'n', sizeof name);
    (void)snprintf(text, sizeof text, "{\"%.256s\":1}", name);
    assert_int_equal(strncmp(bench_feed(&bench, text), "fail MESSAGE_LIMIT:", 19), 0);
    (void)snprintf(text, sizeof text, "{\"%.255s\":1}", name);
    (void)bench_feed(&bench, text);
    assert_int_equal(bench.batch->event_count, 2);
    /* the same name, all in escapes */
    size_t len = 0;
    text[len++] = '{';
    text[len++] = '"';
    for (int i = 0; i < 255; i++, len += 6)
        memcpy(text + len, "\\u006e", 6);
    memcpy(text + len, "\":2}", 5);
    (void)bench_feed(&bench, text);
    assert_int_equal(bench.batch->event_count, 1);
    bench_free(&bench);
}

/* Many tables side by side, with names that no mark's key can hold as they are. */
static void test_many_tables(void **state)
{
    (void)state;
    struct bench bench;
    char text[1024];
    bench_init(&bench, TR_DECODE_CDC_JSON);
    bench.options.table_field = "table";
    bench_open(&bench);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 300; i++) {
            (void)snprintf(text, sizeof text,
                           "{\"op\":\"c\",\"table\":\"s =*\xc3\xa9.%0200d\",\"after\":{\"a%d\":1}}",
                           i, round);
            (void)bench_feed(&bench, text);
            assert_int_equal(bench.batch->event_count, round == 0 ? 2 : 3); /* an ALTER too */
        }
        bench_restart(&bench);
    }
    assert_feed(&bench, "{\"op\":\"c\",\"table\":\"x\",\"after\":{}}",
                "fail MESSAGE_FIELD: the row has no field whose type is known\n");
    bench_free(&bench);
}

/* The bound on tables holds, and tables of failed messages do not count. */
static void test_too_many_tables(void **state)
{
    (void)state;
    struct bench bench;
    char text[256];
    bench_init(&bench, TR_DECODE_CDC_JSON);
    bench.options.table_field = "table";
    bench_open(&bench);
    for (int i = 0; i < 5000; i++) {
        (void)snprintf(text, sizeof text, "{\"op\":\"c\",\"table\":\"bad%d\",\"after\":{}}", i);
        assert_int_equal(strncmp(bench_feed(&bench, text), "fail MESSAGE_FIELD:", 19), 0);
    }
    for (int i = 0; i < 4096; i++) {
        (void)snprintf(text, sizeof text, "{\"op\":\"c\",\"table\":\"t%d\",\"after\":{\"a\":1}}",
                       i);
        (void)bench_feed(&bench, text);
        assert_int_equal(bench.batch->event_count, 2);
    }
    assert_feed(&bench, "{\"op\":\"c\",\"table\":\"more\",\"after\":{\"a\":1}}",
                "fail MESSAGE_LIMIT: the messages name more than 4096 tables\n");
    bench_free(&bench);
}

/* Unknown formats and those that are not built. */
static void test_find(void **state)
{
    (void)state;
    assert_null(tr_decoder_find(-1));
    assert_null(tr_decoder_find(1000));
    for (int i = TR_DECODE_JSON; i <= TR_DECODE_MAXWELL_JSON; i++)
        assert_string_equal(tr_decoder_find(i)->name, tr_decoder_format_values[i]);
}

/* A restored schema that cannot be read stops the decoder; close takes NULL. */
static void test_restore_damaged(void **state)
{
    (void)state;
    struct bench bench;
    struct tr_state marks;
    bench_init(&bench, TR_DECODE_JSON);
    bench_open(&bench);
    tr_state_init(&marks);
    assert_int_equal(tr_state_set(&marks, "schema/users", "{\"v\":1", &bench.err), TR_OK);
    assert_int_equal(bench.ops->restore(bench.decoder, &marks, &bench.err), TR_FAIL);
    assert_int_equal(bench.err.code, TR_E_STORED_SCHEMA);
    tr_state_free(&marks);
    bench_free(&bench);
    bench.ops->close(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sample),
        cmocka_unit_test(test_rows_of_a_message),
        cmocka_unit_test(test_columns_of_a_table),
        cmocka_unit_test(test_long_names),
        cmocka_unit_test(test_many_tables),
        cmocka_unit_test(test_too_many_tables),
        cmocka_unit_test(test_find),
        cmocka_unit_test(test_restore_damaged),
    };
    return cmocka_run_group_tests_name("decode_json_formats", tests, NULL, NULL);
}
