/* Following the log: START_REPLICATION … LOGICAL, pgoutput protocol version 1.
 *
 * Framing inside the copy stream (all integers big-endian):
 *   server → 'w' Int64(start LSN of the data) Int64(server's end) Int64(time) payload
 *            'k' Int64(server's end) Int64(time) Int8(1 = answer at once)
 *   client → 'r' Int64(written) Int64(flushed) Int64(applied) Int64(time) Int8(1 = answer)
 * https://www.postgresql.org/docs/current/protocol-replication.html
 *
 * Positions. Only acknowledge() moves what is reported as flushed, and it comes after the
 * checkpoint is on disk. When no transaction is under way, the end that a keepalive names is a
 * place where nothing before it is still to come: an IDLE commit carries it, so that an idle table
 * pins no log. It is sent every heartbeat.interval, after 16 MB, or when the server asks for an
 * answer (a server that shuts down waits until we have confirmed everything).
 *
 * A long log is first read in chunks by SQL: catchup.c. Its messages are the same, and come from
 * catchup's connection; stream->conn is opened when they have been taken. How a backlog is read
 * from a walsender, and why with pauses: pace.c.
 *
 * Threads: everything on the reader's thread, but acknowledged_lsn, which acknowledge() stores. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "base/outbuf.h"
#include "decode/cursor.h"
#include "source/postgres/catchup.h"
#include "source/postgres/pace.h"
#include "source/postgres/source.h"

#define HEADER_BYTES 25    /* 'w' and three Int64 */
#define KEEPALIVE_BYTES 18 /* 'k', two Int64, one byte */
#define STATUS_BYTES 34    /* 'r', four Int64, one byte */
#define PG_EPOCH_US INT64_C(946684800000000)
#define HOLD_BYTES (16u << 10) /* larger messages are held, smaller ones copied */
#define IDLE_WAL_BYTES (16u << 20)
#define STATUS_MIN_MS 1000    /* between statuses that only report a moved position */
#define STATUS_MAX_MS 10000   /* the longest silence of ours */
#define SILENCE_MAX_MS 300000 /* the longest silence of the server's that is believed */
#define HEALTH_MS 30000
#define TABLES_LOOK_MS 300000
#define IDLE_ASKED_MIN_MS 200 /* between idle commits that the server asked for */

struct tr_pg_stream {
    struct tr_pg_conn conn;
    struct tr_pgoutput *decoder;
    struct tr_pg_catchup catchup;
    bool streaming;          /* START_REPLICATION was answered */
    uint64_t txn_commit_lsn; /* of the transaction under way */
    uint64_t idle_lsn;       /* nothing before it is still to come */
    uint64_t emitted_lsn;    /* carried by the last commit event */
    int64_t idle_ts_us;
    int64_t drain_ms;   /* when the last look at messages began */
    int64_t emitted_ms; /* when the last commit event was made, to a look */
    int64_t status_ms;  /* when the last status was sent */
    uint64_t status_lsn;
    int64_t status_max_ms;
    bool answer_asked; /* the server wants a status */
    bool idle_asked;   /* … and to hear how far we are */
    int64_t heard_ms;  /* when the server last said something */
    int64_t health_ms, tables_look_ms;
    struct tr_pg_pace pace;
    struct tr_pg_logged pending;        /* a message that did not fit into its batch */
    const struct tr_table *bound_table; /* the last one asked for in load_bounds, and the answer */
    uint64_t skip_lsn, soft_lsn;
};

static void store_u64(char *at, uint64_t value)
{
    for (int i = 7; i >= 0; i--, value >>= 8)
        at[i] = (char)(value & 0xff);
}

/* ---- start ---------------------------------------------------------------------------------- */

static enum tr_status on_relation(void *ctx, const struct tr_pgoutput_relation *relation,
                                  struct tr_batch *batch, const struct tr_table **table,
                                  struct tr_error *err)
{
    struct tr_pg_source *source = ctx;
    source->stream->bound_table = NULL;
    return tr_pg_relation_message(source, relation, source->stream->txn_commit_lsn, batch, table,
                                  err);
}

