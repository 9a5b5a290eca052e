/* Sets of positions: against a plain bitmap, their text and back, limits, damage. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "pipeline/ranges.h"

#define POSITIONS 300
#define STEPS 400
#define ROUNDS 100

static unsigned long long random_state;
static unsigned next_random(void)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(random_state >> 40);
}

static void check(const struct tr_ranges *ranges, const bool *map)
{
    size_t runs = 0;
    for (int i = 0; i < POSITIONS; i++) {
        assert_int_equal(tr_ranges_has(ranges, i), map[i]);
        runs += map[i] && (i == 0 || !map[i - 1]);
    }
    assert_false(tr_ranges_has(ranges, POSITIONS));
    assert_int_equal(ranges->count, runs); /* neighbours are one range */
    for (size_t i = 0; i < ranges->count; i++) {
        assert_true(ranges->items[i].first <= ranges->items[i].last);
        assert_true(i == 0 || ranges->items[i - 1].last + 1 < ranges->items[i].first);
    }
}

static void check_text(const struct tr_ranges *ranges, const bool *map)
{
    struct tr_outbuf text = {0}, again = {0};
    struct tr_ranges read = {0};
    struct tr_error err;
    tr_ranges_print(ranges, &text);
    assert_int_equal(tr_ranges_parse(&read, tr_outbuf_cstr(&text), &err), TR_OK);
    check(&read, map);
    tr_ranges_print(&read, &again);
    assert_string_equal(tr_outbuf_cstr(&text), tr_outbuf_cstr(&again));
    /* what is there already does not matter */
    assert_int_equal(tr_ranges_parse(&read, tr_outbuf_cstr(&text), &err), TR_OK);
    check(&read, map);
    tr_ranges_free(&read);
    tr_outbuf_free(&text);
    tr_outbuf_free(&again);
}

static void it_is_what_a_bitmap_is(void **unused)
{
    (void)unused;
    struct tr_error err;
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct tr_ranges ranges = {0};
        bool map[POSITIONS] = {false};
        int64_t base = next_random() % 2 == 0 ? 0 : next_random() % POSITIONS;
        for (unsigned step = 0; step < STEPS; step++) {
            int64_t at = (base + next_random() % (step < STEPS / 2 ? 40 : POSITIONS)) % POSITIONS;
            if (next_random() % 50 != 0) {
                assert_int_equal(tr_ranges_add(&ranges, at, &err), TR_OK);
                map[at] = true;
                continue;
            }
            at = next_random() % (POSITIONS / 2);
            bool any = false;
            for (int i = 0; i < at; i++) {
                any = any || map[i];
                map[i] = false;
            }
            assert_int_equal(tr_ranges_trim(&ranges, at), any);
            check(&ranges, map);
        }
        check(&ranges, map);
        check_text(&ranges, map);
        tr_ranges_free(&ranges);
    }
}

static void lists_are_put_together(void **unused)
{
    (void)unused;
    struct tr_error err;
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct tr_ranges both = {0};
        bool map[POSITIONS] = {false};
        for (unsigned list = 0; list < 3; list++) {
            struct tr_outbuf text = {0};
            struct tr_ranges one = {0};
            for (unsigned i = next_random() % 60; i > 0; i--) {
                unsigned first = next_random() % POSITIONS, width = next_random() % 5;
                for (unsigned at = first; at <= first + width && at < POSITIONS; at++) {
                    map[at] = true;
                    assert_int_equal(tr_ranges_add(&one, at, &err), TR_OK);
                }
            }
            tr_ranges_print(&one, &text);
            assert_int_equal(tr_ranges_parse(&both, tr_outbuf_cstr(&text), &err), TR_OK);
            tr_ranges_free(&one);
            tr_outbuf_free(&text);
        }
        check(&both, map);
        tr_ranges_free(&both);
    }
}

