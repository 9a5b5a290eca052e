/* Settings of the PostgreSQL source.
 *
 * The table below is the only list of options: binding, help and docs are made from it. Keys of
 * Flink CDC's postgres connector that have no meaning here are accepted and say why they do
 * nothing.
 *
 * The database is `database`, or the first part of three-part table patterns
 * (`shop.public.\.*` → shop), or the url's; two different answers are an error. */
#include "source/postgres/options.h"

#include <ctype.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PATTERN_PART_BYTES_MAX 256

static const char *const sslmode_values[] = {"disable",   "prefer",      "require",
                                             "verify-ca", "verify-full", NULL};
static const char *const startup_values[] = {"initial", "snapshot", "latest-offset",
                                             "committed-offset", NULL};
static const char *const autocreate_values[] = {"filtered", "all_tables", "disabled", NULL};
static const char *const plugin_values[] = {"pgoutput", NULL};

#define AT(field) offsetof(struct tr_pg_options, field)
#define IGNORED_KEY(key, why)                                                                      \
    {                                                                                              \
        .name = key, .type = TR_OPT_STRING, .flags = TR_OPT_IGNORED, .offset = AT(ignored),        \
        .help = why                                                                                \
    }

const struct tr_option tr_pg_option_table[] = {
    {.name = "hostname",
     .alias = "host",
     .type = TR_OPT_STRING,
     .offset = AT(hostname),
     .help = "Server name or address; a path that starts with / is a Unix socket's folder. Needed "
             "unless url is given."},
    {.name = "port",
     .type = TR_OPT_INT,
     .offset = AT(port),
     .default_text = "5432",
     .min = 1,
     .max = 65535,
     .help = "Server port."},
    {.name = "username",
     .alias = "user",
     .type = TR_OPT_STRING,
     .offset = AT(username),
     .help = "User with REPLICATION and SELECT on the tables."},
    {.name = "password",
     .type = TR_OPT_SECRET,
     .offset = AT(password),
     .help = "Its password; ${env:NAME} or ${file:/path} keep it out of the file."},
    {.name = "database",
     .alias = "database-name",
     .type = TR_OPT_STRING,
     .offset = AT(database),
     .help = "Database. Default: the first part of three-part table patterns."},
    {.name = "url",
     .type = TR_OPT_SECRET,
     .offset = AT(url),
     .help = "postgresql://user:password@host:port/database?sslmode=… in place of the keys above."},
    {.name = "tables",
     .type = TR_OPT_LIST,
     .flags = TR_OPT_REQUIRED | TR_OPT_RAW_LIST,
     .offset = AT(tables),
     .help =
         "Tables to capture: comma-separated regular expressions database.schema.table, in which "
         "an unescaped . separates the parts and \\. is any character; or a list of them."},
    {.name = "tables.exclude",
     .type = TR_OPT_LIST,
     .flags = TR_OPT_RAW_LIST,
     .offset = AT(tables_exclude),
     .help = "Tables to leave out, written as in tables."},
    {.name = "scan.startup.mode",
     .type = TR_OPT_ENUM,
     .offset = AT(startup_mode),
     .default_text = "initial",
     .values = startup_values,
     .help =
         "initial: copy the tables, then follow the log. snapshot: copy and end. latest-offset: "
         "only what comes from now on. committed-offset: from the existing slot's position."},
    {.name = "sslmode",
     .type = TR_OPT_ENUM,
     .offset = AT(sslmode),
     .default_text = "verify-full",
     .values = sslmode_values,
     .help = "disable, prefer, require (encrypted, server not verified), verify-ca, verify-full. "
             "Without meaning on a Unix socket."},
    {.name = "sslrootcert",
     .type = TR_OPT_STRING,
     .offset = AT(sslrootcert),
     .help = "File with the certificate authority. Default: ~/.postgresql/root.crt when it exists, "
             "else the system's own list (libpq 16 or newer)."},
    {.name = "sslcert",
     .type = TR_OPT_STRING,
     .offset = AT(sslcert),
     .help = "File with the client's certificate."},
    {.name = "sslkey",
     .type = TR_OPT_STRING,
     .offset = AT(sslkey),
     .help = "File with the client certificate's key."},
    {.name = "slot.name",
     .type = TR_OPT_STRING,
     .offset = AT(slot_name),
     .help = "Replication slot; made when absent at the first start. Default: {pipeline}_slot."},
    {.name = "publication.name",
     .type = TR_OPT_STRING,
     .offset = AT(publication_name),
     .help = "Publication. Default: {pipeline}_pub."},
    {.name = "publication.autocreate.mode",
     .type = TR_OPT_ENUM,
     .offset = AT(publication_mode),
     .default_text = "filtered",
     .values = autocreate_values,
     .help = "filtered: a publication of the captured tables is made and extended. all_tables: FOR "
             "ALL TABLES (superuser). disabled: it must exist."},
    {.name = "slot.failover",
     .type = TR_OPT_BOOL,
     .offset = AT(slot_failover),
     .default_text = "false",
     .help = "Make the slot one that is copied to standbys (PostgreSQL 17 or newer)."},
    {.name = "schema-change.enabled",
     .type = TR_OPT_BOOL,
     .offset = AT(schema_change),
     .default_text = "true",
     .help = "Send changes of a table's columns on as schema change events."},
    {.name = "scan.snapshot.readers",
     .type = TR_OPT_INT,
     .offset = AT(snapshot_readers),
     .default_text = "2",
     .min = 1,
     .max = 32,
     .help = "Connections that copy tables at the same time."},
    {.name = "scan.snapshot.chunk.size",
     .type = TR_OPT_SIZE,
     .flags = TR_OPT_ADVANCED,
     .offset = AT(chunk_bytes),
     .default_text = "64MB",
     .min = 8192,
     .max = INT64_C(1) << 40,
     .help = "Bytes of a table that one reader copies in one piece; a copy resumes by pieces. "
             "PostgreSQL 12 and 13 copy each table in one piece."},
    {.name = "heartbeat.interval",
     .alias = "heartbeat.interval.ms",
     .type = TR_OPT_DURATION,
     .offset = AT(heartbeat_ms),
     .default_text = "30s",
     .min = 100,
     .max = 3600000,
     .help =
         "How often the position moves when the captured tables are idle; also after every 16 MB "
         "of log."},
    {.name = "connect.timeout",
     .type = TR_OPT_DURATION,
     .offset = AT(connect_timeout_ms),
     .default_text = "30s",
     .min = 250,
     .max = 600000,
     .help = "Longest time to connect."},
    {.name = "gather.time.us",
     .type = TR_OPT_INT,
     .flags = TR_OPT_ADVANCED,
     .offset = AT(gather_us),
     .default_text = "4000",
     .min = 0,
     .max = 100000,
     .help = "Longest pause, in microseconds, that lets data gather before it is read while there "
             "is a backlog; how long it is adapts itself. 0 = none."},
    {.name = "catch-up.min.lag",
     .type = TR_OPT_SIZE,
     .flags = TR_OPT_ADVANCED,
     .offset = AT(catch_up_min_lag),
     .default_text = "32MB",
     .min = 0,
     .max = INT64_C(1) << 30,
     .help =
         "Log behind the position from which, at a start, it is first read in chunks by SQL, on "
         "temporary copies of the slot: faster, and less work for the server, than following it. "
         "Takes two more of max_replication_slots, or one; without, the log is followed. 0 = "
         "never."},
    {.name = "decoding.plugin.name",
     .type = TR_OPT_ENUM,
     .flags = TR_OPT_ADVANCED,
     .offset = AT(plugin),
     .default_text = "pgoutput",
     .values = plugin_values,
     .help = "pgoutput, which every server has, is the only one."},
    IGNORED_KEY("table-id.include-database",
                "Table IDs always hold the database; patterns of two parts match without it."),
    IGNORED_KEY("scan.newly-added-table.enabled",
                "New tables that match are always copied and followed from the next start."),
    IGNORED_KEY("scan.incremental.snapshot.chunk.size",
                "Rows; tables are cut by pages here, see scan.snapshot.chunk.size."),
    IGNORED_KEY("scan.incremental.snapshot.chunk.key-column",
                "Tables are cut by their physical pages, which needs no key."),
    IGNORED_KEY("scan.incremental.snapshot.enabled", "The snapshot is always cut into chunks."),
    IGNORED_KEY("scan.incremental.close-idle-reader.enabled", "Idle readers always end."),
    IGNORED_KEY("scan.incremental.snapshot.unbounded-chunk-first.enabled",
                "A chunk is bounded by pages, not by key values."),
    IGNORED_KEY("scan.incremental.snapshot.backfill.skip",
                "One exported snapshot makes the seam exact: nothing is filled back."),
    IGNORED_KEY("scan.snapshot.fetch.size", "COPY has no fetch size."),
    IGNORED_KEY("scan.lsn-commit.checkpoints-num-delay",
                "A position is confirmed to the server as soon as its checkpoint is on disk."),
    IGNORED_KEY("chunk-meta.group.size", "There is no chunk metadata to group."),
    IGNORED_KEY("chunk-key.even-distribution.factor.upper-bound", "Chunks are cut by pages."),
    IGNORED_KEY("chunk-key.even-distribution.factor.lower-bound", "Chunks are cut by pages."),
    IGNORED_KEY("connect.max-retries", "See pipeline.restart-strategy."),
    IGNORED_KEY("connection.pool.size", "See scan.snapshot.readers."),
    IGNORED_KEY("metadata.list",
                "op_ts, table_name, database_name and schema_name are always part of an event."),
    IGNORED_KEY("server-time-zone", "The session runs in UTC."),
    IGNORED_KEY("include-comments.enabled", "Comments are not copied."),
    {.name = "debezium.*",
     .type = TR_OPT_MAP,
     .flags = TR_OPT_IGNORED,
     .offset = AT(ignored_map),
     .help = "No Debezium runs inside; the settings above take their place."},
    {.name = "jdbc.properties.*",
     .type = TR_OPT_MAP,
     .flags = TR_OPT_IGNORED,
     .offset = AT(ignored_map),
     .help = "No JDBC runs inside; use url for libpq parameters."},
    {.name = NULL},
};

