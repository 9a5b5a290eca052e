/* Which tables go as binary tuples, by type and by the servers' versions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "sink/postgres/target.h"

#define INT8_OID 20
#define TIMESTAMP_OID 1114
#define INTERVAL_OID 1186
#define INTERVAL_ARRAY_OID 1187

static const struct tr_pgs_target no_target = {.exists = false};

/* One column of the type from a server of a version to a target (NULL: none is there). */
static bool fits(uint32_t type, int source_version, const struct tr_pgs_target *target,
                 int target_version)
{
    const struct tr_column columns[] = {{.name = "v", .source_type_id = type}};
    const struct tr_table table = {.column_count = 1, .columns = columns};
    const struct tr_binary_offer offer = {.table = &table, .server_version = source_version};
    return tr_pgs_binary_fits(target == NULL ? &no_target : target, &offer, target_version);
}

static bool fits_column(uint32_t type, uint32_t target_type)
{
    struct tr_pgs_column columns[] = {{.name = "other", .type_oid = 25},
                                      {.name = "v", .type_oid = target_type}};
    const struct tr_pgs_target target = {.exists = true, .column_count = 2, .columns = columns};
    return fits(type, 150000, &target, 150000);
}

static void types_with_one_form(void **state)
{
    (void)state;
    static const uint32_t taken[] = {16,   17,   20,   23,   25,   114,  600,  701,
                                     869,  1042, 1043, 1082, 1114, 1184, 1266, 1560,
                                     1700, 2950, 3802, 3904, 1007, 1009};
    for (size_t i = 0; i < sizeof taken / sizeof *taken; i++) {
        for (int version = 120000; version <= 180000; version += 10000) {
            assert_true(fits(taken[i], version, NULL, 150000));
            assert_true(fits(taken[i], 150000, NULL, version));
        }
    }
    /* money, xml, name, regclass, tsvector, int4multirange, what was made by users, nothing */
    static const uint32_t refused[] = {790, 142, 19, 2205, 3614, 4451, 16384, 0};
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        assert_false(fits(refused[i], 150000, NULL, 150000));
}

static void infinite_intervals(void **state)
{
    (void)state;
    static const uint32_t types[] = {INTERVAL_OID, INTERVAL_ARRAY_OID};
    for (size_t i = 0; i < 2; i++) {
        assert_true(fits(types[i], 120000, NULL, 160009));
        assert_true(fits(types[i], 170000, NULL, 180001));
        assert_false(fits(types[i], 170000, NULL, 160009));
        assert_false(fits(types[i], 160009, NULL, 170000));
    }
}

static void the_targets_types(void **state)
{
    (void)state;
    assert_true(fits_column(INT8_OID, INT8_OID));
    assert_false(fits_column(INT8_OID, TIMESTAMP_OID));
    assert_false(fits_column(23, INT8_OID));
    assert_true(fits_column(25, 1043)); /* text, varchar and char(n) */
    assert_true(fits_column(1042, 25));
    assert_true(fits_column(1043, 1042));
    assert_false(fits_column(25, 114));
    assert_false(fits_column(1015, 1009)); /* an array names its element */
    assert_false(fits_column(INT8_OID, 16400));
}

static void the_targets_columns(void **state)
{
    (void)state;
    struct tr_pgs_column columns[] = {{.name = "w", .type_oid = INT8_OID}};
    const struct tr_pgs_target target = {.exists = true, .column_count = 1, .columns = columns};
    assert_false(fits(INT8_OID, 150000, &target, 150000)); /* it is not there */
    columns[0].name = "v";
    assert_true(fits(INT8_OID, 150000, &target, 150000));
    columns[0].generated = true;
    assert_false(fits(INT8_OID, 150000, &target, 150000));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(types_with_one_form), cmocka_unit_test(infinite_intervals),
        cmocka_unit_test(the_targets_types), cmocka_unit_test(the_targets_columns)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
