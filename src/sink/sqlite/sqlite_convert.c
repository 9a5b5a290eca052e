/* What needs a function inside SQLite: values after ALTER COLUMN TYPE, and the order of keys.
 *
 * PostgreSQL rewrites a table when a column changes its type and sends no row for it. So the sink
 * makes the same change to the rows it holds, by the casts that PostgreSQL applies without USING
 * (https://www.postgresql.org/docs/current/sql-altertable.html). A value that cannot be converted
 * is kept as it is. */
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sqlite_internal.h"

#define EXPONENT_MAX 400 /* of a double, with room */

/* ---- decimals ------------------------------------------------------------------------------- */

/* sign, digits before and after the point of a canonical decimal. */
struct decimal {
    bool minus;
    const char *whole, *fraction;
    size_t whole_len, fraction_len;
};

static bool split_decimal(const char *ptr, size_t len, struct decimal *out)
{
    *out = (struct decimal){.minus = len > 0 && ptr[0] == '-'};
    const char *end = ptr + len;
    ptr += out->minus;
    out->whole = ptr;
    while (ptr < end && isdigit((unsigned char)*ptr))
        ptr++;
    out->whole_len = (size_t)(ptr - out->whole);
    out->fraction = ptr;
    if (ptr < end && *ptr == '.') {
        out->fraction = ++ptr;
        while (ptr < end && isdigit((unsigned char)*ptr))
            ptr++;
        out->fraction_len = (size_t)(ptr - out->fraction);
    }
    return ptr == end && out->whole_len + out->fraction_len > 0;
}

/* Writes the decimal with exactly `scale` digits behind the point, rounding half away from zero. */
static void rescale(const struct decimal *in, size_t scale, struct tr_outbuf *out)
{
    size_t start = out->len;
    if (in->minus)
        tr_outbuf_byte(out, '-');
    tr_outbuf_byte(out, '0'); /* room for a carry */
    tr_outbuf_bytes(out, in->whole, in->whole_len);
    size_t kept = in->fraction_len < scale ? in->fraction_len : scale;
    tr_outbuf_bytes(out, in->fraction, kept);
    for (size_t i = kept; i < scale; i++)
        tr_outbuf_byte(out, '0');
    if (out->failed)
        return;
    char *digits = out->data + start + in->minus;
    size_t count = out->len - start - in->minus;
    if (in->fraction_len > scale && in->fraction[scale] >= '5') {
        size_t at = count;
        while (at-- > 0 && digits[at] == '9')
            digits[at] = '0';
        digits[at]++; /* the leading 0 stops the carry */
    }
    size_t zeros = 0;
    while (zeros + scale + 1 < count && digits[zeros] == '0')
        zeros++;
    memmove(digits, digits + zeros, count - zeros);
    out->len -= zeros;
    count -= zeros;
    size_t leading = 0;
    while (leading < count && digits[leading] == '0')
        leading++;
    if (in->minus && leading == count) {
        memmove(out->data + start, out->data + start + 1, count);
        out->len--;
    }
    if (scale > 0) {
        tr_outbuf_byte(out, '.');
        if (out->failed)
            return;
        char *point = out->data + out->len - 1 - scale;
        memmove(point + 1, point, scale);
        *point = '.';
    }
}

/* -1.5e+20 → -150000000000000000000 */
static void expand_exponent(const char *text, struct tr_outbuf *out)
{
    char digits[40];
    size_t count = 0, whole = 0;
    bool seen_point = false;
    if (*text == '-') {
        tr_outbuf_byte(out, '-');
        text++;
    }
    for (; *text != '\0' && *text != 'e' && count < sizeof digits; text++) {
        if (*text == '.') {
            seen_point = true;
            continue;
        }
        digits[count++] = *text;
        whole += !seen_point;
    }
    long exponent = *text == 'e' ? strtol(text + 1, NULL, 10) : 0;
    if (exponent < -EXPONENT_MAX || exponent > EXPONENT_MAX)
        return;
    long point = (long)whole + exponent;
    if (point <= 0)
        tr_outbuf_str(out, "0.");
    for (long i = point < 0 ? point : 0; i < (long)count || i < point; i++) {
        if (i == point && point > 0)
            tr_outbuf_byte(out, '.');
        tr_outbuf_byte(out, i >= 0 && i < (long)count ? digits[i] : '0');
    }
}

