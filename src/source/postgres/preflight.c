/* Preflight.
 *
 * Severities: an error is what start refuses, or what would end the pipeline or harm the source's
 * applications (a published table without replica identity makes its UPDATE and DELETE fail); a
 * warning is what the user should know before it matters; information is what check shows as fine.
 *
 * Thread: the one that owns the connection. */
#include "source/postgres/preflight.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/outbuf.h"
#include "decode/pgoutput.h"

#define SLOT_SAFE_BYTES_WARN (INT64_C(1) << 30)

struct preflight {
    struct tr_pg_conn *conn;
    const struct tr_pg_settings *settings;
    const struct tr_pg_server *server;
    struct tr_pg_catalog *catalog;
    tr_report_fn report;
    void *report_ctx;
    struct tr_outbuf remedy; /* reused */
    unsigned absent_count;   /* tables named plainly that do not exist */
};

static void report(struct preflight *flight, enum tr_severity severity, enum tr_code code,
                   const char *object, const char *message, const char *remedy)
{
    struct tr_finding finding = {severity, code, object, message, remedy};
    flight->report(flight->report_ctx, &finding);
}

static const char *user_of(const struct tr_pg_conn *conn)
{
    return PQuser(conn->pg) == NULL ? "" : PQuser(conn->pg);
}

/* ---- the server ----------------------------------------------------------------------------- */

static void report_server(struct preflight *flight)
{
    char text[160];
    PGconn *pg = flight->conn->pg;
    (void)snprintf(text, sizeof text, "PostgreSQL %d.%d, %s%s%s", flight->server->version / 10000,
                   flight->server->version % 10000, PQsslInUse(pg) ? "TLS " : "no TLS",
                   PQsslInUse(pg) ? PQsslAttribute(pg, "protocol") : "",
                   PQhost(pg) != NULL && PQhost(pg)[0] == '/' ? ", Unix socket" : "");
    report(flight, TR_INFO, TR_E_NONE, "server", text, NULL);
    if (flight->server->in_recovery)
        report(flight, TR_ERROR_SEVERITY, TR_E_PG_STANDBY, "server",
               "the server is a standby: the publication and the slot must be on the primary",
               "Set hostname to the primary's.");
}

/* Without the REPLICATION attribute a hosted server may still allow it by a role of its own: try.
 */
static void try_replication(struct preflight *flight)
{
    struct tr_pg_conn walsender = {0};
    struct tr_error err;
    if (tr_pg_connect(flight->settings, true, -1, &walsender, &err) == TR_OK)
        report(flight, TR_INFO, TR_E_NONE, user_of(flight->conn),
               "may replicate by a role that it is a member of", NULL);
    else
        report(flight, TR_ERROR_SEVERITY, err.code, user_of(flight->conn), err.message, err.hint);
    tr_pg_disconnect(&walsender);
}