static void start_command(const struct tr_pg_source *source, struct tr_outbuf *sql)
{
    char lsn[TR_PG_LSN_BYTES];
    struct tr_outbuf name = {0};
    tr_outbuf_lit(sql, "START_REPLICATION SLOT ");
    tr_pg_put_identifier(sql, source->settings.slot_name);
    tr_outbuf_printf(sql, " LOGICAL %s (proto_version '1', publication_names ",
                     tr_lsn_format(source->stream_lsn, lsn, sizeof lsn));
    tr_pg_put_identifier(&name, source->settings.publication_name);
    tr_outbuf_byte(sql, '\''); /* replication commands have no E'' strings */
    for (const char *c = tr_outbuf_cstr(&name); *c != '\0'; c++) {
        if (*c == '\'')
            tr_outbuf_byte(sql, *c);
        tr_outbuf_byte(sql, *c);
    }
    tr_outbuf_byte(sql, '\'');
    if (source->server.version >= 140000)
        tr_outbuf_lit(sql, ", messages 'true'");
    tr_outbuf_lit(sql, ")");
    tr_outbuf_free(&name);
}

/* What an error of the replication connection means beyond its SQLSTATE's class. */
static enum tr_status fail_stream(struct tr_pg_source *source, const PGresult *result,
                                  struct tr_error *err)
{
    (void)tr_pg_fail_result(err, result, source->stream->conn.pg, "follow the log");
    const struct tr_pg_settings *settings = &source->settings;
    bool about_publication = strstr(err->message, settings->publication_name) != NULL;
    if (tr_pg_is_sqlstate(result, "42704") && about_publication) {
        err->code = TR_E_PG_PUBLICATION;
        (void)tr_hint(
            err, "The publication was dropped, or made after the position that the stream is "
                 "at. If it is gone, make it again and restart; if it was made later, copy the "
                 "tables again: `tailrace drop FILE`, then `tailrace run FILE`.");
    } else if (tr_pg_is_sqlstate(result, "42704")) {
        err->code = TR_E_PG_SLOT_MISSING;
        (void)tr_hint(err,
                      "Copy the tables again: `tailrace drop FILE`, then `tailrace run FILE`.");
    } else if ((tr_pg_is_sqlstate(result, "55000") && strstr(err->message, "slot") != NULL) ||
               tr_pg_is_sqlstate(result, "58P01")) { /* invalidated; its log was removed */
        err->code = TR_E_PG_SLOT_LOST;
        (void)tr_hint(
            err, "Copy the tables again: `tailrace drop FILE`, then `tailrace run FILE`; raise "
                 "max_slot_wal_keep_size.");
    }
    err->class = tr_error_info(err->code)->class;
    return TR_FAIL;
}

static enum tr_status begin_copy(struct tr_pg_source *source, struct tr_error *err)
{
    struct tr_pg_stream *stream = source->stream;
    struct tr_outbuf sql = {0};
    PGresult *result = NULL;
    enum tr_status status = TR_FAIL;
    start_command(source, &sql);
    if (sql.failed || !PQsendQuery(stream->conn.pg, tr_outbuf_cstr(&sql))) {
        (void)tr_pg_fail_result(err, NULL, stream->conn.pg, "follow the log");
        goto cleanup;
    }
    int64_t deadline_ms = tr_clock_mono_ms() + TR_PG_QUERY_TIMEOUT_MS;
    while (PQisBusy(stream->conn.pg)) {
        bool woken = false;
        if (tr_pg_wait(&stream->conn, false, 1000, &woken) == TR_OK &&
            !PQconsumeInput(stream->conn.pg)) {
            (void)fail_stream(source, NULL, err);
            goto cleanup;
        }
        if (woken || tr_clock_mono_ms() > deadline_ms) {
            (void)tr_fail(err, woken ? TR_E_INTERRUPTED : TR_E_PG_BUSY,
                          "the server did not begin to stream in time");
            goto cleanup;
        }
    }
    result = PQgetResult(stream->conn.pg);
    if (PQresultStatus(result) != PGRES_COPY_BOTH) {
        (void)fail_stream(source, result, err);
        goto cleanup;
    }
    stream->streaming = true;
    status = TR_OK;
cleanup:
    PQclear(result);
    tr_outbuf_free(&sql);
    return status;
}

/* Our silence must stay well below the server's patience. */
static enum tr_status read_timeout(struct tr_pg_source *source, struct tr_error *err)
{
    PGresult *row = NULL;
    struct tr_pg_stream *stream = source->stream;
    stream->status_max_ms = STATUS_MAX_MS;
    if (tr_pg_exec(&stream->conn, "read wal_sender_timeout",
                   "SELECT setting FROM pg_catalog.pg_settings WHERE name = 'wal_sender_timeout'",
                   TR_PG_QUERY_TIMEOUT_MS, &row, err) != TR_OK)
        return TR_FAIL;
    int64_t timeout_ms = PQntuples(row) == 1 ? tr_pg_int(row, 0, 0) : 0;
    if (timeout_ms > 0 && timeout_ms / 3 < stream->status_max_ms)
        stream->status_max_ms = timeout_ms / 3 > 50 ? timeout_ms / 3 : 50;
    PQclear(row);
    return TR_OK;
}

