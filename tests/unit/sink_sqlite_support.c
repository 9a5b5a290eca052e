#include "sink_sqlite_support.h"

#include <unistd.h>

bool tr_config_given(const struct tr_config *config, const char *option_name)
{
    (void)config;
    (void)option_name;
    return false;
}

const char *tr_config_where(const struct tr_config *config, const char *option_name)
{
    (void)config;
    (void)option_name;
    return "";
}

const void *tr_config_values(const struct tr_config *config) { return &config->options; }

void rig_open(struct rig *rig)
{
    assert_ok(rig, tr_sink_sqlite.open(&rig->config, &rig->context, &rig->sink, &rig->err));
    assert_ok(rig, tr_sink_sqlite.writer_open(rig->sink, 0, &rig->writer, &rig->err));
}

void rig_start(struct rig *rig)
{
    *rig = (struct rig){.seq = 1};
    (void)strcpy(rig->dir, "/tmp/tailrace-sqlite-XXXXXX");
    assert_non_null(mkdtemp(rig->dir));
    (void)snprintf(rig->path, sizeof rig->path, "%s/target.db", rig->dir);
    rig->config.options = (struct sqlite_options){.path = rig->path,
                                                  .synchronous = SYNC_NORMAL,
                                                  .journal = JOURNAL_WAL,
                                                  .create_tables = true,
                                                  .busy_timeout_ms = 200,
                                                  .cache_bytes = 4 << 20,
                                                  .commit_rows = 50000,
                                                  .commit_ms = 60000,
                                                  .commit_bytes = 1 << 20};
    rig->context = (struct tr_context){.pipeline_name = "shop", .state_dir = rig->dir};
    assert_ok(rig, tr_batch_new(&rig->batch, &rig->err));
    rig_open(rig);
}

void rig_close(struct rig *rig)
{
    tr_sink_sqlite.writer_close(rig->writer);
    tr_sink_sqlite.close(rig->sink);
    rig->writer = rig->sink = NULL;
    tr_batch_reset(rig->batch);
}

void rig_end(struct rig *rig)
{
    char command[128];
    rig_close(rig);
    tr_batch_free(rig->batch);
    (void)snprintf(command, sizeof command, "rm -rf '%s'", rig->dir);
    assert_int_equal(system(command), 0);
}

struct tr_table *table_in(const char *schema, const char *name, const struct tr_column *columns)
{
    struct tr_error err;
    struct tr_table spec = {.id = {"db", schema, name}, .columns = columns}, *table = NULL;
    while (columns[spec.column_count].name != NULL)
        spec.column_count++;
    if (tr_table_new(&spec, &table, &err) != TR_OK)
        fail_msg("%s", err.message);
    return table;
}

struct tr_table *table_of(const char *name, const struct tr_column *columns)
{
    return table_in("public", name, columns);
}

static struct tr_cell *cells_of(struct rig *rig, const struct tr_table *table,
                                const char *const *texts)
{
    if (texts == NULL)
        return NULL;
    struct tr_cell *cells = tr_batch_cells(rig->batch, table->column_count);
    for (int i = 0; i < table->column_count; i++) {
        cells[i] = (struct tr_cell){.state = TR_CELL_NULL};
        if (texts[i] == UNCHANGED || texts[i] == ABSENT) {
            cells[i].state = texts[i] == UNCHANGED ? TR_CELL_UNCHANGED : TR_CELL_ABSENT;
        } else if (texts[i] != NULL) {
            cells[i].len = (uint32_t)strlen(texts[i]);
            cells[i].ptr = tr_batch_copy(rig->batch, texts[i], cells[i].len);
            cells[i].state = TR_CELL_TEXT;
        }
    }
    return cells;
}

struct tr_event *put(struct rig *rig, enum tr_op op, const struct tr_table *table,
                     const char *const *before, const char *const *after)
{
    struct tr_event *event = tr_batch_event(rig->batch, op);
    assert_non_null(event);
    event->table = table;
    event->before = cells_of(rig, table, before);
    event->after = cells_of(rig, table, after);
    event->seq = rig->seq++;
    assert_ok(rig, tr_batch_table(rig->batch, table, &rig->err));
    return event;
}

