/* Tables with a version: last write wins (sink.h). Writer thread.
 *
 * A key is a register: it holds a row with its version, or a deletion with its version
 * (sqlite_deleted.c), or nothing. Before each change the version that the key has now is read, and
 * the change goes through when its own is not smaller. Versions are compared as keys made from the
 * canonical text (encode/version_key.h), so it does not matter how the file keeps the column. What
 * cannot be read as a version (another hand wrote it) counts as NULL, before every other. */
#include <string.h>

#include "encode/version_key.h"
#include "sqlite_internal.h"

/* What a key holds now; its version is in writer->old_version. */
struct current {
    bool exists, deleted; /* at most one */
};

static unsigned version_index(const struct table_entry *entry)
{
    return entry->table->version_column - 1u;
}

static const struct tr_cell *cell_of(const struct tr_cell *cells, const struct tr_cell *other,
                                     unsigned column)
{
    if (cells != NULL && tr_sqlite_has_value(&cells[column]))
        return &cells[column];
    return other != NULL && tr_sqlite_has_value(&other[column]) ? &other[column] : NULL;
}

/* The event's own version, into writer->version. */
static enum tr_status take_version(struct sqlite_writer *writer, const struct table_entry *entry,
                                   const struct tr_event *event, struct tr_error *err)
{
    const struct tr_table *table = entry->table;
    unsigned column = version_index(entry);
    bool gone = event->op == TR_OP_DELETE;
    const struct tr_cell *cell =
        cell_of(gone ? event->before : event->after, gone ? NULL : event->before, column);
    tr_outbuf_clear(&writer->version);
    if (cell == NULL) {
        (void)tr_fail(err, TR_E_SINK_VERSION_MISSING,
                      "a change of \"%.100s\" came without its version \"%.63s\"", table->id.table,
                      table->columns[column].name);
        return tr_hint(err, "%s", tr_error_info(TR_E_SINK_VERSION_MISSING)->remedy);
    }
    if (!tr_version_key(entry->types[column], cell, &writer->version))
        return tr_fail(err, TR_E_SQLITE_VALUE,
                       "a value of \"%.63s\".\"%.63s\" is not in the form of %s", table->id.table,
                       table->columns[column].name, tr_type_name(entry->types[column]));
    return writer->version.failed ? tr_sqlite_no_memory(err) : TR_OK;
}

static enum tr_status take_key(struct sqlite_writer *writer, const struct table_entry *entry,
                               const struct tr_cell *cells, const struct tr_cell *other,
                               struct tr_error *err)
{
    const struct tr_table *table = entry->table;
    tr_outbuf_clear(&writer->key_text);
    for (unsigned i = 0; i < table->key_count; i++) {
        const struct tr_cell *cell = cell_of(cells, other, table->key_columns[i]);
        if (cell != NULL) /* bind_key tells of the one that is missing */
            tr_key_text(&writer->key_text, i, entry->types[table->key_columns[i]], cell);
    }
    tr_outbuf_byte(&writer->key_text, ']');
    return writer->key_text.failed ? tr_sqlite_no_memory(err) : TR_OK;
}

static struct tr_slice slice_of(const struct tr_outbuf *out)
{
    return (struct tr_slice){out->data, out->len};
}

