#include "event/state.h"

#include <stdlib.h>
#include <string.h>

void tr_state_init(struct tr_state *state) { *state = (struct tr_state){0}; }

void tr_state_clear(struct tr_state *state)
{
    for (size_t i = 0; i < state->count; i++) {
        free(state->items[i].key);
        free(state->items[i].value);
    }
    state->count = 0;
}

void tr_state_free(struct tr_state *state)
{
    tr_state_clear(state);
    free(state->items);
    tr_state_init(state);
}

static int compare(const char *key, const char *ptr, size_t len)
{
    int order = strncmp(key, ptr, len);
    if (order != 0)
        return order;
    return key[len] == '\0' ? 0 : 1;
}

static size_t lower_bound(const struct tr_state *state, const char *ptr, size_t len)
{
    size_t low = 0, high = state->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (compare(state->items[middle].key, ptr, len) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

const char *tr_state_get(const struct tr_state *state, const char *key)
{
    size_t len = strlen(key), at = lower_bound(state, key, len);
    if (at == state->count || compare(state->items[at].key, key, len) != 0)
        return NULL;
    return state->items[at].value;
}

size_t tr_state_seek(const struct tr_state *state, const char *prefix)
{
    return lower_bound(state, prefix, strlen(prefix));
}

bool tr_state_has_prefix(const struct tr_state *state, size_t index, const char *prefix)
{
    return index < state->count && strncmp(state->items[index].key, prefix, strlen(prefix)) == 0;
}

static void erase(struct tr_state *state, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++) {
        free(state->items[i].key);
        free(state->items[i].value);
    }
    memmove(state->items + from, state->items + to, (state->count - to) * sizeof *state->items);
    state->count -= to - from;
}

static bool key_is_valid(struct tr_slice key)
{
    if (key.len == 0 || key.len > TR_MARK_KEY_BYTES_MAX)
        return false;
    for (size_t i = 0; i < key.len; i++) {
        if (key.ptr[i] <= ' ' || key.ptr[i] > '~' || key.ptr[i] == '=')
            return false;
    }
    return true;
}

enum tr_status tr_state_apply(struct tr_state *state, struct tr_slice key, struct tr_slice value,
                              struct tr_error *err)
{
    if (!key_is_valid(key) || value.len > TR_MARK_VALUE_BYTES_MAX ||
        (value.len > 0 && (memchr(value.ptr, '\n', value.len) || memchr(value.ptr, 0, value.len))))
        return tr_fail(err, TR_E_INTERNAL, "a source gave a mark that cannot be stored");
    if (key.ptr[key.len - 1] == '*') {
        size_t from = lower_bound(state, key.ptr, key.len - 1), to = from;
        while (to < state->count && strncmp(state->items[to].key, key.ptr, key.len - 1) == 0)
            to++;
        if (to > from)
            erase(state, from, to);
        return TR_OK;
    }
    size_t at = lower_bound(state, key.ptr, key.len);
    bool found = at < state->count && compare(state->items[at].key, key.ptr, key.len) == 0;
    if (value.len == 0) {
        if (found)
            erase(state, at, at + 1);
        return TR_OK;
    }
    char *copy = strndup(value.ptr, value.len);
    if (copy == NULL)
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for a mark");
    if (found) {
        free(state->items[at].value);
        state->items[at].value = copy;
        return TR_OK;
    }
    if (state->count == state->capacity) {
        size_t capacity = state->capacity == 0 ? 16 : state->capacity * 2;
        struct tr_state_item *items = realloc(state->items, capacity * sizeof *items);
        if (items == NULL) {
            free(copy);
            return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for marks");
        }
        state->items = items;
        state->capacity = capacity;
    }
    char *key_copy = strndup(key.ptr, key.len);
    if (key_copy == NULL) {
        free(copy);
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for a mark");
    }
    memmove(state->items + at + 1, state->items + at, (state->count - at) * sizeof *state->items);
    state->items[at] = (struct tr_state_item){key_copy, copy};
    state->count++;
    return TR_OK;
}

enum tr_status tr_state_set(struct tr_state *state, const char *key, const char *value,
                            struct tr_error *err)
{
    return tr_state_apply(state, (struct tr_slice){key, strlen(key)},
                          (struct tr_slice){value, strlen(value)}, err);
}

enum tr_status tr_state_copy(struct tr_state *to, const struct tr_state *from, struct tr_error *err)
{
    tr_state_clear(to);
    for (size_t i = 0; i < from->count; i++) {
        if (tr_state_set(to, from->items[i].key, from->items[i].value, err) != TR_OK)
            return TR_FAIL;
    }
    return TR_OK;
}
