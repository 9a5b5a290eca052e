/* tailrace check FILE: lint, connections, preflight. Every finding with what mends it; nothing is
 * changed on any server. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "event/dead_letter.h"
#include "pipeline/route.h"

#define TABLES_MAX 100000

struct tables {
    struct tr_table **items;
    size_t count, capacity;
};

struct check {
    json_t *findings; /* NULL: print */
    const char *part; /* "source", "sink sqlite" */
    unsigned errors, warnings;
    int exit_code;
    struct tr_transform *transform;
    struct tables captured; /* as the transforms leave them */
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

/* Takes over the reference. */
static enum tr_status add_table(struct tables *tables, struct tr_table *table, struct tr_error *err)
{
    if (tables->count == tables->capacity) {
        size_t capacity = tables->capacity == 0 ? 64 : tables->capacity * 2;
        struct tr_table **items = realloc(tables->items, capacity * sizeof(struct tr_table *));
        if (items == NULL) {
            tr_table_unref(table);
            return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for tables");
        }
        tables->items = items;
        tables->capacity = capacity;
    }
    tables->items[tables->count++] = table;
    return TR_OK;
}

static void free_tables(struct tables *tables)
{
    for (size_t i = 0; i < tables->count; i++)
        tr_table_unref(tables->items[i]);
    free(tables->items);
    *tables = (struct tables){0};
}

static void collect(void *context, const struct tr_table *table)
{
    struct check *check = context;
    struct tr_table *transformed;
    if (check->failed || check->captured.count == TABLES_MAX)
        return;
    if (tr_transform_table(check->transform, table, &transformed, &check->failure) != TR_OK ||
        add_table(&check->captured, transformed, &check->failure) != TR_OK)
        check->failed = true;
}

/* What a sink will have to hold of the captured tables, under the names it gives them. */
static enum tr_status sink_tables(const struct check *check, const struct tr_pipeline_file *file,
                                  const struct tr_sink_config *config, struct tables *out,
                                  struct tr_error *err)
{
    struct tr_router *router;
    struct tr_route_result routed;
    struct tr_table *table;
    if (config->dead_letters)
        return add_table(out, tr_table_ref(tr_dead_letter_table()), err);
    if (config->window.kind != TR_WINDOW_NONE)
        return TR_OK; /* its table is known with the first row */
    if (tr_router_new(config->own_routes ? config->routes : file->routes,
                      config->own_routes ? config->route_count : file->route_count,
                      file->options.route_mode, &router, err) != TR_OK)
        return TR_FAIL;
    enum tr_status status = TR_OK;
    for (size_t i = 0; i < check->captured.count && status == TR_OK; i++) {
        const struct tr_table *captured = check->captured.items[i];
        if (config->tables != NULL && !tr_table_pattern_match(config->tables, &captured->id))
            continue;
        status = tr_router_apply(router, &captured->id, &routed, err);
        for (unsigned k = 0; status == TR_OK && k < routed.count; k++) {
            status = tr_table_with_id(captured, routed.ids[k], &table, err);
            if (status == TR_OK)
                status = add_table(out, table, err);
        }
    }
    tr_router_free(router);
    return status;
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

static void check_sink(struct check *check, const struct tr_pipeline_file *file,
                       const struct tr_sink_config *config, const struct tr_context *context)
{
    struct tr_error err;
    void *sink = NULL;
    struct tables tables = {0};
    check->part = config->dead_letters ? "dead-letter" : "sink";
    enum tr_status status = sink_tables(check, file, config, &tables, &err);
    struct tr_context own = *context;
    own.position_name = config->position_name;
    if (status == TR_OK)
        status = config->ops->open(config->config, &own, &sink, &err);
    if (status == TR_OK)
        status = config->ops->validate(sink, (const struct tr_table *const *)tables.items,
                                       tables.count, report, check, &err);
    if (status == TR_FAIL)
        report_error(check, &err);
    config->ops->close(sink);
    free_tables(&tables);
}

static int finish(struct check *check, bool as_json, bool offline, const char *name)
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
    } else if (offline) {
        printf("only the file was read; without --offline the servers are asked too\n");
    } else {
        printf("the pipeline can run (%zu table%s, %u warning%s)\n", check->captured.count,
               check->captured.count == 1 ? "" : "s", check->warnings,
               check->warnings == 1 ? "" : "s");
    }
    free_tables(&check->captured);
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
        return finish(&check, as_json, offline, path);
    }
    report(&check, &(struct tr_finding){TR_INFO, TR_E_NONE, path, "the file is well-formed", NULL});
    if (tr_cli_state_dir(file->options.name, false, state_dir, sizeof state_dir, &err) != TR_OK ||
        tr_transform_new(file->transforms, file->transform_count, file->options.local_time_zone,
                         &check.transform, &err) != TR_OK) {
        report_error(&check, &err);
    } else if (!offline) {
        struct tr_context context = {
            .pipeline_name = file->options.name,
            .state_dir = state_dir,
            .checking = true,
            .has_dead_letters = file->sinks[file->sink_count - 1].dead_letters};
        check_source(&check, file, &context);
        for (size_t i = 0; i < file->sink_count; i++)
            check_sink(&check, file, &file->sinks[i], &context);
    }
    int code = finish(&check, as_json, offline, file->options.name);
    tr_transform_free(check.transform);
    tr_pipeline_file_free(file);
    return code;
}
