/* Schema changes: what of a change reaches a sink, by schema.change.behavior and the sink's
 * include/exclude lists.
 *
 *   exception   any change but a table's first sight stops the pipeline
 *   evolve      every change is applied as it is; a failure stops the pipeline
 *   try_evolve  as evolve, but a change that the target cannot take is logged, and from then on the
 *               rows carry only the columns that the target has
 *   lenient     nothing is taken away from the target: a dropped column stays and becomes nullable,
 * a renamed one stays too and the new name is added; tables are not dropped ignore      nothing is
 * applied; rows carry only the columns that the target has A change kind that the sink's list
 * leaves out is treated as under `ignore`. Tables that share a target never take columns or rows
 * away from each other: for them drop, rename and truncate are handled as under lenient. */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "event/batch.h"
#include "pipeline/engine.h"

#define ALTER_ITEMS_MAX 8192
#define REFUSAL_FLUSH_MS 5000

static unsigned item_bit(enum tr_alter_kind kind)
{
    switch (kind) {
    case TR_ALTER_ADD_COLUMN:
        return TR_CHG_ADD_COLUMN;
    case TR_ALTER_DROP_COLUMN:
        return TR_CHG_DROP_COLUMN;
    case TR_ALTER_RENAME_COLUMN:
        return TR_CHG_RENAME_COLUMN;
    case TR_ALTER_COLUMN_TYPE:
    case TR_ALTER_COLUMN_NULLABLE:
    case TR_ALTER_COLUMN_DEFAULT:
    case TR_ALTER_KEY:
        return TR_CHG_ALTER_COLUMN_TYPE;
    }
    return 0;
}

/* Applies one event to the sink; under try_evolve a schema failure is told through *refused. */
static enum tr_status apply(struct tr_branch *branch, const struct tr_event *event, bool *refused,
                            struct tr_error *err)
{
    struct tr_event numbered = *event;
    numbered.seq = branch->seq_next++;
    char name[300], message[700];
    enum tr_status status = branch->ops->apply(branch->writer, &numbered, err);
    if (status != TR_FAIL)
        return TR_OK;
    if (branch->engine->file->options.schema_behavior != TR_SCHEMA_TRY_EVOLVE ||
        (err->class != TR_SCHEMA && err->class != TR_DATA))
        return TR_FAIL;
    *refused = true;
    tr_log(TR_LOG_WARN, "the target did not take a schema change; it keeps its columns",
           "code=%s table=%s error=%s", tr_error_info(err->code)->name,
           tr_table_id_format(&event->table->id, name, sizeof name),
           tr_log_quote(err->message, message, sizeof message));
    return TR_OK;
}

static bool is_lenient(const struct tr_branch *branch, const struct tr_table *target)
{
    return branch->engine->file->options.schema_behavior == TR_SCHEMA_LENIENT ||
           tr_branch_target_is_shared(branch, &target->id);
}

/* A change as the target gets it. `columns` describe the table after the change for the sink: the
 * new columns, and behind them old ones that stay. `target` is what the target's table has,
 * followed item by item; where it lacks a column of the source, rows are projected onto it (a pin).
 */
struct narrowing {
    const struct tr_table *before, *after; /* the source's columns under the target's ID */
    struct tr_column *columns;
    uint16_t column_count;
    struct tr_alter_item *items;
    uint32_t item_count;
    struct tr_column *target;
    uint16_t target_count;
};

static int target_column(const struct narrowing *narrowing, const char *name)
{
    for (int i = 0; i < narrowing->target_count; i++) {
        if (strcmp(narrowing->target[i].name, name) == 0)
            return i;
    }
    return -1;
}

static void target_add(struct narrowing *narrowing, const struct tr_column *column)
{
    if (target_column(narrowing, column->name) < 0)
        narrowing->target[narrowing->target_count++] = *column;
}

static void add_item(struct narrowing *narrowing, enum tr_alter_kind kind, uint16_t before_index,
                     uint16_t after_index)
{
    narrowing->items[narrowing->item_count++] =
        (struct tr_alter_item){kind, before_index, after_index};
}

