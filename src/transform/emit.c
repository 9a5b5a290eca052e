/* Typed trees → SQL for SQLite. Every node gives SQL whose value is held as its kind says. An
 * operand that is needed twice is evaluated once and kept at a site (k_stash, k_load). What stands
 * on the right of AND and OR is not evaluated when the left decides, if it could fail. */
#include <stdio.h>
#include <stdlib.h>

#include "transform/program.h"

struct emitter {
    struct tx_program *program;
    struct tr_outbuf sql;
    struct tr_error *err;
    bool failed; /* *err is filled */
};

static void emit(struct emitter *emitter, const struct tx_node *node);

static uint32_t new_site(struct emitter *emitter, const struct tx_node *node)
{
    struct tx_program *program = emitter->program;
    if (program->site_count == program->site_capacity) {
        uint32_t capacity = program->site_capacity == 0 ? 16 : program->site_capacity * 2;
        struct tx_site *sites = realloc(program->sites, capacity * sizeof *sites);
        if (sites == NULL) {
            if (!emitter->failed)
                (void)tr_fail(emitter->err, TR_E_OUT_OF_MEMORY, "no memory for an expression");
            emitter->failed = true;
            return 0;
        }
        program->sites = sites;
        program->site_capacity = capacity;
    }
    struct tx_site *site = &program->sites[program->site_count];
    *site = (struct tx_site){.origin = node->origin,
                             .at = node->at,
                             .unit = node->unit,
                             .to = node->type,
                             .from = node->type.kind};
    return program->site_count++;
}

static struct tx_site *site_of(struct emitter *emitter, uint32_t index)
{
    return emitter->failed ? NULL : &emitter->program->sites[index];
}

static uint32_t open_kernel(struct emitter *emitter, const struct tx_node *node, const char *kernel)
{
    uint32_t site = new_site(emitter, node);
    tr_outbuf_printf(&emitter->sql, "%s(%u", kernel, site);
    return site;
}

static void set_from(struct emitter *emitter, uint32_t index, enum tx_kind from)
{
    struct tx_site *site = site_of(emitter, index);
    if (site != NULL)
        site->from = from;
}

static void lit(struct emitter *emitter, const char *text) { tr_outbuf_str(&emitter->sql, text); }

/* ---- constants ----------------------------------------------------------------------------------
 */

static void emit_text(struct emitter *emitter, const char *text, size_t len)
{
    tr_outbuf_byte(&emitter->sql, '\'');
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '\'')
            tr_outbuf_byte(&emitter->sql, '\'');
        tr_outbuf_byte(&emitter->sql, text[i]);
    }
    tr_outbuf_byte(&emitter->sql, '\'');
}

static void emit_constant(struct emitter *emitter, const struct tx_val *value)
{
    switch (value->kind) {
    case TX_VAL_NULL:
        lit(emitter, "NULL");
        break;
    case TX_VAL_INT:
        if (value->i == INT64_MIN)
            lit(emitter, "(-9223372036854775807-1)");
        else
            tr_outbuf_printf(&emitter->sql, "(%lld)", (long long)value->i);
        break;
    case TX_VAL_DBL:
        if (value->d != value->d)
            lit(emitter, "'NaN'");
        else if (value->d > 1.7976931348623157e308 || value->d < -1.7976931348623157e308)
            lit(emitter, value->d > 0 ? "9e999" : "-9e999");
        else
            tr_outbuf_printf(&emitter->sql, "(%.17e)", value->d);
        break;
    case TX_VAL_TEXT:
        emit_text(emitter, value->p, value->len);
        break;
    default:
        lit(emitter, "x'");
        for (uint32_t i = 0; i < value->len; i++)
            tr_outbuf_printf(&emitter->sql, "%02x", (unsigned char)value->p[i]);
        lit(emitter, "'");
    }
}

/* ---- conversions --------------------------------------------------------------------------------
 */

static void emit_cast(struct emitter *emitter, const struct tx_node *node, struct tx_type to,
                      bool try_, const struct tx_node *place)
{
    uint32_t index = open_kernel(emitter, place, "k_cast");
    struct tx_site *site = site_of(emitter, index);
    if (site != NULL) {
        site->from = node->type.kind;
        site->to = to;
        site->try_ = try_;
        site->single = node->type.type == TR_T_FLOAT32;
    }
    lit(emitter, ",");
    emit(emitter, node);
    lit(emitter, ")");
}

