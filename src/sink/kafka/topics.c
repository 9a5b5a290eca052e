#include "sink/kafka/topics.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/outbuf.h"

#define BUCKETS_FIRST 256
#define POLL_SLICE_MS 200

/* ---- names --------------------------------------------------------------------------------------
 */

struct name_buf {
    char *at, *end; /* end: the place of the NUL */
    bool overflow;
};

static void put(struct name_buf *buf, char c)
{
    if (buf->at == buf->end)
        buf->overflow = true;
    else
        *buf->at++ = c;
}

/* One letter that topics cannot hold becomes one '_', as in Debezium; UTF-8 letters count as one.
 */
static void put_part(struct name_buf *buf, const char *part)
{
    for (const char *c = part; *c != '\0'; c++) {
        bool fine = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') ||
                    (*c >= '0' && *c <= '9') || *c == '.' || *c == '_' || *c == '-';
        if (fine)
            put(buf, *c);
        else if (((unsigned char)*c & 0xc0) != 0x80)
            put(buf, '_');
    }
}

static const char *value_of(const struct kafka_topics *topics, const struct tr_table_id *id,
                            const char *name, size_t len)
{
    const struct {
        const char *name, *value;
    } values[] = {
        {"prefix", topics->prefix},  {"pipeline", topics->pipeline}, {"namespace", id->namespace},
        {"database", id->namespace}, {"schema", id->schema},         {"table", id->table},
    };
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        if (strlen(values[i].name) == len && memcmp(values[i].name, name, len) == 0)
            return values[i].value;
    }
    return NULL;
}

static enum tr_status expand(const struct kafka_topics *topics, const struct tr_table_id *id,
                             struct name_buf *buf, struct tr_error *err)
{
    const char *template = topics->options->topic;
    for (const char *c = template; *c != '\0'; c++) {
        if (*c != '{') {
            char letter[2] = {*c, '\0'};
            put_part(buf, letter);
            continue;
        }
        const char *end = strchr(c, '}');
        const char *value = end == NULL ? NULL : value_of(topics, id, c + 1, (size_t)(end - c - 1));
        if (value == NULL) {
            (void)tr_fail(err, TR_E_KAFKA_TOPIC_NAME,
                          "topic: \"%s\" has a placeholder that is not known", template);
            return tr_hint(
                err, "Placeholders are {prefix}, {pipeline}, {namespace}, {schema} and {table}.");
        }
        put_part(buf, value);
        c = end;
        if (value[0] == '\0' && c[1] == '.') /* a source without schemas: no empty part */
            c++;
    }
    return TR_OK;
}

static const char *mapped(const struct kafka_topics *topics, const struct tr_table_id *id)
{
    char full[400], plain[300];
    (void)snprintf(plain, sizeof plain, "%s%s%s", id->schema, id->schema[0] == '\0' ? "" : ".",
                   id->table);
    (void)snprintf(full, sizeof full, "%s%s%s", id->namespace, id->namespace[0] == '\0' ? "" : ".",
                   plain);
    for (size_t i = 0; i < topics->mapping.count; i++) {
        if (strcmp(topics->mapping.items[i].name, full) == 0 ||
            strcmp(topics->mapping.items[i].name, plain) == 0)
            return topics->mapping.items[i].value;
    }
    return NULL;
}

enum tr_status kafka_topic_name(const struct kafka_topics *topics, const struct tr_table_id *id,
                                char name[static TOPIC_NAME_MAX + 1], struct tr_error *err)
{
    struct name_buf buf = {.at = name, .end = name + TOPIC_NAME_MAX};
    const char *given = id == NULL ? NULL : mapped(topics, id);
    if (given != NULL) {
        put_part(&buf, given);
    } else if (id == NULL && strchr(topics->options->topic, '{') != NULL) {
        put_part(&buf, topics->prefix);
        put_part(&buf, ".message");
    } else {
        static const struct tr_table_id nothing = {"", "", ""};
        if (expand(topics, id == NULL ? &nothing : id, &buf, err) != TR_OK)
            return TR_FAIL;
    }
    *buf.at = '\0';
    if (buf.overflow || name[0] == '\0' || strcmp(name, ".") == 0 || strcmp(name, "..") == 0) {
        (void)tr_fail(err, TR_E_KAFKA_TOPIC_NAME, "no topic can be named for %s%s%s",
                      id == NULL ? "messages" : id->schema, id == NULL ? "" : ".",
                      id == NULL ? "" : id->table);
        return tr_hint(
            err, "A name has 1 to 249 letters. Change topic or topic.prefix, or give the table "
                 "a topic in sink.tableId-to-topic.mapping.");
    }
    return TR_OK;
}

