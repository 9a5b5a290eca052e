#include "sink/kafka/window.h"

#include <stdlib.h>

#define DELIVERED (UINT64_C(1) << 63)
#define SLOT(record) ((record) & (WINDOW_RECORDS_MAX - 1))

bool kafka_window_init(struct kafka_window *window)
{
    *window = (struct kafka_window){.seqs = calloc(WINDOW_RECORDS_MAX, sizeof(uint64_t))};
    return window->seqs != NULL;
}

void kafka_window_free(struct kafka_window *window)
{
    free(window->seqs);
    window->seqs = NULL;
}

uint64_t kafka_window_add(struct kafka_window *window, uint64_t seq)
{
    window->seqs[SLOT(window->next)] = seq;
    return window->next++;
}

void kafka_window_undo(struct kafka_window *window) { window->next--; }

void kafka_window_delivered(struct kafka_window *window, uint64_t record)
{
    window->seqs[SLOT(record)] |= DELIVERED;
    while (window->first < window->next && (window->seqs[SLOT(window->first)] & DELIVERED) != 0)
        window->first++;
}

uint64_t kafka_window_seq(const struct kafka_window *window, uint64_t record)
{
    return window->seqs[SLOT(record)] & ~DELIVERED;
}

uint64_t kafka_window_durable(const struct kafka_window *window)
{
    if (kafka_window_empty(window))
        return window->accepted_seq;
    uint64_t seq = window->seqs[SLOT(window->first)] & ~DELIVERED;
    return seq == 0 ? 0 : seq - 1;
}
