/* The Kafka sink's options, and those of them that need more than the option table's parser. */
#ifndef TR_SINK_KAFKA_OPTIONS_H
#define TR_SINK_KAFKA_OPTIONS_H

#include "encode/format_options.h"
#include "tailrace/event.h"

enum kafka_guarantee { KAFKA_AT_LEAST_ONCE, KAFKA_EXACTLY_ONCE, KAFKA_NONE };
enum kafka_partitioning { KAFKA_HASH_BY_KEY, KAFKA_ALL_TO_ZERO };

struct kafka_options {
    struct tr_string_map properties; /* properties.* without the prefix */
    const char *bootstrap_servers;   /* the short spelling; properties.bootstrap.servers wins */
    const char *topic;
    const char *topic_prefix; /* NULL: the pipeline's name */
    const char *topic_mapping;
    const char *value_format;
    const char *key_format;
    int partitioning; /* enum kafka_partitioning */
    int guarantee;    /* enum kafka_guarantee */
    bool table_headers;
    const char *custom_headers;
    bool include_schema;
    bool create_topics;
    int64_t partitions;                /* -1: the broker's default */
    int64_t replication;               /* -1: the broker's default */
    struct tr_string_map topic_config; /* topic.config.* */
    bool tombstones;
    const char *transactional_id_prefix;
    const char *position_topic;
    int64_t transaction_timeout_ms;
    int64_t transaction_interval_ms;
    int64_t transaction_records;
    int64_t connect_timeout_ms;
    int64_t buffer_bytes;
    struct tr_format_options format;
};
extern const struct tr_option kafka_option_table[];

/* sink.custom-header: `name:value,name:value`; sink.tableId-to-topic.mapping:
 * `table:topic;table:topic`. One allocation behind both. */
struct kafka_pair {
    const char *name, *value;
};
struct kafka_pairs {
    struct kafka_pair *items;
    size_t count;
    char *text;
};
/* Splits at `separator`, each part at the last `:` (mapping: a table name may hold none, a topic
 * cannot) or the first (headers). Empty or NULL text: no pairs. */
enum tr_status kafka_pairs_parse(const char *option, const char *text, char separator,
                                 bool last_colon, struct kafka_pairs *pairs, struct tr_error *err);
void kafka_pairs_free(struct kafka_pairs *pairs);

/* What the table's parser cannot know: formats that are not there, contradictions. */
enum tr_status kafka_options_check(const struct kafka_options *options, struct tr_error *err);
/* properties.bootstrap.servers or bootstrap-servers. */
const char *kafka_bootstrap_servers(const struct kafka_options *options);

#endif
