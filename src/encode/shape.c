/* Which JSON a column's values become: Debezium's table of types, checked against what Debezium 3.5
 * writes (tests/golden/encode), and the simpler one of plain JSON. */
#include "encode/value.h"

static bool named(const char *name, const char *word)
{
    return name != NULL && strcmp(name, word) == 0;
}

static bool is_varbit(const char *base)
{
    return base != NULL &&
           (strncmp(base, "varbit", 6) == 0 || strncmp(base, "bit varying", 11) == 0);
}

static int digits_of(const struct tr_column *column)
{
    return column->precision >= 0 && column->precision <= 6 ? column->precision : 6;
}

static enum tr_shape_kind debezium_decimal(const struct tr_column *column, enum tr_type type,
                                           int mode)
{
    switch (mode) {
    case TR_DECIMAL_DOUBLE:
        return TR_SHAPE_DECIMAL_DOUBLE;
    case TR_DECIMAL_STRING:
        return TR_SHAPE_DECIMAL_STRING;
    default:
        return type == TR_T_MONEY || column->precision > 0 ? TR_SHAPE_DECIMAL_BYTES
                                                           : TR_SHAPE_DECIMAL_VARIABLE;
    }
}

static enum tr_shape_kind debezium_time(const struct tr_column *column, int mode)
{
    switch (mode) {
    case TR_TIME_ADAPTIVE:
        return digits_of(column) <= 3 ? TR_SHAPE_TIME_MS : TR_SHAPE_TIME_US;
    case TR_TIME_CONNECT:
        return TR_SHAPE_TIME_MS;
    case TR_TIME_ISOSTRING:
        return TR_SHAPE_TIME_ISO_ZONE;
    case TR_TIME_NANOSECONDS:
        return TR_SHAPE_TIME_NS;
    default:
        return TR_SHAPE_TIME_US;
    }
}

static enum tr_shape_kind debezium_timestamp(const struct tr_column *column, int mode)
{
    switch (mode) {
    case TR_TIME_CONNECT:
        return TR_SHAPE_TIMESTAMP_MS;
    case TR_TIME_ISOSTRING:
        return TR_SHAPE_TIMESTAMP_ISO_ZONE;
    case TR_TIME_MICROSECONDS:
        return TR_SHAPE_TIMESTAMP_US;
    case TR_TIME_NANOSECONDS:
        return TR_SHAPE_TIMESTAMP_NS;
    default:
        return digits_of(column) <= 3 ? TR_SHAPE_TIMESTAMP_MS : TR_SHAPE_TIMESTAMP_US;
    }
}

static enum tr_shape_kind bytes_kind(int mode)
{
    switch (mode) {
    case TR_BINARY_BASE64_URL_SAFE:
        return TR_SHAPE_BYTES_BASE64_URL;
    case TR_BINARY_HEX:
        return TR_SHAPE_BYTES_HEX;
    default:
        return TR_SHAPE_BYTES_BASE64;
    }
}

/* Types of extensions, which have no logical type of their own. */
static enum tr_shape_kind other_kind(const char *base)
{
    if (named(base, "vector") || named(base, "halfvec"))
        return TR_SHAPE_VECTOR;
    if (named(base, "geometry") || named(base, "geography"))
        return TR_SHAPE_GEOMETRY;
    return TR_SHAPE_STRING;
}

