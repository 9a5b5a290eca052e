/* The files of a run: where each begins, which are new, which are gone, and their marks.
 *
 *   at/NAME = position      the contract's mark
 *   file/NAME = …           what finds the file again (identity.h)
 *   filesource = 1          a run has begun: what is found from now on is read from its first byte,
 * also with scan.startup.mode latest
 *
 * Marks do not grow with rotation. A followed file that was deleted is forgotten when it was read
 * to its end. One that was moved away stays known, in case it comes back, but only the last
 * GONE_MAX of those.
 *
 * With several sinks the marks of one file may come from two of them; a position without the file's
 * other mark is dropped, and the other mark without a position counts as 0. The tail says by itself
 * where it was taken. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/outbuf.h"
#include "source/file/source.h"

#define MARK_STARTED "filesource"
#define MARK_STDIN TR_MARK_SPLIT "stdin-"
#define GONE_MAX 1024
#define DELETED_WAIT_MS 2000 /* a writer may still hold a deleted file … */
#define MOVED_WAIT_MS 60000  /* … or one that was moved out of sight */
#define PATH_TEXT_BYTES 4096
#define INFO_BYTES (PATH_TEXT_BYTES + 256)
#define COMPLAIN_INTERVAL_MS 10000

enum tr_status tr_filesrc_io_fail(const char *what, const char *path, int error,
                                  struct tr_error *err)
{
    enum tr_code code = error == EMFILE || error == ENFILE  ? TR_E_FILESRC_LIMIT
                        : error == EACCES || error == EPERM ? TR_E_FILESRC_UNREADABLE
                        : error == ENOMEM                   ? TR_E_OUT_OF_MEMORY
                                                            : TR_E_FILESRC_IO;
    (void)tr_fail(err, code, "%s %.300s", what, path);
    return tr_detail(err, "%s", strerror(error));
}

/* ---- one file ---- */

static void free_file(struct tr_filesrc_file *file)
{
    if (file == NULL)
        return;
    if (file->fd >= 0)
        (void)close(file->fd);
    free((char *)file->split.name);
    free((char *)file->split.container);
    free((char *)file->split.table);
    free(file->path);
    free(file);
}

static bool name_is_taken(const struct tr_filesrc *source, const char *name)
{
    for (uint32_t i = 0; i < source->file_count; i++) {
        if (strcmp(source->files[i]->split.name, name) == 0)
            return true;
    }
    for (size_t i = 0; i < source->known_count; i++) {
        if (strcmp(source->known[i].name, name) == 0)
            return true;
    }
    for (size_t at = 0; at < source->forgotten.len; at += strlen(source->forgotten.data + at) + 1) {
        if (strcmp(source->forgotten.data + at, name) == 0)
            return true;
    }
    return false;
}

static bool fill_strings(struct tr_filesrc_file *file, const struct tr_filesrc *source,
                         const char *name, const char *path)
{
    char text[PATH_TEXT_BYTES], table[256], table_text[sizeof table * 3];
    tr_filesrc_escape(path, text, sizeof text);
    if (source->options.table != NULL)
        (void)snprintf(table_text, sizeof table_text, "%s", source->options.table);
    else {
        tr_filesrc_table_name(path, table, sizeof table);
        tr_filesrc_escape(table, table_text, sizeof table_text);
    }
    file->split.name = strdup(name);
    file->split.container = strdup(text);
    file->split.table = strdup(table_text);
    file->path = strdup(path);
    return file->split.name != NULL && file->split.container != NULL && file->split.table != NULL &&
           file->path != NULL;
}

/* Appends a file; other threads see it from now on. */
static enum tr_status add_file(struct tr_filesrc *source, const char *name, const char *path,
                               struct tr_filesrc_file **out, struct tr_error *err)
{
    uint32_t index = source->file_count;
    if (index == TR_SPLITS_MAX)
        return tr_fail(err, TR_E_FILESRC_LIMIT, "more than %d files were met in one run",
                       TR_SPLITS_MAX);
    struct tr_filesrc_file *file = calloc(1, sizeof *file);
    if (file != NULL)
        file->fd = -1;
    if (file == NULL || !fill_strings(file, source, name, path)) {
        free_file(file);
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for a file");
    }
    file->split.index = index;
    file->split.partition = (int32_t)(tr_filesrc_sum_of(name, strlen(name)).hash & INT32_MAX);
    file->listed = true;
    source->files[index] = file;
    *out = file;
    return TR_OK;
}

