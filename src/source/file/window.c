/* The bytes around the next message.
 *
 *   data   0 ........ begin ............ end ......... capacity
 *          | tail      | next message     | room for the next read
 *          base        base + begin = the place
 *
 * One window serves all files: a plain file is read again from the start of its unfinished line
 * when its turn comes, which costs one line, and memory does not grow with the number of files. A
 * compressed file is read to its end before another one has its turn, as going back means starting
 * anew.
 *
 * Bound: TR_FILESRC_TAIL_BYTES + line.max-bytes + 2 * READ_BYTES. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "source/file/source.h"

#define READ_BYTES (512u << 10)
#define BOM "\xef\xbb\xbf"
#define BOM_BYTES 3

void tr_filesrc_window_leave(struct tr_filesrc *source)
{
    struct tr_filesrc_window *window = &source->window;
    tr_filesrc_input_close(window->input);
    window->input = NULL;
    window->file = NULL;
    window->skipping = false;
    window->begin = window->end = 0;
}

void tr_filesrc_window_free(struct tr_filesrc_window *window)
{
    tr_filesrc_input_close(window->input);
    free(window->data);
    *window = (struct tr_filesrc_window){.frame = window->frame};
}

void tr_filesrc_window_tail(const struct tr_filesrc_window *window,
                            struct tr_filesrc_identity *identity)
{
    size_t len = window->begin < TR_FILESRC_TAIL_BYTES ? window->begin : TR_FILESRC_TAIL_BYTES;
    identity->tail_at = window->base + window->begin;
    identity->tail = tr_filesrc_sum_of(window->data + window->begin - len, len);
}

static enum tr_filesrc_next input_fail(const struct tr_filesrc_file *file, int error,
                                       struct tr_error *err)
{
    if (error == TR_FILESRC_EBROKEN)
        (void)tr_fail(err, TR_E_FILESRC_COMPRESSED, "the compressed file %.300s is damaged",
                      file->split.container);
    else
        (void)tr_filesrc_io_fail("could not read", file->split.container, error, err);
    return TR_FILESRC_NEXT_FAIL;
}

/* Makes room: what lies before the tail goes; the buffer grows up to the bound. */
static int make_room(struct tr_filesrc *source)
{
    struct tr_filesrc_window *window = &source->window;
    if (window->capacity - window->end >= READ_BYTES)
        return 0;
    size_t shift =
        window->begin > TR_FILESRC_TAIL_BYTES ? window->begin - TR_FILESRC_TAIL_BYTES : 0;
    if (shift > 0) {
        memmove(window->data, window->data + shift, window->end - shift);
        window->base += shift;
        window->begin -= shift;
        window->end -= shift;
    }
    size_t bound =
        TR_FILESRC_TAIL_BYTES + (size_t)source->options.line_max_bytes + (size_t)2 * READ_BYTES;
    if (window->capacity - window->end >= READ_BYTES || window->capacity >= bound)
        return 0;
    size_t capacity = window->capacity == 0 ? (size_t)2 * READ_BYTES : window->capacity * 2;
    if (capacity > bound)
        capacity = bound;
    char *data = realloc(window->data, capacity);
    if (data == NULL)
        return ENOMEM;
    window->data = data;
    window->capacity = capacity;
    return 0;
}

static bool stdin_has_bytes(void)
{
    struct pollfd fd = {.fd = STDIN_FILENO, .events = POLLIN};
    return poll(&fd, 1, 0) > 0;
}

/* *got 0: nothing more now. */
static int fill(struct tr_filesrc *source, size_t *got)
{
    struct tr_filesrc_window *window = &source->window;
    *got = 0;
    if (source->is_stdin && (window->stream_ended || !stdin_has_bytes()))
        return 0;
    int error = make_room(source);
    if (error != 0)
        return error;
    size_t room = window->capacity - window->end;
    error = tr_filesrc_input_read(window->input, window->data + window->end,
                                  room < READ_BYTES ? room : READ_BYTES, got);
    window->end += *got;
    atomic_fetch_add_explicit(&source->read_bytes, *got, memory_order_relaxed);
    if (source->is_stdin && error == 0 && *got == 0)
        window->stream_ended = true;
    return error;
}

