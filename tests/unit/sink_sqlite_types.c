/* The SQLite sink: every type's values lie in the file as documented and come back as they were. */
#include "sink_sqlite_support.h"

#include <math.h>

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

#define VALUES_MAX 24
static const struct {
    enum tr_type type;
    const char *stored; /* typeof() of the first value */
    const char *values[VALUES_MAX];
} samples[] = {
    {TR_T_BOOLEAN, "integer", {"t", "f"}},
    {TR_T_INT8, "integer", {"-128", "127", "0"}},
    {TR_T_INT16, "integer", {"-32768", "32767"}},
    {TR_T_INT32, "integer", {"-2147483648", "2147483647"}},
    {TR_T_INT64, "integer", {"-9223372036854775808", "9223372036854775807", "9007199254740993"}},
    {TR_T_UINT64,
     "integer",
     {"0", "9223372036854775807", "9223372036854775808", "18446744073709551615"}},
    {TR_T_FLOAT32,
     "real",
     {"0.1", "1e+06", "123456", "1.234567e+06", "3.4028235e+38", "1e-45", "NaN", "Infinity",
      "-Infinity", "-0", "0", "-1.5", "0.0001", "1e-05", "1.6777216e+07"}},
    {TR_T_FLOAT64,
     "real",
     {"0.1", "1e+15", "100000000000000", "1.7976931348623157e+308", "5e-324",
      "2.2250738585072014e-308", "NaN", "Infinity", "-Infinity", "-0", "0", "123456789012345.67",
      "0.30000000000000004", "-1e-05", "0.0001", "1e+300", "9007199254740993e-3"}},
    {TR_T_DECIMAL,
     "text",
     {"1.10", "0", "-0.00", "123456789012345678901234567890.123456789", "NaN", "Infinity",
      "-Infinity", "00", "1000000000000000000000000"}},
    {TR_T_STRING,
     "text",
     {"", "x", "1", "1.0", "007", "1e5", "NULL", "with 'quotes' \"too\"", "ünï 漢字 🚀", "\x01\x7f",
      " spaces ", "0x10", "inf", "nan", "9e999"}},
    {TR_T_BYTES, "blob", {"\\x", "\\x00ff", "\\x5c6e", "\\x31"}},
    {TR_T_DATE,
     "text",
     {"2024-02-29", "0001-01-01", "4713-01-01 BC", "infinity", "-infinity", "5874897-12-31"}},
    {TR_T_TIME, "text", {"00:00:00", "24:00:00", "23:59:59.999999"}},
    {TR_T_TIMETZ, "text", {"12:00:00+05:30", "24:00:00-12", "00:00:00.000001+00"}},
    {TR_T_TIMESTAMP,
     "text",
     {"2024-02-29 12:34:56.789012", "infinity", "4713-01-01 00:00:00 BC",
      "294276-12-31 23:59:59.999999"}},
    {TR_T_TIMESTAMPTZ,
     "text",
     {"2024-02-29 07:04:56.789012+00", "infinity", "-infinity", "4713-11-24 00:00:00+00 BC",
      "294276-12-31 23:59:59.999999+00"}},
    {TR_T_INTERVAL, "text", {"1 year 2 mons 3 days 04:05:06.7", "-1 days +02:00:00", "00:00:00"}},
    {TR_T_UUID,
     "text",
     {"00000000-0000-0000-0000-000000000000", "12345678-9012-3456-7890-123456789012"}},
    {TR_T_JSON,
     "text",
     {"{\"a\":  1}", "null", "1.10", "1e3", "\"text\"", "12345678901234567890.10"}},
    {TR_T_XML, "text", {"<a b=\"c\">d</a>", "1"}},
    {TR_T_ENUM, "text", {"sad", "1", "1.0"}},
    {TR_T_BIT, "text", {"1", "0101", "", "00000000000000000000000000000000000000000000000001"}},
    {TR_T_MONEY, "text", {"12.50", "-1.00", "$1,000.10"}},
    {TR_T_ARRAY, "text", {"{}", "{1,NULL,-3}", "{a,\"b c\",NULL}", "[0:1]={5,6}"}},
    {TR_T_POINT, "text", {"(1.5,-2)"}},
    {TR_T_HSTORE, "text", {"", "\"a\"=>\"1\""}},
    {TR_T_OTHER, "text", {"[1,10)", "192.168.0.1/24", "10", "16/B374D848", "1.0"}},
};
#define SAMPLES (sizeof samples / sizeof samples[0])

