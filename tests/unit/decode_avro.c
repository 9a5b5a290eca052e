/* Format avro: bytes written by avro-c, and by hand where avro-c would refuse to write them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <avro.h>
#include <cmocka.h>

#include "decode/avro_schema.h"
#include "decode/formats.h"
#include "event/batch.h"

#define MESSAGE_BYTES_MAX 4096

static const char *schemas[16];

static enum tr_status registry(void *context, uint32_t id, char **text, struct tr_error *err)
{
    (void)context;
    if (id >= 16 || schemas[id] == NULL)
        return tr_fail(err, TR_E_AVRO_SCHEMA_UNKNOWN, "no schema %u", id);
    *text = strdup(schemas[id]);
    return TR_OK;
}

struct fixture {
    struct tr_decoder_options options;
    const struct tr_decoder_ops *ops;
    struct tr_decoder *decoder;
    struct tr_batch *batch;
    struct tr_split split;
    struct tr_error err;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    tr_decoder_options_default(&f->options);
    f->options.format = TR_DECODE_AVRO;
    f->ops = tr_decoder_find(TR_DECODE_AVRO);
    assert_non_null(f->ops);
    const struct tr_decoder_context context = {
        .pipeline_name = "p", .namespace = "", .schema = "", .registry_schema = registry};
    assert_int_equal(f->ops->open(&f->options, &context, &f->decoder, &f->err), TR_OK);
    assert_int_equal(tr_batch_new(&f->batch, &f->err), TR_OK);
    f->split = (struct tr_split){.name = "t/0", .container = "t", .table = "t"};
    memset(schemas, 0, sizeof schemas);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    f->ops->close(f->decoder);
    tr_batch_free(f->batch);
    free(f);
    return 0;
}

static struct tr_slice header(char *bytes, uint32_t id)
{
    memset(bytes, 0, 5);
    bytes[4] = (char)id;
    return (struct tr_slice){bytes, 5};
}

/* What avro-c writes for a value in Avro's JSON form would need a reader of it: the value is set by
 * fn. */
static struct tr_slice written(char *bytes, uint32_t id, void (*fn)(avro_value_t *value))
{
    avro_schema_t schema;
    avro_value_t value;
    struct tr_slice slice = header(bytes, id);
    assert_int_equal(avro_schema_from_json_length(schemas[id], strlen(schemas[id]), &schema), 0);
    avro_value_iface_t *class = avro_generic_class_from_schema(schema);
    assert_int_equal(avro_generic_value_new(class, &value), 0);
    fn(&value);
    avro_writer_t writer = avro_writer_memory(bytes + 5, MESSAGE_BYTES_MAX - 5);
    assert_int_equal(avro_value_write(writer, &value), 0);
    slice.len += (size_t)avro_writer_tell(writer);
    avro_writer_free(writer);
    avro_value_decref(&value);
    avro_value_iface_decref(class);
    avro_schema_decref(schema);
    return slice;
}

static enum tr_status decode(struct fixture *f, struct tr_slice key, struct tr_slice value)
{
    static struct tr_message message; /* cells point into the value, not into this */
    message = (struct tr_message){&f->split, 0, 1, 1000000, key, value};
    return f->ops->decode(f->decoder, &message, f->batch, &f->err);
}

static const struct tr_event *last(const struct fixture *f)
{
    return &f->batch->events[f->batch->event_count - 1];
}

static const char *text(const struct tr_event *event, const struct tr_cell *cells, const char *name)
{
    static char buf[8][600];
    static unsigned next;
    int index = tr_table_column(event->table, name);
    assert_true(index >= 0);
    const struct tr_cell *cell = &cells[index];
    char *out = buf[next++ % 8];
    if (cell->state == TR_CELL_TEXT || cell->state == TR_CELL_BINARY)
        (void)snprintf(out, sizeof buf[0], "%.*s", (int)cell->len, cell->ptr);
    else
        (void)snprintf(out, sizeof buf[0], "<%d>", cell->state);
    return out;
}

