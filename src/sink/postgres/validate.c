/* Preflight of the target: what would fail, what would be slow, and the SQL that mends each. Reads
 * the catalog only. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sink/postgres/writer.h"

struct check {
    struct tr_pgs_sink *sink;
    struct tr_pgs_link *link;
    bool may_set_role;
    tr_report_fn report;
    void *report_ctx;
    struct tr_outbuf message, remedy;
};

static void report(struct check *check, enum tr_severity severity, enum tr_code code,
                   const char *object)
{
    struct tr_finding finding = {.severity = severity,
                                 .code = code,
                                 .object = object,
                                 .message = tr_outbuf_cstr(&check->message),
                                 .remedy = tr_outbuf_cstr(&check->remedy)};
    check->report(check->report_ctx, &finding);
    tr_outbuf_clear(&check->message);
    tr_outbuf_clear(&check->remedy);
}

static enum tr_status ask(struct check *check, const char *sql, int param_count,
                          const char *const *params, bool *yes, struct tr_error *err)
{
    PGresult *result;
    if (tr_pgs_query(check->link, sql, param_count, params, "could not check the target", &result,
                     err) != TR_OK)
        return TR_FAIL;
    *yes = PQntuples(result) > 0 && *PQgetvalue(result, 0, 0) == 't';
    PQclear(result);
    return TR_OK;
}

static enum tr_status check_server(struct check *check, struct tr_error *err)
{
    bool standby, may_set = false;
    tr_outbuf_printf(&check->message, "PostgreSQL %d, connected as %s",
                     check->link->server_version / 10000, PQuser(check->link->conn));
    report(check, TR_INFO, TR_E_NONE, PQdb(check->link->conn));
    if (ask(check,
            "SELECT pg_catalog.pg_is_in_recovery() OR"
            " pg_catalog.current_setting('default_transaction_read_only')::pg_catalog.bool",
            0, NULL, &standby, err) != TR_OK)
        return TR_FAIL;
    if (standby) {
        tr_outbuf_lit(&check->message,
                      "the target takes no writes: a standby, or read-only by default");
        tr_outbuf_lit(&check->remedy, "connect to the primary");
        report(check, TR_ERROR_SEVERITY, TR_E_PGSINK_READ_ONLY, PQdb(check->link->conn));
    }
    const char *sql = check->link->server_version >= 150000
                          ? "SELECT rolsuper OR pg_catalog.has_parameter_privilege("
                            "'session_replication_role', 'SET') FROM pg_catalog.pg_roles"
                            " WHERE rolname = current_user"
                          : "SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user";
    if (ask(check, sql, 0, NULL, &may_set, err) != TR_OK)
        return TR_FAIL;
    int role = check->sink->options->replication_role;
    check->may_set_role = may_set && role != TR_PGS_ROLE_ORIGIN;
    if (!may_set && role == TR_PGS_ROLE_REPLICA) {
        tr_outbuf_lit(&check->message, "the role may not set session_replication_role");
        tr_outbuf_lit(&check->remedy, "GRANT SET ON PARAMETER session_replication_role TO ");
        tr_pgs_identifier(check->link, &check->remedy, PQuser(check->link->conn));
        tr_outbuf_lit(&check->remedy, "; (PostgreSQL 15 or newer; before, a superuser)");
        report(check, TR_ERROR_SEVERITY, TR_E_PGSINK_PRIVILEGE, "session.replication.role");
    }
    return TR_OK;
}

/* *exists; and a finding when the schema is absent and cannot be made, or takes no tables. */
static enum tr_status check_schema(struct check *check, const char *schema, const char *for_what,
                                   struct tr_error *err)
{
    const char *params[] = {schema};
    bool found, may_create;
    if (ask(check, "SELECT count(*) > 0 FROM pg_catalog.pg_namespace WHERE nspname = $1", 1, params,
            &found, err) != TR_OK)
        return TR_FAIL;
    const char *sql = found ? "SELECT pg_catalog.has_schema_privilege($1, 'CREATE')"
                            : "SELECT pg_catalog.has_database_privilege("
                              "pg_catalog.current_database(), 'CREATE') OR $1 IS NULL";
    if (ask(check, sql, 1, params, &may_create, err) != TR_OK)
        return TR_FAIL;
    if (may_create)
        return TR_OK;
    tr_outbuf_printf(&check->message, "%s cannot be made: no CREATE privilege on %s", for_what,
                     found ? "the schema" : "the database, and the schema is absent");
    tr_outbuf_str(&check->remedy, found ? "GRANT CREATE ON SCHEMA " : "GRANT CREATE ON DATABASE ");
    tr_pgs_identifier(check->link, &check->remedy, found ? schema : PQdb(check->link->conn));
    tr_outbuf_lit(&check->remedy, " TO ");
    tr_pgs_identifier(check->link, &check->remedy, PQuser(check->link->conn));
    tr_outbuf_byte(&check->remedy, ';');
    report(check, TR_ERROR_SEVERITY, TR_E_PGSINK_PRIVILEGE, schema);
    return TR_OK;
}

