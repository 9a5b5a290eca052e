/* PostgreSQL's logical replication messages (pgoutput, protocol version 1) → batch. Pure; one
 * thread.
 *
 * Grammar, from "Logical Replication Message Formats" of the manual. IntN are big-endian, String
 * ends with NUL, Lsn = Int64, Ts = Int64 microseconds since 2000-01-01 UTC, Oid and Xid = Int32:
 *
 *   stream      = { transaction | Message(non-transactional) } ;
 *   transaction = Begin [Origin] { [Relation | Type] (Insert | Update | Delete | Truncate) |
 * Message } Commit ; Begin       = 'B' Lsn(commit record) Ts Xid ; Commit      = 'C' Int8(flags, 0)
 * Lsn(commit record) Lsn(end of transaction) Ts ; Origin      = 'O' Lsn(commit at the origin)
 * String(name) ; Relation    = 'R' Oid String(namespace, "" = pg_catalog) String(name) Int8(replica
 * identity) Int16(n) n*{ Int8(1 = in the replica identity) String(name) Oid(type) Int32(typmod) } ;
 *   Type        = 'Y' Oid String(namespace) String(name) ;
 *   Insert      = 'I' Oid 'N' Tuple ;
 *   Update      = 'U' Oid [ ('K' | 'O') Tuple ] 'N' Tuple ;
 *   Delete      = 'D' Oid ('K' | 'O') Tuple ;
 *   Truncate    = 'T' Int32(n) Int8(1 = CASCADE, 2 = RESTART IDENTITY) n*Oid ;
 *   Message     = 'M' Int8(1 = transactional) Lsn String(prefix) Int32(n) n*Byte ;
 *   Tuple       = Int16(n) n*{ 'n'                    NULL
 *                            | 'u'                    TOAST value that did not change, not sent
 *                            | 't' Int32(n) n*Byte    text form
 *                            | 'b' Int32(n) n*Byte    binary form } ;
 *
 * 'K' holds the replica identity's columns (the others are sent as NULL and become ABSENT), 'O' the
 * whole row of a table with REPLICA IDENTITY FULL. The kinds of streaming (S E c A) and of
 * two-phase commit (b P K r p) belong to options that tailrace does not ask for and are refused by
 * name.
 *
 * A message is read to its end through a cursor with a sticky error; only then is an event
 * published. Where one message makes several events (Truncate, Relation), a failure takes all of
 * them back. */
#include "decode/pgoutput.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "decode/cursor.h"
#include "decode/pgoutput_relations.h"

#define PG_EPOCH_US INT64_C(946684800000000) /* 2000-01-01 after 1970-01-01 */
#define MESSAGE_BYTES_MAX INT32_MAX          /* of PostgreSQL's frontend/backend protocol */
#define TEXT_HEADER_BYTES 5                  /* 't' and the length */
#define COLUMNS_MAX 1664                     /* PostgreSQL's MaxTupleAttributeNumber */
#define IDENTITY_FLAG 1

struct tr_pgoutput {
    struct tr_pgoutput_callbacks callbacks;
    struct tr_pgoutput_relations relations;
    struct tr_pgoutput_entry *last_entry; /* of the last row; NULL when the map has changed */
    struct tr_pgoutput_column *columns;   /* scratch for a Relation message: COLUMNS_MAX of them */

    bool in_transaction;
    bool has_origin;
    uint32_t txn_index;   /* of the next row: counts rows of tables that are not captured too, so
                             that an event keeps its name when the list of tables changes */
    uint64_t event_count; /* events given since Begin, over all batches */
    uint32_t txn_id;
    uint64_t commit_lsn;
    int64_t commit_us; /* since 1970 */
    char *origin;      /* buffer of origin_capacity bytes; valid when has_origin */
    size_t origin_capacity;

    uint64_t last_end_lsn;
    uint64_t
        last_wal_start;     /* the server sends Relation messages with position 0: they take this */
    uint32_t truncate_done; /* oids of a Truncate that an earlier batch took; 0 = none under way */
};

/* One message under way: what its functions share. */
struct message {
    struct tr_pgoutput *decoder;
    struct tr_cursor cursor;
    struct tr_batch *batch;
    const char *why; /* what is wrong beyond being too short; NULL = nothing */
    uint64_t wal_start;
    int64_t recv_ts_us;
};

