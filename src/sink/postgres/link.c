/* Connections of the PostgreSQL sink.
 *
 * Sockets are non-blocking; every wait polls the socket and the sink's eventfd, so that interrupt()
 * ends it. Connecting goes in steps (PQconnectPoll) for the same reason, and because the verbosity
 * must be set before the first step (see fail.c).
 *
 * What a url may carry is a list of its own: `service`, `passfile`, `options` and the like would
 * let a pipeline file read other files of the machine or change the session. */
#include "sink/postgres/link.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"

#define PARAMS_MAX 32
#define APPLICATION_NAME_BYTES 64 /* NAMEDATALEN of the server */
#define COPY_LINE_DIGITS_MAX 19
#define COPY_MESSAGE_BYTES (64u << 10) /* libpq and the server copy it whole: it stays in cache */

static const char *const url_keywords[] = {"host",
                                           "hostaddr",
                                           "port",
                                           "user",
                                           "password",
                                           "dbname",
                                           "sslmode",
                                           "sslrootcert",
                                           "sslcert",
                                           "sslkey",
                                           "sslcrl",
                                           "sslpassword",
                                           "sslsni",
                                           "gssencmode",
                                           "channel_binding",
                                           "target_session_attrs",
                                           "connect_timeout",
                                           "keepalives",
                                           "keepalives_idle",
                                           "keepalives_interval",
                                           "keepalives_count",
                                           "tcp_user_timeout",
                                           "application_name",
                                           "ssl_min_protocol_version",
                                           "ssl_max_protocol_version"};

struct params {
    const char *keys[PARAMS_MAX + 1];
    const char *values[PARAMS_MAX + 1];
    int count;
};

static void set(struct params *params, const char *key, const char *value)
{
    if (value == NULL)
        return;
    for (int i = 0; i < params->count; i++) {
        if (strcmp(params->keys[i], key) == 0) {
            params->values[i] = value;
            return;
        }
    }
    if (params->count < PARAMS_MAX) {
        params->keys[params->count] = key;
        params->values[params->count++] = value;
    }
}

static const char *get(const struct params *params, const char *key)
{
    for (int i = 0; i < params->count; i++) {
        if (strcmp(params->keys[i], key) == 0)
            return params->values[i];
    }
    return NULL;
}

static bool url_keyword_allowed(const char *keyword)
{
    for (size_t i = 0; i < sizeof url_keywords / sizeof *url_keywords; i++) {
        if (strcmp(url_keywords[i], keyword) == 0)
            return true;
    }
    return false;
}

static enum tr_status set_from_url(struct params *params, const char *url,
                                   PQconninfoOption **parsed, struct tr_error *err)
{
    char *message = NULL; /* may quote the url: not shown */
    *parsed = PQconninfoParse(url, &message);
    if (*parsed == NULL) {
        PQfreemem(message);
        (void)tr_fail(err, TR_E_PGSINK_OPTION,
                      "url of the PostgreSQL sink is not a connection URI");
        return tr_hint(err,
                       "write postgresql://user:password@host:5432/database?sslmode=verify-full "
                       "and percent-encode special characters");
    }
    for (const PQconninfoOption *option = *parsed; option->keyword != NULL; option++) {
        if (option->val == NULL)
            continue;
        if (!url_keyword_allowed(option->keyword)) {
            (void)tr_fail(err, TR_E_PGSINK_OPTION, "url of the PostgreSQL sink must not set %s",
                          option->keyword);
            return tr_hint(err, "remove it from url");
        }
        set(params, option->keyword, option->val);
    }
    return TR_OK;
}

static const char *default_root_certificate(const char *sslmode)
{
    char path[4096];
    const char *home = getenv("HOME");
    if (home != NULL && snprintf(path, sizeof path, "%s/.postgresql/root.crt", home) > 0 &&
        access(path, R_OK) == 0)
        return NULL;
    if (PQlibVersion() >= 160000 && strcmp(sslmode, "verify-full") == 0)
        return "system";
    return NULL;
}

