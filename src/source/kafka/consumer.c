/* The consumer's handle, its health, and the group's committed offsets.
 *
 * The position is the pipeline's own (marks): the client never commits and never resets by itself.
 * The group gets the acknowledged offsets only so that lag monitors see them. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "source/kafka/internal.h"

#define PROBE_INTERVAL_MS 3000
#define PROBE_TIMEOUT_MS 1000
/* Fetched ahead at most, beside the pipeline's batches: bytes decide, not messages. The client adds
 * some 200 bytes to each message. */
#define QUEUED_KBYTES "4096"
#define QUEUED_MESSAGES "1000000"
#define FETCH_BYTES "4194304" /* of one response: what can come beyond the bound above */
#define LOG_INTERVAL_MS 60000
#define QUEUE_BACKOFF 0x02020000 /* the version of librdkafka that has fetch.queue.backoff.ms */
#define NUDGE_INTERVAL_MS 5
#define NUDGE_TIMEOUT_MS 1

static const struct kafka_refusal refusals[] = {
    {"enable.auto.commit",
     "The position is the pipeline's own; the group gets it when it is durable."},
    {"enable.auto.offset.store", "The position is the pipeline's own."},
    {"enable.partition.eof", "The source needs it."},
    {"transactional.id", "The source writes nothing."},
    {"allow.auto.create.topics", "The source makes no topics."},
    {NULL, NULL},
};

static void on_commit(rd_kafka_t *client, rd_kafka_resp_err_t native,
                      rd_kafka_topic_partition_list_t *offsets, void *opaque)
{
    static _Atomic int64_t logged_ms;
    (void)client;
    (void)offsets;
    (void)opaque;
    int64_t now_ms = tr_clock_mono_ms(), last_ms = atomic_load(&logged_ms);
    if (native == RD_KAFKA_RESP_ERR_NO_ERROR || native == RD_KAFKA_RESP_ERR__NO_OFFSET ||
        (last_ms != 0 && now_ms - last_ms < LOG_INTERVAL_MS))
        return;
    atomic_store(&logged_ms, now_ms);
    tr_log(TR_LOG_WARN,
           "offsets could not be committed to the group; the pipeline does not need them",
           "error=%s", rd_kafka_err2name(native));
}

/* Its value is looked at by start.c alone: the client must never reset. */
static bool is_ours(const char *name)
{
    return strcmp(name, "auto.offset.reset") == 0 || strcmp(name, "bootstrap.servers") == 0 ||
           strcmp(name, "group.id") == 0;
}

static enum tr_status set_defaults(const struct ksrc_source *source, rd_kafka_conf_t *conf,
                                   struct tr_error *err)
{
    char client_id[160], refresh[24];
    int64_t refresh_ms = source->options->discovery_ms;
    (void)snprintf(client_id, sizeof client_id, "tailrace-%s", source->pipeline);
    (void)snprintf(refresh, sizeof refresh, "%lld",
                   (long long)(refresh_ms >= 1000 && refresh_ms < 300000 ? refresh_ms : 300000));
    const struct {
        const char *name, *value;
    } settings[] = {
        {"client.id", client_id},
        {"bootstrap.servers", ksrc_bootstrap_servers(source->options)},
        {"group.id", source->group},
        {"log.connection.close", "false"},
        {"socket.keepalive.enable", "true"},
        {"isolation.level", "read_committed"},
        {"enable.auto.commit", "false"},
        {"enable.auto.offset.store", "false"},
        {"enable.partition.eof", "true"},
        {"auto.offset.reset", "error"},
        {"partition.assignment.strategy", "cooperative-sticky"},
        {"topic.metadata.refresh.interval.ms", refresh},
        {"queued.max.messages.kbytes", QUEUED_KBYTES},
        {"queued.min.messages", QUEUED_MESSAGES},
        {"fetch.max.bytes", FETCH_BYTES},
        {"fetch.wait.max.ms", "100"},
        /* a broker that is just starting may take a connection and forget it */
        {"socket.connection.setup.timeout.ms", "10000"},
    };
    for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++) {
        if (kafka_conf_set(conf, settings[i].name, settings[i].value, err) != TR_OK)
            return TR_FAIL;
    }
    if (rd_kafka_version() >= QUEUE_BACKOFF) /* see ksrc_nudge() for older ones */
        (void)rd_kafka_conf_set(conf, "fetch.queue.backoff.ms", "5", NULL, 0);
    return TR_OK;
}

/* A client that reached the bound of its queue looks again when its thread wakes for another reason,
 * before librdkafka 2.2 only a second later: a backlog would be read by one queue a second. Any
 * request to the broker wakes it. Called when the queue is empty; it asks, where more is to be had,
 * for what is worth knowing anyway, the end of a partition. */
void ksrc_nudge(struct ksrc_source *source)
{
    uint32_t count = atomic_load(&source->split_count);
    int64_t now_ms = tr_clock_mono_ms(), low, high;
    if (rd_kafka_version() >= QUEUE_BACKOFF || now_ms - source->nudged_ms < NUDGE_INTERVAL_MS)
        return;
    for (uint32_t i = 0; i < count; i++) {
        struct ksrc_split *split = source->splits[(source->nudged_at + i) % count];
        if (!split->assigned || split->revoking || split->done ||
            split->position >= atomic_load(&split->server_end))
            continue;
        source->nudged_at = (source->nudged_at + i + 1) % count; /* another one next: brokers */
        source->nudged_ms = now_ms;
        if (rd_kafka_query_watermark_offsets(source->client, split->topic, split->split.partition,
                                             &low, &high,
                                             NUDGE_TIMEOUT_MS) == RD_KAFKA_RESP_ERR_NO_ERROR)
            atomic_store(&split->server_end, high);
        return;
    }
}

