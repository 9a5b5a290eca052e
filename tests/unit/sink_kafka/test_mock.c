/* The Kafka sink against librdkafka's mock cluster: brokers that fail, go away, come back, fence.
 * The real broker's turn is in tests/integration/kafka_*. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <pthread.h>

#include "base/clock.h"
#include "base/log.h"
#include "event/dead_letter.h"
#include "sink/kafka/internal.h"
#include "sink/kafka/kafka.h"

#define TOPIC "p.public.t"
#define POSITIONS "__tailrace_position.p"
#define WAIT_MS 20000
enum { API_PRODUCE = 0, API_INIT_PRODUCER_ID = 22, API_ADD_PARTITIONS = 24, API_END_TXN = 26 };

struct tr_config {
    const void *values;
};
const void *tr_config_values(const struct tr_config *config) { return config->values; }

struct fixture {
    rd_kafka_t *owner;
    rd_kafka_mock_cluster_t *cluster;
    struct kafka_options options;
    struct tr_config config;
    const char *keys[4], *values[4];
    struct tr_table *table;
    void *sink, *writer;
    uint64_t seq;
    int next_id;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    char why[128];
    f->owner = rd_kafka_new(RD_KAFKA_PRODUCER, rd_kafka_conf_new(), why, sizeof why);
    f->cluster = rd_kafka_mock_cluster_new(f->owner, 1);
    (void)rd_kafka_mock_topic_create(f->cluster, TOPIC, 2, 1);
    (void)rd_kafka_mock_topic_create(f->cluster, POSITIONS, 1, 1);
    f->keys[0] = "bootstrap.servers";
    f->values[0] = rd_kafka_mock_cluster_bootstraps(f->cluster);
    f->options = (struct kafka_options){
        .properties = {f->keys, f->values, 1},
        .topic = "{prefix}.{schema}.{table}",
        .value_format = "json",
        .key_format = "json",
        .partitions = -1,
        .replication = -1,
        .tombstones = true,
        .transaction_timeout_ms = 60000,
        .transaction_interval_ms = 200,
        .transaction_records = 100000,
        .connect_timeout_ms = 5000,
        .buffer_bytes = 8 << 20,
    };
    tr_format_options_default(&f->options.format);
    f->config.values = &f->options;
    struct tr_column columns[] = {
        {.name = "id", .type = TR_T_INT32, .key_index = 1},
        {.name = "v", .type = TR_T_STRING, .nullable = true},
    };
    struct tr_table spec = {.id = {"db", "public", "t"}, .column_count = 2, .columns = columns};
    struct tr_error err;
    assert_int_equal(tr_table_new(&spec, &f->table, &err), TR_OK);
    f->next_id = 1;
    *state = f;
    return 0;
}

static void close_sink(struct fixture *f)
{
    tr_sink_kafka.writer_close(f->writer);
    tr_sink_kafka.close(f->sink);
    f->writer = f->sink = NULL;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    close_sink(f);
    tr_table_unref(f->table);
    rd_kafka_mock_cluster_destroy(f->cluster);
    rd_kafka_destroy(f->owner);
    free(f);
    return 0;
}

static void check(enum tr_status status, const struct tr_error *err)
{
    if (status == TR_FAIL)
        fail_msg("%s: %s (%s)", tr_error_info(err->code)->name, err->message, err->detail);
}

static enum tr_status open_sink(struct fixture *f, struct tr_state *marks, struct tr_error *err)
{
    struct tr_context context = {.pipeline_name = "p"};
    if (tr_sink_kafka.open(&f->config, &context, &f->sink, err) != TR_OK)
        return TR_FAIL;
    struct tr_state mine;
    tr_state_init(&mine);
    enum tr_status status = tr_sink_kafka.load_marks(f->sink, marks == NULL ? &mine : marks, err);
    tr_state_free(&mine);
    if (status != TR_FAIL) {
        assert_int_equal(status, f->options.guarantee == KAFKA_EXACTLY_ONCE ? TR_OK : TR_END);
        status = tr_sink_kafka.writer_open(f->sink, 0, &f->writer, err);
    }
    return status;
}

/* One source transaction of `count` rows, with the mark lsn=<last id>; commit: whether it is whole.
 */
