/* Random transactions against a model: after each flush the target is the model as it was at the
 * last COMMIT event. Small buffers, unchanged values, key changes, unique values that move between
 * rows, truncates, reopening. And the same with kill -9 at every failpoint: a child applies the
 * stream, dies, and the next one goes on from the stored mark.
 *
 * The seed is printed; TAILRACE_TEST_SEED repeats a run. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/failpoint.h"
#include "feed.h"

#define KEYS 24
#define TRANSACTIONS 160
#define CRASH_TRANSACTIONS 60
#define DEATHS_MAX 12

static struct test_server server;
static struct feed feed;

struct row {
    bool there;
    int u;      /* unique over all rows where the flavour says so; -1 NULL */
    int v, big; /* big is the TOASTed one: left out when it did not change */
};
struct model {
    struct row rows[KEYS];
};
enum flavour { PLAIN, UNIQUE, ORDERED, NO_INDEX, KEYLESS, FLAVOURS };
static const char *const flavour_names[] = {"plain", "second unique key", "row by row", "no index",
                                            "no key"};
static const char *const tables_sql[] = {
    "CREATE TABLE t (id int PRIMARY KEY, u int, v int, big text)",
    "CREATE TABLE t (id int PRIMARY KEY, u int UNIQUE, v int, big text)",
    "CREATE TABLE t (id int PRIMARY KEY, u int UNIQUE, v int, big text);"
    "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';"
    "CREATE TRIGGER x BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION f();"
    "ALTER TABLE t ENABLE ALWAYS TRIGGER x",
    "CREATE TABLE t (id int, u int, v int, big text)",
    "CREATE TABLE t (id int, u int, v int, big text)",
};

static unsigned long long random_state;
static unsigned below(unsigned n)
{
    random_state = random_state * 6364136223846793005ull + 1442695040888963407ull;
    return (unsigned)(random_state >> 33) % n;
}

static const struct tr_table *table_of(enum flavour flavour)
{
    return flavour == KEYLESS
               ? feed_table(1, "public", "t", "id int4 n,u int4 n,v int4 n,big text n")
               : feed_table(1, "public", "t", "id int4 k,u int4 n,v int4 n,big text n");
}

static char *text_of(int id, const struct row *row, bool with_big, char *buf, size_t size)
{
    char u[16], big[32];
    snprintf(u, sizeof u, row->u < 0 ? "\\N" : "%d", row->u);
    snprintf(big, sizeof big, with_big ? "big{%d}" : "~", row->big);
    snprintf(buf, size, "%d|%s|%d|%s", id, u, row->v, big);
    return buf;
}

static void emit(enum tr_op op, const struct tr_table *t, int old_id, const struct row *old, int id,
                 const struct row *new, bool keyless)
{
    char before[80], after[80];
    unsigned flags = 0;
    bool with_big =
        op != TR_OP_UPDATE || old == NULL || new == NULL || old->big != new->big || below(2) == 0;
    if (op == TR_OP_UPDATE && old_id != id)
        flags |= TR_EV_KEY_CHANGED;
    if (old != NULL && !keyless)
        snprintf(before, sizeof before, "%d|!|!|!", old_id);
    else if (old != NULL)
        text_of(old_id, old, true, before, sizeof before);
    bool send_before = old != NULL && (keyless || op == TR_OP_DELETE || old_id != id);
    if (send_before && !keyless)
        flags |= TR_EV_BEFORE_KEY_ONLY;
    feed_row(&feed, op, t, send_before ? before : NULL,
             new == NULL ? NULL : text_of(id, new, with_big, after, sizeof after), flags);
}

static int free_unique(const struct model *model)
{
    for (;;) {
        int u = (int)below(KEYS * 2);
        bool used = false;
        for (int i = 0; i < KEYS; i++)
            used |= model->rows[i].there && model->rows[i].u == u;
        if (!used)
            return below(6) == 0 ? -1 : u;
    }
}

