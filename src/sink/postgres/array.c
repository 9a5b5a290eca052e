/* Values in binary form, for array parameters and for COPY: the target's backend then neither takes
 * a literal apart nor runs the input function of each element, which was a sixth of its work in a
 * stream of changes.
 *
 *   array:    int32 dimensions, int32 has NULLs, int32 element type; int32 length, int32 lower
 * bound; elements element:  int32 bytes, or -1 for NULL; then the bytes that the type's receive
 * function reads (array_recv and the …recv functions of the server's source; integers in network
 * order).
 *
 * A text is converted only where its meaning is beyond doubt: the canonical forms of
 * tailrace/event.h, within the range where no rule but that of the calendar and of decimal digits
 * counts. For anything else (infinity, BC, more digits than the type keeps, a 60th second, spaces,
 * another type's form) the whole array stays a literal, and the server judges, as it does when rows
 * go one by one. What a receive function checks itself (encoding, JSON syntax) it checks as the
 * input function does and with the same SQLSTATE.
 *
 * Not here: interval, timetz, and name, whose receive function refuses what its input function
 * cuts; types that were made by users, whose oids and binary forms are the server's own. */
#include "sink/postgres/array.h"

#include <errno.h>
#include <stdlib.h>

#include "base/civil.h"
#include "sink/postgres/encode.h"

#define EPOCH_DAYS 10957 /* 1970-01-01 to 2000-01-01, where the server's days and times begin */
#define US_PER_SECOND INT64_C(1000000)
#define US_PER_DAY (86400 * US_PER_SECOND)
#define FLOAT_TEXT_MAX 63
#define NUMERIC_TEXT_MAX 200 /* far within the type's own limits */
#define HEAD_BYTES 20

static void put_u32(char *at, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        at[i] = (char)(unsigned char)(value >> (24 - 8 * i));
}

/* A value of `bytes` bytes, at most 8, from the low end of `value`. */
static bool put_value(struct tr_outbuf *out, uint64_t value, uint32_t bytes)
{
    if (out->capacity - out->len < 12 && !tr_outbuf_reserve(out, 12))
        return true; /* out->failed says so */
    char *at = out->data + out->len;
    put_u32(at, bytes);
    value <<= 64 - 8 * bytes;
    for (int i = 0; i < 8; i++) /* all eight: the compiler makes one store of it */
        at[4 + i] = (char)(unsigned char)(value >> (56 - 8 * i));
    out->len += 4 + bytes;
    return true;
}

static bool put_null(struct tr_outbuf *out)
{
    tr_outbuf_bytes(out, "\xff\xff\xff\xff", 4);
    return true;
}

static char *put_room(struct tr_outbuf *out, uint32_t bytes) /* NULL: out->failed */
{
    size_t all = (size_t)bytes + 4;
    if (out->capacity - out->len < all && !tr_outbuf_reserve(out, all))
        return NULL;
    char *at = out->data + out->len;
    put_u32(at, bytes);
    out->len += all;
    return at + 4;
}

/* ---- numbers ---- */

/* Digits only, 19 at most: every such number fits. */
static bool digits_of(const char *at, size_t len, uint64_t *out)
{
    uint64_t value = 0;
    if (len == 0 || len > 19)
        return false;
    for (size_t i = 0; i < len; i++) {
        unsigned digit = (unsigned)(unsigned char)at[i] - '0';
        if (digit > 9)
            return false;
        value = value * 10 + digit;
    }
    *out = value;
    return true;
}

static bool put_int(struct tr_outbuf *out, const struct tr_cell *cell, uint64_t most,
                    uint32_t bytes)
{
    uint64_t value;
    bool negative = cell->len > 0 && *cell->ptr == '-';
    if (!digits_of(cell->ptr + negative, cell->len - negative, &value) || value > most + negative)
        return false;
    return put_value(out, negative ? 0 - value : value, bytes);
}

static bool put_int2(struct tr_outbuf *out, const struct tr_cell *cell)
{
    return put_int(out, cell, INT16_MAX, 2);
}

