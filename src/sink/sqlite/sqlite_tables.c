/* Prepared statements per schema version, and who writes into which target. Writer thread.
 *
 * An entry is keyed by the tr_table's address, on which it holds a reference. The least recently
 * used entry goes when TABLE_CACHE_MAX are there. Rows with all cells use the entry's own
 * statements; a row that lacks some (unchanged TOAST, key-only images) uses a variant found by its
 * mask. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sqlite_internal.h"

/* ---- owners --------------------------------------------------------------------------------- */

enum tr_status tr_sqlite_own(struct sqlite_writer *writer, const struct tr_table_id *id,
                             struct tr_error *err)
{
    for (size_t i = 0; i < writer->owner_count; i++) {
        const struct table_owner *owner = &writer->owners[i];
        if (sqlite3_stricmp(owner->target, id->table) != 0)
            continue;
        if (strcmp(owner->schema, id->schema) != 0 ||
            strcmp(owner->namespace, id->namespace) != 0) {
            (void)tr_fail(
                err, TR_E_SINK_TABLE_CLASH,
                "\"%.63s.%.63s\" and \"%.63s.%.63s\" would both be written into \"%.63s\"",
                owner->schema, owner->target, id->schema, id->table, owner->target);
            return tr_hint(err,
                           "SQLite has no schemas: add a route such as {source-table: "
                           "'%.63s.%.63s', sink-table: %.63s_%.63s}",
                           id->schema, id->table, id->schema, id->table);
        }
        if (strcmp(owner->target, id->table) != 0) {
            (void)tr_fail(err, TR_E_SQLITE_TABLE_CASE,
                          "the tables \"%.63s\" and \"%.63s\" differ only by case", owner->target,
                          id->table);
            return tr_hint(err, "SQLite holds them as one: route one of them to another name");
        }
        return TR_OK;
    }
    if (writer->owner_count == writer->owner_capacity) {
        size_t capacity = writer->owner_capacity == 0 ? 64 : writer->owner_capacity * 2;
        struct table_owner *owners = realloc(writer->owners, capacity * sizeof *owners);
        if (owners == NULL)
            return tr_sqlite_no_memory(err);
        writer->owners = owners;
        writer->owner_capacity = capacity;
    }
    struct table_owner *owner = &writer->owners[writer->owner_count];
    owner->target = strdup(id->table);
    owner->namespace = strdup(id->namespace);
    owner->schema = strdup(id->schema);
    writer->owner_count++;
    if (owner->target == NULL || owner->namespace == NULL || owner->schema == NULL) {
        tr_sqlite_disown(writer, id);
        return tr_sqlite_no_memory(err);
    }
    return TR_OK;
}

void tr_sqlite_disown(struct sqlite_writer *writer, const struct tr_table_id *id)
{
    for (size_t i = writer->owner_count; i-- > 0;) {
        struct table_owner *owner = &writer->owners[i];
        if (owner->target != NULL && sqlite3_stricmp(owner->target, id->table) != 0)
            continue;
        free(owner->target);
        free(owner->namespace);
        free(owner->schema);
        *owner = writer->owners[--writer->owner_count];
    }
}

void tr_sqlite_owners_free(struct sqlite_writer *writer)
{
    for (size_t i = 0; i < writer->owner_count; i++) {
        free(writer->owners[i].target);
        free(writer->owners[i].namespace);
        free(writer->owners[i].schema);
    }
    free(writer->owners);
}

/* ---- entries -------------------------------------------------------------------------------- */

static size_t bucket_of(const struct tr_table *table)
{
    return (size_t)(((uintptr_t)table >> 4) * 0x9e3779b97f4a7c15ull >> 40) % TABLE_CACHE_BUCKETS;
}

static void variant_clear(struct table_variant *variant)
{
    (void)sqlite3_finalize(variant->stmt);
    free(variant->mask);
    *variant = (struct table_variant){0};
}

static void entry_free(struct table_entry *entry)
{
    (void)sqlite3_finalize(entry->upsert);
    (void)sqlite3_finalize(entry->update);
    (void)sqlite3_finalize(entry->erase);
    (void)sqlite3_finalize(entry->truncate);
    (void)sqlite3_finalize(entry->version);
    for (size_t i = 0; i < VARIANTS_MAX; i++)
        variant_clear(&entry->variants[i]);
    tr_table_unref(entry->table);
    free(entry->types);
    free(entry->mask);
    free(entry);
}

