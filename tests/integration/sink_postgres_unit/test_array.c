/* Array parameters against a real server: every value that goes in binary form must be, byte for
 * byte, what the server's own input function makes of its text; and rows that the sink brings must
 * equal rows that plain SQL literals make, whatever their columns' types are in the target.
 *
 * The seed of the random values is printed; TAILRACE_TEST_SEED repeats a run. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "feed.h"
#include "sink/postgres/array.h"
#include "sink/postgres/encode.h"

#define RANDOM_VALUES 3000
#define CELLS_MAX 4096
#define COPIED_ROWS 2500

static struct test_server server;
static struct feed feed;
static struct tr_cell cells[CELLS_MAX];
static const struct tr_cell *cell_list[CELLS_MAX];

static int set_up(void **state)
{
    (void)state;
    test_sql(server.admin, "DROP SCHEMA public CASCADE; CREATE SCHEMA public;"
                           "SET timezone = 'UTC'; SET datestyle = 'ISO, MDY';"
                           "SET extra_float_digits = 3; SET bytea_output = hex");
    feed_init(&feed, &server);
    feed_open(&feed);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    feed_free(&feed);
    return 0;
}

/* ---- values ---- */

static void set_cell(uint32_t i, const char *value)
{
    cells[i] =
        value == NULL
            ? (struct tr_cell){.state = TR_CELL_NULL}
            : (struct tr_cell){.ptr = value, .len = (uint32_t)strlen(value), .state = TR_CELL_TEXT};
    cell_list[i] = &cells[i];
}

/* The server reads both forms of cells[0, count) and compares what it has then. */
static void same_on_the_server(const char *type, uint32_t oid, uint32_t count)
{
    struct tr_outbuf binary = {0}, literal = {0};
    char sql[512], expected[64], found[128];
    assert_true(tr_pgs_array(&binary, oid, false, cell_list, count));
    for (uint32_t i = 0; i < count; i++) {
        tr_outbuf_byte(&literal, i == 0 ? '{' : ',');
        tr_pgs_array_item(&literal, &cells[i], false);
    }
    tr_outbuf_byte(&literal, '}');
    snprintf(sql, sizeof sql,
             "SELECT count(*), count(*) FILTER (WHERE pg_catalog.record_send(ROW(a)) ="
             " pg_catalog.record_send(ROW(b)) AND (a IS NULL) = (b IS NULL)) FROM"
             " (SELECT unnest($1::%s[]) AS a, unnest($2::%s[]) AS b) s",
             type, type);
    const char *params[] = {binary.data, tr_outbuf_cstr(&literal)};
    const int lengths[] = {(int)binary.len, 0}, formats[] = {1, 0};
    PGresult *result = PQexecParams(server.admin, sql, 2, NULL, params, lengths, formats, 0);
    if (PQresultStatus(result) != PGRES_TUPLES_OK)
        fail_msg("%s: %s", type, PQresultErrorMessage(result));
    snprintf(found, sizeof found, "%s %s of %s", type, PQgetvalue(result, 0, 1),
             PQgetvalue(result, 0, 0));
    snprintf(expected, sizeof expected, "%s %u of %u", type, count, count);
    assert_string_equal(found, expected);
    PQclear(result);
    tr_outbuf_free(&binary);
    tr_outbuf_free(&literal);
}

