/* Types and columns.
 *
 * Built-in types are known by oid (decode/pg_types). The others are asked from the catalog once:
 * domains become their base type, enums keep their labels, arrays name their element, and
 * everything else is text as the server prints it. citext is a string, hstore is HSTORE.
 *
 * Defaults: `ALTER TABLE … ADD COLUMN … DEFAULT` of a constant stores the value in attmissingval;
 * it is what the rows that were there before show, so it is what a target must fill in, and it
 * belongs to the attribute, whatever its name is by now. Otherwise the default's expression is
 * taken if it is one plain literal; expressions are never evaluated.
 *
 * Thread: the one that owns the connection. */
#include "source/postgres/types.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/outbuf.h"
#include "decode/pg_types.h"

#define TYPE_NAME_BYTES_MAX 256
#define TYPE_DEPTH_MAX 8 /* domain over domain over array of domain … */

struct tr_pg_user_type {
    struct tr_pg_user_type *next;
    uint32_t oid;
    int32_t typmod;
    struct tr_column column; /* the type's fields only */
};

void tr_pg_types_init(struct tr_pg_types *types)
{
    *types = (struct tr_pg_types){0};
    tr_arena_init(&types->arena, 4096, 0);
}

void tr_pg_types_free(struct tr_pg_types *types)
{
    if (types->arena.block_bytes != 0)
        tr_arena_free(&types->arena);
    types->first = NULL;
}

void tr_pg_types_clear(struct tr_pg_types *types)
{
    tr_arena_reset(&types->arena);
    types->first = NULL;
}

static void copy_type(struct tr_column *to, const struct tr_column *from)
{
    to->type = from->type;
    to->elem_type = from->elem_type;
    to->source_type = from->source_type;
    to->source_type_base = from->source_type_base;
    to->source_type_id = from->source_type_id;
    to->source_typmod = from->source_typmod;
    to->precision = from->precision;
    to->scale = from->scale;
    to->length = from->length;
    to->enum_labels = from->enum_labels;
}

static enum tr_status no_memory(struct tr_error *err)
{
    return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for a table's schema");
}

static enum tr_status resolve(struct tr_pg_types *types, struct tr_pg_conn *conn, uint32_t oid,
                              int32_t typmod, unsigned depth, struct tr_column *column,
                              struct tr_error *err);

static enum tr_status set_names(struct tr_arena *arena, struct tr_column *column, const char *name,
                                const char *base, struct tr_error *err)
{
    column->source_type = tr_arena_strdup(arena, name);
    column->source_type_base = tr_arena_strdup(arena, base);
    return column->source_type == NULL || column->source_type_base == NULL ? no_memory(err) : TR_OK;
}

/* Columns of the query in ask(). */
enum { T_SCHEMA, T_NAME, T_KIND, T_CATEGORY, T_BASE, T_BASE_TYPMOD, T_ELEM, T_FORMAT, T_LABELS };

static enum tr_status of_row(struct tr_pg_types *types, struct tr_pg_conn *conn,
                             const PGresult *row, uint32_t oid, int32_t typmod, unsigned depth,
                             struct tr_column *column, struct tr_error *err)
{
    const char *name = tr_pg_text(row, 0, T_NAME);
    char kind = tr_pg_text(row, 0, T_KIND)[0];
    uint32_t elem = (uint32_t)tr_pg_int(row, 0, T_ELEM);
    column->source_type_id = oid;
    column->source_typmod = typmod;
    column->elem_type = TR_T_OTHER;
    if (kind == 'd') /* a domain is what it stands for; its checks are the source's */
        return resolve(types, conn, (uint32_t)tr_pg_int(row, 0, T_BASE),
                       (int32_t)tr_pg_int(row, 0, T_BASE_TYPMOD), depth + 1, column, err);
    if (kind == 'b' && tr_pg_text(row, 0, T_CATEGORY)[0] == 'A' && elem != 0) {
        struct tr_column element = {0};
        char full[TYPE_NAME_BYTES_MAX], base[TYPE_NAME_BYTES_MAX];
        if (resolve(types, conn, elem, typmod, depth + 1, &element, err) != TR_OK)
            return TR_FAIL;
        column->type = TR_T_ARRAY;
        column->elem_type = element.type;
        column->scale = element.scale;
        column->precision = element.precision;
        column->enum_labels = element.enum_labels;
        (void)snprintf(full, sizeof full, "%.250s[]", element.source_type);
        (void)snprintf(base, sizeof base, "%.250s[]", element.source_type_base);
        return set_names(&types->arena, column, full, base, err);
    }
    column->type = TR_T_OTHER;
    if (kind == 'e') {
        column->type = TR_T_ENUM;
        column->enum_labels = tr_arena_strdup(&types->arena, tr_pg_text(row, 0, T_LABELS));
        if (column->enum_labels == NULL)
            return no_memory(err);
    } else if (kind == 'b' && strcmp(name, "citext") == 0) {
        column->type = TR_T_STRING;
    } else if (kind == 'b' && strcmp(name, "hstore") == 0) {
        column->type = TR_T_HSTORE;
    }
    return set_names(&types->arena, column, tr_pg_text(row, 0, T_FORMAT), name, err);
}

