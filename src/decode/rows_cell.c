/* See the header. */
#include "decode/rows_cell.h"

#include <string.h>

#include "base/outbuf.h"
#include "decode/json_number.h"
#include "decode/json_time.h"

#define INT64_DIGITS_SURE 18 /* any integer of so many digits fits */
#define DOUBLE_WHOLE_MAX (INT64_C(1) << 53)
#define MS_PER_SECOND 1000
#define MS_PER_DAY INT64_C(86400000)
#define UUID_DIGITS 32

const char tr_cell_no_memory[] = "no memory for the value";
static const char not_integer[] = "not a whole number within the column's range";
static const char not_number[] = "not a number";
static const char not_kind[] = "a value of another kind than the column's type";

static const char *set(struct tr_cell *cell, const char *ptr, size_t len)
{
    *cell = (struct tr_cell){ptr, (uint32_t)len, TR_CELL_TEXT};
    return NULL;
}

/* buf is the caller's own. Text that is canonical as it stands is not copied. */
static const char *set_new(struct tr_cell *cell, struct tr_slice given, const char *buf, size_t len,
                           struct tr_batch *batch)
{
    if (len == given.len && memcmp(given.ptr, buf, len) == 0)
        return set(cell, given.ptr, len);
    char *copy = tr_batch_copy(batch, buf, len);
    return copy == NULL ? tr_cell_no_memory : set(cell, copy, len);
}

static bool is_word(struct tr_slice text, const char *word)
{
    return text.len == strlen(word) && memcmp(text.ptr, word, text.len) == 0;
}

/* ---- numbers -------------------------------------------------------------------------------- */

static bool in_range(enum tr_type type, int64_t value)
{
    switch (type) {
    case TR_T_INT8:
        return value >= INT8_MIN && value <= INT8_MAX;
    case TR_T_INT16:
        return value >= INT16_MIN && value <= INT16_MAX;
    case TR_T_INT32:
        return value >= INT32_MIN && value <= INT32_MAX;
    default:
        return true;
    }
}

static const char *integer(const struct tr_column *column, struct tr_slice text,
                           struct tr_batch *batch, struct tr_cell *cell)
{
    char buf[TR_NUMBER_TEXT_BYTES];
    struct tr_number number;
    int64_t value;
    if (!tr_number_parse(text.ptr, text.len, &number))
        return not_integer;
    if (!tr_number_int64(&number, &value) || !in_range(column->type, value))
        return not_integer;
    return set_new(cell, text, buf, tr_i64_text(value, buf), batch);
}

/* Digits without an exponent at their column's scale (-1: as written). */
static const char *decimal_text(const struct tr_number *number, int32_t scale,
                                struct tr_batch *batch, struct tr_cell *cell)
{
    size_t bytes = tr_number_decimal_bytes(number, scale);
    if (bytes == 0)
        return "a number whose exponent is too large";
    char *out = tr_arena_alloc(&batch->arena, bytes, 1);
    if (out == NULL)
        return tr_cell_no_memory;
    size_t len = tr_number_decimal(number, scale, out);
    return set(cell, out, len);
}

static const char *unsigned_integer(struct tr_slice text, struct tr_batch *batch,
                                    struct tr_cell *cell)
{
    struct tr_number number;
    uint64_t value;
    if (!tr_number_parse(text.ptr, text.len, &number) || !tr_number_uint64(&number, &value))
        return not_integer;
    return decimal_text(&number, 0, batch, cell);
}

static bool is_canonical_decimal(struct tr_slice text)
{
    size_t i = text.len > 0 && text.ptr[0] == '-';
    bool leading_zero = text.len > i + 1 && text.ptr[i] == '0' && text.ptr[i + 1] != '.';
    if (i == text.len || text.ptr[i] < '0' || text.ptr[i] > '9' || leading_zero ||
        text.ptr[text.len - 1] == '.')
        return false;
    for (; i < text.len; i++) {
        if ((text.ptr[i] < '0' || text.ptr[i] > '9') && text.ptr[i] != '.')
            return false;
    }
    return true;
}

static const char *decimal(const struct tr_column *column, struct tr_slice text,
                           struct tr_batch *batch, struct tr_cell *cell)
{
    struct tr_number number;
    if (!tr_number_parse(text.ptr, text.len, &number))
        return not_number;
    bool zero_with_sign = number.negative && number.first == number.last;
    if (column->precision == 0) {
        if (is_canonical_decimal(text) && !zero_with_sign)
            return set(cell, text.ptr, text.len);
        return decimal_text(&number, -1, batch, cell);
    }
    if (tr_number_scale(&number) > column->scale)
        return "more digits behind the point than the column has";
    if (tr_number_whole_digits(&number) > column->precision - column->scale)
        return "more digits before the point than the column has";
    return decimal_text(&number, column->scale, batch, cell);
}

