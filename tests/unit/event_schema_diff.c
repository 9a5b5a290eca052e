/* Schema differences: each case is two column lists, written as "name:attnum:type …" with marks
 * (! not null, * key, =x default), and the items that must come out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/outbuf.h"
#include "event/schema_diff.h"

#define COLUMNS_MAX 64

/* "a:1:int4*!=7": name, attnum (0 unknown), type, key, not null, default */
static struct tr_table *table_of(const char *text, const char *name)
{
    struct tr_column columns[COLUMNS_MAX];
    struct tr_error err;
    char *copy = strdup(text), *save = NULL;
    uint16_t count = 0, keys = 0;
    for (char *word = strtok_r(copy, " ", &save); word != NULL; word = strtok_r(NULL, " ", &save)) {
        struct tr_column *column = &columns[count++];
        *column = (struct tr_column){.type = TR_T_OTHER, .source_typmod = -1, .nullable = true};
        char *attnum = strchr(word, ':'), *type = strchr(attnum + 1, ':');
        *attnum = *type = '\0';
        column->name = word;
        column->source_attnum = (int32_t)strtol(attnum + 1, NULL, 10);
        column->source_type = type + 1;
        column->source_type_base = "";
        char *equals = strchr(type + 1, '=');
        if (equals != NULL) {
            *equals = '\0';
            column->default_value = equals + 1;
        }
        size_t len = strlen(type + 1);
        for (; len > 0 && strchr("!*", type[len]) != NULL; type[len--] = '\0') {
            if (type[len] == '!')
                column->nullable = false;
            else
                column->key_index = ++keys;
        }
    }
    struct tr_table spec = {.id = {"db", "public", name},
                            .column_count = count,
                            .columns = columns,
                            .replica_identity = TR_RI_DEFAULT};
    struct tr_table *table = NULL;
    assert_int_equal(tr_table_new(&spec, &table, &err), TR_OK);
    free(copy);
    return table;
}

static void describe(const struct tr_schema_change *change, const struct tr_table *after,
                     struct tr_outbuf *out)
{
    static const char *const verbs[] = {"add",     "drop",    "rename", "type",
                                        "notnull", "default", "key"};
    for (uint32_t i = 0; i < change->item_count; i++) {
        const struct tr_alter_item *item = &change->items[i];
        if (i > 0)
            tr_outbuf_lit(out, ", ");
        tr_outbuf_str(out, verbs[item->kind]);
        if (item->kind == TR_ALTER_KEY)
            continue;
        const char *old = item->kind == TR_ALTER_ADD_COLUMN
                              ? NULL
                              : change->before->columns[item->before_index].name;
        const char *new = item->kind == TR_ALTER_DROP_COLUMN
                              ? NULL
                              : after->columns[item->after_index].name;
        tr_outbuf_printf(out, " %s", old != NULL ? old : new);
        if (old != NULL && new != NULL && strcmp(old, new) != 0)
            tr_outbuf_printf(out, ">%s", new);
    }
    if (change->rename_cycle)
        tr_outbuf_lit(out, " (cycle)");
}

static void check(const char *before_text, const char *after_text, const char *want)
{
    struct tr_table *before = table_of(before_text, "t"), *after = table_of(after_text, "t");
    struct tr_arena arena;
    struct tr_schema_change change;
    struct tr_error err;
    struct tr_outbuf got = {0};
    tr_arena_init(&arena, 4096, 0);
    assert_int_equal(tr_schema_diff(before, after, &arena, &change, &err), TR_OK);
    assert_int_equal(change.kind, TR_CHANGE_ALTER_TABLE);
    assert_ptr_equal(change.before, before);
    describe(&change, after, &got);
    if (strcmp(tr_outbuf_cstr(&got), want) != 0)
        fail_msg("%s → %s:\n got: %s\nwant: %s", before_text, after_text, tr_outbuf_cstr(&got), want);
    tr_outbuf_free(&got);
    tr_arena_free(&arena);
    tr_table_unref(before);
    tr_table_unref(after);
}

static void single_changes(void **state)
{
    (void)state;
    check("id:1:int4*", "id:1:int4*", "");
    check("id:1:int4*", "id:1:int4* a:2:text", "add a");
    check("id:1:int4* a:2:text", "id:1:int4*", "drop a");
    check("id:1:int4* a:2:text", "id:1:int4* b:2:text", "rename a>b");
    check("id:1:int4* a:2:int4", "id:1:int4* a:2:int8", "type a");
    check("id:1:int4* a:2:int4", "id:1:int4* a:2:int4!", "notnull a");
    check("id:1:int4* a:2:int4", "id:1:int4* a:2:int4=5", "default a");
    check("id:1:int4* a:2:int4=5", "id:1:int4* a:2:int4", "default a");
    check("id:1:int4* a:2:int4", "id:1:int4 a:2:int4*", "key");
    check("id:1:int4* a:2:int4", "id:1:int4* a:2:int4*", "key");
    check("id:1:int4*", "key:1:int4*", "rename id>key");
}

