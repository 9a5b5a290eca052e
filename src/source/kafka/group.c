/* scan.assignment: group: several processes of one pipeline share the partitions.
 *
 * The group only says who reads what. Where a partition goes on is what the sinks hold
 * (tr_context.stored_marks), else the later one of the group's committed offset and this process's
 * own mark, else the start's.
 *
 *   assigned  the callback keeps the list; the next read() asks for the positions, begins to read,
 * and tells the positions by a COMMIT revoked   nothing more of these partitions is decoded; what
 * was handed on is waited for until the engine acknowledged it, then they are given up. The client
 * waits for that call: the new owner cannot begin earlier lost      the session timed out: somebody
 * else may read them already. The attempt fails (transient) and starts over from what is stored;
 * the sinks' guarded positions refuse what is late
 *
 * The callback runs in the reader's thread, within rd_kafka_consumer_poll. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "source/kafka/internal.h"

#define POLL_INTERVAL_DEFAULT_MS 300000 /* librdkafka's max.poll.interval.ms */
#define REVOKE_MS_MAX 120000
#define REVOKE_MS_MIN 5000

static bool cooperative(rd_kafka_t *client)
{
    const char *protocol = rd_kafka_rebalance_protocol(client);
    return protocol != NULL && strcmp(protocol, "COOPERATIVE") == 0;
}

/* What was taken from the client of partitions that are not ours any more: were it kept, it would
 * be taken for their next message when they come back with an earlier position. */
static void drop_foreign(struct ksrc_source *source)
{
    size_t kept = source->fetched_at;
    for (size_t i = source->fetched_at; i < source->fetched_count; i++) {
        rd_kafka_message_t *message = source->fetched[i];
        const struct ksrc_split *split =
            message->rkt == NULL
                ? NULL
                : ksrc_split_find(source, rd_kafka_topic_name(message->rkt), message->partition);
        if (split != NULL && !split->assigned)
            rd_kafka_message_destroy(message);
        else
            source->fetched[kept++] = message;
    }
    source->fetched_count = kept;
}

static rd_kafka_resp_err_t give_up(struct ksrc_source *source, rd_kafka_t *client,
                                   const rd_kafka_topic_partition_list_t *list)
{
    for (int i = 0; i < list->cnt; i++) {
        struct ksrc_split *split =
            ksrc_split_find(source, list->elems[i].topic, list->elems[i].partition);
        if (split == NULL)
            continue;
        split->assigned = split->revoking = false;
        atomic_store(&split->owned, false);
    }
    drop_foreign(source);
    if (!cooperative(client))
        return rd_kafka_assign(client, NULL);
    rd_kafka_error_t *error = rd_kafka_incremental_unassign(client, list);
    rd_kafka_resp_err_t native = rd_kafka_error_code(error);
    if (error != NULL)
        rd_kafka_error_destroy(error);
    return native;
}

static int64_t revoke_ms(const struct ksrc_source *source)
{
    const char *text = ksrc_property(source->options, "max.poll.interval.ms");
    int64_t ms = (text == NULL ? POLL_INTERVAL_DEFAULT_MS : strtoll(text, NULL, 10)) / 2;
    if (ms > REVOKE_MS_MAX)
        return REVOKE_MS_MAX;
    return ms < REVOKE_MS_MIN ? REVOKE_MS_MIN : ms;
}

static void begin_revoking(struct ksrc_source *source, rd_kafka_topic_partition_list_t *list)
{
    source->revoking = rd_kafka_topic_partition_list_copy(list);
    source->revoke_until_ms = tr_clock_mono_ms() + revoke_ms(source);
    for (int i = 0; i < list->cnt; i++) {
        struct ksrc_split *split =
            ksrc_split_find(source, list->elems[i].topic, list->elems[i].partition);
        if (split != NULL)
            split->revoking = true;
    }
    tr_log(TR_LOG_INFO, "partitions are to be given up; waiting until what was read is durable",
           "partitions=%d", list->cnt);
}

