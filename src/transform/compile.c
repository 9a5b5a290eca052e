/* Types: every node gets one, columns get their input, texts that stand for dates and numbers
 * become such. What does not go together is refused here, with its place. */
#include <stdlib.h>
#include <strings.h>

#include "transform/decimal.h"
#include "transform/program.h"

struct typer {
    struct tx_program *program;
    const struct tx_named *named;
    uint32_t named_count;
    struct tr_error *err;
};

static bool type_node(struct typer *typer, struct tx_node *node);

bool tx_same_word(const char *a, const char *b) { return strcasecmp(a, b) == 0; }

int tx_find_column(const struct tr_table *table, const char *name)
{
    int found = tr_table_column(table, name);
    if (found >= 0)
        return found;
    for (int i = 0; i < table->column_count; i++) {
        if (strcasecmp(table->columns[i].name, name) != 0)
            continue;
        if (found >= 0)
            return -2;
        found = i;
    }
    return found;
}

/* ---- names --------------------------------------------------------------------------------------
 */

static const struct {
    const char *name;
    enum tr_type type;
} metas[TX_META_COUNT] = {[TX_META_NAMESPACE] = {"__namespace_name__", TR_T_STRING},
                          [TX_META_SCHEMA] = {"__schema_name__", TR_T_STRING},
                          [TX_META_TABLE] = {"__table_name__", TR_T_STRING},
                          [TX_META_EVENT_TYPE] = {"__data_event_type__", TR_T_STRING},
                          [TX_META_OP] = {"__op__", TR_T_STRING},
                          [TX_META_EVENT_TS] = {"__event_ts__", TR_T_TIMESTAMPTZ},
                          [TX_META_TOPIC] = {"__topic__", TR_T_STRING},
                          [TX_META_PARTITION] = {"__partition__", TR_T_INT32},
                          [TX_META_OFFSET] = {"__offset__", TR_T_INT64},
                          [TX_META_TIMESTAMP] = {"__timestamp__", TR_T_TIMESTAMPTZ},
                          [TX_META_KEY] = {"__key__", TR_T_STRING}};

static bool no_memory(struct typer *typer)
{
    (void)tr_fail(typer->err, TR_E_OUT_OF_MEMORY, "no memory for an expression");
    return false;
}

static bool use_input(struct typer *typer, struct tx_node *node, struct tx_input input)
{
    struct tx_program *program = typer->program;
    for (uint32_t i = 0; i < program->input_count; i++) {
        const struct tx_input *known = &program->inputs[i];
        if (known->is_meta == input.is_meta && known->meta == input.meta &&
            known->column == input.column) {
            node->input = (int)i;
            return true;
        }
    }
    if (program->input_count == program->input_capacity) {
        uint32_t capacity = program->input_capacity == 0 ? 8 : program->input_capacity * 2;
        struct tx_input *inputs = realloc(program->inputs, capacity * sizeof *inputs);
        if (inputs == NULL)
            return no_memory(typer);
        program->inputs = inputs;
        program->input_capacity = capacity;
    }
    node->input = (int)program->input_count;
    program->inputs[program->input_count++] = input;
    return true;
}

static bool unknown_column(struct typer *typer, const struct tx_node *node)
{
    const struct tr_table *table = typer->program->table;
    struct tx_nearest nearest = {.word = node->name};
    char id[200];
    for (int i = 0; i < table->column_count; i++)
        tx_nearest_try(&nearest, table->columns[i].name);
    for (uint32_t i = 0; i < typer->named_count; i++)
        tx_nearest_try(&nearest, typer->named[i].name);
    for (int i = 0; i < TX_META_COUNT; i++)
        tx_nearest_try(&nearest, metas[i].name);
    (void)tx_fail_at(typer->err, TR_E_TRANSFORM_COLUMN, node->origin, node->at,
                     "table %.120s has no column %.80s",
                     tr_table_id_format(&table->id, id, sizeof id), node->name);
    if (nearest.best != NULL)
        (void)tr_hint(typer->err, "Did you mean %.200s?", nearest.best);
    else
        (void)tr_hint(typer->err,
                      "Texts are written in 'single' quotes; double quotes and backquotes hold "
                      "names.");
    return false;
}

