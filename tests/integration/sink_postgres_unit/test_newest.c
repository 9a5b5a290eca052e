/* Last write wins on a real server, and positions that several processes advance. The random streams
 * are compared with tests/unit/newest_model.h; TAILRACE_TEST_SEED repeats a run. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "../../unit/newest_model.h"
#include "feed.h"

#define TRANSACTIONS 160

static struct test_server server;
static struct feed feed;
static struct tr_table *users;

static struct tr_table *with_version(const struct tr_table *table, uint16_t column)
{
    struct tr_table spec, *made;
    struct tr_error err;
    tr_table_spec(table, &spec);
    spec.version_column = column;
    assert_int_equal(tr_table_new(&spec, &made, &err), TR_OK);
    return made;
}

static void fresh(void)
{
    test_sql(server.admin, "DROP SCHEMA public CASCADE; CREATE SCHEMA public");
    feed_init(&feed, &server);
}

static struct tr_table *users_of(const char *type)
{
    char columns[80];
    snprintf(columns, sizeof columns, "id int8 k,v %s n,a int4 n,b text n", type);
    return with_version(feed_table(1, "public", "users", columns), 2);
}

static void assert_users(const char *rows, const char *deletions)
{
    assert_string_equal(test_rows(server.admin, "SELECT id, v, a, b FROM users ORDER BY id"), rows);
    assert_string_equal(
        test_rows(server.admin, "SELECT key FROM tailrace_deleted ORDER BY key"), deletions);
}

/* ---- against the model ---- */

static void emit(const struct newest_flavour *flavour, const struct newest_change *change)
{
    char row[160], old[160];
    const char *version = newest_text(flavour, change->version);
    version = version == NULL ? "\\N" : version;
    if (change->b_unchanged)
        snprintf(row, sizeof row, "%d|%s|%d|~", change->id, version, change->a);
    else
        snprintf(row, sizeof row, "%d|%s|%d|%d", change->id, version, change->a, change->b);
    snprintf(old, sizeof old, "%d|%s|!|!", change->old_id, version);
    bool gone = change->op == TR_OP_DELETE;
    feed_row(&feed, change->op, users, gone || change->key_changed ? old : NULL, gone ? NULL : row,
             change->key_changed ? TR_EV_KEY_CHANGED : 0);
}

static void compare(const struct newest_flavour *flavour, const struct newest_model *model)
{
    char rows[2048], deletions[512];
    newest_rows(flavour, model, "~", rows, sizeof rows);
    newest_deletions(model, deletions, sizeof deletions);
    assert_string_equal(test_rows(server.admin, "SELECT id, v, a, b FROM users ORDER BY id"), rows);
    const char *there = test_rows(server.admin, "SELECT to_regclass('tailrace_deleted')");
    if (*there == '~') /* made with the first row */
        assert_string_equal(deletions, "");
    else
        assert_string_equal(
            test_rows(server.admin, "SELECT key FROM tailrace_deleted ORDER BY key"), deletions);
}

static void random_stream(const struct newest_flavour *flavour, bool ordered)
{
    static struct newest_model history[TRANSACTIONS + 1];
    static const int64_t rows[] = {1, 3, 10, 50, 100000};
    unsigned done = 0;
    fresh();
    users = users_of(flavour->name);
    feed.config.options.apply_rows = rows[newest_below(5)];
    feed_open(&feed);
    feed_create(&feed, users);
    if (ordered)
        test_sql(server.admin,
                 "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';"
                 "CREATE TRIGGER x BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION f();"
                 "ALTER TABLE users ENABLE ALWAYS TRIGGER x");
    for (unsigned number = 1; number <= TRANSACTIONS; number++) {
        char mark[16];
        history[number] = history[done];
        for (unsigned i = newest_below(newest_below(8) == 0 ? 40 : 6); i > 0; i--) {
            struct newest_change change = newest_some_change();
            newest_apply(flavour, &history[number], &change);
            emit(flavour, &change);
        }
        snprintf(mark, sizeof mark, "%u", number);
        feed_commit(&feed, "txn", mark);
        done = number;
        if (newest_below(3) == 0)
            feed_send(&feed);
        if (newest_below(7) == 0) {
            feed_flush(&feed);
            compare(flavour, &history[number]);
        }
        if (newest_below(25) == 0) { /* what was not flushed may be lost: the mark tells */
            feed_close(&feed);
            feed_open(&feed);
            const char *stored = tr_state_get(&feed.marks, "txn");
            done = stored == NULL ? 0 : (unsigned)strtoul(stored, NULL, 10);
        }
    }
    feed_commit(&feed, "txn", "0");
    feed_flush(&feed);
    compare(flavour, &history[done]);
    tr_table_unref(users);
    feed_free(&feed);
}

