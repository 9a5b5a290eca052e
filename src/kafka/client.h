/* What every user of librdkafka here needs: the Kafka source, the Kafka sink and `tailrace
 * produce`. */
#ifndef TR_KAFKA_CLIENT_H
#define TR_KAFKA_CLIENT_H

#include <librdkafka/rdkafka.h>
#include <stdatomic.h>

#include "tailrace/error.h"

/* What the error callback saw last; shared by all handles of a sink. Callbacks run in the thread
 * that polls. */
struct kafka_health {
    _Atomic int cause; /* rd_kafka_resp_err_t of a connection's failure, 0 none */
    char reason[256];
    int64_t logged_ms; /* rate limit of the log line */
    _Atomic bool interrupted;
};

/* A property that a user may not set, and what to use instead. Lists end with a NULL name. */
struct kafka_refusal {
    const char *name, *why;
};
/* True and err filled: nobody may set it, or the list (NULL: none) refuses it. */
bool kafka_property_refused(const struct kafka_refusal *list, const char *name,
                            struct tr_error *err);
/* Sets a property of the user's: Java names are translated, those without a meaning here dropped.
 */
enum tr_status kafka_property_set(rd_kafka_conf_t *conf, const char *name, const char *value,
                                  struct tr_error *err);
/* The same by librdkafka's own name. */
enum tr_status kafka_conf_set(rd_kafka_conf_t *conf, const char *name, const char *value,
                              struct tr_error *err);
/* Log lines and errors. opaque: a struct whose first member is struct kafka_health *. */
void kafka_conf_callbacks(rd_kafka_conf_t *conf, void *opaque);

/* Fails with our code for a native one. what: "writing to topic x"; detail may be NULL. */
enum tr_status kafka_fail(struct tr_error *err, rd_kafka_resp_err_t native, const char *detail,
                          const char *what_format, ...) __attribute__((format(printf, 4, 5)));
/* The same from an error object, which is destroyed. */
enum tr_status kafka_fail_error(struct tr_error *err, rd_kafka_error_t *native,
                                const char *what_format, ...) __attribute__((format(printf, 3, 4)));

/* A retry cannot help: somebody has to act (credentials, grants, sizes, a second instance …). */
bool kafka_is_final(rd_kafka_resp_err_t native);

/* Credentials, mechanism or certificate: waiting does not help. */
bool kafka_is_refusal(rd_kafka_resp_err_t native);

/* Waits for a broker: metadata of the whole cluster (never creates a topic). The caller destroys
 * it. */
enum tr_status kafka_metadata(rd_kafka_t *rk, struct kafka_health *health, int64_t timeout_ms,
                              const struct rd_kafka_metadata **metadata, struct tr_error *err);

#endif
