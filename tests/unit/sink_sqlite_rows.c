/* The SQLite sink: every operation on rows, transactions, marks, restarts. */
#include "sink_sqlite_support.h"

static const struct tr_column goods_columns[] = {
    {.name = "id", .type = TR_T_INT32, .key_index = 1},
    {.name = "name", .type = TR_T_STRING, .nullable = true},
    {.name = "big", .type = TR_T_STRING, .nullable = true},
    {.name = NULL}};

static struct rig rig;
static struct tr_table *goods;

static int setup(void **state)
{
    (void)state;
    rig_start(&rig);
    goods = table_of("goods", goods_columns);
    create(&rig, goods);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    tr_table_unref(goods);
    rig_end(&rig);
    return 0;
}

static void insert_upsert_delete_truncate(void **state)
{
    (void)state;
    put(&rig, TR_OP_READ, goods, NULL, ROW("1", "one", "x"));
    put(&rig, TR_OP_CREATE, goods, NULL, ROW("2", "two", NULL));
    put(&rig, TR_OP_CREATE, goods, NULL, ROW("2", "two again", "y"));
    put(&rig, TR_OP_UPDATE, goods, NULL, ROW("1", NULL, "z"));
    put(&rig, TR_OP_UPDATE, goods, NULL, ROW("3", "was not there", "w"));
    send_commit(&rig, "0/1");
    assert_query(&rig, "SELECT * FROM goods ORDER BY id",
                 "1|<null>|z\n2|two again|y\n3|was not there|w");
    put(&rig, TR_OP_DELETE, goods, ROW("2", ABSENT, ABSENT), NULL)->flags = TR_EV_BEFORE_KEY_ONLY;
    put(&rig, TR_OP_DELETE, goods, ROW("99", ABSENT, ABSENT), NULL);
    send_commit(&rig, "0/2");
    assert_query(&rig, "SELECT id FROM goods ORDER BY id", "1\n3");
    put(&rig, TR_OP_TRUNCATE, goods, NULL, NULL);
    put(&rig, TR_OP_CREATE, goods, NULL, ROW("7", "after", NULL));
    send_commit(&rig, "0/3");
    assert_query(&rig, "SELECT id FROM goods", "7");
}

static void unchanged_is_kept(void **state)
{
    (void)state;
    int64_t missing = tr_metric_get(&tr_sqlite_metric_missing);
    put(&rig, TR_OP_CREATE, goods, NULL, ROW("1", "one", "a very long value"));
    put(&rig, TR_OP_UPDATE, goods, NULL, ROW("1", "changed", UNCHANGED));
    put(&rig, TR_OP_UPDATE, goods, NULL, ROW("1", UNCHANGED, UNCHANGED));
    put(&rig, TR_OP_UPDATE, goods, NULL, ROW("5", "no such row", UNCHANGED));
    send_commit(&rig, "0/1");
    assert_query(&rig, "SELECT * FROM goods", "1|changed|a very long value");
    assert_int_equal(tr_metric_get(&tr_sqlite_metric_missing), missing + 1);
    /* a created row that lacks a cell leaves it to the column's default */
    put(&rig, TR_OP_CREATE, goods, NULL, ROW("2", "two", ABSENT));
    put(&rig, TR_OP_CREATE, goods, NULL, ROW("1", ABSENT, "replaced"));
    send_commit(&rig, "0/2");
    assert_query(&rig, "SELECT * FROM goods ORDER BY id", "1|changed|replaced\n2|two|<null>");
}