/* A walsender that sends what lies behind source->stream_lsn. */
static enum tr_status follow(struct tr_pg_source *source, struct tr_error *err)
{
    struct tr_pg_stream *stream = source->stream;
    char text[TR_PG_LSN_BYTES];
    if (tr_pg_connect(&source->settings, true, source->wake_fds[0], &stream->conn, err) != TR_OK ||
        read_timeout(source, err) != TR_OK || begin_copy(source, err) != TR_OK)
        return TR_FAIL;
    if (PQsetnonblocking(stream->conn.pg, 1) != 0)
        return tr_pg_fail_result(err, NULL, stream->conn.pg, "follow the log");
    tr_pg_pace_init(&stream->pace, PQsocket(stream->conn.pg), PQsslInUse(stream->conn.pg) != 0,
                    source->settings.options->gather_us);
    stream->status_ms = stream->heard_ms = tr_clock_mono_ms();
    tr_log(TR_LOG_INFO, "following the log", "slot=%s lsn=%s tls=%s", source->settings.slot_name,
           tr_lsn_format(source->stream_lsn, text, sizeof text),
           PQsslInUse(stream->conn.pg) ? PQsslAttribute(stream->conn.pg, "protocol") : "no");
    return TR_OK;
}

/* The slot as it is, once nobody else uses it. */
static enum tr_status take_slot(struct tr_pg_source *source, struct tr_pg_slot *slot,
                                struct tr_error *err)
{
    if (tr_pg_source_sql(source, err) != TR_OK ||
        tr_pg_slot_load(&source->sql, &source->server, source->settings.slot_name, slot, err) !=
            TR_OK)
        return TR_FAIL;
    return tr_pg_wait_inactive(source, slot, err);
}

static bool is_catching_up(const struct tr_pg_stream *stream) { return stream->catchup.is_on; }

static bool is_open(const struct tr_pg_stream *stream)
{
    return stream != NULL && (stream->streaming || is_catching_up(stream));
}

enum tr_status tr_pg_stream_start(struct tr_pg_source *source, struct tr_error *err)
{
    if (TR_FAILPOINT("source.postgres.after_copy") != 0)
        return tr_fail(err, TR_E_PG_CONNECT, "failpoint source.postgres.after_copy");
    tr_pg_snapshot_close(source);
    if (source->bounded)
        return TR_OK;
    tr_pg_stream_close(source);
    struct tr_pg_stream *stream = calloc(1, sizeof *stream);
    if (stream == NULL)
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for the stream");
    source->stream = stream;
    stream->conn.wake_fd = -1;
    struct tr_pgoutput_callbacks callbacks = {on_relation, source};
    struct tr_pg_slot slot = {0};
    stream->heard_ms = stream->emitted_ms = tr_clock_mono_ms();
    stream->health_ms = stream->tables_look_ms = stream->emitted_ms;
    stream->idle_lsn = stream->emitted_lsn = source->stream_lsn;
    atomic_store(&source->progress.read_lsn, source->stream_lsn);
    if (tr_pgoutput_new(&callbacks, &stream->decoder, err) != TR_OK ||
        take_slot(source, &slot, err) != TR_OK ||
        tr_pg_catchup_begin(source, &slot, &stream->catchup, err) != TR_OK)
        return TR_FAIL;
    return is_catching_up(stream) ? TR_OK : follow(source, err);
}

void tr_pg_stream_close(struct tr_pg_source *source)
{
    struct tr_pg_stream *stream = source->stream;
    if (stream == NULL)
        return;
    tr_pg_disconnect(&stream->conn);
    tr_pg_catchup_close(&stream->catchup);
    tr_pgoutput_free(stream->decoder);
    PQfreemem(stream->pending.buffer);
    free(stream);
    source->stream = NULL;
}

/* ---- status --------------------------------------------------------------------------------- */

