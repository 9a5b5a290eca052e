/* Cells → JSON values, by shape. Arrays are decoded from PostgreSQL's literals:
 *
 *   array   := [ "[" bounds "]" "=" ] "{" item { delimiter item } "}" | "{}"
 *   item    := array | NULL | word | '"' { char | "\" char } '"'
 *
 * and hstore from   pair { ", " pair },  pair := string "=>" ( string | NULL ). */
#include "encode/value.h"

#include <math.h>
#include <stdlib.h>

#include "encode/datetime.h"
#include "encode/json.h"

#define ARRAY_DEPTH_MAX 6 /* PostgreSQL's MAXDIM */

static bool write_kind(struct tr_value_writer *writer, const struct tr_shape *shape,
                       enum tr_shape_kind kind, const char *text, size_t len,
                       struct tr_outbuf *out);

void tr_value_writer_free(struct tr_value_writer *writer)
{
    tr_decimal_scratch_free(&writer->decimal);
    tr_outbuf_free(&writer->element);
    tr_outbuf_free(&writer->text);
    tr_outbuf_free(&writer->json);
}

/* ---- decimals -----------------------------------------------------------------------------------
 */

static bool is_special_decimal(const char *text, size_t len)
{
    return len > 0 && (text[len - 1] == 'N' || text[len - 1] == 'y'); /* NaN, [-]Infinity */
}

/* "-$1,234.56", "(1.234,56 €)" → -1234.56: the last '.' or ',' with two digits behind it is the
 * point. */
static void normalize_money(struct tr_value_writer *writer, const char **text, size_t *len)
{
    struct tr_outbuf *plain = &writer->text;
    size_t point = *len, digits_behind = 0;
    bool negative = false;
    for (size_t i = *len; i-- > 0;) {
        char c = (*text)[i];
        if (c == '-' || c == '(')
            negative = true;
        else if (c >= '0' && c <= '9' && point == *len)
            digits_behind++;
        else if ((c == '.' || c == ',') && point == *len && digits_behind <= 2)
            point = i;
    }
    tr_outbuf_clear(plain);
    if (negative)
        tr_outbuf_byte(plain, '-');
    for (size_t i = 0; i < *len; i++) {
        char c = (*text)[i];
        if (i == point)
            tr_outbuf_byte(plain, '.');
        else if (c >= '0' && c <= '9')
            tr_outbuf_byte(plain, c);
    }
    *text = tr_outbuf_cstr(plain);
    *len = plain->len;
}

static bool write_decimal_bytes(struct tr_value_writer *writer, size_t scale, const char *text,
                                size_t len, bool variable, struct tr_outbuf *out)
{
    struct tr_decimal decimal;
    if (!tr_decimal_parse(text, len, &decimal))
        return false;
    if (variable) {
        tr_decimal_strip(&decimal);
        scale = decimal.fraction_len;
        tr_outbuf_lit(out, "{\"scale\":");
        tr_outbuf_u64(out, scale);
        tr_outbuf_lit(out, ",\"value\":");
    }
    if (!tr_decimal_unscaled(&decimal, scale, &writer->decimal))
        return false;
    out->failed |= writer->decimal.bytes.failed;
    tr_outbuf_byte(out, '"');
    tr_json_base64(out, writer->decimal.bytes.data, writer->decimal.bytes.len, TR_BASE64_STANDARD);
    tr_outbuf_byte(out, '"');
    if (variable)
        tr_outbuf_byte(out, '}');
    return true;
}

/* NaN and infinity: no place in a Decimal (null, as in Debezium), Debezium's words as a string. */
static bool write_special_decimal(struct tr_value_writer *writer, enum tr_shape_kind kind,
                                  const char *text, size_t len, struct tr_outbuf *out)
{
    switch (kind) {
    case TR_SHAPE_DECIMAL_STRING:
        tr_outbuf_str(out, text[0] == 'N'   ? "\"NAN\""
                           : text[0] == '-' ? "\"NEGATIVE_INFINITY\""
                                            : "\"POSITIVE_INFINITY\"");
        return true;
    case TR_SHAPE_DECIMAL_DOUBLE:
    case TR_SHAPE_DECIMAL_NUMBER:
        return tr_json_float(out, text, len);
    default:
        writer->lossy_count++;
        tr_outbuf_lit(out, "null");
        return true;
    }
}

