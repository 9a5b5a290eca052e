/* A plan: one rule (or none) for one schema version of one table: the result's table, and where each of its
 * cells comes from. */
#ifndef TR_TRANSFORM_PLAN_H
#define TR_TRANSFORM_PLAN_H

#include "transform/program.h"
#include "transform/transform.h"

struct tx_rule {
    const struct tr_transform_rule *spec;
    struct tx_origin projection, filter, keys; /* text NULL: not given */
};
void tx_rule_init(struct tx_rule *rule, const struct tr_transform_rule *spec);
/* Syntax and functions, as far as no table is needed. */
enum tr_status tx_rule_check(const struct tx_rule *rule, struct tr_error *err) TR_WARN_UNUSED;

struct tx_cell_from {
    bool computed;
    uint32_t index; /* of the source's column, or of the program's output */
};
struct tx_plan {
    struct tx_plan *next; /* in its bucket */
    uint64_t used;
    const struct tr_table *source; /* reference held: nothing else gets its address */
    struct tr_table *result;       /* reference held */
    const struct tx_rule *rule;    /* NULL: no rule */
    bool passes;                   /* rows are left as they are */
    uint16_t count;
    struct tx_cell_from *from;
    struct tr_cell *computed; /* working memory: the program's results */
    struct tx_program *program; /* NULL: nothing is computed or filtered */
    bool same_key;         /* the key is made of the source's key columns, all of them, as they are */
    bool key_of_source_key; /* the key depends on nothing but the source's key */
};
enum tr_status tx_plan_new(struct tx_env *env, const struct tx_rule *rule, const struct tr_table *source,
                           struct tx_plan **out, struct tr_error *err) TR_WARN_UNUSED;
void tx_plan_free(struct tx_plan *plan);

#endif
