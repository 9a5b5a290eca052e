#include "base/ring.h"

#include <linux/futex.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

bool tr_ring_init(struct tr_ring *ring, uint32_t capacity)
{
    uint32_t size = 2;
    while (size < capacity)
        size *= 2;
    ring->slots = calloc(size, sizeof *ring->slots);
    ring->mask = size - 1;
    atomic_init(&ring->head, 0);
    atomic_init(&ring->tail, 0);
    return ring->slots != NULL;
}

void tr_ring_free(struct tr_ring *ring)
{
    free(ring->slots);
    ring->slots = NULL;
}

bool tr_ring_push(struct tr_ring *ring, void *item)
{
    uint32_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);
    uint32_t head = atomic_load_explicit(&ring->head, memory_order_acquire);
    if (tail - head > ring->mask)
        return false;
    ring->slots[tail & ring->mask] = item;
    atomic_store_explicit(&ring->tail, tail + 1, memory_order_release);
    return true;
}

void *tr_ring_pop(struct tr_ring *ring)
{
    uint32_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
    uint32_t tail = atomic_load_explicit(&ring->tail, memory_order_acquire);
    if (head == tail)
        return NULL;
    void *item = ring->slots[head & ring->mask];
    atomic_store_explicit(&ring->head, head + 1, memory_order_release);
    return item;
}

uint32_t tr_ring_count(const struct tr_ring *ring)
{
    return atomic_load_explicit(&ring->tail, memory_order_acquire) -
           atomic_load_explicit(&ring->head, memory_order_acquire);
}

uint32_t tr_bell_ticket(struct tr_bell *bell)
{
    return atomic_load(&bell->count);
}

void tr_bell_wait(struct tr_bell *bell, uint32_t ticket, int timeout_ms)
{
    struct timespec timeout = {.tv_sec = timeout_ms / 1000,
                               .tv_nsec = (long)(timeout_ms % 1000) * 1000000L};
    atomic_fetch_add(&bell->waiting, 1);
    if (atomic_load(&bell->count) == ticket)
        (void)syscall(SYS_futex, &bell->count, FUTEX_WAIT_PRIVATE, ticket, &timeout, NULL, 0);
    atomic_fetch_sub(&bell->waiting, 1);
}

void tr_bell_ring(struct tr_bell *bell)
{
    atomic_fetch_add(&bell->count, 1);
    if (atomic_load(&bell->waiting) != 0)
        (void)syscall(SYS_futex, &bell->count, FUTEX_WAKE_PRIVATE, 0x7fffffff, NULL, NULL, 0);
}
