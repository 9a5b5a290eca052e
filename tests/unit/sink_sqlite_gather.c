/* The SQLite sink writes what it gathered in the order of the keys: random changes against a plain
 * model that applies them as they came, for every kind of key; and targets where order can show. */
#include <time.h>
#include <unistd.h>

#include "sink_sqlite_support.h"

#define KEYS 10
#define TRANSACTIONS 200
#define TABLES 2

struct flavour {
    enum tr_type type;
    bool with_number; /* the key has a second column */
    const char *texts[KEYS];
};
static const struct flavour flavours[] = {
    {TR_T_INT64,
     false,
     {"-9223372036854775808", "-256", "-1", "0", "1", "127", "128", "255", "65536",
      "9223372036854775807"}},
    {TR_T_STRING,
     false,
     {"", "10", "9", "A", "a", "aa", "a prefix that is long 1", "a prefix that is long 2", "\x01",
      "\xc3\xa4"}},
    {TR_T_FLOAT64,
     false,
     {"-Infinity", "-1.5", "-0", "0", "1e-05", "1", "2", "10", "Infinity", "NaN"}},
    {TR_T_BYTES,
     false,
     {"\\x", "\\x00", "\\x0000", "\\x00ff", "\\x01", "\\x0100", "\\x01ff", "\\xff", "\\xff00",
      "\\xffff"}},
    {TR_T_DECIMAL, false, {"-2", "-1.5", "0", "1", "1.0", "1.00", "2", "10", "100", "NaN"}},
    {TR_T_UINT64,
     false,
     {"0", "1", "9", "10", "9223372036854775807", "9223372036854775808", "18446744073709551614",
      "18446744073709551615", "2", "3"}},
    {TR_T_STRING, true, {"", "", "a", "a", "a", "b", "b", "b", "ba", "ba"}},
};

struct row {
    bool exists;
    int a, b; /* -1: NULL */
};
struct model {
    struct row rows[TABLES][KEYS];
};
struct change {
    enum tr_op op;
    int table, key, old_key; /* old_key: -1 unless the key changed */
    int a, b;
    bool b_unchanged;
};

static struct rig rig;
static struct tr_table *tables[TABLES];
static const struct flavour *flavour;
static unsigned long long random_state;

static unsigned below(unsigned n)
{
    random_state = random_state * 6364136223846793005ull + 1442695040888963407ull;
    return (unsigned)(random_state >> 33) % n;
}

static struct tr_table *table_for(const char *name)
{
    const struct tr_column columns[] = {
        {.name = "id", .type = flavour->type, .key_index = 1},
        {.name = "n", .type = TR_T_INT32, .key_index = flavour->with_number ? 2 : 0},
        {.name = "a", .type = TR_T_INT64, .nullable = true},
        {.name = "b", .type = TR_T_STRING, .nullable = true},
        {.name = NULL}};
    return table_of(name, columns);
}

static void start(const struct flavour *chosen)
{
    flavour = chosen;
    rig_start(&rig);
    tables[0] = table_for("t");
    tables[1] = table_for("u");
    create(&rig, tables[0]);
    create(&rig, tables[1]);
    send_commit(&rig, "0");
}

static void end(void)
{
    tr_table_unref(tables[0]);
    tr_table_unref(tables[1]);
    rig_end(&rig);
}

/* ---- the model ------------------------------------------------------------------------------ */

static struct change some_change(void)
{
    static const enum tr_op ops[] = {TR_OP_CREATE, TR_OP_READ,   TR_OP_UPDATE, TR_OP_UPDATE,
                                     TR_OP_UPDATE, TR_OP_UPDATE, TR_OP_DELETE, TR_OP_DELETE};
    struct change change = {.op = ops[below(8)],
                            .table = (int)below(TABLES),
                            .key = (int)below(KEYS),
                            .old_key = -1,
                            .a = (int)below(1000) - 1,
                            .b = (int)below(1000) - 1};
    if (below(60) == 0)
        change.op = TR_OP_TRUNCATE;
    if (change.op != TR_OP_UPDATE)
        return change;
    change.b_unchanged = below(4) == 0;
    if (below(5) == 0)
        change.old_key = (change.key + 1 + (int)below(KEYS - 1)) % KEYS;
    return change;
}

