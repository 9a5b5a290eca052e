#include "encode/raw.h"

#include <stdio.h>
#include <string.h>

#include "encode/encoder.h"
#include "event/dead_letter.h"

bool tr_raw_table(const struct tr_table *table)
{
    const struct tr_table *letters = tr_dead_letter_table();
    if (letters == NULL || table == NULL || table->column_count != letters->column_count)
        return false;
    if (table == letters)
        return true;
    for (unsigned i = 0; i < table->column_count; i++) {
        if (strcmp(table->columns[i].name, letters->columns[i].name) != 0)
            return false;
    }
    return true;
}

static bool is_bytes(const char *name)
{
    return strcmp(name, "key") == 0 || strcmp(name, "payload") == 0 ||
           strcmp(name, "key_bytes") == 0 || strcmp(name, "payload_bytes") == 0;
}

void tr_raw_headers(const struct tr_event *event, tr_raw_header_fn add, void *ctx)
{
    const struct tr_table *table = event->table;
    for (unsigned i = 0; i < table->column_count; i++) {
        const struct tr_cell *cell = &event->after[i];
        char name[80];
        if (cell->state != TR_CELL_TEXT || is_bytes(table->columns[i].name))
            continue;
        (void)snprintf(name, sizeof name, "tailrace.%.60s", table->columns[i].name);
        add(ctx, name, cell->ptr, cell->len);
    }
}

static int nibble(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* \x… → bytes */
static bool append_hex(struct tr_outbuf *out, const char *text, size_t len)
{
    if (len < 2 || len % 2 != 0 || text[0] != '\\' || text[1] != 'x')
        return false;
    for (size_t i = 2; i < len; i += 2) {
        int high = nibble(text[i]), low = nibble(text[i + 1]);
        if (high < 0 || low < 0)
            return false;
        tr_outbuf_byte(out, (char)(high << 4 | low));
    }
    return true;
}

/* The bytes that stand in column `text_name`, or in `bytes_name` where they are no text. TR_END: in
 * neither. */
static enum tr_status append(const struct tr_event *event, const char *text_name,
                             const char *bytes_name, struct tr_outbuf *out, struct tr_error *err)
{
    char name[256];
    if (!tr_raw_table(event->table) || event->after == NULL) {
        (void)tr_fail(err, TR_E_CAPABILITY, "format raw writes dead letters only, not %s",
                      event->table == NULL
                          ? "messages"
                          : tr_table_id_format(&event->table->id, name, sizeof name));
        err->seq = event->seq;
        return tr_hint(err, "Use value.format: json or debezium-json for tables.");
    }
    const struct tr_cell *text = &event->after[tr_table_column(event->table, text_name)];
    const struct tr_cell *bytes = &event->after[tr_table_column(event->table, bytes_name)];
    bool good = true;
    if (text->state == TR_CELL_TEXT)
        tr_outbuf_bytes(out, text->ptr, text->len);
    else if (bytes->state == TR_CELL_BINARY)
        tr_outbuf_bytes(out, bytes->ptr, bytes->len);
    else if (bytes->state == TR_CELL_TEXT)
        good = append_hex(out, bytes->ptr, bytes->len);
    else
        return TR_END;
    if (!good) {
        (void)tr_fail(err, TR_E_ENCODE_VALUE, "a dead letter's %s is not in hex", bytes_name);
        err->seq = event->seq;
        return TR_FAIL;
    }
    return out->failed ? tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for a record") : TR_OK;
}

static enum tr_status raw_open(const void *options, const struct tr_format_context *context,
                               struct tr_encoder **encoder, struct tr_error *err)
{
    return tr_encoder_open(options, context, tr_shape_plain, encoder, err);
}

static enum tr_status raw_key(struct tr_encoder *encoder, const struct tr_event *event,
                              struct tr_outbuf *out, struct tr_error *err)
{
    (void)encoder;
    enum tr_status status = append(event, "key", "key_bytes", out, err);
    return status == TR_END ? TR_AGAIN : status;
}

static enum tr_status raw_value(struct tr_encoder *encoder, const struct tr_event *event,
                                int64_t now_us, struct tr_outbuf *out, struct tr_error *err)
{
    (void)encoder;
    (void)now_us;
    return append(event, "payload", "payload_bytes", out, err);
}

const struct tr_format_ops tr_format_raw = {
    .name = "raw",
    .open = raw_open,
    .encode_key = raw_key,
    .encode_value = raw_value,
    .close = tr_encoder_close,
};
