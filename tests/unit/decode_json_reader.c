/* The JSON reader: a table of what it takes and refuses, its bounds, what its nodes say; and
 * numbers, times and names by themselves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "decode/json_number.h"
#include "decode/json_reader.h"
#include "decode/json_time.h"

#define CASES_MIN 150

/* Over a copy of just that size, so that the address sanitizer sees a read beyond it. */
static bool parse(struct tr_json_doc *doc, const char *text, size_t len)
{
    char *exact = malloc(len + 1);
    assert_non_null(exact);
    memcpy(exact + 1, text, len);
    bool good = tr_json_parse(doc, (struct tr_slice){exact + 1, len}, TR_JSON_DEPTH_ALL);
    if (!good)
        assert_true(doc->reason != NULL && doc->offset <= len);
    free(exact);
    return good;
}

static size_t percent_decode(char *text)
{
    char *to = text;
    for (const char *at = text; *at != '\0';) {
        unsigned byte;
        if (*at == '%' && sscanf(at + 1, "%2x", &byte) == 1) {
            *to++ = (char)byte;
            at += 3;
        } else {
            *to++ = *at++;
        }
    }
    return (size_t)(to - text);
}

static void test_conformance(void **state)
{
    (void)state;
    FILE *file = fopen(TEST_DATA_DIR "/unit/decode_json_conformance.txt", "r");
    struct tr_json_doc doc = {0};
    char line[1024];
    int count = 0, wrong = 0;
    assert_non_null(file);
    while (fgets(line, sizeof line, file) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        if (line[0] == '#' || line[0] == '\0')
            continue;
        bool open_case = line[0] == 'i';
        bool want = line[open_case] == 'y';
        char *text = line + open_case + 2;
        char shown[1024];
        memcpy(shown, text, strlen(text) + 1);
        if (parse(&doc, text, percent_decode(text)) != want) {
            print_error("%s: %s\n", want ? "refused" : "taken", shown);
            wrong++;
        }
        count++;
    }
    (void)fclose(file);
    tr_json_doc_free(&doc);
    assert_true(count >= CASES_MIN);
    assert_int_equal(wrong, 0);
}

static void test_empty(void **state)
{
    (void)state;
    struct tr_json_doc doc = {0};
    assert_false(parse(&doc, "", 0));
    tr_json_doc_free(&doc);
}

/* Every prefix of a valid text is refused, but for those of a number that is one itself. */
static void test_prefixes(void **state)
{
    (void)state;
    static const char text[] =
        "{\"a\\u00e9\":[1.5e+3,\"\\ud83d\\ude00\xc3\xa9\",true,false,null,{}]}";
    struct tr_json_doc doc = {0};
    assert_true(parse(&doc, text, sizeof text - 1));
    for (size_t len = 0; len < sizeof text - 1; len++)
        assert_false(parse(&doc, text, len));
    tr_json_doc_free(&doc);
}

static bool parse_nested(struct tr_json_doc *doc, size_t depth, char open, char close)
{
    char *text = malloc(depth * 2 + 1);
    assert_non_null(text);
    memset(text, open, depth);
    memset(text + depth, close, depth);
    bool good = parse(doc, text, depth * 2);
    free(text);
    return good;
}

static void test_depth(void **state)
{
    (void)state;
    struct tr_json_doc doc = {0};
    assert_true(parse_nested(&doc, TR_JSON_DEPTH_MAX, '[', ']'));
    assert_false(parse_nested(&doc, TR_JSON_DEPTH_MAX + 1, '[', ']'));
    assert_string_equal(doc.reason, "nested too deeply");
    assert_int_equal(doc.offset, TR_JSON_DEPTH_MAX);
    assert_false(parse_nested(&doc, 1000000, '[', ']'));
    assert_false(parse_nested(&doc, 1000000, '{', '}'));
    tr_json_doc_free(&doc);
}

static void test_many_values(void **state)
{
    (void)state;
    struct tr_json_doc doc = {0};
    size_t count = 200000;
    char *text = malloc(count * 2 + 2);
    assert_non_null(text);
    text[0] = '[';
    for (size_t i = 0; i < count; i++)
        memcpy(text + 1 + i * 2, i + 1 == count ? "1]" : "1,", 2);
    assert_true(parse(&doc, text, count * 2 + 1));
    assert_int_equal(doc.nodes[0].count, count);
    assert_int_equal(doc.node_count, count + 1);
    assert_true(parse(&doc, "1", 1)); /* the large list is given back */
    free(text);
    tr_json_doc_free(&doc);
}

