/* The file source's operations.
 *
 *   options  discover   what is to be read
 *   identity files      which file is which, and where each begins
 *   input    window     bytes → messages
 *   watch               waiting for more
 *
 * Bounded: the files are read one after another in the order of their names. Following: in turns, a
 * batch each, so that a large file does not hold up the others; a compressed one up to its end.
 *
 * CSV: the decoder must see the first line of each file before its rows. After a resume it is read
 * again and handed on as a message at position 0, which makes no event.
 *
 * Threads: see tailrace/source.h. The reader owns everything but the atomics; interrupt rings an
 * eventfd. */
#include "source/file/source.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/metric.h"
#include "event/dead_letter.h"

#define SKIP_LOG_INTERVAL_MS 1000
#define ROOM (TR_DECODE_EVENTS_MAX + 2) /* one message's events, a dead letter, the COMMIT */

static struct tr_metric metric_skipped = {
    .name = "tailrace_messages_skipped_total",
    .unit = "messages",
    .help = "Malformed messages that were left out (malformed: skip)",
    .kind = TR_COUNTER};

static void tell_skipped(struct tr_filesrc *source)
{
    if (source->skipped_since > 0)
        tr_log(TR_LOG_WARN, "malformed lines were skipped", "count=%llu",
               (unsigned long long)source->skipped_since);
    source->skipped_since = 0;
}

/* Standard input was read from in this process: another attempt cannot read that again. */
static _Atomic bool stdin_was_read;

static void source_close(void *self)
{
    struct tr_filesrc *source = self;
    if (source == NULL)
        return;
    tell_skipped(source); /* those after the last line about them */
    tr_filesrc_window_free(&source->window);
    if (source->decoder != NULL)
        source->decoder_ops->close(source->decoder);
    tr_filesrc_files_free(source);
    tr_filesrc_watch_close(source);
    if (source->wake_fd >= 0)
        (void)close(source->wake_fd);
    free(source);
}

static enum tr_status open_decoder(struct tr_filesrc *source, const struct tr_context *context,
                                   struct tr_error *err)
{
    const struct tr_decoder_context decoder_context = {
        .pipeline_name = context->pipeline_name, .namespace = "", .schema = ""};
    source->decoder_ops = tr_decoder_find(source->options.decoder.format);
    if (source->decoder_ops == NULL)
        return tr_fail(err, TR_E_CONFIG_UNSUPPORTED, "this build cannot read the format %s",
                       tr_decoder_format_values[source->options.decoder.format]);
    return source->decoder_ops->open(&source->options.decoder, &decoder_context, &source->decoder,
                                     err);
}

static enum tr_status source_open(const struct tr_config *config, const struct tr_context *context,
                                  void **self, struct tr_error *err)
{
    struct tr_filesrc *source = calloc(1, sizeof *source);
    *self = NULL;
    if (source == NULL)
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for the source");
    source->config = config;
    source->notify_fd = -1;
    source->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    source->files = calloc(TR_SPLITS_MAX, sizeof *source->files); /* touched as files are found */
    if (source->wake_fd < 0 || source->files == NULL) {
        source_close(source);
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for the source, or no eventfd");
    }
    tr_metric_register(&metric_skipped);
    if (tr_filesrc_settle(config, context, &source->options, err) != TR_OK ||
        tr_frame_init(&source->window.frame, &source->options.decoder, err) != TR_OK ||
        open_decoder(source, context, err) != TR_OK) {
        source_close(source);
        return TR_FAIL;
    }
    source->is_stdin = tr_filesrc_is_stdin(&source->options);
    *self = source;
    return TR_OK;
}

/* ---- check ---- */

struct checking {
    tr_report_fn report;
    void *report_ctx;
};

static void tell(const struct checking *check, enum tr_severity severity, enum tr_code code,
                 const char *object, const char *message)
{
    const struct tr_finding finding = {severity, code, object, message,
                                       code == TR_E_NONE ? NULL : tr_error_info(code)->remedy};
    check->report(check->report_ctx, &finding);
}

struct missing_check {
    const struct checking *check;
    bool follow;
};

