/* The writer: events → records → the client's queue; what is durable.
 *
 * At least once: the producer is idempotent and never gives a record up, so each partition's order
 * holds and no gap opens; an event is durable when it and all before it are in the unbroken row of
 * delivered records (window.h).
 *
 * Exactly once: a Kafka transaction holds whole source transactions and their position. It ends at
 * a COMMIT event, when it is old or large enough, or when the engine flushes. What a call leaves
 * unfinished must not be in it then; so while whole source transactions wait for that end, the
 * records of an unfinished one are held back in memory, up to a bound. Beyond the bound the whole
 * ones are committed first, and the long one goes on in a transaction of its own: a source
 * transaction of any size goes through.
 *
 * When the client's queue or the window is full the writer waits and serves delivery reports, until
 * there is room or the sink is interrupted. Thread: the writer's; the delivery reports run in it
 * too. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "sink/kafka/internal.h"

#define POLL_EVERY_RECORDS 256
#define WAIT_SLICE_MS 100
#define ABORT_TIMEOUT_MS 2000
#define CLOSE_FLUSH_MS 100
#define HURRY_RECORDS_MAX 16 /* more than that is load, and linger.ms makes larger requests of it */
#define HURRY_MS 2
#define HEADERS_EXTRA 4 /* table ID and the other key of a key change */
#define HELD_BYTES_MAX (4u << 20)
#define HELD_RECORDS_MAX 16384

/* A record, ready for the client. */
struct kafka_record {
    uint64_t seq;
    struct kafka_topic *topic;
    rd_kafka_headers_t *headers; /* or NULL; the client takes it over with the record */
    int32_t partition;
    bool has_key, has_value;
    const char *key, *value;
    size_t key_len, value_len;
};
/* Records of an unfinished source transaction: key and value lie in bytes, from offset on. */
struct kafka_held {
    struct kafka_record *items; /* key and value pointers unset */
    size_t *offsets;
    size_t count, capacity;
    struct tr_outbuf bytes;
};

struct kafka_writer {
    struct kafka_sink *sink;
    struct tr_encoder *encoder;
    struct kafka_window window;
    struct tr_outbuf key, value, header;
    int64_t now_us; /* the records' time of processing; once per write */
    uint64_t since_poll;
    uint64_t fresh_records; /* since the last time that nothing more was at hand */
    uint64_t seq_commit; /* last COMMIT accepted */
    uint64_t seq_durable;
    bool failed;  /* a record was lost: `failure` says why */
    bool closing; /* purged records are no failure */
    struct tr_error failure;
    /* exactly once */
    bool open; /* a Kafka transaction is */
    uint64_t open_records;
    struct tr_state staged; /* marks for its end */
    struct kafka_held held;
};

/* ---- delivery
 * ------------------------------------------------------------------------------------ */

void kafka_on_delivered(rd_kafka_t *rk, const rd_kafka_message_t *message, void *opaque)
{
    struct kafka_sink *sink = opaque;
    struct kafka_writer *writer = sink->writer;
    uint64_t record = (uint64_t)(uintptr_t)message->_private; /* number + 1; 0: a position */
    if (writer == NULL || writer->closing)
        return;
    if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
        if (record > 0)
            kafka_window_delivered(&writer->window, record - 1);
        /* a broker answered: what was wrong before is over */
        atomic_store(&sink->health->cause, RD_KAFKA_RESP_ERR_NO_ERROR);
        return;
    }
    /* records of a transaction that is being aborted: its own error says why */
    if (writer->failed || message->err == RD_KAFKA_RESP_ERR__PURGE_QUEUE ||
        message->err == RD_KAFKA_RESP_ERR__PURGE_INFLIGHT)
        return;
    writer->failed = true;
    char why[400] = "";
    rd_kafka_resp_err_t native = message->err;
    if (native == RD_KAFKA_RESP_ERR__FATAL)
        native = rd_kafka_fatal_error(rk, why, sizeof why);
    (void)kafka_fail(&writer->failure, native, why[0] == '\0' ? NULL : why, "writing to topic %s",
                     rd_kafka_topic_name(message->rkt));
    if (record > 0)
        writer->failure.seq = kafka_window_seq(&writer->window, record - 1);
    if (writer->failure.code == TR_E_KAFKA_TOPIC_MISSING && sink->options->create_topics) {
        writer->failure.class =
            TR_TRANSIENT; /* deleted under our hands: made again at the restart */
        (void)tr_hint(&writer->failure, "The topic is made again when the pipeline starts again.");
    }
}

