/* Where to begin: the truth table of marks and slot.
 *
 *   marks  slot      scan.startup.mode    what happens
 *   yes    fits      (any)                go on: unfinished copies first, then the stream from lsn
 *   yes    missing                        PG_SLOT_MISSING
 *   yes    lost                           PG_SLOT_LOST
 *   yes    active                         PG_SLOT_IN_USE (after some seconds)
 *   yes    ahead                          PG_SLOT_AHEAD: confirmed_flush_lsn beyond lsn. The server
 * would silently begin at the later of the two, so it is compared here yes    of another server or
 * database  PG_SYSTEM_CHANGED no     absent    initial              publication, slot, copy under
 * the slot's snapshot no     absent    latest-offset        publication, slot, stream no     absent
 * committed-offset     PG_SLOT_MISSING (as a configuration error) no     there     initial the slot
 * is kept (a crash before the first checkpoint leaves it behind). A temporary slot gives a new
 * snapshot at S >= its confirmed position; copy under it, stream from S: what commits before S is
 * in the copy, what comes later is in the stream no     there     latest-, committed-  stream from
 * the slot's confirmed position: nothing is skipped
 *
 * snapshot mode has no slot: the copy is made under a snapshot that a plain session exports, and a
 * restart before its end copies everything again, because one snapshot is what was asked for.
 *
 * Thread: the one that opened the source. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "source/postgres/source.h"

#define SLOT_INACTIVE_WAIT_MS 10000
#define SLOT_INACTIVE_POLL_MS 100

enum tr_status tr_pg_source_sql(struct tr_pg_source *source, struct tr_error *err)
{
    if (source->sql.pg != NULL && PQstatus(source->sql.pg) == CONNECTION_OK)
        return TR_OK;
    tr_pg_disconnect(&source->sql);
    return tr_pg_connect(&source->settings, false, -1, &source->sql, err);
}

/* ---- catalog -------------------------------------------------------------------------------- */

struct leaf_check {
    bool bad;
};

static void check_leaf(void *ctx, struct tr_pg_relation *leaf)
{
    struct leaf_check *check = ctx;
    check->bad |= leaf->kind == 'r' && tr_pg_lacks_identity(leaf);
}

static void leave_out_unfit(struct tr_pg_source *source)
{
    struct tr_pg_catalog *catalog = &source->catalog;
    for (size_t i = 0; i < catalog->relation_count; i++) {
        struct tr_pg_relation *relation = &catalog->relations[i];
        if (!relation->captured ||
            tr_pg_mark_get(&source->marks, "table/%u", relation->oid) != NULL)
            continue;
        struct leaf_check check = {tr_pg_lacks_identity(relation)};
        tr_pg_catalog_leaves(catalog, relation, check_leaf, &check);
        if (relation->may_select && !check.bad)
            continue;
        relation->captured = false;
        catalog->captured_count--;
        tr_log(TR_LOG_WARN, "a new table is left out until it can be captured",
               "table=%s.%s reason=%s", relation->id.schema, relation->id.table,
               relation->may_select ? "replica-identity" : "select-privilege");
    }
}

enum tr_status tr_pg_source_catalog(struct tr_pg_source *source, struct tr_error *err)
{
    tr_pg_catalog_free(&source->catalog);
    tr_pg_types_clear(&source->types);
    if (tr_pg_catalog_load(&source->sql, &source->settings, &source->server, &source->catalog,
                           err) != TR_OK)
        return TR_FAIL;
    if (source->resuming && !source->bounded)
        leave_out_unfit(source);
    return tr_pg_catalog_describe(&source->sql, &source->server, &source->types, &source->catalog,
                                  err);
}

/* ---- the slot of a resumed pipeline --------------------------------------------------------- */

enum tr_status tr_pg_wait_inactive(struct tr_pg_source *source, struct tr_pg_slot *slot,
                                   struct tr_error *err)
{
    int64_t deadline_ms = tr_clock_mono_ms() + SLOT_INACTIVE_WAIT_MS;
    struct tr_pg_conn waiter = {source->sql.pg, source->wake_fds[0]};
    while (slot->exists && slot->active) {
        if (tr_clock_mono_ms() >= deadline_ms)
            return tr_pg_slot_fail_in_use(&source->settings, slot, err);
        bool woken = false;
        (void)tr_pg_wait(&waiter, false, SLOT_INACTIVE_POLL_MS, &woken);
        if (woken)
            return tr_fail(err, TR_E_INTERRUPTED, "interrupted while waiting for the slot");
        if (tr_pg_slot_load(&source->sql, &source->server, source->settings.slot_name, slot, err) !=
            TR_OK)
            return TR_FAIL;
    }
    return TR_OK;
}