static struct tr_table *typed(enum tr_type type)
{
    struct tr_column columns[] = {{.name = "id", .type = TR_T_INT32, .key_index = 1},
                                  {.name = "v", .type = type, .nullable = true},
                                  {.name = NULL}};
    char name[32];
    (void)snprintf(name, sizeof name, "t_%s", tr_type_name(type));
    return table_of(name, columns);
}

/* What the value must look like when it comes back: itself, but for one that is not canonical. */
static const char *back(const char *value)
{
    return strcmp(value, "9007199254740993e-3") == 0 ? "9007199254740.992" : value;
}

static void every_type_comes_back(void **state)
{
    (void)state;
    assert_int_equal(SAMPLES, TR_T_COUNT);
    for (size_t s = 0; s < SAMPLES; s++) {
        struct tr_table *table = typed(samples[s].type);
        struct tr_outbuf expected = {0};
        char sql[200];
        create(&rig, table);
        for (int i = 0; i < VALUES_MAX && samples[s].values[i] != NULL; i++) {
            char id[8];
            (void)snprintf(id, sizeof id, "%d", i);
            put(&rig, i % 2 ? TR_OP_CREATE : TR_OP_READ, table, NULL,
                ROW(id, samples[s].values[i]));
            tr_outbuf_printf(&expected, "%d|%s\n", i, back(samples[s].values[i]));
        }
        put(&rig, TR_OP_CREATE, table, NULL, ROW("99", NULL));
        tr_outbuf_str(&expected, "99|<null>");
        send_commit(&rig, "0/1");
        assert_string_equal(scan(&rig, table), tr_outbuf_cstr(&expected));
        (void)snprintf(sql, sizeof sql, "SELECT typeof(v) FROM \"%s\" WHERE id = 0",
                       table->id.table);
        assert_query(&rig, sql, samples[s].stored);
        (void)snprintf(sql, sizeof sql, "SELECT type FROM pragma_table_info('%s') WHERE name = 'v'",
                       table->id.table);
        assert_query(&rig, sql, tr_sqlite_declared(samples[s].type));
        tr_outbuf_free(&expected);
        tr_table_unref(table);
    }
    /* what a reader of the file sees */
    assert_query(&rig, "SELECT v FROM t_BOOLEAN WHERE id < 2", "1\n0");
    assert_query(&rig, "SELECT datetime(v) FROM t_TIMESTAMPTZ WHERE id = 0", "2024-02-29 07:04:56");
    assert_query(&rig, "SELECT typeof(v), v FROM t_FLOAT64 WHERE id IN (6, 7, 8)",
                 "text|NaN\nreal|Inf\nreal|-Inf");
    assert_query(&rig, "SELECT count(*) FROM t_FLOAT64 WHERE v IS NULL", "1");
    assert_query(&rig, "SELECT v FROM t_STRING WHERE id IN (3, 4)", "1.0\n007");
}

static void binary_cells(void **state)
{
    (void)state;
    struct tr_table *table = typed(TR_T_BYTES);
    create(&rig, table);
    struct tr_event *event = put(&rig, TR_OP_CREATE, table, NULL, ROW("1", "replaced below"));
    struct tr_cell *cells = (struct tr_cell *)(uintptr_t)event->after;
    cells[1] = (struct tr_cell){.ptr = "\0\xff", .len = 2, .state = TR_CELL_BINARY};
    event = put(&rig, TR_OP_CREATE, table, NULL, ROW("2", "replaced below"));
    cells = (struct tr_cell *)(uintptr_t)event->after;
    cells[1] = (struct tr_cell){.ptr = NULL, .len = 0, .state = TR_CELL_BINARY};
    send_commit(&rig, "0/1");
    assert_string_equal(scan(&rig, table), "1|\\x00ff\n2|\\x");
    tr_table_unref(table);
}