/* What a url may set: nothing that reads a file of passwords or services or changes the session. */
static const char *const url_allowed[] = {"host",
                                          "hostaddr",
                                          "port",
                                          "dbname",
                                          "user",
                                          "password",
                                          "sslmode",
                                          "sslrootcert",
                                          "sslcert",
                                          "sslkey",
                                          "sslcrl",
                                          "sslsni",
                                          "ssl_min_protocol_version",
                                          "ssl_max_protocol_version",
                                          "channel_binding",
                                          "target_session_attrs",
                                          "gssencmode",
                                          "krbsrvname",
                                          "require_auth",
                                          NULL};

/* ---- patterns ------------------------------------------------------------------------------- */

/* Cuts the next pattern (up to a comma outside brackets) from *text into parts at unescaped dots.
 * Returns the number of parts, 0 at the end; parts longer than the buffer are cut. */
static unsigned next_pattern(const char **text, char parts[3][PATTERN_PART_BYTES_MAX])
{
    const char *at = *text;
    while (*at == ',' || isspace((unsigned char)*at))
        at++;
    if (*at == '\0')
        return 0;
    unsigned part = 0, depth = 0;
    size_t len = 0;
    memset(parts, 0, 3 * (size_t)PATTERN_PART_BYTES_MAX);
    for (; *at != '\0'; at++) {
        if (*at == ',' && depth == 0)
            break;
        if (*at == '.' && depth == 0 && part < 2) {
            part++;
            len = 0;
            continue;
        }
        if (*at == '[' || *at == '(' || *at == '{')
            depth++;
        else if ((*at == ']' || *at == ')' || *at == '}') && depth > 0)
            depth--;
        if (len + 2 < PATTERN_PART_BYTES_MAX) {
            parts[part][len++] = *at;
            if (*at == '\\' && at[1] != '\0')
                parts[part][len++] = *++at;
        } else if (*at == '\\' && at[1] != '\0') {
            at++;
        }
    }
    while (len > 0 && isspace((unsigned char)parts[part][len - 1]))
        parts[part][--len] = '\0';
    *text = at;
    return part + 1;
}

