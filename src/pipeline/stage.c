#include "pipeline/stage.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/metric.h"
#include "event/dead_letter.h"
#include "event/time_text.h"

#define LOG_SPLIT "log" /* the one split of a source without messages */
#define NO_COLUMN (TR_TIME_NONE + 1)

struct tr_metric tr_metric_dead_letters = {.name = "tailrace_dead_letters_total",
                                           .unit = "events",
                                           .help = "Events and messages sent to the dead letters.",
                                           .kind = TR_COUNTER};
struct tr_metric tr_metric_late = {.name = "tailrace_late_events_total",
                                   .unit = "events",
                                   .help = "Events with an event time below the watermark.",
                                   .kind = TR_COUNTER};
struct tr_metric tr_metric_late_dropped = {.name = "tailrace_late_events_dropped_total",
                                           .unit = "events",
                                           .help = "Late events that were left out (late: drop).",
                                           .kind = TR_COUNTER};

static bool has_event_time(const struct tr_stage *stage)
{
    return stage->file->event_time.column != NULL;
}

enum tr_status tr_stage_open(struct tr_stage *stage, const struct tr_pipeline_file *file,
                             const struct tr_source_ops *source_ops, void *source, bool is_stream,
                             struct tr_error *err)
{
    const struct tr_event_time_options *time = &file->event_time;
    *stage = (struct tr_stage){.file = file,
                               .source_ops = source_ops,
                               .source = source,
                               .is_stream = is_stream,
                               .has_dead_letters = file->sinks[file->sink_count - 1].dead_letters};
    tr_watermark_init(&stage->watermark, time->delay_ms * 1000, time->idle_ms * 1000);
    if (file->transform_count == 0 && !(source_ops->caps & TR_SRC_SPLITS))
        return TR_OK;
    return tr_transform_new(file->transforms, file->transform_count, file->options.local_time_zone,
                            &stage->transform, err);
}

void tr_stage_close(struct tr_stage *stage)
{
    tr_transform_free(stage->transform);
    tr_watermark_free(&stage->watermark);
    for (unsigned i = 0; i < TR_STAGE_TABLES_MAX; i++)
        tr_table_unref(stage->times[i].table);
    free(stage->marks);
    *stage = (struct tr_stage){0};
}

/* ---- the event-time column ------------------------------------------------------------------ */

static int time_column(struct tr_stage *stage, const struct tr_table *table)
{
    unsigned slot = (unsigned)(((uintptr_t)table >> 4) % TR_STAGE_TABLES_MAX);
    if (stage->times[slot].table != table) {
        tr_table_unref(stage->times[slot].table);
        stage->times[slot].table = tr_table_ref(table);
        stage->times[slot].column = tr_table_column(table, stage->file->event_time.column);
    }
    return stage->times[slot].column;
}

static bool is_row(const struct tr_event *event)
{
    switch ((enum tr_op)event->op) {
    case TR_OP_CREATE:
    case TR_OP_UPDATE:
    case TR_OP_DELETE:
    case TR_OP_READ:
        return !tr_is_dead_letter(event);
    default:
        return false;
    }
}

/* The time of one row: of its after image, of a delete its before image. */
static int64_t time_of(const struct tr_event *event, int column)
{
    const struct tr_cell *cells = event->after != NULL ? event->after : event->before;
    int64_t time_us;
    if (cells == NULL)
        return TR_TIME_NONE;
    const struct tr_cell *cell = &cells[column];
    if (cell->state == TR_CELL_UNCHANGED && event->before != NULL)
        cell = &event->before[column];
    if (cell->state == TR_CELL_UNCHANGED || cell->state == TR_CELL_ABSENT)
        return event->ts_us; /* not sent: a delete by key alone; when it was committed is known */
    if (cell->state != TR_CELL_TEXT ||
        !tr_time_text_parse(event->table->columns[column].type,
                       (struct tr_slice){cell->ptr, cell->len}, &time_us))
        return TR_TIME_NONE;
    return time_us;
}

/* Before the transforms: the column may be one that the projection leaves out, or hidden. After them: the
 * projected column counts, where there is one. */
