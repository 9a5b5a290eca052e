/* Messages → batches.
 *
 * A batch takes messages until it is full or nothing more is waiting, and ends with a COMMIT that
 * carries the next offset of every split that moved. A message's bytes are copied once, into the
 * batch; cells point into the copy. (Holding the client's message instead would keep its whole
 * fetch response in memory, and a batch has fewer places for foreign buffers than for events.) */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "base/metric.h"
#include "event/dead_letter.h"
#include "source/kafka/internal.h"

#define SKIP_LOG_MS 1000
#define DISCOVER_TIMEOUT_MS 2000
#define ENDS_INTERVAL_MS 1000
#define GROUP_SLICE_MS 100
#define COMMIT_SLOTS 1
#define MOVED_WAIT_MS 50

static struct tr_metric metric_skipped = {
    .name = "tailrace_messages_skipped_total",
    .unit = "messages",
    .help = "Malformed messages that were left out (option malformed: skip).",
    .kind = TR_COUNTER};

void ksrc_metrics(void) { tr_metric_register(&metric_skipped); }

/* ---- the client's queue -------------------------------------------------------------------------
 */

void ksrc_drop_fetched(struct ksrc_source *source)
{
    while (source->fetched_at < source->fetched_count)
        rd_kafka_message_destroy(source->fetched[source->fetched_at++]);
    source->fetched_at = source->fetched_count = 0;
}

/* In a group messages are taken one by one: a rebalance between two of them makes those behind it
 * invalid, and only this call of the client leaves them out. */
static void fetch_one(struct ksrc_source *source, int timeout_ms)
{
    int slice_ms = timeout_ms > GROUP_SLICE_MS ? GROUP_SLICE_MS : timeout_ms;
    rd_kafka_message_t *message = rd_kafka_consumer_poll(source->client, 0);
    if (message == NULL && slice_ms > 0) {
        ksrc_nudge(source);
        message = rd_kafka_consumer_poll(source->client, slice_ms);
    }
    if (message != NULL) {
        source->fetched[0] = message;
        source->fetched_count = 1;
    }
}

static rd_kafka_message_t *next_message(struct ksrc_source *source, int timeout_ms)
{
    if (source->fetched_at == source->fetched_count) {
        ssize_t count;
        source->fetched_at = source->fetched_count = 0;
        if (source->options->assignment == KSRC_GROUP) {
            fetch_one(source, timeout_ms);
        } else {
            /* this call waits until all places are filled or the time is over: wait for one alone
             */
            count =
                rd_kafka_consume_batch_queue(source->queue, 0, source->fetched, KSRC_FETCHED_MAX);
            if (count <= 0 && timeout_ms > 0) {
                ksrc_nudge(source);
                count = rd_kafka_consume_batch_queue(source->queue, timeout_ms, source->fetched, 1);
            }
            source->fetched_count = count > 0 ? (size_t)count : 0;
        }
        if (source->fetched_count == 0)
            return NULL;
    }
    return source->fetched[source->fetched_at++];
}

/* ---- one message --------------------------------------------------------------------------------
 */

static struct tr_message *copy_message(struct tr_batch *batch, const struct ksrc_split *split,
                                       const rd_kafka_message_t *message)
{
    rd_kafka_timestamp_type_t kind;
    size_t key_len = message->key == NULL ? 0 : message->key_len;
    size_t len = message->payload == NULL ? 0 : message->len;
    struct tr_message *copy = tr_arena_alloc(&batch->arena, sizeof *copy + key_len + len + 2,
                                             _Alignof(struct tr_message));
    if (copy == NULL)
        return NULL;
    char *key = (char *)(copy + 1), *value = key + key_len + 1;
    int64_t ts_ms = rd_kafka_message_timestamp(message, &kind);
    *copy = (struct tr_message){
        .split = &split->split,
        .position = message->offset,
        .next = message->offset + 1,
        .ts_us = kind == RD_KAFKA_TIMESTAMP_NOT_AVAILABLE || ts_ms < 0 || ts_ms > INT64_MAX / 1000
                     ? INT64_MIN
                     : ts_ms * 1000,
        .key = {message->key == NULL ? NULL : key, key_len},
        .value = {message->payload == NULL ? NULL : value, len},
    };
    if (key_len > 0)
        memcpy(key, message->key, key_len);
    if (len > 0)
        memcpy(value, message->payload, len);
    key[key_len] = value[len] = '\0';
    return copy;
}