/* A failure to report now, after what the client has to say. */
static enum tr_status check_failure(struct kafka_writer *writer, struct tr_error *err)
{
    if (writer->failed) {
        *err = writer->failure;
        return TR_FAIL;
    }
    return kafka_producer_fatal(writer->sink, err);
}

/* Serves delivery reports for up to timeout_ms because there is no room. */
static enum tr_status wait_for_room(struct kafka_writer *writer, struct tr_error *err)
{
    (void)rd_kafka_poll(writer->sink->producer, WAIT_SLICE_MS);
    if (check_failure(writer, err) != TR_OK)
        return TR_FAIL;
    if (atomic_load(&writer->sink->health->interrupted)) {
        (void)tr_fail_as(err, TR_TRANSIENT, TR_E_KAFKA_DELIVERY,
                         "interrupted while the Kafka brokers take no records");
        return tr_hint(err, "What is not acknowledged is sent again at the next start.");
    }
    return TR_OK;
}

/* ---- records
 * ------------------------------------------------------------------------------------- */

static void add_header(void *ctx, const char *name, const char *value, size_t len)
{
    (void)rd_kafka_header_add(ctx, name, -1, value, (ssize_t)len);
}

static rd_kafka_headers_t *make_headers(struct kafka_writer *writer, const struct tr_record *record,
                                        struct tr_error *err)
{
    struct kafka_sink *sink = writer->sink;
    const struct tr_event *other = record->new_key != NULL ? record->new_key : record->old_key;
    const char *name = record->new_key != NULL ? "__debezium.newkey" : "__debezium.oldkey";
    rd_kafka_headers_t *headers = rd_kafka_headers_new(sink->headers.count + HEADERS_EXTRA);
    if (other != NULL) {
        tr_outbuf_clear(&writer->header);
        if (sink->format->encode_key(writer->encoder, other, &writer->header, err) == TR_FAIL) {
            rd_kafka_headers_destroy(headers);
            return NULL;
        }
        (void)rd_kafka_header_add(headers, name, -1, writer->header.data,
                                  (ssize_t)writer->header.len);
    }
    if (sink->raw)
        tr_raw_headers(record->event, add_header, headers);
    if (sink->options->table_headers && record->event->table != NULL) {
        const struct tr_table_id *id = &record->event->table->id;
        (void)rd_kafka_header_add(headers, "namespace", -1, id->namespace, -1);
        (void)rd_kafka_header_add(headers, "schemaName", -1, id->schema, -1);
        (void)rd_kafka_header_add(headers, "tableName", -1, id->table, -1);
    }
    for (size_t i = 0; i < sink->headers.count; i++)
        (void)rd_kafka_header_add(headers, sink->headers.items[i].name, -1,
                                  sink->headers.items[i].value, -1);
    return headers;
}

static int32_t choose_partition(const struct kafka_sink *sink, const struct kafka_topic *topic,
                                const struct tr_event *event, bool has_key)
{
    if (sink->options->partitioning == KAFKA_ALL_TO_ZERO)
        return 0;
    if (has_key)
        return RD_KAFKA_PARTITION_UA; /* the client's murmur2 of the key */
    /* a table without a key keeps its order in one partition */
    uint32_t hash = 2166136261u;
    if (event->table != NULL) {
        for (const char *c = event->table->id.schema; *c != '\0'; c++)
            hash = (hash ^ (unsigned char)*c) * 16777619u;
        for (const char *c = event->table->id.table; *c != '\0'; c++)
            hash = (hash ^ (unsigned char)*c) * 16777619u;
    }
    return topic->partition_count > 0 ? (int32_t)(hash % (uint32_t)topic->partition_count) : 0;
}

