/* PostgreSQL's built-in types by oid. Pure.
 *
 * Source of facts: pg_type.dat of PostgreSQL 12 to 18 (oids of built-in types never change), and
 * for typmods numeric.c (precision and scale), varchar.c (length + 4), timestamp.c (interval's
 * fields and precision). Composite types of the system catalogs and pseudo-types are not here: no
 * captured column has them, and the catalog answers for whatever else is not here. */
#include "decode/pg_types.h"

#include <stdio.h>
#include <string.h>

#define VARHDRSZ 4 /* numeric, varchar and bpchar count their header in the typmod */

enum typmod_kind { MOD_NONE, MOD_NUMERIC, MOD_LENGTH, MOD_BITS, MOD_TIME, MOD_INTERVAL };

struct pg_type {
    uint32_t oid;
    uint32_t array_oid; /* 0: it has no array type */
    enum tr_type type;
    enum typmod_kind typmod_kind;
    const char *name; /* as SQL writes it */
};

/* "char" is written with quotes, because char without them is bpchar. */
static const struct pg_type types[] = {
    {16, 1000, TR_T_BOOLEAN, MOD_NONE, "bool"},
    {17, 1001, TR_T_BYTES, MOD_NONE, "bytea"},
    {18, 1002, TR_T_STRING, MOD_NONE, "\"char\""},
    {19, 1003, TR_T_STRING, MOD_NONE, "name"},
    {20, 1016, TR_T_INT64, MOD_NONE, "int8"},
    {21, 1005, TR_T_INT16, MOD_NONE, "int2"},
    {22, 1006, TR_T_OTHER, MOD_NONE, "int2vector"},
    {23, 1007, TR_T_INT32, MOD_NONE, "int4"},
    {24, 1008, TR_T_OTHER, MOD_NONE, "regproc"},
    {25, 1009, TR_T_STRING, MOD_NONE, "text"},
    {26, 1028, TR_T_INT64, MOD_NONE, "oid"},
    {27, 1010, TR_T_OTHER, MOD_NONE, "tid"},
    {28, 1011, TR_T_INT64, MOD_NONE, "xid"},
    {29, 1012, TR_T_INT64, MOD_NONE, "cid"},
    {30, 1013, TR_T_OTHER, MOD_NONE, "oidvector"},
    {114, 199, TR_T_JSON, MOD_NONE, "json"},
    {142, 143, TR_T_XML, MOD_NONE, "xml"},
    {194, 0, TR_T_OTHER, MOD_NONE, "pg_node_tree"},
    {600, 1017, TR_T_POINT, MOD_NONE, "point"},
    {601, 1018, TR_T_OTHER, MOD_NONE, "lseg"},
    {602, 1019, TR_T_OTHER, MOD_NONE, "path"},
    {603, 1020, TR_T_OTHER, MOD_NONE, "box"},
    {604, 1027, TR_T_OTHER, MOD_NONE, "polygon"},
    {628, 629, TR_T_OTHER, MOD_NONE, "line"},
    {650, 651, TR_T_OTHER, MOD_NONE, "cidr"},
    {700, 1021, TR_T_FLOAT32, MOD_NONE, "float4"},
    {701, 1022, TR_T_FLOAT64, MOD_NONE, "float8"},
    {718, 719, TR_T_OTHER, MOD_NONE, "circle"},
    {774, 775, TR_T_OTHER, MOD_NONE, "macaddr8"},
    {790, 791, TR_T_MONEY, MOD_NONE, "money"},
    {829, 1040, TR_T_OTHER, MOD_NONE, "macaddr"},
    {869, 1041, TR_T_OTHER, MOD_NONE, "inet"},
    {1033, 1034, TR_T_OTHER, MOD_NONE, "aclitem"},
    {1042, 1014, TR_T_STRING, MOD_LENGTH, "bpchar"},
    {1043, 1015, TR_T_STRING, MOD_LENGTH, "varchar"},
    {1082, 1182, TR_T_DATE, MOD_NONE, "date"},
    {1083, 1183, TR_T_TIME, MOD_TIME, "time"},
    {1114, 1115, TR_T_TIMESTAMP, MOD_TIME, "timestamp"},
    {1184, 1185, TR_T_TIMESTAMPTZ, MOD_TIME, "timestamptz"},
    {1186, 1187, TR_T_INTERVAL, MOD_INTERVAL, "interval"},
    {1266, 1270, TR_T_TIMETZ, MOD_TIME, "timetz"},
    {1560, 1561, TR_T_BIT, MOD_BITS, "bit"},
    {1562, 1563, TR_T_BIT, MOD_BITS, "varbit"},
    {1700, 1231, TR_T_DECIMAL, MOD_NUMERIC, "numeric"},
    {1790, 2201, TR_T_OTHER, MOD_NONE, "refcursor"},
    {2202, 2207, TR_T_OTHER, MOD_NONE, "regprocedure"},
    {2203, 2208, TR_T_OTHER, MOD_NONE, "regoper"},
    {2204, 2209, TR_T_OTHER, MOD_NONE, "regoperator"},
    {2205, 2210, TR_T_OTHER, MOD_NONE, "regclass"},
    {2206, 2211, TR_T_OTHER, MOD_NONE, "regtype"},
    {2950, 2951, TR_T_UUID, MOD_NONE, "uuid"},
    {2970, 2949, TR_T_OTHER, MOD_NONE, "txid_snapshot"},
    {3220, 3221, TR_T_OTHER, MOD_NONE, "pg_lsn"},
    {3361, 0, TR_T_OTHER, MOD_NONE, "pg_ndistinct"},
    {3402, 0, TR_T_OTHER, MOD_NONE, "pg_dependencies"},
    {3614, 3643, TR_T_OTHER, MOD_NONE, "tsvector"},
    {3615, 3645, TR_T_OTHER, MOD_NONE, "tsquery"},
    {3642, 3644, TR_T_OTHER, MOD_NONE, "gtsvector"},
    {3734, 3735, TR_T_OTHER, MOD_NONE, "regconfig"},
    {3769, 3770, TR_T_OTHER, MOD_NONE, "regdictionary"},
    {3802, 3807, TR_T_JSON, MOD_NONE, "jsonb"},
    {3904, 3905, TR_T_OTHER, MOD_NONE, "int4range"},
    {3906, 3907, TR_T_OTHER, MOD_NONE, "numrange"},
    {3908, 3909, TR_T_OTHER, MOD_NONE, "tsrange"},
    {3910, 3911, TR_T_OTHER, MOD_NONE, "tstzrange"},
    {3912, 3913, TR_T_OTHER, MOD_NONE, "daterange"},
    {3926, 3927, TR_T_OTHER, MOD_NONE, "int8range"},
    {4072, 4073, TR_T_OTHER, MOD_NONE, "jsonpath"},
    {4089, 4090, TR_T_OTHER, MOD_NONE, "regnamespace"},
    {4096, 4097, TR_T_OTHER, MOD_NONE, "regrole"},
    {4191, 4192, TR_T_OTHER, MOD_NONE, "regcollation"},
    {4451, 6150, TR_T_OTHER, MOD_NONE, "int4multirange"},
    {4532, 6151, TR_T_OTHER, MOD_NONE, "nummultirange"},
    {4533, 6152, TR_T_OTHER, MOD_NONE, "tsmultirange"},
    {4534, 6153, TR_T_OTHER, MOD_NONE, "tstzmultirange"},
    {4535, 6155, TR_T_OTHER, MOD_NONE, "datemultirange"},
    {4536, 6157, TR_T_OTHER, MOD_NONE, "int8multirange"},
    {4600, 0, TR_T_OTHER, MOD_NONE, "pg_brin_bloom_summary"},
    {4601, 0, TR_T_OTHER, MOD_NONE, "pg_brin_minmax_multi_summary"},
    {5017, 0, TR_T_OTHER, MOD_NONE, "pg_mcv_list"},
    {5038, 5039, TR_T_OTHER, MOD_NONE, "pg_snapshot"},
    {5069, 271, TR_T_UINT64, MOD_NONE, "xid8"},
};

