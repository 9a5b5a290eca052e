#include "event/batch.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

#define ARENA_BLOCK_BYTES (256u << 10)
#define ARENA_KEEP_BYTES (2u << 20)

enum tr_status tr_batch_new(struct tr_batch **out, struct tr_error *err)
{
    struct tr_batch *batch = calloc(1, sizeof *batch);
    if (batch != NULL)
        batch->events = malloc(TR_BATCH_EVENTS_MAX * sizeof *batch->events);
    if (batch == NULL || batch->events == NULL) {
        free(batch);
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for a batch");
    }
    tr_arena_init(&batch->arena, ARENA_BLOCK_BYTES, ARENA_KEEP_BYTES);
    *out = batch;
    return TR_OK;
}

void tr_batch_reset(struct tr_batch *batch)
{
    for (uint32_t i = 0; i < batch->foreign_count; i++)
        batch->foreign[i].release(batch->foreign[i].ptr);
    for (uint32_t i = 0; i < batch->table_count; i++)
        tr_table_unref(batch->tables[i]);
    batch->foreign_count = 0;
    batch->foreign_bytes = 0;
    batch->table_count = 0;
    batch->event_count = 0;
    batch->first_us = 0;
    tr_arena_reset(&batch->arena);
}

void tr_batch_free(struct tr_batch *batch)
{
    if (batch == NULL)
        return;
    tr_batch_reset(batch);
    tr_arena_free(&batch->arena);
    free(batch->tables);
    free(batch->events);
    free(batch);
}

bool tr_batch_full(const struct tr_batch *batch)
{
    /* two slots are kept free so that a commit or a schema change always fits behind an event */
    return batch->event_count + 2 >= TR_BATCH_EVENTS_MAX ||
           batch->arena.used_bytes + batch->foreign_bytes >= TR_BATCH_BYTES_TARGET ||
           batch->foreign_count == TR_BATCH_FOREIGN_MAX;
}

struct tr_event *tr_batch_event(struct tr_batch *batch, enum tr_op op)
{
    if (batch->event_count == TR_BATCH_EVENTS_MAX)
        return NULL;
    if (batch->event_count == 0)
        batch->first_us = tr_clock_mono_us();
    struct tr_event *event = &batch->events[batch->event_count++];
    memset(event, 0, sizeof *event);
    event->op = (uint8_t)op;
    return event;
}

struct tr_cell *tr_batch_cells(struct tr_batch *batch, size_t count)
{
    if (count > SIZE_MAX / sizeof(struct tr_cell))
        return NULL;
    return tr_arena_alloc(&batch->arena, count * sizeof(struct tr_cell), _Alignof(struct tr_cell));
}

char *tr_batch_copy(struct tr_batch *batch, const void *ptr, size_t len)
{
    return tr_arena_strndup(&batch->arena, ptr, len);
}

bool tr_batch_hold(struct tr_batch *batch, void *ptr, size_t len, void (*release)(void *ptr))
{
    if (batch->foreign_count == TR_BATCH_FOREIGN_MAX)
        return false;
    batch->foreign[batch->foreign_count].ptr = ptr;
    batch->foreign[batch->foreign_count].release = release;
    batch->foreign_count++;
    batch->foreign_bytes += len;
    return true;
}

enum tr_status tr_batch_table(struct tr_batch *batch, const struct tr_table *table,
                              struct tr_error *err)
{
    for (uint32_t i = batch->table_count; i-- > 0;) {
        if (batch->tables[i] == table)
            return TR_OK;
    }
    if (batch->table_count == batch->table_capacity) {
        uint32_t capacity = batch->table_capacity == 0 ? 16 : batch->table_capacity * 2;
        const struct tr_table **tables = realloc(batch->tables, capacity * sizeof *tables);
        if (tables == NULL)
            return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for a batch's tables");
        batch->tables = tables;
        batch->table_capacity = capacity;
    }
    batch->tables[batch->table_count++] = tr_table_ref(table);
    return TR_OK;
}

enum tr_status tr_batch_commit(struct tr_batch *batch, const struct tr_mark *marks,
                               uint32_t mark_count, struct tr_event **out, struct tr_error *err)
{
    struct tr_mark *copy = NULL;
    if (mark_count > 0) {
        copy = tr_arena_alloc(&batch->arena, mark_count * sizeof *copy, _Alignof(struct tr_mark));
        if (copy == NULL)
            return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for marks");
    }
    for (uint32_t i = 0; i < mark_count; i++) {
        copy[i].key.ptr = tr_batch_copy(batch, marks[i].key.ptr, marks[i].key.len);
        copy[i].key.len = marks[i].key.len;
        copy[i].value.ptr = tr_batch_copy(batch, marks[i].value.ptr, marks[i].value.len);
        copy[i].value.len = marks[i].value.len;
        if (copy[i].key.ptr == NULL || copy[i].value.ptr == NULL)
            return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for marks");
    }
    struct tr_event *event = tr_batch_event(batch, TR_OP_COMMIT);
    if (event == NULL)
        return tr_fail(err, TR_E_INTERNAL, "a commit did not fit into its batch");
    event->marks = copy;
    event->mark_count = mark_count;
    if (out != NULL)
        *out = event;
    return TR_OK;
}

enum tr_status tr_batch_schema_change(struct tr_batch *batch, const struct tr_table *after,
                                      const struct tr_schema_change *spec, struct tr_event **out,
                                      struct tr_error *err)
{
    struct tr_schema_change *change =
        tr_arena_alloc(&batch->arena, sizeof *change, _Alignof(struct tr_schema_change));
    struct tr_alter_item *items = NULL;
    if (change != NULL && spec->item_count > 0)
        items = tr_arena_alloc(&batch->arena, spec->item_count * sizeof *items,
                               _Alignof(struct tr_alter_item));
    if (change == NULL || (spec->item_count > 0 && items == NULL))
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for a schema change");
    *change = *spec;
    if (spec->item_count > 0)
        memcpy(items, spec->items, spec->item_count * sizeof *items);
    change->items = items;
    if (tr_batch_table(batch, after, err) != TR_OK)
        return TR_FAIL;
    if (spec->before != NULL && tr_batch_table(batch, spec->before, err) != TR_OK)
        return TR_FAIL;
    struct tr_event *event = tr_batch_event(batch, TR_OP_SCHEMA);
    if (event == NULL)
        return tr_fail(err, TR_E_INTERNAL, "a schema change did not fit into its batch");
    event->table = after;
    event->change = change;
    if (out != NULL)
        *out = event;
    return TR_OK;
}