static void emit_as(struct emitter *emitter, const struct tx_node *node, enum tx_kind kind)
{
    static const enum tr_type plain[] = {
        [TX_NULL] = TR_T_STRING,     [TX_BOOL] = TR_T_BOOLEAN,       [TX_INT] = TR_T_INT64,
        [TX_DEC] = TR_T_DECIMAL,     [TX_DBL] = TR_T_FLOAT64,        [TX_STR] = TR_T_STRING,
        [TX_BYTES] = TR_T_BYTES,     [TX_DATE] = TR_T_DATE,          [TX_TIME] = TR_T_TIME,
        [TX_STAMP] = TR_T_TIMESTAMP, [TX_INSTANT] = TR_T_TIMESTAMPTZ};
    if (node->type.kind == kind || node->type.kind == TX_NULL || kind == TX_NULL)
        emit(emitter, node);
    else
        emit_cast(emitter, node, tx_type_plain(plain[kind]), false, node);
}

/* A branch of a common type. One that had to give up places rounds its branches too. */
static void emit_branch(struct emitter *emitter, const struct tx_node *node,
                        const struct tx_type *type)
{
    bool more = node->type.kind == TX_DEC && type->kind == TX_DEC && type->precision > 0 &&
                node->type.scale > type->scale;
    if (more)
        emit_cast(emitter, node, *type, false, node);
    else
        emit_as(emitter, node, type->kind);
}

/* As a wall clock: what EXTRACT and DATE_FORMAT look at. */
static void emit_wall(struct emitter *emitter, const struct tx_node *node)
{
    emit_as(emitter, node, node->type.kind == TX_TIME ? TX_TIME : TX_STAMP);
}

/* ---- comparisons --------------------------------------------------------------------------------
 */

/* SQLite compares these as we do. */
static bool is_native(enum tx_kind kind) { return kind != TX_DEC && kind != TX_DBL; }

static enum tx_kind common_kind(const struct tx_node *const *nodes, uint32_t count)
{
    enum tx_kind common = TX_NULL;
    for (uint32_t i = 0; i < count; i++) {
        enum tx_kind kind = nodes[i]->type.kind;
        /* kinds are ordered so that the wider one of two that go together is the larger: INT DEC
         * DBL, DATE STAMP INSTANT */
        if (kind > common)
            common = kind;
    }
    return common;
}

static const char *operator_text(enum tx_fn fn)
{
    switch (fn) {
    case TX_FN_EQ:
        return "=";
    case TX_FN_NE:
        return "<>";
    case TX_FN_LT:
        return "<";
    case TX_FN_LE:
        return "<=";
    case TX_FN_GT:
        return ">";
    default:
        return ">=";
    }
}

/* left is given as SQL when `kept` names the site that holds it, else as a node */
struct operand {
    const struct tx_node *node;
    bool stash, load;
    uint32_t site;
};

static void emit_operand(struct emitter *emitter, const struct operand *operand, enum tx_kind kind)
{
    if (operand->load) {
        tr_outbuf_printf(&emitter->sql, "k_load(%u)", operand->site);
        return;
    }
    if (operand->stash)
        tr_outbuf_printf(&emitter->sql, "k_stash(%u,", operand->site);
    emit_as(emitter, operand->node, kind);
    if (operand->stash)
        lit(emitter, ")");
}

static void emit_compare(struct emitter *emitter, enum tx_fn fn, enum tx_kind kind,
                         const struct operand *left, const struct tx_node *right,
                         const struct tx_node *place)
{
    if (is_native(kind)) {
        lit(emitter, "(");
        emit_operand(emitter, left, kind);
        lit(emitter, operator_text(fn));
        emit_as(emitter, right, kind);
        lit(emitter, ")");
        return;
    }
    lit(emitter, "(");
    uint32_t site = open_kernel(emitter, place, "k_compare");
    set_from(emitter, site, kind);
    lit(emitter, ",");
    emit_operand(emitter, left, kind);
    lit(emitter, ",");
    emit_as(emitter, right, kind);
    tr_outbuf_printf(&emitter->sql, ")%s0)", operator_text(fn));
}

