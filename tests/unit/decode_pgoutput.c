/* The pgoutput decoder against messages made by hand: what a real server cannot be made to send. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "decode_support.h"

#define OID 16400
#define COMMIT_LSN 0x2000
#define END_LSN 0x2030

struct fixture {
    struct catalog catalog;
    struct tr_pgoutput *decoder;
    struct tr_batch *batch;
    struct tr_outbuf out; /* the message under construction */
    struct tr_error err;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct tr_pgoutput_callbacks callbacks = {catalog_relation, &f->catalog};
    if (tr_pgoutput_new(&callbacks, &f->decoder, &f->err) != TR_OK ||
        tr_batch_new(&f->batch, &f->err) != TR_OK)
        return 1;
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    tr_batch_free(f->batch);
    tr_pgoutput_free(f->decoder);
    tr_outbuf_free(&f->out);
    free(f);
    return 0;
}

static void begin_message(struct fixture *f, char kind)
{
    tr_outbuf_clear(&f->out);
    tr_outbuf_byte(&f->out, kind);
}

/* Copies, so that the buffer can be used for the next message. */
static enum tr_status give(struct fixture *f)
{
    return tr_pgoutput_decode(f->decoder, (struct tr_slice){f->out.data, f->out.len}, true, 0x1000,
                              77, f->batch, &f->err);
}

static void give_ok(struct fixture *f)
{
    enum tr_status status = give(f);
    if (status != TR_OK)
        fail_msg("%s", status == TR_FAIL ? f->err.message : "TR_AGAIN");
}

