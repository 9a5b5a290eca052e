/* Marks as text: the one format of everything that keeps a position in a file (checkpoints,
 * savepoints, the file sink's manifest). Pure bytes, no I/O.
 *
 *   MAGIC VERSION \n                        tailrace-checkpoint 1
 *   pipeline: NAME \n                       pipeline: shop
 *   generation: NUMBER \n                   generation: 42
 *   created: TIME \n                        created: 2025-01-31T10:20:30.123456Z
 *   (NOTE: TEXT \n)*                        file: 00000000000000000007-20250131T102030Z.jsonl
 *   (KEY=VALUE \n)*                         lsn=0/16B3748
 *   end count=MARKS xxh3-64=HEX \n          end count=1 xxh3-64=0123456789abcdef
 *
 * Keys ascend (strcmp). The checksum is XXH3-64 (seed 0, 16 lower-case hex digits) over every byte
 * before its digits, so over all of the file but itself. There is exactly one spelling of a given
 * content, and the reader takes no other: a file cut at any place or with any bit changed is
 * refused. The first and the last line stay as they are in all versions, so that "damaged" and
 * "from a newer tailrace" are told apart. */
#ifndef TR_EVENT_MARKS_TEXT_H
#define TR_EVENT_MARKS_TEXT_H

#include "event/state.h"

struct tr_outbuf;

#define TR_MARKS_TEXT_VERSION 1
#define TR_MARKS_TEXT_BYTES_MAX ((size_t)64 << 20)
#define TR_MARKS_TEXT_MARKS_MAX 1000000u
#define TR_MARKS_TEXT_NOTES_MAX 8u
#define TR_MARKS_TEXT_PIPELINE_BYTES_MAX 255u
#define TR_MARKS_TEXT_CREATED_BYTES 27u /* 2025-01-31T10:20:30.123456Z */

struct tr_marks_note {
    struct tr_slice name;  /* a-z and '-' */
    struct tr_slice value; /* not empty, without newline or NUL */
};
struct tr_marks_stamp {
    struct tr_slice pipeline;
    uint64_t generation;
    struct tr_slice created; /* TR_MARKS_TEXT_CREATED_BYTES long */
    uint32_t note_count;
    struct tr_marks_note notes[TR_MARKS_TEXT_NOTES_MAX];
};

enum tr_marks_verdict {
    TR_MARKS_GOOD,
    TR_MARKS_DAMAGED, /* *why says what is wrong, in words for an error message */
    TR_MARKS_NEWER,   /* whole, but of a version that this program does not know */
    TR_MARKS_NO_MEMORY
};

/* Reads `data`. Slices of *stamp point into it; marks is cleared first and only filled when GOOD.
 * why: a constant string. line: 1-based line of the fault, 0 when it concerns the whole file. */
enum tr_marks_verdict tr_marks_text_parse(const char *magic, const char *data, size_t len,
                                          struct tr_marks_stamp *stamp, struct tr_state *marks,
                                          const char **why, uint32_t *line);
/* Writes into out (cleared first). False when a limit of this header is broken or memory is out
 * (out->failed tells which). */
bool tr_marks_text_format(const char *magic, const struct tr_marks_stamp *stamp,
                          const struct tr_state *marks, struct tr_outbuf *out);
/* wall_us → the form of `created`; buf holds at least TR_MARKS_TEXT_CREATED_BYTES + 1. */
struct tr_slice tr_marks_text_created(int64_t wall_us, char *buf, size_t buf_size);
/* NULL slice when there is no such note. */
struct tr_slice tr_marks_text_note(const struct tr_marks_stamp *stamp, const char *name);

#endif
