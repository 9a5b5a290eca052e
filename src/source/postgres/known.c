/* The tables that the stream knows, found by oid.
 *
 * Each Relation message, and each change of table between two rows while a copy's bounds stand,
 * asks for one; so there is a map beside the list. It is at most half full, and nothing is ever
 * taken out. Items are in the order in which they came, which keeps what has to ride on the next
 * commit together: usually it is the last ones.
 *
 * Thread: the stream's; before it, the one that ends the snapshot. */
#include <stdlib.h>

#include "decode/pgoutput_relations.h"
#include "event/table_text.h"
#include "source/postgres/source.h"

#define SLOTS_MIN 64u
#define ITEMS_MAX (1u << 30)

/* The slot that holds the oid's index + 1, or the empty one where it belongs. */
static uint32_t *slot_of(const struct tr_pg_known_list *list, uint32_t oid)
{
    uint32_t mask = list->slot_count - 1, at = tr_pgoutput_hash(oid) & mask;
    while (list->slots[at] != 0 && list->items[list->slots[at] - 1].oid != oid)
        at = (at + 1) & mask;
    return &list->slots[at];
}

static bool grow_slots(struct tr_pg_known_list *list)
{
    uint32_t slot_count = list->slot_count == 0 ? SLOTS_MIN : list->slot_count * 2;
    uint32_t *slots = calloc(slot_count, sizeof *slots);
    if (slots == NULL)
        return false;
    free(list->slots);
    list->slots = slots;
    list->slot_count = slot_count;
    for (uint32_t i = 0; i < list->count; i++)
        *slot_of(list, list->items[i].oid) = i + 1;
    return true;
}

static bool make_room(struct tr_pg_known_list *list)
{
    if (list->count == list->capacity) {
        size_t capacity = list->capacity == 0 ? 32 : list->capacity * 2;
        struct tr_pg_known *items =
            list->count == ITEMS_MAX ? NULL : realloc(list->items, capacity * sizeof *items);
        if (items == NULL)
            return false;
        list->items = items;
        list->capacity = capacity;
    }
    return (list->count + 1) * 2 <= list->slot_count || grow_slots(list);
}

static void lower_bound(struct tr_pg_known_list *list, uint64_t skip_lsn, uint64_t soft_lsn)
{
    uint64_t passed_lsn = skip_lsn > soft_lsn ? skip_lsn : soft_lsn;
    if (list->bound_count++ == 0 || passed_lsn < list->bound_lsn)
        list->bound_lsn = passed_lsn;
}

enum tr_status tr_pg_known_add(struct tr_pg_source *source, uint32_t oid,
                               const struct tr_table *table, uint64_t skip_lsn, uint64_t soft_lsn,
                               struct tr_pg_known **known, struct tr_error *err)
{
    struct tr_pg_known_list *list = &source->known;
    if (!make_room(list))
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for a table");
    *known = &list->items[list->count++];
    **known = (struct tr_pg_known){
        .oid = oid, .table = tr_table_ref(table), .skip_lsn = skip_lsn, .soft_lsn = soft_lsn};
    *slot_of(list, oid) = (uint32_t)list->count;
    if (skip_lsn != 0 || soft_lsn != 0)
        lower_bound(list, skip_lsn, soft_lsn);
    return TR_OK;
}

struct tr_pg_known *tr_pg_known_held(const struct tr_pg_known_list *list, uint32_t oid)
{
    uint32_t index = list->slot_count == 0 ? 0 : *slot_of(list, oid);
    return index == 0 ? NULL : &list->items[index - 1];
}

enum tr_status tr_pg_known_find(struct tr_pg_source *source, uint32_t oid,
                                struct tr_pg_known **known, struct tr_error *err)
{
    *known = tr_pg_known_held(&source->known, oid);
    if (*known != NULL)
        return TR_OK;
    const char *text = tr_pg_mark_get(&source->marks, "table/%u", oid);
    if (text == NULL)
        return TR_OK;
    struct tr_table *table;
    if (tr_table_decode(text, &table, err) != TR_OK)
        return TR_FAIL;
    enum tr_status status =
        tr_pg_known_add(source, oid, table, tr_pg_mark_lsn(&source->marks, "skip/%u", oid),
                        tr_pg_mark_lsn(&source->marks, "soft/%u", oid), known, err);
    tr_table_unref(table);
    return status;
}

void tr_pg_known_soil(struct tr_pg_known_list *list, struct tr_pg_known *known)
{
    size_t index = (size_t)(known - list->items);
    if (known->dirty)
        return;
    known->dirty = true;
    if (list->dirty_count++ == 0 || index < list->dirty_first)
        list->dirty_first = index;
}

static void add_dirty(struct tr_pg_known_list *list, struct tr_pg_marks *marks)
{
    for (size_t i = list->dirty_first; list->dirty_count > 0; i++) {
        struct tr_pg_known *known = &list->items[i];
        if (!known->dirty)
            continue;
        tr_pg_marks_add_table(marks, known->table);
        known->dirty = false;
        list->dirty_count--;
    }
}

/* Bounds that end_lsn has reached are gone; the lowest of the others is the next to look for. */
static void add_passed(struct tr_pg_known_list *list, uint64_t end_lsn, struct tr_pg_marks *marks)
{
    size_t bound_count = list->bound_count;
    list->bound_count = 0;
    for (size_t i = 0; bound_count > 0; i++) {
        struct tr_pg_known *known = &list->items[i];
        if (known->skip_lsn == 0 && known->soft_lsn == 0)
            continue;
        bound_count--;
        if (known->skip_lsn > end_lsn || known->soft_lsn > end_lsn) {
            lower_bound(list, known->skip_lsn, known->soft_lsn);
            continue;
        }
        tr_pg_marks_add(marks, "", "skip/%u", known->oid);
        tr_pg_marks_add(marks, "", "soft/%u", known->oid);
        known->skip_lsn = known->soft_lsn = 0;
    }
}

bool tr_pg_known_marks_due(const struct tr_pg_known_list *list, uint64_t end_lsn)
{
    return list->dirty_count > 0 || (list->bound_count > 0 && list->bound_lsn <= end_lsn);
}

void tr_pg_known_add_marks(struct tr_pg_known_list *list, uint64_t end_lsn,
                           struct tr_pg_marks *marks)
{
    add_dirty(list, marks);
    if (list->bound_count > 0 && list->bound_lsn <= end_lsn)
        add_passed(list, end_lsn, marks);
}

void tr_pg_known_free(struct tr_pg_known_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        tr_table_unref(list->items[i].table);
    free(list->items);
    free(list->slots);
    *list = (struct tr_pg_known_list){0};
}