static void publish(struct tr_filesrc *source) { atomic_fetch_add(&source->file_count, 1); }

static void take_identity(struct tr_filesrc_file *file, const struct tr_filesrc_found *found)
{
    file->device = found->device;
    file->packing = found->packing;
    file->identity.inode = found->inode;
    file->identity.born_us = found->born_us;
    if (found->head_len > file->identity.head.len)
        file->identity.head = tr_filesrc_sum_of(found->head, found->head_len);
    file->bytes = found->packing == TR_FILESRC_PLAIN ? found->bytes : UINT64_MAX;
}

static enum tr_status add_new(struct tr_filesrc *source, const struct tr_filesrc_found *found,
                              struct tr_filesrc_file **out, struct tr_error *err)
{
    char name[TR_FILESRC_NAME_BYTES];
    unsigned suffix = 0;
    do
        tr_filesrc_name(found, suffix, name, sizeof name);
    while (name_is_taken(source, name) && ++suffix <= TR_SPLITS_MAX);
    if (add_file(source, name, found->path, out, err) != TR_OK)
        return TR_FAIL;
    take_identity(*out, found);
    (*out)->moved = true;
    return TR_OK;
}

static enum tr_status add_known(struct tr_filesrc *source, const struct tr_filesrc_found *found,
                                const struct tr_filesrc_known *known, struct tr_filesrc_file **out,
                                struct tr_error *err)
{
    if (add_file(source, known->name, found->path, out, err) != TR_OK)
        return TR_FAIL;
    (*out)->identity = known->identity;
    take_identity(*out, found);
    (*out)->position = known->position;
    (*out)->moved = true;
    return TR_OK;
}

/* The file must still be the one that was listed; *same false when another has its name. */
static int open_at(const char *path, struct tr_filesrc_found *found, int *fd)
{
    *fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (*fd < 0)
        return errno;
    struct stat info;
    int error = fstat(*fd, &info) != 0 ? errno : !S_ISREG(info.st_mode) ? EINVAL : 0;
    if (error == 0)
        error = tr_filesrc_look(*fd, found);
    if (error != 0) {
        (void)close(*fd);
        *fd = -1;
    }
    return error;
}

enum tr_status tr_filesrc_file_open(struct tr_filesrc_file *file, struct tr_error *err)
{
    struct tr_filesrc_found found = {.path = file->path};
    if (file->fd >= 0)
        return TR_OK;
    int error = open_at(file->path, &found, &file->fd);
    if (error != 0)
        return tr_filesrc_io_fail("could not open", file->split.container, error, err);
    if (found.inode != file->identity.inode || found.device != file->device)
        return tr_fail(err, TR_E_FILESRC_IO, "another file took the place of %.300s meanwhile",
                       file->split.container);
    return TR_OK;
}

enum tr_status tr_filesrc_file_forget(struct tr_filesrc *source, struct tr_filesrc_file *file,
                                      struct tr_error *err)
{
    if (source->window.file == file)
        tr_filesrc_window_leave(source);
    if (file->fd >= 0)
        (void)close(file->fd);
    file->fd = -1;
    file->finished = true;
    file->moved = false;
    atomic_store(&file->gone, true);
    tr_outbuf_bytes(&source->forgotten, file->split.name, strlen(file->split.name) + 1);
    if (source->forgotten.failed)
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for the names of files");
    return TR_OK;
}

enum tr_status tr_filesrc_file_changed(struct tr_filesrc *source, struct tr_filesrc_file *file,
                                       struct tr_error *err)
{
    if (source->options.on_truncate == TR_FILESRC_TRUNCATE_FAIL) {
        (void)tr_fail(err, TR_E_FILESRC_TRUNCATED,
                      "the file %.300s was cut or overwritten in place", file->split.container);
        (void)tr_detail(err, "it was read up to byte %llu, and what stood before that is gone",
                        (unsigned long long)file->position);
        return tr_hint(err, "if the earlier lines do not matter, set on-truncate: restart; rotate "
                            "by rename instead of cutting");
    }
    tr_log(TR_LOG_WARN, "a file was cut or overwritten in place; it is read from its beginning",
           "file=\"%s\" position=%llu", file->split.container, (unsigned long long)file->position);
    struct tr_filesrc_found found = {.path = file->path, .packing = file->packing};
    struct tr_filesrc_file *again;
    int error = tr_filesrc_look(file->fd, &found);
    if (error != 0)
        return tr_filesrc_io_fail("could not read", file->split.container, error, err);
    int fd = file->fd;
    file->fd = -1;
    if (tr_filesrc_file_forget(source, file, err) != TR_OK) {
        (void)close(fd);
        return TR_FAIL;
    }
    if (add_new(source, &found, &again, err) != TR_OK) {
        (void)close(fd);
        return TR_FAIL;
    }
    again->fd = fd;
    publish(source);
    return TR_OK;
}