static bool type_column(struct typer *typer, struct tx_node *node)
{
    const struct tr_table *table = typer->program->table;
    if (node->qualifier != NULL && !tx_same_word(node->qualifier, table->id.table)) {
        (void)tx_fail_at(typer->err, TR_E_TRANSFORM_COLUMN, node->origin, node->at,
                         "the table's name is %.100s here", table->id.table);
        return false;
    }
    int column = tx_find_column(table, node->name);
    if (column == -2) {
        (void)tx_fail_at(typer->err, TR_E_TRANSFORM_COLUMN, node->origin, node->at,
                         "several columns are called so, in different case: write the exact name");
        return false;
    }
    if (column >= 0) {
        node->type = tx_type_of_column(&table->columns[column]);
        return use_input(typer, node,
                         (struct tx_input){.column = (uint16_t)column, .kind = node->type.kind});
    }
    for (uint32_t i = 0; i < typer->named_count; i++) {
        struct tx_node *named = typer->named[i].expr;
        if (!tx_same_word(typer->named[i].name, node->name))
            continue;
        if (named->kind == TX_N_COLUMN && named->input < 0 && !type_node(typer, named))
            return false;
        *node = *named; /* outputs are typed already */
        return true;
    }
    for (int i = 0; i < TX_META_COUNT; i++) {
        if (tx_same_word(metas[i].name, node->name)) {
            node->type = tx_type_plain(metas[i].type);
            return use_input(typer, node,
                             (struct tx_input){.is_meta = true,
                                               .meta = (enum tx_meta)i,
                                               .kind = node->type.kind});
        }
    }
    return unknown_column(typer, node);
}

/* ---- what goes together -------------------------------------------------------------------------
 */

static bool mismatch(struct typer *typer, const struct tx_node *node, enum tx_kind have,
                     enum tx_kind want)
{
    (void)tx_fail_at(typer->err, TR_E_TRANSFORM_TYPE, node->origin, node->at,
                     "a %s stands where a %s is needed", tx_kind_name(have), tx_kind_name(want));
    (void)tr_hint(typer->err, "Say what is meant with CAST(… AS type).");
    return false;
}

static bool is_text_literal(const struct tx_node *node)
{
    return node->kind == TX_N_CONST && node->type.kind == TX_STR;
}

/* A literal is converted once, here. */
static bool fold(struct typer *typer, struct tx_node *node, struct tx_type to, bool try_)
{
    struct tx_site site = {
        .origin = node->origin, .at = node->at, .from = node->type.kind, .to = to};
    struct tx_env *env = typer->program->env;
    struct tx_call call = {.env = env, .site = &site};
    env->failed = false;
    if (!tx_cast(&call, &node->value)) {
        env->failed = false;
        if (!try_) {
            (void)tx_fail_at(typer->err, TR_E_TRANSFORM_TYPE, node->origin, node->at, "%s",
                             env->failure);
            return false;
        }
        call.result = tx_null();
    }
    struct tx_val value = call.result;
    if (value.kind == TX_VAL_TEXT || value.kind == TX_VAL_BLOB) {
        value.p = tr_arena_strndup(&typer->program->arena, value.p, value.len);
        if (value.p == NULL)
            return no_memory(typer);
    }
    tr_arena_reset(&env->scratch);
    node->kind = TX_N_CONST;
    node->value = value;
    node->type = to;
    node->count = 0;
    return true;
}

static bool widens(enum tx_kind from, enum tx_kind to)
{
    switch (to) {
    case TX_DEC:
        return from == TX_INT;
    case TX_DBL:
        return from == TX_INT || from == TX_DEC;
    case TX_STAMP:
        return from == TX_DATE;
    case TX_INSTANT:
        return from == TX_DATE || from == TX_STAMP;
    default:
        return false;
    }
}

/* The node can be had as this kind (the SQL converts it); literals are converted at once. */
static bool accept(struct typer *typer, struct tx_node *node, struct tx_type want)
{
    enum tx_kind have = node->type.kind;
    if (have == want.kind || have == TX_NULL || widens(have, want.kind))
        return true;
    if (is_text_literal(node) && want.kind != TX_BOOL)
        return fold(typer, node, want, false);
    return mismatch(typer, node, have, want.kind);
}