static void target_equals_model(void **state)
{
    (void)state;
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < NEWEST_FLAVOURS; i++)
            random_stream(&newest_flavours[i], round == 2);
    }
}

/* ---- single rules ---- */

static int setup(void **state)
{
    (void)state;
    fresh();
    users = users_of("int8");
    feed_open(&feed);
    feed_create(&feed, users);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    tr_table_unref(users);
    feed_free(&feed);
    return 0;
}

static void commit(const char *lsn)
{
    feed_commit(&feed, "lsn", lsn);
    feed_flush(&feed);
}

static void older_and_equal(void **state)
{
    (void)state;
    feed_row(&feed, TR_OP_CREATE, users, NULL, "1|10|1|first", 0);
    commit("1");
    feed_row(&feed, TR_OP_CREATE, users, NULL, "1|9|2|older", 0);
    feed_row(&feed, TR_OP_DELETE, users, "1|9|!|!", NULL, 0);
    commit("2");
    assert_users("1|10|1|first\n", "");
    feed_row(&feed, TR_OP_READ, users, NULL, "1|10|3|equal", 0);
    commit("3");
    assert_users("1|10|3|equal\n", "");
    feed_row(&feed, TR_OP_DELETE, users, "1|10|3|equal", NULL, 0);
    feed_row(&feed, TR_OP_DELETE, users, "2|7|!|!", NULL, 0); /* never seen */
    commit("4");
    assert_users("", "[\"1\"]\n[\"2\"]\n");
    feed_row(&feed, TR_OP_CREATE, users, NULL, "1|9|4|late", 0);
    feed_row(&feed, TR_OP_CREATE, users, NULL, "2|6|4|late", 0);
    commit("5");
    assert_users("", "[\"1\"]\n[\"2\"]\n");
    feed_row(&feed, TR_OP_UPDATE, users, NULL, "1|11|5|back", 0);
    feed_row(&feed, TR_OP_UPDATE, users, NULL, "2|8|5|~", 0); /* not known in full */
    commit("6");
    assert_users("1|11|5|back\n", "[\"2\"]\n");
}

static void key_changes(void **state)
{
    (void)state;
    feed_row(&feed, TR_OP_CREATE, users, NULL, "1|10|1|moves", 0);
    feed_row(&feed, TR_OP_CREATE, users, NULL, "5|50|5|newer", 0);
    commit("1");
    feed_row(&feed, TR_OP_UPDATE, users, "1|10|!|!", "2|11|2|~", TR_EV_KEY_CHANGED);
    commit("2");
    assert_users("2|11|2|moves\n5|50|5|newer\n", "[\"1\"]\n");
    feed_row(&feed, TR_OP_UPDATE, users, "2|11|!|!", "5|12|3|loses", TR_EV_KEY_CHANGED);
    commit("3");
    assert_users("5|50|5|newer\n", "[\"1\"]\n[\"2\"]\n");
}

static void fails_with(enum tr_code code)
{
    feed_commit(&feed, "lsn", "9");
    enum tr_status status = feed_try_send(&feed);
    if (status == TR_OK)
        status = tr_sink_postgres.flush(feed.writer, 1000, &feed.err);
    assert_int_equal(status, TR_FAIL);
    if (feed.err.code != code)
        fail_msg("%s: %s", tr_error_info(feed.err.code)->name, feed.err.message);
    feed_close(&feed);
    feed_open(&feed);
}

