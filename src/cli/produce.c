/* tailrace produce: JSON Lines to a Kafka topic. Each line that is not empty is one message, its
 * bytes as they are: what is not JSON is sent too, so that broken events can be tried. One thread;
 * the client's delivery reports come by rd_kafka_poll. */
#include <errno.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/cli.h"

#ifdef TR_WITH_KAFKA
#include "kafka/client.h"

#define CONNECT_TIMEOUT_MS 10000
#define TOPIC_TIMEOUT_MS 15000
#define POLL_MS 100
#define PROGRESS_MS 200
#define PROPERTIES_MAX 64
#define PARTITIONS_MAX 10000
#define SLEEP_SECONDS_MAX 86400.0
#define PATH_BYTES_MAX 512
#define LINE_BYTES_MAX ((size_t)1 << 30)

struct produce {
    struct kafka_health *health; /* first: the callbacks' opaque is this */
    struct kafka_health health_state;
    const char *bootstrap, *topic, *file, *key;
    const char *properties[PROPERTIES_MAX]; /* NAME=VALUE */
    size_t property_count;
    double sleep_seconds;
    int partitions; /* of a topic that has to be made; -1: the broker's default */
    rd_kafka_t *client;
    FILE *in;
    uint64_t sent, bytes, acknowledged, failed, without_key;
    rd_kafka_resp_err_t first_failure;
    int64_t began_ms, shown_ms;
    bool on_terminal;
};

static volatile sig_atomic_t signals;

static void on_signal(int number)
{
    (void)number;
    signals = signals + 1;
}

/* ---- the command line ---------------------------------------------------------------------------
 */

static int usage_error(const char *message)
{
    fprintf(stderr, "tailrace produce: %s; see tailrace produce --help\n", message);
    return TR_EXIT_USAGE;
}

/* Takes -X NAME=VALUE out of argv; the flags' parser knows no repeated flags. */
static bool take_properties(struct produce *produce, int *argc, char **argv)
{
    int kept = 1;
    for (int i = 1; i < *argc; i++) {
        if (strncmp(argv[i], "-X", 2) != 0) {
            argv[kept++] = argv[i];
            continue;
        }
        const char *pair = argv[i][2] != '\0' ? argv[i] + 2 : i + 1 < *argc ? argv[++i] : "";
        const char *equals = strchr(pair, '=');
        if (equals == NULL || equals == pair || produce->property_count == PROPERTIES_MAX)
            return false;
        produce->properties[produce->property_count++] = pair;
    }
    *argc = kept;
    return true;
}

static int parse(struct produce *produce, int argc, char **argv)
{
    const char *sleep_text = NULL, *partitions = NULL;
    int positional_count;
    char *end;
    const struct tr_flag flags[] = {{"--bootstrap", NULL, &produce->bootstrap},
                                    {"--topic", NULL, &produce->topic},
                                    {"--file", NULL, &produce->file},
                                    {"--sleep", NULL, &sleep_text},
                                    {"--key", NULL, &produce->key},
                                    {"--create-partitions", NULL, &partitions}};
    produce->partitions = -1;
    if (!take_properties(produce, &argc, argv))
        return usage_error("-X takes NAME=VALUE");
    if (!tr_cli_parse(argc, argv, flags, sizeof flags / sizeof flags[0], NULL, 0, 0,
                      &positional_count))
        return TR_EXIT_USAGE;
    if (produce->bootstrap == NULL || produce->topic == NULL)
        return usage_error("--bootstrap and --topic are needed");
    if (produce->key != NULL &&
        (produce->key[0] == '\0' || strlen(produce->key) > PATH_BYTES_MAX - 8))
        return usage_error("--key takes the name of a field");
    if (sleep_text != NULL) {
        produce->sleep_seconds = strtod(sleep_text, &end);
        if (end == sleep_text || *end != '\0' ||
            !(produce->sleep_seconds >= 0 && produce->sleep_seconds <= SLEEP_SECONDS_MAX))
            return usage_error("--sleep takes seconds, for example 0.2");
    }
    if (partitions != NULL) {
        long count = strtol(partitions, &end, 10);
        if (end == partitions || *end != '\0' || count < 1 || count > PARTITIONS_MAX)
            return usage_error("--create-partitions takes a number from 1 to 10000");
        produce->partitions = (int)count;
    }
    return TR_EXIT_OK;
}

/* ---- the producer -------------------------------------------------------------------------------
 */

static void on_delivered(rd_kafka_t *client, const rd_kafka_message_t *message, void *opaque)
{
    struct produce *produce = opaque;
    (void)client;
    if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
        produce->acknowledged++;
        return;
    }
    produce->failed++;
    if (produce->first_failure == RD_KAFKA_RESP_ERR_NO_ERROR)
        produce->first_failure = message->err;
}

