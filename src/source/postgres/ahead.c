/* The columns of many tables, asked from the catalog at once.
 *
 * Every table's first change after a start of the stream is announced by a Relation message, and
 * each one needs the catalog (relation.c). With a thousand tables a backlog begins with thousands
 * of round trips. But the start has asked for all captured tables already, and for the server's
 * position just before. For a transaction that commits below that position the answer is as good as
 * a new one: the catalog is ahead of the log in both. So a backlog that was there at the start asks
 * for nothing more; only partitions, of which the start does not ask, are left.
 *
 * Above the position a table is asked for by itself, until that becomes a pattern: a sixteenth of
 * the tables (MISSES_MIN at least). Then all of them are asked together, along with the server's
 * new position, so that what is asked together is never more than sixteen times what would have
 * been asked anyway. More than TABLES_MAX tables are not asked for so; they would take too much
 * memory.
 *
 * Thread: the stream's. */
#include "source/postgres/ahead.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/outbuf.h"
#include "source/postgres/source.h"

#define TABLES_MAX 10000
#define MISSES_MIN 4
#define MISSES_SHARE 16
#define ARENA_BLOCK_BYTES (64 << 10)

struct place {
    uint32_t oid;
    const struct tr_pg_attrs *attrs;
    const struct tr_table *table; /* made of them at the start, or NULL */
};

struct tr_pg_ahead {
    struct tr_arena arena;
    uint64_t lsn; /* it holds for transactions that commit below; 0 = nothing is held */
    unsigned misses;
    size_t count;
    struct place *places;             /* by oid */
    struct tr_pg_ancestor *ancestors; /* by oid, then outwards */
    size_t ancestor_count;
};

static int compare_oids(const void *a, const void *b)
{
    uint32_t left = ((const struct place *)a)->oid, right = ((const struct place *)b)->oid;
    return left < right ? -1 : left > right;
}

static const struct place *find(const struct tr_pg_ahead *ahead, uint32_t oid)
{
    const struct place key = {.oid = oid};
    return ahead->count == 0 ? NULL
                             : bsearch(&key, ahead->places, ahead->count, sizeof key, compare_oids);
}

/* ---- loading -------------------------------------------------------------------------------- */

static void forget(struct tr_pg_ahead *ahead)
{
    tr_arena_reset(&ahead->arena);
    ahead->lsn = 0;
    ahead->count = ahead->ancestor_count = 0;
}

/* What the start has asked for. Of a partition its roots are not known. */
static bool is_described(const struct tr_pg_relation *relation)
{
    return relation->captured && relation->attrs != NULL && !relation->is_partition;
}

/* Captured tables and all partitions, whose roots may be captured. */
static bool is_wanted(const struct tr_pg_relation *relation)
{
    return relation->captured || relation->is_partition;
}

static size_t count_tables(const struct tr_pg_source *source,
                           bool (*is)(const struct tr_pg_relation *relation))
{
    size_t count = 0;
    for (size_t i = 0; i < source->catalog.relation_count; i++)
        count += is(&source->catalog.relations[i]);
    return count;
}

static bool list_tables(const struct tr_pg_source *source, struct tr_pg_ahead *ahead, size_t count,
                        bool (*is)(const struct tr_pg_relation *relation))
{
    size_t next = 0;
    ahead->places =
        tr_arena_alloc(&ahead->arena, (count + 1) * sizeof *ahead->places, _Alignof(struct place));
    if (ahead->places == NULL)
        return false;
    for (size_t i = 0; i < source->catalog.relation_count && next < count; i++) {
        const struct tr_pg_relation *relation = &source->catalog.relations[i];
        if (is(relation))
            ahead->places[next++] = (struct place){relation->oid, relation->attrs, relation->table};
    }
    if (next > 1)
        qsort(ahead->places, next, sizeof *ahead->places, compare_oids);
    ahead->count = next;
    return true;
}

static void take_over(const struct tr_pg_source *source, struct tr_pg_ahead *ahead)
{
    size_t count = count_tables(source, is_described);
    if (!list_tables(source, ahead, count, is_described))
        return;
    ahead->lsn = source->catalog.attrs_lsn;
    tr_log(TR_LOG_DEBUG, "the columns that the start has read are used", "tables=%zu",
           ahead->count);
}

static enum tr_status load_attrs(struct tr_pg_source *source, struct tr_pg_ahead *ahead,
                                 struct tr_error *err)
{
    struct tr_arena *arena = &ahead->arena;
    uint32_t *oids = tr_arena_alloc(arena, ahead->count * sizeof *oids, _Alignof(uint32_t));
    struct tr_pg_attrs *attrs =
        tr_arena_alloc(arena, ahead->count * sizeof *attrs, _Alignof(struct tr_pg_attrs));
    if (oids == NULL || attrs == NULL)
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for the tables' columns");
    for (size_t i = 0; i < ahead->count; i++) {
        oids[i] = ahead->places[i].oid;
        ahead->places[i] = (struct place){oids[i], &attrs[i], NULL};
    }
    if (tr_pg_attrs_load(&source->sql, oids, ahead->count, arena, attrs, err) != TR_OK)
        return TR_FAIL;
    return tr_pg_ancestors_load(&source->sql, oids, ahead->count, arena, &ahead->ancestors,
                                &ahead->ancestor_count, err);
}

static enum tr_status load(struct tr_pg_source *source, struct tr_pg_ahead *ahead, size_t count,
                           struct tr_error *err)
{
    uint64_t lsn = 0;
    enum tr_status status = TR_FAIL;
    forget(ahead);
    tr_pg_types_clear(&source->types);
    if (tr_pg_source_sql(source, err) != TR_OK ||
        tr_pg_server_lsn(&source->sql, &lsn, err) != TR_OK)
        return TR_FAIL;
    if (list_tables(source, ahead, count, is_wanted))
        status = load_attrs(source, ahead, err);
    else
        (void)tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for the tables' columns");
    if (status != TR_OK) {
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
        take_over(source, ahead);
    }
    if (commit_lsn < ahead->lsn && find(ahead, oid) != NULL)
        return true;
    size_t count = count_tables(source, is_wanted);
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
    return find(source->ahead, oid)->attrs;
}

const struct tr_table *tr_pg_ahead_table(const struct tr_pg_source *source, uint32_t oid)
{
    return find(source->ahead, oid)->table;
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
    return *count == 0 ? NULL : &ahead->ancestors[low];
}

void tr_pg_ahead_free(struct tr_pg_ahead *ahead)
{
    if (ahead == NULL)
        return;
    tr_arena_free(&ahead->arena);
    free(ahead);
}
