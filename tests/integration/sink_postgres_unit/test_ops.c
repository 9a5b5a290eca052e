/* The PostgreSQL sink against a real server: every operation, types, constraints, DDL, failures. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "feed.h"

static struct test_server server;
static struct feed feed;

static int set_up(void **state)
{
    (void)state;
    test_sql(
        server.admin,
        "DROP SCHEMA public CASCADE; CREATE SCHEMA public; DROP SCHEMA IF EXISTS other CASCADE");
    feed_init(&feed, &server);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    feed_free(&feed);
    return 0;
}

#define ROWS(expected, ...) assert_string_equal(test_rows(server.admin, __VA_ARGS__), expected)
static const struct tr_table *simple(void)
{
    return feed_table(1, "public", "t", "id int4 k,name text n,amount numeric(10;2) n");
}

static void changes_and_marks(void **state)
{
    (void)state;
    const struct tr_table *t = simple();
    feed_open(&feed);
    assert_int_equal(feed.marks.count, 0);
    feed_create(&feed, t);
    feed_row(&feed, TR_OP_CREATE, t, NULL, "1|one|1.50", 0);
    feed_row(&feed, TR_OP_CREATE, t, NULL, "2|tw\"o,{}\\x|\\N", 0);
    feed_row(&feed, TR_OP_CREATE, t, NULL, "3|NULL|3", 0);
    feed_row(&feed, TR_OP_CREATE, t, NULL, "4||-4.25", 0);
    feed_commit(&feed, "lsn", "0/10");
    feed_flush(&feed);
    ROWS("1|one|1.50\n2|tw\"o,{}\\x|~\n3|NULL|3.00\n4||-4.25\n", "SELECT * FROM t ORDER BY id");
    feed_row(&feed, TR_OP_UPDATE, t, NULL, "1|uno|1.75", 0);
    feed_row(&feed, TR_OP_UPDATE, t, NULL, "2|\\N|~", 0);
    feed_row(&feed, TR_OP_DELETE, t, "3|!|!", NULL, TR_EV_BEFORE_KEY_ONLY);
    feed_row(&feed, TR_OP_UPDATE, t, "4|!|!", "5|five|5",
             TR_EV_KEY_CHANGED | TR_EV_BEFORE_KEY_ONLY);
    feed_commit(&feed, "lsn", "0/20");
    feed_row(&feed, TR_OP_CREATE, t, NULL, "9|not committed|0", 0);
    feed_send(&feed);
    assert_int_equal(tr_sink_postgres.flush(feed.writer, 1000, &feed.err), TR_OK);
    assert_int_equal(tr_sink_postgres.durable_seq(feed.writer), feed.seq_commit);
    ROWS("1|uno|1.75\n2|~|~\n5|five|5.00\n", "SELECT * FROM t ORDER BY id");
    ROWS("shop|0|lsn|0/20\n", "SELECT * FROM tailrace_position");
    feed_commit(&feed, "chunk/1/1", "done");
    feed_commit(&feed, "chunk/1/2", "done");
    feed_commit(&feed, "chunk_1/3", "done");
    feed_flush(&feed);
    ROWS("chunk/1/1\nchunk/1/2\nchunk_1/3\nlsn\n", "SELECT item FROM tailrace_position ORDER BY 1");
    feed_commit(&feed, "chunk/*", "");
    feed_commit(&feed, "chunk/7", "x");
    feed_commit(&feed, "chunk_1/3", "");
    feed_flush(&feed);
    feed_close(&feed);
    feed_open(&feed);
    assert_int_equal(feed.marks.count, 2);
    assert_string_equal(tr_state_get(&feed.marks, "chunk/7"), "x");
    assert_string_equal(tr_state_get(&feed.marks, "lsn"), "0/20");
    ROWS("1\n2\n5\n9\n", "SELECT id FROM t ORDER BY id");
}

/* Everything that can be said about one key within one batch. */
static void coalescing(void **state)
{
    (void)state;
    const struct tr_table *t = simple();
    feed_open(&feed);
    feed_create(&feed, t);
    test_sql(server.admin, "INSERT INTO t SELECT g, 'old', g FROM generate_series(1, 9) g");
    feed_row(&feed, TR_OP_CREATE, t, NULL, "20|a|1", 0); /* insert, update with unchanged: insert */
    feed_row(&feed, TR_OP_UPDATE, t, NULL, "20|~|2", 0);
    feed_row(&feed, TR_OP_CREATE, t, NULL, "21|a|1", 0); /* insert, delete */
    feed_row(&feed, TR_OP_DELETE, t, "21|!|!", NULL, 0);
    feed_row(&feed, TR_OP_DELETE, t, "1|!|!", NULL, 0); /* delete, insert */
    feed_row(&feed, TR_OP_CREATE, t, NULL, "1|new|~", 0);
    feed_row(&feed, TR_OP_UPDATE, t, NULL, "2|~|77", 0); /* partial updates of different columns */
    feed_row(&feed, TR_OP_UPDATE, t, NULL, "2|both|~", 0);
    feed_row(&feed, TR_OP_UPDATE, t, NULL, "3|~|78", 0); /* partial only */
    feed_row(&feed, TR_OP_UPDATE, t, "4|!|!", "40|~|4",
             TR_EV_KEY_CHANGED); /* unknown value moves */
    feed_row(&feed, TR_OP_UPDATE, t, "5|!|!", "6|five|5", TR_EV_KEY_CHANGED | 0);
    feed_row(&feed, TR_OP_UPDATE, t, NULL, "30|inserted|1", 0); /* full update of an absent row */
    feed_row(&feed, TR_OP_UPDATE, t, NULL, "31|~|1", 0); /* partial update of an absent row */
    feed_commit(&feed, "lsn", "0/1");
    test_sql(server.admin, "DELETE FROM t WHERE id = 6");
    feed_flush(&feed);
    ROWS("1|new|~\n2|both|77.00\n3|old|78.00\n6|five|5.00\n7|old|7.00\n8|old|8.00\n9|old|9.00\n20|"
         "a|2.00\n"
         "30|inserted|1.00\n40|old|4.00\n",
         "SELECT * FROM t ORDER BY id");
    /* the same without the row-by-row case, so that it goes set-wise */
    feed_row(&feed, TR_OP_UPDATE, t, "7|!|!", "70|seven|7", TR_EV_KEY_CHANGED);
    feed_row(&feed, TR_OP_UPDATE, t, "8|!|!", "7|eight|8", TR_EV_KEY_CHANGED);
    feed_row(&feed, TR_OP_UPDATE, t, "70|!|!", "8|~|7", TR_EV_KEY_CHANGED);
    feed_row(&feed, TR_OP_UPDATE, t, NULL, "32|inserted|2", 0);
    feed_row(&feed, TR_OP_UPDATE, t, NULL, "33|~|1", 0);
    feed_row(&feed, TR_OP_UPDATE, t, NULL, "9|~|99", 0);
    feed_commit(&feed, "lsn", "0/2");
    feed_flush(&feed);
    ROWS("7|eight|8.00\n8|seven|7.00\n9|old|99.00\n32|inserted|2.00\n",
         "SELECT * FROM t WHERE id IN (7, 8, 9, 32, 33, 70) ORDER BY id");
}

/* A batch that is large enough for COPY, with rows that are there already. */
static void inserts_that_exist(void **state)
{
    (void)state;
    const struct tr_table *t = simple();
    char row[64];
    feed_open(&feed);
    feed_create(&feed, t);
    test_sql(server.admin, "INSERT INTO t VALUES (500, 'old', 1)");
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 1000; i++) {
            snprintf(row, sizeof row, "%d|row\t%d\\|%d", i + round * 700, i, i);
            feed_row(&feed, TR_OP_CREATE, t, NULL, row, 0);
        }
        feed_commit(&feed, "lsn", "0/1");
        feed_flush(&feed);
    }
    ROWS("1700|row\t500\\|row\t0\\\n", "SELECT count(*), max(name) FILTER (WHERE id = 500), "
                                       "max(name) FILTER (WHERE id = 700) FROM t");
}

