/* Cells ↔ SQLite's values: the type mapping of docs/connectors/sqlite.md. Pure.
 *
 * SQLite converts what is stored by the column's *affinity*, which follows from the declared type
 * (https://www.sqlite.org/datatype3.html, section 3.1): a declared NUMERIC turns the text 1.10 into
 * the number 1.1. So the declared types here are chosen for their affinity: text that may look like
 * a number gets a declared type with TEXT in it, unsigned 64-bit one with BLOB in it (no
 * conversion). REAL affinity drops the sign of zero and a NaN cannot be stored at all: see
 * STORE_REAL. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sqlite_internal.h"

#define REAL_TEXT_MAX 64 /* canonical text of a float is at most 25 bytes */

static const struct {
    const char *declared;
    enum sqlite_storage storage;
    bool never_numeric; /* its text is never a well-formed number, so no affinity converts it */
} map[TR_T_COUNT] = {
    [TR_T_BOOLEAN] = {"BOOLEAN", STORE_BOOL, false},
    [TR_T_INT8] = {"INTEGER", STORE_INT, false},
    [TR_T_INT16] = {"INTEGER", STORE_INT, false},
    [TR_T_INT32] = {"INTEGER", STORE_INT, false},
    [TR_T_INT64] = {"INTEGER", STORE_INT, false},
    [TR_T_UINT64] = {"U64_BLOB", STORE_UINT, false},
    [TR_T_FLOAT32] = {"FLOAT", STORE_REAL, false},
    [TR_T_FLOAT64] = {"DOUBLE", STORE_REAL, false},
    [TR_T_DECIMAL] = {"DECIMAL_TEXT", STORE_TEXT, false},
    [TR_T_STRING] = {"TEXT", STORE_TEXT, false},
    [TR_T_BYTES] = {"BLOB", STORE_BLOB, false},
    [TR_T_DATE] = {"DATE_TEXT", STORE_TEXT, true},
    [TR_T_TIME] = {"TIME_TEXT", STORE_TEXT, true},
    [TR_T_TIMETZ] = {"TIMETZ_TEXT", STORE_TEXT, true},
    [TR_T_TIMESTAMP] = {"TIMESTAMP_TEXT", STORE_TEXT, true},
    [TR_T_TIMESTAMPTZ] = {"TIMESTAMPTZ_TEXT", STORE_TSTZ, true},
    [TR_T_INTERVAL] = {"TEXT", STORE_TEXT, true}, /* a declared INTERVAL has INT in it */
    [TR_T_UUID] = {"UUID_TEXT", STORE_TEXT, true},
    [TR_T_JSON] = {"JSON_TEXT", STORE_TEXT, false},
    [TR_T_XML] = {"XML_TEXT", STORE_TEXT, false},
    [TR_T_ENUM] = {"TEXT", STORE_TEXT, false},
    [TR_T_BIT] = {"BIT_TEXT", STORE_TEXT, false},
    [TR_T_MONEY] = {"DECIMAL_TEXT", STORE_TEXT, false},
    [TR_T_ARRAY] = {"ARRAY_TEXT", STORE_TEXT, true},
    [TR_T_POINT] = {"TEXT", STORE_TEXT, true}, /* a declared POINT has INT in it */
    [TR_T_HSTORE] = {"HSTORE_TEXT", STORE_TEXT, true},
    [TR_T_OTHER] = {"TEXT", STORE_TEXT, false},
};

enum sqlite_storage tr_sqlite_storage(enum tr_type type) { return map[type].storage; }
const char *tr_sqlite_declared(enum tr_type type) { return map[type].declared; }

static bool contains(const char *text, const char *word)
{
    size_t len = strlen(word);
    for (; *text != '\0'; text++) {
        if (sqlite3_strnicmp(text, word, (int)len) == 0)
            return true;
    }
    return false;
}

enum sqlite_affinity tr_sqlite_affinity(const char *declared)
{
    if (contains(declared, "INT"))
        return AFF_INTEGER;
    if (contains(declared, "CHAR") || contains(declared, "CLOB") || contains(declared, "TEXT"))
        return AFF_TEXT;
    if (declared[0] == '\0' || contains(declared, "BLOB"))
        return AFF_BLOB;
    if (contains(declared, "REAL") || contains(declared, "FLOA") || contains(declared, "DOUB"))
        return AFF_REAL;
    return AFF_NUMERIC;
}

