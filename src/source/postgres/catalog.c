/* The catalog: relations, capture, publication membership, tables.
 *
 * What is captured: permanent tables that match. A partition of a captured partitioned table is
 * captured through its root, so that routes and targets see one table: from PostgreSQL 13 on the
 * publication does that (publish_via_partition_root); PostgreSQL 12 cannot publish a root, so there
 * the leaves are published and the stream gives their rows the root's name.
 *
 * Generated columns: pgoutput leaves them out (before 18 always, from 18 on unless the publication
 * has publish_generated_columns), so tables leave them out too: snapshot and stream have the same
 * columns. From 15 on pg_publication_tables lists the columns that a publication sends, also with a
 * column list.
 *
 * Thread: the one that owns the connection. */
#include "source/postgres/catalog.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/outbuf.h"
#include "decode/pgoutput.h"

#define PARTITION_DEPTH_MAX 64
#define RELATIONS_MAX 1000000

static enum tr_status no_memory(struct tr_error *err)
{
    return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for the catalog");
}

enum tr_status tr_pg_server_load(struct tr_pg_conn *conn, struct tr_pg_server *server,
                                 struct tr_error *err)
{
    PGresult *row = NULL;
    server->version = PQserverVersion(conn->pg);
    if (tr_pg_query(conn, "ask the server what it is",
                    "SELECT pg_catalog.pg_is_in_recovery(), d.oid, "
                    "(SELECT system_identifier FROM pg_catalog.pg_control_system()) "
                    "FROM pg_catalog.pg_database d "
                    "WHERE d.datname = pg_catalog.current_database()",
                    0, NULL, &row, err) != TR_OK)
        return TR_FAIL;
    server->in_recovery = tr_pg_bool(row, 0, 0);
    server->database_oid = (uint32_t)tr_pg_int(row, 0, 1);
    server->system_identifier = strtoull(tr_pg_text(row, 0, 2), NULL, 10);
    PQclear(row);
    return TR_OK;
}

enum tr_status tr_pg_server_lsn(struct tr_pg_conn *conn, uint64_t *lsn, struct tr_error *err)
{
    PGresult *row = NULL;
    *lsn = 0;
    if (tr_pg_exec(conn, "read the server's position",
                   "SELECT CASE WHEN pg_catalog.pg_is_in_recovery() "
                   "THEN pg_catalog.pg_last_wal_replay_lsn() "
                   "ELSE pg_catalog.pg_current_wal_lsn() END",
                   TR_PG_QUERY_TIMEOUT_MS, &row, err) != TR_OK)
        return TR_FAIL;
    bool parsed =
        PQntuples(row) == 1 && (PQgetisnull(row, 0, 0) || tr_lsn_parse(tr_pg_text(row, 0, 0), lsn));
    PQclear(row);
    return parsed ? TR_OK : tr_fail(err, TR_E_PG_PROTOCOL, "the server's LSN is not understood");
}

/* ---- relations ------------------------------------------------------------------------------ */

enum {
    R_OID,
    R_SCHEMA,
    R_NAME,
    R_KIND,
    R_PERSISTENCE,
    R_IDENTITY,
    R_IS_PARTITION,
    R_FILENODE,
    R_PAGES,
    R_ROWS,
    R_SELECT,
    R_OWNED,
    R_PARENT,
    R_HAS_PRIMARY,
    R_HAS_INDEX
};

static enum tr_status read_relation(struct tr_pg_catalog *catalog, const PGresult *rows, int row,
                                    const char *database, struct tr_pg_relation *relation,
                                    struct tr_error *err)
{
    memset(relation, 0, sizeof *relation);
    relation->oid = (uint32_t)tr_pg_int(rows, row, R_OID);
    relation->id.namespace = database;
    relation->id.schema = tr_arena_strdup(&catalog->arena, tr_pg_text(rows, row, R_SCHEMA));
    relation->id.table = tr_arena_strdup(&catalog->arena, tr_pg_text(rows, row, R_NAME));
    relation->kind = tr_pg_text(rows, row, R_KIND)[0];
    relation->persistence = tr_pg_text(rows, row, R_PERSISTENCE)[0];
    relation->replica_identity = tr_pg_text(rows, row, R_IDENTITY)[0];
    relation->is_partition = tr_pg_bool(rows, row, R_IS_PARTITION);
    relation->filenode = (uint32_t)tr_pg_int(rows, row, R_FILENODE);
    relation->pages = tr_pg_int(rows, row, R_PAGES);
    relation->rows = strtod(tr_pg_text(rows, row, R_ROWS), NULL);
    relation->may_select = tr_pg_bool(rows, row, R_SELECT);
    relation->owned = tr_pg_bool(rows, row, R_OWNED);
    relation->has_primary = tr_pg_bool(rows, row, R_HAS_PRIMARY);
    relation->has_identity_index = tr_pg_bool(rows, row, R_HAS_INDEX);
    return relation->id.schema == NULL || relation->id.table == NULL ? no_memory(err) : TR_OK;
}

