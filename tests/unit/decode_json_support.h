/* A decoder under test: messages in, events out as lines of text that tests compare.
 *
 *   create users v1 (id INT64 key, name STRING, op STRING hidden)
 *   alter users v2 add age INT64; type price FLOAT64 -> DECIMAL
 *   c users after id=1 name='Ann' op='c'
 *   u users before id=1 name=~ after …        ~ NULL, ? UNCHANGED, - ABSENT; flags as [key-only]
 *   fail MESSAGE_KEY: message (detail) */
#ifndef TR_TESTS_DECODE_JSON_SUPPORT_H
#define TR_TESTS_DECODE_JSON_SUPPORT_H

#include "base/outbuf.h"
#include "decode/formats.h"
#include "event/batch.h"
#include "event/state.h"

struct bench {
    struct tr_decoder_options options;
    struct tr_decoder_context context;
    const struct tr_decoder_ops *ops;
    struct tr_decoder *decoder;
    struct tr_batch *batch;
    struct tr_split split;
    struct tr_outbuf out; /* what the last feed gave */
    struct tr_error err;
    bool show_ts;
};

/* Defaults, table "users". Options may be changed until bench_open. */
void bench_init(struct bench *bench, int format);
/* Ends the test when it fails; bench_try_open gives the status. */
void bench_open(struct bench *bench);
enum tr_status bench_try_open(struct bench *bench);
void bench_free(struct bench *bench);
/* value NULL: a tombstone. The text is valid until the next feed; its lines end with \n. */
const char *bench_feed(struct bench *bench, const char *value);
const char *bench_feed_key(struct bench *bench, const char *key, const char *value);
const char *bench_feed_bytes(struct bench *bench, struct tr_slice key, struct tr_slice value);
/* The marks since the last call, as "key=value\n". */
const char *bench_marks(struct bench *bench);
/* Closes, opens again, and restores the marks that bench_marks would give. */
void bench_restart(struct bench *bench);
void bench_list(struct tr_string_list *list, const char *const *items, size_t count);
#define BENCH_LIST(list, ...)                                                                      \
    do {                                                                                           \
        static const char *const bench_items[] = {__VA_ARGS__};                                    \
        bench_list((list), bench_items, sizeof bench_items / sizeof bench_items[0]);               \
    } while (0)

#define assert_feed(bench, value, want) assert_string_equal(bench_feed((bench), (value)), (want))

#endif
