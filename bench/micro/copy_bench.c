/* What a row costs where the PostgreSQL sink makes COPY lines: nanoseconds.
 *
 *   cmake -DCMAKE_BUILD_TYPE=Release … && ninja bench_copy && bench/micro/bench_copy [NAME [ROWS]]
 *   bench_copy --list      the names */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/outbuf.h"
#include "sink/postgres/encode.h"

#define COLUMNS 6

static const char *const values[COLUMNS] = {
    "123456", "Somebody Else", "somebody@example.org", "2024-02-29 12:34:56.123456", "199.90",
    NULL};
static const char line[] =
    "123456\tSomebody Else\tsomebody@example.org\t2024-02-29 12:34:56.123456\t199.90\t\\N\n";
static const uint16_t columns[COLUMNS] = {0, 1, 2, 3, 4, 5};
static const int32_t without_one[COLUMNS] = {0, 1, -1, 2, 3, 4};

static size_t rows = 1000000;

static void from_cells(struct tr_outbuf *out)
{
    struct tr_cell cells[COLUMNS] = {{0}};
    for (int c = 0; c < COLUMNS; c++) {
        if (values[c] != NULL)
            cells[c] = (struct tr_cell){values[c], (uint32_t)strlen(values[c]), TR_CELL_TEXT};
        else
            cells[c].state = TR_CELL_NULL;
    }
    for (size_t i = 0; i < rows; i++) {
        tr_outbuf_clear(out);
        tr_pgs_copy_line(out, cells, columns, COLUMNS);
    }
}

static void cut(struct tr_outbuf *out)
{
    for (size_t i = 0; i < rows; i++) {
        tr_outbuf_clear(out);
        if (!tr_pgs_cut_line(out, (struct tr_slice){line, sizeof line - 1}, without_one, COLUMNS))
            abort();
    }
}

static const struct {
    const char *name;
    void (*run)(struct tr_outbuf *out);
} benches[] = {{"COPY line from cells", from_cells}, {"COPY line without a column", cut}};

int main(int argc, char **argv)
{
    struct tr_outbuf out = {0};
    if (argc > 2)
        rows = strtoul(argv[2], NULL, 10);
    for (size_t i = 0; i < sizeof benches / sizeof benches[0]; i++) {
        if (argc > 1 && strcmp(argv[1], "--list") == 0)
            puts(benches[i].name);
        if (argc > 1 && strcmp(argv[1], benches[i].name) != 0)
            continue;
        int64_t start_us = tr_clock_mono_us();
        benches[i].run(&out);
        printf("%-28s %8.1f ns  %4zu bytes a row\n", benches[i].name,
               (double)(tr_clock_mono_us() - start_us) * 1000.0 / (double)rows, out.len);
    }
    tr_outbuf_free(&out);
    return 0;
}
