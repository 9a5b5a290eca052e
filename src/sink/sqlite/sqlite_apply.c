/* Schema changes of a target. Writer thread.
 *
 * DDL is transactional in SQLite, so a change stands in the same transaction as the rows around it
 * and the marks behind it: after a crash either all of it is there or nothing. Each change runs
 * under a savepoint; when it is refused the transaction stands as before.
 *
 * What ALTER TABLE cannot do (type, key, a column under an index) goes by making the table anew, in
 * the order of https://www.sqlite.org/lang_altertable.html, section 7: new table, copy, drop,
 * rename, then indexes and triggers. A table with constraints that the sink did not make is not
 * made anew.
 *
 * Columns but the key's are left nullable and without DEFAULT in tables that the sink makes: the
 * source enforces both, and a replica that enforced them too could only refuse what the source has
 * taken. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "sqlite_internal.h"

#define TEMPORARY_NAMES_MAX 1000

struct apply {
    struct sqlite_writer *writer;
    sqlite3 *db;
    const struct tr_event *event;
    const struct tr_table *before, *after;
    const char **names; /* per before column: its name in the target now; NULL when dropped */
    struct tr_arena arena;
    struct tr_outbuf sql;
};

/* A column of a table that is made anew. */
struct plan_column {
    const char *name;
    const char *declared;
    const char *default_sql;
    bool not_null;
    int pk;
    const struct tr_column *from, *to; /* values are converted when both are there */
};
struct plan {
    struct plan_column *columns;
    size_t count;
};

static enum tr_status run(struct apply *apply, const char *what, struct tr_error *err)
{
    return tr_sqlite_exec_buf(apply->db, &apply->sql, what, err);
}

/* Starts apply->sql: ALTER TABLE "name" … */
static struct tr_outbuf *start_alter(struct apply *apply, const char *table)
{
    tr_outbuf_clear(&apply->sql);
    tr_outbuf_str(&apply->sql, "ALTER TABLE ");
    tr_sqlite_quote(&apply->sql, table);
    return &apply->sql;
}

static enum tr_status load(struct apply *apply, const char *name, struct shape *shape,
                           struct tr_error *err)
{
    return tr_sqlite_shape_load(apply->db, name, shape, err);
}

/* A table name that is free; in the arena. */
static const char *free_name(struct apply *apply, struct tr_error *err)
{
    for (unsigned i = 0; i < TEMPORARY_NAMES_MAX; i++) {
        char name[40];
        struct shape shape;
        (void)snprintf(name, sizeof name, "tailrace_new_%u", i);
        enum tr_status status = load(apply, name, &shape, err);
        if (status == TR_FAIL)
            return NULL;
        if (status == TR_END) {
            const char *copy = tr_arena_strdup(&apply->arena, name);
            if (copy == NULL)
                (void)tr_sqlite_no_memory(err);
            return copy;
        }
        tr_sqlite_shape_free(&shape);
    }
    (void)tr_fail(err, TR_E_INTERNAL, "no free name for a table that is made anew");
    return NULL;
}

/* ---- making a table anew -------------------------------------------------------------------- */

static enum tr_status plan_make(struct apply *apply, const struct shape *shape, struct plan *plan,
                                struct tr_error *err)
{
    plan->count = shape->count;
    plan->columns = tr_arena_alloc(&apply->arena, (shape->count + 1) * sizeof *plan->columns,
                                   _Alignof(struct plan_column));
    if (plan->columns == NULL)
        return tr_sqlite_no_memory(err);
    for (size_t i = 0; i < shape->count; i++) {
        const struct shape_column *column = &shape->columns[i];
        plan->columns[i] = (struct plan_column){
            column->name, column->declared, column->default_sql, column->not_null, column->pk, NULL,
            NULL};
    }
    return TR_OK;
}