static bool is_plain(const char *part)
{
    return part[0] != '\0' && strpbrk(part, "\\[](){}*+?|^$") == NULL;
}

enum tr_status tr_pg_patterns_database(const struct tr_string_list *patterns, char *buf,
                                       size_t buf_size, struct tr_error *err)
{
    char parts[3][PATTERN_PART_BYTES_MAX];
    bool found = false;
    for (size_t i = 0; i < patterns->count; i++) {
        const char *text = patterns->items[i];
        unsigned count;
        while ((count = next_pattern(&text, parts)) > 0) {
            if (count < 3 || !is_plain(parts[0]))
                continue;
            if (found && strcmp(parts[0], buf) != 0) {
                (void)tr_fail(err, TR_E_PG_OPTION,
                              "tables name two databases, \"%s\" and \"%s\"; one source reads one "
                              "database",
                              buf, parts[0]);
                return tr_hint(err, "Write one pipeline for each database.");
            }
            if (strlen(parts[0]) >= buf_size)
                return tr_fail(err, TR_E_PG_OPTION, "the database's name in tables is too long");
            memcpy(buf, parts[0], strlen(parts[0]) + 1);
            found = true;
        }
    }
    return found ? TR_OK : TR_AGAIN;
}

void tr_pg_patterns_plain(const struct tr_string_list *patterns,
                          void (*fn)(void *ctx, const char *schema, const char *table), void *ctx)
{
    char parts[3][PATTERN_PART_BYTES_MAX];
    for (size_t i = 0; i < patterns->count; i++) {
        const char *text = patterns->items[i];
        unsigned count;
        while ((count = next_pattern(&text, parts)) > 0) {
            const char *schema = count == 3 ? parts[1] : parts[0];
            const char *table = count == 3 ? parts[2] : parts[1];
            if (count >= 2 && is_plain(schema) && is_plain(table))
                fn(ctx, schema, table);
        }
    }
}