static bool put_int4(struct tr_outbuf *out, const struct tr_cell *cell)
{
    return put_int(out, cell, INT32_MAX, 4);
}

static bool put_int8(struct tr_outbuf *out, const struct tr_cell *cell)
{
    return put_int(out, cell, INT64_MAX, 8);
}

static bool put_oid(struct tr_outbuf *out, const struct tr_cell *cell)
{
    uint64_t value;
    return digits_of(cell->ptr, cell->len, &value) && value <= UINT32_MAX &&
           put_value(out, value, 4);
}

static bool put_bool(struct tr_outbuf *out, const struct tr_cell *cell)
{
    return cell->len == 1 && (*cell->ptr == 't' || *cell->ptr == 'f') &&
           put_value(out, *cell->ptr == 't', 1);
}

/* A decimal number with a NUL behind it: not NaN, infinity, hexadecimal, or with spaces. */
static bool float_text(const struct tr_cell *cell, char text[FLOAT_TEXT_MAX + 1])
{
    if (cell->len == 0 || cell->len > FLOAT_TEXT_MAX)
        return false;
    for (uint32_t i = 0; i < cell->len; i++) {
        char c = cell->ptr[i];
        if ((c < '0' || c > '9') && c != '-' && c != '.' && c != 'e' && c != '+')
            return false;
        text[i] = c;
    }
    text[cell->len] = '\0';
    return text[0] != '+';
}

/* The server's input functions are strtof and strtod too; both round correctly. Too large and too
 * small ones are the server's to refuse. */
static bool put_float4(struct tr_outbuf *out, const struct tr_cell *cell)
{
    char text[FLOAT_TEXT_MAX + 1], *end;
    if (!float_text(cell, text))
        return false;
    errno = 0;
    union {
        float number;
        uint32_t bits;
    } value = {.number = strtof(text, &end)};
    return errno == 0 && end == text + cell->len && put_value(out, value.bits, 4);
}

static bool put_float8(struct tr_outbuf *out, const struct tr_cell *cell)
{
    char text[FLOAT_TEXT_MAX + 1], *end;
    if (!float_text(cell, text))
        return false;
    errno = 0;
    union {
        double number;
        uint64_t bits;
    } value = {.number = strtod(text, &end)};
    return errno == 0 && end == text + cell->len && put_value(out, value.bits, 8);
}

/* The decimal digit that stands `place` digits before (place > 0: 1 is the ones) or behind (place
 * <= 0: 0 is the tenths) the point of whole.fraction; 0 where there is none. */
static unsigned digit_at(const char *point, int whole, int fraction, int place)
{
    if (place > 0)
        return place > whole ? 0 : (unsigned)(point[-place] - '0');
    return -place >= fraction ? 0 : (unsigned)(point[1 - place] - '0');
}

/* int16 count of digits of base 10000, int16 weight of the first, sign, int16 decimal digits behind
 * the point that are shown; the digits, aligned at the point, without zeros at either end. */
static bool put_numeric_digits(struct tr_outbuf *out, const char *point, int whole, int fraction,
                               bool negative)
{
    uint16_t digits[NUMERIC_TEXT_MAX / 4 + 2];
    int count = 0, used = 0, weight = (whole + 3) / 4 - 1;
    for (int place = (weight + 1) * 4; place > -fraction; place -= 4) {
        unsigned digit = 0;
        for (int i = 0; i < 4; i++)
            digit = digit * 10 + digit_at(point, whole, fraction, place - i);
        if (count == 0 && digit == 0) {
            weight--;
            continue;
        }
        digits[count++] = (uint16_t)digit;
        used = digit != 0 ? count : used;
    }
    char *at = put_room(out, 8 + 2 * (uint32_t)used);
    if (at == NULL)
        return true;
    put_u32(at, (uint32_t)used << 16 | (used == 0 ? 0 : (uint16_t)weight));
    put_u32(at + 4, (negative && used > 0 ? UINT32_C(0x40000000) : 0) | (uint32_t)fraction);
    for (int i = 0; i < used; i++) {
        at[8 + 2 * i] = (char)(unsigned char)(digits[i] >> 8);
        at[9 + 2 * i] = (char)(unsigned char)(digits[i] & 255);
    }
    return true;
}

