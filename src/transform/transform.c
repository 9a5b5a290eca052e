/* Batches: every row event is projected and filtered in place, by the plan of its table's version.
 *
 * A filter turns changes into others, so that the target holds exactly the rows that pass:
 *     before   after    becomes
 *     passes   passes   the update
 *     refused  passes   a create
 *     passes   refused  a delete of the before image
 *     refused  refused  nothing
 *     unknown  passes   the update (the row may be in the target)
 *     unknown  refused  a delete (likewise)
 * "Unknown" is a before image that is not there, or lacks a column of the filter.
 *
 * An event that fails is left as it was until the caller has seen it. Plans are kept by the address
 * of the table, which a reference holds in place. */
#include "transform/transform.h"

#include <stdlib.h>

#include "event/dead_letter.h"
#include "event/schema_diff.h"
#include "transform/plan.h"

#define PLANS_MAX 2048u /* table versions in work; the one not used for longest goes */
#define BUCKETS 512u

struct tr_transform {
    struct tx_env *env;
    struct tx_rule *rules;
    size_t rule_count;
    struct tx_plan *buckets[BUCKETS];
    uint32_t plan_count;
    uint64_t clock;
    struct tx_plan *last;
};

/* One batch in work. */
struct work {
    struct tr_transform *transform;
    struct tr_batch *batch;
    int64_t now_us;
    struct tr_error *err;
};

enum tr_status tr_transform_new(const struct tr_transform_rule *rules, size_t rule_count,
                                const char *time_zone, struct tr_transform **out,
                                struct tr_error *err)
{
    struct tr_transform *transform = calloc(1, sizeof *transform);
    if (transform != NULL)
        transform->rules = calloc(rule_count + 1, sizeof *transform->rules);
    if (transform == NULL || transform->rules == NULL) {
        free(transform);
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for transforms");
    }
    transform->rule_count = rule_count;
    enum tr_status status = tx_env_new(time_zone, &transform->env, err);
    for (size_t i = 0; i < rule_count && status == TR_OK; i++) {
        tx_rule_init(&transform->rules[i], &rules[i]);
        status = tx_rule_check(&transform->rules[i], err);
    }
    if (status != TR_OK) {
        tr_transform_free(transform);
        return TR_FAIL;
    }
    *out = transform;
    return TR_OK;
}

void tr_transform_free(struct tr_transform *transform)
{
    if (transform == NULL)
        return;
    for (uint32_t i = 0; i < BUCKETS; i++) {
        while (transform->buckets[i] != NULL) {
            struct tx_plan *plan = transform->buckets[i];
            transform->buckets[i] = plan->next;
            tx_plan_free(plan);
        }
    }
    tx_env_free(transform->env);
    free(transform->rules);
    free(transform);
}

bool tr_transform_is_empty(const struct tr_transform *transform)
{
    return transform->rule_count == 0;
}

/* ---- plans --------------------------------------------------------------------------------------
 */

static uint32_t bucket_of(const struct tr_table *table)
{
    uint64_t address = (uint64_t)(uintptr_t)table;
    return (uint32_t)((address >> 4) * UINT64_C(0x9E3779B97F4A7C15) >> 55) % BUCKETS;
}

static void drop_oldest(struct tr_transform *transform)
{
    struct tx_plan **oldest = NULL;
    for (uint32_t i = 0; i < BUCKETS; i++) {
        for (struct tx_plan **link = &transform->buckets[i]; *link != NULL; link = &(*link)->next) {
            if (oldest == NULL || (*link)->used < (*oldest)->used)
                oldest = link;
        }
    }
    struct tx_plan *plan = *oldest;
    *oldest = plan->next;
    if (transform->last == plan)
        transform->last = NULL;
    tx_plan_free(plan);
    transform->plan_count--;
}

static const struct tx_rule *rule_of(const struct tr_transform *transform,
                                     const struct tr_table *table)
{
    for (size_t i = 0; i < transform->rule_count; i++) {
        const struct tr_transform_rule *spec = transform->rules[i].spec;
        if (spec->source != NULL && tr_table_pattern_match(spec->source, &table->id))
            return &transform->rules[i];
    }
    return NULL;
}

