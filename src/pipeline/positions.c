/* Where the pipeline begins, and what a sink holds already.
 *
 * A sink that holds its position wins over the checkpoint: it is what its rows say. With one such sink
 * that is all. With several sinks of a message source each is where it is: the source begins, split by
 * split, at the smallest of their positions, and each sink is given only what it does not have. What the
 * sinks have in common (schemas, late events) is merged so that nothing known by one is forgotten. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "event/dead_letter.h"
#include "pipeline/engine.h"

#define KEY_BYTES (TR_MARK_KEY_BYTES_MAX + 1)
#define MARK_SINK "sink/" /* + name: the sink was there when the checkpoint was saved */

static enum tr_status too_many_holders(const struct tr_branch *branch, struct tr_error *err)
{
    /* it may be ahead of the frontier over all sinks, and would get rows twice */
    (void)tr_fail(err, TR_E_CAPABILITY,
                  "a %s sink that holds the position cannot share a pipeline from a %s source with "
                  "others",
                  branch->ops->name, branch->engine->file->source_ops->name);
    return tr_hint(err, "give each such sink a pipeline file of its own, with its own "
                        "pipeline.name");
}

static bool was_there(const struct tr_engine *engine, const struct tr_branch *branch)
{
    char key[KEY_BYTES];
    size_t first = tr_state_seek(&engine->state, MARK_SINK);
    if (!tr_state_has_prefix(&engine->state, first, MARK_SINK))
        return branch->index == 0; /* it was alone: they are recorded when there are several */
    (void)snprintf(key, sizeof key, "%s%s", MARK_SINK, branch->config->name);
    return tr_state_get(&engine->state, key) != NULL;
}

/* The marks of one branch; *have_checkpoint: engine->state is what the checkpoint says. */
static enum tr_status load_branch(struct tr_engine *engine, struct tr_branch *branch,
                                  bool have_checkpoint, bool splits, struct tr_error *err)
{
    tr_state_init(&branch->marks);
    if (!(branch->ops->caps & TR_CAP_POSITION) || branch->ops->load_marks == NULL)
        return tr_state_copy(&branch->marks, &engine->state, err);
    enum tr_status status = branch->ops->load_marks(branch->sink, &branch->marks, err);
    if (status == TR_FAIL)
        return TR_FAIL;
    if (status == TR_END) /* in this configuration the sink keeps no position */
        return tr_state_copy(&branch->marks, &engine->state, err);
    branch->holds_position = true;
    if (engine->branch_count > 1 && !splits)
        return too_many_holders(branch, err);
    if (tr_state_get(&branch->marks, TR_MARK_RELOAD) != NULL) {
        branch->reload = !have_checkpoint && branch->marks.count == 1;
        if (tr_state_set(&branch->marks, TR_MARK_RELOAD, "", err) != TR_OK)
            return TR_FAIL;
    }
    if (branch->marks.count > 0 || !have_checkpoint || !was_there(engine, branch))
        return TR_OK;
    (void)tr_fail(err, TR_E_POSITION_MISMATCH,
                  "the checkpoint has a position, but the %s sink has none", branch->config->name);
    return tr_hint(err,
                   "bring the target back as it was; or start over with a new copy: "
                   "tailrace drop %s, then tailrace run %s",
                   engine->file->path, engine->file->path);
}

static bool has_prefix(const char *key, const char *prefix)
{
    return strncmp(key, prefix, strlen(prefix)) == 0;
}

static int64_t sum_of_positions(const struct tr_state *marks)
{
    int64_t sum = 0;
    for (size_t i = tr_state_seek(marks, TR_MARK_SPLIT);
         tr_state_has_prefix(marks, i, TR_MARK_SPLIT); i++)
        sum += strtoll(marks->items[i].value, NULL, 10);
    return sum;
}

/* The smaller (or greater) of two numbers under a key. */
static enum tr_status merge_number(struct tr_state *into, const struct tr_state_item *item,
                                   bool smallest, struct tr_error *err)
{
    const char *other = tr_state_get(into, item->key);
    if (other != NULL) {
        int64_t a = strtoll(other, NULL, 10), b = strtoll(item->value, NULL, 10);
        if (smallest ? a <= b : a >= b)
            return TR_OK;
    }
    return tr_state_set(into, item->key, item->value, err);
}

