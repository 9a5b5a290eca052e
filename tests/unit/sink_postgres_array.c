/* Array parameters: which texts become binary, and to what bytes. That the server reads the same
 * value out of both forms is integration_sink_postgres_array's to show. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "sink/postgres/array.h"

enum { BOOL = 16, BYTEA = 17, INT8 = 20, INT2 = 21, INT4 = 23, TEXT = 25, OID = 26, FLOAT4 = 700 };
enum { FLOAT8 = 701, DATE = 1082, TIME = 1083, TIMESTAMP = 1114, TIMESTAMPTZ = 1184, UUID = 2950 };
enum { INTERVAL = 1186, NUMERIC = 1700, JSONB = 3802 };

static struct tr_cell text(const char *value)
{
    if (value == NULL)
        return (struct tr_cell){.state = TR_CELL_NULL};
    return (struct tr_cell){.ptr = value, .len = (uint32_t)strlen(value), .state = TR_CELL_TEXT};
}

static void hex(const struct tr_outbuf *bytes, char *out)
{
    for (size_t i = 0; i < bytes->len; i++)
        (void)sprintf(out + 2 * i, "%02x", (unsigned char)bytes->data[i]);
}

static void values(void **state)
{
    (void)state;
    static const struct {
        uint32_t type;
        const char *value, *bytes;
    } cases[] = {
        {BOOL, "t", "0000000101"},
        {BOOL, "f", "0000000100"},
        {INT2, "-32768", "000000028000"},
        {INT2, "32767", "000000027fff"},
        {INT4, "-2147483648", "0000000480000000"},
        {INT4, "007", "0000000400000007"},
        {INT4, "-0", "0000000400000000"},
        {INT8, "9223372036854775807", "000000087fffffffffffffff"},
        {INT8, "-9223372036854775808", "000000088000000000000000"},
        {OID, "4294967295", "00000004ffffffff"},
        {FLOAT4, "-0", "0000000480000000"},
        {FLOAT8, "1.5e10", "00000008420bf08eb0000000"},
        {NUMERIC, "0", "000000080000000000000000"},
        {NUMERIC, "-0.00", "000000080000000000000002"},
        {NUMERIC, "1", "0000000a00010000000000000001"},
        {NUMERIC, "-10000", "0000000a00010001400000000001"},
        {NUMERIC, "0001234.5600", "0000000c000200000000000404d215e0"},
        {NUMERIC, "0.00005", "0000000a0001fffe000000051388"},
        {NUMERIC, "12345.6",
         "0000000e000300010000000100010929"
         "1770"},
        {TEXT, "", "00000000"},
        {TEXT, "\"a\\", "0000000322615c"},
        {JSONB, "{}", "00000003017b7d"},
        {BYTEA, "\\x", "00000000"},
        {BYTEA, "\\x00ff5c", "0000000300ff5c"},
        {UUID, "00112233-4455-6677-8899-aabbccddeeff", "0000001000112233445566778899aabbccddeeff"},
        {DATE, "2000-01-01", "0000000400000000"},
        {DATE, "1999-12-31", "00000004ffffffff"},
        {DATE, "2000-02-29", "000000040000003b"},
        {TIME, "23:59:59.999999", "00000008000000141dd75fff"},
        {TIME, "00:00:01.5",
         "0000000800000000"
         "0016e360"},
        {TIMESTAMP, "2000-01-01 00:00:00", "000000080000000000000000"},
        {TIMESTAMP, "1999-12-31 23:59:59.999999", "00000008ffffffffffffffff"},
        {TIMESTAMPTZ, "2000-01-01 00:00:00.000001+00", "000000080000000000000001"},
    };
    struct tr_outbuf out = {0};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct tr_cell cell = text(cases[i].value);
        char found[200] = "";
        tr_outbuf_clear(&out);
        assert_true(tr_pgs_value_of(cases[i].type)(&out, &cell));
        hex(&out, found);
        assert_string_equal(found, cases[i].bytes);
    }
    tr_outbuf_free(&out);
}

static void left_to_the_server(void **state)
{
    (void)state;
    static const struct {
        uint32_t type;
        const char *values[24];
    } cases[] = {
        {BOOL, {"", "T", "true", "1", "tt"}},
        {INT2, {"", "-", "32768", "-32769", "+1", " 1", "1 ", "1.0", "1e3", "0x1", "1_0", "--1"}},
        {INT4, {"2147483648", "-2147483649", "99999999999999999999"}},
        {INT8, {"9223372036854775808", "-9223372036854775809", "18446744073709551616"}},
        {OID, {"4294967296", "-1", "x"}},
        {FLOAT4,
         {"", "NaN", "Infinity", "-Infinity", "1e39", "1e-46", "+1", " 1", "0x1p3", "1e", "-", ".",
          "1,5", "1e-40"}},
        {FLOAT8, {"nan", "inf", "1e309", "1e-400", "1.5.5", "e5", "1E5"}},
        {NUMERIC,
         {"", "-", ".", "1.", ".5", "+1", "1e5", "NaN", "Infinity", "1.2.3", " 1", "1_0", "--1",
          "0x1"}},
        {BYTEA, {"", "\\", "\\x0", "\\x0G", "\\x0A", "abc", "\\000"}},
        {UUID,
         {"", "00112233445566778899aabbccddeeff", "{0112233-4455-6677-8899-aabbccddeeff",
          "00112233-4455-6677-8899-AABBCCDDEEFF", "00112233-4455-6677-8899-aabbccddeef",
          "00112233-4455-6677-8899-aabbccddeeffa", "001122334-455-6677-8899-aabbccddeeff",
          "00112233-4455-6677-8899-aabbccddee-f"}},
        {DATE,
         {"infinity", "-infinity", "0000-01-01", "2023-02-29", "1900-02-29", "2024-00-01",
          "2024-13-01", "2024-01-00", "2024-04-31", "12024-01-01", "0044-03-15 BC", "2024-1-1",
          "2024/01/01", "epoch", "2024-01-01 00:00:00", "20240101", ""}},
        {TIME,
         {"24:00:00", "23:60:00", "23:59:60", "1:00:00", "10:00", "10:00:00.", "10:00:00.1234567",
          "10:00:00+00", "10:00:00 PM", "10:00:00.-1", ""}},
        {TIMESTAMP,
         {"2024-01-01", "2024-01-01T00:00:00", "2024-01-01 24:00:00", "2024-01-01 00:00:00 BC",
          "2024-01-01 00:00:00+00", "2024-01-01 00:00:00Z", "2024-01-01 00:00:60",
          "2024-01-01  00:00:00", "infinity", "now"}},
        {TIMESTAMPTZ,
         {"2024-01-01 00:00:00", "2024-01-01 00:00:00+02", "2024-01-01 00:00:00-00",
          "2024-01-01 00:00:00+00:00", "2024-01-01 00:00:00+00 BC", "+00", "infinity",
          "2024-01-01 00:00:00 UTC", "2024-01-01 00:00:00Z", "2024-01-01+00", "2024-01-01 00:00+00",
          ""}},
    };
    struct tr_outbuf out = {0};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (size_t k = 0; cases[i].values[k] != NULL; k++) {
            struct tr_cell cell = text(cases[i].values[k]);
            if (tr_pgs_value_of(cases[i].type)(&out, &cell))
                fail_msg("'%s' became binary as type %u", cases[i].values[k], cases[i].type);
            tr_outbuf_clear(&out);
        }
    }
    tr_outbuf_free(&out);
}

static void types_that_stay_text(void **state)
{
    (void)state;
    /* "char", name, xml, money, inet, bit, interval, timetz, int4[], tsvector, a user's */
    static const uint32_t types[] = {18, 19, 142, 790, 869, 1560, 1186, 1266, 1007, 3614, 16384, 0};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        assert_null(tr_pgs_value_of(types[i]));
}

