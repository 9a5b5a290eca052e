/* Tokens → tree, by recursive descent; the grammar is at the head of ast.h. Depth is bounded. */
#include <stdlib.h>
#include <strings.h>

#include "transform/ast.h"
#include "transform/decimal.h"

const struct tx_fn_info tx_fns[TX_FN_COUNT] = {
#define TX_FN(id, name, min, max, args, result, kernel) {name, min, max, args, result, kernel},
#include "transform/functions.def"
#undef TX_FN
};

struct parser {
    const struct tx_origin *origin;
    struct tr_arena *arena;
    const struct tx_token *tokens, *at;
    unsigned depth;
    struct tr_error *err;
};

static struct tx_node *parse_or(struct parser *parser);
static struct tx_node *parse_sum(struct parser *parser);
static struct tx_node *parse_unary(struct parser *parser);

/* ---- small things; a NULL node means that *err is filled ----------------------------------------
 */

static bool is_word(const struct tx_token *token, const char *word)
{
    return token->kind == TX_T_WORD && strcasecmp(token->text, word) == 0;
}
static bool is_op(const struct tx_token *token, const char *op)
{
    return token->kind == TX_T_OP && strcmp(token->text, op) == 0;
}
static bool take_word(struct parser *parser, const char *word)
{
    if (!is_word(parser->at, word))
        return false;
    parser->at++;
    return true;
}
static bool take_op(struct parser *parser, const char *op)
{
    if (!is_op(parser->at, op))
        return false;
    parser->at++;
    return true;
}

static void *bad(struct parser *parser, size_t at, const char *why)
{
    (void)tx_fail_at(parser->err, TR_E_TRANSFORM_SYNTAX, parser->origin, at, "%s", why);
    return NULL;
}

static void *expected(struct parser *parser, const char *what)
{
    const struct tx_token *token = parser->at;
    if (token->kind == TX_T_END)
        (void)tx_fail_at(parser->err, TR_E_TRANSFORM_SYNTAX, parser->origin, token->at,
                         "%s is missing at the end", what);
    else
        (void)tx_fail_at(parser->err, TR_E_TRANSFORM_SYNTAX, parser->origin, token->at,
                         "%s is expected here", what);
    return NULL;
}

static bool need_op(struct parser *parser, const char *op, const char *what)
{
    if (take_op(parser, op))
        return true;
    (void)expected(parser, what);
    return false;
}
static bool need_word(struct parser *parser, const char *word)
{
    if (take_word(parser, word))
        return true;
    (void)expected(parser, word);
    return false;
}

static struct tx_node *node_new(struct parser *parser, enum tx_node_kind kind, uint32_t at,
                                uint32_t count)
{
    struct tx_node *node = tr_arena_alloc(parser->arena, sizeof *node, _Alignof(struct tx_node));
    struct tx_node **args = NULL;
    if (count > 0)
        args = tr_arena_alloc(parser->arena, count * sizeof *args, _Alignof(struct tx_node *));
    if (node == NULL || (count > 0 && args == NULL)) {
        (void)tr_fail(parser->err, TR_E_OUT_OF_MEMORY, "no memory for an expression");
        return NULL;
    }
    *node = (struct tx_node){.kind = kind,
                             .at = at,
                             .origin = parser->origin,
                             .count = count,
                             .args = args,
                             .input = -1};
    return node;
}

static struct tx_node *call1(struct parser *parser, enum tx_fn fn, uint32_t at, struct tx_node *a)
{
    struct tx_node *node = a == NULL ? NULL : node_new(parser, TX_N_CALL, at, 1);
    if (node != NULL) {
        node->fn = fn;
        node->args[0] = a;
    }
    return node;
}
static struct tx_node *call2(struct parser *parser, enum tx_fn fn, uint32_t at, struct tx_node *a,
                             struct tx_node *b)
{
    struct tx_node *node = a == NULL || b == NULL ? NULL : node_new(parser, TX_N_CALL, at, 2);
    if (node != NULL) {
        node->fn = fn;
        node->args[0] = a;
        node->args[1] = b;
    }
    return node;
}

static struct tx_node *constant(struct parser *parser, uint32_t at, struct tx_type type,
                                struct tx_val value)
{
    struct tx_node *node = node_new(parser, TX_N_CONST, at, 0);
    if (node != NULL) {
        node->type = type;
        node->value = value;
    }
    return node;
}

static bool deeper(struct parser *parser)
{
    if (++parser->depth <= TX_DEPTH_MAX)
        return true;
    (void)tx_fail_at(parser->err, TR_E_TRANSFORM_LIMIT, parser->origin, parser->at->at,
                     "nested deeper than %d", TX_DEPTH_MAX);
    return false;
}