static int int_width(enum tr_type type)
{
    return type == TR_T_INT8 ? 1 : type == TR_T_INT16 ? 2 : type == TR_T_INT32 ? 4 : 8;
}

static void cap_decimal(struct tx_type *type, int whole, int scale)
{
    if (whole + scale > TX_DEC_DIGITS_MAX) { /* keep what stands before the point, and six places */
        int keep = scale < 6 ? scale : 6;
        scale = TX_DEC_DIGITS_MAX - whole > keep ? TX_DEC_DIGITS_MAX - whole : keep;
        whole = TX_DEC_DIGITS_MAX - scale;
    }
    type->scale = scale;
    type->precision = whole + scale;
}

/* INT has 19 digits where it meets a DECIMAL. */
static struct tx_type as_decimal(struct tx_type type)
{
    if (type.kind != TX_INT)
        return type;
    int digits = type.type == TR_T_INT8    ? 3
                 : type.type == TR_T_INT16 ? 5
                 : type.type == TR_T_INT32 ? 10
                                           : 19;
    type = tx_type_plain(TR_T_DECIMAL);
    type.precision = digits;
    return type;
}

/* The type that holds both; same kind. */
static struct tx_type merge(struct tx_type a, struct tx_type b)
{
    switch (a.kind) {
    case TX_INT:
        return int_width(a.type) >= int_width(b.type) ? a : b;
    case TX_DEC:
        if (a.precision == 0 || b.precision == 0)
            return tx_type_plain(TR_T_DECIMAL);
        cap_decimal(&a,
                    a.precision - a.scale > b.precision - b.scale ? a.precision - a.scale
                                                                  : b.precision - b.scale,
                    a.scale > b.scale ? a.scale : b.scale);
        return a;
    case TX_DBL:
        return a.type == b.type ? a : tx_type_plain(TR_T_FLOAT64);
    case TX_STR:
        if (a.type != b.type)
            return tx_type_plain(TR_T_STRING);
        a.length = a.length == 0 || b.length == 0 ? 0 : a.length > b.length ? a.length : b.length;
        a.fixed = a.fixed && b.fixed && a.length == b.length;
        return a;
    default:
        if (b.precision > a.precision)
            a.precision = b.precision;
        return a;
    }
}

/* A type as the wider kind has it: digits of a number, digits of a second. */
static struct tx_type widened(struct tx_type type, struct tx_type wide)
{
    if (wide.kind == TX_DEC)
        return as_decimal(type);
    if (wide.kind == TX_STAMP || wide.kind == TX_INSTANT)
        wide.precision = type.kind == TX_DATE ? 0 : type.precision;
    return wide;
}

/* The common type of several nodes. Text literals take the type of the others. */
static bool unify(struct typer *typer, struct tx_node **nodes, uint32_t count, struct tx_type *out)
{
    struct tx_type common = {.type = TR_T_STRING, .kind = TX_NULL};
    for (int literals = 0; literals < 2; literals++) {
        for (uint32_t i = 0; i < count; i++) {
            struct tx_type type = nodes[i]->type;
            if (type.kind == TX_NULL || is_text_literal(nodes[i]) != (literals == 1))
                continue;
            if (literals == 1) {
                type = tx_type_plain(TR_T_STRING);
                if (common.kind != TX_NULL && common.kind != TX_STR) {
                    if (common.kind == TX_BOOL)
                        return mismatch(typer, nodes[i], TX_STR, TX_BOOL);
                    struct tx_type want = common;
                    if (want.kind == TX_DEC)
                        want = tx_type_plain(TR_T_DECIMAL); /* 1.5 is not cut to an INT's places */
                    if (!fold(typer, nodes[i], want, false))
                        return false;
                    continue;
                }
            }
            if (common.kind == TX_NULL) {
                common = type;
                continue;
            }
            if (widens(common.kind, type.kind)) {
                common = merge(type, widened(common, type));
            } else if (widens(type.kind, common.kind)) {
                common = merge(common, widened(type, common));
            } else if (common.kind == type.kind) {
                common = merge(common, type);
            } else {
                return mismatch(typer, nodes[i], type.kind, common.kind);
            }
        }
    }
    *out = common;
    return true;
}

