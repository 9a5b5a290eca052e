/* The supervisor of one pipeline: attempts, the restart strategy, the control socket's commands. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "control/control.h"
#include "pipeline/engine.h"
#include "pipeline/window.h"

/* exponential-delay goes on for ever once the pipeline has delivered something in this process. One
 * that never has is more likely misconfigured than unlucky: it gives up after this many attempts.
 */
#define STARTUP_ATTEMPTS_MAX 5

struct tr_metric tr_metric_events_read = {.name = "tailrace_events_read_total",
                                          .unit = "events",
                                          .help = "Events read from the source.",
                                          .kind = TR_COUNTER};
struct tr_metric tr_metric_bytes_read = {.name = "tailrace_read_bytes_total",
                                         .unit = "bytes",
                                         .help = "Bytes of rows read from the source.",
                                         .kind = TR_COUNTER};
struct tr_metric tr_metric_events_written = {.name = "tailrace_events_written_total",
                                             .unit = "events",
                                             .help = "Events handed to the sinks.",
                                             .kind = TR_COUNTER};
struct tr_metric tr_metric_checkpoints = {.name = "tailrace_checkpoints_total",
                                          .unit = "checkpoints",
                                          .help = "Checkpoints saved.",
                                          .kind = TR_COUNTER};
struct tr_metric tr_metric_restarts = {.name = "tailrace_restarts_total",
                                       .unit = "restarts",
                                       .help = "Restarts after a transient failure.",
                                       .kind = TR_COUNTER};
struct tr_metric tr_metric_errors = {.name = "tailrace_errors_total",
                                     .unit = "errors",
                                     .help = "Failures, those that were retried included.",
                                     .kind = TR_COUNTER};

void tr_engine_fail(struct tr_engine *engine, const struct tr_error *err)
{
    (void)pthread_mutex_lock(&engine->lock);
    if (!engine->failed) {
        engine->failed = true;
        engine->failure = *err;
    }
    (void)pthread_mutex_unlock(&engine->lock);
    tr_bell_ring(&engine->bell);
}

bool tr_engine_failed(struct tr_engine *engine)
{
    (void)pthread_mutex_lock(&engine->lock);
    bool failed = engine->failed;
    (void)pthread_mutex_unlock(&engine->lock);
    return failed;
}

void tr_engine_stop(struct tr_engine *engine)
{
    if (atomic_fetch_add(&engine->stop_requests, 1) > 0)
        _exit(130); /* the second request ends the process at once */
    tr_bell_ring(&engine->bell);
}

static json_t *savepoint(struct tr_engine *engine)
{
    char path[4096];
    struct tr_error err;
    struct tr_state state;
    tr_state_init(&state);
    /* the newest saved generation: what is in it is durable and acknowledged */
    enum tr_status status = tr_checkpoint_file_ops.load(engine->store, &state, &err);
    if (status == TR_OK)
        status =
            tr_checkpoint_file_ops.savepoint(engine->store, &state, NULL, path, sizeof path, &err);
    tr_state_free(&state);
    if (status == TR_FAIL)
        return tr_control_refuse_error(&err);
    if (status == TR_END)
        return tr_control_refuse(TR_E_NOT_RUNNING, "there is no checkpoint yet");
    json_t *answer = tr_control_ok();
    (void)json_object_set_new(answer, "path", json_string(path));
    return answer;
}

/* Runs on the control server's thread. */
static json_t *command(void *context, const char *name, const json_t *request)
{
    struct tr_engine *engine = context;
    (void)request;
    if (strcmp(name, "status") == 0)
        return tr_engine_status_json(engine);
    if (strcmp(name, "metrics") == 0) {
        char *text = tr_engine_metrics_text(engine);
        json_t *answer = tr_control_ok();
        (void)json_object_set_new(answer, "metrics", json_string(text == NULL ? "" : text));
        free(text);
        return answer;
    }
    if (strcmp(name, "savepoint") == 0)
        return savepoint(engine);
    if (strcmp(name, "pause") == 0 || strcmp(name, "resume") == 0) {
        atomic_store(&engine->paused, name[0] == 'p');
        tr_bell_ring(&engine->pool.bell);
        return tr_control_ok();
    }
    if (strcmp(name, "stop") == 0) {
        if (atomic_load(&engine->stop_requests) == 0)
            tr_engine_stop(engine);
        return tr_control_ok();
    }
    return tr_control_refuse(TR_E_USAGE, "unknown command");
}

enum tr_status tr_engine_open(const struct tr_pipeline_file *file,
                              const struct tr_run_options *options, struct tr_engine **out,
                              struct tr_error *err)
{
    struct tr_metric *const metrics[] = {&tr_metric_events_read,    &tr_metric_bytes_read,
                                         &tr_metric_events_written, &tr_metric_checkpoints,
                                         &tr_metric_restarts,       &tr_metric_errors,
                                         &tr_metric_dead_letters,   &tr_metric_late,
                                         &tr_metric_late_dropped,   &tr_metric_windows_closed,
                                         &tr_metric_windows_missed};
    for (size_t i = 0; i < sizeof metrics / sizeof metrics[0]; i++)
        tr_metric_register(metrics[i]);
    struct tr_engine *engine = calloc(1, sizeof *engine);
    if (engine == NULL)
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for the engine");
    engine->file = file;
    engine->run_options = options;
    engine->started_us = tr_clock_mono_us();
    (void)pthread_mutex_init(&engine->lock, NULL);
    (void)pthread_mutex_init(&engine->source_lock, NULL);
    for (unsigned i = 0; i < TR_READERS_MAX; i++)
        (void)pthread_mutex_init(&engine->readers[i].acks.lock, NULL);
    tr_state_init(&engine->state);
    if (tr_checkpoint_file_ops.open(options->state_dir, file->options.name,
                                    (unsigned)file->options.checkpoint_keep, &engine->store,
                                    err) != TR_OK ||
        tr_control_server_start(options->state_dir, command, engine, &engine->control, err) !=
            TR_OK) {
        tr_engine_close(engine);
        return TR_FAIL;
    }
    *out = engine;
    return TR_OK;
}