/* The old column stays in the target and must take rows that have no value for it. */
static void keep_column(struct narrowing *narrowing, uint16_t index)
{
    const struct tr_column *column = &narrowing->before->columns[index];
    struct tr_column *kept = &narrowing->columns[narrowing->column_count];
    *kept = *column;
    kept->nullable = true;
    kept->key_index = 0;
    if (!column->nullable)
        add_item(narrowing, TR_ALTER_COLUMN_NULLABLE, index, narrowing->column_count);
    narrowing->column_count++;
}

static void narrow_drop(struct narrowing *narrowing, struct tr_alter_item item, bool keep)
{
    const char *name = narrowing->before->columns[item.before_index].name;
    int at = target_column(narrowing, name), same_name = tr_table_column(narrowing->after, name);
    if (at < 0)
        return;
    if (keep &&
        same_name >= 0) { /* dropped and made anew under its name: the target's changes type */
        add_item(narrowing, TR_ALTER_COLUMN_TYPE, item.before_index, (uint16_t)same_name);
    } else if (keep) {
        keep_column(narrowing, item.before_index);
    } else {
        add_item(narrowing, item.kind, item.before_index, item.after_index);
        narrowing->target[at] = narrowing->target[--narrowing->target_count];
    }
}

static void narrow_rename(struct narrowing *narrowing, struct tr_alter_item item, bool keep)
{
    const char *name = narrowing->before->columns[item.before_index].name;
    const struct tr_column *renamed = &narrowing->after->columns[item.after_index];
    int at = target_column(narrowing, name);
    if (!keep && at >= 0) {
        add_item(narrowing, item.kind, item.before_index, item.after_index);
        narrowing->target[at] = *renamed;
        return;
    }
    if (at >= 0 && tr_table_column(narrowing->after, name) < 0)
        keep_column(narrowing, item.before_index);
    add_item(narrowing, TR_ALTER_ADD_COLUMN, 0, item.after_index);
    target_add(narrowing, renamed);
}

static void narrow(struct narrowing *narrowing, struct tr_alter_item item, bool included,
                   bool lenient)
{
    switch (item.kind) {
    case TR_ALTER_DROP_COLUMN:
        narrow_drop(narrowing, item, lenient || !included);
        return;
    case TR_ALTER_RENAME_COLUMN:
        if (included)
            narrow_rename(narrowing, item, lenient);
        return;
    case TR_ALTER_ADD_COLUMN:
        /* one that has the name already was told as a change of type, or comes again after a crash
         */
        if (included &&
            (!lenient ||
             target_column(narrowing, narrowing->after->columns[item.after_index].name) < 0)) {
            add_item(narrowing, item.kind, item.before_index, item.after_index);
            target_add(narrowing, &narrowing->after->columns[item.after_index]);
        }
        return;
    case TR_ALTER_KEY:
        if (included)
            add_item(narrowing, item.kind, item.before_index, item.after_index);
        return;
    default:
        if (included &&
            target_column(narrowing, narrowing->after->columns[item.after_index].name) >= 0)
            add_item(narrowing, item.kind, item.before_index, item.after_index);
        return;
    }
}

/* Rows carry from now on what both sides have. */
static enum tr_status settle_pin(struct tr_branch *branch, const struct narrowing *narrowing,
                                 struct tr_error *err)
{
    const struct tr_table *after = narrowing->after;
    for (uint16_t i = 0; i < after->column_count; i++) {
        if (target_column(narrowing, after->columns[i].name) < 0)
            return tr_branch_pin(branch, &after->id, narrowing->target, narrowing->target_count,
                                 err);
    }
    if (tr_branch_pinned(branch, &after->id) != NULL)
        tr_branch_unpin(branch, &after->id);
    return TR_OK;
}

