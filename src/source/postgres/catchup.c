/* Catching up by SQL.
 *
 * A walsender sends each message by itself; with small transactions that is most of its work. The
 * same decoding called as a function, pg_logical_slot_get_binary_changes, gathers its messages in
 * the server and sends them in large pieces, at less than half of the processor time (measured:
 * docs/performance.md). So a log that is long when the stream begins is read like that, in chunks,
 * and followed by a walsender only when little is left.
 *
 *   - The function confirms what it gives. So it is called on a temporary copy of the pipeline's
 *     slot, which ends with the connection. The pipeline's own slot is moved only to what is
 *     acknowledged, now and then between chunks (pg_replication_slot_advance), and by the walsender
 *     afterwards. Whatever breaks, it is as if nothing had been read.
 *   - Before it is copied the pipeline's slot is moved to the checkpoint's position, which is
 *     durable, so that the log is not read again from further back. A chunk ends at a position of
 *     the log, with whole transactions: all that commit before it. The walsender is asked to begin
 *     where the last one ended.
 *   - The function makes a whole chunk before it gives the first row, and its session does nothing
 *     else until the last one is taken. So there are two lanes, each a session with a copy of the
 *     slot: as soon as one gives rows, its slot stands at the chunk's end, is copied for the other
 *     lane, and that is asked for the chunk after it. Without a place for a second slot one lane
 *     makes all chunks.
 *   - Each call reads the log again from where the oldest transaction that was open began
 *     (restart_lsn), which costs about a sixth of decoding it. Therefore the further back that is,
 *     the longer a chunk; and when it is too far, as with a transaction that stays open, or one so
 *     large that the function would have to gather it whole, the log is followed instead.
 *   - The server's answer is a COPY in binary form: one message is one row, and memory here is that
 *     of one row. While we do not read, the server's transaction stays open.
 *
 * Position, lag and gap are bytes of log. A chunk that fails before its first row only ends the
 * catching up. https://www.postgresql.org/docs/current/functions-admin.html#FUNCTIONS-REPLICATION
 * Thread: the stream reader's. */
#include "source/postgres/catchup.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "base/outbuf.h"
#include "decode/cursor.h"
#include "decode/pgcopy.h"
#include "source/postgres/source.h"

#define FIRST_ROW_MS 60000      /* a chunk that takes longer is given up */
#define COPY_GONE_WAIT_MS 10000 /* for the copy of a process that has just died */
#define COPY_GONE_POLL_MS 100
#define TUPLE_LSN 6     /* Int16(2) Int32(8) */
#define TUPLE_HEADER 18 /* … Int64(LSN) Int32(length) */

/* In units of the least lag: */
#define GAP_MAX 16       /* further back the log is read again too often */
#define START_GAP_MAX 64 /* … at the start, when moving the slot may bring it nearer */
#define GAP_SOME 2       /* a chunk without a message, with such a gap: a large transaction */
#define CHUNK_MAX 4      /* one at least */
#define SLOT_EVERY 16    /* how often the pipeline's slot is moved */
#define LEFT_SHARE 4     /* so small a part is left to the walsender */

static const char what_copy[] = "catch up";

static struct tr_metric active_metric = {
    .name = "tailrace_postgres_catching_up",
    .unit = "boolean",
    .help = "1 while a long log is read in chunks by SQL, 0 while it is followed.",
    .kind = TR_GAUGE};
static struct tr_metric chunks_metric = {
    .name = "tailrace_postgres_catch_up_chunks_total",
    .unit = "chunks",
    .help = "Chunks of the log that the server was asked for.",
    .kind = TR_COUNTER};

uint64_t tr_pg_catchup_chunk(uint64_t gap, uint64_t min_lag)
{
    uint64_t bytes = gap / 2, most = min_lag * CHUNK_MAX;
    return bytes < min_lag ? min_lag : bytes > most ? most : bytes;
}

bool tr_pg_catchup_is_over(uint64_t lag, uint64_t gap, bool was_empty, uint64_t min_lag)
{
    if (lag < min_lag / LEFT_SHARE || gap > min_lag * GAP_MAX)
        return true;
    return was_empty && gap >= min_lag * GAP_SOME;
}

static uint64_t min_lag_of(const struct tr_pg_source *source)
{
    return (uint64_t)source->settings.options->catch_up_min_lag;
}

