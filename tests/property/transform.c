/* Random expressions over random rows: nothing crashes, a failure is one of the row (DATA), and
 * every value has the canonical form of the type that the compiler gave. Seeds are printed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../unit/transform_support.h"
#include "transform/decimal.h"
#include "transform/times.h"

#define EXPRESSIONS 6000
#define DEPTH_MAX 5

static uint64_t seed;

static unsigned below(unsigned limit)
{
    seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return (unsigned)(seed >> 33) % limit;
}

struct text {
    char bytes[60000];
    size_t len;
};

static void put(struct text *text, const char *words)
{
    size_t len = strlen(words);
    if (text->len + len < sizeof text->bytes) {
        memcpy(text->bytes + text->len, words, len + 1);
        text->len += len;
    }
}

/* A template's letters stand for expressions of a kind: %n number, %i integer, %s text, %b
 * condition, %t time. */
static const char *const numbers[] = {"i",
                                      "l",
                                      "d",
                                      "f",
                                      "1",
                                      "-3",
                                      "2.50",
                                      "1e2",
                                      "NULL",
                                      "(%n + %n)",
                                      "(%n - %n)",
                                      "(%n * %n)",
                                      "(%n / %n)",
                                      "(%n % %n)",
                                      "-(%n)",
                                      "ABS(%n)",
                                      "ROUND(%n, %i)",
                                      "CEIL(%n)",
                                      "FLOOR(%n)",
                                      "CAST(%s AS DOUBLE)",
                                      "TRY_CAST(%s AS DECIMAL(12,3))",
                                      "COALESCE(%n, %n)",
                                      "IF(%b, %n, %n)",
                                      "NULLIF(%n, %n)",
                                      "CAST(%n AS DECIMAL(20,4))",
                                      "GREATEST(%n, %n)",
                                      "SIGN(%n)",
                                      "TRUNCATE(%n, 1)",
                                      "EXTRACT(HOUR FROM %t)"};
static const char *const integers[] = {"i",
                                       "l",
                                       "0",
                                       "1",
                                       "-2",
                                       "7",
                                       "CHAR_LENGTH(%s)",
                                       "POSITION(%s IN %s)",
                                       "CAST(%n AS BIGINT)",
                                       "TRY_CAST(%n AS INT)",
                                       "YEAR(%t)",
                                       "(%i + %i)",
                                       "(%i / %i)",
                                       "TIMESTAMPDIFF(DAY, %t, %t)",
                                       "CASE WHEN %b THEN %i END"};
static const char *const texts[] = {"s",
                                    "'a'",
                                    "'Ünïcode € 😀'",
                                    "''",
                                    "NULL",
                                    "UPPER(%s)",
                                    "LOWER(%s)",
                                    "(%s || %n)",
                                    "CONCAT(%s, %s)",
                                    "CONCAT_WS(%s, %t, %s)",
                                    "SUBSTR(%s, %i, %i)",
                                    "TRIM(%s)",
                                    "REPLACE(%s, %s, %s)",
                                    "LEFT(%s, %i)",
                                    "RIGHT(%s, %i)",
                                    "LPAD(%s, 5, %s)",
                                    "SPLIT_INDEX(%s, %s, %i)",
                                    "REVERSE(%s)",
                                    "CAST(%n AS STRING)",
                                    "CAST(%t AS STRING)",
                                    "DATE_FORMAT(%t, 'yyyy-MM-dd')",
                                    "COALESCE(%s, %s)",
                                    "CASE %i WHEN %i THEN %s ELSE %s END",
                                    "REGEXP_REPLACE(%s, '[a-z]', '<$0>')",
                                    "CAST(%b AS STRING)",
                                    "MD5(%s)"};
static const char *const conditions[] = {"b",
                                         "TRUE",
                                         "NULL",
                                         "(%n = %n)",
                                         "(%n < %n)",
                                         "(%s <> %s)",
                                         "(%s LIKE %s)",
                                         "(%b AND %b)",
                                         "(%b OR %b)",
                                         "(NOT %b)",
                                         "(%n IS NULL)",
                                         "(%b IS TRUE)",
                                         "(%n BETWEEN %n AND %n)",
                                         "(%n IN (%n, %n))",
                                         "(%t >= %t)",
                                         "(%s NOT IN (%s, %s))"};
static const char *const times[] = {"t",
                                    "z",
                                    "day",
                                    "TIMESTAMP '2024-02-29 01:02:03.5'",
                                    "(%t + INTERVAL '1' MONTH)",
                                    "TIMESTAMPADD(HOUR, %i, %t)",
                                    "CAST(%t AS DATE)",
                                    "CAST(%t AS TIMESTAMP(3))",
                                    "CAST(%t AS TIMESTAMP_LTZ)",
                                    "TRY_CAST(%s AS TIMESTAMP)",
                                    "CURRENT_TIMESTAMP",
                                    "COALESCE(%t, %t)"};
#define COUNT(list) (unsigned)(sizeof(list) / sizeof *(list))

static void grow(struct text *text, char kind, int depth)
{
    const char *const *list = kind == 'n'   ? numbers
                              : kind == 'i' ? integers
                              : kind == 's' ? texts
                              : kind == 'b' ? conditions
                                            : times;
    unsigned count = kind == 'n'   ? COUNT(numbers)
                     : kind == 'i' ? COUNT(integers)
                     : kind == 's' ? COUNT(texts)
                     : kind == 'b' ? COUNT(conditions)
                                   : COUNT(times);
    const char *form = list[below(depth <= 0 ? 3 : count)];
    for (; *form != '\0'; form++) {
        if (*form == '%' && form[1] != ' ' && form[1] != '\0') {
            grow(text, form[1], depth - 1);
            form++;
        } else {
            const char one[2] = {*form, '\0'};
            put(text, one);
        }
    }
}