static const char *floating(const struct tr_column *column, struct tr_slice text,
                            struct tr_batch *batch, struct tr_cell *cell)
{
    char buf[TR_NUMBER_TEXT_BYTES];
    struct tr_number number;
    size_t len;
    if (is_word(text, "NaN") || is_word(text, "Infinity") || is_word(text, "-Infinity"))
        return set(cell, text.ptr, text.len);
    if (!tr_number_parse(text.ptr, text.len, &number))
        return not_number;
    if (!tr_number_double(&number, column->type == TR_T_FLOAT32, buf, &len, NULL))
        return "a number beyond what the column's type holds";
    return set_new(cell, text, buf, len, batch);
}

/* ---- words, bytes, UUIDs -------------------------------------------------------------------- */

static const char *boolean(struct tr_slice text, struct tr_cell *cell)
{
    if (is_word(text, "true") || is_word(text, "t") || is_word(text, "1"))
        return set(cell, "t", 1);
    if (is_word(text, "false") || is_word(text, "f") || is_word(text, "0"))
        return set(cell, "f", 1);
    return "neither true nor false";
}

/* length: characters, as SQL counts them; 0 = no limit. */
static const char *string(const struct tr_column *column, struct tr_slice text,
                          struct tr_cell *cell)
{
    if (column->length > 0 && text.len > (size_t)column->length) {
        size_t characters = 0;
        for (size_t i = 0; i < text.len; i++)
            characters += ((uint8_t)text.ptr[i] & 0xc0) != 0x80;
        if (characters > (size_t)column->length)
            return "longer than the column";
    }
    return set(cell, text.ptr, text.len);
}

static int base64_digit(char byte)
{
    if (byte >= 'A' && byte <= 'Z')
        return byte - 'A';
    if (byte >= 'a' && byte <= 'z')
        return byte - 'a' + 26;
    if (byte >= '0' && byte <= '9')
        return byte - '0' + 52;
    if (byte == '+' || byte == '-')
        return 62;
    return byte == '/' || byte == '_' ? 63 : -1;
}

static const char *bytes(struct tr_slice text, struct tr_batch *batch, struct tr_cell *cell)
{
    static const char not_base64[] = "not base64";
    size_t len = text.len, count = 0;
    uint32_t bits = 0;
    while (len > 0 && text.len - len < 2 && text.ptr[len - 1] == '=')
        len--;
    if ((len != text.len && text.len % 4 != 0) || len % 4 == 1)
        return not_base64;
    char *out = tr_arena_alloc(&batch->arena, len / 4 * 3 + 3, 1);
    if (out == NULL)
        return tr_cell_no_memory;
    for (size_t i = 0; i < len; i++) {
        int digit = base64_digit(text.ptr[i]);
        if (digit < 0)
            return not_base64;
        bits = bits << 6 | (uint32_t)digit;
        if (i % 4 == 0)
            continue;
        unsigned shift = 6 - 2 * (unsigned)(i % 4);
        out[count++] = (char)(uint8_t)(bits >> shift);
    }
    *cell = (struct tr_cell){out, (uint32_t)count, TR_CELL_BINARY};
    return NULL;
}

static const char *uuid(struct tr_slice text, struct tr_batch *batch, struct tr_cell *cell)
{
    char buf[UUID_DIGITS + 4];
    size_t digits = 0, len = 0;
    for (size_t i = 0; i < text.len; i++) {
        char byte = text.ptr[i];
        if (byte == '-' && (i == 8 || i == 13 || i == 18 || i == 23) && text.len == UUID_DIGITS + 4)
            continue;
        if (byte >= 'A' && byte <= 'F')
            byte = (char)(byte | 0x20);
        bool hex = (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'f');
        if (!hex || digits == UUID_DIGITS)
            return "not a UUID";
        if (digits == 8 || digits == 12 || digits == 16 || digits == 20)
            buf[len++] = '-';
        buf[len++] = byte;
        digits++;
    }
    return digits != UUID_DIGITS ? "not a UUID" : set_new(cell, text, buf, len, batch);
}

/* ---- times ---------------------------------------------------------------------------------- */

