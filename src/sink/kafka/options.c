#include "sink/kafka/options.h"

#include <stdlib.h>
#include <string.h>

#define AT(field) offsetof(struct kafka_options, field)

static const char *const guarantee_values[] = {"at-least-once", "exactly-once", "none", NULL};
static const char *const partitioning_values[] = {"hash-by-key", "all-to-zero", NULL};

const struct tr_option kafka_option_table[] = {
    {.name = "properties.*",
     .type = TR_OPT_MAP,
     .offset = AT(properties),
     .help = "Properties of the Kafka client, above all properties.bootstrap.servers (host:port, "
             "…) and "
             "properties.security.protocol, properties.sasl.* and properties.ssl.*. librdkafka's "
             "names; "
             "Java's are translated where the meaning is the same."},
    {.name = "bootstrap-servers",
     .type = TR_OPT_STRING,
     .offset = AT(bootstrap_servers),
     .help = "Short for properties.bootstrap.servers."},
    {.name = "topic",
     .type = TR_OPT_STRING,
     .offset = AT(topic),
     .default_text = "{prefix}.{schema}.{table}",
     .help = "Topic of a table: one name for all, or a template of {prefix}, {pipeline}, "
             "{namespace} (the "
             "database), {schema} and {table}. Letters that topics cannot hold become _."},
    {.name = "topic.prefix",
     .type = TR_OPT_STRING,
     .offset = AT(topic_prefix),
     .help = "{prefix} of topics and source.name of records; the pipeline's name unless given."},
    {.name = "sink.tableId-to-topic.mapping",
     .type = TR_OPT_STRING,
     .offset = AT(topic_mapping),
     .help = "Topics of single tables, before the template: table:topic;table:topic. A table is "
             "schema.table or database.schema.table."},
    {.name = "value.format",
     .type = TR_OPT_STRING,
     .offset = AT(value_format),
     .default_text = "debezium-json",
     .help =
         "debezium-json (the change, as Debezium writes it without schemas), json (the row), or raw: "
         "dead letters as the messages that they were, with the reason in headers."},
    {.name = "key.format",
     .type = TR_OPT_STRING,
     .offset = AT(key_format),
     .default_text = "json",
     .help = "json: an object of the key columns; no key for a table without one."},
    {.name = "partition.strategy",
     .type = TR_OPT_ENUM,
     .offset = AT(partitioning),
     .default_text = "hash-by-key",
     .values = partitioning_values,
     .help = "hash-by-key: Java's murmur2 of the key, a table without key in one partition; "
             "all-to-zero: "
             "partition 0."},
    {.name = "sink.delivery-guarantee",
     .type = TR_OPT_ENUM,
     .offset = AT(guarantee),
     .default_text = "at-least-once",
     .values = guarantee_values,
     .help = "at-least-once: idempotent producer; exactly-once: transactions that hold the "
             "position too, "
             "for readers with isolation.level=read_committed; none: acknowledged by the leader "
             "alone."},
    {.name = "auto-create-table",
     .alias = "auto-create-topic",
     .type = TR_OPT_BOOL,
     .offset = AT(create_topics),
     .default_text = "true",
     .help = "Create topics that do not exist."},
    {.name = "topic.partitions",
     .type = TR_OPT_INT,
     .offset = AT(partitions),
     .default_text = "-1",
     .min = -1,
     .max = 100000,
     .help = "Partitions of topics that are created; -1: the broker's default."},
    {.name = "topic.replication-factor",
     .type = TR_OPT_INT,
     .offset = AT(replication),
     .default_text = "-1",
     .min = -1,
     .max = 1000,
     .help = "Replicas of topics that are created; -1: the broker's default."},
    {.name = "topic.config.*",
     .type = TR_OPT_MAP,
     .flags = TR_OPT_ADVANCED,
     .offset = AT(topic_config),
     .help =
         "Settings of topics that are created, for example topic.config.cleanup.policy: compact."},
    {.name = "tombstones.on.delete",
     .type = TR_OPT_BOOL,
     .offset = AT(tombstones),
     .default_text = "true",
     .help =
         "Write a record without value behind each delete, so that compaction removes the key."},
    {.name = "sink.add-tableId-to-header-enabled",
     .type = TR_OPT_BOOL,
     .offset = AT(table_headers),
     .default_text = "false",
     .help = "Headers namespace, schemaName and tableName on every record."},
    {.name = "sink.custom-header",
     .type = TR_OPT_STRING,
     .offset = AT(custom_headers),
     .help = "Headers on every record: name:value,name:value."},
    {.name = "debezium-json.include-schema.enabled",
     .type = TR_OPT_BOOL,
     .flags = TR_OPT_ADVANCED,
     .offset = AT(include_schema),
     .default_text = "false",
     .help =
         "Only false: records with a schema beside the payload are not written in this version."},
    {.name = "sink.transactional-id-prefix",
     .type = TR_OPT_STRING,
     .flags = TR_OPT_ADVANCED,
     .offset = AT(transactional_id_prefix),
     .help = "exactly-once: begins the transactional id; tailrace-<pipeline> unless given. Two "
             "pipelines "
             "must not share it."},
    {.name = "sink.position-topic",
     .type = TR_OPT_STRING,
     .flags = TR_OPT_ADVANCED,
     .offset = AT(position_topic),
     .help = "exactly-once: the compacted topic that holds the position; "
             "__tailrace_position.<pipeline> "
             "unless given."},
    {.name = "sink.transaction.timeout",
     .type = TR_OPT_DURATION,
     .flags = TR_OPT_ADVANCED,
     .offset = AT(transaction_timeout_ms),
     .default_text = "10min",
     .min = 1000,
     .max = 2147483647,
     .help =
         "exactly-once: the broker aborts a transaction open longer than this. The longest source "
         "transaction must be written within it; the broker's transaction.max.timeout.ms bounds "
         "it."},
    {.name = "sink.transaction.interval",
     .type = TR_OPT_DURATION,
     .flags = TR_OPT_ADVANCED,
     .offset = AT(transaction_interval_ms),
     .default_text = "200ms",
     .min = 1,
     .max = 600000,
     .help = "exactly-once: under load a Kafka transaction gathers source transactions this long. "
             "Readers "
             "see them when it ends."},
    {.name = "sink.transaction.records",
     .type = TR_OPT_INT,
     .flags = TR_OPT_ADVANCED,
     .offset = AT(transaction_records),
     .default_text = "100000",
     .min = 1,
     .max = 1000000000,
     .help =
         "exactly-once: a Kafka transaction ends at the first source transaction's end behind this "
         "many records."},
    {.name = "sink.connect.timeout",
     .type = TR_OPT_DURATION,
     .flags = TR_OPT_ADVANCED,
     .offset = AT(connect_timeout_ms),
     .default_text = "10s",
     .min = 100,
     .max = 600000,
     .help = "How long start and topic creation wait for a broker."},
    {.name = "sink.buffer.memory",
     .type = TR_OPT_SIZE,
     .flags = TR_OPT_ADVANCED,
     .offset = AT(buffer_bytes),
     .default_text = "3MB",
     .min = 1048576,
     .max = 2147483648,
     .help =
         "Records handed to the client and not yet acknowledged by the broker; when it is full the "
         "pipeline waits."},
    TR_FORMAT_OPTION_ROWS(struct kafka_options, format, "tombstone"),
    {.name = NULL},
};

