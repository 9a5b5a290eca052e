/* Eight bytes at a time within a word: which of them are what is looked for. The marks are high bits;
 * a borrow can mark a byte above a marked one too, never one below: the lowest mark is right. */
#ifndef TR_BASE_SWAR_H
#define TR_BASE_SWAR_H
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define TR_SWAR_HIGHS UINT64_C(0x8080808080808080)
#define TR_SWAR_EACH(byte) (UINT64_C(0x0101010101010101) * (uint8_t)(byte))

/* The first byte is the lowest, whatever the machine's order. */
static inline uint64_t tr_swar_load(const char *ptr)
{
    uint64_t word;
    memcpy(&word, ptr, sizeof word);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    word = __builtin_bswap64(word);
#endif
    return word;
}
static inline uint64_t tr_swar_below(uint64_t word, uint8_t limit) /* limit: at most 128 */
{
    return (word - TR_SWAR_EACH(limit)) & ~word & TR_SWAR_HIGHS;
}
static inline uint64_t tr_swar_equal(uint64_t word, char byte)
{
    return tr_swar_below(word ^ TR_SWAR_EACH(byte), 1);
}
/* The index of the first marked byte; marks is not 0. */
static inline size_t tr_swar_first(uint64_t marks)
{
    return (size_t)__builtin_ctzll(marks) / 8;
}
#endif