static void read_times(struct tr_stage *stage, struct tr_batch *batch, bool first)
{
    for (uint32_t i = 0; i < batch->event_count; i++) {
        struct tr_event *event = &batch->events[i];
        if (!is_row(event))
            continue;
        if (first)
            event->event_time_us = NO_COLUMN;
        int column = time_column(stage, event->table);
        if (column >= 0)
            event->event_time_us = time_of(event, column);
    }
}

/* ---- dead letters --------------------------------------------------------------------------- */

static enum tr_status bury(struct tr_stage *stage, struct tr_batch *batch, struct tr_event *event,
                           enum tr_dead_reason reason, const struct tr_error *cause,
                           struct tr_error *err)
{
    const struct tr_dead_letter letter = {.reason = reason,
                                          .message = event->message,
                                          .table = event->table,
                                          .error = cause,
                                          .event_time_us = event->event_time_us,
                                          .watermark_us = stage->watermark.watermark_us};
    return tr_dead_letter_set(batch, event, &letter, err);
}

static enum tr_status transform_failed(void *context, struct tr_batch *batch, uint32_t index,
                                       struct tr_error *err)
{
    struct tr_stage *stage = context;
    struct tr_error cause = *err;
    if (!stage->has_dead_letters) {
        (void)tr_hint(err, "%s%sOr send such rows elsewhere: dead-letter: {type: file, path: dead}.",
                      cause.hint, cause.hint[0] != '\0' ? " " : "");
        return TR_FAIL;
    }
    batch->events[index].event_time_us = TR_TIME_NONE;
    return bury(stage, batch, &batch->events[index], TR_DEAD_TRANSFORM, &cause, err);
}

static enum tr_status no_time(struct tr_stage *stage, struct tr_batch *batch,
                              struct tr_event *event, struct tr_error *err)
{
    char name[300];
    const char *column = stage->file->event_time.column;
    if (event->event_time_us == NO_COLUMN) {
        (void)tr_fail(err, TR_E_EVENT_TIME_COLUMN, "%s: table %s has no column \"%s\"",
                      stage->file->event_time.where,
                      tr_table_id_format(&event->table->id, name, sizeof name), column);
        return tr_hint(err, "Name one of its columns in event-time.column, or add it by a "
                            "transform's projection.");
    }
    struct tr_error cause;
    (void)tr_fail(&cause, TR_E_EVENT_TIME_VALUE, "%s of table %s is NULL or not a time", column,
                  tr_table_id_format(&event->table->id, name, sizeof name));
    (void)tr_hint(&cause, "event-time.column takes timestamps, dates, ISO-8601 text and "
                          "milliseconds. Send such rows elsewhere: dead-letter: {type: file, "
                          "path: dead}.");
    if (stage->has_dead_letters)
        return bury(stage, batch, event, TR_DEAD_NO_TIME, &cause, err);
    *err = cause;
    return TR_FAIL;
}

/* ---- late events ---------------------------------------------------------------------------- */

static enum tr_status know_split(struct tr_stage *stage, const struct tr_event *event,
                                 uint32_t *index, int64_t now_us, struct tr_error *err)
{
    const struct tr_split *split = event->message == NULL ? NULL : event->message->split;
    *index = split == NULL ? 0 : split->index;
    struct tr_watermark *watermark = &stage->watermark;
    if (*index < watermark->split_count && watermark->splits[*index].name != NULL &&
        !watermark->splits[*index].gone)
        return TR_OK;
    return tr_watermark_split(watermark, *index, split == NULL ? LOG_SPLIT : split->name, now_us,
                              err);
}

/* Whether a message is late is known by its position: its rows are judged together, by the earliest. */
static int64_t message_time(struct tr_stage *stage, const struct tr_batch *batch,
                            const struct tr_event *event)
{
    const struct tr_event *end = batch->events + batch->event_count;
    if (event->message == NULL)
        return event->event_time_us;
    if (event->message == stage->judged)
        return stage->judged_us;
    stage->judged = event->message;
    stage->judged_us = event->event_time_us;
    for (const struct tr_event *other = event + 1;
         other < end && other->message == event->message; other++) {
        if (is_row(other) && other->event_time_us > NO_COLUMN &&
            other->event_time_us < stage->judged_us)
            stage->judged_us = other->event_time_us;
    }
    return stage->judged_us;
}

