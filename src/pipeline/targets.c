/* Which target tables a source table version becomes in a branch: route, clash check, projection.
 * Only the branch's writer thread comes here. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "event/dead_letter.h"
#include "pipeline/engine.h"

#define TARGET_ENTRIES_MAX 65536 /* versions seen before the cache is emptied and filled again */
#define ID_TEXT_BYTES 600

static void entry_free(struct tr_target_entry *entry)
{
    for (uint32_t i = 0; i < entry->target_count; i++) {
        tr_table_unref(entry->targets[i].table);
        free((void *)(uintptr_t)entry->targets[i].source_columns);
    }
    tr_table_unref(entry->source);
    free(entry);
}

void tr_branch_targets_clear(struct tr_branch *branch)
{
    for (size_t slot = 0; slot < TR_TABLE_SLOTS; slot++) {
        while (branch->entries[slot] != NULL) {
            struct tr_target_entry *entry = branch->entries[slot];
            branch->entries[slot] = entry->next;
            entry_free(entry);
        }
    }
    branch->entry_count = 0;
}

void tr_branch_feeds_clear(struct tr_branch *branch)
{
    for (size_t slot = 0; slot < TR_TABLE_SLOTS; slot++) {
        while (branch->feeds[slot] != NULL) {
            struct tr_feed *feed = branch->feeds[slot];
            branch->feeds[slot] = feed->next;
            free(feed->source_key);
            free(feed->target_key);
            free(feed);
        }
    }
}

static void id_text(const struct tr_table_id *id, char *buf, size_t buf_size)
{
    const char *parts[] = {id->namespace, id->schema, id->table};
    size_t at = 0;
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        size_t len = strnlen(parts[i], buf_size - at - 1);
        memcpy(buf + at, parts[i], len);
        at += len;
        if (i < 2 && at + 1 < buf_size)
            buf[at++] = '\x1f';
    }
    buf[at] = '\0';
}

static size_t slot_of_text(const char *text)
{
    return (size_t)XXH3_64bits(text, strlen(text)) % TR_TABLE_SLOTS;
}

/* Two tables may share a target only when a route says so for both. */
static enum tr_status feed_add(struct tr_branch *branch, const struct tr_table_id *source,
                               const struct tr_table_id *target, bool routed, struct tr_error *err)
{
    char source_key[ID_TEXT_BYTES], target_key[ID_TEXT_BYTES], a[ID_TEXT_BYTES], b[ID_TEXT_BYTES];
    id_text(source, source_key, sizeof source_key);
    id_text(target, target_key, sizeof target_key);
    struct tr_feed **slot = &branch->feeds[slot_of_text(target_key)];
    for (struct tr_feed *feed = *slot; feed != NULL; feed = feed->next) {
        if (strcmp(feed->target_key, target_key) != 0)
            continue;
        if (strcmp(feed->source_key, source_key) == 0) {
            feed->routed = routed;
            return TR_OK;
        }
        if (!feed->routed || !routed) {
            (void)tr_fail(err, TR_E_SINK_TABLE_CLASH,
                          "table %s would be written into %s, which another table already fills",
                          tr_table_id_format(source, a, sizeof a),
                          tr_table_id_format(target, b, sizeof b));
            return tr_hint(err, "add a route for it: {source-table: '%s', sink-table: …}", a);
        }
    }
    struct tr_feed *feed = calloc(1, sizeof *feed);
    if (feed != NULL) {
        feed->source_key = strdup(source_key);
        feed->target_key = strdup(target_key);
    }
    if (feed == NULL || feed->source_key == NULL || feed->target_key == NULL) {
        if (feed != NULL) {
            free(feed->source_key);
            free(feed->target_key);
        }
        free(feed);
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for a route");
    }
    feed->routed = routed;
    feed->next = *slot;
    *slot = feed;
    return TR_OK;
}

bool tr_branch_target_is_shared(const struct tr_branch *branch, const struct tr_table_id *target)
{
    char key[ID_TEXT_BYTES];
    unsigned count = 0;
    id_text(target, key, sizeof key);
    const struct tr_feed *feed = branch->feeds[slot_of_text(key)];
    for (; feed != NULL; feed = feed->next)
        count += strcmp(feed->target_key, key) == 0;
    return count > 1;
}

