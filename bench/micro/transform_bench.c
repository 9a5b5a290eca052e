/* What one row costs in a transform: nanoseconds of the thread's CPU time, for the users job and
 * for single computed columns.
 *
 *   cmake -DCMAKE_BUILD_TYPE=Release … && ninja bench_transform && bench/micro/bench_transform
 * [NAME [ROWS]] bench_transform --list      the names; "nothing" only fills the batches */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "event/batch.h"
#include "transform/transform.h"

#define ROWS_A_BATCH 1000u
#define COLUMNS 6

static unsigned batch_count = 1000;

static int64_t cpu_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static struct tr_table *make_table(void)
{
    static const struct {
        const char *name;
        enum tr_type type;
        int precision, scale;
    } spec[COLUMNS] = {{"id", TR_T_INT64, 0, 0},         {"name", TR_T_STRING, 0, 0},
                       {"email", TR_T_STRING, 0, 0},     {"op", TR_T_STRING, 0, 0},
                       {"timestamp", TR_T_STRING, 0, 0}, {"price", TR_T_DECIMAL, 10, 2}};
    struct tr_column columns[COLUMNS];
    struct tr_table *table;
    struct tr_error err;
    for (int i = 0; i < COLUMNS; i++)
        columns[i] = (struct tr_column){.name = spec[i].name,
                                        .type = spec[i].type,
                                        .precision = spec[i].precision,
                                        .scale = spec[i].scale,
                                        .key_index = i == 0 ? 1 : 0,
                                        .nullable = i > 0};
    const struct tr_table made = {
        .id = {"", "shop", "users"}, .column_count = COLUMNS, .columns = columns};
    if (tr_table_new(&made, &table, &err) != TR_OK)
        exit(1);
    return table;
}

static void fill(struct tr_batch *batch, const struct tr_table *table)
{
    static const char *const values[COLUMNS] = {
        "1042", "Alice Example", "Alice.B@Example.com", "u", "2025-09-19T10:00:15Z", "19.90"};
    struct tr_error err;
    tr_batch_reset(batch);
    if (tr_batch_table(batch, table, &err) != TR_OK)
        exit(1);
    for (uint32_t i = 0; i < ROWS_A_BATCH; i++) {
        struct tr_event *event = tr_batch_event(batch, TR_OP_CREATE);
        struct tr_cell *cells = tr_batch_cells(batch, COLUMNS);
        for (int c = 0; c < COLUMNS; c++)
            cells[c] = (struct tr_cell){values[c], (uint32_t)strlen(values[c]), TR_CELL_TEXT};
        event->table = table;
        event->after = cells;
    }
}

static void fill_only(void)
{
    struct tr_batch *batch;
    struct tr_error err;
    struct tr_table *table = make_table();
    if (tr_batch_new(&batch, &err) != TR_OK)
        exit(1);
    for (unsigned i = 0; i < batch_count; i++)
        fill(batch, table);
    tr_batch_free(batch);
    tr_table_unref(table);
}

static void measure(const char *projection, const char *filter)
{
    struct tr_table_pattern *pattern;
    struct tr_transform *transform;
    struct tr_batch *batch;
    struct tr_error err;
    const char *items[] = {"shop.users"};
    const struct tr_string_list list = {items, 1};
    struct tr_table *table = make_table();
    if (tr_table_pattern_compile(&list, &pattern, &err) != TR_OK ||
        tr_batch_new(&batch, &err) != TR_OK)
        exit(1);
    const struct tr_transform_rule rule = {
        .source = pattern, .projection = projection, .filter = filter};
    if (tr_transform_new(&rule, 1, NULL, &transform, &err) != TR_OK) {
        printf("%s\n", err.message);
        exit(1);
    }
    int64_t spent_ns = 0;
    for (unsigned i = 0; i < batch_count; i++) {
        fill(batch, table);
        int64_t from_ns = cpu_ns();
        if (tr_transform_batch(transform, batch, 1758276000000000, NULL, NULL, &err) != TR_OK) {
            printf("%s\n", err.message);
            exit(1);
        }
        spent_ns += cpu_ns() - from_ns;
    }
    printf("%7.0f ns  %s%s%s\n", (double)spent_ns / ((double)ROWS_A_BATCH * batch_count),
           projection, filter == NULL ? "" : "  WHERE ", filter == NULL ? "" : filter);
    tr_transform_free(transform);
    tr_table_pattern_free(pattern);
    tr_batch_free(batch);
    tr_table_unref(table);
}

static const struct {
    const char *name, *projection, *filter;
} benches[] = {
    {"users job", "id, name, LOWER(email) AS email, op, CAST(timestamp AS TIMESTAMP) AS event_time",
     NULL},
    {"users job, filter",
     "id, name, LOWER(email) AS email, op, CAST(timestamp AS TIMESTAMP) AS event_time", "id > 0"},
    {"four columns", "id, name, email, op", NULL},
    {"LOWER", "id, LOWER(email) AS x", NULL},
    {"CAST AS TIMESTAMP", "id, CAST(timestamp AS TIMESTAMP) AS x", NULL},
    {"id + 1", "id, id + 1 AS x", NULL},
    {"price * 2", "id, price * 2 AS x", NULL},
    {"three products", "id, price * 2 AS x, price * 3 AS y, price * 4 AS z", NULL},
    {"CASE", "id, CASE WHEN id > 5 THEN 'a' ELSE 'b' END AS x", NULL},
    {"REGEXP_REPLACE", "id, REGEXP_REPLACE(email, '@.*', '') AS x", NULL},
    {"DATE_FORMAT", "id, DATE_FORMAT(CAST(timestamp AS TIMESTAMP), 'yyyy-MM-dd') AS x", NULL},
    {"SHA256", "id, SHA256(email) AS x", NULL},
    {"__topic__", "id, __topic__ AS x", NULL},
    {"nothing", NULL, NULL},
};

int main(int argc, char **argv)
{
    if (argc > 2)
        batch_count = (unsigned)strtoul(argv[2], NULL, 10) / ROWS_A_BATCH;
    for (size_t i = 0; i < sizeof benches / sizeof benches[0]; i++) {
        if (argc > 1 && strcmp(argv[1], "--list") == 0)
            puts(benches[i].name);
        if (argc > 1 && strcmp(argv[1], benches[i].name) != 0)
            continue;
        if (benches[i].projection == NULL)
            fill_only();
        else
            measure(benches[i].projection, benches[i].filter);
    }
    return 0;
}