/* Valid until the second plan after it is asked for. */
static struct tx_plan *plan_of(struct tr_transform *transform, const struct tr_table *table,
                               struct tr_error *err)
{
    if (transform->last != NULL && transform->last->source == table)
        return transform->last;
    uint32_t bucket = bucket_of(table);
    struct tx_plan *plan = transform->buckets[bucket];
    while (plan != NULL && plan->source != table)
        plan = plan->next;
    if (plan == NULL) {
        if (tx_plan_new(transform->env, rule_of(transform, table), table, &plan, err) != TR_OK)
            return NULL;
        if (transform->plan_count == PLANS_MAX)
            drop_oldest(transform);
        plan->next = transform->buckets[bucket];
        transform->buckets[bucket] = plan;
        transform->plan_count++;
    }
    plan->used = ++transform->clock;
    transform->last = plan;
    return plan;
}

enum tr_status tr_transform_table(struct tr_transform *transform, const struct tr_table *source,
                                  struct tr_table **out, struct tr_error *err)
{
    struct tx_plan *plan = plan_of(transform, source, err);
    if (plan == NULL)
        return TR_FAIL;
    *out = tr_table_ref(plan->result);
    return TR_OK;
}

/* ---- images -------------------------------------------------------------------------------------
 */

static enum tr_status no_memory(struct work *work)
{
    return tr_fail(work->err, TR_E_OUT_OF_MEMORY, "no memory for a transformed row");
}

struct image {
    enum tx_pass pass;
    struct tr_cell *cells; /* NULL: refused, or there is no such image */
};

/* One image of the event by the plan; before: what UNCHANGED cells of an update's after image were.
 */
static enum tr_status project(struct work *work, struct tx_plan *plan, const struct tr_event *event,
                              uint8_t op, const struct tr_cell *cells, const struct tr_cell *before,
                              bool filter, struct image *image)
{
    *image = (struct image){.pass = TX_PASSED};
    if (plan->program != NULL) {
        const struct tx_row row = {event, op, cells, before, work->now_us};
        if (tx_program_run(plan->program, &row, filter, &work->batch->arena, plan->computed,
                           &image->pass, work->err) != TR_OK)
            return TR_FAIL;
        if (image->pass == TX_REFUSED)
            return TR_OK;
    }
    struct tr_cell *out = tr_batch_cells(work->batch, plan->count);
    if (out == NULL)
        return no_memory(work);
    for (uint16_t i = 0; i < plan->count; i++)
        out[i] = plan->from[i].computed ? plan->computed[plan->from[i].index]
                                        : cells[plan->from[i].index];
    image->cells = out;
    return TR_OK;
}

static bool has_value(const struct tr_cell *cell)
{
    return cell->state == TR_CELL_TEXT || cell->state == TR_CELL_BINARY;
}

static const char *key_name(const struct tx_plan *plan, uint16_t place)
{
    return plan->result->columns[plan->result->key_columns[place]].name;
}

static enum tr_status lacks_key(struct work *work, const struct tx_plan *plan, uint16_t place,
                                const char *which)
{
    (void)tr_fail(work->err, TR_E_TRANSFORM_IMAGE,
                  "the %s image does not hold column %.100s of the transform's key", which,
                  key_name(plan, place));
    return tr_hint(work->err,
                   "Make the source send whole rows (PostgreSQL: ALTER TABLE … REPLICA IDENTITY "
                   "FULL), or keep the source's key.");
}

/* Every part of the key is there and not NULL. With the source's own key the source answers for it.
 */
static enum tr_status check_key(struct work *work, const struct tx_plan *plan,
                                const struct tr_cell *cells, const char *which)
{
    if (plan->same_key)
        return TR_OK;
    for (uint16_t k = 0; k < plan->result->key_count; k++) {
        const struct tr_cell *cell = &cells[plan->result->key_columns[k]];
        if (cell->state == TR_CELL_NULL)
            return tr_fail(work->err, TR_E_TRANSFORM_IMAGE,
                           "column %.100s of the transform's key is NULL in the %s image",
                           key_name(plan, k), which);
        if (!has_value(cell))
            return lacks_key(work, plan, k, which);
    }
    return TR_OK;
}

