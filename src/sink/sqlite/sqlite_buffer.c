/* Changes that were accepted and are not yet in the file, and the order in which they go there.
 * Writer thread.
 *
 * An update of a random row dirties a page of its own. Applied in the order of their keys, the
 * changes of a large transaction touch each page once, one behind the other; so it is written once
 * to the write-ahead log and once to the file, and the page cache need not hold it for long.
 *
 * The order is by (group, key), and stable: what concerns one key stays in the order of arrival.
 * Keys do not meet in a table whose only uniqueness is the key, so that gives what the order of
 * arrival gives. A group is a stretch of one target's changes between two that concern more than
 * one key (TRUNCATE, an update of the key), which are groups of their own. A target where order can
 * show has one group and no keys: it stays in the order of arrival. With a trigger in the file
 * nothing is sorted (sqlite_tables.c says which targets are free of all that).
 *
 * Keys are compared in the form in which SQLite stores them, so equal here is equal there:
 *
 *      INTEGER   8 bytes, big-endian, sign flipped (always so in an integer column)
 *      else      a byte for the kind, then INTEGER and REAL in 8 bytes that sort like the number,
 *                TEXT and BLOB with 00 as 00 FF and 00 00 behind them
 *
 * A record: its head, the key, the cells of the row before and after; padded to 8 bytes. A cell
 * is one byte (states without a value; 8 + length of a short text), or one byte, 4 of length and
 * the value. */
#include <stdlib.h>
#include <string.h>

#include "sqlite_internal.h"

enum record_parts { HAS_BEFORE = 1, HAS_AFTER = 2, IS_WHOLE = 4 };
struct record {
    uint64_t seq;
    uint32_t size; /* bytes, with the head */
    uint32_t key_len;
    uint32_t group;
    uint32_t slot;
    uint16_t flags;
    uint8_t op;
    uint8_t parts; /* enum record_parts */
};
/* One schema version of a target in the buffer. Those of the same target share `first`'s group. */
struct buffer_slot {
    const struct tr_table *table; /* reference held */
    uint32_t first;         /* slot of the target's first version; its own index for that one */
    uint32_t group;         /* of the target's next change; in the first slot */
    bool sorted;            /* in the first slot */
    int64_t schema_version; /* of the file when that was decided */
};
struct buffer_item {
    uint64_t prefix; /* first 8 bytes of the key */
    uint32_t group;
    uint32_t at; /* record's place / 8 */
};

#define FETCH_AHEAD 4
#define FETCH_BYTES 256 /* most of a usual record */
#define CACHE_LINE_BYTES 64

#define CELL_TEXT 6   /* 4 bytes of length */
#define CELL_BINARY 7 /* 4 bytes of length */
#define CELL_SHORT 8  /* and more: TEXT of this length - 8 */
#define CELL_SHORT_MAX 247u

/* ---- cells ---------------------------------------------------------------------------------- */

static void put_cell(struct tr_outbuf *out, const struct tr_cell *cell)
{
    if (cell->state != TR_CELL_TEXT && cell->state != TR_CELL_BINARY) {
        tr_outbuf_byte(out, (char)cell->state);
    } else if (cell->state == TR_CELL_TEXT && cell->len <= CELL_SHORT_MAX) {
        tr_outbuf_byte(out, (char)(unsigned char)(CELL_SHORT + cell->len));
        tr_outbuf_bytes(out, cell->ptr, cell->len);
    } else {
        tr_outbuf_byte(out, cell->state == TR_CELL_TEXT ? CELL_TEXT : CELL_BINARY);
        tr_outbuf_bytes(out, &cell->len, sizeof cell->len);
        tr_outbuf_bytes(out, cell->ptr, cell->len);
    }
}

static const char *take_cell(const char *at, struct tr_cell *cell)
{
    unsigned char head = (unsigned char)*at++;
    *cell = (struct tr_cell){.state = head};
    if (head < CELL_TEXT)
        return at;
    cell->state = head == CELL_BINARY ? TR_CELL_BINARY : TR_CELL_TEXT;
    if (head >= CELL_SHORT) {
        cell->len = (uint32_t)head - CELL_SHORT;
    } else {
        memcpy(&cell->len, at, sizeof cell->len);
        at += sizeof cell->len;
    }
    cell->ptr = at;
    return at + cell->len;
}

