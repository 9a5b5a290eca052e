/* The fixed pool of batches that bounds the pipeline's memory. Any thread. */
#include "pipeline/engine.h"

enum tr_status tr_batch_pool_init(struct tr_batch_pool *pool, unsigned batch_count,
                                  struct tr_error *err)
{
    *pool = (struct tr_batch_pool){0};
    (void)pthread_mutex_init(&pool->lock, NULL);
    if (batch_count > TR_POOL_BATCHES_MAX)
        batch_count = TR_POOL_BATCHES_MAX;
    while (pool->total < batch_count) {
        if (tr_batch_new(&pool->free[pool->total], err) != TR_OK)
            return TR_FAIL;
        pool->total++;
        pool->free_count++;
    }
    return TR_OK;
}

void tr_batch_pool_free(struct tr_batch_pool *pool)
{
    for (unsigned i = 0; i < pool->free_count; i++)
        tr_batch_free(pool->free[i]);
    pool->free_count = 0;
    pool->total = 0;
    (void)pthread_mutex_destroy(&pool->lock);
}

unsigned tr_batch_pool_used(struct tr_batch_pool *pool)
{
    (void)pthread_mutex_lock(&pool->lock);
    unsigned used = pool->total - pool->free_count;
    (void)pthread_mutex_unlock(&pool->lock);
    return used;
}

struct tr_batch *tr_batch_pool_take(struct tr_batch_pool *pool)
{
    struct tr_batch *batch = NULL;
    (void)pthread_mutex_lock(&pool->lock);
    if (pool->free_count > 0)
        batch = pool->free[--pool->free_count]; /* the last one used is the warmest */
    (void)pthread_mutex_unlock(&pool->lock);
    return batch;
}

void tr_batch_pool_give(struct tr_batch_pool *pool, struct tr_batch *batch)
{
    tr_batch_reset(batch);
    (void)pthread_mutex_lock(&pool->lock);
    pool->free[pool->free_count++] = batch;
    (void)pthread_mutex_unlock(&pool->lock);
    tr_bell_ring(&pool->bell);
}