/* One random change of the model, and its events. */
static void change(struct model *model, const struct tr_table *t, bool keyless)
{
    int id = (int)below(KEYS), other = (int)below(KEYS);
    struct row *row = &model->rows[id], old = *row;
    if (!row->there) {
        *row = (struct row){true, free_unique(model), (int)below(100), (int)below(100)};
        emit(TR_OP_CREATE, t, 0, NULL, id, row, keyless);
        return;
    }
    switch (below(6)) {
    case 0:
        row->there = false;
        emit(TR_OP_DELETE, t, id, &old, 0, NULL, keyless);
        break;
    case 1: /* the row gets another key */
        if (model->rows[other].there)
            break;
        row->there = false;
        model->rows[other] = old;
        model->rows[other].v++;
        emit(TR_OP_UPDATE, t, id, &old, other, &model->rows[other], keyless);
        break;
    case 2: /* two rows swap their unique value through NULL */
        if (other == id || !model->rows[other].there)
            break;
        row->u = -1;
        emit(TR_OP_UPDATE, t, id, &old, id, row, keyless);
        struct row *second = &model->rows[other], second_old = *second, middle = *row;
        second->u = old.u;
        emit(TR_OP_UPDATE, t, other, &second_old, other, second, keyless);
        row->u = second_old.u;
        emit(TR_OP_UPDATE, t, id, &middle, id, row, keyless);
        break;
    case 3:
        row->big = (int)below(100);
        emit(TR_OP_UPDATE, t, id, &old, id, row, keyless);
        break;
    default:
        row->v = (int)below(100);
        if (below(3) == 0)
            row->u = free_unique(model);
        emit(TR_OP_UPDATE, t, id, &old, id, row, keyless);
    }
}

static void transaction(struct model *model, const struct tr_table *t, bool keyless,
                        unsigned number)
{
    char lsn[32];
    for (unsigned i = below(below(10) == 0 ? 60 : 8); i > 0; i--)
        change(model, t, keyless);
    if (below(40) == 0) {
        memset(model, 0, sizeof *model);
        feed_truncate(&feed, t, 0);
        change(model, t, keyless);
    }
    snprintf(lsn, sizeof lsn, "%u", number);
    feed_commit(&feed, "txn", lsn);
}

static void compare(const struct model *model, const char *where)
{
    char expected[KEYS * 64];
    size_t at = 0;
    expected[0] = '\0';
    for (int i = 0; i < KEYS; i++) {
        const struct row *row = &model->rows[i];
        char u[16];
        snprintf(u, sizeof u, row->u < 0 ? "~" : "%d", row->u);
        if (row->there)
            at += (size_t)snprintf(expected + at, sizeof expected - at, "%d|%s|%d|big{%d}\n", i, u,
                                   row->v, row->big);
    }
    const char *found = test_rows(server.admin, "SELECT id, u, v, big FROM t ORDER BY id");
    if (strcmp(found, expected) != 0)
        fail_msg("%s (seed in the output)\nexpected:\n%sfound:\n%s", where, expected, found);
}

static void fresh_table(enum flavour flavour)
{
    test_sql(server.admin, "DROP SCHEMA public CASCADE; CREATE SCHEMA public");
    test_sql(server.admin, "%s", tables_sql[flavour]);
}

static void random_stream(enum flavour flavour)
{
    struct model model = {0}, committed = {0};
    fresh_table(flavour);
    feed_init(&feed, &server);
    static const int64_t rows[] = {1, 3, 10, 50, 100000};
    feed.config.options.apply_rows = rows[below(5)];
    feed_open(&feed);
    const struct tr_table *t = table_of(flavour);
    for (unsigned i = 1; i <= TRANSACTIONS; i++) {
        transaction(&model, t, flavour == KEYLESS, i);
        committed = model;
        if (below(4) == 0)
            feed_send(&feed);
        if (below(6) == 0) { /* a part of the next transaction is there already */
            struct model ahead = model;
            for (unsigned k = below(20); k > 0; k--)
                change(&ahead, t, flavour == KEYLESS);
            feed_send(&feed);
            feed_flush(&feed);
            compare(&committed, flavour_names[flavour]);
            model = ahead;
        } else if (below(8) == 0) {
            feed_flush(&feed);
            compare(&committed, flavour_names[flavour]);
        }
        if (below(50) == 0) {
            feed_commit(&feed, "txn", "x");
            feed_flush(&feed);
            feed_close(&feed);
            feed_open(&feed);
        }
    }
    feed_commit(&feed, "txn", "end");
    feed_flush(&feed);
    compare(&model, flavour_names[flavour]);
    feed_free(&feed);
}

static void target_equals_model(void **state)
{
    (void)state;
    for (int round = 0; round < 4; round++) {
        for (int flavour = 0; flavour < FLAVOURS; flavour++)
            random_stream((enum flavour)flavour);
    }
}

