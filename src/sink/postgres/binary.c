/* Rows of the snapshot as binary COPY tuples: which tables may come so, and that the target is
 * still what it was when they do.
 *
 * A tuple holds each value as the send function of its type has written it, and the receive
 * function of the target's column reads it, without a look at what it was. So the two types must
 * have one binary form. In the list below are built-in types, and arrays of them, whose form
 *   - is the same in PostgreSQL 12 to 18 (interval has infinities since 17: see `forms_agree`);
 *   - holds the value and nothing of its server: no oids of objects (regclass, enums, composites),
 *     no locale (money), no limits of the build (name), no rules of another library (xml).
 * text, varchar and bpchar share theirs; an array names its element's type, so there they do not.
 * Modifiers (numeric(10,2), varchar(5)) are the target's to apply, as with text. A domain comes
 * under its base type, whose form it has.
 *
 * The sink says once per attempt, before any row, which tables it takes (sink.c): those that are
 * not on the target (then they are made with these types), or are empty there and have them.
 * Between that and a COPY anybody may alter them, and an int8 that is read as a timestamp is no
 * error that the server could see; so each COPY of tuples begins with a lock and a second look. */
#include <stdlib.h>
#include <string.h>

#include "sink/postgres/target.h"

#define TEXT_OID 25u
#define VARCHAR_OID 1043u
#define BPCHAR_OID 1042u
#define INTERVAL_OID 1186u
#define INTERVAL_ARRAY_OID 1187u
#define INFINITE_INTERVALS_VERSION 170000

/* Oids of types and of their arrays (pg_type.dat of the server's source; fixed for good). */
static const uint32_t portable[][2] = {
    {16, 1000},          /* bool */
    {17, 1001},          /* bytea */
    {18, 1002},          /* "char" */
    {20, 1016},          /* int8 */
    {21, 1005},          /* int2 */
    {23, 1007},          /* int4 */
    {TEXT_OID, 1009},    /* text */
    {26, 1028},          /* oid, as a number */
    {114, 199},          /* json */
    {600, 1017},         /* point */
    {601, 1018},         /* lseg */
    {602, 1019},         /* path */
    {603, 1020},         /* box */
    {604, 1027},         /* polygon */
    {628, 629},          /* line */
    {650, 651},          /* cidr */
    {700, 1021},         /* float4 */
    {701, 1022},         /* float8 */
    {718, 719},          /* circle */
    {774, 775},          /* macaddr8 */
    {829, 1040},         /* macaddr */
    {869, 1041},         /* inet */
    {BPCHAR_OID, 1014},  /* bpchar */
    {VARCHAR_OID, 1015}, /* varchar */
    {1082, 1182},        /* date */
    {1083, 1183},        /* time */
    {1114, 1115},        /* timestamp */
    {1184, 1185},        /* timestamptz */
    {INTERVAL_OID, INTERVAL_ARRAY_OID},
    {1266, 1270}, /* timetz */
    {1560, 1561}, /* bit */
    {1562, 1563}, /* varbit */
    {1700, 1231}, /* numeric */
    {2950, 2951}, /* uuid */
    {3220, 3221}, /* pg_lsn */
    {3802, 3807}, /* jsonb */
    {3904, 3905}, /* int4range */
    {3906, 3907}, /* numrange */
    {3908, 3909}, /* tsrange */
    {3910, 3911}, /* tstzrange */
    {3912, 3913}, /* daterange */
    {3926, 3927}, /* int8range */
};

/* Types with one form have one number; 0: a type that is not taken. */
static uint32_t form_of(uint32_t type)
{
    if (type == VARCHAR_OID || type == BPCHAR_OID)
        return TEXT_OID;
    for (size_t i = 0; i < sizeof portable / sizeof *portable; i++) {
        if (portable[i][0] == type || portable[i][1] == type)
            return type;
    }
    return 0;
}

/* An infinite interval of 17 is a long finite one to older servers, and the other way round. */
static bool forms_agree(uint32_t type, int source_version, int target_version)
{
    if (type == INTERVAL_OID || type == INTERVAL_ARRAY_OID)
        return (source_version >= INFINITE_INTERVALS_VERSION) ==
               (target_version >= INFINITE_INTERVALS_VERSION);
    return form_of(type) != 0;
}

