/* Which tables a source may copy as binary tuples (TR_EV_RAW_BINARY): those that every sink which
 * gets them takes in that form. Source and sinks know nothing of each other; the answer goes
 * through here. A target that several tables fill is left to text: the rows of the second table are
 * merged with those of the first by key, which needs values.
 *
 * Thread: the control thread, within the source's start. No writer is open yet. */
#include "pipeline/engine.h"

static enum tr_status branch_takes(struct tr_branch *branch, const struct tr_binary_offer *offer,
                                   bool *takes, struct tr_error *err)
{
    struct tr_target_entry *entry;
    if (tr_branch_targets(branch, offer->table, &entry, err) != TR_OK)
        return TR_FAIL;
    *takes = true;
    for (uint32_t i = 0; i < entry->target_count && *takes; i++) {
        const struct tr_target *target = &entry->targets[i];
        struct tr_binary_offer routed = *offer;
        routed.table = target->table;
        routed.emptied = offer->emptied || branch->reload;
        *takes = branch->ops->takes_binary != NULL && !target->history &&
                 target->source_columns == NULL &&
                 !tr_branch_target_is_shared(branch, &target->table->id);
        if (*takes && branch->ops->takes_binary(branch->sink, &routed, takes, err) != TR_OK)
            return TR_FAIL;
    }
    return TR_OK;
}

enum tr_status tr_engine_offer_binary(void *self, struct tr_binary_offer *offers,
                                      uint32_t offer_count, struct tr_error *err)
{
    struct tr_engine *engine = self;
    struct tr_target_entry *entry;
    /* all routes first: they tell which targets are shared */
    for (unsigned b = 0; b < engine->branch_count; b++) {
        for (uint32_t i = 0; i < offer_count; i++) {
            if (tr_branch_targets(&engine->branches[b], offers[i].table, &entry, err) != TR_OK)
                return TR_FAIL;
        }
    }
    for (uint32_t i = 0; i < offer_count; i++) {
        offers[i].accepted = true;
        for (unsigned b = 0; b < engine->branch_count && offers[i].accepted; b++) {
            if (branch_takes(&engine->branches[b], &offers[i], &offers[i].accepted, err) != TR_OK)
                return TR_FAIL;
        }
    }
    return TR_OK;
}
