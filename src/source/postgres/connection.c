/* Connections of the PostgreSQL source.
 *
 * Every wait polls the socket and an eventfd, so that interrupt() ends it. Connecting is done in
 * steps (PQconnectPoll) for the same reason; the verbosity is set before the first step, because
 * libpq gives the SQLSTATE of a refused connection only as part of the message text.
 *
 * One table maps SQLSTATEs to our codes; the class comes from the code's definition. Classes of
 * SQLSTATE: https://www.postgresql.org/docs/current/errcodes-appendix.html */
#include "source/postgres/connection.h"

#include <ctype.h>
#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/outbuf.h"

#define SERVER_VERSION_MIN 120000
#define INT_DIGITS_SAFE 18 /* so many fit into 64 bits */

static const struct {
    const char *prefix; /* first match wins */
    enum tr_code code;
} sqlstates[] = {
    {"08P01", TR_E_PG_PROTOCOL},   {"08", TR_E_PG_CONNECT},
    {"28", TR_E_PG_AUTH},          {"3D000", TR_E_PG_DATABASE},
    {"42501", TR_E_PG_PERMISSION}, {"57P", TR_E_PG_SHUTDOWN},
    {"57014", TR_E_PG_BUSY},       {"55006", TR_E_PG_SLOT_IN_USE},
    {"55P03", TR_E_PG_BUSY},       {"53", TR_E_PG_BUSY},
    {"40", TR_E_PG_BUSY},          {"25P03", TR_E_PG_SHUTDOWN}, /* idle in transaction timeout */
    {"25P04", TR_E_PG_SHUTDOWN},                                /* transaction timeout */
    {"58030", TR_E_PG_BUSY},
};

enum tr_code tr_pg_code_of_sqlstate(const char *sqlstate)
{
    for (size_t i = 0; i < sizeof sqlstates / sizeof *sqlstates; i++) {
        if (strncmp(sqlstate, sqlstates[i].prefix, strlen(sqlstates[i].prefix)) == 0)
            return sqlstates[i].code;
    }
    return TR_E_PG_QUERY;
}

bool tr_pg_is_sqlstate(const PGresult *result, const char *sqlstate)
{
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    return state != NULL && strcmp(state, sqlstate) == 0;
}

/* ---- errors --------------------------------------------------------------------------------- */

/* One line, without trailing white space. */
static void one_line(const char *text, char *buf, size_t buf_size)
{
    size_t len = 0;
    for (const char *c = text; *c != '\0' && len + 2 < buf_size; c++) {
        bool space = isspace((unsigned char)*c) != 0;
        if (space && (len == 0 || buf[len - 1] == ' '))
            continue;
        buf[len++] = space ? ' ' : *c;
    }
    while (len > 0 && buf[len - 1] == ' ')
        len--;
    buf[len] = '\0';
}

static void add_hint(struct tr_error *err, const char *words)
{
    switch ((int)err->code) {
    case TR_E_PG_PERMISSION:
        if (strstr(words, "row-level security") != NULL)
            (void)tr_hint(err,
                          "ALTER ROLE … BYPASSRLS; or exclude the table: a copy that leaves out "
                          "rows silently is not made.");
        else
            (void)tr_hint(err,
                          "Grant what is missing, as an administrator: ALTER ROLE … REPLICATION; "
                          "GRANT SELECT ON … TO …");
        break;
    case TR_E_PG_BUSY:
        if (strstr(words, "max_replication_slots") != NULL ||
            strstr(words, "replication slots are in use") != NULL) {
            err->code = TR_E_PG_SLOTS_FULL;
            err->class = tr_error_info(err->code)->class;
            (void)tr_hint(err,
                          "ALTER SYSTEM SET max_replication_slots = …; and restart the server, or "
                          "drop a slot that nobody uses: SELECT slot_name, active FROM "
                          "pg_replication_slots;");
        } else if (strstr(words, "max_wal_senders") != NULL) {
            err->code = TR_E_PG_SENDERS_FULL;
            err->class = tr_error_info(err->code)->class;
            (void)tr_hint(err, "ALTER SYSTEM SET max_wal_senders = …; and restart the server.");
        }
        break;
    default:
        break;
    }
}

