/* See the header. */
#include "decode/rows_columns.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "decode/rows.h"

#define WORD_BYTES_MAX 64
#define LENGTH_MAX INT64_C(2147483647)
#define DECIMAL_PRECISION_MAX                                                                      \
    1000 /* PostgreSQL's; DECIMAL without digits is unbounded, so that it loses none */
#define TIME_PRECISION_MAX 9

enum arguments { NONE, LENGTH, TIME_DIGITS, DECIMAL_DIGITS };

static const struct type_word {
    const char *word;
    enum tr_type type;
    enum arguments arguments;
} type_words[] = {
    {"BOOLEAN", TR_T_BOOLEAN, NONE},
    {"BOOL", TR_T_BOOLEAN, NONE},
    {"TINYINT", TR_T_INT8, NONE},
    {"SMALLINT", TR_T_INT16, NONE},
    {"INT2", TR_T_INT16, NONE},
    {"INT", TR_T_INT32, NONE},
    {"INTEGER", TR_T_INT32, NONE},
    {"INT4", TR_T_INT32, NONE},
    {"BIGINT", TR_T_INT64, NONE},
    {"INT8", TR_T_INT64, NONE},
    {"FLOAT", TR_T_FLOAT32, NONE},
    {"REAL", TR_T_FLOAT32, NONE},
    {"DOUBLE", TR_T_FLOAT64, NONE},
    {"DECIMAL", TR_T_DECIMAL, DECIMAL_DIGITS},
    {"NUMERIC", TR_T_DECIMAL, DECIMAL_DIGITS},
    {"DEC", TR_T_DECIMAL, DECIMAL_DIGITS},
    {"STRING", TR_T_STRING, NONE},
    {"TEXT", TR_T_STRING, NONE},
    {"VARCHAR", TR_T_STRING, LENGTH},
    {"CHAR", TR_T_STRING, LENGTH},
    {"BYTES", TR_T_BYTES, NONE},
    {"BYTEA", TR_T_BYTES, NONE},
    {"VARBINARY", TR_T_BYTES, LENGTH},
    {"BINARY", TR_T_BYTES, LENGTH},
    {"BLOB", TR_T_BYTES, NONE},
    {"DATE", TR_T_DATE, NONE},
    {"TIME", TR_T_TIME, TIME_DIGITS},
    {"TIMESTAMP", TR_T_TIMESTAMP, TIME_DIGITS},
    {"DATETIME", TR_T_TIMESTAMP, TIME_DIGITS},
    {"TIMESTAMP_LTZ", TR_T_TIMESTAMPTZ, TIME_DIGITS},
    {"TIMESTAMPTZ", TR_T_TIMESTAMPTZ, TIME_DIGITS},
    {"JSON", TR_T_JSON, NONE},
    {"JSONB", TR_T_JSON, NONE},
    {"UUID", TR_T_UUID, NONE},
};

const char *tr_columns_type_name(enum tr_type type)
{
    switch (type) {
    case TR_T_FLOAT32:
        return "FLOAT";
    case TR_T_FLOAT64:
        return "DOUBLE";
    case TR_T_UINT64:
        return "DECIMAL(20, 0)";
    case TR_T_DECIMAL:
        return "DECIMAL";
    case TR_T_TIMESTAMPTZ:
        return "TIMESTAMP_LTZ";
    default:
        for (size_t i = 0; i < sizeof type_words / sizeof type_words[0]; i++) {
            if (type_words[i].type == type)
                return type_words[i].word;
        }
        return "STRING";
    }
}

struct parser {
    const char *at;
    struct tr_arena *arena;
};

static void skip_space(struct parser *parser)
{
    while (*parser->at == ' ' || *parser->at == '\t' || *parser->at == '\n')
        parser->at++;
}

static bool is_word_byte(char byte)
{
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
           (byte >= '0' && byte <= '9') || byte == '_';
}

