/* See the header. The orders here are those of the scans (include/tailrace/catalog.h): numbers and
 * times by what they mean, text by its bytes (collation "C"); NaN above every number, as PostgreSQL
 * has it. */
#define XXH_STATIC_LINKING_ONLY /* the hash state on the stack */
#include "cli/verify_compare.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#define FLOAT_TEXT_BYTES_MAX 400 /* a double without an exponent has up to 310 digits */
#define PRINTED_BYTES_MAX 64     /* of one value */
#define HEX_CHUNK 256

/* ---- decimals ------------------------------------------------------------------------------- */

/* [-] whole [. fraction] without leading and trailing zeros. */
struct decimal {
    bool negative;
    struct tr_slice whole, fraction;
};

static size_t digits_at(const char *ptr, const char *end)
{
    const char *at = ptr;
    while (at < end && *at >= '0' && *at <= '9')
        at++;
    return (size_t)(at - ptr);
}

/* False for NaN, infinities and anything else that is not plain digits. */
static bool decimal_parse(const struct tr_cell *cell, struct decimal *decimal)
{
    const char *at = cell->ptr, *end = cell->ptr + cell->len;
    *decimal = (struct decimal){.negative = at < end && *at == '-'};
    if (at < end && (*at == '-' || *at == '+'))
        at++;
    size_t whole = digits_at(at, end), fraction = 0;
    decimal->whole = (struct tr_slice){at, whole};
    at += whole;
    if (at < end && *at == '.') {
        fraction = digits_at(++at, end);
        decimal->fraction = (struct tr_slice){at, fraction};
        at += fraction;
    }
    if (at != end || whole + fraction == 0)
        return false;
    while (decimal->whole.len > 0 && decimal->whole.ptr[0] == '0') {
        decimal->whole.ptr++;
        decimal->whole.len--;
    }
    while (decimal->fraction.len > 0 && decimal->fraction.ptr[decimal->fraction.len - 1] == '0')
        decimal->fraction.len--;
    if (decimal->whole.len + decimal->fraction.len == 0)
        decimal->negative = false;
    return true;
}

static int compare_bytes(const char *a, size_t a_len, const char *b, size_t b_len)
{
    size_t common = a_len < b_len ? a_len : b_len;
    int order = common == 0 ? 0 : memcmp(a, b, common);
    if (order != 0)
        return order;
    return a_len < b_len ? -1 : a_len > b_len;
}

/* -Infinity 0, a number 1, Infinity 2, NaN 3 */
static int decimal_rank(const struct tr_cell *cell, struct decimal *decimal)
{
    if (decimal_parse(cell, decimal))
        return 1;
    if (cell->len > 0 && cell->ptr[0] == '-')
        return 0;
    return cell->len > 0 && (cell->ptr[0] == 'I' || cell->ptr[0] == 'i') ? 2 : 3;
}

static int compare_decimals(const struct tr_cell *a, const struct tr_cell *b)
{
    struct decimal x, y;
    int rank_a = decimal_rank(a, &x), rank_b = decimal_rank(b, &y);
    if (rank_a != rank_b || rank_a != 1)
        return rank_a - rank_b;
    if (x.negative != y.negative)
        return x.negative ? -1 : 1;
    int order = x.whole.len != y.whole.len
                    ? (x.whole.len < y.whole.len ? -1 : 1)
                    : compare_bytes(x.whole.ptr, x.whole.len, y.whole.ptr, y.whole.len);
    if (order == 0)
        order = compare_bytes(x.fraction.ptr, x.fraction.len, y.fraction.ptr, y.fraction.len);
    return x.negative ? -order : order;
}

/* ---- floating point ------------------------------------------------------------------------- */

static bool float_parse(enum tr_type type, const struct tr_cell *cell, double *value)
{
    char text[FLOAT_TEXT_BYTES_MAX], *end;
    if (cell->len == 0 || cell->len >= sizeof text)
        return false;
    memcpy(text, cell->ptr, cell->len);
    text[cell->len] = '\0';
    *value = type == TR_T_FLOAT32 ? (double)strtof(text, &end) : strtod(text, &end);
    return *end == '\0';
}

