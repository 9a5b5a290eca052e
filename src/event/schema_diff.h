/* What changed between two schema versions of one table. */
#ifndef TR_EVENT_SCHEMA_DIFF_H
#define TR_EVENT_SCHEMA_DIFF_H

#include "base/arena.h"
#include "tailrace/event.h"

/* Fills *out with kind, before (borrowed), items (in the arena) and rename_cycle.
 *   ALTER_TABLE with item_count > 0: apply the items in their order: DROP, RENAME, ADD, TYPE,
 * NULLABLE, DEFAULT, KEY. They describe columns only; when the IDs differ too, the caller emits a
 *     RENAME_TABLE first.
 *   RENAME_TABLE: only the ID differs.
 *   ALTER_TABLE with item_count == 0: nothing that a sink cares for differs.
 * Columns are matched by source_attnum where both have one; see the .c file for the others.
 * Errors: OUT_OF_MEMORY. */
enum tr_status tr_schema_diff(const struct tr_table *before, const struct tr_table *after,
                              struct tr_arena *arena, struct tr_schema_change *out,
                              struct tr_error *err) TR_WARN_UNUSED;

#endif