static void apply_to(struct model *model, const struct change *change)
{
    struct row *rows = model->rows[change->table], *row = &rows[change->key];
    struct row new = {true, change->a, change->b};
    switch (change->op) {
    case TR_OP_TRUNCATE:
        memset(rows, 0, sizeof model->rows[0]);
        return;
    case TR_OP_DELETE:
        row->exists = false;
        return;
    case TR_OP_UPDATE:
        if (change->old_key >= 0) {
            row->exists = false;
            if (change->b_unchanged)
                new.b = rows[change->old_key].b;
            if (rows[change->old_key].exists || !change->b_unchanged)
                *row = new;
            rows[change->old_key].exists = false;
            return;
        }
        if (change->b_unchanged)
            new.b = row->b;
        if (row->exists || !change->b_unchanged)
            *row = new;
        return;
    default:
        *row = new;
    }
}

static void compare(const struct model *model)
{
    for (int t = 0; t < TABLES; t++) {
        char expected[1024] = "", sql[100];
        size_t len = 0;
        for (int key = 0; key < KEYS; key++) {
            const struct row *row = &model->rows[t][key];
            if (!row->exists)
                continue;
            len += (size_t)snprintf(expected + len, sizeof expected - len, "%s%d|%d|%d",
                                    len > 0 ? "\n" : "", key, row->a, row->b);
        }
        (void)snprintf(sql, sizeof sql, "SELECT n, ifnull(a, -1), ifnull(b, -1) FROM %s ORDER BY n",
                       tables[t]->id.table);
        assert_query(&rig, sql, expected);
    }
}

/* ---- events --------------------------------------------------------------------------------- */

/* The same bytes in the other form that a cell of TR_T_BYTES may have. */
static void to_binary(const struct tr_cell *cells)
{
    struct tr_cell *cell = (struct tr_cell *)(uintptr_t)&cells[0];
    char bytes[16];
    size_t len = 0;
    if (cells == NULL || flavour->type != TR_T_BYTES || below(2) == 0)
        return;
    for (size_t at = 2; at + 1 < cell->len; at += 2) {
        const char digits[3] = {cell->ptr[at], cell->ptr[at + 1], 0};
        bytes[len++] = (char)strtoul(digits, NULL, 16);
    }
    cell->ptr = tr_batch_copy(rig.batch, bytes, len);
    cell->len = (uint32_t)len;
    cell->state = TR_CELL_BINARY;
}

static void emit(const struct change *change)
{
    char key[8], old_key[8], a[16], b[16];
    bool moved = change->old_key >= 0, gone = change->op == TR_OP_DELETE;
    int old = moved ? change->old_key : change->key;
    if (change->op == TR_OP_TRUNCATE) {
        put(&rig, TR_OP_TRUNCATE, tables[change->table], NULL, NULL);
        return;
    }
    (void)snprintf(key, sizeof key, "%d", change->key);
    (void)snprintf(old_key, sizeof old_key, "%d", old);
    (void)snprintf(a, sizeof a, "%d", change->a);
    (void)snprintf(b, sizeof b, "%d", change->b);
    const char *const after[] = {flavour->texts[change->key], key, change->a < 0 ? NULL : a,
                                 change->b_unchanged ? UNCHANGED
                                 : change->b < 0     ? NULL
                                                     : b};
    const char *const before[] = {flavour->texts[old], flavour->with_number ? old_key : ABSENT,
                                  ABSENT, ABSENT};
    bool has_before = gone || moved || (change->op == TR_OP_UPDATE && below(3) == 0);
    struct tr_event *event = put(&rig, change->op, tables[change->table],
                                 has_before ? before : NULL, gone ? NULL : after);
    event->flags = moved ? TR_EV_KEY_CHANGED : 0;
    to_binary(event->before);
    to_binary(event->after);
}

