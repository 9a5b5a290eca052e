/* Table patterns: parts, alternatives, captures, errors with their place, hostile expressions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "event/table_pattern.h"

static struct tr_table_pattern *compile(const char *text)
{
    struct tr_string_list list = {&text, 1};
    struct tr_table_pattern *pattern;
    struct tr_error err;
    if (tr_table_pattern_compile(&list, &pattern, &err) != TR_OK)
        fail_msg("%s: %s", text, err.message);
    return pattern;
}

static bool matches(const char *text, const char *namespace, const char *schema, const char *table)
{
    struct tr_table_pattern *pattern = compile(text);
    struct tr_table_id id = {namespace, schema, table};
    bool result = tr_table_pattern_match(pattern, &id);
    tr_table_pattern_free(pattern);
    return result;
}

static void test_parts(void **state)
{
    (void)state;
    assert_true(matches("shop.public.orders", "shop", "public", "orders"));
    assert_false(matches("shop.public.orders", "shop2", "public", "orders"));
    assert_true(matches("public.orders", "shop", "public", "orders"));
    assert_true(matches("public.orders", "", "public", "orders"));
    assert_false(matches("public.orders", "shop", "private", "orders"));
    assert_true(matches("orders", "shop", "any", "orders"));
    assert_false(matches("orders", "shop", "orders", "x"));
    assert_true(matches("shop.public.\\.*", "shop", "public", "x"));
    assert_true(matches("\\.*.\\.*.\\.*", "a", "b", "c"));
    assert_false(matches("shop.\\.*", "shop", "public", "x")); /* two parts: schema.table */
    assert_true(matches("adb.*", "", "adb", "anything"));
    assert_true(matches("*", "", "adb", "anything"));
    assert_true(matches("a.*.t", "a", "any", "t"));
}

static void test_whole_names(void **state)
{
    (void)state;
    assert_false(matches("order", "", "s", "orders"));
    assert_false(matches("rder", "", "s", "order"));
    assert_false(matches("a|b", "", "s", "ax"));
    assert_true(matches("a|b", "", "s", "b"));
    assert_false(matches("orders", "", "s", "Orders"));
    assert_false(matches("orders$", "", "s", "orders\n"));
    assert_true(matches("\\.*", "", "s", "or\nders"));
    assert_true(matches("bdb.user_table_[0-9]+", "", "bdb", "user_table_17"));
    assert_false(matches("bdb.user_table_[0-9]+", "", "bdb", "user_table_"));
}

/* Flink CDC's example: to a regular expression the brackets are a set of characters. */
static void test_flink_class(void **state)
{
    (void)state;
    assert_true(matches("[app|web]_order_\\.*", "", "db", "a_order_1"));
    assert_true(matches("[app|web]_order_\\.*", "", "db", "|_order_"));
    assert_false(matches("[app|web]_order_\\.*", "", "db", "app_order_1"));
    assert_true(matches("(app|web)_order_\\.*", "", "db", "app_order_1"));
}

static void test_dots_and_commas(void **state)
{
    (void)state;
    assert_true(matches("s.a[.]b", "", "s", "a.b"));
    assert_false(matches("s.a[.]b", "", "s", "axb"));
    assert_true(matches("s.a\\.b", "", "s", "axb"));
    assert_true(matches("s.(a.b)", "", "s", "axb")); /* inside () a dot is the expression's */
    assert_true(matches("s.a{1,3}", "", "s", "aaa"));
    assert_true(matches("s.[a,b]", "", "s", ","));
    assert_true(matches("s.(x,y)", "", "s", "x,y"));
    assert_true(matches(" a , s.b ", "", "s", "b"));
    assert_true(matches("a,b", "", "s", "b"));
    assert_true(matches("[]a]", "", "s", "]"));
    assert_true(matches("[^]a].t", "", "b", "t"));
    assert_true(matches("[[:alpha:]]_x.t", "", "q_x", "t"));
    assert_true(matches("s.\\d\\w\\\\", "", "s", "1a\\"));
    assert_true(matches("bücher", "", "s", "bücher"));
    assert_true(matches("b\\.cher", "", "s", "bücher")); /* one character, two bytes */
    static const char *const items[] = {"x", "y, z"};
    struct tr_string_list list = {items, 2};
    struct tr_table_pattern *pattern;
    struct tr_error err;
    struct tr_table_id id = {"", "s", "z"};
    assert_int_equal(tr_table_pattern_compile(&list, &pattern, &err), TR_OK);
    assert_true(tr_table_pattern_match(pattern, &id));
    tr_table_pattern_free(pattern);
    list.count = 0;
    assert_int_equal(tr_table_pattern_compile(&list, &pattern, &err), TR_OK);
    assert_false(tr_table_pattern_match(pattern, &id));
    tr_table_pattern_free(pattern);
}

static void expect_error(const char *text, const char *part)
{
    struct tr_string_list list = {&text, 1};
    struct tr_table_pattern *pattern;
    struct tr_error err;
    if (tr_table_pattern_compile(&list, &pattern, &err) == TR_OK)
        fail_msg("%s was accepted", text);
    assert_int_equal(err.code, TR_E_CONFIG_PATTERN);
    assert_int_equal(err.class, TR_CONFIG);
    if (strstr(err.message, part) == NULL)
        fail_msg("%s: %s", text, err.message);
}

