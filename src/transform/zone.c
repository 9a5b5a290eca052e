/* TZif (RFC 8536): a header and a 32-bit block, then the same with 64-bit times, then a POSIX rule
 * for what comes behind the last transition: magic "TZif", version, 15 unused, counts: isut isstd
 * leap time type char (big-endian, 4 bytes each) time × transition (8 bytes), time × type index
 * (1), type × (offset 4, dst 1, name index 1), …
 *   '\n' rule '\n', for example CET-1CEST,M3.5.0,M10.5.0/3
 * The file is bounds-checked like any other bytes. */
#include "transform/zone.h"

#include <stdio.h>
#include <stdlib.h>

#include "transform/times.h"

#define ZONE_FOLDER "/usr/share/zoneinfo/"
#define ZONE_BYTES_MAX (256u << 10)
#define NAME_MAX_BYTES 128
#define HEADER_BYTES 44u
#define TRANSITIONS_MAX 4096u

struct rule_day {
    char form; /* 'M' month.week.day, 'J' 1..365 without leap days, '0' 0..365 */
    int month, week, day;
    int32_t at_s; /* of the local day */
};
struct tx_zone {
    uint32_t count;       /* transitions */
    int64_t *at_s;        /* UTC, rising */
    int32_t *east_s;      /* from at_s[i] on */
    int32_t first_east_s; /* before the first */
    bool has_rule, has_summer;
    int32_t standard_s, summer_s;
    struct rule_day begin, end;
};

void tx_zone_free(struct tx_zone *zone)
{
    if (zone == NULL)
        return;
    free(zone->at_s);
    free(zone->east_s);
    free(zone);
}

/* ---- the rule behind the last transition --------------------------------------------------------
 */

struct text {
    const char *at, *end;
};

static bool take(struct text *text, char c)
{
    if (text->at == text->end || *text->at != c)
        return false;
    text->at++;
    return true;
}

static bool number(struct text *text, int max, int *value)
{
    const char *from = text->at;
    *value = 0;
    while (text->at < text->end && *text->at >= '0' && *text->at <= '9') {
        *value = *value * 10 + (*text->at++ - '0');
        if (*value > max)
            return false;
    }
    return text->at > from;
}

static bool skip_name(struct text *text)
{
    const char *from = text->at;
    if (take(text, '<')) {
        while (text->at < text->end && *text->at != '>')
            text->at++;
        return take(text, '>');
    }
    while (text->at < text->end && ((*text->at | 32) >= 'a' && (*text->at | 32) <= 'z'))
        text->at++;
    return text->at - from >= 3;
}

static bool read_seconds(struct text *text, int32_t *seconds)
{
    bool minus = take(text, '-');
    int hours, minutes = 0, rest = 0;
    if (!minus)
        (void)take(text, '+');
    if (!number(text, 167, &hours) || (take(text, ':') && !number(text, 59, &minutes)) ||
        (take(text, ':') && !number(text, 59, &rest)))
        return false;
    *seconds = (hours * 60 + minutes) * 60 + rest;
    if (minus)
        *seconds = -*seconds;
    return true;
}

static bool read_rule_day(struct text *text, struct rule_day *day)
{
    *day = (struct rule_day){.form = '0', .at_s = 7200};
    if (!take(text, ','))
        return false;
    if (take(text, 'M')) {
        day->form = 'M';
        if (!number(text, 12, &day->month) || !take(text, '.') || !number(text, 5, &day->week) ||
            !take(text, '.') || !number(text, 6, &day->day) || day->month < 1 || day->week < 1)
            return false;
    } else {
        if (take(text, 'J'))
            day->form = 'J';
        if (!number(text, 365, &day->day))
            return false;
    }
    return !take(text, '/') || read_seconds(text, &day->at_s);
}

static bool read_rule(struct tx_zone *zone, const char *data, size_t len)
{
    struct text text = {data, data + len};
    int32_t west;
    if (!skip_name(&text) || !read_seconds(&text, &west))
        return false;
    zone->standard_s = -west;
    zone->has_rule = true;
    if (text.at == text.end)
        return true;
    zone->summer_s = zone->standard_s + 3600;
    if (!skip_name(&text))
        return false;
    if (text.at < text.end && *text.at != ',') {
        if (!read_seconds(&text, &west))
            return false;
        zone->summer_s = -west;
    }
    zone->has_summer = true;
    return read_rule_day(&text, &zone->begin) && read_rule_day(&text, &zone->end) &&
           text.at == text.end;
}