/* ---- operators ----------------------------------------------------------------------------------
 */

static bool is_number(enum tx_kind kind)
{
    return kind == TX_INT || kind == TX_DEC || kind == TX_DBL;
}
static bool is_time(enum tx_kind kind)
{
    return kind == TX_DATE || kind == TX_STAMP || kind == TX_INSTANT;
}

static struct tx_type decimal_result(enum tx_fn fn, struct tx_type a, struct tx_type b)
{
    struct tx_type type = tx_type_plain(TR_T_DECIMAL);
    a = as_decimal(a);
    b = as_decimal(b);
    if (a.precision == 0 || b.precision == 0)
        return type;
    int whole_a = a.precision - a.scale, whole_b = b.precision - b.scale, scale, whole;
    switch (fn) {
    case TX_FN_MUL:
        scale = a.scale + b.scale;
        whole = a.precision + b.precision - scale;
        break;
    case TX_FN_DIV:
        scale = a.scale + b.precision + 1 > 6 ? a.scale + b.precision + 1 : 6;
        whole = whole_a + b.scale;
        break;
    case TX_FN_MOD:
        scale = a.scale > b.scale ? a.scale : b.scale;
        whole = whole_a < whole_b ? whole_a : whole_b;
        break;
    default:
        scale = a.scale > b.scale ? a.scale : b.scale;
        whole = (whole_a > whole_b ? whole_a : whole_b) + 1;
    }
    cap_decimal(&type, whole, scale);
    return type;
}

/* time ± INTERVAL */
static bool type_interval(struct typer *typer, struct tx_node *node)
{
    bool swapped = node->args[0]->kind == TX_N_INTERVAL;
    struct tx_node *time = node->args[swapped ? 1 : 0], *interval = node->args[swapped ? 0 : 1];
    if (swapped) {
        if (node->fn == TX_FN_SUB || time->kind == TX_N_INTERVAL) {
            (void)tx_fail_at(typer->err, TR_E_TRANSFORM_TYPE, node->origin, node->at,
                             "an interval is added to a time, or taken from one");
            return false;
        }
        node->args[0] = time;
        node->args[1] = interval;
    }
    if (is_text_literal(time) && !fold(typer, time, tx_type_plain(TR_T_TIMESTAMP), false))
        return false;
    if (!is_time(time->type.kind))
        return mismatch(typer, time, time->type.kind, TX_STAMP);
    node->unit = interval->unit;
    node->type = time->type;
    if (time->type.kind == TX_DATE && interval->unit < TX_DAY)
        node->type = tx_type_plain(TR_T_TIMESTAMP);
    if (time->type.kind != TX_DATE)
        node->type.precision = 6;
    return true;
}

static bool type_arithmetic(struct typer *typer, struct tx_node *node)
{
    struct tx_node *a = node->args[0], *b = node->args[1];
    if ((node->fn == TX_FN_ADD || node->fn == TX_FN_SUB) &&
        (a->kind == TX_N_INTERVAL || b->kind == TX_N_INTERVAL))
        return type_interval(typer, node);
    for (uint32_t i = 0; i < 2; i++) {
        struct tx_node *arg = node->args[i];
        if (is_text_literal(arg) && is_number(node->args[1 - i]->type.kind) &&
            !fold(typer, arg, tx_type_plain(TR_T_DECIMAL), false))
            return false;
        if (!is_number(arg->type.kind) && arg->type.kind != TX_NULL) {
            (void)mismatch(typer, arg, arg->type.kind, TX_INT);
            if (is_time(arg->type.kind))
                (void)tr_hint(typer->err, "Use + INTERVAL '1' DAY, TIMESTAMPADD or TIMESTAMPDIFF.");
            return false;
        }
    }
    if (a->type.kind == TX_DBL || b->type.kind == TX_DBL)
        node->type = tx_type_plain(TR_T_FLOAT64);
    else if (a->type.kind == TX_DEC || b->type.kind == TX_DEC)
        node->type = a->type.kind == TX_NULL || b->type.kind == TX_NULL
                         ? tx_type_plain(TR_T_DECIMAL)
                         : decimal_result(node->fn, a->type, b->type);
    else
        node->type = tx_type_plain(TR_T_INT64);
    return true;
}

