/* The merged marks of a pipeline: a small sorted map from key to value. What a checkpoint holds and
 * what a source starts from. Not thread-safe. */
#ifndef TR_EVENT_STATE_H
#define TR_EVENT_STATE_H

#include "tailrace/event.h"

struct tr_state_item {
    char *key;   /* NUL-terminated */
    char *value; /* NUL-terminated, never empty */
};
struct tr_state {
    struct tr_state_item *items; /* sorted by key (strcmp) */
    size_t count, capacity;
};

void tr_state_init(struct tr_state *state);
void tr_state_free(struct tr_state *state);
void tr_state_clear(struct tr_state *state);
/* Value or NULL. Valid until the next change of the state. */
const char *tr_state_get(const struct tr_state *state, const char *key);
/* Applies one mark (empty value deletes; trailing '*' deletes by prefix). Refuses keys and values that
 * break the rules of struct tr_mark: INTERNAL. */
enum tr_status tr_state_apply(struct tr_state *state, struct tr_slice key, struct tr_slice value,
                              struct tr_error *err) TR_WARN_UNUSED;
enum tr_status tr_state_set(struct tr_state *state, const char *key, const char *value,
                            struct tr_error *err) TR_WARN_UNUSED;
enum tr_status tr_state_copy(struct tr_state *to, const struct tr_state *from,
                             struct tr_error *err) TR_WARN_UNUSED;
/* Index of the first item whose key is >= prefix; iterate while tr_state_has_prefix. */
size_t tr_state_seek(const struct tr_state *state, const char *prefix);
bool tr_state_has_prefix(const struct tr_state *state, size_t index, const char *prefix);

#endif
