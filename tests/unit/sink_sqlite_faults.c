/* The SQLite sink: crashes, full disks, locks, damaged and foreign files, bounded memory. */
#include "sink_sqlite_support.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/failpoint.h"

static const struct tr_column columns[] = {{.name = "id", .type = TR_T_INT32, .key_index = 1},
                                           {.name = "v", .type = TR_T_STRING, .nullable = true},
                                           {.name = NULL}};
static struct rig rig;
static struct tr_table *table;

/* A failed assertion in a child goes back into the runner: the child must not run the other tests.
 */
static pid_t parent;

static int setup(void **state)
{
    (void)state;
    if (getpid() != parent)
        _exit(1);
    rig_start(&rig);
    table = table_of("t", columns);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    if (getpid() != parent)
        _exit(1);
    tr_table_unref(table);
    rig_end(&rig);
    return 0;
}

/* ---- crashes -------------------------------------------------------------------------------- */

#define IDS 40
#define TRANSACTIONS 120
#define CHANGES_PER_TRANSACTION 7

/* Change c of transaction n: a row is set or, for every fifth, deleted. The same in every run. */
static unsigned mixed(unsigned n, unsigned c) { return (n * 2654435761u + c * 40503u) >> 7; }

static void replay(char model[IDS][16], unsigned last)
{
    memset(model, 0, IDS * sizeof model[0]);
    for (unsigned n = 1; n <= last; n++) {
        for (unsigned c = 0; c < CHANGES_PER_TRANSACTION; c++) {
            unsigned id = mixed(n, c) % IDS;
            if (mixed(n, c) / IDS % 5 == 0)
                model[id][0] = '\0';
            else
                (void)snprintf(model[id], sizeof model[id], "%u-%u", n, c);
        }
    }
}

static unsigned stored_transaction(void)
{
    struct tr_state marks;
    tr_state_init(&marks);
    assert_ok(&rig, tr_sink_sqlite.load_marks(rig.sink, &marks, &rig.err));
    const char *text = tr_state_get(&marks, "n");
    unsigned number = text != NULL ? (unsigned)strtoul(text, NULL, 10) : 0;
    tr_state_free(&marks);
    return number;
}

/* The rows are those of exactly the transactions that the marks name. */
static void check_equal(unsigned last)
{
    char model[IDS][16], expected[IDS * 32] = "";
    size_t len = 0;
    replay(model, last);
    for (int id = 0; id < IDS; id++) {
        if (model[id][0] != '\0')
            len += (size_t)snprintf(expected + len, sizeof expected - len, "%s%d|%s",
                                    len ? "\n" : "", id, model[id]);
    }
    assert_query(&rig, "SELECT id, v FROM t ORDER BY id", expected);
    assert_query(&rig, "PRAGMA integrity_check", "ok");
}

/* What the engine does: goes on behind the stored marks, in batches that cut transactions. */
static void go_on(void)
{
    create(&rig, table);
    for (unsigned n = stored_transaction() + 1; n <= TRANSACTIONS; n++) {
        char number[16], id[16], value[16];
        for (unsigned c = 0; c < CHANGES_PER_TRANSACTION; c++) {
            (void)snprintf(id, sizeof id, "%u", mixed(n, c) % IDS);
            (void)snprintf(value, sizeof value, "%u-%u", n, c);
            if (mixed(n, c) / IDS % 5 == 0)
                put(&rig, TR_OP_DELETE, table, ROW(id, ABSENT), NULL);
            else
                put(&rig, TR_OP_CREATE, table, NULL, ROW(id, value));
            if ((n + c) % 11 == 0)
                assert_ok(&rig, send_batch(&rig));
        }
        (void)snprintf(number, sizeof number, "%u", n);
        put_commit(&rig, "n", number);
        if (n % 5 == 0) {
            assert_ok(&rig, send_batch(&rig));
            assert_ok(&rig, tr_sink_sqlite.flush(rig.writer, 1000, &rig.err));
        }
    }
    assert_ok(&rig, send_batch(&rig));
    assert_ok(&rig, tr_sink_sqlite.flush(rig.writer, 1000, &rig.err));
}

