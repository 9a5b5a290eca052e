/* The replication slot and the publication: what they are, making them, removing them. */
#ifndef TR_SOURCE_POSTGRES_SLOT_H
#define TR_SOURCE_POSTGRES_SLOT_H

#include "source/postgres/catalog.h"

struct tr_pg_slot {
    bool exists;
    bool logical;
    bool temporary;
    bool two_phase;
    bool active;
    int active_pid;
    bool lost; /* wal_status lost, or invalidated */
    char plugin[64];
    char database[64];
    char wal_status[16];   /* reserved, extended, unreserved, lost; "" before 13 */
    char invalidation[48]; /* 17+ */
    uint64_t restart_lsn;
    uint64_t confirmed_lsn; /* confirmed_flush_lsn */
    int64_t safe_wal_bytes; /* until it may be lost; -1 no limit or unknown */
    int64_t retained_bytes; /* log that it holds back */
};
enum tr_status tr_pg_slot_load(struct tr_pg_conn *conn, const struct tr_pg_server *server,
                               const char *name, struct tr_pg_slot *slot, struct tr_error *err);
/* An existing slot that cannot be streamed from: PG_SLOT_UNFIT, PG_SLOT_LOST. Activity is not
 * looked at. */
enum tr_status tr_pg_slot_check(const struct tr_pg_settings *settings,
                                const struct tr_pg_slot *slot, struct tr_error *err);
enum tr_status tr_pg_slot_fail_in_use(const struct tr_pg_settings *settings,
                                      const struct tr_pg_slot *slot, struct tr_error *err);

#define TR_PG_SNAPSHOT_NAME_BYTES 64
/* On a walsender. temporary: ends with the connection. export: *snapshot_name can be imported until
 * the next command on this connection. Waits until the transactions that were open have ended: no
 * time limit, but interrupt ends it. */
enum tr_status tr_pg_slot_create(struct tr_pg_conn *walsender, const struct tr_pg_server *server,
                                 const char *name, bool temporary, bool export, bool failover,
                                 uint64_t *lsn, char snapshot_name[TR_PG_SNAPSHOT_NAME_BYTES],
                                 struct tr_error *err);

/* Makes or extends the publication as publication.autocreate.mode says; checks that it covers all
 * captured tables. *changed: the catalog must be loaded again. */
enum tr_status tr_pg_publication_ensure(struct tr_pg_conn *conn,
                                        const struct tr_pg_settings *settings,
                                        const struct tr_pg_server *server,
                                        struct tr_pg_catalog *catalog, bool *changed,
                                        struct tr_error *err);
/* The SQL that makes or extends it; empty when nothing is missing. */
void tr_pg_publication_sql(const struct tr_pg_settings *settings, const struct tr_pg_server *server,
                           struct tr_pg_catalog *catalog, struct tr_outbuf *sql);

/* Removes slot and (if this program made it) publication; reports each. An active slot is refused.
 */
enum tr_status tr_pg_remove(struct tr_pg_conn *conn, const struct tr_pg_settings *settings,
                            const struct tr_pg_server *server, tr_report_fn report,
                            void *report_ctx, struct tr_error *err);

#endif
