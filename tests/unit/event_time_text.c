/* Times as text: every form, what is none, extremes, and against the C library's calendar. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "event/batch.h"
#include "event/time_text.h"

#define SECOND INT64_C(1000000)
#define ROUNDS 200000
#define FIRST_SECOND INT64_C(-62135596800) /* 0001-01-01 00:00:00 */
#define LAST_SECOND INT64_C(253402300799)  /* 9999-12-31 23:59:59 */

static void is(enum tr_type type, const char *text, int64_t expected_us)
{
    int64_t time_us = 42;
    /* not NUL-terminated: a byte behind it would be read by a scanner that runs over */
    size_t len = strlen(text);
    char *exact = malloc(len + 1);
    memcpy(exact, text, len);
    exact = realloc(exact, len > 0 ? len : 1);
    if (!tr_time_text_parse(type, (struct tr_slice){exact, len}, &time_us))
        fail_msg("%s \"%s\" was refused", tr_type_name(type), text);
    if (time_us != expected_us)
        fail_msg("%s \"%s\": %lld, expected %lld", tr_type_name(type), text, (long long)time_us,
                 (long long)expected_us);
    free(exact);
}
static void is_none(enum tr_type type, const char *text)
{
    int64_t time_us;
    size_t len = strlen(text);
    char *exact = malloc(len > 0 ? len : 1);
    memcpy(exact, text, len);
    if (tr_time_text_parse(type, (struct tr_slice){exact, len}, &time_us))
        fail_msg("%s \"%s\" was taken as %lld", tr_type_name(type), text, (long long)time_us);
    free(exact);
}

static void every_form(void **unused)
{
    (void)unused;
    const int64_t noon = INT64_C(1709208000) * SECOND; /* 2024-02-29 12:00:00 UTC */
    is(TR_T_DATE, "2024-02-29", noon - 43200 * SECOND);
    is(TR_T_TIMESTAMP, "2024-02-29 12:00:00", noon);
    is(TR_T_TIMESTAMP, "2024-02-29 12:00:00.5", noon + 500000);
    is(TR_T_TIMESTAMP, "2024-02-29 12:00:00.000001", noon + 1);
    is(TR_T_TIMESTAMPTZ, "2024-02-29 12:00:00.25+00", noon + 250000);
    is(TR_T_TIMESTAMPTZ, "2024-02-29 14:00:00+02", noon);
    is(TR_T_STRING, "2024-02-29", noon - 43200 * SECOND);
    is(TR_T_STRING, "2024-02-29T12:00", noon);
    is(TR_T_STRING, "2024-02-29 12:00:00", noon);
    is(TR_T_STRING, "2024-02-29T12:00:00Z", noon);
    is(TR_T_STRING, "2024-02-29t12:00:00z", noon);
    is(TR_T_STRING, "2024-02-29T12:00:00.123456789Z", noon + 123456); /* digits are cut off */
    is(TR_T_STRING, "2024-02-29T12:00:00.9999999", noon + 999999);
    is(TR_T_STRING, "2024-02-29T17:30:00+05:30", noon);
    is(TR_T_STRING, "2024-02-29T17:30:00+0530", noon);
    is(TR_T_STRING, "2024-02-29T04:00-08", noon);
    is(TR_T_STRING, "2024-03-01T00:00:00+12:00", noon);
    is(TR_T_STRING, "2024-02-28T24:00:00", noon - 43200 * SECOND);
    is(TR_T_STRING, "2000-02-29", INT64_C(951782400) * SECOND);
    is(TR_T_STRING, "1969-12-31T23:59:59.999999Z", -1);
    is(TR_T_INT64, "0", 0);
    is(TR_T_INT64, "1709208000123", noon + 123000);
    is(TR_T_INT64, "-1", -1000);
    is(TR_T_INT32, "5", 5000);
    is(TR_T_UINT64, "1709208000000", noon);
    is(TR_T_DECIMAL, "1709208000000", noon);
}

