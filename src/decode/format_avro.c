/* Format "avro": Confluent's wire format, a row or a Debezium envelope.
 *
 *   message = 0x00 schema-id:u32be value            key: the same, or anything else (then not
 * looked at) value   = the binary encoding of Avro 1.11 ("Binary Encoding"): int and long are
 * zigzag varints, bytes and strings have their length before them, arrays and maps come in counted
 * blocks, a union has its branch's number before it, records and fixed have nothing around them
 *
 * The writer's schema (asked by its ID, kept) says the columns; a new one widens the table. A
 * record with op, before and after is an envelope, every other record a row. Fields of the
 * message's key are the key's columns. A message without value deletes the row that its key names;
 * behind a Debezium delete it is only a tombstone. Arrays, maps, records and unions of several
 * types become JSON.
 *
 * Everything is read through a cursor; counts, depth and output are bounded. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/outbuf.h"
#include "decode/avro_schema.h"
#include "decode/cursor.h"
#include "decode/format_common.h"
#include "decode/json_number.h"
#include "decode/json_time.h"
#include "decode/rows_cell.h"

#define HEADER_BYTES 5
#define SCHEMAS_MAX 4096
#define ITEMS_MAX 1000000u                /* array and map items in one message */
#define JSON_BYTES_MAX ((size_t)64 << 20) /* JSON made of one value */
#define DECIMAL_BYTES_MAX 1024
#define LIMB 1000000000u
#define LIMBS_MAX (DECIMAL_BYTES_MAX * 2 / 7)
#define DOUBLE_TEXT_BYTES 40
#define PLACEHOLDER "__debezium_unavailable_value"

struct known {
    uint32_t id;
    struct tr_avro_schema *schema;
};

struct tr_decoder {
    struct tr_format base;
    enum tr_status (*registry_schema)(void *registry, uint32_t id, char **text,
                                      struct tr_error *err);
    void *registry;
    struct known *known; /* SCHEMAS_MAX places */
    size_t known_count, known_last;
    struct tr_outbuf text;
};

struct work {
    struct tr_decoder *decoder;
    const struct tr_message *message;
    struct tr_rows_input input;
    struct tr_cursor cursor;
    uint32_t items;
    const char *reason; /* why the value is malformed, static */
    bool no_memory;
    const struct tr_avro_node *key_record, *before_record, *after_record;
    struct tr_cursor key_at, before_at, after_at; /* where the records' values are */
    enum tr_op op;
    bool is_envelope;
    struct tr_slice db, schema, table;
    int64_t ts_us;
    struct tr_cell *before_cells, *after_cells;
};

/* ---- schemas -------------------------------------------------------------------------------- */

static enum tr_status find_schema(struct tr_decoder *decoder, uint32_t id,
                                  const struct tr_avro_node **root, struct tr_error *err)
{
    if (decoder->known_count > 0 && decoder->known[decoder->known_last].id == id) {
        *root = decoder->known[decoder->known_last].schema->root;
        return TR_OK;
    }
    for (size_t i = 0; i < decoder->known_count; i++) {
        if (decoder->known[i].id == id) {
            decoder->known_last = i;
            *root = decoder->known[i].schema->root;
            return TR_OK;
        }
    }
    if (decoder->known_count == SCHEMAS_MAX)
        return tr_fail(err, TR_E_MESSAGE_LIMIT, "the topics have more than %d schemas",
                       SCHEMAS_MAX);
    char *text;
    const char *reason;
    struct tr_avro_schema *schema;
    if (decoder->registry_schema(decoder->registry, id, &text, err) != TR_OK)
        return TR_FAIL;
    bool fine = tr_avro_schema_parse(text, &schema, &reason);
    free(text);
    if (!fine && reason == NULL)
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for a schema");
    if (!fine)
        return tr_fail(err, TR_E_AVRO_SCHEMA_UNKNOWN, "schema %u cannot be used: %s", id, reason);
    decoder->known_last = decoder->known_count;
    decoder->known[decoder->known_count++] = (struct known){id, schema};
    *root = schema->root;
    return TR_OK;
}

static void close_decoder(struct tr_decoder *decoder)
{
    if (decoder == NULL)
        return;
    for (size_t i = 0; i < decoder->known_count; i++)
        tr_avro_schema_free(decoder->known[i].schema);
    free(decoder->known);
    tr_outbuf_free(&decoder->text);
    tr_format_close(decoder);
}

static enum tr_status open_decoder(const void *options, const struct tr_decoder_context *context,
                                   struct tr_decoder **out, struct tr_error *err)
{
    if (context->registry_schema == NULL)
        return tr_fail(err, TR_E_DECODE_OPTION, "format avro needs a schema registry");
    struct tr_decoder *decoder = calloc(1, sizeof *decoder);
    if (decoder == NULL)
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for a decoder");
    decoder->registry_schema = context->registry_schema;
    decoder->registry = context->registry;
    decoder->known = calloc(SCHEMAS_MAX, sizeof *decoder->known);
    if (tr_format_init(&decoder->base, options, context, NULL, 0, err) != TR_OK ||
        decoder->known == NULL) {
        if (decoder->known == NULL)
            (void)tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for a decoder");
        close_decoder(decoder);
        return TR_FAIL;
    }
    *out = decoder;
    return TR_OK;
}

