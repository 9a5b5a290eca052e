/* The slot and the publication.
 *
 * Order matters: the publication is made before the slot. pgoutput looks publications up in the
 * catalog as it was at each change, so a slot that starts before its publication existed fails with
 * "publication does not exist" (documentation of CREATE PUBLICATION and pgoutput).
 *
 * A publication that this program made carries a comment; only such a one is dropped again.
 *
 * Thread: the one that owns the connection. */
#include "source/postgres/slot.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/outbuf.h"
#include "decode/pgoutput.h"

#define SLOT_WAIT_LOG_MS 10000 /* how often waiting for old transactions is logged */

static void copy_text(char *buf, size_t buf_size, const char *text)
{
    (void)snprintf(buf, buf_size, "%s", text);
}

enum {
    S_PLUGIN,
    S_TYPE,
    S_DATABASE,
    S_ACTIVE,
    S_PID,
    S_TEMPORARY,
    S_RESTART,
    S_CONFIRMED,
    S_RETAINED,
    S_STATUS,
    S_SAFE,
    S_TWO_PHASE,
    S_CONFLICTING,
    S_REASON
};

enum tr_status tr_pg_slot_load(struct tr_pg_conn *conn, const struct tr_pg_server *server,
                               const char *name, struct tr_pg_slot *slot, struct tr_error *err)
{
    char sql[1024];
    const char *params[] = {name};
    PGresult *row = NULL;
    *slot = (struct tr_pg_slot){.safe_wal_bytes = -1};
    (void)snprintf(
        sql, sizeof sql,
        "SELECT plugin, slot_type, database, active, active_pid, temporary, restart_lsn, "
        "confirmed_flush_lsn, CASE WHEN pg_catalog.pg_is_in_recovery() THEN 0 ELSE "
        "pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), restart_lsn) END, "
        "%s, %s, %s, %s FROM pg_catalog.pg_replication_slots WHERE slot_name = $1",
        server->version >= 130000 ? "wal_status, safe_wal_size" : "NULL, NULL",
        server->version >= 140000 ? "two_phase" : "false",
        server->version >= 160000 ? "conflicting" : "false",
        server->version >= 170000 ? "invalidation_reason" : "NULL");
    if (tr_pg_query(conn, "read the slot", sql, 1, params, &row, err) != TR_OK)
        return TR_FAIL;
    slot->exists = PQntuples(row) == 1;
    if (slot->exists) {
        copy_text(slot->plugin, sizeof slot->plugin, tr_pg_text(row, 0, S_PLUGIN));
        copy_text(slot->database, sizeof slot->database, tr_pg_text(row, 0, S_DATABASE));
        copy_text(slot->wal_status, sizeof slot->wal_status, tr_pg_text(row, 0, S_STATUS));
        copy_text(slot->invalidation, sizeof slot->invalidation, tr_pg_text(row, 0, S_REASON));
        slot->logical = strcmp(tr_pg_text(row, 0, S_TYPE), "logical") == 0;
        slot->active = tr_pg_bool(row, 0, S_ACTIVE);
        slot->active_pid = (int)tr_pg_int(row, 0, S_PID);
        slot->temporary = tr_pg_bool(row, 0, S_TEMPORARY);
        slot->two_phase = tr_pg_bool(row, 0, S_TWO_PHASE);
        slot->retained_bytes = tr_pg_int(row, 0, S_RETAINED);
        if (!PQgetisnull(row, 0, S_SAFE))
            slot->safe_wal_bytes = tr_pg_int(row, 0, S_SAFE);
        (void)tr_lsn_parse(tr_pg_text(row, 0, S_RESTART), &slot->restart_lsn);
        (void)tr_lsn_parse(tr_pg_text(row, 0, S_CONFIRMED), &slot->confirmed_lsn);
        slot->lost = strcmp(slot->wal_status, "lost") == 0 || slot->invalidation[0] != '\0' ||
                     tr_pg_bool(row, 0, S_CONFLICTING);
    }
    PQclear(row);
    return TR_OK;
}

