#include "event/time_text.h"

#include <stdio.h>
#include <string.h>

#include "base/civil.h"

#define DAY_US INT64_C(86400000000)

struct scan {
    const char *at, *end;
};

/* Exactly `digits` digits. */
static bool number(struct scan *scan, int digits, unsigned *value)
{
    *value = 0;
    for (; digits > 0; digits--) {
        if (scan->at == scan->end || *scan->at < '0' || *scan->at > '9')
            return false;
        *value = *value * 10 + (unsigned)(*scan->at++ - '0');
    }
    return true;
}

static bool take(struct scan *scan, char c)
{
    if (scan->at == scan->end || *scan->at != c)
        return false;
    scan->at++;
    return true;
}

static bool read_date(struct scan *scan, int64_t *days)
{
    unsigned year, month, day;
    if (!number(scan, 4, &year) || !take(scan, '-') || !number(scan, 2, &month) ||
        !take(scan, '-') || !number(scan, 2, &day) || year == 0 || month == 0 || month > 12)
        return false;
    if (day == 0 || day > (unsigned)tr_days_in_month(year, (int)month))
        return false;
    *days = tr_days_from_civil(year, (int)month, (int)day);
    return true;
}

static bool read_clock(struct scan *scan, int64_t *time_us)
{
    unsigned hour, minute, second = 0, digit, scale = 100000;
    int64_t fraction_us = 0;
    if (!number(scan, 2, &hour) || !take(scan, ':') || !number(scan, 2, &minute))
        return false;
    if (take(scan, ':')) {
        if (!number(scan, 2, &second))
            return false;
        if (take(scan, '.') || take(scan, ',')) {
            if (!number(scan, 1, &digit))
                return false;
            do {
                fraction_us += (int64_t)digit * scale;
                scale /= 10;
            } while (number(scan, 1, &digit));
        }
    }
    if (hour > 24 || minute > 59 || second > 60 ||
        (hour == 24 && (minute != 0 || second != 0 || fraction_us != 0)))
        return false;
    *time_us = (((int64_t)hour * 60 + minute) * 60 + second) * 1000000 + fraction_us;
    return true;
}

/* Z, +hh, +hhmm, +hh:mm; nothing is UTC. */
static bool read_zone(struct scan *scan, int64_t *offset_us)
{
    unsigned hours, minutes = 0;
    *offset_us = 0;
    if (scan->at == scan->end || take(scan, 'Z') || take(scan, 'z'))
        return true;
    bool negative = *scan->at == '-';
    if (!take(scan, '+') && !take(scan, '-'))
        return false;
    if (!number(scan, 2, &hours))
        return false;
    if (take(scan, ':') ? !number(scan, 2, &minutes)
                        : scan->at != scan->end && !number(scan, 2, &minutes))
        return false;
    if (hours > 18 || minutes > 59)
        return false;
    *offset_us = ((int64_t)hours * 60 + minutes) * 60000000 * (negative ? -1 : 1);
    return true;
}

static bool read_text(struct tr_slice text, bool needs_clock, int64_t *time_us)
{
    struct scan scan = {text.ptr, text.ptr + text.len};
    int64_t days, clock_us = 0, offset_us = 0;
    if (!read_date(&scan, &days))
        return false;
    if (take(&scan, 'T') || take(&scan, 't') || take(&scan, ' ')) {
        if (!read_clock(&scan, &clock_us))
            return false;
        (void)take(&scan, ' ');
        if (!read_zone(&scan, &offset_us))
            return false;
    } else if (needs_clock) {
        return false;
    }
    *time_us = days * DAY_US + clock_us - offset_us;
    return scan.at == scan.end;
}

static bool read_millis(struct tr_slice text, int64_t *time_us)
{
    int64_t value = 0;
    size_t at = text.len > 0 && text.ptr[0] == '-';
    if (at == text.len || text.len - at > 15)
        return false;
    for (size_t i = at; i < text.len; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9')
            return false;
        value = value * 10 + (text.ptr[i] - '0');
    }
    *time_us = (at ? -value : value) * 1000;
    return true;
}

bool tr_time_text_parse(enum tr_type type, struct tr_slice text, int64_t *time_us)
{
    switch (type) {
    case TR_T_INT8:
    case TR_T_INT16:
    case TR_T_INT32:
    case TR_T_INT64:
    case TR_T_UINT64:
    case TR_T_DECIMAL:
        return read_millis(text, time_us);
    case TR_T_STRING:
    case TR_T_DATE:
        return read_text(text, false, time_us);
    case TR_T_TIMESTAMP:
    case TR_T_TIMESTAMPTZ:
        return read_text(text, true, time_us);
    default:
        return false;
    }
}

size_t tr_time_text_format(int64_t time_us, char *buf)
{
    int64_t days = tr_floor_div(time_us, DAY_US), of_day = time_us - days * DAY_US;
    struct tr_civil civil = tr_civil_from_days(days);
    if (civil.year < 1 || civil.year > 9999)
        return 0;
    unsigned seconds = (unsigned)(of_day / 1000000), fraction = (unsigned)(of_day % 1000000);
    int len = snprintf(buf, TR_TIME_TEXT_BYTES, "%04d-%02d-%02d %02u:%02u:%02u", (int)civil.year,
                       civil.month, civil.day, seconds / 3600, seconds / 60 % 60, seconds % 60);
    if (fraction > 0) {
        len += snprintf(buf + len, TR_TIME_TEXT_BYTES - (size_t)len, ".%06u", fraction);
        while (buf[len - 1] == '0')
            len--;
        buf[len] = '\0';
    }
    return (size_t)len;
}