/* A NUL-terminated copy for strtod, in the writer's text buffer unless (money) it is there already.
 */
static double parse_double(struct tr_value_writer *writer, const char *text, size_t len)
{
    if (text != writer->text.data) {
        tr_outbuf_clear(&writer->text);
        tr_outbuf_bytes(&writer->text, text, len);
    }
    return strtod(tr_outbuf_cstr(&writer->text), NULL);
}

static bool write_decimal(struct tr_value_writer *writer, const struct tr_shape *shape,
                          enum tr_shape_kind kind, const char *text, size_t len,
                          struct tr_outbuf *out)
{
    struct tr_decimal decimal;
    if (shape->money)
        normalize_money(writer, &text, &len);
    if (is_special_decimal(text, len))
        return write_special_decimal(writer, kind, text, len, out);
    switch (kind) {
    case TR_SHAPE_DECIMAL_BYTES:
        return write_decimal_bytes(writer, (size_t)shape->scale, text, len, false, out);
    case TR_SHAPE_DECIMAL_VARIABLE:
        return write_decimal_bytes(writer, 0, text, len, true, out);
    case TR_SHAPE_DECIMAL_DOUBLE:
        if (!tr_decimal_parse(text, len, &decimal))
            return false;
        tr_json_double(out, parse_double(writer, text, len));
        return true;
    case TR_SHAPE_DECIMAL_NUMBER:
        if (!tr_decimal_parse(text, len, &decimal))
            return false;
        if (decimal.negative)
            tr_outbuf_byte(out, '-');
        if (decimal.whole_len == 0)
            tr_outbuf_byte(out, '0');
        tr_outbuf_bytes(out, decimal.whole, decimal.whole_len);
        if (decimal.fraction_len > 0) {
            tr_outbuf_byte(out, '.');
            tr_outbuf_bytes(out, decimal.fraction, decimal.fraction_len);
        }
        return true;
    default:
        tr_json_string(out, text, len);
        return true;
    }
}

/* ---- bytes, bits, points ------------------------------------------------------------------------
 */

static bool write_bytes(enum tr_shape_kind kind, const char *text, size_t len, bool binary,
                        struct tr_outbuf *out)
{
    enum tr_base64_alphabet alphabet =
        kind == TR_SHAPE_BYTES_BASE64_URL ? TR_BASE64_URL : TR_BASE64_STANDARD;
    bool fine = true;
    tr_outbuf_byte(out, '"');
    if (binary) {
        static const char hex[] = "0123456789abcdef";
        if (kind != TR_SHAPE_BYTES_HEX) {
            tr_json_base64(out, text, len, alphabet);
        } else if (tr_outbuf_reserve(out, len * 2)) {
            for (size_t i = 0; i < len; i++) {
                tr_outbuf_byte(out, hex[(unsigned char)text[i] >> 4]);
                tr_outbuf_byte(out, hex[(unsigned char)text[i] & 15]);
            }
        }
    } else if (len < 2 || text[0] != '\\' || text[1] != 'x') {
        return false;
    } else if (kind == TR_SHAPE_BYTES_HEX) {
        tr_json_escape(out, text + 2, len - 2);
    } else {
        fine = tr_json_hex_base64(out, text + 2, len - 2, alphabet);
    }
    tr_outbuf_byte(out, '"');
    return fine;
}