/* ---- keys ----------------------------------------------------------------------------------- */

static void put_u64(struct tr_outbuf *out, uint64_t value)
{
    unsigned char bytes[8];
    for (int i = 7; i >= 0; i--, value >>= 8)
        bytes[i] = (unsigned char)value;
    tr_outbuf_bytes(out, bytes, sizeof bytes);
}

static void put_real(struct tr_outbuf *out, double real)
{
    uint64_t bits;
    memcpy(&bits, &real, sizeof bits);
    put_u64(out, bits >> 63 ? ~bits : bits | UINT64_C(1) << 63);
}

static void put_bytes(struct tr_outbuf *out, const char *ptr, size_t len)
{
    while (len > 0) {
        const char *zero = memchr(ptr, 0, len);
        size_t run = zero != NULL ? (size_t)(zero - ptr) + 1 : len;
        tr_outbuf_bytes(out, ptr, run);
        if (zero != NULL)
            tr_outbuf_byte(out, (char)0xff);
        ptr += run;
        len -= run;
    }
    tr_outbuf_bytes(out, "\0", 2);
}

static void put_key_value(struct tr_outbuf *out, enum tr_type type,
                          const struct sqlite_value *value)
{
    enum sqlite_storage storage = tr_sqlite_storage(type);
    if (value->kind == SQLITE_INTEGER && (storage == STORE_INT || storage == STORE_BOOL)) {
        put_u64(out, (uint64_t)value->integer ^ UINT64_C(1) << 63);
        return;
    }
    tr_outbuf_byte(out, (char)value->kind); /* INTEGER < FLOAT < TEXT < BLOB, as SQLite has it */
    if (value->kind == SQLITE_INTEGER)
        put_u64(out, (uint64_t)value->integer ^ UINT64_C(1) << 63);
    else if (value->kind == SQLITE_FLOAT)
        put_real(out, value->real);
    else
        put_bytes(out, value->ptr, value->len);
}

static const struct tr_cell *key_cell(const struct tr_cell *cells, const struct tr_cell *other,
                                      unsigned column)
{
    if (cells != NULL && tr_sqlite_has_value(&cells[column]))
        return &cells[column];
    return other != NULL && tr_sqlite_has_value(&other[column]) ? &other[column] : NULL;
}

/* Appends the key. TR_END: some part of it is missing, NULL or malformed. */
static enum tr_status put_key(struct sqlite_writer *writer, const struct tr_table *table,
                              const struct tr_cell *cells, const struct tr_cell *other,
                              struct tr_error *err)
{
    for (unsigned i = 0; i < table->key_count; i++) {
        unsigned column = table->key_columns[i];
        enum tr_type type = table->columns[column].type;
        const struct tr_cell *cell = key_cell(cells, other, column);
        struct sqlite_value value;
        if (cell == NULL || cell->state == TR_CELL_NULL)
            return TR_END;
        enum sqlite_store_result result = tr_sqlite_store(type, cell, &writer->scratch, &value);
        if (result == STORE_NO_MEMORY)
            return tr_sqlite_no_memory(err);
        if (result != STORED || value.kind == SQLITE_NULL)
            return TR_END;
        put_key_value(&writer->buffer.data, type, &value);
    }
    return writer->buffer.data.failed ? tr_sqlite_no_memory(err) : TR_OK;
}

/* ---- slots ---------------------------------------------------------------------------------- */

/* The keys of two versions of a target are comparable when they are made of the same columns. */
static bool same_key(const struct tr_table *a, const struct tr_table *b)
{
    if (a->key_count != b->key_count)
        return false;
    for (unsigned i = 0; i < a->key_count; i++) {
        const struct tr_column *left = &a->columns[a->key_columns[i]];
        const struct tr_column *right = &b->columns[b->key_columns[i]];
        if (left->type != right->type || strcmp(left->name, right->name) != 0)
            return false;
    }
    return true;
}

