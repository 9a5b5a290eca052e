/* "raw": a dead letter (event/dead_letter.h) as the message that it was: the original bytes as key and
 * value, everything else as headers tailrace.<column>. For nothing but dead letters, and not among
 * tr_format_find's formats: a sink that can write headers asks for it by name. */
#ifndef TR_ENCODE_RAW_H
#define TR_ENCODE_RAW_H

#include "tailrace/format.h"

/* encode_key: TR_AGAIN when the message had no key. encode_value: TR_END when it had no value; only
 * creates and reads have records. Both fail with CAPABILITY on other tables. */
extern const struct tr_format_ops tr_format_raw;

/* Has the table the columns of the dead letters' table? (A route may have renamed it.) */
bool tr_raw_table(const struct tr_table *table);
/* Calls `add` for each header, in the order of the columns; NULL values have none. `name` is
 * NUL-terminated and lives for the call. */
typedef void (*tr_raw_header_fn)(void *ctx, const char *name, const char *value, size_t len);
void tr_raw_headers(const struct tr_event *event, tr_raw_header_fn add, void *ctx);

#endif