/* ---- known from an earlier run ---- */

static void free_known(struct tr_filesrc_known *known)
{
    free(known->name);
    free(known->path);
}

static enum tr_status remember(struct tr_filesrc *source, const char *name, const char *path,
                               uint64_t position, const struct tr_filesrc_identity *identity,
                               struct tr_error *err)
{
    if (source->known_count == source->known_capacity) {
        size_t capacity = source->known_capacity == 0 ? 16 : source->known_capacity * 2;
        struct tr_filesrc_known *known = realloc(source->known, capacity * sizeof *known);
        if (known == NULL)
            return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for known files");
        source->known = known;
        source->known_capacity = capacity;
    }
    struct tr_filesrc_known *known = &source->known[source->known_count];
    *known = (struct tr_filesrc_known){strdup(name), strdup(path), position, *identity};
    if (known->name == NULL || known->path == NULL) {
        free_known(known);
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for known files");
    }
    source->known_count++;
    return TR_OK;
}

static bool parse_position(const char *text, uint64_t *position)
{
    char *end;
    errno = 0;
    *position = text[0] >= '0' && text[0] <= '9' ? strtoull(text, &end, 10) : UINT64_MAX;
    return *position <= INT64_MAX && errno == 0 && *end == '\0';
}

static enum tr_status load_known(struct tr_filesrc *source, const struct tr_state *marks,
                                 struct tr_error *err)
{
    for (size_t i = tr_state_seek(marks, TR_FILESRC_MARK_INFO);
         tr_state_has_prefix(marks, i, TR_FILESRC_MARK_INFO); i++) {
        const char *name = marks->items[i].key + strlen(TR_FILESRC_MARK_INFO), *path;
        struct tr_filesrc_identity identity;
        char key[TR_MARK_KEY_BYTES_MAX + 1];
        uint64_t position = 0;
        (void)snprintf(key, sizeof key, TR_MARK_SPLIT "%s", name);
        const char *value = tr_state_get(marks, key);
        if (!tr_filesrc_identity_parse(marks->items[i].value, &identity, &path) ||
            (value != NULL && !parse_position(value, &position)))
            return tr_fail(err, TR_E_FILESRC_MARK, "the stored position of a file is damaged");
        if (remember(source, name, path, position, &identity, err) != TR_OK)
            return TR_FAIL;
    }
    return TR_OK;
}

static int newest_first(const void *a, const void *b)
{
    int64_t x = ((const struct tr_filesrc_known *)a)->identity.seen_s;
    int64_t y = ((const struct tr_filesrc_known *)b)->identity.seen_s;
    return x > y ? -1 : x < y ? 1 : 0;
}

/* Of the files that are not here only the last are kept in mind. */
static enum tr_status thin_out(struct tr_filesrc *source, struct tr_error *err)
{
    if (source->known_count <= GONE_MAX)
        return TR_OK;
    qsort(source->known, source->known_count, sizeof *source->known, newest_first);
    while (source->known_count > GONE_MAX) {
        struct tr_filesrc_known *known = &source->known[--source->known_count];
        tr_outbuf_bytes(&source->forgotten, known->name, strlen(known->name) + 1);
        free_known(known);
    }
    if (source->forgotten.failed)
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for the names of files");
    return TR_OK;
}

static void drop_known(struct tr_filesrc *source, size_t index)
{
    free_known(&source->known[index]);
    source->known[index] = source->known[--source->known_count];
}

/* ---- listing ---- */

static enum tr_status missing(void *ctx, const char *path, struct tr_error *err)
{
    struct tr_filesrc *source = ctx;
    int64_t now_ms = tr_clock_mono_ms();
    if (!source->options.follow)
        return tr_fail(err, TR_E_FILESRC_MISSING, "there is no file %.300s", path);
    if (source->complained_ms == 0 || now_ms - source->complained_ms > COMPLAIN_INTERVAL_MS) {
        char text[PATH_TEXT_BYTES];
        source->complained_ms = now_ms;
        tr_filesrc_escape(path, text, sizeof text);
        tr_log(TR_LOG_WARN, "a file is not there yet; the source waits for it", "file=\"%s\"",
               text);
    }
    return TR_OK;
}

