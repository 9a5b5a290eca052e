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
     .offset = AT(local_time_zone),
     .help = "The zone that transforms mean where a time names none: an IANA name or +02:00. "
             "Default: UTC. Timestamps with a time zone are kept in UTC from source to sink."},
    {.name = "execution.runtime-mode",
     .type = TR_OPT_ENUM,
     .offset = AT(runtime_mode),
     .default_text = "STREAMING",
     .values = runtime_modes,
     .help = "STREAMING follows the source's log for ever. BATCH copies the tables as they are and "
             "ends; of a source of messages it reads what is there and ends."},
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
     .default_text = "16MB",
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
     .help = "Has no effect here: decimals are exact in transforms, and pass unchanged else."},
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

static const char *const write_modes[] = {"arrival", "last-write-wins", NULL};
static const char *const window_kinds[] = {"none", "tumbling", "hopping", "session", NULL};
#define WINDOW_AT(field)                                                                           \
    (offsetof(struct tr_common_options, window) + offsetof(struct tr_window_options, field))

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
    {.name = "tables",
     .type = TR_OPT_LIST,
     .offset = offsetof(struct tr_common_options, tables),
     .help = "Which tables this sink takes, as table patterns, before routing. Default: all. Dead "
             "letters go to the sink under `dead-letter` alone."},
    {.name = "route",
     .type = TR_OPT_LIST,
     .help = "Routes of this sink, instead of the pipeline's: a list with the keys of a route."},
    {.name = "write.mode",
     .type = TR_OPT_ENUM,
     .values = write_modes,
     .offset = offsetof(struct tr_common_options, write_mode),
     .default_text = "arrival",
     .help = "arrival: changes are applied in the order in which they are read. last-write-wins: "
             "within a key the row with the greatest write.version-column stays, whatever the "
             "order, over restarts too; deletes count. Equal: the one read later."},
    {.name = "write.version-column",
     .type = TR_OPT_STRING,
     .flags = TR_OPT_ADVANCED,
     .offset = offsetof(struct tr_common_options, version_column),
     .help = "The column that last-write-wins compares. Default: event-time.column."},
    {.name = "history-table",
     .type = TR_OPT_STRING,
     .offset = offsetof(struct tr_common_options, history_table),
     .help = "A table (table or schema.table) to which every change is also appended, next to the "
             "current rows and in the same transaction: it has the same columns and no key. A "
             "delete is appended with its last row."},
    {.name = "window.type",
     .type = TR_OPT_ENUM,
     .values = window_kinds,
     .offset = WINDOW_AT(kind),
     .default_text = "none",
     .help = "The sink gets counts and sums per window of event time instead of rows. tumbling: "
             "windows of window.size, side by side. hopping: of window.size, one every "
             "window.slide. session: ended by window.gap without an event."},
    {.name = "window.size",
     .type = TR_OPT_DURATION,
     .offset = WINDOW_AT(size_ms),
     .min = 1,
     .max = 366 * DAY_MS,
     .help = "Length of a tumbling or hopping window."},
    {.name = "window.slide",
     .type = TR_OPT_DURATION,
     .offset = WINDOW_AT(slide_ms),
     .min = 1,
     .max = 366 * DAY_MS,
     .help = "Distance between the starts of hopping windows; window.size is a multiple of it."},
    {.name = "window.gap",
     .type = TR_OPT_DURATION,
     .offset = WINDOW_AT(gap_ms),
     .min = 1,
     .max = 366 * DAY_MS,
     .help = "A session ends when this much event time passes without an event of its group."},
    {.name = "window.offset",
     .type = TR_OPT_DURATION,
     .flags = TR_OPT_ADVANCED,
     .offset = WINDOW_AT(offset_ms),
     .min = 0,
     .max = 366 * DAY_MS,
     .help = "Shifts the windows' starts against 1970-01-01T00:00Z, for example 22h for days that "
             "begin at 22:00 UTC."},
    {.name = "window.group-by",
     .type = TR_OPT_LIST,
     .offset = WINDOW_AT(group_by),
     .help = "Columns or expressions (LOWER(country) AS country) to group by."},
    {.name = "window.aggregates",
     .type = TR_OPT_LIST,
     .offset = WINDOW_AT(aggregates),
     .help = "COUNT(*), COUNT(x), SUM(x), MIN(x), MAX(x), AVG(x) of columns or expressions, each "
             "AS a name: COUNT(*) AS events."},
    {.name = "window.table",
     .type = TR_OPT_STRING,
     .offset = WINDOW_AT(table),
     .help = "The result's table. Default: <table>_windows. Its key is window_start, window_end and "
             "the group."},
    {.name = "window.max-groups",
     .type = TR_OPT_INT,
     .flags = TR_OPT_ADVANCED,
     .offset = WINDOW_AT(groups_max),
     .default_text = "1000000",
     .min = 1,
     .max = 100000000,
     .help = "Open groups over all windows (about 200 bytes each) before the pipeline stops with "
             "WINDOW_LIMIT."},
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

