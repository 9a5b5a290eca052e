/* Values that the golden file does not reach: plain JSON, placeholders, arrays, odd money,
 * malformed text (refused, never invalid JSON). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <jansson.h>

#include "encode/value.h"

static struct tr_format_options options;
static struct tr_value_writer writer = {.options = &options};
static struct tr_outbuf out;

static struct tr_column column_of(enum tr_type type, enum tr_type elem, const char *base)
{
    return (struct tr_column){.name = "c",
                              .type = type,
                              .elem_type = elem,
                              .source_type_base = base,
                              .precision = -1,
                              .nullable = true};
}

static const char *write_shape(const struct tr_shape *shape, const char *text)
{
    struct tr_cell cell = {.ptr = text, .len = (uint32_t)strlen(text), .state = TR_CELL_TEXT};
    tr_outbuf_clear(&out);
    return tr_value_write(&writer, shape, &cell, &out) ? tr_outbuf_cstr(&out) : "refused";
}

static const char *debezium(enum tr_type type, enum tr_type elem, const char *base,
                            const char *text)
{
    struct tr_column column = column_of(type, elem, base);
    struct tr_shape shape = tr_shape_debezium(&column, &options);
    return write_shape(&shape, text);
}

static const char *plain(enum tr_type type, enum tr_type elem, const char *base, const char *text)
{
    struct tr_column column = column_of(type, elem, base);
    struct tr_shape shape = tr_shape_plain(&column, &options);
    return write_shape(&shape, text);
}
#define DBZ(type, base, text) debezium(TR_T_##type, TR_T_OTHER, base, text)
#define DBZ_ARRAY(elem, base, text) debezium(TR_T_ARRAY, TR_T_##elem, base, text)
#define PLAIN(type, text) plain(TR_T_##type, TR_T_OTHER, "", text)

static int setup(void **state)
{
    (void)state;
    tr_format_options_default(&options);
    return 0;
}

static void test_plain_values(void **state)
{
    (void)state;
    assert_string_equal(PLAIN(BOOLEAN, "t"), "true");
    assert_string_equal(PLAIN(INT64, "-5"), "-5");
    assert_string_equal(PLAIN(FLOAT64, "NaN"), "\"NaN\"");
    assert_string_equal(PLAIN(DECIMAL, "12345678901234567890.10"), "\"12345678901234567890.10\"");
    assert_string_equal(PLAIN(DECIMAL, "NaN"), "\"NaN\"");
    assert_string_equal(PLAIN(MONEY, "-$1,234.50"), "\"-1234.50\"");
    assert_string_equal(PLAIN(DATE, "0044-03-15 BC"), "\"-0043-03-15\"");
    assert_string_equal(PLAIN(DATE, "infinity"), "\"infinity\"");
    assert_string_equal(PLAIN(TIME, "24:00:00"), "\"24:00:00\"");
    assert_string_equal(PLAIN(TIMETZ, "12:00:00+02"), "\"10:00:00Z\"");
    assert_string_equal(PLAIN(TIMESTAMP, "2020-01-01 01:02:03.5"), "\"2020-01-01T01:02:03.5\"");
    assert_string_equal(PLAIN(TIMESTAMP, "-infinity"), "\"-infinity\"");
    assert_string_equal(PLAIN(TIMESTAMPTZ, "2020-01-01 01:02:03+00"), "\"2020-01-01T01:02:03Z\"");
    assert_string_equal(PLAIN(INTERVAL, "1 day"), "\"P0Y0M1DT0H0M0S\"");
    assert_string_equal(PLAIN(BYTES, "\\x00ff"), "\"AP8=\"");
    assert_string_equal(PLAIN(BIT, "101"), "\"101\"");
    assert_string_equal(PLAIN(POINT, "(1.5,-2)"), "{\"x\":1.5,\"y\":-2.0}");
    assert_string_equal(PLAIN(HSTORE, "\"a\"=>\"1\", \"b\"=>NULL"), "{\"a\":\"1\",\"b\":null}");
    assert_string_equal(PLAIN(JSON, "{\"a\": 1}"), "\"{\\\"a\\\": 1}\"");
    assert_string_equal(
        plain(TR_T_ARRAY, TR_T_TIMESTAMP, "timestamp[]", "{\"2020-01-01 00:00:00\"}"),
        "[\"2020-01-01T00:00:00\"]");
    options.json_timestamp = TR_JSON_TIMESTAMP_SQL;
    options.json_decimal = TR_JSON_DECIMAL_NUMBER;
    assert_string_equal(PLAIN(TIMESTAMPTZ, "2020-01-01 01:02:03+00"), "\"2020-01-01 01:02:03Z\"");
    assert_string_equal(PLAIN(DECIMAL, "-00.50"), "-0.50");
    assert_string_equal(PLAIN(DECIMAL, "12345678901234567890.10"), "12345678901234567890.10");
    assert_string_equal(PLAIN(DECIMAL, "NaN"), "\"NaN\"");
    assert_string_equal(PLAIN(MONEY, "1.234,56 \xe2\x82\xac"), "1234.56");
}

static void test_money(void **state)
{
    (void)state;
    options.decimal_mode = TR_DECIMAL_STRING;
    assert_string_equal(DBZ(MONEY, "money", "$1,234.56"), "\"1234.56\"");
    assert_string_equal(DBZ(MONEY, "money", "($1,234.56)"), "\"-1234.56\"");
    assert_string_equal(DBZ(MONEY, "money", "1.234,56 \xe2\x82\xac"), "\"1234.56\"");
    assert_string_equal(DBZ(MONEY, "money", "1234.56"), "\"1234.56\"");
    assert_string_equal(DBZ(MONEY, "money",
                            "\xc2\xa5"
                            "1,234"),
                        "\"1234\"");
    assert_string_equal(DBZ_ARRAY(MONEY, "money[]", "{\"$1,234.50\",-$2.00}"),
                        "[\"1234.50\",\"-2.00\"]");
}

static void test_arrays(void **state)
{
    (void)state;
    assert_string_equal(DBZ_ARRAY(INT32, "int4[]", "{}"), "[]");
    assert_string_equal(DBZ_ARRAY(INT32, "int4[]", "{{1,2},{3,NULL}}"), "[[1,2],[3,null]]");
    assert_string_equal(DBZ_ARRAY(INT32, "int4[]", "[0:1][-1:0]={{1,2},{3,4}}"), "[[1,2],[3,4]]");
    assert_string_equal(DBZ_ARRAY(STRING, "text[]", "{\"{\\\"},\",NULL,\"NULL\",a b}"),
                        "[\"{\\\"},\",null,\"NULL\",\"a b\"]");
    assert_string_equal(DBZ_ARRAY(OTHER, "box[]", "{(3,4),(1,2);(1,1),(0,0)}"),
                        "[\"(3,4),(1,2)\",\"(1,1),(0,0)\"]");
    assert_string_equal(DBZ_ARRAY(HSTORE, "hstore[]", "{\"\\\"a\\\"=>\\\"1\\\"\",NULL}"),
                        "[\"{\\\"a\\\":\\\"1\\\"}\",null]");
    assert_string_equal(
        DBZ_ARRAY(POINT, "point[]", "{\"(1,2)\"}"),
        "[{\"x\":1.0,\"y\":2.0,\"wkb\":\"AQEAAAAAAAAAAADwPwAAAAAAAABA\",\"srid\":null}]");
    assert_string_equal(DBZ_ARRAY(BIT, "varbit[]", "{101,0}"), "[\"BQ==\",\"\"]");
}

static void test_extensions(void **state)
{
    (void)state;
    assert_string_equal(DBZ(OTHER, "vector", "[1,-2.5,3e-07]"), "[1.0,-2.5,3.0E-7]");
    assert_string_equal(DBZ(OTHER, "vector", "[]"), "[]");
    assert_string_equal(
        DBZ(OTHER, "geometry", "0101000020E6100000000000000000F03F0000000000000040"),
        "{\"wkb\":\"AQEAACDmEAAAAAAAAAAA8D8AAAAAAAAAQA==\",\"srid\":4326}");
    assert_string_equal(DBZ(OTHER, "geometry", "0101000000000000000000F03F0000000000000040"),
                        "{\"wkb\":\"AQEAAAAAAAAAAADwPwAAAAAAAABA\",\"srid\":null}");
    assert_string_equal(DBZ(OTHER, "inet", "10.0.0.1/8"), "\"10.0.0.1/8\"");
}

static void test_malformed(void **state)
{
    (void)state;
    static const struct {
        enum tr_type type, elem;
        const char *text;
    } rows[] = {
        {TR_T_BOOLEAN, TR_T_OTHER, "maybe"},
        {TR_T_INT32, TR_T_OTHER, "1,2"},
        {TR_T_INT32, TR_T_OTHER, ""},
        {TR_T_FLOAT64, TR_T_OTHER, "1}"},
        {TR_T_DECIMAL, TR_T_OTHER, "1e5"},
        {TR_T_BYTES, TR_T_OTHER, "xx"},
        {TR_T_BYTES, TR_T_OTHER, "\\x0"},
        {TR_T_BYTES, TR_T_OTHER, "\\x0g"},
        {TR_T_DATE, TR_T_OTHER, "2020"},
        {TR_T_TIME, TR_T_OTHER, "12"},
        {TR_T_TIMESTAMP, TR_T_OTHER, "now"},
        {TR_T_INTERVAL, TR_T_OTHER, "P1D"},
        {TR_T_BIT, TR_T_OTHER, "102"},
        {TR_T_POINT, TR_T_OTHER, "1,2"},
        {TR_T_POINT, TR_T_OTHER, "(1)"},
        {TR_T_POINT, TR_T_OTHER, "()"},
        {TR_T_POINT, TR_T_OTHER, "(,)"},
        {TR_T_HSTORE, TR_T_OTHER, "a=>1"},
        {TR_T_HSTORE, TR_T_OTHER, "\"a\"=>"},
        {TR_T_HSTORE, TR_T_OTHER, "\"a\"=>\"1\" \"b\"=>NULL"},
        {TR_T_HSTORE, TR_T_OTHER, "\"a"},
        {TR_T_HSTORE, TR_T_OTHER, "\"a\"=>\"1\","},
        {TR_T_ARRAY, TR_T_INT32, ""},
        {TR_T_ARRAY, TR_T_INT32, "{"},
        {TR_T_ARRAY, TR_T_INT32, "{1"},
        {TR_T_ARRAY, TR_T_INT32, "{1}}"},
        {TR_T_ARRAY, TR_T_INT32, "{1,}"},
        {TR_T_ARRAY, TR_T_INT32, "{,1}"},
        {TR_T_ARRAY, TR_T_INT32, "1,2"},
        {TR_T_ARRAY, TR_T_INT32, "[0:1"},
        {TR_T_ARRAY, TR_T_STRING, "{\"a}"},
        {TR_T_ARRAY, TR_T_STRING, "{\"a\\"},
        {TR_T_ARRAY, TR_T_INT32, "{{{{{{{1}}}}}}}"},
        {TR_T_ARRAY, TR_T_INT32, "{1}{2}"},
        {TR_T_ARRAY, TR_T_INT32, "}"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const char *got = debezium(rows[i].type, rows[i].elem, "", rows[i].text);
        if (strcmp(got, "refused") != 0)
            fail_msg("%s %s gave %s", tr_type_name(rows[i].type), rows[i].text, got);
    }
}

static void test_unavailable(void **state)
{
    (void)state;
    struct tr_column column = column_of(TR_T_ARRAY, TR_T_INT64, "int8[]");
    struct tr_shape shape = tr_shape_debezium(&column, &options);
    options.unavailable_placeholder = "ab\"";
#define UNAVAILABLE(want)                                                                          \
    tr_outbuf_clear(&out);                                                                         \
    tr_value_unavailable(&writer, &shape, &out);                                                   \
    assert_string_equal(tr_outbuf_cstr(&out), want)
    UNAVAILABLE("[97,98,34]");
    column = column_of(TR_T_ARRAY, TR_T_STRING, "text[]");
    shape = tr_shape_debezium(&column, &options);
    UNAVAILABLE("[\"ab\\\"\"]");
    column = column_of(TR_T_BYTES, TR_T_OTHER, "bytea");
    shape = tr_shape_debezium(&column, &options);
    UNAVAILABLE("\"YWIi\"");
    column = column_of(TR_T_HSTORE, TR_T_OTHER, "hstore");
    shape = tr_shape_debezium(&column, &options);
    UNAVAILABLE("\"{\\\"ab\\\\\\\"\\\":\\\"ab\\\\\\\"\\\"}\"");
    column = column_of(TR_T_DECIMAL, TR_T_OTHER, "numeric");
    shape = tr_shape_debezium(&column, &options);
    UNAVAILABLE("{\"scale\":0,\"value\":\"YWIi\"}");
    column = column_of(TR_T_JSON, TR_T_OTHER, "jsonb");
    shape = tr_shape_debezium(&column, &options);
    UNAVAILABLE("\"ab\\\"\"");
}

/* Binary cells, and every type's fallback is valid JSON. */
static void test_binary_and_fallback(void **state)
{
    (void)state;
    struct tr_column column = column_of(TR_T_BYTES, TR_T_OTHER, "bytea");
    struct tr_cell cell = {.ptr = "\0\xff", .len = 2, .state = TR_CELL_BINARY};
    static const char *const want[] = {"\"AP8=\"", "\"AP8=\"", "\"AP8=\"", "\"00ff\""};
    for (int mode = TR_BINARY_BYTES; mode <= TR_BINARY_HEX; mode++) {
        options.binary_mode = mode;
        struct tr_shape shape = tr_shape_debezium(&column, &options);
        tr_outbuf_clear(&out);
        assert_true(tr_value_write(&writer, &shape, &cell, &out));
        assert_string_equal(tr_outbuf_cstr(&out), want[mode]);
    }
    for (int type = 0; type < TR_T_COUNT; type++) {
        for (int mode = 0; mode <= TR_TIME_NANOSECONDS; mode++) {
            options.time_mode = mode;
            options.decimal_mode = mode % 3;
            column = column_of((enum tr_type)type, TR_T_STRING, "x");
            struct tr_shape shape = tr_shape_debezium(&column, &options);
            tr_outbuf_clear(&out);
            tr_value_fallback(&shape, &out);
            json_t *parsed = json_loadb(out.data, out.len, JSON_DECODE_ANY, NULL);
            assert_non_null(parsed);
            assert_false(json_is_null(parsed));
            json_decref(parsed);
        }
    }
}

