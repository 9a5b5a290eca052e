/* The deletions that last write wins remembers: tailrace_deleted(pipeline, target, key, version,
 * deleted_at), written in the transaction that holds the rows.
 *
 *   key         JSON array of the key's values as text
 *   version     compares by its bytes as the versions do (encode/version_key.h)
 *   deleted_at  seconds since 1970, when the deletion was written
 *
 * A key has a row in its table or a remembered deletion, never both. A deletion whose version is NULL
 * is not remembered: it is older than nothing. TRUNCATE leaves the remembered ones alone, since it has
 * no version. Writer thread. */
#include <stdio.h>

#include "base/clock.h"
#include "sqlite_internal.h"

#define SWEEP_MS_MIN 60000   /* at most once a minute, */
#define SWEEP_MS_MAX 3600000 /* at least once an hour, */
#define SWEEP_SHARE 100      /* and else a hundred times within the retention */

static const char write_what[] = "write to the table " DELETED_TABLE;

enum tr_status tr_sqlite_deleted_open(struct sqlite_writer *writer, struct tr_error *err)
{
    struct sqlite_deleted *deleted = &writer->deleted;
    sqlite3 *db = writer->db;
    static const char what[] = "prepare statements on " DELETED_TABLE;
    static const char where[] = " WHERE pipeline = ?1 AND target = ?2 AND key = ?3";
    char find[160], erase[160];
    if (deleted->find != NULL)
        return TR_OK;
    (void)snprintf(find, sizeof find, "SELECT version FROM \"" DELETED_TABLE "\"%s", where);
    (void)snprintf(erase, sizeof erase, "DELETE FROM \"" DELETED_TABLE "\"%s", where);
    if (tr_sqlite_exec(db,
                       "CREATE TABLE IF NOT EXISTS \"" DELETED_TABLE "\" (pipeline TEXT NOT NULL, "
                       "target TEXT NOT NULL, key TEXT NOT NULL, version TEXT NOT NULL, "
                       "deleted_at INTEGER NOT NULL, PRIMARY KEY (pipeline, target, key)) "
                       "WITHOUT ROWID",
                       "make the table " DELETED_TABLE, err) != TR_OK ||
        tr_sqlite_prepare(db,
                          "INSERT INTO \"" DELETED_TABLE "\" (pipeline, target, key, version, "
                          "deleted_at) VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO UPDATE SET "
                          "version = excluded.version, deleted_at = excluded.deleted_at",
                          true, &deleted->set, what, err) != TR_OK ||
        tr_sqlite_prepare(db, erase, true, &deleted->erase, what, err) != TR_OK ||
        tr_sqlite_prepare(db,
                          "DELETE FROM \"" DELETED_TABLE "\" WHERE pipeline = ?1 "
                          "AND deleted_at < ?2",
                          true, &deleted->sweep, what, err) != TR_OK ||
        tr_sqlite_prepare(db, find, true, &deleted->find, what, err) != TR_OK) {
        tr_sqlite_deleted_close(deleted);
        return TR_FAIL;
    }
    if (writer->in_transaction)
        writer->txn_changes++; /* not to be rolled back as an empty transaction: it is there now */
    return TR_OK;
}

void tr_sqlite_deleted_close(struct sqlite_deleted *deleted)
{
    (void)sqlite3_finalize(deleted->find);
    (void)sqlite3_finalize(deleted->set);
    (void)sqlite3_finalize(deleted->erase);
    (void)sqlite3_finalize(deleted->sweep);
    *deleted = (struct sqlite_deleted){0};
}

static void bind_key(const struct sqlite_writer *writer, sqlite3_stmt *stmt, const char *target,
                     struct tr_slice key)
{
    (void)sqlite3_bind_text(stmt, 1, writer->sink->pipeline, -1, SQLITE_STATIC);
    (void)sqlite3_bind_text(stmt, 2, target, -1, SQLITE_STATIC);
    (void)sqlite3_bind_text(stmt, 3, key.ptr, (int)key.len, SQLITE_STATIC);
}

