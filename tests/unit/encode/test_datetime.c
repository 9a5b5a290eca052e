/* Calendar arithmetic against Python's dates, the ends of PostgreSQL's ranges, and the text forms.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "encode/datetime.h"

static struct tr_outbuf out;

static void test_dates(void **state)
{
    (void)state;
    FILE *file = fopen(TEST_DATA_DIR "/unit/encode/dates.txt", "r");
    assert_non_null(file);
    char text[32];
    long want;
    int count = 0;
    while (fscanf(file, "%31s %ld", text, &want) == 2) {
        int64_t days;
        enum tr_instant_kind kind;
        assert_true(tr_date_parse(text, strlen(text), &days, &kind));
        assert_int_equal(days, want);
        tr_outbuf_clear(&out);
        tr_iso_date(&out, days);
        assert_string_equal(tr_outbuf_cstr(&out), text);
        count++;
    }
    (void)fclose(file);
    assert_int_equal(count, 300);
}

static void test_every_day(void **state)
{
    (void)state;
    struct tr_civil last = tr_civil_from_days(-800001);
    for (int64_t days = -800000; days < 3000000; days++) { /* 222 BC to AD 10183 */
        struct tr_civil civil = tr_civil_from_days(days);
        if (tr_days_from_civil(civil.year, civil.month, civil.day) != days)
            fail_msg("day %ld does not come back", (long)days);
        bool next = civil.day == last.day + 1
                        ? civil.month == last.month && civil.year == last.year
                        : civil.day == 1 && (civil.month == last.month + 1
                                                 ? civil.year == last.year
                                                 : civil.month == 1 && civil.year == last.year + 1);
        if (!next)
            fail_msg("day %ld does not follow the one before", (long)days);
        last = civil;
    }
    assert_int_equal(tr_days_from_civil(1970, 1, 1), 0);
    assert_int_equal(tr_days_from_civil(2000, 2, 29), 11016);
}

static void timestamp(const char *text, int64_t want, const char *iso)
{
    struct tr_instant instant;
    if (!tr_timestamp_parse(text, strlen(text), &instant))
        fail_msg("%s is refused", text);
    assert_int_equal(tr_instant_us(&instant), want);
    if (iso == NULL)
        return;
    tr_outbuf_clear(&out);
    tr_iso_timestamp(&out, &instant, 'T', -1);
    assert_string_equal(tr_outbuf_cstr(&out), iso);
}

/* Where a text is copied, parsing it gives the same; `copied`: whether it is. */
static void same_as_parsed(const char *text, bool copied)
{
    struct tr_instant instant;
    size_t len = tr_timestamp_iso_len(text, strlen(text));
    if ((len > 0) != copied)
        fail_msg("%s: %zu", text, len);
    if (len == 0)
        return;
    assert_true(tr_timestamp_parse(text, strlen(text), &instant));
    tr_outbuf_clear(&out);
    tr_iso_timestamp(&out, &instant, ' ', -1);
    if (out.len != len || memcmp(out.data, text, len) != 0)
        fail_msg("%s: %.*s", text, (int)out.len, out.data);
}

