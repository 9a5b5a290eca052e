/* Looking after the slot while the stream runs: how much log it holds back, how far it is from
 * being lost, and tables that came to match since the start (they are copied and followed from the
 * next start). One or two short queries, on the reader's thread, at long intervals; their failure
 * is never the stream's. */
#include <inttypes.h>

#include "base/log.h"
#include "source/postgres/source.h"

#define SAFE_BYTES_WARN (INT64_C(1) << 30)

static struct tr_metric retained_metric = {
    .name = "tailrace_postgres_slot_retained_bytes",
    .unit = "bytes",
    .help = "Log that the source's replication slot holds back on the server.",
    .kind = TR_GAUGE};
static struct tr_metric safe_metric = {
    .name = "tailrace_postgres_slot_safe_bytes",
    .unit = "bytes",
    .help = "Log that may still be written before the slot can be lost; -1 = no limit.",
    .kind = TR_GAUGE};
static struct tr_metric waiting_metric = {
    .name = "tailrace_postgres_tables_waiting",
    .unit = "tables",
    .help = "Tables that match but are followed only from the next start.",
    .kind = TR_GAUGE};

static void look_at_slot(struct tr_pg_source *source)
{
    struct tr_pg_slot slot;
    struct tr_error err;
    if (tr_pg_slot_load(&source->sql, &source->server, source->settings.slot_name, &slot, &err) !=
        TR_OK) {
        tr_log(TR_LOG_DEBUG, "could not look at the slot", "code=%s",
               tr_error_info(err.code)->name);
        return;
    }
    tr_metric_set(&retained_metric, slot.retained_bytes);
    tr_metric_set(&safe_metric, slot.safe_wal_bytes);
    if (slot.exists && slot.safe_wal_bytes >= 0 && slot.safe_wal_bytes < SAFE_BYTES_WARN)
        tr_log(TR_LOG_WARN, "the slot is close to being lost: raise max_slot_wal_keep_size",
               "slot=%s safe_wal_bytes=%" PRId64 " wal_status=%s", source->settings.slot_name,
               slot.safe_wal_bytes, slot.wal_status);
}

static void look_for_new_tables(struct tr_pg_source *source)
{
    struct tr_pg_catalog catalog;
    struct tr_error err;
    int64_t waiting = 0;
    if (tr_pg_catalog_load(&source->sql, &source->settings, &source->server, &catalog, &err) ==
        TR_OK) {
        for (size_t i = 0; i < catalog.relation_count; i++) {
            const struct tr_pg_relation *relation = &catalog.relations[i];
            if (!relation->captured || relation->published)
                continue;
            waiting++;
            tr_log(TR_LOG_WARN, "a new table matches and waits for a restart", "table=%s.%s",
                   relation->id.schema, relation->id.table);
        }
        tr_metric_set(&waiting_metric, waiting);
    }
    tr_pg_catalog_free(&catalog);
}

void tr_pg_health(struct tr_pg_source *source, bool look_for_tables)
{
    struct tr_error err;
    tr_metric_register(&retained_metric);
    tr_metric_register(&safe_metric);
    tr_metric_register(&waiting_metric);
    if (tr_pg_source_sql(source, &err) != TR_OK) {
        tr_log(TR_LOG_WARN, "could not look after the slot", "code=%s",
               tr_error_info(err.code)->name);
        return;
    }
    look_at_slot(source);
    if (look_for_tables)
        look_for_new_tables(source);
}
