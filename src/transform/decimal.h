/* Exact decimals of up to 38 digits: a 128-bit coefficient and a scale. What does not fit is an overflow,
 * never a rounded value. Pure. */
#ifndef TR_TRANSFORM_DECIMAL_H
#define TR_TRANSFORM_DECIMAL_H

#include "transform/value.h"

#define TX_DEC_DIGITS_MAX 38
#define TX_DEC_TEXT_MAX 48

__extension__ typedef unsigned __int128 tx_u128;
struct tx_dec {
    bool negative;
    tx_u128 coefficient; /* below 10^38 */
    int scale;           /* 0..38 digits behind the point */
};
enum tx_dec_status { TX_DEC_OK, TX_DEC_FORM, TX_DEC_OVERFLOW, TX_DEC_ZERO };

/* [+-]digits[.digits][e±n], blanks around it. Digits beyond 38 places behind the point are rounded half
 * away from zero. */
enum tx_dec_status tx_dec_read(const char *text, size_t len, struct tx_dec *out);
size_t tx_dec_write(const struct tx_dec *dec, char *buf); /* TX_DEC_TEXT_MAX bytes */
struct tx_dec tx_dec_of_int(int64_t value);
enum tx_dec_status tx_dec_of_double(double value, struct tx_dec *out);
double tx_dec_to_double(const struct tx_dec *dec);
/* Towards zero. false: beyond 64 bits. */
bool tx_dec_to_int(const struct tx_dec *dec, int64_t *out);

enum tx_dec_status tx_dec_add(const struct tx_dec *a, const struct tx_dec *b, struct tx_dec *out);
enum tx_dec_status tx_dec_mul(const struct tx_dec *a, const struct tx_dec *b, struct tx_dec *out);
/* Half away from zero at `scale`; a smaller one when the quotient would have more than 38 digits. */
enum tx_dec_status tx_dec_div(const struct tx_dec *a, const struct tx_dec *b, int scale,
                              struct tx_dec *out);
/* The sign of a; a - b * trunc(a / b). */
enum tx_dec_status tx_dec_rem(const struct tx_dec *a, const struct tx_dec *b, struct tx_dec *out);
int tx_dec_cmp(const struct tx_dec *a, const struct tx_dec *b);
enum tx_round { TX_ROUND_HALF_UP, TX_ROUND_FLOOR, TX_ROUND_CEIL, TX_ROUND_ZERO };
/* To a number of places; a negative one rounds before the point (and gives scale 0). */
enum tx_dec_status tx_dec_round(const struct tx_dec *a, int scale, enum tx_round how,
                                struct tx_dec *out);
int tx_dec_digits(const struct tx_dec *dec);

#endif
