/* Dead letters: rows of a table that is the same in every pipeline. */
#include "event/dead_letter.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"

enum { REASON, CODE, ERROR, SOURCE_TABLE, CONTAINER, SPLIT, POSITION, MESSAGE_TIME, EVENT_TIME,
       WATERMARK, FAILED_AT, KEY, PAYLOAD, KEY_BYTES, PAYLOAD_BYTES, COLUMN_COUNT };

#define TEXT_MAX 600

static struct tr_table *letter_table;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static struct tr_column column(const char *name, enum tr_type type, const char *source_type,
                               uint16_t key_index)
{
    return (struct tr_column){.name = name,
                              .type = type,
                              .elem_type = TR_T_OTHER,
                              .source_type = source_type,
                              .source_type_base = source_type,
                              .source_typmod = -1,
                              .precision = type == TR_T_TIMESTAMPTZ ? 6 : 0,
                              .key_index = key_index,
                              .nullable = key_index == 0};
}

static void make_table(void)
{
    const struct tr_column columns[COLUMN_COUNT] = {
        [REASON] = column("reason", TR_T_STRING, "text", 4),
        [CODE] = column("code", TR_T_STRING, "text", 0),
        [ERROR] = column("error", TR_T_STRING, "text", 0),
        [SOURCE_TABLE] = column("source_table", TR_T_STRING, "text", 0),
        [CONTAINER] = column("container", TR_T_STRING, "text", 1),
        [SPLIT] = column("split", TR_T_INT32, "int4", 2),
        [POSITION] = column("position", TR_T_INT64, "int8", 3),
        [MESSAGE_TIME] = column("message_time", TR_T_TIMESTAMPTZ, "timestamptz", 0),
        [EVENT_TIME] = column("event_time", TR_T_TIMESTAMPTZ, "timestamptz", 0),
        [WATERMARK] = column("watermark", TR_T_TIMESTAMPTZ, "timestamptz", 0),
        [FAILED_AT] = column("failed_at", TR_T_TIMESTAMPTZ, "timestamptz", 0),
        [KEY] = column("key", TR_T_STRING, "text", 0),
        [PAYLOAD] = column("payload", TR_T_STRING, "text", 0),
        [KEY_BYTES] = column("key_bytes", TR_T_BYTES, "bytea", 0),
        [PAYLOAD_BYTES] = column("payload_bytes", TR_T_BYTES, "bytea", 0)};
    const struct tr_table spec = {.id = {"", "", TR_DEAD_LETTER_TABLE},
                                  .version = 1,
                                  .column_count = COLUMN_COUNT,
                                  .columns = columns,
                                  .replica_identity = TR_RI_DEFAULT,
                                  .key_is_primary = true};
    struct tr_error err;
    if (tr_table_new(&spec, &letter_table, &err) != TR_OK)
        letter_table = NULL;
}

const struct tr_table *tr_dead_letter_table(void)
{
    (void)pthread_once(&once, make_table);
    return letter_table;
}

bool tr_is_dead_letter(const struct tr_event *event)
{
    return event->table != NULL && event->table == letter_table;
}

static const char *reason_name(enum tr_dead_reason reason)
{
    switch (reason) {
    case TR_DEAD_MALFORMED:
        return "malformed";
    case TR_DEAD_LATE:
        return "late";
    case TR_DEAD_TRANSFORM:
        return "transform";
    case TR_DEAD_NO_TIME:
        return "no-event-time";
    }
    return "?";
}

static bool set_text(struct tr_batch *batch, struct tr_cell *cell, const char *text, size_t len)
{
    char *copy = tr_batch_copy(batch, text, len);
    *cell = (struct tr_cell){copy, (uint32_t)len, TR_CELL_TEXT};
    return copy != NULL;
}

static bool set_time(struct tr_batch *batch, struct tr_cell *cell, int64_t time_us)
{
    char text[80];
    struct tm parts;
    int64_t seconds = time_us / 1000000, micros = time_us % 1000000;
    if (micros < 0) {
        micros += 1000000;
        seconds--;
    }
    time_t when = (time_t)seconds;
    if (time_us == TR_TIME_NONE || gmtime_r(&when, &parts) == NULL || parts.tm_year < -1899 ||
        parts.tm_year > 8099)
        return true; /* stays NULL */
    int len = snprintf(text, sizeof text, "%04d-%02d-%02d %02d:%02d:%02d.%06d+00",
                       parts.tm_year + 1900, parts.tm_mon + 1, parts.tm_mday, parts.tm_hour,
                       parts.tm_min, parts.tm_sec, (int)micros);
    return set_text(batch, cell, text, (size_t)len);
}

static bool set_int(struct tr_batch *batch, struct tr_cell *cell, int64_t value)
{
    char text[32];
    return set_text(batch, cell, text,
                    (size_t)snprintf(text, sizeof text, "%lld", (long long)value));
}

