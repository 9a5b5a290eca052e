/* Where every partition begins.
 *
 *   a position in the marks            it, exactly; the log must still hold it
 *   none, but others have one          the partition is new: its first message
 *   none at all (the first run)        scan.startup.mode
 *
 * The first COMMIT tells all of them, so that the startup mode decides once. A position that the
 * log does not hold is an error, never a reset: messages between were lost, and only the user can
 * say whether that is all right. */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "source/kafka/internal.h"

enum tr_status ksrc_mark_position(const struct tr_state *marks, const struct ksrc_split *split,
                                  int64_t *position, struct tr_error *err)
{
    const char *text = tr_state_get(marks, split->key);
    char *end;
    *position = -1;
    if (text == NULL)
        return TR_OK;
    long long value = strtoll(text, &end, 10);
    if (value < 0 || end == text || *end != '\0') {
        (void)tr_fail(err, TR_E_KAFKA_POSITION_BEYOND, "the stored position of %s is not a number",
                      split->split.name);
        return tr_hint(err,
                       "It was changed by somebody else: bring the target back as it was, or start "
                       "over with tailrace drop.");
    }
    *position = value;
    return TR_OK;
}

static enum tr_status fail_lost(const struct ksrc_split *split, int64_t from, int64_t to,
                                struct tr_error *err)
{
    (void)tr_fail(err, TR_E_KAFKA_POSITION_LOST,
                  "%s: the log no longer holds the position: offsets %lld to %lld are gone (%lld "
                  "messages at most)",
                  split->split.name, (long long)from, (long long)(to - 1), (long long)(to - from));
    (void)tr_detail(err, "the pipeline's next offset is %lld, the first one in the log is %lld",
                    (long long)from, (long long)to);
    return tr_hint(err,
                   "Retention or a deletion of records took them. Longer retention (retention.ms, "
                   "retention.bytes) prevents it. To go on without them: tailrace drop, then run "
                   "with scan.startup.mode specific-offsets and the offsets that should be next.");
}

static enum tr_status fail_beyond(const struct ksrc_split *split, int64_t position, int64_t high,
                                  struct tr_error *err)
{
    (void)tr_fail(
        err, TR_E_KAFKA_POSITION_BEYOND,
        "%s: the position %lld lies behind the log's end %lld: the topic was made anew, or the "
        "cluster lost data",
        split->split.name, (long long)position, (long long)high);
    return tr_hint(
        err, "If the topic is a new one: tailrace drop, then tailrace run. If isolation.level "
             "was changed to read_committed: wait until the open transactions have ended.");
}

static enum tr_status check_range(const struct ksrc_split *split, int64_t position, int64_t low,
                                  int64_t high, struct tr_error *err)
{
    if (position < low)
        return fail_lost(split, position, low, err);
    return position > high ? fail_beyond(split, position, high, err) : TR_OK;
}

/* ---- offsets of many splits ---------------------------------------------------------------------
 */

static rd_kafka_topic_partition_list_t *list_from(const struct ksrc_source *source, uint32_t from,
                                                  int64_t offset)
{
    uint32_t count = atomic_load(&source->split_count);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)(count - from));
    for (uint32_t i = from; i < count; i++) {
        const struct ksrc_split *split = source->splits[i];
        rd_kafka_topic_partition_list_add(list, split->topic, split->split.partition)->offset =
            offset;
    }
    return list;
}

static enum tr_status offsets_of(struct ksrc_source *source,
                                 const rd_kafka_topic_partition_list_t *list, int64_t at,
                                 int64_t *out, struct tr_error *err)
{
    rd_kafka_topic_partition_list_t *copy = rd_kafka_topic_partition_list_copy(list);
    for (int i = 0; i < copy->cnt; i++)
        copy->elems[i].offset = at;
    enum tr_status status = ksrc_offsets_at(source, copy, err);
    for (int i = 0; status == TR_OK && i < copy->cnt; i++)
        out[i] = copy->elems[i].offset;
    rd_kafka_topic_partition_list_destroy(copy);
    return status;
}

enum tr_status ksrc_ranges(struct ksrc_source *source, const rd_kafka_topic_partition_list_t *list,
                           int64_t *lows, int64_t *highs, struct tr_error *err)
{
    if (list->cnt == 0)
        return TR_OK;
    if (offsets_of(source, list, RD_KAFKA_OFFSET_BEGINNING, lows, err) != TR_OK)
        return TR_FAIL;
    return offsets_of(source, list, RD_KAFKA_OFFSET_END, highs, err);
}

enum tr_status ksrc_fail_range(struct ksrc_source *source, struct ksrc_split *split,
                               struct tr_error *err)
{
    int64_t low, high;
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, split->topic, split->split.partition);
    enum tr_status status = ksrc_ranges(source, list, &low, &high, err);
    rd_kafka_topic_partition_list_destroy(list);
    if (status != TR_OK || check_range(split, split->position, low, high, err) != TR_OK)
        return TR_FAIL;
    (void)tr_fail(err, TR_E_KAFKA_READ, "%s: the broker refused offset %lld", split->split.name,
                  (long long)split->position);
    return tr_hint(err, "The log holds it now: the pipeline starts again by its restart strategy.");
}

