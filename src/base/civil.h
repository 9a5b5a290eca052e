/* The proleptic Gregorian calendar: days since 1970-01-01 ↔ year, month, day. Days are counted in 400-year
 * cycles of 146097 days whose years begin in March, so that the leap day is the year's last and the lengths
 * of months follow (153 m + 2) / 5. For every day and year whose numbers stay far from 64 bits. */
#ifndef TR_BASE_CIVIL_H
#define TR_BASE_CIVIL_H
#include <stdbool.h>
#include <stdint.h>

#define TR_DAYS_PER_CYCLE 146097
#define TR_DAYS_TO_EPOCH 719468 /* 0000-03-01 to 1970-01-01 */

struct tr_civil {
    int64_t year; /* astronomical: 0 is 1 BC */
    int month, day;
};

static inline int64_t tr_floor_div(int64_t value, int64_t by) /* by > 0 */
{
    int64_t quotient = value / by;
    return value % by < 0 ? quotient - 1 : quotient;
}

static inline int64_t tr_days_from_civil(int64_t year, int month, int day)
{
    int64_t march_year = month <= 2 ? year - 1 : year;
    int64_t cycle = tr_floor_div(march_year, 400), year_of_cycle = march_year - cycle * 400;
    int64_t day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    return cycle * TR_DAYS_PER_CYCLE + year_of_cycle * 365 + year_of_cycle / 4 -
           year_of_cycle / 100 + day_of_year - TR_DAYS_TO_EPOCH;
}

static inline struct tr_civil tr_civil_from_days(int64_t days)
{
    int64_t shifted = days + TR_DAYS_TO_EPOCH;
    int64_t cycle = tr_floor_div(shifted, TR_DAYS_PER_CYCLE);
    int64_t of_cycle = shifted - cycle * TR_DAYS_PER_CYCLE;
    /* leave the leap days out: one in 1461 days, but not in 36524, but in 146097 */
    int64_t year = (of_cycle - of_cycle / 1460 + of_cycle / 36524 - of_cycle / 146096) / 365;
    int64_t of_year = of_cycle - (year * 365 + year / 4 - year / 100);
    int64_t march_month = (5 * of_year + 2) / 153;
    struct tr_civil civil = {.month = (int)(march_month < 10 ? march_month + 3 : march_month - 9),
                             .day = (int)(of_year - (153 * march_month + 2) / 5 + 1)};
    civil.year = cycle * 400 + year + (civil.month <= 2);
    return civil;
}

static inline int tr_days_in_month(int64_t year, int month) /* month: 1 to 12 */
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    return month == 2 && leap ? 29 : days[month - 1];
}

/* The two decimal digits at `at`, up to `most`. */
static inline bool tr_two_digits(const char *at, int most, int *out)
{
    unsigned high = (unsigned)(unsigned char)at[0] - '0',
             low = (unsigned)(unsigned char)at[1] - '0';
    if (high > 9 || low > 9)
        return false;
    *out = (int)(high * 10 + low);
    return *out <= most;
}

#endif
