/* Decimal text → two's complement bytes. Up to 18 digits in one machine word, beyond that by limbs
 * of 32 bits, nine digits a step. Pure. */
#include "encode/decimal.h"

#include <stdlib.h>

#define WORD_DIGITS_MAX 18

bool tr_decimal_parse(const char *text, size_t len, struct tr_decimal *decimal)
{
    *decimal = (struct tr_decimal){0};
    size_t i = 0;
    if (len > 0 && (text[0] == '-' || text[0] == '+')) {
        decimal->negative = text[0] == '-';
        i = 1;
    }
    size_t start = i;
    while (i < len && text[i] >= '0' && text[i] <= '9')
        i++;
    size_t whole_end = i;
    if (i < len && text[i] == '.') {
        size_t fraction = ++i;
        while (i < len && text[i] >= '0' && text[i] <= '9')
            i++;
        decimal->fraction = text + fraction;
        decimal->fraction_len = i - fraction;
    }
    if (i != len || (whole_end == start && decimal->fraction_len == 0))
        return false;
    while (start < whole_end && text[start] == '0')
        start++;
    decimal->whole = text + start;
    decimal->whole_len = whole_end - start;
    return true;
}

void tr_decimal_strip(struct tr_decimal *decimal)
{
    while (decimal->fraction_len > 0 && decimal->fraction[decimal->fraction_len - 1] == '0')
        decimal->fraction_len--;
}

/* The index-th digit of the unscaled integer, counted from the left. */
static uint32_t digit_at(const struct tr_decimal *decimal, size_t index)
{
    if (index < decimal->whole_len)
        return (uint32_t)(decimal->whole[index] - '0');
    index -= decimal->whole_len;
    return index < decimal->fraction_len ? (uint32_t)(decimal->fraction[index] - '0') : 0;
}

/* Big-endian bytes of a magnitude given by its limbs (least significant first), negated if asked,
 * without needless sign bytes. */
static void put_bytes(const uint32_t *limbs, size_t limb_count, bool negative,
                      struct tr_outbuf *out)
{
    size_t size = limb_count * 4 + 1; /* one byte more for the sign */
    if (!tr_outbuf_reserve(out, size))
        return;
    unsigned char *to = (unsigned char *)out->data;
    to[0] = 0;
    for (size_t i = 0; i < limb_count; i++) {
        uint32_t limb = limbs[limb_count - 1 - i];
        for (size_t j = 0; j < 4; j++)
            to[1 + i * 4 + j] = (unsigned char)(limb >> (24 - 8 * j));
    }
    if (negative) {
        unsigned carry = 1;
        for (size_t i = size; i-- > 0;) {
            unsigned sum = (unsigned)(unsigned char)~to[i] + carry;
            to[i] = (unsigned char)sum;
            carry = sum >> 8;
        }
    }
    size_t skip = 0;
    while (skip + 1 < size && ((to[skip] == 0x00 && to[skip + 1] < 0x80) ||
                               (to[skip] == 0xff && to[skip + 1] >= 0x80)))
        skip++;
    memmove(to, to + skip, size - skip);
    out->len = size - skip;
}

static void put_word(uint64_t magnitude, bool negative, struct tr_outbuf *out)
{
    uint32_t limbs[2] = {(uint32_t)magnitude, (uint32_t)(magnitude >> 32)};
    put_bytes(limbs, 2, negative, out);
}

bool tr_decimal_unscaled(const struct tr_decimal *decimal, size_t scale,
                         struct tr_decimal_scratch *scratch)
{
    tr_outbuf_clear(&scratch->bytes);
    for (size_t i = scale; i < decimal->fraction_len; i++) {
        if (decimal->fraction[i] != '0')
            return false;
    }
    size_t digits = decimal->whole_len + scale;
    if (digits <= WORD_DIGITS_MAX) {
        uint64_t value = 0;
        for (size_t i = 0; i < digits; i++)
            value = value * 10 + digit_at(decimal, i);
        put_word(value, decimal->negative, &scratch->bytes);
        return true;
    }
    size_t limbs_max = digits / 9 + 2; /* nine digits need less than 32 bits */
    if (limbs_max > scratch->limb_capacity) {
        uint32_t *limbs = realloc(scratch->limbs, limbs_max * sizeof *limbs);
        if (limbs == NULL) {
            scratch->bytes.failed = true;
            return true;
        }
        scratch->limbs = limbs;
        scratch->limb_capacity = limbs_max;
    }
    size_t count = 0;
    for (size_t i = 0; i < digits;) {
        size_t step = digits - i < 9 ? digits - i : 9;
        uint64_t power = 1, carry = 0;
        for (size_t j = 0; j < step; j++, i++) {
            carry = carry * 10 + digit_at(decimal, i);
            power *= 10;
        }
        for (size_t j = 0; j < count; j++) {
            uint64_t sum = scratch->limbs[j] * power + carry;
            scratch->limbs[j] = (uint32_t)sum;
            carry = sum >> 32;
        }
        if (carry != 0)
            scratch->limbs[count++] = (uint32_t)carry;
    }
    put_bytes(scratch->limbs, count, decimal->negative, &scratch->bytes);
    return true;
}

void tr_decimal_scratch_free(struct tr_decimal_scratch *scratch)
{
    free(scratch->limbs);
    tr_outbuf_free(&scratch->bytes);
    *scratch = (struct tr_decimal_scratch){0};
}