/* The rightmost bit is bit 0 of byte 0; zero bytes at the end are left out, as in Java's BitSet. */
static bool write_bits(struct tr_value_writer *writer, const char *text, size_t len,
                       struct tr_outbuf *out)
{
    struct tr_outbuf *bytes = &writer->json;
    size_t size = (len + 7) / 8;
    tr_outbuf_clear(bytes);
    if (!tr_outbuf_reserve(bytes, size + 1)) {
        out->failed = true;
        return true;
    }
    memset(bytes->data, 0, size + 1);
    for (size_t i = 0; i < len; i++) {
        char c = text[len - 1 - i];
        if (c != '0' && c != '1')
            return false;
        if (c == '1')
            bytes->data[i / 8] = (char)((unsigned char)bytes->data[i / 8] | 1u << (i % 8));
    }
    while (size > 0 && bytes->data[size - 1] == 0)
        size--;
    tr_outbuf_byte(out, '"');
    tr_json_base64(out, bytes->data, size, TR_BASE64_STANDARD);
    tr_outbuf_byte(out, '"');
    return true;
}

static void put_double_le(unsigned char *to, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    for (int i = 0; i < 8; i++)
        to[i] = (unsigned char)(bits >> (8 * i));
}

/* OGC well-known binary of a 2D point, little-endian. */
static void write_wkb_point(double x, double y, struct tr_outbuf *out)
{
    unsigned char wkb[21] = {1, 1, 0, 0, 0};
    put_double_le(wkb + 5, x);
    put_double_le(wkb + 13, y);
    tr_json_base64(out, wkb, sizeof wkb, TR_BASE64_STANDARD);
}

static bool write_point(struct tr_value_writer *writer, enum tr_shape_kind kind, const char *text,
                        size_t len, struct tr_outbuf *out)
{
    const char *comma = len > 2 ? memchr(text, ',', len) : NULL;
    if (comma == NULL || text[0] != '(' || text[len - 1] != ')')
        return false;
    size_t x_len = (size_t)(comma - text) - 1, y_len = len - x_len - 3;
    tr_outbuf_lit(out, "{\"x\":");
    if (!tr_json_float(out, text + 1, x_len))
        return false;
    tr_outbuf_lit(out, ",\"y\":");
    if (!tr_json_float(out, comma + 1, y_len))
        return false;
    if (kind == TR_SHAPE_POINT_WKB) {
        double x, y;
        char buf[64];
        if (x_len >= sizeof buf || y_len >= sizeof buf)
            return false;
        memcpy(buf, text + 1, x_len);
        buf[x_len] = '\0';
        x = strtod(buf, NULL);
        memcpy(buf, comma + 1, y_len);
        buf[y_len] = '\0';
        y = strtod(buf, NULL);
        tr_outbuf_lit(out, ",\"wkb\":\"");
        write_wkb_point(x, y, out);
        tr_outbuf_lit(out, "\",\"srid\":null");
    }
    tr_outbuf_byte(out, '}');
    (void)writer;
    return true;
}

static uint32_t hex_u32(const char *hex, bool little)
{
    uint32_t value = 0;
    for (size_t i = 0; i < 4; i++) {
        char pair[3] = {hex[2 * i], hex[2 * i + 1], 0};
        uint32_t byte = (uint32_t)strtoul(pair, NULL, 16);
        value |= byte << (little ? 8 * i : 24 - 8 * i);
    }
    return value;
}

/* EWKB: byte order, type with flag 0x20000000 when an SRID follows. */
static bool write_geometry(const char *text, size_t len, struct tr_outbuf *out)
{
    if (len < 10)
        return false;
    bool little = text[1] == '1';
    uint32_t type = hex_u32(text + 2, little);
    tr_outbuf_lit(out, "{\"wkb\":\"");
    if (!tr_json_hex_base64(out, text, len, TR_BASE64_STANDARD))
        return false;
    tr_outbuf_lit(out, "\",\"srid\":");
    if ((type & 0x20000000u) != 0 && len >= 18)
        tr_outbuf_u64(out, hex_u32(text + 10, little));
    else
        tr_outbuf_lit(out, "null");
    tr_outbuf_byte(out, '}');
    return true;
}

