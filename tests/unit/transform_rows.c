/* Batches: projection, filters that turn changes into others, keys, soft delete, schema changes,
 * hidden columns, failures. */
#include "event/dead_letter.h"
#include "transform_support.h"

#define NOW_US INT64_C(1758276000123456)
#define USERS "id INT32 key; name STRING; email STRING; op STRING hidden; stamp STRING hidden"

struct fixture {
    struct tr_batch *batch;
    struct tr_transform *transform;
    struct tr_table_pattern *pattern;
    struct tr_transform_rule rule;
    struct tr_error err;
    int failures;
    enum tr_status answer; /* of the failure handler */
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_int_equal(tr_batch_new(&f->batch, &f->err), TR_OK);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    tr_transform_free(f->transform);
    tr_batch_free(f->batch);
    tr_table_pattern_free(f->pattern);
    free(f);
    return 0;
}

static void open_rule(struct fixture *f, const char *source, const char *projection,
                      const char *filter, const char *keys)
{
    const char *items[] = {source};
    struct tr_string_list list = {.items = items, .count = 1};
    tr_transform_free(f->transform);
    tr_table_pattern_free(f->pattern);
    f->transform = NULL;
    f->pattern = NULL;
    assert_int_equal(tr_table_pattern_compile(&list, &f->pattern, &f->err), TR_OK);
    f->rule.source = f->pattern;
    f->rule.projection = projection;
    f->rule.filter = filter;
    f->rule.primary_keys = keys;
    f->rule.path = "pipeline.yaml";
    f->rule.projection_line = 12;
    f->rule.projection_column = 17;
    f->rule.filter_line = 14;
    f->rule.filter_column = 13;
    f->rule.keys_line = 15;
    f->rule.keys_column = 19;
    if (tr_transform_new(&f->rule, 1, NULL, &f->transform, &f->err) != TR_OK)
        f->transform = NULL;
}

static struct tr_event *put(struct fixture *f, const struct tr_table *table, enum tr_op op,
                            const char *before, const char *after)
{
    assert_int_equal(tr_batch_table(f->batch, table, &f->err), TR_OK);
    struct tr_event *event = tr_batch_event(f->batch, op);
    event->table = table;
    event->ts_us = NOW_US;
    if (before != NULL)
        event->before = cells_made(f->batch, table, before);
    if (after != NULL)
        event->after = cells_made(f->batch, table, after);
    return event;
}

static enum tr_status failed(void *context, struct tr_batch *batch, uint32_t index,
                             struct tr_error *err)
{
    struct fixture *f = context;
    f->failures++;
    assert_true(index < batch->event_count);
    if (f->answer != TR_OK)
        return f->answer;
    const struct tr_dead_letter letter = {.reason = TR_DEAD_TRANSFORM,
                                          .table = batch->events[index].table,
                                          .error = err,
                                          .event_time_us = TR_TIME_NONE,
                                          .watermark_us = TR_TIME_NONE};
    return tr_dead_letter_set(batch, &batch->events[index], &letter, err);
}

static enum tr_status run(struct fixture *f)
{
    return tr_transform_batch(f->transform, f->batch, NOW_US, failed, f, &f->err);
}

static void expect(struct fixture *f, uint32_t index, const char *want)
{
    char text[2000];
    assert_true(index < f->batch->event_count);
    event_text(&f->batch->events[index], text, sizeof text);
    assert_string_equal(text, want);
}

/* One event in, one line or "" out. */
static void check(struct fixture *f, const struct tr_table *table, enum tr_op op,
                  const char *before, const char *after, const char *want)
{
    tr_batch_reset(f->batch);
    f->answer = TR_FAIL;
    (void)put(f, table, op, before, after);
    enum tr_status status = run(f);
    if (want[0] == '!') {
        assert_int_equal(status, TR_FAIL);
        if (strstr(f->err.message, want + 1) == NULL)
            fail_msg("%s, not %s", f->err.message, want + 1);
        return;
    }
    if (status != TR_OK)
        fail_msg("%s", f->err.message);
    assert_int_equal(f->batch->event_count, want[0] == '\0' ? 0 : 1);
    if (want[0] != '\0')
        expect(f, 0, want);
}