/* The living files by device and inode; what a scan adds stands behind `count` in source->files. */
struct by_inode {
    struct tr_filesrc_file **files;
    uint32_t count, from;
};

static int compare_inodes(const void *a, const void *b)
{
    const struct tr_filesrc_file *x = *(struct tr_filesrc_file *const *)a;
    const struct tr_filesrc_file *y = *(struct tr_filesrc_file *const *)b;
    if (x->identity.inode != y->identity.inode)
        return x->identity.inode < y->identity.inode ? -1 : 1;
    return x->device < y->device ? -1 : x->device > y->device ? 1 : 0;
}

static bool index_files(const struct tr_filesrc *source, struct by_inode *index)
{
    *index = (struct by_inode){.from = source->file_count};
    if (source->file_count == 0)
        return true;
    index->files = malloc(source->file_count * sizeof *index->files);
    for (uint32_t i = 0; index->files != NULL && i < source->file_count; i++) {
        if (!atomic_load(&source->files[i]->gone))
            index->files[index->count++] = source->files[i];
    }
    if (index->count > 0)
        qsort(index->files, index->count, sizeof *index->files, compare_inodes);
    return index->files != NULL;
}

static struct tr_filesrc_file *listed_already(const struct tr_filesrc *source,
                                              const struct by_inode *index,
                                              const struct tr_filesrc_found *found)
{
    struct tr_filesrc_file wanted = {.device = found->device, .identity = {.inode = found->inode}};
    struct tr_filesrc_file *key = &wanted, **known = NULL;
    if (index->count > 0)
        known = bsearch(&key, index->files, index->count, sizeof *index->files, compare_inodes);
    if (known != NULL)
        return *known;
    for (uint32_t i = index->from; i < source->file_count; i++) {
        if (!atomic_load(&source->files[i]->gone) && compare_inodes(&key, &source->files[i]) == 0)
            return source->files[i];
    }
    return NULL;
}

static enum tr_filesrc_packing packing_of(const struct tr_filesrc *source, const char *path)
{
    return source->options.compression == TR_FILESRC_AUTO
               ? tr_filesrc_packing_of(path)
               : (enum tr_filesrc_packing)source->options.compression;
}

/* A known file that this is, or that this is a copy of; SIZE_MAX. *likeness of what was found. */
static size_t find_known(const struct tr_filesrc *source, const struct tr_filesrc_found *found,
                         int fd, enum tr_filesrc_likeness wanted)
{
    char text[PATH_TEXT_BYTES];
    size_t best = SIZE_MAX;
    tr_filesrc_escape(found->path, text, sizeof text);
    for (size_t i = 0; i < source->known_count; i++) {
        const struct tr_filesrc_known *known = &source->known[i];
        if (known->identity.inode != found->inode && wanted != TR_FILESRC_COPY)
            continue;
        if (tr_filesrc_compare(&known->identity, found, fd) != wanted)
            continue;
        if (strcmp(known->path, text) == 0)
            return i;
        if (best == SIZE_MAX)
            best = i;
    }
    return best;
}

/* latest: behind the last newline that is there now, so that a line under way is read as a whole.
 */
static enum tr_status go_to_end(struct tr_filesrc *source, struct tr_filesrc_file *file,
                                uint64_t bytes, struct tr_error *err)
{
    char data[4096];
    if (file->packing != TR_FILESRC_PLAIN) {
        struct tr_filesrc_input *input;
        int error = tr_filesrc_input_open(file->fd, file->packing, false, &input);
        if (error == 0)
            error = tr_filesrc_input_seek(input, INT64_MAX, &file->position);
        tr_filesrc_input_close(input);
        if (error == TR_FILESRC_EBROKEN)
            return tr_fail(err, TR_E_FILESRC_COMPRESSED, "the compressed file %.300s is damaged",
                           file->split.container);
        if (error != 0)
            return tr_filesrc_io_fail("could not read", file->split.container, error, err);
        return TR_OK;
    }
    uint64_t low = bytes > (uint64_t)source->options.line_max_bytes
                       ? bytes - (uint64_t)source->options.line_max_bytes
                       : 0;
    for (uint64_t end = bytes; end > low;) {
        size_t len = end - low < sizeof data ? (size_t)(end - low) : sizeof data;
        ssize_t got = pread(file->fd, data, len, (off_t)(end - len));
        if (got < 0 || (size_t)got < len)
            return tr_filesrc_io_fail("could not read", file->split.container,
                                      got < 0 ? errno : EIO, err);
        const char *newline = memrchr(data, '\n', len);
        if (newline != NULL) {
            file->position = end - len + (uint64_t)(newline - data) + 1;
            break;
        }
        end -= len;
        file->position = end;
    }
    return TR_OK;
}