static enum tr_status merge_late(struct tr_state *into, const struct tr_state_item *item,
                                 struct tr_error *err)
{
    const char *other = tr_state_get(into, item->key);
    struct tr_ranges ranges = {0};
    struct tr_outbuf text = {0};
    enum tr_status status = tr_ranges_parse(&ranges, item->value, err);
    if (status == TR_OK && other != NULL)
        status = tr_ranges_parse(&ranges, other, err);
    if (status == TR_OK) {
        tr_ranges_print(&ranges, &text);
        status = tr_state_set(into, item->key, tr_outbuf_cstr(&text), err);
    }
    tr_ranges_free(&ranges);
    tr_outbuf_free(&text);
    return status;
}

/* Adds a branch's marks to what the source begins from. */
static enum tr_status merge_branch(struct tr_state *into, const struct tr_state *marks,
                                   bool is_furthest, struct tr_error *err)
{
    enum tr_status status = TR_OK;
    for (size_t i = 0; i < marks->count && status == TR_OK; i++) {
        const struct tr_state_item *item = &marks->items[i];
        if (has_prefix(item->key, TR_MARK_SPLIT) || has_prefix(item->key, TR_MARK_NEWEST))
            status = merge_number(into, item, true, err);
        else if (strcmp(item->key, TR_MARK_WATERMARK) == 0)
            status = merge_number(into, item, false, err);
        else if (has_prefix(item->key, TR_MARK_LATE))
            status = merge_late(into, item, err);
        else if (is_furthest || tr_state_get(into, item->key) == NULL)
            status = tr_state_set(into, item->key, item->value, err);
    }
    return status;
}

/* A sink that has positions, but none of a split, has nothing of it: the split was found when another
 * sink was ahead. It is read from its beginning. A sink without any position is new and begins where the
 * others are. */
static enum tr_status unread_splits(struct tr_state *into, const struct tr_state *held,
                                    struct tr_error *err)
{
    size_t i = tr_state_seek(into, TR_MARK_SPLIT);
    if (!tr_state_has_prefix(held, tr_state_seek(held, TR_MARK_SPLIT), TR_MARK_SPLIT))
        return TR_OK;
    while (tr_state_has_prefix(into, i, TR_MARK_SPLIT)) {
        char key[KEY_BYTES];
        (void)snprintf(key, sizeof key, "%s", into->items[i].key);
        if (tr_state_get(held, key) != NULL)
            i++;
        else if (tr_state_set(into, key, "", err) != TR_OK)
            return TR_FAIL;
    }
    return TR_OK;
}

/* Several sinks of a message source. */
static enum tr_status merge_all(struct tr_engine *engine, struct tr_error *err)
{
    struct tr_state merged;
    int64_t furthest = -1;
    unsigned furthest_index = 0;
    enum tr_status status = TR_OK;
    tr_state_init(&merged);
    for (unsigned i = 0; i < engine->branch_count; i++) {
        int64_t sum = sum_of_positions(&engine->branches[i].marks);
        if (sum > furthest) {
            furthest = sum;
            furthest_index = i;
        }
    }
    for (unsigned i = 0; i < engine->branch_count && status == TR_OK; i++)
        status =
            merge_branch(&merged, &engine->branches[i].marks, i == furthest_index, err);
    for (unsigned i = 0; i < engine->branch_count && status == TR_OK; i++)
        status = unread_splits(&merged, &engine->branches[i].marks, err);
    if (status == TR_OK)
        status = tr_state_copy(&engine->state, &merged, err);
    tr_state_free(&merged);
    return status;
}

