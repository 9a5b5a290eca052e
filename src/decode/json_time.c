/* See the header. */
#include "decode/json_time.h"

#include <string.h>

#include "base/civil.h"

#define SECONDS_PER_DAY INT64_C(86400)
#define US_PER_SECOND INT64_C(1000000)
#define US_PER_DAY (SECONDS_PER_DAY * US_PER_SECOND)
#define DAYS_MIN INT64_C(-719162)   /* 0001-01-01 */
#define DAYS_MAX INT64_C(106751991) /* within the year 294276: what 64 bits of µs hold */
#define YEAR_DIGITS_MAX 6
#define FRACTION_DIGITS_MAX 9
#define ZONE_HOURS_MAX 18

/* ---- reading -------------------------------------------------------------------------------- */

struct text {
    const char *at, *end;
};

static inline bool is_digit(const struct text *text)
{
    return text->at < text->end && *text->at >= '0' && *text->at <= '9';
}

static inline bool take(struct text *text, char byte)
{
    bool there = text->at < text->end && *text->at == byte;
    text->at += there;
    return there;
}

static inline bool two_digits(struct text *text, int *value)
{
    if (text->end - text->at < 2 || !tr_two_digits(text->at, 99, value))
        return false;
    text->at += 2;
    return true;
}

static bool read_date(struct text *text, struct tr_moment *moment)
{
    int64_t year = 0;
    int month, day;
    const char *begin = text->at;
    while (is_digit(text) && text->at - begin < YEAR_DIGITS_MAX)
        year = year * 10 + (*text->at++ - '0');
    if (text->at - begin < 4 || !take(text, '-') || !two_digits(text, &month) || !take(text, '-') ||
        !two_digits(text, &day))
        return false;
    if (year < 1 || month < 1 || month > 12 || day < 1 || day > tr_days_in_month(year, month))
        return false;
    moment->days = tr_days_from_civil(year, month, day);
    moment->has_date = true;
    return moment->days <= DAYS_MAX;
}

static bool read_fraction(struct text *text, int64_t *us)
{
    const char *begin = text->at;
    int64_t unit = US_PER_SECOND / 10;
    for (; is_digit(text); text->at++, unit /= 10)
        *us += (*text->at - '0') * unit;
    return text->at > begin && text->at - begin <= FRACTION_DIGITS_MAX;
}

static bool read_time(struct text *text, struct tr_moment *moment)
{
    int hour, minute, second = 0;
    int64_t us = 0;
    if (!two_digits(text, &hour) || !take(text, ':') || !two_digits(text, &minute))
        return false;
    if (take(text, ':')) {
        if (!two_digits(text, &second))
            return false;
        if ((take(text, '.') || take(text, ',')) && !read_fraction(text, &us))
            return false;
    }
    if (hour > 24 || minute > 59 || second > 60)
        return false;
    moment->us_of_day = (hour * INT64_C(3600) + minute * 60 + second) * US_PER_SECOND + us;
    moment->has_time = true;
    return moment->us_of_day <= US_PER_DAY || (hour == 23 && second == 60);
}

static bool read_zone(struct text *text, struct tr_moment *moment)
{
    int hours, minutes = 0, seconds = 0;
    moment->has_zone = true;
    if (take(text, 'Z') || take(text, 'z'))
        return true;
    bool west = take(text, '-');
    if ((!west && !take(text, '+')) || !two_digits(text, &hours))
        return false;
    if (take(text, ':')) {
        if (!two_digits(text, &minutes) || (take(text, ':') && !two_digits(text, &seconds)))
            return false;
    } else if (text->at < text->end && !two_digits(text, &minutes)) {
        return false;
    }
    if (hours > ZONE_HOURS_MAX || minutes > 59 || seconds > 59)
        return false;
    moment->zone_s = hours * 3600 + minutes * 60 + seconds;
    if (west)
        moment->zone_s = -moment->zone_s;
    return true;
}

/* Carries what is beyond a day into the date. */
static bool settle(struct tr_moment *moment)
{
    if (!moment->has_date)
        return moment->us_of_day <= US_PER_DAY;
    moment->days += moment->us_of_day / US_PER_DAY;
    moment->us_of_day %= US_PER_DAY;
    return moment->days <= DAYS_MAX;
}

