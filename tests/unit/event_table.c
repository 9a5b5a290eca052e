/* Tables: deep copies, keys, references, names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "tailrace/event.h"

#define THREADS 4
#define REFS 20000

static struct tr_error err;

static void copies_everything(void **state)
{
    (void)state;
    char name[] = "mood", type[] = "public.mood", base[] = "mood", labels[] = "sad\nhappy",
         constant[] = "sad", schema[] = "public", table_name[] = "people";
    struct tr_column columns[] = {
        {.name = name,
         .type = TR_T_ENUM,
         .elem_type = TR_T_OTHER,
         .source_type = type,
         .source_type_base = base,
         .enum_labels = labels,
         .default_value = constant,
         .scale = 3},
        {.name = "id",
         .type = TR_T_INT64,
         .source_type = "int8",
         .source_type_base = "int8",
         .key_index = 1,
         .source_attnum = 2},
    };
    struct tr_table spec = {.id = {NULL, schema, table_name},
                            .source_id = 16412,
                            .version = 3,
                            .column_count = 2,
                            .columns = columns,
                            .replica_identity = TR_RI_FULL,
                            .key_is_primary = true};
    struct tr_table *table = NULL;
    assert_int_equal(tr_table_new(&spec, &table, &err), TR_OK);
    memset(name, '#', 4);
    memset(type, '#', 11);
    memset(base, '#', 4);
    memset(labels, '#', 9);
    memset(constant, '#', 3);
    memset(schema, '#', 6);
    memset(table_name, '#', 6);
    memset(columns, 0xff, sizeof columns);
    assert_string_equal(table->id.namespace, "");
    assert_string_equal(table->id.schema, "public");
    assert_string_equal(table->id.table, "people");
    assert_string_equal(table->columns[0].name, "mood");
    assert_string_equal(table->columns[0].source_type, "public.mood");
    assert_string_equal(table->columns[0].source_type_base, "mood");
    assert_string_equal(table->columns[0].enum_labels, "sad\nhappy");
    assert_string_equal(table->columns[0].default_value, "sad");
    assert_null(table->columns[1].default_value);
    assert_int_equal(table->columns[0].scale, 3);
    assert_int_equal(table->columns[1].source_attnum, 2);
    assert_int_equal(table->source_id, 16412);
    assert_int_equal(table->version, 3);
    assert_true(table->key_is_primary);
    assert_int_equal(tr_table_column(table, "id"), 1);
    assert_int_equal(tr_table_column(table, "ID"), -1);
    /* the same columns under another name outlive the first */
    struct tr_table *routed = NULL;
    struct tr_table_id id = {"db", "other", "persons"};
    assert_int_equal(tr_table_with_id(table, id, &routed, &err), TR_OK);
    tr_table_unref(table);
    assert_string_equal(routed->id.table, "persons");
    assert_string_equal(routed->columns[0].name, "mood");
    assert_int_equal(routed->key_count, 1);
    assert_int_equal(routed->key_columns[0], 1);
    tr_table_unref(routed);
    tr_table_unref(NULL);
}

static enum tr_status build(const uint16_t *key_indexes, size_t count, struct tr_table **table)
{
    struct tr_column columns[8] = {{0}};
    for (size_t i = 0; i < count; i++)
        columns[i] = (struct tr_column){.name = "c",
                                        .source_type = "int4",
                                        .source_type_base = "int4",
                                        .key_index = key_indexes[i]};
    struct tr_table spec = {
        .id = {"", "", "t"}, .column_count = (uint16_t)count, .columns = columns};
    return tr_table_new(&spec, table, &err);
}

static void keys_follow_their_own_order(void **state)
{
    (void)state;
    struct tr_table *table = NULL;
    assert_int_equal(build((uint16_t[]){2, 0, 3, 1}, 4, &table), TR_OK);
    assert_int_equal(table->key_count, 3);
    assert_int_equal(table->key_columns[0], 3);
    assert_int_equal(table->key_columns[1], 0);
    assert_int_equal(table->key_columns[2], 2);
    tr_table_unref(table);
    assert_int_equal(build((uint16_t[]){0, 0}, 2, &table), TR_OK);
    assert_int_equal(table->key_count, 0);
    tr_table_unref(table);
    assert_int_equal(build(NULL, 0, &table), TR_OK);
    assert_int_equal(table->column_count, 0);
    tr_table_unref(table);
    /* a gap, and a place taken twice */
    assert_int_equal(build((uint16_t[]){1, 3}, 2, &table), TR_FAIL);
    assert_int_equal(build((uint16_t[]){1, 1}, 2, &table), TR_FAIL);
}

static void names(void **state)
{
    (void)state;
    char buf[32], small[8];
    struct tr_table_id full = {"db", "public", "orders"}, bare = {"", "", "orders"};
    assert_string_equal(tr_table_id_format(&full, buf, sizeof buf), "public.orders");
    assert_string_equal(tr_table_id_format(&bare, buf, sizeof buf), "orders");
    assert_string_equal(tr_table_id_format(&full, small, sizeof small), "public.");
    struct tr_table_id same = {"db", "public", "orders"}, other = {"db", "Public", "orders"};
    assert_true(tr_table_id_equal(&full, &same));
    assert_false(tr_table_id_equal(&full, &other));
    assert_false(tr_table_id_equal(&full, &bare));
    for (int type = 0; type < TR_T_COUNT; type++) {
        assert_true(strlen(tr_type_name((enum tr_type)type)) > 1);
        for (int before = 0; before < type; before++)
            assert_string_not_equal(tr_type_name((enum tr_type)type),
                                    tr_type_name((enum tr_type)before));
    }
    assert_string_equal(tr_type_name(TR_T_HSTORE), "HSTORE");
    assert_string_equal(tr_type_name(TR_T_OTHER), "OTHER");
    assert_string_equal(tr_type_name(TR_T_TIMESTAMPTZ), "TIMESTAMPTZ");
    assert_string_equal(tr_type_name(TR_T_COUNT), "?");
}

static void *count_refs(void *arg)
{
    for (int i = 0; i < REFS; i++)
        tr_table_unref(tr_table_ref(arg));
    tr_table_unref(arg);
    return NULL;
}

static void references_are_counted_by_any_thread(void **state)
{
    (void)state;
    struct tr_table *table = NULL;
    pthread_t threads[THREADS];
    assert_int_equal(build((uint16_t[]){1}, 1, &table), TR_OK);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, count_refs, tr_table_ref(table)), 0);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(atomic_load(&table->refs), 1);
    tr_table_unref(table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(copies_everything),
        cmocka_unit_test(keys_follow_their_own_order),
        cmocka_unit_test(names),
        cmocka_unit_test(references_are_counted_by_any_thread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