static int compare_floats(enum tr_type type, const struct tr_cell *a, const struct tr_cell *b)
{
    double x, y;
    if (!float_parse(type, a, &x) || !float_parse(type, b, &y))
        return compare_bytes(a->ptr, a->len, b->ptr, b->len);
    if (isnan(x) || isnan(y))
        return (isnan(x) != 0) - (isnan(y) != 0);
    return x < y ? -1 : x > y;
}

/* ---- dates ---------------------------------------------------------------------------------- */

struct moment {
    int64_t year;         /* astronomical: 1 BC is 0; infinities are INT64_MIN and INT64_MAX */
    struct tr_slice rest; /* "-MM-DD HH:MM:SS.ffffff+00": sorts as text */
};

static struct moment moment_parse(const struct tr_cell *cell)
{
    struct moment moment = {.rest = {cell->ptr, cell->len}};
    const char *end = cell->ptr + cell->len;
    if (cell->len > 0 && (cell->ptr[0] == 'i' || cell->ptr[0] == '-')) {
        moment.year = cell->ptr[0] == 'i' ? INT64_MAX : INT64_MIN;
        moment.rest.len = 0;
        return moment;
    }
    size_t digits = digits_at(cell->ptr, end);
    for (size_t i = 0; i < digits && i < 18; i++)
        moment.year = moment.year * 10 + (cell->ptr[i] - '0');
    moment.rest = (struct tr_slice){cell->ptr + digits, cell->len - digits};
    if (cell->len >= 3 && memcmp(end - 3, " BC", 3) == 0) {
        moment.year = 1 - moment.year;
        moment.rest.len -= 3;
    }
    return moment;
}

static int compare_moments(const struct tr_cell *a, const struct tr_cell *b)
{
    struct moment x = moment_parse(a), y = moment_parse(b);
    if (x.year != y.year)
        return x.year < y.year ? -1 : 1;
    return compare_bytes(x.rest.ptr, x.rest.len, y.rest.ptr, y.rest.len);
}

/* ---- bytes ---------------------------------------------------------------------------------- */

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Number of bytes of a BYTES cell in either form; -1 when it is TEXT that is no hex form. */
static int64_t bytes_count(const struct tr_cell *cell)
{
    if (cell->state == TR_CELL_BINARY)
        return cell->len;
    if (cell->len < 2 || cell->len % 2 != 0 || cell->ptr[0] != '\\' || cell->ptr[1] != 'x')
        return -1;
    for (uint32_t i = 2; i < cell->len; i++) {
        if (hex_digit(cell->ptr[i]) < 0)
            return -1;
    }
    return (cell->len - 2) / 2;
}

static uint8_t byte_at(const struct tr_cell *cell, size_t index)
{
    if (cell->state == TR_CELL_BINARY)
        return (uint8_t)cell->ptr[index];
    const char *hex = cell->ptr + 2 + 2 * index;
    return (uint8_t)(hex_digit(hex[0]) << 4 | hex_digit(hex[1]));
}

static int compare_byteas(const struct tr_cell *a, const struct tr_cell *b)
{
    int64_t a_count = bytes_count(a), b_count = bytes_count(b);
    if (a_count < 0 || b_count < 0)
        return compare_bytes(a->ptr, a->len, b->ptr, b->len);
    for (int64_t i = 0; i < a_count && i < b_count; i++) {
        int order = byte_at(a, (size_t)i) - byte_at(b, (size_t)i);
        if (order != 0)
            return order;
    }
    return a_count < b_count ? -1 : a_count > b_count;
}

/* ---- order ---------------------------------------------------------------------------------- */

bool tr_verify_type_is_ordered(enum tr_type type)
{
    switch (type) {
    case TR_T_BOOLEAN:
    case TR_T_INT8:
    case TR_T_INT16:
    case TR_T_INT32:
    case TR_T_INT64:
    case TR_T_UINT64:
    case TR_T_FLOAT32:
    case TR_T_FLOAT64:
    case TR_T_DECIMAL:
    case TR_T_STRING:
    case TR_T_BYTES:
    case TR_T_DATE:
    case TR_T_TIME: /* fixed width but for the fraction, whose absence sorts first as text too */
    case TR_T_TIMESTAMP:
    case TR_T_TIMESTAMPTZ:
    case TR_T_UUID:
    case TR_T_ENUM: /* the scans sort the labels, not the enum's own order */
    case TR_T_BIT:
        return true;
    default:
        return false;
    }
}

