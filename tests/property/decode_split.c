/* Property: wherever the batches end, whether the payload is copied or held, the same events come out.
 * And: no damage to the bytes makes the decoder crash or leave half a message in the batch. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../unit/decode_support.h"

#define ROUNDS 60
#define DAMAGED_ROUNDS 300

static struct recording recording;

struct run {
    struct catalog catalog;
    struct tr_pgoutput *decoder;
    struct tr_batch *batch;
    struct tr_error err;
};

static void run_open(struct run *run)
{
    *run = (struct run){.catalog = {.hidden = "hidden", .announce = true}};
    struct tr_pgoutput_callbacks callbacks = {catalog_relation, &run->catalog};
    assert_int_equal(tr_pgoutput_new(&callbacks, &run->decoder, &run->err), TR_OK);
    assert_int_equal(tr_batch_new(&run->batch, &run->err), TR_OK);
}

static void run_close(struct run *run)
{
    tr_batch_free(run->batch);
    tr_pgoutput_free(run->decoder);
}

/* Gives one message in memory of exactly its size: held by the batch, or freed at once. */
static enum tr_status give(struct run *run, const char *payload, size_t len, uint64_t lsn, bool copy)
{
    char *exact = malloc(len == 0 ? 1 : len);
    memcpy(exact, payload, len);
    if (!copy && !tr_batch_hold(run->batch, exact, len, free))
        copy = true;
    enum tr_status status = tr_pgoutput_decode(run->decoder, (struct tr_slice){exact, len}, copy,
                                               lsn, 1, run->batch, &run->err);
    if (copy)
        free(exact);
    return status;
}

/* hand_on_of: a batch is handed on after a message with probability 1/hand_on_of; 0 = only at the end. */
static void decode_all(uint64_t *seed, unsigned hand_on_of, struct tr_outbuf *out)
{
    struct run run;
    run_open(&run);
    for (size_t i = 0; i < recording.count; i++) {
        const struct recorded *message = &recording.messages[i];
        bool copy = hand_on_of > 0 && next_random(seed) % 2 == 0;
        assert_int_equal(give(&run, message->payload, message->len, message->lsn, copy), TR_OK);
        if (tr_batch_full(run.batch) ||
            (hand_on_of > 0 && next_random(seed) % hand_on_of == 0)) {
            print_batch(run.batch, out);
            tr_batch_reset(run.batch);
        }
    }
    print_batch(run.batch, out);
    run_close(&run);
    assert_false(out->failed);
}

static void any_split_gives_equal_events(void **state)
{
    (void)state;
    uint64_t seed = seed_of_run("any_split_gives_equal_events");
    struct tr_outbuf want = {0}, got = {0};
    decode_all(&seed, 0, &want);
    assert_true(want.len > 0);
    for (unsigned round = 0; round < ROUNDS; round++) {
        tr_outbuf_clear(&got);
        decode_all(&seed, 1 + round % 20, &got);
        assert_int_equal(got.len, want.len);
        assert_memory_equal(got.data, want.data, want.len);
    }
    tr_outbuf_free(&want);
    tr_outbuf_free(&got);
}

/* Cuts, flips, or replaces bytes; gives the new length. */
static size_t damage(uint64_t *seed, char *payload, size_t len)
{
    switch (next_random(seed) % 3) {
    case 0: return next_random(seed) % (len + 1);
    case 1: payload[next_random(seed) % len] ^= (char)(1u << next_random(seed) % 8); return len;
    default:
        for (unsigned i = 0; i < 4; i++)
            payload[next_random(seed) % len] = (char)(uint8_t)next_random(seed);
        return len;
    }
}

static void damage_never_leaves_half_a_message(void **state)
{
    (void)state;
    uint64_t seed = seed_of_run("damage_never_leaves_half_a_message");
    struct tr_outbuf printed = {0};
    for (unsigned round = 0; round < DAMAGED_ROUNDS; round++) {
        struct run run;
        run_open(&run);
        for (size_t i = 0; i < recording.count; i++) {
            const struct recorded *message = &recording.messages[i];
            uint32_t before = run.batch->event_count;
            if (next_random(&seed) % 40 == 0) {
                char *copy = malloc(message->len);
                memcpy(copy, message->payload, message->len);
                size_t len = damage(&seed, copy, message->len);
                if (give(&run, copy, len, message->lsn, false) == TR_FAIL)
                    assert_int_equal(run.batch->event_count, before);
                free(copy);
            } else if (give(&run, message->payload, message->len, message->lsn, true) == TR_FAIL) {
                assert_int_equal(run.batch->event_count, before);
            }
            if (tr_batch_full(run.batch) || next_random(&seed) % 30 == 0) {
                tr_outbuf_clear(&printed);
                print_batch(run.batch, &printed);
                tr_batch_reset(run.batch);
            }
        }
        tr_outbuf_clear(&printed);
        print_batch(run.batch, &printed); /* reads every cell */
        run_close(&run);
    }
    tr_outbuf_free(&printed);
}

/* Protocol version 1 has no optional parts: a proper prefix is never a message. */
static void every_prefix_is_refused(void **state)
{
    (void)state;
    struct run run;
    run_open(&run);
    for (size_t i = 0; i < recording.count; i++) {
        const struct recorded *message = &recording.messages[i];
        size_t step = message->len > 400 ? 97 : 1;
        bool hidden = message->len > 5 && strchr("IUD", message->payload[0]) != NULL;
        for (size_t len = 0; len < message->len; len += step) {
            uint32_t before = run.batch->event_count;
            enum tr_status status = give(&run, message->payload, len, message->lsn, true);
            /* a row that is not captured is not read to its end */
            if (status != TR_OK || !hidden || run.batch->event_count != before) {
                assert_int_equal(status, TR_FAIL);
                assert_int_equal(run.err.code, TR_E_PG_PROTOCOL);
                assert_int_equal(run.batch->event_count, before);
            }
        }
        assert_int_equal(give(&run, message->payload, message->len, message->lsn, true), TR_OK);
        if (tr_batch_full(run.batch))
            tr_batch_reset(run.batch);
    }
    run_close(&run);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(any_split_gives_equal_events),
                                       cmocka_unit_test(damage_never_leaves_half_a_message),
                                       cmocka_unit_test(every_prefix_is_refused)};
    recording = recording_load(TEST_DATA_DIR "/golden/decode_pgoutput.hex");
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    recording_free(&recording);
    return failed;
}
