/* What is to be copied.
 *
 * A table is cut by its physical pages (ctid ranges: PostgreSQL 14 and newer read only the pages of
 * a range; before that a range would read the whole table, so there a table is one chunk). Each
 * finished chunk leaves a mark chunk/LEAF/FILENODE/I=N, "stands as snapshot N saw it".
 *
 * After a crash the exported snapshot is gone. The rest is read under a new one, S2, of a temporary
 * slot; the stream still begins at the slot's LSN1 <= LSN2 and replays what S2 has seen already.
 * With a key that converges: every event puts a row into a state that the log passed through, and
 * the last one wins. These cases need care:
 *
 *  - A row of a chunk still to be read may have moved, by an UPDATE between S1 and S2, into pages
 * of a chunk that was done under S1. Reading only the pending pages under S2 would miss it, and the
 *    replayed UPDATE may carry unchanged TOAST columns, which a target without the row cannot fill.
 *    So done chunks of an unfinished table are read again, but only rows whose xmin is not older
 * than S1's xmin: `age(xmin) <= age(XMIN)`, a superset of what changed. Their marks then say N=2. A
 * table is finished when all its chunks have the same N; so a second crash is no special case.
 *  - An UPDATE of the key between S1 and S2: the old row may not be in the target, the new one is,
 * as a whole. The stream gives such an event as a DELETE of the old key and an UPDATE of the new
 * row.
 *  - Its file may have been rewritten (VACUUM FULL, TRUNCATE, ALTER TABLE): pages mean nothing any
 * more. The filenode is part of the key of a chunk's mark, so all chunks count as not done.
 *  - Without a key nothing converges. An unfinished table is emptied (TRUNCATE_FOR_RELOAD) and
 * copied as one piece, and events of transactions that commit before LSN2 are skipped (mark
 * skip/OID).
 *
 * Where S2's schema is newer than LSN1's, changes of the schema that commit before LSN2 are in the
 * copy already (mark soft/OID): rows of older versions flow, but nothing is dropped or renamed for
 * them.
 *
 * Tables that came to match later are copied in the same way; their changes before the copy's LSN
 * are skipped. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/outbuf.h"
#include "source/postgres/snapshot.h"

#define PAGE_BYTES 8192
#define CHUNKS_PER_LEAF_MAX 65536
#define TID_RANGE_VERSION 140000

struct planner {
    struct tr_pg_source *source;
    struct tr_pg_snapshot *snapshot;
    struct tr_pg_copy *copy;
    uint32_t leaf_capacity;
    bool failed; /* no memory */
};

static enum tr_status no_memory(struct tr_error *err)
{
    return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for the snapshot's plan");
}

/* ---- leaves --------------------------------------------------------------------------------- */

static void cut(const struct tr_pg_source *source, struct tr_pg_leaf *leaf)
{
    int64_t pages = source->settings.options->chunk_bytes / PAGE_BYTES;
    if (pages < 1)
        pages = 1;
    if (leaf->pages / pages >= CHUNKS_PER_LEAF_MAX)
        pages = leaf->pages / CHUNKS_PER_LEAF_MAX + 1;
    leaf->chunk_pages = 0;
    leaf->chunk_count = 1;
    if (source->server.version < TID_RANGE_VERSION || leaf->pages <= pages || pages > UINT32_MAX)
        return;
    leaf->chunk_pages = (uint32_t)pages;
    leaf->chunk_count = (uint32_t)((leaf->pages + pages - 1) / pages);
}

/* The cut of an earlier run, if it is of the same file. */
static bool cut_before(const struct tr_pg_source *source, struct tr_pg_leaf *leaf)
{
    uint32_t filenode, pages, count;
    const char *plan = tr_pg_mark_get(&source->marks, "plan/%u", leaf->oid);
    if (plan == NULL ||
        sscanf(plan, "%" SCNu32 " %" SCNu32 " %" SCNu32, &filenode, &pages, &count) != 3)
        return false;
    if (filenode != leaf->filenode || count == 0 || count > 2 * CHUNKS_PER_LEAF_MAX)
        return false;
    leaf->chunk_pages = pages;
    leaf->chunk_count = count;
    return true;
}