static bool same_cell(const struct tr_cell *a, const struct tr_cell *b)
{
    if (!has_value(a) || !has_value(b))
        return a->state == b->state;
    return a->len == b->len && memcmp(a->ptr, b->ptr, a->len) == 0;
}

/* A key-only image stays one: what constants and metadata would add says nothing of the row before.
 */
static void keep_key_only(const struct tx_plan *plan, struct tr_event *event, struct tr_cell *cells)
{
    if (!(event->flags & TR_EV_BEFORE_KEY_ONLY))
        return;
    for (uint16_t i = 0; i < plan->count; i++) {
        if (plan->result->columns[i].key_index == 0)
            cells[i] = (struct tr_cell){.state = TR_CELL_ABSENT};
    }
}

static void clear_flags(struct tr_event *event, unsigned flags)
{
    event->flags = (uint16_t)(event->flags & ~flags);
}

/* ---- changes ------------------------------------------------------------------------------------
 */

/* Does the image hold the result's whole key? */
static bool has_key(const struct tx_plan *plan, const struct tr_cell *cells)
{
    for (uint16_t k = 0; k < plan->result->key_count; k++) {
        if (!has_value(&cells[plan->result->key_columns[k]]))
            return false;
    }
    return true;
}

/* The key of an update's both images, and the flags that follow from it. A message whose before image
 * is null or partial says that there was a row, not that its key was another one: the after image names
 * it. A database's log leaves a before image out only when its own key stayed, which says nothing of
 * another key. */
static enum tr_status finish_update(struct work *work, const struct tx_plan *plan,
                                    struct tr_event *event, struct tr_cell *before,
                                    struct tr_cell *after)
{
    bool changed = false, is_message = event->message != NULL;
    if (is_message && before != NULL && !has_key(plan, before))
        before = NULL;
    for (uint16_t k = 0; k < plan->result->key_count; k++) {
        uint16_t column = plan->result->key_columns[k];
        if (after[column].state == TR_CELL_UNCHANGED && before != NULL &&
            has_value(&before[column]))
            after[column] = before[column];
        changed = changed || (before != NULL && !same_cell(&before[column], &after[column]));
    }
    if (check_key(work, plan, after, "after") != TR_OK ||
        (before != NULL && check_key(work, plan, before, "before") != TR_OK))
        return TR_FAIL;
    if (before == NULL && !is_message && !plan->key_of_source_key && plan->result->key_count > 0)
        return lacks_key(work, plan, 0, "before");
    if (before != NULL)
        keep_key_only(plan, event, before);
    clear_flags(event, TR_EV_KEY_CHANGED | (before == NULL ? TR_EV_BEFORE_KEY_ONLY : 0u));
    if (changed)
        event->flags |= TR_EV_KEY_CHANGED;
    event->before = before;
    event->after = after;
    return TR_OK;
}

/* A row that comes into the filter: nothing of it is in the target, so nothing can stay unchanged
 * there. */
static enum tr_status finish_create(struct work *work, const struct tx_plan *plan,
                                    struct tr_event *event, struct tr_cell *after)
{
    for (uint16_t i = 0; i < plan->count; i++) {
        if (after[i].state != TR_CELL_UNCHANGED)
            continue;
        const struct tx_cell_from *from = &plan->from[i];
        bool known = !from->computed && event->before != NULL &&
                     event->before[from->index].state != TR_CELL_ABSENT &&
                     event->before[from->index].state != TR_CELL_UNCHANGED;
        if (!known)
            return tr_fail(
                work->err, TR_E_TRANSFORM_IMAGE,
                "the row comes into the filter, and the source did not send column %.100s",
                plan->result->columns[i].name);
        after[i] = event->before[from->index];
    }
    if (check_key(work, plan, after, "after") != TR_OK)
        return TR_FAIL;
    event->op = TR_OP_CREATE;
    event->before = NULL;
    event->after = after;
    clear_flags(event, TR_EV_KEY_CHANGED | TR_EV_BEFORE_KEY_ONLY);
    return TR_OK;
}

static bool is_soft(const struct tx_plan *plan)
{
    return plan->rule != NULL && plan->rule->spec->soft_delete;
}

