/* Pipeline files: Flink CDC's examples, every error with its place, naming, sinks, routes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "config/bind.h"
#include "config_fakes.h"

#define SOURCE "source: {type: mysql, hostname: h}\n"
#define SINK "sink: {type: kafka}\n"

static struct tr_pipeline_file *parse_as(const char *text, const char *name)
{
    struct tr_pipeline_file *file = NULL;
    struct tr_error err;
    if (tr_pipeline_file_parse(text, strlen(text), name, fake_sources, fake_sinks, &file, &err) !=
        TR_OK)
        fail_msg("%s\n%s: %s (%s)", text, tr_error_info(err.code)->name, err.message, err.hint);
    return file;
}
static struct tr_pipeline_file *parse(const char *text) { return parse_as(text, "shop.yaml"); }

static void expect_error_as(const char *text, const char *name, enum tr_code code,
                            const char *begin, const char *hint)
{
    struct tr_pipeline_file *file = NULL;
    struct tr_error err;
    enum tr_status status =
        tr_pipeline_file_parse(text, strlen(text), name, fake_sources, fake_sinks, &file, &err);
    if (status == TR_OK)
        fail_msg("was accepted:\n%s", text);
    if (err.code != code || strncmp(err.message, begin, strlen(begin)) != 0 ||
        strstr(err.hint, hint) == NULL)
        fail_msg("%s\ngave %s: %s (%s)\nexpected %s: %s (%s)", text, tr_error_info(err.code)->name,
                 err.message, err.hint, tr_error_info(code)->name, begin, hint);
    assert_int_equal(err.class, TR_CONFIG);
    assert_int_equal(tr_error_info(err.code)->exit_code, 2);
}
static void expect_error(const char *text, enum tr_code code, const char *begin, const char *hint)
{
    expect_error_as(text, "p.yaml", code, begin, hint);
}

static void test_flink_cdc_documents_example(void **state)
{
    (void)state;
    struct tr_pipeline_file *file =
        parse("source:\n"
              "  type: mysql\n"
              "  name: mysql-source   #optional，description information\n"
              "  host: localhost\n"
              "  port: 3306\n"
              "  username: admin\n"
              "  password: pass\n"
              "  tables: adb.*, bdb.user_table_[0-9]+, [app|web]_order_\\.*\n"
              "\n"
              "sink:\n"
              "  type: kafka\n"
              "  name: mysink-queue           \t# Optional parameter for description purpose\n"
              "  bootstrap-servers: localhost:9092\n"
              "  auto-create-table: true      \t# Optional parameter for advanced functionalities\n"
              "\n"
              "route:\n"
              "  source-table: mydb.default.web_order\n"
              "  sink-table: ods_web_order\n"
              "  description: sync table to one destination table with given prefix ods_\n"
              "\n"
              "pipeline:\n"
              "  name: mysql-to-kafka-pipeline\n"
              "  parallelism: 1\n");
    const struct fake_source *source = tr_config_values(file->source_config);
    const struct fake_sink *sink = tr_config_values(file->sinks[0].config);
    assert_ptr_equal(file->source_ops, &fake_mysql);
    assert_string_equal(file->source_name, "mysql-source");
    assert_string_equal(source->hostname, "localhost");
    assert_int_equal(source->port, 3306);
    assert_string_equal(source->password.value, "pass");
    assert_int_equal(source->tables.count, 1);
    assert_string_equal(source->tables.items[0],
                        "adb.*, bdb.user_table_[0-9]+, [app|web]_order_\\.*");
    struct tr_table_pattern *tables;
    struct tr_error err;
    assert_int_equal(tr_table_pattern_compile(&source->tables, &tables, &err), TR_OK);
    tr_table_pattern_free(tables);
    assert_int_equal(file->sink_count, 1);
    assert_string_equal(file->sinks[0].name, "mysink-queue");
    assert_string_equal(sink->servers, "localhost:9092");
    assert_true(sink->auto_create);
    assert_int_equal(file->route_count, 1);
    assert_string_equal(file->routes[0].sink_table, "ods_web_order");
    assert_string_equal(file->routes[0].where, "shop.yaml:17:17");
    assert_string_equal(file->options.name, "mysql-to-kafka-pipeline");
    assert_int_equal(file->options.parallelism, 1);
    assert_null(file->notes);
    tr_pipeline_file_free(file);
}

static void test_flink_cdc_all_keys(void **state)
{
    (void)state;
    struct tr_pipeline_file *file =
        parse("source:\n"
              "  type: postgresql\n"
              "  hostname: db\n"
              "  server-id: 5400-5404\n"
              "  server-time-zone: UTC\n"
              "  scan.startup.mode: LATEST-OFFSET\n"
              "  scan.incremental.snapshot.chunk.size: 100\n"
              "  heartbeat.interval: 1 min\n"
              "  jdbc.properties.useSSL: false\n"
              "  debezium.snapshot.locking.mode: none\n"
              "  debezium.min.row.count.to.stream.results: 1000\n"
              "  metadata.list: op_ts\n"
              "sink:\n"
              "  type: kafka\n"
              "  properties.bootstrap.servers: PLAINTEXT://localhost:62510\n"
              "  properties.compression.type: lz4\n"
              "  value.format: canal-json\n"
              "  include.schema.changes: [create.table, column, drop]\n"
              "  exclude.schema.changes: [drop.table]\n"
              "route:\n"
              "  - {source-table: app_db.orders, sink-table: kafka_ods_orders}\n"
              "  - source-table: app_db.\\.*\n"
              "    sink-table: ods_db.<>_raw\n"
              "    replace-symbol: <>\n"
              "  - {source-table: '(a|b)_db.t_(\\.*)', sink-table: '$1.$2'}\n"
              "pipeline:\n"
              "  name: Sync MySQL Database to Kafka\n"
              "  parallelism: 4\n"
              "  local-time-zone: UTC\n"
              "  execution.runtime-mode: BATCH\n"
              "  route-mode: FIRST_MATCH\n"
              "  schema.change.behavior: evolve\n"
              "  schema-operator.rpc-timeout: 1 h\n"
              "  operator.uid.prefix: x\n"
              "  sink.partitioning.strategy: PRIMARY_KEY\n"
              "  transform.decimal.precision.mode: ADAPTIVE\n"
              "  user-defined-function: []\n");
    const struct fake_source *source = tr_config_values(file->source_config);
    const struct fake_sink *sink = tr_config_values(file->sinks[0].config);
    assert_string_equal(file->source_name, "postgres");
    assert_int_equal(source->port, 3306);
    assert_int_equal(source->startup_mode, 1);
    assert_int_equal(source->heartbeat_ms, 60000);
    assert_int_equal(source->debezium.count, 2);
    assert_string_equal(source->debezium.keys[0], "snapshot.locking.mode");
    assert_string_equal(source->debezium.values[1], "1000");
    assert_int_equal(source->metadata.count, 1);
    assert_true(source->schema_changes);
    assert_string_equal(sink->servers, "PLAINTEXT://localhost:62510");
    assert_int_equal(sink->properties.count, 1);
    assert_string_equal(sink->properties.keys[0], "compression.type");
    assert_int_equal(sink->value_format, 1);
    assert_int_equal(file->sinks[0].include_changes, TR_CHG_CREATE_TABLE | TR_CHG_ADD_COLUMN |
                                                         TR_CHG_ALTER_COLUMN_TYPE |
                                                         TR_CHG_DROP_COLUMN | TR_CHG_RENAME_COLUMN);
    assert_int_equal(file->route_count, 3);
    assert_string_equal(file->routes[1].replace_symbol, "<>");
    assert_string_equal(file->routes[2].sink_table, "$1.$2");
    assert_string_equal(file->options.name, "Sync-MySQL-Database-to-Kafka");
    assert_string_equal(file->title, "Sync MySQL Database to Kafka");
    assert_int_equal(file->options.schema_behavior, TR_SCHEMA_EVOLVE);
    assert_int_equal(file->options.route_mode, 1);
    assert_int_equal(file->options.runtime_mode, 1);
    unsigned notes = 0;
    for (const struct tr_config_note *note = file->notes; note != NULL; note = note->next) {
        notes++;
        assert_int_equal(strncmp(note->where, "shop.yaml:", 10), 0);
        assert_true(strlen(note->message) > 10);
    }
    assert_int_equal(notes, 7); /* four of pipeline, its name, two of source */
    assert_string_equal(file->notes->key, "pipeline.schema-operator.rpc-timeout");
    assert_string_equal(file->options.local_time_zone, "UTC"); /* transforms see it */
    tr_pipeline_file_free(file);
}