/* ---- bytes ---------------------------------------------------------------------------------- */

static bool bad(struct work *work, const char *reason)
{
    if (work->reason == NULL)
        work->reason = reason;
    work->cursor.failed = true;
    return false;
}

static int64_t read_long(struct work *work)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        uint8_t byte = tr_cursor_u8(&work->cursor);
        if (work->cursor.failed)
            return 0;
        if (shift == 63 && byte > 1)
            break;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if ((byte & 0x80) == 0)
            return (int64_t)(value >> 1) ^ -(int64_t)(value & 1);
    }
    (void)bad(work, "a number is longer than 64 bits");
    return 0;
}

static struct tr_slice read_bytes(struct work *work)
{
    int64_t len = read_long(work);
    if (work->cursor.failed || len < 0 || (uint64_t)len > tr_cursor_left(&work->cursor)) {
        (void)bad(work, "a length goes beyond the message");
        return (struct tr_slice){"", 0};
    }
    return (struct tr_slice){tr_cursor_bytes(&work->cursor, (size_t)len), (size_t)len};
}

static const struct tr_avro_node *read_branch(struct work *work, const struct tr_avro_node *node)
{
    if (node->kind != TR_AVRO_UNION)
        return node;
    int64_t branch = read_long(work);
    if (work->cursor.failed || branch < 0 || branch >= node->count) {
        (void)bad(work, "a union has no such branch");
        return NULL;
    }
    return node->fields[branch].node;
}

/* A block's items; 0: the last one. A negative count has the block's size in bytes behind it. */
static uint64_t read_block(struct work *work)
{
    int64_t count = read_long(work);
    if (count < 0) {
        count = count == INT64_MIN ? INT64_MAX : -count;
        (void)read_long(work);
    }
    if (work->cursor.failed)
        return 0;
    if ((uint64_t)count > ITEMS_MAX - work->items) {
        (void)bad(work, "arrays and maps have too many items");
        return 0;
    }
    work->items += (uint32_t)count;
    return (uint64_t)count;
}

/* ---- scalars → text ------------------------------------------------------------------------- */

static void decimal_text(struct work *work, struct tr_slice bytes, int32_t scale,
                         struct tr_outbuf *out)
{
    uint32_t limbs[LIMBS_MAX + 2];
    char digits[(LIMBS_MAX + 2) * 9 + 1];
    size_t limb_count = 0, count = 0;
    if (bytes.len > DECIMAL_BYTES_MAX) {
        (void)bad(work, "a decimal is too long");
        return;
    }
    bool negative = bytes.len > 0 && (bytes.ptr[0] & 0x80) != 0;
    for (size_t i = 0; i < bytes.len; i++) {
        /* of a negative number the complement; its 1 is added behind the last byte */
        uint8_t byte = (uint8_t)(negative ? ~bytes.ptr[i] : bytes.ptr[i]);
        uint64_t carry = byte + (negative && i + 1 == bytes.len ? 1u : 0u);
        for (size_t k = 0; k < limb_count; k++) {
            carry += (uint64_t)limbs[k] << 8;
            limbs[k] = (uint32_t)(carry % LIMB);
            carry /= LIMB;
        }
        if (carry > 0)
            limbs[limb_count++] = (uint32_t)carry;
    }
    for (size_t k = 0; k < limb_count; k++) { /* digits from the last to the first */
        uint32_t limb = limbs[k];
        for (int i = 0; i < 9 && (k + 1 < limb_count || limb > 0); i++, limb /= 10)
            digits[count++] = (char)('0' + limb % 10);
    }
    if (negative && count > 0)
        tr_outbuf_byte(out, '-');
    for (size_t places = (size_t)scale + 1; places > count; places--) {
        tr_outbuf_byte(out, '0');
        if (places == (size_t)scale + 1 && scale > 0)
            tr_outbuf_byte(out, '.');
    }
    while (count > 0) {
        tr_outbuf_byte(out, digits[--count]);
        if (count == (size_t)scale && scale > 0)
            tr_outbuf_byte(out, '.');
    }
}

static void float_text(double value, bool single, struct tr_outbuf *out)
{
    char text[DOUBLE_TEXT_BYTES], shortest[TR_NUMBER_TEXT_BYTES];
    struct tr_number number;
    size_t len;
    bool exact;
    if (value != value) {
        tr_outbuf_lit(out, "NaN");
    } else if (value - value != 0) {
        tr_outbuf_str(out, value > 0 ? "Infinity" : "-Infinity");
    } else {
        int written = snprintf(text, sizeof text, single ? "%.9g" : "%.17g", value);
        if (tr_number_parse(text, (size_t)written, &number) &&
            tr_number_double(&number, single, shortest, &len, &exact))
            tr_outbuf_bytes(out, shortest, len);
        else
            tr_outbuf_bytes(out, text, (size_t)written);
    }
}