static enum tr_status ask(struct tr_pg_types *types, struct tr_pg_conn *conn, uint32_t oid,
                          int32_t typmod, unsigned depth, struct tr_column *column,
                          struct tr_error *err)
{
    char oid_text[16], typmod_text[16];
    (void)snprintf(oid_text, sizeof oid_text, "%u", oid);
    (void)snprintf(typmod_text, sizeof typmod_text, "%d", typmod);
    const char *params[] = {oid_text, typmod_text};
    PGresult *row = NULL;
    enum tr_status status = tr_pg_query(
        conn, "read a type from the catalog",
        "SELECT n.nspname, t.typname, t.typtype, t.typcategory, t.typbasetype, t.typtypmod, "
        "t.typelem, pg_catalog.format_type(t.oid, $2::int4), "
        "(SELECT string_agg(e.enumlabel, E'\\n' ORDER BY e.enumsortorder) "
        "FROM pg_catalog.pg_enum e WHERE e.enumtypid = t.oid) "
        "FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace "
        "WHERE t.oid = $1::oid",
        2, params, &row, err);
    if (status != TR_OK)
        return TR_FAIL;
    if (PQntuples(row) == 1) {
        status = of_row(types, conn, row, oid, typmod, depth, column, err);
    } else {
        column->type = TR_T_OTHER;
        column->elem_type = TR_T_OTHER;
        column->source_type_id = oid;
        column->source_typmod = typmod;
        status = set_names(&types->arena, column, "unknown", "unknown", err);
    }
    PQclear(row);
    return status;
}

/* TR_AGAIN: it is not built in. */
static enum tr_status resolve_built_in(uint32_t oid, int32_t typmod, struct tr_arena *arena,
                                       struct tr_column *column, struct tr_error *err)
{
    char name[TYPE_NAME_BYTES_MAX], base[TYPE_NAME_BYTES_MAX];
    if (!tr_pg_type_resolve(oid, typmod, column, name, sizeof name, base, sizeof base))
        return TR_AGAIN;
    return set_names(arena, column, name, base, err);
}

static enum tr_status resolve(struct tr_pg_types *types, struct tr_pg_conn *conn, uint32_t oid,
                              int32_t typmod, unsigned depth, struct tr_column *column,
                              struct tr_error *err)
{
    enum tr_status built_in = resolve_built_in(oid, typmod, &types->arena, column, err);
    if (built_in != TR_AGAIN)
        return built_in;
    for (struct tr_pg_user_type *known = types->first; known != NULL; known = known->next) {
        if (known->oid == oid && known->typmod == typmod) {
            copy_type(column, &known->column);
            return TR_OK;
        }
    }
    if (depth > TYPE_DEPTH_MAX)
        return tr_fail(err, TR_E_PG_QUERY, "the type with oid %u is nested too deeply", oid);
    struct tr_pg_user_type *type =
        tr_arena_alloc(&types->arena, sizeof *type, _Alignof(struct tr_pg_user_type));
    if (type == NULL)
        return no_memory(err);
    memset(type, 0, sizeof *type);
    type->oid = oid;
    type->typmod = typmod;
    if (ask(types, conn, oid, typmod, depth, &type->column, err) != TR_OK)
        return TR_FAIL;
    type->next = types->first;
    types->first = type;
    copy_type(column, &type->column);
    return TR_OK;
}

