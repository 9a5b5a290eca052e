/* The SQLite sink: schema changes, existing tables, names that clash, preflight. */
#include "sink_sqlite_support.h"

static struct rig rig;

static int setup(void **state)
{
    (void)state;
    rig_start(&rig);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    rig_end(&rig);
    return 0;
}

#define INT_KEY(column_name)                                                                       \
    {                                                                                              \
        .name = column_name, .type = TR_T_INT32, .key_index = 1                                    \
    }
#define TEXT(column_name)                                                                          \
    {                                                                                              \
        .name = column_name, .type = TR_T_STRING, .nullable = true                                 \
    }
#define COLUMN(column_name, column_type)                                                           \
    {                                                                                              \
        .name = column_name, .type = column_type, .nullable = true                                 \
    }
#define END                                                                                        \
    {                                                                                              \
        .name = NULL                                                                               \
    }
#define COLUMNS(...) ((const struct tr_column[]){__VA_ARGS__, END})
#define ITEMS(...) ((const struct tr_alter_item[]){__VA_ARGS__})

static void alter(const struct tr_table *before, const struct tr_table *after,
                  const struct tr_alter_item *items, uint32_t count)
{
    assert_ok(&rig, apply(&rig, TR_CHANGE_ALTER_TABLE, before, after, items, count));
}

static struct tr_table *start(const struct tr_column *columns)
{
    struct tr_table *table = table_of("t", columns);
    create(&rig, table);
    return table;
}

static void create_is_idempotent_and_adds(void **state)
{
    (void)state;
    struct tr_table *small = start(COLUMNS(INT_KEY("id"), TEXT("a")));
    put(&rig, TR_OP_CREATE, small, NULL, ROW("1", "x"));
    send_commit(&rig, "0/1");
    create(&rig, small);
    struct tr_table *large =
        table_of("t", COLUMNS(INT_KEY("id"), TEXT("a"),
                              {.name = "b", .type = TR_T_DECIMAL, .default_value = "1.50"}));
    create(&rig, large);
    create(&rig, large);
    create(&rig, small); /* drops nothing */
    put(&rig, TR_OP_CREATE, large, NULL, ROW("2", "y", "2.50"));
    send_commit(&rig, "0/2");
    assert_string_equal(scan(&rig, large), "1|x|1.50\n2|y|2.50");
    tr_table_unref(small);
    tr_table_unref(large);
}

static void added_defaults(void **state)
{
    (void)state;
    struct tr_table *before = start(COLUMNS(INT_KEY("id")));
    put(&rig, TR_OP_CREATE, before, NULL, ROW("1"));
    send_commit(&rig, "0/1");
    static const struct {
        enum tr_type type;
        const char *value;
    } defaults[] = {{TR_T_BOOLEAN, "t"},
                    {TR_T_INT64, "-9223372036854775808"},
                    {TR_T_FLOAT64, "NaN"},
                    {TR_T_FLOAT64, "-Infinity"},
                    {TR_T_FLOAT32, "0.1"},
                    {TR_T_FLOAT64, "-0"},
                    {TR_T_DECIMAL, "1.10"},
                    {TR_T_STRING, "it's 'quoted'"},
                    {TR_T_STRING, "007"},
                    {TR_T_BYTES, "\\x00ff"},
                    {TR_T_UINT64, "18446744073709551615"},
                    {TR_T_TIMESTAMPTZ, "2024-01-01 00:00:00+00"},
                    {TR_T_JSON, "{\"a\": 1}"},
                    {TR_T_STRING, NULL}};
    enum { COUNT = sizeof defaults / sizeof defaults[0] };
    struct tr_column columns[COUNT + 2] = {INT_KEY("id")};
    struct tr_alter_item items[COUNT];
    char names[COUNT][8];
    for (int i = 0; i < COUNT; i++) {
        (void)snprintf(names[i], sizeof names[i], "c%d", i);
        columns[i + 1] = (struct tr_column){.name = names[i],
                                            .type = defaults[i].type,
                                            .nullable = true,
                                            .default_value = defaults[i].value};
        items[i] = (struct tr_alter_item){TR_ALTER_ADD_COLUMN, 0, (uint16_t)(i + 1)};
    }
    struct tr_table *after = table_of("t", columns);
    alter(before, after, items, COUNT);
    alter(before, after, items, COUNT);
    send_commit(&rig, "0/2");
    assert_string_equal(
        scan(&rig, after),
        "1|t|-9223372036854775808|NaN|-Infinity|0.1|-0|1.10|it's 'quoted'|007|\\x00ff|"
        "18446744073709551615|2024-01-01 00:00:00+00|{\"a\": 1}|<null>");
    tr_table_unref(before);
    tr_table_unref(after);
}

