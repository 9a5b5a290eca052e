/* Text → tokens, and what errors of a place need. Comments: "-- to the end of the line" and
 * slash-star. */
#include <stdarg.h>
#include <stdio.h>
#include <strings.h>

#include "transform/ast.h"

#define CARET_WIDTH_MAX 120 /* bytes of a line that the detail shows */

enum tr_status tx_fail_at(struct tr_error *err, enum tr_code code, const struct tx_origin *origin,
                          size_t at, const char *format, ...)
{
    char why[400], place[300] = "";
    va_list args;
    va_start(args, format);
    (void)vsnprintf(why, sizeof why, format, args);
    va_end(args);
    size_t len = strlen(origin->text), line_from = 0;
    unsigned line = 0;
    if (at > len)
        at = len;
    for (size_t i = 0; i < at; i++) {
        if (origin->text[i] == '\n') {
            line++;
            line_from = i + 1;
        }
    }
    size_t in_line = at - line_from;
    if (origin->path != NULL && origin->line > 0)
        (void)snprintf(place, sizeof place, "%.200s:%u:%u: ", origin->path, origin->line + line,
                       (unsigned)in_line + (line == 0 ? origin->column : 1));
    (void)tr_fail(err, code, "%s%s: %s", place, origin->what, why);
    size_t from = line_from, shown = strcspn(origin->text + from, "\n");
    if (in_line >
        CARET_WIDTH_MAX / 2) { /* a long line: the part around the place, from a whole character */
        size_t skip = in_line - CARET_WIDTH_MAX / 2;
        while (skip > 0 && ((unsigned char)origin->text[from + skip] & 0xC0) == 0x80)
            skip--;
        from += skip;
        in_line -= skip;
        shown -= skip;
    }
    if (shown > CARET_WIDTH_MAX)
        shown = CARET_WIDTH_MAX;
    size_t characters = 0;
    for (size_t i = 0; i < in_line; i++)
        characters += ((unsigned char)origin->text[from + i] & 0xC0) != 0x80;
    return tr_detail(err, "%.*s\n%*s^", (int)shown, origin->text + from, (int)characters, "");
}

/* ---- the nearest name ---------------------------------------------------------------------------
 */

#define NEAREST_BYTES_MAX 63

static unsigned distance(const char *a, size_t a_len, const char *b, size_t b_len)
{
    unsigned row[NEAREST_BYTES_MAX + 1];
    for (size_t j = 0; j <= b_len; j++)
        row[j] = (unsigned)j;
    for (size_t i = 1; i <= a_len; i++) {
        unsigned corner = row[0];
        row[0] = (unsigned)i;
        for (size_t j = 1; j <= b_len; j++) {
            unsigned best = corner + ((a[i - 1] | 32) != (b[j - 1] | 32));
            corner = row[j];
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            row[j] = best;
        }
    }
    return row[b_len];
}

void tx_nearest_try(struct tx_nearest *nearest, const char *candidate)
{
    size_t a_len = strlen(nearest->word), b_len = strlen(candidate);
    if (a_len > NEAREST_BYTES_MAX || b_len > NEAREST_BYTES_MAX || a_len == 0)
        return;
    unsigned far = distance(nearest->word, a_len, candidate, b_len);
    if (far <= 1 + a_len / 4 && (nearest->best == NULL || far < nearest->distance)) {
        nearest->best = candidate;
        nearest->distance = far;
    }
}

/* ---- tokens -------------------------------------------------------------------------------------
 */

struct lexer {
    const struct tx_origin *origin;
    const char *text;
    size_t len, at;
    struct tr_arena *arena;
    struct tr_error *err;
};

static bool is_letter(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c >= 0x80;
}
static bool is_digit(unsigned char c) { return c >= '0' && c <= '9'; }
static unsigned char peek(const struct lexer *lexer, size_t ahead)
{
    return lexer->at + ahead < lexer->len ? (unsigned char)lexer->text[lexer->at + ahead] : 0;
}

