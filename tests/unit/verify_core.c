/* The verify engine on fake sides: tables are arrays of rows, and rows change while they are read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/outbuf.h"
#include "cli/verify_core.h"

#define COLUMNS_MAX 4
#define TABLES_MAX 4

struct fake_row {
    const char *values[COLUMNS_MAX]; /* NULL = SQL NULL; "\\x…" may be given as BINARY by `binary` */
};
struct fake_table {
    struct tr_table *table;
    struct fake_row *rows;
    size_t count, capacity;
};
struct fake_side {
    struct fake_table tables[TABLES_MAX];
    size_t table_count;
    uint64_t position;
    const char *absent;     /* opening this table is a SCHEMA error */
    const char *broken;     /* opening this table is a TRANSIENT error */
    bool reversed;          /* scans of whole tables run backwards */
    int open_scans, lookups;
    void (*on_position)(struct fake_side *side, int calls);
    void (*on_lookup)(struct fake_side *side, int calls);
    int position_calls;
    struct fake_side *other;
};
struct tr_scan {
    struct fake_side *side;
    struct fake_table *table;
    const struct tr_table *shape;
    const struct tr_cell *key;
    size_t at;
    char text[COLUMNS_MAX][64];
    struct tr_cell cells[COLUMNS_MAX];
};

static struct fake_table *find(struct fake_side *side, const struct tr_table_id *id)
{
    for (size_t i = 0; i < side->table_count; i++) {
        if (strcmp(side->tables[i].table->id.table, id->table) == 0)
            return &side->tables[i];
    }
    return NULL;
}

static enum tr_status fake_list(void *self, void (*fn)(void *ctx, const struct tr_table *table),
                                void *ctx, struct tr_error *err)
{
    (void)err;
    struct fake_side *side = self;
    for (size_t i = 0; i < side->table_count; i++)
        fn(ctx, side->tables[i].table);
    return TR_OK;
}

static enum tr_status fake_open(void *self, const struct tr_table *table,
                                const struct tr_cell *key_cells, struct tr_scan **out,
                                struct tr_error *err)
{
    struct fake_side *side = self;
    if (side->broken != NULL && strcmp(side->broken, table->id.table) == 0)
        return tr_fail_as(err, TR_TRANSIENT, TR_E_INTERNAL, "broken");
    if (side->absent != NULL && strcmp(side->absent, table->id.table) == 0)
        return tr_fail_as(err, TR_SCHEMA, TR_E_INTERNAL, "the table is not there");
    struct tr_scan *scan = calloc(1, sizeof *scan);
    scan->side = side;
    scan->table = find(side, &table->id);
    scan->shape = table;
    scan->key = key_cells;
    assert_non_null(scan->table);
    side->open_scans++;
    if (key_cells != NULL && side->on_lookup != NULL)
        side->on_lookup(side, ++side->lookups);
    else if (key_cells != NULL)
        side->lookups++;
    *out = scan;
    return TR_OK;
}

static bool key_matches(const struct tr_scan *scan, const struct fake_row *row)
{
    for (uint16_t i = 0; scan->key != NULL && i < scan->shape->key_count; i++) {
        int column = tr_table_column(scan->table->table,
                                     scan->shape->columns[scan->shape->key_columns[i]].name);
        const char *value = row->values[column];
        assert_int_equal(scan->key[i].state, TR_CELL_TEXT);
        if (value == NULL || strlen(value) != scan->key[i].len ||
            memcmp(value, scan->key[i].ptr, scan->key[i].len) != 0)
            return false;
    }
    return true;
}