static enum tr_type type(const struct tr_event *event, const char *name)
{
    return event->table->columns[tr_table_column(event->table, name)].type;
}

/* ---- rows ----------------------------------------------------------------------------------- */

#define F(name, type) "{\"name\":\"" name "\",\"type\":" type "}"
#define L(base, logical) "{\"type\":\"" base "\",\"logicalType\":\"" logical "\"}"
static const char wide
    [] = "{\"type\":\"record\",\"name\":\"Row\",\"namespace\":\"a.b\",\"fields\":[" F("b", "\"boole"
                                                                                           "an\"") "," F(
        "i",
        "\"int\"") "," F("l",
                         "\"long\"") "," F("f",
                                           "\"float\"") "," F("d",
                                                              "\"double\"") "," F("y",
                                                                                  "\"bytes\"") "," F("s",
                                                                                                     "\"string\"") "," F("e", "{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[\"ONE\",\"TWO\"]}") "," F("x", "{\"type\":\"fixed\",\"name\":\"X\",\"size\":2}") "," F("n", "[\"null\",\"string\"]") "," F("dec", "{\"type\":\"bytes\",\"logicalType\":\"decimal\","
                                                                                                                                                                                                                                                                                                                "\"precision\":10,\"scale\":2}") "," F("dt",
                                                                                                                                                                                                                                                                                                                                                       L("int",
                                                                                                                                                                                                                                                                                                                                                         "date")) "," F("tm", L("int",
                                                                                                                                                                                                                                                                                                                                                                                "time-millis")) "," F("tu", L("long", "time-micros")) "," F("ts",
                                                                                                                                                                                                                                                                                                                                                                                                                                            L("long",
                                                                                                                                                                                                                                                                                                                                                                                                                                              "timestamp-millis")) "," F("tus",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                         L("long",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                           "timestamp-micros")) "," F("lts",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                      L(
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                          "long", "local-timestamp-micros")) "," F("u",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                   L("string",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                     "uuid")) "," F("arr", "{\"type\":\"array\",\"items\":[\"null\",\"long\"]}") "," F("m",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                       "{\"type\":\"map\",\"values\":\"string\"}") "," F("r",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                         "{\"type\":\"record\",\"name\":\"In\",\"fields\":[" F(
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                             "q",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                             "\"string\"") "," F("e2",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                 "\"E\"") "," F("nan",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                "\"double\"") "]}") "," F("multi",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                          "[\"null\",\"int\",\"string\"]") "]}";

static avro_value_t field(avro_value_t *record, const char *name)
{
    avro_value_t value;
    assert_int_equal(avro_value_get_by_name(record, name, &value, NULL), 0);
    return value;
}

static void set_string(avro_value_t *record, const char *name, const char *string)
{
    avro_value_t value = field(record, name);
    assert_int_equal(avro_value_set_string(&value, string), 0);
}

