/* Handles of librdkafka.
 *
 * Property names: librdkafka's own; Java names of the same meaning are translated; those that have
 * none here, that would run code or commands, or that would weaken the delivery guarantee, are
 * refused with what to use instead. Values are never put into messages: they may be secrets. */
#include "sink/kafka/client.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"

#define LOG_INTERVAL_MS 10000
#define METADATA_SLICE_MS 500
#define BATCH_MESSAGES_MAX "10000"
#define QUEUE_MESSAGES_MAX "100000"  /* below WINDOW_RECORDS_MAX */
#define MESSAGE_BYTES_MAX "10000000" /* the broker's own limit decides, unless the file sets one   \
                                      */
#define BATCH_BYTES_MAX INT64_C(1000000)
#define BATCH_HEADROOM_BYTES 512

/* ---- properties ---------------------------------------------------------------------------------
 */

struct translation {
    const char *java, *native;
    enum { SAME_VALUE, BYTES_TO_KB, DROPPED } how;
};
static const struct translation translations[] = {
    {"buffer.memory", "queue.buffering.max.kbytes", BYTES_TO_KB},
    {"max.request.size", "message.max.bytes", SAME_VALUE},
    {"receive.buffer.bytes", "socket.receive.buffer.bytes", SAME_VALUE},
    {"send.buffer.bytes", "socket.send.buffer.bytes", SAME_VALUE},
    {"reconnect.backoff.ms", "reconnect.backoff.ms", SAME_VALUE},
    {"key.serializer", NULL, DROPPED},
    {"value.serializer", NULL, DROPPED},
    {"max.block.ms", NULL, DROPPED},
    {"client.dns.lookup", NULL, DROPPED},
};