static enum tr_status fake_next(struct tr_scan *scan, const struct tr_cell **cells,
                                struct tr_error *err)
{
    (void)err;
    while (scan->at < scan->table->count) {
        size_t at = scan->side->reversed && scan->key == NULL ? scan->table->count - 1 - scan->at
                                                              : scan->at;
        const struct fake_row *row = &scan->table->rows[at];
        scan->at++;
        if (!key_matches(scan, row))
            continue;
        for (uint16_t i = 0; i < scan->shape->column_count; i++) {
            int column = tr_table_column(scan->table->table, scan->shape->columns[i].name);
            assert_true(column >= 0);
            const char *value = row->values[column];
            scan->cells[i] = (struct tr_cell){.state = TR_CELL_NULL};
            if (value == NULL)
                continue;
            (void)snprintf(scan->text[i], sizeof scan->text[i], "%s", value);
            scan->cells[i] = (struct tr_cell){
                .ptr = scan->text[i], .len = (uint32_t)strlen(value), .state = TR_CELL_TEXT};
        }
        *cells = scan->cells;
        return TR_OK;
    }
    return TR_END;
}

static void fake_close(struct tr_scan *scan)
{
    scan->side->open_scans--;
    free(scan);
}

static enum tr_status fake_position(void *self, uint64_t *position, struct tr_error *err)
{
    (void)err;
    struct fake_side *side = self;
    if (side->on_position != NULL)
        side->on_position(side, ++side->position_calls);
    *position = side->position;
    return TR_OK;
}

static const struct tr_scan_ops fake_ops = {.list = fake_list, .open = fake_open, .next = fake_next,
                                            .close = fake_close, .position = fake_position};
static const struct tr_scan_ops fake_ops_without_position = {
    .list = fake_list, .open = fake_open, .next = fake_next, .close = fake_close};

/* ---- set-up --------------------------------------------------------------------------------- */

struct fixture {
    struct fake_side source, sink;
    struct tr_verify_options options;
    struct tr_verify_result result;
    struct tr_error err;
    struct tr_outbuf rows, tables;
    bool cancel;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    f->options = (struct tr_verify_options){.listed_rows_max = 100, .timeout_ms = 200};
    f->source.position = f->sink.position = 100;
    f->source.other = &f->sink;
    f->sink.other = &f->source;
    *state = f;
    return 0;
}

static void side_free(struct fake_side *side)
{
    assert_int_equal(side->open_scans, 0);
    for (size_t i = 0; i < side->table_count; i++) {
        tr_table_unref(side->tables[i].table);
        free(side->tables[i].rows);
    }
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    side_free(&f->source);
    side_free(&f->sink);
    tr_outbuf_free(&f->rows);
    tr_outbuf_free(&f->tables);
    free(f);
    return 0;
}

static void add_row(struct fake_table *table, const char *a, const char *b)
{
    if (table->count == table->capacity) {
        table->capacity = table->capacity == 0 ? 16 : table->capacity * 2;
        table->rows = realloc(table->rows, table->capacity * sizeof *table->rows);
    }
    table->rows[table->count++] = (struct fake_row){{a, b}};
}

/* Two columns a and b; a is the key unless it has no type for one. */
static struct fake_table *add_table(struct fake_side *side, const char *name, bool has_key,
                                    enum tr_type key_type, enum tr_type value_type)
{
    struct tr_column columns[] = {{.name = "a", .type = key_type, .key_index = has_key},
                                  {.name = "b", .type = value_type}};
    struct tr_table spec = {.id = {"db", "public", name},
                            .column_count = 2,
                            .columns = columns,
                            .replica_identity = TR_RI_DEFAULT};
    struct tr_error err;
    struct fake_table *table = &side->tables[side->table_count++];
    *table = (struct fake_table){0};
    assert_int_equal(tr_table_new(&spec, &table->table, &err), TR_OK);
    return table;
}

/* The same table on both sides, with rows "a=b a=b …"; "-" is NULL. */
static void fill(struct fake_table *table, char *text)
{
    char *save = NULL;
    for (char *word = strtok_r(text, " ", &save); word != NULL; word = strtok_r(NULL, " ", &save)) {
        char *equals = strchr(word, '=');
        *equals = '\0';
        add_row(table, word, strcmp(equals + 1, "-") == 0 ? NULL : equals + 1);
    }
}

