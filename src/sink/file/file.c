/* The file sink: options, preflight and the contract's functions. The work is in writer.c (rows)
 * and folder.c (publication). Not thread-safe but for interrupt, which has nothing to unblock. */
#include "sink/file/file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sink/file/folder.h"
#include "sink/file/lines.h"
#include "sink/file/writer.h"

struct file_sink {
    const struct tr_sink_file_options *options;
    char *pipeline;
    bool checking;
    struct tr_file_folder folder;
};

static const char *const compressions[] = {"none", "gzip", "zstd", NULL};

static const struct tr_option options[] = {
    {.name = "path",
     .type = TR_OPT_STRING,
     .flags = TR_OPT_REQUIRED,
     .offset = offsetof(struct tr_sink_file_options, path),
     .help = "Folder for the files and the manifest; made when absent. One file sink a folder."},
    {.name = "format",
     .alias = "value.format",
     .type = TR_OPT_ENUM,
     .offset = offsetof(struct tr_sink_file_options, format),
     .default_text = "json",
     .values = tr_lines_formats,
     .help = "json: one flat row a line; debezium-json: the change with before, after and source."},
    {.name = "compression",
     .type = TR_OPT_ENUM,
     .offset = offsetof(struct tr_sink_file_options, compression),
     .default_text = "none",
     .values = compressions,
     .help = "gzip: files end in .jsonl.gz; zstd: in .jsonl.zst."},
    {.name = "rotation.size",
     .type = TR_OPT_SIZE,
     .offset = offsetof(struct tr_sink_file_options, rotation_size_bytes),
     .default_text = "64MB",
     .min = 1024,
     .max = (int64_t)1 << 40,
     .help = "A file of this size (bytes, after compression) is published at the next end of a "
             "transaction. A larger transaction makes a larger file."},
    {.name = "rotation.time",
     .type = TR_OPT_DURATION,
     .offset = offsetof(struct tr_sink_file_options, rotation_time_ms),
     .default_text = "10s",
     .min = 10,
     .max = 86400000,
     .help =
         "Rows are published after this time (milliseconds inside) at the latest. Until then the "
         "source keeps its log for them."},
    {.name = "topic.prefix",
     .type = TR_OPT_STRING,
     .flags = TR_OPT_ADVANCED,
     .offset = offsetof(struct tr_sink_file_options, topic_prefix),
     .help =
         "debezium-json: the logical server name in source.name. Default: the pipeline's name."},
    TR_FORMAT_OPTION_ROWS(struct tr_sink_file_options, format_options, "rewrite"),
    {.name = NULL},
};

static void sink_close(void *self)
{
    struct file_sink *sink = self;
    if (sink == NULL)
        return;
    tr_file_folder_close(&sink->folder);
    free(sink->pipeline);
    free(sink);
}

static enum tr_status sink_open(const struct tr_config *config, const struct tr_context *context,
                                void **self, struct tr_error *err)
{
    *self = NULL;
    struct file_sink *sink = calloc(1, sizeof *sink);
    if (sink == NULL)
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for the file sink");
    sink->options = tr_config_values(config);
    sink->checking = context->checking;
    sink->pipeline = strdup(context->position_name == NULL ? context->pipeline_name
                                                          : context->position_name);
    tr_file_folder_init(&sink->folder, sink->options->path, sink->pipeline);
    if (sink->pipeline == NULL) {
        sink_close(sink);
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for the file sink");
    }
    if (sink->options->path[0] == '\0') {
        sink_close(sink);
        (void)tr_fail(err, TR_E_FILE_PATH, "the file sink's path is empty");
        return tr_hint(err, "Set sink.path to a folder, e.g. path: ./changes");
    }
    *self = sink;
    return TR_OK;
}

/* The folder, or the nearest parent that is there. */
static int writable_parent(const char *path, char *buf, size_t buf_size)
{
    if ((size_t)snprintf(buf, buf_size, "%s", path) >= buf_size)
        return ENAMETOOLONG;
    struct stat info;
    while (stat(buf, &info) != 0) {
        if (errno != ENOENT)
            return errno;
        char *slash = strrchr(buf, '/');
        if (slash == NULL)
            (void)snprintf(buf, buf_size, ".");
        else if (slash == buf)
            buf[1] = '\0';
        else
            *slash = '\0';
    }
    if (!S_ISDIR(info.st_mode))
        return ENOTDIR;
    return access(buf, W_OK | X_OK) != 0 ? errno : 0;
}

