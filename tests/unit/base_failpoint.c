/* Failpoints, each in a child of its own: they are read once and end processes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <errno.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "temp_folder.h"

/* Passes "a" and "b" three times; the exit code is a digest of what they gave. */
static int pass_both(void *ctx)
{
    (void)ctx;
    int code = 0;
    for (int i = 0; i < 3; i++) {
        int a = TR_FAILPOINT("test.a"), b = TR_FAILPOINT("test.b");
        code = code * 4 + (a == EIO ? 1 : a == ENOSPC ? 2 : a != 0 ? 3 : 0);
        if (b != 0)
            return 200;
    }
    return code;
}

static int is_armed(void *ctx)
{
    (void)ctx;
    return tr_failpoint_armed ? 1 : 0;
}

static int takes_long(void *ctx)
{
    (void)ctx;
    int64_t before_ms = tr_clock_mono_ms();
    int result = TR_FAILPOINT("test.a");
    return result == 0 && tr_clock_mono_ms() - before_ms >= 45 ? 0 : 1;
}

#define DIGEST(first, second, third) ((first)*16 + (second)*4 + (third))

static void actions(void **state)
{
    (void)state;
    assert_int_equal(in_child(NULL, is_armed, NULL), 0);
    assert_int_equal(in_child("", is_armed, NULL), 0);
    assert_int_equal(in_child("test.a=error", is_armed, NULL), 1);
    assert_int_equal(in_child(NULL, pass_both, NULL), DIGEST(0, 0, 0));
    assert_int_equal(in_child("test.a=error", pass_both, NULL), DIGEST(1, 1, 1));
    assert_int_equal(in_child("test.a=enospc", pass_both, NULL), DIGEST(2, 2, 2));
    assert_int_equal(in_child("test.a=error@2", pass_both, NULL), DIGEST(0, 1, 0));
    assert_int_equal(in_child("other=kill,test.a=enospc@3", pass_both, NULL), DIGEST(0, 0, 2));
    assert_int_equal(in_child("test.a=kill", pass_both, NULL), CHILD_KILLED);
    assert_int_equal(in_child("test.b=kill@3", pass_both, NULL), CHILD_KILLED);
    assert_int_equal(in_child("test.a=kill@4", pass_both, NULL), DIGEST(0, 0, 0));
    assert_int_equal(in_child("test.a=exit", pass_both, NULL), 70);
    assert_int_equal(in_child("test.a=sleep:50", takes_long, NULL), 0);
}

static void nonsense_arms_nothing(void **state)
{
    (void)state;
    assert_int_equal(in_child("test.a", is_armed, NULL), 0);
    assert_int_equal(in_child("test.a=explode", is_armed, NULL), 0);
    assert_int_equal(in_child(",,=,", is_armed, NULL), 0);
    char many[4096] = "";
    size_t len = 0;
    for (int i = 0; i < 40; i++)
        len += (size_t)snprintf(many + len, sizeof many - len, "p%d=error,", i);
    (void)snprintf(many + len, sizeof many - len, "test.b=error");
    assert_int_equal(in_child(many, pass_both, NULL), DIGEST(0, 0, 0)); /* beyond the bound */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(actions),
        cmocka_unit_test(nonsense_arms_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
