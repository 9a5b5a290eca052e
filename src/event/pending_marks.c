#include "event/pending_marks.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "tailrace/message.h"

#define MANY_MARKS 4096u
#define MANY_BYTES (8u << 20)
#define KEEP_BYTES (64u << 10) /* of a value's buffer, when it is cleared */
#define SLOTS_MIN 128u

static enum tr_status no_memory(struct tr_error *err)
{
    return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for marks");
}

/* ---- merging -------------------------------------------------------------------------------- */

void tr_pending_marks_free(struct tr_pending_marks *marks)
{
    for (size_t i = 0; i < marks->capacity; i++) {
        tr_outbuf_free(&marks->items[i].value);
        tr_outbuf_free(&marks->items[i].claim);
    }
    free(marks->items);
    free(marks->slots);
    *marks = (struct tr_pending_marks){0};
}

static void forget_slots(struct tr_pending_marks *marks)
{
    if (marks->slots != NULL)
        memset(marks->slots, 0, marks->slot_count * sizeof *marks->slots);
}

void tr_pending_marks_clear(struct tr_pending_marks *marks)
{
    for (size_t i = 0; i < marks->count; i++) {
        if (marks->items[i].value.capacity > KEEP_BYTES)
            tr_outbuf_free(&marks->items[i].value);
    }
    marks->count = marks->first_open = 0;
    marks->bytes = 0;
    forget_slots(marks);
}

bool tr_pending_marks_many(const struct tr_pending_marks *marks)
{
    return marks->count >= MANY_MARKS || marks->bytes >= MANY_BYTES;
}

static bool grow(struct tr_pending_marks *marks)
{
    size_t capacity = marks->capacity == 0 ? 16 : marks->capacity * 2;
    struct tr_pending_mark *items = realloc(marks->items, capacity * sizeof *items);
    if (items == NULL)
        return false;
    memset(items + marks->capacity, 0, (capacity - marks->capacity) * sizeof *items);
    marks->items = items;
    marks->capacity = capacity;
    return true;
}

static uint32_t slot_of(const struct tr_pending_marks *marks, const char *key, size_t len)
{
    uint32_t at = (uint32_t)XXH3_64bits(key, len) & (marks->slot_count - 1);
    while (marks->slots[at] != 0) {
        const struct tr_pending_mark *item = &marks->items[marks->slots[at] - 1];
        if (item->key_len == len && memcmp(item->key, key, len) == 0)
            break;
        at = (at + 1) & (marks->slot_count - 1);
    }
    return at;
}

static bool grow_slots(struct tr_pending_marks *marks)
{
    uint32_t slot_count = marks->slot_count == 0 ? SLOTS_MIN : marks->slot_count * 2;
    uint32_t *slots = calloc(slot_count, sizeof *slots);
    if (slots == NULL)
        return false;
    free(marks->slots);
    marks->slots = slots;
    marks->slot_count = slot_count;
    for (size_t i = marks->first_open; i < marks->count; i++)
        slots[slot_of(marks, marks->items[i].key, marks->items[i].key_len)] = (uint32_t)i + 1;
    return true;
}

/* An item for the key: the pending one, if no prefix was deleted since, or a new one. */
static struct tr_pending_mark *place(struct tr_pending_marks *marks, const char *key, size_t len,
                                     bool prefix)
{
    uint32_t slot = 0;
    if (!prefix) {
        if ((marks->count - marks->first_open) * 2 >= marks->slot_count && !grow_slots(marks))
            return NULL;
        slot = slot_of(marks, key, len);
        if (marks->slots[slot] != 0)
            return &marks->items[marks->slots[slot] - 1];
    }
    if (marks->count == marks->capacity && !grow(marks))
        return NULL;
    struct tr_pending_mark *item = &marks->items[marks->count++];
    if (!prefix)
        marks->slots[slot] = (uint32_t)marks->count;
    memcpy(item->key, key, len);
    item->key[len] = '\0';
    item->key_len = (uint16_t)len;
    item->prefix = prefix;
    item->guarded = !prefix && strncmp(item->key, TR_MARK_SPLIT, strlen(TR_MARK_SPLIT)) == 0;
    item->claims = false;
    tr_outbuf_clear(&item->value);
    marks->bytes += len;
    return item;
}

static bool set_text(struct tr_outbuf *to, struct tr_slice text)
{
    tr_outbuf_clear(to);
    tr_outbuf_bytes(to, text.ptr, text.len);
    (void)tr_outbuf_cstr(to);
    return !to->failed;
}