static void on_row(void *ctx, const struct tr_verify_table *table, const struct tr_verify_row *row)
{
    struct fixture *f = ctx;
    assert_non_null(table->target);
    tr_outbuf_printf(&f->rows, "%s%s %s%s%s", f->rows.len > 0 ? "; " : "",
                     tr_verify_row_kind_name(row->kind), row->key, row->columns[0] ? " in " : "",
                     row->columns);
}

static void on_table(void *ctx, const struct tr_verify_table *table)
{
    struct fixture *f = ctx;
    uint64_t source_rows = 0, sink_rows = 0;
    for (size_t i = 0; i < table->range_count; i++) {
        source_rows += table->ranges[i].source_rows;
        sink_rows += table->ranges[i].sink_rows;
        if (table->equal)
            assert_true(table->ranges[i].equal);
    }
    if (table->problem == NULL) {
        assert_int_equal(source_rows, table->source_rows);
        assert_int_equal(sink_rows, table->sink_rows);
    }
    if (table->equal && table->problem == NULL) {
        assert_int_equal(table->source_rows, table->sink_rows);
        assert_true(table->source_checksum == table->sink_checksum);
    }
    tr_outbuf_printf(&f->tables, "%s%s %d/%d %s", f->tables.len > 0 ? "; " : "",
                     table->target->table, (int)table->source_rows, (int)table->sink_rows,
                     table->equal ? "equal" : "unequal");
}

static bool on_cancelled(void *ctx)
{
    const struct fixture *f = ctx;
    return f->cancel;
}

static enum tr_status run_with(struct fixture *f, const struct tr_verify_router *router,
                               bool sink_has_position)
{
    struct tr_verify_side source = {&fake_ops, &f->source},
                          sink = {sink_has_position ? &fake_ops : &fake_ops_without_position,
                                  &f->sink};
    struct tr_verify_output output = {
        .ctx = f, .row = on_row, .table = on_table, .cancelled = on_cancelled};
    return tr_verify(&source, &sink, router, &f->options, &output, &f->result, &f->err);
}

static void run(struct fixture *f)
{
    if (run_with(f, NULL, true) != TR_OK)
        fail_msg("%s", f->err.message);
}

static void two_tables(struct fixture *f, bool has_key, enum tr_type key_type,
                       enum tr_type value_type, char *source_rows, char *sink_rows)
{
    fill(add_table(&f->source, "t", has_key, key_type, value_type), source_rows);
    fill(add_table(&f->sink, "t", has_key, key_type, value_type), sink_rows);
}
#define ROWS(text) ((char[]){text})

/* ---- tests ---------------------------------------------------------------------------------- */

static void equal_tables(void **state)
{
    struct fixture *f = *state;
    two_tables(f, true, TR_T_INT32, TR_T_STRING, ROWS("-3=x 1=- 2=y 10=z"),
               ROWS("-3=x 1=- 2=y 10=z"));
    run(f);
    assert_true(f->result.equal);
    assert_string_equal(tr_outbuf_cstr(&f->tables), "t 4/4 equal");
    assert_int_equal(f->source.lookups, 0);
    assert_true(f->result.positions_known);
}

static void every_kind_of_difference(void **state)
{
    struct fixture *f = *state;
    two_tables(f, true, TR_T_INT32, TR_T_STRING, ROWS("1=x 2=y 3=z 5=- 7=q"),
               ROWS("1=x 3=Z 4=w 5= 7=q 7=q"));
    run(f);
    assert_false(f->result.equal);
    assert_string_equal(tr_outbuf_cstr(&f->rows), "missing a=2; different a=3 in b; extra a=4; "
                                                  "different a=5 in b; extra a=7");
    assert_string_equal(tr_outbuf_cstr(&f->tables), "t 5/6 unequal");
}

