#include "pipeline/watermark.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/outbuf.h"

#define KEY_BYTES (TR_MARK_KEY_BYTES_MAX + 1)

void tr_watermark_init(struct tr_watermark *watermark, int64_t delay_us, int64_t idle_us)
{
    *watermark = (struct tr_watermark){
        .delay_us = delay_us, .idle_us = idle_us, .watermark_us = TR_TIME_NONE};
    tr_state_init(&watermark->start);
}

void tr_watermark_free(struct tr_watermark *watermark)
{
    for (uint32_t i = 0; i < watermark->split_count; i++) {
        free(watermark->splits[i].name);
        tr_ranges_free(&watermark->splits[i].late);
    }
    free(watermark->splits);
    tr_state_free(&watermark->start);
    tr_outbuf_free(&watermark->text);
    *watermark = (struct tr_watermark){0};
}

static int64_t stored_number(const struct tr_state *state, const char *prefix, const char *name,
                             int64_t otherwise)
{
    char key[KEY_BYTES];
    (void)snprintf(key, sizeof key, "%s%s", prefix, name);
    const char *text = tr_state_get(state, key);
    return text == NULL ? otherwise : strtoll(text, NULL, 10);
}

enum tr_status tr_watermark_restore(struct tr_watermark *watermark, const struct tr_state *marks,
                                    struct tr_error *err)
{
    watermark->watermark_us = stored_number(marks, TR_MARK_WATERMARK, "", TR_TIME_NONE);
    return tr_state_copy(&watermark->start, marks, err);
}

static enum tr_status reserve(struct tr_watermark *watermark, uint32_t index, struct tr_error *err)
{
    if (index < watermark->split_capacity)
        return TR_OK;
    if (index >= TR_SPLITS_MAX)
        return tr_fail(err, TR_E_INTERNAL, "split %u is beyond the limit", index);
    uint32_t capacity = watermark->split_capacity == 0 ? 16 : watermark->split_capacity;
    while (capacity <= index)
        capacity *= 2;
    struct tr_watermark_split *splits =
        realloc(watermark->splits, (size_t)capacity * sizeof *splits);
    if (splits == NULL)
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for the splits' event times");
    watermark->splits = splits;
    watermark->split_capacity = capacity;
    return TR_OK;
}

enum tr_status tr_watermark_split(struct tr_watermark *watermark, uint32_t index, const char *name,
                                  int64_t now_us, struct tr_error *err)
{
    char key[KEY_BYTES];
    if (index < watermark->split_count && watermark->splits[index].name != NULL) {
        struct tr_watermark_split *known = &watermark->splits[index];
        if (!known->gone)
            return TR_OK;
        known->gone = false; /* it came back */
        known->heard_mono_us = now_us;
        watermark->behind += known->next < known->covered;
        return TR_OK;
    }
    if (reserve(watermark, index, err) != TR_OK)
        return TR_FAIL;
    for (; watermark->split_count <= index; watermark->split_count++)
        watermark->splits[watermark->split_count] =
            (struct tr_watermark_split){.newest_us = TR_TIME_NONE, .gone = true};
    struct tr_watermark_split *split = &watermark->splits[index];
    split->name = strdup(name);
    if (split->name == NULL)
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for the splits' event times");
    split->gone = false;
    split->heard_mono_us = now_us;
    split->newest_us = stored_number(&watermark->start, TR_MARK_NEWEST, name, TR_TIME_NONE);
    split->covered = stored_number(&watermark->start, TR_MARK_COVERED, name, 0);
    split->next = stored_number(&watermark->start, TR_MARK_SPLIT, name, 0);
    if (split->next < split->covered)
        watermark->behind++;
    (void)snprintf(key, sizeof key, "%s%s", TR_MARK_LATE, name);
    const char *late = tr_state_get(&watermark->start, key);
    return late == NULL ? TR_OK : tr_ranges_parse(&split->late, late, err);
}

void tr_watermark_split_gone(struct tr_watermark *watermark, uint32_t index)
{
    if (index >= watermark->split_count || watermark->splits[index].gone)
        return;
    struct tr_watermark_split *split = &watermark->splits[index];
    split->gone = true; /* and is not waited for */
    watermark->behind -= split->next < split->covered;
}

static void raise_to(struct tr_watermark *watermark, int64_t lowest_us)
{
    if (lowest_us == TR_TIME_NONE)
        return;
    int64_t risen_us = lowest_us - watermark->delay_us;
    if (watermark->watermark_us == TR_TIME_NONE || risen_us > watermark->watermark_us) {
        watermark->watermark_us = risen_us;
        watermark->watermark_changed = true;
    }
}

/* Smallest of the newest times. A split that is not idle and has brought nothing holds everything;
 * when all are idle, nobody goes on and the watermark stays. */
static int64_t lowest(const struct tr_watermark *watermark, int64_t now_us)
{
    int64_t lowest_us = TR_TIME_NONE;
    bool any_alive = false;
    for (uint32_t i = 0; i < watermark->split_count; i++) {
        const struct tr_watermark_split *split = &watermark->splits[i];
        if (split->gone)
            continue;
        if (watermark->idle_us != 0 && now_us - split->heard_mono_us >= watermark->idle_us)
            continue;
        any_alive = true;
        if (split->newest_us == TR_TIME_NONE)
            return TR_TIME_NONE;
        if (lowest_us == TR_TIME_NONE || split->newest_us < lowest_us)
            lowest_us = split->newest_us;
    }
    return any_alive ? lowest_us : TR_TIME_NONE;
}