static void test_defaults(void **state)
{
    (void)state;
    struct tr_pipeline_file *file = parse_as(SOURCE SINK, "/etc/tailrace/shop.prod.yaml");
    assert_string_equal(file->options.name, "shop.prod");
    assert_string_equal(file->source_name, "mysql");
    assert_string_equal(file->sinks[0].name, "kafka");
    assert_int_equal(file->options.parallelism, 1);
    assert_int_equal(file->options.schema_behavior, TR_SCHEMA_EVOLVE);
    assert_int_equal(file->options.route_mode, 0);
    assert_int_equal(file->options.checkpoint_interval_ms, 1000);
    assert_int_equal(file->options.checkpoint_keep, 3);
    assert_int_equal(file->options.linger_ms, 100);
    assert_int_equal(file->options.buffer_memory_bytes, 16 << 20);
    assert_int_equal(file->options.restart_kind, TR_RESTART_EXPONENTIAL);
    assert_int_equal(file->options.restart_attempts, 10);
    assert_int_equal(file->options.restart_delay_ms, 5000);
    assert_int_equal(file->options.restart_initial_ms, 1000);
    assert_int_equal(file->options.restart_max_ms, 60000);
    assert_int_equal(file->options.restart_reset_ms, 600000);
    assert_int_equal(file->options.stop_timeout_ms, 25000);
    const struct fake_source *source = tr_config_values(file->source_config);
    assert_int_equal(source->metadata.count, 2);
    assert_string_equal(source->metadata.items[1], "table_name");
    assert_null(source->password.value);
    tr_pipeline_file_free(file);
}

static void test_nested_is_dotted(void **state)
{
    (void)state;
    struct tr_pipeline_file *file =
        parse("source: {type: mysql, hostname: h, scan: {startup: {mode: snapshot}, "
              "incremental.snapshot: {chunk.size: 7}}, debezium: {a: {b: c}}}\n"
              "sink: {type: kafka, properties: {bootstrap.servers: b, acks: all}, "
              "exclude: {schema: {changes: drop}}}\n"
              "pipeline: {restart-strategy: {type: fixed-delay, fixed-delay: {attempts: 3, delay: "
              "250ms}}, checkpoint: {}}\n");
    const struct fake_source *source = tr_config_values(file->source_config);
    const struct fake_sink *sink = tr_config_values(file->sinks[0].config);
    assert_int_equal(source->startup_mode, 2);
    assert_int_equal(source->chunk_size, 7);
    assert_string_equal(source->debezium.keys[0], "a.b");
    assert_string_equal(sink->servers, "b");
    assert_string_equal(sink->properties.keys[0], "acks");
    assert_int_equal(file->options.restart_kind, TR_RESTART_FIXED_DELAY);
    assert_int_equal(file->options.restart_attempts, 3);
    assert_int_equal(file->options.restart_delay_ms, 250);
    assert_int_equal(file->sinks[0].include_changes,
                     TR_CHG_ALL & ~(TR_CHG_DROP_COLUMN | TR_CHG_DROP_TABLE));
    assert_true(tr_config_given(file->source_config, "scan.startup.mode"));
    assert_false(tr_config_given(file->source_config, "port"));
    assert_string_equal(tr_config_where(file->source_config, "scan.startup.mode"),
                        "shop.yaml:1:59");
    assert_string_equal(tr_config_where(file->source_config, "port"), "");
    tr_pipeline_file_free(file);
}

