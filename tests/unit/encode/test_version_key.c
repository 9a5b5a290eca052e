/* Keys of versions compare as their values do. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "encode/version_key.h"

static bool key_of(enum tr_type type, const char *text, struct tr_outbuf *out)
{
    struct tr_cell cell = {text, text == NULL ? 0 : (uint32_t)strlen(text),
                           text == NULL ? TR_CELL_NULL : TR_CELL_TEXT};
    tr_outbuf_clear(out);
    return tr_version_key(type, &cell, out);
}

static int order(enum tr_type a_type, const char *a, enum tr_type b_type, const char *b)
{
    struct tr_outbuf left = {0}, right = {0};
    if (!key_of(a_type, a, &left) || !key_of(b_type, b, &right))
        fail_msg("%s or %s has no key", a, b);
    int sign = strcmp(tr_outbuf_cstr(&left), tr_outbuf_cstr(&right));
    tr_outbuf_free(&left);
    tr_outbuf_free(&right);
    return sign < 0 ? -1 : sign > 0;
}

/* texts in ascending order, "=" before one that equals its neighbour */
static void ascending(enum tr_type type, const char *const *texts, size_t count)
{
    int rank[64] = {0};
    for (size_t i = 1; i < count; i++)
        rank[i] = rank[i - 1] + (texts[i] == NULL || texts[i][0] != '=');
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < count; k++) {
            const char *a = texts[i], *b = texts[k];
            a += a != NULL && *a == '=';
            b += b != NULL && *b == '=';
            int expected = rank[i] < rank[k] ? -1 : rank[i] > rank[k];
            if (order(type, a, type, b) != expected)
                fail_msg("%s: %s and %s", tr_type_name(type), a, b);
        }
    }
}
#define ASCENDING(type, ...)                                                                       \
    do {                                                                                           \
        static const char *const texts[] = {__VA_ARGS__};                                          \
        ascending(type, texts, sizeof texts / sizeof *texts);                                      \
    } while (0)

static void numbers(void **state)
{
    (void)state;
    ASCENDING(TR_T_INT64, NULL, "-9223372036854775808", "-100", "-99", "-10", "-9", "-1", "0",
              "=-0", "1", "2", "9", "10", "11", "99", "100", "9223372036854775807");
    ASCENDING(TR_T_DECIMAL, NULL, "-Infinity", "-1000.5", "-1000", "-999.99", "-1.1", "-1.01",
              "-1.009", "-1", "=-1.000", "-0.5", "-0.05", "0", "=0.000", "0.0001", "0.001",
              "=0.00100", "0.0011", "0.1", "0.9", "1", "=001", "1.0000001", "15", "=15.0", "150",
              "150.01", "1234567890123456789012345678901234567890", "Infinity", "NaN");
    ASCENDING(TR_T_FLOAT64, NULL, "-Infinity", "-1.7976931348623157e+308", "-1e+20", "-2.5",
              "-1e-300", "0", "=-0", "5e-324", "1e-300", "0.1", "1", "=1e0", "=10e-1", "2.5",
              "1e+20", "=100000000000000000000", "1.5e20", "1.7976931348623157e+308", "Infinity",
              "NaN");
    ASCENDING(TR_T_UINT64, NULL, "0", "9223372036854775808", "18446744073709551615");
    assert_int_equal(order(TR_T_INT32, "7", TR_T_DECIMAL, "7.00"), 0);
}

static void random_numbers(void **state)
{
    (void)state;
    unsigned long long random = 5;
    for (int i = 0; i < 20000; i++) {
        char a[64], b[64];
        double values[2];
        for (int k = 0; k < 2; k++) {
            random = random * 6364136223846793005ull + 1442695040888963407ull;
            int scale = (int)(random >> 60);
            long long digits = (long long)(random >> 30) % 2000001 - 1000000;
            values[k] = (double)digits;
            for (int s = 0; s < scale % 8; s++)
                values[k] /= 10;
            (void)snprintf(k == 0 ? a : b, 64, "%.*f", scale % 8, values[k]);
        }
        double left = strtod(a, NULL), right = strtod(b, NULL);
        if (order(TR_T_DECIMAL, a, TR_T_DECIMAL, b) != (left < right ? -1 : left > right))
            fail_msg("%s and %s", a, b);
    }
}

