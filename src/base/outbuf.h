/* Outbuf: a growing byte buffer with a sticky out-of-memory flag, checked once at the end. */
#ifndef TR_BASE_OUTBUF_H
#define TR_BASE_OUTBUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct tr_outbuf {
    char *data; /* not NUL-terminated; see tr_outbuf_cstr */
    size_t len;
    size_t capacity;
    bool failed; /* an allocation failed: contents are not to be used */
};

bool tr_outbuf_reserve(struct tr_outbuf *out, size_t extra_bytes); /* false and failed=true: no memory */
void tr_outbuf_free(struct tr_outbuf *out);
void tr_outbuf_printf(struct tr_outbuf *out, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void tr_outbuf_u64(struct tr_outbuf *out, uint64_t value); /* decimal */
void tr_outbuf_i64(struct tr_outbuf *out, int64_t value);
#define TR_I64_TEXT_MAX 20
size_t tr_i64_text(int64_t value, char *out); /* decimal, without a NUL; returns the length */
/* NUL-terminates (the NUL is not counted) and returns data; "" after a failure. */
const char *tr_outbuf_cstr(struct tr_outbuf *out);

static inline void tr_outbuf_clear(struct tr_outbuf *out)
{
    out->len = 0;
    out->failed = false;
}
static inline void tr_outbuf_bytes(struct tr_outbuf *out, const void *ptr, size_t len)
{
    if (out->capacity - out->len < len && !tr_outbuf_reserve(out, len))
        return;
    if (len > 0)
        memcpy(out->data + out->len, ptr, len);
    out->len += len;
}
static inline void tr_outbuf_byte(struct tr_outbuf *out, char byte)
{
    if (out->capacity == out->len && !tr_outbuf_reserve(out, 1))
        return;
    out->data[out->len++] = byte;
}
static inline void tr_outbuf_str(struct tr_outbuf *out, const char *string)
{
    tr_outbuf_bytes(out, string, strlen(string));
}
#define tr_outbuf_lit(out, literal) tr_outbuf_bytes((out), "" literal, sizeof(literal) - 1)

#endif
