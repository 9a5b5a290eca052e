/* Last write wins in SQLite files, and positions that several processes advance. */
#include <time.h>
#include <unistd.h>

#include "newest_model.h"
#include "sink_sqlite_support.h"

#define TRANSACTIONS 250

static struct rig rig;
static struct tr_table *users;

static struct tr_table *users_of(enum tr_type type, uint16_t version_column)
{
    struct tr_column columns[] = {
        {.name = "id", .type = TR_T_INT64, .key_index = 1},
        {.name = "v", .type = type, .nullable = true},
        {.name = "a", .type = TR_T_INT64, .nullable = true},
        {.name = "b", .type = TR_T_STRING, .nullable = true},
    };
    struct tr_table spec = {
        .id = {"", "", "users"}, .column_count = 4, .columns = columns, .version_column = version_column};
    struct tr_table *table;
    struct tr_error err;
    assert_int_equal(tr_table_new(&spec, &table, &err), TR_OK);
    return table;
}

static int setup(void **state)
{
    (void)state;
    rig_start(&rig);
    users = users_of(TR_T_INT64, 2);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    rig_end(&rig);
    tr_table_unref(users);
    return 0;
}

static void assert_users(const char *rows, const char *deletions)
{
    assert_query(&rig, "SELECT id, v, a, b FROM users ORDER BY id", rows);
    assert_query(&rig, "SELECT key FROM tailrace_deleted ORDER BY key", deletions);
}

/* ---- against the model ---- */

static void emit(const struct newest_flavour *flavour, const struct newest_change *change)
{
    char id[8], old_id[8], a[16], b[16];
    const char *version = newest_text(flavour, change->version);
    (void)snprintf(id, sizeof id, "%d", change->id);
    (void)snprintf(old_id, sizeof old_id, "%d", change->old_id);
    (void)snprintf(a, sizeof a, "%d", change->a);
    (void)snprintf(b, sizeof b, "%d", change->b);
    const char *const row[] = {id, version, a, change->b_unchanged ? UNCHANGED : b};
    const char *const old[] = {change->key_changed ? old_id : id, version, ABSENT, ABSENT};
    bool gone = change->op == TR_OP_DELETE;
    struct tr_event *event =
        put(&rig, change->op, users, gone || change->key_changed ? old : NULL, gone ? NULL : row);
    if (change->key_changed)
        event->flags |= TR_EV_KEY_CHANGED;
}

static void compare(const struct newest_flavour *flavour, const struct newest_model *model)
{
    char rows[2048], deletions[512];
    newest_rows(flavour, model, "<null>", rows, sizeof rows);
    newest_deletions(model, deletions, sizeof deletions);
    if (rows[0] != '\0')
        rows[strlen(rows) - 1] = '\0'; /* query() ends without a newline */
    if (deletions[0] != '\0')
        deletions[strlen(deletions) - 1] = '\0';
    const char *sql = flavour->type == TR_T_TIMESTAMPTZ
                          ? "SELECT id, replace(v, '+00:00', '+00'), a, b FROM users ORDER BY id"
                          : "SELECT id, v, a, b FROM users ORDER BY id";
    assert_query(&rig, sql, rows);
    /* made with the first row */
    if (*query(&rig, "SELECT 1 FROM sqlite_schema WHERE name = 'tailrace_deleted'") == '\0')
        assert_string_equal(deletions, "");
    else
        assert_query(&rig, "SELECT key FROM tailrace_deleted ORDER BY key", deletions);
}

/* What a stop without flush leaves: the model as it was at the stored mark. */
static unsigned restart(void)
{
    struct tr_state marks;
    tr_state_init(&marks);
    rig_close(&rig);
    rig_open(&rig);
    assert_ok(&rig, tr_sink_sqlite.load_marks(rig.sink, &marks, &rig.err));
    const char *mark = tr_state_get(&marks, "txn");
    unsigned number = mark == NULL ? 0 : (unsigned)strtoul(mark, NULL, 10);
    tr_state_free(&marks);
    return number;
}