static bool constant_int(const struct tx_node *node, int64_t *out)
{
    if (node->kind != TX_N_CONST || node->value.kind != TX_VAL_INT || node->type.kind != TX_INT)
        return false;
    *out = node->value.i;
    return true;
}

/* ABS, CEIL, FLOOR, ROUND, TRUNCATE, SIGN, - */
static void type_number(struct tx_node *node)
{
    struct tx_type from = node->args[0]->type, type = from;
    int64_t places = 0;
    bool known = node->count < 2 || constant_int(node->args[1], &places);
    if (from.kind == TX_NULL)
        type = from = tx_type_plain(TR_T_INT64);
    if (from.kind == TX_INT)
        type = tx_type_plain(TR_T_INT64);
    if (from.kind == TX_DBL)
        type = tx_type_plain(TR_T_FLOAT64);
    if (node->fn == TX_FN_SIGN) {
        type = tx_type_plain(TR_T_INT32);
    } else if (from.kind == TX_DEC && from.precision > 0 && node->fn != TX_FN_ABS &&
               node->fn != TX_FN_NEG) {
        int scale = !known || places > from.scale ? from.scale : places < 0 ? 0 : (int)places;
        cap_decimal(&type, from.precision - from.scale + 1, scale);
    }
    node->type = type;
}

static bool type_pair(struct typer *typer, struct tx_node *node)
{
    struct tx_type common;
    return unify(typer, node->args, node->count, &common);
}

static bool type_add_unit(struct typer *typer, struct tx_node *node)
{
    struct tx_node *time = node->args[1];
    if (!accept(typer, node->args[0], tx_type_plain(TR_T_INT64)))
        return false;
    if (is_text_literal(time) && !fold(typer, time, tx_type_plain(TR_T_TIMESTAMP), false))
        return false;
    if (!is_time(time->type.kind) && time->type.kind != TX_NULL)
        return mismatch(typer, time, time->type.kind, TX_STAMP);
    node->type = time->type;
    if (time->type.kind == TX_NULL || (time->type.kind == TX_DATE && node->unit < TX_DAY))
        node->type = tx_type_plain(TR_T_TIMESTAMP);
    if (node->type.kind != TX_DATE)
        node->type.precision = 6;
    return true;
}

static bool type_special(struct typer *typer, struct tx_node *node)
{
    switch (node->fn) {
    case TX_FN_EQ:
    case TX_FN_NE:
    case TX_FN_LT:
    case TX_FN_LE:
    case TX_FN_GT:
    case TX_FN_GE:
    case TX_FN_BETWEEN:
    case TX_FN_IN:
        return type_pair(typer, node);
    case TX_FN_ADD:
    case TX_FN_SUB:
    case TX_FN_MUL:
    case TX_FN_DIV:
    case TX_FN_MOD:
        return type_arithmetic(typer, node);
    case TX_FN_TIMESTAMPADD:
        return type_add_unit(typer, node);
    case TX_FN_COALESCE:
    case TX_FN_IFNULL:
    case TX_FN_NVL:
    case TX_FN_GREATEST:
    case TX_FN_LEAST:
        return unify(typer, node->args, node->count, &node->type);
    case TX_FN_NULLIF:
        if (!type_pair(typer, node))
            return false;
        node->type = node->args[0]->type;
        return true;
    case TX_FN_IF:
        return unify(typer, node->args + 1, 2, &node->type);
    case TX_FN_ABS:
    case TX_FN_CEIL:
    case TX_FN_CEILING:
    case TX_FN_FLOOR:
    case TX_FN_ROUND:
    case TX_FN_TRUNCATE:
    case TX_FN_SIGN:
    case TX_FN_NEG:
        type_number(node);
        return true;
    default:
        return true;
    }
}