static void time_text(struct work *work, const struct tr_avro_node *node, int64_t value,
                      struct tr_outbuf *out)
{
    char text[TR_TIME_TEXT_BYTES];
    struct tr_moment moment = {0};
    size_t len = 0;
    int64_t seconds;
    if (node->type == TR_T_TIME) {
        int64_t day = 86400 * node->per_second;
        moment.has_time = true;
        if (value >= 0 && value <= day) {
            moment.us_of_day = node->per_second > 1000000 ? value / (node->per_second / 1000000)
                                                          : value * (1000000 / node->per_second);
            len = tr_moment_time(&moment, text);
        }
    } else if (node->type == TR_T_DATE) {
        if (!__builtin_mul_overflow(value, INT64_C(86400), &seconds) &&
            tr_moment_from_epoch(seconds, 1, &moment))
            len = tr_moment_date(&moment, text);
    } else if (tr_moment_from_epoch(value, node->per_second, &moment)) {
        len = tr_moment_timestamp(&moment, node->type == TR_T_TIMESTAMPTZ, text);
    }
    if (len == 0)
        (void)bad(work, "a date or time is out of range");
    tr_outbuf_bytes(out, text, len);
}

static bool is_text(struct tr_slice text)
{
    return memchr(text.ptr, '\0', text.len) == NULL && tr_utf8_valid(text.ptr, text.len);
}

/* The text of a value that is not null, binary or composed: appended to out, or (*borrowed.ptr not
 * NULL) a piece of the message. */
static void scalar_text(struct work *work, const struct tr_avro_node *node, struct tr_outbuf *out,
                        struct tr_slice *borrowed)
{
    uint32_t word = 0;
    uint64_t two = 0;
    const char *raw;
    borrowed->ptr = NULL;
    switch (node->kind) {
    case TR_AVRO_BOOLEAN:
        tr_outbuf_byte(out, tr_cursor_u8(&work->cursor) != 0 ? 't' : 'f');
        return;
    case TR_AVRO_INT:
    case TR_AVRO_LONG: {
        int64_t value = read_long(work);
        if (node->kind == TR_AVRO_INT && (value < INT32_MIN || value > INT32_MAX))
            (void)bad(work, "an int is longer than 32 bits");
        else if (node->per_second > 0)
            time_text(work, node, value, out);
        else
            tr_outbuf_i64(out, value);
        return;
    }
    case TR_AVRO_FLOAT: {
        float value;
        if ((raw = tr_cursor_bytes(&work->cursor, 4)) != NULL)
            word = __builtin_bswap32(tr_load_u32(raw));
        memcpy(&value, &word, sizeof value);
        float_text((double)value, true, out);
        return;
    }
    case TR_AVRO_DOUBLE: {
        double value;
        if ((raw = tr_cursor_bytes(&work->cursor, 8)) != NULL)
            two = __builtin_bswap64(tr_load_u64(raw));
        memcpy(&value, &two, sizeof value);
        float_text(value, false, out);
        return;
    }
    case TR_AVRO_ENUM: {
        int64_t index = read_long(work);
        if (work->cursor.failed || index < 0 || index >= node->count)
            (void)bad(work, "an enum has no such symbol");
        else
            *borrowed = tr_slice_of(node->symbols[index]);
        return;
    }
    case TR_AVRO_STRING:
        *borrowed = read_bytes(work);
        if (!work->cursor.failed && !is_text(*borrowed))
            (void)bad(work, "a string is not UTF-8, or holds U+0000");
        return;
    default: { /* BYTES, FIXED as a decimal */
        struct tr_slice bytes = {"", 0};
        if (node->kind == TR_AVRO_BYTES)
            bytes = read_bytes(work);
        else if ((raw = tr_cursor_bytes(&work->cursor, node->size)) != NULL)
            bytes = (struct tr_slice){raw, node->size};
        if (!work->cursor.failed)
            decimal_text(work, bytes, node->scale, out);
        return;
    }
    }
}

static struct tr_slice read_binary(struct work *work, const struct tr_avro_node *node)
{
    if (node->kind == TR_AVRO_BYTES)
        return read_bytes(work);
    const char *raw = tr_cursor_bytes(&work->cursor, node->size);
    return raw == NULL ? (struct tr_slice){"", 0} : (struct tr_slice){raw, node->size};
}

/* ---- values → JSON -------------------------------------------------------------------------- */

static void json_string(struct tr_outbuf *out, struct tr_slice text)
{
    static const char hex[] = "0123456789abcdef";
    tr_outbuf_byte(out, '"');
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        if (c == '"' || c == '\\') {
            tr_outbuf_byte(out, '\\');
            tr_outbuf_byte(out, (char)c);
        } else if (c < 0x20) {
            tr_outbuf_lit(out, "\\u00");
            tr_outbuf_byte(out, hex[c >> 4]);
            tr_outbuf_byte(out, hex[c & 15]);
        } else {
            tr_outbuf_byte(out, (char)c);
        }
    }
    tr_outbuf_byte(out, '"');
}

