/* What the files of the Kafka source share.
 *
 * Threads: `reader` is the thread that calls read and keepalive; before the first read it is the
 * thread that opened the source. Fields without a word are the reader's. acknowledge and progress
 * run in other threads and touch only atomics of splits. */
#ifndef TR_SOURCE_KAFKA_INTERNAL_H
#define TR_SOURCE_KAFKA_INTERNAL_H

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "event/batch.h"
#include "event/state.h"
#include "kafka/client.h"
#include "source/kafka/options.h"
#include "tailrace/source.h"

#define KSRC_FETCHED_MAX 512        /* messages taken from the client at once */
#define KSRC_IDLE_COMMIT_MS 1000    /* a position that moved without rows is told this often */
#define KSRC_COMMIT_TIMEOUT_MS 5000 /* offsets of the group before a partition is given up */

struct ksrc_split {
    struct tr_split split; /* first: what the engine sees */
    char *key;             /* TR_MARK_SPLIT "topic/partition"; split.name points into it */
    char *topic;
    int64_t position;  /* next to be read; -1: not decided yet */
    int64_t first;     /* group: where it begins when nobody has a position of it */
    int64_t end;       /* bounded: read up to here; INT64_MAX: no end */
    int64_t committed; /* last offset sent to the group */
    bool moved;        /* in the list of splits whose position is not in a COMMIT yet */
    bool done;         /* bounded: the end is reached */
    bool revoking; /* group: nothing more is read of it, it is given up when all is acknowledged */
    bool assigned; /* the client fetches it */
    _Atomic bool owned;           /* split() shows it */
    _Atomic int64_t read;         /* position in the last COMMIT */
    _Atomic int64_t acknowledged; /* -1: none yet */
    _Atomic int64_t server_end;   /* -1: unknown */
};

struct ksrc_registry;

struct ksrc_source {
    struct kafka_health *health; /* first: the callbacks' opaque is the source */
    struct kafka_health health_state;
    const struct ksrc_options *options;
    const struct tr_context *context; /* a copy of the caller's */
    struct tr_context context_copy;
    char *pipeline, *group, *schema, *table;
    bool group_given;
    int malformed; /* enum ksrc_malformed */
    rd_kafka_t *client;
    rd_kafka_queue_t *queue;
    pcre2_code *pattern;
    pcre2_match_data *match;
    const struct tr_decoder_ops *format;
    struct tr_decoder *decoder;
    struct ksrc_registry *registry;

    struct ksrc_split **splits; /* TR_SPLITS_MAX places */
    _Atomic uint32_t split_count;
    uint32_t *slots; /* topic and partition → index + 1; open addressing */
    uint32_t slot_count;
    uint32_t *moved; /* indexes of splits with `moved` */
    uint32_t moved_count, moved_capacity;
    uint32_t done_count;
    struct ksrc_split *last; /* of the last message */

    struct tr_state marks; /* what start() was given */
    bool has_positions;    /* there are positions in it: a split without one is new */
    bool told_first;       /* the first COMMIT is out */
    bool placed;           /* splits were given a place that no COMMIT has told yet */
    int64_t discovered_ms, idle_commit_ms, ends_ms;
    int64_t cause_ms, probed_ms; /* connection trouble since; last look */
    int64_t nudged_ms;
    uint32_t nudged_at;
    _Atomic bool commit_wanted;

    rd_kafka_message_t *fetched[KSRC_FETCHED_MAX];
    size_t fetched_at, fetched_count;
    struct tr_mark *scratch;
    size_t scratch_capacity;
    char (*numbers)[24];
    int64_t skip_logged_ms;
    uint64_t skipped_unlogged;

    /* group.c */
    rd_kafka_topic_partition_list_t *assigning, *revoking;
    int64_t revoke_until_ms;
    bool lost, closing, paused;
    _Atomic bool rejoining; /* no commits */
};

/* ---- consumer.c: the handle ---- */
enum tr_status ksrc_client_new(struct ksrc_source *source, rd_kafka_t **out, struct tr_error *err);
/* The client's queue is empty: has it fetch again, if there is more. */
void ksrc_nudge(struct ksrc_source *source);
/* Looks whether the brokers can be used, when the client told of trouble. TR_AGAIN: not now. */
enum tr_status ksrc_health(struct ksrc_source *source, struct tr_error *err);
static inline void ksrc_healthy(struct ksrc_source *source)
{
    if (source->cause_ms != 0 || atomic_load(&source->health->cause) != 0) {
        atomic_store(&source->health->cause, 0);
        source->cause_ms = 0;
    }
}
/* Acknowledged positions to the group; wait_ms 0: not waited for. Failures are only logged. */
void ksrc_commit(struct ksrc_source *source, int wait_ms);