/* A position that was not read up to gets its tail too. */
static void take_tail(struct tr_filesrc_file *file)
{
    char tail[TR_FILESRC_TAIL_BYTES];
    size_t len = file->position < sizeof tail ? (size_t)file->position : sizeof tail;
    if (file->packing != TR_FILESRC_PLAIN ||
        pread(file->fd, tail, len, (off_t)(file->position - len)) != (ssize_t)len)
        return;
    file->identity.tail_at = file->position;
    file->identity.tail = tr_filesrc_sum_of(tail, len);
}

/* In follow mode a file stays open: what is renamed meanwhile is read to its end, and its inode is
 * not given away. */
static void keep_open(struct tr_filesrc *source, struct tr_filesrc_file *file, int fd)
{
    if (source->options.follow)
        file->fd = fd;
    else
        (void)close(fd);
}

static enum tr_status take_new(struct tr_filesrc *source, const struct tr_filesrc_found *found,
                               int fd, struct tr_error *err)
{
    struct tr_filesrc_file *file;
    if (add_new(source, found, &file, err) != TR_OK) {
        (void)close(fd);
        return TR_FAIL;
    }
    enum tr_status status = TR_OK;
    if (!source->resumed && source->options.startup == TR_FILESRC_LATEST) {
        file->fd = fd;
        status = go_to_end(source, file, found->bytes, err);
        take_tail(file);
        file->fd = -1;
    }
    keep_open(source, file, fd);
    publish(source);
    return status;
}

static enum tr_status take_known(struct tr_filesrc *source, const struct tr_filesrc_found *found,
                                 int fd, size_t index, struct tr_error *err)
{
    struct tr_filesrc_file *file;
    if (add_known(source, found, &source->known[index], &file, err) != TR_OK) {
        (void)close(fd);
        return TR_FAIL;
    }
    drop_known(source, index);
    keep_open(source, file, fd);
    publish(source);
    return TR_OK;
}

/* Same inode, other content, and no copy of what was read: on-truncate. */
static enum tr_status take_changed(struct tr_filesrc *source, const struct tr_filesrc_found *found,
                                   int fd, size_t index, struct tr_error *err)
{
    struct tr_filesrc_file *file;
    if (add_known(source, found, &source->known[index], &file, err) != TR_OK) {
        (void)close(fd);
        return TR_FAIL;
    }
    drop_known(source, index);
    file->fd = fd;
    publish(source);
    enum tr_status status = tr_filesrc_file_changed(source, file, err);
    file = source->files[source->file_count - 1];
    if (status == TR_OK && !source->options.follow) {
        (void)close(file->fd);
        file->fd = -1;
    }
    return status;
}

/* The passes over what was listed: first the files that are surely known, so that a copy is only
 * taken for one whose file is not here; then copies; then what was overwritten in place; then new
 * ones. */
enum pass { PASS_SAME, PASS_COPY, PASS_CHANGED, PASS_NEW, PASS_COUNT };

static enum tr_status try_pass(struct tr_filesrc *source, const struct tr_filesrc_found *found,
                               int fd, enum pass pass, bool *taken, struct tr_error *err)
{
    static const enum tr_filesrc_likeness wanted[] = {[PASS_SAME] = TR_FILESRC_SAME,
                                                      [PASS_COPY] = TR_FILESRC_COPY,
                                                      [PASS_CHANGED] = TR_FILESRC_CHANGED};
    *taken = true;
    if (pass == PASS_NEW && found->bytes == 0) {
        (void)close(fd); /* nothing is known of it; it is new when it has a byte */
        return TR_OK;
    }
    if (pass == PASS_NEW)
        return take_new(source, found, fd, err);
    size_t index = find_known(source, found, fd, wanted[pass]);
    if (index != SIZE_MAX && pass == PASS_CHANGED)
        return take_changed(source, found, fd, index, err);
    if (index != SIZE_MAX)
        return take_known(source, found, fd, index, err);
    *taken = false;
    (void)close(fd);
    return TR_OK;
}

