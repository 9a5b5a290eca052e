/* What a message costs in the JSON reader and in the format cdc-json: nanoseconds, and instructions
 * where the kernel lets us count them (else run one benchmark under `valgrind --tool=callgrind`).
 * Beside it the same bytes through jansson, which makes a tree of allocated values.
 *
 *   cmake -DCMAKE_BUILD_TYPE=Release … && ninja bench_json && bench/micro/bench_json [NAME
 * [EVENTS]] */
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

static struct tr_slice text_of(const char *text) { return (struct tr_slice){text, strlen(text)}; }

static void run_reader(struct tr_slice text)
{
    struct tr_json_doc doc = {0};
    for (size_t i = 0; i < event_count; i++) {
        if (!tr_json_parse(&doc, text, 2))
            abort();
    }
    tr_json_doc_free(&doc);
}

static void run_jansson(struct tr_slice text)
{
    for (size_t i = 0; i < event_count; i++) {
        json_error_t error;
        json_t *root = json_loadb(text.ptr, text.len, 0, &error);
        if (root == NULL)
            abort();
        json_decref(root);
    }
}

static void run_format(struct tr_slice text)
{
    static const struct tr_split split = {.name = "users_cdc/0", .container = "users_cdc"};
    static const char *const keys[] = {"id"};
    const struct tr_decoder_ops *ops = tr_decoder_find(TR_DECODE_CDC_JSON);
    struct tr_decoder_options options;
    struct tr_decoder_context context = {.pipeline_name = "bench", .table = "users"};
    struct tr_message message = {.split = &split, .ts_us = TR_TIME_NONE, .value = text};
    struct tr_decoder *decoder;
    struct tr_batch *batch;
    struct tr_error err;
    tr_decoder_options_default(&options);
    options.primary_keys = (struct tr_string_list){keys, 1};
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

static const struct {
    const char *name;
    void (*run)(struct tr_slice text);
    const char *text;
} benches[] = {{"reader, update", run_reader, sample},   {"jansson, update", run_jansson, sample},
               {"cdc-json, update", run_format, sample}, {"reader, create", run_reader, create},
               {"jansson, create", run_jansson, create}, {"cdc-json, create", run_format, create}};

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
        struct tr_slice text = text_of(benches[i].text);
        uint64_t instructions = 0;
        char counted[32] = "-";
        if (argc > 1 && strcmp(argv[1], benches[i].name) != 0)
            continue;
        if (counter >= 0)
            (void)ioctl(counter, PERF_EVENT_IOC_RESET, 0);
        if (counter >= 0)
            (void)ioctl(counter, PERF_EVENT_IOC_ENABLE, 0);
        int64_t start_us = tr_clock_mono_us();
        benches[i].run(text);
        int64_t us = tr_clock_mono_us() - start_us;
        if (counter >= 0)
            (void)ioctl(counter, PERF_EVENT_IOC_DISABLE, 0);
        if (counter >= 0 &&
            read(counter, &instructions, sizeof instructions) == sizeof instructions)
            (void)snprintf(counted, sizeof counted, "%.0f",
                           (double)instructions / (double)event_count);
        printf("%-20s %8.1f ns  %8s instructions  %4zu bytes a message\n", benches[i].name,
               (double)us * 1000.0 / (double)event_count, counted, text.len);
    }
    return 0;
}
