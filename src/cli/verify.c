/* tailrace verify FILE: opens both sides, hands them to verify_core, prints what it finds. */
#include <inttypes.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/verify_core.h"
#include "pipeline/route.h"

#define ROWS_LISTED 20
#define TIMEOUT_SECONDS 30
#define NAME_BYTES 300

static volatile sig_atomic_t interrupted;

struct output {
    json_t *tables; /* NULL: print */
    json_t *rows;   /* of the table under way */
    bool progress;  /* a line on standard error */
};

static void on_signal(int signal_number)
{
    (void)signal_number;
    interrupted = 1;
}

static bool is_cancelled(void *context)
{
    (void)context;
    return interrupted != 0;
}

static enum tr_status route(void *context, const struct tr_table *source, tr_verify_add_fn add,
                            void *add_context, struct tr_error *err)
{
    struct tr_route_result routed;
    if (tr_router_apply(context, &source->id, &routed, err) != TR_OK)
        return TR_FAIL;
    for (unsigned i = 0; i < routed.count; i++) {
        if (add(add_context, &routed.ids[i], err) != TR_OK)
            return TR_FAIL;
    }
    return TR_OK;
}

static void wipe_progress(const struct output *output)
{
    if (output->progress)
        fprintf(stderr, "\r\033[K");
}

static void on_progress(void *context, const struct tr_table_id *target, uint64_t source_rows)
{
    const struct output *output = context;
    char name[NAME_BYTES];
    if (output->progress)
        fprintf(stderr, "\r\033[K%s  %" PRIu64 " rows",
                tr_table_id_format(target, name, sizeof name), source_rows);
}

static void on_row(void *context, const struct tr_verify_table *table,
                   const struct tr_verify_row *row)
{
    struct output *output = context;
    char name[NAME_BYTES];
    if (output->tables != NULL) {
        json_array_append_new(output->rows,
                              json_pack("{s:s,s:s,s:s}", "kind", tr_verify_row_kind_name(row->kind),
                                        "key", row->key, "columns", row->columns));
        return;
    }
    wipe_progress(output);
    printf("  %-10s %s  %s%s%s\n", tr_verify_row_kind_name(row->kind),
           tr_table_id_format(table->target, name, sizeof name), row->key,
           row->columns[0] ? "  columns: " : "", row->columns);
}

static json_t *table_json(const struct tr_verify_table *table, json_t *rows)
{
    char source[NAME_BYTES], target[NAME_BYTES], a[20], b[20];
    json_t *ranges = json_array();
    for (size_t i = 0; i < table->range_count; i++) {
        const struct tr_verify_range *range = &table->ranges[i];
        (void)snprintf(a, sizeof a, "%016" PRIx64, range->source_checksum);
        (void)snprintf(b, sizeof b, "%016" PRIx64, range->sink_checksum);
        json_array_append_new(ranges,
                              json_pack("{s:s,s:s,s:I,s:I,s:s,s:s,s:b}", "first_key",
                                        range->first_key, "last_key", range->last_key,
                                        "source_rows", (json_int_t)range->source_rows, "sink_rows",
                                        (json_int_t)range->sink_rows, "source_checksum", a,
                                        "sink_checksum", b, "equal", (int)range->equal));
    }
    (void)snprintf(a, sizeof a, "%016" PRIx64, table->source_checksum);
    (void)snprintf(b, sizeof b, "%016" PRIx64, table->sink_checksum);
    return json_pack("{s:s,s:s,s:b,s:I,s:I,s:s,s:s,s:I,s:I,s:I,s:I,s:I,s:s,s:o,s:o}", "source",
                     tr_table_id_format(table->source, source, sizeof source), "target",
                     tr_table_id_format(table->target, target, sizeof target), "equal",
                     (int)table->equal, "source_rows", (json_int_t)table->source_rows, "sink_rows",
                     (json_int_t)table->sink_rows, "source_checksum", a, "sink_checksum", b,
                     "missing", (json_int_t)table->missing_rows, "extra",
                     (json_int_t)table->extra_rows, "different", (json_int_t)table->different_rows,
                     "changing", (json_int_t)table->changing_rows, "unchecked",
                     (json_int_t)table->unchecked_rows, "problem",
                     table->problem == NULL ? "" : table->problem, "rows", rows, "ranges", ranges);
}