enum tr_status tr_pgoutput_new(const struct tr_pgoutput_callbacks *callbacks,
                               struct tr_pgoutput **out, struct tr_error *err)
{
    struct tr_pgoutput *decoder = calloc(1, sizeof *decoder);
    if (decoder != NULL)
        decoder->columns = malloc(COLUMNS_MAX * sizeof *decoder->columns);
    if (decoder == NULL || decoder->columns == NULL) {
        free(decoder);
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for a decoder");
    }
    decoder->callbacks = *callbacks;
    *out = decoder;
    return TR_OK;
}

void tr_pgoutput_reset(struct tr_pgoutput *decoder)
{
    tr_pgoutput_relations_clear(&decoder->relations);
    decoder->last_entry = NULL;
    decoder->in_transaction = false;
    decoder->has_origin = false;
    decoder->last_end_lsn = 0;
    decoder->last_wal_start = 0;
    decoder->truncate_done = 0;
}

void tr_pgoutput_free(struct tr_pgoutput *decoder)
{
    if (decoder == NULL)
        return;
    tr_pgoutput_relations_clear(&decoder->relations);
    free(decoder->origin);
    free(decoder->columns);
    free(decoder);
}

bool tr_pgoutput_in_transaction(const struct tr_pgoutput *decoder)
{
    return decoder->in_transaction;
}

uint64_t tr_pgoutput_last_end_lsn(const struct tr_pgoutput *decoder)
{
    return decoder->last_end_lsn;
}

/* ---- failures ------------------------------------------------------------------------------- */

static const char *kind_name(char kind)
{
    switch (kind) {
    case 'B':
        return "Begin";
    case 'C':
        return "Commit";
    case 'O':
        return "Origin";
    case 'R':
        return "Relation";
    case 'Y':
        return "Type";
    case 'I':
        return "Insert";
    case 'U':
        return "Update";
    case 'D':
        return "Delete";
    case 'T':
        return "Truncate";
    case 'M':
        return "Message";
    case 'S':
        return "Stream Start";
    case 'E':
        return "Stream Stop";
    case 'c':
        return "Stream Commit";
    case 'A':
        return "Stream Abort";
    case 'b':
        return "Begin Prepare";
    case 'P':
        return "Prepare";
    case 'K':
        return "Commit Prepared";
    case 'r':
        return "Rollback Prepared";
    case 'p':
        return "Stream Prepare";
    default:
        return NULL;
    }
}

/* Whole and right so far? A message must be read to its last byte. */
static bool message_is_whole(const struct message *message)
{
    return !message->cursor.failed && message->why == NULL && tr_cursor_left(&message->cursor) == 0;
}

static enum tr_status malformed(const struct message *message, const char *kind,
                                struct tr_error *err)
{
    char lsn[24];
    const char *why = message->why != NULL               ? message->why
                      : message->cursor.failed           ? "it is cut short"
                      : tr_cursor_left(&message->cursor) ? "it has bytes behind its end"
                                                         : "it is not allowed here";
    (void)tr_fail(err, TR_E_PG_PROTOCOL, "the server sent a malformed %s message: %s", kind, why);
    return tr_detail(err, "WAL position %s", tr_lsn_format(message->wal_start, lsn, sizeof lsn));
}

static enum tr_status out_of_memory(struct tr_error *err)
{
    return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for an event");
}

/* ---- shared parts of events ----------------------------------------------------------------- */

/* The transaction's origin name in the batch's memory. Neighbours of one transaction share a copy.
 */
static const char *origin_in_batch(const struct tr_pgoutput *decoder, struct tr_batch *batch)
{
    if (batch->event_count >= 2) { /* the last one is the event that is being made */
        const struct tr_event *last = &batch->events[batch->event_count - 2];
        if (last->origin != NULL && last->commit_position == decoder->commit_lsn)
            return last->origin;
    }
    return tr_batch_copy(batch, decoder->origin, strlen(decoder->origin));
}