static void test_users(void **state)
{
    struct fixture *f = *state;
    struct tr_table *table = table_made("users", USERS), *result;
    char text[600];
    open_rule(f, "shop.users",
              "id, name, LOWER(email) AS email, op, CAST(stamp AS TIMESTAMP) AS event_time", NULL,
              NULL);
    assert_int_equal(tr_transform_table(f->transform, table, &result, &f->err), TR_OK);
    table_text(result, text, sizeof text);
    assert_string_equal(
        text, "users(id INT32 not null key1, name STRING, email STRING, op STRING, event_time "
              "TIMESTAMP)");
    tr_table_unref(result);
    check(f, table, TR_OP_CREATE, NULL, "1|Alice|Alice@Example.com|c|2025-09-19T10:00:00Z",
          "c - 1|Alice|alice@example.com|c|2025-09-19 10:00:00");
    check(f, table, TR_OP_UPDATE, "1|Alice|A@x|u|2025-09-19T10:00:15Z",
          "1|Al|B@x|u|2025-09-19T10:00:15Z",
          "u 1|Alice|a@x|u|2025-09-19 10:00:15 1|Al|b@x|u|2025-09-19 10:00:15");
    check(f, table, TR_OP_DELETE, "1|Alice|A@x|d|NULL", NULL, "d 1|Alice|a@x|d|NULL -");
    check(f, table, TR_OP_READ, NULL, "1|NULL|NULL|NULL|NULL", "r - 1|NULL|NULL|NULL|NULL");
    check(f, table, TR_OP_TRUNCATE, NULL, NULL, "t - -");
    /* what was not sent is not made up */
    check(f, table, TR_OP_UPDATE, NULL, "1|UNCHANGED|UNCHANGED|u|NULL",
          "u - 1|UNCHANGED|UNCHANGED|u|NULL");
    /* the before image says what it was */
    check(f, table, TR_OP_UPDATE, "1|Alice|A@x|u|NULL", "1|UNCHANGED|UNCHANGED|u|NULL",
          "u 1|Alice|a@x|u|NULL 1|UNCHANGED|a@x|u|NULL");
    tr_table_unref(table);
}

static void test_hidden(void **state)
{
    struct fixture *f = *state;
    struct tr_table *users = table_made("users", USERS),
                    *orders = table_made("orders", "id INT32 key; a STRING");
    open_rule(f, "shop.users", "\\*, __op__ AS kind", NULL, NULL);
    check(f, users, TR_OP_CREATE, NULL, "1|A|B|c|x", "c - 1|A|B|c");
    check(f, orders, TR_OP_CREATE, NULL, "1|A", "c - 1|A");
    assert_ptr_equal(f->batch->events[0].table, orders);
    open_rule(f, "shop.none", "a", NULL, NULL);
    check(f, users, TR_OP_CREATE, NULL, "1|A|B|c|x", "c - 1|A|B");
    open_rule(f, "shop.users", NULL, "op <> 'd'", NULL);
    check(f, users, TR_OP_CREATE, NULL, "1|A|B|c|x", "c - 1|A|B");
    check(f, users, TR_OP_CREATE, NULL, "1|A|B|d|x", "");
    /* named by the user wins over the star, wherever it stands */
    open_rule(f, "shop.users", "*, UPPER(name) AS name", NULL, NULL);
    check(f, users, TR_OP_CREATE, NULL, "1|a|B|c|x", "c - 1|A|B");
    open_rule(f, "shop.users", "UPPER(name) name, users.*", NULL, NULL);
    check(f, users, TR_OP_CREATE, NULL, "1|a|B|c|x", "c - A|1|B");
    tr_table_unref(users);
    tr_table_unref(orders);
}