static void everything_at_once_in_order(void **state)
{
    (void)state;
    check("id:1:int4* gone:2:text a:3:text b:4:int4", "id:1:int4 n:3:text b:4:int8*!=1 new:5:text",
          "drop gone, rename a>n, add new, type b, notnull b, default b, key");
}

/* the attnum is the truth */
static void names_that_move(void **state)
{
    (void)state;
    check("id:1:i a:2:t b:3:t", "id:1:i a:3:t", "drop a, rename b>a");
    check("id:1:i a:2:t", "id:1:i b:2:t a:3:t", "rename a>b, add a");
    check("id:1:i a:2:t", "id:1:i a:3:t", "drop a, add a");
    check("id:1:i a:2:t b:3:t", "id:1:i c:2:t a:3:t", "rename a>c, rename b>a");
    check("id:1:i a:2:t b:3:t c:4:t", "id:1:i d:4:t a:3:t b:2:t",
          "rename b>a, rename a>b, rename c>d (cycle)");
    check("a:1:t b:2:t c:3:t d:4:t", "b:1:t c:2:t d:3:t e:4:t",
          "rename d>e, rename c>d, rename b>c, rename a>b");
    check("a:1:t b:2:t c:3:t d:4:t", "e:1:t a:2:t b:3:t c:4:t",
          "rename a>e, rename b>a, rename c>b, rename d>c");
}

static void swaps(void **state)
{
    (void)state;
    check("a:1:t b:2:t", "b:1:t a:2:t", "rename b>a, rename a>b (cycle)");
    check("a:1:t b:2:t c:3:t", "b:1:t c:2:t a:3:t", "rename c>a, rename b>c, rename a>b (cycle)");
    /* a swap through a dropped column's name is none */
    check("a:1:t b:2:t c:3:t", "b:1:t c:2:t", "drop c, rename b>c, rename a>b");
}

/* without attnums: the order of columns speaks */
static void without_attnums(void **state)
{
    (void)state;
    check("id:0:i a:0:t", "id:0:i a:0:t b:0:t", "add b");
    check("id:0:i a:0:t b:0:t", "id:0:i b:0:t", "drop a");
    check("id:0:i a:0:t b:0:t", "id:0:i x:0:t b:0:t", "rename a>x");
    check("id:0:i a:0:t b:0:t c:0:t", "id:0:i x:0:t y:0:t c:0:t", "rename a>x, rename b>y");
    check("id:0:i a:0:t", "id:0:i b:0:t", "drop a, add b");
    check("id:0:i a:0:t b:0:t", "id:0:i c:0:t", "drop a, drop b, add c");
    check("a:0:t b:0:t", "b:0:t a:0:t", "drop a, add a");
    check("a:0:t b:0:t c:0:t", "c:0:t a:0:t b:0:t", "drop a, drop b, add a, add b");
    check("a:0:int4 b:0:text c:0:t", "x:0:text c:0:t", "drop a, rename b>x");
    check("a:0:t b:0:t", "a:0:t b:0:t x:0:t y:0:t", "add x, add y");
    check("a:0:t", "", "drop a");
    check("", "a:0:t", "add a");
    check("", "", "");
}

/* one side has attnums, the other has not (a Relation message after a catalog look-up) */
static void attnums_on_one_side(void **state)
{
    (void)state;
    check("id:1:i a:2:t", "id:0:i a:0:t b:0:t", "add b");
    check("id:1:i a:2:t b:3:t", "id:0:i x:0:t b:0:t", "rename a>x");
    check("id:1:i a:0:t", "id:1:i a:5:t", "");
    check("id:1:i a:2:t b:3:t", "id:1:i a:3:t x:0:t", "drop a, rename b>a, add x");
}

static void table_renames(void **state)
{
    (void)state;
    struct tr_table *before = table_of("id:1:i* a:2:t", "old"), *after = table_of("id:1:i* a:2:t", "new"),
                    *both = table_of("id:1:i* b:2:t", "new");
    struct tr_arena arena;
    struct tr_schema_change change;
    struct tr_error err;
    tr_arena_init(&arena, 4096, 0);
    assert_int_equal(tr_schema_diff(before, after, &arena, &change, &err), TR_OK);
    assert_int_equal(change.kind, TR_CHANGE_RENAME_TABLE);
    assert_int_equal(change.item_count, 0);
    assert_int_equal(tr_schema_diff(before, both, &arena, &change, &err), TR_OK);
    assert_int_equal(change.kind, TR_CHANGE_ALTER_TABLE);
    assert_int_equal(change.item_count, 1);
    tr_arena_free(&arena);
    tr_table_unref(before);
    tr_table_unref(after);
    tr_table_unref(both);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(single_changes),     cmocka_unit_test(everything_at_once_in_order),
        cmocka_unit_test(names_that_move),    cmocka_unit_test(swaps),
        cmocka_unit_test(without_attnums),    cmocka_unit_test(attnums_on_one_side),
        cmocka_unit_test(table_renames)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
