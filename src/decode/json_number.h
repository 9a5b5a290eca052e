/* Numbers as text → canonical text, without a detour over binary floating point where digits count.
 * For JSON's numbers and for numbers that come as strings (CSV, canal-json). Pure. */
#ifndef TR_DECODE_JSON_NUMBER_H
#define TR_DECODE_JSON_NUMBER_H

#include <stdbool.h>

#include "tailrace/event.h"

/* A value with more digits before or behind its point than this when it is written without an
 * exponent, for the exponent's sake, is refused: 1e999999999 would be a gigabyte. */
#define TR_NUMBER_EXPONENT_MAX 1000
/* Digits that a binary floating point number may be written with. */
#define TR_NUMBER_DOUBLE_BYTES_MAX 1100
#define TR_NUMBER_TEXT_BYTES 40 /* room for any integer or binary floating point number */

/* [-+]digits[.digits][(e|E)[-+]digits] or [-+].digits: the value is 0.d1d2d3… × 10^point, where d1
 * is not 0 (digits `first` to `last` of whole and fraction together). */
struct tr_number {
    bool negative;
    const char *whole, *fraction;
    size_t whole_len, fraction_len;
    size_t first, last; /* significant digits; equal for zero */
    int64_t point;      /* digit index where the point is; saturates */
};
/* False: the text has another form. */
bool tr_number_parse(const char *text, size_t len, struct tr_number *number);
/* Fits what was written: an integer of 64 bits. 1.0 and 1e3 are integers. */
bool tr_number_int64(const struct tr_number *number, int64_t *value);
bool tr_number_uint64(const struct tr_number *number, uint64_t *value);
/* Bytes that tr_number_decimal writes at most; 0: refused (see TR_NUMBER_EXPONENT_MAX). */
size_t tr_number_decimal_bytes(const struct tr_number *number, int32_t scale);
/* Digits without an exponent: exactly `scale` of them behind the point (none of what is cut off may
 * count: see tr_number_scale), or, with scale < 0, as written (12.50 stays 12.50). 0 has no sign.
 * Gives the length. */
size_t tr_number_decimal(const struct tr_number *number, int32_t scale, char *out);
/* Digits before the point, 0 for 0.5; and behind it, without zeros at the end. */
int64_t tr_number_whole_digits(const struct tr_number *number);
int64_t tr_number_scale(const struct tr_number *number);

/* The shortest text that reads back as the same binary64 (or binary32) number, as PostgreSQL prints
 * it: 0.1, 100000, 1e+21, -0. out has TR_NUMBER_TEXT_BYTES. exact (may be NULL): no digit was lost.
 * False: too large, or so small that it would become 0. */
bool tr_number_double(const struct tr_number *number, bool single, char *out, size_t *out_len,
                      bool *exact);

#endif
