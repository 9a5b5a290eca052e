/* The contract of an encoder: batch events → bytes. Pure: no I/O, no clock but the one handed in. */
#ifndef TAILRACE_FORMAT_H
#define TAILRACE_FORMAT_H

#include "event.h"
#include "option.h"

struct tr_outbuf;
struct tr_encoder;

struct tr_format_context {
    const char *prefix;      /* topic prefix = logical server name */
    const char *version;     /* put into source.version */
    const char *connector;   /* "postgresql" */
};

struct tr_format_ops {
    const char *name; /* "debezium-json" */
    /* options: the struct bound from tr_format_options (src/encode/format_options.h) */
    enum tr_status (*open)(const void *options, const struct tr_format_context *context,
                           struct tr_encoder **encoder, struct tr_error *err);
    /* Appends the key / the value. now_us is the outer ts. TR_AGAIN: the format has no such record for
     * this event (a key without a primary key, a skipped operation); nothing was appended. */
    enum tr_status (*encode_key)(struct tr_encoder *encoder, const struct tr_event *event,
                                 struct tr_outbuf *out, struct tr_error *err);
    enum tr_status (*encode_value)(struct tr_encoder *encoder, const struct tr_event *event,
                                   int64_t now_us, struct tr_outbuf *out, struct tr_error *err);
    void (*close)(struct tr_encoder *encoder);
};

#endif
