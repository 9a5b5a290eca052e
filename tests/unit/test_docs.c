/* The generated documents, made from fake connectors into a temporary folder. */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "cli/docs_gen.h"
#include "config_fakes.h"

const struct tr_source_entry tr_sources[] = {
    {"mysql", NULL, &fake_mysql, NULL},
    {"oracle", "ora", NULL, "built without the client library"},
    {NULL, NULL, NULL, NULL},
};
const struct tr_sink_entry tr_sinks[] = {
    {"kafka", NULL, &fake_kafka, NULL},
    {"mysql", NULL, &fake_kafka, NULL},
    {"null", NULL, &fake_kafka, NULL},
    {NULL, NULL, NULL, NULL},
};
const struct tr_command tr_commands[] = {
    {"run", "run FILE [--log-level LEVEL]", "Runs a pipeline.", "Runs it.\n.hidden\\line", NULL,
     false},
    {"docs", "docs DIR", "Writes docs.", "Writes docs.", NULL, true},
    {NULL, NULL, NULL, NULL, NULL, false},
};

static char folder[64];

static char *slurp(const char *name)
{
    char path[256];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        return NULL;
    char *text = calloc(1, 1 << 20);
    assert_non_null(text);
    (void)!fread(text, 1, (1 << 20) - 1, file);
    (void)fclose(file);
    return text;
}

static void put(const char *name, const char *text)
{
    char path[256];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    (void)fputs(text, file);
    (void)fclose(file);
}

static void expect_parts(const char *name, const char *const *parts)
{
    char *text = slurp(name);
    assert_non_null(text);
    for (size_t i = 0; parts[i] != NULL; i++)
        if (strstr(text, parts[i]) == NULL)
            fail_msg("%s lacks: %s\n%s", name, parts[i], text);
    free(text);
}

static void write_docs(void)
{
    struct tr_error err;
    if (tr_docs_write(folder, &err) != TR_OK)
        fail_msg("%s", err.message);
}

static void test_pages(void **state)
{
    (void)state;
    write_docs();
    expect_parts("errors/CONFIG_VALUE.md",
                 (const char *[]){"# CONFIG_VALUE\n", "Made by", "**What to do:**", "config.",
                                  "| 2 |", NULL});
    expect_parts("errors/README.md", (const char *[]){"[INTERNAL](INTERNAL.md)",
                                                      "[CONFIG_SYNTAX](CONFIG_SYNTAX.md)", NULL});
    expect_parts("connectors/mysql.md",
                 (const char *[]){"# mysql\n", TR_DOCS_BEGIN, TR_DOCS_END, "### The source `mysql`",
                                  "### The sink `mysql`",
                                  "| `hostname` (also `host`) | text | required |",
                                  "number, 1 to 65535 | `3306`", "Patterns \\| of &lt;tables>.",
                                  "`initial`, `latest-offset`, `snapshot`", "| ignored |",
                                  "duration, 100ms to 1h | `30s`", NULL});
    expect_parts("pipeline-file.md", (const char *[]){"`schema.change.behavior`", "`source-table`",
                                                      "`exclude.schema.changes`",
                                                      "shop.public.order\\_\\\\.\\*", NULL});
    char *absent = slurp("connectors/oracle.md");
    assert_null(absent);
}

static void test_markers_keep_what_is_around(void **state)
{
    (void)state;
    put("connectors/kafka.md",
        "# Kafka\n\nBy hand.\n\n" TR_DOCS_BEGIN "\nold\n" TR_DOCS_END "\n\nBelow, by hand.\n");
    put("connectors/null.md", "# Null, no markers");
    put("errors/OLD_CODE.md",
        "# OLD_CODE\n\n<!-- Made by `tailrace docs` from the tables in src/. -->\n");
    put("errors/NOTES.md", "by hand\n");
    write_docs();
    expect_parts("connectors/kafka.md",
                 (const char *[]){"# Kafka\n\nBy hand.\n\n" TR_DOCS_BEGIN
                                  "\n\n### The sink `kafka`",
                                  TR_DOCS_END "\n\nBelow, by hand.\n", NULL});
    char *text = slurp("connectors/kafka.md");
    assert_null(strstr(text, "\nold\n"));
    expect_parts("connectors/null.md",
                 (const char *[]){"# Null, no markers\n\n" TR_DOCS_BEGIN, NULL});
    assert_null(slurp("errors/OLD_CODE.md"));
    expect_parts("errors/NOTES.md", (const char *[]){"by hand", NULL});
    struct stat before, after;
    char path[256];
    (void)snprintf(path, sizeof path, "%s/connectors/kafka.md", folder);
    assert_int_equal(stat(path, &before), 0);
    write_docs(); /* right already: left untouched */
    assert_int_equal(stat(path, &after), 0);
    assert_int_equal(before.st_ino, after.st_ino);
    char *again = slurp("connectors/kafka.md");
    assert_string_equal(text, again);
    free(again);
    free(text);
}

