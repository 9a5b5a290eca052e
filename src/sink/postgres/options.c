/* Settings of the PostgreSQL sink: the only list of them; binding, help and docs are made from it.
 */
#include "sink/postgres/options.h"

#include <stddef.h>

static const char *const sslmode_values[] = {"disable",   "prefer",      "require",
                                             "verify-ca", "verify-full", NULL};
static const char *const role_values[] = {"auto", "replica", "origin", NULL};
/* `off` is not among them: durable_seq says that a crash of the target cannot undo a commit. */
static const char *const commit_values[] = {"on", "local", "remote_write", "remote_apply", NULL};

#define AT(field) offsetof(struct tr_pgs_options, field)

const struct tr_option tr_pgs_option_table[] = {
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
     .help = "Role that owns the target tables, or may create them."},
    {.name = "password",
     .type = TR_OPT_SECRET,
     .offset = AT(password),
     .help = "Its password; ${env:NAME} or ${file:/path} keep it out of the file."},
    {.name = "database",
     .alias = "database-name",
     .type = TR_OPT_STRING,
     .offset = AT(database),
     .help = "Target database; it must store UTF-8."},
    {.name = "url",
     .type = TR_OPT_SECRET,
     .offset = AT(url),
     .help = "postgresql://user:password@host:port/database?sslmode=… in place of the keys above."},
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
    {.name = "schema",
     .type = TR_OPT_STRING,
     .offset = AT(schema),
     .help =
         "Schema of all target tables. Default: the schema that the source or the route names."},
    {.name = "table.create.enabled",
     .type = TR_OPT_BOOL,
     .offset = AT(table_create),
     .default_text = "true",
     .help =
         "Create schemas and tables that are absent. With false an absent table is an error that "
         "shows the SQL."},
    {.name = "session.replication.role",
     .type = TR_OPT_ENUM,
     .offset = AT(replication_role),
     .default_text = "auto",
     .values = role_values,
     .help = "replica: foreign keys and triggers of the target do not fire, as in native logical "
             "replication; the role needs the right to set it. origin: they fire, and tables that "
             "have them are applied row by row. auto: replica where the role may, else origin."},
    {.name = "position.schema",
     .type = TR_OPT_STRING,
     .flags = TR_OPT_ADVANCED,
     .offset = AT(position_schema),
     .help = "Schema of the position table. Default: schema if given, else public."},
    {.name = "position.table",
     .type = TR_OPT_STRING,
     .flags = TR_OPT_ADVANCED,
     .offset = AT(position_table),
     .default_text = "tailrace_position",
     .help =
         "Table in the target database that holds the pipelines' positions; it is written in the "
         "transaction that writes the rows."},
    {.name = "synchronous.commit",
     .type = TR_OPT_ENUM,
     .flags = TR_OPT_ADVANCED,
     .offset = AT(synchronous_commit),
     .default_text = "on",
     .values = commit_values,
     .help = "synchronous_commit of the sink's sessions; off cannot be had, because what counts as "
             "durable must survive a crash of the target."},
    {.name = "connect.timeout",
     .type = TR_OPT_DURATION,
     .flags = TR_OPT_ADVANCED,
     .offset = AT(connect_timeout_ms),
     .default_text = "30s",
     .min = 100,
     .max = 3600000,
     .help = "Longest time to connect."},
    {.name = "lock.timeout",
     .type = TR_OPT_DURATION,
     .flags = TR_OPT_ADVANCED,
     .offset = AT(lock_timeout_ms),
     .default_text = "60s",
     .min = 0,
     .max = 86400000,
     .help = "Longest wait for one lock on the target; 0 waits without end. After it the restart "
             "strategy tries again."},
    {.name = "apply.batch.rows",
     .type = TR_OPT_INT,
     .flags = TR_OPT_ADVANCED,
     .offset = AT(apply_rows),
     .default_text = "16384",
     .min = 1,
     .max = 1000000,
     .help = "Changes that are gathered at most before they are applied."},
    {.name = "apply.batch.bytes",
     .type = TR_OPT_SIZE,
     .flags = TR_OPT_ADVANCED,
     .offset = AT(apply_bytes),
     .default_text = "8MB",
     .min = 65536,
     .max = INT64_C(1) << 30,
     .help = "Bytes of changes that are gathered at most before they are applied."},
    {.name = "tombstone.retention",
     .type = TR_OPT_DURATION,
     .flags = TR_OPT_ADVANCED,
     .offset = AT(tombstone_retention_ms),
     .default_text = "7d",
     .min = 0,
     .max = INT64_C(315360000000),
     .help = "Last write wins: how long a deletion is remembered in tailrace_deleted, from the time "
             "when it was written. An older row that comes later than that brings its key back. 0: "
             "for ever."},
    {.name = NULL}};

const char *tr_pgs_sslmode_name(int sslmode) { return sslmode_values[sslmode]; }
const char *tr_pgs_synchronous_commit_name(int value) { return commit_values[value]; }
