/* See the header. */
#include "decode/format_common.h"

#include <stdlib.h>
#include <string.h>

#include "decode/json_number.h"
#include "decode/json_time.h"
#include "decode/rows_internal.h"

#define TIME_TEXT_BYTES_MAX 64

enum tr_status tr_format_init(struct tr_format *format, const void *options,
                              const struct tr_decoder_context *context, const char *const *hidden,
                              size_t hidden_count, struct tr_error *err)
{
    format->take_key = context->take_key;
    format->table_given = context->table != NULL;
    return tr_rows_new(options, context, hidden, hidden_count, &format->rows, err);
}

enum tr_status tr_format_restore(struct tr_decoder *decoder, const struct tr_state *marks,
                                 struct tr_error *err)
{
    return tr_rows_restore(((struct tr_format *)decoder)->rows, marks, err);
}

enum tr_status tr_format_marks(struct tr_decoder *decoder, struct tr_batch *batch,
                               const struct tr_mark **marks, uint32_t *count, struct tr_error *err)
{
    return tr_rows_marks(((struct tr_format *)decoder)->rows, batch, marks, count, err);
}

void tr_format_close(struct tr_decoder *decoder)
{
    struct tr_format *format = (struct tr_format *)decoder;
    if (format == NULL)
        return;
    tr_rows_free(format->rows);
    tr_json_doc_free(&format->doc);
    free(format);
}

enum tr_status tr_format_end(struct tr_rows *rows, struct tr_batch *batch, uint32_t first,
                             enum tr_status status)
{
    if (status == TR_OK)
        return TR_OK;
    batch->event_count = first;
    tr_rows_rollback(rows);
    return TR_FAIL;
}

enum tr_status tr_format_parse(struct tr_json_doc *doc, struct tr_slice text, unsigned keep_depth,
                               struct tr_error *err)
{
    if (text.len == 0)
        return tr_fail(err, TR_E_MESSAGE_SYNTAX, "the message is empty");
    if (tr_json_parse(doc, text, keep_depth))
        return TR_OK;
    if (tr_json_no_memory(doc))
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for a message's parts");
    (void)tr_fail(err, TR_E_MESSAGE_SYNTAX, "the message is not JSON: %s", doc->reason);
    return tr_detail(err, "at byte %zu of the message", doc->offset);
}

enum tr_status tr_format_envelope(struct tr_error *err, const struct tr_json_doc *doc,
                                  const struct tr_json_node *node, const char *reason)
{
    (void)tr_fail(err, TR_E_MESSAGE_ENVELOPE, "%s", reason);
    if (node == NULL)
        return TR_FAIL;
    return tr_detail(err, "at byte %zu of the message", tr_json_offset(doc, node));
}

enum tr_status tr_format_key_image(struct tr_rows_table *table, const struct tr_rows_input *input,
                                   struct tr_cell **cells, struct tr_error *err)
{
    struct tr_json_doc *doc = &table->rows->key_doc;
    if (table->key_count > 0) {
        if (tr_rows_image_new(table, input, cells, err) != TR_OK)
            return TR_FAIL;
        return tr_rows_image_finish(table, input, TR_ROWS_KEY, *cells, err);
    }
    if (input->key.ptr == NULL || !tr_json_parse(doc, input->key, 2) ||
        doc->nodes[0].kind != TR_JSON_OBJECT || doc->nodes[0].count == 0)
        return tr_fail(err, TR_E_MESSAGE_KEY,
                       "the message deletes a row, and neither it nor its key names one");
    struct tr_rows_input key_input = *input;
    key_input.text = input->key.ptr;
    return tr_rows_object(table, &key_input, doc, &doc->nodes[0], TR_ROWS_PARTIAL, cells, err);
}

