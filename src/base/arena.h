/* Arena: bump allocation, freed all at once. Blocks are kept between resets up to a bound, so a steady
 * stream allocates nothing. Not thread-safe: one owner at a time. */
#ifndef TR_BASE_ARENA_H
#define TR_BASE_ARENA_H

#include <stddef.h>
#include <stdint.h>

struct tr_arena_block;
struct tr_arena {
    struct tr_arena_block *first; /* list of blocks */
    struct tr_arena_block *current;
    size_t used_bytes;  /* handed out since the last reset */
    size_t block_bytes; /* size of a normal block */
    size_t keep_bytes;  /* blocks beyond this are freed by reset */
};

void tr_arena_init(struct tr_arena *arena, size_t block_bytes, size_t keep_bytes);
/* NULL when memory is out. align is a power of two <= 16. */
void *tr_arena_alloc(struct tr_arena *arena, size_t size_bytes, size_t align);
/* Copies len bytes and adds a NUL. */
char *tr_arena_strndup(struct tr_arena *arena, const char *ptr, size_t len);
char *tr_arena_strdup(struct tr_arena *arena, const char *string);
void tr_arena_reset(struct tr_arena *arena);
void tr_arena_free(struct tr_arena *arena);

#endif
