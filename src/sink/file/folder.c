/* See folder.h for the layout and for why it is safe. */
#include "sink/file/folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/outbuf.h"
#include "event/marks_text.h"

#define MANIFEST_TEMP_NAME "manifest.tmp"
#define LOCK_NAME "tailrace.lock"
#define FOLDER_MODE 0750u
#define MANIFEST_MODE 0640u
#define SEQUENCE_DIGITS 20u

void tr_file_folder_init(struct tr_file_folder *folder, const char *path, const char *pipeline)
{
    *folder =
        (struct tr_file_folder){.path = path, .pipeline = pipeline, .dir_fd = -1, .lock_fd = -1};
    tr_state_init(&folder->marks);
}

void tr_file_folder_close(struct tr_file_folder *folder)
{
    if (folder->lock_fd >= 0)
        (void)close(folder->lock_fd);
    if (folder->dir_fd >= 0)
        (void)close(folder->dir_fd);
    folder->lock_fd = folder->dir_fd = -1;
    tr_state_free(&folder->marks);
}

/* ---- errors ---------------------------------------------------------------------------------- */

enum tr_status tr_file_fail(const struct tr_file_folder *folder, const char *what, const char *name,
                            int error, struct tr_error *err)
{
    if (error == TR_FILE_ECOMPRESS)
        return tr_fail(err, TR_E_FILE_COMPRESSION, "could not compress %s/%s", folder->path, name);
    if (error == ENOMEM)
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory to %s %s/%s", what, folder->path, name);
    if (tr_fs_is_full(error)) {
        (void)tr_fail(err, TR_E_FILE_DISK_FULL, "could not %s %s/%s: no room", what, folder->path,
                      name);
        (void)tr_detail(err, "%s", strerror(error));
        return tr_hint(err,
                       "Make room on the file system of %s. Published files are whole; the rows "
                       "after them are written again.",
                       folder->path);
    }
    if (error == EACCES || error == EPERM || error == EROFS || error == ENOTDIR ||
        error == ENOENT || error == ELOOP || error == ENAMETOOLONG) {
        (void)tr_fail(err, TR_E_FILE_PATH, "could not %s %s/%s", what, folder->path, name);
        (void)tr_detail(err, "%s", strerror(error));
        return tr_hint(err, "Set sink.path to a folder that this user may write to.");
    }
    (void)tr_fail(err, TR_E_FILE_IO, "could not %s %s/%s", what, folder->path, name);
    (void)tr_detail(err, "%s", strerror(error));
    return tr_hint(err, "Look at the disk below %s.", folder->path);
}

static enum tr_status fail_manifest(const struct tr_file_folder *folder, const char *why,
                                    uint32_t line, struct tr_error *err)
{
    (void)tr_fail(err, TR_E_FILE_MANIFEST_CORRUPT,
                  "the manifest %s/" TR_FILE_MANIFEST_NAME " is damaged: %s", folder->path, why);
    if (line > 0)
        (void)tr_detail(err, "line %" PRIu32, line);
    return tr_hint(err,
                   "Restore it from a copy of the same moment as the files. Or start over: "
                   "`tailrace drop FILE` keeps the published files and forgets the position, the "
                   "next run then makes a new snapshot behind them.");
}

/* ---- names ----------------------------------------------------------------------------------- */

/* 20 digits, '-', anything, .jsonl[.gz|.zst]. */
static bool parse_name(const char *name, size_t len, uint64_t *sequence)
{
    static const enum tr_file_compression all[] = {TR_FILE_NONE, TR_FILE_GZIP, TR_FILE_ZSTD};
    if (len <= SEQUENCE_DIGITS || strspn(name, "0123456789") != SEQUENCE_DIGITS ||
        name[SEQUENCE_DIGITS] != '-' || memchr(name, '/', len) != NULL)
        return false;
    bool suffix_found = false;
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        const char *suffix = tr_file_suffix(all[i]);
        size_t suffix_len = strlen(suffix);
        if (len > suffix_len && memcmp(name + len - suffix_len, suffix, suffix_len) == 0)
            suffix_found = true;
    }
    errno = 0;
    *sequence = strtoull(name, NULL, 10);
    return suffix_found && errno == 0 && *sequence != 0;
}

