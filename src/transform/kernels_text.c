/* Kernels of text: what they do is told in docs/transforms.md. Characters are Unicode's, not bytes.
 * Case is that of the C library's C.UTF-8 locale (one character to one); without that locale only
 * ASCII's. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <locale.h>
#include <openssl/evp.h>
#include <pcre2.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <wctype.h>

#include "transform/program.h"
#include "transform/text.h"

/* ---- UTF-8 --------------------------------------------------------------------------------------
 */

bool tx_is_utf8(const char *text, size_t len)
{
    for (size_t i = 0; i < len;) {
        unsigned char c = (unsigned char)text[i];
        if (c == 0 || (c >= 0x80 && c < 0xC2) || c > 0xF4)
            return false;
        size_t bytes = c < 0x80 ? 1 : c < 0xE0 ? 2 : c < 0xF0 ? 3 : 4;
        if (bytes > len - i)
            return false;
        for (size_t k = 1; k < bytes; k++) {
            if (((unsigned char)text[i + k] & 0xC0) != 0x80)
                return false;
        }
        unsigned char d = bytes > 1 ? (unsigned char)text[i + 1] : 0;
        if ((c == 0xE0 && d < 0xA0) || (c == 0xED && d > 0x9F) || (c == 0xF0 && d < 0x90) ||
            (c == 0xF4 && d > 0x8F))
            return false;
        i += bytes;
    }
    return true;
}

size_t tx_char_count(const char *text, size_t len)
{
    size_t count = 0;
    for (size_t at = 0; at < len; at += tx_char_bytes(text + at, len - at))
        count++;
    return count;
}

size_t tx_char_offset(const char *text, size_t len, size_t index)
{
    size_t at = 0;
    for (; index > 0 && at < len; index--)
        at += tx_char_bytes(text + at, len - at);
    return at;
}

static uint32_t decode(const char *text, size_t bytes)
{
    const unsigned char *at = (const unsigned char *)text;
    switch (bytes) {
    case 2:
        return (uint32_t)(at[0] & 0x1F) << 6 | (at[1] & 0x3F);
    case 3:
        return (uint32_t)(at[0] & 0x0F) << 12 | (uint32_t)(at[1] & 0x3F) << 6 | (at[2] & 0x3F);
    case 4:
        return (uint32_t)(at[0] & 7) << 18 | (uint32_t)(at[1] & 0x3F) << 12 |
               (uint32_t)(at[2] & 0x3F) << 6 | (at[3] & 0x3F);
    default:
        return at[0];
    }
}

static size_t encode(uint32_t c, char *to)
{
    if (c < 0x80) {
        to[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        to[0] = (char)(0xC0 | c >> 6);
        to[1] = (char)(0x80 | (c & 0x3F));
        return 2;
    }
    if (c < 0x10000) {
        to[0] = (char)(0xE0 | c >> 12);
        to[1] = (char)(0x80 | (c >> 6 & 0x3F));
        to[2] = (char)(0x80 | (c & 0x3F));
        return 3;
    }
    to[0] = (char)(0xF0 | c >> 18);
    to[1] = (char)(0x80 | (c >> 12 & 0x3F));
    to[2] = (char)(0x80 | (c >> 6 & 0x3F));
    to[3] = (char)(0x80 | (c & 0x3F));
    return 4;
}

/* ---- case ---------------------------------------------------------------------------------------
 */

static locale_t unicode;
static pthread_once_t unicode_once = PTHREAD_ONCE_INIT;
static void open_unicode(void) { unicode = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0); }

