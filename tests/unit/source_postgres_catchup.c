/* Catching up: how long a chunk is, and when the log is better followed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "source/postgres/catchup.h"

#define MB (UINT64_C(1) << 20)
#define LAG (32 * MB)

static void a_chunk_is_half_as_long_as_what_is_read_again(void **state)
{
    (void)state;
    assert_int_equal(tr_pg_catchup_chunk(0, LAG), 32 * MB);
    assert_int_equal(tr_pg_catchup_chunk(60 * MB, LAG), 32 * MB);
    assert_int_equal(tr_pg_catchup_chunk(100 * MB, LAG), 50 * MB);
    assert_int_equal(tr_pg_catchup_chunk(400 * MB, LAG), 128 * MB);
    assert_int_equal(tr_pg_catchup_chunk(0, 1), 1); /* never nothing */
}

static void little_is_left_to_the_walsender(void **state)
{
    (void)state;
    assert_false(tr_pg_catchup_is_over(32 * MB, 0, false, LAG));
    assert_false(tr_pg_catchup_is_over(8 * MB, 10 * MB, false, LAG));
    assert_true(tr_pg_catchup_is_over(8 * MB - 1, 10 * MB, false, LAG));
    assert_true(tr_pg_catchup_is_over(0, 0, false, LAG));
}

static void what_is_read_again_has_a_bound(void **state)
{
    (void)state;
    assert_false(tr_pg_catchup_is_over(5000 * MB, 512 * MB, false, LAG));
    assert_true(tr_pg_catchup_is_over(5000 * MB, 512 * MB + 1, false, LAG));
}

static void a_large_transaction_ends_it(void **state)
{
    (void)state;
    /* nothing came, and the log is read again from far back: something large is open */
    assert_true(tr_pg_catchup_is_over(900 * MB, 64 * MB, true, LAG));
    /* nothing came, but no transaction is open: tables that are not captured */
    assert_false(tr_pg_catchup_is_over(900 * MB, 20 * MB, true, LAG));
    assert_false(tr_pg_catchup_is_over(900 * MB, 64 * MB, false, LAG));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_chunk_is_half_as_long_as_what_is_read_again),
        cmocka_unit_test(little_is_left_to_the_walsender),
        cmocka_unit_test(what_is_read_again_has_a_bound),
        cmocka_unit_test(a_large_transaction_ends_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