/* One try. */
static rd_kafka_resp_err_t produce(struct kafka_writer *writer, const struct kafka_record *record)
{
    /* no bytes are not no value: the client takes a NULL pointer for that */
    static const char nothing[] = "";
    const char *some_key = record->key_len > 0 ? record->key : nothing;
    const char *some_value = record->value_len > 0 ? record->value : nothing;
    void *key = record->has_key ? (void *)(uintptr_t)some_key : NULL;
    void *value = record->has_value ? (void *)(uintptr_t)some_value : NULL;
    size_t key_len = record->has_key ? record->key_len : 0;
    size_t value_len = record->has_value ? record->value_len : 0;
    void *tag = (void *)(uintptr_t)(kafka_window_add(&writer->window, record->seq) + 1);
    rd_kafka_resp_err_t native;
    if (record->headers != NULL)
        native = rd_kafka_producev(
            writer->sink->producer, RD_KAFKA_V_RKT(record->topic->handle),
            RD_KAFKA_V_PARTITION(record->partition), RD_KAFKA_V_KEY(key, key_len),
            RD_KAFKA_V_VALUE(value, value_len), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
            RD_KAFKA_V_HEADERS(record->headers), RD_KAFKA_V_OPAQUE(tag), RD_KAFKA_V_END);
    else
        native = rd_kafka_produce(record->topic->handle, record->partition, RD_KAFKA_MSG_F_COPY,
                                  value, value_len, key, key_len, tag) == 0
                     ? RD_KAFKA_RESP_ERR_NO_ERROR
                     : rd_kafka_last_error();
    if (native != RD_KAFKA_RESP_ERR_NO_ERROR)
        kafka_window_undo(&writer->window);
    return native;
}

static enum tr_status open_topic(struct kafka_writer *writer, const struct tr_table *table,
                                 struct kafka_topic **topic, struct tr_error *err)
{
    if (kafka_topics_get(&writer->sink->topics, table, topic, err) != TR_OK)
        return TR_FAIL;
    if ((*topic)->handle == NULL)
        (*topic)->handle = rd_kafka_topic_new(writer->sink->producer, (*topic)->name, NULL);
    if ((*topic)->handle == NULL)
        return kafka_fail(err, rd_kafka_last_error(), NULL, "topic %s", (*topic)->name);
    return TR_OK;
}

static enum tr_status open_transaction(struct kafka_writer *writer, struct tr_error *err)
{
    if (!writer->sink->transactional || writer->open)
        return TR_OK;
    if (kafka_txn_begin(writer->sink, err) != TR_OK)
        return TR_FAIL;
    writer->open = true;
    writer->open_records = 0;
    return TR_OK;
}

/* Hands a record to the client, waiting for room. Headers are released in any case. */
static enum tr_status send_record(struct kafka_writer *writer, struct kafka_record *record,
                                  struct tr_error *err)
{
    enum tr_status status = open_transaction(writer, err);
    while (status == TR_OK) {
        rd_kafka_resp_err_t native = RD_KAFKA_RESP_ERR__QUEUE_FULL;
        if (!kafka_window_full(&writer->window))
            native = produce(writer, record);
        if (native == RD_KAFKA_RESP_ERR_NO_ERROR) {
            record->headers = NULL;
            break;
        }
        if (native == RD_KAFKA_RESP_ERR__QUEUE_FULL) {
            status = wait_for_room(writer, err);
        } else if (check_failure(writer, err) != TR_OK) {
            status = TR_FAIL;
        } else {
            status = kafka_produce_fail(writer->sink, native, record->topic->name, err);
            err->seq = record->seq;
        }
    }
    if (record->headers != NULL)
        rd_kafka_headers_destroy(record->headers);
    record->headers = NULL;
    writer->open_records++;
    writer->fresh_records++;
    if (status == TR_OK && ++writer->since_poll >= POLL_EVERY_RECORDS) {
        writer->since_poll = 0;
        (void)rd_kafka_poll(writer->sink->producer, 0);
        status = check_failure(writer, err);
    }
    return status;
}