/* A growing list of arguments while their number is not known. */
struct list {
    struct tx_node *nodes[TX_ARGUMENTS_MAX];
    uint32_t count;
};
static bool list_add(struct parser *parser, struct list *list, struct tx_node *node)
{
    if (node == NULL)
        return false;
    if (list->count == TX_ARGUMENTS_MAX) {
        (void)tx_fail_at(parser->err, TR_E_TRANSFORM_LIMIT, parser->origin, node->at,
                         "more than %u arguments", TX_ARGUMENTS_MAX);
        return false;
    }
    list->nodes[list->count++] = node;
    return true;
}
static struct tx_node *list_node(struct parser *parser, enum tx_node_kind kind, uint32_t at,
                                 const struct list *list)
{
    struct tx_node *node = node_new(parser, kind, at, list->count);
    if (node != NULL && list->count > 0)
        memcpy(node->args, list->nodes, list->count * sizeof *list->nodes);
    return node;
}

/* ---- literals -----------------------------------------------------------------------------------
 */

static struct tx_node *parse_number(struct parser *parser)
{
    const struct tx_token *token = parser->at++;
    if (token->kind == TX_T_DBL)
        return constant(parser, token->at, tx_type_plain(TR_T_FLOAT64),
                        tx_dbl(strtod(token->text, NULL)));
    struct tx_dec dec;
    if (tx_dec_read(token->text, token->text_len, &dec) != TX_DEC_OK)
        return bad(parser, token->at, "a number has at most 38 digits");
    int64_t whole;
    if (token->kind == TX_T_INT && tx_dec_to_int(&dec, &whole)) {
        bool small = whole <= INT32_MAX;
        return constant(parser, token->at, tx_type_plain(small ? TR_T_INT32 : TR_T_INT64),
                        tx_int(whole));
    }
    char text[TX_DEC_TEXT_MAX];
    size_t len = tx_dec_write(&dec, text);
    const char *copy = tr_arena_strndup(parser->arena, text, len);
    struct tx_type type = tx_type_plain(TR_T_DECIMAL);
    type.scale = dec.scale;
    type.precision = tx_dec_digits(&dec) > dec.scale ? tx_dec_digits(&dec) : dec.scale;
    if (copy == NULL) {
        (void)tr_fail(parser->err, TR_E_OUT_OF_MEMORY, "no memory for an expression");
        return NULL;
    }
    return constant(parser, token->at, type, tx_text(copy, len));
}

static struct tx_node *parse_string(struct parser *parser)
{
    const struct tx_token *token = parser->at++;
    if (token->kind == TX_T_BLOB)
        return constant(parser, token->at, tx_type_plain(TR_T_BYTES),
                        tx_blob(token->text, token->text_len));
    return constant(parser, token->at, tx_type_plain(TR_T_STRING),
                    tx_text(token->text, token->text_len));
}

static enum tx_unit parse_unit(struct parser *parser)
{
    enum tx_unit unit = parser->at->kind == TX_T_WORD
                            ? tx_unit_named(parser->at->text, parser->at->text_len)
                            : TX_UNIT_NONE;
    if (unit == TX_UNIT_NONE)
        (void)expected(parser, "a unit of time (SECOND, MINUTE, HOUR, DAY, MONTH, YEAR …)");
    else
        parser->at++;
    return unit;
}

/* INTERVAL '5' DAY, INTERVAL 5 DAY */
static struct tx_node *parse_interval(struct parser *parser, uint32_t at)
{
    bool minus = take_op(parser, "-");
    const struct tx_token *token = parser->at;
    if (token->kind != TX_T_STRING && token->kind != TX_T_INT)
        return expected(parser, "a number of units");
    parser->at++;
    char *end;
    int64_t count = strtoll(token->text, &end, 10);
    if (token->text_len == 0 || token->text_len > 15 || *end != '\0')
        return bad(parser, token->at, "INTERVAL takes one whole number: INTERVAL '5' DAY");
    enum tx_unit unit = parse_unit(parser);
    if (unit == TX_UNIT_NONE)
        return NULL;
    if (unit >= TX_DOW)
        return bad(parser, token->at, "an interval cannot be of this unit");
    struct tx_node *node = node_new(parser, TX_N_INTERVAL, at, 0);
    if (node != NULL) {
        node->unit = unit;
        node->value = tx_int(minus ? -count : count);
    }
    return node;
}

/* ---- types --------------------------------------------------------------------------------------
 */

static const struct {
    const char *name;
    enum tr_type type;
} type_names[] = {{"BOOLEAN", TR_T_BOOLEAN},
                  {"BOOL", TR_T_BOOLEAN},
                  {"TINYINT", TR_T_INT8},
                  {"BYTE", TR_T_INT8},
                  {"SMALLINT", TR_T_INT16},
                  {"SHORT", TR_T_INT16},
                  {"INT2", TR_T_INT16},
                  {"INT", TR_T_INT32},
                  {"INTEGER", TR_T_INT32},
                  {"INT4", TR_T_INT32},
                  {"BIGINT", TR_T_INT64},
                  {"LONG", TR_T_INT64},
                  {"INT8", TR_T_INT64},
                  {"FLOAT", TR_T_FLOAT32},
                  {"REAL", TR_T_FLOAT32},
                  {"DOUBLE", TR_T_FLOAT64},
                  {"DECIMAL", TR_T_DECIMAL},
                  {"NUMERIC", TR_T_DECIMAL},
                  {"DEC", TR_T_DECIMAL},
                  {"CHAR", TR_T_STRING},
                  {"CHARACTER", TR_T_STRING},
                  {"VARCHAR", TR_T_STRING},
                  {"STRING", TR_T_STRING},
                  {"TEXT", TR_T_STRING},
                  {"BYTES", TR_T_BYTES},
                  {"VARBINARY", TR_T_BYTES},
                  {"BINARY", TR_T_BYTES},
                  {"BYTEA", TR_T_BYTES},
                  {"DATE", TR_T_DATE},
                  {"TIME", TR_T_TIME},
                  {"TIMESTAMP", TR_T_TIMESTAMP},
                  {"TIMESTAMP_LTZ", TR_T_TIMESTAMPTZ},
                  {"TIMESTAMPTZ", TR_T_TIMESTAMPTZ},
                  {"JSON", TR_T_JSON},
                  {"UUID", TR_T_UUID}};

