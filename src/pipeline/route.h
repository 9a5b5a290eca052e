/* Routes: source table ID → the sink's table IDs. Pure; immutable after tr_router_new, any thread.
 */
#ifndef TR_PIPELINE_ROUTE_H
#define TR_PIPELINE_ROUTE_H

#include "config/pipeline_file.h"

#define TR_ROUTE_TARGETS_MAX 16
#define TR_ROUTE_TEXT_BYTES_MAX 512 /* of one target ID */

struct tr_router;

struct tr_route_result {
    unsigned count;
    bool matched; /* by a rule; else the one target is the source's own ID */
    struct tr_table_id ids[TR_ROUTE_TARGETS_MAX]; /* point into text or into the source's ID */
    char text[TR_ROUTE_TARGETS_MAX][TR_ROUTE_TEXT_BYTES_MAX];
};

/* route_mode: 0 ALL_MATCH, every matching rule gives a target; 1 FIRST_MATCH. `rules` must outlive
 * it. */
enum tr_status tr_router_new(const struct tr_route_rule *rules, size_t rule_count, int route_mode,
                             struct tr_router **out, struct tr_error *err) TR_WARN_UNUSED;
/* sink-table is `table`, `schema.table` or `namespace.schema.table`; absent parts are the source's.
 * $1 … $9 are the captures of source-table; the replace-symbol stands for the source's table name.
 * Equal targets of several rules count once. `source` must outlive the result. */
enum tr_status tr_router_apply(const struct tr_router *router, const struct tr_table_id *source,
                               struct tr_route_result *result, struct tr_error *err) TR_WARN_UNUSED;
void tr_router_free(struct tr_router *router); /* NULL is fine */

#endif