bool tr_moment_parse(const char *ptr, size_t len, struct tr_moment *moment)
{
    struct text text = {ptr, ptr + len};
    *moment = (struct tr_moment){0};
    bool time_first = len >= 3 && ptr[2] == ':';
    if (!time_first) {
        if (!read_date(&text, moment))
            return false;
        if (text.at == text.end)
            return true;
        if (!take(&text, 'T') && !take(&text, ' ') && !take(&text, 't'))
            return false;
    }
    if (!read_time(&text, moment))
        return false;
    if (text.at < text.end && !read_zone(&text, moment))
        return false;
    return text.at == text.end && settle(moment);
}

bool tr_moment_from_epoch(int64_t count, int64_t units_per_second, struct tr_moment *moment)
{
    int64_t seconds = count / units_per_second, rest = count % units_per_second;
    if (rest < 0) {
        rest += units_per_second;
        seconds--;
    }
    int64_t days = seconds / SECONDS_PER_DAY, second_of_day = seconds % SECONDS_PER_DAY;
    if (second_of_day < 0) {
        second_of_day += SECONDS_PER_DAY;
        days--;
    }
    int64_t us = units_per_second <= US_PER_SECOND ? rest * (US_PER_SECOND / units_per_second)
                                                   : rest / (units_per_second / US_PER_SECOND);
    *moment = (struct tr_moment){.days = days,
                                 .us_of_day = second_of_day * US_PER_SECOND + us,
                                 .has_date = true,
                                 .has_time = true};
    return days >= DAYS_MIN && days <= DAYS_MAX;
}

int64_t tr_moment_us(const struct tr_moment *moment)
{
    /* DAYS_MAX leaves room: the product does not overflow, and the zone moves it by less than a day
     */
    int64_t us;
    if (__builtin_add_overflow(moment->days * US_PER_DAY, moment->us_of_day, &us) ||
        __builtin_sub_overflow(us, moment->zone_s * US_PER_SECOND, &us))
        return moment->days < 0 ? INT64_MIN + 1 : INT64_MAX;
    return us;
}

/* ---- writing -------------------------------------------------------------------------------- */

static char *put_two(char *to, int value)
{
    to[0] = (char)('0' + value / 10);
    to[1] = (char)('0' + value % 10);
    return to + 2;
}

static char *put_date(char *to, int64_t days)
{
    struct tr_civil civil = tr_civil_from_days(days);
    int64_t year = civil.year;
    char digits[YEAR_DIGITS_MAX + 1];
    int count = 0;
    while (year > 0 || count < 4) {
        digits[count++] = (char)('0' + year % 10);
        year /= 10;
    }
    while (count > 0)
        *to++ = digits[--count];
    *to++ = '-';
    to = put_two(to, civil.month);
    *to++ = '-';
    return put_two(to, civil.day);
}

static char *put_time(char *to, int64_t us_of_day)
{
    int64_t second = us_of_day / US_PER_SECOND, us = us_of_day % US_PER_SECOND;
    to = put_two(to, (int)(second / 3600));
    *to++ = ':';
    to = put_two(to, (int)(second / 60 % 60));
    *to++ = ':';
    to = put_two(to, (int)(second % 60));
    if (us > 0) {
        *to++ = '.';
        for (int64_t unit = US_PER_SECOND / 10; us > 0; unit /= 10) {
            *to++ = (char)('0' + us / unit);
            us %= unit;
        }
    }
    return to;
}

size_t tr_moment_date(const struct tr_moment *moment, char *out)
{
    if (!moment->has_date || moment->us_of_day != 0)
        return 0;
    return (size_t)(put_date(out, moment->days) - out);
}

size_t tr_moment_time(const struct tr_moment *moment, char *out)
{
    if (!moment->has_time || moment->has_date || moment->zone_s != 0)
        return 0;
    return (size_t)(put_time(out, moment->us_of_day) - out);
}

size_t tr_moment_timestamp(const struct tr_moment *moment, bool with_zone, char *out)
{
    if (!moment->has_date)
        return 0;
    int64_t days = moment->days, us = moment->us_of_day - moment->zone_s * US_PER_SECOND;
    if (us < 0) {
        us += US_PER_DAY;
        days--;
    } else if (us >= US_PER_DAY) {
        us -= US_PER_DAY;
        days++;
    }
    if (days < DAYS_MIN || days > DAYS_MAX)
        return 0;
    char *to = put_date(out, days);
    *to++ = ' ';
    to = put_time(to, us);
    if (with_zone) {
        memcpy(to, "+00", 3);
        to += 3;
    }
    return (size_t)(to - out);
}