static enum tr_status alter(struct tr_branch *branch, const struct tr_event *event,
                            const struct tr_table_id *id, bool history, struct tr_error *err)
{
    const struct tr_schema_change *change = event->change;
    enum tr_status status = TR_FAIL;
    bool refused = false, lenient;
    struct tr_table *before = NULL, *after = NULL, *merged = NULL, *known = NULL;
    struct narrowing narrowing = {0};
    if (change->item_count > ALTER_ITEMS_MAX)
        return tr_fail(err, TR_E_INTERNAL, "a schema change has %u items", change->item_count);
    if (tr_branch_dress(branch, change->before, id, history, &before, err) != TR_OK ||
        tr_branch_dress(branch, event->table, id, history, &after, err) != TR_OK)
        goto cleanup;
    const struct tr_table *pinned = tr_branch_pinned(branch, id);
    known = tr_table_ref(pinned == NULL ? before : pinned);
    lenient = is_lenient(branch, after);
    size_t most = (size_t)before->column_count + after->column_count + known->column_count + 1;
    narrowing = (struct narrowing){
        .before = before,
        .after = after,
        .columns = malloc(most * sizeof(struct tr_column)),
        .column_count = after->column_count,
        .items = malloc(((size_t)change->item_count * 2 + 1) * sizeof(struct tr_alter_item)),
        .target = malloc(most * sizeof(struct tr_column)),
        .target_count = known->column_count};
    if (narrowing.columns == NULL || narrowing.items == NULL || narrowing.target == NULL) {
        (void)tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for a schema change");
        goto cleanup;
    }
    memcpy(narrowing.columns, after->columns, after->column_count * sizeof(struct tr_column));
    memcpy(narrowing.target, known->columns, known->column_count * sizeof(struct tr_column));
    for (uint32_t i = 0; i < change->item_count; i++) {
        if (history && (change->items[i].kind == TR_ALTER_KEY ||
                        change->items[i].kind == TR_ALTER_COLUMN_NULLABLE))
            continue; /* it has no key, and every column takes NULL */
        narrow(&narrowing, change->items[i],
               (branch->config->include_changes & item_bit(change->items[i].kind)) != 0, lenient);
    }
    struct tr_table spec;
    tr_table_spec(after, &spec);
    spec.columns = narrowing.columns;
    spec.column_count = narrowing.column_count;
    if (tr_table_new(&spec, &merged, err) != TR_OK)
        goto cleanup;
    struct tr_schema_change narrowed = *change;
    narrowed.before = before;
    narrowed.item_count = narrowing.item_count;
    narrowed.items = narrowing.items;
    struct tr_event routed = *event;
    routed.table = merged;
    routed.change = &narrowed;
    if (narrowed.item_count > 0 && apply(branch, &routed, &refused, err) != TR_OK)
        goto cleanup;
    if (refused) { /* all of it was left out: the target is as it was */
        memcpy(narrowing.target, known->columns, known->column_count * sizeof(struct tr_column));
        narrowing.target_count = known->column_count;
    }
    status = settle_pin(branch, &narrowing, err);
cleanup:
    free(narrowing.columns);
    free(narrowing.items);
    free(narrowing.target);
    tr_table_unref(before);
    tr_table_unref(after);
    tr_table_unref(merged);
    tr_table_unref(known);
    return status;
}

/* ignore: the target stays as it is. */
static enum tr_status leave_as_is(struct tr_branch *branch, const struct tr_table *before,
                                  const struct tr_table_id *id, struct tr_error *err)
{
    if (tr_branch_pinned(branch, id) != NULL)
        return TR_OK;
    return tr_branch_pin(branch, id, before->columns, before->column_count, err);
}

/* What came before the change is delivered first: it is not the reason to stop. */
static enum tr_status refuse(struct tr_branch *branch, const struct tr_event *event,
                             struct tr_error *err)
{
    char name[300];
    if (branch->seq_commit > branch->seq_durable &&
        branch->ops->flush(branch->writer, REFUSAL_FLUSH_MS, err) == TR_FAIL)
        return TR_FAIL;
    (void)tr_fail(err, TR_E_SCHEMA_CHANGE_REFUSED,
                  "the schema of %s changed and schema.change.behavior is exception",
                  tr_table_id_format(&event->table->id, name, sizeof name));
    return tr_hint(err, "apply the change to the target and start again, or set "
                        "pipeline.schema.change.behavior: evolve");
}

