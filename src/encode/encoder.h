/* What the JSON encoders share: one encoder = options, templates and working memory of one writer.
 * Not thread-safe; each sink writer has its own. */
#ifndef TR_ENCODE_ENCODER_H
#define TR_ENCODE_ENCODER_H

#include "encode/template.h"

struct tr_encoder {
    const struct tr_format_options *options;
    unsigned skipped; /* bit of (op - 'a') per skipped operation */
    struct tr_template_cache templates;
    struct tr_value_writer writer;
    uint64_t lossy_logged;
};

enum tr_status tr_encoder_open(const void *options, const struct tr_format_context *context,
                               tr_shape_fn shape_of, struct tr_encoder **encoder,
                               struct tr_error *err);
void tr_encoder_close(struct tr_encoder *encoder);
bool tr_encoder_skips(const struct tr_encoder *encoder, const struct tr_event *event);
/* {"k":v,…} of the key columns; TR_AGAIN when the table has no key or the event no row. */
enum tr_status tr_encoder_row_key(struct tr_encoder *encoder, const struct tr_event *event,
                                  struct tr_outbuf *out, struct tr_error *err);
/* One present value, or null for NULL. */
enum tr_status tr_encoder_value(struct tr_encoder *encoder, const struct tr_event *event,
                                const struct tr_template *tpl, size_t column,
                                const struct tr_cell *cell, struct tr_outbuf *out,
                                struct tr_error *err);
/* After a record: memory, and a warning the first time that a value could not be held. */
enum tr_status tr_encoder_finish(struct tr_encoder *encoder, const struct tr_event *event,
                                 struct tr_outbuf *out, struct tr_error *err);
/* Bits of the operations that are skipped. Unknown words: CONFIG error. */
enum tr_status tr_skipped_operations(const struct tr_string_list *list, unsigned *bits,
                                     struct tr_error *err);

#endif