enum tr_status tr_pg_types_resolve(struct tr_pg_types *types, struct tr_pg_conn *conn, uint32_t oid,
                                   int32_t typmod, struct tr_arena *arena, struct tr_column *column,
                                   struct tr_error *err)
{
    enum tr_status built_in = resolve_built_in(oid, typmod, arena, column, err);
    if (built_in != TR_AGAIN)
        return built_in;
    if (resolve(types, conn, oid, typmod, 0, column, err) != TR_OK)
        return TR_FAIL;
    column->source_type = tr_arena_strdup(arena, column->source_type);
    column->source_type_base = tr_arena_strdup(arena, column->source_type_base);
    if (column->enum_labels != NULL)
        column->enum_labels = tr_arena_strdup(arena, column->enum_labels);
    return column->source_type == NULL || column->source_type_base == NULL ? no_memory(err) : TR_OK;
}

/* ---- defaults ------------------------------------------------------------------------------- */

/* Behind a literal only one cast may stand: ::numeric(10,2), ::character varying,
 * ::public."Mood"[]. */
static bool is_cast_or_end(const char *at)
{
    if (*at == '\0')
        return true;
    if (at[0] != ':' || at[1] != ':')
        return false;
    bool quoted = false;
    for (at += 2; *at != '\0'; at++) {
        if (*at == '"')
            quoted = !quoted;
        else if (!quoted && (isalnum((unsigned char)*at) == 0 && strchr(" _.,()[]", *at) == NULL &&
                             (unsigned char)*at < 0x80))
            return false;
    }
    return !quoted;
}

static const char *quoted_literal(struct tr_arena *arena, const char *at, bool escapes)
{
    char *text = tr_arena_alloc(arena, strlen(at) + 1, 1);
    size_t len = 0;
    if (text == NULL)
        return NULL;
    for (at++; *at != '\0'; at++) {
        if (*at == '\'' && at[1] != '\'')
            break;
        if (*at == '\'')
            at++;
        else if (escapes && *at == '\\') {
            if (at[1] != '\\')
                return NULL; /* \n and the like: pg_get_expr does not write them */
            at++;
        }
        text[len++] = *at;
    }
    if (*at != '\'' || !is_cast_or_end(at + 1))
        return NULL;
    text[len] = '\0';
    return text;
}

const char *tr_pg_default_literal(struct tr_arena *arena, const char *expression)
{
    const char *at = expression;
    if (at == NULL || *at == '\0')
        return NULL;
    if (*at == '\'')
        return quoted_literal(arena, at, false);
    if ((*at == 'E' || *at == 'B') && at[1] == '\'')
        return quoted_literal(arena, at + 1, *at == 'E');
    if (strcmp(at, "true") == 0)
        return "t";
    if (strcmp(at, "false") == 0)
        return "f";
    bool wrapped = *at == '(';
    const char *number = wrapped ? at + 1 : at;
    size_t len = number[0] == '-' ? 1 : 0;
    size_t digits = strspn(number + len, "0123456789");
    len += digits;
    if (number[len] == '.') {
        size_t fraction = strspn(number + len + 1, "0123456789");
        digits += fraction;
        len += 1 + fraction;
    }
    if (digits == 0 || (wrapped && number[len] != ')') ||
        !is_cast_or_end(number + len + (wrapped ? 1 : 0)))
        return NULL;
    return tr_arena_strndup(arena, number, len);
}

/* ---- attributes ----------------------------------------------------------------------------- */

static bool put_oids(struct tr_outbuf *out, const uint32_t *oids, size_t oid_count)
{
    tr_outbuf_byte(out, '{');
    for (size_t i = 0; i < oid_count; i++) {
        if (i > 0)
            tr_outbuf_byte(out, ',');
        tr_outbuf_u64(out, oids[i]);
    }
    tr_outbuf_byte(out, '}');
    return tr_outbuf_cstr(out)[0] == '{';
}

enum {
    A_ORD,
    A_ATTNUM,
    A_NAME,
    A_TYPE,
    A_TYPMOD,
    A_NOT_NULL,
    A_DROPPED,
    A_IDENTITY,
    A_GENERATED,
    A_MISSING,
    A_DEFAULT,
    A_PRIMARY,
    A_REPLICA
};