static void test_copied_timestamps(void **state)
{
    (void)state;
    same_as_parsed("2020-01-01 00:00:00", true);
    same_as_parsed("2020-01-01 00:00:00+00", true);
    same_as_parsed("0001-12-28 23:59:59.000001+00", true);
    same_as_parsed("9999-02-28 01:02:03.5", true);
    const char *const parsed[] = {
        "2020-01-29 00:00:00",
        "2020-01-01 24:00:00",
        "2020-01-01 00:00:60",
        "2020-01-01 00:60:00",
        "2020-13-01 00:00:00",
        "2020-00-01 00:00:00",
        "2020-01-00 00:00:00",
        "2020-01-01 00:00:00.50",
        "2020-01-01 00:00:00.1234567",
        "2020-01-01 00:00:00.",
        "2020-01-01 00:00:00.+00",
        "2020-01-01 00:00:00+01",
        "2020-01-01 00:00:00+00:30",
        "2020-01-01 00:00:00-00",
        "2020-01-01 00:00:00+0",
        "2020-01-01 00:00:00+00 BC",
        "2020-01-01 00:00:00 BC",
        "12020-01-01 00:00:00",
        "2020-01-01T00:00:00",
        "2020-01-01",
        "infinity",
        "-infinity",
        "2020-01-01 00:00:0x",
        "2x20-01-01 00:00:00",
        "2020-01-01 00:00:00.5x",
        "2020-1-101 00:00:00",
        "",
    };
    for (size_t i = 0; i < sizeof parsed / sizeof parsed[0]; i++)
        same_as_parsed(parsed[i], false);
    uint64_t chance = 17;
    for (int i = 0; i < 200000; i++) {
        char text[48];
        chance = chance * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        unsigned long long x = chance >> 20;
        int len =
            snprintf(text, sizeof text, "%04llu-%02llu-%02llu %02llu:%02llu:%02llu", x % 10000,
                     x / 7 % 12 + 1, x / 11 % 28 + 1, x / 13 % 24, x / 17 % 60, x / 19 % 60);
        if (i % 2 == 0)
            len +=
                snprintf(text + len, sizeof text - (size_t)len, ".%llu", x / 23 % 99999 * 10 + 1);
        if (i % 3 == 0)
            (void)snprintf(text + len, sizeof text - (size_t)len, "+00");
        same_as_parsed(text, true);
    }
}

static void test_timestamps(void **state)
{
    (void)state;
    timestamp("1970-01-01 00:00:00", 0, "1970-01-01T00:00:00");
    timestamp("2020-02-29 12:34:56.123456", 1582979696123456, "2020-02-29T12:34:56.123456");
    timestamp("1969-12-31 23:59:59.9", -100000, "1969-12-31T23:59:59.9");
    timestamp("2020-01-01 00:00:00.5+00", 1577836800500000, "2020-01-01T00:00:00.5");
    timestamp("2020-01-01 02:00:00+02", 1577836800000000, NULL);
    timestamp("2019-12-31 19:30:00-04:30", 1577836800000000, NULL);
    timestamp("0044-03-15 01:02:03.5 BC", -63517820276500000, "-0043-03-15T01:02:03.5");
    timestamp("0001-12-31 23:59:59+00 BC", -62135596801000000, "0000-12-31T23:59:59");
    timestamp("294276-12-31 23:59:59.999999", INT64_MAX, "+294276-12-31T23:59:59.999999");
    timestamp("4714-11-24 00:00:00 BC", -210866803200000000, "-4713-11-24T00:00:00");
    timestamp("infinity", TR_TIMESTAMP_INFINITY_US, "+294247-01-10T04:00:25.2");
    timestamp("-infinity", TR_TIMESTAMP_NEG_INFINITY_US, "-290308-12-21T19:59:27.6");
}

static void test_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      "x",
                                      "2020-01-01",
                                      "2020-13-01 00:00:00",
                                      "2019-02-29 00:00:00",
                                      "2020-01-00 00:00:00",
                                      "2020-01-01T00:00:00",
                                      "2020-01-01 00:60:00",
                                      "2020-01-01 00:00",
                                      "2020-01-01 00:00:00.",
                                      "2020-01-01 00:00:00 AD",
                                      "2020-01-01 00:00:00+",
                                      "99999999-01-01 00:00:00",
                                      "2020-01-01 00:00:00+00 ",
                                      "Infinity",
                                      "20-01-01 00:00:00"};
    int64_t value;
    enum tr_instant_kind kind;
    struct tr_instant instant;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (tr_timestamp_parse(bad[i], strlen(bad[i]), &instant))
            fail_msg("%s is taken", bad[i]);
    }
    assert_true(tr_date_parse("5874897-12-31", 13, &value, &kind)); /* PostgreSQL's last date */
    assert_true(tr_date_parse("0004-02-29", 10, &value, &kind));
    assert_true(tr_date_parse("0005-02-29 BC", 13, &value, &kind)); /* 5 BC is year -4 */
    assert_false(tr_date_parse("0004-02-29 BC", 13, &value, &kind));
}

