/* The file sink: what is published when, in which files, and what its start refuses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/clock.h"
#include "sink/file/folder.h"
#include "sink_rows.h"
#include "temp_folder.h"

#define OPS (&tr_sink_file)
static struct temp_folder folder;
static struct tr_sink_file_options options;
static struct tr_config config = {&options};
static struct rows rows;
static struct tr_error err;
static void *sink, *writer;
static struct tr_state marks;

static int setup(void **state)
{
    (void)state;
    temp_folder_make(&folder);
    options = file_options(temp_folder_file(&folder, "out"));
    /* the ring of path buffers turns */
    options.path = strdup(options.path);
    rows_init(&rows);
    tr_state_init(&marks);
    sink = writer = NULL;
    return 0;
}

static void close_sink(void)
{
    OPS->writer_close(writer);
    OPS->close(sink);
    sink = writer = NULL;
}

static int teardown(void **state)
{
    (void)state;
    close_sink();
    rows_free(&rows);
    tr_state_free(&marks);
    free((char *)(uintptr_t)options.path);
    temp_folder_remove(&folder);
    return 0;
}

static enum tr_status try_open(const char *pipeline)
{
    struct tr_context context = {.pipeline_name = pipeline, .state_dir = folder.path};
    if (OPS->open(&config, &context, &sink, &err) != TR_OK)
        return TR_FAIL;
    return OPS->load_marks(sink, &marks, &err);
}

static void open_sink(void)
{
    if (try_open("shop") != TR_OK || OPS->writer_open(sink, 0, &writer, &err) != TR_OK)
        fail_msg("open: %s %s", err.message, err.detail);
}

static void write_rows(void)
{
    if (rows_write(&rows, OPS, writer, &err) != TR_OK)
        fail_msg("write: %s %s", err.message, err.detail);
}

static void transaction(unsigned count, size_t name_bytes)
{
    rows_add(&rows, count, name_bytes);
    rows_commit(&rows);
    write_rows();
}

static struct found look(void)
{
    struct found found;
    assert_true(found_read(&found, options.path));
    assert_true(found_in_order(&found));
    return found;
}

static const char *in_out(const char *name)
{
    static char path[PATH_MAX];
    (void)snprintf(path, sizeof path, "%s/%s", options.path, name);
    return path;
}

static void drain_publishes_and_the_position_comes_back(void **state)
{
    (void)state;
    open_sink();
    assert_int_equal(marks.count, 0);
    transaction(3, 10);
    transaction(2, 10);
    assert_int_equal(OPS->flush(writer, 0, &err), TR_AGAIN);
    assert_int_equal(OPS->durable_seq(writer), 0);
    struct found found = look();
    assert_int_equal(found.files, 0);
    found_free(&found);
    assert_int_equal(OPS->flush(writer, 1000, &err), TR_OK);
    assert_int_equal(OPS->durable_seq(writer), rows.seq);
    found = look();
    assert_int_equal(found.files, 1);
    assert_int_equal(found.temps, 0);
    assert_int_equal(found.count, 5);
    found_free(&found);
    close_sink();
    open_sink();
    assert_string_equal(tr_state_get(&marks, "lsn"), "5");
    transaction(1, 10);
    assert_int_equal(OPS->flush(writer, 1000, &err), TR_OK);
    found = look();
    assert_int_equal(found.files, 2);
    assert_int_equal(found.count, 6);
    found_free(&found);
}

static void time_publishes(void **state)
{
    (void)state;
    options.rotation_time_ms = 30;
    open_sink();
    transaction(3, 10);
    while (OPS->flush(writer, 0, &err) == TR_AGAIN)
        tr_clock_sleep_ms(5);
    assert_int_equal(OPS->durable_seq(writer), rows.seq);
    /* nothing new: no new file */
    tr_clock_sleep_ms(40);
    assert_int_equal(OPS->flush(writer, 0, &err), TR_OK);
    struct found found = look();
    assert_int_equal(found.files, 1);
    found_free(&found);
    /* under a steady stream of writes, without a flush */
    transaction(1, 10);
    tr_clock_sleep_ms(40);
    transaction(1, 10);
    assert_int_equal(OPS->durable_seq(writer), rows.seq);
}

static void size_publishes_at_the_end_of_a_transaction(void **state)
{
    (void)state;
    options.rotation_size_bytes = 20000;
    open_sink();
    for (unsigned i = 0; i < 40; i++)
        transaction(10, 300); /* about 3.2 kB */
    struct found found = look();
    assert_in_range(found.files, 5, 8);
    for (unsigned i = 0; i < found.files; i++)
        assert_int_equal(found.last_ids[i] % 10, 0);
    found_free(&found);
}

