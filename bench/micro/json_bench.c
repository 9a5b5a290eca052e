/* What a message costs in the JSON reader and in each format: nanoseconds, and instructions where
 * the kernel lets us count them (else bench/micro/instructions.py tells). Beside it the same bytes
 * through jansson, which makes a tree of allocated values.
 *
 *   cmake -DCMAKE_BUILD_TYPE=Release … && ninja bench_json && bench/micro/bench_json [NAME
 * [EVENTS]] bench_json --list      the names */
#include <jansson.h>
#include <linux/perf_event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "decode/formats.h"
#include "decode/json_reader.h"
#include "event/batch.h"

static size_t event_count = 1000000;

static const char sample[] =
    "{\"op\":\"u\",\"before\":{\"id\":1,\"name\":\"Alice\",\"email\":\"alice@example.com\"},"
    "\"after\":{\"id\":1,\"name\":\"Alice B\",\"email\":\"aliceb@example.com\"},"
    "\"timestamp\":\"2025-09-19T10:00:15Z\"}";
static const char create[] =
    "{\"op\":\"c\",\"before\":null,\"after\":{\"id\":4711,\"name\":\"Alice Example\",\"email\":"
    "\"alice@example.com\",\"price\":19.90,\"active\":true},\"timestamp\":\"2025-09-19T10:00:"
    "00Z\"}";

static const char row[] =
    "{\"id\":4711,\"name\":\"Alice Example\",\"email\":\"alice@example.com\",\"price\":19.90,"
    "\"active\":true}";
static const char debezium[] =
    "{\"before\":null,\"after\":{\"id\":4711,\"name\":\"Alice Example\",\"email\":"
    "\"alice@example.com\",\"price\":19.90,\"active\":true},\"source\":{\"version\":"
    "\"3.5.0.Final\",\"connector\":\"postgresql\",\"name\":\"shop\",\"ts_ms\":1758276000000,"
    "\"snapshot\":\"false\",\"db\":\"shop\",\"sequence\":\"[null,\\\"28047080\\\"]\",\"schema\":"
    "\"public\",\"table\":\"users\",\"txId\":839,\"lsn\":28047856,\"xmin\":null},\"transaction\":"
    "null,\"op\":\"u\",\"ts_ms\":1758276000123}";
static const char canal[] =
    "{\"data\":[{\"id\":\"4711\",\"name\":\"Alice Example\",\"email\":\"alice@example.com\","
    "\"price\":\"19.90\",\"active\":\"1\"}],\"database\":\"shop\",\"es\":1758276000000,\"isDdl\":"
    "false,\"mysqlType\":{\"id\":\"int\",\"name\":\"varchar(40)\",\"email\":\"varchar(80)\","
    "\"price\":\"decimal(10,2)\",\"active\":\"tinyint\"},\"old\":[{\"email\":\"a@example.com\"}],"
    "\"pkNames\":[\"id\"],\"table\":\"users\",\"ts\":1758276000123,\"type\":\"UPDATE\"}";
static const char maxwell[] =
    "{\"database\":\"shop\",\"table\":\"users\",\"type\":\"update\",\"ts\":1758276000,\"xid\":839,"
    "\"commit\":true,\"data\":{\"id\":4711,\"name\":\"Alice Example\",\"email\":"
    "\"alice@example.com\",\"price\":19.90,\"active\":1},\"old\":{\"email\":\"a@example.com\"}}";
static const char csv[] = "4711,Alice Example,alice@example.com,19.90,true";
static const char *const columns[] = {"id INT", "name STRING", "email STRING",
                                      "price DECIMAL(10,2)", "active BOOLEAN"};
/* id, name, email, price, active by AVRO_SCHEMA; behind the header of five bytes */
static const char avro[] = "\0\0\0\0\1"
                           "\xce\x49"
                           "\x1a"
                           "Alice Example"
                           "\x22"
                           "alice@example.com"
                           "\x66\x66\x66\x66\x66\xe6\x33\x40"
                           "\1";
#define AVRO_SCHEMA                                                                                \
    "{\"type\":\"record\",\"name\":\"users\",\"fields\":[{\"name\":\"id\",\"type\":\"int\"},"      \
    "{\"name\":\"name\",\"type\":\"string\"},{\"name\":\"email\",\"type\":\"string\"},"            \
    "{\"name\":\"price\",\"type\":\"double\"},{\"name\":\"active\",\"type\":\"boolean\"}]}"

static void run_reader(struct tr_slice text, int format)
{
    (void)format;
    struct tr_json_doc doc = {0};
    for (size_t i = 0; i < event_count; i++) {
        if (!tr_json_parse(&doc, text, 2))
            abort();
    }
    tr_json_doc_free(&doc);
}

static void run_jansson(struct tr_slice text, int format)
{
    (void)format;
    for (size_t i = 0; i < event_count; i++) {
        json_error_t error;
        json_t *root = json_loadb(text.ptr, text.len, 0, &error);
        if (root == NULL)
            abort();
        json_decref(root);
    }
}

