#include "transform/times.h"

#include <stdio.h>
#include <strings.h>

/* µs of every day between fit into 64 bits, with room for a zone's offset */
#define YEAR_MAX 294246
#define YEAR_MIN (-290300)

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

static void trim(struct reader *reader)
{
    while (reader->at < reader->end && *reader->at == ' ')
        reader->at++;
    while (reader->end > reader->at && reader->end[-1] == ' ')
        reader->end--;
}

static bool is_word(const struct reader *reader, const char *word)
{
    size_t len = strlen(word);
    return (size_t)(reader->end - reader->at) == len && strncasecmp(reader->at, word, len) == 0;
}

static bool infinite(const struct reader *reader, int64_t *value)
{
    if (is_word(reader, "infinity"))
        *value = INT64_MAX;
    else if (is_word(reader, "-infinity"))
        *value = INT64_MIN;
    else
        return false;
    return true;
}

static bool cut_bc(struct reader *reader)
{
    if (reader->end - reader->at < 3 || memcmp(reader->end - 3, " BC", 3) != 0)
        return false;
    reader->end -= 3;
    return true;
}

static bool read_date(struct reader *reader, bool bc, int64_t *days)
{
    int64_t year, month, day;
    bool minus = take(reader, '-');
    if (!minus)
        (void)take(reader, '+');
    if (!number(reader, 4, 6, &year) || !take(reader, '-') || !number(reader, 1, 2, &month) ||
        !take(reader, '-') || !number(reader, 1, 2, &day))
        return false;
    if (minus)
        year = -year;
    if (bc)
        year = 1 - year;
    if (year > YEAR_MAX || year < YEAR_MIN || month < 1 || month > 12 || day < 1 ||
        day > tr_days_in_month(year, (int)month))
        return false;
    *days = tr_days_from_civil(year, (int)month, (int)day);
    return true;
}

static bool read_clock(struct reader *reader, int64_t *us)
{
    int64_t hours, minutes, seconds = 0, fraction = 0;
    if (!number(reader, 1, 2, &hours) || !take(reader, ':') || !number(reader, 2, 2, &minutes))
        return false;
    if (take(reader, ':')) {
        if (!number(reader, 2, 2, &seconds))
            return false;
        if (take(reader, '.') || take(reader, ',')) {
            const char *from = reader->at;
            if (!number(reader, 1, 6, &fraction))
                return false;
            for (int64_t digits = reader->at - from; digits < 6; digits++)
                fraction *= 10;
            while (reader->at < reader->end && *reader->at >= '0' && *reader->at <= '9')
                reader->at++;
        }
    }
    if (hours > 24 || minutes > 59 || seconds > 60)
        return false;
    *us = ((hours * 60 + minutes) * 60 + seconds) * TX_US_PER_SECOND + fraction;
    return *us <= TX_US_PER_DAY;
}

static bool read_zone(struct reader *reader, struct tx_zone_seen *zone)
{
    *zone = (struct tx_zone_seen){0};
    trim(reader);
    if (reader->at == reader->end)
        return true;
    zone->any = true;
    if (is_word(reader, "z") || is_word(reader, "utc") || is_word(reader, "gmt")) {
        reader->at = reader->end;
        return true;
    }
    bool west = *reader->at == '-';
    int64_t hours, minutes = 0, seconds = 0;
    if ((!take(reader, '+') && !take(reader, '-')) || !number(reader, 2, 2, &hours))
        return false;
    bool colon = take(reader, ':');
    if (reader->at < reader->end && !number(reader, 2, 2, &minutes))
        return false;
    if (colon && take(reader, ':') && !number(reader, 2, 2, &seconds))
        return false;
    if (reader->at != reader->end || hours > 18 || minutes > 59 || seconds > 59)
        return false;
    zone->east_us = ((hours * 60 + minutes) * 60 + seconds) * TX_US_PER_SECOND;
    if (west)
        zone->east_us = -zone->east_us;
    return true;
}

bool tx_date_read(const char *text, size_t len, int64_t *days)
{
    struct reader reader = {text, text + len};
    trim(&reader);
    if (infinite(&reader, days))
        return true;
    bool bc = cut_bc(&reader);
    return read_date(&reader, bc, days) && reader.at == reader.end;
}