static void what_cannot_be_compared(void **state)
{
    (void)state;
    feed_row(&feed, TR_OP_DELETE, users, "1|!|!|!", NULL, 0);
    fails_with(TR_E_SINK_VERSION_MISSING);
    feed_row(&feed, TR_OP_UPDATE, users, NULL, "1|~|1|x", 0);
    fails_with(TR_E_SINK_VERSION_MISSING);
    feed_row(&feed, TR_OP_CREATE, users, NULL, "1|one|1|x", 0);
    fails_with(TR_E_PGSINK_VALUE);
    feed_row(&feed, TR_OP_UPDATE, users, "1|5|0|x", "1|~|1|x", 0); /* it stands in the old row */
    commit("1");
    assert_users("1|5|1|x\n", "");
    test_sql(server.admin, "ALTER TABLE users ALTER v TYPE text");
    feed_close(&feed);
    feed_open(&feed);
    feed_row(&feed, TR_OP_CREATE, users, NULL, "1|6|1|x", 0);
    fails_with(TR_E_SINK_VERSION_COLUMN);
    test_sql(server.admin, "ALTER TABLE users ALTER v TYPE int8 USING v::int8;"
                           "ALTER TABLE users DROP CONSTRAINT users_pkey");
    feed_row(&feed, TR_OP_CREATE, users, NULL, "1|6|1|x", 0);
    fails_with(TR_E_PGSINK_NO_UNIQUE_KEY);
    struct tr_table *bad = users_of("jsonb");
    feed_row(&feed, TR_OP_CREATE, bad, NULL, "1|6|1|x", 0);
    fails_with(TR_E_SINK_VERSION_COLUMN);
    tr_table_unref(bad);
}

static void plain_tables_make_nothing(void **state)
{
    (void)state;
    const struct tr_table *plain = feed_table(2, "public", "plain", "id int4 k,v int4 n");
    feed_create(&feed, plain);
    feed_row(&feed, TR_OP_CREATE, plain, NULL, "1|10", 0);
    feed_row(&feed, TR_OP_UPDATE, plain, NULL, "1|9", 0);
    commit("1");
    assert_string_equal(test_rows(server.admin, "SELECT v FROM plain"), "9\n");
    assert_string_equal(test_rows(server.admin, "SELECT to_regclass('tailrace_deleted')"), "~\n");
}

static void remembered_for_a_while(void **state)
{
    (void)state;
    feed.config.options.tombstone_retention_ms = 3600000;
    feed_row(&feed, TR_OP_DELETE, users, "1|7|!|!", NULL, 0);
    commit("1");
    test_sql(server.admin,
             "INSERT INTO tailrace_deleted VALUES"
             " ('shop', 'x', '[\"8\"]', 'p', now() - interval '3605 s'),"
             " ('shop', 'x', '[\"9\"]', 'p', now() - interval '3500 s'),"
             " ('other', 'x', '[\"8\"]', 'p', '2000-01-01')");
    feed_row(&feed, TR_OP_DELETE, users, "2|7|!|!", NULL, 0);
    commit("2"); /* swept a moment ago */
    assert_string_equal(test_rows(server.admin, "SELECT count(*) FROM tailrace_deleted"), "5\n");
    feed_close(&feed);
    feed_open(&feed);
    feed_row(&feed, TR_OP_DELETE, users, "3|7|!|!", NULL, 0);
    commit("3");
    assert_string_equal(test_rows(server.admin, "SELECT pipeline, key FROM tailrace_deleted"
                                                " ORDER BY 1, 2"),
                        "other|[\"8\"]\nshop|[\"1\"]\nshop|[\"2\"]\nshop|[\"3\"]\nshop|[\"9\"]\n");
}

static void follows_schema_changes(void **state)
{
    (void)state;
    struct tr_table *people;
    feed_row(&feed, TR_OP_CREATE, users, NULL, "1|7|1|x", 0);
    feed_row(&feed, TR_OP_DELETE, users, "2|7|!|!", NULL, 0);
    feed_truncate(&feed, users, 0);
    commit("1");
    assert_users("", "[\"2\"]\n");
    assert_int_equal(tr_table_with_id(users, (struct tr_table_id){"", "public", "people"}, &people,
                                      &feed.err),
                     TR_OK);
    assert_int_equal(feed_try_schema(&feed, TR_CHANGE_RENAME_TABLE, users, people, NULL, 0), TR_OK);
    feed_row(&feed, TR_OP_CREATE, people, NULL, "2|6|1|late", 0);
    feed_row(&feed, TR_OP_CREATE, people, NULL, "3|6|1|new", 0);
    commit("2");
    assert_string_equal(test_rows(server.admin, "SELECT id FROM people"), "3\n");
    assert_string_equal(test_rows(server.admin, "SELECT target, key FROM tailrace_deleted"),
                        "\"public\".\"people\"|[\"2\"]\n");
    assert_int_equal(feed_try_schema(&feed, TR_CHANGE_DROP_TABLE, people, people, NULL, 0), TR_OK);
    commit("3");
    assert_string_equal(test_rows(server.admin, "SELECT count(*) FROM tailrace_deleted"), "0\n");
    tr_table_unref(people);
}

