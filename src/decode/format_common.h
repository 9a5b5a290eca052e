/* What the JSON formats share: reading a message, appending its events. */
#ifndef TR_DECODE_FORMAT_COMMON_H
#define TR_DECODE_FORMAT_COMMON_H

#include "decode/rows.h"

/* The first member of every JSON format's struct tr_decoder. */
struct tr_format {
    struct tr_rows *rows;
    struct tr_json_doc doc;
    bool take_key;
    bool table_given; /* the source names the table, whatever the envelope says */
};
/* Makes the rows; the caller closes the decoder when it fails. */
enum tr_status tr_format_init(struct tr_format *format, const void *options,
                              const struct tr_decoder_context *context, const char *const *hidden,
                              size_t hidden_count, struct tr_error *err) TR_WARN_UNUSED;
/* Members of tr_decoder_ops for decoders that begin with a struct tr_format. */
enum tr_status tr_format_restore(struct tr_decoder *decoder, const struct tr_state *marks,
                                 struct tr_error *err);
enum tr_status tr_format_marks(struct tr_decoder *decoder, struct tr_batch *batch,
                               const struct tr_mark **marks, uint32_t *count, struct tr_error *err);
void tr_format_close(struct tr_decoder *decoder); /* frees it too */

/* The message's value as JSON. An empty value and what is not JSON: MESSAGE_SYNTAX, with the byte.
 */
enum tr_status tr_format_parse(struct tr_json_doc *doc, struct tr_slice text, unsigned keep_depth,
                               struct tr_error *err) TR_WARN_UNUSED;
/* MESSAGE_ENVELOPE with the place of a node (NULL: none). */
enum tr_status tr_format_envelope(struct tr_error *err, const struct tr_json_doc *doc,
                                  const struct tr_json_node *node, const char *reason);

/* The image of a row that only the message's key names: TR_ROWS_KEY for a table with a key, else
 * all members of the key. Without a usable key: MESSAGE_KEY. */
enum tr_status tr_format_key_image(struct tr_rows_table *table, const struct tr_rows_input *input,
                                   struct tr_cell **cells, struct tr_error *err) TR_WARN_UNUSED;

/* The image before a change of which only the changed columns' old values are told: those over
 * `after`. */
enum tr_status tr_format_old_image(struct tr_rows_table *table, const struct tr_rows_input *input,
                                   const struct tr_json_doc *doc, const struct tr_json_node *old,
                                   const struct tr_cell *after, struct tr_cell **cells,
                                   struct tr_error *err) TR_WARN_UNUSED;
/* The strings of an array (column names). False: it is not an array of strings, or has more than
 * max. */
bool tr_format_strings(const struct tr_json_doc *doc, const struct tr_json_node *array,
                       struct tr_slice *strings, size_t max, size_t *count);

struct tr_format_row {
    enum tr_op op;
    struct tr_cell *before, *after; /* NULL: none */
    uint16_t flags;                 /* KEY_CHANGED and BEFORE_KEY_ONLY are found out */
};
/* Publishes the table's schema, then appends rows; every event gets ts_us. */
enum tr_status tr_format_rows(struct tr_rows_table *table, struct tr_batch *batch,
                              const struct tr_format_row *rows, size_t count, int64_t ts_us,
                              struct tr_error *err) TR_WARN_UNUSED;

/* The end of every format's decode(): unless status is TR_OK, the batch's events behind `first` and what
 * the message changed in its tables are taken back, and it is TR_FAIL. */
enum tr_status tr_format_end(struct tr_rows *rows, struct tr_batch *batch, uint32_t first,
                             enum tr_status status) TR_WARN_UNUSED;

/* A time in an envelope: ISO 8601 text, or a count of 1/units_per_second since 1970. TR_TIME_NONE:
 * it is neither. */
int64_t tr_format_time(const struct tr_json_node *node, int64_t units_per_second);

#endif