static void plan_create(struct apply *apply, const char *name, const struct plan *plan)
{
    struct tr_outbuf *sql = &apply->sql;
    tr_outbuf_clear(sql);
    tr_outbuf_str(sql, "CREATE TABLE ");
    tr_sqlite_quote(sql, name);
    for (size_t i = 0; i < plan->count; i++) {
        const struct plan_column *column = &plan->columns[i];
        tr_outbuf_str(sql, i == 0 ? " (" : ", ");
        tr_sqlite_quote(sql, column->name);
        tr_outbuf_byte(sql, ' ');
        tr_outbuf_str(sql, column->declared);
        if (column->not_null || column->pk > 0)
            tr_outbuf_str(sql, " NOT NULL");
        if (column->default_sql != NULL) {
            tr_outbuf_str(sql, " DEFAULT (");
            tr_outbuf_str(sql, column->default_sql);
            tr_outbuf_byte(sql, ')');
        }
    }
    bool any = false;
    for (int place = 1; place <= (int)plan->count; place++) {
        for (size_t i = 0; i < plan->count; i++) {
            if (plan->columns[i].pk != place)
                continue;
            tr_outbuf_str(sql, any ? ", " : ", PRIMARY KEY (");
            tr_sqlite_quote(sql, plan->columns[i].name);
            any = true;
        }
    }
    tr_outbuf_str(sql, any ? "))" : ")");
}

static void plan_copy(struct apply *apply, const char *from, const char *to,
                      const struct plan *plan)
{
    struct tr_outbuf *sql = &apply->sql;
    tr_outbuf_clear(sql);
    tr_outbuf_str(sql, "INSERT INTO ");
    tr_sqlite_quote(sql, to);
    for (size_t i = 0; i < plan->count; i++) {
        tr_outbuf_str(sql, i == 0 ? " (" : ", ");
        tr_sqlite_quote(sql, plan->columns[i].name);
    }
    tr_outbuf_str(sql, ") SELECT ");
    for (size_t i = 0; i < plan->count; i++) {
        const struct plan_column *column = &plan->columns[i];
        if (i > 0)
            tr_outbuf_str(sql, ", ");
        if (column->from != NULL && column->to != NULL)
            tr_sqlite_convert_call(sql, column->name, column->from, column->to);
        else
            tr_sqlite_quote(sql, column->name);
    }
    tr_outbuf_str(sql, " FROM ");
    tr_sqlite_quote(sql, from);
}

/* The CREATE statements of a table's indexes and triggers, one after the other with a NUL between.
 */
static enum tr_status save_dependents(struct apply *apply, const char *table,
                                      struct tr_outbuf *saved, struct tr_error *err)
{
    sqlite3_stmt *stmt = NULL;
    static const char what[] = "read a table's indexes and triggers";
    if (tr_sqlite_prepare(apply->db,
                          "SELECT sql FROM sqlite_schema WHERE tbl_name = ?1 COLLATE NOCASE "
                          "AND type IN ('index','trigger') AND sql IS NOT NULL",
                          false, &stmt, what, err) != TR_OK)
        return TR_FAIL;
    (void)sqlite3_bind_text(stmt, 1, table, -1, SQLITE_STATIC);
    int rc;
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        const char *text = (const char *)sqlite3_column_text(stmt, 0);
        if (text != NULL)
            tr_outbuf_bytes(saved, text, strlen(text) + 1);
    }
    enum tr_status status =
        rc == SQLITE_DONE ? TR_OK : tr_sqlite_fail(err, apply->db, rc, "%s", what);
    (void)sqlite3_finalize(stmt);
    return status == TR_OK && saved->failed ? tr_sqlite_no_memory(err) : status;
}

static enum tr_status restore_dependents(struct apply *apply, const char *table,
                                         const struct tr_outbuf *saved, struct tr_error *err)
{
    char quoted[300];
    for (size_t at = 0; at < saved->len; at += strlen(saved->data + at) + 1) {
        if (tr_sqlite_exec(apply->db, saved->data + at, "make an index or trigger again", err) ==
            TR_OK)
            continue;
        if (err->code != TR_E_SQLITE_STATEMENT)
            return TR_FAIL;
        tr_log(TR_LOG_WARN, "an index or trigger of a changed table could not be kept",
               "table=%s error=%s", table, tr_log_quote(err->message, quoted, sizeof quoted));
    }
    return TR_OK;
}