static void killed_at_every_failpoint(void **state)
{
    (void)state;
    static const char *const points[] = {"sink.sqlite.before_commit", "sink.sqlite.after_commit",
                                         "sink.sqlite.mid_batch", "sink.sqlite.write"};
    unsigned kills = 0;
    rig_close(&rig);
    for (unsigned round = 0; round < 400; round++) {
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            char spec[100];
            (void)snprintf(spec, sizeof spec, "%s=kill@%u", points[round % 4],
                           round % 4 == 3 ? 3 + mixed(round, 1) % 90 : 1 + mixed(round, 2) % 9);
            (void)setenv("TAILRACE_FAILPOINT", spec, 1);
            tr_failpoint_init();
            rig_open(&rig);
            go_on();
            _exit(0);
        }
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        rig_open(&rig);
        unsigned last = stored_transaction();
        if (last > 0)
            check_equal(last);
        if (WIFEXITED(status)) {
            assert_int_equal(WEXITSTATUS(status), 0);
            assert_int_equal(last, TRANSACTIONS);
            break;
        }
        assert_int_equal(WTERMSIG(status), SIGKILL);
        kills++;
        rig_close(&rig);
    }
    assert_true(kills >= 4);
    check_equal(TRANSACTIONS);
}

/* ---- errors that a retry mends -------------------------------------------------------------- */

/* Runs `body` in a child, where limits and failpoints harm no other test. */
static void in_child(void (*body)(void))
{
    rig_close(&rig);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        rig_open(&rig);
        body();
        _exit(17); /* cmocka's asserts end the child in another way */
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 17);
    rig_open(&rig);
}

static void fail_once(const char *spec, enum tr_code code)
{
    (void)setenv("TAILRACE_FAILPOINT", spec, 1);
    tr_failpoint_init();
    create(&rig, table);
    put(&rig, TR_OP_CREATE, table, NULL, ROW("1", "first"));
    put_commit(&rig, "n", "1");
    enum tr_status status = send_batch(&rig);
    if (status == TR_OK)
        status = tr_sink_sqlite.flush(rig.writer, 1000, &rig.err);
    assert_int_equal(status, TR_FAIL);
    assert_int_equal(rig.err.code, code);
    assert_int_equal(rig.err.class, TR_TRANSIENT);
    assert_int_equal(tr_sink_sqlite.durable_seq(rig.writer), 0);
    /* the writer stays broken; a new one goes on from the marks */
    assert_code(&rig, code, tr_sink_sqlite.flush(rig.writer, 1000, &rig.err));
    put(&rig, TR_OP_CREATE, table, NULL, ROW("2", "x"));
    assert_code(&rig, code, send_batch(&rig));
    assert_code(&rig, code, apply(&rig, TR_CHANGE_CREATE_TABLE, NULL, table, NULL, 0));
    rig_close(&rig);
    rig_open(&rig);
    assert_int_equal(stored_transaction(), 0);
    create(&rig, table);
    put(&rig, TR_OP_CREATE, table, NULL, ROW("1", "again"));
    put_commit(&rig, "n", "1");
    assert_ok(&rig, send_batch(&rig));
    assert_ok(&rig, tr_sink_sqlite.flush(rig.writer, 1000, &rig.err));
    assert_query(&rig, "SELECT v FROM t", "again");
}

static void commit_enospc(void)
{
    fail_once("sink.sqlite.before_commit=enospc@1", TR_E_SQLITE_DISK_FULL);
}
static void commit_error(void) { fail_once("sink.sqlite.before_commit=error@1", TR_E_SQLITE_IO); }
static void write_enospc(void) { fail_once("sink.sqlite.write=enospc@1", TR_E_SQLITE_DISK_FULL); }
static void batch_error(void) { fail_once("sink.sqlite.mid_batch=error@1", TR_E_SQLITE_IO); }

static void injected_errors(void **state)
{
    (void)state;
    void (*const bodies[])(void) = {commit_enospc, commit_error, write_enospc, batch_error};
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        in_child(bodies[i]);
        execute(&rig, "DROP TABLE t; DELETE FROM tailrace_position");
    }
}