enum tr_status tr_pg_fail_result(struct tr_error *err, const PGresult *result, const PGconn *pg,
                                 const char *what)
{
    char words[300];
    const char *state = result == NULL ? NULL : PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *primary =
        result == NULL ? NULL : PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    if (state == NULL || primary == NULL) {
        one_line(pg == NULL ? "" : PQerrorMessage(pg), words, sizeof words);
        (void)tr_fail(err, TR_E_PG_CONNECT, "could not %s: the connection to PostgreSQL was lost",
                      what);
        return tr_detail(err, "%s", words);
    }
    one_line(primary, words, sizeof words);
    enum tr_code code = tr_pg_code_of_sqlstate(state);
    (void)tr_fail(err, code, "could not %s: %s", what, words);
    (void)tr_detail(err, "PostgreSQL: SQLSTATE %s", state);
    add_hint(err, words);
    return TR_FAIL;
}

/* The SQLSTATE inside a verbose connection message: "FATAL:  28P01: …"; severities are translated,
 * their shape is not. */
static bool message_sqlstate(const char *message, char state[6], const char **words)
{
    for (const char *c = strstr(message, ":  "); c != NULL; c = strstr(c + 1, ":  ")) {
        const char *at = c + 3;
        size_t len = strspn(at, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ");
        if (len == 5 && at[5] == ':') {
            memcpy(state, at, 5);
            state[5] = '\0';
            *words = at + 6;
            return true;
        }
    }
    return false;
}

static enum tr_status fail_tls(const struct tr_pg_settings *settings, const char *words,
                               struct tr_error *err)
{
    (void)tr_fail(err, TR_E_PG_TLS, "the connection to PostgreSQL could not be secured");
    (void)tr_detail(err, "%s", words);
    const char *by = settings->sslmode_by_default ? " (the default)" : "";
    if (strstr(words, "root certificate file") != NULL)
        return tr_hint(
            err,
            "sslmode is verify-full or verify-ca%s, which needs the certificate authority: "
            "set sslrootcert to its file (for a public one: "
            "/etc/ssl/certs/ca-certificates.crt), or name a weaker sslmode: require.",
            by);
    if (strstr(words, "does not support SSL") != NULL)
        return tr_hint(
            err,
            "The server has TLS off and sslmode asks for it%s: turn on ssl at the server, or "
            "set sslmode: disable if the network is trusted.",
            by);
    if (strstr(words, "does not match host name") != NULL)
        return tr_hint(err,
                       "Connect by a name that is in the server's certificate, or set sslmode: "
                       "verify-ca.");
    return tr_hint(err, "Set sslrootcert to the certificate authority that signed the server's "
                        "certificate, or name a weaker sslmode.");
}

static enum tr_status fail_refused(const struct tr_pg_settings *settings, const char *state,
                                   const char *words, struct tr_error *err)
{
    char line[300];
    const char *end = strstr(words, "LOCATION:");
    (void)snprintf(line, sizeof line, "%.*s",
                   end == NULL ? (int)sizeof line - 1 : (int)(end - words), words);
    one_line(line, line, sizeof line);
    enum tr_code code = tr_pg_code_of_sqlstate(state);
    if (code == TR_E_PG_PERMISSION &&
        (strstr(line, "walsender") != NULL || strstr(line, "WAL sender") != NULL ||
         strstr(line, "eplication") != NULL))
        code = TR_E_PG_REPLICATION_ROLE;
    (void)tr_fail(err, code, "PostgreSQL refused the connection: %s", line);
    (void)tr_detail(err, "PostgreSQL: SQLSTATE %s", state);
    const char *user = "…";
    for (unsigned i = 0; i < settings->conninfo.count; i++) {
        if (strcmp(settings->conninfo.keywords[i], "user") == 0)
            user = settings->conninfo.values[i];
    }
    switch ((int)code) {
    case TR_E_PG_AUTH:
        if (strcmp(state, "28P01") == 0)
            return tr_hint(err, "Check username and password.");
        return tr_hint(err,
                       "Check username, and that pg_hba.conf has a line for this host, this "
                       "database and \"%s\" (hostssl needs sslmode other than disable).",
                       user);
    case TR_E_PG_REPLICATION_ROLE:
        return tr_hint(err, "ALTER ROLE \"%s\" REPLICATION;", user);
    case TR_E_PG_DATABASE:
        return tr_hint(err, "Check database, or the first part of tables: \"%s\".",
                       settings->database);
    case TR_E_PG_PERMISSION:
        return tr_hint(err, "GRANT CONNECT ON DATABASE \"%s\" TO \"%s\";", settings->database,
                       user);
    default:
        add_hint(err, line);
        return TR_FAIL;
    }
}

static enum tr_status fail_connect(const struct tr_pg_settings *settings, PGconn *pg,
                                   struct tr_error *err)
{
    const char *message = pg == NULL ? "out of memory" : PQerrorMessage(pg);
    char state[6], words[400];
    const char *rest = message;
    if (message_sqlstate(message, state, &rest))
        return fail_refused(settings, state, rest, err);
    one_line(message, words, sizeof words);
    if (strstr(words, "SSL") != NULL || strstr(words, "certificate") != NULL ||
        strstr(words, "sslmode") != NULL || strstr(words, "sslrootcert") != NULL)
        return fail_tls(settings, words, err);
    if (strstr(words, "no password supplied") != NULL || strstr(words, "authentication") != NULL) {
        (void)tr_fail(err, TR_E_PG_AUTH, "PostgreSQL asks for a password and none was given");
        (void)tr_detail(err, "%s", words);
        return tr_hint(err, "Set source.password.");
    }
    (void)tr_fail(err, TR_E_PG_CONNECT, "could not connect to PostgreSQL");
    (void)tr_detail(err, "%s", words);
    return tr_hint(err, "Check hostname and port, and that the server runs and listens there.");
}

/* ---- waiting -------------------------------------------------------------------------------- */

static void consume_wake(int fd)
{
    uint64_t count;
    ssize_t got = read(fd, &count, sizeof count); /* non-blocking eventfd */
    (void)got;
}

enum tr_status tr_pg_wait(struct tr_pg_conn *conn, bool for_write, int timeout_ms, bool *woken)
{
    struct pollfd fds[2] = {
        {.fd = PQsocket(conn->pg), .events = (short)(for_write ? POLLIN | POLLOUT : POLLIN)},
        {.fd = conn->wake_fd, .events = POLLIN}};
    if (woken != NULL)
        *woken = false;
    int ready = poll(fds, conn->wake_fd < 0 ? 1 : 2, timeout_ms);
    if (ready <= 0)
        return TR_AGAIN; /* EINTR too: callers look at their clock */
    if (conn->wake_fd >= 0 && fds[1].revents != 0) {
        consume_wake(conn->wake_fd);
        if (woken != NULL)
            *woken = true;
        return TR_AGAIN;
    }
    return TR_OK;
}

static int remaining_ms(int64_t deadline_ms)
{
    if (deadline_ms < 0)
        return -1;
    int64_t left = deadline_ms - tr_clock_mono_ms();
    return left < 0 ? 0 : left > INT32_MAX ? INT32_MAX : (int)left;
}

/* ---- connecting ----------------------------------------------------------------------------- */

static void on_notice(void *arg, const PGresult *result)
{
    (void)arg;
    char words[300], quoted[320];
    const char *primary = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    if (primary == NULL || !tr_log_enabled(TR_LOG_DEBUG))
        return;
    one_line(primary, words, sizeof words);
    tr_log(TR_LOG_DEBUG, "notice from the source's server", "notice=%s",
           tr_log_quote(words, quoted, sizeof quoted));
}

static PGconn *start_connection(const struct tr_pg_settings *settings, bool replication)
{
    struct tr_pg_conninfo info = settings->conninfo;
    const struct {
        const char *keyword, *value;
    } more[] = {{"dbname", settings->database},
                {"application_name", settings->application_name},
                {"replication", replication ? "database" : NULL}};
    for (size_t i = 0; i < sizeof more / sizeof *more; i++) {
        if (more[i].value == NULL || info.count == TR_PG_CONNINFO_MAX)
            continue;
        info.keywords[info.count] = more[i].keyword;
        info.values[info.count++] = more[i].value;
    }
    info.keywords[info.count] = NULL;
    info.values[info.count] = NULL;
    return PQconnectStartParams(info.keywords, info.values, 0);
}

static enum tr_status poll_connection(const struct tr_pg_settings *settings,
                                      struct tr_pg_conn *conn, struct tr_error *err)
{
    int64_t timeout_ms = settings->options->connect_timeout_ms;
    int64_t deadline_ms = tr_clock_mono_ms() + timeout_ms;
    PostgresPollingStatusType state = PGRES_POLLING_WRITING;
    for (;;) {
        if (state == PGRES_POLLING_OK)
            return TR_OK;
        if (state == PGRES_POLLING_FAILED || PQsocket(conn->pg) < 0)
            return fail_connect(settings, conn->pg, err);
        struct pollfd fds[2] = {
            {.fd = PQsocket(conn->pg), .events = state == PGRES_POLLING_READING ? POLLIN : POLLOUT},
            {.fd = conn->wake_fd, .events = POLLIN}};
        int left = remaining_ms(deadline_ms);
        int ready = poll(fds, conn->wake_fd < 0 ? 1 : 2, left);
        if (ready > 0 && conn->wake_fd >= 0 && fds[1].revents != 0) {
            consume_wake(conn->wake_fd);
            return tr_fail(err, TR_E_INTERRUPTED, "interrupted while connecting to PostgreSQL");
        }
        if (ready == 0 && remaining_ms(deadline_ms) == 0) {
            (void)tr_fail(err, TR_E_PG_CONNECT, "PostgreSQL did not answer within %lld ms",
                          (long long)timeout_ms);
            return tr_hint(err, "Check hostname, port and the firewall, or raise connect.timeout.");
        }
        if (ready > 0)
            state = PQconnectPoll(conn->pg);
    }
}

static enum tr_status settle_session(struct tr_pg_conn *conn, struct tr_error *err)
{
    int version = PQserverVersion(conn->pg);
    if (version < SERVER_VERSION_MIN)
        return tr_fail(err, TR_E_PG_VERSION,
                       "the server is PostgreSQL %d, the oldest that works is 12", version / 10000);
    char sql[1024];
    (void)snprintf(sql, sizeof sql,
                   "SET datestyle = 'ISO'; SET intervalstyle = 'postgres'; SET timezone = 'UTC'; "
                   "SET extra_float_digits = 3; SET bytea_output = 'hex'; SET lc_monetary = 'C'; "
                   "SET statement_timeout = 0; SET lock_timeout = 0; SET row_security = off; "
                   "SET idle_in_transaction_session_timeout = 0; SET jit = off; "
                   "SET search_path = ''; %s%s",
                   version >= 140000 ? "SET idle_session_timeout = 0; " : "",
                   version >= 170000 ? "SET transaction_timeout = 0; " : "");
    PGresult *result = NULL;
    enum tr_status status =
        tr_pg_exec(conn, "set up the session", sql, TR_PG_QUERY_TIMEOUT_MS, &result, err);
    if (status == TR_OK)
        PQclear(result);
    return status;
}

enum tr_status tr_pg_connect(const struct tr_pg_settings *settings, bool replication, int wake_fd,
                             struct tr_pg_conn *conn, struct tr_error *err)
{
    conn->wake_fd = wake_fd;
    conn->pg = start_connection(settings, replication);
    if (conn->pg == NULL)
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for a connection");
    enum tr_status status = TR_FAIL;
    (void)PQsetErrorVerbosity(conn->pg, PQERRORS_VERBOSE);
    (void)PQsetNoticeReceiver(conn->pg, on_notice, NULL);
    if (PQstatus(conn->pg) == CONNECTION_BAD) {
        (void)fail_connect(settings, conn->pg, err);
        goto cleanup;
    }
    status = poll_connection(settings, conn, err);
    if (status != TR_OK)
        goto cleanup;
    (void)PQsetErrorVerbosity(conn->pg, PQERRORS_DEFAULT);
    (void)PQsetErrorContextVisibility(conn->pg, PQSHOW_CONTEXT_NEVER);
    status = settle_session(conn, err);
cleanup:
    if (status != TR_OK)
        tr_pg_disconnect(conn);
    return status;
}

void tr_pg_disconnect(struct tr_pg_conn *conn)
{
    if (conn->pg != NULL)
        PQfinish(conn->pg);
    conn->pg = NULL;
}

/* ---- queries -------------------------------------------------------------------------------- */

static void cancel(PGconn *pg)
{
    char errbuf[256];
    PGcancel *handle = PQgetCancel(pg);
    if (handle == NULL)
        return;
    (void)PQcancel(handle, errbuf, sizeof errbuf);
    PQfreeCancel(handle);
}

enum tr_status tr_pg_result(struct tr_pg_conn *conn, const char *what, int64_t deadline_ms,
                            PGresult **result, struct tr_error *err)
{
    *result = NULL;
    while (PQisBusy(conn->pg)) {
        int flushed = PQflush(conn->pg);
        bool woken = false;
        enum tr_status status = tr_pg_wait(conn, flushed == 1, remaining_ms(deadline_ms), &woken);
        if (woken) {
            cancel(conn->pg);
            return tr_fail(err, TR_E_INTERRUPTED, "interrupted: could not %s", what);
        }
        if (status == TR_AGAIN && deadline_ms >= 0 && remaining_ms(deadline_ms) == 0) {
            cancel(conn->pg);
            return tr_fail(err, TR_E_PG_BUSY, "could not %s: PostgreSQL did not answer in time",
                           what);
        }
        if (status == TR_OK && !PQconsumeInput(conn->pg))
            return tr_pg_fail_result(err, NULL, conn->pg, what);
    }
    PGresult *got = PQgetResult(conn->pg);
    if (got == NULL)
        return TR_END;
    switch ((int)PQresultStatus(got)) {
    case PGRES_COMMAND_OK:
    case PGRES_TUPLES_OK:
    case PGRES_SINGLE_TUPLE:
    case PGRES_COPY_OUT:
    case PGRES_COPY_BOTH:
    case PGRES_EMPTY_QUERY:
        *result = got;
        return TR_OK;
    default:
        (void)tr_pg_fail_result(err, got, conn->pg, what);
        PQclear(got);
        return TR_FAIL;
    }
}

/* After the send: takes all results, keeps the last. */
static enum tr_status take_results(struct tr_pg_conn *conn, const char *what, int timeout_ms,
                                   PGresult **result, struct tr_error *err)
{
    int64_t deadline_ms = timeout_ms < 0 ? -1 : tr_clock_mono_ms() + timeout_ms;
    PGresult *last = NULL, *next = NULL;
    enum tr_status status;
    while ((status = tr_pg_result(conn, what, deadline_ms, &next, err)) == TR_OK) {
        PQclear(last);
        last = next;
    }
    if (status == TR_FAIL) {
        struct tr_error ignored;
        PQclear(last);
        if (err->code == TR_E_INTERRUPTED || PQstatus(conn->pg) != CONNECTION_OK)
            return TR_FAIL;
        while (tr_pg_result(conn, what, deadline_ms, &next, &ignored) == TR_OK)
            PQclear(next); /* up to the end, so that the connection can be used again */
        return TR_FAIL;
    }
    *result = last;
    return TR_OK;
}

enum tr_status tr_pg_exec(struct tr_pg_conn *conn, const char *what, const char *sql,
                          int timeout_ms, PGresult **result, struct tr_error *err)
{
    if (!PQsendQuery(conn->pg, sql))
        return tr_pg_fail_result(err, NULL, conn->pg, what);
    return take_results(conn, what, timeout_ms, result, err);
}

enum tr_status tr_pg_query(struct tr_pg_conn *conn, const char *what, const char *sql,
                           int param_count, const char *const *params, PGresult **result,
                           struct tr_error *err)
{
    if (!PQsendQueryParams(conn->pg, sql, param_count, NULL, params, NULL, NULL, 0))
        return tr_pg_fail_result(err, NULL, conn->pg, what);
    return take_results(conn, what, TR_PG_QUERY_TIMEOUT_MS, result, err);
}

const char *tr_pg_text(const PGresult *result, int row, int column)
{
    return PQgetisnull(result, row, column) ? "" : PQgetvalue(result, row, column);
}

int64_t tr_pg_int(const PGresult *result, int row, int column)
{
    const char *text = tr_pg_text(result, row, column), *at = text + (*text == '-');
    int64_t value = 0;
    for (; *at >= '0' && *at <= '9' && at - text < INT_DIGITS_SAFE; at++)
        value = value * 10 + (*at - '0');
    if (*at != '\0') /* long, or no number: the library's rules */
        return strtoll(text, NULL, 10);
    return *text == '-' ? -value : value;
}

bool tr_pg_bool(const PGresult *result, int row, int column)
{
    return tr_pg_text(result, row, column)[0] == 't';
}

/* ---- quoting -------------------------------------------------------------------------------- */

void tr_pg_put_identifier(struct tr_outbuf *out, const char *name)
{
    tr_outbuf_byte(out, '"');
    for (const char *c = name; *c != '\0'; c++) {
        if (*c == '"')
            tr_outbuf_byte(out, '"');
        tr_outbuf_byte(out, *c);
    }
    tr_outbuf_byte(out, '"');
}

void tr_pg_put_qualified(struct tr_outbuf *out, const char *schema, const char *table)
{
    tr_pg_put_identifier(out, schema);
    tr_outbuf_byte(out, '.');
    tr_pg_put_identifier(out, table);
}

void tr_pg_put_literal(struct tr_outbuf *out, const char *text)
{
    bool escapes = strchr(text, '\\') != NULL;
    if (escapes)
        tr_outbuf_lit(out, " E");
    tr_outbuf_byte(out, '\'');
    for (const char *c = text; *c != '\0'; c++) {
        if (*c == '\'' || *c == '\\')
            tr_outbuf_byte(out, *c);
        tr_outbuf_byte(out, *c);
    }
    tr_outbuf_byte(out, '\'');
}
