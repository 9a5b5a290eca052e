/* COPY text format: fields separated by tabs, lines by newlines, \N is NULL; backslash, newline,
 * carriage return and tab are escaped (https://www.postgresql.org/docs/current/sql-copy.html).
 * Array literals: {a,"b c",NULL}, backslash and double quote are escaped within quotes
 * (https://www.postgresql.org/docs/current/arrays.html#ARRAYS-IO). */
#include "sink/postgres/encode.h"

#include <string.h>

#include "base/swar.h"

void tr_pgs_hex(char *out, const char *bytes, size_t len)
{
    static const char digits[] = "0123456789abcdef";
    *out++ = '\\';
    *out++ = 'x';
    for (size_t i = 0; i < len; i++) {
        unsigned char byte = (unsigned char)bytes[i];
        *out++ = digits[byte >> 4];
        *out++ = digits[byte & 15];
    }
}

/* Bytes that COPY escapes: the letter behind the backslash, 0 for all others. */
static const char copy_escapes[256] = {['\\'] = '\\', ['\n'] = 'n', ['\r'] = 'r', ['\t'] = 't'};

/* The first byte at or after `from` that may have to be escaped in COPY; len when there is none. */
static size_t copy_special(const char *text, size_t from, size_t len)
{
    while (from + 8 <= len) {
        uint64_t word = tr_swar_load(text + from);
        uint64_t marks = tr_swar_below(word, '\r' + 1) | tr_swar_equal(word, '\\');
        if (marks != 0)
            return from + tr_swar_first(marks);
        from += 8;
    }
    while (from < len && copy_escapes[(unsigned char)text[from]] == 0)
        from++;
    return from;
}

static void copy_text(struct tr_outbuf *out, const char *text, size_t len)
{
    size_t from = 0;
    for (size_t i = copy_special(text, 0, len); i < len; i = copy_special(text, i + 1, len)) {
        char escape = copy_escapes[(unsigned char)text[i]];
        if (escape == 0)
            continue;
        tr_outbuf_bytes(out, text + from, i - from);
        tr_outbuf_byte(out, '\\');
        tr_outbuf_byte(out, escape);
        from = i + 1;
    }
    tr_outbuf_bytes(out, text + from, len - from);
}

static void copy_hex(struct tr_outbuf *out, const struct tr_cell *cell)
{
    size_t bytes = (size_t)cell->len * 2 + 3;
    if (!tr_outbuf_reserve(out, bytes))
        return;
    out->data[out->len++] = '\\'; /* the backslash of \x, escaped */
    tr_pgs_hex(out->data + out->len, cell->ptr, cell->len);
    out->len += bytes - 1;
}

void tr_pgs_copy_line(struct tr_outbuf *out, const struct tr_cell *cells, const uint16_t *columns,
                      uint16_t count)
{
    for (uint16_t i = 0; i < count; i++) {
        const struct tr_cell *cell = &cells[columns[i]];
        if (i > 0)
            tr_outbuf_byte(out, '\t');
        if (cell->state == TR_CELL_TEXT)
            copy_text(out, cell->ptr, cell->len);
        else if (cell->state == TR_CELL_BINARY)
            copy_hex(out, cell);
        else
            tr_outbuf_lit(out, "\\N");
    }
    tr_outbuf_byte(out, '\n');
}

/* Length of the line without its newline. */
static size_t body_of(struct tr_slice line)
{
    return line.len > 0 && line.ptr[line.len - 1] == '\n' ? line.len - 1 : line.len;
}

bool tr_pgs_cut_line(struct tr_outbuf *out, struct tr_slice line, const int32_t *target_column,
                     uint16_t column_count)
{
    const char *at = line.ptr, *end = line.ptr + body_of(line);
    bool first = true;
    for (uint16_t i = 0; i < column_count; i++) {
        const char *tab = memchr(at, '\t', (size_t)(end - at));
        const char *stop = tab == NULL ? end : tab;
        if ((tab == NULL) != (i + 1 == column_count))
            return false;
        if (target_column[i] >= 0) {
            if (!first)
                tr_outbuf_byte(out, '\t');
            tr_outbuf_bytes(out, at, (size_t)(stop - at));
            first = false;
        }
        at = stop + 1;
    }
    tr_outbuf_byte(out, '\n');
    return true;
}

static unsigned hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return (unsigned)(c - '0');
    if (c >= 'a' && c <= 'f')
        return (unsigned)(c - 'a' + 10);
    if (c >= 'A' && c <= 'F')
        return (unsigned)(c - 'A' + 10);
    return 16;
}

/* One escape sequence behind its backslash; returns the bytes taken. */
static size_t unescape_one(const char *at, const char *end, char *out)
{
    static const char letters[] = "b\bf\fn\nr\rt\tv\v";
    for (size_t i = 0; i + 1 < sizeof letters - 1; i += 2) {
        if (*at == letters[i]) {
            *out = letters[i + 1];
            return 1;
        }
    }
    size_t taken = 0;
    unsigned value = 0;
    if (*at == 'x' && at + 1 < end && hex_value(at[1]) < 16) {
        for (taken = 1; taken < 3 && at + taken < end && hex_value(at[taken]) < 16; taken++)
            value = value * 16 + hex_value(at[taken]);
    } else {
        for (; taken < 3 && at + taken < end && at[taken] >= '0' && at[taken] <= '7'; taken++)
            value = value * 8 + (unsigned)(at[taken] - '0');
    }
    if (taken == 0) {
        *out = *at;
        return 1;
    }
    *out = (char)(unsigned char)value;
    return taken;
}

