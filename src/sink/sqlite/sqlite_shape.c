/* What a target table looks like, and whether it can take the source's rows unchanged. Reads the
 * catalog only. SQLite compares names without regard to the case of ASCII letters. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "encode/version_key.h"
#include "sqlite_internal.h"

/* ---- loading -------------------------------------------------------------------------------- */

static const char *column_copy(struct tr_arena *arena, sqlite3_stmt *stmt, int index)
{
    const char *text = (const char *)sqlite3_column_text(stmt, index);
    return tr_arena_strdup(arena, text != NULL ? text : "");
}

static enum tr_status load_columns(sqlite3 *db, struct shape *shape, struct tr_error *err)
{
    sqlite3_stmt *stmt = NULL;
    enum tr_status status =
        tr_sqlite_prepare(db,
                          "SELECT name, type, \"notnull\", dflt_value, pk, hidden "
                          "FROM pragma_table_xinfo(?1)",
                          false, &stmt, "read a target table's columns", err);
    if (status != TR_OK)
        return status;
    (void)sqlite3_bind_text(stmt, 1, shape->name, -1, SQLITE_STATIC);
    size_t capacity = SQLITE_COLUMNS_MAX;
    shape->columns = tr_arena_alloc(&shape->arena, capacity * sizeof *shape->columns,
                                    _Alignof(struct shape_column));
    if (shape->columns == NULL) {
        status = tr_sqlite_no_memory(err);
        goto cleanup;
    }
    int rc;
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW && shape->count < capacity) {
        struct shape_column *column = &shape->columns[shape->count];
        *column = (struct shape_column){0};
        column->name = column_copy(&shape->arena, stmt, 0);
        column->declared = column_copy(&shape->arena, stmt, 1);
        column->not_null = sqlite3_column_int(stmt, 2) != 0;
        if (sqlite3_column_type(stmt, 3) != SQLITE_NULL)
            column->default_sql = column_copy(&shape->arena, stmt, 3);
        column->pk = sqlite3_column_int(stmt, 4);
        column->generated = sqlite3_column_int(stmt, 5) >= 2;
        if (column->name == NULL || column->declared == NULL) {
            status = tr_sqlite_no_memory(err);
            goto cleanup;
        }
        column->affinity = tr_sqlite_affinity(column->declared);
        shape->pk_count += column->pk > 0;
        shape->count++;
    }
    if (rc != SQLITE_DONE && rc != SQLITE_ROW)
        status = tr_sqlite_fail(err, db, rc, "read a target table's columns");
cleanup:
    (void)sqlite3_finalize(stmt);
    return status;
}

enum tr_status tr_sqlite_shape_load(sqlite3 *db, const char *name, struct shape *shape,
                                    struct tr_error *err)
{
    sqlite3_stmt *stmt = NULL;
    *shape = (struct shape){0};
    tr_arena_init(&shape->arena, 16 << 10, 0);
    enum tr_status status =
        tr_sqlite_prepare(db,
                          "SELECT name, type, sql FROM sqlite_schema "
                          "WHERE name = ?1 COLLATE NOCASE AND type IN ('table','view')",
                          false, &stmt, "look up a target table", err);
    if (status != TR_OK)
        goto cleanup;
    (void)sqlite3_bind_text(stmt, 1, name, -1, SQLITE_STATIC);
    int rc = sqlite3_step(stmt);
    if (rc == SQLITE_DONE) {
        status = TR_END;
        goto cleanup;
    }
    if (rc != SQLITE_ROW) {
        status = tr_sqlite_fail(err, db, rc, "look up a target table");
        goto cleanup;
    }
    shape->name = column_copy(&shape->arena, stmt, 0);
    shape->is_view = strcmp((const char *)sqlite3_column_text(stmt, 1), "view") == 0;
    shape->sql = column_copy(&shape->arena, stmt, 2);
    status = shape->name == NULL || shape->sql == NULL ? tr_sqlite_no_memory(err)
                                                       : load_columns(db, shape, err);
cleanup:
    (void)sqlite3_finalize(stmt);
    if (status != TR_OK)
        tr_sqlite_shape_free(shape);
    return status;
}

void tr_sqlite_shape_free(struct shape *shape)
{
    tr_arena_free(&shape->arena);
    *shape = (struct shape){0};
}

int tr_sqlite_shape_column(const struct shape *shape, const char *name)
{
    for (size_t i = 0; i < shape->count; i++) {
        if (sqlite3_stricmp(shape->columns[i].name, name) == 0)
            return (int)i;
    }
    return -1;
}

