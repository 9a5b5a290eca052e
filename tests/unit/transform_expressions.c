/* Every function, operator and type rule: an expression, the type it has, the canonical text of its
 * value.
 * "!words" : it is refused, or fails on the row, and the message holds the words. */
#include "transform_support.h"

#define NOW_US INT64_C(1758276000123456) /* 2025-09-19 10:00:00.123456 UTC */

static const char *const columns =
    "id INT32 key; small INT16; big INT64; huge UINT64; price DECIMAL(10,2); any DECIMAL; f "
    "FLOAT32; "
    "d FLOAT64; nan FLOAT64; name STRING; blank STRING; nothing STRING; ok BOOLEAN; no BOOLEAN; "
    "maybe BOOLEAN; day DATE; clock TIME; ts TIMESTAMP; tz TIMESTAMPTZ; ever TIMESTAMP; raw BYTES; "
    "u UUID; js JSON; mood ENUM; \"Mixed\" STRING; iso STRING; nint INT32; maxbig INT64; tiny INT8";
static const char *const row =
    "7|12|5000000000|18446744073709551615|19.90|0.125|1.5|2.5|NaN|Ännchen Müller|  x  "
    "|NULL|t|f|NULL|2024-02-29|"
    "13:14:15.5|2025-09-19 10:00:00.123456|2025-09-19 10:00:00.123456+00|infinity|\\x00ff|"
    "01234567-89ab-cdef-0123-456789abcdef|{\"a\":{\"b\":[1,\"two\",true,null,1.5]},\"s\":\"text\"}|"
    "happy|M|"
    "2025-09-19T10:00:15+02:00|NULL|9223372036854775807|-5";

struct expectation {
    const char *text, *type, *value;
};

static const struct expectation expectations[] = {
#include "transform_expressions.inc"
};

static void put_cell(const struct tr_cell *cell, char *buf, size_t size)
{
    if (cell->state == TR_CELL_NULL)
        (void)snprintf(buf, size, "NULL");
    else if (cell->state == TR_CELL_BINARY) {
        size_t len = (size_t)snprintf(buf, size, "\\x");
        for (uint32_t i = 0; i < cell->len && len + 3 < size; i++)
            len += (size_t)snprintf(buf + len, size - len, "%02x", (unsigned char)cell->ptr[i]);
    } else {
        (void)snprintf(buf, size, "%.*s", (int)cell->len, cell->len == 0 ? "" : cell->ptr);
    }
}

static void evaluate(const struct expectation *want, const struct tr_table *table,
                     struct tr_batch *batch, const char *zone, char *type, char *value, size_t size)
{
    struct tr_expression *expression = NULL;
    struct tr_error err = {0};
    struct tr_cell cell;
    struct tr_column column;
    const struct tr_event event = {.op = TR_OP_UPDATE, .table = table, .ts_us = NOW_US};
    (void)snprintf(type, 64, "!");
    if (tr_expression_new(want->text, table, zone, &expression, &err) != TR_OK) {
        (void)snprintf(value, size, "!%s", err.message);
        assert_true(err.class == TR_CONFIG);
        return;
    }
    tr_expression_column(expression, &column);
    if (column.type == TR_T_DECIMAL && column.precision > 0)
        (void)snprintf(type, 64, "DECIMAL(%d,%d)", column.precision, column.scale);
    else if (column.type == TR_T_STRING && column.length > 0)
        (void)snprintf(type, 64, "STRING(%d)", column.length);
    else
        (void)snprintf(type, 64, "%s", tr_type_name(column.type));
    if (tr_expression_eval(expression, &event, cells_made(batch, table, row), NOW_US, &cell,
                           &err) != TR_OK) {
        assert_int_equal(err.class, TR_DATA);
        (void)snprintf(value, size, "!%s", err.message);
    } else {
        put_cell(&cell, value, size);
    }
    tr_batch_reset(batch);
    tr_expression_free(expression);
}

static bool as_wanted(const struct expectation *want, const char *type, const char *value)
{
    if (want->value[0] == '!')
        return value[0] == '!' && strstr(value, want->value + 1) != NULL;
    return strcmp(want->type, type) == 0 && strcmp(want->value, value) == 0;
}

static void run(const struct expectation *list, size_t count, const char *zone)
{
    struct tr_table *table = table_made("orders", columns);
    struct tr_batch *batch;
    struct tr_error err;
    size_t wrong = 0;
    assert_int_equal(tr_batch_new(&batch, &err), TR_OK);
    for (size_t i = 0; i < count; i++) {
        char type[64], value[700];
        evaluate(&list[i], table, batch, zone, type, value, sizeof value);
        if (as_wanted(&list[i], type, value))
            continue;
        wrong++;
        printf("%s\n  wanted %s: %s\n  got    %s: %s\n", list[i].text, list[i].type, list[i].value,
               type, value);
    }
    tr_batch_free(batch);
    tr_table_unref(table);
    assert_int_equal(wrong, 0);
}