static enum tr_status rebuild(struct apply *apply, const struct shape *shape,
                              const struct plan *plan, struct tr_error *err)
{
    struct tr_outbuf saved = {0};
    const char *table = shape->name, *name = NULL;
    enum tr_status status = TR_FAIL;
    if (!tr_sqlite_shape_is_plain(shape)) {
        (void)tr_fail(
            err, TR_E_SQLITE_REBUILD,
            "target table \"%.100s\" would have to be made anew and has constraints of its own",
            table);
        return tr_hint(err, "%s", tr_error_info(TR_E_SQLITE_REBUILD)->remedy);
    }
    if ((name = free_name(apply, err)) == NULL ||
        save_dependents(apply, table, &saved, err) != TR_OK)
        goto cleanup;
    plan_create(apply, name, plan);
    if (run(apply, "make a table anew", err) != TR_OK)
        goto cleanup;
    plan_copy(apply, table, name, plan);
    if (run(apply, "copy a table into its new form", err) != TR_OK) {
        if (err->class == TR_DATA)
            err->class = TR_SCHEMA; /* the new key is not unique, …: no single event is to blame */
        goto cleanup;
    }
    tr_outbuf_clear(&apply->sql);
    tr_outbuf_str(&apply->sql, "DROP TABLE ");
    tr_sqlite_quote(&apply->sql, table);
    if (run(apply, "drop the old form of a table", err) != TR_OK)
        goto cleanup;
    /* legacy: views that name the table are left alone while it is away */
    (void)sqlite3_exec(apply->db, "PRAGMA legacy_alter_table=ON", NULL, NULL, NULL);
    tr_outbuf_str(start_alter(apply, name), " RENAME TO ");
    tr_sqlite_quote(&apply->sql, table);
    status = run(apply, "rename a table", err);
    (void)sqlite3_exec(apply->db, "PRAGMA legacy_alter_table=OFF", NULL, NULL, NULL);
    if (status == TR_OK)
        status = restore_dependents(apply, table, &saved, err);
cleanup:
    tr_outbuf_free(&saved);
    return status;
}

/* ---- single steps --------------------------------------------------------------------------- */

static enum tr_status add_column(struct apply *apply, const char *table,
                                 const struct tr_column *column, struct tr_error *err)
{
    struct tr_outbuf *sql = start_alter(apply, table);
    tr_outbuf_str(sql, " ADD COLUMN ");
    tr_sqlite_quote(sql, column->name);
    tr_outbuf_byte(sql, ' ');
    tr_outbuf_str(sql, tr_sqlite_declared(column->type));
    if (column->default_value != NULL) {
        struct tr_cell cell = {.ptr = column->default_value,
                               .len = (uint32_t)strlen(column->default_value),
                               .state = TR_CELL_TEXT};
        struct sqlite_value value;
        if (tr_sqlite_store(column->type, &cell, &apply->arena, &value) == STORED) {
            tr_outbuf_str(sql, " DEFAULT ");
            tr_sqlite_literal(sql, &value);
        }
    }
    return run(apply, "add a column", err);
}

static enum tr_status rename_column(struct apply *apply, const char *table, const char *from,
                                    const char *to, struct tr_error *err)
{
    struct tr_outbuf *sql = start_alter(apply, table);
    tr_outbuf_str(sql, " RENAME COLUMN ");
    tr_sqlite_quote(sql, from);
    tr_outbuf_str(sql, " TO ");
    tr_sqlite_quote(sql, to);
    return run(apply, "rename a column", err);
}

static enum tr_status drop_column(struct apply *apply, const char *table, const char *name,
                                  struct tr_error *err)
{
    struct shape shape;
    struct plan plan;
    enum tr_status status = load(apply, table, &shape, err);
    if (status != TR_OK)
        return status == TR_END ? TR_OK : TR_FAIL;
    int at = tr_sqlite_shape_column(&shape, name);
    if (at < 0)
        goto cleanup;
    if (shape.columns[at].pk == 0) {
        struct tr_outbuf *sql = start_alter(apply, table);
        tr_outbuf_str(sql, " DROP COLUMN ");
        tr_sqlite_quote(sql, name);
        status = run(apply, "drop a column", err);
        if (status == TR_OK || err->code != TR_E_SQLITE_STATEMENT)
            goto cleanup;
    }
    if ((status = plan_make(apply, &shape, &plan, err)) != TR_OK)
        goto cleanup;
    int place = plan.columns[at].pk;
    for (size_t i = 0; i < plan.count; i++)
        plan.columns[i].pk -= place > 0 && plan.columns[i].pk > place;
    memmove(plan.columns + at, plan.columns + at + 1,
            (plan.count - (size_t)at - 1) * sizeof *plan.columns);
    plan.count--;
    status = rebuild(apply, &shape, &plan, err);
cleanup:
    tr_sqlite_shape_free(&shape);
    return status;
}