void put_commit(struct rig *rig, const char *key, const char *value)
{
    struct tr_mark mark = {tr_slice_of(key), tr_slice_of(value)};
    struct tr_event *event;
    assert_ok(rig, tr_batch_commit(rig->batch, &mark, key != NULL, &event, &rig->err));
    event->seq = rig->seq++;
}

enum tr_status send_batch(struct rig *rig)
{
    enum tr_status status =
        tr_sink_sqlite.write(rig->writer, rig->batch->events, rig->batch->event_count, &rig->err);
    tr_batch_reset(rig->batch);
    return status;
}

void send_commit(struct rig *rig, const char *lsn)
{
    put_commit(rig, "lsn", lsn);
    assert_ok(rig, send_batch(rig));
    assert_ok(rig, tr_sink_sqlite.flush(rig->writer, 1000, &rig->err));
    assert_int_equal(tr_sink_sqlite.durable_seq(rig->writer), rig->seq - 1);
}

enum tr_status apply(struct rig *rig, enum tr_change_kind kind, const struct tr_table *before,
                     const struct tr_table *after, const struct tr_alter_item *items,
                     uint32_t count)
{
    struct tr_schema_change change = {
        .kind = kind, .before = before, .item_count = count, .items = items};
    struct tr_event event = {
        .op = TR_OP_SCHEMA, .table = after, .change = &change, .seq = rig->seq++};
    return tr_sink_sqlite.apply(rig->writer, &event, &rig->err);
}

void create(struct rig *rig, const struct tr_table *table)
{
    assert_ok(rig, apply(rig, TR_CHANGE_CREATE_TABLE, NULL, table, NULL, 0));
}

const char *query(struct rig *rig, const char *sql)
{
    static char text[1 << 16];
    sqlite3 *db = NULL;
    sqlite3_stmt *stmt = NULL;
    size_t len = 0;
    text[0] = '\0';
    assert_int_equal(sqlite3_open_v2(rig->path, &db, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
    if (sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) != SQLITE_OK)
        fail_msg("%s: %s", sql, sqlite3_errmsg(db));
    while (sqlite3_step(stmt) == SQLITE_ROW) {
        for (int i = 0; i < sqlite3_column_count(stmt) && len < sizeof text - 1; i++) {
            const char *value = (const char *)sqlite3_column_text(stmt, i);
            len += (size_t)snprintf(text + len, sizeof text - len, "%s%s",
                                    i > 0     ? "|"
                                    : len > 0 ? "\n"
                                              : "",
                                    value ? value : "<null>");
        }
    }
    assert_int_equal(sqlite3_finalize(stmt), SQLITE_OK);
    (void)sqlite3_close(db);
    return text;
}

void assert_query(struct rig *rig, const char *sql, const char *expected)
{
    assert_string_equal(query(rig, sql), expected);
}

void execute(struct rig *rig, const char *sql)
{
    sqlite3 *db = NULL;
    char *message = NULL;
    assert_int_equal(sqlite3_open(rig->path, &db), SQLITE_OK);
    if (sqlite3_exec(db, sql, NULL, NULL, &message) != SQLITE_OK)
        fail_msg("%s: %s", sql, message);
    (void)sqlite3_close(db);
}

const char *scan(struct rig *rig, const struct tr_table *table)
{
    static char text[1 << 16];
    struct tr_scan *scan = NULL;
    const struct tr_cell *cells;
    size_t len = 0;
    enum tr_status status;
    text[0] = '\0';
    assert_ok(rig, tr_sink_sqlite.scan->open(rig->sink, table, NULL, &scan, &rig->err));
    while ((status = tr_sink_sqlite.scan->next(scan, &cells, &rig->err)) == TR_OK) {
        for (int i = 0; i < table->column_count; i++) {
            const char *separator = i > 0 ? "|" : len > 0 ? "\n" : "";
            if (cells[i].state == TR_CELL_NULL)
                len += (size_t)snprintf(text + len, sizeof text - len, "%s<null>", separator);
            else
                len += (size_t)snprintf(text + len, sizeof text - len, "%s%.*s", separator,
                                        (int)cells[i].len, cells[i].ptr);
        }
    }
    assert_int_equal(status, TR_END);
    tr_sink_sqlite.scan->close(scan);
    return text;
}