static enum tr_status report_missing(void *ctx, const char *path, struct tr_error *err)
{
    const struct missing_check *missing = ctx;
    (void)err;
    if (missing->follow)
        tell(missing->check, TR_WARNING, TR_E_FILESRC_MISSING, path,
             "is not there yet; the source waits for it");
    else
        tell(missing->check, TR_ERROR_SEVERITY, TR_E_FILESRC_MISSING, path, "is not there");
    return TR_OK;
}

static void check_file(const struct checking *check, const char *path)
{
    char text[256];
    struct stat info;
    if (stat(path, &info) == 0 && !S_ISREG(info.st_mode)) {
        tell(check, TR_ERROR_SEVERITY, TR_E_FILESRC_UNREADABLE, path, "is not a regular file");
    } else if (access(path, R_OK) != 0) {
        (void)snprintf(text, sizeof text, "cannot be read: %s", strerror(errno));
        tell(check, TR_ERROR_SEVERITY, TR_E_FILESRC_UNREADABLE, path, text);
    }
}

static enum tr_status source_validate(void *self, tr_report_fn report, void *report_ctx,
                                      struct tr_error *err)
{
    struct tr_filesrc *source = self;
    const struct checking check = {report, report_ctx};
    struct missing_check missing = {&check, source->options.follow};
    struct tr_filesrc_paths paths;
    char text[64];
    if (source->is_stdin) {
        tell(&check, TR_WARNING, TR_E_NONE, "-",
             "standard input cannot be read a second time: after a crash, lines that were read and "
             "not delivered are missing");
        return TR_OK;
    }
    enum tr_status status =
        tr_filesrc_list(&source->options, report_missing, &missing, &paths, err);
    for (size_t i = 0; status == TR_OK && i < paths.count; i++)
        check_file(&check, paths.items[i]);
    if (status == TR_OK && paths.count == 0)
        tell(&check, TR_WARNING, TR_E_NONE, "path", "no file is there now");
    (void)snprintf(text, sizeof text, "files found: %zu", paths.count);
    if (status == TR_OK && paths.count > 0)
        tell(&check, TR_INFO, TR_E_NONE, "path", text);
    tr_filesrc_paths_free(&paths);
    return status;
}

/* ---- start ---- */

static enum tr_status source_start(void *self, const struct tr_state *marks, struct tr_error *err)
{
    struct tr_filesrc *source = self;
    if (source->is_stdin && atomic_load(&stdin_was_read))
        return tr_fail(err, TR_E_FILESRC_STDIN_GONE,
                       "standard input was read in part and cannot be read again");
    if (source->decoder_ops->restore(source->decoder, marks, err) != TR_OK)
        return TR_FAIL;
    if (source->options.follow && !source->is_stdin)
        tr_filesrc_watch_open(source);
    return tr_filesrc_files_start(source, marks, err);
}

static unsigned source_snapshot_readers(void *self)
{
    (void)self;
    return 0;
}

static enum tr_status source_snapshot(void *self, unsigned reader_index, struct tr_batch *batch,
                                      int timeout_ms, struct tr_error *err)
{
    (void)self, (void)reader_index, (void)batch, (void)timeout_ms, (void)err;
    return TR_END;
}

static enum tr_status source_stream(void *self, struct tr_error *err)
{
    (void)self, (void)err;
    return TR_OK;
}

/* ---- messages ---- */

/* The message and its bytes, in the batch's memory. */
static struct tr_message *keep(struct tr_batch *batch, const struct tr_message *message)
{
    struct tr_message *kept =
        tr_arena_alloc(&batch->arena, sizeof *kept, _Alignof(struct tr_message));
    if (kept == NULL)
        return NULL;
    *kept = *message;
    kept->value.ptr = tr_batch_copy(batch, message->value.ptr, message->value.len);
    return kept->value.ptr == NULL ? NULL : kept;
}

static void count_skipped(struct tr_filesrc *source, const struct tr_message *message,
                          const struct tr_error *why)
{
    int64_t now_ms = tr_clock_mono_ms();
    tr_metric_add(&metric_skipped, 1);
    source->skipped_since++;
    if (source->skipped_log_ms != 0 && now_ms - source->skipped_log_ms < SKIP_LOG_INTERVAL_MS)
        return;
    char text[700];
    source->skipped_log_ms = now_ms;
    tr_log(TR_LOG_WARN, "malformed lines were skipped",
           "count=%llu file=\"%s\" position=%lld code=%s error=%s",
           (unsigned long long)source->skipped_since, message->split->container,
           (long long)message->position, tr_error_info(why->code)->name,
           tr_log_quote(why->message, text, sizeof text));
    source->skipped_since = 0;
}