/* Gives the target the key of `table`, if it has another one. */
static enum tr_status set_key(struct apply *apply, const struct tr_table *table,
                              struct tr_error *err)
{
    struct shape shape;
    struct plan plan;
    if (load(apply, table->id.table, &shape, err) != TR_OK)
        return TR_FAIL;
    enum tr_status status = tr_sqlite_check_target(apply->db, table, &shape, err);
    if (status == TR_OK || err->code != TR_E_SQLITE_KEY_MISMATCH)
        goto cleanup;
    if ((status = plan_make(apply, &shape, &plan, err)) != TR_OK)
        goto cleanup;
    for (size_t i = 0; i < plan.count; i++) {
        struct plan_column *column = &plan.columns[i];
        column->not_null = column->not_null && column->pk == 0;
        column->pk = 0;
        for (unsigned k = 0; k < table->key_count; k++) {
            const struct tr_column *key = &table->columns[table->key_columns[k]];
            if (sqlite3_stricmp(key->name, column->name) != 0)
                continue;
            column->pk = (int)k + 1;
            /* an integer key is to be the rowid: see tr_sqlite_declared */
            if (!tr_sqlite_affinity_keeps(tr_sqlite_affinity(column->declared), key->type, true))
                column->declared = tr_sqlite_declared(key->type);
        }
    }
    status = rebuild(apply, &shape, &plan, err);
cleanup:
    tr_sqlite_shape_free(&shape);
    return status;
}

static enum tr_status change_type(struct apply *apply, const char *table, const char *name,
                                  const struct tr_column *from, const struct tr_column *to,
                                  struct tr_error *err)
{
    struct shape shape;
    struct plan plan;
    if (load(apply, table, &shape, err) != TR_OK)
        return TR_FAIL;
    enum tr_status status = TR_OK;
    int at = tr_sqlite_shape_column(&shape, name);
    if (at < 0) {
        status = add_column(apply, table, to, err);
        goto cleanup;
    }
    const struct shape_column *column = &shape.columns[at];
    bool keeps = tr_sqlite_affinity_keeps(column->affinity, to->type, column->pk > 0);
    bool other = tr_sqlite_storage(from->type) != tr_sqlite_storage(to->type);
    if (keeps && other && sqlite3_stricmp(column->declared, tr_sqlite_declared(to->type)) == 0)
        goto cleanup; /* this change is done already */
    if (!keeps || (other && tr_sqlite_shape_is_plain(&shape))) {
        if ((status = plan_make(apply, &shape, &plan, err)) != TR_OK)
            goto cleanup;
        plan.columns[at].declared = tr_sqlite_declared(to->type);
        plan.columns[at].default_sql = NULL; /* every row carries its value now */
        plan.columns[at].from = from;
        plan.columns[at].to = to;
        status = rebuild(apply, &shape, &plan, err);
    } else if (tr_sqlite_conversion_needed(from, to)) {
        struct tr_outbuf *sql = &apply->sql;
        tr_outbuf_clear(sql);
        tr_outbuf_str(sql, "UPDATE ");
        tr_sqlite_quote(sql, table);
        tr_outbuf_str(sql, " SET ");
        tr_sqlite_quote(sql, name);
        tr_outbuf_str(sql, " = ");
        tr_sqlite_convert_call(sql, name, from, to);
        status = run(apply, "convert a column", err);
    }
cleanup:
    tr_sqlite_shape_free(&shape);
    return status;
}

static enum tr_status drop_not_null(struct apply *apply, const char *table, const char *name,
                                    struct tr_error *err)
{
    struct shape shape;
    struct plan plan;
    if (load(apply, table, &shape, err) != TR_OK)
        return TR_FAIL;
    enum tr_status status = TR_OK;
    int at = tr_sqlite_shape_column(&shape, name);
    if (at >= 0 && shape.columns[at].not_null && shape.columns[at].pk == 0 &&
        (status = plan_make(apply, &shape, &plan, err)) == TR_OK) {
        plan.columns[at].not_null = false;
        status = rebuild(apply, &shape, &plan, err);
    }
    tr_sqlite_shape_free(&shape);
    return status;
}

/* ---- CREATE_TABLE --------------------------------------------------------------------------- */

/* Columns of an existing table under whose declared type values would change: made anew with ours.
 */
