#include "base/outbuf.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

bool tr_outbuf_reserve(struct tr_outbuf *out, size_t extra_bytes)
{
    if (out->failed)
        return false;
    if (out->capacity - out->len >= extra_bytes)
        return true;
    size_t needed, capacity = out->capacity < 256 ? 256 : out->capacity;
    if (__builtin_add_overflow(out->len, extra_bytes, &needed))
        goto fail;
    while (capacity < needed) {
        if (__builtin_mul_overflow(capacity, (size_t)2, &capacity))
            goto fail;
    }
    char *data = realloc(out->data, capacity);
    if (data == NULL)
        goto fail;
    out->data = data;
    out->capacity = capacity;
    return true;
fail:
    out->failed = true;
    return false;
}

void tr_outbuf_free(struct tr_outbuf *out)
{
    free(out->data);
    *out = (struct tr_outbuf){0};
}

void tr_outbuf_printf(struct tr_outbuf *out, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    va_list again;
    va_copy(again, args);
    int len = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (len < 0 || !tr_outbuf_reserve(out, (size_t)len + 1)) {
        out->failed = true;
    } else {
        (void)vsnprintf(out->data + out->len, (size_t)len + 1, format, again);
        out->len += (size_t)len;
    }
    va_end(again);
}

/* Writes the decimal digits so that they end before `end`; returns the first. At most 20. Two at a
 * time: a division costs more than a look at the table. */
static char *digits_before(char *end, uint64_t value)
{
    static const char pairs[] = "00010203040506070809101112131415161718192021222324"
                                "25262728293031323334353637383940414243444546474849"
                                "50515253545556575859606162636465666768697071727374"
                                "75767778798081828384858687888990919293949596979899";
    while (value >= 100) {
        end -= 2;
        memcpy(end, pairs + value % 100 * 2, 2);
        value /= 100;
    }
    if (value >= 10) {
        end -= 2;
        memcpy(end, pairs + value * 2, 2);
    } else {
        *--end = (char)('0' + value);
    }
    return end;
}

void tr_outbuf_u64(struct tr_outbuf *out, uint64_t value)
{
    char digits[20], *end = digits + sizeof digits, *first = digits_before(end, value);
    tr_outbuf_bytes(out, first, (size_t)(end - first));
}

void tr_outbuf_i64(struct tr_outbuf *out, int64_t value)
{
    char text[TR_I64_TEXT_MAX];
    tr_outbuf_bytes(out, text, tr_i64_text(value, text));
}

size_t tr_i64_text(int64_t value, char *out)
{
    char digits[20], *end = digits + sizeof digits;
    char *first = digits_before(end, value < 0 ? 0 - (uint64_t)value : (uint64_t)value);
    size_t len = (size_t)(end - first);
    if (value < 0)
        *out++ = '-';
    memcpy(out, first, len);
    return len + (value < 0);
}

const char *tr_outbuf_cstr(struct tr_outbuf *out)
{
    if (out->failed || !tr_outbuf_reserve(out, 1))
        return "";
    out->data[out->len] = '\0';
    return out->data;
}