static bool whole(const char *text, size_t len, int64_t min, int64_t max)
{
    char copy[32], *end;
    if (len == 0 || len >= sizeof copy)
        return false;
    memcpy(copy, text, len);
    copy[len] = '\0';
    long long value = strtoll(copy, &end, 10);
    return *end == '\0' && value >= min && value <= max;
}

static bool has_form(const struct tr_column *column, const struct tr_cell *cell)
{
    struct tx_dec dec;
    struct tx_zone_seen zone;
    int64_t value;
    char back[TX_TIME_TEXT_MAX];
    switch (column->type) {
    case TR_T_BOOLEAN:
        return cell->len == 1 && (*cell->ptr == 't' || *cell->ptr == 'f');
    case TR_T_INT32:
        return whole(cell->ptr, cell->len, INT32_MIN, INT32_MAX);
    case TR_T_INT64:
        return whole(cell->ptr, cell->len, INT64_MIN, INT64_MAX);
    case TR_T_DECIMAL:
        if (tx_dec_read(cell->ptr, cell->len, &dec) != TX_DEC_OK ||
            memchr(cell->ptr, 'e', cell->len) != NULL)
            return false;
        return column->precision == 0 ||
               (dec.scale <= column->scale &&
                tx_dec_digits(&dec) - dec.scale <= column->precision - column->scale);
    case TR_T_FLOAT64:
        return cell->len > 0 && cell->len < 40;
    case TR_T_DATE:
        return tx_date_read(cell->ptr, cell->len, &value) &&
               tx_date_write(value, back) == cell->len && memcmp(back, cell->ptr, cell->len) == 0;
    case TR_T_TIMESTAMP:
    case TR_T_TIMESTAMPTZ:
        return tx_stamp_read(cell->ptr, cell->len, &value, &zone) &&
               tx_stamp_write(value, column->type == TR_T_TIMESTAMPTZ, back) == cell->len &&
               memcmp(back, cell->ptr, cell->len) == 0 &&
               tx_cut_us(value, column->precision) == value;
    default:
        return memchr(cell->ptr, '\0', cell->len) == NULL;
    }
}

static const char *const rows[] = {
    "7|5000000000|19.90|2.5|Ännchen|t|2025-09-19 10:00:00.123456|2025-09-19 10:00:00+00|2024-02-29",
    "-2147483648|-9223372036854775808|-99999999.99|-1e+300||f|infinity|-infinity|0044-03-15 BC",
    "NULL|NULL|NULL|NULL|NULL|NULL|NULL|NULL|NULL",
    "0|0|0.00|NaN|12|t|1969-12-31 23:59:59.999999|290000-01-01 00:00:00+00|infinity"};

static void test_random(void **state)
{
    struct tr_table *table =
        table_made("r", "i INT32 key; l INT64; d DECIMAL(10,2); f FLOAT64; s STRING; b BOOLEAN; t "
                        "TIMESTAMP; z TIMESTAMPTZ; day DATE");
    struct tr_batch *batch;
    struct tr_error err;
    static struct text text;
    unsigned compiled = 0, values = 0, failures = 0;
    (void)state;
    const char *given = getenv("TR_SEED");
    seed = given != NULL ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
    printf("TR_SEED=%llu\n", (unsigned long long)seed);
    assert_int_equal(tr_batch_new(&batch, &err), TR_OK);
    for (int n = 0; n < EXPRESSIONS; n++) {
        struct tr_expression *expression;
        struct tr_column column;
        struct tr_cell cell;
        text.len = 0;
        grow(&text, "nisbt"[below(5)], (int)below(DEPTH_MAX));
        if (tr_expression_new(text.bytes, table, n % 2 == 0 ? NULL : "Europe/Berlin", &expression,
                              &err) != TR_OK) {
            if (err.class != TR_CONFIG || err.code == TR_E_TRANSFORM_SYNTAX ||
                err.code == TR_E_INTERNAL)
                fail_msg("%s: %s", text.bytes, err.message);
            continue;
        }
        compiled++;
        tr_expression_column(expression, &column);
        for (size_t r = 0; r < COUNT(rows); r++) {
            const struct tr_event event = {.op = TR_OP_CREATE, .table = table};
            if (tr_expression_eval(expression, &event, cells_made(batch, table, rows[r]),
                                   1758276000123456, &cell, &err) != TR_OK) {
                failures++;
                if (err.class != TR_DATA || err.code != TR_E_TRANSFORM_VALUE)
                    fail_msg("%s: %s", text.bytes, err.message);
            } else if (cell.state != TR_CELL_NULL) {
                values++;
                if (!has_form(&column, &cell))
                    fail_msg("%s: a %s is %.*s", text.bytes, tr_type_name(column.type),
                             (int)cell.len, cell.ptr);
            }
        }
        tr_batch_reset(batch);
        tr_expression_free(expression);
    }
    printf("%u expressions compiled, %u values, %u failures of rows\n", compiled, values, failures);
    assert_true(compiled > EXPRESSIONS / 4);
    assert_true(values > compiled);
    tr_batch_free(batch);
    tr_table_unref(table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_random)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
