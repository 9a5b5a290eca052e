/* Where messages end: lines and CSV records, whatever chunks the bytes come in. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "decode/frame.h"

#define ENDS_MAX 4096

struct ends {
    size_t at[ENDS_MAX];
    size_t count;
    bool open; /* what is left ends within quotes */
};

static struct tr_frame new_frame(int format)
{
    struct tr_decoder_options options;
    struct tr_frame frame;
    struct tr_error err;
    tr_decoder_options_default(&options);
    options.format = format;
    assert_int_equal(tr_frame_init(&frame, &options, &err), TR_OK);
    return frame;
}

/* Feeds growing pieces of text; cut(…) says how much more comes. */
static void find_ends(int format, const char *text, size_t len, unsigned chunk_max,
                      struct ends *ends)
{
    struct tr_frame frame = new_frame(format);
    size_t begin = 0, have = 0;
    *ends = (struct ends){0};
    for (;;) {
        size_t found = tr_frame_end(&frame, text + begin, have - begin);
        if (found > 0) {
            begin += found;
            ends->at[ends->count++] = begin;
            assert_true(ends->count < ENDS_MAX);
            tr_frame_start(&frame);
            continue;
        }
        if (have == len)
            break;
        size_t more = chunk_max == 0 ? len : 1 + (size_t)rand() % chunk_max;
        have = len - have < more ? len : have + more;
    }
    ends->open = tr_frame_is_open(&frame);
}

static void expect(int format, const char *text, size_t count, const size_t *at)
{
    struct ends ends;
    find_ends(format, text, strlen(text), 0, &ends);
    assert_int_equal(ends.count, count);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(ends.at[i], at[i]);
}

static void lines(void **state)
{
    (void)state;
    expect(TR_DECODE_JSON, "a\nbc\r\n\nrest", 3, (const size_t[]){2, 6, 7});
    expect(TR_DECODE_JSON, "\"a\nb\"", 1, (const size_t[]){3}); /* quotes mean nothing in lines */
    expect(TR_DECODE_JSON, "", 0, NULL);
    assert_int_equal(tr_frame_trim("a\r\n", 3), 1);
    assert_int_equal(tr_frame_trim("a\n", 2), 1);
    assert_int_equal(tr_frame_trim("a\r", 2), 1);
    assert_int_equal(tr_frame_trim("a", 1), 1);
    assert_int_equal(tr_frame_trim("\n", 1), 0);
    assert_int_equal(tr_frame_trim("", 0), 0);
}

static void records(void **state)
{
    (void)state;
    expect(TR_DECODE_CSV, "a,b\n1,\"x\ny\"\n2,z\n", 3, (const size_t[]){4, 12, 16});
    expect(TR_DECODE_CSV, "\"a\"\"\n\"\n\"\"\n", 2, (const size_t[]){7, 10});
    expect(TR_DECODE_CSV, "5\" pipe,\"q\"\nx\n", 2, (const size_t[]){12, 14});
    expect(TR_DECODE_CSV, "\"a\"b\"\nc\n", 2, (const size_t[]){6, 8}); /* malformed, but ended */
    expect(TR_DECODE_CSV, "\"a\"\r\nb\r\n", 2, (const size_t[]){5, 8});
    struct ends ends;
    find_ends(TR_DECODE_CSV, "x\n\"open\nstill", 13, 0, &ends);
    assert_int_equal(ends.count, 1);
    assert_true(ends.open);
}

/* Any chunks give the same ends. */
static void chunks(void **state)
{
    static const char alphabet[] = "ab,\"\n\r\"\n,;\\'";
    (void)state;
    unsigned seed = (unsigned)time(NULL);
    print_message("seed %u\n", seed);
    srand(seed);
    for (int round = 0; round < 3000; round++) {
        char text[200];
        size_t len = (size_t)rand() % sizeof text;
        for (size_t i = 0; i < len; i++)
            text[i] = alphabet[(size_t)rand() % (sizeof alphabet - 1)];
        int format = round % 2 == 0 ? TR_DECODE_CSV : TR_DECODE_JSON;
        struct ends whole, pieces;
        find_ends(format, text, len, 0, &whole);
        find_ends(format, text, len, 1 + (unsigned)rand() % 7, &pieces);
        assert_int_equal(whole.count, pieces.count);
        assert_memory_equal(whole.at, pieces.at, whole.count * sizeof whole.at[0]);
        assert_int_equal(whole.open, pieces.open);
    }
}

static void characters(void **state)
{
    (void)state;
    struct tr_decoder_options options;
    struct tr_error err;
    char delimiter, quote;
    tr_decoder_options_default(&options);
    options.csv_delimiter = "\\t";
    options.csv_quote = "";
    assert_int_equal(tr_csv_characters(&options, &delimiter, &quote, &err), TR_OK);
    assert_int_equal(delimiter, '\t');
    assert_int_equal(quote, '\0');
    const char *const bad[] = {"", "ab", "\n", "é", "\""};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        options.csv_quote = "\"";
        options.csv_delimiter = bad[i];
        assert_int_equal(tr_csv_characters(&options, &delimiter, &quote, &err), TR_FAIL);
        assert_int_equal(err.code, TR_E_CONFIG_VALUE);
    }
}

/* Without a quote character a NUL byte is a byte. */
static void no_quoting(void **state)
{
    (void)state;
    struct tr_decoder_options options;
    struct tr_frame frame;
    struct tr_error err;
    tr_decoder_options_default(&options);
    options.format = TR_DECODE_CSV;
    options.csv_quote = "";
    assert_int_equal(tr_frame_init(&frame, &options, &err), TR_OK);
    assert_int_equal(tr_frame_end(&frame, "\0,\"a", 4), 0);
    assert_int_equal(tr_frame_end(&frame, "\0,\"a\nb", 6), 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(lines), cmocka_unit_test(records),
                                       cmocka_unit_test(chunks), cmocka_unit_test(characters),
                                       cmocka_unit_test(no_quoting)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
