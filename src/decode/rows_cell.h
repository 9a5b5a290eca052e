/* Values of messages → cells in their column's canonical text. Shared by every format whose values
 * are text or JSON.
 *
 * What each type takes, from a string or from JSON:
 *   BOOLEAN      true, false; 1, 0; "true", "false", "t", "f", "1", "0"
 *   INT*, UINT64 whole numbers within range, also written 1.0 or 1e3, also as strings
 *   FLOAT*       numbers, also as strings; "NaN", "Infinity", "-Infinity"
 *   DECIMAL      numbers, also as strings, that fit precision and scale without rounding
 *   STRING       strings as long as the column allows; numbers, true and false, objects and arrays
 * as their JSON text BYTES        base64 with or without padding, also its URL alphabet DATE
 * 2024-02-29, also with the time 00:00; days since 1970-01-01 TIME         12:34[:56[.789]];
 * milliseconds since midnight TIMESTAMP    2024-02-29[T12:34[:56[.789]]][zone]: with a zone the UTC
 * time; milliseconds since 1970 TIMESTAMPTZ  the same; without a zone UTC is meant JSON anything,
 * as its JSON text UUID         32 hexadecimal digits with or without dashes */
#ifndef TR_DECODE_ROWS_CELL_H
#define TR_DECODE_ROWS_CELL_H

#include "decode/json_reader.h"
#include "event/batch.h"

/* Both fill *cell and give NULL, or say what is wrong: static words that end "column x: …". Cells
 * may point into the text, which must live as long as the batch; what has to be written anew goes
 * to the batch's arena. tr_cell_no_memory means OUT_OF_MEMORY, everything else is the message's
 * fault. */
const char *tr_cell_from_text(const struct tr_column *column, struct tr_slice text,
                              struct tr_batch *batch, struct tr_cell *cell);
const char *tr_cell_from_json(const struct tr_column *column, const struct tr_json_node *node,
                              struct tr_batch *batch, struct tr_cell *cell);
extern const char tr_cell_no_memory[];

/* A string's value; points into the message when it has no escapes. ptr NULL: no memory. */
struct tr_slice tr_json_string_value(const struct tr_json_node *string, struct tr_batch *batch);

/* Inference. The type of a column whose first value is this (not null). */
enum tr_type tr_infer_type(const struct tr_json_node *node);
/* Can an inferred column of this type hold the value without losing any of it? */
bool tr_infer_fits(enum tr_type type, const struct tr_json_node *node);
/* The type that holds what the column had and this value too. */
enum tr_type tr_infer_wider(enum tr_type type, const struct tr_json_node *node);

#endif
