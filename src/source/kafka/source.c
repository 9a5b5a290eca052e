/* The Kafka source's operations; the work is in the other files of this folder:
 *   options consumer splits     settings, the client's handle, topics and partitions
 *   start                       where to begin
 *   read                        messages → batches
 *   group                       partitions shared by several processes
 *   registry                    schemas for Avro
 *   preflight                   tailrace check
 *
 * A split is a partition; its mark `at/topic/partition` is the next offset. Threads: see
 * internal.h. */
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "source/kafka/internal.h"
#include "source/kafka/kafka.h"

#define DROP_TIMEOUT_MS 10000
#define CLOSE_TIMEOUT_S 5

static void release(struct ksrc_source *source)
{
    if (source->client != NULL) {
        /* leaving a group in order lets the others go on at once */
        if (source->options->assignment == KSRC_GROUP && !source->context->checking)
            (void)rd_kafka_consumer_close(source->client);
        rd_kafka_destroy_flags(source->client, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    }
    if (source->assigning != NULL)
        rd_kafka_topic_partition_list_destroy(source->assigning);
    if (source->revoking != NULL)
        rd_kafka_topic_partition_list_destroy(source->revoking);
    if (source->decoder != NULL)
        source->format->close(source->decoder);
    ksrc_registry_free(source->registry);
    if (source->splits != NULL)
        ksrc_splits_free(source);
    pcre2_match_data_free(source->match);
    pcre2_code_free(source->pattern);
    tr_state_free(&source->marks);
    free(source->scratch);
    free(source->numbers);
    free(source->pipeline);
    free(source->group);
    free(source->schema);
    free(source->table);
    free(source);
}

/* The client's end can take long (brokers that are away) or, with librdkafka 2.0 and a topic that
 * was deleted, for ever. It gets a thread of its own, which is waited for CLOSE_TIMEOUT_MS; then it
 * is left to itself, so that the pipeline can stop, or begin its next attempt. */
struct closing {
    struct ksrc_source *source;
    sem_t done;
    _Atomic int users;
};

static void leave(struct closing *closing)
{
    if (atomic_fetch_sub(&closing->users, 1) == 1) {
        (void)sem_destroy(&closing->done);
        free(closing);
    }
}

static void *close_main(void *arg)
{
    struct closing *closing = arg;
    release(closing->source);
    (void)sem_post(&closing->done);
    leave(closing);
    return NULL;
}

static void source_close(void *self)
{
    struct ksrc_source *source = self;
    pthread_t thread;
    if (source == NULL)
        return;
    source->closing = true;
    ksrc_drop_fetched(source);
    if (source->queue != NULL)
        rd_kafka_queue_destroy(source->queue);
    struct closing *closing = source->client == NULL ? NULL : calloc(1, sizeof *closing);
    if (closing == NULL) {
        release(source);
        return;
    }
    closing->source = source;
    atomic_init(&closing->users, 2);
    (void)sem_init(&closing->done, 0, 0);
    if (pthread_create(&thread, NULL, close_main, closing) != 0) {
        release(source);
        leave(closing);
        leave(closing);
        return;
    }
    (void)pthread_detach(thread);
    struct timespec until;
    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += CLOSE_TIMEOUT_S;
    int waited;
    do {
        waited = sem_timedwait(&closing->done, &until);
    } while (waited != 0 && errno == EINTR);
    if (waited != 0)
        tr_log(TR_LOG_WARN, "the Kafka client takes long to close; it is not waited for", NULL);
    leave(closing);
}

static enum tr_status set_names(struct ksrc_source *source, struct tr_error *err)
{
    const struct ksrc_options *options = source->options;
    const char *name = source->context->pipeline_name == NULL ? "" : source->context->pipeline_name;
    const char *group = ksrc_property(options, "group.id");
    const char *dot = options->table == NULL ? NULL : strchr(options->table, '.');
    source->group_given = group != NULL;
    source->pipeline = strdup(name);
    source->group = strdup(group != NULL ? group : name[0] != '\0' ? name : "tailrace");
    source->schema =
        dot == NULL ? strdup("") : strndup(options->table, (size_t)(dot - options->table));
    if (options->table != NULL)
        source->table = strdup(dot == NULL ? options->table : dot + 1);
    source->splits = calloc(TR_SPLITS_MAX, sizeof(struct ksrc_split *));
    if (source->pipeline == NULL || source->group == NULL || source->schema == NULL ||
        (options->table != NULL && source->table == NULL) || source->splits == NULL)
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for the Kafka source");
    if (source->table != NULL && source->table[0] == '\0') {
        (void)tr_fail(err, TR_E_KAFKA_SOURCE_CONFIG, "the option table names no table");
        return tr_hint(err, "Write table: orders, or table: public.orders.");
    }
    return TR_OK;
}

static enum tr_status compile_pattern(struct ksrc_source *source, struct tr_error *err)
{
    int code;
    PCRE2_SIZE at;
    PCRE2_UCHAR why[128];
    const char *pattern = source->options->topic_pattern;
    if (pattern == NULL)
        return TR_OK;
    source->pattern =
        pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED,
                      PCRE2_ANCHORED | PCRE2_ENDANCHORED | PCRE2_UTF, &code, &at, NULL);
    if (source->pattern == NULL) {
        (void)pcre2_get_error_message(code, why, sizeof why);
        (void)tr_fail(err, TR_E_KAFKA_SOURCE_CONFIG, "topic-pattern is not a regular expression");
        (void)tr_detail(err, "%s, at character %zu", (const char *)why, (size_t)at + 1);
        return tr_hint(err, "Write for example topic-pattern: shop\\..*");
    }
    source->match = pcre2_match_data_create_from_pattern(source->pattern, NULL);
    return source->match == NULL ? tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for a pattern")
                                 : TR_OK;
}