/* Everything that an event of the transaction under way has; event is the batch's last. */
static bool stamp(const struct message *message, struct tr_event *event)
{
    const struct tr_pgoutput *decoder = message->decoder;
    event->txn_index = decoder->txn_index;
    event->position = message->wal_start;
    event->commit_position = decoder->commit_lsn;
    event->prev_commit_position = decoder->last_end_lsn;
    event->ts_us = decoder->commit_us;
    event->recv_ts_us = message->recv_ts_us;
    event->txn_id = decoder->txn_id;
    if (__builtin_expect(decoder->has_origin, 0)) {
        event->origin = origin_in_batch(decoder, message->batch);
        return event->origin != NULL;
    }
    return true;
}

/* The batch's reference on an entry's table: a look at the remembered slot, a search once per
 * batch. */
static enum tr_status hold_table(struct tr_batch *batch, struct tr_pgoutput_entry *entry,
                                 struct tr_error *err)
{
    if (__builtin_expect(entry->batch_slot < batch->table_count &&
                             batch->tables[entry->batch_slot] == entry->table,
                         1))
        return TR_OK;
    if (tr_batch_table(batch, entry->table, err) != TR_OK)
        return TR_FAIL;
    for (uint32_t slot = batch->table_count; slot-- > 0;) {
        if (batch->tables[slot] == entry->table) {
            entry->batch_slot = slot;
            break;
        }
    }
    return TR_OK;
}

/* ---- tuples --------------------------------------------------------------------------------- */

/* A value that is neither text nor NULL, or none at all. NULL after a failure, which is left in the
 * message. */
static const char *read_odd_value(struct message *message, const struct tr_column *column,
                                  const char *at, struct tr_cell *cell)
{
    struct tr_cursor *cursor = &message->cursor;
    cursor->at = at;
    char kind = (char)tr_cursor_u8(cursor);
    *cell = (struct tr_cell){.state = TR_CELL_NULL};
    if (cursor->failed)
        return NULL;
    if (kind == 'u') {
        cell->state = TR_CELL_UNCHANGED;
    } else if (kind == 't' || kind == 'b') {
        cell->len = tr_cursor_u32(cursor);
        cell->ptr = tr_cursor_bytes(cursor, cell->len);
        cell->state = kind == 't' ? TR_CELL_TEXT : TR_CELL_BINARY;
        if (kind == 'b' && column->type != TR_T_BYTES)
            message->why = "it holds a binary value, which was not asked for";
    } else if (kind != 'n') {
        message->why = "it holds a value of an unknown kind";
    }
    return cursor->failed || message->why != NULL ? NULL : cursor->at;
}

/* One tuple into cells[table->column_count]. Failures are left in the message. The loop is the
 * hottest of all: text and NULL are read here, everything else elsewhere. */
static void read_tuple(struct message *message, const struct tr_table *table, struct tr_cell *cells)
{
    uint32_t count = tr_cursor_u16(&message->cursor);
    if (count != table->column_count) {
        message->why = "its number of columns is not that of the Relation message";
        return;
    }
    const char *at = message->cursor.at, *end = message->cursor.end;
    for (struct tr_cell *cell = cells, *stop = cells + count; cell < stop; cell++) {
        if (__builtin_expect(end - at >= TEXT_HEADER_BYTES && *at == 't', 1)) {
            uint32_t len = tr_load_u32(at + 1);
            at += TEXT_HEADER_BYTES;
            if (__builtin_expect((size_t)(end - at) < len, 0)) {
                message->cursor.failed = true;
                return;
            }
            cell->ptr = at;
            cell->len = len;
            cell->state = TR_CELL_TEXT;
            at += len;
            continue;
        }
        if (at != end && *at == 'n') {
            *cell = (struct tr_cell){.state = TR_CELL_NULL};
            at++;
            continue;
        }
        at = read_odd_value(message, &table->columns[cell - cells], at, cell);
        if (at == NULL)
            return;
    }
    message->cursor.at = at;
}

/* The old row behind 'K' or 'O'. */
static void read_old_tuple(struct message *message, const struct tr_pgoutput_entry *entry,
                           char mark, struct tr_cell *cells)
{
    read_tuple(message, entry->table, cells);
    if (message->cursor.failed || message->why != NULL)
        return;
    for (uint32_t i = 0; i < entry->column_count; i++) {
        if ((mark == 'K' && !entry->identity[i]) || cells[i].state == TR_CELL_UNCHANGED)
            cells[i].state = TR_CELL_ABSENT;
    }
}

