/* What the decoder tests share: recordings, a catalog that believes the Relation messages, a writer
 * of messages, and events as canonical JSON lines. */
#ifndef TR_TESTS_DECODE_SUPPORT_H
#define TR_TESTS_DECODE_SUPPORT_H

#include "base/outbuf.h"
#include "decode/pgoutput.h"

/* ---- recordings: lines of "LSN payload", both hexadecimal ---- */
struct recorded {
    uint64_t lsn;
    char *payload;
    size_t len;
};
struct recording {
    struct recorded *messages;
    size_t count;
};
/* Ends the test program when the file cannot be read. */
struct recording recording_load(const char *path);
void recording_free(struct recording *recording);

/* ---- catalog: ctx of the relation callback ---- */
struct catalog {
    const char *hidden; /* a table of this name is not captured; NULL none */
    bool announce;      /* append a CREATE_TABLE event for every Relation message */
    int short_by;       /* give tables with so many columns too few */
    int calls;
    struct tr_table *last; /* borrowed from the decoder */
};
enum tr_status catalog_relation(void *ctx, const struct tr_pgoutput_relation *relation,
                                struct tr_batch *batch, const struct tr_table **table,
                                struct tr_error *err);

/* ---- writing messages ---- */
void put_u16(struct tr_outbuf *out, uint16_t value);
void put_u32(struct tr_outbuf *out, uint32_t value);
void put_u64(struct tr_outbuf *out, uint64_t value);
void put_cstr(struct tr_outbuf *out, const char *string);

/* ---- events as text ---- */
void print_event(const struct tr_event *event, struct tr_outbuf *out);
void print_batch(const struct tr_batch *batch, struct tr_outbuf *out);

/* A small generator, so that a seed gives the same run everywhere. */
uint64_t next_random(uint64_t *seed);
/* From TEST_SEED, else the clock; printed. */
uint64_t seed_of_run(const char *test_name);

#endif