static const char *const converters[] = {"none", "SOFT_DELETE", NULL};
#define TRANSFORM_AT(field) offsetof(struct tr_transform_options, field)

const struct tr_option tr_transform_options[] = {
    {.name = "source-table",
     .type = TR_OPT_STRING,
     .flags = TR_OPT_REQUIRED,
     .offset = TRANSFORM_AT(source_table),
     .help = "Which source tables: a table pattern. The first rule that matches a table wins."},
    {.name = "projection",
     .type = TR_OPT_STRING,
     .offset = TRANSFORM_AT(projection),
     .help = "The result's columns, as after SELECT: id, LOWER(email) AS email. A leading * is "
             "written \\*. Default: all columns."},
    {.name = "filter",
     .type = TR_OPT_STRING,
     .offset = TRANSFORM_AT(filter),
     .help = "A condition, as after WHERE; rows that do not meet it are left out."},
    {.name = "primary-keys",
     .type = TR_OPT_STRING,
     .offset = TRANSFORM_AT(primary_keys),
     .help = "The result's key: names of its columns, with commas. Default: the source's key."},
    {.name = "partition-keys",
     .type = TR_OPT_STRING,
     .flags = TR_OPT_IGNORED | TR_OPT_ADVANCED,
     .offset = TRANSFORM_AT(partition_keys),
     .help = "Has no effect here: it is for lake formats."},
    {.name = "table-options",
     .type = TR_OPT_STRING,
     .flags = TR_OPT_IGNORED | TR_OPT_ADVANCED,
     .offset = TRANSFORM_AT(table_options),
     .help = "Has no effect here: it is for lake formats."},
    {.name = "table-options.delimiter",
     .type = TR_OPT_STRING,
     .flags = TR_OPT_IGNORED | TR_OPT_ADVANCED,
     .offset = TRANSFORM_AT(table_options_delimiter),
     .help = "Has no effect here: it is for lake formats."},
    {.name = "converter-after-transform",
     .type = TR_OPT_ENUM,
     .values = converters,
     .default_text = "none",
     .offset = TRANSFORM_AT(converter),
     .help = "SOFT_DELETE: a delete keeps its row; name __data_event_type__ or __op__ in the "
             "projection to see it."},
    {.name = "description",
     .type = TR_OPT_STRING,
     .offset = TRANSFORM_AT(description),
     .help = "A remark, for readers."},
    {.name = NULL},
};

static const char *const late_values[] = {"dead-letter", "drop", "process", NULL};
#define EVENT_TIME_AT(field) offsetof(struct tr_event_time_options, field)

const struct tr_option tr_event_time_option_table[] = {
    {.name = "column",
     .type = TR_OPT_STRING,
     .flags = TR_OPT_REQUIRED,
     .offset = EVENT_TIME_AT(column),
     .help = "The column with the time at which a thing happened: of the row after the transform, "
             "else of the source's row. A timestamp, a date, ISO-8601 text, or milliseconds since "
             "1970."},
    {.name = "watermark-delay",
     .type = TR_OPT_DURATION,
     .offset = EVENT_TIME_AT(delay_ms),
     .default_text = "5s",
     .min = 0,
     .max = 366 * DAY_MS,
     .help = "How much later than the newest an event may come. The watermark is the smallest over "
             "the partitions of (newest event time - delay); an event below it is late."},
    {.name = "idle-timeout",
     .type = TR_OPT_DURATION,
     .offset = EVENT_TIME_AT(idle_ms),
     .default_text = "30s",
     .min = 0,
     .max = DAY_MS,
     .help = "A partition without messages for this long does not hold the watermark back, while "
             "others go on. 0: it always does."},
    {.name = "late",
     .type = TR_OPT_ENUM,
     .values = late_values,
     .offset = EVENT_TIME_AT(late),
     .help = "What becomes of a late event. dead-letter (the default when there is a dead-letter "
             "sink): it goes there and nowhere else. drop: it is counted and left out. process (the "
             "default otherwise): rows take it, windows that are closed do not."},
    {.name = NULL},
};