/* Fails with PG_PROTOCOL, says `word`, and leaves the batch as it was. */
static void give_bad(struct fixture *f, const char *word)
{
    uint32_t count = f->batch->event_count;
    assert_int_equal(give(f), TR_FAIL);
    assert_int_equal(f->err.code, TR_E_PG_PROTOCOL);
    if (strstr(f->err.message, word) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", f->err.message, word);
    assert_int_equal(f->batch->event_count, count);
}

static void begin(struct fixture *f)
{
    begin_message(f, 'B');
    put_u64(&f->out, COMMIT_LSN);
    put_u64(&f->out, 1000000);
    put_u32(&f->out, 500);
    give_ok(f);
}

static void commit_message(struct fixture *f, uint64_t commit_lsn)
{
    begin_message(f, 'C');
    tr_outbuf_byte(&f->out, 0);
    put_u64(&f->out, commit_lsn);
    put_u64(&f->out, END_LSN);
    put_u64(&f->out, 1000000);
}

/* id int4 (key), name text, note text */
static void relation_message(struct fixture *f, uint32_t oid, const char *name, char identity)
{
    static const char *const columns[] = {"id", "name", "note"};
    begin_message(f, 'R');
    put_u32(&f->out, oid);
    put_cstr(&f->out, "public");
    put_cstr(&f->out, name);
    tr_outbuf_byte(&f->out, identity);
    put_u16(&f->out, 3);
    for (int i = 0; i < 3; i++) {
        tr_outbuf_byte(&f->out, i == 0 || identity == 'f');
        put_cstr(&f->out, columns[i]);
        put_u32(&f->out, i == 0 ? 23 : 25);
        put_u32(&f->out, UINT32_MAX);
    }
}

static void relation(struct fixture *f, char identity)
{
    relation_message(f, OID, "t", identity);
    give_ok(f);
}

/* "=text" a value, "u" unchanged, "n" NULL, "b" two bytes in binary form */
static void put_tuple(struct fixture *f, char mark, const char *a, const char *b, const char *c)
{
    const char *values[] = {a, b, c};
    tr_outbuf_byte(&f->out, mark);
    put_u16(&f->out, 3);
    for (int i = 0; i < 3; i++) {
        tr_outbuf_byte(&f->out, values[i][0] == '=' ? 't' : values[i][0]);
        if (values[i][0] == '=') {
            put_u32(&f->out, (uint32_t)strlen(values[i] + 1));
            tr_outbuf_str(&f->out, values[i] + 1);
        } else if (values[i][0] == 'b') {
            put_u32(&f->out, 2);
            put_u16(&f->out, 1);
        }
    }
}

static void row_message(struct fixture *f, char kind, uint32_t oid)
{
    begin_message(f, kind);
    put_u32(&f->out, oid);
}

static void insert(struct fixture *f, const char *id)
{
    row_message(f, 'I', OID);
    put_tuple(f, 'N', id, "=x", "n");
    give_ok(f);
}

static const struct tr_event *last(const struct fixture *f)
{
    assert_true(f->batch->event_count > 0);
    return &f->batch->events[f->batch->event_count - 1];
}

static void assert_cell(const struct tr_cell *cell, const char *want)
{
    assert_int_equal(cell->state, TR_CELL_TEXT);
    assert_int_equal(cell->len, strlen(want));
    assert_memory_equal(cell->ptr, want, cell->len);
}

static void insert_has_every_field(void **state)
{
    struct fixture *f = *state;
    begin(f);
    assert_true(tr_pgoutput_in_transaction(f->decoder));
    relation(f, 'd');
    insert(f, "=1");
    insert(f, "=2");
    const struct tr_event *event = last(f);
    assert_int_equal(event->op, TR_OP_CREATE);
    assert_ptr_equal(event->table, f->catalog.last);
    assert_null(event->before);
    assert_cell(&event->after[0], "2");
    assert_cell(&event->after[1], "x");
    assert_int_equal(event->after[2].state, TR_CELL_NULL);
    assert_int_equal(event->position, 0x1000);
    assert_int_equal(event->commit_position, COMMIT_LSN);
    assert_int_equal(event->prev_commit_position, 0);
    assert_int_equal(event->txn_index, 1);
    assert_int_equal(event->txn_id, 500);
    assert_int_equal(event->ts_us, INT64_C(946684800000000) + 1000000);
    assert_int_equal(event->recv_ts_us, 77);
    commit_message(f, COMMIT_LSN);
    give_ok(f);
    event = last(f);
    assert_int_equal(event->op, TR_OP_COMMIT);
    assert_int_equal(event->mark_count, 1);
    assert_memory_equal(event->marks[0].key.ptr, "lsn", 4);
    assert_memory_equal(event->marks[0].value.ptr, "0/2030", 7);
    assert_int_equal(event->position, END_LSN);
    assert_int_equal(tr_pgoutput_last_end_lsn(f->decoder), END_LSN);
    assert_false(tr_pgoutput_in_transaction(f->decoder));
    begin(f);
    insert(f, "=3");
    assert_int_equal(last(f)->prev_commit_position, END_LSN);
    assert_int_equal(last(f)->txn_index, 0);
}

static void empty_transaction_gives_nothing_but_a_position(void **state)
{
    struct fixture *f = *state;
    begin(f);
    commit_message(f, COMMIT_LSN);
    give_ok(f);
    assert_int_equal(f->batch->event_count, 0);
    assert_int_equal(tr_pgoutput_last_end_lsn(f->decoder), END_LSN);
}

static void commit_counts_events_of_earlier_batches(void **state)
{
    struct fixture *f = *state;
    begin(f);
    relation(f, 'd');
    insert(f, "=1");
    tr_batch_reset(f->batch);
    commit_message(f, COMMIT_LSN);
    give_ok(f);
    assert_int_equal(f->batch->event_count, 1);
    assert_int_equal(last(f)->op, TR_OP_COMMIT);
    assert_int_equal(last(f)->txn_index, 1);
}

static void update_without_old_row(void **state)
{
    struct fixture *f = *state;
    begin(f);
    relation(f, 'd');
    row_message(f, 'U', OID);
    put_tuple(f, 'N', "=1", "u", "n");
    give_ok(f);
    assert_null(last(f)->before);
    assert_int_equal(last(f)->flags, 0);
    assert_int_equal(last(f)->after[1].state, TR_CELL_UNCHANGED);
    assert_int_equal(last(f)->after[2].state, TR_CELL_NULL);
}

static void update_with_key_image(void **state)
{
    struct fixture *f = *state;
    begin(f);
    relation(f, 'd');
    row_message(f, 'U', OID);
    put_tuple(f, 'K', "=1", "n", "n");
    put_tuple(f, 'N', "=2", "u", "=y");
    give_ok(f);
    assert_int_equal(last(f)->flags, TR_EV_BEFORE_KEY_ONLY | TR_EV_KEY_CHANGED);
    assert_cell(&last(f)->before[0], "1");
    assert_int_equal(last(f)->before[1].state, TR_CELL_ABSENT);
    assert_int_equal(last(f)->after[1].state, TR_CELL_UNCHANGED);
}

/* a server sends the key also when it is a TOAST value that did not change */
static void key_image_of_the_same_key_fills_it_in(void **state)
{
    struct fixture *f = *state;
    begin(f);
    relation(f, 'd');
    row_message(f, 'U', OID);
    put_tuple(f, 'K', "=1", "n", "n");
    put_tuple(f, 'N', "u", "=x", "=y");
    give_ok(f);
    assert_int_equal(last(f)->flags, TR_EV_BEFORE_KEY_ONLY);
    assert_cell(&last(f)->after[0], "1");
}

static void update_with_full_image(void **state)
{
    struct fixture *f = *state;
    begin(f);
    relation(f, 'f');
    row_message(f, 'U', OID);
    put_tuple(f, 'O', "=1", "=big", "n");
    put_tuple(f, 'N', "=1", "u", "u");
    give_ok(f);
    assert_int_equal(last(f)->flags, 0);
    assert_cell(&last(f)->after[1], "big");
    assert_int_equal(last(f)->after[2].state, TR_CELL_UNCHANGED);
    row_message(f, 'U', OID);
    put_tuple(f, 'O', "=1", "=big", "n");
    put_tuple(f, 'N', "=10", "u", "n");
    give_ok(f);
    assert_int_equal(last(f)->flags, TR_EV_KEY_CHANGED);
}

static void deletes(void **state)
{
    struct fixture *f = *state;
    begin(f);
    relation(f, 'd');
    row_message(f, 'D', OID);
    put_tuple(f, 'K', "=1", "n", "n");
    give_ok(f);
    assert_int_equal(last(f)->flags, TR_EV_BEFORE_KEY_ONLY);
    assert_int_equal(last(f)->before[2].state, TR_CELL_ABSENT);
    assert_null(last(f)->after);
    relation(f, 'f');
    row_message(f, 'D', OID);
    put_tuple(f, 'O', "=1", "n", "=z");
    give_ok(f);
    assert_int_equal(last(f)->flags, 0);
    assert_int_equal(last(f)->before[1].state, TR_CELL_NULL);
    assert_cell(&last(f)->before[2], "z");
}

static void a_new_relation_message_replaces_the_table(void **state)
{
    struct fixture *f = *state;
    begin(f);
    relation(f, 'd');
    insert(f, "=1");
    const struct tr_table *old = last(f)->table;
    relation(f, 'd');
    insert(f, "=2");
    assert_ptr_not_equal(last(f)->table, old);
    /* the batch still holds the old version */
    assert_string_equal(f->batch->events[0].table->id.table, "t");
    assert_int_equal(f->catalog.calls, 2);
}

static void rows_that_are_not_captured(void **state)
{
    struct fixture *f = *state;
    f->catalog.hidden = "t";
    begin(f);
    relation(f, 'd');
    row_message(f, 'I', OID);
    put_tuple(f, 'N', "=1", "n", "n");
    give_ok(f);
    assert_int_equal(f->batch->event_count, 0);
    relation_message(f, OID + 1, "seen", 'd');
    give_ok(f);
    row_message(f, 'I', OID + 1);
    put_tuple(f, 'N', "=1", "n", "n");
    give_ok(f);
    assert_int_equal(last(f)->txn_index, 1); /* the hidden row keeps its place */
}

static void rows_out_of_place(void **state)
{
    struct fixture *f = *state;
    row_message(f, 'I', OID);
    put_tuple(f, 'N', "=1", "n", "n");
    give_bad(f, "outside a transaction");
    begin(f);
    row_message(f, 'I', OID);
    put_tuple(f, 'N', "=1", "n", "n");
    give_bad(f, "without saying first");
    row_message(f, 'I', 0);
    put_tuple(f, 'N', "=1", "n", "n");
    give_bad(f, "without saying first");
}

static void transactions_out_of_place(void **state)
{
    struct fixture *f = *state;
    commit_message(f, COMMIT_LSN);
    give_bad(f, "no transaction");
    begin(f);
    begin_message(f, 'B');
    put_u64(&f->out, 1);
    put_u64(&f->out, 1);
    put_u32(&f->out, 1);
    give_bad(f, "under way");
    commit_message(f, COMMIT_LSN + 1);
    give_bad(f, "does not belong");
    assert_true(tr_pgoutput_in_transaction(f->decoder));
}

static void malformed_rows(void **state)
{
    struct fixture *f = *state;
    begin(f);
    relation(f, 'd');
    insert(f, "=1");
    row_message(f, 'I', OID);
    put_tuple(f, 'X', "=1", "n", "n");
    give_bad(f, "no new row");
    row_message(f, 'I', OID);
    tr_outbuf_byte(&f->out, 'N');
    put_u16(&f->out, 2);
    tr_outbuf_lit(&f->out, "nn");
    give_bad(f, "number of columns");
    row_message(f, 'I', OID);
    put_tuple(f, 'N', "=1", "?", "n");
    give_bad(f, "unknown kind");
    row_message(f, 'I', OID);
    put_tuple(f, 'N', "b", "n", "n");
    give_bad(f, "binary");
    row_message(f, 'I', OID);
    put_tuple(f, 'N', "=1", "n", "n");
    tr_outbuf_byte(&f->out, 0);
    give_bad(f, "behind its end");
    row_message(f, 'U', OID);
    put_tuple(f, 'K', "=1", "n", "n");
    give_bad(f, "no new row");
    row_message(f, 'D', OID);
    put_tuple(f, 'N', "=1", "n", "n");
    give_bad(f, "no old row");
    row_message(f, 'I', OID); /* a length of 4 GiB */
    tr_outbuf_byte(&f->out, 'N');
    put_u16(&f->out, 3);
    tr_outbuf_byte(&f->out, 't');
    put_u32(&f->out, UINT32_MAX);
    tr_outbuf_lit(&f->out, "1nn");
    give_bad(f, "cut short");
    insert(f, "=2"); /* and the decoder still works */
    assert_int_equal(last(f)->txn_index, 1);
}

static void every_prefix_is_refused(void **state)
{
    struct fixture *f = *state;
    begin(f);
    relation(f, 'd');
    row_message(f, 'U', OID);
    put_tuple(f, 'K', "=1", "n", "n");
    put_tuple(f, 'N', "=22", "u", "=long value");
    size_t len = f->out.len;
    for (size_t cut = 1; cut < len; cut++) {
        f->out.len = cut;
        assert_int_equal(give(f), TR_FAIL);
        assert_int_equal(f->err.code, TR_E_PG_PROTOCOL);
        assert_int_equal(f->batch->event_count, 0);
    }
    f->out.len = 0;
    assert_int_equal(give(f), TR_FAIL);
    f->out.len = len;
    give_ok(f);
}

static void kinds_not_asked_for_are_named(void **state)
{
    struct fixture *f = *state;
    static const struct {
        char kind;
        const char *name;
    } kinds[] = {{'S', "Stream Start"},  {'E', "Stream Stop"},       {'c', "Stream Commit"},
                 {'A', "Stream Abort"},  {'b', "Begin Prepare"},     {'P', "Prepare"},
                 {'K', "Commit Prepared"}, {'r', "Rollback Prepared"}, {'p', "Stream Prepare"},
                 {'?', "unknown kind 0x3f"}};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        begin_message(f, kinds[i].kind);
        put_u64(&f->out, 1);
        give_bad(f, kinds[i].name);
    }
}