static void fill_wide(avro_value_t *row)
{
    avro_value_t v, branch, item, inner;
    v = field(row, "b"), avro_value_set_boolean(&v, 1);
    v = field(row, "i"), avro_value_set_int(&v, -2147483647 - 1);
    v = field(row, "l"), avro_value_set_long(&v, INT64_MIN);
    v = field(row, "f"), avro_value_set_float(&v, 0.1f);
    v = field(row, "d"), avro_value_set_double(&v, 1e300);
    v = field(row, "y"), avro_value_set_bytes(&v, (void *)(uintptr_t) "\x01\x02", 2);
    set_string(row, "s", "h\xc3\xa9");
    v = field(row, "e"), avro_value_set_enum(&v, 1);
    v = field(row, "x"), avro_value_set_fixed(&v, (void *)(uintptr_t) "ab", 2);
    v = field(row, "n"), avro_value_set_branch(&v, 0, &branch), avro_value_set_null(&branch);
    v = field(row, "dec"), avro_value_set_bytes(&v, (void *)(uintptr_t) "\xcf\xc7", 2); /* -12345 */
    v = field(row, "dt"), avro_value_set_int(&v, 19782);
    v = field(row, "tm"), avro_value_set_int(&v, 45296789);
    v = field(row, "tu"), avro_value_set_long(&v, INT64_C(45296789012));
    v = field(row, "ts"), avro_value_set_long(&v, INT64_C(1709210096789));
    v = field(row, "tus"), avro_value_set_long(&v, -1);
    v = field(row, "lts"), avro_value_set_long(&v, INT64_C(1709210096789012));
    set_string(row, "u", "F81D4FAE-7DEC-11D0-A765-00A0C91E6BF6");
    v = field(row, "arr");
    avro_value_append(&v, &item, NULL), avro_value_set_branch(&item, 1, &branch);
    avro_value_set_long(&branch, 7);
    avro_value_append(&v, &item, NULL), avro_value_set_branch(&item, 0, &branch);
    avro_value_set_null(&branch);
    v = field(row, "m");
    avro_value_add(&v, "k\"\n", &item, NULL, NULL), avro_value_set_string(&item, "v");
    inner = field(row, "r");
    set_string(&inner, "q", "\\");
    v = field(&inner, "e2"), avro_value_set_enum(&v, 0);
    v = field(&inner, "nan"), avro_value_set_double(&v, __builtin_nan(""));
    v = field(row, "multi"), avro_value_set_branch(&v, 2, &branch);
    avro_value_set_string(&branch, "z");
}

static void test_every_type(void **state)
{
    static const struct {
        const char *name;
        enum tr_type type;
        const char *text;
    } expected[] = {
        {"b", TR_T_BOOLEAN, "t"},
        {"i", TR_T_INT32, "-2147483648"},
        {"l", TR_T_INT64, "-9223372036854775808"},
        {"f", TR_T_FLOAT32, "0.1"},
        {"d", TR_T_FLOAT64, "1e+300"},
        {"y", TR_T_BYTES, "\x01\x02"},
        {"s", TR_T_STRING, "h\xc3\xa9"},
        {"e", TR_T_STRING, "TWO"},
        {"x", TR_T_BYTES, "ab"},
        {"n", TR_T_STRING, "<0>"},
        {"dec", TR_T_DECIMAL, "-123.45"},
        {"dt", TR_T_DATE, "2024-02-29"},
        {"tm", TR_T_TIME, "12:34:56.789"},
        {"tu", TR_T_TIME, "12:34:56.789012"},
        {"ts", TR_T_TIMESTAMPTZ, "2024-02-29 12:34:56.789+00"},
        {"tus", TR_T_TIMESTAMPTZ, "1969-12-31 23:59:59.999999+00"},
        {"lts", TR_T_TIMESTAMP, "2024-02-29 12:34:56.789012"},
        {"u", TR_T_UUID, "f81d4fae-7dec-11d0-a765-00a0c91e6bf6"},
        {"arr", TR_T_JSON, "[7,null]"},
        {"m", TR_T_JSON, "{\"k\\\"\\u000a\":\"v\"}"},
        {"r", TR_T_JSON, "{\"q\":\"\\\\\",\"e2\":\"ONE\",\"nan\":null}"},
        {"multi", TR_T_JSON, "\"z\""},
    };
    struct fixture *f = *state;
    char bytes[MESSAGE_BYTES_MAX];
    schemas[1] = wide;
    struct tr_slice value = written(bytes, 1, fill_wide);
    assert_int_equal(decode(f, (struct tr_slice){0}, value), TR_OK);
    assert_int_equal(f->batch->event_count, 2);
    assert_int_equal(f->batch->events[0].op, TR_OP_SCHEMA);
    assert_int_equal(last(f)->op, TR_OP_CREATE);
    assert_string_equal(last(f)->table->id.table, "t");
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        assert_int_equal(type(last(f), expected[i].name), expected[i].type);
        assert_string_equal(text(last(f), last(f)->after, expected[i].name), expected[i].text);
    }
    /* each shorter message is malformed, and nothing of it is left */
    for (size_t len = 0; len < value.len; len++) {
        char *exact = malloc(len + 1); /* its own block, so that reading beyond is seen */
        memcpy(exact, bytes, len);
        assert_int_equal(decode(f, (struct tr_slice){0}, (struct tr_slice){exact, len}), TR_FAIL);
        assert_int_equal(f->err.class, TR_DATA);
        assert_int_equal(f->batch->event_count, 2);
        free(exact);
    }
    bytes[value.len] = 0;
    assert_int_equal(decode(f, (struct tr_slice){0}, (struct tr_slice){bytes, value.len + 1}),
                     TR_FAIL);
}