/* ( n [, m] ); -1 where it is not given */
static bool parse_modifiers(struct parser *parser, int *first, int *second)
{
    *first = *second = -1;
    if (!take_op(parser, "("))
        return true;
    for (int i = 0;; i++) {
        if (parser->at->kind != TX_T_INT || parser->at->text_len > 8) {
            (void)expected(parser, "a number");
            return false;
        }
        *(i == 0 ? first : second) = (int)strtol(parser->at->text, NULL, 10);
        parser->at++;
        if (i == 1 || !take_op(parser, ","))
            break;
    }
    return need_op(parser, ")", "\")\"");
}

static bool modify_type(struct parser *parser, uint32_t at, struct tx_type *type, int first,
                        int second)
{
    bool over = false;
    switch (type->type) {
    case TR_T_DECIMAL:
        type->precision = first < 0 ? 10 : first;
        type->scale = second < 0 ? 0 : second;
        over = type->precision < 1 || type->precision > TX_DEC_DIGITS_MAX ||
               type->scale > type->precision;
        break;
    case TR_T_TIME:
        type->precision = first < 0 ? 0 : first > 6 ? 6 : first;
        over = first > 9 || second >= 0;
        break;
    case TR_T_TIMESTAMP:
    case TR_T_TIMESTAMPTZ:
        type->precision = first < 0 || first > 6 ? 6 : first;
        over = first > 9 || second >= 0;
        break;
    case TR_T_STRING:
        type->length = first < 0 ? 0 : first;
        over = first == 0 || second >= 0;
        break;
    case TR_T_BYTES:
        over = second >= 0;
        break;
    default:
        over = first >= 0;
    }
    if (over)
        (void)bad(parser, at, "this type does not take these numbers");
    return !over;
}

static bool parse_type(struct parser *parser, struct tx_type *type)
{
    const struct tx_token *token = parser->at;
    enum tr_type found = TR_T_COUNT;
    for (size_t i = 0; i < sizeof type_names / sizeof *type_names; i++) {
        if (is_word(token, type_names[i].name))
            found = type_names[i].type;
    }
    if (found == TR_T_COUNT) {
        (void)expected(parser, "a type (INT, BIGINT, DECIMAL(p,s), STRING, TIMESTAMP(3) …)");
        return false;
    }
    parser->at++;
    *type = tx_type_plain(found);
    if (is_word(token, "DOUBLE"))
        (void)take_word(parser, "PRECISION");
    bool character = is_word(token, "CHAR") || is_word(token, "CHARACTER");
    if (character && take_word(parser, "VARYING"))
        character = false;
    int first, second;
    if (!parse_modifiers(parser, &first, &second))
        return false;
    if (character && first < 0)
        first = 1;
    type->fixed = character;
    if (found == TR_T_TIMESTAMP && take_word(parser, "WITH")) {
        (void)take_word(parser, "LOCAL");
        if (!need_word(parser, "TIME") || !need_word(parser, "ZONE"))
            return false;
        *type = tx_type_plain(TR_T_TIMESTAMPTZ);
    } else if ((found == TR_T_TIMESTAMP || found == TR_T_TIME) && take_word(parser, "WITHOUT")) {
        if (!need_word(parser, "TIME") || !need_word(parser, "ZONE"))
            return false;
    }
    return modify_type(parser, token->at, type, first, second);
}

static struct tx_node *cast_node(struct parser *parser, uint32_t at, struct tx_node *from,
                                 struct tx_type type)
{
    struct tx_node *node = from == NULL ? NULL : node_new(parser, TX_N_CAST, at, 1);
    if (node != NULL) {
        node->args[0] = from;
        node->type = type;
    }
    return node;
}

static struct tx_node *parse_cast(struct parser *parser, uint32_t at, bool try_)
{
    struct tx_type type;
    if (!need_op(parser, "(", "\"(\""))
        return NULL;
    struct tx_node *from = parse_or(parser);
    if (from == NULL || !need_word(parser, "AS") || !parse_type(parser, &type) ||
        !need_op(parser, ")", "\")\""))
        return NULL;
    struct tx_node *node = cast_node(parser, at, from, type);
    if (node != NULL)
        node->try_ = try_;
    return node;
}

/* ---- calls --------------------------------------------------------------------------------------
 */

