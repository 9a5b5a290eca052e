/* Relation messages: what a table's columns are from here on in the log.
 *
 * A Relation message has names, types and the replica identity's flags, but neither attnums, nor
 * keys, nor defaults; the catalog has those, but it is the catalog of now, which may be ahead of
 * the log by any number of changes. So the message's columns are aligned with the catalog's
 * attributes first: both are in attnum order, attributes never change their attnum, and dropped
 * ones stay visible as gaps. The alignment is the best one by a score (dynamic programming, as for
 * two texts): the same name now, the same name in the version before, the same type; leaving out an
 * attribute that lived both before and now costs much. So a column that was renamed twice since
 * still gets its own default, and `DROP a, ADD a` is not the same column.
 *
 * Then the new version is compared with the one before (tr_schema_diff) and the difference is sent:
 * a RENAME_TABLE if the name changed, and one ALTER_TABLE. A table is known by its oid: a renamed
 * one stays captured under its new name.
 *
 * Below a copy's LSN (soft_lsn, skip_lsn) the target is ahead of the log already: there the columns
 * get the names that the copy gave them, what the target lacks is added, and nothing else is
 * changed.
 *
 * With publish_via_partition_root the server describes a partition too, though its rows come under
 * the root's name. Such a table stays silent until a row proves otherwise (it was attached only
 * later).
 *
 * Thread: the stream's. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "event/schema_diff.h"
#include "source/postgres/source.h"

#define NAME_POINTS 40
#define TYPE_POINTS 20
#define OTHER_TYPE_POINTS (-5)
#define NEVER_SEEN_POINTS (-5) /* an attribute that is dropped now and was not there before */
#define UNMATCHED_POINTS (-60)
#define SKIP_LASTING_POINTS (-50) /* it lived before and lives now */
#define COLUMNS_MAX 1664

/* ---- alignment ------------------------------------------------------------------------------ */

static const struct tr_column *column_with_attnum(const struct tr_table *table, int32_t attnum)
{
    for (uint16_t i = 0; table != NULL && i < table->column_count; i++) {
        if (table->columns[i].source_attnum == attnum)
            return &table->columns[i];
    }
    return NULL;
}

static int match_points(const struct tr_pgoutput_column *column, const struct tr_pg_attr *attr,
                        const struct tr_column *before)
{
    int points = 0;
    if (attr->dropped && before == NULL)
        points += NEVER_SEEN_POINTS;
    if (!attr->dropped) {
        points += strcmp(column->name, attr->name) == 0 ? NAME_POINTS : 0;
        points += column->type_oid == attr->type_oid ? TYPE_POINTS : OTHER_TYPE_POINTS;
    }
    if (before != NULL) {
        points += strcmp(column->name, before->name) == 0 ? NAME_POINTS : 0;
        points += column->type_oid == before->source_type_id ? TYPE_POINTS : OTHER_TYPE_POINTS;
    }
    return points;
}

static int skip_points(const struct tr_pg_attr *attr, const struct tr_column *before)
{
    return !attr->dropped && before != NULL ? SKIP_LASTING_POINTS : 0;
}

/* The usual case: the message is what the catalog says, generated columns apart. */
static bool align_exactly(const struct tr_pgoutput_relation *relation,
                          const struct tr_pg_attrs *attrs, const struct tr_table *before,
                          int32_t *attnums)
{
    size_t at = 0;
    for (uint16_t i = 0; i < relation->column_count; i++, at++) {
        while (at < attrs->count &&
               (attrs->items[at].dropped ||
                strcmp(attrs->items[at].name, relation->columns[i].name) != 0)) {
            /* a lasting attribute must not be jumped over, and a dropped one of this name might be
             * it */
            const struct tr_column *old = column_with_attnum(before, attrs->items[at].attnum);
            if (old != NULL &&
                (!attrs->items[at].dropped || strcmp(old->name, relation->columns[i].name) == 0))
                return false;
            if (!attrs->items[at].dropped && attrs->items[at].generated == '\0' && before == NULL)
                return false;
            at++;
        }
        if (at == attrs->count || attrs->items[at].type_oid != relation->columns[i].type_oid)
            return false;
        attnums[i] = attrs->items[at].attnum;
    }
    return true;
}