/* What cannot be decoded: *why says why. */
static enum tr_status take_malformed(struct tr_filesrc *source, struct tr_batch *batch,
                                     const struct tr_message *message, const struct tr_error *why,
                                     struct tr_error *err)
{
    const struct tr_dead_letter letter = {.reason = TR_DEAD_MALFORMED,
                                          .message = message,
                                          .error = why,
                                          .event_time_us = TR_TIME_NONE,
                                          .watermark_us = TR_TIME_NONE};
    switch ((enum tr_filesrc_malformed)source->options.malformed) {
    case TR_FILESRC_SKIP:
        count_skipped(source, message, why);
        return TR_OK;
    case TR_FILESRC_DEAD_LETTER:
        return tr_dead_letter_append(batch, &letter, err);
    case TR_FILESRC_STOP:
        break;
    }
    char detail[sizeof err->detail];
    (void)snprintf(detail, sizeof detail, "%s", why->detail);
    if (err != why)
        *err = *why;
    (void)tr_detail(err, "line at byte %lld of %.250s%s%.200s", (long long)message->position,
                    message->split->container, detail[0] != '\0' ? ": " : "", detail);
    return tr_hint(err, "mend the line, or set malformed: skip, or give the pipeline a dead-letter "
                        "sink");
}

static enum tr_status take_message(struct tr_filesrc *source, struct tr_batch *batch,
                                   struct tr_message *message, int64_t now_us, struct tr_error *err)
{
    uint32_t from = batch->event_count;
    enum tr_status status = source->decoder_ops->decode(source->decoder, message, batch, err);
    if (status == TR_FAIL && err->class == TR_DATA) {
        struct tr_error why = *err;
        batch->event_count = from;
        return take_malformed(source, batch, message, &why, err);
    }
    if (status == TR_FAIL)
        return TR_FAIL;
    for (uint32_t i = from; i < batch->event_count; i++) {
        struct tr_event *event = &batch->events[i];
        event->message = message;
        event->recv_ts_us = now_us;
        if (event->ts_us == 0 || event->ts_us == TR_TIME_NONE)
            event->ts_us = now_us;
    }
    return TR_OK;
}

static enum tr_status take_bad(struct tr_filesrc *source, struct tr_batch *batch,
                               struct tr_message *message, enum tr_filesrc_next next,
                               struct tr_error *err)
{
    struct tr_error why;
    if (next == TR_FILESRC_NEXT_UNCLOSED) {
        (void)tr_fail(&why, TR_E_CSV_QUOTE, "a quote is never closed");
        (void)tr_detail(&why, "within line.max-bytes or up to the end of the file");
    } else {
        (void)tr_fail(&why, TR_E_FILESRC_LINE_TOO_LONG, "a line of %lld bytes is too long",
                      (long long)(message->next - message->position));
        (void)tr_detail(&why, "line.max-bytes is %lld; the first %zu bytes are kept",
                        (long long)source->options.line_max_bytes, message->value.len);
    }
    return take_malformed(source, batch, message, &why, err);
}

static bool has_header(const struct tr_filesrc *source)
{
    return source->options.decoder.format == TR_DECODE_CSV && source->options.decoder.csv_header;
}