enum tr_status tr_sqlite_deleted_find(struct sqlite_writer *writer, const char *target,
                                      struct tr_slice key, struct tr_outbuf *version, bool *found,
                                      struct tr_error *err)
{
    sqlite3_stmt *stmt = writer->deleted.find;
    bind_key(writer, stmt, target, key);
    int rc = sqlite3_step(stmt);
    enum tr_status status = TR_OK;
    *found = rc == SQLITE_ROW;
    tr_outbuf_clear(version);
    if (rc == SQLITE_ROW)
        tr_outbuf_bytes(version, sqlite3_column_text(stmt, 0),
                        (size_t)sqlite3_column_bytes(stmt, 0));
    else if (rc != SQLITE_DONE)
        status = tr_sqlite_fail(err, writer->db, rc, "read the table " DELETED_TABLE);
    (void)sqlite3_reset(stmt);
    return version->failed ? tr_sqlite_no_memory(err) : status;
}

enum tr_status tr_sqlite_deleted_set(struct sqlite_writer *writer, const char *target,
                                     struct tr_slice key, struct tr_slice version,
                                     struct tr_error *err)
{
    sqlite3_stmt *stmt = writer->deleted.set;
    if (version.len == 0)
        return TR_OK;
    bind_key(writer, stmt, target, key);
    (void)sqlite3_bind_text(stmt, 4, version.ptr, (int)version.len, SQLITE_STATIC);
    (void)sqlite3_bind_int64(stmt, 5, tr_clock_wall_us() / 1000000);
    return tr_sqlite_step(writer->db, stmt, write_what, err);
}

enum tr_status tr_sqlite_deleted_erase(struct sqlite_writer *writer, const char *target,
                                       struct tr_slice key, struct tr_error *err)
{
    bind_key(writer, writer->deleted.erase, target, key);
    return tr_sqlite_step(writer->db, writer->deleted.erase, write_what, err);
}

enum tr_status tr_sqlite_deleted_sweep(struct sqlite_writer *writer, struct tr_error *err)
{
    struct sqlite_deleted *deleted = &writer->deleted;
    int64_t retention_ms = writer->sink->options->tombstone_retention_ms;
    int64_t every_ms = retention_ms / SWEEP_SHARE;
    int64_t now_ms = tr_clock_mono_ms();
    if (every_ms < SWEEP_MS_MIN)
        every_ms = SWEEP_MS_MIN;
    if (every_ms > SWEEP_MS_MAX)
        every_ms = SWEEP_MS_MAX;
    if (deleted->find == NULL || retention_ms == 0 ||
        (deleted->swept_ms != 0 && now_ms - deleted->swept_ms < every_ms))
        return TR_OK;
    deleted->swept_ms = now_ms;
    (void)sqlite3_bind_text(deleted->sweep, 1, writer->sink->pipeline, -1, SQLITE_STATIC);
    (void)sqlite3_bind_int64(deleted->sweep, 2,
                             tr_clock_wall_us() / 1000000 - retention_ms / 1000);
    return tr_sqlite_step(writer->db, deleted->sweep, write_what, err);
}

enum tr_status tr_sqlite_deleted_move(sqlite3 *db, const char *from, const char *to,
                                      struct tr_error *err)
{
    struct shape shape;
    sqlite3_stmt *stmt = NULL;
    enum tr_status status = tr_sqlite_shape_load(db, DELETED_TABLE, &shape, err);
    if (status != TR_OK)
        return status == TR_END ? TR_OK : TR_FAIL;
    tr_sqlite_shape_free(&shape);
    const char *sql = to == NULL
                          ? "DELETE FROM \"" DELETED_TABLE "\" WHERE target = ?1"
                          : "UPDATE OR REPLACE \"" DELETED_TABLE "\" SET target = ?2 "
                            "WHERE target = ?1";
    if (tr_sqlite_prepare(db, sql, false, &stmt, write_what, err) != TR_OK)
        return TR_FAIL;
    (void)sqlite3_bind_text(stmt, 1, from, -1, SQLITE_STATIC);
    if (to != NULL)
        (void)sqlite3_bind_text(stmt, 2, to, -1, SQLITE_STATIC);
    status = tr_sqlite_step(db, stmt, write_what, err);
    (void)sqlite3_finalize(stmt);
    return status;
}
