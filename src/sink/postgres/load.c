/* Loading the snapshot's rows.
 *
 * A table that is empty when its first row comes is loaded by COPY straight into it; raw lines of
 * the source go through as they are, neighbouring lines in one piece. A table that holds rows (a
 * snapshot that is resumed after a crash, a table that several sources are merged into) gets them
 * by key, like changes.
 *
 * Rows that come as binary tuples go by binary COPY, and in no other way: nothing here can read
 * their values. They come only for a table that the sink has said it takes so (binary.c); if the
 * target is another by then the attempt ends, and the next one gets text.
 *
 * A COPY stays open over calls and chunks until another statement is needed. Rows never follow an
 * uncommitted COMMIT event into the target: what is before it is committed first, so that flush()
 * never has to wait for the end of a chunk. */
#include <string.h>

#include "sink/postgres/encode.h"
#include "sink/postgres/writer.h"

#define PIECE_BYTES (128u << 10)
#define RUN_DIRECT_BYTES (32u << 10) /* a longer run of raw lines is not copied together first */

static enum tr_status send_out(struct tr_pgs_writer *writer, struct tr_error *err)
{
    struct tr_pgs_load *load = &writer->load;
    if (load->out.failed)
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory to load rows");
    enum tr_status status = tr_pgs_copy_data(&writer->link, load->out.data, load->out.len, err);
    tr_outbuf_clear(&load->out);
    return status;
}

/* The pending run of raw lines: sent, or copied behind what waits. */
static enum tr_status send_run(struct tr_pgs_writer *writer, struct tr_error *err)
{
    struct tr_pgs_load *load = &writer->load;
    struct tr_slice run = load->run;
    load->run = (struct tr_slice){0};
    if (run.len == 0)
        return TR_OK;
    if (run.len < RUN_DIRECT_BYTES) {
        tr_outbuf_bytes(&load->out, run.ptr, run.len);
        return load->out.len >= PIECE_BYTES ? send_out(writer, err) : TR_OK;
    }
    if (load->out.len > 0 && send_out(writer, err) != TR_OK)
        return TR_FAIL;
    return tr_pgs_copy_data(&writer->link, run.ptr, run.len, err);
}

enum tr_status tr_pgs_load_detach(struct tr_pgs_writer *writer, struct tr_error *err)
{
    return writer->load.active ? send_run(writer, err) : TR_OK;
}

static uint64_t seq_of_line(const struct tr_pgs_load *load, uint64_t line)
{
    for (uint32_t i = load->line_count; i-- > 0 && line > 0;) {
        if (load->lines[i].line <= line)
            return load->lines[i].seq + (line - load->lines[i].line);
    }
    return 0;
}

enum tr_status tr_pgs_load_end(struct tr_pgs_writer *writer, struct tr_error *err)
{
    struct tr_pgs_load *load = &writer->load;
    uint64_t line = 0;
    if (!load->active)
        return TR_OK;
    load->active = false;
    if (send_run(writer, err) != TR_OK)
        return TR_FAIL;
    if (load->binary)
        tr_outbuf_lit(&load->out, TR_PGS_COPY_TRAILER);
    if (load->out.len > 0 && send_out(writer, err) != TR_OK)
        return TR_FAIL;
    if (tr_pgs_copy_end(&writer->link, NULL, &line, err) == TR_OK)
        return TR_OK;
    if (err->class == TR_DATA)
        err->seq = seq_of_line(load, line);
    return TR_FAIL;
}

static enum tr_status find_out(struct tr_pgs_writer *writer, struct tr_pgs_target *target,
                               struct tr_error *err)
{
    bool empty;
    if (tr_pgs_target_is_empty(&writer->link, target, &empty, err) != TR_OK)
        return TR_FAIL;
    target->load = empty && !target->row_security ? TR_PGS_LOAD_DIRECT : TR_PGS_LOAD_MERGE;
    target->load_source_id = 0;
    return TR_OK;
}

static enum tr_status start(struct tr_pgs_writer *writer, struct tr_pgs_layout *layout,
                            struct tr_pgs_shape *shape, bool binary, struct tr_error *err)
{
    struct tr_pgs_load *load = &writer->load;
    const char *sql = tr_pgs_copy_sql(&writer->link, layout, shape, binary);
    if (sql == NULL)
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory to load rows");
    if (tr_pgs_writer_begin(writer, err) != TR_OK ||
        (binary && tr_pgs_binary_hold(&writer->link, layout, err) != TR_OK) ||
        tr_pgs_copy_begin(&writer->link, sql, err) != TR_OK)
        return TR_FAIL;
    load->active = true;
    load->layout = layout;
    load->shape = shape;
    load->binary = binary;
    load->line = 0;
    load->line_count = 0;
    load->run = (struct tr_slice){0};
    tr_outbuf_clear(&load->out);
    if (binary)
        tr_outbuf_bytes(&load->out, TR_PGS_COPY_HEADER, TR_PGS_COPY_HEADER_BYTES);
    return TR_OK;
}

