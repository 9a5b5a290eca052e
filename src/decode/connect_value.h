/* Kafka Connect's schemas as its JSON converter writes them, and values of their types → cells:
 * what debezium-json has when its messages carry {schema, payload}. Pure.
 *
 *   schema = { type: word, optional: bool, field: name, name: semantic type, parameters: {…}, … }
 *
 * What a semantic type means is told in Debezium's documentation of its connectors ("Data types")
 * and in Connect's org.apache.kafka.connect.data.*. */
#ifndef TR_DECODE_CONNECT_VALUE_H
#define TR_DECODE_CONNECT_VALUE_H

#include "decode/json_reader.h"
#include "event/batch.h"

/* How the JSON of a value is to be read; the column has the logical type that results. */
enum tr_connect_form {
    TR_CONNECT_PLAIN, /* as JSON shows it */
    TR_CONNECT_DAYS,
    TR_CONNECT_TIME,           /* units_per_second since midnight */
    TR_CONNECT_TIMESTAMP,      /* units_per_second since 1970 */
    TR_CONNECT_ZONED_TIME,     /* "07:04:56.5Z" */
    TR_CONNECT_ISO,            /* a date or time with a Z that means nothing */
    TR_CONNECT_DURATION,       /* µs → INTERVAL */
    TR_CONNECT_DECIMAL,        /* base64 of the unscaled number, big-endian two's complement */
    TR_CONNECT_SCALED_DECIMAL, /* {scale, value}, value as above */
    TR_CONNECT_BITS,           /* base64, little-endian */
    TR_CONNECT_JSON_TEXT       /* a string that holds JSON */
};
struct tr_connect_field {
    struct tr_column column; /* name: owned by who calls tr_connect_field_read */
    enum tr_connect_form form;
    int64_t units_per_second;
    bool is_bytes; /* the placeholder is base64 too */
};
#define TR_CONNECT_SCALE_MAX 1000
#define TR_CONNECT_DECIMAL_BYTES_MAX 1024

/* Everything but the name. False: not a field's schema. */
bool tr_connect_field_read(const struct tr_json_doc *doc, const struct tr_json_node *schema,
                           struct tr_connect_field *field);
/* As tr_cell_from_json, for a value of the field (not null) and its own column. text_doc: scratch.
 */
const char *tr_connect_cell(const struct tr_connect_field *field, const struct tr_json_doc *doc,
                            const struct tr_json_node *value, struct tr_json_doc *text_doc,
                            struct tr_batch *batch, struct tr_cell *cell);

#endif
