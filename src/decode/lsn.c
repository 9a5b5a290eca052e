/* PostgreSQL's log sequence numbers: "0/16B3748" ↔ number. Pure. */
#include <string.h>

#include "decode/pgoutput.h"

#define LSN_HALF_DIGITS_MAX 8

/* Without snprintf: every COMMIT event has one. */
static size_t put_half(char *out, uint32_t half)
{
    char digits[LSN_HALF_DIGITS_MAX];
    size_t count = 0;
    do {
        digits[LSN_HALF_DIGITS_MAX - ++count] = "0123456789ABCDEF"[half & 15];
        half >>= 4;
    } while (half != 0);
    memcpy(out, digits + LSN_HALF_DIGITS_MAX - count, count);
    return count;
}

const char *tr_lsn_format(uint64_t lsn, char *buf, size_t buf_size)
{
    char text[2 * LSN_HALF_DIGITS_MAX + 2];
    size_t len = put_half(text, (uint32_t)(lsn >> 32));
    text[len++] = '/';
    len += put_half(text + len, (uint32_t)lsn);
    text[len++] = '\0';
    if (buf_size < len) {
        if (buf_size > 0)
            buf[0] = '\0';
        return buf;
    }
    memcpy(buf, text, len);
    return buf;
}

/* 1 to 8 hex digits; NULL when there are none or too many. */
static const char *parse_half(const char *text, uint32_t *half)
{
    uint32_t value = 0;
    int digits = 0;
    for (;; text++, digits++) {
        uint32_t digit;
        if (*text >= '0' && *text <= '9')
            digit = (uint32_t)(*text - '0');
        else if (*text >= 'A' && *text <= 'F')
            digit = (uint32_t)(*text - 'A' + 10);
        else if (*text >= 'a' && *text <= 'f')
            digit = (uint32_t)(*text - 'a' + 10);
        else
            break;
        if (digits == LSN_HALF_DIGITS_MAX)
            return NULL;
        value = value << 4 | digit;
    }
    *half = value;
    return digits == 0 ? NULL : text;
}

bool tr_lsn_parse(const char *text, uint64_t *lsn)
{
    uint32_t high, low;
    text = parse_half(text, &high);
    if (text == NULL || *text != '/')
        return false;
    text = parse_half(text + 1, &low);
    if (text == NULL || *text != '\0')
        return false;
    *lsn = (uint64_t)high << 32 | low;
    return true;
}