bool tx_time_read(const char *text, size_t len, int64_t *us)
{
    struct reader reader = {text, text + len};
    trim(&reader);
    return read_clock(&reader, us) && reader.at == reader.end;
}

bool tx_stamp_read(const char *text, size_t len, int64_t *us, struct tx_zone_seen *zone)
{
    struct reader reader = {text, text + len};
    int64_t days, clock = 0;
    *zone = (struct tx_zone_seen){0};
    trim(&reader);
    if (infinite(&reader, us))
        return true;
    bool bc = cut_bc(&reader);
    if (!read_date(&reader, bc, &days))
        return false;
    if (reader.at < reader.end) {
        if (!take(&reader, 'T') && !take(&reader, 't') && !take(&reader, ' '))
            return false;
        while (take(&reader, ' '))
            ;
        if (!read_clock(&reader, &clock) || !read_zone(&reader, zone))
            return false;
    }
    *us = days * TX_US_PER_DAY + clock;
    return true;
}

/* ---- writing ------------------------------------------------------------------------------------
 */

static char *put_two(char *to, int64_t value)
{
    to[0] = (char)('0' + value / 10);
    to[1] = (char)('0' + value % 10);
    return to + 2;
}

static char *put_date(char *to, const struct tr_civil *civil)
{
    int64_t year = civil->year > 0 ? civil->year : 1 - civil->year;
    if (year > 9999) {
        to += snprintf(to, 24, "%lld", (long long)year);
    } else {
        to = put_two(to, year / 100);
        to = put_two(to, year % 100);
    }
    *to++ = '-';
    to = put_two(to, civil->month);
    *to++ = '-';
    return put_two(to, civil->day);
}

static size_t put_bc(char *buf, char *to, const struct tr_civil *civil)
{
    if (civil->year <= 0) {
        memcpy(to, " BC", 3);
        to += 3;
    }
    return (size_t)(to - buf);
}

static size_t put_infinity(int64_t value, char *buf)
{
    const char *word = value == INT64_MAX ? "infinity" : "-infinity";
    size_t len = strlen(word);
    memcpy(buf, word, len);
    return len;
}

size_t tx_date_write(int64_t days, char *buf)
{
    if (tx_is_infinite(days))
        return put_infinity(days, buf);
    struct tr_civil civil = tr_civil_from_days(days);
    return put_bc(buf, put_date(buf, &civil), &civil);
}

size_t tx_time_write(int64_t us, char *buf)
{
    int64_t seconds = us / TX_US_PER_SECOND, fraction = us % TX_US_PER_SECOND;
    char *to = put_two(buf, seconds / 3600);
    *to++ = ':';
    to = put_two(to, seconds / 60 % 60);
    *to++ = ':';
    to = put_two(to, seconds % 60);
    if (fraction != 0) {
        *to++ = '.';
        to = put_two(to, fraction / 10000);
        to = put_two(to, fraction / 100 % 100);
        to = put_two(to, fraction % 100);
        while (to[-1] == '0')
            to--;
    }
    return (size_t)(to - buf);
}

size_t tx_stamp_write(int64_t us, bool utc, char *buf)
{
    if (tx_is_infinite(us))
        return put_infinity(us, buf);
    int64_t days = tr_floor_div(us, TX_US_PER_DAY);
    struct tr_civil civil = tr_civil_from_days(days);
    char *to = put_date(buf, &civil);
    *to++ = ' ';
    to += tx_time_write(us - days * TX_US_PER_DAY, to);
    if (utc) {
        memcpy(to, "+00", 3);
        to += 3;
    }
    return put_bc(buf, to, &civil);
}

int64_t tx_cut_us(int64_t us, int precision)
{
    static const int64_t units[] = {1000000, 100000, 10000, 1000, 100, 10, 1};
    if (precision < 0 || precision >= 6 || tx_is_infinite(us))
        return us;
    return tr_floor_div(us, units[precision]) * units[precision];
}

/* ---- units --------------------------------------------------------------------------------------
 */

