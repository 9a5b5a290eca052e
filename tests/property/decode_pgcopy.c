/* Property: what COPY TO writes for a row (written here as the manual page says) is read back as that
 * row, and any other bytes are read or refused without a crash. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../unit/decode_support.h"
#include "decode/pgcopy.h"

#define ROUNDS 20000
#define COLUMNS_MAX 6
#define VALUE_MAX 40

struct value {
    bool null;
    size_t len;
    char bytes[VALUE_MAX];
};

static void random_value(uint64_t *seed, struct value *value)
{
    static const char special[] = "\b\f\n\r\t\v\\N.ab01x\x01\x7f\x80\xff";
    value->null = next_random(seed) % 8 == 0;
    value->len = next_random(seed) % (VALUE_MAX + 1);
    bool plain = next_random(seed) % 2 == 0;
    for (size_t i = 0; i < value->len; i++)
        value->bytes[i] = plain ? (char)('a' + next_random(seed) % 26)
                                : special[next_random(seed) % (sizeof special - 1)];
}

static void write_value(const struct value *value, struct tr_outbuf *line)
{
    static const char from[] = "\b\f\n\r\t\v\\", to[] = "bfnrtv\\";
    if (value->null) {
        tr_outbuf_lit(line, "\\N");
        return;
    }
    for (size_t i = 0; i < value->len; i++) {
        const char *at = memchr(from, value->bytes[i], sizeof from - 1);
        if (at != NULL)
            tr_outbuf_byte(line, '\\');
        tr_outbuf_byte(line, at != NULL ? to[at - from] : value->bytes[i]);
    }
}

static void rows_come_back(void **state)
{
    (void)state;
    uint64_t seed = seed_of_run("rows_come_back");
    struct tr_outbuf line = {0};
    struct tr_batch *batch = NULL;
    struct tr_error err;
    assert_int_equal(tr_batch_new(&batch, &err), TR_OK);
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct value values[COLUMNS_MAX];
        struct tr_cell cells[COLUMNS_MAX];
        size_t count = 1 + next_random(&seed) % COLUMNS_MAX;
        tr_outbuf_clear(&line);
        for (size_t i = 0; i < count; i++) {
            random_value(&seed, &values[i]);
            if (i > 0)
                tr_outbuf_byte(&line, '\t');
            write_value(&values[i], &line);
        }
        tr_outbuf_byte(&line, '\n');
        char *exact = malloc(line.len);
        memcpy(exact, line.data, line.len);
        assert_int_equal(
            tr_pgcopy_decode((struct tr_slice){exact, line.len}, count, cells, batch, &err), TR_OK);
        for (size_t i = 0; i < count; i++) {
            assert_int_equal(cells[i].state, values[i].null ? TR_CELL_NULL : TR_CELL_TEXT);
            if (values[i].null)
                continue;
            assert_int_equal(cells[i].len, values[i].len);
            assert_memory_equal(cells[i].ptr, values[i].bytes, values[i].len);
        }
        /* the same line, damaged */
        exact[next_random(&seed) % line.len] = "\t\n\\N0x"[next_random(&seed) % 6];
        if (tr_pgcopy_decode((struct tr_slice){exact, line.len}, count, cells, batch, &err) ==
            TR_FAIL)
            assert_int_equal(err.code, TR_E_PG_PROTOCOL);
        free(exact);
        tr_batch_reset(batch);
    }
    tr_batch_free(batch);
    tr_outbuf_free(&line);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(rows_come_back)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
