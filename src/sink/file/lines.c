#include "sink/file/lines.h"

#include "encode/records.h"

#define TEXT_KEEP_BYTES ((size_t)16 << 20)

const char *const tr_lines_formats[] = {"json", "debezium-json", NULL};

enum tr_status tr_lines_open(struct tr_lines *lines, int format,
                             const struct tr_format_options *options, const char *prefix,
                             struct tr_error *err)
{
    *lines = (struct tr_lines){.options = options};
    lines->format = tr_format_find(tr_lines_formats[format]);
    if (lines->format == NULL)
        return tr_fail(err, TR_E_INTERNAL, "the format %s is not built in",
                       tr_lines_formats[format]);
    struct tr_format_context context = {
        .prefix = prefix, .version = TAILRACE_VERSION, .connector = "postgresql"};
    return lines->format->open(options, &context, &lines->encoder, err);
}

enum tr_status tr_lines_append(struct tr_lines *lines, const struct tr_event *event, int64_t now_us,
                               struct tr_error *err)
{
    struct tr_records records;
    size_t before = lines->text.len;
    if (event->op == TR_OP_COMMIT || event->op == TR_OP_SCHEMA)
        return TR_OK;
    tr_records_plan(lines->format, lines->options, false, event, &records);
    for (size_t i = 0; i < records.count; i++) {
        if (records.items[i].tombstone)
            continue; /* a file has no use for a record without a value */
        enum tr_status status = lines->format->encode_value(lines->encoder, records.items[i].event,
                                                            now_us, &lines->text, err);
        if (status == TR_AGAIN)
            continue;
        if (status == TR_OK)
            tr_outbuf_byte(&lines->text, '\n');
        if (status == TR_OK && lines->text.failed)
            status = tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for a row's line");
        if (status != TR_OK) {
            lines->text.len = before;
            err->seq = event->seq;
            return TR_FAIL;
        }
    }
    return TR_OK;
}

void tr_lines_consume(struct tr_lines *lines, size_t len)
{
    struct tr_outbuf *text = &lines->text;
    if (len == text->len && text->capacity > TEXT_KEEP_BYTES) {
        tr_outbuf_free(text);
        return;
    }
    text->len -= len;
    if (text->len > 0 && len > 0)
        memmove(text->data, text->data + len, text->len);
}

void tr_lines_close(struct tr_lines *lines)
{
    if (lines->encoder != NULL)
        lines->format->close(lines->encoder);
    tr_outbuf_free(&lines->text);
    *lines = (struct tr_lines){0};
}
