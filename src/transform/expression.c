/* Result columns, and one expression by itself. */
#include <stdio.h>
#include <stdlib.h>

#include "transform/program.h"
#include "transform/transform.h"

#define EXPRESSION_BLOCK_BYTES (4u << 10)
#define EXPRESSION_KEEP_BYTES (64u << 10)

static const char *with_number(struct tr_arena *arena, const char *name, int number, int second)
{
    char text[64];
    if (second < 0)
        (void)snprintf(text, sizeof text, "%s(%d)", name, number);
    else
        (void)snprintf(text, sizeof text, "%s(%d,%d)", name, number, second);
    return tr_arena_strdup(arena, text);
}

/* PostgreSQL's names: what the sinks know of types that no source has named. */
static const char *base_name(const struct tx_type *type)
{
    switch (type->type) {
    case TR_T_BOOLEAN:
        return "bool";
    case TR_T_INT8:
    case TR_T_INT16:
        return "int2";
    case TR_T_INT32:
        return "int4";
    case TR_T_INT64:
        return "int8";
    case TR_T_FLOAT32:
        return "float4";
    case TR_T_FLOAT64:
        return "float8";
    case TR_T_DECIMAL:
        return "numeric";
    case TR_T_BYTES:
        return "bytea";
    case TR_T_DATE:
        return "date";
    case TR_T_TIME:
        return "time";
    case TR_T_TIMESTAMP:
        return "timestamp";
    case TR_T_TIMESTAMPTZ:
        return "timestamptz";
    case TR_T_UUID:
        return "uuid";
    case TR_T_JSON:
        return "json";
    default:
        return type->length > 0 ? "varchar" : "text";
    }
}

struct tr_column tx_result_column(const struct tx_type *type, const char *name,
                                  struct tr_arena *arena)
{
    const char *base = base_name(type), *full = base;
    struct tr_column column = {.name = name,
                               .type = type->type,
                               .elem_type = TR_T_OTHER,
                               .source_type_base = base,
                               .source_typmod = -1,
                               .precision = -1,
                               .nullable = true};
    switch (type->kind) {
    case TX_DEC:
        column.precision = type->precision;
        column.scale = type->scale;
        if (type->precision > 0)
            full = with_number(arena, base, type->precision, type->scale);
        break;
    case TX_TIME:
    case TX_STAMP:
    case TX_INSTANT:
        column.precision = type->precision;
        if (type->precision < 6)
            full = with_number(arena, base, type->precision, -1);
        break;
    case TX_STR:
        column.precision = 0;
        column.length = type->type == TR_T_STRING ? type->length : 0;
        if (column.length > 0)
            full = with_number(arena, base, column.length, -1);
        break;
    default:
        column.precision = 0;
    }
    column.source_type = full;
    if (full == NULL)
        column.name = NULL;
    return column;
}

/* ---- one expression -----------------------------------------------------------------------------
 */

struct tr_expression {
    struct tx_env *env;
    struct tx_program *program;
    struct tx_origin origin;
    char *text;
    int column; /* a plain column, -1 else */
    struct tr_column result;
    struct tr_arena kept;  /* of the result's column */
    struct tr_arena arena; /* of the last value */
    struct tr_cell cell;
};

static enum tr_status build(struct tr_expression *expression, const struct tr_table *table,
                            struct tr_error *err)
{
    struct tr_arena parsed;
    struct tx_node *node;
    tr_arena_init(&parsed, EXPRESSION_BLOCK_BYTES, 0);
    enum tr_status status = tx_parse_expression(&expression->origin, &parsed, &node, err);
    if (status != TR_OK)
        goto cleanup;
    bool own = node->kind == TX_N_COLUMN &&
               (node->qualifier == NULL || tx_same_word(node->qualifier, table->id.table));
    expression->column = own ? tx_find_column(table, node->name) : -1;
    const struct tx_source source = {
        .table = table, .arena = &parsed, .outputs = &node, .output_count = 1};
    status = tx_program_new(expression->env, &source, &expression->program, err);
    if (status != TR_OK)
        goto cleanup;
    if (expression->column >= 0)
        expression->result = table->columns[expression->column];
    else
        expression->result =
            tx_result_column(&expression->program->outputs[0].type, "", &expression->kept);
    if (expression->result.name == NULL)
        status = tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for an expression");
cleanup:
    tr_arena_free(&parsed);
    return status;
}

enum tr_status tr_expression_new(const char *text, const struct tr_table *table,
                                 const char *time_zone, struct tr_expression **out,
                                 struct tr_error *err)
{
    struct tr_expression *expression = calloc(1, sizeof *expression);
    if (expression != NULL)
        expression->text = strdup(text);
    if (expression == NULL || expression->text == NULL) {
        free(expression);
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for an expression");
    }
    expression->origin = (struct tx_origin){.text = expression->text, .what = "expression"};
    tr_arena_init(&expression->arena, EXPRESSION_BLOCK_BYTES, EXPRESSION_KEEP_BYTES);
    tr_arena_init(&expression->kept, EXPRESSION_BLOCK_BYTES, EXPRESSION_KEEP_BYTES);
    if (tx_env_new(time_zone, &expression->env, err) != TR_OK ||
        build(expression, table, err) != TR_OK) {
        tr_expression_free(expression);
        return TR_FAIL;
    }
    *out = expression;
    return TR_OK;
}

void tr_expression_column(const struct tr_expression *expression, struct tr_column *column)
{
    *column = expression->result;
}

enum tr_status tr_expression_eval(struct tr_expression *expression, const struct tr_event *event,
                                  const struct tr_cell *cells, int64_t now_us, struct tr_cell *cell,
                                  struct tr_error *err)
{
    enum tx_pass pass;
    if (expression->column >= 0) {
        *cell = cells[expression->column];
        return TR_OK;
    }
    tr_arena_reset(&expression->arena);
    const struct tx_row row = {.event = event, .op = event->op, .cells = cells, .now_us = now_us};
    return tx_program_run(expression->program, &row, false, &expression->arena, cell, &pass, err);
}

void tr_expression_free(struct tr_expression *expression)
{
    if (expression == NULL)
        return;
    tx_program_free(expression->program);
    tx_env_free(expression->env);
    tr_arena_free(&expression->arena);
    tr_arena_free(&expression->kept);
    free(expression->text);
    free(expression);
}
