/* The option tables that belong to no connector: `pipeline:`, the keys common to sources and sinks,
 * and a route's. Bounds are chosen so that no product of them overflows an int64. */
#include "config/pipeline_options.h"

#include "config/pipeline_file.h"

#define AT(field) offsetof(struct tr_pipeline_options, field)
#define DAY_MS INT64_C(86400000)
#define MIB (INT64_C(1) << 20)

static const char *const behaviors[] = {"exception", "evolve", "try_evolve",
                                        "lenient",   "ignore", NULL};
static const char *const route_modes[] = {"ALL_MATCH", "FIRST_MATCH", NULL};
static const char *const runtime_modes[] = {"STREAMING", "BATCH", NULL};
static const char *const restart_kinds[] = {"none", "fixed-delay", "exponential-delay", NULL};

const struct tr_option tr_pipeline_option_table[] = {
    {.name = "name",
     .type = TR_OPT_STRING,
     .offset = AT(name),
     .help =
         "Names the pipeline's state folder, its replication slot and its positions in the sink. "
         "At most 48 of A-Z a-z 0-9 _ . and -; other characters become '-'. Default: the file's "
         "name without its extension."},
    {.name = "parallelism",
     .type = TR_OPT_INT,
     .offset = AT(parallelism),
     .default_text = "1",
     .min = 1,
     .max = 64,
     .help = "Writers per sink. With more than one, rows of one key stay in order, and a reader of "
             "the target may see part of a source transaction."},
    {.name = "schema.change.behavior",
     .type = TR_OPT_ENUM,
     .offset = AT(schema_behavior),
     .default_text = "evolve",
     .values = behaviors,
     .help = "What of a schema change reaches the target. evolve: the target follows the source. "
             "try_evolve: the same, and a change that the target cannot take is logged and left out. "
             "lenient (Flink CDC's default): nothing is taken away from the target: a dropped or "
             "renamed column stays, nullable; tables are not dropped or truncated. ignore: the "
             "target keeps its columns. exception: a change stops the pipeline."},
    {.name = "route-mode",
     .type = TR_OPT_ENUM,
     .offset = AT(route_mode),
     .default_text = "ALL_MATCH",
     .values = route_modes,
     .help =
         "ALL_MATCH: a table goes to the targets of every route that matches. FIRST_MATCH: only "
         "to that of the first."},
    {.name = "local-time-zone",
     .type = TR_OPT_STRING,
     .flags = TR_OPT_IGNORED | TR_OPT_ADVANCED,
     .help = "Has no effect here: timestamps with a time zone are kept in UTC from source to sink, "
             "and no transform reads the local time."},
    {.name = "execution.runtime-mode",
     .type = TR_OPT_ENUM,
     .offset = AT(runtime_mode),
     .default_text = "STREAMING",
     .values = runtime_modes,
     .help = "STREAMING follows the source's log for ever. BATCH copies the tables as they are and "
             "ends; the source's scan.startup.mode must be snapshot."},
    {.name = "checkpoint.interval",
     .type = TR_OPT_DURATION,
     .offset = AT(checkpoint_interval_ms),
     .default_text = "1s",
     .min = 10,
     .max = DAY_MS,
     .help = "How often the position is saved and acknowledged to the source, when it moved."},
    {.name = "checkpoint.keep",
     .type = TR_OPT_INT,
     .offset = AT(checkpoint_keep),
     .default_text = "3",
     .min = 2,
     .max = 100,
     .flags = TR_OPT_ADVANCED,
     .help = "Generations of the checkpoint that are kept."},
    {.name = "batch.linger",
     .type = TR_OPT_DURATION,
     .offset = AT(linger_ms),
     .default_text = "100ms",
     .min = 0,
     .max = 3600000,
     .help =
         "The longest that an accepted change waits for company before the sink is asked to make "
         "it durable. Smaller: less delay; larger: fewer, larger transactions."},
    {.name = "buffer.memory",
     .type = TR_OPT_SIZE,
     .offset = AT(buffer_memory_bytes),
     .default_text = "32MB",
     .min = 8 * MIB,
     .max = 65536 * MIB,
     .help = "Memory for changes between source and sink. When it is full the source is read no "
             "further until the sink caught up."},
    {.name = "restart-strategy.type",
     .type = TR_OPT_ENUM,
     .offset = AT(restart_kind),
     .default_text = "exponential-delay",
     .values = restart_kinds,
     .help = "What happens after a failure that may pass (a lost connection, a deadlock): none, "
             "fixed-delay, or exponential-delay, which goes on for ever once something was "
             "delivered and gives up after 5 attempts at the start. Other failures always end the "
             "run."},
    {.name = "restart-strategy.fixed-delay.attempts",
     .type = TR_OPT_INT,
     .offset = AT(restart_attempts),
     .default_text = "10",
     .min = 1,
     .max = INT32_MAX,
     .flags = TR_OPT_ADVANCED,
     .help = "Restarts before the run ends."},
    {.name = "restart-strategy.fixed-delay.delay",
     .type = TR_OPT_DURATION,
     .offset = AT(restart_delay_ms),
     .default_text = "5s",
     .min = 1,
     .max = DAY_MS,
     .flags = TR_OPT_ADVANCED,
     .help = "Time between restarts."},
    {.name = "restart-strategy.exponential-delay.initial-backoff",
     .type = TR_OPT_DURATION,
     .offset = AT(restart_initial_ms),
     .default_text = "1s",
     .min = 1,
     .max = DAY_MS,
     .flags = TR_OPT_ADVANCED,
     .help = "Time before the first restart; it doubles with each."},
    {.name = "restart-strategy.exponential-delay.max-backoff",
     .type = TR_OPT_DURATION,
     .offset = AT(restart_max_ms),
     .default_text = "1min",
     .min = 1,
     .max = DAY_MS,
     .flags = TR_OPT_ADVANCED,
     .help = "The longest time between restarts."},
    {.name = "restart-strategy.exponential-delay.reset-backoff-threshold",
     .type = TR_OPT_DURATION,
     .offset = AT(restart_reset_ms),
     .default_text = "10min",
     .min = 1,
     .max = 30 * DAY_MS,
     .flags = TR_OPT_ADVANCED,
     .help = "After a run of this length without a failure the next restart begins with "
             "initial-backoff again."},
    {.name = "stop.timeout",
     .type = TR_OPT_DURATION,
     .offset = AT(stop_timeout_ms),
     .default_text = "25s",
     .min = 100,
     .max = 3600000,
     .flags = TR_OPT_ADVANCED,
     .help =
         "How long a stop waits for the sinks. What is not durable then is delivered again at the "
         "next start."},
    {.name = "schema-operator.rpc-timeout",
     .type = TR_OPT_DURATION,
     .flags = TR_OPT_IGNORED | TR_OPT_ADVANCED,
     .help = "Has no effect here: schema changes are applied within one process, without RPC."},
    {.name = "operator.uid.prefix",
     .type = TR_OPT_STRING,
     .alias = "schema.operator.uid",
     .flags = TR_OPT_IGNORED | TR_OPT_ADVANCED,
     .help = "Has no effect here: it names Flink operators; state belongs to pipeline.name."},
    {.name = "sink.partitioning.strategy",
     .type = TR_OPT_STRING,
     .flags = TR_OPT_IGNORED | TR_OPT_ADVANCED,
     .help = "Has no effect here: rows always go to writers by key, tables without one by table."},
    {.name = "transform.decimal.precision.mode",
     .type = TR_OPT_STRING,
     .flags = TR_OPT_IGNORED | TR_OPT_ADVANCED,
     .help = "Has no effect here: there are no transforms in this version, and decimals pass "
             "unchanged."},
    {.name = NULL},
};