static bool find_function(struct parser *parser, const struct tx_token *name, enum tx_fn *fn)
{
    struct tx_nearest nearest = {.word = name->text};
    for (int i = 0; i < TX_FN_COUNT; i++) {
        bool callable = tx_fns[i].name[0] >= 'A' && tx_fns[i].name[0] <= 'Z';
        if (callable && strcasecmp(tx_fns[i].name, name->text) == 0) {
            *fn = (enum tx_fn)i;
            return true;
        }
        if (callable)
            tx_nearest_try(&nearest, tx_fns[i].name);
    }
    static const char *const special[] = {"CAST", "TRY_CAST", "EXTRACT", "TIMESTAMPADD",
                                          "TIMESTAMPDIFF"};
    for (size_t i = 0; i < sizeof special / sizeof *special; i++)
        tx_nearest_try(&nearest, special[i]);
    (void)tx_fail_at(parser->err, TR_E_TRANSFORM_FUNCTION, parser->origin, name->at,
                     "there is no function %.60s", name->text);
    if (nearest.best != NULL)
        (void)tr_hint(parser->err, "Did you mean %s?", nearest.best);
    else
        (void)tr_hint(parser->err,
                      "docs/transforms.md lists the functions; user-defined functions run "
                      "only in Flink.");
    return false;
}

static struct tx_node *finish_call(struct parser *parser, const struct tx_token *name,
                                   enum tx_fn fn, const struct list *list)
{
    const struct tx_fn_info *info = &tx_fns[fn];
    unsigned max = info->max == 255 ? TX_ARGUMENTS_MAX : info->max;
    if (list->count < info->min || list->count > max) {
        if (info->min == max)
            (void)tx_fail_at(parser->err, TR_E_TRANSFORM_FUNCTION, parser->origin, name->at,
                             "%.60s takes %u argument%s, not %u", name->text, info->min,
                             info->min == 1 ? "" : "s", list->count);
        else
            (void)tx_fail_at(parser->err, TR_E_TRANSFORM_FUNCTION, parser->origin, name->at,
                             "%.60s takes %u to %u arguments, not %u", name->text, info->min, max,
                             list->count);
        return NULL;
    }
    struct tx_node *node = list_node(parser, TX_N_CALL, name->at, list);
    if (node != NULL)
        node->fn = fn;
    return node;
}

/* TRIM([BOTH|LEADING|TRAILING] [what FROM] text): the arguments become text, what. */
static struct tx_node *parse_trim(struct parser *parser, const struct tx_token *name)
{
    struct list list = {0};
    enum tx_fn fn = TX_FN_BTRIM;
    bool mode = true;
    if (take_word(parser, "LEADING"))
        fn = TX_FN_LTRIM;
    else if (take_word(parser, "TRAILING"))
        fn = TX_FN_RTRIM;
    else
        mode = take_word(parser, "BOTH");
    struct tx_node *first = NULL;
    if (!mode || !is_word(parser->at, "FROM")) {
        first = parse_or(parser);
        if (first == NULL)
            return NULL;
    }
    if (take_word(parser, "FROM")) {
        if (!list_add(parser, &list, parse_or(parser)) ||
            (first != NULL && !list_add(parser, &list, first)))
            return NULL;
    } else if (!list_add(parser, &list, first) ||
               (take_op(parser, ",") && !list_add(parser, &list, parse_or(parser)))) {
        return NULL;
    }
    return need_op(parser, ")", "\")\"") ? finish_call(parser, name, fn, &list) : NULL;
}

static struct tx_node *parse_substring(struct parser *parser, const struct tx_token *name,
                                       enum tx_fn fn)
{
    struct list list = {0};
    if (!list_add(parser, &list, parse_or(parser)))
        return NULL;
    bool words = take_word(parser, "FROM");
    if (words || take_op(parser, ",")) {
        if (!list_add(parser, &list, parse_or(parser)))
            return NULL;
        if ((words ? take_word(parser, "FOR") : take_op(parser, ",")) &&
            !list_add(parser, &list, parse_or(parser)))
            return NULL;
    }
    return need_op(parser, ")", "\")\"") ? finish_call(parser, name, fn, &list) : NULL;
}

/* POSITION(x IN y) */
static struct tx_node *parse_position(struct parser *parser, const struct tx_token *name)
{
    struct list list = {0};
    if (!list_add(parser, &list, parse_sum(parser)) || !need_word(parser, "IN") ||
        !list_add(parser, &list, parse_sum(parser)) || !need_op(parser, ")", "\")\""))
        return NULL;
    return finish_call(parser, name, TX_FN_POSITION, &list);
}

/* EXTRACT(unit FROM x), TIMESTAMPADD(unit, n, x), TIMESTAMPDIFF(unit, a, b) */
static struct tx_node *parse_with_unit(struct parser *parser, const struct tx_token *name,
                                       enum tx_fn fn)
{
    struct list list = {0};
    const struct tx_token *at = parser->at;
    enum tx_unit unit = parse_unit(parser);
    if (unit == TX_UNIT_NONE)
        return NULL;
    if (fn != TX_FN_EXTRACT && unit >= TX_DOW)
        return bad(parser, at->at, "this unit is for EXTRACT only");
    if (fn == TX_FN_EXTRACT ? !need_word(parser, "FROM") : !need_op(parser, ",", "\",\""))
        return NULL;
    do {
        if (!list_add(parser, &list, parse_or(parser)))
            return NULL;
    } while (take_op(parser, ","));
    if (!need_op(parser, ")", "\")\""))
        return NULL;
    struct tx_node *node = finish_call(parser, name, fn, &list);
    if (node != NULL)
        node->unit = unit;
    return node;
}