static void add_leaf(void *ctx, struct tr_pg_relation *relation)
{
    struct planner *planner = ctx;
    struct tr_pg_copy *copy = planner->copy;
    if (relation->kind != 'r' || relation->persistence != 'p') {
        tr_log(TR_LOG_WARN, "a partition is not copied: it is a foreign or unlogged table",
               "table=%s.%s", relation->id.schema, relation->id.table);
        return;
    }
    if (copy->leaf_count == planner->leaf_capacity) {
        uint32_t capacity = planner->leaf_capacity == 0 ? 1 : planner->leaf_capacity * 4;
        struct tr_pg_leaf *leaves = tr_arena_alloc(
            &planner->snapshot->arena, capacity * sizeof *leaves, _Alignof(struct tr_pg_leaf));
        if (leaves == NULL) {
            planner->failed = true;
            return;
        }
        if (copy->leaf_count > 0)
            memcpy(leaves, copy->leaves, copy->leaf_count * sizeof *leaves);
        copy->leaves = leaves;
        planner->leaf_capacity = capacity;
    }
    struct tr_pg_leaf *leaf = &copy->leaves[copy->leaf_count++];
    *leaf = (struct tr_pg_leaf){.oid = relation->oid,
                                .filenode = relation->filenode,
                                .schema = relation->id.schema,
                                .name = relation->id.table,
                                .pages = relation->pages};
    copy->pages += relation->pages;
}

/* ---- jobs ----------------------------------------------------------------------------------- */

static void add_job(struct planner *planner, struct tr_pg_job job)
{
    struct tr_pg_snapshot *snapshot = planner->snapshot;
    if (snapshot->job_count == snapshot->job_capacity) {
        uint32_t capacity = snapshot->job_capacity == 0 ? 64 : snapshot->job_capacity * 2;
        struct tr_pg_job *jobs = realloc(snapshot->jobs, capacity * sizeof *jobs);
        if (jobs == NULL) {
            planner->failed = true;
            return;
        }
        snapshot->jobs = jobs;
        snapshot->job_capacity = capacity;
    }
    job.table = (uint32_t)(planner->copy - snapshot->copies);
    job.pages = planner->copy->pages;
    snapshot->jobs[snapshot->job_count++] = job;
    atomic_fetch_add(&planner->copy->jobs_left, 1);
}

static void add_chunk(struct planner *planner, uint32_t leaf, uint32_t chunk, uint32_t since_xmin)
{
    add_job(planner,
            (struct tr_pg_job){.kind = since_xmin != 0 ? TR_PG_JOB_REREAD : TR_PG_JOB_CHUNK,
                               .leaf_first = leaf,
                               .leaf_count = 1,
                               .chunk = chunk,
                               .since_xmin = since_xmin});
}

static void add_all_chunks(struct planner *planner)
{
    for (uint32_t i = 0; i < planner->copy->leaf_count; i++) {
        struct tr_pg_leaf *leaf = &planner->copy->leaves[i];
        cut(planner->source, leaf);
        for (uint32_t chunk = 0; chunk < leaf->chunk_count; chunk++)
            add_chunk(planner, i, chunk, 0);
    }
}

static void add_reload(struct planner *planner)
{
    for (uint32_t i = 0; i < planner->copy->leaf_count; i++) {
        planner->copy->leaves[i].chunk_pages = 0;
        planner->copy->leaves[i].chunk_count = 1;
    }
    add_job(planner,
            (struct tr_pg_job){.kind = TR_PG_JOB_RELOAD, .leaf_count = planner->copy->leaf_count});
}

/* The number of the snapshot that a chunk was read under, 0 = not done. */
static uint32_t chunk_number(const struct tr_pg_source *source, const struct tr_pg_leaf *leaf,
                             uint32_t chunk)
{
    const char *done =
        tr_pg_mark_get(&source->marks, "chunk/%u/%u/%u", leaf->oid, leaf->filenode, chunk);
    return done == NULL ? 0 : (uint32_t)strtoul(done, NULL, 10);
}

/* Do all chunks of the leaf stand as one snapshot saw them? */
static bool leaf_is_done(const struct tr_pg_source *source, const struct tr_pg_leaf *leaf,
                         uint32_t *number)
{
    for (uint32_t chunk = 0; chunk < leaf->chunk_count; chunk++) {
        uint32_t own = chunk_number(source, leaf, chunk);
        if (own == 0 || (*number != 0 && own != *number))
            return false;
        *number = own;
    }
    return true;
}