static enum tr_status write_rows(struct fixture *f, int count, bool commit, struct tr_error *err)
{
    struct tr_event *events = calloc((size_t)count + 1, sizeof *events);
    struct tr_cell *cells = calloc((size_t)count * 2, sizeof *cells);
    char *text = calloc((size_t)count, 16), lsn[16];
    for (int i = 0; i < count; i++) {
        int len = snprintf(text + i * 16, 16, "%d", f->next_id++);
        cells[2 * i] = (struct tr_cell){text + i * 16, (uint32_t)len, TR_CELL_TEXT};
        cells[2 * i + 1] = (struct tr_cell){"some text", 9, TR_CELL_TEXT};
        events[i] = (struct tr_event){
            .op = TR_OP_CREATE, .seq = ++f->seq, .table = f->table, .after = &cells[2 * i]};
    }
    (void)snprintf(lsn, sizeof lsn, "%d", f->next_id - 1);
    struct tr_mark mark = {{"lsn", 3}, {lsn, strlen(lsn)}};
    if (commit)
        events[count] =
            (struct tr_event){.op = TR_OP_COMMIT, .seq = ++f->seq, .marks = &mark, .mark_count = 1};
    enum tr_status status = tr_sink_kafka.write(f->writer, events, (size_t)count + commit, err);
    free(events);
    free(cells);
    free(text);
    return status;
}

static enum tr_status flush_within(struct fixture *f, int timeout_ms, struct tr_error *err)
{
    int64_t until_ms = tr_clock_mono_ms() + timeout_ms;
    enum tr_status status;
    do {
        status = tr_sink_kafka.flush(f->writer, 100, err);
    } while (status == TR_AGAIN && tr_clock_mono_ms() < until_ms);
    return status;
}

/* How often each id is in the topic, and whether the ids of a partition only grow. */
static void read_back(struct fixture *f, int *counts, int ids_max, bool *in_order)
{
    char why[128];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    (void)rd_kafka_conf_set(conf, "bootstrap.servers", f->values[0], why, sizeof why);
    (void)rd_kafka_conf_set(conf, "group.id", "test", why, sizeof why);
    (void)rd_kafka_conf_set(conf, "enable.partition.eof", "true", why, sizeof why);
    rd_kafka_t *reader = rd_kafka_new(RD_KAFKA_CONSUMER, conf, why, sizeof why);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(2);
    for (int p = 0; p < 2; p++)
        rd_kafka_topic_partition_list_add(list, TOPIC, p)->offset = RD_KAFKA_OFFSET_BEGINNING;
    (void)rd_kafka_poll_set_consumer(reader);
    (void)rd_kafka_assign(reader, list);
    int ends = 0, last[2] = {0, 0};
    memset(counts, 0, (size_t)(ids_max + 1) * sizeof *counts);
    *in_order = true;
    while (ends < 2) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(reader, WAIT_MS);
        assert_non_null(message);
        if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
            ends++;
        } else {
            int id = 0;
            assert_int_equal(message->err, RD_KAFKA_RESP_ERR_NO_ERROR);
            assert_int_equal(sscanf(message->payload, "{\"id\":%d,", &id), 1);
            assert_true(id >= 1 && id <= ids_max);
            counts[id]++;
            if (id <= last[message->partition])
                *in_order = false;
            last[message->partition] = id;
        }
        rd_kafka_message_destroy(message);
    }
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_destroy_flags(reader, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
}

static void each_once(struct fixture *f)
{
    int count = f->next_id - 1, *counts = calloc((size_t)count + 1, sizeof *counts);
    bool in_order;
    read_back(f, counts, count, &in_order);
    for (int id = 1; id <= count; id++) {
        if (counts[id] != 1)
            fail_msg("row %d is there %d times", id, counts[id]);
    }
    assert_true(in_order);
    free(counts);
}

static void test_at_least_once(void **state)
{
    struct fixture *f = *state;
    struct tr_error err;
    check(open_sink(f, NULL, &err), &err);
    for (int i = 0; i < 20; i++)
        check(write_rows(f, 500, true, &err), &err);
    check(flush_within(f, WAIT_MS, &err), &err);
    assert_int_equal(tr_sink_kafka.durable_seq(f->writer), f->seq);
    close_sink(f);
    each_once(f);
}

