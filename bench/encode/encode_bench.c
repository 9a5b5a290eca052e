/* Nanoseconds per change for the encoders, and for the same debezium-json record built by jansson
 * in the same run (objects, then json_dumpb). jansson gets the conversions for free: its decimals,
 * times and base64 are converted once, before the clock runs.
 *
 *   bench_encode [NAME [CHANGES]]      default: all, 300000
 *   bench_encode --list                the names */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/outbuf.h"
#include "encode/encode.h"
#include "encode/format_options.h"

static struct tr_cell text(const char *value)
{
    return (struct tr_cell){.ptr = value, .len = (uint32_t)strlen(value), .state = TR_CELL_TEXT};
}

static struct tr_table *orders(void)
{
    struct tr_column columns[] = {
        {.name = "id", .type = TR_T_INT64, .key_index = 1},
        {.name = "customer_id", .type = TR_T_INT32},
        {.name = "status", .type = TR_T_STRING},
        {.name = "amount", .type = TR_T_DECIMAL, .precision = 12, .scale = 2},
        {.name = "note", .type = TR_T_STRING, .nullable = true},
        {.name = "paid", .type = TR_T_BOOLEAN},
        {.name = "created_at", .type = TR_T_TIMESTAMPTZ, .precision = -1},
        {.name = "updated_at", .type = TR_T_TIMESTAMP, .precision = -1},
        {.name = "weight", .type = TR_T_FLOAT64},
        {.name = "reference", .type = TR_T_UUID},
    };
    struct tr_table spec = {.id = {"shop", "public", "orders"},
                            .column_count = sizeof columns / sizeof columns[0],
                            .columns = columns};
    struct tr_table *table;
    struct tr_error err;
    return tr_table_new(&spec, &table, &err) == TR_OK ? table : NULL;
}

static size_t by_encoder(const struct tr_format_ops *format, const struct tr_event *event,
                         long count, double *ns)
{
    struct tr_format_options options;
    struct tr_format_context context = {"shop", "0.1.0", "postgresql"};
    struct tr_encoder *encoder;
    struct tr_error err;
    struct tr_outbuf out = {0};
    size_t bytes = 0;
    tr_format_options_default(&options);
    if (format->open(&options, &context, &encoder, &err) != TR_OK)
        exit(1);
    int64_t began_us = tr_clock_mono_us();
    for (long i = 0; i < count; i++) {
        tr_outbuf_clear(&out);
        if (format->encode_key(encoder, event, &out, &err) != TR_OK ||
            format->encode_value(encoder, event, INT64_C(1700000000000000) + i, &out, &err) !=
                TR_OK)
            exit(1);
        bytes += out.len;
    }
    *ns = (double)(tr_clock_mono_us() - began_us) * 1000.0 / (double)count;
    format->close(encoder);
    tr_outbuf_free(&out);
    return bytes;
}

static size_t by_jansson(long count, double *ns)
{
    size_t bytes = 0;
    char *buf = malloc(16384);
    int64_t began_us = tr_clock_mono_us();
    for (long i = 0; i < count; i++) {
        json_int_t now_us = 1700000000000000 + i;
        json_t *key = json_pack("{s:I}", "id", (json_int_t)1234567);
        json_t *after = json_pack(
            "{s:I,s:i,s:s,s:s,s:s,s:b,s:s,s:I,s:f,s:s}", "id", (json_int_t)1234567, "customer_id",
            98765, "status", "shipped", "amount", "BNOU", "note",
            "please leave the parcel with the \"neighbours\" at no. 7", "paid", 1, "created_at",
            "2024-05-06T07:08:09.123456Z", "updated_at", (json_int_t)1714979289123456, "weight",
            12.375, "reference", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11");
        json_t *source = json_pack(
            "{s:s,s:s,s:s,s:I,s:s,s:s,s:s,s:I,s:I,s:s,s:s,s:I,s:I,s:n,s:n,s:n}", "version", "0.1.0",
            "connector", "postgresql", "name", "shop", "ts_ms", (json_int_t)1700000000000,
            "snapshot", "false", "db", "shop", "sequence", "[\"28047080\",\"28047856\"]", "ts_us",
            (json_int_t)1700000000000000, "ts_ns", (json_int_t)1700000000000000000, "schema",
            "public", "table", "orders", "txId", (json_int_t)839, "lsn", (json_int_t)28047856,
            "xmin", "origin", "origin_lsn");
        json_t *value = json_pack("{s:n,s:o,s:o,s:n,s:s,s:I,s:I,s:I}", "before", "after", after,
                                  "source", source, "transaction", "op", "c", "ts_ms",
                                  now_us / 1000, "ts_us", now_us, "ts_ns", now_us * 1000);
        bytes += json_dumpb(key, buf, 16384, JSON_COMPACT);
        bytes += json_dumpb(value, buf, 16384, JSON_COMPACT);
        json_decref(key);
        json_decref(value);
    }
    *ns = (double)(tr_clock_mono_us() - began_us) * 1000.0 / (double)count;
    free(buf);
    return bytes;
}

static const struct {
    const char *name;
    const struct tr_format_ops *format; /* NULL: jansson */
} benches[] = {{"debezium-json", &tr_format_debezium_json},
               {"json", &tr_format_plain_json},
               {"debezium-json, jansson", NULL}};

int main(int argc, char **argv)
{
    long count = argc > 2 ? strtol(argv[2], NULL, 10) : 300000;
    struct tr_cell cells[] = {text("1234567"),
                              text("98765"),
                              text("shipped"),
                              text("3163.72"),
                              text("please leave the parcel with the \"neighbours\" at no. 7"),
                              text("t"),
                              text("2024-05-06 07:08:09.123456+00"),
                              text("2024-05-06 07:08:09.123456"),
                              text("12.375"),
                              text("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11")};
    struct tr_table *table = orders();
    if (table == NULL || count < 1)
        return 1;
    struct tr_event event = {.op = TR_OP_CREATE,
                             .table = table,
                             .after = cells,
                             .position = 28047856,
                             .prev_commit_position = 28047080,
                             .ts_us = INT64_C(1700000000000000),
                             .txn_id = 839};
    for (size_t i = 0; i < sizeof benches / sizeof benches[0]; i++) {
        double ns = 0;
        long changes = benches[i].format == NULL && argc < 3 ? count / 10 + 1 : count;
        if (argc > 1 && strcmp(argv[1], "--list") == 0)
            puts(benches[i].name);
        if (argc > 1 && strcmp(argv[1], benches[i].name) != 0)
            continue;
        size_t bytes = benches[i].format == NULL
                           ? by_jansson(changes, &ns)
                           : by_encoder(benches[i].format, &event, changes, &ns);
        printf("%-24s %6.0f ns  %5zu bytes a change, key and value\n", benches[i].name, ns,
               bytes / (size_t)changes);
    }
    tr_table_unref(table);
    return 0;
}
