/* Strings, numbers and base64 of the JSON writer; random bytes must always give valid JSON. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <jansson.h>

#include "encode/json.h"

static struct tr_outbuf out;

static const char *escaped(const char *ptr, size_t len)
{
    tr_outbuf_clear(&out);
    tr_json_string(&out, ptr, len);
    return tr_outbuf_cstr(&out);
}

static void test_escape(void **state)
{
    (void)state;
    assert_string_equal(escaped("", 0), "\"\"");
    assert_string_equal(escaped("plain text of some length", 25), "\"plain text of some length\"");
    assert_string_equal(escaped("a\"b\\c/d", 7), "\"a\\\"b\\\\c/d\"");
    assert_string_equal(escaped("\b\t\n\f\r\x01\x1f\x7f", 8),
                        "\"\\b\\t\\n\\f\\r\\u0001\\u001f\x7f\"");
    assert_string_equal(escaped("\0x", 2), "\"\\u0000x\"");
    assert_string_equal(escaped("\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", 9),
                        "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"");
    /* a special byte at each place of a word, with neighbours that a borrow could mislead */
    for (size_t at = 0; at < 24; at++) {
        char text[25], want[32];
        memset(text, '!', 24); /* 0x21: one below the quote, one above the controls */
        text[at] = '"';
        size_t len = 0;
        want[len++] = '"';
        for (size_t i = 0; i < 24; i++) {
            if (i == at)
                want[len++] = '\\';
            want[len++] = text[i];
        }
        want[len++] = '"';
        want[len] = '\0';
        assert_string_equal(escaped(text, 24), want);
    }
}

static void test_invalid_utf8(void **state)
{
    (void)state;
#define BAD "\xef\xbf\xbd"
    assert_string_equal(escaped("\xff", 1), "\"" BAD "\"");
    assert_string_equal(escaped("a\x80z", 3), "\"a" BAD "z\"");
    assert_string_equal(escaped("\xc0\xaf", 2), "\"" BAD BAD "\"");                 /* overlong */
    assert_string_equal(escaped("\xed\xa0\x80", 3), "\"" BAD BAD BAD "\"");         /* surrogate */
    assert_string_equal(escaped("\xf4\x90\x80\x80", 4), "\"" BAD BAD BAD BAD "\""); /* > 10FFFF */
    assert_string_equal(escaped("\xe2\x82", 2), "\"" BAD BAD "\"");                 /* cut off */
    assert_string_equal(escaped("\xe2\x82\xac", 2), "\"" BAD BAD "\"");
}

static void test_random_bytes(void **state)
{
    (void)state;
    unsigned seed = 12345;
    print_message("seed %u\n", seed);
    srand(seed);
    for (int round = 0; round < 20000; round++) {
        char bytes[64];
        size_t len = (size_t)rand() % sizeof bytes;
        for (size_t i = 0; i < len; i++)
            bytes[i] = (char)(rand() % 4 == 0 ? rand() % 256 : 0x20 + rand() % 0x60);
        const char *json = escaped(bytes, len);
        json_error_t err;
        json_t *parsed = json_loadb(json, out.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, &err);
        if (parsed == NULL)
            fail_msg("%s: %s", err.text, json);
        bool ascii = true;
        for (size_t i = 0; i < len; i++)
            ascii &= (unsigned char)bytes[i] < 0x80;
        if (ascii) {
            assert_int_equal(json_string_length(parsed), len);
            assert_memory_equal(json_string_value(parsed), bytes, len);
        }
        json_decref(parsed);
    }
}

static const char *number_of(const char *text)
{
    tr_outbuf_clear(&out);
    return tr_json_float(&out, text, strlen(text)) ? tr_outbuf_cstr(&out) : "?";
}

