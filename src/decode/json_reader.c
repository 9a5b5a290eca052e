/* See the header. Pure; one thread per document.
 *
 * A loop with a stack of its own instead of recursion: three places (a value, a name, what follows
 * a value) and the stack says which container is open. Numbers and strings are only delimited and
 * checked; what they mean is for who asks.
 *
 *   value  = object | array | string | number | "true" | "false" | "null"
 *   object = "{" [ string ":" value { "," string ":" value } ] "}"
 *   array  = "[" [ value { "," value } ] "]" */
#include "decode/json_reader.h"

#include <stdlib.h>
#include <string.h>

#include "base/swar.h"

#define NODES_MIN 64u
#define NODES_KEPT_MAX 65536u /* a larger list is given back before the next message */
#define NOT_KEPT UINT32_MAX

static const char no_memory[] = "no memory for its parts";

struct open {
    uint32_t index; /* of the container's node, NOT_KEPT when it has none */
    uint32_t count;
    bool is_object;
};
struct scan {
    struct tr_json_doc *doc;
    const char *at, *end;
    unsigned depth, keep_depth;
    struct open stack[TR_JSON_DEPTH_MAX];
};

static bool fail_at(struct scan *scan, const char *at, const char *reason)
{
    scan->doc->reason = reason;
    scan->doc->offset = (size_t)(at - scan->doc->text);
    return false;
}

static bool grow(struct scan *scan)
{
    struct tr_json_doc *doc = scan->doc;
    uint32_t capacity = doc->node_capacity == 0 ? NODES_MIN : doc->node_capacity * 2;
    if (doc->node_capacity == TR_JSON_NODES_MAX)
        return fail_at(scan, scan->at, "too many values");
    struct tr_json_node *nodes = realloc(doc->nodes, capacity * sizeof *nodes);
    if (nodes == NULL)
        return fail_at(scan, scan->at, no_memory);
    doc->nodes = nodes;
    doc->node_capacity = capacity;
    return true;
}

static inline bool put(struct scan *scan, enum tr_json_kind kind, unsigned flags, const char *ptr,
                       size_t len)
{
    struct tr_json_doc *doc = scan->doc;
    if (scan->depth > scan->keep_depth)
        return true;
    if (doc->node_count == doc->node_capacity && !grow(scan))
        return false;
    uint32_t index = doc->node_count++;
    doc->nodes[index] =
        (struct tr_json_node){ptr, (uint32_t)len, index + 1, 0, (uint8_t)kind, (uint8_t)flags};
    return true;
}

static inline void skip_space(struct scan *scan)
{
    const char *at = scan->at;
    while (at < scan->end && (*at == ' ' || *at == '\n' || *at == '\r' || *at == '\t'))
        at++;
    scan->at = at;
}

/* ---- strings -------------------------------------------------------------------------------- */

/* Behind the UTF-8 sequence that begins at `at` (a byte >= 0x80), NULL when it is none. */
static const char *after_utf8(const char *at, const char *end)
{
    uint8_t first = (uint8_t)*at, low = 0x80, high = 0xbf;
    int more;
    if (first >= 0xc2 && first <= 0xdf) {
        more = 1;
    } else if (first >= 0xe0 && first <= 0xef) {
        more = 2;
        low = first == 0xe0 ? 0xa0 : 0x80;
        high = first == 0xed ? 0x9f : 0xbf; /* not the surrogates */
    } else if (first >= 0xf0 && first <= 0xf4) {
        more = 3;
        low = first == 0xf0 ? 0x90 : 0x80;
        high = first == 0xf4 ? 0x8f : 0xbf; /* not beyond U+10FFFF */
    } else {
        return NULL;
    }
    if (end - at <= more || (uint8_t)at[1] < low || (uint8_t)at[1] > high)
        return NULL;
    for (int i = 2; i <= more; i++) {
        if (((uint8_t)at[i] & 0xc0) != 0x80)
            return NULL;
    }
    return at + more + 1;
}

static int hex_digit(char byte)
{
    if (byte >= '0' && byte <= '9')
        return byte - '0';
    byte = (char)(byte | 0x20);
    return byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : -1;
}

/* The four digits of a \u escape at `at` (behind the u); -1 when they are not there. */
static int32_t hex4(const char *at, const char *end)
{
    int32_t unit = 0;
    if (end - at < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        int digit = hex_digit(at[i]);
        if (digit < 0)
            return -1;
        unit = unit << 4 | digit;
    }
    return unit;
}

