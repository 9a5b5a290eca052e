#include "transform/decimal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static tx_u128 power10(int exponent)
{
    static const uint64_t small[] = {1,
                                     10,
                                     100,
                                     1000,
                                     10000,
                                     100000,
                                     1000000,
                                     10000000,
                                     100000000,
                                     1000000000,
                                     10000000000,
                                     100000000000,
                                     1000000000000,
                                     10000000000000,
                                     100000000000000,
                                     1000000000000000,
                                     10000000000000000,
                                     100000000000000000,
                                     1000000000000000000,
                                     10000000000000000000u};
    if (exponent < 20)
        return small[exponent];
    return (tx_u128)small[19] * small[exponent - 19];
}

static bool fits(tx_u128 coefficient) { return coefficient < power10(TX_DEC_DIGITS_MAX); }

/* coefficient × 10^by; false beyond 38 digits. */
static bool scale_up(tx_u128 coefficient, int by, tx_u128 *out)
{
    if (coefficient == 0) {
        *out = 0;
        return true;
    }
    if (by > TX_DEC_DIGITS_MAX)
        return false;
    if (coefficient > (power10(TX_DEC_DIGITS_MAX) - 1) / power10(by))
        return false;
    *out = coefficient * power10(by);
    return true;
}

int tx_dec_digits(const struct tx_dec *dec)
{
    int digits = 1;
    while (digits < TX_DEC_DIGITS_MAX && dec->coefficient >= power10(digits))
        digits++;
    return digits;
}

/* ---- text ---------------------------------------------------------------------------------------
 */

/* Digits as they come; behind 38 the whole ones are an overflow, the others decide the rounding. */
struct digits {
    tx_u128 coefficient;
    int scale;
    bool any, over, full, round_up;
};

static void take_digit(struct digits *digits, char c, bool fraction)
{
    digits->any = true;
    tx_u128 next = digits->coefficient * 10 + (tx_u128)(c - '0');
    if (digits->full || !fits(next) || (fraction && digits->scale == TX_DEC_DIGITS_MAX)) {
        if (!fraction)
            digits->over = true;
        else if (!digits->full)
            digits->round_up = c >= '5';
        digits->full = true;
        return;
    }
    digits->coefficient = next;
    if (fraction)
        digits->scale++;
}

static bool take_exponent(const char **at, const char *end, int *exponent)
{
    const char *p = *at;
    *exponent = 0;
    if (p == end || (*p != 'e' && *p != 'E'))
        return true;
    p++;
    bool minus = p < end && *p == '-';
    if (p < end && (*p == '-' || *p == '+'))
        p++;
    if (p == end || *p < '0' || *p > '9')
        return false;
    for (; p < end && *p >= '0' && *p <= '9'; p++) {
        if (*exponent < 10000)
            *exponent = *exponent * 10 + (*p - '0');
    }
    if (minus)
        *exponent = -*exponent;
    *at = p;
    return true;
}

static enum tx_dec_status apply_exponent(struct tx_dec *out, int exponent)
{
    int scale = out->scale - exponent;
    if (out->coefficient == 0) {
        out->scale = scale < 0 ? 0 : scale > TX_DEC_DIGITS_MAX ? TX_DEC_DIGITS_MAX : scale;
        return TX_DEC_OK;
    }
    if (scale < 0) {
        if (!scale_up(out->coefficient, -scale, &out->coefficient))
            return TX_DEC_OVERFLOW;
        out->scale = 0;
        return TX_DEC_OK;
    }
    if (scale > TX_DEC_DIGITS_MAX) {
        int drop = scale - TX_DEC_DIGITS_MAX;
        if (drop > TX_DEC_DIGITS_MAX) {
            out->coefficient = 0;
        } else {
            tx_u128 by = power10(drop), rest = out->coefficient % by;
            out->coefficient = out->coefficient / by + (rest >= by - rest ? 1 : 0);
        }
        scale = TX_DEC_DIGITS_MAX;
    }
    out->scale = scale;
    return TX_DEC_OK;
}

enum tx_dec_status tx_dec_read(const char *text, size_t len, struct tx_dec *out)
{
    const char *at = text, *end = text + len;
    while (at < end && *at == ' ')
        at++;
    while (end > at && end[-1] == ' ')
        end--;
    struct digits digits = {0};
    bool negative = at < end && *at == '-';
    if (at < end && (*at == '-' || *at == '+'))
        at++;
    for (; at < end && *at >= '0' && *at <= '9'; at++)
        take_digit(&digits, *at, false);
    if (at < end && *at == '.') {
        for (at++; at < end && *at >= '0' && *at <= '9'; at++)
            take_digit(&digits, *at, true);
    }
    int exponent;
    if (!digits.any || !take_exponent(&at, end, &exponent) || at != end)
        return TX_DEC_FORM;
    if (digits.over)
        return TX_DEC_OVERFLOW;
    *out = (struct tx_dec){negative, digits.coefficient, digits.scale};
    if (digits.round_up)
        out->coefficient++;
    if (!fits(out->coefficient))
        return TX_DEC_OVERFLOW;
    enum tx_dec_status status = apply_exponent(out, exponent);
    if (out->coefficient == 0)
        out->negative = false;
    return status;
}

