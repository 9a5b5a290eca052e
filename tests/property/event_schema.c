/* Properties of schema versions: any table survives its text form; and applying a difference's items
 * one after another to the old columns, as a sink does, gives the new ones, with no name taken twice
 * on the way. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../unit/decode_support.h"
#include "event/schema_diff.h"
#include "event/table_text.h"

#define ROUNDS 4000
#define COLUMNS_MAX 12
#define NAME_MAX_BYTES 24

static const char *random_text(uint64_t *seed, char *buf)
{
    static const char *const parts[] = {"a", "Z", "0", " ", "\"", "\\", "\n", "\t", "\x01", "\x7f",
                                        "\xc3\xbc", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "'", "/"};
    size_t count = next_random(seed) % 6, len = 0;
    for (size_t i = 0; i < count; i++) {
        const char *part = parts[next_random(seed) % (sizeof parts / sizeof parts[0])];
        memcpy(buf + len, part, strlen(part));
        len += strlen(part);
    }
    buf[len] = '\0';
    return buf;
}

static int32_t random_int(uint64_t *seed)
{
    static const int32_t odd[] = {0, -1, 1, INT32_MIN, INT32_MAX};
    uint64_t value = next_random(seed);
    return value % 2 == 0 ? odd[value / 2 % 5] : (int32_t)(value >> 32);
}

static void assert_same_text(const char *a, const char *b)
{
    assert_int_equal(a == NULL, b == NULL);
    if (a != NULL)
        assert_string_equal(a, b);
}

static void assert_same_table(const struct tr_table *a, const struct tr_table *b)
{
    assert_true(tr_table_id_equal(&a->id, &b->id));
    assert_true(a->source_id == b->source_id);
    assert_int_equal(a->version, b->version);
    assert_int_equal(a->replica_identity, b->replica_identity);
    assert_int_equal(a->key_is_primary, b->key_is_primary);
    assert_int_equal(a->column_count, b->column_count);
    assert_int_equal(a->key_count, b->key_count);
    for (uint16_t i = 0; i < a->key_count; i++)
        assert_int_equal(a->key_columns[i], b->key_columns[i]);
    for (uint16_t i = 0; i < a->column_count; i++) {
        const struct tr_column *x = &a->columns[i], *y = &b->columns[i];
        assert_same_text(x->name, y->name);
        assert_int_equal(x->type, y->type);
        assert_int_equal(x->elem_type, y->elem_type);
        assert_same_text(x->source_type, y->source_type);
        assert_same_text(x->source_type_base, y->source_type_base);
        assert_int_equal(x->source_type_id, y->source_type_id);
        assert_int_equal(x->source_typmod, y->source_typmod);
        assert_int_equal(x->source_attnum, y->source_attnum);
        assert_int_equal(x->precision, y->precision);
        assert_int_equal(x->scale, y->scale);
        assert_int_equal(x->length, y->length);
        assert_int_equal(x->key_index, y->key_index);
        assert_int_equal(x->nullable, y->nullable);
        assert_int_equal(x->generated, y->generated);
        assert_int_equal(x->identity_always, y->identity_always);
        assert_int_equal(x->identity_by_default, y->identity_by_default);
        assert_same_text(x->default_value, y->default_value);
        assert_same_text(x->enum_labels, y->enum_labels);
    }
}

static struct tr_table *random_table(uint64_t *seed)
{
    struct tr_column columns[COLUMNS_MAX];
    char text[COLUMNS_MAX][5][NAME_MAX_BYTES], id[3][NAME_MAX_BYTES];
    uint16_t count = (uint16_t)(next_random(seed) % (COLUMNS_MAX + 1)), keys = 0;
    for (uint16_t i = 0; i < count; i++) {
        bool bits[8];
        for (size_t k = 0; k < 8; k++)
            bits[k] = next_random(seed) % 2 == 0;
        columns[i] = (struct tr_column){
            .name = random_text(seed, text[i][0]),
            .type = next_random(seed) % TR_T_COUNT,
            .elem_type = next_random(seed) % TR_T_COUNT,
            .source_type = bits[0] ? NULL : random_text(seed, text[i][1]),
            .source_type_base = bits[1] ? NULL : random_text(seed, text[i][2]),
            .source_type_id = (uint32_t)random_int(seed),
            .source_typmod = random_int(seed),
            .source_attnum = random_int(seed),
            .precision = random_int(seed),
            .scale = random_int(seed),
            .length = random_int(seed),
            .key_index = (uint16_t)(bits[2] ? ++keys : 0),
            .nullable = bits[3],
            .generated = bits[4],
            .identity_always = bits[5],
            .identity_by_default = bits[6],
            .default_value = bits[7] ? NULL : random_text(seed, text[i][3]),
            .enum_labels = bits[0] ? random_text(seed, text[i][4]) : NULL};
    }
    static const enum tr_replica_identity identities[] = {TR_RI_DEFAULT, TR_RI_NOTHING, TR_RI_FULL,
                                                          TR_RI_INDEX};
    struct tr_table spec = {.id = {random_text(seed, id[0]), random_text(seed, id[1]),
                                   random_text(seed, id[2])},
                            .source_id = next_random(seed),
                            .version = (uint32_t)random_int(seed),
                            .column_count = count,
                            .columns = columns,
                            .replica_identity = identities[next_random(seed) % 4],
                            .key_is_primary = next_random(seed) % 2 == 0};
    struct tr_table *table = NULL;
    struct tr_error err;
    assert_int_equal(tr_table_new(&spec, &table, &err), TR_OK);
    return table;
}

static void text_comes_back(void **state)
{
    (void)state;
    uint64_t seed = seed_of_run("text_comes_back");
    struct tr_outbuf text = {0};
    struct tr_error err;
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct tr_table *table = random_table(&seed), *back = NULL;
        tr_outbuf_clear(&text);
        tr_table_encode(table, &text);
        for (size_t i = 0; i < text.len; i++)
            assert_true((unsigned char)text.data[i] >= 0x20 && text.data[i] != 0x7f);
        if (tr_table_decode(tr_outbuf_cstr(&text), &back, &err) != TR_OK)
            fail_msg("%s: %s", err.message, tr_outbuf_cstr(&text));
        assert_same_table(table, back);
        tr_table_unref(back);
        if (text.len > 0) { /* damaged text is read or refused */
            text.data[next_random(&seed) % text.len] = (char)(uint8_t)next_random(&seed);
            if (tr_table_decode(tr_outbuf_cstr(&text), &back, &err) == TR_OK)
                tr_table_unref(back);
        }
        tr_table_unref(table);
    }
    tr_outbuf_free(&text);
}

