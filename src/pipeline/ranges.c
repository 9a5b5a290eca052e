#include "pipeline/ranges.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

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

enum tr_status tr_ranges_add(struct tr_ranges *ranges, int64_t position, struct tr_error *err)
{
    size_t at = seek(ranges, position);
    struct tr_range *items = ranges->items;
    if (at < ranges->count && items[at].first <= position)
        return TR_OK;
    bool joins_left = at > 0 && items[at - 1].last == position - 1;
    bool joins_right = at < ranges->count && items[at].first == position + 1;
    if (joins_left && joins_right) {
        items[at - 1].last = items[at].last;
        memmove(items + at, items + at + 1, (ranges->count - at - 1) * sizeof *items);
        ranges->count--;
        return TR_OK;
    }
    if (joins_left) {
        items[at - 1].last = position;
        return TR_OK;
    }
    if (joins_right) {
        items[at].first = position;
        return TR_OK;
    }
    if (ranges->count == TR_RANGES_MAX)
        return TR_AGAIN;
    if (ranges->count == ranges->capacity) {
        size_t capacity = ranges->capacity == 0 ? 16 : ranges->capacity * 2;
        items = realloc(items, capacity * sizeof *items);
        if (items == NULL)
            return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for the list of late events");
        ranges->items = items;
        ranges->capacity = capacity;
    }
    memmove(items + at + 1, items + at, (ranges->count - at) * sizeof *items);
    items[at] = (struct tr_range){position, position};
    ranges->count++;
    return TR_OK;
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
    *value = strtoll(*at, &end, 10);
    *at = end;
    return true;
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
        if (!ok || range.last < range.first || range.last - range.first > INT32_MAX ||
            (*at != '\0' && *at != ','))
            return tr_fail(err, TR_E_INTERNAL, "a stored list of late events is damaged");
        at += *at == ',';
        for (int64_t position = range.first; position <= range.last; position++) {
            enum tr_status status = tr_ranges_add(ranges, position, err);
            if (status == TR_FAIL)
                return TR_FAIL;
            if (status == TR_AGAIN)
                return tr_fail(err, TR_E_INTERNAL, "a stored list of late events is too long");
        }
    }
    return TR_OK;
}