static void random_stream(const struct newest_flavour *flavour)
{
    static struct newest_model history[TRANSACTIONS + 1];
    unsigned done = 0;
    rig_start(&rig);
    users = users_of(flavour->type, 2);
    rig.config.options.commit_rows = 1 + newest_below(40);
    create(&rig, users);
    send_commit(&rig, "0");
    for (unsigned number = 1; number <= TRANSACTIONS; number++) {
        char mark[16];
        history[number] = history[done];
        for (unsigned i = newest_below(6); i > 0; i--) {
            struct newest_change change = newest_some_change();
            newest_apply(flavour, &history[number], &change);
            emit(flavour, &change);
        }
        (void)snprintf(mark, sizeof mark, "%u", number);
        put_commit(&rig, "txn", mark);
        done = number;
        if (newest_below(3) == 0)
            assert_ok(&rig, send_batch(&rig));
        if (newest_below(8) == 0) {
            assert_ok(&rig, send_batch(&rig));
            assert_ok(&rig, tr_sink_sqlite.flush(rig.writer, 1000, &rig.err));
            compare(flavour, &history[number]);
        }
        if (newest_below(15) == 0)
            done = restart();
    }
    assert_ok(&rig, send_batch(&rig));
    assert_ok(&rig, tr_sink_sqlite.flush(rig.writer, 1000, &rig.err));
    compare(flavour, &history[done]);
    tr_table_unref(users);
    rig_end(&rig);
}

static void target_equals_model(void **state)
{
    (void)state;
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < NEWEST_FLAVOURS; i++)
            random_stream(&newest_flavours[i]);
    }
}

/* ---- single rules ---- */

static void older_and_equal(void **state)
{
    (void)state;
    create(&rig, users);
    put(&rig, TR_OP_CREATE, users, NULL, ROW("1", "10", "1", "first"));
    put(&rig, TR_OP_CREATE, users, NULL, ROW("1", "9", "2", "older"));
    put(&rig, TR_OP_DELETE, users, ROW("1", "9", ABSENT, ABSENT), NULL);
    send_commit(&rig, "1");
    assert_users("1|10|1|first", "");
    put(&rig, TR_OP_READ, users, NULL, ROW("1", "10", "3", "equal"));
    send_commit(&rig, "2");
    assert_users("1|10|3|equal", "");
    put(&rig, TR_OP_DELETE, users, ROW("1", "10", "3", "equal"), NULL);
    put(&rig, TR_OP_DELETE, users, ROW("2", "7", ABSENT, ABSENT), NULL); /* never seen */
    send_commit(&rig, "3");
    assert_users("", "[\"1\"]\n[\"2\"]");
    put(&rig, TR_OP_CREATE, users, NULL, ROW("1", "9", "4", "late"));
    put(&rig, TR_OP_CREATE, users, NULL, ROW("2", "6", "4", "late"));
    send_commit(&rig, "4");
    assert_users("", "[\"1\"]\n[\"2\"]");
    put(&rig, TR_OP_UPDATE, users, NULL, ROW("1", "11", "5", "back"));
    put(&rig, TR_OP_UPDATE, users, NULL, ROW("2", "8", "5", UNCHANGED)); /* not known in full */
    send_commit(&rig, "5");
    assert_users("1|11|5|back", "[\"2\"]");
    /* NULL is older than every other, and a row may have it */
    put(&rig, TR_OP_CREATE, users, NULL, ROW("1", NULL, "6", "null"));
    put(&rig, TR_OP_CREATE, users, NULL, ROW("3", NULL, "6", "null"));
    put(&rig, TR_OP_CREATE, users, NULL, ROW("3", NULL, "7", "null again"));
    put(&rig, TR_OP_CREATE, users, NULL, ROW("4", NULL, "6", "null"));
    put(&rig, TR_OP_DELETE, users, ROW("4", NULL, ABSENT, ABSENT), NULL);
    send_commit(&rig, "6");
    assert_users("1|11|5|back\n3|<null>|7|null again", "[\"2\"]");
}