static void test_decimals(void **state)
{
    static const struct {
        const char *bytes;
        uint8_t len;
        const char *text;
    } values[] = {
        {"", 0, "0.00"},      {"\x00", 1, "0.00"},      {"\x05", 1, "0.05"},
        {"\xff", 1, "-0.01"}, {"\x80", 1, "-1.28"},     {"\x00\x80", 2, "1.28"},
        {"\x64", 1, "1.00"},  {"\xff\x00", 2, "-2.56"},
    };
    struct fixture *f = *state;
    schemas[2] =
        "{\"type\":\"record\",\"name\":\"D\",\"fields\":[{\"name\":\"v\",\"type\":{\"type\":"
        "\"bytes\",\"logicalType\":\"decimal\",\"precision\":40,\"scale\":2}}]}";
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        char bytes[64];
        struct tr_slice value = header(bytes, 2);
        bytes[value.len++] = (char)(values[i].len * 2);
        memcpy(bytes + value.len, values[i].bytes, values[i].len);
        value.len += values[i].len;
        assert_int_equal(decode(f, (struct tr_slice){0}, value), TR_OK);
        assert_string_equal(text(last(f), last(f)->after, "v"), values[i].text);
    }
    /* 2^76 - 1 = 75557863725914323419135 */
    char bytes[64];
    struct tr_slice value = header(bytes, 2);
    bytes[value.len++] = 20;
    memcpy(bytes + value.len, "\x0f\xff\xff\xff\xff\xff\xff\xff\xff\xff", 10);
    value.len += 10;
    assert_int_equal(decode(f, (struct tr_slice){0}, value), TR_OK);
    assert_string_equal(text(last(f), last(f)->after, "v"), "755578637259143234191.35");
}

static void test_evolution(void **state)
{
    struct fixture *f = *state;
    char bytes[64];
    struct tr_slice value;
    schemas[3] =
        "{\"type\":\"record\",\"name\":\"R\",\"fields\":[{\"name\":\"a\",\"type\":\"int\"}]}";
    schemas[4] =
        "{\"type\":\"record\",\"name\":\"R\",\"fields\":[{\"name\":\"a\",\"type\":\"long\"},"
        "{\"name\":\"b\",\"type\":[\"null\",\"string\"]}]}";
    value = header(bytes, 3);
    bytes[value.len++] = 2;
    assert_int_equal(decode(f, (struct tr_slice){0}, value), TR_OK);
    assert_int_equal(type(last(f), "a"), TR_T_INT32);
    uint32_t version = last(f)->table->version;
    value = header(bytes, 4);
    memcpy(bytes + 5, "\x04\x02\x02x", 4);
    value.len += 4;
    assert_int_equal(decode(f, (struct tr_slice){0}, value), TR_OK);
    assert_int_equal(type(last(f), "a"), TR_T_INT64);
    assert_true(last(f)->table->version > version);
    assert_string_equal(text(last(f), last(f)->after, "b"), "x");
    assert_int_equal(f->batch->events[f->batch->event_count - 2].op, TR_OP_SCHEMA);
    value = header(bytes, 3); /* a writer that is still old */
    bytes[value.len++] = 6;
    assert_int_equal(decode(f, (struct tr_slice){0}, value), TR_OK);
    assert_string_equal(text(last(f), last(f)->after, "a"), "3");
    assert_string_equal(text(last(f), last(f)->after, "b"), "<0>");
}