static void test_errors(void **state)
{
    (void)state;
    expect_error("", "expected at character 1");
    expect_error("a..b", "expected at character 3");
    expect_error("a.", "expected at character 3");
    expect_error(".a", "expected at character 1");
    expect_error("a,,b", "expected at character 3");
    expect_error("a,", "expected at character 3");
    expect_error("a.b.c.d", "fourth part at character 7");
    expect_error("a.b+*?+", "character");
    expect_error("s.*x", "at character 3");
    expect_error("ok, s.(a", "at character 9");
    expect_error("s.[a", "at character");
    expect_error("s.a)", "at character 4");
    expect_error("s.a\\", "at character");
    expect_error("s.\\C", "character");
    expect_error("s.(?<n>a)(?<n>b)", "at character");
    char deep[1000];
    memset(deep, '(', 400);
    memset(deep + 400, ')', 400);
    deep[800] = '\0';
    expect_error(deep, "character");
    char *longer = malloc(6000);
    memset(longer, 'a', 5999);
    longer[5999] = '\0';
    expect_error(longer, "too long");
    free(longer);
}

static void expect_expansion(const char *text, const char *namespace, const char *schema,
                             const char *table, const char *replacement, const char *expected)
{
    struct tr_table_pattern *pattern = compile(text);
    struct tr_table_id id = {namespace, schema, table};
    struct tr_error err;
    char buf[64];
    assert_int_equal(tr_table_pattern_expand(pattern, &id, replacement, buf, sizeof buf, &err),
                     TR_OK);
    assert_string_equal(buf, expected);
    tr_table_pattern_free(pattern);
}

static void test_captures(void **state)
{
    (void)state;
    expect_expansion("s.order_(\\.*)", "", "s", "order_17", "o$1", "o17");
    /* numbered through all parts */
    expect_expansion("(s)(\\.).t_(\\.*)", "", "sx", "t_y", "$3.$1-$2", "y.s-x");
    expect_expansion("(d\\.*).(s\\.*).(t\\.*)", "d1", "s1", "t1", "$1_$2_$3", "d1_s1_t1");
    expect_expansion("s.((a)|(b))", "", "s", "b", "[$1][$2][$3]", "[b][][b]");
    expect_expansion("x.(q), s.(b)", "", "s", "b", "$1", "b");
    expect_expansion("s.(?:b)(c)", "", "s", "bc", "$1", "c");
    expect_expansion("s.(a)\\1", "", "s", "aa", "$1$1", "aa");
    expect_expansion("s.(a)", "", "s", "a", "$0 $ $a $10 $$1", "$0 $ $a a0 $a");
    struct tr_table_pattern *pattern = compile("s.(\\.*)");
    struct tr_table_id id = {"", "s", "0123456789"}, other = {"", "q", "x"};
    struct tr_error err;
    char buf[8];
    assert_int_equal(tr_table_pattern_expand(pattern, &other, "$1", buf, sizeof buf, &err),
                     TR_AGAIN);
    assert_int_equal(tr_table_pattern_expand(pattern, &id, "$1", buf, sizeof buf, &err), TR_FAIL);
    assert_int_equal(err.code, TR_E_ROUTE_TARGET);
    assert_int_equal(tr_table_pattern_expand(pattern, &id, "1234567", buf, sizeof buf, &err),
                     TR_OK);
    assert_int_equal(tr_table_pattern_expand(pattern, &id, "12345678", buf, sizeof buf, &err),
                     TR_FAIL);
    assert_int_equal(tr_table_pattern_captures(pattern), 1);
    tr_table_pattern_free(pattern);
    pattern = compile("a.(b), c.d");
    assert_int_equal(tr_table_pattern_captures(pattern), 0);
    tr_table_pattern_free(pattern);
}

static void test_hostile(void **state)
{
    (void)state;
    static const char *const patterns[] = {"(a+)+b", "(a|aa)+b", "((a*)*)*b", "(\\.*)*(\\.*)*b",
                                           "(a?){30}a{30}b"};
    char name[64];
    struct timespec from, to;
    memset(name, 'a', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &from);
    for (size_t i = 0; i < sizeof patterns / sizeof patterns[0]; i++) {
        struct tr_table_pattern *pattern = compile(patterns[i]);
        struct tr_table_id id = {"", "s", name};
        struct tr_error err;
        char buf[64];
        assert_false(tr_table_pattern_match(pattern, &id));
        enum tr_status status = tr_table_pattern_expand(pattern, &id, "x", buf, sizeof buf, &err);
        assert_true(status == TR_AGAIN ||
                    (status == TR_FAIL && err.code == TR_E_CONFIG_PATTERN_LIMIT));
        tr_table_pattern_free(pattern);
    }
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &to);
    assert_true(to.tv_sec - from.tv_sec < 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parts),       cmocka_unit_test(test_whole_names),
        cmocka_unit_test(test_flink_class), cmocka_unit_test(test_dots_and_commas),
        cmocka_unit_test(test_errors),      cmocka_unit_test(test_captures),
        cmocka_unit_test(test_hostile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
