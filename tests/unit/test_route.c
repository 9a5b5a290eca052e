/* Routes: parts, captures, the replace-symbol, both modes, what cannot be a target. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "pipeline/route.h"

#define RULES_MAX 20

struct fixture {
    struct tr_route_rule rules[RULES_MAX];
    size_t count;
    struct tr_router *router;
    struct tr_route_result result;
};

static void add(struct fixture *f, const char *source, const char *sink, const char *symbol)
{
    struct tr_string_list list = {&source, 1};
    struct tr_error err;
    struct tr_route_rule *rule = &f->rules[f->count++];
    *rule = (struct tr_route_rule){
        .source_text = source, .sink_table = sink, .replace_symbol = symbol, .where = "p.yaml:1:1"};
    if (tr_table_pattern_compile(&list, &rule->source, &err) != TR_OK)
        fail_msg("%s", err.message);
}

static void build(struct fixture *f, int mode)
{
    struct tr_error err;
    assert_int_equal(tr_router_new(f->rules, f->count, mode, &f->router, &err), TR_OK);
}

static void tear(struct fixture *f)
{
    tr_router_free(f->router);
    for (size_t i = 0; i < f->count; i++)
        tr_table_pattern_free(f->rules[i].source);
    memset(f, 0, sizeof *f);
}

/* expected: "namespace|schema|table" per target, separated by spaces. */
static void expect(struct fixture *f, const char *namespace, const char *schema, const char *table,
                   bool matched, const char *expected)
{
    struct tr_table_id id = {namespace, schema, table};
    struct tr_error err;
    char text[2000] = "";
    if (tr_router_apply(f->router, &id, &f->result, &err) != TR_OK)
        fail_msg("%s", err.message);
    for (unsigned i = 0; i < f->result.count; i++) {
        size_t len = strlen(text);
        (void)snprintf(text + len, sizeof text - len, "%s%s|%s|%s", i > 0 ? " " : "",
                       f->result.ids[i].namespace, f->result.ids[i].schema, f->result.ids[i].table);
    }
    assert_string_equal(text, expected);
    assert_int_equal(f->result.matched, matched);
}

static void expect_error(struct fixture *f, const char *schema, const char *table, const char *part)
{
    struct tr_table_id id = {"d", schema, table};
    struct tr_error err;
    assert_int_equal(tr_router_apply(f->router, &id, &f->result, &err), TR_FAIL);
    assert_int_equal(err.code, TR_E_ROUTE_TARGET);
    if (strstr(err.message, part) == NULL)
        fail_msg("%s", err.message);
}

static struct fixture f;

static void test_no_rule_matches(void **state)
{
    (void)state;
    build(&f, 0);
    expect(&f, "shop", "public", "a.b", false, "shop|public|a.b");
    tear(&f);
    add(&f, "x.y", "z", NULL);
    build(&f, 0);
    expect(&f, "", "", "t", false, "||t");
    tear(&f);
}

static void test_absent_parts_are_the_sources(void **state)
{
    (void)state;
    add(&f, "public.a", "one", NULL);
    add(&f, "public.b", "two.one", NULL);
    add(&f, "public.c", "three.two.one", NULL);
    build(&f, 0);
    expect(&f, "shop", "public", "a", true, "shop|public|one");
    expect(&f, "shop", "public", "b", true, "shop|two|one");
    expect(&f, "shop", "public", "c", true, "three|two|one");
    tear(&f);
}

static void test_shards_merge(void **state)
{
    (void)state;
    add(&f, "shop.public.order_\\.*", "orders", NULL);
    build(&f, 0);
    expect(&f, "shop", "public", "order_1", true, "shop|public|orders");
    expect(&f, "shop", "public", "order_22", true, "shop|public|orders");
    expect(&f, "shop", "other", "order_22", false, "shop|other|order_22");
    tear(&f);
}

static void test_captures(void **state)
{
    (void)state;
    add(&f, "(\\.*).(\\.*)_([0-9]+)", "ods_$1.$2", NULL);
    build(&f, 0);
    expect(&f, "d", "app", "order_17", true, "d|ods_app|order");
    /* a dot that a capture brings in is no border */
    expect(&f, "d", "app.v2", "or.der_1", true, "d|ods_app.v2|or.der");
    tear(&f);
}

static void test_replace_symbol(void **state)
{
    (void)state;
    add(&f, "app.\\.*", "ods.<>_raw_<>", "<>");
    add(&f, "dot.\\.*", "x.t..t", "..");
    add(&f, "none.(\\.*)", "fixed_$1", "<>"); /* the symbol is not used: captures are */
    build(&f, 0);
    expect(&f, "d", "app", "t", true, "d|ods|t_raw_t");
    expect(&f, "d", "app", "t.u$1", true, "d|ods|t.u$1_raw_t.u$1");
    expect(&f, "d", "dot", "q", true, "d|x|tqt");
    expect(&f, "d", "none", "q", true, "d|none|fixed_q");
    tear(&f);
}

static void test_modes(void **state)
{
    (void)state;
    for (int mode = 0; mode < 2; mode++) {
        add(&f, "s.z", "never", NULL);
        add(&f, "s.a\\.*", "all_a", NULL);
        add(&f, "s.ab", "just_ab", NULL);
        add(&f, "s.\\.*", "s.all_a", NULL); /* the same target again */
        build(&f, mode);
        expect(&f, "", "s", "ab", true, mode == 0 ? "|s|all_a |s|just_ab" : "|s|all_a");
        expect(&f, "", "s", "x", true, "|s|all_a");
        tear(&f);
    }
}

static void test_too_many_targets(void **state)
{
    (void)state;
    static char names[RULES_MAX][16];
    for (int i = 0; i < TR_ROUTE_TARGETS_MAX; i++) {
        (void)snprintf(names[i], sizeof names[i], "t%d", i);
        add(&f, "s.\\.*", names[i], NULL);
    }
    add(&f, "s.many", "t_more", NULL);
    add(&f, "s.\\.*", "t0", NULL); /* known already: not one too many */
    build(&f, 0);
    expect_error(&f, "s", "many", "more than 16");
    struct tr_table_id id = {"", "s", "few"};
    struct tr_error err;
    assert_int_equal(tr_router_apply(f.router, &id, &f.result, &err), TR_OK);
    assert_int_equal(f.result.count, TR_ROUTE_TARGETS_MAX);
    assert_string_equal(f.result.ids[15].table, "t15");
    tear(&f);
}

static void test_bad_targets(void **state)
{
    (void)state;
    struct tr_error err;
    char longer[TR_ROUTE_TEXT_BYTES_MAX + 10];
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    add(&f, "s.a_(\\.*)", "$1", NULL);
    add(&f, "t.\\.*", "a.<>", "<>");
    build(&f, 0);
    expect_error(&f, "s", "a_", "empty name");
    expect_error(&f, "t", longer, "too long");
    longer[0] = 'a';
    longer[1] = '_';
    expect_error(&f, "s", longer, "too long");
    tear(&f);
    add(&f, "a", "b.c.d.e", NULL);
    assert_int_equal(tr_router_new(f.rules, f.count, 0, &f.router, &err), TR_FAIL);
    assert_int_equal(err.code, TR_E_ROUTE_TARGET);
    f.router = NULL;
    tear(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_rule_matches),
        cmocka_unit_test(test_absent_parts_are_the_sources),
        cmocka_unit_test(test_shards_merge),
        cmocka_unit_test(test_captures),
        cmocka_unit_test(test_replace_symbol),
        cmocka_unit_test(test_modes),
        cmocka_unit_test(test_too_many_targets),
        cmocka_unit_test(test_bad_targets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