/* A file that is read already is seen again, maybe under another name. TR_AGAIN: it is none. */
static enum tr_status see_again(const struct tr_filesrc *source, const struct by_inode *index,
                                const struct tr_filesrc_found *found, struct tr_error *err)
{
    struct tr_filesrc_file *file = listed_already(source, index, found);
    if (file == NULL)
        return TR_AGAIN;
    if (!file->listed && strcmp(file->path, found->path) != 0) {
        char *path = strdup(found->path);
        if (path == NULL)
            return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for a file name");
        free(file->path);
        file->path = path;
    }
    file->listed = true;
    return TR_OK;
}

static enum tr_status cannot_open(const char *path, int error, struct tr_error *err)
{
    char text[PATH_TEXT_BYTES];
    tr_filesrc_escape(path, text, sizeof text);
    if (error == EINVAL)
        return tr_fail(err, TR_E_FILESRC_UNREADABLE, "%.300s is not a regular file", text);
    return tr_filesrc_io_fail("could not open", text, error, err);
}

/* One listed path in one pass. is_first: what cannot be opened is an error; later it is tried again
 * at the next scan. */
static enum tr_status take_path(struct tr_filesrc *source, const struct by_inode *index, char *path,
                                enum pass pass, bool is_first, struct tr_error *err)
{
    struct tr_filesrc_found found = {.path = path, .packing = packing_of(source, path)};
    struct stat info;
    int fd = -1;
    bool taken = false;
    if (stat(path, &info) == 0) {
        found.inode = info.st_ino;
        found.device = info.st_dev;
        enum tr_status status = see_again(source, index, &found, err);
        if (status == TR_OK)
            path[0] = '\0';
        if (status != TR_AGAIN)
            return status;
    }
    int error = open_at(path, &found, &fd);
    if (error == ENOENT)
        return TR_OK; /* gone since it was listed */
    if (error != 0)
        return is_first || error == EMFILE || error == ENFILE ? cannot_open(path, error, err)
                                                              : TR_OK;
    if (try_pass(source, &found, fd, pass, &taken, err) != TR_OK)
        return TR_FAIL;
    if (taken)
        path[0] = '\0'; /* no other pass looks at it */
    return TR_OK;
}

static enum tr_status take_listed(struct tr_filesrc *source, struct tr_filesrc_paths *paths,
                                  bool is_first, struct tr_error *err)
{
    struct by_inode index;
    if (!index_files(source, &index))
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for known files");
    enum tr_status status = TR_OK;
    for (int pass = source->known_count > 0 ? PASS_SAME : PASS_NEW;
         pass < PASS_COUNT && status == TR_OK; pass++) {
        for (size_t i = 0; i < paths->count && status == TR_OK; i++) {
            if (paths->items[i][0] != '\0')
                status = take_path(source, &index, paths->items[i], (enum pass)pass, is_first, err);
        }
    }
    free(index.files);
    return status;
}

static int by_path(const void *a, const void *b)
{
    const struct tr_filesrc_file *x = *(struct tr_filesrc_file *const *)a;
    const struct tr_filesrc_file *y = *(struct tr_filesrc_file *const *)b;
    return strcmp(x->path, y->path);
}

/* ---- start and scan ---- */

static enum tr_status start_stdin(struct tr_filesrc *source, const struct tr_state *marks,
                                  struct tr_error *err)
{
    char name[TR_FILESRC_NAME_BYTES];
    struct tr_filesrc_file *file;
    bool stored = false;
    for (size_t i = tr_state_seek(marks, MARK_STDIN); tr_state_has_prefix(marks, i, MARK_STDIN);
         i++) {
        const char *old = marks->items[i].key + strlen(TR_MARK_SPLIT);
        tr_outbuf_bytes(&source->forgotten, old, strlen(old) + 1);
        stored = true;
    }
    if (source->forgotten.failed)
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for the names of files");
    tr_log(TR_LOG_WARN,
           "standard input cannot be read a second time: after a restart the pipeline "
           "goes on with what comes then",
           "stored_position_ignored=%s", stored ? "true" : "false");
    (void)snprintf(name, sizeof name, "stdin-%llx", (unsigned long long)tr_clock_wall_us());
    if (add_file(source, name, "table", &file, err) != TR_OK)
        return TR_FAIL;
    free((char *)file->split.container);
    file->split.container = strdup("-");
    if (file->split.container == NULL)
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for a file");
    file->fd = STDIN_FILENO;
    file->packing = source->options.compression == TR_FILESRC_AUTO
                        ? TR_FILESRC_PLAIN
                        : (enum tr_filesrc_packing)source->options.compression;
    file->moved = true;
    publish(source);
    return TR_OK;
}