static bool write_vector(const char *text, size_t len, struct tr_outbuf *out)
{
    if (len < 2 || text[0] != '[' || text[len - 1] != ']')
        return false;
    tr_outbuf_byte(out, '[');
    for (size_t i = 1; i < len - 1;) {
        const char *comma = memchr(text + i, ',', len - 1 - i);
        size_t end = comma == NULL ? len - 1 : (size_t)(comma - text);
        if (i > 1)
            tr_outbuf_byte(out, ',');
        if (!tr_json_float(out, text + i, end - i))
            return false;
        i = end + 1;
    }
    tr_outbuf_byte(out, ']');
    return true;
}

/* ---- dates and times ----------------------------------------------------------------------------
 */

static int64_t scaled(int64_t us, enum tr_shape_kind kind)
{
    int64_t value;
    switch (kind) {
    case TR_SHAPE_TIME_MS:
    case TR_SHAPE_TIMESTAMP_MS: /* towards the past, as Instant.toEpochMilli */
        return us / 1000 - (us % 1000 < 0);
    case TR_SHAPE_TIME_NS:
    case TR_SHAPE_TIMESTAMP_NS: /* outside 1677..2262 the nearest that 64 bits hold */
        if (__builtin_mul_overflow(us, INT64_C(1000), &value))
            value = us < 0 ? INT64_MIN : INT64_MAX;
        return value;
    default:
        return us;
    }
}

static bool write_date(enum tr_shape_kind kind, const char *text, size_t len, struct tr_outbuf *out)
{
    int64_t days;
    enum tr_instant_kind instant;
    if (!tr_date_parse(text, len, &days, &instant))
        return false;
    if (kind == TR_SHAPE_DATE_DAYS) {
        tr_outbuf_i64(out, days);
        return true;
    }
    tr_outbuf_byte(out, '"');
    if (kind == TR_SHAPE_DATE_ISO && instant != TR_FINITE)
        tr_outbuf_bytes(out, text, len);
    else
        tr_iso_date(out, days);
    if (kind == TR_SHAPE_DATE_ISO_ZONE)
        tr_outbuf_byte(out, 'Z');
    tr_outbuf_byte(out, '"');
    return true;
}

static bool write_time(enum tr_shape_kind kind, const char *text, size_t len, struct tr_outbuf *out)
{
    int64_t us;
    if (kind == TR_SHAPE_TIMETZ_ISO ? !tr_timetz_parse(text, len, &us)
                                    : !tr_time_parse(text, len, &us))
        return false;
    if (kind != TR_SHAPE_TIME_ISO_ZONE && kind != TR_SHAPE_TIMETZ_ISO) {
        tr_outbuf_i64(out, scaled(us, kind));
        return true;
    }
    tr_outbuf_byte(out, '"');
    tr_iso_time(out, us % TR_US_PER_DAY, -1);
    tr_outbuf_lit(out, "Z\"");
    return true;
}

#define DATE_BYTES 10 /* of a text that is copied */

static bool write_timestamp(const struct tr_shape *shape, enum tr_shape_kind kind, const char *text,
                            size_t len, struct tr_outbuf *out)
{
    struct tr_instant instant;
    bool iso = kind == TR_SHAPE_TIMESTAMP_ISO || kind == TR_SHAPE_TIMESTAMP_ISO_ZONE ||
               (kind == TR_SHAPE_TIMESTAMPTZ_ISO && shape->fraction_digits < 0);
    size_t iso_len = iso ? tr_timestamp_iso_len(text, len) : 0;
    if (iso_len > 0) {
        tr_outbuf_byte(out, '"');
        tr_outbuf_bytes(out, text, DATE_BYTES);
        tr_outbuf_byte(out, shape->separator);
        tr_outbuf_bytes(out, text + DATE_BYTES + 1, iso_len - DATE_BYTES - 1);
        tr_outbuf_str(out, kind == TR_SHAPE_TIMESTAMP_ISO ? "\"" : "Z\"");
        return true;
    }
    if (!tr_timestamp_parse(text, len, &instant))
        return false;
    switch (kind) {
    case TR_SHAPE_TIMESTAMP_MS:
    case TR_SHAPE_TIMESTAMP_US:
    case TR_SHAPE_TIMESTAMP_NS:
        tr_outbuf_i64(out, scaled(tr_instant_us(&instant), kind));
        return true;
    default:
        break;
    }
    tr_outbuf_byte(out, '"');
    if (instant.kind != TR_FINITE && kind != TR_SHAPE_TIMESTAMP_ISO_ZONE) {
        tr_outbuf_bytes(out, text, len);
    } else {
        tr_iso_timestamp(out, &instant, shape->separator,
                         kind == TR_SHAPE_TIMESTAMPTZ_ISO ? shape->fraction_digits : -1);
        if (kind != TR_SHAPE_TIMESTAMP_ISO)
            tr_outbuf_byte(out, 'Z');
    }
    tr_outbuf_byte(out, '"');
    return true;
}