static void types_round_trip(void **state)
{
    (void)state;
    static const struct {
        const char *type, *values[6];
    } cases[] = {
        {"bool", {"t", "f"}},
        {"int2", {"-32768", "32767", "0"}},
        {"int8", {"-9223372036854775808", "9223372036854775807"}},
        {"float4", {"NaN", "-Infinity", "1.1754944e-38", "3.4028235e+38", "-0"}},
        {"float8", {"Infinity", "5e-324", "1.7976931348623157e+308", "0.1"}},
        {"numeric",
         {"NaN", "123456789012345678901234567890.000000000000000000000000001", "0.00", "-1"}},
        {"text",
         {"", "a\tb\nc\rd\\e", "\"quoted\", {braces}", "NULL",
          "caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80", " pad "}},
        {"bpchar(5)", {"ab   ", "abcde"}},
        {"varchar(5)", {"abcde", ""}},
        {"bytea", {"\\x", "\\x00ff5c0a", "\\xdeadbeef"}},
        {"date", {"infinity", "-infinity", "0044-03-15 BC", "294276-12-31", "2024-02-29"}},
        {"time", {"24:00:00", "00:00:00.000001"}},
        {"timetz", {"24:00:00-15:59", "12:30:00+05:30"}},
        {"timestamp", {"infinity", "0044-03-15 10:00:00 BC", "294276-12-31 23:59:59.999999"}},
        {"timestamptz", {"-infinity", "2024-01-01 00:00:00+00", "0001-01-01 00:00:00.5+00"}},
        {"interval", {"1 year 2 mons 3 days 04:05:06.7", "-1 days +02:03:04", "00:00:00"}},
        {"uuid", {"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"}},
        {"json", {"{\"a\": [1,2, \"x\\u0000\"]}", "null", " {}  "}},
        {"jsonb", {"{\"a\": \"b\\\"c\"}", "[]"}},
        {"xml", {"<a b=\"1\">x</a>"}},
        {"bit(3)", {"101"}},
        {"varbit", {"", "10101"}},
        {"money", {"$1,234.50", "-$0.01"}},
        {"inet", {"10.0.0.0/8", "::1"}},
        {"point", {"(1,2.5)"}},
        {"box", {"(3,4),(1,2)"}},
        {"int4[]", {"{}", "{1,NULL,3}", "{{1,2},{3,4}}", "[0:1]={5,6}"}},
        {"text[]", {"{\"a b\",\"c\\\"d\",\"NULL\",NULL,\"\"}", "{{a,b},{\"c,d\",\"{}\"}}"}},
        {"int4range", {"[1,5)", "empty", "(,)"}},
        {"tsvector", {"'a':1 'b c':2"}},
        {"\"char\"", {"x"}},
    };
    char row[512], columns[128], name[32], expected[512];
    feed_open(&feed);
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        snprintf(name, sizeof name, "t%zu", c);
        snprintf(columns, sizeof columns, "id int4 k,v %s n", cases[c].type);
        const struct tr_table *t = feed_table(100 + c, "public", name, columns);
        feed_create(&feed, t);
        for (int mode = 0; mode < 3; mode++) { /* set-wise, row by row, COPY */
            test_sql(server.admin, "TRUNCATE %s", name);
            if (mode == 1)
                test_sql(
                    server.admin,
                    "CREATE FUNCTION f%zu() RETURNS trigger LANGUAGE plpgsql AS "
                    "'BEGIN RETURN NEW; END'; CREATE TRIGGER x BEFORE INSERT ON %s FOR EACH ROW "
                    "EXECUTE FUNCTION f%zu(); ALTER TABLE %s ENABLE ALWAYS TRIGGER x",
                    c, name, c, name);
            feed_close(&feed);
            feed_open(&feed);
            for (int i = 0; i < 6 && cases[c].values[i] != NULL; i++) {
                snprintf(row, sizeof row, "%d|%s", i, cases[c].values[i]);
                feed_row(&feed, mode == 2 ? TR_OP_READ : TR_OP_CREATE, t, NULL, row, 0);
                feed_commit(&feed, "lsn", "0/1");
                snprintf(row, sizeof row, "%d|\\N", i + 10);
                feed_row(&feed, mode == 2 ? TR_OP_READ : TR_OP_CREATE, t, NULL, row, 0);
                if (mode == 2)
                    continue;
                snprintf(row, sizeof row, "%d|%s", i + 10, cases[c].values[i]);
                feed_row(&feed, TR_OP_UPDATE, t, NULL, row, 0);
            }
            feed_commit(&feed, "lsn", "0/1");
            feed_flush(&feed);
            for (int i = 0; i < 6 && cases[c].values[i] != NULL; i++) {
                snprintf(expected, sizeof expected, "%s\n%s\n", cases[c].values[i],
                         mode == 2 ? "~" : cases[c].values[i]);
                ROWS(expected, "SELECT v FROM %s WHERE id %% 10 = %d ORDER BY id", name, i);
            }
        }
        char declared[64], *semicolon;
        snprintf(declared, sizeof declared, "%s", cases[c].type);
        if ((semicolon = strchr(declared, ';')) != NULL)
            *semicolon = ',';
        snprintf(expected, sizeof expected, "t\n");
        ROWS(
            expected,
            "SELECT atttypid = '%s'::regtype FROM pg_attribute WHERE attrelid = '%s'::regclass AND "
            "attname = 'v'",
            declared, name);
    }
}

static void binary_bytes_and_nul(void **state)
{
    (void)state;
    const struct tr_table *t = feed_table(1, "public", "t", "id int4 k,v bytea n,s text n");
    feed_open(&feed);
    feed_create(&feed, t);
    feed_row(&feed, TR_OP_CREATE, t, NULL, "1|x|s", 0);
    struct tr_cell *cells = (struct tr_cell *)feed.batch->events[0].after;
    cells[1] = (struct tr_cell){.ptr = "\0\xff\n", .len = 3, .state = TR_CELL_BINARY};
    feed_commit(&feed, "lsn", "0/1");
    feed_flush(&feed);
    ROWS("1|\\x00ff0a|s\n", "SELECT * FROM t");
    feed_row(&feed, TR_OP_CREATE, t, NULL, "2|\\x|s", 0);
    cells = (struct tr_cell *)feed.batch->events[0].after;
    cells[2] = (struct tr_cell){.ptr = "a\0b", .len = 3, .state = TR_CELL_TEXT};
    uint64_t seq = feed.seq;
    assert_int_equal(feed_try_send(&feed), TR_FAIL);
    assert_int_equal(feed.err.code, TR_E_PGSINK_VALUE);
    assert_int_equal(feed.err.seq, seq);
}

/* A key that ended at its NUL would be another row's. */
static void key_with_nul(void **state)
{
    (void)state;
    const struct tr_table *t = feed_table(1, "public", "t", "k text k,v int4 n");
    feed_open(&feed);
    feed_create(&feed, t);
    test_sql(server.admin, "INSERT INTO t VALUES ('a', 1)");
    feed_row(&feed, TR_OP_DELETE, t, "a|!", NULL, TR_EV_BEFORE_KEY_ONLY);
    struct tr_cell *cells = (struct tr_cell *)feed.batch->events[0].before;
    cells[0] = (struct tr_cell){.ptr = "a\0b", .len = 3, .state = TR_CELL_TEXT};
    uint64_t seq = feed.seq;
    feed_commit(&feed, "lsn", "0/1");
    assert_int_equal(feed_try_send(&feed), TR_FAIL);
    assert_int_equal(feed.err.code, TR_E_PGSINK_VALUE);
    assert_int_equal(feed.err.seq, seq);
    ROWS("a|1\n", "SELECT * FROM t");
}

static void enum_becomes_text(void **state)
{
    (void)state;
    const struct tr_table *t = feed_table(1, "public", "t", "id int4 k,m public.mood n");
    feed_open(&feed);
    feed_create(&feed, t);
    feed_row(&feed, TR_OP_CREATE, t, NULL, "1|happy", 0);
    feed_commit(&feed, "lsn", "0/1");
    feed_flush(&feed);
    ROWS("happy|text\n", "SELECT m, pg_typeof(m) FROM t");
    /* into a table of the user's own that has the enum */
    test_sql(
        server.admin,
        "CREATE TYPE mood AS ENUM ('sad', 'happy'); CREATE TABLE u (id int PRIMARY KEY, m mood)");
    const struct tr_table *u = feed_table(2, "public", "u", "id int4 k,m public.mood n");
    feed_create(&feed, u);
    feed_row(&feed, TR_OP_CREATE, u, NULL, "1|sad", 0);
    feed_row(&feed, TR_OP_UPDATE, u, NULL, "1|happy", 0);
    feed_commit(&feed, "lsn", "0/2");
    feed_flush(&feed);
    ROWS("1|happy\n", "SELECT * FROM u");
}

static void types_of_the_users_own(void **state)
{
    (void)state;
    test_sql(server.admin,
             "CREATE TYPE pair AS (a int, b text); CREATE DOMAIN small AS int CHECK (VALUE < 10);"
             "CREATE DOMAIN many AS int[]; CREATE TABLE t (id int PRIMARY KEY, p pair, d small,"
             " m many, ps pair[])");
    const struct tr_table *t =
        feed_table(1, "public", "t", "id int4 k,p text n,d int4 n,m int4[] n,ps text n");
    uint64_t seq;
    feed_open(&feed);
    feed_create(&feed, t);
    feed_row(&feed, TR_OP_CREATE, t, NULL, "1|(1,\"a,b\")|9|{1,2}|{\"(1,x)\",NULL}", 0);
    feed_row(&feed, TR_OP_CREATE, t, NULL, "2|\\N|\\N|\\N|\\N", 0);
    feed_commit(&feed, "lsn", "0/1");
    feed_flush(&feed);
    feed_row(&feed, TR_OP_UPDATE, t, NULL, "2|(,)|3|{}|{}", 0);
    feed_commit(&feed, "lsn", "0/1");
    feed_flush(&feed);
    ROWS("1|(1,\"a,b\")|9|{1,2}|{\"(1,x)\",NULL}\n2|(,)|3|{}|{}\n", "SELECT * FROM t ORDER BY id");
    feed_row(&feed, TR_OP_UPDATE, t, NULL, "2|(,)|30|{}|{}", 0);
    seq = feed.seq;
    feed_commit(&feed, "lsn", "0/1");
    feed_send(&feed);
    assert_int_equal(tr_sink_postgres.flush(feed.writer, 0, &feed.err), TR_FAIL);
    assert_int_equal(feed.err.code, TR_E_PGSINK_CONSTRAINT);
    assert_int_equal(feed.err.seq, seq);
}