static void empty_sides(void **state)
{
    struct fixture *f = *state;
    two_tables(f, true, TR_T_INT32, TR_T_STRING, ROWS(""), ROWS(""));
    run(f);
    assert_true(f->result.equal);
    add_row(&f->sink.tables[0], "1", "x");
    run(f);
    assert_false(f->result.equal);
    assert_string_equal(tr_outbuf_cstr(&f->rows), "extra a=1");
}

static void values_are_compared_by_type(void **state)
{
    struct fixture *f = *state;
    two_tables(f, true, TR_T_INT64, TR_T_DECIMAL,
               ROWS("1=1.00 2=-0.0 3=100 4=NaN 5=1.10 6=1234567890123456789012345678901.1"),
               ROWS("1=1 2=0 3=100.000 4=NaN 5=1.1 6=1234567890123456789012345678901.2"));
    run(f);
    assert_string_equal(tr_outbuf_cstr(&f->rows), "different a=6 in b");
}

static void floats_are_compared_by_value(void **state)
{
    struct fixture *f = *state;
    two_tables(f, true, TR_T_INT64, TR_T_FLOAT32, ROWS("1=0.1 2=-0 3=1e+20 4=NaN 5=Infinity 6=1.5"),
               ROWS("1=0.10000000149011612 2=0 3=100000000000000000000 4=NaN 5=Infinity 6=1.25"));
    run(f);
    assert_string_equal(tr_outbuf_cstr(&f->rows), "different a=6 in b");
}

static void decimal_keys_with_other_scales(void **state)
{
    struct fixture *f = *state;
    two_tables(f, true, TR_T_DECIMAL, TR_T_STRING, ROWS("-10.5=a -2=b 0.50=c 2.00=d 10=e Infinity=f NaN=g"),
               ROWS("-10.50=a -2=b 0.5=c 2=d 10=e Infinity=f NaN=g"));
    run(f);
    assert_true(f->result.equal);
}

static void dates_are_ordered_by_time(void **state)
{
    struct fixture *f = *state;
    two_tables(f, true, TR_T_DATE, TR_T_STRING,
               ROWS("-infinity=x 0044-03-15/BC=a 0001-01-01=b 2024-02-29=c 10000-01-01=d infinity=e"),
               ROWS("-infinity=x 0044-03-15/BC=a 0001-01-01=b 2024-02-29=c 10000-01-01=d infinity=e"));
    f->source.tables[0].rows[1].values[0] = "0044-03-15 BC";
    f->sink.tables[0].rows[1].values[0] = "0044-03-15 BC";
    run(f);
    assert_true(f->result.equal);
    assert_int_equal(f->source.lookups, 0);
}

/* a side that sorts in its own way is found out, and the table is hashed */
static void a_scan_out_of_order(void **state)
{
    struct fixture *f = *state;
    two_tables(f, true, TR_T_STRING, TR_T_STRING, ROWS("b=1 a=2 c=3"), ROWS("a=2 c=3 b=4"));
    run(f);
    assert_string_equal(tr_outbuf_cstr(&f->rows), "different a=b in b");
    assert_string_equal(tr_outbuf_cstr(&f->tables), "t 3/3 unequal");
}

static void keys_without_an_order(void **state)
{
    struct fixture *f = *state;
    two_tables(f, true, TR_T_INTERVAL, TR_T_STRING, ROWS("1d=x 2d=y 3d=z"), ROWS("3d=z 1d=x 4d=w"));
    run(f);
    assert_string_equal(tr_outbuf_cstr(&f->rows), "missing a=2d; extra a=4d");
}

static void bags(void **state)
{
    struct fixture *f = *state;
    two_tables(f, false, TR_T_INT32, TR_T_STRING, ROWS("1=x 1=x 2=y 3=-"), ROWS("3=- 1=x 1=x 2=y"));
    run(f);
    assert_true(f->result.equal);
    add_row(&f->source.tables[0], "1", "x");
    add_row(&f->source.tables[0], "1", "x");
    add_row(&f->sink.tables[0], "9", "w");
    run(f);
    assert_false(f->result.equal);
    assert_string_equal(tr_outbuf_cstr(&f->rows), "missing a=1, b=x; missing a=1, b=x; extra a=9, b=w");
    assert_string_equal(tr_outbuf_cstr(&f->tables), "t 4/4 equal; t 6/5 unequal");
}