static enum tr_status slot_new(struct sqlite_buffer *buffer, struct table_entry *entry,
                               struct tr_error *err)
{
    if (buffer->slot_count == buffer->slot_capacity) {
        uint32_t capacity = buffer->slot_capacity == 0 ? 16 : buffer->slot_capacity * 2;
        struct buffer_slot *slots = realloc(buffer->slots, capacity * sizeof *slots);
        if (slots == NULL)
            return tr_sqlite_no_memory(err);
        buffer->slots = slots;
        buffer->slot_capacity = capacity;
    }
    uint32_t index = buffer->slot_count, first = 0;
    while (first < index &&
           strcmp(buffer->slots[first].table->id.table, entry->table->id.table) != 0)
        first++; /* the first one of a target comes first */
    buffer->slots[index] = (struct buffer_slot){.table = tr_table_ref(entry->table),
                                                .first = first,
                                                .group = buffer->group_next,
                                                .sorted = entry->sortable,
                                                .schema_version = entry->schema_version};
    struct buffer_slot *target = &buffer->slots[first];
    if (first == index) {
        buffer->group_next++;
    } else if (target->sorted && (!entry->sortable || !same_key(target->table, entry->table))) {
        target->sorted = false;
        target->group = buffer->group_next++;
        buffer->keys_void |= !entry->sortable;
    }
    buffer->slot_count++;
    entry->slot = index;
    entry->slot_round = buffer->round;
    return TR_OK;
}

static void slots_clear(struct sqlite_buffer *buffer)
{
    for (uint32_t i = 0; i < buffer->slot_count; i++)
        tr_table_unref(buffer->slots[i].table);
    buffer->slot_count = 0;
    buffer->group_next = 0;
    buffer->keys_void = false;
    buffer->round++; /* what entries know of their slots is void */
}

/* ---- adding --------------------------------------------------------------------------------- */

/* Are all values of the row in the form of their types? What is not is told by the statement. */
static enum tr_status check_cells(struct sqlite_writer *writer, const struct tr_table *table,
                                  const struct tr_cell *cells, bool *whole, struct tr_error *err)
{
    *whole = true;
    for (unsigned i = 0; i < table->column_count; i++) {
        struct sqlite_value value;
        if (!tr_sqlite_has_value(&cells[i])) {
            *whole = false;
            continue;
        }
        switch (tr_sqlite_store(table->columns[i].type, &cells[i], &writer->scratch, &value)) {
        case STORED:
            break;
        case STORE_MALFORMED:
            return TR_END;
        case STORE_NO_MEMORY:
            return tr_sqlite_no_memory(err);
        }
    }
    return TR_OK;
}

/* Has the event all the cells that its statement asks for? */
static bool is_complete(const struct table_entry *entry, const struct tr_event *event)
{
    const struct tr_table *table = entry->table;
    bool gone = event->op == TR_OP_DELETE, keyless = table->key_count == 0;
    if (event->op == TR_OP_TRUNCATE)
        return true;
    if ((gone ? event->before : event->after) == NULL)
        return false;
    if (keyless && (gone || event->op == TR_OP_UPDATE))
        return event->before != NULL && (event->flags & TR_EV_BEFORE_KEY_ONLY) == 0;
    if (event->op == TR_OP_UPDATE && (event->flags & TR_EV_KEY_CHANGED) != 0)
        return event->before != NULL;
    return entry->version == NULL ||
           key_cell(gone ? event->before : event->after, gone ? NULL : event->before,
                    table->version_column - 1u) != NULL;
}

/* Does the event concern one key only? An update that names another key before than after without
 * saying so is not trusted. */
static bool is_of_one_key(const struct tr_table *table, const struct tr_event *event)
{
    if (event->op == TR_OP_TRUNCATE || (event->flags & TR_EV_KEY_CHANGED) != 0)
        return false;
    for (unsigned i = 0; event->op == TR_OP_UPDATE && event->before != NULL && i < table->key_count;
         i++) {
        const struct tr_cell *old = &event->before[table->key_columns[i]];
        const struct tr_cell *new = &event->after[table->key_columns[i]];
        if (tr_sqlite_has_value(old) && tr_sqlite_has_value(new) &&
            (old->state != new->state || old->len != new->len ||
             (old->len > 0 && memcmp(old->ptr, new->ptr, old->len) != 0)))
            return false;
    }
    return true;
}

/* The row before, as far as it is used: of a table with a key only the key. */
static void put_before(struct tr_outbuf *out, const struct table_entry *entry,
                       const struct tr_cell *cells)
{
    const struct tr_cell absent = {.state = TR_CELL_ABSENT};
    for (unsigned i = 0; i < entry->table->column_count; i++) {
        bool used = entry->table->key_count == 0 || entry->version != NULL ||
                    entry->table->columns[i].key_index > 0;
        put_cell(out, used ? &cells[i] : &absent);
    }
}