/* After a resume in the middle of a CSV file: its first line once more. */
static enum tr_filesrc_next tell_header(struct tr_filesrc *source, struct tr_batch *batch,
                                        struct tr_filesrc_file *file, struct tr_error *err)
{
    struct tr_message message = {.split = &file->split, .ts_us = INT64_MIN};
    struct tr_error ignored;
    const struct tr_filesrc_identity identity = file->identity;
    enum tr_filesrc_next next = tr_filesrc_window_show(source, file, 0, err);
    if (next == TR_FILESRC_NEXT_MESSAGE)
        next = tr_filesrc_window_next(source, true, &message, err);
    file->identity = identity; /* its tail belongs to the position */
    if (next == TR_FILESRC_NEXT_NONE)
        return TR_FILESRC_NEXT_CHANGED;
    if (next == TR_FILESRC_NEXT_FAIL || next == TR_FILESRC_NEXT_CHANGED)
        return next;
    file->header_told = true;
    message.position = 0;
    if (file->position < (uint64_t)message.next)
        file->position = (uint64_t)message.next;
    const struct tr_message *kept = keep(batch, &message);
    if (kept == NULL) {
        (void)tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for a line");
        return TR_FILESRC_NEXT_FAIL;
    }
    /* a bad header was treated when it was met first */
    uint32_t from = batch->event_count;
    if (next == TR_FILESRC_NEXT_MESSAGE &&
        source->decoder_ops->decode(source->decoder, kept, batch, &ignored) == TR_FAIL &&
        ignored.class != TR_DATA) {
        *err = ignored;
        return TR_FILESRC_NEXT_FAIL;
    }
    for (uint32_t i = from; i < batch->event_count; i++)
        batch->events[i].message = kept;
    return TR_FILESRC_NEXT_MESSAGE;
}

static bool is_full(const struct tr_batch *batch)
{
    return batch->event_count + ROOM > TR_BATCH_EVENTS_MAX || tr_batch_full(batch);
}

/* Messages of the file that the window shows, until the batch is full or there are no more. */
static enum tr_filesrc_next read_shown(struct tr_filesrc *source, struct tr_batch *batch,
                                       struct tr_filesrc_file *file, struct tr_error *err)
{
    int64_t now_us = tr_clock_wall_us();
    bool is_last = !source->options.follow || source->is_stdin;
    while (!is_full(batch)) {
        struct tr_message message = {.split = &file->split, .ts_us = INT64_MIN};
        enum tr_filesrc_next next = tr_filesrc_window_next(source, is_last, &message, err);
        if (next == TR_FILESRC_NEXT_NONE || next == TR_FILESRC_NEXT_FAIL)
            return next;
        if (has_header(source) && !file->header_told)
            message.position = 0;
        file->header_told = true;
        struct tr_message *kept = keep(batch, &message);
        if (kept == NULL) {
            (void)tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for a line");
            return TR_FILESRC_NEXT_FAIL;
        }
        enum tr_status status = next == TR_FILESRC_NEXT_MESSAGE
                                    ? take_message(source, batch, kept, now_us, err)
                                    : take_bad(source, batch, kept, next, err);
        if (status == TR_FAIL)
            return TR_FILESRC_NEXT_FAIL;
    }
    return TR_FILESRC_NEXT_MESSAGE;
}

/* Where the window stands now is the file's position. */
static void take_place(struct tr_filesrc *source, struct tr_filesrc_file *file)
{
    const struct tr_filesrc_window *window = &source->window;
    uint64_t place = tr_filesrc_window_place(window);
    if (window->file != file || place == file->position)
        return;
    file->position = place;
    file->moved = true;
    if (!window->skipping) /* else it was taken when the skipping began */
        tr_filesrc_window_tail(window, &file->identity);
}

/* Nothing of it now. A compressed file that ends within its data is whole only when it is followed.
 */
static enum tr_status at_end(struct tr_filesrc *source, struct tr_filesrc_file *file,
                             struct tr_error *err)
{
    file->at_end = true;
    if (file->packing != TR_FILESRC_PLAIN)
        atomic_store(&file->bytes, file->position);
    if (source->is_stdin && !source->window.stream_ended)
        return TR_OK;
    if (source->options.follow && !source->is_stdin)
        return TR_OK;
    if (source->window.input != NULL && tr_filesrc_input_is_cut(source->window.input))
        return tr_fail(err, TR_E_FILESRC_COMPRESSED, "the compressed file %.300s is cut",
                       file->split.container);
    file->finished = true;
    if (!source->is_stdin) {
        tr_filesrc_window_leave(source);
        (void)close(file->fd);
        file->fd = -1;
    }
    return TR_OK;
}