/* ---- envelopes ------------------------------------------------------------------------------ */

#define ROW                                                                                        \
    "{\"type\":\"record\",\"name\":\"Value\",\"fields\":[" F("id", "\"int\"") "," F(               \
        "v", "[\"null\",\"string\"]") "," F("at", "{\"type\":\"long\",\"connect.name\":"           \
                                                  "\"io.debezium.time.MicroTimestamp\"}") "]}"
static const char envelope[] =
    "{\"type\":\"record\",\"name\":\"Envelope\",\"namespace\":\"s.public.t\","
    "\"fields\":[" F("before", "[\"null\"," ROW "]") "," F("after", "[\"null\",\"Value\"]") "," F(
        "source",
        "{\"type\":\"record\",\"name\":\"Source\",\"fields\":[" F("ts_ms", "\"long\"") "," F("db", "\"string\"") "," F(
            "sequence",
            "[\"null\",\"string\"]") "," F("schema",
                                           "\"string\"") "," F("table",
                                                               "\"string\"") "]}") "," F("op",
                                                                                         "\"string"
                                                                                         "\"") "," F("ts_ms",
                                                                                                     "[\"null\",\"long\"]") "]}";
static const char key_schema[] =
    "{\"type\":\"record\",\"name\":\"Key\",\"namespace\":\"s.public.t\","
    "\"fields\":[" F("id", "\"int\"") "]}";
static const char *op, *after_v;
static bool has_before, has_after;

static void set_row(avro_value_t *v, const char *string)
{
    avro_value_t branch, part, inner;
    avro_value_set_branch(v, 1, &branch);
    part = field(&branch, "id"), avro_value_set_int(&part, 7);
    part = field(&branch, "v"), avro_value_set_branch(&part, 1, &inner);
    avro_value_set_string(&inner, string);
    part = field(&branch, "at"), avro_value_set_long(&part, 1500000);
}

static void set_null(avro_value_t *v)
{
    avro_value_t branch;
    avro_value_set_branch(v, 0, &branch);
    avro_value_set_null(&branch);
}

static void fill_envelope(avro_value_t *row)
{
    avro_value_t v = field(row, "before"), part;
    if (has_before)
        set_row(&v, "old");
    else
        set_null(&v);
    v = field(row, "after");
    if (has_after)
        set_row(&v, after_v);
    else
        set_null(&v);
    v = field(row, "source");
    part = field(&v, "ts_ms"), avro_value_set_long(&part, 1234);
    set_string(&v, "db", "shop");
    part = field(&v, "sequence"), set_null(&part);
    set_string(&v, "schema", "public");
    set_string(&v, "table", "orders");
    set_string(row, "op", op);
    v = field(row, "ts_ms"), set_null(&v);
}

static enum tr_status change(struct fixture *f, const char *word, bool before, const char *after,
                             char *bytes)
{
    static char key_bytes[16];
    struct tr_slice key = header(key_bytes, 6);
    key_bytes[key.len++] = 14;
    schemas[5] = envelope;
    schemas[6] = key_schema;
    op = word;
    has_before = before;
    has_after = after != NULL;
    after_v = after;
    return decode(f, key, written(bytes, 5, fill_envelope));
}

