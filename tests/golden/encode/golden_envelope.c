/* Whole records for each operation, byte by byte. The expected text follows Debezium 3.5's own
 * output for the same situation (field order, nulls, what a key-only before image shows). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/outbuf.h"
#include "encode/encode.h"
#include "encode/records.h"

#define NOW_US INT64_C(1795258269600123)

static struct tr_format_options options;
static struct tr_table *table;
static struct tr_encoder *encoder;

static struct tr_cell text(const char *value)
{
    return (struct tr_cell){.ptr = value, .len = (uint32_t)strlen(value), .state = TR_CELL_TEXT};
}
#define NOTHING(what) ((struct tr_cell){.state = TR_CELL_##what})

/* id int, k2 text, PRIMARY KEY (k2, id); n int NOT NULL; d int DEFAULT 7; t text; nn text NOT NULL
 */
static void make_table(void)
{
    struct tr_column columns[] = {
        {.name = "id", .type = TR_T_INT32, .source_type = "int4", .key_index = 2},
        {.name = "k2", .type = TR_T_STRING, .source_type = "text", .key_index = 1},
        {.name = "n", .type = TR_T_INT32, .source_type = "int4"},
        {.name = "d",
         .type = TR_T_INT32,
         .source_type = "int4",
         .nullable = true,
         .default_value = "7"},
        {.name = "t", .type = TR_T_STRING, .source_type = "text", .nullable = true},
        {.name = "nn", .type = TR_T_STRING, .source_type = "text"},
    };
    struct tr_table spec = {.id = {"shop", "public", "we\"ird"},
                            .column_count = sizeof columns / sizeof columns[0],
                            .columns = columns,
                            .key_is_primary = true};
    struct tr_error err;
    assert_int_equal(tr_table_new(&spec, &table, &err), TR_OK);
}

static struct tr_event change(enum tr_op op, const struct tr_cell *before,
                              const struct tr_cell *after)
{
    return (struct tr_event){.op = (uint8_t)op,
                             .table = table,
                             .before = before,
                             .after = after,
                             .position = 28047856,
                             .commit_position = 28048000,
                             .prev_commit_position = 28047080,
                             .ts_us = INT64_C(1795258269560085),
                             .txn_id = 839};
}

#define SOURCE(snapshot, sequence, txid)                                                           \
    "\"source\":{\"version\":\"9.9\",\"connector\":\"postgresql\",\"name\":\"pre\","               \
    "\"ts_ms\":1795258269560,\"snapshot\":\"" snapshot                                             \
    "\",\"db\":\"shop\",\"sequence\":\"" sequence                                                  \
    "\",\"ts_us\":1795258269560085,\"ts_ns\":1795258269560085000,\"schema\":\"public\",\"table\":" \
    "\"we\\\"ird\",\"txId\":" txid ",\"lsn\":28047856,\"xmin\":null,\"origin\":null,"              \
    "\"origin_lsn\":null},\"transaction\":null,"
#define STREAMED SOURCE("false", "[\\\"28047080\\\",\\\"28047856\\\"]", "839")
#define TAIL(op)                                                                                   \
    "\"op\":\"" op "\",\"ts_ms\":1795258269600,\"ts_us\":1795258269600123,\"ts_ns\":"              \
    "1795258269600123000}"

static void expect(const struct tr_format_ops *format, const struct tr_event *event,
                   const char *key, const char *value)
{
    struct tr_outbuf out = {0};
    struct tr_error err;
    enum tr_status status = format->encode_key(encoder, event, &out, &err);
    assert_int_equal(status, key == NULL ? TR_AGAIN : TR_OK);
    assert_string_equal(tr_outbuf_cstr(&out), key == NULL ? "" : key);
    tr_outbuf_clear(&out);
    status = format->encode_value(encoder, event, NOW_US, &out, &err);
    assert_int_equal(status, value == NULL ? TR_AGAIN : TR_OK);
    assert_string_equal(tr_outbuf_cstr(&out), value == NULL ? "" : value);
    tr_outbuf_free(&out);
}

static int open_with(const struct tr_format_ops *format)
{
    static const struct tr_format_context context = {"pre", "9.9", "postgresql"};
    struct tr_error err;
    make_table();
    return format->open(&options, &context, &encoder, &err) == TR_OK ? 0 : -1;
}

static int setup(void **state)
{
    (void)state;
    tr_format_options_default(&options);
    return open_with(&tr_format_debezium_json);
}

