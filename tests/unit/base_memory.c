/* Arena and outbuf. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/outbuf.h"

#define BLOCK_BYTES 1024u

static void arena_gives_aligned_disjoint_pieces(void **state)
{
    (void)state;
    struct tr_arena arena;
    tr_arena_init(&arena, BLOCK_BYTES, 4 * BLOCK_BYTES);
    enum { COUNT = 500 };
    unsigned char *pieces[COUNT];
    size_t sizes[COUNT], total = 0;
    srandom(7);
    for (int i = 0; i < COUNT; i++) {
        size_t align = (size_t)1 << (random() % 5);
        sizes[i] = (size_t)(random() % 3000);
        pieces[i] = tr_arena_alloc(&arena, sizes[i], align);
        assert_non_null(pieces[i]);
        assert_int_equal((uintptr_t)pieces[i] % align, 0);
        memset(pieces[i], i & 0xff, sizes[i]);
        total += sizes[i];
    }
    assert_int_equal(arena.used_bytes, total);
    for (int i = 0; i < COUNT; i++) {
        for (size_t k = 0; k < sizes[i]; k++)
            assert_int_equal(pieces[i][k], i & 0xff);
    }
    tr_arena_free(&arena);
    assert_null(arena.first);
}

static void arena_reset_keeps_only_its_bound(void **state)
{
    (void)state;
    struct tr_arena arena;
    tr_arena_init(&arena, BLOCK_BYTES, 2 * BLOCK_BYTES);
    for (int round = 0; round < 50; round++) {
        void *first = tr_arena_alloc(&arena, 100, 8);
        for (int i = 0; i < 20; i++)
            assert_non_null(tr_arena_alloc(&arena, 900, 8));
        assert_non_null(tr_arena_alloc(&arena, 100000, 8)); /* never kept */
        tr_arena_reset(&arena);
        assert_int_equal(arena.used_bytes, 0);
        /* a kept block is used again: a steady stream allocates nothing */
        assert_ptr_equal(tr_arena_alloc(&arena, 100, 8), first);
        tr_arena_reset(&arena);
    }
    tr_arena_free(&arena);
    tr_arena_free(&arena);
}

static void arena_strings(void **state)
{
    (void)state;
    struct tr_arena arena;
    tr_arena_init(&arena, BLOCK_BYTES, 0);
    assert_string_equal(tr_arena_strndup(&arena, "abcdef", 3), "abc");
    assert_string_equal(tr_arena_strndup(&arena, NULL, 0), "");
    assert_string_equal(tr_arena_strdup(&arena, "xyz"), "xyz");
    assert_null(tr_arena_strndup(&arena, "x", SIZE_MAX));
    assert_null(tr_arena_alloc(&arena, SIZE_MAX - 8, 8));
    assert_string_equal(tr_arena_strdup(&arena, "still works"), "still works");
    tr_arena_free(&arena);
}

static void expect_digits(struct tr_outbuf *out, uint64_t value)
{
    char want[24];
    (void)snprintf(want, sizeof want, "%llu", (unsigned long long)value);
    tr_outbuf_clear(out);
    tr_outbuf_u64(out, value);
    assert_string_equal(tr_outbuf_cstr(out), want);
}

static void outbuf_digits(void **state)
{
    (void)state;
    struct tr_outbuf out = {0};
    for (uint64_t value = 0; value < 10100; value++)
        expect_digits(&out, value);
    for (uint64_t power = 10; power < UINT64_MAX / 10; power *= 10) {
        for (uint64_t near = 0; near < 3; near++)
            expect_digits(&out, power - 1 + near);
    }
    tr_outbuf_free(&out);
}

static void outbuf_numbers_and_text(void **state)
{
    (void)state;
    struct tr_outbuf out = {0};
    assert_string_equal(tr_outbuf_cstr(&out), "");
    tr_outbuf_u64(&out, 0);
    tr_outbuf_byte(&out, ' ');
    tr_outbuf_u64(&out, UINT64_MAX);
    tr_outbuf_lit(&out, " ");
    tr_outbuf_i64(&out, INT64_MIN);
    tr_outbuf_str(&out, " ");
    tr_outbuf_i64(&out, INT64_MAX);
    tr_outbuf_printf(&out, " %s-%03d", "x", 7);
    tr_outbuf_bytes(&out, NULL, 0);
    assert_string_equal(tr_outbuf_cstr(&out),
                        "0 18446744073709551615 -9223372036854775808 9223372036854775807 x-007");
    size_t len = out.len;
    assert_string_equal(tr_outbuf_cstr(&out) + len, "");
    assert_int_equal(out.len, len);
    tr_outbuf_clear(&out);
    assert_int_equal(out.len, 0);
    tr_outbuf_free(&out);
}

static void outbuf_grows_over_every_size(void **state)
{
    (void)state;
    struct tr_outbuf out = {0};
    for (unsigned i = 0; i < 20000; i++)
        tr_outbuf_byte(&out, (char)i);
    for (unsigned i = 0; i < 20000; i++)
        assert_int_equal(out.data[i], (char)i);
    tr_outbuf_free(&out);
}

static void outbuf_failure_sticks_until_cleared(void **state)
{
    (void)state;
    struct tr_outbuf out = {0};
    tr_outbuf_str(&out, "abc");
    assert_false(tr_outbuf_reserve(&out, SIZE_MAX - 1));
    assert_true(out.failed);
    tr_outbuf_printf(&out, "%01000d", 1);
    tr_outbuf_str(&out,
                  "more than there was room for, whatever that was: no byte may be written past "
                  "the end, and nothing may make the failure go away, so that one check at the "
                  "end is enough. The first block is of two hundred and fifty-six bytes, hence "
                  "the length of this sentence.");
    assert_true(out.failed);
    assert_string_equal(tr_outbuf_cstr(&out), "");
    tr_outbuf_clear(&out);
    tr_outbuf_str(&out, "new");
    assert_string_equal(tr_outbuf_cstr(&out), "new");
    tr_outbuf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arena_gives_aligned_disjoint_pieces),
        cmocka_unit_test(arena_reset_keeps_only_its_bound),
        cmocka_unit_test(arena_strings),
        cmocka_unit_test(outbuf_digits),
        cmocka_unit_test(outbuf_numbers_and_text),
        cmocka_unit_test(outbuf_grows_over_every_size),
        cmocka_unit_test(outbuf_failure_sticks_until_cleared),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
