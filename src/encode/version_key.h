/* Versions and keys as text, for last write wins (sink.h).
 *
 * A version's key compares by its bytes (memcmp, COLLATE "C") as the values compare: numbers as
 * numbers, times as times. It is UTF-8 without NUL, so that every database can keep it. Keys of
 * different types of one family compare too: a column may grow from int to numeric, from date to
 * timestamp. NULL is the empty key, before every other. Pure. */
#ifndef TR_ENCODE_VERSION_KEY_H
#define TR_ENCODE_VERSION_KEY_H

#include "base/outbuf.h"
#include "tailrace/event.h"

/* May a column of this type be the version? Numbers, dates, times of day, timestamps, text, uuid. */
bool tr_version_type(enum tr_type type);
/* Appends the key of a cell (NULL, TEXT). false: the text has not the form of the type; what was
 * appended is of no use. */
bool tr_version_key(enum tr_type type, const struct tr_cell *cell, struct tr_outbuf *out);

/* Appends the key column number `index` of a row: '[' or ',' and its JSON text. The caller ends the
 * array. Equal values of a type have equal texts (1.0 and 1.00 of a DECIMAL too). */
void tr_key_text(struct tr_outbuf *out, unsigned index, enum tr_type type,
                 const struct tr_cell *cell);

#endif
