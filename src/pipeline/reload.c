/* After `tailrace drop`: the target still has the rows of the run before. They are emptied, all at
 * once and durably, before the first chunk is copied. A crash in between finds the reload mark
 * again. Control thread, before the writer thread starts. */
#include <stdlib.h>

#include "base/log.h"
#include "event/batch.h"
#include "pipeline/engine.h"

#define RELOAD_FLUSH_MS 600000
#define RELOAD_FLUSH_TRIES 60

struct reload {
    struct tr_branch *branch;
    struct tr_error *err;
    enum tr_status status;
    unsigned table_count;
};

static enum tr_status empty_target(struct tr_branch *branch, const struct tr_table *target,
                                   struct tr_error *err)
{
    const struct tr_schema_change create = {.kind = TR_CHANGE_CREATE_TABLE};
    struct tr_event event = {.op = TR_OP_SCHEMA,
                             .seq = branch->seq_next++,
                             .table = target,
                             .change = &create,
                             .flags = TR_EV_SNAPSHOT};
    if (branch->ops->apply(branch->writer, &event, err) != TR_OK)
        return TR_FAIL;
    event = (struct tr_event){.op = TR_OP_TRUNCATE,
                              .seq = branch->seq_next++,
                              .table = target,
                              .flags = TR_EV_TRUNCATE_FOR_RELOAD | TR_EV_SNAPSHOT};
    return branch->ops->write(branch->writer, &event, 1, err);
}

static void reload_table(void *context, const struct tr_table *table)
{
    struct reload *reload = context;
    struct tr_target_entry *entry;
    if (reload->status != TR_OK)
        return;
    reload->status = tr_branch_targets(reload->branch, table, &entry, reload->err);
    for (uint32_t i = 0; reload->status == TR_OK && i < entry->target_count; i++) {
        reload->status = empty_target(reload->branch, entry->targets[i].table, reload->err);
        reload->table_count++;
    }
}

enum tr_status tr_branch_reload(struct tr_branch *branch, struct tr_error *err)
{
    struct tr_engine *engine = branch->engine;
    const struct tr_scan_ops *scan = engine->file->source_ops->scan;
    struct reload reload = {.branch = branch, .err = err, .status = TR_OK};
    if (!(branch->ops->caps & TR_CAP_TRUNCATE) || scan == NULL || scan->list == NULL)
        return TR_OK;
    enum tr_status status = scan->list(engine->source, reload_table, &reload, err);
    if (status == TR_FAIL || reload.status == TR_FAIL)
        return TR_FAIL;
    struct tr_event commit = {
        .op = TR_OP_COMMIT, .seq = branch->seq_next++, .flags = TR_EV_SNAPSHOT};
    branch->seq_commit = commit.seq;
    if (branch->ops->write(branch->writer, &commit, 1, err) != TR_OK)
        return TR_FAIL;
    status = TR_AGAIN;
    for (unsigned i = 0; status == TR_AGAIN && i < RELOAD_FLUSH_TRIES; i++)
        status = branch->ops->flush(branch->writer, RELOAD_FLUSH_MS / RELOAD_FLUSH_TRIES, err);
    if (status == TR_AGAIN)
        return tr_fail(err, TR_E_DRAIN_TIMEOUT, "the target's tables were not emptied in time");
    if (status == TR_OK)
        tr_log(TR_LOG_INFO, "emptied the target's tables, to copy them again", "sink=%s tables=%u",
               branch->ops->name, reload.table_count);
    return status;
}