static void test_broker_goes_and_comes(void **state)
{
    struct fixture *f = *state;
    struct tr_error err;
    check(open_sink(f, NULL, &err), &err);
    check(write_rows(f, 100, true, &err), &err);
    check(flush_within(f, WAIT_MS, &err), &err);
    uint64_t durable = tr_sink_kafka.durable_seq(f->writer);
    assert_int_equal(rd_kafka_mock_broker_set_down(f->cluster, 1), RD_KAFKA_RESP_ERR_NO_ERROR);
    check(write_rows(f, 2000, true, &err), &err); /* there is room for them */
    assert_int_equal(flush_within(f, 1500, &err), TR_AGAIN);
    assert_int_equal(tr_sink_kafka.durable_seq(f->writer), durable);
    assert_int_equal(rd_kafka_mock_broker_set_up(f->cluster, 1), RD_KAFKA_RESP_ERR_NO_ERROR);
    assert_int_equal(flush_within(f, WAIT_MS, &err), TR_OK);
    assert_int_equal(tr_sink_kafka.durable_seq(f->writer), f->seq);
    close_sink(f);
    each_once(f);
}

static void test_retried_errors_repeat_nothing(void **state)
{
    struct fixture *f = *state;
    struct tr_error err;
    check(open_sink(f, NULL, &err), &err);
    rd_kafka_mock_push_request_errors(
        f->cluster, API_PRODUCE, 4, RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
        RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT, RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS,
        RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE);
    for (int i = 0; i < 10; i++)
        check(write_rows(f, 300, true, &err), &err);
    check(flush_within(f, WAIT_MS, &err), &err);
    assert_int_equal(tr_sink_kafka.durable_seq(f->writer), f->seq);
    close_sink(f);
    each_once(f);
}

static void test_too_large(void **state)
{
    struct fixture *f = *state;
    struct tr_error err;
    check(open_sink(f, NULL, &err), &err);
    check(write_rows(f, 10, true, &err), &err);
    check(flush_within(f, WAIT_MS, &err), &err);
    uint64_t durable = tr_sink_kafka.durable_seq(f->writer);
    rd_kafka_mock_push_request_errors(f->cluster, API_PRODUCE, 1,
                                      RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE);
    enum tr_status status = write_rows(f, 1, true, &err);
    if (status == TR_OK)
        status = flush_within(f, WAIT_MS, &err);
    assert_int_equal(status, TR_FAIL);
    assert_int_equal(err.code, TR_E_KAFKA_MESSAGE_TOO_LARGE);
    assert_int_equal(err.class, TR_DATA);
    assert_int_equal(err.seq, durable + 1);
    assert_non_null(strstr(err.hint, "max.message.bytes"));
    assert_int_equal(tr_sink_kafka.durable_seq(f->writer), durable);
}

static void test_forbidden(void **state)
{
    struct fixture *f = *state;
    struct tr_error err;
    check(open_sink(f, NULL, &err), &err);
    rd_kafka_mock_push_request_errors(f->cluster, API_PRODUCE, 1,
                                      RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);
    enum tr_status status = write_rows(f, 1, true, &err);
    if (status == TR_OK)
        status = flush_within(f, WAIT_MS, &err);
    assert_int_equal(status, TR_FAIL);
    assert_int_equal(err.code, TR_E_KAFKA_FORBIDDEN);
    assert_non_null(strstr(err.hint, "kafka-acls"));
}

static void test_unknown_topic(void **state)
{
    struct fixture *f = *state;
    struct tr_error err;
    f->options.topic = "nowhere-{table}";
    check(open_sink(f, NULL, &err), &err);
    assert_int_equal(write_rows(f, 1, true, &err), TR_FAIL);
    assert_int_equal(err.code, TR_E_KAFKA_TOPIC_MISSING);
    assert_non_null(strstr(err.hint, "auto-create-table"));
}

static void *interrupt_later(void *self)
{
    tr_clock_sleep_ms(500);
    tr_sink_kafka.interrupt(self);
    return NULL;
}

/* More than the buffer holds while the broker is away: the writer waits, and an interrupt frees it.
 */
