/* SQLite's result codes → error codes, in one table, and the few calls that every file needs. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "sqlite_internal.h"

/* Primary result codes: https://www.sqlite.org/rescode.html */
static const struct {
    int rc;
    enum tr_code code;
} code_map[] = {
    {SQLITE_FULL, TR_E_SQLITE_DISK_FULL},
    {SQLITE_IOERR, TR_E_SQLITE_IO},
    {SQLITE_BUSY, TR_E_SQLITE_BUSY},
    {SQLITE_LOCKED, TR_E_SQLITE_BUSY},
    {SQLITE_PROTOCOL, TR_E_SQLITE_BUSY},
    {SQLITE_CORRUPT, TR_E_SQLITE_CORRUPT},
    {SQLITE_NOTADB, TR_E_SQLITE_NOT_A_DATABASE},
    {SQLITE_READONLY, TR_E_SQLITE_CANNOT_OPEN},
    {SQLITE_CANTOPEN, TR_E_SQLITE_CANNOT_OPEN},
    {SQLITE_PERM, TR_E_SQLITE_CANNOT_OPEN},
    {SQLITE_AUTH, TR_E_SQLITE_CANNOT_OPEN},
    {SQLITE_NOMEM, TR_E_OUT_OF_MEMORY},
    {SQLITE_TOOBIG, TR_E_SQLITE_VALUE},
    {SQLITE_CONSTRAINT, TR_E_SQLITE_CONSTRAINT},
    {SQLITE_MISMATCH, TR_E_SQLITE_CONSTRAINT},
    {SQLITE_INTERRUPT, TR_E_INTERRUPTED},
    {SQLITE_ABORT, TR_E_INTERRUPTED},
    {SQLITE_MISUSE, TR_E_INTERNAL},
    {SQLITE_RANGE, TR_E_INTERNAL},
    {SQLITE_INTERNAL, TR_E_INTERNAL},
    {SQLITE_ERROR, TR_E_SQLITE_STATEMENT},
    {SQLITE_SCHEMA, TR_E_SQLITE_STATEMENT},
};

static enum tr_code find_code(sqlite3 *db, int rc, int extended)
{
    if ((rc & 0xff) == SQLITE_IOERR) {
        int system = db != NULL ? sqlite3_system_errno(db) : 0;
        if (system == ENOSPC || system == EDQUOT || system == EFBIG ||
            extended == SQLITE_IOERR_SHMSIZE)
            return TR_E_SQLITE_DISK_FULL;
        /* a rollback in between may have lost the system's error: a write fails for want of room */
        if (extended == SQLITE_IOERR_WRITE && system != EIO)
            return TR_E_SQLITE_DISK_FULL;
        if (extended == SQLITE_IOERR_FSYNC || extended == SQLITE_IOERR_DIR_FSYNC)
            return TR_E_SQLITE_SYNC;
        if (extended == SQLITE_IOERR_NOMEM)
            return TR_E_OUT_OF_MEMORY;
    }
    for (size_t i = 0; i < sizeof code_map / sizeof code_map[0]; i++) {
        if (code_map[i].rc == (rc & 0xff))
            return code_map[i].code;
    }
    return TR_E_INTERNAL;
}

enum tr_status tr_sqlite_fail(struct tr_error *err, sqlite3 *db, int rc, const char *format, ...)
{
    char what[256], words[256];
    int extended = db != NULL ? sqlite3_extended_errcode(db) : rc;
    va_list args;
    va_start(args, format);
    (void)vsnprintf(what, sizeof what, format, args);
    va_end(args);
    if ((extended & 0xff) != (rc & 0xff))
        extended = rc;
    (void)snprintf(words, sizeof words, "%s",
                   db != NULL && sqlite3_errcode(db) != SQLITE_OK ? sqlite3_errmsg(db)
                                                                  : sqlite3_errstr(rc));
    enum tr_code code = find_code(db, rc, extended);
    (void)tr_fail(err, code, "could not %s: %s", what, words);
    (void)tr_detail(err, "SQLite result code %d%s%s", extended,
                    db != NULL && sqlite3_system_errno(db) != 0 ? ": " : "",
                    db != NULL && sqlite3_system_errno(db) != 0 ? strerror(sqlite3_system_errno(db))
                                                                : "");
    return tr_hint(err, "%s", tr_error_info(code)->remedy);
}

enum tr_status tr_sqlite_no_memory(struct tr_error *err)
{
    return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory in the SQLite sink");
}

enum tr_status tr_sqlite_exec(sqlite3 *db, const char *sql, const char *what, struct tr_error *err)
{
    int rc = sqlite3_exec(db, sql, NULL, NULL, NULL);
    return rc == SQLITE_OK ? TR_OK : tr_sqlite_fail(err, db, rc, "%s", what);
}

enum tr_status tr_sqlite_exec_buf(sqlite3 *db, struct tr_outbuf *sql, const char *what,
                                  struct tr_error *err)
{
    const char *text = tr_outbuf_cstr(sql);
    return sql->failed ? tr_sqlite_no_memory(err) : tr_sqlite_exec(db, text, what, err);
}

enum tr_status tr_sqlite_step(sqlite3 *db, sqlite3_stmt *stmt, const char *what,
                              struct tr_error *err)
{
    int rc = sqlite3_step(stmt);
    if (rc != SQLITE_DONE) /* before the reset, which may hide the system's own error */
        (void)tr_sqlite_fail(err, db, rc, "%s", what);
    (void)sqlite3_reset(stmt);
    return rc == SQLITE_DONE ? TR_OK : TR_FAIL;
}

enum tr_status tr_sqlite_prepare(sqlite3 *db, const char *sql, bool persistent, sqlite3_stmt **stmt,
                                 const char *what, struct tr_error *err)
{
    int rc =
        sqlite3_prepare_v3(db, sql, -1, persistent ? SQLITE_PREPARE_PERSISTENT : 0, stmt, NULL);
    return rc == SQLITE_OK ? TR_OK : tr_sqlite_fail(err, db, rc, "%s", what);
}