/* YEAR(x) is EXTRACT(YEAR FROM x). */
static enum tx_unit unit_of_function(enum tx_fn fn)
{
    switch (fn) {
    case TX_FN_YEAR:
        return TX_YEAR;
    case TX_FN_QUARTER:
        return TX_QUARTER;
    case TX_FN_MONTH:
        return TX_MONTH;
    case TX_FN_WEEK:
        return TX_WEEK;
    case TX_FN_DAY:
    case TX_FN_DAYOFMONTH:
        return TX_DAY;
    case TX_FN_DAYOFWEEK:
        return TX_DOW;
    case TX_FN_DAYOFYEAR:
        return TX_DOY;
    case TX_FN_HOUR:
        return TX_HOUR;
    case TX_FN_MINUTE:
        return TX_MINUTE;
    case TX_FN_SECOND:
        return TX_SECOND;
    default:
        return TX_UNIT_NONE;
    }
}

/* The parser stands behind "name (". */
static struct tx_node *parse_call(struct parser *parser, const struct tx_token *name)
{
    enum tx_fn fn;
    if (is_word(name, "TRIM"))
        return parse_trim(parser, name);
    if (is_word(name, "POSITION"))
        return parse_position(parser, name);
    if (is_word(name, "EXTRACT"))
        return parse_with_unit(parser, name, TX_FN_EXTRACT);
    if (is_word(name, "TIMESTAMPADD") || is_word(name, "TIMESTAMP_ADD"))
        return parse_with_unit(parser, name, TX_FN_TIMESTAMPADD);
    if (is_word(name, "TIMESTAMPDIFF") || is_word(name, "TIMESTAMP_DIFF"))
        return parse_with_unit(parser, name, TX_FN_TIMESTAMPDIFF);
    if (!find_function(parser, name, &fn))
        return NULL;
    if (fn == TX_FN_SUBSTRING || fn == TX_FN_SUBSTR)
        return parse_substring(parser, name, fn);
    struct list list = {0};
    if (!take_op(parser, ")")) {
        do {
            if (!list_add(parser, &list, parse_or(parser)))
                return NULL;
        } while (take_op(parser, ","));
        if (!need_op(parser, ")", "\",\" or \")\""))
            return NULL;
    }
    struct tx_node *node = finish_call(parser, name, fn, &list);
    if (node != NULL)
        node->unit = unit_of_function(fn);
    return node;
}

static struct tx_node *parse_case(struct parser *parser, uint32_t at)
{
    struct list list = {0};
    bool operand = !is_word(parser->at, "WHEN"), otherwise = false;
    if (operand && !list_add(parser, &list, parse_or(parser)))
        return NULL;
    if (!is_word(parser->at, "WHEN"))
        return expected(parser, "WHEN");
    while (take_word(parser, "WHEN")) {
        if (!list_add(parser, &list, parse_or(parser)) || !need_word(parser, "THEN") ||
            !list_add(parser, &list, parse_or(parser)))
            return NULL;
    }
    if (take_word(parser, "ELSE")) {
        otherwise = true;
        if (!list_add(parser, &list, parse_or(parser)))
            return NULL;
    }
    if (!take_word(parser, "END"))
        return expected(parser, "WHEN, ELSE or END");
    struct tx_node *node = list_node(parser, TX_N_CASE, at, &list);
    if (node != NULL) {
        node->has_operand = operand;
        node->has_else = otherwise;
    }
    return node;
}

/* ---- expressions --------------------------------------------------------------------------------
 */

static bool is_reserved(const struct tx_token *token)
{
    static const char *const words[] = {"AND",     "OR",     "NOT",   "IS",     "IN",  "LIKE",
                                        "BETWEEN", "WHEN",   "THEN",  "ELSE",   "END", "AS",
                                        "FROM",    "SELECT", "WHERE", "ESCAPE", "FOR"};
    if (token->kind != TX_T_WORD)
        return false;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (strcasecmp(token->text, words[i]) == 0)
            return true;
    }
    return false;
}

static struct tx_node *parse_column(struct parser *parser, const struct tx_token *name)
{
    struct tx_node *node = node_new(parser, TX_N_COLUMN, name->at, 0);
    if (node == NULL)
        return NULL;
    node->name = name->text;
    node->quoted = name->kind == TX_T_QUOTED;
    if (take_op(parser, ".")) {
        const struct tx_token *second = parser->at;
        if (second->kind != TX_T_WORD && second->kind != TX_T_QUOTED)
            return expected(parser, "a column's name");
        parser->at++;
        node->qualifier = node->name;
        node->name = second->text;
        node->quoted = second->kind == TX_T_QUOTED;
    }
    return node;
}