static enum tr_status read_attr(const PGresult *rows, int row, struct tr_arena *arena,
                                struct tr_pg_attr *attr, struct tr_error *err)
{
    memset(attr, 0, sizeof *attr);
    attr->attnum = (int32_t)tr_pg_int(rows, row, A_ATTNUM);
    attr->name = tr_arena_strdup(arena, tr_pg_text(rows, row, A_NAME));
    attr->type_oid = (uint32_t)tr_pg_int(rows, row, A_TYPE);
    attr->typmod = (int32_t)tr_pg_int(rows, row, A_TYPMOD);
    attr->not_null = tr_pg_bool(rows, row, A_NOT_NULL);
    attr->dropped = tr_pg_bool(rows, row, A_DROPPED);
    attr->identity = tr_pg_text(rows, row, A_IDENTITY)[0];
    attr->generated = tr_pg_text(rows, row, A_GENERATED)[0];
    attr->primary_index = (uint16_t)tr_pg_int(rows, row, A_PRIMARY);
    attr->identity_index = (uint16_t)tr_pg_int(rows, row, A_REPLICA);
    if (!PQgetisnull(rows, row, A_MISSING))
        attr->default_text = tr_arena_strdup(arena, tr_pg_text(rows, row, A_MISSING));
    else if (!PQgetisnull(rows, row, A_DEFAULT))
        attr->default_text = tr_pg_default_literal(arena, tr_pg_text(rows, row, A_DEFAULT));
    return attr->name == NULL ? no_memory(err) : TR_OK;
}

enum tr_status tr_pg_attrs_load(struct tr_pg_conn *conn, const uint32_t *oids, size_t oid_count,
                                struct tr_arena *arena, struct tr_pg_attrs *attrs,
                                struct tr_error *err)
{
    struct tr_outbuf list = {0};
    PGresult *rows = NULL;
    enum tr_status status = TR_FAIL;
    for (size_t i = 0; i < oid_count; i++)
        attrs[i] = (struct tr_pg_attrs){.relid = oids[i]};
    if (!put_oids(&list, oids, oid_count)) {
        (void)no_memory(err);
        goto cleanup;
    }
    const char *params[] = {list.data};
    if (tr_pg_query(
            conn, "read the columns from the catalog",
            "SELECT o.ord, a.attnum, a.attname, a.atttypid, "
            "a.atttypmod, "
            "a.attnotnull, a.attisdropped, a.attidentity, a.attgenerated, "
            "CASE WHEN a.atthasmissing THEN (a.attmissingval::text::text[])[1] END, "
            "CASE WHEN a.atthasdef AND a.attgenerated = '' "
            "THEN pg_catalog.pg_get_expr(d.adbin, d.adrelid) END, p.ord, r.ord "
            "FROM unnest($1::oid[]) WITH ORDINALITY o(oid, ord) "
            "JOIN pg_catalog.pg_class c ON c.oid = o.oid "
            "JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 "
            "LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum "
            "LEFT JOIN LATERAL (SELECT k.ord FROM pg_catalog.pg_index i, "
            "unnest(i.indkey::int2[]) WITH ORDINALITY k(attnum, ord) WHERE i.indrelid = c.oid "
            "AND i.indisprimary AND k.ord <= i.indnkeyatts AND k.attnum = a.attnum LIMIT 1) p ON "
            "true "
            "LEFT JOIN LATERAL (SELECT k.ord FROM pg_catalog.pg_index i, "
            "unnest(i.indkey::int2[]) WITH ORDINALITY k(attnum, ord) WHERE i.indrelid = c.oid "
            "AND i.indisreplident AND k.ord <= i.indnkeyatts AND k.attnum = a.attnum LIMIT 1) r "
            "ON true ORDER BY o.ord, a.attnum",
            1, params, &rows, err) != TR_OK)
        goto cleanup;
    int row_count = PQntuples(rows);
    for (int row = 0; row < row_count;) {
        int64_t place = tr_pg_int(rows, row, A_ORD);
        int end = row;
        while (end < row_count && tr_pg_int(rows, end, A_ORD) == place)
            end++;
        if (place < 1 || (size_t)place > oid_count) {
            (void)tr_fail(err, TR_E_PG_PROTOCOL, "the catalog answered for a table not asked for");
            goto cleanup;
        }
        struct tr_pg_attrs *own = &attrs[place - 1];
        size_t count = (size_t)(end - row);
        own->items = tr_arena_alloc(arena, count * sizeof *own->items, _Alignof(struct tr_pg_attr));
        if (own->items == NULL) {
            (void)no_memory(err);
            goto cleanup;
        }
        for (; row < end; row++) {
            if (read_attr(rows, row, arena, &own->items[own->count++], err) != TR_OK)
                goto cleanup;
        }
    }
    status = TR_OK;
cleanup:
    PQclear(rows);
    tr_outbuf_free(&list);
    return status;
}

