/* Events → lines of JSON, through the encoders. One owner at a time. */
#ifndef TR_SINK_FILE_LINES_H
#define TR_SINK_FILE_LINES_H

#include "base/outbuf.h"
#include "encode/encode.h"
#include "encode/format_options.h"

extern const char *const tr_lines_formats[]; /* the words of the option `format`, NULL at the end */

struct tr_lines {
    const struct tr_format_ops *format;
    const struct tr_format_options *options; /* borrowed */
    struct tr_encoder *encoder;
    struct tr_outbuf text; /* whole lines */
};

/* prefix: borrowed, the logical server name in the records. */
enum tr_status tr_lines_open(struct tr_lines *lines, int format,
                             const struct tr_format_options *options, const char *prefix,
                             struct tr_error *err);
/* Appends 0..n lines to text; nothing after an error, which names the event. COMMIT and SCHEMA have
 * no line. */
enum tr_status tr_lines_append(struct tr_lines *lines, const struct tr_event *event, int64_t now_us,
                               struct tr_error *err);
/* Removes the first len bytes; gives memory back that one large row took. */
void tr_lines_consume(struct tr_lines *lines, size_t len);
void tr_lines_close(struct tr_lines *lines);

#endif
