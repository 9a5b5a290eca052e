/* Reading a table back in key order: what `tailrace verify` compares. Sources and sinks that can do so
 * give these operations. Cells are canonical text of `table`'s column types on both sides. */
#ifndef TAILRACE_CATALOG_H
#define TAILRACE_CATALOG_H

#include "event.h"

struct tr_scan; /* defined by each connector */

struct tr_scan_ops {
    /* Lists what can be scanned. On the source: the captured tables. Calls fn for each with a
     * borrowed table. Sinks leave it NULL: verify asks for the routed tables. */
    enum tr_status (*list)(void *self, void (*fn)(void *ctx, const struct tr_table *table), void *ctx,
                           struct tr_error *err);
    /* Opens a scan of `table` ordered by key; text keys order by bytes (collation "C"). When
     * key_cells != NULL only the row with exactly this key is read (key_count cells, key order).
     * A table that is absent in the target is an error of class TR_SCHEMA. */
    enum tr_status (*open)(void *self, const struct tr_table *table, const struct tr_cell *key_cells,
                           struct tr_scan **scan, struct tr_error *err);
    /* Next row: column_count cells, valid until the next call. TR_END after the last. */
    enum tr_status (*next)(struct tr_scan *scan, const struct tr_cell **cells, struct tr_error *err);
    void (*close)(struct tr_scan *scan);
    /* Source: the log's current end, to be called after a row was read. Sink: the stored position.
     * Both in the source's own number (LSN). */
    enum tr_status (*position)(void *self, uint64_t *position, struct tr_error *err);
};

#endif
