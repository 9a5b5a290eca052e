/* What one event costs in the decoders: nanoseconds, and instructions where the kernel lets us
 * count them (perf_event_open; else "-", and bench/micro/instructions.py tells). The floor is a
 * memcpy of the same bytes.
 *
 *   cmake -DCMAKE_BUILD_TYPE=Release … && ninja bench_decode && bench/micro/bench_decode [NAME
 * [EVENTS]]
 *   bench_decode --list      the names */
#include <linux/perf_event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/outbuf.h"
#include "decode/pgcopy.h"
#include "decode/pgoutput.h"

#define TABLE_COLUMNS 6

static unsigned event_count = 2000000;

struct counter {
    int fd;
    int64_t start_us;
};

static struct counter counter_open(void)
{
    struct perf_event_attr attr = {.type = PERF_TYPE_HARDWARE,
                                   .size = sizeof attr,
                                   .config = PERF_COUNT_HW_INSTRUCTIONS,
                                   .disabled = 1,
                                   .exclude_kernel = 1,
                                   .exclude_hv = 1};
    return (struct counter){(int)syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0), 0};
}

static void counter_start(struct counter *counter)
{
    if (counter->fd >= 0) {
        (void)ioctl(counter->fd, PERF_EVENT_IOC_RESET, 0);
        (void)ioctl(counter->fd, PERF_EVENT_IOC_ENABLE, 0);
    }
    counter->start_us = tr_clock_mono_us();
}

static void counter_report(struct counter *counter, const char *name, size_t bytes)
{
    int64_t us = tr_clock_mono_us() - counter->start_us;
    uint64_t instructions = 0;
    char text[32] = "-";
    if (counter->fd >= 0) {
        (void)ioctl(counter->fd, PERF_EVENT_IOC_DISABLE, 0);
        if (read(counter->fd, &instructions, sizeof instructions) == sizeof instructions)
            (void)snprintf(text, sizeof text, "%.0f", (double)instructions / event_count);
    }
    printf("%-34s %8.1f ns  %8s instructions  %5zu bytes an event\n", name,
           (double)us * 1000.0 / event_count, text, bytes);
}

/* ---- messages ------------------------------------------------------------------------------- */

static void put_int(struct tr_outbuf *out, uint64_t value, int bytes)
{
    while (bytes-- > 0)
        tr_outbuf_byte(out, (char)(uint8_t)(value >> bytes * 8));
}

static const char *const row_values[TABLE_COLUMNS] = {
    "123456", "Somebody Else", "somebody@example.org", "2024-02-29 12:34:56.123456", "199.90",
    NULL};

static void put_tuple(struct tr_outbuf *out, char mark)
{
    tr_outbuf_byte(out, mark);
    put_int(out, TABLE_COLUMNS, 2);
    for (int i = 0; i < TABLE_COLUMNS; i++) {
        if (row_values[i] == NULL) {
            tr_outbuf_byte(out, 'n');
            continue;
        }
        tr_outbuf_byte(out, 't');
        put_int(out, strlen(row_values[i]), 4);
        tr_outbuf_str(out, row_values[i]);
    }
}

static void begin_message(struct tr_outbuf *out)
{
    tr_outbuf_clear(out);
    tr_outbuf_byte(out, 'B');
    put_int(out, 0x2000, 8);
    put_int(out, 1, 8);
    put_int(out, 700, 4);
}

static void commit_message(struct tr_outbuf *out)
{
    tr_outbuf_clear(out);
    tr_outbuf_lit(out, "C\0");
    put_int(out, 0x2000, 8);
    put_int(out, 0x2030, 8);
    put_int(out, 1, 8);
}

static void relation_message(struct tr_outbuf *out)
{
    tr_outbuf_clear(out);
    tr_outbuf_byte(out, 'R');
    put_int(out, 16400, 4);
    tr_outbuf_lit(out, "public\0customers\0d");
    put_int(out, TABLE_COLUMNS, 2);
    for (int i = 0; i < TABLE_COLUMNS; i++) {
        tr_outbuf_byte(out, i == 0);
        tr_outbuf_byte(out, (char)('a' + i));
        tr_outbuf_byte(out, '\0');
        put_int(out, 25, 4);
        put_int(out, UINT32_MAX, 4);
    }
}

static enum tr_status on_relation(void *ctx, const struct tr_pgoutput_relation *relation,
                                  struct tr_batch *batch, const struct tr_table **table,
                                  struct tr_error *err)
{
    (void)batch;
    (void)ctx;
    struct tr_column columns[TABLE_COLUMNS];
    for (int i = 0; i < TABLE_COLUMNS; i++)
        columns[i] = (struct tr_column){
            .name = relation->columns[i].name, .type = TR_T_STRING, .key_index = i == 0};
    struct tr_table spec = {.id = {"", relation->namespace, relation->name},
                            .column_count = TABLE_COLUMNS,
                            .columns = columns,
                            .replica_identity = TR_RI_DEFAULT};
    struct tr_table *made = NULL;
    enum tr_status status = tr_table_new(&spec, &made, err);
    *table = made;
    return status;
}

static void must(enum tr_status status, const struct tr_error *err)
{
    if (status != TR_OK) {
        (void)fprintf(stderr, "%s\n", status == TR_FAIL ? err->message : "not TR_OK");
        exit(1);
    }
}

/* ---- runs ----------------------------------------------------------------------------------- */