/* xmin of snapshot N, as its mark says; 0 when the mark is missing: then everything is read again.
 */
static uint32_t xmin_of(const struct tr_pg_source *source, uint32_t number)
{
    const char *mark = tr_pg_mark_get(&source->marks, "snapshot/%u", number);
    const char *space = mark == NULL ? NULL : strchr(mark, ' ');
    return space == NULL ? 0 : (uint32_t)strtoul(space + 1, NULL, 10);
}

static void resume_leaf(struct planner *planner, uint32_t index)
{
    struct tr_pg_leaf *leaf = &planner->copy->leaves[index];
    uint32_t number = 0;
    if (!cut_before(planner->source, leaf)) {
        cut(planner->source, leaf);
    } else if (leaf_is_done(planner->source, leaf, &number)) {
        return;
    }
    for (uint32_t chunk = 0; chunk < leaf->chunk_count; chunk++) {
        uint32_t own = chunk_number(planner->source, leaf, chunk);
        add_chunk(planner, index, chunk, own == 0 ? 0 : xmin_of(planner->source, own));
    }
}

static void resume_table(struct planner *planner)
{
    struct tr_pg_copy *copy = planner->copy;
    if (copy->table->key_count > 0) {
        for (uint32_t i = 0; i < copy->leaf_count; i++)
            resume_leaf(planner, i);
        return;
    }
    uint32_t number = 0;
    bool done = true;
    for (uint32_t i = 0; i < copy->leaf_count && done; i++)
        done = cut_before(planner->source, &copy->leaves[i]) &&
               leaf_is_done(planner->source, &copy->leaves[i], &number);
    if (!done)
        add_reload(planner);
}

/* ---- tables --------------------------------------------------------------------------------- */

/* PostgreSQL 12: partitions that were made since the last start. */
static void add_new_leaves(struct planner *planner)
{
    for (uint32_t i = 0; i < planner->copy->leaf_count; i++) {
        struct tr_pg_leaf *leaf = &planner->copy->leaves[i];
        if (tr_pg_mark_get(&planner->source->marks, "leaf/%u", leaf->oid) != NULL)
            continue;
        cut(planner->source, leaf);
        for (uint32_t chunk = 0; chunk < leaf->chunk_count; chunk++)
            add_chunk(planner, i, chunk, 0);
    }
}

static void plan_table(struct planner *planner)
{
    const struct tr_pg_source *source = planner->source;
    struct tr_pg_copy *copy = planner->copy;
    uint32_t oid = copy->relation->oid;
    bool known = tr_pg_mark_get(&source->marks, "table/%u", oid) != NULL;
    bool copying = tr_pg_mark_get(&source->marks, "copy/%u", oid) != NULL;
    uint32_t jobs_before = planner->snapshot->job_count;
    bool resumed = false;
    copy->by_leaves =
        copy->relation->kind == 'p' && source->server.version < TR_PG_VIA_ROOT_VERSION;
    if (known && !copying && !source->bounded && !copy->by_leaves)
        return;
    tr_pg_catalog_leaves(&planner->source->catalog,
                         (struct tr_pg_relation *)(uintptr_t)copy->relation, add_leaf, planner);
    if (copy->leaf_count == 0)
        return; /* a partitioned table without partitions: its first row comes by the stream */
    if (source->bounded && known) {
        add_reload(planner);
    } else if (known && !copying) {
        add_new_leaves(planner);
        resumed = true; /* the others' rows must not be skipped */
    } else if (copying) {
        resume_table(planner);
        resumed = true;
    } else {
        add_all_chunks(planner);
    }
    if (planner->snapshot->job_count == jobs_before || planner->snapshot->lsn <= source->stream_lsn)
        return;
    if (!resumed || copy->table->key_count == 0) {
        copy->skip_lsn = planner->snapshot->lsn;
    } else {
        copy->soft_lsn = planner->snapshot->lsn;
        /* A first copy that was broken off: its rows stand at the skip point or later. Replaying
         * what is before it would take them back, and the next start would skip the way forward
         * again. */
        copy->skip_lsn = tr_pg_mark_lsn(&source->marks, "skip/%u", oid);
    }
}