static const struct {
    const char *name;
    enum tx_unit unit;
} unit_names[] = {{"MICROSECOND", TX_MICROSECOND},
                  {"FRAC_SECOND", TX_MICROSECOND},
                  {"MILLISECOND", TX_MILLISECOND},
                  {"SECOND", TX_SECOND},
                  {"MINUTE", TX_MINUTE},
                  {"HOUR", TX_HOUR},
                  {"DAY", TX_DAY},
                  {"WEEK", TX_WEEK},
                  {"MONTH", TX_MONTH},
                  {"QUARTER", TX_QUARTER},
                  {"YEAR", TX_YEAR},
                  {"DOW", TX_DOW},
                  {"DAYOFWEEK", TX_DOW},
                  {"DOY", TX_DOY},
                  {"DAYOFYEAR", TX_DOY},
                  {"EPOCH", TX_EPOCH},
                  {"ISOWEEK", TX_ISO_WEEK}};

enum tx_unit tx_unit_named(const char *name, size_t len)
{
    if (len > 8 && strncasecmp(name, "SQL_TSI_", 8) == 0) {
        name += 8;
        len -= 8;
    }
    for (size_t i = 0; i < sizeof unit_names / sizeof *unit_names; i++) {
        size_t want = strlen(unit_names[i].name);
        bool plural = len == want + 1 && (name[want] == 's' || name[want] == 'S');
        if ((len == want || plural) && strncasecmp(name, unit_names[i].name, want) == 0)
            return unit_names[i].unit;
    }
    return TX_UNIT_NONE;
}

static int64_t unit_us(enum tx_unit unit)
{
    switch (unit) {
    case TX_MICROSECOND:
        return 1;
    case TX_MILLISECOND:
        return 1000;
    case TX_SECOND:
        return TX_US_PER_SECOND;
    case TX_MINUTE:
        return 60 * TX_US_PER_SECOND;
    case TX_HOUR:
        return 3600 * TX_US_PER_SECOND;
    case TX_DAY:
        return TX_US_PER_DAY;
    case TX_WEEK:
        return 7 * TX_US_PER_DAY;
    default:
        return 0;
    }
}

static int unit_months(enum tx_unit unit)
{
    return unit == TX_MONTH ? 1 : unit == TX_QUARTER ? 3 : unit == TX_YEAR ? 12 : 0;
}

static bool add_months(int64_t us, int64_t months, int64_t *out)
{
    int64_t days = tr_floor_div(us, TX_US_PER_DAY), of_day = us - days * TX_US_PER_DAY, index;
    struct tr_civil civil = tr_civil_from_days(days);
    if (__builtin_add_overflow(civil.year * 12 + civil.month - 1, months, &index))
        return false;
    int64_t year = tr_floor_div(index, 12);
    int month = (int)(index - year * 12) + 1;
    if (year > YEAR_MAX || year < YEAR_MIN)
        return false;
    int last = tr_days_in_month(year, month);
    *out = tr_days_from_civil(year, month, civil.day > last ? last : civil.day) * TX_US_PER_DAY +
           of_day;
    return true;
}

bool tx_add(int64_t us, enum tx_unit unit, int64_t count, int64_t *out)
{
    int64_t amount, last = tr_days_from_civil(YEAR_MAX, 12, 31) * TX_US_PER_DAY;
    int64_t first = tr_days_from_civil(YEAR_MIN, 1, 1) * TX_US_PER_DAY;
    if (tx_is_infinite(us)) {
        *out = us;
        return true;
    }
    if (unit_months(unit) != 0)
        return !__builtin_mul_overflow(count, (int64_t)unit_months(unit), &amount) &&
               add_months(us, amount, out);
    return !__builtin_mul_overflow(count, unit_us(unit), &amount) &&
           !__builtin_add_overflow(us, amount, out) && *out <= last && *out >= first;
}