static enum tr_status mend_types(struct apply *apply, const struct tr_table *table,
                                 struct tr_error *err)
{
    struct shape shape;
    struct plan plan;
    if (load(apply, table->id.table, &shape, err) != TR_OK)
        return TR_FAIL;
    enum tr_status status = TR_OK;
    if (tr_sqlite_check_types(table, &shape) < 0)
        goto cleanup;
    if (!tr_sqlite_shape_is_plain(&shape)) {
        status = tr_sqlite_check_target(apply->db, table, &shape, err);
        goto cleanup;
    }
    if ((status = plan_make(apply, &shape, &plan, err)) != TR_OK)
        goto cleanup;
    static const struct tr_column as_text = {.type = TR_T_OTHER},
                                  as_boolean = {.type = TR_T_BOOLEAN};
    for (size_t i = 0; i < plan.count; i++) {
        const struct shape_column *have = &shape.columns[i];
        for (unsigned j = 0; j < table->column_count; j++) {
            const struct tr_column *column = &table->columns[j];
            if (sqlite3_stricmp(column->name, have->name) != 0 ||
                tr_sqlite_affinity_keeps(have->affinity, column->type, column->key_index > 0))
                continue;
            plan.columns[i].declared = tr_sqlite_declared(column->type);
            plan.columns[i].default_sql = NULL;
            plan.columns[i].from =
                sqlite3_stricmp(have->declared, "BOOLEAN") == 0 ? &as_boolean : &as_text;
            plan.columns[i].to = column;
            tr_log(TR_LOG_INFO, "a column gets a declared type that keeps the source's values",
                   "table=%s column=%s declared=%s", table->id.table, column->name,
                   tr_sqlite_declared(column->type));
        }
    }
    status = rebuild(apply, &shape, &plan, err);
cleanup:
    tr_sqlite_shape_free(&shape);
    return status;
}

static enum tr_status create_table(struct apply *apply, const struct tr_table *table,
                                   struct tr_error *err)
{
    struct shape shape;
    enum tr_status status = load(apply, table->id.table, &shape, err);
    if (status == TR_FAIL)
        return TR_FAIL;
    if (status == TR_END) {
        tr_outbuf_clear(&apply->sql);
        tr_sqlite_create_sql(&apply->sql, table);
        if (apply->writer->sink->options->create_tables)
            return run(apply, "make a table", err);
        (void)tr_fail(err, TR_E_SQLITE_TABLE_ABSENT, "the target has no table \"%.100s\"",
                      table->id.table);
        return tr_hint(err, "%.700s;", tr_outbuf_cstr(&apply->sql));
    }
    /* the name first: a view or a table of another case must not be altered */
    status = tr_sqlite_check_target(apply->db, table, &shape, err);
    bool hopeless = status != TR_OK && err->code != TR_E_SQLITE_COLUMN_TYPE;
    for (unsigned i = 0; !hopeless && i < table->column_count; i++) {
        if (tr_sqlite_shape_column(&shape, table->columns[i].name) < 0 &&
            add_column(apply, shape.name, &table->columns[i], err) != TR_OK)
            hopeless = true;
    }
    tr_sqlite_shape_free(&shape);
    return hopeless ? TR_FAIL : mend_types(apply, table, err);
}

/* ---- ALTER_TABLE ---------------------------------------------------------------------------- */

/* The before column that has this name in the target now, NULL when none. */
static const char **holder(struct apply *apply, const char *name)
{
    for (unsigned i = 0; i < apply->before->column_count; i++) {
        if (apply->names[i] != NULL && sqlite3_stricmp(apply->names[i], name) == 0)
            return &apply->names[i];
    }
    return NULL;
}

/* Another before column still has the name that is wanted: it steps aside until its own turn. */
static enum tr_status step_aside(struct apply *apply, const char *table, const char **name,
                                 struct tr_error *err)
{
    char temporary[40];
    (void)snprintf(temporary, sizeof temporary, "tailrace_column_%u",
                   (unsigned)(name - apply->names));
    const char *copy = tr_arena_strdup(&apply->arena, temporary);
    if (copy == NULL)
        return tr_sqlite_no_memory(err);
    if (rename_column(apply, table, *name, copy, err) != TR_OK)
        return TR_FAIL;
    *name = copy;
    return TR_OK;
}