static void wide_table(void **state)
{
    enum { COLUMNS = 400 };
    struct tr_column columns[COLUMNS];
    char names[COLUMNS][8], row[COLUMNS * 8] = "7";
    struct tr_table spec = {.id = {"src", "public", "wide"},
                            .source_id = 1,
                            .column_count = COLUMNS,
                            .columns = columns,
                            .key_count = 1};
    struct tr_table *t;
    (void)state;
    for (int i = 0; i < COLUMNS; i++) {
        snprintf(names[i], sizeof names[i], "c%d", i);
        columns[i] = (struct tr_column){.name = names[i],
                                        .type = TR_T_INT32,
                                        .source_type = "int4",
                                        .source_type_id = 23,
                                        .nullable = i > 0,
                                        .key_index = i == 0};
        if (i > 0)
            snprintf(row + strlen(row), 8, "|%d", i);
    }
    assert_int_equal(tr_table_new(&spec, &t, &feed.err), TR_OK);
    feed_open(&feed);
    feed_create(&feed, t);
    for (int i = 0; i < 3; i++) {
        feed_row(&feed, i == 0 ? TR_OP_CREATE : TR_OP_UPDATE, t, NULL, row, 0);
        feed_commit(&feed, "lsn", "0/1");
        feed_flush(&feed);
    }
    ROWS("7|399\n", "SELECT c0, c399 FROM wide");
    tr_table_unref(t);
}

static void odd_names(void **state)
{
    (void)state;
    const struct tr_table *t =
        feed_table(1, "Sch\"ema", "x\"; DROP TABLE y; --", "i\"d int4 k,Name text n,name text n");
    feed_open(&feed);
    feed_create(&feed, t);
    feed_row(&feed, TR_OP_CREATE, t, NULL, "1|A|b", 0);
    feed_row(&feed, TR_OP_UPDATE, t, NULL, "1|~|c", 0);
    feed_commit(&feed, "lsn", "0/1");
    feed_flush(&feed);
    ROWS("1|A|c\n", "SELECT * FROM \"Sch\"\"ema\".\"x\"\"; DROP TABLE y; --\"");
    test_sql(server.admin, "DROP SCHEMA \"Sch\"\"ema\" CASCADE");
}

static void composite_key_without_other_columns(void **state)
{
    (void)state;
    const struct tr_table *t = feed_table(1, "public", "t", "a int4 k,b text k");
    feed_open(&feed);
    feed_create(&feed, t);
    feed_row(&feed, TR_OP_CREATE, t, NULL, "1|x", 0);
    feed_row(&feed, TR_OP_CREATE, t, NULL, "1|y", 0);
    feed_commit(&feed, "lsn", "0/1");
    feed_flush(&feed);
    feed_row(&feed, TR_OP_UPDATE, t, NULL, "1|x", 0);
    feed_row(&feed, TR_OP_CREATE, t, NULL, "1|x", 0);
    feed_row(&feed, TR_OP_UPDATE, t, "1|y", "2|y", TR_EV_KEY_CHANGED);
    feed_row(&feed, TR_OP_UPDATE, t, NULL, "3|z", 0);
    feed_commit(&feed, "lsn", "0/1");
    feed_flush(&feed);
    ROWS("1|x\n2|y\n3|z\n", "SELECT * FROM t ORDER BY 1");
}

static void keyless(void **state)
{
    (void)state;
    const struct tr_table *t =
        feed_table(1, "public", "t", "a int4 n,b text n,j json n,f float8 n");
    feed_open(&feed);
    feed_create(&feed, t);
    for (int i = 0; i < 3; i++)
        feed_row(&feed, TR_OP_CREATE, t, NULL, "1|x|{}|NaN", 0);
    feed_row(&feed, TR_OP_CREATE, t, NULL, "\\N|\\N|\\N|\\N", 0);
    feed_row(&feed, TR_OP_CREATE, t, NULL, "\\N|\\N|\\N|\\N", 0);
    feed_commit(&feed, "lsn", "0/1");
    feed_flush(&feed);
    feed_row(&feed, TR_OP_UPDATE, t, "1|x|{}|NaN", "2|y|[1]|0.5", 0);
    feed_row(&feed, TR_OP_DELETE, t, "1|x|{}|NaN", NULL, 0);
    feed_row(&feed, TR_OP_DELETE, t, "\\N|\\N|\\N|\\N", NULL, 0);
    feed_row(&feed, TR_OP_UPDATE, t, "2|y|[1]|0.5", "3|~|\\N|0.5", 0);
    feed_commit(&feed, "lsn", "0/2");
    feed_flush(&feed);
    ROWS("1|x|{}|NaN\n3|y|~|0.5\n~|~|~|~\n", "SELECT * FROM t ORDER BY a NULLS LAST");
    feed_row(&feed, TR_OP_DELETE, t, "!|!|!|!", NULL, 0);
    assert_int_equal(feed_try_send(&feed), TR_FAIL);
    assert_int_equal(feed.err.code, TR_E_PGSINK_KEY_MISSING);
    feed_close(&feed);
    feed_open(&feed);
    feed_row(&feed, TR_OP_DELETE, t, "1|!|!|!", NULL, TR_EV_BEFORE_KEY_ONLY);
    assert_int_equal(feed_try_send(&feed), TR_FAIL);
    assert_int_equal(feed.err.code, TR_E_PGSINK_KEY_MISSING);
    assert_int_equal(feed.err.seq, feed.seq);
}

static void secondary_unique_swap(void **state)
{
    (void)state;
    const struct tr_table *t = feed_table(1, "public", "t", "id int4 k,u int4 n,v text n");
    feed_open(&feed);
    test_sql(server.admin, "CREATE TABLE t (id int PRIMARY KEY, u int UNIQUE, v text)");
    feed_create(&feed, t);
    feed_row(&feed, TR_OP_CREATE, t, NULL, "1|10|a", 0);
    feed_row(&feed, TR_OP_CREATE, t, NULL, "2|20|b", 0);
    feed_commit(&feed, "lsn", "0/1");
    feed_flush(&feed);
    feed_row(&feed, TR_OP_UPDATE, t, NULL, "1|-1|~", 0);
    feed_row(&feed, TR_OP_UPDATE, t, NULL, "2|10|~", 0);
    feed_row(&feed, TR_OP_UPDATE, t, NULL, "1|20|~", 0);
    feed_row(&feed, TR_OP_CREATE, t, NULL, "3|30|c", 0);
    feed_row(&feed, TR_OP_DELETE, t, "3|!|!", NULL, 0);
    feed_row(&feed, TR_OP_CREATE, t, NULL, "4|30|d", 0);
    feed_commit(&feed, "lsn", "0/2");
    feed_flush(&feed);
    ROWS("1|20|a\n2|10|b\n4|30|d\n", "SELECT * FROM t ORDER BY id");
    /* a real violation names its event, and nothing of the batch stays */
    feed_row(&feed, TR_OP_CREATE, t, NULL, "5|50|e", 0);
    feed_row(&feed, TR_OP_CREATE, t, NULL, "6|20|secret-value", 0);
    uint64_t seq = feed.seq;
    feed_row(&feed, TR_OP_CREATE, t, NULL, "7|70|g", 0);
    feed_commit(&feed, "lsn", "0/3");
    feed_send(&feed);
    assert_int_equal(tr_sink_postgres.flush(feed.writer, 1000, &feed.err), TR_FAIL);
    assert_int_equal(feed.err.code, TR_E_PGSINK_UNIQUE);
    assert_int_equal(feed.err.class, TR_DATA);
    assert_int_equal(feed.err.seq, seq);
    assert_null(strstr(feed.err.message, "secret"));
    assert_null(strstr(feed.err.message, "20"));
    assert_null(strstr(feed.err.detail, "20"));
    assert_non_null(strstr(feed.err.message, "t_u_key"));
    feed_close(&feed);
    ROWS("3\n", "SELECT count(*) FROM t");
    feed_open(&feed);
    assert_string_equal(tr_state_get(&feed.marks, "lsn"), "0/2");
}

/* COPY is used for many inserts: the seq must be found there too. */
static void bad_row_among_many(void **state)
{
    (void)state;
    const struct tr_table *t = feed_table(1, "public", "t", "id int4 k,v text n");
    uint64_t seq = 0;
    char row[64];
    feed_open(&feed);
    test_sql(server.admin, "CREATE TABLE t (id int PRIMARY KEY, v varchar(5) CHECK (v <> 'evil'))");
    feed_create(&feed, t);
    for (int i = 0; i < 1000; i++) {
        snprintf(row, sizeof row, "%d|%s", i, i == 777 ? "evil" : "good");
        feed_row(&feed, TR_OP_CREATE, t, NULL, row, 0);
        if (i == 777)
            seq = feed.seq;
        if (i % 100 == 0)
            feed_commit(&feed, "lsn", "0/1");
    }
    feed_commit(&feed, "lsn", "0/2");
    feed_send(&feed);
    assert_int_equal(tr_sink_postgres.flush(feed.writer, 1000, &feed.err), TR_FAIL);
    assert_int_equal(feed.err.code, TR_E_PGSINK_CONSTRAINT);
    assert_int_equal(feed.err.seq, seq);
    feed_close(&feed);
    feed_open(&feed); /* a snapshot row by COPY, too long */
    for (int i = 0; i < 500; i++) {
        snprintf(row, sizeof row, "%d\t%s\n", i, i == 333 ? "longer than five" : "good");
        feed_raw(&feed, t, row);
        if (i == 333)
            seq = feed.seq;
        if (i == 200) {
            feed_commit(&feed, "chunk/1", "done");
            feed_send(&feed);
        }
    }
    feed_commit(&feed, "chunk/2", "done");
    feed_send(&feed);
    assert_int_equal(tr_sink_postgres.flush(feed.writer, 1000, &feed.err), TR_FAIL);
    assert_int_equal(feed.err.code, TR_E_PGSINK_VALUE);
    assert_int_equal(feed.err.seq, seq);
    assert_null(strstr(feed.err.detail, "longer"));
    feed_close(&feed);
    ROWS("201\n", "SELECT count(*) FROM t"); /* the first chunk, with its mark */
    feed_open(&feed);
    assert_string_equal(tr_state_get(&feed.marks, "chunk/1"), "done");
    assert_null(tr_state_get(&feed.marks, "chunk/2"));
}

