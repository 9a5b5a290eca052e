/* Files that survive a crash: small helpers that give errno values, so that each caller words its
 * own error. All of them restart after EINTR. No state; any thread. */
#ifndef TR_BASE_FS_H
#define TR_BASE_FS_H

#include <stdbool.h>
#include <stddef.h>

/* Each returns 0 or an errno value. */

/* Makes a folder and its missing parents, each with this mode. 0 when it is there already. */
int tr_fs_mkdirs(const char *path, unsigned mode);
/* Everything or an error. ENOSPC when the kernel takes nothing and gives no reason. */
int tr_fs_write_all(int fd, const void *data, size_t len);
/* The whole file, at most bytes_max (EFBIG when it is larger), into *data (malloc; a NUL is added
 * and not counted). dir_fd may be AT_FDCWD. Refuses what is not a regular file with EINVAL. */
int tr_fs_read_file(int dir_fd, const char *name, size_t bytes_max, char **data, size_t *len);
int tr_fs_sync_dir(int dir_fd);

/* The places of tr_fs_replace at which a test may make it fail or die; NULL = none. */
struct tr_fs_failpoints {
    const char *write;         /* before the bytes are written to the temporary file */
    const char *before_rename; /* they are synced, under the temporary name */
    const char *after_rename;  /* renamed, the folder not yet synced */
};
/* Puts `data` under `name` so that a crash at any moment leaves the old file or the new one: write
 * temp_name, fsync, rename, fsync of the folder. *renamed tells, also after an error, whether
 * `name` is the new file by now. The temporary file is removed after an error. mode: e.g. 0600. */
int tr_fs_replace(int dir_fd, const char *name, const char *temp_name, unsigned mode,
                  const void *data, size_t len, const struct tr_fs_failpoints *failpoints,
                  bool *renamed);
/* An exclusive lock on a file that is made when absent, held until *fd is closed. EWOULDBLOCK when
 * another process (or another open of this one) holds it. The holder's process id is its content.
 */
int tr_fs_lock(int dir_fd, const char *name, int *fd);
/* The process id in a lock file, 0 when it is not known. */
long tr_fs_lock_holder(int dir_fd, const char *name);
/* ENOSPC, EDQUOT, EFBIG: room is missing, and a later try may work. */
bool tr_fs_is_full(int error);

#endif