static int setup_plain(void **state)
{
    (void)state;
    tr_format_options_default(&options);
    return open_with(&tr_format_plain_json);
}

static int teardown(void **state)
{
    (void)state;
    tr_format_debezium_json.close(encoder);
    tr_table_unref(table);
    return 0;
}

static void test_create(void **state)
{
    (void)state;
    struct tr_cell after[] = {text("1"),     text("k"),    text("5"),
                              NOTHING(NULL), text("x\ny"), text("")};
    struct tr_event event = change(TR_OP_CREATE, NULL, after);
    expect(&tr_format_debezium_json, &event, "{\"k2\":\"k\",\"id\":1}",
           "{\"before\":null,\"after\":{\"id\":1,\"k2\":\"k\",\"n\":5,\"d\":null,\"t\":\"x\\ny\","
           "\"nn\":\"\"}," STREAMED TAIL("c"));
    options.null_with_default = true;
    expect(&tr_format_debezium_json, &event, "{\"k2\":\"k\",\"id\":1}",
           "{\"before\":null,\"after\":{\"id\":1,\"k2\":\"k\",\"n\":5,\"d\":7,\"t\":\"x\\ny\","
           "\"nn\":\"\"}," STREAMED TAIL("c"));
}

static void test_read(void **state)
{
    (void)state;
    struct tr_cell after[] = {text("1"), text("k"), text("5"), text("6"), NOTHING(NULL), text("z")};
    struct tr_event event = change(TR_OP_READ, NULL, after);
    event.txn_id = 0;
    event.flags = TR_EV_SNAPSHOT;
    expect(
        &tr_format_debezium_json, &event, "{\"k2\":\"k\",\"id\":1}",
        "{\"before\":null,\"after\":{\"id\":1,\"k2\":\"k\",\"n\":5,\"d\":6,\"t\":null,\"nn\":\"z\"}"
        "," SOURCE("true", "[null,\\\"28047856\\\"]", "null") TAIL("r"));
    event.flags = TR_EV_SNAPSHOT | TR_EV_SNAPSHOT_FIRST;
    expect(
        &tr_format_debezium_json, &event, "{\"k2\":\"k\",\"id\":1}",
        "{\"before\":null,\"after\":{\"id\":1,\"k2\":\"k\",\"n\":5,\"d\":6,\"t\":null,\"nn\":\"z\"}"
        "," SOURCE("first", "[null,\\\"28047856\\\"]", "null") TAIL("r"));
    event.flags = TR_EV_SNAPSHOT | TR_EV_SNAPSHOT_LAST_IN_TABLE;
    expect(
        &tr_format_debezium_json, &event, "{\"k2\":\"k\",\"id\":1}",
        "{\"before\":null,\"after\":{\"id\":1,\"k2\":\"k\",\"n\":5,\"d\":6,\"t\":null,\"nn\":\"z\"}"
        "," SOURCE("last_in_data_collection", "[null,\\\"28047856\\\"]", "null") TAIL("r"));
}

static void test_update(void **state)
{
    (void)state;
    struct tr_cell before[] = {text("1"),     text("k"), text("4"),
                               NOTHING(NULL), text("x"), text("z")};
    struct tr_cell after[] = {text("1"),     text("k"),          text("5"),
                              NOTHING(NULL), NOTHING(UNCHANGED), text("z")};
    struct tr_event event = change(TR_OP_UPDATE, before, after);
    expect(
        &tr_format_debezium_json, &event, "{\"k2\":\"k\",\"id\":1}",
        "{\"before\":{\"id\":1,\"k2\":\"k\",\"n\":4,\"d\":null,\"t\":\"x\",\"nn\":\"z\"},\"after\":"
        "{\"id\":1,\"k2\":\"k\",\"n\":5,\"d\":null,\"t\":\"__debezium_unavailable_value\","
        "\"nn\":\"z\"}," STREAMED TAIL("u"));
    event.before = NULL;
    event.prev_commit_position = 0; /* the first transaction after a start */
    expect(&tr_format_debezium_json, &event, "{\"k2\":\"k\",\"id\":1}",
           "{\"before\":null,\"after\":{\"id\":1,\"k2\":\"k\",\"n\":5,\"d\":null,\"t\":"
           "\"__debezium_unavailable_value\",\"nn\":\"z\"}," SOURCE(
               "false", "[null,\\\"28047856\\\"]", "839") TAIL("u"));
}