static void ordinary_role(void)
{
    test_sql(
        server.admin,
        "DROP ROLE IF EXISTS plain; CREATE ROLE plain LOGIN; GRANT ALL ON SCHEMA public TO plain");
    feed.config.options.username = "plain";
}

static void foreign_keys_and_triggers(void **state)
{
    (void)state;
    const struct tr_table *p = feed_table(1, "public", "parent", "id int4 k,v text n");
    const struct tr_table *c =
        feed_table(2, "public", "child", "id int4 k,parent_id int4 n,v text n");
    ordinary_role();
    test_sql(server.admin,
             "CREATE TABLE parent (id int PRIMARY KEY, v text);"
             "CREATE TABLE child (id int PRIMARY KEY, parent_id int REFERENCES parent ON DELETE "
             "CASCADE, v text);"
             "CREATE TABLE audit (what text);"
             "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN INSERT INTO "
             "public.audit VALUES "
             "(TG_OP || NEW.id); RETURN NEW; END$$;"
             "CREATE TRIGGER x AFTER INSERT OR UPDATE ON child FOR EACH ROW EXECUTE FUNCTION f();"
             "GRANT ALL ON parent, child, audit TO plain");
    feed_open(&feed);
    feed_create(&feed, p);
    feed_create(&feed, c);
    for (int i = 1; i <= 20; i++) {
        char row[64];
        snprintf(row, sizeof row, "%d|p", i);
        feed_row(&feed, TR_OP_CREATE, p, NULL, row, 0);
        snprintf(row, sizeof row, "%d|%d|c", i, i);
        feed_row(&feed, TR_OP_CREATE, c, NULL, row, 0);
    }
    /* the child moves away, then its old parent goes: CASCADE must not take it */
    feed_row(&feed, TR_OP_UPDATE, c, NULL, "1|2|~", 0);
    feed_row(&feed, TR_OP_DELETE, p, "1|!", NULL, 0);
    feed_row(&feed, TR_OP_DELETE, p, "5|!", NULL, 0);
    feed_row(&feed, TR_OP_DELETE, c, "5|!|!", NULL, 0);
    feed_row(&feed, TR_OP_CREATE, p, NULL, "5|again", 0);
    feed_row(&feed, TR_OP_CREATE, c, NULL, "5|5|again", 0);
    feed_commit(&feed, "lsn", "0/1");
    feed_flush(&feed);
    ROWS("19|20|1\n", "SELECT (SELECT count(*) FROM parent), (SELECT count(*) FROM child), "
                      "(SELECT count(*) FROM child WHERE id = 1 AND parent_id = 2 AND v = 'c')");
    ROWS("INSERT|21\nUPDATE|1\n",
         "SELECT substr(what, 1, 6), count(*) FROM audit GROUP BY 1 ORDER BY 1");
    feed_row(&feed, TR_OP_CREATE, p, NULL, "90|x", 0);
    feed_row(&feed, TR_OP_CREATE, c, NULL, "91|99|x", 0);
    feed_commit(&feed, "lsn", "0/2");
    uint64_t seq = feed.seq - 1;
    feed_send(&feed);
    assert_int_equal(tr_sink_postgres.flush(feed.writer, 1000, &feed.err), TR_FAIL);
    assert_int_equal(feed.err.code, TR_E_PGSINK_FOREIGN_KEY);
    assert_int_equal(feed.err.seq, seq);
    feed_close(&feed);
    /* a superuser's session switches them off */
    feed.config.options.username = "postgres";
    feed_open(&feed);
    feed_row(&feed, TR_OP_CREATE, c, NULL, "91|99|x", 0);
    feed_commit(&feed, "lsn", "0/2");
    feed_flush(&feed);
    ROWS("99\n", "SELECT parent_id FROM child WHERE id = 91");
}

static void identity_and_generated(void **state)
{
    (void)state;
    test_sql(server.admin, "CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, a "
                           "int, twice int GENERATED "
                           "ALWAYS AS (a * 2) STORED, n int GENERATED ALWAYS AS IDENTITY)");
    const struct tr_table *t =
        feed_table(1, "public", "t", "id int4 k i,a int4 n,twice int4 g,n int4 i");
    feed_open(&feed);
    feed_create(&feed, t);
    feed_raw(&feed, t, "1\t1\t2\t11\n");
    feed_raw(&feed, t, "2\t\\N\t\\N\t12\n");
    feed_commit(&feed, "c", "1");
    feed_flush(&feed);
    feed_row(&feed, TR_OP_CREATE, t, NULL, "7|3|6|17", 0);
    feed_row(&feed, TR_OP_CREATE, t, NULL, "8|4|!|18", 0);
    feed_row(&feed, TR_OP_UPDATE, t, NULL, "1|5|10|11", 0);
    feed_row(&feed, TR_OP_UPDATE, t, "2|!|!|!", "3|6|12|12", TR_EV_KEY_CHANGED);
    feed_commit(&feed, "lsn", "0/1");
    feed_flush(&feed);
    ROWS("1|5|10|11\n3|6|12|12\n7|3|6|17\n8|4|8|18\n", "SELECT * FROM t ORDER BY id");
    /* row by row */
    test_sql(server.admin,
             "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';"
             "CREATE TRIGGER x BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f();"
             "ALTER TABLE t ENABLE ALWAYS TRIGGER x");
    feed_close(&feed);
    feed_open(&feed);
    feed_row(&feed, TR_OP_UPDATE, t, "3|!|!|!", "33|6|12|12", TR_EV_KEY_CHANGED);
    feed_row(&feed, TR_OP_UPDATE, t, NULL, "33|7|14|12", 0);
    feed_row(&feed, TR_OP_CREATE, t, NULL, "9|9|18|19", 0);
    feed_commit(&feed, "lsn", "0/1");
    feed_flush(&feed);
    ROWS("9|9|18|19\n33|7|14|12\n", "SELECT * FROM t WHERE id IN (9, 33) ORDER BY id");
    /* made by us: explicit values, and a sequence for the time after */
    const struct tr_table *u = feed_table(2, "public", "u", "id int4 k i,a int4 n d=5");
    feed_create(&feed, u);
    feed_row(&feed, TR_OP_CREATE, u, NULL, "40|1", 0);
    feed_commit(&feed, "lsn", "0/2");
    feed_flush(&feed);
    test_sql(server.admin, "INSERT INTO u DEFAULT VALUES");
    ROWS("1|5\n40|1\n", "SELECT * FROM u ORDER BY id");
}

static void partitioned_target(void **state)
{
    (void)state;
    test_sql(server.admin, "CREATE TABLE t (id int PRIMARY KEY, name text, amount numeric(10,2)) "
                           "PARTITION BY RANGE (id);"
                           "CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (100);"
                           "CREATE TABLE t2 PARTITION OF t FOR VALUES FROM (100) TO (1000)");
    const struct tr_table *t = simple();
    feed_open(&feed);
    feed_create(&feed, t);
    for (int i = 0; i < 300; i++) {
        char row[64];
        snprintf(row, sizeof row, "%d|x|%d", i, i);
        feed_row(&feed, TR_OP_CREATE, t, NULL, row, 0);
    }
    feed_row(&feed, TR_OP_UPDATE, t, "5|!|!", "905|moved|1", TR_EV_KEY_CHANGED);
    feed_row(&feed, TR_OP_UPDATE, t, NULL, "150|new|~", 0);
    feed_commit(&feed, "lsn", "0/1");
    feed_flush(&feed);
    ROWS("99|201|new\n", "SELECT (SELECT count(*) FROM t1), (SELECT count(*) FROM t2), (SELECT "
                         "name FROM t WHERE id = 150)");
}

static void no_index_on_the_key(void **state)
{
    (void)state;
    test_sql(server.admin, "CREATE TABLE t (id int, name text, amount numeric(10,2))");
    const struct tr_table *t = simple();
    feed_open(&feed);
    feed_create(&feed, t);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 300; i++) {
            char row[64];
            snprintf(row, sizeof row, "%d|r%d|%d", i, round, i);
            feed_row(&feed, round == 0 ? TR_OP_CREATE : TR_OP_UPDATE, t, NULL, row, 0);
        }
        feed_row(&feed, TR_OP_DELETE, t, "7|!|!", NULL, 0);
        feed_row(&feed, TR_OP_CREATE, t, NULL, "7|back|1", 0);
        feed_row(&feed, TR_OP_UPDATE, t, NULL, "1000|missing|1", 0);
        feed_row(&feed, TR_OP_UPDATE, t, "8|!|!", "2000|k|1", TR_EV_KEY_CHANGED);
        feed_commit(&feed, "lsn", "0/1");
        feed_flush(&feed);
    }
    ROWS("301|301|301\n",
         "SELECT count(*), count(DISTINCT id), count(*) FILTER (WHERE name IN ('r1', 'back', "
         "'missing', 'k') OR id = 8) FROM t");
}