enum tr_status tr_filesrc_files_start(struct tr_filesrc *source, const struct tr_state *marks,
                                      struct tr_error *err)
{
    source->resumed = tr_state_get(marks, MARK_STARTED) != NULL;
    if (source->is_stdin)
        return start_stdin(source, marks, err);
    struct tr_filesrc_paths paths = {0};
    enum tr_status status = load_known(source, marks, err);
    if (status == TR_OK)
        status = tr_filesrc_list(&source->options, missing, source, &paths, err);
    for (size_t i = 0; status == TR_OK && source->options.follow && i < paths.folder_count; i++)
        tr_filesrc_watch_folder(source, paths.folders[i]);
    if (status == TR_OK)
        status = take_listed(source, &paths, true, err);
    tr_filesrc_paths_free(&paths);
    if (status != TR_OK)
        return TR_FAIL;
    /* nobody has seen an index yet */
    if (source->file_count > 0)
        qsort(source->files, source->file_count, sizeof *source->files, by_path);
    for (uint32_t i = 0; i < source->file_count; i++)
        source->files[i]->split.index = i;
    source->scanned_ms = tr_clock_mono_ms();
    source->resumed = true; /* what is found later is new */
    if (source->file_count == 0)
        tr_log(TR_LOG_WARN, "no file with content was found", NULL);
    return thin_out(source, err);
}

/* A file that was not listed: deleted, or moved out of sight. */
static enum tr_status let_go(struct tr_filesrc *source, struct tr_filesrc_file *file,
                             int64_t now_ms, struct tr_error *err)
{
    struct stat info;
    if (file->unlisted_ms == 0)
        file->unlisted_ms = now_ms;
    bool deleted = file->fd < 0 || (fstat(file->fd, &info) == 0 && info.st_nlink == 0);
    if (!file->at_end || now_ms - file->unlisted_ms < (deleted ? DELETED_WAIT_MS : MOVED_WAIT_MS))
        return TR_OK;
    tr_log(TR_LOG_INFO,
           deleted ? "a deleted file is forgotten" : "a file that was moved away is closed",
           "file=\"%s\" position=%llu", file->split.container, (unsigned long long)file->position);
    if (deleted)
        return tr_filesrc_file_forget(source, file, err);
    if (remember(source, file->split.name, file->split.container, file->position, &file->identity,
                 err) != TR_OK)
        return TR_FAIL;
    if (source->window.file == file)
        tr_filesrc_window_leave(source);
    (void)close(file->fd);
    file->fd = -1;
    file->finished = true;
    atomic_store(&file->gone, true);
    return thin_out(source, err);
}

enum tr_status tr_filesrc_files_scan(struct tr_filesrc *source, struct tr_error *err)
{
    struct tr_filesrc_paths paths;
    source->scan_asked = false;
    source->sweep_asked = true;
    source->scanned_ms = tr_clock_mono_ms();
    enum tr_status status = tr_filesrc_list(&source->options, missing, source, &paths, err);
    if (status == TR_OK) {
        for (size_t i = 0; i < paths.folder_count; i++)
            tr_filesrc_watch_folder(source, paths.folders[i]);
        for (uint32_t i = 0; i < source->file_count; i++)
            source->files[i]->listed = false;
        status = take_listed(source, &paths, false, err);
    }
    tr_filesrc_paths_free(&paths);
    for (uint32_t i = 0; i < source->file_count && status == TR_OK; i++) {
        struct tr_filesrc_file *file = source->files[i];
        if (file->listed)
            file->unlisted_ms = 0;
        else if (!atomic_load(&file->gone))
            status = let_go(source, file, source->scanned_ms, err);
    }
    return status;
}

/* ---- marks ---- */

struct mark_list {
    struct tr_mark *marks;
    uint32_t count, capacity;
};

