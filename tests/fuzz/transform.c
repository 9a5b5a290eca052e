/* Fuzz target: expressions, projections, key lists, patterns of times and TZif files. The first
 * byte says which; an expression that compiles is also run on a row, and its value must have its
 * type's form. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "event/batch.h"
#include "transform/plan.h"
#include "transform/transform.h"

#define COLUMNS 8
#define NOW_US INT64_C(1758276000123456)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct tr_table *table;

static void make_table(void)
{
    static const enum tr_type types[COLUMNS] = {TR_T_INT32,   TR_T_STRING,    TR_T_DECIMAL,
                                                TR_T_FLOAT64, TR_T_TIMESTAMP, TR_T_BOOLEAN,
                                                TR_T_BYTES,   TR_T_DATE};
    static const char *const names[COLUMNS] = {"i", "s", "d", "f", "t", "b", "y", "day"};
    struct tr_column columns[COLUMNS];
    struct tr_error err;
    for (int i = 0; i < COLUMNS; i++)
        columns[i] = (struct tr_column){
            .name = names[i], .type = types[i], .key_index = i == 0, .nullable = i > 0};
    const struct tr_table spec = {.id = {"", "", "t"}, .column_count = COLUMNS, .columns = columns};
    if (tr_table_new(&spec, &table, &err) != TR_OK)
        abort();
}

static void run_expression(const char *text)
{
    static const char *const values[COLUMNS] = {
        "7", "Ann x", "1.50", "2.5", "2024-02-29 01:02:03", "t", "\\x00ff", "2024-02-29"};
    struct tr_expression *expression;
    struct tr_error err;
    struct tr_cell cells[COLUMNS], cell;
    if (tr_expression_new(text, table, NULL, &expression, &err) != TR_OK)
        return;
    const struct tr_event event = {.op = TR_OP_CREATE, .table = table};
    for (int nulls = 0; nulls < 3; nulls++) {
        for (int i = 0; i < COLUMNS; i++)
            cells[i] = (struct tr_cell){values[i], (uint32_t)strlen(values[i]),
                                        nulls == 0   ? TR_CELL_TEXT
                                        : nulls == 1 ? TR_CELL_NULL
                                                     : TR_CELL_UNCHANGED};
        if (tr_expression_eval(expression, &event, cells, NOW_US, &cell, &err) == TR_FAIL &&
            err.class != TR_DATA)
            abort();
    }
    tr_expression_free(expression);
}

static void run_others(uint8_t kind, const char *text, size_t len)
{
    struct tr_arena arena;
    struct tr_error err;
    const struct tx_origin origin = {
        .text = text, .path = "f", .line = 1, .column = 1, .what = "projection"};
    struct tx_items items;
    const char **names, *why;
    uint32_t count;
    char buf[256];
    size_t written;
    int64_t us;
    tr_arena_init(&arena, 4096, 0);
    switch (kind) {
    case 1:
        if (tx_parse_projection(&origin, &arena, &items, &err) != TR_OK && err.message[0] == '\0')
            abort();
        break;
    case 2:
        if (tx_parse_names(&origin, &arena, &names, &count, &err) != TR_OK &&
            err.message[0] == '\0')
            abort();
        break;
    case 3:
        if (tx_pattern_check(text, len, &why) &&
            tx_pattern_write(text, len, NOW_US, buf, sizeof buf, &written))
            (void)tx_pattern_read(text, len, buf, written, &us);
        break;
    default: {
        struct tx_zone *zone = tx_zone_parse(text, len);
        if (zone != NULL) {
            (void)tx_zone_from_wall(zone, tx_zone_to_wall(zone, NOW_US));
            (void)tx_zone_from_wall(zone, -NOW_US * 3);
        }
        tx_zone_free(zone);
    }
    }
    tr_arena_free(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (table == NULL)
        make_table();
    if (size == 0 || size > 4096)
        return 0;
    char *text = malloc(size); /* the first byte goes, a NUL comes */
    if (text == NULL)
        return 0;
    memcpy(text, data + 1, size - 1);
    text[size - 1] = '\0';
    if (data[0] % 5 == 0)
        run_expression(text);
    else
        run_others(data[0] % 5, text, size - 1);
    free(text);
    return 0;
}
