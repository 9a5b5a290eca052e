/* Which attribute a column of a Relation message is, when the catalog is ahead of the log; and
 * defaults that are one plain literal. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "source/postgres/source.h"

#define INT4 23
#define TEXT 25
#define COLUMNS_MAX 8

struct message {
    const char *name;
    uint32_t type;
};

/* Aligns and compares with the attnums expected. Lists end with a NULL name or attnum 0. */
static void check(const struct message *sent, const struct tr_pg_attr *catalog,
                  const struct tr_column *before, const int32_t *expected)
{
    struct tr_pgoutput_column columns[COLUMNS_MAX];
    struct tr_pgoutput_relation relation = {.oid = 1, .columns = columns};
    struct tr_pg_attr items[COLUMNS_MAX];
    struct tr_pg_attrs attrs = {.relid = 1, .items = items};
    int32_t attnums[COLUMNS_MAX];
    struct tr_error err;
    struct tr_table *table = NULL;
    for (; sent[relation.column_count].name != NULL; relation.column_count++)
        columns[relation.column_count] = (struct tr_pgoutput_column){
            sent[relation.column_count].name, sent[relation.column_count].type, -1, false};
    for (; catalog[attrs.count].attnum != 0; attrs.count++)
        items[attrs.count] = catalog[attrs.count];
    if (before != NULL) {
        struct tr_table spec = {.id = {"d", "s", "t"}, .columns = before};
        while (before[spec.column_count].name != NULL)
            spec.column_count++;
        assert_int_equal(tr_table_new(&spec, &table, &err), TR_OK);
    }
    assert_int_equal(tr_pg_align(&relation, &attrs, table, attnums, &err), TR_OK);
    for (uint16_t i = 0; i < relation.column_count; i++)
        assert_int_equal(attnums[i], expected[i]);
    tr_table_unref(table);
}

#define LIVE(number, text, oid)                                                                    \
    {                                                                                              \
        .attnum = number, .name = text, .type_oid = oid, .typmod = -1                              \
    }
#define GONE(number)                                                                               \
    {                                                                                              \
        .attnum = number, .name = "........pg.dropped........", .dropped = true                    \
    }
#define WAS(number, text, oid)                                                                     \
    {                                                                                              \
        .name = text, .source_attnum = number, .source_type_id = oid, .source_type = "x",          \
        .source_type_base = "x"                                                                    \
    }
#define SENT (const struct message[])
#define CATALOG (const struct tr_pg_attr[])
#define BEFORE (const struct tr_column[])
#define EXPECT (const int32_t[])

static void same(void **state)
{
    (void)state;
    check(SENT{{"id", INT4}, {"a", TEXT}, {0}},
          CATALOG{LIVE(1, "id", INT4), LIVE(2, "a", TEXT), {0}}, NULL, EXPECT{1, 2});
    check(SENT{{"id", INT4}, {"a", TEXT}, {0}},
          CATALOG{LIVE(1, "id", INT4), GONE(2), LIVE(3, "a", TEXT), {0}}, NULL, EXPECT{1, 3});
}

static void generated_are_not_sent(void **state)
{
    (void)state;
    check(SENT{{"id", INT4}, {"a", TEXT}, {0}},
          CATALOG{LIVE(1, "id", INT4),
                  {.attnum = 2, .name = "g", .type_oid = INT4, .generated = 's'},
                  LIVE(3, "a", TEXT),
                  {0}},
          NULL, EXPECT{1, 3});
}

static void renamed_since(void **state)
{
    (void)state;
    /* the log still says a; the catalog says b */
    check(SENT{{"id", INT4}, {"a", TEXT}, {0}},
          CATALOG{LIVE(1, "id", INT4), LIVE(2, "b", TEXT), {0}},
          BEFORE{WAS(1, "id", INT4), WAS(2, "a", TEXT), {0}}, EXPECT{1, 2});
    /* renamed twice: the log is in between */
    check(SENT{{"id", INT4}, {"b", TEXT}, {0}},
          CATALOG{LIVE(1, "id", INT4), LIVE(2, "c", TEXT), {0}},
          BEFORE{WAS(1, "id", INT4), WAS(2, "a", TEXT), {0}}, EXPECT{1, 2});
}