static bool accept_letter(struct typer *typer, struct tx_node *arg, char letter)
{
    enum tx_kind kind = arg->type.kind;
    switch (letter) {
    case 's':
        return accept(typer, arg, tx_type_plain(TR_T_STRING));
    case 'i':
        return accept(typer, arg, tx_type_plain(TR_T_INT64));
    case 'f':
        return accept(typer, arg, tx_type_plain(TR_T_FLOAT64));
    case 'b':
        return accept(typer, arg, tx_type_plain(TR_T_BOOLEAN));
    case 'n':
        return is_number(kind) || kind == TX_NULL || mismatch(typer, arg, kind, TX_DEC);
    case 't':
        if (is_text_literal(arg))
            return fold(typer, arg, tx_type_plain(TR_T_TIMESTAMP), false);
        return is_time(kind) || kind == TX_NULL || kind == TX_TIME ||
               mismatch(typer, arg, kind, TX_STAMP);
    default:
        return true;
    }
}

static void set_result(struct tx_node *node, char letter)
{
    static const struct {
        char letter;
        enum tr_type type;
        int precision;
    } results[] = {{'s', TR_T_STRING, 0},    {'i', TR_T_INT32, 0},       {'l', TR_T_INT64, 0},
                   {'f', TR_T_FLOAT64, 0},   {'b', TR_T_BOOLEAN, 0},     {'D', TR_T_DATE, 0},
                   {'t', TR_T_TIMESTAMP, 3}, {'z', TR_T_TIMESTAMPTZ, 3}, {'T', TR_T_TIME, 0},
                   {'u', TR_T_UUID, 0},      {'j', TR_T_JSON, 0}};
    for (size_t i = 0; i < sizeof results / sizeof *results; i++) {
        if (results[i].letter == letter) {
            node->type = tx_type_plain(results[i].type);
            node->type.precision = results[i].precision;
        }
    }
    if (node->fn == TX_FN_TO_TIMESTAMP)
        node->type.precision = 6;
}

/* A pattern that is a literal is looked at once. */
static bool check_literal_pattern(struct typer *typer, const struct tx_node *node)
{
    bool dates = node->fn == TX_FN_DATE_FORMAT || node->fn == TX_FN_TO_DATE ||
                 node->fn == TX_FN_TO_TIMESTAMP || node->fn == TX_FN_UNIX_TIMESTAMP ||
                 node->fn == TX_FN_FROM_UNIXTIME;
    bool regex = node->fn == TX_FN_REGEXP || node->fn == TX_FN_REGEXP_LIKE ||
                 node->fn == TX_FN_REGEXP_REPLACE || node->fn == TX_FN_REGEXP_EXTRACT;
    if ((!dates && !regex) || node->count < 2 || !is_text_literal(node->args[1]))
        return true;
    const struct tx_node *pattern = node->args[1];
    const char *why;
    if (dates) {
        if (tx_pattern_check(pattern->value.p, pattern->value.len, &why))
            return true;
        (void)tx_fail_at(typer->err, TR_E_TRANSFORM_TYPE, pattern->origin, pattern->at,
                         "this is no pattern of a time: %s", why);
        return false;
    }
    struct tx_env *env = typer->program->env;
    struct tx_site site = {.origin = pattern->origin, .at = pattern->at};
    struct tx_call call = {.env = env, .site = &site};
    bool good = tx_regex_get(&call, &pattern->value) != NULL;
    tx_regex_free(site.regex);
    env->failed = false;
    if (!good)
        (void)tx_fail_at(typer->err, TR_E_TRANSFORM_TYPE, pattern->origin, pattern->at, "%s",
                         env->failure);
    return good;
}

static bool type_call(struct typer *typer, struct tx_node *node)
{
    const struct tx_fn_info *info = &tx_fns[node->fn];
    for (uint32_t i = 0; i < node->count; i++) {
        bool interval_here = (node->fn == TX_FN_ADD || node->fn == TX_FN_SUB);
        if (node->args[i]->kind == TX_N_INTERVAL) {
            if (interval_here)
                continue;
            (void)tx_fail_at(typer->err, TR_E_TRANSFORM_TYPE, node->args[i]->origin,
                             node->args[i]->at, "an interval stands only behind + and -");
            return false;
        }
        if (!type_node(typer, node->args[i]))
            return false;
    }
    for (uint32_t i = 0; i < node->count; i++) {
        size_t letters = strlen(info->args);
        char letter = letters == 0 ? '.' : info->args[i < letters ? i : letters - 1];
        if (!accept_letter(typer, node->args[i], letter))
            return false;
    }
    set_result(node, info->result);
    return check_literal_pattern(typer, node) && type_special(typer, node);
}

