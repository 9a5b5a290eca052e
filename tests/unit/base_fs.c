/* Files that survive a crash, folders, locks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <errno.h>

#include "base/fs.h"
#include "temp_folder.h"

static struct temp_folder folder;
static int dir_fd;

static int setup(void **state)
{
    (void)state;
    temp_folder_make(&folder);
    dir_fd = open(folder.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return dir_fd >= 0 ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    (void)close(dir_fd);
    temp_folder_remove(&folder);
    return 0;
}

static void folders(void **state)
{
    (void)state;
    assert_int_equal(tr_fs_mkdirs(temp_folder_file(&folder, "a//b/c/"), 0750), 0);
    assert_int_equal(tr_fs_mkdirs(temp_folder_file(&folder, "a/b/c"), 0750), 0);
    struct stat info;
    assert_int_equal(stat(temp_folder_file(&folder, "a/b"), &info), 0);
    assert_int_equal(info.st_mode & 0777, 0750);
    file_write(temp_folder_file(&folder, "plain"), "", 0);
    assert_int_equal(tr_fs_mkdirs(temp_folder_file(&folder, "plain"), 0750), ENOTDIR);
    assert_int_equal(tr_fs_mkdirs(temp_folder_file(&folder, "plain/x"), 0750), ENOTDIR);
    assert_int_equal(tr_fs_mkdirs("", 0750), ENOENT);
    char *huge = malloc(PATH_MAX + 10);
    memset(huge, 'x', PATH_MAX + 9);
    huge[PATH_MAX + 9] = '\0';
    assert_int_equal(tr_fs_mkdirs(huge, 0750), ENAMETOOLONG);
    free(huge);
}

static void reading(void **state)
{
    (void)state;
    char *data;
    size_t len;
    file_write(temp_folder_file(&folder, "ten"), "0123456789", 10);
    file_write(temp_folder_file(&folder, "none"), "", 0);
    assert_int_equal(tr_fs_read_file(dir_fd, "ten", 10, &data, &len), 0);
    assert_int_equal(len, 10);
    assert_string_equal(data, "0123456789");
    free(data);
    assert_int_equal(tr_fs_read_file(dir_fd, "none", 10, &data, &len), 0);
    assert_int_equal(len, 0);
    free(data);
    assert_int_equal(tr_fs_read_file(dir_fd, "ten", 9, &data, &len), EFBIG);
    assert_null(data);
    assert_int_equal(tr_fs_read_file(dir_fd, "absent", 9, &data, &len), ENOENT);
    assert_int_equal(tr_fs_read_file(dir_fd, ".", 9, &data, &len), EINVAL);
    assert_int_equal(mkfifo(temp_folder_file(&folder, "fifo"), 0600), 0);
    assert_int_equal(tr_fs_read_file(dir_fd, "fifo", 9, &data, &len), EINVAL);
}

static void replacing(void **state)
{
    (void)state;
    bool renamed;
    size_t len;
    assert_int_equal(tr_fs_replace(dir_fd, "f", "f.tmp", 0640, "one", 3, NULL, &renamed), 0);
    assert_true(renamed);
    assert_int_equal(tr_fs_replace(dir_fd, "f", "f.tmp", 0640, "two!", 4, NULL, &renamed), 0);
    char *data = file_read(temp_folder_file(&folder, "f"), &len);
    assert_string_equal(data, "two!");
    free(data);
    assert_false(file_exists(temp_folder_file(&folder, "f.tmp")));
    /* a target that cannot be replaced: the temporary file goes away */
    assert_int_equal(mkdir(temp_folder_file(&folder, "d"), 0700), 0);
    assert_int_equal(tr_fs_replace(dir_fd, "d", "d.tmp", 0640, "x", 1, NULL, &renamed), EISDIR);
    assert_false(renamed);
    assert_false(file_exists(temp_folder_file(&folder, "d.tmp")));
    /* a symbolic link under the temporary name is not followed */
    assert_int_equal(symlink("f", temp_folder_file(&folder, "g.tmp")), 0);
    assert_int_equal(tr_fs_replace(dir_fd, "g", "g.tmp", 0640, "x", 1, NULL, &renamed), ELOOP);
    data = file_read(temp_folder_file(&folder, "f"), &len);
    assert_string_equal(data, "two!");
    free(data);
}

static int try_lock(void *ctx)
{
    (void)ctx;
    int fd;
    int error = tr_fs_lock(dir_fd, "lock", &fd);
    return error == EWOULDBLOCK ? 1 : error == 0 ? 0 : 2;
}

static void locking(void **state)
{
    (void)state;
    int fd, second;
    assert_int_equal(tr_fs_lock_holder(dir_fd, "lock"), 0);
    assert_int_equal(tr_fs_lock(dir_fd, "lock", &fd), 0);
    assert_int_equal(tr_fs_lock_holder(dir_fd, "lock"), getpid());
    assert_int_equal(tr_fs_lock(dir_fd, "lock", &second), EWOULDBLOCK);
    assert_int_equal(second, -1);
    assert_int_equal(in_child(NULL, try_lock, NULL), 1);
    (void)close(fd);
    assert_int_equal(in_child(NULL, try_lock, NULL), 0);
    /* the child's lock went with it */
    assert_int_equal(tr_fs_lock(dir_fd, "lock", &fd), 0);
    (void)close(fd);
    file_write(temp_folder_file(&folder, "lock"), "-5 x", 4);
    assert_int_equal(tr_fs_lock_holder(dir_fd, "lock"), 0);
}

static void full(void **state)
{
    (void)state;
    int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    int error = tr_fs_write_all(fd, "x", 1);
    assert_int_equal(error, ENOSPC);
    assert_true(tr_fs_is_full(error));
    assert_true(tr_fs_is_full(EDQUOT));
    assert_false(tr_fs_is_full(EIO));
    (void)close(fd);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(folders), TEST(reading), TEST(replacing), TEST(locking), TEST(full),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
