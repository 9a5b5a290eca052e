/* Merging changes by key: what one row is to become after all changes of a batch.
 *
 *      had        c        u                 d        key changed away / to
 *      nothing    INSERT   UPDATE            DELETE   DELETE / UPSERT
 *      INSERT     UPSERT   INSERT, merged    DELETE   DELETE / UPSERT
 *      UPDATE     UPSERT   UPDATE, merged    DELETE   DELETE / UPSERT
 *      UPSERT     UPSERT   UPSERT, merged    DELETE   DELETE / UPSERT
 *      DELETE     UPSERT   UPSERT            DELETE   DELETE / UPSERT
 *
 * Rows of different keys do not meet in a table whose only rule is its key, so the final states can
 * be applied in any order: deletes, updates, upserts, inserts. A second unique constraint can make
 * that order fail (never succeed wrongly); then apply.c rolls back and goes row by row.
 *
 * A table with a version (newest.c): of a key only the change with the greatest version is left, of
 * equal ones the last. That is exact, since each key is a register of its own; but not where values
 * did not come, since whose they are is decided on the target: such a key's changes go in order.
 *
 * A group is ordered from the start when order can show without an error: foreign keys and triggers
 * that fire; rows without a key that are updated or deleted; a key change whose new row is not
 * fully known; two layouts of one target in one batch; a value so large that arrays of it are no
 * good.
 *
 * Within kind and shape rows are sorted roughly like the key: lookups and heap pages then follow
 * each other, which saves the server about a tenth, and two writers lock rows in the same order. */
#include "sink/postgres/changes.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#define SLOTS_MIN 1024u
#define ROW_BYTES_MAX (4u << 20) /* a larger change goes row by row */

void tr_pgs_groups_free(struct tr_pgs_groups *groups)
{
    for (uint32_t i = 0; i < groups->capacity; i++) {
        free(groups->items[i].rows);
        free(groups->items[i].order);
        free(groups->items[i].slots);
    }
    free(groups->items);
    *groups = (struct tr_pgs_groups){.apply_number = groups->apply_number};
}

static enum tr_status no_memory(struct tr_error *err)
{
    return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory to merge changes");
}

static uint64_t hash_key(const struct tr_cell *key, uint16_t count)
{
    uint64_t hash = 0;
    for (uint16_t i = 0; i < count; i++) {
        if (key[i].state == TR_CELL_TEXT)
            hash = XXH3_64bits_withSeed(key[i].ptr, key[i].len, hash);
        hash = hash * 31 + key[i].state;
    }
    return hash;
}

static bool same_key(const struct tr_cell *a, const struct tr_cell *b, uint16_t count)
{
    for (uint16_t i = 0; i < count; i++) {
        if (a[i].state != b[i].state)
            return false;
        if (a[i].state == TR_CELL_TEXT &&
            (a[i].len != b[i].len || memcmp(a[i].ptr, b[i].ptr, a[i].len) != 0))
            return false;
    }
    return true;
}

static enum tr_status slots_resize(struct tr_pgs_group *group, uint32_t slot_count,
                                   struct tr_error *err)
{
    uint32_t *slots = calloc(slot_count, sizeof *slots);
    if (slots == NULL)
        return no_memory(err);
    free(group->slots);
    group->slots = slots;
    group->slot_count = slot_count;
    for (uint32_t i = 0; i < group->row_count; i++) {
        uint32_t at = (uint32_t)group->rows[i].hash & (slot_count - 1);
        while (slots[at] != 0)
            at = (at + 1) & (slot_count - 1);
        slots[at] = i + 1;
    }
    return TR_OK;
}

static enum tr_status row_new(struct tr_pgs_group *group, struct tr_pgs_row **out,
                              struct tr_error *err)
{
    if (group->row_count == group->row_capacity) {
        uint32_t capacity = group->row_capacity == 0 ? 256 : group->row_capacity * 2;
        struct tr_pgs_row *rows = realloc(group->rows, capacity * sizeof *rows);
        if (rows == NULL)
            return no_memory(err);
        group->rows = rows;
        group->row_capacity = capacity;
    }
    *out = &group->rows[group->row_count++];
    **out = (struct tr_pgs_row){0};
    return TR_OK;
}