bool tr_sqlite_affinity_keeps(enum sqlite_affinity affinity, enum tr_type type, bool in_key)
{
    if (affinity == AFF_BLOB || map[type].never_numeric)
        return true;
    switch (map[type].storage) {
    case STORE_BOOL:
    case STORE_INT:
        /* as text the number keeps its digits but not its order */
        return affinity == AFF_INTEGER || affinity == AFF_NUMERIC ||
               (affinity == AFF_TEXT && !in_key);
    case STORE_UINT:
        return affinity == AFF_TEXT && !in_key;
    case STORE_REAL:
        return affinity != AFF_TEXT;
    case STORE_TEXT:
    case STORE_TSTZ:
        return affinity == AFF_TEXT;
    case STORE_BLOB:
        return true;
    }
    return false;
}

void tr_sqlite_quote(struct tr_outbuf *sql, const char *name)
{
    tr_outbuf_byte(sql, '"');
    for (; *name != '\0'; name++) {
        if (*name == '"')
            tr_outbuf_byte(sql, '"');
        tr_outbuf_byte(sql, *name);
    }
    tr_outbuf_byte(sql, '"');
}

/* ---- cell → value --------------------------------------------------------------------------- */

static bool parse_unsigned(const char *ptr, size_t len, uint64_t *out)
{
    uint64_t number = 0;
    if (len == 0 || len > 20)
        return false;
    for (size_t i = 0; i < len; i++) {
        unsigned digit = (unsigned)(unsigned char)ptr[i] - '0';
        if (digit > 9)
            return false;
        if (i >= 18 && (__builtin_mul_overflow(number, 10, &number) ||
                        __builtin_add_overflow(number, digit, &number)))
            return false;
        if (i < 18)
            number = number * 10 + digit;
    }
    *out = number;
    return true;
}

static bool parse_signed(const char *ptr, size_t len, int64_t *out)
{
    bool minus = len > 0 && ptr[0] == '-';
    uint64_t number;
    if (!parse_unsigned(ptr + minus, len - minus, &number))
        return false;
    if (number > (uint64_t)INT64_MAX + minus)
        return false;
    *out = minus ? (int64_t)(0 - number) : (int64_t)number;
    return true;
}

static bool equals(const struct tr_cell *cell, const char *text)
{
    return cell->len == strlen(text) && memcmp(cell->ptr, text, cell->len) == 0;
}

static enum sqlite_store_result store_text(struct sqlite_value *value, const char *ptr, size_t len)
{
    value->kind = SQLITE_TEXT;
    value->ptr = len > 0 ? ptr : "";
    value->len = len;
    return STORED;
}