enum tr_status ksrc_client_new(struct ksrc_source *source, rd_kafka_t **out, struct tr_error *err)
{
    char why[256];
    const struct tr_string_map *properties = &source->options->properties;
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    *out = NULL;
    kafka_conf_callbacks(conf, source);
    rd_kafka_conf_set_offset_commit_cb(conf, on_commit);
    if (source->options->assignment == KSRC_GROUP && !source->context->checking)
        ksrc_group_conf(source, conf);
    if (set_defaults(source, conf, err) != TR_OK)
        goto fail;
    for (size_t i = 0; i < properties->count; i++) {
        const char *name = properties->keys[i], *value = properties->values[i];
        bool harmless = strcmp(name, "enable.auto.commit") == 0 && strcmp(value, "false") == 0;
        if (is_ours(name) || harmless)
            continue;
        if (kafka_property_refused(refusals, name, err) ||
            kafka_property_set(conf, name, value, err) != TR_OK)
            goto fail;
    }
    *out = rd_kafka_new(RD_KAFKA_CONSUMER, conf, why, sizeof why);
    if (*out != NULL)
        return TR_OK;
    (void)tr_fail(err, TR_E_KAFKA_PROPERTY, "the Kafka client refuses its properties");
    (void)tr_detail(err, "%s", why);
    (void)tr_hint(err,
                  "Look at properties.security.protocol, properties.sasl.* and properties.ssl.* "
                  "together.");
fail:
    rd_kafka_conf_destroy(conf);
    return TR_FAIL;
}

enum tr_status ksrc_health(struct ksrc_source *source, struct tr_error *err)
{
    (void)rd_kafka_poll(source->client, 0); /* the error callback */
    int cause = atomic_load(&source->health->cause);
    int64_t now_ms = tr_clock_mono_ms();
    if (cause == RD_KAFKA_RESP_ERR_NO_ERROR)
        return TR_OK;
    if (source->cause_ms == 0)
        source->cause_ms = source->probed_ms = now_ms;
    bool gone = cause == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART ||
                cause == RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION ||
                cause == RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC;
    if (!kafka_is_refusal((rd_kafka_resp_err_t)cause) && !gone &&
        now_ms - source->probed_ms < PROBE_INTERVAL_MS)
        return TR_OK;
    const struct rd_kafka_metadata *metadata;
    enum tr_status status =
        kafka_metadata(source->client, source->health, PROBE_TIMEOUT_MS, &metadata, err);
    source->probed_ms = tr_clock_mono_ms();
    if (status == TR_OK) {
        ksrc_healthy(source);
        if (gone) /* a topic was deleted; with a pattern topics come and go */
            status = ksrc_topics_exist(source, metadata, err);
        rd_kafka_metadata_destroy(metadata);
        return status;
    }
    if (err->code == TR_E_INTERRUPTED)
        return TR_AGAIN;
    if (err->class != TR_TRANSIENT)
        return TR_FAIL;
    if (source->probed_ms - source->cause_ms < source->options->down_timeout_ms)
        return TR_AGAIN;
    (void)tr_hint(err,
                  "No broker answered for %lld s (scan.brokers-down.timeout). Nothing is lost: the "
                  "pipeline goes on from its position.",
                  (long long)(source->options->down_timeout_ms / 1000));
    return TR_FAIL;
}

void ksrc_commit(struct ksrc_source *source, int wait_ms)
{
    uint32_t count = atomic_load(&source->split_count);
    if (source->context->checking || atomic_load(&source->rejoining) ||
        !atomic_exchange(&source->commit_wanted, false))
        return;
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(16);
    for (uint32_t i = 0; i < count; i++) {
        struct ksrc_split *split = source->splits[i];
        int64_t acknowledged = atomic_load(&split->acknowledged);
        if (!split->assigned || acknowledged < 0 || acknowledged == split->committed)
            continue;
        split->committed = acknowledged;
        rd_kafka_topic_partition_list_add(list, split->topic, split->split.partition)->offset =
            acknowledged;
    }
    if (list->cnt > 0 && wait_ms == 0) {
        (void)rd_kafka_commit(source->client, list, 1);
    } else if (list->cnt > 0) {
        rd_kafka_queue_t *queue = rd_kafka_queue_new(source->client);
        if (rd_kafka_commit_queue(source->client, list, queue, NULL, NULL) ==
            RD_KAFKA_RESP_ERR_NO_ERROR) {
            rd_kafka_event_t *event = rd_kafka_queue_poll(queue, wait_ms);
            if (event != NULL) {
                on_commit(source->client, rd_kafka_event_error(event), NULL, NULL);
                rd_kafka_event_destroy(event);
            }
        }
        rd_kafka_queue_destroy(queue);
    }
    rd_kafka_topic_partition_list_destroy(list);
}