static bool write_interval(enum tr_shape_kind kind, const char *text, size_t len,
                           struct tr_outbuf *out)
{
    struct tr_interval interval;
    if (!tr_interval_parse(text, len, &interval))
        return false;
    if (kind == TR_SHAPE_INTERVAL_US) {
        tr_outbuf_i64(out, tr_interval_us(&interval));
        return true;
    }
    tr_outbuf_byte(out, '"');
    tr_iso_interval(out, &interval);
    tr_outbuf_byte(out, '"');
    return true;
}

/* ---- arrays and hstore --------------------------------------------------------------------------
 */

/* From the opening quote; leaves *at behind the closing one and the content in `to`. */
static bool read_quoted(const char **at, const char *end, struct tr_outbuf *to)
{
    const char *p = *at + 1;
    tr_outbuf_clear(to);
    for (;;) {
        const char *start = p;
        while (p < end && *p != '"' && *p != '\\')
            p++;
        tr_outbuf_bytes(to, start, (size_t)(p - start));
        if (p == end)
            return false;
        if (*p == '"')
            break;
        if (++p == end)
            return false;
        tr_outbuf_byte(to, *p++);
    }
    *at = p + 1;
    return true;
}

static bool write_item(struct tr_value_writer *writer, const struct tr_shape *shape,
                       const char **at, const char *end, struct tr_outbuf *out)
{
    if (**at == '"') {
        if (!read_quoted(at, end, &writer->element))
            return false;
        const char *element = tr_outbuf_cstr(&writer->element);
        out->failed |= writer->element.failed;
        return write_kind(writer, shape, shape->elem_kind, element, writer->element.len, out);
    }
    const char *start = *at;
    while (*at < end && **at != shape->delimiter && **at != '}')
        (*at)++;
    size_t len = (size_t)(*at - start);
    if (len == 4 && memcmp(start, "NULL", 4) == 0) {
        tr_outbuf_lit(out, "null");
        return true;
    }
    return len > 0 && write_kind(writer, shape, shape->elem_kind, start, len, out);
}

static bool write_array(struct tr_value_writer *writer, const struct tr_shape *shape,
                        const char *text, size_t len, struct tr_outbuf *out)
{
    const char *at = text, *end = text + len;
    if (len > 0 && *at == '[') { /* lower bounds other than 1: not part of the value */
        at = memchr(text, '=', len);
        if (at == NULL)
            return false;
        at++;
    }
    int depth = 0;
    bool item_next = true; /* else a delimiter or a closing brace */
    while (at < end) {
        if (item_next && *at == '{') {
            if (++depth > ARRAY_DEPTH_MAX)
                return false;
            tr_outbuf_byte(out, '[');
            at++;
            if (at < end && *at == '}') /* empty */
                item_next = false;
        } else if (item_next) {
            if (depth == 0 || !write_item(writer, shape, &at, end, out))
                return false;
            item_next = false;
        } else if (*at == '}') {
            if (depth-- == 0)
                return false;
            tr_outbuf_byte(out, ']');
            at++;
            if (depth == 0)
                return at == end;
        } else if (*at == shape->delimiter) {
            tr_outbuf_byte(out, ',');
            at++;
            item_next = true;
        } else {
            return false;
        }
    }
    return false;
}