void tr_sqlite_entries_drop(struct sqlite_writer *writer, const char *target)
{
    writer->last = NULL;
    for (size_t i = 0; i < TABLE_CACHE_BUCKETS; i++) {
        struct table_entry **link = &writer->buckets[i];
        while (*link != NULL) {
            struct table_entry *entry = *link;
            if (target != NULL && sqlite3_stricmp(entry->table->id.table, target) != 0) {
                link = &entry->next;
                continue;
            }
            *link = entry->next;
            entry_free(entry);
            writer->entry_count--;
        }
    }
}

static void evict_oldest(struct sqlite_writer *writer)
{
    struct table_entry **oldest = NULL;
    for (size_t i = 0; i < TABLE_CACHE_BUCKETS; i++) {
        for (struct table_entry **link = &writer->buckets[i]; *link != NULL;
             link = &(*link)->next) {
            if (oldest == NULL || (*link)->used_at < (*oldest)->used_at)
                oldest = link;
        }
    }
    if (oldest != NULL) {
        struct table_entry *entry = *oldest;
        *oldest = entry->next;
        entry_free(entry);
        writer->entry_count--;
    }
}

/* ---- SQL ------------------------------------------------------------------------------------ */

static bool in_mask(const uint8_t *mask, unsigned column) { return mask == NULL || mask[column]; }

static void append_key_condition(struct tr_outbuf *sql, const struct tr_table *table,
                                 unsigned first)
{
    for (unsigned i = 0; i < table->key_count; i++) {
        tr_outbuf_str(sql, i == 0 ? " WHERE " : " AND ");
        tr_sqlite_quote(sql, table->columns[table->key_columns[i]].name);
        tr_outbuf_printf(sql, " = ?%u", first + i);
    }
}

/* Parameter i + 1 is column i in every statement; the key or rowid comes behind them. */
static void upsert_sql(struct tr_outbuf *sql, const struct tr_table *table, const uint8_t *mask)
{
    const char *separator = " (";
    tr_outbuf_str(sql, "INSERT INTO ");
    tr_sqlite_quote(sql, table->id.table);
    for (unsigned i = 0; i < table->column_count; i++) {
        if (!in_mask(mask, i))
            continue;
        tr_outbuf_str(sql, separator);
        tr_sqlite_quote(sql, table->columns[i].name);
        separator = ", ";
    }
    separator = ") VALUES (";
    for (unsigned i = 0; i < table->column_count; i++) {
        if (!in_mask(mask, i))
            continue;
        tr_outbuf_printf(sql, "%s?%u", separator, i + 1);
        separator = ", ";
    }
    tr_outbuf_str(sql, ")");
    if (table->key_count == 0)
        return;
    for (unsigned i = 0; i < table->key_count; i++) {
        tr_outbuf_str(sql, i == 0 ? " ON CONFLICT (" : ", ");
        tr_sqlite_quote(sql, table->columns[table->key_columns[i]].name);
    }
    separator = ") DO UPDATE SET ";
    bool any = false;
    for (unsigned i = 0; i < table->column_count; i++) {
        if (!in_mask(mask, i) || table->columns[i].key_index > 0)
            continue;
        tr_outbuf_str(sql, separator);
        tr_sqlite_quote(sql, table->columns[i].name);
        tr_outbuf_printf(sql, " = ?%u", i + 1);
        separator = ", ";
        any = true;
    }
    if (!any)
        tr_outbuf_str(sql, ") DO NOTHING");
}

/* false: there is nothing to set. */
static bool update_sql(struct tr_outbuf *sql, const struct tr_table *table, const uint8_t *mask,
                       bool with_key)
{
    const char *separator = " SET ";
    bool any = false;
    tr_outbuf_str(sql, "UPDATE ");
    tr_sqlite_quote(sql, table->id.table);
    for (unsigned i = 0; i < table->column_count; i++) {
        if (!in_mask(mask, i) || (table->columns[i].key_index > 0 && !with_key))
            continue;
        tr_outbuf_str(sql, separator);
        tr_sqlite_quote(sql, table->columns[i].name);
        tr_outbuf_printf(sql, " = ?%u", i + 1);
        separator = ", ";
        any = true;
    }
    return any;
}

