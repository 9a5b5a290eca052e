/* THE table of connectors: one line each in registry.c. */
#ifndef TR_REGISTRY_H
#define TR_REGISTRY_H

#include "tailrace/sink.h"
#include "tailrace/source.h"

struct tr_source_entry {
    const char *name, *alias;         /* "postgres", "postgresql" */
    const struct tr_source_ops *ops;  /* NULL: not built in */
    const char *why_not;              /* when ops is NULL: "built without libpq" */
};
struct tr_sink_entry {
    const char *name, *alias;
    const struct tr_sink_ops *ops;
    const char *why_not;
};
/* Tables end with a NULL name. */
extern const struct tr_source_entry tr_sources[];
extern const struct tr_sink_entry tr_sinks[];

#endif