int tr_verify_compare_cells(enum tr_type type, const struct tr_cell *a, const struct tr_cell *b)
{
    if (a->state == TR_CELL_NULL || b->state == TR_CELL_NULL)
        return (a->state == TR_CELL_NULL) - (b->state == TR_CELL_NULL);
    switch (type) {
    case TR_T_INT8:
    case TR_T_INT16:
    case TR_T_INT32:
    case TR_T_INT64:
    case TR_T_UINT64:
    case TR_T_DECIMAL:
        return compare_decimals(a, b);
    case TR_T_FLOAT32:
    case TR_T_FLOAT64:
        return compare_floats(type, a, b);
    case TR_T_DATE:
    case TR_T_TIMESTAMP:
    case TR_T_TIMESTAMPTZ:
        return compare_moments(a, b);
    case TR_T_BYTES:
        return compare_byteas(a, b);
    default:
        return compare_bytes(a->ptr, a->len, b->ptr, b->len);
    }
}

int tr_verify_compare_keys(const struct tr_table *table, const struct tr_cell *a,
                           const struct tr_cell *b)
{
    for (uint32_t i = 0; i < table->key_count; i++) {
        enum tr_type type = table->columns[table->key_columns[i]].type;
        int order = tr_verify_compare_cells(type, &a[i], &b[i]);
        if (order != 0)
            return order;
    }
    return 0;
}

/* ---- hashes --------------------------------------------------------------------------------- */

enum tag { TAG_NULL, TAG_TEXT, TAG_DECIMAL, TAG_FLOAT, TAG_BYTES };

/* Every part is led by its tag and length, so that no two rows run together into the same bytes. */
static void feed(XXH3_state_t *state, enum tag tag, const char *ptr, size_t len)
{
    uint64_t head = (uint64_t)len << 8 | (uint64_t)tag;
    (void)XXH3_128bits_update(state, &head, sizeof head);
    if (len > 0)
        (void)XXH3_128bits_update(state, ptr, len);
}

static bool feed_decimal(XXH3_state_t *state, const struct tr_cell *cell)
{
    struct decimal decimal;
    if (!decimal_parse(cell, &decimal))
        return false;
    feed(state, TAG_DECIMAL, decimal.negative ? "-" : "", decimal.negative);
    feed(state, TAG_DECIMAL, decimal.whole.ptr, decimal.whole.len);
    feed(state, TAG_DECIMAL, decimal.fraction.ptr, decimal.fraction.len);
    return true;
}

static bool feed_float(XXH3_state_t *state, enum tr_type type, const struct tr_cell *cell)
{
    double value;
    if (!float_parse(type, cell, &value))
        return false;
    uint64_t bits = 0; /* of both zeros */
    if (isnan(value))
        bits = UINT64_C(0x7ff8000000000000); /* one of the many */
    else if (value != 0.0)
        memcpy(&bits, &value, sizeof bits);
    feed(state, TAG_FLOAT, (const char *)&bits, sizeof bits);
    return true;
}

static bool feed_bytes(XXH3_state_t *state, const struct tr_cell *cell)
{
    int64_t count = bytes_count(cell);
    if (count < 0)
        return false;
    if (cell->state == TR_CELL_BINARY) {
        feed(state, TAG_BYTES, cell->ptr, cell->len);
        return true;
    }
    uint64_t head = (uint64_t)count << 8 | TAG_BYTES;
    (void)XXH3_128bits_update(state, &head, sizeof head);
    for (int64_t i = 0; i < count;) {
        char chunk[HEX_CHUNK];
        size_t filled = 0;
        while (filled < sizeof chunk && i < count)
            chunk[filled++] = (char)byte_at(cell, (size_t)i++);
        (void)XXH3_128bits_update(state, chunk, filled);
    }
    return true;
}

