#include "pipeline/ranges.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Lists of several sinks are put together, and one may have been stored long before another. */
#define PARSED_MAX ((size_t)16 * TR_RANGES_MAX)

void tr_ranges_free(struct tr_ranges *ranges)
{
    free(ranges->items);
    *ranges = (struct tr_ranges){0};
}

/* Index of the first range that ends at or behind the position. */
static size_t seek(const struct tr_ranges *ranges, int64_t position)
{
    size_t low = 0, high = ranges->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (ranges->items[middle].last < position)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

bool tr_ranges_has(const struct tr_ranges *ranges, int64_t position)
{
    size_t at = seek(ranges, position);
    return at < ranges->count && ranges->items[at].first <= position;
}

/* What touches or overlaps it becomes one with it. TR_AGAIN: it would be one more than `most`. */
static enum tr_status add(struct tr_ranges *ranges, struct tr_range range, size_t most,
                          struct tr_error *err)
{
    size_t from = seek(ranges, range.first > INT64_MIN ? range.first - 1 : range.first), to = from;
    struct tr_range *items = ranges->items;
    while (to < ranges->count && (range.last == INT64_MAX || items[to].first <= range.last + 1))
        to++;
    if (to > from) {
        if (range.first < items[from].first)
            items[from].first = range.first;
        items[from].last = range.last > items[to - 1].last ? range.last : items[to - 1].last;
        memmove(items + from + 1, items + to, (ranges->count - to) * sizeof *items);
        ranges->count -= to - from - 1;
        return TR_OK;
    }
    if (ranges->count >= most)
        return TR_AGAIN;
    if (ranges->count == ranges->capacity) {
        size_t capacity = ranges->capacity == 0 ? 16 : ranges->capacity * 2;
        items = realloc(items, capacity * sizeof *items);
        if (items == NULL)
            return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for the list of late events");
        ranges->items = items;
        ranges->capacity = capacity;
    }
    memmove(items + from + 1, items + from, (ranges->count - from) * sizeof *items);
    items[from] = range;
    ranges->count++;
    return TR_OK;
}

enum tr_status tr_ranges_add(struct tr_ranges *ranges, int64_t position, struct tr_error *err)
{
    return add(ranges, (struct tr_range){position, position}, TR_RANGES_MAX, err);
}

bool tr_ranges_trim(struct tr_ranges *ranges, int64_t position)
{
    size_t gone = seek(ranges, position);
    bool changed = gone > 0;
    if (changed)
        memmove(ranges->items, ranges->items + gone,
                (ranges->count - gone) * sizeof *ranges->items);
    ranges->count -= gone;
    if (ranges->count > 0 && ranges->items[0].first < position) {
        ranges->items[0].first = position;
        changed = true;
    }
    return changed;
}

void tr_ranges_print(const struct tr_ranges *ranges, struct tr_outbuf *out)
{
    for (size_t i = 0; i < ranges->count; i++) {
        const struct tr_range *range = &ranges->items[i];
        tr_outbuf_printf(out, "%s%" PRId64, i > 0 ? "," : "", range->first);
        if (range->last > range->first)
            tr_outbuf_printf(out, "-%" PRId64, range->last);
    }
}

static bool read_number(const char **at, int64_t *value)
{
    char *end;
    if (**at < '0' || **at > '9')
        return false;
    errno = 0;
    *value = strtoll(*at, &end, 10);
    *at = end;
    return errno == 0;
}

enum tr_status tr_ranges_parse(struct tr_ranges *ranges, const char *text, struct tr_error *err)
{
    const char *at = text;
    while (*at != '\0') {
        struct tr_range range;
        bool ok = read_number(&at, &range.first);
        range.last = range.first;
        if (ok && *at == '-') {
            at++;
            ok = read_number(&at, &range.last);
        }
        if (!ok || range.last < range.first || (*at != '\0' && *at != ','))
            return tr_fail(err, TR_E_INTERNAL, "a stored list of late events is damaged");
        at += *at == ',';
        enum tr_status status = add(ranges, range, PARSED_MAX, err);
        if (status == TR_FAIL)
            return TR_FAIL;
        if (status == TR_AGAIN)
            return tr_fail(err, TR_E_INTERNAL, "a stored list of late events is too long");
    }
    return TR_OK;
}