static void test_schema_changes(void **state)
{
    (void)state;
    static const struct {
        const char *pipeline, *sink;
        unsigned bits;
    } cases[] = {
        {"lenient", "", TR_CHG_ALL & ~(TR_CHG_DROP_TABLE | TR_CHG_TRUNCATE_TABLE)},
        {"evolve", "", TR_CHG_ALL},
        {"exception", "", TR_CHG_ALL},
        {"lenient", ", exclude.schema.changes: []", TR_CHG_ALL},
        {"lenient", ", exclude.schema.changes: 'add'", TR_CHG_ALL & ~TR_CHG_ADD_COLUMN},
        {"lenient", ", include.schema.changes: [table]", TR_CHG_CREATE_TABLE},
        {"evolve", ", include.schema.changes: [table]",
         TR_CHG_CREATE_TABLE | TR_CHG_DROP_TABLE | TR_CHG_TRUNCATE_TABLE},
        {"evolve", ", include.schema.changes: 'drop, alter.column'",
         TR_CHG_DROP_COLUMN | TR_CHG_DROP_TABLE | TR_CHG_ALTER_COLUMN_TYPE},
        {"evolve", ", include.schema.changes: all, exclude.schema.changes: column.type",
         TR_CHG_ALL & ~TR_CHG_ALTER_COLUMN_TYPE},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[400];
        (void)snprintf(text, sizeof text,
                       SOURCE "sink: {type: kafka%s}\npipeline: {schema.change.behavior: %s}\n",
                       cases[i].sink, cases[i].pipeline);
        struct tr_pipeline_file *file = parse(text);
        if (file->sinks[0].include_changes != cases[i].bits)
            fail_msg("%s: %u", text, file->sinks[0].include_changes);
        tr_pipeline_file_free(file);
    }
    expect_error(SOURCE "sink: {type: kafka, exclude.schema.changes: [drop, dro]}\n",
                 TR_E_CONFIG_VALUE, "p.yaml:2:45: ", "add.column");
    assert_string_equal(tr_change_bit_name(TR_CHG_TRUNCATE_TABLE), "truncate.table");
}

static void test_several_sinks(void **state)
{
    (void)state;
    struct tr_pipeline_file *file =
        parse(SOURCE "sink: [{type: kafka}, {type: kafka}, {type: null, name: sieve}]\n");
    assert_int_equal(file->sink_count, 3);
    assert_string_equal(file->sinks[0].name, "kafka");
    assert_string_equal(file->sinks[1].name, "kafka-2");
    assert_string_equal(file->sinks[2].name, "sieve");
    tr_pipeline_file_free(file);
    file = parse(SOURCE "sink:\n  type: null\n");
    assert_string_equal(file->sinks[0].name, "null");
    tr_pipeline_file_free(file);
    expect_error(SOURCE "sink: [{type: kafka, name: a}, {type: kafka, name: a}]\n",
                 TR_E_CONFIG_VALUE, "p.yaml:2:32: two sinks", "name");
    expect_error(SOURCE "sink: [{type: kafka}, {type: kafka, topi: x}]\n", TR_E_CONFIG_UNKNOWN_KEY,
                 "p.yaml:2:37: unknown key \"topi\" in sink[1]", "topic");
    expect_error(SOURCE "sink: [kafka]\n", TR_E_CONFIG_VALUE,
                 "p.yaml:2:8: sink[0]: expected a mapping", "type");
}

static void test_top_level_errors(void **state)
{
    (void)state;
    expect_error("", TR_E_CONFIG_REQUIRED, "p.yaml:1:1: the key `source`", "source");
    expect_error(SOURCE, TR_E_CONFIG_REQUIRED, "p.yaml:1:1: the key `sink`", "sink");
    expect_error("- a\n", TR_E_CONFIG_SYNTAX, "p.yaml:1:1: a mapping", "source");
    expect_error("text\n", TR_E_CONFIG_SYNTAX, "p.yaml:1:1: a mapping", "source");
    expect_error(SOURCE "sinks: {type: kafka}\n", TR_E_CONFIG_UNKNOWN_KEY,
                 "p.yaml:2:1: unknown key \"sinks\"", "Did you mean \"sink\"?");
    expect_error(SOURCE SINK "routes: []\n", TR_E_CONFIG_UNKNOWN_KEY, "p.yaml:3:1: ", "\"route\"");
    expect_error(SOURCE SINK "qqq: []\n", TR_E_CONFIG_UNKNOWN_KEY, "p.yaml:3:1: ", "Known here");
    expect_error(SOURCE SINK "pipeline:\n  user-defined-function: [{name: f, classpath: c}]\n",
                 TR_E_CONFIG_UNSUPPORTED, "p.yaml:4:3: `user-defined-function` runs only in Flink",
                 "Flink");
    expect_error(SOURCE SINK "pipeline:\n  model: [{model-name: m}]\n", TR_E_CONFIG_UNSUPPORTED,
                 "p.yaml:4:3: `model` runs only in Flink", "Flink");
    expect_error(SOURCE SINK "pipeline: 3\n", TR_E_CONFIG_VALUE,
                 "p.yaml:3:11: pipeline: expected a mapping of options, found a value", "");
    tr_pipeline_file_free(parse(SOURCE SINK "transform: []\nroute:\npipeline:\n"));
}