static void times(void **state)
{
    (void)state;
    ASCENDING(TR_T_TIMESTAMP, NULL, "-infinity", "4713-11-24 00:00:00 BC", "0044-03-15 12:00:00 BC",
              "0001-01-01 00:00:00", "1969-12-31 23:59:59.999999", "1970-01-01 00:00:00",
              "2024-01-09 00:00:00", "2024-01-10 00:00:00", "2024-01-10 00:00:00.1",
              "=2024-01-10 00:00:00.100", "2024-01-10 00:00:00.12", "2024-01-10 00:00:01",
              "9999-12-31 23:59:59", "10000-01-01 00:00:00", "294276-12-31 23:59:59", "infinity");
    ASCENDING(TR_T_TIMESTAMPTZ, NULL, "-infinity", "0001-01-01 00:00:00+00 BC",
              "2024-01-10 00:00:00+00", "2024-01-10 00:00:00.5+00", "2024-01-10 00:00:01+00",
              "20240-01-10 00:00:00+00", "infinity");
    ASCENDING(TR_T_DATE, NULL, "-infinity", "0001-01-01 BC", "2023-12-31", "2024-01-01",
              "12024-01-01", "infinity");
    ASCENDING(TR_T_TIME, NULL, "00:00:00", "00:00:00.5", "09:59:59", "10:00:00", "24:00:00");
    assert_int_equal(order(TR_T_DATE, "2024-01-10", TR_T_TIMESTAMP, "2024-01-10 00:00:00"), 0);
    assert_int_equal(order(TR_T_DATE, "2024-01-10", TR_T_TIMESTAMP, "2024-01-10 00:00:00.1"), -1);
}

static void texts(void **state)
{
    (void)state;
    ASCENDING(TR_T_STRING, NULL, "", " ", "10", "9", "A", "a", "aa", "\xc3\xa4");
    ASCENDING(TR_T_UUID, NULL, "018f0000-0000-7000-8000-000000000000",
              "018f0000-0000-7000-8000-000000000001", "ffffffff-0000-7000-8000-000000000001");
}

static void refused(void **state)
{
    (void)state;
    static const struct {
        enum tr_type type;
        const char *text;
    } bad[] = {{TR_T_INT32, ""},        {TR_T_INT32, "-"},         {TR_T_INT32, "1x"},
               {TR_T_DECIMAL, "."},     {TR_T_DECIMAL, "1.2.3"},   {TR_T_DECIMAL, "1e"},
               {TR_T_DECIMAL, "1e+"},   {TR_T_FLOAT64, "nan"},     {TR_T_FLOAT64, "1e99999999999"},
               {TR_T_DATE, "today"},    {TR_T_TIMESTAMP, "12"},    {TR_T_TIME, "25:00:00"},
               {TR_T_BOOLEAN, "t"},     {TR_T_JSON, "1"},          {TR_T_INTERVAL, "1 day"},
               {TR_T_TIMETZ, "10:00:00+00"}};
    struct tr_outbuf out = {0};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (key_of(bad[i].type, bad[i].text, &out))
            fail_msg("%s took %s", tr_type_name(bad[i].type), bad[i].text);
    }
    struct tr_cell cell = {"a\0b", 3, TR_CELL_TEXT};
    assert_false(tr_version_key(TR_T_STRING, &cell, &out));
    cell.state = TR_CELL_UNCHANGED;
    assert_false(tr_version_key(TR_T_STRING, &cell, &out));
    tr_outbuf_free(&out);
}

static void key_texts(void **state)
{
    (void)state;
    struct tr_outbuf out = {0};
    const struct tr_cell cells[] = {{"7", 1, TR_CELL_TEXT},
                                    {"a\"b\n", 4, TR_CELL_TEXT},
                                    {"1.500", 5, TR_CELL_TEXT},
                                    {"2.0", 3, TR_CELL_TEXT},
                                    {"\x01\xff", 2, TR_CELL_BINARY},
                                    {NULL, 0, TR_CELL_NULL},
                                    {"100", 3, TR_CELL_TEXT}};
    const enum tr_type types[] = {TR_T_INT32, TR_T_STRING, TR_T_DECIMAL, TR_T_DECIMAL,
                                  TR_T_BYTES, TR_T_STRING, TR_T_DECIMAL};
    for (unsigned i = 0; i < 7; i++)
        tr_key_text(&out, i, types[i], &cells[i]);
    assert_string_equal(tr_outbuf_cstr(&out),
                        "[\"7\",\"a\\\"b\\n\",\"1.5\",\"2\",\"\\\\x01ff\",null,\"100\"");
    tr_outbuf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers), cmocka_unit_test(random_numbers), cmocka_unit_test(times),
        cmocka_unit_test(texts),   cmocka_unit_test(refused),        cmocka_unit_test(key_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