/* ---- differences ---------------------------------------------------------------------------- */

struct live { /* a target's columns: which old column each came from, and its name now */
    char names[2 * COLUMNS_MAX][NAME_MAX_BYTES];
    int32_t attnums[2 * COLUMNS_MAX];
    size_t count;
};

static size_t live_find(const struct live *live, const char *name)
{
    size_t i = 0;
    while (i < live->count && strcmp(live->names[i], name) != 0)
        i++;
    return i;
}

/* Some of eight names in random order, each with an attnum; later versions keep, rename, drop, add. */
static struct tr_table *version_of(const struct live *live)
{
    struct tr_column columns[2 * COLUMNS_MAX];
    for (size_t i = 0; i < live->count; i++)
        columns[i] = (struct tr_column){.name = live->names[i],
                                        .type = TR_T_STRING,
                                        .source_type = "text",
                                        .source_attnum = live->attnums[i]};
    struct tr_table spec = {.id = {"", "", "t"},
                            .column_count = (uint16_t)live->count,
                            .columns = columns,
                            .replica_identity = TR_RI_DEFAULT};
    struct tr_table *table = NULL;
    struct tr_error err;
    assert_int_equal(tr_table_new(&spec, &table, &err), TR_OK);
    return table;
}

static void change_randomly(uint64_t *seed, struct live *live, int32_t *next_attnum)
{
    size_t kept = 0;
    bool shuffle = next_random(seed) % 2 == 0;
    for (size_t i = 0; i < live->count; i++) {
        if (next_random(seed) % 5 == 0)
            continue;
        live->attnums[kept] = live->attnums[i];
        memmove(live->names[kept++], live->names[i], NAME_MAX_BYTES);
    }
    live->count = kept;
    for (size_t i = kept; shuffle && i > 1; i--) { /* trade names: swaps and cycles */
        size_t k = next_random(seed) % i;
        char name[NAME_MAX_BYTES];
        memcpy(name, live->names[k], NAME_MAX_BYTES);
        memcpy(live->names[k], live->names[i - 1], NAME_MAX_BYTES);
        memcpy(live->names[i - 1], name, NAME_MAX_BYTES);
    }
    for (size_t tries = 0; tries < 6; tries++) {
        char name[NAME_MAX_BYTES];
        (void)snprintf(name, sizeof name, "%c", (int)('a' + next_random(seed) % 8));
        if (live_find(live, name) < live->count)
            continue;
        size_t at = next_random(seed) % (live->count + 1);
        if (at == live->count && live->count < COLUMNS_MAX)
            live->attnums[live->count++] = (*next_attnum)++;
        if (at < live->count)
            memcpy(live->names[at], name, NAME_MAX_BYTES);
    }
}

