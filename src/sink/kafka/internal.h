/* What the files of the Kafka sink share. */
#ifndef TR_SINK_KAFKA_INTERNAL_H
#define TR_SINK_KAFKA_INTERNAL_H

#include "base/outbuf.h"
#include "encode/encode.h"
#include "encode/raw.h"
#include "encode/records.h"
#include "event/batch.h"
#include "event/state.h"
#include "sink/kafka/client.h"
#include "sink/kafka/topics.h"
#include "sink/kafka/window.h"
#include "tailrace/sink.h"

struct kafka_writer;
struct kafka_sink {
    struct kafka_health *health; /* first: the callbacks' opaque is the sink */
    struct kafka_health health_state;
    const struct tr_config *config;
    const struct kafka_options *options;
    const struct tr_format_ops *format;
    bool checking;
    bool transactional; /* exactly-once */
    bool raw;           /* value.format raw: dead letters only */
    char *pipeline, *prefix, *transactional_id, *position_topic;
    bool position_topic_given;
    rd_kafka_t *admin;    /* metadata and topics; never produces */
    rd_kafka_t *producer; /* made by load_marks or writer_open */
    int64_t txn_began_ms; /* tr_clock_mono_ms; 0: none is open */
    struct kafka_topics topics;
    struct kafka_pairs headers;
    int64_t broker_message_bytes;      /* message.max.bytes of the cluster, 0 unknown */
    int64_t broker_transaction_max_ms; /* transaction.max.timeout.ms, 0 unknown */
    struct tr_state positions;         /* what the position topic holds */
    struct kafka_writer *writer;
};

/* ---- producer.c: the producer and its transactions ----------------------------------------------
 */

enum tr_status kafka_producer_open(struct kafka_sink *sink, struct tr_error *err);
/* What the client says went wrong for good, as an error of ours; TR_OK when nothing did. */
enum tr_status kafka_producer_fatal(struct kafka_sink *sink, struct tr_error *err);
enum tr_status kafka_txn_begin(struct kafka_sink *sink, struct tr_error *err);
/* Blocks until the transaction is committed, aborted, or the sink is interrupted. */
enum tr_status kafka_txn_commit(struct kafka_sink *sink, struct tr_error *err);
/* The client took no record for `topic`: why. Always TR_FAIL. */
enum tr_status kafka_produce_fail(struct kafka_sink *sink, rd_kafka_resp_err_t native,
                                  const char *topic, struct tr_error *err);
void kafka_txn_abort(struct kafka_sink *sink, int timeout_ms);
/* Delivery report; writer.c. */
void kafka_on_delivered(rd_kafka_t *rk, const rd_kafka_message_t *message, void *opaque);

/* ---- positions.c: the marks in the position topic
 * ------------------------------------------------ */

/* Reads the topic to its end (read committed) into sink->positions. */
enum tr_status kafka_positions_load(struct kafka_sink *sink, struct tr_error *err);
/* Changes that wait for the transaction's end: key → "=value", or "-" for a key to remove. */
enum tr_status kafka_positions_stage(const struct kafka_sink *sink, const struct tr_event *commit,
                                     struct tr_state *staged, struct tr_error *err);
/* Produces them into the open transaction. */
enum tr_status kafka_positions_send(struct kafka_sink *sink, const struct tr_state *staged,
                                    struct tr_error *err);
/* The transaction is committed: they are what the topic holds. Empties staged. */
enum tr_status kafka_positions_settle(struct kafka_sink *sink, struct tr_state *staged,
                                      struct tr_error *err);

/* ---- writer.c
 * ------------------------------------------------------------------------------------ */

enum tr_status kafka_writer_open(void *self, unsigned partition, void **writer,
                                 struct tr_error *err);
enum tr_status kafka_writer_apply(void *writer, const struct tr_event *event, struct tr_error *err);
enum tr_status kafka_writer_write(void *writer, const struct tr_event *events, size_t event_count,
                                  struct tr_error *err);
enum tr_status kafka_writer_flush(void *writer, int timeout_ms, struct tr_error *err);
uint64_t kafka_writer_durable_seq(void *writer);
void kafka_writer_close(void *writer);

#endif