/* An encoded record in the writer's buffers. TR_AGAIN: this event has none. */
static enum tr_status make_record(struct kafka_writer *writer, const struct tr_record *planned,
                                  struct kafka_record *record, struct tr_error *err)
{
    struct kafka_sink *sink = writer->sink;
    const struct tr_event *event = planned->event;
    tr_outbuf_clear(&writer->key);
    tr_outbuf_clear(&writer->value);
    enum tr_status keyed = sink->format->encode_key(writer->encoder, event, &writer->key, err);
    if (keyed == TR_FAIL)
        return TR_FAIL;
    enum tr_status valued = TR_END;
    if (!planned->tombstone) {
        valued =
            sink->format->encode_value(writer->encoder, event, writer->now_us, &writer->value, err);
        if (valued != TR_OK && valued != TR_END) /* TR_END: raw, a message without value */
            return valued;
    }
    *record = (struct kafka_record){.seq = event->seq,
                                    .has_key = keyed == TR_OK,
                                    .has_value = valued == TR_OK,
                                    .key = writer->key.data,
                                    .key_len = writer->key.len,
                                    .value = writer->value.data,
                                    .value_len = writer->value.len};
    if (open_topic(writer, event->table, &record->topic, err) != TR_OK)
        return TR_FAIL;
    record->partition = choose_partition(sink, record->topic, event, record->has_key);
    if (planned->new_key != NULL || planned->old_key != NULL || sink->headers.count > 0 ||
        sink->options->table_headers || sink->raw) {
        record->headers = make_headers(writer, planned, err);
        if (record->headers == NULL)
            return TR_FAIL;
    }
    return TR_OK;
}

/* ---- holding back
 * -------------------------------------------------------------------------------- */

static enum tr_status hold(struct kafka_writer *writer, struct kafka_record *record,
                           struct tr_error *err)
{
    struct kafka_held *held = &writer->held;
    if (held->count == held->capacity) {
        size_t capacity = held->capacity == 0 ? 256 : held->capacity * 2;
        struct kafka_record *items = realloc(held->items, capacity * sizeof *items);
        if (items != NULL)
            held->items = items;
        size_t *offsets = realloc(held->offsets, capacity * sizeof *offsets);
        if (offsets != NULL)
            held->offsets = offsets;
        if (items == NULL || offsets == NULL)
            goto no_memory;
        held->capacity = capacity;
    }
    held->offsets[held->count] = held->bytes.len;
    tr_outbuf_bytes(&held->bytes, record->key, record->has_key ? record->key_len : 0);
    tr_outbuf_bytes(&held->bytes, record->value, record->has_value ? record->value_len : 0);
    if (held->bytes.failed)
        goto no_memory;
    held->items[held->count++] = *record;
    return TR_OK;
no_memory:
    if (record->headers != NULL)
        rd_kafka_headers_destroy(record->headers);
    return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for records held back");
}

static void held_clear(struct kafka_held *held, size_t from)
{
    for (size_t i = from; i < held->count; i++) {
        if (held->items[i].headers != NULL)
            rd_kafka_headers_destroy(held->items[i].headers);
    }
    held->count = 0;
    tr_outbuf_clear(&held->bytes);
}

/* What was held back goes to the client, in order. */
static enum tr_status release(struct kafka_writer *writer, struct tr_error *err)
{
    struct kafka_held *held = &writer->held;
    enum tr_status status = TR_OK;
    size_t i = 0;
    for (; i < held->count && status == TR_OK; i++) {
        struct kafka_record *record = &held->items[i];
        record->key = held->bytes.data + held->offsets[i];
        record->value = record->key + (record->has_key ? record->key_len : 0);
        status = send_record(writer, record, err);
    }
    held_clear(held, i);
    return status;
}

/* ---- transactions
 * -------------------------------------------------------------------------------- */

static enum tr_status commit_open(struct kafka_writer *writer, struct tr_error *err)
{
    struct kafka_sink *sink = writer->sink;
    if (!writer->open && writer->staged.count == 0) {
        writer->seq_durable = writer->seq_commit; /* nothing to write at all */
        return TR_OK;
    }
    if (open_transaction(writer, err) != TR_OK ||
        kafka_positions_send(sink, &writer->staged, err) != TR_OK)
        return TR_FAIL;
    int fault = TR_FAILPOINT("sink.kafka.before_commit");
    if (fault != 0)
        return tr_fail(err, TR_E_KAFKA_DELIVERY, "committing a Kafka transaction: %s",
                       strerror(fault));
    enum tr_status status = kafka_txn_commit(sink, err);
    if (writer->failed) { /* the record's own error says more than "aborted" */
        *err = writer->failure;
        status = TR_FAIL;
    }
    if (status != TR_OK)
        return status;
    (void)TR_FAILPOINT("sink.kafka.after_commit");
    writer->open = false;
    writer->seq_durable = writer->seq_commit;
    return kafka_positions_settle(sink, &writer->staged, err);
}