static enum tr_status check_position(struct check *check, struct tr_error *err)
{
    const char *params[] = {check->sink->position_schema, check->sink->position_table};
    bool found;
    if (ask(check,
            "SELECT count(*) > 0 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n"
            " ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = $2",
            2, params, &found, err) != TR_OK)
        return TR_FAIL;
    return found ? TR_OK
                 : check_schema(check, check->sink->position_schema, "the position table", err);
}

static enum tr_status check_privileges(struct check *check, const struct tr_pgs_target *target,
                                       const char *object, struct tr_error *err)
{
    static const char *const privileges[] = {"INSERT", "UPDATE", "DELETE", "SELECT", "TRUNCATE"};
    for (size_t i = 0; i < sizeof privileges / sizeof *privileges; i++) {
        const char *params[] = {target->oid, privileges[i]};
        bool has;
        if (ask(check, "SELECT pg_catalog.has_table_privilege($1::pg_catalog.oid, $2)", 2, params,
                &has, err) != TR_OK)
            return TR_FAIL;
        if (has)
            continue;
        tr_outbuf_printf(&check->message, "the role has no %s privilege", privileges[i]);
        tr_outbuf_printf(&check->remedy, "GRANT %s ON %s TO ", privileges[i], target->quoted);
        tr_pgs_identifier(check->link, &check->remedy, PQuser(check->link->conn));
        tr_outbuf_byte(&check->remedy, ';');
        report(check, i == 4 ? TR_WARNING : TR_ERROR_SEVERITY, TR_E_PGSINK_PRIVILEGE, object);
    }
    return TR_OK;
}

/* Columns that the events bring: there, writable, of a type that takes them. */
static enum tr_status check_columns(struct check *check, const struct tr_table *table,
                                    const struct tr_pgs_target *target, const char *object,
                                    struct tr_error *err)
{
    struct tr_outbuf type = {0};
    for (uint16_t i = 0; i < table->column_count; i++) {
        const struct tr_column *column = &table->columns[i];
        int at = tr_pgs_target_column(target, column->name);
        tr_outbuf_clear(&type);
        if (tr_pgs_column_type(check->link, column, &type, err) != TR_OK) {
            tr_outbuf_free(&type);
            return TR_FAIL;
        }
        if (at < 0) {
            tr_outbuf_printf(&check->message, "column \"%s\" is not on the target%s", column->name,
                             check->sink->options->table_create ? "; it will be added" : "");
            tr_outbuf_printf(&check->remedy, "ALTER TABLE %s ADD COLUMN ", target->quoted);
            tr_pgs_identifier(check->link, &check->remedy, column->name);
            tr_outbuf_printf(&check->remedy, " %s;", tr_outbuf_cstr(&type));
            report(check, check->sink->options->table_create ? TR_INFO : TR_ERROR_SEVERITY,
                   TR_E_PGSINK_COLUMN_MISSING, object);
            continue;
        }
        const char *params[] = {tr_outbuf_cstr(&type), target->columns[at].type};
        bool same;
        if (ask(check,
                "SELECT pg_catalog.to_regtype($1) IS NOT DISTINCT FROM pg_catalog.to_regtype($2)",
                2, params, &same, err) != TR_OK) {
            tr_outbuf_free(&type);
            return TR_FAIL;
        }
        if (!same && !target->columns[at].generated) {
            tr_outbuf_printf(&check->message,
                             "column \"%s\" is %s on the target and %s on the source: "
                             "values are converted by their text",
                             column->name, target->columns[at].pretty, tr_outbuf_cstr(&type));
            report(check, TR_WARNING, TR_E_PGSINK_TYPE, object);
        }
    }
    tr_outbuf_free(&type);
    return TR_OK;
}