static void on_rebalance(rd_kafka_t *client, rd_kafka_resp_err_t native,
                         rd_kafka_topic_partition_list_t *list, void *opaque)
{
    struct ksrc_source *source = opaque;
    if (source->closing || native == RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS) {
        source->lost = source->lost || rd_kafka_assignment_lost(client) != 0;
        if (source->closing || source->lost || source->revoking != NULL || list->cnt == 0)
            (void)give_up(source, client, list);
        else
            begin_revoking(source, list);
        return;
    }
    if (native == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS && source->assigning == NULL) {
        source->assigning = rd_kafka_topic_partition_list_copy(list);
        return;
    }
    source->lost = true; /* an error, or a state that cannot be: start over */
    (void)rd_kafka_assign(client, NULL);
}

static enum tr_status fail_lost(struct tr_error *err, const char *why)
{
    (void)tr_fail(err, TR_E_KAFKA_ASSIGNMENT_LOST, "the group took this process's partitions away");
    (void)tr_detail(err, "%s", why);
    return tr_hint(err,
                   "The pipeline starts again from the stored position. If it happens again: raise "
                   "properties.session.timeout.ms and properties.max.poll.interval.ms.");
}

/* ---- assigned -----------------------------------------------------------------------------------
 */

static enum tr_status stored_marks(struct ksrc_source *source, struct tr_state *marks,
                                   struct tr_error *err)
{
    const struct tr_context *context = source->context;
    return context->stored_marks == NULL ? TR_OK
                                         : context->stored_marks(context->engine, marks, err);
}

/* Where a partition goes on when no sink holds its position: offsets are committed to the group
 * only when they are durable, and so are this process's own marks; the later one is true. */
static enum tr_status other_offset(const struct ksrc_source *source, const struct ksrc_split *split,
                                   int64_t committed, int64_t *out, struct tr_error *err)
{
    if (ksrc_mark_position(&source->marks, split, out, err) != TR_OK)
        return TR_FAIL;
    if (committed > *out)
        *out = committed;
    return TR_OK;
}

static enum tr_status take_over(struct ksrc_source *source, rd_kafka_topic_partition_list_t *list,
                                const struct tr_state *marks, const int64_t *lows,
                                const int64_t *highs, struct tr_error *err)
{
    rd_kafka_topic_partition_list_t *group = rd_kafka_topic_partition_list_copy(list);
    rd_kafka_resp_err_t native =
        rd_kafka_committed(source->client, group, (int)source->options->connect_timeout_ms);
    enum tr_status status = TR_OK;
    if (native != RD_KAFKA_RESP_ERR_NO_ERROR)
        status = kafka_fail(err, native, NULL, "asking for the offsets of group %s", source->group);
    for (int i = 0; status == TR_OK && i < list->cnt; i++) {
        struct ksrc_split *split =
            ksrc_split_find(source, list->elems[i].topic, list->elems[i].partition);
        if (split == NULL && ksrc_split_add(source, list->elems[i].topic, list->elems[i].partition,
                                            &split, err) != TR_OK)
            status = TR_FAIL;
        if (status != TR_OK)
            break;
        if (split->first < 0)
            split->first = lows[i];
        atomic_store(&split->server_end, highs[i]);
        split->committed = -1;
        int64_t other;
        status = other_offset(source, split, group->elems[i].offset, &other, err);
        if (status == TR_OK)
            status = ksrc_place_taken(source, split, marks, other, lows[i], highs[i], err);
        list->elems[i].offset = split->position;
    }
    rd_kafka_topic_partition_list_destroy(group);
    return status;
}

