/* ${...}: every form, its errors with their place, and that nothing from outside becomes structure.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>


#include "config/expand.h"

static char folder[64];

static struct tr_node *read_value(struct tr_pool *pool, const char *yaml, struct tr_error *err)
{
    struct tr_node *root;
    if (tr_tree_parse(pool, yaml, strlen(yaml), "p.yaml", &root, err) != TR_OK)
        fail_msg("%s", err->message);
    if (tr_expand_tree(pool, root, "p.yaml", err) != TR_OK)
        return NULL;
    return tr_tree_find(root, "a");
}

static void expect(const char *yaml, const char *value)
{
    struct tr_pool pool;
    struct tr_error err;
    tr_pool_init(&pool);
    const struct tr_node *node = read_value(&pool, yaml, &err);
    if (node == NULL)
        fail_msg("%s: %s", yaml, err.message);
    assert_string_equal(node->text, value);
    tr_pool_free(&pool);
}

static void expect_error(const char *yaml, enum tr_code code, const char *begin, const char *part)
{
    struct tr_pool pool;
    struct tr_error err;
    tr_pool_init(&pool);
    if (read_value(&pool, yaml, &err) != NULL)
        fail_msg("%s was accepted", yaml);
    if (err.code != code || strncmp(err.message, begin, strlen(begin)) != 0 ||
        strstr(err.message, part) == NULL)
        fail_msg("%s gave %s", yaml, err.message);
    tr_pool_free(&pool);
}

static void put_file(const char *name, const void *data, size_t len, char *yaml, size_t yaml_size)
{
    char path[128];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, len), (ssize_t)len);
    (void)close(fd);
    (void)snprintf(yaml, yaml_size, "a: x${file:%s}y\n", path);
}

static void test_variables(void **state)
{
    (void)state;
    expect("a: ${env:TR_TEST_X}\n", "value");
    expect("a: ${TR_TEST_X}\n", "value");
    expect("a: '<${TR_TEST_X}|${TR_TEST_X}>'\n", "<value|value>");
    expect("a: ${TR_TEST_X:-other}\n", "value");
    expect("a: ${TR_TEST_UNSET:-other}\n", "other");
    expect("a: ${env:TR_TEST_UNSET:-other}\n", "other");
    expect("a: ${TR_TEST_UNSET:-}\n", "");
    expect("a: ${TR_TEST_EMPTY:-other}\n", "other");
    expect("a: ${TR_TEST_EMPTY}\n", "");
    expect("a: ${TR_TEST_UNSET:-a:-b}\n", "a:-b");
    expect("a: ${TR_TEST_UNSET:-http://h:1/$x}\n", "http://h:1/$x");
}

static void test_what_stays(void **state)
{
    (void)state;
    expect("a: ods_$1_$2\n", "ods_$1_$2");
    expect("a: pa$$word$\n", "pa$$word$");
    expect("a: '$${TR_TEST_X}'\n", "${TR_TEST_X}");
    expect("a: '$${env:A} ${TR_TEST_X}'\n", "${env:A} value");
    expect("a: '{x} $ {y}'\n", "{x} $ {y}");
    expect("a: order_\\.*$\n", "order_\\.*$");
    expect("a: ''\n", "");
    expect("a: '}${TR_TEST_X}}'\n", "}value}");
}

/* What comes in is text: no new keys, no lists, and it is not expanded again. */
static void test_no_injection(void **state)
{
    (void)state;
    expect("a: ${TR_TEST_YAML}\n", "x\nb: {c: [1]}\n# ${TR_TEST_X}");
    struct tr_pool pool;
    struct tr_error err;
    tr_pool_init(&pool);
    const struct tr_node *node = read_value(&pool, "a: ${TR_TEST_NULL}\n", &err);
    assert_non_null(node);
    assert_int_equal(node->kind, TR_NODE_SCALAR);
    assert_false(node->null);
    assert_true(node->expanded);
    tr_pool_free(&pool);
}

static void test_errors(void **state)
{
    (void)state;
    expect_error("b: 1\na: ${TR_TEST_UNSET}\n", TR_E_CONFIG_EXPAND,
                 "p.yaml:2:4: ", "TR_TEST_UNSET");
    expect_error("a: {b: [x, '${env:TR_TEST_UNSET}']}\n", TR_E_CONFIG_EXPAND,
                 "p.yaml:1:12: ", "TR_TEST_UNSET");
    expect_error("a: ${TR_TEST_X\n", TR_E_CONFIG_EXPAND, "p.yaml:1:4: ", "without its }");
    expect_error("a: ${}\n", TR_E_CONFIG_EXPAND, "p.yaml:1:4: ", "not a variable's name");
    expect_error("a: ${1}\n", TR_E_CONFIG_EXPAND, "p.yaml:1:4: ", "not a variable's name");
    expect_error("a: ${a b}\n", TR_E_CONFIG_EXPAND, "p.yaml:1:4: ", "not a variable's name");
    expect_error("a: ${vault:x}\n", TR_E_CONFIG_EXPAND, "p.yaml:1:4: ", "vault:x");
    expect_error("a: ${file:relative}\n", TR_E_CONFIG_EXPAND, "p.yaml:1:4: ", "absolute");
    expect_error("a: ${file:/no/such/file}\n", TR_E_CONFIG_EXPAND, "p.yaml:1:4: ", "/no/such/file");
    expect_error("a: ${file:/dev/zero}\n", TR_E_CONFIG_EXPAND, "p.yaml:1:4: ", "regular");
    expect_error("a: ${file:/tmp}\n", TR_E_CONFIG_EXPAND, "p.yaml:1:4: ", "regular");
}