static bool can_fail(const struct tx_node *node)
{
    if (node->kind == TX_N_CAST)
        return true;
    if (node->kind == TX_N_CALL && node->fn > TX_FN_IN)
        return true;
    for (uint32_t i = 0; i < node->count; i++) {
        if (can_fail(node->args[i]))
            return true;
    }
    return false;
}

/* AND: CASE a WHEN 0 THEN 0 ELSE (a' AND b) END, with a evaluated once. OR: the same with 1. */
static void emit_logic(struct emitter *emitter, const struct tx_node *node)
{
    bool and = node->fn == TX_FN_AND;
    if (!can_fail(node->args[1])) {
        lit(emitter, "(");
        emit(emitter, node->args[0]);
        lit(emitter, and? " AND " : " OR ");
        emit(emitter, node->args[1]);
        lit(emitter, ")");
        return;
    }
    uint32_t site = new_site(emitter, node);
    tr_outbuf_printf(&emitter->sql, "(CASE k_stash(%u,", site);
    emit(emitter, node->args[0]);
    tr_outbuf_printf(&emitter->sql, ") WHEN %d THEN %d ELSE (k_load(%u) %s ", !and, !and, site,
                     and? "AND" : "OR");
    emit(emitter, node->args[1]);
    lit(emitter, ") END)");
}

static void emit_between(struct emitter *emitter, const struct tx_node *node)
{
    enum tx_kind kind = common_kind((const struct tx_node *const *)node->args, node->count);
    uint32_t site = new_site(emitter, node);
    struct operand first = {.node = node->args[0], .stash = true, .site = site};
    struct operand again = {.load = true, .site = site};
    lit(emitter, node->negated ? "(NOT(" : "((");
    emit_compare(emitter, TX_FN_GE, kind, &first, node->args[1], node);
    lit(emitter, " AND ");
    emit_compare(emitter, TX_FN_LE, kind, &again, node->args[2], node);
    lit(emitter, "))");
}

static void emit_in(struct emitter *emitter, const struct tx_node *node)
{
    enum tx_kind kind = common_kind((const struct tx_node *const *)node->args, node->count);
    lit(emitter, node->negated ? "(NOT(" : "((");
    if (is_native(kind)) {
        emit_as(emitter, node->args[0], kind);
        lit(emitter, " IN (");
        for (uint32_t i = 1; i < node->count; i++) {
            lit(emitter, i > 1 ? "," : "");
            emit_as(emitter, node->args[i], kind);
        }
        lit(emitter, ")");
    } else {
        uint32_t site = new_site(emitter, node);
        for (uint32_t i = 1; i < node->count; i++) {
            struct operand left = {
                .node = node->args[0], .stash = i == 1, .load = i > 1, .site = site};
            lit(emitter, i > 1 ? " OR " : "");
            emit_compare(emitter, TX_FN_EQ, kind, &left, node->args[i], node);
        }
    }
    lit(emitter, "))");
}

/* ---- conditions ---------------------------------------------------------------------------------
 */

static void emit_case(struct emitter *emitter, const struct tx_node *node)
{
    uint32_t first = node->has_operand ? 1 : 0, end = node->count - (node->has_else ? 1 : 0);
    enum tx_kind kind = TX_NULL;
    uint32_t site = 0;
    if (node->has_operand) {
        kind = node->args[0]->type.kind;
        for (uint32_t i = first; i < end; i += 2) {
            if (node->args[i]->type.kind > kind)
                kind = node->args[i]->type.kind;
        }
        site = new_site(emitter, node);
    }
    lit(emitter, "(CASE");
    for (uint32_t i = first; i < end; i += 2) {
        lit(emitter, " WHEN ");
        if (node->has_operand) {
            struct operand left = {
                .node = node->args[0], .stash = i == first, .load = i > first, .site = site};
            emit_compare(emitter, TX_FN_EQ, kind, &left, node->args[i], node);
        } else {
            emit(emitter, node->args[i]);
        }
        lit(emitter, " THEN ");
        emit_branch(emitter, node->args[i + 1], &node->type);
    }
    if (node->has_else) {
        lit(emitter, " ELSE ");
        emit_branch(emitter, node->args[end], &node->type);
    }
    lit(emitter, " END)");
}