/* One file's turn. */
static enum tr_status visit(struct tr_filesrc *source, struct tr_batch *batch,
                            struct tr_filesrc_file *file, struct tr_error *err)
{
    enum tr_filesrc_next next = TR_FILESRC_NEXT_MESSAGE;
    if (tr_filesrc_file_open(file, err) != TR_OK)
        return TR_FAIL;
    if (source->is_stdin)
        atomic_store(&stdin_was_read, true);
    if (has_header(source) && !file->header_told && file->position > 0)
        next = tell_header(source, batch, file, err);
    if (next == TR_FILESRC_NEXT_MESSAGE)
        next = tr_filesrc_window_show(source, file, file->position, err);
    if (next == TR_FILESRC_NEXT_MESSAGE) {
        next = read_shown(source, batch, file, err);
        if (next != TR_FILESRC_NEXT_FAIL)
            take_place(source, file);
    }
    file->at_end = false;
    switch (next) {
    case TR_FILESRC_NEXT_FAIL:
        return TR_FAIL;
    case TR_FILESRC_NEXT_CHANGED:
        return tr_filesrc_file_changed(source, file, err);
    case TR_FILESRC_NEXT_NONE:
        return at_end(source, file, err);
    default:
        return TR_OK;
    }
}

/* Whether a followed file that was at its end may have more. */
static bool has_more(struct tr_filesrc *source, struct tr_filesrc_file *file)
{
    struct stat info;
    if (source->is_stdin || !file->at_end || file->fd < 0)
        return true;
    if (!source->sweep_asked || fstat(file->fd, &info) != 0)
        return false;
    int64_t change_ns = (int64_t)info.st_mtim.tv_sec * 1000000000 + info.st_mtim.tv_nsec;
    bool same = file->visited && file->seen_bytes == (uint64_t)info.st_size &&
                file->seen_change_ns == change_ns;
    file->visited = true;
    file->seen_bytes = (uint64_t)info.st_size;
    file->seen_change_ns = change_ns;
    if (file->packing == TR_FILESRC_PLAIN)
        atomic_store(&file->bytes, file->seen_bytes);
    return !same;
}

/* Fills the batch from the files in turn. */
static enum tr_status fill(struct tr_filesrc *source, struct tr_batch *batch, struct tr_error *err)
{
    uint32_t count = source->file_count, left = count;
    for (; left > 0 && !is_full(batch); left--) {
        if (source->turn >= count)
            source->turn = 0;
        struct tr_filesrc_file *file = source->files[source->turn];
        if (!file->finished && has_more(source, file)) {
            if (visit(source, batch, file, err) != TR_OK)
                return TR_FAIL;
            bool stays = !file->at_end && !file->finished;
            if (stays && (!source->options.follow || file->packing != TR_FILESRC_PLAIN))
                return TR_OK; /* it has its turn again */
        }
        source->turn++;
    }
    if (left == 0)
        source->sweep_asked = false;
    return TR_OK;
}

static bool has_marks(const struct tr_filesrc *source)
{
    if (source->forgotten.len > 0)
        return true;
    for (uint32_t i = 0; i < source->file_count; i++) {
        if (source->files[i]->moved)
            return true;
    }
    return false;
}

static bool all_finished(const struct tr_filesrc *source)
{
    for (uint32_t i = 0; i < source->file_count; i++) {
        if (!source->files[i]->finished)
            return false;
    }
    return source->is_stdin || !source->options.follow;
}

static enum tr_status announce(struct tr_filesrc *source, struct tr_batch *batch,
                               struct tr_error *err)
{
    if (tr_filesrc_commit(source, batch, err) != TR_OK)
        return TR_FAIL;
    source->announced = true;
    source->sweep_asked = true;
    return TR_OK;
}

static enum tr_status source_read(void *self, struct tr_batch *batch, int timeout_ms,
                                  struct tr_error *err)
{
    struct tr_filesrc *source = self;
    if (!source->announced)
        return announce(source, batch, err);
    int64_t deadline_ms = tr_clock_mono_ms() + timeout_ms;
    for (;;) {
        int64_t now_ms = tr_clock_mono_ms();
        bool follows = source->options.follow && !source->is_stdin;
        if (now_ms - source->swept_ms >= source->options.scan_interval_ms) {
            source->sweep_asked = true;
            source->swept_ms = now_ms;
        }
        if (follows &&
            (source->scan_asked ||
             now_ms - source->scanned_ms >= source->options.scan_interval_ms) &&
            tr_filesrc_files_scan(source, err) != TR_OK)
            return TR_FAIL;
        if (fill(source, batch, err) != TR_OK)
            return TR_FAIL;
        if (batch->event_count > 0 || has_marks(source)) {
            if (tr_filesrc_commit(source, batch, err) != TR_OK)
                return TR_FAIL;
            return all_finished(source) ? TR_END : TR_OK;
        }
        if (all_finished(source))
            return TR_END;
        now_ms = tr_clock_mono_ms();
        if (now_ms >= deadline_ms || tr_filesrc_wait(source, (int)(deadline_ms - now_ms)))
            return TR_AGAIN;
    }
}