size_t tx_dec_write(const struct tx_dec *dec, char *buf)
{
    char digits[TX_DEC_DIGITS_MAX + 2];
    int count = 0, len = 0;
    for (tx_u128 rest = dec->coefficient; rest != 0 || count <= dec->scale; rest /= 10)
        digits[count++] = (char)('0' + (int)(rest % 10));
    if (dec->negative && dec->coefficient != 0)
        buf[len++] = '-';
    while (count > 0) {
        if (count == dec->scale)
            buf[len++] = '.';
        buf[len++] = digits[--count];
    }
    return (size_t)len;
}

/* ---- conversions --------------------------------------------------------------------------------
 */

struct tx_dec tx_dec_of_int(int64_t value)
{
    uint64_t magnitude = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    return (struct tx_dec){value < 0, magnitude, 0};
}

enum tx_dec_status tx_dec_of_double(double value, struct tx_dec *out)
{
    if (isnan(value) || isinf(value))
        return TX_DEC_FORM;
    char text[40];
    for (int precision = 15; precision <= 17; precision++) {
        (void)snprintf(text, sizeof text, "%.*g", precision, value);
        if (strtod(text, NULL) == value)
            break;
    }
    return tx_dec_read(text, strlen(text), out);
}

double tx_dec_to_double(const struct tx_dec *dec)
{
    char text[TX_DEC_TEXT_MAX + 1];
    text[tx_dec_write(dec, text)] = '\0';
    return strtod(text, NULL);
}

bool tx_dec_to_int(const struct tx_dec *dec, int64_t *out)
{
    tx_u128 whole = dec->coefficient / power10(dec->scale);
    uint64_t limit = (uint64_t)INT64_MAX + (dec->negative ? 1 : 0);
    if (whole > limit)
        return false;
    *out = dec->negative ? (int64_t)(0 - (uint64_t)whole) : (int64_t)(uint64_t)whole;
    return true;
}

/* ---- arithmetic ---------------------------------------------------------------------------------
 */

/* Both to the larger scale. A common scale that does not fit is tried without zeros at the end. */
static bool align(struct tx_dec *a, struct tx_dec *b)
{
    if (a->scale == b->scale)
        return true;
    struct tx_dec *low = a->scale < b->scale ? a : b, *high = low == a ? b : a;
    while (high->scale > low->scale && high->coefficient % 10 == 0) {
        tx_u128 ignored;
        if (scale_up(low->coefficient, high->scale - low->scale, &ignored))
            break;
        high->coefficient /= 10;
        high->scale--;
    }
    if (!scale_up(low->coefficient, high->scale - low->scale, &low->coefficient))
        return false;
    low->scale = high->scale;
    return true;
}

enum tx_dec_status tx_dec_add(const struct tx_dec *a, const struct tx_dec *b, struct tx_dec *out)
{
    struct tx_dec x = *a, y = *b;
    if (!align(&x, &y))
        return TX_DEC_OVERFLOW;
    out->scale = x.scale;
    if (x.negative == y.negative) {
        out->coefficient = x.coefficient + y.coefficient;
        out->negative = x.negative;
    } else if (x.coefficient >= y.coefficient) {
        out->coefficient = x.coefficient - y.coefficient;
        out->negative = x.negative;
    } else {
        out->coefficient = y.coefficient - x.coefficient;
        out->negative = y.negative;
    }
    if (out->coefficient == 0)
        out->negative = false;
    return fits(out->coefficient) ? TX_DEC_OK : TX_DEC_OVERFLOW;
}

enum tx_dec_status tx_dec_mul(const struct tx_dec *a, const struct tx_dec *b, struct tx_dec *out)
{
    struct tx_dec x = *a, y = *b;
    /* zeros at the end cost digits and say nothing */
    for (struct tx_dec *each = &x;; each = &y) {
        while (x.scale + y.scale > TX_DEC_DIGITS_MAX && each->scale > 0 &&
               each->coefficient % 10 == 0) {
            each->coefficient /= 10;
            each->scale--;
        }
        if (each == &y)
            break;
    }
    tx_u128 product;
    if (__builtin_mul_overflow(x.coefficient, y.coefficient, &product))
        return TX_DEC_OVERFLOW;
    int scale = x.scale + y.scale;
    if (scale > TX_DEC_DIGITS_MAX) {
        tx_u128 by = power10(scale - TX_DEC_DIGITS_MAX), rest = product % by;
        product = product / by + (rest >= by - rest ? 1 : 0);
        scale = TX_DEC_DIGITS_MAX;
    }
    if (!fits(product))
        return TX_DEC_OVERFLOW;
    *out = (struct tx_dec){x.negative != y.negative && product != 0, product, scale};
    return TX_DEC_OK;
}

