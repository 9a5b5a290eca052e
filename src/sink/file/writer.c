/* Events → lines → the file being written → published files. Thread: the writer's.
 *
 * lines.text = [lines of complete transactions, committed_len bytes][lines of the transaction under
 * way] Only the first part goes into the file, so that the file can be published at any moment. A
 * transaction whose lines outgrow PENDING_BYTES_MAX is spilled: what is complete is published
 * first, then the file holds this one transaction alone until its COMMIT. So a published file
 * always ends at the end of a transaction, no transaction is split over two files, and memory is
 * bounded.
 *
 * Durable means published. A flush with timeout 0 publishes only what is due by rotation.size or
 * rotation.time: otherwise each flush would make a small file. A flush with a timeout publishes
 * now. */
#include "sink/file/writer.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/metric.h"
#include "sink/file/lines.h"

#define PENDING_BYTES_MAX ((size_t)4 << 20)
#define WRITE_BYTES ((size_t)256 << 10) /* lines are handed to the file in pieces of this size */

static struct tr_metric metric_files = {.name = "tailrace_sink_file_published_total",
                                        .unit = "files",
                                        .help = "Files published.",
                                        .kind = TR_COUNTER};
static struct tr_metric metric_bytes = {.name = "tailrace_sink_file_published_bytes_total",
                                        .unit = "bytes",
                                        .help = "Size of the files published, after compression.",
                                        .kind = TR_COUNTER};

struct tr_file_writer {
    struct tr_file_folder *folder;
    const struct tr_sink_file_options *options;
    struct tr_lines lines;
    size_t committed_len;
    struct tr_file_output *output; /* NULL: none open */
    struct tr_state marks;         /* after the last COMMIT */
    uint64_t committed_seq, durable_seq;
    int64_t unpublished_since_ms; /* first COMMIT that is not durable, 0 none */
    bool spilling;                /* output holds the beginning of a transaction */
    bool broken;                  /* a write or a publication failed: only a new writer goes on */
};

enum tr_status tr_file_writer_open(struct tr_file_folder *folder,
                                   const struct tr_sink_file_options *options,
                                   struct tr_file_writer **out, struct tr_error *err)
{
    *out = NULL;
    struct tr_file_writer *writer = calloc(1, sizeof *writer);
    if (writer == NULL)
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for a file writer");
    writer->folder = folder;
    writer->options = options;
    tr_state_init(&writer->marks);
    const char *prefix = options->topic_prefix != NULL ? options->topic_prefix : folder->pipeline;
    if (tr_state_copy(&writer->marks, &folder->marks, err) != TR_OK ||
        tr_lines_open(&writer->lines, options->format, &options->format_options, prefix, err) !=
            TR_OK) {
        tr_file_writer_close(writer);
        return TR_FAIL;
    }
    tr_metric_register(&metric_files);
    tr_metric_register(&metric_bytes);
    *out = writer;
    return TR_OK;
}

void tr_file_writer_close(struct tr_file_writer *writer)
{
    if (writer == NULL)
        return;
    tr_file_output_close(writer->output); /* its .tmp is removed at the next start */
    tr_lines_close(&writer->lines);
    tr_state_free(&writer->marks);
    free(writer);
}

static enum tr_status fail_broken(struct tr_file_writer *writer, const char *what, int error,
                                  struct tr_error *err)
{
    writer->broken = true;
    return tr_file_fail(writer->folder, what,
                        writer->output == NULL ? "" : tr_file_output_name(writer->output), error,
                        err);
}

static enum tr_status open_output(struct tr_file_writer *writer, struct tr_error *err)
{
    char name[TR_FILE_NAME_BYTES], stamp[32];
    time_t now = (time_t)(tr_clock_wall_us() / 1000000);
    struct tm utc;
    (void)gmtime_r(&now, &utc);
    if (strftime(stamp, sizeof stamp, "%Y%m%dT%H%M%SZ", &utc) == 0)
        stamp[0] = '\0';
    enum tr_file_compression compression = (enum tr_file_compression)writer->options->compression;
    (void)snprintf(name, sizeof name, "%020" PRIu64 "-%s%s", writer->folder->sequence + 1, stamp,
                   tr_file_suffix(compression));
    int error = tr_file_output_open(writer->folder->dir_fd, name, compression, &writer->output);
    if (error == 0)
        return TR_OK;
    writer->broken = true;
    return tr_file_fail(writer->folder, "make", name, error, err);
}

/* The first len bytes of the lines go into the file. */
static enum tr_status drain(struct tr_file_writer *writer, size_t len, struct tr_error *err)
{
    if (len == 0)
        return TR_OK;
    if (writer->output == NULL && open_output(writer, err) != TR_OK)
        return TR_FAIL;
    int error = tr_file_output_write(writer->output, writer->lines.text.data, len);
    if (error != 0)
        return fail_broken(writer, "write", error, err);
    tr_lines_consume(&writer->lines, len);
    writer->committed_len -= len < writer->committed_len ? len : writer->committed_len;
    return TR_OK;
}

