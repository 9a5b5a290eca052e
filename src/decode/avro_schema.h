/* Avro schemas (JSON text) → nodes that values are read by. Pure.
 *
 * The whole of Avro 1.11's schema language but aliases and defaults, which only matter to readers
 * with a schema of their own: primitives, records (also recursive), enums, fixed, arrays, maps,
 * unions, names with namespaces, and the logical types. Of Connect's attributes connect.name is
 * looked at: it tells what Debezium means by a number.
 *
 * Nodes live in one arena, which goes with the schema. */
#ifndef TR_DECODE_AVRO_SCHEMA_H
#define TR_DECODE_AVRO_SCHEMA_H

#include "base/arena.h"
#include "tailrace/event.h"

#define TR_AVRO_DEPTH_MAX 64     /* of schemas and of values */
#define TR_AVRO_NODES_MAX 20000  /* in one schema */
#define TR_AVRO_NAMES_MAX 2000   /* named types in one schema */
#define TR_AVRO_BRANCHES_MAX 256 /* of a union */
#define TR_AVRO_SCHEMA_BYTES_MAX (4u << 20)

enum tr_avro_kind {
    TR_AVRO_NULL,
    TR_AVRO_BOOLEAN,
    TR_AVRO_INT,
    TR_AVRO_LONG,
    TR_AVRO_FLOAT,
    TR_AVRO_DOUBLE,
    TR_AVRO_BYTES,
    TR_AVRO_STRING,
    TR_AVRO_RECORD,
    TR_AVRO_ENUM,
    TR_AVRO_ARRAY,
    TR_AVRO_MAP,
    TR_AVRO_UNION,
    TR_AVRO_FIXED
};

struct tr_avro_node;
struct tr_avro_field {
    const char *name;
    const struct tr_avro_node *node;
};
struct tr_avro_node {
    uint8_t kind;       /* enum tr_avro_kind */
    enum tr_type type;  /* of a column that holds it */
    int64_t per_second; /* dates and times kept as numbers: 1, 1000 …; DATE: days; 0: not one */
    int32_t precision, scale;           /* DECIMAL; precision of times */
    uint32_t size;                      /* FIXED: bytes */
    uint32_t count;                     /* fields, symbols, branches; 1 for ARRAY and MAP */
    const char *name;                   /* of RECORD, ENUM, FIXED: without namespace */
    const struct tr_avro_field *fields; /* RECORD; UNION, ARRAY, MAP: only node is set */
    const char *const *symbols;         /* ENUM */
};
struct tr_avro_schema {
    struct tr_arena arena;
    const struct tr_avro_node *root;
};

/* reason: a static sentence when false; NULL then means no memory. */
bool tr_avro_schema_parse(const char *text, struct tr_avro_schema **out, const char **reason);
void tr_avro_schema_free(struct tr_avro_schema *schema); /* NULL is fine */
/* Index of a record's field, -1 when absent. */
int tr_avro_field_find(const struct tr_avro_node *record, const char *name);

#endif