/* A delete, or with SOFT_DELETE the last image as an upsert: what it does not hold stays in the
 * target. */
static enum tr_status finish_delete(struct work *work, const struct tx_plan *plan,
                                    struct tr_event *event, struct tr_cell *before)
{
    if (check_key(work, plan, before, "before") != TR_OK)
        return TR_FAIL;
    clear_flags(event, TR_EV_KEY_CHANGED);
    if (!is_soft(plan)) {
        keep_key_only(plan, event, before);
        event->op = TR_OP_DELETE;
        event->before = before;
        event->after = NULL;
        return TR_OK;
    }
    for (uint16_t i = 0; i < plan->count; i++) {
        if (before[i].state == TR_CELL_ABSENT)
            before[i].state = TR_CELL_UNCHANGED;
    }
    clear_flags(event, TR_EV_BEFORE_KEY_ONLY);
    event->op = plan->result->key_count > 0 ? TR_OP_UPDATE : TR_OP_CREATE;
    event->before = NULL;
    event->after = before;
    return TR_OK;
}

/* The columns that show the event's kind show what it became. */
static enum tr_status project_again(struct work *work, struct tx_plan *plan,
                                    const struct tr_event *event, uint8_t op,
                                    const struct tr_cell *cells, const struct tr_cell *before,
                                    struct image *image)
{
    if (image->cells != NULL &&
        (op == event->op || plan->program == NULL || !plan->program->uses_op))
        return TR_OK;
    return project(work, plan, event, op, cells, before, false, image);
}

/* The before image of an update that has none: its key is that of the after image. */
static enum tr_status key_image(struct work *work, const struct tx_plan *plan,
                                const struct tr_event *event, const struct tr_cell **out)
{
    uint16_t count = plan->source->column_count;
    struct tr_cell *cells = tr_batch_cells(work->batch, count);
    if (cells == NULL)
        return no_memory(work);
    for (uint16_t i = 0; i < count; i++)
        cells[i] = plan->source->columns[i].key_index > 0
                       ? event->after[i]
                       : (struct tr_cell){.state = TR_CELL_ABSENT};
    *out = cells;
    return TR_OK;
}

static enum tr_status leave_filter(struct work *work, struct tx_plan *plan, struct tr_event *event,
                                   struct image *before)
{
    const struct tr_cell *cells = event->before;
    if (cells == NULL) {
        if (plan->source->key_count == 0)
            return tr_fail(work->err, TR_E_TRANSFORM_IMAGE,
                           "the row leaves the filter, and the table has no key to find it by");
        if (key_image(work, plan, event, &cells) != TR_OK)
            return TR_FAIL;
    }
    if (project_again(work, plan, event, TR_OP_DELETE, cells, NULL, before) != TR_OK)
        return TR_FAIL;
    if (event->before == NULL)
        event->flags |= TR_EV_BEFORE_KEY_ONLY;
    return finish_delete(work, plan, event, before->cells);
}

/* TR_AGAIN: the event goes. */
static enum tr_status transform_update(struct work *work, struct tx_plan *plan,
                                       struct tr_event *event)
{
    bool filter = plan->program != NULL && plan->program->filter.sql != NULL;
    struct image before = {.pass = filter ? TX_UNKNOWN : TX_PASSED}, after;
    if (event->before != NULL &&
        project(work, plan, event, event->op, event->before, NULL, true, &before) != TR_OK)
        return TR_FAIL;
    if (project(work, plan, event, event->op, event->after, event->before, true, &after) != TR_OK)
        return TR_FAIL;
    if (after.pass == TX_UNKNOWN)
        return tr_fail(work->err, TR_E_TRANSFORM_IMAGE,
                       "the filter reads a column that the source did not send with this update");
    if (after.pass == TX_REFUSED && before.pass == TX_REFUSED)
        return TR_AGAIN;
    if (after.pass == TX_REFUSED)
        return leave_filter(work, plan, event, &before);
    if (before.pass == TX_REFUSED) {
        if (project_again(work, plan, event, TR_OP_CREATE, event->after, event->before, &after) !=
            TR_OK)
            return TR_FAIL;
        return finish_create(work, plan, event, after.cells);
    }
    return finish_update(work, plan, event, before.cells, after.cells);
}

