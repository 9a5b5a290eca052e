/* The Kafka sink: opening, preflight, positions, and its row in the table of sinks.
 *
 * Delivery guarantees are the writer's (writer.c). A position is kept in Kafka only with
 * exactly-once; otherwise load_marks answers TR_END and the checkpoint alone decides. Threads:
 * interrupt from any; the rest as sink.h says. */
#include "sink/kafka/kafka.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "sink/kafka/internal.h"

#define SETTING_TIMEOUT_MS 5000
#define GONE_TIMEOUT_MS 5000

static void kafka_close(void *self)
{
    struct kafka_sink *sink = self;
    if (sink == NULL)
        return;
    kafka_writer_close(sink->writer);
    kafka_topics_free(&sink->topics); /* its handles are the producer's */
    if (sink->producer != NULL)
        rd_kafka_destroy(sink->producer);
    if (sink->admin != NULL)
        rd_kafka_destroy(sink->admin);
    kafka_pairs_free(&sink->headers);
    tr_state_free(&sink->positions);
    free(sink->pipeline);
    free(sink->prefix);
    free(sink->transactional_id);
    free(sink->position_topic);
    free(sink);
}

static char *joined(const char *first, const char *second)
{
    char *text;
    return asprintf(&text, "%s%s", first, second) < 0 ? NULL : text;
}