const char *kafka_bootstrap_servers(const struct kafka_options *options)
{
    for (size_t i = 0; i < options->properties.count; i++) {
        if (strcmp(options->properties.keys[i], "bootstrap.servers") == 0)
            return options->properties.values[i];
    }
    return options->bootstrap_servers;
}

enum tr_status kafka_options_check(const struct kafka_options *options, struct tr_error *err)
{
    const char *servers = kafka_bootstrap_servers(options);
    if (servers == NULL || servers[0] == '\0') {
        (void)tr_fail(err, TR_E_KAFKA_CONFIG, "the Kafka sink does not say where the brokers are");
        return tr_hint(err, "Give properties.bootstrap.servers: host:9092.");
    }
    if (strcmp(options->value_format, "debezium-json") != 0 &&
        strcmp(options->value_format, "json") != 0 && strcmp(options->value_format, "raw") != 0) {
        (void)tr_fail(err, TR_E_KAFKA_CONFIG, "value.format %s is not written by this version",
                      options->value_format);
        return tr_hint(err, "Use value.format: debezium-json or json; raw for dead letters.");
    }
    if (strcmp(options->key_format, "json") != 0) {
        (void)tr_fail(err, TR_E_KAFKA_CONFIG, "key.format %s is not written by this version",
                      options->key_format);
        return tr_hint(err, "Use key.format: json.");
    }
    if (options->include_schema) {
        (void)tr_fail(err, TR_E_KAFKA_CONFIG,
                      "debezium-json.include-schema.enabled: true is not written by this version");
        return tr_hint(err, "Leave it false: records are the bare envelope, as Debezium's with "
                            "schemas.enable=false.");
    }
    if (options->partitions == 0 || options->replication == 0) {
        (void)tr_fail(err, TR_E_KAFKA_CONFIG, "%s is 0",
                      options->partitions == 0 ? "topic.partitions" : "topic.replication-factor");
        return tr_hint(err, "Use -1 for the broker's default, or a number above 0.");
    }
    if (options->topic[0] == '\0') {
        (void)tr_fail(err, TR_E_KAFKA_TOPIC_NAME, "topic is empty");
        return tr_hint(err, "Leave it out for {prefix}.{schema}.{table}, or name a topic.");
    }
    return TR_OK;
}

