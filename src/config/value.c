/* Option values: pure functions from text to numbers, choices and lists. */
#include "config/value.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define KEY_BYTES_MAX 80u /* longer keys are compared by their first bytes */

struct unit {
    const char *name;
    int64_t factor;
};
static const struct unit size_units[] = {
    {"b", 1},         {"byte", 1},       {"bytes", 1},       {"k", 1 << 10},
    {"kb", 1 << 10},  {"kib", 1 << 10},  {"m", 1 << 20},     {"mb", 1 << 20},
    {"mib", 1 << 20}, {"g", 1 << 30},    {"gb", 1 << 30},    {"gib", 1 << 30},
    {"t", 1LL << 40}, {"tb", 1LL << 40}, {"tib", 1LL << 40}, {NULL, 0},
};
static const struct unit duration_units[] = {
    {"ms", 1},           {"milli", 1},       {"millis", 1},      {"millisecond", 1},
    {"milliseconds", 1}, {"s", 1000},        {"sec", 1000},      {"secs", 1000},
    {"second", 1000},    {"seconds", 1000},  {"m", 60000},       {"min", 60000},
    {"mins", 60000},     {"minute", 60000},  {"minutes", 60000}, {"h", 3600000},
    {"hour", 3600000},   {"hours", 3600000}, {"d", 86400000},    {"day", 86400000},
    {"days", 86400000},  {NULL, 0},
};

const char *tr_value_bool(const char *text, bool *out)
{
    bool yes = strcasecmp(text, "true") == 0;
    if (!yes && strcasecmp(text, "false") != 0)
        return "true or false";
    *out = yes;
    return NULL;
}

/* Digits at *text with an optional sign; *text is moved behind them. false: none, or too large. */
static bool read_digits(const char **text, int64_t *out)
{
    const char *at = *text;
    bool negative = *at == '-';
    int64_t value = 0;
    if (*at == '-' || *at == '+')
        at++;
    if (*at < '0' || *at > '9')
        return false;
    for (; *at >= '0' && *at <= '9'; at++)
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_sub_overflow(value, *at - '0', &value)) /* negative numbers reach further */
            return false;
    if (!negative && __builtin_sub_overflow((int64_t)0, value, &value))
        return false;
    *out = value;
    *text = at;
    return true;
}

const char *tr_value_int(const char *text, int64_t *out)
{
    int64_t value;
    if (!read_digits(&text, &value) || *text != '\0')
        return "a whole number";
    *out = value;
    return NULL;
}

static bool read_united(const char *text, const struct unit *units, int64_t bare, int64_t *out)
{
    int64_t value;
    if (*text == '-' || !read_digits(&text, &value))
        return false;
    while (*text == ' ')
        text++;
    int64_t factor = *text == '\0' ? bare : 0;
    for (const struct unit *unit = units; factor == 0 && unit->name != NULL; unit++)
        if (strcasecmp(text, unit->name) == 0)
            factor = unit->factor;
    return factor != 0 && !__builtin_mul_overflow(value, factor, out);
}

const char *tr_value_size(const char *text, int64_t *bytes)
{
    return read_united(text, size_units, 1, bytes) ? NULL : "a size such as 512KB, 64MB or 1GB";
}

const char *tr_value_duration(const char *text, int64_t *milliseconds)
{
    return read_united(text, duration_units, 1000, milliseconds)
               ? NULL
               : "a duration such as 100ms, 5s, 2min, 1h or 1d";
}

static char fold(char c)
{
    if (c == '_')
        return '-';
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

int tr_value_enum(const char *text, const char *const *values)
{
    for (int i = 0; values[i] != NULL; i++) {
        size_t at = 0;
        while (text[at] != '\0' && fold(text[at]) == fold(values[i][at]))
            at++;
        if (text[at] == '\0' && values[i][at] == '\0')
            return i;
    }
    return -1;
}

const char *tr_value_format(enum tr_option_type type, int64_t value, char *buf, size_t buf_size)
{
    static const struct unit sizes[] = {
        {"TB", 1LL << 40}, {"GB", 1 << 30}, {"MB", 1 << 20}, {"KB", 1 << 10}, {"", 1}};
    static const struct unit durations[] = {
        {"d", 86400000}, {"h", 3600000}, {"min", 60000}, {"s", 1000}, {"ms", 1}};
    const struct unit *unit = type == TR_OPT_SIZE ? sizes : durations;
    if (type != TR_OPT_SIZE && type != TR_OPT_DURATION) {
        (void)snprintf(buf, buf_size, "%" PRId64, value);
        return buf;
    }
    if (value == 0) {
        (void)snprintf(buf, buf_size, "0%s", type == TR_OPT_SIZE ? "" : "ms");
        return buf;
    }
    while (value % unit->factor != 0)
        unit++;
    (void)snprintf(buf, buf_size, "%" PRId64 "%s", value / unit->factor, unit->name);
    return buf;
}

const char *tr_value_type_name(enum tr_option_type type)
{
    static const char *const names[] = {
        [TR_OPT_STRING] = "text", [TR_OPT_SECRET] = "secret", [TR_OPT_BOOL] = "true or false",
        [TR_OPT_INT] = "number",  [TR_OPT_SIZE] = "size",     [TR_OPT_DURATION] = "duration",
        [TR_OPT_ENUM] = "choice", [TR_OPT_LIST] = "list",     [TR_OPT_MAP] = "key and value",
    };
    return names[type];
}

bool tr_value_split(struct tr_pool *pool, const char *text, struct tr_string_list *out)
{
    size_t count = 1;
    for (const char *p = text; *p != '\0'; p++)
        count += *p == ',';
    const char **items = tr_pool_array(pool, count, sizeof *items);
    if (items == NULL)
        return false;
    size_t used = 0;
    for (const char *at = text;;) {
        size_t len = strcspn(at, ",");
        const char *start = at, *end = at + len;
        while (start < end && (*start == ' ' || *start == '\t' || *start == '\n'))
            start++;
        while (end > start && (end[-1] == ' ' || end[-1] == '\t' || end[-1] == '\n'))
            end--;
        if (end > start) {
            items[used] = tr_pool_strndup(pool, start, (size_t)(end - start));
            if (items[used++] == NULL)
                return false;
        }
        if (at[len] == '\0')
            break;
        at += len + 1;
    }
    *out = (struct tr_string_list){items, used};
    return true;
}

static unsigned min_of(unsigned a, unsigned b) { return a < b ? a : b; }

unsigned tr_value_distance(const char *a, const char *b)
{
    unsigned rows[3][KEY_BYTES_MAX + 1];
    unsigned *before = rows[0], *last = rows[1], *now = rows[2];
    unsigned a_len = (unsigned)strnlen(a, KEY_BYTES_MAX),
             b_len = (unsigned)strnlen(b, KEY_BYTES_MAX);
    memset(rows, 0, sizeof rows);
    for (unsigned j = 0; j <= b_len; j++)
        last[j] = j;
    for (unsigned i = 1; i <= a_len; i++) {
        now[0] = i;
        for (unsigned j = 1; j <= b_len; j++) {
            char x = fold(a[i - 1]), y = fold(b[j - 1]);
            unsigned best = last[j - 1] + (x == y ? 0 : 1);
            best = min_of(best, min_of(last[j], now[j - 1]) + 1);
            if (i > 1 && j > 1 && x == fold(b[j - 2]) && fold(a[i - 2]) == y)
                best = min_of(best, before[j - 2] + 1);
            now[j] = best;
        }
        unsigned *free_row = before;
        before = last;
        last = now;
        now = free_row;
    }
    return last[b_len];
}
