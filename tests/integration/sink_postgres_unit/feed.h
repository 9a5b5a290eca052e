/* Feeding a sink by hand: tables from a short description, events from text, one writer. */
#ifndef TEST_FEED_H
#define TEST_FEED_H

#include "event/batch.h"
#include "event/state.h"
#include "server.h"
#include "sink/postgres/options.h"
#include "sink/postgres/postgres.h"

struct tr_config { /* stands in for the configuration module's */
    struct tr_pgs_options options;
    bool sslmode_given;
};

struct feed {
    struct test_server *server;
    struct tr_config config;
    void *sink, *writer;
    struct tr_batch *batch;
    uint64_t seq;        /* of the last event */
    uint64_t seq_commit; /* of the last COMMIT */
    struct tr_error err;
    struct tr_state marks; /* as loaded by feed_open */
};

/* Defaults: user postgres, role replica by auto. Change feed->config.options before feed_open. */
void feed_init(struct feed *feed, struct test_server *server);
enum tr_status feed_try_open(struct feed *feed);
void feed_open(struct feed *feed); /* open, load_marks, writer_open; must succeed */
void feed_close(struct feed *feed);
void feed_free(struct feed *feed);

/* "name type [key] [null] …" separated by commas; type is a PostgreSQL spelling known to feed.c,
 * and flags are k (key), n (nullable), g (generated), i (identity always), d=VALUE (default).
 * feed_free gives the tables back. */
const struct tr_table *feed_table(uint64_t source_id, const char *schema, const char *name,
                                  const char *columns);
/* Values separated by '|': \N NULL, ~ unchanged, ! absent. NULL text: no image. */
void feed_row(struct feed *feed, enum tr_op op, const struct tr_table *table, const char *before,
              const char *after, unsigned flags);
void feed_raw(struct feed *feed, const struct tr_table *table, const char *line);
/* A binary tuple of an int4 and a text, which may be NULL. */
void feed_tuple(struct feed *feed, const struct tr_table *table, int32_t id, const char *text);
void feed_commit(struct feed *feed, const char *key, const char *value);
void feed_truncate(struct feed *feed, const struct tr_table *table, unsigned flags);
enum tr_status feed_try_send(struct feed *feed); /* write */
void feed_send(struct feed *feed);
void feed_flush(struct feed *feed); /* send, flush, and durable_seq is the last COMMIT's */
enum tr_status feed_try_schema(struct feed *feed, enum tr_change_kind kind,
                               const struct tr_table *before, const struct tr_table *after,
                               const struct tr_alter_item *items, uint32_t count);
void feed_create(struct feed *feed, const struct tr_table *table);

#endif