static enum tr_status take_commit(struct kafka_writer *writer, const struct tr_event *event,
                                  struct tr_error *err)
{
    const struct kafka_options *options = writer->sink->options;
    if (release(writer, err) != TR_OK)
        return TR_FAIL;
    writer->seq_commit = event->seq;
    if (!writer->sink->transactional)
        return TR_OK;
    if (kafka_positions_stage(writer->sink, event, &writer->staged, err) != TR_OK)
        return TR_FAIL;
    bool due = writer->open && ((int64_t)writer->open_records >= options->transaction_records ||
                                tr_clock_mono_ms() - writer->sink->txn_began_ms >=
                                    options->transaction_interval_ms);
    return due ? commit_open(writer, err) : TR_OK;
}

/* ---- the contract
 * -------------------------------------------------------------------------------- */

enum tr_status kafka_writer_open(void *self, unsigned partition, void **out, struct tr_error *err)
{
    struct kafka_sink *sink = self;
    struct tr_format_context context = {
        .prefix = sink->prefix, .version = TAILRACE_VERSION, .connector = "postgresql"};
    if (partition != 0 || sink->writer != NULL)
        return tr_fail(err, TR_E_INTERNAL, "the Kafka sink has one writer");
    struct kafka_writer *writer = calloc(1, sizeof *writer);
    if (writer == NULL)
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for a writer");
    writer->sink = sink;
    tr_state_init(&writer->staged);
    if (!kafka_window_init(&writer->window)) {
        (void)tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for a writer");
        goto fail;
    }
    if (sink->format->open(&sink->options->format, &context, &writer->encoder, err) != TR_OK)
        goto fail;
    if (sink->producer == NULL && kafka_producer_open(sink, err) != TR_OK)
        goto fail;
    sink->writer = writer;
    *out = writer;
    return TR_OK;
fail:
    kafka_writer_close(writer);
    return TR_FAIL;
}

enum tr_status kafka_writer_apply(void *self, const struct tr_event *event, struct tr_error *err)
{
    struct kafka_writer *writer = self;
    (void)err;
    /* the records carry their columns; the new schema shows in the next one */
    if (event->seq > writer->window.accepted_seq)
        writer->window.accepted_seq = event->seq;
    return TR_OK;
}

/* unfinished: the call does not end the event's source transaction. */
static enum tr_status write_event(struct kafka_writer *writer, const struct tr_event *event,
                                  bool unfinished, struct tr_error *err)
{
    const struct kafka_sink *sink = writer->sink;
    struct tr_records records;
    if (sink->raw && event->op != TR_OP_CREATE && event->op != TR_OP_READ)
        return TR_OK; /* letters come, and are not changed */
    tr_records_plan(sink->format, &sink->options->format, sink->options->tombstones, event,
                    &records);
    for (size_t i = 0; i < records.count; i++) {
        struct kafka_record record;
        enum tr_status status = make_record(writer, &records.items[i], &record, err);
        if (status == TR_AGAIN)
            continue;
        if (status != TR_OK)
            return TR_FAIL;
        bool wait = sink->transactional && unfinished && writer->seq_commit > writer->seq_durable;
        if (wait && writer->held.count < HELD_RECORDS_MAX &&
            writer->held.bytes.len + record.key_len + record.value_len <= HELD_BYTES_MAX) {
            status = hold(writer, &record, err);
        } else {
            status = wait ? commit_open(writer, err) : TR_OK;
            if (status == TR_OK)
                status = release(writer, err);
            if (status != TR_OK && record.headers != NULL)
                rd_kafka_headers_destroy(record.headers);
            if (status == TR_OK)
                status = send_record(writer, &record, err);
        }
        if (status != TR_OK)
            return TR_FAIL;
    }
    return TR_OK;
}