static void json_base64(struct tr_outbuf *out, struct tr_slice bytes)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *at = (const unsigned char *)bytes.ptr;
    tr_outbuf_byte(out, '"');
    for (size_t i = 0; i < bytes.len; i += 3) {
        size_t left = bytes.len - i;
        uint32_t word = (uint32_t)at[i] << 16 | (left > 1 ? (uint32_t)at[i + 1] << 8 : 0) |
                        (left > 2 ? at[i + 2] : 0);
        tr_outbuf_byte(out, letters[word >> 18]);
        tr_outbuf_byte(out, letters[word >> 12 & 63]);
        tr_outbuf_byte(out, left > 1 ? letters[word >> 6 & 63] : '=');
        tr_outbuf_byte(out, left > 2 ? letters[word & 63] : '=');
    }
    tr_outbuf_byte(out, '"');
}

static void json_value(struct work *work, const struct tr_avro_node *node, struct tr_outbuf *out,
                       unsigned depth);

static void json_scalar(struct work *work, const struct tr_avro_node *node, struct tr_outbuf *out)
{
    struct tr_slice borrowed;
    size_t from = out->len;
    if (node->kind == TR_AVRO_BOOLEAN) {
        tr_outbuf_str(out, tr_cursor_u8(&work->cursor) != 0 ? "true" : "false");
        return;
    }
    bool number = node->per_second == 0 && node->type != TR_T_STRING;
    if (!number && node->kind != TR_AVRO_STRING && node->kind != TR_AVRO_ENUM)
        tr_outbuf_byte(out, '"');
    scalar_text(work, node, out, &borrowed);
    if (borrowed.ptr != NULL) {
        json_string(out, borrowed);
    } else if (!number) {
        tr_outbuf_byte(out, '"');
    } else if (!out->failed && out->len > from &&
               (out->data[from] == 'N' || out->data[out->len - 1] == 'y')) {
        out->len = from; /* JSON has no NaN */
        tr_outbuf_lit(out, "null");
    }
}

static void json_blocks(struct work *work, const struct tr_avro_node *node, struct tr_outbuf *out,
                        unsigned depth)
{
    bool map = node->kind == TR_AVRO_MAP, first = true;
    tr_outbuf_byte(out, map ? '{' : '[');
    for (uint64_t count; (count = read_block(work)) > 0;) {
        for (; count > 0 && !work->cursor.failed; count--, first = false) {
            if (!first)
                tr_outbuf_byte(out, ',');
            if (map) {
                struct tr_slice name = read_bytes(work);
                if (!work->cursor.failed && !is_text(name))
                    (void)bad(work, "a string is not UTF-8, or holds U+0000");
                json_string(out, work->cursor.failed ? (struct tr_slice){"", 0} : name);
                tr_outbuf_byte(out, ':');
            }
            json_value(work, node->fields[0].node, out, depth + 1);
        }
    }
    tr_outbuf_byte(out, map ? '}' : ']');
}

static void json_value(struct work *work, const struct tr_avro_node *node, struct tr_outbuf *out,
                       unsigned depth)
{
    node = read_branch(work, node);
    if (work->cursor.failed)
        return;
    if (depth > TR_AVRO_DEPTH_MAX || out->len > JSON_BYTES_MAX) {
        (void)bad(work, depth > TR_AVRO_DEPTH_MAX ? "values are nested too deep"
                                                  : "a composed value is too large");
        return;
    }
    switch (node->kind) {
    case TR_AVRO_NULL:
        tr_outbuf_lit(out, "null");
        return;
    case TR_AVRO_ARRAY:
    case TR_AVRO_MAP:
        json_blocks(work, node, out, depth);
        return;
    case TR_AVRO_RECORD:
        tr_outbuf_byte(out, '{');
        for (uint32_t i = 0; i < node->count && !work->cursor.failed; i++) {
            if (i > 0)
                tr_outbuf_byte(out, ',');
            json_string(out, tr_slice_of(node->fields[i].name));
            tr_outbuf_byte(out, ':');
            json_value(work, node->fields[i].node, out, depth + 1);
        }
        tr_outbuf_byte(out, '}');
        return;
    case TR_AVRO_BYTES:
    case TR_AVRO_FIXED:
        if (node->type == TR_T_BYTES) {
            json_base64(out, read_binary(work, node));
            return;
        }
        break;
    default:
        break;
    }
    json_scalar(work, node, out);
}

