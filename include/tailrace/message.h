/* Sources of messages (Kafka topics, files) and the decoders of what is in them.
 *
 * A message source has *splits*: ordered sequences that are read side by side, each with a position of
 * its own: a Kafka partition with its next offset, a file with its next byte. It calls one decoder for
 * every message; the decoder knows formats and schemas, and nothing of brokers or files. */
#ifndef TAILRACE_MESSAGE_H
#define TAILRACE_MESSAGE_H

#include "event.h"
#include "option.h"

struct tr_batch;
struct tr_outbuf;
struct tr_state;

/* One ordered sequence. Made by the source, lives as long as the source is open. */
struct tr_split {
    uint32_t index;        /* dense from 0 within this source; below TR_SPLITS_MAX */
    const char *name;      /* the position mark's key without its prefix: "users_cdc/0"; unique; the rules
                              of a mark's key hold */
    const char *container; /* topic, or the file's path; NUL-terminated UTF-8 */
    int32_t partition;     /* Kafka partition; files: a number of the file's identity, so that two files
                              that had the same path are told apart */
    const char *table;     /* the table's name when nothing else names one: the topic, the file's name
                              without extensions; NULL: the container's */
};
#define TR_SPLITS_MAX 65536

/* The position mark of a split: TR_MARK_SPLIT "<split name>" = the next position to be read, decimal.
 * Every COMMIT event of a message source carries one for each split that moved since the COMMIT before
 * it. The engine compares them: with several sinks one may be ahead of another, and events at
 * positions below a sink's mark are left out for that sink. */
#define TR_MARK_SPLIT "at/"
/* How a message source behaves, beyond source.h:
 *   - snapshot_readers is 0. The first batch of the first read() holds one COMMIT with the mark of every
 *     split, and nothing else: the engine waits until it is durable everywhere, so that "latest" is
 *     decided once. A split found later (a new partition, a new file) begins at its first message.
 *   - every batch ends with a COMMIT event, and one batch never splits a message. A batch is handed on
 *     when it is full, or when nothing more is waiting at the brokers (no added latency).
 *   - a malformed message (decode gives TR_DATA) is treated by the option `malformed`: dead-letter
 *     (tr_dead_letter_append; the default when context->has_dead_letters), fail (the default without;
 *     the error names split and position), skip (counted by the metric tailrace_messages_skipped_total
 *     and told in the log, at most one line a second).
 *   - every event has message, ts_us (the decoder's, else the message's, else the receiving time) and
 *     recv_ts_us. */

/* A message as the source got it. Slices are borrowed: for decode() they are valid during the call, for
 * tr_event.message as long as the batch. */
struct tr_message {
    const struct tr_split *split;
    int64_t position; /* offset, or the byte at which the line begins */
    int64_t next;     /* position of the one behind it */
    int64_t ts_us;    /* the broker's timestamp, µs since the epoch; INT64_MIN when there is none */
    struct tr_slice key;   /* ptr NULL: no key */
    struct tr_slice value; /* ptr NULL: no value (a tombstone) */
};

struct tr_decoder; /* defined by each format */

struct tr_decoder_context {
    const char *pipeline_name;
    /* What the source's own options say of the table: */
    const char *namespace; /* usually "" */
    const char *schema;    /* usually "" */
    const char *table;     /* NULL: the decoder's rule: the table named in the envelope (debezium-json,
                              canal-json, maxwell-json), else the split's (split->table, NULL:
                              split->container) */
    bool take_key;         /* rows get the message key's value as their key columns where the format can */
    /* Avro: the schema of an id, asked from the registry; the decoder caches it. NULL: no registry.
     * *text is NUL-terminated and belongs to the caller of the function (free). May block. */
    enum tr_status (*registry_schema)(void *registry, uint32_t schema_id, char **text,
                                      struct tr_error *err);
    void *registry;
};

/* A format that turns one message into events. Pure bytes → batch: no I/O but registry_schema. */
struct tr_decoder_ops {
    const char *name; /* "cdc-json" */
    const char *summary;
    /* Keys of the source's mapping, with their full names: "cdc-json.op.field". The source binds
     * tr_decoder_options (src/decode/formats.h), which holds the rows of every format. */
    enum tr_status (*open)(const void *options, const struct tr_decoder_context *context,
                           struct tr_decoder **decoder, struct tr_error *err);
    /* Schemas of an earlier run: every mark whose key begins with TR_MARK_SCHEMA. Once, before the
     * first decode. */
    enum tr_status (*restore)(struct tr_decoder *decoder, const struct tr_state *marks,
                              struct tr_error *err);
    /* Appends what the message says to the batch: SCHEMA events (TR_CHANGE_CREATE_TABLE before a
     * table's first row in this process, TR_CHANGE_ALTER_TABLE when it changed), then 0…n row events.
     * Cells may point into message->value: the caller keeps it alive as long as the batch. The caller
     * sets `message` of every event appended. The caller made sure that the batch has room for
     * TR_DECODE_EVENTS_MAX events. Every event's ts_us is the time that the message's own text gives,
     * else message->ts_us (which may be TR_TIME_NONE).
     * TR_FAIL with class TR_DATA: the message is malformed, nothing was appended; code, message and
     * detail say why and where (byte offset in the value), never the values themselves. */
    enum tr_status (*decode)(struct tr_decoder *decoder, const struct tr_message *message,
                             struct tr_batch *batch, struct tr_error *err);
    /* Marks of schemas that are new or changed since the last call, to go with the next COMMIT event:
     * copied into the batch's arena. *marks is NULL and *count 0 when there are none. */
    enum tr_status (*schema_marks)(struct tr_decoder *decoder, struct tr_batch *batch,
                                   const struct tr_mark **marks, uint32_t *count,
                                   struct tr_error *err);
    void (*close)(struct tr_decoder *decoder); /* NULL is fine */
};
#define TR_MARK_SCHEMA "schema/"
#define TR_DECODE_EVENTS_MAX 512 /* rows and changes of one message (canal-json has many in one) */

#endif
