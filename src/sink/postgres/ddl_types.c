/* Which type a column gets on the target.
 *
 *   a type that PostgreSQL has built in: the same, with its modifiers, if the target's version has
 * it; a base or range type of an extension (hstore, citext, vector): the same if the target has it;
 *   an enum, composite, or anything the target lacks: text. An enum's labels may grow on the source
 *   without an event that tells so; text takes every label;
 *   a domain: its base type;
 *   columns of other sources: by their logical type. */
#include <stdlib.h>
#include <string.h>

#include "sink/postgres/writer.h"

#define FIRST_USER_OID 16384u /* FirstNormalObjectId of the server */
#define TYPE_NAME_BYTES_MAX 256

/* Type names come over the wire and go into SQL as they are: nothing but what a type is written
 * with. */
static bool is_type_name(const char *name)
{
    if (strcmp(name, "\"char\"") == 0)
        return true;
    size_t len = strlen(name);
    return len > 0 && len < TYPE_NAME_BYTES_MAX &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_ (),[]-") ==
               len;
}

/* A name of the extension's own: quoted parts allowed, but nothing that could end the type. */
static bool is_user_type_name(const char *name)
{
    size_t quotes = 0;
    for (const char *at = name; *at != '\0'; at++) {
        if (*at == '"')
            quotes++;
        else if (quotes % 2 == 0 && strchr(";'$\\-/*", *at) != NULL)
            return false;
    }
    return quotes % 2 == 0 && strlen(name) < TYPE_NAME_BYTES_MAX && strchr(name, '.') != NULL;
}

/* *usable: the target has the type, and it is a base or range type (or an array of one). */
static enum tr_status look_up(struct tr_pgs_link *link, const char *name, bool *usable,
                              struct tr_error *err)
{
    const char *params[] = {name};
    PGresult *result;
    if (tr_pgs_query(link,
                     "SELECT 1 FROM pg_catalog.pg_type t LEFT JOIN pg_catalog.pg_type e"
                     " ON e.oid = t.typelem AND t.typcategory = 'A'"
                     " WHERE t.oid = pg_catalog.to_regtype($1) AND coalesce(e.typtype, t.typtype)"
                     " IN ('b', 'r', 'm')",
                     1, params, "could not look a type up", &result, err) != TR_OK)
        return TR_FAIL;
    *usable = PQntuples(result) > 0;
    PQclear(result);
    return TR_OK;
}

static void with_precision(struct tr_outbuf *out, const char *name, int32_t precision)
{
    tr_outbuf_str(out, name);
    if (precision >= 0 && precision < 6)
        tr_outbuf_printf(out, "(%d)", (int)precision);
}

static void decimal(struct tr_outbuf *out, const struct tr_column *column)
{
    tr_outbuf_lit(out, "numeric");
    if (column->precision > 0 && column->precision <= 1000 && column->scale >= 0 &&
        column->scale <= 1000)
        tr_outbuf_printf(out, "(%d,%d)", (int)column->precision, (int)column->scale);
}

static void logical(struct tr_outbuf *out, enum tr_type type, const struct tr_column *column)
{
    static const char *const names[TR_T_COUNT] = {
        [TR_T_BOOLEAN] = "boolean",   [TR_T_INT8] = "smallint",
        [TR_T_INT16] = "smallint",    [TR_T_INT32] = "integer",
        [TR_T_INT64] = "bigint",      [TR_T_UINT64] = "numeric(20,0)",
        [TR_T_FLOAT32] = "real",      [TR_T_FLOAT64] = "double precision",
        [TR_T_BYTES] = "bytea",       [TR_T_DATE] = "date",
        [TR_T_INTERVAL] = "interval", [TR_T_UUID] = "uuid",
        [TR_T_JSON] = "json",         [TR_T_XML] = "xml",
        [TR_T_MONEY] = "numeric",     [TR_T_POINT] = "point"};
    switch (type) {
    case TR_T_DECIMAL:
        decimal(out, column);
        break;
    case TR_T_STRING:
        if (column->length > 0 && column->length <= 10485760)
            tr_outbuf_printf(out, "varchar(%d)", (int)column->length);
        else
            tr_outbuf_lit(out, "text");
        break;
    case TR_T_TIME:
        with_precision(out, "time", column->precision);
        break;
    case TR_T_TIMETZ:
        with_precision(out, "timetz", column->precision);
        break;
    case TR_T_TIMESTAMP:
        with_precision(out, "timestamp", column->precision);
        break;
    case TR_T_TIMESTAMPTZ:
        with_precision(out, "timestamptz", column->precision);
        break;
    case TR_T_BIT:
        if (column->length > 0)
            tr_outbuf_printf(out, "bit(%d)", (int)column->length);
        else
            tr_outbuf_lit(out, "varbit");
        break;
    default:
        tr_outbuf_str(out, names[type] == NULL ? "text" : names[type]);
    }
}

enum tr_status tr_pgs_column_type(struct tr_pgs_link *link, const struct tr_column *column,
                                  struct tr_outbuf *out, struct tr_error *err)
{
    bool built_in = column->source_type_id > 0 && column->source_type_id < FIRST_USER_OID;
    const char *name = column->source_type;
    bool usable = false;
    bool try_it = name != NULL &&
                  (built_in ? is_type_name(name)
                            : column->source_type_id >= FIRST_USER_OID && is_user_type_name(name));
    if (try_it && look_up(link, name, &usable, err) != TR_OK)
        return TR_FAIL;
    if (usable) {
        tr_outbuf_str(out, name);
    } else if (column->type == TR_T_ARRAY) {
        struct tr_column element = *column;
        element.length = 0;
        element.precision = element.elem_type == TR_T_DECIMAL ? 0 : -1;
        logical(out, column->elem_type == TR_T_ARRAY ? TR_T_OTHER : column->elem_type, &element);
        tr_outbuf_lit(out, "[]");
    } else {
        logical(out, column->type, column);
    }
    return TR_OK;
}