static struct tr_table_stats *stats_for(struct tr_engine *engine, const struct tr_table_id *source,
                                        const struct tr_table_id *target)
{
    char source_name[ID_TEXT_BYTES], target_name[ID_TEXT_BYTES];
    (void)tr_table_id_format(source, source_name, sizeof source_name);
    (void)tr_table_id_format(target, target_name, sizeof target_name);
    size_t slot = slot_of_text(target_name);
    (void)pthread_mutex_lock(&engine->lock);
    struct tr_table_stats *stats = engine->stats_slots[slot];
    while (stats != NULL && (strcmp(stats->source_name, source_name) != 0 ||
                             strcmp(stats->target_name, target_name) != 0))
        stats = stats->next_in_slot;
    if (stats == NULL && engine->stats_count < TR_TABLE_STATS_MAX &&
        (stats = calloc(1, sizeof *stats)) != NULL) {
        stats->source_name = strdup(source_name);
        stats->target_name = strdup(target_name);
        if (stats->source_name == NULL || stats->target_name == NULL) {
            free(stats->source_name);
            free(stats->target_name);
            free(stats);
            stats = NULL;
        } else {
            stats->next = engine->stats;
            engine->stats = stats;
            stats->next_in_slot = engine->stats_slots[slot];
            engine->stats_slots[slot] = stats;
            engine->stats_count++;
        }
    }
    (void)pthread_mutex_unlock(&engine->lock);
    return stats;
}

void tr_engine_stats_clear(struct tr_engine *engine)
{
    while (engine->stats != NULL) {
        struct tr_table_stats *stats = engine->stats;
        engine->stats = stats->next;
        free(stats->source_name);
        free(stats->target_name);
        free(stats);
    }
    memset(engine->stats_slots, 0, sizeof engine->stats_slots);
    engine->stats_count = 0;
}

const struct tr_table *tr_branch_pinned(const struct tr_branch *branch,
                                        const struct tr_table_id *id)
{
    for (const struct tr_pinned *pinned = branch->pinned; pinned != NULL; pinned = pinned->next) {
        if (tr_table_id_equal(&pinned->table->id, id))
            return pinned->table;
    }
    return NULL;
}

void tr_branch_unpin(struct tr_branch *branch, const struct tr_table_id *id)
{
    for (struct tr_pinned **link = &branch->pinned; *link != NULL; link = &(*link)->next) {
        struct tr_pinned *pinned = *link;
        if (!tr_table_id_equal(&pinned->table->id, id))
            continue;
        *link = pinned->next;
        tr_table_unref(pinned->table);
        free(pinned);
        break;
    }
    tr_branch_targets_clear(branch);
}

enum tr_status tr_branch_pin(struct tr_branch *branch, const struct tr_table_id *id,
                             const struct tr_column *columns, uint16_t column_count,
                             struct tr_error *err)
{
    struct tr_pinned *pinned = calloc(1, sizeof *pinned);
    struct tr_column *copies = calloc((size_t)column_count + 1, sizeof *copies);
    struct tr_table spec = {.id = *id, .column_count = column_count, .columns = copies};
    enum tr_status status = TR_FAIL;
    if (pinned == NULL || copies == NULL) {
        (void)tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for a schema");
        goto cleanup;
    }
    for (uint16_t i = 0; i < column_count; i++) {
        copies[i] = columns[i];
        copies[i].key_index = 0; /* only the names matter */
    }
    if (tr_table_new(&spec, &pinned->table, err) != TR_OK)
        goto cleanup;
    tr_branch_unpin(branch, &pinned->table->id);
    pinned->next = branch->pinned;
    branch->pinned = pinned;
    pinned = NULL;
    status = TR_OK;
cleanup:
    free(copies);
    free(pinned);
    return status;
}

/* The target keeps an older schema: only columns that both sides have are sent, with the types that
 * the rows have now. */
