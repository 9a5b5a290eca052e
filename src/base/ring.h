/* SPSC ring of pointers: one producer thread, one consumer thread, no lock on the fast path; a futex
 * when one side has to wait. Capacity is a power of two and fixed. */
#ifndef TR_BASE_RING_H
#define TR_BASE_RING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tr_ring {
    void **slots;
    uint32_t mask;
    _Alignas(64) _Atomic uint32_t head; /* next to pop; consumer writes */
    _Alignas(64) _Atomic uint32_t tail; /* next to push; producer writes */
};

bool tr_ring_init(struct tr_ring *ring, uint32_t capacity); /* false: no memory */
void tr_ring_free(struct tr_ring *ring);
bool tr_ring_push(struct tr_ring *ring, void *item); /* false: full */
void *tr_ring_pop(struct tr_ring *ring);             /* NULL: empty */
uint32_t tr_ring_count(const struct tr_ring *ring);

/* A wake-up that one thread waits on and any thread rings; counts are never lost. */
struct tr_bell {
    _Atomic uint32_t count;
    _Atomic uint32_t waiting;
};
uint32_t tr_bell_ticket(struct tr_bell *bell);
/* Waits until the count differs from ticket, or timeout_ms passed. */
void tr_bell_wait(struct tr_bell *bell, uint32_t ticket, int timeout_ms);
void tr_bell_ring(struct tr_bell *bell);

#endif