enum tr_status tr_pg_slot_check(const struct tr_pg_settings *settings,
                                const struct tr_pg_slot *slot, struct tr_error *err)
{
    const char *why = NULL;
    if (!slot->logical)
        why = "it is a physical slot";
    else if (strcmp(slot->plugin, "pgoutput") != 0)
        why = "its plugin is not pgoutput";
    else if (strcmp(slot->database, settings->database) != 0)
        why = "it belongs to another database";
    else if (slot->temporary)
        why = "it is a temporary slot of another session";
    else if (slot->two_phase)
        why = "it decodes prepared transactions (two_phase)";
    if (why != NULL) {
        (void)tr_fail(err, TR_E_PG_SLOT_UNFIT, "the slot \"%s\" cannot be used: %s",
                      settings->slot_name, why);
        return tr_hint(err,
                       "Set another slot.name, or, if nobody needs it: SELECT "
                       "pg_drop_replication_slot('%s');",
                       settings->slot_name);
    }
    if (slot->lost) {
        (void)tr_fail(err, TR_E_PG_SLOT_LOST,
                      "the server gave up the slot \"%s\": the log that it needs was removed (%s)",
                      settings->slot_name,
                      slot->invalidation[0] != '\0' ? slot->invalidation : slot->wal_status);
        return tr_hint(err,
                       "Changes are missing. Copy the tables again: `tailrace drop FILE`, then "
                       "`tailrace run FILE`. To prevent it: raise max_slot_wal_keep_size.");
    }
    return TR_OK;
}

enum tr_status tr_pg_slot_fail_in_use(const struct tr_pg_settings *settings,
                                      const struct tr_pg_slot *slot, struct tr_error *err)
{
    (void)tr_fail(err, TR_E_PG_SLOT_IN_USE,
                  "the slot \"%s\" is in use by another connection (server process %d)",
                  settings->slot_name, slot->active_pid);
    return tr_hint(
        err,
        "Stop the other reader of this slot. Who it is: SELECT * FROM pg_stat_replication "
        "WHERE pid = %d; to end it: SELECT pg_terminate_backend(%d);",
        slot->active_pid, slot->active_pid);
}

/* ---- making the slot ------------------------------------------------------------------------ */

static void slot_command(const struct tr_pg_server *server, const char *name, bool temporary,
                         bool export, bool failover, struct tr_outbuf *sql)
{
    tr_outbuf_lit(sql, "CREATE_REPLICATION_SLOT ");
    tr_pg_put_identifier(sql, name);
    if (temporary)
        tr_outbuf_lit(sql, " TEMPORARY");
    tr_outbuf_lit(sql, " LOGICAL pgoutput ");
    if (server->version < 150000) {
        tr_outbuf_str(sql, export ? "EXPORT_SNAPSHOT" : "NOEXPORT_SNAPSHOT");
        return;
    }
    tr_outbuf_printf(sql, "(SNAPSHOT '%s'%s)", export ? "export" : "nothing",
                     failover && server->version >= 170000 ? ", FAILOVER true" : "");
}

