/* A rename is atomic but not durable, and a synced file may have no name after a crash: hence the
 * order write, fsync(file), rename, fsync(folder) of rename(2) and fsync(2). A file whose fsync
 * failed is never synced again and believed: it is removed and written anew. */
#include "base/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/failpoint.h"

#define LOCK_TEXT_BYTES_MAX 32

bool tr_fs_is_full(int error) { return error == ENOSPC || error == EDQUOT || error == EFBIG; }

int tr_fs_mkdirs(const char *path, unsigned mode)
{
    char copy[PATH_MAX];
    size_t len = strlen(path);
    if (len == 0)
        return ENOENT;
    if (len >= sizeof copy)
        return ENAMETOOLONG;
    memcpy(copy, path, len + 1);
    for (size_t i = 1; i <= len; i++) {
        if (copy[i] != '/' && copy[i] != '\0')
            continue;
        char kept = copy[i];
        copy[i] = '\0';
        if (mkdir(copy, (mode_t)mode) != 0 && errno != EEXIST) {
            int error = errno;
            struct stat info;
            /* a read-only parent refuses mkdir even where the folder is there */
            if (stat(copy, &info) != 0)
                return error;
        }
        copy[i] = kept;
    }
    struct stat info;
    if (stat(path, &info) != 0)
        return errno;
    return S_ISDIR(info.st_mode) ? 0 : ENOTDIR;
}

int tr_fs_write_all(int fd, const void *data, size_t len)
{
    const char *at = data;
    while (len > 0) {
        ssize_t written = write(fd, at, len);
        if (written < 0) {
            if (errno == EINTR)
                continue;
            return errno;
        }
        if (written == 0)
            return ENOSPC;
        at += written;
        len -= (size_t)written;
    }
    return 0;
}

int tr_fs_read_file(int dir_fd, const char *name, size_t bytes_max, char **data, size_t *len)
{
    *data = NULL;
    *len = 0;
    /* O_NONBLOCK: a fifo of that name must not hang us */
    int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return errno;
    int error = 0;
    struct stat info;
    char *buf = NULL;
    size_t got = 0, size;
    if (fstat(fd, &info) != 0) {
        error = errno;
        goto cleanup;
    }
    if (!S_ISREG(info.st_mode)) {
        error = EINVAL;
        goto cleanup;
    }
    if (info.st_size < 0 || (unsigned long long)info.st_size > bytes_max) {
        error = EFBIG;
        goto cleanup;
    }
    size = (size_t)info.st_size;
    buf = malloc(size + 1);
    if (buf == NULL) {
        error = ENOMEM;
        goto cleanup;
    }
    while (got < size) {
        ssize_t n = read(fd, buf + got, size - got);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            error = errno;
            goto cleanup;
        }
        if (n == 0)
            break; /* it became shorter: the caller's checksum will tell */
        got += (size_t)n;
    }
    buf[got] = '\0';
    *data = buf;
    *len = got;
    buf = NULL;
cleanup:
    free(buf);
    (void)close(fd);
    return error;
}

static int sync_fd(int fd)
{
    while (fsync(fd) != 0) {
        if (errno != EINTR)
            return errno;
    }
    return 0;
}

int tr_fs_sync_dir(int dir_fd) { return sync_fd(dir_fd); }

static int write_temp(int dir_fd, const char *temp_name, unsigned mode, const void *data,
                      size_t len, const char *failpoint)
{
    int fd = openat(dir_fd, temp_name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW,
                    (mode_t)mode);
    if (fd < 0)
        return errno;
    int error = failpoint == NULL ? 0 : TR_FAILPOINT(failpoint);
    if (error == 0)
        error = tr_fs_write_all(fd, data, len);
    if (error == 0)
        error = sync_fd(fd);
    if (close(fd) != 0 && error == 0 && errno != EINTR)
        error = errno; /* some network file systems tell of a full disk only here */
    return error;
}

int tr_fs_replace(int dir_fd, const char *name, const char *temp_name, unsigned mode,
                  const void *data, size_t len, const struct tr_fs_failpoints *failpoints,
                  bool *renamed)
{
    static const struct tr_fs_failpoints none;
    if (failpoints == NULL)
        failpoints = &none;
    *renamed = false;
    int error = write_temp(dir_fd, temp_name, mode, data, len, failpoints->write);
    if (error == 0 && failpoints->before_rename != NULL)
        error = TR_FAILPOINT(failpoints->before_rename);
    if (error == 0 && renameat(dir_fd, temp_name, dir_fd, name) != 0)
        error = errno;
    if (error != 0) {
        (void)unlinkat(dir_fd, temp_name, 0);
        return error;
    }
    *renamed = true;
    if (failpoints->after_rename != NULL)
        error = TR_FAILPOINT(failpoints->after_rename);
    if (error == 0)
        error = tr_fs_sync_dir(dir_fd);
    return error;
}

int tr_fs_lock(int dir_fd, const char *name, int *fd)
{
    *fd = -1;
    int file = openat(dir_fd, name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (file < 0)
        return errno;
    while (flock(file, LOCK_EX | LOCK_NB) != 0) {
        int error = errno;
        if (error == EINTR)
            continue;
        (void)close(file);
        return error;
    }
    char text[LOCK_TEXT_BYTES_MAX];
    int len = snprintf(text, sizeof text, "%ld\n", (long)getpid());
    /* the lock is what counts; the number only makes the other's message better */
    if (ftruncate(file, 0) == 0 && len > 0)
        (void)tr_fs_write_all(file, text, (size_t)len);
    *fd = file;
    return 0;
}

long tr_fs_lock_holder(int dir_fd, const char *name)
{
    char *text = NULL;
    size_t len;
    if (tr_fs_read_file(dir_fd, name, LOCK_TEXT_BYTES_MAX, &text, &len) != 0)
        return 0;
    long holder = strtol(text, NULL, 10);
    free(text);
    return holder > 0 ? holder : 0;
}