static void note_line(struct tr_pgs_load *load, uint64_t seq)
{
    load->line++;
    if (load->line_count > 0) {
        uint64_t first_line = load->lines[load->line_count - 1].line;
        uint64_t first_seq = load->lines[load->line_count - 1].seq;
        if (seq - first_seq == load->line - first_line)
            return;
    }
    if (load->line_count < TR_PGS_COPY_LINES_MAX) {
        load->lines[load->line_count].line = load->line;
        load->lines[load->line_count++].seq = seq;
    }
}

static enum tr_status add(struct tr_pgs_writer *writer, const struct tr_event *event,
                          struct tr_error *err)
{
    struct tr_pgs_load *load = &writer->load;
    const struct tr_pgs_layout *layout = load->layout;
    note_line(load, event->seq);
    if (event->raw.ptr != NULL && !layout->dropped_columns) {
        if (load->run.ptr != NULL && load->run.ptr + load->run.len == event->raw.ptr) {
            load->run.len += event->raw.len;
            return TR_OK;
        }
        if (send_run(writer, err) != TR_OK)
            return TR_FAIL;
        load->run = event->raw;
        return TR_OK;
    }
    if (send_run(writer, err) != TR_OK)
        return TR_FAIL;
    if (event->raw.ptr == NULL) {
        tr_pgs_copy_line(&load->out, event->after, load->shape->columns, load->shape->column_count);
    } else if (!tr_pgs_cut_line(&load->out, event->raw, layout->target_column,
                                layout->column_count)) {
        (void)tr_fail(err, TR_E_PGSINK_ROW_FORMAT, "a copied row of %s has not %u columns",
                      layout->target->quoted, layout->column_count);
        err->seq = event->seq;
        return TR_FAIL;
    }
    return load->out.len >= PIECE_BYTES ? send_out(writer, err) : TR_OK;
}

enum tr_status tr_pgs_load_row(struct tr_pgs_writer *writer, struct tr_pgs_layout *layout,
                               const struct tr_event *event, bool *merge, struct tr_error *err)
{
    struct tr_pgs_target *target = layout->target;
    struct tr_pgs_load *load = &writer->load;
    struct tr_pgs_shape *shape = load->shape;
    *merge = false;
    bool binary = (event->flags & TR_EV_RAW_BINARY) != 0;
    if (event->raw.ptr == NULL && (binary || event->after == NULL))
        return tr_fail(err, TR_E_INTERNAL, "a row event has no row");
    if (layout->version >= 0) { /* the rows of a key may come more than once, in any order */
        *merge = true;
        return binary ? tr_pgs_fail_changed(target, err) : TR_OK;
    }
    if (target->load == TR_PGS_LOAD_UNKNOWN) {
        if (tr_pgs_writer_settle(writer, err) != TR_OK || find_out(writer, target, err) != TR_OK)
            return TR_FAIL;
        target->load_source_id = event->table->source_id;
    }
    if (target->load == TR_PGS_LOAD_DIRECT && target->load_source_id != event->table->source_id &&
        layout->key_count > 0)
        target->load = TR_PGS_LOAD_MERGE; /* a second source: its keys may meet the first one's */
    if (target->load == TR_PGS_LOAD_MERGE) {
        *merge = true;
        return binary ? tr_pgs_fail_changed(target, err) : TR_OK;
    }
    bool raw = event->raw.ptr != NULL;
    if (!load->active || load->layout != layout || !raw || !load->raw) {
        if (tr_pgs_shape_of(layout, raw ? NULL : event->after, &shape, err) != TR_OK)
            return TR_FAIL;
    }
    bool commit_first = writer->boundary_seq > writer->durable_seq;
    bool other = load->layout != layout || load->shape != shape || load->binary != binary;
    if (load->active && other && !commit_first && tr_pgs_load_end(writer, err) != TR_OK)
        return TR_FAIL;
    if ((commit_first || writer->changes.count > 0) && tr_pgs_writer_settle(writer, err) != TR_OK)
        return TR_FAIL;
    if (!load->active && start(writer, layout, shape, binary, err) != TR_OK)
        return TR_FAIL;
    load->raw = raw;
    writer->beyond = true;
    return add(writer, event, err);
}