static void key_changes(void **state)
{
    (void)state;
    put(&rig, TR_OP_CREATE, goods, NULL, ROW("1", "one", "kept"));
    put(&rig, TR_OP_CREATE, goods, NULL, ROW("2", "two", "b"));
    put(&rig, TR_OP_UPDATE, goods, ROW("1", ABSENT, ABSENT), ROW("10", "ten", UNCHANGED))->flags =
        TR_EV_KEY_CHANGED | TR_EV_BEFORE_KEY_ONLY;
    put(&rig, TR_OP_UPDATE, goods, ROW("2", ABSENT, ABSENT), ROW("20", "twenty", "c"))->flags =
        TR_EV_KEY_CHANGED | TR_EV_BEFORE_KEY_ONLY;
    /* the old row is not there: the new one is */
    put(&rig, TR_OP_UPDATE, goods, ROW("3", ABSENT, ABSENT), ROW("30", "thirty", "d"))->flags =
        TR_EV_KEY_CHANGED;
    send_commit(&rig, "0/1");
    assert_query(&rig, "SELECT * FROM goods ORDER BY id", "10|ten|kept\n20|twenty|c\n30|thirty|d");
    /* three rows move round; a row in the way is replaced; a flag without a change does no harm */
    put(&rig, TR_OP_UPDATE, goods, ROW("10", ABSENT, ABSENT), ROW("0", UNCHANGED, UNCHANGED))
        ->flags = TR_EV_KEY_CHANGED;
    put(&rig, TR_OP_UPDATE, goods, ROW("20", ABSENT, ABSENT), ROW("10", UNCHANGED, UNCHANGED))
        ->flags = TR_EV_KEY_CHANGED;
    put(&rig, TR_OP_UPDATE, goods, ROW("0", ABSENT, ABSENT), ROW("20", UNCHANGED, UNCHANGED))
        ->flags = TR_EV_KEY_CHANGED;
    put(&rig, TR_OP_UPDATE, goods, ROW("30", ABSENT, ABSENT), ROW("20", "won", "e"))->flags =
        TR_EV_KEY_CHANGED;
    put(&rig, TR_OP_UPDATE, goods, ROW("10", ABSENT, ABSENT), ROW("10", "same", UNCHANGED))->flags =
        TR_EV_KEY_CHANGED;
    send_commit(&rig, "0/2");
    assert_query(&rig, "SELECT * FROM goods ORDER BY id", "10|same|c\n20|won|e");
    put(&rig, TR_OP_UPDATE, goods, NULL, ROW("1", "x", "y"))->flags = TR_EV_KEY_CHANGED;
    assert_code(&rig, TR_E_SQLITE_ROW_UNIDENTIFIED, send_batch(&rig));
    assert_int_equal(rig.err.seq, rig.seq - 1);
}

static void composite_text_key(void **state)
{
    (void)state;
    static const struct tr_column columns[] = {{.name = "b", .type = TR_T_STRING, .key_index = 2},
                                               {.name = "v", .type = TR_T_INT64, .nullable = true},
                                               {.name = "a", .type = TR_T_UUID, .key_index = 1},
                                               {.name = NULL}};
    struct tr_table *table = table_of("pairs", columns);
    const char *uuid = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11";
    create(&rig, table);
    put(&rig, TR_OP_CREATE, table, NULL, ROW("1", "10", uuid));
    put(&rig, TR_OP_CREATE, table, NULL, ROW("01", "20", uuid));
    put(&rig, TR_OP_CREATE, table, NULL, ROW("", "30", uuid));
    put(&rig, TR_OP_UPDATE, table, NULL, ROW("01", "21", uuid));
    put(&rig, TR_OP_DELETE, table, ROW("1", ABSENT, uuid), NULL);
    send_commit(&rig, "0/1");
    assert_query(&rig, "SELECT b, v FROM pairs ORDER BY b", "|30\n01|21");
    /* nothing but the key */
    static const struct tr_column only_key[] = {{.name = "k", .type = TR_T_STRING, .key_index = 1},
                                                {.name = NULL}};
    struct tr_table *keys = table_of("keys", only_key);
    create(&rig, keys);
    put(&rig, TR_OP_CREATE, keys, NULL, ROW("x"));
    put(&rig, TR_OP_CREATE, keys, NULL, ROW("x"));
    put(&rig, TR_OP_UPDATE, keys, NULL, ROW("x"));
    put(&rig, TR_OP_UPDATE, keys, ROW("x"), ROW("y"))->flags = TR_EV_KEY_CHANGED;
    send_commit(&rig, "0/2");
    assert_query(&rig, "SELECT * FROM keys", "y");
    tr_table_unref(keys);
    tr_table_unref(table);
}