/* Random bytes of the letters that matter, for every type: refused, or valid JSON. */
static void test_random_text(void **state)
{
    (void)state;
    static const char letters[] = "{}[]()\"\\,;=> NUL0123456789.-+:eEBCTZtfxyinadmos\xff\xc3\n";
    unsigned seed = 777;
    srand(seed);
    print_message("seed %u\n", seed);
    int taken = 0;
    for (int round = 0; round < 200000; round++) {
        char bytes[24];
        size_t len = (size_t)rand() % sizeof bytes;
        for (size_t i = 0; i < len; i++)
            bytes[i] = letters[(size_t)rand() % (sizeof letters - 1)];
        options.decimal_mode = rand() % 3;
        options.time_mode = rand() % 6;
        options.binary_mode = rand() % 4;
        options.interval_mode = rand() % 2;
        options.hstore_mode = rand() % 2;
        options.json_decimal = rand() % 2;
        static const char *const bases[] = {"", "vector", "geometry", "box[]", "varbit"};
        struct tr_column column = column_of((enum tr_type)(rand() % TR_T_COUNT),
                                            (enum tr_type)(rand() % TR_T_COUNT), bases[rand() % 5]);
        if (column.elem_type == TR_T_ARRAY)
            continue;
        struct tr_shape shape = rand() % 2 == 0 ? tr_shape_debezium(&column, &options)
                                                : tr_shape_plain(&column, &options);
        char *exact = malloc(len + 1); /* so that a read behind the end is seen */
        memcpy(exact, bytes, len);
        struct tr_cell cell = {.ptr = exact, .len = (uint32_t)len, .state = TR_CELL_TEXT};
        exact = realloc(exact, len > 0 ? len : 1);
        cell.ptr = exact;
        tr_outbuf_clear(&out);
        if (tr_value_write(&writer, &shape, &cell, &out)) {
            json_error_t why;
            json_t *parsed = json_loadb(out.data, out.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, &why);
            if (parsed == NULL && strstr(why.text, "real number overflow") == NULL &&
                strstr(why.text, "too big") == NULL)
                fail_msg("%s: %.*s", why.text, (int)out.len, out.data);
            json_decref(parsed);
            taken++;
        }
        free(exact);
    }
    assert_true(taken > 1000);
}

static int release(void **state)
{
    (void)state;
    tr_outbuf_free(&out);
    tr_value_writer_free(&writer);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_plain_values, setup),
        cmocka_unit_test_setup(test_money, setup),
        cmocka_unit_test_setup(test_arrays, setup),
        cmocka_unit_test_setup(test_extensions, setup),
        cmocka_unit_test_setup(test_malformed, setup),
        cmocka_unit_test_setup(test_unavailable, setup),
        cmocka_unit_test_setup(test_binary_and_fallback, setup),
        cmocka_unit_test_setup(test_random_text, setup),
    };
    return cmocka_run_group_tests(tests, NULL, release);
}