/* ---- the list -----------------------------------------------------------------------------------
 */

static size_t hash_name(const char *name)
{
    uint64_t hash = UINT64_C(14695981039346656037); /* FNV-1a */
    for (; *name != '\0'; name++)
        hash = (hash ^ (unsigned char)*name) * UINT64_C(1099511628211);
    return (size_t)(hash ^ hash >> 32);
}

static void grow(struct kafka_topics *topics)
{
    size_t count = topics->bucket_count * 2;
    struct kafka_topic **buckets = calloc(count, sizeof(struct kafka_topic *));
    if (buckets == NULL)
        return; /* longer chains, nothing else */
    for (size_t i = 0; i < topics->bucket_count; i++) {
        struct kafka_topic *topic = topics->buckets[i];
        while (topic != NULL) {
            struct kafka_topic *next = topic->next;
            size_t at = hash_name(topic->name) & (count - 1);
            topic->next = buckets[at];
            buckets[at] = topic;
            topic = next;
        }
    }
    free(topics->buckets);
    topics->buckets = buckets;
    topics->bucket_count = count;
}

enum tr_status kafka_topics_entry(struct kafka_topics *topics, const char *name,
                                  struct kafka_topic **out, struct tr_error *err)
{
    size_t hash = hash_name(name);
    struct kafka_topic *topic = topics->buckets[hash & (topics->bucket_count - 1)];
    while (topic != NULL && strcmp(topic->name, name) != 0)
        topic = topic->next;
    if (topic == NULL) {
        topic = calloc(1, sizeof *topic);
        if (topic == NULL)
            return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for the list of topics");
        (void)snprintf(topic->name, sizeof topic->name, "%s", name);
        if (++topics->count > topics->bucket_count)
            grow(topics);
        struct kafka_topic **bucket = &topics->buckets[hash & (topics->bucket_count - 1)];
        topic->next = *bucket;
        *bucket = topic;
    }
    *out = topic;
    return TR_OK;
}

enum tr_status kafka_topics_init(struct kafka_topics *topics, const struct kafka_options *options,
                                 const char *prefix, const char *pipeline, rd_kafka_t *admin,
                                 struct kafka_health *health, struct tr_error *err)
{
    *topics = (struct kafka_topics){.options = options,
                                    .prefix = prefix,
                                    .pipeline = pipeline,
                                    .admin = admin,
                                    .health = health};
    if (kafka_pairs_parse("sink.tableId-to-topic.mapping", options->topic_mapping, ';', true,
                          &topics->mapping, err) != TR_OK)
        return TR_FAIL;
    topics->buckets = calloc(BUCKETS_FIRST, sizeof(struct kafka_topic *));
    topics->bucket_count = BUCKETS_FIRST;
    if (topics->buckets == NULL)
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for the list of topics");
    char name[TOPIC_NAME_MAX + 1];
    static const struct tr_table_id some = {"n", "s", "t"};
    return kafka_topic_name(topics, &some, name, err); /* the template itself */
}

void kafka_topics_free(struct kafka_topics *topics)
{
    for (size_t i = 0; i < TOPIC_CACHE_SLOTS; i++)
        tr_table_unref(topics->cache[i].table);
    for (size_t i = 0; topics->buckets != NULL && i < topics->bucket_count; i++) {
        struct kafka_topic *topic = topics->buckets[i];
        while (topic != NULL) {
            struct kafka_topic *next = topic->next;
            if (topic->handle != NULL)
                rd_kafka_topic_destroy(topic->handle);
            free(topic);
            topic = next;
        }
    }
    free(topics->buckets);
    kafka_pairs_free(&topics->mapping);
    *topics = (struct kafka_topics){0};
}