static void test_float(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {
        {"0", "0.0"},
        {"-0", "-0.0"},
        {"1", "1.0"},
        {"-1.5", "-1.5"},
        {"0.1", "0.1"},
        {"100", "100.0"},
        {"0.001", "0.001"},
        {"0.0001", "1.0E-4"},
        {"1e-05", "1.0E-5"},
        {"9999999", "9999999.0"},
        {"10000000", "1.0E7"},
        {"12345678.9", "1.23456789E7"},
        {"1e+20", "1.0E20"},
        {"1e21", "1.0E21"},
        {"1.7976931348623157e+308", "1.7976931348623157E308"},
        {"5e-324", "5.0E-324"},
        {"-3.4028235e+38", "-3.4028235E38"},
        {"00120.50", "120.5"},
        {"123456789012345680", "1.2345678901234568E17"},
        {"NaN", "\"NaN\""},
        {"Infinity", "\"Infinity\""},
        {"-Infinity", "\"-Infinity\""},
        {"", "?"},
        {"-", "?"},
        {".", "?"},
        {"1.2.3", "?"},
        {"1e", "?"},
        {"1e+", "?"},
        {"1e99999", "?"},
        {"1x", "?"},
        {"nan", "?"},
        {"0x10", "?"},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++)
        assert_string_equal(number_of(pairs[i][0]), pairs[i][1]);
    srand(7);
    for (int i = 0; i < 20000; i++) { /* every text a double prints as comes back as that double */
        uint64_t bits = 0;
        for (int j = 0; j < 8; j++)
            bits = bits << 8 | (uint64_t)(rand() & 255);
        double value;
        memcpy(&value, &bits, sizeof value);
        if (value != value || value - value != 0)
            continue;
        tr_outbuf_clear(&out);
        tr_json_double(&out, value);
        assert_true(strtod(tr_outbuf_cstr(&out), NULL) == value);
    }
    tr_outbuf_clear(&out);
    tr_json_double(&out, 0.1);
    tr_json_double(&out, -1.0 / 0.0);
    assert_string_equal(tr_outbuf_cstr(&out), "0.1\"-Infinity\"");
}

static void test_integer(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "-", "01", "-01", "1.0", "a", "1 ", "--1", "0x1"};
    static const char *const good[] = {"0", "-1", "9223372036854775807", "18446744073709551615"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        tr_outbuf_clear(&out);
        assert_false(tr_json_integer(&out, bad[i], strlen(bad[i])));
    }
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        tr_outbuf_clear(&out);
        assert_true(tr_json_integer(&out, good[i], strlen(good[i])));
        assert_string_equal(tr_outbuf_cstr(&out), good[i]);
    }
}

static void test_base64(void **state)
{
    (void)state;
    static const char *const vectors[][2] = {
        {"", ""},        {"f", "Zg=="},        {"fo", "Zm8="},
        {"foo", "Zm9v"}, {"foob", "Zm9vYg=="}, {"foobar", "Zm9vYmFy"}}; /* RFC 4648 */
    for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
        tr_outbuf_clear(&out);
        tr_json_base64(&out, vectors[i][0], strlen(vectors[i][0]), TR_BASE64_STANDARD);
        assert_string_equal(tr_outbuf_cstr(&out), vectors[i][1]);
    }
    tr_outbuf_clear(&out);
    assert_true(tr_json_hex_base64(&out, "00ff10FBefbe", 12, TR_BASE64_STANDARD));
    assert_string_equal(tr_outbuf_cstr(&out), "AP8Q++++");
    tr_outbuf_clear(&out);
    assert_true(tr_json_hex_base64(&out, "fbff", 4, TR_BASE64_URL));
    assert_string_equal(tr_outbuf_cstr(&out), "-_8=");
    assert_false(tr_json_hex_base64(&out, "fbf", 3, TR_BASE64_URL));
    assert_false(tr_json_hex_base64(&out, "zz", 2, TR_BASE64_URL));
}

static int release(void **state)
{
    (void)state;
    tr_outbuf_free(&out);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_escape),       cmocka_unit_test(test_invalid_utf8),
        cmocka_unit_test(test_random_bytes), cmocka_unit_test(test_float),
        cmocka_unit_test(test_integer),      cmocka_unit_test(test_base64),
    };
    return cmocka_run_group_tests(tests, NULL, release);
}
