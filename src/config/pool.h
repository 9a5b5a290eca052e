/* Pool: the memory of one read pipeline file. Like an arena, but every byte is overwritten before it
 * goes back to the system, because passwords lie in it. Not thread-safe while it is filled; what was
 * taken from it may be read by any thread until tr_pool_free. */
#ifndef TR_CONFIG_POOL_H
#define TR_CONFIG_POOL_H

#include <stdbool.h>
#include <stddef.h>

struct tr_pool_block;
struct tr_pool {
    struct tr_pool_block *blocks;
    size_t used_bytes;
};

#define TR_POOL_BYTES_MAX (64u << 20) /* a pool refuses to grow beyond this */

void tr_pool_init(struct tr_pool *pool);
/* Zeroed, aligned for any type. NULL when memory or the bound is out. */
void *tr_pool_alloc(struct tr_pool *pool, size_t size_bytes);
/* count * size_bytes with checked arithmetic. */
void *tr_pool_array(struct tr_pool *pool, size_t count, size_t size_bytes);
char *tr_pool_strndup(struct tr_pool *pool, const char *ptr, size_t len);
char *tr_pool_strdup(struct tr_pool *pool, const char *string);
char *tr_pool_printf(struct tr_pool *pool, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void tr_pool_free(struct tr_pool *pool); /* wipes first */

#endif