/* The catalog no longer has the table: what was known is all there is. */
static void align_by_before(const struct tr_pgoutput_relation *relation,
                            const struct tr_table *before, int32_t *attnums)
{
    for (uint16_t i = 0; i < relation->column_count; i++) {
        int index = before == NULL ? -1 : tr_table_column(before, relation->columns[i].name);
        bool same =
            index >= 0 && before->columns[index].source_type_id == relation->columns[i].type_oid;
        attnums[i] = same ? before->columns[index].source_attnum : 0;
    }
}

enum choice { CHOICE_SKIP, CHOICE_MATCH, CHOICE_UNMATCHED };

enum tr_status tr_pg_align(const struct tr_pgoutput_relation *relation,
                           const struct tr_pg_attrs *attrs, const struct tr_table *before,
                           int32_t *attnums, struct tr_error *err)
{
    size_t rows = relation->column_count, slots = attrs->count, width = slots + 1;
    memset(attnums, 0, rows * sizeof *attnums);
    if (slots == 0) {
        align_by_before(relation, before, attnums);
        return TR_OK;
    }
    if (align_exactly(relation, attrs, before, attnums))
        return TR_OK;
    if (rows > COLUMNS_MAX || slots > 2 * COLUMNS_MAX) {
        align_by_before(relation, before, attnums);
        return TR_OK;
    }
    int32_t *best = malloc((rows + 1) * width * sizeof *best);
    uint8_t *choices = malloc((rows + 1) * width);
    const struct tr_column **old = malloc(width * sizeof *old);
    enum tr_status status = TR_OK;
    if (best == NULL || choices == NULL || old == NULL) {
        status = tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory to compare a table's columns");
        goto cleanup;
    }
    for (size_t s = 0; s < slots; s++)
        old[s] = column_with_attnum(before, attrs->items[s].attnum);
    for (size_t i = 0; i <= rows; i++) {
        for (size_t s = 0; s <= slots; s++) {
            int32_t points = INT32_MIN;
            enum choice choice = CHOICE_SKIP;
            if (i == 0 && s == 0)
                points = 0;
            if (s > 0)
                points = best[i * width + s - 1] + skip_points(&attrs->items[s - 1], old[s - 1]);
            if (i > 0) {
                int32_t other = best[(i - 1) * width + s] + UNMATCHED_POINTS;
                if (other > points) {
                    points = other;
                    choice = CHOICE_UNMATCHED;
                }
            }
            if (i > 0 && s > 0) { /* in a draw the later attribute wins: the newer column */
                int32_t other =
                    best[(i - 1) * width + s - 1] +
                    match_points(&relation->columns[i - 1], &attrs->items[s - 1], old[s - 1]);
                if (other >= points) {
                    points = other;
                    choice = CHOICE_MATCH;
                }
            }
            best[i * width + s] = points;
            choices[i * width + s] = (uint8_t)choice;
        }
    }
    memset(attnums, 0, rows * sizeof *attnums);
    for (size_t i = rows, s = slots; i > 0;) {
        switch (choices[i * width + s]) {
        case CHOICE_MATCH:
            attnums[--i] = attrs->items[--s].attnum;
            break;
        case CHOICE_UNMATCHED:
            i--;
            break;
        default:
            s--;
            break;
        }
    }
cleanup:
    free(best);
    free(choices);
    free(old);
    return status;
}

/* ---- the new version ------------------------------------------------------------------------ */

static const struct tr_pg_attr *attr_with_attnum(const struct tr_pg_attrs *attrs, int32_t attnum)
{
    for (size_t i = 0; i < attrs->count; i++) {
        if (attrs->items[i].attnum == attnum)
            return attrs->items[i].dropped ? NULL : &attrs->items[i];
    }
    return NULL;
}

