/* The option path → the files that are there now. No state. */
#ifndef TR_SOURCE_FILE_DISCOVER_H
#define TR_SOURCE_FILE_DISCOVER_H

#include "source/file/options.h"

#define TR_FILESRC_FILES_MAX TR_SPLITS_MAX /* more in one listing are refused */

struct tr_filesrc_paths {
    char **items; /* sorted by strcmp, each once */
    size_t count, capacity;
    char **folders; /* that were looked into: to be watched. Sorted, each once */
    size_t folder_count, folder_capacity;
};

/* missing is called for every element that names one file (or folder) which is not there; when it
 * gives TR_FAIL, so does this. Errors: FILESRC_UNREADABLE (a folder), FILESRC_LIMIT, OUT_OF_MEMORY.
 */
enum tr_status tr_filesrc_list(const struct tr_filesrc_options *options,
                               enum tr_status (*missing)(void *ctx, const char *path,
                                                         struct tr_error *err),
                               void *ctx, struct tr_filesrc_paths *paths, struct tr_error *err);
void tr_filesrc_paths_free(struct tr_filesrc_paths *paths);

/* The table a file's rows are of: its name without folder and extensions; "table" when nothing is
 * left. buf gets at most buf_size - 1 bytes. */
void tr_filesrc_table_name(const char *path, char *buf, size_t buf_size);

#endif