static void test_filter(void **state)
{
    struct fixture *f = *state;
    struct tr_table *table = table_made("t", "id INT32 key; v INT32; w STRING");
    open_rule(f, "shop.t", "id, v * 2 AS v, __data_event_type__ AS e", "v > 5", NULL);
    check(f, table, TR_OP_CREATE, NULL, "1|6|x", "c - 1|12|+I");
    check(f, table, TR_OP_CREATE, NULL, "1|5|x", "");
    check(f, table, TR_OP_CREATE, NULL, "1|NULL|x", "");
    check(f, table, TR_OP_UPDATE, "1|6|x", "1|7|x", "u 1|12|+U 1|14|+U");
    check(f, table, TR_OP_UPDATE, "1|5|x", "1|6|x", "c - 1|12|+I");
    check(f, table, TR_OP_UPDATE, "1|6|x", "1|5|x", "d 1|12|-D -");
    check(f, table, TR_OP_UPDATE, "1|5|x", "1|4|x", "");
    check(f, table, TR_OP_UPDATE, NULL, "1|6|x", "u - 1|12|+U");
    check(f, table, TR_OP_UPDATE, NULL, "1|5|x", "d 1|ABSENT|ABSENT - key-only");
    check(f, table, TR_OP_UPDATE, NULL, "1|UNCHANGED|x", "!did not send");
    check(f, table, TR_OP_UPDATE, "1|6|x", "1|UNCHANGED|y", "u 1|12|+U 1|12|+U");
    check(f, table, TR_OP_DELETE, "1|6|x", NULL, "d 1|12|-D -");
    check(f, table, TR_OP_DELETE, "1|5|x", NULL, "");
    check(f, table, TR_OP_DELETE, "1|ABSENT|ABSENT", NULL, "d 1|ABSENT|-D -");
    check(f, table, TR_OP_TRUNCATE, NULL, NULL, "t - -");
    open_rule(f, "shop.t", "id, w", "v > 5", NULL);
    check(f, table, TR_OP_UPDATE, "1|5|x", "1|6|UNCHANGED", "c - 1|x");
    check(f, table, TR_OP_UPDATE, "1|5|ABSENT", "1|6|UNCHANGED", "!comes into the filter");
    /* a filter that fails is not asked of rows that it need not see, and the outputs only of rows
     * that pass */
    open_rule(f, "shop.t", "id, 10 / v AS q", "v <> 0", NULL);
    check(f, table, TR_OP_CREATE, NULL, "1|0|x", "");
    check(f, table, TR_OP_CREATE, NULL, "1|5|x", "c - 1|2");
    /* names of the result in a filter: computed and renamed ones; a column of the source comes
     * first */
    open_rule(f, "shop.t", "id AS k, UPPER(w) AS big", "big = 'X' AND k = 1", NULL);
    check(f, table, TR_OP_CREATE, NULL, "1|0|x", "c - 1|X");
    check(f, table, TR_OP_CREATE, NULL, "2|0|x", "");
    open_rule(f, "shop.t", "id, UPPER(w) AS w", "w = 'x'", NULL);
    check(f, table, TR_OP_CREATE, NULL, "1|0|x", "c - 1|X");
    tr_table_unref(table);
}

static void test_filter_key_only(void **state)
{
    struct fixture *f = *state;
    struct tr_table *table = table_made("t", "id INT32 key; v INT32");
    open_rule(f, "shop.t", "id, v, 'x' AS c", "id > 5", NULL);
    tr_batch_reset(f->batch);
    put(f, table, TR_OP_DELETE, "6|ABSENT", NULL)->flags = TR_EV_BEFORE_KEY_ONLY;
    put(f, table, TR_OP_DELETE, "5|ABSENT", NULL)->flags = TR_EV_BEFORE_KEY_ONLY;
    put(f, table, TR_OP_UPDATE, "6|ABSENT", "7|1")->flags =
        TR_EV_BEFORE_KEY_ONLY | TR_EV_KEY_CHANGED;
    put(f, table, TR_OP_UPDATE, "6|ABSENT", "5|1")->flags =
        TR_EV_BEFORE_KEY_ONLY | TR_EV_KEY_CHANGED;
    put(f, table, TR_OP_UPDATE, "5|ABSENT", "6|1")->flags =
        TR_EV_BEFORE_KEY_ONLY | TR_EV_KEY_CHANGED;
    assert_int_equal(run(f), TR_OK);
    assert_int_equal(f->batch->event_count, 4);
    expect(f, 0, "d 6|ABSENT|ABSENT - key-only");
    expect(f, 1, "u 6|ABSENT|ABSENT 7|1|x key-changed key-only");
    expect(f, 2, "d 6|ABSENT|ABSENT - key-only");
    expect(f, 3, "c - 6|1|x");
    tr_table_unref(table);
}