static enum tr_status open_decoder(struct ksrc_source *source, struct tr_error *err)
{
    const struct ksrc_options *options = source->options;
    source->format = tr_decoder_find(options->decoder.format);
    if (source->format == NULL) {
        (void)tr_fail(err, TR_E_KAFKA_SOURCE_CONFIG, "format %s is not in this build",
                      tr_decoder_format_values[options->decoder.format]);
        return tr_hint(err, "tailrace version tells what was built in, and why not.");
    }
    if (options->registry_url != NULL &&
        ksrc_registry_new(options, &source->registry, err) != TR_OK)
        return TR_FAIL;
    const struct tr_decoder_context context = {
        .pipeline_name = source->pipeline,
        .namespace = "",
        .schema = source->schema,
        .table = source->table,
        .registry_schema = source->registry == NULL ? NULL : ksrc_registry_schema,
        .registry = source->registry,
    };
    return source->format->open(&options->decoder, &context, &source->decoder, err);
}

static enum tr_status source_open(const struct tr_config *config, const struct tr_context *context,
                                  void **self, struct tr_error *err)
{
    struct ksrc_source *source = calloc(1, sizeof *source);
    *self = source;
    if (source == NULL)
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for the Kafka source");
    source->health = &source->health_state;
    source->options = tr_config_values(config);
    source->context_copy = *context;
    source->context = &source->context_copy;
    source->malformed = tr_config_given(config, "malformed") ? source->options->malformed
                        : context->has_dead_letters          ? KSRC_DEAD_LETTER
                                                             : KSRC_FAIL;
    tr_state_init(&source->marks);
    ksrc_metrics();
    if (source->malformed == KSRC_DEAD_LETTER && !context->has_dead_letters && !context->checking) {
        (void)tr_fail(err, TR_E_CONFIG_REQUIRED,
                      "%s: malformed is dead-letter, and the pipeline has no `dead-letter`",
                      tr_config_where(config, "malformed"));
        return tr_hint(err, "Add a sink for them: dead-letter: {type: file, path: dead}.");
    }
    if (ksrc_options_check(source->options, err) != TR_OK || set_names(source, err) != TR_OK ||
        compile_pattern(source, err) != TR_OK || open_decoder(source, err) != TR_OK ||
        ksrc_client_new(source, &source->client, err) != TR_OK)
        return TR_FAIL;
    source->queue = rd_kafka_queue_get_consumer(source->client);
    const struct rd_kafka_metadata *metadata; /* reachable, and let in */
    if (kafka_metadata(source->client, source->health, source->options->connect_timeout_ms,
                       &metadata, err) != TR_OK)
        return TR_FAIL;
    rd_kafka_metadata_destroy(metadata);
    ksrc_healthy(source);
    return TR_OK;
}

