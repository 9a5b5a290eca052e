/* JSON strings, numbers and base64. Strings are looked through eight bytes at a time: a run without
 * anything to escape is copied as it is. Pure. */
#include "encode/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/swar.h"

#define FLOAT_DIGITS_MAX 800 /* a double's longest exact decimal has 767 digits */

/* Escapes of bytes below 0x80: 0 = none, 'u' = \u00XX, else the letter behind the backslash. */
static const char escapes[128] = {
    [0] = 'u',  [1] = 'u',  [2] = 'u',  [3] = 'u',  [4] = 'u',   [5] = 'u',    [6] = 'u',
    [7] = 'u',  [8] = 'b',  [9] = 't',  [10] = 'n', [11] = 'u',  [12] = 'f',   [13] = 'r',
    [14] = 'u', [15] = 'u', [16] = 'u', [17] = 'u', [18] = 'u',  [19] = 'u',   [20] = 'u',
    [21] = 'u', [22] = 'u', [23] = 'u', [24] = 'u', [25] = 'u',  [26] = 'u',   [27] = 'u',
    [28] = 'u', [29] = 'u', [30] = 'u', [31] = 'u', ['"'] = '"', ['\\'] = '\\'};

/* Marks controls, quotes, backslashes and what is not ASCII. */
static uint64_t special_bytes(uint64_t word)
{
    return tr_swar_below(word, 0x20) | tr_swar_equal(word, '"') | tr_swar_equal(word, '\\') |
           (word & TR_SWAR_HIGHS);
}

/* Length of the valid UTF-8 sequence at ptr (2 to 4), 0 when there is none. No surrogates, no
 * overlong forms, nothing above U+10FFFF (RFC 3629). */
static size_t utf8_sequence(const unsigned char *ptr, size_t left)
{
    unsigned char first = ptr[0];
    unsigned char low = 0x80, high = 0xbf;
    size_t len;
    if (first >= 0xc2 && first <= 0xdf) {
        len = 2;
    } else if (first >= 0xe0 && first <= 0xef) {
        len = 3;
        low = first == 0xe0 ? 0xa0 : 0x80;
        high = first == 0xed ? 0x9f : 0xbf;
    } else if (first >= 0xf0 && first <= 0xf4) {
        len = 4;
        low = first == 0xf0 ? 0x90 : 0x80;
        high = first == 0xf4 ? 0x8f : 0xbf;
    } else {
        return 0;
    }
    if (left < len || ptr[1] < low || ptr[1] > high)
        return 0;
    for (size_t i = 2; i < len; i++) {
        if ((ptr[i] & 0xc0) != 0x80)
            return 0;
    }
    return len;
}

void tr_json_escape(struct tr_outbuf *out, const char *ptr, size_t len)
{
    static const char hex[] = "0123456789abcdef";
    size_t start = 0, i = 0;
    while (i < len) {
        while (i + 8 <= len) {
            uint64_t marks = special_bytes(tr_swar_load(ptr + i));
            if (marks != 0) {
                i += tr_swar_first(marks);
                break;
            }
            i += 8;
        }
        if (i >= len)
            break;
        unsigned char c = (unsigned char)ptr[i];
        if (c < 0x80) {
            char escape = escapes[c];
            if (escape == 0) {
                i++;
                continue;
            }
            tr_outbuf_bytes(out, ptr + start, i - start);
            if (escape == 'u') {
                char code[6] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};
                tr_outbuf_bytes(out, code, sizeof code);
            } else {
                char code[2] = {'\\', escape};
                tr_outbuf_bytes(out, code, sizeof code);
            }
            start = ++i;
            continue;
        }
        size_t sequence = utf8_sequence((const unsigned char *)ptr + i, len - i);
        if (sequence == 0) {
            tr_outbuf_bytes(out, ptr + start, i - start);
            tr_outbuf_lit(out, "\xef\xbf\xbd");
            start = ++i;
        } else {
            i += sequence;
        }
    }
    tr_outbuf_bytes(out, ptr + start, len - start);
}

void tr_json_string(struct tr_outbuf *out, const char *ptr, size_t len)
{
    if (!tr_outbuf_reserve(out, len + 2))
        return;
    tr_outbuf_byte(out, '"');
    tr_json_escape(out, ptr, len);
    tr_outbuf_byte(out, '"');
}

static const char *alphabet_of(enum tr_base64_alphabet alphabet)
{
    return alphabet == TR_BASE64_URL
               ? "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
               : "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
}

/* One group of 1 to 3 bytes. */
static char *base64_group(char *to, const char *letters, const unsigned char *bytes, size_t count)
{
    uint32_t group = (uint32_t)bytes[0] << 16 | (count > 1 ? (uint32_t)bytes[1] << 8 : 0) |
                     (count > 2 ? (uint32_t)bytes[2] : 0);
    to[0] = letters[group >> 18];
    to[1] = letters[group >> 12 & 63];
    to[2] = count > 1 ? letters[group >> 6 & 63] : '=';
    to[3] = count > 2 ? letters[group & 63] : '=';
    return to + 4;
}

