/* What the server's catalog says: relations, which of them are captured, their tables, the
 * publication and the slot. One load is one moment; nothing here is updated in place. */
#ifndef TR_SOURCE_POSTGRES_CATALOG_H
#define TR_SOURCE_POSTGRES_CATALOG_H

#include "event/state.h"
#include "source/postgres/types.h"

struct tr_pg_relation {
    uint32_t oid;
    uint32_t filenode; /* relfilenode as the transaction's snapshot sees it */
    uint32_t parent;   /* index + 1 of the partitioned parent in relations, 0 none */
    struct tr_table_id id;
    char kind;        /* r table, p partitioned, v view, m materialised view, f foreign table */
    char persistence; /* p permanent, u unlogged, t temporary */
    char replica_identity;
    bool is_partition;
    bool matches; /* asked for by tables and not excluded */
    bool captured;
    bool may_select;
    bool owned;     /* we may ALTER PUBLICATION … ADD TABLE it */
    bool published; /* the publication has it */
    bool has_primary;
    bool has_identity_index;
    int64_t pages; /* estimate of the last VACUUM, or the real size after tr_pg_catalog_sizes */
    double rows;   /* estimate of the last ANALYZE; -1 or 0 unknown */
    const char *row_filter;        /* of the publication, SQL, or NULL */
    const char *published_columns; /* of the publication: names joined by '\n', NULL = all */
    const struct tr_table *table;    /* captured and described; else NULL, as the next */
    const struct tr_pg_attrs *attrs; /* what the table was made of */
};

struct tr_pg_publication {
    bool exists;
    bool all_tables;
    bool publishes_insert, publishes_update, publishes_delete, publishes_truncate;
    bool via_root; /* publish_via_partition_root (13+) */
    bool owned;
    bool ours; /* its comment says that this program made it */
};

struct tr_pg_catalog {
    struct tr_arena arena;
    struct tr_pg_relation *relations; /* by schema and name */
    size_t relation_count;
    size_t captured_count;
    uint64_t attrs_lsn; /* the server's position just before attrs were asked for; 0 not described */
    struct tr_pg_publication publication;
};

struct tr_pg_server {
    int version; /* 150004 */
    bool in_recovery;
    uint64_t system_identifier; /* 0 when it may not be asked */
    uint32_t database_oid;
};

#define TR_PG_VIA_ROOT_VERSION 130000 /* publish_via_partition_root */
#define TR_PG_PUBLICATION_COMMENT "made by tailrace"

enum tr_status tr_pg_server_load(struct tr_pg_conn *conn, struct tr_pg_server *server,
                                 struct tr_error *err);
/* Up to where the log is written, or replayed on a standby; 0: the server does not know. */
enum tr_status tr_pg_server_lsn(struct tr_pg_conn *conn, uint64_t *lsn, struct tr_error *err);
/* Relations, capture and publication; tables are not built yet. To be freed in any case. */
enum tr_status tr_pg_catalog_load(struct tr_pg_conn *conn, const struct tr_pg_settings *settings,
                                  const struct tr_pg_server *server, struct tr_pg_catalog *catalog,
                                  struct tr_error *err);
/* Builds the tables of the captured relations. */
enum tr_status tr_pg_catalog_describe(struct tr_pg_conn *conn, const struct tr_pg_server *server,
                                      struct tr_pg_types *types, struct tr_pg_catalog *catalog,
                                      struct tr_error *err);
/* Asks for the real sizes of the captured tables and of partitions: estimates may be 0 or old. */
enum tr_status tr_pg_catalog_sizes(struct tr_pg_conn *conn, struct tr_pg_catalog *catalog,
                                   struct tr_error *err);
void tr_pg_catalog_free(struct tr_pg_catalog *catalog);

/* The captured relation with this oid or ID, NULL if there is none. */
struct tr_pg_relation *tr_pg_catalog_find(struct tr_pg_catalog *catalog, uint32_t oid);
/* Calls fn for the relations that hold the rows of `relation`: itself, or its leaf partitions. */
void tr_pg_catalog_leaves(struct tr_pg_catalog *catalog, struct tr_pg_relation *relation,
                          void (*fn)(void *ctx, struct tr_pg_relation *leaf), void *ctx);
/* Would publishing the relation make its UPDATE and DELETE fail? */
bool tr_pg_lacks_identity(const struct tr_pg_relation *relation);

#endif