static void truncates(void **state)
{
    (void)state;
    const struct tr_table *a = feed_table(1, "public", "a", "id int4 k i,v text n");
    const struct tr_table *b = feed_table(2, "public", "b", "id int4 k,a_id int4 n");
    test_sql(server.admin,
             "CREATE TABLE a (id int GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, v text);"
             "CREATE TABLE b (id int PRIMARY KEY, a_id int REFERENCES a)");
    feed_open(&feed);
    feed_create(&feed, a);
    feed_create(&feed, b);
    feed_row(&feed, TR_OP_CREATE, a, NULL, "1|x", 0);
    feed_row(&feed, TR_OP_CREATE, b, NULL, "1|1", 0);
    feed_truncate(&feed, a, TR_EV_TRUNCATE_RESTART); /* refers to each other: one statement */
    feed_truncate(&feed, b, TR_EV_TRUNCATE_RESTART);
    feed_row(&feed, TR_OP_CREATE, a, NULL, "2|y", 0);
    feed_commit(&feed, "lsn", "0/1");
    feed_flush(&feed);
    ROWS("2|0\n", "SELECT (SELECT id FROM a), (SELECT count(*) FROM b)");
    feed_truncate(&feed, a, 0); /* alone: TRUNCATE is refused, DELETE does it */
    feed_commit(&feed, "lsn", "0/2");
    feed_flush(&feed);
    ROWS("0\n", "SELECT count(*) FROM a");
}

static void giant_transaction(void **state)
{
    (void)state;
    const struct tr_table *t = simple();
    char row[64];
    feed.config.options.apply_rows = 500;
    feed_open(&feed);
    feed_create(&feed, t);
    feed_row(&feed, TR_OP_CREATE, t, NULL, "-1|before|0", 0);
    feed_commit(&feed, "lsn", "0/1");
    for (int i = 0; i < 20000; i++) {
        snprintf(row, sizeof row, "%d|v|%d", i % 5000, i);
        feed_row(&feed, i < 5000 ? TR_OP_CREATE : TR_OP_UPDATE, t, NULL, row, 0);
        if (i % 3000 == 0) {
            feed_send(&feed); /* nothing of the open one is seen, what was committed is */
            assert_int_equal(tr_sink_postgres.flush(feed.writer, 1000, &feed.err), TR_OK);
            assert_int_equal(tr_sink_postgres.durable_seq(feed.writer), feed.seq_commit);
            ROWS("1\n", "SELECT count(*) FROM t");
        }
    }
    feed_commit(&feed, "lsn", "0/2");
    feed_row(&feed, TR_OP_CREATE, t, NULL, "-2|after|0", 0);
    feed_commit(&feed, "lsn", "0/3");
    feed_flush(&feed);
    ROWS("5002|87497500.00\n", "SELECT count(*), sum(amount) FROM t");
}

static void snapshot_load_and_resume(void **state)
{
    (void)state;
    const struct tr_table *t = simple();
    const struct tr_table *u = feed_table(9, "public", "u", "id int4 k,v text n");
    char line[96];
    feed_open(&feed);
    feed_create(&feed, t);
    feed_create(&feed, u);
    for (int chunk = 0; chunk < 3; chunk++) {
        for (int i = 0; i < 700; i++) {
            snprintf(line, sizeof line, "%d\tname \\t\\\\ %d\t\\N\n", chunk * 1000 + i, i);
            feed_raw(&feed, t, line);
            if (i % 100 == 0) { /* another reader's table in between */
                snprintf(line, sizeof line, "%d|\\N", chunk * 1000 + i);
                feed_row(&feed, TR_OP_READ, u, NULL, line, 0);
            }
        }
        snprintf(line, sizeof line, "chunk/%d", chunk);
        feed_commit(&feed, line, "done");
    }
    feed_raw(&feed, t, "9999\thalf a chunk\t1\n");
    feed_send(&feed);
    assert_int_equal(tr_sink_postgres.flush(feed.writer, 1000, &feed.err), TR_OK);
    assert_int_equal(tr_sink_postgres.durable_seq(feed.writer), feed.seq_commit);
    ROWS("2100|21\n", "SELECT (SELECT count(*) FROM t), (SELECT count(*) FROM u)");
    feed_close(&feed);
    ROWS("2100\n", "SELECT count(*) FROM t");
    feed_open(&feed); /* resumed: some rows come again */
    for (int i = 0; i < 700; i++) {
        snprintf(line, sizeof line, "%d\tagain\t1.5\n", 2500 + i);
        feed_raw(&feed, t, line);
    }
    feed_commit(&feed, "chunk/4", "done");
    feed_flush(&feed);
    ROWS("2600|700\n", "SELECT count(*), count(*) FILTER (WHERE name = 'again') FROM t");
    /* two sources into one table */
    const struct tr_table *m1 = feed_table(11, "public", "m", "id int4 k,v text n");
    const struct tr_table *m2 = feed_table(12, "public", "m", "id int4 k,v text n");
    feed_create(&feed, m1);
    feed_raw(&feed, m1, "1\tone\n");
    feed_raw(&feed, m1, "2\ttwo\n");
    feed_raw(&feed, m2, "2\tzwei\n");
    feed_raw(&feed, m2, "3\tdrei\n");
    feed_commit(&feed, "chunk/5", "done");
    feed_row(&feed, TR_OP_UPDATE, m1, NULL, "1|eins", 0);
    feed_row(&feed, TR_OP_UPDATE, m2, NULL, "1|uno", 0);
    feed_commit(&feed, "lsn", "0/1");
    feed_flush(&feed);
    ROWS("1|uno\n2|zwei\n3|drei\n", "SELECT * FROM m ORDER BY id");
    /* copied again */
    feed_truncate(&feed, t, TR_EV_TRUNCATE_FOR_RELOAD);
    feed_raw(&feed, t, "1\tfresh\t1\n");
    feed_commit(&feed, "chunk/6", "done");
    feed_flush(&feed);
    ROWS("1|fresh|1.00\n", "SELECT * FROM t");
}

static void bad_raw_line(void **state)
{
    (void)state;
    test_sql(server.admin,
             "CREATE TABLE t (id int PRIMARY KEY, g int GENERATED ALWAYS AS (id) STORED)");
    const struct tr_table *t = feed_table(1, "public", "t", "id int4 k,g int4 g");
    feed_open(&feed);
    feed_raw(&feed, t, "1\t1\t1\n");
    assert_int_equal(feed_try_send(&feed), TR_FAIL);
    assert_int_equal(feed.err.code, TR_E_PGSINK_ROW_FORMAT);
    assert_int_equal(feed.err.seq, 1);
}

/* ---- rows as binary tuples ---- */

static void tuples(void **state)
{
    (void)state;
    const struct tr_table *t = feed_table(1, "public", "t", "id int4 k,v text n");
    const struct tr_table *u = feed_table(2, "public", "u", "id int4 k,v varchar(5) n");
    char text[200];
    feed_open(&feed);
    feed_create(&feed, t);
    feed_create(&feed, u);
    for (int chunk = 0; chunk < 3; chunk++) {
        for (int i = 0; i < 3000; i++) {
            snprintf(text, sizeof text, "%0*d", 1 + i % 150, i);
            feed_tuple(&feed, t, chunk * 10000 + i, i % 7 == 0 ? NULL : text);
            if (i % 1000 == 0) { /* another reader's table, in the other form, in between */
                snprintf(text, sizeof text, "%d\tline\n", chunk * 10 + i / 1000);
                feed_raw(&feed, u, text);
            }
        }
        snprintf(text, sizeof text, "chunk/%d", chunk);
        feed_commit(&feed, text, "done");
    }
    feed_tuple(&feed, u, 100, "tuple"); /* lines before, and behind */
    feed_raw(&feed, u, "101\tline\n");
    feed_commit(&feed, "chunk/3", "done");
    feed_flush(&feed);
    ROWS("9000|1287|0\n", "SELECT count(*), count(*) FILTER (WHERE v IS NULL), count(*) FILTER"
                          " (WHERE v::int <> mod(id, 10000)) FROM t");
    ROWS("10|1\n", "SELECT count(*) FILTER (WHERE v = 'line'), count(*) FILTER (WHERE v = 'tuple')"
                   " FROM u");
    /* copied again */
    feed_truncate(&feed, t, TR_EV_TRUNCATE_FOR_RELOAD);
    feed_tuple(&feed, t, -1, "fresh");
    feed_commit(&feed, "chunk/4", "done");
    feed_flush(&feed);
    ROWS("-1|fresh\n", "SELECT * FROM t");
}

static void refused_tuple(void **state)
{
    (void)state;
    test_sql(server.admin,
             "CREATE TABLE t (id int PRIMARY KEY CONSTRAINT not_77 CHECK (id <> 77), v text)");
    const struct tr_table *t = feed_table(1, "public", "t", "id int4 k,v text n");
    feed_open(&feed);
    for (int i = 0; i < 100; i++)
        feed_tuple(&feed, t, i, "a secret");
    feed_commit(&feed, "chunk/0", "done");
    feed_send(&feed);
    assert_int_equal(tr_sink_postgres.flush(feed.writer, 1000, &feed.err), TR_FAIL);
    assert_int_equal(feed.err.code, TR_E_PGSINK_CONSTRAINT);
    assert_int_equal(feed.err.seq, 78);
    assert_non_null(strstr(feed.err.message, "not_77"));
    assert_null(strstr(feed.err.message, "secret"));
    assert_null(strstr(feed.err.detail, "secret"));
    feed_close(&feed);
    ROWS("0\n", "SELECT count(*) FROM t");
}

static void assert_changed(const struct tr_table *t)
{
    feed_tuple(&feed, t, 1, "x");
    assert_int_equal(feed_try_send(&feed), TR_FAIL);
    assert_int_equal(feed.err.code, TR_E_PGSINK_TARGET_CHANGED);
    assert_int_equal(feed.err.class, TR_TRANSIENT);
    feed_close(&feed);
}