static enum tr_status report_settings(struct preflight *flight, struct tr_error *err)
{
    PGresult *row = NULL;
    char text[200];
    if (tr_pg_query(flight->conn, "read the server's settings",
                    "SELECT pg_catalog.current_setting('wal_level'), "
                    "pg_catalog.current_setting('max_replication_slots')::int, "
                    "(SELECT count(*) FROM pg_catalog.pg_replication_slots), "
                    "pg_catalog.current_setting('max_wal_senders')::int, "
                    "(SELECT count(*) FROM pg_catalog.pg_stat_replication), "
                    "pg_catalog.current_setting('max_slot_wal_keep_size', true), "
                    "(SELECT rolreplication OR rolsuper FROM pg_catalog.pg_roles "
                    "WHERE rolname = current_user), "
                    "pg_catalog.current_setting('idle_replication_slot_timeout', true)",
                    0, NULL, &row, err) != TR_OK)
        return TR_FAIL;
    if (strcmp(tr_pg_text(row, 0, 0), "logical") != 0) {
        (void)snprintf(text, sizeof text, "wal_level is %s, logical decoding needs logical",
                       tr_pg_text(row, 0, 0));
        report(flight, TR_ERROR_SEVERITY, TR_E_PG_WAL_LEVEL, "wal_level", text,
               "ALTER SYSTEM SET wal_level = logical; -- then restart the server");
    } else {
        report(flight, TR_INFO, TR_E_NONE, "wal_level", "is logical", NULL);
    }
    struct tr_pg_slot slot;
    if (tr_pg_slot_load(flight->conn, flight->server, flight->settings->slot_name, &slot, err) !=
        TR_OK) {
        PQclear(row);
        return TR_FAIL;
    }
    int64_t free_slots = tr_pg_int(row, 0, 1) - tr_pg_int(row, 0, 2);
    int64_t free_senders = tr_pg_int(row, 0, 3) - tr_pg_int(row, 0, 4);
    (void)snprintf(text, sizeof text, "%" PRId64 " of %" PRId64 " slots are free", free_slots,
                   tr_pg_int(row, 0, 1));
    if (free_slots < 1 && !slot.exists)
        report(flight, TR_ERROR_SEVERITY, TR_E_PG_SLOTS_FULL, "max_replication_slots", text,
               "ALTER SYSTEM SET max_replication_slots = …; -- then restart the server, or drop a "
               "slot "
               "that nobody uses");
    else if (free_slots < 1)
        report(flight, TR_WARNING, TR_E_PG_SLOTS_FULL, "max_replication_slots",
               "no slot is free: copying new tables needs a second one for a while",
               "ALTER SYSTEM SET max_replication_slots = …; -- then restart the server");
    else
        report(flight, TR_INFO, TR_E_NONE, "max_replication_slots", text, NULL);
    (void)snprintf(text, sizeof text, "%" PRId64 " of %" PRId64 " replication connections are free",
                   free_senders, tr_pg_int(row, 0, 3));
    if (free_senders < 1 && !slot.active)
        report(flight, TR_ERROR_SEVERITY, TR_E_PG_SENDERS_FULL, "max_wal_senders", text,
               "ALTER SYSTEM SET max_wal_senders = …; -- then restart the server");
    else
        report(flight, TR_INFO, TR_E_NONE, "max_wal_senders", text, NULL);
    const char *keep = tr_pg_text(row, 0, 5);
    if (keep[0] != '\0' && strcmp(keep, "-1") != 0) {
        (void)snprintf(
            text, sizeof text,
            "is %s: a pipeline that is away for longer than that much log loses its slot", keep);
        report(flight, TR_INFO, TR_E_NONE, "max_slot_wal_keep_size", text, NULL);
    } else if (keep[0] != '\0') {
        report(flight, TR_INFO, TR_E_NONE, "max_slot_wal_keep_size",
               "is -1: a pipeline that is away keeps the log until the disk is full", NULL);
    }
    const char *idle = tr_pg_text(row, 0, 7);
    if (idle[0] != '\0' && strcmp(idle, "0") != 0) {
        (void)snprintf(text, sizeof text,
                       "is %s: a pipeline that is away for longer loses its slot", idle);
        report(flight, TR_WARNING, TR_E_NONE, "idle_replication_slot_timeout", text, NULL);
    }
    bool may_replicate = tr_pg_bool(row, 0, 6);
    PQclear(row);
    if (!may_replicate)
        try_replication(flight);
    return TR_OK;
}

/* ---- the slot ------------------------------------------------------------------------------- */

static enum tr_status report_slot(struct preflight *flight, struct tr_error *err)
{
    struct tr_pg_slot slot;
    struct tr_error why;
    char object[96], text[256], lsn[24];
    const char *name = flight->settings->slot_name;
    int mode = flight->settings->options->startup_mode;
    if (tr_pg_slot_load(flight->conn, flight->server, name, &slot, err) != TR_OK)
        return TR_FAIL;
    (void)snprintf(object, sizeof object, "slot %s", name);
    if (!slot.exists) {
        if (mode == TR_PG_COMMITTED_OFFSET)
            report(flight, TR_ERROR_SEVERITY, TR_E_PG_SLOT_MISSING, object,
                   "does not exist, and scan.startup.mode committed-offset starts from it",
                   "SELECT pg_create_logical_replication_slot(…, 'pgoutput'); or use "
                   "scan.startup.mode: initial");
        else
            report(flight, TR_INFO, TR_E_NONE, object, "does not exist; the first start makes it",
                   NULL);
        return TR_OK;
    }
    if (tr_pg_slot_check(flight->settings, &slot, &why) != TR_OK) {
        report(flight, TR_ERROR_SEVERITY, why.code, object, why.message, why.hint);
        return TR_OK;
    }
    (void)snprintf(text, sizeof text, "%s, confirmed up to %s, holds back %" PRId64 " MB of log",
                   slot.active ? "is active" : "exists",
                   tr_lsn_format(slot.confirmed_lsn, lsn, sizeof lsn), slot.retained_bytes >> 20);
    report(flight, TR_INFO, TR_E_NONE, object, text, NULL);
    if (slot.safe_wal_bytes >= 0 && slot.safe_wal_bytes < SLOT_SAFE_BYTES_WARN) {
        (void)snprintf(text, sizeof text, "is close to being lost: %" PRId64 " MB of log are left",
                       slot.safe_wal_bytes >> 20);
        report(flight, TR_WARNING, TR_E_PG_SLOT_LOST, object, text,
               "ALTER SYSTEM SET max_slot_wal_keep_size = …; SELECT pg_reload_conf();");
    }
    return TR_OK;
}