static void emit_coalesce(struct emitter *emitter, const struct tx_node *node)
{
    if (node->count == 1) {
        emit(emitter, node->args[0]);
        return;
    }
    lit(emitter, "coalesce(");
    for (uint32_t i = 0; i < node->count; i++) {
        lit(emitter, i > 0 ? "," : "");
        emit_branch(emitter, node->args[i], &node->type);
    }
    lit(emitter, ")");
}

static void emit_nullif(struct emitter *emitter, const struct tx_node *node)
{
    enum tx_kind kind = common_kind((const struct tx_node *const *)node->args, 2);
    bool same = kind == node->args[0]->type.kind;
    uint32_t site = new_site(emitter, node);
    struct operand left = {.node = node->args[0], .stash = true, .site = site};
    lit(emitter, "(CASE WHEN ");
    emit_compare(emitter, TX_FN_EQ, kind, &left, node->args[1], node);
    lit(emitter, " THEN NULL ELSE ");
    if (same)
        tr_outbuf_printf(&emitter->sql, "k_load(%u)", site);
    else
        emit(emitter, node->args[0]);
    lit(emitter, " END)");
}

static void emit_if(struct emitter *emitter, const struct tx_node *node)
{
    lit(emitter, "(CASE WHEN ");
    emit(emitter, node->args[0]);
    lit(emitter, " THEN ");
    emit_branch(emitter, node->args[1], &node->type);
    lit(emitter, " ELSE ");
    emit_branch(emitter, node->args[2], &node->type);
    lit(emitter, " END)");
}

static void emit_extreme(struct emitter *emitter, const struct tx_node *node)
{
    (void)open_kernel(emitter, node, node->fn == TX_FN_GREATEST ? "k_greatest" : "k_least");
    for (uint32_t i = 0; i < node->count; i++) {
        lit(emitter, ",");
        emit_branch(emitter, node->args[i], &node->type);
    }
    lit(emitter, ")");
}

/* ---- numbers, times, JSON -----------------------------------------------------------------------
 */

/* name, then the kind's letter */
static void emit_numeric(struct emitter *emitter, const struct tx_node *node, const char *name,
                         enum tx_kind kind)
{
    char kernel[40];
    (void)snprintf(kernel, sizeof kernel, "%s_%c", name,
                   kind == TX_DEC   ? 'd'
                   : kind == TX_DBL ? 'f'
                                    : 'i');
    (void)open_kernel(emitter, node, kernel);
    for (uint32_t i = 0; i < node->count; i++) {
        lit(emitter, ",");
        emit_as(emitter, node->args[i], i == 0 || node->fn < TX_FN_ABS ? kind : TX_INT);
    }
    lit(emitter, ")");
}

static void emit_time_sum(struct emitter *emitter, const struct tx_node *node,
                          const struct tx_node *time, const struct tx_node *count, int64_t fixed)
{
    uint32_t site = open_kernel(emitter, node, "k_timestampadd");
    set_from(emitter, site, node->type.kind);
    lit(emitter, ",");
    if (count != NULL)
        emit(emitter, count);
    else
        tr_outbuf_printf(&emitter->sql, "%lld", (long long)fixed);
    lit(emitter, ",");
    emit_as(emitter, time, node->type.kind);
    lit(emitter, ")");
}

static void emit_difference(struct emitter *emitter, const struct tx_node *node)
{
    bool instants = node->args[0]->type.kind == TX_INSTANT &&
                    node->args[1]->type.kind == TX_INSTANT && node->unit < TX_DAY;
    (void)open_kernel(emitter, node, "k_timestampdiff");
    for (uint32_t i = 0; i < 2; i++) {
        lit(emitter, ",");
        if (instants)
            emit(emitter, node->args[i]);
        else
            emit_wall(emitter, node->args[i]);
    }
    lit(emitter, ")");
}

static void emit_json(struct emitter *emitter, const struct tx_node *node)
{
    uint32_t json = new_site(emitter, node), path = new_site(emitter, node),
             text = new_site(emitter, node);
    tr_outbuf_printf(&emitter->sql, "(CASE json_type(k_stash(%u,", json);
    emit(emitter, node->args[0]);
    tr_outbuf_printf(&emitter->sql, "),k_stash(%u,", path);
    emit(emitter, node->args[1]);
    lit(emitter, ")) WHEN 'true' THEN 'true' WHEN 'false' THEN 'false'");
    if (node->fn == TX_FN_JSON_VALUE)
        lit(emitter, " WHEN 'object' THEN NULL WHEN 'array' THEN NULL");
    else
        tr_outbuf_printf(&emitter->sql,
                         " WHEN 'null' THEN 'null' WHEN 'text' THEN "
                         "json_quote(json_extract(k_load(%u),k_load(%u)))",
                         json, path);
    tr_outbuf_printf(&emitter->sql,
                     " ELSE k_scalar_text(%u,json_extract(k_load(%u),k_load(%u))) END)", text, json,
                     path);
}

