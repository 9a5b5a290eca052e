/* Decoder for PostgreSQL's COPY text format (rows of a snapshot): one line → cells. Pure. */
#ifndef TR_DECODE_PGCOPY_H
#define TR_DECODE_PGCOPY_H

#include "event/batch.h"

/* line includes its newline. Fills cells[column_count] with TEXT or NULL; unescaped values are in the
 * batch's arena, others point into line (which must live as long as the batch). A wrong number of
 * columns or a bad escape: PG_PROTOCOL. */
enum tr_status tr_pgcopy_decode(struct tr_slice line, size_t column_count, struct tr_cell *cells,
                                struct tr_batch *batch, struct tr_error *err);

#endif