static void test_interrupt(void **state)
{
    struct fixture *f = *state;
    struct tr_error err;
    f->options.buffer_bytes = 1 << 20;
    check(open_sink(f, NULL, &err), &err);
    check(write_rows(f, 1, true, &err), &err);
    check(flush_within(f, WAIT_MS, &err), &err);
    (void)rd_kafka_mock_broker_set_down(f->cluster, 1);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, interrupt_later, f->sink), 0);
    int64_t began_ms = tr_clock_mono_ms();
    assert_int_equal(write_rows(f, 200000, true, &err), TR_FAIL);
    assert_int_equal(err.class, TR_TRANSIENT);
    assert_true(tr_clock_mono_ms() - began_ms < 5000);
    (void)pthread_join(thread, NULL);
}

static void test_exactly_once(void **state)
{
    struct fixture *f = *state;
    struct tr_error err;
    struct tr_state marks;
    f->options.guarantee = KAFKA_EXACTLY_ONCE;
    tr_state_init(&marks);
    check(open_sink(f, &marks, &err), &err);
    assert_int_equal(marks.count, 0);
    check(write_rows(f, 100, true, &err), &err);
    uint64_t commit = f->seq;
    assert_true(tr_sink_kafka.durable_seq(f->writer) < commit);
    check(flush_within(f, WAIT_MS, &err), &err);
    assert_int_equal(tr_sink_kafka.durable_seq(f->writer), commit);
    check(write_rows(f, 50, false, &err), &err); /* half a source transaction */
    assert_int_equal(tr_sink_kafka.flush(f->writer, 100, &err), TR_OK);
    assert_int_equal(tr_sink_kafka.durable_seq(f->writer), commit); /* never half of one */
    check(write_rows(f, 50, true, &err), &err);
    check(flush_within(f, WAIT_MS, &err), &err);
    assert_int_equal(tr_sink_kafka.durable_seq(f->writer), f->seq);
    close_sink(f);
    each_once(f);
    check(open_sink(f, &marks, &err), &err);
    assert_int_equal(marks.count, 1);
    assert_string_equal(tr_state_get(&marks, "lsn"), "200");
    tr_state_free(&marks);
}

/* A flush in the middle of a source transaction makes the whole ones before it durable, and nothing
 * of it: its records are held back, over several calls and whatever they hold. */
static void test_unfinished_is_held_back(void **state)
{
    struct fixture *f = *state;
    struct tr_error err;
    f->options.guarantee = KAFKA_EXACTLY_ONCE;
    f->options.transaction_interval_ms = 60000;
    check(open_sink(f, NULL, &err), &err);
    check(write_rows(f, 10, true, &err), &err);
    uint64_t whole = f->seq;
    assert_int_equal(tr_sink_kafka.durable_seq(f->writer), 0);
    check(write_rows(f, 10, false, &err), &err);
    check(write_rows(f, 10, false, &err), &err);
    assert_int_equal(tr_sink_kafka.durable_seq(f->writer), 0); /* no need to commit yet */
    check(flush_within(f, WAIT_MS, &err), &err);
    assert_int_equal(tr_sink_kafka.durable_seq(f->writer), whole);
    int counts[31];
    bool in_order;
    read_back(f, counts, 30, &in_order);
    assert_int_equal(counts[10], 1);
    assert_int_equal(counts[11], 0);
    check(write_rows(f, 10, false, &err),
          &err); /* nothing whole waits: goes on in a transaction of its own */
    assert_int_equal(tr_sink_kafka.flush(f->writer, 0, &err), TR_OK);
    assert_int_equal(tr_sink_kafka.durable_seq(f->writer), whole);
    check(write_rows(f, 10, true, &err), &err);
    check(flush_within(f, WAIT_MS, &err), &err);
    assert_int_equal(tr_sink_kafka.durable_seq(f->writer), f->seq);
    close_sink(f);
    each_once(f);
}

/* A long source transaction behind a whole one: beyond the bound the whole one is committed by
 * itself. */