/* *found: the key was there already. */
static enum tr_status row_of(struct tr_pgs_group *group, const struct tr_cell *key, bool *found,
                             struct tr_pgs_row **out, struct tr_error *err)
{
    uint16_t count = group->layout->key_count;
    if (group->row_count * 2 >= group->slot_count &&
        slots_resize(group, group->slot_count == 0 ? SLOTS_MIN : group->slot_count * 2, err) !=
            TR_OK)
        return TR_FAIL;
    uint64_t hash = hash_key(key, count);
    uint32_t at = (uint32_t)hash & (group->slot_count - 1);
    for (; group->slots[at] != 0; at = (at + 1) & (group->slot_count - 1)) {
        struct tr_pgs_row *row = &group->rows[group->slots[at] - 1];
        if (row->hash == hash && same_key(row->key, key, count)) {
            *found = true;
            *out = row;
            return TR_OK;
        }
    }
    *found = false;
    if (row_new(group, out, err) != TR_OK)
        return TR_FAIL;
    (*out)->key = key;
    (*out)->hash = hash;
    group->slots[at] = group->row_count;
    return TR_OK;
}

/* `newer` with the values that it lacks taken from `older`. *full: it lacks none any more. */
static const struct tr_cell *overlay(struct tr_arena *arena, const struct tr_cell *newer,
                                     const struct tr_cell *older, uint16_t count, bool *full)
{
    struct tr_cell *cells =
        tr_arena_alloc(arena, ((size_t)count + 1) * sizeof *cells, _Alignof(struct tr_cell));
    if (cells == NULL)
        return NULL;
    *full = true;
    for (uint16_t i = 0; i < count; i++) {
        bool lacks = newer[i].state == TR_CELL_UNCHANGED || newer[i].state == TR_CELL_ABSENT;
        cells[i] = lacks ? older[i] : newer[i];
        if (cells[i].state == TR_CELL_UNCHANGED)
            *full = false;
    }
    return cells;
}

static bool lacks_values(const struct tr_cell *cells, uint16_t count)
{
    for (uint16_t i = 0; i < count; i++) {
        if (cells[i].state == TR_CELL_UNCHANGED || cells[i].state == TR_CELL_ABSENT)
            return true;
    }
    return false;
}

static enum tr_status merge_update(struct tr_pgs_group *group, struct tr_arena *arena,
                                   const struct tr_pgs_change *change, struct tr_error *err)
{
    struct tr_pgs_row *row;
    bool found;
    uint16_t count = group->layout->column_count;
    if (row_of(group, change->key, &found, &row, err) != TR_OK)
        return TR_FAIL;
    if (!found) {
        *row = (struct tr_pgs_row){.cells = change->after,
                                   .key = change->key,
                                   .hash = row->hash,
                                   .kind = TR_PGS_ROW_UPDATE,
                                   .full = change->full};
        return TR_OK;
    }
    if (row->kind == TR_PGS_ROW_DELETE) {
        row->cells = change->after;
        row->full = change->full;
        row->kind = change->full ? TR_PGS_ROW_UPSERT : TR_PGS_ROW_UPDATE;
        if (!change->full)
            group->ordered = true; /* an update of a row that was deleted: let the target decide */
        return TR_OK;
    }
    if (!lacks_values(change->after, count)) {
        row->cells = change->after;
        row->full = true;
        return TR_OK;
    }
    row->cells = overlay(arena, change->after, row->cells, count, &row->full);
    return row->cells == NULL ? no_memory(err) : TR_OK;
}

static enum tr_status merge_key_change(struct tr_pgs_group *group, struct tr_arena *arena,
                                       const struct tr_pgs_change *change, struct tr_error *err)
{
    struct tr_pgs_row *row;
    bool found, full = change->full;
    const struct tr_cell *cells = change->after;
    if (row_of(group, change->old_key, &found, &row, err) != TR_OK)
        return TR_FAIL;
    if (!full && found && row->cells != NULL) {
        cells = overlay(arena, change->after, row->cells, group->layout->column_count, &full);
        if (cells == NULL)
            return no_memory(err);
    }
    if (!full)
        group->ordered = true;
    row->kind = TR_PGS_ROW_DELETE;
    row->cells = NULL;
    if (row_of(group, change->key, &found, &row, err) != TR_OK)
        return TR_FAIL;
    row->kind = TR_PGS_ROW_UPSERT;
    row->cells = cells;
    row->full = full;
    return TR_OK;
}