/* ---- calls --------------------------------------------------------------------------------------
 */

static void emit_kernel(struct emitter *emitter, const struct tx_node *node)
{
    const struct tx_fn_info *info = &tx_fns[node->fn];
    uint32_t site = open_kernel(emitter, node, info->kernel);
    size_t letters = strlen(info->args);
    if (node->count > 0)
        set_from(emitter, site, node->args[0]->type.kind);
    for (uint32_t i = 0; i < node->count; i++) {
        char letter = info->args[i < letters ? i : letters - 1];
        lit(emitter, ",");
        if (letter == 't')
            emit_wall(emitter, node->args[i]);
        else if (letter == 'f')
            emit_as(emitter, node->args[i], TX_DBL);
        else if (letter == 'S')
            emit_as(emitter, node->args[i], TX_STR);
        else
            emit(emitter, node->args[i]);
    }
    lit(emitter, ")");
}

static void emit_is(struct emitter *emitter, const struct tx_node *node)
{
    lit(emitter, "(");
    emit(emitter, node->args[0]);
    lit(emitter, node->negated ? " IS NOT " : " IS ");
    lit(emitter, node->fn == TX_FN_IS_NULL ? "NULL)" : node->fn == TX_FN_IS_TRUE ? "1)" : "0)");
}

static void emit_sum(struct emitter *emitter, const struct tx_node *node)
{
    static const char *const names[] = {"k_add", "k_sub", "k_mul", "k_div"};
    const struct tx_node *interval = node->args[1];
    if (interval->kind == TX_N_INTERVAL)
        emit_time_sum(emitter, node, node->args[0], NULL,
                      node->fn == TX_FN_SUB ? -interval->value.i : interval->value.i);
    else
        emit_numeric(emitter, node, node->fn == TX_FN_MOD ? "k_mod" : names[node->fn - TX_FN_ADD],
                     node->type.kind);
}

static void emit_call(struct emitter *emitter, const struct tx_node *node)
{
    struct operand left = {.node = node->args == NULL ? NULL : node->args[0]};
    switch (node->fn) {
    case TX_FN_EQ:
    case TX_FN_NE:
    case TX_FN_LT:
    case TX_FN_LE:
    case TX_FN_GT:
    case TX_FN_GE:
        emit_compare(emitter, node->fn, common_kind((const struct tx_node *const *)node->args, 2),
                     &left, node->args[1], node);
        break;
    case TX_FN_AND:
    case TX_FN_OR:
        emit_logic(emitter, node);
        break;
    case TX_FN_NOT:
        lit(emitter, "(NOT ");
        emit(emitter, node->args[0]);
        lit(emitter, ")");
        break;
    case TX_FN_IS_NULL:
    case TX_FN_IS_TRUE:
    case TX_FN_IS_FALSE:
        emit_is(emitter, node);
        break;
    case TX_FN_BETWEEN:
        emit_between(emitter, node);
        break;
    case TX_FN_IN:
        emit_in(emitter, node);
        break;
    case TX_FN_LIKE:
        lit(emitter, node->negated ? "(NOT " : "(");
        emit_kernel(emitter, node);
        lit(emitter, ")");
        break;
    case TX_FN_ADD:
    case TX_FN_SUB:
    case TX_FN_MUL:
    case TX_FN_DIV:
    case TX_FN_MOD:
        emit_sum(emitter, node);
        break;
    case TX_FN_NEG:
        emit_numeric(emitter, node, "k_neg", node->type.kind);
        break;
    case TX_FN_ABS:
        emit_numeric(emitter, node, "k_abs", node->type.kind);
        break;
    case TX_FN_CEIL:
    case TX_FN_CEILING:
        emit_numeric(emitter, node, "k_ceil", node->type.kind);
        break;
    case TX_FN_FLOOR:
        emit_numeric(emitter, node, "k_floor", node->type.kind);
        break;
    case TX_FN_ROUND:
        emit_numeric(emitter, node, "k_round", node->type.kind);
        break;
    case TX_FN_TRUNCATE:
        emit_numeric(emitter, node, "k_truncate", node->type.kind);
        break;
    case TX_FN_SIGN:
        emit_numeric(emitter, node, "k_sign",
                     node->args[0]->type.kind == TX_NULL ? TX_INT : node->args[0]->type.kind);
        break;
    case TX_FN_COALESCE:
    case TX_FN_IFNULL:
    case TX_FN_NVL:
        emit_coalesce(emitter, node);
        break;
    case TX_FN_NULLIF:
        emit_nullif(emitter, node);
        break;
    case TX_FN_IF:
        emit_if(emitter, node);
        break;
    case TX_FN_GREATEST:
    case TX_FN_LEAST:
        emit_extreme(emitter, node);
        break;
    case TX_FN_TIMESTAMPADD:
        emit_time_sum(emitter, node, node->args[1], node->args[0], 0);
        break;
    case TX_FN_TIMESTAMPDIFF:
        emit_difference(emitter, node);
        break;
    case TX_FN_JSON_VALUE:
    case TX_FN_JSON_QUERY:
    case TX_FN_JSON_EXTRACT:
        emit_json(emitter, node);
        break;
    default:
        emit_kernel(emitter, node);
    }
}