static void test_too_many_values(void **state)
{
    (void)state;
    struct tr_json_doc doc = {0};
    size_t count = TR_JSON_NODES_MAX;
    char *text = malloc(count * 2 + 2);
    assert_non_null(text);
    text[0] = '[';
    for (size_t i = 0; i < count; i++)
        memcpy(text + 1 + i * 2, i + 1 == count ? "1]" : "1,", 2);
    assert_false(parse(&doc, text, count * 2 + 1));
    assert_string_equal(doc.reason, "too many values");
    /* what is not kept is not counted */
    assert_true(tr_json_parse(&doc, (struct tr_slice){text, count * 2 + 1}, 0));
    free(text);
    tr_json_doc_free(&doc);
}

static void test_nodes(void **state)
{
    (void)state;
    static const char text[] =
        " { \"a\" : [1, -2.5e3 , {\"b\":null}], \"c\":\"x\\ty\", \"a\":true } ";
    struct tr_json_doc doc = {0};
    struct tr_slice slice = {text, sizeof text - 1};
    assert_true(tr_json_parse(&doc, slice, TR_JSON_DEPTH_ALL));
    const struct tr_json_node *top = doc.nodes;
    assert_int_equal(top->kind, TR_JSON_OBJECT);
    assert_int_equal(top->count, 3);
    assert_int_equal(top->next, doc.node_count);
    assert_int_equal(top->len, sizeof text - 3);
    const struct tr_json_node *array = top + 2;
    assert_int_equal(array->kind, TR_JSON_ARRAY);
    assert_int_equal(array->count, 3);
    assert_memory_equal(array->ptr, "[1, -2.5e3 , {\"b\":null}]", array->len);
    assert_int_equal(array[1].flags, TR_JSON_INTEGER);
    assert_int_equal(array[2].flags, 0);
    assert_int_equal(array[2].len, 6);
    /* the last of a repeated name */
    assert_int_equal(tr_json_member(&doc, top, "a")->kind, TR_JSON_TRUE);
    const struct tr_json_node *c = tr_json_member(&doc, top, "c");
    char out[8];
    assert_int_equal(c->flags, TR_JSON_ESCAPED);
    assert_int_equal(tr_json_unescape(c, out), 3);
    assert_memory_equal(out, "x\ty", 3);
    assert_true(tr_json_equal(c, "x\ty", 3));
    assert_false(tr_json_equal(c, "x\ty ", 4));
    assert_false(tr_json_equal(c, "x\t", 2));
    assert_int_equal(tr_json_offset(&doc, c), 39);
    assert_null(tr_json_member(&doc, top, "b"));
    assert_null(tr_json_member(&doc, c, "a"));
    /* less is kept, all is checked */
    assert_true(tr_json_parse(&doc, slice, 1));
    assert_int_equal(doc.node_count, 7);
    assert_int_equal(doc.nodes[2].len, array->len);
    assert_false(tr_json_parse(&doc, (struct tr_slice){"[[[01]]]", 8}, 0));
    tr_json_doc_free(&doc);
}

static void test_escapes(void **state)
{
    (void)state;
    static const struct {
        const char *json, *want;
    } cases[] = {
        {"\"\\u0041\\u00e9\\u20ac\\ud83d\\ude00\"", "A\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"},
        {"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t"},
        {"\"a\\u000ab\"", "a\nb"},
        {"\"\\uDBFF\\uDFFF\"", "\xf4\x8f\xbf\xbf"}};
    struct tr_json_doc doc = {0};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char out[64];
        struct tr_slice text = {cases[i].json, strlen(cases[i].json)};
        assert_true(tr_json_parse(&doc, text, 0));
        size_t len = tr_json_unescape(&doc.nodes[0], out);
        assert_int_equal(len, strlen(cases[i].want));
        assert_memory_equal(out, cases[i].want, len);
        assert_true(tr_json_equal(&doc.nodes[0], cases[i].want, len));
        assert_true(len <= doc.nodes[0].len);
    }
    tr_json_doc_free(&doc);
}

/* ---- numbers -------------------------------------------------------------------------------- */

static struct tr_number number(const char *text)
{
    struct tr_number number;
    assert_true(tr_number_parse(text, strlen(text), &number));
    return number;
}