static enum tr_status alter_add(struct apply *apply, const struct shape *shape,
                                const struct tr_column *column, struct tr_error *err)
{
    if (tr_sqlite_shape_column(shape, column->name) >= 0) {
        const char **other = holder(apply, column->name);
        if (other == NULL) /* it is there already */
            return TR_OK;
        if (step_aside(apply, shape->name, other, err) != TR_OK)
            return TR_FAIL;
    }
    return add_column(apply, shape->name, column, err);
}

static enum tr_status alter_rename(struct apply *apply, const struct shape *shape, unsigned index,
                                   const struct tr_column *column, struct tr_error *err)
{
    const char *from = apply->names[index], *to = column->name;
    apply->names[index] = to;
    if (from == NULL || strcmp(from, to) == 0)
        return TR_OK;
    bool has_from = tr_sqlite_shape_column(shape, from) >= 0;
    bool same = sqlite3_stricmp(from, to) == 0;
    bool has_to = !same && tr_sqlite_shape_column(shape, to) >= 0;
    if (!has_from)
        return has_to ? TR_OK : add_column(apply, shape->name, column, err);
    if (has_to) {
        apply->names[index] = NULL; /* not its holder */
        const char **other = holder(apply, to);
        apply->names[index] = to;
        if (other == NULL) { /* a column that the source did not have: it becomes this one */
            struct tr_outbuf *sql = &apply->sql;
            tr_outbuf_clear(sql);
            tr_outbuf_str(sql, "UPDATE ");
            tr_sqlite_quote(sql, shape->name);
            tr_outbuf_str(sql, " SET ");
            tr_sqlite_quote(sql, to);
            tr_outbuf_str(sql, " = ");
            tr_sqlite_quote(sql, from);
            if (run(apply, "move a column's values", err) != TR_OK)
                return TR_FAIL;
            return drop_column(apply, shape->name, from, err);
        }
        if (step_aside(apply, shape->name, other, err) != TR_OK)
            return TR_FAIL;
    }
    return rename_column(apply, shape->name, from, to, err);
}

static enum tr_status alter_item(struct apply *apply, const struct tr_alter_item *item,
                                 struct tr_error *err)
{
    const struct tr_table *before = apply->before, *after = apply->after;
    bool uses_before = item->kind != TR_ALTER_ADD_COLUMN && item->kind != TR_ALTER_KEY;
    bool uses_after = item->kind != TR_ALTER_DROP_COLUMN && item->kind != TR_ALTER_KEY;
    if ((uses_before && item->before_index >= before->column_count) ||
        (uses_after && item->after_index >= after->column_count))
        return tr_fail(err, TR_E_INTERNAL, "a schema change names a column that is not there");
    const char *table = after->id.table;
    const struct tr_column *column = uses_after ? &after->columns[item->after_index] : NULL;
    const char *name = uses_before ? apply->names[item->before_index] : NULL;
    enum tr_status status = TR_OK;
    struct shape shape;
    switch (item->kind) {
    case TR_ALTER_ADD_COLUMN:
    case TR_ALTER_RENAME_COLUMN:
        if (load(apply, table, &shape, err) != TR_OK)
            return TR_FAIL;
        status = item->kind == TR_ALTER_ADD_COLUMN
                     ? alter_add(apply, &shape, column, err)
                     : alter_rename(apply, &shape, item->before_index, column, err);
        tr_sqlite_shape_free(&shape);
        return status;
    case TR_ALTER_DROP_COLUMN:
        apply->names[item->before_index] = NULL;
        return name != NULL ? drop_column(apply, table, name, err) : TR_OK;
    case TR_ALTER_COLUMN_TYPE:
        return change_type(apply, table, name != NULL ? name : column->name,
                           &before->columns[item->before_index], column, err);
    case TR_ALTER_COLUMN_NULLABLE:
        if (column->nullable && column->key_index == 0)
            return drop_not_null(apply, table, name != NULL ? name : column->name, err);
        return TR_OK;
    case TR_ALTER_COLUMN_DEFAULT: /* rows carry every value */
    case TR_ALTER_KEY:            /* at the end, when the names are final */
        return TR_OK;
    }
    return TR_OK;
}

