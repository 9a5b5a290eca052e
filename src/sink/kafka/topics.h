/* Topics: their names from table IDs, whether they exist, and making them. One thread at a time. */
#ifndef TR_SINK_KAFKA_TOPICS_H
#define TR_SINK_KAFKA_TOPICS_H

#include "sink/kafka/client.h"

#define TOPIC_NAME_MAX 249 /* Kafka's limit */
#define TOPIC_CACHE_SLOTS 256

struct kafka_topic {
    char name[TOPIC_NAME_MAX + 1];
    rd_kafka_topic_t *handle; /* of the producer; made at first use */
    int32_t partition_count;  /* 0 unknown: does not exist yet */
    struct kafka_topic *next; /* in its bucket */
};
struct kafka_topics {
    const struct kafka_options *options;
    const char *prefix, *pipeline;
    rd_kafka_t *admin;
    struct kafka_health *health;
    struct kafka_pairs mapping;
    struct kafka_topic **buckets;
    size_t bucket_count, count;
    struct {
        const struct tr_table *table; /* a reference */
        struct kafka_topic *topic;
    } cache[TOPIC_CACHE_SLOTS];
};

enum tr_status kafka_topics_init(struct kafka_topics *topics, const struct kafka_options *options,
                                 const char *prefix, const char *pipeline, rd_kafka_t *admin,
                                 struct kafka_health *health, struct tr_error *err);
void kafka_topics_free(struct kafka_topics *topics);
/* Takes what the cluster's metadata says into the list. */
enum tr_status kafka_topics_learn(struct kafka_topics *topics,
                                  const struct rd_kafka_metadata *metadata, struct tr_error *err);

/* The topic name of a table, or of messages when id is NULL, into name. */
enum tr_status kafka_topic_name(const struct kafka_topics *topics, const struct tr_table_id *id,
                                char name[static TOPIC_NAME_MAX + 1], struct tr_error *err);
/* The entry for a name; it need not exist in the cluster. */
enum tr_status kafka_topics_entry(struct kafka_topics *topics, const char *name,
                                  struct kafka_topic **topic, struct tr_error *err);
/* The same for a table (cached) or for messages (NULL), made in the cluster when it is not there.
 */
enum tr_status kafka_topics_get(struct kafka_topics *topics, const struct tr_table *table,
                                struct kafka_topic **topic, struct tr_error *err);
/* Makes one topic. compacted_single: one partition, cleanup.policy=compact (positions). A topic
 * that exists already is fine. validate_only: asks the cluster whether it would. */
enum tr_status kafka_topic_create(struct kafka_topics *topics, const char *name,
                                  bool compacted_single, bool validate_only, struct tr_error *err);
/* False: it does not exist. */
enum tr_status kafka_topic_delete(struct kafka_topics *topics, const char *name, bool *existed,
                                  struct tr_error *err);
/* A setting of the cluster (a broker's), NULL when it cannot be read. Free it. */
char *kafka_broker_setting(rd_kafka_t *admin, int32_t broker_id, const char *setting,
                           int64_t timeout_ms);

#endif