/* ---- publication ---------------------------------------------------------------------------- */

static void report_publication(struct preflight *flight)
{
    const struct tr_pg_publication *publication = &flight->catalog->publication;
    const struct tr_pg_settings *settings = flight->settings;
    char object[96], text[200];
    (void)snprintf(object, sizeof object, "publication %s", settings->publication_name);
    tr_outbuf_clear(&flight->remedy);
    tr_pg_publication_sql(settings, flight->server, flight->catalog, &flight->remedy);
    const char *sql = tr_outbuf_cstr(&flight->remedy);
    size_t not_owned = 0, uncovered = 0;
    for (size_t i = 0; i < flight->catalog->relation_count; i++) {
        const struct tr_pg_relation *relation = &flight->catalog->relations[i];
        uncovered += relation->captured && !relation->published;
        not_owned += relation->captured && !relation->published && !relation->owned;
    }
    bool by_us = settings->options->publication_mode != TR_PG_DISABLED &&
                 (!publication->exists || publication->owned);
    if (sql[0] == '\0' && uncovered > 0) {
        report(flight, TR_ERROR_SEVERITY, TR_E_PG_PUBLICATION, object,
               "is FOR ALL TABLES and sends some captured partitions under their root's name",
               "Name the partitioned table itself in tables.");
    } else if (sql[0] != '\0' && (!by_us || not_owned > 0)) {
        (void)snprintf(text, sizeof text, "%s%s",
                       publication->exists ? "does not send all captured tables" : "does not exist",
                       by_us ? ", and the user does not own all tables that it needs" : "");
        report(flight, TR_ERROR_SEVERITY, TR_E_PG_PUBLICATION, object, text, sql);
    } else if (sql[0] != '\0') {
        report(flight, TR_INFO, TR_E_NONE, object,
               publication->exists ? "the start extends it"
                                   : "does not exist; the first start makes it",
               sql);
    } else {
        report(flight, TR_INFO, TR_E_NONE, object, "covers all captured tables", NULL);
    }
    if (publication->exists &&
        !(publication->publishes_insert && publication->publishes_update &&
          publication->publishes_delete && publication->publishes_truncate)) {
        (void)snprintf(text, sizeof text, "does not send every operation: without%s%s%s%s",
                       publication->publishes_insert ? "" : " insert",
                       publication->publishes_update ? "" : " update",
                       publication->publishes_delete ? "" : " delete",
                       publication->publishes_truncate ? "" : " truncate");
        tr_outbuf_clear(&flight->remedy);
        tr_outbuf_lit(&flight->remedy, "ALTER PUBLICATION ");
        tr_pg_put_identifier(&flight->remedy, settings->publication_name);
        tr_outbuf_lit(&flight->remedy, " SET (publish = 'insert, update, delete, truncate');");
        report(flight, TR_WARNING, TR_E_PG_PUBLICATION, object, text,
               tr_outbuf_cstr(&flight->remedy));
    }
}

/* ---- tables --------------------------------------------------------------------------------- */

static bool publishes_changes(const struct preflight *flight)
{
    const struct tr_pg_publication *publication = &flight->catalog->publication;
    return !publication->exists || publication->publishes_update || publication->publishes_delete;
}