enum tr_status kafka_writer_write(void *self, const struct tr_event *events, size_t event_count,
                                  struct tr_error *err)
{
    struct kafka_writer *writer = self;
    size_t whole_count = event_count; /* up to the call's last COMMIT */
    while (whole_count > 0 && events[whole_count - 1].op != TR_OP_COMMIT)
        whole_count--;
    writer->now_us = tr_clock_wall_us();
    for (size_t i = 0; i < event_count; i++) {
        const struct tr_event *event = &events[i];
        if (i == event_count / 2) {
            int fault = TR_FAILPOINT("sink.kafka.mid_batch");
            if (fault != 0)
                return tr_fail(err, TR_E_KAFKA_DELIVERY, "writing records: %s", strerror(fault));
        }
        enum tr_status status = event->op == TR_OP_COMMIT
                                    ? take_commit(writer, event, err)
                                    : write_event(writer, event, i >= whole_count, err);
        if (status != TR_OK)
            return TR_FAIL;
        writer->window.accepted_seq = event->seq;
    }
    (void)rd_kafka_poll(writer->sink->producer, 0);
    return check_failure(writer, err);
}

/* Nothing more is at hand: a few records are sent without waiting for linger.ms. For as long as this
 * call lasts the client sends what it has. */
static void hurry(struct kafka_writer *writer)
{
    if (writer->fresh_records > 0 && writer->fresh_records <= HURRY_RECORDS_MAX)
        (void)rd_kafka_flush(writer->sink->producer, HURRY_MS);
    writer->fresh_records = 0;
}

enum tr_status kafka_writer_flush(void *self, int timeout_ms, struct tr_error *err)
{
    struct kafka_writer *writer = self;
    if (writer->sink->transactional) {
        (void)rd_kafka_poll(writer->sink->producer, 0);
        if (check_failure(writer, err) != TR_OK)
            return TR_FAIL;
        return writer->seq_durable >= writer->seq_commit ? TR_OK : commit_open(writer, err);
    }
    int64_t until_ms = tr_clock_mono_ms() + timeout_ms;
    hurry(writer);
    for (;;) {
        int64_t left_ms = until_ms - tr_clock_mono_ms();
        bool interrupted = atomic_load(&writer->sink->health->interrupted);
        if (kafka_writer_durable_seq(writer) >= writer->seq_commit)
            return check_failure(writer, err);
        if (check_failure(writer, err) != TR_OK)
            return TR_FAIL;
        if (left_ms <= 0 || interrupted)
            return TR_AGAIN;
        (void)rd_kafka_flush(writer->sink->producer,
                             left_ms < WAIT_SLICE_MS ? (int)left_ms : WAIT_SLICE_MS);
    }
}

uint64_t kafka_writer_durable_seq(void *self)
{
    struct kafka_writer *writer = self;
    if (!writer->sink->transactional) {
        (void)rd_kafka_poll(writer->sink->producer, 0);
        uint64_t durable = kafka_window_durable(&writer->window);
        if (durable > writer->seq_durable)
            writer->seq_durable = durable;
    }
    return writer->seq_durable;
}

void kafka_writer_close(void *self)
{
    struct kafka_writer *writer = self;
    if (writer == NULL)
        return;
    struct kafka_sink *sink = writer->sink;
    writer->closing = true;
    if (sink->producer != NULL && sink->writer == writer) {
        /* so that readers of committed records need not wait for the broker's timeout */
        if (writer->open)
            kafka_txn_abort(sink, ABORT_TIMEOUT_MS);
        (void)rd_kafka_purge(sink->producer, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
        (void)rd_kafka_flush(sink->producer, CLOSE_FLUSH_MS);
        sink->writer = NULL;
    }
    if (writer->encoder != NULL)
        sink->format->close(writer->encoder);
    tr_state_free(&writer->staged);
    held_clear(&writer->held, 0);
    free(writer->held.items);
    free(writer->held.offsets);
    tr_outbuf_free(&writer->held.bytes);
    kafka_window_free(&writer->window);
    tr_outbuf_free(&writer->key);
    tr_outbuf_free(&writer->value);
    tr_outbuf_free(&writer->header);
    free(writer);
}
