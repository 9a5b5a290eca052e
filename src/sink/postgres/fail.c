/* SQLSTATE → our code; one table, the class comes from the code's definition.
 * Meanings: https://www.postgresql.org/docs/current/errcodes-appendix.html
 *
 * The server's words often quote values ("Key (id)=(5) already exists", "invalid input syntax for
 * type integer: …"). For states marked `quotes_values` they are left out: only the names of
 * constraint, table and column, which the server sends as fields of their own, are told. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "sink/postgres/link.h"

struct sqlstate {
    const char *prefix; /* first match wins */
    enum tr_code code;
    bool quotes_values;
};
static const struct sqlstate sqlstates[] = {
    {"08", TR_E_PGSINK_CONNECTION_LOST, false},
    {"57P", TR_E_PGSINK_SHUTDOWN, false},
    {"25P03", TR_E_PGSINK_SHUTDOWN, false}, /* idle_in_transaction_session_timeout */
    {"25P04", TR_E_PGSINK_SHUTDOWN, false}, /* transaction_timeout */
    {"25006", TR_E_PGSINK_READ_ONLY, false},
    {"28", TR_E_PGSINK_AUTH, false},
    {"3D000", TR_E_PGSINK_DATABASE, false},
    {"40", TR_E_PGSINK_DEADLOCK, false},
    {"55P03", TR_E_PGSINK_LOCK_TIMEOUT, false},
    {"53100", TR_E_PGSINK_DISK_FULL, false},
    {"53", TR_E_PGSINK_RESOURCES, false},
    {"54000", TR_E_PGSINK_VALUE, true}, /* an index row that is too large */
    {"57014", TR_E_PGSINK_TRANSIENT, false},
    {"58030", TR_E_PGSINK_TRANSIENT, false},
    {"42501", TR_E_PGSINK_PRIVILEGE, false},
    {"42P01", TR_E_PGSINK_TABLE_MISSING, false},
    {"3F000", TR_E_PGSINK_TABLE_MISSING, false},
    {"42703", TR_E_PGSINK_COLUMN_MISSING, false},
    {"42804", TR_E_PGSINK_TYPE, false},
    {"42846", TR_E_PGSINK_TYPE, false},
    {"42704", TR_E_PGSINK_TYPE, false},
    {"42809", TR_E_PGSINK_TABLE_KIND, false},
    {"2BP01", TR_E_PGSINK_DEPENDENT, false},
    {"42", TR_E_PGSINK_SCHEMA, false},
    {"428C9", TR_E_PGSINK_SCHEMA, false},
    {"0A000", TR_E_PGSINK_SCHEMA, false},
    {"23505", TR_E_PGSINK_UNIQUE, true},
    {"23503", TR_E_PGSINK_FOREIGN_KEY, true},
    {"23502", TR_E_PGSINK_NOT_NULL, true},
    {"23", TR_E_PGSINK_CONSTRAINT, true},
    {"44", TR_E_PGSINK_CONSTRAINT, true},
    {"22", TR_E_PGSINK_VALUE, true},
    {"21", TR_E_PGSINK_VALUE, true},
    {"P0", TR_E_PGSINK_TRIGGER, true},
    {"38", TR_E_PGSINK_TRIGGER, true},
    {"39", TR_E_PGSINK_TRIGGER, true},
};

static const struct sqlstate *find(const char *state)
{
    static const struct sqlstate unknown = {"", TR_E_PGSINK_SERVER, true};
    for (size_t i = 0; i < sizeof sqlstates / sizeof *sqlstates; i++) {
        if (strncmp(state, sqlstates[i].prefix, strlen(sqlstates[i].prefix)) == 0)
            return &sqlstates[i];
    }
    return &unknown;
}

bool tr_pgs_sqlstate_is(const struct tr_pgs_link *link, const char *prefix)
{
    return strncmp(link->sqlstate, prefix, strlen(prefix)) == 0 && link->sqlstate[0] != '\0';
}

/* First line, without the libpq prefix's line breaks. */
static void one_line(const char *text, char *buf, size_t buf_size)
{
    size_t len = strcspn(text, "\r\n");
    if (len >= buf_size)
        len = buf_size - 1;
    memcpy(buf, text, len);
    buf[len] = '\0';
}

static const char *field(const PGresult *result, int code)
{
    const char *text = PQresultErrorField(result, code);
    return text == NULL ? "" : text;
}

static void names(const PGresult *result, char *buf, size_t buf_size)
{
    static const struct {
        int code;
        const char *word;
    } parts[] = {{PG_DIAG_SCHEMA_NAME, "schema"},
                 {PG_DIAG_TABLE_NAME, "table"},
                 {PG_DIAG_COLUMN_NAME, "column"},
                 {PG_DIAG_CONSTRAINT_NAME, "constraint"},
                 {PG_DIAG_DATATYPE_NAME, "type"}};
    size_t at = 0;
    buf[0] = '\0';
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        const char *text = field(result, parts[i].code);
        if (*text == '\0' || at >= buf_size)
            continue;
        int len = snprintf(buf + at, buf_size - at, ", %s %s", parts[i].word, text);
        at += len > 0 ? (size_t)len : 0;
    }
}