static bool has_column(const struct tr_pgoutput_relation *relation, const char *name)
{
    for (uint16_t i = 0; i < relation->column_count; i++) {
        if (strcmp(relation->columns[i].name, name) == 0)
            return true;
    }
    return false;
}

/* From what is held, or else from the catalog, into the arena. */
static enum tr_status find_attrs(struct tr_pg_source *source, uint32_t oid, bool held,
                                 struct tr_arena *arena, struct tr_pg_attrs *attrs,
                                 struct tr_error *err)
{
    if (!held)
        return tr_pg_attrs_load(&source->sql, &oid, 1, arena, attrs, err);
    *attrs = *tr_pg_ahead_attrs(source, oid);
    return TR_OK;
}

/* root_oid: the table takes this oid in place of its own; 0 = its own. */
static enum tr_status build(struct tr_pg_source *source,
                            const struct tr_pgoutput_relation *relation, uint32_t root_oid,
                            const struct tr_table *before, bool soft, bool held,
                            struct tr_table **table, struct tr_error *err)
{
    struct tr_arena arena;
    struct tr_pg_attrs attrs;
    struct tr_pg_sent_table sent = {
        .id = {source->settings.database, relation->namespace, relation->name},
        .oid = root_oid != 0 ? root_oid : relation->oid,
        .version = before == NULL ? 1 : before->version + 1,
        .replica_identity = relation->replica_identity,
        .from_stream = true,
        .column_count = relation->column_count};
    enum tr_status status = TR_FAIL;
    tr_arena_init(&arena, 16 << 10, 0);
    sent.columns = tr_arena_alloc(&arena, (sent.column_count + 1) * sizeof *sent.columns,
                                  _Alignof(struct tr_pg_sent_column));
    int32_t *attnums = tr_arena_alloc(&arena, (sent.column_count + 1) * sizeof *attnums, 4);
    if (sent.columns == NULL || attnums == NULL) {
        (void)tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for a table's schema");
        goto cleanup;
    }
    if (find_attrs(source, relation->oid, held, &arena, &attrs, err) != TR_OK ||
        tr_pg_align(relation, &attrs, before, attnums, err) != TR_OK)
        goto cleanup;
    for (size_t i = 0; i < attrs.count; i++) {
        sent.primary_count = (uint16_t)(sent.primary_count + (attrs.items[i].primary_index > 0));
        sent.identity_count = (uint16_t)(sent.identity_count + (attrs.items[i].identity_index > 0));
    }
    for (size_t i = 0; i < sent.column_count; i++) {
        const struct tr_pgoutput_column *from = &relation->columns[i];
        const struct tr_column *old =
            attnums[i] == 0 ? NULL : column_with_attnum(before, attnums[i]);
        sent.columns[i] =
            (struct tr_pg_sent_column){.name = from->name,
                                       .type_oid = from->type_oid,
                                       .typmod = from->typmod,
                                       .in_replica_identity = from->in_replica_identity,
                                       .attr = attr_with_attnum(&attrs, attnums[i]),
                                       .attnum = attnums[i],
                                       .before = old};
        if (soft && old != NULL && !has_column(relation, old->name))
            sent.columns[i].name = old->name; /* as the copy named it */
    }
    if (soft && before != NULL)
        sent.id = before->id;
    status = tr_pg_table_build(&source->types, &source->sql, &sent, table, err);
cleanup:
    tr_arena_free(&arena);
    return status;
}