/* Sends a status when it is due. Never blocks: a full socket is tried again at the next call. */
static enum tr_status send_status(struct tr_pg_source *source, bool force, struct tr_error *err)
{
    struct tr_pg_stream *stream = source->stream;
    if (is_catching_up(stream))
        return TR_OK; /* the slot is moved between chunks */
    int64_t now_ms = tr_clock_mono_ms();
    uint64_t lsn = atomic_load(&source->progress.acknowledged_lsn);
    bool moved = lsn != stream->status_lsn && now_ms - stream->status_ms >= STATUS_MIN_MS;
    bool silent = now_ms - stream->status_ms >= stream->status_max_ms;
    if (moved || silent || stream->answer_asked || force) {
        if (lsn != stream->status_lsn && TR_FAILPOINT("source.postgres.before_ack") != 0)
            return tr_fail(err, TR_E_PG_CONNECT, "failpoint source.postgres.before_ack");
        char message[STATUS_BYTES];
        message[0] = 'r';
        store_u64(message + 1, lsn);
        store_u64(message + 9, lsn);
        store_u64(message + 17, lsn);
        store_u64(message + 25, (uint64_t)(tr_clock_wall_us() - PG_EPOCH_US));
        message[33] = silent ? 1 : 0; /* hear from it, and where it is */
        int sent = PQputCopyData(stream->conn.pg, message, sizeof message);
        if (sent < 0)
            return tr_pg_fail_result(err, NULL, stream->conn.pg, "confirm the position");
        if (sent > 0) {
            stream->status_ms = now_ms;
            stream->status_lsn = lsn;
            stream->answer_asked = false;
        }
    }
    if (PQflush(stream->conn.pg) < 0)
        return tr_pg_fail_result(err, NULL, stream->conn.pg, "confirm the position");
    return TR_OK;
}

/* ---- messages ------------------------------------------------------------------------------- */

/* The bounds of the event's table, looked up once for a run of its rows. */
static void load_bounds(struct tr_pg_source *source, const struct tr_table *table)
{
    struct tr_pg_stream *stream = source->stream;
    if (table == stream->bound_table)
        return;
    stream->bound_table = table;
    const struct tr_pg_known *known = tr_pg_known_held(&source->known, (uint32_t)table->source_id);
    stream->skip_lsn = known == NULL ? 0 : known->skip_lsn;
    stream->soft_lsn = known == NULL ? 0 : known->soft_lsn;
}

/* An update of the key that the copy has seen already: the old row may never have been copied, and
 * the new one is there as a whole, with the large values that the log does not repeat. A sink that
 * moves the old row would lose the new one; so the old key is deleted, and the new row updated
 * where it is. */
static void split_key_change(struct tr_batch *batch, uint32_t index)
{
    struct tr_event *event = &batch->events[index];
    memmove(event + 1, event, (batch->event_count - index) * sizeof *event);
    batch->event_count++;
    event[0].op = TR_OP_DELETE;
    event[0].after = NULL;
    event[0].flags &= (uint16_t)~TR_EV_KEY_CHANGED;
    event[1].before = NULL;
    event[1].flags &= (uint16_t) ~(TR_EV_KEY_CHANGED | TR_EV_BEFORE_KEY_ONLY);
}

/* Rows whose transaction commits before their table's copy. A message makes one row event, or
 * several TRUNCATEs; tr_batch_full leaves room for the one that split_key_change adds. */
static void settle_copied(struct tr_pg_source *source, struct tr_batch *batch, uint32_t from)
{
    struct tr_pg_stream *stream = source->stream;
    uint32_t to = from;
    for (uint32_t i = from; i < batch->event_count; i++) {
        struct tr_event *event = &batch->events[i];
        bool row = event->table != NULL && event->op != TR_OP_SCHEMA;
        if (row)
            load_bounds(source, event->table);
        if (row && event->commit_position < stream->skip_lsn)
            continue;
        if (to != i)
            batch->events[to] = *event;
        to++;
    }
    batch->event_count = to;
    for (uint32_t i = from; i < batch->event_count; i++) {
        struct tr_event *event = &batch->events[i];
        if ((event->flags & TR_EV_KEY_CHANGED) == 0 || event->op != TR_OP_UPDATE)
            continue;
        load_bounds(source, event->table);
        if (event->commit_position < stream->soft_lsn && batch->event_count < TR_BATCH_EVENTS_MAX)
            split_key_change(batch, i++);
    }
}

/* Marks of tables that changed, and of bounds that are passed, ride on this commit. */
static enum tr_status add_marks(struct tr_pg_source *source, struct tr_batch *batch,
                                struct tr_event *commit, uint64_t end_lsn, struct tr_error *err)
{
    struct tr_pg_marks marks;
    if (!tr_pg_known_marks_due(&source->known, end_lsn))
        return TR_OK;
    tr_pg_marks_init(&marks, &batch->arena);
    tr_pg_marks_add_lsn(&marks, "lsn", end_lsn);
    tr_pg_known_add_marks(&source->known, end_lsn, &marks);
    source->stream->bound_table = NULL;
    if (marks.failed)
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for marks");
    commit->marks = marks.items;
    commit->mark_count = marks.count;
    return TR_OK;
}

