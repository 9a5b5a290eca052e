/* PostgreSQL's built-in types → logical types. Source of facts: pg_type.dat of PostgreSQL 12–18. */
#ifndef TR_DECODE_PG_TYPES_H
#define TR_DECODE_PG_TYPES_H

#include "tailrace/event.h"

/* Fills type, elem_type, precision, scale, length, source_type_id, source_typmod of *column from a
 * built-in type oid and its typmod, and writes the SQL spelling ("numeric(10,2)", "int4[]",
 * "timestamp(3) with time zone" as "timestamptz(3)") into name_buf (and its base spelling into
 * base_buf). False for an oid that is not built in: the caller asks the catalog.
 * An array's precision, scale and length are those of its elements. The type "char" keeps its quotes in
 * both spellings, because char without them is bpchar. */
bool tr_pg_type_resolve(uint32_t oid, int32_t typmod, struct tr_column *column, char *name_buf,
                        size_t name_buf_size, char *base_buf, size_t base_buf_size);

#endif