static enum tr_status record_sinks(struct tr_engine *engine, struct tr_error *err)
{
    char key[KEY_BYTES];
    if (engine->branch_count < 2)
        return TR_OK;
    if (tr_state_apply(&engine->state, tr_slice_of(MARK_SINK "*"), tr_slice_of(""), err) != TR_OK)
        return TR_FAIL;
    for (unsigned i = 0; i < engine->branch_count; i++) {
        (void)snprintf(key, sizeof key, "%s%s", MARK_SINK, engine->branches[i].config->name);
        if (tr_state_set(&engine->state, key, "1", err) != TR_OK)
            return TR_FAIL;
    }
    return TR_OK;
}

enum tr_status tr_engine_recover(struct tr_engine *engine, struct tr_error *err)
{
    bool splits = (engine->file->source_ops->caps & TR_SRC_SPLITS) != 0;
    tr_state_clear(&engine->state);
    (void)tr_dead_letter_table(); /* made before the threads that ask for it */
    enum tr_status status = tr_checkpoint_file_ops.load(engine->store, &engine->state, err);
    if (status == TR_FAIL)
        return status;
    bool have_checkpoint = status == TR_OK && engine->state.count > 0;
    for (unsigned i = 0; i < engine->branch_count; i++) {
        if (load_branch(engine, &engine->branches[i], have_checkpoint, splits, err) != TR_OK)
            return TR_FAIL;
    }
    atomic_store(&engine->first_saved, have_checkpoint);
    if (engine->branch_count == 1) {
        if (engine->branches[0].holds_position &&
            tr_state_copy(&engine->state, &engine->branches[0].marks, err) != TR_OK)
            return TR_FAIL;
        engine->resumed = engine->state.count > 0;
        return TR_OK;
    }
    if (splits && merge_all(engine, err) != TR_OK)
        return TR_FAIL;
    engine->resumed = engine->state.count > 0;
    return record_sinks(engine, err);
}

enum tr_status tr_engine_stage_marks(struct tr_engine *engine, struct tr_state *marks,
                                     struct tr_error *err)
{
    char key[KEY_BYTES];
    enum tr_status status = tr_state_copy(marks, &engine->state, err);
    for (unsigned i = 0; i < engine->branch_count && status == TR_OK; i++) {
        const struct tr_state *held = &engine->branches[i].marks;
        for (size_t k = tr_state_seek(held, TR_MARK_SPLIT);
             status == TR_OK && tr_state_has_prefix(held, k, TR_MARK_SPLIT); k++) {
            (void)snprintf(key, sizeof key, "%s%s", TR_MARK_COVERED,
                           held->items[k].key + strlen(TR_MARK_SPLIT));
            const struct tr_state_item covered = {key, held->items[k].value};
            status = merge_number(marks, &covered, false, err);
        }
    }
    return status;
}

/* ---- the writer's side ---- */

static int64_t position_in(const struct tr_state *marks, const char *split)
{
    char key[KEY_BYTES];
    (void)snprintf(key, sizeof key, "%s%s", TR_MARK_SPLIT, split);
    const char *text = tr_state_get(marks, key);
    return text == NULL ? 0 : strtoll(text, NULL, 10);
}

static int64_t look_up(struct tr_branch *branch, const char *split)
{
    struct tr_engine *engine = branch->engine;
    int64_t position = position_in(&branch->marks, split);
    if (branch->covered.generation != 0) {
        (void)pthread_mutex_lock(&engine->lock);
        int64_t fresh = position_in(&engine->fresh[branch->index], split);
        (void)pthread_mutex_unlock(&engine->lock);
        position = fresh > position ? fresh : position;
    }
    return position;
}

static bool grow(struct tr_covered *covered, uint32_t index)
{
    uint32_t count = covered->count == 0 ? 16 : covered->count;
    while (count <= index)
        count *= 2;
    int64_t *until = realloc(covered->until, count * sizeof *until);
    if (until == NULL)
        return false;
    for (uint32_t i = covered->count; i < count; i++)
        until[i] = -1;
    covered->until = until;
    covered->count = count;
    return true;
}

