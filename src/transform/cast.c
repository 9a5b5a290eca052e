/* Values from and to text, CAST, comparison. */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "base/outbuf.h"
#include "transform/decimal.h"
#include "transform/program.h"
#include "transform/text.h"

#define NUMBER_TEXT_MAX 400 /* a double written in full has some 330 digits */

/* ---- doubles ------------------------------------------------------------------------------------
 */

double tx_double_of(const struct tx_val *value)
{
    return value->kind == TX_VAL_DBL   ? value->d
           : value->kind == TX_VAL_INT ? (double)value->i
                                       : (double)NAN;
}

static size_t write_word(const char *word, char *buf)
{
    size_t len = strlen(word);
    memcpy(buf, word, len);
    return len;
}

/* The fewest digits that read back as the same number, laid out as PostgreSQL does: an exponent
 * below -4 and from 15 (6 for FLOAT) on. */
size_t tx_double_write(double value, bool single, char *buf)
{
    char digits[40];
    if (isnan(value))
        return write_word("NaN", buf);
    if (isinf(value))
        return write_word(value > 0 ? "Infinity" : "-Infinity", buf);
    int precision = single ? 5 : 14, most = single ? 8 : 16;
    for (;; precision++) {
        (void)snprintf(digits, sizeof digits, "%.*e", precision, value);
        if (precision == most ||
            (single ? strtof(digits, NULL) == (float)value : strtod(digits, NULL) == value))
            break;
    }
    /* [-]d.ddde±xx → digits and exponent */
    char *at = digits, *e = strchr(digits, 'e');
    int exponent = (int)strtol(e + 1, NULL, 10), count = 0;
    char plain[24];
    size_t len = 0;
    if (*at == '-')
        buf[len++] = *at++;
    for (; at < e; at++) {
        if (*at != '.')
            plain[count++] = *at;
    }
    while (count > 1 && plain[count - 1] == '0')
        count--;
    if (exponent < -4 || exponent >= (single ? 6 : 15)) {
        buf[len++] = plain[0];
        if (count > 1)
            buf[len++] = '.';
        memcpy(buf + len, plain + 1, (size_t)count - 1);
        len += (size_t)count - 1;
        return len +
               (size_t)snprintf(buf + len, 8, "e%c%02d", exponent < 0 ? '-' : '+', abs(exponent));
    }
    if (exponent < 0) {
        len += write_word("0.", buf + len);
        for (int i = -1; i > exponent; i--)
            buf[len++] = '0';
    }
    for (int i = 0; i < count || i <= exponent; i++) {
        if (exponent >= 0 && i == exponent + 1)
            buf[len++] = '.';
        buf[len++] = i < count ? plain[i] : '0';
    }
    return len;
}

static bool read_double(const char *text, size_t len, double *out)
{
    char copy[NUMBER_TEXT_MAX];
    while (len > 0 && *text == ' ') {
        text++;
        len--;
    }
    while (len > 0 && text[len - 1] == ' ')
        len--;
    if (len == 0 || len >= sizeof copy)
        return false;
    memcpy(copy, text, len);
    copy[len] = '\0';
    if (strspn(copy, "+-0123456789.eE") != len) { /* strtod also reads hexadecimal and "nan(…)" */
        if (strcasecmp(copy, "nan") == 0)
            *out = (double)NAN;
        else if (strcasecmp(copy, "infinity") == 0 || strcasecmp(copy, "+infinity") == 0)
            *out = (double)INFINITY;
        else if (strcasecmp(copy, "-infinity") == 0)
            *out = -(double)INFINITY;
        else
            return false;
        return true;
    }
    char *end;
    *out = strtod(copy, &end);
    return *end == '\0';
}

/* ---- cells --------------------------------------------------------------------------------------
 */

static bool read_int(const char *text, size_t len, int64_t *out)
{
    size_t at = 0;
    bool minus = len > 0 && text[0] == '-';
    uint64_t value = 0;
    if (len > 0 && (text[0] == '-' || text[0] == '+'))
        at++;
    if (at == len || len - at > 19)
        return false;
    for (; at < len; at++) {
        if (text[at] < '0' || text[at] > '9')
            return false;
        value = value * 10 + (uint64_t)(text[at] - '0');
    }
    if (value > (uint64_t)INT64_MAX + (minus ? 1 : 0))
        return false;
    *out = minus ? (int64_t)(0 - value) : (int64_t)value;
    return true;
}

