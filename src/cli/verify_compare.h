/* Values of the two sides of `tailrace verify`: when are they equal, and which comes first. Pure.
 *
 * Equality is by normal form, the same for both sides: decimals without trailing zeros (a target
 * that has no scale cannot keep them), floating point by value, bytes by their bytes, everything
 * else by its canonical text. Equal rows have equal hashes; unequal ones have unequal hashes for
 * all practical purposes (XXH3). */
#ifndef TR_CLI_VERIFY_COMPARE_H
#define TR_CLI_VERIFY_COMPARE_H

#include "base/outbuf.h"
#include "tailrace/event.h"

struct tr_verify_hash {
    uint64_t low, high;
};

/* Do both sides sort this type in the one order that tr_verify_compare_cells knows? A type whose
 * order a server defines in its own way (intervals, ranges, addresses, JSON …) is not merged but
 * hashed. */
bool tr_verify_type_is_ordered(enum tr_type type);
/* < 0, 0, > 0; for ordered types. NULL comes last. */
int tr_verify_compare_cells(enum tr_type type, const struct tr_cell *a, const struct tr_cell *b);
/* By the table's key columns; keys are key_count cells in key order. */
int tr_verify_compare_keys(const struct tr_table *table, const struct tr_cell *a,
                           const struct tr_cell *b);
struct tr_verify_hash tr_verify_hash_key(const struct tr_table *table, const struct tr_cell *key);
struct tr_verify_hash tr_verify_hash_row(const struct tr_table *table, const struct tr_cell *cells);
bool tr_verify_cells_equal(const struct tr_column *column, const struct tr_cell *a,
                           const struct tr_cell *b);

/* "id=7, region=eu" for people: long values are cut, control characters escaped. */
void tr_verify_print_key(const struct tr_table *table, const struct tr_cell *key,
                         struct tr_outbuf *out);
void tr_verify_print_row(const struct tr_table *table, const struct tr_cell *cells,
                         struct tr_outbuf *out);

#endif
