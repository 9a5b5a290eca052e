#include "base/arena.h"

#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

struct tr_arena_block {
    struct tr_arena_block *next;
    size_t capacity_bytes;
    size_t used_bytes;
    alignas(16) char data[];
};

void tr_arena_init(struct tr_arena *arena, size_t block_bytes, size_t keep_bytes)
{
    *arena = (struct tr_arena){.block_bytes = block_bytes, .keep_bytes = keep_bytes};
}

static struct tr_arena_block *block_new(size_t capacity_bytes)
{
    if (capacity_bytes > SIZE_MAX - sizeof(struct tr_arena_block))
        return NULL;
    struct tr_arena_block *block = malloc(sizeof *block + capacity_bytes);
    if (block == NULL)
        return NULL;
    block->next = NULL;
    block->capacity_bytes = capacity_bytes;
    block->used_bytes = 0;
    return block;
}

void *tr_arena_alloc(struct tr_arena *arena, size_t size_bytes, size_t align)
{
    struct tr_arena_block *block = arena->current;
    while (block != NULL) {
        size_t start = (block->used_bytes + align - 1) & ~(align - 1);
        if (start <= block->capacity_bytes && size_bytes <= block->capacity_bytes - start) {
            block->used_bytes = start + size_bytes;
            arena->current = block;
            arena->used_bytes += size_bytes;
            return block->data + start;
        }
        block = block->next;
    }
    size_t capacity = size_bytes > arena->block_bytes ? size_bytes : arena->block_bytes;
    block = block_new(capacity);
    if (block == NULL)
        return NULL;
    if (arena->current == NULL) {
        block->next = arena->first;
        arena->first = block;
    } else {
        block->next = arena->current->next;
        arena->current->next = block;
    }
    arena->current = block;
    block->used_bytes = size_bytes;
    arena->used_bytes += size_bytes;
    return block->data;
}

char *tr_arena_strndup(struct tr_arena *arena, const char *ptr, size_t len)
{
    if (len == SIZE_MAX)
        return NULL;
    char *copy = tr_arena_alloc(arena, len + 1, 1);
    if (copy == NULL)
        return NULL;
    if (len > 0)
        memcpy(copy, ptr, len);
    copy[len] = '\0';
    return copy;
}

char *tr_arena_strdup(struct tr_arena *arena, const char *string)
{
    return tr_arena_strndup(arena, string, strlen(string));
}

void tr_arena_reset(struct tr_arena *arena)
{
    size_t kept_bytes = 0;
    struct tr_arena_block **link = &arena->first;
    while (*link != NULL) {
        struct tr_arena_block *block = *link;
        if (kept_bytes + block->capacity_bytes > arena->keep_bytes) {
            *link = block->next;
            free(block);
            continue;
        }
        kept_bytes += block->capacity_bytes;
        block->used_bytes = 0;
        link = &block->next;
    }
    arena->current = arena->first;
    arena->used_bytes = 0;
}

void tr_arena_free(struct tr_arena *arena)
{
    arena->keep_bytes = 0;
    tr_arena_reset(arena);
}
