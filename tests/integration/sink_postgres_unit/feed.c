#include "feed.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

const void *tr_config_values(const struct tr_config *config) { return &config->options; }
bool tr_config_given(const struct tr_config *config, const char *name)
{
    return strcmp(name, "sslmode") == 0 && config->sslmode_given;
}
const char *tr_config_where(const struct tr_config *config, const char *name)
{
    (void)config;
    (void)name;
    return "";
}

void feed_init(struct feed *feed, struct test_server *server)
{
    memset(feed, 0, sizeof *feed);
    feed->server = server;
    feed->config.options = (struct tr_pgs_options){.hostname = "127.0.0.1",
                                                   .port = server->port,
                                                   .username = "postgres",
                                                   .database = "postgres",
                                                   .sslmode = 0,
                                                   .table_create = true,
                                                   .replication_role = TR_PGS_ROLE_AUTO,
                                                   .position_table = "tailrace_position",
                                                   .connect_timeout_ms = 5000,
                                                   .lock_timeout_ms = 5000,
                                                   .apply_rows = 16384,
                                                   .apply_bytes = 16 << 20};
    tr_state_init(&feed->marks);
    struct tr_error err;
    assert_int_equal(tr_batch_new(&feed->batch, &err), TR_OK);
}

enum tr_status feed_try_open(struct feed *feed)
{
    struct tr_context context = {.pipeline_name = "shop", .state_dir = "/tmp"};
    feed->seq = feed->seq_commit = 0;
    if (tr_sink_postgres.open(&feed->config, &context, &feed->sink, &feed->err) != TR_OK)
        return TR_FAIL;
    if (tr_sink_postgres.load_marks(feed->sink, &feed->marks, &feed->err) != TR_OK)
        return TR_FAIL;
    return tr_sink_postgres.writer_open(feed->sink, 0, &feed->writer, &feed->err);
}

static void show(const struct feed *feed, enum tr_status status)
{
    if (status == TR_FAIL)
        fprintf(stderr, "%s: %s\n  %s\n  hint: %s\n", tr_error_info(feed->err.code)->name,
                feed->err.message, feed->err.detail, feed->err.hint);
}

void feed_open(struct feed *feed)
{
    enum tr_status status = feed_try_open(feed);
    show(feed, status);
    assert_int_equal(status, TR_OK);
}

void feed_close(struct feed *feed)
{
    tr_sink_postgres.writer_close(feed->writer);
    tr_sink_postgres.close(feed->sink);
    feed->writer = feed->sink = NULL;
    tr_batch_reset(feed->batch);
}

static const struct tr_table *made[64]; /* a test that fails leaves its tables */
static unsigned made_count;

void feed_free(struct feed *feed)
{
    feed_close(feed);
    tr_batch_free(feed->batch);
    tr_state_free(&feed->marks);
    while (made_count > 0)
        tr_table_unref(made[--made_count]);
}

/* ---- tables ---- */

static const struct {
    const char *name;
    uint32_t oid;
    enum tr_type type, elem;
} types[] = {
    {"bool", 16, TR_T_BOOLEAN, TR_T_OTHER},
    {"bytea", 17, TR_T_BYTES, TR_T_OTHER},
    {"int8", 20, TR_T_INT64, TR_T_OTHER},
    {"int2", 21, TR_T_INT16, TR_T_OTHER},
    {"int4", 23, TR_T_INT32, TR_T_OTHER},
    {"text", 25, TR_T_STRING, TR_T_OTHER},
    {"json", 114, TR_T_JSON, TR_T_OTHER},
    {"xml", 142, TR_T_XML, TR_T_OTHER},
    {"point", 600, TR_T_POINT, TR_T_OTHER},
    {"box", 603, TR_T_OTHER, TR_T_OTHER},
    {"float4", 700, TR_T_FLOAT32, TR_T_OTHER},
    {"float8", 701, TR_T_FLOAT64, TR_T_OTHER},
    {"money", 790, TR_T_MONEY, TR_T_OTHER},
    {"inet", 869, TR_T_OTHER, TR_T_OTHER},
    {"bpchar(5)", 1042, TR_T_STRING, TR_T_OTHER},
    {"varchar(5)", 1043, TR_T_STRING, TR_T_OTHER},
    {"date", 1082, TR_T_DATE, TR_T_OTHER},
    {"time", 1083, TR_T_TIME, TR_T_OTHER},
    {"timestamp", 1114, TR_T_TIMESTAMP, TR_T_OTHER},
    {"timestamptz", 1184, TR_T_TIMESTAMPTZ, TR_T_OTHER},
    {"interval", 1186, TR_T_INTERVAL, TR_T_OTHER},
    {"timetz", 1266, TR_T_TIMETZ, TR_T_OTHER},
    {"bit(3)", 1560, TR_T_BIT, TR_T_OTHER},
    {"varbit", 1562, TR_T_BIT, TR_T_OTHER},
    {"numeric", 1700, TR_T_DECIMAL, TR_T_OTHER},
    {"numeric(10;2)", 1700, TR_T_DECIMAL, TR_T_OTHER},
    {"uuid", 2950, TR_T_UUID, TR_T_OTHER},
    {"jsonb", 3802, TR_T_JSON, TR_T_OTHER},
    {"int4range", 3904, TR_T_OTHER, TR_T_OTHER},
    {"tsvector", 3614, TR_T_OTHER, TR_T_OTHER},
    {"\"char\"", 18, TR_T_STRING, TR_T_OTHER},
    {"int4[]", 1007, TR_T_ARRAY, TR_T_INT32},
    {"text[]", 1009, TR_T_ARRAY, TR_T_STRING},
    {"public.mood", 50000, TR_T_ENUM, TR_T_OTHER},
};

