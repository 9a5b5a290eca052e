/* Settings of the PostgreSQL source, the SQLSTATE table, quoting: what needs no server. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/outbuf.h"
#include "source/postgres/connection.h"

#define LIST(...)                                                                                  \
    ((struct tr_string_list){(const char *const[]){__VA_ARGS__},                                   \
                             sizeof((const char *const[]){__VA_ARGS__}) / sizeof(const char *)})

static struct tr_pg_options defaults(void)
{
    static const char *const tables[] = {"shop.public.\\.*"};
    return (struct tr_pg_options){.hostname = "db.example",
                                  .port = 5432,
                                  .username = "cdc",
                                  .sslmode = TR_PG_SSL_VERIFY_FULL,
                                  .tables = {tables, 1},
                                  .connect_timeout_ms = 1000};
}

static const char *value_of(const struct tr_pg_settings *settings, const char *keyword)
{
    for (unsigned i = 0; i < settings->conninfo.count; i++) {
        if (strcmp(settings->conninfo.keywords[i], keyword) == 0)
            return settings->conninfo.values[i];
    }
    return NULL;
}

/* ---- names ---------------------------------------------------------------------------------- */

static void default_names(void **state)
{
    (void)state;
    char name[TR_PG_NAME_BYTES_MAX + 1];
    tr_pg_default_name("My Shop-2", "_slot", name, sizeof name);
    assert_string_equal(name, "my_shop_2_slot");
    tr_pg_default_name("çé", "_pub", name, sizeof name);
    assert_string_equal(name, "_____pub"); /* four bytes of UTF-8 */
    char longer[200];
    memset(longer, 'X', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    tr_pg_default_name(longer, "_slot", name, sizeof name);
    assert_int_equal(strlen(name), TR_PG_NAME_BYTES_MAX);
    assert_string_equal(name + TR_PG_NAME_BYTES_MAX - 5, "_slot");
}

static void names_given(void **state)
{
    (void)state;
    struct tr_pg_options options = defaults();
    struct tr_pg_settings settings;
    struct tr_error err;
    options.slot_name = "own_slot";
    options.publication_name = "Own Pub";
    assert_int_equal(tr_pg_settings_init(&settings, &options, NULL, "p", &err), TR_OK);
    assert_string_equal(settings.slot_name, "own_slot");
    assert_string_equal(settings.publication_name, "Own Pub");
    tr_pg_settings_free(&settings);
    options.slot_name = "Upper";
    assert_int_equal(tr_pg_settings_init(&settings, &options, NULL, "p", &err), TR_FAIL);
    assert_int_equal(err.code, TR_E_PG_OPTION);
    tr_pg_settings_free(&settings);
}

/* ---- database ------------------------------------------------------------------------------- */

static void database_of_patterns(void **state)
{
    (void)state;
    char name[64];
    struct tr_error err;
    struct tr_string_list one = LIST("shop.public.\\.*");
    assert_int_equal(tr_pg_patterns_database(&one, name, sizeof name, &err), TR_OK);
    assert_string_equal(name, "shop");
    struct tr_string_list several =
        LIST("public.a, shop.public.order_[0-9]{1,3}", "shop.[a.b|c].x");
    assert_int_equal(tr_pg_patterns_database(&several, name, sizeof name, &err), TR_OK);
    assert_string_equal(name, "shop");
    struct tr_string_list none = LIST("public.orders", "orders", "[app|web].public.t");
    assert_int_equal(tr_pg_patterns_database(&none, name, sizeof name, &err), TR_AGAIN);
    struct tr_string_list two = LIST("shop.public.a,store.public.b");
    assert_int_equal(tr_pg_patterns_database(&two, name, sizeof name, &err), TR_FAIL);
    assert_int_equal(err.code, TR_E_PG_OPTION);
}

static void database_chosen(void **state)
{
    (void)state;
    struct tr_pg_options options = defaults();
    struct tr_pg_settings settings;
    struct tr_error err;
    assert_int_equal(tr_pg_settings_init(&settings, &options, NULL, "p", &err), TR_OK);
    assert_string_equal(settings.database, "shop");
    tr_pg_settings_free(&settings);

    options.database = "other";
    assert_int_equal(tr_pg_settings_init(&settings, &options, NULL, "p", &err), TR_FAIL);
    assert_non_null(strstr(err.message, "shop"));
    tr_pg_settings_free(&settings);

    options.tables = LIST("public.t");
    assert_int_equal(tr_pg_settings_init(&settings, &options, NULL, "p", &err), TR_OK);
    assert_string_equal(settings.database, "other");
    tr_pg_settings_free(&settings);

    options.database = NULL;
    assert_int_equal(tr_pg_settings_init(&settings, &options, NULL, "p", &err), TR_FAIL);
    assert_non_null(strstr(err.hint, "database"));
    tr_pg_settings_free(&settings);
}

struct plain {
    char text[256];
};

static void collect_plain(void *ctx, const char *schema, const char *table)
{
    struct plain *plain = ctx;
    size_t len = strlen(plain->text);
    (void)snprintf(plain->text + len, sizeof plain->text - len, "%s.%s;", schema, table);
}

static void plain_names(void **state)
{
    (void)state;
    struct plain plain = {""};
    struct tr_string_list list =
        LIST("shop.public.orders, public.t_1", "public.\\.*", "lonely", "s.a+");
    tr_pg_patterns_plain(&list, collect_plain, &plain);
    assert_string_equal(plain.text, "public.orders;public.t_1;");
}

static void matching(void **state)
{
    (void)state;
    struct tr_pg_options options = defaults();
    struct tr_pg_settings settings;
    struct tr_error err;
    options.tables_exclude = LIST("shop.public.tmp_\\.*");
    assert_int_equal(tr_pg_settings_init(&settings, &options, NULL, "p", &err), TR_OK);
    assert_true(tr_pg_settings_match(&settings, &(struct tr_table_id){"shop", "public", "orders"}));
    assert_false(tr_pg_settings_match(&settings, &(struct tr_table_id){"shop", "public", "tmp_1"}));
    assert_false(tr_pg_settings_match(&settings, &(struct tr_table_id){"shop", "other", "orders"}));
    tr_pg_settings_free(&settings);
}

/* ---- connection ----------------------------------------------------------------------------- */

static void keys_to_conninfo(void **state)
{
    (void)state;
    struct tr_pg_options options = defaults();
    struct tr_pg_settings settings;
    struct tr_error err;
    options.password.value = "canary";
    options.sslrootcert = "/etc/ca.pem";
    assert_int_equal(tr_pg_settings_init(&settings, &options, NULL, "p", &err), TR_OK);
    assert_string_equal(value_of(&settings, "host"), "db.example");
    assert_string_equal(value_of(&settings, "port"), "5432");
    assert_string_equal(value_of(&settings, "user"), "cdc");
    assert_string_equal(value_of(&settings, "password"), "canary");
    assert_string_equal(value_of(&settings, "sslmode"), "verify-full");
    assert_string_equal(value_of(&settings, "sslrootcert"), "/etc/ca.pem");
    tr_pg_settings_free(&settings);
    options.username = NULL;
    assert_int_equal(tr_pg_settings_init(&settings, &options, NULL, "p", &err), TR_FAIL);
    assert_null(strstr(err.message, "canary"));
    tr_pg_settings_free(&settings);
}

static void url_to_conninfo(void **state)
{
    (void)state;
    struct tr_pg_options options = defaults();
    struct tr_pg_settings settings;
    struct tr_error err;
    options.hostname = options.username = NULL;
    options.tables = LIST("public.t");
    options.url.value = "postgresql://me:ca%20nary@h:6000/base?sslmode=require";
    assert_int_equal(tr_pg_settings_init(&settings, &options, NULL, "p", &err), TR_OK);
    assert_string_equal(settings.database, "base");
    assert_string_equal(value_of(&settings, "host"), "h");
    assert_string_equal(value_of(&settings, "port"), "6000");
    assert_string_equal(value_of(&settings, "password"), "ca nary");
    assert_string_equal(value_of(&settings, "sslmode"), "require");
    tr_pg_settings_free(&settings);
}

static void url_refused(void **state)
{
    (void)state;
    static const char *const urls[] = {
        "host=h user=u",                                   /* not a URI */
        "postgresql://u@h/d?service=x",                    /* reads a file */
        "postgresql://u@h/d?passfile=%2Fetc%2Fshadow",     /* reads a file */
        "postgresql://u@h/d?options=-c%20search_path%3Dx", /* changes the session */
        "postgresql://u:canary@[h/d",                      /* an address without its end */
    };
    for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
        struct tr_pg_options options = defaults();
        struct tr_pg_settings settings;
        struct tr_error err;
        options.hostname = options.username = NULL;
        options.url.value = urls[i];
        options.tables = LIST("public.t");
        assert_int_equal(tr_pg_settings_init(&settings, &options, NULL, "p", &err), TR_FAIL);
        assert_int_equal(err.code, TR_E_PG_OPTION);
        assert_null(strstr(err.message, "canary"));
        tr_pg_settings_free(&settings);
    }
}

