/* The columns of many tables, asked from the catalog at once.
 *
 * Every table's first change after a start of the stream is announced by a Relation message, and
 * each one needs the catalog (relation.c). With a thousand tables a backlog begins with thousands
 * of round trips. So when asking table by table becomes a pattern, all captured tables are asked
 * together, along with the server's position just before. For a transaction that commits below
 * that position the answer is as good as a new one: the catalog is ahead of the log in both. Above
 * it, a table is asked for by itself, until that becomes a pattern again: a sixteenth of the tables
 * (MISSES_MIN at least), so that what is asked together is never more than sixteen times what
 * would have been asked anyway. More than TABLES_MAX tables are always asked one by one; they would
 * take too much memory.
 *
 * Thread: the stream's. */
#include "source/postgres/ahead.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/outbuf.h"
#include "source/postgres/source.h"

#define TABLES_MAX 10000
#define MISSES_MIN 4
#define MISSES_SHARE 16
#define ARENA_BLOCK_BYTES (64 << 10)

struct tr_pg_ahead {
    struct tr_arena arena;
    uint64_t lsn; /* it holds for transactions that commit below; 0 = nothing is held */
    unsigned misses;
    size_t count;
    uint32_t *oids; /* ascending */
    struct tr_pg_attrs *attrs;
    struct tr_pg_ancestor *ancestors; /* by oid, then outwards */
    size_t ancestor_count;
};

static int compare_oids(const void *a, const void *b)
{
    uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;
    return left < right ? -1 : left > right;
}

static const struct tr_pg_attrs *find(const struct tr_pg_ahead *ahead, uint32_t oid)
{
    const uint32_t *place = ahead->count == 0 ? NULL
                                              : bsearch(&oid, ahead->oids, ahead->count,
                                                        sizeof *ahead->oids, compare_oids);
    return place == NULL ? NULL : &ahead->attrs[place - ahead->oids];
}

/* ---- loading -------------------------------------------------------------------------------- */

static void forget(struct tr_pg_ahead *ahead)
{
    tr_arena_reset(&ahead->arena);
    ahead->lsn = 0;
    ahead->count = ahead->ancestor_count = 0;
}

/* Captured tables and all partitions, whose roots may be captured. */
static bool wanted(const struct tr_pg_relation *relation)
{
    return relation->captured || relation->is_partition;
}

static size_t count_wanted(const struct tr_pg_source *source)
{
    size_t count = 0;
    for (size_t i = 0; i < source->catalog.relation_count; i++)
        count += wanted(&source->catalog.relations[i]);
    return count;
}

static enum tr_status list_tables(const struct tr_pg_source *source, struct tr_pg_ahead *ahead,
                                  size_t count, struct tr_error *err)
{
    struct tr_arena *arena = &ahead->arena;
    ahead->oids = tr_arena_alloc(arena, count * sizeof *ahead->oids, _Alignof(uint32_t));
    ahead->attrs =
        tr_arena_alloc(arena, count * sizeof *ahead->attrs, _Alignof(struct tr_pg_attrs));
    if (ahead->oids == NULL || ahead->attrs == NULL)
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for the tables' columns");
    size_t next = 0;
    for (size_t i = 0; i < source->catalog.relation_count; i++) {
        if (wanted(&source->catalog.relations[i]))
            ahead->oids[next++] = source->catalog.relations[i].oid;
    }
    qsort(ahead->oids, next, sizeof *ahead->oids, compare_oids);
    ahead->count = next;
    return TR_OK;
}

static enum tr_status read_lsn(struct tr_pg_source *source, uint64_t *lsn, struct tr_error *err)
{
    PGresult *row = NULL;
    if (tr_pg_exec(&source->sql, "read the server's position",
                   source->server.in_recovery ? "SELECT pg_catalog.pg_last_wal_replay_lsn()"
                                              : "SELECT pg_catalog.pg_current_wal_lsn()",
                   TR_PG_QUERY_TIMEOUT_MS, &row, err) != TR_OK)
        return TR_FAIL;
    bool parsed = PQntuples(row) == 1 && tr_lsn_parse(tr_pg_text(row, 0, 0), lsn);
    PQclear(row);
    return parsed ? TR_OK : tr_fail(err, TR_E_PG_PROTOCOL, "the server's LSN is not understood");
}

static enum tr_status load(struct tr_pg_source *source, struct tr_pg_ahead *ahead, size_t count,
                           struct tr_error *err)
{
    uint64_t lsn = 0;
    forget(ahead);
    tr_pg_types_clear(&source->types);
    if (tr_pg_source_sql(source, err) != TR_OK || read_lsn(source, &lsn, err) != TR_OK ||
        list_tables(source, ahead, count, err) != TR_OK ||
        tr_pg_attrs_load(&source->sql, ahead->oids, ahead->count, &ahead->arena, ahead->attrs,
                         err) != TR_OK ||
        tr_pg_ancestors_load(&source->sql, ahead->oids, ahead->count, &ahead->arena,
                             &ahead->ancestors, &ahead->ancestor_count, err) != TR_OK) {
        forget(ahead);
        return TR_FAIL;
    }
    ahead->lsn = lsn;
    tr_log(TR_LOG_DEBUG, "the columns of all tables were read at once", "tables=%zu", ahead->count);
    return TR_OK;
}

/* ---- asking --------------------------------------------------------------------------------- */

bool tr_pg_ahead_covers(struct tr_pg_source *source, uint32_t oid, uint64_t commit_lsn)
{
    struct tr_pg_ahead *ahead = source->ahead;
    if (ahead == NULL) {
        ahead = source->ahead = calloc(1, sizeof *ahead);
        if (ahead == NULL)
            return false;
        tr_arena_init(&ahead->arena, ARENA_BLOCK_BYTES, 0);
    }
    if (commit_lsn < ahead->lsn && find(ahead, oid) != NULL)
        return true;
    size_t count = count_wanted(source);
    bool pattern = ++ahead->misses >= MISSES_MIN && (size_t)ahead->misses * MISSES_SHARE >= count;
    if (!pattern || count == 0 || count > TABLES_MAX)
        return false;
    ahead->misses = 0;
    struct tr_error err; /* what it would have told, asking for the one table tells as well */
    return load(source, ahead, count, &err) == TR_OK && commit_lsn < ahead->lsn &&
           find(ahead, oid) != NULL;
}

const struct tr_pg_attrs *tr_pg_ahead_attrs(const struct tr_pg_source *source, uint32_t oid)
{
    return find(source->ahead, oid);
}

const struct tr_pg_ancestor *tr_pg_ahead_ancestors(const struct tr_pg_source *source, uint32_t oid,
                                                   size_t *count)
{
    const struct tr_pg_ahead *ahead = source->ahead;
    size_t low = 0, high = ahead->ancestor_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (ahead->ancestors[middle].leaf_oid < oid)
            low = middle + 1;
        else
            high = middle;
    }
    *count = 0;
    while (low + *count < ahead->ancestor_count && ahead->ancestors[low + *count].leaf_oid == oid)
        ++*count;
    return &ahead->ancestors[low];
}

void tr_pg_ahead_free(struct tr_pg_ahead *ahead)
{
    if (ahead == NULL)
        return;
    tr_arena_free(&ahead->arena);
    free(ahead);
}