static void great_positions_and_wide_ranges(void **unused)
{
    (void)unused;
    struct tr_ranges ranges = {0};
    struct tr_outbuf text = {0};
    struct tr_error err;
    static const char great[] = "0-9000000000000000000,9223372036854775806-9223372036854775807";
    assert_int_equal(tr_ranges_parse(&ranges, great, &err), TR_OK); /* and at once */
    assert_true(tr_ranges_has(&ranges, 0));
    assert_true(tr_ranges_has(&ranges, INT64_C(9000000000000000000)));
    assert_false(tr_ranges_has(&ranges, INT64_C(9000000000000000001)));
    assert_true(tr_ranges_has(&ranges, INT64_MAX));
    assert_int_equal(tr_ranges_add(&ranges, INT64_MAX, &err), TR_OK);
    tr_ranges_print(&ranges, &text);
    assert_string_equal(tr_outbuf_cstr(&text), great);
    assert_true(tr_ranges_trim(&ranges, INT64_MAX));
    assert_int_equal(ranges.count, 1);
    tr_ranges_free(&ranges);
    tr_outbuf_free(&text);
}

static void there_is_a_limit(void **unused)
{
    (void)unused;
    struct tr_ranges ranges = {0}, read = {0};
    struct tr_outbuf text = {0};
    struct tr_error err;
    const int64_t base = INT64_C(1000000000000000000);
    for (int64_t i = 0; i < TR_RANGES_MAX; i++) {
        assert_int_equal(tr_ranges_add(&ranges, base + 3 * i, &err), TR_OK);
        assert_int_equal(tr_ranges_add(&ranges, base + 3 * i + 1, &err), TR_OK);
    }
    assert_int_equal(ranges.count, TR_RANGES_MAX);
    assert_int_equal(tr_ranges_add(&ranges, base + 3 * TR_RANGES_MAX, &err), TR_AGAIN);
    assert_int_equal(tr_ranges_add(&ranges, base - 2, &err), TR_AGAIN);
    assert_int_equal(tr_ranges_add(&ranges, base, &err), TR_OK); /* is there */
    assert_int_equal(tr_ranges_add(&ranges, base + 2, &err), TR_OK); /* closes a gap */
    assert_int_equal(ranges.count, TR_RANGES_MAX - 1);
    tr_ranges_print(&ranges, &text);
    assert_true(text.len <= TR_MARK_VALUE_BYTES_MAX);
    assert_int_equal(tr_ranges_parse(&read, tr_outbuf_cstr(&text), &err), TR_OK);
    assert_int_equal(read.count, ranges.count);
    /* the list of a sink that was stored much earlier is no damage; it only has to be waited for */
    tr_outbuf_clear(&text);
    tr_outbuf_printf(&text, "1,3,5");
    assert_int_equal(tr_ranges_parse(&read, tr_outbuf_cstr(&text), &err), TR_OK);
    assert_true(read.count > TR_RANGES_MAX);
    assert_int_equal(tr_ranges_add(&read, 100, &err), TR_AGAIN);
    assert_true(tr_ranges_trim(&read, base + 30));
    assert_int_equal(tr_ranges_add(&read, base + 3 * TR_RANGES_MAX, &err), TR_OK);
    tr_ranges_free(&read);
    tr_ranges_free(&ranges);
    tr_outbuf_free(&text);
}

static void damage_is_refused(void **unused)
{
    (void)unused;
    static const char *const texts[] = {"x",    "1;2",   "-1", "5-3", "1-",  "1--2", "1,,2", " 1",
                                        "1 ,2", "1-2-3", ",1", "+1",  "1,x", "99999999999999999999",
                                        "1-99999999999999999999"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct tr_ranges ranges = {0};
        struct tr_error err;
        if (tr_ranges_parse(&ranges, texts[i], &err) != TR_FAIL)
            fail_msg("was taken: %s", texts[i]);
        assert_int_equal(err.code, TR_E_INTERNAL);
        tr_ranges_free(&ranges);
    }
    struct tr_ranges ranges = {0};
    struct tr_error err;
    assert_int_equal(tr_ranges_parse(&ranges, "", &err), TR_OK);
    assert_int_equal(ranges.count, 0);
    assert_false(tr_ranges_trim(&ranges, 100));
    tr_ranges_free(&ranges);
}

int main(int argc, char **argv)
{
    random_state = argc > 1 ? strtoull(argv[1], NULL, 10) : (unsigned long long)time(NULL);
    printf("seed %llu\n", random_state);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_what_a_bitmap_is),
        cmocka_unit_test(lists_are_put_together),
        cmocka_unit_test(great_positions_and_wide_ranges),
        cmocka_unit_test(there_is_a_limit),
        cmocka_unit_test(damage_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
