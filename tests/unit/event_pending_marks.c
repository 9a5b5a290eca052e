/* Merging of marks, and the guard against other processes of the pipeline. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "event/pending_marks.h"

static struct tr_error err;

static void add_as(struct tr_pending_marks *marks, const char *key, const char *value, bool empty)
{
    struct tr_mark mark = {{key, strlen(key)}, {value, strlen(value)}};
    assert_int_equal(tr_pending_marks_add(marks, &mark, empty, &err), TR_OK);
}

static void add(struct tr_pending_marks *marks, const char *key, const char *value)
{
    add_as(marks, key, value, false);
}

static const char *text(const struct tr_pending_marks *marks)
{
    static char buf[4096];
    size_t len = 0;
    buf[0] = '\0';
    for (size_t i = 0; i < marks->count; i++)
        len += (size_t)snprintf(buf + len, sizeof buf - len, "%s%s=%s ", marks->items[i].key,
                                marks->items[i].prefix ? "*" : "",
                                tr_pending_value(&marks->items[i]));
    return buf;
}

static void last_value_of_each_key(void **state)
{
    (void)state;
    struct tr_pending_marks marks = {0};
    for (int round = 0; round < 2; round++) { /* memory is used again after clear */
        add(&marks, "lsn", "1");
        add(&marks, "win/1", "abc");
        add(&marks, "lsn", "22");
        add(&marks, "win/1", "");
        add(&marks, "win/2", "x");
        assert_string_equal(text(&marks), "lsn=22 win/1= win/2=x ");
        add(&marks, "win/*", "");
        add(&marks, "win/2", "y");
        add(&marks, "lsn", "3");
        add(&marks, "win/2", "z");
        assert_string_equal(text(&marks), "lsn=22 win/1= win/2=x win/*= win/2=z lsn=3 ");
        tr_pending_marks_clear(&marks);
        assert_int_equal(marks.count, 0);
    }
    tr_pending_marks_free(&marks);
}

static void as_the_state_would_be(void **state)
{
    (void)state;
    struct tr_pending_marks marks = {0};
    struct tr_state expected, found;
    unsigned long long random = 11;
    tr_state_init(&expected);
    tr_state_init(&found);
    for (int i = 0; i < 20000; i++) {
        char key[300], value[32] = "";
        random = random * 6364136223846793005ull + 1442695040888963407ull;
        unsigned number = (unsigned)(random >> 40);
        (void)snprintf(key, sizeof key, number % 997 == 0 ? "k%u*" : "k%u", number % 700);
        if (number % 5 > 0)
            (void)snprintf(value, sizeof value, "%d", i);
        struct tr_mark mark = {{key, strlen(key)}, {value, strlen(value)}};
        assert_int_equal(tr_state_apply(&expected, mark.key, mark.value, &err), TR_OK);
        assert_int_equal(tr_pending_marks_add(&marks, &mark, false, &err), TR_OK);
        if (number % 3000 == 0 || i == 19999) {
            for (size_t k = 0; k < marks.count; k++) {
                struct tr_pending_mark *item = &marks.items[k];
                (void)snprintf(key, sizeof key, "%s%s", item->key, item->prefix ? "*" : "");
                const char *text = tr_pending_value(item);
                assert_int_equal(tr_state_apply(&found, (struct tr_slice){key, strlen(key)},
                                                (struct tr_slice){text, strlen(text)}, &err),
                                 TR_OK);
            }
            tr_pending_marks_clear(&marks);
            assert_int_equal(found.count, expected.count);
            for (size_t k = 0; k < found.count; k++) {
                assert_string_equal(found.items[k].key, expected.items[k].key);
                assert_string_equal(found.items[k].value, expected.items[k].value);
            }
        }
    }
    tr_state_free(&expected);
    tr_state_free(&found);
    tr_pending_marks_free(&marks);
}

static void many_and_bad(void **state)
{
    (void)state;
    struct tr_pending_marks marks = {0};
    char key[300];
    for (int i = 0; i < 4095; i++) {
        (void)snprintf(key, sizeof key, "k/%d", i);
        add(&marks, key, "v");
    }
    assert_false(tr_pending_marks_many(&marks));
    add(&marks, "k/0", "w");
    assert_false(tr_pending_marks_many(&marks));
    add(&marks, "one more", "w");
    assert_true(tr_pending_marks_many(&marks));
    tr_pending_marks_clear(&marks);
    assert_false(tr_pending_marks_many(&marks));
    memset(key, 'a', sizeof key);
    struct tr_mark bad = {{key, TR_MARK_KEY_BYTES_MAX + 1}, {"v", 1}};
    assert_int_equal(tr_pending_marks_add(&marks, &bad, false, &err), TR_FAIL);
    bad.key.len = 0;
    assert_int_equal(tr_pending_marks_add(&marks, &bad, false, &err), TR_FAIL);
    bad.key.len = TR_MARK_KEY_BYTES_MAX;
    assert_int_equal(tr_pending_marks_add(&marks, &bad, false, &err), TR_OK);
    tr_pending_marks_free(&marks);
}