static enum tr_status begin_assigned(struct ksrc_source *source, struct tr_error *err)
{
    rd_kafka_topic_partition_list_t *list = source->assigning;
    struct tr_state marks;
    int64_t *lows = calloc((size_t)list->cnt + 1, 2 * sizeof *lows);
    tr_state_init(&marks);
    source->assigning = NULL;
    enum tr_status status =
        lows == NULL ? tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for offsets") : TR_OK;
    if (status == TR_OK && list->cnt > 0)
        status = stored_marks(source, &marks, err);
    if (status == TR_OK)
        status = ksrc_ranges(source, list, lows, lows + list->cnt, err);
    if (status == TR_OK && list->cnt > 0)
        status = take_over(source, list, &marks, lows, lows + list->cnt, err);
    if (status == TR_OK && cooperative(source->client)) {
        rd_kafka_error_t *error = rd_kafka_incremental_assign(source->client, list);
        if (error != NULL)
            status = kafka_fail_error(err, error, "taking partitions over");
    } else if (status == TR_OK) {
        rd_kafka_resp_err_t native = rd_kafka_assign(source->client, list);
        if (native != RD_KAFKA_RESP_ERR_NO_ERROR)
            status = kafka_fail(err, native, NULL, "taking partitions over");
    }
    if (status == TR_OK)
        tr_log(TR_LOG_INFO, "partitions were taken over", "partitions=%d", list->cnt);
    free(lows);
    tr_state_free(&marks);
    rd_kafka_topic_partition_list_destroy(list);
    return status;
}

/* ---- revoked ------------------------------------------------------------------------------------
 */

static bool all_acknowledged(struct ksrc_source *source)
{
    for (int i = 0; i < source->revoking->cnt; i++) {
        const rd_kafka_topic_partition_t *item = &source->revoking->elems[i];
        struct ksrc_split *split = ksrc_split_find(source, item->topic, item->partition);
        if (split != NULL && split->assigned &&
            (split->moved || atomic_load(&split->acknowledged) < split->position))
            return false;
    }
    return true;
}

static enum tr_status end_revoking(struct ksrc_source *source, struct tr_error *err)
{
    if (source->revoking == NULL)
        return TR_OK;
    if (!all_acknowledged(source)) {
        if (tr_clock_mono_ms() < source->revoke_until_ms)
            return TR_OK;
        return fail_lost(err, "what was read of them did not become durable in time");
    }
    rd_kafka_topic_partition_list_t *list = source->revoking;
    atomic_store(&source->commit_wanted, true);
    ksrc_commit(source, KSRC_COMMIT_TIMEOUT_MS);
    source->revoking = NULL;
    rd_kafka_resp_err_t native = give_up(source, source->client, list);
    tr_log(TR_LOG_INFO, "partitions were given up", "partitions=%d", list->cnt);
    rd_kafka_topic_partition_list_destroy(list);
    return native == RD_KAFKA_RESP_ERR_NO_ERROR
               ? TR_OK
               : kafka_fail(err, native, NULL, "giving partitions up");
}

enum tr_status ksrc_group_turn(struct ksrc_source *source, struct tr_error *err)
{
    if (source->lost)
        return fail_lost(err, "the session with the group's coordinator ended");
    if (end_revoking(source, err) != TR_OK)
        return TR_FAIL;
    return source->assigning == NULL ? TR_OK : begin_assigned(source, err);
}

/* ---- commits while the group rebalances ---------------------------------------------------------
 *
 * A broker looks at a connection's requests one after the other. A commit sent while a JoinGroup
 * waits for the other members, up to the session timeout of one that was killed, is looked at after
 * it, with the generation from before, and librdkafka before 2.10 takes its refusal
 * (ILLEGAL_GENERATION) for the loss of the assignment (confluentinc/librdkafka#4059). So none is
 * sent between a JoinGroup and the answer to its SyncGroup. */

enum { API_JOIN_GROUP = 11, API_SYNC_GROUP = 14 }; /* Kafka protocol */

