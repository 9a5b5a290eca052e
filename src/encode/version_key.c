/* Numbers: sign, the place of the decimal point, the digits between the zeros. So 15, 15.0 and
 * 1.5e1 are one key, and a longer run of digits is a larger one.
 *
 *   a        -infinity
 *   m E D ~  below zero: 5000000 - place, nines' complement of the digits, '~' because the longer is
 *            the smaller here
 *   o        zero
 *   p E D    above zero: 5000000 + place
 *   x  z     infinity, NaN (which PostgreSQL holds for the greatest)
 *
 * Times: a, m + days + µs of the day, z. Times of day: h + µs. Text and uuid: s + the text. */
#include "encode/version_key.h"

#include <string.h>

#include "encode/datetime.h"
#include "encode/json.h"

#define PLACE_BIAS 5000000
#define EXPONENT_MAX 1000000
#define DAYS_BIAS INT64_C(4000000000)

bool tr_version_type(enum tr_type type)
{
    switch (type) {
    case TR_T_INT8:
    case TR_T_INT16:
    case TR_T_INT32:
    case TR_T_INT64:
    case TR_T_UINT64:
    case TR_T_FLOAT32:
    case TR_T_FLOAT64:
    case TR_T_DECIMAL:
    case TR_T_STRING:
    case TR_T_DATE:
    case TR_T_TIME:
    case TR_T_TIMESTAMP:
    case TR_T_TIMESTAMPTZ:
    case TR_T_UUID:
        return true;
    default:
        return false;
    }
}

struct number {
    const char *digits; /* the digits with the point among them */
    size_t len;
    int64_t whole;      /* digits before the point */
    int64_t exponent;
};

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

static bool parse_exponent(const char *text, size_t len, int64_t *exponent)
{
    bool negative = len > 0 && text[0] == '-';
    size_t at = len > 0 && (text[0] == '-' || text[0] == '+') ? 1 : 0;
    if (at == len)
        return false;
    for (*exponent = 0; at < len; at++) {
        if (!is_digit(text[at]) || *exponent > EXPONENT_MAX)
            return false;
        *exponent = *exponent * 10 + (text[at] - '0');
    }
    if (negative)
        *exponent = -*exponent;
    return true;
}

/* digits[.digits][e[+-]digits] */
static bool parse_number(const char *text, size_t len, struct number *number)
{
    size_t end = 0, count = 0;
    bool point = false;
    *number = (struct number){.digits = text};
    for (; end < len && (is_digit(text[end]) || text[end] == '.'); end++) {
        if (text[end] == '.') {
            if (point)
                return false;
            point = true;
            continue;
        }
        count++;
        if (!point)
            number->whole++;
    }
    number->len = end;
    if (count == 0)
        return false;
    if (end == len)
        return true;
    return (text[end] == 'e' || text[end] == 'E') &&
           parse_exponent(text + end + 1, len - end - 1, &number->exponent);
}

static void append_digits(const struct number *number, size_t first, size_t last, bool negative,
                          struct tr_outbuf *out)
{
    for (size_t i = first; i <= last; i++) {
        char c = number->digits[i];
        if (c != '.')
            tr_outbuf_byte(out, negative ? (char)('0' + ('9' - c)) : c);
    }
}

/* With zeros in front; value has at most `digits` digits. */
static void put_padded(struct tr_outbuf *out, uint64_t value, unsigned digits)
{
    if (!tr_outbuf_reserve(out, digits))
        return;
    for (unsigned i = digits; i-- > 0; value /= 10)
        out->data[out->len + i] = (char)('0' + value % 10);
    out->len += digits;
}