/* A topic's name from the pipeline's, which may hold letters that topics cannot. */
static char *position_topic_name(const char *pipeline)
{
    char *name = joined("__tailrace_position.", pipeline);
    for (char *c = name; c != NULL && *c != '\0'; c++) {
        if (strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-", *c) == NULL)
            *c = '_';
    }
    return name;
}

static enum tr_status set_names(struct kafka_sink *sink, const struct tr_context *context,
                                struct tr_error *err)
{
    const struct kafka_options *options = sink->options;
    const char *pipeline = context->pipeline_name == NULL ? "" : context->pipeline_name;
    sink->position_topic_given = options->position_topic != NULL;
    const char *owner = context->position_name == NULL ? pipeline : context->position_name;
    sink->pipeline = strdup(owner);
    sink->prefix = strdup(options->topic_prefix == NULL ? pipeline : options->topic_prefix);
    sink->transactional_id = options->transactional_id_prefix == NULL
                                 ? joined("tailrace-", owner)
                                 : joined(options->transactional_id_prefix, "-0");
    sink->position_topic = sink->position_topic_given ? strdup(options->position_topic)
                                                      : position_topic_name(owner);
    if (sink->pipeline == NULL || sink->prefix == NULL || sink->transactional_id == NULL ||
        sink->position_topic == NULL)
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for the Kafka sink");
    if (strlen(sink->position_topic) > TOPIC_NAME_MAX) {
        (void)tr_fail(err, TR_E_KAFKA_TOPIC_NAME, "the name of the position topic is too long");
        return tr_hint(err, "Give a shorter sink.position-topic.");
    }
    return TR_OK;
}

static int64_t setting_number(struct kafka_sink *sink, int32_t broker_id, const char *name)
{
    char *text = kafka_broker_setting(sink->admin, broker_id, name, SETTING_TIMEOUT_MS);
    int64_t value = text == NULL ? 0 : strtoll(text, NULL, 10);
    free(text);
    return value > 0 ? value : 0;
}

static enum tr_status learn_cluster(struct kafka_sink *sink, struct tr_error *err)
{
    const struct rd_kafka_metadata *metadata;
    if (kafka_metadata(sink->admin, sink->health, sink->options->connect_timeout_ms, &metadata,
                       err) != TR_OK)
        return TR_FAIL;
    enum tr_status status = kafka_topics_learn(&sink->topics, metadata, err);
    if (metadata->broker_cnt > 0) { /* without the right to see settings both stay unknown */
        sink->broker_message_bytes =
            setting_number(sink, metadata->brokers[0].id, "message.max.bytes");
        if (sink->transactional)
            sink->broker_transaction_max_ms =
                setting_number(sink, metadata->brokers[0].id, "transaction.max.timeout.ms");
    }
    rd_kafka_metadata_destroy(metadata);
    return status;
}

static enum tr_status kafka_open(const struct tr_config *config, const struct tr_context *context,
                                 void **self, struct tr_error *err)
{
    struct kafka_sink *sink = calloc(1, sizeof *sink);
    *self = sink;
    if (sink == NULL)
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for the Kafka sink");
    sink->health = &sink->health_state;
    sink->config = config;
    sink->options = tr_config_values(config);
    sink->checking = context->checking;
    sink->transactional = sink->options->guarantee == KAFKA_EXACTLY_ONCE;
    tr_state_init(&sink->positions);
    if (kafka_options_check(sink->options, err) != TR_OK || set_names(sink, context, err) != TR_OK)
        return TR_FAIL;
    sink->raw = strcmp(sink->options->value_format, tr_format_raw.name) == 0;
    sink->format = sink->raw ? &tr_format_raw : tr_format_find(sink->options->value_format);
    struct tr_encoder *probe; /* the format's options are checked before anything is reached */
    struct tr_format_context format_context = {
        .prefix = sink->prefix, .version = TAILRACE_VERSION, .connector = "postgresql"};
    if (sink->format->open(&sink->options->format, &format_context, &probe, err) != TR_OK)
        return TR_FAIL;
    sink->format->close(probe);
    if (kafka_pairs_parse("sink.custom-header", sink->options->custom_headers, ',', false,
                          &sink->headers, err) != TR_OK)
        return TR_FAIL;
    const struct kafka_client_spec spec = {.options = sink->options,
                                           .role = KAFKA_ROLE_ADMIN,
                                           .pipeline = sink->pipeline,
                                           .health = sink->health,
                                           .opaque = sink};
    /* properties for the producer alone are checked here too, before the first connection */
    struct kafka_client_spec trial = spec;
    trial.role = KAFKA_ROLE_PRODUCER;
    trial.transactional_id = sink->transactional_id;
    trial.delivered = kafka_on_delivered;
    if (kafka_client_check(&trial, err) != TR_OK ||
        kafka_client_new(&spec, &sink->admin, err) != TR_OK ||
        kafka_topics_init(&sink->topics, sink->options, sink->prefix, sink->pipeline, sink->admin,
                          sink->health, err) != TR_OK)
        return TR_FAIL;
    return learn_cluster(sink, err);
}

/* ---- preflight
 * ----------------------------------------------------------------------------------- */

struct reporter {
    tr_report_fn report;
    void *ctx;
};

static void report_line(const struct reporter *to, enum tr_severity severity, enum tr_code code,
                        const char *object, const char *message, const char *remedy)
{
    const struct tr_finding finding = {severity, code, object, message, remedy};
    to->report(to->ctx, &finding);
}

static void report_failure(const struct reporter *to, const char *object,
                           const struct tr_error *err)
{
    report_line(to, TR_ERROR_SEVERITY, err->code, object, err->message, err->hint);
}

static void validate_guarantee(struct kafka_sink *sink, const struct reporter *to)
{
    const struct kafka_options *options = sink->options;
    char text[300];
    if (sink->transactional && sink->broker_transaction_max_ms > 0 &&
        options->transaction_timeout_ms > sink->broker_transaction_max_ms) {
        (void)snprintf(
            text, sizeof text, "sink.transaction.timeout is %lld ms, but the broker allows %lld ms",
            (long long)options->transaction_timeout_ms, (long long)sink->broker_transaction_max_ms);
        report_line(
            to, TR_ERROR_SEVERITY, TR_E_KAFKA_TXN_TIMEOUT, "sink.transaction.timeout", text,
            "Lower sink.transaction.timeout, or raise the broker's transaction.max.timeout.ms.");
    }
    if (sink->broker_message_bytes > 0) {
        (void)snprintf(text, sizeof text,
                       "the cluster takes records of up to %lld bytes (message.max.bytes)",
                       (long long)sink->broker_message_bytes);
        report_line(to, TR_INFO, TR_E_NONE, "record size", text, NULL);
    }
    if (options->guarantee == KAFKA_NONE)
        report_line(to, TR_WARNING, TR_E_KAFKA_CONFIG, "sink.delivery-guarantee",
                    "none: records can be lost when a broker fails",
                    "Set sink.delivery-guarantee: at-least-once or exactly-once.");
}

static void validate_table(struct kafka_sink *sink, const struct tr_table *table,
                           const struct reporter *to)
{
    char name[TOPIC_NAME_MAX + 1], object[300], text[600];
    struct kafka_topic *topic;
    struct tr_error err;
    (void)tr_table_id_format(&table->id, object, sizeof object);
    if (sink->raw && !tr_raw_table(table)) {
        report_line(to, TR_ERROR_SEVERITY, TR_E_CAPABILITY, object,
                    "value.format raw writes dead letters only",
                    "Set value.format: debezium-json or json.");
        return;
    }
    if (kafka_topic_name(&sink->topics, &table->id, name, &err) != TR_OK ||
        kafka_topics_entry(&sink->topics, name, &topic, &err) != TR_OK) {
        report_failure(to, object, &err);
        return;
    }
    if (topic->partition_count > 0) {
        (void)snprintf(text, sizeof text, "topic %s exists with %d partition%s", name,
                       topic->partition_count, topic->partition_count == 1 ? "" : "s");
        report_line(to, TR_INFO, TR_E_NONE, object, text, NULL);
    } else if (!sink->options->create_topics) {
        (void)snprintf(text, sizeof text, "topic %s does not exist and auto-create-table is false",
                       name);
        report_line(to, TR_ERROR_SEVERITY, TR_E_KAFKA_TOPIC_MISSING, object, text,
                    "Create the topic, or set auto-create-table: true.");
    } else if (kafka_topic_create(&sink->topics, name, false, true, &err) != TR_OK) {
        report_failure(to, object, &err);
    } else {
        (void)snprintf(text, sizeof text, "topic %s will be made", name);
        report_line(to, TR_INFO, TR_E_NONE, object, text, NULL);
    }
    if (table->key_count == 0)
        report_line(to, TR_WARNING, TR_E_NONE, object,
                    "the table has no key: its records have none, and compaction cannot work",
                    "Add a primary key.");
}

static enum tr_status kafka_validate(void *self, const struct tr_table *const *tables,
                                     size_t table_count, tr_report_fn report, void *report_ctx,
                                     struct tr_error *err)
{
    struct kafka_sink *sink = self;
    const struct reporter to = {report, report_ctx};
    (void)err;
    report_line(&to, TR_INFO, TR_E_NONE, "brokers", "the cluster answers", NULL);
    validate_guarantee(sink, &to);
    for (size_t i = 0; i < table_count; i++)
        validate_table(sink, tables[i], &to);
    return TR_OK;
}

/* ---- positions
 * ----------------------------------------------------------------------------------- */

static bool position_topic_exists(struct kafka_sink *sink)
{
    struct kafka_topic *topic;
    struct tr_error err;
    return kafka_topics_entry(&sink->topics, sink->position_topic, &topic, &err) == TR_OK &&
           topic->partition_count > 0;
}

static enum tr_status kafka_load_marks(void *self, struct tr_state *marks, struct tr_error *err)
{
    struct kafka_sink *sink = self;
    if (!sink->transactional)
        return TR_END;
    if (!sink->checking) {
        if (!position_topic_exists(sink) &&
            kafka_topic_create(&sink->topics, sink->position_topic, true, false, err) != TR_OK)
            return TR_FAIL;
        /* before reading: it fences an older instance and ends its transaction */
        if (sink->producer == NULL && kafka_producer_open(sink, err) != TR_OK)
            return TR_FAIL;
    } else if (!position_topic_exists(sink)) {
        return TR_OK;
    }
    if (kafka_positions_load(sink, err) != TR_OK)
        return TR_FAIL;
    return tr_state_copy(marks, &sink->positions, err);
}

/* Takes this pipeline's records out of a topic that others may use too. */
static enum tr_status empty_shared_topic(struct kafka_sink *sink, struct tr_error *err)
{
    struct tr_state staged;
    struct tr_mark all = {.key = {"*", 1}, .value = {"", 0}};
    struct tr_event event = {.op = TR_OP_COMMIT, .marks = &all, .mark_count = 1};
    tr_state_init(&staged);
    enum tr_status status = sink->producer == NULL ? kafka_producer_open(sink, err) : TR_OK;
    if (status == TR_OK)
        status = kafka_positions_load(sink, err);
    if (status == TR_OK)
        status = kafka_positions_stage(sink, &event, &staged, err);
    if (status == TR_OK && staged.count > 0) {
        status = kafka_txn_begin(sink, err);
        if (status == TR_OK)
            status = kafka_positions_send(sink, &staged, err);
        if (status == TR_OK)
            status = kafka_txn_commit(sink, err);
    }
    tr_state_free(&staged);
    return status;
}

/* A broker shows a removed topic for a moment: the next start shall not take it for a living one.
 */
static void wait_until_gone(struct kafka_sink *sink)
{
    int64_t until_ms = tr_clock_mono_ms() + GONE_TIMEOUT_MS;
    bool there = true;
    while (there && tr_clock_mono_ms() < until_ms) {
        const struct rd_kafka_metadata *metadata;
        struct tr_error err;
        if (kafka_metadata(sink->admin, sink->health, SETTING_TIMEOUT_MS, &metadata, &err) != TR_OK)
            return;
        there = false;
        for (int i = 0; i < metadata->topic_cnt; i++)
            there = there || strcmp(metadata->topics[i].topic, sink->position_topic) == 0;
        rd_kafka_metadata_destroy(metadata);
        if (there)
            tr_clock_sleep_ms(50);
    }
}

static enum tr_status kafka_drop(void *self, tr_report_fn report, void *report_ctx,
                                 struct tr_error *err)
{
    struct kafka_sink *sink = self;
    const struct reporter to = {report, report_ctx};
    if (!position_topic_exists(sink))
        return TR_OK;
    if (sink->position_topic_given) {
        if (!sink->transactional)
            return TR_OK;
        if (empty_shared_topic(sink, err) != TR_OK)
            return TR_FAIL;
        report_line(&to, TR_INFO, TR_E_NONE, sink->position_topic,
                    "removed this pipeline's positions from the topic", NULL);
        return TR_OK;
    }
    bool existed;
    if (kafka_topic_delete(&sink->topics, sink->position_topic, &existed, err) != TR_OK)
        return TR_FAIL;
    wait_until_gone(sink);
    if (existed)
        report_line(&to, TR_INFO, TR_E_NONE, sink->position_topic, "removed the topic of positions",
                    NULL);
    return TR_OK;
}

static void kafka_interrupt(void *self)
{
    struct kafka_sink *sink = self;
    atomic_store(&sink->health_state.interrupted, true);
}

const struct tr_sink_ops tr_sink_kafka = {
    .name = "kafka",
    .abi = TR_SINK_ABI,
    .caps = TR_CAP_TRANSACTIONS | TR_CAP_POSITION | TR_CAP_TOMBSTONE,
    .options = kafka_option_table,
    .options_size = sizeof(struct kafka_options),
    .summary = "Kafka topics: Debezium's JSON or flat rows, at least once or exactly once",
    .open = kafka_open,
    .validate = kafka_validate,
    .load_marks = kafka_load_marks,
    .writer_open = kafka_writer_open,
    .apply = kafka_writer_apply,
    .write = kafka_writer_write,
    .flush = kafka_writer_flush,
    .durable_seq = kafka_writer_durable_seq,
    .interrupt = kafka_interrupt,
    .writer_close = kafka_writer_close,
    .drop = kafka_drop,
    .close = kafka_close,
    .scan = NULL,
};
