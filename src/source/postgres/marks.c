/* The marks of this source: its resume position.
 *
 *   source.id=SYSTEM/DATABASE/SLOT   what the position belongs to
 *   lsn=0/16B3748                    where the stream goes on
 *   snapshot=running|done
 *   table/OID=…                      the table as last told to the sinks (tr_table_encode)
 *   skip/OID=LSN                     its transactions that commit before LSN are in the copy
 * already soft/OID=LSN                     schema changes before LSN are in the copy already
 *   leaf/OID=1                       PostgreSQL 12: this partition is copied
 * and while a copy runs:
 *   snapshot/N=LSN XMIN              the N-th exported snapshot that this copy has used
 *   copy/OID=N                       the table is being copied (removed at the end of the snapshot)
 *   plan/LEAF=FILENODE PAGES CHUNKS  how a table or partition is cut; PAGES 0 = in one piece
 *   chunk/LEAF/FILENODE/I=N          chunk I stands as snapshot N saw it */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/outbuf.h"
#include "event/table_text.h"
#include "source/postgres/source.h"

/* What a table's text usually takes, so that it need not grow. */
#define TABLE_BYTES 128
#define COLUMN_BYTES 128

void tr_pg_marks_init(struct tr_pg_marks *marks, struct tr_arena *arena)
{
    *marks = (struct tr_pg_marks){.arena = arena};
}

static void add(struct tr_pg_marks *marks, const char *key, const char *value, size_t value_len)
{
    if (marks->count == marks->capacity) {
        uint32_t capacity = marks->capacity == 0 ? 16 : marks->capacity * 2;
        struct tr_mark *items =
            tr_arena_alloc(marks->arena, capacity * sizeof *items, _Alignof(struct tr_mark));
        if (items == NULL) {
            marks->failed = true;
            return;
        }
        if (marks->count > 0)
            memcpy(items, marks->items, marks->count * sizeof *items);
        marks->items = items;
        marks->capacity = capacity;
    }
    struct tr_mark *mark = &marks->items[marks->count++];
    mark->key = tr_slice_of(tr_arena_strdup(marks->arena, key));
    mark->value.ptr = tr_arena_strndup(marks->arena, value, value_len);
    mark->value.len = value_len;
    marks->failed |= mark->key.ptr == NULL || mark->value.ptr == NULL;
}

void tr_pg_marks_add(struct tr_pg_marks *marks, const char *value, const char *key_format, ...)
{
    char key[TR_MARK_KEY_BYTES_MAX + 1];
    va_list args;
    va_start(args, key_format);
    (void)vsnprintf(key, sizeof key, key_format, args);
    va_end(args);
    add(marks, key, value, strlen(value));
}

void tr_pg_marks_add_lsn(struct tr_pg_marks *marks, const char *key, uint64_t lsn)
{
    char text[TR_PG_LSN_BYTES];
    tr_pg_marks_add(marks, tr_lsn_format(lsn, text, sizeof text), "%s", key);
}

void tr_pg_marks_add_table(struct tr_pg_marks *marks, const struct tr_table *table)
{
    struct tr_outbuf text = {0};
    char key[32];
    (void)tr_outbuf_reserve(&text, TABLE_BYTES + COLUMN_BYTES * (size_t)table->column_count);
    tr_table_encode(table, &text);
    (void)snprintf(key, sizeof key, "table/%llu", (unsigned long long)table->source_id);
    if (text.failed)
        marks->failed = true;
    else
        add(marks, key, text.data, text.len);
    tr_outbuf_free(&text);
}

enum tr_status tr_pg_marks_commit(struct tr_pg_marks *marks, struct tr_batch *batch,
                                  struct tr_event **event, struct tr_error *err)
{
    if (marks->failed)
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for marks");
    return tr_batch_commit(batch, marks->items, marks->count, event, err);
}

const char *tr_pg_mark_get(const struct tr_state *state, const char *key_format, ...)
{
    char key[TR_MARK_KEY_BYTES_MAX + 1];
    va_list args;
    va_start(args, key_format);
    (void)vsnprintf(key, sizeof key, key_format, args);
    va_end(args);
    return tr_state_get(state, key);
}

uint64_t tr_pg_mark_lsn(const struct tr_state *state, const char *key_format, ...)
{
    char key[TR_MARK_KEY_BYTES_MAX + 1];
    va_list args;
    uint64_t lsn = 0;
    va_start(args, key_format);
    (void)vsnprintf(key, sizeof key, key_format, args);
    va_end(args);
    const char *text = tr_state_get(state, key);
    return text != NULL && tr_lsn_parse(text, &lsn) ? lsn : 0;
}