/* A keyword, whatever its case. */
static bool take_word(struct parser *parser, const char *word)
{
    size_t len = strlen(word);
    skip_space(parser);
    if (strncasecmp(parser->at, word, len) != 0 || is_word_byte(parser->at[len]))
        return false;
    parser->at += len;
    return true;
}

static bool take_byte(struct parser *parser, char byte)
{
    skip_space(parser);
    bool there = *parser->at == byte;
    parser->at += there;
    return there;
}

/* A name: bare, or in ` or " where a doubled quote stands for itself. NULL: none, or no memory. */
static const char *take_name(struct parser *parser)
{
    skip_space(parser);
    char quote = *parser->at;
    const char *begin = parser->at;
    if (quote != '"' && quote != '`') {
        while (*parser->at != '\0' && strchr(" \t\n(),\"`", *parser->at) == NULL)
            parser->at++;
        return parser->at == begin
                   ? NULL
                   : tr_arena_strndup(parser->arena, begin, (size_t)(parser->at - begin));
    }
    char *name = tr_arena_strdup(parser->arena, begin + 1);
    size_t len = 0;
    for (const char *at = begin + 1; name != NULL && *at != '\0'; at++) {
        if (*at == quote && at[1] != quote) {
            parser->at = at + 1;
            name[len] = '\0';
            return len == 0 ? NULL : name;
        }
        at += *at == quote;
        name[len++] = *at;
    }
    return NULL;
}

static bool take_number(struct parser *parser, int64_t max, int32_t *value)
{
    int64_t sum = 0;
    skip_space(parser);
    const char *begin = parser->at;
    while (*parser->at >= '0' && *parser->at <= '9') {
        sum = sum * 10 + (*parser->at++ - '0');
        if (sum > max)
            return false;
    }
    *value = (int32_t)sum;
    return parser->at > begin;
}

static bool take_arguments(struct parser *parser, enum arguments arguments,
                           struct tr_column *column)
{
    bool given = arguments != NONE && take_byte(parser, '(');
    switch (arguments) {
    case LENGTH:
        if (given && !take_number(parser, LENGTH_MAX, &column->length))
            return false;
        break;
    case TIME_DIGITS:
        if (given && !take_number(parser, TIME_PRECISION_MAX, &column->precision))
            return false;
        if (column->precision > 6)
            column->precision = 6; /* what the canonical text holds */
        break;
    case DECIMAL_DIGITS:
        if (given &&
            (!take_number(parser, DECIMAL_PRECISION_MAX, &column->precision) ||
             (take_byte(parser, ',') && !take_number(parser, column->precision, &column->scale)) ||
             column->precision == 0))
            return false;
        break;
    default:
        return true;
    }
    return !given || take_byte(parser, ')');
}

/* TIMESTAMP … WITH [LOCAL] TIME ZONE, DOUBLE PRECISION, VARCHAR's long name. */
static bool take_type(struct parser *parser, struct tr_column *column)
{
    if (take_word(parser, "CHARACTER")) {
        column->type = TR_T_STRING;
        (void)take_word(parser, "VARYING");
        return take_arguments(parser, LENGTH, column);
    }
    size_t i = 0, count = sizeof type_words / sizeof type_words[0];
    while (i < count && !take_word(parser, type_words[i].word))
        i++;
    if (i == count)
        return false;
    column->type = type_words[i].type;
    if (column->type == TR_T_TIME || column->type == TR_T_TIMESTAMP ||
        column->type == TR_T_TIMESTAMPTZ)
        column->precision = -1;
    if (column->type == TR_T_FLOAT64)
        (void)take_word(parser, "PRECISION");
    if (!take_arguments(parser, type_words[i].arguments, column))
        return false;
    if (strncasecmp(type_words[i].word, "TIME", 4) != 0)
        return true;
    if (take_word(parser, "WITHOUT"))
        return take_word(parser, "TIME") && take_word(parser, "ZONE");
    if (take_word(parser, "WITH")) {
        (void)take_word(parser, "LOCAL");
        if (column->type != TR_T_TIMESTAMP)
            return false;
        column->type = TR_T_TIMESTAMPTZ;
        return take_word(parser, "TIME") && take_word(parser, "ZONE");
    }
    return true;
}

