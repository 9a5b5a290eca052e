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

/* ---- known tables --------------------------------------------------------------------------- */

#define KNOWN_COUNT 1000u

static bool has_mark(const struct tr_pg_marks *marks, const char *key)
{
    for (uint32_t i = 0; i < marks->count; i++) {
        if (marks->items[i].key.len == strlen(key) &&
            memcmp(marks->items[i].key.ptr, key, strlen(key)) == 0)
            return true;
    }
    return false;
}

static void add_known(struct tr_pg_source *source, uint32_t oid, uint64_t skip_lsn,
                      uint64_t soft_lsn)
{
    struct tr_table spec = {.id = {"d", "s", "t"}, .source_id = oid, .replica_identity = 'd'};
    struct tr_table *table;
    struct tr_pg_known *known;
    struct tr_error err;
    assert_int_equal(tr_table_new(&spec, &table, &err), TR_OK);
    assert_int_equal(tr_pg_known_add(source, oid, table, skip_lsn, soft_lsn, &known, &err), TR_OK);
    assert_int_equal(known->oid, oid);
    tr_table_unref(table);
}

/* The marks that a commit at end_lsn carries. */
static void take_marks(struct tr_pg_source *source, uint64_t end_lsn, struct tr_arena *arena,
                       struct tr_pg_marks *marks)
{
    tr_pg_marks_init(marks, arena);
    if (tr_pg_known_marks_due(&source->known, end_lsn))
        tr_pg_known_add_marks(&source->known, end_lsn, marks);
    assert_false(marks->failed);
    assert_false(tr_pg_known_marks_due(&source->known, end_lsn));
}

static void known_are_found(void **state)
{
    struct tr_pg_source source = {0};
    (void)state;
    assert_null(tr_pg_known_held(&source.known, 1));
    for (uint32_t i = 0; i < KNOWN_COUNT; i++)
        add_known(&source, 16384 + i * 6, 0, 0);
    for (uint32_t i = 0; i < KNOWN_COUNT; i++) {
        const struct tr_pg_known *known = tr_pg_known_held(&source.known, 16384 + i * 6);
        assert_non_null(known);
        assert_int_equal(known->table->source_id, 16384 + i * 6);
        assert_null(tr_pg_known_held(&source.known, 16385 + i * 6));
    }
    tr_pg_known_free(&source.known);
}

static void dirty_ride_once(void **state)
{
    struct tr_pg_source source = {0};
    struct tr_arena arena;
    struct tr_pg_marks marks;
    (void)state;
    tr_arena_init(&arena, 4096, 0);
    for (uint32_t oid = 1; oid <= 5; oid++)
        add_known(&source, oid, 0, 0);
    tr_pg_known_soil(&source.known, tr_pg_known_held(&source.known, 4));
    tr_pg_known_soil(&source.known, tr_pg_known_held(&source.known, 2));
    tr_pg_known_soil(&source.known, tr_pg_known_held(&source.known, 4));
    take_marks(&source, 100, &arena, &marks);
    assert_int_equal(marks.count, 2);
    assert_true(has_mark(&marks, "table/2") && has_mark(&marks, "table/4"));
    tr_pg_known_soil(&source.known, tr_pg_known_held(&source.known, 5));
    take_marks(&source, 100, &arena, &marks);
    assert_int_equal(marks.count, 1);
    assert_true(has_mark(&marks, "table/5"));
    take_marks(&source, 100, &arena, &marks);
    assert_int_equal(marks.count, 0);
    tr_arena_free(&arena);
    tr_pg_known_free(&source.known);
}

static void bounds_end_one_by_one(void **state)
{
    struct tr_pg_source source = {0};
    struct tr_arena arena;
    struct tr_pg_marks marks;
    (void)state;
    tr_arena_init(&arena, 4096, 0);
    add_known(&source, 1, 0, 300);
    add_known(&source, 2, 0, 0);
    add_known(&source, 3, 100, 200);
    add_known(&source, 4, 250, 0);
    take_marks(&source, 199, &arena, &marks);
    assert_int_equal(marks.count, 0);
    take_marks(&source, 200, &arena, &marks);
    assert_int_equal(marks.count, 2);
    assert_true(has_mark(&marks, "skip/3") && has_mark(&marks, "soft/3"));
    assert_int_equal(tr_pg_known_held(&source.known, 3)->soft_lsn, 0);
    assert_int_equal(tr_pg_known_held(&source.known, 4)->skip_lsn, 250);
    assert_int_equal(source.known.bound_count, 2);
    take_marks(&source, 400, &arena, &marks);
    assert_int_equal(marks.count, 4);
    assert_true(has_mark(&marks, "soft/1") && has_mark(&marks, "skip/4"));
    assert_int_equal(source.known.bound_count, 0);
    tr_arena_free(&arena);
    tr_pg_known_free(&source.known);
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
        cmocka_unit_test(known_are_found),
        cmocka_unit_test(dirty_ride_once),
        cmocka_unit_test(bounds_end_one_by_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