enum tr_status kafka_topics_learn(struct kafka_topics *topics,
                                  const struct rd_kafka_metadata *metadata, struct tr_error *err)
{
    for (int i = 0; i < metadata->topic_cnt; i++) {
        const struct rd_kafka_metadata_topic *found = &metadata->topics[i];
        struct kafka_topic *topic;
        if (found->err != RD_KAFKA_RESP_ERR_NO_ERROR || strlen(found->topic) > TOPIC_NAME_MAX)
            continue;
        if (kafka_topics_entry(topics, found->topic, &topic, err) != TR_OK)
            return TR_FAIL;
        topic->partition_count = found->partition_cnt;
    }
    return TR_OK;
}

/* ---- the cluster --------------------------------------------------------------------------------
 */

/* The answer to an admin request. NULL: interrupted, or none came in time (err is filled). */
static rd_kafka_event_t *wait_answer(struct kafka_topics *topics, rd_kafka_queue_t *queue,
                                     const char *what, struct tr_error *err)
{
    int64_t until_ms = tr_clock_mono_ms() + topics->options->connect_timeout_ms + POLL_SLICE_MS;
    for (;;) {
        rd_kafka_event_t *event = rd_kafka_queue_poll(queue, POLL_SLICE_MS);
        if (event != NULL)
            return event;
        (void)rd_kafka_poll(topics->admin, 0);
        if (atomic_load(&topics->health->interrupted)) {
            (void)tr_fail(err, TR_E_INTERRUPTED, "interrupted while %s", what);
            return NULL;
        }
        if (tr_clock_mono_ms() >= until_ms) {
            (void)kafka_fail(err, RD_KAFKA_RESP_ERR__TIMED_OUT, NULL, "%s", what);
            return NULL;
        }
    }
}

static rd_kafka_AdminOptions_t *admin_options(const struct kafka_topics *topics,
                                              rd_kafka_admin_op_t op)
{
    char why[128];
    rd_kafka_AdminOptions_t *options = rd_kafka_AdminOptions_new(topics->admin, op);
    (void)rd_kafka_AdminOptions_set_request_timeout(
        options, (int)topics->options->connect_timeout_ms, why, sizeof why);
    return options;
}

static enum tr_status set_topic_config(const struct kafka_topics *topics,
                                       rd_kafka_NewTopic_t *topic, bool compacted,
                                       struct tr_error *err)
{
    const struct tr_string_map *config = &topics->options->topic_config;
    if (compacted) {
        (void)rd_kafka_NewTopic_set_config(topic, "cleanup.policy", "compact");
        (void)rd_kafka_NewTopic_set_config(topic, "max.message.bytes", "4194304");
        return TR_OK;
    }
    for (size_t i = 0; i < config->count; i++) {
        if (rd_kafka_NewTopic_set_config(topic, config->keys[i], config->values[i]) !=
            RD_KAFKA_RESP_ERR_NO_ERROR) {
            (void)tr_fail(err, TR_E_KAFKA_PROPERTY, "topic.config.%s cannot be set",
                          config->keys[i]);
            return tr_hint(err, "Names are those of Kafka's topic settings.");
        }
    }
    return TR_OK;
}

