/* See the header. The map is at most half full, so a probe is short and always ends. */
#include "decode/pgoutput_relations.h"

#include <stdlib.h>

#define CAPACITY_MIN 64u

static void entry_release(struct tr_pgoutput_entry *entry)
{
    tr_table_unref(entry->table);
    free(entry->identity);
}

static void place(struct tr_pgoutput_relations *map, const struct tr_pgoutput_entry *entry)
{
    uint32_t mask = map->capacity - 1;
    uint32_t at = tr_pgoutput_hash(entry->oid) & mask;
    while (map->entries[at].oid != 0)
        at = (at + 1) & mask;
    map->entries[at] = *entry;
}

static bool grow(struct tr_pgoutput_relations *map)
{
    struct tr_pgoutput_relations bigger = {
        .capacity = map->capacity == 0 ? CAPACITY_MIN : map->capacity * 2, .count = map->count};
    bigger.entries = calloc(bigger.capacity, sizeof *bigger.entries);
    if (bigger.entries == NULL)
        return false;
    for (uint32_t i = 0; i < map->capacity; i++) {
        if (map->entries[i].oid != 0)
            place(&bigger, &map->entries[i]);
    }
    free(map->entries);
    *map = bigger;
    return true;
}

enum tr_status tr_pgoutput_relations_put(struct tr_pgoutput_relations *map,
                                         const struct tr_pgoutput_entry *entry,
                                         struct tr_error *err)
{
    struct tr_pgoutput_entry taken = *entry;
    struct tr_pgoutput_entry *old = tr_pgoutput_relations_find(map, taken.oid);
    if (old != NULL) {
        entry_release(old);
        *old = taken;
        return TR_OK;
    }
    if (map->count == TR_PGOUTPUT_RELATIONS_MAX) {
        entry_release(&taken);
        return tr_fail(err, TR_E_PG_PROTOCOL, "the stream names more than %u tables",
                       TR_PGOUTPUT_RELATIONS_MAX);
    }
    if (map->count * 2 >= map->capacity && !grow(map)) {
        entry_release(&taken);
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for the stream's tables");
    }
    place(map, &taken);
    map->count++;
    return TR_OK;
}

void tr_pgoutput_relations_clear(struct tr_pgoutput_relations *map)
{
    for (uint32_t i = 0; i < map->capacity; i++) {
        if (map->entries[i].oid != 0)
            entry_release(&map->entries[i]);
    }
    free(map->entries);
    *map = (struct tr_pgoutput_relations){0};
}