/* ---- a pipeline that runs ---- */

/* the row arrives while the sink passes the position */
static void catch_up(struct fake_side *sink, int calls)
{
    if (calls == 3) {
        sink->tables[0].rows[1].values[1] = "new";
        sink->position = 250;
    }
}

static void a_late_row_is_no_difference(void **state)
{
    struct fixture *f = *state;
    f->source.position = 200;
    two_tables(f, true, TR_T_INT32, TR_T_STRING, ROWS("1=x 2=new 3=z"), ROWS("1=x 2=old 3=z"));
    f->sink.on_position = catch_up;
    run(f);
    assert_true(f->result.equal);
    assert_string_equal(tr_outbuf_cstr(&f->rows), "");
    assert_string_equal(tr_outbuf_cstr(&f->tables), "t 3/3 equal");
    assert_false(f->result.sink_stood_still);
}

static const char *const versions[] = {"v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7",
                                       "v8", "v9", "w0", "w1", "w2", "w3", "w4", "w5"};

/* each look at the source finds another value, and the sink is one behind */
static void keep_changing(struct fake_side *source, int calls)
{
    source->tables[0].rows[0].values[1] = versions[calls % 16];
    source->other->tables[0].rows[0].values[1] = "behind";
}

static void a_row_that_keeps_changing(void **state)
{
    struct fixture *f = *state;
    two_tables(f, true, TR_T_INT32, TR_T_STRING, ROWS("1=x 2=y"), ROWS("1=old 2=y"));
    f->source.on_lookup = keep_changing;
    f->options.rounds = 3;
    run(f);
    assert_string_equal(tr_outbuf_cstr(&f->rows), "changing a=1");
    assert_false(f->result.equal);
    assert_int_equal(f->source.lookups, 6);
}

static void settle_at_fourth(struct fake_side *source, int calls)
{
    source->tables[0].rows[0].values[1] = versions[calls < 4 ? calls : 4];
    source->other->tables[0].rows[0].values[1] = calls < 4 ? "behind" : versions[4];
}

static void a_row_that_settles(void **state)
{
    struct fixture *f = *state;
    two_tables(f, true, TR_T_INT32, TR_T_STRING, ROWS("1=x 2=y"), ROWS("1=old 2=y"));
    f->source.on_lookup = settle_at_fourth;
    run(f);
    assert_true(f->result.equal);
    assert_string_equal(tr_outbuf_cstr(&f->tables), "t 2/2 equal");
}

static void a_pipeline_that_stands_still(void **state)
{
    struct fixture *f = *state;
    f->source.position = 500;
    two_tables(f, true, TR_T_INT32, TR_T_STRING, ROWS("1=x 2=y"), ROWS("1=x"));
    run(f);
    assert_string_equal(tr_outbuf_cstr(&f->rows), "missing a=2");
    assert_true(f->result.sink_stood_still);
    assert_int_equal(f->result.behind, 400);
}

static void a_sink_without_position(void **state)
{
    struct fixture *f = *state;
    two_tables(f, true, TR_T_INT32, TR_T_STRING, ROWS("1=x 2=y"), ROWS("1=x"));
    assert_int_equal(run_with(f, NULL, false), TR_OK);
    assert_string_equal(tr_outbuf_cstr(&f->rows), "missing a=2");
    assert_false(f->result.positions_known);
}

/* a row leaves the bag between the source's reading and the sink's */
static void bag_catches_up(struct fake_side *sink, int calls)
{
    if (calls == 2)
        sink->tables[0].count--;
    sink->position = 1000;
}

