/* A temporary folder, files in it, and child processes for tests that arm failpoints or die. */
#ifndef TEST_TEMP_FOLDER_H
#define TEST_TEMP_FOLDER_H

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

struct temp_folder {
    char path[PATH_MAX / 2];
};

static inline void temp_folder_make(struct temp_folder *folder)
{
    const char *base = getenv("TMPDIR");
    (void)snprintf(folder->path, sizeof folder->path, "%s/tailrace-test-XXXXXX",
                   base != NULL ? base : "/tmp");
    if (mkdtemp(folder->path) == NULL)
        abort();
}

static inline int temp_folder_remove_one(const char *path, const struct stat *info, int kind,
                                         struct FTW *place)
{
    (void)info;
    (void)kind;
    (void)place;
    return remove(path);
}

static inline void temp_folder_remove(struct temp_folder *folder)
{
    (void)nftw(folder->path, temp_folder_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static inline const char *temp_folder_file(const struct temp_folder *folder, const char *name)
{
    static char path[4][PATH_MAX];
    static int turn;
    char *buf = path[turn++ % 4];
    (void)snprintf(buf, PATH_MAX, "%s/%s", folder->path, name);
    return buf;
}

static inline bool file_exists(const char *path)
{
    struct stat info;
    return lstat(path, &info) == 0;
}

/* malloc'ed, with a NUL behind it; NULL when it cannot be read. */
static inline char *file_read(const char *path, size_t *len)
{
    FILE *file = fopen(path, "rb");
    *len = 0;
    if (file == NULL)
        return NULL;
    (void)fseek(file, 0, SEEK_END);
    long size = ftell(file);
    rewind(file);
    char *data = malloc((size_t)size + 1);
    if (data == NULL || fread(data, 1, (size_t)size, file) != (size_t)size)
        abort();
    data[size] = '\0';
    (void)fclose(file);
    *len = (size_t)size;
    return data;
}

static inline void file_write(const char *path, const void *data, size_t len)
{
    FILE *file = fopen(path, "wb");
    if (file == NULL || fwrite(data, 1, len, file) != len || fclose(file) != 0)
        abort();
}

/* Runs fn in a child with TAILRACE_FAILPOINT set (NULL: none). Returns its exit code, or 1000 + the
 * signal that ended it. The child must not use cmocka's asserts: it returns 0 for good. */
void tr_failpoint_init(void);
static inline int in_child(const char *failpoints, int (*fn)(void *ctx), void *ctx)
{
    (void)fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        if (failpoints != NULL)
            (void)setenv("TAILRACE_FAILPOINT", failpoints, 1);
        else
            (void)unsetenv("TAILRACE_FAILPOINT");
        tr_failpoint_init();
        int code = fn(ctx);
        (void)fflush(NULL);
        _exit(code);
    }
    int state = 0;
    if (child < 0 || waitpid(child, &state, 0) != child)
        abort();
    return WIFSIGNALED(state) ? 1000 + WTERMSIG(state) : WEXITSTATUS(state);
}
#define CHILD_KILLED (1000 + 9)

#endif
