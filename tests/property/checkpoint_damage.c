/* A checkpoint that is cut at any place, or has any one bit changed, is refused: all places and all
 * bits of a small file are tried. Also: what is written is read back, for random contents, and each
 * content has one spelling. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/outbuf.h"
#include "event/marks_text.h"

#define MAGIC "tailrace-checkpoint"
#define ROUNDS 500

static struct tr_marks_stamp stamp;
static struct tr_state marks, read_marks;
static struct tr_outbuf text;
static struct tr_error err;

static int setup(void **state)
{
    (void)state;
    stamp = (struct tr_marks_stamp){.pipeline = {"shop", 4},
                                    .generation = 42,
                                    .created = {"2025-01-31T10:20:30.123456Z", 27},
                                    .note_count = 1,
                                    .notes = {{{"file", 4}, {"a = b: c", 8}}}};
    tr_state_init(&marks);
    tr_state_init(&read_marks);
    assert_int_equal(tr_state_set(&marks, "lsn", "0/16B3748", &err), TR_OK);
    assert_int_equal(tr_state_set(&marks, "chunk/16412/3", "done", &err), TR_OK);
    assert_int_equal(tr_state_set(&marks, "note:", "x: y=z \xc3\xa9", &err), TR_OK);
    assert_true(tr_marks_text_format(MAGIC, &stamp, &marks, &text));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    tr_state_free(&marks);
    tr_state_free(&read_marks);
    tr_outbuf_free(&text);
    return 0;
}

/* In an exact-size copy, so that the address sanitizer sees a read past the end. */
static enum tr_marks_verdict parse(const char *data, size_t len)
{
    struct tr_marks_stamp found;
    const char *why = NULL;
    uint32_t line;
    char *exact = malloc(len == 0 ? 1 : len);
    assert_non_null(exact);
    memcpy(exact, data, len);
    enum tr_marks_verdict verdict =
        tr_marks_text_parse(MAGIC, exact, len, &found, &read_marks, &why, &line);
    if (verdict == TR_MARKS_DAMAGED)
        assert_true(why != NULL && why[0] != '\0');
    if (verdict != TR_MARKS_GOOD)
        assert_int_equal(read_marks.count, 0);
    free(exact);
    return verdict;
}

static void whole_file_is_good(void **state)
{
    (void)state;
    assert_int_equal(parse(text.data, text.len), TR_MARKS_GOOD);
    assert_int_equal(read_marks.count, 3);
    assert_string_equal(tr_state_get(&read_marks, "note:"), "x: y=z \xc3\xa9");
}

static void every_cut_is_refused(void **state)
{
    (void)state;
    for (size_t len = 0; len < text.len; len++)
        assert_int_equal(parse(text.data, len), TR_MARKS_DAMAGED);
}

static void every_bit_flip_is_refused(void **state)
{
    (void)state;
    for (size_t at = 0; at < text.len; at++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            text.data[at] = (char)(text.data[at] ^ (1 << bit));
            assert_int_equal(parse(text.data, text.len), TR_MARKS_DAMAGED);
            text.data[at] = (char)(text.data[at] ^ (1 << bit));
        }
    }
}

static void every_lost_or_doubled_byte_is_refused(void **state)
{
    (void)state;
    char *copy = malloc(text.len + 1);
    assert_non_null(copy);
    for (size_t at = 0; at < text.len; at++) {
        memcpy(copy, text.data, at);
        memcpy(copy + at, text.data + at + 1, text.len - at - 1);
        assert_int_equal(parse(copy, text.len - 1), TR_MARKS_DAMAGED);
        memcpy(copy, text.data, at + 1);
        memcpy(copy + at + 1, text.data + at, text.len - at);
        assert_int_equal(parse(copy, text.len + 1), TR_MARKS_DAMAGED);
    }
    free(copy);
}

static void random_contents_come_back(void **state)
{
    (void)state;
    const char *given = getenv("TAILRACE_TEST_SEED");
    unsigned seed = given != NULL ? (unsigned)strtoul(given, NULL, 10) : 20250131u;
    printf("seed %u\n", seed);
    srandom(seed);
    for (int round = 0; round < ROUNDS; round++) {
        tr_state_clear(&marks);
        long count = random() % 40;
        for (long i = 0; i < count; i++) {
            char key[16], value[64];
            size_t key_len = (size_t)(random() % 15) + 1, value_len = (size_t)(random() % 60) + 1;
            for (size_t k = 0; k < key_len; k++)
                key[k] = "abz019/:._-%&~!"[random() % 15];
            for (size_t k = 0; k < value_len; k++)
                value[k] = "ab =:\t\r\x7f\xc3\xa9/0"[random() % 12];
            assert_int_equal(tr_state_apply(&marks, (struct tr_slice){key, key_len},
                                            (struct tr_slice){value, value_len}, &err),
                             TR_OK);
        }
        stamp.generation = (uint64_t)random() << 33 | (uint64_t)random();
        stamp.note_count = (uint32_t)(random() % 2);
        assert_true(tr_marks_text_format(MAGIC, &stamp, &marks, &text));
        struct tr_marks_stamp found;
        const char *why;
        uint32_t line;
        assert_int_equal(
            tr_marks_text_parse(MAGIC, text.data, text.len, &found, &read_marks, &why, &line),
            TR_MARKS_GOOD);
        assert_int_equal(found.generation, stamp.generation);
        assert_int_equal(found.note_count, stamp.note_count);
        assert_int_equal(read_marks.count, marks.count);
        for (size_t i = 0; i < marks.count; i++) {
            assert_string_equal(marks.items[i].key, read_marks.items[i].key);
            assert_string_equal(marks.items[i].value, read_marks.items[i].value);
        }
    }
}

static void limits_are_kept_when_writing(void **state)
{
    (void)state;
    char long_name[300];
    memset(long_name, 'n', sizeof long_name);
    stamp.pipeline = (struct tr_slice){long_name, sizeof long_name};
    assert_false(tr_marks_text_format(MAGIC, &stamp, &marks, &text));
    stamp.pipeline = (struct tr_slice){"a\nb", 3};
    assert_false(tr_marks_text_format(MAGIC, &stamp, &marks, &text));
    stamp.pipeline = (struct tr_slice){"shop", 4};
    stamp.notes[0].name = (struct tr_slice){"File", 4};
    assert_false(tr_marks_text_format(MAGIC, &stamp, &marks, &text));
    stamp.notes[0].name = (struct tr_slice){"file", 4};
    assert_true(tr_marks_text_format(MAGIC, &stamp, &marks, &text));
    char created[40];
    struct tr_slice old = tr_marks_text_created(-1, created, sizeof created);
    assert_memory_equal(old.ptr, "1969-12-31T23:59:59.999999Z", old.len);
    assert_int_equal(old.len, TR_MARKS_TEXT_CREATED_BYTES);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(whole_file_is_good),        TEST(every_cut_is_refused),
        TEST(every_bit_flip_is_refused), TEST(every_lost_or_doubled_byte_is_refused),
        TEST(random_contents_come_back), TEST(limits_are_kept_when_writing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