static void test_long_transaction(void **state)
{
    struct fixture *f = *state;
    struct tr_error err;
    f->options.guarantee = KAFKA_EXACTLY_ONCE;
    f->options.transaction_interval_ms = 60000;
    check(open_sink(f, NULL, &err), &err);
    check(write_rows(f, 10, true, &err), &err);
    uint64_t whole = f->seq;
    for (int i = 0; i < 20; i++)
        check(write_rows(f, 1000, false, &err), &err);
    assert_int_equal(tr_sink_kafka.durable_seq(f->writer), whole);
    check(write_rows(f, 1, true, &err), &err);
    check(flush_within(f, WAIT_MS, &err), &err);
    assert_int_equal(tr_sink_kafka.durable_seq(f->writer), f->seq);
    close_sink(f);
    each_once(f);
}

static void fails_with(struct fixture *f, enum tr_code code, enum tr_err_class class)
{
    struct tr_error err;
    enum tr_status status = write_rows(f, 10, true, &err);
    if (status == TR_OK)
        status = flush_within(f, WAIT_MS, &err);
    assert_int_equal(status, TR_FAIL);
    if (err.code != code || err.class != class)
        fail_msg("%s class %s: %s (%s)", tr_error_info(err.code)->name,
                 tr_err_class_name(err.class), err.message, err.detail);
    assert_true(err.hint[0] != '\0');
}

static void test_fenced(void **state)
{
    struct fixture *f = *state;
    struct tr_error err;
    f->options.guarantee = KAFKA_EXACTLY_ONCE;
    check(open_sink(f, NULL, &err), &err);
    check(write_rows(f, 10, true, &err), &err);
    check(flush_within(f, WAIT_MS, &err), &err);
    uint64_t durable = tr_sink_kafka.durable_seq(f->writer);
    rd_kafka_mock_push_request_errors(f->cluster, API_END_TXN, 1,
                                      RD_KAFKA_RESP_ERR_PRODUCER_FENCED);
    fails_with(f, TR_E_KAFKA_FENCED, TR_FATAL);
    assert_int_equal(tr_sink_kafka.durable_seq(f->writer), durable);
}

/* The broker refuses the transaction's partitions; the position follows `pause_ms` behind the rows. */
static void aborted(struct fixture *f, int pause_ms)
{
    struct tr_error err;
    f->options.guarantee = KAFKA_EXACTLY_ONCE;
    check(open_sink(f, NULL, &err), &err);
    rd_kafka_mock_push_request_errors(f->cluster, API_ADD_PARTITIONS, 1,
                                      RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);
    enum tr_status status = write_rows(f, 10, true, &err);
    tr_clock_sleep_ms(pause_ms);
    if (status == TR_OK)
        status = flush_within(f, WAIT_MS, &err);
    assert_int_equal(status, TR_FAIL);
    if (err.code != TR_E_KAFKA_TXN_ABORTED && err.code != TR_E_KAFKA_FORBIDDEN)
        fail_msg("%s: %s (%s)", tr_error_info(err.code)->name, err.message, err.detail);
    assert_int_equal(tr_sink_kafka.durable_seq(f->writer), 0);
}

static void test_aborted(void **state) { aborted(*state, 0); }

/* The transaction is broken when the position is to follow its rows: the client then says only that
 * it takes nothing, and the reason has to be found. */
static void test_aborted_before_the_position(void **state) { aborted(*state, 500); }

static void test_coordinator_moves(void **state)
{
    struct fixture *f = *state;
    struct tr_error err;
    f->options.guarantee = KAFKA_EXACTLY_ONCE;
    check(open_sink(f, NULL, &err), &err);
    rd_kafka_mock_push_request_errors(f->cluster, API_END_TXN, 3, RD_KAFKA_RESP_ERR_NOT_COORDINATOR,
                                      RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE,
                                      RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS);
    rd_kafka_mock_push_request_errors(f->cluster, API_ADD_PARTITIONS, 1,
                                      RD_KAFKA_RESP_ERR_CONCURRENT_TRANSACTIONS);
    check(write_rows(f, 10, true, &err), &err);
    check(flush_within(f, WAIT_MS, &err), &err);
    assert_int_equal(tr_sink_kafka.durable_seq(f->writer), f->seq);
    close_sink(f);
    each_once(f);
}