static bool is_typed_literal(const struct parser *parser)
{
    return parser->at[1].kind == TX_T_STRING &&
           (is_word(parser->at, "DATE") || is_word(parser->at, "TIME") ||
            is_word(parser->at, "TIMESTAMP"));
}

static struct tx_node *parse_word(struct parser *parser)
{
    const struct tx_token *token = parser->at;
    struct list none = {0};
    if (is_typed_literal(parser)) {
        enum tr_type type = is_word(token, "DATE")   ? TR_T_DATE
                            : is_word(token, "TIME") ? TR_T_TIME
                                                     : TR_T_TIMESTAMP;
        parser->at++;
        return cast_node(parser, token->at, parse_string(parser), tx_type_plain(type));
    }
    parser->at++;
    if (take_op(parser, "(")) {
        if (is_word(token, "CAST") || is_word(token, "TRY_CAST")) {
            parser->at--;
            return parse_cast(parser, token->at, is_word(token, "TRY_CAST"));
        }
        return parse_call(parser, token);
    }
    if (is_word(token, "CASE"))
        return parse_case(parser, token->at);
    if (is_word(token, "INTERVAL") &&
        (parser->at->kind == TX_T_STRING || parser->at->kind == TX_T_INT || is_op(parser->at, "-")))
        return parse_interval(parser, token->at);
    if (is_word(token, "NULL"))
        return constant(parser, token->at, (struct tx_type){.type = TR_T_STRING, .kind = TX_NULL},
                        tx_null());
    if (is_word(token, "TRUE") || is_word(token, "FALSE"))
        return constant(parser, token->at, tx_type_plain(TR_T_BOOLEAN),
                        tx_int(is_word(token, "TRUE")));
    static const enum tx_fn bare[] = {TX_FN_LOCALTIME, TX_FN_LOCALTIMESTAMP, TX_FN_CURRENT_TIME,
                                      TX_FN_CURRENT_DATE, TX_FN_CURRENT_TIMESTAMP};
    for (size_t i = 0; i < sizeof bare / sizeof *bare; i++) {
        if (is_word(token, tx_fns[bare[i]].name))
            return finish_call(parser, token, bare[i], &none);
    }
    return parse_column(parser, token);
}

static struct tx_node *parse_primary(struct parser *parser)
{
    const struct tx_token *token = parser->at;
    if (token->kind == TX_T_INT || token->kind == TX_T_DEC || token->kind == TX_T_DBL)
        return parse_number(parser);
    if (token->kind == TX_T_STRING || token->kind == TX_T_BLOB)
        return parse_string(parser);
    if (token->kind == TX_T_QUOTED) {
        parser->at++;
        return parse_column(parser, token);
    }
    if (token->kind == TX_T_WORD && !is_reserved(token))
        return parse_word(parser);
    if (take_op(parser, "(")) {
        struct tx_node *node = parse_or(parser);
        return node != NULL && need_op(parser, ")", "\")\"") ? node : NULL;
    }
    return expected(parser, "a value");
}

static struct tx_node *parse_unary(struct parser *parser)
{
    const struct tx_token *token = parser->at;
    if (!deeper(parser))
        return NULL;
    struct tx_node *node;
    if (take_op(parser, "-")) {
        const struct tx_token *next = parser->at;
        node = parse_unary(parser);
        bool literal = node != NULL && node->kind == TX_N_CONST && node->value.kind == TX_VAL_INT &&
                       next->kind == TX_T_INT;
        if (literal) {
            node->value.i = -node->value.i;
        } else if (node != NULL && next->kind == TX_T_INT &&
                   strcmp(next->text, "9223372036854775808") == 0) {
            node->type =
                tx_type_plain(TR_T_INT64); /* the smallest BIGINT: its digits alone are none */
            node->value = tx_int(INT64_MIN);
        } else {
            node = call1(parser, TX_FN_NEG, token->at, node);
        }
    } else if (take_op(parser, "+")) {
        node = parse_unary(parser);
    } else {
        node = parse_primary(parser);
    }
    parser->depth--;
    return node;
}

static struct tx_node *parse_product(struct parser *parser)
{
    struct tx_node *left = parse_unary(parser);
    while (left != NULL) {
        const struct tx_token *token = parser->at;
        enum tx_fn fn = is_op(token, "*")   ? TX_FN_MUL
                        : is_op(token, "/") ? TX_FN_DIV
                        : is_op(token, "%") ? TX_FN_MOD
                                            : TX_FN_COUNT;
        if (fn == TX_FN_COUNT)
            break;
        parser->at++;
        left = call2(parser, fn, token->at, left, parse_unary(parser));
    }
    return left;
}

static struct tx_node *parse_sum(struct parser *parser)
{
    struct tx_node *left = parse_product(parser);
    while (left != NULL) {
        const struct tx_token *token = parser->at;
        enum tx_fn fn = is_op(token, "+")    ? TX_FN_ADD
                        : is_op(token, "-")  ? TX_FN_SUB
                        : is_op(token, "||") ? TX_FN_CONCAT
                                             : TX_FN_COUNT;
        if (fn == TX_FN_COUNT)
            break;
        parser->at++;
        left = call2(parser, fn, token->at, left, parse_product(parser));
    }
    return left;
}

