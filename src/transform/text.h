/* UTF-8. Bytes that are none count as one character each: nothing runs past the end. */
#ifndef TR_TRANSFORM_TEXT_H
#define TR_TRANSFORM_TEXT_H

#include "transform/value.h"

bool tx_is_utf8(const char *text, size_t len); /* and without NUL */
size_t tx_char_count(const char *text, size_t len);
/* Byte offset of the character with this index, at most len. */
size_t tx_char_offset(const char *text, size_t len, size_t index);
static inline size_t tx_char_bytes(const char *text, size_t left)
{
    unsigned char c = (unsigned char)*text;
    size_t bytes = c < 0xC0 ? 1 : c < 0xE0 ? 2 : c < 0xF0 ? 3 : 4;
    return bytes < left ? bytes : left;
}

#endif