static void report_skipped(struct preflight *flight, const struct tr_pg_relation *relation,
                           const char *name)
{
    if (!relation->matches || relation->kind == 'p')
        return;
    if (relation->kind == 'v' || relation->kind == 'm' || relation->kind == 'f')
        report(flight, TR_INFO, TR_E_PG_TABLE_SKIPPED, name,
               relation->kind == 'v'   ? "is a view and is not captured"
               : relation->kind == 'm' ? "is a materialised view and is not captured"
                                       : "is a foreign table and is not captured",
               NULL);
    else if (relation->persistence == 'u') {
        tr_outbuf_clear(&flight->remedy);
        tr_outbuf_lit(&flight->remedy, "ALTER TABLE ");
        tr_pg_put_qualified(&flight->remedy, relation->id.schema, relation->id.table);
        tr_outbuf_lit(&flight->remedy, " SET LOGGED;");
        report(flight, TR_WARNING, TR_E_PG_TABLE_SKIPPED, name,
               "is unlogged: it leaves no trace in the log and is not captured",
               tr_outbuf_cstr(&flight->remedy));
    }
}

static void report_identity(struct preflight *flight, const struct tr_pg_relation *relation)
{
    char name[300];
    struct tr_outbuf *remedy = &flight->remedy;
    if (!tr_pg_lacks_identity(relation) || !publishes_changes(flight) ||
        flight->settings->options->startup_mode == TR_PG_SNAPSHOT)
        return;
    tr_outbuf_clear(remedy);
    tr_outbuf_lit(remedy, "ALTER TABLE ");
    tr_pg_put_qualified(remedy, relation->id.schema, relation->id.table);
    tr_outbuf_lit(remedy, " REPLICA IDENTITY FULL;");
    report(
        flight, TR_ERROR_SEVERITY, TR_E_PG_REPLICA_IDENTITY,
        tr_table_id_format(&relation->id, name, sizeof name),
        relation->replica_identity == 'n'
            ? "has REPLICA IDENTITY NOTHING: its UPDATE and DELETE fail once it is published"
            : "has no primary key and no replica identity: its UPDATE and DELETE fail once it is "
              "published",
        tr_outbuf_cstr(remedy));
}

static void report_select(struct preflight *flight, const struct tr_pg_relation *relation)
{
    char name[300];
    struct tr_outbuf *remedy = &flight->remedy;
    if (relation->may_select || flight->settings->options->startup_mode > TR_PG_SNAPSHOT)
        return;
    tr_outbuf_clear(remedy);
    tr_outbuf_lit(remedy, "GRANT USAGE ON SCHEMA ");
    tr_pg_put_identifier(remedy, relation->id.schema);
    tr_outbuf_lit(remedy, " TO ");
    tr_pg_put_identifier(remedy, user_of(flight->conn));
    tr_outbuf_lit(remedy, "; GRANT SELECT ON ");
    tr_pg_put_qualified(remedy, relation->id.schema, relation->id.table);
    tr_outbuf_lit(remedy, " TO ");
    tr_pg_put_identifier(remedy, user_of(flight->conn));
    tr_outbuf_lit(remedy, ";");
    report(flight, TR_ERROR_SEVERITY, TR_E_PG_TABLE_GRANT,
           tr_table_id_format(&relation->id, name, sizeof name), "may not be read by this user",
           tr_outbuf_cstr(remedy));
}

/* Of a partition: what is logged for its rows is its own replica identity's, not the root's. */
static void report_leaf(void *ctx, struct tr_pg_relation *leaf)
{
    if (leaf->kind != 'r')
        return;
    report_select(ctx, leaf);
    report_identity(ctx, leaf);
}

static void report_table(struct preflight *flight, struct tr_pg_relation *relation,
                         const char *name)
{
    report_select(flight, relation);
    report_identity(flight, relation);
    if (relation->kind == 'p')
        tr_pg_catalog_leaves(flight->catalog, relation, report_leaf, flight);
    if (relation->replica_identity == 'f' && !relation->has_primary) {
        report(flight, TR_WARNING, TR_E_NONE, name,
               "has no primary key: rows are found by all their columns, which is slow, and equal "
               "rows "
               "cannot be told apart",
               NULL);
    }
    if (relation->row_filter != NULL)
        report(flight, TR_INFO, TR_E_NONE, name,
               "has a row filter in the publication; the copy applies it too", NULL);
}

static void report_plain_name(void *ctx, const char *schema, const char *table)
{
    struct preflight *flight = ctx;
    char name[300];
    for (size_t i = 0; i < flight->catalog->relation_count; i++) {
        const struct tr_table_id *id = &flight->catalog->relations[i].id;
        if (strcmp(id->schema, schema) == 0 && strcmp(id->table, table) == 0)
            return;
    }
    (void)snprintf(name, sizeof name, "%.120s.%.120s", schema, table);
    report(flight, TR_ERROR_SEVERITY, TR_E_PG_TABLE_MISSING, name,
           "is named in tables, but does not exist in this database",
           "Create it, or correct the name in tables (names are case-sensitive).");
    flight->absent_count++;
}

