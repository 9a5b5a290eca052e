/* The file source through its operations: the rules of message.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "config/bind.h"
#include "event/batch.h"
#include "event/dead_letter.h"
#include "event/state.h"
#include "source/file/file.h"
#include "source/file/options.h"

#define READS_MAX 1000
#define TIMEOUT_MS 50

struct fixture {
    char folder[64], path[96];
    struct tr_config *config;
    void *source;
    struct tr_batch *batch;
    struct tr_state marks;
    struct tr_error err;
};

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, strlen(text), file), strlen(text));
    assert_int_equal(fclose(file), 0);
}

static int open_fixture(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    assert_non_null(fixture);
    (void)snprintf(fixture->folder, sizeof fixture->folder, "/tmp/source_file_ops_XXXXXX");
    assert_non_null(mkdtemp(fixture->folder));
    (void)snprintf(fixture->path, sizeof fixture->path, "%s/in.jsonl", fixture->folder);
    assert_int_equal(tr_batch_new(&fixture->batch, &fixture->err), TR_OK);
    tr_state_init(&fixture->marks);
    *state = fixture;
    return 0;
}

static void close_source(struct fixture *fixture)
{
    tr_batch_reset(fixture->batch);
    tr_source_file.close(fixture->source);
    fixture->source = NULL;
    tr_config_free(fixture->config);
    fixture->config = NULL;
}

static int close_fixture(void **state)
{
    struct fixture *fixture = *state;
    close_source(fixture);
    tr_batch_free(fixture->batch);
    tr_state_free(&fixture->marks);
    (void)unlink(fixture->path);
    (void)rmdir(fixture->folder);
    free(fixture);
    return 0;
}

static enum tr_status start(struct fixture *fixture, const char *path, const char *more)
{
    char yaml[512];
    const struct tr_context context = {
        .pipeline_name = "p", .state_dir = fixture->folder, .has_dead_letters = true};
    (void)snprintf(yaml, sizeof yaml, "{path: '%s'%s}", path, more);
    assert_int_equal(tr_config_from_text(yaml, tr_source_file.options, tr_source_file.options_size,
                                         &fixture->config, &fixture->err),
                     TR_OK);
    assert_int_equal(
        tr_source_file.open(fixture->config, &context, &fixture->source, &fixture->err), TR_OK);
    return tr_source_file.start(fixture->source, &fixture->marks, &fixture->err);
}

/* One batch; its last event is a COMMIT, whose marks become the state's. */
static enum tr_status read_batch(struct fixture *fixture)
{
    tr_batch_reset(fixture->batch);
    enum tr_status status =
        tr_source_file.read(fixture->source, fixture->batch, TIMEOUT_MS, &fixture->err);
    if (status == TR_FAIL || fixture->batch->event_count == 0)
        return status;
    const struct tr_event *last = &fixture->batch->events[fixture->batch->event_count - 1];
    assert_int_equal(last->op, TR_OP_COMMIT);
    for (uint32_t i = 0; i + 1 < fixture->batch->event_count; i++) {
        const struct tr_event *event = &fixture->batch->events[i];
        assert_int_not_equal(event->op, TR_OP_COMMIT);
        assert_non_null(event->message);
        assert_true(event->recv_ts_us > 0 && event->ts_us != TR_TIME_NONE && event->ts_us != 0);
    }
    for (uint32_t i = 0; i < last->mark_count; i++)
        assert_int_equal(tr_state_apply(&fixture->marks, last->marks[i].key, last->marks[i].value,
                                        &fixture->err),
                         TR_OK);
    return status;
}

static uint64_t position(const struct fixture *fixture)
{
    size_t at = tr_state_seek(&fixture->marks, TR_MARK_SPLIT);
    assert_true(tr_state_has_prefix(&fixture->marks, at, TR_MARK_SPLIT));
    return strtoull(fixture->marks.items[at].value, NULL, 10);
}