static enum tr_status finish_events(struct tr_pg_source *source, struct tr_batch *batch,
                                    uint32_t from, struct tr_error *err)
{
    struct tr_pg_stream *stream = source->stream;
    if (batch->event_count == from)
        return TR_OK;
    if (source->known.bound_count > 0)
        settle_copied(source, batch, from);
    if (batch->event_count == from)
        return TR_OK;
    for (uint32_t i = from; source->known.silent_count > 0 && i < batch->event_count; i++) {
        if (tr_pg_announce_silent(source, batch, i, err) != TR_OK)
            return TR_FAIL;
    }
    struct tr_event *last = &batch->events[batch->event_count - 1];
    if (last->op != TR_OP_COMMIT)
        return TR_OK;
    stream->emitted_lsn = last->position;
    stream->emitted_ms = stream->drain_ms;
    return add_marks(source, batch, last, last->position, err);
}

/* The message is ours. TR_AGAIN: the batch took a part; the same message again with the next batch.
 */
static enum tr_status take_data(struct tr_pg_source *source, struct tr_pg_logged message,
                                int64_t recv_ts_us, struct tr_batch *batch, struct tr_error *err)
{
    struct tr_pg_stream *stream = source->stream;
    struct tr_slice payload = {message.buffer + message.payload_at, message.payload_len};
    uint32_t from = batch->event_count;
    bool hold = message.buffer_len >= HOLD_BYTES;
    if (payload.len >= 9 && payload.ptr[0] == 'B')
        stream->txn_commit_lsn = tr_load_u64(payload.ptr + 1);
    enum tr_status status =
        tr_pgoutput_decode(stream->decoder, payload, !hold, message.lsn, recv_ts_us, batch, err);
    if (status == TR_FAIL || finish_events(source, batch, from, err) != TR_OK) {
        PQfreemem(message.buffer); /* nobody reads the batch of a failed call */
        return TR_FAIL;
    }
    if (status == TR_AGAIN) {
        stream->pending = message;
        return TR_AGAIN;
    }
    if (!tr_pgoutput_in_transaction(stream->decoder)) {
        uint64_t end_lsn = tr_pgoutput_last_end_lsn(stream->decoder);
        if (end_lsn > stream->idle_lsn) {
            stream->idle_lsn = end_lsn;
            stream->idle_ts_us = recv_ts_us;
            atomic_store_explicit(&source->progress.read_lsn, end_lsn, memory_order_relaxed);
        }
    }
    if (!hold) {
        PQfreemem(message.buffer);
    } else if (!tr_batch_hold(batch, message.buffer, message.buffer_len, PQfreemem)) {
        PQfreemem(message.buffer);
        return tr_fail(err, TR_E_INTERNAL, "a batch has no room for a large message");
    }
    return TR_OK;
}

static void take_keepalive(struct tr_pg_source *source, const char *buffer)
{
    struct tr_pg_stream *stream = source->stream;
    uint64_t end_lsn = tr_load_u64(buffer + 1);
    bool asked = buffer[17] != 0;
    atomic_store_explicit(&source->progress.server_lsn, end_lsn, memory_order_relaxed);
    if (!tr_pgoutput_in_transaction(stream->decoder) && end_lsn > stream->idle_lsn) {
        stream->idle_lsn = end_lsn;
        stream->idle_ts_us = (int64_t)tr_load_u64(buffer + 9) + PG_EPOCH_US;
        atomic_store_explicit(&source->progress.read_lsn, end_lsn, memory_order_relaxed);
    }
    stream->answer_asked |= asked;
    stream->idle_asked |= asked;
}

/* ---- the end of the stream ------------------------------------------------------------------ */

static enum tr_status fail_ended(struct tr_pg_source *source, struct tr_error *err)
{
    PGresult *result = PQgetResult(source->stream->conn.pg);
    enum tr_status status;
    if (PQresultStatus(result) == PGRES_FATAL_ERROR)
        status = fail_stream(source, result, err);
    else
        status = tr_fail(err, TR_E_PG_SHUTDOWN, "the server ended the stream");
    PQclear(result);
    return status;
}

