/* Dead letters: what could not be processed, as rows of one built-in table, so that every sink can hold
 * them. They travel in the stream like other rows; only the pipeline's dead-letter sink gets them.
 *
 * Columns: reason (STRING, a stable word: see enum below), code (STRING, an error code or NULL), error
 * (STRING), source_table (STRING), container (STRING: topic or file), split (INT32: partition), position
 * (INT64: offset or byte), message_time (TIMESTAMPTZ), event_time (TIMESTAMPTZ), watermark (TIMESTAMPTZ),
 * failed_at (TIMESTAMPTZ), key (STRING) and payload (STRING), the original bytes where they are UTF-8
 * without NUL, else NULL and key_bytes (BYTES), payload_bytes (BYTES) hold them. Key of the table:
 * container, split, position, reason: a letter that comes again after a crash is the same letter. */
#ifndef TR_EVENT_DEAD_LETTER_H
#define TR_EVENT_DEAD_LETTER_H

#include "event/batch.h"
#include "tailrace/message.h"

#define TR_DEAD_LETTER_TABLE "tailrace_dead_letters"

enum tr_dead_reason {
    TR_DEAD_MALFORMED, /* "malformed": the message is not what its format asks for */
    TR_DEAD_LATE,      /* "late": its event time is below the watermark */
    TR_DEAD_TRANSFORM, /* "transform": an expression failed on it */
    TR_DEAD_NO_TIME    /* "no-event-time": the event-time column is NULL or not a time */
};

struct tr_dead_letter {
    enum tr_dead_reason reason;
    const struct tr_message *message; /* with the original bytes; NULL: source without messages */
    const struct tr_table *table;     /* of the event, NULL when it was not known */
    const struct tr_error *error;     /* NULL: none (late) */
    int64_t event_time_us, watermark_us; /* TR_TIME_NONE: unknown */
};

/* The built-in table; one object for the whole process. */
const struct tr_table *tr_dead_letter_table(void);
bool tr_is_dead_letter(const struct tr_event *event);
/* Turns *event (of this batch, in place) into the letter's row. Everything is copied into the batch.
 * Errors: OUT_OF_MEMORY. */
enum tr_status tr_dead_letter_set(struct tr_batch *batch, struct tr_event *event,
                                  const struct tr_dead_letter *letter,
                                  struct tr_error *err) TR_WARN_UNUSED;
/* Appends one; the caller made sure of room. */
enum tr_status tr_dead_letter_append(struct tr_batch *batch, const struct tr_dead_letter *letter,
                                     struct tr_error *err) TR_WARN_UNUSED;

#endif
