/* The map of marks: set, delete, delete by prefix, order, what it refuses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "event/state.h"

static struct tr_state marks;
static struct tr_error err;

static int setup(void **state)
{
    (void)state;
    tr_state_init(&marks);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    tr_state_free(&marks);
    return 0;
}

static void set(const char *key, const char *value)
{
    assert_int_equal(tr_state_set(&marks, key, value, &err), TR_OK);
}

static void sets_replaces_and_deletes(void **state)
{
    (void)state;
    set("lsn", "0/1");
    set("a", "1");
    set("z", "2");
    assert_string_equal(tr_state_get(&marks, "lsn"), "0/1");
    set("lsn", "0/2");
    assert_string_equal(tr_state_get(&marks, "lsn"), "0/2");
    assert_int_equal(marks.count, 3);
    assert_string_equal(marks.items[0].key, "a");
    assert_string_equal(marks.items[2].key, "z");
    set("lsn", "");
    assert_null(tr_state_get(&marks, "lsn"));
    set("lsn", ""); /* once more: nothing there */
    assert_int_equal(marks.count, 2);
    assert_null(tr_state_get(&marks, "ls"));
    assert_null(tr_state_get(&marks, "a0"));
    assert_null(tr_state_get(&marks, ""));
}

static void prefixes(void **state)
{
    (void)state;
    set("chunk/1/1", "done");
    set("chunk/1/2", "done");
    set("chunk/10/1", "done");
    set("chunk/2/1", "done");
    set("chunk", "x");
    set("chunl", "x");
    size_t at = tr_state_seek(&marks, "chunk/1/");
    unsigned count = 0;
    for (; tr_state_has_prefix(&marks, at, "chunk/1/"); at++)
        count++;
    assert_int_equal(count, 2);
    assert_false(tr_state_has_prefix(&marks, marks.count, ""));
    set("chunk/1/*", "whatever");
    assert_int_equal(marks.count, 4);
    assert_non_null(tr_state_get(&marks, "chunk/10/1"));
    set("nothing/*", "");
    assert_int_equal(marks.count, 4);
    set("chunk*", "");
    assert_int_equal(marks.count, 1);
    assert_string_equal(marks.items[0].key, "chunl");
    set("*", "");
    assert_int_equal(marks.count, 0);
    set("*", "");
}

static void refuse(const char *key, size_t key_len, const char *value, size_t value_len)
{
    set("kept", "1");
    assert_int_equal(tr_state_apply(&marks, (struct tr_slice){key, key_len},
                                    (struct tr_slice){value, value_len}, &err),
                     TR_FAIL);
    assert_int_equal(err.code, TR_E_INTERNAL);
    assert_int_equal(marks.count, 1);
}

static void refuses_what_cannot_be_stored(void **state)
{
    (void)state;
    char *large = malloc(TR_MARK_VALUE_BYTES_MAX + 1);
    assert_non_null(large);
    memset(large, 'x', TR_MARK_VALUE_BYTES_MAX + 1);
    refuse("", 0, "1", 1);
    refuse("a b", 3, "1", 1);
    refuse("a=b", 3, "1", 1);
    refuse("a\nb", 3, "1", 1);
    refuse("a\0b", 3, "1", 1);
    refuse("\xc3\xa9", 2, "1", 1);
    refuse(large, TR_MARK_KEY_BYTES_MAX + 1, "1", 1);
    refuse("a", 1, "1\n2", 3);
    refuse("a", 1, "1\0002", 3);
    refuse("a", 1, large, TR_MARK_VALUE_BYTES_MAX + 1);
    /* exactly the bounds are fine */
    assert_int_equal(tr_state_apply(&marks, (struct tr_slice){large, TR_MARK_KEY_BYTES_MAX},
                                    (struct tr_slice){large, TR_MARK_VALUE_BYTES_MAX}, &err),
                     TR_OK);
    assert_int_equal(marks.count, 2);
    free(large);
}

static void slices_need_no_end(void **state)
{
    (void)state;
    char text[] = {'l', 's', 'n', '0', '/', '1'};
    assert_int_equal(
        tr_state_apply(&marks, (struct tr_slice){text, 3}, (struct tr_slice){text + 3, 3}, &err),
        TR_OK);
    memset(text, '#', sizeof text);
    assert_string_equal(tr_state_get(&marks, "lsn"), "0/1");
}

static void copying(void **state)
{
    (void)state;
    struct tr_state copy;
    tr_state_init(&copy);
    assert_int_equal(tr_state_set(&copy, "old", "1", &err), TR_OK);
    set("a", "1");
    set("b", "2");
    assert_int_equal(tr_state_copy(&copy, &marks, &err), TR_OK);
    set("a", "changed");
    tr_state_clear(&marks);
    assert_int_equal(copy.count, 2);
    assert_string_equal(tr_state_get(&copy, "a"), "1");
    assert_null(tr_state_get(&copy, "old"));
    tr_state_free(&copy);
    tr_state_free(&copy);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(sets_replaces_and_deletes), TEST(prefixes), TEST(refuses_what_cannot_be_stored),
        TEST(slices_need_no_end),        TEST(copying),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
