/* YAML and JSON → tree: places, what is refused, limits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>


#include "config/tree.h"

static void expect_ok(struct tr_pool *pool, const char *text, const char *name,
                      struct tr_node **root)
{
    struct tr_error err;
    enum tr_status status = tr_tree_parse(pool, text, strlen(text), name, root, &err);
    if (status != TR_OK)
        fail_msg("%s\n%s", text, err.message);
}

static void expect_error_len(const char *text, size_t len, const char *name, enum tr_code code,
                             const char *begin, const char *part)
{
    struct tr_pool pool;
    struct tr_node *root;
    struct tr_error err;
    tr_pool_init(&pool);
    char *exact = malloc(len > 0 ? len : 1); /* the sanitizer sees a read past the end */
    memcpy(exact, text, len);
    assert_int_equal(tr_tree_parse(&pool, exact, len, name, &root, &err), TR_FAIL);
    free(exact);
    if (err.code != code || strncmp(err.message, begin, strlen(begin)) != 0 ||
        strstr(err.message, part) == NULL)
        fail_msg("%.80s\ngave %s: %s\nexpected %s: %s…%s", text, tr_error_info(err.code)->name,
                 err.message, tr_error_info(code)->name, begin, part);
    tr_pool_free(&pool);
}

static void expect_error(const char *text, enum tr_code code, const char *begin, const char *part)
{
    expect_error_len(text, strlen(text), "p.yaml", code, begin, part);
}

static void test_shapes_and_places(void **state)
{
    (void)state;
    struct tr_pool pool;
    struct tr_node *root, *node;
    tr_pool_init(&pool);
    expect_ok(&pool,
              "# head\n"
              "source:\n"
              "  type: 'my sql'\n"
              "  tables: [a, \"b,c\"]\n"
              "  none:\n"
              "  tilde: ~\n"
              "  text: \"null\"\n"
              "  block: |\n"
              "    one\n"
              "    two\n"
              "sink: {type: null, é: 'ü'}\n",
              "p.yaml", &root);
    assert_int_equal(root->kind, TR_NODE_MAPPING);
    assert_int_equal(root->child_count, 2);
    struct tr_node *source = tr_tree_find(root, "source");
    assert_int_equal(source->key_line, 2);
    assert_int_equal(source->key_column, 1);
    node = tr_tree_find(source, "type");
    assert_string_equal(node->text, "my sql");
    assert_int_equal(node->line, 3);
    assert_int_equal(node->column, 9);
    assert_int_equal(node->key_column, 3);
    assert_false(node->plain);
    node = tr_tree_find(source, "tables");
    assert_int_equal(node->kind, TR_NODE_LIST);
    assert_int_equal(node->child_count, 2);
    assert_string_equal(node->last->text, "b,c");
    assert_int_equal(node->last->line, 4);
    assert_int_equal(node->last->column, 15);
    assert_true(tr_tree_find(source, "none")->null);
    assert_true(tr_tree_find(source, "tilde")->null);
    assert_false(tr_tree_find(source, "text")->null);
    assert_string_equal(tr_tree_find(source, "block")->text, "one\ntwo\n");
    struct tr_node *sink = tr_tree_find(root, "sink");
    assert_true(tr_tree_find(sink, "type")->null);
    assert_string_equal(tr_tree_find(sink, "type")->text, "null");
    assert_string_equal(tr_tree_find(sink, "é")->text, "ü");
    assert_null(tr_tree_find(sink, "absent"));
    tr_pool_free(&pool);
}

static void test_json(void **state)
{
    (void)state;
    static const char text[] = "{\n\t\"a\": \"\\ud83d\\ude00 \\/\",\n\t\"b\": [1, true, null]\n}\n";
    struct tr_pool pool;
    struct tr_node *root;
    tr_pool_init(&pool);
    expect_ok(&pool, text, "p.json", &root);
    assert_string_equal(tr_tree_find(root, "a")->text, "\xf0\x9f\x98\x80 /");
    assert_int_equal(tr_tree_find(root, "b")->child_count, 3);
    expect_ok(&pool, text, "p.yaml", &root); /* JSON is YAML */
    assert_string_equal(tr_tree_find(root, "a")->text, "\xf0\x9f\x98\x80 /");
    tr_pool_free(&pool);
    expect_error_len("{\"a\":1,}", 8, "p.json", TR_E_CONFIG_SYNTAX, "p.json:1:7: ", "JSON");
    expect_error_len("{\"a\":1,\"a\":2}", 13, "p.json", TR_E_CONFIG_DUPLICATE_KEY,
                     "p.json:1:8: ", "\"a\"");
}