static void awkward_values(void **state)
{
    (void)state;
    static const struct {
        const char *type;
        uint32_t oid;
        const char *values[20];
    } cases[] = {
        {"bool", 16, {"t", "f"}},
        {"bytea", 17, {"\\x", "\\x00", "\\x5c78", "\\xdeadbeef00"}},
        {"int8",
         20,
         {"0", "-0", "-9223372036854775808", "9223372036854775807", "0000000000000000012"}},
        {"int2", 21, {"0", "-32768", "32767", "00001"}},
        {"int4", 23, {"0", "-2147483648", "2147483647", "010"}},
        {"text",
         25,
         {"", " ", "NULL", "null", "{}", "a,b", "\"", "\\", "\\x41", "\t\n\r", "é€😀", "\x01\x7f"}},
        {"oid", 26, {"0", "4294967295"}},
        {"json", 114, {"{}", "null", " {\"a\" : 1 }", "\"\\u00e9\"", "[1,2.50,1e5]"}},
        {"float4",
         700,
         {"0", "-0", "1.1", "3.4028235e+38", "1.17549435e-38", "16777217", "0.1", "1e-5",
          "123456.789"}},
        {"float8",
         701,
         {"0", "-0", "1.1", "1.7976931348623157e+308", "2.2250738585072014e-308", ".5", "5.",
          "9007199254740993", "0.1"}},
        {"bpchar", 1042, {"", " ", "ab  ", "abcdefghij"}},
        {"varchar", 1043, {"", " ", "ab  ", "NULL"}},
        {"date",
         1082,
         {"0001-01-01", "9999-12-31", "2000-02-29", "1600-02-29", "1970-01-01", "0099-12-31",
          "1582-10-10"}},
        {"time", 1083, {"00:00:00", "23:59:59.999999", "12:00:00.5", "12:00:00.000001"}},
        {"timestamp",
         1114,
         {"0001-01-01 00:00:00", "9999-12-31 23:59:59.999999", "1999-12-31 23:59:59.9",
          "1969-12-31 23:59:59.000001", "0004-02-29 12:34:56"}},
        {"timestamptz",
         1184,
         {"0001-01-01 00:00:00+00", "9999-12-31 23:59:59.999999+00", "2024-03-31 01:30:00.12+00",
          "1900-02-28 00:00:00+00"}},
        {"numeric",
         1700,
         {"0", "-0", "0.000", "-0.0", "1", "-1", "9999", "10000", "10001", "99999999", "100000000",
          "0.1", "0.0001", "0.00001", "-0.00010", "0001.10", "12345678901234567890.0987654321"}},
        {"uuid",
         2950,
         {"00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"}},
        {"jsonb",
         3802,
         {"{}", "null", " {\"b\" : 1, \"a\" : 2, \"a\":3 }", "\"\\u00e9\"", "[1,2.50,1e5]"}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint32_t count = 0;
        for (; cases[i].values[count] != NULL; count++)
            set_cell(count, cases[i].values[count]);
        set_cell(count++, NULL);
        same_on_the_server(cases[i].type, cases[i].oid, count);
    }
}

static double seed(void)
{
    const char *given = getenv("TAILRACE_TEST_SEED");
    unsigned long number = given != NULL ? strtoul(given, NULL, 10) : (unsigned long)time(NULL);
    fprintf(stderr, "TAILRACE_TEST_SEED=%lu\n", number);
    return (double)(number % 1000000) / 1000000;
}

static void random_values(void **state)
{
    (void)state;
    static const struct {
        const char *type;
        uint32_t oid;
        const char *sql;
    } cases[] = {
        {"int2", 21, "(random() * 65535 - 32768)::int"},
        {"int4", 23, "(random() * 4294967295 - 2147483648)::int8"},
        {"int8", 20, "((random() - 0.5) * 1.8e19)::int8"},
        {"float4", 700,
         "(sign(random() - 0.5) * (random() + 0.1) * 10 ^ (random() * 72 - 36))::float4"},
        {"float8", 701, "sign(random() - 0.5) * (random() + 0.1) * 10 ^ (random() * 600 - 300)"},
        {"date", 1082, "date '0001-01-01' + (random() * 3652058)::int"},
        {"time", 1083, "time '00:00' + random() * interval '86399.99 s'"},
        {"timestamp", 1114, "timestamp '0001-01-01' + random() * 3652058 * interval '1 day'"},
        {"timestamptz", 1184, "timestamptz '0001-01-01' + random() * 3652058 * interval '1 day'"},
        {"uuid", 2950, "md5(random()::text)::uuid"},
        {"numeric", 1700,
         "(sign(random() - 0.5) * random() * 10 ^ (random() * 40 - 15))::numeric(45, 12)"},
        {"numeric", 1700, "round(random()::numeric * 1000000, (random() * 9)::int)"},
        {"bytea", 17, "decode(left(md5(random()::text), (random() * 16)::int * 2), 'hex')"},
        {"text", 25, "repeat(chr((random() * 55000)::int + 1), (random() * 9)::int) || '\"\\,'"},
        {"jsonb", 3802, "json_build_object(random(), chr((random() * 55000)::int + 1))"},
    };
    test_sql(server.admin, "SELECT setseed(%f)", seed());
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char sql[512];
        snprintf(sql, sizeof sql, "SELECT (%s)::text FROM generate_series(1, %d)", cases[i].sql,
                 RANDOM_VALUES);
        PGresult *result = PQexec(server.admin, sql);
        assert_int_equal(PQntuples(result), RANDOM_VALUES);
        for (int row = 0; row < RANDOM_VALUES; row++)
            set_cell((uint32_t)row, PQgetvalue(result, row, 0));
        same_on_the_server(cases[i].type, cases[i].oid, RANDOM_VALUES);
        PQclear(result);
    }
}