bool tr_pgs_link_alive(const struct tr_pgs_link *link)
{
    return link->conn != NULL && PQstatus(link->conn) == CONNECTION_OK;
}

/* TR_AGAIN: timeout_ms (-1: none) passed. */
static enum tr_status wait_socket(struct tr_pgs_link *link, short events, int timeout_ms,
                                  struct tr_error *err)
{
    struct pollfd fds[2] = {{.fd = PQsocket(link->conn), .events = events},
                            {.fd = link->wake_fd, .events = POLLIN}};
    for (;;) {
        int count = poll(fds, 2, timeout_ms);
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return tr_fail(err, TR_E_PGSINK_CONNECTION_LOST, "could not wait for the target: %s",
                           strerror(errno));
        if (fds[1].revents != 0)
            return tr_fail(err, TR_E_INTERRUPTED, "the PostgreSQL sink was interrupted");
        return count == 0 ? TR_AGAIN : TR_OK;
    }
}

static enum tr_status connect_steps(struct tr_pgs_link *link, const char *where, int64_t timeout_ms,
                                    struct tr_error *err)
{
    int64_t deadline_ms = tr_clock_mono_ms() + timeout_ms;
    PostgresPollingStatusType step = PGRES_POLLING_WRITING;
    while (step != PGRES_POLLING_OK) {
        if (step == PGRES_POLLING_FAILED || PQstatus(link->conn) == CONNECTION_BAD)
            return tr_pgs_fail_connect(link, where, err);
        int64_t left_ms = deadline_ms - tr_clock_mono_ms();
        enum tr_status status =
            left_ms <= 0 ? TR_AGAIN
                         : wait_socket(link, step == PGRES_POLLING_READING ? POLLIN : POLLOUT,
                                       (int)left_ms, err);
        if (status == TR_FAIL)
            return TR_FAIL;
        if (status == TR_AGAIN) {
            (void)tr_fail(err, TR_E_PGSINK_CONNECT,
                          "the target PostgreSQL at %s did not answer within %lld ms", where,
                          (long long)timeout_ms);
            return tr_hint(err, "check hostname and port; connect.timeout sets the longest wait");
        }
        step = PQconnectPoll(link->conn);
    }
    return TR_OK;
}

static enum tr_status connect_server(struct tr_pgs_link *link, const struct tr_pgs_options *options,
                                     bool sslmode_given, const char *pipeline_name,
                                     struct tr_error *err)
{
    struct params params = {.count = 0};
    PQconninfoOption *parsed = NULL;
    char port[16], application[APPLICATION_NAME_BYTES], where[256];
    enum tr_status status = TR_FAIL;
    if (options->url.value != NULL) {
        if (set_from_url(&params, options->url.value, &parsed, err) != TR_OK)
            goto cleanup;
    } else {
        (void)snprintf(port, sizeof port, "%lld", (long long)options->port);
        set(&params, "port", port);
    }
    set(&params, "host", options->hostname);
    set(&params, "user", options->username);
    set(&params, "password", options->password.value);
    set(&params, "dbname", options->database);
    if (get(&params, "sslmode") == NULL || sslmode_given)
        set(&params, "sslmode", tr_pgs_sslmode_name(options->sslmode));
    set(&params, "sslrootcert", options->sslrootcert);
    if (get(&params, "sslrootcert") == NULL)
        set(&params, "sslrootcert", default_root_certificate(get(&params, "sslmode")));
    set(&params, "sslcert", options->sslcert);
    set(&params, "sslkey", options->sslkey);
    (void)snprintf(application, sizeof application, "tailrace/%s", pipeline_name);
    set(&params, "application_name", application);
    set(&params, "client_encoding", "UTF8");
    static const char *const defaults[][2] = {{"keepalives", "1"},
                                              {"keepalives_idle", "30"},
                                              {"keepalives_interval", "10"},
                                              {"keepalives_count", "3"},
                                              {"tcp_user_timeout", "60000"}};
    for (size_t i = 0; i < sizeof defaults / sizeof *defaults; i++) {
        if (get(&params, defaults[i][0]) == NULL)
            set(&params, defaults[i][0], defaults[i][1]);
    }
    const char *host = get(&params, "host");
    (void)snprintf(where, sizeof where, "%s:%s/%s", host == NULL ? "(default host)" : host,
                   get(&params, "port") == NULL ? "5432" : get(&params, "port"),
                   get(&params, "dbname") == NULL ? "" : get(&params, "dbname"));
    link->conn = PQconnectStartParams(params.keys, params.values, 0);
    if (link->conn == NULL || PQstatus(link->conn) == CONNECTION_BAD) {
        status = tr_pgs_fail_connect(link, where, err);
        goto cleanup;
    }
    PQsetErrorVerbosity(link->conn, PQERRORS_VERBOSE);
    status = connect_steps(link, where, options->connect_timeout_ms, err);
cleanup:
    PQconninfoFree(parsed);
    return status;
}