/* ---- the startup mode ---------------------------------------------------------------------------
 */

/* Offsets that the group has committed; -1 where there is none. */
static enum tr_status group_offsets(struct ksrc_source *source,
                                    const rd_kafka_topic_partition_list_t *list, int64_t *out,
                                    struct tr_error *err)
{
    rd_kafka_topic_partition_list_t *copy = rd_kafka_topic_partition_list_copy(list);
    rd_kafka_resp_err_t native =
        rd_kafka_committed(source->client, copy, (int)source->options->connect_timeout_ms);
    for (int i = 0; native == RD_KAFKA_RESP_ERR_NO_ERROR && i < copy->cnt; i++) {
        native = copy->elems[i].err;
        out[i] = copy->elems[i].offset >= 0 ? copy->elems[i].offset : -1;
    }
    rd_kafka_topic_partition_list_destroy(copy);
    return native == RD_KAFKA_RESP_ERR_NO_ERROR
               ? TR_OK
               : kafka_fail(err, native, NULL, "asking for the offsets of group %s", source->group);
}

static enum tr_status no_group_offset(struct ksrc_source *source, const struct ksrc_split *split,
                                      int64_t low, int64_t high, int64_t *out, struct tr_error *err)
{
    const char *reset = ksrc_property(source->options, "auto.offset.reset");
    if (reset != NULL && (strcmp(reset, "earliest") == 0 || strcmp(reset, "smallest") == 0 ||
                          strcmp(reset, "beginning") == 0)) {
        *out = low;
        return TR_OK;
    }
    if (reset != NULL && (strcmp(reset, "latest") == 0 || strcmp(reset, "largest") == 0 ||
                          strcmp(reset, "end") == 0)) {
        *out = high;
        return TR_OK;
    }
    (void)tr_fail(err, TR_E_KAFKA_GROUP_OFFSETS, "group %s has no committed offset for %s",
                  source->group, split->split.name);
    return tr_hint(err,
                   "Set properties.auto.offset.reset: earliest or latest for such partitions, or "
                   "another scan.startup.mode.");
}

/* One partition's offset by the startup mode; found: what the mode's question gave. */
static enum tr_status startup_offset(struct ksrc_source *source, const struct ksrc_split *split,
                                     int64_t found, int64_t low, int64_t high, int64_t *out,
                                     struct tr_error *err)
{
    switch (ksrc_startup_mode(source->options)) {
    case KSRC_LATEST:
        *out = high;
        return TR_OK;
    case KSRC_TIMESTAMP:
        *out = found < 0 ? high : found;
        return TR_OK;
    case KSRC_GROUP_OFFSETS:
        if (found < 0)
            return no_group_offset(source, split, low, high, out, err);
        *out = found;
        return check_range(split, found, low, high, err);
    case KSRC_SPECIFIC:
        if (ksrc_specific_offset(source->options->specific_offsets, split->topic,
                                 split->split.partition, out, err) != TR_OK)
            return TR_FAIL;
        if (*out < 0)
            *out = found < 0 ? low : found;
        return check_range(split, *out, low, high, err);
    default:
        *out = low;
        return TR_OK;
    }
}

static enum tr_status by_startup_mode(struct ksrc_source *source,
                                      const rd_kafka_topic_partition_list_t *list,
                                      const int64_t *lows, const int64_t *highs,
                                      struct tr_error *err)
{
    int64_t *found = calloc((size_t)list->cnt + 1, sizeof *found);
    if (found == NULL)
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for offsets");
    enum ksrc_startup mode = ksrc_startup_mode(source->options);
    enum tr_status status = TR_OK;
    if (mode == KSRC_TIMESTAMP)
        status = offsets_of(source, list, source->options->startup_timestamp_ms, found, err);
    else if (mode == KSRC_GROUP_OFFSETS || mode == KSRC_SPECIFIC)
        status = group_offsets(source, list, found, err);
    for (int i = 0; status == TR_OK && i < list->cnt; i++) {
        struct ksrc_split *split =
            ksrc_split_find(source, list->elems[i].topic, list->elems[i].partition);
        status = startup_offset(source, split, found[i], lows[i], highs[i], &split->first, err);
    }
    free(found);
    return status;
}

/* ---- places -------------------------------------------------------------------------------------
 */