static bool number_key(const char *text, size_t len, struct tr_outbuf *out)
{
    bool negative = len > 0 && text[0] == '-';
    if (len == 3 && memcmp(text, "NaN", 3) == 0) {
        tr_outbuf_byte(out, 'z');
        return true;
    }
    if (len > 0 && (text[0] == '-' || text[0] == '+')) {
        text++;
        len--;
    }
    if (len == 8 && memcmp(text, "Infinity", 8) == 0) {
        tr_outbuf_byte(out, negative ? 'a' : 'x');
        return true;
    }
    struct number number;
    if (!parse_number(text, len, &number))
        return false;
    size_t first = 0, last = number.len;
    while (first < number.len && (text[first] == '0' || text[first] == '.'))
        first++;
    if (first == number.len) {
        tr_outbuf_byte(out, 'o');
        return true;
    }
    do
        last--;
    while (text[last] == '0' || text[last] == '.');
    /* the first digit that counts stands this many places before the point */
    int64_t before = (int64_t)first - ((int64_t)first > number.whole ? 1 : 0);
    int64_t place = number.whole - before + number.exponent;
    if (place <= -PLACE_BIAS || place >= PLACE_BIAS)
        return false;
    tr_outbuf_byte(out, negative ? 'm' : 'p');
    put_padded(out, (uint64_t)(negative ? PLACE_BIAS - place : PLACE_BIAS + place), 7);
    append_digits(&number, first, last, negative, out);
    if (negative)
        tr_outbuf_byte(out, '~');
    return true;
}

static bool time_key(enum tr_type type, const char *text, size_t len, struct tr_outbuf *out)
{
    struct tr_instant instant = {.kind = TR_FINITE};
    if (type == TR_T_DATE ? !tr_date_parse(text, len, &instant.days, &instant.kind)
                          : !tr_timestamp_parse(text, len, &instant))
        return false;
    if (instant.kind != TR_FINITE)
        tr_outbuf_byte(out, instant.kind == TR_INFINITE ? 'z' : 'a');
    else {
        tr_outbuf_byte(out, 'm');
        put_padded(out, (uint64_t)(instant.days + DAYS_BIAS), 10);
        put_padded(out, (uint64_t)instant.us_of_day, 11);
    }
    return true;
}

bool tr_version_key(enum tr_type type, const struct tr_cell *cell, struct tr_outbuf *out)
{
    int64_t us;
    if (cell->state == TR_CELL_NULL)
        return true;
    if (cell->state != TR_CELL_TEXT)
        return false;
    switch (type) {
    case TR_T_STRING:
    case TR_T_UUID:
        tr_outbuf_byte(out, 's');
        tr_outbuf_bytes(out, cell->ptr, cell->len);
        return memchr(cell->ptr, 0, cell->len) == NULL;
    case TR_T_DATE:
    case TR_T_TIMESTAMP:
    case TR_T_TIMESTAMPTZ:
        return time_key(type, cell->ptr, cell->len, out);
    case TR_T_TIME:
        if (!tr_time_parse(cell->ptr, cell->len, &us))
            return false;
        tr_outbuf_byte(out, 'h');
        put_padded(out, (uint64_t)us, 11);
        return true;
    default:
        return tr_version_type(type) && number_key(cell->ptr, cell->len, out);
    }
}

/* Without zeros at the end of the fraction. */
static size_t decimal_len(const char *text, size_t len)
{
    if (memchr(text, '.', len) == NULL)
        return len;
    while (text[len - 1] == '0')
        len--;
    return text[len - 1] == '.' ? len - 1 : len;
}

void tr_key_text(struct tr_outbuf *out, unsigned index, enum tr_type type,
                 const struct tr_cell *cell)
{
    tr_outbuf_byte(out, index == 0 ? '[' : ',');
    if (cell->state == TR_CELL_TEXT) {
        size_t len = type == TR_T_DECIMAL ? decimal_len(cell->ptr, cell->len) : cell->len;
        tr_json_string(out, cell->ptr, len);
    } else if (cell->state == TR_CELL_BINARY) { /* as its canonical text */
        tr_outbuf_lit(out, "\"\\\\x");
        for (uint32_t i = 0; i < cell->len; i++)
            tr_outbuf_printf(out, "%02x", (unsigned)(unsigned char)cell->ptr[i]);
        tr_outbuf_byte(out, '"');
    } else {
        tr_outbuf_lit(out, "null");
    }
}
