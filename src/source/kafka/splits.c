/* Topics and partitions: which ones are read, the list of splits, and offsets asked from the
 * cluster. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "source/kafka/internal.h"

#define RETRY_MS 100
#define SLOTS_MIN 64

/* ---- the list -----------------------------------------------------------------------------------
 */

static uint32_t hash(const char *topic, int32_t partition)
{
    uint32_t value = 2166136261u ^ (uint32_t)partition * 2654435761u;
    for (; *topic != '\0'; topic++)
        value = (value ^ (unsigned char)*topic) * 16777619u;
    return value ^ value >> 15;
}

struct ksrc_split *ksrc_split_find(struct ksrc_source *source, const char *topic, int32_t partition)
{
    struct ksrc_split *last = source->last;
    if (last != NULL && last->split.partition == partition && strcmp(last->topic, topic) == 0)
        return last;
    for (uint32_t i = hash(topic, partition); source->slot_count > 0; i++) {
        uint32_t slot = source->slots[i & (source->slot_count - 1)];
        if (slot == 0)
            return NULL;
        struct ksrc_split *split = source->splits[slot - 1];
        if (split->split.partition == partition && strcmp(split->topic, topic) == 0)
            return source->last = split;
    }
    return NULL;
}

static void put(struct ksrc_source *source, const struct ksrc_split *split)
{
    uint32_t i = hash(split->topic, split->split.partition);
    while (source->slots[i & (source->slot_count - 1)] != 0)
        i++;
    source->slots[i & (source->slot_count - 1)] = split->split.index + 1;
}

static bool grow(struct ksrc_source *source)
{
    uint32_t count = atomic_load(&source->split_count);
    if (2 * (count + 1) <= source->slot_count)
        return true;
    uint32_t capacity = source->slot_count == 0 ? SLOTS_MIN : source->slot_count * 2;
    uint32_t *slots = calloc(capacity, sizeof *slots);
    if (slots == NULL)
        return false;
    free(source->slots);
    source->slots = slots;
    source->slot_count = capacity;
    for (uint32_t i = 0; i < count; i++)
        put(source, source->splits[i]);
    return true;
}

static void split_free(struct ksrc_split *split)
{
    if (split == NULL)
        return;
    free(split->key);
    free(split->topic);
    free(split);
}

enum tr_status ksrc_split_add(struct ksrc_source *source, const char *topic, int32_t partition,
                              struct ksrc_split **out, struct tr_error *err)
{
    uint32_t index = atomic_load(&source->split_count);
    if (index == TR_SPLITS_MAX) {
        (void)tr_fail(err, TR_E_KAFKA_SOURCE_CONFIG, "more than %d partitions are to be read",
                      TR_SPLITS_MAX);
        return tr_hint(err, "Give each part of the topics a pipeline of its own.");
    }
    struct ksrc_split *split = calloc(1, sizeof *split);
    if (split != NULL) {
        split->topic = strdup(topic);
        if (asprintf(&split->key, TR_MARK_SPLIT "%s/%d", topic, partition) < 0)
            split->key = NULL;
    }
    if (split == NULL || split->topic == NULL || split->key == NULL || !grow(source)) {
        split_free(split);
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for a partition");
    }
    split->split = (struct tr_split){.index = index,
                                     .name = split->key + strlen(TR_MARK_SPLIT),
                                     .container = split->topic,
                                     .partition = partition,
                                     .table = split->topic};
    split->position = split->first = split->committed = -1;
    split->end = INT64_MAX;
    atomic_init(&split->acknowledged, -1);
    atomic_init(&split->server_end, -1);
    source->splits[index] = split;
    put(source, split);
    atomic_store(&source->split_count, index + 1);
    *out = split;
    return TR_OK;
}

enum tr_status ksrc_split_moved(struct ksrc_source *source, struct ksrc_split *split,
                                struct tr_error *err)
{
    if (split->moved)
        return TR_OK;
    if (source->moved_count == source->moved_capacity) {
        uint32_t capacity = source->moved_capacity == 0 ? 64 : source->moved_capacity * 2;
        uint32_t *moved = realloc(source->moved, capacity * sizeof *moved);
        if (moved == NULL)
            return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for positions");
        source->moved = moved;
        source->moved_capacity = capacity;
    }
    source->moved[source->moved_count++] = split->split.index;
    split->moved = true;
    return TR_OK;
}

void ksrc_split_done(struct ksrc_source *source, struct ksrc_split *split)
{
    if (split->done)
        return;
    split->done = true;
    source->done_count++;
}

void ksrc_splits_free(struct ksrc_source *source)
{
    uint32_t count = atomic_load(&source->split_count);
    for (uint32_t i = 0; i < count; i++)
        split_free(source->splits[i]);
    free(source->splits);
    free(source->slots);
    free(source->moved);
}

/* ---- the cluster --------------------------------------------------------------------------------
 */

struct wanted {
    const char *topic;
    bool found;
};

static enum tr_status compare(void *context, const char *topic, struct tr_error *err)
{
    struct wanted *wanted = context;
    (void)err;
    wanted->found = wanted->found || strcmp(wanted->topic, topic) == 0;
    return TR_OK;
}