static void drop_rename_swap(void **state)
{
    (void)state;
    struct tr_table *one = start(COLUMNS(INT_KEY("id"), TEXT("a"), TEXT("b"), TEXT("c")));
    put(&rig, TR_OP_CREATE, one, NULL, ROW("1", "in a", "in b", "in c"));
    send_commit(&rig, "0/1");
    execute(&rig, "CREATE INDEX by_c ON t (c)");
    /* a ↔ b, c → d */
    struct tr_table *two = table_of("t", COLUMNS(INT_KEY("id"), TEXT("b"), TEXT("a"), TEXT("d")));
    alter(one, two,
          ITEMS({TR_ALTER_RENAME_COLUMN, 1, 1}, {TR_ALTER_RENAME_COLUMN, 2, 2},
                {TR_ALTER_RENAME_COLUMN, 3, 3}),
          3);
    put(&rig, TR_OP_CREATE, two, NULL, ROW("2", "b2", "a2", "d2"));
    send_commit(&rig, "0/2");
    assert_string_equal(scan(&rig, two), "1|in a|in b|in c\n2|b2|a2|d2");
    /* a round of three, then one under an index goes */
    struct tr_table *three = table_of("t", COLUMNS(INT_KEY("id"), TEXT("a"), TEXT("d"), TEXT("b")));
    alter(two, three,
          ITEMS({TR_ALTER_RENAME_COLUMN, 1, 1}, {TR_ALTER_RENAME_COLUMN, 2, 2},
                {TR_ALTER_RENAME_COLUMN, 3, 3}),
          3);
    send_commit(&rig, "0/3");
    assert_string_equal(scan(&rig, three), "1|in a|in b|in c\n2|b2|a2|d2");
    struct tr_table *four = table_of("t", COLUMNS(INT_KEY("id"), TEXT("a"), TEXT("d")));
    alter(three, four, ITEMS({TR_ALTER_DROP_COLUMN, 3, 0}), 1);
    alter(three, four, ITEMS({TR_ALTER_DROP_COLUMN, 3, 0}), 1);
    put(&rig, TR_OP_CREATE, four, NULL, ROW("3", "x", "y"));
    send_commit(&rig, "0/4");
    assert_query(&rig, "SELECT * FROM t ORDER BY id", "1|in a|in b\n2|b2|a2\n3|x|y");
    /* rename by case only; drop a and make it anew with another type; rename onto the old name */
    struct tr_table *five =
        table_of("t", COLUMNS(INT_KEY("id"), COLUMN("a", TR_T_INT32), TEXT("D")));
    alter(four, five,
          ITEMS({TR_ALTER_DROP_COLUMN, 1, 0}, {TR_ALTER_RENAME_COLUMN, 2, 2},
                {TR_ALTER_ADD_COLUMN, 0, 1}),
          3);
    send_commit(&rig, "0/5");
    assert_string_equal(scan(&rig, five), "1|<null>|in b\n2|<null>|a2\n3|<null>|y");
    assert_query(&rig, "SELECT name FROM pragma_table_info('t') ORDER BY name", "D\na\nid");
    tr_table_unref(one);
    tr_table_unref(two);
    tr_table_unref(three);
    tr_table_unref(four);
    tr_table_unref(five);
}

/* One column changes its type; the values it had must be what the source has after its rewrite. */
static void type_case(struct tr_column from, struct tr_column to, const char *const *values,
                      const char *const *expected)
{
    static int number;
    char name[16], id[16];
    struct tr_outbuf text = {0};
    (void)snprintf(name, sizeof name, "type_%d", number++);
    from.name = to.name = "v";
    from.nullable = to.nullable = true;
    struct tr_table *before = table_of(name, COLUMNS(INT_KEY("id"), from, TEXT("other")));
    struct tr_table *after = table_of(name, COLUMNS(INT_KEY("id"), to, TEXT("other")));
    create(&rig, before);
    for (int i = 0; values[i] != NULL; i++) {
        (void)snprintf(id, sizeof id, "%d", i);
        put(&rig, TR_OP_CREATE, before, NULL, ROW(id, values[i], "kept"));
        tr_outbuf_printf(&text, "%d|%s|kept\n", i, expected[i]);
    }
    put(&rig, TR_OP_CREATE, before, NULL, ROW("98", NULL, "kept"));
    send_commit(&rig, "0/1");
    alter(before, after, ITEMS({TR_ALTER_COLUMN_TYPE, 1, 1}), 1);
    alter(before, after, ITEMS({TR_ALTER_COLUMN_TYPE, 1, 1}), 1); /* a second time does no harm */
    put(&rig, TR_OP_CREATE, after, NULL, ROW("99", expected[0], "new"));
    send_commit(&rig, "0/2");
    tr_outbuf_printf(&text, "98|<null>|kept\n99|%s|new", expected[0]);
    assert_string_equal(scan(&rig, after), tr_outbuf_cstr(&text));
    tr_outbuf_free(&text);
    tr_table_unref(before);
    tr_table_unref(after);
}

