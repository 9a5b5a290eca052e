/* What a target table is on the server, and how a source table's columns lie in it.
 *
 *   target   one table of the target database, as its catalog says
 *   layout   one way in which rows arrive for it: which source column is which target column, and
 * the key. Source tables that agree in that (shards merged by a route) share one layout, so that
 *            their changes can be merged.
 *   shape    which of a layout's columns a row brings (a TOAST value may be missing); each shape
 * has its own statements. All belong to one writer and are used by its thread only. */
#ifndef TR_SINK_POSTGRES_TARGET_H
#define TR_SINK_POSTGRES_TARGET_H

#include "base/arena.h"
#include "sink/postgres/link.h"
#include "tailrace/source.h"

#define TR_PGS_KEY_COLUMNS_MAX 32 /* INDEX_MAX_KEYS of the server */
#define TR_PGS_SHAPES_KEPT 48     /* per layout, between two applies */

struct tr_pgs_column {
    const char *name;
    const char *type;        /* schema-qualified, quoted, without modifiers */
    const char *array_type;  /* of its array; NULL: values travel as text[] and are cast */
    const char *pretty;      /* format_type, for messages and comparisons */
    const char *default_sql; /* NULL: none */
    uint32_t type_oid;
    bool generated, identity, identity_always, not_null, collatable;
};
struct tr_pgs_index {
    bool primary, immediate;
    const char *name;
    uint16_t column_count;
    uint16_t columns[TR_PGS_KEY_COLUMNS_MAX]; /* index in the target's columns */
};
enum tr_pgs_load_mode {
    TR_PGS_LOAD_UNKNOWN,
    TR_PGS_LOAD_DIRECT, /* was empty: rows are copied straight into it */
    TR_PGS_LOAD_MERGE   /* held rows: they are merged by key */
};

struct tr_pgs_target {
    struct tr_pgs_target *next;
    struct tr_arena arena;
    const char *schema, *table;
    const char *quoted; /* "schema"."table" */
    const char *oid;
    bool exists;
    char relkind;
    bool row_security;
    bool user_triggers; /* some fire for our replication role */
    bool foreign_keys;  /* some are checked for our replication role, from or to this table */
    char first_trigger[64];
    uint16_t column_count;
    struct tr_pgs_column *columns;
    uint16_t index_count; /* unique indexes over plain columns, without predicate */
    struct tr_pgs_index *indexes;
    /* the writer's */
    enum tr_pgs_load_mode load;
    uint64_t load_source_id;
    unsigned no_copy_applies; /* a COPY met existing keys: use ON CONFLICT for that many applies */
    unsigned text_applies;    /* a binary COPY met a value for text: use text for that many applies */
    unsigned ordered_applies; /* a set-wise apply failed: go row by row for that many applies */
    const void *apply_layout; /* the layout that the apply under way has seen */
    uint64_t apply_number;
    bool apply_mixed; /* … and there was a second one */
    bool missing_logged;
};

struct tr_pgs_shape {
    struct tr_pgs_shape *next;
    uint64_t *bits;
    uint16_t column_count, set_count;
    uint16_t *columns;     /* source column index: present, and writable on the target */
    uint16_t *set_columns; /* those that an UPDATE without key change assigns */
    struct tr_pgs_stmt insert_set, update_set, insert_row;
    struct tr_pgs_stmt newest_upsert, newest_update; /* newest.c */
    struct tr_pgs_stmt update_row[2][2]; /* [key changed][insert the row when it is missing] */
    char *copy_sql[2];                   /* [binary] */
};

struct tr_pgs_layout {
    struct tr_pgs_layout *next;
    struct tr_arena arena;
    struct tr_pgs_target *target;
    const struct tr_table *table; /* the first that had it; a reference */
    uint16_t column_count, key_count;
    int32_t
        *target_column; /* per source column: index on the target, -1: generated there, left out */
    const uint16_t *key_columns;
    bool has_arbiter;  /* a unique index on exactly the key: ON CONFLICT works */
    bool identity_key; /* a key column is GENERATED ALWAYS AS IDENTITY */
    bool overriding;
    int32_t version;      /* source column whose value decides what is newest; -1: none */
    bool dropped_columns; /* some target_column is -1: raw lines must be cut */
    size_t bits_words;
    struct tr_pgs_shape *shapes;
    uint32_t shape_count;
    struct tr_pgs_stmt delete_set, delete_row, newest_delete;
    /* the apply under way (coalesce.c) */
    uint64_t apply_number;
    uint32_t group_index;
};