static void bad_relations(void **state)
{
    struct fixture *f = *state;
    relation_message(f, OID, "t", 'd');
    give_bad(f, "outside a transaction");
    begin(f);
    relation_message(f, OID, "t", 'x');
    give_bad(f, "replica identity");
    relation_message(f, 0, "t", 'd');
    give_bad(f, "no oid");
    relation_message(f, OID, "", 'd');
    give_bad(f, "no name");
    begin_message(f, 'R');
    put_u32(&f->out, OID);
    put_cstr(&f->out, "");
    put_cstr(&f->out, "t");
    tr_outbuf_byte(&f->out, 'd');
    put_u16(&f->out, 65535);
    give_bad(f, "more columns");
    assert_int_equal(f->catalog.calls, 0);
    f->catalog.short_by = 1;
    relation_message(f, OID, "t", 'd');
    assert_int_equal(give(f), TR_FAIL);
    assert_int_equal(f->err.code, TR_E_INTERNAL);
}

static void schema_events_belong_to_the_transaction(void **state)
{
    struct fixture *f = *state;
    f->catalog.announce = true;
    begin(f);
    relation(f, 'd');
    assert_int_equal(last(f)->op, TR_OP_SCHEMA);
    assert_int_equal(last(f)->commit_position, COMMIT_LSN);
    assert_int_equal(last(f)->txn_id, 500);
    commit_message(f, COMMIT_LSN);
    give_ok(f);
    assert_int_equal(last(f)->op, TR_OP_COMMIT);
    begin(f);
    insert(f, "=1");
    assert_int_equal(last(f)->txn_index, 0);
}