static void test_transforms(void **state)
{
    (void)state;
    struct tr_pipeline_file *file =
        parse(SOURCE SINK "transform:\n"
                          "  - source-table: app.users_\\.*\n"
                          "    projection: \\*, LOWER(email) AS email\n"
                          "    filter: age >= 18\n"
                          "    primary-keys: id, at\n"
                          "    converter-after-transform: SOFT_DELETE\n"
                          "    partition-keys: day\n"
                          "    description: grown-ups\n"
                          "  - {source-table: app.b}\n");
    assert_int_equal(file->transform_count, 2);
    const struct tr_transform_rule *rule = &file->transforms[0];
    assert_string_equal(rule->source_text, "app.users_\\.*");
    assert_true(tr_table_pattern_match(rule->source, &(struct tr_table_id){"", "app", "users_1"}));
    assert_false(tr_table_pattern_match(rule->source, &(struct tr_table_id){"", "app", "b"}));
    assert_string_equal(rule->projection, "\\*, LOWER(email) AS email");
    assert_string_equal(rule->filter, "age >= 18");
    assert_string_equal(rule->primary_keys, "id, at");
    assert_true(rule->soft_delete);
    assert_int_equal(rule->projection_line, 5);
    assert_int_equal(rule->projection_column, 17);
    assert_int_equal(rule->filter_line, 6);
    assert_int_equal(rule->keys_line, 7);
    assert_non_null(file->notes); /* partition-keys has no effect */
    assert_false(file->transforms[1].soft_delete);
    assert_null(file->transforms[1].projection);
    assert_null(file->transforms[1].filter);
    tr_pipeline_file_free(file);
    file = parse(SOURCE SINK "transform: {source-table: a.b, filter: x}\n");
    assert_int_equal(file->transform_count, 1);
    tr_pipeline_file_free(file);
    expect_error(SOURCE SINK "transform: [{projection: a}]\n", TR_E_CONFIG_REQUIRED,
                 "p.yaml:3:13: transform[0].source-table is required", "pattern");
    expect_error(SOURCE SINK "transform: [{source-table: a}, {source-table: a, projektion: b}]\n",
                 TR_E_CONFIG_UNKNOWN_KEY,
                 "p.yaml:3:50: unknown key \"projektion\" in transform[1]", "projection");
    expect_error(SOURCE SINK "transform: [{source-table: 'a.(b'}]\n", TR_E_CONFIG_PATTERN,
                 "p.yaml:3:28: table pattern", "");
    expect_error(SOURCE SINK
                 "transform: [{source-table: a, converter-after-transform: HARD_DELETE}]\n",
                 TR_E_CONFIG_VALUE, "p.yaml:3:58: ", "");
    expect_error(SOURCE SINK "transform: [x]\n", TR_E_CONFIG_VALUE,
                 "p.yaml:3:13: transform[0]: expected a mapping", "");
}

#define LETTERS "dead-letter: {type: null}\n"

static void test_event_time(void **state)
{
    (void)state;
    struct tr_pipeline_file *file = parse(SOURCE SINK);
    assert_null(file->event_time.column);
    assert_false(file->sinks[0].dead_letters);
    tr_pipeline_file_free(file);
    file = parse(SOURCE SINK "event-time: {column: at}\n");
    assert_string_equal(file->event_time.column, "at");
    assert_string_equal(file->event_time.where, "shop.yaml:3:22");
    assert_int_equal(file->event_time.delay_ms, 5000);
    assert_int_equal(file->event_time.idle_ms, 30000);
    assert_int_equal(file->event_time.late, TR_LATE_PROCESS); /* there is nowhere to send it */
    tr_pipeline_file_free(file);
    file = parse(SOURCE SINK LETTERS "event-time: {column: at, watermark-delay: 0s, "
                                     "idle-timeout: 1 min}\n");
    assert_int_equal(file->event_time.late, TR_LATE_DEAD_LETTER);
    assert_int_equal(file->event_time.delay_ms, 0);
    assert_int_equal(file->event_time.idle_ms, 60000);
    tr_pipeline_file_free(file);
    file = parse(SOURCE SINK LETTERS "event-time: {column: at, late: drop}\n");
    assert_int_equal(file->event_time.late, TR_LATE_DROP);
    tr_pipeline_file_free(file);
    file = parse(SOURCE SINK LETTERS "event-time:\n");
    assert_null(file->event_time.column);
    tr_pipeline_file_free(file);
    expect_error(SOURCE SINK "event-time: {watermark-delay: 5s}\n", TR_E_CONFIG_REQUIRED,
                 "p.yaml:3:13: event-time.column is required", "");
    expect_error(SOURCE SINK "event-time: {column: at, late: dead-letter}\n",
                 TR_E_CONFIG_REQUIRED, "p.yaml:3:32: late is dead-letter", "dead-letter: {type");
    expect_error(SOURCE SINK "event-time: {column: at, watermark-delay: -1s}\n",
                 TR_E_CONFIG_VALUE, "p.yaml:3:43: event-time.watermark-delay: ", "");
    expect_error(SOURCE SINK "event-time: {column: at, lateness: drop}\n",
                 TR_E_CONFIG_UNKNOWN_KEY, "p.yaml:3:26: unknown key \"lateness\"", "late");
    expect_error(SOURCE SINK "event-time: at\n", TR_E_CONFIG_VALUE,
                 "p.yaml:3:13: event-time: expected a mapping", "");
}