/* Cuts what the column's precision cannot hold: 12:34:56.789 is 12:34:56.7 for TIME(1). */
static struct tr_moment cut(const struct tr_moment *moment, int32_t precision)
{
    struct tr_moment shorter = *moment;
    int64_t unit = 1;
    for (int32_t digits = 6; precision >= 0 && digits > precision; digits--)
        unit *= 10;
    shorter.us_of_day -= shorter.us_of_day % unit;
    return shorter;
}

static const char *moment_cell(const struct tr_column *column, const struct tr_moment *given,
                               struct tr_slice text, struct tr_batch *batch, struct tr_cell *cell)
{
    char buf[TR_TIME_TEXT_BYTES];
    struct tr_moment moment = column->type == TR_T_DATE ? *given : cut(given, column->precision);
    size_t len = column->type == TR_T_DATE ? tr_moment_date(&moment, buf)
                 : column->type == TR_T_TIME
                     ? tr_moment_time(&moment, buf)
                     : tr_moment_timestamp(&moment, column->type == TR_T_TIMESTAMPTZ, buf);
    if (len == 0)
        return "not the kind of time that the column holds";
    return set_new(cell, text, buf, len, batch);
}

static const char *time_from_text(const struct tr_column *column, struct tr_slice text,
                                  struct tr_batch *batch, struct tr_cell *cell)
{
    struct tr_moment moment;
    if (!tr_moment_parse(text.ptr, text.len, &moment))
        return "not a date or time in ISO 8601";
    return moment_cell(column, &moment, text, batch, cell);
}

static const char *time_from_number(const struct tr_column *column, struct tr_slice text,
                                    struct tr_batch *batch, struct tr_cell *cell)
{
    struct tr_number number;
    struct tr_moment moment;
    int64_t count;
    bool fits = tr_number_parse(text.ptr, text.len, &number) && tr_number_int64(&number, &count);
    if (fits && column->type == TR_T_DATE)
        fits = count > INT32_MIN && count < INT32_MAX &&
               tr_moment_from_epoch(count * (MS_PER_DAY / MS_PER_SECOND), 1, &moment);
    else if (fits)
        fits = tr_moment_from_epoch(count, MS_PER_SECOND, &moment);
    if (fits && column->type == TR_T_TIME) {
        fits = count >= 0 && count <= MS_PER_DAY;
        moment = (struct tr_moment){.us_of_day = count * 1000, .has_time = true};
    }
    if (!fits)
        return "not a time that the column can hold";
    return moment_cell(column, &moment, text, batch, cell);
}

/* ---- by type -------------------------------------------------------------------------------- */

const char *tr_cell_from_text(const struct tr_column *column, struct tr_slice text,
                              struct tr_batch *batch, struct tr_cell *cell)
{
    switch (column->type) {
    case TR_T_BOOLEAN:
        return boolean(text, cell);
    case TR_T_INT8:
    case TR_T_INT16:
    case TR_T_INT32:
    case TR_T_INT64:
        return integer(column, text, batch, cell);
    case TR_T_UINT64:
        return unsigned_integer(text, batch, cell);
    case TR_T_FLOAT32:
    case TR_T_FLOAT64:
        return floating(column, text, batch, cell);
    case TR_T_DECIMAL:
        return decimal(column, text, batch, cell);
    case TR_T_BYTES:
        return bytes(text, batch, cell);
    case TR_T_DATE:
    case TR_T_TIME:
    case TR_T_TIMESTAMP:
    case TR_T_TIMESTAMPTZ:
        return time_from_text(column, text, batch, cell);
    case TR_T_UUID:
        return uuid(text, batch, cell);
    default:
        return string(column, text, cell);
    }
}

struct tr_slice tr_json_string_value(const struct tr_json_node *string, struct tr_batch *batch)
{
    if ((string->flags & TR_JSON_ESCAPED) == 0)
        return (struct tr_slice){string->ptr, string->len};
    char *out = tr_arena_alloc(&batch->arena, (size_t)string->len + 1, 1);
    if (out == NULL)
        return (struct tr_slice){NULL, 0};
    return (struct tr_slice){out, tr_json_unescape(string, out)};
}

static const char *from_number(const struct tr_column *column, const struct tr_json_node *node,
                               struct tr_batch *batch, struct tr_cell *cell)
{
    struct tr_slice text = {node->ptr, node->len};
    switch (column->type) {
    case TR_T_INT64:
        if ((node->flags & TR_JSON_INTEGER) != 0 && node->len <= INT64_DIGITS_SURE &&
            node->ptr[0] != '-')
            return set(cell, node->ptr, node->len);
        break;
    case TR_T_DATE:
    case TR_T_TIME:
    case TR_T_TIMESTAMP:
    case TR_T_TIMESTAMPTZ:
        return time_from_number(column, text, batch, cell);
    case TR_T_BYTES:
    case TR_T_UUID:
        return not_kind;
    default:
        break;
    }
    return tr_cell_from_text(column, text, batch, cell);
}