/* ---- what has arrived ----------------------------------------------------------------------- */

/* From a walsender. message->buffer stays NULL when it was a keepalive. */
static enum tr_status next_sent(struct tr_pg_source *source, struct tr_pg_logged *message,
                                struct tr_error *err)
{
    struct tr_pg_stream *stream = source->stream;
    char *buffer = NULL;
    int len = PQgetCopyData(stream->conn.pg, &buffer, 1);
    if (len == 0)
        return TR_AGAIN;
    if (len == -1)
        return fail_ended(source, err);
    if (len < 0)
        return tr_pg_fail_result(err, NULL, stream->conn.pg, "follow the log");
    stream->pace.look_bytes += (size_t)len;
    if (buffer[0] == 'w' && len > HEADER_BYTES) {
        uint64_t end_lsn = tr_load_u64(buffer + 9);
        if (end_lsn > atomic_load_explicit(&source->progress.server_lsn, memory_order_relaxed))
            atomic_store_explicit(&source->progress.server_lsn, end_lsn, memory_order_relaxed);
        *message = (struct tr_pg_logged){.buffer = buffer,
                                         .buffer_len = (size_t)len,
                                         .payload_at = HEADER_BYTES,
                                         .payload_len = (size_t)len - HEADER_BYTES,
                                         .lsn = tr_load_u64(buffer + 1)};
        return TR_OK;
    }
    enum tr_status status = TR_OK;
    if (buffer[0] == 'k' && len == KEEPALIVE_BYTES)
        take_keepalive(source, buffer);
    else
        status = tr_fail(err, TR_E_PG_PROTOCOL,
                         "the server sent a message of kind 0x%02x and %d bytes in the stream",
                         (unsigned)(uint8_t)buffer[0], len);
    PQfreemem(buffer);
    return status;
}

/* From a chunk of the log. After the last one a walsender goes on, from where the chunks end. */
static enum tr_status next_in_chunk(struct tr_pg_source *source, struct tr_pg_logged *message,
                                    struct tr_error *err)
{
    struct tr_pg_stream *stream = source->stream;
    struct tr_pg_catchup *catchup = &stream->catchup;
    struct tr_pg_slot slot;
    uint64_t before = catchup->position;
    enum tr_status status = tr_pg_catchup_next(source, catchup, message, err);
    if (status == TR_FAIL)
        return TR_FAIL;
    if (catchup->position > before && tr_pgoutput_in_transaction(stream->decoder)) {
        PQfreemem(message->buffer);
        return tr_fail(err, TR_E_PG_PROTOCOL, "a chunk of the log ended in a transaction");
    }
    if (catchup->position > stream->idle_lsn) {
        stream->idle_lsn = catchup->position;
        stream->idle_ts_us = tr_clock_wall_us();
        atomic_store_explicit(&source->progress.read_lsn, catchup->position, memory_order_relaxed);
    }
    if (status != TR_END)
        return status;
    source->stream_lsn = catchup->position;
    tr_pg_catchup_close(catchup);
    if (take_slot(source, &slot, err) != TR_OK || follow(source, err) != TR_OK)
        return TR_FAIL;
    return TR_AGAIN;
}

/* Takes messages that have arrived until the batch is full or there are no more. */
static enum tr_status drain(struct tr_pg_source *source, struct tr_batch *batch, bool *any,
                            struct tr_error *err)
{
    struct tr_pg_stream *stream = source->stream;
    int64_t recv_ts_us = 0;
    *any = false;
    while (!tr_batch_full(batch)) {
        struct tr_pg_logged message = stream->pending;
        enum tr_status status = TR_OK;
        stream->pending = (struct tr_pg_logged){0};
        if (message.buffer == NULL)
            status = is_catching_up(stream) ? next_in_chunk(source, &message, err)
                                            : next_sent(source, &message, err);
        if (status != TR_OK)
            return status == TR_AGAIN ? TR_OK : TR_FAIL;
        if (recv_ts_us == 0) {
            recv_ts_us = tr_clock_wall_us();
            stream->drain_ms = tr_clock_mono_ms();
        }
        *any = true;
        if (message.buffer != NULL)
            status = take_data(source, message, recv_ts_us, batch, err);
        if (status != TR_OK)
            return status == TR_AGAIN ? TR_OK : TR_FAIL;
        if (TR_FAILPOINT("source.postgres.stream_cut") != 0)
            return tr_fail(err, TR_E_PG_CONNECT, "failpoint source.postgres.stream_cut");
    }
    return TR_OK;
}