static void first_batch_and_positions(void **state)
{
    struct fixture *fixture = *state;
    write_file(fixture->path, "{\"a\":1}\n{\"a\":2}\n");
    assert_int_equal(start(fixture, fixture->path, ""), TR_OK);
    assert_int_equal(tr_source_file.snapshot_readers(fixture->source), 0);
    assert_int_equal(tr_source_file.split_count(fixture->source), 1);
    const struct tr_split *split = tr_source_file.split(fixture->source, 0);
    assert_string_equal(split->container, fixture->path);
    assert_string_equal(split->table, "in");
    assert_null(tr_source_file.split(fixture->source, 1));
    assert_int_equal(read_batch(fixture), TR_OK);
    assert_int_equal(fixture->batch->event_count, 1); /* the marks and nothing else */
    assert_int_equal(position(fixture), 0);
    assert_int_equal(read_batch(fixture), TR_END);
    assert_int_equal(fixture->batch->event_count, 4); /* the table, two rows, COMMIT */
    const struct tr_message *message = fixture->batch->events[2].message;
    assert_int_equal(message->position, 8);
    assert_int_equal(message->next, 16);
    assert_ptr_equal(message->split, split);
    assert_int_equal(message->value.len, 7);
    assert_int_equal(position(fixture), 16);
}

static void dead_letters(void **state)
{
    struct fixture *fixture = *state;
    write_file(fixture->path, "{\"a\":1}\nno json\n");
    assert_int_equal(start(fixture, fixture->path, ""), TR_OK); /* dead-letter is the default */
    assert_int_equal(read_batch(fixture), TR_OK);
    assert_int_equal(read_batch(fixture), TR_END);
    assert_int_equal(fixture->batch->event_count, 4);
    const struct tr_event *letter = &fixture->batch->events[2];
    assert_true(tr_is_dead_letter(letter));
    assert_int_equal(letter->message->position, 8);
    int payload = tr_table_column(letter->table, "payload");
    assert_memory_equal(letter->after[payload].ptr, "no json", 7);
    assert_int_equal(position(fixture), 16);
}

/* Many lines: each exactly once, whatever the batches; a stop and a start between any two. */
static void every_line_once(void **state)
{
    struct fixture *fixture = *state;
    FILE *file = fopen(fixture->path, "w");
    assert_non_null(file);
    for (int i = 0; i < 20000; i++)
        (void)fprintf(file, "{\"a\":%d}\n", i);
    assert_int_equal(fclose(file), 0);
    int next = 0;
    enum tr_status status = TR_OK;
    for (int reads = 0; status != TR_END && reads < READS_MAX; reads++) {
        if (reads % 3 == 0) {
            close_source(fixture);
            assert_int_equal(start(fixture, fixture->path,
                                   ", format: csv, csv.header: false, "
                                   "columns: [a STRING], csv.quote: ''"),
                             TR_OK);
        }
        status = read_batch(fixture);
        assert_true(status == TR_OK || status == TR_END);
        for (uint32_t i = 0; i < fixture->batch->event_count; i++) {
            const struct tr_event *event = &fixture->batch->events[i];
            char text[32];
            if (event->op != TR_OP_CREATE)
                continue;
            int len = snprintf(text, sizeof text, "{\"a\":%d}", next++);
            assert_int_equal(event->after[0].len, len);
            assert_memory_equal(event->after[0].ptr, text, (size_t)len);
        }
    }
    assert_int_equal(status, TR_END);
    assert_int_equal(next, 20000);
}

static void damaged_mark(void **state)
{
    struct fixture *fixture = *state;
    write_file(fixture->path, "{\"a\":1}\n");
    assert_int_equal(tr_state_set(&fixture->marks, "file/x", "nonsense", &fixture->err), TR_OK);
    assert_int_equal(start(fixture, fixture->path, ""), TR_FAIL);
    assert_int_equal(fixture->err.code, TR_E_FILESRC_MARK);
}

/* Last: it takes this process's standard input away. */
static void stdin_once(void **state)
{
    struct fixture *fixture = *state;
    write_file(fixture->path, "{\"a\":1}\n{\"a\":2}");
    assert_non_null(freopen(fixture->path, "r", stdin));
    assert_int_equal(start(fixture, "-", ""), TR_OK);
    assert_int_equal(read_batch(fixture), TR_OK);
    assert_int_equal(read_batch(fixture), TR_END);
    assert_int_equal(fixture->batch->event_count, 4);
    assert_string_equal(fixture->batch->events[1].table->id.table, "table");
    close_source(fixture);
    assert_int_equal(start(fixture, "-", ""), TR_FAIL);
    assert_int_equal(fixture->err.code, TR_E_FILESRC_STDIN_GONE);
    assert_int_equal(fixture->err.class, TR_POSITION_LOST);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_fixture, close_fixture)
    const struct CMUnitTest tests[] = {TEST(first_batch_and_positions), TEST(dead_letters),
                                       TEST(every_line_once), TEST(damaged_mark), TEST(stdin_once)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
