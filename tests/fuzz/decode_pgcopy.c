/* Fuzz target: one line of COPY text, and the same bytes as messages of binary COPY. Input:
 * { Int8 number of columns, line }. */
#include <stdint.h>
#include <stdlib.h>

#include "decode/pgcopy.h"

#define COLUMNS_MAX 16

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct tr_batch *batch;
    unsigned sum = 0;
    struct tr_error err;
    if (size == 0 || (batch == NULL && tr_batch_new(&batch, &err) != TR_OK))
        return 0;
    struct tr_cell cells[COLUMNS_MAX];
    size_t column_count = data[0] % (COLUMNS_MAX + 1);
    struct tr_slice line = {(const char *)data + 1, size - 1};
    if (tr_pgcopy_decode(line, column_count, cells, batch, &err) == TR_OK) {
        for (size_t i = 0; i < column_count; i++) {
            for (uint32_t at = 0; cells[i].state == TR_CELL_TEXT && at < cells[i].len; at++) {
                if (cells[i].len > line.len)
                    abort();
                sum += (unsigned char)cells[i].ptr[at];
            }
        }
    }
    for (int seen = 0; seen < 2; seen++) {
        struct tr_slice row;
        bool header_seen = seen != 0;
        if (tr_pgcopy_binary_row(line, &header_seen, (uint16_t)column_count, &row, &err) == TR_OK) {
            if (row.len > line.len)
                abort();
            for (size_t at = 0; at < row.len; at++)
                sum += (unsigned char)row.ptr[at];
        }
    }
    __asm__ volatile("" : : "r"(sum)); /* so that the reads stay */
    tr_batch_reset(batch);
    return 0;
}