/* Columns of the target's own that no event fills. */
static void check_extra_columns(struct check *check, const struct tr_table *table,
                                const struct tr_pgs_target *target, const char *object)
{
    for (uint16_t i = 0; i < target->column_count; i++) {
        const struct tr_pgs_column *column = &target->columns[i];
        if (tr_table_column(table, column->name) >= 0 || !column->not_null || column->generated ||
            column->identity || column->default_sql != NULL)
            continue;
        tr_outbuf_printf(
            &check->message,
            "column \"%s\" is NOT NULL without default and the source does not have it",
            column->name);
        tr_outbuf_printf(&check->remedy, "ALTER TABLE %s ALTER COLUMN ", target->quoted);
        tr_pgs_identifier(check->link, &check->remedy, column->name);
        tr_outbuf_lit(&check->remedy, " DROP NOT NULL;");
        report(check, TR_ERROR_SEVERITY, TR_E_PGSINK_NOT_NULL, object);
    }
}

static void check_key(struct check *check, const struct tr_table *table,
                      const struct tr_pgs_target *target, const char *object)
{
    int32_t columns[TR_PGS_KEY_COLUMNS_MAX];
    if (table->key_count == 0) {
        tr_outbuf_lit(&check->message,
                      "the table has no key: an UPDATE or DELETE finds its row by all "
                      "columns, which reads the target table");
        report(check, TR_WARNING, TR_E_PGSINK_NO_UNIQUE_KEY, object);
        return;
    }
    for (uint16_t i = 0; i < table->key_count && i < TR_PGS_KEY_COLUMNS_MAX; i++)
        columns[i] = tr_pgs_target_column(target, table->columns[table->key_columns[i]].name);
    if (table->key_count > TR_PGS_KEY_COLUMNS_MAX ||
        tr_pgs_target_index(target, columns, table->key_count) != NULL)
        return;
    bool versions = table->version_column > 0;
    tr_outbuf_str(&check->message,
                  versions ? "the target has no unique index on the key, which last write wins needs"
                           : "the target has no unique index on the key: rows are found by reading it");
    tr_outbuf_printf(&check->remedy, "ALTER TABLE %s ADD PRIMARY KEY (", target->quoted);
    for (uint16_t i = 0; i < table->key_count; i++) {
        if (i > 0)
            tr_outbuf_lit(&check->remedy, ", ");
        tr_pgs_identifier(check->link, &check->remedy, table->columns[table->key_columns[i]].name);
    }
    tr_outbuf_lit(&check->remedy, ");");
    report(check, versions ? TR_ERROR_SEVERITY : TR_WARNING, TR_E_PGSINK_NO_UNIQUE_KEY, object);
}

static void check_version(struct check *check, const struct tr_table *table,
                          const struct tr_pgs_target *target, const char *object)
{
    struct tr_error finding;
    if (table->version_column == 0 || tr_pgs_newest_check(target, table, &finding) == TR_OK)
        return;
    tr_outbuf_str(&check->message, finding.message);
    tr_outbuf_str(&check->remedy, finding.hint);
    report(check, TR_ERROR_SEVERITY, finding.code, object);
}