static int compare_decimal(const char *a, size_t a_len, const char *b, size_t b_len)
{
    struct decimal left, right;
    bool a_number = split_decimal(a, a_len, &left), b_number = split_decimal(b, b_len, &right);
    if (!a_number || !b_number) { /* -Infinity < numbers < Infinity < NaN */
        int a_rank = a_number                   ? 0
                     : a_len > 0 && a[0] == '-' ? -1
                     : a_len > 0 && a[0] == 'I' ? 1
                                                : 2;
        int b_rank = b_number                   ? 0
                     : b_len > 0 && b[0] == '-' ? -1
                     : b_len > 0 && b[0] == 'I' ? 1
                                                : 2;
        return a_rank - b_rank;
    }
    while (left.whole_len > 0 && *left.whole == '0')
        left.whole++, left.whole_len--;
    while (right.whole_len > 0 && *right.whole == '0')
        right.whole++, right.whole_len--;
    while (left.fraction_len > 0 && left.fraction[left.fraction_len - 1] == '0')
        left.fraction_len--;
    while (right.fraction_len > 0 && right.fraction[right.fraction_len - 1] == '0')
        right.fraction_len--;
    if (left.whole_len + left.fraction_len == 0)
        left.minus = false;
    if (right.whole_len + right.fraction_len == 0)
        right.minus = false;
    if (left.minus != right.minus)
        return left.minus ? -1 : 1;
    int order = left.whole_len != right.whole_len ? (left.whole_len < right.whole_len ? -1 : 1)
                                                  : memcmp(left.whole, right.whole, left.whole_len);
    if (order == 0) {
        size_t common =
            left.fraction_len < right.fraction_len ? left.fraction_len : right.fraction_len;
        order = memcmp(left.fraction, right.fraction, common);
        if (order == 0)
            order =
                (left.fraction_len > right.fraction_len) - (left.fraction_len < right.fraction_len);
    }
    return left.minus ? -order : order;
}

static int collate_decimal(void *ctx, int a_len, const void *a, int b_len, const void *b)
{
    (void)ctx;
    return compare_decimal(a, (size_t)a_len, b, (size_t)b_len);
}

/* ---- dates ---------------------------------------------------------------------------------- */

/* -infinity < BC < AD < infinity; a longer year is later. Returns the rank and finds the year's
 * length. */
static int time_rank(const char *ptr, size_t len, size_t *year_len)
{
    *year_len = 0;
    if (len > 0 && ptr[0] == '-')
        return -2;
    if (len > 0 && ptr[0] == 'i')
        return 2;
    while (*year_len < len && isdigit((unsigned char)ptr[*year_len]))
        (*year_len)++;
    return len > 3 && memcmp(ptr + len - 3, " BC", 3) == 0 ? -1 : 1;
}

static int compare_bytes(const char *a, size_t a_len, const char *b, size_t b_len)
{
    int order = memcmp(a, b, a_len < b_len ? a_len : b_len);
    return order != 0 ? order : (a_len > b_len) - (a_len < b_len);
}

static int collate_time(void *ctx, int a_size, const void *a_ptr, int b_size, const void *b_ptr)
{
    (void)ctx;
    const char *a = a_ptr, *b = b_ptr;
    size_t a_len = (size_t)a_size, b_len = (size_t)b_size, a_year, b_year;
    int a_rank = time_rank(a, a_len, &a_year), b_rank = time_rank(b, b_len, &b_year);
    if (a_rank != b_rank)
        return a_rank - b_rank;
    int year = a_year != b_year ? (a_year < b_year ? -1 : 1) : memcmp(a, b, a_year);
    if (year != 0)
        return a_rank == -1 ? -year : year; /* 2 BC is before 1 BC */
    /* the text behind the year, without a zone or BC, so that .5 stands behind no fraction */
    size_t a_end = a_len, b_end = b_len;
    for (size_t i = a_year; i < a_len; i++) {
        if (a[i] == '+' || (a[i] == ' ' && i + 2 < a_len && a[i + 1] == 'B')) {
            a_end = i;
            break;
        }
    }
    for (size_t i = b_year; i < b_len; i++) {
        if (b[i] == '+' || (b[i] == ' ' && i + 2 < b_len && b[i + 1] == 'B')) {
            b_end = i;
            break;
        }
    }
    return compare_bytes(a + a_year, a_end - a_year, b + b_year, b_end - b_year);
}

int tr_sqlite_register(sqlite3 *db)
{
    int rc = sqlite3_create_collation_v2(db, "tailrace_decimal", SQLITE_UTF8, NULL, collate_decimal,
                                         NULL);
    if (rc == SQLITE_OK)
        rc =
            sqlite3_create_collation_v2(db, "tailrace_time", SQLITE_UTF8, NULL, collate_time, NULL);
    return rc;
}