static void log_skipped(struct ksrc_source *source, const struct tr_message *message,
                        const struct tr_error *why)
{
    int64_t now_ms = tr_clock_mono_ms();
    tr_metric_add(&metric_skipped, 1);
    source->skipped_unlogged++;
    if (source->skip_logged_ms != 0 && now_ms - source->skip_logged_ms < SKIP_LOG_MS)
        return;
    char quoted[700];
    tr_log(TR_LOG_WARN, "malformed messages were left out",
           "messages=%llu split=%s offset=%lld code=%s error=%s",
           (unsigned long long)source->skipped_unlogged, message->split->name,
           (long long)message->position, tr_error_info(why->code)->name,
           tr_log_quote(why->message, quoted, sizeof quoted));
    source->skip_logged_ms = now_ms;
    source->skipped_unlogged = 0;
}

static enum tr_status malformed(struct ksrc_source *source, struct tr_batch *batch,
                                const struct tr_message *message, struct tr_error *err)
{
    if (source->malformed == KSRC_SKIP) {
        log_skipped(source, message, err);
        return TR_OK;
    }
    if (source->malformed == KSRC_DEAD_LETTER) {
        const struct tr_error why = *err;
        const struct tr_dead_letter letter = {.reason = TR_DEAD_MALFORMED,
                                              .message = message,
                                              .error = &why,
                                              .event_time_us = TR_TIME_NONE,
                                              .watermark_us = TR_TIME_NONE};
        return tr_dead_letter_append(batch, &letter, err);
    }
    char text[sizeof err->message];
    (void)snprintf(text, sizeof text, "%s", err->message);
    (void)snprintf(err->message, sizeof err->message, "the message at %s offset %lld: %.400s",
                   message->split->name, (long long)message->position, text);
    if (err->hint[0] == '\0')
        (void)tr_hint(err, "malformed: dead-letter or skip lets the pipeline go on behind it.");
    return TR_FAIL;
}

/* What the decoder leaves to the source. */
static void complete(struct tr_batch *batch, uint32_t from, const struct tr_message *message,
                     int64_t now_us)
{
    int64_t ts_us = message->ts_us == INT64_MIN ? now_us : message->ts_us;
    for (uint32_t i = from; i < batch->event_count; i++) {
        struct tr_event *event = &batch->events[i];
        event->message = message;
        if (event->ts_us == 0 || event->ts_us == TR_TIME_NONE)
            event->ts_us = ts_us;
        event->recv_ts_us = now_us;
    }
}

static enum tr_status take_message(struct ksrc_source *source, struct ksrc_split *split,
                                   struct tr_batch *batch, const rd_kafka_message_t *message,
                                   int64_t now_us, struct tr_error *err)
{
    if (message->offset >= split->end) { /* behind the end of a bounded run */
        split->position = split->end;
        ksrc_split_done(source, split);
        return ksrc_split_moved(source, split, err);
    }
    uint32_t from = batch->event_count;
    const struct tr_message *copy = copy_message(batch, split, message);
    if (copy == NULL)
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for a message");
    enum tr_status status = source->format->decode(source->decoder, copy, batch, err);
    if (status == TR_FAIL && err->class == TR_DATA)
        status = malformed(source, batch, copy, err);
    if (status == TR_FAIL)
        return TR_FAIL;
    complete(batch, from, copy, now_us);
    split->position = copy->next;
    if (split->position >= split->end)
        ksrc_split_done(source, split);
    return ksrc_split_moved(source, split, err);
}

/* Not a message: the end of a partition, or trouble. */
static enum tr_status take_notice(struct ksrc_source *source, const rd_kafka_message_t *message,
                                  struct tr_error *err)
{
    struct ksrc_split *split =
        message->rkt == NULL
            ? NULL
            : ksrc_split_find(source, rd_kafka_topic_name(message->rkt), message->partition);
    const char *name = split == NULL ? "the brokers" : split->split.name;
    switch (message->err) {
    case RD_KAFKA_RESP_ERR__PARTITION_EOF:
        ksrc_healthy(source);
        if (split == NULL || !split->assigned || split->revoking)
            return TR_OK;
        if (message->offset > split->position) { /* records of transactions, which nobody sees */
            split->position = message->offset < split->end ? message->offset : split->end;
            if (ksrc_split_moved(source, split, err) != TR_OK)
                return TR_FAIL;
        }
        if (split->position >= split->end)
            ksrc_split_done(source, split);
        return TR_OK;
    case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET:
    case RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE:
        if (split != NULL)
            return ksrc_fail_range(source, split, err);
        break;
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
    case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
        if (source->pattern != NULL && split != NULL) {
            tr_log(TR_LOG_WARN, "a topic that is read is gone", "split=%s", name);
            atomic_store(&split->owned, false);
            return TR_OK;
        }
        (void)tr_fail(err, TR_E_KAFKA_TOPIC_MISSING, "%s is gone while it is read", name);
        return tr_hint(err,
                       "The topic was deleted. Take it out of the option topic, or make it again "
                       "and start over with tailrace drop.");
    case RD_KAFKA_RESP_ERR__MAX_POLL_EXCEEDED:
        source->lost = true;
        return TR_OK;
    default:
        break;
    }
    if (kafka_is_refusal(message->err) || kafka_is_final(message->err))
        return kafka_fail(err, message->err, rd_kafka_message_errstr(message), "reading %s", name);
    tr_log(TR_LOG_DEBUG, "the Kafka client tells of trouble", "split=%s error=%s", name,
           rd_kafka_err2name(message->err));
    return TR_OK;
}