enum tr_status tr_pg_slot_create(struct tr_pg_conn *walsender, const struct tr_pg_server *server,
                                 const char *name, bool temporary, bool export, bool failover,
                                 uint64_t *lsn, char snapshot_name[TR_PG_SNAPSHOT_NAME_BYTES],
                                 struct tr_error *err)
{
    static const char what[] = "make the replication slot";
    struct tr_outbuf sql = {0};
    PGresult *row = NULL, *end = NULL;
    enum tr_status status = TR_FAIL;
    slot_command(server, name, temporary, export, failover, &sql);
    if (!PQsendQuery(walsender->pg, tr_outbuf_cstr(&sql))) {
        (void)tr_pg_fail_result(err, NULL, walsender->pg, what);
        goto cleanup;
    }
    int64_t next_log_ms = tr_clock_mono_ms() + SLOT_WAIT_LOG_MS;
    while (PQisBusy(walsender->pg)) {
        bool woken = false;
        if (tr_pg_wait(walsender, false, 1000, &woken) == TR_OK && !PQconsumeInput(walsender->pg)) {
            (void)tr_pg_fail_result(err, NULL, walsender->pg, what);
            goto cleanup;
        }
        if (woken) { /* the caller closes the connection, which takes the unfinished slot along */
            (void)tr_fail(err, TR_E_INTERRUPTED, "interrupted: could not %s", what);
            goto cleanup;
        }
        if (tr_clock_mono_ms() >= next_log_ms) {
            tr_log(TR_LOG_WARN, "the slot waits for transactions that are still open", "slot=%s",
                   name);
            next_log_ms += SLOT_WAIT_LOG_MS;
        }
    }
    if (tr_pg_result(walsender, what, -1, &row, err) != TR_OK)
        goto cleanup;
    if (PQntuples(row) != 1 || !tr_lsn_parse(tr_pg_text(row, 0, 1), lsn) ||
        strlen(tr_pg_text(row, 0, 2)) >= TR_PG_SNAPSHOT_NAME_BYTES) {
        (void)tr_fail(err, TR_E_PG_PROTOCOL,
                      "the server's answer to CREATE_REPLICATION_SLOT is not "
                      "understood");
        goto cleanup;
    }
    copy_text(snapshot_name, TR_PG_SNAPSHOT_NAME_BYTES, tr_pg_text(row, 0, 2));
    while ((status = tr_pg_result(walsender, what, -1, &end, err)) == TR_OK)
        PQclear(end);
    status = status == TR_END ? TR_OK : TR_FAIL;
cleanup:
    PQclear(row);
    tr_outbuf_free(&sql);
    return status;
}

/* ---- publication ---------------------------------------------------------------------------- */

struct table_list {
    struct tr_outbuf *sql;
    unsigned count;
};

static void put_table(struct table_list *list, const struct tr_pg_relation *relation)
{
    if (list->count++ > 0)
        tr_outbuf_lit(list->sql, ", ");
    if (relation->kind == 'r')
        tr_outbuf_lit(list->sql, "ONLY "); /* inheritance children are tables of their own */
    tr_pg_put_qualified(list->sql, relation->id.schema, relation->id.table);
}

static void put_leaf(void *ctx, struct tr_pg_relation *leaf)
{
    if (leaf->kind == 'r' && leaf->persistence == 'p' && !leaf->published)
        put_table(ctx, leaf);
}

/* `words` and the captured tables that are not published yet; nothing when there are none. */
static void put_table_list(struct tr_outbuf *sql, const char *words,
                           const struct tr_pg_server *server, struct tr_pg_catalog *catalog)
{
    size_t before = sql->len;
    struct table_list list = {sql, 0};
    tr_outbuf_str(sql, words);
    for (size_t i = 0; i < catalog->relation_count; i++) {
        struct tr_pg_relation *relation = &catalog->relations[i];
        if (!relation->captured || relation->published)
            continue;
        if (relation->kind == 'p' && server->version < TR_PG_VIA_ROOT_VERSION)
            tr_pg_catalog_leaves(catalog, relation, put_leaf, &list);
        else
            put_table(&list, relation);
    }
    if (list.count == 0)
        sql->len = before;
}

static size_t count_uncovered(const struct tr_pg_catalog *catalog)
{
    size_t count = 0;
    for (size_t i = 0; i < catalog->relation_count; i++)
        count += catalog->relations[i].captured && !catalog->relations[i].published;
    return count;
}

static bool needs_via_root(const struct tr_pg_server *server, const struct tr_pg_catalog *catalog)
{
    if (server->version < TR_PG_VIA_ROOT_VERSION || !catalog->publication.exists ||
        catalog->publication.via_root)
        return false;
    for (size_t i = 0; i < catalog->relation_count; i++) {
        if (catalog->relations[i].captured && catalog->relations[i].kind == 'p')
            return true;
    }
    return false;
}