/* The connection may have been idle for hours: one more try with a new one. */
static enum tr_status build_with_retry(struct tr_pg_source *source,
                                       const struct tr_pgoutput_relation *relation,
                                       uint32_t root_oid, const struct tr_table *before, bool soft,
                                       bool held, struct tr_table **table, struct tr_error *err)
{
    if (!held)
        tr_pg_types_clear(&source->types);
    if (tr_pg_source_sql(source, err) != TR_OK)
        return TR_FAIL;
    enum tr_status status = build(source, relation, root_oid, before, soft, held, table, err);
    if (status == TR_FAIL && (err->code == TR_E_PG_CONNECT || err->code == TR_E_PG_SHUTDOWN)) {
        tr_pg_disconnect(&source->sql);
        if (tr_pg_source_sql(source, err) != TR_OK)
            return TR_FAIL;
        status = build(source, relation, root_oid, before, soft, held, table, err);
    }
    return status;
}

/* ---- telling the sinks ---------------------------------------------------------------------- */

static enum tr_status send_change(struct tr_batch *batch, const struct tr_table *after,
                                  const struct tr_schema_change *change, struct tr_error *err)
{
    char name[200];
    static const char *const kinds[] = {"create-table", "alter-table", "rename-table",
                                        "drop-table"};
    tr_log(TR_LOG_INFO, "schema change in the log", "table=%s change=%s items=%u",
           tr_table_id_format(&after->id, name, sizeof name), kinds[change->kind],
           change->item_count);
    return tr_batch_schema_change(batch, after, change, NULL, err);
}

/* RENAME_TABLE, then what differs in the columns. *changed: a sink cares. */
static enum tr_status send_difference(const struct tr_table *before, const struct tr_table *after,
                                      struct tr_batch *batch, bool send, bool *changed,
                                      struct tr_error *err)
{
    struct tr_arena arena;
    struct tr_table *renamed = NULL;
    struct tr_schema_change change = {0};
    enum tr_status status = TR_FAIL;
    tr_arena_init(&arena, 4096, 0);
    *changed = false;
    if (!tr_table_id_equal(&before->id, &after->id)) {
        if (tr_table_with_id(before, after->id, &renamed, err) != TR_OK)
            goto cleanup;
        change = (struct tr_schema_change){.kind = TR_CHANGE_RENAME_TABLE, .before = before};
        if (send && send_change(batch, renamed, &change, err) != TR_OK)
            goto cleanup;
        *changed = true;
        before = renamed;
    }
    if (tr_schema_diff(before, after, &arena, &change, err) != TR_OK)
        goto cleanup;
    if (change.kind == TR_CHANGE_ALTER_TABLE && change.item_count > 0) {
        if (send && send_change(batch, after, &change, err) != TR_OK)
            goto cleanup;
        *changed = true;
    }
    status = TR_OK;
cleanup:
    tr_table_unref(renamed);
    tr_arena_free(&arena);
    return status;
}

/* Columns that the target lacks because the copy was made after they went. */
static enum tr_status send_missing(const struct tr_table *target, const struct tr_table *row,
                                   struct tr_batch *batch, struct tr_error *err)
{
    struct tr_schema_change create = {.kind = TR_CHANGE_CREATE_TABLE};
    for (uint16_t i = 0; i < row->column_count; i++) {
        if (tr_table_column(target, row->columns[i].name) < 0)
            return send_change(batch, row, &create, err);
    }
    return TR_OK;
}

static void set_known(struct tr_pg_source *source, struct tr_pg_known *known,
                      struct tr_table *table)
{
    tr_table_unref(known->table);
    known->table = tr_table_ref(table);
    tr_pg_known_soil(&source->known, known);
}

/* The outermost ancestor that is captured; root->oid = 0 if there is none. The names are the
 * arena's, or what is held. */