/* The version in a row of the file, into writer->old_version. */
static enum tr_status load_version(struct sqlite_writer *writer, const struct table_entry *entry,
                                   sqlite3_stmt *stmt, struct tr_error *err)
{
    enum tr_type type = entry->types[version_index(entry)];
    struct sqlite_value value = {.kind = sqlite3_column_type(stmt, 0)};
    struct tr_cell cell;
    tr_outbuf_clear(&writer->old_version);
    switch (value.kind) {
    case SQLITE_INTEGER:
        value.integer = sqlite3_column_int64(stmt, 0);
        break;
    case SQLITE_FLOAT:
        value.real = sqlite3_column_double(stmt, 0);
        break;
    case SQLITE_TEXT:
        value.ptr = (const char *)sqlite3_column_text(stmt, 0);
        value.len = (size_t)sqlite3_column_bytes(stmt, 0);
        break;
    case SQLITE_BLOB:
        value.ptr = sqlite3_column_blob(stmt, 0);
        value.len = (size_t)sqlite3_column_bytes(stmt, 0);
        break;
    default:
        return TR_OK;
    }
    if (!tr_sqlite_load(type, &value, &writer->scratch, &cell))
        return tr_sqlite_no_memory(err);
    if (!tr_version_key(type, &cell, &writer->old_version))
        tr_outbuf_clear(&writer->old_version);
    return writer->old_version.failed ? tr_sqlite_no_memory(err) : TR_OK;
}

static enum tr_status find_current(struct sqlite_writer *writer, struct table_entry *entry,
                                   const struct tr_cell *cells, const struct tr_cell *other,
                                   struct current *current, struct tr_error *err)
{
    sqlite3_stmt *stmt = entry->version;
    const char *target = entry->table->id.table;
    *current = (struct current){0};
    if (tr_sqlite_bind_key(writer, entry, stmt, cells, other, err) != TR_OK ||
        take_key(writer, entry, cells, other, err) != TR_OK)
        return TR_FAIL;
    int rc = sqlite3_step(stmt);
    enum tr_status status = TR_OK;
    if (rc == SQLITE_ROW)
        status = load_version(writer, entry, stmt, err);
    else if (rc != SQLITE_DONE)
        status = tr_sqlite_fail(err, writer->db, rc, "read from table \"%.100s\"", target);
    (void)sqlite3_reset(stmt);
    current->exists = rc == SQLITE_ROW;
    if (status != TR_OK || current->exists)
        return status;
    return tr_sqlite_deleted_find(writer, target, slice_of(&writer->key_text),
                                  &writer->old_version, &current->deleted, err);
}

/* Is the event not older than what the key has now? Counts those that are. */
static bool wins(struct sqlite_writer *writer, const struct current *current)
{
    const struct tr_outbuf *new = &writer->version, *old = &writer->old_version;
    if (!current->exists && !current->deleted)
        return true;
    size_t len = new->len < old->len ? new->len : old->len;
    int order = len > 0 ? memcmp(new->data, old->data, len) : 0;
    bool newest = order != 0 ? order > 0 : new->len >= old->len;
    if (!newest)
        writer->rows_older++;
    return newest;
}

static enum tr_status remember(struct sqlite_writer *writer, const struct table_entry *entry,
                               struct tr_error *err)
{
    return tr_sqlite_deleted_set(writer, entry->table->id.table, slice_of(&writer->key_text),
                                 slice_of(&writer->version), err);
}

static enum tr_status forget(struct sqlite_writer *writer, const struct table_entry *entry,
                             const struct current *current, struct tr_error *err)
{
    if (!current->deleted)
        return TR_OK;
    return tr_sqlite_deleted_erase(writer, entry->table->id.table, slice_of(&writer->key_text),
                                   err);
}

static enum tr_status delete_newest(struct sqlite_writer *writer, struct table_entry *entry,
                                    const struct tr_cell *key, struct tr_error *err)
{
    struct current current;
    if (find_current(writer, entry, key, NULL, &current, err) != TR_OK)
        return TR_FAIL;
    if (!wins(writer, &current))
        return TR_OK;
    if (remember(writer, entry, err) != TR_OK)
        return TR_FAIL;
    if (!current.exists) {
        writer->rows_missing++;
        return TR_OK;
    }
    return tr_sqlite_write_delete(writer, entry, key, NULL, err);
}

static bool is_whole(const struct table_entry *entry, const struct tr_cell *cells)
{
    for (unsigned i = 0; i < entry->table->column_count; i++) {
        if (!tr_sqlite_has_value(&cells[i]))
            return false;
    }
    return true;
}

