/* The Kafka sink without a broker: options and properties, topic names, the window of records in
 * flight, and staging of positions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/log.h"
#include "sink/kafka/internal.h"
#include "sink/kafka/kafka.h"

struct tr_config {
    const void *values;
};
const void *tr_config_values(const struct tr_config *config) { return config->values; }

static const char *keys[16], *values[16];
static struct kafka_options options_for(size_t property_count)
{
    struct kafka_options options = {
        .properties = {keys, values, property_count},
        .topic = "{prefix}.{schema}.{table}",
        .value_format = "debezium-json",
        .key_format = "json",
        .create_topics = true,
        .partitions = -1,
        .replication = -1,
        .tombstones = true,
        .transaction_timeout_ms = 60000,
        .transaction_interval_ms = 200,
        .transaction_records = 1000,
        .connect_timeout_ms = 300,
        .buffer_bytes = 1 << 20,
    };
    tr_format_options_default(&options.format);
    return options;
}

static void expect_open_fails(struct kafka_options *options, enum tr_code code,
                              const char *hint_part)
{
    struct tr_config config = {options};
    struct tr_context context = {.pipeline_name = "p"};
    struct tr_error err;
    void *self = NULL;
    assert_int_equal(tr_sink_kafka.open(&config, &context, &self, &err), TR_FAIL);
    tr_sink_kafka.close(self);
    if (err.code != code)
        fail_msg("%s (%s) instead of %s", tr_error_info(err.code)->name, err.message,
                 tr_error_info(code)->name);
    assert_true(err.hint[0] != '\0');
    if (hint_part != NULL && strstr(err.hint, hint_part) == NULL)
        fail_msg("the hint is: %s", err.hint);
}

static void property(size_t index, const char *key, const char *value)
{
    keys[index] = key;
    values[index] = value;
}

static void test_options(void **state)
{
    (void)state;
    struct kafka_options options = options_for(0);
    expect_open_fails(&options, TR_E_KAFKA_CONFIG, "properties.bootstrap.servers");
    property(0, "bootstrap.servers", "127.0.0.1:1");
    options = options_for(1);
    options.value_format = "canal-json";
    expect_open_fails(&options, TR_E_KAFKA_CONFIG, "debezium-json or json");
    options = options_for(1);
    options.key_format = "csv";
    expect_open_fails(&options, TR_E_KAFKA_CONFIG, "key.format: json");
    options = options_for(1);
    options.include_schema = true;
    expect_open_fails(&options, TR_E_KAFKA_CONFIG, "schemas.enable=false");
    options = options_for(1);
    options.partitions = 0;
    expect_open_fails(&options, TR_E_KAFKA_CONFIG, NULL);
    options = options_for(1);
    options.topic = "{prefix}.{tabel}";
    expect_open_fails(&options, TR_E_KAFKA_TOPIC_NAME, "{table}");
    options = options_for(1);
    options.topic_mapping = "public.t:x;broken";
    expect_open_fails(&options, TR_E_KAFKA_CONFIG, "public.orders:orders");
    options = options_for(1);
    options.custom_headers = "team";
    expect_open_fails(&options, TR_E_KAFKA_CONFIG, "team:shop");
    static const char *const words[] = {"x"};
    options = options_for(1);
    options.format.skipped_operations.items = words;
    expect_open_fails(&options, TR_E_ENCODE_OPTION, NULL);
}

static void test_properties(void **state)
{
    (void)state;
    static const struct {
        const char *name, *value, *hint;
        enum tr_code code;
    } rows[] = {
        {"sasl.jaas.config", "org.apache… password=\"s3cret\";", "sasl.username",
         TR_E_KAFKA_PROPERTY},
        {"plugin.library.paths", "/tmp/evil.so", "not allowed", TR_E_KAFKA_PROPERTY},
        {"sasl.kerberos.kinit.cmd", "rm -rf /", "not allowed", TR_E_KAFKA_PROPERTY},
        {"transactional.id", "x", "sink.transactional-id-prefix", TR_E_KAFKA_PROPERTY},
        {"ssl.truststore.location", "/x.jks", "ssl.ca.location", TR_E_KAFKA_PROPERTY},
        {"no.such.property", "s3cret", NULL, TR_E_KAFKA_PROPERTY},
        {"linger.ms", "s3cret", NULL, TR_E_KAFKA_PROPERTY},
        {"acks", "1", "sink.delivery-guarantee: none", TR_E_KAFKA_CONFIG},
        {"enable.idempotence", "false", "sink.delivery-guarantee: none", TR_E_KAFKA_CONFIG},
        {"message.timeout.ms", "1000", NULL, TR_E_KAFKA_CONFIG},
        {"retries", "3", NULL, TR_E_KAFKA_CONFIG},
    };
    property(0, "bootstrap.servers", "127.0.0.1:1");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        property(1, rows[i].name, rows[i].value);
        struct kafka_options options = options_for(2);
        expect_open_fails(&options, rows[i].code, rows[i].hint);
    }
    /* a value is never shown */
    property(1, "linger.ms", "s3cret");
    struct kafka_options options = options_for(2);
    struct tr_config config = {&options};
    struct tr_context context = {.pipeline_name = "p"};
    struct tr_error err;
    void *self = NULL;
    assert_int_equal(tr_sink_kafka.open(&config, &context, &self, &err), TR_FAIL);
    tr_sink_kafka.close(self);
    assert_null(strstr(err.message, "s3cret"));
    assert_null(strstr(err.detail, "s3cret"));
    assert_null(strstr(err.hint, "s3cret"));
    /* Java's names: it gets as far as the network */
    property(1, "buffer.memory", "33554432");
    property(2, "max.request.size", "2000000");
    property(3, "key.serializer", "org.apache.kafka.common.serialization.StringSerializer");
    property(4, "compression.type", "zstd");
    property(5, "acks", "all");
    property(6, "ssl.endpoint.identification.algorithm", "");
    property(7, "max.in.flight.requests.per.connection", "5");
    options = options_for(8);
    expect_open_fails(&options, TR_E_KAFKA_UNREACHABLE, "bootstrap.servers");
    property(1, "acks", "0");
    options = options_for(2);
    options.guarantee = KAFKA_NONE;
    expect_open_fails(&options, TR_E_KAFKA_UNREACHABLE, "bootstrap.servers");
}

