/* Exactly once through kills and errors: a child plays the engine (starts from the sink's position,
 * writes transactions, flushes now and then) and is killed or failed at each step of a publication.
 * After each death, and at the end, the reader's view is compared with what was sent: ids 1, 2, 3 …
 * in order, none missing, none twice, nothing of a half transaction. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <signal.h>
#include <sys/resource.h>

#include "sink_rows.h"
#include "temp_folder.h"

#define OPS (&tr_sink_file)
#define ROWS_TOTAL 600u
#define TRANSACTION_ROWS 5u
#define FLUSH_EVERY 4u /* transactions */

static struct temp_folder folder;
static struct tr_sink_file_options options;
static struct tr_config config = {&options};
static char path[PATH_MAX];

static int setup(void **state)
{
    (void)state;
    temp_folder_make(&folder);
    (void)snprintf(path, sizeof path, "%s/out", folder.path);
    options = file_options(path);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    temp_folder_remove(&folder);
    return 0;
}

/* One attempt. 0: all rows are durable. Otherwise the error. */
static enum tr_status attempt(uint32_t rows_total, size_t name_bytes, struct tr_error *err)
{
    struct tr_context context = {.pipeline_name = "shop", .state_dir = folder.path};
    void *sink = NULL, *writer = NULL;
    struct tr_state marks;
    struct rows rows;
    unsigned transactions = 0;
    tr_state_init(&marks);
    rows_init(&rows);
    enum tr_status status = OPS->open(&config, &context, &sink, err);
    if (status == TR_OK)
        status = OPS->load_marks(sink, &marks, err);
    if (status == TR_OK)
        status = OPS->writer_open(sink, 0, &writer, err);
    const char *last = tr_state_get(&marks, "lsn");
    rows.next_id = last == NULL ? 1 : (uint32_t)strtoul(last, NULL, 10) + 1;
    while (status == TR_OK && rows.next_id <= rows_total) {
        rows_add(&rows, TRANSACTION_ROWS, name_bytes);
        rows_commit(&rows);
        status = rows_write(&rows, OPS, writer, err);
        if (status == TR_OK && ++transactions % FLUSH_EVERY == 0)
            status = OPS->flush(writer, 1000, err);
    }
    if (status == TR_OK)
        status = OPS->flush(writer, 1000, err);
    OPS->writer_close(writer);
    OPS->close(sink);
    rows_free(&rows);
    tr_state_free(&marks);
    return status;
}

static int run_once(void *ctx)
{
    (void)ctx;
    struct tr_error err;
    return attempt(ROWS_TOTAL, 200, &err) == TR_OK ? 0 : 3;
}

/* Fails, is retried in the same process as the restart strategy does, and ends well. */
static int run_until_done(void *ctx)
{
    enum tr_code expected = *(enum tr_code *)ctx;
    struct tr_error err;
    unsigned failures = 0;
    while (attempt(ROWS_TOTAL, 200, &err) != TR_OK) {
        if (err.code != expected || err.class != TR_TRANSIENT || err.hint[0] == '\0')
            return 4;
        if (++failures > 3)
            return 5;
    }
    return failures > 0 ? 0 : 6;
}

static size_t expect_prefix(void)
{
    struct found found;
    if (!file_exists(path))
        return 0;
    assert_true(found_read(&found, path));
    assert_true(found_in_order(&found));
    assert_int_equal(found.count % TRANSACTION_ROWS, 0);
    size_t count = found.count;
    found_free(&found);
    return count;
}

static const char *const points[] = {"sink.file.write", "sink.file.before_manifest",
                                     "sink.file.after_manifest", "sink.file.before_publish",
                                     "sink.file.after_publish"};
#define POINT_COUNT (sizeof points / sizeof points[0])