static char ascii_case(char c, bool upper)
{
    if (upper)
        return c >= 'a' && c <= 'z' ? (char)(c - 32) : c;
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

static size_t change_char(const char *from, size_t bytes, bool upper, char *to)
{
    if (bytes == 1) {
        *to = ascii_case(*from, upper);
        return 1;
    }
    if (unicode == (locale_t)0) {
        memcpy(to, from, bytes);
        return bytes;
    }
    wint_t c = (wint_t)decode(from, bytes);
    return encode((uint32_t)(upper ? towupper_l(c, unicode) : towlower_l(c, unicode)), to);
}

enum casing { CASE_LOWER, CASE_UPPER, CASE_WORDS };

static bool change_case(struct tx_call *call, enum casing casing)
{
    const struct tx_val *text = &call->args[0];
    char *to =
        tx_call_alloc(call, (size_t)text->len * 2 + 4); /* a character grows by one byte at most */
    if (to == NULL)
        return false;
    size_t len = 0;
    bool within = false; /* a word */
    (void)pthread_once(&unicode_once, open_unicode);
    for (size_t at = 0; at < text->len;) {
        size_t bytes = tx_char_bytes(text->p + at, text->len - at);
        unsigned char c = (unsigned char)text->p[at];
        bool upper = casing == CASE_UPPER || (casing == CASE_WORDS && !within);
        len += change_char(text->p + at, bytes, upper, to + len);
        within = c >= 0x80 || (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z');
        at += bytes;
    }
    call->result = tx_text(to, len);
    return true;
}

static bool k_lower(struct tx_call *call) { return change_case(call, CASE_LOWER); }
static bool k_upper(struct tx_call *call) { return change_case(call, CASE_UPPER); }
static bool k_initcap(struct tx_call *call) { return change_case(call, CASE_WORDS); }

/* ---- pieces -------------------------------------------------------------------------------------
 */

static bool give_part(struct tx_call *call, const struct tx_val *text, size_t from, size_t to)
{
    call->result = tx_text(text->p + from, to > from ? to - from : 0);
    return true;
}

static bool give_int(struct tx_call *call, size_t value)
{
    call->result = tx_int((int64_t)value);
    return true;
}

/* A character of the set (blank without one) begins at `at`. */
static bool in_set(const struct tx_val *set, const char *at, size_t bytes)
{
    if (set == NULL)
        return *at == ' ';
    for (size_t i = 0; i < set->len;) {
        size_t each = tx_char_bytes(set->p + i, set->len - i);
        if (each == bytes && memcmp(set->p + i, at, bytes) == 0)
            return true;
        i += each;
    }
    return false;
}

static bool trim(struct tx_call *call, bool left, bool right)
{
    const struct tx_val *text = &call->args[0], *set = call->count > 1 ? &call->args[1] : NULL;
    size_t from = 0, to = text->len;
    while (left && from < to) {
        size_t bytes = tx_char_bytes(text->p + from, to - from);
        if (!in_set(set, text->p + from, bytes))
            break;
        from += bytes;
    }
    while (right && to > from) {
        size_t last = to - 1;
        while (last > from && ((unsigned char)text->p[last] & 0xC0) == 0x80)
            last--;
        if (!in_set(set, text->p + last, to - last))
            break;
        to = last;
    }
    return give_part(call, text, from, to);
}

static bool k_btrim(struct tx_call *call) { return trim(call, true, true); }
static bool k_ltrim(struct tx_call *call) { return trim(call, true, false); }
static bool k_rtrim(struct tx_call *call) { return trim(call, false, true); }

static bool k_char_length(struct tx_call *call)
{
    return give_int(call, tx_char_count(call->args[0].p, call->args[0].len));
}
static bool k_octet_length(struct tx_call *call) { return give_int(call, call->args[0].len); }

static bool k_ascii(struct tx_call *call)
{
    const struct tx_val *text = &call->args[0];
    return give_int(call, text->len == 0 ? 0 : decode(text->p, tx_char_bytes(text->p, text->len)));
}

/* From 1; a negative place counts from the end; 0 is 1. */
static bool k_substr(struct tx_call *call)
{
    const struct tx_val *text = &call->args[0];
    int64_t place = call->args[1].i, count = call->count > 2 ? call->args[2].i : INT64_MAX;
    int64_t characters = (int64_t)tx_char_count(text->p, text->len);
    int64_t first = place > 0             ? place - 1
                    : place == 0          ? 0
                    : place < -characters ? 0
                                          : characters + place;
    if (count <= 0 || first >= characters)
        return give_part(call, text, 0, 0);
    size_t from = tx_char_offset(text->p, text->len, (size_t)first);
    size_t to = count >= characters - first
                    ? text->len
                    : from + tx_char_offset(text->p + from, text->len - from, (size_t)count);
    return give_part(call, text, from, to);
}

static bool k_left(struct tx_call *call)
{
    const struct tx_val *text = &call->args[0];
    int64_t count = call->args[1].i;
    return give_part(call, text, 0,
                     count <= 0 ? 0 : tx_char_offset(text->p, text->len, (size_t)count));
}

static bool k_right(struct tx_call *call)
{
    const struct tx_val *text = &call->args[0];
    int64_t count = call->args[1].i, characters = (int64_t)tx_char_count(text->p, text->len);
    if (count <= 0)
        return give_part(call, text, 0, 0);
    size_t from =
        count >= characters ? 0 : tx_char_offset(text->p, text->len, (size_t)(characters - count));
    return give_part(call, text, from, text->len);
}

static bool pad(struct tx_call *call, bool left)
{
    static const struct tx_val blank = {.kind = TX_VAL_TEXT, .len = 1, .p = " "};
    const struct tx_val *text = &call->args[0], *with = call->count > 2 ? &call->args[2] : &blank;
    int64_t want = call->args[1].i, have = (int64_t)tx_char_count(text->p, text->len);
    if (want <= have || with->len == 0)
        return give_part(call, text, 0,
                         want <= 0 ? 0 : tx_char_offset(text->p, text->len, (size_t)want));
    size_t missing = (size_t)(want - have), with_count = tx_char_count(with->p, with->len);
    if (missing > TX_TEXT_BYTES_MAX)
        return tx_call_fail(call, "the text would be longer than %u MiB", TX_TEXT_BYTES_MAX >> 20);
    size_t whole = missing / with_count;
    size_t part = tx_char_offset(with->p, with->len, missing % with_count);
    size_t bytes = whole * with->len + part;
    char *to = tx_call_alloc(call, bytes + text->len);
    if (to == NULL)
        return false;
    char *at = left ? to : to + text->len;
    for (size_t i = 0; i < whole; i++)
        memcpy(at + i * with->len, with->p, with->len);
    memcpy(at + whole * with->len, with->p, part);
    memcpy(left ? to + bytes : to, text->p, text->len);
    call->result = tx_text(to, bytes + text->len);
    return true;
}

static bool k_lpad(struct tx_call *call) { return pad(call, true); }
static bool k_rpad(struct tx_call *call) { return pad(call, false); }

static bool k_repeat(struct tx_call *call)
{
    const struct tx_val *text = &call->args[0];
    int64_t count = call->args[1].i;
    if (count <= 0 || text->len == 0)
        return give_part(call, text, 0, 0);
    if (count > TX_TEXT_BYTES_MAX / (int64_t)text->len)
        return tx_call_fail(call, "the text would be longer than %u MiB", TX_TEXT_BYTES_MAX >> 20);
    char *to = tx_call_alloc(call, (size_t)count * text->len);
    if (to == NULL)
        return false;
    for (int64_t i = 0; i < count; i++)
        memcpy(to + i * text->len, text->p, text->len);
    call->result = tx_text(to, (size_t)count * text->len);
    return true;
}

static bool k_reverse(struct tx_call *call)
{
    const struct tx_val *text = &call->args[0];
    char *to = tx_call_alloc(call, text->len);
    if (to == NULL)
        return false;
    for (size_t at = 0; at < text->len;) {
        size_t bytes = tx_char_bytes(text->p + at, text->len - at);
        memcpy(to + text->len - at - bytes, text->p + at, bytes);
        at += bytes;
    }
    call->result = tx_text(to, text->len);
    return true;
}

static bool k_replace(struct tx_call *call)
{
    const struct tx_val *text = &call->args[0], *what = &call->args[1], *with = &call->args[2];
    size_t found = 0;
    if (what->len == 0)
        return give_part(call, text, 0, text->len);
    const char *end = text->p + text->len, *at = text->p;
    while ((at = memmem(at, (size_t)(end - at), what->p, what->len)) != NULL) {
        found++;
        at += what->len;
    }
    if (found == 0)
        return give_part(call, text, 0, text->len);
    if (with->len > what->len && found > TX_TEXT_BYTES_MAX / (with->len - what->len))
        return tx_call_fail(call, "the text would be longer than %u MiB", TX_TEXT_BYTES_MAX >> 20);
    size_t len = text->len + found * with->len - found * what->len;
    char *to = tx_call_alloc(call, len), *pen = to;
    if (to == NULL)
        return false;
    for (at = text->p;;) {
        const char *next = memmem(at, (size_t)(end - at), what->p, what->len);
        size_t keep = (size_t)((next == NULL ? end : next) - at);
        memcpy(pen, at, keep);
        pen += keep;
        if (next == NULL)
            break;
        memcpy(pen, with->p, with->len);
        pen += with->len;
        at = next + what->len;
    }
    call->result = tx_text(to, len);
    return true;
}

/* The part with this index, from 0; false: there is none. */
static bool find_part(const struct tx_val *text, const struct tx_val *by, int64_t index,
                      size_t *from, size_t *to)
{
    size_t at = 0;
    for (;; index--) {
        const char *next =
            by->len == 0 ? NULL : memmem(text->p + at, text->len - at, by->p, by->len);
        *from = at;
        *to = next == NULL ? text->len : (size_t)(next - text->p);
        if (index == 0)
            return true;
        if (next == NULL)
            return false;
        at = *to + by->len;
    }
}

static int64_t part_count(const struct tx_val *text, const struct tx_val *by)
{
    int64_t count = 1;
    const char *at = text->p, *end = text->p + text->len;
    while (by->len > 0 && (at = memmem(at, (size_t)(end - at), by->p, by->len)) != NULL) {
        at += by->len;
        count++;
    }
    return count;
}

static bool k_split_index(struct tx_call *call)
{
    size_t from, to;
    if (call->args[2].i < 0 ||
        !find_part(&call->args[0], &call->args[1], call->args[2].i, &from, &to))
        return true; /* NULL */
    return give_part(call, &call->args[0], from, to);
}

static bool k_split_part(struct tx_call *call)
{
    size_t from, to;
    int64_t index = call->args[2].i;
    if (index == 0)
        return tx_call_fail(call, "SPLIT_PART counts from 1");
    index = index > 0 ? index - 1 : part_count(&call->args[0], &call->args[1]) + index;
    if (index < 0 || !find_part(&call->args[0], &call->args[1], index, &from, &to))
        from = to = 0;
    return give_part(call, &call->args[0], from, to);
}

static bool find(struct tx_call *call, const struct tx_val *what, const struct tx_val *text,
                 int64_t start)
{
    size_t from = start <= 1 ? 0 : tx_char_offset(text->p, text->len, (size_t)start - 1);
    const char *found = memmem(text->p + from, text->len - from, what->p, what->len);
    return give_int(call,
                    found == NULL ? 0 : tx_char_count(text->p, (size_t)(found - text->p)) + 1);
}

static bool k_position(struct tx_call *call)
{
    return find(call, &call->args[0], &call->args[1], call->count > 2 ? call->args[2].i : 1);
}
static bool k_instr(struct tx_call *call) { return find(call, &call->args[1], &call->args[0], 1); }

/* ---- joining ------------------------------------------------------------------------------------
 */

static bool join(struct tx_call *call, const struct tx_val *between, uint32_t first)
{
    size_t len = 0, count = 0;
    for (uint32_t i = first; i < call->count; i++) {
        if (call->args[i].kind == TX_VAL_NULL)
            continue;
        len += call->args[i].len;
        count++;
    }
    if (count > 1 && between != NULL)
        len += (count - 1) * between->len;
    char *to = tx_call_alloc(call, len), *at = to;
    if (to == NULL)
        return false;
    for (uint32_t i = first; i < call->count; i++) {
        if (call->args[i].kind == TX_VAL_NULL)
            continue;
        memcpy(at, call->args[i].p, call->args[i].len);
        at += call->args[i].len;
        if (--count > 0 && between != NULL) {
            memcpy(at, between->p, between->len);
            at += between->len;
        }
    }
    call->result = tx_text(to, len);
    return true;
}

static bool k_concat(struct tx_call *call) { return join(call, NULL, 0); }
/* NULLs are left out; without a separator the result is NULL. */
static bool k_concat_ws(struct tx_call *call)
{
    return call->args[0].kind == TX_VAL_NULL || join(call, &call->args[0], 1);
}

/* ---- LIKE ---------------------------------------------------------------------------------------
 */

/* One character of the pattern: its bytes, and whether it stands for itself. */
struct like_char {
    const char *at;
    size_t bytes;
    bool plain;
};

static bool like_next(const struct tx_val *pattern, const struct tx_val *escape, size_t *at,
                      struct like_char *out)
{
    size_t bytes = tx_char_bytes(pattern->p + *at, pattern->len - *at);
    bool escaped =
        escape->len > 0 && bytes == escape->len && memcmp(pattern->p + *at, escape->p, bytes) == 0;
    if (escaped) {
        *at += bytes;
        if (*at == pattern->len)
            return false;
        bytes = tx_char_bytes(pattern->p + *at, pattern->len - *at);
    }
    *out = (struct like_char){pattern->p + *at, bytes,
                              escaped || (pattern->p[*at] != '%' && pattern->p[*at] != '_')};
    *at += bytes;
    return true;
}

/* Greedy, with one place to go back to: the last %. */
static bool like(const struct tx_val *text, const struct tx_val *pattern,
                 const struct tx_val *escape, bool *bad_escape)
{
    size_t at = 0, place = 0, star_at = SIZE_MAX, star_place = 0;
    for (;;) {
        struct like_char c;
        bool stuck = false;
        if (place < pattern->len) {
            size_t next = place;
            if (!like_next(pattern, escape, &next, &c)) {
                *bad_escape = true;
                return false;
            }
            size_t left = text->len - at;
            if (!c.plain && *c.at == '%') {
                star_at = at;
                place = star_place = next;
                continue;
            }
            size_t bytes = left == 0 ? 0 : tx_char_bytes(text->p + at, left);
            stuck = bytes == 0 ||
                    (c.plain && (bytes != c.bytes || memcmp(text->p + at, c.at, bytes) != 0));
            if (!stuck) {
                at += bytes;
                place = next;
            }
        } else if (at == text->len) {
            return true;
        } else {
            stuck = true;
        }
        if (stuck) {
            if (star_at == SIZE_MAX || star_at >= text->len)
                return false;
            star_at += tx_char_bytes(text->p + star_at, text->len - star_at);
            at = star_at;
            place = star_place;
        }
    }
}

static bool k_like(struct tx_call *call)
{
    static const struct tx_val backslash = {.kind = TX_VAL_TEXT, .len = 1, .p = "\\"};
    const struct tx_val *escape = call->count > 2 ? &call->args[2] : &backslash;
    bool bad_escape = escape->len > 0 && tx_char_bytes(escape->p, escape->len) != escape->len;
    bool matches = !bad_escape && like(&call->args[0], &call->args[1], escape, &bad_escape);
    if (bad_escape)
        return tx_call_fail(call, "ESCAPE takes one character, and the pattern may not end in it");
    call->result = tx_int(matches);
    return true;
}

/* ---- regular expressions ------------------------------------------------------------------------
 */

#define REGEX_STEPS_MAX 1000000u
#define REGEX_DEPTH_MAX 10000u

struct tx_regex {
    char *pattern;
    size_t len;
    pcre2_code *code;
    pcre2_match_data *match;
    pcre2_match_context *context;
};

void tx_regex_free(struct tx_regex *regex)
{
    if (regex == NULL)
        return;
    pcre2_match_data_free(regex->match);
    pcre2_match_context_free(regex->context);
    pcre2_code_free(regex->code);
    free(regex->pattern);
    free(regex);
}

static struct tx_regex *compile_regex(struct tx_call *call, const struct tx_val *pattern)
{
    int code;
    PCRE2_SIZE offset;
    struct tx_regex *regex = calloc(1, sizeof *regex);
    if (regex == NULL)
        goto no_memory;
    regex->pattern = malloc(pattern->len + 1u);
    if (regex->pattern == NULL)
        goto no_memory;
    memcpy(regex->pattern, pattern->p, pattern->len);
    regex->len = pattern->len;
    regex->code = pcre2_compile((PCRE2_SPTR)regex->pattern, regex->len,
                                PCRE2_UTF | PCRE2_NEVER_BACKSLASH_C, &code, &offset, NULL);
    if (regex->code == NULL) {
        (void)tx_call_fail(call, "the regular expression is wrong at its character %zu",
                           offset + 1);
        goto fail;
    }
    (void)pcre2_jit_compile(regex->code,
                            PCRE2_JIT_COMPLETE); /* without it matching is only slower */
    regex->match = pcre2_match_data_create_from_pattern(regex->code, NULL);
    regex->context = pcre2_match_context_create(NULL);
    if (regex->match == NULL || regex->context == NULL)
        goto no_memory;
    (void)pcre2_set_match_limit(regex->context, REGEX_STEPS_MAX);
    (void)pcre2_set_depth_limit(regex->context, REGEX_DEPTH_MAX);
    return regex;
no_memory:
    (void)tx_call_fail(call, "no memory for a regular expression");
fail:
    tx_regex_free(regex);
    return NULL;
}

/* Kept at the site until another pattern comes. */
struct tx_regex *tx_regex_get(struct tx_call *call, const struct tx_val *pattern)
{
    struct tx_regex **kept = &call->site->regex;
    if (*kept != NULL && (*kept)->len == pattern->len &&
        memcmp((*kept)->pattern, pattern->p, pattern->len) == 0)
        return *kept;
    tx_regex_free(*kept);
    *kept = compile_regex(call, pattern);
    return *kept;
}

/* 1 found, 0 not, -1 failed. */
static int match(struct tx_call *call, const struct tx_regex *regex, const struct tx_val *text,
                 size_t from, uint32_t options)
{
    int count = pcre2_match(regex->code, (PCRE2_SPTR)text->p, text->len, from, options,
                            regex->match, regex->context);
    if (count >= 0)
        return 1;
    if (count == PCRE2_ERROR_NOMATCH)
        return 0;
    (void)tx_call_fail(call,
                       "the regular expression takes too many steps, or the text is not UTF-8");
    return -1;
}

static bool k_regexp(struct tx_call *call)
{
    const struct tx_regex *regex = tx_regex_get(call, &call->args[1]);
    int found = regex == NULL ? -1 : match(call, regex, &call->args[0], 0, 0);
    call->result = tx_int(found == 1);
    return found >= 0;
}

static bool k_regexp_extract(struct tx_call *call)
{
    const struct tx_regex *regex = tx_regex_get(call, &call->args[1]);
    int64_t group = call->count > 2 ? call->args[2].i : 0;
    int found = regex == NULL ? -1 : match(call, regex, &call->args[0], 0, 0);
    if (found <= 0)
        return found == 0; /* NULL */
    const PCRE2_SIZE *places = pcre2_get_ovector_pointer(regex->match);
    if (group < 0 || group >= pcre2_get_ovector_count(regex->match))
        return tx_call_fail(call, "the regular expression has no group of this number");
    if (places[2 * group] == PCRE2_UNSET)
        return true;
    return give_part(call, &call->args[0], places[2 * group], places[2 * group + 1]);
}

/* Java's replacement: $1, ${name}, \$ */
static bool put_replacement(struct tx_call *call, const struct tx_regex *regex,
                            const struct tx_val *text, struct tr_outbuf *out)
{
    const struct tx_val *with = &call->args[2];
    const PCRE2_SIZE *places = pcre2_get_ovector_pointer(regex->match);
    uint32_t groups = pcre2_get_ovector_count(regex->match);
    for (size_t i = 0; i < with->len; i++) {
        char c = with->p[i];
        if (c == '\\' && i + 1 < with->len) {
            tr_outbuf_byte(out, with->p[++i]);
            continue;
        }
        if (c != '$') {
            tr_outbuf_byte(out, c);
            continue;
        }
        char name[40];
        size_t len = 0;
        uint32_t group = groups;
        if (i + 1 < with->len && with->p[i + 1] == '{') {
            for (i += 2; i < with->len && with->p[i] != '}' && len < sizeof name - 1; i++)
                name[len++] = with->p[i];
            name[len] = '\0';
            int number = pcre2_substring_number_from_name(regex->code, (PCRE2_SPTR)name);
            group = number > 0 ? (uint32_t)number : groups;
        } else if (i + 1 < with->len && with->p[i + 1] >= '0' && with->p[i + 1] <= '9') {
            group = (uint32_t)(with->p[++i] - '0');
            while (i + 1 < with->len && with->p[i + 1] >= '0' && with->p[i + 1] <= '9' &&
                   group * 10 + (uint32_t)(with->p[i + 1] - '0') < groups)
                group = group * 10 + (uint32_t)(with->p[++i] - '0');
        }
        if (group >= groups)
            return tx_call_fail(call,
                                "the replacement names a group that the regular expression lacks");
        if (places[2 * group] != PCRE2_UNSET)
            tr_outbuf_bytes(out, text->p + places[2 * group],
                            places[2 * group + 1] - places[2 * group]);
    }
    return true;
}

static bool replace_all(struct tx_call *call, const struct tx_regex *regex, struct tr_outbuf *out)
{
    const struct tx_val *text = &call->args[0];
    size_t at = 0, copied = 0;
    while (at <= text->len) {
        int found = match(call, regex, text, at, 0);
        if (found < 0)
            return false;
        if (found == 0)
            break;
        const PCRE2_SIZE *places = pcre2_get_ovector_pointer(regex->match);
        size_t from = places[0], to = places[1];
        if (to < from)
            return tx_call_fail(call, "\\K in a regular expression is not supported");
        tr_outbuf_bytes(out, text->p + copied, from - copied);
        if (!put_replacement(call, regex, text, out))
            return false;
        copied = to;
        at = to;
        if (to == from) { /* nothing matched: take the next character as it is */
            if (at == text->len)
                break;
            at += tx_char_bytes(text->p + at, text->len - at);
        }
        if (out->len > TX_TEXT_BYTES_MAX)
            return tx_call_fail(call, "the text would be longer than %u MiB",
                                TX_TEXT_BYTES_MAX >> 20);
    }
    tr_outbuf_bytes(out, text->p + copied, text->len - copied);
    return !out->failed || tx_call_fail(call, "no memory for a value");
}

static bool k_regexp_replace(struct tx_call *call)
{
    struct tr_outbuf out = {0};
    const struct tx_regex *regex = tx_regex_get(call, &call->args[1]);
    bool done =
        regex != NULL && replace_all(call, regex, &out) && tx_call_text(call, out.data, out.len);
    tr_outbuf_free(&out);
    return done;
}

/* ---- digests, JSON, helpers ---------------------------------------------------------------------
 */

static bool digest(struct tx_call *call, const EVP_MD *kind)
{
    unsigned char sum[EVP_MAX_MD_SIZE];
    unsigned int len = 0;
    const struct tx_val *text = &call->args[0];
    if (EVP_Digest(text->p, text->len, sum, &len, kind, NULL) != 1)
        return tx_call_fail(call, "OpenSSL does not offer this digest here");
    char *to = tx_call_alloc(call, len * 2u);
    if (to == NULL)
        return false;
    for (unsigned int i = 0; i < len; i++) {
        to[2 * i] = "0123456789abcdef"[sum[i] >> 4];
        to[2 * i + 1] = "0123456789abcdef"[sum[i] & 15];
    }
    call->result = tx_text(to, len * 2u);
    return true;
}

static bool k_md5(struct tx_call *call) { return digest(call, EVP_md5()); }
static bool k_sha1(struct tx_call *call) { return digest(call, EVP_sha1()); }
static bool k_sha256(struct tx_call *call) { return digest(call, EVP_sha256()); }
static bool k_sha512(struct tx_call *call) { return digest(call, EVP_sha512()); }

static bool k_scalar_text(struct tx_call *call)
{
    return tx_to_text(call, TX_INT, TR_T_FLOAT64, &call->args[0], &call->result);
}

static bool k_stash(struct tx_call *call)
{
    struct tx_val value = call->args[0];
    if (value.kind == TX_VAL_TEXT || value.kind == TX_VAL_BLOB) {
        char *copy = tx_call_alloc(call, value.len);
        if (copy == NULL)
            return false;
        memcpy(copy, value.p, value.len);
        value.p = copy;
    }
    call->site->kept = call->result = value;
    return true;
}

static bool k_load(struct tx_call *call)
{
    call->result = call->site->kept;
    return true;
}

const struct tx_kernel tx_kernels_text[] = {{"k_lower", k_lower, false},
                                            {"k_upper", k_upper, false},
                                            {"k_initcap", k_initcap, false},
                                            {"k_btrim", k_btrim, false},
                                            {"k_ltrim", k_ltrim, false},
                                            {"k_rtrim", k_rtrim, false},
                                            {"k_char_length", k_char_length, false},
                                            {"k_octet_length", k_octet_length, false},
                                            {"k_ascii", k_ascii, false},
                                            {"k_substr", k_substr, false},
                                            {"k_left", k_left, false},
                                            {"k_right", k_right, false},
                                            {"k_lpad", k_lpad, false},
                                            {"k_rpad", k_rpad, false},
                                            {"k_repeat", k_repeat, false},
                                            {"k_reverse", k_reverse, false},
                                            {"k_replace", k_replace, false},
                                            {"k_split_index", k_split_index, false},
                                            {"k_split_part", k_split_part, false},
                                            {"k_position", k_position, false},
                                            {"k_instr", k_instr, false},
                                            {"k_concat", k_concat, false},
                                            {"k_concat_ws", k_concat_ws, true},
                                            {"k_like", k_like, false},
                                            {"k_regexp", k_regexp, false},
                                            {"k_regexp_extract", k_regexp_extract, false},
                                            {"k_regexp_replace", k_regexp_replace, false},
                                            {"k_md5", k_md5, false},
                                            {"k_sha1", k_sha1, false},
                                            {"k_sha256", k_sha256, false},
                                            {"k_sha512", k_sha512, false},
                                            {"k_scalar_text", k_scalar_text, false},
                                            {"k_stash", k_stash, true},
                                            {"k_load", k_load, true},
                                            {NULL, NULL, false}};