/* Reads a value away. */
static void skip(struct work *work, const struct tr_avro_node *node, unsigned depth)
{
    node = read_branch(work, node);
    if (work->cursor.failed)
        return;
    if (depth > TR_AVRO_DEPTH_MAX) {
        (void)bad(work, "values are nested too deep");
        return;
    }
    switch (node->kind) {
    case TR_AVRO_NULL:
        return;
    case TR_AVRO_BOOLEAN:
        (void)tr_cursor_u8(&work->cursor);
        return;
    case TR_AVRO_INT:
    case TR_AVRO_LONG:
    case TR_AVRO_ENUM:
        (void)read_long(work);
        return;
    case TR_AVRO_FLOAT:
    case TR_AVRO_DOUBLE:
        (void)tr_cursor_bytes(&work->cursor, node->kind == TR_AVRO_FLOAT ? 4 : 8);
        return;
    case TR_AVRO_BYTES:
    case TR_AVRO_STRING:
        (void)read_bytes(work);
        return;
    case TR_AVRO_FIXED:
        (void)tr_cursor_bytes(&work->cursor, node->size);
        return;
    case TR_AVRO_RECORD:
        for (uint32_t i = 0; i < node->count && !work->cursor.failed; i++)
            skip(work, node->fields[i].node, depth + 1);
        return;
    default:
        for (uint64_t count; (count = read_block(work)) > 0;) {
            for (; count > 0 && !work->cursor.failed; count--) {
                if (node->kind == TR_AVRO_MAP)
                    (void)read_bytes(work);
                skip(work, node->fields[0].node, depth + 1);
            }
        }
    }
}

/* ---- columns -------------------------------------------------------------------------------- */

/* What a column of the field is: of a union with null the other branch; of several, JSON. */
static const struct tr_avro_node *value_node(const struct tr_avro_node *node, bool *nullable)
{
    const struct tr_avro_node *only = NULL;
    *nullable = false;
    if (node->kind != TR_AVRO_UNION)
        return node;
    uint32_t others = 0;
    for (uint32_t i = 0; i < node->count; i++) {
        if (node->fields[i].node->kind == TR_AVRO_NULL) {
            *nullable = true;
        } else {
            only = node->fields[i].node;
            others++;
        }
    }
    return others == 1 ? only : node;
}

static bool in_key(const struct work *work, const char *name)
{
    return work->key_record != NULL && tr_avro_field_find(work->key_record, name) >= 0;
}

static struct tr_column column_of(const struct work *work, const struct tr_avro_field *field)
{
    bool nullable;
    const struct tr_avro_node *node = value_node(field->node, &nullable);
    bool timed =
        node->type == TR_T_TIME || node->type == TR_T_TIMESTAMP || node->type == TR_T_TIMESTAMPTZ;
    bool decimal = node->type == TR_T_DECIMAL;
    return (struct tr_column){
        .name = field->name,
        .type = node->kind == TR_AVRO_UNION  ? TR_T_JSON
                : node->kind == TR_AVRO_NULL ? TR_T_STRING
                                             : node->type,
        .elem_type = TR_T_OTHER,
        .source_typmod = -1,
        .precision = timed     ? (node->precision < 0 ? 6 : node->precision)
                     : decimal ? node->precision
                               : 0,
        .scale = decimal ? node->scale : 0,
        .nullable = (nullable || node->kind == TR_AVRO_NULL) && !in_key(work, field->name),
    };
}

static const char *into_column(const struct tr_column *column, const struct tr_column *own,
                               struct tr_batch *batch, struct tr_cell *cell, bool text_of_source)
{
    if (!text_of_source && column->type == own->type && column->precision == own->precision &&
        column->scale == own->scale && column->length == own->length)
        return NULL;
    if (cell->state == TR_CELL_BINARY)
        return column->type == TR_T_BYTES ? NULL : "bytes for a column of another type";
    if (column->type == TR_T_BYTES)
        return "not bytes, which the column holds";
    return tr_cell_from_text(column, (struct tr_slice){cell->ptr, cell->len}, batch, cell);
}

/* A value that is not null → a cell in its own type's form. */
static void make_cell(struct work *work, const struct tr_avro_node *node, struct tr_cell *cell)
{
    struct tr_outbuf *out = &work->decoder->text;
    struct tr_slice text = {NULL, 0};
    tr_outbuf_clear(out);
    cell->state = TR_CELL_TEXT;
    if (node->type == TR_T_BYTES) {
        text = read_binary(work, node);
        cell->state = TR_CELL_BINARY;
    } else if (node->kind == TR_AVRO_RECORD || node->kind == TR_AVRO_ARRAY ||
               node->kind == TR_AVRO_MAP || node->kind == TR_AVRO_UNION) {
        json_value(work, node, out, 0);
    } else {
        scalar_text(work, node, out, &text);
    }
    if (work->cursor.failed)
        return;
    if (text.ptr == NULL) {
        text.len = out->len;
        text.ptr = out->failed ? NULL : tr_batch_copy(work->input.batch, out->data, out->len);
    }
    work->no_memory = work->no_memory || text.ptr == NULL;
    cell->ptr = text.ptr;
    cell->len = (uint32_t)text.len;
}

static bool is_placeholder(const struct tr_cell *cell)
{
    return cell->len == sizeof PLACEHOLDER - 1 && memcmp(cell->ptr, PLACEHOLDER, cell->len) == 0;
}