void tr_engine_close(struct tr_engine *engine)
{
    if (engine == NULL)
        return;
    tr_control_server_stop(engine->control);
    if (engine->store != NULL)
        tr_checkpoint_file_ops.close(engine->store);
    tr_state_free(&engine->state);
    tr_state_free(&engine->acked);
    for (unsigned i = 0; i < TR_BRANCHES_MAX; i++)
        tr_state_free(&engine->fresh[i]);
    tr_engine_stats_clear(engine);
    for (unsigned i = 0; i < TR_READERS_MAX; i++)
        (void)pthread_mutex_destroy(&engine->readers[i].acks.lock);
    (void)pthread_mutex_destroy(&engine->source_lock);
    (void)pthread_mutex_destroy(&engine->lock);
    free(engine);
}

/* -1: give up. */
static int64_t restart_delay_ms(const struct tr_engine *engine, unsigned failures, bool ever_ran)
{
    const struct tr_pipeline_options *options = &engine->file->options;
    switch (options->restart_kind) {
    case TR_RESTART_FIXED_DELAY:
        return failures > options->restart_attempts ? -1 : options->restart_delay_ms;
    case TR_RESTART_EXPONENTIAL: {
        int64_t delay_ms = options->restart_initial_ms;
        if (!ever_ran && failures >= STARTUP_ATTEMPTS_MAX)
            return -1;
        for (unsigned i = 1; i < failures && delay_ms < options->restart_max_ms; i++)
            delay_ms *= 2;
        return delay_ms < options->restart_max_ms ? delay_ms : options->restart_max_ms;
    }
    default:
        return -1;
    }
}

static void remember(struct tr_engine *engine, const struct tr_error *err)
{
    (void)pthread_mutex_lock(&engine->lock);
    engine->last_error = *err;
    engine->has_last_error = true;
    (void)pthread_mutex_unlock(&engine->lock);
    tr_metric_add(&tr_metric_errors, 1);
}

static void wait_before_restart(struct tr_engine *engine, int64_t delay_ms)
{
    int64_t until_ms = tr_clock_mono_ms() + delay_ms;
    atomic_store(&engine->phase, TR_PHASE_RESTARTING);
    while (atomic_load(&engine->stop_requests) == 0) {
        uint32_t ticket = tr_bell_ticket(&engine->bell);
        int64_t left_ms = until_ms - tr_clock_mono_ms();
        if (left_ms <= 0 || atomic_load(&engine->stop_requests) != 0)
            return;
        tr_bell_wait(&engine->bell, ticket, (int)(left_ms < 1000 ? left_ms : 1000));
    }
}

/* Keeps the cause's words, code and hint. */
static void give_up(unsigned failures, struct tr_error *err)
{
    struct tr_error cause = *err;
    (void)tr_fail(err, TR_E_RETRIES_EXHAUSTED, "gave up after %u failures in a row: %s: %.380s",
                  failures, tr_error_info(cause.code)->name, cause.message);
    (void)tr_detail(err, "%s", cause.detail);
    (void)tr_hint(err, "%s", cause.hint);
}

enum tr_status tr_engine_run(struct tr_engine *engine, struct tr_error *err)
{
    unsigned failures = 0;
    bool ever_ran = false;
    for (;;) {
        enum tr_status status = tr_engine_attempt(engine, err);
        if (status != TR_FAIL) {
            atomic_store(&engine->phase, TR_PHASE_STOPPED);
            return TR_OK;
        }
        remember(engine, err);
        int64_t ran_ms = (tr_clock_mono_us() - engine->attempt_started_us) / 1000;
        if (engine->progressed)
            ever_ran = true;
        if (engine->progressed || ran_ms >= engine->file->options.restart_reset_ms)
            failures = 0;
        failures++;
        bool stopping = atomic_load(&engine->stop_requests) > 0;
        int64_t delay_ms = restart_delay_ms(engine, failures, ever_ran);
        if (err->class != TR_TRANSIENT || stopping || delay_ms < 0) {
            atomic_store(&engine->phase, TR_PHASE_FAILED);
            if (err->class == TR_TRANSIENT && !stopping &&
                engine->file->options.restart_kind != TR_RESTART_NONE)
                give_up(failures, err);
            return TR_FAIL;
        }
        char message[1100], detail[1100];
        tr_log(TR_LOG_WARN, "the pipeline failed and is started again",
               "code=%s class=%s error=%s detail=%s retry_in_ms=%lld failures=%u",
               tr_error_info(err->code)->name, tr_err_class_name(err->class),
               tr_log_quote(err->message, message, sizeof message),
               tr_log_quote(err->detail, detail, sizeof detail), (long long)delay_ms, failures);
        wait_before_restart(engine, delay_ms);
        if (atomic_load(&engine->stop_requests) > 0) {
            atomic_store(&engine->phase, TR_PHASE_STOPPED);
            return TR_OK;
        }
        engine->restarts++;
        tr_metric_add(&tr_metric_restarts, 1);
    }
}
