/* Running one pipeline: the engine's outside. */
#ifndef TR_PIPELINE_PIPELINE_H
#define TR_PIPELINE_PIPELINE_H

#include <stdio.h>

#include "config/pipeline_file.h"

struct tr_run_options {
    const char *state_dir; /* this pipeline's own folder, exists */
    bool show_progress;    /* a progress line on standard error */
    bool until_caught_up;  /* end when the position reaches the log's end as it was at the start */
};

/* What `tailrace drop` leaves in a sink that holds positions, in place of them: "this pipeline
 * filled these tables". The next run empties them before it copies, so that rows deleted meanwhile
 * do not stay. */
#define TR_MARK_RELOAD "reload"

struct tr_engine;

/* Takes the state folder's lock and answers on its control socket. ALREADY_RUNNING when another
 * process has it. `file` and `options` must outlive the engine. */
enum tr_status tr_engine_open(const struct tr_pipeline_file *file,
                              const struct tr_run_options *options, struct tr_engine **out,
                              struct tr_error *err) TR_WARN_UNUSED;
/* Runs until it is stopped, ends (a bounded source), or fails for good; restarts by the pipeline's
 * strategy. TR_OK: everything accepted is durable and the checkpoint is saved. */
enum tr_status tr_engine_run(struct tr_engine *engine, struct tr_error *err) TR_WARN_UNUSED;
/* Drain, save, end. Async-signal-safe; any thread. */
void tr_engine_stop(struct tr_engine *engine);
void tr_engine_close(struct tr_engine *engine);

#endif
