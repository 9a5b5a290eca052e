/* Batches: bounds, ownership, what reset gives back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "event/batch.h"

static struct tr_batch *batch;
static struct tr_error err;
static int released;

static int setup(void **state)
{
    (void)state;
    released = 0;
    return tr_batch_new(&batch, &err) == TR_OK ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    tr_batch_free(batch);
    return 0;
}

static struct tr_table *make_table(const char *name)
{
    static const struct tr_column columns[] = {{.name = "id",
                                                .type = TR_T_INT32,
                                                .source_type = "int4",
                                                .source_type_base = "int4",
                                                .key_index = 1}};
    struct tr_table spec = {.id = {"db", "public", name}, .column_count = 1, .columns = columns};
    struct tr_table *table = NULL;
    assert_int_equal(tr_table_new(&spec, &table, &err), TR_OK);
    return table;
}

static void release(void *ptr)
{
    free(ptr);
    released++;
}

static void full_leaves_room_for_a_boundary(void **state)
{
    (void)state;
    unsigned count = 0;
    while (!tr_batch_full(batch)) {
        struct tr_event *event = tr_batch_event(batch, TR_OP_CREATE);
        assert_non_null(event);
        assert_int_equal(event->op, TR_OP_CREATE);
        assert_int_equal(event->seq, 0);
        assert_null(event->after);
        memset(event, 0xff, sizeof *event); /* so that a slot that is not zeroed shows */
        count++;
    }
    assert_int_equal(count, TR_BATCH_EVENTS_MAX - 2);
    struct tr_mark mark = {{"lsn", 3}, {"0/1", 3}};
    struct tr_event *event;
    assert_int_equal(tr_batch_commit(batch, &mark, 1, &event, &err), TR_OK);
    assert_int_equal(tr_batch_commit(batch, &mark, 1, NULL, &err), TR_OK);
    assert_null(tr_batch_event(batch, TR_OP_CREATE));
    assert_int_equal(tr_batch_commit(batch, &mark, 1, NULL, &err), TR_FAIL);
    assert_int_equal(err.code, TR_E_INTERNAL);
    tr_batch_reset(batch);
    assert_false(tr_batch_full(batch));
    event = tr_batch_event(batch, TR_OP_DELETE);
    assert_null(event->before);
    assert_int_equal(event->flags, 0);
}

static void bytes_make_it_full(void **state)
{
    (void)state;
    size_t total = 0;
    while (!tr_batch_full(batch)) {
        assert_non_null(tr_batch_copy(batch, "0123456789", 10));
        total += 10;
    }
    assert_in_range(total, TR_BATCH_BYTES_TARGET / 2, TR_BATCH_BYTES_TARGET);
    tr_batch_reset(batch);
    assert_true(tr_batch_hold(batch, malloc(1), TR_BATCH_BYTES_TARGET, release));
    assert_true(tr_batch_full(batch));
    tr_batch_reset(batch);
    assert_false(tr_batch_full(batch));
    assert_int_equal(released, 1);
}

static void foreign_buffers_are_released_once(void **state)
{
    (void)state;
    for (int i = 0; i < TR_BATCH_FOREIGN_MAX; i++)
        assert_true(tr_batch_hold(batch, malloc(1), 1, release));
    assert_true(tr_batch_full(batch));
    void *extra = malloc(1);
    assert_false(tr_batch_hold(batch, extra, 1, release)); /* not taken: still ours */
    free(extra);
    tr_batch_reset(batch);
    assert_int_equal(released, TR_BATCH_FOREIGN_MAX);
    tr_batch_reset(batch);
    assert_int_equal(released, TR_BATCH_FOREIGN_MAX);
    assert_true(tr_batch_hold(batch, malloc(1), 1, release));
    /* the teardown frees it: the leak sanitizer would tell */
}