static enum tr_status put_record(struct sqlite_writer *writer, struct table_entry *entry,
                                 const struct tr_event *event, struct record *record,
                                 struct tr_error *err)
{
    struct tr_outbuf *out = &writer->buffer.data;
    size_t start = out->len;
    bool whole = false;
    tr_outbuf_bytes(out, record, sizeof *record);
    if (event->before != NULL) {
        enum tr_status status = check_cells(writer, entry->table, event->before, &whole, err);
        if (status != TR_OK)
            return status;
        record->parts |= HAS_BEFORE;
    }
    if (event->after != NULL) {
        enum tr_status status = check_cells(writer, entry->table, event->after, &whole, err);
        if (status != TR_OK)
            return status;
        record->parts |= (uint8_t)(HAS_AFTER | (whole ? IS_WHOLE : 0));
    }
    if (event->op != TR_OP_TRUNCATE) { /* a missing key is told here, also where it does not sort */
        bool new = event->op == TR_OP_CREATE || event->op == TR_OP_READ;
        size_t key_start = out->len;
        enum tr_status status =
            put_key(writer, entry->table, new ? NULL : event->before, event->after, err);
        if (status != TR_OK)
            return status;
        if (record->key_len == 0)
            out->len = key_start;
        record->key_len = (uint32_t)(out->len - key_start);
    }
    if (event->before != NULL)
        put_before(out, entry, event->before);
    for (unsigned i = 0; event->after != NULL && i < entry->table->column_count; i++)
        put_cell(out, &event->after[i]);
    while (out->len % 8 != 0 && !out->failed)
        tr_outbuf_byte(out, 0);
    if (out->failed)
        return tr_sqlite_no_memory(err);
    record->size = (uint32_t)(out->len - start);
    memcpy(out->data + start, record, sizeof *record);
    return TR_OK;
}

enum tr_status tr_sqlite_buffer_add(struct sqlite_writer *writer, struct table_entry *entry,
                                    const struct tr_event *event, struct tr_error *err)
{
    struct sqlite_buffer *buffer = &writer->buffer;
    size_t start = buffer->data.len;
    if (!is_complete(entry, event))
        return TR_END;
    if (entry->slot_round != buffer->round && slot_new(buffer, entry, err) != TR_OK)
        return TR_FAIL;
    struct buffer_slot *target = &buffer->slots[buffer->slots[entry->slot].first];
    bool one_key = is_of_one_key(entry->table, event);
    if (target->sorted && !one_key)
        target->group = buffer->group_next++;
    struct record record = {.seq = event->seq,
                            .key_len = target->sorted && one_key,
                            .group = target->group,
                            .slot = entry->slot,
                            .flags = event->flags,
                            .op = event->op};
    enum tr_status status = put_record(writer, entry, event, &record, err);
    if (target->sorted && !one_key)
        target->group = buffer->group_next++;
    if (status != TR_OK) {
        buffer->data.len = start;
        buffer->data.failed = false;
        return status;
    }
    buffer->count++;
    return TR_OK;
}

/* ---- order ---------------------------------------------------------------------------------- */

static const struct record *record_at(const struct sqlite_buffer *buffer, size_t at)
{
    return (const struct record *)(const void *)(buffer->data.data + at);
}

static const unsigned char *key_of(const struct record *record)
{
    return (const unsigned char *)(record + 1);
}

static uint64_t prefix_of(const struct record *record)
{
    uint64_t prefix = 0;
    for (uint32_t i = 0; i < 8; i++)
        prefix = prefix << 8 | (i < record->key_len ? key_of(record)[i] : 0);
    return prefix;
}

static int compare_keys(const struct record *a, const struct record *b)
{
    uint32_t common = a->key_len < b->key_len ? a->key_len : b->key_len;
    int order = memcmp(key_of(a), key_of(b), common);
    return order != 0 ? order : (a->key_len > b->key_len) - (a->key_len < b->key_len);
}