static void test_delete_key_only(void **state)
{
    (void)state;
    struct tr_cell before[] = {text("1"),       text("k"),       NOTHING(ABSENT),
                               NOTHING(ABSENT), NOTHING(ABSENT), NOTHING(ABSENT)};
    struct tr_event event = change(TR_OP_DELETE, before, NULL);
    event.flags = TR_EV_BEFORE_KEY_ONLY;
    expect(&tr_format_debezium_json, &event, "{\"k2\":\"k\",\"id\":1}",
           "{\"before\":{\"id\":1,\"k2\":\"k\",\"n\":0,\"d\":7,\"t\":null,\"nn\":\"\"},\"after\":"
           "null," STREAMED TAIL("d"));
}

static void test_truncate_and_skipping(void **state)
{
    (void)state;
    struct tr_event event = change(TR_OP_TRUNCATE, NULL, NULL);
    expect(&tr_format_debezium_json, &event, NULL, NULL); /* skipped.operations=t */
    tr_format_debezium_json.close(encoder);
    tr_table_unref(table);
    options.skipped_operations.count = 0;
    assert_int_equal(open_with(&tr_format_debezium_json), 0);
    event.table = table;
    expect(&tr_format_debezium_json, &event, NULL,
           "{\"before\":null,\"after\":null," STREAMED TAIL("t"));
}

static void test_message(void **state)
{
    (void)state;
    struct tr_event event = {.op = TR_OP_MESSAGE,
                             .message_prefix = "pfx",
                             .raw = {"con\"tent", 8},
                             .position = 28314968,
                             .prev_commit_position = 28314904,
                             .ts_us = INT64_C(1795258269589907),
                             .txn_id = 858};
    expect(
        &tr_format_debezium_json, &event, "{\"prefix\":\"pfx\"}",
        "{\"op\":\"m\",\"ts_ms\":1795258269600,\"source\":{\"version\":\"9.9\",\"connector\":"
        "\"postgresql\",\"name\":\"pre\",\"ts_ms\":1795258269589,\"snapshot\":\"false\",\"db\":"
        "\"\","
        "\"sequence\":\"[\\\"28314904\\\",\\\"28314968\\\"]\",\"ts_us\":1795258269589907,\"ts_ns\":"
        "1795258269589907000,\"schema\":\"\",\"table\":\"\",\"txId\":858,\"lsn\":28314968,\"xmin\":"
        "null,\"origin\":null,\"origin_lsn\":null},\"transaction\":null,\"message\":{\"prefix\":"
        "\"pfx\",\"content\":\"Y29uInRlbnQ=\"}}");
}

static void test_origin(void **state)
{
    (void)state;
    struct tr_cell after[] = {text("1"), text("k"), text("5"), text("1"), text("x"), text("z")};
    struct tr_event event = change(TR_OP_CREATE, NULL, after);
    event.origin = "other";
    struct tr_outbuf out = {0};
    struct tr_error err;
    assert_int_equal(tr_format_debezium_json.encode_value(encoder, &event, NOW_US, &out, &err),
                     TR_OK);
    assert_non_null(
        strstr(tr_outbuf_cstr(&out), ",\"xmin\":null,\"origin\":\"other\",\"origin_lsn\":null}"));
    tr_outbuf_free(&out);
}

/* One conversion makes all three units: milliseconds are rounded down, also before 1970. */
static void test_moments(void **state)
{
    (void)state;
    static const int64_t moments_us[] = {0,  5,  999,  1000,  1001,  123456,
                                         -1, -5, -999, -1000, -1001, INT64_C(-9000000000000000)};
    struct tr_cell after[] = {text("1"), text("k"), text("5"), text("1"), text("x"), text("z")};
    struct tr_outbuf out = {0};
    struct tr_error err;
    for (size_t i = 0; i < sizeof moments_us / sizeof *moments_us; i++) {
        struct tr_event event = change(TR_OP_CREATE, NULL, after);
        int64_t us = moments_us[i], ms = us / 1000 - (us % 1000 < 0);
        char source[80], units[120], tail[120];
        event.ts_us = us;
        tr_outbuf_clear(&out);
        assert_int_equal(tr_format_debezium_json.encode_value(encoder, &event, us, &out, &err),
                         TR_OK);
        (void)snprintf(source, sizeof source, "\"name\":\"pre\",\"ts_ms\":%lld,", (long long)ms);
        (void)snprintf(units, sizeof units, "\"ts_us\":%lld,\"ts_ns\":%lld,\"schema\"",
                       (long long)us, (long long)us * 1000);
        (void)snprintf(tail, sizeof tail,
                       "\"op\":\"c\",\"ts_ms\":%lld,\"ts_us\":%lld,\"ts_ns\":", (long long)ms,
                       (long long)us);
        assert_non_null(strstr(tr_outbuf_cstr(&out), source));
        assert_non_null(strstr(tr_outbuf_cstr(&out), units));
        assert_non_null(strstr(tr_outbuf_cstr(&out), tail));
    }
    tr_outbuf_free(&out);
}