const char *tr_cell_from_json(const struct tr_column *column, const struct tr_json_node *node,
                              struct tr_batch *batch, struct tr_cell *cell)
{
    enum tr_json_kind kind = (enum tr_json_kind)node->kind;
    struct tr_slice text = {node->ptr, node->len};
    if (kind == TR_JSON_NULL) {
        *cell = (struct tr_cell){NULL, 0, TR_CELL_NULL};
        return NULL;
    }
    if (column->type == TR_T_JSON) {
        text = tr_json_text(node);
        return set(cell, text.ptr, text.len);
    }
    switch (kind) {
    case TR_JSON_STRING:
        if ((node->flags & TR_JSON_NUL) != 0)
            return "a string with the character U+0000, which no column can hold";
        if ((node->flags & TR_JSON_ESCAPED) != 0)
            text = tr_json_string_value(node, batch);
        return text.ptr == NULL ? tr_cell_no_memory : tr_cell_from_text(column, text, batch, cell);
    case TR_JSON_NUMBER:
        return from_number(column, node, batch, cell);
    case TR_JSON_TRUE:
    case TR_JSON_FALSE:
        if (column->type == TR_T_BOOLEAN)
            return boolean(text, cell);
        return column->type == TR_T_STRING ? string(column, text, cell) : not_kind;
    default:
        return column->type == TR_T_STRING ? string(column, text, cell) : not_kind;
    }
}

/* ---- inference ------------------------------------------------------------------------------ */

static bool is_int64(const struct tr_json_node *node, int64_t *value)
{
    struct tr_number number;
    return (node->flags & TR_JSON_INTEGER) != 0 && tr_number_parse(node->ptr, node->len, &number) &&
           tr_number_int64(&number, value);
}

static bool is_exact_double(const struct tr_json_node *node)
{
    char buf[TR_NUMBER_TEXT_BYTES];
    struct tr_number number;
    size_t len;
    bool exact;
    return tr_number_parse(node->ptr, node->len, &number) &&
           tr_number_double(&number, false, buf, &len, &exact) && exact;
}

enum tr_type tr_infer_type(const struct tr_json_node *node)
{
    int64_t value;
    switch ((enum tr_json_kind)node->kind) {
    case TR_JSON_NUMBER:
        if ((node->flags & TR_JSON_INTEGER) != 0)
            return is_int64(node, &value) ? TR_T_INT64 : TR_T_DECIMAL;
        return is_exact_double(node) ? TR_T_FLOAT64 : TR_T_DECIMAL;
    case TR_JSON_TRUE:
    case TR_JSON_FALSE:
        return TR_T_BOOLEAN;
    case TR_JSON_OBJECT:
    case TR_JSON_ARRAY:
        return TR_T_JSON;
    default:
        return TR_T_STRING;
    }
}

bool tr_infer_fits(enum tr_type type, const struct tr_json_node *node)
{
    int64_t value;
    switch (type) {
    case TR_T_INT64:
        if (node->kind != TR_JSON_NUMBER || (node->flags & TR_JSON_INTEGER) == 0)
            return false;
        return node->len <= INT64_DIGITS_SURE || is_int64(node, &value);
    case TR_T_FLOAT64:
        if (node->kind != TR_JSON_NUMBER)
            return false;
        if ((node->flags & TR_JSON_INTEGER) != 0)
            return is_int64(node, &value) && value >= -DOUBLE_WHOLE_MAX &&
                   value <= DOUBLE_WHOLE_MAX;
        return is_exact_double(node);
    case TR_T_DECIMAL:
        return node->kind == TR_JSON_NUMBER;
    case TR_T_BOOLEAN:
        return node->kind == TR_JSON_TRUE || node->kind == TR_JSON_FALSE;
    case TR_T_JSON:
        return node->kind == TR_JSON_OBJECT || node->kind == TR_JSON_ARRAY;
    default:
        return true;
    }
}

enum tr_type tr_infer_wider(enum tr_type type, const struct tr_json_node *node)
{
    if (node->kind == TR_JSON_NUMBER && (type == TR_T_INT64 || type == TR_T_FLOAT64))
        return TR_T_DECIMAL;
    return TR_T_STRING;
}