/* Closes without a flush; which transaction is the last that is stored? */
static unsigned restart(void)
{
    struct tr_state marks;
    tr_state_init(&marks);
    rig_close(&rig);
    rig_open(&rig);
    assert_ok(&rig, tr_sink_sqlite.load_marks(rig.sink, &marks, &rig.err));
    const char *mark = tr_state_get(&marks, "n");
    unsigned number = mark == NULL ? 0 : (unsigned)strtoul(mark, NULL, 10);
    tr_state_free(&marks);
    return number;
}

static void random_stream(void)
{
    static struct model history[TRANSACTIONS + 1];
    unsigned done = 0;
    rig.config.options.commit_rows = 1 + below(300);
    rig.config.options.commit_bytes = 500 + below(20000);
    for (unsigned number = 1; number <= TRANSACTIONS; number++) {
        char mark[16];
        history[number] = history[done];
        for (unsigned i = below(below(10) == 0 ? 150 : 8); i > 0; i--) {
            struct change change = some_change();
            apply_to(&history[number], &change);
            emit(&change);
            if (below(20) == 0) /* the batch ends in the middle of a transaction */
                assert_ok(&rig, send_batch(&rig));
            if (below(80) == 0)
                assert_ok(&rig, tr_sink_sqlite.flush(rig.writer, 1000, &rig.err));
        }
        (void)snprintf(mark, sizeof mark, "%u", number);
        put_commit(&rig, "n", mark);
        done = number;
        if (below(4) == 0)
            assert_ok(&rig, send_batch(&rig));
        if (below(10) == 0) {
            assert_ok(&rig, send_batch(&rig));
            assert_ok(&rig, tr_sink_sqlite.flush(rig.writer, 1000, &rig.err));
            compare(&history[number]);
        }
        if (below(25) == 0) {
            done = restart();
            compare(&history[done]);
        }
    }
    assert_ok(&rig, send_batch(&rig));
    assert_ok(&rig, tr_sink_sqlite.flush(rig.writer, 1000, &rig.err));
    compare(&history[done]);
    assert_query(&rig, "PRAGMA integrity_check", "ok");
}

static void any_stream_gives_what_the_order_of_arrival_gives(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof flavours / sizeof flavours[0]; i++) {
        start(&flavours[i]);
        random_stream();
        end();
    }
}

/* ---- order ---------------------------------------------------------------------------------- */

/* Puts rows of table t by key number: op, key, b; b NULL: a delete. */
static void put_row(enum tr_op op, int key, const char *b)
{
    char number[8];
    (void)snprintf(number, sizeof number, "%d", key);
    const char *const row[] = {flavour->texts[key], number, NULL, b};
    put(&rig, op, tables[0], op == TR_OP_DELETE ? row : NULL, op == TR_OP_DELETE ? NULL : row);
}

static void rows_are_written_in_the_order_of_their_keys(void **state)
{
    (void)state;
    start(&flavours[1]); /* a text key: rowids tell the order of the inserts */
    put_row(TR_OP_CREATE, 5, "third");
    put_row(TR_OP_CREATE, 2, "second");
    put_row(TR_OP_CREATE, 1, "first");
    send_commit(&rig, "1");
    assert_query(&rig, "SELECT b FROM t ORDER BY rowid", "first\nsecond\nthird");
    end();
}

/* In every file: a value wanders from one row to another, so that key order would break the rule.
 */
static void move_value(const char *lsn)
{
    put_row(TR_OP_DELETE, 5, "x");
    put_row(TR_OP_CREATE, 1, "x");
    send_commit(&rig, lsn);
    assert_query(&rig, "SELECT n, b FROM t", "1|x");
}

static void other_unique_indexes_keep_the_order(void **state)
{
    (void)state;
    for (int late = 0; late < 2; late++) {
        start(&flavours[0]);
        if (!late) {
            execute(&rig, "CREATE UNIQUE INDEX other ON t (b)");
            assert_int_equal(restart(), 0);
        }
        put_row(TR_OP_CREATE, 5, "x");
        send_commit(&rig, "1");
        if (late) /* by another hand, while the writer knows the table without it */
            execute(&rig, "CREATE UNIQUE INDEX other ON t (b)");
        move_value("2");
        end();
    }
}

