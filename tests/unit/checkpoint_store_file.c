/* The checkpoint store: what it keeps, what it refuses, and that a kill at any step loses nothing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "checkpoint/store_file.h"
#include "event/state.h"
#include "temp_folder.h"

#define OPS (&tr_checkpoint_file_ops)
static struct temp_folder folder;
static struct tr_error err;

static int setup(void **state)
{
    (void)state;
    temp_folder_make(&folder);
    err = (struct tr_error){0};
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    temp_folder_remove(&folder);
    return 0;
}

static struct tr_checkpoint_store *open_store(unsigned keep_count)
{
    struct tr_checkpoint_store *store = NULL;
    if (OPS->open(folder.path, "shop", keep_count, &store, &err) != TR_OK)
        fail_msg("open: %s %s", err.message, err.detail);
    return store;
}

static void save_lsn(struct tr_checkpoint_store *store, unsigned number)
{
    struct tr_state marks;
    char value[32];
    tr_state_init(&marks);
    (void)snprintf(value, sizeof value, "0/%X", number);
    assert_int_equal(tr_state_set(&marks, "lsn", value, &err), TR_OK);
    assert_int_equal(tr_state_set(&marks, "chunk/16412/3", "done", &err), TR_OK);
    if (OPS->save(store, &marks, &err) != TR_OK)
        fail_msg("save: %s %s", err.message, err.detail);
    tr_state_free(&marks);
}

static const char *generation_path(uint64_t generation)
{
    char name[64];
    (void)snprintf(name, sizeof name, "checkpoint-%020" PRIu64, generation);
    return temp_folder_file(&folder, name);
}

static void expect_lsn(unsigned number)
{
    struct tr_checkpoint_store *store = open_store(3);
    struct tr_state marks;
    char value[32];
    tr_state_init(&marks);
    (void)snprintf(value, sizeof value, "0/%X", number);
    if (OPS->load(store, &marks, &err) != TR_OK)
        fail_msg("load: %s %s", err.message, err.detail);
    assert_string_equal(tr_state_get(&marks, "lsn"), value);
    tr_state_free(&marks);
    OPS->close(store);
}

static void expect_load_error(enum tr_code code, const char *in_message, const char *in_hint)
{
    struct tr_checkpoint_store *store = open_store(3);
    struct tr_state marks;
    tr_state_init(&marks);
    assert_int_equal(OPS->load(store, &marks, &err), TR_FAIL);
    assert_string_equal(tr_error_info(err.code)->name, tr_error_info(code)->name);
    if (strstr(err.message, in_message) == NULL || strstr(err.hint, in_hint) == NULL)
        fail_msg("message \"%s\" hint \"%s\"", err.message, err.hint);
    assert_int_equal(marks.count, 0);
    tr_state_free(&marks);
    OPS->close(store);
}

static void first_start_has_none(void **state)
{
    (void)state;
    struct tr_checkpoint_store *store = open_store(3);
    struct tr_state marks;
    tr_state_init(&marks);
    assert_int_equal(OPS->load(store, &marks, &err), TR_END);
    tr_state_free(&marks);
    OPS->close(store);
    OPS->close(NULL);
}

static void newest_comes_back_and_old_ones_go(void **state)
{
    (void)state;
    struct tr_checkpoint_store *store = open_store(3);
    for (unsigned i = 1; i <= 10; i++)
        save_lsn(store, i);
    OPS->close(store);
    for (uint64_t i = 1; i <= 10; i++)
        assert_int_equal(file_exists(generation_path(i)), i > 7);
    expect_lsn(10);
    /* fewer are to be kept from now on, and numbers go on */
    store = open_store(2);
    save_lsn(store, 11);
    OPS->close(store);
    for (uint64_t i = 7; i <= 11; i++)
        assert_int_equal(file_exists(generation_path(i)), i > 9);
    expect_lsn(11);
}

