/* A table's schema as one line of text, to be kept as a mark's value. */
#ifndef TR_EVENT_TABLE_TEXT_H
#define TR_EVENT_TABLE_TEXT_H

#include "base/outbuf.h"
#include "tailrace/event.h"

/* Appends compact JSON without a newline or other control character: everything of the table but
 * `magic` and `refs`. Names must be UTF-8. Memory: the outbuf's sticky flag. */
void tr_table_encode(const struct tr_table *table, struct tr_outbuf *out);
/* The table again, with one reference. Any text that tr_table_encode cannot have written:
 * STORED_SCHEMA; OUT_OF_MEMORY. */
enum tr_status tr_table_decode(const char *text, struct tr_table **out,
                               struct tr_error *err) TR_WARN_UNUSED;

#endif