static enum tr_status sink_validate(void *self, const struct tr_table *const *tables,
                                    size_t table_count, tr_report_fn report, void *report_ctx,
                                    struct tr_error *err)
{
    struct file_sink *sink = self;
    char folder[4096], message[640];
    (void)tables;
    (void)table_count;
    (void)err;
    int error = writable_parent(sink->options->path, folder, sizeof folder);
    if (error != 0) {
        (void)snprintf(message, sizeof message, "the folder cannot be made or written: %s",
                       strerror(error));
        report(report_ctx,
               &(struct tr_finding){TR_ERROR_SEVERITY, TR_E_FILE_PATH, sink->options->path, message,
                                    "Set sink.path to a folder that this user may write to."});
        return TR_OK;
    }
    struct tr_file_folder peek;
    struct tr_error found;
    tr_file_folder_init(&peek, sink->options->path, sink->pipeline);
    if (tr_file_folder_peek(&peek, &found) == TR_FAIL)
        report(report_ctx, &(struct tr_finding){TR_ERROR_SEVERITY, found.code, sink->options->path,
                                                found.message, found.hint});
    else
        report(report_ctx, &(struct tr_finding){TR_INFO, TR_E_NONE, sink->options->path,
                                                "the folder can be written", ""});
    tr_file_folder_close(&peek);
    return TR_OK;
}

static enum tr_status sink_load_marks(void *self, struct tr_state *marks, struct tr_error *err)
{
    struct file_sink *sink = self;
    enum tr_status status = sink->checking ? tr_file_folder_peek(&sink->folder, err)
                                           : tr_file_folder_acquire(&sink->folder, err);
    if (status == TR_FAIL)
        return TR_FAIL;
    return tr_state_copy(marks, &sink->folder.marks, err);
}

static enum tr_status sink_writer_open(void *self, unsigned partition, void **writer,
                                       struct tr_error *err)
{
    struct file_sink *sink = self;
    struct tr_file_writer *made = NULL;
    *writer = NULL;
    if (partition != 0)
        return tr_fail(err, TR_E_CAPABILITY,
                       "the file sink has one writer: set pipeline.parallelism to 1");
    if (tr_file_folder_acquire(&sink->folder, err) != TR_OK ||
        tr_file_writer_open(&sink->folder, sink->options, &made, err) != TR_OK)
        return TR_FAIL;
    *writer = made;
    return TR_OK;
}

/* Files carry rows; a row's own names tell its form. */
static enum tr_status sink_apply(void *writer, const struct tr_event *event, struct tr_error *err)
{
    (void)writer;
    (void)event;
    (void)err;
    return TR_OK;
}

static enum tr_status sink_write(void *writer, const struct tr_event *events, size_t event_count,
                                 struct tr_error *err)
{
    return tr_file_writer_write(writer, events, event_count, err);
}

static enum tr_status sink_flush(void *writer, int timeout_ms, struct tr_error *err)
{
    return tr_file_writer_flush(writer, timeout_ms, err);
}

static uint64_t sink_durable_seq(void *writer) { return tr_file_writer_durable_seq(writer); }
static void sink_interrupt(void *self) { (void)self; }
static void sink_writer_close(void *writer) { tr_file_writer_close(writer); }

static enum tr_status sink_drop(void *self, tr_report_fn report, void *report_ctx,
                                struct tr_error *err)
{
    struct file_sink *sink = self;
    enum tr_status status = tr_file_folder_drop(&sink->folder, err);
    if (status == TR_FAIL)
        return TR_FAIL;
    report(report_ctx, &(struct tr_finding){
                           TR_INFO, TR_E_NONE, sink->options->path,
                           status == TR_END ? "holds no position"
                                            : "the position is removed; published files are kept",
                           ""});
    return TR_OK;
}

const struct tr_sink_ops tr_sink_file = {
    .name = "file",
    .abi = TR_SINK_ABI,
    .caps = TR_CAP_TRANSACTIONS | TR_CAP_POSITION,
    .options = options,
    .options_size = sizeof(struct tr_sink_file_options),
    .summary = "JSON Lines in files of a folder, exactly once",
    .open = sink_open,
    .validate = sink_validate,
    .load_marks = sink_load_marks,
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