static bool skip_blanks(const char **at, const char *end)
{
    while (*at < end && **at == ' ')
        (*at)++;
    return *at < end;
}

static bool write_hstore(struct tr_value_writer *writer, const char *text, size_t len,
                         struct tr_outbuf *out)
{
    const char *at = text, *end = text + len;
    tr_outbuf_byte(out, '{');
    for (bool first = true; skip_blanks(&at, end); first = false) {
        if (!first) {
            if (*at++ != ',' || !skip_blanks(&at, end))
                return false;
            tr_outbuf_byte(out, ',');
        }
        if (*at != '"' || !read_quoted(&at, end, &writer->text))
            return false;
        tr_json_string(out, tr_outbuf_cstr(&writer->text), writer->text.len);
        if (end - at < 3 || at[0] != '=' || at[1] != '>')
            return false;
        at += 2;
        tr_outbuf_byte(out, ':');
        if (*at == '"') {
            if (!read_quoted(&at, end, &writer->text))
                return false;
            tr_json_string(out, tr_outbuf_cstr(&writer->text), writer->text.len);
        } else if (end - at >= 4 && memcmp(at, "NULL", 4) == 0) {
            tr_outbuf_lit(out, "null");
            at += 4;
        } else {
            return false;
        }
    }
    out->failed |= writer->text.failed;
    tr_outbuf_byte(out, '}');
    return true;
}

static bool write_hstore_string(struct tr_value_writer *writer, const char *text, size_t len,
                                struct tr_outbuf *out)
{
    tr_outbuf_clear(&writer->json);
    if (!write_hstore(writer, text, len, &writer->json))
        return false;
    out->failed |= writer->json.failed;
    tr_json_string(out, writer->json.data, writer->json.len);
    return true;
}

/* ---- all ----------------------------------------------------------------------------------------
 */

static bool write_boolean(const char *text, size_t len, struct tr_outbuf *out)
{
    if (len != 1 || (text[0] != 't' && text[0] != 'f' && text[0] != '1' && text[0] != '0'))
        return false;
    tr_outbuf_str(out, text[0] == 't' || text[0] == '1' ? "true" : "false");
    return true;
}

static bool write_kind(struct tr_value_writer *writer, const struct tr_shape *shape,
                       enum tr_shape_kind kind, const char *text, size_t len, struct tr_outbuf *out)
{
    switch (kind) {
    case TR_SHAPE_STRING:
        tr_json_string(out, text, len);
        return true;
    case TR_SHAPE_INTEGER:
        return tr_json_integer(out, text, len);
    case TR_SHAPE_BOOLEAN:
    case TR_SHAPE_BITS_BOOLEAN:
        return write_boolean(text, len, out);
    case TR_SHAPE_FLOAT:
        return tr_json_float(out, text, len);
    case TR_SHAPE_DECIMAL_BYTES:
    case TR_SHAPE_DECIMAL_VARIABLE:
    case TR_SHAPE_DECIMAL_DOUBLE:
    case TR_SHAPE_DECIMAL_STRING:
    case TR_SHAPE_DECIMAL_NUMBER:
        return write_decimal(writer, shape, kind, text, len, out);
    case TR_SHAPE_BYTES_BASE64:
    case TR_SHAPE_BYTES_BASE64_URL:
    case TR_SHAPE_BYTES_HEX:
        return write_bytes(kind, text, len, false, out);
    case TR_SHAPE_DATE_DAYS:
    case TR_SHAPE_DATE_ISO_ZONE:
    case TR_SHAPE_DATE_ISO:
        return write_date(kind, text, len, out);
    case TR_SHAPE_TIME_MS:
    case TR_SHAPE_TIME_US:
    case TR_SHAPE_TIME_NS:
    case TR_SHAPE_TIME_ISO_ZONE:
    case TR_SHAPE_TIMETZ_ISO:
        return write_time(kind, text, len, out);
    case TR_SHAPE_TIMESTAMP_MS:
    case TR_SHAPE_TIMESTAMP_US:
    case TR_SHAPE_TIMESTAMP_NS:
    case TR_SHAPE_TIMESTAMP_ISO_ZONE:
    case TR_SHAPE_TIMESTAMP_ISO:
    case TR_SHAPE_TIMESTAMPTZ_ISO:
        return write_timestamp(shape, kind, text, len, out);
    case TR_SHAPE_INTERVAL_US:
    case TR_SHAPE_INTERVAL_ISO:
        return write_interval(kind, text, len, out);
    case TR_SHAPE_BITS_BYTES:
        return write_bits(writer, text, len, out);
    case TR_SHAPE_POINT_WKB:
    case TR_SHAPE_POINT:
        return write_point(writer, kind, text, len, out);
    case TR_SHAPE_HSTORE_STRING:
        return write_hstore_string(writer, text, len, out);
    case TR_SHAPE_HSTORE_OBJECT:
        return write_hstore(writer, text, len, out);
    case TR_SHAPE_VECTOR:
        return write_vector(text, len, out);
    case TR_SHAPE_GEOMETRY:
        return write_geometry(text, len, out);
    case TR_SHAPE_ARRAY:
        return write_array(writer, shape, text, len, out);
    }
    return false;
}

