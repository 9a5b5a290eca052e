/* The position topic: one partition, compacted, a record per mark. Key `<pipeline>/<mark key>`,
 * value the mark's value, no value for a mark that is gone. The records are part of the transaction
 * that holds the rows, so a reader of committed records finds position and rows in step. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "sink/kafka/internal.h"

#define POLL_SLICE_MS 200
#define READ_TIMEOUT_MS 60000

static enum tr_status not_readable(struct kafka_sink *sink, const char *why, struct tr_error *err)
{
    (void)tr_fail(err, TR_E_KAFKA_POSITIONS, "the positions in topic %s cannot be read",
                  sink->position_topic);
    (void)tr_detail(err, "%s", why);
    return tr_hint(
        err, "Check that sink.position-topic has one partition and is used by tailrace alone.");
}

static enum tr_status take(struct kafka_sink *sink, const rd_kafka_message_t *message,
                           struct tr_error *err)
{
    size_t own = strlen(sink->pipeline);
    const char *key = message->key;
    if (message->key_len <= own + 1 || memcmp(key, sink->pipeline, own) != 0 || key[own] != '/')
        return TR_OK; /* another pipeline's, in a shared topic */
    struct tr_slice name = {key + own + 1, message->key_len - own - 1};
    struct tr_slice value = {message->payload == NULL ? "" : message->payload, message->len};
    if (name.ptr[name.len - 1] == '*' ||
        tr_state_apply(&sink->positions, name, value, err) != TR_OK)
        return not_readable(sink, "a record is not a position", err);
    return TR_OK;
}

/* From the first record to the end that was there when reading began. */
static enum tr_status read_all(struct kafka_sink *sink, rd_kafka_t *reader, struct tr_error *err)
{
    int64_t low, high;
    rd_kafka_resp_err_t native = rd_kafka_query_watermark_offsets(
        reader, sink->position_topic, 0, &low, &high, (int)sink->options->connect_timeout_ms);
    if (native != RD_KAFKA_RESP_ERR_NO_ERROR)
        return kafka_fail(err, native, NULL, "reading the positions in topic %s",
                          sink->position_topic);
    int64_t until_ms = tr_clock_mono_ms() + READ_TIMEOUT_MS, position = low;
    while (position < high) {
        if (atomic_load(&sink->health->interrupted))
            return tr_fail(err, TR_E_INTERRUPTED, "interrupted while reading the positions");
        if (tr_clock_mono_ms() >= until_ms)
            return not_readable(sink,
                                "its end was not reached within a minute: a transaction of another "
                                "producer may be open in it",
                                err);
        rd_kafka_message_t *message = rd_kafka_consumer_poll(reader, POLL_SLICE_MS);
        if (message == NULL)
            continue;
        enum tr_status status = TR_OK;
        if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF)
            position = message->offset; /* behind control records too */
        else if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
            position = message->offset + 1;
            status = take(sink, message, err);
        } else if (message->err == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED ||
                   message->err == RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED) {
            status = kafka_fail(err, message->err, rd_kafka_message_errstr(message),
                                "reading the positions in topic %s", sink->position_topic);
        } /* others heal, or the time runs out */
        rd_kafka_message_destroy(message);
        if (status != TR_OK)
            return status;
    }
    tr_log(TR_LOG_DEBUG, "read the positions", "topic=%s positions=%zu end_offset=%lld",
           sink->position_topic, sink->positions.count, (long long)position);
    return TR_OK;
}

enum tr_status kafka_positions_load(struct kafka_sink *sink, struct tr_error *err)
{
    const struct kafka_client_spec spec = {.options = sink->options,
                                           .role = KAFKA_ROLE_READER,
                                           .pipeline = sink->pipeline,
                                           .health = sink->health,
                                           .opaque = sink};
    rd_kafka_t *reader;
    tr_state_clear(&sink->positions);
    if (kafka_client_new(&spec, &reader, err) != TR_OK)
        return TR_FAIL;
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, sink->position_topic, 0)->offset =
        RD_KAFKA_OFFSET_BEGINNING;
    (void)rd_kafka_poll_set_consumer(reader);
    rd_kafka_resp_err_t native = rd_kafka_assign(reader, list);
    enum tr_status status = native == RD_KAFKA_RESP_ERR_NO_ERROR
                                ? read_all(sink, reader, err)
                                : kafka_fail(err, native, NULL, "reading the positions in topic %s",
                                             sink->position_topic);
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_destroy_flags(reader, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    return status;
}

static enum tr_status stage_removal(const struct kafka_sink *sink, const char *key,
                                    struct tr_state *staged, struct tr_error *err)
{
    /* a key that the topic does not hold needs no record, only to be forgotten */
    if (tr_state_get(&sink->positions, key) != NULL)
        return tr_state_set(staged, key, "-", err);
    struct tr_slice nothing = {"", 0};
    return tr_state_apply(staged, tr_slice_of(key), nothing, err);
}