static void ignore_notice(void *ctx, const PGresult *result)
{
    (void)ctx;
    (void)result; /* notices may quote values, and say nothing that a user must act on */
}

static enum tr_status check_server(struct tr_pgs_link *link, struct tr_error *err)
{
    link->server_version = PQserverVersion(link->conn);
    if (link->server_version < TR_PGS_SERVER_VERSION_MIN)
        return tr_fail(err, TR_E_PGSINK_VERSION,
                       "the target server is PostgreSQL %d.%d; 12 is the oldest "
                       "that can be used",
                       link->server_version / 10000, link->server_version % 10000);
    const char *encoding = PQparameterStatus(link->conn, "server_encoding");
    if (encoding == NULL || strcmp(encoding, "UTF8") != 0) {
        (void)tr_fail(err, TR_E_PGSINK_ENCODING, "the target database's encoding is %s, not UTF8",
                      encoding == NULL ? "unknown" : encoding);
        return tr_hint(err, "CREATE DATABASE name ENCODING 'UTF8' TEMPLATE template0;");
    }
    return TR_OK;
}

/* The planner's switches make every apply statement look keys up by index, whatever the statistics
 * of a table say that was empty a minute ago: see apply.c. */
static enum tr_status set_up_session(struct tr_pgs_link *link, const struct tr_pgs_options *options,
                                     enum tr_pgs_purpose purpose, struct tr_error *err)
{
    struct tr_outbuf sql = {0};
    tr_outbuf_lit(&sql, "SET datestyle = 'ISO, MDY'; SET intervalstyle = postgres;"
                        "SET timezone = 'UTC'; SET extra_float_digits = 3; SET bytea_output = hex;"
                        "SET search_path = ''; SET statement_timeout = 0; SET row_security = off;"
                        "SET idle_in_transaction_session_timeout = 0; SET jit = off;"
                        "SET standard_conforming_strings = on; SET xmloption = content;"
                        "SET default_transaction_isolation = 'read committed';"
                        "SET default_transaction_deferrable = off; SET lc_monetary = 'C';");
    tr_outbuf_printf(&sql, "SET lock_timeout = %lld;", (long long)options->lock_timeout_ms);
    tr_outbuf_printf(&sql, "SET synchronous_commit = '%s';",
                     tr_pgs_synchronous_commit_name(options->synchronous_commit));
    if (link->server_version >= 140000)
        tr_outbuf_lit(&sql, "SET idle_session_timeout = 0;");
    if (link->server_version >= 170000)
        tr_outbuf_lit(&sql, "SET transaction_timeout = 0;");
    if (purpose == TR_PGS_WRITER) {
        tr_outbuf_lit(&sql, "SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off;"
                            "SET enable_hashjoin = off; SET enable_mergejoin = off;"
                            "SET enable_material = off; SET enable_bitmapscan = off;"
                            "SET max_parallel_workers_per_gather = 0;");
        if (link->server_version >= 140000)
            tr_outbuf_lit(&sql, "SET enable_memoize = off;");
    }
    enum tr_status status = TR_FAIL;
    if (sql.failed)
        (void)tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for the target session");
    else
        status = tr_pgs_exec(link, tr_outbuf_cstr(&sql), "could not set up the target session",
                             NULL, err);
    tr_outbuf_free(&sql);
    /* A long statement ends soon after we are gone, so that its locks and our advisory lock are
     * free for the next life. Servers on some platforms refuse the setting: then it ends later. */
    if (status == TR_OK && link->server_version >= 140000 &&
        tr_pgs_exec(link, "SET client_connection_check_interval = 5000",
                    "could not set up the session", NULL, err) != TR_OK &&
        !tr_pgs_link_alive(link))
        status = TR_FAIL;
    return status;
}