static enum tr_status merge_newest(struct tr_pgs_group *group, const struct tr_pgs_change *change,
                                   struct tr_error *err)
{
    struct tr_pgs_row *row;
    bool found, gone = change->op == TR_OP_DELETE;
    if (change->key_changed) { /* the row did not come in full */
        group->ordered = true;
        return TR_OK;
    }
    if (row_of(group, change->key, &found, &row, err) != TR_OK)
        return TR_FAIL;
    if (found && ((!gone && !change->full) || (row->cells != NULL && !row->full)))
        group->ordered = true;
    if (found && strcmp(change->version_key, row->version_key) < 0)
        return TR_OK;
    row->cells = change->after;
    row->version = change->version;
    row->version_key = change->version_key;
    row->full = change->full;
    row->kind = gone                                           ? TR_PGS_ROW_DELETE
                : change->op == TR_OP_UPDATE && !change->full ? TR_PGS_ROW_UPDATE
                                                              : TR_PGS_ROW_UPSERT;
    return TR_OK;
}

static enum tr_status merge(struct tr_pgs_group *group, struct tr_arena *arena,
                            const struct tr_pgs_change *change, struct tr_error *err)
{
    struct tr_pgs_row *row;
    bool found;
    if (group->layout->version >= 0)
        return merge_newest(group, change, err);
    if (change->op == TR_OP_UPDATE)
        return change->key_changed ? merge_key_change(group, arena, change, err)
                                   : merge_update(group, arena, change, err);
    if (row_of(group, change->key, &found, &row, err) != TR_OK)
        return TR_FAIL;
    row->cells = change->after;
    row->full = change->full;
    if (change->op == TR_OP_DELETE)
        row->kind = TR_PGS_ROW_DELETE;
    else
        row->kind = found ? TR_PGS_ROW_UPSERT : TR_PGS_ROW_INSERT;
    return TR_OK;
}

/* ---- order within a group ---- */

static uint64_t prefix_of(const struct tr_pgs_layout *layout, const struct tr_cell *key)
{
    if (key == NULL || key->state != TR_CELL_TEXT)
        return 0;
    const char *at = key->ptr;
    size_t len = key->len;
    uint64_t value = 0;
    switch (layout->table->columns[layout->key_columns[0]].type) {
    case TR_T_INT8:
    case TR_T_INT16:
    case TR_T_INT32:
    case TR_T_INT64:
    case TR_T_UINT64: {
        bool negative = len > 0 && *at == '-';
        for (size_t i = negative; i < len && at[i] >= '0' && at[i] <= '9'; i++)
            value = value * 10 + (uint64_t)(at[i] - '0');
        return negative ? (UINT64_C(1) << 63) - value : value + (UINT64_C(1) << 63);
    }
    default:
        for (size_t i = 0; i < 8; i++)
            value = value << 8 | (i < len ? (unsigned char)at[i] : 0);
        return value;
    }
}

static int compare_order(const void *left, const void *right)
{
    const struct tr_pgs_order *a = left, *b = right;
    if (a->kind != b->kind)
        return a->kind < b->kind ? -1 : 1;
    if (a->shape != b->shape)
        return a->shape < b->shape ? -1 : 1;
    if (a->prefix != b->prefix)
        return a->prefix < b->prefix ? -1 : 1;
    return a->row < b->row ? -1 : a->row > b->row;
}

static enum tr_status order_add(struct tr_pgs_group *group, uint32_t row, uint8_t kind,
                                uint32_t shape)
{
    group->order[group->order_count++] =
        (struct tr_pgs_order){.prefix = prefix_of(group->layout, group->rows[row].key),
                              .row = row,
                              .shape = shape,
                              .kind = kind};
    return TR_OK;
}

static uint32_t shape_number(const struct tr_pgs_layout *layout, const struct tr_pgs_shape *shape)
{
    /* shapes are few, and the last used is first; a number only has to tell them apart */
    return (uint32_t)(((uintptr_t)shape - (uintptr_t)layout) >> 4);
}

