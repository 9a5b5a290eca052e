/* Row events → statements. Writer thread. Rows with all cells use the table's own statements,
 * others a variant for the columns that are there (sqlite_tables.c). */
#include <string.h>

#include "base/failpoint.h"
#include "sqlite_internal.h"

bool tr_sqlite_has_value(const struct tr_cell *cell)
{
    return cell->state != TR_CELL_UNCHANGED && cell->state != TR_CELL_ABSENT;
}

static enum tr_status bind_cell(struct sqlite_writer *writer, struct table_entry *entry,
                                sqlite3_stmt *stmt, int index, unsigned column,
                                const struct tr_cell *cell, struct tr_error *err)
{
    struct sqlite_value value;
    enum sqlite_store_result result =
        tr_sqlite_store(entry->types[column], cell, &writer->scratch, &value);
    if (result == STORED) {
        int rc = tr_sqlite_bind(stmt, index, &value);
        if (rc == SQLITE_OK)
            return TR_OK;
        return tr_sqlite_fail(err, writer->db, rc, "hand a value of \"%.63s\".\"%.63s\" to SQLite",
                              entry->table->id.table, entry->table->columns[column].name);
    }
    if (result == STORE_NO_MEMORY)
        return tr_sqlite_no_memory(err);
    return tr_fail(err, TR_E_SQLITE_VALUE,
                   "a value of \"%.63s\".\"%.63s\" is not in the form of %s",
                   entry->table->id.table, entry->table->columns[column].name,
                   tr_type_name(entry->types[column]));
}

/* Binds every cell that has a value and notes them in entry->mask. *all: none was left out. */
static enum tr_status bind_cells(struct sqlite_writer *writer, struct table_entry *entry,
                                 sqlite3_stmt *stmt, const struct tr_cell *cells, bool *all,
                                 struct tr_error *err)
{
    *all = true;
    for (unsigned i = 0; i < entry->table->column_count; i++) {
        entry->mask[i] = tr_sqlite_has_value(&cells[i]);
        if (!entry->mask[i])
            *all = false;
        else if (stmt != NULL &&
                 bind_cell(writer, entry, stmt, (int)i + 1, i, &cells[i], err) != TR_OK)
            return TR_FAIL;
    }
    return TR_OK;
}

/* Binds the key behind the columns: from `cells`, or from `other` where that has no value. */
enum tr_status tr_sqlite_bind_key(struct sqlite_writer *writer, struct table_entry *entry,
                                  sqlite3_stmt *stmt, const struct tr_cell *cells,
                                  const struct tr_cell *other, struct tr_error *err)
{
    const struct tr_table *table = entry->table;
    for (unsigned i = 0; i < table->key_count; i++) {
        unsigned column = table->key_columns[i];
        const struct tr_cell *cell = cells != NULL ? &cells[column] : NULL;
        if ((cell == NULL || !tr_sqlite_has_value(cell)) && other != NULL)
            cell = &other[column];
        if (cell == NULL || !tr_sqlite_has_value(cell))
            return tr_fail(err, TR_E_SQLITE_ROW_UNIDENTIFIED,
                           "an event on \"%.100s\" came without its key column \"%.63s\"",
                           table->id.table, table->columns[column].name);
        if (bind_cell(writer, entry, stmt, (int)(table->column_count + 1u + i), column, cell,
                      err) != TR_OK)
            return TR_FAIL;
    }
    return TR_OK;
}

static enum tr_status run(struct sqlite_writer *writer, const struct table_entry *entry,
                          sqlite3_stmt *stmt, struct tr_error *err)
{
    int rc = sqlite3_step(stmt);
    if (rc != SQLITE_DONE) /* before the reset, which may hide the system's own error */
        (void)tr_sqlite_fail(err, writer->db, rc, "write to table \"%.100s\"",
                             entry->table->id.table);
    (void)sqlite3_reset(stmt);
    return rc == SQLITE_DONE ? TR_OK : TR_FAIL;
}

enum tr_status tr_sqlite_write_upsert(struct sqlite_writer *writer, struct table_entry *entry,
                                      const struct tr_cell *cells, struct tr_error *err)
{
    sqlite3_stmt *stmt = entry->upsert;
    bool all;
    if (cells == NULL)
        return tr_fail(err, TR_E_INTERNAL, "a row event on \"%.100s\" came without its cells",
                       entry->table->id.table);
    if (bind_cells(writer, entry, stmt, cells, &all, err) != TR_OK)
        return TR_FAIL;
    if (!all) {
        if (tr_sqlite_variant(writer, entry, VARIANT_UPSERT, &stmt, err) != TR_OK)
            return TR_FAIL;
        for (unsigned i = 0; i < entry->table->column_count; i++) {
            if (entry->mask[i] &&
                bind_cell(writer, entry, stmt, (int)i + 1, i, &cells[i], err) != TR_OK)
                return TR_FAIL;
        }
    }
    return run(writer, entry, stmt, err);
}