static void test_decimal(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int32_t scale;
        const char *want;
    } cases[] = {{"12.50", -1, "12.50"}, {"0", -1, "0"},
                 {"-0", -1, "0"},        {"-0.00", -1, "0.00"},
                 {"1e3", -1, "1000"},    {"1.5e3", -1, "1500"},
                 {"1.5e1", -1, "15"},    {"1.25e1", -1, "12.5"},
                 {"1e-3", -1, "0.001"},  {"-1.5e-3", -1, "-0.0015"},
                 {"007", -1, "7"},       {".5", -1, "0.5"},
                 {"5.", -1, "5"},        {"0.0e5", -1, "0"},
                 {"12.5", 2, "12.50"},   {"12.500", 2, "12.50"},
                 {"12.0", 0, "12"},      {"0", 3, "0.000"},
                 {"1e2", 1, "100.0"},    {"+1", -1, "1"},
                 {"1E+2", -1, "100"},    {"100e-2", 0, "1"},
                 {"0e-3", -1, "0.000"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char out[2048];
        struct tr_number parsed = number(cases[i].text);
        size_t room = tr_number_decimal_bytes(&parsed, cases[i].scale);
        size_t len = tr_number_decimal(&parsed, cases[i].scale, out);
        out[len] = '\0';
        assert_string_equal(out, cases[i].want);
        assert_true(len <= room);
    }
    struct tr_number large = number("1e1001"), small = number("1e-1003"), edge = number("1e999");
    assert_int_equal(tr_number_decimal_bytes(&large, -1), 0);
    assert_int_equal(tr_number_decimal_bytes(&small, -1), 0);
    assert_true(tr_number_decimal_bytes(&edge, -1) >= 1000);
    struct tr_number parsed;
    static const char *const bad[] = {"",   "-",   "+",   ".",   "e1",  "1e",    "1e+",  "1 ",
                                      " 1", "1,5", "--1", "0x1", "NaN", "1.2.3", "1e1.5"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(tr_number_parse(bad[i], strlen(bad[i]), &parsed));
}

static void test_integer(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool fits;
        int64_t want;
    } cases[] = {{"0", true, 0},
                 {"-0", true, 0},
                 {"9223372036854775807", true, INT64_MAX},
                 {"-9223372036854775808", true, INT64_MIN},
                 {"9223372036854775808", false, 0},
                 {"-9223372036854775809", false, 0},
                 {"1e18", true, INT64_C(1000000000000000000)},
                 {"1e19", false, 0},
                 {"1.0", true, 1},
                 {"1.5", false, 0},
                 {"150e-1", true, 15},
                 {"15e-1", false, 0},
                 {"1e-999999999999", false, 0},
                 {"0e999999999999", true, 0},
                 {"1e999999999999999999999", false, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct tr_number parsed = number(cases[i].text);
        int64_t value = 0;
        assert_int_equal(tr_number_int64(&parsed, &value), cases[i].fits);
        if (cases[i].fits)
            assert_true(value == cases[i].want);
    }
    uint64_t value;
    struct tr_number most = number("18446744073709551615"), more = number("18446744073709551616");
    assert_true(tr_number_uint64(&most, &value) && value == UINT64_MAX);
    assert_false(tr_number_uint64(&more, &value));
}

static void test_double(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool single;
        const char *want; /* NULL: refused */
        bool exact;
    } cases[] = {{"0.1", false, "0.1", true},
                 {"1e21", false, "1e+21", true},
                 {"100000", false, "100000", true},
                 {"123456789012345", false, "123456789012345", true},
                 {"1234567890123456", false, "1.234567890123456e+15", true},
                 {"0.0001", false, "0.0001", true},
                 {"0.00001", false, "1e-05", true},
                 {"-0", false, "-0", true},
                 {"-0.0", false, "-0", true},
                 {"1.50", false, "1.5", true},
                 {"5e-324", false, "5e-324", true},
                 {"2.5e-322", false, "2.5e-322", true},
                 {"1e-45", true, "1e-45", true},
                 {"1.7976931348623157e308", false, "1.7976931348623157e+308", true},
                 {"1.8e308", false, NULL, false},
                 {"1e-400", false, NULL, false},
                 {"9007199254740993", false, "9.007199254740992e+15", false},
                 {"0.1234567890123456789", false, "0.12345678901234568", false},
                 {"2.2250738585072014e-308", false, "2.2250738585072014e-308", true},
                 {"0.1", true, "0.1", true},
                 {"16777217", true, "1.6777216e+07", false},
                 {"3.4028235e38", true, "3.4028235e+38", true},
                 {"3.5e38", true, NULL, false},
                 {"123456", true, "123456", true},
                 {"1234567", true, "1.234567e+06", true}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char out[TR_NUMBER_TEXT_BYTES + 1];
        size_t len;
        bool exact;
        struct tr_number parsed = number(cases[i].text);
        bool done = tr_number_double(&parsed, cases[i].single, out, &len, &exact);
        assert_int_equal(done, cases[i].want != NULL);
        if (!done)
            continue;
        out[len] = '\0';
        assert_string_equal(out, cases[i].want);
        assert_int_equal(exact, cases[i].exact);
    }
}