static void tuples_for_another_target(void **state)
{
    (void)state;
    const struct tr_table *t = feed_table(1, "public", "t", "id int4 k,v text n");
    test_sql(server.admin, "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (5)");
    feed_open(&feed);
    assert_changed(t); /* they would have to be merged */
    test_sql(server.admin, "TRUNCATE t; ALTER TABLE t ALTER v TYPE bytea USING NULL");
    feed_open(&feed);
    assert_changed(t);
    test_sql(server.admin, "DROP TABLE t; CREATE TABLE t (id int PRIMARY KEY, v text GENERATED ALWAYS"
                           " AS ('x') STORED)");
    feed_open(&feed);
    assert_changed(t);
    /* since the writer has looked */
    test_sql(server.admin, "DROP TABLE t; CREATE TABLE t (id int PRIMARY KEY, v text)");
    feed_open(&feed);
    feed_tuple(&feed, t, 1, "x");
    feed_commit(&feed, "chunk/0", "done");
    feed_flush(&feed);
    test_sql(server.admin, "ALTER TABLE t ALTER id TYPE real");
    assert_changed(t);
    ROWS("1|x\n", "SELECT * FROM t");
}

static bool takes(const struct tr_table *t, bool emptied)
{
    struct tr_binary_offer offer = {.table = t, .server_version = 150000, .emptied = emptied};
    bool answer = false;
    assert_int_equal(tr_sink_postgres.takes_binary(feed.sink, &offer, &answer, &feed.err), TR_OK);
    return answer;
}

static void tuples_are_taken(void **state)
{
    (void)state;
    const struct tr_table *t = feed_table(1, "public", "t", "id int4 k,v text n");
    const struct tr_table *e = feed_table(2, "public", "e", "id int4 k,v public.mood n");
    feed_open(&feed);
    assert_true(takes(t, false)); /* we make it */
    assert_false(takes(e, false));
    test_sql(server.admin, "CREATE TABLE t (id int PRIMARY KEY, v varchar(3))");
    assert_true(takes(t, false));
    test_sql(server.admin, "INSERT INTO t VALUES (1)");
    assert_false(takes(t, false));
    assert_true(takes(t, true));
    test_sql(server.admin, "ALTER TABLE t ALTER v TYPE json USING NULL");
    assert_false(takes(t, true));
    test_sql(server.admin, "DROP TABLE t; CREATE TABLE t (id int PRIMARY KEY)");
    assert_false(takes(t, false)); /* a column will be added: not for now */
    test_sql(server.admin, "DROP TABLE t; CREATE VIEW t AS SELECT 1 AS id, 'x'::text AS v");
    assert_false(takes(t, false));
    test_sql(server.admin, "DROP VIEW t");
}

/* ---- schema changes ---- */

static void ddl_create_and_alter(void **state)
{
    (void)state;
    const struct tr_table *v1 =
        feed_table(1, "other", "t", "id int4 k,a int4 n,b text n,gone text n");
    const struct tr_table *v2 =
        feed_table(1, "other", "t", "id int4 k,b int8 n,a text n,c int4 d=7,d text n");
    static const struct tr_alter_item items[] = {
        {TR_ALTER_RENAME_COLUMN, 1, 1}, /* a ⇄ b */
        {TR_ALTER_RENAME_COLUMN, 2, 2}, {TR_ALTER_DROP_COLUMN, 3, 0}, {TR_ALTER_ADD_COLUMN, 0, 3},
        {TR_ALTER_ADD_COLUMN, 0, 4},    {TR_ALTER_COLUMN_TYPE, 1, 1}};
    feed_open(&feed);
    feed_create(&feed, v1);
    feed_create(&feed, v1); /* again: nothing happens */
    feed_row(&feed, TR_OP_CREATE, v1, NULL, "1|10|11|x", 0);
    feed_row(&feed, TR_OP_CREATE, v1, NULL, "2|20|\\N|x", 0);
    assert_int_equal(feed_try_schema(&feed, TR_CHANGE_ALTER_TABLE, v1, v2, items, 6), TR_OK);
    feed_row(&feed, TR_OP_CREATE, v2, NULL, "3|9999999999|thirty|8|d", 0);
    feed_row(&feed, TR_OP_UPDATE, v2, NULL, "1|~|~|9|new", 0);
    ROWS("0\n",
         "SELECT count(*) FROM pg_class WHERE relname = 't' AND relnatts <> 4"); /* not seen yet */
    feed_commit(&feed, "lsn", "0/1");
    feed_flush(&feed);
    ROWS("1|10|11|9|new\n2|20|~|7|~\n3|9999999999|thirty|8|d\n",
         "SELECT id, b, a, c, d FROM other.t ORDER BY id");
    ROWS("bigint|integer\n",
         "SELECT min(pg_typeof(b)::text), min(pg_typeof(c)::text) FROM other.t");
    /* a late column: the sink adds what a table lacks */
    const struct tr_table *v3 =
        feed_table(1, "other", "t", "id int4 k,b int8 n,a text n,c int4 d=7,d text n,e int4 n d=3");
    feed_create(&feed, v3);
    ROWS("3\n", "SELECT DISTINCT e FROM other.t");
    /* nullability, default, key */
    const struct tr_table *v4 =
        feed_table(1, "other", "t", "id int4,b int8 n,a text k,c int4,d text n,e int4 d=4");
    static const struct tr_alter_item more[] = {{TR_ALTER_COLUMN_NULLABLE, 5, 5},
                                                {TR_ALTER_COLUMN_DEFAULT, 3, 3},
                                                {TR_ALTER_COLUMN_DEFAULT, 5, 5},
                                                {TR_ALTER_KEY, 0, 0}};
    feed_row(&feed, TR_OP_DELETE, v3, "2|!|!|!|!|!", NULL, 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(feed_try_schema(&feed, TR_CHANGE_ALTER_TABLE, v3, v4, more, 4), TR_OK);
        feed_row(&feed, TR_OP_UPDATE, v4, NULL, "33|\\N|thirty|1|\\N|5", 0);
        feed_commit(&feed, "lsn", "0/2");
        feed_flush(&feed);
    }
    ROWS("33|1|5\n", "SELECT id, c, e FROM other.t WHERE a = 'thirty'");
    ROWS("PRIMARY KEY (a)\n", "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid "
                              "= 'other.t'::regclass AND contype = 'p'");
    ROWS("c||YES\ne|4|NO\n", "SELECT column_name, replace(coalesce(column_default, ''), "
                             "'::integer', ''), CASE column_name "
                             "WHEN 'c' THEN 'YES' ELSE is_nullable END FROM "
                             "information_schema.columns WHERE table_name = 't' AND "
                             "column_name IN ('c', 'e') ORDER BY 1");
}

/* DROP b; RENAME a TO b: when it comes a second time it must not drop the renamed column. */
static void ddl_twice(void **state)
{
    (void)state;
    const struct tr_table *v1 = feed_table(1, "public", "t", "id int4 k,a text n,b text n");
    const struct tr_table *v2 = feed_table(1, "public", "t", "id int4 k,b text n");
    static const struct tr_alter_item items[] = {{TR_ALTER_DROP_COLUMN, 2, 0},
                                                 {TR_ALTER_RENAME_COLUMN, 1, 1}};
    feed_open(&feed);
    feed_create(&feed, v1);
    feed_row(&feed, TR_OP_CREATE, v1, NULL, "1|keep|drop", 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(feed_try_schema(&feed, TR_CHANGE_ALTER_TABLE, v1, v2, items, 2), TR_OK);
        feed_commit(&feed, "lsn", "0/1");
        feed_flush(&feed);
    }
    ROWS("1|keep\n", "SELECT * FROM t");
}

static void ddl_rename_and_drop_table(void **state)
{
    (void)state;
    const struct tr_table *a = feed_table(1, "public", "a", "id int4 k,v text n");
    const struct tr_table *b = feed_table(1, "other", "b", "id int4 k,v text n");
    feed_open(&feed);
    feed_create(&feed, a);
    feed_row(&feed, TR_OP_CREATE, a, NULL, "1|x", 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(feed_try_schema(&feed, TR_CHANGE_RENAME_TABLE, a, b, NULL, 0), TR_OK);
        feed_row(&feed, TR_OP_UPDATE, b, NULL, "1|y", 0);
        feed_commit(&feed, "lsn", "0/1");
        feed_flush(&feed);
    }
    ROWS("1|y|~\n", "SELECT *, to_regclass('public.a') FROM other.b");
    for (int i = 0; i < 2; i++) {
        assert_int_equal(feed_try_schema(&feed, TR_CHANGE_DROP_TABLE, b, b, NULL, 0), TR_OK);
        feed_commit(&feed, "lsn", "0/2");
        feed_flush(&feed);
    }
    ROWS("~\n", "SELECT to_regclass('other.b')");
}

/* A change that the target refuses leaves the writer usable and the rest of the transaction alone.
 */
static void ddl_refused(void **state)
{
    (void)state;
    const struct tr_table *v1 = feed_table(1, "public", "t", "id int4 k,a text n");
    const struct tr_table *v2 = feed_table(1, "public", "t", "id int4 k,a int4 n");
    static const struct tr_alter_item items[] = {{TR_ALTER_COLUMN_TYPE, 1, 1}};
    feed_open(&feed);
    feed_create(&feed, v1);
    feed_row(&feed, TR_OP_CREATE, v1, NULL, "1|not a number", 0);
    assert_int_equal(feed_try_schema(&feed, TR_CHANGE_ALTER_TABLE, v1, v2, items, 1), TR_FAIL);
    assert_int_equal(feed.err.class, TR_SCHEMA);
    feed_row(&feed, TR_OP_CREATE, v1, NULL, "2|x", 0);
    feed_commit(&feed, "lsn", "0/1");
    feed_flush(&feed);
    test_sql(server.admin, "CREATE VIEW w AS SELECT a FROM t");
    const struct tr_table *v3 = feed_table(1, "public", "t", "id int4 k");
    static const struct tr_alter_item drop[] = {{TR_ALTER_DROP_COLUMN, 1, 0}};
    assert_int_equal(feed_try_schema(&feed, TR_CHANGE_ALTER_TABLE, v1, v3, drop, 1), TR_FAIL);
    assert_int_equal(feed.err.code, TR_E_PGSINK_DEPENDENT);
    feed_row(&feed, TR_OP_CREATE, v1, NULL, "3|x", 0);
    feed_commit(&feed, "lsn", "0/2");
    feed_flush(&feed);
    ROWS("3\n", "SELECT count(*) FROM t");
}

