/* See the header. */
#include "decode/json_number.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/outbuf.h"

#define POINT_LIMIT (INT64_C(1) << 40) /* exponents saturate here, far beyond every bound */
/* Any decimal of so many digits survives the way to binary64 (binary32) and back, so its digits are
 * the shortest ones: the common case needs no conversion at all. */
#define DOUBLE_DIGITS_SURE 15
#define FLOAT_DIGITS_SURE 6
#define DOUBLE_POINT_SURE 290 /* far from where binary64 loses digits; binary32: */
#define FLOAT_POINT_SURE 30
#define DOUBLE_DIGITS_MAX 17
#define FLOAT_DIGITS_MAX 9
/* PostgreSQL writes an exponent below 1e-4 and from 1e15 (1e6) on. */
#define DOUBLE_FIXED_MAX 15
#define FLOAT_FIXED_MAX 6
#define FIXED_MIN (-4)

static inline bool is_digit(char byte) { return byte >= '0' && byte <= '9'; }

static inline char digit_at(const struct tr_number *number, size_t i)
{
    return i < number->whole_len ? number->whole[i] : number->fraction[i - number->whole_len];
}

static bool parse_exponent(const char *at, const char *end, int64_t *exponent)
{
    bool negative = at < end && *at == '-';
    *exponent = 0;
    at += at < end && (*at == '-' || *at == '+');
    if (at == end)
        return false;
    for (; at < end; at++) {
        if (!is_digit(*at))
            return false;
        if (*exponent < POINT_LIMIT)
            *exponent = *exponent * 10 + (*at - '0');
    }
    if (negative)
        *exponent = -*exponent;
    return true;
}

bool tr_number_parse(const char *text, size_t len, struct tr_number *number)
{
    const char *at = text, *end = text + len;
    int64_t exponent = 0;
    number->negative = at < end && *at == '-';
    at += at < end && (*at == '-' || *at == '+');
    number->whole = at;
    while (at < end && is_digit(*at))
        at++;
    number->whole_len = (size_t)(at - number->whole);
    at += at < end && *at == '.';
    number->fraction = at;
    while (at < end && is_digit(*at))
        at++;
    number->fraction_len = (size_t)(at - number->fraction);
    size_t count = number->whole_len + number->fraction_len;
    if (count == 0)
        return false;
    if (at < end && ((*at | 0x20) != 'e' || !parse_exponent(at + 1, end, &exponent)))
        return false;
    number->first = 0;
    number->last = count;
    while (number->first < count && digit_at(number, number->first) == '0')
        number->first++;
    while (number->last > number->first && digit_at(number, number->last - 1) == '0')
        number->last--;
    number->point = (int64_t)number->whole_len + exponent;
    return true;
}

static bool is_zero(const struct tr_number *number) { return number->first == number->last; }

int64_t tr_number_whole_digits(const struct tr_number *number)
{
    int64_t digits = number->point - (int64_t)number->first;
    return is_zero(number) || digits < 0 ? 0 : digits;
}

int64_t tr_number_scale(const struct tr_number *number)
{
    int64_t digits = (int64_t)number->last - number->point;
    return is_zero(number) || digits < 0 ? 0 : digits;
}

bool tr_number_uint64(const struct tr_number *number, uint64_t *value)
{
    uint64_t sum = 0;
    if (is_zero(number)) {
        *value = 0;
        return true;
    }
    if (number->negative || tr_number_scale(number) > 0 || tr_number_whole_digits(number) > 20)
        return false;
    for (int64_t i = (int64_t)number->first; i < number->point; i++) {
        unsigned digit =
            (size_t)i < number->last ? (unsigned)(digit_at(number, (size_t)i) - '0') : 0;
        if (sum > (UINT64_MAX - digit) / 10)
            return false;
        sum = sum * 10 + digit;
    }
    *value = sum;
    return true;
}

bool tr_number_int64(const struct tr_number *number, int64_t *value)
{
    struct tr_number size = *number;
    uint64_t sum;
    size.negative = false;
    if (!tr_number_uint64(&size, &sum) || sum > (uint64_t)INT64_MAX + number->negative)
        return false;
    *value = number->negative ? (int64_t)(0 - sum) : (int64_t)sum;
    return true;
}

/* ---- decimal -------------------------------------------------------------------------------- */

/* Digits behind the point as written: 12.50 has two, 1e3 none. */
static int64_t written_scale(const struct tr_number *number)
{
    int64_t scale = (int64_t)(number->whole_len + number->fraction_len) - number->point;
    return scale < 0 ? 0 : scale;
}

size_t tr_number_decimal_bytes(const struct tr_number *number, int32_t scale)
{
    int64_t written = (int64_t)(number->whole_len + number->fraction_len);
    int64_t point = number->point < 0 ? -number->point : number->point;
    if (point > TR_NUMBER_EXPONENT_MAX + written)
        return 0;
    return (size_t)(written + point + (scale > 0 ? scale : 0)) + 4;
}