static void type_changes(void **state)
{
    (void)state;
#define TYPE(...) ((struct tr_column){__VA_ARGS__})
    type_case(TYPE(.type = TR_T_INT32), TYPE(.type = TR_T_INT64), ROW("-1", "2", NULL),
              ROW("-1", "2", NULL));
    type_case(TYPE(.type = TR_T_INT32), TYPE(.type = TR_T_STRING), ROW("7", "-8", NULL),
              ROW("7", "-8", NULL));
    type_case(TYPE(.type = TR_T_BOOLEAN), TYPE(.type = TR_T_STRING), ROW("t", "f", NULL),
              ROW("true", "false", NULL));
    type_case(TYPE(.type = TR_T_BOOLEAN), TYPE(.type = TR_T_INT32), ROW("t", "f", NULL),
              ROW("1", "0", NULL));
    type_case(TYPE(.type = TR_T_STRING), TYPE(.type = TR_T_INT32), ROW("42", "007", "-1", NULL),
              ROW("42", "7", "-1", NULL));
    type_case(TYPE(.type = TR_T_STRING), TYPE(.type = TR_T_JSON), ROW("1.10", NULL),
              ROW("1.10", NULL));
    type_case(TYPE(.type = TR_T_INT32), TYPE(.type = TR_T_DECIMAL, .precision = 10, .scale = 2),
              ROW("5", "-3", "0", NULL), ROW("5.00", "-3.00", "0.00", NULL));
    type_case(TYPE(.type = TR_T_DECIMAL, .precision = 10, .scale = 2),
              TYPE(.type = TR_T_DECIMAL, .precision = 20, .scale = 6),
              ROW("1.50", "-0.01", "NaN", NULL), ROW("1.500000", "-0.010000", "NaN", NULL));
    type_case(TYPE(.type = TR_T_DECIMAL, .precision = 20, .scale = 3),
              TYPE(.type = TR_T_DECIMAL, .precision = 10, .scale = 1),
              ROW("9.950", "-9.949", "0.049", "-0.049", "99999999999999999.950", "0.050", NULL),
              ROW("10.0", "-9.9", "0.0", "0.0", "100000000000000000.0", "0.1", NULL));
    type_case(TYPE(.type = TR_T_DECIMAL), TYPE(.type = TR_T_INT64),
              ROW("2.5", "-2.5", "0.4", "-0.4", "9.5", NULL), ROW("3", "-3", "0", "0", "10", NULL));
    type_case(TYPE(.type = TR_T_DECIMAL), TYPE(.type = TR_T_FLOAT64), ROW("0.10", "1e", "-5", NULL),
              ROW("0.1", "1e", "-5", NULL)); /* what cannot be converted stays as it was */
    type_case(TYPE(.type = TR_T_FLOAT64), TYPE(.type = TR_T_DECIMAL, .precision = 30, .scale = 2),
              ROW("1.5", "1e+20", "-2.675", "0.001", "123456.789", NULL),
              ROW("1.50", "100000000000000000000.00", "-2.68", "0.00", "123456.79", NULL));
    type_case(TYPE(.type = TR_T_FLOAT64), TYPE(.type = TR_T_DECIMAL),
              ROW("1e-05", "1e+20", "NaN", NULL),
              ROW("0.00001", "100000000000000000000", "NaN", NULL));
    type_case(TYPE(.type = TR_T_FLOAT32), TYPE(.type = TR_T_FLOAT64),
              ROW("0.1", "1.5", "NaN", NULL), ROW("0.10000000149011612", "1.5", "NaN", NULL));
    type_case(TYPE(.type = TR_T_FLOAT64), TYPE(.type = TR_T_FLOAT32), ROW("0.12345678901234", NULL),
              ROW("0.12345679", NULL));
    type_case(TYPE(.type = TR_T_FLOAT64), TYPE(.type = TR_T_INT32), ROW("2.5", "3.5", "-0.4", NULL),
              ROW("2", "4", "0", NULL));
    type_case(TYPE(.type = TR_T_DATE), TYPE(.type = TR_T_TIMESTAMP),
              ROW("2024-01-02", "0044-03-15 BC", "infinity", NULL),
              ROW("2024-01-02 00:00:00", "0044-03-15 00:00:00 BC", "infinity", NULL));
    type_case(TYPE(.type = TR_T_TIMESTAMP), TYPE(.type = TR_T_TIMESTAMPTZ),
              ROW("2024-01-02 03:04:05.6", "-infinity", NULL),
              ROW("2024-01-02 03:04:05.6+00", "-infinity", NULL));
    type_case(TYPE(.type = TR_T_TIMESTAMPTZ), TYPE(.type = TR_T_DATE),
              ROW("2024-01-02 03:04:05.6+00", "0044-03-15 00:00:00+00 BC", NULL),
              ROW("2024-01-02", "0044-03-15 BC", NULL));
}