/* ---- checks --------------------------------------------------------------------------------- */

enum tr_status tr_sqlite_check_version(const struct tr_table *table, struct tr_error *err)
{
    if (table->key_count > 0 && table->version_column <= table->column_count &&
        tr_version_type(table->columns[table->version_column - 1].type))
        return TR_OK;
    if (table->key_count == 0 || table->version_column > table->column_count)
        (void)tr_fail(err, TR_E_SINK_VERSION_COLUMN,
                      "\"%.100s\" has no key: last write wins has nothing to compare",
                      table->id.table);
    else
        (void)tr_fail(err, TR_E_SINK_VERSION_COLUMN,
                      "\"%.63s\" of \"%.63s\" cannot be a version: %s has no order",
                      table->columns[table->version_column - 1].name, table->id.table,
                      tr_type_name(table->columns[table->version_column - 1].type));
    return tr_hint(err, "%s", tr_error_info(TR_E_SINK_VERSION_COLUMN)->remedy);
}

enum tr_status tr_sqlite_check_names(const struct tr_table *table, struct tr_error *err)
{
    const char *name = table->id.table;
    if (name[0] == '\0' || sqlite3_strnicmp(name, "sqlite_", 7) == 0 ||
        sqlite3_stricmp(name, POSITION_TABLE) == 0) {
        (void)tr_fail(err, TR_E_SQLITE_NAME_RESERVED, "the name \"%.100s\" is reserved", name);
        return tr_hint(err, "add a route: {source-table: '%.100s.%.100s', sink-table: OTHER_NAME}",
                       table->id.schema, name);
    }
    if (table->column_count == 0) {
        (void)tr_fail(err, TR_E_SQLITE_STATEMENT, "table \"%.100s\" has no columns", name);
        return tr_hint(err, "leave the table out: SQLite has no tables without columns");
    }
    if (table->column_count > SQLITE_COLUMNS_MAX) {
        (void)tr_fail(err, TR_E_SQLITE_TOO_MANY_COLUMNS, "table \"%.100s\" has %u columns", name,
                      table->column_count);
        return tr_hint(err,
                       "SQLite holds at most %d: leave some out with the publication or a "
                       "transform",
                       SQLITE_COLUMNS_MAX);
    }
    for (unsigned i = 1; i < table->column_count; i++) {
        for (unsigned j = 0; j < i; j++) {
            const char *a = table->columns[j].name, *b = table->columns[i].name;
            if (sqlite3_stricmp(a, b) != 0)
                continue;
            (void)tr_fail(err, TR_E_SQLITE_COLUMN_CASE,
                          "the columns \"%.63s\" and \"%.63s\" of \"%.100s\" differ only by case",
                          a, b, name);
            return tr_hint(err, "SQLite holds them as one: rename one of the two by a route or "
                                "transform, or at the source: ALTER TABLE … RENAME COLUMN");
        }
    }
    return TR_OK;
}

/* Is there a unique index on exactly the key's columns, compared byte by byte? */
static enum tr_status find_unique_index(sqlite3 *db, const struct tr_table *table,
                                        const struct shape *shape, bool *found,
                                        struct tr_error *err)
{
    sqlite3_stmt *stmt = NULL;
    *found = false;
    enum tr_status status = tr_sqlite_prepare(
        db,
        "SELECT l.seq, x.name, x.coll FROM pragma_index_list(?1) AS l, pragma_index_xinfo(l.name) "
        "AS x WHERE l.\"unique\" = 1 AND l.partial = 0 AND x.key = 1 ORDER BY l.seq, x.seqno",
        false, &stmt, "read a target table's indexes", err);
    if (status != TR_OK)
        return status;
    (void)sqlite3_bind_text(stmt, 1, shape->name, -1, SQLITE_STATIC);
    int rc, current = -1;
    unsigned columns = 0, matching = 0;
    while (!*found && (rc = sqlite3_step(stmt)) != SQLITE_DONE) {
        if (rc != SQLITE_ROW) {
            status = tr_sqlite_fail(err, db, rc, "read a target table's indexes");
            break;
        }
        if (sqlite3_column_int(stmt, 0) != current) {
            *found = columns > 0 && columns == matching && matching == table->key_count;
            if (*found)
                break;
            current = sqlite3_column_int(stmt, 0);
            columns = matching = 0;
        }
        const char *name = (const char *)sqlite3_column_text(stmt, 1);
        const char *collation = (const char *)sqlite3_column_text(stmt, 2);
        columns++;
        for (unsigned i = 0; i < table->key_count && name != NULL && collation != NULL; i++)
            matching += sqlite3_stricmp(table->columns[table->key_columns[i]].name, name) == 0 &&
                        sqlite3_stricmp(collation, "BINARY") == 0;
    }
    if (status == TR_OK && !*found)
        *found = columns > 0 && columns == matching && matching == table->key_count;
    (void)sqlite3_finalize(stmt);
    return status;
}