static void parse_column(char *text, struct tr_column *column, uint16_t *key_count)
{
    char *save = NULL, *name = strtok_r(text, " ", &save), *type = strtok_r(NULL, " ", &save),
         *flag;
    *column = (struct tr_column){.name = name, .precision = -1, .source_typmod = -1};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (strcmp(types[i].name, type) == 0) {
            column->type = types[i].type;
            column->elem_type = types[i].elem;
            column->source_type_id = types[i].oid;
        }
    }
    assert_int_not_equal(column->source_type_id, 0);
    for (char *at = type; *at != '\0'; at++) {
        if (*at == ';')
            *at = ',';
    }
    column->source_type = column->source_type_base = type;
    while ((flag = strtok_r(NULL, " ", &save)) != NULL) {
        if (*flag == 'k')
            column->key_index = ++*key_count;
        else if (*flag == 'n')
            column->nullable = true;
        else if (*flag == 'g')
            column->generated = column->nullable = true;
        else if (*flag == 'i')
            column->identity_always = true;
        else if (*flag == 'd')
            column->default_value = flag + 2;
    }
}

const struct tr_table *feed_table(uint64_t source_id, const char *schema, const char *name,
                                  const char *columns)
{
    struct tr_column list[64];
    struct tr_table spec = {.id = {"src", schema, name},
                            .source_id = source_id,
                            .version = 1,
                            .columns = list,
                            .replica_identity = TR_RI_DEFAULT,
                            .key_is_primary = true};
    struct tr_error err;
    struct tr_table *table;
    char *copy = strdup(columns), *rest = copy, *text;
    while ((text = strsep(&rest, ",")) != NULL && *text != '\0')
        parse_column(text, &list[spec.column_count++], &spec.key_count);
    assert_int_equal(tr_table_new(&spec, &table, &err), TR_OK);
    free(copy);
    assert_true(made_count < 64);
    made[made_count++] = table;
    return table;
}

/* ---- events ---- */

static struct tr_cell *cells_of(struct feed *feed, const struct tr_table *table, const char *text)
{
    if (text == NULL)
        return NULL;
    struct tr_cell *cells = tr_batch_cells(feed->batch, table->column_count);
    for (uint16_t i = 0; i < table->column_count; i++) {
        size_t len = strcspn(text, "|");
        cells[i] = (struct tr_cell){.ptr = tr_batch_copy(feed->batch, text, len),
                                    .len = (uint32_t)len,
                                    .state = TR_CELL_TEXT};
        if (len == 2 && memcmp(text, "\\N", 2) == 0)
            cells[i].state = TR_CELL_NULL;
        else if (len == 1 && *text == '~')
            cells[i].state = TR_CELL_UNCHANGED;
        else if (len == 1 && *text == '!')
            cells[i].state = TR_CELL_ABSENT;
        text += len + (text[len] == '|');
    }
    assert_int_equal(*text, 0);
    return cells;
}

