/* PostgreSQL's COPY formats. Pure.
 *
 * Text → cells:
 *
 *   line  = field { TAB field } LF ;
 *   field = "\N"                         NULL
 *         | { byte | escape } ;          no TAB, LF or backslash among the bytes
 *   escape = "\" ( b | f | n | r | t | v | octal [octal [octal]] | x hex [hex] | other ) ;
 *
 * "other" stands for itself, as COPY FROM reads it (manual page of COPY, "Text Format"). A value
 * without an escape points into the line. The scan looks at eight bytes at once: TAB and LF are the
 * only frequent bytes below 14, and the backslash is the only other byte of interest.
 *
 * Binary (manual page of COPY, "Binary Format"), all numbers in network order:
 *
 *   file   = header { tuple } trailer ;
 *   header = "PGCOPY\n" 0xFF CR LF NUL, Int32 flags, Int32 bytes of extension, extension ;
 *   tuple  = Int16 number of fields, { Int32 length (-1: NULL), bytes } ;
 *   trailer = Int16 -1 ;
 *
 * The server puts each tuple into a message of its own, the first one behind the header; the
 * trailer is a message too, unless no row came before it. */
#include "decode/pgcopy.h"

#include <string.h>

#include "base/swar.h"

#define BELOW                                                                                      \
    14 /* TAB 9, LF 10 and what COPY writes as an escape anyway: BS 8, VT 11, FF 12, CR 13 */