static bool field(const char *at, const char *end, struct tr_cell *cell, struct tr_arena *arena)
{
    size_t len = (size_t)(end - at);
    if (len == 2 && at[0] == '\\' && at[1] == 'N') {
        *cell = (struct tr_cell){.state = TR_CELL_NULL};
        return true;
    }
    char *text = tr_arena_alloc(arena, len + 1, 1);
    if (text == NULL || len > UINT32_MAX)
        return false;
    size_t out = 0;
    while (at < end) {
        const char *slash = memchr(at, '\\', (size_t)(end - at));
        const char *stop = slash == NULL ? end : slash;
        memcpy(text + out, at, (size_t)(stop - at));
        out += (size_t)(stop - at);
        at = stop;
        if (slash == NULL || slash + 1 == end)
            break;
        at += 1 + unescape_one(slash + 1, end, text + out);
        out++;
    }
    text[out] = '\0';
    *cell = (struct tr_cell){.ptr = text, .len = (uint32_t)out, .state = TR_CELL_TEXT};
    return true;
}

bool tr_pgs_split_line(struct tr_slice line, struct tr_cell *cells, uint16_t column_count,
                       struct tr_arena *arena)
{
    const char *at = line.ptr, *end = line.ptr + body_of(line);
    for (uint16_t i = 0; i < column_count; i++) {
        const char *tab = memchr(at, '\t', (size_t)(end - at));
        const char *stop = tab == NULL ? end : tab;
        if ((tab == NULL) != (i + 1 == column_count) || !field(at, stop, &cells[i], arena))
            return false;
        at = stop + 1;
    }
    return true;
}

bool tr_pgs_type_is_plain(enum tr_type type)
{
    switch (type) {
    case TR_T_BOOLEAN:
    case TR_T_INT8:
    case TR_T_INT16:
    case TR_T_INT32:
    case TR_T_INT64:
    case TR_T_UINT64:
    case TR_T_FLOAT32:
    case TR_T_FLOAT64:
    case TR_T_DECIMAL:
    case TR_T_DATE:
    case TR_T_TIME:
    case TR_T_TIMETZ:
    case TR_T_TIMESTAMP:
    case TR_T_TIMESTAMPTZ:
    case TR_T_UUID:
        return true;
    default:
        return false;
    }
}

/* The canonical forms of plain types hold no comma, brace, quote or backslash and do not begin or
 * end with a space; but a value of another origin might, and an empty one would be an error of
 * syntax. */
static bool looks_plain(const struct tr_cell *cell)
{
    static const bool stops[256] = {
        [0] = 1,  [1] = 1,  [2] = 1,  [3] = 1,  [4] = 1,  [5] = 1,  [6] = 1,  [7] = 1,
        [8] = 1,  [9] = 1,  [10] = 1, [11] = 1, [12] = 1, [13] = 1, [14] = 1, [15] = 1,
        [16] = 1, [17] = 1, [18] = 1, [19] = 1, [20] = 1, [21] = 1, [22] = 1, [23] = 1,
        [24] = 1, [25] = 1, [26] = 1, [27] = 1, [28] = 1, [29] = 1, [30] = 1, [31] = 1,
        [','] = 1, ['"'] = 1, ['\\'] = 1, ['{'] = 1, ['}'] = 1};
    if (cell->len == 0 || cell->ptr[0] == ' ' || cell->ptr[cell->len - 1] == ' ' ||
        cell->ptr[0] == 'n' || cell->ptr[0] == 'N')
        return false;
    bool found = false;
    for (uint32_t i = 0; i < cell->len; i++)
        found |= stops[(unsigned char)cell->ptr[i]];
    return !found;
}

/* The first quote or backslash at or after `from`; len when there is none. */
static size_t quote_special(const char *text, size_t from, size_t len)
{
    while (from + 8 <= len) {
        uint64_t word = tr_swar_load(text + from);
        uint64_t marks = tr_swar_equal(word, '"') | tr_swar_equal(word, '\\');
        if (marks != 0)
            return from + tr_swar_first(marks);
        from += 8;
    }
    while (from < len && text[from] != '"' && text[from] != '\\')
        from++;
    return from;
}

void tr_pgs_array_item(struct tr_outbuf *out, const struct tr_cell *cell, bool plain)
{
    if (cell->state != TR_CELL_TEXT) {
        tr_outbuf_lit(out, "NULL");
        return;
    }
    if (plain && looks_plain(cell)) {
        tr_outbuf_bytes(out, cell->ptr, cell->len);
        return;
    }
    tr_outbuf_byte(out, '"');
    size_t from = 0, len = cell->len;
    for (size_t i = quote_special(cell->ptr, 0, len); i < len;
         i = quote_special(cell->ptr, i + 1, len)) {
        tr_outbuf_bytes(out, cell->ptr + from, i - from);
        tr_outbuf_byte(out, '\\');
        from = i;
    }
    tr_outbuf_bytes(out, cell->ptr + from, len - from);
    tr_outbuf_byte(out, '"');
}