static void test_timeout_refused(void **state)
{
    struct fixture *f = *state;
    struct tr_error err;
    f->options.guarantee = KAFKA_EXACTLY_ONCE;
    rd_kafka_mock_push_request_errors(f->cluster, API_INIT_PRODUCER_ID, 1,
                                      RD_KAFKA_RESP_ERR_INVALID_TRANSACTION_TIMEOUT);
    assert_int_equal(open_sink(f, NULL, &err), TR_FAIL);
    if (err.code != TR_E_KAFKA_TXN_TIMEOUT)
        fail_msg("%s: %s (%s)", tr_error_info(err.code)->name, err.message, err.detail);
    assert_int_equal(err.class, TR_CONFIG);
}

/* ---- value.format raw: dead letters ---- */

static rd_kafka_message_t *read_one(struct fixture *f, const char *topic)
{
    char why[128];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    (void)rd_kafka_conf_set(conf, "bootstrap.servers", f->values[0], why, sizeof why);
    (void)rd_kafka_conf_set(conf, "group.id", "test", why, sizeof why);
    static rd_kafka_t *reader; /* lives until the topic was read: its messages need it */
    static int64_t next;
    if (topic == NULL) {
        rd_kafka_conf_destroy(conf);
        rd_kafka_destroy_flags(reader, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
        reader = NULL;
        next = 0;
        return NULL;
    }
    if (reader == NULL) {
        reader = rd_kafka_new(RD_KAFKA_CONSUMER, conf, why, sizeof why);
        rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
        rd_kafka_topic_partition_list_add(list, topic, 0)->offset = RD_KAFKA_OFFSET_BEGINNING;
        (void)rd_kafka_poll_set_consumer(reader);
        (void)rd_kafka_assign(reader, list);
        rd_kafka_topic_partition_list_destroy(list);
    } else {
        rd_kafka_conf_destroy(conf);
    }
    rd_kafka_message_t *message = rd_kafka_consumer_poll(reader, WAIT_MS);
    assert_non_null(message);
    assert_int_equal(message->err, RD_KAFKA_RESP_ERR_NO_ERROR);
    assert_int_equal(message->offset, next++);
    return message;
}

static const char *headers_of(rd_kafka_message_t *message)
{
    static char text[2048];
    rd_kafka_headers_t *headers;
    const char *name;
    const void *value;
    size_t len, size, at = 0;
    text[0] = '\0';
    assert_int_equal(rd_kafka_message_headers(message, &headers), RD_KAFKA_RESP_ERR_NO_ERROR);
    for (size_t i = 0; rd_kafka_header_get_all(headers, i, &name, &value, &size) ==
                       RD_KAFKA_RESP_ERR_NO_ERROR;
         i++) {
        len = strcmp(name, "tailrace.failed_at") == 0 ? 4 : size; /* the clock's */
        at += (size_t)snprintf(text + at, sizeof text - at, "%s=%.*s;", name, (int)len,
                               (const char *)value);
    }
    return text;
}

static void bytes_equal(const void *ptr, size_t len, const char *expected, size_t expected_len)
{
    assert_int_equal(len, expected_len);
    if (expected == NULL)
        assert_null(ptr);
    else
        assert_memory_equal(ptr, expected, len);
}

static void test_raw_dead_letters(void **state)
{
    struct fixture *f = *state;
    struct tr_error err, reason;
    struct tr_batch *batch;
    const struct tr_split split = {.name = "users/3", .container = "users", .partition = 3};
    const struct {
        struct tr_slice key, value;
    } bytes[] = {{{"k1", 2}, {"{broken", 7}},
                 {{"\xff\x00", 2}, {"\x00\x01\xfe", 3}},
                 {{NULL, 0}, {"", 0}},
                 {{"", 0}, {NULL, 0}}};
    f->options.value_format = "raw";
    f->options.topic = "letters";
    f->options.create_topics = true;
    f->options.partitioning = KAFKA_ALL_TO_ZERO;
    f->options.custom_headers = "team:shop";
    (void)rd_kafka_mock_topic_create(f->cluster, "letters", 1, 1);
    check(open_sink(f, NULL, &err), &err);
    assert_int_equal(tr_batch_new(&batch, &err), TR_OK);
    (void)tr_fail(&reason, TR_E_ENCODE_VALUE, "not JSON");
    for (size_t i = 0; i < 4; i++) {
        const struct tr_message message = {.split = &split,
                                           .position = 40 + (int64_t)i,
                                           .ts_us = 1700000000000000,
                                           .key = bytes[i].key,
                                           .value = bytes[i].value};
        const struct tr_dead_letter letter = {.reason = i == 0 ? TR_DEAD_MALFORMED : TR_DEAD_LATE,
                                              .message = &message,
                                              .table = i == 0 ? NULL : f->table,
                                              .error = i == 0 ? &reason : NULL,
                                              .event_time_us = i == 1 ? 1000000 : TR_TIME_NONE,
                                              .watermark_us = i == 1 ? 2000000 : TR_TIME_NONE};
        assert_int_equal(tr_dead_letter_append(batch, &letter, &err), TR_OK);
    }
    struct tr_event *commit;
    assert_int_equal(tr_batch_commit(batch, NULL, 0, &commit, &err), TR_OK);
    for (uint32_t i = 0; i < batch->event_count; i++)
        batch->events[i].seq = ++f->seq;
    check(tr_sink_kafka.write(f->writer, batch->events, batch->event_count, &err), &err);
    check(flush_within(f, WAIT_MS, &err), &err);
    static const char *const headers[] = {
        "tailrace.reason=malformed;tailrace.code=ENCODE_VALUE;tailrace.error=not JSON;"
        "tailrace.container=users;tailrace.split=3;tailrace.position=40;"
        "tailrace.message_time=2023-11-14 22:13:20.000000+00;tailrace.failed_at=20",
        "tailrace.reason=late;tailrace.source_table=public.t;tailrace.container=users;"
        "tailrace.split=3;tailrace.position=41;"
        "tailrace.message_time=2023-11-14 22:13:20.000000+00;"
        "tailrace.event_time=1970-01-01 00:00:01.000000+00;"
        "tailrace.watermark=1970-01-01 00:00:02.000000+00;tailrace.failed_at=20"};
    for (size_t i = 0; i < 4; i++) {
        rd_kafka_message_t *message = read_one(f, "letters");
        bytes_equal(message->key, message->key_len, bytes[i].key.ptr, bytes[i].key.len);
        bytes_equal(message->payload, message->len, bytes[i].value.ptr, bytes[i].value.len);
        const char *found = headers_of(message);
        if (i < 2)
            assert_memory_equal(found, headers[i], strlen(headers[i]));
        assert_non_null(strstr(found, ";team=shop;"));
        rd_kafka_message_destroy(message);
    }
    (void)read_one(f, NULL);
    tr_batch_free(batch);
}

static void note_error(void *ctx, const struct tr_finding *finding)
{
    if (finding->severity == TR_ERROR_SEVERITY && finding->code == TR_E_CAPABILITY)
        ++*(int *)ctx;
}

static void test_raw_refuses_tables(void **state)
{
    struct fixture *f = *state;
    struct tr_error err;
    int refused = 0;
    f->options.value_format = "raw";
    check(open_sink(f, NULL, &err), &err);
    const struct tr_table *tables[] = {f->table, tr_dead_letter_table()};
    f->options.create_topics = true;
    check(tr_sink_kafka.validate(f->sink, tables, 2, note_error, &refused, &err), &err);
    assert_int_equal(refused, 1);
    assert_int_equal(write_rows(f, 1, true, &err), TR_FAIL);
    assert_int_equal(err.code, TR_E_CAPABILITY);
    assert_int_equal(err.seq, 1);
    assert_non_null(strstr(err.message, "public.t"));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_at_least_once),
        TEST(test_broker_goes_and_comes),
        TEST(test_retried_errors_repeat_nothing),
        TEST(test_too_large),
        TEST(test_forbidden),
        TEST(test_unknown_topic),
        TEST(test_interrupt),
        TEST(test_exactly_once),
        TEST(test_unfinished_is_held_back),
        TEST(test_long_transaction),
        TEST(test_fenced),
        TEST(test_aborted),
        TEST(test_aborted_before_the_position),
        TEST(test_coordinator_moves),
        TEST(test_timeout_refused),
        TEST(test_raw_dead_letters),
        TEST(test_raw_refuses_tables),
    };
    tr_log_set_level(TR_LOG_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
