/* Dates and times as messages have them → canonical text. Pure.
 *
 * Read are ISO 8601's extended forms: YYYY-MM-DD, HH:MM[:SS[.fraction]], both with T, t or a space
 * between, and a zone Z, z, +HH, +HHMM, +HH:MM (or -), also +HH:MM:SS. The calendar is the
 * proleptic Gregorian one, years 0001 to 294276. A fraction may have nine digits; what is beyond
 * microseconds is cut off, as nothing behind could hold it. A leap second (:60) is the first second
 * after it. */
#ifndef TR_DECODE_JSON_TIME_H
#define TR_DECODE_JSON_TIME_H

#include <stdbool.h>

#include "tailrace/event.h"

#define TR_TIME_TEXT_BYTES 48 /* room for every text below */

struct tr_moment {
    int64_t days;      /* since 1970-01-01; 0 when there is no date */
    int64_t us_of_day; /* 0 … 86400000000 (24:00 only without a date) */
    int32_t zone_s;    /* east of UTC */
    bool has_date, has_time, has_zone;
};
/* False: another form, or a field out of range. */
bool tr_moment_parse(const char *text, size_t len, struct tr_moment *moment);
/* From a count since the epoch, units_per_second 1, 1000, 1000000 or 1000000000. False: year out of
 * range. Nanoseconds are cut to microseconds, towards the past. */
bool tr_moment_from_epoch(int64_t count, int64_t units_per_second, struct tr_moment *moment);
/* µs since 1970-01-01 UTC; without a zone UTC is meant. */
int64_t tr_moment_us(const struct tr_moment *moment);

/* Each writes canonical text and gives its length; 0 when the moment has no such part.
 * TIMESTAMP and TIMESTAMPTZ of a moment with a zone are its UTC time. DATE takes a moment that is
 * midnight, TIME one without a zone or in UTC. */
size_t tr_moment_date(const struct tr_moment *moment, char *out);
size_t tr_moment_time(const struct tr_moment *moment, char *out);
size_t tr_moment_timestamp(const struct tr_moment *moment, bool with_zone, char *out);

#endif
