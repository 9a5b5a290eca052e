#include "encode/datetime.h"

#define YEAR_MAX 6000000                /* PostgreSQL's dates end in 5874897 */
#define MONTH_US INT64_C(2629800000000) /* 365.25 / 12 days */

/* ---- reading ------------------------------------------------------------------------------------
 */

struct reader {
    const char *at, *end;
};

static bool take(struct reader *reader, char c)
{
    if (reader->at == reader->end || *reader->at != c)
        return false;
    reader->at++;
    return true;
}

/* min to max decimal digits. */
static bool number(struct reader *reader, int digits_min, int digits_max, int64_t *value)
{
    int digits = 0;
    *value = 0;
    while (reader->at < reader->end && *reader->at >= '0' && *reader->at <= '9' &&
           digits < digits_max) {
        *value = *value * 10 + (*reader->at++ - '0');
        digits++;
    }
    return digits >= digits_min;
}

static bool is_word(const char *text, size_t len, const char *word)
{
    return len == strlen(word) && memcmp(text, word, len) == 0;
}

/* Cuts " BC" off the end. */
static bool cut_bc(const char *text, size_t *len)
{
    if (*len < 3 || memcmp(text + *len - 3, " BC", 3) != 0)
        return false;
    *len -= 3;
    return true;
}

static bool read_date(struct reader *reader, bool bc, int64_t *days)
{
    int64_t year, month, day;
    if (!number(reader, 4, 7, &year) || !take(reader, '-') || !number(reader, 2, 2, &month) ||
        !take(reader, '-') || !number(reader, 2, 2, &day))
        return false;
    if (bc)
        year = 1 - year;
    if (year > YEAR_MAX || month < 1 || month > 12 || day < 1 ||
        day > tr_days_in_month(year, (int)month))
        return false;
    *days = tr_days_from_civil(year, (int)month, (int)day);
    return true;
}

/* Up to six digits behind the point, as microseconds. */
static bool read_fraction(struct reader *reader, int64_t *us)
{
    *us = 0;
    if (!take(reader, '.'))
        return true;
    int digits = 0;
    while (reader->at < reader->end && *reader->at >= '0' && *reader->at <= '9') {
        if (digits++ < 6)
            *us = *us * 10 + (*reader->at - '0');
        reader->at++;
    }
    for (int i = digits; i < 6; i++)
        *us *= 10;
    return digits > 0;
}

static bool read_clock(struct reader *reader, int hour_digits_max, int64_t *us)
{
    int64_t hours, minutes, seconds, fraction;
    if (!number(reader, 2, hour_digits_max, &hours) || !take(reader, ':') ||
        !number(reader, 2, 2, &minutes) || !take(reader, ':') || !number(reader, 2, 2, &seconds) ||
        !read_fraction(reader, &fraction) || minutes > 59 || seconds > 60)
        return false;
    *us = ((hours * 60 + minutes) * 60 + seconds) * TR_US_PER_SECOND + fraction;
    return true;
}

/* +HH[:MM[:SS]] in µs east of UTC. */
static bool read_zone(struct reader *reader, int64_t *us)
{
    int64_t hours, minutes = 0, seconds = 0;
    bool west = reader->at < reader->end && *reader->at == '-';
    if ((!take(reader, '+') && !take(reader, '-')) || !number(reader, 2, 2, &hours))
        return false;
    if (take(reader, ':') && !number(reader, 2, 2, &minutes))
        return false;
    if (take(reader, ':') && !number(reader, 2, 2, &seconds))
        return false;
    *us = ((hours * 60 + minutes) * 60 + seconds) * TR_US_PER_SECOND;
    if (west)
        *us = -*us;
    return true;
}

static bool infinite(const char *text, size_t len, enum tr_instant_kind *kind)
{
    if (is_word(text, len, "infinity"))
        *kind = TR_INFINITE;
    else if (is_word(text, len, "-infinity"))
        *kind = TR_NEG_INFINITE;
    else
        return false;
    return true;
}

bool tr_date_parse(const char *text, size_t len, int64_t *days, enum tr_instant_kind *kind)
{
    *kind = TR_FINITE;
    if (infinite(text, len, kind)) {
        *days = *kind == TR_INFINITE ? TR_DATE_INFINITY : TR_DATE_NEG_INFINITY;
        return true;
    }
    bool bc = cut_bc(text, &len);
    struct reader reader = {text, text + len};
    return read_date(&reader, bc, days) && reader.at == reader.end;
}

bool tr_time_parse(const char *text, size_t len, int64_t *us)
{
    struct reader reader = {text, text + len};
    return read_clock(&reader, 2, us) && reader.at == reader.end && *us <= TR_US_PER_DAY;
}