void tr_watermark_tick(struct tr_watermark *watermark, int64_t now_us)
{
    raise_to(watermark, lowest(watermark, now_us));
}

static void move_on(struct tr_watermark *watermark, struct tr_watermark_split *split, int64_t next)
{
    bool was_behind = split->next < split->covered;
    if (next > split->next)
        split->next = next;
    if (was_behind && !split->gone && split->next >= split->covered)
        watermark->behind--;
}

void tr_watermark_read(struct tr_watermark *watermark, struct tr_slice name, int64_t next)
{
    for (uint32_t i = 0; i < watermark->split_count && watermark->behind > 0; i++) {
        struct tr_watermark_split *split = &watermark->splits[i];
        if (split->name != NULL && strlen(split->name) == name.len &&
            memcmp(split->name, name.ptr, name.len) == 0)
            move_on(watermark, split, next);
    }
}

enum tr_status tr_watermark_event(struct tr_watermark *watermark, uint32_t index, int64_t position,
                                  int64_t next, int64_t time_us, int64_t now_us, bool *late,
                                  struct tr_error *err)
{
    struct tr_watermark_split *split = &watermark->splits[index];
    split->heard_mono_us = now_us;
    if (position < split->covered)
        *late = tr_ranges_has(&split->late, position);
    else
        *late = watermark->watermark_us != TR_TIME_NONE && time_us < watermark->watermark_us;
    if (*late && watermark->tracks_late && position >= split->covered) {
        enum tr_status status = tr_ranges_add(&split->late, position, err);
        if (status != TR_OK)
            return status;
        split->late_changed = true;
    }
    move_on(watermark, split, next);
    if (*late || (split->newest_us != TR_TIME_NONE && time_us <= split->newest_us))
        return TR_OK;
    int64_t before_us = split->newest_us;
    split->newest_us = time_us;
    split->newest_changed = true;
    /* only the split that held the watermark can let it rise */
    if (before_us == TR_TIME_NONE || watermark->watermark_us == TR_TIME_NONE ||
        before_us - watermark->delay_us <= watermark->watermark_us)
        tr_watermark_tick(watermark, now_us);
    return TR_OK;
}

void tr_watermark_acked(struct tr_watermark *watermark, const char *name, int64_t position)
{
    for (uint32_t i = 0; i < watermark->split_count; i++) {
        struct tr_watermark_split *split = &watermark->splits[i];
        if (split->name != NULL && strcmp(split->name, name) == 0) {
            if (tr_ranges_trim(&split->late, position))
                split->late_changed = true;
            return;
        }
    }
}

bool tr_watermark_replays(const struct tr_watermark *watermark)
{
    return watermark->behind > 0;
}

uint32_t tr_watermark_marks_max(const struct tr_watermark *watermark)
{
    return 2 * watermark->split_count + 1;
}

static enum tr_status put(struct tr_batch *batch, struct tr_mark *mark, const char *prefix,
                          const char *name, const char *value, size_t value_len,
                          struct tr_error *err)
{
    char key[KEY_BYTES];
    int len = snprintf(key, sizeof key, "%s%s", prefix, name);
    char *key_copy = len < (int)sizeof key ? tr_batch_copy(batch, key, (size_t)len) : NULL;
    char *value_copy = tr_batch_copy(batch, value, value_len);
    if (key_copy == NULL || value_copy == NULL)
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for the watermark's position");
    *mark = (struct tr_mark){{key_copy, (size_t)len}, {value_copy, value_len}};
    return TR_OK;
}

static enum tr_status put_time(struct tr_batch *batch, struct tr_mark *mark, const char *prefix,
                               const char *name, int64_t time_us, struct tr_error *err)
{
    char text[24];
    int len = snprintf(text, sizeof text, "%" PRId64, time_us);
    return put(batch, mark, prefix, name, text, (size_t)len, err);
}

enum tr_status tr_watermark_marks(struct tr_watermark *watermark, struct tr_batch *batch,
                                  struct tr_mark *marks, uint32_t marks_max, uint32_t *count,
                                  struct tr_error *err)
{
    *count = 0;
    if (marks_max < tr_watermark_marks_max(watermark))
        return tr_fail(err, TR_E_INTERNAL, "no room for the watermark's marks");
    if (watermark->watermark_changed && !watermark->is_shared &&
        put_time(batch, &marks[(*count)++], TR_MARK_WATERMARK, "", watermark->watermark_us, err) !=
            TR_OK)
        return TR_FAIL;
    watermark->watermark_changed = false;
    for (uint32_t i = 0; i < watermark->split_count; i++) {
        struct tr_watermark_split *split = &watermark->splits[i];
        if (split->newest_changed && put_time(batch, &marks[(*count)++], TR_MARK_NEWEST,
                                              split->name, split->newest_us, err) != TR_OK)
            return TR_FAIL;
        split->newest_changed = false;
        if (!split->late_changed)
            continue;
        tr_outbuf_clear(&watermark->text);
        tr_ranges_print(&split->late, &watermark->text);
        const char *text = tr_outbuf_cstr(&watermark->text);
        if (watermark->text.failed)
            return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for the list of late events");
        if (put(batch, &marks[(*count)++], TR_MARK_LATE, split->name, text, watermark->text.len,
                err) != TR_OK)
            return TR_FAIL;
        split->late_changed = false;
    }
    return TR_OK;
}