static bool is_temp_name(const char *name, size_t *len, uint64_t *sequence)
{
    size_t suffix_len = sizeof TR_FILE_TEMP_SUFFIX - 1;
    *len = strlen(name);
    if (*len <= suffix_len || strcmp(name + *len - suffix_len, TR_FILE_TEMP_SUFFIX) != 0)
        return false;
    *len -= suffix_len;
    return parse_name(name, *len, sequence);
}

/* ---- the manifest ---------------------------------------------------------------------------- */

static bool note_number(const struct tr_marks_stamp *stamp, const char *name, uint64_t *number)
{
    struct tr_slice note = tr_marks_text_note(stamp, name);
    char text[SEQUENCE_DIGITS + 1];
    if (note.len == 0 || note.len > SEQUENCE_DIGITS)
        return false;
    memcpy(text, note.ptr, note.len);
    text[note.len] = '\0';
    if (strspn(text, "0123456789") != note.len)
        return false;
    errno = 0;
    *number = strtoull(text, NULL, 10);
    return errno == 0;
}

static bool read_notes(struct tr_file_folder *folder, const struct tr_marks_stamp *stamp)
{
    uint64_t named = 0;
    if (!note_number(stamp, "sequence", &folder->sequence))
        return false;
    folder->file[0] = '\0';
    folder->file_bytes = 0;
    struct tr_slice file = tr_marks_text_note(stamp, "file");
    if (file.len == 0)
        return true; /* nothing published, or the last one is not of interest any more */
    if (file.len >= sizeof folder->file || !note_number(stamp, "bytes", &folder->file_bytes))
        return false;
    memcpy(folder->file, file.ptr, file.len);
    folder->file[file.len] = '\0';
    return parse_name(folder->file, file.len, &named) && named == folder->sequence;
}

static enum tr_status load_manifest(struct tr_file_folder *folder, struct tr_error *err)
{
    char *data = NULL;
    size_t len;
    folder->generation = folder->sequence = folder->file_bytes = 0;
    folder->file[0] = '\0';
    tr_state_clear(&folder->marks);
    int error = tr_fs_read_file(folder->dir_fd, TR_FILE_MANIFEST_NAME, TR_MARKS_TEXT_BYTES_MAX,
                                &data, &len);
    if (error == ENOENT)
        return TR_END;
    if (error == EFBIG || error == EINVAL)
        return fail_manifest(folder,
                             error == EFBIG ? "it is longer than a manifest can be"
                                            : "it is not a regular file",
                             0, err);
    if (error != 0)
        return tr_file_fail(folder, "read", TR_FILE_MANIFEST_NAME, error, err);
    struct tr_marks_stamp stamp;
    const char *why;
    uint32_t line;
    enum tr_status status = TR_OK;
    switch (tr_marks_text_parse(TR_FILE_MANIFEST_MAGIC, data, len, &stamp, &folder->marks, &why,
                                &line)) {
    case TR_MARKS_GOOD:
        break;
    case TR_MARKS_DAMAGED:
        status = fail_manifest(folder, why, line, err);
        goto cleanup;
    case TR_MARKS_NEWER:
        (void)tr_fail(err, TR_E_FILE_MANIFEST_VERSION,
                      "the manifest %s/" TR_FILE_MANIFEST_NAME
                      " is of a newer format than this tailrace "
                      "knows",
                      folder->path);
        status =
            tr_hint(err, "Run the tailrace that wrote it, or set sink.path to an empty folder.");
        goto cleanup;
    case TR_MARKS_NO_MEMORY:
        status = tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory to read a manifest");
        goto cleanup;
    }
    folder->generation = stamp.generation;
    /* after a drop (no marks) another pipeline may take the folder over and go on numbering */
    if (folder->marks.count > 0 &&
        (stamp.pipeline.len != strlen(folder->pipeline) ||
         memcmp(stamp.pipeline.ptr, folder->pipeline, stamp.pipeline.len) != 0)) {
        (void)tr_fail(err, TR_E_FILE_MANIFEST_FOREIGN,
                      "the folder %s belongs to pipeline \"%.*s\", not "
                      "to \"%s\"",
                      folder->path, (int)stamp.pipeline.len, stamp.pipeline.ptr, folder->pipeline);
        status =
            tr_hint(err,
                    "Set sink.path to a folder of this pipeline's own, or pipeline.name back to "
                    "\"%.*s\".",
                    (int)stamp.pipeline.len, stamp.pipeline.ptr);
    } else if (!read_notes(folder, &stamp)) {
        status = fail_manifest(folder, "its file, bytes or sequence is wrong", 0, err);
    }
cleanup:
    free(data);
    return status;
}