static void test_keys(void **state)
{
    struct fixture *f = *state;
    struct tr_table *table = table_made("t", "id INT32 key; ref INT32; v STRING"), *result;
    char text[600];
    open_rule(f, "shop.t", NULL, NULL, "REF");
    assert_int_equal(tr_transform_table(f->transform, table, &result, &f->err), TR_OK);
    table_text(result, text, sizeof text);
    assert_string_equal(text, "t(id INT32 not null, ref INT32 not null key1, v STRING)");
    tr_table_unref(result);
    check(f, table, TR_OP_CREATE, NULL, "1|2|x", "c - 1|2|x");
    check(f, table, TR_OP_CREATE, NULL, "1|NULL|x", "!is NULL in the after image");
    check(f, table, TR_OP_UPDATE, "1|2|x", "1|3|x", "u 1|2|x 1|3|x key-changed");
    check(f, table, TR_OP_UPDATE, "1|2|x", "9|2|x", "u 1|2|x 9|2|x");
    check(f, table, TR_OP_UPDATE, "1|2|x", "1|UNCHANGED|y", "u 1|2|x 1|2|y");
    check(f, table, TR_OP_UPDATE, NULL, "1|2|x", "!before image does not hold");
    check(f, table, TR_OP_DELETE, "1|ABSENT|ABSENT", NULL,
          "!before image does not hold column ref");
    check(f, table, TR_OP_DELETE, "1|2|x", NULL, "d 1|2|x -");
    /* a key that is computed from the key alone is found without a before image */
    open_rule(f, "shop.t", "'shop-' || id AS k, v", NULL, "k");
    check(f, table, TR_OP_UPDATE, NULL, "1|2|x", "u - shop-1|x");
    check(f, table, TR_OP_DELETE, "1|ABSENT|ABSENT", NULL, "d shop-1|ABSENT -");
    /* the source's key is kept under another name, and lost when it is left out */
    open_rule(f, "shop.t", "id AS k, v", NULL, NULL);
    assert_int_equal(tr_transform_table(f->transform, table, &result, &f->err), TR_OK);
    assert_int_equal(result->key_count, 1);
    tr_table_unref(result);
    open_rule(f, "shop.t", "v", NULL, NULL);
    assert_int_equal(tr_transform_table(f->transform, table, &result, &f->err), TR_OK);
    assert_int_equal(result->key_count, 0);
    tr_table_unref(result);
    open_rule(f, "shop.t", "id, v", NULL, "id, w");
    assert_int_equal(tr_transform_table(f->transform, table, &result, &f->err), TR_FAIL);
    assert_int_equal(f->err.code, TR_E_TRANSFORM_KEY);
    assert_string_equal(f->err.hint, "Did you mean v?");
    tr_table_unref(table);
}

static void test_soft_delete(void **state)
{
    struct fixture *f = *state;
    struct tr_table *table = table_made("t", "id INT32 key; v STRING"),
                    *heap = table_made("h", "v STRING");
    f->rule.soft_delete = true;
    open_rule(f, "shop.\\.*", "*, __data_event_type__ AS e, __op__ AS o", NULL, NULL);
    check(f, table, TR_OP_CREATE, NULL, "1|x", "c - 1|x|+I|c");
    check(f, table, TR_OP_READ, NULL, "1|x", "r - 1|x|+I|r");
    check(f, table, TR_OP_UPDATE, "1|x", "1|y", "u 1|x|+U|u 1|y|+U|u");
    check(f, table, TR_OP_DELETE, "1|x", NULL, "u - 1|x|-D|d");
    check(f, table, TR_OP_DELETE, "1|ABSENT", NULL, "u - 1|UNCHANGED|-D|d");
    check(f, heap, TR_OP_DELETE, "x", NULL, "c - x|-D|d");
    tr_batch_reset(f->batch);
    put(f, table, TR_OP_DELETE, "1|ABSENT", NULL)->flags = TR_EV_BEFORE_KEY_ONLY;
    assert_int_equal(run(f), TR_OK);
    expect(f, 0, "u - 1|UNCHANGED|-D|d");
    open_rule(f, "shop.t", "*, __op__ AS o", "v = 'x'", NULL);
    check(f, table, TR_OP_UPDATE, "1|x", "1|y", "u - 1|x|d");
    tr_table_unref(table);
    tr_table_unref(heap);
}