static bool put_mark(struct tr_batch *batch, struct mark_list *list, const char *prefix,
                     const char *name, const char *value)
{
    char key[TR_MARK_KEY_BYTES_MAX + 1];
    int key_len = snprintf(key, sizeof key, "%s%s", prefix, name);
    char *key_copy = tr_batch_copy(batch, key, (size_t)key_len);
    char *value_copy = tr_batch_copy(batch, value, strlen(value));
    if (key_copy == NULL || value_copy == NULL || list->count == list->capacity)
        return false;
    list->marks[list->count++] =
        (struct tr_mark){{key_copy, (size_t)key_len}, {value_copy, strlen(value)}};
    return true;
}

static bool put_file(struct tr_filesrc *source, struct tr_batch *batch, struct mark_list *list,
                     struct tr_filesrc_file *file)
{
    char text[INFO_BYTES], path[PATH_TEXT_BYTES];
    (void)snprintf(text, sizeof text, "%llu", (unsigned long long)file->position);
    if (!put_mark(batch, list, TR_MARK_SPLIT, file->split.name, text))
        return false;
    if (source->is_stdin)
        return true;
    if (file->identity.head.len < TR_FILESRC_HEAD_BYTES && file->fd >= 0) {
        struct tr_filesrc_found found = {.path = file->path, .packing = file->packing};
        /* the head grows with the file, as long as it begins as it did */
        if (tr_filesrc_look(file->fd, &found) == 0 &&
            tr_filesrc_compare(&file->identity, &found, -1) == TR_FILESRC_SAME)
            take_identity(file, &found);
    }
    file->identity.seen_s = tr_clock_wall_us() / 1000000;
    tr_filesrc_escape(file->path, path, sizeof path);
    (void)tr_filesrc_identity_format(&file->identity, path, text, sizeof text);
    return put_mark(batch, list, TR_FILESRC_MARK_INFO, file->split.name, text);
}

enum tr_status tr_filesrc_commit(struct tr_filesrc *source, struct tr_batch *batch,
                                 struct tr_error *err)
{
    const struct tr_mark *schemas = NULL;
    uint32_t schema_count = 0, moved = 0, forgotten = 0;
    for (uint32_t i = 0; i < source->file_count; i++)
        moved += source->files[i]->moved;
    for (size_t at = 0; at < source->forgotten.len; at += strlen(source->forgotten.data + at) + 1)
        forgotten++;
    if (source->announced && source->decoder_ops->schema_marks(source->decoder, batch, &schemas,
                                                               &schema_count, err) != TR_OK)
        return TR_FAIL;
    struct mark_list list = {.capacity = 2 * (moved + forgotten) + schema_count + 1};
    struct tr_event *commit;
    bool ok = (list.marks = tr_arena_alloc(&batch->arena, list.capacity * sizeof *list.marks,
                                           _Alignof(struct tr_mark))) != NULL;
    for (size_t at = 0; ok && at < source->forgotten.len;
         at += strlen(source->forgotten.data + at) + 1) {
        const char *name = source->forgotten.data + at;
        ok = put_mark(batch, &list, TR_MARK_SPLIT, name, "") &&
             put_mark(batch, &list, TR_FILESRC_MARK_INFO, name, "");
    }
    for (uint32_t i = 0; ok && i < source->file_count; i++) {
        if (source->files[i]->moved)
            ok = put_file(source, batch, &list, source->files[i]);
    }
    if (ok && !source->announced)
        ok = put_mark(batch, &list, MARK_STARTED, "", "1");
    for (uint32_t i = 0; ok && i < schema_count; i++)
        list.marks[list.count++] = schemas[i];
    if (!ok)
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for marks");
    uint32_t events = batch->event_count;
    if (tr_batch_commit(batch, list.marks, list.count, &commit, err) != TR_OK)
        return TR_FAIL;
    commit->ts_us = commit->recv_ts_us = tr_clock_wall_us();
    if (events == 0)
        commit->flags |= TR_EV_IDLE;
    for (uint32_t i = 0; i < source->file_count; i++)
        source->files[i]->moved = false;
    tr_outbuf_clear(&source->forgotten);
    return TR_OK;
}

void tr_filesrc_files_free(struct tr_filesrc *source)
{
    for (uint32_t i = 0; source->files != NULL && i < source->file_count; i++) {
        if (source->is_stdin)
            source->files[i]->fd = -1; /* not ours */
        free_file(source->files[i]);
    }
    free(source->files);
    for (size_t i = 0; i < source->known_count; i++)
        free_known(&source->known[i]);
    free(source->known);
    tr_outbuf_free(&source->forgotten);
}