/* ---- positions ----------------------------------------------------------------------------------
 */

static bool scratch_for(struct ksrc_source *source, size_t count)
{
    if (count <= source->scratch_capacity)
        return true;
    size_t capacity = count + count / 2 + 16;
    struct tr_mark *marks = realloc(source->scratch, capacity * sizeof *marks);
    if (marks != NULL)
        source->scratch = marks;
    char(*numbers)[24] = realloc(source->numbers, capacity * sizeof *numbers);
    if (numbers != NULL)
        source->numbers = numbers;
    if (marks == NULL || numbers == NULL)
        return false;
    source->scratch_capacity = capacity;
    return true;
}

/* The COMMIT that ends a batch: schemas that are new, and every split that moved. */
static enum tr_status commit(struct ksrc_source *source, struct tr_batch *batch, bool idle,
                             struct tr_error *err)
{
    const struct tr_mark *schemas = NULL;
    uint32_t count = 0;
    if (source->format->schema_marks != NULL &&
        source->format->schema_marks(source->decoder, batch, &schemas, &count, err) != TR_OK)
        return TR_FAIL;
    if (!scratch_for(source, (size_t)count + source->moved_count))
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for positions");
    if (count > 0)
        memcpy(source->scratch, schemas, count * sizeof *schemas);
    int64_t ts_us = batch->event_count > 0 ? batch->events[batch->event_count - 1].ts_us : 0;
    for (uint32_t i = 0; i < source->moved_count; i++) {
        struct ksrc_split *split = source->splits[source->moved[i]];
        int len = snprintf(source->numbers[i], sizeof source->numbers[i], "%lld",
                           (long long)split->position);
        source->scratch[count + i] =
            (struct tr_mark){tr_slice_of(split->key), {source->numbers[i], (size_t)len}};
        split->moved = false;
        atomic_store(&split->read, split->position);
    }
    struct tr_event *event;
    if (tr_batch_commit(batch, source->scratch, count + source->moved_count, &event, err) != TR_OK)
        return TR_FAIL;
    event->recv_ts_us = tr_clock_wall_us();
    event->ts_us = ts_us == 0 ? event->recv_ts_us : ts_us;
    if (idle)
        event->flags |= TR_EV_IDLE;
    source->moved_count = 0;
    source->idle_commit_ms = tr_clock_mono_ms();
    return TR_OK;
}

/* ---- turns --------------------------------------------------------------------------------------
 */

static void note_ends(struct ksrc_source *source, int64_t now_ms)
{
    uint32_t count = atomic_load(&source->split_count);
    if (now_ms - source->ends_ms < ENDS_INTERVAL_MS)
        return;
    source->ends_ms = now_ms;
    for (uint32_t i = 0; i < count; i++) {
        struct ksrc_split *split = source->splits[i];
        int64_t low, high;
        if (split->assigned &&
            rd_kafka_get_watermark_offsets(source->client, split->topic, split->split.partition,
                                           &low, &high) == RD_KAFKA_RESP_ERR_NO_ERROR &&
            high >= 0)
            atomic_store(&split->server_end, high);
    }
}