/* ---- splits.c: topics, partitions, offsets ---- */
struct ksrc_split *ksrc_split_find(struct ksrc_source *source, const char *topic,
                                   int32_t partition);
enum tr_status ksrc_split_add(struct ksrc_source *source, const char *topic, int32_t partition,
                              struct ksrc_split **out, struct tr_error *err);
enum tr_status ksrc_split_moved(struct ksrc_source *source, struct ksrc_split *split,
                                struct tr_error *err);
void ksrc_split_done(struct ksrc_source *source, struct ksrc_split *split);
void ksrc_splits_free(struct ksrc_source *source);
bool ksrc_topic_wanted(const struct ksrc_source *source, const char *topic);
/* Every topic that the file names is there. */
enum tr_status ksrc_topics_exist(struct ksrc_source *source,
                                 const struct rd_kafka_metadata *metadata, struct tr_error *err);
/* Asks the cluster for partitions; new ones become splits without a position. */
enum tr_status ksrc_discover(struct ksrc_source *source, int64_t timeout_ms, bool first,
                             struct tr_error *err);
/* Offsets at times (ms), or RD_KAFKA_OFFSET_BEGINNING and _END, of every item's .offset. */
enum tr_status ksrc_offsets_at(struct ksrc_source *source, rd_kafka_topic_partition_list_t *list,
                               struct tr_error *err);

/* ---- start.c: where to begin ---- */
enum tr_status ksrc_start(struct ksrc_source *source, const struct tr_state *marks,
                          struct tr_error *err);
/* Positions for the splits from index `from` on that have none: new ones begin at their first
 * message. */
enum tr_status ksrc_place_new(struct ksrc_source *source, uint32_t from, struct tr_error *err);
/* Position of a split that is being taken over, checked against the log. */
enum tr_status ksrc_place_taken(struct ksrc_source *source, struct ksrc_split *split,
                                const struct tr_state *marks, int64_t group_offset, int64_t low,
                                int64_t high, struct tr_error *err);
/* low, high: per split of the list. */
enum tr_status ksrc_ranges(struct ksrc_source *source, const rd_kafka_topic_partition_list_t *list,
                           int64_t *lows, int64_t *highs, struct tr_error *err);
/* The log refuses the split's position: says why. Always TR_FAIL. */
enum tr_status ksrc_fail_range(struct ksrc_source *source, struct ksrc_split *split,
                               struct tr_error *err);
enum tr_status ksrc_mark_position(const struct tr_state *marks, const struct ksrc_split *split,
                                  int64_t *position, struct tr_error *err);

/* ---- group.c: partitions shared by processes ---- */
/* The client's callbacks for a member of a group. */
void ksrc_group_conf(struct ksrc_source *source, rd_kafka_conf_t *conf);
enum tr_status ksrc_subscribe(struct ksrc_source *source, struct tr_error *err);
/* What a rebalance left to do. */
enum tr_status ksrc_group_turn(struct ksrc_source *source, struct tr_error *err);
enum tr_status ksrc_group_idle(struct ksrc_source *source, struct tr_error *err);
enum tr_status ksrc_group_resume(struct ksrc_source *source, struct tr_error *err);

/* ---- read.c ---- */
enum tr_status ksrc_read(struct ksrc_source *source, struct tr_batch *batch, int timeout_ms,
                         struct tr_error *err);
void ksrc_metrics(void);
void ksrc_drop_fetched(struct ksrc_source *source);

/* ---- preflight.c ---- */
enum tr_status ksrc_preflight(struct ksrc_source *source, tr_report_fn report, void *report_ctx,
                              struct tr_error *err);

/* ---- registry.c: schemas of a registry with Confluent's REST interface ---- */
enum tr_status ksrc_registry_new(const struct ksrc_options *options, struct ksrc_registry **out,
                                 struct tr_error *err);
/* For struct tr_decoder_context. */
enum tr_status ksrc_registry_schema(void *registry, uint32_t schema_id, char **text,
                                    struct tr_error *err);
enum tr_status ksrc_registry_check(struct ksrc_registry *registry, struct tr_error *err);
void ksrc_registry_interrupt(struct ksrc_registry *registry);
void ksrc_registry_free(struct ksrc_registry *registry);

#endif
