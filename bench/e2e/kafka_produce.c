/* The floor of writing to Kafka: librdkafka with the settings of tailrace's sink, and messages that
 * are there already.
 *
 *     kafka_produce BOOTSTRAP TOPIC FILE COUNT
 *
 * FILE holds messages, one a line: key, tab, value. They are sent over and over until COUNT are
 * sent and the broker has all of them on its log (acks=all, idempotent). run.py takes them from a
 * topic that tailrace has written, so that sizes and lz4's ratio are the same. */
#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FLUSH_MS 60000
#define QUEUE_WAIT_MS 100

struct message {
    const char *key, *value;
    size_t key_len, value_len;
};

static long undelivered;

static void require(bool ok, const char *what)
{
    if (!ok) {
        fprintf(stderr, "kafka_produce: %s\n", what);
        exit(1);
    }
}

static void on_delivery(rd_kafka_t *producer, const rd_kafka_message_t *message, void *ctx)
{
    (void)producer;
    (void)ctx;
    require(message->err == RD_KAFKA_RESP_ERR_NO_ERROR, rd_kafka_err2str(message->err));
    undelivered--;
}

static char *read_file(const char *path, size_t *len)
{
    FILE *file = fopen(path, "rb");
    require(file != NULL && fseek(file, 0, SEEK_END) == 0, "cannot read FILE");
    long size = ftell(file);
    char *text = malloc((size_t)size + 1);
    rewind(file);
    require(text != NULL && fread(text, 1, (size_t)size, file) == (size_t)size, "cannot read FILE");
    (void)fclose(file);
    *len = (size_t)size;
    return text;
}

/* The lines point into text. */
static struct message *split(char *text, size_t len, size_t *count)
{
    size_t lines = 0;
    for (size_t i = 0; i < len; i++)
        lines += text[i] == '\n';
    struct message *messages = calloc(lines + 1, sizeof *messages);
    require(messages != NULL && lines > 0, "FILE holds no message");
    *count = 0;
    for (char *at = text, *line_end; at < text + len; at = line_end + 1) {
        line_end = memchr(at, '\n', (size_t)(text + len - at));
        char *tab = line_end == NULL ? NULL : memchr(at, '\t', (size_t)(line_end - at));
        require(tab != NULL, "a line of FILE has no tab");
        messages[(*count)++] =
            (struct message){at, tab + 1, (size_t)(tab - at), (size_t)(line_end - tab - 1)};
    }
    return messages;
}

static rd_kafka_t *open_producer(const char *bootstrap)
{
    const char *const settings[][2] = {{"bootstrap.servers", bootstrap},
                                       {"enable.idempotence", "true"},
                                       {"acks", "all"},
                                       {"compression.type", "lz4"},
                                       {"linger.ms", "1"},
                                       {"batch.size", "1000000"},
                                       {"partitioner", "murmur2_random"}};
    char why[256] = "";
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++)
        require(rd_kafka_conf_set(conf, settings[i][0], settings[i][1], why, sizeof why) ==
                    RD_KAFKA_CONF_OK,
                why);
    rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
    rd_kafka_t *producer = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof why);
    require(producer != NULL, why);
    return producer;
}

static void send_one(rd_kafka_t *producer, rd_kafka_topic_t *topic, const struct message *message)
{
    /* The bytes stay where they are: nothing is copied. */
    while (rd_kafka_produce(topic, RD_KAFKA_PARTITION_UA, 0, (void *)message->value,
                            message->value_len, message->key, message->key_len, NULL) != 0) {
        require(rd_kafka_last_error() == RD_KAFKA_RESP_ERR__QUEUE_FULL,
                rd_kafka_err2str(rd_kafka_last_error()));
        (void)rd_kafka_poll(producer, QUEUE_WAIT_MS);
    }
    undelivered++;
}

int main(int argc, char **argv)
{
    require(argc == 5, "usage: kafka_produce BOOTSTRAP TOPIC FILE COUNT");
    size_t len, kinds;
    char *text = read_file(argv[3], &len);
    struct message *messages = split(text, len, &kinds);
    long count = strtol(argv[4], NULL, 10);
    rd_kafka_t *producer = open_producer(argv[1]);
    rd_kafka_topic_t *topic = rd_kafka_topic_new(producer, argv[2], NULL);
    require(topic != NULL, "no topic");
    for (long i = 0; i < count; i++) {
        send_one(producer, topic, &messages[(size_t)i % kinds]);
        if (i % 1000 == 0)
            (void)rd_kafka_poll(producer, 0);
    }
    require(rd_kafka_flush(producer, FLUSH_MS) == RD_KAFKA_RESP_ERR_NO_ERROR && undelivered == 0,
            "not everything was delivered");
    rd_kafka_topic_destroy(topic);
    rd_kafka_destroy(producer);
    free(messages);
    free(text);
    return 0;
}