static uint64_t distance(uint64_t from, uint64_t to) { return to > from ? to - from : 0; }

/* ---- begin ---------------------------------------------------------------------------------- */

/* The copies of a process that was killed live until its server processes notice. */
static enum tr_status await_free_names(struct tr_pg_source *source, struct tr_pg_catchup *catchup,
                                       struct tr_error *err)
{
    int64_t deadline_ms = tr_clock_mono_ms() + COPY_GONE_WAIT_MS;
    struct tr_pg_slot copy;
    for (unsigned i = 0; i < TR_PG_LANES;) {
        if (tr_pg_slot_load(&source->sql, &source->server, catchup->lanes[i].slot_name, &copy,
                            err) != TR_OK)
            return TR_FAIL;
        if (!copy.exists) {
            i++;
            continue;
        }
        if (tr_clock_mono_ms() >= deadline_ms)
            return tr_pg_slot_fail_in_use(&source->settings, &copy, err);
        bool woken = false;
        (void)tr_pg_wait(&catchup->lanes[0].conn, false, COPY_GONE_POLL_MS, &woken);
        if (woken)
            return tr_fail(err, TR_E_INTERRUPTED, "interrupted while waiting for the slot");
    }
    return TR_OK;
}

static enum tr_status move_slot(struct tr_pg_conn *conn, const char *name, uint64_t lsn,
                                int timeout_ms, struct tr_error *err)
{
    struct tr_outbuf sql = {0};
    char text[TR_PG_LSN_BYTES];
    PGresult *result = NULL;
    tr_outbuf_lit(&sql, "SELECT pg_catalog.pg_replication_slot_advance(");
    tr_pg_put_literal(&sql, name);
    tr_outbuf_printf(&sql, ", '%s')", tr_lsn_format(lsn, text, sizeof text));
    enum tr_status status =
        tr_pg_exec(conn, "move the slot", tr_outbuf_cstr(&sql), timeout_ms, &result, err);
    if (status == TR_OK)
        PQclear(result);
    tr_outbuf_free(&sql);
    return status;
}

static enum tr_status open_lane(struct tr_pg_source *source, struct tr_pg_lane *lane,
                                struct tr_error *err)
{
    PGresult *result = NULL;
    struct tr_error ignored;
    if (tr_pg_connect(&source->settings, false, source->wake_fds[0], &lane->conn, err) != TR_OK)
        return TR_FAIL;
    /* a server process whose client has died ends sooner; not every server's system can do it */
    if (source->server.version >= 140000 &&
        tr_pg_exec(&lane->conn, what_copy, "SET client_connection_check_interval = '1s'",
                   TR_PG_QUERY_TIMEOUT_MS, &result, &ignored) == TR_OK)
        PQclear(result);
    return TR_OK;
}

/* The lane's slot becomes a copy of the slot `from`. */
static enum tr_status copy_slot(struct tr_pg_lane *lane, const char *from, struct tr_error *err)
{
    PGresult *result = NULL;
    const char *params[] = {lane->slot_name, from};
    if (lane->has_slot) {
        if (tr_pg_query(&lane->conn, what_copy, "SELECT pg_catalog.pg_drop_replication_slot($1)", 1,
                        params, &result, err) != TR_OK)
            return TR_FAIL;
        PQclear(result);
    }
    lane->has_slot = false;
    if (tr_pg_query(&lane->conn, what_copy,
                    "SELECT pg_catalog.pg_copy_logical_replication_slot($2, $1, true)", 2, params,
                    &result, err) != TR_OK)
        return TR_FAIL;
    PQclear(result);
    lane->has_slot = true;
    return TR_OK;
}

static enum tr_status open_first(struct tr_pg_source *source, const struct tr_pg_slot *slot,
                                 struct tr_pg_catchup *catchup, struct tr_error *err)
{
    struct tr_pg_lane *lane = &catchup->lanes[0];
    const char *own = source->settings.slot_name;
    if (source->stream_lsn > slot->confirmed_lsn &&
        move_slot(&lane->conn, own, source->stream_lsn, TR_PG_NO_TIMEOUT, err) != TR_OK)
        return TR_FAIL;
    return copy_slot(lane, own, err);
}