static void key_changes(void **state)
{
    (void)state;
    create(&rig, users);
    put(&rig, TR_OP_CREATE, users, NULL, ROW("1", "10", "1", "moves"));
    put(&rig, TR_OP_CREATE, users, NULL, ROW("5", "50", "5", "newer"));
    put(&rig, TR_OP_UPDATE, users, ROW("1", "10", ABSENT, ABSENT), ROW("2", "11", "2", UNCHANGED))
        ->flags = TR_EV_KEY_CHANGED;
    send_commit(&rig, "1");
    assert_users("2|11|2|moves\n5|50|5|newer", "[\"1\"]");
    put(&rig, TR_OP_UPDATE, users, ROW("2", "11", ABSENT, ABSENT), ROW("5", "12", "3", "loses"))
        ->flags = TR_EV_KEY_CHANGED;
    send_commit(&rig, "2");
    assert_users("5|50|5|newer", "[\"1\"]\n[\"2\"]");
    put(&rig, TR_OP_UPDATE, users, ROW("5", "50", ABSENT, ABSENT), ROW("1", "60", "4", "whole"))
        ->flags = TR_EV_KEY_CHANGED;
    send_commit(&rig, "3");
    assert_users("1|60|4|whole", "[\"2\"]\n[\"5\"]");
}

static void what_cannot_be_compared(void **state)
{
    (void)state;
    create(&rig, users);
    put(&rig, TR_OP_DELETE, users, ROW("1", ABSENT, ABSENT, ABSENT), NULL);
    assert_code(&rig, TR_E_SINK_VERSION_MISSING, send_batch(&rig));
    put(&rig, TR_OP_UPDATE, users, NULL, ROW("1", UNCHANGED, "1", "x"));
    assert_code(&rig, TR_E_SINK_VERSION_MISSING, send_batch(&rig));
    put(&rig, TR_OP_UPDATE, users, ROW("1", "5", "0", "x"), ROW("1", UNCHANGED, "1", "x"));
    put(&rig, TR_OP_CREATE, users, NULL, ROW("2", "one", "1", "x"));
    assert_code(&rig, TR_E_SQLITE_VALUE, send_batch(&rig));
    assert_null(strstr(rig.err.message, "one"));
    struct tr_table *bad = users_of(TR_T_BOOLEAN, 2);
    put(&rig, TR_OP_CREATE, bad, NULL, ROW("1", "1", "1", "x"));
    assert_code(&rig, TR_E_SINK_VERSION_COLUMN, send_batch(&rig));
    tr_table_unref(bad);
}

static void plain_tables_make_nothing(void **state)
{
    (void)state;
    struct tr_table *plain = users_of(TR_T_INT64, 0);
    create(&rig, plain);
    put(&rig, TR_OP_CREATE, plain, NULL, ROW("1", "10", "1", "x"));
    put(&rig, TR_OP_CREATE, plain, NULL, ROW("1", "9", "2", "y"));
    send_commit(&rig, "1");
    assert_query(&rig, "SELECT v FROM users", "9");
    assert_query(&rig, "SELECT count(*) FROM sqlite_schema WHERE name = 'tailrace_deleted'", "0");
    tr_table_unref(plain);
}

static void remembered_for_a_while(void **state)
{
    (void)state;
    rig.config.options.tombstone_retention_ms = 3600000;
    create(&rig, users);
    put(&rig, TR_OP_DELETE, users, ROW("1", "7", ABSENT, ABSENT), NULL);
    send_commit(&rig, "1");
    execute(&rig, "INSERT INTO tailrace_deleted VALUES "
                  "('shop', 'users', '[\"8\"]', 'p', unixepoch('now') - 3605),"
                  "('shop', 'users', '[\"9\"]', 'p', unixepoch('now') - 3500),"
                  "('other', 'users', '[\"8\"]', 'p', 0)");
    put(&rig, TR_OP_DELETE, users, ROW("2", "7", ABSENT, ABSENT), NULL);
    send_commit(&rig, "2"); /* swept a moment ago */
    assert_query(&rig, "SELECT count(*) FROM tailrace_deleted", "5");
    rig_close(&rig);
    rig_open(&rig);
    put(&rig, TR_OP_DELETE, users, ROW("3", "7", ABSENT, ABSENT), NULL);
    send_commit(&rig, "3");
    assert_query(&rig, "SELECT pipeline, key FROM tailrace_deleted ORDER BY 1, 2",
                 "other|[\"8\"]\nshop|[\"1\"]\nshop|[\"2\"]\nshop|[\"3\"]\nshop|[\"9\"]");
}