/* ---- derived settings ----------------------------------------------------------------------- */

void tr_pg_default_name(const char *pipeline_name, const char *suffix, char *buf, size_t buf_size)
{
    size_t suffix_len = strlen(suffix), len = 0;
    for (const char *c = pipeline_name; *c != '\0' && len + suffix_len + 1 < buf_size; c++) {
        int lower = tolower((unsigned char)*c);
        bool fits = (lower >= 'a' && lower <= 'z') || (lower >= '0' && lower <= '9');
        buf[len++] = fits ? (char)lower : '_';
    }
    memcpy(buf + len, suffix, suffix_len + 1);
}

static bool add(struct tr_pg_conninfo *info, const char *keyword, const char *value)
{
    if (value == NULL || value[0] == '\0')
        return true;
    if (info->count == TR_PG_CONNINFO_MAX)
        return false;
    info->keywords[info->count] = keyword;
    info->values[info->count++] = value;
    return true;
}

static enum tr_status settle_url(struct tr_pg_settings *settings, struct tr_error *err)
{
    const char *url = settings->options->url.value;
    if (strncmp(url, "postgresql://", 13) != 0 && strncmp(url, "postgres://", 11) != 0)
        return tr_fail(err, TR_E_PG_OPTION, "url must start with postgresql://");
    char *message = NULL; /* libpq's message may quote the url, so it is not shown */
    PQconninfoOption *parsed = PQconninfoParse(url, &message);
    PQfreemem(message);
    if (parsed == NULL) {
        (void)tr_fail(err, TR_E_PG_OPTION, "url is not a connection URI");
        return tr_hint(err, "Write postgresql://user:password@host:port/database, with special "
                            "characters of the password as %%XX.");
    }
    settings->url_parsed = parsed;
    for (PQconninfoOption *option = parsed; option->keyword != NULL; option++) {
        if (option->val == NULL)
            continue;
        size_t i = 0;
        while (url_allowed[i] != NULL && strcmp(url_allowed[i], option->keyword) != 0)
            i++;
        if (url_allowed[i] == NULL) {
            (void)tr_fail(err, TR_E_PG_OPTION, "url must not set %s", option->keyword);
            return tr_hint(err, "Leave the parameter out.");
        }
        if (strcmp(option->keyword, "dbname") == 0) {
            free(settings->database);
            settings->database = strdup(option->val);
            if (settings->database == NULL)
                return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for settings");
            continue;
        }
        if (strcmp(option->keyword, "sslmode") == 0)
            settings->sslmode_by_default = false;
        if (strcmp(option->keyword, "sslrootcert") == 0)
            settings->has_root_file = true;
        if (!add(&settings->conninfo, option->keyword, option->val))
            return tr_fail(err, TR_E_PG_OPTION, "url has too many parameters");
    }
    return TR_OK;
}