static void truncate_message(struct fixture *f, uint32_t first_oid, uint32_t count, uint8_t bits)
{
    begin_message(f, 'T');
    put_u32(&f->out, count);
    tr_outbuf_byte(&f->out, (char)bits);
    for (uint32_t i = 0; i < count; i++)
        put_u32(&f->out, first_oid + i);
}

static void truncates(void **state)
{
    struct fixture *f = *state;
    f->catalog.hidden = "t2";
    begin(f);
    relation_message(f, OID, "t1", 'd');
    give_ok(f);
    relation_message(f, OID + 1, "t2", 'd');
    give_ok(f);
    relation_message(f, OID + 2, "t3", 'n');
    give_ok(f);
    truncate_message(f, OID, 3, 3);
    give_ok(f);
    assert_int_equal(f->batch->event_count, 2);
    assert_string_equal(f->batch->events[0].table->id.table, "t1");
    assert_string_equal(f->batch->events[1].table->id.table, "t3");
    assert_int_equal(f->batch->events[0].flags, TR_EV_TRUNCATE_CASCADE | TR_EV_TRUNCATE_RESTART);
    assert_int_equal(f->batch->events[1].txn_index, 2);
    truncate_message(f, OID, 4, 0); /* the fourth is unknown: none of the others stays */
    give_bad(f, "without saying first");
    truncate_message(f, OID, 0, 0);
    give_bad(f, "no table");
    truncate_message(f, OID, 1, 4);
    give_bad(f, "unknown flags");
    begin_message(f, 'T');
    put_u32(&f->out, UINT32_MAX);
    put_u32(&f->out, OID);
    give_bad(f, "cut short");
}