static enum tr_status publish(struct tr_file_writer *writer, struct tr_error *err)
{
    if (writer->durable_seq == writer->committed_seq)
        return TR_OK;
    if (!writer->spilling && drain(writer, writer->committed_len, err) != TR_OK)
        return TR_FAIL;
    /* while a transaction is spilled, what is before it has been published: only marks can be left
     */
    struct tr_file_output *output = writer->spilling ? NULL : writer->output;
    if (output != NULL) {
        int error = tr_file_output_finish(output);
        if (error != 0)
            return fail_broken(writer, "finish", error, err);
    }
    if (tr_file_folder_publish(writer->folder, output, &writer->marks, err) != TR_OK) {
        writer->broken = true;
        return TR_FAIL;
    }
    if (output != NULL) {
        tr_metric_add(&metric_files, 1);
        tr_metric_add(&metric_bytes, (int64_t)tr_file_output_bytes(output));
        tr_log(TR_LOG_DEBUG, "file published", "file=%s/%s bytes=%" PRIu64, writer->folder->path,
               tr_file_output_name(output), tr_file_output_bytes(output));
        tr_file_output_close(output);
        writer->output = NULL;
    }
    writer->durable_seq = writer->committed_seq;
    writer->unpublished_since_ms = 0;
    return TR_OK;
}

/* The transaction under way is larger than memory shall hold. */
static enum tr_status spill(struct tr_file_writer *writer, struct tr_error *err)
{
    if (!writer->spilling) {
        if (publish(writer, err) != TR_OK)
            return TR_FAIL;
        writer->spilling = true;
    }
    return drain(writer, writer->lines.text.len, err);
}

static enum tr_status commit(struct tr_file_writer *writer, const struct tr_event *event,
                             struct tr_error *err)
{
    for (uint32_t i = 0; i < event->mark_count; i++) {
        if (tr_state_apply(&writer->marks, event->marks[i].key, event->marks[i].value, err) !=
            TR_OK) {
            writer->broken = true; /* half of the marks are applied */
            return TR_FAIL;
        }
    }
    writer->spilling = false;
    writer->committed_len = writer->lines.text.len;
    writer->committed_seq = event->seq;
    if (writer->unpublished_since_ms == 0)
        writer->unpublished_since_ms = tr_clock_mono_ms();
    if (writer->committed_len >= WRITE_BYTES && drain(writer, writer->committed_len, err) != TR_OK)
        return TR_FAIL;
    uint64_t bytes = writer->output == NULL ? 0 : tr_file_output_bytes(writer->output);
    if (writer->options->compression == TR_FILE_NONE)
        bytes += writer->committed_len;
    if (bytes >= (uint64_t)writer->options->rotation_size_bytes)
        return publish(writer, err);
    return TR_OK;
}

static enum tr_status publish_if_due(struct tr_file_writer *writer, struct tr_error *err)
{
    if (writer->unpublished_since_ms == 0 ||
        tr_clock_mono_ms() - writer->unpublished_since_ms < writer->options->rotation_time_ms)
        return TR_OK;
    return publish(writer, err);
}

static enum tr_status refuse_broken(const struct tr_file_writer *writer, struct tr_error *err)
{
    (void)tr_fail(err, TR_E_FILE_IO, "writing to %s failed before; the sink has to be opened again",
                  writer->folder->path);
    return tr_hint(err, "Look at the first error in the log.");
}

enum tr_status tr_file_writer_write(struct tr_file_writer *writer, const struct tr_event *events,
                                    size_t event_count, struct tr_error *err)
{
    if (writer->broken)
        return refuse_broken(writer, err);
    int64_t now_us = tr_clock_wall_us();
    for (size_t i = 0; i < event_count; i++) {
        enum tr_status status = TR_OK;
        if (events[i].op == TR_OP_COMMIT) {
            status = commit(writer, &events[i], err);
        } else {
            status = tr_lines_append(&writer->lines, &events[i], now_us, err);
            size_t pending = writer->lines.text.len - writer->committed_len;
            if (status == TR_OK && pending >= (writer->spilling ? WRITE_BYTES : PENDING_BYTES_MAX))
                status = spill(writer, err);
        }
        if (status != TR_OK)
            return status;
    }
    return publish_if_due(writer, err);
}

enum tr_status tr_file_writer_flush(struct tr_file_writer *writer, int timeout_ms,
                                    struct tr_error *err)
{
    if (writer->broken)
        return refuse_broken(writer, err);
    enum tr_status status = timeout_ms > 0 ? publish(writer, err) : publish_if_due(writer, err);
    if (status != TR_OK)
        return status;
    return writer->durable_seq == writer->committed_seq ? TR_OK : TR_AGAIN;
}

uint64_t tr_file_writer_durable_seq(const struct tr_file_writer *writer)
{
    return writer->durable_seq;
}
