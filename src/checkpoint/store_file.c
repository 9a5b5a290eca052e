/* Checkpoints in the pipeline's state folder. Threads: any; a mutex makes them take turns, since a
 * savepoint may be asked for on the control socket while a checkpoint is saved.
 *
 *   lock                               flock for as long as the store is open: one process a folder
 *   checkpoint-00000000000000000042    a generation (20 digits, the highest number is the newest)
 *   checkpoint.tmp                     one being written; a leftover is removed by open
 *   savepoints/savepoint-TIME-NUMBER   copies that retention leaves alone
 *
 * The text is that of event/marks_text.h. A save writes a new file and renames it, so that the
 * newest generation is whole at every moment; older ones are removed only after that. A generation
 * that is damaged is never skipped silently: going back is a decision about repeats, and a
 * person's. The number in the name decides which is the newest, so that a savepoint can be put back
 * by copying it under a higher number. */
#include "checkpoint/store_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <pthread.h>
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

#define NAME_PREFIX "checkpoint-"
#define NAME_BYTES 32 /* prefix + 20 digits + NUL */
#define NAME_DIGITS 20u
#define TEMP_NAME "checkpoint.tmp"
#define SAVEPOINT_TRIES_MAX 100u
#define LOOK_BACK_MAX 64u /* older generations read to name the newest good one */
#define FOLDER_MODE 0700u
#define FILE_MODE 0600u

struct tr_checkpoint_store {
    pthread_mutex_t turn; /* over what follows, and over the folder */
    char *location;
    char *pipeline_name;
    unsigned keep_count;
    int dir_fd, lock_fd;
    uint64_t generation; /* newest on disk, 0 = none */
    bool pruned;         /* leftovers of earlier runs are gone: later saves remove one file each */
    struct tr_outbuf text;
};

struct generations {
    uint64_t *numbers; /* descending */
    size_t count, capacity;
};

static void generation_name(uint64_t generation, char *buf)
{
    (void)snprintf(buf, NAME_BYTES, NAME_PREFIX "%020" PRIu64, generation);
}

static bool parse_generation(const char *name, uint64_t *generation)
{
    size_t prefix_len = sizeof NAME_PREFIX - 1;
    if (strncmp(name, NAME_PREFIX, prefix_len) != 0 || strlen(name) != prefix_len + NAME_DIGITS ||
        strspn(name + prefix_len, "0123456789") != NAME_DIGITS)
        return false;
    errno = 0;
    *generation = strtoull(name + prefix_len, NULL, 10);
    return errno == 0 && *generation != 0;
}

/* ---- errors ---------------------------------------------------------------------------------- */

static enum tr_status fail_io(const struct tr_checkpoint_store *store, const char *what,
                              const char *path, int error, struct tr_error *err)
{
    if (tr_fs_is_full(error)) {
        (void)tr_fail(err, TR_E_CHECKPOINT_DISK_FULL, "could not %s %s/%s: no room", what,
                      store->location, path);
        (void)tr_detail(err, "%s", strerror(error));
        return tr_hint(err, "Make room on the file system of %s. The last checkpoint stands.",
                       store->location);
    }
    if (error == EACCES || error == EPERM || error == EROFS || error == ENOTDIR) {
        (void)tr_fail(err, TR_E_STATE_DIR, "could not %s %s/%s", what, store->location, path);
        (void)tr_detail(err, "%s", strerror(error));
        return tr_hint(err,
                       "Let this user write to %s, or set TAILRACE_STATE_DIR to another folder.",
                       store->location);
    }
    (void)tr_fail(err, TR_E_CHECKPOINT_IO, "could not %s %s/%s", what, store->location, path);
    (void)tr_detail(err, "%s", strerror(error));
    return tr_hint(err, "Look at the disk below %s. The last checkpoint stands.", store->location);
}

/* ---- the folder ------------------------------------------------------------------------------ */

static int compare_descending(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return left < right ? 1 : left > right ? -1 : 0;
}