struct oid_index {
    uint32_t oid;
    uint32_t index;
};

static int compare_oid(const void *a, const void *b)
{
    uint32_t left = ((const struct oid_index *)a)->oid, right = ((const struct oid_index *)b)->oid;
    return left < right ? -1 : left > right;
}

static enum tr_status set_parents(struct tr_pg_catalog *catalog, const PGresult *rows,
                                  struct tr_error *err)
{
    size_t count = catalog->relation_count;
    struct oid_index *index = malloc((count + 1) * sizeof *index);
    if (index == NULL)
        return no_memory(err);
    for (size_t i = 0; i < count; i++)
        index[i] = (struct oid_index){catalog->relations[i].oid, (uint32_t)i};
    qsort(index, count, sizeof *index, compare_oid);
    for (size_t i = 0; i < count; i++) {
        if (!catalog->relations[i].is_partition)
            continue;
        struct oid_index key = {(uint32_t)tr_pg_int(rows, (int)i, R_PARENT), 0};
        const struct oid_index *found = bsearch(&key, index, count, sizeof *index, compare_oid);
        if (found != NULL)
            catalog->relations[i].parent = found->index + 1;
    }
    free(index);
    return TR_OK;
}

static enum tr_status load_relations(struct tr_pg_conn *conn, const struct tr_pg_settings *settings,
                                     struct tr_pg_catalog *catalog, struct tr_error *err)
{
    PGresult *rows = NULL;
    enum tr_status status = tr_pg_query(
        conn, "list the tables",
        "SELECT c.oid, n.nspname, c.relname, c.relkind, c.relpersistence, c.relreplident, "
        "c.relispartition, c.relfilenode, c.relpages, c.reltuples, "
        "pg_catalog.has_table_privilege(c.oid, 'SELECT') AND "
        "pg_catalog.has_schema_privilege(n.oid, 'USAGE'), "
        "pg_catalog.pg_has_role(c.relowner, 'USAGE'), "
        "(SELECT i.inhparent FROM pg_catalog.pg_inherits i WHERE i.inhrelid = c.oid "
        "AND c.relispartition LIMIT 1), "
        "EXISTS (SELECT 1 FROM pg_catalog.pg_index x WHERE x.indrelid = c.oid AND x.indisprimary), "
        "EXISTS (SELECT 1 FROM pg_catalog.pg_index x WHERE x.indrelid = c.oid AND "
        "x.indisreplident) "
        "FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
        "WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND c.relpersistence <> 't' "
        "AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' "
        "ORDER BY n.nspname COLLATE \"C\", c.relname COLLATE \"C\"",
        0, NULL, &rows, err);
    if (status != TR_OK)
        return TR_FAIL;
    int count = PQntuples(rows);
    const char *database = tr_arena_strdup(&catalog->arena, settings->database);
    catalog->relations =
        count > RELATIONS_MAX
            ? NULL
            : tr_arena_alloc(&catalog->arena, (size_t)(count + 1) * sizeof *catalog->relations,
                             _Alignof(struct tr_pg_relation));
    if (database == NULL || catalog->relations == NULL) {
        status = no_memory(err);
        goto cleanup;
    }
    for (int row = 0; row < count && status == TR_OK; row++) {
        struct tr_pg_relation *relation = &catalog->relations[row];
        status = read_relation(catalog, rows, row, database, relation, err);
        if (status == TR_OK)
            relation->matches = tr_pg_settings_match(settings, &relation->id);
        catalog->relation_count++;
    }
    if (status == TR_OK)
        status = set_parents(catalog, rows, err);
cleanup:
    PQclear(rows);
    return status;
}

/* The outermost ancestor that matches, or NULL. */
static struct tr_pg_relation *matching_root(const struct tr_pg_catalog *catalog,
                                            const struct tr_pg_relation *relation)
{
    struct tr_pg_relation *found = NULL;
    uint32_t parent = relation->parent;
    for (unsigned depth = 0; parent != 0 && depth < PARTITION_DEPTH_MAX; depth++) {
        struct tr_pg_relation *ancestor = &catalog->relations[parent - 1];
        if (ancestor->matches)
            found = ancestor;
        parent = ancestor->parent;
    }
    return found;
}