/* ---- type changes --------------------------------------------------------------------------- */

static bool is_float(enum tr_type type) { return type == TR_T_FLOAT32 || type == TR_T_FLOAT64; }
static bool is_date_or_time(enum tr_type type)
{
    return type == TR_T_DATE || type == TR_T_TIMESTAMP || type == TR_T_TIMESTAMPTZ;
}

bool tr_sqlite_conversion_needed(const struct tr_column *before, const struct tr_column *after)
{
    if (tr_sqlite_storage(before->type) != tr_sqlite_storage(after->type))
        return true;
    if (after->type == TR_T_DECIMAL && after->precision > 0)
        return before->type != TR_T_DECIMAL || before->precision == 0 ||
               before->scale != after->scale;
    if (is_float(after->type) || (is_date_or_time(before->type) && is_date_or_time(after->type)))
        return before->type != after->type;
    return false;
}

static void to_date_or_time(enum tr_type to, const char *ptr, size_t len, struct tr_outbuf *out)
{
    bool bc = len > 3 && memcmp(ptr + len - 3, " BC", 3) == 0;
    if (bc)
        len -= 3;
    const char *space = memchr(ptr, ' ', len);
    if (len == 0 || !isdigit((unsigned char)ptr[0])) { /* infinity */
        tr_outbuf_bytes(out, ptr, len);
        return;
    }
    size_t date_len = space != NULL ? (size_t)(space - ptr) : len;
    const char *zone = memchr(ptr, '+', len);
    size_t plain_len = zone != NULL ? (size_t)(zone - ptr) : len;
    tr_outbuf_bytes(out, ptr, to == TR_T_DATE ? date_len : plain_len);
    if (to != TR_T_DATE && space == NULL)
        tr_outbuf_str(out, " 00:00:00");
    if (to == TR_T_TIMESTAMPTZ)
        tr_outbuf_str(out, "+00");
    if (bc)
        tr_outbuf_str(out, " BC");
}

static void to_decimal(enum tr_type from, const char *ptr, size_t len, bool fixed, size_t scale,
                       struct tr_outbuf *out)
{
    struct tr_outbuf plain = {0};
    struct decimal number;
    if (is_float(from) && len > 0 && (isdigit((unsigned char)ptr[len - 1]))) {
        /* float → numeric goes by 6 or 15 digits (FLT_DIG, DBL_DIG) */
        char text[64], short_text[64];
        (void)snprintf(text, sizeof text, "%.*s", (int)(len < 63 ? len : 63), ptr);
        (void)snprintf(short_text, sizeof short_text, "%.*g", from == TR_T_FLOAT32 ? 6 : 15,
                       strtod(text, NULL));
        expand_exponent(short_text, &plain);
        ptr = plain.data;
        len = plain.len;
    }
    if (fixed && !plain.failed && split_decimal(ptr, len, &number))
        rescale(&number, scale, out);
    else
        tr_outbuf_bytes(out, ptr, len);
    tr_outbuf_free(&plain);
}

/* Canonical text of the old type → canonical text of the new one. */
static void convert(enum tr_type from, enum tr_type to, bool fixed, size_t scale, const char *ptr,
                    size_t len, struct tr_outbuf *out)
{
    char number[64];
    switch (to) {
    case TR_T_BOOLEAN:
        tr_outbuf_byte(out, len > 0 && strchr("fFnN0", ptr[0]) == NULL ? 't' : 'f');
        return;
    case TR_T_INT8:
    case TR_T_INT16:
    case TR_T_INT32:
    case TR_T_INT64:
    case TR_T_UINT64:
        if (from == TR_T_BOOLEAN) {
            tr_outbuf_byte(out, ptr[0] == 't' ? '1' : '0');
        } else if (is_float(from)) { /* rounds half to even */
            (void)snprintf(number, sizeof number, "%.*s", (int)(len < 63 ? len : 63), ptr);
            tr_outbuf_printf(out, "%.0f", nearbyint(strtod(number, NULL)));
        } else {
            to_decimal(from, ptr, len, true, 0, out);
        }
        return;
    case TR_T_FLOAT32:
    case TR_T_FLOAT64:
        if (from == to || !(is_float(from)) || len == 0 || !isdigit((unsigned char)ptr[len - 1])) {
            tr_outbuf_bytes(out, ptr, len);
            return;
        }
        (void)snprintf(number, sizeof number, "%.*s", (int)(len < 63 ? len : 63), ptr);
        char shortest[32];
        tr_sqlite_format_real((double)strtof(number, NULL), to == TR_T_FLOAT32, shortest);
        tr_outbuf_str(out, shortest);
        return;
    case TR_T_DECIMAL:
        to_decimal(from, ptr, len, fixed, scale, out);
        return;
    case TR_T_DATE:
    case TR_T_TIMESTAMP:
    case TR_T_TIMESTAMPTZ:
        to_date_or_time(to, ptr, len, out);
        return;
    default:
        if (from == TR_T_BOOLEAN)
            tr_outbuf_str(out, ptr[0] == 't' ? "true" : "false");
        else
            tr_outbuf_bytes(out, ptr, len);
    }
}