static bool take_column(struct parser *parser, struct tr_column *column, uint16_t *key_count)
{
    *column = (struct tr_column){.elem_type = TR_T_OTHER, .source_typmod = -1, .nullable = true};
    column->name = take_name(parser);
    if (column->name == NULL || strlen(column->name) > TR_ROWS_NAME_BYTES_MAX)
        return false;
    skip_space(parser);
    const char *begin = parser->at;
    if (!take_type(parser, column))
        return false;
    column->source_type = tr_arena_strndup(parser->arena, begin, (size_t)(parser->at - begin));
    column->source_type_base = tr_columns_type_name(column->type);
    for (;;) {
        if (take_word(parser, "NOT")) {
            if (!take_word(parser, "NULL"))
                return false;
            column->nullable = false;
        } else if (take_word(parser, "PRIMARY")) {
            if (!take_word(parser, "KEY"))
                return false;
            column->nullable = false;
            column->key_index = ++*key_count;
        } else if (!take_word(parser, "NULL")) {
            break;
        }
    }
    skip_space(parser);
    return *parser->at == '\0' && column->source_type != NULL;
}

/* The item that begins at *index, with the next ones for as long as a parenthesis is open. */
static const char *join_items(const struct tr_string_list *list, size_t *index,
                              struct tr_arena *arena)
{
    const char *item = list->items[(*index)++];
    for (;;) {
        int depth = 0;
        for (const char *at = item; *at != '\0'; at++)
            depth += (*at == '(') - (*at == ')');
        if (depth <= 0 || *index == list->count)
            return item;
        const char *next = list->items[(*index)++];
        size_t len = strlen(item), next_len = strlen(next);
        char *joined = tr_arena_alloc(arena, len + next_len + 2, 1);
        if (joined == NULL)
            return NULL;
        memcpy(joined, item, len);
        joined[len] = ',';
        memcpy(joined + len + 1, next, next_len + 1);
        item = joined;
    }
}

static bool is_taken(const struct tr_column *columns, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(columns[i].name, name) == 0)
            return true;
    }
    return false;
}

enum tr_status tr_columns_parse(const struct tr_string_list *list, struct tr_arena *arena,
                                struct tr_column **out, size_t *count, struct tr_error *err)
{
    struct tr_column *columns =
        tr_arena_alloc(arena, (list->count + 1) * sizeof *columns, _Alignof(struct tr_column));
    uint16_t key_count = 0;
    size_t made = 0;
    if (columns == NULL)
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for columns");
    if (list->count > TR_ROWS_COLUMNS_MAX)
        return tr_fail(err, TR_E_DECODE_OPTION, "columns: more than %d", TR_ROWS_COLUMNS_MAX);
    for (size_t i = 0; i < list->count;) {
        const char *item = join_items(list, &i, arena);
        if (item == NULL)
            return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for columns");
        struct parser parser = {item, arena};
        if (!take_column(&parser, &columns[made], &key_count)) {
            (void)tr_fail(err, TR_E_DECODE_OPTION, "columns: \"%s\" is not a column", item);
            return tr_hint(err,
                           "Write name TYPE [NOT NULL], with one of INT, BIGINT, SMALLINT, "
                           "TINYINT, BOOLEAN, FLOAT, DOUBLE, DECIMAL(p,s), STRING, VARCHAR(n), "
                           "BYTES, DATE, TIME, TIMESTAMP, TIMESTAMP_LTZ, JSON, UUID.");
        }
        if (is_taken(columns, made, columns[made].name))
            return tr_fail(err, TR_E_DECODE_OPTION, "columns: \"%s\" is there twice",
                           columns[made].name);
        made++;
    }
    *out = columns;
    *count = made;
    return TR_OK;
}
