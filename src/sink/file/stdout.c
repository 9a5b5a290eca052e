/* The stdout sink: each write goes out before it returns, so "durable" is what write(2) has taken.
 * A pipe's reader may still lose it: at least once. The log goes to standard error.
 *
 * Thread: the writer's; interrupt from any. A reader that does not read blocks us: so a pipe is
 * written in pieces that poll(2) has announced room for (PIPE_BUF, pipe(7)), and the waiting looks
 * at the interrupt flag. O_NONBLOCK would be simpler, but it belongs to the open file, which other
 * processes (the terminal's shell) share. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/fs.h"
#include "sink/file/file.h"
#include "sink/file/lines.h"

#define TEXT_BYTES_MAX ((size_t)256 << 10)
#define POLL_MS 100

struct stdout_sink {
    const struct tr_sink_stdout_options *options;
    char *pipeline;
    bool can_block; /* a pipe, a socket or a terminal; a regular file never waits for a reader */
    _Atomic bool interrupted;
};
struct stdout_writer {
    struct stdout_sink *sink;
    struct tr_lines lines;
    uint64_t durable_seq;
};

static const struct tr_option options[] = {
    {.name = "format",
     .alias = "value.format",
     .type = TR_OPT_ENUM,
     .offset = offsetof(struct tr_sink_stdout_options, format),
     .default_text = "json",
     .values = tr_lines_formats,
     .help = "json: one flat row a line; debezium-json: the change with before, after and source."},
    {.name = "topic.prefix",
     .type = TR_OPT_STRING,
     .flags = TR_OPT_ADVANCED,
     .offset = offsetof(struct tr_sink_stdout_options, topic_prefix),
     .help =
         "debezium-json: the logical server name in source.name. Default: the pipeline's name."},
    TR_FORMAT_OPTION_ROWS(struct tr_sink_stdout_options, format_options, "rewrite"),
    {.name = NULL},
};

static void sink_close(void *self)
{
    struct stdout_sink *sink = self;
    if (sink == NULL)
        return;
    free(sink->pipeline);
    free(sink);
}

static enum tr_status fail_write(int error, struct tr_error *err)
{
    if (error == EPIPE) {
        (void)tr_fail(err, TR_E_FILE_EPIPE, "the reader of standard output has gone away");
        return tr_hint(err, "Start the pipeline again; what was not written is delivered then.");
    }
    if (tr_fs_is_full(error)) {
        (void)tr_fail(err, TR_E_FILE_DISK_FULL, "could not write to standard output: no room");
        (void)tr_detail(err, "%s", strerror(error));
        return tr_hint(err, "Make room where standard output is directed to.");
    }
    (void)tr_fail(err, error == EBADF ? TR_E_FILE_STDOUT : TR_E_FILE_IO,
                  "could not write to standard output");
    (void)tr_detail(err, "%s", strerror(error));
    return tr_hint(err, "Give the process a standard output that can be written.");
}

static enum tr_status sink_open(const struct tr_config *config, const struct tr_context *context,
                                void **self, struct tr_error *err)
{
    struct stat info;
    *self = NULL;
    int mode = fcntl(STDOUT_FILENO, F_GETFL);
    if (mode < 0 || (mode & O_ACCMODE) == O_RDONLY || fstat(STDOUT_FILENO, &info) != 0)
        return fail_write(EBADF, err);
    struct stdout_sink *sink = calloc(1, sizeof *sink);
    if (sink != NULL)
        sink->pipeline = strdup(context->pipeline_name);
    if (sink == NULL || sink->pipeline == NULL) {
        sink_close(sink);
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for the stdout sink");
    }
    sink->options = tr_config_values(config);
    sink->can_block = !S_ISREG(info.st_mode);
    /* a reader that leaves is an error with a name, not a death by signal */
    if (!context->checking)
        (void)signal(SIGPIPE, SIG_IGN);
    *self = sink;
    return TR_OK;
}

static enum tr_status sink_validate(void *self, const struct tr_table *const *tables,
                                    size_t table_count, tr_report_fn report, void *report_ctx,
                                    struct tr_error *err)
{
    (void)self;
    (void)tables;
    (void)table_count;
    (void)err;
    report(report_ctx,
           &(struct tr_finding){TR_INFO, TR_E_NONE, "stdout",
                                "rows are written to standard output, at least once", ""});
    return TR_OK;
}

static void sink_writer_close(void *self)
{
    struct stdout_writer *writer = self;
    if (writer == NULL)
        return;
    tr_lines_close(&writer->lines);
    free(writer);
}