static void test_bad_value(void **state)
{
    (void)state;
    struct tr_cell after[] = {text("one"), text("k"), text("5"), text("1"), text("x"), text("z")};
    struct tr_event event = change(TR_OP_CREATE, NULL, after);
    event.seq = 77;
    struct tr_outbuf out = {0};
    struct tr_error err;
    assert_int_equal(tr_format_debezium_json.encode_value(encoder, &event, NOW_US, &out, &err),
                     TR_FAIL);
    assert_int_equal(err.code, TR_E_ENCODE_VALUE);
    assert_int_equal(err.class, TR_DATA);
    assert_int_equal(err.seq, 77);
    assert_non_null(strstr(err.message, "public.we\"ird.id"));
    assert_null(strstr(err.message, "one")); /* never a row's value */
    tr_outbuf_free(&out);
}

static void test_plain(void **state)
{
    (void)state;
    struct tr_cell after[] = {text("1"),     text("k"),          text("5"),
                              NOTHING(NULL), NOTHING(UNCHANGED), text("z")};
    struct tr_cell before[] = {text("1"),       text("k"),       NOTHING(ABSENT),
                               NOTHING(ABSENT), NOTHING(ABSENT), NOTHING(ABSENT)};
    struct tr_event event = change(TR_OP_UPDATE, NULL, after);
    struct tr_event gone = change(TR_OP_DELETE, before, NULL);
#define ROW                                                                                        \
    "{\"id\":1,\"k2\":\"k\",\"n\":5,\"d\":null,\"t\":\"__debezium_unavailable_value\",\"nn\":"     \
    "\"z\""
#define KEY "{\"k2\":\"k\",\"id\":1}"
    expect(&tr_format_plain_json, &event, KEY, ROW "}");
    expect(&tr_format_plain_json, &gone, KEY, NULL); /* the tombstone is the sink's */
    options.delete_mode = TR_DELETE_REWRITE;
    expect(&tr_format_plain_json, &event, KEY, ROW ",\"__deleted\":\"false\"}");
    expect(&tr_format_plain_json, &gone, KEY, "{\"id\":1,\"k2\":\"k\",\"__deleted\":\"true\"}");
    options.json_metadata = true;
    expect(&tr_format_plain_json, &gone, KEY,
           "{\"id\":1,\"k2\":\"k\",\"__deleted\":\"true\",\"__op\":\"d\",\"__table\":\"public."
           "we\\\"ird\","
           "\"__ts_ms\":1795258269560,\"__lsn\":28047856}");
}