static void test_expressions(void **state)
{
    (void)state;
    printf("%zu expressions\n", sizeof expectations / sizeof *expectations);
    run(expectations, sizeof expectations / sizeof *expectations, NULL);
}

static void test_berlin(void **state)
{
    static const struct expectation list[] = {
        {"CAST(tz AS TIMESTAMP)", "TIMESTAMP", "2025-09-19 12:00:00.123456"},
        {"CAST(ts AS TIMESTAMP_LTZ)", "TIMESTAMPTZ", "2025-09-19 08:00:00.123456+00"},
        {"CAST(iso AS TIMESTAMP)", "TIMESTAMP", "2025-09-19 10:00:15"},
        {"CAST(iso AS TIMESTAMP_LTZ)", "TIMESTAMPTZ", "2025-09-19 08:00:15+00"},
        {"CAST('2025-01-19 10:00:00' AS TIMESTAMP_LTZ)", "TIMESTAMPTZ", "2025-01-19 09:00:00+00"},
        {"CAST('2025-10-26 02:30:00' AS TIMESTAMP_LTZ)", "TIMESTAMPTZ", "2025-10-26 00:30:00+00"},
        {"CAST('2025-03-30 02:30:00' AS TIMESTAMP_LTZ)", "TIMESTAMPTZ", "2025-03-30 01:30:00+00"},
        {"CAST('2075-07-01 12:00:00' AS TIMESTAMP_LTZ)", "TIMESTAMPTZ", "2075-07-01 10:00:00+00"},
        {"CAST('2075-12-01 12:00:00' AS TIMESTAMP_LTZ)", "TIMESTAMPTZ", "2075-12-01 11:00:00+00"},
        {"CAST(tz AS DATE)", "DATE", "2025-09-19"},
        {"HOUR(tz)", "INT64", "12"},
        {"LOCALTIMESTAMP", "TIMESTAMP", "2025-09-19 12:00:00.123"},
        {"LOCALTIME", "TIME", "12:00:00"},
        {"CURRENT_TIMESTAMP", "TIMESTAMPTZ", "2025-09-19 10:00:00.123+00"},
        {"CAST(NOW() AS TIMESTAMP(0))", "TIMESTAMP", "2025-09-19 12:00:00"},
        {"DATE_FORMAT(tz, 'HH:mm')", "STRING", "12:00"},
        {"FROM_UNIXTIME(0)", "STRING", "1970-01-01 01:00:00"},
        {"UNIX_TIMESTAMP('1970-01-01 01:00:00')", "INT64", "0"},
        {"CAST('2025-03-29 12:00:00Z' AS TIMESTAMP_LTZ) + INTERVAL '1' DAY", "TIMESTAMPTZ",
         "2025-03-30 11:00:00+00"},
        {"CAST('2025-03-29 12:00:00Z' AS TIMESTAMP_LTZ) + INTERVAL '24' HOUR", "TIMESTAMPTZ",
         "2025-03-30 12:00:00+00"},
        {"ts < tz", "BOOLEAN", "t"},
    };
    (void)state;
    run(list, sizeof list / sizeof *list, "Europe/Berlin");
}

static void test_zones(void **state)
{
    static const char *const bad[] = {
        "Mars/Olympus", "../etc/passwd", "/etc/passwd", "+25:00", "+2", "UTC+x", "x"};
    struct tr_table *table = table_made("orders", columns);
    struct tr_expression *expression;
    struct tr_error err;
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (strcmp(bad[i], "+2") == 0)
            continue; /* one digit is an hour */
        assert_int_equal(tr_expression_new("1", table, bad[i], &expression, &err), TR_FAIL);
        assert_int_equal(err.code, TR_E_TRANSFORM_TIME_ZONE);
    }
    static const struct expectation west[] = {{"HOUR(tz)", "INT64", "4"}};
    run(west, 1, "-05:30");
    static const struct expectation kolkata[] = {{"HOUR(tz) * 100 + MINUTE(tz)", "INT64", "1530"}};
    run(kolkata, 1, "Asia/Kolkata");
    static const struct expectation sydney[] = {
        {"HOUR(CAST('2040-01-01 00:00:00Z' AS TIMESTAMP_LTZ))", "INT64", "11"},
        {"HOUR(CAST('2040-07-01 00:00:00Z' AS TIMESTAMP_LTZ))", "INT64", "10"}};
    run(sydney, 2, "Australia/Sydney");
    tr_table_unref(table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_expressions),
                                       cmocka_unit_test(test_berlin), cmocka_unit_test(test_zones)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