void tr_pg_publication_sql(const struct tr_pg_settings *settings, const struct tr_pg_server *server,
                           struct tr_pg_catalog *catalog, struct tr_outbuf *sql)
{
    const char *name = settings->publication_name;
    if (!catalog->publication.exists) {
        tr_outbuf_lit(sql, "CREATE PUBLICATION ");
        tr_pg_put_identifier(sql, name);
        if (settings->options->publication_mode == TR_PG_ALL_TABLES) {
            tr_outbuf_lit(sql, " FOR ALL TABLES");
        } else {
            put_table_list(sql, " FOR TABLE ", server, catalog);
        }
        if (server->version >= TR_PG_VIA_ROOT_VERSION)
            tr_outbuf_lit(sql, " WITH (publish_via_partition_root = true)");
        tr_outbuf_lit(sql, ";");
        return;
    }
    if (needs_via_root(server, catalog)) {
        tr_outbuf_lit(sql, "ALTER PUBLICATION ");
        tr_pg_put_identifier(sql, name);
        tr_outbuf_lit(sql, " SET (publish_via_partition_root = true);");
        return; /* what it covers is known only after that */
    }
    if (count_uncovered(catalog) > 0 && !catalog->publication.all_tables) {
        tr_outbuf_lit(sql, "ALTER PUBLICATION ");
        tr_pg_put_identifier(sql, name);
        put_table_list(sql, " ADD TABLE ", server, catalog);
        tr_outbuf_lit(sql, ";");
    }
}

static enum tr_status fail_publication(const struct tr_pg_settings *settings,
                                       const struct tr_pg_catalog *catalog, const char *sql,
                                       struct tr_error *err)
{
    if (!catalog->publication.exists)
        (void)tr_fail(err, TR_E_PG_PUBLICATION, "the publication \"%s\" does not exist",
                      settings->publication_name);
    else
        (void)tr_fail(
            err, TR_E_PG_PUBLICATION,
            "the publication \"%s\" does not send the captured tables as it should (%zu are "
            "not in it)",
            settings->publication_name, count_uncovered(catalog));
    if (sql[0] == '\0')
        return tr_hint(err,
                       "The publication is FOR ALL TABLES and sends a partition under its root's "
                       "name: name the root in tables.");
    return tr_hint(err, "As owner of the tables run: %.700s", sql);
}

static enum tr_status put_comment(struct tr_pg_conn *conn, const struct tr_pg_settings *settings,
                                  struct tr_error *err)
{
    struct tr_outbuf sql = {0};
    PGresult *result = NULL;
    tr_outbuf_lit(&sql, "COMMENT ON PUBLICATION ");
    tr_pg_put_identifier(&sql, settings->publication_name);
    tr_outbuf_lit(&sql, " IS '" TR_PG_PUBLICATION_COMMENT "'");
    enum tr_status status = tr_pg_exec(conn, "mark the publication as ours", tr_outbuf_cstr(&sql),
                                       TR_PG_QUERY_TIMEOUT_MS, &result, err);
    if (status == TR_OK)
        PQclear(result);
    tr_outbuf_free(&sql);
    return status;
}

enum tr_status tr_pg_publication_ensure(struct tr_pg_conn *conn,
                                        const struct tr_pg_settings *settings,
                                        const struct tr_pg_server *server,
                                        struct tr_pg_catalog *catalog, bool *changed,
                                        struct tr_error *err)
{
    struct tr_outbuf sql = {0};
    PGresult *result = NULL;
    enum tr_status status = TR_OK;
    *changed = false;
    if (catalog->publication.exists && count_uncovered(catalog) == 0 &&
        !needs_via_root(server, catalog))
        return TR_OK;
    tr_pg_publication_sql(settings, server, catalog, &sql);
    const char *text = tr_outbuf_cstr(&sql);
    if (settings->options->publication_mode == TR_PG_DISABLED || text[0] == '\0') {
        status = fail_publication(settings, catalog, text, err);
        goto cleanup;
    }
    tr_log(TR_LOG_INFO,
           catalog->publication.exists ? "extending the publication" : "making the publication",
           "publication=%s", settings->publication_name);
    status = tr_pg_exec(conn, "make the publication", text, TR_PG_QUERY_TIMEOUT_MS, &result, err);
    if (status != TR_OK) {
        if (err->code == TR_E_PG_PERMISSION)
            (void)tr_hint(err,
                          "As owner of the tables run: %.600s Then set "
                          "publication.autocreate.mode: disabled.",
                          text);
        goto cleanup;
    }
    PQclear(result);
    *changed = true;
    if (!catalog->publication.exists)
        status = put_comment(conn, settings, err);
cleanup:
    tr_outbuf_free(&sql);
    return status;
}