/* What becomes of it: *keep false takes it out of the batch. */
static enum tr_status judge(struct tr_stage *stage, struct tr_batch *batch, struct tr_event *event,
                            int64_t now_us, bool *keep, struct tr_error *err)
{
    bool late;
    uint32_t index;
    if (!is_row(event))
        return TR_OK;
    if (event->event_time_us == TR_TIME_NONE || event->event_time_us == NO_COLUMN)
        return no_time(stage, batch, event, err);
    if (!stage->is_stream || (event->flags & TR_EV_SNAPSHOT) || event->op == TR_OP_READ)
        return TR_OK; /* rows of a copy come in any order */
    if (know_split(stage, event, &index, now_us, err) != TR_OK)
        return TR_FAIL;
    int64_t position = event->message == NULL ? 0 : event->message->position;
    int64_t next = event->message == NULL ? 0 : event->message->next;
    enum tr_status status = tr_watermark_event(&stage->watermark, index, position, next,
                                               message_time(stage, batch, event), now_us, &late,
                                               err);
    if (status != TR_OK || !late)
        return status;
    tr_metric_add(&tr_metric_late, 1);
    if (stage->file->event_time.late == TR_LATE_DEAD_LETTER)
        return bury(stage, batch, event, TR_DEAD_LATE, NULL, err);
    if (stage->file->event_time.late == TR_LATE_DROP) {
        tr_metric_add(&tr_metric_late_dropped, 1);
        *keep = false;
    }
    return TR_OK;
}

/* Splits whose last messages were never judged are not behind any more either. */
static void read_positions(struct tr_stage *stage, const struct tr_event *commit)
{
    size_t prefix = strlen(TR_MARK_SPLIT);
    for (uint32_t i = 0; i < commit->mark_count && tr_watermark_replays(&stage->watermark); i++) {
        struct tr_slice key = commit->marks[i].key, value = commit->marks[i].value;
        if (key.len > prefix && memcmp(key.ptr, TR_MARK_SPLIT, prefix) == 0 && value.len > 0)
            tr_watermark_read(&stage->watermark,
                              (struct tr_slice){key.ptr + prefix, key.len - prefix},
                              strtoll(value.ptr, NULL, 10));
    }
}

/* A COMMIT carries the watermark's marks, and the watermark itself in event_time_us. */
static enum tr_status stamp(struct tr_stage *stage, struct tr_batch *batch, struct tr_event *commit,
                            struct tr_error *err)
{
    uint32_t extra, most = tr_watermark_marks_max(&stage->watermark);
    read_positions(stage, commit);
    if (most > stage->marks_capacity) {
        struct tr_mark *marks = realloc(stage->marks, most * sizeof *marks);
        if (marks == NULL)
            return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for the watermark's position");
        stage->marks = marks;
        stage->marks_capacity = most;
    }
    commit->event_time_us = tr_watermark_replays(&stage->watermark)
                                ? TR_TIME_NONE
                                : stage->watermark.watermark_us;
    if (tr_watermark_marks(&stage->watermark, batch, stage->marks, most, &extra, err) != TR_OK)
        return TR_FAIL;
    if (extra == 0)
        return TR_OK;
    struct tr_mark *merged = tr_arena_alloc(
        &batch->arena, (commit->mark_count + extra) * sizeof *merged, _Alignof(struct tr_mark));
    if (merged == NULL)
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for the watermark's position");
    if (commit->mark_count > 0)
        memcpy(merged, commit->marks, commit->mark_count * sizeof *merged);
    memcpy(merged + commit->mark_count, stage->marks, extra * sizeof *merged);
    commit->marks = merged;
    commit->mark_count += extra;
    return TR_OK;
}