static void truncate_larger_than_a_batch(void **state)
{
    struct fixture *f = *state;
    const uint32_t count = 2 * TR_BATCH_EVENTS_MAX + 5;
    char name[32];
    begin(f);
    for (uint32_t i = 0; i < count; i++) {
        (void)snprintf(name, sizeof name, "t%u", i);
        relation_message(f, OID + i, name, 'd');
        give_ok(f);
    }
    insert(f, "=1");
    truncate_message(f, OID, count, 0);
    uint32_t seen = 0, rounds = 0;
    enum tr_status status;
    do {
        status = give(f);
        assert_int_not_equal(status, TR_FAIL);
        for (uint32_t i = 0; i < f->batch->event_count; i++) {
            const struct tr_event *event = &f->batch->events[i];
            if (event->op != TR_OP_TRUNCATE)
                continue;
            assert_int_equal(event->txn_index, seen + 1);
            assert_int_equal(event->table->source_id, OID + seen);
            seen++;
        }
        tr_batch_reset(f->batch);
        rounds++;
    } while (status == TR_AGAIN && rounds < 10);
    assert_int_equal(seen, count);
    assert_int_equal(rounds, 3);
}

static void messages(void **state)
{
    struct fixture *f = *state;
    begin_message(f, 'M');
    tr_outbuf_byte(&f->out, 0);
    put_u64(&f->out, 0x5000);
    put_cstr(&f->out, "beat");
    put_u32(&f->out, 2);
    tr_outbuf_lit(&f->out, "hi");
    give_ok(f);
    assert_int_equal(last(f)->op, TR_OP_MESSAGE);
    assert_string_equal(last(f)->message_prefix, "beat");
    assert_int_equal(last(f)->raw.len, 2);
    assert_int_equal(last(f)->position, 0x5000);
    assert_int_equal(last(f)->txn_id, 0);
    assert_false(tr_pgoutput_in_transaction(f->decoder));
    f->out.data[1] = 1;
    give_bad(f, "outside a transaction");
    f->out.data[1] = 2;
    give_bad(f, "unknown flags");
    begin(f);
    begin_message(f, 'M');
    tr_outbuf_byte(&f->out, 1);
    put_u64(&f->out, 0x6000);
    put_cstr(&f->out, "");
    put_u32(&f->out, 0);
    give_ok(f);
    assert_int_equal(last(f)->txn_id, 500);
    commit_message(f, COMMIT_LSN);
    give_ok(f);
    assert_int_equal(last(f)->op, TR_OP_COMMIT);
    assert_int_equal(last(f)->txn_index, 1);
}