static void name_lanes(struct tr_pg_catchup *catchup, const char *slot_name)
{
    static const char *const suffixes[TR_PG_LANES] = {"_catchup", "_catchup_2"};
    for (unsigned i = 0; i < TR_PG_LANES; i++)
        (void)snprintf(catchup->lanes[i].slot_name, sizeof catchup->lanes[i].slot_name, "%.*s%s",
                       (int)(TR_PG_NAME_BYTES_MAX - strlen(suffixes[i])), slot_name, suffixes[i]);
}

enum tr_status tr_pg_catchup_begin(struct tr_pg_source *source, const struct tr_pg_slot *slot,
                                   struct tr_pg_catchup *catchup, struct tr_error *err)
{
    uint64_t min_lag = min_lag_of(source);
    uint64_t end_lsn = slot->restart_lsn + (uint64_t)slot->retained_bytes;
    uint64_t lag = distance(source->stream_lsn, end_lsn);
    tr_metric_register(&active_metric);
    tr_metric_register(&chunks_metric);
    if (min_lag == 0 || lag < min_lag)
        return TR_OK;
    if (distance(slot->restart_lsn, source->stream_lsn) > min_lag * START_GAP_MAX) {
        tr_log(TR_LOG_INFO, "a transaction has been open for long: the log is followed",
               "lag_bytes=%" PRIu64, lag);
        return TR_OK;
    }
    struct tr_pg_lane *first = &catchup->lanes[0];
    name_lanes(catchup, source->settings.slot_name);
    if (open_lane(source, first, err) != TR_OK || await_free_names(source, catchup, err) != TR_OK) {
        tr_pg_catchup_close(catchup);
        return TR_FAIL;
    }
    if (open_first(source, slot, catchup, err) != TR_OK) {
        bool refused = err->code != TR_E_INTERRUPTED && PQstatus(first->conn.pg) == CONNECTION_OK;
        tr_pg_catchup_close(catchup);
        if (!refused)
            return TR_FAIL;
        char words[400];
        tr_log(TR_LOG_INFO, "the log cannot be read in chunks and is followed from the start",
               "lag_bytes=%" PRIu64 " why=%s", lag,
               tr_log_quote(err->message, words, sizeof words));
        return TR_OK;
    }
    catchup->is_on = true;
    tr_metric_set(&active_metric, 1);
    catchup->position = catchup->began_lsn = catchup->slot_lsn = source->stream_lsn;
    catchup->began_ms = tr_clock_mono_ms();
    tr_log(TR_LOG_INFO, "catching up: the log is read in chunks", "lag_bytes=%" PRIu64, lag);
    return TR_OK;
}

/* ---- chunks --------------------------------------------------------------------------------- */

struct place {
    uint64_t position, restart_lsn;
};

/* Where a lane's slot stands: at the end of its chunk, as soon as rows of it have come. */
static enum tr_status look(struct tr_pg_catchup *catchup, struct tr_pg_conn *conn,
                           const struct tr_pg_lane *lane, struct place *place, struct tr_error *err)
{
    PGresult *row = NULL;
    const char *params[] = {lane->slot_name};
    if (tr_pg_query(conn, what_copy,
                    "SELECT confirmed_flush_lsn, restart_lsn, "
                    "pg_catalog.pg_current_wal_flush_lsn() "
                    "FROM pg_catalog.pg_replication_slots WHERE slot_name = $1",
                    1, params, &row, err) != TR_OK)
        return TR_FAIL;
    enum tr_status status = TR_OK;
    if (PQntuples(row) != 1 || !tr_lsn_parse(tr_pg_text(row, 0, 0), &place->position) ||
        !tr_lsn_parse(tr_pg_text(row, 0, 1), &place->restart_lsn) ||
        !tr_lsn_parse(tr_pg_text(row, 0, 2), &catchup->server_lsn) ||
        place->position < lane->begin_lsn)
        status = tr_fail(err, TR_E_PG_PROTOCOL, "the temporary slot is not as it was left");
    PQclear(row);
    return status;
}