static enum tr_status set_property(rd_kafka_conf_t *conf, const char *pair, struct tr_error *err)
{
    static const struct kafka_refusal refusals[] = {
        {"transactional.id", "The command writes without transactions."}, {NULL, NULL}};
    char name[128];
    size_t len = strcspn(pair, "=");
    if (len >= sizeof name)
        return tr_fail(err, TR_E_KAFKA_PROPERTY, "a property's name is too long");
    memcpy(name, pair, len);
    name[len] = '\0';
    if (kafka_property_refused(refusals, name, err))
        return TR_FAIL;
    return kafka_property_set(conf, name, pair + len + 1, err);
}

static enum tr_status open_producer(struct produce *produce, struct tr_error *err)
{
    static const char *const settings[][2] = {
        {"client.id", "tailrace-produce"},
        {"enable.idempotence", "true"},
        {"acks", "all"},
        {"linger.ms", "5"},
        {"compression.type", "lz4"},
        {"partitioner", "murmur2_random"},
        {"queue.buffering.max.kbytes", "65536"},
        {"log.connection.close", "false"},
    };
    char why[256];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    kafka_conf_callbacks(conf, produce);
    rd_kafka_conf_set_dr_msg_cb(conf, on_delivered);
    enum tr_status status = kafka_conf_set(conf, "bootstrap.servers", produce->bootstrap, err);
    for (size_t i = 0; status == TR_OK && i < sizeof settings / sizeof settings[0]; i++)
        status = kafka_conf_set(conf, settings[i][0], settings[i][1], err);
    for (size_t i = 0; status == TR_OK && i < produce->property_count; i++)
        status = set_property(conf, produce->properties[i], err);
    if (status == TR_OK)
        produce->client = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof why);
    if (produce->client != NULL)
        return TR_OK;
    rd_kafka_conf_destroy(conf);
    if (status != TR_OK)
        return TR_FAIL;
    (void)tr_fail(err, TR_E_KAFKA_PROPERTY, "the Kafka client refuses its properties");
    return tr_detail(err, "%s", why);
}

static enum tr_status make_topic(struct produce *produce, struct tr_error *err)
{
    char why[256];
    rd_kafka_NewTopic_t *topic =
        rd_kafka_NewTopic_new(produce->topic, produce->partitions, -1, why, sizeof why);
    if (topic == NULL) {
        (void)tr_fail(err, TR_E_KAFKA_TOPIC_CREATE, "topic %s cannot be made", produce->topic);
        return tr_detail(err, "%s", why);
    }
    rd_kafka_queue_t *queue = rd_kafka_queue_new(produce->client);
    rd_kafka_CreateTopics(produce->client, &topic, 1, NULL, queue);
    rd_kafka_event_t *event = rd_kafka_queue_poll(queue, TOPIC_TIMEOUT_MS);
    rd_kafka_resp_err_t native =
        event == NULL ? RD_KAFKA_RESP_ERR__TIMED_OUT : rd_kafka_event_error(event);
    if (native == RD_KAFKA_RESP_ERR_NO_ERROR) {
        size_t count = 0;
        const rd_kafka_topic_result_t **results =
            rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event), &count);
        native = count == 1 ? rd_kafka_topic_result_error(results[0]) : RD_KAFKA_RESP_ERR_UNKNOWN;
    }
    if (event != NULL)
        rd_kafka_event_destroy(event);
    rd_kafka_queue_destroy(queue);
    rd_kafka_NewTopic_destroy(topic);
    if (native == RD_KAFKA_RESP_ERR_NO_ERROR || native == RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS)
        return TR_OK;
    return kafka_fail(err, native, NULL, "making topic %s", produce->topic);
}

static enum tr_status topic_partitions(struct produce *produce, int *partitions,
                                       struct tr_error *err)
{
    const struct rd_kafka_metadata *metadata;
    *partitions = 0;
    if (kafka_metadata(produce->client, produce->health, CONNECT_TIMEOUT_MS, &metadata, err) !=
        TR_OK)
        return TR_FAIL;
    for (int i = 0; i < metadata->topic_cnt; i++) {
        if (strcmp(metadata->topics[i].topic, produce->topic) == 0 &&
            metadata->topics[i].err == RD_KAFKA_RESP_ERR_NO_ERROR)
            *partitions = metadata->topics[i].partition_cnt;
    }
    rd_kafka_metadata_destroy(metadata);
    return TR_OK;
}