/* ---- crashes ---- */

/* Runs the whole stream of this seed; what the mark covers is generated, but not sent. */
static void run_stream(enum flavour flavour, unsigned long long seed, struct model *model)
{
    feed_init(&feed, &server);
    feed.config.options.apply_rows = 7;
    feed_open(&feed);
    const char *mark = tr_state_get(&feed.marks, "txn");
    unsigned done = mark == NULL ? 0 : (unsigned)strtoul(mark, NULL, 10);
    const struct tr_table *t = table_of(flavour);
    random_state = seed;
    memset(model, 0, sizeof *model);
    for (unsigned i = 1; i <= CRASH_TRANSACTIONS; i++) {
        transaction(model, t, flavour == KEYLESS, i);
        bool flush = below(5) == 0;
        if (i <= done) {
            tr_batch_reset(feed.batch); /* the source would not send it again */
            continue;
        }
        feed_send(&feed);
        if (flush)
            feed_flush(&feed);
    }
    if (done < CRASH_TRANSACTIONS)
        feed_flush(&feed);
}

/* This binary again: a child of its own, which a failpoint may kill. */
static int spawn_child(enum flavour flavour, unsigned long long seed, unsigned deaths,
                       const char *point)
{
    char failpoint[96], flavour_text[16], seed_text[32], port[16];
    unsigned long long keep = random_state;
    random_state = seed + deaths;
    snprintf(failpoint, sizeof failpoint, "%s=kill@%u", point, 1 + below(6));
    random_state = keep;
    snprintf(flavour_text, sizeof flavour_text, "%d", (int)flavour);
    snprintf(seed_text, sizeof seed_text, "%llu", seed);
    snprintf(port, sizeof port, "%d", server.port);
    fflush(NULL);
    int pid = fork();
    if (pid != 0)
        return pid;
    if (deaths < DEATHS_MAX)
        setenv("TAILRACE_FAILPOINT", failpoint, 1);
    execl("/proc/self/exe", "child", flavour_text, seed_text, port, (char *)NULL);
    _exit(127);
}

static int child_flavour;
static unsigned long long child_seed;

static void as_child(void **state)
{
    struct model model;
    (void)state;
    run_stream((enum flavour)child_flavour, child_seed, &model);
    feed_free(&feed);
}

static void nothing_lost_or_twice(void **state)
{
    (void)state;
    static const char *const points[] = {"sink.postgres.before_commit",
                                         "sink.postgres.after_commit", "sink.postgres.mid_batch",
                                         "sink.postgres.write"};
    for (int flavour = 0; flavour < FLAVOURS; flavour++) {
        for (size_t p = 0; p < sizeof points / sizeof *points; p++) {
            unsigned long long seed = random_state;
            unsigned deaths = 0;
            struct model model;
            fresh_table((enum flavour)flavour);
            for (;;) {
                int status, pid = spawn_child((enum flavour)flavour, seed, deaths, points[p]);
                assert_int_equal(waitpid(pid, &status, 0), pid);
                if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
                    break;
                assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
                assert_true(++deaths <= DEATHS_MAX);
            }
            assert_true(deaths > 0);
            run_stream((enum flavour)flavour, seed, &model);
            compare(&model, points[p]);
            feed_free(&feed);
            random_state = seed * 31 + 7;
        }
    }
}

int main(int argc, char **argv)
{
    if (argc == 4) {
        const struct CMUnitTest child[] = {cmocka_unit_test(as_child)};
        child_flavour = atoi(argv[1]);
        child_seed = strtoull(argv[2], NULL, 10);
        server.port = atoi(argv[3]);
        tr_failpoint_init();
        return cmocka_run_group_tests(child, NULL, NULL);
    }
    const char *seed = getenv("TAILRACE_TEST_SEED");
    random_state = seed != NULL ? strtoull(seed, NULL, 10)
                                : (unsigned long long)time(NULL) ^ (unsigned)getpid();
    fprintf(stderr, "TAILRACE_TEST_SEED=%llu\n", random_state);
    const char *why = test_server_start(&server);
    if (why != NULL) {
        fprintf(stderr, "SKIPPED: %s\n", why);
        return getenv("CI") != NULL ? 1 : 77;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(target_equals_model),
        cmocka_unit_test(nothing_lost_or_twice),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    test_server_stop(&server);
    return failed;
}