static enum tr_status fail_ahead(const struct tr_pg_source *source, const struct tr_pg_slot *slot,
                                 struct tr_error *err)
{
    char own[TR_PG_LSN_BYTES], theirs[TR_PG_LSN_BYTES];
    (void)tr_fail(err, TR_E_PG_SLOT_AHEAD,
                  "the slot \"%s\" is at %s, beyond the checkpoint's %s: %" PRIu64
                  " bytes of log between them were acknowledged by another reader",
                  source->settings.slot_name,
                  tr_lsn_format(slot->confirmed_lsn, theirs, sizeof theirs),
                  tr_lsn_format(source->stream_lsn, own, sizeof own),
                  slot->confirmed_lsn - source->stream_lsn);
    return tr_hint(err,
                   "What lies between cannot be read again. Copy the tables again: `tailrace drop "
                   "FILE`, then `tailrace run FILE`; and let no other program read this slot.");
}

static enum tr_status check_slot_of_marks(struct tr_pg_source *source, struct tr_pg_slot *slot,
                                          struct tr_error *err)
{
    char own[TR_PG_LSN_BYTES];
    if (!slot->exists) {
        (void)tr_fail(err, TR_E_PG_SLOT_MISSING,
                      "the slot \"%s\" does not exist, and the checkpoint goes on at %s",
                      source->settings.slot_name,
                      tr_lsn_format(source->stream_lsn, own, sizeof own));
        return tr_hint(err,
                       "The changes since then may be gone. Copy the tables again: `tailrace drop "
                       "FILE`, then `tailrace run FILE`.");
    }
    if (tr_pg_slot_check(&source->settings, slot, err) != TR_OK ||
        tr_pg_wait_inactive(source, slot, err) != TR_OK)
        return TR_FAIL;
    if (!slot->exists) /* it went away while we waited */
        return check_slot_of_marks(source, slot, err);
    return slot->confirmed_lsn > source->stream_lsn ? fail_ahead(source, slot, err) : TR_OK;
}

static enum tr_status check_identity(const struct tr_pg_source *source, struct tr_error *err)
{
    const char *id = tr_state_get(&source->marks, "source.id");
    if (id == NULL || strcmp(id, source->source_id) == 0)
        return TR_OK;
    (void)tr_fail(err, TR_E_PG_SYSTEM_CHANGED,
                  "the checkpoint belongs to another server, database or slot");
    (void)tr_detail(err, "checkpoint: %.100s, server: %s (system identifier/database oid/slot)", id,
                    source->source_id);
    return tr_hint(err,
                   "Connect to the server it was made from, set slot.name and database back, or "
                   "start over: `tailrace drop FILE`, then `tailrace run FILE`.");
}

/* ---- the first start ------------------------------------------------------------------------ */

static enum tr_status make_slot(struct tr_pg_source *source, struct tr_error *err)
{
    const struct tr_pg_settings *settings = &source->settings;
    bool export = settings->options->startup_mode == TR_PG_INITIAL;
    struct tr_pg_conn walsender = {0};
    char snapshot_name[TR_PG_SNAPSHOT_NAME_BYTES], text[TR_PG_LSN_BYTES];
    if (TR_FAILPOINT("source.postgres.before_slot") != 0)
        return tr_fail(err, TR_E_PG_CONNECT, "failpoint source.postgres.before_slot");
    enum tr_status status = tr_pg_connect(settings, true, source->wake_fds[0], &walsender, err);
    if (status == TR_OK)
        status = tr_pg_slot_create(&walsender, &source->server, settings->slot_name, false, export,
                                   settings->options->slot_failover, &source->stream_lsn,
                                   snapshot_name, err);
    if (status != TR_OK) {
        tr_pg_disconnect(&walsender);
        return TR_FAIL;
    }
    tr_log(TR_LOG_INFO, "made the replication slot", "slot=%s lsn=%s", settings->slot_name,
           tr_lsn_format(source->stream_lsn, text, sizeof text));
    if (TR_FAILPOINT("source.postgres.after_slot") != 0) {
        tr_pg_disconnect(&walsender);
        return tr_fail(err, TR_E_PG_CONNECT, "failpoint source.postgres.after_slot");
    }
    if (!export) {
        tr_pg_disconnect(&walsender);
        return TR_OK;
    }
    return tr_pg_snapshot_start(source, &walsender, snapshot_name, source->stream_lsn, err);
}