static bool put_numeric(struct tr_outbuf *out, const struct tr_cell *cell)
{
    bool negative = cell->len > 0 && *cell->ptr == '-';
    const char *text = cell->ptr + negative, *point = NULL;
    int len = (int)cell->len - negative;
    if (cell->len > NUMERIC_TEXT_MAX || len == 0)
        return false;
    for (int i = 0; i < len; i++) {
        if (text[i] == '.' && point == NULL)
            point = text + i;
        else if (text[i] < '0' || text[i] > '9')
            return false;
    }
    if (point == NULL)
        return put_numeric_digits(out, text + len, len, 0, negative);
    int whole = (int)(point - text);
    if (whole == 0 || whole == len - 1)
        return false;
    return put_numeric_digits(out, point, whole, len - whole - 1, negative);
}

/* ---- texts and bytes ---- */

static bool put_text(struct tr_outbuf *out, const struct tr_cell *cell)
{
    char *at = put_room(out, cell->len);
    if (at != NULL)
        memcpy(at, cell->ptr, cell->len);
    return true;
}

static bool put_jsonb(struct tr_outbuf *out, const struct tr_cell *cell)
{
    char *at = cell->len == UINT32_MAX ? NULL : put_room(out, cell->len + 1);
    if (at != NULL) {
        *at = 1; /* the form's version */
        memcpy(at + 1, cell->ptr, cell->len);
    }
    return cell->len < UINT32_MAX;
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool hex_bytes(const char *text, size_t bytes, char *out)
{
    for (size_t i = 0; i < bytes; i++) {
        int high = hex_value(text[2 * i]), low = hex_value(text[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        out[i] = (char)(unsigned char)(high << 4 | low);
    }
    return true;
}

static bool put_bytea(struct tr_outbuf *out, const struct tr_cell *cell)
{
    if (cell->len < 2 || cell->len % 2 != 0 || cell->ptr[0] != '\\' || cell->ptr[1] != 'x')
        return false;
    char *at = put_room(out, cell->len / 2 - 1);
    return at == NULL || hex_bytes(cell->ptr + 2, cell->len / 2 - 1, at);
}

static bool put_uuid(struct tr_outbuf *out, const struct tr_cell *cell)
{
    static const unsigned char places[] = {0, 9, 14, 19, 24, 36}; /* of each group; the end */
    if (cell->len != 36)
        return false;
    char *at = put_room(out, 16);
    for (int i = 0; at != NULL && i < 5; i++) {
        unsigned digits = (unsigned)places[i + 1] - places[i] - (i < 4);
        if ((i > 0 && cell->ptr[places[i] - 1] != '-') ||
            !hex_bytes(cell->ptr + places[i], digits / 2, at))
            return false;
        at += digits / 2;
    }
    return true;
}

/* ---- dates and times ---- */

/* YYYY-MM-DD, years 1 to 9999 → days since 2000-01-01. */
static bool date_of(const char *at, int64_t *days)
{
    int century, rest, month, day;
    if (!tr_two_digits(at, 99, &century) || !tr_two_digits(at + 2, 99, &rest) || at[4] != '-' ||
        !tr_two_digits(at + 5, 12, &month) || at[7] != '-' || !tr_two_digits(at + 8, 31, &day))
        return false;
    int year = century * 100 + rest;
    if (year == 0 || month == 0 || day == 0 || day > tr_days_in_month(year, month))
        return false;
    *days = tr_days_from_civil(year, month, day) - EPOCH_DAYS;
    return true;
}

/* HH:MM:SS[.ffffff], before 24:00 → µs. */
static bool time_of(const char *at, size_t len, int64_t *us)
{
    int hour, minute, second;
    if (len < 8 || !tr_two_digits(at, 23, &hour) || at[2] != ':' ||
        !tr_two_digits(at + 3, 59, &minute) || at[5] != ':' || !tr_two_digits(at + 6, 59, &second))
        return false;
    *us = ((int64_t)hour * 3600 + minute * 60 + second) * US_PER_SECOND;
    if (len == 8)
        return true;
    uint64_t fraction;
    if (at[8] != '.' || len > 15 || !digits_of(at + 9, len - 9, &fraction))
        return false;
    for (size_t i = len - 9; i < 6; i++)
        fraction *= 10;
    *us += (int64_t)fraction;
    return true;
}

static bool put_date(struct tr_outbuf *out, const struct tr_cell *cell)
{
    int64_t days;
    return cell->len == 10 && date_of(cell->ptr, &days) && put_value(out, (uint64_t)days, 4);
}

static bool put_time(struct tr_outbuf *out, const struct tr_cell *cell)
{
    int64_t us;
    return time_of(cell->ptr, cell->len, &us) && put_value(out, (uint64_t)us, 8);
}

static bool moment(struct tr_outbuf *out, const char *text, size_t len)
{
    int64_t days, us;
    return len >= 19 && text[10] == ' ' && date_of(text, &days) &&
           time_of(text + 11, len - 11, &us) &&
           put_value(out, (uint64_t)(days * US_PER_DAY + us), 8);
}

static bool put_timestamp(struct tr_outbuf *out, const struct tr_cell *cell)
{
    return moment(out, cell->ptr, cell->len);
}

/* With +00. Without a zone it would be the session's: left to the server. */
static bool put_timestamptz(struct tr_outbuf *out, const struct tr_cell *cell)
{
    return cell->len > 3 && memcmp(cell->ptr + cell->len - 3, "+00", 3) == 0 &&
           moment(out, cell->ptr, cell->len - 3);
}

/* ---- arrays ---- */

tr_pgs_value_fn tr_pgs_value_of(uint32_t type)
{
    switch (type) { /* pg_type.dat of the server's source; fixed for good */
    case 16:
        return put_bool;
    case 17:
        return put_bytea;
    case 20:
        return put_int8;
    case 21:
        return put_int2;
    case 23:
        return put_int4;
    case TR_PGS_TEXT_OID:
    case 114:  /* json */
    case 1042: /* bpchar; blanks and length are the assignment's, as with a literal */
    case 1043: /* varchar */
        return put_text;
    case 26:
        return put_oid;
    case 700:
        return put_float4;
    case 701:
        return put_float8;
    case 1082:
        return put_date;
    case 1083:
        return put_time;
    case 1114:
        return put_timestamp;
    case 1184:
        return put_timestamptz;
    case 1700:
        return put_numeric;
    case 2950:
        return put_uuid;
    case 3802:
        return put_jsonb;
    default:
        return NULL;
    }
}

static bool binary_array(struct tr_outbuf *out, uint32_t element_type,
                         const struct tr_cell *const *cells, uint32_t count)
{
    tr_pgs_value_fn put = tr_pgs_value_of(element_type);
    bool nulls = false;
    if (put == NULL || count > INT32_MAX || !tr_outbuf_reserve(out, HEAD_BYTES))
        return false;
    out->len = HEAD_BYTES;
    for (uint32_t i = 0; i < count; i++) {
        if (cells[i]->state != TR_CELL_TEXT) {
            nulls = put_null(out);
        } else if (!put(out, cells[i])) {
            return false;
        }
    }
    put_u32(out->data, 1);
    put_u32(out->data + 4, nulls);
    put_u32(out->data + 8, element_type);
    put_u32(out->data + 12, count);
    put_u32(out->data + 16, 1);
    return true;
}

bool tr_pgs_array(struct tr_outbuf *out, uint32_t element_type, bool plain,
                  const struct tr_cell *const *cells, uint32_t count)
{
    tr_outbuf_clear(out);
    if (binary_array(out, element_type, cells, count))
        return true;
    tr_outbuf_clear(out);
    for (uint32_t i = 0; i < count; i++) {
        tr_outbuf_byte(out, i == 0 ? '{' : ',');
        tr_pgs_array_item(out, cells[i], plain);
    }
    tr_outbuf_byte(out, '}');
    (void)tr_outbuf_cstr(out);
    return false;
}