static void hint(enum tr_code code, const PGresult *result, struct tr_error *err)
{
    const char *schema = field(result, PG_DIAG_SCHEMA_NAME);
    const char *table = field(result, PG_DIAG_TABLE_NAME);
    const char *column = field(result, PG_DIAG_COLUMN_NAME);
    const char *constraint = field(result, PG_DIAG_CONSTRAINT_NAME);
    if (code == TR_E_PGSINK_NOT_NULL && *column != '\0')
        (void)tr_hint(err,
                      "ALTER TABLE \"%s\".\"%s\" ALTER COLUMN \"%s\" DROP NOT NULL; or give it a "
                      "default",
                      schema, table, column);
    else if (code == TR_E_PGSINK_CONSTRAINT && *constraint != '\0')
        (void)tr_hint(err,
                      "ALTER TABLE \"%s\".\"%s\" DROP CONSTRAINT \"%s\"; if the source does not "
                      "have it",
                      schema, table, constraint);
    else
        (void)tr_hint(err, "%s", tr_error_info(code)->remedy);
}

enum tr_status tr_pgs_fail(struct tr_pgs_link *link, const PGresult *result, const char *doing,
                           struct tr_error *err)
{
    char text[384], where[256];
    const char *state = result == NULL ? "" : field(result, PG_DIAG_SQLSTATE);
    (void)snprintf(link->sqlstate, sizeof link->sqlstate, "%s", state);
    if (*state == '\0') {
        one_line(result != NULL && *PQresultErrorMessage(result) != '\0'
                     ? PQresultErrorMessage(result)
                     : PQerrorMessage(link->conn),
                 text, sizeof text);
        if (PQstatus(link->conn) != CONNECTION_BAD && result == NULL)
            (void)tr_fail(err, TR_E_PGSINK_SERVER, "%s: libpq refused the call", doing);
        else
            (void)tr_fail(err, TR_E_PGSINK_CONNECTION_LOST, "%s: the connection was lost", doing);
        (void)tr_detail(err, "%s", text);
        return tr_hint(err, "%s", tr_error_info(err->code)->remedy);
    }
    const struct sqlstate *known = find(state);
    names(result, where, sizeof where);
    if (known->quotes_values) {
        (void)tr_fail(err, known->code, "%s: refused by the target (SQLSTATE %s%s)", doing, state,
                      where);
    } else {
        one_line(field(result, PG_DIAG_MESSAGE_PRIMARY), text, sizeof text);
        (void)tr_fail(err, known->code, "%s: %s", doing, text);
        (void)tr_detail(err, "SQLSTATE %s%s", state, where);
    }
    hint(known->code, result, err);
    return TR_FAIL;
}

/* libpq tells the SQLSTATE of a refused connection only in its text, as "FATAL:  28P01: …" when the
 * verbosity is VERBOSE. */
static bool state_of_message(const char *text, char state[6])
{
    for (const char *at = strstr(text, ":  "); at != NULL; at = strstr(at + 1, ":  ")) {
        size_t len = 0;
        while (len < 5 &&
               (isupper((unsigned char)at[3 + len]) || isdigit((unsigned char)at[3 + len])))
            len++;
        if (len == 5 && at[8] == ':') {
            memcpy(state, at + 3, 5);
            state[5] = '\0';
            return true;
        }
    }
    return false;
}

static bool mentions_tls(const char *text)
{
    return strstr(text, "SSL") != NULL || strstr(text, "certificate") != NULL;
}

enum tr_status tr_pgs_fail_connect(struct tr_pgs_link *link, const char *where,
                                   struct tr_error *err)
{
    char text[384];
    const char *message = link->conn == NULL ? "out of memory" : PQerrorMessage(link->conn);
    link->sqlstate[0] = '\0';
    one_line(message, text, sizeof text);
    enum tr_code code = TR_E_PGSINK_CONNECT;
    if (state_of_message(message, link->sqlstate)) {
        code = find(link->sqlstate)->code;
        if (code == TR_E_PGSINK_CONNECTION_LOST || code == TR_E_PGSINK_SERVER)
            code = TR_E_PGSINK_CONNECT;
    } else if (strstr(message, "no password supplied") != NULL) {
        code = TR_E_PGSINK_AUTH;
    } else if (mentions_tls(message)) {
        code = TR_E_PGSINK_TLS;
    }
    (void)tr_fail(err, code, "could not connect to the target PostgreSQL at %s", where);
    (void)tr_detail(err, "%s", text);
    return tr_hint(err, "%s", tr_error_info(code)->remedy);
}