/* First TAB, LF or backslash at or after `at`; `end` when there is none. */
static const char *find_special(const char *at, const char *end)
{
    while (end - at >= 8) {
        uint64_t word = tr_swar_load(at);
        uint64_t hits = tr_swar_below(word, BELOW) | tr_swar_equal(word, '\\');
        if (hits == 0) {
            at += 8;
            continue;
        }
        at += tr_swar_first(hits);
        if (*at == '\t' || *at == '\n' || *at == '\\')
            return at;
        at++;
    }
    while (at < end && *at != '\t' && *at != '\n' && *at != '\\')
        at++;
    return at;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

static bool is_octal(char c) { return c >= '0' && c <= '7'; }

/* One escape; at is behind the backslash, and not the end. NULL: it makes a NUL byte. */
static const char *unescape_one(const char *at, const char *end, char *out)
{
    char c = *at++;
    switch (c) {
    case 'b':
        *out = '\b';
        return at;
    case 'f':
        *out = '\f';
        return at;
    case 'n':
        *out = '\n';
        return at;
    case 'r':
        *out = '\r';
        return at;
    case 't':
        *out = '\t';
        return at;
    case 'v':
        *out = '\v';
        return at;
    default:
        break;
    }
    if (is_octal(c)) {
        int value = c - '0';
        for (int i = 0; i < 2 && at < end && is_octal(*at); i++)
            value = value * 8 + (*at++ - '0');
        *out = (char)(uint8_t)(value & 0xff);
        return *out == '\0' ? NULL : at;
    }
    if (c == 'x' && at < end && hex_digit(*at) >= 0) {
        int value = hex_digit(*at++);
        if (at < end && hex_digit(*at) >= 0)
            value = value * 16 + hex_digit(*at++);
        *out = (char)(uint8_t)value;
        return *out == '\0' ? NULL : at;
    }
    *out = c;
    return at;
}

/* A field with at least one escape: [start, first) is plain, *first is a backslash. Gives the end
 * of the field, or NULL with *why. */
static const char *unescape_field(const char *start, const char *first, const char *end,
                                  struct tr_cell *cell, struct tr_batch *batch, const char **why)
{
    /* the field's end bounds the value: an escaped TAB or LF is written with a letter, and a
     * backslash before a raw one is refused */
    const char *stop = first;
    while (stop < end && *stop == '\\') {
        if (end - stop < 2 || stop[1] == '\t' || stop[1] == '\n') {
            *why = "a backslash stands at the end of a value";
            return NULL;
        }
        stop = find_special(stop + 2, end);
    }
    char *value = tr_arena_alloc(&batch->arena, (size_t)(stop - start), 1);
    if (value == NULL) {
        *why = NULL;
        return NULL;
    }
    memcpy(value, start, (size_t)(first - start));
    char *out = value + (first - start);
    for (const char *at = first; at < stop;) {
        if (*at == '\\') {
            at = unescape_one(at + 1, stop, out++);
            if (at == NULL) {
                *why = "an escape stands for a NUL byte";
                return NULL;
            }
            continue;
        }
        const char *next = find_special(at, stop);
        memcpy(out, at, (size_t)(next - at));
        out += next - at;
        at = next;
    }
    cell->ptr = value;
    cell->len = (uint32_t)(out - value);
    return stop;
}

static enum tr_status bad_line(struct tr_error *err, size_t column_index, const char *why)
{
    return tr_fail(err, TR_E_PG_PROTOCOL,
                   "the server sent a malformed row of COPY: %s (at column %zu)", why,
                   column_index + 1);
}

enum tr_status tr_pgcopy_decode(struct tr_slice line, size_t column_count, struct tr_cell *cells,
                                struct tr_batch *batch, struct tr_error *err)
{
    if (line.len == 0 || line.ptr[line.len - 1] != '\n')
        return bad_line(err, 0, "its newline is missing");
    if (line.len > UINT32_MAX)
        return bad_line(err, 0, "it is longer than 4 GiB");
    const char *at = line.ptr, *end = line.ptr + line.len - 1; /* without the newline */
    if (column_count == 0)
        return at == end ? TR_OK : bad_line(err, 0, "it has more columns than the table");
    for (size_t i = 0;; i++) {
        const char *start = at;
        at = find_special(at, end);
        cells[i].ptr = start;
        cells[i].len = (uint32_t)(at - start);
        cells[i].state = TR_CELL_TEXT;
        if (at < end && *at == '\\') {
            if (at == start && end - at >= 2 && at[1] == 'N' && (end - at == 2 || at[2] == '\t')) {
                cells[i] = (struct tr_cell){.state = TR_CELL_NULL};
                at += 2;
            } else {
                const char *why = NULL;
                at = unescape_field(start, at, end, &cells[i], batch, &why);
                if (at == NULL)
                    return why != NULL ? bad_line(err, i, why)
                                       : tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for a value");
            }
        }
        if (at == end)
            return i + 1 == column_count ? TR_OK
                                         : bad_line(err, i, "it has fewer columns than the table");
        if (*at != '\t')
            return bad_line(err, i, "it has a newline inside");
        at++;
        if (i + 1 == column_count)
            return bad_line(err, i, "it has more columns than the table");
    }
}

#define SIGNATURE_BYTES 11
#define HEADER_BYTES (SIGNATURE_BYTES + 8)
#define FIELD_COUNT_BYTES 2

static uint32_t big_endian(const char *at, size_t bytes)
{
    uint32_t value = 0;
    for (size_t i = 0; i < bytes; i++)
        value = value << 8 | (uint8_t)at[i];
    return value;
}

static enum tr_status bad_tuple(struct tr_error *err, const char *why)
{
    return tr_fail(err, TR_E_PG_PROTOCOL, "the server sent a malformed piece of binary COPY: %s",
                   why);
}

enum tr_status tr_pgcopy_binary_row(struct tr_slice message, bool *header_seen,
                                    uint16_t column_count, struct tr_slice *row,
                                    struct tr_error *err)
{
    static const char signature[SIGNATURE_BYTES + 1] = "PGCOPY\n\377\r\n\0";
    *row = (struct tr_slice){0};
    if (!*header_seen) {
        if (message.len < HEADER_BYTES || memcmp(message.ptr, signature, SIGNATURE_BYTES) != 0)
            return bad_tuple(err, "its header is missing");
        if (big_endian(message.ptr + SIGNATURE_BYTES, 4) != 0 ||
            big_endian(message.ptr + SIGNATURE_BYTES + 4, 4) != 0)
            return bad_tuple(err, "its header has flags or an extension");
        *header_seen = true;
        message.ptr += HEADER_BYTES;
        message.len -= HEADER_BYTES;
        if (message.len == 0)
            return TR_OK;
    }
    if (message.len < FIELD_COUNT_BYTES)
        return bad_tuple(err, "it ends in the middle");
    uint32_t count = big_endian(message.ptr, FIELD_COUNT_BYTES);
    if (count == UINT16_MAX)
        return message.len == FIELD_COUNT_BYTES ? TR_OK : bad_tuple(err, "bytes follow its end");
    if (count != column_count)
        return bad_tuple(err, "a row has another number of columns than its table");
    *row = message;
    return TR_OK;
}
