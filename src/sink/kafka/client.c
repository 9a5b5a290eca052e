/* The sink's handles of librdkafka. Properties that would weaken the delivery guarantee are refused
 * with what to use instead; kafka/client.c has what every user of librdkafka needs. */
#include "sink/kafka/client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Under load batches become full and few: with 1 ms the client and the broker used twice the CPU, the
 * client most of it by polling while its requests were under way. Alone, records do not wait for it:
 * see hurry() in writer.c. */
#define LINGER_MS "20"
#define BATCH_MESSAGES_MAX "10000"
#define QUEUE_MESSAGES_MAX "100000" /* below WINDOW_RECORDS_MAX */
#define MESSAGE_BYTES_MAX                                                                          \
    "10000000" /* the broker's own limit decides, unless the file sets one                         \
                */
#define BATCH_BYTES_MAX INT64_C(1000000)
#define BATCH_HEADROOM_BYTES 512

/* ---- properties ---------------------------------------------------------------------------------
 */

static const struct kafka_refusal refusals[] = {
    {"transactional.id",
     "Use sink.transactional-id-prefix with sink.delivery-guarantee: exactly-once."},
    {"transaction.timeout.ms", "Use sink.transaction.timeout."},
    {"partitioner", "Use partition.strategy."},
    {"group.id", "The sink reads nothing but its own position."},
    {"isolation.level", "It is a setting of the reader of the topics."},
    {NULL, NULL},
};
/* With a delivery guarantee these must be as said, or they would open a gap or change the order. */
static const struct {
    const char *name, *only;
} guarded[] = {
    {"enable.idempotence", "true"},
    {"acks", "all"},
    {"request.required.acks", "-1"},
    {"enable.gapless.guarantee", "true"},
    {"message.timeout.ms", "0"},
    {"delivery.timeout.ms", "0"},
    {"retries", NULL},
    {"message.send.max.retries", NULL},
};

static enum tr_status check_property(const struct kafka_options *options, const char *name,
                                     const char *value, struct tr_error *err)
{
    if (kafka_property_refused(refusals, name, err))
        return TR_FAIL;
    if (options->guarantee == KAFKA_NONE)
        return TR_OK;
    for (size_t i = 0; i < sizeof guarded / sizeof guarded[0]; i++) {
        if (strcmp(name, guarded[i].name) != 0)
            continue;
        bool fine = guarded[i].only != NULL && strcmp(value, guarded[i].only) == 0;
        if (strcmp(name, "acks") == 0)
            fine = fine || strcmp(value, "-1") == 0;
        if (strstr(name, "retries") != NULL)
            fine = strtol(value, NULL, 10) == INT32_MAX;
        if (fine)
            return TR_OK;
        (void)tr_fail(err, TR_E_KAFKA_CONFIG,
                      "properties.%s contradicts sink.delivery-guarantee %s", name,
                      options->guarantee == KAFKA_EXACTLY_ONCE ? "exactly-once" : "at-least-once");
        return tr_hint(err, "Remove properties.%s, or set sink.delivery-guarantee: none.", name);
    }
    return TR_OK;
}

/* Properties for one role only, left out for the others. */
static bool is_for(const char *name, enum kafka_role role)
{
    static const char *const producer_only[] = {"acks",
                                                "request.required.acks",
                                                "linger.ms",
                                                "queue.buffering.",
                                                "batch.",
                                                "compression.",
                                                "enable.idempotence",
                                                "max.in.flight",
                                                "message.timeout.ms",
                                                "delivery.timeout.ms",
                                                "retries",
                                                "message.send.max.retries",
                                                "retry.backoff.ms",
                                                "sticky.",
                                                "request.timeout.ms",
                                                "enable.gapless.guarantee"};
    if (role == KAFKA_ROLE_PRODUCER)
        return true;
    for (size_t i = 0; i < sizeof producer_only / sizeof producer_only[0]; i++) {
        if (strncmp(name, producer_only[i], strlen(producer_only[i])) == 0)
            return false;
    }
    return true;
}

static enum tr_status set_property(const struct kafka_client_spec *spec, rd_kafka_conf_t *conf,
                                   const char *name, const char *value, struct tr_error *err)
{
    if (check_property(spec->options, name, value, err) != TR_OK)
        return TR_FAIL;
    return is_for(name, spec->role) ? kafka_property_set(conf, name, value, err) : TR_OK;
}

