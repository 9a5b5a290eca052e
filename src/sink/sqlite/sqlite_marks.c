/* The position table: tailrace_position(pipeline, item, value), written in the transaction that
 * holds the rows. Marks are merged in memory and written once per transaction of ours, just before
 * its COMMIT: a source transaction of one row costs no second statement. Writer thread. */
#include <stdlib.h>
#include <string.h>

#include "sqlite_internal.h"

enum tr_status tr_sqlite_position_table(sqlite3 *db, struct tr_error *err)
{
    if (tr_sqlite_exec(db,
                       "CREATE TABLE IF NOT EXISTS \"" POSITION_TABLE "\" (pipeline TEXT NOT NULL, "
                       "item TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (pipeline, item)) "
                       "WITHOUT ROWID",
                       "make the table " POSITION_TABLE, err) != TR_OK)
        return TR_FAIL;
    struct shape shape;
    if (tr_sqlite_shape_load(db, POSITION_TABLE, &shape, err) != TR_OK)
        return TR_FAIL;
    bool right =
        !shape.is_view && shape.pk_count == 2 && tr_sqlite_shape_column(&shape, "pipeline") >= 0 &&
        tr_sqlite_shape_column(&shape, "item") >= 0 && tr_sqlite_shape_column(&shape, "value") >= 0;
    tr_sqlite_shape_free(&shape);
    if (right)
        return TR_OK;
    (void)tr_fail(err, TR_E_SQLITE_POSITION_TABLE, "table " POSITION_TABLE " has other columns");
    return tr_hint(err,
                   "ALTER TABLE \"" POSITION_TABLE "\" RENAME TO other_name; or set another path");
}

enum tr_status tr_sqlite_marks_open(struct pending_marks *marks, sqlite3 *db, const char *pipeline,
                                    struct tr_error *err)
{
    marks->pipeline = pipeline;
    marks->items = calloc(MARKS_PENDING_MAX, sizeof *marks->items);
    if (marks->items == NULL)
        return tr_sqlite_no_memory(err);
    static const char what[] = "prepare statements on " POSITION_TABLE;
    if (tr_sqlite_prepare(db,
                          "INSERT INTO \"" POSITION_TABLE "\" (pipeline, item, value) "
                          "VALUES (?1, ?2, ?3) ON CONFLICT (pipeline, item) "
                          "DO UPDATE SET value = excluded.value",
                          true, &marks->set, what, err) != TR_OK ||
        tr_sqlite_prepare(db,
                          "DELETE FROM \"" POSITION_TABLE "\" WHERE pipeline = ?1 AND item = ?2",
                          true, &marks->erase, what, err) != TR_OK ||
        tr_sqlite_prepare(db,
                          "DELETE FROM \"" POSITION_TABLE "\" WHERE pipeline = ?1 "
                          "AND substr(item, 1, length(?2)) = ?2",
                          true, &marks->erase_prefix, what, err) != TR_OK)
        return TR_FAIL;
    return TR_OK;
}

void tr_sqlite_marks_close(struct pending_marks *marks)
{
    (void)sqlite3_finalize(marks->set);
    (void)sqlite3_finalize(marks->erase);
    (void)sqlite3_finalize(marks->erase_prefix);
    for (size_t i = 0; marks->items != NULL && i < MARKS_PENDING_MAX; i++)
        free(marks->items[i].value);
    free(marks->items);
    *marks = (struct pending_marks){0};
}

/* Takes out what a deletion by prefix will delete anyway; the slots' value buffers stay. */
static void remove_prefix(struct pending_marks *marks, const char *prefix, size_t len)
{
    size_t kept = 0;
    for (size_t i = 0; i < marks->count; i++) {
        if (marks->items[i].key_len >= len && memcmp(marks->items[i].key, prefix, len) == 0)
            continue;
        if (kept != i) {
            struct pending_mark moved = marks->items[kept];
            marks->items[kept] = marks->items[i];
            marks->items[i] = moved;
        }
        kept++;
    }
    marks->count = kept;
}

enum tr_status tr_sqlite_marks_add(struct pending_marks *marks, const struct tr_mark *mark,
                                   struct tr_error *err)
{
    size_t key_len = mark->key.len;
    if (key_len == 0 || key_len > TR_MARK_KEY_BYTES_MAX ||
        mark->value.len > TR_MARK_VALUE_BYTES_MAX)
        return tr_fail(err, TR_E_INTERNAL, "a source gave a mark that cannot be stored");
    bool by_prefix = mark->key.ptr[key_len - 1] == '*';
    if (by_prefix)
        remove_prefix(marks, mark->key.ptr, key_len - 1);
    struct pending_mark *item = NULL;
    for (size_t i = 0; i < marks->count && item == NULL; i++) {
        if (marks->items[i].key_len == key_len &&
            memcmp(marks->items[i].key, mark->key.ptr, key_len) == 0)
            item = &marks->items[i];
    }
    if (item == NULL) {
        if (marks->count == MARKS_PENDING_MAX)
            return TR_AGAIN;
        item = &marks->items[marks->count++];
        memcpy(item->key, mark->key.ptr, key_len);
        item->key[key_len] = '\0';
        item->key_len = key_len;
        item->value_len = 0;
    }
    size_t value_len = by_prefix ? 0 : mark->value.len;
    if (item->value_capacity < value_len) {
        char *value = realloc(item->value, value_len);
        if (value == NULL)
            return tr_sqlite_no_memory(err);
        item->value = value;
        item->value_capacity = value_len;
    }
    if (value_len > 0)
        memcpy(item->value, mark->value.ptr, value_len);
    item->value_len = value_len;
    return TR_OK;
}

enum tr_status tr_sqlite_marks_write(struct pending_marks *marks, sqlite3 *db, struct tr_error *err)
{
    for (size_t i = 0; i < marks->count; i++) {
        const struct pending_mark *item = &marks->items[i];
        bool by_prefix = item->key[item->key_len - 1] == '*';
        sqlite3_stmt *stmt = by_prefix             ? marks->erase_prefix
                             : item->value_len > 0 ? marks->set
                                                   : marks->erase;
        (void)sqlite3_bind_text(stmt, 1, marks->pipeline, -1, SQLITE_STATIC);
        (void)sqlite3_bind_text(stmt, 2, item->key, (int)(item->key_len - by_prefix),
                                SQLITE_STATIC);
        if (stmt == marks->set)
            (void)sqlite3_bind_text(stmt, 3, item->value, (int)item->value_len, SQLITE_STATIC);
        if (tr_sqlite_step(db, stmt, "store the position", err) != TR_OK)
            return TR_FAIL;
    }
    marks->count = 0;
    return TR_OK;
}