static void test_empty_documents(void **state)
{
    (void)state;
    static const char *const texts[] = {"", "\n", "# nothing\n", "---\n", "--- {}\n", "~"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct tr_pool pool;
        struct tr_node *root;
        tr_pool_init(&pool);
        expect_ok(&pool, texts[i], "p.yaml", &root);
        assert_int_equal(root->kind, TR_NODE_MAPPING);
        assert_int_equal(root->child_count, 0);
        tr_pool_free(&pool);
    }
    struct tr_pool pool;
    struct tr_node *root;
    tr_pool_init(&pool);
    expect_ok(&pool,
              "\xef\xbb\xbf"
              "%YAML 1.2\n---\na: 1\r\nb: 2\r\n",
              "p.yaml", &root);
    assert_int_equal(tr_tree_find(root, "b")->line, 4);
    tr_pool_free(&pool);
}

static void test_syntax_errors(void **state)
{
    (void)state;
    expect_error("a: 1\n\tb: 2\n", TR_E_CONFIG_SYNTAX, "p.yaml:1:4: ", "multiline");
    expect_error("a: [1, 2\n", TR_E_CONFIG_SYNTAX, "p.yaml:2:1: ", "bracket");
    expect_error("a: \"x\n", TR_E_CONFIG_SYNTAX, "p.yaml:", "quote");
    expect_error("a: b: 3\n", TR_E_CONFIG_SYNTAX, "p.yaml:1:5: ", "nested");
    expect_error("a: 1\nb: @x\n", TR_E_CONFIG_SYNTAX, "p.yaml:2:4: ", "@");
    expect_error("a: {b: 1\n", TR_E_CONFIG_SYNTAX, "p.yaml:", "");
    expect_error("a: 1\n: 2\n", TR_E_CONFIG_SYNTAX, "p.yaml:", "key");
    expect_error("a: 1\n  b: 2\n", TR_E_CONFIG_SYNTAX, "p.yaml:1:4: ", "");
    expect_error("a: x\x01y\n", TR_E_CONFIG_SYNTAX, "p.yaml:1:5: ", "0x01");
    expect_error("ä: \xff\n", TR_E_CONFIG_SYNTAX, "p.yaml:1:4: ", "0xff");
    expect_error("a: \xc0\xaf\n", TR_E_CONFIG_SYNTAX, "p.yaml:1:4: ", "0xc0");
    expect_error("a: \xed\xa0\x80\n", TR_E_CONFIG_SYNTAX, "p.yaml:1:4: ", "0xed");
    expect_error_len("a: b\0c", 6, "p.yaml", TR_E_CONFIG_SYNTAX, "p.yaml:1:5: ", "0x00");
    expect_error_len("\xff\xfe\x61\x00", 4, "p.yaml", TR_E_CONFIG_SYNTAX, "p.yaml:1:1: ", "UTF-8");
}

static void test_tab_is_explained(void **state)
{
    (void)state;
    struct tr_pool pool;
    struct tr_node *root;
    struct tr_error err;
    static const char text[] = "source:\n\ttype: mysql\n";
    tr_pool_init(&pool);
    assert_int_equal(tr_tree_parse(&pool, text, sizeof text - 1, "p.yaml", &root, &err), TR_FAIL);
    assert_non_null(strstr(err.hint, "Line 2 is indented with a tab"));
    tr_pool_free(&pool);
}

static void test_refused(void **state)
{
    (void)state;
    expect_error("a: &x 1\n", TR_E_CONFIG_REFUSED, "p.yaml:1:", "anchors");
    expect_error("a: *x\n", TR_E_CONFIG_REFUSED, "p.yaml:1:4: ", "aliases");
    expect_error("a: &x [1]\n", TR_E_CONFIG_REFUSED, "p.yaml:1:", "anchors");
    expect_error("&x a: 1\n", TR_E_CONFIG_REFUSED, "p.yaml:1:", "anchors");
    expect_error("a: !!str 1\n", TR_E_CONFIG_REFUSED, "p.yaml:1:", "tags");
    expect_error("a: !x {b: 1}\n", TR_E_CONFIG_REFUSED, "p.yaml:1:", "tags");
    expect_error("a: 1\n---\nb: 2\n", TR_E_CONFIG_REFUSED, "p.yaml:2:1: ", "second document");
    expect_error("? [a]\n: 1\n", TR_E_CONFIG_REFUSED, "p.yaml:1:3: ", "key");
    expect_error("? {a: 1}\n: 1\n", TR_E_CONFIG_REFUSED, "p.yaml:1:", "key");
    expect_error("%TAG ! x\n---\na: 1\n", TR_E_CONFIG_REFUSED, "p.yaml:1:1: ", "directives");
    expect_error("a: \"x\\0y\"\n", TR_E_CONFIG_REFUSED, "p.yaml:1:4: ", "NUL");
    expect_error("a: 1\nb: 2\na: 3\n", TR_E_CONFIG_DUPLICATE_KEY, "p.yaml:3:1: ", "\"a\"");
    expect_error("a: 1\n'a': 3\n", TR_E_CONFIG_DUPLICATE_KEY, "p.yaml:2:1: ", "\"a\"");
    expect_error("x: {a: 1, b: {c: 1, c: 1}}\n", TR_E_CONFIG_DUPLICATE_KEY,
                 "p.yaml:1:21: ", "\"c\"");
}

