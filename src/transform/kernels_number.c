/* Kernels of numbers, CAST and comparison. An integer that does not fit fails; nothing wraps. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#include "transform/decimal.h"
#include "transform/program.h"

static bool beyond(struct tx_call *call)
{
    return tx_call_fail(call, "the number is beyond BIGINT");
}
static bool by_zero(struct tx_call *call) { return tx_call_fail(call, "division by zero"); }

/* ---- integers -----------------------------------------------------------------------------------
 */

static bool give(struct tx_call *call, int64_t value)
{
    call->result = tx_int(value);
    return true;
}

static bool k_add_i(struct tx_call *call)
{
    int64_t sum;
    return __builtin_add_overflow(call->args[0].i, call->args[1].i, &sum) ? beyond(call)
                                                                          : give(call, sum);
}
static bool k_sub_i(struct tx_call *call)
{
    int64_t sum;
    return __builtin_sub_overflow(call->args[0].i, call->args[1].i, &sum) ? beyond(call)
                                                                          : give(call, sum);
}
static bool k_mul_i(struct tx_call *call)
{
    int64_t product;
    return __builtin_mul_overflow(call->args[0].i, call->args[1].i, &product) ? beyond(call)
                                                                              : give(call, product);
}
static bool k_div_i(struct tx_call *call)
{
    int64_t a = call->args[0].i, b = call->args[1].i;
    if (b == 0)
        return by_zero(call);
    return a == INT64_MIN && b == -1 ? beyond(call) : give(call, a / b);
}
static bool k_mod_i(struct tx_call *call)
{
    int64_t a = call->args[0].i, b = call->args[1].i;
    return b == 0 ? by_zero(call) : give(call, b == -1 ? 0 : a % b);
}
static bool k_neg_i(struct tx_call *call)
{
    return call->args[0].i == INT64_MIN ? beyond(call) : give(call, -call->args[0].i);
}
static bool k_abs_i(struct tx_call *call)
{
    return call->args[0].i < 0 ? k_neg_i(call) : give(call, call->args[0].i);
}
static bool k_same(struct tx_call *call)
{
    call->result = call->args[0];
    return true;
}
static bool k_sign_i(struct tx_call *call)
{
    return give(call, (call->args[0].i > 0) - (call->args[0].i < 0));
}

static int places(const struct tx_call *call)
{
    int64_t count = call->count > 1 ? call->args[1].i : 0;
    return count > 100 ? 100 : count < -100 ? -100 : (int)count;
}

static bool round_i(struct tx_call *call, enum tx_round how)
{
    struct tx_dec dec = tx_dec_of_int(call->args[0].i), rounded;
    int64_t whole;
    if (places(call) >= 0)
        return give(call, call->args[0].i);
    if (tx_dec_round(&dec, places(call), how, &rounded) != TX_DEC_OK ||
        !tx_dec_to_int(&rounded, &whole))
        return beyond(call);
    return give(call, whole);
}
static bool k_round_i(struct tx_call *call) { return round_i(call, TX_ROUND_HALF_UP); }
static bool k_truncate_i(struct tx_call *call) { return round_i(call, TX_ROUND_ZERO); }

/* ---- decimals -----------------------------------------------------------------------------------
 */

static bool read(struct tx_call *call, uint32_t index, struct tx_dec *out)
{
    const struct tx_val *value = &call->args[index];
    if (value->kind == TX_VAL_INT) {
        *out = tx_dec_of_int(value->i);
        return true;
    }
    switch (tx_dec_read(value->p, value->len, out)) {
    case TX_DEC_OK:
        return true;
    case TX_DEC_OVERFLOW:
        return tx_call_fail(call, "a DECIMAL has more than %d digits", TX_DEC_DIGITS_MAX);
    default:
        return tx_call_fail(call, "NaN and Infinity cannot be computed with as DECIMAL");
    }
}

static bool give_status(struct tx_call *call, enum tx_dec_status status,
                        const struct tx_dec *result)
{
    if (status == TX_DEC_ZERO)
        return by_zero(call);
    if (status != TX_DEC_OK)
        return tx_call_fail(call, "the result has more than %d digits", TX_DEC_DIGITS_MAX);
    return tx_give_decimal(call, result);
}

static bool k_add_d(struct tx_call *call)
{
    struct tx_dec a, b, sum;
    return read(call, 0, &a) && read(call, 1, &b) &&
           give_status(call, tx_dec_add(&a, &b, &sum), &sum);
}
static bool k_sub_d(struct tx_call *call)
{
    struct tx_dec a, b, sum;
    if (!read(call, 0, &a) || !read(call, 1, &b))
        return false;
    b.negative = !b.negative;
    return give_status(call, tx_dec_add(&a, &b, &sum), &sum);
}
static bool k_mul_d(struct tx_call *call)
{
    struct tx_dec a, b, product;
    return read(call, 0, &a) && read(call, 1, &b) &&
           give_status(call, tx_dec_mul(&a, &b, &product), &product);
}