static void file_size_limit(void)
{
    struct rlimit limit = {256 << 10, 2 << 20};
    char value[2001];
    (void)memset(value, 'x', sizeof value - 1);
    value[2000] = '\0';
    create(&rig, table);
    put(&rig, TR_OP_CREATE, table, NULL, ROW("0", "before"));
    put_commit(&rig, "n", "1");
    assert_ok(&rig, send_batch(&rig));
    assert_ok(&rig, tr_sink_sqlite.flush(rig.writer, 1000, &rig.err));
    uint64_t durable = tr_sink_sqlite.durable_seq(rig.writer);
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    for (int i = 1; i < 300; i++) {
        char id[8];
        (void)snprintf(id, sizeof id, "%d", i);
        put(&rig, TR_OP_CREATE, table, NULL, ROW(id, value));
    }
    put_commit(&rig, "n", "2");
    enum tr_status status = send_batch(&rig);
    if (status == TR_OK)
        status = tr_sink_sqlite.flush(rig.writer, 1000, &rig.err);
    assert_int_equal(status, TR_FAIL);
    if (rig.err.code != TR_E_SQLITE_DISK_FULL)
        fail_msg("%s | %s", rig.err.message, rig.err.detail);
    assert_int_equal(rig.err.class, TR_TRANSIENT);
    assert_int_equal(tr_sink_sqlite.durable_seq(rig.writer), durable);
    /* room again: what was there is there, and the rest goes through */
    limit.rlim_cur = limit.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    rig_close(&rig);
    rig_open(&rig);
    assert_int_equal(stored_transaction(), 1);
    assert_query(&rig, "SELECT id, v FROM t", "0|before");
    create(&rig, table);
    put(&rig, TR_OP_CREATE, table, NULL, ROW("1", value));
    put_commit(&rig, "n", "2");
    assert_ok(&rig, send_batch(&rig));
    assert_ok(&rig, tr_sink_sqlite.flush(rig.writer, 1000, &rig.err));
    assert_query(&rig, "PRAGMA integrity_check", "ok");
}

static void full_disk(void **state)
{
    (void)state;
    in_child(file_size_limit);
    assert_query(&rig, "SELECT count(*) FROM t", "2");
}