static enum tr_status source_validate(void *self, tr_report_fn report, void *report_ctx,
                                      struct tr_error *err)
{
    return ksrc_preflight(self, report, report_ctx, err);
}

static enum tr_status source_start(void *self, const struct tr_state *marks, struct tr_error *err)
{
    struct ksrc_source *source = self;
    if (source->context->checking)
        return tr_fail(err, TR_E_INTERNAL, "a source opened for checking was started");
    return ksrc_start(source, marks, err);
}

static unsigned source_snapshot_readers(void *self)
{
    (void)self;
    return 0;
}

static enum tr_status source_snapshot(void *self, unsigned reader_index, struct tr_batch *batch,
                                      int timeout_ms, struct tr_error *err)
{
    (void)self;
    (void)reader_index;
    (void)batch;
    (void)timeout_ms;
    (void)err;
    return TR_END;
}

static enum tr_status source_stream(void *self, struct tr_error *err)
{
    (void)self;
    (void)err;
    return TR_OK;
}

static enum tr_status source_read(void *self, struct tr_batch *batch, int timeout_ms,
                                  struct tr_error *err)
{
    return ksrc_read(self, batch, timeout_ms, err);
}

static void source_acknowledge(void *self, const struct tr_state *marks)
{
    struct ksrc_source *source = self;
    uint32_t count = atomic_load(&source->split_count);
    for (uint32_t i = 0; i < count; i++) {
        struct ksrc_split *split = source->splits[i];
        struct tr_error ignored;
        int64_t position;
        if (atomic_load(&split->owned) &&
            ksrc_mark_position(marks, split, &position, &ignored) == TR_OK && position >= 0)
            atomic_store(&split->acknowledged, position);
    }
    atomic_store(&source->commit_wanted, true);
}

static enum tr_status source_keepalive(void *self, struct tr_error *err)
{
    struct ksrc_source *source = self;
    if (ksrc_health(source, err) == TR_FAIL)
        return TR_FAIL;
    ksrc_commit(source, 0);
    return source->options->assignment == KSRC_GROUP ? ksrc_group_idle(source, err) : TR_OK;
}

static enum tr_status source_finish(void *self, int timeout_ms, struct tr_error *err)
{
    (void)err;
    ksrc_commit(self, timeout_ms);
    return TR_OK;
}

static void source_interrupt(void *self)
{
    struct ksrc_source *source = self;
    atomic_store(&source->health_state.interrupted, true);
    ksrc_registry_interrupt(source->registry);
#if RD_KAFKA_VERSION >= 0x020000ff /* before: the wait for a message ends by its own timeout */
    if (source->queue != NULL)
        rd_kafka_queue_yield(source->queue);
#endif
}