static bool has(const struct tr_pg_conninfo *info, const char *keyword)
{
    for (unsigned i = 0; i < info->count; i++) {
        if (strcmp(info->keywords[i], keyword) == 0)
            return true;
    }
    return false;
}

static bool home_root_exists(void)
{
    const char *home = getenv("HOME");
    char path[4096];
    if (home == NULL ||
        snprintf(path, sizeof path, "%s/.postgresql/root.crt", home) >= (int)sizeof path)
        return false;
    return access(path, R_OK) == 0;
}

static enum tr_status settle_connection(struct tr_pg_settings *settings,
                                        const struct tr_config *config, struct tr_error *err)
{
    const struct tr_pg_options *options = settings->options;
    struct tr_pg_conninfo *info = &settings->conninfo;
    settings->sslmode_by_default = config == NULL || !tr_config_given(config, "sslmode");
    settings->has_root_file = options->sslrootcert != NULL;
    if (options->url.value != NULL) {
        if (options->hostname != NULL || options->username != NULL ||
            options->password.value != NULL) {
            (void)tr_fail(err, TR_E_PG_OPTION,
                          "url and hostname, username or password are given at the same time");
            return tr_hint(err, "Keep either url or the keys.");
        }
        if (settle_url(settings, err) != TR_OK)
            return TR_FAIL;
    } else {
        if (options->hostname == NULL || options->username == NULL) {
            (void)tr_fail(err, TR_E_PG_OPTION, "%s is missing",
                          options->hostname == NULL ? "hostname" : "username");
            return tr_hint(err, "Set source.hostname and source.username, or source.url.");
        }
        (void)snprintf(settings->port_text, sizeof settings->port_text, "%d", (int)options->port);
        (void)add(info, "host", options->hostname);
        (void)add(info, "port", settings->port_text);
        (void)add(info, "user", options->username);
        (void)add(info, "password", options->password.value);
    }
    if (!has(info, "sslmode"))
        (void)add(info, "sslmode", sslmode_values[options->sslmode]);
    if (!has(info, "sslrootcert"))
        (void)add(info, "sslrootcert", options->sslrootcert);
    if (!has(info, "sslcert"))
        (void)add(info, "sslcert", options->sslcert);
    if (!has(info, "sslkey"))
        (void)add(info, "sslkey", options->sslkey);
    const char *mode = "";
    for (unsigned i = 0; i < info->count; i++) {
        if (strcmp(info->keywords[i], "sslmode") == 0)
            mode = info->values[i];
    }
    if (!settings->has_root_file && strcmp(mode, "verify-full") == 0 && PQlibVersion() >= 160000 &&
        !home_root_exists()) {
        settings->has_root_file = true;
        (void)add(info, "sslrootcert", "system");
    }
    (void)add(info, "keepalives", "1");
    (void)add(info, "keepalives_idle", "30");
    (void)add(info, "keepalives_interval", "10");
    (void)add(info, "keepalives_count", "3");
    (void)add(info, "tcp_user_timeout", "60000");
    (void)add(info, "client_encoding", "UTF8");
    return TR_OK;
}