static enum tr_status malformed(const struct work *work, struct tr_error *err)
{
    if (work->no_memory)
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for a row");
    (void)tr_fail(err, TR_E_MESSAGE_SYNTAX, "the message is not Avro of its schema: %s",
                  work->reason != NULL ? work->reason : "it ends before its schema does");
    return TR_FAIL;
}

/* One field; index < 0 or not yet built: only read. */
static enum tr_status put_field(struct work *work, struct tr_rows_table *table,
                                const struct tr_avro_field *field, int index, bool is_after,
                                struct tr_cell *cells, struct tr_error *err)
{
    bool nullable;
    const struct tr_avro_node *type = value_node(field->node, &nullable);
    const struct tr_avro_node *node = field->node;
    if (index < 0 || (size_t)index >= tr_rows_built(table)) {
        skip(work, node, 0);
        return work->cursor.failed ? malformed(work, err) : TR_OK;
    }
    struct tr_cell *cell = &cells[index];
    if (type->kind != TR_AVRO_UNION || type != field->node)
        node = read_branch(work, field->node);
    if (work->cursor.failed)
        return malformed(work, err);
    if (node->kind == TR_AVRO_UNION) { /* of several types: the null among them is a NULL too */
        struct tr_cursor before = work->cursor;
        const struct tr_avro_node *branch = read_branch(work, node);
        if (branch != NULL && branch->kind != TR_AVRO_NULL)
            work->cursor = before;
        else
            node = branch;
    }
    if (work->cursor.failed)
        return malformed(work, err);
    if (node->kind == TR_AVRO_NULL) {
        cell->state = TR_CELL_NULL;
        return TR_OK;
    }
    make_cell(work, node, cell);
    if (work->cursor.failed || work->no_memory)
        return malformed(work, err);
    if (work->is_envelope && is_placeholder(cell)) {
        cell->state = is_after ? TR_CELL_UNCHANGED : TR_CELL_ABSENT;
        return TR_OK;
    }
    const struct tr_column own = column_of(work, field);
    /* strings that mean something else: brought into the canonical form */
    bool again = node->kind == TR_AVRO_STRING && node->type != TR_T_STRING;
    const char *reason =
        into_column(tr_rows_column(table, index), &own, work->input.batch, cell, again);
    if (reason == NULL)
        return TR_OK;
    if (reason == tr_cell_no_memory)
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "%s", reason);
    return tr_fail(err, TR_E_MESSAGE_VALUE, "column \"%s\": %s", field->name, reason);
}

static enum tr_status image(struct work *work, struct tr_rows_table *table,
                            const struct tr_avro_node *record, struct tr_cursor at,
                            enum tr_rows_image kind, bool is_after, struct tr_cell **cells,
                            struct tr_error *err)
{
    struct tr_cell *made;
    work->cursor = at;
    work->items = 0;
    if (tr_rows_image_new(table, &work->input, &made, err) != TR_OK)
        return TR_FAIL;
    for (uint32_t i = 0; i < record->count; i++) {
        const struct tr_column column = column_of(work, &record->fields[i]);
        int index;
        if (tr_rows_declare(table, &column, &index, err) != TR_OK ||
            put_field(work, table, &record->fields[i], index, is_after, made, err) != TR_OK)
            return TR_FAIL;
    }
    *cells = made;
    return tr_rows_image_finish(table, &work->input, kind, made, err);
}

static enum tr_status fill(void *context, struct tr_rows_table *table, struct tr_error *err)
{
    struct work *work = context;
    if (work->op == TR_OP_TRUNCATE)
        return TR_OK;
    if (work->after_record != NULL && image(work, table, work->after_record, work->after_at,
                                            TR_ROWS_FULL, true, &work->after_cells, err) != TR_OK)
        return TR_FAIL;
    if (work->before_record != NULL)
        return image(work, table, work->before_record, work->before_at,
                     work->op == TR_OP_DELETE ? TR_ROWS_KEY : TR_ROWS_PARTIAL, false,
                     &work->before_cells, err);
    if (work->op == TR_OP_DELETE)
        return image(work, table, work->key_record, work->key_at, TR_ROWS_KEY, false,
                     &work->before_cells, err);
    return TR_OK;
}

/* ---- messages ------------------------------------------------------------------------------- */

static enum tr_status read_header(struct work *work, struct tr_slice bytes,
                                  const struct tr_avro_node **root, struct tr_error *err)
{
    work->cursor = tr_cursor_of(bytes.ptr, bytes.len);
    if (bytes.len < HEADER_BYTES || tr_cursor_u8(&work->cursor) != 0) {
        (void)tr_fail(
            err, TR_E_MESSAGE_SYNTAX,
            "the message is not in Confluent's wire format (a zero byte and a schema ID)");
        return TR_FAIL;
    }
    return find_schema(work->decoder, tr_cursor_u32(&work->cursor), root, err);
}

