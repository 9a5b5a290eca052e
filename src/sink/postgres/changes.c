/* Copying accepted events into the writer's own memory: cells and values of a batch are gone when
 * write() returns. Values get a NUL behind them (libpq's text parameters need it) and bytea in
 * binary form becomes hex, so that from here on every value is text. */
#include "sink/postgres/changes.h"

#include <stdlib.h>
#include <string.h>

#include "encode/version_key.h"
#include "sink/postgres/encode.h"

#define ARENA_BLOCK_BYTES (1u << 20)
#define ARENA_KEEP_BYTES (16u << 20)

void tr_pgs_changes_init(struct tr_pgs_changes *changes)
{
    *changes = (struct tr_pgs_changes){0};
    tr_arena_init(&changes->arena, ARENA_BLOCK_BYTES, ARENA_KEEP_BYTES);
}

void tr_pgs_changes_reset(struct tr_pgs_changes *changes)
{
    changes->count = 0;
    changes->bytes = 0;
    tr_arena_reset(&changes->arena);
}

void tr_pgs_changes_free(struct tr_pgs_changes *changes)
{
    tr_arena_free(&changes->arena);
    free(changes->items);
    tr_outbuf_free(&changes->key);
    *changes = (struct tr_pgs_changes){0};
}

static enum tr_status no_memory(struct tr_error *err)
{
    return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for changes");
}

static enum tr_status grow(struct tr_pgs_changes *changes, struct tr_error *err)
{
    if (changes->count < changes->capacity)
        return TR_OK;
    size_t capacity = changes->capacity == 0 ? 1024 : changes->capacity * 2;
    struct tr_pgs_change *items = realloc(changes->items, capacity * sizeof *items);
    if (items == NULL)
        return no_memory(err);
    changes->items = items;
    changes->capacity = capacity;
    return TR_OK;
}

static size_t stored_bytes(const struct tr_cell *cell)
{
    if (cell->state == TR_CELL_TEXT)
        return (size_t)cell->len + 1;
    if (cell->state == TR_CELL_BINARY)
        return (size_t)cell->len * 2 + 3;
    return 0;
}

/* Copies count cells and their values in one piece. false in *clean: a text holds a NUL byte. */
static struct tr_cell *copy_cells(struct tr_arena *arena, const struct tr_cell *cells, size_t count,
                                  bool *clean, size_t *bytes)
{
    size_t total = 0;
    for (size_t i = 0; i < count; i++)
        total += stored_bytes(&cells[i]);
    struct tr_cell *copy =
        tr_arena_alloc(arena, (count + 1) * sizeof *copy, _Alignof(struct tr_cell));
    char *at = tr_arena_alloc(arena, total + 1, 1);
    if (copy == NULL || at == NULL)
        return NULL;
    for (size_t i = 0; i < count; i++) {
        const struct tr_cell *cell = &cells[i];
        copy[i] = *cell;
        copy[i].ptr = at;
        if (cell->state == TR_CELL_TEXT) {
            memcpy(at, cell->ptr, cell->len);
            at[cell->len] = '\0';
            if (memchr(at, 0, cell->len) != NULL)
                *clean = false;
        } else if (cell->state == TR_CELL_BINARY) {
            tr_pgs_hex(at, cell->ptr, cell->len);
            copy[i].len = cell->len * 2 + 2;
            at[copy[i].len] = '\0';
            copy[i].state = TR_CELL_TEXT;
        }
        at += stored_bytes(cell);
    }
    *bytes += total + count * sizeof *copy;
    return copy;
}

static bool has_value(const struct tr_cell *cell)
{
    return cell->state == TR_CELL_TEXT || cell->state == TR_CELL_BINARY ||
           cell->state == TR_CELL_NULL;
}

/* The key's cells out of an image, or out of a second one where the first has no value. */
static enum tr_status copy_key(struct tr_pgs_changes *changes, const struct tr_pgs_layout *layout,
                               const struct tr_cell *image, const struct tr_cell *other,
                               uint64_t seq, const struct tr_cell **out, bool *clean,
                               struct tr_error *err)
{
    struct tr_cell cells[TR_PGS_KEY_COLUMNS_MAX];
    size_t bytes = 0;
    for (uint16_t i = 0; i < layout->key_count; i++) {
        uint16_t column = layout->key_columns[i];
        if (image != NULL && has_value(&image[column])) {
            cells[i] = image[column];
        } else if (other != NULL && has_value(&other[column])) {
            cells[i] = other[column];
        } else {
            (void)tr_fail(err, TR_E_PGSINK_KEY_MISSING, "an event for %s lacks key column \"%s\"",
                          layout->target->quoted, layout->table->columns[column].name);
            err->seq = seq;
            return tr_hint(err, "%s", tr_error_info(TR_E_PGSINK_KEY_MISSING)->remedy);
        }
    }
    *out = copy_cells(&changes->arena, cells, layout->key_count, clean, &bytes);
    return *out == NULL ? no_memory(err) : TR_OK;
}