/* Reads the catalog. *out has exists=false when there is no such relation. */
enum tr_status tr_pgs_describe(struct tr_pgs_link *link, const char *schema, const char *table,
                               struct tr_pgs_target **out, struct tr_error *err) TR_WARN_UNUSED;
void tr_pgs_target_free(struct tr_pgs_target *target);
enum tr_status tr_pgs_target_is_empty(struct tr_pgs_link *link, const struct tr_pgs_target *target,
                                      bool *empty, struct tr_error *err) TR_WARN_UNUSED;
int tr_pgs_target_column(const struct tr_pgs_target *target, const char *name); /* -1: none */
/* A unique index over exactly these columns (any order); NULL: none. */
const struct tr_pgs_index *tr_pgs_target_index(const struct tr_pgs_target *target,
                                               const int32_t *columns, uint16_t count);
/* SCHEMA error when a column is missing on the target or the key cannot be written. */
enum tr_status tr_pgs_layout_new(struct tr_pgs_target *target, const struct tr_table *table,
                                 struct tr_pgs_layout **out, struct tr_error *err) TR_WARN_UNUSED;
/* Would `table` have this layout? */
bool tr_pgs_layout_fits(const struct tr_pgs_layout *layout, const struct tr_table *table);
void tr_pgs_layout_free(struct tr_pgs_link *link, struct tr_pgs_layout *layout);
/* The shape of a row by its cells (NULL cells: every column). */
enum tr_status tr_pgs_shape_of(struct tr_pgs_layout *layout, const struct tr_cell *cells,
                               struct tr_pgs_shape **out, struct tr_error *err) TR_WARN_UNUSED;
void tr_pgs_shapes_free(struct tr_pgs_link *link, struct tr_pgs_layout *layout);

/* ---- statement.c: the SQL of a shape, made on first use ---- */
enum tr_pgs_statement_kind {
    TR_PGS_DELETE_SET,
    TR_PGS_UPDATE_SET, /* sets: one array parameter per column */
    TR_PGS_INSERT_SET,
    TR_PGS_DELETE_ROW,
    TR_PGS_INSERT_ROW,
    TR_PGS_UPDATE_ROW
};
/* shape may be NULL for the deletes. Parameters: DELETE: the key. UPDATE_SET: key, set_columns.
 * INSERT: columns. UPDATE_ROW with insert_missing: columns, old key; without: the assigned columns
 * (tr_pgs_assigned), old key. */
enum tr_status tr_pgs_statement(struct tr_pgs_link *link, struct tr_pgs_layout *layout,
                                struct tr_pgs_shape *shape, enum tr_pgs_statement_kind kind,
                                bool key_changed, bool insert_missing, struct tr_pgs_stmt **out,
                                struct tr_error *err) TR_WARN_UNUSED;
/* Columns that UPDATE_ROW without insert_missing assigns. */
const uint16_t *tr_pgs_assigned(const struct tr_pgs_shape *shape, bool key_changed,
                                uint16_t *count);
const char *tr_pgs_copy_sql(struct tr_pgs_link *link, const struct tr_pgs_layout *layout,
                            struct tr_pgs_shape *shape, bool binary); /* NULL: no memory */
/* Appends the statement that updates (shape != NULL) or deletes one row of a table without key,
 * found by all columns of `before`; parameters: the shape's set_columns, then the columns of
 * `before` that are TEXT, in order. */
void tr_pgs_keyless_sql(struct tr_pgs_link *link, const struct tr_pgs_layout *layout,
                        const struct tr_pgs_shape *shape, const struct tr_cell *before,
                        struct tr_outbuf *out);

/* ---- binary.c: rows as binary COPY tuples ---- */
/* Does the target (or, where there is none, the one that we would make) read tuples of the offered
 * table as the values that they are? */
bool tr_pgs_binary_fits(const struct tr_pgs_target *target, const struct tr_binary_offer *offer,
                        int target_version);
/* In a transaction, before a COPY of tuples: locks the target against a change of its types and
 * compares them once more. PGSINK_TARGET_CHANGED when they are others by now. */
enum tr_status tr_pgs_binary_hold(struct tr_pgs_link *link, const struct tr_pgs_layout *layout,
                                  struct tr_error *err) TR_WARN_UNUSED;
/* The same lock before a COPY of our own tuples; *same: the columns' types are what they were when the
 * target was described. */
enum tr_status tr_pgs_types_hold(struct tr_pgs_link *link, const struct tr_pgs_layout *layout,
                                 bool *same, struct tr_error *err) TR_WARN_UNUSED;
/* A tuple came for a target that cannot take it any more. */
enum tr_status tr_pgs_fail_changed(const struct tr_pgs_target *target, struct tr_error *err);

#endif