/* Well-formed UTF-8 without NUL (Unicode 15, table 3-7). */
static bool is_text(const char *bytes, size_t len)
{
    const unsigned char *p = (const unsigned char *)bytes, *end = p + len;
    while (p < end) {
        unsigned char c = *p++;
        if (c < 0x80) {
            if (c == 0)
                return false;
            continue;
        }
        unsigned low = 0x80, high = 0xbf;
        int more = c >= 0xc2 && c <= 0xdf ? 1 : c >= 0xe0 && c <= 0xef ? 2 : c >= 0xf0 && c <= 0xf4 ? 3 : 0;
        if (more == 0)
            return false;
        if (c == 0xe0)
            low = 0xa0;
        else if (c == 0xed)
            high = 0x9f;
        else if (c == 0xf0)
            low = 0x90;
        else if (c == 0xf4)
            high = 0x8f;
        for (; more > 0; more--, low = 0x80, high = 0xbf) {
            if (p == end || *p < low || *p > high)
                return false;
            p++;
        }
    }
    return true;
}

static bool set_bytes(struct tr_batch *batch, struct tr_cell *text, struct tr_cell *binary,
                      struct tr_slice bytes)
{
    if (bytes.ptr == NULL)
        return true;
    struct tr_cell *cell = is_text(bytes.ptr, bytes.len) ? text : binary;
    if (!set_text(batch, cell, bytes.ptr, bytes.len))
        return false;
    if (cell == binary)
        cell->state = TR_CELL_BINARY;
    return true;
}

static bool fill(struct tr_batch *batch, struct tr_cell *cells, const struct tr_dead_letter *letter)
{
    char text[TEXT_MAX];
    const char *reason = reason_name(letter->reason);
    bool ok = set_text(batch, &cells[REASON], reason, strlen(reason)) &&
              set_time(batch, &cells[EVENT_TIME], letter->event_time_us) &&
              set_time(batch, &cells[WATERMARK], letter->watermark_us) &&
              set_time(batch, &cells[FAILED_AT], tr_clock_wall_us());
    if (letter->error != NULL) {
        const char *code = tr_error_info(letter->error->code)->name;
        int len = snprintf(text, sizeof text, "%s%s%s", letter->error->message,
                           letter->error->detail[0] != '\0' ? ": " : "", letter->error->detail);
        size_t kept = (size_t)len < sizeof text ? (size_t)len : sizeof text - 1;
        while (kept > 0 && !is_text(text, kept)) /* cut within a character */
            kept--;
        ok = ok && set_text(batch, &cells[CODE], code, strlen(code)) &&
             set_text(batch, &cells[ERROR], text, kept);
    }
    if (letter->table != NULL) {
        const char *name = tr_table_id_format(&letter->table->id, text, sizeof text);
        ok = ok && set_text(batch, &cells[SOURCE_TABLE], name, strlen(name));
    }
    const struct tr_message *message = letter->message;
    if (message == NULL) /* key columns are never NULL */
        return ok && set_text(batch, &cells[CONTAINER], "", 0) && set_int(batch, &cells[SPLIT], 0) &&
               set_int(batch, &cells[POSITION], 0);
    return ok &&
           set_text(batch, &cells[CONTAINER], message->split->container,
                    strlen(message->split->container)) &&
           set_int(batch, &cells[SPLIT], message->split->partition) &&
           set_int(batch, &cells[POSITION], message->position) &&
           set_time(batch, &cells[MESSAGE_TIME], message->ts_us) &&
           set_bytes(batch, &cells[KEY], &cells[KEY_BYTES], message->key) &&
           set_bytes(batch, &cells[PAYLOAD], &cells[PAYLOAD_BYTES], message->value);
}

enum tr_status tr_dead_letter_set(struct tr_batch *batch, struct tr_event *event,
                                  const struct tr_dead_letter *letter, struct tr_error *err)
{
    const struct tr_table *table = tr_dead_letter_table();
    struct tr_cell *cells = tr_batch_cells(batch, COLUMN_COUNT);
    if (table == NULL || cells == NULL)
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for a dead letter");
    memset(cells, 0, COLUMN_COUNT * sizeof *cells); /* NULL */
    if (!fill(batch, cells, letter))
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for a dead letter");
    if (tr_batch_table(batch, table, err) != TR_OK)
        return TR_FAIL;
    event->op = TR_OP_CREATE;
    event->table = table;
    event->before = NULL;
    event->after = cells;
    event->raw = (struct tr_slice){NULL, 0};
    event->change = NULL;
    event->flags = 0;
    event->message = letter->message;
    event->event_time_us = letter->event_time_us;
    return TR_OK;
}

enum tr_status tr_dead_letter_append(struct tr_batch *batch, const struct tr_dead_letter *letter,
                                     struct tr_error *err)
{
    struct tr_event *event = tr_batch_event(batch, TR_OP_CREATE);
    if (event == NULL)
        return tr_fail(err, TR_E_INTERNAL, "a batch has no room for a dead letter");
    enum tr_status status = tr_dead_letter_set(batch, event, letter, err);
    if (status != TR_OK)
        batch->event_count--;
    else
        event->ts_us = event->recv_ts_us = tr_clock_wall_us();
    return status;
}