static void locked_by_another(void **state)
{
    (void)state;
    sqlite3 *other = NULL;
    create(&rig, table);
    send_commit(&rig, "0/1");
    assert_int_equal(sqlite3_open(rig.path, &other), SQLITE_OK);
    /* a reader is in nobody's way */
    assert_int_equal(sqlite3_exec(other, "BEGIN; SELECT * FROM t", NULL, NULL, NULL), SQLITE_OK);
    put(&rig, TR_OP_CREATE, table, NULL, ROW("1", "x"));
    send_commit(&rig, "0/2");
    assert_int_equal(sqlite3_exec(other, "COMMIT; BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    put(&rig, TR_OP_CREATE, table, NULL, ROW("2", "x"));
    put_commit(&rig, "lsn", "0/3");
    assert_ok(&rig, send_batch(&rig)); /* it waits in memory */
    assert_code(&rig, TR_E_SQLITE_BUSY, tr_sink_sqlite.flush(rig.writer, 0, &rig.err));
    assert_int_equal(rig.err.class, TR_TRANSIENT);
    assert_int_equal(sqlite3_exec(other, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
    (void)sqlite3_close(other);
    rig_close(&rig);
    rig_open(&rig);
    put(&rig, TR_OP_CREATE, table, NULL, ROW("2", "x"));
    send_commit(&rig, "0/3");
    assert_query(&rig, "SELECT count(*) FROM t", "2");
}

/* ---- files that cannot be used -------------------------------------------------------------- */

static enum tr_status try_open(void)
{
    void *sink = NULL, *writer = NULL;
    enum tr_status status = tr_sink_sqlite.open(&rig.config, &rig.context, &sink, &rig.err);
    if (status == TR_OK) {
        status = tr_sink_sqlite.writer_open(sink, 0, &writer, &rig.err);
        tr_sink_sqlite.writer_close(writer);
    }
    tr_sink_sqlite.close(sink);
    return status;
}

static void unusable_paths(void **state)
{
    (void)state;
    static char path[128];
    static const char *const bad[] = {"", ":memory:", "/no/such/folder/x.db", "/tmp", "/tmp/"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        rig.config.options.path = bad[i];
        assert_code(&rig, TR_E_SQLITE_CANNOT_OPEN, try_open());
        assert_int_equal(rig.err.class, TR_CONFIG);
        assert_true(rig.err.hint[0] != '\0');
    }
    (void)snprintf(path, sizeof path, "%s/text", rig.dir);
    rig.config.options.path = path;
    FILE *file = fopen(path, "w");
    for (int i = 0; i < 2000; i++)
        (void)fputs("this is no database\n", file);
    (void)fclose(file);
    assert_code(&rig, TR_E_SQLITE_NOT_A_DATABASE, try_open());
    /* a name that SQLite would take for a URI is a file's name here */
    (void)snprintf(path, sizeof path, "%s/file:x?mode=memory", rig.dir);
    assert_ok(&rig, try_open());
    assert_int_equal(access(path, F_OK), 0);
    /* a writer in another partition */
    void *writer;
    assert_code(&rig, TR_E_CAPABILITY, tr_sink_sqlite.writer_open(rig.sink, 1, &writer, &rig.err));
    execute(&rig, "DROP TABLE tailrace_position; CREATE TABLE tailrace_position (x)");
    rig.config.options.path = rig.path;
    assert_code(&rig, TR_E_SQLITE_POSITION_TABLE, try_open());
}

static void as_nobody(void)
{
    /* root may write anywhere: become somebody else */
    if (geteuid() == 0)
        assert_int_equal(seteuid(65534), 0);
    assert_code(&rig, TR_E_SQLITE_CANNOT_OPEN, try_open());
    assert_int_equal(rig.err.class, TR_CONFIG);
}

static void no_right_to_write(void **state)
{
    (void)state;
    create(&rig, table);
    send_commit(&rig, "0/1");
    rig_close(&rig);
    assert_int_equal(chmod(rig.path, 0444), 0);
    assert_int_equal(chmod(rig.dir, 0555), 0);
    pid_t child = fork();
    if (child == 0) {
        as_nobody();
        _exit(17);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 17);
    assert_int_equal(chmod(rig.dir, 0755), 0);
    assert_int_equal(chmod(rig.path, 0644), 0);
    rig_open(&rig);
}

static void damaged_file(void **state)
{
    (void)state;
    create(&rig, table);
    for (int i = 0; i < 2000; i++) {
        char id[8];
        (void)snprintf(id, sizeof id, "%d", i);
        put(&rig, TR_OP_CREATE, table, NULL, ROW(id, "some text that fills the page"));
    }
    send_commit(&rig, "0/1");
    rig_close(&rig); /* the last connection moves the WAL into the file */
    int fd = open(rig.path, O_WRONLY);
    char junk[4096];
    (void)memset(junk, 0xa5, sizeof junk);
    for (int page = 2; page < 30; page++)
        assert_int_equal(pwrite(fd, junk, sizeof junk, (off_t)page * 4096), sizeof junk);
    (void)close(fd);
    enum tr_status status = TR_OK;
    void *sink = NULL, *writer = NULL;
    status = tr_sink_sqlite.open(&rig.config, &rig.context, &sink, &rig.err);
    if (status == TR_OK)
        status = tr_sink_sqlite.writer_open(sink, 0, &writer, &rig.err);
    for (int i = 0; status == TR_OK && i < 2000; i += 50) {
        char id[8];
        (void)snprintf(id, sizeof id, "%d", i);
        put(&rig, TR_OP_UPDATE, table, NULL, ROW(id, "new"));
        put_commit(&rig, NULL, NULL);
        status = tr_sink_sqlite.write(writer, rig.batch->events, rig.batch->event_count, &rig.err);
        if (status == TR_OK)
            status = tr_sink_sqlite.flush(writer, 0, &rig.err);
        tr_batch_reset(rig.batch);
    }
    assert_int_equal(status, TR_FAIL);
    assert_int_equal(rig.err.code, TR_E_SQLITE_CORRUPT);
    assert_int_equal(rig.err.class, TR_FATAL);
    tr_sink_sqlite.writer_close(writer);
    tr_sink_sqlite.close(sink);
    assert_int_equal(remove(rig.path), 0);
    rig_open(&rig);
}

/* ---- memory, durability --------------------------------------------------------------------- */

static void giant_transaction(void **state)
{
    (void)state;
    enum { ROWS = 300000 };
    char value[201];
    (void)memset(value, 'g', sizeof value - 1);
    value[200] = '\0';
    create(&rig, table);
    send_commit(&rig, "0/1");
    (void)sqlite3_memory_highwater(1);
    for (int i = 0; i < ROWS; i++) {
        char id[16];
        (void)snprintf(id, sizeof id, "%d", i);
        put(&rig, TR_OP_CREATE, table, NULL, ROW(id, value));
        if (tr_batch_full(rig.batch))
            assert_ok(&rig, send_batch(&rig));
    }
    assert_ok(&rig, send_batch(&rig));
    assert_query(&rig, "SELECT count(*) FROM t", "0");
    send_commit(&rig, "0/2");
    /* 60 MB of rows went through a cache of 4 MiB */
    assert_true(sqlite3_memory_highwater(0) < 8 << 20);
    assert_query(&rig, "SELECT count(*) FROM t", "300000");
}

static void large_values(void **state)
{
    (void)state;
    enum { SIZE = 20 << 20 };
    static const struct tr_column with_bytes[] = {
        {.name = "id", .type = TR_T_INT32, .key_index = 1},
        {.name = "b", .type = TR_T_BYTES, .nullable = true},
        {.name = NULL}};
    struct tr_table *blobs = table_of("blobs", with_bytes);
    char *text = malloc(SIZE + 1);
    (void)memset(text, 'a', SIZE);
    text[0] = '\\';
    text[1] = 'x';
    text[SIZE] = '\0';
    create(&rig, blobs);
    put(&rig, TR_OP_CREATE, blobs, NULL, ROW("1", text));
    put(&rig, TR_OP_CREATE, blobs, NULL, ROW("2", "\\x00"));
    send_commit(&rig, "0/1");
    assert_query(&rig, "SELECT id, length(b) FROM blobs", "1|10485759\n2|1");
    free(text);
    tr_table_unref(blobs);
}

static void durability_modes(void **state)
{
    (void)state;
    static const struct {
        int synchronous, journal;
        bool syncs_itself;
    } modes[] = {{SYNC_NORMAL, JOURNAL_WAL, true},
                 {SYNC_FULL, JOURNAL_WAL, false},
                 {SYNC_NORMAL, JOURNAL_DELETE, false},
                 {SYNC_FULL, JOURNAL_DELETE, false}};
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        rig_close(&rig);
        rig.config.options.synchronous = modes[i].synchronous;
        rig.config.options.journal = modes[i].journal;
        rig_open(&rig);
        create(&rig, table);
        int64_t syncs = tr_metric_get(&tr_sqlite_metric_syncs);
        put(&rig, TR_OP_CREATE, table, NULL, ROW("1", "x"));
        put_commit(&rig, "lsn", "0/1");
        assert_ok(&rig, send_batch(&rig));
        assert_true(tr_sink_sqlite.durable_seq(rig.writer) < rig.seq - 1);
        assert_ok(&rig, tr_sink_sqlite.flush(rig.writer, 0, &rig.err));
        assert_int_equal(tr_sink_sqlite.durable_seq(rig.writer), rig.seq - 1);
        assert_int_equal(tr_metric_get(&tr_sqlite_metric_syncs) - syncs, modes[i].syncs_itself);
        /* nothing new: nothing to sync, and a commit without rows or marks is durable by itself */
        put_commit(&rig, NULL, NULL);
        assert_ok(&rig, send_batch(&rig));
        assert_ok(&rig, tr_sink_sqlite.flush(rig.writer, 0, &rig.err));
        assert_int_equal(tr_sink_sqlite.durable_seq(rig.writer), rig.seq - 1);
        assert_query(&rig, "PRAGMA journal_mode",
                     modes[i].journal == JOURNAL_WAL ? "wal" : "delete");
    }
}

static void interrupt_ends_a_wait(void **state)
{
    (void)state;
    sqlite3 *other = NULL;
    rig.config.options.busy_timeout_ms = 60000;
    create(&rig, table);
    send_commit(&rig, "0/1");
    assert_int_equal(sqlite3_open(rig.path, &other), SQLITE_OK);
    assert_int_equal(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    pid_t child = fork(); /* only to have a second thread of control: it rings by a signal */
    if (child == 0) {
        (void)usleep(200000);
        (void)kill(getppid(), SIGUSR1);
        _exit(0);
    }
    put(&rig, TR_OP_CREATE, table, NULL, ROW("2", "x"));
    put_commit(&rig, "lsn", "0/2");
    assert_ok(&rig, send_batch(&rig));
    assert_code(&rig, TR_E_SQLITE_BUSY, tr_sink_sqlite.flush(rig.writer, 0, &rig.err));
    assert_int_equal(waitpid(child, NULL, 0), child);
    (void)sqlite3_close(other);
}

static void on_signal(int number)
{
    (void)number;
    tr_sink_sqlite.interrupt(rig.sink); /* an atomic store */
}

#define WITH_RIG(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    parent = getpid();
    (void)signal(SIGUSR1, on_signal);
    const struct CMUnitTest tests[] = {
        WITH_RIG(killed_at_every_failpoint),
        WITH_RIG(injected_errors),
        WITH_RIG(full_disk),
        WITH_RIG(locked_by_another),
        WITH_RIG(unusable_paths),
        WITH_RIG(no_right_to_write),
        WITH_RIG(damaged_file),
        WITH_RIG(giant_transaction),
        WITH_RIG(large_values),
        WITH_RIG(durability_modes),
        WITH_RIG(interrupt_ends_a_wait),
    };
    return cmocka_run_group_tests_name("sink_sqlite_faults", tests, NULL, NULL);
}