static void test_dead_letter(void **state)
{
    (void)state;
    struct tr_pipeline_file *file =
        parse(SOURCE "dead-letter: {type: kafka, topic: dead}\n"
                     "sink: [{type: kafka}, {type: null}]\n");
    assert_int_equal(file->sink_count, 3);
    assert_true(file->sinks[2].dead_letters); /* the last, wherever it stands in the file */
    assert_false(file->sinks[0].dead_letters || file->sinks[1].dead_letters);
    assert_string_equal(file->sinks[2].name, "kafka-2");
    assert_string_equal(((const struct fake_sink *)tr_config_values(file->sinks[2].config))->topic,
                        "dead");
    tr_pipeline_file_free(file);
    file = parse(SOURCE SINK "dead-letter:\n");
    assert_int_equal(file->sink_count, 1);
    tr_pipeline_file_free(file);
    expect_error(SOURCE SINK "dead-letter: {topic: x}\n", TR_E_CONFIG_REQUIRED,
                 "p.yaml:3:14: dead-letter.type is required", "");
    expect_error(SOURCE SINK "dead-letter: {type: kafka, name: kafka}\n", TR_E_CONFIG_VALUE,
                 "p.yaml:3:14: two sinks have the same name", "");
    expect_error(SOURCE SINK "dead-letter: {type: kafka, topi: x}\n", TR_E_CONFIG_UNKNOWN_KEY,
                 "p.yaml:3:28: unknown key \"topi\" in dead-letter", "topic");
    expect_error(SOURCE SINK "dead-letter: {type: kafka, history-table: x}\n", TR_E_CONFIG_VALUE,
                 "p.yaml:3:14: dead-letter takes no window", "");
    expect_error(SOURCE SINK "dead-letter: {type: kafka, write.mode: last-write-wins}\n",
                 TR_E_CONFIG_VALUE, "p.yaml:3:14: dead-letter takes no window", "");
    expect_error(SOURCE SINK "dead-letters: {type: kafka}\n", TR_E_CONFIG_UNKNOWN_KEY,
                 "p.yaml:3:1: unknown key \"dead-letters\"", "\"dead-letter\"");
}

static void test_sink_keys(void **state)
{
    (void)state;
    struct tr_pipeline_file *file = parse(
        SOURCE "sink:\n"
               "  - type: kafka\n"
               "    tables: [app.a, app.b_\\.*]\n"
               "    history-table: log.all\n"
               "    write.mode: last-write-wins\n"
               "    write.version-column: ver\n"
               "    route: [{source-table: app.a, sink-table: x.y}]\n"
               "  - {type: null, route: []}\n"
               "  - type: kafka\n"
               "    name: minutes\n"
               "    window: {type: hopping, size: 10min, slide: 1min, offset: 2s, "
               "group-by: [k, LOWER(c) AS c],\n"
               "             aggregates: [COUNT(*) AS n, SUM(v) AS s], table: sums, "
               "max-groups: 5}\n"
               "route: [{source-table: app.a, sink-table: z}]\n"
               "event-time: {column: at}\n");
    const struct tr_sink_config *sink = &file->sinks[0];
    assert_true(tr_table_pattern_match(sink->tables, &(struct tr_table_id){"", "app", "b_1"}));
    assert_false(tr_table_pattern_match(sink->tables, &(struct tr_table_id){"", "app", "c"}));
    assert_string_equal(sink->history_table, "log.all");
    assert_true(sink->last_write_wins);
    assert_string_equal(sink->version_column, "ver");
    assert_true(sink->own_routes);
    assert_int_equal(sink->route_count, 1);
    assert_string_equal(sink->routes[0].sink_table, "x.y");
    assert_int_equal(sink->window.kind, TR_WINDOW_NONE);
    assert_true(file->sinks[1].own_routes); /* none at all, instead of the file's */
    assert_int_equal(file->sinks[1].route_count, 0);
    assert_null(file->sinks[1].tables);
    assert_false(file->sinks[1].last_write_wins);
    sink = &file->sinks[2];
    assert_false(sink->own_routes);
    assert_int_equal(sink->window.kind, TR_WINDOW_HOPPING);
    assert_int_equal(sink->window.size_ms, 600000);
    assert_int_equal(sink->window.slide_ms, 60000);
    assert_int_equal(sink->window.offset_ms, 2000);
    assert_int_equal(sink->window.group_by.count, 2);
    assert_string_equal(sink->window.group_by.items[1], "LOWER(c) AS c");
    assert_int_equal(sink->window.aggregates.count, 2);
    assert_string_equal(sink->window.table, "sums");
    assert_int_equal(sink->window.groups_max, 5);
    assert_int_equal(file->route_count, 1);
    tr_pipeline_file_free(file);
    expect_error(SOURCE "sink: {type: kafka, tables: 'a.(b'}\n", TR_E_CONFIG_PATTERN,
                 "p.yaml:2:29: table pattern", "");
    expect_error(SOURCE "sink: {type: kafka, route: [{source-table: a}]}\n",
                 TR_E_CONFIG_REQUIRED, "p.yaml:2:29: sink.route[0].sink-table is required", "");
    expect_error(SOURCE "sink: [{type: kafka, route: [{source-table: a, sink-table: $2}]}]\n",
                 TR_E_ROUTE_TARGET, "p.yaml:2:60: ", "parentheses");
    expect_error(SOURCE "sink: {type: kafka, write.mode: newest}\n", TR_E_CONFIG_VALUE,
                 "p.yaml:2:33: sink.write.mode: ", "");
    /* both need a time */
    expect_error(SOURCE "sink: {type: kafka, write.mode: last-write-wins}\n",
                 TR_E_CONFIG_REQUIRED, "p.yaml: the key `event-time` is required", "event-time");
    tr_pipeline_file_free(parse(
        SOURCE "sink: {type: kafka, write.mode: last-write-wins, write.version-column: v}\n"));
}