/* The code point of the escape at `at` (the backslash); *behind is set. -1: not an escape, -2: half
 * a surrogate pair. */
static int32_t escape(const char *at, const char *end, const char **behind)
{
    static const char letters[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
    if (end - at < 2)
        return -1;
    if (at[1] != 'u') {
        const char *letter = memchr(letters, at[1], sizeof letters - 1);
        *behind = at + 2;
        return letter == NULL ? -1 : meant[letter - letters];
    }
    int32_t unit = hex4(at + 2, end);
    if (unit < 0)
        return -1;
    *behind = at + 6;
    if (unit < 0xd800 || unit > 0xdfff)
        return unit;
    if (unit > 0xdbff || end - at < 12 || at[6] != '\\' || at[7] != 'u')
        return -2;
    int32_t low = hex4(at + 8, end);
    if (low < 0)
        return -1;
    if (low < 0xdc00 || low > 0xdfff)
        return -2;
    *behind = at + 12;
    return 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
}

/* Behind the bytes that need no look: not a quote, a backslash, a control or a byte beyond ASCII.
 */
static inline const char *skip_plain(const char *at, const char *end)
{
    while (end - at >= 8) {
        uint64_t word = tr_swar_load(at);
        uint64_t hits = tr_swar_equal(word, '"') | tr_swar_equal(word, '\\') |
                        tr_swar_below(word, 0x20) | (word & TR_SWAR_HIGHS);
        if (hits != 0)
            return at + tr_swar_first(hits);
        at += 8;
    }
    while (at < end && *at != '"' && *at != '\\' && (uint8_t)*at >= 0x20 && (uint8_t)*at < 0x80)
        at++;
    return at;
}

/* What is not plain: one escape or one sequence. */
static bool string_special(struct scan *scan, const char **at, unsigned *flags)
{
    const char *here = *at;
    if (*here == '\\') {
        int32_t code = escape(here, scan->end, at);
        if (code < 0)
            return fail_at(scan, here,
                           code == -2 ? "half a surrogate pair"
                                      : "an escape that JSON does not know");
        *flags |= TR_JSON_ESCAPED | (code == 0 ? TR_JSON_NUL : 0u);
        return true;
    }
    if ((uint8_t)*here < 0x20)
        return fail_at(scan, here, "a control character within a string");
    *at = after_utf8(here, scan->end);
    return *at != NULL || fail_at(scan, here, "bytes that are not UTF-8");
}

/* scan->at is behind the opening quote. */
static inline bool string(struct scan *scan)
{
    const char *begin = scan->at, *at = begin;
    unsigned flags = 0;
    for (;;) {
        at = skip_plain(at, scan->end);
        if (at == scan->end)
            return fail_at(scan, at, "a string is not closed");
        if (*at == '"')
            break;
        if (!string_special(scan, &at, &flags))
            return false;
    }
    scan->at = at + 1;
    return put(scan, TR_JSON_STRING, flags, begin, (size_t)(at - begin));
}

/* ---- numbers and words ---------------------------------------------------------------------- */

static inline const char *skip_digits(const char *at, const char *end)
{
    while (at < end && *at >= '0' && *at <= '9')
        at++;
    return at;
}

static inline bool number(struct scan *scan)
{
    const char *begin = scan->at, *at = begin, *end = scan->end;
    unsigned flags = TR_JSON_INTEGER;
    at += *at == '-';
    const char *whole = at;
    at = skip_digits(at, end);
    if (at == whole)
        return fail_at(scan, at, "a number without a digit");
    if (*whole == '0' && at - whole > 1)
        return fail_at(scan, whole, "a number with a leading zero");
    if (at < end && *at == '.') {
        const char *fraction = ++at;
        flags = 0;
        at = skip_digits(at, end);
        if (at == fraction)
            return fail_at(scan, at, "a number without a digit behind its point");
    }
    if (at < end && (*at | 0x20) == 'e') {
        flags = 0;
        at++;
        at += at < end && (*at == '+' || *at == '-');
        const char *exponent = at;
        at = skip_digits(at, end);
        if (at == exponent)
            return fail_at(scan, at, "a number without a digit in its exponent");
    }
    scan->at = at;
    return put(scan, TR_JSON_NUMBER, flags, begin, (size_t)(at - begin));
}

static bool word(struct scan *scan, const char *text, size_t len, enum tr_json_kind kind)
{
    if ((size_t)(scan->end - scan->at) < len || memcmp(scan->at, text, len) != 0)
        return fail_at(scan, scan->at, "a word that is not true, false or null");
    const char *begin = scan->at;
    scan->at += len;
    return put(scan, kind, 0, begin, len);
}

/* ---- containers ----------------------------------------------------------------------------- */

static inline bool open_container(struct scan *scan, bool is_object)
{
    if (scan->depth == TR_JSON_DEPTH_MAX)
        return fail_at(scan, scan->at, "nested too deeply");
    uint32_t index = scan->depth <= scan->keep_depth ? scan->doc->node_count : NOT_KEPT;
    if (!put(scan, is_object ? TR_JSON_OBJECT : TR_JSON_ARRAY, 0, scan->at, 0))
        return false;
    scan->stack[scan->depth++] = (struct open){index, 0, is_object};
    scan->at++;
    return true;
}

static inline void close_container(struct scan *scan)
{
    const struct open *open = &scan->stack[--scan->depth];
    scan->at++;
    if (open->index == NOT_KEPT)
        return;
    struct tr_json_node *node = &scan->doc->nodes[open->index];
    node->len = (uint32_t)(scan->at - node->ptr);
    node->next = scan->doc->node_count;
    node->count = open->count;
}

static bool scalar(struct scan *scan)
{
    switch (*scan->at) {
    case '"':
        scan->at++;
        return string(scan);
    case 't':
        return word(scan, "true", 4, TR_JSON_TRUE);
    case 'f':
        return word(scan, "false", 5, TR_JSON_FALSE);
    case 'n':
        return word(scan, "null", 4, TR_JSON_NULL);
    case '-':
    case '0':
    case '1':
    case '2':
    case '3':
    case '4':
    case '5':
    case '6':
    case '7':
    case '8':
    case '9':
        return number(scan);
    default:
        return fail_at(scan, scan->at, "a character that begins no value");
    }
}

/* A member's name and its colon. */
static inline bool name(struct scan *scan)
{
    skip_space(scan);
    if (scan->at == scan->end || *scan->at != '"')
        return fail_at(scan, scan->at, "a member without a name in quotes");
    scan->at++;
    if (!string(scan))
        return false;
    if (scan->at < scan->end && *scan->at != ':')
        skip_space(scan);
    if (scan->at == scan->end || *scan->at != ':')
        return fail_at(scan, scan->at, "a member without a colon");
    scan->at++;
    return true;
}

/* Opens what begins here, down to the first value that is not a container or an empty one: true
 * with scan->at behind that value. */
static inline bool value(struct scan *scan)
{
    for (;;) {
        if (scan->at < scan->end && (uint8_t)*scan->at <= ' ')
            skip_space(scan);
        if (scan->at == scan->end)
            return fail_at(scan, scan->at, "it ends within a value");
        bool is_object = *scan->at == '{';
        if (!is_object && *scan->at != '[')
            return scalar(scan);
        if (!open_container(scan, is_object))
            return false;
        skip_space(scan);
        if (scan->at < scan->end && *scan->at == (is_object ? '}' : ']')) {
            close_container(scan);
            return true;
        }
        scan->stack[scan->depth - 1].count = 1;
        if (is_object && !name(scan))
            return false;
    }
}

/* Behind a value: closes what ends here. True: another value follows, or nothing is open any more.
 */
static inline bool behind_value(struct scan *scan)
{
    while (scan->depth > 0) {
        struct open *open = &scan->stack[scan->depth - 1];
        if (scan->at < scan->end && (uint8_t)*scan->at <= ' ')
            skip_space(scan);
        if (scan->at == scan->end)
            return fail_at(scan, scan->at, "an object or array is not closed");
        if (*scan->at == ',') {
            scan->at++;
            open->count++;
            return !open->is_object || name(scan);
        }
        if (*scan->at != (open->is_object ? '}' : ']'))
            return fail_at(scan, scan->at, "neither a comma nor the end behind a value");
        close_container(scan);
    }
    return true;
}

bool tr_json_parse(struct tr_json_doc *doc, struct tr_slice text, unsigned keep_depth)
{
    struct scan scan; /* the stack is not cleared: only what is below depth is read */
    scan.doc = doc;
    scan.at = text.ptr;
    scan.end = text.ptr + text.len;
    scan.depth = 0;
    scan.keep_depth = keep_depth;
    doc->text = text.ptr;
    doc->node_count = 0;
    doc->reason = NULL;
    if (doc->node_capacity > NODES_KEPT_MAX)
        tr_json_doc_free(doc);
    if (text.len > TR_JSON_BYTES_MAX)
        return fail_at(&scan, text.ptr, "longer than 1 GiB");
    if (text.len >= 3 && memcmp(text.ptr, "\xef\xbb\xbf", 3) == 0)
        return fail_at(&scan, text.ptr, "it begins with a byte order mark");
    do {
        if (!value(&scan) || !behind_value(&scan))
            return false;
    } while (scan.depth > 0);
    skip_space(&scan);
    return scan.at == scan.end || fail_at(&scan, scan.at, "something behind the value");
}

bool tr_json_no_memory(const struct tr_json_doc *doc) { return doc->reason == no_memory; }

void tr_json_doc_free(struct tr_json_doc *doc)
{
    free(doc->nodes);
    doc->nodes = NULL;
    doc->node_capacity = doc->node_count = 0;
}

/* ---- what strings hold ---------------------------------------------------------------------- */

static size_t put_utf8(int32_t code, char *out)
{
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    if (code < 0x800) {
        out[0] = (char)(0xc0 | code >> 6);
        out[1] = (char)(0x80 | (code & 0x3f));
        return 2;
    }
    if (code < 0x10000) {
        out[0] = (char)(0xe0 | code >> 12);
        out[1] = (char)(0x80 | (code >> 6 & 0x3f));
        out[2] = (char)(0x80 | (code & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | code >> 18);
    out[1] = (char)(0x80 | (code >> 12 & 0x3f));
    out[2] = (char)(0x80 | (code >> 6 & 0x3f));
    out[3] = (char)(0x80 | (code & 0x3f));
    return 4;
}

size_t tr_json_unescape(const struct tr_json_node *string, char *out)
{
    const char *at = string->ptr, *end = at + string->len;
    char *to = out;
    while (at < end) {
        const char *slash = memchr(at, '\\', (size_t)(end - at));
        size_t plain = (size_t)((slash == NULL ? end : slash) - at);
        memcpy(to, at, plain);
        to += plain;
        if (slash == NULL)
            break;
        int32_t code = escape(slash, end, &at);
        if (code < 0)
            break; /* cannot be: the reader has checked it */
        to += put_utf8(code, to);
    }
    return (size_t)(to - out);
}

bool tr_utf8_valid(const char *text, size_t len)
{
    const char *at = text, *end = text + len;
    while (at < end) {
        if ((uint8_t)*at >= 0x80)
            at = after_utf8(at, end);
        else
            at = *at == '\0' ? NULL : at + 1;
        if (at == NULL)
            return false;
    }
    return true;
}

bool tr_json_equal_escaped(const struct tr_json_node *string, const char *text, size_t len)
{
    const char *at = string->ptr, *end = at + string->len;
    while (at < end) {
        char units[4];
        size_t unit_len = 1;
        units[0] = *at;
        if (*at == '\\') {
            int32_t code = escape(at, end, &at);
            if (code < 0)
                return false;
            unit_len = put_utf8(code, units);
        } else {
            at++;
        }
        if (len < unit_len || memcmp(text, units, unit_len) != 0)
            return false;
        text += unit_len;
        len -= unit_len;
    }
    return len == 0;
}

const struct tr_json_node *tr_json_member(const struct tr_json_doc *doc,
                                          const struct tr_json_node *object, const char *name)
{
    const struct tr_json_node *found = NULL;
    size_t len = strlen(name);
    if (object == NULL || object->kind != TR_JSON_OBJECT)
        return NULL;
    uint32_t at = (uint32_t)(object - doc->nodes) + 1;
    for (uint32_t i = 0; i < object->count; i++) {
        const struct tr_json_node *member = &doc->nodes[at];
        if (tr_json_equal(member, name, len))
            found = member + 1;
        at = doc->nodes[at + 1].next;
    }
    return found;
}