static void follows_schema_changes(void **state)
{
    (void)state;
    struct tr_table_id id = {"", "", "people"};
    struct tr_table *people;
    create(&rig, users);
    put(&rig, TR_OP_CREATE, users, NULL, ROW("1", "7", "1", "x"));
    put(&rig, TR_OP_DELETE, users, ROW("2", "7", ABSENT, ABSENT), NULL);
    put(&rig, TR_OP_TRUNCATE, users, NULL, NULL);
    send_commit(&rig, "1");
    assert_users("", "[\"2\"]");
    assert_ok(&rig, tr_table_with_id(users, id, &people, &rig.err));
    assert_ok(&rig, apply(&rig, TR_CHANGE_RENAME_TABLE, users, people, NULL, 0));
    put(&rig, TR_OP_CREATE, people, NULL, ROW("2", "6", "1", "late"));
    put(&rig, TR_OP_CREATE, people, NULL, ROW("3", "6", "1", "new"));
    send_commit(&rig, "2");
    assert_query(&rig, "SELECT id FROM people", "3");
    assert_query(&rig, "SELECT target, key FROM tailrace_deleted", "people|[\"2\"]");
    assert_ok(&rig, apply(&rig, TR_CHANGE_DROP_TABLE, people, people, NULL, 0));
    send_commit(&rig, "3");
    assert_query(&rig, "SELECT count(*) FROM tailrace_deleted", "0");
    tr_table_unref(people);
}

static void count_findings(void *ctx, const struct tr_finding *finding)
{
    (void)finding;
    ++*(int *)ctx;
}

static void drop_forgets(void **state)
{
    (void)state;
    int findings = 0;
    create(&rig, users);
    put(&rig, TR_OP_DELETE, users, ROW("2", "7", ABSENT, ABSENT), NULL);
    send_commit(&rig, "1");
    execute(&rig, "INSERT INTO tailrace_deleted VALUES ('other', 'users', '[\"8\"]', 'p', 0)");
    assert_ok(&rig, tr_sink_sqlite.drop(rig.sink, count_findings, &findings, &rig.err));
    assert_int_equal(findings, 2);
    assert_query(&rig, "SELECT pipeline FROM tailrace_deleted", "other");
}

/* ---- positions of splits ---- */

static enum tr_status advance(struct rig *r, const char *key, const char *value)
{
    put(r, TR_OP_CREATE, users, NULL, ROW(value, value, "1", "x"));
    put_commit(r, key, value);
    if (send_batch(r) != TR_OK)
        return TR_FAIL;
    return tr_sink_sqlite.flush(r->writer, 1000, &r->err);
}

/* Another process of the same pipeline. */
static void other_open(struct rig *other)
{
    struct tr_state marks;
    tr_state_init(&marks);
    *other = (struct rig){.seq = 1, .config = rig.config, .context = rig.context};
    (void)strcpy(other->path, rig.path);
    assert_ok(other, tr_batch_new(&other->batch, &other->err));
    assert_ok(other, tr_sink_sqlite.open(&other->config, &other->context, &other->sink,
                                         &other->err));
    assert_ok(other, tr_sink_sqlite.load_marks(other->sink, &marks, &other->err));
    assert_ok(other, tr_sink_sqlite.writer_open(other->sink, 0, &other->writer, &other->err));
    tr_state_free(&marks);
}

static void other_close(struct rig *other)
{
    rig_close(other);
    tr_batch_free(other->batch);
}