static void key_changes(void **state)
{
    (void)state;
    struct tr_table *one = start(COLUMNS(INT_KEY("id"), COLUMN("k", TR_T_INT32), TEXT("v")));
    for (int i = 1; i < 6; i++) {
        char id[16], k[16];
        (void)snprintf(id, sizeof id, "%d", i);
        (void)snprintf(k, sizeof k, "%d", 100 - i);
        put(&rig, TR_OP_CREATE, one, NULL, ROW(id, k, "v"));
    }
    send_commit(&rig, "0/1");
    execute(&rig,
            "CREATE INDEX by_v ON t (v); CREATE VIEW seen AS SELECT id, v FROM t;"
            "CREATE TABLE log (n INTEGER);"
            "CREATE TRIGGER noted AFTER INSERT ON t BEGIN INSERT INTO log VALUES (new.id); END");
    struct tr_table *two =
        table_of("t", COLUMNS({.name = "id", .type = TR_T_INT32}, INT_KEY("k"), TEXT("v")));
    alter(one, two, ITEMS({TR_ALTER_KEY, 0, 0}), 1);
    put(&rig, TR_OP_UPDATE, two, NULL, ROW("2", "98", "by the new key"));
    put(&rig, TR_OP_DELETE, two, ROW(ABSENT, "97", ABSENT), NULL);
    put(&rig, TR_OP_CREATE, two, NULL, ROW("5", "500", "same id"));
    send_commit(&rig, "0/2");
    assert_string_equal(scan(&rig, two),
                        "5|95|v\n4|96|v\n2|98|by the new key\n1|99|v\n5|500|same id");
    /* index, trigger and view are still there, and work */
    assert_query(&rig,
                 "SELECT name FROM sqlite_schema WHERE name IN ('by_v','noted','seen') ORDER BY 1",
                 "by_v\nnoted\nseen");
    assert_query(&rig, "SELECT count(*) FROM seen", "5");
    assert_query(&rig, "SELECT n FROM log", "5");
    /* the key's column goes, and a composite key comes */
    struct tr_table *three =
        table_of("t", COLUMNS({.name = "id", .type = TR_T_INT32, .key_index = 2},
                              {.name = "v", .type = TR_T_STRING, .key_index = 1}));
    alter(two, three, ITEMS({TR_ALTER_DROP_COLUMN, 1, 0}, {TR_ALTER_KEY, 0, 0}), 2);
    put(&rig, TR_OP_UPDATE, three, ROW("1", "v"), ROW("1", "w"))->flags = TR_EV_KEY_CHANGED;
    send_commit(&rig, "0/3");
    assert_string_equal(scan(&rig, three), "2|by the new key\n5|same id\n4|v\n5|v\n1|w");
    /* no key at all */
    struct tr_table *four = table_of("t", COLUMNS(COLUMN("id", TR_T_INT32), TEXT("v")));
    alter(three, four, ITEMS({TR_ALTER_KEY, 0, 0}), 1);
    put(&rig, TR_OP_CREATE, four, NULL, ROW("1", "w"));
    put(&rig, TR_OP_CREATE, four, NULL, ROW(NULL, NULL));
    send_commit(&rig, "0/4");
    assert_query(&rig, "SELECT count(*) FROM t WHERE id = 1 OR id IS NULL", "3");
    /* a key that the rows do not fit: refused, and what came before in the change is undone */
    struct tr_table *five = table_of(
        "t", COLUMNS({.name = "id", .type = TR_T_INT32, .key_index = 1}, TEXT("v"), TEXT("more")));
    put(&rig, TR_OP_CREATE, four, NULL, ROW("8", "stays"));
    assert_ok(&rig, send_batch(&rig));
    assert_code(&rig, TR_E_SQLITE_CONSTRAINT,
                apply(&rig, TR_CHANGE_ALTER_TABLE, four, five,
                      ITEMS({TR_ALTER_ADD_COLUMN, 0, 2}, {TR_ALTER_KEY, 0, 0}), 2));
    assert_int_equal(rig.err.class, TR_SCHEMA);
    put(&rig, TR_OP_CREATE, four, NULL, ROW("9", "goes on"));
    send_commit(&rig, "0/5");
    assert_query(&rig, "SELECT count(*) FROM t", "9");
    assert_query(&rig, "SELECT name FROM pragma_table_info('t')", "id\nv");
    tr_table_unref(five);
    tr_table_unref(one);
    tr_table_unref(two);
    tr_table_unref(three);
    tr_table_unref(four);
}