static void malformed_values(void **state)
{
    (void)state;
    static const struct {
        enum tr_type type;
        const char *value;
    } bad[] = {{TR_T_BOOLEAN, "true"},
               {TR_T_INT32, ""},
               {TR_T_INT32, "-"},
               {TR_T_INT64, "1x"},
               {TR_T_INT64, "9223372036854775808"},
               {TR_T_INT64, "-9223372036854775809"},
               {TR_T_UINT64, "18446744073709551616"},
               {TR_T_UINT64, "-1"},
               {TR_T_FLOAT64, ""},
               {TR_T_FLOAT64, "1e999"},
               {TR_T_FLOAT64, "1.0 "},
               {TR_T_BYTES, "00"},
               {TR_T_BYTES, "\\x0"},
               {TR_T_BYTES, "\\xgg"}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct tr_table *table = typed(bad[i].type);
        create(&rig, table);
        put(&rig, TR_OP_CREATE, table, NULL, ROW("1", bad[i].value));
        assert_code(&rig, TR_E_SQLITE_VALUE, send_batch(&rig));
        assert_int_equal(rig.err.seq, rig.seq - 1);
        /* one bad row does not break the writer */
        put(&rig, TR_OP_CREATE, table, NULL, ROW("2", NULL));
        send_commit(&rig, "0/1");
        assert_string_equal(scan(&rig, table), "2|<null>");
        put(&rig, TR_OP_TRUNCATE, table, NULL, NULL);
        send_commit(&rig, "0/2");
        tr_table_unref(table);
    }
}

/* Keys of every comparable type: found again by value, and scanned in the source's order. */
static void keys_in_order(void **state)
{
    (void)state;
    static const struct {
        enum tr_type type;
        const char *ascending[12];
    } keys[] = {
        {TR_T_INT64, {"-10", "-9", "2", "10"}},
        {TR_T_UINT64,
         {"2", "10", "9223372036854775807", "9223372036854775808", "10000000000000000000"}},
        {TR_T_DECIMAL,
         {"-Infinity", "-10.5", "-9", "-0.5", "0", "0.05", "0.5", "9", "10", "Infinity", "NaN"}},
        {TR_T_FLOAT64, {"-Infinity", "-1.5", "-0", "0.5", "2", "10", "Infinity", "NaN"}},
        {TR_T_DATE,
         {"-infinity", "4713-01-01 BC", "0002-01-01 BC", "0002-02-01 BC", "0001-01-01",
          "2024-01-01", "10000-01-01", "infinity"}},
        {TR_T_TIMESTAMP,
         {"2024-01-01 00:00:00", "2024-01-01 00:00:00.1", "2024-01-01 00:00:00.45",
          "2024-01-01 00:00:00.5"}},
        {TR_T_TIMESTAMPTZ,
         {"-infinity", "0044-03-15 00:00:00+00 BC", "2024-01-01 00:00:00+00",
          "2024-01-01 00:00:00.1+00", "2024-01-01 00:00:01+00", "infinity"}},
        {TR_T_STRING, {"", "10", "9", "A", "B", "a", "ä"}},
        {TR_T_BOOLEAN, {"f", "t"}},
        {TR_T_BYTES, {"\\x", "\\x00", "\\x0001", "\\xff"}},
    };
    for (size_t k = 0; k < sizeof keys / sizeof keys[0]; k++) {
        struct tr_column columns[] = {{.name = "k", .type = keys[k].type, .key_index = 1},
                                      {.name = "v", .type = TR_T_STRING, .nullable = true},
                                      {.name = NULL}};
        char name[32];
        (void)snprintf(name, sizeof name, "k_%s", tr_type_name(keys[k].type));
        struct tr_table *table = table_of(name, columns);
        struct tr_outbuf expected = {0};
        int count = 0;
        create(&rig, table);
        while (keys[k].ascending[count] != NULL)
            count++;
        for (int i = count; i-- > 0;) {
            put(&rig, TR_OP_CREATE, table, NULL, ROW(keys[k].ascending[i], "first"));
            put(&rig, TR_OP_UPDATE, table, NULL, ROW(keys[k].ascending[i], "second"));
        }
        for (int i = 0; i < count; i++)
            tr_outbuf_printf(&expected, "%s%s|second", i > 0 ? "\n" : "", keys[k].ascending[i]);
        send_commit(&rig, "0/1");
        assert_string_equal(scan(&rig, table), tr_outbuf_cstr(&expected));
        for (int i = 0; i < count; i++)
            put(&rig, TR_OP_DELETE, table, ROW(keys[k].ascending[i], ABSENT), NULL);
        send_commit(&rig, "0/2");
        assert_string_equal(scan(&rig, table), "");
        tr_outbuf_free(&expected);
        tr_table_unref(table);
    }
}