static enum tr_status set_replication_role(struct tr_pgs_link *link, int role, struct tr_error *err)
{
    if (role == TR_PGS_ROLE_ORIGIN)
        return tr_pgs_exec(link, "SET session_replication_role = origin",
                           "could not set session_replication_role", NULL, err);
    enum tr_status status = tr_pgs_exec(link, "SET session_replication_role = replica",
                                        "could not set session_replication_role", NULL, err);
    if (status == TR_OK) {
        link->replica_role = true;
        return TR_OK;
    }
    if (!tr_pgs_sqlstate_is(link, "42501"))
        return TR_FAIL;
    if (role == TR_PGS_ROLE_AUTO)
        return TR_OK;
    return tr_hint(
        err,
        "GRANT SET ON PARAMETER session_replication_role TO %s; (PostgreSQL 15 or newer), "
        "or set session.replication.role to auto",
        PQuser(link->conn));
}

enum tr_status tr_pgs_link_open(struct tr_pgs_link *link, const struct tr_pgs_options *options,
                                bool sslmode_given, const char *pipeline_name, int wake_fd,
                                enum tr_pgs_purpose purpose, struct tr_error *err)
{
    *link = (struct tr_pgs_link){.wake_fd = wake_fd};
    if (connect_server(link, options, sslmode_given, pipeline_name, err) != TR_OK)
        return TR_FAIL;
    (void)PQsetNoticeReceiver(link->conn, ignore_notice, NULL);
    if (PQsetnonblocking(link->conn, 1) != 0)
        return tr_pgs_fail(link, NULL, "could not make the connection non-blocking", err);
    if (check_server(link, err) != TR_OK || set_up_session(link, options, purpose, err) != TR_OK)
        return TR_FAIL;
    if (purpose == TR_PGS_WRITER)
        return set_replication_role(link, options->replication_role, err);
    return TR_OK;
}

void tr_pgs_link_close(struct tr_pgs_link *link)
{
    if (link->conn != NULL)
        PQfinish(link->conn);
    free(link->queued);
    *link = (struct tr_pgs_link){.wake_fd = link->wake_fd};
}

/* ---- statements ---- */

/* Sends what is queued. Reads meanwhile: a server that cannot send would not read either. */
static enum tr_status flush_output(struct tr_pgs_link *link, const char *doing,
                                   struct tr_error *err)
{
    for (;;) {
        int left = PQflush(link->conn);
        if (left == 0)
            return TR_OK;
        if (left < 0)
            return tr_pgs_fail(link, NULL, doing, err);
        if (wait_socket(link, POLLIN | POLLOUT, -1, err) != TR_OK)
            return TR_FAIL;
        if (PQconsumeInput(link->conn) == 0)
            return tr_pgs_fail(link, NULL, doing, err);
    }
}

