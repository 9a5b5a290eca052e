/* tailrace drop FILE: removes what a pipeline left: slot and publication, positions in the sink, its
 * checkpoints. Copied rows stay. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "tailrace/checkpoint.h"

static void report(void *context, const struct tr_finding *finding)
{
    (void)context;
    printf("%s%s%s\n", finding->object == NULL ? "" : finding->object,
           finding->object == NULL || finding->object[0] == '\0' ? "" : ": ", finding->message);
}

static bool confirmed(const struct tr_pipeline_file *file)
{
    char answer[64];
    printf("This removes the slot and publication of pipeline %s, its positions in the sink and its\n"
           "checkpoints. Copied rows stay. The next run makes a new snapshot.\n"
           "Type the pipeline's name to go on: ",
           file->options.name);
    (void)fflush(stdout);
    if (fgets(answer, sizeof answer, stdin) == NULL)
        return false;
    answer[strcspn(answer, "\n")] = '\0';
    return strcmp(answer, file->options.name) == 0;
}

static enum tr_status drop_all(const struct tr_pipeline_file *file, const char *state_dir,
                               struct tr_error *err)
{
    struct tr_context context = {.pipeline_name = file->options.name,
                                 .state_dir = state_dir,
                                 .checking = true};
    struct tr_checkpoint_store *store = NULL;
    /* the lock: a running pipeline must be stopped first */
    if (tr_checkpoint_file_ops.open(state_dir, file->options.name,
                                    (unsigned)file->options.checkpoint_keep, &store, err) != TR_OK)
        return TR_FAIL;
    void *source = NULL;
    enum tr_status status = file->source_ops->open(file->source_config, &context, &source, err);
    if (status == TR_OK)
        status = file->source_ops->drop(source, report, NULL, err);
    file->source_ops->close(source);
    for (size_t i = 0; i < file->sink_count && status == TR_OK; i++) {
        const struct tr_sink_ops *ops = file->sinks[i].ops;
        void *sink = NULL;
        if (ops->drop == NULL)
            continue;
        status = ops->open(file->sinks[i].config, &context, &sink, err);
        if (status == TR_OK)
            status = ops->drop(sink, report, NULL, err);
        ops->close(sink);
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
    } else if (tr_cli_state_dir(file->options.name, true, state_dir, sizeof state_dir, &err) != TR_OK ||
               drop_all(file, state_dir, &err) != TR_OK) {
        code = tr_cli_error(&err);
    }
    tr_pipeline_file_free(file);
    return code;
}
