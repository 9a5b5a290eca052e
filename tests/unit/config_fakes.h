/* Connectors that exist only as option tables, with Flink CDC's key names, for tests of the
 * pipeline file; shared with the fuzz target. */
#ifndef TESTS_UNIT_CONFIG_FAKES_H
#define TESTS_UNIT_CONFIG_FAKES_H

#include "config/pipeline_file.h"

struct fake_source {
    const char *hostname;
    int64_t port;
    const char *username;
    struct tr_secret password;
    struct tr_string_list tables;
    const char *server_id;
    int startup_mode;
    int64_t heartbeat_ms;
    int64_t chunk_size;
    bool schema_changes;
    struct tr_string_map debezium;
    struct tr_string_list metadata;
};
struct fake_sink {
    struct tr_string_map properties;
    const char *servers;
    bool auto_create;
    const char *topic;
    int value_format;
    int64_t buffer_bytes;
    struct tr_secret token;
};

#define SRC(field) offsetof(struct fake_source, field)
#define SNK(field) offsetof(struct fake_sink, field)

static const char *const fake_modes[] = {"initial", "latest-offset", "snapshot", NULL};
static const char *const fake_formats[] = {"debezium-json", "canal-json", NULL};

static const struct tr_option fake_source_options[] = {
    {"hostname", "host", TR_OPT_STRING, TR_OPT_REQUIRED, SRC(hostname), NULL, 0, 0, NULL,
     "The server."},
    {"port", NULL, TR_OPT_INT, 0, SRC(port), "3306", 1, 65535, NULL, "Its port."},
    {"username", NULL, TR_OPT_STRING, 0, SRC(username), NULL, 0, 0, NULL, "The user."},
    {"password", NULL, TR_OPT_SECRET, 0, SRC(password), NULL, 0, 0, NULL, "Its password."},
    {"tables", NULL, TR_OPT_LIST, TR_OPT_RAW_LIST, SRC(tables), NULL, 0, 0, NULL,
     "Patterns | of <tables>."},
    {"server-id", NULL, TR_OPT_STRING, 0, SRC(server_id), NULL, 0, 0, NULL, "Range."},
    {"scan.startup.mode", NULL, TR_OPT_ENUM, 0, SRC(startup_mode), "initial", 0, 0, fake_modes,
     "Where."},
    {"heartbeat.interval", NULL, TR_OPT_DURATION, 0, SRC(heartbeat_ms), "30s", 100, 3600000, NULL,
     "How often."},
    {"scan.incremental.snapshot.chunk.size", NULL, TR_OPT_INT, TR_OPT_ADVANCED, SRC(chunk_size),
     "8096", 1, 1000000, NULL, "Rows."},
    {"schema-change.enabled", NULL, TR_OPT_BOOL, 0, SRC(schema_changes), "true", 0, 0, NULL,
     "Follow changes."},
    {"debezium.*", NULL, TR_OPT_MAP, TR_OPT_ADVANCED, SRC(debezium), NULL, 0, 0, NULL, "More."},
    {"metadata.list", NULL, TR_OPT_LIST, 0, SRC(metadata), "op_ts, table_name", 0, 0, NULL,
     "Columns."},
    {"server-time-zone", NULL, TR_OPT_STRING, TR_OPT_IGNORED, 0, NULL, 0, 0, NULL,
     "Has no effect here."},
    {"jdbc.properties.*", NULL, TR_OPT_MAP, TR_OPT_IGNORED, 0, NULL, 0, 0, NULL,
     "There is no JDBC here."},
    {NULL, NULL, TR_OPT_STRING, 0, 0, NULL, 0, 0, NULL, NULL},
};
static const struct tr_option fake_sink_options[] = {
    {"properties.*", NULL, TR_OPT_MAP, 0, SNK(properties), NULL, 0, 0, NULL, "The client's."},
    {"properties.bootstrap.servers", "bootstrap-servers", TR_OPT_STRING, 0, SNK(servers), NULL, 0,
     0, NULL, "Brokers."},
    {"auto-create-table", NULL, TR_OPT_BOOL, 0, SNK(auto_create), "false", 0, 0, NULL,
     "Make topics."},
    {"topic", NULL, TR_OPT_STRING, 0, SNK(topic), NULL, 0, 0, NULL, "The topic."},
    {"value.format", NULL, TR_OPT_ENUM, 0, SNK(value_format), "debezium-json", 0, 0, fake_formats,
     "Format."},
    {"buffer.size", NULL, TR_OPT_SIZE, 0, SNK(buffer_bytes), "1MB", 1024, 1 << 30, NULL, "Bytes."},
    {"token", NULL, TR_OPT_SECRET, 0, SNK(token), NULL, 0, 0, NULL, "A secret."},
    {NULL, NULL, TR_OPT_STRING, 0, 0, NULL, 0, 0, NULL, NULL},
};

static const struct tr_source_ops fake_mysql = {.name = "mysql",
                                                .abi = TR_SOURCE_ABI,
                                                .options = fake_source_options,
                                                .options_size = sizeof(struct fake_source),
                                                .summary = "A fake."};
static const struct tr_sink_ops fake_kafka = {.name = "kafka",
                                              .abi = TR_SINK_ABI,
                                              .options = fake_sink_options,
                                              .options_size = sizeof(struct fake_sink),
                                              .summary = "A fake."};
static const struct tr_source_entry fake_sources[] = {
    {"mysql", NULL, &fake_mysql, NULL},
    {"postgres", "postgresql", &fake_mysql, NULL},
    {"oracle", NULL, NULL, "built without the client library"},
    {NULL, NULL, NULL, NULL},
};
static const struct tr_sink_entry fake_sinks[] = {
    {"kafka", NULL, &fake_kafka, NULL},
    {"null", NULL, &fake_kafka, NULL},
    {"postgres", "postgresql", NULL, "built without libpq (package libpq-dev)"},
    {NULL, NULL, NULL, NULL},
};

#endif
