/* A table's schema as text: what is refused. The round trip of any table is a property test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "event/table_text.h"

#define HEAD "{\"v\":1,\"id\":[\"d\",\"s\",\"t\"],\"ri\":\"d\",\"pk\":true,\"cols\":["

static void written_form(void **state)
{
    (void)state;
    struct tr_column columns[] = {
        {.name = "id", .type = TR_T_INT32, .elem_type = TR_T_OTHER, .source_type = "int4",
         .source_type_base = "int4", .source_type_id = 23, .source_typmod = -1, .source_attnum = 1,
         .key_index = 1},
        {.name = "a\n\"b", .type = TR_T_ARRAY, .elem_type = TR_T_DECIMAL, .source_typmod = 655366,
         .precision = 10, .scale = -2, .nullable = true, .default_value = "\x7f"}};
    struct tr_table spec = {.id = {"db", "public", "t"}, .source_id = 16384, .version = 3,
                            .column_count = 2, .columns = columns,
                            .replica_identity = TR_RI_DEFAULT, .key_is_primary = true};
    struct tr_table *table = NULL;
    struct tr_error err;
    struct tr_outbuf out = {0};
    assert_int_equal(tr_table_new(&spec, &table, &err), TR_OK);
    tr_table_encode(table, &out);
    assert_string_equal(
        tr_outbuf_cstr(&out),
        "{\"v\":1,\"id\":[\"db\",\"public\",\"t\"],\"oid\":16384,\"version\":3,\"ri\":\"d\","
        "\"pk\":true,\"cols\":[{\"n\":\"id\",\"t\":\"INT32\",\"st\":\"int4\",\"sb\":\"int4\","
        "\"oid\":23,\"an\":1,\"k\":1},{\"n\":\"a\\u000a\\\"b\",\"t\":\"ARRAY\",\"e\":\"DECIMAL\","
        "\"tm\":655366,\"p\":10,\"s\":-2,\"f\":\"n\",\"d\":\"\\u007f\"}]}");
    tr_outbuf_free(&out);
    tr_table_unref(table);
}

static void refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "", "null", "[]", "{}", "{\"v\":1}", "{\"v\":2,\"cols\":[]}", HEAD, HEAD "]", HEAD "{}]}",
        HEAD "1]}", HEAD "{\"n\":\"a\",\"t\":\"INT99\"}]}", HEAD "{\"n\":7,\"t\":\"INT32\"}]}",
        HEAD "{\"t\":\"INT32\"}]}", HEAD "{\"n\":\"a\",\"t\":\"INT32\",\"k\":2}]}",
        HEAD "{\"n\":\"a\",\"t\":\"INT32\",\"k\":-1}]}", HEAD "{\"n\":\"a\",\"t\":\"INT32\",\"k\":65536}]}",
        HEAD "{\"n\":\"a\",\"t\":\"INT32\",\"k\":1},{\"n\":\"b\",\"t\":\"INT32\",\"k\":1}]}",
        HEAD "{\"n\":\"a\",\"t\":\"INT32\",\"f\":\"x\"}]}", HEAD "{\"n\":\"a\",\"t\":\"INT32\",\"p\":1e99}]}",
        HEAD "{\"n\":\"a\",\"t\":\"INT32\",\"p\":99999999999}]}",
        HEAD "{\"n\":\"a\",\"n\":\"b\",\"t\":\"INT32\"}]}", HEAD "{\"n\":\"a\\u0000b\",\"t\":\"INT32\"}]}",
        HEAD "{\"n\":\"\xff\",\"t\":\"INT32\"}]}", HEAD "]} x",
        "{\"v\":1,\"id\":[\"d\",\"s\"],\"ri\":\"d\",\"pk\":true,\"cols\":[]}",
        "{\"v\":1,\"id\":[\"d\",\"s\",\"t\"],\"ri\":\"x\",\"pk\":true,\"cols\":[]}",
        "{\"v\":1,\"id\":[\"d\",\"s\",\"t\"],\"ri\":\"\",\"pk\":true,\"cols\":[]}",
        "{\"v\":1,\"id\":[\"d\",\"s\",\"t\"],\"ri\":\"d\",\"pk\":1,\"cols\":[]}",
        "{\"v\":1,\"id\":[\"d\",\"s\",\"t\"],\"ri\":\"d\",\"pk\":true,\"cols\":{}}",
        "{\"v\":1,\"id\":\"dst\",\"ri\":\"d\",\"pk\":true,\"cols\":[]}"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct tr_table *table = NULL;
        struct tr_error err;
        if (tr_table_decode(bad[i], &table, &err) != TR_FAIL)
            fail_msg("accepted: %s", bad[i]);
        assert_int_equal(err.code, TR_E_STORED_SCHEMA);
        assert_null(table);
    }
    struct tr_table *table = NULL;
    struct tr_error err;
    assert_int_equal(tr_table_decode(HEAD "]}", &table, &err), TR_OK);
    tr_table_unref(table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(written_form), cmocka_unit_test(refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