static void print_unequal(const struct tr_verify_table *table)
{
    char name[NAME_BYTES];
    if (table->problem != NULL)
        printf("  %s: %s\n", tr_table_id_format(table->target, name, sizeof name), table->problem);
    printf("  missing %" PRIu64 ", extra %" PRIu64 ", different %" PRIu64, table->missing_rows,
           table->extra_rows, table->different_rows);
    if (table->changing_rows > 0)
        printf(", still changing %" PRIu64, table->changing_rows);
    if (table->unchecked_rows > 0)
        printf(", not looked at twice %" PRIu64, table->unchecked_rows);
    printf("\n");
    unsigned shown = 0;
    for (size_t i = 0; i < table->range_count && shown < ROWS_LISTED; i++) {
        const struct tr_verify_range *range = &table->ranges[i];
        if (range->equal)
            continue;
        printf("  range %s … %s: %" PRIu64 " and %" PRIu64 " rows, checksums %016" PRIx64
               " and %016" PRIx64 "\n",
               range->first_key, range->last_key, range->source_rows, range->sink_rows,
               range->source_checksum, range->sink_checksum);
        shown++;
    }
}

static void on_table(void *context, const struct tr_verify_table *table)
{
    struct output *output = context;
    char source[NAME_BYTES], target[NAME_BYTES];
    if (output->tables != NULL) {
        json_array_append_new(output->tables, table_json(table, output->rows));
        output->rows = json_array();
        return;
    }
    wipe_progress(output);
    printf("%-9s %s -> %s  %" PRIu64 " and %" PRIu64 " rows in %zu range%s, checksum %016" PRIx64
           "\n",
           table->equal ? "equal" : "DIFFERENT",
           tr_table_id_format(table->source, source, sizeof source),
           tr_table_id_format(table->target, target, sizeof target), table->source_rows,
           table->sink_rows, table->range_count, table->range_count == 1 ? "" : "s",
           table->source_checksum);
    if (!table->equal)
        print_unequal(table);
}

static void print_result(const struct tr_verify_result *result, struct output *output,
                         const char *name)
{
    if (output->tables != NULL) {
        json_t *all = json_pack(
            "{s:s,s:b,s:i,s:i,s:I,s:I,s:I,s:b,s:o}", "pipeline", name, "equal", (int)result->equal,
            "tables_compared", (int)result->table_count, "tables_different",
            (int)result->unequal_table_count, "source_rows", (json_int_t)result->source_rows,
            "sink_rows", (json_int_t)result->sink_rows, "bytes_behind", (json_int_t)result->behind,
            "sink_stood_still", (int)result->sink_stood_still, "tables", output->tables);
        json_dumpf(all, stdout, JSON_INDENT(2));
        printf("\n");
        json_decref(all);
        return;
    }
    if (result->equal)
        printf("both sides are equal: %u table%s, %" PRIu64 " rows\n", result->table_count,
               result->table_count == 1 ? "" : "s", result->source_rows);
    else
        printf("the sides differ: %u of %u table%s\n", result->unequal_table_count,
               result->table_count, result->table_count == 1 ? "" : "s");
    if (!result->equal && result->sink_stood_still)
        printf(
            "the target stood still meanwhile, %" PRIu64 " bytes of log behind the source: what "
            "differs may be\nwhat the pipeline has not delivered yet; start it and verify again\n",
            result->behind);
}