/* ---- positions of splits ---- */

static enum tr_status open_shared(struct feed *of)
{
    struct tr_context context = {.pipeline_name = "shop", .state_dir = "/tmp", .shared = true};
    of->seq = of->seq_commit = 0;
    if (tr_sink_postgres.open(&of->config, &context, &of->sink, &of->err) != TR_OK ||
        tr_sink_postgres.load_marks(of->sink, &of->marks, &of->err) != TR_OK)
        return TR_FAIL;
    return tr_sink_postgres.writer_open(of->sink, 0, &of->writer, &of->err);
}

static enum tr_status advance(struct feed *of, const char *key, const char *value)
{
    char row[64];
    snprintf(row, sizeof row, "%s|%s|1|x", value, value);
    feed_row(of, TR_OP_CREATE, users, NULL, row, 0);
    feed_commit(of, key, value);
    if (feed_try_send(of) != TR_OK)
        return TR_FAIL;
    return tr_sink_postgres.flush(of->writer, 1000, &of->err);
}

static void must(struct feed *of, enum tr_status status)
{
    if (status != TR_OK)
        fail_msg("%s: %s (%s)", tr_error_info(of->err.code)->name, of->err.message,
                 of->err.detail);
}

static void conflicts(struct feed *of, enum tr_status status)
{
    assert_int_equal(status, TR_FAIL);
    if (of->err.code != TR_E_SINK_POSITION_CONFLICT)
        fail_msg("%s: %s (%s)", tr_error_info(of->err.code)->name, of->err.message,
                 of->err.detail);
    assert_int_equal(of->err.class, TR_TRANSIENT);
}

static void reopen_shared(struct feed *of)
{
    feed_close(of);
    must(of, open_shared(of));
}

static void two_processes(void **state)
{
    (void)state;
    static struct feed other;
    reopen_shared(&feed);
    feed_init(&other, &server);
    must(&feed, advance(&feed, "at/t/0", "100"));
    must(&other, open_shared(&other));
    must(&feed, advance(&feed, "at/t/0", "200"));
    /* the other one went on from 100 */
    conflicts(&other, advance(&other, "at/t/0", "150"));
    assert_string_equal(test_rows(server.admin, "SELECT id FROM users ORDER BY id"), "100\n200\n");
    reopen_shared(&other);
    must(&other, advance(&other, "at/t/0", "250"));
    /* a claim is the position that was read, sent ahead in a COMMIT of its own */
    feed_commit(&feed, "at/t/0", "250");
    must(&feed, advance(&feed, "at/t/0", "300"));
    conflicts(&other, advance(&other, "at/t/0", "270"));
    /* a split that was made and given later */
    reopen_shared(&other);
    must(&feed, advance(&feed, "at/t/3", "70"));
    must(&feed, advance(&feed, "at/t/4", "170"));
    must(&other, advance(&other, "at/t/3", "80"));
    conflicts(&other, advance(&other, "at/t/4", "90"));
    assert_string_equal(test_rows(server.admin, "SELECT item, value FROM tailrace_position"
                                                " WHERE item <> 'lsn' ORDER BY item"),
                        "at/t/0|300\nat/t/3|80\nat/t/4|170\n");
    conflicts(&feed, advance(&feed, "at/t/3", "90"));
    feed_free(&other);
}

/* One that does not share the pipeline stays out. */
static void alone_or_shared(void **state)
{
    (void)state;
    struct feed other;
    reopen_shared(&feed);
    feed_init(&other, &server);
    must(&other, open_shared(&other));
    feed_close(&other);
    assert_string_equal(test_rows(server.admin,
                                  "SELECT DISTINCT mode FROM pg_locks WHERE locktype = 'advisory'"),
                        "ShareLock\n");
    tr_batch_free(other.batch);
    tr_state_free(&other.marks);
}

