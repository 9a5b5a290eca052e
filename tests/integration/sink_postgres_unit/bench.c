/* What the PostgreSQL sink costs: rows a second, and CPU seconds of this process and of its backend
 * for a million row changes. Not a test; run bench_sink_postgres [rows]. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "feed.h"

static struct test_server server;
static struct feed feed;
static const struct tr_table *table;
static long rows = 1000000, version;

static double own_cpu(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)usage.ru_utime.tv_sec + (double)usage.ru_utime.tv_usec / 1e6 +
           (double)usage.ru_stime.tv_sec + (double)usage.ru_stime.tv_usec / 1e6;
}

static double backend_cpu(void)
{
    char path[64], text[1024];
    unsigned long user = 0, sys = 0;
    const char *pid =
        test_rows(server.admin, "SELECT pid FROM pg_locks WHERE locktype = 'advisory'");
    snprintf(path, sizeof path, "/proc/%ld/stat", strtol(pid, NULL, 10));
    FILE *file = fopen(path, "r");
    if (file == NULL || fgets(text, sizeof text, file) == NULL)
        abort();
    fclose(file);
    sscanf(strrchr(text, ')') + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user,
           &sys);
    return (double)(user + sys) / (double)sysconf(_SC_CLK_TCK);
}

/* Keys in an order that is neither sorted nor repeated: a stride that has no common factor with
 * rows. */
static long key_of(long i, bool scattered) { return scattered ? i * 700001 % rows : i; }

static void one_event(enum tr_op op, long key, long i)
{
    char text[160];
    if (op == TR_OP_READ) {
        snprintf(text, sizeof text,
                 "%ld\t%ld\t%ld.25\t2024-01-02 03:04:05.%06ld+00\tsome note text %ld for row\n",
                 key, i % 9999, i % 1000, i % 1000000, i);
        feed_raw(&feed, table, text);
        return;
    }
    snprintf(text, sizeof text,
             "%ld|%ld|%ld.25|2024-01-02 03:04:05.%06ld+00|some note text %ld for row", key,
             table->version_column > 0 ? ++version : i % 9999, i % 1000, i % 1000000, i);
    if (op == TR_OP_DELETE) {
        bool versions = table->version_column > 0;
        if (versions)
            snprintf(text, sizeof text, "%ld|%ld|!|!|!", key, ++version);
        else
            snprintf(text, sizeof text, "%ld|!|!|!|!", key);
        feed_row(&feed, op, table, text, NULL, versions ? 0 : TR_EV_BEFORE_KEY_ONLY);
    } else {
        feed_row(&feed, op, table, NULL, text, 0);
    }
}

/* Batches are made first and sent after, so that only the sink is measured. */
static void measure(const char *name, enum tr_op op, bool scattered, long per_transaction,
                    long flush_rows)
{
    double own = 0, backend_before = backend_cpu();
    int64_t wall_us = 0;
    for (long i = 0; i < rows; i++) {
        one_event(op, key_of(i, scattered), i);
        if ((i + 1) % per_transaction == 0)
            feed_commit(&feed, "lsn", "0/1");
        bool flush = (i + 1) % flush_rows == 0 || i + 1 == rows;
        if (feed.batch->event_count + 3 < TR_BATCH_EVENTS_MAX && !flush)
            continue;
        double cpu = own_cpu();
        int64_t start_us = tr_clock_mono_us();
        if (flush)
            feed_flush(&feed);
        else
            feed_send(&feed);
        wall_us += tr_clock_mono_us() - start_us;
        own += own_cpu() - cpu;
    }
    double backend = backend_cpu() - backend_before, scale = 1e6 / (double)rows;
    printf("%-38s %8.0f rows/s   CPU s per million: sink %5.2f + backend %5.2f = %5.2f\n", name,
           (double)rows / ((double)wall_us / 1e6), own * scale, backend * scale,
           (own + backend) * scale);
    fflush(stdout);
}

static void bench(void **state)
{
    (void)state;
    feed_init(&feed, &server);
    feed_open(&feed);
    table = feed_table(1, "public", "t",
                       "id int8 k,a int4 n,n numeric(10;2) n,ts timestamptz n,note text n");
    feed_create(&feed, table);
    measure("snapshot, raw lines", TR_OP_READ, false, 100000, 1000000);
    measure("deletes", TR_OP_DELETE, false, 100, 20000);
    test_sql(server.admin, "VACUUM ANALYZE t");
    measure("inserts", TR_OP_CREATE, false, 100, 20000);
    test_sql(server.admin, "VACUUM ANALYZE t");
    test_sql(server.admin, "CHECKPOINT");
    measure("updates, keys in order", TR_OP_UPDATE, false, 100, 20000);
    test_sql(server.admin, "VACUUM ANALYZE t");
    test_sql(server.admin, "CHECKPOINT");
    measure("updates, keys scattered", TR_OP_UPDATE, true, 100, 20000);
    test_sql(server.admin, "VACUUM ANALYZE t");
    test_sql(server.admin, "CHECKPOINT");
    measure("updates, keys scattered, txn of 1", TR_OP_UPDATE, true, 1, 20000);
    measure("inserts that exist", TR_OP_CREATE, false, 100, 20000);
    /* the same keys under last write wins: each row newer than the one before */
    struct tr_table spec, *newest;
    tr_table_spec(table, &spec);
    spec.id.table = "newest";
    spec.version_column = 2;
    struct tr_error err;
    assert_int_equal(tr_table_new(&spec, &newest, &err), TR_OK);
    const struct tr_table *plain = table;
    table = newest;
    feed_create(&feed, newest);
    measure("last write wins, new rows", TR_OP_CREATE, false, 100, 20000);
    test_sql(server.admin, "VACUUM ANALYZE newest");
    test_sql(server.admin, "CHECKPOINT");
    measure("last write wins, rows that exist", TR_OP_CREATE, false, 100, 20000);
    measure("last write wins, keys scattered", TR_OP_UPDATE, true, 100, 20000);
    measure("last write wins, deletes", TR_OP_DELETE, false, 100, 20000);
    measure("last write wins, rows come back", TR_OP_CREATE, false, 100, 20000);
    table = plain;
    tr_table_unref(newest);
    long all = rows;
    rows = rows < 20000 ? rows : 20000;
    measure("updates, flush after each", TR_OP_UPDATE, false, 1, 1);
    rows = all;
    feed_free(&feed);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        rows = strtol(argv[1], NULL, 10);
    const char *why = test_server_start(&server);
    if (why != NULL) {
        fprintf(stderr, "SKIPPED: %s\n", why);
        return 77;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(bench)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    test_server_stop(&server);
    return failed;
}