/* The group's offsets, when the group is this pipeline's own. */
static enum tr_status source_drop(void *self, tr_report_fn report, void *report_ctx,
                                  struct tr_error *err)
{
    struct ksrc_source *source = self;
    if (source->group_given)
        return TR_OK;
    rd_kafka_DeleteGroup_t *group = rd_kafka_DeleteGroup_new(source->group);
    rd_kafka_queue_t *queue = rd_kafka_queue_new(source->client);
    rd_kafka_DeleteGroups(source->client, &group, 1, NULL, queue);
    rd_kafka_event_t *event = rd_kafka_queue_poll(queue, DROP_TIMEOUT_MS);
    rd_kafka_resp_err_t native =
        event == NULL ? RD_KAFKA_RESP_ERR__TIMED_OUT : rd_kafka_event_error(event);
    if (native == RD_KAFKA_RESP_ERR_NO_ERROR) {
        size_t count = 0;
        const rd_kafka_group_result_t **results =
            rd_kafka_DeleteGroups_result_groups(rd_kafka_event_DeleteGroups_result(event), &count);
        const rd_kafka_error_t *error = count == 1 ? rd_kafka_group_result_error(results[0]) : NULL;
        native = error == NULL ? RD_KAFKA_RESP_ERR_NO_ERROR : rd_kafka_error_code(error);
    }
    if (event != NULL)
        rd_kafka_event_destroy(event);
    rd_kafka_queue_destroy(queue);
    rd_kafka_DeleteGroup_destroy(group);
    if (native == RD_KAFKA_RESP_ERR_GROUP_ID_NOT_FOUND)
        return TR_OK;
    if (native != RD_KAFKA_RESP_ERR_NO_ERROR)
        return kafka_fail(err, native, NULL, "removing group %s", source->group);
    report(report_ctx, &(struct tr_finding){TR_INFO, TR_E_NONE, source->group,
                                            "removed the consumer group's offsets", NULL});
    return TR_OK;
}

/* Sums over the splits of this process, plus one, so that 0 stays "unknown". */
static void source_progress(void *self, struct tr_source_progress *progress)
{
    struct ksrc_source *source = self;
    uint32_t count = atomic_load(&source->split_count), owned = 0;
    uint64_t read = 1, acknowledged = 1, end = 1;
    bool all_known = true;
    *progress = (struct tr_source_progress){0};
    for (uint32_t i = 0; i < count; i++) {
        struct ksrc_split *split = source->splits[i];
        int64_t to = atomic_load(&split->server_end), done = atomic_load(&split->acknowledged);
        if (!atomic_load(&split->owned))
            continue;
        owned++;
        int64_t at = atomic_load(&split->read);
        read += (uint64_t)at;
        end += (uint64_t)(to < at ? at : to);
        acknowledged += (uint64_t)(done < 0 ? 0 : done);
        all_known = all_known && done >= 0;
    }
    if (owned == 0)
        return;
    progress->server_position = end;
    progress->read_position = read;
    progress->acknowledged_position = all_known ? acknowledged : 0;
    (void)snprintf(progress->position_text, sizeof progress->position_text,
                   "partitions=%u,messages-to-go=%llu", owned, (unsigned long long)(end - read));
}

static uint32_t source_split_count(void *self)
{
    struct ksrc_source *source = self;
    return atomic_load(&source->split_count);
}

static const struct tr_split *source_split(void *self, uint32_t index)
{
    struct ksrc_source *source = self;
    if (index >= atomic_load(&source->split_count))
        return NULL;
    const struct ksrc_split *split = source->splits[index];
    return atomic_load(&split->owned) ? &split->split : NULL;
}

static bool source_is_shared(void *self)
{
    const struct ksrc_source *source = self;
    return source->options->assignment == KSRC_GROUP;
}

const struct tr_source_ops tr_source_kafka = {
    .name = "kafka",
    .abi = TR_SOURCE_ABI,
    .caps = TR_SRC_SPLITS | TR_SRC_SHARED,
    .options = ksrc_option_table,
    .options_size = sizeof(struct ksrc_options),
    .summary =
        "Kafka topics: events in JSON, change envelopes, CSV or Avro, from positions of its own",
    .open = source_open,
    .validate = source_validate,
    .start = source_start,
    .snapshot_readers = source_snapshot_readers,
    .snapshot = source_snapshot,
    .stream = source_stream,
    .read = source_read,
    .acknowledge = source_acknowledge,
    .keepalive = source_keepalive,
    .finish = source_finish,
    .interrupt = source_interrupt,
    .drop = source_drop,
    .progress = source_progress,
    .close = source_close,
    .scan = NULL,
    .split_count = source_split_count,
    .split = source_split,
    .is_shared = source_is_shared,
};