static void table_creation_disabled(void **state)
{
    (void)state;
    const struct tr_table *t = simple();
    feed.config.options.table_create = false;
    feed_open(&feed);
    assert_int_equal(feed_try_schema(&feed, TR_CHANGE_CREATE_TABLE, NULL, t, NULL, 0), TR_FAIL);
    assert_int_equal(feed.err.code, TR_E_PGSINK_TABLE_MISSING);
    assert_non_null(strstr(feed.err.hint,
                           "CREATE TABLE IF NOT EXISTS \"public\".\"t\" (\"id\" int4 NOT NULL, "));
    test_sql(server.admin, "%s", feed.err.hint); /* the hint is SQL that works */
    feed_create(&feed, t);
    feed_row(&feed, TR_OP_CREATE, t, NULL, "1|x|1", 0);
    feed_commit(&feed, "lsn", "0/1");
    feed_flush(&feed);
    ROWS("1\n", "SELECT count(*) FROM t");
}

static void schema_override_and_missing_column(void **state)
{
    (void)state;
    const struct tr_table *t = simple();
    feed.config.options.schema = "other";
    feed.config.options.position_schema = NULL;
    feed_open(&feed);
    feed_create(&feed, t);
    feed_row(&feed, TR_OP_CREATE, t, NULL, "1|x|1", 0);
    feed_commit(&feed, "lsn", "0/1");
    feed_flush(&feed);
    ROWS("1|1\n",
         "SELECT (SELECT count(*) FROM other.t), (SELECT count(*) FROM other.tailrace_position)");
    test_sql(server.admin, "ALTER TABLE other.t DROP COLUMN name");
    feed_close(&feed);
    feed_open(&feed);
    feed_row(&feed, TR_OP_CREATE, t, NULL, "2|x|1", 0);
    assert_int_equal(feed_try_send(&feed), TR_FAIL);
    assert_int_equal(feed.err.code, TR_E_PGSINK_COLUMN_MISSING);
}

/* ---- failures ---- */

static void wrong_settings(void **state)
{
    (void)state;
    feed.config.options.database = "nowhere";
    assert_int_equal(feed_try_open(&feed), TR_FAIL);
    assert_int_equal(feed.err.code, TR_E_PGSINK_DATABASE);
    feed.config.options.database = "postgres";
    feed.config.options.username = "nobody-here";
    assert_int_equal(feed_try_open(&feed), TR_FAIL);
    assert_int_equal(feed.err.code, TR_E_PGSINK_AUTH);
    feed.config.options.username = "postgres";
    feed.config.options.sslmode = 4;
    feed.config.options.sslrootcert = "/nonexistent/root.crt";
    assert_int_equal(feed_try_open(&feed), TR_FAIL);
    assert_int_equal(feed.err.code, TR_E_PGSINK_TLS);
    feed.config.options.sslmode = 2;
    feed.config.options.sslrootcert = NULL;
    assert_int_equal(feed_try_open(&feed), TR_FAIL);
    assert_int_equal(feed.err.code, TR_E_PGSINK_TLS);
    feed.config.options.sslmode = 0;
    feed.config.options.port = 1;
    assert_int_equal(feed_try_open(&feed), TR_FAIL);
    assert_int_equal(feed.err.code, TR_E_PGSINK_CONNECT);
    assert_int_equal(feed.err.class, TR_TRANSIENT);
    feed.config.options.hostname = NULL;
    assert_int_equal(feed_try_open(&feed), TR_FAIL);
    assert_int_equal(feed.err.code, TR_E_PGSINK_OPTION);
    feed.config.options.url.value = "postgresql://postgres:canary@127.0.0.1/postgres?service=x";
    assert_int_equal(feed_try_open(&feed), TR_FAIL);
    assert_int_equal(feed.err.code, TR_E_PGSINK_OPTION);
    assert_null(strstr(feed.err.message, "canary"));
    feed.config.options.url.value = "postgresql://%zz:canary@x";
    assert_int_equal(feed_try_open(&feed), TR_FAIL);
    assert_int_equal(feed.err.code, TR_E_PGSINK_OPTION);
    assert_null(strstr(feed.err.detail, "canary"));
    char url[128];
    snprintf(url, sizeof url, "postgresql://postgres@127.0.0.1:%d/postgres?sslmode=disable",
             server.port);
    feed.config.options = (struct tr_pgs_options){.url = {url},
                                                  .sslmode = 4,
                                                  .position_table = "p",
                                                  .connect_timeout_ms = 5000,
                                                  .apply_rows = 10,
                                                  .apply_bytes = 1000};
    feed_open(&feed);
    test_sql(server.admin, "CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0");
    feed_close(&feed);
    snprintf(url, sizeof url, "postgresql://postgres@127.0.0.1:%d/latin?sslmode=disable",
             server.port);
    assert_int_equal(feed_try_open(&feed), TR_FAIL);
    assert_int_equal(feed.err.code, TR_E_PGSINK_ENCODING);
    test_sql(server.admin, "DROP DATABASE latin");
}

static void two_processes(void **state)
{
    (void)state;
    struct feed other;
    feed_open(&feed);
    /* a second session of the same pipeline waits for the first to end */
    feed_init(&other, &server);
    feed_close(&feed);
    feed_open(&feed); /* the session just closed is waited for */
    PGconn *holder = test_server_connect(&server);
    test_sql(holder, "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' "
                     "AND pid <> pg_backend_pid()");
    feed_open(&other);
    feed_free(&other);
    PQfinish(holder);
}

static void connection_lost(void **state)
{
    (void)state;
    const struct tr_table *t = simple();
    feed_open(&feed);
    feed_create(&feed, t);
    feed_row(&feed, TR_OP_CREATE, t, NULL, "1|x|1", 0);
    feed_commit(&feed, "lsn", "0/1");
    feed_flush(&feed);
    test_sql(server.admin, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE "
                           "application_name LIKE 'tailrace/%%'");
    feed_row(&feed, TR_OP_CREATE, t, NULL, "2|x|1", 0);
    feed_commit(&feed, "lsn", "0/2");
    feed_send(&feed);
    assert_int_equal(tr_sink_postgres.flush(feed.writer, 1000, &feed.err), TR_FAIL);
    assert_int_equal(feed.err.class, TR_TRANSIENT);
    tr_sink_postgres.writer_close(feed.writer);
    feed.writer = NULL;
    /* the same sink goes on: its control link is made anew */
    assert_int_equal(tr_sink_postgres.load_marks(feed.sink, &feed.marks, &feed.err), TR_OK);
    assert_string_equal(tr_state_get(&feed.marks, "lsn"), "0/1");
    assert_int_equal(tr_sink_postgres.writer_open(feed.sink, 0, &feed.writer, &feed.err), TR_OK);
    feed_row(&feed, TR_OP_CREATE, t, NULL, "2|x|1", 0);
    feed_commit(&feed, "lsn", "0/2");
    feed_flush(&feed);
    feed_close(&feed);
    test_server_crash(&server); /* what was durable is there after a crash of the server */
    feed.config.options.port = server.port;
    ROWS("2\n", "SELECT count(*) FROM t");
    feed_open(&feed);
    assert_string_equal(tr_state_get(&feed.marks, "lsn"), "0/2");
}

static void *rival(void *ctx)
{
    PGconn *conn = ctx;
    PGresult *result;
    usleep(60000); /* the sink holds row 1 and waits for row 2 by now */
    result = PQexec(conn, "UPDATE t SET name = 'rival' WHERE id = 1");
    PQclear(result);
    result = PQexec(conn, PQtransactionStatus(conn) == PQTRANS_INERROR ? "ROLLBACK" : "COMMIT");
    PQclear(result);
    return NULL;
}

static void deadlock(void **state)
{
    (void)state;
    const struct tr_table *t = simple();
    pthread_t thread;
    feed_open(&feed);
    feed_create(&feed, t);
    test_sql(server.admin, "INSERT INTO t VALUES (1, 'a', 1), (2, 'b', 2)");
    for (int round = 0; round < 2; round++) {
        if (round == 1) { /* in the middle of a transaction: back to the savepoint */
            feed_row(&feed, TR_OP_UPDATE, t, NULL, "3|early|3", 0);
            feed_truncate(
                &feed, feed_table(7, "public", "t", "id int4 k,name text n,amount numeric(10;2) n"),
                0);
            feed_send(&feed);
            feed_row(&feed, TR_OP_CREATE, t, NULL, "1|a|1", 0);
            feed_row(&feed, TR_OP_CREATE, t, NULL, "2|b|2", 0);
            feed_commit(&feed, "lsn", "0/1");
            feed_flush(&feed);
        }
        PGconn *conn = test_server_connect(&server);
        test_sql(conn, "SET deadlock_timeout = '10s'");
        test_sql(conn, "BEGIN; UPDATE t SET name = 'rival' WHERE id = 2");
        assert_int_equal(pthread_create(&thread, NULL, rival, conn), 0);
        feed_row(&feed, TR_OP_UPDATE, t, NULL, "1|sink|10", 0);
        feed_row(&feed, TR_OP_UPDATE, t, NULL, "2|sink|20", 0);
        feed_commit(&feed, "lsn", "0/2");
        feed_flush(&feed);
        pthread_join(thread, NULL);
        PQfinish(conn);
        ROWS("1|sink|10.00\n2|sink|20.00\n", "SELECT * FROM t WHERE id < 3 ORDER BY id");
    }
}

