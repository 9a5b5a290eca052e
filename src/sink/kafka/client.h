/* Handles of librdkafka: their configuration, their log and error callbacks, and the one table from
 * native error codes to ours. */
#ifndef TR_SINK_KAFKA_CLIENT_H
#define TR_SINK_KAFKA_CLIENT_H

#include <librdkafka/rdkafka.h>
#include <stdatomic.h>

#include "sink/kafka/options.h"

/* What the error callback saw last; shared by all handles of a sink. Callbacks run in the thread
 * that polls. */
struct kafka_health {
    _Atomic int cause; /* rd_kafka_resp_err_t of a connection's failure, 0 none */
    char reason[256];
    int64_t logged_ms; /* rate limit of the log line */
    _Atomic bool interrupted;
};

enum kafka_role { KAFKA_ROLE_ADMIN, KAFKA_ROLE_PRODUCER, KAFKA_ROLE_READER };
struct kafka_client_spec {
    const struct kafka_options *options;
    enum kafka_role role;
    const char *pipeline;
    const char *transactional_id; /* PRODUCER, exactly-once */
    int64_t batch_bytes_max;      /* PRODUCER: what brokers take in one batch, 0 unknown */
    void (*delivered)(rd_kafka_t *rk, const rd_kafka_message_t *message, void *opaque);
    struct kafka_health *health;
    void *opaque; /* of callbacks: a struct whose first member is struct kafka_health * */
};
enum tr_status kafka_client_new(const struct kafka_client_spec *spec, rd_kafka_t **out,
                                struct tr_error *err);
/* Checks the properties without making a handle. */
enum tr_status kafka_client_check(const struct kafka_client_spec *spec, struct tr_error *err);

/* Fails with our code for a native one. what: "writing to topic x"; detail may be NULL. */
enum tr_status kafka_fail(struct tr_error *err, rd_kafka_resp_err_t native, const char *detail,
                          const char *what_format, ...) __attribute__((format(printf, 4, 5)));
/* The same from an error object, which is destroyed. */
enum tr_status kafka_fail_error(struct tr_error *err, rd_kafka_error_t *native,
                                const char *what_format, ...) __attribute__((format(printf, 3, 4)));

/* A retry cannot help: somebody has to act (credentials, grants, sizes, a second instance …). */
bool kafka_is_final(rd_kafka_resp_err_t native);

/* Waits for a broker: metadata of the whole cluster (never creates a topic). The caller destroys
 * it. */
enum tr_status kafka_metadata(rd_kafka_t *rk, struct kafka_health *health, int64_t timeout_ms,
                              const struct rd_kafka_metadata **metadata, struct tr_error *err);

#endif