int64_t tx_between(enum tx_unit unit, int64_t a, int64_t b)
{
    int64_t each = unit_us(unit), difference;
    if (each != 0)
        return __builtin_sub_overflow(b, a, &difference) ? (b < a ? INT64_MIN : INT64_MAX) / each
                                                         : difference / each;
    struct tr_civil x = tr_civil_from_days(tr_floor_div(a, TX_US_PER_DAY));
    struct tr_civil y = tr_civil_from_days(tr_floor_div(b, TX_US_PER_DAY));
    int64_t months = (y.year - x.year) * 12 + y.month - x.month, moved;
    /* a month counts when it is whole */
    if (add_months(a, months, &moved)) {
        if (months > 0 && moved > b)
            months--;
        else if (months < 0 && moved < b)
            months++;
    }
    return months / (unit_months(unit) == 0 ? 1 : unit_months(unit));
}

static int64_t iso_week(int64_t days)
{
    int64_t weekday = ((days + 3) % 7 + 7) % 7; /* Monday 0 */
    int64_t thursday = days - weekday + 3;
    struct tr_civil civil = tr_civil_from_days(thursday);
    return (thursday - tr_days_from_civil(civil.year, 1, 1)) / 7 + 1;
}

bool tx_field(enum tx_unit unit, int64_t us, int64_t *out)
{
    int64_t days = tr_floor_div(us, TX_US_PER_DAY), of_day = us - days * TX_US_PER_DAY;
    struct tr_civil civil = tr_civil_from_days(days);
    switch (unit) {
    case TX_YEAR:
        *out = civil.year;
        return true;
    case TX_QUARTER:
        *out = (civil.month - 1) / 3 + 1;
        return true;
    case TX_MONTH:
        *out = civil.month;
        return true;
    case TX_WEEK:
    case TX_ISO_WEEK:
        *out = iso_week(days);
        return true;
    case TX_DAY:
        *out = civil.day;
        return true;
    case TX_DOW: /* Sunday 1, as in Flink */
        *out = ((days + 4) % 7 + 7) % 7 + 1;
        return true;
    case TX_DOY:
        *out = days - tr_days_from_civil(civil.year, 1, 1) + 1;
        return true;
    case TX_HOUR:
        *out = of_day / (3600 * TX_US_PER_SECOND);
        return true;
    case TX_MINUTE:
        *out = of_day / (60 * TX_US_PER_SECOND) % 60;
        return true;
    case TX_SECOND:
        *out = of_day / TX_US_PER_SECOND % 60;
        return true;
    case TX_MILLISECOND:
        *out = of_day / 1000 % 1000;
        return true;
    case TX_MICROSECOND:
        *out = of_day % TX_US_PER_SECOND;
        return true;
    case TX_EPOCH:
        *out = tr_floor_div(us, TX_US_PER_SECOND);
        return true;
    case TX_UNIT_NONE:
        break;
    }
    return false;
}

/* ---- patterns of Java ---------------------------------------------------------------------------
 */

static const char *const month_names[] = {"January",   "February", "March",    "April",
                                          "May",       "June",     "July",     "August",
                                          "September", "October",  "November", "December"};
static const char *const day_names[] = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                        "Thursday", "Friday", "Saturday"};

/* One piece of a pattern: a run of one letter, or literal bytes. */
struct piece {
    char letter; /* 0: literal */
    int count;
    const char *text; /* literal */
    size_t len;
};

static bool next_piece(struct reader *pattern, struct piece *piece, bool *unclosed)
{
    *unclosed = false;
    if (pattern->at == pattern->end)
        return false;
    char c = *pattern->at;
    *piece = (struct piece){0};
    if (c == '\'') {
        const char *from = ++pattern->at;
        if (pattern->at < pattern->end && *pattern->at == '\'') { /* '' is a quote */
            *piece = (struct piece){.text = pattern->at++, .len = 1};
            return true;
        }
        while (pattern->at < pattern->end && *pattern->at != '\'')
            pattern->at++;
        *piece = (struct piece){.text = from, .len = (size_t)(pattern->at - from)};
        *unclosed = pattern->at == pattern->end;
        if (*unclosed)
            return true;
        pattern->at++;
        if (pattern->at < pattern->end &&
            *pattern->at == '\'') /* '' within: a quote, and it goes on */
            piece->len++;
        return true;
    }
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) {
        piece->letter = c;
        while (pattern->at < pattern->end && *pattern->at == c) {
            pattern->at++;
            piece->count++;
        }
        return true;
    }
    *piece = (struct piece){.text = pattern->at++, .len = 1};
    return true;
}

