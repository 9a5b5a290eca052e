/* Ring and bell with two threads: nothing lost, nothing doubled, in order, what was written before
 * the push is seen after the pop, and no wake-up is missed. Also metrics under several threads. Run
 * under the thread sanitizer too. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/metric.h"
#include "base/ring.h"

#define ITEMS 200000u
#define PINGS 20000u
#define ADDERS 4
#define ADDS 10000

static struct tr_ring ring;
static struct tr_bell not_empty, not_full;
static uint64_t payload[ITEMS + 1]; /* plain memory, handed over by the ring alone */

static void capacity_is_kept(void **state)
{
    (void)state;
    int items[8];
    assert_true(tr_ring_init(&ring, 5)); /* the next power of two */
    for (int round = 0; round < 20; round++) {
        assert_null(tr_ring_pop(&ring));
        for (int i = 0; i < 8; i++)
            assert_true(tr_ring_push(&ring, &items[i]));
        assert_false(tr_ring_push(&ring, &items[0]));
        assert_int_equal(tr_ring_count(&ring), 8);
        for (int i = 0; i < 3; i++)
            assert_ptr_equal(tr_ring_pop(&ring), &items[i]);
        for (int i = 0; i < 3; i++)
            assert_true(tr_ring_push(&ring, &items[i]));
        for (int i = 0; i < 8; i++)
            assert_ptr_equal(tr_ring_pop(&ring), &items[(i + 3) % 8]);
    }
    tr_ring_free(&ring);
}

static void counters_may_wrap(void **state)
{
    (void)state;
    int item;
    assert_true(tr_ring_init(&ring, 4));
    atomic_store(&ring.head, UINT32_MAX - 5);
    atomic_store(&ring.tail, UINT32_MAX - 5);
    for (int i = 0; i < 20; i++) {
        assert_true(tr_ring_push(&ring, &item));
        assert_true(tr_ring_push(&ring, &item));
        assert_int_equal(tr_ring_count(&ring), 2);
        assert_ptr_equal(tr_ring_pop(&ring), &item);
        assert_ptr_equal(tr_ring_pop(&ring), &item);
        assert_null(tr_ring_pop(&ring));
    }
    tr_ring_free(&ring);
}

static void *produce(void *arg)
{
    (void)arg;
    for (uint64_t i = 1; i <= ITEMS; i++) {
        payload[i] = i * 3;
        for (;;) {
            uint32_t ticket = tr_bell_ticket(&not_full);
            if (tr_ring_push(&ring, &payload[i]))
                break;
            tr_bell_wait(&not_full, ticket, 10000);
        }
        tr_bell_ring(&not_empty);
    }
    return NULL;
}

static void two_threads_hand_over(void **state)
{
    (void)state;
    pthread_t producer;
    assert_true(tr_ring_init(&ring, 16));
    assert_int_equal(pthread_create(&producer, NULL, produce, NULL), 0);
    for (uint64_t i = 1; i <= ITEMS; i++) {
        uint64_t *item;
        for (;;) {
            uint32_t ticket = tr_bell_ticket(&not_empty);
            item = tr_ring_pop(&ring);
            if (item != NULL)
                break;
            tr_bell_wait(&not_empty, ticket, 10000);
        }
        tr_bell_ring(&not_full);
        assert_ptr_equal(item, &payload[i]);
        assert_int_equal(*item, i * 3);
    }
    assert_int_equal(pthread_join(producer, NULL), 0);
    assert_null(tr_ring_pop(&ring));
    tr_ring_free(&ring);
}

/* Each side waits for the other's bell; a lost ring would cost ten seconds each. */
static struct tr_bell ping, pong;
static _Atomic uint32_t pinged, ponged;

static void *answer_pings(void *arg)
{
    (void)arg;
    for (uint32_t i = 1; i <= PINGS; i++) {
        for (;;) {
            uint32_t ticket = tr_bell_ticket(&ping);
            if (atomic_load(&pinged) == i)
                break;
            tr_bell_wait(&ping, ticket, 10000);
        }
        atomic_store(&ponged, i);
        tr_bell_ring(&pong);
    }
    return NULL;
}

static void no_ring_of_the_bell_is_lost(void **state)
{
    (void)state;
    pthread_t thread;
    int64_t before_ms = tr_clock_mono_ms();
    assert_int_equal(pthread_create(&thread, NULL, answer_pings, NULL), 0);
    for (uint32_t i = 1; i <= PINGS; i++) {
        atomic_store(&pinged, i);
        tr_bell_ring(&ping);
        for (;;) {
            uint32_t ticket = tr_bell_ticket(&pong);
            if (atomic_load(&ponged) == i)
                break;
            tr_bell_wait(&pong, ticket, 10000);
        }
    }
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_true(tr_clock_mono_ms() - before_ms < 9000);
}

static void bell_times_out(void **state)
{
    (void)state;
    struct tr_bell bell = {0};
    int64_t before_ms = tr_clock_mono_ms();
    tr_bell_wait(&bell, tr_bell_ticket(&bell), 30);
    assert_true(tr_clock_mono_ms() - before_ms >= 25);
    uint32_t ticket = tr_bell_ticket(&bell);
    tr_bell_ring(&bell);
    before_ms = tr_clock_mono_ms();
    tr_bell_wait(&bell, ticket, 5000); /* rung already: no wait */
    assert_true(tr_clock_mono_ms() - before_ms < 1000);
}

static struct tr_metric first_metric = {
    .name = "tailrace_first_total", .unit = "things", .help = "For a test.", .kind = TR_COUNTER};
static struct tr_metric second_metric = {
    .name = "tailrace_second_bytes", .unit = "bytes", .help = "For a test.", .kind = TR_GAUGE};

static void *add_many(void *arg)
{
    (void)arg;
    for (int i = 0; i < ADDS; i++) {
        tr_metric_register(&first_metric);
        tr_metric_register(&second_metric);
        tr_metric_add(&first_metric, 1);
        tr_metric_set(&second_metric, i);
    }
    return NULL;
}

static void metrics_are_registered_once_and_add_up(void **state)
{
    (void)state;
    pthread_t threads[ADDERS];
    for (int i = 0; i < ADDERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, add_many, NULL), 0);
    for (int i = 0; i < ADDERS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(tr_metric_get(&first_metric), ADDERS * ADDS);
    assert_int_equal(tr_metric_get(&second_metric), ADDS - 1);
    unsigned first_seen = 0, second_seen = 0, count = 0;
    for (const struct tr_metric *metric = tr_metric_first(); metric != NULL;
         metric = metric->next) {
        first_seen += strcmp(metric->name, first_metric.name) == 0;
        second_seen += strcmp(metric->name, second_metric.name) == 0;
        assert_true(++count < 1000); /* no ring in the list */
    }
    assert_int_equal(first_seen, 1);
    assert_int_equal(second_seen, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(capacity_is_kept),
        cmocka_unit_test(counters_may_wrap),
        cmocka_unit_test(two_threads_hand_over),
        cmocka_unit_test(no_ring_of_the_bell_is_lost),
        cmocka_unit_test(bell_times_out),
        cmocka_unit_test(metrics_are_registered_once_and_add_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