static void decide_capture(struct tr_pg_catalog *catalog)
{
    catalog->captured_count = 0;
    for (size_t i = 0; i < catalog->relation_count; i++) {
        struct tr_pg_relation *relation = &catalog->relations[i];
        relation->captured = relation->persistence == 'p' && relation->matches &&
                             (relation->kind == 'r' || relation->kind == 'p') &&
                             matching_root(catalog, relation) == NULL;
        catalog->captured_count += relation->captured;
    }
}

static void clear_if_unpublished(void *ctx, struct tr_pg_relation *leaf)
{
    struct tr_pg_relation *root = ctx;
    if (leaf->kind == 'r' && leaf->persistence == 'p' && !leaf->published)
        root->published = false;
}

/* PostgreSQL 12: a root is published when all its leaves are. */
static void publish_roots_by_leaves(struct tr_pg_catalog *catalog)
{
    for (size_t i = 0; i < catalog->relation_count; i++) {
        struct tr_pg_relation *root = &catalog->relations[i];
        if (root->kind != 'p' || !root->captured)
            continue;
        root->published = true;
        tr_pg_catalog_leaves(catalog, root, clear_if_unpublished, root);
    }
}

/* ---- publication ---------------------------------------------------------------------------- */

static enum tr_status load_members(struct tr_pg_conn *conn, const struct tr_pg_settings *settings,
                                   const struct tr_pg_server *server, struct tr_pg_catalog *catalog,
                                   struct tr_error *err)
{
    const char *params[] = {settings->publication_name};
    PGresult *rows = NULL;
    const char *sql =
        server->version >= 150000
            ? "SELECT schemaname, tablename, pg_catalog.array_to_string(attnames, E'\\n'), "
              "rowfilter "
              "FROM pg_catalog.pg_publication_tables WHERE pubname = $1 "
              "ORDER BY schemaname COLLATE \"C\", tablename COLLATE \"C\""
            : "SELECT schemaname, tablename, NULL, NULL FROM pg_catalog.pg_publication_tables "
              "WHERE pubname = $1 ORDER BY schemaname COLLATE \"C\", tablename COLLATE \"C\"";
    enum tr_status status =
        tr_pg_query(conn, "list the publication's tables", sql, 1, params, &rows, err);
    if (status != TR_OK)
        return TR_FAIL;
    size_t at = 0; /* both lists have the same order */
    for (int row = 0; row < PQntuples(rows); row++) {
        const char *schema = tr_pg_text(rows, row, 0), *name = tr_pg_text(rows, row, 1);
        int order = -1;
        for (; at < catalog->relation_count; at++) {
            const struct tr_table_id *id = &catalog->relations[at].id;
            order = strcmp(id->schema, schema);
            if (order == 0)
                order = strcmp(id->table, name);
            if (order >= 0)
                break;
        }
        if (at == catalog->relation_count)
            break;
        if (order != 0)
            continue;
        struct tr_pg_relation *relation = &catalog->relations[at];
        relation->published = true;
        if (!PQgetisnull(rows, row, 2))
            relation->published_columns =
                tr_arena_strdup(&catalog->arena, tr_pg_text(rows, row, 2));
        if (!PQgetisnull(rows, row, 3))
            relation->row_filter = tr_arena_strdup(&catalog->arena, tr_pg_text(rows, row, 3));
    }
    PQclear(rows);
    return TR_OK;
}

static enum tr_status load_publication(struct tr_pg_conn *conn,
                                       const struct tr_pg_settings *settings,
                                       const struct tr_pg_server *server,
                                       struct tr_pg_catalog *catalog, struct tr_error *err)
{
    const char *params[] = {settings->publication_name};
    struct tr_pg_publication *publication = &catalog->publication;
    PGresult *row = NULL;
    char sql[512];
    (void)snprintf(sql, sizeof sql,
                   "SELECT puballtables, pubinsert, pubupdate, pubdelete, pubtruncate, %s, "
                   "pg_catalog.pg_has_role(pubowner, 'USAGE'), "
                   "pg_catalog.obj_description(oid, 'pg_publication') "
                   "FROM pg_catalog.pg_publication WHERE pubname = $1",
                   server->version >= 130000 ? "pubviaroot" : "false");
    if (tr_pg_query(conn, "read the publication", sql, 1, params, &row, err) != TR_OK)
        return TR_FAIL;
    publication->exists = PQntuples(row) == 1;
    if (publication->exists) {
        publication->all_tables = tr_pg_bool(row, 0, 0);
        publication->publishes_insert = tr_pg_bool(row, 0, 1);
        publication->publishes_update = tr_pg_bool(row, 0, 2);
        publication->publishes_delete = tr_pg_bool(row, 0, 3);
        publication->publishes_truncate = tr_pg_bool(row, 0, 4);
        publication->via_root = tr_pg_bool(row, 0, 5);
        publication->owned = tr_pg_bool(row, 0, 6);
        publication->ours = strncmp(tr_pg_text(row, 0, 7), TR_PG_PUBLICATION_COMMENT,
                                    strlen(TR_PG_PUBLICATION_COMMENT)) == 0;
    }
    PQclear(row);
    if (!publication->exists)
        return TR_OK;
    if (load_members(conn, settings, server, catalog, err) != TR_OK)
        return TR_FAIL;
    if (server->version < TR_PG_VIA_ROOT_VERSION)
        publish_roots_by_leaves(catalog);
    return TR_OK;
}