static void test_failures(void **state)
{
    struct fixture *f = *state;
    struct tr_table *table = table_made("t", "id INT32 key; v STRING");
    open_rule(f, "shop.t", "id, CAST(v AS INT) AS v", NULL, NULL);
    for (int answer = 0; answer < 2; answer++) {
        f->answer = answer == 0 ? TR_OK : TR_AGAIN;
        f->failures = 0;
        tr_batch_reset(f->batch);
        (void)put(f, table, TR_OP_CREATE, NULL, "1|1");
        (void)put(f, table, TR_OP_CREATE, NULL, "2|two");
        (void)put(f, table, TR_OP_CREATE, NULL, "3|3");
        assert_int_equal(tr_batch_commit(f->batch, NULL, 0, NULL, &f->err), TR_OK);
        assert_int_equal(run(f), TR_OK);
        assert_int_equal(f->failures, 1);
        assert_int_equal(f->batch->event_count, answer == 0 ? 4 : 3);
        expect(f, 0, "c - 1|1");
        if (answer == 0)
            assert_true(tr_is_dead_letter(&f->batch->events[1]));
        expect(f, answer == 0 ? 2 : 1, "c - 3|3");
        assert_int_equal(f->batch->events[f->batch->event_count - 1].op, TR_OP_COMMIT);
        if (answer == 0) { /* letters are left alone the second time too */
            assert_int_equal(f->failures, 1);
        }
    }
    f->answer = TR_FAIL;
    check(f, table, TR_OP_CREATE, NULL, "2|two",
          "!pipeline.yaml:12:21: projection: the text is no number");
    assert_int_equal(f->err.class, TR_DATA);
    assert_int_equal(f->err.code, TR_E_TRANSFORM_VALUE);
    assert_string_equal(f->err.detail, "id, CAST(v AS INT) AS v\n    ^");
    /* without a handler the batch fails */
    tr_batch_reset(f->batch);
    (void)put(f, table, TR_OP_CREATE, NULL, "2|two");
    assert_int_equal(tr_transform_batch(f->transform, f->batch, NOW_US, NULL, NULL, &f->err),
                     TR_FAIL);
    tr_table_unref(table);
}

