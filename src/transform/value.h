/* Values, kinds and types of expressions.
 *
 * A *kind* says how a value is held while an expression is computed; a *type* adds what a result column
 * needs (enum tr_type and its modifiers). Values are small structs; text points into a cell, a constant
 * or the evaluation's scratch arena. */
#ifndef TR_TRANSFORM_VALUE_H
#define TR_TRANSFORM_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "tailrace/event.h"

enum tx_kind {
    TX_NULL,   /* the type of a bare NULL */
    TX_BOOL,   /* INT 0 or 1 */
    TX_INT,    /* INT */
    TX_DEC,    /* TEXT: canonical decimal, NaN, Infinity */
    TX_DBL,    /* DBL; SQLite turns NaN into NULL, so NaN is the TEXT "NaN" */
    TX_STR,    /* TEXT */
    TX_BYTES,  /* BLOB */
    TX_DATE,   /* INT: days since 1970-01-01; INT64_MAX and INT64_MIN are the infinities */
    TX_TIME,   /* INT: µs since midnight */
    TX_STAMP,  /* INT: µs since 1970-01-01 00:00 of the wall clock; infinities as for DATE */
    TX_INSTANT /* INT: µs since 1970-01-01 UTC; infinities as for DATE */
};
const char *tx_kind_name(enum tx_kind kind); /* "BIGINT": what messages call it */

struct tx_type {
    enum tr_type type;
    enum tx_kind kind;
    int32_t precision; /* DECIMAL: digits, 0 unbounded; TIME and TIMESTAMP: 0..6 */
    int32_t scale;
    int32_t length; /* STRING: characters, 0 any */
    bool fixed;     /* CHAR(n): padded with blanks */
};

enum tx_val_kind { TX_VAL_NULL, TX_VAL_INT, TX_VAL_DBL, TX_VAL_TEXT, TX_VAL_BLOB };
struct tx_val {
    uint8_t kind; /* enum tx_val_kind */
    uint32_t len; /* TEXT, BLOB */
    union {
        int64_t i;
        double d;
        const char *p;
    };
};

static inline struct tx_val tx_null(void) { return (struct tx_val){.kind = TX_VAL_NULL}; }
static inline struct tx_val tx_int(int64_t i) { return (struct tx_val){.kind = TX_VAL_INT, .i = i}; }
static inline struct tx_val tx_dbl(double d) { return (struct tx_val){.kind = TX_VAL_DBL, .d = d}; }
static inline struct tx_val tx_text(const char *p, size_t len)
{
    return (struct tx_val){.kind = TX_VAL_TEXT, .len = (uint32_t)len, .p = p};
}
static inline struct tx_val tx_blob(const char *p, size_t len)
{
    return (struct tx_val){.kind = TX_VAL_BLOB, .len = (uint32_t)len, .p = p};
}

/* How values of a column's type are held in an expression. */
enum tx_kind tx_kind_of(enum tr_type type);
struct tx_type tx_type_of_column(const struct tr_column *column);
struct tx_type tx_type_plain(enum tr_type type);

/* Infinity of DATE, STAMP and INSTANT. */
static inline bool tx_is_infinite(int64_t value) { return value == INT64_MAX || value == INT64_MIN; }
#define TX_US_PER_SECOND INT64_C(1000000)
#define TX_US_PER_DAY (INT64_C(86400) * TX_US_PER_SECOND)
#define TX_TEXT_BYTES_MAX (256u << 20) /* a computed text is never longer */

#endif
