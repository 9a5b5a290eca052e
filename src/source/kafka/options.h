/* The Kafka source's options, and those of them that need more than the option table's parser. */
#ifndef TR_SOURCE_KAFKA_OPTIONS_H
#define TR_SOURCE_KAFKA_OPTIONS_H

#include "decode/formats.h"
#include "tailrace/option.h"

#define KSRC_TOPIC_NAME_MAX 240 /* Kafka allows 249; a position mark's key must hold it */

enum ksrc_startup {
    KSRC_EARLIEST,
    KSRC_LATEST,
    KSRC_GROUP_OFFSETS,
    KSRC_TIMESTAMP,
    KSRC_SPECIFIC,
    KSRC_STARTUP_COUNT /* the values behind it are short spellings, in the same order */
};
enum ksrc_bounded { KSRC_UNBOUNDED, KSRC_BOUNDED_LATEST };
enum ksrc_malformed { KSRC_DEAD_LETTER, KSRC_SKIP, KSRC_FAIL };
enum ksrc_assignment { KSRC_ALL, KSRC_GROUP };

struct ksrc_options {
    struct tr_string_map properties; /* properties.* without the prefix */
    const char *bootstrap_servers;   /* the short spelling; properties.bootstrap.servers wins */
    struct tr_string_list topics;
    const char *topic_pattern;
    int startup; /* enum ksrc_startup, by ksrc_startup_mode() */
    int64_t startup_timestamp_ms;
    const char *specific_offsets;
    int bounded;          /* enum ksrc_bounded */
    int64_t discovery_ms; /* 0: never */
    int malformed;        /* enum ksrc_malformed */
    const char *table;    /* table, or schema.table */
    int assignment;       /* enum ksrc_assignment */
    const char *registry_url, *registry_user, *registry_ca;
    struct tr_secret registry_password;
    int64_t connect_timeout_ms, down_timeout_ms;
    struct tr_decoder_options decoder;
};
extern const struct tr_option ksrc_option_table[];

enum ksrc_startup ksrc_startup_mode(const struct ksrc_options *options);
/* A property of the file's, by name without the prefix, or NULL. */
const char *ksrc_property(const struct ksrc_options *options, const char *name);
const char *ksrc_bootstrap_servers(const struct ksrc_options *options);
/* What the table's parser cannot know: contradictions, what is missing. */
enum tr_status ksrc_options_check(const struct ksrc_options *options, struct tr_error *err);
/* Calls `each` for every topic of the option `topic` (parted by , or ;). */
enum tr_status ksrc_topics_each(const struct ksrc_options *options,
                                enum tr_status (*each)(void *context, const char *topic,
                                                       struct tr_error *err),
                                void *context, struct tr_error *err);
/* "partition:0,offset:42;partition:1,offset:300", with topic:NAME, before it where several topics
 * are read. The offset that it says for a partition, -1 when none. TR_FAIL: it is not of that form;
 * every part is looked at in every call. */
enum tr_status ksrc_specific_offset(const char *text, const char *topic, int32_t partition,
                                    int64_t *offset, struct tr_error *err);

#endif