static void test_places(void **state)
{
    static const struct {
        const char *projection, *filter, *message, *detail;
        enum tr_code code;
    } cases[] = {
        {"id, UPER(v) AS v", NULL, "pipeline.yaml:12:21: projection: there is no function UPER",
         "id, UPER(v) AS v\n    ^", TR_E_TRANSFORM_FUNCTION},
        {"id,\n  v +", NULL, "pipeline.yaml:13:6: projection: a value is missing at the end",
         "  v +\n     ^", TR_E_TRANSFORM_SYNTAX},
        {NULL, "id =", "pipeline.yaml:14:17: filter: a value is missing at the end", "id =\n    ^",
         TR_E_TRANSFORM_SYNTAX},
        {"id, LOWER(v)", NULL, "pipeline.yaml:12:21: projection: what is computed needs a name",
         "id, LOWER(v)\n    ^", TR_E_TRANSFORM_SYNTAX},
    };
    static const struct {
        const char *projection, *filter, *message;
        enum tr_code code;
    } later[] = {
        {"id, w", NULL, "pipeline.yaml:12:21: projection: table shop.t has no column w",
         TR_E_TRANSFORM_COLUMN},
        {"id, id", NULL, "pipeline.yaml:12:21: projection: the result has a column id already",
         TR_E_TRANSFORM_SYNTAX},
        {"id, v AS id", NULL, "pipeline.yaml:12:21: projection: the result has a column id already",
         TR_E_TRANSFORM_SYNTAX},
        {NULL, "id", "pipeline.yaml:14:13: filter: a filter is a condition", TR_E_TRANSFORM_TYPE},
        {"id, UPPER(v) AS a, a || 'x' AS b", NULL, "has no column a", TR_E_TRANSFORM_COLUMN},
        {"u.*", NULL, "the table's name is t here", TR_E_TRANSFORM_COLUMN},
        {"id, 1 / 0 AS x", NULL, "division by zero", TR_E_TRANSFORM_VALUE},
    };
    struct fixture *f = *state;
    struct tr_table *table = table_made("t", "id INT32 key; v STRING"), *result;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        open_rule(f, "shop.t", cases[i].projection, cases[i].filter, NULL);
        assert_null(f->transform);
        assert_string_equal(f->err.message, cases[i].message);
        assert_string_equal(f->err.detail, cases[i].detail);
        assert_int_equal(f->err.code, cases[i].code);
    }
    for (size_t i = 0; i < sizeof later / sizeof *later; i++) {
        open_rule(f, "shop.t", later[i].projection, later[i].filter, NULL);
        assert_non_null(f->transform);
        assert_int_equal(tr_transform_table(f->transform, table, &result, &f->err), TR_FAIL);
        if (strstr(f->err.message, later[i].message) == NULL)
            fail_msg("%s", f->err.message);
        assert_int_equal(f->err.code, later[i].code);
        assert_int_equal(f->err.class, TR_CONFIG);
    }
    tr_table_unref(table);
}

static void put_change(struct fixture *f, const struct tr_table *before,
                       const struct tr_table *after, enum tr_change_kind kind)
{
    const struct tr_schema_change change = {.kind = kind, .before = before};
    assert_int_equal(tr_batch_schema_change(f->batch, after, &change, NULL, &f->err), TR_OK);
}

static void test_schema(void **state)
{
    struct fixture *f = *state;
    struct tr_table *one = table_made("t", "id INT32 key; v STRING; h STRING hidden");
    struct tr_table *two = table_made("t", "id INT32 key; v STRING; w INT32; h STRING hidden");
    struct tr_table *renamed = table_made("u", "id INT32 key; v STRING; w INT32; h STRING hidden");
    open_rule(f, "shop.t", "id, LOWER(v) AS v", NULL, NULL);
    put_change(f, NULL, one, TR_CHANGE_CREATE_TABLE);
    put(f, one, TR_OP_CREATE, NULL, "1|A|h")->txn_index = 1;
    put_change(f, one, two, TR_CHANGE_ALTER_TABLE); /* w does not show */
    (void)put(f, two, TR_OP_CREATE, NULL, "2|B|5|h");
    assert_int_equal(run(f), TR_OK);
    assert_int_equal(f->batch->event_count, 3);
    expect(f, 0, "s CREATE t(id INT32 not null key1, v STRING)");
    expect(f, 1, "c - 1|a");
    expect(f, 2, "c - 2|b");
    assert_ptr_equal(f->batch->events[1].table, f->batch->events[2].table);

    open_rule(f, "shop.t", NULL, NULL, NULL);
    tr_batch_reset(f->batch);
    put_change(f, one, two, TR_CHANGE_ALTER_TABLE);
    put_change(f, two, two, TR_CHANGE_DROP_TABLE);
    assert_int_equal(run(f), TR_OK);
    assert_int_equal(f->batch->event_count, 2);
    expect(f, 0, "s ALTER add:w t(id INT32 not null key1, v STRING, w INT32)");
    expect(f, 1, "s DROP t(id INT32 not null key1, v STRING, w INT32)");

    /* no rule: the hidden columns of a table go all the same */
    open_rule(f, "shop.none", "x", NULL, NULL);
    tr_batch_reset(f->batch);
    put_change(f, NULL, one, TR_CHANGE_CREATE_TABLE);
    put_change(f, one, two, TR_CHANGE_ALTER_TABLE);
    put_change(f, two, renamed, TR_CHANGE_RENAME_TABLE);
    assert_int_equal(run(f), TR_OK);
    assert_int_equal(f->batch->event_count, 3);
    expect(f, 0, "s CREATE t(id INT32 not null key1, v STRING)");
    expect(f, 1, "s ALTER add:w t(id INT32 not null key1, v STRING, w INT32)");
    expect(f, 2, "s RENAME u(id INT32 not null key1, v STRING, w INT32)");

    /* the new name has no rule: it shows more */
    open_rule(f, "shop.t", "id, v", NULL, NULL);
    tr_batch_reset(f->batch);
    put_change(f, two, renamed, TR_CHANGE_RENAME_TABLE);
    (void)put(f, renamed, TR_OP_CREATE, NULL, "2|B|5|h");
    assert_int_equal(run(f), TR_OK);
    assert_int_equal(f->batch->event_count, 3);
    expect(f, 0, "s RENAME u(id INT32 not null key1, v STRING)");
    expect(f, 1, "s ALTER add:w u(id INT32 not null key1, v STRING, w INT32)");
    expect(f, 2, "c - 2|B|5");

    /* the projection names what is only now there, and then what is there no more */
    open_rule(f, "shop.t", "id, w", NULL, NULL);
    tr_batch_reset(f->batch);
    put_change(f, one, two, TR_CHANGE_ALTER_TABLE);
    assert_int_equal(run(f), TR_OK);
    expect(f, 0, "s CREATE t(id INT32 not null key1, w INT32)");
    tr_batch_reset(f->batch);
    put_change(f, two, one, TR_CHANGE_ALTER_TABLE);
    assert_int_equal(run(f), TR_FAIL);
    assert_int_equal(f->err.code, TR_E_TRANSFORM_COLUMN);
    tr_table_unref(one);
    tr_table_unref(two);
    tr_table_unref(renamed);
}