static int compare_items(const struct sqlite_buffer *buffer, const struct buffer_item *a,
                         const struct buffer_item *b)
{
    if (a->group != b->group)
        return a->group < b->group ? -1 : 1;
    if (a->prefix != b->prefix)
        return a->prefix < b->prefix ? -1 : 1;
    const struct record *left = record_at(buffer, (size_t)a->at * 8);
    const struct record *right = record_at(buffer, (size_t)b->at * 8);
    return left->key_len <= 8 && left->key_len == right->key_len ? 0 : compare_keys(left, right);
}

/* Merges the runs [from, middle) and [middle, to); of equal ones those of the first come first. */
static void merge(const struct sqlite_buffer *buffer, const struct buffer_item *in,
                  struct buffer_item *out, size_t from, size_t middle, size_t to)
{
    size_t left = from, right = middle, at = from;
    if (middle >= to || compare_items(buffer, &in[middle - 1], &in[middle]) <= 0) {
        memcpy(out + from, in + from, (to - from) * sizeof *in);
        return;
    }
    while (left < middle && right < to)
        out[at++] = compare_items(buffer, &in[left], &in[right]) <= 0 ? in[left++] : in[right++];
    memcpy(out + at, in + left, (middle - left) * sizeof *in);
    at += middle - left;
    memcpy(out + at, in + right, (to - right) * sizeof *in);
}

/* Stable, in place of qsort, which is not. */
static void sort_items(struct sqlite_buffer *buffer, size_t count)
{
    for (size_t width = 1; width < count; width *= 2) {
        for (size_t from = 0; from < count; from += 2 * width) {
            size_t middle = from + width < count ? from + width : count;
            size_t to = from + 2 * width < count ? from + 2 * width : count;
            merge(buffer, buffer->items, buffer->spare, from, middle, to);
        }
        struct buffer_item *sorted = buffer->spare;
        buffer->spare = buffer->items;
        buffer->items = sorted;
    }
}

static enum tr_status items_reserve(struct sqlite_buffer *buffer, size_t count,
                                    struct tr_error *err)
{
    if (count <= buffer->item_capacity)
        return TR_OK;
    size_t capacity = count + count / 4;
    free(buffer->items);
    free(buffer->spare);
    buffer->items = malloc(capacity * sizeof *buffer->items);
    buffer->spare = malloc(capacity * sizeof *buffer->spare);
    buffer->item_capacity = buffer->items != NULL && buffer->spare != NULL ? capacity : 0;
    return buffer->item_capacity > 0 ? TR_OK : tr_sqlite_no_memory(err);
}

enum tr_status tr_sqlite_buffer_sort(struct sqlite_writer *writer, size_t count, bool as_arrived,
                                     struct tr_error *err)
{
    struct sqlite_buffer *buffer = &writer->buffer;
    size_t at = 0;
    if (items_reserve(buffer, count, err) != TR_OK)
        return TR_FAIL;
    for (size_t i = 0; i < count; i++) {
        const struct record *record = record_at(buffer, at);
        buffer->items[i] = (struct buffer_item){
            .prefix = prefix_of(record), .group = record->group, .at = (uint32_t)(at / 8)};
        at += record->size;
    }
    if (!as_arrived)
        sort_items(buffer, count);
    return TR_OK;
}

/* Is the row set anew, in all columns, by the next change of the same key? Then the first one need
 * not be written. Not where versions decide which of the two stays. */
static bool is_superseded(const struct sqlite_writer *writer, size_t index, size_t count)
{
    const struct sqlite_buffer *buffer = &writer->buffer;
    if (index + 1 >= count)
        return false;
    const struct record *this = record_at(buffer, (size_t)buffer->items[index].at * 8);
    const struct record *next = record_at(buffer, (size_t)buffer->items[index + 1].at * 8);
    return this->key_len > 0 && this->group == next->group && this->slot == next->slot &&
           (this->parts & IS_WHOLE) != 0 && (next->parts & IS_WHOLE) != 0 &&
           buffer->slots[this->slot].table->version_column == 0 && compare_keys(this, next) == 0;
}

/* Records lie in the order of arrival and are read in that of their keys: each is asked for from
 * memory while those before it are written. */
static void fetch(const struct sqlite_buffer *buffer, size_t index)
{
    const char *at = buffer->data.data + (size_t)buffer->items[index].at * 8;
    for (size_t line = 0; line < FETCH_BYTES; line += CACHE_LINE_BYTES)
        __builtin_prefetch(at + line);
}