static enum tr_status skip_blanks(struct lexer *lexer)
{
    for (;;) {
        unsigned char c = peek(lexer, 0);
        if (c == ' ' || c == '\t' || c == '\n' || c == '\r') {
            lexer->at++;
        } else if (c == '-' && peek(lexer, 1) == '-') {
            while (lexer->at < lexer->len && lexer->text[lexer->at] != '\n')
                lexer->at++;
        } else if (c == '/' && peek(lexer, 1) == '*') {
            const char *end = strstr(lexer->text + lexer->at + 2, "*/");
            if (end == NULL)
                return tx_fail_at(lexer->err, TR_E_TRANSFORM_SYNTAX, lexer->origin, lexer->at,
                                  "this comment is not closed");
            lexer->at = (size_t)(end - lexer->text) + 2;
        } else {
            return TR_OK;
        }
    }
}

static enum tr_status no_memory(struct lexer *lexer)
{
    return tr_fail(lexer->err, TR_E_OUT_OF_MEMORY, "no memory for an expression");
}

/* Content between quotes; a doubled quote is one. */
static enum tr_status lex_quoted(struct lexer *lexer, char quote, struct tx_token *token)
{
    size_t from = lexer->at++;
    char *text = tr_arena_alloc(lexer->arena, lexer->len - from + 1, 1);
    size_t len = 0;
    if (text == NULL)
        return no_memory(lexer);
    for (;;) {
        if (lexer->at == lexer->len)
            return tx_fail_at(lexer->err, TR_E_TRANSFORM_SYNTAX, lexer->origin, from,
                              quote == '\'' ? "this text is not closed"
                                            : "this name is not closed");
        char c = lexer->text[lexer->at++];
        if (c == quote) {
            if (peek(lexer, 0) != (unsigned char)quote)
                break;
            lexer->at++;
        }
        text[len++] = c;
    }
    text[len] = '\0';
    token->text = text;
    token->text_len = (uint32_t)len;
    if (quote != '\'' && len == 0)
        return tx_fail_at(lexer->err, TR_E_TRANSFORM_SYNTAX, lexer->origin, from, "an empty name");
    return TR_OK;
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

static enum tr_status lex_blob(struct lexer *lexer, struct tx_token *token)
{
    size_t from = lexer->at++;
    if (lex_quoted(lexer, '\'', token) != TR_OK)
        return TR_FAIL;
    char *text = (char *)(uintptr_t)token->text; /* just made by lex_quoted */
    for (uint32_t i = 0; i < token->text_len; i++) {
        if (hex_digit(text[i]) < 0 || token->text_len % 2 != 0)
            return tx_fail_at(lexer->err, TR_E_TRANSFORM_SYNTAX, lexer->origin, from,
                              "X'…' holds pairs of hexadecimal digits");
    }
    token->text_len /= 2;
    for (uint32_t i = 0; i < token->text_len; i++)
        text[i] = (char)(hex_digit(text[2 * i]) * 16 + hex_digit(text[2 * i + 1]));
    token->kind = TX_T_BLOB;
    return TR_OK;
}

static enum tr_status lex_number(struct lexer *lexer, struct tx_token *token)
{
    size_t from = lexer->at;
    token->kind = TX_T_INT;
    while (is_digit(peek(lexer, 0)))
        lexer->at++;
    if (peek(lexer, 0) == '.') {
        token->kind = TX_T_DEC;
        for (lexer->at++; is_digit(peek(lexer, 0));)
            lexer->at++;
    }
    unsigned char e = peek(lexer, 0), sign = peek(lexer, 1);
    bool has_sign = sign == '+' || sign == '-';
    if ((e == 'e' || e == 'E') && is_digit(peek(lexer, has_sign ? 2 : 1))) {
        token->kind = TX_T_DBL;
        for (lexer->at += has_sign ? 2 : 1; is_digit(peek(lexer, 0));)
            lexer->at++;
    }
    if (is_letter(peek(lexer, 0)) || peek(lexer, 0) == '.')
        return tx_fail_at(lexer->err, TR_E_TRANSFORM_SYNTAX, lexer->origin, from,
                          "this is neither a number nor a name");
    token->text_len = (uint32_t)(lexer->at - from);
    token->text = tr_arena_strndup(lexer->arena, lexer->text + from, token->text_len);
    return token->text == NULL ? no_memory(lexer) : TR_OK;
}

static enum tr_status lex_operator(struct lexer *lexer, struct tx_token *token)
{
    static const char *const operators[] = {"<>", "!=", "<=", ">=", "||", "==", "<", ">", "=", "+",
                                            "-",  "*",  "/",  "%",  "(",  ")",  ",", ".", "\\"};
    for (size_t i = 0; i < sizeof operators / sizeof *operators; i++) {
        size_t len = strlen(operators[i]);
        if (lexer->len - lexer->at >= len &&
            memcmp(lexer->text + lexer->at, operators[i], len) == 0) {
            token->kind = TX_T_OP;
            token->text = operators[i];
            token->text_len = (uint32_t)len;
            lexer->at += len;
            return TR_OK;
        }
    }
    (void)tx_fail_at(lexer->err, TR_E_TRANSFORM_SYNTAX, lexer->origin, lexer->at,
                     "this character has no meaning here");
    return TR_FAIL;
}

static enum tr_status lex_token(struct lexer *lexer, struct tx_token *token)
{
    if (skip_blanks(lexer) != TR_OK)
        return TR_FAIL;
    *token = (struct tx_token){.kind = TX_T_END, .at = (uint32_t)lexer->at, .text = ""};
    enum tr_status status = TR_OK;
    unsigned char c = peek(lexer, 0);
    if (lexer->at == lexer->len)
        return TR_OK;
    if ((c == 'x' || c == 'X') && peek(lexer, 1) == '\'') {
        status = lex_blob(lexer, token);
    } else if (is_letter(c)) {
        size_t from = lexer->at;
        while (is_letter(peek(lexer, 0)) || is_digit(peek(lexer, 0)) || peek(lexer, 0) == '$')
            lexer->at++;
        token->kind = TX_T_WORD;
        token->text_len = (uint32_t)(lexer->at - from);
        token->text = tr_arena_strndup(lexer->arena, lexer->text + from, token->text_len);
        if (token->text == NULL)
            status = no_memory(lexer);
    } else if (is_digit(c) || (c == '.' && is_digit(peek(lexer, 1)))) {
        status = lex_number(lexer, token);
    } else if (c == '\'') {
        token->kind = TX_T_STRING;
        status = lex_quoted(lexer, '\'', token);
    } else if (c == '"' || c == '`') {
        token->kind = TX_T_QUOTED;
        status = lex_quoted(lexer, (char)c, token);
    } else {
        status = lex_operator(lexer, token);
    }
    token->len = (uint32_t)lexer->at - token->at;
    return status;
}

enum tr_status tx_lex(const struct tx_origin *origin, struct tr_arena *arena,
                      struct tx_token **tokens, uint32_t *count, struct tr_error *err)
{
    struct lexer lexer = {origin, origin->text, strlen(origin->text), 0, arena, err};
    if (lexer.len > TX_TEXT_MAX)
        return tr_fail(err, TR_E_TRANSFORM_LIMIT, "%s: more than %u bytes", origin->what,
                       TX_TEXT_MAX);
    uint32_t capacity = (uint32_t)lexer.len + 1;
    if (capacity > TX_TOKENS_MAX)
        capacity = TX_TOKENS_MAX;
    *tokens = tr_arena_alloc(arena, capacity * sizeof **tokens, _Alignof(struct tx_token));
    if (*tokens == NULL)
        return no_memory(&lexer);
    *count = 0;
    for (;;) {
        if (*count == capacity)
            return tx_fail_at(err, TR_E_TRANSFORM_LIMIT, origin, lexer.at,
                              "more than %u words and signs", TX_TOKENS_MAX);
        struct tx_token *token = &(*tokens)[(*count)++];
        if (lex_token(&lexer, token) != TR_OK)
            return TR_FAIL;
        if (token->kind == TX_T_END)
            return TR_OK;
    }
}