/* What the old row knows, the new row need not leave open. */
static void fill_unchanged(const struct tr_table *table, const struct tr_cell *before,
                           struct tr_cell *after)
{
    for (uint32_t i = 0; i < table->column_count; i++) {
        if (after[i].state == TR_CELL_UNCHANGED &&
            (before[i].state == TR_CELL_TEXT || before[i].state == TR_CELL_BINARY))
            after[i] = before[i];
    }
}

static bool cells_differ(const struct tr_cell *a, const struct tr_cell *b)
{
    if (a->state != b->state)
        return true;
    return a->state != TR_CELL_NULL && (a->len != b->len || memcmp(a->ptr, b->ptr, a->len) != 0);
}

/* A 'K' image also comes when the key did not change but holds a TOAST value, so it is compared
 * too. */
static bool key_differs(const struct tr_table *table, const struct tr_cell *before,
                        const struct tr_cell *after)
{
    for (uint32_t i = 0; i < table->key_count; i++) {
        uint32_t column = table->key_columns[i];
        if (before[column].state != TR_CELL_ABSENT && after[column].state != TR_CELL_UNCHANGED &&
            cells_differ(&before[column], &after[column]))
            return true;
    }
    return false;
}

/* ---- rows ----------------------------------------------------------------------------------- */

/* The relation of a row message. TR_AGAIN: its table is not captured, and the row is counted. */
static enum tr_status row_relation(struct message *message, struct tr_pgoutput_entry **out,
                                   struct tr_error *err)
{
    struct tr_pgoutput *decoder = message->decoder;
    uint32_t oid = tr_cursor_u32(&message->cursor);
    if (message->cursor.failed)
        return malformed(message, "row", err);
    if (!decoder->in_transaction)
        return tr_fail(err, TR_E_PG_PROTOCOL, "the server sent a row outside a transaction");
    struct tr_pgoutput_entry *entry = decoder->last_entry;
    if (entry == NULL || entry->oid != oid)
        entry = tr_pgoutput_relations_find(&decoder->relations, oid);
    decoder->last_entry = entry;
    if (entry == NULL)
        return tr_fail(err, TR_E_PG_PROTOCOL,
                       "the server sent a row of the table with oid %" PRIu32
                       " without saying first what its columns are",
                       oid);
    if (entry->table == NULL) {
        decoder->txn_index++;
        return TR_AGAIN;
    }
    *out = entry;
    return TR_OK;
}

/* Publishes a row that was read to its end. */
static enum tr_status publish_row(struct message *message, struct tr_pgoutput_entry *entry,
                                  enum tr_op op, const struct tr_cell *before,
                                  const struct tr_cell *after, uint16_t flags, struct tr_error *err)
{
    struct tr_pgoutput *decoder = message->decoder;
    if (hold_table(message->batch, entry, err) != TR_OK)
        return TR_FAIL;
    struct tr_event *event = tr_batch_event(message->batch, op);
    if (event == NULL)
        return tr_fail(err, TR_E_INTERNAL, "a row was decoded into a full batch");
    event->table = entry->table;
    event->before = before;
    event->after = after;
    event->flags = flags;
    if (!stamp(message, event))
        return out_of_memory(err);
    decoder->txn_index++;
    decoder->event_count++;
    return TR_OK;
}

static enum tr_status decode_insert(struct message *message, struct tr_error *err)
{
    struct tr_pgoutput_entry *entry = NULL;
    enum tr_status status = row_relation(message, &entry, err);
    if (status != TR_OK)
        return status == TR_AGAIN ? TR_OK : TR_FAIL;
    struct tr_cell *after = tr_batch_cells(message->batch, entry->column_count);
    if (after == NULL)
        return out_of_memory(err);
    if (tr_cursor_u8(&message->cursor) != 'N')
        message->why = "it has no new row";
    else
        read_tuple(message, entry->table, after);
    if (!message_is_whole(message))
        return malformed(message, "Insert", err);
    return publish_row(message, entry, TR_OP_CREATE, NULL, after, 0, err);
}

