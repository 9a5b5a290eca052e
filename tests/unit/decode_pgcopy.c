/* COPY text lines → cells. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "decode/pgcopy.h"

#define NULL_CELL ((const char *)0)

static struct tr_batch *batch;
static struct tr_error err;

static int setup(void **state)
{
    (void)state;
    return tr_batch_new(&batch, &err) == TR_OK ? 0 : 1;
}

static int teardown(void **state)
{
    (void)state;
    tr_batch_free(batch);
    return 0;
}

/* The line in memory of exactly its size, so that a read past its end is seen. */
static enum tr_status decode(const char *line, size_t len, size_t column_count,
                             struct tr_cell *cells)
{
    char *exact = malloc(len == 0 ? 1 : len);
    memcpy(exact, line, len);
    assert_true(tr_batch_hold(batch, exact, len, free));
    return tr_pgcopy_decode((struct tr_slice){exact, len}, column_count, cells, batch, &err);
}

static void assert_row(const char *line, size_t column_count, const char *const *want)
{
    struct tr_cell cells[8];
    if (decode(line, strlen(line), column_count, cells) != TR_OK)
        fail_msg("%s: %s", line, err.message);
    for (size_t i = 0; i < column_count; i++) {
        if (want[i] == NULL_CELL) {
            assert_int_equal(cells[i].state, TR_CELL_NULL);
            continue;
        }
        assert_int_equal(cells[i].state, TR_CELL_TEXT);
        assert_int_equal(cells[i].len, strlen(want[i]));
        assert_memory_equal(cells[i].ptr, want[i], cells[i].len);
    }
}
#define ROW(line, ...)                                                                             \
    assert_row(line, sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *),                       \
               (const char *[]){__VA_ARGS__})

static void assert_bad(const char *line, size_t len, size_t column_count)
{
    struct tr_cell cells[8];
    assert_int_equal(decode(line, len, column_count, cells), TR_FAIL);
    assert_int_equal(err.code, TR_E_PG_PROTOCOL);
}
#define BAD(literal, count) assert_bad(literal, sizeof(literal) - 1, count)

static void plain_rows(void **state)
{
    (void)state;
    ROW("1\ttwo\tthree\n", "1", "two", "three");
    ROW("\n", "");
    ROW("\t\n", "", "");
    ROW("a long value that takes more than one word of eight bytes\tx\n",
        "a long value that takes more than one word of eight bytes", "x");
    ROW("12345678\t12345678\n", "12345678", "12345678");
    ROW("f\xc3\xbcr \x01\x02\x0d\x80\xff bytes\tx\n", "f\xc3\xbcr \x01\x02\x0d\x80\xff bytes", "x");
    struct tr_cell none[1];
    assert_int_equal(decode("\n", 1, 0, none), TR_OK);
}

static void nulls(void **state)
{
    (void)state;
    ROW("\\N\n", NULL_CELL);
    ROW("\\N\t\\N\tx\t\\N\n", NULL_CELL, NULL_CELL, "x", NULL_CELL);
    ROW("\\\\N\t\\NN\ta\\N\n", "\\N", "NN", "aN"); /* only a whole field is NULL */
}

static void escapes(void **state)
{
    (void)state;
    ROW("\\b\\f\\n\\r\\t\\v\\\\\n", "\b\f\n\r\t\v\\");
    ROW("a\\tb\tc\\\\\t\\\\d\n", "a\tb", "c\\", "\\d");
    ROW("\\101\\60\\7x\\1018\n", "A0\ax"
                                 "A8");
    ROW("\\x41\\x4G\\xg\\X\n", "A\x04GxgX");
    ROW("\\377\n", "\xff");
    ROW("\\.\n", ".");
    ROW("plain\tlong prefix without one, then \\n and a long rest without one either\tplain\n",
        "plain", "long prefix without one, then \n and a long rest without one either", "plain");
}

static void plain_values_are_not_copied(void **state)
{
    (void)state;
    static const char line[] = "value\tother\n";
    struct tr_cell cells[2];
    assert_int_equal(
        tr_pgcopy_decode((struct tr_slice){line, sizeof line - 1}, 2, cells, batch, &err), TR_OK);
    assert_ptr_equal(cells[0].ptr, line);
    assert_ptr_equal(cells[1].ptr, line + 6);
    assert_int_equal(batch->arena.used_bytes, 0);
}

