/* PostgreSQL's type oids and typmods, as `SELECT atttypid, atttypmod FROM pg_attribute` gives them for
 * columns that were declared with the spelling in the table below. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "decode/pg_types.h"

struct expected {
    uint32_t oid;
    int32_t typmod;
    enum tr_type type, elem_type;
    const char *name, *base;
    int32_t precision, scale, length;
};
static const struct expected expectations[] = {
    {16, -1, TR_T_BOOLEAN, TR_T_OTHER, "bool", "bool", 0, 0, 0},
    {17, -1, TR_T_BYTES, TR_T_OTHER, "bytea", "bytea", 0, 0, 0},
    {18, -1, TR_T_STRING, TR_T_OTHER, "\"char\"", "\"char\"", 0, 0, 0},
    {19, -1, TR_T_STRING, TR_T_OTHER, "name", "name", 0, 0, 0},
    {20, -1, TR_T_INT64, TR_T_OTHER, "int8", "int8", 0, 0, 0},
    {21, -1, TR_T_INT16, TR_T_OTHER, "int2", "int2", 0, 0, 0},
    {23, -1, TR_T_INT32, TR_T_OTHER, "int4", "int4", 0, 0, 0},
    {26, -1, TR_T_INT64, TR_T_OTHER, "oid", "oid", 0, 0, 0},
    {1700, -1, TR_T_DECIMAL, TR_T_OTHER, "numeric", "numeric", 0, 0, 0},
    {1700, 655366, TR_T_DECIMAL, TR_T_OTHER, "numeric(10,2)", "numeric", 10, 2, 0},
    {1700, 65536004, TR_T_DECIMAL, TR_T_OTHER, "numeric(1000,0)", "numeric", 1000, 0, 0},
    {1700, 329730, TR_T_DECIMAL, TR_T_OTHER, "numeric(5,-2)", "numeric", 5, -2, 0},
    {1700, 66588, TR_T_DECIMAL, TR_T_OTHER, "numeric(1,-1000)", "numeric", 1, -1000, 0},
    {1700, 66540, TR_T_DECIMAL, TR_T_OTHER, "numeric(1,1000)", "numeric", 1, 1000, 0},
    {1231, 655366, TR_T_ARRAY, TR_T_DECIMAL, "numeric(10,2)[]", "numeric[]", 10, 2, 0},
    {1007, -1, TR_T_ARRAY, TR_T_INT32, "int4[]", "int4[]", 0, 0, 0},
    {25, -1, TR_T_STRING, TR_T_OTHER, "text", "text", 0, 0, 0},
    {1043, -1, TR_T_STRING, TR_T_OTHER, "varchar", "varchar", 0, 0, 0},
    {1043, 24, TR_T_STRING, TR_T_OTHER, "varchar(20)", "varchar", 0, 0, 20},
    {1042, 5, TR_T_STRING, TR_T_OTHER, "bpchar(1)", "bpchar", 0, 0, 1},
    {1042, -1, TR_T_STRING, TR_T_OTHER, "bpchar", "bpchar", 0, 0, 0},
    {1015, 24, TR_T_ARRAY, TR_T_STRING, "varchar(20)[]", "varchar[]", 0, 0, 20},
    {1560, 8, TR_T_BIT, TR_T_OTHER, "bit(8)", "bit", 0, 0, 8},
    {1562, -1, TR_T_BIT, TR_T_OTHER, "varbit", "varbit", 0, 0, 0},
    {1562, 9, TR_T_BIT, TR_T_OTHER, "varbit(9)", "varbit", 0, 0, 9},
    {1082, -1, TR_T_DATE, TR_T_OTHER, "date", "date", 0, 0, 0},
    {1083, -1, TR_T_TIME, TR_T_OTHER, "time", "time", -1, 0, 0},
    {1083, 3, TR_T_TIME, TR_T_OTHER, "time(3)", "time", 3, 0, 0},
    {1266, 0, TR_T_TIMETZ, TR_T_OTHER, "timetz(0)", "timetz", 0, 0, 0},
    {1114, 6, TR_T_TIMESTAMP, TR_T_OTHER, "timestamp(6)", "timestamp", 6, 0, 0},
    {1184, 3, TR_T_TIMESTAMPTZ, TR_T_OTHER, "timestamptz(3)", "timestamptz", 3, 0, 0},
    {1184, -1, TR_T_TIMESTAMPTZ, TR_T_OTHER, "timestamptz", "timestamptz", -1, 0, 0},
    {1185, 3, TR_T_ARRAY, TR_T_TIMESTAMPTZ, "timestamptz(3)[]", "timestamptz[]", 3, 0, 0},
    {1186, -1, TR_T_INTERVAL, TR_T_OTHER, "interval", "interval", -1, 0, 0},
    {1186, 2147418115, TR_T_INTERVAL, TR_T_OTHER, "interval(3)", "interval", 3, 0, 0},
    {1186, 327679, TR_T_INTERVAL, TR_T_OTHER, "interval year", "interval", -1, 0, 0},
    {1186, 458751, TR_T_INTERVAL, TR_T_OTHER, "interval year to month", "interval", -1, 0, 0},
    {1186, 470286336 + 3, TR_T_INTERVAL, TR_T_OTHER, "interval day to second(3)", "interval", 3, 0,
     0},
    {1186, 268435456 + 2, TR_T_INTERVAL, TR_T_OTHER, "interval second(2)", "interval", 2, 0, 0},
    {2950, -1, TR_T_UUID, TR_T_OTHER, "uuid", "uuid", 0, 0, 0},
    {114, -1, TR_T_JSON, TR_T_OTHER, "json", "json", 0, 0, 0},
    {3802, -1, TR_T_JSON, TR_T_OTHER, "jsonb", "jsonb", 0, 0, 0},
    {3807, -1, TR_T_ARRAY, TR_T_JSON, "jsonb[]", "jsonb[]", 0, 0, 0},
    {4072, -1, TR_T_OTHER, TR_T_OTHER, "jsonpath", "jsonpath", 0, 0, 0},
    {142, -1, TR_T_XML, TR_T_OTHER, "xml", "xml", 0, 0, 0},
    {790, -1, TR_T_MONEY, TR_T_OTHER, "money", "money", 0, 0, 0},
    {600, -1, TR_T_POINT, TR_T_OTHER, "point", "point", 0, 0, 0},
    {604, -1, TR_T_OTHER, TR_T_OTHER, "polygon", "polygon", 0, 0, 0},
    {869, -1, TR_T_OTHER, TR_T_OTHER, "inet", "inet", 0, 0, 0},
    {3904, -1, TR_T_OTHER, TR_T_OTHER, "int4range", "int4range", 0, 0, 0},
    {4451, -1, TR_T_OTHER, TR_T_OTHER, "int4multirange", "int4multirange", 0, 0, 0},
    {6150, -1, TR_T_ARRAY, TR_T_OTHER, "int4multirange[]", "int4multirange[]", 0, 0, 0},
    {3220, -1, TR_T_OTHER, TR_T_OTHER, "pg_lsn", "pg_lsn", 0, 0, 0},
    {5069, -1, TR_T_UINT64, TR_T_OTHER, "xid8", "xid8", 0, 0, 0},
    {3614, -1, TR_T_OTHER, TR_T_OTHER, "tsvector", "tsvector", 0, 0, 0},
    {22, -1, TR_T_OTHER, TR_T_OTHER, "int2vector", "int2vector", 0, 0, 0},
};

static void known_types(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof expectations / sizeof expectations[0]; i++) {
        const struct expected *want = &expectations[i];
        struct tr_column column = {.precision = 99, .scale = 99, .length = 99};
        char name[64], base[64];
        assert_true(tr_pg_type_resolve(want->oid, want->typmod, &column, name, sizeof name, base,
                                       sizeof base));
        assert_string_equal(name, want->name);
        assert_string_equal(base, want->base);
        assert_int_equal(column.type, want->type);
        assert_int_equal(column.elem_type, want->elem_type);
        assert_int_equal(column.precision, want->precision);
        assert_int_equal(column.scale, want->scale);
        assert_int_equal(column.length, want->length);
        assert_int_equal(column.source_type_id, want->oid);
        assert_int_equal(column.source_typmod, want->typmod);
    }
}

static void unknown_types(void **state)
{
    (void)state;
    static const uint32_t oids[] = {0, 1, 2249 /* record */, 16384, UINT32_MAX};
    struct tr_column column = {.precision = 99};
    char name[64], base[64];
    for (size_t i = 0; i < sizeof oids / sizeof oids[0]; i++)
        assert_false(tr_pg_type_resolve(oids[i], -1, &column, name, sizeof name, base,
                                        sizeof base));
    assert_int_equal(column.precision, 99);
}

/* a typmod from the wire is never trusted */
static void odd_typmods(void **state)
{
    (void)state;
    struct tr_column column = {0};
    char name[64], base[64];
    for (size_t i = 0; i < sizeof expectations / sizeof expectations[0]; i++) {
        static const int32_t typmods[] = {INT32_MIN, -2, 0, 1, 3, 4, INT32_MAX};
        for (size_t k = 0; k < sizeof typmods / sizeof typmods[0]; k++)
            assert_true(tr_pg_type_resolve(expectations[i].oid, typmods[k], &column, name,
                                           sizeof name, base, sizeof base));
    }
    assert_true(tr_pg_type_resolve(1231, 655366, &column, name, 5, base, 3));
    assert_string_equal(name, "nume");
    assert_string_equal(base, "nu");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(known_types),
                                       cmocka_unit_test(unknown_types),
                                       cmocka_unit_test(odd_typmods)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