/* ---- rows ---- */

#define COLUMNS                                                                                    \
    "id int4 PRIMARY KEY, b bool, i2 int2, i8 int8, f4 float4, f8 float8, n numeric(8,2), t text," \
    " vc varchar(5), bp bpchar(5), d date, tm time, ts timestamp, tz timestamptz, u uuid,"         \
    " by bytea, j json, jb jsonb, mood mood, pos pos, word name, wide int8, cut int4,"             \
    " zone timestamptz, day timestamp, list int4[]"
/* what they are in the source */
#define SOURCE                                                                                     \
    "id int4 k,b bool n,i2 int2 n,i8 int8 n,f4 float4 n,f8 float8 n,n numeric(10;2) n,t text n,"   \
    "vc varchar(5) n,bp bpchar(5) n,d date n,tm time n,ts timestamp n,tz timestamptz n,u text n,"  \
    "by bytea n,j json n,jb jsonb n,mood text n,pos int4 n,word text n,wide int4 n,cut text n,"    \
    "zone timestamp n,day date n,list int4[] n"

static const char *const rows[] = {
    /* the canonical forms: binary */
    "t|1|2|1.5|2.25|1234.56|a\"b\\{},|ab|ab|2024-02-29|10:11:12.5|2024-02-29 10:11:12.000001|"
    "2024-02-29 10:11:12+00|00112233-4455-6677-8899-aabbccddeeff|\\x00ff|{ \"a\":1}|{ "
    "\"a\":1}|ok|5|"
    "word|7|8|2024-02-29 10:11:12|2024-02-29|{1,NULL,3}",
    "f|-32768|-9223372036854775808|-0|-0|-0.01||||0001-01-01|00:00:00|0001-01-01 00:00:00|"
    "9999-12-31 23:59:59.999999+00|ffffffff-ffff-ffff-ffff-ffffffffffff|\\x|null|null|sad|1||0|-1|"
    "1969-12-31 23:59:59.9|9999-12-31|{}",
    "\\N|\\N|\\N|\\N|\\N|\\N|\\N|\\N|\\N|\\N|\\N|\\N|\\N|\\N|\\N|\\N|\\N|\\N|\\N|\\N|\\N|\\N|\\N|"
    "\\N|\\N",
    /* what only the server judges: literals */
    "true|+3| 4 |NaN|-Infinity|NaN|NULL|ab   |a    |infinity|24:00:00|-infinity|infinity|"
    "{00112233445566778899AABBCCDDEEFF}|abc|1|1|sad|2|"
    "a_name_that_is_longer_than_the_sixty_three_bytes_that_a_name_can_have|3| 9 |"
    "infinity|2024-02-29|{{1,2},{3,4}}",
    "no|0010|5|Infinity|1e300|12345.678|x|y|z|0044-03-15 BC|23:59:60|12345-06-07 08:09:10|"
    "0044-03-15 10:00:00+00 BC|00112233445566778899AABBCCDDEEFF|\\134|\"x\"|\"x\"|ok|3|n|4|11|"
    "2024-02-29 10:11:12|0001-01-01 BC|{4}",
    "off|6|7|1e-40|5e-324|1e2|y|v|w|20240229|10:11|2024-02-29 24:00:00|2024-02-29 "
    "10:11:12.1234567+02|"
    "00112233-4455-6677-8899-AABBCCDDEEFF|\\xAB|[]|[]|ok|4|n|5|12|2024-02-29 10:11|2024-02-29|{5}",
};
#define ROW_COUNT (sizeof rows / sizeof *rows)
#define PLAIN_ROWS 3 /* that many need no literal */

