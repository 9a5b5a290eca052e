/* Dates and times: numbers ↔ canonical text, ISO 8601, patterns of Java. The calendar is the proleptic
 * Gregorian one, as in PostgreSQL and java.time. Pure. */
#ifndef TR_TRANSFORM_TIMES_H
#define TR_TRANSFORM_TIMES_H

#include "base/civil.h"
#include "transform/value.h"

#define TX_TIME_TEXT_MAX 48 /* bytes that any canonical date or time needs */

/* What a text said of its zone. */
struct tx_zone_seen {
    bool any;
    int64_t east_us;
};
/* All readers: false when the text has another form, or a field is out of range. */
/* Canonical text (event.h), and ISO 8601: date, then 'T' or blanks, then hh:mm[:ss[.fraction]], then a
 * zone: Z, UTC, +hh, +hhmm, +hh:mm[:ss], or none. A date alone is its midnight. Fractions beyond six digits
 * are cut. *us is the wall clock as written, the zone apart. infinity, -infinity: INT64_MAX, INT64_MIN. */
bool tx_stamp_read(const char *text, size_t len, int64_t *us, struct tx_zone_seen *zone);
bool tx_date_read(const char *text, size_t len, int64_t *days);
bool tx_time_read(const char *text, size_t len, int64_t *us);
/* Canonical text; the length. buf has TX_TIME_TEXT_MAX bytes. */
size_t tx_date_write(int64_t days, char *buf);
size_t tx_time_write(int64_t us, char *buf);
size_t tx_stamp_write(int64_t us, bool utc, char *buf);
/* µs cut to a precision of 0..6 digits, towards the past. */
int64_t tx_cut_us(int64_t us, int precision);

enum tx_unit {
    TX_MICROSECOND,
    TX_MILLISECOND,
    TX_SECOND,
    TX_MINUTE,
    TX_HOUR,
    TX_DAY,
    TX_WEEK,
    TX_MONTH,
    TX_QUARTER,
    TX_YEAR,
    /* fields only */
    TX_DOW,
    TX_DOY,
    TX_EPOCH,
    TX_ISO_WEEK,
    TX_UNIT_NONE
};
/* By name, any case, with or without a plural S, "FRAC_SECOND" and "SQL_TSI_DAY" too. */
enum tx_unit tx_unit_named(const char *name, size_t len);
/* False: beyond the range of times. A month is added in the calendar, the day cut to the month's last. */
bool tx_add(int64_t us, enum tx_unit unit, int64_t count, int64_t *out);
/* Whole units from a to b. */
int64_t tx_between(enum tx_unit unit, int64_t a, int64_t b);
/* A field of a wall clock. false: this unit is no field. */
bool tx_field(enum tx_unit unit, int64_t us, int64_t *out);

/* Java's DateTimeFormatter/SimpleDateFormat, as far as numbers go: y M d H h m s S E a D and 'text'.
 * A pattern with another letter is refused: *why. */
bool tx_pattern_check(const char *pattern, size_t len, const char **why);
/* False: buf is too small. */
bool tx_pattern_write(const char *pattern, size_t len, int64_t us, char *buf, size_t buf_size,
                      size_t *written);
bool tx_pattern_read(const char *pattern, size_t len, const char *text, size_t text_len, int64_t *us);

#endif