/* At least one: a row without any would stand for every row of the table. */
static bool has_values(const struct tr_cell *cells, uint16_t count)
{
    for (uint16_t i = 0; i < count; i++) {
        if (has_value(&cells[i]))
            return true;
    }
    return count == 0;
}

static bool is_full(const struct tr_cell *cells, uint16_t count)
{
    for (uint16_t i = 0; i < count; i++) {
        if (cells[i].state == TR_CELL_UNCHANGED)
            return false;
    }
    return true;
}

static enum tr_status copy_after(struct tr_pgs_changes *changes, struct tr_pgs_change *change,
                                 const struct tr_event *event, bool *clean, struct tr_error *err)
{
    const struct tr_pgs_layout *layout = change->layout;
    if (event->after != NULL) {
        change->after =
            copy_cells(&changes->arena, event->after, layout->column_count, clean, &change->bytes);
        return change->after == NULL ? no_memory(err) : TR_OK;
    }
    struct tr_cell *cells =
        tr_arena_alloc(&changes->arena, ((size_t)layout->column_count + 1) * sizeof *cells,
                       _Alignof(struct tr_cell));
    if (cells == NULL)
        return no_memory(err);
    if (!tr_pgs_split_line(event->raw, cells, layout->column_count, &changes->arena)) {
        (void)tr_fail(err, TR_E_PGSINK_ROW_FORMAT, "a copied row of %s has not %u columns",
                      layout->target->quoted, layout->column_count);
        err->seq = event->seq;
        return TR_FAIL;
    }
    change->after = cells;
    change->bytes += event->raw.len + layout->column_count * sizeof *cells;
    return TR_OK;
}

static enum tr_status copy_keys(struct tr_pgs_changes *changes, struct tr_pgs_change *change,
                                const struct tr_event *event, bool *clean, struct tr_error *err)
{
    const struct tr_pgs_layout *layout = change->layout;
    if (layout->key_count == 0) {
        if (change->op == TR_OP_CREATE)
            return TR_OK;
        if (event->before == NULL || (event->flags & TR_EV_BEFORE_KEY_ONLY) != 0 ||
            !has_values(event->before, layout->column_count)) {
            (void)tr_fail(
                err, TR_E_PGSINK_KEY_MISSING,
                "an UPDATE or DELETE of %s, which has no key, came without the row before it",
                layout->target->quoted);
            err->seq = event->seq;
            return tr_hint(err, "%s", tr_error_info(TR_E_PGSINK_KEY_MISSING)->remedy);
        }
        change->old_key =
            copy_cells(&changes->arena, event->before, layout->column_count, clean, &change->bytes);
        return change->old_key == NULL ? no_memory(err) : TR_OK;
    }
    if (copy_key(changes, layout, change->after, event->before, event->seq, &change->key, clean,
                 err) != TR_OK)
        return TR_FAIL;
    change->key_changed = change->op == TR_OP_UPDATE && (event->flags & TR_EV_KEY_CHANGED) != 0;
    if (change->key_changed)
        return copy_key(changes, layout, event->before, NULL, event->seq, &change->old_key, clean,
                        err);
    return TR_OK;
}

/* ---- tables with a version ---- */

static bool lacks_values(const struct tr_cell *cells, uint16_t count)
{
    for (uint16_t i = 0; i < count; i++) {
        if (!has_value(&cells[i]))
            return true;
    }
    return false;
}

static enum tr_status version_missing(const struct tr_pgs_layout *layout, uint64_t seq,
                                      struct tr_error *err)
{
    (void)tr_fail(err, TR_E_SINK_VERSION_MISSING, "a change of %s came without its version \"%s\"",
                  layout->target->quoted, layout->table->columns[layout->version].name);
    err->seq = seq;
    return tr_hint(err, "%s", tr_error_info(TR_E_SINK_VERSION_MISSING)->remedy);
}

/* The version out of the event's image. One that did not change stands in the image before. */
static enum tr_status take_version(struct tr_pgs_changes *changes, struct tr_pgs_change *change,
                                   const struct tr_event *event, struct tr_error *err)
{
    const struct tr_pgs_layout *layout = change->layout;
    size_t column = (size_t)layout->version;
    enum tr_type type = layout->table->columns[column].type;
    const struct tr_cell *cell = change->after != NULL ? &change->after[column] : NULL;
    struct tr_cell copy;
    if (cell == NULL || !has_value(cell)) {
        bool clean = true;
        if (event->before == NULL || !has_value(&event->before[column]))
            return version_missing(layout, event->seq, err);
        cell = copy_cells(&changes->arena, &event->before[column], 1, &clean, &change->bytes);
        if (cell == NULL)
            return no_memory(err);
        if (change->after != NULL) /* our own copy of the row */
            ((struct tr_cell *)(uintptr_t)change->after)[column] = *cell;
    }
    copy = *cell;
    tr_outbuf_clear(&changes->key);
    if (!tr_version_key(type, &copy, &changes->key)) {
        (void)tr_fail(err, TR_E_PGSINK_VALUE, "a value of \"%s\" of %s is not in the form of %s",
                      layout->table->columns[column].name, layout->target->quoted,
                      tr_type_name(type));
        err->seq = event->seq;
        return TR_FAIL;
    }
    change->version = copy.state == TR_CELL_NULL ? NULL : copy.ptr;
    change->version_key =
        changes->key.failed
            ? NULL
            : tr_arena_strndup(&changes->arena, changes->key.data, changes->key.len);
    change->bytes += changes->key.len + 1;
    if (change->after != NULL)
        change->full = !lacks_values(change->after, layout->column_count);
    return change->version_key == NULL ? no_memory(err) : TR_OK;
}

