/* tailrace check FILE: lint, connections, preflight. Every finding with what mends it; nothing is
 * changed on any server. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "pipeline/route.h"

#define TABLES_MAX 100000

struct check {
    json_t *findings; /* NULL: print */
    const char *part; /* "source", "sink sqlite" */
    unsigned errors, warnings;
    int exit_code;
    /* routed tables */
    struct tr_router *router;
    struct tr_table **tables;
    size_t table_count, table_capacity;
    struct tr_error failure;
    bool failed;
};

static const char *severity_name(enum tr_severity severity)
{
    return severity == TR_ERROR_SEVERITY ? "error" : severity == TR_WARNING ? "warning" : "ok";
}

static void report(void *context, const struct tr_finding *finding)
{
    struct check *check = context;
    if (finding->severity == TR_ERROR_SEVERITY) {
        check->errors++;
        if (check->exit_code == 0)
            check->exit_code = tr_error_info(finding->code)->exit_code;
        if (check->exit_code == 0)
            check->exit_code = TR_EXIT_USAGE;
    } else if (finding->severity == TR_WARNING) {
        check->warnings++;
    }
    const char *code = finding->code == TR_E_NONE ? "" : tr_error_info(finding->code)->name;
    const char *remedy = finding->remedy == NULL ? "" : finding->remedy;
    const char *object = finding->object == NULL ? "" : finding->object;
    if (check->findings != NULL) {
        json_array_append_new(
            check->findings, json_pack("{s:s,s:s,s:s,s:s,s:s,s:s}", "part", check->part, "severity",
                                       severity_name(finding->severity), "code", code, "object",
                                       object, "message", finding->message, "remedy", remedy));
        return;
    }
    bool color = isatty(STDOUT_FILENO);
    const char *paint = !color                                   ? ""
                        : finding->severity == TR_ERROR_SEVERITY ? "\033[31m"
                        : finding->severity == TR_WARNING        ? "\033[33m"
                                                                 : "\033[32m";
    printf("%s%-7s%s %-8s %s%s%s%s%s%s\n", paint, severity_name(finding->severity),
           color ? "\033[0m" : "", check->part, object, object[0] ? ": " : "", finding->message,
           code[0] ? "  [" : "", code, code[0] ? "]" : "");
    if (remedy[0] != '\0')
        printf("                 mend: %s\n", remedy);
}

static void report_error(struct check *check, const struct tr_error *err)
{
    char message[1200];
    (void)snprintf(message, sizeof message, "%s%s%s", err->message, err->detail[0] ? ": " : "",
                   err->detail);
    report(check, &(struct tr_finding){TR_ERROR_SEVERITY, err->code, "", message, err->hint});
}

static void collect(void *context, const struct tr_table *table)
{
    struct check *check = context;
    struct tr_route_result routed;
    if (check->failed)
        return;
    if (tr_router_apply(check->router, &table->id, &routed, &check->failure) != TR_OK) {
        check->failed = true;
        return;
    }
    for (unsigned i = 0; i < routed.count && check->table_count < TABLES_MAX; i++) {
        if (check->table_count == check->table_capacity) {
            size_t capacity = check->table_capacity == 0 ? 64 : check->table_capacity * 2;
            struct tr_table **tables = realloc(check->tables, capacity * sizeof(struct tr_table *));
            if (tables == NULL) {
                check->failed = true;
                (void)tr_fail(&check->failure, TR_E_OUT_OF_MEMORY, "no memory for tables");
                return;
            }
            check->tables = tables;
            check->table_capacity = capacity;
        }
        if (tr_table_with_id(table, routed.ids[i], &check->tables[check->table_count],
                             &check->failure) != TR_OK) {
            check->failed = true;
            return;
        }
        check->table_count++;
    }
}

static void check_source(struct check *check, const struct tr_pipeline_file *file,
                         const struct tr_context *context)
{
    struct tr_error err;
    void *source = NULL;
    const struct tr_source_ops *ops = file->source_ops;
    check->part = "source";
    enum tr_status status = ops->open(file->source_config, context, &source, &err);
    if (status == TR_OK)
        status = ops->validate(source, report, check, &err);
    if (status == TR_OK && ops->scan != NULL && ops->scan->list != NULL)
        status = ops->scan->list(source, collect, check, &err);
    if (status == TR_OK && check->failed) {
        err = check->failure;
        status = TR_FAIL;
    }
    if (status == TR_FAIL)
        report_error(check, &err);
    ops->close(source);
}

static void check_sink(struct check *check, const struct tr_sink_config *config,
                       const struct tr_context *context)
{
    struct tr_error err;
    void *sink = NULL;
    check->part = "sink";
    enum tr_status status = config->ops->open(config->config, context, &sink, &err);
    if (status == TR_OK)
        status = config->ops->validate(sink, (const struct tr_table *const *)check->tables,
                                       check->table_count, report, check, &err);
    if (status == TR_FAIL)
        report_error(check, &err);
    config->ops->close(sink);
}

static int finish(struct check *check, bool as_json, const char *name)
{
    if (as_json) {
        json_t *all = json_pack("{s:s,s:b,s:i,s:i,s:o}", "pipeline", name, "ok", check->errors == 0,
                                "errors", (int)check->errors, "warnings", (int)check->warnings,
                                "findings", check->findings);
        json_dumpf(all, stdout, JSON_INDENT(2));
        printf("\n");
        json_decref(all);
    } else if (check->errors > 0) {
        printf("%u error%s, %u warning%s: the pipeline cannot run\n", check->errors,
               check->errors == 1 ? "" : "s", check->warnings, check->warnings == 1 ? "" : "s");
    } else {
        printf("the pipeline can run (%zu table%s, %u warning%s)\n", check->table_count,
               check->table_count == 1 ? "" : "s", check->warnings,
               check->warnings == 1 ? "" : "s");
    }
    for (size_t i = 0; i < check->table_count; i++)
        tr_table_unref(check->tables[i]);
    free(check->tables);
    return check->errors > 0 ? check->exit_code : TR_EXIT_OK;
}

int tr_cmd_check(int argc, char **argv)
{
    bool as_json = false, offline = false;
    const char *path;
    const struct tr_flag flags[] = {{"--json", &as_json, NULL}, {"--offline", &offline, NULL}};
    int count;
    if (!tr_cli_parse(argc, argv, flags, sizeof flags / sizeof flags[0], &path, 1, 1, &count))
        return TR_EXIT_USAGE;
    struct check check = {.part = "file", .findings = as_json ? json_array() : NULL};
    struct tr_error err;
    struct tr_pipeline_file *file;
    char state_dir[4096];
    if (tr_pipeline_file_load(path, tr_sources, tr_sinks, &file, &err) != TR_OK) {
        report_error(&check, &err);
        return finish(&check, as_json, path);
    }
    report(&check, &(struct tr_finding){TR_INFO, TR_E_NONE, path, "the file is well-formed", NULL});
    if (tr_cli_state_dir(file->options.name, false, state_dir, sizeof state_dir, &err) != TR_OK ||
        tr_router_new(file->routes, file->route_count, file->options.route_mode, &check.router,
                      &err) != TR_OK) {
        report_error(&check, &err);
    } else if (!offline) {
        struct tr_context context = {
            .pipeline_name = file->options.name, .state_dir = state_dir, .checking = true};
        check_source(&check, file, &context);
        for (size_t i = 0; i < file->sink_count; i++)
            check_sink(&check, &file->sinks[i], &context);
    }
    int code = finish(&check, as_json, file->options.name);
    tr_router_free(check.router);
    tr_pipeline_file_free(file);
    return code;
}