enum tr_status kafka_topic_create(struct kafka_topics *topics, const char *name,
                                  bool compacted_single, bool validate_only, struct tr_error *err)
{
    char why[256], what[320];
    const struct kafka_options *options = topics->options;
    rd_kafka_NewTopic_t *topic =
        rd_kafka_NewTopic_new(name, compacted_single ? 1 : (int)options->partitions,
                              (int)options->replication, why, sizeof why);
    if (topic == NULL) {
        (void)tr_fail(err, TR_E_KAFKA_TOPIC_CREATE, "topic %s cannot be made", name);
        (void)tr_detail(err, "%s", why);
        return tr_hint(err, "Look at topic.partitions and topic.replication-factor.");
    }
    rd_kafka_AdminOptions_t *admin = admin_options(topics, RD_KAFKA_ADMIN_OP_CREATETOPICS);
    rd_kafka_queue_t *queue = rd_kafka_queue_new(topics->admin);
    rd_kafka_event_t *event = NULL;
    enum tr_status status = TR_FAIL;
    if (set_topic_config(topics, topic, compacted_single, err) != TR_OK)
        goto cleanup;
    if (validate_only)
        (void)rd_kafka_AdminOptions_set_validate_only(admin, 1, why, sizeof why);
    (void)rd_kafka_AdminOptions_set_operation_timeout(admin, (int)options->connect_timeout_ms, why,
                                                      sizeof why);
    (void)snprintf(what, sizeof what, "making topic %s", name);
    rd_kafka_CreateTopics(topics->admin, &topic, 1, admin, queue);
    event = wait_answer(topics, queue, what, err);
    if (event == NULL)
        goto cleanup;
    if (rd_kafka_event_error(event) != RD_KAFKA_RESP_ERR_NO_ERROR) {
        (void)kafka_fail(err, rd_kafka_event_error(event), rd_kafka_event_error_string(event), "%s",
                         what);
        goto cleanup;
    }
    size_t count;
    const rd_kafka_topic_result_t **results =
        rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event), &count);
    rd_kafka_resp_err_t native =
        count == 1 ? rd_kafka_topic_result_error(results[0]) : RD_KAFKA_RESP_ERR_UNKNOWN;
    status = TR_OK;
    if (native != RD_KAFKA_RESP_ERR_NO_ERROR && native != RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS)
        status = kafka_fail(err, native,
                            count == 1 ? rd_kafka_topic_result_error_string(results[0]) : NULL,
                            "%s", what);
    else if (native == RD_KAFKA_RESP_ERR_NO_ERROR && !validate_only)
        tr_log(TR_LOG_INFO, "made a Kafka topic", "topic=%s", name);
cleanup:
    if (event != NULL)
        rd_kafka_event_destroy(event);
    rd_kafka_queue_destroy(queue);
    rd_kafka_AdminOptions_destroy(admin);
    rd_kafka_NewTopic_destroy(topic);
    return status;
}

enum tr_status kafka_topic_delete(struct kafka_topics *topics, const char *name, bool *existed,
                                  struct tr_error *err)
{
    char what[320];
    rd_kafka_DeleteTopic_t *topic = rd_kafka_DeleteTopic_new(name);
    rd_kafka_AdminOptions_t *admin = admin_options(topics, RD_KAFKA_ADMIN_OP_DELETETOPICS);
    rd_kafka_queue_t *queue = rd_kafka_queue_new(topics->admin);
    enum tr_status status = TR_FAIL;
    *existed = false;
    (void)snprintf(what, sizeof what, "removing topic %s", name);
    rd_kafka_DeleteTopics(topics->admin, &topic, 1, admin, queue);
    rd_kafka_event_t *event = wait_answer(topics, queue, what, err);
    if (event != NULL) {
        size_t count = 0;
        rd_kafka_resp_err_t native = rd_kafka_event_error(event);
        if (native == RD_KAFKA_RESP_ERR_NO_ERROR) {
            const rd_kafka_topic_result_t **results = rd_kafka_DeleteTopics_result_topics(
                rd_kafka_event_DeleteTopics_result(event), &count);
            native =
                count == 1 ? rd_kafka_topic_result_error(results[0]) : RD_KAFKA_RESP_ERR_UNKNOWN;
        }
        *existed = native == RD_KAFKA_RESP_ERR_NO_ERROR;
        status = *existed || native == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART
                     ? TR_OK
                     : kafka_fail(err, native, NULL, "%s", what);
        rd_kafka_event_destroy(event);
    }
    rd_kafka_queue_destroy(queue);
    rd_kafka_AdminOptions_destroy(admin);
    rd_kafka_DeleteTopic_destroy(topic);
    return status;
}