/* Marks can be read at any time, beside a writer whose transaction is open. */
static void read_beside_a_writer(void **state)
{
    (void)state;
    struct tr_context checking = {.pipeline_name = "shop", .state_dir = "/tmp", .checking = true};
    struct tr_state marks;
    void *second;
    tr_state_init(&marks);
    must(&feed, advance(&feed, "at/t/0", "100"));
    feed.config.options.apply_rows = 2;
    for (int i = 0; i < 20; i++) { /* goes into a transaction that stays open */
        char row[64];
        snprintf(row, sizeof row, "%d|7|1|x", i);
        feed_row(&feed, TR_OP_CREATE, users, NULL, row, 0);
    }
    feed_send(&feed);
    assert_int_equal(tr_sink_postgres.open(&feed.config, &checking, &second, &feed.err), TR_OK);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(tr_sink_postgres.load_marks(second, &marks, &feed.err), TR_OK);
        assert_string_equal(tr_state_get(&marks, "at/t/0"), i == 0 ? "100" : "101");
        feed_commit(&feed, "at/t/0", "101");
        feed_flush(&feed);
    }
    test_sql(server.admin, "DROP TABLE tailrace_position");
    assert_int_equal(tr_sink_postgres.load_marks(second, &marks, &feed.err), TR_OK);
    assert_int_equal(marks.count, 0);
    assert_string_equal(test_rows(server.admin, "SELECT to_regclass('tailrace_position')"), "~\n");
    tr_sink_postgres.close(second);
    tr_state_free(&marks);
}

/* Hundreds of marks in a COMMIT, many times: the last value of each is stored. */
static void many_marks(void **state)
{
    (void)state;
    static struct tr_mark marks[600];
    static char keys[600][32], values[600][32];
    for (int round = 0; round < 20; round++) {
        struct tr_event *event;
        for (int i = 0; i < 600; i++) {
            snprintf(keys[i], sizeof keys[i], i < 20 ? "at/t/%d" : "win/%d", i);
            snprintf(values[i], sizeof values[i], "%d", 1000 + round);
            if (i >= 580 && round % 2 == 1)
                values[i][0] = '\0';
            marks[i] = (struct tr_mark){tr_slice_of(keys[i]), tr_slice_of(values[i])};
        }
        assert_int_equal(tr_batch_commit(feed.batch, marks, 600, &event, &feed.err), TR_OK);
        event->seq = ++feed.seq;
        feed.seq_commit = feed.seq;
        if (round % 7 == 6)
            feed_flush(&feed);
        else
            feed_send(&feed);
    }
    feed_flush(&feed);
    assert_string_equal(test_rows(server.admin,
                                  "SELECT count(*), min(value), max(value) FROM tailrace_position"),
                        "580|1019|1019\n");
    feed_commit(&feed, "win/*", "");
    feed_commit(&feed, "win/1", "again");
    feed_flush(&feed);
    assert_string_equal(test_rows(server.admin, "SELECT count(*) FROM tailrace_position"), "21\n");
}

#define WITH_FEED(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const char *seed = getenv("TAILRACE_TEST_SEED");
    newest_random_state = seed != NULL ? strtoull(seed, NULL, 10)
                                       : (unsigned long long)time(NULL) ^ (unsigned)getpid();
    fprintf(stderr, "TAILRACE_TEST_SEED=%llu\n", newest_random_state);
    const char *why = test_server_start(&server);
    if (why != NULL) {
        fprintf(stderr, "SKIPPED: %s\n", why);
        return getenv("CI") != NULL ? 1 : 77;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(target_equals_model), WITH_FEED(older_and_equal),
        WITH_FEED(key_changes),                WITH_FEED(what_cannot_be_compared),
        WITH_FEED(plain_tables_make_nothing),  WITH_FEED(remembered_for_a_while),
        WITH_FEED(follows_schema_changes),     WITH_FEED(two_processes),
        WITH_FEED(alone_or_shared),            WITH_FEED(read_beside_a_writer),
        WITH_FEED(many_marks),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    test_server_stop(&server);
    return failed;
}