/* Seconds of the wall clock since 1970 at which the rule's day comes in a year. */
static int64_t rule_at(const struct rule_day *day, int64_t year)
{
    int64_t days;
    if (day->form == 'M') {
        int64_t first = tr_days_from_civil(year, day->month, 1);
        int weekday = (int)(((first + 4) % 7 + 7) % 7);
        int of_month = (day->day - weekday + 7) % 7 + (day->week - 1) * 7;
        while (of_month >= tr_days_in_month(year, day->month))
            of_month -= 7;
        days = first + of_month;
    } else {
        bool leap = tr_days_in_month(year, 2) == 29;
        int of_year = day->form == 'J' ? day->day - 1 + (leap && day->day >= 60) : day->day;
        days = tr_days_from_civil(year, 1, 1) + of_year;
    }
    return days * 86400 + day->at_s;
}

static int32_t rule_east(const struct tx_zone *zone, int64_t utc_s)
{
    if (!zone->has_summer)
        return zone->standard_s;
    int64_t year = tr_civil_from_days(tr_floor_div(utc_s + zone->standard_s, 86400)).year;
    int64_t begin = rule_at(&zone->begin, year) - zone->standard_s;
    int64_t end = rule_at(&zone->end, year) - zone->summer_s;
    bool summer = begin < end ? utc_s >= begin && utc_s < end : utc_s >= begin || utc_s < end;
    return summer ? zone->summer_s : zone->standard_s;
}

/* ---- the file -----------------------------------------------------------------------------------
 */