struct refusal {
    const char *name, *why;
};
static const struct refusal refusals[] = {
    {"sasl.jaas.config", "Use properties.sasl.mechanism, properties.sasl.username and "
                         "properties.sasl.password."},
    {"sasl.client.callback.handler.class", "Java classes cannot be loaded here."},
    {"sasl.login.callback.handler.class", "Java classes cannot be loaded here."},
    {"ssl.truststore.location", "Use properties.ssl.ca.location with a PEM file "
                                "(keytool -exportcert -rfc makes one)."},
    {"ssl.truststore.password", "A PEM file has none: use properties.ssl.ca.location."},
    {"ssl.truststore.type", "Use properties.ssl.ca.location with a PEM file."},
    {"interceptor.classes", "Java classes cannot be loaded here."},
    {"partitioner.class", "Use partition.strategy."},
    {"metric.reporters", "Java classes cannot be loaded here."},
    {"plugin.library.paths", "Loading code from a pipeline file is not allowed."},
    {"sasl.kerberos.kinit.cmd", "Running commands from a pipeline file is not allowed."},
    {"transactional.id",
     "Use sink.transactional-id-prefix with sink.delivery-guarantee: exactly-once."},
    {"transaction.timeout.ms", "Use sink.transaction.timeout."},
    {"partitioner", "Use partition.strategy."},
    {"group.id", "The sink reads nothing but its own position."},
    {"isolation.level", "It is a setting of the reader of the topics."},
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

static enum tr_status refuse(const char *name, const char *hint, struct tr_error *err)
{
    (void)tr_fail(err, TR_E_KAFKA_PROPERTY, "properties.%s cannot be used", name);
    return tr_hint(err, "%s", hint);
}

static enum tr_status check_property(const struct kafka_options *options, const char *name,
                                     const char *value, struct tr_error *err)
{
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
        if (strcmp(name, refusals[i].name) == 0)
            return refuse(name, refusals[i].why, err);
    }
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

static enum tr_status set(rd_kafka_conf_t *conf, const char *name, const char *value,
                          struct tr_error *err)
{
    char why[256];
    rd_kafka_conf_res_t result = rd_kafka_conf_set(conf, name, value, why, sizeof why);
    if (result == RD_KAFKA_CONF_OK)
        return TR_OK;
    if (result == RD_KAFKA_CONF_UNKNOWN) {
        (void)tr_fail(err, TR_E_KAFKA_PROPERTY,
                      "properties.%s is not a property of the Kafka client", name);
        return tr_hint(err,
                       "Names are librdkafka's; see docs/connectors/kafka.md for Java's.");
    }
    (void)tr_fail(err, TR_E_KAFKA_PROPERTY, "the Kafka client refuses the value of properties.%s",
                  name);
    return tr_hint(err, "See librdkafka's CONFIGURATION.md for the values of %s.", name);
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
    char number[32];
    if (check_property(spec->options, name, value, err) != TR_OK)
        return TR_FAIL;
    for (size_t i = 0; i < sizeof translations / sizeof translations[0]; i++) {
        if (strcmp(name, translations[i].java) != 0)
            continue;
        if (translations[i].how == DROPPED) {
            tr_log(TR_LOG_DEBUG, "a property of the Java client has no effect here", "property=%s",
                   name);
            return TR_OK;
        }
        if (translations[i].how == BYTES_TO_KB) {
            long long bytes = strtoll(value, NULL, 10);
            (void)snprintf(number, sizeof number, "%lld", bytes / 1024 > 0 ? bytes / 1024 : 1);
            value = number;
        }
        name = translations[i].native;
        break;
    }
    /* Java spells "no host name check" as an empty value */
    if (strcmp(name, "ssl.endpoint.identification.algorithm") == 0 && value[0] == '\0')
        value = "none";
    return is_for(name, spec->role) ? set(conf, name, value, err) : TR_OK;
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
    if (set(conf, "queue.buffering.max.kbytes", kbytes, err) != TR_OK ||
        set(conf, "queue.buffering.max.messages", QUEUE_MESSAGES_MAX, err) != TR_OK ||
        set(conf, "message.max.bytes", MESSAGE_BYTES_MAX, err) != TR_OK ||
        set(conf, "batch.size", batch, err) != TR_OK ||
        set(conf, "batch.num.messages", BATCH_MESSAGES_MAX, err) != TR_OK ||
        set(conf, "linger.ms", "1", err) != TR_OK ||
        set(conf, "compression.type", "lz4", err) != TR_OK ||
        set(conf, "partitioner", "murmur2_random", err) != TR_OK)
        return TR_FAIL;
    if (options->guarantee == KAFKA_NONE)
        return set(conf, "acks", "1", err);
    if (set(conf, "enable.idempotence", "true", err) != TR_OK ||
        set(conf, "acks", "all", err) != TR_OK)
        return TR_FAIL;
    if (options->guarantee == KAFKA_AT_LEAST_ONCE) /* nothing is ever given up: no gap */
        return set(conf, "message.timeout.ms", "0", err);
    if (set(conf, "transactional.id", spec->transactional_id, err) != TR_OK ||
        set(conf, "transaction.timeout.ms", timeout, err) != TR_OK)
        return TR_FAIL;
    return TR_OK;
}

/* ---- callbacks ----------------------------------------------------------------------------------
 */

static void log_line(const rd_kafka_t *rk, int level, const char *facility, const char *text)
{
    char quoted[512];
    (void)rk;
    if (level <= 3) /* emerg to error come by the error callback too, which is rate-limited */
        level = 7;
    tr_log(level <= 4 ? TR_LOG_WARN : TR_LOG_DEBUG, "the Kafka client says", "facility=%s text=%s",
           facility, tr_log_quote(text, quoted, sizeof quoted));
}

static void on_error(rd_kafka_t *rk, int code, const char *reason, void *opaque)
{
    struct kafka_health *health = *(struct kafka_health **)opaque;
    char quoted[512];
    (void)rk;
    /* "all brokers down" only repeats what was said before */
    if (code != RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN ||
        atomic_load(&health->cause) == RD_KAFKA_RESP_ERR_NO_ERROR) {
        (void)snprintf(health->reason, sizeof health->reason, "%s", reason);
        atomic_store(&health->cause, code);
    }
    int64_t now_ms = tr_clock_mono_ms();
    if (health->logged_ms != 0 && now_ms - health->logged_ms < LOG_INTERVAL_MS)
        return;
    health->logged_ms = now_ms;
    tr_log(TR_LOG_WARN, "a Kafka broker cannot be used now", "error=%s reason=%s",
           rd_kafka_err2name((rd_kafka_resp_err_t)code),
           tr_log_quote(reason, quoted, sizeof quoted));
}

static enum tr_status make_conf(const struct kafka_client_spec *spec, rd_kafka_conf_t **out,
                                struct tr_error *err)
{
    const struct kafka_options *options = spec->options;
    char client_id[160];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set_log_cb(conf, log_line);
    rd_kafka_conf_set_error_cb(conf, on_error);
    rd_kafka_conf_set_opaque(conf, spec->opaque);
    (void)snprintf(client_id, sizeof client_id, "tailrace-%s", spec->pipeline);
    if (set(conf, "client.id", client_id, err) != TR_OK ||
        set(conf, "bootstrap.servers", kafka_bootstrap_servers(options), err) != TR_OK ||
        set(conf, "log.connection.close", "false", err) != TR_OK ||
        set(conf, "socket.keepalive.enable", "true", err) != TR_OK)
        goto fail;
    if (spec->role == KAFKA_ROLE_PRODUCER) {
        rd_kafka_conf_set_dr_msg_cb(conf, spec->delivered);
        if (set_producer(spec, conf, err) != TR_OK)
            goto fail;
    }
    if (spec->role == KAFKA_ROLE_READER &&
        (set(conf, "isolation.level", "read_committed", err) != TR_OK ||
         set(conf, "enable.partition.eof", "true", err) != TR_OK ||
         set(conf, "group.id", client_id, err) != TR_OK || /* assigned by hand: never joined */
         set(conf, "enable.auto.commit", "false", err) != TR_OK ||
         set(conf, "auto.offset.reset", "earliest", err) != TR_OK))
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

/* ---- errors -------------------------------------------------------------------------------------
 */

struct meaning {
    rd_kafka_resp_err_t native;
    enum tr_code code;
    const char *hint;
};
#define BROKERS_HINT                                                                               \
    "Check properties.bootstrap.servers, that the broker listens there, and that its "             \
    "advertised.listeners can be reached from here."
#define AUTH_HINT                                                                                  \
    "Check properties.sasl.mechanism, properties.sasl.username and properties.sasl.password."
#define ACL_HINT                                                                                   \
    "Grant it: kafka-acls --add --allow-principal User:NAME --operation Write --operation "        \
    "Describe "                                                                                    \
    "--operation Create --topic NAME; with exactly-once also --transactional-id."
#define SIZE_HINT                                                                                  \
    "Raise max.message.bytes of the topic (kafka-configs --alter --entity-type topics) and the "   \
    "broker's message.max.bytes; properties.message.max.bytes bounds it on this side."
static const struct meaning meanings[] = {
    {RD_KAFKA_RESP_ERR__TRANSPORT, TR_E_KAFKA_UNREACHABLE, BROKERS_HINT},
    {RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN, TR_E_KAFKA_UNREACHABLE, BROKERS_HINT},
    {RD_KAFKA_RESP_ERR__RESOLVE, TR_E_KAFKA_UNREACHABLE, BROKERS_HINT},
    {RD_KAFKA_RESP_ERR__TIMED_OUT, TR_E_KAFKA_UNREACHABLE, BROKERS_HINT},
    {RD_KAFKA_RESP_ERR__AUTHENTICATION, TR_E_KAFKA_AUTH, AUTH_HINT},
    {RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED, TR_E_KAFKA_AUTH, AUTH_HINT},
    {RD_KAFKA_RESP_ERR_UNSUPPORTED_SASL_MECHANISM, TR_E_KAFKA_AUTH, AUTH_HINT},
    {RD_KAFKA_RESP_ERR__SSL, TR_E_KAFKA_TLS,
     "Check properties.ssl.ca.location, and that the listener speaks TLS "
     "(properties.security.protocol: SSL or SASL_SSL)."},
    {RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, TR_E_KAFKA_FORBIDDEN, ACL_HINT},
    {RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED, TR_E_KAFKA_FORBIDDEN, ACL_HINT},
    {RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED, TR_E_KAFKA_FORBIDDEN, ACL_HINT},
    {RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED, TR_E_KAFKA_FORBIDDEN, ACL_HINT},
    {RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, TR_E_KAFKA_TOPIC_MISSING,
     "Create the topic, or set auto-create-table: true."},
    {RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC, TR_E_KAFKA_TOPIC_MISSING,
     "Create the topic, or set auto-create-table: true."},
    {RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION, TR_E_KAFKA_TOPIC_MISSING,
     "The topic was replaced by one with fewer partitions: start the pipeline again."},
    {RD_KAFKA_RESP_ERR_INVALID_PARTITIONS, TR_E_KAFKA_TOPIC_CREATE, "Change topic.partitions."},
    {RD_KAFKA_RESP_ERR_INVALID_REPLICATION_FACTOR, TR_E_KAFKA_TOPIC_CREATE,
     "Set topic.replication-factor to at most the number of brokers."},
    {RD_KAFKA_RESP_ERR_POLICY_VIOLATION, TR_E_KAFKA_TOPIC_CREATE,
     "The cluster's policy forbids such a topic: create it by hand and set auto-create-table: "
     "false."},
    {RD_KAFKA_RESP_ERR_INVALID_CONFIG, TR_E_KAFKA_TOPIC_CREATE, "Look at topic.config.*."},
    {RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION, TR_E_KAFKA_TOPIC_NAME, "Change topic or topic.prefix."},
    {RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, TR_E_KAFKA_MESSAGE_TOO_LARGE, SIZE_HINT},
    {RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE, TR_E_KAFKA_MESSAGE_TOO_LARGE, SIZE_HINT},
    {RD_KAFKA_RESP_ERR_INVALID_RECORD, TR_E_KAFKA_REJECTED,
     "A topic with cleanup.policy=compact takes no records without a key."},
    {RD_KAFKA_RESP_ERR_INVALID_MSG, TR_E_KAFKA_REJECTED,
     "A topic with cleanup.policy=compact takes no records without a key."},
    {RD_KAFKA_RESP_ERR__FENCED, TR_E_KAFKA_FENCED,
     "Another process runs this pipeline with exactly-once: stop one of them."},
    {RD_KAFKA_RESP_ERR_PRODUCER_FENCED, TR_E_KAFKA_FENCED,
     "Another process runs this pipeline with exactly-once: stop one of them."},
    {RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH, TR_E_KAFKA_FENCED,
     "Another process runs this pipeline with exactly-once: stop one of them."},
    {RD_KAFKA_RESP_ERR_INVALID_TRANSACTION_TIMEOUT, TR_E_KAFKA_TXN_TIMEOUT,
     "Lower sink.transaction.timeout, or raise the broker's transaction.max.timeout.ms."},
};

static const struct meaning *meaning_of(rd_kafka_resp_err_t native)
{
    static const struct meaning other = {RD_KAFKA_RESP_ERR_UNKNOWN, TR_E_KAFKA_DELIVERY,
                                         "The pipeline starts again by its restart strategy."};
    for (size_t i = 0; i < sizeof meanings / sizeof meanings[0]; i++) {
        if (meanings[i].native == native)
            return &meanings[i];
    }
    return &other;
}

bool kafka_is_final(rd_kafka_resp_err_t native)
{
    return tr_error_info(meaning_of(native)->code)->class != TR_TRANSIENT;
}

static enum tr_status fail_with(struct tr_error *err, rd_kafka_resp_err_t native,
                                const char *detail, const char *what_format, va_list args)
{
    char what[300];
    (void)vsnprintf(what, sizeof what, what_format, args);
    const struct meaning *meaning = meaning_of(native);
    (void)tr_fail(err, meaning->code, "%s: %s", what, rd_kafka_err2str(native));
    (void)tr_detail(err, "%s%s%s", rd_kafka_err2name(native), detail == NULL ? "" : ": ",
                    detail == NULL ? "" : detail);
    return tr_hint(err, "%s", meaning->hint);
}

enum tr_status kafka_fail(struct tr_error *err, rd_kafka_resp_err_t native, const char *detail,
                          const char *what_format, ...)
{
    va_list args;
    va_start(args, what_format);
    (void)fail_with(err, native, detail, what_format, args);
    va_end(args);
    return TR_FAIL;
}

enum tr_status kafka_fail_error(struct tr_error *err, rd_kafka_error_t *native,
                                const char *what_format, ...)
{
    va_list args;
    va_start(args, what_format);
    (void)fail_with(err, rd_kafka_error_code(native), rd_kafka_error_string(native), what_format,
                    args);
    va_end(args);
    rd_kafka_error_destroy(native);
    return TR_FAIL;
}

enum tr_status kafka_metadata(rd_kafka_t *rk, struct kafka_health *health, int64_t timeout_ms,
                              const struct rd_kafka_metadata **metadata, struct tr_error *err)
{
    int64_t until_ms = tr_clock_mono_ms() + timeout_ms;
    for (;;) {
        int64_t left_ms = until_ms - tr_clock_mono_ms();
        int slice_ms = left_ms < METADATA_SLICE_MS ? (int)left_ms : METADATA_SLICE_MS;
        rd_kafka_resp_err_t native =
            rd_kafka_metadata(rk, 1, NULL, metadata, slice_ms > 0 ? slice_ms : 1);
        if (native == RD_KAFKA_RESP_ERR_NO_ERROR)
            return TR_OK;
        (void)rd_kafka_poll(rk, 0); /* the error callback tells why */
        int cause = atomic_load(&health->cause);
        if (atomic_load(&health->interrupted))
            return tr_fail(err, TR_E_INTERRUPTED, "interrupted while waiting for a Kafka broker");
        bool refused = cause == RD_KAFKA_RESP_ERR__AUTHENTICATION ||
                       cause == RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED ||
                       cause == RD_KAFKA_RESP_ERR_UNSUPPORTED_SASL_MECHANISM ||
                       cause == RD_KAFKA_RESP_ERR__SSL;
        if (refused || slice_ms <= 0) {
            if (cause != RD_KAFKA_RESP_ERR_NO_ERROR)
                native = (rd_kafka_resp_err_t)cause;
            return kafka_fail(err, native, health->reason[0] != '\0' ? health->reason : NULL,
                              "no Kafka broker could be used");
        }
    }
}