static enum tr_status sort_group(struct tr_pgs_group *group, struct tr_error *err)
{
    struct tr_pgs_layout *layout = group->layout;
    free(group->order);
    group->order_count = 0;
    /* an upsert without a unique index takes two places: its delete and its insert */
    group->order = malloc(((size_t)group->row_count * 2 + 1) * sizeof *group->order);
    if (group->order == NULL)
        return no_memory(err);
    for (uint32_t i = 0; i < group->row_count; i++) {
        struct tr_pgs_row *row = &group->rows[i];
        uint8_t kind = row->kind;
        if (kind == TR_PGS_ROW_DELETE) {
            (void)order_add(group, i, kind, 0);
            continue;
        }
        if (tr_pgs_shape_of(layout, row->cells, &row->shape, err) != TR_OK)
            return TR_FAIL;
        if (kind == TR_PGS_ROW_UPDATE && row->shape->set_count == 0) {
            if (!row->full)
                continue; /* nothing to assign */
            kind = TR_PGS_ROW_UPSERT;
        }
        if (kind == TR_PGS_ROW_UPSERT && !layout->has_arbiter) {
            (void)order_add(group, i, TR_PGS_ROW_DELETE, 0);
            kind = TR_PGS_ROW_INSERT;
        }
        (void)order_add(group, i, kind, shape_number(layout, row->shape));
    }
    qsort(group->order, group->order_count, sizeof *group->order, compare_order);
    return TR_OK;
}

/* ---- groups ---- */

static enum tr_status group_of(struct tr_pgs_groups *groups, struct tr_pgs_link *link,
                               struct tr_pgs_layout *layout, struct tr_pgs_group **out,
                               struct tr_error *err)
{
    struct tr_pgs_target *target = layout->target;
    if (layout->apply_number == groups->apply_number) {
        *out = &groups->items[layout->group_index];
        return TR_OK;
    }
    if (groups->count == groups->capacity) {
        uint32_t capacity = groups->capacity == 0 ? 16 : groups->capacity * 2;
        struct tr_pgs_group *items = realloc(groups->items, capacity * sizeof *items);
        if (items == NULL)
            return no_memory(err);
        memset(items + groups->capacity, 0, (capacity - groups->capacity) * sizeof *items);
        groups->items = items;
        groups->capacity = capacity;
    }
    struct tr_pgs_group *group = &groups->items[groups->count];
    layout->apply_number = groups->apply_number;
    layout->group_index = groups->count++;
    if (layout->shape_count > TR_PGS_SHAPES_KEPT)
        tr_pgs_shapes_free(link, layout);
    group->layout = layout;
    group->row_count = group->order_count = 0;
    if (group->slots != NULL)
        memset(group->slots, 0, group->slot_count * sizeof *group->slots);
    if (target->apply_number != groups->apply_number) {
        target->apply_number = groups->apply_number;
        target->apply_layout = layout;
        target->apply_mixed = false;
    } else if (target->apply_layout != layout) {
        target->apply_mixed = true;
    }
    group->ordered = target->user_triggers || target->foreign_keys || target->ordered_applies > 0;
    *out = group;
    return TR_OK;
}

enum tr_status tr_pgs_coalesce(struct tr_pgs_groups *groups, struct tr_pgs_link *link,
                               struct tr_pgs_changes *changes, size_t count, bool all_ordered,
                               struct tr_error *err)
{
    groups->apply_number++;
    groups->count = 0;
    for (size_t i = 0; i < count; i++) {
        const struct tr_pgs_change *change = &changes->items[i];
        struct tr_pgs_group *group = NULL;
        if (group_of(groups, link, change->layout, &group, err) != TR_OK)
            return TR_FAIL;
        if (change->bytes > ROW_BYTES_MAX || all_ordered)
            group->ordered = true;
        if (group->ordered)
            continue;
        if (change->layout->key_count > 0) {
            if (merge(group, &changes->arena, change, err) != TR_OK)
                return TR_FAIL;
        } else if (change->op != TR_OP_CREATE) {
            group->ordered = true;
        } else {
            struct tr_pgs_row *row = NULL;
            if (row_new(group, &row, err) != TR_OK)
                return TR_FAIL;
            *row = (struct tr_pgs_row){
                .cells = change->after, .kind = TR_PGS_ROW_INSERT, .full = true};
        }
    }
    for (uint32_t i = 0; i < groups->count; i++) {
        struct tr_pgs_group *group = &groups->items[i];
        if (group->layout->target->apply_mixed)
            group->ordered = true;
        if (!group->ordered && sort_group(group, err) != TR_OK)
            return TR_FAIL;
    }
    return TR_OK;
}
