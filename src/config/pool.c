/* Pool: blocks in a list, wiped with explicit_bzero at free. See pool.h. */
#include "config/pool.h"

#include <stdalign.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_BYTES 16384u

struct tr_pool_block {
    struct tr_pool_block *next;
    size_t used, size;
    alignas(max_align_t) char data[];
};

void tr_pool_init(struct tr_pool *pool) { *pool = (struct tr_pool){NULL, 0}; }

void *tr_pool_alloc(struct tr_pool *pool, size_t size_bytes)
{
    const size_t align = alignof(max_align_t);
    if (size_bytes > TR_POOL_BYTES_MAX)
        return NULL;
    size_t size = (size_bytes + align) & ~(align - 1); /* also makes an empty one take something */
    if (pool->used_bytes + size > TR_POOL_BYTES_MAX)
        return NULL;
    struct tr_pool_block *block = pool->blocks;
    if (block == NULL || block->size - block->used < size) {
        size_t room = size > BLOCK_BYTES ? size : BLOCK_BYTES;
        block = calloc(1, sizeof *block + room);
        if (block == NULL)
            return NULL;
        block->size = room;
        block->next = pool->blocks;
        pool->blocks = block;
    }
    void *ptr = block->data + block->used;
    block->used += size;
    pool->used_bytes += size;
    return ptr;
}

void *tr_pool_array(struct tr_pool *pool, size_t count, size_t size_bytes)
{
    size_t total;
    if (__builtin_mul_overflow(count, size_bytes, &total))
        return NULL;
    return tr_pool_alloc(pool, total);
}

char *tr_pool_strndup(struct tr_pool *pool, const char *ptr, size_t len)
{
    if (len >= TR_POOL_BYTES_MAX)
        return NULL;
    char *copy = tr_pool_alloc(pool, len + 1);
    if (copy != NULL && len > 0)
        memcpy(copy, ptr, len);
    return copy;
}

char *tr_pool_strdup(struct tr_pool *pool, const char *string)
{
    return tr_pool_strndup(pool, string, strlen(string));
}

char *tr_pool_printf(struct tr_pool *pool, const char *format, ...)
{
    char buf[1024];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(buf, sizeof buf, format, args);
    va_end(args);
    if (len < 0)
        return NULL;
    size_t size = (size_t)len < sizeof buf ? (size_t)len : sizeof buf - 1;
    return tr_pool_strndup(pool, buf, size);
}

void tr_pool_free(struct tr_pool *pool)
{
    struct tr_pool_block *block = pool->blocks;
    while (block != NULL) {
        struct tr_pool_block *next = block->next;
        explicit_bzero(block->data, block->size);
        free(block);
        block = next;
    }
    tr_pool_init(pool);
}