/* The same row by SQL literals, which the input functions of the columns' types read. */
static void insert_literals(int id, const char *row)
{
    char sql[4096];
    size_t len = (size_t)snprintf(sql, sizeof sql, "INSERT INTO want VALUES (%d", id);
    for (const char *at = row;;) {
        size_t value = strcspn(at, "|");
        bool null = value == 2 && memcmp(at, "\\N", 2) == 0;
        len += (size_t)snprintf(sql + len, sizeof sql - len, null ? ", NULL%.*s" : ", '%.*s'",
                                null ? 0 : (int)value, at);
        if (at[value] == '\0')
            break;
        at += value + 1;
    }
    test_sql(server.admin, "%s)", sql);
}

static const char *differing(void)
{
    return test_rows(server.admin,
                     "SELECT count(*), count(*) FILTER (WHERE pg_catalog.record_send(g) IS DISTINCT"
                     " FROM pg_catalog.record_send(w)) FROM got g FULL JOIN want w ON g.id = w.id");
}

static const struct tr_table *tables(void)
{
    test_sql(server.admin,
             "CREATE TYPE mood AS ENUM ('ok', 'sad'); CREATE DOMAIN pos AS int4 CHECK (VALUE > 0);"
             "CREATE TABLE got (" COLUMNS "); CREATE TABLE want (" COLUMNS ")");
    return feed_table(1, "public", "got", SOURCE);
}

static void send_row(const struct tr_table *table, enum tr_op op, int id, const char *row)
{
    char text[4096];
    snprintf(text, sizeof text, "%d|%s", id, row);
    feed_row(&feed, op, table, NULL, text, 0);
}

static void rows_equal_literals(void **state)
{
    (void)state;
    const struct tr_table *table = tables();
    int id = 0;
    /* a batch without and one with values that need literals, inserted and then updated */
    for (size_t most = PLAIN_ROWS; most <= ROW_COUNT; most += ROW_COUNT - PLAIN_ROWS) {
        for (size_t i = 0; i < most; i++) {
            send_row(table, TR_OP_CREATE, ++id, rows[i]);
            insert_literals(id, rows[i]);
        }
        feed_commit(&feed, "lsn", "0/1");
        feed_flush(&feed);
    }
    char expected[32];
    snprintf(expected, sizeof expected, "%d|0\n", id);
    assert_string_equal(differing(), expected);
    test_sql(server.admin, "TRUNCATE want");
    for (int k = 0; k < id; k++) {
        const char *row = rows[(size_t)(k + 1) % (k < PLAIN_ROWS ? PLAIN_ROWS : ROW_COUNT)];
        send_row(table, TR_OP_UPDATE, k + 1, row);
        insert_literals(k + 1, row);
        if (k + 1 == PLAIN_ROWS || k + 1 == id) {
            feed_commit(&feed, "lsn", "0/2");
            feed_flush(&feed);
        }
    }
    assert_string_equal(differing(), expected);
}

/* Enough new rows for COPY, as tuples; with one value for text behind the first piece; with it in
 * the first; and again after that. */
static void copied_rows_equal_literals(void **state)
{
    (void)state;
    const struct tr_table *table = feed_table(1, "public", "got",
                                              "id int4 k,n numeric(10;2) n,t text n,vc varchar(5) "
                                              "n,bp bpchar(5) n,tz timestamptz n,j jsonb n");
    static const char columns[] = "id int4 PRIMARY KEY, n numeric(8,1), t text, vc varchar(5),"
                                  " bp bpchar(5), tz timestamptz, j jsonb";
    static const int odd[] = {-1, COPIED_ROWS - 1, 0, -1};
    int id = 0;
    test_sql(server.admin, "CREATE TABLE got (%s); CREATE TABLE want (%s)", columns, columns);
    for (size_t round = 0; round < sizeof odd / sizeof *odd; round++) {
        for (int i = 0; i < COPIED_ROWS; i++) {
            const char *when = i == odd[round] ? "infinity" : "2024-02-29 10:11:12.5+00";
            char row[256];
            snprintf(row, sizeof row, "%d.%02d|a\tb\\\"%060d|%s|ab|%s|{\"a\": [%d]}", i - 900,
                     i % 100, i, i % 7 == 0 ? "\\N" : "vwxyz", when, i);
            send_row(table, TR_OP_CREATE, ++id, row);
            if (feed.batch->event_count + 2 >= TR_BATCH_EVENTS_MAX)
                feed_send(&feed);
        }
        test_sql(
            server.admin,
            "INSERT INTO want SELECT %d + i, (i - 900)::text::numeric + sign(i - 900.5) * (i %% "
            "100)"
            " / 100.0, E'a\\tb\\\\\"' || lpad(i::text, 60, '0'), CASE WHEN i %% 7 > 0 THEN 'vwxyz'"
            " END, 'ab', CASE i WHEN %d THEN 'infinity' ELSE '2024-02-29 10:11:12.5+00'"
            " END::timestamptz, json_build_object('a', ARRAY[i])::jsonb"
            " FROM generate_series(0, %d) i",
            id - COPIED_ROWS + 1, odd[round], COPIED_ROWS - 1);
        feed_commit(&feed, "lsn", "0/1");
        feed_flush(&feed);
    }
    char expected[32];
    snprintf(expected, sizeof expected, "%d|0\n", id);
    assert_string_equal(differing(), expected);
}