static enum tr_status ask(struct tr_pg_source *source, struct tr_pg_catchup *catchup,
                          struct tr_pg_lane *lane, struct place from, struct tr_error *err)
{
    char text[TR_PG_LSN_BYTES];
    struct tr_outbuf sql = {0}, name = {0};
    uint64_t gap = distance(from.restart_lsn, from.position);
    uint64_t up_to = from.position + tr_pg_catchup_chunk(gap, min_lag_of(source));
    tr_pg_put_identifier(&name, source->settings.publication_name);
    tr_outbuf_lit(&sql,
                  "COPY (SELECT lsn, data FROM pg_catalog.pg_logical_slot_get_binary_changes(");
    tr_pg_put_literal(&sql, lane->slot_name);
    tr_outbuf_printf(&sql, ", '%s', NULL, 'proto_version', '1', 'publication_names', ",
                     tr_lsn_format(up_to, text, sizeof text));
    tr_pg_put_literal(&sql, tr_outbuf_cstr(&name));
    if (source->server.version >= 140000)
        tr_outbuf_lit(&sql, ", 'messages', 'true'");
    tr_outbuf_lit(&sql, ")) TO STDOUT (FORMAT binary)");
    bool sent =
        !sql.failed && !name.failed && PQsendQuery(lane->conn.pg, tr_outbuf_cstr(&sql)) == 1;
    tr_outbuf_free(&sql);
    tr_outbuf_free(&name);
    if (!sent)
        return tr_pg_fail_result(err, NULL, lane->conn.pg, what_copy);
    lane->state = TR_PG_LANE_ASKED;
    lane->begin_lsn = from.position;
    lane->asked_ms = tr_clock_mono_ms();
    lane->header_seen = false;
    lane->chunk_bytes = 0;
    catchup->chunks++;
    tr_metric_add(&chunks_metric, 1);
    return TR_OK;
}

static enum tr_status move_own_slot(struct tr_pg_source *source, struct tr_pg_catchup *catchup,
                                    struct tr_pg_conn *conn, struct tr_error *err)
{
    uint64_t lsn = atomic_load(&source->progress.acknowledged_lsn);
    if (distance(catchup->slot_lsn, lsn) < min_lag_of(source) * SLOT_EVERY)
        return TR_OK;
    if (TR_FAILPOINT("source.postgres.before_ack") != 0)
        return tr_fail(err, TR_E_PG_CONNECT, "failpoint source.postgres.before_ack");
    if (move_slot(conn, source->settings.slot_name, lsn, TR_PG_NO_TIMEOUT, err) != TR_OK)
        return TR_FAIL;
    catchup->slot_lsn = lsn;
    return TR_OK;
}

static void tell_end(const struct tr_pg_catchup *catchup, const char *words)
{
    tr_log(TR_LOG_INFO, words,
           "read_bytes=%" PRIu64 " left_bytes=%" PRIu64 " chunks=%u lanes=%d ms=%" PRId64,
           catchup->position - catchup->began_lsn, distance(catchup->position, catchup->server_lsn),
           catchup->chunks, catchup->is_single ? 1 : TR_PG_LANES,
           tr_clock_mono_ms() - catchup->began_ms);
}

static struct tr_pg_lane *current_lane(struct tr_pg_catchup *catchup)
{
    return &catchup->lanes[catchup->current];
}

/* The lane is done with its chunk, and no other is under way: the next one, or the end. */
static enum tr_status choose(struct tr_pg_source *source, struct tr_pg_catchup *catchup,
                             struct tr_error *err)
{
    struct tr_pg_lane *lane = current_lane(catchup);
    uint64_t min_lag = min_lag_of(source);
    struct place place;
    if (move_own_slot(source, catchup, &lane->conn, err) != TR_OK ||
        look(catchup, &lane->conn, lane, &place, err) != TR_OK)
        return TR_FAIL;
    bool first = catchup->chunks == 0, stuck = !first && place.position == lane->begin_lsn;
    catchup->position = place.position;
    atomic_store(&source->progress.server_lsn, catchup->server_lsn);
    uint64_t lag = distance(place.position, catchup->server_lsn);
    uint64_t gap = distance(place.restart_lsn, place.position);
    if (stuck || tr_pg_catchup_is_over(lag, gap, !first && lane->chunk_bytes == 0, min_lag)) {
        tell_end(catchup, lag < min_lag ? "caught up: the log is followed"
                                        : "a transaction is open for long, or large: the log is "
                                          "followed");
        return TR_END;
    }
    return ask(source, catchup, lane, place, err);
}