static void triggers_keep_the_order(void **state)
{
    (void)state;
    for (int late = 0; late < 2; late++) {
        static const char sql[] = "CREATE TABLE log (n INTEGER PRIMARY KEY AUTOINCREMENT, what);"
                                  "CREATE TRIGGER logs AFTER INSERT ON t BEGIN INSERT INTO log "
                                  "(what) VALUES (new.n); END";
        start(&flavours[0]);
        if (!late) {
            execute(&rig, sql);
            assert_int_equal(restart(), 0);
        }
        put_row(TR_OP_CREATE, 5, "x");
        put_row(TR_OP_CREATE, 3, "x");
        if (late) {
            assert_ok(&rig, send_batch(&rig));
            execute(&rig, sql);
        }
        put_row(TR_OP_CREATE, 4, "x");
        put_commit(&rig, "n", "1");
        put_row(TR_OP_CREATE, 9, "x"); /* of the next transaction: they wait longer */
        put_row(TR_OP_CREATE, 8, "x");
        assert_ok(&rig, send_batch(&rig));
        assert_ok(&rig, tr_sink_sqlite.flush(rig.writer, 1000, &rig.err));
        assert_query(&rig, "SELECT what FROM log ORDER BY n", "5\n3\n4");
        put_row(TR_OP_CREATE, 7, "x");
        put_row(TR_OP_CREATE, 6, "x");
        send_commit(&rig, "2");
        assert_query(&rig, "SELECT what FROM log ORDER BY n", "5\n3\n4\n9\n8\n7\n6");
        end();
    }
}

/* A row that is set twice is written once; one that was deleted in between begins anew. */
static void columns_that_only_the_target_has(void **state)
{
    (void)state;
    start(&flavours[0]);
    execute(&rig, "ALTER TABLE t ADD COLUMN extra DEFAULT 'new'");
    put_row(TR_OP_CREATE, 1, "x");
    put_row(TR_OP_CREATE, 2, "x");
    send_commit(&rig, "1");
    execute(&rig, "UPDATE t SET extra = 'mine'");
    put_row(TR_OP_UPDATE, 1, "y");
    put_row(TR_OP_UPDATE, 1, "z");
    put_row(TR_OP_DELETE, 2, "x");
    put_row(TR_OP_CREATE, 2, "y");
    send_commit(&rig, "2");
    assert_query(&rig, "SELECT n, b, extra FROM t ORDER BY n", "1|z|mine\n2|y|new");
    end();
}

/* ---- errors, memory ------------------------------------------------------------------------- */

static void a_refused_row_is_named(void **state)
{
    (void)state;
    start(&flavours[0]);
    execute(&rig, "DROP TABLE t; CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER, a INTEGER, "
                  "b TEXT CHECK (b <> 'bad'))");
    assert_int_equal(restart(), 0);
    put_row(TR_OP_CREATE, 7, "good");
    put_row(TR_OP_CREATE, 3, "bad");
    uint64_t bad = rig.seq - 1;
    put_row(TR_OP_CREATE, 1, "good");
    put_commit(&rig, "n", "1");
    assert_ok(&rig, send_batch(&rig));
    assert_code(&rig, TR_E_SQLITE_CONSTRAINT, tr_sink_sqlite.flush(rig.writer, 1000, &rig.err));
    assert_int_equal(rig.err.seq, bad);
    /* nothing of it may be committed by a later call */
    assert_code(&rig, TR_E_SQLITE_CONSTRAINT, tr_sink_sqlite.flush(rig.writer, 1000, &rig.err));
    assert_query(&rig, "SELECT count(*) FROM t", "0");
    end();
}