static void killed_at_each_step(void **state)
{
    (void)state;
    for (int compression = TR_FILE_NONE; compression <= TR_FILE_ZSTD; compression++) {
        options.compression = compression;
        for (size_t p = 0; p < POINT_COUNT; p++) {
            size_t before = 0;
            for (unsigned at = 1; at <= 3; at++) {
                char spec[64];
                (void)snprintf(spec, sizeof spec, "%s=kill@%u", points[p], at);
                assert_int_equal(in_child(spec, run_once, NULL), CHILD_KILLED);
                size_t count = expect_prefix();
                assert_true(count >= before); /* what a reader saw stays */
                before = count;
            }
            assert_int_equal(in_child(NULL, run_once, NULL), 0);
            assert_int_equal(expect_prefix(), ROWS_TOTAL);
            temp_folder_remove(&folder);
            assert_int_equal(mkdir(folder.path, 0700), 0);
        }
    }
}

static void killed_again_while_mending(void **state)
{
    (void)state;
    /* named by the manifest, not renamed; then killed before anything else, several times */
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(in_child("sink.file.after_manifest=kill", run_once, NULL), CHILD_KILLED);
    assert_int_equal(in_child(NULL, run_once, NULL), 0);
    assert_int_equal(expect_prefix(), ROWS_TOTAL);
}

static void errors_are_retried_without_loss(void **state)
{
    (void)state;
    static const struct {
        const char *action;
        enum tr_code code;
    } actions[] = {{"error", TR_E_FILE_IO}, {"enospc", TR_E_FILE_DISK_FULL}};
    for (size_t p = 0; p < POINT_COUNT; p++) {
        for (size_t a = 0; a < 2; a++) {
            for (unsigned at = 1; at <= 2; at++) {
                char spec[64];
                enum tr_code code = actions[a].code;
                (void)snprintf(spec, sizeof spec, "%s=%s@%u", points[p], actions[a].action, at);
                assert_int_equal(in_child(spec, run_until_done, &code), 0);
                assert_int_equal(expect_prefix(), ROWS_TOTAL);
                temp_folder_remove(&folder);
                assert_int_equal(mkdir(folder.path, 0700), 0);
            }
        }
    }
}

/* The kernel's own refusal in mid-write: a limit on file size. */
static int run_over_the_limit(void *ctx)
{
    (void)ctx;
    struct tr_error err;
    struct rlimit limit = {40000, RLIM_INFINITY};
    (void)signal(SIGXFSZ, SIG_IGN);
    if (setrlimit(RLIMIT_FSIZE, &limit) != 0)
        return 2;
    /* each flush makes about 20 × 2 kB */
    enum tr_status status = attempt(ROWS_TOTAL, 2500, &err);
    if (status != TR_FAIL || err.code != TR_E_FILE_DISK_FULL || err.class != TR_TRANSIENT)
        return 3;
    limit.rlim_cur = RLIM_INFINITY;
    if (setrlimit(RLIMIT_FSIZE, &limit) != 0)
        return 4;
    return attempt(ROWS_TOTAL, 2500, &err) == TR_OK ? 0 : 5;
}

static void full_disk_loses_nothing(void **state)
{
    (void)state;
    assert_int_equal(in_child(NULL, run_over_the_limit, NULL), 0);
    assert_int_equal(expect_prefix(), ROWS_TOTAL);
}

/* Kills at random moments: not only where a failpoint is. */
static void random_kills(void **state)
{
    (void)state;
    const char *given = getenv("TAILRACE_TEST_SEED");
    unsigned seed = given != NULL ? (unsigned)strtoul(given, NULL, 10) : (unsigned)getpid();
    printf("seed %u\n", seed);
    srandom(seed);
    for (unsigned i = 0; i < 60; i++) {
        options.compression = (int)(random() % 3);
        (void)fflush(NULL);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            struct tr_error err;
            _exit(attempt(1000000, 200, &err) == TR_OK ? 0 : 3);
        }
        (void)usleep((useconds_t)(random() % 20000));
        (void)kill(child, SIGKILL);
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status));
        (void)expect_prefix();
    }
    assert_true(expect_prefix() > 0);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(killed_at_each_step),
        TEST(killed_again_while_mending),
        TEST(errors_are_retried_without_loss),
        TEST(full_disk_loses_nothing),
        TEST(random_kills),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