static void a_bag_that_catches_up(void **state)
{
    struct fixture *f = *state;
    f->source.position = 500;
    two_tables(f, false, TR_T_INT32, TR_T_STRING, ROWS("1=x"), ROWS("1=x 2=y"));
    f->sink.on_position = bag_catches_up;
    f->sink.position_calls = 1;
    run(f);
    assert_true(f->result.equal);
}

/* ---- routes ---- */

static enum tr_status route_to_all(void *ctx, const struct tr_table *source, tr_verify_add_fn add,
                                   void *add_ctx, struct tr_error *err)
{
    (void)ctx;
    struct tr_table_id target = source->id;
    target.table = "all";
    if (strcmp(source->id.table, "left_out") == 0)
        return TR_OK;
    return add(add_ctx, &target, err);
}

static void shards_with_one_target(void **state)
{
    struct fixture *f = *state;
    struct tr_verify_router router = {route_to_all, NULL};
    fill(add_table(&f->source, "s1", true, TR_T_INT32, TR_T_STRING), ROWS("1=x 3=z 5=dup"));
    fill(add_table(&f->source, "left_out", true, TR_T_INT32, TR_T_STRING), ROWS("9=x"));
    fill(add_table(&f->source, "s2", true, TR_T_INT32, TR_T_STRING), ROWS("2=y 4=w 5=other"));
    fill(add_table(&f->sink, "all", true, TR_T_INT32, TR_T_STRING), ROWS("1=x 2=y 3=z 4=w 5=other"));
    assert_int_equal(run_with(f, &router, true), TR_OK);
    assert_string_equal(tr_outbuf_cstr(&f->rows), "");
    assert_true(f->result.equal);
    assert_string_equal(tr_outbuf_cstr(&f->tables), "all 5/5 equal");
    f->sink.tables[0].rows[2].values[1] = "wrong";
    assert_int_equal(run_with(f, &router, true), TR_OK);
    assert_string_equal(tr_outbuf_cstr(&f->rows), "different a=3 in b");
}

/* ---- limits and failures ---- */

static char numbers[5000][8];

static void many_rows(struct fixture *f, size_t count)
{
    struct fake_table *source = add_table(&f->source, "t", true, TR_T_INT32, TR_T_STRING),
                      *sink = add_table(&f->sink, "t", true, TR_T_INT32, TR_T_STRING);
    for (size_t i = 0; i < count; i++) {
        (void)snprintf(numbers[i], sizeof numbers[i], "%zu", i);
        add_row(source, numbers[i], "x");
        add_row(sink, numbers[i], "x");
    }
}

struct ranges_seen {
    size_t count, unequal;
    char first[64], last[64];
};

static void on_ranges(void *ctx, const struct tr_verify_table *table)
{
    struct ranges_seen *seen = ctx;
    seen->count = table->range_count;
    for (size_t i = 0; i < table->range_count; i++) {
        seen->unequal += !table->ranges[i].equal;
        if (!table->ranges[i].equal) {
            (void)snprintf(seen->first, sizeof seen->first, "%s", table->ranges[i].first_key);
            (void)snprintf(seen->last, sizeof seen->last, "%s", table->ranges[i].last_key);
        }
    }
}

static void ranges(void **state)
{
    struct fixture *f = *state;
    struct ranges_seen seen = {0};
    struct tr_verify_side source = {&fake_ops, &f->source}, sink = {&fake_ops, &f->sink};
    struct tr_verify_output output = {.ctx = &seen, .table = on_ranges};
    many_rows(f, 1000);
    f->sink.tables[0].rows[250].values[1] = "y";
    f->options.range_rows = 100;
    assert_int_equal(
        tr_verify(&source, &sink, NULL, &f->options, &output, &f->result, &f->err), TR_OK);
    assert_int_equal(seen.count, 10);
    assert_int_equal(seen.unequal, 1);
    assert_string_equal(seen.first, "a=200");
    assert_string_equal(seen.last, "a=299");
}