enum tr_status tr_pgs_next_result(struct tr_pgs_link *link, PGresult **result, struct tr_error *err)
{
    while (PQisBusy(link->conn)) {
        int left = PQflush(link->conn);
        if (left < 0)
            return tr_pgs_fail(link, NULL, "could not send to the target", err);
        if (wait_socket(link, left > 0 ? POLLIN | POLLOUT : POLLIN, -1, err) != TR_OK)
            return TR_FAIL;
        if (PQconsumeInput(link->conn) == 0)
            return tr_pgs_fail(link, NULL, "could not read from the target", err);
    }
    *result = PQgetResult(link->conn);
    return TR_OK;
}

static bool succeeded(const PGresult *result)
{
    ExecStatusType status = PQresultStatus(result);
    return status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK;
}

static long rows_of(PGresult *result)
{
    const char *text = PQcmdTuples(result);
    return *text == '\0' ? 0 : strtol(text, NULL, 10);
}

/* Waits for all results of the command; the first failure is reported, the last good one kept. */
static enum tr_status collect(struct tr_pgs_link *link, const char *doing, PGresult **last,
                              struct tr_error *err)
{
    enum tr_status status = TR_OK;
    PGresult *result;
    *last = NULL;
    for (;;) {
        struct tr_error other;
        if (tr_pgs_next_result(link, &result, status == TR_OK ? err : &other) != TR_OK) {
            PQclear(*last);
            *last = NULL;
            return TR_FAIL;
        }
        if (result == NULL)
            return status;
        if (status == TR_OK && !succeeded(result))
            status = tr_pgs_fail(link, result, doing, err);
        PQclear(*last);
        *last = NULL;
        if (status == TR_OK)
            *last = result;
        else
            PQclear(result);
    }
}

enum tr_status tr_pgs_exec(struct tr_pgs_link *link, const char *sql, const char *doing, long *rows,
                           struct tr_error *err)
{
    PGresult *result;
    if (PQsendQuery(link->conn, sql) != 1)
        return tr_pgs_fail(link, NULL, doing, err);
    if (collect(link, doing, &result, err) != TR_OK)
        return TR_FAIL;
    if (rows != NULL)
        *rows = result == NULL ? 0 : rows_of(result);
    PQclear(result);
    return TR_OK;
}

enum tr_status tr_pgs_query(struct tr_pgs_link *link, const char *sql, int param_count,
                            const char *const *params, const char *doing, PGresult **result,
                            struct tr_error *err)
{
    if (PQsendQueryParams(link->conn, sql, param_count, NULL, params, NULL, NULL, 0) != 1)
        return tr_pgs_fail(link, NULL, doing, err);
    return collect(link, doing, result, err);
}

/* ---- COPY ---- */

enum tr_status tr_pgs_copy_begin(struct tr_pgs_link *link, const char *sql, struct tr_error *err)
{
    PGresult *result = NULL;
    if (PQsendQuery(link->conn, sql) != 1)
        return tr_pgs_fail(link, NULL, "could not start COPY", err);
    if (tr_pgs_next_result(link, &result, err) != TR_OK)
        return TR_FAIL;
    ExecStatusType status = PQresultStatus(result);
    if (status == PGRES_COPY_IN || status == PGRES_COPY_OUT) {
        PQclear(result);
        return TR_OK;
    }
    (void)tr_pgs_fail(link, result, "could not start COPY", err);
    PQclear(result);
    struct tr_error other;
    while (tr_pgs_next_result(link, &result, &other) == TR_OK && result != NULL)
        PQclear(result);
    return TR_FAIL;
}

enum tr_status tr_pgs_copy_data(struct tr_pgs_link *link, const char *data, size_t len,
                                struct tr_error *err)
{
    while (len > 0) {
        int piece = len > COPY_MESSAGE_BYTES ? (int)COPY_MESSAGE_BYTES : (int)len;
        int done = PQputCopyData(link->conn, data, piece);
        if (done < 0)
            return tr_pgs_fail(link, NULL, "could not send rows", err);
        if (done == 1) {
            data += piece;
            len -= (size_t)piece;
        }
        if (flush_output(link, "could not send rows", err) != TR_OK)
            return TR_FAIL;
    }
    return TR_OK;
}

