/* Decoder for PostgreSQL's logical replication protocol (pgoutput), version 1 messages of servers 12
 * to 18: bytes → batch, no I/O. https://www.postgresql.org/docs/current/protocol-logicalrep-message-formats.html */
#ifndef TR_DECODE_PGOUTPUT_H
#define TR_DECODE_PGOUTPUT_H

#include "event/batch.h"

struct tr_pgoutput_column {
    const char *name;
    uint32_t type_oid;
    int32_t typmod;
    bool in_replica_identity;
};
struct tr_pgoutput_relation {
    uint32_t oid;
    const char *namespace; /* "pg_catalog" when the message has it empty */
    const char *name;
    char replica_identity;
    uint16_t column_count;
    const struct tr_pgoutput_column *columns;
};

struct tr_pgoutput_callbacks {
    /* A Relation message: give the table to use for rows of this oid from now on (a new reference), or
     * NULL when it is not captured. May append SCHEMA events to the batch. The table's columns must be
     * the message's, in its order; the decoder checks the count. */
    enum tr_status (*relation)(void *ctx, const struct tr_pgoutput_relation *relation,
                               struct tr_batch *batch, const struct tr_table **table,
                               struct tr_error *err);
    void *ctx;
};

struct tr_pgoutput; /* one stream's state: relations by oid, the transaction under way */

enum tr_status tr_pgoutput_new(const struct tr_pgoutput_callbacks *callbacks,
                               struct tr_pgoutput **out, struct tr_error *err);
void tr_pgoutput_free(struct tr_pgoutput *decoder);
/* One message: the payload of an XLogData ('w') message behind its 24 header bytes + 'w'.
 * payload must live until the batch is reset, or copy=true makes the decoder copy what it keeps.
 * wal_start: the header's dataStart. Appends 0..n events: rows, TRUNCATE (one per relation), MESSAGE,
 * and at Commit a COMMIT event with the mark lsn=<end LSN> (its position too), unless the transaction
 * had no event. SCHEMA events of the callback get the transaction's positions, but no txn_index of
 * their own. A non-transactional MESSAGE has commit_position = its LSN, txn_id 0, and no COMMIT.
 * Malformed bytes: PG_PROTOCOL, and nothing of that message is in the batch.
 * The caller checks tr_batch_full before each call.
 * TR_AGAIN: a Truncate names more tables than the batch had room for. Hand the batch on and give the
 * same message again with another batch, until TR_OK; the events keep nothing of this payload. */
enum tr_status tr_pgoutput_decode(struct tr_pgoutput *decoder, struct tr_slice payload, bool copy,
                                  uint64_t wal_start, int64_t recv_ts_us, struct tr_batch *batch,
                                  struct tr_error *err);
bool tr_pgoutput_in_transaction(const struct tr_pgoutput *decoder);
/* End LSN of the last commit seen, also of empty transactions; 0 before the first. */
uint64_t tr_pgoutput_last_end_lsn(const struct tr_pgoutput *decoder);
/* Forgets everything (a new connection). */
void tr_pgoutput_reset(struct tr_pgoutput *decoder);

/* "0/16B3748" ↔ number. parse: false when it is not one. buf >= 24 bytes. */
const char *tr_lsn_format(uint64_t lsn, char *buf, size_t buf_size);
bool tr_lsn_parse(const char *text, uint64_t *lsn);

#endif
