/* One option's text → its C value. Used for given values and for defaults alike. */
#ifndef TR_CONFIG_VALUE_H
#define TR_CONFIG_VALUE_H

#include "config/pool.h"
#include "tailrace/option.h"

/* Result of reading: NULL is fine, otherwise what was expected, e.g. "true or false". */
const char *tr_value_bool(const char *text, bool *out);
const char *tr_value_int(const char *text, int64_t *out);
const char *tr_value_size(const char *text, int64_t *bytes);
const char *tr_value_duration(const char *text, int64_t *milliseconds);
/* Letter case does not matter, and '-' and '_' are the same. -1: not among the values. */
int tr_value_enum(const char *text, const char *const *values);
/* Readable forms for docs and messages, into buf: "64MB", "100ms". */
const char *tr_value_format(enum tr_option_type type, int64_t value, char *buf, size_t buf_size);
/* The type's name for people: "size", "duration", "true|false", … */
const char *tr_value_type_name(enum tr_option_type type);
/* Splits at commas and trims; empty parts are dropped. false: no memory. */
bool tr_value_split(struct tr_pool *pool, const char *text, struct tr_string_list *out);

/* How far apart two keys are: insertions, deletions, replacements and swaps of neighbours. */
unsigned tr_value_distance(const char *a, const char *b);

#endif