/* Rows come from this lane, so its chunk is made: the other lane is asked for the one after it. */
static enum tr_status ask_ahead(struct tr_pg_source *source, struct tr_pg_catchup *catchup,
                                struct tr_error *err)
{
    const struct tr_pg_lane *lane = current_lane(catchup);
    struct tr_pg_lane *other = &catchup->lanes[1 - catchup->current];
    struct place place;
    if (other->conn.pg == NULL && open_lane(source, other, err) != TR_OK)
        return TR_FAIL;
    if (move_own_slot(source, catchup, &other->conn, err) != TR_OK ||
        look(catchup, &other->conn, lane, &place, err) != TR_OK)
        return TR_FAIL;
    uint64_t lag = distance(place.position, catchup->server_lsn);
    if (place.position == lane->begin_lsn ||
        tr_pg_catchup_is_over(lag, distance(place.restart_lsn, place.position), false,
                              min_lag_of(source)))
        return TR_OK; /* decided when the last row has come */
    if (copy_slot(other, lane->slot_name, err) != TR_OK)
        return TR_FAIL;
    return ask(source, catchup, other, place, err);
}

static enum tr_status try_ahead(struct tr_pg_source *source, struct tr_pg_catchup *catchup,
                                struct tr_error *err)
{
    char words[400];
    if (catchup->is_single || ask_ahead(source, catchup, err) == TR_OK)
        return TR_OK;
    if (err->code == TR_E_INTERRUPTED || err->code == TR_E_PG_SLOT_IN_USE)
        return TR_FAIL;
    catchup->is_single = true;
    tr_log(TR_LOG_INFO, "chunks are made one after the other", "why=%s",
           tr_log_quote(err->message, words, sizeof words));
    tr_pg_disconnect(&catchup->lanes[1 - catchup->current].conn);
    return TR_OK;
}

/* Of a chunk of which nothing was given: what it would have given, the walsender gives. */
static enum tr_status give_up(const struct tr_pg_catchup *catchup, const char *why)
{
    char words[400];
    tr_log(TR_LOG_WARN, "a chunk of the log could not be read: the log is followed", "why=%s",
           tr_log_quote(why, words, sizeof words));
    tell_end(catchup, "no longer catching up");
    return TR_END;
}

static enum tr_status take_answer(struct tr_pg_lane *lane, struct tr_error *err)
{
    if (PQisBusy(lane->conn.pg))
        return TR_AGAIN;
    PGresult *result = PQgetResult(lane->conn.pg);
    bool good = PQresultStatus(result) == PGRES_COPY_OUT;
    if (!good)
        (void)tr_pg_fail_result(err, result, lane->conn.pg, what_copy);
    PQclear(result);
    if (!good)
        return TR_FAIL;
    lane->state = TR_PG_LANE_ROWS;
    return TR_OK;
}

/* After the last row: what the server says about the COPY. */
static enum tr_status end_chunk(struct tr_pg_catchup *catchup, struct tr_error *err)
{
    struct tr_pg_lane *lane = current_lane(catchup), *other = &catchup->lanes[1 - catchup->current];
    PGresult *result = NULL;
    enum tr_status status;
    int64_t deadline_ms = tr_clock_mono_ms() + TR_PG_QUERY_TIMEOUT_MS;
    while ((status = tr_pg_result(&lane->conn, what_copy, deadline_ms, &result, err)) == TR_OK)
        PQclear(result);
    if (status == TR_FAIL)
        return TR_FAIL;
    lane->state = TR_PG_LANE_IDLE;
    if (TR_FAILPOINT("source.postgres.between_chunks") != 0)
        return tr_fail(err, TR_E_PG_CONNECT, "failpoint source.postgres.between_chunks");
    if (other->state != TR_PG_LANE_IDLE) {
        catchup->current = 1 - catchup->current;
        catchup->position = other->begin_lsn;
        other->asked_ms = tr_clock_mono_ms();
    }
    return TR_OK;
}

/* A row as a message. TR_AGAIN: it is none (the COPY's trailer). */
static enum tr_status unwrap(struct tr_pg_lane *lane, char *buffer, size_t len,
                             struct tr_pg_logged *message, struct tr_error *err)
{
    struct tr_slice tuple;
    if (tr_pgcopy_binary_row((struct tr_slice){buffer, len}, &lane->header_seen, 2, &tuple, err) !=
        TR_OK)
        return TR_FAIL;
    if (tuple.len == 0)
        return TR_AGAIN;
    if (tuple.len <= TUPLE_HEADER)
        return tr_fail(err, TR_E_PG_PROTOCOL, "a row of the log is too short");
    *message = (struct tr_pg_logged){.buffer = buffer,
                                     .buffer_len = len,
                                     .payload_at = (size_t)(tuple.ptr - buffer) + TUPLE_HEADER,
                                     .payload_len = tuple.len - TUPLE_HEADER,
                                     .lsn = tr_load_u64(tuple.ptr + TUPLE_LSN)};
    return TR_OK;
}