static void apply_item(struct live *live, const struct tr_schema_change *change,
                       const struct tr_table *after, const struct tr_alter_item *item)
{
    const char *new = after->column_count > 0 ? after->columns[item->after_index].name : "";
    if (item->kind == TR_ALTER_ADD_COLUMN) {
        assert_int_equal(live_find(live, new), live->count);
        live->attnums[live->count] = after->columns[item->after_index].source_attnum;
        (void)snprintf(live->names[live->count++], NAME_MAX_BYTES, "%s", new);
        return;
    }
    /* the name that the column has now: its old one, or that with '#' when it had to give way */
    const char *old = change->before->columns[item->before_index].name;
    int32_t attnum = change->before->columns[item->before_index].source_attnum;
    size_t at = 0;
    while (at < live->count && live->attnums[at] != attnum)
        at++;
    assert_true(at < live->count);
    if (item->kind == TR_ALTER_DROP_COLUMN) {
        assert_string_equal(live->names[at], old);
        live->count--;
        live->attnums[at] = live->attnums[live->count];
        memmove(live->names[at], live->names[live->count], NAME_MAX_BYTES);
        return;
    }
    assert_int_equal(item->kind, TR_ALTER_RENAME_COLUMN);
    size_t taken = live_find(live, new);
    if (taken < live->count) {
        assert_true(change->rename_cycle); /* else the order would have been wrong */
        (void)snprintf(live->names[taken], NAME_MAX_BYTES, "#%s", new);
    }
    (void)snprintf(live->names[at], NAME_MAX_BYTES, "%s", new);
}

static void items_lead_from_before_to_after(void **state)
{
    (void)state;
    uint64_t seed = seed_of_run("items_lead_from_before_to_after");
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct live live = {.count = 0};
        int32_t next_attnum = 1;
        struct tr_error err;
        struct tr_schema_change change;
        struct tr_arena arena;
        tr_arena_init(&arena, 4096, 0);
        for (unsigned i = 0; i < 3; i++)
            change_randomly(&seed, &live, &next_attnum);
        struct tr_table *before = version_of(&live);
        struct live target = live;
        change_randomly(&seed, &live, &next_attnum);
        struct tr_table *after = version_of(&live);
        assert_int_equal(tr_schema_diff(before, after, &arena, &change, &err), TR_OK);
        for (uint32_t i = 0; i < change.item_count; i++)
            apply_item(&target, &change, after, &change.items[i]);
        assert_int_equal(target.count, after->column_count);
        for (size_t i = 0; i < target.count; i++) {
            int column = tr_table_column(after, target.names[i]);
            assert_true(column >= 0);
            assert_int_equal(after->columns[column].source_attnum, target.attnums[i]);
        }
        tr_table_unref(before);
        tr_table_unref(after);
        tr_arena_free(&arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(text_comes_back),
                                       cmocka_unit_test(items_lead_from_before_to_after)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