enum tr_status tr_format_old_image(struct tr_rows_table *table, const struct tr_rows_input *input,
                                   const struct tr_json_doc *doc, const struct tr_json_node *old,
                                   const struct tr_cell *after, struct tr_cell **cells,
                                   struct tr_error *err)
{
    if (tr_rows_object(table, input, doc, old, TR_ROWS_PARTIAL, cells, err) != TR_OK)
        return TR_FAIL;
    for (uint16_t i = 0; i < table->built_count; i++) {
        if ((*cells)[i].state == TR_CELL_ABSENT)
            (*cells)[i] = after[i];
    }
    return TR_OK;
}

bool tr_format_strings(const struct tr_json_doc *doc, const struct tr_json_node *array,
                       struct tr_slice *strings, size_t max, size_t *count)
{
    *count = 0;
    if (array == NULL || array->kind != TR_JSON_ARRAY || array->count > max)
        return false;
    const struct tr_json_node *node = array + 1;
    for (uint32_t i = 0; i < array->count; i++, node = &doc->nodes[node->next]) {
        if (node->kind != TR_JSON_STRING || (node->flags & TR_JSON_ESCAPED) != 0 || node->len == 0)
            return false;
        strings[(*count)++] = (struct tr_slice){node->ptr, node->len};
    }
    return true;
}

/* Nothing but key columns; for a table without a key nothing can be said. */
static bool is_key_only(const struct tr_rows_table *table, const struct tr_cell *cells)
{
    for (uint16_t i = 0; i < table->built_count; i++) {
        if (cells[i].state != TR_CELL_ABSENT && table->columns[i].spec.key_index == 0)
            return false;
    }
    return table->key_count > 0;
}

static enum tr_status append(struct tr_rows_table *table, struct tr_batch *batch,
                             const struct tr_format_row *row, struct tr_error *err)
{
    struct tr_event *event = tr_batch_event(batch, row->op);
    if (event == NULL)
        return tr_fail(err, TR_E_INTERNAL, "a message's rows did not fit into its batch");
    event->table = table->current;
    event->before = row->before;
    event->after = row->after;
    event->flags = row->flags;
    if (row->before == NULL)
        return TR_OK;
    if (is_key_only(table, row->before))
        event->flags |= TR_EV_BEFORE_KEY_ONLY;
    if (row->op == TR_OP_UPDATE && tr_rows_key_changed(table, row->before, row->after))
        event->flags |= TR_EV_KEY_CHANGED;
    return TR_OK;
}

enum tr_status tr_format_rows(struct tr_rows_table *table, struct tr_batch *batch,
                              const struct tr_format_row *rows, size_t count, int64_t ts_us,
                              struct tr_error *err)
{
    uint32_t first = batch->event_count;
    if (tr_rows_publish(table, batch, err) != TR_OK)
        return TR_FAIL;
    for (size_t i = 0; i < count; i++) {
        if (append(table, batch, &rows[i], err) != TR_OK)
            return TR_FAIL;
    }
    for (uint32_t i = first; i < batch->event_count; i++)
        batch->events[i].ts_us = ts_us;
    return TR_OK;
}

int64_t tr_format_time(const struct tr_json_node *node, int64_t units_per_second)
{
    struct tr_moment moment;
    struct tr_number number;
    char buf[TIME_TEXT_BYTES_MAX];
    int64_t count;
    bool known = false;
    if (node != NULL && node->kind == TR_JSON_STRING && node->len <= sizeof buf) {
        bool escaped = (node->flags & TR_JSON_ESCAPED) != 0;
        size_t len = escaped ? tr_json_unescape(node, buf) : node->len;
        known = tr_moment_parse(escaped ? buf : node->ptr, len, &moment) && moment.has_date;
    } else if (node != NULL && node->kind == TR_JSON_NUMBER) {
        known = tr_number_parse(node->ptr, node->len, &number) &&
                tr_number_int64(&number, &count) &&
                tr_moment_from_epoch(count, units_per_second, &moment);
    }
    return known ? tr_moment_us(&moment) : TR_TIME_NONE;
}