/* A type that changed behind the sink's back: no tuple is read as what it is not. */
static void copy_into_another_type(void **state)
{
    (void)state;
    const struct tr_table *table = feed_table(1, "public", "got", "id int4 k,v int8 n");
    test_sql(server.admin, "CREATE TABLE got (id int4 PRIMARY KEY, v int8)");
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < COPIED_ROWS; i++) {
            char row[32];
            snprintf(row, sizeof row, "%d", i);
            send_row(table, TR_OP_CREATE, round * COPIED_ROWS + i, row);
            if (feed.batch->event_count + 2 >= TR_BATCH_EVENTS_MAX)
                feed_send(&feed);
        }
        feed_commit(&feed, "lsn", "0/1");
        if (round == 1) /* eight bytes too */
            test_sql(server.admin, "ALTER TABLE got ALTER v TYPE float8");
        feed_flush(&feed);
    }
    char expected[64];
    snprintf(expected, sizeof expected, "%d|%d\n", 2 * COPIED_ROWS,
             COPIED_ROWS * (COPIED_ROWS - 1));
    assert_string_equal(test_rows(server.admin, "SELECT count(*), sum(v) FROM got"), expected);
}

/* The server refuses the same values as ever, and the error names the event. */
static void refused_values(void **state)
{
    (void)state;
    static const struct {
        const char *name, *type, *good, *bad;
    } cases[] = {
        {"d", "date n", "2024-01-01", "2023-02-29"},
        {"i", "int2 n", "1", "32768"},
        {"t", "text n", "a", "\xff"},
        {"j", "json n", "{}", "{"},
        {"b", "jsonb n", "{}", "nil"},
        {"z", "timestamptz n", "2024-01-01 00:00:00+00", "x"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char columns[64], row[80];
        snprintf(columns, sizeof columns, "id int4 k,%s %s", cases[i].name, cases[i].type);
        const struct tr_table *table = feed_table(i + 1, "public", cases[i].name, columns);
        feed_create(&feed, table);
        uint64_t bad_seq = 0;
        for (int id = 0; id < 9; id++) {
            snprintf(row, sizeof row, "%d|%s", id, id == 6 ? cases[i].bad : cases[i].good);
            feed_row(&feed, TR_OP_CREATE, table, NULL, row, 0);
            bad_seq = id == 6 ? feed.seq : bad_seq;
        }
        feed_commit(&feed, "lsn", "0/1");
        feed_send(&feed);
        assert_int_equal(tr_sink_postgres.flush(feed.writer, 1000, &feed.err), TR_FAIL);
        assert_int_equal(feed.err.code, TR_E_PGSINK_VALUE);
        assert_int_equal(feed.err.seq, bad_seq);
        assert_string_equal(test_rows(server.admin, "SELECT count(*) FROM %s", cases[i].name),
                            "0\n");
        feed_close(&feed);
        feed_open(&feed);
    }
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
        TEST(awkward_values),         TEST(random_values),
        TEST(rows_equal_literals),    TEST(copied_rows_equal_literals),
        TEST(copy_into_another_type), TEST(refused_values),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    test_server_stop(&server);
    return failed;
}