static void origins(void **state)
{
    struct fixture *f = *state;
    begin(f);
    begin_message(f, 'O');
    put_u64(&f->out, 1);
    put_cstr(&f->out, "far_away");
    give_ok(f);
    relation(f, 'd');
    insert(f, "=1");
    insert(f, "=2");
    assert_string_equal(f->batch->events[0].origin, "far_away");
    assert_ptr_equal(f->batch->events[0].origin, f->batch->events[1].origin);
    tr_batch_reset(f->batch);
    insert(f, "=3");
    assert_string_equal(last(f)->origin, "far_away");
    commit_message(f, COMMIT_LSN);
    give_ok(f);
    begin(f);
    insert(f, "=4");
    assert_null(last(f)->origin);
}

static void reset_forgets(void **state)
{
    struct fixture *f = *state;
    begin(f);
    relation(f, 'd');
    tr_pgoutput_reset(f->decoder);
    assert_false(tr_pgoutput_in_transaction(f->decoder));
    begin(f);
    row_message(f, 'I', OID);
    put_tuple(f, 'N', "=1", "n", "n");
    give_bad(f, "without saying first");
}

static void lsns(void **state)
{
    (void)state;
    char buf[24];
    uint64_t lsn = 0;
    assert_string_equal(tr_lsn_format(UINT64_C(0x16B3748), buf, sizeof buf), "0/16B3748");
    assert_string_equal(tr_lsn_format(UINT64_MAX, buf, sizeof buf), "FFFFFFFF/FFFFFFFF");
    assert_true(tr_lsn_parse("1/0", &lsn));
    assert_int_equal(lsn, UINT64_C(1) << 32);
    assert_true(tr_lsn_parse("ffffffff/FFFFFFFF", &lsn));
    assert_int_equal(lsn, UINT64_MAX);
    static const char *const bad[] = {"", "/", "1", "1/", "/1", "1/2/3", "1/2 ", "g/1",
                                      "123456789/1", "0/123456789", " 0/1"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(tr_lsn_parse(bad[i], &lsn));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(insert_has_every_field),
        TEST(empty_transaction_gives_nothing_but_a_position),
        TEST(commit_counts_events_of_earlier_batches),
        TEST(update_without_old_row),
        TEST(update_with_key_image),
        TEST(key_image_of_the_same_key_fills_it_in),
        TEST(update_with_full_image),
        TEST(deletes),
        TEST(a_new_relation_message_replaces_the_table),
        TEST(rows_that_are_not_captured),
        TEST(rows_out_of_place),
        TEST(transactions_out_of_place),
        TEST(malformed_rows),
        TEST(every_prefix_is_refused),
        TEST(kinds_not_asked_for_are_named),
        TEST(bad_relations),
        TEST(schema_events_belong_to_the_transaction),
        TEST(truncates),
        TEST(truncate_larger_than_a_batch),
        TEST(messages),
        TEST(origins),
        TEST(reset_forgets),
        cmocka_unit_test(lsns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