static void lock_timeout_is_transient(void **state)
{
    (void)state;
    const struct tr_table *t = simple();
    feed.config.options.lock_timeout_ms = 100;
    feed_open(&feed);
    feed_create(&feed, t);
    PGconn *conn = test_server_connect(&server);
    test_sql(conn, "BEGIN; LOCK TABLE t");
    feed_row(&feed, TR_OP_CREATE, t, NULL, "1|x|1", 0);
    feed_commit(&feed, "lsn", "0/1");
    enum tr_status status = feed_try_send(&feed); /* describing it does not lock */
    if (status == TR_OK)
        status = tr_sink_postgres.flush(feed.writer, 1000, &feed.err);
    assert_int_equal(status, TR_FAIL);
    assert_int_equal(feed.err.code, TR_E_PGSINK_LOCK_TIMEOUT);
    assert_int_equal(feed.err.class, TR_TRANSIENT);
    PQfinish(conn);
}

static void *interrupter(void *ctx)
{
    usleep(100000);
    tr_sink_postgres.interrupt(ctx);
    return NULL;
}

static void interrupt_ends_a_wait(void **state)
{
    (void)state;
    const struct tr_table *t = simple();
    pthread_t thread;
    feed.config.options.lock_timeout_ms = 60000;
    feed_open(&feed);
    feed_create(&feed, t);
    PGconn *conn = test_server_connect(&server);
    test_sql(conn, "BEGIN; LOCK TABLE t");
    feed_row(&feed, TR_OP_CREATE, t, NULL, "1|x|1", 0);
    feed_commit(&feed, "lsn", "0/1");
    assert_int_equal(pthread_create(&thread, NULL, interrupter, feed.sink), 0);
    feed_send(&feed);
    assert_int_equal(tr_sink_postgres.flush(feed.writer, 60000, &feed.err), TR_FAIL);
    assert_int_equal(feed.err.code, TR_E_INTERRUPTED);
    pthread_join(thread, NULL);
    PQfinish(conn);
}

/* ---- preflight, scan, drop ---- */

static char findings[8192];

static void note(void *ctx, const struct tr_finding *finding)
{
    size_t at = strlen(findings);
    (void)ctx;
    snprintf(findings + at, sizeof findings - at, "%d %s %s: %s [%s]\n", (int)finding->severity,
             finding->code == TR_E_NONE ? "-" : tr_error_info(finding->code)->name, finding->object,
             finding->message, finding->remedy == NULL ? "" : finding->remedy);
}

static void validate(void **state)
{
    (void)state;
    ordinary_role();
    test_sql(
        server.admin,
        "CREATE SCHEMA other; CREATE TABLE a (id int, v int, must text NOT NULL);"
        "CREATE VIEW v AS SELECT 1 AS id; CREATE TABLE b (id int PRIMARY KEY, v text,"
        " a_id int REFERENCES b); GRANT ALL ON b TO plain; GRANT SELECT, INSERT ON a TO plain");
    const struct tr_table *tables[] = {
        feed_table(1, "public", "a", "id int4 k,v text n,w int4 n"),
        feed_table(2, "other", "n", "id int4 k"), feed_table(3, "public", "v", "id int4 k"),
        feed_table(4, "public", "b", "id int4 k,v text n,a_id int4 n"),
        feed_table(5, "public", "fresh", "id int4 k")};
    feed_open(&feed);
    findings[0] = '\0';
    assert_int_equal(tr_sink_postgres.validate(feed.sink, tables, 5, note, NULL, &feed.err), TR_OK);
    static const char *const expected[] = {
        "0 - postgres: PostgreSQL ",
        "2 PGSINK_PRIVILEGE public.a: the role has no UPDATE privilege [GRANT UPDATE ON "
        "\"public\".\"a\" TO \"plain\";]",
        "1 PGSINK_TYPE public.a: column \"v\" is integer on the target and text on the source",
        "0 PGSINK_COLUMN_MISSING public.a: column \"w\" is not on the target; it will be added",
        "2 PGSINK_NOT_NULL public.a: column \"must\" is NOT NULL without default",
        "1 PGSINK_NO_UNIQUE_KEY public.a: the target has no unique index on the key: rows are "
        "found by reading it "
        "[ALTER TABLE \"public\".\"a\" ADD PRIMARY KEY (\"id\");]",
        "2 PGSINK_PRIVILEGE other: the table cannot be made: no CREATE privilege on the schema "
        "[GRANT CREATE ON SCHEMA \"other\" TO \"plain\";]",
        "2 PGSINK_TABLE_KIND public.v:",
        "1 PGSINK_ORDERED public.b: foreign keys fire for this role",
        "0 - public.fresh: the table will be created",
    };
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        if (strstr(findings, expected[i]) == NULL)
            fail_msg("not found: %s\nin:\n%s", expected[i], findings);
    }
}

static void scan_and_drop(void **state)
{
    (void)state;
    const struct tr_table *t = feed_table(1, "public", "t", "k text k,v money n,b bytea n");
    const struct tr_scan_ops *scan = tr_sink_postgres.scan;
    struct tr_scan *open, *second;
    const struct tr_cell *cells;
    uint64_t position;
    feed_open(&feed);
    feed_create(&feed, t);
    feed_row(&feed, TR_OP_CREATE, t, NULL, "b|$1,000.50|\\x00", 0);
    feed_row(&feed, TR_OP_CREATE, t, NULL, "B\ttab|\\N|\\N", 0);
    feed_row(&feed, TR_OP_CREATE, t, NULL, "a|1|\\x", 0);
    feed_commit(&feed, "lsn", "1A/2B");
    feed_flush(&feed);
    assert_int_equal(scan->position(feed.sink, &position, &feed.err), TR_OK);
    assert_int_equal(position, UINT64_C(0x1A0000002B));
    assert_int_equal(scan->open(feed.sink, t, NULL, &open, &feed.err), TR_OK);
    assert_int_equal(scan->next(open, &cells, &feed.err), TR_OK);
    assert_string_equal(cells[0].ptr, "B\ttab");
    assert_int_equal(cells[1].state, TR_CELL_NULL);
    struct tr_cell key = {"b", 1, TR_CELL_TEXT};
    assert_int_equal(scan->open(feed.sink, t, &key, &second, &feed.err),
                     TR_OK); /* while the other is open */
    assert_int_equal(scan->next(second, &cells, &feed.err), TR_OK);
    assert_string_equal(cells[1].ptr, "$1,000.50");
    assert_string_equal(cells[2].ptr, "\\x00");
    assert_int_equal(scan->next(second, &cells, &feed.err), TR_END);
    scan->close(second);
    assert_int_equal(scan->next(open, &cells, &feed.err), TR_OK);
    assert_string_equal(cells[0].ptr, "a");
    assert_int_equal(scan->next(open, &cells, &feed.err), TR_OK);
    assert_string_equal(cells[1].ptr, "$1,000.50");
    assert_int_equal(scan->next(open, &cells, &feed.err), TR_END);
    scan->close(open);
    const struct tr_table *missing = feed_table(2, "public", "missing", "k text k");
    assert_int_equal(scan->open(feed.sink, missing, NULL, &open, &feed.err), TR_FAIL);
    assert_int_equal(feed.err.class, TR_SCHEMA);
    findings[0] = '\0';
    assert_int_equal(tr_sink_postgres.drop(feed.sink, note, NULL, &feed.err), TR_OK);
    assert_non_null(strstr(findings, "1 stored marks removed"));
    ROWS("0\n", "SELECT count(*) FROM tailrace_position");
}

int main(void)
{
    const char *why = test_server_start(&server);
    if (why != NULL) {
        fprintf(stderr, "SKIPPED: %s\n", why);
        return getenv("CI") != NULL ? 1 : 77;
    }
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(changes_and_marks),
        TEST(coalescing),
        TEST(inserts_that_exist),
        TEST(types_round_trip),
        TEST(binary_bytes_and_nul),
        TEST(key_with_nul),
        TEST(enum_becomes_text),
        TEST(types_of_the_users_own),
        TEST(wide_table),
        TEST(odd_names),
        TEST(composite_key_without_other_columns),
        TEST(keyless),
        TEST(secondary_unique_swap),
        TEST(bad_row_among_many),
        TEST(foreign_keys_and_triggers),
        TEST(identity_and_generated),
        TEST(partitioned_target),
        TEST(no_index_on_the_key),
        TEST(truncates),
        TEST(giant_transaction),
        TEST(snapshot_load_and_resume),
        TEST(bad_raw_line),
        TEST(tuples),
        TEST(refused_tuple),
        TEST(tuples_for_another_target),
        TEST(tuples_are_taken),
        TEST(ddl_create_and_alter),
        TEST(ddl_twice),
        TEST(ddl_rename_and_drop_table),
        TEST(ddl_refused),
        TEST(table_creation_disabled),
        TEST(schema_override_and_missing_column),
        TEST(wrong_settings),
        TEST(two_processes),
        TEST(connection_lost),
        TEST(deadlock),
        TEST(lock_timeout_is_transient),
        TEST(interrupt_ends_a_wait),
        TEST(validate),
        TEST(scan_and_drop),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    test_server_stop(&server);
    return failed;
}