/* The window is at this place already: is what it read last still in the file? */
static enum tr_filesrc_next go_on(struct tr_filesrc *source)
{
    const struct tr_filesrc_window *window = &source->window;
    char bytes[TR_FILESRC_TAIL_BYTES];
    size_t len = window->end < sizeof bytes ? window->end : sizeof bytes;
    if (source->is_stdin || window->file->packing != TR_FILESRC_PLAIN || len == 0)
        return TR_FILESRC_NEXT_MESSAGE;
    ssize_t got = pread(window->file->fd, bytes, len, (off_t)(window->base + window->end - len));
    if (got < 0 || (size_t)got < len || memcmp(bytes, window->data + window->end - len, len) != 0)
        return TR_FILESRC_NEXT_CHANGED;
    return TR_FILESRC_NEXT_MESSAGE;
}

enum tr_filesrc_next tr_filesrc_window_show(struct tr_filesrc *source, struct tr_filesrc_file *file,
                                            uint64_t position, struct tr_error *err)
{
    struct tr_filesrc_window *window = &source->window;
    if (window->file == file && tr_filesrc_window_place(window) == position)
        return go_on(source);
    tr_filesrc_window_leave(source);
    int error = tr_filesrc_input_open(file->fd, file->packing, source->is_stdin, &window->input);
    if (error != 0)
        return input_fail(file, error, err);
    window->file = file;
    uint64_t before = position < TR_FILESRC_TAIL_BYTES ? position : TR_FILESRC_TAIL_BYTES;
    uint64_t reached = 0;
    window->base = position - before;
    error = tr_filesrc_input_seek(window->input, window->base, &reached);
    size_t got = 1;
    while (error == 0 && reached == window->base && window->end < before && got > 0)
        error = fill(source, &got);
    if (error != 0)
        return input_fail(file, error, err);
    if (reached < window->base || window->end < before)
        return TR_FILESRC_NEXT_CHANGED;
    window->begin = (size_t)before;
    tr_frame_start(&window->frame);
    const struct tr_filesrc_identity *known = &file->identity;
    if (known->tail_at == position && known->tail.len > 0 && known->tail.len <= window->begin &&
        tr_filesrc_sum_of(window->data + window->begin - known->tail.len, known->tail.len).hash !=
            known->tail.hash)
        return TR_FILESRC_NEXT_CHANGED;
    return TR_FILESRC_NEXT_MESSAGE;
}

/* Takes len bytes at the window's place as a message. */
static void take(struct tr_filesrc_window *window, size_t len, struct tr_message *message)
{
    message->position = (int64_t)(window->base + window->begin);
    message->next = message->position + (int64_t)len;
    message->value.ptr = window->data + window->begin;
    message->value.len = tr_frame_trim(message->value.ptr, len);
    window->begin += len;
    tr_frame_start(&window->frame);
}

static enum tr_filesrc_next take_long(struct tr_filesrc_window *window, size_t len,
                                      struct tr_message *message)
{
    take(window, len, message);
    if (message->value.len > sizeof window->kept)
        message->value.len = sizeof window->kept;
    return TR_FILESRC_NEXT_TOO_LONG;
}

static void start_skipping(struct tr_filesrc_window *window)
{
    tr_filesrc_window_tail(window, &window->file->identity);
    window->skipping = true;
    window->skip_from = window->base + window->begin;
    window->kept_len = window->end - window->begin;
    if (window->kept_len > sizeof window->kept)
        window->kept_len = sizeof window->kept;
    memcpy(window->kept, window->data + window->begin, window->kept_len);
}