/* 400 rows of 1 kB in one source transaction, a buffer of 64 kB: nothing is seen before the end. */
static void a_transaction_larger_than_the_buffer(void **state)
{
    (void)state;
    char value[1001];
    (void)memset(value, 'v', sizeof value - 1);
    value[1000] = '\0';
    start(&flavours[0]);
    rig.config.options.commit_bytes = 64 << 10;
    put_row(TR_OP_CREATE, 0, "before");
    put_commit(&rig, "n", "1");
    for (int i = 0; i < 400; i++) {
        put_row(TR_OP_UPDATE, 1 + i % 9, value);
        if (i % 50 == 49)
            assert_ok(&rig, send_batch(&rig));
    }
    assert_ok(&rig, tr_sink_sqlite.flush(rig.writer, 1000, &rig.err));
    assert_query(&rig, "SELECT n, b FROM t", "0|before");
    struct sqlite_writer *writer = rig.writer;
    assert_true(writer->buffer.data.capacity <= 256 << 10);
    assert_true(writer->beyond);
    put_commit(&rig, "n", "2");
    assert_ok(&rig, send_batch(&rig));
    assert_ok(&rig, tr_sink_sqlite.flush(rig.writer, 1000, &rig.err));
    assert_query(&rig,
                 "SELECT count(*), min(length(b)), value FROM t, tailrace_position "
                 "WHERE item = 'n'",
                 "10|6|2");
    end();
}

/* After a large commit a flush that does not wait may gather; one that waits does not, and neither
 * does one after a small commit. */
static void only_a_busy_sink_puts_a_commit_off(void **state)
{
    (void)state;
    start(&flavours[0]);
    struct sqlite_writer *writer = rig.writer;
    put_row(TR_OP_CREATE, 1, "x");
    put_commit(&rig, "n", "1");
    assert_ok(&rig, send_batch(&rig));
    assert_int_equal(tr_sink_sqlite.flush(writer, 0, &rig.err), TR_OK);
    assert_query(&rig, "SELECT count(*) FROM t", "1");
    /* as if a large commit had just ended that took an hour */
    writer->commit_changes = 1 << 20;
    writer->commit_took_ms = 3600000;
    put_row(TR_OP_CREATE, 2, "x");
    put_commit(&rig, "n", "2");
    assert_ok(&rig, send_batch(&rig));
    writer->write_ms += 3600000; /* events keep coming */
    assert_int_equal(tr_sink_sqlite.flush(writer, 0, &rig.err), TR_AGAIN);
    assert_query(&rig, "SELECT count(*) FROM t", "1");
    assert_true(tr_sink_sqlite.durable_seq(writer) < rig.seq - 1);
    assert_int_equal(tr_sink_sqlite.flush(writer, 1, &rig.err), TR_OK);
    assert_query(&rig, "SELECT count(*) FROM t", "2");
    /* and no longer than events keep coming */
    writer->commit_changes = 1 << 20;
    writer->commit_took_ms = 3600000;
    put_row(TR_OP_CREATE, 3, "x");
    put_commit(&rig, "n", "3");
    assert_ok(&rig, send_batch(&rig));
    writer->write_ms -= 3600000;
    assert_int_equal(tr_sink_sqlite.flush(writer, 0, &rig.err), TR_OK);
    assert_query(&rig, "SELECT count(*) FROM t", "3");
    end();
}

int main(void)
{
    const char *seed = getenv("TAILRACE_TEST_SEED");
    random_state = seed != NULL ? strtoull(seed, NULL, 10) : (unsigned long long)time(NULL);
    print_message("TAILRACE_TEST_SEED=%llu\n", random_state);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_stream_gives_what_the_order_of_arrival_gives),
        cmocka_unit_test(rows_are_written_in_the_order_of_their_keys),
        cmocka_unit_test(other_unique_indexes_keep_the_order),
        cmocka_unit_test(triggers_keep_the_order),
        cmocka_unit_test(columns_that_only_the_target_has),
        cmocka_unit_test(a_refused_row_is_named),
        cmocka_unit_test(a_transaction_larger_than_the_buffer),
        cmocka_unit_test(only_a_busy_sink_puts_a_commit_off),
    };
    return cmocka_run_group_tests_name("sink_sqlite_gather", tests, NULL, NULL);
}
