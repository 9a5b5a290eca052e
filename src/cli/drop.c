/* tailrace drop FILE: removes what a pipeline left: slot and publication, positions in the sink,
 * its checkpoints. Copied rows stay until the next run, which empties the tables before it copies
 * them: a mark in the sink says that this pipeline filled them. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "event/state.h"
#include "pipeline/pipeline.h"
#include "tailrace/checkpoint.h"

#define FLUSH_MS 30000

static void report(void *context, const struct tr_finding *finding)
{
    (void)context;
    printf("%s%s%s\n", finding->object == NULL ? "" : finding->object,
           finding->object == NULL || finding->object[0] == '\0' ? "" : ": ", finding->message);
}

static bool confirmed(const struct tr_pipeline_file *file)
{
    char answer[64];
    printf(
        "This removes the slot and publication of pipeline %s, its positions in the sink and its\n"
        "checkpoints. Copied rows stay; the next run empties those tables and copies them again.\n"
        "Type the pipeline's name to go on: ",
        file->options.name);
    (void)fflush(stdout);
    if (fgets(answer, sizeof answer, stdin) == NULL)
        return false;
    answer[strcspn(answer, "\n")] = '\0';
    return strcmp(answer, file->options.name) == 0;
}

/* One mark through the ordinary contract: a COMMIT event that carries it. */
static enum tr_status leave_reload_mark(const struct tr_sink_ops *ops, void *sink,
                                        struct tr_error *err)
{
    void *writer = NULL;
    const struct tr_mark mark = {{TR_MARK_RELOAD, strlen(TR_MARK_RELOAD)}, {"true", 4}};
    const struct tr_event commit = {.op = TR_OP_COMMIT, .seq = 1, .marks = &mark, .mark_count = 1};
    enum tr_status status = ops->writer_open(sink, 0, &writer, err);
    if (status == TR_OK)
        status = ops->write(writer, &commit, 1, err);
    if (status == TR_OK)
        status = ops->flush(writer, FLUSH_MS, err);
    if (status == TR_AGAIN)
        status = tr_fail(err, TR_E_DRAIN_TIMEOUT, "the %s sink was not durable in time", ops->name);
    ops->writer_close(writer);
    return status;
}

static enum tr_status drop_sink(const struct tr_sink_config *config, struct tr_context *context,
                                struct tr_error *err)
{
    const struct tr_sink_ops *ops = config->ops;
    void *sink = NULL;
    struct tr_state marks;
    tr_state_init(&marks);
    bool fills_tables = (ops->caps & TR_CAP_POSITION) && (ops->caps & TR_CAP_TRUNCATE);
    context->checking = !fills_tables;
    context->position_name = config->position_name;
    enum tr_status status = ops->open(config->config, context, &sink, err);
    if (status == TR_OK && fills_tables)
        status = ops->load_marks(sink, &marks, err);
    if (status != TR_FAIL)
        status = ops->drop(sink, report, NULL, err);
    if (status != TR_FAIL && marks.count > 0)
        status = leave_reload_mark(ops, sink, err);
    tr_state_free(&marks);
    ops->close(sink);
    return status == TR_FAIL ? TR_FAIL : TR_OK;
}

static enum tr_status drop_all(const struct tr_pipeline_file *file, const char *state_dir,
                               struct tr_error *err)
{
    struct tr_context context = {
        .pipeline_name = file->options.name, .state_dir = state_dir, .checking = true};
    struct tr_checkpoint_store *store = NULL;
    /* the lock: a running pipeline must be stopped first */
    if (tr_checkpoint_file_ops.open(state_dir, file->options.name,
                                    (unsigned)file->options.checkpoint_keep, &store, err) != TR_OK)
        return TR_FAIL;
    void *source = NULL;
    enum tr_status status = file->source_ops->open(file->source_config, &context, &source, err);
    if (status == TR_OK && file->source_ops->drop != NULL)
        status = file->source_ops->drop(source, report, NULL, err);
    file->source_ops->close(source);
    for (size_t i = 0; i < file->sink_count && status == TR_OK; i++) {
        if (file->sinks[i].ops->drop != NULL)
            status = drop_sink(&file->sinks[i], &context, err);
    }
    if (status == TR_OK)
        status = tr_checkpoint_file_ops.drop(store, err);
    tr_checkpoint_file_ops.close(store);
    if (status == TR_OK)
        printf("checkpoints: removed\n");
    return status;
}

int tr_cmd_drop(int argc, char **argv)
{
    bool yes = false;
    const char *path;
    const struct tr_flag flags[] = {{"--yes", &yes, NULL}};
    int count;
    struct tr_error err;
    struct tr_pipeline_file *file;
    char state_dir[4096];
    if (!tr_cli_parse(argc, argv, flags, 1, &path, 1, 1, &count))
        return TR_EXIT_USAGE;
    if (tr_pipeline_file_load(path, tr_sources, tr_sinks, &file, &err) != TR_OK)
        return tr_cli_error(&err);
    int code = TR_EXIT_OK;
    if (!yes && !confirmed(file)) {
        printf("nothing was changed\n");
        code = TR_EXIT_FAILURE;
    } else if (tr_cli_state_dir(file->options.name, true, state_dir, sizeof state_dir, &err) !=
                   TR_OK ||
               drop_all(file, state_dir, &err) != TR_OK) {
        code = tr_cli_error(&err);
    }
    tr_pipeline_file_free(file);
    return code;
}
