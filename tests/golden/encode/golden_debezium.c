/* Rows of every type, encoded and compared with what Debezium 3.5 wrote for them: same fields, same
 * order, same values, in six option sets. debezium.txt is made by make_golden.py from a real run.
 *
 * The differences are listed, each with its reason; everything else must be equal. Columns of types
 * that Debezium leaves out (geometric types, multiranges, tsquery …) are written by us and not
 * compared. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/log.h"
#include "base/outbuf.h"
#include "encode/encode.h"
#include "encode/format_options.h"

#define COLUMNS_MAX 64
#define LINE_MAX_BYTES (64 << 10)

struct difference {
    const char *table, *column, *mode; /* NULL: any */
    long id;
    const char *why;
};
static const struct difference differences[] = {
    {"t_text", "nm", NULL, 0, "Debezium loses name columns that come through the log"},
    {"t_arr", "abit", NULL, 0, "Debezium loses arrays of bit"},
    {"t_arr", "ai", NULL, 1003, "Debezium loses arrays of arrays"},
    {"t_arr", "at", NULL, 1003, "Debezium writes Java object names for arrays of arrays"},
    {"t_x", "nneg", NULL, 1, "Debezium reads a negative scale as 2046"},
    {"t_x", "tza", NULL, 24, "Debezium writes the year 292269055 for -infinity in an array"},
    {"t_x", "na", NULL, 24, "Debezium loses an array that holds NaN"},
    {"t_time", NULL, "nanos", 1003,
     "nanoseconds before 1677: Debezium's wrap, ours stop at the end"},
    {"t_time", NULL, "nanos", 1004, "infinity in nanoseconds: the same"},
    {"t_time", NULL, "nanos", 1005, "infinity in nanoseconds: the same"},
    {"t_time", NULL, "nanos", 1006, "nanoseconds after 2262: the same"},
    {"t_time", NULL, "nanos", 1007, "the same"},
    {"t_time", NULL, "nanos", 1008, "the same"},
    {"t_time", NULL, "nanos", 1009, "the same"},
};

struct mode {
    const char *name;
    int decimal, time, binary, interval, hstore;
};
static const struct mode modes[] = {
    {"adaptive", TR_DECIMAL_PRECISE, TR_TIME_ADAPTIVE, TR_BINARY_BYTES, TR_INTERVAL_NUMERIC,
     TR_HSTORE_JSON},
    {"string", TR_DECIMAL_STRING, TR_TIME_ISOSTRING, TR_BINARY_HEX, TR_INTERVAL_STRING,
     TR_HSTORE_MAP},
    {"double", TR_DECIMAL_DOUBLE, TR_TIME_CONNECT, TR_BINARY_BASE64, TR_INTERVAL_NUMERIC,
     TR_HSTORE_JSON},
    {"micros", TR_DECIMAL_PRECISE, TR_TIME_MICROSECONDS, TR_BINARY_BASE64_URL_SAFE,
     TR_INTERVAL_NUMERIC, TR_HSTORE_JSON},
    {"nanos", TR_DECIMAL_STRING, TR_TIME_NANOSECONDS, TR_BINARY_BYTES, TR_INTERVAL_NUMERIC,
     TR_HSTORE_JSON},
    {"timemicros", TR_DECIMAL_PRECISE, TR_TIME_ADAPTIVE_TIME_MICROSECONDS, TR_BINARY_BYTES,
     TR_INTERVAL_NUMERIC, TR_HSTORE_JSON},
};

struct golden {
    char table_name[64];
    struct tr_column columns[COLUMNS_MAX];
    char names[COLUMNS_MAX][3][64];
    uint16_t column_count;
    struct tr_table *table;
    struct tr_cell cells[COLUMNS_MAX];
    char *row; /* unescaped cells point into it */
    long id;
    int compared;
};

static enum tr_type type_named(const char *name)
{
    for (int i = 0; i < TR_T_COUNT; i++) {
        if (strcmp(tr_type_name((enum tr_type)i), name) == 0)
            return (enum tr_type)i;
    }
    fail_msg("unknown type %s", name);
    return TR_T_OTHER;
}

static void read_column(struct golden *golden, const char *line)
{
    assert_true(golden->column_count < COLUMNS_MAX);
    struct tr_column *column = &golden->columns[golden->column_count];
    char(*names)[64] = golden->names[golden->column_count];
    char type[32], elem[32];
    int precision, scale, length, nullable, key;
    assert_int_equal(sscanf(line, "C %63s %31s %31s %d %d %d %d %d %63s %63s", names[0], type, elem,
                            &precision, &scale, &length, &nullable, &key, names[1], names[2]),
                     10);
    *column = (struct tr_column){
        .name = names[0],
        .type = type_named(type),
        .elem_type = type_named(elem),
        .source_type = names[2],
        .source_type_base = names[2],
        .precision = precision,
        .scale = scale,
        .length = length,
        .nullable = nullable != 0,
        .key_index = (uint16_t)key,
    };
    golden->column_count++;
}