static void keyless_rows(void **state)
{
    (void)state;
    static const struct tr_column columns[] = {
        {.name = "rowid", .type = TR_T_INT32, .nullable = true},
        {.name = "t", .type = TR_T_STRING, .nullable = true},
        {.name = "f", .type = TR_T_FLOAT64, .nullable = true},
        {.name = NULL}};
    struct tr_table *table = table_of("loose", columns);
    create(&rig, table);
    for (int i = 0; i < 3; i++)
        put(&rig, TR_OP_CREATE, table, NULL, ROW("1", "same", "0.1"));
    put(&rig, TR_OP_CREATE, table, NULL, ROW(NULL, NULL, "NaN"));
    put(&rig, TR_OP_CREATE, table, NULL, ROW("2", "", "-0"));
    send_commit(&rig, "0/1");
    put(&rig, TR_OP_DELETE, table, ROW("1", "same", "0.1"), NULL);
    put(&rig, TR_OP_UPDATE, table, ROW("1", "same", "0.1"), ROW("1", "changed", "Infinity"));
    put(&rig, TR_OP_UPDATE, table, ROW(NULL, NULL, "NaN"), ROW(NULL, "nan", UNCHANGED));
    put(&rig, TR_OP_DELETE, table, ROW("2", "", "-0"), NULL);
    put(&rig, TR_OP_DELETE, table, ROW("9", "none", NULL), NULL);
    send_commit(&rig, "0/2");
    assert_query(&rig, "SELECT \"rowid\", t, f FROM loose ORDER BY t",
                 "1|changed|Inf\n<null>|nan|NaN\n1|same|0.1");
    put(&rig, TR_OP_UPDATE, table, NULL, ROW("1", "x", "1"));
    assert_code(&rig, TR_E_SQLITE_ROW_UNIDENTIFIED, send_batch(&rig));
    tr_table_unref(table);
}

static void hostile_names(void **state)
{
    (void)state;
    static const char *const names[] = {"x\"; DROP TABLE goods; --",
                                        "select",
                                        "a.b",
                                        "tab\tand\nline",
                                        "ünï 漢字",
                                        "'single'",
                                        "[brackets]",
                                        "`tick`",
                                        "?1 :a $b @c",
                                        "%s%n",
                                        " "};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct tr_column columns[] = {{.name = "id", .type = TR_T_INT32, .key_index = 1},
                                      {.name = names[i], .type = TR_T_STRING, .nullable = true},
                                      {.name = NULL}};
        struct tr_table *table = table_of(names[i], columns);
        create(&rig, table);
        put(&rig, TR_OP_CREATE, table, NULL, ROW("1", names[i]));
        put(&rig, TR_OP_UPDATE, table, NULL, ROW("1", "v"));
        put(&rig, TR_OP_CREATE, table, NULL, ROW("2", "gone"));
        put(&rig, TR_OP_DELETE, table, ROW("2", NULL), NULL);
        send_commit(&rig, "0/1");
        assert_string_equal(scan(&rig, table), "1|v");
        tr_table_unref(table);
    }
    assert_query(&rig, "SELECT count(*) FROM goods", "0");
}

static void half_a_transaction_is_never_seen(void **state)
{
    (void)state;
    put(&rig, TR_OP_CREATE, goods, NULL, ROW("1", "a", NULL));
    put_commit(&rig, "lsn", "0/1");
    assert_ok(&rig, send_batch(&rig));
    uint64_t first = rig.seq - 1;
    /* the next one comes in pieces: the first transaction is committed, not the half */
    for (int i = 2; i < 50; i++) {
        char id[8];
        (void)snprintf(id, sizeof id, "%d", i);
        put(&rig, TR_OP_CREATE, goods, NULL, ROW(id, "half", NULL));
        assert_ok(&rig, send_batch(&rig));
        assert_ok(&rig, tr_sink_sqlite.flush(rig.writer, 100, &rig.err));
        assert_int_equal(tr_sink_sqlite.durable_seq(rig.writer), first);
        assert_query(&rig, "SELECT count(*) FROM goods", "1");
    }
    assert_query(&rig, "SELECT value FROM tailrace_position WHERE item = 'lsn'", "0/1");
    send_commit(&rig, "0/2");
    assert_query(&rig, "SELECT count(*) FROM goods", "49");
    assert_query(&rig, "SELECT value FROM tailrace_position WHERE item = 'lsn'", "0/2");
    /* a transaction whose start is the tail of a batch */
    put(&rig, TR_OP_CREATE, goods, NULL, ROW("100", "b", NULL));
    put_commit(&rig, "lsn", "0/3");
    put(&rig, TR_OP_CREATE, goods, NULL, ROW("101", "c", NULL));
    assert_ok(&rig, send_batch(&rig));
    assert_ok(&rig, tr_sink_sqlite.flush(rig.writer, 0, &rig.err));
    assert_query(&rig, "SELECT max(id) FROM goods", "100");
    rig_close(&rig);
    rig_open(&rig);
    assert_query(&rig, "SELECT max(id) FROM goods", "100");
    assert_query(&rig, "SELECT value FROM tailrace_position WHERE item = 'lsn'", "0/3");
}

