/* Marks that wait for the end of a sink's transaction, merged: of each key only the last value is
 * written. And the guard of the marks that several processes of one pipeline advance (TR_MARK_SPLIT).
 *
 * The guard. A store of such a mark is a compare-and-set: the sink knows which value the table must
 * hold, and finds out when another process has written since. What it must find, for a key:
 *
 *   loaded by load_marks, or stored by this writer   exactly that value (or no row, where it removed
 *                                                    the row itself)
 *   claimed in this transaction                      or else the claimed value. The first COMMIT since
 *                                                    the last store that names the key claims its value
 *                                                    when it ends an empty source transaction: the
 *                                                    writer then holds nothing of this split between
 *                                                    what it knew and that position, and what follows
 *                                                    goes on from there. So a source that was given a
 *                                                    split, and has read its stored position, sends
 *                                                    this position ahead in a COMMIT of its own
 *   neither: the row came into being after our load  no row, or a position that is not beyond the new
 *                                                    one (a split that was assigned later). From then
 *                                                    on the value that was stored counts
 *
 * Positions are decimal numbers. Deletions are not guarded. Threads: one writer. */
#ifndef TR_EVENT_PENDING_MARKS_H
#define TR_EVENT_PENDING_MARKS_H

#include "base/outbuf.h"
#include "event/state.h"

struct tr_pending_mark {
    char key[TR_MARK_KEY_BYTES_MAX + 1]; /* NUL-terminated; of a deletion by prefix without its '*' */
    uint16_t key_len;
    bool prefix;            /* deletes by prefix */
    bool guarded;
    bool claims;            /* `claim` is set */
    struct tr_outbuf value; /* NUL-terminated behind len; empty: deletes */
    struct tr_outbuf claim; /* likewise */
};
/* In the order in which they are to be carried out: what stands behind a deletion by prefix came
 * behind it. */
struct tr_pending_marks {
    struct tr_pending_mark *items;
    size_t count, capacity;
    size_t first_open; /* items before it stand before a deletion by prefix */
    size_t bytes;      /* of keys and values */
    uint32_t *slots;   /* open hash table of item index + 1 */
    uint32_t slot_count;
};
void tr_pending_marks_free(struct tr_pending_marks *marks);
void tr_pending_marks_clear(struct tr_pending_marks *marks);
/* empty: the mark's COMMIT ends a source transaction without events. Errors: OUT_OF_MEMORY,
 * INTERNAL (a mark that breaks the rules). */
enum tr_status tr_pending_marks_add(struct tr_pending_marks *marks, const struct tr_mark *mark,
                                    bool empty, struct tr_error *err) TR_WARN_UNUSED;
/* Many: commit at this boundary. */
bool tr_pending_marks_many(const struct tr_pending_marks *marks);
const char *tr_pending_value(const struct tr_pending_mark *mark); /* NUL-terminated */
const char *tr_pending_claim(const struct tr_pending_mark *mark); /* NULL: none */

struct tr_mark_guard {
    struct tr_state known; /* guarded key → "=value", or "=" when the table has no row */
};
void tr_mark_guard_free(struct tr_mark_guard *guard);
/* Only the guarded ones of them. */
enum tr_status tr_mark_guard_load(struct tr_mark_guard *guard, const struct tr_state *marks,
                                  struct tr_error *err) TR_WARN_UNUSED;
/* What the table must hold: "" no row; NULL: not known. Valid until the next change. */
const char *tr_mark_guard_known(const struct tr_mark_guard *guard, const char *key);
/* stored: what the table holds, NULL no row. */
bool tr_mark_guard_accepts(const struct tr_mark_guard *guard, const struct tr_pending_mark *mark,
                           const char *stored);
/* The marks are in the table now. */
enum tr_status tr_mark_guard_stored(struct tr_mark_guard *guard,
                                    const struct tr_pending_marks *marks,
                                    struct tr_error *err) TR_WARN_UNUSED;
/* Fills err: another process has written. */
enum tr_status tr_mark_guard_conflict(const char *pipeline, const char *where,
                                      struct tr_error *err);

#endif
