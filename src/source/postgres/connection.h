/* Connections of the PostgreSQL source: connecting, queries that can be interrupted, and the
 * mapping from SQLSTATE to error codes. */
#ifndef TR_SOURCE_POSTGRES_CONNECTION_H
#define TR_SOURCE_POSTGRES_CONNECTION_H

#include <libpq-fe.h>

#include "source/postgres/options.h"

#define TR_PG_QUERY_TIMEOUT_MS 20000 /* catalog queries */
#define TR_PG_NO_TIMEOUT (-1)

/* A connection and the eventfd that interrupts whoever waits on it. */
struct tr_pg_conn {
    PGconn *pg;
    int wake_fd; /* borrowed; -1: cannot be interrupted */
};

/* Connects within connect.timeout and brings the session into the canonical text form (DateStyle
 * ISO, UTC, hex, …; no search_path). replication: a walsender of the same database. */
enum tr_status tr_pg_connect(const struct tr_pg_settings *settings, bool replication, int wake_fd,
                             struct tr_pg_conn *conn, struct tr_error *err);
void tr_pg_disconnect(struct tr_pg_conn *conn);

/* Waits for the socket (for_write: also until it can be written) or a wake-up. TR_OK: ready.
 * TR_AGAIN: timeout or wake-up (which is consumed; *woken tells, NULL when not needed). */
enum tr_status tr_pg_wait(struct tr_pg_conn *conn, bool for_write, int timeout_ms, bool *woken);

/* Runs one or several statements without parameters and gives the last result (which is TUPLES_OK
 * or COMMAND_OK); `what` says in a message what it was for: "could not <what>". */
enum tr_status tr_pg_exec(struct tr_pg_conn *conn, const char *what, const char *sql,
                          int timeout_ms, PGresult **result, struct tr_error *err);
/* The same with text parameters, one statement. */
enum tr_status tr_pg_query(struct tr_pg_conn *conn, const char *what, const char *sql,
                           int param_count, const char *const *params, PGresult **result,
                           struct tr_error *err);
/* Sent already: waits for the next result. TR_END: no more results. A failed result is TR_FAIL.
 * COPY_OUT results are given as TR_OK. */
enum tr_status tr_pg_result(struct tr_pg_conn *conn, const char *what, int64_t deadline_ms,
                            PGresult **result, struct tr_error *err);

/* An error from a result (its SQLSTATE and primary message; never DETAIL, which may quote a row),
 * or, when result is NULL or has none, from the connection. */
enum tr_status tr_pg_fail_result(struct tr_error *err, const PGresult *result, const PGconn *pg,
                                 const char *what);
/* The code for a SQLSTATE; PG_QUERY for those without a line in the table. */
enum tr_code tr_pg_code_of_sqlstate(const char *sqlstate);
/* Has the result this SQLSTATE? */
bool tr_pg_is_sqlstate(const PGresult *result, const char *sqlstate);

/* Field helpers: "" / 0 for NULL. */
const char *tr_pg_text(const PGresult *result, int row, int column);
int64_t tr_pg_int(const PGresult *result, int row, int column);
bool tr_pg_bool(const PGresult *result, int row, int column);

struct tr_outbuf;
/* "name" with quotes doubled; schema-qualified form. Works without a connection. */
void tr_pg_put_identifier(struct tr_outbuf *out, const char *name);
void tr_pg_put_qualified(struct tr_outbuf *out, const char *schema, const char *table);
/* 'text' with quotes doubled, E'' when it holds a backslash. */
void tr_pg_put_literal(struct tr_outbuf *out, const char *text);

#endif