static enum tr_status one_target(struct tr_branch *branch, const struct tr_event *event,
                                 const struct tr_table *before, const struct tr_target *target,
                                 struct tr_error *err)
{
    const struct tr_schema_change *change = event->change;
    int behavior = branch->engine->file->options.schema_behavior;
    unsigned include = branch->config->include_changes;
    bool refused = false;
    struct tr_event routed = *event;
    struct tr_schema_change copy = *change;
    routed.table = target->table;
    copy.before = before;
    routed.change = &copy;
    switch (change->kind) {
    case TR_CHANGE_CREATE_TABLE:
        if (!(include & TR_CHG_CREATE_TABLE))
            return TR_OK;
        return apply(branch, &routed, &refused, err);
    case TR_CHANGE_ALTER_TABLE:
        if (behavior == TR_SCHEMA_EXCEPTION)
            return refuse(branch, event, err);
        if (behavior == TR_SCHEMA_IGNORE)
            return leave_as_is(branch, change->before, &target->table->id, err);
        return alter(branch, event, &target->table->id, target->history, err);
    case TR_CHANGE_RENAME_TABLE:
        if (before == NULL || tr_table_id_equal(&before->id, &target->table->id))
            return TR_OK;
        if (behavior == TR_SCHEMA_EXCEPTION)
            return refuse(branch, event, err);
        if (behavior == TR_SCHEMA_IGNORE || is_lenient(branch, target->table) ||
            tr_branch_target_is_shared(branch, &before->id)) {
            copy = (struct tr_schema_change){.kind = TR_CHANGE_CREATE_TABLE};
            return apply(branch, &routed, &refused, err);
        }
        return apply(branch, &routed, &refused, err);
    case TR_CHANGE_DROP_TABLE:
        if (behavior == TR_SCHEMA_EXCEPTION)
            return refuse(branch, event, err);
        if (behavior == TR_SCHEMA_IGNORE || is_lenient(branch, target->table) ||
            !(include & TR_CHG_DROP_TABLE))
            return TR_OK;
        return apply(branch, &routed, &refused, err);
    }
    return TR_OK;
}

enum tr_status tr_branch_schema(struct tr_branch *branch, const struct tr_event *event,
                                struct tr_error *err)
{
    struct tr_target_entry *entry, *before_entry = NULL;
    if (event->change->before != NULL &&
        tr_branch_targets(branch, event->change->before, &before_entry, err) != TR_OK)
        return TR_FAIL;
    if (tr_branch_targets(branch, event->table, &entry, err) != TR_OK)
        return TR_FAIL;
    /* applying may empty the cache of targets (a pin): hold what this loop uses */
    uint32_t target_count = entry->target_count;
    struct tr_target targets[TR_TARGETS_MAX];
    const struct tr_table *befores[TR_TARGETS_MAX] = {0};
    for (uint32_t i = 0; i < target_count; i++) {
        targets[i] = entry->targets[i];
        (void)tr_table_ref(targets[i].table);
        if (before_entry != NULL && i < before_entry->target_count)
            befores[i] = tr_table_ref(before_entry->targets[i].table);
    }
    enum tr_status status = TR_OK;
    for (uint32_t i = 0; i < target_count; i++) {
        if (status == TR_OK)
            status = one_target(branch, event, befores[i], &targets[i], err);
        if (targets[i].stats != NULL && event->change->kind != TR_CHANGE_CREATE_TABLE)
            atomic_fetch_add_explicit(&targets[i].stats->schema_changes, 1, memory_order_relaxed);
        tr_table_unref(targets[i].table);
        tr_table_unref(befores[i]);
    }
    return status;
}