/* An interval's fields, as bits of its typmod's upper half (month 1, year 2, day 3, hour 10,
 * minute 11, second 12 in datetime.h). */
#define Y (1 << 2)
#define MO (1 << 1)
#define D (1 << 3)
#define H (1 << 10)
#define MI (1 << 11)
#define S (1 << 12)
#define INTERVAL_ALL 0x7FFF
#define INTERVAL_PRECISION_ALL 0xFFFF
static const struct {
    int bits;
    const char *words;
} interval_fields[] = {
    {Y, " year"},
    {MO, " month"},
    {D, " day"},
    {H, " hour"},
    {MI, " minute"},
    {S, " second"},
    {Y | MO, " year to month"},
    {D | H, " day to hour"},
    {D | H | MI, " day to minute"},
    {D | H | MI | S, " day to second"},
    {H | MI, " hour to minute"},
    {H | MI | S, " hour to second"},
    {MI | S, " minute to second"},
    {INTERVAL_ALL, ""},
};
#undef Y
#undef MO
#undef D
#undef H
#undef MI
#undef S

static const struct pg_type *find(uint32_t oid, bool *is_array)
{
    for (size_t i = 0; oid != 0 && i < sizeof types / sizeof types[0]; i++) {
        if (types[i].oid == oid || types[i].array_oid == oid) {
            *is_array = types[i].oid != oid;
            return &types[i];
        }
    }
    return NULL;
}