#define SCALE_UNBOUNDED 16 /* places of a quotient whose type has no bounds */

static bool k_div_d(struct tx_call *call)
{
    struct tx_dec a, b, quotient;
    if (!read(call, 0, &a) || !read(call, 1, &b))
        return false;
    int scale = call->site->to.scale;
    if (call->site->to.precision == 0) {
        scale = a.scale > b.scale ? a.scale : b.scale;
        scale = scale > SCALE_UNBOUNDED ? scale : SCALE_UNBOUNDED;
    }
    return give_status(call, tx_dec_div(&a, &b, scale, &quotient), &quotient);
}
static bool k_mod_d(struct tx_call *call)
{
    struct tx_dec a, b, rest;
    return read(call, 0, &a) && read(call, 1, &b) &&
           give_status(call, tx_dec_rem(&a, &b, &rest), &rest);
}
static bool k_neg_d(struct tx_call *call)
{
    struct tx_dec a;
    if (!read(call, 0, &a))
        return false;
    a.negative = !a.negative && a.coefficient != 0;
    return tx_give_decimal(call, &a);
}
static bool k_abs_d(struct tx_call *call)
{
    struct tx_dec a;
    if (!read(call, 0, &a))
        return false;
    a.negative = false;
    return tx_give_decimal(call, &a);
}
static bool k_sign_d(struct tx_call *call)
{
    struct tx_dec a;
    return read(call, 0, &a) && give(call, a.coefficient == 0 ? 0 : a.negative ? -1 : 1);
}
static bool round_d(struct tx_call *call, enum tx_round how)
{
    struct tx_dec a, rounded;
    if (!read(call, 0, &a))
        return false;
    if (places(call) > a.scale) /* nothing to round away; the result's type says the places */
        return tx_give_decimal(call, &a);
    return give_status(call, tx_dec_round(&a, places(call), how, &rounded), &rounded);
}
static bool k_round_d(struct tx_call *call) { return round_d(call, TX_ROUND_HALF_UP); }
static bool k_truncate_d(struct tx_call *call) { return round_d(call, TX_ROUND_ZERO); }
static bool k_floor_d(struct tx_call *call) { return round_d(call, TX_ROUND_FLOOR); }
static bool k_ceil_d(struct tx_call *call) { return round_d(call, TX_ROUND_CEIL); }

/* ---- doubles ------------------------------------------------------------------------------------
 */

static bool give_double(struct tx_call *call, double value)
{
    bool finite = true;
    for (uint32_t i = 0; i < call->count; i++)
        finite = finite && isfinite(tx_double_of(&call->args[i]));
    if (finite && !isfinite(value))
        return tx_call_fail(call, "the number is beyond DOUBLE");
    call->result = tx_dbl(value);
    return true;
}
static double arg(const struct tx_call *call, uint32_t index)
{
    return tx_double_of(&call->args[index]);
}

static bool k_add_f(struct tx_call *call) { return give_double(call, arg(call, 0) + arg(call, 1)); }
static bool k_sub_f(struct tx_call *call) { return give_double(call, arg(call, 0) - arg(call, 1)); }
static bool k_mul_f(struct tx_call *call) { return give_double(call, arg(call, 0) * arg(call, 1)); }
static bool k_div_f(struct tx_call *call)
{
    return arg(call, 1) == 0 ? by_zero(call) : give_double(call, arg(call, 0) / arg(call, 1));
}
static bool k_mod_f(struct tx_call *call)
{
    return arg(call, 1) == 0 ? by_zero(call) : give_double(call, fmod(arg(call, 0), arg(call, 1)));
}
static bool k_neg_f(struct tx_call *call) { return give_double(call, -arg(call, 0)); }
static bool k_abs_f(struct tx_call *call) { return give_double(call, fabs(arg(call, 0))); }
static bool k_ceil_f(struct tx_call *call) { return give_double(call, ceil(arg(call, 0))); }
static bool k_floor_f(struct tx_call *call) { return give_double(call, floor(arg(call, 0))); }
static bool k_sign_f(struct tx_call *call)
{
    return give(call, (arg(call, 0) > 0) - (arg(call, 0) < 0));
}

/* By the number's shortest text: 2.675 rounds to 2.68, as it reads. */
static bool round_f(struct tx_call *call, enum tx_round how)
{
    struct tx_dec dec, rounded;
    double value = arg(call, 0);
    if (tx_dec_of_double(value, &dec) != TX_DEC_OK || places(call) >= dec.scale ||
        tx_dec_round(&dec, places(call), how, &rounded) != TX_DEC_OK)
        return give_double(call, value);
    return give_double(call, tx_dec_to_double(&rounded));
}
static bool k_round_f(struct tx_call *call) { return round_f(call, TX_ROUND_HALF_UP); }
static bool k_truncate_f(struct tx_call *call) { return round_f(call, TX_ROUND_ZERO); }