static enum tr_shape_kind debezium_kind(const struct tr_column *column, enum tr_type type,
                                        const struct tr_format_options *options)
{
    switch (type) {
    case TR_T_BOOLEAN:
        return TR_SHAPE_BOOLEAN;
    case TR_T_INT8:
    case TR_T_INT16:
    case TR_T_INT32:
    case TR_T_INT64:
    case TR_T_UINT64:
        return TR_SHAPE_INTEGER;
    case TR_T_FLOAT32:
    case TR_T_FLOAT64:
        return TR_SHAPE_FLOAT;
    case TR_T_DECIMAL:
    case TR_T_MONEY:
        return debezium_decimal(column, type, options->decimal_mode);
    case TR_T_BYTES:
        return bytes_kind(options->binary_mode);
    case TR_T_DATE:
        return options->time_mode == TR_TIME_ISOSTRING ? TR_SHAPE_DATE_ISO_ZONE
                                                       : TR_SHAPE_DATE_DAYS;
    case TR_T_TIME:
        return debezium_time(column, options->time_mode);
    case TR_T_TIMETZ:
        return TR_SHAPE_TIMETZ_ISO;
    case TR_T_TIMESTAMP:
        return debezium_timestamp(column, options->time_mode);
    case TR_T_TIMESTAMPTZ:
        return TR_SHAPE_TIMESTAMPTZ_ISO;
    case TR_T_INTERVAL:
        return options->interval_mode == TR_INTERVAL_STRING ? TR_SHAPE_INTERVAL_ISO
                                                            : TR_SHAPE_INTERVAL_US;
    case TR_T_BIT:
        return column->length == 1 && !is_varbit(column->source_type_base) ? TR_SHAPE_BITS_BOOLEAN
                                                                           : TR_SHAPE_BITS_BYTES;
    case TR_T_POINT:
        return TR_SHAPE_POINT_WKB;
    case TR_T_HSTORE:
        return options->hstore_mode == TR_HSTORE_MAP ? TR_SHAPE_HSTORE_OBJECT
                                                     : TR_SHAPE_HSTORE_STRING;
    case TR_T_OTHER:
        return other_kind(column->source_type_base);
    default:
        return TR_SHAPE_STRING;
    }
}

static enum tr_shape_kind plain_kind(const struct tr_column *column, enum tr_type type,
                                     const struct tr_format_options *options)
{
    switch (type) {
    case TR_T_DECIMAL:
        return options->json_decimal == TR_JSON_DECIMAL_NUMBER ? TR_SHAPE_DECIMAL_NUMBER
                                                               : TR_SHAPE_STRING;
    case TR_T_MONEY: /* freed of its currency sign */
        return options->json_decimal == TR_JSON_DECIMAL_NUMBER ? TR_SHAPE_DECIMAL_NUMBER
                                                               : TR_SHAPE_DECIMAL_STRING;
    case TR_T_DATE:
        return TR_SHAPE_DATE_ISO;
    case TR_T_TIME:
    case TR_T_BIT:
        return TR_SHAPE_STRING;
    case TR_T_TIMESTAMP:
        return TR_SHAPE_TIMESTAMP_ISO;
    case TR_T_INTERVAL:
        return TR_SHAPE_INTERVAL_ISO;
    case TR_T_POINT:
        return TR_SHAPE_POINT;
    case TR_T_HSTORE:
        return TR_SHAPE_HSTORE_OBJECT;
    default:
        return debezium_kind(column, type, options);
    }
}

static struct tr_shape make_shape(const struct tr_column *column,
                                  const struct tr_format_options *options, bool plain)
{
    enum tr_shape_kind (*kind_of)(const struct tr_column *, enum tr_type,
                                  const struct tr_format_options *) =
        plain ? plain_kind : debezium_kind;
    bool is_array = column->type == TR_T_ARRAY;
    enum tr_type type = is_array ? column->elem_type : column->type;
    struct tr_shape shape = {.kind = TR_SHAPE_ARRAY, .separator = 'T', .delimiter = ','};
    enum tr_shape_kind kind = kind_of(column, type, options);
    if (is_array) {
        /* pgvector's name without its brackets is not looked for: its arrays stay strings */
        shape.elem_kind = kind;
        if (named(column->source_type_base, "box[]"))
            shape.delimiter = ';';
    } else {
        shape.kind = kind;
    }
    shape.scale = type == TR_T_MONEY ? 2 : column->scale > 0 ? column->scale : 0;
    shape.money = type == TR_T_MONEY;
    shape.fraction_digits = plain ? -1 : digits_of(column);
    if (plain && options->json_timestamp == TR_JSON_TIMESTAMP_SQL)
        shape.separator = ' ';
    return shape;
}

struct tr_shape tr_shape_debezium(const struct tr_column *column,
                                  const struct tr_format_options *options)
{
    return make_shape(column, options, false);
}

struct tr_shape tr_shape_plain(const struct tr_column *column,
                               const struct tr_format_options *options)
{
    return make_shape(column, options, true);
}