static void tables_renamed_and_dropped(void **state)
{
    (void)state;
    const struct tr_column *columns = COLUMNS(INT_KEY("id"), TEXT("v"));
    struct tr_table *a = table_of("a", columns), *b = table_of("b", columns),
                    *spare = table_of("spare", columns), *upper = table_of("A", columns);
    create(&rig, a);
    create(&rig, b);
    put(&rig, TR_OP_CREATE, a, NULL, ROW("1", "of a"));
    put(&rig, TR_OP_CREATE, b, NULL, ROW("1", "of b"));
    send_commit(&rig, "0/1");
    /* a ↔ b within one transaction, as the source does it */
    assert_ok(&rig, apply(&rig, TR_CHANGE_RENAME_TABLE, a, spare, NULL, 0));
    assert_ok(&rig, apply(&rig, TR_CHANGE_RENAME_TABLE, b, a, NULL, 0));
    assert_ok(&rig, apply(&rig, TR_CHANGE_RENAME_TABLE, spare, b, NULL, 0));
    put(&rig, TR_OP_CREATE, a, NULL, ROW("2", "new in a"));
    put(&rig, TR_OP_CREATE, b, NULL, ROW("2", "new in b"));
    assert_ok(&rig, send_batch(&rig));
    assert_query(&rig, "SELECT v FROM a", "of a"); /* not before the commit */
    send_commit(&rig, "0/2");
    assert_query(&rig, "SELECT v FROM a", "of b\nnew in a");
    assert_query(&rig, "SELECT v FROM b", "of a\nnew in b");
    /* the new name is taken by a table with rows; by an empty one; by its own other case */
    assert_code(&rig, TR_E_SQLITE_TABLE_EXISTS, apply(&rig, TR_CHANGE_RENAME_TABLE, a, b, NULL, 0));
    create(&rig, spare);
    assert_ok(&rig, apply(&rig, TR_CHANGE_RENAME_TABLE, b, spare, NULL, 0));
    assert_ok(&rig, apply(&rig, TR_CHANGE_RENAME_TABLE, a, upper, NULL, 0));
    send_commit(&rig, "0/3");
    assert_query(&rig, "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name",
                 "A\nspare\ntailrace_position");
    assert_ok(&rig, apply(&rig, TR_CHANGE_DROP_TABLE, upper, upper, NULL, 0));
    assert_ok(&rig, apply(&rig, TR_CHANGE_DROP_TABLE, upper, upper, NULL, 0));
    send_commit(&rig, "0/4");
    assert_query(&rig, "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name",
                 "spare\ntailrace_position");
    /* after the drop another schema may have the name; while it is held none may */
    struct tr_table *other = table_in("sales", "A", columns),
                    *clash = table_in("sales", "spare", columns);
    create(&rig, other);
    assert_code(&rig, TR_E_SINK_TABLE_CLASH,
                apply(&rig, TR_CHANGE_CREATE_TABLE, NULL, clash, NULL, 0));
    put(&rig, TR_OP_CREATE, clash, NULL, ROW("1", "x"));
    assert_code(&rig, TR_E_SINK_TABLE_CLASH, send_batch(&rig));
    tr_table_unref(a);
    tr_table_unref(b);
    tr_table_unref(spare);
    tr_table_unref(upper);
    tr_table_unref(other);
    tr_table_unref(clash);
}