static enum tr_status set_producer(const struct kafka_client_spec *spec, rd_kafka_conf_t *conf,
                                   struct tr_error *err)
{
    const struct kafka_options *options = spec->options;
    char kbytes[32], batch[32], timeout[32];
    int64_t batch_bytes = BATCH_BYTES_MAX;
    /* a broker measures a whole batch against message.max.bytes */
    if (spec->batch_bytes_max > BATCH_HEADROOM_BYTES && spec->batch_bytes_max < batch_bytes)
        batch_bytes = spec->batch_bytes_max - BATCH_HEADROOM_BYTES;
    (void)snprintf(kbytes, sizeof kbytes, "%lld", (long long)(options->buffer_bytes / 1024));
    (void)snprintf(batch, sizeof batch, "%lld", (long long)batch_bytes);
    (void)snprintf(timeout, sizeof timeout, "%lld", (long long)options->transaction_timeout_ms);
    if (kafka_conf_set(conf, "queue.buffering.max.kbytes", kbytes, err) != TR_OK ||
        kafka_conf_set(conf, "queue.buffering.max.messages", QUEUE_MESSAGES_MAX, err) != TR_OK ||
        kafka_conf_set(conf, "message.max.bytes", MESSAGE_BYTES_MAX, err) != TR_OK ||
        kafka_conf_set(conf, "batch.size", batch, err) != TR_OK ||
        kafka_conf_set(conf, "batch.num.messages", BATCH_MESSAGES_MAX, err) != TR_OK ||
        kafka_conf_set(conf, "linger.ms", LINGER_MS, err) != TR_OK ||
        kafka_conf_set(conf, "compression.type", "lz4", err) != TR_OK ||
        kafka_conf_set(conf, "partitioner", "murmur2_random", err) != TR_OK)
        return TR_FAIL;
    if (options->guarantee == KAFKA_NONE)
        return kafka_conf_set(conf, "acks", "1", err);
    if (kafka_conf_set(conf, "enable.idempotence", "true", err) != TR_OK ||
        kafka_conf_set(conf, "acks", "all", err) != TR_OK)
        return TR_FAIL;
    if (options->guarantee == KAFKA_AT_LEAST_ONCE) /* nothing is ever given up: no gap */
        return kafka_conf_set(conf, "message.timeout.ms", "0", err);
    if (kafka_conf_set(conf, "transactional.id", spec->transactional_id, err) != TR_OK ||
        kafka_conf_set(conf, "transaction.timeout.ms", timeout, err) != TR_OK)
        return TR_FAIL;
    return TR_OK;
}

static enum tr_status make_conf(const struct kafka_client_spec *spec, rd_kafka_conf_t **out,
                                struct tr_error *err)
{
    const struct kafka_options *options = spec->options;
    char client_id[160];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    kafka_conf_callbacks(conf, spec->opaque);
    (void)snprintf(client_id, sizeof client_id, "tailrace-%s", spec->pipeline);
    if (kafka_conf_set(conf, "client.id", client_id, err) != TR_OK ||
        kafka_conf_set(conf, "bootstrap.servers", kafka_bootstrap_servers(options), err) != TR_OK ||
        kafka_conf_set(conf, "log.connection.close", "false", err) != TR_OK ||
        kafka_conf_set(conf, "socket.keepalive.enable", "true", err) != TR_OK)
        goto fail;
    if (spec->role == KAFKA_ROLE_PRODUCER) {
        rd_kafka_conf_set_dr_msg_cb(conf, spec->delivered);
        if (set_producer(spec, conf, err) != TR_OK)
            goto fail;
    }
    if (spec->role == KAFKA_ROLE_READER &&
        (kafka_conf_set(conf, "isolation.level", "read_committed", err) != TR_OK ||
         kafka_conf_set(conf, "enable.partition.eof", "true", err) != TR_OK ||
         kafka_conf_set(conf, "group.id", client_id, err) !=
             TR_OK || /* assigned by hand: never joined */
         kafka_conf_set(conf, "enable.auto.commit", "false", err) != TR_OK ||
         kafka_conf_set(conf, "auto.offset.reset", "earliest", err) != TR_OK))
        goto fail;
    for (size_t i = 0; i < options->properties.count; i++) {
        if (set_property(spec, conf, options->properties.keys[i], options->properties.values[i],
                         err) != TR_OK)
            goto fail;
    }
    *out = conf;
    return TR_OK;
fail:
    rd_kafka_conf_destroy(conf);
    return TR_FAIL;
}

enum tr_status kafka_client_check(const struct kafka_client_spec *spec, struct tr_error *err)
{
    rd_kafka_conf_t *conf;
    if (make_conf(spec, &conf, err) != TR_OK)
        return TR_FAIL;
    rd_kafka_conf_destroy(conf);
    return TR_OK;
}

enum tr_status kafka_client_new(const struct kafka_client_spec *spec, rd_kafka_t **out,
                                struct tr_error *err)
{
    char why[256];
    rd_kafka_conf_t *conf;
    *out = NULL;
    if (make_conf(spec, &conf, err) != TR_OK)
        return TR_FAIL;
    *out = rd_kafka_new(spec->role == KAFKA_ROLE_READER ? RD_KAFKA_CONSUMER : RD_KAFKA_PRODUCER,
                        conf, why, sizeof why);
    if (*out != NULL)
        return TR_OK;
    rd_kafka_conf_destroy(conf);
    (void)tr_fail(err, TR_E_KAFKA_PROPERTY, "the Kafka client refuses its properties");
    (void)tr_detail(err, "%s", why);
    return tr_hint(err,
                   "Look at properties.security.protocol, properties.sasl.* and properties.ssl.* "
                   "together.");
}
