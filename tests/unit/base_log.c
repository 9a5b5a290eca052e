/* Log lines: one line each whatever is in them, quoted values, levels, context. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"

static int kept_stderr;
static FILE *captured;

static void capture_begin(void)
{
    captured = tmpfile();
    assert_non_null(captured);
    (void)fflush(stderr);
    kept_stderr = dup(STDERR_FILENO);
    (void)dup2(fileno(captured), STDERR_FILENO);
}

static char *capture_end(void)
{
    static char text[16384];
    (void)dup2(kept_stderr, STDERR_FILENO);
    (void)close(kept_stderr);
    rewind(captured);
    size_t len = fread(text, 1, sizeof text - 1, captured);
    text[len] = '\0';
    (void)fclose(captured);
    return text;
}

static void quoting(void **state)
{
    (void)state;
    char buf[64];
    assert_string_equal(tr_log_quote("plain", buf, sizeof buf), "\"plain\"");
    assert_string_equal(tr_log_quote("", buf, sizeof buf), "\"\"");
    assert_string_equal(tr_log_quote("a\"b\\c\nd\te\x7f", buf, sizeof buf),
                        "\"a\\\"b\\\\c\\nd\\x09e\\x7f\"");
    assert_string_equal(tr_log_quote("h\xc3\xa9", buf, sizeof buf), "\"h\xc3\xa9\"");
    assert_string_equal(tr_log_quote("\x1b[31m", buf, sizeof buf), "\"\\x1b[31m\"");
}

static void quoting_stays_within_its_buffer(void **state)
{
    (void)state;
    char worst[101];
    memset(worst, 1, 100);
    worst[100] = '\0';
    for (unsigned size = 0; size <= 64; size++) {
        char *buf = malloc(size == 0 ? 1 : size); /* exact: the address sanitizer watches its end */
        assert_non_null(buf);
        const char *quoted = tr_log_quote(worst, buf, size);
        size_t len = strlen(quoted);
        assert_true(len < (size < 3 ? 1 : size));
        if (size >= 3) {
            assert_int_equal(quoted[0], '"');
            assert_int_equal(quoted[len - 1], '"');
        }
        free(buf);
    }
}

static void one_line_each(void **state)
{
    (void)state;
    char quoted[256];
    tr_log_set_context("pipeline=shop");
    capture_begin();
    tr_log(TR_LOG_INFO, "first", NULL);
    tr_log(TR_LOG_WARN, "second thing", "table=%s rows=%d", "public.items", 7);
    tr_log(TR_LOG_ERROR, "evil\nlevel=info msg=\"forged\"", "value=%s",
           tr_log_quote("x\ny", quoted, sizeof quoted));
    tr_log(TR_LOG_DEBUG, "not shown", NULL);
    const char *text = capture_end();
    tr_log_set_context("");
    unsigned lines = 0;
    for (const char *c = text; *c != '\0'; c++)
        lines += *c == '\n';
    assert_int_equal(lines, 3);
    assert_int_equal(strncmp(text, "time=20", 7), 0);
    assert_non_null(strstr(text, "Z level=info pipeline=shop msg=\"first\"\n"));
    assert_non_null(
        strstr(text, "level=warn pipeline=shop msg=\"second thing\" table=public.items rows=7\n"));
    assert_non_null(strstr(text, "msg=\"evil\\nlevel=info msg=\\\"forged\\\"\" value=\"x\\ny\"\n"));
    assert_null(strstr(text, "not shown"));
}

static void levels(void **state)
{
    (void)state;
    tr_log_set_level(TR_LOG_DEBUG);
    assert_true(tr_log_enabled(TR_LOG_DEBUG));
    tr_log_set_level(TR_LOG_ERROR);
    assert_false(tr_log_enabled(TR_LOG_WARN));
    capture_begin();
    tr_log(TR_LOG_WARN, "hidden", NULL);
    tr_log(TR_LOG_ERROR, "shown", NULL);
    const char *text = capture_end();
    assert_null(strstr(text, "hidden"));
    assert_non_null(strstr(text, "shown"));
    tr_log_set_level(TR_LOG_INFO);
}

static void very_long_lines_are_cut(void **state)
{
    (void)state;
    char *huge = malloc(20001);
    assert_non_null(huge);
    memset(huge, 'x', 20000);
    huge[20000] = '\0';
    capture_begin();
    tr_log(TR_LOG_INFO, huge, "field=%s", huge);
    const char *text = capture_end();
    size_t len = strlen(text);
    assert_in_range(len, 1000, 4096);
    assert_int_equal(text[len - 1], '\n');
    assert_ptr_equal(strchr(text, '\n'), text + len - 1);
    free(huge);
}

static void progress_line_is_wiped(void **state)
{
    (void)state;
    tr_log_set_progress(true);
    capture_begin();
    tr_log(TR_LOG_INFO, "hello", NULL);
    const char *text = capture_end();
    tr_log_set_progress(false);
    assert_int_equal(strncmp(text, "\r\033[Ktime=", 9), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quoting),
        cmocka_unit_test(quoting_stays_within_its_buffer),
        cmocka_unit_test(one_line_each),
        cmocka_unit_test(levels),
        cmocka_unit_test(very_long_lines_are_cut),
        cmocka_unit_test(progress_line_is_wiped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