static enum tr_status ensure_topic(struct produce *produce, struct tr_error *err)
{
    int partitions;
    if (topic_partitions(produce, &partitions, err) != TR_OK)
        return TR_FAIL;
    if (partitions > 0)
        return TR_OK;
    if (make_topic(produce, err) != TR_OK)
        return TR_FAIL;
    int64_t until_ms = tr_clock_mono_ms() + TOPIC_TIMEOUT_MS;
    while (partitions == 0 && tr_clock_mono_ms() < until_ms && signals == 0) {
        tr_clock_sleep_ms(20); /* a new topic shows a little later */
        if (topic_partitions(produce, &partitions, err) != TR_OK)
            return TR_FAIL;
    }
    fprintf(stderr, "made topic %s with %d partition%s\n", produce->topic, partitions,
            partitions == 1 ? "" : "s");
    return TR_OK;
}

/* ---- keys ---------------------------------------------------------------------------------------
 */

static const json_t *field(const json_t *root, const char *path)
{
    char name[PATH_BYTES_MAX];
    while (root != NULL) {
        size_t len = strcspn(path, ".");
        const json_t *whole = json_object_get(root, path); /* a name may hold dots */
        if (whole != NULL || path[len] == '\0')
            return whole;
        memcpy(name, path, len);
        name[len] = '\0';
        root = json_object_get(root, name);
        path += len + 1;
    }
    return NULL;
}

/* The field by its path. In a change envelope, whose row is in after or (a delete) before, also
 * there: id means after.id or before.id where the line has no id of its own, after.id means
 * before.id where after is null. */
static const json_t *key_field(const json_t *root, const char *path)
{
    const json_t *value = field(root, path);
    if (value == NULL && strncmp(path, "after.", 6) == 0)
        return field(json_object_get(root, "before"), path + 6);
    if (value == NULL)
        value = field(json_object_get(root, "after"), path);
    return value == NULL ? field(json_object_get(root, "before"), path) : value;
}