static enum tr_status alter_table(struct apply *apply, struct tr_error *err)
{
    const struct tr_schema_change *change = apply->event->change;
    struct shape shape;
    enum tr_status status = load(apply, apply->after->id.table, &shape, err);
    if (status == TR_END)
        return create_table(apply, apply->after, err);
    if (status != TR_OK)
        return TR_FAIL;
    tr_sqlite_shape_free(&shape);
    apply->names = tr_arena_alloc(&apply->arena,
                                  ((size_t)apply->before->column_count + 1) * sizeof *apply->names,
                                  _Alignof(const char *));
    if (apply->names == NULL)
        return tr_sqlite_no_memory(err);
    for (unsigned i = 0; i < apply->before->column_count; i++)
        apply->names[i] = apply->before->columns[i].name;
    for (uint32_t i = 0; i < change->item_count; i++) {
        if (alter_item(apply, &change->items[i], err) != TR_OK)
            return TR_FAIL;
    }
    return set_key(apply, apply->after, err);
}

/* ---- RENAME_TABLE, DROP_TABLE --------------------------------------------------------------- */

static enum tr_status rename_to(struct apply *apply, const char *from, const char *to,
                                struct tr_error *err)
{
    struct tr_outbuf *sql = start_alter(apply, from);
    tr_outbuf_str(sql, " RENAME TO ");
    tr_sqlite_quote(sql, to);
    return run(apply, "rename a table", err);
}

static enum tr_status drop_table(struct apply *apply, const char *name, struct tr_error *err)
{
    tr_outbuf_clear(&apply->sql);
    tr_outbuf_str(&apply->sql, "DROP TABLE IF EXISTS ");
    tr_sqlite_quote(&apply->sql, name);
    return run(apply, "drop a table", err);
}

static enum tr_status is_empty(struct apply *apply, const char *name, bool *empty,
                               struct tr_error *err)
{
    sqlite3_stmt *stmt = NULL;
    tr_outbuf_clear(&apply->sql);
    tr_outbuf_str(&apply->sql, "SELECT 1 FROM ");
    tr_sqlite_quote(&apply->sql, name);
    tr_outbuf_str(&apply->sql, " LIMIT 1");
    const char *text = tr_outbuf_cstr(&apply->sql);
    if (tr_sqlite_prepare(apply->db, text, false, &stmt, "look into a table", err) != TR_OK)
        return TR_FAIL;
    int rc = sqlite3_step(stmt);
    (void)sqlite3_finalize(stmt);
    *empty = rc == SQLITE_DONE;
    return rc == SQLITE_DONE || rc == SQLITE_ROW
               ? TR_OK
               : tr_sqlite_fail(err, apply->db, rc, "look into table \"%.100s\"", name);
}

static enum tr_status rename_table(struct apply *apply, struct tr_error *err)
{
    const char *from = apply->before->id.table, *to = apply->after->id.table;
    struct shape old, new;
    bool empty = false;
    if (strcmp(from, to) == 0) /* only the schema changed, which SQLite does not have */
        return create_table(apply, apply->after, err);
    enum tr_status has_old = load(apply, from, &old, err);
    if (has_old == TR_FAIL)
        return TR_FAIL;
    if (has_old == TR_END)
        return create_table(apply, apply->after, err);
    tr_sqlite_shape_free(&old);
    if (sqlite3_stricmp(from, to) == 0) { /* SQLite takes it for the name of another table */
        const char *between = free_name(apply, err);
        if (between == NULL || rename_to(apply, from, between, err) != TR_OK)
            return TR_FAIL;
        return rename_to(apply, between, to, err);
    }
    enum tr_status has_new = load(apply, to, &new, err);
    if (has_new == TR_FAIL)
        return TR_FAIL;
    if (has_new == TR_OK) {
        bool view = new.is_view;
        tr_sqlite_shape_free(&new);
        if (!view && is_empty(apply, to, &empty, err) != TR_OK)
            return TR_FAIL;
        if (!empty) {
            (void)tr_fail(err, TR_E_SQLITE_TABLE_EXISTS,
                          "\"%.100s\" was renamed to \"%.100s\", which exists in the target", from,
                          to);
            return tr_hint(err, "rename or drop the target's \"%.100s\"", to);
        }
        if (drop_table(apply, to, err) != TR_OK)
            return TR_FAIL;
    }
    if (rename_to(apply, from, to, err) != TR_OK)
        return TR_FAIL;
    return create_table(apply, apply->after, err); /* what it may lack */
}

/* ---- the entry ------------------------------------------------------------------------------ */