static enum tr_status find_captured_root(struct tr_pg_source *source, uint32_t oid, bool held,
                                         struct tr_arena *arena, struct tr_pg_ancestor *root,
                                         struct tr_error *err)
{
    struct tr_pg_ancestor *loaded = NULL;
    const struct tr_pg_ancestor *ancestors;
    size_t count = 0;
    *root = (struct tr_pg_ancestor){0};
    if (held) {
        ancestors = tr_pg_ahead_ancestors(source, oid, &count);
    } else {
        if (tr_pg_source_sql(source, err) != TR_OK ||
            tr_pg_ancestors_load(&source->sql, &oid, 1, arena, &loaded, &count, err) != TR_OK)
            return TR_FAIL;
        ancestors = loaded;
    }
    for (size_t i = 0; i < count; i++) {
        struct tr_table_id id = {source->settings.database, ancestors[i].schema,
                                 ancestors[i].table};
        if (tr_pg_settings_match(&source->settings, &id))
            *root = ancestors[i];
    }
    return TR_OK;
}

/* The table that the start has made of the same catalog, if the message says nothing else. What
 * `build` would make is equal then: it too takes everything but names, types and flags from the
 * catalog. */
static struct tr_table *as_described(const struct tr_pg_source *source,
                                     const struct tr_pgoutput_relation *relation)
{
    const struct tr_table *table = tr_pg_ahead_table(source, relation->oid);
    if (table == NULL || table->column_count != relation->column_count ||
        (char)table->replica_identity != relation->replica_identity ||
        strcmp(table->id.schema, relation->namespace) != 0 ||
        strcmp(table->id.table, relation->name) != 0)
        return NULL;
    bool flagged = relation->replica_identity == 'd' || relation->replica_identity == 'i';
    for (uint16_t i = 0; i < relation->column_count; i++) {
        const struct tr_pgoutput_column *sent = &relation->columns[i];
        const struct tr_column *column = &table->columns[i];
        if (strcmp(sent->name, column->name) != 0 || sent->type_oid != column->source_type_id ||
            sent->typmod != column->source_typmod ||
            (flagged && sent->in_replica_identity != (column->key_index > 0)))
            return NULL;
    }
    return tr_table_ref(table);
}

static enum tr_status new_table(struct tr_pg_source *source, uint32_t oid, bool silent,
                                struct tr_table *table, struct tr_batch *batch,
                                struct tr_error *err)
{
    struct tr_schema_change create = {.kind = TR_CHANGE_CREATE_TABLE};
    struct tr_pg_known *known = NULL;
    if (tr_pg_known_add(source, oid, table, 0, 0, &known, err) != TR_OK)
        return TR_FAIL;
    known->silent = silent;
    if (silent) {
        source->known.silent_count++;
        return TR_OK;
    }
    tr_pg_known_soil(&source->known, known);
    return send_change(batch, table, &create, err);
}

enum tr_status tr_pg_announce_silent(struct tr_pg_source *source, struct tr_batch *batch,
                                     uint32_t index, struct tr_error *err)
{
    struct tr_schema_change create = {.kind = TR_CHANGE_CREATE_TABLE};
    struct tr_event row = batch->events[index], *added;
    struct tr_pg_known *known = NULL;
    if (row.table == NULL || row.op == TR_OP_SCHEMA)
        return TR_OK;
    if (tr_pg_known_find(source, (uint32_t)row.table->source_id, &known, err) != TR_OK)
        return TR_FAIL;
    if (known == NULL || !known->silent)
        return TR_OK;
    known->silent = false;
    source->known.silent_count--;
    tr_pg_known_soil(&source->known, known);
    if (tr_batch_schema_change(batch, known->table, &create, &added, err) != TR_OK)
        return TR_FAIL;
    const struct tr_schema_change *change = added->change;
    memmove(&batch->events[index + 1], &batch->events[index],
            (batch->event_count - 1 - index) * sizeof row);
    row.op = TR_OP_SCHEMA; /* stamped like the row */
    row.table = known->table;
    row.before = row.after = NULL;
    row.raw = (struct tr_slice){NULL, 0};
    row.flags = 0;
    row.change = change;
    batch->events[index] = row;
    return TR_OK;
}