static enum tr_status decode_update(struct message *message, struct tr_error *err)
{
    struct tr_pgoutput_entry *entry = NULL;
    enum tr_status status = row_relation(message, &entry, err);
    if (status != TR_OK)
        return status == TR_AGAIN ? TR_OK : TR_FAIL;
    struct tr_cell *before = NULL;
    struct tr_cell *after = tr_batch_cells(message->batch, entry->column_count);
    if (after == NULL)
        return out_of_memory(err);
    uint16_t flags = 0;
    char mark = (char)tr_cursor_u8(&message->cursor);
    if (mark == 'K' || mark == 'O') {
        before = tr_batch_cells(message->batch, entry->column_count);
        if (before == NULL)
            return out_of_memory(err);
        read_old_tuple(message, entry, mark, before);
        if (mark == 'K')
            flags |= TR_EV_BEFORE_KEY_ONLY;
        if (message->why == NULL)
            mark = (char)tr_cursor_u8(&message->cursor);
    }
    if (message->why == NULL) {
        if (mark != 'N')
            message->why = "it has no new row";
        else
            read_tuple(message, entry->table, after);
    }
    if (!message_is_whole(message))
        return malformed(message, "Update", err);
    if (before != NULL) {
        fill_unchanged(entry->table, before, after);
        if (key_differs(entry->table, before, after))
            flags |= TR_EV_KEY_CHANGED;
    }
    return publish_row(message, entry, TR_OP_UPDATE, before, after, flags, err);
}

static enum tr_status decode_delete(struct message *message, struct tr_error *err)
{
    struct tr_pgoutput_entry *entry = NULL;
    enum tr_status status = row_relation(message, &entry, err);
    if (status != TR_OK)
        return status == TR_AGAIN ? TR_OK : TR_FAIL;
    struct tr_cell *before = tr_batch_cells(message->batch, entry->column_count);
    if (before == NULL)
        return out_of_memory(err);
    char mark = (char)tr_cursor_u8(&message->cursor);
    if (mark == 'K' || mark == 'O')
        read_old_tuple(message, entry, mark, before);
    else
        message->why = "it has no old row";
    if (!message_is_whole(message))
        return malformed(message, "Delete", err);
    return publish_row(message, entry, TR_OP_DELETE, before, NULL,
                       mark == 'K' ? TR_EV_BEFORE_KEY_ONLY : 0, err);
}

/* One TRUNCATE event. The caller has made room. */
static enum tr_status publish_truncate(struct message *message, uint32_t oid, uint16_t flags,
                                       struct tr_error *err)
{
    struct tr_pgoutput_entry *entry = tr_pgoutput_relations_find(&message->decoder->relations, oid);
    if (entry == NULL)
        return tr_fail(err, TR_E_PG_PROTOCOL,
                       "the server truncated the table with oid %" PRIu32
                       " without saying first what its columns are",
                       oid);
    if (entry->table != NULL)
        return publish_row(message, entry, TR_OP_TRUNCATE, NULL, NULL, flags, err);
    message->decoder->txn_index++;
    return TR_OK;
}

static enum tr_status decode_truncate(struct message *message, struct tr_error *err)
{
    struct tr_pgoutput *decoder = message->decoder;
    uint32_t oid_count = tr_cursor_u32(&message->cursor);
    uint8_t bits = tr_cursor_u8(&message->cursor);
    const char *oids = tr_cursor_bytes(&message->cursor, (size_t)oid_count * 4);
    if (!decoder->in_transaction)
        message->why = "it is outside a transaction";
    else if (oid_count == 0)
        message->why = "it names no table";
    else if ((bits & ~3u) != 0)
        message->why = "it has unknown flags";
    if (!message_is_whole(message))
        return malformed(message, "Truncate", err);
    if (decoder->truncate_done >= oid_count)
        return tr_fail(err, TR_E_INTERNAL, "a Truncate was not gone on with by the same message");
    uint16_t flags = 0;
    if (bits & 1)
        flags |= TR_EV_TRUNCATE_CASCADE;
    if (bits & 2)
        flags |= TR_EV_TRUNCATE_RESTART;
    for (uint32_t i = decoder->truncate_done; i < oid_count; i++) {
        if (message->batch->event_count + 2 >= TR_BATCH_EVENTS_MAX) {
            decoder->truncate_done = i;
            return TR_AGAIN;
        }
        if (publish_truncate(message, tr_load_u32(oids + (size_t)i * 4), flags, err) != TR_OK)
            return TR_FAIL;
    }
    decoder->truncate_done = 0;
    return TR_OK;
}

