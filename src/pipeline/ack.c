/* The ack frontier: which marks are true because everything before them is durable everywhere. */
#include <stdlib.h>
#include <string.h>

#include "pipeline/engine.h"

void tr_ack_record_free(struct tr_ack_record *record)
{
    if (record == NULL)
        return;
    for (uint32_t i = 0; i < record->mark_count; i++) {
        free(record->marks[i].key);
        free(record->marks[i].value);
    }
    free(record->marks);
    (void)pthread_mutex_destroy(&record->lock);
    free(record);
}

/* A later value of a key replaces the earlier one, unless a prefix deletion stands between. */
static struct tr_ack_mark *find(struct tr_ack_record *record, struct tr_slice key)
{
    for (uint32_t i = record->mark_count; i-- > 0;) {
        const char *other = record->marks[i].key;
        size_t len = strlen(other);
        if (len == key.len && memcmp(other, key.ptr, len) == 0)
            return &record->marks[i];
        if (other[len - 1] == '*')
            return NULL;
    }
    return NULL;
}

static enum tr_status append(struct tr_ack_record *record, const struct tr_mark *mark,
                             struct tr_error *err)
{
    if (record->mark_count == record->mark_capacity) {
        uint32_t capacity = record->mark_capacity == 0 ? 4 : record->mark_capacity * 2;
        struct tr_ack_mark *marks = realloc(record->marks, capacity * sizeof *marks);
        if (marks == NULL)
            return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for marks");
        record->marks = marks;
        record->mark_capacity = capacity;
    }
    char *value = strndup(mark->value.ptr == NULL ? "" : mark->value.ptr, mark->value.len);
    char *key = strndup(mark->key.ptr, mark->key.len);
    if (key == NULL || value == NULL) {
        free(key);
        free(value);
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for a mark");
    }
    record->marks[record->mark_count++] = (struct tr_ack_mark){key, value};
    return TR_OK;
}

static enum tr_status add(struct tr_ack_record *record, const struct tr_mark *mark,
                          struct tr_error *err)
{
    bool is_prefix = mark->key.len > 0 && mark->key.ptr[mark->key.len - 1] == '*';
    struct tr_ack_mark *slot = is_prefix ? NULL : find(record, mark->key);
    if (slot == NULL)
        return append(record, mark, err);
    char *value = strndup(mark->value.ptr == NULL ? "" : mark->value.ptr, mark->value.len);
    if (value == NULL)
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for a mark");
    free(slot->value);
    slot->value = value;
    return TR_OK;
}

/* Within one batch only the last commit of a run that repeats the same keys matters; a run of many
 * small transactions is therefore walked from its end, and stops at the first commit that adds
 * nothing new. Commits that carry other keys (chunks, schemas) are few. */
static bool same_keys(const struct tr_event *a, const struct tr_event *b)
{
    if (a->mark_count != b->mark_count)
        return false;
    for (uint32_t i = 0; i < a->mark_count; i++) {
        struct tr_slice x = a->marks[i].key, y = b->marks[i].key;
        if (x.len != y.len || memcmp(x.ptr, y.ptr, x.len) != 0 || x.ptr[x.len - 1] == '*')
            return false;
    }
    return true;
}

enum tr_status tr_ack_record_new(const struct tr_batch *batch, uint32_t branch_count,
                                 struct tr_ack_record **out, struct tr_error *err)
{
    const struct tr_event *commit = NULL;
    struct tr_ack_record *record = NULL;
    *out = NULL;
    for (uint32_t i = 0; i < batch->event_count; i++) {
        const struct tr_event *event = &batch->events[i];
        if (event->op != TR_OP_COMMIT)
            continue;
        if (record == NULL) {
            record = calloc(1, sizeof *record);
            if (record == NULL)
                return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for an acknowledgement");
            atomic_init(&record->pending, branch_count);
            (void)pthread_mutex_init(&record->lock, NULL);
            record->idle = true;
        }
        if (!(event->flags & TR_EV_IDLE)) {
            record->idle = false;
            record->commit_ts_us = event->ts_us;
            record->recv_ts_us = event->recv_ts_us;
        }
        if (commit != NULL && !same_keys(commit, event)) {
            for (uint32_t k = 0; k < commit->mark_count; k++) {
                if (add(record, &commit->marks[k], err) != TR_OK)
                    goto fail;
            }
        }
        commit = event;
    }
    for (uint32_t k = 0; commit != NULL && k < commit->mark_count; k++) {
        if (add(record, &commit->marks[k], err) != TR_OK)
            goto fail;
    }
    *out = record;
    return TR_OK;
fail:
    tr_ack_record_free(record);
    return TR_FAIL;
}

enum tr_status tr_ack_record_add(struct tr_ack_record *record, const struct tr_mark *marks,
                                 uint32_t mark_count, struct tr_error *err)
{
    enum tr_status status = TR_OK;
    (void)pthread_mutex_lock(&record->lock); /* they may be many: appended, the last of a key counts */
    for (uint32_t i = 0; i < mark_count && status == TR_OK; i++)
        status = append(record, &marks[i], err);
    (void)pthread_mutex_unlock(&record->lock);
    return status;
}

void tr_ack_append(struct tr_ack_list *list, struct tr_ack_record *record)
{
    (void)pthread_mutex_lock(&list->lock);
    if (list->last == NULL)
        list->first = record;
    else
        list->last->next = record;
    list->last = record;
    (void)pthread_mutex_unlock(&list->lock);
}

static struct tr_ack_record *take_finished(struct tr_ack_list *list)
{
    (void)pthread_mutex_lock(&list->lock);
    struct tr_ack_record *record = list->first;
    if (record != NULL && atomic_load(&record->pending) == 0) {
        list->first = record->next;
        if (list->first == NULL)
            list->last = NULL;
    } else {
        record = NULL;
    }
    (void)pthread_mutex_unlock(&list->lock);
    return record;
}

enum tr_status tr_ack_advance(struct tr_ack_list *list, struct tr_state *state, unsigned *count,
                              int64_t *commit_ts_us, int64_t *recv_ts_us, struct tr_error *err)
{
    struct tr_ack_record *record;
    while ((record = take_finished(list)) != NULL) {
        enum tr_status status = TR_OK;
        for (uint32_t i = 0; i < record->mark_count && status == TR_OK; i++) {
            const struct tr_ack_mark *mark = &record->marks[i];
            status = tr_state_apply(state, tr_slice_of(mark->key), tr_slice_of(mark->value), err);
        }
        if (!record->idle) {
            *commit_ts_us = record->commit_ts_us;
            *recv_ts_us = record->recv_ts_us;
        }
        tr_ack_record_free(record);
        if (status != TR_OK)
            return status;
        ++*count;
    }
    return TR_OK;
}

bool tr_ack_empty(struct tr_ack_list *list)
{
    (void)pthread_mutex_lock(&list->lock);
    bool empty = list->first == NULL;
    (void)pthread_mutex_unlock(&list->lock);
    return empty;
}

void tr_ack_list_clear(struct tr_ack_list *list)
{
    while (list->first != NULL) {
        struct tr_ack_record *record = list->first;
        list->first = record->next;
        tr_ack_record_free(record);
    }
    list->last = NULL;
}