static void key_list(const struct tr_table *table, char *buf, size_t buf_size)
{
    struct tr_outbuf text = {0};
    for (unsigned i = 0; i < table->key_count; i++) {
        if (i > 0)
            tr_outbuf_str(&text, ", ");
        tr_sqlite_quote(&text, table->columns[table->key_columns[i]].name);
    }
    (void)snprintf(buf, buf_size, "%s", tr_outbuf_cstr(&text));
    tr_outbuf_free(&text);
}

static enum tr_status check_key(sqlite3 *db, const struct tr_table *table,
                                const struct shape *shape, struct tr_error *err)
{
    char columns[300];
    bool found = false;
    if (table->key_count == 0) {
        if (shape->pk_count == 0)
            return TR_OK;
        (void)tr_fail(err, TR_E_SQLITE_KEY_MISMATCH,
                      "target table \"%.100s\" has a primary key and the source table has none",
                      shape->name);
        return tr_hint(err,
                       "give the source table the same primary key, or drop the target table so "
                       "that tailrace makes it");
    }
    if (shape->pk_count == 1 && table->key_count == 1) {
        int at = tr_sqlite_shape_column(shape, table->columns[table->key_columns[0]].name);
        if (at >= 0 && shape->columns[at].pk == 1 &&
            sqlite3_stricmp(shape->columns[at].declared, "INTEGER") == 0)
            return TR_OK; /* the rowid itself: no index is listed */
    }
    if (find_unique_index(db, table, shape, &found, err) != TR_OK)
        return TR_FAIL;
    if (found)
        return TR_OK;
    key_list(table, columns, sizeof columns);
    (void)tr_fail(err, TR_E_SQLITE_KEY_MISMATCH,
                  "target table \"%.100s\" has no unique index on the source's key (%s)",
                  shape->name, columns);
    struct tr_outbuf quoted = {0};
    tr_sqlite_quote(&quoted, shape->name);
    (void)tr_hint(err, "CREATE UNIQUE INDEX \"tailrace_key\" ON %.200s (%s);",
                  tr_outbuf_cstr(&quoted), columns);
    tr_outbuf_free(&quoted);
    return TR_FAIL;
}

int tr_sqlite_check_types(const struct tr_table *table, const struct shape *shape)
{
    for (int i = 0; i < table->column_count; i++) {
        const struct tr_column *column = &table->columns[i];
        int at = tr_sqlite_shape_column(shape, column->name);
        if (at >= 0 && !tr_sqlite_affinity_keeps(shape->columns[at].affinity, column->type,
                                                 column->key_index > 0))
            return i;
    }
    return -1;
}

static enum tr_status check_extra(const struct tr_table *table, const struct shape *shape,
                                  struct tr_error *err)
{
    for (size_t i = 0; i < shape->count; i++) {
        const struct shape_column *have = &shape->columns[i];
        bool wanted = false;
        for (unsigned j = 0; j < table->column_count && !wanted; j++)
            wanted = sqlite3_stricmp(table->columns[j].name, have->name) == 0;
        if (wanted && have->generated) {
            (void)tr_fail(err, TR_E_SQLITE_COLUMN_EXTRA,
                          "column \"%.63s\" of target table \"%.100s\" is GENERATED", have->name,
                          shape->name);
            return tr_hint(err, "%s", tr_error_info(TR_E_SQLITE_COLUMN_EXTRA)->remedy);
        }
        if (!wanted && have->not_null && have->default_sql == NULL && !have->generated) {
            (void)tr_fail(
                err, TR_E_SQLITE_COLUMN_EXTRA,
                "target table \"%.100s\" has a column \"%.63s\" that is NOT NULL and that "
                "the source lacks",
                shape->name, have->name);
            return tr_hint(err, "%s", tr_error_info(TR_E_SQLITE_COLUMN_EXTRA)->remedy);
        }
    }
    return TR_OK;
}