static rd_kafka_resp_err_t on_request(rd_kafka_t *client, int fd, const char *broker,
                                      int32_t broker_id, int16_t api, int16_t version, int32_t id,
                                      size_t size, void *opaque)
{
    struct ksrc_source *source = opaque;
    (void)client, (void)fd, (void)broker, (void)broker_id, (void)version, (void)id, (void)size;
    if (api == API_JOIN_GROUP)
        atomic_store(&source->rejoining, true);
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

static rd_kafka_resp_err_t on_response(rd_kafka_t *client, int fd, const char *broker,
                                       int32_t broker_id, int16_t api, int16_t version, int32_t id,
                                       size_t size, int64_t rtt_us, rd_kafka_resp_err_t native,
                                       void *opaque)
{
    struct ksrc_source *source = opaque;
    (void)client, (void)fd, (void)broker, (void)broker_id, (void)version, (void)id, (void)size;
    (void)rtt_us;
    if (api == API_SYNC_GROUP && native == RD_KAFKA_RESP_ERR_NO_ERROR)
        atomic_store(&source->rejoining, false);
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

static rd_kafka_resp_err_t on_new(rd_kafka_t *client, const rd_kafka_conf_t *conf, void *opaque,
                                  char *why, size_t why_size)
{
    (void)conf, (void)why, (void)why_size;
    rd_kafka_resp_err_t native =
        rd_kafka_interceptor_add_on_request_sent(client, "tailrace", on_request, opaque);
    return native != RD_KAFKA_RESP_ERR_NO_ERROR ? native
                                                : rd_kafka_interceptor_add_on_response_received(
                                                      client, "tailrace", on_response, opaque);
}

/* ---- membership ---------------------------------------------------------------------------------
 */

void ksrc_group_conf(struct ksrc_source *source, rd_kafka_conf_t *conf)
{
    rd_kafka_conf_set_rebalance_cb(conf, on_rebalance);
    (void)rd_kafka_conf_interceptor_add_on_new(conf, "tailrace", on_new, source);
}

static void add_topic(rd_kafka_topic_partition_list_t *list, const char *topic)
{
    if (rd_kafka_topic_partition_list_find(list, topic, RD_KAFKA_PARTITION_UA) == NULL)
        rd_kafka_topic_partition_list_add(list, topic, RD_KAFKA_PARTITION_UA);
}

/* The topics by name: all processes and discovery use the same pattern matching. */
enum tr_status ksrc_subscribe(struct ksrc_source *source, struct tr_error *err)
{
    uint32_t count = atomic_load(&source->split_count);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(8);
    for (uint32_t i = 0; i < count; i++)
        add_topic(list, source->splits[i]->topic);
    rd_kafka_resp_err_t native = RD_KAFKA_RESP_ERR_NO_ERROR;
    if (list->cnt > 0)
        native = rd_kafka_subscribe(source->client, list);
    rd_kafka_topic_partition_list_destroy(list);
    return native == RD_KAFKA_RESP_ERR_NO_ERROR
               ? TR_OK
               : kafka_fail(err, native, NULL, "joining group %s", source->group);
}

static void pause_all(struct ksrc_source *source, bool pause)
{
    rd_kafka_topic_partition_list_t *list = NULL;
    if (source->paused == pause ||
        rd_kafka_assignment(source->client, &list) != RD_KAFKA_RESP_ERR_NO_ERROR)
        return;
    if (pause)
        (void)rd_kafka_pause_partitions(source->client, list);
    else
        (void)rd_kafka_resume_partitions(source->client, list);
    rd_kafka_topic_partition_list_destroy(list);
    source->paused = pause;
}

/* With no room for messages the group still wants to be polled, or it gives the partitions away. */
enum tr_status ksrc_group_idle(struct ksrc_source *source, struct tr_error *err)
{
    pause_all(source, true);
    while (source->fetched_count < KSRC_FETCHED_MAX) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(source->client, 0);
        if (message == NULL)
            break;
        source->fetched[source->fetched_count++] = message;
    }
    return ksrc_group_turn(source, err);
}

enum tr_status ksrc_group_resume(struct ksrc_source *source, struct tr_error *err)
{
    pause_all(source, false);
    return ksrc_group_turn(source, err);
}