bool tr_value_write(struct tr_value_writer *writer, const struct tr_shape *shape,
                    const struct tr_cell *cell, struct tr_outbuf *out)
{
    if (cell->state == TR_CELL_BINARY)
        return write_bytes(shape->kind, cell->ptr, cell->len, true, out);
    return write_kind(writer, shape, shape->kind, cell->ptr, cell->len, out);
}

/* ---- placeholders -------------------------------------------------------------------------------
 */

static bool writes_integers(enum tr_shape_kind kind)
{
    return kind == TR_SHAPE_INTEGER || kind == TR_SHAPE_DATE_DAYS ||
           (kind >= TR_SHAPE_TIME_MS && kind <= TR_SHAPE_TIME_NS) ||
           (kind >= TR_SHAPE_TIMESTAMP_MS && kind <= TR_SHAPE_TIMESTAMP_NS) ||
           kind == TR_SHAPE_INTERVAL_US;
}

static void unavailable_kind(const char *word, enum tr_shape_kind kind, struct tr_outbuf *out)
{
    size_t len = strlen(word);
    switch (kind) {
    case TR_SHAPE_BYTES_BASE64:
    case TR_SHAPE_BYTES_BASE64_URL:
    case TR_SHAPE_DECIMAL_BYTES:
    case TR_SHAPE_BITS_BYTES:
        tr_outbuf_byte(out, '"');
        tr_json_base64(out, word, len,
                       kind == TR_SHAPE_BYTES_BASE64_URL ? TR_BASE64_URL : TR_BASE64_STANDARD);
        tr_outbuf_byte(out, '"');
        break;
    case TR_SHAPE_DECIMAL_VARIABLE:
        tr_outbuf_lit(out, "{\"scale\":0,\"value\":\"");
        tr_json_base64(out, word, len, TR_BASE64_STANDARD);
        tr_outbuf_lit(out, "\"}");
        break;
    case TR_SHAPE_HSTORE_OBJECT:
        tr_outbuf_byte(out, '{');
        tr_json_string(out, word, len);
        tr_outbuf_byte(out, ':');
        tr_json_string(out, word, len);
        tr_outbuf_byte(out, '}');
        break;
    default:
        tr_json_string(out, word, len);
    }
}