struct bench {
    const char *only; /* NULL: all of them */
    struct counter counter;
    struct tr_pgoutput *decoder;
    struct tr_batch *batch;
    struct tr_outbuf message, begin, commit;
    struct tr_error err;
};

static bool skipped(const struct bench *bench, const char *name)
{
    if (bench->only != NULL && strcmp(bench->only, "--list") == 0)
        puts(name);
    return bench->only != NULL && strcmp(bench->only, name) != 0;
}

static struct tr_slice slice(const struct tr_outbuf *out)
{
    return (struct tr_slice){out->data, out->len};
}

static void give(struct bench *bench, const struct tr_outbuf *message, bool copy)
{
    if (tr_batch_full(bench->batch))
        tr_batch_reset(bench->batch);
    must(tr_pgoutput_decode(bench->decoder, slice(message), copy, 0x1000, 1, bench->batch,
                            &bench->err),
         &bench->err);
}

/* rows_per_txn 0: one transaction for all */
static void run_rows(struct bench *bench, const char *name, bool copy, unsigned rows_per_txn)
{
    if (skipped(bench, name))
        return;
    give(bench, &bench->begin, false);
    counter_start(&bench->counter);
    for (unsigned i = 0; i < event_count; i++) {
        if (rows_per_txn != 0 && i % rows_per_txn == 0 && i > 0) {
            give(bench, &bench->commit, false);
            give(bench, &bench->begin, false);
        }
        give(bench, &bench->message, copy);
    }
    counter_report(&bench->counter, name, bench->message.len);
    give(bench, &bench->commit, false);
    tr_batch_reset(bench->batch);
}

static void run_memcpy(struct bench *bench)
{
    if (skipped(bench, "memcpy"))
        return;
    char *to = malloc(TR_BATCH_BYTES_TARGET);
    if (to == NULL)
        return;
    size_t at = 0, len = bench->message.len;
    counter_start(&bench->counter);
    for (unsigned i = 0; i < event_count; i++) {
        if (at + len > TR_BATCH_BYTES_TARGET)
            at = 0;
        memcpy(to + at, bench->message.data, len);
        __asm__ volatile("" : : "r"(to) : "memory");
        at += len;
    }
    counter_report(&bench->counter, "memcpy", len);
    free(to);
}

static void run_copy_lines(struct bench *bench, const char *name, const char *line)
{
    struct tr_slice text = {line, strlen(line)};
    if (skipped(bench, name))
        return;
    size_t column_count = 1;
    for (const char *at = line; *at != '\0'; at++)
        column_count += *at == '\t';
    counter_start(&bench->counter);
    for (unsigned i = 0; i < event_count; i++) {
        if (tr_batch_full(bench->batch))
            tr_batch_reset(bench->batch);
        struct tr_cell *cells = tr_batch_cells(bench->batch, column_count);
        if (cells == NULL)
            exit(1);
        must(tr_pgcopy_decode(text, column_count, cells, bench->batch, &bench->err), &bench->err);
    }
    counter_report(&bench->counter, name, text.len);
    tr_batch_reset(bench->batch);
}

int main(int argc, char **argv)
{
    if (argc > 2)
        event_count = (unsigned)strtoul(argv[2], NULL, 10);
    struct bench bench = {.only = argc > 1 ? argv[1] : NULL, .counter = counter_open()};
    struct tr_pgoutput_callbacks callbacks = {on_relation, NULL};
    must(tr_pgoutput_new(&callbacks, &bench.decoder, &bench.err), &bench.err);
    must(tr_batch_new(&bench.batch, &bench.err), &bench.err);
    begin_message(&bench.begin);
    commit_message(&bench.commit);
    relation_message(&bench.message);
    give(&bench, &bench.begin, false);
    give(&bench, &bench.message, false);
    give(&bench, &bench.commit, false);
    tr_outbuf_clear(&bench.message);
    tr_outbuf_byte(&bench.message, 'I');
    put_int(&bench.message, 16400, 4);
    put_tuple(&bench.message, 'N');
    run_memcpy(&bench);
    run_rows(&bench, "insert, bytes held", false, 0);
    run_rows(&bench, "insert, bytes copied", true, 0);
    run_rows(&bench, "insert, transactions of 1", false, 1);
    tr_outbuf_clear(&bench.message);
    tr_outbuf_byte(&bench.message, 'U');
    put_int(&bench.message, 16400, 4);
    put_tuple(&bench.message, 'N');
    run_rows(&bench, "update, bytes held", false, 0);
    tr_outbuf_clear(&bench.message);
    tr_outbuf_byte(&bench.message, 'U');
    put_int(&bench.message, 16400, 4);
    put_tuple(&bench.message, 'O');
    put_tuple(&bench.message, 'N');
    run_rows(&bench, "update with old row, bytes held", false, 0);
    run_copy_lines(&bench, "COPY line",
                   "123456\tSomebody Else\tsomebody@example.org\t2024-02-29 12:34:56.123456\t199.90"
                   "\t\\N\n");
    run_copy_lines(&bench, "COPY line with an escape",
                   "123456\tSomebody Else\tsome\\tbody@example.org\t2024-02-29 12:34:56\t199.90"
                   "\t\\N\n");
    tr_outbuf_free(&bench.message);
    tr_outbuf_free(&bench.begin);
    tr_outbuf_free(&bench.commit);
    tr_batch_free(bench.batch);
    tr_pgoutput_free(bench.decoder);
    return 0;
}