static void read_row(struct golden *golden, char *line)
{
    struct tr_error err;
    if (golden->table == NULL) {
        struct tr_table spec = {.id = {"ref", "public", golden->table_name},
                                .column_count = golden->column_count,
                                .columns = golden->columns,
                                .key_is_primary = true};
        assert_int_equal(tr_table_new(&spec, &golden->table, &err), TR_OK);
    }
    free(golden->row);
    golden->row = strdup(line + 2);
    golden->id = strtol(golden->row, NULL, 10);
    char *from = golden->row, *to = golden->row;
    for (uint16_t i = 0; i < golden->column_count; i++) {
        struct tr_cell *cell = &golden->cells[i];
        *cell = (struct tr_cell){.ptr = to, .state = TR_CELL_TEXT};
        if (strncmp(from, "\\N", 2) == 0 && (from[2] == '\t' || from[2] == '\0')) {
            cell->state = TR_CELL_NULL;
            from += 2;
        }
        while (*from != '\t' && *from != '\0') {
            if (*from == '\\') {
                static const char letters[] = "bfnrtv", meanings[] = "\b\f\n\r\t\v";
                const char *letter = strchr(letters, *++from);
                *to++ = letter != NULL ? meanings[letter - letters] : *from;
                from++;
            } else {
                *to++ = *from++;
            }
        }
        cell->len = (uint32_t)(to - cell->ptr);
        if (*from == '\t')
            from++;
    }
}

static const struct difference *known_difference(const struct golden *golden, const char *column,
                                                 const char *mode)
{
    for (size_t i = 0; i < sizeof differences / sizeof differences[0]; i++) {
        const struct difference *known = &differences[i];
        if (strcmp(known->table, golden->table_name) == 0 &&
            (known->column == NULL || strcmp(known->column, column) == 0) &&
            (known->mode == NULL || strcmp(known->mode, mode) == 0) &&
            (known->id == 0 || known->id == golden->id))
            return known;
    }
    return NULL;
}

static void compare(struct golden *golden, const char *mode, json_t *ours, json_t *theirs)
{
    void *at = json_object_iter(ours);
    const char *name;
    json_t *value;
    json_object_foreach(theirs, name, value)
    {
        /* same order: what lies between is a type that Debezium leaves out */
        while (at != NULL && strcmp(json_object_iter_key(at), name) != 0) {
            if (json_object_get(theirs, json_object_iter_key(at)) != NULL)
                fail_msg("%s %ld %s: %s comes before %s", golden->table_name, golden->id, mode,
                         json_object_iter_key(at), name);
            at = json_object_iter_next(ours, at);
        }
        if (at == NULL)
            fail_msg("%s %ld %s: %s is missing or out of order", golden->table_name, golden->id,
                     mode, name);
        json_t *mine = json_object_iter_value(at);
        if (!json_equal(mine, value) && known_difference(golden, name, mode) == NULL) {
            char *a = json_dumps(mine, JSON_ENCODE_ANY), *b = json_dumps(value, JSON_ENCODE_ANY);
            print_error("%s %ld %s.%s: ours %s, Debezium %s\n", golden->table_name, golden->id,
                        mode, name, a, b);
            free(a);
            free(b);
            fail();
        }
        golden->compared++;
        at = json_object_iter_next(ours, at);
    }
}

static void check_row(struct golden *golden, const char *mode_name, const char *json)
{
    const struct mode *mode = modes;
    while (strcmp(mode->name, mode_name) != 0)
        mode++;
    struct tr_format_options options;
    tr_format_options_default(&options);
    options.decimal_mode = mode->decimal;
    options.time_mode = mode->time;
    options.binary_mode = mode->binary;
    options.interval_mode = mode->interval;
    options.hstore_mode = mode->hstore;
    struct tr_format_context context = {.prefix = "p", .version = "1", .connector = "postgresql"};
    struct tr_encoder *encoder;
    struct tr_error err;
    struct tr_outbuf out = {0};
    struct tr_event event = {.op = TR_OP_CREATE, .table = golden->table, .after = golden->cells};
    assert_int_equal(tr_format_debezium_json.open(&options, &context, &encoder, &err), TR_OK);
    if (tr_format_debezium_json.encode_value(encoder, &event, 0, &out, &err) != TR_OK)
        fail_msg("%s %ld: %s", golden->table_name, golden->id, err.message);
    json_error_t json_err;
    json_t *envelope = json_loadb(out.data, out.len, 0, &json_err);
    if (envelope == NULL)
        fail_msg("not JSON: %s: %.*s", json_err.text, (int)out.len, out.data);
    json_t *theirs = json_loads(json, 0, &json_err);
    assert_non_null(theirs);
    compare(golden, mode_name, json_object_get(envelope, "after"), theirs);
    json_decref(envelope);
    json_decref(theirs);
    tr_outbuf_free(&out);
    tr_format_debezium_json.close(encoder);
}

static void test_golden(void **state)
{
    (void)state;
    FILE *file = fopen(GOLDEN_FILE, "r");
    assert_non_null(file);
    char *line = malloc(LINE_MAX_BYTES);
    struct golden golden = {0};
    int rows = 0;
    while (fgets(line, LINE_MAX_BYTES, file) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        if (line[0] == 'T') {
            tr_table_unref(golden.table);
            golden.table = NULL;
            golden.column_count = 0;
            (void)snprintf(golden.table_name, sizeof golden.table_name, "%s", line + 2);
        } else if (line[0] == 'C') {
            read_column(&golden, line);
        } else if (line[0] == 'R') {
            read_row(&golden, line);
            rows++;
        } else if (line[0] == 'X') {
            char *json = strchr(line + 2, ' ');
            *json++ = '\0';
            check_row(&golden, line + 2, json);
        }
    }
    assert_int_equal(rows, 51);
    assert_true(golden.compared > 3000);
    print_message("%d rows, %d values equal to Debezium's\n", rows, golden.compared);
    (void)fclose(file);
    free(golden.row);
    free(line);
    tr_table_unref(golden.table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_golden)};
    tr_log_set_level(TR_LOG_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