static enum tr_status project(const struct tr_table *source, const struct tr_table *pinned,
                              struct tr_target *target, struct tr_error *err)
{
    enum tr_status status = TR_FAIL;
    struct tr_column *columns = calloc((size_t)source->column_count + 1, sizeof *columns);
    uint16_t *map = calloc((size_t)source->column_count + 1, sizeof *map);
    if (columns == NULL || map == NULL) {
        (void)tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for a projection");
        goto cleanup;
    }
    struct tr_table spec;
    tr_table_spec(target->table, &spec);
    spec.column_count = 0;
    uint16_t keys_kept = 0;
    for (uint16_t i = 0; i < source->column_count; i++) {
        if (tr_table_column(pinned, source->columns[i].name) < 0)
            continue;
        columns[spec.column_count] = source->columns[i];
        keys_kept = (uint16_t)(keys_kept + (source->columns[i].key_index > 0));
        map[spec.column_count++] = i;
    }
    if (keys_kept != source->key_count) {
        (void)tr_fail_as(err, TR_SCHEMA, TR_E_SCHEMA_CHANGE_REFUSED,
                         "a key column of %s is not in the target, whose schema does not follow",
                         source->id.table);
        (void)tr_hint(err, "set pipeline.schema.change.behavior to evolve, or alter the target");
        goto cleanup;
    }
    spec.columns = columns;
    struct tr_table *table;
    if (tr_table_new(&spec, &table, err) != TR_OK)
        goto cleanup;
    tr_table_unref(target->table);
    target->table = table;
    target->source_columns = map;
    map = NULL;
    status = TR_OK;
cleanup:
    free(columns);
    free(map);
    return status;
}

static enum tr_status no_version(const struct tr_branch *branch, const struct tr_table *source,
                                 const char *column, bool no_key, struct tr_error *err)
{
    char name[300];
    (void)tr_table_id_format(&source->id, name, sizeof name);
    if (no_key) {
        (void)tr_fail(err, TR_E_LAST_WRITE_WINS_TABLE,
                      "sink %s writes last-write-wins, and table %s has no key",
                      branch->config->name, name);
        return tr_hint(err, "add a transform for it with primary-keys, or the source's "
                            "primary-keys");
    }
    (void)tr_fail(err, TR_E_LAST_WRITE_WINS_TABLE,
                  "sink %s writes last-write-wins by \"%s\", which table %s does not have",
                  branch->config->name, column, name);
    return tr_hint(err, "put it into the transform's projection, set write.version-column, or "
                        "limit the sink with `tables`");
}

enum tr_status tr_branch_dress(const struct tr_branch *branch, const struct tr_table *source,
                               const struct tr_table_id *id, bool history, struct tr_table **out,
                               struct tr_error *err)
{
    const struct tr_sink_config *config = branch->config;
    bool versioned = config->last_write_wins && !history && !config->dead_letters;
    struct tr_column *columns = NULL;
    struct tr_table spec;
    if (!versioned && !history && tr_table_id_equal(&source->id, id)) {
        *out = tr_table_ref(source);
        return TR_OK;
    }
    tr_table_spec(source, &spec);
    spec.id = *id;
    if (versioned) {
        const char *column = config->version_column != NULL
                                 ? config->version_column
                                 : branch->engine->file->event_time.column;
        int at = tr_table_column(source, column);
        if (at < 0 || source->key_count == 0)
            return no_version(branch, source, column, source->key_count == 0, err);
        spec.version_column = (uint16_t)(at + 1);
    }
    if (history) {
        columns = calloc((size_t)source->column_count + 1, sizeof *columns);
        if (columns == NULL)
            return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for a history table");
        for (uint16_t i = 0; i < source->column_count; i++) {
            columns[i] = source->columns[i];
            columns[i].key_index = 0;
            columns[i].nullable = true; /* a delete may know the key alone */
            columns[i].generated = columns[i].identity_always = columns[i].identity_by_default =
                false;
        }
        spec.columns = columns;
    }
    enum tr_status status = tr_table_new(&spec, out, err);
    free(columns);
    return status;
}

static enum tr_status target_make(struct tr_branch *branch, const struct tr_table *source,
                                  const struct tr_table_id *id, struct tr_target *target,
                                  struct tr_error *err)
{
    struct tr_table *table;
    if (tr_branch_dress(branch, source, id, target->history, &table, err) != TR_OK)
        return TR_FAIL;
    target->table = table;
    target->stats = stats_for(branch->engine, &source->id, id);
    const struct tr_table *pinned = tr_branch_pinned(branch, id);
    return pinned == NULL ? TR_OK : project(source, pinned, target, err);
}

