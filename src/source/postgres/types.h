/* Types and column attributes of a PostgreSQL catalog → struct tr_column. */
#ifndef TR_SOURCE_POSTGRES_TYPES_H
#define TR_SOURCE_POSTGRES_TYPES_H

#include "base/arena.h"
#include "source/postgres/connection.h"

/* One row of pg_attribute with what else the catalog says of the column. Strings are the arena's.
 */
struct tr_pg_attr {
    int32_t attnum;
    const char *name;
    uint32_t type_oid; /* 0 when dropped */
    int32_t typmod;
    bool not_null;
    bool dropped;
    char identity;            /* 'a', 'd' or 0 */
    char generated;           /* 's', 'v' or 0 */
    uint16_t primary_index;   /* 1-based place in the primary key, 0 not in it */
    uint16_t identity_index;  /* the same in the replica identity index */
    const char *default_text; /* canonical text of a constant default, or NULL */
};
struct tr_pg_attrs {
    uint32_t relid;
    size_t count; /* 0 when the relation is gone */
    struct tr_pg_attr *items; /* by attnum, dropped ones included */
};

/* Types that are not built in, asked once. */
struct tr_pg_types {
    struct tr_arena arena;
    struct tr_pg_user_type *first;
};
void tr_pg_types_init(struct tr_pg_types *types);
void tr_pg_types_free(struct tr_pg_types *types);
/* Forgets what was learnt: the catalog may have changed. */
void tr_pg_types_clear(struct tr_pg_types *types);

/* Fills the type's fields of *column; names and labels are the arena's. A type that is gone from
 * the catalog becomes OTHER. */
enum tr_status tr_pg_types_resolve(struct tr_pg_types *types, struct tr_pg_conn *conn, uint32_t oid,
                                   int32_t typmod, struct tr_arena *arena, struct tr_column *column,
                                   struct tr_error *err);

/* Loads attributes of the relations, in the order of `oids`; attrs[i].count is 0 for one that is
 * gone. */
enum tr_status tr_pg_attrs_load(struct tr_pg_conn *conn, const uint32_t *oids, size_t oid_count,
                                struct tr_arena *arena, struct tr_pg_attrs *attrs,
                                struct tr_error *err);

/* A partitioned table above a partition. */
struct tr_pg_ancestor {
    uint32_t leaf_oid, oid;
    const char *schema, *table;
};
/* The ancestors of those of the relations that are partitions, by leaf_oid, then outwards. */
enum tr_status tr_pg_ancestors_load(struct tr_pg_conn *conn, const uint32_t *oids, size_t oid_count,
                                    struct tr_arena *arena, struct tr_pg_ancestor **ancestors,
                                    size_t *ancestor_count, struct tr_error *err);

/* One column of a table as it is sent: from R messages or from the catalog. */
struct tr_pg_sent_column {
    const char *name;
    uint32_t type_oid;
    int32_t typmod;
    bool in_replica_identity;       /* meaningful when from_stream */
    const struct tr_pg_attr *attr;  /* what the catalog says of it, or NULL */
    int32_t attnum;                 /* when attr is NULL: known from before, or 0 */
    const struct tr_column *before; /* the same column in the version before, or NULL */
};
struct tr_pg_sent_table {
    struct tr_table_id id;
    uint32_t oid;
    uint32_t version;
    char replica_identity;
    bool from_stream;
    size_t column_count;
    struct tr_pg_sent_column *columns;
    uint16_t primary_count;  /* columns of the catalog's primary key: all must be sent */
    uint16_t identity_count; /* the same for its replica identity index */
};
/* Builds the table. The key is the replica identity index where that is the identity, else the
 * primary key, else none: a key is what a DELETE carries. */
enum tr_status tr_pg_table_build(struct tr_pg_types *types, struct tr_pg_conn *conn,
                                 const struct tr_pg_sent_table *sent, struct tr_table **table,
                                 struct tr_error *err);

/* The constant that a default's expression (pg_get_expr) is, as canonical text in the arena; NULL
 * for anything that is not one plain literal. */
const char *tr_pg_default_literal(struct tr_arena *arena, const char *expression);

#endif
