/* One cell → one JSON value. What a column's values look like (its shape) is worked out once per
 * table version and options; writing a value is then one switch. Pure. */
#ifndef TR_ENCODE_VALUE_H
#define TR_ENCODE_VALUE_H

#include "encode/decimal.h"
#include "encode/format_options.h"
#include "tailrace/event.h"

enum tr_shape_kind {
    TR_SHAPE_STRING,
    TR_SHAPE_INTEGER,
    TR_SHAPE_BOOLEAN,
    TR_SHAPE_FLOAT,
    TR_SHAPE_DECIMAL_BYTES,    /* base64 of the unscaled integer; scale in the shape */
    TR_SHAPE_DECIMAL_VARIABLE, /* {"scale":s,"value":base64} */
    TR_SHAPE_DECIMAL_DOUBLE,
    TR_SHAPE_DECIMAL_STRING,
    TR_SHAPE_DECIMAL_NUMBER, /* all digits as a JSON number */
    TR_SHAPE_BYTES_BASE64,
    TR_SHAPE_BYTES_BASE64_URL,
    TR_SHAPE_BYTES_HEX,
    TR_SHAPE_DATE_DAYS,
    TR_SHAPE_DATE_ISO_ZONE, /* 2020-01-01Z */
    TR_SHAPE_DATE_ISO,      /* 2020-01-01 */
    TR_SHAPE_TIME_MS,
    TR_SHAPE_TIME_US,
    TR_SHAPE_TIME_NS,
    TR_SHAPE_TIME_ISO_ZONE, /* 12:34:56.5Z */
    TR_SHAPE_TIMETZ_ISO,    /* the same, in UTC */
    TR_SHAPE_TIMESTAMP_MS,
    TR_SHAPE_TIMESTAMP_US,
    TR_SHAPE_TIMESTAMP_NS,
    TR_SHAPE_TIMESTAMP_ISO_ZONE, /* 2020-01-01T12:34:56.5Z */
    TR_SHAPE_TIMESTAMP_ISO,      /* without Z; the separator is the shape's */
    TR_SHAPE_TIMESTAMPTZ_ISO,    /* fixed number of fraction digits, Z */
    TR_SHAPE_INTERVAL_US,
    TR_SHAPE_INTERVAL_ISO,
    TR_SHAPE_BITS_BOOLEAN,
    TR_SHAPE_BITS_BYTES, /* little-endian, base64 */
    TR_SHAPE_POINT_WKB,  /* {"x":,"y":,"wkb":,"srid":null} */
    TR_SHAPE_POINT,      /* {"x":,"y":} */
    TR_SHAPE_HSTORE_STRING,
    TR_SHAPE_HSTORE_OBJECT,
    TR_SHAPE_VECTOR,   /* pgvector's [1,2,3] as an array of floats */
    TR_SHAPE_GEOMETRY, /* PostGIS: {"wkb":,"srid":} from hex EWKB */
    TR_SHAPE_ARRAY     /* of elem_kind */
};

struct tr_shape {
    enum tr_shape_kind kind;
    enum tr_shape_kind elem_kind; /* ARRAY */
    int scale;                    /* DECIMAL_BYTES */
    int fraction_digits;          /* TIMESTAMPTZ_ISO: 0..6, -1 as many as are needed */
    char separator;               /* TIMESTAMP_ISO, TIMESTAMPTZ_ISO: 'T' or ' ' */
    char delimiter;               /* ARRAY: between elements */
    bool money;                   /* decimal shapes: text may hold a currency sign and separators */
};

/* One encoder's working memory. */
struct tr_value_writer {
    const struct tr_format_options *options;
    struct tr_decimal_scratch decimal;
    struct tr_outbuf element; /* an array's element without its quotes */
    struct tr_outbuf text;    /* hstore's strings, a money amount, a number for strtod */
    struct tr_outbuf json;    /* hstore as JSON inside a string, the bytes of bits */
    uint64_t lossy_count;     /* NaN and infinity that the shape could not hold: written as null */
};
void tr_value_writer_free(struct tr_value_writer *writer);

/* Debezium's shapes, and those of plain JSON. */
struct tr_shape tr_shape_debezium(const struct tr_column *column,
                                  const struct tr_format_options *options);
struct tr_shape tr_shape_plain(const struct tr_column *column,
                               const struct tr_format_options *options);

/* A TEXT or BINARY cell. False: the text is not of the form that its type promises; what was
 * appended is to be thrown away. */
bool tr_value_write(struct tr_value_writer *writer, const struct tr_shape *shape,
                    const struct tr_cell *cell, struct tr_outbuf *out);
/* In place of a value that the source did not send. */
void tr_value_unavailable(struct tr_value_writer *writer, const struct tr_shape *shape,
                          struct tr_outbuf *out);
/* In place of a column that is not part of a before image although its type forbids null: Debezium
 * fills such fields (0, "", false …). */
void tr_value_fallback(const struct tr_shape *shape, struct tr_outbuf *out);

#endif