bool tr_branch_covers(struct tr_branch *branch, const struct tr_event *event)
{
    struct tr_covered *covered = &branch->covered;
    if (event->message == NULL || !branch->holds_position)
        return false;
    const struct tr_split *split = event->message->split;
    unsigned generation = atomic_load(&branch->engine->fresh_generation);
    if (generation != covered->generation) {
        covered->generation = generation;
        for (uint32_t i = 0; i < covered->count; i++)
            covered->until[i] = -1;
    }
    if (split->index >= covered->count && !grow(covered, split->index))
        return event->message->position < look_up(branch, split->name); /* slow, but right */
    if (covered->until[split->index] < 0)
        covered->until[split->index] = look_up(branch, split->name);
    return event->message->position < covered->until[split->index];
}

enum tr_status tr_branch_keep_position(struct tr_branch *branch, const struct tr_mark **marks,
                                       uint32_t mark_count, struct tr_error *err)
{
    struct tr_mark *kept = NULL;
    if (!branch->holds_position)
        return TR_OK;
    for (uint32_t i = 0; i < mark_count; i++) {
        struct tr_slice key = (*marks)[i].key;
        char name[KEY_BYTES];
        size_t prefix = strlen(TR_MARK_SPLIT);
        if (key.len <= prefix || key.len >= sizeof name ||
            memcmp(key.ptr, TR_MARK_SPLIT, prefix) != 0 || (*marks)[i].value.len == 0)
            continue;
        memcpy(name, key.ptr + prefix, key.len - prefix);
        name[key.len - prefix] = '\0';
        int64_t held = look_up(branch, name);
        if (held == 0 || strtoll((*marks)[i].value.ptr, NULL, 10) >= held)
            continue;
        char text[24];
        size_t len = (size_t)snprintf(text, sizeof text, "%" PRId64, held);
        char *copy = tr_arena_alloc(&branch->arena, len + 1, 1);
        if (kept == NULL) {
            kept = tr_arena_alloc(&branch->arena, mark_count * sizeof *kept,
                                  _Alignof(struct tr_mark));
            if (kept != NULL)
                memcpy(kept, *marks, mark_count * sizeof *kept);
        }
        if (kept == NULL || copy == NULL)
            return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for a position");
        memcpy(copy, text, len + 1);
        kept[i].value = (struct tr_slice){copy, len};
    }
    if (kept != NULL)
        *marks = kept;
    return TR_OK;
}

/* ---- several processes ---- */

static enum tr_status read_fresh(struct tr_engine *engine, unsigned index, struct tr_state *marks,
                                 struct tr_error *err)
{
    const struct tr_branch *branch = &engine->branches[index];
    struct tr_context context = {.pipeline_name = engine->file->options.name,
                                 .position_name = branch->config->position_name,
                                 .state_dir = engine->run_options->state_dir,
                                 .checking = true,
                                 .shared = true};
    void *sink = NULL;
    enum tr_status status = branch->ops->open(branch->config->config, &context, &sink, err);
    if (status == TR_OK)
        status = branch->ops->load_marks(sink, marks, err);
    branch->ops->close(sink);
    return status;
}

enum tr_status tr_engine_stored_marks(void *arg, struct tr_state *marks, struct tr_error *err)
{
    struct tr_engine *engine = arg;
    enum tr_status status = TR_OK;
    for (unsigned i = 0; i < engine->branch_count && status != TR_FAIL; i++) {
        struct tr_state held;
        if (!engine->branches[i].holds_position)
            continue;
        tr_state_init(&held);
        status = read_fresh(engine, i, &held, err);
        if (status == TR_OK)
            status = merge_branch(marks, &held, false, err);
        if (status == TR_OK) {
            (void)pthread_mutex_lock(&engine->lock);
            status = tr_state_copy(&engine->fresh[i], &held, err);
            (void)pthread_mutex_unlock(&engine->lock);
        }
        tr_state_free(&held);
    }
    (void)pthread_mutex_lock(&engine->lock);
    for (unsigned i = 0; i < engine->branch_count && status != TR_FAIL; i++) {
        if (engine->branches[i].holds_position)
            status = unread_splits(marks, &engine->fresh[i], err);
    }
    (void)pthread_mutex_unlock(&engine->lock);
    atomic_fetch_add(&engine->fresh_generation, 1);
    return status == TR_FAIL ? TR_FAIL : TR_OK;
}