static uint32_t u32(const unsigned char *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

struct header {
    uint32_t isut, isstd, leap, time, type, chars;
    char version;
};

static bool read_header(const char *data, size_t len, struct header *header)
{
    const unsigned char *at = (const unsigned char *)data;
    if (len < HEADER_BYTES || memcmp(data, "TZif", 4) != 0)
        return false;
    *header = (struct header){u32(at + 20), u32(at + 24), u32(at + 28), u32(at + 32),
                              u32(at + 36), u32(at + 40), data[4]};
    return header->time <= TRANSITIONS_MAX && header->type > 0 && header->type <= 256 &&
           header->chars <= 65536 && header->leap <= 4096 && header->isut <= 256 &&
           header->isstd <= 256;
}

static size_t block_bytes(const struct header *header, size_t time_bytes)
{
    return header->time * (time_bytes + 1) + header->type * 6 + header->chars +
           header->leap * (time_bytes + 4) + header->isstd + header->isut;
}

static bool read_block(struct tx_zone *zone, const struct header *header, const char *data)
{
    const unsigned char *times = (const unsigned char *)data;
    const unsigned char *indexes = times + (size_t)header->time * 8;
    const unsigned char *types = indexes + header->time;
    zone->count = header->time;
    zone->at_s = calloc(header->time + 1, sizeof *zone->at_s);
    zone->east_s = calloc(header->time + 1, sizeof *zone->east_s);
    if (zone->at_s == NULL || zone->east_s == NULL)
        return false;
    zone->first_east_s = (int32_t)u32(types);
    for (uint32_t i = 0; i < header->time; i++) {
        zone->at_s[i] = (int64_t)((uint64_t)u32(times + i * 8) << 32 | u32(times + i * 8 + 4));
        if (indexes[i] >= header->type || (i > 0 && zone->at_s[i] <= zone->at_s[i - 1]))
            return false;
        zone->east_s[i] = (int32_t)u32(types + indexes[i] * 6u);
        if (zone->east_s[i] > 93600 || zone->east_s[i] < -93600)
            return false;
    }
    return zone->first_east_s <= 93600 && zone->first_east_s >= -93600;
}

struct tx_zone *tx_zone_parse(const char *data, size_t len)
{
    struct header header;
    struct tx_zone *zone = calloc(1, sizeof *zone);
    if (zone == NULL || !read_header(data, len, &header) || header.version < '2')
        goto fail;
    size_t skip = HEADER_BYTES + block_bytes(&header, 4);
    if (skip > len || !read_header(data + skip, len - skip, &header))
        goto fail;
    skip += HEADER_BYTES;
    size_t body = block_bytes(&header, 8);
    if (body > len - skip || !read_block(zone, &header, data + skip))
        goto fail;
    skip += body;
    if (len - skip > 2 && data[skip] == '\n' && data[len - 1] == '\n' &&
        !read_rule(zone, data + skip + 1, len - skip - 2))
        goto fail;
    return zone;
fail:
    tx_zone_free(zone);
    return NULL;
}

/* ---- opening ------------------------------------------------------------------------------------
 */

static bool is_fixed(const char *name, int64_t *east_us)
{
    char text[64];
    int64_t ignored;
    struct tx_zone_seen seen;
    if (strncmp(name, "UTC", 3) == 0 || strncmp(name, "GMT", 3) == 0)
        name += 3;
    if (*name == '\0' || strcmp(name, "Z") == 0) {
        *east_us = 0;
        return true;
    }
    if (*name != '+' && *name != '-')
        return false;
    bool short_hour = name[1] != '\0' && (name[2] == '\0' || name[2] == ':');
    (void)snprintf(text, sizeof text, "1970-01-01 00:00%c%s%.20s", name[0], short_hour ? "0" : "",
                   name + 1);
    if (!tx_stamp_read(text, strlen(text), &ignored, &seen) || !seen.any)
        return false;
    *east_us = seen.east_us;
    return true;
}

static bool is_name(const char *name)
{
    size_t len = strlen(name);
    return len > 0 && len < NAME_MAX_BYTES && name[0] != '/' && strstr(name, "..") == NULL &&
           strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_+-/") ==
               len;
}

static struct tx_zone *read_file(const char *name)
{
    char path[sizeof ZONE_FOLDER + NAME_MAX_BYTES];
    (void)snprintf(path, sizeof path, "%s%s", ZONE_FOLDER, name);
    FILE *file = fopen(path, "rbe");
    char *data = malloc(ZONE_BYTES_MAX);
    struct tx_zone *zone = NULL;
    if (file != NULL && data != NULL) {
        size_t len = fread(data, 1, ZONE_BYTES_MAX, file);
        if (len < ZONE_BYTES_MAX && ferror(file) == 0)
            zone = tx_zone_parse(data, len);
    }
    free(data);
    if (file != NULL)
        (void)fclose(file);
    return zone;
}

enum tr_status tx_zone_open(const char *name, struct tx_zone **out, struct tr_error *err)
{
    int64_t east_us;
    struct tx_zone *zone = NULL;
    if (name == NULL)
        name = "";
    if (is_fixed(name, &east_us)) {
        zone = calloc(1, sizeof *zone);
        if (zone == NULL)
            return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for a time zone");
        zone->first_east_s = (int32_t)(east_us / TX_US_PER_SECOND);
    } else if (is_name(name)) {
        zone = read_file(name);
    }
    if (zone == NULL) {
        (void)tr_fail(err, TR_E_TRANSFORM_TIME_ZONE, "there is no time zone %.100s", name);
        return tr_hint(
            err, "Write an offset such as +02:00, or a name such as Europe/Berlin; names need "
                 "the tzdata package (" ZONE_FOLDER ").");
    }
    *out = zone;
    return TR_OK;
}

/* ---- conversion ---------------------------------------------------------------------------------
 */

static int32_t east_at(const struct tx_zone *zone, int64_t utc_s)
{
    if (zone->count == 0)
        return zone->has_rule ? rule_east(zone, utc_s) : zone->first_east_s;
    if (utc_s < zone->at_s[0])
        return zone->first_east_s;
    if (utc_s >= zone->at_s[zone->count - 1] && zone->has_rule)
        return rule_east(zone, utc_s);
    uint32_t low = 0, high = zone->count;
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (zone->at_s[middle] <= utc_s)
            low = middle;
        else
            high = middle;
    }
    return zone->east_s[low];
}

int64_t tx_zone_to_wall(const struct tx_zone *zone, int64_t us)
{
    if (tx_is_infinite(us))
        return us;
    return us + east_at(zone, tr_floor_div(us, TX_US_PER_SECOND)) * TX_US_PER_SECOND;
}

/* The two offsets that may hold are those a day before and a day after. */
int64_t tx_zone_from_wall(const struct tx_zone *zone, int64_t us)
{
    if (tx_is_infinite(us))
        return us;
    int64_t wall_s = tr_floor_div(us, TX_US_PER_SECOND);
    int32_t before = east_at(zone, wall_s - 86400), after = east_at(zone, wall_s + 86400);
    if (east_at(zone, wall_s - before) == before || before == after)
        return us - before * TX_US_PER_SECOND;
    if (east_at(zone, wall_s - after) == after)
        return us - after * TX_US_PER_SECOND;
    return us - before * TX_US_PER_SECOND; /* in a gap */
}