static void result_value(sqlite3_context *ctx, const struct sqlite_value *value)
{
    switch (value->kind) {
    case SQLITE_INTEGER:
        sqlite3_result_int64(ctx, value->integer);
        break;
    case SQLITE_FLOAT:
        sqlite3_result_double(ctx, value->real);
        break;
    case SQLITE_TEXT:
        sqlite3_result_text64(ctx, value->ptr, value->len, SQLITE_TRANSIENT, SQLITE_UTF8);
        break;
    case SQLITE_BLOB:
        sqlite3_result_blob64(ctx, value->ptr, value->len, SQLITE_TRANSIENT);
        break;
    default:
        sqlite3_result_null(ctx);
    }
}

/* tailrace_convert(value, from, to, fixed scale or -1) */
static void convert_function(sqlite3_context *ctx, int argc, sqlite3_value **argv)
{
    (void)argc;
    struct sqlite_value in = {.kind = sqlite3_value_type(argv[0])}, value = {0};
    enum tr_type from = (enum tr_type)sqlite3_value_int(argv[1]);
    enum tr_type to = (enum tr_type)sqlite3_value_int(argv[2]);
    int scale = sqlite3_value_int(argv[3]);
    if (in.kind == SQLITE_NULL || from >= TR_T_COUNT || to >= TR_T_COUNT) {
        sqlite3_result_value(ctx, argv[0]);
        return;
    }
    if (in.kind == SQLITE_INTEGER)
        in.integer = sqlite3_value_int64(argv[0]);
    else if (in.kind == SQLITE_FLOAT)
        in.real = sqlite3_value_double(argv[0]);
    else {
        in.ptr = sqlite3_value_blob(argv[0]); /* of TEXT: its bytes */
        in.len = (size_t)sqlite3_value_bytes(argv[0]);
        if (in.ptr == NULL)
            in.ptr = "";
    }
    struct tr_arena scratch;
    struct tr_outbuf text = {0};
    struct tr_cell cell;
    tr_arena_init(&scratch, 4096, 0);
    enum sqlite_store_result result = STORE_NO_MEMORY;
    if (tr_sqlite_load(from, &in, &scratch, &cell)) {
        convert(from, to, scale >= 0, scale >= 0 ? (size_t)scale : 0, cell.ptr, cell.len, &text);
        if (!text.failed) {
            cell = (struct tr_cell){
                .ptr = text.data, .len = (uint32_t)text.len, .state = TR_CELL_TEXT};
            result = tr_sqlite_store(to, &cell, &scratch, &value);
        }
    }
    if (result == STORED)
        result_value(ctx, &value);
    else if (result == STORE_NO_MEMORY)
        sqlite3_result_error_nomem(ctx);
    else
        sqlite3_result_value(ctx, argv[0]);
    tr_outbuf_free(&text);
    tr_arena_free(&scratch);
}

int tr_sqlite_register_convert(sqlite3 *db)
{
    return sqlite3_create_function_v2(db, "tailrace_convert", 4,
                                      SQLITE_UTF8 | SQLITE_DETERMINISTIC | SQLITE_DIRECTONLY, NULL,
                                      convert_function, NULL, NULL, NULL);
}

void tr_sqlite_convert_call(struct tr_outbuf *sql, const char *name, const struct tr_column *before,
                            const struct tr_column *after)
{
    int scale = after->type == TR_T_DECIMAL && after->precision > 0 ? after->scale : -1;
    tr_outbuf_str(sql, "tailrace_convert(");
    tr_sqlite_quote(sql, name);
    tr_outbuf_printf(sql, ",%d,%d,%d)", (int)before->type, (int)after->type,
                     scale < -1 ? -1 : scale);
}