static void arrays(void **state)
{
    (void)state;
    struct tr_outbuf out = {0};
    struct tr_cell one = text("1"), null = text(NULL), word = text("x\"");
    const struct tr_cell *numbers[] = {&one, &null}, *mixed[] = {&one, &null, &word};
    char found[200] = "";
    assert_true(tr_pgs_array(&out, INT4, true, numbers, 2));
    hex(&out, found);
    assert_string_equal(found, "00000001"
                               "00000001"
                               "00000017"
                               "00000002"
                               "00000001"
                               "0000000400000001"
                               "ffffffff");
    assert_true(tr_pgs_array(&out, INT4, true, numbers, 1));
    assert_int_equal(out.data[7], 0); /* no NULLs */
    assert_int_equal(out.len, 28);
    /* one value that is not certain: all of them as a literal */
    assert_false(tr_pgs_array(&out, INT4, true, mixed, 3));
    assert_string_equal(out.data, "{1,NULL,\"x\\\"\"}");
    assert_false(tr_pgs_array(&out, INTERVAL, true, numbers, 2));
    assert_string_equal(out.data, "{1,NULL}");
    assert_true(tr_pgs_array(&out, TEXT, false, mixed, 3));
    tr_outbuf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values),
        cmocka_unit_test(left_to_the_server),
        cmocka_unit_test(types_that_stay_text),
        cmocka_unit_test(arrays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