/* ---- reading -------------------------------------------------------------------------------- */

/* The commit that ends the snapshot: from here on only the stream counts. */
static enum tr_status give_start_commit(struct tr_pg_source *source, struct tr_batch *batch,
                                        struct tr_error *err)
{
    struct tr_pg_marks marks;
    struct tr_event *event;
    tr_pg_marks_init(&marks, &batch->arena);
    tr_pg_marks_add(&marks, source->source_id, "source.id");
    tr_pg_marks_add_lsn(&marks, "lsn", source->stream_lsn);
    tr_pg_marks_add(&marks, "done", "snapshot");
    tr_pg_marks_add(&marks, "", "snapshot/*");
    tr_pg_marks_add(&marks, "", "copy/*");
    tr_pg_marks_add(&marks, "", "plan/*");
    tr_pg_marks_add(&marks, "", "chunk/*");
    if (tr_pg_marks_commit(&marks, batch, &event, err) != TR_OK)
        return TR_FAIL;
    event->flags = TR_EV_IDLE | TR_EV_SNAPSHOT;
    event->position = event->commit_position = source->stream_lsn;
    event->ts_us = event->recv_ts_us = tr_clock_wall_us();
    source->start_commit = false;
    return TR_OK;
}

static enum tr_status give_idle(struct tr_pg_source *source, struct tr_batch *batch,
                                struct tr_error *err)
{
    struct tr_pg_stream *stream = source->stream;
    int64_t now_ms = tr_clock_mono_ms();
    uint64_t moved = stream->idle_lsn - stream->emitted_lsn;
    if (stream->idle_lsn <= stream->emitted_lsn || tr_batch_full(batch) ||
        tr_pgoutput_in_transaction(stream->decoder))
        return TR_OK;
    int64_t since_ms = now_ms - stream->emitted_ms;
    if (since_ms < source->settings.options->heartbeat_ms && moved < IDLE_WAL_BYTES &&
        !(stream->idle_asked && since_ms >= IDLE_ASKED_MIN_MS))
        return TR_OK;
    struct tr_pg_marks marks;
    struct tr_event *event;
    tr_pg_marks_init(&marks, &batch->arena);
    tr_pg_marks_add_lsn(&marks, "lsn", stream->idle_lsn);
    if (tr_pg_marks_commit(&marks, batch, &event, err) != TR_OK)
        return TR_FAIL;
    event->flags = TR_EV_IDLE;
    event->position = event->commit_position = stream->idle_lsn;
    event->ts_us = stream->idle_ts_us;
    event->recv_ts_us = tr_clock_wall_us();
    stream->emitted_lsn = stream->idle_lsn;
    stream->emitted_ms = now_ms;
    stream->idle_asked = false;
    return add_marks(source, batch, event, stream->idle_lsn, err);
}

static void look_after(struct tr_pg_source *source)
{
    struct tr_pg_stream *stream = source->stream;
    int64_t now_ms = tr_clock_mono_ms();
    if (now_ms - stream->health_ms < HEALTH_MS || tr_pgoutput_in_transaction(stream->decoder))
        return;
    bool look_for_tables = now_ms - stream->tables_look_ms >= TABLES_LOOK_MS;
    tr_pg_health(source, look_for_tables);
    stream->health_ms = tr_clock_mono_ms();
    if (look_for_tables)
        stream->tables_look_ms = stream->health_ms;
}

static struct tr_pg_conn *live_conn(struct tr_pg_stream *stream)
{
    return is_catching_up(stream) ? tr_pg_catchup_conn(&stream->catchup) : &stream->conn;
}

/* Waits for the socket, no longer than until the deadline or the next status. TR_AGAIN: woken. */
static enum tr_status await(struct tr_pg_source *source, int64_t deadline_ms, struct tr_error *err)
{
    struct tr_pg_stream *stream = source->stream;
    struct tr_pg_conn *conn = live_conn(stream);
    int64_t now_ms = tr_clock_mono_ms(), wait_ms = deadline_ms - now_ms;
    int64_t status_ms = stream->status_ms + stream->status_max_ms - now_ms;
    if (atomic_load(&source->progress.acknowledged_lsn) != stream->status_lsn)
        status_ms = stream->status_ms + STATUS_MIN_MS - now_ms;
    if (!is_catching_up(stream) && status_ms < wait_ms)
        wait_ms = status_ms;
    if (wait_ms < 0)
        wait_ms = 0;
    bool woken = false;
    int64_t before_us = tr_clock_mono_us();
    enum tr_status status = tr_pg_wait(conn, PQflush(conn->pg) == 1, (int)wait_ms, &woken);
    if (woken)
        return TR_AGAIN;
    if (!is_catching_up(stream))
        tr_pg_pace_waited(&stream->pace, status == TR_OK, tr_clock_mono_us() - before_us);
    now_ms = tr_clock_mono_ms();
    if (status == TR_OK)
        stream->heard_ms = now_ms;
    else if (now_ms - stream->heard_ms > SILENCE_MAX_MS)
        return tr_fail(err, TR_E_PG_CONNECT, "the server has been silent for %d s",
                       SILENCE_MAX_MS / 1000);
    return TR_OK;
}