static enum tr_status take_row(struct tr_pg_source *source, struct tr_pg_catchup *catchup,
                               struct tr_pg_logged *message, struct tr_error *err)
{
    struct tr_pg_lane *lane = current_lane(catchup);
    char *buffer = NULL;
    int len = PQgetCopyData(lane->conn.pg, &buffer, 1);
    if (len == 0)
        return TR_AGAIN;
    if (len == -1)
        return end_chunk(catchup, err);
    if (len < 0)
        return tr_pg_fail_result(err, NULL, lane->conn.pg, what_copy);
    enum tr_status status = unwrap(lane, buffer, (size_t)len, message, err);
    if (status == TR_OK) {
        bool first = lane->chunk_bytes == 0;
        lane->chunk_bytes += (size_t)len;
        if (first)
            status = try_ahead(source, catchup, err);
    }
    if (status != TR_OK) {
        PQfreemem(buffer);
        *message = (struct tr_pg_logged){0};
    }
    return status == TR_AGAIN ? TR_OK : status;
}

enum tr_status tr_pg_catchup_next(struct tr_pg_source *source, struct tr_pg_catchup *catchup,
                                  struct tr_pg_logged *message, struct tr_error *err)
{
    enum tr_status status = TR_OK;
    *message = (struct tr_pg_logged){0};
    while (status == TR_OK && message->buffer == NULL) {
        struct tr_pg_lane *lane = current_lane(catchup);
        if (lane->state == TR_PG_LANE_IDLE) {
            status = choose(source, catchup, err);
            if (status != TR_OK)
                return status;
        } else if (lane->state == TR_PG_LANE_ASKED) {
            status = take_answer(lane, err);
        } else {
            status = take_row(source, catchup, message, err);
        }
    }
    const struct tr_pg_lane *lane = current_lane(catchup);
    if (status == TR_OK || lane->chunk_bytes > 0 || lane->state == TR_PG_LANE_IDLE)
        return status;
    bool late = tr_clock_mono_ms() - lane->asked_ms >= FIRST_ROW_MS;
    if (status == TR_AGAIN && late)
        return give_up(catchup, "no answer in time");
    if (status == TR_FAIL && PQstatus(lane->conn.pg) == CONNECTION_OK &&
        err->code != TR_E_INTERRUPTED)
        return give_up(catchup, err->message);
    return status;
}

struct tr_pg_conn *tr_pg_catchup_conn(struct tr_pg_catchup *catchup)
{
    return &current_lane(catchup)->conn;
}

void tr_pg_catchup_keepalive(struct tr_pg_catchup *catchup)
{
    current_lane(catchup)->asked_ms =
        tr_clock_mono_ms(); /* the other's counts when its turn comes */
}

/* ---- end ------------------------------------------------------------------------------------ */

void tr_pg_catchup_finish(struct tr_pg_source *source, struct tr_pg_catchup *catchup,
                          int timeout_ms)
{
    uint64_t lsn = atomic_load(&source->progress.acknowledged_lsn);
    struct tr_error err;
    tr_pg_catchup_close(catchup);
    if (lsn <= catchup->slot_lsn)
        return;
    if (tr_pg_source_sql(source, &err) != TR_OK ||
        move_slot(&source->sql, source->settings.slot_name, lsn, timeout_ms, &err) != TR_OK)
        tr_log(TR_LOG_WARN, "the slot could not be moved: it is when the pipeline goes on",
               "slot=%s code=%s", source->settings.slot_name, tr_error_info(err.code)->name);
}

void tr_pg_catchup_close(struct tr_pg_catchup *catchup)
{
    for (unsigned i = 0; i < TR_PG_LANES; i++) {
        tr_pg_disconnect(&catchup->lanes[i].conn);
        catchup->lanes[i].state = TR_PG_LANE_IDLE;
        catchup->lanes[i].has_slot = false;
    }
    catchup->is_on = false;
    tr_metric_set(&active_metric, 0);
}