static void test_message_columns(void **state)
{
    struct fixture *f = *state;
    struct tr_table *table = table_made("t", "id INT32 key");
    const struct tr_split split = {.name = "users/3", .container = "users", .partition = 3};
    const struct tr_message message = {
        .split = &split, .position = 42, .ts_us = NOW_US, .key = {"k1", 2}};
    open_rule(f, "shop.t",
              "id, __topic__ AS t, __partition__ AS p, __offset__ AS o, __timestamp__ AS ts, "
              "__key__ AS k",
              NULL, NULL);
    put(f, table, TR_OP_CREATE, NULL, "1")->message = &message;
    assert_int_equal(run(f), TR_OK);
    expect(f, 0, "c - 1|users|3|42|2025-09-19 10:00:00.123456+00|k1");
    tr_table_unref(table);
}

/* More table versions than plans are kept, and the same address for another table. */
static void test_many_tables(void **state)
{
    struct fixture *f = *state;
    open_rule(f, "shop.\\.*", "id, LOWER(v) AS v", NULL, NULL);
    for (int i = 0; i < 3000; i++) {
        char name[20];
        (void)snprintf(name, sizeof name, "t%d", i);
        struct tr_table *table = table_made(name, "id INT32 key; v STRING");
        check(f, table, TR_OP_CREATE, NULL, "1|A", "c - 1|a");
        tr_table_unref(table);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_users, setup, teardown),
        cmocka_unit_test_setup_teardown(test_hidden, setup, teardown),
        cmocka_unit_test_setup_teardown(test_filter, setup, teardown),
        cmocka_unit_test_setup_teardown(test_filter_key_only, setup, teardown),
        cmocka_unit_test_setup_teardown(test_keys, setup, teardown),
        cmocka_unit_test_setup_teardown(test_soft_delete, setup, teardown),
        cmocka_unit_test_setup_teardown(test_failures, setup, teardown),
        cmocka_unit_test_setup_teardown(test_places, setup, teardown),
        cmocka_unit_test_setup_teardown(test_schema, setup, teardown),
        cmocka_unit_test_setup_teardown(test_message_columns, setup, teardown),
        cmocka_unit_test_setup_teardown(test_many_tables, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