/* ---- the rest ---- */

static void source_acknowledge(void *self, const struct tr_state *marks)
{
    struct tr_filesrc *source = self;
    uint64_t sum = 0;
    uint32_t count = atomic_load(&source->file_count);
    for (uint32_t i = 0; i < count; i++) {
        char key[TR_MARK_KEY_BYTES_MAX + 1];
        const struct tr_filesrc_file *file = source->files[i];
        if (atomic_load(&file->gone))
            continue;
        (void)snprintf(key, sizeof key, TR_MARK_SPLIT "%s", file->split.name);
        const char *value = tr_state_get(marks, key);
        sum += value == NULL ? 0 : strtoull(value, NULL, 10);
    }
    atomic_store(&source->acknowledged_bytes, sum);
}

static enum tr_status source_keepalive(void *self, struct tr_error *err)
{
    (void)self, (void)err;
    return TR_OK;
}

static enum tr_status source_finish(void *self, int timeout_ms, struct tr_error *err)
{
    (void)self, (void)timeout_ms, (void)err;
    return TR_OK;
}

static void source_interrupt(void *self)
{
    struct tr_filesrc *source = self;
    uint64_t one = 1;
    ssize_t written = write(source->wake_fd, &one, sizeof one);
    (void)written; /* full: it is ringing already */
}

static enum tr_status source_drop(void *self, tr_report_fn report, void *report_ctx,
                                  struct tr_error *err)
{
    (void)self, (void)report, (void)report_ctx, (void)err;
    return TR_OK; /* nothing was made */
}

static void source_progress(void *self, struct tr_source_progress *progress)
{
    struct tr_filesrc *source = self;
    uint32_t count = atomic_load(&source->file_count);
    uint64_t bytes = 0;
    bool known = true;
    memset(progress, 0, sizeof *progress);
    for (uint32_t i = 0; i < count; i++) {
        const struct tr_filesrc_file *file = source->files[i];
        uint64_t size = atomic_load(&file->bytes);
        if (atomic_load(&file->gone))
            continue;
        known = known && size != UINT64_MAX;
        bytes += size;
    }
    progress->server_position = known ? bytes : 0;
    progress->read_position = atomic_load(&source->read_bytes);
    progress->acknowledged_position = atomic_load(&source->acknowledged_bytes);
    (void)snprintf(progress->position_text, sizeof progress->position_text, "%llu",
                   (unsigned long long)progress->read_position);
}

static uint32_t source_split_count(void *self)
{
    struct tr_filesrc *source = self;
    return atomic_load(&source->file_count);
}

static const struct tr_split *source_split(void *self, uint32_t index)
{
    struct tr_filesrc *source = self;
    if (index >= atomic_load(&source->file_count) || atomic_load(&source->files[index]->gone))
        return NULL;
    return &source->files[index]->split;
}

const struct tr_source_ops tr_source_file = {
    .name = "file",
    .abi = TR_SOURCE_ABI,
    .caps = TR_SRC_SPLITS,
    .options = tr_filesrc_option_table,
    .options_size = sizeof(struct tr_filesrc_options),
    .summary = "JSON Lines, change envelopes and CSV from files, folders and standard input",
    .open = source_open,
    .validate = source_validate,
    .start = source_start,
    .snapshot_readers = source_snapshot_readers,
    .snapshot = source_snapshot,
    .stream = source_stream,
    .read = source_read,
    .acknowledge = source_acknowledge,
    .keepalive = source_keepalive,
    .finish = source_finish,
    .interrupt = source_interrupt,
    .drop = source_drop,
    .progress = source_progress,
    .close = source_close,
    .split_count = source_split_count,
    .split = source_split,
};