enum tr_status tr_pg_ancestors_load(struct tr_pg_conn *conn, const uint32_t *oids, size_t oid_count,
                                    struct tr_arena *arena, struct tr_pg_ancestor **ancestors,
                                    size_t *ancestor_count, struct tr_error *err)
{
    struct tr_outbuf list = {0};
    PGresult *rows = NULL;
    enum tr_status status = TR_FAIL;
    *ancestors = NULL;
    *ancestor_count = 0;
    if (!put_oids(&list, oids, oid_count)) {
        (void)no_memory(err);
        goto cleanup;
    }
    const char *params[] = {list.data};
    if (tr_pg_query(conn, "read the partitions' roots",
                    "WITH RECURSIVE up(leaf, oid, depth) AS (SELECT inhrelid, inhparent, 1 FROM "
                    "pg_catalog.pg_inherits i JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid "
                    "WHERE i.inhrelid = ANY($1::oid[]) AND c.relispartition UNION ALL "
                    "SELECT up.leaf, i.inhparent, up.depth + 1 FROM pg_catalog.pg_inherits i "
                    "JOIN up ON i.inhrelid = up.oid) "
                    "SELECT up.leaf, c.oid, n.nspname, c.relname FROM up JOIN pg_catalog.pg_class "
                    "c ON c.oid = up.oid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
                    "ORDER BY up.leaf, up.depth",
                    1, params, &rows, err) != TR_OK)
        goto cleanup;
    size_t count = (size_t)PQntuples(rows);
    struct tr_pg_ancestor *items =
        tr_arena_alloc(arena, (count + 1) * sizeof *items, _Alignof(struct tr_pg_ancestor));
    for (size_t i = 0; items != NULL && i < count; i++) {
        int row = (int)i;
        items[i] =
            (struct tr_pg_ancestor){.leaf_oid = (uint32_t)tr_pg_int(rows, row, 0),
                                    .oid = (uint32_t)tr_pg_int(rows, row, 1),
                                    .schema = tr_arena_strdup(arena, tr_pg_text(rows, row, 2)),
                                    .table = tr_arena_strdup(arena, tr_pg_text(rows, row, 3))};
        if (items[i].schema == NULL || items[i].table == NULL)
            items = NULL;
    }
    if (items == NULL) {
        (void)no_memory(err);
        goto cleanup;
    }
    *ancestors = items;
    *ancestor_count = count;
    status = TR_OK;
cleanup:
    PQclear(rows);
    tr_outbuf_free(&list);
    return status;
}

/* ---- tables --------------------------------------------------------------------------------- */

static uint16_t attr_key_index(const struct tr_pg_sent_column *column, bool by_identity)
{
    if (column->attr == NULL)
        return 0;
    return by_identity ? column->attr->identity_index : column->attr->primary_index;
}

/* The catalog's key, if all its columns are sent and (in the stream, where the flags say what a
 * DELETE carries) it is the flagged set. */
static bool catalog_key_fits(const struct tr_pg_sent_table *sent, bool by_identity)
{
    uint16_t want = by_identity ? sent->identity_count : sent->primary_count, have = 0;
    bool flags_count = sent->from_stream && (sent->replica_identity == 'd' || by_identity);
    for (size_t i = 0; i < sent->column_count; i++) {
        bool in_key = attr_key_index(&sent->columns[i], by_identity) > 0;
        if (flags_count && in_key != sent->columns[i].in_replica_identity)
            return false;
        have = (uint16_t)(have + in_key);
    }
    return want > 0 && have == want;
}

static bool before_key_fits(const struct tr_pg_sent_table *sent)
{
    bool any = false;
    for (size_t i = 0; i < sent->column_count; i++) {
        const struct tr_column *before = sent->columns[i].before;
        if ((before != NULL && before->key_index > 0) != sent->columns[i].in_replica_identity)
            return false;
        any |= sent->columns[i].in_replica_identity;
    }
    return any;
}

