/* Cursor: reads big-endian wire bytes, never past the end. The first read that does not fit makes
 * the error sticky: it and every later read gives zero or an empty string, so that a decoder reads
 * a whole message and asks once, before it publishes anything. */
#ifndef TR_DECODE_CURSOR_H
#define TR_DECODE_CURSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct tr_cursor {
    const char *at, *end;
    bool failed;
};

static inline struct tr_cursor tr_cursor_of(const char *ptr, size_t len)
{
    return (struct tr_cursor){ptr, ptr + len, false};
}
static inline size_t tr_cursor_left(const struct tr_cursor *cursor)
{
    return (size_t)(cursor->end - cursor->at);
}
/* len bytes, or NULL (and the sticky error) when there are fewer. */
static inline const char *tr_cursor_bytes(struct tr_cursor *cursor, size_t len)
{
    const char *ptr = cursor->at;
    if (__builtin_expect(tr_cursor_left(cursor) < len, 0)) {
        cursor->failed = true;
        cursor->at = cursor->end;
        return NULL;
    }
    cursor->at += len;
    return ptr;
}
static inline uint8_t tr_cursor_u8(struct tr_cursor *cursor)
{
    const char *ptr = tr_cursor_bytes(cursor, 1);
    return ptr == NULL ? 0 : (uint8_t)*ptr;
}
static inline uint16_t tr_load_u16(const char *ptr)
{
    uint16_t value;
    memcpy(&value, ptr, sizeof value);
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    value = __builtin_bswap16(value);
#endif
    return value;
}
static inline uint32_t tr_load_u32(const char *ptr)
{
    uint32_t value;
    memcpy(&value, ptr, sizeof value);
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    value = __builtin_bswap32(value);
#endif
    return value;
}
static inline uint64_t tr_load_u64(const char *ptr)
{
    uint64_t value;
    memcpy(&value, ptr, sizeof value);
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    value = __builtin_bswap64(value);
#endif
    return value;
}
static inline uint16_t tr_cursor_u16(struct tr_cursor *cursor)
{
    const char *ptr = tr_cursor_bytes(cursor, 2);
    return ptr == NULL ? 0 : tr_load_u16(ptr);
}
static inline uint32_t tr_cursor_u32(struct tr_cursor *cursor)
{
    const char *ptr = tr_cursor_bytes(cursor, 4);
    return ptr == NULL ? 0 : tr_load_u32(ptr);
}
static inline uint64_t tr_cursor_u64(struct tr_cursor *cursor)
{
    const char *ptr = tr_cursor_bytes(cursor, 8);
    return ptr == NULL ? 0 : tr_load_u64(ptr);
}
/* A NUL-terminated string; "" and the sticky error when no NUL is left. */
static inline const char *tr_cursor_string(struct tr_cursor *cursor)
{
    size_t left = tr_cursor_left(cursor);
    const char *nul = left == 0 ? NULL : memchr(cursor->at, '\0', left);
    if (nul == NULL) {
        cursor->failed = true;
        cursor->at = cursor->end;
        return "";
    }
    const char *string = cursor->at;
    cursor->at = nul + 1;
    return string;
}

#endif