bool tr_pgs_binary_fits(const struct tr_pgs_target *target, const struct tr_binary_offer *offer,
                        int target_version)
{
    const struct tr_table *table = offer->table;
    for (uint16_t i = 0; i < table->column_count; i++) {
        uint32_t type = table->columns[i].source_type_id;
        if (!forms_agree(type, offer->server_version, target_version))
            return false;
        if (!target->exists)
            continue; /* it will be made with this very type: ddl_types.c */
        int at = tr_pgs_target_column(target, table->columns[i].name);
        if (at < 0 || target->columns[at].generated ||
            form_of(target->columns[at].type_oid) != form_of(type))
            return false;
    }
    return true;
}

enum tr_status tr_pgs_fail_changed(const struct tr_pgs_target *target, struct tr_error *err)
{
    (void)tr_fail(err, TR_E_PGSINK_TARGET_CHANGED, "target table %s was changed as its copy began",
                  target->quoted);
    return tr_hint(err, "%s", tr_error_info(err->code)->remedy);
}

/* The columns and their types of the table of the name as it is now: it may also be another one
 * than was described. */
static enum tr_status read_types(struct tr_pgs_link *link, const struct tr_pgs_layout *layout,
                                 PGresult **result, struct tr_error *err)
{
    static const char sql[] =
        "SELECT a.attname, a.atttypid FROM pg_catalog.pg_attribute a"
        " WHERE a.attrelid = $1::pg_catalog.regclass AND a.attnum > 0 AND NOT a.attisdropped"
        " AND a.attgenerated = ''";
    const char *params[] = {layout->target->quoted};
    return tr_pgs_query(link, sql, 1, params, "could not read the target's columns", result, err);
}

static uint32_t type_in(const PGresult *result, const char *column) /* 0: there is no such column */
{
    int count = PQntuples(result), row = 0;
    while (row < count && strcmp(PQgetvalue(result, row, 0), column) != 0)
        row++;
    return row == count ? 0 : (uint32_t)strtoul(PQgetvalue(result, row, 1), NULL, 10);
}

static enum tr_status check_types(struct tr_pgs_link *link, const struct tr_pgs_layout *layout,
                                  struct tr_error *err)
{
    const struct tr_table *table = layout->table;
    PGresult *result;
    if (read_types(link, layout, &result, err) != TR_OK)
        return TR_FAIL;
    enum tr_status status = TR_OK;
    for (uint16_t i = 0; i < table->column_count && status == TR_OK; i++) {
        uint32_t form = form_of(table->columns[i].source_type_id);
        if (form == 0 || form_of(type_in(result, table->columns[i].name)) != form)
            status = tr_pgs_fail_changed(layout->target, err);
    }
    PQclear(result);
    return status;
}

/* The lock that COPY takes, until the end of the transaction. */
static enum tr_status lock(struct tr_pgs_link *link, const struct tr_pgs_layout *layout,
                           struct tr_error *err)
{
    struct tr_outbuf sql = {0};
    enum tr_status status = TR_FAIL;
    tr_outbuf_printf(&sql, "LOCK TABLE ONLY %s IN ROW EXCLUSIVE MODE", layout->target->quoted);
    if (sql.failed)
        (void)tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory to load rows");
    else
        status =
            tr_pgs_exec(link, tr_outbuf_cstr(&sql), "could not lock the target table", NULL, err);
    tr_outbuf_free(&sql);
    return status;
}

enum tr_status tr_pgs_binary_hold(struct tr_pgs_link *link, const struct tr_pgs_layout *layout,
                                  struct tr_error *err)
{
    if (layout->dropped_columns)
        return tr_pgs_fail_changed(layout->target, err);
    return lock(link, layout, err) == TR_OK ? check_types(link, layout, err) : TR_FAIL;
}

enum tr_status tr_pgs_types_hold(struct tr_pgs_link *link, const struct tr_pgs_layout *layout,
                                 bool *same, struct tr_error *err)
{
    PGresult *result;
    if (lock(link, layout, err) != TR_OK || read_types(link, layout, &result, err) != TR_OK)
        return TR_FAIL;
    *same = true;
    for (uint16_t i = 0; i < layout->column_count; i++) {
        int32_t column = layout->target_column[i];
        if (column >= 0 && type_in(result, layout->target->columns[column].name) !=
                               layout->target->columns[column].type_oid)
            *same = false;
    }
    PQclear(result);
    return TR_OK;
}
