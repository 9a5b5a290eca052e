/* The position table: tailrace_position(pipeline, item, value), written in the transaction that
 * holds the rows. Marks are merged in memory and written once per transaction of ours, just before
 * its COMMIT: a source transaction of one row costs no second statement. Positions of splits are stored
 * by compare-and-set (event/pending_marks.h). Writer thread. */
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

enum tr_status tr_sqlite_marks_open(struct sqlite_marks *marks, sqlite3 *db,
                                    const struct sqlite_sink *sink, struct tr_error *err)
{
    static const char what[] = "prepare statements on " POSITION_TABLE;
    static const char get[] =
        "SELECT value FROM \"" POSITION_TABLE "\" WHERE pipeline = ?1 AND item = ?2";
    static const char set[] = "INSERT INTO \"" POSITION_TABLE "\" (pipeline, item, value) "
                              "VALUES (?1, ?2, ?3) ON CONFLICT (pipeline, item) "
                              "DO UPDATE SET value = excluded.value";
    static const char erase[] =
        "DELETE FROM \"" POSITION_TABLE "\" WHERE pipeline = ?1 AND item = ?2";
    static const char erase_prefix[] = "DELETE FROM \"" POSITION_TABLE "\" WHERE pipeline = ?1 "
                                       "AND substr(item, 1, length(?2)) = ?2";
    marks->sink = sink;
    if (tr_sqlite_prepare(db, get, true, &marks->get, what, err) != TR_OK ||
        tr_sqlite_prepare(db, set, true, &marks->set, what, err) != TR_OK ||
        tr_sqlite_prepare(db, erase, true, &marks->erase, what, err) != TR_OK ||
        tr_sqlite_prepare(db, erase_prefix, true, &marks->erase_prefix, what, err) != TR_OK)
        return TR_FAIL;
    return tr_state_copy(&marks->guard.known, &sink->loaded.known, err);
}

void tr_sqlite_marks_close(struct sqlite_marks *marks)
{
    (void)sqlite3_finalize(marks->get);
    (void)sqlite3_finalize(marks->set);
    (void)sqlite3_finalize(marks->erase);
    (void)sqlite3_finalize(marks->erase_prefix);
    tr_pending_marks_free(&marks->pending);
    tr_mark_guard_free(&marks->guard);
    *marks = (struct sqlite_marks){0};
}

/* The transaction holds the file's write lock: what is read here stands until it ends. */
static enum tr_status check_guard(struct sqlite_marks *marks, sqlite3 *db,
                                  const struct tr_pending_mark *mark, struct tr_error *err)
{
    sqlite3_stmt *stmt = marks->get;
    (void)sqlite3_bind_text(stmt, 1, marks->sink->pipeline, -1, SQLITE_STATIC);
    (void)sqlite3_bind_text(stmt, 2, mark->key, mark->key_len, SQLITE_STATIC);
    int rc = sqlite3_step(stmt);
    enum tr_status status = TR_OK;
    if (rc != SQLITE_ROW && rc != SQLITE_DONE) {
        status = tr_sqlite_fail(err, db, rc, "read the position");
    } else {
        const char *stored = NULL;
        if (rc == SQLITE_ROW && (stored = (const char *)sqlite3_column_text(stmt, 0)) == NULL)
            status = tr_sqlite_no_memory(err);
        else if (!tr_mark_guard_accepts(&marks->guard, mark, stored))
            status = tr_mark_guard_conflict(marks->sink->pipeline, marks->sink->path, err);
    }
    (void)sqlite3_reset(stmt);
    return status;
}

static enum tr_status write_mark(struct sqlite_marks *marks, sqlite3 *db,
                                 const struct tr_pending_mark *mark, struct tr_error *err)
{
    const char *value = tr_pending_value(mark);
    sqlite3_stmt *stmt = mark->prefix     ? marks->erase_prefix
                         : *value != '\0' ? marks->set
                                          : marks->erase;
    if (mark->guarded && stmt == marks->set && check_guard(marks, db, mark, err) != TR_OK)
        return TR_FAIL;
    (void)sqlite3_bind_text(stmt, 1, marks->sink->pipeline, -1, SQLITE_STATIC);
    (void)sqlite3_bind_text(stmt, 2, mark->key, mark->key_len, SQLITE_STATIC);
    if (stmt == marks->set)
        (void)sqlite3_bind_text(stmt, 3, value, (int)mark->value.len, SQLITE_STATIC);
    return tr_sqlite_step(db, stmt, "store the position", err);
}

enum tr_status tr_sqlite_marks_write(struct sqlite_marks *marks, sqlite3 *db, struct tr_error *err)
{
    for (size_t i = 0; i < marks->pending.count; i++) {
        if (write_mark(marks, db, &marks->pending.items[i], err) != TR_OK)
            return TR_FAIL;
    }
    /* if the COMMIT fails the writer is done for, and with it what it remembers */
    if (tr_mark_guard_stored(&marks->guard, &marks->pending, err) != TR_OK)
        return TR_FAIL;
    tr_pending_marks_clear(&marks->pending);
    return TR_OK;
}