static struct tr_event *new_event(struct feed *feed, enum tr_op op, const struct tr_table *table)
{
    if (tr_batch_full(feed->batch))
        feed_send(feed);
    struct tr_event *event = tr_batch_event(feed->batch, op);
    event->seq = ++feed->seq;
    event->table = table;
    if (table != NULL)
        assert_int_equal(tr_batch_table(feed->batch, table, &feed->err), TR_OK);
    return event;
}

void feed_row(struct feed *feed, enum tr_op op, const struct tr_table *table, const char *before,
              const char *after, unsigned flags)
{
    struct tr_event *event = new_event(feed, op, table);
    event->before = cells_of(feed, table, before);
    event->after = cells_of(feed, table, after);
    event->flags = (uint16_t)flags;
}

void feed_raw(struct feed *feed, const struct tr_table *table, const char *line)
{
    struct tr_event *event = new_event(feed, TR_OP_READ, table);
    size_t len = strlen(line);
    event->raw = (struct tr_slice){tr_batch_copy(feed->batch, line, len), len};
    event->flags = TR_EV_SNAPSHOT;
}

void feed_tuple(struct feed *feed, const struct tr_table *table, int32_t id, const char *text)
{
    struct tr_event *event = new_event(feed, TR_OP_READ, table);
    uint32_t text_len = text == NULL ? UINT32_MAX : (uint32_t)strlen(text);
    char tuple[256] = {0, 2, 0, 0, 0, 4};
    size_t len = 14;
    assert_true(text == NULL || text_len < sizeof tuple - len);
    for (int i = 0; i < 4; i++) {
        tuple[6 + i] = (char)((uint32_t)id >> (24 - 8 * i));
        tuple[10 + i] = (char)(text_len >> (24 - 8 * i));
    }
    if (text != NULL) {
        memcpy(tuple + len, text, text_len);
        len += text_len;
    }
    event->raw = (struct tr_slice){tr_batch_copy(feed->batch, tuple, len), len};
    event->flags = TR_EV_SNAPSHOT | TR_EV_RAW_BINARY;
}

void feed_truncate(struct feed *feed, const struct tr_table *table, unsigned flags)
{
    new_event(feed, TR_OP_TRUNCATE, table)->flags = (uint16_t)flags;
}

void feed_commit(struct feed *feed, const char *key, const char *value)
{
    struct tr_mark mark = {tr_slice_of(key), tr_slice_of(value)};
    struct tr_event *event;
    if (tr_batch_full(feed->batch))
        feed_send(feed);
    assert_int_equal(tr_batch_commit(feed->batch, &mark, 1, &event, &feed->err), TR_OK);
    event->seq = feed->seq_commit = ++feed->seq;
}

enum tr_status feed_try_send(struct feed *feed)
{
    enum tr_status status = TR_OK;
    if (feed->batch->event_count > 0)
        status = tr_sink_postgres.write(feed->writer, feed->batch->events, feed->batch->event_count,
                                        &feed->err);
    tr_batch_reset(feed->batch);
    return status;
}

void feed_send(struct feed *feed)
{
    enum tr_status status = feed_try_send(feed);
    show(feed, status);
    assert_int_equal(status, TR_OK);
}

void feed_flush(struct feed *feed)
{
    feed_send(feed);
    enum tr_status status = tr_sink_postgres.flush(feed->writer, 10000, &feed->err);
    show(feed, status);
    assert_int_equal(status, TR_OK);
    assert_int_equal(tr_sink_postgres.durable_seq(feed->writer), feed->seq_commit);
}

enum tr_status feed_try_schema(struct feed *feed, enum tr_change_kind kind,
                               const struct tr_table *before, const struct tr_table *after,
                               const struct tr_alter_item *items, uint32_t count)
{
    struct tr_schema_change change = {
        .kind = kind, .before = before, .item_count = count, .items = items};
    struct tr_event *event;
    feed_send(feed);
    assert_int_equal(tr_batch_schema_change(feed->batch, after, &change, &event, &feed->err),
                     TR_OK);
    event->seq = ++feed->seq;
    enum tr_status status = tr_sink_postgres.apply(feed->writer, event, &feed->err);
    if (getenv("SHOW") != NULL)
        show(feed, status);
    tr_batch_reset(feed->batch);
    return status;
}

void feed_create(struct feed *feed, const struct tr_table *table)
{
    enum tr_status status = feed_try_schema(feed, TR_CHANGE_CREATE_TABLE, NULL, table, NULL, 0);
    show(feed, status);
    assert_int_equal(status, TR_OK);
}