static void names_that_differ_by_case(void **state)
{
    (void)state;
    struct tr_table *columns = table_of("t", COLUMNS(INT_KEY("id"), TEXT("Name"), TEXT("name")));
    assert_code(&rig, TR_E_SQLITE_COLUMN_CASE,
                apply(&rig, TR_CHANGE_CREATE_TABLE, NULL, columns, NULL, 0));
    assert_non_null(strstr(rig.err.hint, "rename"));
    put(&rig, TR_OP_CREATE, columns, NULL, ROW("1", "a", "b"));
    assert_code(&rig, TR_E_SQLITE_COLUMN_CASE, send_batch(&rig));
    struct tr_table *small = table_of("orders", COLUMNS(INT_KEY("id"))),
                    *large = table_of("Orders", COLUMNS(INT_KEY("id")));
    create(&rig, small);
    assert_code(&rig, TR_E_SQLITE_TABLE_CASE,
                apply(&rig, TR_CHANGE_CREATE_TABLE, NULL, large, NULL, 0));
    send_commit(&rig, "0/1");
    rig_close(&rig);
    rig_open(&rig); /* and when only the file remembers the other one */
    assert_code(&rig, TR_E_SQLITE_TABLE_CASE,
                apply(&rig, TR_CHANGE_CREATE_TABLE, NULL, large, NULL, 0));
    tr_table_unref(columns);
    tr_table_unref(small);
    tr_table_unref(large);
    /* letters beyond ASCII are not folded by SQLite */
    struct tr_table *umlauts = table_of("u", COLUMNS(INT_KEY("id"), TEXT("ä"), TEXT("Ä")));
    create(&rig, umlauts);
    put(&rig, TR_OP_CREATE, umlauts, NULL, ROW("1", "small", "large"));
    send_commit(&rig, "0/2");
    assert_string_equal(scan(&rig, umlauts), "1|small|large");
    tr_table_unref(umlauts);
    static const char *const reserved[] = {"sqlite_x", "SQLite_stat1", "tailrace_position",
                                           "Tailrace_Position", ""};
    for (size_t i = 0; i < sizeof reserved / sizeof reserved[0]; i++) {
        struct tr_table *table = table_of(reserved[i], COLUMNS(INT_KEY("id")));
        assert_code(&rig, TR_E_SQLITE_NAME_RESERVED,
                    apply(&rig, TR_CHANGE_CREATE_TABLE, NULL, table, NULL, 0));
        put(&rig, TR_OP_TRUNCATE, table, NULL, NULL);
        assert_code(&rig, TR_E_SQLITE_NAME_RESERVED, send_batch(&rig));
        tr_table_unref(table);
    }
}

static void existing_tables(void **state)
{
    (void)state;
    execute(&rig,
            "CREATE TABLE good (id INT PRIMARY KEY, note TEXT, extra TEXT DEFAULT 'd', n INTEGER "
            "NOT NULL "
            "DEFAULT 5);"
            "INSERT INTO good (id, note) VALUES (1, 'old');"
            "CREATE TABLE by_index (id INT, note TEXT); CREATE UNIQUE INDEX u ON by_index (id);"
            "CREATE TABLE no_key (id INT, note TEXT);"
            "CREATE TABLE nocase (note TEXT COLLATE NOCASE PRIMARY KEY);"
            "CREATE TABLE needs (id INT PRIMARY KEY, note TEXT, must TEXT NOT NULL);"
            "CREATE TABLE money (id INTEGER PRIMARY KEY, price NUMERIC(10,2), note STRING);"
            "INSERT INTO money VALUES (1, '1.5', 7);"
            "CREATE TABLE checked (id INTEGER PRIMARY KEY, price NUMERIC CHECK (price > 0));"
            "CREATE VIEW looks AS SELECT 1 AS id");
    struct tr_table *good = table_of("good", COLUMNS(INT_KEY("id"), TEXT("note"), TEXT("added")));
    create(&rig, good);
    put(&rig, TR_OP_UPDATE, good, NULL, ROW("1", "new", "x"));
    put(&rig, TR_OP_CREATE, good, NULL, ROW("2", "b", "y"));
    send_commit(&rig, "0/1");
    /* columns of the target's own keep their values */
    assert_query(&rig, "SELECT id, note, extra, n, added FROM good", "1|new|d|5|x\n2|b|d|5|y");
    struct tr_table *by_index = table_of("by_index", COLUMNS(INT_KEY("id"), TEXT("note")));
    create(&rig, by_index);
    put(&rig, TR_OP_CREATE, by_index, NULL, ROW("1", "a"));
    put(&rig, TR_OP_CREATE, by_index, NULL, ROW("1", "b"));
    send_commit(&rig, "0/2");
    assert_query(&rig, "SELECT * FROM by_index", "1|b");
    static const struct {
        const char *name, *key;
        enum tr_code code;
    } bad[] = {{"no_key", "id", TR_E_SQLITE_KEY_MISMATCH},
               {"nocase", "note", TR_E_SQLITE_KEY_MISMATCH},
               {"needs", "id", TR_E_SQLITE_COLUMN_EXTRA},
               {"looks", "id", TR_E_SQLITE_TABLE_EXISTS}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct tr_table *table = table_of(bad[i].name, COLUMNS(INT_KEY(bad[i].key)));
        assert_code(&rig, bad[i].code, apply(&rig, TR_CHANGE_CREATE_TABLE, NULL, table, NULL, 0));
        assert_true(rig.err.hint[0] != '\0');
        tr_table_unref(table);
    }
    /* NUMERIC would turn 1.10 into 1.1: the column is made anew; not where a CHECK would be lost */
    struct tr_column price = COLUMN("price", TR_T_DECIMAL);
    struct tr_table *money = table_of("money", COLUMNS(INT_KEY("id"), price, TEXT("note")));
    put(&rig, TR_OP_CREATE, money, NULL, ROW("2", "1.10", "007"));
    assert_code(&rig, TR_E_SQLITE_COLUMN_TYPE, send_batch(&rig));
    create(&rig, money);
    put(&rig, TR_OP_CREATE, money, NULL, ROW("2", "1.10", "007"));
    send_commit(&rig, "0/3");
    assert_string_equal(scan(&rig, money), "1|1.5|7\n2|1.10|007");
    struct tr_table *checked = table_of("checked", COLUMNS(INT_KEY("id"), price));
    assert_code(&rig, TR_E_SQLITE_COLUMN_TYPE,
                apply(&rig, TR_CHANGE_CREATE_TABLE, NULL, checked, NULL, 0));
    assert_query(&rig, "SELECT sql FROM sqlite_schema WHERE name = 'checked'",
                 "CREATE TABLE checked (id INTEGER PRIMARY KEY, price NUMERIC CHECK (price > 0))");
    tr_table_unref(good);
    tr_table_unref(by_index);
    tr_table_unref(money);
    tr_table_unref(checked);
}