static void find_sql(struct tr_outbuf *sql, const struct table_entry *entry, const uint8_t *mask)
{
    const char *separator = " WHERE ";
    tr_outbuf_printf(sql, "SELECT %s FROM ", entry->rowid_name);
    tr_sqlite_quote(sql, entry->table->id.table);
    for (unsigned i = 0; i < entry->table->column_count; i++) {
        if (!in_mask(mask, i))
            continue;
        tr_outbuf_str(sql, separator);
        tr_sqlite_quote(sql, entry->table->columns[i].name);
        tr_outbuf_printf(sql, " IS ?%u", i + 1);
        separator = " AND ";
    }
    tr_outbuf_str(sql, " LIMIT 1");
}

static enum tr_status prepare_sql(struct sqlite_writer *writer, const struct table_entry *entry,
                                  sqlite3_stmt **stmt, struct tr_error *err)
{
    char what[200];
    const char *text = tr_outbuf_cstr(&writer->sql);
    if (writer->sql.failed)
        return tr_sqlite_no_memory(err);
    (void)snprintf(what, sizeof what, "prepare a statement on table \"%.100s\"",
                   entry->table->id.table);
    return tr_sqlite_prepare(writer->db, text, true, stmt, what, err);
}

/* Last write wins: the version of the row of a key, and the remembered deletions. */
static enum tr_status prepare_version(struct sqlite_writer *writer, struct table_entry *entry,
                                      struct tr_error *err)
{
    const struct tr_table *table = entry->table;
    struct tr_outbuf *sql = &writer->sql;
    if (table->version_column == 0)
        return TR_OK;
    if (tr_sqlite_check_version(table, err) != TR_OK)
        return TR_FAIL;
    tr_outbuf_clear(sql);
    tr_outbuf_str(sql, "SELECT ");
    tr_sqlite_quote(sql, table->columns[table->version_column - 1].name);
    tr_outbuf_str(sql, " FROM ");
    tr_sqlite_quote(sql, table->id.table);
    append_key_condition(sql, table, table->column_count + 1u);
    if (tr_sqlite_deleted_open(writer, err) != TR_OK)
        return TR_FAIL;
    return prepare_sql(writer, entry, &entry->version, err);
}

static enum tr_status entry_prepare(struct sqlite_writer *writer, struct table_entry *entry,
                                    struct tr_error *err)
{
    const struct tr_table *table = entry->table;
    struct tr_outbuf *sql = &writer->sql;
    tr_outbuf_clear(sql);
    upsert_sql(sql, table, NULL);
    if (prepare_sql(writer, entry, &entry->upsert, err) != TR_OK)
        return TR_FAIL;
    tr_outbuf_clear(sql);
    if (table->key_count > 0 && update_sql(sql, table, NULL, false)) {
        append_key_condition(sql, table, table->column_count + 1u);
        if (prepare_sql(writer, entry, &entry->update, err) != TR_OK)
            return TR_FAIL;
    }
    tr_outbuf_clear(sql);
    tr_outbuf_str(sql, "DELETE FROM ");
    tr_sqlite_quote(sql, table->id.table);
    if (table->key_count > 0)
        append_key_condition(sql, table, table->column_count + 1u);
    else
        tr_outbuf_printf(sql, " WHERE %s = ?%u", entry->rowid_name, table->column_count + 1u);
    if (prepare_sql(writer, entry, &entry->erase, err) != TR_OK)
        return TR_FAIL;
    tr_outbuf_clear(sql);
    tr_outbuf_str(sql, "DELETE FROM ");
    tr_sqlite_quote(sql, table->id.table);
    if (prepare_sql(writer, entry, &entry->truncate, err) != TR_OK)
        return TR_FAIL;
    return prepare_version(writer, entry, err);
}

/* The first of SQLite's three names for the rowid that no column hides. */
static const char *rowid_name(const struct shape *shape)
{
    static const char *const names[] = {"_rowid_", "rowid", "oid"};
    for (size_t i = 0; i < 3; i++) {
        if (tr_sqlite_shape_column(shape, names[i]) < 0)
            return names[i];
    }
    return NULL;
}