static enum tx_fn comparison(const struct tx_token *token)
{
    static const struct {
        const char *op;
        enum tx_fn fn;
    } ops[] = {{"=", TX_FN_EQ}, {"==", TX_FN_EQ}, {"<>", TX_FN_NE}, {"!=", TX_FN_NE},
               {"<", TX_FN_LT}, {"<=", TX_FN_LE}, {">", TX_FN_GT},  {">=", TX_FN_GE}};
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) {
        if (is_op(token, ops[i].op))
            return ops[i].fn;
    }
    return TX_FN_COUNT;
}

static struct tx_node *parse_is(struct parser *parser, uint32_t at, struct tx_node *left)
{
    bool negated = take_word(parser, "NOT");
    enum tx_fn fn = TX_FN_IS_NULL;
    if (take_word(parser, "TRUE"))
        fn = TX_FN_IS_TRUE;
    else if (take_word(parser, "FALSE"))
        fn = TX_FN_IS_FALSE;
    else if (!take_word(parser, "NULL") && !take_word(parser, "UNKNOWN"))
        return expected(parser, "NULL, TRUE or FALSE");
    struct tx_node *node = call1(parser, fn, at, left);
    if (node != NULL)
        node->negated = negated;
    return node;
}

static struct tx_node *parse_tail(struct parser *parser, uint32_t at, struct tx_node *left,
                                  bool negated)
{
    struct list list = {0};
    struct tx_node *node = NULL;
    if (!list_add(parser, &list, left))
        return NULL;
    if (take_word(parser, "BETWEEN")) {
        (void)take_word(parser, "ASYMMETRIC");
        if (!list_add(parser, &list, parse_sum(parser)) || !need_word(parser, "AND") ||
            !list_add(parser, &list, parse_sum(parser)))
            return NULL;
        node = list_node(parser, TX_N_CALL, at, &list);
        if (node != NULL)
            node->fn = TX_FN_BETWEEN;
    } else if (take_word(parser, "LIKE")) {
        if (!list_add(parser, &list, parse_sum(parser)) ||
            (take_word(parser, "ESCAPE") && !list_add(parser, &list, parse_sum(parser))))
            return NULL;
        node = list_node(parser, TX_N_CALL, at, &list);
        if (node != NULL)
            node->fn = TX_FN_LIKE;
    } else if (take_word(parser, "IN")) {
        if (!need_op(parser, "(", "\"(\""))
            return NULL;
        do {
            if (!list_add(parser, &list, parse_or(parser)))
                return NULL;
        } while (take_op(parser, ","));
        if (!need_op(parser, ")", "\",\" or \")\""))
            return NULL;
        node = list_node(parser, TX_N_CALL, at, &list);
        if (node != NULL)
            node->fn = TX_FN_IN;
    } else {
        return expected(parser, "BETWEEN, LIKE or IN");
    }
    if (node != NULL)
        node->negated = negated;
    return node;
}

static struct tx_node *parse_predicate(struct parser *parser)
{
    struct tx_node *left = parse_sum(parser);
    while (left != NULL) {
        const struct tx_token *token = parser->at;
        if (comparison(token) != TX_FN_COUNT) {
            parser->at++;
            left = call2(parser, comparison(token), token->at, left, parse_sum(parser));
        } else if (take_word(parser, "IS")) {
            left = parse_is(parser, token->at, left);
        } else if (take_word(parser, "NOT")) {
            left = parse_tail(parser, token->at, left, true);
        } else if (is_word(token, "BETWEEN") || is_word(token, "LIKE") || is_word(token, "IN")) {
            left = parse_tail(parser, token->at, left, false);
        } else {
            break;
        }
    }
    return left;
}

static struct tx_node *parse_not(struct parser *parser)
{
    const struct tx_token *token = parser->at;
    if (!take_word(parser, "NOT"))
        return parse_predicate(parser);
    if (!deeper(parser))
        return NULL;
    struct tx_node *node = call1(parser, TX_FN_NOT, token->at, parse_not(parser));
    parser->depth--;
    return node;
}

static struct tx_node *parse_and(struct parser *parser)
{
    struct tx_node *left = parse_not(parser);
    while (left != NULL && is_word(parser->at, "AND")) {
        uint32_t at = (parser->at++)->at;
        left = call2(parser, TX_FN_AND, at, left, parse_not(parser));
    }
    return left;
}

static struct tx_node *parse_or(struct parser *parser)
{
    if (!deeper(parser))
        return NULL;
    struct tx_node *left = parse_and(parser);
    while (left != NULL && is_word(parser->at, "OR")) {
        uint32_t at = (parser->at++)->at;
        left = call2(parser, TX_FN_OR, at, left, parse_and(parser));
    }
    parser->depth--;
    return left;
}

/* ---- whole texts --------------------------------------------------------------------------------
 */

static enum tr_status start(struct parser *parser, const struct tx_origin *origin,
                            struct tr_arena *arena, struct tr_error *err)
{
    struct tx_token *tokens;
    uint32_t count;
    *parser = (struct parser){.origin = origin, .arena = arena, .err = err};
    if (tx_lex(origin, arena, &tokens, &count, err) != TR_OK)
        return TR_FAIL;
    parser->tokens = parser->at = tokens;
    return TR_OK;
}