/* ---- removing ------------------------------------------------------------------------------- */

static enum tr_status remove_slot(struct tr_pg_conn *conn, const struct tr_pg_settings *settings,
                                  const struct tr_pg_server *server, tr_report_fn report,
                                  void *report_ctx, struct tr_error *err)
{
    struct tr_pg_slot slot;
    char object[96];
    const char *params[] = {settings->slot_name};
    PGresult *result = NULL;
    if (tr_pg_slot_load(conn, server, settings->slot_name, &slot, err) != TR_OK)
        return TR_FAIL;
    (void)snprintf(object, sizeof object, "slot %s", settings->slot_name);
    struct tr_finding finding = {TR_INFO, TR_E_NONE, object, "is not there", NULL};
    if (slot.exists) {
        if (slot.active)
            return tr_pg_slot_fail_in_use(settings, &slot, err);
        if (strcmp(slot.database, settings->database) != 0)
            return tr_pg_slot_check(settings, &slot, err);
        if (tr_pg_query(conn, "drop the slot", "SELECT pg_catalog.pg_drop_replication_slot($1)", 1,
                        params, &result, err) != TR_OK)
            return TR_FAIL;
        PQclear(result);
        finding.message = "dropped";
    }
    report(report_ctx, &finding);
    return TR_OK;
}

enum tr_status tr_pg_remove(struct tr_pg_conn *conn, const struct tr_pg_settings *settings,
                            const struct tr_pg_server *server, tr_report_fn report,
                            void *report_ctx, struct tr_error *err)
{
    struct tr_outbuf sql = {0};
    PGresult *row = NULL, *result = NULL;
    char object[96];
    const char *params[] = {settings->publication_name};
    if (remove_slot(conn, settings, server, report, report_ctx, err) != TR_OK)
        return TR_FAIL;
    enum tr_status status = tr_pg_query(
        conn, "read the publication",
        "SELECT pg_catalog.obj_description(oid, 'pg_publication') FROM pg_catalog.pg_publication "
        "WHERE pubname = $1",
        1, params, &row, err);
    if (status != TR_OK)
        return TR_FAIL;
    (void)snprintf(object, sizeof object, "publication %s", settings->publication_name);
    struct tr_finding finding = {TR_INFO, TR_E_NONE, object, "is not there", NULL};
    if (PQntuples(row) == 1 && strncmp(tr_pg_text(row, 0, 0), TR_PG_PUBLICATION_COMMENT,
                                       strlen(TR_PG_PUBLICATION_COMMENT)) != 0) {
        finding.message = "kept: it was not made by this program";
    } else if (PQntuples(row) == 1) {
        tr_outbuf_lit(&sql, "DROP PUBLICATION ");
        tr_pg_put_identifier(&sql, settings->publication_name);
        status = tr_pg_exec(conn, "drop the publication", tr_outbuf_cstr(&sql),
                            TR_PG_QUERY_TIMEOUT_MS, &result, err);
        if (status == TR_OK)
            PQclear(result);
        finding.message = "dropped";
    }
    if (status == TR_OK)
        report(report_ctx, &finding);
    PQclear(row);
    tr_outbuf_free(&sql);
    return status;
}