bool tr_sqlite_buffer_event(struct sqlite_writer *writer, size_t index, size_t count,
                            struct tr_event *event)
{
    struct sqlite_buffer *buffer = &writer->buffer;
    const struct record *record = record_at(buffer, (size_t)buffer->items[index].at * 8);
    const struct tr_table *table = buffer->slots[record->slot].table;
    const char *at = (const char *)(key_of(record) + record->key_len);
    if (index + FETCH_AHEAD < count)
        fetch(buffer, index + FETCH_AHEAD);
    if (is_superseded(writer, index, count))
        return false;
    *event = (struct tr_event){
        .seq = record->seq, .table = table, .flags = record->flags, .op = record->op};
    if (record->parts & HAS_BEFORE) {
        for (unsigned i = 0; i < table->column_count; i++)
            at = take_cell(at, &buffer->before[i]);
        event->before = buffer->before;
    }
    if (record->parts & HAS_AFTER) {
        for (unsigned i = 0; i < table->column_count; i++)
            at = take_cell(at, &buffer->after[i]);
        event->after = buffer->after;
    }
    return true;
}

enum tr_status tr_sqlite_buffer_check(struct sqlite_writer *writer, bool *as_arrived,
                                      struct tr_error *err)
{
    struct sqlite_buffer *buffer = &writer->buffer;
    int64_t version;
    bool stale = false;
    if (tr_sqlite_schema_version(writer, &version, err) != TR_OK)
        return TR_FAIL;
    for (uint32_t i = 0; i < buffer->slot_count; i++) {
        struct buffer_slot *slot = &buffer->slots[i];
        bool sortable = true;
        if (slot->schema_version == version)
            continue;
        if (tr_sqlite_sortable(writer, slot->table, &sortable, err) != TR_OK)
            return TR_FAIL;
        slot->schema_version = version;
        buffer->keys_void |= !sortable && buffer->slots[slot->first].sorted;
        stale = true;
    }
    if (stale)
        tr_sqlite_entries_drop(writer, NULL); /* they look again */
    *as_arrived = buffer->keys_void;
    return TR_OK;
}

/* ---- life ----------------------------------------------------------------------------------- */

bool tr_sqlite_buffer_full(const struct sqlite_buffer *buffer, int64_t bytes_max)
{
    return buffer->data.len + buffer->count * 2 * sizeof *buffer->items >= (size_t)bytes_max ||
           buffer->slot_count >= BUFFER_SLOTS_MAX || buffer->group_next >= BUFFER_GROUPS_MAX;
}

void tr_sqlite_buffer_boundary(struct sqlite_buffer *buffer)
{
    buffer->boundary = buffer->data.len;
    buffer->boundary_count = buffer->count;
}

void tr_sqlite_buffer_drop(struct sqlite_buffer *buffer, size_t bytes, size_t count)
{
    buffer->data.len -= bytes;
    buffer->count -= count;
    buffer->boundary = buffer->boundary_count = 0;
    if (buffer->count > 0) {
        memmove(buffer->data.data, buffer->data.data + bytes, buffer->data.len);
        return;
    }
    slots_clear(buffer);
    if (buffer->data.capacity > BUFFER_KEEP_BYTES && bytes < buffer->data.capacity / 8) {
        tr_outbuf_free(&buffer->data); /* calm again */
        free(buffer->items);
        free(buffer->spare);
        buffer->items = buffer->spare = NULL;
        buffer->item_capacity = 0;
    }
}

enum tr_status tr_sqlite_buffer_open(struct sqlite_buffer *buffer, struct tr_error *err)
{
    buffer->round = 1; /* entries begin with 0 */
    buffer->before = calloc(SQLITE_COLUMNS_MAX, sizeof *buffer->before);
    buffer->after = calloc(SQLITE_COLUMNS_MAX, sizeof *buffer->after);
    return buffer->before != NULL && buffer->after != NULL ? TR_OK : tr_sqlite_no_memory(err);
}

void tr_sqlite_buffer_free(struct sqlite_buffer *buffer)
{
    slots_clear(buffer);
    free(buffer->slots);
    free(buffer->items);
    free(buffer->spare);
    free(buffer->before);
    free(buffer->after);
    tr_outbuf_free(&buffer->data);
}