static void creation_can_be_forbidden(void **state)
{
    (void)state;
    rig.config.options.create_tables = false;
    struct tr_table *table = table_of("t", COLUMNS(INT_KEY("id"), TEXT("v")));
    assert_code(&rig, TR_E_SQLITE_TABLE_ABSENT,
                apply(&rig, TR_CHANGE_CREATE_TABLE, NULL, table, NULL, 0));
    assert_string_equal(
        rig.err.hint,
        "CREATE TABLE \"t\" (\"id\" INTEGER NOT NULL, \"v\" TEXT, PRIMARY KEY (\"id\"));");
    put(&rig, TR_OP_CREATE, table, NULL, ROW("1", "x"));
    assert_code(&rig, TR_E_SQLITE_TABLE_ABSENT, send_batch(&rig));
    execute(&rig, "CREATE TABLE t (id INTEGER PRIMARY KEY)");
    put(&rig, TR_OP_CREATE, table, NULL, ROW("1", "x"));
    assert_code(&rig, TR_E_SQLITE_COLUMN_MISSING, send_batch(&rig));
    assert_string_equal(rig.err.hint, "ALTER TABLE \"t\" ADD COLUMN \"v\" TEXT;");
    tr_table_unref(table);
}

static void changes_inside_a_transaction(void **state)
{
    (void)state;
    struct tr_table *one = start(COLUMNS(INT_KEY("id"), TEXT("a")));
    put(&rig, TR_OP_CREATE, one, NULL, ROW("1", "x"));
    send_commit(&rig, "0/1");
    put(&rig, TR_OP_UPDATE, one, NULL, ROW("1", "y"));
    assert_ok(&rig, send_batch(&rig));
    struct tr_table *two = table_of("t", COLUMNS(INT_KEY("id"), TEXT("a"), TEXT("b")));
    alter(one, two, ITEMS({TR_ALTER_ADD_COLUMN, 0, 2}), 1);
    put(&rig, TR_OP_CREATE, two, NULL, ROW("2", "z", "w"));
    assert_ok(&rig, send_batch(&rig));
    assert_query(&rig, "SELECT * FROM t", "1|x");
    /* the process ends here: neither rows nor the column are there */
    rig_close(&rig);
    rig_open(&rig);
    assert_query(&rig, "SELECT * FROM t", "1|x");
    put(&rig, TR_OP_UPDATE, one, NULL, ROW("1", "y"));
    assert_ok(&rig, send_batch(&rig));
    alter(one, two, ITEMS({TR_ALTER_ADD_COLUMN, 0, 2}), 1);
    put(&rig, TR_OP_CREATE, two, NULL, ROW("2", "z", "w"));
    send_commit(&rig, "0/2");
    assert_string_equal(scan(&rig, two), "1|y|<null>\n2|z|w");
    /* a refused change leaves the rows before it */
    put(&rig, TR_OP_CREATE, two, NULL, ROW("3", "kept", NULL));
    assert_ok(&rig, send_batch(&rig));
    struct tr_table *bad =
        table_of("t", COLUMNS(INT_KEY("id"), TEXT("a"), TEXT("b"), TEXT("c"), TEXT("C")));
    assert_code(&rig, TR_E_SQLITE_COLUMN_CASE,
                apply(&rig, TR_CHANGE_ALTER_TABLE, two, bad,
                      ITEMS({TR_ALTER_ADD_COLUMN, 0, 3}, {TR_ALTER_ADD_COLUMN, 0, 4}), 2));
    send_commit(&rig, "0/3");
    assert_query(&rig, "SELECT count(*) FROM t", "3");
    tr_table_unref(one);
    tr_table_unref(two);
    tr_table_unref(bad);
}