static enum sqlite_store_result store_real(const struct tr_cell *cell, struct sqlite_value *value)
{
    char text[REAL_TEXT_MAX], *end;
    value->kind = SQLITE_FLOAT;
    if (equals(cell, "NaN"))
        return store_text(value, cell->ptr, cell->len);
    if (equals(cell, "Infinity") || equals(cell, "-Infinity")) {
        value->real = cell->ptr[0] == '-' ? -INFINITY : INFINITY;
        return STORED;
    }
    if (cell->len == 0 || cell->len >= sizeof text)
        return STORE_MALFORMED;
    memcpy(text, cell->ptr, cell->len);
    text[cell->len] = '\0';
    value->real = strtod(text, &end);
    if (end != text + cell->len || !isfinite(value->real))
        return STORE_MALFORMED;
    if (value->real == 0 && signbit(value->real)) {
        value->kind = SQLITE_BLOB;
        value->ptr = "-0";
        value->len = 2;
    }
    return STORED;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

static enum sqlite_store_result store_blob(const struct tr_cell *cell, struct tr_arena *scratch,
                                           struct sqlite_value *value)
{
    value->kind = SQLITE_BLOB;
    value->ptr = "";
    value->len = cell->len;
    if (cell->state == TR_CELL_BINARY) {
        if (cell->len > 0)
            value->ptr = cell->ptr;
        return STORED;
    }
    if (cell->len < 2 || cell->len % 2 != 0 || cell->ptr[0] != '\\' || cell->ptr[1] != 'x')
        return STORE_MALFORMED;
    value->len = cell->len / 2 - 1;
    if (value->len == 0)
        return STORED;
    char *bytes = tr_arena_alloc(scratch, value->len, 1);
    if (bytes == NULL)
        return STORE_NO_MEMORY;
    for (size_t i = 0; i < value->len; i++) {
        int high = hex_digit(cell->ptr[2 + 2 * i]), low = hex_digit(cell->ptr[3 + 2 * i]);
        if (high < 0 || low < 0)
            return STORE_MALFORMED;
        bytes[i] = (char)(high << 4 | low);
    }
    value->ptr = bytes;
    return STORED;
}

static enum sqlite_store_result store_tstz(const struct tr_cell *cell, struct tr_arena *scratch,
                                           struct sqlite_value *value)
{
    if (cell->len < 3 || memcmp(cell->ptr + cell->len - 3, "+00", 3) != 0)
        return store_text(value, cell->ptr, cell->len); /* infinity, BC */
    char *text = tr_arena_alloc(scratch, (size_t)cell->len + 3, 1);
    if (text == NULL)
        return STORE_NO_MEMORY;
    memcpy(text, cell->ptr, cell->len);
    memcpy(text + cell->len, ":00", 3);
    return store_text(value, text, (size_t)cell->len + 3);
}

enum sqlite_store_result tr_sqlite_store(enum tr_type type, const struct tr_cell *cell,
                                         struct tr_arena *scratch, struct sqlite_value *value)
{
    uint64_t number;
    if (cell->state == TR_CELL_NULL) {
        value->kind = SQLITE_NULL;
        return STORED;
    }
    switch (map[type].storage) {
    case STORE_BOOL:
        if (cell->len != 1 || (cell->ptr[0] != 't' && cell->ptr[0] != 'f'))
            return STORE_MALFORMED;
        value->kind = SQLITE_INTEGER;
        value->integer = cell->ptr[0] == 't';
        return STORED;
    case STORE_INT:
        value->kind = SQLITE_INTEGER;
        return parse_signed(cell->ptr, cell->len, &value->integer) ? STORED : STORE_MALFORMED;
    case STORE_UINT:
        if (!parse_unsigned(cell->ptr, cell->len, &number))
            return STORE_MALFORMED;
        if (number > INT64_MAX)
            return store_text(value, cell->ptr, cell->len);
        value->kind = SQLITE_INTEGER;
        value->integer = (int64_t)number;
        return STORED;
    case STORE_REAL:
        return store_real(cell, value);
    case STORE_BLOB:
        return store_blob(cell, scratch, value);
    case STORE_TSTZ:
        return store_tstz(cell, scratch, value);
    case STORE_TEXT:
        break;
    }
    return store_text(value, cell->ptr, cell->len);
}

int tr_sqlite_bind(sqlite3_stmt *stmt, int index, const struct sqlite_value *value)
{
    switch (value->kind) {
    case SQLITE_INTEGER:
        return sqlite3_bind_int64(stmt, index, value->integer);
    case SQLITE_FLOAT:
        return sqlite3_bind_double(stmt, index, value->real);
    case SQLITE_TEXT:
        return sqlite3_bind_text64(stmt, index, value->ptr, value->len, SQLITE_STATIC, SQLITE_UTF8);
    case SQLITE_BLOB:
        return sqlite3_bind_blob64(stmt, index, value->ptr, value->len, SQLITE_STATIC);
    default:
        return sqlite3_bind_null(stmt, index);
    }
}

void tr_sqlite_literal(struct tr_outbuf *sql, const struct sqlite_value *value)
{
    switch (value->kind) {
    case SQLITE_INTEGER:
        tr_outbuf_i64(sql, value->integer);
        return;
    case SQLITE_FLOAT:
        if (isinf(value->real))
            tr_outbuf_str(sql, value->real < 0 ? "-9e999" : "9e999");
        else
            tr_outbuf_printf(sql, "%.17g", value->real);
        return;
    case SQLITE_TEXT:
        tr_outbuf_byte(sql, '\'');
        for (size_t i = 0; i < value->len; i++) {
            if (value->ptr[i] == '\'')
                tr_outbuf_byte(sql, '\'');
            tr_outbuf_byte(sql, value->ptr[i]);
        }
        tr_outbuf_byte(sql, '\'');
        return;
    case SQLITE_BLOB:
        tr_outbuf_str(sql, "X'");
        for (size_t i = 0; i < value->len; i++)
            tr_outbuf_printf(sql, "%02x", (unsigned)(unsigned char)value->ptr[i]);
        tr_outbuf_byte(sql, '\'');
        return;
    default:
        tr_outbuf_str(sql, "NULL");
    }
}

/* ---- value → cell --------------------------------------------------------------------------- */

/* Is decimal · 10^power exactly binary · 2^twos? */
static bool same_number(uint64_t decimal, int power, uint64_t binary, int twos)
{
    uint64_t *side = power >= 0 ? &decimal : &binary;
    for (int i = power >= 0 ? power : -power; i > 0; i--) {
        if (__builtin_mul_overflow(*side, 5, side))
            return false; /* the other side is below 2^60 */
    }
    twos -= power;
    for (; decimal % 2 == 0 && decimal != 0; decimal /= 2)
        twos--;
    for (; binary % 2 == 0 && binary != 0; binary /= 2)
        twos++;
    return decimal == binary && twos == 0;
}

/* Does decimal · 10^power lie exactly between `real` and a neighbour? It would be read as `real` by
 * the rule of ties, and PostgreSQL leaves such texts out (src/common/d2s.c: acceptBounds is false).
 */
static bool is_tie(uint64_t decimal, int power, double real, bool single)
{
    int exponent, bits = single ? 24 : 53, least = single ? -149 : -1074;
    double fraction = frexp(real, &exponent);
    int twos = exponent - bits > least ? exponent - bits : least;
    uint64_t mantissa = (uint64_t)ldexp(fraction, exponent - twos);
    bool narrow = mantissa == (uint64_t)1 << (bits - 1) && twos > least;
    return same_number(decimal, power, 2 * mantissa + 1, twos - 1) ||
           (narrow ? same_number(decimal, power, 4 * mantissa - 1, twos - 2)
                   : same_number(decimal, power, 2 * mantissa - 1, twos - 1));
}

/* Finds the fewest digits: digits[] without point, and the exponent of the first one. real > 0. */
static void shortest(double real, bool single, char digits[20], int *exponent)
{
    int most = single ? 9 : 17, unused;
    bool power = single ? frexpf((float)real, &unused) == 0.5f : frexp(real, &unused) == 0.5;
    char text[40];
    for (int count = 1; count <= most; count++) {
        (void)snprintf(text, sizeof text, "%.*e", count - 1, real);
        uint64_t mantissa = 0;
        const char *c = text;
        for (; *c != 'e'; c++) {
            if (*c != '.')
                mantissa = mantissa * 10 + (uint64_t)(*c - '0');
        }
        *exponent = (int)strtol(c + 1, NULL, 10);
        /* below a power of two numbers lie twice as close, so the next decimal up may fit too */
        for (int up = 0; up <= (power ? 1 : 0); up++) {
            (void)snprintf(digits, 20, "%llu", (unsigned long long)mantissa + (unsigned)up);
            int first = *exponent + (int)strlen(digits) - count; /* 99 + 1 has a digit more */
            (void)snprintf(text, sizeof text, "%se%d", digits, first - (int)strlen(digits) + 1);
            bool reads_back =
                single ? strtof(text, NULL) == (float)real : strtod(text, NULL) == real;
            if (count == most || (reads_back && !is_tie(mantissa + (unsigned)up,
                                                        *exponent - count + 1, real, single))) {
                *exponent = first;
                return;
            }
        }
    }
}

void tr_sqlite_format_real(double real, bool single, char buf[32])
{
    char digits[20], *out = buf;
    int exponent = 0;
    if (single)
        real = (double)(float)real;
    if (isnan(real) || isinf(real)) {
        (void)strcpy(buf, isnan(real) ? "NaN" : real < 0 ? "-Infinity" : "Infinity");
        return;
    }
    if (signbit(real))
        *out++ = '-';
    if (real == 0) {
        *out++ = '0';
        *out = '\0';
        return;
    }
    shortest(fabs(real), single, digits, &exponent);
    int count = (int)strlen(digits);
    while (count > 1 && digits[count - 1] == '0')
        count--;
    if (exponent < -4 || exponent >= (single ? 6 : 15)) {
        *out++ = digits[0];
        if (count > 1) {
            *out++ = '.';
            memcpy(out, digits + 1, (size_t)count - 1);
            out += count - 1;
        }
        (void)snprintf(out, 8, "e%c%02u", exponent < 0 ? '-' : '+',
                       (unsigned)abs(exponent) % 1000u);
        return;
    }
    if (exponent < 0) {
        *out++ = '0';
        *out++ = '.';
        for (int i = -1; i > exponent; i--)
            *out++ = '0';
    }
    for (int i = 0; i < count || i <= exponent; i++) {
        if (exponent >= 0 && i == exponent + 1)
            *out++ = '.';
        *out++ = i < count ? digits[i] : '0';
    }
    *out = '\0';
}

static void set_text(struct tr_cell *cell, const char *ptr, size_t len)
{
    cell->state = TR_CELL_TEXT;
    cell->ptr = len > 0 ? ptr : "";
    cell->len = (uint32_t)len;
}

static bool load_blob(const struct sqlite_value *value, struct tr_arena *scratch,
                      struct tr_cell *cell)
{
    static const char hex[] = "0123456789abcdef";
    size_t len = 2 + 2 * value->len;
    char *text = tr_arena_alloc(scratch, len, 1);
    if (text == NULL)
        return false;
    text[0] = '\\';
    text[1] = 'x';
    for (size_t i = 0; i < value->len; i++) {
        text[2 + 2 * i] = hex[(unsigned char)value->ptr[i] >> 4];
        text[3 + 2 * i] = hex[(unsigned char)value->ptr[i] & 15];
    }
    set_text(cell, text, len);
    return true;
}

/* A number that stands where another form was expected, as decimal text. */
static bool load_number(enum tr_type type, const struct sqlite_value *value,
                        struct tr_arena *scratch, struct tr_cell *cell)
{
    char *text = tr_arena_alloc(scratch, 32, 1);
    if (text == NULL)
        return false;
    if (map[type].storage == STORE_REAL)
        tr_sqlite_format_real(value->kind == SQLITE_FLOAT ? value->real : (double)value->integer,
                              type == TR_T_FLOAT32, text);
    else if (value->kind == SQLITE_FLOAT)
        tr_sqlite_format_real(value->real, false, text);
    else
        (void)snprintf(text, 32, "%lld", (long long)value->integer);
    set_text(cell, text, strlen(text));
    return true;
}

bool tr_sqlite_load(enum tr_type type, const struct sqlite_value *value, struct tr_arena *scratch,
                    struct tr_cell *cell)
{
    enum sqlite_storage storage = map[type].storage;
    if (value->kind == SQLITE_NULL) {
        *cell = (struct tr_cell){.state = TR_CELL_NULL};
        return true;
    }
    if (storage == STORE_BOOL && (value->kind == SQLITE_INTEGER || value->kind == SQLITE_TEXT)) {
        bool is_true = value->kind == SQLITE_INTEGER ? value->integer != 0
                                                     : value->len > 0 && value->ptr[0] == '1';
        set_text(cell, is_true ? "t" : "f", 1);
        return true;
    }
    if (value->kind == SQLITE_INTEGER || value->kind == SQLITE_FLOAT)
        return load_number(type, value, scratch, cell);
    if (storage == STORE_BLOB)
        return load_blob(value, scratch, cell);
    if (storage == STORE_TSTZ && value->len > 6 &&
        memcmp(value->ptr + value->len - 6, "+00:00", 6) == 0) {
        set_text(cell, value->ptr, value->len - 3);
        return true;
    }
    set_text(cell, value->ptr, value->len);
    return true;
}