/* ---- everything else ------------------------------------------------------------------------ */

static enum tr_status decode_begin(struct message *message, struct tr_error *err)
{
    struct tr_pgoutput *decoder = message->decoder;
    uint64_t commit_lsn = tr_cursor_u64(&message->cursor);
    int64_t pg_us = (int64_t)tr_cursor_u64(&message->cursor), us;
    uint32_t txn_id = tr_cursor_u32(&message->cursor);
    if (decoder->in_transaction)
        message->why = "a transaction is under way";
    if (__builtin_add_overflow(pg_us, PG_EPOCH_US, &us))
        message->why = "its time is out of range";
    if (!message_is_whole(message))
        return malformed(message, "Begin", err);
    decoder->in_transaction = true;
    decoder->has_origin = false;
    decoder->txn_index = 0;
    decoder->event_count = 0;
    decoder->txn_id = txn_id;
    decoder->commit_lsn = commit_lsn;
    decoder->commit_us = us;
    return TR_OK;
}

#define LSN_TEXT_BYTES 24

/* A COMMIT with the mark of its position; as tr_batch_commit, with one allocation and no copies. */
static enum tr_status commit_event(struct tr_batch *batch, uint64_t end_lsn,
                                   struct tr_event **event, struct tr_error *err)
{
    struct {
        struct tr_mark mark;
        char text[LSN_TEXT_BYTES];
    } *kept = tr_arena_alloc(&batch->arena, sizeof *kept, _Alignof(struct tr_mark));
    if (kept == NULL)
        return out_of_memory(err);
    (void)tr_lsn_format(end_lsn, kept->text, sizeof kept->text);
    kept->mark.key = (struct tr_slice){"lsn", 3};
    kept->mark.value = (struct tr_slice){kept->text, strlen(kept->text)};
    *event = tr_batch_event(batch, TR_OP_COMMIT);
    if (*event == NULL)
        return tr_fail(err, TR_E_INTERNAL, "a commit did not fit into its batch");
    (*event)->marks = &kept->mark;
    (*event)->mark_count = 1;
    return TR_OK;
}

static enum tr_status decode_commit(struct message *message, struct tr_error *err)
{
    struct tr_pgoutput *decoder = message->decoder;
    uint8_t commit_flags = tr_cursor_u8(&message->cursor);
    uint64_t commit_lsn = tr_cursor_u64(&message->cursor);
    uint64_t end_lsn = tr_cursor_u64(&message->cursor);
    (void)tr_cursor_u64(&message->cursor); /* the time is Begin's */
    if (!decoder->in_transaction)
        message->why = "no transaction is under way";
    else if (commit_flags != 0)
        message->why = "it has unknown flags";
    else if (commit_lsn != decoder->commit_lsn)
        message->why = "it does not belong to the transaction under way";
    if (!message_is_whole(message))
        return malformed(message, "Commit", err);
    if (decoder->event_count > 0) {
        struct tr_event *event = NULL;
        if (commit_event(message->batch, end_lsn, &event, err) != TR_OK)
            return TR_FAIL;
        if (!stamp(message, event))
            return out_of_memory(err);
        event->position = end_lsn;
    }
    decoder->in_transaction = false;
    decoder->last_end_lsn = end_lsn;
    return TR_OK;
}

static enum tr_status decode_origin(struct message *message, struct tr_error *err)
{
    struct tr_pgoutput *decoder = message->decoder;
    (void)tr_cursor_u64(&message->cursor); /* the commit's LSN at the origin */
    const char *name = tr_cursor_string(&message->cursor);
    if (!decoder->in_transaction)
        message->why = "it is outside a transaction";
    if (!message_is_whole(message))
        return malformed(message, "Origin", err);
    size_t size = strlen(name) + 1;
    if (size > decoder->origin_capacity) {
        char *origin = realloc(decoder->origin, size);
        if (origin == NULL)
            return out_of_memory(err);
        decoder->origin = origin;
        decoder->origin_capacity = size;
    }
    memcpy(decoder->origin, name, size);
    decoder->has_origin = size > 1;
    return TR_OK;
}