static void many_transactions_in_one(void **state)
{
    (void)state;
    int64_t commits = tr_metric_get(&tr_sqlite_metric_commits);
    rig.config.options.commit_rows = 100;
    for (int i = 0; i < 1000; i++) {
        char id[8], lsn[16];
        (void)snprintf(id, sizeof id, "%d", i);
        (void)snprintf(lsn, sizeof lsn, "0/%X", i + 1);
        put(&rig, TR_OP_CREATE, goods, NULL, ROW(id, "v", NULL));
        put_commit(&rig, "lsn", lsn);
    }
    assert_ok(&rig, send_batch(&rig));
    commits = tr_metric_get(&tr_sqlite_metric_commits) - commits;
    assert_in_range(commits, 10, 11);
    assert_ok(&rig, tr_sink_sqlite.flush(rig.writer, 1000, &rig.err));
    assert_int_equal(tr_sink_sqlite.durable_seq(rig.writer), rig.seq - 1);
    assert_query(&rig, "SELECT count(*), value FROM goods, tailrace_position", "1000|0/3E8");
}

static void marks_and_restart(void **state)
{
    (void)state;
    struct tr_state marks;
    uint64_t position;
    tr_state_init(&marks);
    put(&rig, TR_OP_CREATE, goods, NULL, ROW("1", "a", NULL));
    put_commit(&rig, "chunk/1/1", "done");
    put_commit(&rig, "chunk/1/2", "done");
    put_commit(&rig, "chunk_1/x", "other");
    put_commit(&rig, "chunk/2", "gone");
    put_commit(&rig, "chunk/2", "");
    put_commit(&rig, "lsn", "16/B374D848");
    put_commit(&rig, "idle", "1");
    assert_ok(&rig, send_batch(&rig));
    assert_ok(&rig, tr_sink_sqlite.flush(rig.writer, 1000, &rig.err));
    assert_int_equal(tr_sink_sqlite.durable_seq(rig.writer), rig.seq - 1);
    execute(&rig, "INSERT INTO tailrace_position VALUES ('other', 'lsn', '0/FF')");
    rig_close(&rig);
    rig_open(&rig);
    assert_ok(&rig, tr_sink_sqlite.load_marks(rig.sink, &marks, &rig.err));
    assert_int_equal(marks.count, 5);
    assert_string_equal(tr_state_get(&marks, "lsn"), "16/B374D848");
    assert_null(tr_state_get(&marks, "chunk/2"));
    assert_ok(&rig, tr_sink_sqlite.scan->position(rig.sink, &position, &rig.err));
    assert_int_equal(position, 0x16B374D848);
    /* by prefix: '_' and '%' are no wildcards; a key set after it stays */
    put_commit(&rig, "chunk/3", "set before");
    put_commit(&rig, "chunk/*", "");
    put_commit(&rig, "chunk/4", "set after");
    put_commit(&rig, "idle", "");
    assert_ok(&rig, send_batch(&rig));
    assert_ok(&rig, tr_sink_sqlite.flush(rig.writer, 1000, &rig.err));
    assert_query(&rig, "SELECT item FROM tailrace_position WHERE pipeline = 'shop' ORDER BY item",
                 "chunk/4\nchunk_1/x\nlsn");
    /* more than wait for a transaction's end */
    for (int i = 0; i < 6000; i++) {
        char key[32];
        (void)snprintf(key, sizeof key, "many/%d", i);
        put_commit(&rig, key, "v");
        if (i % 1000 == 999)
            assert_ok(&rig, send_batch(&rig));
    }
    assert_ok(&rig, send_batch(&rig));
    assert_ok(&rig, tr_sink_sqlite.flush(rig.writer, 1000, &rig.err));
    assert_query(&rig, "SELECT count(*) FROM tailrace_position WHERE item GLOB 'many/*'", "6000");
    tr_state_free(&marks);
}

static void no_finding(void *ctx, const struct tr_finding *finding)
{
    (void)finding;
    ++*(int *)ctx;
}

static void drop_removes_own_positions(void **state)
{
    (void)state;
    int findings = 0;
    put(&rig, TR_OP_CREATE, goods, NULL, ROW("1", "a", NULL));
    send_commit(&rig, "0/1");
    execute(&rig, "INSERT INTO tailrace_position VALUES ('other', 'lsn', '0/FF')");
    rig_close(&rig);
    rig.context.checking = true;
    assert_ok(&rig, tr_sink_sqlite.open(&rig.config, &rig.context, &rig.sink, &rig.err));
    assert_ok(&rig, tr_sink_sqlite.drop(rig.sink, no_finding, &findings, &rig.err));
    assert_int_equal(findings, 1);
    assert_query(&rig, "SELECT pipeline FROM tailrace_position", "other");
    assert_query(&rig, "SELECT count(*) FROM goods", "1");
}