/* ---- the guard ---- */

static bool accepts(struct tr_mark_guard *guard, const char *key, const char *claim,
                    const char *value, const char *stored)
{
    struct tr_pending_marks marks = {0};
    if (claim != NULL)
        add_as(&marks, key, claim, true);
    add(&marks, key, value);
    bool yes = tr_mark_guard_accepts(guard, &marks.items[0], stored);
    tr_pending_marks_free(&marks);
    return yes;
}

static void store(struct tr_mark_guard *guard, const char *key, const char *value)
{
    struct tr_pending_marks marks = {0};
    add(&marks, key, value);
    assert_int_equal(tr_mark_guard_stored(guard, &marks, &err), TR_OK);
    tr_pending_marks_free(&marks);
}

static void guard_rules(void **state)
{
    (void)state;
    struct tr_mark_guard guard = {0};
    struct tr_state marks;
    tr_state_init(&marks);
    assert_int_equal(tr_state_set(&marks, "at/t/0", "100", &err), TR_OK);
    assert_int_equal(tr_state_set(&marks, "lsn", "5", &err), TR_OK);
    assert_int_equal(tr_mark_guard_load(&guard, &marks, &err), TR_OK);
    assert_null(tr_mark_guard_known(&guard, "lsn"));
    assert_string_equal(tr_mark_guard_known(&guard, "at/t/0"), "100");
    /* loaded: exactly that */
    assert_true(accepts(&guard, "at/t/0", NULL, "200", "100"));
    assert_false(accepts(&guard, "at/t/0", NULL, "200", "150"));
    assert_false(accepts(&guard, "at/t/0", NULL, "200", NULL));
    /* claimed by an empty transaction that came first */
    assert_true(accepts(&guard, "at/t/0", "150", "200", "150"));
    assert_true(accepts(&guard, "at/t/0", "150", "200", "100"));
    assert_false(accepts(&guard, "at/t/0", "150", "200", "160"));
    /* not loaded: made since; its place may not be beyond ours */
    assert_true(accepts(&guard, "at/t/1", NULL, "1000", NULL));
    assert_true(accepts(&guard, "at/t/1", NULL, "1000", "999"));
    assert_true(accepts(&guard, "at/t/1", NULL, "1000", "1000"));
    assert_false(accepts(&guard, "at/t/1", NULL, "1000", "1001"));
    assert_false(accepts(&guard, "at/t/1", NULL, "999", "1000"));
    assert_false(accepts(&guard, "at/t/1", NULL, "5", "word"));
    /* stored: exactly that */
    store(&guard, "at/t/1", "1000");
    assert_true(accepts(&guard, "at/t/1", NULL, "1100", "1000"));
    assert_false(accepts(&guard, "at/t/1", NULL, "1100", "999"));
    assert_false(accepts(&guard, "at/t/1", NULL, "1100", NULL));
    /* removed by us: it must have stayed away */
    store(&guard, "at/t/1", "");
    assert_true(accepts(&guard, "at/t/1", NULL, "7", NULL));
    assert_false(accepts(&guard, "at/t/1", NULL, "7", "3"));
    store(&guard, "at/*", "");
    assert_false(accepts(&guard, "at/t/0", NULL, "200", "100"));
    assert_true(accepts(&guard, "at/t/0", NULL, "200", NULL));
    tr_state_free(&marks);
    tr_mark_guard_free(&guard);
}

/* A claim is the first thing that is heard of the key since the last store. */
static void only_the_first_claims(void **state)
{
    (void)state;
    struct tr_pending_marks marks = {0};
    add(&marks, "at/a", "10");
    add_as(&marks, "at/a", "20", true);
    assert_null(tr_pending_claim(&marks.items[0]));
    tr_pending_marks_clear(&marks);
    add_as(&marks, "at/a", "30", true);
    add_as(&marks, "at/a", "40", true);
    add_as(&marks, "lsn", "40", true);
    assert_string_equal(tr_pending_claim(&marks.items[0]), "30");
    assert_string_equal(tr_pending_value(&marks.items[0]), "40");
    assert_null(tr_pending_claim(&marks.items[1]));
    tr_pending_marks_clear(&marks);
    add(&marks, "at/a", "50");
    assert_null(tr_pending_claim(&marks.items[0]));
    tr_pending_marks_free(&marks);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(last_value_of_each_key), cmocka_unit_test(as_the_state_would_be),
        cmocka_unit_test(many_and_bad),           cmocka_unit_test(guard_rules),
        cmocka_unit_test(only_the_first_claims),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