static void read_relation(struct message *message, struct tr_pgoutput_relation *relation)
{
    struct tr_cursor *cursor = &message->cursor;
    struct tr_pgoutput_column *columns = message->decoder->columns;
    relation->oid = tr_cursor_u32(cursor);
    relation->namespace = tr_cursor_string(cursor);
    relation->name = tr_cursor_string(cursor);
    relation->replica_identity = (char)tr_cursor_u8(cursor);
    relation->column_count = tr_cursor_u16(cursor);
    relation->columns = columns;
    if (relation->namespace[0] == '\0')
        relation->namespace = "pg_catalog";
    if (relation->column_count > COLUMNS_MAX) {
        message->why = "it has more columns than a table can have";
        return;
    }
    for (uint32_t i = 0; i < relation->column_count && !cursor->failed; i++) {
        columns[i].in_replica_identity = (tr_cursor_u8(cursor) & IDENTITY_FLAG) != 0;
        columns[i].name = tr_cursor_string(cursor);
        columns[i].type_oid = tr_cursor_u32(cursor);
        columns[i].typmod = (int32_t)tr_cursor_u32(cursor);
    }
    char identity = relation->replica_identity;
    if (relation->oid == 0)
        message->why = "it has no oid";
    else if (relation->name[0] == '\0')
        message->why = "it has no name";
    else if (identity != 'd' && identity != 'n' && identity != 'f' && identity != 'i')
        message->why = "its replica identity is unknown";
    else if (!message->decoder->in_transaction)
        message->why = "it is outside a transaction";
}

/* SCHEMA events that the callback appended belong to the transaction under way. They take no
 * txn_index of their own: whether they come at all depends on what was known before. */
static bool stamp_appended(const struct message *message, uint32_t from)
{
    struct tr_batch *batch = message->batch;
    const char *origin = NULL;
    for (uint32_t i = from; i < batch->event_count; i++) {
        struct tr_event *event = &batch->events[i];
        event->origin = NULL;
        if (message->decoder->has_origin && origin == NULL) {
            origin =
                tr_batch_copy(batch, message->decoder->origin, strlen(message->decoder->origin));
            if (origin == NULL)
                return false;
        }
        event->txn_index = message->decoder->txn_index;
        event->position = message->wal_start;
        event->commit_position = message->decoder->commit_lsn;
        event->prev_commit_position = message->decoder->last_end_lsn;
        event->ts_us = message->decoder->commit_us;
        event->recv_ts_us = message->recv_ts_us;
        event->txn_id = message->decoder->txn_id;
        event->origin = origin;
    }
    return true;
}

static enum tr_status decode_relation(struct message *message, struct tr_error *err)
{
    struct tr_pgoutput *decoder = message->decoder;
    struct tr_pgoutput_relation relation;
    read_relation(message, &relation);
    if (!message_is_whole(message))
        return malformed(message, "Relation", err);
    uint32_t event_count = message->batch->event_count;
    struct tr_pgoutput_entry entry = {.oid = relation.oid, .column_count = relation.column_count};
    if (decoder->callbacks.relation(decoder->callbacks.ctx, &relation, message->batch, &entry.table,
                                    err) != TR_OK)
        return TR_FAIL;
    if (entry.table != NULL) {
        if (entry.table->column_count != relation.column_count) {
            tr_table_unref(entry.table);
            return tr_fail(err, TR_E_INTERNAL,
                           "the table for \"%s\" has not the columns of its Relation message",
                           relation.name);
        }
        entry.identity = malloc((size_t)relation.column_count + 1);
        if (entry.identity == NULL) {
            tr_table_unref(entry.table);
            return out_of_memory(err);
        }
        for (uint32_t i = 0; i < relation.column_count; i++)
            entry.identity[i] = relation.columns[i].in_replica_identity;
    }
    decoder->last_entry = NULL;
    if (tr_pgoutput_relations_put(&decoder->relations, &entry, err) != TR_OK)
        return TR_FAIL;
    if (!stamp_appended(message, event_count))
        return out_of_memory(err);
    decoder->event_count += message->batch->event_count - event_count;
    return TR_OK;
}

static enum tr_status decode_type(struct message *message, struct tr_error *err)
{
    (void)tr_cursor_u32(&message->cursor);
    (void)tr_cursor_string(&message->cursor);
    (void)tr_cursor_string(&message->cursor);
    return message_is_whole(message) ? TR_OK : malformed(message, "Type", err);
}

