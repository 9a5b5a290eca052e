/* The producer and its transactions.
 *
 *   (none) --init--> ready --begin--> open --commit--> ready
 *                               |        \--abortable error--> abort --> ready (and TRANSIENT
 * failure)
 *                               \--fatal (fenced)--> dead: only a new producer helps
 *
 * init fences an older instance of this pipeline and waits until its open transaction is aborted,
 * so the position topic can be read to its end after it. */
#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"
#include "sink/kafka/internal.h"

#define SLICE_MS 500
#define INIT_EXTRA_MS 20000 /* the old instance's transaction is being aborted */
#define COMMIT_EXTRA_MS 30000
#define ABORT_TIMEOUT_MS 2000

static bool is_fenced(rd_kafka_resp_err_t native)
{
    return native == RD_KAFKA_RESP_ERR__FENCED || native == RD_KAFKA_RESP_ERR_PRODUCER_FENCED ||
           native == RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH;
}

enum tr_status kafka_producer_fatal(struct kafka_sink *sink, struct tr_error *err)
{
    char why[400];
    if (sink->producer == NULL)
        return TR_OK;
    rd_kafka_resp_err_t native = rd_kafka_fatal_error(sink->producer, why, sizeof why);
    if (native == RD_KAFKA_RESP_ERR_NO_ERROR)
        return TR_OK;
    if (kafka_is_final(native))
        return kafka_fail(err, native, why, "the Kafka producer gave up");
    /* a new producer can go on */
    (void)tr_fail_as(err, TR_TRANSIENT, TR_E_KAFKA_PRODUCER, "the Kafka producer gave up: %s",
                     rd_kafka_err2str(native));
    (void)tr_detail(err, "%s", why);
    return tr_hint(err, "The pipeline starts again with a new producer by its restart strategy.");
}

static enum tr_status interrupted(struct tr_error *err)
{
    return tr_fail(err, TR_E_INTERRUPTED, "interrupted while waiting for the Kafka broker");
}

/* An error of the transactional API, which is destroyed. */
static enum tr_status txn_fail(struct kafka_sink *sink, rd_kafka_error_t *native, const char *what,
                               struct tr_error *err)
{
    int64_t age_ms = sink->txn_began_ms == 0 ? 0 : tr_clock_mono_ms() - sink->txn_began_ms;
    rd_kafka_resp_err_t code = rd_kafka_error_code(native);
    bool abortable = rd_kafka_error_txn_requires_abort(native);
    bool fatal = rd_kafka_error_is_fatal(native);
    bool expired = age_ms >= sink->options->transaction_timeout_ms * 9 / 10;
    if (abortable && !fatal)
        kafka_txn_abort(sink, ABORT_TIMEOUT_MS);
    if (abortable && !expired && kafka_is_final(code))
        return kafka_fail_error(err, native, "%s", what);
    if (abortable || (is_fenced(code) && expired)) {
        (void)tr_fail(err, TR_E_KAFKA_TXN_ABORTED, "%s: the transaction is aborted: %s", what,
                      rd_kafka_err2str(code));
        (void)tr_detail(err, "%s: %s", rd_kafka_err2name(code), rd_kafka_error_string(native));
        (void)tr_hint(
            err, expired ? "It was open longer than sink.transaction.timeout: raise it, and the "
                           "broker's transaction.max.timeout.ms."
                         : "The pipeline sends it again by its restart strategy.");
        rd_kafka_error_destroy(native);
        return TR_FAIL;
    }
    if (fatal && !kafka_is_final(code)) {
        rd_kafka_error_destroy(native);
        return kafka_producer_fatal(sink, err) == TR_FAIL ? TR_FAIL
                                                          : kafka_fail(err, code, NULL, "%s", what);
    }
    return kafka_fail_error(err, native, "%s", what);
}

enum tr_status kafka_producer_open(struct kafka_sink *sink, struct tr_error *err)
{
    const struct kafka_client_spec spec = {
        .options = sink->options,
        .role = KAFKA_ROLE_PRODUCER,
        .pipeline = sink->pipeline,
        .transactional_id = sink->transactional_id,
        .batch_bytes_max = sink->broker_message_bytes,
        .delivered = kafka_on_delivered,
        .health = sink->health,
        .opaque = sink,
    };
    if (kafka_client_new(&spec, &sink->producer, err) != TR_OK)
        return TR_FAIL;
    if (!sink->transactional)
        return TR_OK;
    int64_t until_ms = tr_clock_mono_ms() + sink->options->connect_timeout_ms + INIT_EXTRA_MS;
    for (;;) {
        rd_kafka_error_t *native = rd_kafka_init_transactions(sink->producer, SLICE_MS);
        if (native == NULL)
            return TR_OK;
        (void)rd_kafka_poll(sink->producer, 0);
        bool again = rd_kafka_error_is_retriable(native) && tr_clock_mono_ms() < until_ms;
        if (!again)
            return txn_fail(sink, native, "taking over the pipeline's transactional id", err);
        rd_kafka_error_destroy(native);
        if (atomic_load(&sink->health->interrupted))
            return interrupted(err);
    }
}

enum tr_status kafka_txn_begin(struct kafka_sink *sink, struct tr_error *err)
{
    rd_kafka_error_t *native = rd_kafka_begin_transaction(sink->producer);
    if (native != NULL)
        return txn_fail(sink, native, "beginning a Kafka transaction", err);
    sink->txn_began_ms = tr_clock_mono_ms();
    return TR_OK;
}

enum tr_status kafka_txn_commit(struct kafka_sink *sink, struct tr_error *err)
{
    int64_t until_ms = tr_clock_mono_ms() + sink->options->transaction_timeout_ms + COMMIT_EXTRA_MS;
    for (;;) {
        rd_kafka_error_t *native = rd_kafka_commit_transaction(sink->producer, SLICE_MS);
        if (native == NULL) {
            sink->txn_began_ms = 0;
            return TR_OK;
        }
        bool again = rd_kafka_error_is_retriable(native) && tr_clock_mono_ms() < until_ms;
        if (!again)
            return txn_fail(sink, native, "committing a Kafka transaction", err);
        rd_kafka_error_destroy(native);
        if (atomic_load(&sink->health->interrupted))
            return interrupted(err);
    }
}

/* To a record of a transaction that broke the client says _STATE and no more; the reason is said to
 * whoever asks for the next transaction, which is refused for it. */
enum tr_status kafka_produce_fail(struct kafka_sink *sink, rd_kafka_resp_err_t native,
                                  const char *topic, struct tr_error *err)
{
    rd_kafka_error_t *reason = NULL;
    if (sink->transactional && native == RD_KAFKA_RESP_ERR__STATE)
        reason = rd_kafka_begin_transaction(sink->producer);
    if (reason != NULL && rd_kafka_error_code(reason) != RD_KAFKA_RESP_ERR__STATE)
        return txn_fail(sink, reason, "writing in a Kafka transaction", err);
    if (reason != NULL)
        rd_kafka_error_destroy(reason);
    return kafka_fail(err, native, NULL, "writing to topic %s", topic);
}

void kafka_txn_abort(struct kafka_sink *sink, int timeout_ms)
{
    rd_kafka_error_t *native = rd_kafka_abort_transaction(sink->producer, timeout_ms);
    sink->txn_began_ms = 0;
    if (native == NULL)
        return;
    char text[400];
    /* the broker aborts it at its timeout, or when this pipeline starts again */
    tr_log(TR_LOG_DEBUG, "a Kafka transaction could not be aborted now", "error=%s",
           tr_log_quote(rd_kafka_error_string(native), text, sizeof text));
    rd_kafka_error_destroy(native);
}