static void one_large_transaction_is_one_file(void **state)
{
    (void)state;
    open_sink();
    transaction(5, 100);
    uint64_t first_seq = rows.seq;
    for (unsigned i = 0; i < 12; i++) { /* 12 MB, far more than is held in memory */
        rows_add(&rows, 1000, 1000);
        write_rows();
        /* a drain in the middle of it: what came before is durable, and nothing of it is */
        assert_int_equal(OPS->flush(writer, 1000, &err), TR_OK);
        assert_int_equal(OPS->durable_seq(writer), first_seq);
    }
    struct found found = look();
    assert_int_equal(found.count, 5);
    assert_int_equal(found.temps, 1);
    found_free(&found);
    rows_commit(&rows);
    write_rows();
    transaction(7, 100); /* goes into the same file */
    assert_int_equal(OPS->flush(writer, 1000, &err), TR_OK);
    assert_int_equal(OPS->durable_seq(writer), rows.seq);
    found = look();
    assert_int_equal(found.files, 2);
    assert_int_equal(found.count, 12012);
    found_free(&found);
}

static void half_a_transaction_is_never_published(void **state)
{
    (void)state;
    open_sink();
    transaction(4, 10);
    rows_add(&rows, 3, 10);
    write_rows();
    assert_int_equal(OPS->flush(writer, 1000, &err), TR_OK);
    struct found found = look();
    assert_int_equal(found.count, 4);
    found_free(&found);
    rows_commit(&rows);
    write_rows();
    assert_int_equal(OPS->flush(writer, 1000, &err), TR_OK);
    found = look();
    assert_int_equal(found.count, 7);
    found_free(&found);
}

static void compression(void **state)
{
    (void)state;
    static const char *const suffixes[] = {"", ".gz", ".zst"};
    for (int kind = TR_FILE_GZIP; kind <= TR_FILE_ZSTD; kind++) {
        options.compression = kind;
        options.rotation_size_bytes = 5000;
        open_sink();
        for (unsigned i = 0; i < 200; i++)
            transaction(30, 300);
        assert_int_equal(OPS->flush(writer, 1000, &err), TR_OK);
        close_sink();
        DIR *dir = opendir(options.path);
        unsigned with_suffix = 0;
        for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
            const char *at = strstr(entry->d_name, ".jsonl");
            if (at != NULL && strcmp(at + 6, suffixes[kind]) == 0)
                with_suffix++;
        }
        (void)closedir(dir);
        assert_true(with_suffix > 1);
        struct found found = look();
        assert_int_equal(found.count, rows.next_id - 1);
        found_free(&found);
    }
}

static void marks_alone_are_kept(void **state)
{
    (void)state;
    open_sink();
    rows_commit(&rows);
    write_rows();
    assert_int_equal(OPS->flush(writer, 1000, &err), TR_OK);
    assert_int_equal(OPS->durable_seq(writer), rows.seq);
    close_sink();
    open_sink();
    assert_string_equal(tr_state_get(&marks, "lsn"), "0");
    struct found found = look();
    assert_int_equal(found.files, 0);
    found_free(&found);
}

static void a_taken_file_is_not_missed(void **state)
{
    (void)state;
    open_sink();
    transaction(3, 10);
    assert_int_equal(OPS->flush(writer, 1000, &err), TR_OK);
    close_sink();
    DIR *dir = opendir(options.path);
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        if (strstr(entry->d_name, ".jsonl") != NULL)
            assert_int_equal(unlink(in_out(entry->d_name)), 0);
    }
    (void)closedir(dir);
    open_sink();
    assert_string_equal(tr_state_get(&marks, "lsn"), "3");
}

static void expect_refused(const char *pipeline, enum tr_code code)
{
    assert_int_equal(try_open(pipeline), TR_FAIL);
    assert_string_equal(tr_error_info(err.code)->name, tr_error_info(code)->name);
    assert_true(err.hint[0] != '\0');
    close_sink();
}

static void publish_one(void)
{
    open_sink();
    transaction(3, 10);
    assert_int_equal(OPS->flush(writer, 1000, &err), TR_OK);
    close_sink();
}

static void ignore_report(void *ctx, const struct tr_finding *finding)
{
    *(struct tr_finding *)ctx = *finding;
}

static void drop_position(void)
{
    struct tr_finding finding = {0};
    struct tr_context context = {
        .pipeline_name = "shop", .state_dir = folder.path, .checking = true};
    assert_int_equal(OPS->open(&config, &context, &sink, &err), TR_OK);
    if (OPS->drop(sink, ignore_report, &finding, &err) != TR_OK)
        fail_msg("drop: %s", err.message);
    assert_int_equal(finding.severity, TR_INFO);
    close_sink();
}

