/* The stdout sink, in children whose standard output is a pipe, a file or nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <pthread.h>
#include <signal.h>

#include "base/clock.h"
#include "sink_rows.h"
#include "temp_folder.h"

#define OPS (&tr_sink_stdout)
static struct tr_sink_stdout_options options;
static struct tr_config config = {&options};
static struct temp_folder folder;

static int setup(void **state)
{
    (void)state;
    temp_folder_make(&folder);
    tr_format_options_default(&options.format_options);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    temp_folder_remove(&folder);
    return 0;
}

struct job {
    int out_fd; /* becomes standard output; -1: closed */
    unsigned rows;
    size_t name_bytes;
    int expected; /* enum tr_code, TR_E_NONE for success */
    int interrupt_after_ms;
};

static void *interrupt_later(void *arg)
{
    void **both = arg;
    tr_clock_sleep_ms(*(int *)both[1]);
    OPS->interrupt(both[0]);
    return NULL;
}

static int write_job(void *ctx)
{
    struct job *job = ctx;
    struct tr_context context = {.pipeline_name = "shop"};
    struct tr_error err = {0};
    void *sink = NULL, *writer = NULL;
    struct rows rows;
    if (job->out_fd >= 0)
        (void)dup2(job->out_fd, STDOUT_FILENO);
    else
        (void)close(STDOUT_FILENO);
    rows_init(&rows);
    rows_add(&rows, job->rows, job->name_bytes);
    rows_commit(&rows);
    enum tr_status status = OPS->open(&config, &context, &sink, &err);
    pthread_t thread;
    void *both[2] = {sink, &job->interrupt_after_ms};
    bool threaded = job->interrupt_after_ms > 0 && sink != NULL &&
                    pthread_create(&thread, NULL, interrupt_later, both) == 0;
    if (status == TR_OK)
        status = OPS->writer_open(sink, 0, &writer, &err);
    if (status == TR_OK) {
        status = rows_write(&rows, OPS, writer, &err);
        if (status == TR_OK && OPS->flush(writer, 0, &err) != TR_OK)
            return 2;
        if (status == TR_OK && OPS->durable_seq(writer) != rows.seq)
            return 3;
    }
    if (threaded)
        (void)pthread_join(thread, NULL);
    OPS->writer_close(writer);
    OPS->close(sink);
    rows_free(&rows);
    int code = status == TR_OK ? TR_E_NONE : (int)err.code;
    return code == job->expected ? 0 : 4;
}

static void to_a_file(void **state)
{
    (void)state;
    const char *path = temp_folder_file(&folder, "out.jsonl");
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    struct job job = {.out_fd = fd, .rows = 2000, .name_bytes = 300};
    assert_int_equal(in_child(NULL, write_job, &job), 0);
    (void)close(fd);
    struct found found;
    assert_true(found_read(&found, folder.path));
    assert_true(found_in_order(&found));
    assert_int_equal(found.count, 2000);
    found_free(&found);
}

/* More than a pipe holds, to a reader that takes its time. */
static void to_a_pipe(void **state)
{
    (void)state;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    (void)fflush(NULL);
    pid_t reader = fork();
    if (reader == 0) {
        (void)close(ends[1]);
        FILE *in = fdopen(ends[0], "r");
        char *line = NULL;
        size_t size = 0;
        unsigned long expected = 1;
        while (getline(&line, &size, in) > 0) {
            const char *id = strstr(line, "\"id\":");
            if (id == NULL || strtoul(id + 5, NULL, 10) != expected)
                _exit(1);
            if (expected++ % 500 == 0)
                tr_clock_sleep_ms(2);
        }
        _exit(expected == 4001 ? 0 : 2);
    }
    (void)close(ends[0]);
    struct job job = {.out_fd = ends[1], .rows = 4000, .name_bytes = 300};
    assert_int_equal(in_child(NULL, write_job, &job), 0);
    (void)close(ends[1]);
    int code;
    assert_int_equal(waitpid(reader, &code, 0), reader);
    assert_true(WIFEXITED(code));
    assert_int_equal(WEXITSTATUS(code), 0);
}

static void reader_gone(void **state)
{
    (void)state;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    (void)close(ends[0]);
    struct job job = {.out_fd = ends[1], .rows = 1, .expected = TR_E_FILE_EPIPE};
    assert_int_equal(in_child(NULL, write_job, &job), 0);
    (void)close(ends[1]);
}

static void interrupt_frees_a_blocked_write(void **state)
{
    (void)state;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    struct job job = {.out_fd = ends[1],
                      .rows = 1000,
                      .name_bytes = 300,
                      .expected = TR_E_INTERRUPTED,
                      .interrupt_after_ms = 50};
    assert_int_equal(in_child(NULL, write_job, &job), 0);
    (void)close(ends[0]);
    (void)close(ends[1]);
}

static void closed_or_full(void **state)
{
    (void)state;
    struct job job = {.out_fd = -1, .rows = 1, .expected = TR_E_FILE_STDOUT};
    assert_int_equal(in_child(NULL, write_job, &job), 0);
    job.out_fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
    job.expected = TR_E_FILE_DISK_FULL;
    assert_true(job.out_fd >= 0);
    assert_int_equal(in_child(NULL, write_job, &job), 0);
    (void)close(job.out_fd);
    job.out_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    job.expected = TR_E_FILE_STDOUT;
    assert_int_equal(in_child(NULL, write_job, &job), 0);
    (void)close(job.out_fd);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(to_a_file),      TEST(to_a_pipe),
        TEST(reader_gone),    TEST(interrupt_frees_a_blocked_write),
        TEST(closed_or_full),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