static void rename_onto_a_column_made_too_early(void **state)
{
    (void)state;
    struct tr_table *one = start(COLUMNS(INT_KEY("id"), TEXT("a")));
    struct tr_table *two = table_of("t", COLUMNS(INT_KEY("id"), TEXT("b")));
    put(&rig, TR_OP_CREATE, one, NULL, ROW("1", "x"));
    send_commit(&rig, "0/1");
    create(&rig, two); /* the catalog was ahead of the log */
    alter(one, two, ITEMS({TR_ALTER_RENAME_COLUMN, 1, 1}), 1);
    alter(one, two, ITEMS({TR_ALTER_RENAME_COLUMN, 1, 1}), 1);
    send_commit(&rig, "0/2");
    assert_query(&rig, "SELECT * FROM t", "1|x");
    tr_table_unref(one);
    tr_table_unref(two);
}

/* ---- preflight ------------------------------------------------------------------------------ */

struct seen {
    enum tr_code codes[32];
    enum tr_severity severities[32];
    size_t count;
};

static void see(void *ctx, const struct tr_finding *finding)
{
    struct seen *seen = ctx;
    assert_true(seen->count < 32);
    assert_true(finding->message[0] != '\0');
    seen->codes[seen->count] = finding->code;
    seen->severities[seen->count++] = finding->severity;
}

static size_t count_errors(const struct seen *seen, enum tr_code code)
{
    size_t count = 0;
    for (size_t i = 0; i < seen->count; i++)
        count += seen->severities[i] == TR_ERROR_SEVERITY && seen->codes[i] == code;
    return count;
}

static void validate_reports(void **state)
{
    (void)state;
    struct seen seen = {0};
    execute(&rig, "CREATE TABLE no_key (id INT)");
    const struct tr_table *tables[] = {
        table_of("fine", COLUMNS(INT_KEY("id"))),
        table_of("t", COLUMNS(INT_KEY("id"), TEXT("Name"), TEXT("name"))),
        table_of("orders", COLUMNS(INT_KEY("id"))),
        table_of("Orders", COLUMNS(INT_KEY("id"))),
        table_in("sales", "fine", COLUMNS(INT_KEY("id"))),
        table_of("sqlite_x", COLUMNS(INT_KEY("id"))),
        table_of("no_key", COLUMNS(INT_KEY("id"))),
    };
    size_t count = sizeof tables / sizeof tables[0];
    assert_ok(&rig, tr_sink_sqlite.validate(rig.sink, tables, count, see, &seen, &rig.err));
    assert_int_equal(count_errors(&seen, TR_E_SQLITE_COLUMN_CASE), 1);
    assert_int_equal(count_errors(&seen, TR_E_SQLITE_TABLE_CASE), 1);
    assert_int_equal(count_errors(&seen, TR_E_SINK_TABLE_CLASH), 1);
    assert_int_equal(count_errors(&seen, TR_E_SQLITE_NAME_RESERVED), 1);
    assert_int_equal(count_errors(&seen, TR_E_SQLITE_KEY_MISMATCH), 1);
    size_t errors = 0;
    for (size_t i = 0; i < seen.count; i++)
        errors += seen.severities[i] == TR_ERROR_SEVERITY;
    assert_int_equal(errors, 5);
    assert_query(&rig, "SELECT count(*) FROM sqlite_schema WHERE name IN ('fine', 'orders')", "0");
    for (size_t i = 0; i < count; i++)
        tr_table_unref(tables[i]);
}

#define WITH_RIG(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_RIG(create_is_idempotent_and_adds),
        WITH_RIG(added_defaults),
        WITH_RIG(drop_rename_swap),
        WITH_RIG(type_changes),
        WITH_RIG(key_changes),
        WITH_RIG(tables_renamed_and_dropped),
        WITH_RIG(names_that_differ_by_case),
        WITH_RIG(existing_tables),
        WITH_RIG(creation_can_be_forbidden),
        WITH_RIG(changes_inside_a_transaction),
        WITH_RIG(rename_onto_a_column_made_too_early),
        WITH_RIG(validate_reports),
    };
    return cmocka_run_group_tests_name("sink_sqlite_ddl", tests, NULL, NULL);
}
