#include "encode/encoder.h"

#include <stdlib.h>

#include "base/log.h"
#include "encode/encode.h"
#include "encode/json.h"

const struct tr_format_ops *tr_format_find(const char *name)
{
    static const struct tr_format_ops *const formats[] = {&tr_format_debezium_json,
                                                          &tr_format_plain_json};
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++) {
        if (strcmp(formats[i]->name, name) == 0)
            return formats[i];
    }
    return NULL;
}

enum tr_status tr_skipped_operations(const struct tr_string_list *list, unsigned *bits,
                                     struct tr_error *err)
{
    *bits = 0;
    for (size_t i = 0; i < list->count; i++) {
        const char *word = list->items[i];
        if (strcmp(word, "none") == 0)
            continue;
        if (strlen(word) != 1 || strchr("cudrtm", word[0]) == NULL) {
            (void)tr_fail(err, TR_E_ENCODE_OPTION, "skipped.operations: \"%s\" is not an operation",
                          word);
            return tr_hint(err, "Use a list of c, u, d, r, t and m, or none.");
        }
        *bits |= 1u << (word[0] - 'a');
    }
    return TR_OK;
}

enum tr_status tr_encoder_open(const void *options, const struct tr_format_context *context,
                               tr_shape_fn shape_of, struct tr_encoder **out, struct tr_error *err)
{
    struct tr_encoder *encoder = calloc(1, sizeof *encoder);
    if (encoder == NULL)
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for an encoder");
    encoder->options = options;
    encoder->writer.options = options;
    if (tr_skipped_operations(&encoder->options->skipped_operations, &encoder->skipped, err) !=
            TR_OK ||
        tr_template_cache_init(&encoder->templates, options, context, shape_of, err) != TR_OK) {
        tr_encoder_close(encoder);
        return TR_FAIL;
    }
    *out = encoder;
    return TR_OK;
}

void tr_encoder_close(struct tr_encoder *encoder)
{
    if (encoder == NULL)
        return;
    tr_template_cache_free(&encoder->templates);
    tr_value_writer_free(&encoder->writer);
    free(encoder);
}

bool tr_encoder_skips(const struct tr_encoder *encoder, const struct tr_event *event)
{
    return event->op < 'a' || event->op > 'z' || (encoder->skipped >> (event->op - 'a') & 1) != 0;
}

enum tr_status tr_encoder_value(struct tr_encoder *encoder, const struct tr_event *event,
                                const struct tr_template *tpl, size_t column,
                                const struct tr_cell *cell, struct tr_outbuf *out,
                                struct tr_error *err)
{
    if (cell->state == TR_CELL_NULL) {
        tr_outbuf_lit(out, "null");
        return TR_OK;
    }
    if (__builtin_expect(tr_value_write(&encoder->writer, &tpl->columns[column].shape, cell, out),
                         1))
        return TR_OK;
    const struct tr_column *described = &tpl->table->columns[column];
    char name[256];
    (void)tr_fail(err, TR_E_ENCODE_VALUE, "a value of %s.%s cannot be read as %s",
                  tr_table_id_format(&tpl->table->id, name, sizeof name), described->name,
                  described->source_type == NULL ? tr_type_name(described->type)
                                                 : described->source_type);
    err->seq = event->seq;
    return TR_FAIL;
}

enum tr_status tr_encoder_row_key(struct tr_encoder *encoder, const struct tr_event *event,
                                  struct tr_outbuf *out, struct tr_error *err)
{
    const struct tr_table *table = event->table;
    const struct tr_cell *cells = event->op == TR_OP_DELETE ? event->before : event->after;
    if (table == NULL || table->key_count == 0 || cells == NULL)
        return TR_AGAIN;
    const struct tr_template *tpl;
    if (tr_template_get(&encoder->templates, table, &tpl, err) != TR_OK)
        return TR_FAIL;
    for (size_t i = 0; i < table->key_count; i++) {
        size_t column = table->key_columns[i];
        const struct tr_cell *cell = &cells[column];
        /* a key value kept out of line and not sent is the same as before */
        if (cell->state == TR_CELL_UNCHANGED && event->before != NULL)
            cell = &event->before[column];
        tr_outbuf_byte(out, i == 0 ? '{' : ',');
        tr_outbuf_bytes(out, tpl->columns[column].bare.ptr, tpl->columns[column].bare.len);
        if (cell->state == TR_CELL_UNCHANGED)
            tr_value_unavailable(&encoder->writer, &tpl->columns[column].shape, out);
        else if (cell->state == TR_CELL_ABSENT)
            tr_outbuf_lit(out, "null");
        else if (tr_encoder_value(encoder, event, tpl, column, cell, out, err) != TR_OK)
            return TR_FAIL;
    }
    tr_outbuf_byte(out, '}');
    return tr_encoder_finish(encoder, event, out, err);
}

enum tr_status tr_encoder_finish(struct tr_encoder *encoder, const struct tr_event *event,
                                 struct tr_outbuf *out, struct tr_error *err)
{
    if (encoder->writer.lossy_count != 0 && encoder->lossy_logged == 0) {
        char name[256], quoted[300];
        encoder->lossy_logged = encoder->writer.lossy_count;
        tr_log(
            TR_LOG_WARN,
            "NaN or infinity has no place in decimal.handling.mode precise and is written as null",
            "table=%s remedy=%s",
            event->table == NULL
                ? "-"
                : tr_log_quote(tr_table_id_format(&event->table->id, name, sizeof name), quoted,
                               sizeof quoted),
            "\"set decimal.handling.mode to string or double\"");
    }
    if (out->failed)
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for a record");
    return TR_OK;
}