static enum tr_status save_manifest(struct tr_file_folder *folder, const struct tr_state *marks,
                                    struct tr_error *err)
{
    char created[TR_MARKS_TEXT_CREATED_BYTES + 1], sequence[24], bytes[24];
    (void)snprintf(sequence, sizeof sequence, "%" PRIu64, folder->sequence);
    (void)snprintf(bytes, sizeof bytes, "%" PRIu64, folder->file_bytes);
    struct tr_marks_stamp stamp = {
        .pipeline = {folder->pipeline, strlen(folder->pipeline)},
        .generation = folder->generation + 1,
        .created = tr_marks_text_created(tr_clock_wall_us(), created, sizeof created),
        .note_count = folder->file[0] != '\0' ? 3 : 1,
        .notes = {{{"sequence", 8}, {sequence, strlen(sequence)}},
                  {{"file", 4}, {folder->file, strlen(folder->file)}},
                  {{"bytes", 5}, {bytes, strlen(bytes)}}},
    };
    struct tr_outbuf text = {0};
    enum tr_status status = TR_OK;
    if (!tr_marks_text_format(TR_FILE_MANIFEST_MAGIC, &stamp, marks, &text)) {
        status = tr_fail(err, text.failed ? TR_E_OUT_OF_MEMORY : TR_E_INTERNAL,
                         "the position cannot be put into %s/" TR_FILE_MANIFEST_NAME, folder->path);
    } else {
        bool renamed;
        int error = tr_fs_replace(folder->dir_fd, TR_FILE_MANIFEST_NAME, MANIFEST_TEMP_NAME,
                                  MANIFEST_MODE, text.data, text.len, NULL, &renamed);
        if (error != 0)
            status = tr_file_fail(folder, "write", TR_FILE_MANIFEST_NAME, error, err);
        else
            folder->generation++;
    }
    tr_outbuf_free(&text);
    return status;
}

/* ---- start ----------------------------------------------------------------------------------- */