size_t tr_number_decimal(const struct tr_number *number, int32_t scale, char *out)
{
    char *to = out;
    int64_t count = (int64_t)(number->whole_len + number->fraction_len);
    int64_t fraction = written_scale(number), padded = fraction;
    if (scale >= 0)
        padded = scale;
    if (number->negative && !is_zero(number))
        *to++ = '-';
    int64_t i = (int64_t)number->first;
    if (i >= number->point || is_zero(number)) {
        *to++ = '0';
        i = number->point;
    }
    for (; i < number->point; i++)
        *to++ = i < count ? digit_at(number, (size_t)i) : '0';
    if (padded <= 0)
        return (size_t)(to - out);
    *to++ = '.';
    for (int64_t k = 0; k < padded; k++) {
        int64_t at = number->point + k;
        *to++ = at >= 0 && at < count ? digit_at(number, (size_t)at) : '0';
    }
    return (size_t)(to - out);
}

/* ---- binary floating point ------------------------------------------------------------------ */

/* The layout that PostgreSQL gives 0.digits × 10^point. */
static size_t layout(bool negative, const char *digits, size_t count, int64_t point, bool single,
                     char *out)
{
    char *to = out;
    int64_t exponent = point - 1; /* of d.ddd */
    if (negative)
        *to++ = '-';
    if (count == 0) {
        *to++ = '0';
    } else if (exponent < FIXED_MIN || exponent >= (single ? FLOAT_FIXED_MAX : DOUBLE_FIXED_MAX)) {
        *to++ = digits[0];
        if (count > 1) {
            *to++ = '.';
            memcpy(to, digits + 1, count - 1);
            to += count - 1;
        }
        *to++ = 'e';
        *to++ = exponent < 0 ? '-' : '+';
        int64_t size = exponent < 0 ? -exponent : exponent;
        if (size < 10)
            *to++ = '0';
        to += tr_i64_text(size, to);
    } else {
        if (point <= 0)
            *to++ = '0';
        for (int64_t i = 0; i < point; i++)
            *to++ = i < (int64_t)count ? digits[i] : '0';
        if ((int64_t)count > point) {
            *to++ = '.';
            for (int64_t i = point; i < (int64_t)count; i++)
                *to++ = i < 0 ? '0' : digits[i];
        }
    }
    return (size_t)(to - out);
}

/* digits: room for 17; of the shortest decimal that reads back as `value`. */
static size_t shortest_digits(double value, bool single, char *digits, int64_t *point)
{
    char text[TR_NUMBER_TEXT_BYTES];
    int most = single ? FLOAT_DIGITS_MAX : DOUBLE_DIGITS_MAX;
    int least = single ? FLOAT_DIGITS_SURE : DOUBLE_DIGITS_SURE;
    if (fabs(value) < (single ? (double)FLT_MIN : DBL_MIN))
        least = 1; /* subnormal: fewer digits may do */
    for (int count = least; count <= most; count++) {
        (void)snprintf(text, sizeof text, "%.*e", count - 1, value);
        if (single ? strtof(text, NULL) == (float)value : strtod(text, NULL) == value)
            break;
    }
    struct tr_number back;
    if (!tr_number_parse(text, strlen(text), &back))
        return 0;
    for (size_t i = back.first; i < back.last; i++)
        digits[i - back.first] = digit_at(&back, i);
    *point = back.point - (int64_t)back.first;
    return back.last - back.first;
}

static bool same_digits(const struct tr_number *number, const char *digits, size_t count,
                        int64_t point)
{
    if (number->last - number->first != count || number->point - (int64_t)number->first != point)
        return false;
    for (size_t i = 0; i < count; i++) {
        if (digit_at(number, number->first + i) != digits[i])
            return false;
    }
    return true;
}

/* The number as C reads it; NUL-terminated. */
static bool to_binary(const struct tr_number *number, bool single, double *value)
{
    char text[TR_NUMBER_DOUBLE_BYTES_MAX + TR_NUMBER_TEXT_BYTES];
    size_t count = number->last - number->first;
    if (count > TR_NUMBER_DOUBLE_BYTES_MAX || number->point > POINT_LIMIT ||
        number->point < -POINT_LIMIT)
        return false;
    text[0] = '0';
    text[1] = '.';
    for (size_t i = 0; i < count; i++)
        text[2 + i] = digit_at(number, number->first + i);
    (void)snprintf(text + 2 + count, TR_NUMBER_TEXT_BYTES - 2, "e%lld",
                   (long long)(number->point - (int64_t)number->first));
    *value = single ? (double)strtof(text, NULL) : strtod(text, NULL);
    return isfinite(*value) && *value != 0;
}

bool tr_number_double(const struct tr_number *number, bool single, char *out, size_t *out_len,
                      bool *exact)
{
    char digits[DOUBLE_DIGITS_MAX + 1];
    size_t count = number->last - number->first;
    int64_t point = is_zero(number) ? 1 : number->point - (int64_t)number->first;
    int64_t point_sure = single ? FLOAT_POINT_SURE : DOUBLE_POINT_SURE;
    bool kept = true;
    if (count <= (single ? FLOAT_DIGITS_SURE : DOUBLE_DIGITS_SURE) && point < point_sure &&
        point > -point_sure) {
        for (size_t i = 0; i < count; i++)
            digits[i] = digit_at(number, number->first + i);
    } else {
        double value;
        if (!to_binary(number, single, &value))
            return false;
        count = shortest_digits(value, single, digits, &point);
        kept = same_digits(number, digits, count, point);
    }
    *out_len = layout(number->negative, digits, count, point, single, out);
    if (exact != NULL)
        *exact = kept;
    return true;
}