/* The key's bytes, to be freed; NULL: none. Text without its quotes, everything else as JSON. */
static char *key_of(const char *path, const char *line, size_t len, size_t *key_len)
{
    json_t *root = json_loadb(line, len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
    const json_t *value = key_field(root, path);
    char *key = NULL;
    if (json_is_string(value)) {
        *key_len = json_string_length(value);
        key = malloc(*key_len + 1);
        if (key != NULL)
            memcpy(key, json_string_value(value), *key_len + 1);
    } else if (value != NULL && !json_is_null(value)) {
        key = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
        *key_len = key == NULL ? 0 : strlen(key);
    }
    json_decref(root);
    return key;
}

/* ---- sending ------------------------------------------------------------------------------------
 */

static void show(struct produce *produce, bool last)
{
    int64_t now_ms = tr_clock_mono_ms();
    if (!produce->on_terminal || (!last && now_ms - produce->shown_ms < PROGRESS_MS))
        return;
    produce->shown_ms = now_ms;
    double seconds = (double)(now_ms - produce->began_ms) / 1000.0;
    fprintf(stderr, "\r\033[K%llu sent, %llu acknowledged, %llu failed, %.0f/s%s",
            (unsigned long long)produce->sent, (unsigned long long)produce->acknowledged,
            (unsigned long long)produce->failed,
            seconds > 0 ? (double)produce->acknowledged / seconds : 0.0, last ? "\n" : "");
    (void)fflush(stderr);
}

static enum tr_status send_line(struct produce *produce, const char *line, size_t len,
                                struct tr_error *err)
{
    size_t key_len = 0;
    char *key = produce->key == NULL ? NULL : key_of(produce->key, line, len, &key_len);
    if (produce->key != NULL && key == NULL)
        produce->without_key++;
    rd_kafka_resp_err_t native;
    do {
        native = rd_kafka_producev(produce->client, RD_KAFKA_V_TOPIC(produce->topic),
                                   RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
                                   RD_KAFKA_V_KEY(key, key_len),
                                   RD_KAFKA_V_VALUE((void *)(uintptr_t)line, len), RD_KAFKA_V_END);
        (void)rd_kafka_poll(produce->client, native == RD_KAFKA_RESP_ERR__QUEUE_FULL ? POLL_MS : 0);
        show(produce, false);
    } while (native == RD_KAFKA_RESP_ERR__QUEUE_FULL && signals == 0);
    free(key);
    if (native == RD_KAFKA_RESP_ERR__QUEUE_FULL)
        return TR_OK; /* stopped before it could be sent */
    if (native != RD_KAFKA_RESP_ERR_NO_ERROR)
        return kafka_fail(err, native, NULL, "sending line %llu",
                          (unsigned long long)(produce->sent + 1));
    produce->sent++;
    produce->bytes += len;
    return TR_OK;
}

static void rest(struct produce *produce)
{
    int64_t until_ms = tr_clock_mono_ms() + (int64_t)(produce->sleep_seconds * 1000.0);
    for (int64_t left_ms; signals == 0 && (left_ms = until_ms - tr_clock_mono_ms()) > 0;) {
        (void)rd_kafka_poll(produce->client, left_ms > POLL_MS ? POLL_MS : (int)left_ms);
        show(produce, false);
    }
}

static enum tr_status send_all(struct produce *produce, struct tr_error *err)
{
    char *line = NULL;
    size_t capacity = 0;
    ssize_t got;
    enum tr_status status = TR_OK;
    while (status == TR_OK && signals == 0 && (got = getline(&line, &capacity, produce->in)) > 0) {
        size_t len = (size_t)got;
        if (line[len - 1] == '\n')
            len--;
        if (len == 0 || (len == 1 && line[0] == '\r'))
            continue;
        if (len > LINE_BYTES_MAX)
            status = tr_fail(err, TR_E_KAFKA_MESSAGE_TOO_LARGE, "a line is longer than %zu bytes",
                             LINE_BYTES_MAX);
        else
            status = send_line(produce, line, len, err);
        if (produce->sleep_seconds > 0 && status == TR_OK)
            rest(produce);
    }
    if (status == TR_OK && ferror(produce->in) && signals == 0)
        status =
            tr_fail(err, TR_E_USAGE, "%s could not be read: %s", produce->file, strerror(errno));
    free(line);
    return status;
}

/* Until nothing is under way: the client gives each message up after message.timeout.ms. A second
 * signal ends it at once. */
static void flush(struct produce *produce)
{
    int before = signals;
    while (rd_kafka_outq_len(produce->client) > 0 && signals <= before) {
        (void)rd_kafka_flush(produce->client, POLL_MS);
        show(produce, false);
    }
    show(produce, true);
}

static int summary(struct produce *produce, enum tr_status status, struct tr_error *err)
{
    double seconds = (double)(tr_clock_mono_ms() - produce->began_ms) / 1000.0;
    uint64_t unknown = produce->sent - produce->acknowledged - produce->failed;
    fprintf(stderr,
            "%llu message%s (%llu bytes) to %s acknowledged of %llu sent in %.1f s, %.0f/s\n",
            (unsigned long long)produce->acknowledged, produce->acknowledged == 1 ? "" : "s",
            (unsigned long long)produce->bytes, produce->topic, (unsigned long long)produce->sent,
            seconds, seconds > 0 ? (double)produce->acknowledged / seconds : 0.0);
    if (produce->without_key > 0)
        fprintf(stderr, "%llu without a key: the line is not JSON, or has no field %s\n",
                (unsigned long long)produce->without_key, produce->key);
    if (status == TR_OK && produce->failed > 0)
        status = kafka_fail(err, produce->first_failure, NULL, "%llu messages were not delivered",
                            (unsigned long long)produce->failed);
    if (status != TR_OK)
        return tr_cli_error(err);
    if (signals > 0 || unknown > 0) {
        fprintf(stderr, "stopped%s\n", unknown > 0 ? "; some messages may not have arrived" : "");
        return TR_EXIT_SECOND_SIGNAL;
    }
    return TR_EXIT_OK;
}

int tr_cmd_produce(int argc, char **argv)
{
    struct produce *produce = calloc(1, sizeof *produce);
    struct tr_error err;
    if (produce == NULL)
        return TR_EXIT_FAILURE;
    produce->health = &produce->health_state;
    int code = parse(produce, argc, argv);
    if (code != TR_EXIT_OK)
        goto cleanup;
    produce->in = produce->file == NULL || strcmp(produce->file, "-") == 0
                      ? stdin
                      : fopen(produce->file, "r");
    if (produce->in == NULL) {
        fprintf(stderr, "tailrace produce: %s: %s\n", produce->file, strerror(errno));
        code = TR_EXIT_USAGE;
        goto cleanup;
    }
    struct sigaction action = {.sa_handler = on_signal}; /* without restart: a read ends */
    (void)sigemptyset(&action.sa_mask);
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
    produce->on_terminal = isatty(STDERR_FILENO) != 0;
    if (open_producer(produce, &err) != TR_OK || ensure_topic(produce, &err) != TR_OK) {
        code = tr_cli_error(&err);
        goto cleanup;
    }
    produce->began_ms = tr_clock_mono_ms();
    enum tr_status status = send_all(produce, &err);
    flush(produce);
    code = summary(produce, status, &err);
cleanup:
    if (produce->client != NULL)
        rd_kafka_destroy(produce->client);
    if (produce->in != NULL && produce->in != stdin)
        (void)fclose(produce->in);
    free(produce);
    return code;
}

#else /* without librdkafka */

int tr_cmd_produce(int argc, char **argv)
{
    (void)argc;
    fprintf(stderr, "tailrace %s: built without librdkafka (package librdkafka-dev)\n", argv[0]);
    return TR_EXIT_USAGE;
}
#endif