static void tables_live_as_long_as_the_batch(void **state)
{
    (void)state;
    struct tr_table *tables[40];
    for (int i = 0; i < 40; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "t%d", i);
        tables[i] = make_table(name);
    }
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 40; i++)
            assert_int_equal(tr_batch_table(batch, tables[i], &err), TR_OK);
    }
    assert_int_equal(batch->table_count, 40); /* once each */
    for (int i = 0; i < 40; i++) {
        assert_int_equal(atomic_load(&tables[i]->refs), 2);
        tr_table_unref(tables[i]);
    }
    assert_string_equal(batch->tables[39]->id.table, "t39");
    tr_batch_reset(batch);
    assert_int_equal(batch->table_count, 0);
}

static void commits_copy_their_marks(void **state)
{
    (void)state;
    char key[] = "chunk/1/2", value[] = "done";
    struct tr_mark marks[2] = {{{key, 9}, {value, 4}}, {{"gone*", 5}, {"", 0}}};
    struct tr_event *event;
    assert_int_equal(tr_batch_commit(batch, marks, 2, &event, &err), TR_OK);
    memset(key, '!', 9);
    memset(value, '!', 4);
    assert_int_equal(event->op, TR_OP_COMMIT);
    assert_int_equal(event->mark_count, 2);
    assert_memory_equal(event->marks[0].key.ptr, "chunk/1/2", 9);
    assert_memory_equal(event->marks[0].value.ptr, "done", 4);
    assert_int_equal(event->marks[1].value.len, 0);
    assert_int_equal(tr_batch_commit(batch, NULL, 0, &event, &err), TR_OK);
    assert_int_equal(event->mark_count, 0);
}

static void schema_changes_copy_their_items(void **state)
{
    (void)state;
    struct tr_table *before = make_table("old"), *after = make_table("new");
    struct tr_alter_item items[2] = {{.kind = TR_ALTER_ADD_COLUMN, .after_index = 3},
                                     {.kind = TR_ALTER_DROP_COLUMN, .before_index = 4}};
    struct tr_schema_change change = {
        .kind = TR_CHANGE_ALTER_TABLE, .before = before, .item_count = 2, .items = items};
    struct tr_event *event;
    assert_int_equal(tr_batch_schema_change(batch, after, &change, &event, &err), TR_OK);
    memset(items, 0, sizeof items);
    memset(&change, 0, sizeof change);
    tr_table_unref(before);
    tr_table_unref(after);
    assert_int_equal(event->op, TR_OP_SCHEMA);
    assert_string_equal(event->table->id.table, "new");
    assert_string_equal(event->change->before->id.table, "old");
    assert_int_equal(event->change->items[0].after_index, 3);
    assert_int_equal(event->change->items[1].kind, TR_ALTER_DROP_COLUMN);
    assert_int_equal(event->change->items[1].before_index, 4);
}

static void sizes_that_overflow_are_refused(void **state)
{
    (void)state;
    assert_null(tr_batch_cells(batch, SIZE_MAX / 2));
    assert_null(tr_batch_copy(batch, "x", SIZE_MAX));
    assert_non_null(tr_batch_cells(batch, 3));
    tr_batch_free(NULL);
}

static void first_event_starts_the_clock(void **state)
{
    (void)state;
    assert_int_equal(batch->first_us, 0);
    (void)tr_batch_event(batch, TR_OP_CREATE);
    int64_t first = batch->first_us;
    assert_true(first > 0);
    (void)tr_batch_event(batch, TR_OP_CREATE);
    assert_int_equal(batch->first_us, first);
    tr_batch_reset(batch);
    assert_int_equal(batch->first_us, 0);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(full_leaves_room_for_a_boundary),   TEST(bytes_make_it_full),
        TEST(foreign_buffers_are_released_once), TEST(tables_live_as_long_as_the_batch),
        TEST(commits_copy_their_marks),          TEST(schema_changes_copy_their_items),
        TEST(sizes_that_overflow_are_refused),   TEST(first_event_starts_the_clock),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
