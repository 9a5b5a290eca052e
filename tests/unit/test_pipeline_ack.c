/* Property: in whatever order branches become durable, the frontier is monotone, never passes a
 * record that some branch still holds, and ends with every mark applied. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "pipeline/engine.h"

#define RECORDS 200
#define BRANCHES 3

static struct tr_ack_record *record_with(unsigned number)
{
    struct tr_error err;
    struct tr_batch *batch;
    struct tr_ack_record *record;
    char text[16];
    assert_int_equal(tr_batch_new(&batch, &err), TR_OK);
    /* several commits in one batch: the last value of a key counts */
    for (unsigned i = 0; i < 3; i++) {
        int len = snprintf(text, sizeof text, "%u", number * 3 + i);
        struct tr_mark mark = {tr_slice_of("n"), {text, (size_t)len}};
        assert_int_equal(tr_batch_commit(batch, &mark, 1, NULL, &err), TR_OK);
    }
    assert_int_equal(tr_ack_record_new(batch, BRANCHES, &record, &err), TR_OK);
    assert_non_null(record);
    assert_int_equal(record->mark_count, 1);
    tr_batch_free(batch);
    return record;
}

static void any_order_gives_a_monotone_frontier(void **unused)
{
    (void)unused;
    unsigned seed = (unsigned)time(NULL);
    printf("seed %u\n", seed);
    srand(seed);
    struct tr_ack_list list = {.lock = PTHREAD_MUTEX_INITIALIZER};
    struct tr_ack_record *records[RECORDS];
    unsigned pending[RECORDS], left = RECORDS * BRANCHES, advanced = 0;
    struct tr_state state;
    struct tr_error err;
    tr_state_init(&state);
    for (unsigned i = 0; i < RECORDS; i++) {
        records[i] = record_with(i);
        pending[i] = BRANCHES;
        tr_ack_append(&list, records[i]);
    }
    long last = -1;
    while (left > 0) {
        unsigned at = (unsigned)rand() % RECORDS;
        if (pending[at] == 0)
            continue;
        pending[at]--;
        left--;
        atomic_fetch_sub(&records[at]->pending, 1);
        int64_t a = 0, b = 0;
        unsigned count = 0;
        assert_int_equal(tr_ack_advance(&list, &state, &count, &a, &b, &err), TR_OK);
        advanced += count;
        const char *value = tr_state_get(&state, "n");
        long now = value == NULL ? -1 : strtol(value, NULL, 10);
        assert_true(now >= last);
        for (unsigned i = 0; i < advanced; i++)
            assert_int_equal(pending[i], 0);
        if (advanced > 0)
            assert_int_equal(now, (long)(advanced - 1) * 3 + 2);
        last = now;
    }
    assert_int_equal(advanced, RECORDS);
    assert_true(tr_ack_empty(&list));
    tr_state_free(&state);
}

static void a_batch_without_commit_has_no_record(void **unused)
{
    (void)unused;
    struct tr_error err;
    struct tr_batch *batch;
    struct tr_ack_record *record;
    assert_int_equal(tr_batch_new(&batch, &err), TR_OK);
    (void)tr_batch_event(batch, TR_OP_MESSAGE);
    assert_int_equal(tr_ack_record_new(batch, 1, &record, &err), TR_OK);
    assert_null(record);
    tr_batch_free(batch);
}

static void deletions_keep_their_place(void **unused)
{
    (void)unused;
    struct tr_error err;
    struct tr_batch *batch;
    struct tr_ack_record *record;
    struct tr_state state;
    tr_state_init(&state);
    const struct tr_mark before[] = {{tr_slice_of("c/1"), tr_slice_of("done")}};
    const struct tr_mark wipe[] = {{tr_slice_of("c/*"), {NULL, 0}},
                                   {tr_slice_of("s"), tr_slice_of("done")}};
    const struct tr_mark after[] = {{tr_slice_of("c/1"), tr_slice_of("again")}};
    assert_int_equal(tr_batch_new(&batch, &err), TR_OK);
    assert_int_equal(tr_batch_commit(batch, before, 1, NULL, &err), TR_OK);
    assert_int_equal(tr_batch_commit(batch, wipe, 2, NULL, &err), TR_OK);
    assert_int_equal(tr_batch_commit(batch, after, 1, NULL, &err), TR_OK);
    assert_int_equal(tr_ack_record_new(batch, 0, &record, &err), TR_OK);
    struct tr_ack_list list = {.lock = PTHREAD_MUTEX_INITIALIZER};
    int64_t a, b;
    unsigned count = 0;
    tr_ack_append(&list, record);
    assert_int_equal(tr_ack_advance(&list, &state, &count, &a, &b, &err), TR_OK);
    assert_string_equal(tr_state_get(&state, "c/1"), "again");
    assert_string_equal(tr_state_get(&state, "s"), "done");
    tr_state_free(&state);
    tr_batch_free(batch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_order_gives_a_monotone_frontier),
        cmocka_unit_test(a_batch_without_commit_has_no_record),
        cmocka_unit_test(deletions_keep_their_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