enum tr_status tr_pg_catalog_load(struct tr_pg_conn *conn, const struct tr_pg_settings *settings,
                                  const struct tr_pg_server *server, struct tr_pg_catalog *catalog,
                                  struct tr_error *err)
{
    *catalog = (struct tr_pg_catalog){0};
    tr_arena_init(&catalog->arena, 64 << 10, 0);
    if (load_relations(conn, settings, catalog, err) != TR_OK)
        return TR_FAIL;
    decide_capture(catalog);
    if (settings->options->startup_mode == TR_PG_SNAPSHOT)
        return TR_OK; /* nothing is published for it */
    return load_publication(conn, settings, server, catalog, err);
}

enum tr_status tr_pg_catalog_sizes(struct tr_pg_conn *conn, struct tr_pg_catalog *catalog,
                                   struct tr_error *err)
{
    struct tr_outbuf list = {0};
    PGresult *rows = NULL;
    enum tr_status status = TR_FAIL;
    const char *glue = "{";
    for (size_t i = 0; i < catalog->relation_count; i++) {
        const struct tr_pg_relation *relation = &catalog->relations[i];
        if (relation->kind != 'r' || !(relation->captured || relation->is_partition))
            continue;
        tr_outbuf_printf(&list, "%s%u", glue, relation->oid);
        glue = ",";
    }
    tr_outbuf_str(&list, glue[0] == '{' ? "{}" : "}");
    const char *params[] = {tr_outbuf_cstr(&list)};
    if (list.failed) {
        (void)no_memory(err);
        goto cleanup;
    }
    if (tr_pg_query(conn, "ask for the tables' sizes",
                    "SELECT o, pg_catalog.pg_relation_size(o) / "
                    "pg_catalog.current_setting('block_size')::int FROM unnest($1::oid[]) o",
                    1, params, &rows, err) != TR_OK)
        goto cleanup;
    size_t at = 0; /* the answer has the order of the question */
    for (int row = 0; row < PQntuples(rows); row++) {
        uint32_t oid = (uint32_t)tr_pg_int(rows, row, 0);
        while (at < catalog->relation_count && catalog->relations[at].oid != oid)
            at++;
        if (at < catalog->relation_count && !PQgetisnull(rows, row, 1))
            catalog->relations[at].pages = tr_pg_int(rows, row, 1);
    }
    status = TR_OK;
cleanup:
    PQclear(rows);
    tr_outbuf_free(&list);
    return status;
}

void tr_pg_catalog_free(struct tr_pg_catalog *catalog)
{
    for (size_t i = 0; i < catalog->relation_count; i++)
        tr_table_unref(catalog->relations[i].table);
    if (catalog->arena.block_bytes != 0)
        tr_arena_free(&catalog->arena);
    *catalog = (struct tr_pg_catalog){0};
}

/* ---- tables --------------------------------------------------------------------------------- */

static bool in_lines(const char *lines, const char *name)
{
    size_t len = strlen(name);
    for (const char *at = lines; at != NULL && *at != '\0';) {
        const char *end = strchr(at, '\n');
        size_t line_len = end == NULL ? strlen(at) : (size_t)(end - at);
        if (line_len == len && memcmp(at, name, len) == 0)
            return true;
        at = end == NULL ? NULL : end + 1;
    }
    return false;
}

static bool is_sent(const struct tr_pg_server *server, const struct tr_pg_relation *relation,
                    const struct tr_pg_attr *attr)
{
    if (attr->dropped)
        return false;
    if (attr->generated != '\0' &&
        (server->version < 180000 || relation->published_columns == NULL))
        return false;
    return relation->published_columns == NULL || in_lines(relation->published_columns, attr->name);
}

