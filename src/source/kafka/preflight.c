/* tailrace check: the topics, what is in them, the group, the registry. Changes nothing. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "source/kafka/internal.h"

#define OBJECT_BYTES 300
#define LISTED_MAX 50 /* topics with a line of their own */

struct reporter {
    tr_report_fn report;
    void *ctx;
};

static void say(const struct reporter *to, enum tr_severity severity, enum tr_code code,
                const char *object, const char *message, const char *remedy)
{
    const struct tr_finding finding = {severity, code, object, message, remedy};
    to->report(to->ctx, &finding);
}

static void say_error(const struct reporter *to, const char *object, const struct tr_error *err)
{
    say(to, TR_ERROR_SEVERITY, err->code, object, err->message, err->hint);
}

static rd_kafka_topic_partition_list_t *all_splits(struct ksrc_source *source)
{
    uint32_t count = atomic_load(&source->split_count);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)count);
    for (uint32_t i = 0; i < count; i++)
        rd_kafka_topic_partition_list_add(list, source->splits[i]->topic,
                                          source->splits[i]->split.partition);
    return list;
}

/* Partitions of a topic stand together in the list. */
static void say_topics(const struct reporter *to, const rd_kafka_topic_partition_list_t *list,
                       const int64_t *lows, const int64_t *highs)
{
    char text[OBJECT_BYTES];
    int listed = 0;
    for (int i = 0; i < list->cnt;) {
        int first = i;
        long long messages = 0;
        for (; i < list->cnt && strcmp(list->elems[i].topic, list->elems[first].topic) == 0; i++)
            messages += highs[i] - lows[i];
        if (listed++ == LISTED_MAX) {
            say(to, TR_INFO, TR_E_NONE, "", "further topics are not listed", NULL);
            return;
        }
        (void)snprintf(text, sizeof text, "%d partition%s, %lld messages at most in the log",
                       i - first, i - first == 1 ? "" : "s", messages);
        say(to, TR_INFO, TR_E_NONE, list->elems[first].topic, text, NULL);
    }
}

/* Stored positions against the log. Which ones: the sinks' where they can be asked, else the
 * group's. */
static void say_positions(struct ksrc_source *source, const struct reporter *to,
                          rd_kafka_topic_partition_list_t *list, const int64_t *lows,
                          const int64_t *highs)
{
    struct tr_error err;
    struct tr_state marks;
    bool by_group = source->context->stored_marks == NULL;
    tr_state_init(&marks);
    if (by_group) {
        if (ksrc_startup_mode(source->options) != KSRC_GROUP_OFFSETS &&
            source->options->assignment != KSRC_GROUP)
            goto cleanup;
        rd_kafka_resp_err_t native =
            rd_kafka_committed(source->client, list, (int)source->options->connect_timeout_ms);
        if (native != RD_KAFKA_RESP_ERR_NO_ERROR) {
            (void)kafka_fail(&err, native, NULL, "asking for the offsets of group %s",
                             source->group);
            say_error(to, source->group, &err);
            goto cleanup;
        }
    } else if (source->context->stored_marks(source->context->engine, &marks, &err) != TR_OK) {
        say_error(to, "", &err);
        goto cleanup;
    }
    for (int i = 0; i < list->cnt; i++) {
        struct ksrc_split *split =
            ksrc_split_find(source, list->elems[i].topic, list->elems[i].partition);
        int64_t offset = by_group ? list->elems[i].offset : -1;
        if (offset < 0 && ksrc_mark_position(&marks, split, &offset, &err) != TR_OK)
            say_error(to, split->split.name, &err);
        else if (offset >= 0 && (offset < lows[i] || offset > highs[i])) {
            split->position = offset;
            (void)ksrc_fail_range(source, split, &err);
            say_error(to, split->split.name, &err);
        }
    }
cleanup:
    tr_state_free(&marks);
}

static void say_group(struct ksrc_source *source, const struct reporter *to)
{
    const struct rd_kafka_group_list *groups;
    char text[OBJECT_BYTES];
    rd_kafka_resp_err_t native = rd_kafka_list_groups(source->client, source->group, &groups,
                                                      (int)source->options->connect_timeout_ms);
    if (native != RD_KAFKA_RESP_ERR_NO_ERROR && native != RD_KAFKA_RESP_ERR__PARTIAL) {
        struct tr_error err;
        (void)kafka_fail(&err, native, NULL, "describing group %s", source->group);
        say(to, TR_WARNING, err.code, source->group, err.message,
            "Grant Describe and Read on the group, or name another by properties.group.id.");
        return;
    }
    int members = 0;
    for (int i = 0; i < groups->group_cnt; i++) {
        if (strcmp(groups->groups[i].group, source->group) == 0)
            members = groups->groups[i].member_cnt;
    }
    rd_kafka_group_list_destroy(groups);
    (void)snprintf(text, sizeof text, "the group has %d member%s", members,
                   members == 1 ? "" : "s");
    if (members > 0 && source->options->assignment == KSRC_ALL)
        say(to, TR_WARNING, TR_E_KAFKA_SOURCE_CONFIG, source->group,
            "consumers are members of this group: its offsets cannot be shown for this pipeline",
            "Give the pipeline a group of its own by properties.group.id, or set scan.assignment: "
            "group when these are its processes.");
    else
        say(to, TR_INFO, TR_E_NONE, source->group, text, NULL);
}

enum tr_status ksrc_preflight(struct ksrc_source *source, tr_report_fn report, void *report_ctx,
                              struct tr_error *err)
{
    const struct reporter to = {report, report_ctx};
    struct tr_error found;
    say(&to, TR_INFO, TR_E_NONE, "brokers", "the cluster answers", NULL);
    if (source->registry != NULL && ksrc_registry_check(source->registry, &found) != TR_OK)
        say_error(&to, "schema registry", &found);
    if (ksrc_discover(source, source->options->connect_timeout_ms, true, &found) != TR_OK) {
        say_error(&to, "", &found);
        return TR_OK;
    }
    rd_kafka_topic_partition_list_t *list = all_splits(source);
    if (list->cnt == 0)
        say(&to, TR_WARNING, TR_E_KAFKA_TOPIC_MISSING, source->options->topic_pattern,
            "no topic matches topic-pattern now",
            "Topics that come later are found by scan.topic-partition-discovery.interval.");
    int64_t *lows = calloc((size_t)list->cnt + 1, 2 * sizeof *lows);
    enum tr_status status =
        lows == NULL ? tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for offsets") : TR_OK;
    if (status == TR_OK && ksrc_ranges(source, list, lows, lows + list->cnt, &found) != TR_OK) {
        say_error(&to, "", &found);
    } else if (status == TR_OK) {
        say_topics(&to, list, lows, lows + list->cnt);
        say_positions(source, &to, list, lows, lows + list->cnt);
        say_group(source, &to);
    }
    free(lows);
    rd_kafka_topic_partition_list_destroy(list);
    return status;
}
