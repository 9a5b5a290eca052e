/* How long after it was written a row is seen in a topic, by whoever brought it there.
 *
 *     kafka_latency BOOTSTRAP TOPIC FIELD SKIP COUNT
 *
 * Reads every partition from its present end, prints "ready" when it does, and takes the wall clock
 * as each message is handed over. The message's JSON has a member FIELD with the time at which the
 * row was written: microseconds since 1970, or a text like "2024-01-31T23:59:59.123456Z" (UTC; also
 * with a space, a +00 or a +00:00). Messages without it are passed over. The first SKIP are read
 * and not counted; after COUNT more it prints
 *
 *     count minimum p50 p99 p99.9 maximum     (milliseconds)
 *
 * and ends. Both clocks must be of one machine. */
#define _GNU_SOURCE
#include <librdkafka/rdkafka.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define METADATA_TIMEOUT_MS 10000
#define POLL_MS 100
#define SILENCE_MS 60000 /* this long without a message is the end */
#define COUNT_MAX 100000000L
#define FIELD_BYTES_MAX 100
#define TIME_BYTES_MAX 40
#define US_PER_S INT64_C(1000000)

static void require(int ok, const char *what)
{
    if (!ok) {
        fprintf(stderr, "kafka_latency: %s\n", what);
        exit(1);
    }
}

static int64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * US_PER_S + now.tv_nsec / 1000;
}

/* The text of a time in UTC as microseconds, or -1. */
static int64_t parse_time(const char *text)
{
    struct tm parts = {0};
    char separator = 0, zone[8] = "";
    int used = 0;
    if (sscanf(text, "%4d-%2d-%2d%c%2d:%2d:%2d%n", &parts.tm_year, &parts.tm_mon, &parts.tm_mday,
               &separator, &parts.tm_hour, &parts.tm_min, &parts.tm_sec, &used) != 7 ||
        (separator != 'T' && separator != ' '))
        return -1;
    parts.tm_year -= 1900;
    parts.tm_mon -= 1;
    int64_t us = (int64_t)timegm(&parts) * US_PER_S;
    if (text[used] == '.') {
        used++;
        for (int64_t unit = US_PER_S / 10; text[used] >= '0' && text[used] <= '9'; unit /= 10)
            us += unit * (text[used++] - '0');
    }
    (void)sscanf(text + used, "%7[^\"]", zone);
    return strcmp(zone, "Z") == 0 || strcmp(zone, "+00") == 0 || strcmp(zone, "+00:00") == 0 ? us
                                                                                             : -1;
}

/* The time in the member whose name, with quotes and colon, is `name`; 0 when there is none. */
static int64_t written_us(const rd_kafka_message_t *message, const char *name)
{
    const char *end = (const char *)message->payload + message->len;
    const char *found =
        message->payload ? memmem(message->payload, message->len, name, strlen(name)) : NULL;
    if (found == NULL)
        return 0;
    found += strlen(name);
    char text[TIME_BYTES_MAX];
    size_t length =
        (size_t)(end - found) < sizeof text - 1 ? (size_t)(end - found) : sizeof text - 1;
    memcpy(text, found, length);
    text[length] = '\0';
    const char *value = text + strspn(text, " \"");
    int64_t us = value[strspn(value, "0123456789")] == '-' ? parse_time(value) : atoll(value);
    require(us > 0, "a time that is neither microseconds nor a UTC timestamp");
    return us;
}