static enum tr_status describe_one(struct tr_pg_conn *conn, const struct tr_pg_server *server,
                                   struct tr_pg_types *types, struct tr_pg_catalog *catalog,
                                   struct tr_pg_relation *relation, const struct tr_pg_attrs *attrs,
                                   struct tr_error *err)
{
    struct tr_pg_sent_table sent = {.id = relation->id,
                                    .oid = relation->oid,
                                    .version = 1,
                                    .replica_identity = relation->replica_identity};
    sent.columns = tr_arena_alloc(&catalog->arena, (attrs->count + 1) * sizeof *sent.columns,
                                  _Alignof(struct tr_pg_sent_column));
    if (sent.columns == NULL)
        return no_memory(err);
    for (size_t i = 0; i < attrs->count; i++) {
        const struct tr_pg_attr *attr = &attrs->items[i];
        sent.primary_count = (uint16_t)(sent.primary_count + (attr->primary_index > 0));
        sent.identity_count = (uint16_t)(sent.identity_count + (attr->identity_index > 0));
        if (!is_sent(server, relation, attr))
            continue;
        sent.columns[sent.column_count++] = (struct tr_pg_sent_column){.name = attr->name,
                                                                       .type_oid = attr->type_oid,
                                                                       .typmod = attr->typmod,
                                                                       .attr = attr,
                                                                       .attnum = attr->attnum};
    }
    struct tr_table *table = NULL;
    if (tr_pg_table_build(types, conn, &sent, &table, err) != TR_OK)
        return TR_FAIL;
    relation->table = table;
    return TR_OK;
}

enum tr_status tr_pg_catalog_describe(struct tr_pg_conn *conn, const struct tr_pg_server *server,
                                      struct tr_pg_types *types, struct tr_pg_catalog *catalog,
                                      struct tr_error *err)
{
    size_t count = catalog->captured_count, next = 0;
    uint64_t lsn = 0;
    uint32_t *oids =
        tr_arena_alloc(&catalog->arena, (count + 1) * sizeof *oids, _Alignof(uint32_t));
    struct tr_pg_attrs *attrs =
        tr_arena_alloc(&catalog->arena, (count + 1) * sizeof *attrs, _Alignof(struct tr_pg_attrs));
    if (oids == NULL || attrs == NULL)
        return no_memory(err);
    for (size_t i = 0; i < catalog->relation_count && next < count; i++) {
        if (catalog->relations[i].captured)
            oids[next++] = catalog->relations[i].oid;
    }
    if (tr_pg_server_lsn(conn, &lsn, err) != TR_OK ||
        tr_pg_attrs_load(conn, oids, next, &catalog->arena, attrs, err) != TR_OK)
        return TR_FAIL;
    next = 0;
    for (size_t i = 0; i < catalog->relation_count; i++) {
        struct tr_pg_relation *relation = &catalog->relations[i];
        if (!relation->captured)
            continue;
        relation->attrs = &attrs[next++];
        if (describe_one(conn, server, types, catalog, relation, relation->attrs, err) != TR_OK)
            return TR_FAIL;
    }
    catalog->attrs_lsn = lsn;
    return TR_OK;
}

/* ---- lookups -------------------------------------------------------------------------------- */

struct tr_pg_relation *tr_pg_catalog_find(struct tr_pg_catalog *catalog, uint32_t oid)
{
    for (size_t i = 0; i < catalog->relation_count; i++) {
        if (catalog->relations[i].oid == oid && catalog->relations[i].captured)
            return &catalog->relations[i];
    }
    return NULL;
}

void tr_pg_catalog_leaves(struct tr_pg_catalog *catalog, struct tr_pg_relation *relation,
                          void (*fn)(void *ctx, struct tr_pg_relation *leaf), void *ctx)
{
    if (relation->kind != 'p') {
        fn(ctx, relation);
        return;
    }
    for (size_t i = 0; i < catalog->relation_count; i++) {
        struct tr_pg_relation *leaf = &catalog->relations[i];
        if (leaf->kind == 'p' || !leaf->is_partition)
            continue;
        uint32_t parent = leaf->parent;
        for (unsigned depth = 0; parent != 0 && depth < PARTITION_DEPTH_MAX; depth++) {
            if (&catalog->relations[parent - 1] == relation) {
                fn(ctx, leaf);
                break;
            }
            parent = catalog->relations[parent - 1].parent;
        }
    }
}

bool tr_pg_lacks_identity(const struct tr_pg_relation *relation)
{
    switch (relation->replica_identity) {
    case 'f':
        return false;
    case 'd':
        return !relation->has_primary;
    case 'i':
        return !relation->has_identity_index;
    default:
        return true;
    }
}
