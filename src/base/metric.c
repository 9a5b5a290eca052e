#include "base/metric.h"

#include <pthread.h>
#include <stddef.h>

static pthread_mutex_t list_lock = PTHREAD_MUTEX_INITIALIZER;
static struct tr_metric *_Atomic list_first;

void tr_metric_register(struct tr_metric *metric)
{
    (void)pthread_mutex_lock(&list_lock);
    if (!atomic_load(&metric->registered)) {
        metric->next = atomic_load(&list_first);
        atomic_store(&list_first, metric);
        atomic_store(&metric->registered, 1);
    }
    (void)pthread_mutex_unlock(&list_lock);
}

const struct tr_metric *tr_metric_first(void) { return atomic_load(&list_first); }