enum tr_status tr_sqlite_write_delete(struct sqlite_writer *writer, struct table_entry *entry,
                                      const struct tr_cell *key, const struct tr_cell *other,
                                      struct tr_error *err)
{
    if (tr_sqlite_bind_key(writer, entry, entry->erase, key, other, err) != TR_OK)
        return TR_FAIL;
    return run(writer, entry, entry->erase, err);
}

/* The columns that are there, by the old key. */
static enum tr_status update_present(struct sqlite_writer *writer, struct table_entry *entry,
                                     const struct tr_event *event, enum variant_kind kind,
                                     struct tr_error *err)
{
    sqlite3_stmt *stmt;
    bool all;
    if (bind_cells(writer, entry, NULL, event->after, &all, err) != TR_OK ||
        tr_sqlite_variant(writer, entry, kind, &stmt, err) != TR_OK)
        return TR_FAIL;
    if (stmt == NULL) /* nothing to set */
        return TR_OK;
    for (unsigned i = 0; i < entry->table->column_count; i++) {
        if (!entry->mask[i] || (kind == VARIANT_UPDATE && entry->table->columns[i].key_index > 0))
            continue;
        if (bind_cell(writer, entry, stmt, (int)i + 1, i, &event->after[i], err) != TR_OK)
            return TR_FAIL;
    }
    if (tr_sqlite_bind_key(writer, entry, stmt, event->before, event->after, err) != TR_OK ||
        run(writer, entry, stmt, err) != TR_OK)
        return TR_FAIL;
    if (sqlite3_changes(writer->db) > 0)
        return TR_OK;
    if (all && kind == VARIANT_UPDATE_KEY)
        return tr_sqlite_write_upsert(writer, entry, event->after, err);
    writer->rows_missing++;
    return TR_OK;
}

/* Is the new key another one than the old? Asked only of events that say so: deleting at the new
 * key must never hit the row itself. */
static bool key_differs(const struct tr_table *table, const struct tr_event *event)
{
    for (unsigned i = 0; i < table->key_count; i++) {
        const struct tr_cell *old = &event->before[table->key_columns[i]];
        const struct tr_cell *new = &event->after[table->key_columns[i]];
        if (tr_sqlite_has_value(old) && tr_sqlite_has_value(new) &&
            (old->state != new->state || old->len != new->len ||
             (old->len > 0 && old->state != TR_CELL_NULL &&
              memcmp(old->ptr, new->ptr, old->len) != 0)))
            return true;
    }
    return false;
}

enum tr_status tr_sqlite_write_update(struct sqlite_writer *writer, struct table_entry *entry,
                                      const struct tr_event *event, struct tr_error *err)
{
    const struct tr_table *table = entry->table;
    bool all = true;
    if (event->after == NULL)
        return tr_fail(err, TR_E_INTERNAL, "an update of \"%.100s\" came without its row",
                       table->id.table);
    if (event->flags & TR_EV_KEY_CHANGED) {
        if (event->before == NULL)
            return tr_fail(err, TR_E_SQLITE_ROW_UNIDENTIFIED,
                           "an update of a key of \"%.100s\" came without the old key",
                           table->id.table);
        /* a row at the new key cannot be there unless the target was changed by another hand */
        if (key_differs(table, event) &&
            tr_sqlite_write_delete(writer, entry, event->after, event->before, err) != TR_OK)
            return TR_FAIL;
        return update_present(writer, entry, event, VARIANT_UPDATE_KEY, err);
    }
    for (unsigned i = 0; i < table->column_count && all; i++)
        all = tr_sqlite_has_value(&event->after[i]);
    if (!all)
        return update_present(writer, entry, event, VARIANT_UPDATE, err);
    if (entry->update == NULL) /* nothing but the key */
        return tr_sqlite_write_upsert(writer, entry, event->after, err);
    if (bind_cells(writer, entry, entry->update, event->after, &all, err) != TR_OK ||
        tr_sqlite_bind_key(writer, entry, entry->update, event->before, event->after, err) !=
            TR_OK ||
        run(writer, entry, entry->update, err) != TR_OK)
        return TR_FAIL;
    return sqlite3_changes(writer->db) > 0
               ? TR_OK
               : tr_sqlite_write_upsert(writer, entry, event->after, err);
}