static enum tr_status stage_prefix_removal(const struct kafka_sink *sink, const char *prefix,
                                           struct tr_state *staged, struct tr_error *err)
{
    const struct tr_state *held = &sink->positions;
    char key[TR_MARK_KEY_BYTES_MAX + 2];
    /* first what is only staged (a removal shrinks the list: look again at the same place) */
    for (size_t i = tr_state_seek(staged, prefix); tr_state_has_prefix(staged, i, prefix);) {
        (void)snprintf(key, sizeof key, "%s", staged->items[i].key);
        size_t before = staged->count;
        if (stage_removal(sink, key, staged, err) != TR_OK)
            return TR_FAIL;
        if (staged->count == before)
            i++;
    }
    for (size_t i = tr_state_seek(held, prefix); tr_state_has_prefix(held, i, prefix); i++) {
        if (tr_state_set(staged, held->items[i].key, "-", err) != TR_OK)
            return TR_FAIL;
    }
    return TR_OK;
}

enum tr_status kafka_positions_stage(const struct kafka_sink *sink, const struct tr_event *commit,
                                     struct tr_state *staged, struct tr_error *err)
{
    struct tr_outbuf text = {0};
    enum tr_status status = TR_OK;
    for (uint32_t i = 0; i < commit->mark_count && status == TR_OK; i++) {
        const struct tr_mark *mark = &commit->marks[i];
        char key[TR_MARK_KEY_BYTES_MAX + 2];
        if (mark->key.len == 0 || mark->key.len > TR_MARK_KEY_BYTES_MAX) {
            status = tr_fail(err, TR_E_INTERNAL, "a mark's key has %zu bytes", mark->key.len);
            break;
        }
        memcpy(key, mark->key.ptr, mark->key.len);
        key[mark->key.len] = '\0';
        if (key[mark->key.len - 1] == '*') {
            key[mark->key.len - 1] = '\0';
            status = stage_prefix_removal(sink, key, staged, err);
        } else if (mark->value.len == 0) {
            status = stage_removal(sink, key, staged, err);
        } else {
            tr_outbuf_clear(&text);
            tr_outbuf_byte(&text, '=');
            tr_outbuf_bytes(&text, mark->value.ptr, mark->value.len);
            const char *value = tr_outbuf_cstr(&text);
            status = text.failed ? tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for a position")
                                 : tr_state_set(staged, key, value, err);
        }
    }
    tr_outbuf_free(&text);
    return status;
}

static enum tr_status send_one(struct kafka_sink *sink, rd_kafka_topic_t *topic,
                               const struct tr_state_item *item, struct tr_outbuf *key,
                               struct tr_error *err)
{
    bool gone = item->value[0] == '-';
    tr_outbuf_clear(key);
    tr_outbuf_str(key, sink->pipeline);
    tr_outbuf_byte(key, '/');
    tr_outbuf_str(key, item->key);
    if (key->failed)
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for a position");
    for (;;) {
        rd_kafka_resp_err_t native =
            rd_kafka_producev(sink->producer, RD_KAFKA_V_RKT(topic), RD_KAFKA_V_PARTITION(0),
                              RD_KAFKA_V_KEY(key->data, key->len),
                              RD_KAFKA_V_VALUE((void *)(uintptr_t)(gone ? NULL : item->value + 1),
                                               gone ? 0 : strlen(item->value + 1)),
                              RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END);
        if (native == RD_KAFKA_RESP_ERR_NO_ERROR)
            return TR_OK;
        if (native != RD_KAFKA_RESP_ERR__QUEUE_FULL)
            return kafka_produce_fail(sink, native, sink->position_topic, err);
        if (atomic_load(&sink->health->interrupted))
            return tr_fail(err, TR_E_INTERRUPTED, "interrupted while writing the position");
        (void)rd_kafka_poll(sink->producer, POLL_SLICE_MS);
    }
}

enum tr_status kafka_positions_send(struct kafka_sink *sink, const struct tr_state *staged,
                                    struct tr_error *err)
{
    struct kafka_topic *topic;
    struct tr_outbuf key = {0};
    if (kafka_topics_entry(&sink->topics, sink->position_topic, &topic, err) != TR_OK)
        return TR_FAIL;
    if (topic->handle == NULL)
        topic->handle = rd_kafka_topic_new(sink->producer, topic->name, NULL);
    if (topic->handle == NULL)
        return kafka_fail(err, rd_kafka_last_error(), NULL, "topic %s", topic->name);
    enum tr_status status = TR_OK;
    for (size_t i = 0; i < staged->count && status == TR_OK; i++)
        status = send_one(sink, topic->handle, &staged->items[i], &key, err);
    tr_outbuf_free(&key);
    return status;
}

enum tr_status kafka_positions_settle(struct kafka_sink *sink, struct tr_state *staged,
                                      struct tr_error *err)
{
    for (size_t i = 0; i < staged->count; i++) {
        const struct tr_state_item *item = &staged->items[i];
        struct tr_slice value =
            item->value[0] == '-' ? (struct tr_slice){"", 0} : tr_slice_of(item->value + 1);
        if (tr_state_apply(&sink->positions, tr_slice_of(item->key), value, err) != TR_OK)
            return TR_FAIL;
    }
    tr_state_clear(staged);
    return TR_OK;
}