static enum tr_status discover(struct ksrc_source *source, int64_t now_ms, struct tr_error *err)
{
    if (source->discovered_ms == 0)
        source->discovered_ms = now_ms;
    if (source->options->discovery_ms == 0 || source->options->bounded != KSRC_UNBOUNDED ||
        now_ms - source->discovered_ms < source->options->discovery_ms)
        return TR_OK;
    uint32_t known = atomic_load(&source->split_count);
    enum tr_status status = ksrc_discover(source, DISCOVER_TIMEOUT_MS, false, err);
    source->discovered_ms = tr_clock_mono_ms();
    if (status != TR_OK) /* brokers away are health's matter */
        return err->class == TR_TRANSIENT ? TR_OK : TR_FAIL;
    uint32_t count = atomic_load(&source->split_count);
    if (count == known)
        return TR_OK;
    tr_log(TR_LOG_INFO, "new partitions are read from their first message", "partitions=%u",
           count - known);
    return ksrc_place_new(source, known, err);
}

static enum tr_status prepare(struct ksrc_source *source, struct tr_error *err)
{
    int64_t now_ms = tr_clock_mono_ms();
    enum tr_status status = ksrc_health(source, err);
    if (status != TR_OK)
        return status;
    ksrc_commit(source, 0);
    if (source->options->assignment == KSRC_GROUP && ksrc_group_resume(source, err) != TR_OK)
        return TR_FAIL;
    note_ends(source, now_ms);
    return discover(source, now_ms, err);
}

static bool has_room(const struct tr_batch *batch)
{
    return batch->event_count + TR_DECODE_EVENTS_MAX + COMMIT_SLOTS <= TR_BATCH_EVENTS_MAX &&
           !tr_batch_full(batch);
}

static bool all_done(const struct ksrc_source *source)
{
    return source->options->bounded == KSRC_BOUNDED_LATEST &&
           source->done_count == atomic_load(&source->split_count);
}

static enum tr_status fill(struct ksrc_source *source, struct tr_batch *batch, int timeout_ms,
                           struct tr_error *err)
{
    int64_t now_us = 0;
    while (has_room(batch) && !all_done(source) && !atomic_load(&source->health->interrupted)) {
        int wait_ms = batch->event_count > 0 ? 0 : timeout_ms;
        if (source->moved_count > 0 && wait_ms > MOVED_WAIT_MS)
            wait_ms = MOVED_WAIT_MS; /* a position waits for its COMMIT */
        rd_kafka_message_t *message = next_message(source, wait_ms);
        if (message == NULL)
            return TR_OK;
        if (now_us == 0 || source->fetched_at == 1)
            now_us = tr_clock_wall_us();
        enum tr_status status = TR_OK;
        if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
            status = take_notice(source, message, err);
        } else {
            struct ksrc_split *split =
                ksrc_split_find(source, rd_kafka_topic_name(message->rkt), message->partition);
            /* not ours any more, or read already: the client may have had it in its queue */
            if (split != NULL && split->assigned && !split->revoking && !split->done &&
                message->offset >= split->position)
                status = take_message(source, split, batch, message, now_us, err);
        }
        rd_kafka_message_destroy(message);
        if (status != TR_OK)
            return status;
    }
    if (batch->event_count > 0)
        ksrc_healthy(source);
    return TR_OK;
}

enum tr_status ksrc_read(struct ksrc_source *source, struct tr_batch *batch, int timeout_ms,
                         struct tr_error *err)
{
    if (atomic_load(&source->health->interrupted))
        return TR_AGAIN;
    enum tr_status status = prepare(source, err);
    if (status == TR_FAIL || atomic_load(&source->health->interrupted))
        return status == TR_FAIL ? TR_FAIL : TR_AGAIN;
    if (!source->told_first && source->moved_count == 0 &&
        source->options->assignment == KSRC_GROUP)
        return fill(source, batch, timeout_ms, err) == TR_FAIL ? TR_FAIL : TR_AGAIN;
    if (!source->told_first || source->placed) {
        /* with no event in its transaction, or a sink that knew another position of the split would
         * take the stored one for another process's (pending_marks.h) */
        source->told_first = true;
        source->placed = false;
        return commit(source, batch, true, err);
    }
    (void)TR_FAILPOINT("source.kafka.read");
    if (fill(source, batch, timeout_ms, err) != TR_OK)
        return TR_FAIL;
    bool ends = all_done(source);
    bool due = ends || source->revoking != NULL ||
               tr_clock_mono_ms() - source->idle_commit_ms >= KSRC_IDLE_COMMIT_MS;
    if (batch->event_count > 0 || (source->moved_count > 0 && due)) {
        if (commit(source, batch, batch->event_count == 0, err) != TR_OK)
            return TR_FAIL;
        return ends ? TR_END : TR_OK;
    }
    return ends ? TR_END : TR_AGAIN;
}