static void feed_cell(XXH3_state_t *state, enum tr_type type, const struct tr_cell *cell)
{
    bool done = false;
    if (cell->state != TR_CELL_TEXT && cell->state != TR_CELL_BINARY) {
        feed(state, TAG_NULL, "", 0);
        return;
    }
    if (type == TR_T_DECIMAL || type == TR_T_MONEY)
        done = feed_decimal(state, cell);
    else if (type == TR_T_FLOAT32 || type == TR_T_FLOAT64)
        done = feed_float(state, type, cell);
    else if (type == TR_T_BYTES)
        done = feed_bytes(state, cell);
    if (!done)
        feed(state, TAG_TEXT, cell->ptr, cell->len);
}

static struct tr_verify_hash digest(XXH3_state_t *state)
{
    XXH128_hash_t hash = XXH3_128bits_digest(state);
    return (struct tr_verify_hash){hash.low64, hash.high64};
}

struct tr_verify_hash tr_verify_hash_key(const struct tr_table *table, const struct tr_cell *key)
{
    XXH3_state_t state;
    XXH3_INITSTATE(&state);
    (void)XXH3_128bits_reset(&state);
    for (uint32_t i = 0; i < table->key_count; i++)
        feed_cell(&state, table->columns[table->key_columns[i]].type, &key[i]);
    return digest(&state);
}

struct tr_verify_hash tr_verify_hash_row(const struct tr_table *table, const struct tr_cell *cells)
{
    XXH3_state_t state;
    XXH3_INITSTATE(&state);
    (void)XXH3_128bits_reset(&state);
    for (uint32_t i = 0; i < table->column_count; i++)
        feed_cell(&state, table->columns[i].type, &cells[i]);
    return digest(&state);
}

static struct tr_verify_hash hash_cell(enum tr_type type, const struct tr_cell *cell)
{
    XXH3_state_t state;
    XXH3_INITSTATE(&state);
    (void)XXH3_128bits_reset(&state);
    feed_cell(&state, type, cell);
    return digest(&state);
}

bool tr_verify_cells_equal(const struct tr_column *column, const struct tr_cell *a,
                           const struct tr_cell *b)
{
    struct tr_verify_hash x = hash_cell(column->type, a), y = hash_cell(column->type, b);
    return x.low == y.low && x.high == y.high;
}

/* ---- for people ----------------------------------------------------------------------------- */

static void print_value(const struct tr_cell *cell, struct tr_outbuf *out)
{
    if (cell->state != TR_CELL_TEXT && cell->state != TR_CELL_BINARY) {
        tr_outbuf_lit(out, "NULL");
        return;
    }
    uint32_t len = cell->len > PRINTED_BYTES_MAX ? PRINTED_BYTES_MAX : cell->len;
    while (len < cell->len && len > 0 && ((uint8_t)cell->ptr[len] & 0xc0) == 0x80)
        len--; /* not within a UTF-8 character */
    for (uint32_t i = 0; i < len; i++) {
        unsigned char byte = (unsigned char)cell->ptr[i];
        if (byte < 0x20 || byte == 0x7f || (cell->state == TR_CELL_BINARY && byte >= 0x80))
            tr_outbuf_printf(out, "\\x%02x", byte);
        else
            tr_outbuf_byte(out, cell->ptr[i]);
    }
    if (len < cell->len)
        tr_outbuf_printf(out, "… (%u bytes)", cell->len);
}

void tr_verify_print_key(const struct tr_table *table, const struct tr_cell *key,
                         struct tr_outbuf *out)
{
    for (uint32_t i = 0; i < table->key_count; i++) {
        if (i > 0)
            tr_outbuf_lit(out, ", ");
        tr_outbuf_printf(out, "%s=", table->columns[table->key_columns[i]].name);
        print_value(&key[i], out);
    }
}

void tr_verify_print_row(const struct tr_table *table, const struct tr_cell *cells,
                         struct tr_outbuf *out)
{
    for (uint32_t i = 0; i < table->column_count; i++) {
        if (i > 0)
            tr_outbuf_lit(out, ", ");
        tr_outbuf_printf(out, "%s=", table->columns[i].name);
        print_value(&cells[i], out);
    }
}