static void test_windows(void **state)
{
    (void)state;
    static const struct {
        const char *window;
        enum tr_code code;
        const char *begin;
    } cases[] = {
        {"type: tumbling, aggregates: COUNT(*) AS n", TR_E_CONFIG_REQUIRED,
         "p.yaml:3:36: sink.window.size is required"},
        {"type: hopping, size: 1min, aggregates: COUNT(*) AS n", TR_E_CONFIG_REQUIRED,
         "p.yaml:3:36: sink.window.slide is required"},
        {"type: session, size: 1min, aggregates: COUNT(*) AS n", TR_E_CONFIG_REQUIRED,
         "p.yaml:3:36: sink.window.gap is required"},
        {"type: tumbling, size: 1min", TR_E_CONFIG_REQUIRED,
         "p.yaml:3:36: sink.window.aggregates is required"},
        {"type: hopping, size: 1min, slide: 25s, aggregates: COUNT(*) AS n", TR_E_CONFIG_VALUE,
         "p.yaml:3:64: window.size must be a multiple"},
        {"type: sliding", TR_E_CONFIG_VALUE, "p.yaml:3:36: sink.window.type: expected one of none"},
        {"type: tumbling, size: 0s, aggregates: COUNT(*) AS n", TR_E_CONFIG_VALUE,
         "p.yaml:3:52: sink.window.size: "},
        {"type: tumbling, sise: 1s", TR_E_CONFIG_UNKNOWN_KEY, "p.yaml:3:46: "},
        {"type: tumbling, max-groups: 0", TR_E_CONFIG_VALUE, "p.yaml:3:58: "},
    };
    char text[500];
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        (void)snprintf(text, sizeof text,
                       SOURCE "event-time: {column: at}\nsink: {type: kafka, window: {%s}}\n",
                       cases[i].window);
        expect_error(text, cases[i].code, cases[i].begin, "");
    }
    expect_error(SOURCE "sink: {type: kafka, window: {type: tumbling, size: 1s, "
                        "aggregates: COUNT(*) AS n}}\n",
                 TR_E_CONFIG_REQUIRED,
                 "p.yaml: the key `event-time` is required: sink kafka has a window", "");
    expect_error(SOURCE "sink: {type: kafka, history-table: h, window: {type: tumbling, size: 1s, "
                        "aggregates: COUNT(*) AS n}}\nevent-time: {column: at}\n",
                 TR_E_CONFIG_VALUE, "p.yaml:2:54: a window takes neither", "");
    expect_error(SOURCE SINK "dead-letter: {type: kafka, window: {type: tumbling, size: 1s, "
                             "aggregates: COUNT(*) AS n}}\nevent-time: {column: at}\n",
                 TR_E_CONFIG_VALUE, "p.yaml:3:14: dead-letter takes no window", "");
    struct tr_pipeline_file *file =
        parse(SOURCE "sink: {type: kafka, window.type: tumbling, window.size: 1s, "
                     "window.aggregates: COUNT(*) AS n}\nevent-time: {column: at}\n");
    assert_int_equal(file->sinks[0].window.groups_max, 1000000);
    assert_int_equal(file->sinks[0].window.aggregates.count, 1);
    tr_pipeline_file_free(file);
}

static void test_connector_errors(void **state)
{
    (void)state;
    expect_error("source: {hostname: h}\n" SINK, TR_E_CONFIG_REQUIRED,
                 "p.yaml:1:9: source.type is required", "tailrace list");
    expect_error("source: {type: , hostname: h}\n" SINK, TR_E_CONFIG_REQUIRED,
                 "p.yaml:1:", "tailrace list");
    expect_error("source: {type: [mysql]}\n" SINK, TR_E_CONFIG_VALUE, "p.yaml:1:16: source.type",
                 "list");
    expect_error("source: {type: postgre}\n" SINK, TR_E_CONFIG_UNKNOWN_CONNECTOR,
                 "p.yaml:1:16: there is no source of type \"postgre\"",
                 "Did you mean \"postgres\"? Known: mysql, postgres, oracle.");
    expect_error("source: {type: zzzzzz}\n" SINK, TR_E_CONFIG_UNKNOWN_CONNECTOR,
                 "p.yaml:1:16: ", "Known: mysql");
    expect_error(
        "source: {type: oracle}\n" SINK, TR_E_CONFIG_CONNECTOR_NOT_BUILT,
        "p.yaml:1:16: the source \"oracle\" is not in this program: built without the client",
        "tailrace version");
    expect_error(SOURCE "sink: {type: postgresql}\n", TR_E_CONFIG_CONNECTOR_NOT_BUILT,
                 "p.yaml:2:14: the sink \"postgres\" is not in this program: built without libpq",
                 "");
    expect_error("source: mysql\n" SINK, TR_E_CONFIG_VALUE,
                 "p.yaml:1:9: source: expected a mapping", "");
}