/* The classic: nine lists of nine aliases each. */
static void test_alias_bomb(void **state)
{
    (void)state;
    char text[4096];
    size_t len = (size_t)snprintf(text, sizeof text, "a0: &a0 [lol]\n");
    for (int i = 1; i < 10; i++) {
        len += (size_t)snprintf(text + len, sizeof text - len, "a%d: &a%d [", i, i);
        for (int n = 0; n < 9; n++)
            len +=
                (size_t)snprintf(text + len, sizeof text - len, "%s*a%d", n > 0 ? "," : "", i - 1);
        len += (size_t)snprintf(text + len, sizeof text - len, "]\n");
    }
    expect_error(text, TR_E_CONFIG_REFUSED, "p.yaml:1:", "anchors");
}

static char *repeat(const char *unit, size_t count, const char *head)
{
    size_t unit_len = strlen(unit), head_len = strlen(head);
    char *text = malloc(head_len + unit_len * count + 1);
    assert_non_null(text);
    memcpy(text, head, head_len);
    for (size_t i = 0; i < count; i++)
        memcpy(text + head_len + i * unit_len, unit, unit_len);
    text[head_len + unit_len * count] = '\0';
    return text;
}

static void test_limits(void **state)
{
    (void)state;
    static const struct {
        const char *unit, *head;
        size_t count;
    } deep[] = {{"[", "", 10000},   {"{a: ", "", 10000}, {"- ", "", 10000},
                {"[a,", "", 10000}, {"? ", "", 10000},   {"{\"a\":[", "", 10000}};
    for (size_t i = 0; i < sizeof deep / sizeof deep[0]; i++) {
        char *text = repeat(deep[i].unit, deep[i].count, deep[i].head);
        struct tr_pool pool;
        struct tr_node *root;
        struct tr_error err;
        tr_pool_init(&pool);
        assert_int_equal(tr_tree_parse(&pool, text, strlen(text), "p.yaml", &root, &err), TR_FAIL);
        assert_true(err.code == TR_E_CONFIG_LIMIT || err.code == TR_E_CONFIG_REFUSED);
        tr_pool_free(&pool);
        free(text);
    }
    char *text = repeat("[", 33, "");
    expect_error(text, TR_E_CONFIG_LIMIT, "p.yaml:1:33: ", "deeper than 32");
    free(text);
    text = repeat("a, ", 20001, "a: [");
    expect_error(text, TR_E_CONFIG_LIMIT, "p.yaml:1:", "more than 20000");
    free(text);
    text = repeat("#", TR_TREE_BYTES_MAX, "a: 1 ");
    expect_error(text, TR_E_CONFIG_LIMIT, "p.yaml:1:1: ", "larger than");
    free(text);
    text = repeat("\n", 300, "a: 1");
    expect_error(text, TR_E_CONFIG_LIMIT, "p.yaml:", "blank lines");
    free(text);
}

/* Inputs for which a parser may take quadratic time: each must be judged within a few seconds,
 * under sanitizers, on a slow machine. */
static void test_hostile_time(void **state)
{
    (void)state;
    static const char *const units[] = {"%",    " \n", "\n",   "a: |\n \n", "    \n", "? ",
                                        "&a ",  "!",   "\\\n", "#",         "\"",     "'",
                                        "a:\n", "[\n", "- \n", "}",         ":",      "`"};
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        char *text = repeat(units[i], 200000 / strlen(units[i]), "a: |\n");
        struct tr_pool pool;
        struct tr_node *root;
        struct tr_error err;
        struct timespec from, to;
        tr_pool_init(&pool);
        (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &from);
        for (unsigned skip = 0; skip <= 5; skip += 5) /* as a block scalar, and at the top */
            (void)!tr_tree_parse(&pool, text + skip, strlen(text + skip), "p.yaml", &root, &err);
        (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &to);
        tr_pool_free(&pool);
        free(text);
        if (to.tv_sec - from.tv_sec > 10)
            fail_msg("%ld s for repeated '%s'", (long)(to.tv_sec - from.tv_sec), units[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shapes_and_places), cmocka_unit_test(test_json),
        cmocka_unit_test(test_empty_documents),   cmocka_unit_test(test_syntax_errors),
        cmocka_unit_test(test_tab_is_explained),  cmocka_unit_test(test_refused),
        cmocka_unit_test(test_alias_bomb),        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_hostile_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