static void what_is_no_time(void **unused)
{
    (void)unused;
    static const char *const texts[] = {
        "", " ", "x", "2024", "2024-02", "2024-2-9", "2023-02-29", "1900-02-29", "2024-13-01",
        "2024-00-01", "2024-01-00", "2024-04-31", "0000-01-01", "12024-01-01", "24-01-01",
        "2024/01/01", "2024-01-01T", "2024-01-01T1", "2024-01-01T12", "2024-01-01T12:",
        "2024-01-01T12:0", "2024-01-01T12:00:", "2024-01-01T12:00:0", "2024-01-01T12:00:00.",
        "2024-01-01T12:00:00.x", "2024-01-01T25:00", "2024-01-01T24:00:01", "2024-01-01T12:60",
        "2024-01-01T12:00:61", "2024-01-01T24:00:00.1", "2024-01-01T12:00:00+", "2024-01-01T12:00+1",
        "2024-01-01T12:00+19:00", "2024-01-01T12:00+05:60", "2024-01-01T12:00+05:", "2024-01-01T12:00+05:3",
        "2024-01-01T12:00ZZ", "2024-01-01T12:00:00Z ", "2024-01-01T12:00:00 UTC", " 2024-01-01", "2024-01-01x",
        "infinity", "-infinity", "2024-01-01 12:00:00 BC", "-2024-01-01", "+2024-01-01", "1709208000"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        is_none(TR_T_STRING, texts[i]);
        is_none(TR_T_TIMESTAMP, texts[i]);
        is_none(TR_T_TIMESTAMPTZ, texts[i]);
        is_none(TR_T_DATE, texts[i]);
    }
    is_none(TR_T_TIMESTAMP, "2024-01-01"); /* a timestamp has a clock */
    static const char *const numbers[] = {"", "-", "+5", "5.5", "1e3", " 5", "5 ", "0x5", "--5",
                                          "9223372036854775807", "-9223372036854775808",
                                          "1000000000000000", "2024-01-01"};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        is_none(TR_T_INT64, numbers[i]);
        is_none(TR_T_DECIMAL, numbers[i]);
    }
    is_none(TR_T_FLOAT64, "1709208000000");
    is_none(TR_T_BOOLEAN, "t");
    is_none(TR_T_TIME, "12:00:00");
    is_none(TR_T_UUID, "2024-01-01");
}

static void extremes(void **unused)
{
    (void)unused;
    char text[TR_TIME_TEXT_BYTES];
    is(TR_T_STRING, "0001-01-01", FIRST_SECOND * SECOND);
    is(TR_T_STRING, "9999-12-31T23:59:59.999999", LAST_SECOND * SECOND + 999999);
    assert_int_equal(tr_time_text_format(FIRST_SECOND * SECOND, text), 19);
    assert_string_equal(text, "0001-01-01 00:00:00");
    assert_int_equal(tr_time_text_format(LAST_SECOND * SECOND + 999999, text), 26);
    assert_string_equal(text, "9999-12-31 23:59:59.999999");
    assert_int_equal(tr_time_text_format(FIRST_SECOND * SECOND - 1, text), 0);
    assert_int_equal(tr_time_text_format((LAST_SECOND + 1) * SECOND, text), 0);
    assert_int_equal(tr_time_text_format(INT64_MAX, text), 0);
    assert_int_equal(tr_time_text_format(INT64_MIN, text), 0);
    assert_int_equal(tr_time_text_format(-1, text), 26);
    assert_string_equal(text, "1969-12-31 23:59:59.999999");
    assert_int_equal(tr_time_text_format(1700000000500000, text), 21); /* no zeros at the end */
    assert_string_equal(text, "2023-11-14 22:13:20.5");
}

static void one(int64_t seconds, int64_t micros)
{
    char text[TR_TIME_TEXT_BYTES], expected[80];
    struct tm parts;
    time_t when = (time_t)seconds;
    assert_non_null(gmtime_r(&when, &parts));
    assert_true(timegm(&parts) == when);
    int len = snprintf(expected, sizeof expected, "%04d-%02d-%02d %02d:%02d:%02d",
                       parts.tm_year + 1900, parts.tm_mon + 1, parts.tm_mday, parts.tm_hour,
                       parts.tm_min, parts.tm_sec);
    is(TR_T_DATE, (snprintf(text, sizeof text, "%.10s", expected), text),
       (seconds - (parts.tm_hour * 3600 + parts.tm_min * 60 + parts.tm_sec)) * SECOND);
    if (micros > 0) {
        len += snprintf(expected + len, sizeof expected - (size_t)len, ".%06d", (int)micros);
        while (expected[len - 1] == '0')
            expected[--len] = '\0';
    }
    int64_t time_us = seconds * SECOND + micros;
    assert_int_equal(tr_time_text_format(time_us, text), len);
    assert_string_equal(text, expected);
    is(TR_T_TIMESTAMP, text, time_us);
    (void)strcat(text, "+00");
    is(TR_T_TIMESTAMPTZ, text, time_us);
    text[10] = 'T';
    is(TR_T_STRING, text, time_us);
}

static void as_the_c_library_counts(void **unused)
{
    (void)unused;
    unsigned long long state = (unsigned long long)time(NULL);
    printf("seed %llu\n", state);
    for (int64_t day = FIRST_SECOND; day <= LAST_SECOND; day += 86400 * 97) /* over all years */
        one(day, 0);
    for (unsigned i = 0; i < ROUNDS / 10; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        int64_t seconds = FIRST_SECOND + (int64_t)((state >> 11) % (uint64_t)(LAST_SECOND - FIRST_SECOND));
        one(seconds, i % 3 == 0 ? 0 : (int64_t)(state % 1000000));
    }
    for (int year = 1896; year <= 2105; year++) { /* around each end of February */
        struct tm march = {.tm_year = year - 1900, .tm_mon = 2, .tm_mday = 1};
        int64_t seconds = (int64_t)timegm(&march);
        one(seconds, 0);
        one(seconds - 1, 999999);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_form),
        cmocka_unit_test(what_is_no_time),
        cmocka_unit_test(extremes),
        cmocka_unit_test(as_the_c_library_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