static uint64_t random_state = 0x9e3779b97f4a7c15ull;
static uint64_t next_random(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    return random_state ^= random_state << 17;
}

/* Any float's text reads back to the same bits, and no shorter text does. */
static void floats_are_shortest(void **state)
{
    (void)state;
    for (int i = 0; i < 40000; i++) {
        union {
            uint64_t bits;
            double real;
        } number = {next_random()};
        if (i % 3 == 0) /* powers of two have a narrower gap below */
            number.bits &= 0xfff0000000000000ull;
        if (i % 3 == 1)
            number.real = (double)(int64_t)(next_random() >> 20) / 1000.0;
        if (!isfinite(number.real))
            continue;
        char text[32], shorter[40];
        tr_sqlite_format_real(number.real, false, text);
        assert_true(strtod(text, NULL) == number.real);
        int digits = 0;
        for (const char *c = text; *c != '\0' && *c != 'e'; c++)
            digits += *c >= '0' && *c <= '9' && (digits > 0 || *c != '0');
        for (const char *c = strchr(text, '.') ? "" : text + strcspn(text, "e");
             digits > 1 && *text;) {
            while (c > text && c[-1] == '0' && digits > 1)
                c--, digits--;
            break;
        }
        if (digits > 1 && i % 3 != 0 &&
            fabs(number.real) < 0x1p53) { /* beyond, ties are left out */
            (void)snprintf(shorter, sizeof shorter, "%.*e", digits - 2, number.real);
            if (strtod(shorter, NULL) == number.real)
                fail_msg("%s could be %s", text, shorter);
        }
        float single = (float)number.real;
        if (!isfinite(single))
            continue;
        tr_sqlite_format_real((double)single, true, text);
        assert_true(strtof(text, NULL) == single);
    }
}

static void affinities(void **state)
{
    (void)state;
    /* the table of https://www.sqlite.org/datatype3.html, section 3.1.1 */
    assert_int_equal(tr_sqlite_affinity("UNSIGNED BIG INT"), AFF_INTEGER);
    assert_int_equal(tr_sqlite_affinity("CHARINT"), AFF_INTEGER);
    assert_int_equal(tr_sqlite_affinity("FLOATING POINT"), AFF_INTEGER);
    assert_int_equal(tr_sqlite_affinity("nvarchar(100)"), AFF_TEXT);
    assert_int_equal(tr_sqlite_affinity("CLOB"), AFF_TEXT);
    assert_int_equal(tr_sqlite_affinity(""), AFF_BLOB);
    assert_int_equal(tr_sqlite_affinity("U64_BLOB"), AFF_BLOB);
    assert_int_equal(tr_sqlite_affinity("DOUBLE PRECISION"), AFF_REAL);
    assert_int_equal(tr_sqlite_affinity("DECIMAL(10,5)"), AFF_NUMERIC);
    assert_int_equal(tr_sqlite_affinity("STRING"), AFF_NUMERIC);
    for (int type = 0; type < TR_T_COUNT; type++)
        assert_true(tr_sqlite_affinity_keeps(
            tr_sqlite_affinity(tr_sqlite_declared((enum tr_type)type)), (enum tr_type)type, true));
    assert_false(tr_sqlite_affinity_keeps(AFF_NUMERIC, TR_T_DECIMAL, false));
    assert_false(tr_sqlite_affinity_keeps(AFF_INTEGER, TR_T_STRING, false));
    assert_true(tr_sqlite_affinity_keeps(AFF_NUMERIC, TR_T_DATE, false));
}

#define WITH_RIG(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_RIG(every_type_comes_back),
        WITH_RIG(binary_cells),
        WITH_RIG(malformed_values),
        WITH_RIG(keys_in_order),
        cmocka_unit_test(floats_are_shortest),
        cmocka_unit_test(affinities),
    };
    return cmocka_run_group_tests_name("sink_sqlite_types", tests, NULL, NULL);
}
