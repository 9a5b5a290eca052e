/* The option `columns`: "name TYPE[(p[,s])] [NOT NULL] [PRIMARY KEY]", as in CREATE TABLE of Flink
 * SQL and of SQL databases. Pure. */
#ifndef TR_DECODE_ROWS_COLUMNS_H
#define TR_DECODE_ROWS_COLUMNS_H

#include "base/arena.h"
#include "tailrace/event.h"
#include "tailrace/option.h"

/* *columns and their strings are in the arena. key_index is 1, 2, … for PRIMARY KEY columns in
 * their order. A comma within parentheses may have split an item of the list in two: that is
 * mended. Errors: DECODE_OPTION, OUT_OF_MEMORY. */
enum tr_status tr_columns_parse(const struct tr_string_list *list, struct tr_arena *arena,
                                struct tr_column **columns, size_t *count,
                                struct tr_error *err) TR_WARN_UNUSED;
/* The SQL name of a type that was not declared by name: "BIGINT". Static. */
const char *tr_columns_type_name(enum tr_type type);

#endif