static void report_tables(struct preflight *flight)
{
    char name[300], text[80];
    for (size_t i = 0; i < flight->catalog->relation_count; i++) {
        struct tr_pg_relation *relation = &flight->catalog->relations[i];
        (void)tr_table_id_format(&relation->id, name, sizeof name);
        if (relation->captured)
            report_table(flight, relation, name);
        else
            report_skipped(flight, relation, name);
    }
    tr_pg_patterns_plain(&flight->settings->options->tables, report_plain_name, flight);
    if (flight->catalog->captured_count == 0 && flight->absent_count == 0)
        report(flight, TR_ERROR_SEVERITY, TR_E_PG_NO_TABLES, flight->settings->database,
               "no table of this database matches tables",
               "Check source.tables: an unescaped . separates the parts, \\. is any character; "
               "list the "
               "tables with: SELECT schemaname, tablename FROM pg_tables;");
    (void)snprintf(text, sizeof text, "%zu tables are captured", flight->catalog->captured_count);
    if (flight->catalog->captured_count > 0)
        report(flight, TR_INFO, TR_E_NONE, flight->settings->database, text, NULL);
}

enum tr_status tr_pg_preflight(struct tr_pg_conn *conn, const struct tr_pg_settings *settings,
                               const struct tr_pg_server *server, struct tr_pg_catalog *catalog,
                               tr_report_fn report_fn, void *report_ctx, struct tr_error *err)
{
    struct preflight flight = {.conn = conn,
                               .settings = settings,
                               .server = server,
                               .catalog = catalog,
                               .report = report_fn,
                               .report_ctx = report_ctx};
    bool streams = settings->options->startup_mode != TR_PG_SNAPSHOT;
    enum tr_status status = TR_OK;
    report_server(&flight);
    report_tables(&flight);
    if (streams)
        status = report_settings(&flight, err);
    if (streams && status == TR_OK)
        status = report_slot(&flight, err);
    if (streams && status == TR_OK)
        report_publication(&flight);
    tr_outbuf_free(&flight.remedy);
    return status;
}

/* ---- the gate ------------------------------------------------------------------------------- */

struct gate {
    struct tr_error *err;
    bool resuming;
    bool failed;
    unsigned more;
};

/* What concerns one table does not stop a pipeline that ran before: another's new table must not.
 */
static bool is_of_one_table(enum tr_code code)
{
    return code == TR_E_PG_TABLE_MISSING || code == TR_E_PG_TABLE_GRANT ||
           code == TR_E_PG_REPLICA_IDENTITY || code == TR_E_PG_NO_TABLES;
}

static void gate_finding(void *ctx, const struct tr_finding *finding)
{
    struct gate *gate = ctx;
    char message[512];
    bool fatal = finding->severity == TR_ERROR_SEVERITY &&
                 !(gate->resuming && is_of_one_table(finding->code));
    if (finding->severity != TR_INFO && !fatal)
        tr_log(TR_LOG_WARN, "preflight", "object=%s finding=%s", finding->object,
               tr_log_quote(finding->message, message, sizeof message));
    if (!fatal)
        return;
    if (gate->failed) {
        gate->more++;
        return;
    }
    gate->failed = true;
    (void)tr_fail(gate->err, finding->code, "%s %s", finding->object, finding->message);
    if (finding->remedy != NULL)
        (void)tr_hint(gate->err, "%s", finding->remedy);
}

enum tr_status tr_pg_gate(struct tr_pg_conn *conn, const struct tr_pg_settings *settings,
                          const struct tr_pg_server *server, struct tr_pg_catalog *catalog,
                          bool resuming, struct tr_error *err)
{
    struct tr_error first;
    struct gate gate = {.err = &first, .resuming = resuming};
    if (tr_pg_preflight(conn, settings, server, catalog, gate_finding, &gate, err) != TR_OK)
        return TR_FAIL;
    if (!gate.failed)
        return TR_OK;
    *err = first;
    if (gate.more > 0)
        (void)tr_detail(err, "%u more findings; `tailrace check FILE` shows them all", gate.more);
    return TR_FAIL;
}