static void text_is_as_documented(void **state)
{
    (void)state;
    struct tr_checkpoint_store *store = open_store(3);
    save_lsn(store, 0x16B3748);
    OPS->close(store);
    size_t len;
    char *text = file_read(generation_path(1), &len);
    assert_non_null(text);
    static const char head[] = "tailrace-checkpoint 1\npipeline: shop\ngeneration: 1\ncreated: 20";
    static const char tail[] = "Z\nchunk/16412/3=done\nlsn=0/16B3748\nend count=2 xxh3-64=";
    assert_memory_equal(text, head, sizeof head - 1);
    const char *at = strstr(text, tail);
    assert_non_null(at);
    assert_int_equal(strlen(at), sizeof tail - 1 + 17);
    struct stat info;
    assert_int_equal(stat(generation_path(1), &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
    free(text);
}

static void damaged_newest_is_refused_and_named(void **state)
{
    (void)state;
    struct tr_checkpoint_store *store = open_store(3);
    for (unsigned i = 1; i <= 3; i++)
        save_lsn(store, i);
    OPS->close(store);
    size_t len;
    char *text = file_read(generation_path(3), &len);
    /* cut off */
    file_write(generation_path(3), text, len - 5);
    expect_load_error(TR_E_CHECKPOINT_CORRUPT, "00000000000000000003", "generation 2");
    file_write(generation_path(3), text, 0);
    expect_load_error(TR_E_CHECKPOINT_CORRUPT, "it is empty", "generation 2");
    /* one bit */
    text[len / 2] ^= 1;
    file_write(generation_path(3), text, len);
    expect_load_error(TR_E_CHECKPOINT_CORRUPT, "checksum", "generation 2");
    text[len / 2] ^= 1;
    /* too long for a checkpoint: a sparse file */
    file_write(generation_path(3), text, len);
    assert_int_equal(truncate(generation_path(3), (off_t)65 << 20), 0);
    expect_load_error(TR_E_CHECKPOINT_CORRUPT, "longer than", "generation 2");
    /* the one before is damaged too: the hint goes further back */
    file_write(generation_path(3), text, len - 1);
    file_write(generation_path(2), "tailrace", 8);
    expect_load_error(TR_E_CHECKPOINT_CORRUPT, "cut off", "generation 1");
    file_write(generation_path(1), "", 0);
    expect_load_error(TR_E_CHECKPOINT_CORRUPT, "cut off", "tailrace drop");
    free(text);
}

static void moving_the_damaged_file_away_goes_on(void **state)
{
    (void)state;
    struct tr_checkpoint_store *store = open_store(3);
    for (unsigned i = 1; i <= 3; i++)
        save_lsn(store, i);
    OPS->close(store);
    file_write(generation_path(3), "x\n", 2);
    expect_load_error(TR_E_CHECKPOINT_CORRUPT, "damaged", "mv ");
    assert_int_equal(rename(generation_path(3), temp_folder_file(&folder, "bad")), 0);
    expect_lsn(2);
}

static void other_kinds_are_refused(void **state)
{
    (void)state;
    struct tr_checkpoint_store *store = NULL;
    assert_int_equal(OPS->open(folder.path, "books", 3, &store, &err), TR_OK);
    save_lsn(store, 1);
    OPS->close(store);
    expect_load_error(TR_E_CHECKPOINT_FOREIGN, "\"books\"", "\"shop\"");
    /* another file of the family, then one that is no file */
    assert_int_equal(unlink(generation_path(1)), 0);
    assert_int_equal(mkdir(generation_path(2), 0700), 0);
    expect_load_error(TR_E_CHECKPOINT_CORRUPT, "not a regular file", "drop");
    assert_int_equal(rmdir(generation_path(2)), 0);
    /* version 2, whole */
    char future[128];
    int len =
        snprintf(future, sizeof future, "tailrace-checkpoint 2\nanything\nend count=0 xxh3-64=");
    len += snprintf(future + len, sizeof future - (size_t)len, "%016llx\n",
                    (unsigned long long)XXH3_64bits(future, (size_t)len));
    file_write(generation_path(3), future, (size_t)len);
    expect_load_error(TR_E_CHECKPOINT_VERSION, "newer", "Run the tailrace");
}

static void one_process_a_folder(void **state)
{
    (void)state;
    struct tr_checkpoint_store *store = open_store(3), *second = NULL;
    assert_int_equal(OPS->open(folder.path, "shop", 3, &second, &err), TR_FAIL);
    assert_int_equal(err.code, TR_E_ALREADY_RUNNING);
    char pid[32];
    (void)snprintf(pid, sizeof pid, "process %ld", (long)getpid());
    assert_non_null(strstr(err.detail, pid));
    assert_null(second);
    OPS->close(store);
    store = open_store(3);
    OPS->close(store);
}

static void unusable_folder(void **state)
{
    (void)state;
    struct tr_checkpoint_store *store = NULL;
    file_write(temp_folder_file(&folder, "plain"), "", 0);
    assert_int_equal(OPS->open(temp_folder_file(&folder, "plain/state"), "shop", 3, &store, &err),
                     TR_FAIL);
    assert_int_equal(err.code, TR_E_STATE_DIR);
    assert_non_null(strstr(err.hint, "TAILRACE_STATE_DIR"));
    /* missing parents are made */
    assert_int_equal(OPS->open(temp_folder_file(&folder, "a/b/c"), "shop", 3, &store, &err), TR_OK);
    OPS->close(store);
    struct stat info;
    assert_int_equal(stat(temp_folder_file(&folder, "a/b/c"), &info), 0);
    assert_int_equal(info.st_mode & 0777, 0700);
    assert_int_equal(OPS->open(folder.path, "two\nlines", 3, &store, &err), TR_FAIL);
}

static void savepoints_stay_and_can_be_put_back(void **state)
{
    (void)state;
    struct tr_checkpoint_store *store = open_store(2);
    struct tr_state marks;
    char first[PATH_MAX], second[PATH_MAX];
    tr_state_init(&marks);
    save_lsn(store, 1);
    assert_int_equal(tr_state_set(&marks, "lsn", "0/AA", &err), TR_OK);
    assert_int_equal(OPS->savepoint(store, &marks, NULL, first, sizeof first, &err), TR_OK);
    assert_int_equal(OPS->savepoint(store, &marks, temp_folder_file(&folder, "elsewhere"), second,
                                    sizeof second, &err),
                     TR_OK);
    for (unsigned i = 2; i <= 9; i++)
        save_lsn(store, i);
    assert_true(file_exists(first));
    assert_true(file_exists(second));
    assert_non_null(strstr(first, "/savepoints/savepoint-20"));
    file_write(temp_folder_file(&folder, "plain"), "", 0);
    assert_int_equal(OPS->savepoint(store, &marks, temp_folder_file(&folder, "plain/x"), second,
                                    sizeof second, &err),
                     TR_FAIL);
    assert_int_equal(err.code, TR_E_CHECKPOINT_IO);
    OPS->close(store);
    size_t len;
    char *text = file_read(first, &len);
    file_write(generation_path(10), text, len);
    free(text);
    expect_lsn(0xAA);
    tr_state_free(&marks);
}

static void drop_removes_every_generation(void **state)
{
    (void)state;
    struct tr_checkpoint_store *store = open_store(3);
    struct tr_state marks;
    tr_state_init(&marks);
    for (unsigned i = 1; i <= 3; i++)
        save_lsn(store, i);
    assert_int_equal(OPS->drop(store, &err), TR_OK);
    assert_int_equal(OPS->load(store, &marks, &err), TR_END);
    for (uint64_t i = 1; i <= 3; i++)
        assert_false(file_exists(generation_path(i)));
    save_lsn(store, 7);
    OPS->close(store);
    expect_lsn(7);
    tr_state_free(&marks);
}

/* A savepoint is asked for on another thread while checkpoints are saved. */
struct saver {
    int failures;
    struct tr_checkpoint_store *store;
};

static void *save_many(void *arg)
{
    struct tr_state marks;
    struct tr_error error;
    struct saver *saver = arg;
    tr_state_init(&marks);
    for (unsigned i = 1; i <= 100; i++) {
        char value[32];
        (void)snprintf(value, sizeof value, "0/%X", i);
        if (tr_state_set(&marks, "lsn", value, &error) != TR_OK ||
            OPS->save(saver->store, &marks, &error) != TR_OK)
            saver->failures++;
    }
    tr_state_free(&marks);
    return NULL;
}

static void threads_take_turns(void **state)
{
    (void)state;
    struct saver shared = {0, open_store(2)};
    pthread_t thread;
    struct tr_state marks;
    char path[PATH_MAX];
    tr_state_init(&marks);
    save_lsn(shared.store, 0);
    assert_int_equal(pthread_create(&thread, NULL, save_many, &shared), 0);
    for (unsigned i = 0; i < 50; i++) {
        assert_int_equal(OPS->load(shared.store, &marks, &err), TR_OK);
        assert_int_equal(OPS->savepoint(shared.store, &marks, NULL, path, sizeof path, &err),
                         TR_OK);
    }
    (void)pthread_join(thread, NULL);
    assert_int_equal(shared.failures, 0);
    tr_state_free(&marks);
    OPS->close(shared.store);
    expect_lsn(100);
    assert_true(file_exists(generation_path(101)));
}

/* ---- faults ---------------------------------------------------------------------------------- */

static int save_until_killed(void *ctx)
{
    unsigned count = *(unsigned *)ctx;
    struct tr_checkpoint_store *store = NULL;
    struct tr_error error;
    struct tr_state marks;
    tr_state_init(&marks);
    if (OPS->open(folder.path, "shop", 2, &store, &error) != TR_OK)
        return 2;
    enum tr_status loaded = OPS->load(store, &marks, &error);
    if (loaded == TR_FAIL)
        return 3;
    const char *last = tr_state_get(&marks, "lsn");
    unsigned long number = last == NULL ? 0 : strtoul(last + 2, NULL, 16);
    for (unsigned i = 0; i < count; i++) {
        char value[32];
        (void)snprintf(value, sizeof value, "0/%lX", ++number);
        if (tr_state_set(&marks, "lsn", value, &error) != TR_OK ||
            OPS->save(store, &marks, &error) != TR_OK)
            return 4;
        /* what was promised, for the parent */
        file_write(temp_folder_file(&folder, "promised"), value, strlen(value));
    }
    tr_state_free(&marks);
    OPS->close(store);
    return 0;
}

static unsigned long number_in(const char *text)
{
    return text == NULL ? 0 : strtoul(text + 2, NULL, 16);
}

static void killed_at_each_step(void **state)
{
    (void)state;
    static const char *const points[] = {"checkpoint.before_write=kill@", "checkpoint.write=kill@",
                                         "checkpoint.before_rename=kill@",
                                         "checkpoint.after_rename=kill@"};
    unsigned count = 9;
    for (size_t p = 0; p < sizeof points / sizeof points[0]; p++) {
        for (unsigned at = 1; at <= 5; at++) {
            char spec[64];
            (void)snprintf(spec, sizeof spec, "%s%u", points[p], at);
            assert_int_equal(in_child(spec, save_until_killed, &count), CHILD_KILLED);
            size_t len;
            char *promised = file_read(temp_folder_file(&folder, "promised"), &len);
            struct tr_checkpoint_store *store = open_store(2);
            struct tr_state marks;
            tr_state_init(&marks);
            enum tr_status loaded = OPS->load(store, &marks, &err);
            assert_int_not_equal(loaded, TR_FAIL);
            unsigned long found = number_in(tr_state_get(&marks, "lsn"));
            unsigned long least = number_in(promised);
            assert_true(found == least || found == least + 1);
            assert_false(file_exists(temp_folder_file(&folder, "checkpoint.tmp")));
            tr_state_free(&marks);
            OPS->close(store);
            free(promised);
        }
    }
}

struct failing_save {
    enum tr_code code;
    bool newest_moves; /* the fault comes after the rename */
};

static int save_fails_then_works(void *ctx)
{
    const struct failing_save *expected = ctx;
    struct tr_checkpoint_store *store = NULL;
    struct tr_error error;
    struct tr_state marks, loaded;
    tr_state_init(&marks);
    tr_state_init(&loaded);
    if (OPS->open(folder.path, "shop", 2, &store, &error) != TR_OK ||
        tr_state_set(&marks, "lsn", "0/1", &error) != TR_OK ||
        OPS->save(store, &marks, &error) != TR_OK)
        return 2;
    if (tr_state_set(&marks, "lsn", "0/2", &error) != TR_OK ||
        OPS->save(store, &marks, &error) != TR_FAIL)
        return 3;
    if (error.code != expected->code || error.class != TR_TRANSIENT || error.hint[0] == '\0')
        return 4;
    if (file_exists(temp_folder_file(&folder, "checkpoint.tmp")))
        return 5;
    if (OPS->load(store, &loaded, &error) != TR_OK ||
        strcmp(tr_state_get(&loaded, "lsn"), expected->newest_moves ? "0/2" : "0/1") != 0)
        return 6;
    if (tr_state_set(&marks, "lsn", "0/3", &error) != TR_OK ||
        OPS->save(store, &marks, &error) != TR_OK)
        return 7;
    if (OPS->load(store, &loaded, &error) != TR_OK ||
        strcmp(tr_state_get(&loaded, "lsn"), "0/3") != 0)
        return 8;
    tr_state_free(&marks);
    tr_state_free(&loaded);
    OPS->close(store);
    return 0;
}

static void faults_leave_the_last_one(void **state)
{
    (void)state;
    static const struct {
        const char *spec;
        struct failing_save expected;
    } cases[] = {
        {"checkpoint.write=enospc@2", {TR_E_CHECKPOINT_DISK_FULL, false}},
        {"checkpoint.write=error@2", {TR_E_CHECKPOINT_IO, false}},
        {"checkpoint.before_write=enospc@2", {TR_E_CHECKPOINT_DISK_FULL, false}},
        {"checkpoint.before_rename=error@2", {TR_E_CHECKPOINT_IO, false}},
        {"checkpoint.after_rename=error@2", {TR_E_CHECKPOINT_IO, true}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct failing_save expected = cases[i].expected;
        assert_int_equal(in_child(cases[i].spec, save_fails_then_works, &expected), 0);
        temp_folder_remove(&folder);
        temp_folder_make(&folder);
    }
}

/* The kernel's own refusal in the middle of a write, not a failpoint's. */
static int save_over_the_limit(void *ctx)
{
    (void)ctx;
    struct tr_checkpoint_store *store = NULL;
    struct tr_error error;
    struct tr_state marks;
    tr_state_init(&marks);
    char *large = calloc(1, 8193);
    if (large == NULL || OPS->open(folder.path, "shop", 2, &store, &error) != TR_OK ||
        tr_state_set(&marks, "lsn", "0/1", &error) != TR_OK ||
        OPS->save(store, &marks, &error) != TR_OK)
        return 2;
    memset(large, 'x', 8192);
    (void)signal(SIGXFSZ, SIG_IGN);
    struct rlimit limit = {4096, 4096};
    if (setrlimit(RLIMIT_FSIZE, &limit) != 0 ||
        tr_state_set(&marks, "large", large, &error) != TR_OK)
        return 3;
    if (OPS->save(store, &marks, &error) != TR_FAIL || error.code != TR_E_CHECKPOINT_DISK_FULL)
        return 4;
    if (OPS->load(store, &marks, &error) != TR_OK ||
        strcmp(tr_state_get(&marks, "lsn"), "0/1") != 0)
        return 5;
    free(large);
    tr_state_free(&marks);
    OPS->close(store);
    return 0;
}

static void full_in_mid_write(void **state)
{
    (void)state;
    assert_int_equal(in_child(NULL, save_over_the_limit, NULL), 0);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(first_start_has_none),
        TEST(newest_comes_back_and_old_ones_go),
        TEST(text_is_as_documented),
        TEST(damaged_newest_is_refused_and_named),
        TEST(moving_the_damaged_file_away_goes_on),
        TEST(other_kinds_are_refused),
        TEST(one_process_a_folder),
        TEST(unusable_folder),
        TEST(savepoints_stay_and_can_be_put_back),
        TEST(drop_removes_every_generation),
        TEST(threads_take_turns),
        TEST(killed_at_each_step),
        TEST(faults_leave_the_last_one),
        TEST(full_in_mid_write),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
