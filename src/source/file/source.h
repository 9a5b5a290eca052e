/* The inside of the file source: one struct, and what its files offer each other. */
#ifndef TR_SOURCE_FILE_SOURCE_H
#define TR_SOURCE_FILE_SOURCE_H

#include <stdatomic.h>

#include "base/outbuf.h"
#include "decode/frame.h"
#include "event/batch.h"
#include "source/file/discover.h"
#include "source/file/file.h"
#include "source/file/identity.h"

/* One file (or standard input), from its first sight until the source is closed: messages on their
 * way point to `split`. Belongs to the reader; what other threads read is atomic or never changes.
 */
struct tr_filesrc_file {
    struct tr_split split; /* first */
    char *path;            /* where it is now */
    uint64_t device;
    struct tr_filesrc_identity identity;
    enum tr_filesrc_packing packing;
    int fd;            /* -1: not open */
    uint64_t position; /* next byte of the (decompressed) stream to be delivered */
    uint64_t
        seen_bytes; /* size and time of change at the last visit, to see whether there is more */
    int64_t seen_change_ns;
    bool visited;
    bool header_told;    /* the decoder has this file's CSV header */
    bool moved;          /* its mark must go with the next COMMIT */
    bool at_end;         /* as of the last visit */
    bool finished;       /* bounded: nothing more of it in this run */
    bool listed;         /* found by the last scan */
    int64_t unlisted_ms; /* when it was not found first; 0: it is listed */
    _Atomic uint64_t
        bytes;         /* its size, for progress; for compressed ones UINT64_MAX until its end */
    _Atomic bool gone; /* left for good */
};

/* A position that is stored, whose file is not here (now). */
struct tr_filesrc_known {
    char *name, *path; /* path: as in the mark, escaped */
    uint64_t position;
    struct tr_filesrc_identity identity;
};

/* The bytes around the next message of one file; one for the whole source. data[0] is at `base` of
 * the stream; up to TR_FILESRC_TAIL_BYTES before the message are kept, for the tail's hash. */
struct tr_filesrc_window {
    struct tr_filesrc_file *file; /* NULL: none */
    struct tr_filesrc_input *input;
    char *data;
    size_t capacity, begin, end;
    uint64_t base;
    struct tr_frame frame;
    bool stream_ended;  /* standard input is at its end */
    bool skipping;      /* within a line that is too long … */
    uint64_t skip_from; /* … that began here */
    size_t kept_len;    /* … with these bytes */
    char kept[4096];
};

enum tr_filesrc_next {
    TR_FILESRC_NEXT_MESSAGE,
    TR_FILESRC_NEXT_TOO_LONG, /* a line longer than line.max-bytes; value: how it begins */
    TR_FILESRC_NEXT_UNCLOSED, /* csv: a quote that is never closed; value: the first line of it */
    TR_FILESRC_NEXT_NONE,     /* at the end, for now */
    TR_FILESRC_NEXT_CHANGED,  /* what was read before is no longer in the file */
    TR_FILESRC_NEXT_FAIL
};

struct tr_filesrc {
    struct tr_filesrc_options options;
    const struct tr_config *config;
    bool is_stdin;
    bool announced; /* the first COMMIT is out */
    const struct tr_decoder_ops *decoder_ops;
    struct tr_decoder *decoder;
    struct tr_filesrc_window window;

    struct tr_filesrc_file **files; /* TR_SPLITS_MAX places; by split index */
    _Atomic uint32_t file_count;
    uint32_t turn; /* the file that is read (next) */
    struct tr_filesrc_known *known;
    size_t known_count, known_capacity;
    struct tr_outbuf forgotten; /* names, each with its NUL, whose marks must be deleted */
    bool resumed;

    int wake_fd;   /* interrupt */
    int notify_fd; /* inotify, -1: none */
    bool scan_asked, sweep_asked;
    int64_t scanned_ms, swept_ms, complained_ms;
    _Atomic uint64_t read_bytes, acknowledged_bytes;
    uint64_t skipped_since; /* malformed lines since the last log line */
    int64_t skipped_log_ms;
};

/* ---- window.c ---- */
void tr_filesrc_window_free(struct tr_filesrc_window *window);
/* Makes the window show `file` from `position`; what stands before it is compared with the stored
 * tail (when position is where that was taken). MESSAGE: it does; CHANGED; NONE: a compressed file
 * ends before; FAIL. */
enum tr_filesrc_next tr_filesrc_window_show(struct tr_filesrc *source, struct tr_filesrc_file *file,
                                            uint64_t position, struct tr_error *err);
void tr_filesrc_window_leave(struct tr_filesrc *source);
/* The next message behind the window's place: position, next and value (valid until the next call).
 * At the end a line without newline counts when is_last. */
enum tr_filesrc_next tr_filesrc_window_next(struct tr_filesrc *source, bool is_last,
                                            struct tr_message *message, struct tr_error *err);
/* Where the next message begins. */
static inline uint64_t tr_filesrc_window_place(const struct tr_filesrc_window *window)
{
    return window->skipping ? window->skip_from : window->base + window->begin;
}
/* The tail before the window's place; not while it skips. */
void tr_filesrc_window_tail(const struct tr_filesrc_window *window,
                            struct tr_filesrc_identity *identity);

/* ---- files.c ---- */
/* From the marks of the last run: lists the files and decides where each begins. */
enum tr_status tr_filesrc_files_start(struct tr_filesrc *source, const struct tr_state *marks,
                                      struct tr_error *err);
/* follow: lists again, adds new files, lets go of those that are gone. */
enum tr_status tr_filesrc_files_scan(struct tr_filesrc *source, struct tr_error *err);
/* A file whose earlier content is gone: on-truncate. TR_OK: it is a new file now. */
enum tr_status tr_filesrc_file_changed(struct tr_filesrc *source, struct tr_filesrc_file *file,
                                       struct tr_error *err);
enum tr_status tr_filesrc_file_open(struct tr_filesrc_file *file, struct tr_error *err);
/* Deletes its mark with the next COMMIT. */
enum tr_status tr_filesrc_file_forget(struct tr_filesrc *source, struct tr_filesrc_file *file,
                                      struct tr_error *err);
/* Appends a COMMIT with the marks of files that moved and of those that are forgotten. */
enum tr_status tr_filesrc_commit(struct tr_filesrc *source, struct tr_batch *batch,
                                 struct tr_error *err);
void tr_filesrc_files_free(struct tr_filesrc *source);
enum tr_status tr_filesrc_io_fail(const char *what, const char *path, int error,
                                  struct tr_error *err);

/* ---- watch.c ---- */
void tr_filesrc_watch_open(struct tr_filesrc *source);
void tr_filesrc_watch_folder(struct tr_filesrc *source, const char *folder);
/* Until something changed, an interrupt, or the time is over. true: interrupted. */
bool tr_filesrc_wait(struct tr_filesrc *source, int timeout_ms);
void tr_filesrc_watch_close(struct tr_filesrc *source);

#endif
