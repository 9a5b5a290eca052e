/* Cells → one array parameter, in the binary form where that is sure to be the same value. Pure. */
#ifndef TR_SINK_POSTGRES_ARRAY_H
#define TR_SINK_POSTGRES_ARRAY_H

#include "base/outbuf.h"
#include "tailrace/event.h"

#define TR_PGS_TEXT_OID 25u

/* Appends one cell, TEXT or NULL, as the server's binary protocol has a value: its length, then
 * what the receive function of the type reads. false: its text is not one of those that are
 * converted. */
typedef bool (*tr_pgs_value_fn)(struct tr_outbuf *out, const struct tr_cell *cell);
/* NULL: values of this type (an oid) travel as text. */
tr_pgs_value_fn tr_pgs_value_of(uint32_t type);

/* The array of `count` cells (at least one) of an element type, into `out`: binary when the type
 * and every value allow it, else the literal. Returns whether it is binary. A literal is
 * NUL-terminated. `plain`: see tr_pgs_array_item. */
bool tr_pgs_array(struct tr_outbuf *out, uint32_t element_type, bool plain,
                  const struct tr_cell *const *cells, uint32_t count);

#endif