void tr_value_unavailable(struct tr_value_writer *writer, const struct tr_shape *shape,
                          struct tr_outbuf *out)
{
    const char *word = writer->options->unavailable_placeholder;
    if (word == NULL)
        word = "__debezium_unavailable_value";
    if (shape->kind == TR_SHAPE_HSTORE_STRING) {
        tr_outbuf_clear(&writer->json);
        unavailable_kind(word, TR_SHAPE_HSTORE_OBJECT, &writer->json);
        out->failed |= writer->json.failed;
        tr_json_string(out, writer->json.data, writer->json.len);
    } else if (shape->kind != TR_SHAPE_ARRAY) {
        unavailable_kind(word, shape->kind, out);
    } else if (writes_integers(shape->elem_kind)) { /* the word's bytes, as Debezium does */
        tr_outbuf_byte(out, '[');
        for (const char *c = word; *c != '\0'; c++) {
            if (c != word)
                tr_outbuf_byte(out, ',');
            tr_outbuf_i64(out, (signed char)*c);
        }
        tr_outbuf_byte(out, ']');
    } else {
        tr_outbuf_byte(out, '[');
        unavailable_kind(word, shape->elem_kind, out);
        tr_outbuf_byte(out, ']');
    }
}

void tr_value_fallback(const struct tr_shape *shape, struct tr_outbuf *out)
{
    const char *text;
    switch (shape->kind) {
    case TR_SHAPE_INTEGER:
    case TR_SHAPE_DATE_DAYS:
    case TR_SHAPE_TIME_MS:
    case TR_SHAPE_TIME_US:
    case TR_SHAPE_TIME_NS:
    case TR_SHAPE_TIMESTAMP_MS:
    case TR_SHAPE_TIMESTAMP_US:
    case TR_SHAPE_TIMESTAMP_NS:
    case TR_SHAPE_INTERVAL_US:
    case TR_SHAPE_DECIMAL_NUMBER:
        text = "0";
        break;
    case TR_SHAPE_BOOLEAN:
    case TR_SHAPE_BITS_BOOLEAN:
        text = "false";
        break;
    case TR_SHAPE_FLOAT:
    case TR_SHAPE_DECIMAL_DOUBLE:
        text = "0.0";
        break;
    case TR_SHAPE_DECIMAL_BYTES:
        text = "\"AA==\"";
        break;
    case TR_SHAPE_DECIMAL_VARIABLE:
        text = "{\"scale\":0,\"value\":\"AA==\"}";
        break;
    case TR_SHAPE_DECIMAL_STRING: /* with the column's scale: "0.00" */
        tr_outbuf_lit(out, "\"0");
        for (int i = 0; i < shape->scale; i++)
            tr_outbuf_str(out, i == 0 ? ".0" : "0");
        text = "\"";
        break;
    case TR_SHAPE_DATE_ISO_ZONE:
        text = "\"1970-01-01Z\"";
        break;
    case TR_SHAPE_DATE_ISO:
        text = "\"1970-01-01\"";
        break;
    case TR_SHAPE_TIME_ISO_ZONE:
    case TR_SHAPE_TIMETZ_ISO:
        text = "\"00:00:00Z\"";
        break;
    case TR_SHAPE_TIMESTAMP_ISO_ZONE:
    case TR_SHAPE_TIMESTAMPTZ_ISO:
    case TR_SHAPE_TIMESTAMP_ISO:
        text = "\"1970-01-01T00:00:00Z\"";
        break;
    case TR_SHAPE_INTERVAL_ISO:
        text = "\"P0Y0M0DT0H0M0S\"";
        break;
    case TR_SHAPE_POINT_WKB:
        text = "{\"x\":0.0,\"y\":0.0,\"wkb\":\"AQEAAAAAAAAAAAAAAAAAAAAAAAAA\",\"srid\":null}";
        break;
    case TR_SHAPE_POINT:
        text = "{\"x\":0.0,\"y\":0.0}";
        break;
    case TR_SHAPE_HSTORE_STRING:
        text = "\"{}\"";
        break;
    case TR_SHAPE_HSTORE_OBJECT:
        text = "{}";
        break;
    case TR_SHAPE_ARRAY:
    case TR_SHAPE_VECTOR:
        text = "[]";
        break;
    case TR_SHAPE_GEOMETRY:
        text = "{\"wkb\":\"\",\"srid\":null}";
        break;
    default:
        text = "\"\"";
    }
    tr_outbuf_str(out, text);
}