static void test_files(void **state)
{
    (void)state;
    char yaml[256], path[128];
    put_file("plain", "secret", 6, yaml, sizeof yaml);
    expect(yaml, "xsecrety");
    put_file("newline", "secret\n", 7, yaml, sizeof yaml);
    expect(yaml, "xsecrety");
    put_file("crlf", "secret\r\n", 8, yaml, sizeof yaml);
    expect(yaml, "xsecrety");
    put_file("two", "se\ncret\n\n", 9, yaml, sizeof yaml);
    expect(yaml, "xse\ncret\ny");
    put_file("empty", "", 0, yaml, sizeof yaml);
    expect(yaml, "xy");
    put_file("structure", "{a: [1, *b]}: &c ${TR_TEST_X}", 29, yaml, sizeof yaml);
    expect(yaml, "x{a: [1, *b]}: &c ${TR_TEST_X}y");
    put_file("nul", "se\0cret", 7, yaml, sizeof yaml);
    expect_error(yaml, TR_E_CONFIG_EXPAND, "p.yaml:1:4: ", "NUL");
    (void)snprintf(path, sizeof path, "%s/fifo", folder);
    assert_int_equal(mkfifo(path, 0600), 0);
    (void)snprintf(yaml, sizeof yaml, "a: ${file:%s}\n", path);
    expect_error(yaml, TR_E_CONFIG_EXPAND, "p.yaml:1:4: ", "regular"); /* and does not hang */
}

static void test_limits(void **state)
{
    (void)state;
    char yaml[256];
    static char big[TR_EXPAND_FILE_BYTES_MAX + 1];
    memset(big, 'x', sizeof big);
    put_file("big", big, sizeof big, yaml, sizeof yaml);
    expect_error(yaml, TR_E_CONFIG_LIMIT, "p.yaml:1:4: ", "larger than");
    put_file("most", big, sizeof big - 1, yaml, sizeof yaml);
    struct tr_pool pool;
    struct tr_error err;
    tr_pool_init(&pool);
    assert_non_null(read_value(&pool, yaml, &err));
    tr_pool_free(&pool);
    char many[2048] = "a: ";
    for (int i = 0; i < 5; i++)
        (void)snprintf(many + strlen(many), sizeof many - strlen(many), "${file:%s/most}", folder);
    expect_error(many, TR_E_CONFIG_LIMIT, "p.yaml:1:4: ", "expanded");
    /* a bomb of many values: the pool's bound stops it */
    char *bomb = malloc(200000);
    size_t len = 0;
    for (int i = 0; i < 2000; i++)
        len += (size_t)snprintf(bomb + len, 200000 - len, "a%d: ${file:%s/most}\n", i, folder);
    expect_error(bomb, TR_E_CONFIG_LIMIT, "p.yaml:", "too large together");
    free(bomb);
}

static void test_secret_is_not_in_messages(void **state)
{
    (void)state;
    char yaml[256];
    struct tr_pool pool;
    struct tr_error err;
    put_file("canary", "canary-17\0", 10, yaml, sizeof yaml);
    tr_pool_init(&pool);
    assert_null(read_value(&pool, yaml, &err));
    assert_null(strstr(err.message, "canary-17"));
    assert_null(strstr(err.detail, "canary-17"));
    tr_pool_free(&pool);
}

static int set_up(void **state)
{
    (void)state;
    (void)snprintf(folder, sizeof folder, "/tmp/tr-expand-XXXXXX");
    assert_non_null(mkdtemp(folder));
    (void)setenv("TR_TEST_X", "value", 1);
    (void)setenv("TR_TEST_EMPTY", "", 1);
    (void)setenv("TR_TEST_NULL", "null", 1);
    (void)setenv("TR_TEST_YAML", "x\nb: {c: [1]}\n# ${TR_TEST_X}", 1);
    (void)unsetenv("TR_TEST_UNSET");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    static const char *const names[] = {"plain", "newline", "crlf", "two",  "empty", "structure",
                                        "nul",   "fifo",    "big",  "most", "canary"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char path[128];
        (void)snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        (void)unlink(path);
    }
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_variables),
        cmocka_unit_test(test_what_stays),
        cmocka_unit_test(test_no_injection),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_secret_is_not_in_messages),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