static enum tr_status decode_message(struct message *message, struct tr_error *err)
{
    struct tr_pgoutput *decoder = message->decoder;
    uint8_t bits = tr_cursor_u8(&message->cursor);
    uint64_t lsn = tr_cursor_u64(&message->cursor);
    const char *prefix = tr_cursor_string(&message->cursor);
    uint32_t len = tr_cursor_u32(&message->cursor);
    const char *content = tr_cursor_bytes(&message->cursor, len);
    bool transactional = bits == 1;
    if (bits > 1)
        message->why = "it has unknown flags";
    else if (transactional && !decoder->in_transaction)
        message->why = "it is outside a transaction";
    if (!message_is_whole(message))
        return malformed(message, "Message", err);
    struct tr_event *event = tr_batch_event(message->batch, TR_OP_MESSAGE);
    if (event == NULL)
        return tr_fail(err, TR_E_INTERNAL, "a message was decoded into a full batch");
    event->raw = (struct tr_slice){content, len};
    event->message_prefix = prefix;
    if (transactional) {
        if (!stamp(message, event))
            return out_of_memory(err);
        decoder->txn_index++;
        decoder->event_count++;
    } else {
        event->commit_position = lsn;
        event->prev_commit_position = decoder->last_end_lsn;
        event->ts_us = message->recv_ts_us; /* the message carries no time of its own */
        event->recv_ts_us = message->recv_ts_us;
    }
    event->position = lsn;
    return TR_OK;
}

static enum tr_status refuse(char kind, struct tr_error *err)
{
    if (kind_name(kind) == NULL)
        return tr_fail(err, TR_E_PG_PROTOCOL,
                       "the server sent a message of the unknown kind 0x%02x",
                       (unsigned)(uint8_t)kind);
    (void)tr_fail(err, TR_E_PG_PROTOCOL, "the server sent a %s message, which was not asked for",
                  kind_name(kind));
    return tr_hint(err, "tailrace reads protocol version 1 without streaming and two-phase commit; "
                        "a proxy may have changed the options of START_REPLICATION");
}

static enum tr_status dispatch(struct message *message, char kind, struct tr_error *err)
{
    switch (kind) {
    case 'I':
        return decode_insert(message, err);
    case 'U':
        return decode_update(message, err);
    case 'D':
        return decode_delete(message, err);
    case 'B':
        return decode_begin(message, err);
    case 'C':
        return decode_commit(message, err);
    case 'R':
        return decode_relation(message, err);
    case 'T':
        return decode_truncate(message, err);
    case 'M':
        return decode_message(message, err);
    case 'O':
        return decode_origin(message, err);
    case 'Y':
        return decode_type(message, err);
    default:
        return refuse(kind, err);
    }
}

enum tr_status tr_pgoutput_decode(struct tr_pgoutput *decoder, struct tr_slice payload, bool copy,
                                  uint64_t wal_start, int64_t recv_ts_us, struct tr_batch *batch,
                                  struct tr_error *err)
{
    if (payload.len == 0 || payload.len > MESSAGE_BYTES_MAX)
        return tr_fail(err, TR_E_PG_PROTOCOL, "the server sent a replication message of %zu bytes",
                       payload.len);
    char kind = payload.ptr[0];
    if (decoder->truncate_done != 0 && kind != 'T')
        return tr_fail(err, TR_E_INTERNAL, "a Truncate was not gone on with by the same message");
    if (copy && (kind == 'I' || kind == 'U' || kind == 'D' || kind == 'M')) {
        payload.ptr = tr_batch_copy(batch, payload.ptr, payload.len);
        if (payload.ptr == NULL)
            return out_of_memory(err);
    }
    if (wal_start != 0)
        decoder->last_wal_start = wal_start;
    struct message message = {.decoder = decoder,
                              .cursor = tr_cursor_of(payload.ptr + 1, payload.len - 1),
                              .batch = batch,
                              .wal_start = decoder->last_wal_start,
                              .recv_ts_us = recv_ts_us};
    uint32_t event_count = batch->event_count;
    enum tr_status status = dispatch(&message, kind, err);
    if (status == TR_FAIL)
        batch->event_count = event_count;
    return status;
}