enum tr_status tr_sqlite_check_target(sqlite3 *db, const struct tr_table *table,
                                      const struct shape *shape, struct tr_error *err)
{
    if (shape->is_view) {
        (void)tr_fail(err, TR_E_SQLITE_TABLE_EXISTS, "\"%.100s\" is a view in the target",
                      shape->name);
        return tr_hint(err, "drop the view, or route the table to another name");
    }
    if (strcmp(shape->name, table->id.table) != 0) {
        (void)tr_fail(
            err, TR_E_SQLITE_TABLE_CASE,
            "the target has a table \"%.100s\", which differs from \"%.100s\" only by case",
            shape->name, table->id.table);
        return tr_hint(err,
                       "SQLite holds them as one: route the table to another name; or rename the "
                       "target's: ALTER TABLE … RENAME TO");
    }
    if (check_key(db, table, shape, err) != TR_OK || check_extra(table, shape, err) != TR_OK)
        return TR_FAIL;
    int bad = tr_sqlite_check_types(table, shape);
    if (bad < 0)
        return TR_OK;
    const struct tr_column *column = &table->columns[bad];
    int at = tr_sqlite_shape_column(shape, column->name);
    (void)tr_fail(
        err, TR_E_SQLITE_COLUMN_TYPE,
        "column \"%.63s\" of target table \"%.100s\" is declared %.40s, which would change "
        "%s values",
        column->name, shape->name,
        shape->columns[at].declared[0] ? shape->columns[at].declared : "without a type",
        tr_type_name(column->type));
    return tr_hint(err, "declare it %s: make the table anew, or drop it so that tailrace makes it",
                   tr_sqlite_declared(column->type));
}

/* ---- SQL ------------------------------------------------------------------------------------ */

/* Skips a quoted name, a literal or a comment; returns where it ends, or ptr when there is none. */
static const char *skip_quoted(const char *ptr)
{
    if (*ptr == '"' || *ptr == '\'' || *ptr == '`' || *ptr == '[') {
        char end = *ptr == '[' ? ']' : *ptr;
        for (ptr++; *ptr != '\0'; ptr++) {
            if (*ptr == end && (end == ']' || ptr[1] != end))
                return ptr + 1;
            if (*ptr == end)
                ptr++;
        }
        return ptr;
    }
    if (ptr[0] == '-' && ptr[1] == '-') {
        while (*ptr != '\0' && *ptr != '\n')
            ptr++;
        return ptr;
    }
    if (ptr[0] == '/' && ptr[1] == '*') {
        const char *end = strstr(ptr + 2, "*/");
        return end != NULL ? end + 2 : ptr + strlen(ptr);
    }
    return ptr;
}

bool tr_sqlite_shape_is_plain(const struct shape *shape)
{
    static const char *const words[] = {
        "CHECK",         "REFERENCES", "FOREIGN", "UNIQUE",  "COLLATE",  "GENERATED", "AS",
        "AUTOINCREMENT", "STRICT",     "VIRTUAL", "WITHOUT", "CONFLICT", "DESC"};
    for (const char *c = shape->sql; *c != '\0';) {
        const char *after = skip_quoted(c);
        if (after != c) {
            c = after;
            continue;
        }
        if (!isalpha((unsigned char)*c) && *c != '_') {
            c++;
            continue;
        }
        size_t len = 1;
        while (isalnum((unsigned char)c[len]) || c[len] == '_')
            len++;
        for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
            if (strlen(words[i]) == len && sqlite3_strnicmp(words[i], c, (int)len) == 0)
                return false;
        }
        c += len;
    }
    return true;
}

void tr_sqlite_create_sql(struct tr_outbuf *sql, const struct tr_table *table)
{
    tr_outbuf_str(sql, "CREATE TABLE ");
    tr_sqlite_quote(sql, table->id.table);
    tr_outbuf_str(sql, " (");
    for (unsigned i = 0; i < table->column_count; i++) {
        const struct tr_column *column = &table->columns[i];
        if (i > 0)
            tr_outbuf_str(sql, ", ");
        tr_sqlite_quote(sql, column->name);
        tr_outbuf_byte(sql, ' ');
        tr_outbuf_str(sql, tr_sqlite_declared(column->type));
        if (column->key_index > 0)
            tr_outbuf_str(sql, " NOT NULL");
    }
    for (unsigned i = 0; i < table->key_count; i++) {
        tr_outbuf_str(sql, i == 0 ? ", PRIMARY KEY (" : ", ");
        tr_sqlite_quote(sql, table->columns[table->key_columns[i]].name);
    }
    tr_outbuf_str(sql, table->key_count > 0 ? "))" : ")");
}