static void test_times(void **state)
{
    (void)state;
    int64_t us;
    assert_true(tr_time_parse("24:00:00", 8, &us));
    assert_int_equal(us, TR_US_PER_DAY);
    assert_false(tr_time_parse("24:00:01", 8, &us));
    assert_true(tr_time_parse("12:34:56.1", 10, &us));
    assert_int_equal(us, 45296100000);
    assert_true(tr_timetz_parse("12:34:56.123456+05:30", 21, &us));
    assert_int_equal(us, ((7 * 60 + 4) * 60 + 56) * INT64_C(1000000) + 123456);
    assert_true(tr_timetz_parse("23:59:59.999+14", 15, &us));
    assert_int_equal(us, ((9 * 60 + 59) * 60 + 59) * INT64_C(1000000) + 999000);
    assert_true(tr_timetz_parse("01:00:00-15:59:59", 17, &us));
    assert_int_equal(us, (16 * 3600 + 59 * 60 + 59) * INT64_C(1000000));
    assert_true(tr_timetz_parse("20:00:00-08", 11, &us)); /* the next day in UTC */
    assert_int_equal(us, 4 * 3600 * INT64_C(1000000));
    tr_outbuf_clear(&out);
    tr_iso_time(&out, 45296120000, 3);
    tr_outbuf_byte(&out, ' ');
    tr_iso_time(&out, 45296000000, 0);
    assert_string_equal(tr_outbuf_cstr(&out), "12:34:56.120 12:34:56");
}

static void test_intervals(void **state)
{
    (void)state;
    static const struct {
        const char *text, *iso;
        int64_t us;
    } rows[] = {
        {"1 year 2 mons 3 days 04:05:06.78", "P1Y2M3DT4H5M6.78S", 37091106780000},
        {"-1 years -2 mons +3 days -04:05:06.78", "P-1Y-2M3DT-4H-5M-6.78S", -36572706780000},
        {"00:00:00", "P0Y0M0DT0H0M0S", 0},
        {"-00:00:00.000001", "P0Y0M0DT0H0M-0.000001S", -1},
        {"1 mon", "P0Y1M0DT0H0M0S", 2629800000000},
        {"1 day -00:00:01", "P0Y0M1DT0H0M-1S", 86399000000},
        {"100 years 11 mons 40 days 100:00:00", "P100Y11M40DT100H0M0S", 3188503800000000},
        {"178956970 years 7 mons", "P178956970Y7M0DT0H0M0S", INT64_MAX},
        {"-178956970 years -8 mons", "P-178956970Y-8M0DT0H0M0S", INT64_MIN},
        {"2562047788:00:54.775807", "P0Y0M0DT2562047788H0M54.775807S", INT64_MAX},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct tr_interval interval;
        if (!tr_interval_parse(rows[i].text, strlen(rows[i].text), &interval))
            fail_msg("%s is refused", rows[i].text);
        assert_int_equal(tr_interval_us(&interval), rows[i].us);
        tr_outbuf_clear(&out);
        tr_iso_interval(&out, &interval);
        assert_string_equal(tr_outbuf_cstr(&out), rows[i].iso);
    }
    struct tr_interval interval;
    assert_false(tr_interval_parse("", 0, &interval));
    assert_false(tr_interval_parse("1 fortnight", 11, &interval));
    assert_false(tr_interval_parse("1 day 1", 7, &interval));
    assert_false(tr_interval_parse("P1D", 3, &interval));
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
        cmocka_unit_test(test_dates),      cmocka_unit_test(test_every_day),
        cmocka_unit_test(test_timestamps), cmocka_unit_test(test_copied_timestamps),
        cmocka_unit_test(test_refused),    cmocka_unit_test(test_times),
        cmocka_unit_test(test_intervals),
    };
    return cmocka_run_group_tests(tests, NULL, release);
}