static void damaged_manifest_is_refused(void **state)
{
    (void)state;
    publish_one();
    size_t len;
    char *text = file_read(in_out("manifest"), &len);
    text[len / 2] ^= 4;
    file_write(in_out("manifest"), text, len);
    expect_refused("shop", TR_E_FILE_MANIFEST_CORRUPT);
    file_write(in_out("manifest"), text, len / 2);
    expect_refused("shop", TR_E_FILE_MANIFEST_CORRUPT);
    free(text);
    /* drop is the way out: files stay, numbers go on, the position is gone */
    drop_position();
    open_sink();
    assert_int_equal(marks.count, 0);
    transaction(2, 10);
    assert_int_equal(OPS->flush(writer, 1000, &err), TR_OK);
    struct found found = look();
    assert_int_equal(found.files, 2);
    assert_int_equal(found.count, 5);
    found_free(&found);
}

static void missing_or_old_manifest_is_refused(void **state)
{
    (void)state;
    publish_one();
    size_t len;
    char *first = file_read(in_out("manifest"), &len);
    publish_one();
    file_write(in_out("manifest"), first, len);
    expect_refused("shop", TR_E_FILE_MANIFEST_STALE);
    free(first);
    assert_int_equal(unlink(in_out("manifest")), 0);
    expect_refused("shop", TR_E_FILE_MANIFEST_STALE);
    drop_position();
    open_sink();
    assert_int_equal(marks.count, 0);
}

static void another_pipeline_is_refused(void **state)
{
    (void)state;
    publish_one();
    expect_refused("books", TR_E_FILE_MANIFEST_FOREIGN);
    struct tr_context context = {.pipeline_name = "books", .checking = true};
    struct tr_finding finding;
    assert_int_equal(OPS->open(&config, &context, &sink, &err), TR_OK);
    assert_int_equal(OPS->drop(sink, ignore_report, &finding, &err), TR_FAIL);
    assert_int_equal(err.code, TR_E_FILE_MANIFEST_FOREIGN);
}

static void one_writer_a_folder(void **state)
{
    (void)state;
    open_sink();
    struct tr_context context = {.pipeline_name = "shop"};
    void *second;
    assert_int_equal(OPS->open(&config, &context, &second, &err), TR_OK);
    assert_int_equal(OPS->load_marks(second, &marks, &err), TR_FAIL);
    assert_int_equal(err.code, TR_E_FILE_IN_USE);
    OPS->close(second);
}

static void unusable_path(void **state)
{
    (void)state;
    file_write(options.path, "", 0); /* a file where the folder should be */
    struct tr_context context = {.pipeline_name = "shop", .checking = true};
    struct tr_finding finding = {0};
    assert_int_equal(OPS->open(&config, &context, &sink, &err), TR_OK);
    assert_int_equal(OPS->validate(sink, NULL, 0, ignore_report, &finding, &err), TR_OK);
    assert_int_equal(finding.code, TR_E_FILE_PATH);
    close_sink();
    expect_refused("shop", TR_E_FILE_PATH);
}

static void checking_changes_nothing(void **state)
{
    (void)state;
    struct tr_context context = {.pipeline_name = "shop", .checking = true};
    struct tr_finding finding = {0};
    assert_int_equal(OPS->open(&config, &context, &sink, &err), TR_OK);
    assert_int_equal(OPS->validate(sink, NULL, 0, ignore_report, &finding, &err), TR_OK);
    assert_int_equal(finding.severity, TR_INFO);
    assert_int_equal(OPS->load_marks(sink, &marks, &err), TR_OK);
    close_sink();
    assert_false(file_exists(options.path));
    OPS->close(NULL);
    OPS->writer_close(NULL);
}

static void leftovers_go_and_other_files_stay(void **state)
{
    (void)state;
    publish_one();
    file_write(in_out("00000000000000000002-20250101T000000Z.jsonl.tmp"), "{\"id\":1}\n", 9);
    file_write(in_out("manifest.tmp"), "x", 1);
    file_write(in_out("notes.txt.tmp"), "x", 1);
    open_sink();
    assert_false(file_exists(in_out("00000000000000000002-20250101T000000Z.jsonl.tmp")));
    assert_false(file_exists(in_out("manifest.tmp")));
    assert_true(file_exists(in_out("notes.txt.tmp")));
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(drain_publishes_and_the_position_comes_back),
        TEST(time_publishes),
        TEST(size_publishes_at_the_end_of_a_transaction),
        TEST(one_large_transaction_is_one_file),
        TEST(half_a_transaction_is_never_published),
        TEST(compression),
        TEST(marks_alone_are_kept),
        TEST(a_taken_file_is_not_missed),
        TEST(damaged_manifest_is_refused),
        TEST(missing_or_old_manifest_is_refused),
        TEST(another_pipeline_is_refused),
        TEST(one_writer_a_folder),
        TEST(unusable_path),
        TEST(checking_changes_nothing),
        TEST(leftovers_go_and_other_files_stay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
