/* One connection to the target: connecting, statements, pipelines, COPY; and the mapping of
 * SQLSTATEs to our codes. A link belongs to one thread; every wait also watches wake_fd (the sink's
 * eventfd), which interrupt() makes readable for good. */
#ifndef TR_SINK_POSTGRES_LINK_H
#define TR_SINK_POSTGRES_LINK_H

#include <libpq-fe.h>
#include <stdbool.h>

#include "base/outbuf.h"
#include "sink/postgres/options.h"
#include "tailrace/event.h"

#define TR_PGS_SERVER_VERSION_MIN 120000

enum tr_pgs_purpose {
    TR_PGS_CONTROL, /* marks, preflight */
    TR_PGS_WRITER,  /* sets the replication role and the planner's switches for apply */
    TR_PGS_SCAN     /* reads for verify */
};

/* A statement that is prepared on its first use. */
struct tr_pgs_stmt {
    char *sql; /* malloc'd; NULL: not made yet */
    int param_count;
    uint32_t number; /* its name on the server is tr_<number>; 0: none yet */
    bool prepared;
};

/* A statement's parameters, all text; or, with formats, each as it says: 0 text, 1 binary, of
 * lengths[i] bytes. */
struct tr_pgs_params {
    const char **values; /* NULL: NULL */
    int *lengths, *formats;
};

struct tr_pgs_queued {
    struct tr_pgs_stmt *prepares; /* this command prepares that statement; NULL: it runs one */
    uint32_t tag;
};

struct tr_pgs_link {
    PGconn *conn;
    int wake_fd;
    int server_version;
    bool replica_role; /* session_replication_role is replica */
    char sqlstate[6];  /* of the last server error; empty when it was the connection */
    uint32_t statement_count;
    struct tr_pgs_queued *queued; /* what the pipeline has under way, in order */
    uint32_t queued_count, queued_capacity;
    size_t queued_bytes;
};

/* ---- link.c ---- */
/* Connects and sets the session up. pipeline_name goes into application_name. */
enum tr_status tr_pgs_link_open(struct tr_pgs_link *link, const struct tr_pgs_options *options,
                                bool sslmode_given, const char *pipeline_name, int wake_fd,
                                enum tr_pgs_purpose purpose, struct tr_error *err) TR_WARN_UNUSED;
void tr_pgs_link_close(struct tr_pgs_link *link);
bool tr_pgs_link_alive(const struct tr_pgs_link *link);
/* Runs SQL text (several statements allowed) and wants no rows; the last result's count of rows
 * into *rows unless NULL. `doing` begins the error message: "could not create the table". */
enum tr_status tr_pgs_exec(struct tr_pgs_link *link, const char *sql, const char *doing, long *rows,
                           struct tr_error *err) TR_WARN_UNUSED;
/* One statement with text parameters; *result is the caller's to PQclear. */
enum tr_status tr_pgs_query(struct tr_pgs_link *link, const char *sql, int param_count,
                            const char *const *params, const char *doing, PGresult **result,
                            struct tr_error *err) TR_WARN_UNUSED;
/* The next result of the command under way; NULL at its end. */
enum tr_status tr_pgs_next_result(struct tr_pgs_link *link, PGresult **result,
                                  struct tr_error *err) TR_WARN_UNUSED;
/* COPY … FROM STDIN: begin, data…, end. After a failure of any of them the COPY is over. */
enum tr_status tr_pgs_copy_begin(struct tr_pgs_link *link, const char *sql,
                                 struct tr_error *err) TR_WARN_UNUSED;
enum tr_status tr_pgs_copy_data(struct tr_pgs_link *link, const char *data, size_t len,
                                struct tr_error *err) TR_WARN_UNUSED;
/* *line: the input line that the server's error names, 0 when none. */
enum tr_status tr_pgs_copy_end(struct tr_pgs_link *link, long *rows, uint64_t *line,
                               struct tr_error *err) TR_WARN_UNUSED;
/* Ends a COPY … FROM STDIN that the server shall fail: always TR_FAIL, the transaction is lost. */
enum tr_status tr_pgs_copy_give_up(struct tr_pgs_link *link, struct tr_error *err);
/* Next row of a COPY … TO STDOUT; *data is to be freed with PQfreemem. TR_END after the last. */
enum tr_status tr_pgs_copy_read(struct tr_pgs_link *link, char **data, int *len,
                                struct tr_error *err);
/* Appends "name" or 'literal' as the server quotes them. */
void tr_pgs_identifier(struct tr_pgs_link *link, struct tr_outbuf *out, const char *name);
void tr_pgs_literal(struct tr_pgs_link *link, struct tr_outbuf *out, const char *text);

/* ---- pipe.c: libpq's pipeline mode ---- */
enum tr_status tr_pgs_pipe_begin(struct tr_pgs_link *link, struct tr_error *err) TR_WARN_UNUSED;
enum tr_status tr_pgs_pipe_stmt(struct tr_pgs_link *link, struct tr_pgs_stmt *stmt,
                                const struct tr_pgs_params *params, uint32_t tag,
                                struct tr_error *err) TR_WARN_UNUSED;
/* params: NULL when there are none. */
enum tr_status tr_pgs_pipe_sql(struct tr_pgs_link *link, const char *sql, int param_count,
                               const struct tr_pgs_params *params, uint32_t tag,
                               struct tr_error *err) TR_WARN_UNUSED;
/* Called for each command that succeeded, with its count of rows. */
typedef void (*tr_pgs_done_fn)(void *ctx, uint32_t tag, long rows, const char *command);
/* Sync: waits for the results of all that was queued. At the first failure err is filled and
 * *failed_tag names the command; the commands behind it did not run. */
enum tr_status tr_pgs_pipe_sync(struct tr_pgs_link *link, tr_pgs_done_fn done, void *ctx,
                                uint32_t *failed_tag, struct tr_error *err) TR_WARN_UNUSED;
/* Leaves pipeline mode; drops what is queued and unsent results of a failed queueing. */
enum tr_status tr_pgs_pipe_end(struct tr_pgs_link *link, struct tr_error *err) TR_WARN_UNUSED;
void tr_pgs_stmt_free(struct tr_pgs_link *link, struct tr_pgs_stmt *stmt);

/* ---- fail.c ---- */
/* Fills err from a failed result (NULL: from the connection) and link->sqlstate. Values of rows
 * never get into it: for data errors the server's text is left out and only names are told. */
enum tr_status tr_pgs_fail(struct tr_pgs_link *link, const PGresult *result, const char *doing,
                           struct tr_error *err);
enum tr_status tr_pgs_fail_connect(struct tr_pgs_link *link, const char *where,
                                   struct tr_error *err);
bool tr_pgs_sqlstate_is(const struct tr_pgs_link *link, const char *prefix);

#endif
