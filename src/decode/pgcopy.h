/* Decoder for PostgreSQL's COPY formats (rows of a snapshot): text, one line → cells; binary, the frame
 * of tuples, which are passed on as they are. Pure. */
#ifndef TR_DECODE_PGCOPY_H
#define TR_DECODE_PGCOPY_H

#include "event/batch.h"

/* line includes its newline. Fills cells[column_count] with TEXT or NULL; unescaped values are in the
 * batch's arena, others point into line (which must live as long as the batch). A wrong number of
 * columns or a bad escape: PG_PROTOCOL. */
enum tr_status tr_pgcopy_decode(struct tr_slice line, size_t column_count, struct tr_cell *cells,
                                struct tr_batch *batch, struct tr_error *err);
/* One message of COPY … TO STDOUT (FORMAT binary): the tuple in it; len 0 when there is none (a message
 * of the header alone, or of the trailer). *header_seen begins as false with each COPY. Another format,
 * or another number of columns: PG_PROTOCOL. */
enum tr_status tr_pgcopy_binary_row(struct tr_slice message, bool *header_seen,
                                    uint16_t column_count, struct tr_slice *row,
                                    struct tr_error *err);

#endif
