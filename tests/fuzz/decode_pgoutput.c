/* Fuzz target: a stream of replication messages. Input: messages of { Int16 length, payload }; the
 * lowest bit of the length says "hand the batch on first". Every event that comes out is printed, so
 * that a cell which points outside its bytes is read. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../unit/decode_support.h"
#include "decode/cursor.h"

#define ROUNDS_MAX 64 /* of one Truncate that does not fit into a batch */

static void hand_on(struct tr_batch *batch, struct tr_outbuf *out)
{
    tr_outbuf_clear(out);
    print_batch(batch, out);
    tr_batch_reset(batch);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct catalog catalog = {.hidden = "hidden", .announce = true};
    struct tr_pgoutput_callbacks callbacks = {catalog_relation, &catalog};
    struct tr_pgoutput *decoder = NULL;
    struct tr_batch *batch = NULL;
    struct tr_outbuf out = {0};
    struct tr_error err;
    if (tr_pgoutput_new(&callbacks, &decoder, &err) != TR_OK || tr_batch_new(&batch, &err) != TR_OK)
        abort();
    struct tr_cursor cursor = tr_cursor_of((const char *)data, size);
    while (tr_cursor_left(&cursor) > 2) {
        uint16_t word = tr_cursor_u16(&cursor);
        size_t len = word >> 1;
        if (len > tr_cursor_left(&cursor))
            len = tr_cursor_left(&cursor);
        struct tr_slice payload = {tr_cursor_bytes(&cursor, len), len};
        if ((word & 1) != 0 || tr_batch_full(batch))
            hand_on(batch, &out);
        uint32_t before = batch->event_count;
        enum tr_status status = TR_AGAIN;
        for (int round = 0; status == TR_AGAIN && round < ROUNDS_MAX; round++) {
            status = tr_pgoutput_decode(decoder, payload, (word & 2) != 0, 0x1000, 1, batch, &err);
            if (status == TR_AGAIN)
                hand_on(batch, &out);
        }
        if (status == TR_AGAIN || (status == TR_FAIL && batch->event_count > before))
            abort();
    }
    hand_on(batch, &out);
    tr_outbuf_free(&out);
    tr_batch_free(batch);
    tr_pgoutput_free(decoder);
    return 0;
}