static void too_many_ranges_are_joined(void **state)
{
    struct fixture *f = *state;
    struct ranges_seen seen = {0};
    struct tr_verify_side source = {&fake_ops, &f->source}, sink = {&fake_ops, &f->sink};
    struct tr_verify_output output = {.ctx = &seen, .table = on_ranges};
    many_rows(f, 5000);
    f->sink.tables[0].rows[1].values[1] = "y";
    f->sink.tables[0].rows[4999].values[1] = "y";
    f->options.range_rows = 1;
    assert_int_equal(
        tr_verify(&source, &sink, NULL, &f->options, &output, &f->result, &f->err), TR_OK);
    assert_true(seen.count > 100 && seen.count <= 1024);
    assert_int_equal(seen.unequal, 2);
    assert_string_equal(seen.last, "a=4999");
}

static void too_many_suspects_are_counted(void **state)
{
    struct fixture *f = *state;
    many_rows(f, 300);
    for (size_t i = 0; i < 300; i++)
        f->sink.tables[0].rows[i].values[1] = "y";
    f->options.listed_rows_max = 2;
    f->options.suspects_max = 10;
    run(f);
    assert_false(f->result.equal);
    assert_string_equal(tr_outbuf_cstr(&f->rows), "different a=0 in b; different a=1 in b");
    assert_int_equal(f->source.lookups, 20); /* ten keys, twice */
}

/* the sink was far behind when it was read first */
static void deliver_all(struct fake_side *sink, int calls)
{
    if (calls == 1)
        return;
    memcpy(sink->tables[0].rows, sink->other->tables[0].rows,
           sink->tables[0].count * sizeof *sink->tables[0].rows);
    sink->position = 1000;
}

static void too_many_suspects_that_arrive(void **state)
{
    struct fixture *f = *state;
    many_rows(f, 300);
    for (size_t i = 0; i < 300; i++)
        f->sink.tables[0].rows[i].values[1] = "y";
    f->source.position = 900;
    f->options.suspects_max = 10;
    f->sink.on_position = deliver_all;
    run(f);
    assert_true(f->result.equal);
    assert_string_equal(tr_outbuf_cstr(&f->tables), "t 300/300 equal");
}

/* ---- every method against a plain count ---- */

static uint64_t next_random(uint64_t *seed)
{
    *seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return *seed >> 33;
}

struct totals {
    uint64_t missing, extra, different;
    enum tr_verify_method method;
};

static void on_totals(void *ctx, const struct tr_verify_table *table)
{
    struct totals *totals = ctx;
    *totals = (struct totals){table->missing_rows, table->extra_rows, table->different_rows,
                              table->method};
}

/* Keys 0 … 99, each with a chance to be on either side, with one of two values. */
static void random_round(uint64_t seed, enum tr_type key_type, bool has_key, bool reversed)
{
    void *state = NULL;
    assert_int_equal(setup(&state), 0);
    struct fixture *f = state;
    struct fake_table *source = add_table(&f->source, "t", has_key, key_type, TR_T_STRING),
                      *sink = add_table(&f->sink, "t", has_key, key_type, TR_T_STRING);
    struct totals want = {0}, got = {0};
    unsigned sameness = 2 + (unsigned)(next_random(&seed) % 50);
    for (size_t i = 0; i < 100; i++) {
        bool here = next_random(&seed) % 10 > 0, there = next_random(&seed) % sameness > 0;
        bool same = next_random(&seed) % sameness > 0;
        (void)snprintf(numbers[i], sizeof numbers[i], "%zu", i);
        if (here)
            add_row(source, numbers[i], "x");
        if (there)
            add_row(sink, numbers[i], same ? "x" : "y");
        bool differ = here && there && !same;
        want.missing += (here && !there) || (differ && !has_key);
        want.extra += (there && !here) || (differ && !has_key);
        want.different += differ && has_key;
    }
    f->sink.reversed = reversed;
    f->options.hashed_keys_max = 5 + next_random(&seed) % 100;
    f->options.range_rows = 1 + next_random(&seed) % 40;
    struct tr_verify_side source_side = {&fake_ops, &f->source}, sink_side = {&fake_ops, &f->sink};
    struct tr_verify_output output = {.ctx = &got, .table = on_totals};
    assert_int_equal(tr_verify(&source_side, &sink_side, NULL, &f->options, &output, &f->result,
                               &f->err),
                     TR_OK);
    assert_int_equal(got.missing, want.missing);
    assert_int_equal(got.extra, want.extra);
    assert_int_equal(got.different, want.different);
    assert_int_equal(f->result.equal, want.missing + want.extra + want.different == 0);
    if (sink->count > 1)
        assert_int_equal(got.method, !has_key                                ? TR_VERIFY_BAG
                                     : key_type == TR_T_INTERVAL || reversed ? TR_VERIFY_HASHED
                                                                             : TR_VERIFY_MERGED);
    (void)teardown(&state);
}