static void test_unreachable_is_bounded(void **state)
{
    (void)state;
    property(0, "bootstrap.servers", "127.0.0.1:1");
    struct kafka_options options = options_for(1);
    int64_t began_ms = tr_clock_mono_ms();
    expect_open_fails(&options, TR_E_KAFKA_UNREACHABLE, NULL);
    assert_true(tr_clock_mono_ms() - began_ms < 5000);
}

static void test_topic_names(void **state)
{
    (void)state;
    struct kafka_options options = options_for(0);
    options.topic_mapping = "shop.public.a:first; public.b:second";
    struct kafka_topics topics;
    struct kafka_health health = {0};
    struct tr_error err;
    char name[TOPIC_NAME_MAX + 1];
    assert_int_equal(kafka_topics_init(&topics, &options, "pre", "pipe", NULL, &health, &err),
                     TR_OK);
    static const struct {
        struct tr_table_id id;
        const char *template, *want;
    } rows[] = {
        {{"shop", "public", "orders"}, "{prefix}.{schema}.{table}", "pre.public.orders"},
        {{"shop", "public", "we.ird \"T"}, "{prefix}.{schema}.{table}", "pre.public.we.ird__T"},
        {{"shop", "public", "\xc3\xa9\xe2\x82\xac"}, "{prefix}.{schema}.{table}", "pre.public.__"},
        {{"shop", "", "orders"}, "{prefix}.{schema}.{table}", "pre.orders"},
        {{"shop", "s", "t"},
         "{pipeline}-{namespace}-{database}-{schema}-{table}",
         "pipe-shop-shop-s-t"},
        {{"shop", "s", "t"}, "all", "all"},
        {{"shop", "public", "a"}, "all", "first"},
        {{"other", "public", "a"}, "all", "all"},
        {{"any", "public", "b"}, "all", "second"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        options.topic = rows[i].template;
        assert_int_equal(kafka_topic_name(&topics, &rows[i].id, name, &err), TR_OK);
        assert_string_equal(name, rows[i].want);
    }
    options.topic = "{prefix}.{schema}.{table}";
    assert_int_equal(kafka_topic_name(&topics, NULL, name, &err), TR_OK);
    assert_string_equal(name, "pre.message");
    char long_name[300];
    memset(long_name, 'x', sizeof long_name);
    long_name[sizeof long_name - 1] = '\0';
    struct tr_table_id id = {"shop", "public", long_name};
    assert_int_equal(kafka_topic_name(&topics, &id, name, &err), TR_FAIL);
    assert_int_equal(err.code, TR_E_KAFKA_TOPIC_NAME);
    for (int i = 0; i < 3000; i++) { /* the list grows and finds */
        struct kafka_topic *topic, *again;
        (void)snprintf(name, sizeof name, "topic-%d", i);
        assert_int_equal(kafka_topics_entry(&topics, name, &topic, &err), TR_OK);
        topic->partition_count = i;
        assert_int_equal(kafka_topics_entry(&topics, name, &again, &err), TR_OK);
        assert_ptr_equal(topic, again);
    }
    struct kafka_topic *topic;
    assert_int_equal(kafka_topics_entry(&topics, "topic-7", &topic, &err), TR_OK);
    assert_int_equal(topic->partition_count, 7);
    kafka_topics_free(&topics);
}

/* Whatever order deliveries come in, the frontier never falls and never covers what is in flight.
 */
static void test_window(void **state)
{
    (void)state;
    struct kafka_window window;
    assert_true(kafka_window_init(&window));
    srand(42);
    enum { EVENTS = 5000, FLIGHT_MAX = 300 };
    static struct {
        uint64_t record, seq;
    } flight[FLIGHT_MAX + 3];
    size_t flying = 0;
    uint64_t seq = 0, last = 0;
    while (seq < EVENTS || flying > 0) {
        if (seq < EVENTS && flying < FLIGHT_MAX && rand() % 2 == 0) {
            int records = rand() % 4; /* some events have none */
            seq++;
            for (int i = 0; i < records; i++) {
                flight[flying].record = kafka_window_add(&window, seq);
                flight[flying++].seq = seq;
            }
            if (rand() % 10 == 0) { /* the client's queue was full */
                (void)kafka_window_add(&window, seq);
                kafka_window_undo(&window);
            }
            window.accepted_seq = seq;
        } else if (flying > 0) {
            size_t at = (size_t)rand() % flying;
            assert_int_equal(kafka_window_seq(&window, flight[at].record), flight[at].seq);
            kafka_window_delivered(&window, flight[at].record);
            flight[at] = flight[--flying];
        }
        uint64_t durable = kafka_window_durable(&window), lowest = seq + 1;
        for (size_t i = 0; i < flying; i++)
            lowest = flight[i].seq < lowest ? flight[i].seq : lowest;
        assert_true(durable >= last);
        assert_true(durable < lowest);
        last = durable;
    }
    assert_int_equal(kafka_window_durable(&window), EVENTS);
    for (uint32_t i = 0; i < WINDOW_RECORDS_MAX; i++)
        (void)kafka_window_add(&window, EVENTS + 1);
    assert_true(kafka_window_full(&window));
    kafka_window_free(&window);
}

static void stage(struct kafka_sink *sink, struct tr_state *staged, const char *key,
                  const char *value)
{
    struct tr_mark mark = {tr_slice_of(key), tr_slice_of(value)};
    struct tr_event commit = {.op = TR_OP_COMMIT, .marks = &mark, .mark_count = 1};
    struct tr_error err;
    assert_int_equal(kafka_positions_stage(sink, &commit, staged, &err), TR_OK);
}

static void test_staging(void **state)
{
    (void)state;
    struct kafka_sink sink = {0};
    struct tr_state staged;
    struct tr_error err;
    tr_state_init(&sink.positions);
    tr_state_init(&staged);
    assert_int_equal(tr_state_set(&sink.positions, "chunk/1", "done", &err), TR_OK);
    assert_int_equal(tr_state_set(&sink.positions, "chunk/2", "done", &err), TR_OK);
    assert_int_equal(tr_state_set(&sink.positions, "lsn", "0/1", &err), TR_OK);
    stage(&sink, &staged, "lsn", "0/2");
    stage(&sink, &staged, "lsn", "0/3");
    stage(&sink, &staged, "chunk/3", "done");
    stage(&sink, &staged, "chunk/2", "");
    stage(&sink, &staged, "new", "x");
    stage(&sink, &staged, "new", ""); /* came and went within one transaction: no record */
    assert_int_equal(staged.count, 3);
    assert_string_equal(tr_state_get(&staged, "lsn"), "=0/3");
    assert_string_equal(tr_state_get(&staged, "chunk/2"), "-");
    assert_string_equal(tr_state_get(&staged, "chunk/3"), "=done");
    stage(&sink, &staged, "chunk/*", "");
    assert_string_equal(tr_state_get(&staged, "chunk/1"), "-");
    assert_string_equal(tr_state_get(&staged, "chunk/2"), "-");
    assert_null(tr_state_get(&staged, "chunk/3"));
    stage(&sink, &staged, "chunk/1", "again");
    assert_int_equal(kafka_positions_settle(&sink, &staged, &err), TR_OK);
    assert_int_equal(staged.count, 0);
    assert_int_equal(sink.positions.count, 2);
    assert_string_equal(tr_state_get(&sink.positions, "chunk/1"), "again");
    assert_string_equal(tr_state_get(&sink.positions, "lsn"), "0/3");
    tr_state_free(&sink.positions);
    tr_state_free(&staged);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_options),
        cmocka_unit_test(test_properties),
        cmocka_unit_test(test_unreachable_is_bounded),
        cmocka_unit_test(test_topic_names),
        cmocka_unit_test(test_window),
        cmocka_unit_test(test_staging),
    };
    tr_log_set_level(TR_LOG_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
