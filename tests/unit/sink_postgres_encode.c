/* The pure parts of the PostgreSQL sink: COPY lines, array literals. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "sink/postgres/encode.h"

static struct tr_cell text(const char *value)
{
    return (struct tr_cell){value, (uint32_t)strlen(value), TR_CELL_TEXT};
}

static void copy_lines(void **state)
{
    (void)state;
    struct tr_cell cells[] = {text("a\tb\nc\rd\\"),
                              {NULL, 0, TR_CELL_NULL},
                              text(""),
                              text("\\N"),
                              {"\0\xab", 2, TR_CELL_BINARY}};
    static const uint16_t all[] = {0, 1, 2, 3, 4}, two[] = {4, 0};
    struct tr_outbuf out = {0};
    tr_pgs_copy_line(&out, cells, all, 5);
    assert_string_equal(tr_outbuf_cstr(&out), "a\\tb\\nc\\rd\\\\\t\\N\t\t\\\\N\t\\\\x00ab\n");
    tr_outbuf_clear(&out);
    tr_pgs_copy_line(&out, cells, two, 2);
    assert_string_equal(tr_outbuf_cstr(&out), "\\\\x00ab\ta\\tb\\nc\\rd\\\\\n");
    tr_outbuf_clear(&out);
    tr_pgs_copy_line(&out, cells, NULL, 0);
    assert_string_equal(tr_outbuf_cstr(&out), "\n");
    tr_outbuf_free(&out);
}

static void split_lines(void **state)
{
    (void)state;
    struct tr_arena arena;
    struct tr_cell cells[8];
    tr_arena_init(&arena, 1024, 0);
    struct tr_slice line = {"a\\tb\\\\\t\\N\t\t\\\\N\t\\101\\x42\\q\\n\n", 31};
    line.len = strlen(line.ptr);
    assert_true(tr_pgs_split_line(line, cells, 5, &arena));
    assert_string_equal(cells[0].ptr, "a\tb\\");
    assert_int_equal(cells[1].state, TR_CELL_NULL);
    assert_int_equal(cells[2].len, 0);
    assert_string_equal(cells[3].ptr, "\\N");
    assert_string_equal(cells[4].ptr, "ABq\n");
    assert_false(tr_pgs_split_line(line, cells, 4, &arena));
    assert_false(tr_pgs_split_line(line, cells, 6, &arena));
    assert_true(tr_pgs_split_line((struct tr_slice){"\n", 1}, cells, 1, &arena));
    assert_true(
        tr_pgs_split_line((struct tr_slice){"end\\", 4}, cells, 1, &arena)); /* a lone backslash */
    assert_string_equal(cells[0].ptr, "end");
    tr_arena_free(&arena);
}

/* What copy_line writes, split_line reads. */
static void lines_round_trip(void **state)
{
    (void)state;
    struct tr_arena arena;
    tr_arena_init(&arena, 4096, 0);
    static const uint16_t columns[] = {0, 1};
    unsigned seed = 12345;
    for (int round = 0; round < 2000; round++) {
        char bytes[2][24];
        struct tr_cell cells[2], back[2];
        struct tr_outbuf out = {0};
        for (int c = 0; c < 2; c++) {
            uint32_t len = (seed = seed * 1103515245 + 12345) >> 16 & 15;
            for (uint32_t i = 0; i < len; i++) {
                seed = seed * 1103515245 + 12345;
                bytes[c][i] = "\\\t\n\rNx01b\"{ \x01\x7f\xc3."[seed >> 16 & 15];
            }
            cells[c] = (struct tr_cell){bytes[c], len, TR_CELL_TEXT};
        }
        tr_pgs_copy_line(&out, cells, columns, 2);
        assert_true(tr_pgs_split_line((struct tr_slice){out.data, out.len}, back, 2, &arena));
        for (int c = 0; c < 2; c++) {
            assert_int_equal(back[c].state, TR_CELL_TEXT);
            assert_int_equal(back[c].len, cells[c].len);
            assert_memory_equal(back[c].ptr, cells[c].ptr, cells[c].len);
        }
        tr_outbuf_free(&out);
        tr_arena_reset(&arena);
    }
    tr_arena_free(&arena);
}

static void cut_lines(void **state)
{
    (void)state;
    struct tr_outbuf out = {0};
    static const int32_t places[] = {0, -1, 2};
    assert_true(tr_pgs_cut_line(&out, (struct tr_slice){"a\\tb\tgone\tc\n", 12}, places, 3));
    assert_string_equal(tr_outbuf_cstr(&out), "a\\tb\tc\n");
    assert_false(tr_pgs_cut_line(&out, (struct tr_slice){"a\tb\n", 4}, places, 3));
    assert_false(tr_pgs_cut_line(&out, (struct tr_slice){"a\tb\tc\td\n", 8}, places, 3));
    tr_outbuf_free(&out);
}

static void array_items(void **state)
{
    (void)state;
    static const struct {
        const char *value;
        bool plain;
        const char *expected;
    } cases[] = {{"12", true, "12"},
                 {"-1.5e7", true, "-1.5e7"},
                 {"NaN", true, "\"NaN\""},
                 {"null", true, "\"null\""},
                 {"", true, "\"\""},
                 {"a,b", true, "\"a,b\""},
                 {" 1", true, "\" 1\""},
                 {"12", false, "\"12\""},
                 {"a\"b\\c", false, "\"a\\\"b\\\\c\""},
                 {"2024-01-01 10:00:00+00", true, "2024-01-01 10:00:00+00"}};
    struct tr_outbuf out = {0};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct tr_cell cell = text(cases[i].value);
        tr_outbuf_clear(&out);
        tr_pgs_array_item(&out, &cell, cases[i].plain);
        assert_string_equal(tr_outbuf_cstr(&out), cases[i].expected);
    }
    struct tr_cell null = {.state = TR_CELL_NULL};
    tr_outbuf_clear(&out);
    tr_pgs_array_item(&out, &null, true);
    assert_string_equal(tr_outbuf_cstr(&out), "NULL");
    tr_outbuf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(copy_lines),       cmocka_unit_test(split_lines),
        cmocka_unit_test(lines_round_trip), cmocka_unit_test(cut_lines),
        cmocka_unit_test(array_items),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
