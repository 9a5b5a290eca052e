/* The formats json and cdc-json: rows, envelopes, evolution, restart. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sample),
    };
    return cmocka_run_group_tests_name("decode_json_formats", tests, NULL, NULL);
}