static enum tr_status consume(struct tr_pg_source *source, struct tr_error *err)
{
    const struct tr_pg_conn *conn = live_conn(source->stream);
    if (PQconsumeInput(conn->pg))
        return TR_OK;
    return tr_pg_fail_result(err, NULL, conn->pg, "follow the log");
}

enum tr_status tr_pg_stream_read(struct tr_pg_source *source, struct tr_batch *batch,
                                 int timeout_ms, struct tr_error *err)
{
    if (source->start_commit)
        return give_start_commit(source, batch, err);
    if (source->bounded)
        return TR_END;
    struct tr_pg_stream *stream = source->stream;
    if (!is_open(stream))
        return tr_fail(err, TR_E_INTERNAL, "the source was read before its stream was opened");
    int64_t deadline_ms = tr_clock_mono_ms() + timeout_ms;
    uint32_t from = batch->event_count;
    for (bool looked = false;; looked = true) {
        bool any;
        if (drain(source, batch, &any, err) != TR_OK)
            return TR_FAIL;
        while (any && !tr_batch_full(batch) &&
               (is_catching_up(stream) || tr_pg_pace_read_on(&stream->pace))) {
            /* once more without waiting: the socket, and TLS's own buffer, may hold more */
            if (consume(source, err) != TR_OK || drain(source, batch, &any, err) != TR_OK)
                return TR_FAIL;
        }
        if (give_idle(source, batch, err) != TR_OK || send_status(source, false, err) != TR_OK)
            return TR_FAIL;
        if (batch->event_count > from)
            return TR_OK;
        look_after(source);
        if (looked && tr_clock_mono_ms() >= deadline_ms)
            return TR_AGAIN;
        enum tr_status status = await(source, deadline_ms, err);
        if (status != TR_OK)
            return status;
        if (consume(source, err) != TR_OK)
            return TR_FAIL;
    }
}

enum tr_status tr_pg_stream_keepalive(struct tr_pg_source *source, struct tr_error *err)
{
    struct tr_pg_stream *stream = source->stream;
    if (!is_open(stream))
        return TR_OK;
    stream->heard_ms = tr_clock_mono_ms(); /* nothing is read: its silence means nothing */
    tr_pg_catchup_keepalive(&stream->catchup);
    return send_status(source, false, err);
}

/* ---- finish --------------------------------------------------------------------------------- */

enum tr_status tr_pg_stream_finish(struct tr_pg_source *source, int timeout_ms,
                                   struct tr_error *err)
{
    struct tr_pg_stream *stream = source->stream;
    if (stream != NULL && is_catching_up(stream))
        tr_pg_catchup_finish(source, &stream->catchup, timeout_ms);
    if (stream == NULL || !stream->streaming)
        return TR_OK;
    int64_t deadline_ms = tr_clock_mono_ms() + timeout_ms;
    enum tr_status status = send_status(source, true, err);
    if (status == TR_OK && PQputCopyEnd(stream->conn.pg, NULL) < 0)
        status = tr_pg_fail_result(err, NULL, stream->conn.pg, "end the stream");
    stream->conn.wake_fd = -1;
    while (status == TR_OK) { /* what was under way is thrown away: it comes again */
        char *buffer = NULL;
        int flushed = PQflush(stream->conn.pg);
        int len = PQgetCopyData(stream->conn.pg, &buffer, 1);
        if (len > 0) {
            PQfreemem(buffer);
            continue;
        }
        int64_t left_ms = deadline_ms - tr_clock_mono_ms();
        if (len < 0 || left_ms <= 0)
            break;
        if (tr_pg_wait(&stream->conn, flushed == 1, (int)left_ms, NULL) == TR_OK &&
            !PQconsumeInput(stream->conn.pg))
            break;
    }
    tr_pg_disconnect(&stream->conn);
    stream->streaming = false;
    return status;
}