static enum tr_status bad_pair(const char *option, char separator, bool mapping,
                               struct tr_error *err)
{
    (void)tr_fail(err, TR_E_KAFKA_CONFIG, "%s: a part is not of the form name:value", option);
    return tr_hint(err, "Write %s: %s%c%s", option, mapping ? "public.orders:orders" : "team:shop",
                   separator, mapping ? "public.items:items" : "env:test");
}

enum tr_status kafka_pairs_parse(const char *option, const char *text, char separator,
                                 bool last_colon, struct kafka_pairs *pairs, struct tr_error *err)
{
    *pairs = (struct kafka_pairs){0};
    if (text == NULL || text[0] == '\0')
        return TR_OK;
    size_t most = 1;
    for (const char *c = text; *c != '\0'; c++)
        most += *c == separator;
    pairs->text = strdup(text);
    pairs->items = calloc(most, sizeof *pairs->items);
    if (pairs->text == NULL || pairs->items == NULL) {
        kafka_pairs_free(pairs);
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for options");
    }
    const char separators[] = {separator, '\0'};
    char *rest = pairs->text, *part;
    while ((part = strsep(&rest, separators)) != NULL) {
        part += strspn(part, " ");
        if (*part == '\0')
            continue;
        char *colon = last_colon ? strrchr(part, ':') : strchr(part, ':');
        if (colon == NULL || colon == part || (last_colon && colon[1] == '\0')) {
            kafka_pairs_free(pairs);
            return bad_pair(option, separator, last_colon, err);
        }
        *colon = '\0';
        pairs->items[pairs->count++] =
            (struct kafka_pair){part, colon + 1 + strspn(colon + 1, " ")};
    }
    return TR_OK;
}

void kafka_pairs_free(struct kafka_pairs *pairs)
{
    free(pairs->items);
    free(pairs->text);
    *pairs = (struct kafka_pairs){0};
}
