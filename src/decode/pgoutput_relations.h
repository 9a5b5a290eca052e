/* The relations of one pgoutput stream: oid → table. Open addressing with linear probing; entries
 * are never removed but by clear, so probing needs no tombstones. One thread. */
#ifndef TR_DECODE_PGOUTPUT_RELATIONS_H
#define TR_DECODE_PGOUTPUT_RELATIONS_H

#include "tailrace/event.h"

/* More relations than this in one stream is taken for a broken stream. */
#define TR_PGOUTPUT_RELATIONS_MAX (1u << 20)

struct tr_pgoutput_entry {
    uint32_t oid; /* 0 = free slot: no relation has that oid */
    uint16_t column_count;
    uint32_t batch_slot; /* where the last batch keeps its reference: a guess, always checked */
    const struct tr_table *table; /* a reference; NULL = not captured */
    uint8_t *identity; /* one bool per column: part of the replica identity; NULL with table */
};
struct tr_pgoutput_relations {
    struct tr_pgoutput_entry *entries; /* capacity is a power of two; NULL while empty */
    uint32_t capacity, count;
};

static inline uint32_t tr_pgoutput_hash(uint32_t oid)
{
    uint32_t hash = oid * 0x9E3779B1u;
    return hash ^ hash >> 15;
}
/* NULL when there was no Relation message for this oid. */
static inline struct tr_pgoutput_entry *
tr_pgoutput_relations_find(const struct tr_pgoutput_relations *map, uint32_t oid)
{
    if (map->capacity == 0 || oid == 0)
        return NULL;
    uint32_t mask = map->capacity - 1;
    for (uint32_t at = tr_pgoutput_hash(oid) & mask;; at = (at + 1) & mask) {
        if (map->entries[at].oid == oid)
            return &map->entries[at];
        if (map->entries[at].oid == 0)
            return NULL;
    }
}
/* Takes over the reference and the identity array also when it fails. */
enum tr_status tr_pgoutput_relations_put(struct tr_pgoutput_relations *map,
                                         const struct tr_pgoutput_entry *entry,
                                         struct tr_error *err) TR_WARN_UNUSED;
void tr_pgoutput_relations_clear(struct tr_pgoutput_relations *map);

#endif