/* Within a line that is too long: to its newline. */
static bool skip(struct tr_filesrc_window *window, bool ends_here, struct tr_message *message)
{
    const char *from = window->data + window->begin;
    const char *newline =
        window->end == window->begin ? NULL : memchr(from, '\n', window->end - window->begin);
    window->begin = newline == NULL ? window->end : (size_t)(newline - window->data) + 1;
    if (newline == NULL && !ends_here)
        return false;
    message->position = (int64_t)window->skip_from;
    message->next = (int64_t)(window->base + window->begin);
    message->value = (struct tr_slice){window->kept, window->kept_len};
    window->skipping = false;
    tr_frame_start(&window->frame);
    return true;
}

static void pass_bom(struct tr_filesrc_window *window)
{
    if (window->base + window->begin == 0 && window->end >= BOM_BYTES &&
        window->frame.scanned == 0 && memcmp(window->data, BOM, BOM_BYTES) == 0)
        window->begin = BOM_BYTES;
}

/* A record that has no end yet and is longer than it may be. */
static enum tr_filesrc_next too_long(struct tr_filesrc_window *window, struct tr_message *message)
{
    size_t len = window->end - window->begin;
    const char *newline =
        tr_frame_is_open(&window->frame) ? memchr(window->data + window->begin, '\n', len) : NULL;
    if (newline != NULL) {
        take(window, (size_t)(newline - (window->data + window->begin)) + 1, message);
        return TR_FILESRC_NEXT_UNCLOSED;
    }
    start_skipping(window);
    return TR_FILESRC_NEXT_NONE;
}

/* What stands behind the last newline. */
static enum tr_filesrc_next take_rest(struct tr_filesrc_window *window, struct tr_message *message)
{
    size_t len = window->end - window->begin;
    if (!tr_frame_is_open(&window->frame)) {
        take(window, len, message);
        return TR_FILESRC_NEXT_MESSAGE;
    }
    const char *newline = memchr(window->data + window->begin, '\n', len);
    if (newline != NULL)
        len = (size_t)(newline - (window->data + window->begin)) + 1;
    take(window, len, message);
    return TR_FILESRC_NEXT_UNCLOSED;
}

enum tr_filesrc_next tr_filesrc_window_next(struct tr_filesrc *source, bool is_last,
                                            struct tr_message *message, struct tr_error *err)
{
    struct tr_filesrc_window *window = &source->window;
    size_t line_max = (size_t)source->options.line_max_bytes;
    for (bool ended = false;;) {
        bool ends_here = ended && is_last && (!source->is_stdin || window->stream_ended) &&
                         !tr_filesrc_input_is_cut(window->input);
        pass_bom(window);
        if (window->skipping && skip(window, ends_here, message))
            return TR_FILESRC_NEXT_TOO_LONG;
        size_t len = window->end - window->begin;
        size_t whole = window->skipping || len == 0
                           ? 0
                           : tr_frame_end(&window->frame, window->data + window->begin, len);
        if (whole > 0 && tr_frame_trim(window->data + window->begin, whole) > line_max)
            return take_long(window, whole, message);
        if (whole > 0) {
            take(window, whole, message);
            if (message->value.len > 0)
                return TR_FILESRC_NEXT_MESSAGE;
            continue; /* an empty line is no message */
        }
        if (!window->skipping && len > line_max + 1 &&
            too_long(window, message) == TR_FILESRC_NEXT_UNCLOSED)
            return TR_FILESRC_NEXT_UNCLOSED;
        if (window->skipping && window->begin < window->end)
            continue;
        if (ends_here && !window->skipping && len > 0)
            return take_rest(window, message);
        if (ended)
            return TR_FILESRC_NEXT_NONE;
        size_t got;
        int error = fill(source, &got);
        if (error != 0)
            return input_fail(window->file, error, err);
        ended = got == 0;
    }
}
