/* The contract of a checkpoint store: several generations of a pipeline's merged marks. */
#ifndef TAILRACE_CHECKPOINT_H
#define TAILRACE_CHECKPOINT_H

#include "error.h"
#include "event.h"

struct tr_state;
struct tr_checkpoint_store;

struct tr_checkpoint_ops {
    const char *name;
    /* `location`: for files the pipeline's state folder. pipeline_name is stamped into every
     * generation and compared at load. keep_count = generations kept (>= 2). */
    enum tr_status (*open)(const char *location, const char *pipeline_name, unsigned keep_count,
                           struct tr_checkpoint_store **store, struct tr_error *err);
    /* Newest generation into *marks. TR_END: there is none (first start). A newest generation that is
     * damaged, or of another pipeline, is an error: never skipped silently. */
    enum tr_status (*load)(struct tr_checkpoint_store *store, struct tr_state *marks,
                           struct tr_error *err);
    /* Durable when it returns TR_OK. */
    enum tr_status (*save)(struct tr_checkpoint_store *store, const struct tr_state *marks,
                           struct tr_error *err);
    /* A copy that retention never removes, into folder `path` (NULL: the store's savepoints folder). */
    enum tr_status (*savepoint)(struct tr_checkpoint_store *store, const struct tr_state *marks,
                                const char *path, char *path_out, size_t path_out_size,
                                struct tr_error *err);
    /* Removes every generation (`tailrace drop`). */
    enum tr_status (*drop)(struct tr_checkpoint_store *store, struct tr_error *err);
    void (*close)(struct tr_checkpoint_store *store);
};
extern const struct tr_checkpoint_ops tr_checkpoint_file_ops;

#endif