static void checking_changes_nothing(void **state)
{
    (void)state;
    struct tr_state marks;
    tr_state_init(&marks);
    rig_close(&rig);
    assert_int_equal(remove(rig.path), 0);
    rig.context.checking = true;
    assert_ok(&rig, tr_sink_sqlite.open(&rig.config, &rig.context, &rig.sink, &rig.err));
    assert_ok(&rig, tr_sink_sqlite.load_marks(rig.sink, &marks, &rig.err));
    assert_int_equal(marks.count, 0);
    struct tr_scan *none = NULL;
    assert_code(&rig, TR_E_SQLITE_TABLE_ABSENT,
                tr_sink_sqlite.scan->open(rig.sink, goods, NULL, &none, &rig.err));
    FILE *file = fopen(rig.path, "r");
    assert_null(file);
    tr_state_free(&marks);
}

static void more_versions_than_the_cache_holds(void **state)
{
    (void)state;
    struct tr_table *tables[TABLE_CACHE_MAX + 40];
    size_t count = sizeof tables / sizeof tables[0];
    for (size_t i = 0; i < count; i++)
        tables[i] = table_of("goods", goods_columns);
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < count; i++) {
            char id[16];
            (void)snprintf(id, sizeof id, "%zu", i);
            put(&rig, TR_OP_CREATE, tables[i], NULL, ROW(id, "v", UNCHANGED));
        }
        send_commit(&rig, "0/1");
    }
    assert_query(&rig, "SELECT count(*) FROM goods", "296");
    for (size_t i = 0; i < count; i++)
        tr_table_unref(tables[i]);
}

static void single_row_by_key(void **state)
{
    (void)state;
    struct tr_scan *one = NULL;
    const struct tr_cell *cells;
    struct tr_cell key = {.ptr = "2", .len = 1, .state = TR_CELL_TEXT};
    put(&rig, TR_OP_CREATE, goods, NULL, ROW("1", "a", NULL));
    put(&rig, TR_OP_CREATE, goods, NULL, ROW("2", "b", NULL));
    send_commit(&rig, "0/1");
    assert_ok(&rig, tr_sink_sqlite.scan->open(rig.sink, goods, &key, &one, &rig.err));
    assert_ok(&rig, tr_sink_sqlite.scan->next(one, &cells, &rig.err));
    assert_memory_equal(cells[1].ptr, "b", 1);
    assert_int_equal(tr_sink_sqlite.scan->next(one, &cells, &rig.err), TR_END);
    tr_sink_sqlite.scan->close(one);
    /* while a whole scan is open, a single row and the position show what came since */
    struct tr_scan *whole = NULL;
    uint64_t position;
    assert_ok(&rig, tr_sink_sqlite.scan->open(rig.sink, goods, NULL, &whole, &rig.err));
    assert_ok(&rig, tr_sink_sqlite.scan->next(whole, &cells, &rig.err));
    put(&rig, TR_OP_UPDATE, goods, NULL, ROW("2", "new", NULL));
    send_commit(&rig, "0/2");
    assert_ok(&rig, tr_sink_sqlite.scan->position(rig.sink, &position, &rig.err));
    assert_int_equal(position, 2);
    assert_ok(&rig, tr_sink_sqlite.scan->open(rig.sink, goods, &key, &one, &rig.err));
    assert_ok(&rig, tr_sink_sqlite.scan->next(one, &cells, &rig.err));
    assert_memory_equal(cells[1].ptr, "new", 3);
    tr_sink_sqlite.scan->close(one);
    tr_sink_sqlite.scan->close(whole);
}

#define WITH_RIG(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_RIG(insert_upsert_delete_truncate),
        WITH_RIG(unchanged_is_kept),
        WITH_RIG(key_changes),
        WITH_RIG(composite_text_key),
        WITH_RIG(keyless_rows),
        WITH_RIG(hostile_names),
        WITH_RIG(half_a_transaction_is_never_seen),
        WITH_RIG(many_transactions_in_one),
        WITH_RIG(marks_and_restart),
        WITH_RIG(drop_removes_own_positions),
        WITH_RIG(checking_changes_nothing),
        WITH_RIG(more_versions_than_the_cache_holds),
        WITH_RIG(single_row_by_key),
    };
    return cmocka_run_group_tests_name("sink_sqlite_rows", tests, NULL, NULL);
}