static void choose_key(const struct tr_pg_sent_table *sent, struct tr_column *columns,
                       bool *is_primary)
{
    bool by_identity = sent->replica_identity == 'i';
    bool flagged =
        sent->from_stream && (sent->replica_identity == 'd' || sent->replica_identity == 'i');
    uint16_t place = 0;
    *is_primary = !by_identity;
    if (catalog_key_fits(sent, by_identity)) {
        bool same = sent->primary_count == sent->identity_count;
        for (size_t i = 0; i < sent->column_count; i++) {
            columns[i].key_index = attr_key_index(&sent->columns[i], by_identity);
            same = same && attr_key_index(&sent->columns[i], true) ==
                               attr_key_index(&sent->columns[i], false);
        }
        *is_primary = *is_primary || same;
    } else if (flagged && before_key_fits(sent)) {
        for (size_t i = 0; i < sent->column_count; i++)
            columns[i].key_index =
                sent->columns[i].before == NULL ? 0 : sent->columns[i].before->key_index;
    } else if (flagged) { /* the catalog is ahead of the log: column order */
        for (size_t i = 0; i < sent->column_count; i++)
            columns[i].key_index = sent->columns[i].in_replica_identity ? ++place : 0;
    }
    if (place == 0) {
        bool any = false;
        for (size_t i = 0; i < sent->column_count; i++)
            any |= columns[i].key_index > 0;
        *is_primary = *is_primary && any;
    }
}

/* A key column may have been dropped since: places become 1, 2, … again. */
static void close_gaps(struct tr_column *columns, size_t column_count)
{
    uint32_t last = 0;
    for (uint16_t place = 1;; place++) {
        size_t next = column_count;
        for (size_t i = 0; i < column_count; i++) {
            uint16_t at = columns[i].key_index;
            if (at > last && (next == column_count || at < columns[next].key_index))
                next = i;
        }
        if (next == column_count)
            return;
        last = columns[next].key_index;
        columns[next].key_index = place;
    }
}

static void fill_column(const struct tr_pg_sent_column *sent, struct tr_column *column)
{
    column->name = sent->name;
    column->nullable = true;
    column->source_attnum = sent->attnum;
    if (sent->attr != NULL) {
        column->source_attnum = sent->attr->attnum;
        column->nullable = !sent->attr->not_null;
        column->generated = sent->attr->generated != '\0';
        column->identity_always = sent->attr->identity == 'a';
        column->identity_by_default = sent->attr->identity == 'd';
        column->default_value = sent->attr->default_text;
    } else if (sent->before != NULL) {
        column->nullable = sent->before->nullable;
        column->generated = sent->before->generated;
        column->identity_always = sent->before->identity_always;
        column->identity_by_default = sent->before->identity_by_default;
        column->default_value = sent->before->default_value;
    }
}

enum tr_status tr_pg_table_build(struct tr_pg_types *types, struct tr_pg_conn *conn,
                                 const struct tr_pg_sent_table *sent, struct tr_table **table,
                                 struct tr_error *err)
{
    struct tr_arena arena;
    enum tr_status status = TR_FAIL;
    tr_arena_init(&arena, 8192, 0);
    struct tr_table spec = {.id = sent->id,
                            .source_id = sent->oid,
                            .version = sent->version,
                            .column_count = (uint16_t)sent->column_count,
                            .replica_identity = (enum tr_replica_identity)sent->replica_identity};
    if (sent->column_count > UINT16_MAX) {
        (void)tr_fail(err, TR_E_PG_PROTOCOL, "a table with too many columns");
        goto cleanup;
    }
    struct tr_column *columns = tr_arena_alloc(&arena, (sent->column_count + 1) * sizeof *columns,
                                               _Alignof(struct tr_column));
    if (columns == NULL) {
        (void)no_memory(err);
        goto cleanup;
    }
    memset(columns, 0, (sent->column_count + 1) * sizeof *columns);
    for (size_t i = 0; i < sent->column_count; i++) {
        if (tr_pg_types_resolve(types, conn, sent->columns[i].type_oid, sent->columns[i].typmod,
                                &arena, &columns[i], err) != TR_OK)
            goto cleanup;
        fill_column(&sent->columns[i], &columns[i]);
    }
    choose_key(sent, columns, &spec.key_is_primary);
    close_gaps(columns, sent->column_count);
    spec.columns = columns;
    status = tr_table_new(&spec, table, err);
cleanup:
    tr_arena_free(&arena);
    return status;
}