static enum tr_status compare(const struct tr_pipeline_file *file,
                              const struct tr_sink_config *sink_config,
                              const struct tr_verify_options *options, struct output *output,
                              struct tr_verify_result *result, struct tr_error *err)
{
    char state_dir[4096];
    struct tr_router *router = NULL;
    void *source = NULL, *sink = NULL;
    enum tr_status status =
        tr_cli_state_dir(file->options.name, false, state_dir, sizeof state_dir, err);
    struct tr_context context = {
        .pipeline_name = file->options.name,
        .position_name = sink_config->position_name,
        .state_dir = state_dir,
        .checking = true};
    if (status == TR_OK && (file->source_ops->scan == NULL || sink_config->ops->scan == NULL)) {
        bool is_source = file->source_ops->scan == NULL;
        status = tr_fail(err, TR_E_VERIFY_UNSUPPORTED, "a %s %s cannot be read back",
                         is_source ? file->source_ops->name : sink_config->ops->name,
                         is_source ? "source" : "sink");
        (void)tr_hint(err, "verify works from PostgreSQL against PostgreSQL and SQLite");
    }
    if (status == TR_OK)
        status = tr_router_new(sink_config->own_routes ? sink_config->routes : file->routes,
                               sink_config->own_routes ? sink_config->route_count
                                                       : file->route_count,
                               file->options.route_mode, &router, err);
    if (status == TR_OK)
        status = file->source_ops->open(file->source_config, &context, &source, err);
    if (status == TR_OK)
        status = sink_config->ops->open(sink_config->config, &context, &sink, err);
    if (status == TR_OK) {
        const struct tr_verify_side source_side = {file->source_ops->scan, source};
        const struct tr_verify_side sink_side = {sink_config->ops->scan, sink};
        const struct tr_verify_router verify_router = {route, router};
        const struct tr_verify_output verify_output = {output, on_row, on_table, on_progress,
                                                       is_cancelled};
        status = tr_verify(&source_side, &sink_side, &verify_router, options, &verify_output,
                           result, err);
    }
    wipe_progress(output);
    file->source_ops->close(source);
    sink_config->ops->close(sink);
    tr_router_free(router);
    return status;
}

static bool parse_number(const char *text, const char *flag, long max, long *number)
{
    char *end;
    if (text == NULL)
        return true;
    *number = strtol(text, &end, 10);
    if (end != text && *end == '\0' && *number >= 0 && *number <= max)
        return true;
    fprintf(stderr, "tailrace verify: %s takes a number from 0 to %ld\n", flag, max);
    return false;
}

static int verify_file(const struct tr_pipeline_file *file, const struct tr_verify_options *options,
                       bool as_json)
{
    struct tr_error err;
    int code = TR_EXIT_OK;
    if (file->transform_count > 0) {
        (void)tr_fail(&err, TR_E_CONFIG_UNSUPPORTED,
                      "verify compares rows as they are, and this pipeline transforms them");
        (void)tr_hint(&err, "compare the target with a query of your own that does the same");
        return tr_cli_error(&err);
    }
    for (size_t i = 0; i < file->sink_count; i++) {
        if (file->sinks[i].dead_letters || file->sinks[i].window.kind != TR_WINDOW_NONE)
            continue; /* no copy of the source's rows */
        struct output output = {.tables = as_json ? json_array() : NULL,
                                .rows = as_json ? json_array() : NULL,
                                .progress = !as_json && isatty(STDERR_FILENO)};
        struct tr_verify_result result;
        if (compare(file, &file->sinks[i], options, &output, &result, &err) != TR_OK) {
            json_decref(output.tables);
            json_decref(output.rows);
            return tr_cli_error(&err);
        }
        print_result(&result, &output, file->options.name);
        json_decref(output.rows);
        if (!result.equal)
            code = TR_EXIT_FAILURE;
    }
    return code;
}

int tr_cmd_verify(int argc, char **argv)
{
    bool as_json = false;
    const char *path, *rows_text = NULL, *timeout_text = NULL;
    const struct tr_flag flags[] = {{"--json", &as_json, NULL},
                                    {"--max-rows", NULL, &rows_text},
                                    {"--timeout", NULL, &timeout_text}};
    long rows = ROWS_LISTED, timeout_seconds = TIMEOUT_SECONDS;
    int count;
    struct tr_pipeline_file *file;
    struct tr_error err;
    if (!tr_cli_parse(argc, argv, flags, sizeof flags / sizeof flags[0], &path, 1, 1, &count) ||
        !parse_number(rows_text, "--max-rows", 1000000, &rows) ||
        !parse_number(timeout_text, "--timeout", 86400, &timeout_seconds))
        return TR_EXIT_USAGE;
    if (tr_pipeline_file_load(path, tr_sources, tr_sinks, &file, &err) != TR_OK)
        return tr_cli_error(&err);
    const struct sigaction action = {.sa_handler = on_signal};
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
    const struct tr_verify_options options = {.listed_rows_max = (unsigned)rows,
                                              .timeout_ms = (int)timeout_seconds * 1000};
    int code = verify_file(file, &options, as_json);
    tr_pipeline_file_free(file);
    return code;
}