/* Remembered deletions are known by the key's values: of another key they say nothing. */
static bool changes_key(const struct tr_schema_change *change)
{
    for (uint32_t i = 0; i < change->item_count; i++) {
        if (change->items[i].kind == TR_ALTER_KEY)
            return true;
    }
    return false;
}

static enum tr_status apply_change(struct apply *apply, struct tr_error *err)
{
    struct sqlite_writer *writer = apply->writer;
    enum tr_change_kind kind = apply->event->change->kind;
    if (apply->before != NULL)
        tr_sqlite_entries_drop(writer, apply->before->id.table);
    tr_sqlite_entries_drop(writer, apply->after->id.table);
    if (kind == TR_CHANGE_DROP_TABLE) {
        if (tr_sqlite_check_names(apply->after, err) != TR_OK)
            return TR_FAIL;
        tr_sqlite_disown(writer, &apply->after->id);
        if (drop_table(apply, apply->after->id.table, err) != TR_OK)
            return TR_FAIL;
        return tr_sqlite_deleted_move(apply->db, apply->after->id.table, NULL, err);
    }
    if (kind == TR_CHANGE_RENAME_TABLE && apply->before != NULL)
        tr_sqlite_disown(writer, &apply->before->id);
    if (tr_sqlite_check_names(apply->after, err) != TR_OK ||
        tr_sqlite_own(writer, &apply->after->id, err) != TR_OK)
        return TR_FAIL;
    if (kind != TR_CHANGE_CREATE_TABLE && apply->before == NULL)
        return tr_fail(err, TR_E_INTERNAL, "a schema change came without the table before it");
    switch (kind) {
    case TR_CHANGE_CREATE_TABLE:
        return create_table(apply, apply->after, err);
    case TR_CHANGE_ALTER_TABLE:
        if (changes_key(apply->event->change) &&
            tr_sqlite_deleted_move(apply->db, apply->after->id.table, NULL, err) != TR_OK)
            return TR_FAIL;
        return alter_table(apply, err);
    case TR_CHANGE_RENAME_TABLE:
        if (rename_table(apply, err) != TR_OK)
            return TR_FAIL;
        if (strcmp(apply->before->id.table, apply->after->id.table) == 0)
            return TR_OK;
        return tr_sqlite_deleted_move(apply->db, apply->before->id.table, apply->after->id.table,
                                      err);
    case TR_CHANGE_DROP_TABLE:
        break;
    }
    return TR_OK;
}

enum tr_status tr_sqlite_writer_apply(void *self, const struct tr_event *event,
                                      struct tr_error *err)
{
    struct sqlite_writer *writer = self;
    struct table_entry *entry;
    if (writer->poisoned) {
        *err = writer->poison;
        return TR_FAIL;
    }
    atomic_store(&writer->sink->interrupted, false);
    /* the usual case of a restart: the table is there and right, no transaction is needed */
    if (event->change->kind == TR_CHANGE_CREATE_TABLE &&
        tr_sqlite_entry(writer, event->table, &entry, err) == TR_OK)
        return TR_OK;
    if (tr_sqlite_settle(writer, err) != TR_OK || tr_sqlite_begin(writer, err) != TR_OK ||
        tr_sqlite_exec(writer->db, "SAVEPOINT tailrace_apply", "begin a schema change", err) !=
            TR_OK)
        return tr_sqlite_broken(writer, err);
    writer->inside_source = writer->beyond = true;
    struct apply apply = {.writer = writer,
                          .db = writer->db,
                          .event = event,
                          .before = event->change->before,
                          .after = event->table};
    tr_arena_init(&apply.arena, 16 << 10, 0);
    enum tr_status status = apply_change(&apply, err);
    if (status != TR_OK && !sqlite3_get_autocommit(writer->db))
        (void)sqlite3_exec(writer->db, "ROLLBACK TO tailrace_apply", NULL, NULL, NULL);
    if (!sqlite3_get_autocommit(writer->db))
        (void)sqlite3_exec(writer->db, "RELEASE tailrace_apply", NULL, NULL, NULL);
    tr_outbuf_free(&apply.sql);
    tr_arena_free(&apply.arena);
    if (status == TR_OK) {
        writer->txn_changes++;
        if (writer->gathered++ == 0)
            writer->gather_begin_ms = tr_clock_mono_ms();
        return TR_OK;
    }
    err->seq = event->seq;
    return tr_sqlite_broken(writer, err);
}
