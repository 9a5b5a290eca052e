/* tailrace run FILE */
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "cli/cli.h"
#include "pipeline/pipeline.h"

static struct tr_engine *_Atomic running;
static volatile sig_atomic_t early_signals; /* before there was an engine to stop */

static void on_signal(int signal_number)
{
    (void)signal_number;
    struct tr_engine *engine = atomic_load(&running);
    if (engine != NULL)
        tr_engine_stop(engine);
    else if (early_signals++ > 0)
        _exit(TR_EXIT_SECOND_SIGNAL);
}

static void catch_signals(void (*handler)(int))
{
    struct sigaction action = {.sa_handler = handler};
    (void)sigemptyset(&action.sa_mask);
    (void)sigaction(SIGTERM, &action, NULL);
    (void)sigaction(SIGINT, &action, NULL);
}

static void log_failure(const struct tr_error *err)
{
    char message[1100], detail[1100], hint[1600];
    tr_log(TR_LOG_ERROR, "the pipeline stopped", "code=%s class=%s error=%s detail=%s hint=%s",
           tr_error_info(err->code)->name, tr_err_class_name(err->class),
           tr_log_quote(err->message, message, sizeof message),
           tr_log_quote(err->detail, detail, sizeof detail),
           tr_log_quote(err->hint, hint, sizeof hint));
}

static int run_file(const struct tr_pipeline_file *file, bool show_progress, bool until_caught_up)
{
    char state_dir[4096], context[128];
    struct tr_error err;
    if (tr_cli_state_dir(file->options.name, true, state_dir, sizeof state_dir, &err) != TR_OK)
        return tr_cli_error(&err);
    (void)snprintf(context, sizeof context, "pipeline=%s", file->options.name);
    tr_log_set_context(context);
    tr_pipeline_file_log_notes(file);
    struct tr_run_options options = {
        .state_dir = state_dir, .show_progress = show_progress, .until_caught_up = until_caught_up};
    struct tr_engine *engine;
    if (tr_engine_open(file, &options, &engine, &err) != TR_OK) {
        log_failure(&err);
        return tr_error_info(err.code)->exit_code;
    }
    atomic_store(&running, engine);
    if (early_signals > 0)
        tr_engine_stop(engine);
    enum tr_status status = tr_engine_run(engine, &err);
    catch_signals(SIG_IGN);
    atomic_store(&running, NULL);
    tr_engine_close(engine);
    if (status == TR_OK) {
        tr_log(TR_LOG_INFO, "the pipeline ended; everything read is durable", NULL);
        return TR_EXIT_OK;
    }
    log_failure(&err);
    return tr_error_info(err.code)->exit_code;
}

int tr_cmd_run(int argc, char **argv)
{
    bool no_progress = false, until_caught_up = false;
    const char *log_level = NULL, *path;
    const struct tr_flag flags[] = {{"--no-progress", &no_progress, NULL},
                                    {"--until-caught-up", &until_caught_up, NULL},
                                    {"--log-level", NULL, &log_level}};
    int count;
    if (!tr_cli_parse(argc, argv, flags, sizeof flags / sizeof flags[0], &path, 1, 1, &count) ||
        !tr_cli_log_level(log_level))
        return TR_EXIT_USAGE;
    struct tr_pipeline_file *file;
    struct tr_error err;
    catch_signals(on_signal);
    if (tr_pipeline_file_load(path, tr_sources, tr_sinks, &file, &err) != TR_OK)
        return tr_cli_error(&err);
    int code = run_file(file, !no_progress && isatty(STDERR_FILENO), until_caught_up);
    tr_pipeline_file_free(file);
    return code;
}