/* The texts one after the other, cut at the end of the buffer. */
static void join(char *buf, size_t buf_size, const char *a, const char *b, const char *c)
{
    const char *parts[] = {a, b, c};
    size_t at = 0;
    if (buf_size == 0)
        return;
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        for (const char *from = parts[i]; *from != '\0' && at + 1 < buf_size; from++)
            buf[at++] = *from;
    }
    buf[at] = '\0';
}

static void resolve_interval(int32_t typmod, struct tr_column *column, char *mod, size_t mod_size)
{
    int precision = typmod & INTERVAL_PRECISION_ALL, fields = typmod >> 16 & INTERVAL_ALL;
    const char *words = "";
    for (size_t i = 0; i < sizeof interval_fields / sizeof interval_fields[0]; i++) {
        if (interval_fields[i].bits == fields)
            words = interval_fields[i].words;
    }
    if (precision == INTERVAL_PRECISION_ALL) {
        (void)snprintf(mod, mod_size, "%s", words);
        return;
    }
    column->precision = precision;
    (void)snprintf(mod, mod_size, "%s(%d)", words, precision);
}

/* Fills precision, scale and length, and writes what follows the name: "(10,2)". */
static void resolve_typmod(enum typmod_kind kind, int32_t typmod, struct tr_column *column,
                           char *mod, size_t mod_size)
{
    mod[0] = '\0';
    if (kind == MOD_TIME || kind == MOD_INTERVAL)
        column->precision = -1;
    if (typmod < 0)
        return;
    switch (kind) {
    case MOD_NONE:
        break;
    case MOD_NUMERIC:
        if (typmod < VARHDRSZ)
            break;
        /* scale: 11 bits with a sign since PostgreSQL 15; before it was 0..1000, which reads the
         * same */
        column->precision = (typmod - VARHDRSZ) >> 16 & 0xffff;
        column->scale = (((typmod - VARHDRSZ) & 0x7ff) ^ 1024) - 1024;
        (void)snprintf(mod, mod_size, "(%d,%d)", column->precision, column->scale);
        break;
    case MOD_LENGTH:
        if (typmod <= VARHDRSZ)
            break;
        column->length = typmod - VARHDRSZ;
        (void)snprintf(mod, mod_size, "(%d)", column->length);
        break;
    case MOD_BITS:
        column->length = typmod;
        (void)snprintf(mod, mod_size, "(%d)", column->length);
        break;
    case MOD_TIME:
        column->precision = typmod;
        (void)snprintf(mod, mod_size, "(%d)", typmod);
        break;
    case MOD_INTERVAL:
        resolve_interval(typmod, column, mod, mod_size);
        break;
    }
}

bool tr_pg_type_resolve(uint32_t oid, int32_t typmod, struct tr_column *column, char *name_buf,
                        size_t name_buf_size, char *base_buf, size_t base_buf_size)
{
    bool is_array = false;
    const struct pg_type *type = find(oid, &is_array);
    if (type == NULL)
        return false;
    char mod[48];
    column->type = is_array ? TR_T_ARRAY : type->type;
    column->elem_type = is_array ? type->type : TR_T_OTHER;
    column->precision = 0;
    column->scale = 0;
    column->length = 0;
    column->source_type_id = oid;
    column->source_typmod = typmod;
    resolve_typmod(type->typmod_kind, typmod, column, mod, sizeof mod);
    const char *brackets = is_array ? "[]" : "";
    join(name_buf, name_buf_size, type->name, mod, brackets);
    join(base_buf, base_buf_size, type->name, brackets, "");
    return true;
}
