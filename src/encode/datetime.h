/* Dates, times and intervals: canonical text (include/tailrace/event.h) → numbers, and numbers →
 * ISO 8601. The calendar is the proleptic Gregorian one, as in PostgreSQL and java.time. Pure. */
#ifndef TR_ENCODE_DATETIME_H
#define TR_ENCODE_DATETIME_H

#include "base/civil.h"
#include "base/outbuf.h"

#define TR_US_PER_SECOND INT64_C(1000000)
#define TR_US_PER_DAY (INT64_C(86400) * TR_US_PER_SECOND)
/* What PostgreSQL's JDBC driver, and so Debezium, gives for infinity (µs; timestamps). */
#define TR_TIMESTAMP_INFINITY_US INT64_C(9223372036825200000)
#define TR_TIMESTAMP_NEG_INFINITY_US INT64_C(-9223372036832400000)
/* Debezium's day numbers of infinite dates: the wire's INT32_MAX and INT32_MIN days since
 * 2000-01-01, moved to 1970 in 32 bits. */
#define TR_DATE_INFINITY (-2147472692)
#define TR_DATE_NEG_INFINITY (-2147472691)

enum tr_instant_kind { TR_FINITE, TR_INFINITE, TR_NEG_INFINITE };

/* Days since 1970-01-01. */

/* All parsers: false when the text has another form or a field is out of range. */
bool tr_date_parse(const char *text, size_t len, int64_t *days, enum tr_instant_kind *kind);
/* µs since midnight, up to 24:00:00. */
bool tr_time_parse(const char *text, size_t len, int64_t *us);
/* µs since midnight UTC, within a day. */
bool tr_timetz_parse(const char *text, size_t len, int64_t *us);
/* In UTC when there is a zone. Days and time apart, since the last thirty of PostgreSQL's years do
 * not fit into 64 bits of µs since 1970. */
struct tr_instant {
    enum tr_instant_kind kind;
    int64_t days; /* since 1970-01-01 */
    int64_t us_of_day;
};
bool tr_timestamp_parse(const char *text, size_t len, struct tr_instant *instant);
/* How many bytes of the text, but for the separator, are what tr_iso_timestamp makes of it with -1
 * fraction digits: all, or all but a zone of +00. 0: not known, parse it. */
size_t tr_timestamp_iso_len(const char *text, size_t len);
/* µs since 1970-01-01 00:00; saturates. Infinite: the constants above. */
int64_t tr_instant_us(const struct tr_instant *instant);

struct tr_interval {
    int64_t months, days, us;
};
bool tr_interval_parse(const char *text, size_t len, struct tr_interval *interval);
/* A month is 365.25 / 12 days; saturates. */
int64_t tr_interval_us(const struct tr_interval *interval);

/* 2020-01-01, -0043-03-15, +12345-06-07 */
void tr_iso_date(struct tr_outbuf *out, int64_t days);
/* 12:34:56[.ffffff]; fraction_digits -1: as many as are needed. us is within a day. */
void tr_iso_time(struct tr_outbuf *out, int64_t us, int fraction_digits);
/* date, separator, time */
void tr_iso_timestamp(struct tr_outbuf *out, const struct tr_instant *instant, char separator,
                      int fraction_digits);
/* P1Y2M3DT4H5M6.78S, every part written */
void tr_iso_interval(struct tr_outbuf *out, const struct tr_interval *interval);

#endif