/* A row at the key of its after image. */
static enum tr_status put_newest(struct sqlite_writer *writer, struct table_entry *entry,
                                 const struct tr_event *event, struct tr_error *err)
{
    struct current current;
    bool update = event->op == TR_OP_UPDATE;
    if (find_current(writer, entry, event->after, event->before, &current, err) != TR_OK)
        return TR_FAIL;
    if (!wins(writer, &current))
        return TR_OK;
    if (update && !current.exists && !is_whole(entry, event->after)) {
        writer->rows_missing++; /* nothing is known of the values that were not sent */
        return TR_OK;
    }
    if (update && current.exists) {
        if (tr_sqlite_write_update(writer, entry, event, err) != TR_OK)
            return TR_FAIL;
    } else if (tr_sqlite_write_upsert(writer, entry, event->after, err) != TR_OK) {
        return TR_FAIL;
    }
    return forget(writer, entry, &current, err);
}

/* The row moves with the values that were not sent, when both keys give way: *moved. */
static enum tr_status move_row(struct sqlite_writer *writer, struct table_entry *entry,
                               const struct tr_event *event, bool *moved, struct tr_error *err)
{
    struct current from, to;
    int64_t older = writer->rows_older;
    *moved = false;
    if (find_current(writer, entry, event->before, NULL, &from, err) != TR_OK)
        return TR_FAIL;
    bool leaves = from.exists && wins(writer, &from);
    if (leaves && find_current(writer, entry, event->after, event->before, &to, err) != TR_OK)
        return TR_FAIL;
    leaves = leaves && wins(writer, &to);
    writer->rows_older = older; /* counted by those who go on */
    if (!leaves)
        return TR_OK;
    *moved = true;
    if (forget(writer, entry, &to, err) != TR_OK ||
        tr_sqlite_write_update(writer, entry, event, err) != TR_OK ||
        take_key(writer, entry, event->before, NULL, err) != TR_OK)
        return TR_FAIL;
    return remember(writer, entry, err);
}

/* A deletion of the old key and a row of the new one, both with the new version. */
static enum tr_status change_key(struct sqlite_writer *writer, struct table_entry *entry,
                                 const struct tr_event *event, struct tr_error *err)
{
    bool moved = false;
    if (event->before == NULL)
        return tr_fail(err, TR_E_SQLITE_ROW_UNIDENTIFIED,
                       "an update of a key of \"%.100s\" came without the old key",
                       entry->table->id.table);
    if (!is_whole(entry, event->after) && move_row(writer, entry, event, &moved, err) != TR_OK)
        return TR_FAIL;
    if (moved)
        return TR_OK;
    struct tr_event row = *event;
    row.before = NULL;
    row.flags = 0;
    if (delete_newest(writer, entry, event->before, err) != TR_OK)
        return TR_FAIL;
    return put_newest(writer, entry, &row, err);
}

enum tr_status tr_sqlite_write_newest(struct sqlite_writer *writer, struct table_entry *entry,
                                      const struct tr_event *event, struct tr_error *err)
{
    bool gone = event->op == TR_OP_DELETE;
    if (gone ? event->before == NULL : event->after == NULL)
        return tr_fail(err, TR_E_INTERNAL, "a row event on \"%.100s\" came without its cells",
                       entry->table->id.table);
    if (take_version(writer, entry, event, err) != TR_OK)
        return TR_FAIL;
    switch (event->op) {
    case TR_OP_DELETE:
        return delete_newest(writer, entry, event->before, err);
    case TR_OP_UPDATE:
        if (event->flags & TR_EV_KEY_CHANGED)
            return change_key(writer, entry, event, err);
        return put_newest(writer, entry, event, err);
    case TR_OP_CREATE:
    case TR_OP_READ:
        return put_newest(writer, entry, event, err);
    default:
        return tr_fail(err, TR_E_INTERNAL, "the SQLite sink was handed an event of kind %d",
                       event->op);
    }
}
