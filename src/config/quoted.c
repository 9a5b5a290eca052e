/* Quoted scalars, by YAML 1.2.2 chapter 7.3.
 *
 *   single:  ''             a quote
 *   double:  \ escape       one character, see escape(); \ at a line's end joins the lines
 *   both:    blanks, line end, blanks      a space; each further line end in it is a line end
 *
 * The text has passed libfyaml's scanner, so what is malformed here can only be refused. */
#include "config/quoted.h"

#include <stdint.h>
#include <string.h>

struct reader {
    const char *at, *end; /* end: the closing quote */
    char *out;
    size_t used;
    size_t kept; /* blanks from here on are dropped at a line's end */
};

static bool is_break(char c) { return c == '\n' || c == '\r'; }
static bool is_blank(char c) { return c == ' ' || c == '\t'; }

/* The closing quote, or NULL. */
static const char *find_end(char quote, const char *from, const char *limit)
{
    const char *p = from;
    while (p < limit) {
        if (*p == quote && !(quote == '\'' && p + 1 < limit && p[1] == '\''))
            return p;
        p += (*p == quote || (quote == '"' && *p == '\\')) ? 2 : 1;
    }
    return NULL;
}

static size_t skip_break(const char *at, const char *end)
{
    return at[0] == '\r' && at + 1 < end && at[1] == '\n' ? 2 : 1;
}

/* Line ends and blanks up to the next text. At first `at` is on the line end that counts as the
 * first; when that one was `escaped`, blanks before it stay and it gives nothing. */
static void fold(struct reader *r, bool escaped)
{
    size_t breaks = 0;
    if (!escaped)
        r->used = r->kept;
    while (r->at < r->end && (is_break(*r->at) || is_blank(*r->at))) {
        if (is_break(*r->at)) {
            breaks++;
            r->at += skip_break(r->at, r->end);
        } else {
            r->at++;
        }
    }
    if (breaks == 1 && !escaped)
        r->out[r->used++] = ' ';
    for (size_t i = 1; i < breaks; i++)
        r->out[r->used++] = '\n';
    r->kept = r->used;
}

static bool hex(struct reader *r, unsigned digits, uint32_t *code)
{
    *code = 0;
    for (unsigned i = 0; i < digits; i++) {
        if (r->at == r->end)
            return false;
        char c = *r->at++;
        unsigned value;
        if (c >= '0' && c <= '9')
            value = (unsigned)(c - '0');
        else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
            value = (unsigned)((c | 0x20) - 'a') + 10;
        else
            return false;
        *code = *code << 4 | value;
    }
    return true;
}

/* A surrogate pair, as JSON writes characters beyond U+FFFF. */
static bool surrogates(struct reader *r, uint32_t *code)
{
    uint32_t low;
    if (r->end - r->at < 6 || r->at[0] != '\\' || r->at[1] != 'u')
        return false;
    r->at += 2;
    if (!hex(r, 4, &low) || low < 0xdc00 || low > 0xdfff)
        return false;
    *code = 0x10000 + ((*code - 0xd800) << 10) + (low - 0xdc00);
    return true;
}

/* Never more bytes than its escape has. */
static bool put_code(struct reader *r, uint32_t code)
{
    char *out = r->out + r->used;
    size_t size = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    if (code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
        return false;
    if (size == 1) {
        out[0] = (char)code;
    } else {
        out[0] = (char)((0xf00u >> size & 0xffu) | code >> (6 * (size - 1)));
        for (size_t i = 1; i < size; i++)
            out[i] = (char)(0x80 | (code >> (6 * (size - 1 - i)) & 0x3f));
    }
    r->used += size;
    return true;
}

static bool escape(struct reader *r)
{
    static const char names[] = "0abtnvfre \"/\\N_LP\t";
    static const uint16_t codes[] = {0,   7,   8,   9,    10,   11,   12,     13,     27,
                                     ' ', '"', '/', '\\', 0x85, 0xa0, 0x2028, 0x2029, '\t'};
    uint32_t code;
    char c = *++r->at; /* find_end saw to it that there is one */
    if (is_break(c)) {
        fold(r, true);
        return true;
    }
    r->at++;
    if (c == 'x' || c == 'u' || c == 'U') {
        if (!hex(r, c == 'x' ? 2 : c == 'u' ? 4 : 8, &code))
            return false;
        if (code >= 0xd800 && code <= 0xdbff && c == 'u' && !surrogates(r, &code))
            return false;
    } else {
        const char *found = memchr(names, c, sizeof names - 1);
        if (found == NULL)
            return false;
        code = codes[found - names];
    }
    if (!put_code(r, code))
        return false;
    r->kept = r->used; /* an escaped blank is no blank to drop */
    return true;
}

char *tr_quoted_text(struct tr_pool *pool, char quote, const char *from, const char *limit,
                     size_t *len)
{
    const char *end = find_end(quote, from, limit);
    if (end == NULL)
        return NULL;
    struct reader r = {.at = from, .end = end};
    r.out = tr_pool_alloc(pool, (size_t)(end - from) + 1);
    if (r.out == NULL)
        return NULL;
    while (r.at < end) {
        char c = *r.at;
        if (is_break(c)) {
            fold(&r, false);
        } else if (c == '\\' && quote == '"') {
            if (!escape(&r))
                return NULL;
        } else {
            r.out[r.used++] = c;
            if (!is_blank(c))
                r.kept = r.used;
            r.at += c == '\'' && quote == '\'' ? 2 : 1;
        }
    }
    *len = r.used;
    r.out[r.used] = '\0';
    return r.out;
}