bool ksrc_topic_wanted(const struct ksrc_source *source, const char *topic)
{
    struct wanted wanted = {topic, false};
    struct tr_error err;
    if (source->pattern == NULL)
        return ksrc_topics_each(source->options, compare, &wanted, &err) == TR_OK && wanted.found;
    return strncmp(topic, "__", 2) != 0 && strlen(topic) <= KSRC_TOPIC_NAME_MAX &&
           pcre2_match(source->pattern, (PCRE2_SPTR)topic, strlen(topic), 0, 0, source->match,
                       NULL) >= 0;
}

static const struct rd_kafka_metadata_topic *topic_in(const struct rd_kafka_metadata *metadata,
                                                      const char *topic)
{
    for (int i = 0; i < metadata->topic_cnt; i++) {
        if (strcmp(metadata->topics[i].topic, topic) == 0)
            return &metadata->topics[i];
    }
    return NULL;
}

static enum tr_status must_exist(void *context, const char *topic, struct tr_error *err)
{
    const struct rd_kafka_metadata_topic *found = topic_in(context, topic);
    if (found != NULL && found->err == RD_KAFKA_RESP_ERR_NO_ERROR && found->partition_cnt > 0)
        return TR_OK;
    if (found != NULL && found->err != RD_KAFKA_RESP_ERR_NO_ERROR &&
        found->err != RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)
        return kafka_fail(err, found->err, NULL, "topic %s cannot be read", topic);
    (void)tr_fail(err, TR_E_KAFKA_TOPIC_MISSING, "topic %s does not exist", topic);
    return tr_hint(err,
                   "Create it, correct the option topic, or grant Describe on it: a topic that may "
                   "not be seen looks like one that is not there.");
}

enum tr_status ksrc_topics_exist(struct ksrc_source *source,
                                 const struct rd_kafka_metadata *metadata, struct tr_error *err)
{
    return ksrc_topics_each(source->options, must_exist, (void *)(uintptr_t)metadata, err);
}

static enum tr_status take_topic(struct ksrc_source *source,
                                 const struct rd_kafka_metadata_topic *topic, struct tr_error *err)
{
    for (int i = 0; i < topic->partition_cnt; i++) {
        struct ksrc_split *split;
        if (ksrc_split_find(source, topic->topic, topic->partitions[i].id) == NULL &&
            ksrc_split_add(source, topic->topic, topic->partitions[i].id, &split, err) != TR_OK)
            return TR_FAIL;
    }
    return TR_OK;
}

enum tr_status ksrc_discover(struct ksrc_source *source, int64_t timeout_ms, bool first,
                             struct tr_error *err)
{
    const struct rd_kafka_metadata *metadata;
    enum tr_status status =
        kafka_metadata(source->client, source->health, timeout_ms, &metadata, err);
    if (status != TR_OK)
        return status;
    if (first)
        status = ksrc_topics_exist(source, metadata, err);
    for (int i = 0; status == TR_OK && i < metadata->topic_cnt; i++) {
        const struct rd_kafka_metadata_topic *topic = &metadata->topics[i];
        if (topic->err == RD_KAFKA_RESP_ERR_NO_ERROR && ksrc_topic_wanted(source, topic->topic))
            status = take_topic(source, topic, err);
    }
    rd_kafka_metadata_destroy(metadata);
    return status;
}

enum tr_status ksrc_offsets_at(struct ksrc_source *source, rd_kafka_topic_partition_list_t *list,
                               struct tr_error *err)
{
    int64_t until_ms = tr_clock_mono_ms() + source->options->connect_timeout_ms;
    if (list->cnt == 0)
        return TR_OK;
    rd_kafka_topic_partition_list_t *asked = rd_kafka_topic_partition_list_copy(list);
    for (;;) {
        int64_t left_ms = until_ms - tr_clock_mono_ms();
        rd_kafka_resp_err_t native =
            rd_kafka_offsets_for_times(source->client, list, (int)(left_ms > 1 ? left_ms : 1));
        const rd_kafka_topic_partition_t *bad = NULL;
        for (int i = 0; native == RD_KAFKA_RESP_ERR_NO_ERROR && i < list->cnt; i++) {
            if (list->elems[i].err != RD_KAFKA_RESP_ERR_NO_ERROR) {
                bad = &list->elems[i];
                native = bad->err;
            }
        }
        if (native == RD_KAFKA_RESP_ERR_NO_ERROR)
            break;
        /* a leader that moves is found a moment later */
        if (kafka_is_final(native) || tr_clock_mono_ms() >= until_ms ||
            atomic_load(&source->health->interrupted)) {
            rd_kafka_topic_partition_list_destroy(asked);
            return bad == NULL ? kafka_fail(err, native, NULL, "asking for offsets")
                               : kafka_fail(err, native, NULL, "asking for offsets of %s/%d",
                                            bad->topic, bad->partition);
        }
        tr_clock_sleep_ms(RETRY_MS);
        for (int i = 0; i < list->cnt; i++)
            list->elems[i].offset = asked->elems[i].offset;
    }
    rd_kafka_topic_partition_list_destroy(asked);
    return TR_OK;
}
