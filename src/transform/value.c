#include "transform/value.h"

const char *tx_kind_name(enum tx_kind kind)
{
    static const char *const names[] = {"NULL",   "BOOLEAN",   "BIGINT",       "DECIMAL",
                                        "DOUBLE", "STRING",    "BYTES",        "DATE",
                                        "TIME",   "TIMESTAMP", "TIMESTAMP_LTZ"};
    return names[kind];
}

enum tx_kind tx_kind_of(enum tr_type type)
{
    switch (type) {
    case TR_T_BOOLEAN:
        return TX_BOOL;
    case TR_T_INT8:
    case TR_T_INT16:
    case TR_T_INT32:
    case TR_T_INT64:
        return TX_INT;
    case TR_T_UINT64: /* its upper half is beyond BIGINT */
    case TR_T_DECIMAL:
        return TX_DEC;
    case TR_T_FLOAT32:
    case TR_T_FLOAT64:
        return TX_DBL;
    case TR_T_BYTES:
        return TX_BYTES;
    case TR_T_DATE:
        return TX_DATE;
    case TR_T_TIME:
        return TX_TIME;
    case TR_T_TIMESTAMP:
        return TX_STAMP;
    case TR_T_TIMESTAMPTZ:
        return TX_INSTANT;
    default:
        return TX_STR;
    }
}

struct tx_type tx_type_plain(enum tr_type type)
{
    bool timed = type == TR_T_TIME || type == TR_T_TIMESTAMP || type == TR_T_TIMESTAMPTZ;
    return (struct tx_type){.type = type, .kind = tx_kind_of(type), .precision = timed ? 6 : 0};
}

/* What an expression makes of a column: labels, arrays, ranges and the like are text there. */
struct tx_type tx_type_of_column(const struct tr_column *column)
{
    struct tx_type type = tx_type_plain(column->type);
    switch (column->type) {
    case TR_T_UINT64:
        type = tx_type_plain(TR_T_DECIMAL);
        type.precision = 20;
        break;
    case TR_T_DECIMAL:
        /* what has more than 38 digits, or a scale that DECIMAL does not know, has no bounds here
         */
        if (column->precision > 0 && column->precision <= 38 && column->scale >= 0 &&
            column->scale <= column->precision) {
            type.precision = column->precision;
            type.scale = column->scale;
        }
        break;
    case TR_T_STRING:
        type.length = column->length;
        break;
    case TR_T_TIME:
    case TR_T_TIMESTAMP:
    case TR_T_TIMESTAMPTZ:
        type.precision = column->precision >= 0 && column->precision <= 6 ? column->precision : 6;
        break;
    case TR_T_JSON:
    case TR_T_UUID:
        break;
    default:
        if (type.kind == TX_STR)
            type = tx_type_plain(TR_T_STRING);
    }
    return type;
}