static enum tr_status check_entry(struct sqlite_writer *writer, struct table_entry *entry,
                                  struct tr_error *err)
{
    const struct tr_table *table = entry->table;
    struct shape shape;
    if (tr_sqlite_check_names(table, err) != TR_OK ||
        tr_sqlite_own(writer, &table->id, err) != TR_OK)
        return TR_FAIL;
    enum tr_status status = tr_sqlite_shape_load(writer->db, table->id.table, &shape, err);
    if (status == TR_END) {
        (void)tr_fail(err, TR_E_SQLITE_TABLE_ABSENT, "the target has no table \"%.100s\"",
                      table->id.table);
        return tr_hint(err, "set sink.table.create.enabled: true and "
                            "pipeline.schema.change.behavior: evolve, or make it yourself");
    }
    if (status != TR_OK)
        return TR_FAIL;
    status = tr_sqlite_check_target(writer->db, table, &shape, err);
    for (unsigned i = 0; status == TR_OK && i < table->column_count; i++) {
        if (tr_sqlite_shape_column(&shape, table->columns[i].name) >= 0)
            continue;
        (void)tr_fail(err, TR_E_SQLITE_COLUMN_MISSING,
                      "target table \"%.100s\" has no column \"%.63s\"", shape.name,
                      table->columns[i].name);
        struct tr_outbuf sql = {0};
        tr_outbuf_str(&sql, "ALTER TABLE ");
        tr_sqlite_quote(&sql, shape.name);
        tr_outbuf_str(&sql, " ADD COLUMN ");
        tr_sqlite_quote(&sql, table->columns[i].name);
        status = tr_hint(err, "%s %s;", tr_outbuf_cstr(&sql),
                         tr_sqlite_declared(table->columns[i].type));
        tr_outbuf_free(&sql);
    }
    entry->rowid_name = table->key_count == 0 ? rowid_name(&shape) : "";
    if (status == TR_OK && entry->rowid_name == NULL) {
        (void)tr_fail(err, TR_E_SQLITE_STATEMENT,
                      "table \"%.100s\" has no key and columns named rowid, _rowid_ and oid",
                      table->id.table);
        status =
            tr_hint(err, "give the source table a primary key, or rename one of these columns");
    }
    tr_sqlite_shape_free(&shape);
    return status;
}

enum tr_status tr_sqlite_schema_version(struct sqlite_writer *writer, int64_t *version,
                                        struct tr_error *err)
{
    sqlite3_stmt *stmt = writer->schema_version;
    int rc = sqlite3_step(stmt);
    *version = rc == SQLITE_ROW ? sqlite3_column_int64(stmt, 0) : -1;
    enum tr_status status = TR_OK;
    if (rc != SQLITE_ROW)
        status = tr_sqlite_fail(err, writer->db, rc, "read the file's schema version");
    (void)sqlite3_reset(stmt);
    return status;
}

static enum tr_status ask_int(struct sqlite_writer *writer, const char *sql, const char *name,
                              int *answer, struct tr_error *err)
{
    sqlite3_stmt *stmt = NULL;
    enum tr_status status =
        tr_sqlite_prepare(writer->db, sql, false, &stmt, "look at a target's rules", err);
    if (status != TR_OK)
        return status;
    if (name != NULL)
        (void)sqlite3_bind_text(stmt, 1, name, -1, SQLITE_STATIC);
    int rc = sqlite3_step(stmt);
    *answer = rc == SQLITE_ROW ? sqlite3_column_int(stmt, 0) : 0;
    if (rc != SQLITE_ROW)
        status = tr_sqlite_fail(err, writer->db, rc, "look at a target's rules");
    (void)sqlite3_finalize(stmt);
    return status;
}

/* A trigger of any table may write to any other. */
static enum tr_status find_triggers(struct sqlite_writer *writer, struct tr_error *err)
{
    int64_t version;
    int found;
    if (tr_sqlite_schema_version(writer, &version, err) != TR_OK)
        return TR_FAIL;
    if (writer->triggers_version == version)
        return TR_OK;
    if (ask_int(writer, "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'trigger')", NULL,
                &found, err) != TR_OK)
        return TR_FAIL;
    writer->has_triggers = found != 0;
    writer->triggers_version = version;
    return TR_OK;
}

enum tr_status tr_sqlite_sortable(struct sqlite_writer *writer, const struct tr_table *table,
                                  bool *sortable, struct tr_error *err)
{
    /* unique indexes, and the rowid when it is the primary key, which no index shows; check_key has
     * seen that one of them is the key */
    static const char rules[] =
        "SELECT (SELECT count(*) FROM pragma_index_list(?1) WHERE \"unique\" = 1)"
        " + (EXISTS (SELECT 1 FROM pragma_table_info(?1) WHERE pk > 0)"
        " AND NOT EXISTS (SELECT 1 FROM pragma_index_list(?1) WHERE origin = 'pk'))";
    int count = 0;
    *sortable = false;
    if (table->key_count == 0)
        return TR_OK;
    if (find_triggers(writer, err) != TR_OK)
        return TR_FAIL;
    if (!writer->has_triggers && ask_int(writer, rules, table->id.table, &count, err) != TR_OK)
        return TR_FAIL;
    *sortable = count == 1;
    return TR_OK;
}