/* A key in the wire format that is a record; others are not looked at. */
static enum tr_status read_key(struct work *work, struct tr_error *err)
{
    const struct tr_avro_node *root;
    struct tr_slice key = work->message->key;
    if (key.ptr == NULL || key.len < HEADER_BYTES || key.ptr[0] != 0)
        return TR_OK;
    if (read_header(work, key, &root, err) != TR_OK)
        return err->class == TR_DATA ? TR_OK : TR_FAIL;
    if (root->kind != TR_AVRO_RECORD)
        return TR_OK;
    work->key_record = root;
    work->key_at = work->cursor;
    return TR_OK;
}

/* The record in before or after, where it is; NULL when it is null. */
static const struct tr_avro_node *part(struct work *work, const struct tr_avro_node *node,
                                       struct tr_cursor *at)
{
    struct tr_cursor start = work->cursor;
    const struct tr_avro_node *branch = read_branch(work, node);
    *at = work->cursor;
    if (branch == NULL || branch->kind != TR_AVRO_RECORD)
        branch = NULL;
    work->cursor = start;
    skip(work, node, 0);
    return work->cursor.failed ? NULL : branch;
}

static struct tr_slice text_field(struct work *work, const struct tr_avro_node *node)
{
    struct tr_slice text = {"", 0};
    node = read_branch(work, node);
    if (node != NULL && (node->kind == TR_AVRO_STRING || node->kind == TR_AVRO_ENUM)) {
        scalar_text(work, node, &work->decoder->text, &text);
        if (work->cursor.failed || text.ptr == NULL)
            text = (struct tr_slice){"", 0};
    } else if (node != NULL) {
        skip(work, node, 0);
    }
    return text;
}

static void read_time(struct work *work, const struct tr_avro_node *node, int64_t factor)
{
    int64_t value;
    node = read_branch(work, node);
    if (node == NULL)
        return;
    if (node->kind != TR_AVRO_LONG) {
        skip(work, node, 0);
        return;
    }
    if (!__builtin_mul_overflow(read_long(work), factor, &value) && value > 0)
        work->ts_us = value;
}

static void read_source(struct work *work, const struct tr_avro_node *node)
{
    node = read_branch(work, node);
    if (node == NULL || node->kind != TR_AVRO_RECORD) {
        if (node != NULL)
            skip(work, node, 0);
        return;
    }
    for (uint32_t i = 0; i < node->count && !work->cursor.failed; i++) {
        const struct tr_avro_field *field = &node->fields[i];
        if (strcmp(field->name, "db") == 0)
            work->db = text_field(work, field->node);
        else if (strcmp(field->name, "schema") == 0)
            work->schema = text_field(work, field->node);
        else if (strcmp(field->name, "table") == 0)
            work->table = text_field(work, field->node);
        else if (strcmp(field->name, "ts_ms") == 0)
            read_time(work, field->node, 1000);
        else
            skip(work, field->node, 0);
    }
}

static bool is_envelope(const struct tr_avro_node *record)
{
    return tr_avro_field_find(record, "op") >= 0 && tr_avro_field_find(record, "before") >= 0 &&
           tr_avro_field_find(record, "after") >= 0;
}

/* TR_AGAIN: a message without a row. */
static enum tr_status read_envelope(struct work *work, const struct tr_avro_node *root,
                                    struct tr_error *err)
{
    struct tr_slice op = {"", 0};
    bool by_source = false;
    work->is_envelope = true;
    for (uint32_t i = 0; i < root->count && !work->cursor.failed; i++) {
        const struct tr_avro_field *field = &root->fields[i];
        if (strcmp(field->name, "before") == 0)
            work->before_record = part(work, field->node, &work->before_at);
        else if (strcmp(field->name, "after") == 0)
            work->after_record = part(work, field->node, &work->after_at);
        else if (strcmp(field->name, "op") == 0)
            op = text_field(work, field->node);
        else if (strcmp(field->name, "source") == 0) {
            read_source(work, field->node);
            by_source = work->ts_us != TR_TIME_NONE;
        } else if (strcmp(field->name, "ts_ms") == 0 && !by_source)
            read_time(work, field->node, 1000);
        else
            skip(work, field->node, 0);
    }
    if (work->cursor.failed)
        return malformed(work, err);
    if (op.len != 1 || strchr("crudtm", op.ptr[0]) == NULL)
        return tr_fail(err, TR_E_MESSAGE_ENVELOPE, "\"op\" is none of c, r, u, d, t, m");
    if (op.ptr[0] == 'm')
        return TR_AGAIN;
    work->op = (enum tr_op)op.ptr[0];
    bool has_after = work->op != TR_OP_DELETE && work->op != TR_OP_TRUNCATE;
    if (!has_after)
        work->after_record = NULL;
    else if (work->after_record == NULL)
        return tr_fail(err, TR_E_MESSAGE_ENVELOPE, "\"after\" is null");
    if (work->op != TR_OP_UPDATE && work->op != TR_OP_DELETE)
        work->before_record = NULL;
    if (work->op == TR_OP_DELETE && work->before_record == NULL && work->key_record == NULL)
        return tr_fail(err, TR_E_MESSAGE_KEY, "the message deletes a row and does not name it");
    return TR_OK;
}