bool tx_pattern_check(const char *pattern, size_t len, const char **why)
{
    struct reader reader = {pattern, pattern + len};
    struct piece piece;
    bool unclosed;
    while (next_piece(&reader, &piece, &unclosed)) {
        if (unclosed) {
            *why = "a quote in it is not closed";
            return false;
        }
        if (piece.letter != 0 && strchr("yuMdHhkmsSEaD", piece.letter) == NULL) {
            *why = "it may hold y M d H h k m s S E a D, other letters only between single quotes";
            return false;
        }
        if (piece.count > 9) {
            *why = "a letter is repeated more than nine times";
            return false;
        }
    }
    return true;
}

struct pen {
    char *at, *end;
    bool full;
};

static void pen_bytes(struct pen *pen, const char *bytes, size_t len)
{
    if ((size_t)(pen->end - pen->at) < len) {
        pen->full = true;
        return;
    }
    memcpy(pen->at, bytes, len);
    pen->at += len;
}

static void pen_number(struct pen *pen, int64_t value, int width)
{
    char text[40];
    int len = snprintf(text, sizeof text, "%s%0*lld", value < 0 ? "-" : "", width,
                       (long long)(value < 0 ? -value : value));
    pen_bytes(pen, text, (size_t)len);
}

static void pen_name(struct pen *pen, const char *name, int count)
{
    pen_bytes(pen, name, count <= 3 ? 3 : strlen(name));
}

static void write_piece(struct pen *pen, const struct piece *piece, int64_t us,
                        const struct tr_civil *civil)
{
    int64_t value = 0, of_day = us - tr_floor_div(us, TX_US_PER_DAY) * TX_US_PER_DAY;
    int64_t hour = of_day / (3600 * TX_US_PER_SECOND);
    switch (piece->letter) {
    case 0:
        pen_bytes(pen, piece->text, piece->len);
        return;
    case 'y':
    case 'u':
        if (piece->count == 2)
            pen_number(pen, ((civil->year % 100) + 100) % 100, 2);
        else
            pen_number(pen, civil->year, piece->count);
        return;
    case 'M':
        if (piece->count >= 3)
            pen_name(pen, month_names[civil->month - 1], piece->count);
        else
            pen_number(pen, civil->month, piece->count);
        return;
    case 'E':
        (void)tx_field(TX_DOW, us, &value);
        pen_name(pen, day_names[value - 1], piece->count);
        return;
    case 'a':
        pen_bytes(pen, hour < 12 ? "AM" : "PM", 2);
        return;
    case 'S': {
        char text[32];
        (void)snprintf(text, sizeof text, "%06lld000", (long long)(of_day % TX_US_PER_SECOND));
        pen_bytes(pen, text, (size_t)(piece->count > 9 ? 9 : piece->count));
        return;
    }
    case 'd':
        value = civil->day;
        break;
    case 'D':
        (void)tx_field(TX_DOY, us, &value);
        break;
    case 'H':
        value = hour;
        break;
    case 'k':
        value = hour == 0 ? 24 : hour;
        break;
    case 'h':
        value = hour % 12 == 0 ? 12 : hour % 12;
        break;
    case 'm':
        value = of_day / (60 * TX_US_PER_SECOND) % 60;
        break;
    case 's':
        value = of_day / TX_US_PER_SECOND % 60;
        break;
    default:
        break;
    }
    pen_number(pen, value, piece->count);
}

bool tx_pattern_write(const char *pattern, size_t len, int64_t us, char *buf, size_t buf_size,
                      size_t *written)
{
    struct reader reader = {pattern, pattern + len};
    struct tr_civil civil = tr_civil_from_days(tr_floor_div(us, TX_US_PER_DAY));
    struct pen pen = {buf, buf + buf_size, false};
    struct piece piece;
    bool unclosed;
    while (!pen.full && next_piece(&reader, &piece, &unclosed))
        write_piece(&pen, &piece, us, &civil);
    *written = (size_t)(pen.at - buf);
    return !pen.full;
}