static const char *const change_values[] = {"all",
                                            "add",
                                            "alter",
                                            "create",
                                            "drop",
                                            "rename",
                                            "truncate",
                                            "column",
                                            "table",
                                            "add.column",
                                            "alter.column.type",
                                            "create.table",
                                            "drop.column",
                                            "drop.table",
                                            "rename.column",
                                            "truncate.table",
                                            NULL};

const struct tr_option tr_source_common_options[] = {
    {.name = "type",
     .type = TR_OPT_STRING,
     .flags = TR_OPT_REQUIRED,
     .help = "The connector; `tailrace list` prints them."},
    {.name = "name",
     .type = TR_OPT_STRING,
     .offset = offsetof(struct tr_common_options, name),
     .help = "A name for messages and metrics. Default: the type."},
    {.name = NULL},
};

const struct tr_option tr_sink_common_options[] = {
    {.name = "type",
     .type = TR_OPT_STRING,
     .flags = TR_OPT_REQUIRED,
     .help = "The connector; `tailrace list` prints them."},
    {.name = "name",
     .type = TR_OPT_STRING,
     .offset = offsetof(struct tr_common_options, name),
     .help = "A name for messages and metrics. Default: the type. Several sinks need different "
             "names."},
    {.name = "include.schema.changes",
     .type = TR_OPT_LIST,
     .values = change_values,
     .offset = offsetof(struct tr_common_options, include),
     .help =
         "Schema changes that this sink gets: add.column, alter.column.type, create.table, "
         "drop.column, drop.table, rename.column, truncate.table. Part of a name stands for all "
         "that hold it: drop, column. Default: all."},
    {.name = "exclude.schema.changes",
     .type = TR_OPT_LIST,
     .values = change_values,
     .offset = offsetof(struct tr_common_options, exclude),
     .help =
         "Schema changes that this sink does not get. Default: drop.table and truncate.table when "
         "pipeline.schema.change.behavior is lenient, else none; [] for none."},
    {.name = NULL},
};

const struct tr_option tr_route_options[] = {
    {.name = "source-table",
     .type = TR_OPT_STRING,
     .flags = TR_OPT_REQUIRED,
     .offset = offsetof(struct tr_route_options, source_table),
     .help = "Which source tables: a table pattern, for example shop.public.order_\\.*"},
    {.name = "sink-table",
     .type = TR_OPT_STRING,
     .flags = TR_OPT_REQUIRED,
     .offset = offsetof(struct tr_route_options, sink_table),
     .help =
         "The target's ID: table, schema.table or namespace.schema.table; parts left out are the "
         "source's. May hold $1 to $9 (captures of source-table) or the replace-symbol."},
    {.name = "replace-symbol",
     .type = TR_OPT_STRING,
     .offset = offsetof(struct tr_route_options, replace_symbol),
     .help = "A text in sink-table that stands for the source table's name, for example <>. Not "
             "together with captures."},
    {.name = "description",
     .type = TR_OPT_STRING,
     .offset = offsetof(struct tr_route_options, description),
     .help = "A remark, for readers."},
    {.name = NULL},
};