static enum tr_status read_value(struct work *work, struct tr_error *err)
{
    const struct tr_avro_node *root;
    if (work->message->value.ptr == NULL) {
        if (work->key_record == NULL)
            return tr_fail(err, TR_E_MESSAGE_KEY, "the message has neither value nor an Avro key");
        /* Debezium names its keys so; its deletes came before their tombstones */
        if (strcmp(work->key_record->name, "Key") == 0)
            return TR_AGAIN;
        work->op = TR_OP_DELETE;
        return TR_OK;
    }
    if (read_header(work, work->message->value, &root, err) != TR_OK)
        return TR_FAIL;
    if (root->kind != TR_AVRO_RECORD)
        return tr_fail(err, TR_E_MESSAGE_ENVELOPE, "the message's schema is not a record");
    if (is_envelope(root)) {
        enum tr_status status = read_envelope(work, root, err);
        if (status != TR_OK)
            return status;
    } else {
        work->op = TR_OP_CREATE;
        work->after_record = root;
        work->after_at = work->cursor;
        skip(work, root, 0);
    }
    if (!work->cursor.failed && tr_cursor_left(&work->cursor) > 0)
        (void)bad(work, "bytes are left behind the value");
    return work->cursor.failed ? malformed(work, err) : TR_OK;
}

static enum tr_status find_table(struct work *work, struct tr_rows_table **table,
                                 struct tr_error *err)
{
    struct tr_rows *rows = work->decoder->base.rows;
    if (!work->is_envelope || work->decoder->base.table_given || work->table.len == 0)
        return tr_rows_table_of_message(rows, work->message, table, err);
    if (work->schema.len == 0)
        return tr_rows_table(rows, (struct tr_slice){"", 0}, work->db, work->table, table, err);
    return tr_rows_table(rows, work->db, work->schema, work->table, table, err);
}

static enum tr_status name_key(const struct work *work, struct tr_rows_table *table,
                               struct tr_error *err)
{
    struct tr_slice names[TR_ROWS_KEY_MAX];
    const struct tr_avro_node *key = work->key_record;
    if (key == NULL || key->count == 0 || tr_rows_is_known(table) || tr_rows_key_count(table) > 0)
        return TR_OK;
    if (key->count > TR_ROWS_KEY_MAX)
        return tr_fail(err, TR_E_MESSAGE_LIMIT, "the key has more than %d columns",
                       TR_ROWS_KEY_MAX);
    for (uint32_t i = 0; i < key->count; i++) {
        /* a key of fields that the row has not is not the row's */
        if (work->after_record != NULL &&
            tr_avro_field_find(work->after_record, key->fields[i].name) < 0)
            return TR_OK;
        names[i] = tr_slice_of(key->fields[i].name);
    }
    return tr_rows_set_key(table, names, key->count, err);
}

static enum tr_status decode_message(struct work *work, struct tr_error *err)
{
    struct tr_rows_table *table;
    if (read_key(work, err) != TR_OK)
        return TR_FAIL;
    enum tr_status status = read_value(work, err);
    if (status != TR_OK)
        return status == TR_AGAIN ? TR_OK : TR_FAIL;
    if (find_table(work, &table, err) != TR_OK || name_key(work, table, err) != TR_OK)
        return TR_FAIL;
    if (work->op == TR_OP_TRUNCATE && !tr_rows_is_known(table)) {
        tr_rows_rollback(work->decoder->base.rows); /* no row of it went by */
        return TR_OK;
    }
    if (tr_rows_settle(table, fill, work, err) != TR_OK)
        return TR_FAIL;
    const struct tr_format_row row = {work->op, work->before_cells, work->after_cells, 0};
    return tr_format_rows(table, work->input.batch, &row, 1,
                          work->ts_us == TR_TIME_NONE ? work->message->ts_us : work->ts_us, err);
}

static enum tr_status decode(struct tr_decoder *decoder, const struct tr_message *message,
                             struct tr_batch *batch, struct tr_error *err)
{
    uint32_t first = batch->event_count;
    struct work work = {.decoder = decoder,
                        .message = message,
                        .input = {.batch = batch, .text = message->value.ptr},
                        .db = {"", 0},
                        .schema = {"", 0},
                        .table = {"", 0},
                        .ts_us = TR_TIME_NONE};
    return tr_format_end(decoder->base.rows, batch, first, decode_message(&work, err));
}

extern const struct tr_decoder_ops tr_decoder_avro;
const struct tr_decoder_ops tr_decoder_avro = {
    .name = "avro",
    .summary = "Confluent's wire format: rows or Debezium's envelope, schemas from a registry",
    .open = open_decoder,
    .restore = tr_format_restore,
    .decode = decode,
    .schema_marks = tr_format_marks,
    .close = close_decoder,
};