static int compare_jobs(const void *a, const void *b)
{
    const struct tr_pg_job *left = a, *right = b;
    if (left->pages != right->pages)
        return left->pages > right->pages ? -1 : 1;
    if (left->table != right->table)
        return left->table < right->table ? -1 : 1;
    if (left->leaf_first != right->leaf_first)
        return left->leaf_first < right->leaf_first ? -1 : 1;
    return left->chunk < right->chunk ? -1 : left->chunk > right->chunk;
}

enum tr_status tr_pg_plan(struct tr_pg_source *source, struct tr_pg_snapshot *snapshot,
                          struct tr_error *err)
{
    struct tr_pg_catalog *catalog = &source->catalog;
    snapshot->job_count = 0;
    snapshot->copy_count = 0;
    snapshot->copies =
        tr_arena_alloc(&snapshot->arena, (catalog->captured_count + 1) * sizeof *snapshot->copies,
                       _Alignof(struct tr_pg_copy));
    if (snapshot->copies == NULL)
        return no_memory(err);
    for (size_t i = 0; i < catalog->relation_count; i++) {
        const struct tr_pg_relation *relation = &catalog->relations[i];
        if (!relation->captured)
            continue;
        struct tr_pg_copy *copy = &snapshot->copies[snapshot->copy_count];
        memset(copy, 0, sizeof *copy);
        copy->relation = relation;
        copy->table = relation->table;
        struct planner planner = {.source = source, .snapshot = snapshot, .copy = copy};
        plan_table(&planner);
        if (planner.failed)
            return no_memory(err);
        if (atomic_load(&copy->jobs_left) > 0)
            snapshot->copy_count++;
    }
    if (snapshot->job_count == 0)
        return TR_END;
    qsort(snapshot->jobs, snapshot->job_count, sizeof *snapshot->jobs, compare_jobs);
    return TR_OK;
}

/* Rows go as tuples where source and target need not turn values into text and back. Only the sinks
 * know their side; a table of which nothing was asked, or that one sink refused, goes as text. */
enum tr_status tr_pg_plan_binary(struct tr_pg_source *source, struct tr_pg_snapshot *snapshot,
                                 struct tr_error *err)
{
    if (!source->raw_rows || source->offer_binary == NULL)
        return TR_OK;
    struct tr_binary_offer *offers = tr_arena_alloc(
        &snapshot->arena, snapshot->copy_count * sizeof *offers, _Alignof(struct tr_binary_offer));
    if (offers == NULL)
        return no_memory(err);
    for (uint32_t i = 0; i < snapshot->copy_count; i++)
        offers[i] = (struct tr_binary_offer){.table = snapshot->copies[i].table,
                                             .server_version = source->server.version,
                                             .emptied = true};
    for (uint32_t i = 0; i < snapshot->job_count; i++) {
        if (snapshot->jobs[i].kind != TR_PG_JOB_RELOAD)
            offers[snapshot->jobs[i].table].emptied = false;
    }
    if (source->offer_binary(source->engine, offers, snapshot->copy_count, err) != TR_OK)
        return TR_FAIL;
    for (uint32_t i = 0; i < snapshot->copy_count; i++)
        snapshot->copies[i].binary = offers[i].accepted && offers[i].table->column_count > 0;
    return TR_OK;
}

/* ---- SQL ------------------------------------------------------------------------------------ */

/* Is the table still what the snapshot saw? Counts the leaves for which it is not: another file, or
 * another table under the name. The functions look at the present, not at the snapshot. */
static void put_check(const struct tr_pg_copy *copy, const struct tr_pg_job *job,
                      struct tr_outbuf *sql)
{
    struct tr_outbuf name = {0};
    tr_outbuf_lit(sql, "SELECT count(*) FROM (VALUES ");
    for (uint32_t i = 0; i < job->leaf_count; i++) {
        const struct tr_pg_leaf *leaf = &copy->leaves[job->leaf_first + i];
        tr_outbuf_clear(&name);
        tr_pg_put_qualified(&name, leaf->schema, leaf->name);
        tr_outbuf_printf(sql, "%s(%u::oid, %u::oid, ", i == 0 ? "" : ", ", leaf->oid,
                         leaf->filenode);
        tr_pg_put_literal(sql, tr_outbuf_cstr(&name));
        tr_outbuf_lit(sql, ")");
    }
    tr_outbuf_lit(sql,
                  ") x(o, f, n) WHERE pg_catalog.pg_relation_filenode(x.o) IS DISTINCT FROM x.f "
                  "OR pg_catalog.to_regclass(x.n)::oid IS DISTINCT FROM x.o; ");
    tr_outbuf_free(&name);
}