static enum tr_status begin_streaming(struct tr_pg_source *source, struct tr_pg_slot *slot,
                                      struct tr_error *err)
{
    const struct tr_pg_settings *settings = &source->settings;
    int mode = settings->options->startup_mode;
    if (!slot->exists && mode == TR_PG_COMMITTED_OFFSET) {
        (void)tr_fail_as(err, TR_CONFIG, TR_E_PG_SLOT_MISSING,
                         "the slot \"%s\" does not exist, and scan.startup.mode committed-offset "
                         "starts from it",
                         settings->slot_name);
        return tr_hint(err,
                       "Use scan.startup.mode: initial, or make the slot: SELECT "
                       "pg_create_logical_replication_slot('%s', 'pgoutput');",
                       settings->slot_name);
    }
    if (!slot->exists)
        return make_slot(source, err);
    char text[TR_PG_LSN_BYTES];
    tr_log(TR_LOG_INFO, "the slot is there already and is used", "slot=%s confirmed=%s",
           settings->slot_name, tr_lsn_format(slot->confirmed_lsn, text, sizeof text));
    source->stream_lsn = slot->confirmed_lsn;
    if (TR_FAILPOINT("source.postgres.after_slot") != 0)
        return tr_fail(err, TR_E_PG_CONNECT, "failpoint source.postgres.after_slot");
    if (mode != TR_PG_INITIAL)
        return TR_OK;
    return tr_pg_snapshot_start(source, NULL, NULL, 0, err);
}

/* ---- start ---------------------------------------------------------------------------------- */

static enum tr_status start_bounded(struct tr_pg_source *source, struct tr_error *err)
{
    const char *done = tr_state_get(&source->marks, "snapshot");
    if (done != NULL && strcmp(done, "done") == 0)
        return TR_OK;
    source->start_commit = true;
    if (tr_pg_source_catalog(source, err) != TR_OK ||
        tr_pg_gate(&source->sql, &source->settings, &source->server, &source->catalog, false,
                   err) != TR_OK)
        return TR_FAIL;
    return tr_pg_snapshot_start(source, NULL, NULL, 0, err);
}

static enum tr_status prepare_publication(struct tr_pg_source *source, struct tr_error *err)
{
    bool changed = true;
    /* once to make it, once to extend it after a change of its parameters, once to see it is right
     */
    for (unsigned turn = 0; changed && turn < 3; turn++) {
        if (tr_pg_publication_ensure(&source->sql, &source->settings, &source->server,
                                     &source->catalog, &changed, err) != TR_OK)
            return TR_FAIL;
        if (changed && tr_pg_source_catalog(source, err) != TR_OK)
            return TR_FAIL;
    }
    return TR_OK;
}

enum tr_status tr_pg_start(struct tr_pg_source *source, const struct tr_state *marks,
                           struct tr_error *err)
{
    struct tr_pg_slot slot = {0};
    const struct tr_pg_settings *settings = &source->settings;
    if (tr_state_copy(&source->marks, marks, err) != TR_OK ||
        tr_pg_source_sql(source, err) != TR_OK)
        return TR_FAIL;
    source->stream_lsn = tr_pg_mark_lsn(&source->marks, "lsn");
    source->resuming = source->stream_lsn != 0;
    (void)snprintf(source->source_id, sizeof source->source_id, "%" PRIu64 "/%u/%s",
                   source->server.system_identifier, source->server.database_oid,
                   source->bounded ? "-" : settings->slot_name);
    if (check_identity(source, err) != TR_OK)
        return TR_FAIL;
    if (source->bounded)
        return start_bounded(source, err);
    if (tr_pg_slot_load(&source->sql, &source->server, settings->slot_name, &slot, err) != TR_OK)
        return TR_FAIL;
    enum tr_status status = TR_OK;
    if (source->resuming)
        status = check_slot_of_marks(source, &slot, err);
    else if (slot.exists && (status = tr_pg_slot_check(settings, &slot, err)) == TR_OK)
        status = tr_pg_wait_inactive(source, &slot, err);
    if (status != TR_OK || tr_pg_source_catalog(source, err) != TR_OK ||
        tr_pg_gate(&source->sql, settings, &source->server, &source->catalog, source->resuming,
                   err) != TR_OK ||
        prepare_publication(source, err) != TR_OK)
        return TR_FAIL;
    const char *snapshot = tr_state_get(&source->marks, "snapshot");
    source->start_commit = snapshot == NULL || strcmp(snapshot, "done") != 0;
    if (!source->resuming)
        return begin_streaming(source, &slot, err);
    if (settings->options->startup_mode != TR_PG_INITIAL && !source->start_commit)
        return TR_OK; /* new tables are not copied in these modes */
    return tr_pg_snapshot_start(source, NULL, NULL, 0, err);
}
