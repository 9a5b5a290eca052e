/* Catching up: a long log is read by SQL, in chunks, before it is followed. See catchup.c. */
#ifndef TAILRACE_SOURCE_POSTGRES_CATCHUP_H
#define TAILRACE_SOURCE_POSTGRES_CATCHUP_H

#include "source/postgres/slot.h"

struct tr_pg_source;

/* One message of pgoutput. buffer is libpq's (PQfreemem); the payload lies in it. */
struct tr_pg_logged {
    char *buffer;
    size_t buffer_len;
    size_t payload_at, payload_len;
    uint64_t lsn; /* of the data, as a walsender names it */
};

enum tr_pg_catchup_state {
    TR_PG_CATCHUP_OFF,
    TR_PG_CATCHUP_BETWEEN, /* chunks: the next one, or the end, is to be chosen */
    TR_PG_CATCHUP_ASKED,   /* no row of the chunk has come */
    TR_PG_CATCHUP_ROWS
};

struct tr_pg_catchup {
    enum tr_pg_catchup_state state;
    struct tr_pg_conn conn;
    char slot_name[64];   /* of the temporary slot */
    uint64_t position;    /* every transaction that commits before it was given */
    uint64_t restart_lsn; /* where the server begins to read the log for the next chunk */
    uint64_t server_lsn;  /* the log's end, when the last chunk was asked for */
    uint64_t slot_lsn;    /* the pipeline's slot is confirmed up to here */
    uint64_t chunk_bytes; /* of messages in it, so far */
    int64_t asked_ms;
    bool header_seen;
    int64_t began_ms;
    uint64_t began_lsn;
    unsigned chunks;
};

/* Opens *catchup (zeroed before) if what lies behind source->stream_lsn is long enough. It stays
 * off when the log is short, and, with a line in the program's log, when the server does not let
 * us. Fails when interrupted, and when another process catches up for the same slot. */
enum tr_status tr_pg_catchup_begin(struct tr_pg_source *source, const struct tr_pg_slot *slot,
                                   struct tr_pg_catchup *catchup, struct tr_error *err);

/* The next message, which is the caller's. TR_AGAIN: none is there yet, wait for the connection's
 * socket. TR_END: it is over, and the log is to be followed from catchup->position on; the caller
 * closes. Between chunks (no message is under way then) it moves the pipeline's slot. */
enum tr_status tr_pg_catchup_next(struct tr_pg_source *source, struct tr_pg_catchup *catchup,
                                  struct tr_pg_logged *message, struct tr_error *err);

/* Closes, and moves the pipeline's slot to what is acknowledged, by the source's SQL connection, if
 * that can be done within timeout_ms. */
void tr_pg_catchup_finish(struct tr_pg_source *source, struct tr_pg_catchup *catchup,
                          int timeout_ms);

void tr_pg_catchup_close(struct tr_pg_catchup *catchup);

/* How much log the next chunk covers, in bytes. gap: bytes that the server reads again before it.
 * min_lag: the option's. */
uint64_t tr_pg_catchup_chunk(uint64_t gap, uint64_t min_lag);

/* Is following the log better now? lag: bytes behind the position; covered, given: bytes of log of
 * the last chunk (0: there was none), and of its messages. */
bool tr_pg_catchup_is_over(uint64_t lag, uint64_t gap, uint64_t covered, uint64_t given,
                           uint64_t min_lag);

#endif