/* Positions for the splits from index `from` on; new ones are told by the next COMMIT. */
static enum tr_status place(struct ksrc_source *source, uint32_t from, bool by_mode,
                            struct tr_error *err)
{
    uint32_t count = atomic_load(&source->split_count) - from;
    if (count == 0)
        return TR_OK;
    rd_kafka_topic_partition_list_t *list = list_from(source, from, RD_KAFKA_OFFSET_INVALID);
    int64_t *lows = calloc(count, 2 * sizeof *lows), *highs = lows == NULL ? NULL : lows + count;
    enum tr_status status = lows == NULL ? tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for offsets")
                                         : ksrc_ranges(source, list, lows, highs, err);
    for (uint32_t i = 0; status == TR_OK && i < count; i++) {
        struct ksrc_split *split = source->splits[from + i];
        split->first = lows[i];
        atomic_store(&split->server_end, highs[i]);
        if (source->options->bounded == KSRC_BOUNDED_LATEST)
            split->end = highs[i];
    }
    if (status == TR_OK && by_mode)
        status = by_startup_mode(source, list, lows, highs, err);
    bool shared = source->options->assignment == KSRC_GROUP;
    for (uint32_t i = 0; status == TR_OK && i < count && !shared; i++)
        status = ksrc_place_taken(source, source->splits[from + i], &source->marks, -1, lows[i],
                                  highs[i], err);
    free(lows);
    rd_kafka_topic_partition_list_destroy(list);
    return status;
}

enum tr_status ksrc_place_taken(struct ksrc_source *source, struct ksrc_split *split,
                                const struct tr_state *marks, int64_t group_offset, int64_t low,
                                int64_t high, struct tr_error *err)
{
    if (ksrc_mark_position(marks, split, &split->position, err) != TR_OK)
        return TR_FAIL;
    bool stored = split->position >= 0;
    if (!stored)
        split->position = group_offset >= 0 ? group_offset : split->first;
    if (check_range(split, split->position, low, high, err) != TR_OK)
        return TR_FAIL;
    atomic_store(&split->read, split->position);
    atomic_store(&split->acknowledged, stored ? split->position : -1);
    atomic_store(&split->owned, true);
    split->assigned = true;
    split->revoking = false;
    source->placed = true;
    if (split->position >= split->end)
        ksrc_split_done(source, split);
    tr_log(TR_LOG_DEBUG, "a partition's place", "split=%s offset=%lld stored=%s", split->split.name,
           (long long)split->position, stored ? "true" : "false");
    return ksrc_split_moved(source, split, err);
}

static enum tr_status assign(struct ksrc_source *source, uint32_t from, struct tr_error *err)
{
    uint32_t count = atomic_load(&source->split_count);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)(count - from));
    rd_kafka_resp_err_t native = RD_KAFKA_RESP_ERR_NO_ERROR;
    for (uint32_t i = from; i < count; i++) {
        const struct ksrc_split *split = source->splits[i];
        if (!split->done)
            rd_kafka_topic_partition_list_add(list, split->topic, split->split.partition)->offset =
                split->position;
    }
    if (from == 0) {
        native = rd_kafka_assign(source->client, list);
    } else if (list->cnt > 0) {
        rd_kafka_error_t *error = rd_kafka_incremental_assign(source->client, list);
        if (error != NULL) {
            rd_kafka_topic_partition_list_destroy(list);
            return kafka_fail_error(err, error, "beginning to read new partitions");
        }
    }
    rd_kafka_topic_partition_list_destroy(list);
    return native == RD_KAFKA_RESP_ERR_NO_ERROR
               ? TR_OK
               : kafka_fail(err, native, NULL, "beginning to read");
}

enum tr_status ksrc_place_new(struct ksrc_source *source, uint32_t from, struct tr_error *err)
{
    if (place(source, from, false, err) != TR_OK)
        return TR_FAIL;
    if (source->options->assignment == KSRC_GROUP)
        return ksrc_subscribe(source, err);
    return assign(source, from, err);
}

enum tr_status ksrc_start(struct ksrc_source *source, const struct tr_state *marks,
                          struct tr_error *err)
{
    if (tr_state_copy(&source->marks, marks, err) != TR_OK)
        return TR_FAIL;
    source->has_positions =
        tr_state_has_prefix(marks, tr_state_seek(marks, TR_MARK_SPLIT), TR_MARK_SPLIT);
    if (source->format->restore != NULL &&
        source->format->restore(source->decoder, marks, err) != TR_OK)
        return TR_FAIL;
    if (ksrc_discover(source, source->options->connect_timeout_ms, true, err) != TR_OK ||
        place(source, 0, !source->has_positions, err) != TR_OK)
        return TR_FAIL;
    uint32_t count = atomic_load(&source->split_count);
    tr_log(TR_LOG_INFO, "the Kafka source begins",
           "partitions=%u resumed=%s assignment=%s group=%s", count,
           source->has_positions ? "true" : "false",
           source->options->assignment == KSRC_GROUP ? "group" : "all", source->group);
    if (source->options->assignment == KSRC_GROUP)
        return ksrc_subscribe(source, err);
    return assign(source, 0, err);
}