char *kafka_broker_setting(rd_kafka_t *admin, int32_t broker_id, const char *setting,
                           int64_t timeout_ms)
{
    char id[16], why[128], *value = NULL;
    (void)snprintf(id, sizeof id, "%d", broker_id);
    rd_kafka_ConfigResource_t *resource = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_BROKER, id);
    rd_kafka_AdminOptions_t *options =
        rd_kafka_AdminOptions_new(admin, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS);
    rd_kafka_queue_t *queue = rd_kafka_queue_new(admin);
    (void)rd_kafka_AdminOptions_set_request_timeout(options, (int)timeout_ms, why, sizeof why);
    rd_kafka_DescribeConfigs(admin, &resource, 1, options, queue);
    rd_kafka_event_t *event = rd_kafka_queue_poll(queue, (int)timeout_ms + POLL_SLICE_MS);
    if (event != NULL && rd_kafka_event_error(event) == RD_KAFKA_RESP_ERR_NO_ERROR) {
        size_t resource_count, entry_count = 0;
        const rd_kafka_ConfigResource_t **resources = rd_kafka_DescribeConfigs_result_resources(
            rd_kafka_event_DescribeConfigs_result(event), &resource_count);
        const rd_kafka_ConfigEntry_t **entries =
            resource_count == 1 ? rd_kafka_ConfigResource_configs(resources[0], &entry_count)
                                : NULL;
        for (size_t i = 0; i < entry_count; i++) {
            if (strcmp(rd_kafka_ConfigEntry_name(entries[i]), setting) == 0 &&
                rd_kafka_ConfigEntry_value(entries[i]) != NULL)
                value = strdup(rd_kafka_ConfigEntry_value(entries[i]));
        }
    }
    if (event != NULL)
        rd_kafka_event_destroy(event);
    rd_kafka_queue_destroy(queue);
    rd_kafka_AdminOptions_destroy(options);
    rd_kafka_ConfigResource_destroy(resource);
    return value;
}

static enum tr_status make_sure(struct kafka_topics *topics, struct kafka_topic *topic,
                                struct tr_error *err)
{
    const struct rd_kafka_metadata *metadata;
    if (topics->options->create_topics &&
        kafka_topic_create(topics, topic->name, false, false, err) != TR_OK)
        return TR_FAIL;
    /* all topics: asking for one by name could make the broker create it with its own settings */
    int64_t until_ms = tr_clock_mono_ms() + topics->options->connect_timeout_ms;
    do {
        if (kafka_metadata(topics->admin, topics->health, topics->options->connect_timeout_ms,
                           &metadata, err) != TR_OK)
            return TR_FAIL;
        enum tr_status status = kafka_topics_learn(topics, metadata, err);
        rd_kafka_metadata_destroy(metadata);
        if (status != TR_OK || topic->partition_count > 0)
            return status;
        tr_clock_sleep_ms(20); /* a new topic shows a little later */
    } while (topics->options->create_topics && tr_clock_mono_ms() < until_ms);
    return kafka_fail(err, RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, NULL, "topic %s", topic->name);
}

enum tr_status kafka_topics_get(struct kafka_topics *topics, const struct tr_table *table,
                                struct kafka_topic **out, struct tr_error *err)
{
    size_t slot = ((uintptr_t)table >> 5) * UINT64_C(0x9e3779b97f4a7c15) >> 56;
    if (topics->cache[slot].topic != NULL && topics->cache[slot].table == table) {
        *out = topics->cache[slot].topic;
        return TR_OK;
    }
    char name[TOPIC_NAME_MAX + 1];
    struct kafka_topic *topic;
    if (kafka_topic_name(topics, table == NULL ? NULL : &table->id, name, err) != TR_OK ||
        kafka_topics_entry(topics, name, &topic, err) != TR_OK)
        return TR_FAIL;
    if (topic->partition_count == 0 && make_sure(topics, topic, err) != TR_OK)
        return TR_FAIL;
    tr_table_unref(topics->cache[slot].table);
    topics->cache[slot].table = table == NULL ? NULL : tr_table_ref(table);
    topics->cache[slot].topic = topic;
    *out = topic;
    return TR_OK;
}