static void put_columns(const struct tr_table *table, struct tr_outbuf *sql)
{
    for (uint16_t i = 0; i < table->column_count; i++) {
        if (i > 0)
            tr_outbuf_lit(sql, ", ");
        tr_pg_put_identifier(sql, table->columns[i].name);
    }
}

static void put_where(const struct tr_pg_copy *copy, const struct tr_pg_leaf *leaf,
                      const struct tr_pg_job *job, struct tr_outbuf *sql)
{
    const char *glue = " WHERE ";
    if (leaf != NULL && leaf->chunk_pages > 0) {
        uint64_t from = (uint64_t)job->chunk * leaf->chunk_pages;
        tr_outbuf_printf(sql, "%sctid >= '(%" PRIu64 ",0)'::tid", glue, from);
        glue = " AND ";
        if (job->chunk + 1 < leaf->chunk_count) /* the last one takes what was added since */
            tr_outbuf_printf(sql, " AND ctid < '(%" PRIu64 ",0)'::tid", from + leaf->chunk_pages);
    }
    if (job->kind == TR_PG_JOB_REREAD) {
        tr_outbuf_printf(sql, "%spg_catalog.age(xmin) <= pg_catalog.age('%u'::xid)", glue,
                         job->since_xmin);
        glue = " AND ";
    }
    if (copy->relation->row_filter != NULL) {
        tr_outbuf_printf(sql, "%s(", glue);
        tr_outbuf_str(sql, copy->relation->row_filter);
        tr_outbuf_lit(sql, ")");
    }
}

static bool reads_root(const struct tr_pg_copy *copy, const struct tr_pg_job *job)
{
    return job->kind == TR_PG_JOB_RELOAD && copy->relation->kind == 'p';
}

/* [ONLY] "schema"."table": of the leaf, or of the whole table. */
static void put_from(const struct tr_pg_copy *copy, const struct tr_pg_job *job,
                     struct tr_outbuf *sql)
{
    if (reads_root(copy, job)) {
        tr_pg_put_qualified(sql, copy->relation->id.schema, copy->relation->id.table);
        return;
    }
    const struct tr_pg_leaf *leaf = &copy->leaves[job->leaf_first];
    tr_outbuf_lit(sql, "ONLY ");
    tr_pg_put_qualified(sql, leaf->schema, leaf->name);
}

void tr_pg_job_begin_sql(const struct tr_pg_snapshot *snapshot, const struct tr_pg_job *job,
                         struct tr_outbuf *sql)
{
    const struct tr_pg_copy *copy = &snapshot->copies[job->table];
    tr_outbuf_lit(sql,
                  "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT ");
    tr_pg_put_literal(sql, snapshot->name);
    tr_outbuf_lit(sql, "; LOCK TABLE ");
    put_from(copy, job, sql);
    tr_outbuf_lit(sql, " IN ACCESS SHARE MODE; ");
    put_check(copy, job, sql);
}

void tr_pg_job_copy_sql(const struct tr_pg_snapshot *snapshot, const struct tr_pg_job *job,
                        struct tr_outbuf *sql)
{
    const struct tr_pg_copy *copy = &snapshot->copies[job->table];
    tr_outbuf_lit(sql, "COPY (SELECT ");
    put_columns(copy->table, sql);
    tr_outbuf_lit(sql, " FROM ");
    put_from(copy, job, sql);
    if (copy->table->column_count == 0)
        tr_outbuf_lit(sql, " WHERE false"); /* rows without a column carry nothing */
    else
        put_where(copy, job->kind == TR_PG_JOB_RELOAD ? NULL : &copy->leaves[job->leaf_first], job,
                  sql);
    tr_outbuf_str(sql, copy->binary ? ") TO STDOUT WITH (FORMAT binary)" : ") TO STDOUT");
    tr_outbuf_lit(sql, "; COMMIT");
}
