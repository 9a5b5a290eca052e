/* The floor of reading a topic: librdkafka with its defaults, every partition from its first
 * message to its present end, nothing done with the messages.
 *
 *     kafka_floor BOOTSTRAP TOPIC
 *
 * prints "messages bytes". bench/e2e/users.py compiles it and takes time, CPU and memory of the
 * process. */
#include <inttypes.h>
#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>

#define METADATA_TIMEOUT_MS 10000
#define BATCH_COUNT 1000
#define BATCH_WAIT_MS 20    /* for a batch to become full: also what is lost at the end */
#define EMPTY_WAITS_MAX 500 /* in a row */

static void require(int ok, const char *what)
{
    if (!ok) {
        fprintf(stderr, "kafka_floor: %s\n", what);
        exit(1);
    }
}

int main(int argc, char **argv)
{
    require(argc == 3, "usage: kafka_floor BOOTSTRAP TOPIC");
    char why[256] = "";
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    require(rd_kafka_conf_set(conf, "bootstrap.servers", argv[1], why, sizeof why) == 0 &&
                rd_kafka_conf_set(conf, "enable.partition.eof", "true", why, sizeof why) == 0 &&
                rd_kafka_conf_set(conf, "group.id", "floor", why, sizeof why) == 0 &&
                rd_kafka_conf_set(conf, "enable.auto.commit", "false", why, sizeof why) == 0,
            why);
    rd_kafka_t *consumer = rd_kafka_new(RD_KAFKA_CONSUMER, conf, why, sizeof why);
    require(consumer != NULL, why);
    rd_kafka_topic_t *topic = rd_kafka_topic_new(consumer, argv[2], NULL);
    const struct rd_kafka_metadata *metadata;
    require(rd_kafka_metadata(consumer, 0, topic, &metadata, METADATA_TIMEOUT_MS) ==
                RD_KAFKA_RESP_ERR_NO_ERROR,
            "no metadata");
    int left = metadata->topics[0].partition_cnt;
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(left);
    for (int i = 0; i < left; i++)
        rd_kafka_topic_partition_list_add(list, argv[2], i)->offset = RD_KAFKA_OFFSET_BEGINNING;
    require(rd_kafka_assign(consumer, list) == RD_KAFKA_RESP_ERR_NO_ERROR, "cannot assign");

    rd_kafka_queue_t *queue = rd_kafka_queue_get_consumer(consumer);
    static rd_kafka_message_t *batch[BATCH_COUNT];
    uint64_t messages = 0, bytes = 0;
    int empty = 0;
    while (left > 0) {
        ssize_t count = rd_kafka_consume_batch_queue(queue, BATCH_WAIT_MS, batch, BATCH_COUNT);
        empty = count > 0 ? 0 : empty + 1;
        require(count >= 0 && empty < EMPTY_WAITS_MAX, "nothing came in time");
        for (ssize_t i = 0; i < count; i++) {
            if (batch[i]->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
                left--;
            } else {
                require(batch[i]->err == RD_KAFKA_RESP_ERR_NO_ERROR,
                        rd_kafka_err2str(batch[i]->err));
                messages++;
                bytes += batch[i]->len;
            }
            rd_kafka_message_destroy(batch[i]);
        }
    }
    printf("%" PRIu64 " %" PRIu64 "\n", messages, bytes);
    rd_kafka_queue_destroy(queue);
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_metadata_destroy(metadata);
    rd_kafka_topic_destroy(topic);
    rd_kafka_consumer_close(consumer);
    rd_kafka_destroy(consumer);
    return 0;
}