/* A changed key, the row in full: a deletion here, and a row behind it. */
static enum tr_status split_key_change(struct tr_pgs_changes *changes, struct tr_error *err)
{
    if (grow(changes, err) != TR_OK)
        return TR_FAIL;
    struct tr_pgs_change *gone = &changes->items[changes->count], *come = gone + 1;
    if (changes->count + 1 >= changes->capacity) {
        changes->count++; /* room for one more */
        enum tr_status status = grow(changes, err);
        changes->count--;
        if (status != TR_OK)
            return TR_FAIL;
        gone = &changes->items[changes->count];
        come = gone + 1;
    }
    *come = *gone;
    come->op = TR_OP_CREATE;
    come->key_changed = false;
    come->old_key = NULL;
    gone->op = TR_OP_DELETE;
    gone->key_changed = false;
    gone->key = gone->old_key;
    gone->old_key = NULL;
    gone->after = NULL;
    gone->bytes = sizeof *gone;
    changes->bytes += gone->bytes;
    changes->count++;
    return TR_OK;
}

enum tr_status tr_pgs_changes_add(struct tr_pgs_changes *changes, struct tr_pgs_layout *layout,
                                  const struct tr_event *event, struct tr_error *err)
{
    bool clean = true;
    if (grow(changes, err) != TR_OK)
        return TR_FAIL;
    struct tr_pgs_change *change = &changes->items[changes->count];
    *change =
        (struct tr_pgs_change){.seq = event->seq,
                               .layout = layout,
                               .bytes = sizeof *change,
                               .op = event->op == TR_OP_READ ? (uint8_t)TR_OP_CREATE : event->op};
    if (change->op != TR_OP_DELETE) {
        if (event->after == NULL && event->raw.ptr == NULL)
            return tr_fail(err, TR_E_INTERNAL, "a row event has no row");
        if (copy_after(changes, change, event, &clean, err) != TR_OK)
            return TR_FAIL;
        change->full = is_full(change->after, layout->column_count);
    }
    if (copy_keys(changes, change, event, &clean, err) != TR_OK)
        return TR_FAIL;
    if (!clean) {
        (void)tr_fail(err, TR_E_PGSINK_VALUE,
                      "a text for %s holds a NUL byte, which PostgreSQL cannot store",
                      layout->target->quoted);
        err->seq = event->seq;
        return TR_FAIL;
    }
    if (layout->version >= 0) {
        if (take_version(changes, change, event, err) != TR_OK)
            return TR_FAIL;
        if (change->key_changed && change->full) {
            if (split_key_change(changes, err) != TR_OK)
                return TR_FAIL;
            change = &changes->items[changes->count];
        }
    }
    changes->bytes += change->bytes;
    changes->count++;
    return TR_OK;
}

enum tr_status tr_pgs_changes_move(struct tr_pgs_changes *to, const struct tr_pgs_changes *changes,
                                   size_t from, struct tr_error *err)
{
    for (size_t i = from; i < changes->count; i++) {
        bool clean = true;
        size_t bytes = 0;
        if (grow(to, err) != TR_OK)
            return TR_FAIL;
        struct tr_pgs_change *change = &to->items[to->count];
        *change = changes->items[i];
        const struct tr_pgs_layout *layout = change->layout;
        size_t old_count = layout->key_count == 0 ? layout->column_count : layout->key_count;
        if (change->after != NULL)
            change->after =
                copy_cells(&to->arena, change->after, layout->column_count, &clean, &bytes);
        if (change->key != NULL)
            change->key = copy_cells(&to->arena, change->key, layout->key_count, &clean, &bytes);
        if (change->old_key != NULL)
            change->old_key = copy_cells(&to->arena, change->old_key, old_count, &clean, &bytes);
        if (change->version != NULL)
            change->version = tr_arena_strdup(&to->arena, change->version);
        if (change->version_key != NULL)
            change->version_key = tr_arena_strdup(&to->arena, change->version_key);
        if ((changes->items[i].version != NULL && change->version == NULL) ||
            (changes->items[i].version_key != NULL && change->version_key == NULL))
            return no_memory(err);
        if ((changes->items[i].after != NULL && change->after == NULL) ||
            (changes->items[i].key != NULL && change->key == NULL) ||
            (changes->items[i].old_key != NULL && change->old_key == NULL))
            return no_memory(err);
        to->bytes += change->bytes;
        to->count++;
    }
    return TR_OK;
}