static void random_tables(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 100; seed++) {
        random_round(seed, TR_T_INT32, true, false);
        random_round(seed, TR_T_INT32, true, true);
        random_round(seed, TR_T_INTERVAL, true, false);
        random_round(seed, TR_T_INT32, false, false);
    }
}

static void an_absent_target(void **state)
{
    struct fixture *f = *state;
    two_tables(f, true, TR_T_INT32, TR_T_STRING, ROWS("1=x 2=y"), ROWS(""));
    f->sink.absent = "t";
    run(f);
    assert_false(f->result.equal);
    assert_string_equal(tr_outbuf_cstr(&f->tables), "t 2/0 unequal");
    f->source.tables[0].count = 0;
    run(f);
    assert_true(f->result.equal);
}

static void failures_end_it(void **state)
{
    struct fixture *f = *state;
    two_tables(f, true, TR_T_INT32, TR_T_STRING, ROWS("1=x 2=y"), ROWS("1=x"));
    f->sink.broken = "t";
    assert_int_equal(run_with(f, NULL, true), TR_FAIL);
    assert_int_equal(f->err.class, TR_TRANSIENT);
    f->sink.broken = NULL;
    f->source.absent = "t"; /* the source's own table: not a missing target */
    assert_int_equal(run_with(f, NULL, true), TR_FAIL);
    f->source.absent = NULL;
    f->cancel = true;
    assert_int_equal(run_with(f, NULL, true), TR_FAIL);
    assert_int_equal(f->err.code, TR_E_INTERRUPTED);
    struct tr_verify_side source = {&fake_ops, &f->source}, none = {NULL, NULL};
    struct tr_verify_output output = {0};
    assert_int_equal(
        tr_verify(&source, &none, NULL, &f->options, &output, &f->result, &f->err), TR_FAIL);
    assert_int_equal(f->err.code, TR_E_VERIFY_UNSUPPORTED);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(equal_tables),
                                       TEST(every_kind_of_difference),
                                       TEST(empty_sides),
                                       TEST(values_are_compared_by_type),
                                       TEST(floats_are_compared_by_value),
                                       TEST(decimal_keys_with_other_scales),
                                       TEST(dates_are_ordered_by_time),
                                       TEST(a_scan_out_of_order),
                                       TEST(keys_without_an_order),
                                       TEST(bags),
                                       TEST(a_late_row_is_no_difference),
                                       TEST(a_row_that_keeps_changing),
                                       TEST(a_row_that_settles),
                                       TEST(a_pipeline_that_stands_still),
                                       TEST(a_sink_without_position),
                                       TEST(a_bag_that_catches_up),
                                       TEST(shards_with_one_target),
                                       TEST(ranges),
                                       TEST(too_many_ranges_are_joined),
                                       TEST(too_many_suspects_are_counted),
                                       TEST(too_many_suspects_that_arrive),
                                       cmocka_unit_test(random_tables),
                                       TEST(an_absent_target),
                                       TEST(failures_end_it)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