/* A chain such as a + b + c makes a deep tree without deep parsing; what walks it recurses. */
static bool tree_is_deep(const struct tx_node *node, unsigned left)
{
    if (left == 0)
        return true;
    for (uint32_t i = 0; i < node->count; i++) {
        if (tree_is_deep(node->args[i], left - 1))
            return true;
    }
    return false;
}
#define TREE_DEPTH_MAX 200

static enum tr_status check_tree(struct parser *parser, const struct tx_node *node)
{
    if (tree_is_deep(node, TREE_DEPTH_MAX))
        return tx_fail_at(parser->err, TR_E_TRANSFORM_LIMIT, parser->origin, node->at,
                          "more than %d operators in a row", TREE_DEPTH_MAX);
    return TR_OK;
}

enum tr_status tx_parse_expression(const struct tx_origin *origin, struct tr_arena *arena,
                                   struct tx_node **out, struct tr_error *err)
{
    struct parser parser;
    if (start(&parser, origin, arena, err) != TR_OK)
        return TR_FAIL;
    *out = parse_or(&parser);
    if (*out == NULL)
        return TR_FAIL;
    if (parser.at->kind != TX_T_END) {
        (void)expected(&parser, "an operator, or the end,");
        return TR_FAIL;
    }
    return check_tree(&parser, *out);
}

static bool is_name(const struct tx_token *token)
{
    return token->kind == TX_T_QUOTED || (token->kind == TX_T_WORD && !is_reserved(token));
}

static enum tr_status parse_item(struct parser *parser, struct tx_item *item)
{
    *item = (struct tx_item){.at = parser->at->at};
    if (take_op(parser, "\\")) {
        if (!need_op(parser, "*", "\"*\" behind the backslash"))
            return TR_FAIL;
        return TR_OK;
    }
    if (take_op(parser, "*"))
        return TR_OK;
    if (is_name(parser->at) && is_op(parser->at + 1, ".") && is_op(parser->at + 2, "*")) {
        item->qualifier = parser->at->text;
        parser->at += 3;
        return TR_OK;
    }
    item->expr = parse_or(parser);
    if (item->expr == NULL || check_tree(parser, item->expr) != TR_OK)
        return TR_FAIL;
    bool as = take_word(parser, "AS");
    if (is_name(parser->at)) {
        item->name = (parser->at++)->text;
    } else if (as) {
        (void)expected(parser, "a name");
        return TR_FAIL;
    } else if (item->expr->kind == TX_N_COLUMN) {
        item->name = item->expr->name;
    } else if (is_op(parser->at, ",") || parser->at->kind == TX_T_END) {
        (void)bad(parser, item->at, "what is computed needs a name");
        return tr_hint(parser->err, "Write: … AS name");
    }
    return TR_OK;
}

enum tr_status tx_parse_projection(const struct tx_origin *origin, struct tr_arena *arena,
                                   struct tx_items *out, struct tr_error *err)
{
    struct parser parser;
    if (start(&parser, origin, arena, err) != TR_OK)
        return TR_FAIL;
    uint32_t commas = 1;
    for (const struct tx_token *token = parser.tokens; token->kind != TX_T_END; token++)
        commas += is_op(token, ",") ? 1 : 0;
    out->count = 0;
    out->items = tr_arena_alloc(arena, commas * sizeof *out->items, _Alignof(struct tx_item));
    if (out->items == NULL)
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for an expression");
    do {
        if (out->count == TX_ITEMS_MAX)
            return tx_fail_at(err, TR_E_TRANSFORM_LIMIT, origin, parser.at->at,
                              "more than %u items", TX_ITEMS_MAX);
        if (parse_item(&parser, &out->items[out->count]) != TR_OK)
            return TR_FAIL;
        out->count++;
    } while (take_op(&parser, ","));
    if (parser.at->kind == TX_T_END)
        return TR_OK;
    (void)expected(&parser, "\",\", or AS and a name,");
    return TR_FAIL;
}

enum tr_status tx_parse_names(const struct tx_origin *origin, struct tr_arena *arena,
                              const char ***names, uint32_t *count, struct tr_error *err)
{
    struct parser parser;
    if (start(&parser, origin, arena, err) != TR_OK)
        return TR_FAIL;
    uint32_t commas = 1;
    for (const struct tx_token *token = parser.tokens; token->kind != TX_T_END; token++)
        commas += is_op(token, ",") ? 1 : 0;
    *count = 0;
    *names = tr_arena_alloc(arena, commas * sizeof **names, _Alignof(const char *));
    if (*names == NULL)
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for an expression");
    do {
        if (parser.at->kind != TX_T_WORD && parser.at->kind != TX_T_QUOTED) {
            (void)expected(&parser, "a column's name");
            return TR_FAIL;
        }
        (*names)[(*count)++] = (parser.at++)->text;
    } while (take_op(&parser, ","));
    if (parser.at->kind == TX_T_END)
        return TR_OK;
    (void)expected(&parser, "\",\"");
    return TR_FAIL;
}