bool tr_timetz_parse(const char *text, size_t len, int64_t *us)
{
    struct reader reader = {text, text + len};
    int64_t local, east;
    if (!read_clock(&reader, 2, &local) || !read_zone(&reader, &east) || reader.at != reader.end)
        return false;
    int64_t of_day = (local - east) % TR_US_PER_DAY;
    *us = of_day < 0 ? of_day + TR_US_PER_DAY : of_day;
    return true;
}

size_t tr_timestamp_iso_len(const char *text, size_t len)
{
    const size_t whole = sizeof "2020-01-01 12:34:56" - 1;
    int month, day, ignored;
    if (len < whole || !tr_two_digits(text, 99, &ignored) ||
        !tr_two_digits(text + 2, 99, &ignored) || text[4] != '-' ||
        !tr_two_digits(text + 5, 12, &month) || month == 0 || text[7] != '-' ||
        !tr_two_digits(text + 8, 28, &day) || day == 0 || text[10] != ' ' ||
        !tr_two_digits(text + 11, 23, &ignored) || text[13] != ':' ||
        !tr_two_digits(text + 14, 59, &ignored) || text[16] != ':' ||
        !tr_two_digits(text + 17, 59, &ignored))
        return 0;
    size_t at = whole;
    if (at < len && text[at] == '.') {
        for (at++; at < len && text[at] >= '0' && text[at] <= '9';)
            at++;
        size_t digits = at - whole - 1;
        if (digits < 1 || digits > 6 || text[at - 1] == '0')
            return 0;
    }
    return at == len || is_word(text + at, len - at, "+00") ? at : 0;
}

bool tr_timestamp_parse(const char *text, size_t len, struct tr_instant *instant)
{
    instant->kind = TR_FINITE;
    if (infinite(text, len, &instant->kind)) {
        bool future = instant->kind == TR_INFINITE;
        int64_t us = future ? TR_TIMESTAMP_INFINITY_US : TR_TIMESTAMP_NEG_INFINITY_US;
        instant->days = tr_floor_div(us, TR_US_PER_DAY);
        instant->us_of_day = us % TR_US_PER_DAY + (future ? 0 : TR_US_PER_DAY);
        return true;
    }
    bool bc = cut_bc(text, &len);
    struct reader reader = {text, text + len};
    int64_t days, clock, east = 0;
    if (!read_date(&reader, bc, &days) || !take(&reader, ' ') || !read_clock(&reader, 2, &clock))
        return false;
    if (reader.at != reader.end && (!read_zone(&reader, &east) || reader.at != reader.end))
        return false;
    int64_t carry = tr_floor_div(clock - east, TR_US_PER_DAY);
    instant->days = days + carry;
    instant->us_of_day = clock - east - carry * TR_US_PER_DAY;
    return true;
}

int64_t tr_instant_us(const struct tr_instant *instant)
{
    int64_t us;
    if (instant->kind != TR_FINITE)
        return instant->kind == TR_INFINITE ? TR_TIMESTAMP_INFINITY_US
                                            : TR_TIMESTAMP_NEG_INFINITY_US;
    if (__builtin_mul_overflow(instant->days, TR_US_PER_DAY, &us) ||
        __builtin_add_overflow(us, instant->us_of_day, &us))
        return instant->days < 0 ? INT64_MIN : INT64_MAX;
    return us;
}

/* One `N unit` of an interval's date part; false at anything else. */
static bool read_unit(struct reader *reader, struct tr_interval *interval)
{
    struct reader from = *reader;
    int64_t value;
    bool minus = take(reader, '-');
    if (!minus)
        (void)take(reader, '+');
    if (!number(reader, 1, 10, &value) || !take(reader, ' ')) {
        *reader = from;
        return false;
    }
    if (minus)
        value = -value;
    const char *word = reader->at;
    while (reader->at < reader->end && *reader->at >= 'a' && *reader->at <= 'z')
        reader->at++;
    size_t len = (size_t)(reader->at - word);
    if (is_word(word, len, "year") || is_word(word, len, "years"))
        interval->months += value * 12;
    else if (is_word(word, len, "mon") || is_word(word, len, "mons"))
        interval->months += value;
    else if (is_word(word, len, "day") || is_word(word, len, "days"))
        interval->days += value;
    else
        return false;
    return true;
}

bool tr_interval_parse(const char *text, size_t len, struct tr_interval *interval)
{
    *interval = (struct tr_interval){0};
    struct reader reader = {text, text + len};
    bool any = false;
    while (read_unit(&reader, interval)) {
        any = true;
        if (!take(&reader, ' '))
            break;
    }
    if (reader.at == reader.end)
        return any;
    bool minus = take(&reader, '-');
    if (!minus)
        (void)take(&reader, '+');
    if (!read_clock(&reader, 10, &interval->us))
        return false;
    if (minus)
        interval->us = -interval->us;
    return reader.at == reader.end;
}