static rd_kafka_t *open_consumer(const char *bootstrap, const char *topic)
{
    char why[256] = "";
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    require(rd_kafka_conf_set(conf, "bootstrap.servers", bootstrap, why, sizeof why) == 0 &&
                rd_kafka_conf_set(conf, "enable.partition.eof", "true", why, sizeof why) == 0 &&
                rd_kafka_conf_set(conf, "group.id", "latency", why, sizeof why) == 0 &&
                rd_kafka_conf_set(conf, "isolation.level", "read_committed", why, sizeof why) ==
                    0 &&
                rd_kafka_conf_set(conf, "enable.auto.commit", "false", why, sizeof why) == 0,
            why);
    rd_kafka_t *consumer = rd_kafka_new(RD_KAFKA_CONSUMER, conf, why, sizeof why);
    require(consumer != NULL, why);
    rd_kafka_poll_set_consumer(consumer);
    rd_kafka_topic_t *handle = rd_kafka_topic_new(consumer, topic, NULL);
    const struct rd_kafka_metadata *metadata;
    require(rd_kafka_metadata(consumer, 0, handle, &metadata, METADATA_TIMEOUT_MS) ==
                    RD_KAFKA_RESP_ERR_NO_ERROR &&
                metadata->topics[0].partition_cnt > 0,
            "no such topic");
    int partitions = metadata->topics[0].partition_cnt;
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(partitions);
    for (int i = 0; i < partitions; i++) {
        /* The end by number: the place "end" would be looked up at some later moment. */
        int64_t low, high;
        require(rd_kafka_query_watermark_offsets(consumer, topic, i, &low, &high,
                                                 METADATA_TIMEOUT_MS) == RD_KAFKA_RESP_ERR_NO_ERROR,
                "no end offset");
        rd_kafka_topic_partition_list_add(list, topic, i)->offset = high;
    }
    require(rd_kafka_assign(consumer, list) == RD_KAFKA_RESP_ERR_NO_ERROR, "cannot assign");
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_metadata_destroy(metadata);
    rd_kafka_topic_destroy(handle);
    for (int left = partitions; left > 0;) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(consumer, METADATA_TIMEOUT_MS);
        require(message != NULL, "the end of the topic was not reached");
        left -= message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF;
        rd_kafka_message_destroy(message);
    }
    return consumer;
}

static void collect(rd_kafka_t *consumer, const char *name, long skip, long count, int64_t *samples)
{
    int64_t last_us = now_us();
    for (long seen = 0; seen < skip + count;) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(consumer, POLL_MS);
        int64_t arrived_us = now_us();
        require(arrived_us - last_us < SILENCE_MS * INT64_C(1000), "nothing came in time");
        if (message == NULL)
            continue;
        if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
            int64_t at_us = written_us(message, name);
            if (at_us != 0) {
                last_us = arrived_us;
                if (seen >= skip)
                    samples[seen - skip] = arrived_us - at_us;
                seen++;
            }
        } else {
            require(message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF,
                    rd_kafka_err2str(message->err));
        }
        rd_kafka_message_destroy(message);
    }
}

static int by_value(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* The nearest rank, in milliseconds. */
static double percentile(const int64_t *sorted, long count, double part)
{
    long rank = (long)(part * (double)count);
    return (double)sorted[rank < count ? rank : count - 1] / 1000.0;
}

int main(int argc, char **argv)
{
    require(argc == 6, "usage: kafka_latency BOOTSTRAP TOPIC FIELD SKIP COUNT");
    long skip = strtol(argv[4], NULL, 10), count = strtol(argv[5], NULL, 10);
    require(skip >= 0 && skip < COUNT_MAX && count > 0 && count < COUNT_MAX, "SKIP or COUNT");
    char name[FIELD_BYTES_MAX + 4];
    require(strlen(argv[3]) <= FIELD_BYTES_MAX, "FIELD is too long");
    snprintf(name, sizeof name, "\"%s\":", argv[3]);
    int64_t *samples = calloc((size_t)count, sizeof *samples);
    require(samples != NULL, "out of memory");

    rd_kafka_t *consumer = open_consumer(argv[1], argv[2]);
    puts("ready");
    fflush(stdout);
    collect(consumer, name, skip, count, samples);
    qsort(samples, (size_t)count, sizeof *samples, by_value);
    printf("%ld %.3f %.3f %.3f %.3f %.3f\n", count, percentile(samples, count, 0),
           percentile(samples, count, 0.5), percentile(samples, count, 0.99),
           percentile(samples, count, 0.999), percentile(samples, count, 1));
    free(samples);
    rd_kafka_consumer_close(consumer);
    rd_kafka_destroy(consumer);
    return 0;
}