static void two_processes(void **state)
{
    (void)state;
    struct rig other;
    create(&rig, users);
    assert_ok(&rig, advance(&rig, "at/t/0", "100"));
    other_open(&other);
    assert_ok(&rig, advance(&rig, "at/t/0", "200"));
    /* the other one went on from 100 */
    assert_code(&other, TR_E_SINK_POSITION_CONFLICT, advance(&other, "at/t/0", "150"));
    assert_int_equal(other.err.class, TR_TRANSIENT);
    assert_query(&rig, "SELECT group_concat(id) FROM users", "100,200");
    other_close(&other);
    other_open(&other);
    assert_ok(&other, advance(&other, "at/t/0", "250"));
    assert_code(&rig, TR_E_SINK_POSITION_CONFLICT, advance(&rig, "at/t/0", "300"));
    assert_query(&rig, "SELECT item, value FROM tailrace_position", "at/t/0|250");
    other_close(&other);
}

static void split_given_later(void **state)
{
    (void)state;
    struct rig other;
    create(&rig, users);
    other_open(&other);
    assert_ok(&rig, advance(&rig, "at/t/3", "70"));
    assert_ok(&rig, advance(&rig, "at/t/4", "70"));
    assert_ok(&other, advance(&other, "at/t/3", "80")); /* read its 70 at the assignment */
    assert_code(&other, TR_E_SINK_POSITION_CONFLICT, advance(&other, "at/t/4", "60"));
    other_close(&other);
    other_open(&other);
    assert_ok(&rig, advance(&rig, "at/t/4", "90"));
    /* a claim of what was read at the assignment, sent ahead by itself */
    put_commit(&other, "at/t/4", "90");
    assert_ok(&other, advance(&other, "at/t/4", "95"));
    /* the same, but with rows before it in its transaction: no claim */
    assert_ok(&other, advance(&other, "at/t/3", "85"));
    assert_code(&rig, TR_E_SINK_POSITION_CONFLICT, advance(&rig, "at/t/3", "85"));
    assert_query(&rig, "SELECT item, value FROM tailrace_position ORDER BY item",
                 "at/t/3|85\nat/t/4|95");
    other_close(&other);
}

/* Marks can be read at any time, beside a writer whose transaction is open. */
static void read_beside_a_writer(void **state)
{
    (void)state;
    struct tr_state marks;
    struct tr_context checking = rig.context;
    void *second;
    checking.checking = true;
    tr_state_init(&marks);
    create(&rig, users);
    assert_ok(&rig, advance(&rig, "at/t/0", "100"));
    put(&rig, TR_OP_CREATE, users, NULL, ROW("7", "7", "1", "x"));
    assert_ok(&rig, send_batch(&rig)); /* holds the file's write lock now */
    assert_ok(&rig, tr_sink_sqlite.open(&rig.config, &checking, &second, &rig.err));
    for (int i = 0; i < 2; i++) {
        assert_ok(&rig, tr_sink_sqlite.load_marks(second, &marks, &rig.err));
        assert_int_equal(marks.count, 1);
        assert_string_equal(tr_state_get(&marks, "at/t/0"), i == 0 ? "100" : "101");
        put_commit(&rig, "at/t/0", "101");
        assert_ok(&rig, send_batch(&rig));
        assert_ok(&rig, tr_sink_sqlite.flush(rig.writer, 1000, &rig.err));
    }
    tr_sink_sqlite.close(second);
    tr_state_free(&marks);
}

#define WITH_RIG(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const char *seed = getenv("TAILRACE_TEST_SEED");
    newest_random_state = seed != NULL ? strtoull(seed, NULL, 10)
                                       : (unsigned long long)time(NULL) ^ (unsigned)getpid();
    fprintf(stderr, "TAILRACE_TEST_SEED=%llu\n", newest_random_state);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(target_equals_model),
        WITH_RIG(older_and_equal),
        WITH_RIG(key_changes),
        WITH_RIG(what_cannot_be_compared),
        WITH_RIG(plain_tables_make_nothing),
        WITH_RIG(remembered_for_a_while),
        WITH_RIG(follows_schema_changes),
        WITH_RIG(drop_forgets),
        WITH_RIG(two_processes),
        WITH_RIG(split_given_later),
        WITH_RIG(read_beside_a_writer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