/* [operand] {when then} [else]: thens and else have a common type; operand and whens too. */
static bool type_case(struct typer *typer, struct tx_node *node)
{
    struct tx_node *results[TX_ARGUMENTS_MAX], *tested[TX_ARGUMENTS_MAX];
    uint32_t result_count = 0, tested_count = 0;
    for (uint32_t i = 0; i < node->count; i++) {
        struct tx_node *arg = node->args[i];
        if (arg->kind == TX_N_INTERVAL)
            return mismatch(typer, arg, TX_NULL, TX_STR);
        if (!type_node(typer, arg))
            return false;
        bool last = node->has_else && i + 1 == node->count;
        bool then = (i - (node->has_operand ? 1 : 0)) % 2 == 1 && !(node->has_operand && i == 0);
        if (last || then)
            results[result_count++] = arg;
        else
            tested[tested_count++] = arg;
        if (!last && !then && !node->has_operand &&
            !accept(typer, arg, tx_type_plain(TR_T_BOOLEAN)))
            return false;
    }
    struct tx_type ignored;
    return (!node->has_operand || unify(typer, tested, tested_count, &ignored)) &&
           unify(typer, results, result_count, &node->type);
}

/* What CAST can do at all; the values are seen at run time. */
static bool cast_exists(enum tx_kind from, enum tx_kind to)
{
    if (from == TX_NULL || from == to || to == TX_STR || from == TX_STR)
        return true;
    if (is_number(from) && is_number(to))
        return true;
    switch (to) {
    case TX_BOOL:
        return is_number(from);
    case TX_INT:
    case TX_DEC:
    case TX_DBL:
        return from == TX_BOOL;
    case TX_DATE:
    case TX_TIME:
        return from == TX_STAMP || from == TX_INSTANT;
    case TX_STAMP:
    case TX_INSTANT:
        return from == TX_DATE || from == TX_STAMP || from == TX_INSTANT;
    default:
        return false;
    }
}

static bool type_cast(struct typer *typer, struct tx_node *node)
{
    struct tx_node *from = node->args[0];
    if (from->kind == TX_N_INTERVAL)
        return mismatch(typer, from, TX_NULL, node->type.kind);
    if (!type_node(typer, from))
        return false;
    if (!cast_exists(from->type.kind, node->type.kind)) {
        (void)tx_fail_at(typer->err, TR_E_TRANSFORM_TYPE, node->origin, node->at,
                         "a %s cannot be cast to %s", tx_kind_name(from->type.kind),
                         tx_kind_name(node->type.kind));
        if (is_number(from->type.kind) && is_time(node->type.kind))
            (void)tr_hint(typer->err,
                          "TO_TIMESTAMP_LTZ(x, 0) takes seconds since 1970, TO_TIMESTAMP_LTZ(x, 3) "
                          "milliseconds.");
        else if (is_time(from->type.kind) && is_number(node->type.kind))
            (void)tr_hint(typer->err, "EXTRACT(EPOCH FROM x) gives the seconds since 1970.");
        return false;
    }
    if (from->kind == TX_N_CONST && from->type.kind != TX_NULL) {
        struct tx_type to = node->type;
        bool try_ = node->try_;
        *node = *from;
        return fold(typer, node, to, try_);
    }
    return true;
}

static bool type_node(struct typer *typer, struct tx_node *node)
{
    switch (node->kind) {
    case TX_N_CONST:
        return true;
    case TX_N_COLUMN:
        return type_column(typer, node);
    case TX_N_CALL:
        return type_call(typer, node);
    case TX_N_CASE:
        return type_case(typer, node);
    case TX_N_CAST:
        return type_cast(typer, node);
    case TX_N_INTERVAL:
        (void)tx_fail_at(typer->err, TR_E_TRANSFORM_TYPE, node->origin, node->at,
                         "an interval stands only behind + and -");
        return false;
    }
    return false;
}

enum tr_status tx_compile_type(struct tx_program *program, struct tx_node *node,
                               const struct tx_named *named, uint32_t named_count,
                               struct tr_error *err)
{
    struct typer typer = {program, named, named_count, err};
    return type_node(&typer, node) ? TR_OK : TR_FAIL;
}