static enum tr_status entry_new(struct sqlite_writer *writer, const struct tr_table *table,
                                struct table_entry **out, struct tr_error *err)
{
    struct table_entry *entry = calloc(1, sizeof *entry);
    if (entry == NULL)
        return tr_sqlite_no_memory(err);
    entry->table = tr_table_ref(table);
    entry->types = calloc((size_t)table->column_count + 1, sizeof *entry->types);
    entry->mask = calloc((size_t)table->column_count + 1, 1);
    if (entry->types == NULL || entry->mask == NULL) {
        entry_free(entry);
        return tr_sqlite_no_memory(err);
    }
    for (unsigned i = 0; i < table->column_count; i++)
        entry->types[i] = table->columns[i].type;
    if (tr_sqlite_schema_version(writer, &entry->schema_version, err) != TR_OK ||
        check_entry(writer, entry, err) != TR_OK || entry_prepare(writer, entry, err) != TR_OK ||
        tr_sqlite_sortable(writer, table, &entry->sortable, err) != TR_OK) {
        entry_free(entry);
        return TR_FAIL;
    }
    *out = entry;
    return TR_OK;
}

enum tr_status tr_sqlite_entry(struct sqlite_writer *writer, const struct tr_table *table,
                               struct table_entry **out, struct tr_error *err)
{
    struct table_entry *entry = writer->last;
    writer->clock++;
    if (entry == NULL || entry->table != table) {
        entry = writer->buckets[bucket_of(table)];
        while (entry != NULL && entry->table != table)
            entry = entry->next;
    }
    if (entry == NULL) {
        if (entry_new(writer, table, &entry, err) != TR_OK)
            return TR_FAIL;
        if (writer->entry_count >= TABLE_CACHE_MAX)
            evict_oldest(writer);
        size_t bucket = bucket_of(table);
        entry->next = writer->buckets[bucket];
        writer->buckets[bucket] = entry;
        writer->entry_count++;
    }
    entry->used_at = writer->clock;
    writer->last = entry;
    *out = entry;
    return TR_OK;
}

/* ---- variants ------------------------------------------------------------------------------- */

enum tr_status tr_sqlite_variant(struct sqlite_writer *writer, struct table_entry *entry,
                                 enum variant_kind kind, sqlite3_stmt **stmt, struct tr_error *err)
{
    const struct tr_table *table = entry->table;
    struct table_variant *slot = &entry->variants[0];
    for (size_t i = 0; i < VARIANTS_MAX; i++) {
        struct table_variant *variant = &entry->variants[i];
        if (variant->stmt != NULL && variant->kind == kind &&
            memcmp(variant->mask, entry->mask, table->column_count) == 0) {
            variant->used_at = writer->clock;
            *stmt = variant->stmt;
            return TR_OK;
        }
        if (variant->used_at < slot->used_at)
            slot = variant;
    }
    variant_clear(slot);
    struct tr_outbuf *sql = &writer->sql;
    bool any = true;
    tr_outbuf_clear(sql);
    switch (kind) {
    case VARIANT_UPSERT:
        upsert_sql(sql, table, entry->mask);
        break;
    case VARIANT_UPDATE:
    case VARIANT_UPDATE_KEY:
        any = update_sql(sql, table, entry->mask, kind == VARIANT_UPDATE_KEY);
        append_key_condition(sql, table, table->column_count + 1u);
        break;
    case VARIANT_FIND:
        find_sql(sql, entry, entry->mask);
        break;
    case VARIANT_UPDATE_ROW:
        any = update_sql(sql, table, entry->mask, true);
        tr_outbuf_printf(sql, " WHERE %s = ?%u", entry->rowid_name, table->column_count + 1u);
        break;
    }
    if (!any) {
        *stmt = NULL;
        return TR_OK;
    }
    slot->mask = malloc((size_t)table->column_count + 1);
    if (slot->mask == NULL)
        return tr_sqlite_no_memory(err);
    memcpy(slot->mask, entry->mask, table->column_count);
    slot->kind = kind;
    slot->used_at = writer->clock;
    enum tr_status status = prepare_sql(writer, entry, &slot->stmt, err);
    if (status != TR_OK)
        variant_clear(slot);
    *stmt = slot->stmt;
    return status;
}