static enum tr_status list_generations(const struct tr_checkpoint_store *store,
                                       struct generations *list, struct tr_error *err)
{
    *list = (struct generations){0};
    int fd = openat(store->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (dir == NULL) {
        int error = errno;
        if (fd >= 0)
            (void)close(fd);
        return fail_io(store, "list", "", error, err);
    }
    enum tr_status status = TR_OK;
    for (;;) {
        uint64_t generation;
        errno = 0;
        struct dirent *entry = readdir(dir);
        if (entry == NULL) {
            if (errno != 0)
                status = fail_io(store, "list", "", errno, err);
            break;
        }
        if (!parse_generation(entry->d_name, &generation))
            continue;
        if (list->count == list->capacity) {
            size_t capacity = list->capacity == 0 ? 16 : list->capacity * 2;
            uint64_t *numbers = realloc(list->numbers, capacity * sizeof *numbers);
            if (numbers == NULL) {
                status = tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory to list checkpoints");
                break;
            }
            list->numbers = numbers;
            list->capacity = capacity;
        }
        list->numbers[list->count++] = generation;
    }
    (void)closedir(dir);
    if (status != TR_OK) {
        free(list->numbers);
        *list = (struct generations){0};
        return status;
    }
    if (list->count > 1)
        qsort(list->numbers, list->count, sizeof *list->numbers, compare_descending);
    return TR_OK;
}

static enum tr_status lock_folder(struct tr_checkpoint_store *store, struct tr_error *err)
{
    int error = tr_fs_lock(store->dir_fd, TR_CHECKPOINT_LOCK_NAME, &store->lock_fd);
    if (error == 0)
        return TR_OK;
    if (error != EWOULDBLOCK)
        return fail_io(store, "lock", TR_CHECKPOINT_LOCK_NAME, error, err);
    long holder = tr_fs_lock_holder(store->dir_fd, TR_CHECKPOINT_LOCK_NAME);
    (void)tr_fail(err, TR_E_ALREADY_RUNNING,
                  "pipeline %s is already running with the state folder %s", store->pipeline_name,
                  store->location);
    if (holder != 0)
        (void)tr_detail(err, "process %ld holds the lock", holder);
    return tr_hint(
        err,
        "Stop it with `tailrace stop %s`, or give this pipeline another pipeline.name or "
        "TAILRACE_STATE_DIR.",
        store->pipeline_name);
}

static void store_close(struct tr_checkpoint_store *store)
{
    if (store == NULL)
        return;
    if (store->lock_fd >= 0)
        (void)close(store->lock_fd);
    if (store->dir_fd >= 0)
        (void)close(store->dir_fd);
    (void)pthread_mutex_destroy(&store->turn);
    tr_outbuf_free(&store->text);
    free(store->location);
    free(store->pipeline_name);
    free(store);
}

static enum tr_status open_folder(struct tr_checkpoint_store *store, struct tr_error *err)
{
    int error = tr_fs_mkdirs(store->location, FOLDER_MODE);
    if (error == 0) {
        store->dir_fd = open(store->location, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        error = store->dir_fd < 0 ? errno : 0;
    }
    if (error != 0) {
        if (tr_fs_is_full(error))
            return fail_io(store, "make", "", error, err);
        (void)tr_fail(err, TR_E_STATE_DIR, "could not make or open the state folder %s",
                      store->location);
        (void)tr_detail(err, "%s", strerror(error));
        return tr_hint(err, "Set TAILRACE_STATE_DIR to a folder that this user may write to.");
    }
    if (lock_folder(store, err) != TR_OK)
        return TR_FAIL;
    if (unlinkat(store->dir_fd, TEMP_NAME, 0) != 0 && errno != ENOENT)
        return fail_io(store, "remove", TEMP_NAME, errno, err);
    struct generations list;
    if (list_generations(store, &list, err) != TR_OK)
        return TR_FAIL;
    store->generation = list.count == 0 ? 0 : list.numbers[0];
    free(list.numbers);
    return TR_OK;
}

static enum tr_status file_open(const char *location, const char *pipeline_name,
                                unsigned keep_count, struct tr_checkpoint_store **out,
                                struct tr_error *err)
{
    *out = NULL;
    if (pipeline_name[0] == '\0' || strlen(pipeline_name) > TR_MARKS_TEXT_PIPELINE_BYTES_MAX ||
        strchr(pipeline_name, '\n') != NULL) {
        (void)tr_fail_as(err, TR_CONFIG, TR_E_STATE_DIR,
                         "the pipeline's name cannot be stamped into a checkpoint");
        return tr_hint(err, "Set pipeline.name to a name of one line and at most %u bytes.",
                       TR_MARKS_TEXT_PIPELINE_BYTES_MAX);
    }
    struct tr_checkpoint_store *store = calloc(1, sizeof *store);
    if (store == NULL)
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for the checkpoint store");
    (void)pthread_mutex_init(&store->turn, NULL);
    store->dir_fd = store->lock_fd = -1;
    store->keep_count = keep_count < TR_CHECKPOINT_KEEP_MIN   ? TR_CHECKPOINT_KEEP_MIN
                        : keep_count > TR_CHECKPOINT_KEEP_MAX ? TR_CHECKPOINT_KEEP_MAX
                                                              : keep_count;
    store->location = strdup(location);
    store->pipeline_name = strdup(pipeline_name);
    enum tr_status status = TR_OK;
    if (store->location == NULL || store->pipeline_name == NULL)
        status = tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for the checkpoint store");
    if (status == TR_OK)
        status = open_folder(store, err);
    if (status != TR_OK) {
        store_close(store);
        return status;
    }
    *out = store;
    return TR_OK;
}

/* ---- load ------------------------------------------------------------------------------------ */

/* Reads one generation. An errno value when it cannot be read, else 0 and a verdict. */
static int read_generation(const struct tr_checkpoint_store *store, uint64_t generation,
                           struct tr_state *marks, char *pipeline, size_t pipeline_size,
                           enum tr_marks_verdict *verdict, const char **why, uint32_t *line)
{
    char name[NAME_BYTES], *data;
    size_t len;
    generation_name(generation, name);
    *line = 0;
    int error = tr_fs_read_file(store->dir_fd, name, TR_MARKS_TEXT_BYTES_MAX, &data, &len);
    if (error == EFBIG || error == EINVAL) {
        *verdict = TR_MARKS_DAMAGED;
        *why =
            error == EFBIG ? "it is longer than a checkpoint can be" : "it is not a regular file";
        return 0;
    }
    if (error != 0)
        return error;
    struct tr_marks_stamp stamp;
    *verdict = tr_marks_text_parse(TR_CHECKPOINT_MAGIC, data, len, &stamp, marks, why, line);
    (void)snprintf(pipeline, pipeline_size, "%.*s", (int)stamp.pipeline.len,
                   stamp.pipeline.len == 0 ? "" : stamp.pipeline.ptr);
    free(data);
    return 0;
}

/* The newest whole generation of this pipeline below list->numbers[0], 0 when there is none. */
static uint64_t newest_good(const struct tr_checkpoint_store *store, const struct generations *list)
{
    struct tr_state scratch;
    tr_state_init(&scratch);
    uint64_t found = 0;
    for (size_t i = 1; i < list->count && i <= LOOK_BACK_MAX && found == 0; i++) {
        char pipeline[TR_MARKS_TEXT_PIPELINE_BYTES_MAX + 1];
        enum tr_marks_verdict verdict;
        const char *why;
        uint32_t line;
        if (read_generation(store, list->numbers[i], &scratch, pipeline, sizeof pipeline, &verdict,
                            &why, &line) == 0 &&
            verdict == TR_MARKS_GOOD && strcmp(pipeline, store->pipeline_name) == 0)
            found = list->numbers[i];
    }
    tr_state_free(&scratch);
    return found;
}

static enum tr_status fail_corrupt(const struct tr_checkpoint_store *store,
                                   const struct generations *list, const char *why, uint32_t line,
                                   struct tr_error *err)
{
    char name[NAME_BYTES];
    generation_name(list->numbers[0], name);
    uint64_t good = newest_good(store, list);
    (void)tr_fail(err, TR_E_CHECKPOINT_CORRUPT, "the newest checkpoint %s/%s is damaged: %s",
                  store->location, name, why);
    if (good == 0) {
        (void)tr_detail(err, "line %" PRIu32 "; no other whole generation is in the folder", line);
        return tr_hint(err,
                       "Restore the file from a copy or a savepoint. If there is none, start over: "
                       "`tailrace drop FILE`, then `tailrace run FILE` makes a new snapshot.");
    }
    (void)tr_detail(err, "line %" PRIu32 "; the newest whole generation is %" PRIu64, line, good);
    return tr_hint(
        err,
        "Restore the file from a copy; or `mv %s/%s /tmp/` to go on from generation "
        "%" PRIu64 ". A sink that keeps the position itself (SQLite, PostgreSQL, files, "
        "Kafka with exactly-once) then repeats nothing; any other gets the changes since "
        "generation %" PRIu64 " again, and if the source has let go of them it says so "
        "instead of leaving a gap.",
        store->location, name, good, good);
}

static enum tr_status store_load(struct tr_checkpoint_store *store, struct tr_state *marks,
                                 struct tr_error *err)
{
    struct generations list;
    if (list_generations(store, &list, err) != TR_OK)
        return TR_FAIL;
    enum tr_status status = TR_END;
    if (list.count == 0)
        goto cleanup;
    char pipeline[TR_MARKS_TEXT_PIPELINE_BYTES_MAX + 1], name[NAME_BYTES];
    enum tr_marks_verdict verdict = TR_MARKS_GOOD;
    const char *why = "";
    uint32_t line = 0;
    generation_name(list.numbers[0], name);
    int error = read_generation(store, list.numbers[0], marks, pipeline, sizeof pipeline, &verdict,
                                &why, &line);
    status = TR_OK;
    if (error == ENOMEM || verdict == TR_MARKS_NO_MEMORY) {
        status = tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory to read a checkpoint");
    } else if (error != 0) {
        status = fail_io(store, "read", name, error, err);
    } else if (verdict == TR_MARKS_DAMAGED) {
        status = fail_corrupt(store, &list, why, line, err);
    } else if (verdict == TR_MARKS_NEWER) {
        (void)tr_fail(err, TR_E_CHECKPOINT_VERSION,
                      "the checkpoint %s/%s is of a newer format than this tailrace knows",
                      store->location, name);
        status = tr_hint(err, "Run the tailrace that wrote it. This one is %s and knows format %d.",
                         TAILRACE_VERSION, TR_MARKS_TEXT_VERSION);
    } else if (strcmp(pipeline, store->pipeline_name) != 0) {
        (void)tr_fail(err, TR_E_CHECKPOINT_FOREIGN,
                      "the checkpoint %s/%s belongs to pipeline \"%s\", not to \"%s\"",
                      store->location, name, pipeline, store->pipeline_name);
        status = tr_hint(err,
                         "Set pipeline.name back to \"%s\", or give \"%s\" a state folder of its "
                         "own (TAILRACE_STATE_DIR).",
                         pipeline, store->pipeline_name);
    } else {
        store->generation = list.numbers[0];
    }
    if (status != TR_OK)
        tr_state_clear(marks);
cleanup:
    free(list.numbers);
    return status;
}

/* ---- save ------------------------------------------------------------------------------------ */

static enum tr_status format_marks(struct tr_checkpoint_store *store, uint64_t generation,
                                   const struct tr_state *marks, struct tr_error *err)
{
    char created[TR_MARKS_TEXT_CREATED_BYTES + 1];
    struct tr_marks_stamp stamp = {
        .pipeline = {store->pipeline_name, strlen(store->pipeline_name)},
        .generation = generation,
        .created = tr_marks_text_created(tr_clock_wall_us(), created, sizeof created),
    };
    if (tr_marks_text_format(TR_CHECKPOINT_MAGIC, &stamp, marks, &store->text))
        return TR_OK;
    if (store->text.failed)
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory to write a checkpoint");
    (void)tr_fail(err, TR_E_CHECKPOINT_LIMIT, "the position is too large for a checkpoint");
    return tr_detail(err, "%zu items; at most %u items and %zu bytes are possible", marks->count,
                     TR_MARKS_TEXT_MARKS_MAX, TR_MARKS_TEXT_BYTES_MAX);
}

/* A failure to remove is no failure to save: it is said in the log and tried again at the next
 * start. */
static void remove_generation(const struct tr_checkpoint_store *store, uint64_t generation)
{
    char name[NAME_BYTES];
    generation_name(generation, name);
    if (unlinkat(store->dir_fd, name, 0) != 0 && errno != ENOENT)
        tr_log(TR_LOG_WARN, "an old checkpoint could not be removed", "file=%s/%s error=\"%s\"",
               store->location, name, strerror(errno));
}

static void prune(struct tr_checkpoint_store *store)
{
    if (store->pruned) {
        if (store->generation > store->keep_count)
            remove_generation(store, store->generation - store->keep_count);
        return;
    }
    struct generations list;
    struct tr_error ignored;
    if (list_generations(store, &list, &ignored) != TR_OK)
        return;
    for (size_t i = store->keep_count; i < list.count; i++)
        remove_generation(store, list.numbers[i]);
    free(list.numbers);
    store->pruned = true;
}

static enum tr_status store_save(struct tr_checkpoint_store *store, const struct tr_state *marks,
                                 struct tr_error *err)
{
    static const struct tr_fs_failpoints failpoints = {
        "checkpoint.write", "checkpoint.before_rename", "checkpoint.after_rename"};
    if (store->generation == UINT64_MAX)
        return tr_fail(err, TR_E_CHECKPOINT_LIMIT, "the last generation number is used up");
    uint64_t generation = store->generation + 1;
    char name[NAME_BYTES];
    generation_name(generation, name);
    int error = TR_FAILPOINT("checkpoint.before_write");
    if (error != 0)
        return fail_io(store, "write", name, error, err);
    if (format_marks(store, generation, marks, err) != TR_OK)
        return TR_FAIL;
    bool renamed;
    error = tr_fs_replace(store->dir_fd, name, TEMP_NAME, FILE_MODE, store->text.data,
                          store->text.len, &failpoints, &renamed);
    if (renamed)
        store->generation = generation; /* its number is taken, even if its durability is unknown */
    if (error != 0) {
        store->pruned = false; /* the next save looks at the whole folder again */
        return fail_io(store, "write", name, error, err);
    }
    prune(store);
    return TR_OK;
}

/* ---- savepoint, drop ------------------------------------------------------------------------- */

/* A name that is not taken: the time, and a number when two fall into one microsecond. */
static int write_savepoint(struct tr_checkpoint_store *store, int dir_fd, char *name,
                           size_t name_size)
{
    char created[TR_MARKS_TEXT_CREATED_BYTES + 1];
    (void)tr_marks_text_created(tr_clock_wall_us(), created, sizeof created);
    for (unsigned i = 1; i <= SAVEPOINT_TRIES_MAX; i++) {
        (void)snprintf(name, name_size, "savepoint-%s-%u", created, i);
        if (faccessat(dir_fd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
            continue;
        char temp_name[96];
        bool renamed;
        (void)snprintf(temp_name, sizeof temp_name, "%.80s.tmp", name);
        return tr_fs_replace(dir_fd, name, temp_name, FILE_MODE, store->text.data, store->text.len,
                             NULL, &renamed);
    }
    return EEXIST;
}

static enum tr_status store_savepoint(struct tr_checkpoint_store *store,
                                      const struct tr_state *marks, const char *path,
                                      char *path_out, size_t path_out_size, struct tr_error *err)
{
    char folder[PATH_MAX], name[80] = "";
    int len = path != NULL ? snprintf(folder, sizeof folder, "%s", path)
                           : snprintf(folder, sizeof folder, "%s/" TR_CHECKPOINT_SAVEPOINTS_FOLDER,
                                      store->location);
    int error = len < 0 || (size_t)len >= sizeof folder ? ENAMETOOLONG : 0;
    int dir_fd = -1;
    if (error == 0)
        error = tr_fs_mkdirs(folder, FOLDER_MODE);
    if (error == 0) {
        dir_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        error = dir_fd < 0 ? errno : 0;
    }
    if (error == 0) {
        uint64_t generation = store->generation == 0 ? 1 : store->generation;
        if (format_marks(store, generation, marks, err) != TR_OK) {
            (void)close(dir_fd);
            return TR_FAIL;
        }
        error = write_savepoint(store, dir_fd, name, sizeof name);
    }
    if (dir_fd >= 0)
        (void)close(dir_fd);
    if (error != 0) {
        enum tr_code code = tr_fs_is_full(error) ? TR_E_CHECKPOINT_DISK_FULL : TR_E_CHECKPOINT_IO;
        (void)tr_fail(err, code, "could not write a savepoint into %s", folder);
        (void)tr_detail(err, "%s", strerror(error));
        return tr_hint(err, "Give a folder that this user may write to. The pipeline goes on.");
    }
    (void)snprintf(path_out, path_out_size, "%s/%s", folder, name);
    return TR_OK;
}

static enum tr_status store_drop(struct tr_checkpoint_store *store, struct tr_error *err)
{
    struct generations list;
    if (list_generations(store, &list, err) != TR_OK)
        return TR_FAIL;
    enum tr_status status = TR_OK;
    /* Oldest first: a drop that is cut off leaves the newest, never an old position as the newest.
     */
    for (size_t i = list.count; i-- > 0 && status == TR_OK;) {
        char name[NAME_BYTES];
        generation_name(list.numbers[i], name);
        if (unlinkat(store->dir_fd, name, 0) != 0 && errno != ENOENT)
            status = fail_io(store, "remove", name, errno, err);
    }
    free(list.numbers);
    if (status != TR_OK)
        return status;
    int error = tr_fs_sync_dir(store->dir_fd);
    if (error != 0)
        return fail_io(store, "sync", "", error, err);
    store->generation = 0;
    store->pruned = false;
    return TR_OK;
}

/* ---- the contract: one caller at a time ------------------------------------------------------ */

static enum tr_status file_load(struct tr_checkpoint_store *store, struct tr_state *marks,
                                struct tr_error *err)
{
    (void)pthread_mutex_lock(&store->turn);
    enum tr_status status = store_load(store, marks, err);
    (void)pthread_mutex_unlock(&store->turn);
    return status;
}

static enum tr_status file_save(struct tr_checkpoint_store *store, const struct tr_state *marks,
                                struct tr_error *err)
{
    (void)pthread_mutex_lock(&store->turn);
    enum tr_status status = store_save(store, marks, err);
    (void)pthread_mutex_unlock(&store->turn);
    return status;
}

static enum tr_status file_savepoint(struct tr_checkpoint_store *store,
                                     const struct tr_state *marks, const char *path, char *path_out,
                                     size_t path_out_size, struct tr_error *err)
{
    (void)pthread_mutex_lock(&store->turn);
    enum tr_status status = store_savepoint(store, marks, path, path_out, path_out_size, err);
    (void)pthread_mutex_unlock(&store->turn);
    return status;
}

static enum tr_status file_drop(struct tr_checkpoint_store *store, struct tr_error *err)
{
    (void)pthread_mutex_lock(&store->turn);
    enum tr_status status = store_drop(store, err);
    (void)pthread_mutex_unlock(&store->turn);
    return status;
}

const struct tr_checkpoint_ops tr_checkpoint_file_ops = {
    .name = "file",
    .open = file_open,
    .load = file_load,
    .save = file_save,
    .savepoint = file_savepoint,
    .drop = file_drop,
    .close = store_close,
};