int64_t tr_interval_us(const struct tr_interval *interval)
{
    int64_t months, days, sum;
    bool over = __builtin_mul_overflow(interval->months, MONTH_US, &months);
    over |= __builtin_mul_overflow(interval->days, TR_US_PER_DAY, &days);
    over |= __builtin_add_overflow(months, days, &sum);
    over |= __builtin_add_overflow(sum, interval->us, &sum);
    if (!over)
        return sum;
    return interval->months < 0 || (interval->months == 0 && interval->days < 0) ? INT64_MIN
                                                                                 : INT64_MAX;
}

/* ---- writing ------------------------------------------------------------------------------------
 */

static void put_two(char *to, int64_t value)
{
    to[0] = (char)('0' + value / 10);
    to[1] = (char)('0' + value % 10);
}

void tr_iso_date(struct tr_outbuf *out, int64_t days)
{
    struct tr_civil civil = tr_civil_from_days(days);
    int64_t year = civil.year < 0 ? -civil.year : civil.year;
    if (civil.year < 0)
        tr_outbuf_byte(out, '-');
    else if (year > 9999)
        tr_outbuf_byte(out, '+');
    if (year > 9999) {
        tr_outbuf_i64(out, year);
    } else {
        char digits[4];
        put_two(digits, year / 100);
        put_two(digits + 2, year % 100);
        tr_outbuf_bytes(out, digits, sizeof digits);
    }
    char rest[6] = {'-', 0, 0, '-', 0, 0};
    put_two(rest + 1, civil.month);
    put_two(rest + 4, civil.day);
    tr_outbuf_bytes(out, rest, sizeof rest);
}

void tr_iso_time(struct tr_outbuf *out, int64_t us, int fraction_digits)
{
    char text[15] = {0, 0, ':', 0, 0, ':', 0, 0, '.', 0, 0, 0, 0, 0, 0};
    int64_t seconds = us / TR_US_PER_SECOND, fraction = us % TR_US_PER_SECOND;
    put_two(text, seconds / 3600);
    put_two(text + 3, seconds / 60 % 60);
    put_two(text + 6, seconds % 60);
    put_two(text + 9, fraction / 10000);
    put_two(text + 11, fraction / 100 % 100);
    put_two(text + 13, fraction % 100);
    size_t len = sizeof text;
    if (fraction_digits < 0) {
        while (len > 9 && text[len - 1] == '0')
            len--;
        if (len == 9)
            len = 8;
    } else {
        len = fraction_digits == 0 ? 8 : 9 + (size_t)(fraction_digits > 6 ? 6 : fraction_digits);
    }
    tr_outbuf_bytes(out, text, len);
}

void tr_iso_timestamp(struct tr_outbuf *out, const struct tr_instant *instant, char separator,
                      int fraction_digits)
{
    tr_iso_date(out, instant->days);
    tr_outbuf_byte(out, separator);
    tr_iso_time(out, instant->us_of_day, fraction_digits);
}

void tr_iso_interval(struct tr_outbuf *out, const struct tr_interval *interval)
{
    bool minus = interval->us < 0;
    uint64_t us = minus ? 0 - (uint64_t)interval->us : (uint64_t)interval->us;
    uint64_t seconds = us / 1000000, fraction = us % 1000000;
    int64_t hours = (int64_t)(seconds / 3600), minutes = (int64_t)(seconds / 60 % 60);
    tr_outbuf_byte(out, 'P');
    tr_outbuf_i64(out, interval->months / 12);
    tr_outbuf_byte(out, 'Y');
    tr_outbuf_i64(out, interval->months % 12);
    tr_outbuf_byte(out, 'M');
    tr_outbuf_i64(out, interval->days);
    tr_outbuf_lit(out, "DT");
    tr_outbuf_i64(out, minus ? -hours : hours);
    tr_outbuf_byte(out, 'H');
    tr_outbuf_i64(out, minus ? -minutes : minutes);
    tr_outbuf_byte(out, 'M');
    if (minus && (seconds % 60 != 0 || fraction != 0))
        tr_outbuf_byte(out, '-');
    tr_outbuf_u64(out, seconds % 60);
    if (fraction != 0) {
        char digits[7] = {'.', 0, 0, 0, 0, 0, 0};
        put_two(digits + 1, (int64_t)(fraction / 10000));
        put_two(digits + 3, (int64_t)(fraction / 100 % 100));
        put_two(digits + 5, (int64_t)(fraction % 100));
        size_t len = sizeof digits;
        while (digits[len - 1] == '0')
            len--;
        tr_outbuf_bytes(out, digits, len);
    }
    tr_outbuf_byte(out, 'S');
}
