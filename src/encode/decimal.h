/* Exact decimals: canonical text → unscaled integer in two's complement, big-endian, as short as
 * can be (what Java's BigInteger.toByteArray gives and Connect's Decimal holds). Any number of
 * digits. */
#ifndef TR_ENCODE_DECIMAL_H
#define TR_ENCODE_DECIMAL_H

#include "base/outbuf.h"

struct tr_decimal {
    bool negative;
    const char *whole; /* digits before the point, without leading zeros; may be empty */
    size_t whole_len;
    const char *fraction; /* digits behind it, as written */
    size_t fraction_len;
};
/* [-+]digits[.digits]. False when the text has another form (NaN, Infinity, an exponent). */
bool tr_decimal_parse(const char *text, size_t len, struct tr_decimal *decimal);
/* Takes the zeros at the fraction's end away. */
void tr_decimal_strip(struct tr_decimal *decimal);

/* Working memory that is kept from value to value. */
struct tr_decimal_scratch {
    uint32_t *limbs;
    size_t limb_capacity;
    struct tr_outbuf bytes; /* the result */
};
/* Value × 10^scale into scratch->bytes. False when a digit other than 0 lies beyond the scale.
 * Memory that is out shows in scratch->bytes.failed. */
bool tr_decimal_unscaled(const struct tr_decimal *decimal, size_t scale,
                         struct tr_decimal_scratch *scratch);
void tr_decimal_scratch_free(struct tr_decimal_scratch *scratch);

#endif