static enum tr_status open_folder(struct tr_file_folder *folder, bool make, struct tr_error *err)
{
    if (folder->dir_fd >= 0)
        return TR_OK;
    int error = make ? tr_fs_mkdirs(folder->path, FOLDER_MODE) : 0;
    if (error == 0) {
        folder->dir_fd = open(folder->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        error = folder->dir_fd < 0 ? errno : 0;
    }
    if (error == ENOENT && !make)
        return TR_END;
    return error == 0 ? TR_OK : tr_file_fail(folder, "open", "", error, err);
}

static enum tr_status lock_folder(struct tr_file_folder *folder, struct tr_error *err)
{
    int error = tr_fs_lock(folder->dir_fd, LOCK_NAME, &folder->lock_fd);
    if (error == 0)
        return TR_OK;
    if (error != EWOULDBLOCK)
        return tr_file_fail(folder, "lock", LOCK_NAME, error, err);
    (void)tr_fail(err, TR_E_FILE_IN_USE, "another writer uses the folder %s", folder->path);
    long holder = tr_fs_lock_holder(folder->dir_fd, LOCK_NAME);
    if (holder != 0)
        (void)tr_detail(err, "process %ld holds the lock", holder);
    return tr_hint(err, "Stop it, or set sink.path to a folder of this sink's own.");
}

struct scan {
    uint64_t published_max;
    bool last_is_published, last_is_temp;
};

/* What lies in the folder. remove_temps: removes the leftovers, but not the temporary file that the
 * manifest names. */
static enum tr_status scan_folder(struct tr_file_folder *folder, bool remove_temps,
                                  struct scan *scan, struct tr_error *err)
{
    *scan = (struct scan){0};
    int fd = openat(folder->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (dir == NULL) {
        int error = errno;
        if (fd >= 0)
            (void)close(fd);
        return tr_file_fail(folder, "list", "", error, err);
    }
    enum tr_status status = TR_OK;
    while (status == TR_OK) {
        errno = 0;
        struct dirent *entry = readdir(dir);
        if (entry == NULL) {
            if (errno != 0)
                status = tr_file_fail(folder, "list", "", errno, err);
            break;
        }
        const char *name = entry->d_name;
        size_t len = strlen(name);
        uint64_t sequence;
        if (parse_name(name, len, &sequence)) {
            if (sequence > scan->published_max)
                scan->published_max = sequence;
            if (strcmp(name, folder->file) == 0)
                scan->last_is_published = true;
        } else if (is_temp_name(name, &len, &sequence)) {
            if (strlen(folder->file) == len && memcmp(name, folder->file, len) == 0)
                scan->last_is_temp = true;
            else if (remove_temps && unlinkat(folder->dir_fd, name, 0) != 0 && errno != ENOENT)
                status = tr_file_fail(folder, "remove", name, errno, err);
        }
    }
    (void)closedir(dir);
    return status;
}

/* Step (3), again after a crash. */
static enum tr_status rename_last(struct tr_file_folder *folder, struct tr_error *err)
{
    char temp_name[TR_FILE_NAME_BYTES + sizeof TR_FILE_TEMP_SUFFIX];
    (void)snprintf(temp_name, sizeof temp_name, "%s" TR_FILE_TEMP_SUFFIX, folder->file);
    if (renameat(folder->dir_fd, temp_name, folder->dir_fd, folder->file) != 0)
        return tr_file_fail(folder, "publish", folder->file, errno, err);
    return TR_OK;
}

static enum tr_status finish_publishing(struct tr_file_folder *folder, const struct scan *scan,
                                        struct tr_error *err)
{
    char temp_name[TR_FILE_NAME_BYTES + sizeof TR_FILE_TEMP_SUFFIX];
    (void)snprintf(temp_name, sizeof temp_name, "%s" TR_FILE_TEMP_SUFFIX, folder->file);
    if (!scan->last_is_temp)
        return TR_OK; /* published; a reader may have taken it away since */
    if (scan->last_is_published) {
        if (unlinkat(folder->dir_fd, temp_name, 0) != 0)
            return tr_file_fail(folder, "remove", temp_name, errno, err);
        return TR_OK;
    }
    struct stat info;
    if (fstatat(folder->dir_fd, temp_name, &info, AT_SYMLINK_NOFOLLOW) != 0)
        return tr_file_fail(folder, "read", temp_name, errno, err);
    if (!S_ISREG(info.st_mode) || (uint64_t)info.st_size != folder->file_bytes) {
        (void)tr_fail(err, TR_E_FILE_MANIFEST_CORRUPT,
                      "%s/%s has %lld bytes, its manifest says %" PRIu64, folder->path, temp_name,
                      (long long)info.st_size, folder->file_bytes);
        return tr_hint(err,
                       "Restore the folder from a copy; or start over with `tailrace drop FILE`, "
                       "which keeps the published files.");
    }
    if (rename_last(folder, err) != TR_OK)
        return TR_FAIL;
    tr_log(TR_LOG_INFO, "published the file that a crash had left unfinished", "file=%s/%s",
           folder->path, folder->file);
    return TR_OK;
}

/* What we read may be in the page cache only, after a sync that failed: nothing is told to the
 * source on its ground before it is on the disk. */
static enum tr_status settle(struct tr_file_folder *folder, struct tr_error *err)
{
    int fd = openat(folder->dir_fd, TR_FILE_MANIFEST_NAME, O_RDONLY | O_CLOEXEC);
    int error = 0;
    if (fd >= 0) {
        error = fsync(fd) != 0 ? errno : 0;
        (void)close(fd);
    } else if (errno != ENOENT) {
        error = errno;
    }
    if (error == 0)
        error = tr_fs_sync_dir(folder->dir_fd);
    return error == 0 ? TR_OK : tr_file_fail(folder, "sync", TR_FILE_MANIFEST_NAME, error, err);
}

enum tr_status tr_file_folder_peek(struct tr_file_folder *folder, struct tr_error *err)
{
    enum tr_status status = open_folder(folder, false, err);
    if (status == TR_OK)
        status = load_manifest(folder, err);
    return status;
}

enum tr_status tr_file_folder_acquire(struct tr_file_folder *folder, struct tr_error *err)
{
    if (open_folder(folder, true, err) != TR_OK ||
        (folder->lock_fd < 0 && lock_folder(folder, err) != TR_OK) ||
        load_manifest(folder, err) == TR_FAIL)
        goto fail;
    struct scan scan;
    if (scan_folder(folder, false, &scan, err) != TR_OK)
        goto fail;
    if (scan.published_max > folder->sequence) {
        (void)tr_fail(err, TR_E_FILE_MANIFEST_STALE,
                      "the folder %s holds published file %" PRIu64
                      ", its manifest knows of %" PRIu64,
                      folder->path, scan.published_max, folder->sequence);
        (void)tr_hint(
            err, "Restore the manifest that belongs to the files, or set sink.path to an empty "
                 "folder. Or start over: `tailrace drop FILE` keeps the published files, the "
                 "next run makes a new snapshot behind them.");
        goto fail;
    }
    if (scan_folder(folder, true, &scan, err) != TR_OK ||
        finish_publishing(folder, &scan, err) != TR_OK)
        goto fail;
    if (unlinkat(folder->dir_fd, MANIFEST_TEMP_NAME, 0) != 0 && errno != ENOENT) {
        (void)tr_file_fail(folder, "remove", MANIFEST_TEMP_NAME, errno, err);
        goto fail;
    }
    if (settle(folder, err) == TR_OK)
        return TR_OK;
fail:
    if (folder->lock_fd >= 0)
        (void)close(folder->lock_fd);
    folder->lock_fd = -1;
    return TR_FAIL;
}

/* ---- publish, drop --------------------------------------------------------------------------- */

enum tr_status tr_file_folder_publish(struct tr_file_folder *folder,
                                      const struct tr_file_output *output,
                                      const struct tr_state *marks, struct tr_error *err)
{
    int error = TR_FAILPOINT("sink.file.before_manifest");
    if (output != NULL) {
        (void)snprintf(folder->file, sizeof folder->file, "%s", tr_file_output_name(output));
        folder->file_bytes = tr_file_output_bytes(output);
        folder->sequence++;
        /* the .tmp name must be on the disk before a manifest names it; so is the rename before it
         */
        if (error == 0)
            error = tr_fs_sync_dir(folder->dir_fd);
    }
    if (error != 0)
        return tr_file_fail(folder, "publish", folder->file, error, err);
    if (save_manifest(folder, marks, err) != TR_OK)
        return TR_FAIL;
    error = TR_FAILPOINT("sink.file.after_manifest");
    if (output != NULL) {
        if (error == 0)
            error = TR_FAILPOINT("sink.file.before_publish");
        if (error == 0 && rename_last(folder, err) != TR_OK)
            return TR_FAIL;
        if (error == 0)
            error = TR_FAILPOINT("sink.file.after_publish");
    }
    return error == 0 ? TR_OK : tr_file_fail(folder, "publish", folder->file, error, err);
}

enum tr_status tr_file_folder_drop(struct tr_file_folder *folder, struct tr_error *err)
{
    struct tr_state none;
    struct scan scan;
    tr_state_init(&none);
    enum tr_status status = open_folder(folder, false, err);
    if (status != TR_OK)
        return status;
    if (folder->lock_fd < 0 && lock_folder(folder, err) != TR_OK)
        return TR_FAIL;
    enum tr_status manifest = load_manifest(folder, err);
    if (manifest == TR_FAIL && err->code != TR_E_FILE_MANIFEST_CORRUPT)
        return TR_FAIL; /* another pipeline's position is not ours to forget */
    if (manifest != TR_OK) {
        folder->file[0] = '\0';
        folder->sequence = folder->generation = 0;
        tr_state_clear(&folder->marks);
    }
    if (scan_folder(folder, false, &scan, err) != TR_OK)
        return TR_FAIL;
    if (manifest == TR_END && scan.published_max == 0)
        return TR_END;
    if (manifest == TR_OK && finish_publishing(folder, &scan, err) != TR_OK &&
        err->code != TR_E_FILE_MANIFEST_CORRUPT)
        return TR_FAIL;
    if (scan.published_max > folder->sequence)
        folder->sequence = scan.published_max;
    folder->file[0] = '\0';
    folder->file_bytes = 0;
    if (save_manifest(folder, &none, err) != TR_OK)
        return TR_FAIL;
    tr_state_clear(&folder->marks);
    return scan_folder(folder, true, &scan, err);
}
