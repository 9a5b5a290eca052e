/* The null sink: counts by operation, durable at once, writers side by side. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/metric.h"
#include "event/batch.h"
#include "sink/null/null.h"

static int64_t value_of(const char *name)
{
    for (const struct tr_metric *metric = tr_metric_first(); metric != NULL;
         metric = metric->next) {
        if (strcmp(metric->name, name) == 0)
            return tr_metric_get(metric);
    }
    fail_msg("no metric %s", name);
    return 0;
}

static void counts_and_drops(void **state)
{
    (void)state;
    struct tr_error err;
    void *sink = NULL, *first = NULL, *second = NULL;
    struct tr_column columns[] = {{.name = "id", .type = TR_T_INT32, .key_index = 1}};
    struct tr_table spec = {.id = {"db", "s", "t"}, .column_count = 1, .columns = columns}, *table;
    struct tr_cell cell = {.ptr = "12345", .len = 5, .state = TR_CELL_TEXT};
    assert_int_equal(tr_table_new(&spec, &table, &err), TR_OK);
    assert_int_equal(tr_sink_null.open(NULL, NULL, &sink, &err), TR_OK);
    assert_int_equal(tr_sink_null.writer_open(sink, 0, &first, &err), TR_OK);
    assert_int_equal(tr_sink_null.writer_open(sink, 3, &second, &err), TR_OK);
    const struct tr_event events[] = {
        {.seq = 1, .op = TR_OP_READ, .table = table, .raw = {"12345\n", 6}},
        {.seq = 2, .op = TR_OP_CREATE, .table = table, .after = &cell},
        {.seq = 3, .op = TR_OP_UPDATE, .table = table, .before = &cell, .after = &cell},
        {.seq = 4, .op = TR_OP_DELETE, .table = table, .before = &cell},
        {.seq = 5, .op = TR_OP_TRUNCATE, .table = table},
        {.seq = 6, .op = TR_OP_MESSAGE, .raw = {"hello", 5}},
        {.seq = 7, .op = TR_OP_COMMIT},
    };
    assert_int_equal(tr_sink_null.durable_seq(first), 0);
    assert_int_equal(tr_sink_null.write(first, events, 7, &err), TR_OK);
    assert_int_equal(tr_sink_null.durable_seq(first), 7);
    assert_int_equal(tr_sink_null.durable_seq(second), 0);
    assert_int_equal(tr_sink_null.flush(first, 0, &err), TR_OK);
    assert_int_equal(tr_sink_null.write(first, events, 0, &err), TR_OK);
    assert_int_equal(tr_sink_null.durable_seq(first), 7);
    struct tr_schema_change change = {.kind = TR_CHANGE_CREATE_TABLE};
    struct tr_event schema = {.seq = 8, .op = TR_OP_SCHEMA, .table = table, .change = &change};
    assert_int_equal(tr_sink_null.apply(first, &schema, &err), TR_OK);
    assert_int_equal(tr_sink_null.durable_seq(first), 8);
    assert_int_equal(value_of("tailrace_null_reads_total"), 1);
    assert_int_equal(value_of("tailrace_null_creates_total"), 1);
    assert_int_equal(value_of("tailrace_null_updates_total"), 1);
    assert_int_equal(value_of("tailrace_null_deletes_total"), 1);
    assert_int_equal(value_of("tailrace_null_truncates_total"), 1);
    assert_int_equal(value_of("tailrace_null_messages_total"), 1);
    assert_int_equal(value_of("tailrace_null_schema_changes_total"), 1);
    assert_int_equal(value_of("tailrace_null_commits_total"), 1);
    assert_int_equal(value_of("tailrace_null_bytes"), 6 + 5 + 10 + 5 + 5);
    tr_sink_null.writer_close(first);
    tr_sink_null.writer_close(second);
    tr_sink_null.close(sink);
    tr_table_unref(table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(counts_and_drops)};
    return cmocka_run_group_tests_name("sink_null", tests, NULL, NULL);
}
