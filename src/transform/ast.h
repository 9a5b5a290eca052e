/* Text → tokens → tree. A tree lives in an arena; names are folded nowhere, keywords by any case.
 *
 *   projection := item { ',' item }
 *   item       := ['\'] '*' | name '.' '*' | expr [ [AS] name ]
 *   expr       := or ; or := and { OR and } ; and := not { AND not } ; not := NOT not | predicate
 *   predicate  := sum { comparison sum | IS [NOT] (NULL|TRUE|FALSE|UNKNOWN) | [NOT] BETWEEN sum AND sum
 *                 | [NOT] LIKE sum [ESCAPE sum] | [NOT] IN '(' expr {',' expr} ')' }
 *   sum        := product { ('+'|'-'|'||') product } ; product := unary { ('*'|'/'|'%') unary }
 *   unary      := ('-'|'+') unary | primary
 *   primary    := literal | (DATE|TIME|TIMESTAMP) string | INTERVAL string unit | '(' expr ')'
 *                 | CASE … END | CAST '(' expr AS type ')' | name [ '.' name ] | name '(' arguments ')' */
#ifndef TR_TRANSFORM_AST_H
#define TR_TRANSFORM_AST_H

#include "base/arena.h"
#include "transform/times.h"
#include "transform/value.h"

#define TX_TEXT_MAX (64u << 10) /* bytes of one expression or projection */
#define TX_DEPTH_MAX 128 /* an expression in parentheses takes two */
#define TX_TOKENS_MAX 8192u
#define TX_ARGUMENTS_MAX 100u
#define TX_ITEMS_MAX 1600u

/* Where a text comes from: what errors say. */
struct tx_origin {
    const char *text;
    const char *path; /* NULL: unknown */
    unsigned line, column;
    const char *what; /* "projection" */
};
/* "file:12:20: projection: …", the line of the text and a caret in the detail. TR_FAIL. */
enum tr_status tx_fail_at(struct tr_error *err, enum tr_code code, const struct tx_origin *origin,
                          size_t at, const char *format, ...) __attribute__((format(printf, 5, 6)));

enum tx_fn {
#define TX_FN(id, name, min, max, args, result, kernel) TX_FN_##id,
#include "transform/functions.def"
#undef TX_FN
    TX_FN_COUNT
};
struct tx_fn_info {
    const char *name;
    uint8_t min, max; /* max 255: TX_ARGUMENTS_MAX */
    const char *args; /* a letter an argument, the last one repeats; see functions.def */
    char result;
    const char *kernel; /* "" when the compiler makes it */
};
extern const struct tx_fn_info tx_fns[TX_FN_COUNT];

enum tx_node_kind { TX_N_CONST, TX_N_COLUMN, TX_N_CALL, TX_N_CASE, TX_N_CAST, TX_N_INTERVAL };
struct tx_node {
    enum tx_node_kind kind;
    uint32_t at;           /* offset in the text */
    const struct tx_origin *origin;
    enum tx_fn fn;         /* CALL */
    bool negated;          /* CALL: NOT LIKE, IS NOT NULL … */
    bool has_operand;      /* CASE: args[0] is what is compared */
    bool has_else;         /* CASE: the last argument */
    bool try_;             /* CAST: TRY_CAST */
    bool quoted;           /* COLUMN */
    enum tx_unit unit;     /* INTERVAL, EXTRACT, TIMESTAMPADD, TIMESTAMPDIFF */
    uint32_t count;
    struct tx_node **args; /* CASE: [operand] {when then} [else] */
    struct tx_val value;   /* CONST; INTERVAL: count of units */
    const char *qualifier, *name; /* COLUMN */
    struct tx_type type;   /* CONST, CAST; the others' is set by the compiler */
    int input;             /* COLUMN: set by the compiler */
};
struct tx_item {
    struct tx_node *expr;  /* NULL: '*' */
    const char *qualifier; /* of t.*, or NULL */
    const char *name;      /* NULL: the column's */
    uint32_t at;
};
struct tx_items {
    struct tx_item *items;
    uint32_t count;
};

enum tr_status tx_parse_expression(const struct tx_origin *origin, struct tr_arena *arena,
                                   struct tx_node **out, struct tr_error *err) TR_WARN_UNUSED;
enum tr_status tx_parse_projection(const struct tx_origin *origin, struct tr_arena *arena,
                                   struct tx_items *out, struct tr_error *err) TR_WARN_UNUSED;
/* Comma-separated names, quoted or not. */
enum tr_status tx_parse_names(const struct tx_origin *origin, struct tr_arena *arena,
                              const char ***names, uint32_t *count,
                              struct tr_error *err) TR_WARN_UNUSED;
/* The nearest of some names to `word`, or NULL when none is near. */
struct tx_nearest {
    const char *word, *best;
    unsigned distance;
};
void tx_nearest_try(struct tx_nearest *nearest, const char *candidate);

/* ---- between the lexer and the parser ---- */
enum tx_token_kind {
    TX_T_END,
    TX_T_WORD,   /* name or keyword */
    TX_T_QUOTED, /* "name" `name` */
    TX_T_STRING,
    TX_T_BLOB, /* X'…' */
    TX_T_INT,
    TX_T_DEC,
    TX_T_DBL,
    TX_T_OP /* one or two characters */
};
struct tx_token {
    enum tx_token_kind kind;
    uint32_t at, len;
    const char *text; /* the name, the string's content, the digits, the operator; NUL-terminated */
    uint32_t text_len;
};
enum tr_status tx_lex(const struct tx_origin *origin, struct tr_arena *arena,
                      struct tx_token **tokens, uint32_t *count, struct tr_error *err) TR_WARN_UNUSED;

#endif