/* Keyless: the rowid of one row that equals the before image. TR_END: there is none. */
static enum tr_status find_row(struct sqlite_writer *writer, struct table_entry *entry,
                               const struct tr_event *event, int64_t *rowid, struct tr_error *err)
{
    sqlite3_stmt *stmt;
    bool all, any = false;
    if (event->before == NULL || (event->flags & TR_EV_BEFORE_KEY_ONLY)) {
        (void)tr_fail(err, TR_E_SQLITE_ROW_UNIDENTIFIED,
                      "a change of \"%.100s\", which has no key, came without the old row",
                      entry->table->id.table);
        return tr_hint(err,
                       "at the source: ALTER TABLE … REPLICA IDENTITY FULL; or add a primary key");
    }
    if (bind_cells(writer, entry, NULL, event->before, &all, err) != TR_OK)
        return TR_FAIL;
    for (unsigned i = 0; i < entry->table->column_count; i++)
        any |= entry->mask[i];
    if (!any)
        return tr_fail(err, TR_E_SQLITE_ROW_UNIDENTIFIED,
                       "a change of \"%.100s\" came with an empty old row", entry->table->id.table);
    if (tr_sqlite_variant(writer, entry, VARIANT_FIND, &stmt, err) != TR_OK ||
        bind_cells(writer, entry, stmt, event->before, &all, err) != TR_OK)
        return TR_FAIL;
    int rc = sqlite3_step(stmt);
    *rowid = rc == SQLITE_ROW ? sqlite3_column_int64(stmt, 0) : 0;
    (void)sqlite3_reset(stmt);
    if (rc != SQLITE_ROW && rc != SQLITE_DONE)
        return tr_sqlite_fail(err, writer->db, rc, "find a row of table \"%.100s\"",
                              entry->table->id.table);
    return rc == SQLITE_ROW ? TR_OK : TR_END;
}

static enum tr_status write_keyless(struct sqlite_writer *writer, struct table_entry *entry,
                                    const struct tr_event *event, struct tr_error *err)
{
    int64_t rowid;
    bool all;
    sqlite3_stmt *stmt = entry->erase;
    if (event->op == TR_OP_UPDATE && event->after == NULL)
        return tr_fail(err, TR_E_INTERNAL, "an update came without its row");
    enum tr_status status = find_row(writer, entry, event, &rowid, err);
    if (status == TR_END)
        writer->rows_missing++;
    if (status != TR_OK)
        return status == TR_END ? TR_OK : TR_FAIL;
    if (event->op == TR_OP_UPDATE) {
        if (bind_cells(writer, entry, NULL, event->after, &all, err) != TR_OK ||
            tr_sqlite_variant(writer, entry, VARIANT_UPDATE_ROW, &stmt, err) != TR_OK)
            return TR_FAIL;
        if (stmt == NULL)
            return TR_OK;
        if (bind_cells(writer, entry, stmt, event->after, &all, err) != TR_OK)
            return TR_FAIL;
    }
    (void)sqlite3_bind_int64(stmt, (int)(entry->table->column_count + 1u), rowid);
    return run(writer, entry, stmt, err);
}

enum tr_status tr_sqlite_write_row(struct sqlite_writer *writer, const struct tr_event *event,
                                   struct tr_error *err)
{
    struct table_entry *entry;
    int injected = TR_FAILPOINT("sink.sqlite.write");
    if (injected != 0)
        return tr_sqlite_failpoint_error("sink.sqlite.write", injected, err);
    if (tr_sqlite_entry(writer, event->table, &entry, err) != TR_OK)
        return TR_FAIL;
    if (writer->scratch.used_bytes > 0)
        tr_arena_reset(&writer->scratch);
    if (entry->version != NULL && event->op != TR_OP_TRUNCATE)
        return tr_sqlite_write_newest(writer, entry, event, err);
    switch (event->op) {
    case TR_OP_CREATE:
    case TR_OP_READ:
        return tr_sqlite_write_upsert(writer, entry, event->after, err);
    case TR_OP_UPDATE:
        return entry->table->key_count > 0 ? tr_sqlite_write_update(writer, entry, event, err)
                                           : write_keyless(writer, entry, event, err);
    case TR_OP_DELETE:
        if (entry->table->key_count == 0)
            return write_keyless(writer, entry, event, err);
        if (tr_sqlite_write_delete(writer, entry, event->before, NULL, err) != TR_OK)
            return TR_FAIL;
        writer->rows_missing += sqlite3_changes(writer->db) == 0;
        return TR_OK;
    case TR_OP_TRUNCATE:
        return run(writer, entry, entry->truncate, err);
    default:
        return tr_fail(err, TR_E_INTERNAL, "the SQLite sink was handed an event of kind %d",
                       event->op);
    }
}