static void emit(struct emitter *emitter, const struct tx_node *node)
{
    if (emitter->failed)
        return;
    switch (node->kind) {
    case TX_N_CONST:
        emit_constant(emitter, &node->value);
        break;
    case TX_N_COLUMN:
        tr_outbuf_printf(&emitter->sql, "?%d", node->input + 1);
        break;
    case TX_N_CALL:
        emit_call(emitter, node);
        break;
    case TX_N_CASE:
        emit_case(emitter, node);
        break;
    case TX_N_CAST:
        emit_cast(emitter, node->args[0], node->type, node->try_, node);
        break;
    case TX_N_INTERVAL:
        break;
    }
}

/* ---- what an output needs -----------------------------------------------------------------------
 */

static void mark_inputs(const struct tx_node *node, bool *used, bool *moment)
{
    if (node->kind == TX_N_COLUMN)
        used[node->input] = true;
    if (node->kind == TX_N_CALL) {
        bool now = node->fn == TX_FN_UNIX_TIMESTAMP && node->count == 0;
        for (enum tx_fn fn = TX_FN_LOCALTIME; fn <= TX_FN_CURRENT_DATE; fn++)
            now = now || node->fn == fn;
        *moment = *moment || now || node->fn == TX_FN_UUID;
    }
    for (uint32_t i = 0; i < node->count; i++)
        mark_inputs(node->args[i], used, moment);
}

static bool list_inputs(struct tx_program *program, const struct tx_node *node,
                        struct tx_output *output)
{
    bool *used = calloc(program->input_count + 1, sizeof *used), moment = false;
    uint16_t *list = tr_arena_alloc(&program->arena, (program->input_count + 1) * sizeof *list,
                                    _Alignof(uint16_t));
    if (used != NULL && list != NULL) {
        mark_inputs(node, used, &moment);
        for (uint32_t i = 0; i < program->input_count; i++) {
            if (used[i])
                list[output->input_count++] = (uint16_t)i;
        }
        output->inputs = list;
        output->is_constant = output->input_count == 0 && !moment;
    }
    free(used);
    return used != NULL && list != NULL;
}

enum tr_status tx_compile_sql(struct tx_program *program, const struct tx_node *node,
                              struct tx_output *output, struct tr_error *err)
{
    struct emitter emitter = {.program = program, .err = err};
    *output = (struct tx_output){.type = node->type, .origin = node->origin, .at = node->at};
    if (output->type.kind == TX_NULL)
        output->type.kind = TX_STR;
    emit(&emitter, node);
    const char *sql = NULL;
    if (!emitter.failed && !emitter.sql.failed)
        sql = tr_arena_strndup(&program->arena, emitter.sql.data, emitter.sql.len);
    tr_outbuf_free(&emitter.sql);
    if (emitter.failed)
        return TR_FAIL;
    if (sql == NULL || !list_inputs(program, node, output))
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for an expression");
    output->sql = sql;
    return TR_OK;
}