/* rest × 10 / by without 129 bits: ten additions, each reduced. Both are below 10^38. */
static int next_digit(tx_u128 *rest, tx_u128 by)
{
    tx_u128 sum = 0;
    int digit = 0;
    for (int i = 0; i < 10; i++) {
        sum += *rest;
        if (sum >= by) {
            sum -= by;
            digit++;
        }
    }
    *rest = sum;
    return digit;
}

enum tx_dec_status tx_dec_div(const struct tx_dec *a, const struct tx_dec *b, int scale,
                              struct tx_dec *out)
{
    if (b->coefficient == 0)
        return TX_DEC_ZERO;
    tx_u128 quotient = a->coefficient / b->coefficient, rest = a->coefficient % b->coefficient;
    int at = a->scale - b->scale; /* the quotient's scale so far */
    for (; at < scale; at++) {
        if (quotient > (power10(TX_DEC_DIGITS_MAX) - 10) / 10) {
            if (at < 0)
                return TX_DEC_OVERFLOW;
            break;
        }
        quotient = quotient * 10 + (tx_u128)next_digit(&rest, b->coefficient);
    }
    if (rest >= b->coefficient - rest && at <= scale)
        quotient++;
    bool negative = a->negative != b->negative;
    if (!fits(quotient))
        return TX_DEC_OVERFLOW;
    *out = (struct tx_dec){negative && quotient != 0, quotient, at < 0 ? 0 : at};
    if (at > scale) /* a has more places than were asked for */
        return tx_dec_round(out, scale, TX_ROUND_HALF_UP, out);
    return TX_DEC_OK;
}

enum tx_dec_status tx_dec_rem(const struct tx_dec *a, const struct tx_dec *b, struct tx_dec *out)
{
    struct tx_dec x = *a, y = *b;
    if (b->coefficient == 0)
        return TX_DEC_ZERO;
    if (!align(&x, &y))
        return TX_DEC_OVERFLOW;
    tx_u128 rest = x.coefficient % y.coefficient;
    *out = (struct tx_dec){x.negative && rest != 0, rest, x.scale};
    return TX_DEC_OK;
}

int tx_dec_cmp(const struct tx_dec *a, const struct tx_dec *b)
{
    if (a->negative != b->negative)
        return a->negative ? -1 : 1;
    tx_u128 whole_a = a->coefficient / power10(a->scale),
            whole_b = b->coefficient / power10(b->scale);
    int order = whole_a < whole_b ? -1 : whole_a > whole_b;
    if (order == 0) {
        tx_u128 part_a = a->coefficient % power10(a->scale) * power10(TX_DEC_DIGITS_MAX - a->scale);
        tx_u128 part_b = b->coefficient % power10(b->scale) * power10(TX_DEC_DIGITS_MAX - b->scale);
        order = part_a < part_b ? -1 : part_a > part_b;
    }
    return a->negative ? -order : order;
}

enum tx_dec_status tx_dec_round(const struct tx_dec *a, int scale, enum tx_round how,
                                struct tx_dec *out)
{
    struct tx_dec x = *a;
    if (scale > TX_DEC_DIGITS_MAX)
        scale = TX_DEC_DIGITS_MAX;
    if (scale >= x.scale) {
        if (!scale_up(x.coefficient, scale - x.scale, &x.coefficient))
            return TX_DEC_OVERFLOW;
        x.scale = scale;
        *out = x;
        return TX_DEC_OK;
    }
    int drop = x.scale - scale;
    bool beyond = drop > TX_DEC_DIGITS_MAX;
    tx_u128 by = beyond ? 0 : power10(drop);
    tx_u128 rest = beyond ? x.coefficient : x.coefficient % by;
    tx_u128 kept = beyond ? 0 : x.coefficient / by;
    bool up = how == TX_ROUND_HALF_UP ? !beyond && rest != 0 && rest >= by - rest
              : how == TX_ROUND_FLOOR ? rest != 0 && x.negative
              : how == TX_ROUND_CEIL  ? rest != 0 && !x.negative
                                      : false;
    kept += up ? 1 : 0;
    if (scale < 0) {
        if (!scale_up(kept, -scale, &kept))
            return TX_DEC_OVERFLOW;
        scale = 0;
    }
    if (!fits(kept))
        return TX_DEC_OVERFLOW;
    *out = (struct tx_dec){x.negative && kept != 0, kept, scale};
    return TX_DEC_OK;
}
