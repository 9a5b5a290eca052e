/* Changes that were accepted and are not yet applied, in the order of the source; and their merging
 * by key. A writer has two of them: what lies behind the last COMMIT event moves to the other one
 * when what is before it was committed. */
#ifndef TR_SINK_POSTGRES_CHANGES_H
#define TR_SINK_POSTGRES_CHANGES_H

#include "sink/postgres/target.h"

struct tr_pgs_change {
    uint64_t seq;
    struct tr_pgs_layout *layout;
    const struct tr_cell *after; /* column_count cells, TEXT or NULL or not present; NULL: DELETE */
    const struct tr_cell *key; /* key_count cells of the row's key (a DELETE's too); NULL: no key */
    const struct tr_cell
        *old_key; /* key_changed: the key before; table without key: the whole row before */
    const char *version;     /* tables with a version: its text; NULL: NULL */
    const char *version_key; /* … and what it compares by; NULL: a table without one */
    size_t bytes;
    uint8_t op; /* 'c', 'u', 'd' */
    bool key_changed;
    bool full; /* after has no value that the source did not send */
};
struct tr_pgs_changes {
    struct tr_pgs_change *items;
    size_t count, capacity;
    size_t bytes;
    struct tr_arena arena;
    struct tr_outbuf key; /* scratch */
};
void tr_pgs_changes_init(struct tr_pgs_changes *changes);
void tr_pgs_changes_free(struct tr_pgs_changes *changes);
void tr_pgs_changes_reset(struct tr_pgs_changes *changes);
/* Copies one row event (c, u, d, or r with cells or raw). DATA errors name its seq. A changed key of a
 * table with a version is a deletion and a new row, where the row came in full. */
enum tr_status tr_pgs_changes_add(struct tr_pgs_changes *changes, struct tr_pgs_layout *layout,
                                  const struct tr_event *event,
                                  struct tr_error *err) TR_WARN_UNUSED;
/* Copies items [from, count) of another one. */
enum tr_status tr_pgs_changes_move(struct tr_pgs_changes *to, const struct tr_pgs_changes *changes,
                                   size_t from, struct tr_error *err) TR_WARN_UNUSED;

/* ---- coalesce.c ---- */

enum tr_pgs_row_kind {
    TR_PGS_ROW_DELETE, /* in this order they are applied */
    TR_PGS_ROW_UPDATE,
    TR_PGS_ROW_UPSERT,
    TR_PGS_ROW_INSERT
};
/* What is to become of one key. */
struct tr_pgs_row {
    const struct tr_cell *cells; /* NULL: DELETE */
    const struct tr_cell *key;
    const char *version, *version_key; /* as in the change */
    uint64_t hash;
    struct tr_pgs_shape *shape;
    uint8_t kind;
    bool full;
};
struct tr_pgs_order {
    uint64_t prefix; /* sorts like the key, roughly */
    uint32_t row;
    uint32_t shape; /* number within the group */
    uint8_t kind;
};
/* All changes of one layout within one apply. */
struct tr_pgs_group {
    struct tr_pgs_layout *layout;
    struct tr_pgs_row *rows;
    struct tr_pgs_order *order; /* by kind, shape, key */
    uint32_t row_count, row_capacity, order_count;
    uint32_t *slots; /* hash table of row index + 1 */
    uint32_t slot_count;
    bool ordered; /* must go row by row in the order of the source */
};
struct tr_pgs_groups {
    struct tr_pgs_group *items;
    uint32_t count, capacity; /* items beyond count keep their memory */
    uint64_t apply_number;
};
void tr_pgs_groups_free(struct tr_pgs_groups *groups);
/* Merges changes [0, count). With all_ordered nothing is merged. Merged cells go into the changes'
 * arena. */
enum tr_status tr_pgs_coalesce(struct tr_pgs_groups *groups, struct tr_pgs_link *link,
                               struct tr_pgs_changes *changes, size_t count, bool all_ordered,
                               struct tr_error *err) TR_WARN_UNUSED;

#endif