static void url_and_keys(void **state)
{
    (void)state;
    struct tr_pg_options options = defaults();
    struct tr_pg_settings settings;
    struct tr_error err;
    options.url.value = "postgresql://u@h/d";
    assert_int_equal(tr_pg_settings_init(&settings, &options, NULL, "p", &err), TR_FAIL);
    assert_int_equal(err.code, TR_E_PG_OPTION);
    tr_pg_settings_free(&settings);
}

/* ---- SQLSTATE and quoting ------------------------------------------------------------------- */

static void sqlstates(void **state)
{
    (void)state;
    static const struct {
        const char *sqlstate;
        enum tr_code code;
        enum tr_err_class class;
    } expected[] = {
        {"08006", TR_E_PG_CONNECT, TR_TRANSIENT},  {"57P01", TR_E_PG_SHUTDOWN, TR_TRANSIENT},
        {"57P03", TR_E_PG_SHUTDOWN, TR_TRANSIENT}, {"53300", TR_E_PG_BUSY, TR_TRANSIENT},
        {"40001", TR_E_PG_BUSY, TR_TRANSIENT},     {"55006", TR_E_PG_SLOT_IN_USE, TR_TRANSIENT},
        {"28P01", TR_E_PG_AUTH, TR_CONFIG},        {"28000", TR_E_PG_AUTH, TR_CONFIG},
        {"3D000", TR_E_PG_DATABASE, TR_CONFIG},    {"42501", TR_E_PG_PERMISSION, TR_CONFIG},
        {"08P01", TR_E_PG_PROTOCOL, TR_FATAL},     {"XX000", TR_E_PG_QUERY, TR_FATAL},
    };
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        enum tr_code code = tr_pg_code_of_sqlstate(expected[i].sqlstate);
        assert_int_equal(code, expected[i].code);
        assert_int_equal(tr_error_info(code)->class, expected[i].class);
    }
}

static void quoting(void **state)
{
    (void)state;
    struct tr_outbuf out = {0};
    tr_pg_put_qualified(&out, "a\"b", "x\"; DROP TABLE y; --");
    assert_string_equal(tr_outbuf_cstr(&out), "\"a\"\"b\".\"x\"\"; DROP TABLE y; --\"");
    tr_outbuf_clear(&out);
    tr_pg_put_literal(&out, "it's");
    assert_string_equal(tr_outbuf_cstr(&out), "'it''s'");
    tr_outbuf_clear(&out);
    tr_pg_put_literal(&out, "\\'");
    assert_string_equal(tr_outbuf_cstr(&out), " E'\\\\'''");
    tr_outbuf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(default_names),
        cmocka_unit_test(names_given),
        cmocka_unit_test(database_of_patterns),
        cmocka_unit_test(database_chosen),
        cmocka_unit_test(plain_names),
        cmocka_unit_test(matching),
        cmocka_unit_test(keys_to_conninfo),
        cmocka_unit_test(url_to_conninfo),
        cmocka_unit_test(url_refused),
        cmocka_unit_test(url_and_keys),
        cmocka_unit_test(sqlstates),
        cmocka_unit_test(quoting),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