static bool k_sqrt(struct tx_call *call)
{
    return arg(call, 0) < 0 ? tx_call_fail(call, "the square root of a negative number")
                            : give_double(call, sqrt(arg(call, 0)));
}
static bool k_power(struct tx_call *call)
{
    return give_double(call, pow(arg(call, 0), arg(call, 1)));
}
static bool k_exp(struct tx_call *call) { return give_double(call, exp(arg(call, 0))); }
static bool logarithm(struct tx_call *call, double (*of)(double))
{
    return arg(call, 0) <= 0
               ? tx_call_fail(call, "the logarithm of a number that is not above zero")
               : give_double(call, of(arg(call, 0)));
}
static bool k_ln(struct tx_call *call) { return logarithm(call, log); }
static bool k_log10(struct tx_call *call) { return logarithm(call, log10); }

/* ---- the rest -----------------------------------------------------------------------------------
 */

static bool k_cast(struct tx_call *call) { return tx_cast(call, &call->args[0]); }

static bool k_compare(struct tx_call *call)
{
    int order;
    return tx_compare(call, call->site->from, &call->args[0], &call->args[1], &order) &&
           give(call, order);
}

static bool extreme(struct tx_call *call, int want)
{
    call->result = call->args[0];
    for (uint32_t i = 1; i < call->count; i++) {
        int order;
        if (!tx_compare(call, call->site->from, &call->args[i], &call->result, &order))
            return false;
        if (order == want)
            call->result = call->args[i];
    }
    return true;
}
static bool k_greatest(struct tx_call *call) { return extreme(call, 1); }
static bool k_least(struct tx_call *call) { return extreme(call, -1); }

/* Version 4, of the system's random bytes. */
static bool k_uuid(struct tx_call *call)
{
    unsigned char bytes[16];
    char text[37];
    while (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes) {
        if (errno != EINTR)
            return tx_call_fail(call, "the system gives no random bytes");
    }
    bytes[6] = (unsigned char)((bytes[6] & 0x0F) | 0x40);
    bytes[8] = (unsigned char)((bytes[8] & 0x3F) | 0x80);
    size_t len = 0;
    for (size_t i = 0; i < sizeof bytes; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            text[len++] = '-';
        text[len++] = "0123456789abcdef"[bytes[i] >> 4];
        text[len++] = "0123456789abcdef"[bytes[i] & 15];
    }
    return tx_call_text(call, text, len);
}

const struct tx_kernel tx_kernels_number[] = {{"k_add_i", k_add_i, false},
                                              {"k_sub_i", k_sub_i, false},
                                              {"k_mul_i", k_mul_i, false},
                                              {"k_div_i", k_div_i, false},
                                              {"k_mod_i", k_mod_i, false},
                                              {"k_neg_i", k_neg_i, false},
                                              {"k_abs_i", k_abs_i, false},
                                              {"k_ceil_i", k_same, false},
                                              {"k_floor_i", k_same, false},
                                              {"k_round_i", k_round_i, false},
                                              {"k_truncate_i", k_truncate_i, false},
                                              {"k_sign_i", k_sign_i, false},
                                              {"k_add_d", k_add_d, false},
                                              {"k_sub_d", k_sub_d, false},
                                              {"k_mul_d", k_mul_d, false},
                                              {"k_div_d", k_div_d, false},
                                              {"k_mod_d", k_mod_d, false},
                                              {"k_neg_d", k_neg_d, false},
                                              {"k_abs_d", k_abs_d, false},
                                              {"k_ceil_d", k_ceil_d, false},
                                              {"k_floor_d", k_floor_d, false},
                                              {"k_round_d", k_round_d, false},
                                              {"k_truncate_d", k_truncate_d, false},
                                              {"k_sign_d", k_sign_d, false},
                                              {"k_add_f", k_add_f, false},
                                              {"k_sub_f", k_sub_f, false},
                                              {"k_mul_f", k_mul_f, false},
                                              {"k_div_f", k_div_f, false},
                                              {"k_mod_f", k_mod_f, false},
                                              {"k_neg_f", k_neg_f, false},
                                              {"k_abs_f", k_abs_f, false},
                                              {"k_ceil_f", k_ceil_f, false},
                                              {"k_floor_f", k_floor_f, false},
                                              {"k_round_f", k_round_f, false},
                                              {"k_truncate_f", k_truncate_f, false},
                                              {"k_sign_f", k_sign_f, false},
                                              {"k_sqrt", k_sqrt, false},
                                              {"k_power", k_power, false},
                                              {"k_exp", k_exp, false},
                                              {"k_ln", k_ln, false},
                                              {"k_log10", k_log10, false},
                                              {"k_cast", k_cast, false},
                                              {"k_compare", k_compare, false},
                                              {"k_greatest", k_greatest, false},
                                              {"k_least", k_least, false},
                                              {"k_uuid", k_uuid, false},
                                              {NULL, NULL, false}};
