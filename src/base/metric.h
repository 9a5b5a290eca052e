/* Metrics: static objects with a unit and a help line, kept in one list; updated per batch, read by any
 * thread. Names end in _total, _bytes, _seconds or a plain noun for gauges, and start with tailrace_. */
#ifndef TR_BASE_METRIC_H
#define TR_BASE_METRIC_H
#include <stdatomic.h>
#include <stdint.h>

enum tr_metric_kind { TR_COUNTER, TR_GAUGE };
struct tr_metric {
    const char *name; /* "tailrace_events_read_total" */
    const char *unit; /* "events" */
    const char *help;
    enum tr_metric_kind kind;
    _Atomic int64_t value;
    struct tr_metric *next; /* the registry's */
    _Atomic int registered;
};

void tr_metric_register(struct tr_metric *metric); /* may be called again; any thread */
const struct tr_metric *tr_metric_first(void);
static inline void tr_metric_add(struct tr_metric *metric, int64_t n)
{
    atomic_fetch_add_explicit(&metric->value, n, memory_order_relaxed);
}
static inline void tr_metric_set(struct tr_metric *metric, int64_t value)
{
    atomic_store_explicit(&metric->value, value, memory_order_relaxed);
}
static inline int64_t tr_metric_get(const struct tr_metric *metric)
{
    return atomic_load_explicit(&metric->value, memory_order_relaxed);
}
#endif
