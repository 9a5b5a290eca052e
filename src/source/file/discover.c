/* An element of path that exists under exactly that name is a file or a folder; else, with * ? or
 * [, it is a glob(7). So a file whose name holds such a character can be given. */
#include "source/file/discover.h"

#include <dirent.h>
#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static enum tr_status append(char ***items, size_t *count, size_t *capacity, const char *text,
                             struct tr_error *err)
{
    if (*count == TR_FILESRC_FILES_MAX)
        return tr_fail_as(err, TR_CONFIG, TR_E_FILESRC_LIMIT, "path matches more than %d files",
                          TR_FILESRC_FILES_MAX);
    if (*count == *capacity) {
        size_t larger = *capacity == 0 ? 16 : *capacity * 2;
        char **moved = realloc(*items, larger * sizeof *moved);
        if (moved == NULL)
            return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for file names");
        *items = moved;
        *capacity = larger;
    }
    char *copy = strdup(text);
    if (copy == NULL)
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for file names");
    (*items)[(*count)++] = copy;
    return TR_OK;
}

static enum tr_status add_file(struct tr_filesrc_paths *paths, const char *path,
                               struct tr_error *err)
{
    return append(&paths->items, &paths->count, &paths->capacity, path, err);
}

static enum tr_status add_folder(struct tr_filesrc_paths *paths, const char *path,
                                 struct tr_error *err)
{
    /* files come folder by folder: the last one is mostly the same */
    if (paths->folder_count > 0 && strcmp(paths->folders[paths->folder_count - 1], path) == 0)
        return TR_OK;
    return append(&paths->folders, &paths->folder_count, &paths->folder_capacity, path, err);
}

static enum tr_status add_folder_of(struct tr_filesrc_paths *paths, const char *path,
                                    struct tr_error *err)
{
    const char *slash = strrchr(path, '/');
    if (slash == NULL)
        return add_folder(paths, ".", err);
    char *folder = strndup(path, slash == path ? 1 : (size_t)(slash - path));
    if (folder == NULL)
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for file names");
    enum tr_status status = add_folder(paths, folder, err);
    free(folder);
    return status;
}

static enum tr_status list_folder(struct tr_filesrc_paths *paths, const char *folder,
                                  struct tr_error *err)
{
    enum tr_status status = add_folder(paths, folder, err);
    DIR *dir = opendir(folder);
    if (dir == NULL) {
        (void)tr_fail(err, TR_E_FILESRC_UNREADABLE, "could not list the folder %.300s", folder);
        return tr_detail(err, "%s", strerror(errno));
    }
    struct dirent *entry;
    while (status == TR_OK && (entry = readdir(dir)) != NULL) {
        char *path;
        struct stat info;
        if (entry->d_name[0] == '.')
            continue;
        if (asprintf(&path, "%s%s%s", folder, folder[strlen(folder) - 1] == '/' ? "" : "/",
                     entry->d_name) < 0) {
            status = tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for file names");
            break;
        }
        if (stat(path, &info) == 0 && S_ISREG(info.st_mode))
            status = add_file(paths, path, err);
        free(path);
    }
    (void)closedir(dir);
    return status;
}

static enum tr_status list_glob(struct tr_filesrc_paths *paths, const char *pattern,
                                struct tr_error *err)
{
    glob_t found = {0};
    int result = glob(pattern, GLOB_NOSORT, NULL, &found);
    if (result == GLOB_NOSPACE)
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for file names");
    enum tr_status status = add_folder_of(paths, pattern, err);
    for (size_t i = 0; result == 0 && i < found.gl_pathc && status == TR_OK; i++) {
        struct stat info;
        if (stat(found.gl_pathv[i], &info) != 0 || !S_ISREG(info.st_mode))
            continue;
        status = add_file(paths, found.gl_pathv[i], err);
        if (status == TR_OK)
            status = add_folder_of(paths, found.gl_pathv[i], err);
    }
    globfree(&found);
    return status;
}

static size_t unique(char **items, size_t count)
{
    size_t kept = 0;
    if (count > 0)
        qsort(items, count, sizeof *items, by_name);
    for (size_t i = 0; i < count; i++) {
        if (kept > 0 && strcmp(items[kept - 1], items[i]) == 0)
            free(items[i]);
        else
            items[kept++] = items[i];
    }
    return kept;
}

enum tr_status tr_filesrc_list(const struct tr_filesrc_options *options,
                               enum tr_status (*missing)(void *ctx, const char *path,
                                                         struct tr_error *err),
                               void *ctx, struct tr_filesrc_paths *paths, struct tr_error *err)
{
    enum tr_status status = TR_OK;
    *paths = (struct tr_filesrc_paths){0};
    for (size_t i = 0; i < options->path.count && status == TR_OK; i++) {
        const char *element = options->path.items[i];
        struct stat info;
        if (stat(element, &info) == 0) {
            if (S_ISDIR(info.st_mode)) {
                status = list_folder(paths, element, err);
                continue;
            }
            status = add_file(paths, element, err);
            if (status == TR_OK)
                status = add_folder_of(paths, element, err);
        } else if (strpbrk(element, "*?[") != NULL) {
            status = list_glob(paths, element, err);
        } else {
            status = add_folder_of(paths, element, err);
            if (status == TR_OK)
                status = missing(ctx, element, err);
        }
    }
    paths->count = unique(paths->items, paths->count);
    paths->folder_count = unique(paths->folders, paths->folder_count);
    return status;
}

void tr_filesrc_paths_free(struct tr_filesrc_paths *paths)
{
    for (size_t i = 0; i < paths->count; i++)
        free(paths->items[i]);
    for (size_t i = 0; i < paths->folder_count; i++)
        free(paths->folders[i]);
    free(paths->items);
    free(paths->folders);
    *paths = (struct tr_filesrc_paths){0};
}

void tr_filesrc_table_name(const char *path, char *buf, size_t buf_size)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash == NULL ? path : slash + 1;
    name += strspn(name, ".");
    size_t len = strcspn(name, ".");
    if (len == 0)
        (void)snprintf(buf, buf_size, "table");
    else
        (void)snprintf(buf, buf_size, "%.*s", (int)(len < buf_size ? len : buf_size - 1), name);
}