static enum tr_status transform_delete(struct work *work, struct tx_plan *plan,
                                       struct tr_event *event)
{
    struct image before;
    if (event->before == NULL)
        return tr_fail(work->err, TR_E_TRANSFORM_IMAGE, "a delete without a before image");
    if (project(work, plan, event, event->op, event->before, NULL, true, &before) != TR_OK)
        return TR_FAIL;
    return before.pass == TX_REFUSED ? TR_AGAIN : finish_delete(work, plan, event, before.cells);
}

static enum tr_status transform_create(struct work *work, struct tx_plan *plan,
                                       struct tr_event *event)
{
    struct image after;
    if (event->after == NULL)
        return tr_fail(work->err, TR_E_INTERNAL, "a raw row came to a transform");
    if (project(work, plan, event, event->op, event->after, NULL, true, &after) != TR_OK)
        return TR_FAIL;
    if (after.pass == TX_REFUSED)
        return TR_AGAIN;
    if (after.pass == TX_UNKNOWN)
        return tr_fail(work->err, TR_E_TRANSFORM_IMAGE,
                       "the filter reads a column that the row does not hold");
    if (check_key(work, plan, after.cells, "after") != TR_OK)
        return TR_FAIL;
    event->after = after.cells;
    event->raw = (struct tr_slice){NULL, 0};
    return TR_OK;
}

/* TR_AGAIN: the event goes. On TR_FAIL it is as it was. */
static enum tr_status transform_row(struct work *work, struct tr_event *event)
{
    struct tx_plan *plan = plan_of(work->transform, event->table, work->err);
    if (plan == NULL)
        return TR_FAIL;
    if (plan->passes)
        return TR_OK;
    if (tr_batch_table(work->batch, plan->result, work->err) != TR_OK)
        return TR_FAIL;
    struct tr_event changed = *event;
    enum tr_status status = TR_OK;
    switch (event->op) {
    case TR_OP_UPDATE:
        status = transform_update(work, plan, &changed);
        break;
    case TR_OP_DELETE:
        status = transform_delete(work, plan, &changed);
        break;
    case TR_OP_CREATE:
    case TR_OP_READ:
        status = transform_create(work, plan, &changed);
        break;
    default: /* TRUNCATE */
        break;
    }
    if (status == TR_OK) {
        changed.table = plan->result;
        *event = changed;
    }
    return status;
}

/* ---- schema changes -----------------------------------------------------------------------------
 */

/* Nothing that rows or sinks see of the table differs. */
static bool same_nature(const struct tr_table *a, const struct tr_table *b)
{
    return tr_table_id_equal(&a->id, &b->id) && a->replica_identity == b->replica_identity &&
           a->key_is_primary == b->key_is_primary && a->version_column == b->version_column;
}

static enum tr_status hold_change(struct work *work, const struct tr_schema_change *change,
                                  const struct tr_table *table, struct tr_event *event)
{
    struct tr_schema_change *copy =
        tr_arena_alloc(&work->batch->arena, sizeof *copy, _Alignof(struct tr_schema_change));
    if (copy == NULL)
        return no_memory(work);
    *copy = *change;
    event->change = copy;
    event->table = table;
    if (copy->before != NULL && tr_batch_table(work->batch, copy->before, work->err) != TR_OK)
        return TR_FAIL;
    return tr_batch_table(work->batch, table, work->err);
}

/* Room for one event before events[index]. */
static enum tr_status insert_before(struct work *work, uint32_t index)
{
    struct tr_batch *batch = work->batch;
    if (batch->event_count == TR_BATCH_EVENTS_MAX)
        return tr_fail(work->err, TR_E_INTERNAL, "a schema change did not fit into its batch");
    memmove(&batch->events[index + 1], &batch->events[index],
            (batch->event_count - index) * sizeof *batch->events);
    batch->event_count++;
    return TR_OK;
}

/* A rename by which other columns show (another rule matches the new name): first the name, then
 * the columns. */