struct fields {
    int64_t year, month, day, hour, minute, second, fraction_us;
    bool half_day, afternoon, clock12;
};

static bool read_month_name(struct reader *text, int64_t *month)
{
    for (int i = 0; i < 12; i++) {
        size_t full = strlen(month_names[i]), left = (size_t)(text->end - text->at);
        if (left >= full && strncasecmp(text->at, month_names[i], full) == 0)
            text->at += full;
        else if (left >= 3 && strncasecmp(text->at, month_names[i], 3) == 0)
            text->at += 3;
        else
            continue;
        *month = i + 1;
        return true;
    }
    return false;
}

static bool read_fraction(struct reader *text, int count, int64_t *us)
{
    *us = 0;
    for (int i = 0; i < count; i++) {
        if (text->at == text->end || *text->at < '0' || *text->at > '9')
            return false;
        if (i < 6)
            *us = *us * 10 + (*text->at - '0');
        text->at++;
    }
    for (int i = count; i < 6; i++)
        *us *= 10;
    return true;
}

static bool read_piece(struct reader *text, const struct piece *piece, struct fields *fields)
{
    int min = piece->count, max = piece->count == 1 ? 2 : piece->count;
    int64_t ignored;
    switch (piece->letter) {
    case 0:
        if ((size_t)(text->end - text->at) < piece->len ||
            memcmp(text->at, piece->text, piece->len) != 0)
            return false;
        text->at += piece->len;
        return true;
    case 'y':
    case 'u':
        if (piece->count == 2) {
            if (!number(text, 2, 2, &fields->year))
                return false;
            fields->year += 2000;
            return true;
        }
        return number(text, min, piece->count < 4 ? 6 : max, &fields->year);
    case 'M':
        return piece->count >= 3 ? read_month_name(text, &fields->month)
                                 : number(text, min, max, &fields->month);
    case 'd':
        return number(text, min, max, &fields->day);
    case 'h':
        fields->clock12 = true;
        return number(text, min, max, &fields->hour);
    case 'H':
    case 'k':
        return number(text, min, max, &fields->hour);
    case 'm':
        return number(text, min, max, &fields->minute);
    case 's':
        return number(text, min, max, &fields->second);
    case 'S':
        return read_fraction(text, piece->count, &fields->fraction_us);
    case 'a':
        if (text->end - text->at < 2)
            return false;
        fields->half_day = true;
        fields->afternoon = *text->at == 'p' || *text->at == 'P';
        text->at += 2;
        return true;
    case 'E':
        while (text->at < text->end && ((*text->at | 32) >= 'a' && (*text->at | 32) <= 'z'))
            text->at++;
        return true;
    default:
        return number(text, 1, 9, &ignored);
    }
}

bool tx_pattern_read(const char *pattern, size_t len, const char *text, size_t text_len,
                     int64_t *us)
{
    struct reader reader = {pattern, pattern + len}, from = {text, text + text_len};
    struct fields fields = {.year = 1970, .month = 1, .day = 1};
    struct piece piece;
    bool unclosed;
    while (next_piece(&reader, &piece, &unclosed)) {
        if (!read_piece(&from, &piece, &fields))
            return false;
    }
    if (fields.clock12 || fields.half_day) {
        if (fields.hour > 12)
            return false;
        fields.hour = fields.hour % 12 + (fields.afternoon ? 12 : 0);
    }
    if (from.at != from.end || fields.month < 1 || fields.month > 12 || fields.year > YEAR_MAX ||
        fields.day < 1 || fields.day > tr_days_in_month(fields.year, (int)fields.month) ||
        fields.hour > 24 || fields.minute > 59 || fields.second > 59)
        return false;
    *us = tr_days_from_civil(fields.year, (int)fields.month, (int)fields.day) * TX_US_PER_DAY +
          ((fields.hour % 24 * 60 + fields.minute) * 60 + fields.second) * TX_US_PER_SECOND +
          fields.fraction_us;
    return true;
}
