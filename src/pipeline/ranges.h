/* A set of positions of one split, as ascending ranges: the late events that are not acknowledged yet.
 * Its text form is a mark's value: "17,20-25". Not thread-safe. */
#ifndef TR_PIPELINE_RANGES_H
#define TR_PIPELINE_RANGES_H

#include "base/outbuf.h"
#include "tailrace/event.h"

struct tr_range {
    int64_t first, last;
};
struct tr_ranges {
    struct tr_range *items; /* ascending, with gaps between them */
    size_t count, capacity;
};
#define TR_RANGES_MAX 20000 /* their text stays below TR_MARK_VALUE_BYTES_MAX */

void tr_ranges_free(struct tr_ranges *ranges);
/* OUT_OF_MEMORY; TR_AGAIN: there are TR_RANGES_MAX already. */
enum tr_status tr_ranges_add(struct tr_ranges *ranges, int64_t position,
                             struct tr_error *err) TR_WARN_UNUSED;
bool tr_ranges_has(const struct tr_ranges *ranges, int64_t position);
/* Forgets everything below `position`; true when something was. */
bool tr_ranges_trim(struct tr_ranges *ranges, int64_t position);
void tr_ranges_print(const struct tr_ranges *ranges, struct tr_outbuf *out);
/* Adds what the text says. INTERNAL when tr_ranges_print cannot have written it. */
enum tr_status tr_ranges_parse(struct tr_ranges *ranges, const char *text,
                               struct tr_error *err) TR_WARN_UNUSED;

#endif
