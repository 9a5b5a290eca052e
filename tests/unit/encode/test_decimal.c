/* Decimals against vectors that Python's integers gave: text, scale, two's complement in hex. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "encode/decimal.h"

static struct tr_decimal_scratch scratch;

static void check(const char *text, size_t scale, const char *hex)
{
    struct tr_decimal decimal;
    assert_true(tr_decimal_parse(text, strlen(text), &decimal));
    assert_true(tr_decimal_unscaled(&decimal, scale, &scratch));
    char got[1024] = "";
    assert_true(scratch.bytes.len * 2 < sizeof got);
    for (size_t i = 0; i < scratch.bytes.len; i++)
        (void)snprintf(got + 2 * i, 3, "%02x", (unsigned char)scratch.bytes.data[i]);
    if (strcmp(got, hex) != 0)
        fail_msg("%s at scale %zu: %s, not %s", text, scale, got, hex);
}

static void test_vectors(void **state)
{
    (void)state;
    FILE *file = fopen(TEST_DATA_DIR "/unit/encode/decimals.txt", "r");
    assert_non_null(file);
    char text[1024], hex[1024];
    size_t scale;
    int count = 0;
    while (fscanf(file, "%1023s %zu %1023s", text, &scale, hex) == 3) {
        check(text, scale, hex);
        count++;
    }
    (void)fclose(file);
    assert_true(count > 500);
}

static void test_forms(void **state)
{
    (void)state;
    static const char *const bad[] = {"",    "-",   ".",     "NaN", "Infinity",
                                      "1e5", "1,5", "1.2.3", " 1",  "1 "};
    struct tr_decimal decimal;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(tr_decimal_parse(bad[i], strlen(bad[i]), &decimal));
    assert_true(tr_decimal_parse("-001.2300", 9, &decimal));
    assert_true(decimal.negative);
    assert_int_equal(decimal.whole_len, 1);
    assert_int_equal(decimal.fraction_len, 4);
    assert_false(tr_decimal_unscaled(&decimal, 1, &scratch)); /* a digit beyond the scale */
    assert_true(tr_decimal_unscaled(&decimal, 2, &scratch));  /* zeros beyond it are fine */
    tr_decimal_strip(&decimal);
    assert_int_equal(decimal.fraction_len, 2);
}

/* PostgreSQL's largest numeric: 131072 digits before the point, 16383 behind it. */
static void test_largest(void **state)
{
    (void)state;
    size_t len = 131072 + 1 + 16383;
    char *text = malloc(len);
    memset(text, '9', len);
    text[131072] = '.';
    struct tr_decimal decimal;
    assert_true(tr_decimal_parse(text, len, &decimal));
    assert_true(tr_decimal_unscaled(&decimal, 16383, &scratch));
    /* 10^147455 - 1 has ceil(147455 × log2(10)) = 489835 bits → 61230 bytes with the sign */
    assert_int_equal(scratch.bytes.len, 489835 / 8 + 1);
    assert_int_equal((unsigned char)scratch.bytes.data[scratch.bytes.len - 1],
                     0xff); /* 10^n ends in zeros */
    free(text);
}

static int release(void **state)
{
    (void)state;
    tr_decimal_scratch_free(&scratch);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_vectors), cmocka_unit_test(test_forms),
                                       cmocka_unit_test(test_largest)};
    return cmocka_run_group_tests(tests, NULL, release);
}