/* ---- times ---------------------------------------------------------------------------------- */

static void test_moments(void **state)
{
    (void)state;
    static const struct {
        const char *text, *utc; /* utc NULL: refused */
    } cases[] = {{"2024-02-29T12:34:56Z", "2024-02-29 12:34:56+00"},
                 {"2024-02-29 12:34:56.1", "2024-02-29 12:34:56.1+00"},
                 {"2024-02-29t12:34z", "2024-02-29 12:34:00+00"},
                 {"2024-02-29T12:34:56.123456789+02", "2024-02-29 10:34:56.123456+00"},
                 {"2024-02-29T12:34:56,5+0530", "2024-02-29 07:04:56.5+00"},
                 {"2024-02-29T00:30:00+05:30", "2024-02-28 19:00:00+00"},
                 {"2024-02-29T23:30:00-01:00:30", "2024-03-01 00:30:30+00"},
                 {"2024-12-31T24:00:00Z", "2025-01-01 00:00:00+00"},
                 {"1969-12-31T23:59:59.999999Z", "1969-12-31 23:59:59.999999+00"},
                 {"0001-01-01", "0001-01-01 00:00:00+00"},
                 {"12345-06-07T00:00:00Z", "12345-06-07 00:00:00+00"},
                 {"2000-02-29", "2000-02-29 00:00:00+00"},
                 {"1900-02-29", NULL},
                 {"0000-01-01", NULL},
                 {"0001-01-01T00:00:00+01", NULL},
                 {"2024-13-01", NULL},
                 {"2024-00-01", NULL},
                 {"2024-01-32", NULL},
                 {"2024-1-1", NULL},
                 {"2024-01-01T", NULL},
                 {"2024-01-01T1:00", NULL},
                 {"2024-01-01T12:60", NULL},
                 {"2024-01-01T12:00:61", NULL},
                 {"2024-01-01T24:00:01", NULL},
                 {"2024-01-01T12:00:00.", NULL},
                 {"2024-01-01T12:00:00.1234567891", NULL},
                 {"2024-01-01T12:00:00+19:00", NULL},
                 {"2024-01-01T12:00:00+1", NULL},
                 {"2024-01-01T12:00:00Zx", NULL},
                 {"2024-01-01Z", NULL},
                 {"9999999-01-01", NULL},
                 {"294277-01-01", NULL},
                 {"-001-01-01", NULL},
                 {"", NULL}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char out[TR_TIME_TEXT_BYTES];
        struct tr_moment moment;
        size_t len = tr_moment_parse(cases[i].text, strlen(cases[i].text), &moment)
                         ? tr_moment_timestamp(&moment, true, out)
                         : 0;
        out[len] = '\0';
        if (strcmp(out, cases[i].utc == NULL ? "" : cases[i].utc) != 0)
            fail_msg("%s: %s", cases[i].text, out);
    }
}

/* Days and seconds there and back, over the whole range. */
static void test_epochs(void **state)
{
    (void)state;
    for (int64_t second = INT64_C(-62135596800); second < INT64_C(9223371936000);
         second += INT64_C(7777777777)) {
        char out[TR_TIME_TEXT_BYTES];
        struct tr_moment moment, back;
        assert_true(tr_moment_from_epoch(second * 1000 + 1, 1000, &moment));
        size_t len = tr_moment_timestamp(&moment, true, out);
        assert_true(len > 0 && tr_moment_parse(out, len, &back));
        assert_true(back.days == moment.days && back.us_of_day == moment.us_of_day);
        assert_true(tr_moment_us(&back) == second * 1000000 + 1000);
    }
    struct tr_moment moment;
    assert_false(tr_moment_from_epoch(INT64_MAX, 1000, &moment));
    assert_false(tr_moment_from_epoch(INT64_MIN, 1, &moment));
    assert_true(tr_moment_from_epoch(-1, 1000000000, &moment));
    assert_true(tr_moment_us(&moment) == -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_conformance), cmocka_unit_test(test_empty),
        cmocka_unit_test(test_prefixes),    cmocka_unit_test(test_depth),
        cmocka_unit_test(test_many_values), cmocka_unit_test(test_too_many_values),
        cmocka_unit_test(test_nodes),       cmocka_unit_test(test_escapes),
        cmocka_unit_test(test_decimal),     cmocka_unit_test(test_integer),
        cmocka_unit_test(test_double),      cmocka_unit_test(test_moments),
        cmocka_unit_test(test_epochs),
    };
    return cmocka_run_group_tests_name("decode_json_reader", tests, NULL, NULL);
}