static enum tr_status know_splits(struct tr_stage *stage, int64_t now_us, struct tr_error *err)
{
    const struct tr_source_ops *ops = stage->source_ops;
    if (!(ops->caps & TR_SRC_SPLITS) || ops->split_count == NULL)
        return TR_OK;
    uint32_t count = ops->split_count(stage->source);
    for (uint32_t i = 0; i < count; i++) {
        const struct tr_split *split = ops->split(stage->source, i);
        if (split == NULL)
            tr_watermark_split_gone(&stage->watermark, i);
        else if (tr_watermark_split(&stage->watermark, i, split->name, now_us, err) != TR_OK)
            return TR_FAIL;
    }
    return TR_OK;
}

static enum tr_status judge_from(struct tr_stage *stage, struct tr_batch *batch, uint32_t *at,
                                 struct tr_error *err)
{
    int64_t now_us = tr_clock_mono_us();
    uint32_t kept = *at;
    enum tr_status status = TR_OK;
    for (; *at < batch->event_count; ++*at) {
        struct tr_event *event = &batch->events[*at];
        bool keep = true;
        status = event->op == TR_OP_COMMIT ? stamp(stage, batch, event, err)
                                           : judge(stage, batch, event, now_us, &keep, err);
        if (status != TR_OK)
            break;
        if (keep && kept != *at)
            batch->events[kept] = *event;
        kept += keep;
    }
    /* close the gap that left-out events made */
    if (kept != *at) {
        memmove(&batch->events[kept], &batch->events[*at],
                (batch->event_count - *at) * sizeof *batch->events);
        batch->event_count -= *at - kept;
        *at = kept;
    }
    return status;
}

static void count_letters(const struct tr_stage *stage, const struct tr_batch *batch)
{
    int64_t letters = 0;
    if (!stage->has_dead_letters)
        return;
    for (uint32_t i = 0; i < batch->event_count; i++)
        letters += tr_is_dead_letter(&batch->events[i]);
    if (letters > 0)
        tr_metric_add(&tr_metric_dead_letters, letters);
}

enum tr_status tr_stage_batch(struct tr_stage *stage, struct tr_batch *batch, uint32_t *at,
                              struct tr_error *err)
{
    bool timed = has_event_time(stage);
    if (!stage->is_prepared) {
        int64_t now_us = tr_clock_mono_us();
        if (timed && stage->is_stream && know_splits(stage, now_us, err) != TR_OK)
            return TR_FAIL;
        /* also while others keep the reader busy: an idle split is not waited for */
        if (timed && stage->is_stream && !tr_watermark_replays(&stage->watermark))
            tr_watermark_tick(&stage->watermark, now_us);
        if (timed)
            read_times(stage, batch, true);
        if (stage->transform != NULL &&
            tr_transform_batch(stage->transform, batch, tr_clock_wall_us(), transform_failed, stage,
                               err) != TR_OK)
            return TR_FAIL;
        if (timed && stage->transform != NULL)
            read_times(stage, batch, false);
    }
    if (timed) {
        if (*at == 0)
            stage->judged = NULL; /* another batch's may have been at the same address */
        stage->is_prepared = true; /* TR_AGAIN may come before the first is judged */
        enum tr_status status = judge_from(stage, batch, at, err);
        if (status != TR_OK)
            return status;
        stage->is_prepared = false;
    }
    count_letters(stage, batch);
    return TR_OK;
}

enum tr_status tr_stage_idle(struct tr_stage *stage, struct tr_batch *batch, bool end,
                             struct tr_error *err)
{
    if (!has_event_time(stage) || !stage->is_stream)
        return TR_OK;
    int64_t now_us = tr_clock_mono_us();
    if (know_splits(stage, now_us, err) != TR_OK)
        return TR_FAIL;
    if (!tr_watermark_replays(&stage->watermark))
        tr_watermark_tick(&stage->watermark, now_us);
    if (!end && !stage->watermark.watermark_changed)
        return TR_OK;
    struct tr_event *commit;
    if (tr_batch_commit(batch, NULL, 0, &commit, err) != TR_OK)
        return TR_FAIL;
    commit->flags |= TR_EV_IDLE;
    if (end)
        commit->flags |= TR_EV_END_OF_INPUT;
    return stamp(stage, batch, commit, err);
}