enum tr_status tr_pending_marks_add(struct tr_pending_marks *marks, const struct tr_mark *mark,
                                    bool empty, struct tr_error *err)
{
    size_t len = mark->key.len;
    if (len == 0 || len > TR_MARK_KEY_BYTES_MAX || mark->value.len > TR_MARK_VALUE_BYTES_MAX ||
        memchr(mark->key.ptr, 0, len) != NULL)
        return tr_fail(err, TR_E_INTERNAL, "a source gave a mark that cannot be stored");
    bool prefix = mark->key.ptr[len - 1] == '*';
    size_t count = marks->count;
    struct tr_pending_mark *item = place(marks, mark->key.ptr, len - prefix, prefix);
    if (item == NULL)
        return no_memory(err);
    if (prefix) { /* nothing that comes later is merged with what came before */
        marks->first_open = marks->count;
        forget_slots(marks);
        return TR_OK;
    }
    marks->bytes += mark->value.len;
    marks->bytes -= item->value.len;
    if (!set_text(&item->value, mark->value))
        return no_memory(err);
    if (item->guarded && empty && marks->count > count && mark->value.len > 0) {
        item->claims = true;
        if (!set_text(&item->claim, mark->value))
            return no_memory(err);
    }
    return TR_OK;
}

const char *tr_pending_value(const struct tr_pending_mark *mark)
{
    return mark->prefix || mark->value.len == 0 ? "" : mark->value.data;
}

const char *tr_pending_claim(const struct tr_pending_mark *mark)
{
    return mark->claims ? mark->claim.data : NULL;
}

/* ---- the guard ------------------------------------------------------------------------------ */

void tr_mark_guard_free(struct tr_mark_guard *guard) { tr_state_free(&guard->known); }

static enum tr_status remember(struct tr_mark_guard *guard, const char *key, const char *value,
                               struct tr_error *err)
{
    char text[64]; /* a position is short; a longer value is refused */
    size_t len = strlen(value);
    if (len + 2 > sizeof text)
        return tr_fail(err, TR_E_INTERNAL, "the position of a split is not a number");
    text[0] = '=';
    memcpy(text + 1, value, len + 1);
    return tr_state_set(&guard->known, key, text, err);
}

enum tr_status tr_mark_guard_load(struct tr_mark_guard *guard, const struct tr_state *marks,
                                  struct tr_error *err)
{
    tr_state_clear(&guard->known);
    for (size_t i = tr_state_seek(marks, TR_MARK_SPLIT);
         tr_state_has_prefix(marks, i, TR_MARK_SPLIT); i++) {
        if (remember(guard, marks->items[i].key, marks->items[i].value, err) != TR_OK)
            return TR_FAIL;
    }
    return TR_OK;
}

const char *tr_mark_guard_known(const struct tr_mark_guard *guard, const char *key)
{
    const char *value = tr_state_get(&guard->known, key);
    return value == NULL ? NULL : value + 1;
}

/* Decimal numbers without leading zeros. */
static bool not_beyond(const char *a, const char *b)
{
    size_t a_len = strlen(a), b_len = strlen(b);
    if (strspn(a, "0123456789") != a_len || strspn(b, "0123456789") != b_len)
        return strcmp(a, b) == 0;
    return a_len != b_len ? a_len < b_len : strcmp(a, b) <= 0;
}

bool tr_mark_guard_accepts(const struct tr_mark_guard *guard, const struct tr_pending_mark *mark,
                           const char *stored)
{
    const char *known = tr_mark_guard_known(guard, mark->key);
    if (stored == NULL)
        return known == NULL || *known == '\0';
    if (mark->claims && strcmp(stored, mark->claim.data) == 0)
        return true;
    if (known == NULL)
        return not_beyond(stored, tr_pending_value(mark));
    return strcmp(stored, known) == 0;
}

static enum tr_status forget_prefix(struct tr_mark_guard *guard, const char *prefix,
                                    struct tr_error *err)
{
    for (size_t i = tr_state_seek(&guard->known, prefix);
         tr_state_has_prefix(&guard->known, i, prefix); i++) {
        if (remember(guard, guard->known.items[i].key, "", err) != TR_OK)
            return TR_FAIL;
    }
    return TR_OK;
}

enum tr_status tr_mark_guard_stored(struct tr_mark_guard *guard,
                                    const struct tr_pending_marks *marks, struct tr_error *err)
{
    for (size_t i = 0; i < marks->count; i++) {
        const struct tr_pending_mark *mark = &marks->items[i];
        enum tr_status status = TR_OK;
        if (mark->prefix)
            status = forget_prefix(guard, mark->key, err);
        else if (mark->guarded)
            status = remember(guard, mark->key, tr_pending_value(mark), err);
        if (status != TR_OK)
            return TR_FAIL;
    }
    return TR_OK;
}

enum tr_status tr_mark_guard_conflict(const char *pipeline, const char *where, struct tr_error *err)
{
    (void)tr_fail(err, TR_E_SINK_POSITION_CONFLICT,
                  "the position of pipeline %.100s in %.200s was changed by another process",
                  pipeline, where);
    return tr_hint(err, "%s", tr_error_info(TR_E_SINK_POSITION_CONFLICT)->remedy);
}