/* Dead letters go to their own sink and to no other. */
static bool takes(const struct tr_branch *branch, const struct tr_table *source)
{
    const struct tr_table_pattern *tables = branch->config->tables;
    if ((source == tr_dead_letter_table()) != branch->config->dead_letters)
        return false;
    if (branch->window != NULL)
        return true; /* `tables` chose the rows that go into the window */
    return tables == NULL || tr_table_pattern_match(tables, &source->id);
}

/* history-table is table or schema.table; the schema is the source's when it is left out. */
static enum tr_status add_history(struct tr_branch *branch, const struct tr_table *source,
                                  struct tr_target_entry *entry, struct tr_error *err)
{
    char text[ID_TEXT_BYTES];
    struct tr_table_id id = source->id;
    struct tr_target *target = &entry->targets[entry->target_count];
    (void)snprintf(text, sizeof text, "%s", branch->config->history_table);
    char *dot = strchr(text, '.');
    id.table = text;
    if (dot != NULL) {
        *dot = '\0';
        id.schema = text;
        id.table = dot + 1;
    }
    if (feed_add(branch, &source->id, &id, true, err) != TR_OK)
        return TR_FAIL;
    target->history = true;
    entry->target_count++;
    return target_make(branch, source, &id, target, err);
}

/* Tables come from the allocator at regular distances: the slot takes part of all bits. */
static struct tr_target_entry **slot_of_table(struct tr_branch *branch,
                                              const struct tr_table *table)
{
    uint64_t hash = (uint64_t)(uintptr_t)table * UINT64_C(0x9E3779B97F4A7C15);
    return &branch->entries[(hash >> 32) % TR_TABLE_SLOTS];
}

/* Moved to the front of its slot: the next rows are of the same table. NULL: not there. */
static struct tr_target_entry *find_entry(struct tr_target_entry **slot,
                                          const struct tr_table *source)
{
    for (struct tr_target_entry **link = slot; *link != NULL; link = &(*link)->next) {
        struct tr_target_entry *entry = *link;
        if (entry->source != source)
            continue;
        *link = entry->next;
        entry->next = *slot;
        *slot = entry;
        return entry;
    }
    return NULL;
}

static enum tr_status make_targets(struct tr_branch *branch, const struct tr_table *source,
                                   struct tr_target_entry *entry, struct tr_error *err)
{
    struct tr_route_result routed;
    routed.count = 0;
    if (takes(branch, source) &&
        tr_router_apply(branch->router, &source->id, &routed, err) != TR_OK)
        return TR_FAIL;
    for (unsigned i = 0; i < routed.count; i++) {
        if (feed_add(branch, &source->id, &routed.ids[i], routed.matched, err) != TR_OK)
            return TR_FAIL;
        entry->target_count++;
        if (target_make(branch, source, &routed.ids[i], &entry->targets[i], err) != TR_OK)
            return TR_FAIL;
    }
    return routed.count > 0 && branch->config->history_table != NULL
               ? add_history(branch, source, entry, err)
               : TR_OK;
}

enum tr_status tr_branch_targets(struct tr_branch *branch, const struct tr_table *source,
                                 struct tr_target_entry **out, struct tr_error *err)
{
    struct tr_target_entry **slot = slot_of_table(branch, source);
    if (*slot != NULL && (*slot)->source == source) {
        *out = *slot;
        return TR_OK;
    }
    *out = find_entry(slot, source);
    if (*out != NULL)
        return TR_OK;
    if (branch->entry_count == TARGET_ENTRIES_MAX)
        tr_branch_targets_clear(branch);
    struct tr_target_entry *entry = calloc(1, sizeof *entry);
    if (entry == NULL)
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for a route");
    entry->source = tr_table_ref(source);
    if (make_targets(branch, source, entry, err) != TR_OK) {
        entry_free(entry);
        return TR_FAIL;
    }
    entry->next = *slot;
    *slot = entry;
    branch->entry_count++;
    *out = entry;
    return TR_OK;
}