static enum tr_status rename_and_alter(struct work *work, uint32_t *index,
                                       const struct tr_table *before, struct tr_table *after)
{
    struct tr_table *renamed;
    struct tr_schema_change change = {.kind = TR_CHANGE_RENAME_TABLE, .before = before};
    if (tr_table_with_id(before, after->id, &renamed, work->err) != TR_OK)
        return TR_FAIL;
    enum tr_status status = insert_before(work, *index);
    if (status == TR_OK)
        status = hold_change(work, &change, renamed, &work->batch->events[(*index)++]);
    if (status == TR_OK)
        status = tr_schema_diff(renamed, after, &work->batch->arena, &change, work->err);
    if (status == TR_OK)
        status = hold_change(work, &change, after, &work->batch->events[*index]);
    tr_table_unref(renamed);
    return status;
}

static enum tr_status transform_change(struct work *work, uint32_t *index, struct tx_plan *before,
                                       struct tx_plan *after)
{
    struct tr_event *event = &work->batch->events[*index];
    struct tr_schema_change change;
    if (before->passes && after->passes)
        return TR_OK;
    if (tr_schema_diff(before->result, after->result, &work->batch->arena, &change, work->err) !=
        TR_OK)
        return TR_FAIL;
    bool renamed = !tr_table_id_equal(&before->result->id, &after->result->id);
    if (renamed && change.item_count > 0)
        return rename_and_alter(work, index, before->result, after->result);
    if (!renamed && change.item_count == 0) {
        if (same_nature(before->result,
                        after->result)) { /* rows of both versions are rows of one table */
            tr_table_unref(after->result);
            after->result = tr_table_ref(before->result);
        }
        return TR_AGAIN;
    }
    return hold_change(work, &change, after->result, event);
}

/* TR_AGAIN: the event goes. */
static enum tr_status transform_schema(struct work *work, uint32_t *index)
{
    struct tr_event *event = &work->batch->events[*index];
    const struct tr_table *source_before = event->change->before, *source_after = event->table;
    struct tx_plan *before = NULL;
    if (source_before != NULL && event->change->kind != TR_CHANGE_DROP_TABLE) {
        before = plan_of(work->transform, source_before, work->err);
        /* the projection may name a column that is only now there: the old version never had a
         * result */
        if (before == NULL && work->err->class != TR_CONFIG)
            return TR_FAIL;
    }
    struct tx_plan *after = plan_of(work->transform, source_after, work->err);
    if (after == NULL)
        return TR_FAIL;
    if (before != NULL)
        return transform_change(work, index, before, after);
    if (after->passes)
        return TR_OK;
    struct tr_schema_change change = *event->change;
    if (change.kind != TR_CHANGE_DROP_TABLE) {
        change = (struct tr_schema_change){.kind = TR_CHANGE_CREATE_TABLE};
    } else {
        change.before = change.before == NULL ? NULL : after->result;
    }
    return hold_change(work, &change, after->result, event);
}

/* ---- batches ------------------------------------------------------------------------------------
 */

static bool is_row(const struct tr_event *event)
{
    return event->table != NULL &&
           (event->op == TR_OP_CREATE || event->op == TR_OP_UPDATE || event->op == TR_OP_DELETE ||
            event->op == TR_OP_READ || event->op == TR_OP_TRUNCATE);
}

enum tr_status tr_transform_batch(struct tr_transform *transform, struct tr_batch *batch,
                                  int64_t now_us, tr_transform_failed_fn failed, void *context,
                                  struct tr_error *err)
{
    struct work work = {transform, batch, now_us, err};
    uint32_t kept = 0;
    enum tr_status status = TR_OK;
    for (uint32_t i = 0; i < batch->event_count; i++) {
        struct tr_event *event = &batch->events[i];
        uint32_t at = i;
        if (tr_is_dead_letter(event))
            status = TR_OK;
        else if (event->op == TR_OP_SCHEMA)
            status = transform_schema(&work, &i);
        else
            status = is_row(event) ? transform_row(&work, event) : TR_OK;
        if (status == TR_FAIL && err->class == TR_DATA && failed != NULL && is_row(event))
            status = failed(context, batch, i, err);
        if (status == TR_FAIL)
            return TR_FAIL;
        for (; status == TR_OK && at <= i; at++)
            batch->events[kept++] = batch->events[at];
    }
    batch->event_count = kept;
    return TR_OK;
}