static void malformed_rows(void **state)
{
    (void)state;
    BAD("", 1);
    BAD("no newline", 1);
    BAD("a\tb\n", 1);
    BAD("a\tb\n", 3);
    BAD("a\n", 0);
    BAD("a\nb\n", 1);
    BAD("12345678\n1234567\n", 1);
    BAD("a\\\n", 1);
    BAD("a\\\tb\n", 2);
    BAD("\\\n", 1);
    BAD("x\\\\\\\n", 1);
    BAD("\\000\n", 1);
    BAD("\\x0\n", 1);
    BAD("a\\n\nb\n", 1);
}

/* ---- binary ---- */

#define HEADER "PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\0"
#define TUPLE "\0\2\0\0\0\1x\377\377\377\377" /* ('x', NULL) */
#define TRAILER "\377\377"

static enum tr_status binary(const char *bytes, size_t len, bool *header_seen,
                             uint16_t column_count, struct tr_slice *row)
{
    char *exact = malloc(len == 0 ? 1 : len);
    memcpy(exact, bytes, len);
    assert_true(tr_batch_hold(batch, exact, len, free));
    return tr_pgcopy_binary_row((struct tr_slice){exact, len}, header_seen, column_count, row,
                                &err);
}
#define MESSAGE(literal) literal, sizeof(literal) - 1

static void assert_tuple(struct tr_slice row)
{
    assert_int_equal(row.len, sizeof TUPLE - 1);
    assert_memory_equal(row.ptr, TUPLE, row.len);
}

static void binary_rows(void **state)
{
    (void)state;
    struct tr_slice row;
    bool seen = false;
    assert_int_equal(binary(MESSAGE(HEADER TUPLE), &seen, 2, &row), TR_OK);
    assert_true(seen);
    assert_tuple(row);
    assert_int_equal(binary(MESSAGE(TUPLE), &seen, 2, &row), TR_OK);
    assert_tuple(row);
    assert_int_equal(binary(MESSAGE(TRAILER), &seen, 2, &row), TR_OK);
    assert_int_equal(row.len, 0);
}

static void binary_without_rows(void **state)
{
    (void)state;
    struct tr_slice row;
    bool seen = false;
    assert_int_equal(binary(MESSAGE(HEADER TRAILER), &seen, 2, &row), TR_OK);
    assert_int_equal(row.len, 0);
    seen = false;
    assert_int_equal(binary(MESSAGE(HEADER), &seen, 2, &row), TR_OK);
    assert_int_equal(row.len, 0);
    assert_int_equal(binary(MESSAGE(TUPLE), &seen, 2, &row), TR_OK);
    assert_tuple(row);
}

static void assert_bad_binary(const char *bytes, size_t len, bool seen, uint16_t column_count)
{
    struct tr_slice row;
    assert_int_equal(binary(bytes, len, &seen, column_count, &row), TR_FAIL);
    assert_int_equal(err.code, TR_E_PG_PROTOCOL);
    assert_int_equal(row.len, 0);
}

static void malformed_binary(void **state)
{
    (void)state;
    assert_bad_binary(MESSAGE(""), false, 2);
    assert_bad_binary(MESSAGE(TUPLE TUPLE), false, 2);
    assert_bad_binary(HEADER, 18, false, 2);
    assert_bad_binary(MESSAGE("PGCOPY\n\377\r\n\0\0\1\0\0\0\0\0\0" TUPLE), false,
                      2); /* with oids */
    assert_bad_binary(MESSAGE("PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\1x" TUPLE), false, 2);
    assert_bad_binary(MESSAGE(HEADER "\0"), false, 2);
    assert_bad_binary(MESSAGE(""), true, 2);
    assert_bad_binary(MESSAGE("\0"), true, 2);
    assert_bad_binary(MESSAGE(TUPLE), true, 3);
    assert_bad_binary(MESSAGE(TRAILER TUPLE), true, 2);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(plain_rows),
                                       TEST(nulls),
                                       TEST(escapes),
                                       TEST(plain_values_are_not_copied),
                                       TEST(malformed_rows),
                                       TEST(binary_rows),
                                       TEST(binary_without_rows),
                                       TEST(malformed_binary)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
