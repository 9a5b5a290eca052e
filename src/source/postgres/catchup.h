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

/* One of two sessions: while the chunk of one is taken, the server makes the other's. */
enum tr_pg_lane_state {
    TR_PG_LANE_IDLE,
    TR_PG_LANE_ASKED, /* no row of the chunk has come */
    TR_PG_LANE_ROWS
};

struct tr_pg_lane {
    enum tr_pg_lane_state state;
    struct tr_pg_conn conn;
    char slot_name[TR_PG_NAME_BYTES_MAX + 1]; /* of its temporary slot */
    bool has_slot;
    bool header_seen;
    uint64_t begin_lsn;   /* of the chunk */
    uint64_t chunk_bytes; /* of messages that have come */
    int64_t asked_ms;
};

#define TR_PG_LANES 2

struct tr_pg_catchup {
    bool is_on;
    bool is_single; /* the server has no place for a second lane */
    unsigned current;
    struct tr_pg_lane lanes[TR_PG_LANES];
    uint64_t position;   /* every transaction that commits before it was given */
    uint64_t server_lsn; /* the log's end, when the last chunk was asked for */
    uint64_t slot_lsn;   /* the pipeline's slot is confirmed up to here */
    uint64_t began_lsn;
    int64_t began_ms;
    unsigned chunks;
};

/* Opens *catchup (zeroed before) if what lies behind source->stream_lsn is long enough. It stays
 * off when the log is short, and, with a line in the program's log, when the server does not let
 * us. Fails when interrupted, and when another process catches up for the same slot. */
enum tr_status tr_pg_catchup_begin(struct tr_pg_source *source, const struct tr_pg_slot *slot,
                                   struct tr_pg_catchup *catchup, struct tr_error *err);

/* The next message, which is the caller's. TR_AGAIN: none is there yet, wait for the connection's
 * socket. TR_END: it is over, and the log is to be followed from catchup->position on; the caller
 * closes. The position moves between messages, with no transaction under way. */
enum tr_status tr_pg_catchup_next(struct tr_pg_source *source, struct tr_pg_catchup *catchup,
                                  struct tr_pg_logged *message, struct tr_error *err);

/* What to wait on, after TR_AGAIN. */
struct tr_pg_conn *tr_pg_catchup_conn(struct tr_pg_catchup *catchup);

/* Closes, and moves the pipeline's slot to what is acknowledged, by the source's SQL connection, if
 * that can be done within timeout_ms. */
void tr_pg_catchup_finish(struct tr_pg_source *source, struct tr_pg_catchup *catchup,
                          int timeout_ms);

void tr_pg_catchup_close(struct tr_pg_catchup *catchup);

/* Nothing is read at the moment: the server's silence means nothing. */
void tr_pg_catchup_keepalive(struct tr_pg_catchup *catchup);

/* How much log the next chunk covers, in bytes. gap: bytes that the server reads again before it.
 * min_lag: the option's. */
uint64_t tr_pg_catchup_chunk(uint64_t gap, uint64_t min_lag);

/* Is following the log better now? lag: bytes of log behind the position. was_empty: no message was
 * in the last chunk. */
bool tr_pg_catchup_is_over(uint64_t lag, uint64_t gap, bool was_empty, uint64_t min_lag);

#endif