static void test_option_errors(void **state)
{
    (void)state;
    expect_error("source: {type: mysql}\n" SINK, TR_E_CONFIG_REQUIRED,
                 "p.yaml:1:9: source.hostname is required", "The server.");
    expect_error("source:\n  type: mysql\n  hostnam: h\n" SINK, TR_E_CONFIG_UNKNOWN_KEY,
                 "p.yaml:3:3: unknown key \"hostnam\" in source",
                 "Did you mean \"hostname\"? `tailrace help mysql` lists all.");
    expect_error("source:\n  type: mysql\n  startup.mode: h\n" SINK, TR_E_CONFIG_UNKNOWN_KEY,
                 "p.yaml:3:3: ", "\"scan.startup.mode\"");
    expect_error("source:\n  type: mysql\n  scan:\n    startup:\n      mod: h\n" SINK,
                 TR_E_CONFIG_UNKNOWN_KEY, "p.yaml:5:7: unknown key \"scan.startup.mod\"",
                 "\"scan.startup.mode\"");
    expect_error("source:\n  type: mysql\n  unrelated-thing: h\n" SINK, TR_E_CONFIG_UNKNOWN_KEY,
                 "p.yaml:3:3: ", "Known here: type, name, hostname, port");
    expect_error("source: {type: mysql, hostname: h, host: g}\n" SINK, TR_E_CONFIG_DUPLICATE_KEY,
                 "p.yaml:1:36: source.host is given twice", "\"hostname\" at p.yaml:1:33");
    expect_error("source: {type: mysql, hostname: h, scan: {startup.mode: initial}, "
                 "scan.startup.mode: initial}\n" SINK,
                 TR_E_CONFIG_DUPLICATE_KEY, "p.yaml:1:67: ", "p.yaml:1:57");
    expect_error("source: {type: mysql, hostname: h, port: 70000}\n" SINK, TR_E_CONFIG_VALUE,
                 "p.yaml:1:42: source.port: expected a number from 1 to 65535, found \"70000\"",
                 "port");
    expect_error("source: {type: mysql, hostname: h, port: 12x}\n" SINK, TR_E_CONFIG_VALUE,
                 "p.yaml:1:42: source.port: expected a whole number", "");
    expect_error("source: {type: mysql, hostname: h, port: [1]}\n" SINK, TR_E_CONFIG_VALUE,
                 "p.yaml:1:42: source.port: expected a single value, found a list", "");
    expect_error("source: {type: mysql, hostname: }\n" SINK, TR_E_CONFIG_VALUE,
                 "p.yaml:1:", "The server");
    expect_error("source: {type: mysql, hostname: null}\n" SINK, TR_E_CONFIG_VALUE,
                 "p.yaml:1:33: ", "");
    expect_error("source: {type: mysql, hostname: h, heartbeat.interval: 5parsec}\n" SINK,
                 TR_E_CONFIG_VALUE,
                 "p.yaml:1:56: source.heartbeat.interval: expected a duration such as 100ms", "");
    expect_error(
        "source: {type: mysql, hostname: h, heartbeat.interval: 1ms}\n" SINK, TR_E_CONFIG_VALUE,
        "p.yaml:1:56: source.heartbeat.interval: expected a duration from 100ms to 1h, found "
        "\"1ms\"",
        "");
    expect_error("source: {type: mysql, hostname: h, schema-change.enabled: yes}\n" SINK,
                 TR_E_CONFIG_VALUE,
                 "p.yaml:1:59: source.schema-change.enabled: expected true or false", "");
    expect_error("source: {type: mysql, hostname: h, scan.startup.mode: never}\n" SINK,
                 TR_E_CONFIG_VALUE,
                 "p.yaml:1:55: source.scan.startup.mode: expected one of initial, latest-offset, "
                 "snapshot, found \"never\"",
                 "");
    expect_error("source: {type: mysql, hostname: h, metadata.list: [a, [b]]}\n" SINK,
                 TR_E_CONFIG_VALUE, "p.yaml:1:55: source.metadata.list: expected a text", "");
    expect_error("source: {type: mysql, hostname: h, debezium.x: [b]}\n" SINK, TR_E_CONFIG_VALUE,
                 "p.yaml:1:48: source.debezium.*: expected a text, found a list", "");
    expect_error(SOURCE "sink: {type: kafka, buffer.size: 12 lightyears}\n", TR_E_CONFIG_VALUE,
                 "p.yaml:2:34: sink.buffer.size: expected a size such as 512KB", "");
    expect_error(SOURCE SINK "pipeline:\n  paralelism: 2\n", TR_E_CONFIG_UNKNOWN_KEY,
                 "p.yaml:4:3: unknown key \"paralelism\" in pipeline", "\"parallelism\"");
    expect_error(SOURCE SINK "pipeline: {parallelism: 0}\n", TR_E_CONFIG_VALUE,
                 "p.yaml:3:25: ", "");
}

/* A canary in every secret place: no message may hold it. */
static void test_secrets_stay_secret(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "source: {type: mysql, hostname: h, password: [canary]}\n" SINK,
        "source: {type: mysql, hostname: h, password: canary, port: x}\n" SINK,
        "source: {type: mysql, hostname: h, port: '${TR_TEST_CANARY}'}\n" SINK,
        "source: {type: mysql, hostname: h, schema-change.enabled: '${TR_TEST_CANARY}'}\n" SINK,
        "source: {type: mysql, hostname: h, scan.startup.mode: '${TR_TEST_CANARY}'}\n" SINK,
        "source: {type: '${TR_TEST_CANARY}', hostname: h}\n" SINK,
        "source: {type: mysql, hostname: h, password: canary\n" SINK,
        "source:\n  type: mysql\n  password: \"canary\n" SINK,
        "source:\n  type: mysql\n  password: canary: x\n" SINK,
        SOURCE "sink: {type: kafka, token: {a: canary}}\n",
        SOURCE "sink: {type: kafka, properties.x: [canary]}\n",
    };
    (void)setenv("TR_TEST_CANARY", "canary", 1);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct tr_pipeline_file *file;
        struct tr_error err;
        assert_int_equal(tr_pipeline_file_parse(texts[i], strlen(texts[i]), "p.yaml", fake_sources,
                                                fake_sinks, &file, &err),
                         TR_FAIL);
        if (strstr(err.message, "canary") != NULL || strstr(err.detail, "canary") != NULL ||
            strstr(err.hint, "canary") != NULL)
            fail_msg("%s: %s (%s)", texts[i], err.message, err.hint);
    }
}