static void check_triggers(struct check *check, const struct tr_pgs_target *target,
                           const char *object)
{
    if (!target->foreign_keys && !target->user_triggers)
        return;
    tr_outbuf_printf(&check->message,
                     "%s%s fire for this role: changes go row by row, in the order of "
                     "the source",
                     target->foreign_keys ? "foreign keys" : "",
                     !target->user_triggers ? ""
                     : target->foreign_keys ? " and triggers"
                                            : "triggers");
    tr_outbuf_lit(&check->remedy, "GRANT SET ON PARAMETER session_replication_role TO ");
    tr_pgs_identifier(check->link, &check->remedy, PQuser(check->link->conn));
    tr_outbuf_lit(&check->remedy, "; (PostgreSQL 15 or newer) if they need not fire");
    report(check, target->foreign_keys ? TR_WARNING : TR_INFO, TR_E_PGSINK_ORDERED, object);
}

static enum tr_status check_table(struct check *check, const struct tr_table *table,
                                  struct tr_error *err)
{
    const char *schema = tr_pgs_schema_of(check->sink, &table->id);
    struct tr_pgs_target *target = NULL;
    char object[300];
    (void)snprintf(object, sizeof object, "%s.%s", schema, table->id.table);
    /* triggers are looked at with the role that the writer will have */
    check->link->replica_role = check->may_set_role;
    enum tr_status status = tr_pgs_describe(check->link, schema, table->id.table, &target, err);
    check->link->replica_role = false;
    if (status != TR_OK)
        return TR_FAIL;
    if (!target->exists && check->sink->options->table_create) {
        status = check_schema(check, schema, "the table", err);
        if (status == TR_OK) {
            tr_outbuf_lit(&check->message, "the table will be created");
            report(check, TR_INFO, TR_E_NONE, object);
        }
    } else if (!target->exists) {
        tr_outbuf_lit(&check->message,
                      "the table does not exist and table.create.enabled is false");
        status = tr_pgs_create_sql(check->link, table, target->quoted, &check->remedy, err);
        if (status == TR_OK) {
            tr_outbuf_byte(&check->remedy, ';');
            report(check, TR_ERROR_SEVERITY, TR_E_PGSINK_TABLE_MISSING, object);
        }
    } else if (target->relkind != 'r' && target->relkind != 'p') {
        tr_outbuf_lit(&check->message, "the target is not an ordinary or partitioned table");
        tr_outbuf_lit(&check->remedy, "route the table to another name");
        report(check, TR_ERROR_SEVERITY, TR_E_PGSINK_TABLE_KIND, object);
    } else {
        status = check_privileges(check, target, object, err);
        if (status == TR_OK)
            status = check_columns(check, table, target, object, err);
        check_extra_columns(check, table, target, object);
        check_key(check, table, target, object);
        check_version(check, table, target, object);
        check_triggers(check, target, object);
        if (target->row_security) {
            tr_outbuf_lit(&check->message,
                          "row-level security applies to the role: rows would be hidden");
            tr_outbuf_lit(&check->remedy, "ALTER ROLE ");
            tr_pgs_identifier(check->link, &check->remedy, PQuser(check->link->conn));
            tr_outbuf_lit(&check->remedy, " BYPASSRLS;");
            report(check, TR_ERROR_SEVERITY, TR_E_PGSINK_PRIVILEGE, object);
        }
    }
    tr_pgs_target_free(target);
    return status;
}

enum tr_status tr_pgs_validate(void *self, const struct tr_table *const *tables, size_t table_count,
                               tr_report_fn report_fn, void *report_ctx, struct tr_error *err)
{
    struct tr_pgs_sink *sink = self;
    struct check check = {
        .sink = sink, .link = &sink->control, .report = report_fn, .report_ctx = report_ctx};
    enum tr_status status = tr_pgs_sink_control(sink, err);
    if (status == TR_OK)
        status = check_server(&check, err);
    if (status == TR_OK)
        status = check_position(&check, err);
    for (size_t i = 0; i < table_count && status == TR_OK; i++)
        status = check_table(&check, tables[i], err);
    tr_outbuf_free(&check.message);
    tr_outbuf_free(&check.remedy);
    return status;
}