static void test_man_page(void **state)
{
    (void)state;
    expect_parts("tailrace.1",
                 (const char *[]){".TH TAILRACE 1", "tailrace run FILE [\\-\\-log\\-level LEVEL]",
                                  "\n\\&.hidden\\eline", ".SS \"Source mysql\"",
                                  ".SS \"Sink kafka\"", "scan.startup.mode", ".SH EXIT STATUS",
                                  NULL});
    char *text = slurp("tailrace.1");
    assert_null(strstr(text, "Writes docs."));
    free(text);
}

static void test_schema(void **state)
{
    (void)state;
    char *text = slurp("pipeline.schema.json");
    json_error_t error;
    json_t *root = json_loads(text, JSON_REJECT_DUPLICATES, &error);
    free(text);
    if (root == NULL)
        fail_msg("%s", error.text);
    json_t *defs = json_object_get(root, "$defs");
    json_t *source = json_array_get(json_object_get(json_object_get(defs, "source"), "anyOf"), 0);
    json_t *properties = json_object_get(source, "properties");
    assert_non_null(json_object_get(properties, "hostname"));
    assert_non_null(json_object_get(properties, "host"));
    assert_string_equal(json_string_value(json_array_get(
                            json_object_get(json_object_get(properties, "type"), "enum"), 0)),
                        "mysql");
    assert_int_equal(
        json_integer_value(json_object_get(json_object_get(properties, "port"), "maximum")), 65535);
    assert_non_null(json_object_get(json_object_get(source, "patternProperties"), "^debezium\\."));
    assert_int_equal(json_array_size(json_object_get(json_object_get(defs, "sink"), "anyOf")), 3);
    assert_non_null(json_object_get(json_object_get(root, "properties"), "route"));
    json_decref(root);
}

static void test_help(void **state)
{
    (void)state;
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    assert_true(tr_docs_help(out, "mysql"));
    assert_true(tr_docs_help(out, "ora"));
    assert_true(tr_docs_help(out, "pipeline"));
    assert_true(tr_docs_help(out, "route"));
    assert_false(tr_docs_help(out, "nothing"));
    (void)fclose(out);
    static const char *const parts[] = {"source mysql: A fake.",
                                        "sink mysql: A fake.",
                                        "  hostname (also host)  [text; required]",
                                        "  port  [number, 1 to 65535; default 3306]",
                                        "more:",
                                        "accepted without effect:",
                                        "source oracle: built without the client library",
                                        "  checkpoint.interval  [duration",
                                        "  source-table  [text; required]"};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        if (strstr(text, parts[i]) == NULL)
            fail_msg("lacks %s\n%s", parts[i], text);
    for (const char *line = text; line != NULL && *line != '\0';) {
        size_t width = strcspn(line, "\n");
        if (line[0] == ' ' && strncmp(line, "      ", 6) == 0 && width > 80)
            fail_msg("too wide: %.*s", (int)width, line);
        line += width + (line[width] == '\n');
    }
    free(text);
}

static void test_cannot_write(void **state)
{
    (void)state;
    struct tr_error err;
    assert_int_equal(tr_docs_write("/proc/no-such-folder", &err), TR_FAIL);
    assert_int_equal(err.code, TR_E_DOCS_WRITE);
}

static int set_up(void **state)
{
    (void)state;
    (void)snprintf(folder, sizeof folder, "/tmp/tr-docs-XXXXXX");
    return mkdtemp(folder) == NULL ? -1 : 0;
}

static void remove_tree(const char *path)
{
    DIR *dir = opendir(path);
    const struct dirent *entry;
    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        char child[512];
        if (entry->d_name[0] == '.')
            continue;
        (void)snprintf(child, sizeof child, "%s/%s", path, entry->d_name);
        if (unlink(child) != 0)
            remove_tree(child);
    }
    if (dir != NULL)
        (void)closedir(dir);
    (void)rmdir(path);
}

static int tear_down(void **state)
{
    (void)state;
    remove_tree(folder);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pages),    cmocka_unit_test(test_markers_keep_what_is_around),
        cmocka_unit_test(test_man_page), cmocka_unit_test(test_schema),
        cmocka_unit_test(test_help),     cmocka_unit_test(test_cannot_write),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