/* A table that nobody was told of: a new one, or a partition of a captured root. */
static enum tr_status meet(struct tr_pg_source *source, const struct tr_pgoutput_relation *relation,
                           bool held, struct tr_batch *batch, const struct tr_table **table,
                           struct tr_error *err)
{
    struct tr_table_id own_id = {source->settings.database, relation->namespace, relation->name};
    struct tr_pg_ancestor root;
    struct tr_pgoutput_relation described = *relation;
    bool by_leaves = source->server.version < TR_PG_VIA_ROOT_VERSION;
    struct tr_arena arena;
    struct tr_table *now = NULL;
    enum tr_status status = TR_FAIL;
    tr_arena_init(&arena, 1024, 0);
    if (find_captured_root(source, relation->oid, held, &arena, &root, err) != TR_OK)
        goto cleanup;
    if (!tr_pg_settings_match(&source->settings, &own_id) && !(root.oid != 0 && by_leaves)) {
        status = TR_OK; /* not captured */
        goto cleanup;
    }
    if (root.oid != 0 && by_leaves) { /* its rows are the root's */
        described.namespace = root.schema;
        described.name = root.table;
    }
    if (held && root.oid == 0)
        now = as_described(source, relation);
    if (now == NULL && build_with_retry(source, &described, by_leaves ? root.oid : 0, NULL, false,
                                        held, &now, err) != TR_OK)
        goto cleanup;
    status = new_table(source, relation->oid, root.oid != 0 && !by_leaves, now, batch, err);
    if (status == TR_OK)
        *table = tr_table_ref(now);
cleanup:
    tr_table_unref(now);
    tr_arena_free(&arena);
    return status;
}

/* The next version of a table that the sinks know. */
static enum tr_status compare(struct tr_pg_source *source, struct tr_pg_known *known,
                              uint64_t commit_lsn, struct tr_table *now, struct tr_batch *batch,
                              const struct tr_table **table, struct tr_error *err)
{
    const struct tr_table *before = known->table;
    bool changed = false;
    *table = now;
    if (commit_lsn < known->skip_lsn)
        return TR_OK;
    if (commit_lsn < known->soft_lsn)
        return send_missing(before, now, batch, err);
    if (send_difference(before, now, batch, source->settings.options->schema_change, &changed,
                        err) != TR_OK)
        return TR_FAIL;
    bool same = !changed && before->column_count == now->column_count &&
                before->replica_identity == now->replica_identity &&
                before->key_is_primary == now->key_is_primary;
    if (same)
        *table = before; /* one version, one object */
    else
        set_known(source, known, now);
    return TR_OK;
}

enum tr_status tr_pg_relation_message(struct tr_pg_source *source,
                                      const struct tr_pgoutput_relation *relation,
                                      uint64_t commit_lsn, struct tr_batch *batch,
                                      const struct tr_table **table, struct tr_error *err)
{
    struct tr_pgoutput_relation described = *relation;
    struct tr_pg_known *known = NULL;
    struct tr_table *now = NULL;
    *table = NULL;
    if (tr_pg_known_find(source, relation->oid, &known, err) != TR_OK)
        return TR_FAIL;
    bool held = tr_pg_ahead_covers(source, relation->oid, commit_lsn);
    if (known == NULL)
        return meet(source, relation, held, batch, table, err);
    bool leaf = known->table->source_id != relation->oid; /* it goes by its root's name */
    bool soft = commit_lsn < known->soft_lsn || commit_lsn < known->skip_lsn;
    if (leaf) {
        described.namespace = known->table->id.schema;
        described.name = known->table->id.table;
    }
    if (build_with_retry(source, &described, leaf ? (uint32_t)known->table->source_id : 0,
                         known->table, soft, held, &now, err) != TR_OK)
        return TR_FAIL;
    enum tr_status status = TR_OK;
    if (known->silent) {
        tr_table_unref(known->table);
        known->table = tr_table_ref(now);
        *table = now;
    } else {
        status = compare(source, known, commit_lsn, now, batch, table, err);
    }
    if (status == TR_OK)
        *table = tr_table_ref(*table);
    else
        *table = NULL;
    tr_table_unref(now);
    return status;
}