static enum tr_status sink_writer_open(void *self, unsigned partition, void **out,
                                       struct tr_error *err)
{
    struct stdout_sink *sink = self;
    *out = NULL;
    if (partition != 0)
        return tr_fail(err, TR_E_CAPABILITY,
                       "the stdout sink has one writer: set pipeline.parallelism to 1");
    struct stdout_writer *writer = calloc(1, sizeof *writer);
    if (writer == NULL)
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for the stdout sink");
    writer->sink = sink;
    const char *prefix =
        sink->options->topic_prefix != NULL ? sink->options->topic_prefix : sink->pipeline;
    if (tr_lines_open(&writer->lines, sink->options->format, &sink->options->format_options, prefix,
                      err) != TR_OK) {
        sink_writer_close(writer);
        return TR_FAIL;
    }
    *out = writer;
    return TR_OK;
}

/* 0, an errno value, or EINTR when the sink was interrupted. */
static int wait_for_room(struct stdout_sink *sink)
{
    for (;;) {
        if (atomic_load(&sink->interrupted))
            return EINTR;
        struct pollfd poller = {.fd = STDOUT_FILENO, .events = POLLOUT};
        int ready = poll(&poller, 1, POLL_MS);
        if (ready < 0 && errno != EINTR)
            return errno;
        if (ready > 0)
            return 0; /* room, or an error that the write will name */
    }
}

static int put(struct stdout_sink *sink, const char *data, size_t len)
{
    int error = TR_FAILPOINT("sink.stdout.write");
    while (len > 0 && error == 0) {
        size_t piece = len;
        if (sink->can_block) {
            error = wait_for_room(sink);
            if (error != 0)
                break;
            piece = len < PIPE_BUF ? len : PIPE_BUF;
        }
        ssize_t written = write(STDOUT_FILENO, data, piece);
        if (written < 0) {
            if (errno != EINTR && errno != EAGAIN)
                error = errno;
            continue;
        }
        data += written;
        len -= (size_t)written;
    }
    return error;
}

static enum tr_status drain(struct stdout_writer *writer, struct tr_error *err)
{
    int error = put(writer->sink, writer->lines.text.data, writer->lines.text.len);
    if (error == EINTR)
        return tr_fail(err, TR_E_INTERRUPTED, "writing to standard output was interrupted");
    if (error != 0)
        return fail_write(error, err);
    tr_lines_consume(&writer->lines, writer->lines.text.len);
    return TR_OK;
}

static enum tr_status sink_apply(void *writer, const struct tr_event *event, struct tr_error *err)
{
    (void)writer;
    (void)event;
    (void)err;
    return TR_OK;
}

static enum tr_status sink_write(void *self, const struct tr_event *events, size_t event_count,
                                 struct tr_error *err)
{
    struct stdout_writer *writer = self;
    int64_t now_us = tr_clock_wall_us();
    for (size_t i = 0; i < event_count; i++) {
        if (tr_lines_append(&writer->lines, &events[i], now_us, err) != TR_OK)
            return TR_FAIL;
        bool last = i + 1 == event_count;
        if (writer->lines.text.len < TEXT_BYTES_MAX && !last)
            continue;
        if (drain(writer, err) != TR_OK)
            return TR_FAIL;
        writer->durable_seq = events[i].seq;
    }
    return TR_OK;
}

static enum tr_status sink_flush(void *writer, int timeout_ms, struct tr_error *err)
{
    (void)writer;
    (void)timeout_ms;
    (void)err;
    return TR_OK; /* write left nothing behind */
}

static uint64_t sink_durable_seq(void *writer)
{
    return ((const struct stdout_writer *)writer)->durable_seq;
}

static void sink_interrupt(void *self)
{
    struct stdout_sink *sink = self;
    atomic_store(&sink->interrupted, true);
}

static enum tr_status sink_drop(void *self, tr_report_fn report, void *report_ctx,
                                struct tr_error *err)
{
    (void)self;
    (void)report;
    (void)report_ctx;
    (void)err;
    return TR_OK;
}

const struct tr_sink_ops tr_sink_stdout = {
    .name = "stdout",
    .abi = TR_SINK_ABI,
    .caps = 0,
    .options = options,
    .options_size = sizeof(struct tr_sink_stdout_options),
    .summary = "JSON Lines on standard output, at least once",
    .open = sink_open,
    .validate = sink_validate,
    .writer_open = sink_writer_open,
    .apply = sink_apply,
    .write = sink_write,
    .flush = sink_flush,
    .durable_seq = sink_durable_seq,
    .interrupt = sink_interrupt,
    .writer_close = sink_writer_close,
    .drop = sink_drop,
    .close = sink_close,
};
