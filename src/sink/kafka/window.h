/* The records in flight, in the order they were handed to the client, and how far the unbroken row
 * of delivered ones goes. A fixed ring: when it is full, the writer waits. One thread. */
#ifndef TR_SINK_KAFKA_WINDOW_H
#define TR_SINK_KAFKA_WINDOW_H

#include <stdbool.h>
#include <stdint.h>

#define WINDOW_RECORDS_MAX (1u << 17)

struct kafka_window {
    uint64_t *seqs;        /* event of each record; the top bit: delivered */
    uint64_t first, next;  /* record numbers: in flight are [first, next) */
    uint64_t accepted_seq; /* the last event all of whose records were added */
};

bool kafka_window_init(struct kafka_window *window); /* false: no memory */
void kafka_window_free(struct kafka_window *window);
static inline bool kafka_window_full(const struct kafka_window *window)
{
    return window->next - window->first == WINDOW_RECORDS_MAX;
}
static inline bool kafka_window_empty(const struct kafka_window *window)
{
    return window->next == window->first;
}
/* The number that the client shall give back; the window is not full. */
uint64_t kafka_window_add(struct kafka_window *window, uint64_t seq);
/* Takes the last added record back (the client did not take it). */
void kafka_window_undo(struct kafka_window *window);
void kafka_window_delivered(struct kafka_window *window, uint64_t record);
uint64_t kafka_window_seq(const struct kafka_window *window, uint64_t record);
/* Every event up to it is delivered, or has no record. */
uint64_t kafka_window_durable(const struct kafka_window *window);

#endif