enum tr_status tr_pgs_copy_give_up(struct tr_pgs_link *link, struct tr_error *err)
{
    PGresult *result;
    if (PQputCopyEnd(link->conn, "the rows come in another form") < 0)
        return tr_pgs_fail(link, NULL, "could not end COPY", err);
    do {
        if (tr_pgs_next_result(link, &result, err) != TR_OK)
            return TR_FAIL;
        PQclear(result);
    } while (result != NULL);
    return tr_fail(err, TR_E_PGSINK_TRANSIENT, "a COPY was given up");
}

/* The context of a COPY error is "COPY table, line N…" in the server's language: the first number
 * behind the first comma. Table names with commas and digits are told apart by the last such place.
 */
static uint64_t line_of(const PGresult *result)
{
    const char *context = PQresultErrorField(result, PG_DIAG_CONTEXT);
    if (context == NULL)
        return 0;
    const char *at = strstr(context, ", line ");
    if (at == NULL)
        at = strchr(context, ',');
    if (at == NULL)
        return 0;
    at += strcspn(at, "0123456789");
    return strspn(at, "0123456789") > COPY_LINE_DIGITS_MAX ? 0 : strtoull(at, NULL, 10);
}

enum tr_status tr_pgs_copy_end(struct tr_pgs_link *link, long *rows, uint64_t *line,
                               struct tr_error *err)
{
    enum tr_status status = TR_OK;
    PGresult *result;
    *line = 0;
    if (PQputCopyEnd(link->conn, NULL) < 0)
        return tr_pgs_fail(link, NULL, "could not end COPY", err);
    for (;;) {
        struct tr_error other;
        if (tr_pgs_next_result(link, &result, status == TR_OK ? err : &other) != TR_OK)
            return TR_FAIL;
        if (result == NULL)
            return status;
        if (status == TR_OK && !succeeded(result)) {
            *line = line_of(result);
            status = tr_pgs_fail(link, result, "could not copy rows", err);
        } else if (status == TR_OK && rows != NULL) {
            *rows = rows_of(result);
        }
        PQclear(result);
    }
}

enum tr_status tr_pgs_copy_read(struct tr_pgs_link *link, char **data, int *len,
                                struct tr_error *err)
{
    for (;;) {
        int got = PQgetCopyData(link->conn, data, 1);
        if (got > 0) {
            *len = got;
            return TR_OK;
        }
        if (got == 0) {
            if (wait_socket(link, POLLIN, -1, err) != TR_OK)
                return TR_FAIL;
            if (PQconsumeInput(link->conn) == 0)
                return tr_pgs_fail(link, NULL, "could not read rows", err);
            continue;
        }
        if (got == -2)
            return tr_pgs_fail(link, NULL, "could not read rows", err);
        PGresult *last;
        if (collect(link, "could not read rows", &last, err) != TR_OK)
            return TR_FAIL;
        PQclear(last);
        return TR_END;
    }
}

/* ---- quoting ---- */

void tr_pgs_identifier(struct tr_pgs_link *link, struct tr_outbuf *out, const char *name)
{
    char *quoted = PQescapeIdentifier(link->conn, name, strlen(name));
    if (quoted == NULL) {
        out->failed = true; /* no memory, or bytes that are not UTF-8 */
        return;
    }
    tr_outbuf_str(out, quoted);
    PQfreemem(quoted);
}

void tr_pgs_literal(struct tr_pgs_link *link, struct tr_outbuf *out, const char *text)
{
    char *quoted = PQescapeLiteral(link->conn, text, strlen(text));
    if (quoted == NULL) {
        out->failed = true;
        return;
    }
    tr_outbuf_str(out, quoted);
    PQfreemem(quoted);
}