void tr_json_base64(struct tr_outbuf *out, const void *ptr, size_t len,
                    enum tr_base64_alphabet alphabet)
{
    const unsigned char *bytes = ptr;
    size_t size = (len + 2) / 3 * 4;
    if (!tr_outbuf_reserve(out, size))
        return;
    const char *letters = alphabet_of(alphabet);
    char *to = out->data + out->len;
    for (size_t i = 0; i < len; i += 3)
        to = base64_group(to, letters, bytes + i, len - i < 3 ? len - i : 3);
    out->len += size;
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

bool tr_json_hex_base64(struct tr_outbuf *out, const char *hex, size_t len,
                        enum tr_base64_alphabet alphabet)
{
    if (len % 2 != 0)
        return false;
    size_t count = len / 2, size = (count + 2) / 3 * 4;
    if (!tr_outbuf_reserve(out, size))
        return true; /* the sticky flag tells */
    const char *letters = alphabet_of(alphabet);
    char *to = out->data + out->len;
    for (size_t i = 0; i < count; i += 3) {
        unsigned char bytes[3] = {0};
        size_t group = count - i < 3 ? count - i : 3;
        for (size_t j = 0; j < group; j++) {
            int high = hex_digit(hex[2 * (i + j)]), low = hex_digit(hex[2 * (i + j) + 1]);
            if (high < 0 || low < 0)
                return false;
            bytes[j] = (unsigned char)(high << 4 | low);
        }
        to = base64_group(to, letters, bytes, group);
    }
    out->len += size;
    return true;
}

bool tr_json_integer(struct tr_outbuf *out, const char *text, size_t len)
{
    size_t i = 0;
    if (len > 0 && text[0] == '+') {
        text++;
        len--;
    } else if (len > 0 && text[0] == '-') {
        i = 1;
    }
    if (i == len || (text[i] == '0' && len > i + 1))
        return false;
    for (; i < len; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
    }
    tr_outbuf_bytes(out, text, len);
    return true;
}

/* Significant digits d1d2…dn and the exponent e of 0.d1d2…dn × 10^e, as Java's Double.toString. */
static void java_number(struct tr_outbuf *out, bool negative, const char *digits, size_t count,
                        long exponent)
{
    if (negative)
        tr_outbuf_byte(out, '-');
    if (count == 0) {
        tr_outbuf_lit(out, "0.0");
    } else if (exponent > -3 && exponent <= 0) { /* 10^-3 <= value < 1 */
        tr_outbuf_lit(out, "0.");
        tr_outbuf_bytes(out, "00", (size_t)-exponent);
        tr_outbuf_bytes(out, digits, count);
    } else if (exponent > 0 && exponent <= 7) { /* 1 <= value < 10^7 */
        size_t whole = (size_t)exponent;
        tr_outbuf_bytes(out, digits, count < whole ? count : whole);
        tr_outbuf_bytes(out, "0000000", count < whole ? whole - count : 0);
        tr_outbuf_byte(out, '.');
        if (count > whole)
            tr_outbuf_bytes(out, digits + whole, count - whole);
        else
            tr_outbuf_byte(out, '0');
    } else {
        tr_outbuf_byte(out, digits[0]);
        tr_outbuf_byte(out, '.');
        if (count > 1)
            tr_outbuf_bytes(out, digits + 1, count - 1);
        else
            tr_outbuf_byte(out, '0');
        tr_outbuf_byte(out, 'E');
        tr_outbuf_i64(out, exponent - 1);
    }
}

static bool not_finite(struct tr_outbuf *out, const char *text, size_t len)
{
    static const char *const words[] = {"NaN", "Infinity", "-Infinity"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (len == strlen(words[i]) && memcmp(text, words[i], len) == 0) {
            tr_outbuf_byte(out, '"');
            tr_outbuf_bytes(out, text, len);
            tr_outbuf_byte(out, '"');
            return true;
        }
    }
    return false;
}

bool tr_json_float(struct tr_outbuf *out, const char *text, size_t len)
{
    char digits[FLOAT_DIGITS_MAX];
    size_t count = 0, i = 0, seen = 0;
    long exponent = 0, given = 0;
    bool negative = false, point = false;
    if (len > 0 && (text[0] == '-' || text[0] == '+'))
        negative = text[i++] == '-';
    for (; i < len; i++) {
        char c = text[i];
        if (c == '.') {
            if (point)
                return false;
            point = true;
        } else if (c >= '0' && c <= '9') {
            seen++;
            if (count == 0 && c == '0') { /* a leading zero */
                exponent -= point;
                continue;
            }
            if (count == sizeof digits)
                return false;
            digits[count++] = c;
            exponent += !point;
        } else {
            break;
        }
    }
    if (seen == 0)
        return not_finite(out, text, len);
    if (i < len && (text[i] == 'e' || text[i] == 'E')) {
        bool minus = false;
        if (++i < len && (text[i] == '-' || text[i] == '+'))
            minus = text[i++] == '-';
        if (i == len || len - i > 4)
            return false;
        for (; i < len; i++) {
            if (text[i] < '0' || text[i] > '9')
                return false;
            given = given * 10 + (text[i] - '0');
        }
        exponent += minus ? -given : given;
    }
    if (i != len)
        return false;
    while (count > 0 && digits[count - 1] == '0')
        count--;
    java_number(out, negative, digits, count, exponent);
    return true;
}

void tr_json_double(struct tr_outbuf *out, double value)
{
    char text[40];
    if (isnan(value)) {
        tr_outbuf_lit(out, "\"NaN\"");
        return;
    }
    if (isinf(value)) {
        tr_outbuf_str(out, value > 0 ? "\"Infinity\"" : "\"-Infinity\"");
        return;
    }
    int len = 0;
    for (int precision = 15; precision <= 17; precision++) { /* 17 digits always round-trip */
        len = snprintf(text, sizeof text, "%.*g", precision, value);
        if (strtod(text, NULL) == value)
            break;
    }
    (void)tr_json_float(out, text, (size_t)len);
}