static enum tr_status settle_database(struct tr_pg_settings *settings, struct tr_error *err)
{
    char from_patterns[PATTERN_PART_BYTES_MAX];
    const char *given = settings->options->database;
    if (given != NULL && settings->database != NULL && strcmp(given, settings->database) != 0)
        return tr_fail(err, TR_E_PG_OPTION, "database is \"%s\", but url names \"%s\"", given,
                       settings->database);
    if (given != NULL && settings->database == NULL) {
        settings->database = strdup(given);
        if (settings->database == NULL)
            return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for settings");
    }
    enum tr_status status = tr_pg_patterns_database(&settings->options->tables, from_patterns,
                                                    sizeof from_patterns, err);
    if (status == TR_FAIL)
        return TR_FAIL;
    if (status == TR_OK && settings->database != NULL &&
        strcmp(from_patterns, settings->database) != 0) {
        (void)tr_fail(err, TR_E_PG_OPTION, "database is \"%s\", but tables name \"%s\"",
                      settings->database, from_patterns);
        return tr_hint(err, "Write schema.table, or %s.schema.table, in tables.",
                       settings->database);
    }
    if (status == TR_OK && settings->database == NULL) {
        settings->database = strdup(from_patterns);
        if (settings->database == NULL)
            return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for settings");
    }
    if (settings->database == NULL) {
        (void)tr_fail(err, TR_E_PG_OPTION, "no database is named");
        return tr_hint(err, "Set source.database, or write its name as the first part of tables: "
                            "database.schema.table.");
    }
    return TR_OK;
}

static enum tr_status settle_names(struct tr_pg_settings *settings, const char *pipeline_name,
                                   struct tr_error *err)
{
    const struct tr_pg_options *options = settings->options;
    tr_pg_default_name(pipeline_name, "_slot", settings->slot_name, sizeof settings->slot_name);
    tr_pg_default_name(pipeline_name, "_pub", settings->publication_name,
                       sizeof settings->publication_name);
    if (options->slot_name != NULL) {
        size_t len = strlen(options->slot_name);
        if (len == 0 || len > TR_PG_NAME_BYTES_MAX ||
            strspn(options->slot_name, "abcdefghijklmnopqrstuvwxyz0123456789_") != len) {
            (void)tr_fail(err, TR_E_PG_OPTION, "slot.name \"%.80s\" is not a slot's name",
                          options->slot_name);
            return tr_hint(err, "A slot's name has 1 to 63 lower-case letters, digits and _.");
        }
        memcpy(settings->slot_name, options->slot_name, len + 1);
    }
    if (options->publication_name != NULL) {
        size_t len = strlen(options->publication_name);
        if (len == 0 || len > TR_PG_NAME_BYTES_MAX)
            return tr_fail(err, TR_E_PG_OPTION, "publication.name must have 1 to 63 bytes");
        memcpy(settings->publication_name, options->publication_name, len + 1);
    }
    (void)snprintf(settings->application_name, sizeof settings->application_name, "tailrace %.50s",
                   pipeline_name);
    return TR_OK;
}

enum tr_status tr_pg_settings_init(struct tr_pg_settings *settings,
                                   const struct tr_pg_options *options,
                                   const struct tr_config *config, const char *pipeline_name,
                                   struct tr_error *err)
{
    memset(settings, 0, sizeof *settings);
    settings->options = options;
    if (settle_names(settings, pipeline_name, err) != TR_OK ||
        settle_connection(settings, config, err) != TR_OK ||
        settle_database(settings, err) != TR_OK)
        return TR_FAIL;
    if (options->tables.count == 0)
        return tr_fail(err, TR_E_PG_OPTION, "tables is empty");
    if (tr_table_pattern_compile(&options->tables, &settings->include, err) != TR_OK)
        return TR_FAIL;
    if (options->tables_exclude.count > 0 &&
        tr_table_pattern_compile(&options->tables_exclude, &settings->exclude, err) != TR_OK)
        return TR_FAIL;
    return TR_OK;
}

void tr_pg_settings_free(struct tr_pg_settings *settings)
{
    if (settings->include != NULL)
        tr_table_pattern_free(settings->include);
    if (settings->exclude != NULL)
        tr_table_pattern_free(settings->exclude);
    PQconninfoFree(settings->url_parsed);
    free(settings->database);
    memset(settings, 0, sizeof *settings);
}

bool tr_pg_settings_match(const struct tr_pg_settings *settings, const struct tr_table_id *id)
{
    if (!tr_table_pattern_match(settings->include, id))
        return false;
    return settings->exclude == NULL || !tr_table_pattern_match(settings->exclude, id);
}