static void test_envelopes(void **state)
{
    struct fixture *f = *state;
    static char bytes[5][MESSAGE_BYTES_MAX];
    assert_int_equal(change(f, "c", false, "new", bytes[0]), TR_OK);
    const struct tr_event *event = last(f);
    assert_int_equal(event->op, TR_OP_CREATE);
    assert_string_equal(event->table->id.namespace, "shop");
    assert_string_equal(event->table->id.schema, "public");
    assert_string_equal(event->table->id.table, "orders");
    assert_int_equal(event->table->key_count, 1);
    assert_int_equal(event->ts_us, 1234000);
    assert_string_equal(text(event, event->after, "id"), "7");
    assert_string_equal(text(event, event->after, "at"), "1970-01-01 00:00:01.5");
    assert_int_equal(change(f, "u", true, "__debezium_unavailable_value", bytes[1]), TR_OK);
    event = last(f);
    assert_int_equal(event->op, TR_OP_UPDATE);
    assert_string_equal(text(event, event->before, "v"), "old");
    assert_int_equal(event->after[tr_table_column(event->table, "v")].state, TR_CELL_UNCHANGED);
    assert_int_equal(change(f, "d", false, NULL, bytes[2]), TR_OK); /* by its key */
    event = last(f);
    assert_int_equal(event->op, TR_OP_DELETE);
    assert_null(event->after);
    assert_string_equal(text(event, event->before, "id"), "7");
    uint32_t count = f->batch->event_count;
    char key[] = {0, 0, 0, 0, 6, 14};
    assert_int_equal(decode(f, (struct tr_slice){key, 6}, (struct tr_slice){0}), TR_OK);
    assert_int_equal(f->batch->event_count, count); /* the tombstone */
    assert_int_equal(change(f, "c", false, NULL, bytes[3]), TR_FAIL);
    assert_int_equal(f->err.code, TR_E_MESSAGE_ENVELOPE);
    assert_int_equal(change(f, "?", false, "x", bytes[4]), TR_FAIL);
    assert_int_equal(f->batch->event_count, count);
}

/* ---- what is refused ------------------------------------------------------------------------ */

