/* The error table and the functions that fill an error. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <ctype.h>
#include <string.h>

#include "tailrace/error.h"

static void every_code_is_documented(void **state)
{
    (void)state;
    for (int code = 1; code < TR_E_COUNT; code++) {
        const struct tr_error_info *info = tr_error_info((enum tr_code)code);
        assert_int_equal(info->code, code);
        assert_true(strlen(info->name) > 2);
        for (const char *c = info->name; *c != '\0'; c++)
            assert_true(isupper((unsigned char)*c) || isdigit((unsigned char)*c) || *c == '_');
        assert_in_range(info->exit_code, 1, 5);
        if (strlen(info->meaning) < 10 || strlen(info->remedy) < 5)
            fail_msg("%s says too little", info->name);
        assert_int_not_equal(tr_err_class_name(info->class)[0], '\0');
        /* scripts read these two from the exit code */
        if ((info->class == TR_POSITION_LOST) != (info->exit_code == 3))
            fail_msg("%s: class and exit code do not agree", info->name);
        for (int other = 1; other < code; other++)
            assert_string_not_equal(info->name, tr_error_info((enum tr_code)other)->name);
    }
}

static void filling(void **state)
{
    (void)state;
    struct tr_error err;
    memset(&err, 0x55, sizeof err);
    assert_int_equal(tr_fail(&err, TR_E_INTERNAL, "a %d", 7), TR_FAIL);
    assert_string_equal(err.message, "a 7");
    assert_string_equal(err.detail, "");
    assert_string_equal(err.hint, "");
    assert_int_equal(err.class, TR_FATAL);
    assert_int_equal(err.seq, 0);
    assert_int_equal(tr_detail(&err, "server says\n\n"), TR_FAIL);
    assert_string_equal(err.detail, "server says");
    assert_int_equal(tr_hint(&err, "do %s", "this"), TR_FAIL);
    assert_string_equal(err.hint, "do this");
    assert_int_equal(tr_fail_as(&err, TR_DATA, TR_E_INTERNAL, "b"), TR_FAIL);
    assert_int_equal(err.class, TR_DATA);
    assert_string_equal(err.detail, "");
    char large[2000];
    memset(large, 'x', sizeof large - 1);
    large[sizeof large - 1] = '\0';
    (void)tr_fail(&err, TR_E_INTERNAL, "%s", large);
    assert_int_equal(strlen(err.message), sizeof err.message - 1);
    assert_string_equal(tr_error_info((enum tr_code)(TR_E_COUNT + 5))->name, "INTERNAL");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_is_documented),
        cmocka_unit_test(filling),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