static int hex(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool read_bytes(const struct tr_cell *cell, struct tr_arena *scratch, struct tx_val *out)
{
    if (cell->state == TR_CELL_BINARY) {
        *out = tx_blob(cell->ptr, cell->len);
        return true;
    }
    if (cell->len < 2 || cell->len % 2 != 0 || memcmp(cell->ptr, "\\x", 2) != 0)
        return false;
    size_t len = (cell->len - 2) / 2;
    char *bytes = tr_arena_alloc(scratch, len + 1, 1);
    if (bytes == NULL)
        return false;
    for (size_t i = 0; i < len; i++) {
        int high = hex(cell->ptr[2 + 2 * i]), low = hex(cell->ptr[3 + 2 * i]);
        if (high < 0 || low < 0)
            return false;
        bytes[i] = (char)(high * 16 + low);
    }
    *out = tx_blob(bytes, len);
    return true;
}

bool tx_cell_value(enum tx_kind kind, const struct tr_cell *cell, struct tr_arena *scratch,
                   struct tx_val *out)
{
    struct tx_zone_seen zone;
    *out = tx_int(0);
    if (cell->state == TR_CELL_BINARY && kind != TX_BYTES)
        return false;
    switch (kind) {
    case TX_BOOL:
        out->i = cell->len == 1 && cell->ptr[0] == 't';
        return cell->len == 1 && (cell->ptr[0] == 't' || cell->ptr[0] == 'f');
    case TX_INT:
        return read_int(cell->ptr, cell->len, &out->i);
    case TX_DBL:
        out->kind = TX_VAL_DBL;
        return read_double(cell->ptr, cell->len, &out->d);
    case TX_BYTES:
        return read_bytes(cell, scratch, out);
    case TX_DATE:
        return tx_date_read(cell->ptr, cell->len, &out->i);
    case TX_TIME:
        return tx_time_read(cell->ptr, cell->len, &out->i);
    case TX_STAMP:
    case TX_INSTANT:
        if (!tx_stamp_read(cell->ptr, cell->len, &out->i, &zone))
            return false;
        if (kind == TX_INSTANT && !tx_is_infinite(out->i))
            out->i -= zone.east_us;
        return true;
    default:
        *out = tx_text(cell->ptr, cell->len);
        return true;
    }
}

/* ---- text ---------------------------------------------------------------------------------------
 */

bool tx_to_text(struct tx_call *call, enum tx_kind kind, enum tr_type type,
                const struct tx_val *value, struct tx_val *out)
{
    if (value->kind == TX_VAL_TEXT || value->kind == TX_VAL_NULL) {
        *out = *value;
        return true;
    }
    if (value->kind == TX_VAL_BLOB) {
        *out = tx_text(value->p, value->len);
        return tx_is_utf8(value->p, value->len) || tx_call_fail(call, "the bytes are not UTF-8");
    }
    char *buf = tx_call_alloc(call, TX_TIME_TEXT_MAX);
    if (buf == NULL)
        return false;
    size_t len;
    if (value->kind == TX_VAL_DBL)
        len = tx_double_write(value->d, type == TR_T_FLOAT32, buf);
    else if (kind == TX_BOOL)
        len = write_word(value->i != 0 ? "true" : "false", buf);
    else if (kind == TX_DATE)
        len = tx_date_write(value->i, buf);
    else if (kind == TX_TIME)
        len = tx_time_write(value->i, buf);
    else if (kind == TX_STAMP || kind == TX_INSTANT)
        len = tx_stamp_write(value->i, kind == TX_INSTANT, buf);
    else
        len = tr_i64_text(value->i, buf);
    *out = tx_text(buf, len);
    return true;
}

/* ---- CAST ---------------------------------------------------------------------------------------
 */

static bool cast_bool(struct tx_call *call, const struct tx_val *value)
{
    static const char *const yes[] = {"true", "t", "1", "yes", "y", "on"};
    static const char *const no[] = {"false", "f", "0", "no", "n", "off"};
    if (value->kind == TX_VAL_INT || value->kind == TX_VAL_DBL) {
        call->result = tx_int(value->kind == TX_VAL_INT ? value->i != 0 : value->d != 0);
        return true;
    }
    if (call->site->from == TX_DEC) {
        struct tx_dec dec;
        if (tx_dec_read(value->p, value->len, &dec) != TX_DEC_OK)
            return tx_call_fail(call, "this DECIMAL cannot be cast to BOOLEAN");
        call->result = tx_int(dec.coefficient != 0);
        return true;
    }
    struct tx_val text = *value;
    while (text.len > 0 && *text.p == ' ') {
        text.p++;
        text.len--;
    }
    while (text.len > 0 && text.p[text.len - 1] == ' ')
        text.len--;
    for (size_t i = 0; i < sizeof yes / sizeof *yes; i++) {
        bool is_yes = text.len == strlen(yes[i]) && strncasecmp(text.p, yes[i], text.len) == 0;
        bool is_no = text.len == strlen(no[i]) && strncasecmp(text.p, no[i], text.len) == 0;
        if (is_yes || is_no) {
            call->result = tx_int(is_yes);
            return true;
        }
    }
    return tx_call_fail(call, "the text is no BOOLEAN");
}

static const char *int_name(enum tr_type type)
{
    return type == TR_T_INT8    ? "TINYINT"
           : type == TR_T_INT16 ? "SMALLINT"
           : type == TR_T_INT32 ? "INT"
                                : "BIGINT";
}

static bool in_range(struct tx_call *call, int64_t value)
{
    enum tr_type type = call->site->to.type;
    int bits = type == TR_T_INT8 ? 8 : type == TR_T_INT16 ? 16 : type == TR_T_INT32 ? 32 : 64;
    if (bits < 64 && (value < -(INT64_C(1) << (bits - 1)) || value >= INT64_C(1) << (bits - 1)))
        return tx_call_fail(call, "the number is beyond %s", int_name(type));
    call->result = tx_int(value);
    return true;
}

static bool cast_int(struct tx_call *call, const struct tx_val *value)
{
    int64_t whole;
    if (value->kind == TX_VAL_INT)
        return in_range(call, value->i);
    if (value->kind == TX_VAL_DBL) {
        if (!(value->d > -9223372036854775809.0 && value->d < 9223372036854775808.0))
            return tx_call_fail(call, "the number is beyond %s", int_name(call->site->to.type));
        return in_range(call, (int64_t)value->d);
    }
    struct tx_dec dec;
    enum tx_dec_status status = tx_dec_read(value->p, value->len, &dec);
    if (status == TX_DEC_FORM)
        return tx_call_fail(call, "the text is no number");
    if (status != TX_DEC_OK || !tx_dec_to_int(&dec, &whole))
        return tx_call_fail(call, "the number is beyond %s", int_name(call->site->to.type));
    return in_range(call, whole);
}

/* Rounded to the type's places; too many digits before the point fail. */
bool tx_give_decimal(struct tx_call *call, const struct tx_dec *dec)
{
    const struct tx_type *to = &call->site->to;
    struct tx_dec fitted = *dec;
    if (to->precision > 0 &&
        (tx_dec_round(dec, to->scale, TX_ROUND_HALF_UP, &fitted) != TX_DEC_OK ||
         tx_dec_digits(&fitted) > to->precision))
        return tx_call_fail(call, "the number is beyond DECIMAL(%d, %d)", to->precision, to->scale);
    char *text = tx_call_alloc(call, TX_DEC_TEXT_MAX);
    if (text == NULL)
        return false;
    call->result = tx_text(text, tx_dec_write(&fitted, text));
    return true;
}

static bool cast_decimal(struct tx_call *call, const struct tx_val *value)
{
    struct tx_dec dec;
    enum tx_dec_status status = TX_DEC_OK;
    if (value->kind == TX_VAL_INT)
        dec = tx_dec_of_int(value->i);
    else if (value->kind == TX_VAL_DBL)
        status = tx_dec_of_double(value->d, &dec);
    else
        status = tx_dec_read(value->p, value->len, &dec);
    if (status == TX_DEC_FORM)
        return tx_call_fail(call, "the value is no decimal number");
    if (status != TX_DEC_OK)
        return tx_call_fail(call, "the number has more than %d digits", TX_DEC_DIGITS_MAX);
    return tx_give_decimal(call, &dec);
}

static bool cast_double(struct tx_call *call, const struct tx_val *value)
{
    double number;
    if (value->kind == TX_VAL_TEXT) {
        if (!read_double(value->p, value->len, &number))
            return tx_call_fail(call, "the text is no number");
        bool written = value->len > 0 &&
                       strchr("iInN+-", value->p[value->len > 1 && *value->p == '-']) == NULL;
        if (isinf(number) && written)
            return tx_call_fail(call, "the number is beyond DOUBLE");
    } else {
        number = tx_double_of(value);
    }
    if (call->site->to.type == TR_T_FLOAT32) {
        float narrow = (float)number;
        if (isinf(narrow) && !isinf(number))
            return tx_call_fail(call, "the number is beyond FLOAT");
        number = (double)narrow;
    }
    call->result = tx_dbl(number);
    return true;
}

static bool fit_length(struct tx_call *call)
{
    const struct tx_type *to = &call->site->to;
    struct tx_val *text = &call->result;
    if (to->length <= 0)
        return true;
    size_t characters = tx_char_count(text->p, text->len);
    if (characters > (size_t)to->length) {
        text->len = (uint32_t)tx_char_offset(text->p, text->len, (size_t)to->length);
    } else if (to->fixed && characters < (size_t)to->length) {
        size_t pad = (size_t)to->length - characters;
        char *padded = tx_call_alloc(call, text->len + pad);
        if (padded == NULL)
            return false;
        memcpy(padded, text->p, text->len);
        memset(padded + text->len, ' ', pad);
        *text = tx_text(padded, text->len + pad);
    }
    return true;
}

/* 32 digits, with dashes in their places or none, maybe in braces. */
static bool cast_uuid(struct tx_call *call, const struct tx_val *value)
{
    char *text = tx_call_alloc(call, 36);
    size_t from = 0, to = 0, end = value->len;
    if (text == NULL)
        return false;
    if (end >= 2 && value->p[0] == '{' && value->p[end - 1] == '}') {
        from++;
        end--;
    }
    bool dashes = end - from == 36;
    for (; from < end && to < 36; from++) {
        char c = value->p[from];
        bool dash_here = to == 8 || to == 13 || to == 18 || to == 23;
        if (dash_here) {
            text[to++] = '-';
            if (dashes && c == '-')
                continue;
            if (dashes)
                return tx_call_fail(call, "the text is no UUID");
        }
        c = c >= 'A' && c <= 'F' ? (char)(c + 32) : c;
        if (hex(c) < 0)
            return tx_call_fail(call, "the text is no UUID");
        text[to++] = c;
    }
    if (from != end || to != 36)
        return tx_call_fail(call, "the text is no UUID");
    call->result = tx_text(text, 36);
    return true;
}

static bool cast_text(struct tx_call *call, const struct tx_val *value)
{
    enum tr_type from = call->site->single ? TR_T_FLOAT32 : TR_T_FLOAT64;
    if (!tx_to_text(call, call->site->from, from, value, &call->result))
        return false;
    if (call->site->to.type == TR_T_UUID) {
        struct tx_val text = call->result;
        return cast_uuid(call, &text);
    }
    if (call->site->to.type == TR_T_JSON) {
        json_error_t ignored;
        json_t *json = json_loadb(call->result.p, call->result.len, JSON_DECODE_ANY, &ignored);
        if (json == NULL)
            return tx_call_fail(call, "the text is not JSON");
        json_decref(json);
        return true;
    }
    return fit_length(call);
}

static bool give_time(struct tx_call *call, int64_t us)
{
    call->result = tx_int(tx_cut_us(us, call->site->to.precision));
    return true;
}

/* Any time or text as a wall clock of the zone. */
static bool wall_clock(struct tx_call *call, const struct tx_val *value, int64_t *us)
{
    const struct tx_zone *zone = call->env->zone;
    struct tx_zone_seen seen;
    switch (call->site->from) {
    case TX_DATE:
        *us = tx_is_infinite(value->i) ? value->i : value->i * TX_US_PER_DAY;
        return true;
    case TX_STAMP:
    case TX_TIME:
        *us = value->i;
        return true;
    case TX_INSTANT:
        *us = tx_zone_to_wall(zone, value->i);
        return true;
    default:
        if (!tx_stamp_read(value->p, value->len, us, &seen))
            return tx_call_fail(
                call, "the text is no date or time (2025-09-19T10:00:00Z, 2025-09-19 10:00:00)");
        if (seen.any)
            *us = tx_zone_to_wall(zone, *us - seen.east_us);
        return true;
    }
}

static bool instant(struct tx_call *call, const struct tx_val *value, int64_t *us)
{
    struct tx_zone_seen seen;
    if (call->site->from == TX_INSTANT) {
        *us = value->i;
        return true;
    }
    if (value->kind == TX_VAL_TEXT) {
        if (!tx_stamp_read(value->p, value->len, us, &seen))
            return tx_call_fail(
                call, "the text is no date or time (2025-09-19T10:00:00Z, 2025-09-19 10:00:00)");
        if (seen.any) {
            *us -= seen.east_us;
            return true;
        }
    } else if (!wall_clock(call, value, us)) {
        return false;
    }
    *us = tx_zone_from_wall(call->env->zone, *us);
    return true;
}

static bool cast_time(struct tx_call *call, const struct tx_val *value)
{
    int64_t us;
    if (value->kind == TX_VAL_TEXT && tx_time_read(value->p, value->len, &us))
        return give_time(call, us);
    if (call->site->from == TX_TIME)
        return give_time(call, value->i);
    if (!wall_clock(call, value, &us))
        return false;
    if (tx_is_infinite(us))
        return tx_call_fail(call, "infinity has no time of day");
    return give_time(call, us - tr_floor_div(us, TX_US_PER_DAY) * TX_US_PER_DAY);
}

static bool cast_now(struct tx_call *call, const struct tx_val *value)
{
    int64_t us;
    switch (call->site->to.kind) {
    case TX_BOOL:
        return cast_bool(call, value);
    case TX_INT:
        return cast_int(call, value);
    case TX_DEC:
        return cast_decimal(call, value);
    case TX_DBL:
        return cast_double(call, value);
    case TX_BYTES:
        call->result = tx_blob(value->p, value->len);
        return true;
    case TX_DATE:
        if (value->kind == TX_VAL_INT && call->site->from == TX_DATE) {
            call->result = *value;
            return true;
        }
        if (!wall_clock(call, value, &us))
            return false;
        call->result = tx_int(tx_is_infinite(us) ? us : tr_floor_div(us, TX_US_PER_DAY));
        return true;
    case TX_TIME:
        return cast_time(call, value);
    case TX_STAMP:
        return wall_clock(call, value, &us) && give_time(call, us);
    case TX_INSTANT:
        return instant(call, value, &us) && give_time(call, us);
    default:
        return cast_text(call, value);
    }
}

bool tx_cast(struct tx_call *call, const struct tx_val *value)
{
    if (value->kind == TX_VAL_NULL) {
        call->result = tx_null();
        return true;
    }
    struct tx_val nan = tx_dbl((double)NAN);
    if (call->site->from == TX_DBL && value->kind == TX_VAL_TEXT)
        value = &nan;
    if (cast_now(call, value))
        return true;
    if (!call->site->try_ || call->env->failed_code != TR_E_TRANSFORM_VALUE)
        return false;
    call->env->failed = false;
    call->result = tx_null();
    return true;
}

/* ---- comparison ---------------------------------------------------------------------------------
 */

static int sign(bool less, bool more) { return less ? -1 : more ? 1 : 0; }

/* NaN is equal to itself and above everything, as in PostgreSQL. */
static int compare_doubles(double a, double b)
{
    if (isnan(a) || isnan(b))
        return (int)isnan(a) - (int)isnan(b);
    return sign(a<b, a> b);
}

/* -Infinity, numbers, Infinity, NaN */
static int decimal_rank(const struct tx_val *value)
{
    char first = value->len > 0 ? *value->p : '0';
    return first == 'N' ? 2 : first == 'I' ? 1 : value->len > 1 && value->p[1] == 'I' ? -1 : 0;
}

bool tx_compare(struct tx_call *call, enum tx_kind kind, const struct tx_val *a,
                const struct tx_val *b, int *order)
{
    if (kind == TX_DEC) {
        struct tx_dec x, y;
        int rank_a = decimal_rank(a), rank_b = decimal_rank(b);
        *order = sign(rank_a<rank_b, rank_a> rank_b);
        if (rank_a != 0 || rank_b != 0)
            return true;
        if (tx_dec_read(a->p, a->len, &x) != TX_DEC_OK ||
            tx_dec_read(b->p, b->len, &y) != TX_DEC_OK)
            return tx_call_fail(call, "a DECIMAL of more than %d digits cannot be compared",
                                TX_DEC_DIGITS_MAX);
        *order = tx_dec_cmp(&x, &y);
    } else if (kind == TX_DBL) {
        *order = compare_doubles(tx_double_of(a), tx_double_of(b));
    } else if (a->kind == TX_VAL_INT) {
        *order = sign(a->i<b->i, a->i> b->i);
    } else {
        size_t shared = a->len < b->len ? a->len : b->len;
        int bytes = shared == 0 ? 0 : memcmp(a->p, b->p, shared);
        *order = bytes != 0 ? sign(bytes<0, bytes> 0) : sign(a->len<b->len, a->len> b->len);
    }
    return true;
}