static enum tr_status avro_schema(void *registry, uint32_t id, char **text, struct tr_error *err)
{
    (void)registry;
    (void)id;
    (void)err;
    *text = strdup(AVRO_SCHEMA);
    return *text == NULL ? TR_FAIL : TR_OK;
}

static void run_format(struct tr_slice text, int format)
{
    static const struct tr_split split = {.name = "users_cdc/0", .container = "users_cdc"};
    static const char *const keys[] = {"id"};
    const struct tr_decoder_ops *ops = tr_decoder_find(format);
    struct tr_decoder_options options;
    struct tr_decoder_context context = {
        .pipeline_name = "bench", .table = "users", .registry_schema = avro_schema};
    struct tr_message message = {.split = &split, .ts_us = TR_TIME_NONE, .value = text};
    struct tr_decoder *decoder;
    struct tr_batch *batch;
    struct tr_error err;
    tr_decoder_options_default(&options);
    options.format = format;
    options.primary_keys = (struct tr_string_list){keys, 1};
    options.csv_header = false;
    if (format == TR_DECODE_CSV)
        options.columns = (struct tr_string_list){columns, sizeof columns / sizeof columns[0]};
    if (ops->open(&options, &context, &decoder, &err) != TR_OK ||
        tr_batch_new(&batch, &err) != TR_OK)
        abort();
    for (size_t i = 0; i < event_count; i++) {
        if (batch->event_count + TR_DECODE_EVENTS_MAX > TR_BATCH_EVENTS_MAX || tr_batch_full(batch))
            tr_batch_reset(batch);
        if (ops->decode(decoder, &message, batch, &err) != TR_OK)
            abort();
    }
    tr_batch_free(batch);
    ops->close(decoder);
}

#define TEXT(text)                                                                                 \
    {                                                                                              \
        text, sizeof(text) - 1                                                                     \
    }
static const struct {
    const char *name;
    void (*run)(struct tr_slice text, int format);
    struct tr_slice text;
    int format;
} benches[] = {{"reader, update", run_reader, TEXT(sample), 0},
               {"jansson, update", run_jansson, TEXT(sample), 0},
               {"cdc-json, update", run_format, TEXT(sample), TR_DECODE_CDC_JSON},
               {"reader, create", run_reader, TEXT(create), 0},
               {"jansson, create", run_jansson, TEXT(create), 0},
               {"cdc-json, create", run_format, TEXT(create), TR_DECODE_CDC_JSON},
               {"json, row", run_format, TEXT(row), TR_DECODE_JSON},
               {"debezium-json, update", run_format, TEXT(debezium), TR_DECODE_DEBEZIUM_JSON},
               {"canal-json, update", run_format, TEXT(canal), TR_DECODE_CANAL_JSON},
               {"maxwell-json, update", run_format, TEXT(maxwell), TR_DECODE_MAXWELL_JSON},
               {"avro, row with a double", run_format, TEXT(avro), TR_DECODE_AVRO},
               {"csv, row", run_format, TEXT(csv), TR_DECODE_CSV}};

int main(int argc, char **argv)
{
    struct perf_event_attr attr = {.type = PERF_TYPE_HARDWARE,
                                   .size = sizeof attr,
                                   .config = PERF_COUNT_HW_INSTRUCTIONS,
                                   .disabled = 1,
                                   .exclude_kernel = 1,
                                   .exclude_hv = 1};
    int counter = (int)syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0);
    if (argc > 2)
        event_count = strtoul(argv[2], NULL, 10);
    for (size_t i = 0; i < sizeof benches / sizeof benches[0]; i++) {
        struct tr_slice text = benches[i].text;
        uint64_t instructions = 0;
        char counted[32] = "-";
        if (argc > 1 && strcmp(argv[1], "--list") == 0)
            puts(benches[i].name);
        if (argc > 1 && strcmp(argv[1], benches[i].name) != 0)
            continue;
        if (counter >= 0)
            (void)ioctl(counter, PERF_EVENT_IOC_RESET, 0);
        if (counter >= 0)
            (void)ioctl(counter, PERF_EVENT_IOC_ENABLE, 0);
        int64_t start_us = tr_clock_mono_us();
        benches[i].run(text, benches[i].format);
        int64_t us = tr_clock_mono_us() - start_us;
        if (counter >= 0)
            (void)ioctl(counter, PERF_EVENT_IOC_DISABLE, 0);
        if (counter >= 0 &&
            read(counter, &instructions, sizeof instructions) == sizeof instructions)
            (void)snprintf(counted, sizeof counted, "%.0f",
                           (double)instructions / (double)event_count);
        printf("%-26s %8.1f ns  %8s instructions  %4zu bytes a message\n", benches[i].name,
               (double)us * 1000.0 / (double)event_count, counted, text.len);
    }
    return 0;
}
