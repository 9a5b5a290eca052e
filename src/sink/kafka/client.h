/* The sink's handles of librdkafka and their configuration. */
#ifndef TR_SINK_KAFKA_CLIENT_H
#define TR_SINK_KAFKA_CLIENT_H

#include "kafka/client.h"
#include "sink/kafka/options.h"

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

#endif