static void test_records(void **state)
{
    (void)state;
    struct tr_cell before[] = {text("1"),       text("k"),       NOTHING(ABSENT),
                               NOTHING(ABSENT), NOTHING(ABSENT), NOTHING(ABSENT)};
    struct tr_cell after[] = {text("1"), text("k3"), text("5"), text("1"), text("x"), text("z")};
    struct tr_event event = change(TR_OP_UPDATE, before, after);
    struct tr_records records;
    event.flags = TR_EV_KEY_CHANGED | TR_EV_BEFORE_KEY_ONLY;
    tr_records_plan(&tr_format_debezium_json, &options, true, &event, &records);
    assert_int_equal(records.count, 3);
    assert_int_equal(records.items[0].event->op, 'd');
    assert_false(records.items[0].tombstone);
    assert_ptr_equal(records.items[0].new_key, records.items[2].event);
    assert_true(records.items[1].tombstone);
    assert_ptr_equal(records.items[1].new_key, records.items[2].event);
    assert_int_equal(records.items[2].event->op, 'c');
    assert_ptr_equal(records.items[2].old_key, records.items[0].event);
    expect(&tr_format_debezium_json, records.items[2].event, "{\"k2\":\"k3\",\"id\":1}",
           "{\"before\":null,\"after\":{\"id\":1,\"k2\":\"k3\",\"n\":5,\"d\":1,\"t\":\"x\",\"nn\":"
           "\"z\"}," STREAMED TAIL("c"));
    tr_records_plan(&tr_format_debezium_json, &options, false, &event, &records);
    assert_int_equal(records.count, 2);
    /* flattened, tombstone: delete of the old key is the tombstone alone */
    tr_records_plan(&tr_format_plain_json, &options, true, &event, &records);
    assert_int_equal(records.count, 2);
    assert_true(records.items[0].tombstone);
    event.flags = 0;
    tr_records_plan(&tr_format_debezium_json, &options, true, &event, &records);
    assert_int_equal(records.count, 1);
    event.op = TR_OP_COMMIT;
    tr_records_plan(&tr_format_debezium_json, &options, true, &event, &records);
    assert_int_equal(records.count, 0);
    event.op = TR_OP_DELETE;
    options.delete_mode = TR_DELETE_DROP;
    tr_records_plan(&tr_format_plain_json, &options, true, &event, &records);
    assert_int_equal(records.count, 0);
    options.delete_mode = TR_DELETE_REWRITE_WITH_TOMBSTONE;
    tr_records_plan(&tr_format_plain_json, &options, true, &event, &records);
    assert_int_equal(records.count, 2);
}

static void test_unknown_operation(void **state)
{
    (void)state;
    static const char *const words[] = {"t", "truncate"};
    struct tr_format_context context = {"p", "1", "postgresql"};
    struct tr_format_options wrong = options;
    wrong.skipped_operations.items = words;
    wrong.skipped_operations.count = 2;
    struct tr_encoder *none;
    struct tr_error err;
    assert_int_equal(tr_format_debezium_json.open(&wrong, &context, &none, &err), TR_FAIL);
    assert_int_equal(err.code, TR_E_ENCODE_OPTION);
    assert_ptr_equal(tr_format_find("json"), &tr_format_plain_json);
    assert_null(tr_format_find("canal-json"));
}

/* More tables than the cache holds, each version with its own names. */
static void test_many_tables(void **state)
{
    (void)state;
    struct tr_error err;
    struct tr_outbuf out = {0};
    static struct tr_table *tables[1500];
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < 1500; i++) {
            char name[32], want[64];
            (void)snprintf(name, sizeof name, "c%zu", i);
            struct tr_column column = {.name = name, .type = TR_T_INT64, .key_index = 1};
            struct tr_table spec = {
                .id = {"shop", "public", name}, .column_count = 1, .columns = &column};
            if (round == 0)
                assert_int_equal(tr_table_new(&spec, &tables[i], &err), TR_OK);
            struct tr_cell cell = text("42");
            struct tr_event event = {.op = TR_OP_CREATE, .table = tables[i], .after = &cell};
            tr_outbuf_clear(&out);
            assert_int_equal(tr_format_debezium_json.encode_key(encoder, &event, &out, &err),
                             TR_OK);
            (void)snprintf(want, sizeof want, "{\"c%zu\":42}", i);
            assert_string_equal(tr_outbuf_cstr(&out), want);
        }
    }
    for (size_t i = 0; i < 1500; i++)
        tr_table_unref(tables[i]);
    tr_outbuf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_create, setup, teardown),
        cmocka_unit_test_setup_teardown(test_read, setup, teardown),
        cmocka_unit_test_setup_teardown(test_update, setup, teardown),
        cmocka_unit_test_setup_teardown(test_delete_key_only, setup, teardown),
        cmocka_unit_test_setup_teardown(test_truncate_and_skipping, setup, teardown),
        cmocka_unit_test_setup_teardown(test_message, setup, teardown),
        cmocka_unit_test_setup_teardown(test_origin, setup, teardown),
        cmocka_unit_test_setup_teardown(test_moments, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bad_value, setup, teardown),
        cmocka_unit_test_setup_teardown(test_plain, setup_plain, teardown),
        cmocka_unit_test_setup_teardown(test_records, setup, teardown),
        cmocka_unit_test_setup_teardown(test_unknown_operation, setup, teardown),
        cmocka_unit_test_setup_teardown(test_many_tables, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
