/* The encoders by name and the options they share. */
#ifndef TR_ENCODE_ENCODE_H
#define TR_ENCODE_ENCODE_H

#include "tailrace/format.h"

extern const struct tr_format_ops tr_format_debezium_json; /* bare envelope */
extern const struct tr_format_ops tr_format_plain_json;    /* "json": flattened row */

/* By name, NULL when unknown. */
const struct tr_format_ops *tr_format_find(const char *name);

#endif