static void test_hostile(void **state)
{
    static const struct {
        const char *schema, *bytes;
        size_t len;
    } cases[] = {
        {"{\"type\":\"record\",\"name\":\"A\",\"fields\":[{\"name\":\"a\",\"type\":{\"type\":"
         "\"array\","
         "\"items\":\"null\"}}]}",
         "\xfe\xff\xff\xff\xff\xff\xff\xff\x7f", 9}, /* a block of 2^61 nulls */
        {"{\"type\":\"record\",\"name\":\"A\",\"fields\":[{\"name\":\"a\",\"type\":{\"type\":"
         "\"array\","
         "\"items\":\"null\"}}]}",
         "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x02\x00", 12}, /* INT64_MIN items */
        {"{\"type\":\"record\",\"name\":\"A\",\"fields\":[{\"name\":\"a\",\"type\":\"string\"}]}",
         "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 10}, /* a negative length */
        {"{\"type\":\"record\",\"name\":\"A\",\"fields\":[{\"name\":\"a\",\"type\":\"long\"}]}",
         "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 10}, /* 65 bits */
        {"{\"type\":\"record\",\"name\":\"A\",\"fields\":[{\"name\":\"a\",\"type\":[\"null\",\"A\"]"
         "}]}",
         "\x02\x02\x02\x02\x02\x02\x02\x02\x02\x02\x02\x02\x02\x02\x02\x02\x02\x02\x02\x02\x02\x02"
         "\x02"
         "\x02\x02\x02\x02\x02\x02\x02\x02\x02\x02\x02\x02\x02\x02\x02\x02\x02\x02\x02\x02\x02\x02"
         "\x02"
         "\x02\x02\x02\x02\x02\x02\x02\x02\x02\x02\x02\x02\x02\x02\x02\x02\x02\x02\x02\x02\x02\x02"
         "\x00",
         69}, /* deeper than the bound */
        {"{\"type\":\"record\",\"name\":\"A\",\"fields\":[{\"name\":\"a\",\"type\":\"string\"}]}",
         "\x02\xff", 2}, /* not UTF-8 */
        {"{\"type\":\"record\",\"name\":\"A\",\"fields\":[{\"name\":\"a\",\"type\":{\"type\":"
         "\"enum\","
         "\"name\":\"E\",\"symbols\":[\"X\"]}}]}",
         "\x02", 1},
        {"\"string\"", "\x02x", 2}, /* not a record */
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char bytes[100];
        struct tr_slice value = header(bytes, (uint32_t)i + 1);
        schemas[i + 1] = cases[i].schema;
        memcpy(bytes + 5, cases[i].bytes, cases[i].len);
        value.len += cases[i].len;
        assert_int_equal(decode(f, (struct tr_slice){0}, value), TR_FAIL);
        assert_int_equal(f->err.class, TR_DATA);
        assert_int_equal(f->batch->event_count, 0);
    }
    char unknown[] = {0, 0, 0, 0, 99, 2};
    assert_int_equal(decode(f, (struct tr_slice){0}, (struct tr_slice){unknown, 6}), TR_FAIL);
    assert_int_equal(f->err.code, TR_E_AVRO_SCHEMA_UNKNOWN);
    char json[] = "{\"a\":1}";
    assert_int_equal(decode(f, (struct tr_slice){0}, (struct tr_slice){json, 7}), TR_FAIL);
    assert_int_equal(f->err.code, TR_E_MESSAGE_SYNTAX);
}

static void test_schemas(void **state)
{
    static const char *const refused[] = {"",
                                          "{",
                                          "\"nothing\"",
                                          "{\"type\":\"record\"}",
                                          "{\"type\":\"record\",\"name\":\"A\"}",
                                          "{\"type\":\"enum\",\"name\":\"A\"}",
                                          "{\"type\":\"fixed\",\"name\":\"A\"}",
                                          "[]",
                                          "[[\"null\"]]",
                                          "{\"type\":\"array\"}",
                                          "1",
                                          "{\"type\":\"fixed\",\"name\":\"A\",\"size\":-1}",
                                          "[{\"type\":\"fixed\",\"name\":\"A\",\"size\":1},{"
                                          "\"type\":\"fixed\",\"name\":\"A\",\"size\":1}]"};
    struct tr_avro_schema *schema;
    const char *reason;
    (void)state;
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        assert_false(tr_avro_schema_parse(refused[i], &schema, &reason));
        assert_non_null(reason);
        assert_null(schema);
    }
    char deep[20000] = "";
    for (int i = 0; i < 500; i++)
        strcat(deep, "{\"type\":\"array\",\"items\":");
    strcat(deep, "\"int\"");
    for (int i = 0; i < 500; i++)
        strcat(deep, "}");
    assert_false(tr_avro_schema_parse(deep, &schema, &reason));
    /* names: by namespace, inherited, in full */
    assert_true(tr_avro_schema_parse("{\"type\":\"record\",\"name\":\"x.A\",\"fields\":[{\"name\":"
                                     "\"a\",\"type\":{\"type\":\"fixed\","
                                     "\"name\":\"F\",\"size\":3}},{\"name\":\"b\",\"type\":\"F\"},{"
                                     "\"name\":\"c\",\"type\":\"x.F\"}]}",
                                     &schema, &reason));
    assert_int_equal(schema->root->count, 3);
    assert_ptr_equal(schema->root->fields[0].node, schema->root->fields[2].node);
    assert_int_equal(tr_avro_field_find(schema->root, "b"), 1);
    tr_avro_schema_free(schema);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_every_type, setup, teardown),
        cmocka_unit_test_setup_teardown(test_decimals, setup, teardown),
        cmocka_unit_test_setup_teardown(test_evolution, setup, teardown),
        cmocka_unit_test_setup_teardown(test_envelopes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_hostile, setup, teardown),
        cmocka_unit_test(test_schemas),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
