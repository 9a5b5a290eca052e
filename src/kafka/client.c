/* What every user of librdkafka here needs: properties, callbacks, errors, waiting for a broker.
 *
 * Property names: librdkafka's own; Java names of the same meaning are translated; those that have
 * none here, or that would run code or commands, are refused with what to use instead. Values are
 * never put into messages: they may be secrets. */
#include "kafka/client.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"

#define LOG_INTERVAL_MS 10000
#define METADATA_SLICE_MS 500

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
    {"key.deserializer", NULL, DROPPED},
    {"value.deserializer", NULL, DROPPED},
    {"max.poll.records", NULL, DROPPED},
    {"default.api.timeout.ms", NULL, DROPPED},
    {"fetch.max.wait.ms", "fetch.wait.max.ms", SAME_VALUE},
    {"max.block.ms", NULL, DROPPED},
    {"client.dns.lookup", NULL, DROPPED},
};

static const struct kafka_refusal refusals[] = {
    {"sasl.jaas.config", "Use properties.sasl.mechanism, properties.sasl.username and "
                         "properties.sasl.password."},
    {"sasl.client.callback.handler.class", "Java classes cannot be loaded here."},
    {"sasl.login.callback.handler.class", "Java classes cannot be loaded here."},
    {"ssl.truststore.location", "Use properties.ssl.ca.location with a PEM file "
                                "(keytool -exportcert -rfc makes one)."},
    {"ssl.truststore.password", "A PEM file has none: use properties.ssl.ca.location."},
    {"ssl.truststore.type", "Use properties.ssl.ca.location with a PEM file."},
    {"interceptor.classes", "Java classes cannot be loaded here."},
    {"partitioner.class", "Java classes cannot be loaded here."},
    {"metric.reporters", "Java classes cannot be loaded here."},
    {"plugin.library.paths", "Loading code from a pipeline file is not allowed."},
    {"sasl.kerberos.kinit.cmd", "Running commands from a pipeline file is not allowed."},
};

static enum tr_status refuse(const char *name, const char *hint, struct tr_error *err)
{
    (void)tr_fail(err, TR_E_KAFKA_PROPERTY, "properties.%s cannot be used", name);
    return tr_hint(err, "%s", hint);
}

bool kafka_property_refused(const struct kafka_refusal *list, const char *name,
                            struct tr_error *err)
{
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
        if (strcmp(name, refusals[i].name) == 0)
            return refuse(name, refusals[i].why, err) == TR_FAIL;
    }
    for (; list != NULL && list->name != NULL; list++) {
        if (strcmp(name, list->name) == 0)
            return refuse(name, list->why, err) == TR_FAIL;
    }
    return false;
}

enum tr_status kafka_conf_set(rd_kafka_conf_t *conf, const char *name, const char *value,
                              struct tr_error *err)
{
    char why[256];
    rd_kafka_conf_res_t result = rd_kafka_conf_set(conf, name, value, why, sizeof why);
    if (result == RD_KAFKA_CONF_OK)
        return TR_OK;
    if (result == RD_KAFKA_CONF_UNKNOWN) {
        (void)tr_fail(err, TR_E_KAFKA_PROPERTY,
                      "properties.%s is not a property of the Kafka client", name);
        return tr_hint(err, "Names are librdkafka's; see docs/connectors/kafka.md for Java's.");
    }
    (void)tr_fail(err, TR_E_KAFKA_PROPERTY, "the Kafka client refuses the value of properties.%s",
                  name);
    return tr_hint(err, "See librdkafka's CONFIGURATION.md for the values of %s.", name);
}

enum tr_status kafka_property_set(rd_kafka_conf_t *conf, const char *name, const char *value,
                                  struct tr_error *err)
{
    char number[32];
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
    return kafka_conf_set(conf, name, value, err);
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

void kafka_conf_callbacks(rd_kafka_conf_t *conf, void *opaque)
{
    rd_kafka_conf_set_log_cb(conf, log_line);
    rd_kafka_conf_set_error_cb(conf, on_error);
    rd_kafka_conf_set_opaque(conf, opaque);
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

bool kafka_is_refusal(rd_kafka_resp_err_t native)
{
    return native == RD_KAFKA_RESP_ERR__AUTHENTICATION ||
           native == RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED ||
           native == RD_KAFKA_RESP_ERR_UNSUPPORTED_SASL_MECHANISM ||
           native == RD_KAFKA_RESP_ERR__SSL;
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
        bool refused = kafka_is_refusal((rd_kafka_resp_err_t)cause);
        if (refused || slice_ms <= 0) {
            if (cause != RD_KAFKA_RESP_ERR_NO_ERROR)
                native = (rd_kafka_resp_err_t)cause;
            return kafka_fail(err, native, health->reason[0] != '\0' ? health->reason : NULL,
                              "no Kafka broker could be used");
        }
    }
}