static void names_moved_on(void **state)
{
    (void)state;
    /* ADD a, ADD b, then a became c and b became a: the log's a is attribute 2, not today's a */
    check(SENT{{"id", INT4}, {"a", INT4}, {"b", INT4}, {0}},
          CATALOG{LIVE(1, "id", INT4), LIVE(2, "c", INT4), LIVE(3, "a", INT4), {0}},
          BEFORE{WAS(1, "id", INT4), {0}}, EXPECT{1, 2, 3});
}

static void dropped_since(void **state)
{
    (void)state;
    check(SENT{{"id", INT4}, {"a", TEXT}, {0}}, CATALOG{LIVE(1, "id", INT4), GONE(2), {0}},
          BEFORE{WAS(1, "id", INT4), WAS(2, "a", TEXT), {0}}, EXPECT{1, 2});
    /* dropped, and another added: the log still has the old one */
    check(SENT{{"id", INT4}, {"a", TEXT}, {0}},
          CATALOG{LIVE(1, "id", INT4), GONE(2), LIVE(3, "b", INT4), {0}},
          BEFORE{WAS(1, "id", INT4), WAS(2, "a", TEXT), {0}}, EXPECT{1, 2});
}

static void dropped_and_added_again(void **state)
{
    (void)state;
    /* the message came because of the change: it is the new column of that name */
    check(SENT{{"id", INT4}, {"a", TEXT}, {0}},
          CATALOG{LIVE(1, "id", INT4), GONE(2), LIVE(3, "a", TEXT), {0}},
          BEFORE{WAS(1, "id", INT4), WAS(2, "a", TEXT), {0}}, EXPECT{1, 3});
}

static void added_later_than_the_log(void **state)
{
    (void)state;
    check(SENT{{"id", INT4}, {0}}, CATALOG{LIVE(1, "id", INT4), LIVE(2, "new", TEXT), {0}},
          BEFORE{WAS(1, "id", INT4), {0}}, EXPECT{1});
}

static void table_gone(void **state)
{
    (void)state;
    check(SENT{{"id", INT4}, {"x", TEXT}, {0}}, CATALOG{{0}}, BEFORE{WAS(4, "id", INT4), {0}},
          EXPECT{4, 0});
}

static void literals(void **state)
{
    (void)state;
    static const struct {
        const char *expression, *text;
    } cases[] = {
        {"42", "42"},
        {"'-5'::integer", "-5"},
        {"(-5)", "-5"},
        {"1.50", "1.50"},
        {"'it''s'::text", "it's"},
        {"'a'::character varying(10)", "a"},
        {"'ok'::public.\"My Mood\"", "ok"},
        {"'{}'::text[]", "{}"},
        {"E'a\\\\b'::text", "a\\b"},
        {"B'101'::\"bit\"", "101"},
        {"true", "t"},
        {"false", "f"},
        {"NULL::integer", NULL},
        {"now()", NULL},
        {"nextval('s'::regclass)", NULL},
        {"('a'::text || 'b'::text)", NULL},
        {"'a'::text || 'b'::text", NULL},
        {"CURRENT_TIMESTAMP", NULL},
        {"1 + 2", NULL},
        {"'now'::text::date - 1", NULL},
        {"'open", NULL},
        {"-", NULL},
        {"", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct tr_arena arena;
        tr_arena_init(&arena, 256, 0);
        const char *text = tr_pg_default_literal(&arena, cases[i].expression);
        if (cases[i].text == NULL)
            assert_null(text);
        else
            assert_string_equal(text, cases[i].text);
        tr_arena_free(&arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same),
        cmocka_unit_test(generated_are_not_sent),
        cmocka_unit_test(renamed_since),
        cmocka_unit_test(names_moved_on),
        cmocka_unit_test(dropped_since),
        cmocka_unit_test(dropped_and_added_again),
        cmocka_unit_test(added_later_than_the_log),
        cmocka_unit_test(table_gone),
        cmocka_unit_test(literals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