static void test_route_errors(void **state)
{
    (void)state;
    static const struct {
        const char *route;
        enum tr_code code;
        const char *begin, *hint;
    } cases[] = {
        {"[{source-table: a}]", TR_E_CONFIG_REQUIRED, "p.yaml:3:9: route[0].sink-table is required",
         "$1"},
        {"{sink-table: a}", TR_E_CONFIG_REQUIRED, "p.yaml:3:8: route.source-table is required",
         "pattern"},
        {"[{source-table: a, sink-tabel: b}]", TR_E_CONFIG_UNKNOWN_KEY,
         "p.yaml:3:27: ", "sink-table"},
        {"[{source-table: 'a.(b', sink-table: b}]", TR_E_CONFIG_PATTERN,
         "p.yaml:3:24: table pattern", "any character"},
        {"[{source-table: 'a.b', sink-table: $1}]", TR_E_ROUTE_TARGET,
         "p.yaml:3:43: sink-table refers to $1, but source-table has 0 captures", "parentheses"},
        {"[{source-table: 'a.(b),c', sink-table: $1}]", TR_E_ROUTE_TARGET, "p.yaml:3:47: ", ""},
        {"[{source-table: 'a.(b)', sink-table: '<>_$1', replace-symbol: <>}]", TR_E_ROUTE_TARGET,
         "p.yaml:3:45: ", "one of the two"},
        {"[{source-table: a, sink-table: a.b.c.d}]", TR_E_ROUTE_TARGET, "p.yaml:3:39: ", ""},
        {"[{source-table: a, sink-table: a..b}]", TR_E_ROUTE_TARGET, "p.yaml:3:39: ", ""},
        {"[{source-table: a, sink-table: a.}]", TR_E_ROUTE_TARGET, "p.yaml:3:39: ", ""},
        {"[{source-table: a, sink-table: ''}]", TR_E_ROUTE_TARGET, "p.yaml:3:39: ", ""},
        {"[x]", TR_E_CONFIG_VALUE, "p.yaml:3:9: route[0]: expected a mapping", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[400];
        (void)snprintf(text, sizeof text, SOURCE SINK "route: %s\n", cases[i].route);
        expect_error(text, cases[i].code, cases[i].begin, cases[i].hint);
    }
}

static void test_names(void **state)
{
    (void)state;
    static const struct {
        const char *given, *name;
    } good[] = {{"shop", "shop"},
                {"Shop_1.x-y", "Shop_1.x-y"},
                {"a b", "a-b"},
                {"a  (b)", "a-b"},
                {"'  a'", "a"},
                {"ä1", "1"},
                {"a-", "a-"},
                {"a23456789012345678901234567890123456789012345678",
                 "a23456789012345678901234567890123456789012345678"}};
    static const char *const bad[] = {"''",
                                      "'..'",
                                      ".a",
                                      "-a",
                                      "同步",
                                      "'../../etc'",
                                      "a234567890123456789012345678901234567890123456789"};
    char text[300];
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        (void)snprintf(text, sizeof text, SOURCE SINK "pipeline: {name: %s}\n", good[i].given);
        struct tr_pipeline_file *file = parse(text);
        assert_string_equal(file->options.name, good[i].name);
        tr_pipeline_file_free(file);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        (void)snprintf(text, sizeof text, SOURCE SINK "pipeline: {name: %s}\n", bad[i]);
        expect_error(text, TR_E_CONFIG_VALUE, "p.yaml:3:18: pipeline.name", "");
    }
    expect_error_as(SOURCE SINK, "<stdin>", TR_E_CONFIG_REQUIRED, "<stdin>:1:1: pipeline.name",
                    "name");
}

static void test_files(void **state)
{
    (void)state;
    char path[] = "/tmp/tr-pipeline-XXXXXX";
    struct tr_pipeline_file *file;
    struct tr_error err;
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, SOURCE SINK, strlen(SOURCE SINK)), (ssize_t)strlen(SOURCE SINK));
    assert_int_equal(tr_pipeline_file_load(path, fake_sources, fake_sinks, &file, &err), TR_OK);
    assert_int_equal(strncmp(file->options.name, "tr-pipeline-", 12), 0);
    tr_pipeline_file_free(file);
    assert_int_equal(ftruncate(fd, 300 * 1024), 0);
    assert_int_equal(tr_pipeline_file_load(path, fake_sources, fake_sinks, &file, &err), TR_FAIL);
    assert_int_equal(err.code, TR_E_CONFIG_LIMIT);
    (void)close(fd);
    (void)unlink(path);
    assert_int_equal(tr_pipeline_file_load(path, fake_sources, fake_sinks, &file, &err), TR_FAIL);
    assert_int_equal(err.code, TR_E_CONFIG_FILE);
    assert_non_null(strstr(err.message, path));
    assert_int_equal(tr_pipeline_file_load("/tmp", fake_sources, fake_sinks, &file, &err), TR_FAIL);
    assert_int_equal(err.code, TR_E_CONFIG_FILE);
    tr_pipeline_file_free(NULL);
}

static void test_json_file(void **state)
{
    (void)state;
    struct tr_pipeline_file *file =
        parse_as("{\n  \"source\": {\"type\": \"mysql\", \"hostname\": \"h\", \"port\": 33},\n"
                 "  \"sink\": {\"type\": \"kafka\", \"auto-create-table\": true}\n}\n",
                 "x/shop.json");
    assert_int_equal(((const struct fake_source *)tr_config_values(file->source_config))->port, 33);
    assert_string_equal(file->options.name, "shop");
    tr_pipeline_file_free(file);
    expect_error_as("{\n  \"source\": {\"type\": \"mysql\", \"hostname\": 'h'}}", "p.json",
                    TR_E_CONFIG_SYNTAX, "p.json:2:", "JSON");
}

static void test_config_from_text(void **state)
{
    (void)state;
    struct tr_config *config;
    struct tr_error err;
    assert_int_equal(tr_config_from_text("hostname: x\npassword: p\n", fake_source_options,
                                         sizeof(struct fake_source), &config, &err),
                     TR_OK);
    assert_string_equal(((const struct fake_source *)tr_config_values(config))->password.value,
                        "p");
    tr_config_free(config);
    assert_int_equal(
        tr_config_from_text("x: 1", fake_source_options, sizeof(struct fake_source), &config, &err),
        TR_FAIL);
    tr_config_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_flink_cdc_documents_example),
        cmocka_unit_test(test_flink_cdc_all_keys),
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_nested_is_dotted),
        cmocka_unit_test(test_schema_changes),
        cmocka_unit_test(test_several_sinks),
        cmocka_unit_test(test_top_level_errors),
        cmocka_unit_test(test_transforms),
        cmocka_unit_test(test_event_time),
        cmocka_unit_test(test_dead_letter),
        cmocka_unit_test(test_sink_keys),
        cmocka_unit_test(test_windows),
        cmocka_unit_test(test_connector_errors),
        cmocka_unit_test(test_option_errors),
        cmocka_unit_test(test_secrets_stay_secret),
        cmocka_unit_test(test_route_errors),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_json_file),
        cmocka_unit_test(test_config_from_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
