/* Table patterns as Flink CDC writes them: comma-separated regular expressions over
 * namespace.schema.table, where an unescaped '.' separates the parts and `\.` is "any character":
 * `shop.public.\.*`, `public.order_[0-9]+`. Two parts are schema.table, one part is a table of any
 * schema. Everything else is a PCRE2 expression anchored at both ends of the part. A plain name is a
 * pattern too. Also used by routes, which refer to captures as $1 …; see tr_table_pattern_expand.
 * Inside (), [] and {} a dot and a comma are part of the expression: `[.]` is a literal dot, and
 * `[app|web]` is one character of a set, as in every regular expression; write (app|web) for a choice.
 * A part that is only `*` means any name. Case matters. An empty list matches nothing. */
#ifndef TR_EVENT_TABLE_PATTERN_H
#define TR_EVENT_TABLE_PATTERN_H

#include "tailrace/event.h"
#include "tailrace/option.h"

struct tr_table_pattern; /* immutable after compile; match is thread-safe */

/* Each list element may itself hold several patterns separated by commas (not inside [], {} or ()).
 * CONFIG error with the element and the offset when one cannot be compiled. */
enum tr_status tr_table_pattern_compile(const struct tr_string_list *elements,
                                        struct tr_table_pattern **out, struct tr_error *err);
bool tr_table_pattern_match(const struct tr_table_pattern *pattern, const struct tr_table_id *id);
/* Replaces $1…$9 in `replacement` by the captures of the (whole-ID) match into buf.
 * TR_AGAIN when id does not match. */
enum tr_status tr_table_pattern_expand(const struct tr_table_pattern *pattern,
                                       const struct tr_table_id *id, const char *replacement,
                                       char *buf, size_t buf_size, struct tr_error *err);
/* Captures that every alternative of the pattern has: $1 … that a replacement may use. */
unsigned tr_table_pattern_captures(const struct tr_table_pattern *pattern);
void tr_table_pattern_free(struct tr_table_pattern *pattern);

#endif
