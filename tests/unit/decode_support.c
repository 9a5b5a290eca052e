#include "decode_support.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "decode/pg_types.h"

static void die(const char *what, const char *path)
{
    (void)fprintf(stderr, "%s: %s\n", path, what);
    exit(1);
}

static int nibble(char c)
{
    const char *digits = "0123456789abcdef", *at = c == '\0' ? NULL : strchr(digits, c);
    return at == NULL ? -1 : (int)(at - digits);
}

struct recording recording_load(const char *path)
{
    struct recording recording = {0};
    FILE *file = fopen(path, "r");
    if (file == NULL)
        die("cannot be opened", path);
    char *line = NULL;
    size_t line_size = 0;
    while (getline(&line, &line_size, file) > 0) {
        recording.messages =
            realloc(recording.messages, (recording.count + 1) * sizeof *recording.messages);
        struct recorded *message = &recording.messages[recording.count++];
        char *hex = strchr(line, ' ');
        if (hex == NULL)
            die("a line without a payload", path);
        message->lsn = strtoull(line, NULL, 16);
        hex++;
        size_t digits = strcspn(hex, "\n");
        message->len = digits / 2;
        message->payload = malloc(message->len + 1);
        for (size_t i = 0; i < message->len; i++) {
            int high = nibble(hex[2 * i]), low = nibble(hex[2 * i + 1]);
            if (high < 0 || low < 0)
                die("a line that is not hexadecimal", path);
            message->payload[i] = (char)(uint8_t)(high << 4 | low);
        }
    }
    free(line);
    (void)fclose(file);
    if (recording.count == 0)
        die("is empty", path);
    return recording;
}

void recording_free(struct recording *recording)
{
    for (size_t i = 0; i < recording->count; i++)
        free(recording->messages[i].payload);
    free(recording->messages);
    *recording = (struct recording){0};
}

enum tr_status catalog_relation(void *ctx, const struct tr_pgoutput_relation *relation,
                                struct tr_batch *batch, const struct tr_table **table,
                                struct tr_error *err)
{
    struct catalog *catalog = ctx;
    catalog->calls++;
    *table = NULL;
    if (catalog->hidden != NULL && strcmp(relation->name, catalog->hidden) == 0)
        return TR_OK;
    struct tr_column columns[1664];
    char(*names)[2][64] = malloc((relation->column_count + 1u) * sizeof *names);
    uint16_t keys = 0;
    for (uint16_t i = 0; i < relation->column_count; i++) {
        const struct tr_pgoutput_column *from = &relation->columns[i];
        columns[i] = (struct tr_column){.type = TR_T_OTHER, .elem_type = TR_T_OTHER};
        if (!tr_pg_type_resolve(from->type_oid, from->typmod, &columns[i], names[i][0],
                                sizeof names[i][0], names[i][1], sizeof names[i][1]))
            (void)snprintf(names[i][0], sizeof names[i][0], "?"),
                (void)snprintf(names[i][1], sizeof names[i][1], "?");
        columns[i].name = from->name;
        columns[i].source_type = names[i][0];
        columns[i].source_type_base = names[i][1];
        columns[i].nullable = true;
        /* with FULL every column is flagged: take the first one, as these tables have it for a key
         */
        if (relation->replica_identity == 'f' ? i == 0 : from->in_replica_identity)
            columns[i].key_index = ++keys;
    }
    struct tr_table spec = {.id = {"db", relation->namespace, relation->name},
                            .source_id = relation->oid,
                            .version = (uint32_t)catalog->calls,
                            .column_count = (uint16_t)(relation->column_count - catalog->short_by),
                            .columns = columns,
                            .replica_identity =
                                (enum tr_replica_identity)relation->replica_identity};
    struct tr_table *made = NULL;
    enum tr_status status = tr_table_new(&spec, &made, err);
    free(names);
    if (status != TR_OK)
        return status;
    *table = made;
    catalog->last = made;
    if (!catalog->announce)
        return TR_OK;
    struct tr_schema_change change = {.kind = TR_CHANGE_CREATE_TABLE};
    status = tr_batch_schema_change(batch, made, &change, NULL, err);
    if (status != TR_OK) {
        tr_table_unref(made);
        *table = NULL;
    }
    return status;
}

void put_u16(struct tr_outbuf *out, uint16_t value)
{
    tr_outbuf_byte(out, (char)(uint8_t)(value >> 8));
    tr_outbuf_byte(out, (char)(uint8_t)value);
}

void put_u32(struct tr_outbuf *out, uint32_t value)
{
    put_u16(out, (uint16_t)(value >> 16));
    put_u16(out, (uint16_t)value);
}

void put_u64(struct tr_outbuf *out, uint64_t value)
{
    put_u32(out, (uint32_t)(value >> 32));
    put_u32(out, (uint32_t)value);
}

void put_cstr(struct tr_outbuf *out, const char *string)
{
    tr_outbuf_bytes(out, string, strlen(string) + 1);
}

static void print_text(struct tr_outbuf *out, const char *ptr, size_t len)
{
    tr_outbuf_byte(out, '"');
    for (size_t i = 0; i < len; i++) {
        unsigned char byte = (unsigned char)ptr[i];
        if (byte == '"' || byte == '\\')
            tr_outbuf_printf(out, "\\%c", byte);
        else if (byte < 0x20)
            tr_outbuf_printf(out, "\\u%04x", byte);
        else
            tr_outbuf_byte(out, ptr[i]);
    }
    tr_outbuf_byte(out, '"');
}

static void print_row(struct tr_outbuf *out, const char *name, const struct tr_table *table,
                      const struct tr_cell *cells)
{
    if (cells == NULL)
        return;
    tr_outbuf_printf(out, ",\"%s\":{", name);
    const char *comma = "";
    for (uint32_t i = 0; i < table->column_count; i++) {
        if (cells[i].state == TR_CELL_ABSENT)
            continue;
        tr_outbuf_str(out, comma);
        comma = ",";
        print_text(out, table->columns[i].name, strlen(table->columns[i].name));
        tr_outbuf_byte(out, ':');
        if (cells[i].state == TR_CELL_NULL) {
            tr_outbuf_lit(out, "null");
        } else if (cells[i].state == TR_CELL_UNCHANGED) {
            tr_outbuf_lit(out, "{\"unchanged\":true}");
        } else if (cells[i].state == TR_CELL_BINARY) {
            tr_outbuf_lit(out, "{\"binary\":\"");
            for (uint32_t at = 0; at < cells[i].len; at++)
                tr_outbuf_printf(out, "%02x", (unsigned)(uint8_t)cells[i].ptr[at]);
            tr_outbuf_lit(out, "\"}");
        } else {
            print_text(out, cells[i].ptr, cells[i].len);
        }
    }
    tr_outbuf_byte(out, '}');
}

static void print_flags(struct tr_outbuf *out, unsigned flags)
{
    static const struct {
        unsigned bit;
        const char *name;
    } names[] = {{TR_EV_BEFORE_KEY_ONLY, "key-only"},
                 {TR_EV_KEY_CHANGED, "key-changed"},
                 {TR_EV_TRUNCATE_CASCADE, "cascade"},
                 {TR_EV_TRUNCATE_RESTART, "restart"}};
    const char *comma = ",\"flags\":\"";
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (flags & names[i].bit) {
            tr_outbuf_printf(out, "%s%s", comma, names[i].name);
            comma = " ";
        }
    }
    if (comma[0] == ' ')
        tr_outbuf_byte(out, '"');
}

void print_event(const struct tr_event *event, struct tr_outbuf *out)
{
    char lsn[3][24], id[256];
    tr_outbuf_printf(out,
                     "{\"op\":\"%c\",\"at\":\"%s\",\"commit\":\"%s\",\"prev\":\"%s\",\"index\":%u,"
                     "\"xid\":%" PRIu64 ",\"ts_us\":%" PRId64,
                     event->op, tr_lsn_format(event->position, lsn[0], sizeof lsn[0]),
                     tr_lsn_format(event->commit_position, lsn[1], sizeof lsn[1]),
                     tr_lsn_format(event->prev_commit_position, lsn[2], sizeof lsn[2]),
                     event->txn_index, event->txn_id, event->ts_us);
    if (event->origin != NULL)
        tr_outbuf_printf(out, ",\"origin\":\"%s\"", event->origin);
    print_flags(out, event->flags);
    if (event->table != NULL) {
        (void)tr_table_id_format(&event->table->id, id, sizeof id);
        tr_outbuf_lit(out, ",\"table\":");
        print_text(out, id, strlen(id));
        print_row(out, "before", event->table, event->before);
        print_row(out, "after", event->table, event->after);
    }
    if (event->op == TR_OP_MESSAGE) {
        tr_outbuf_printf(out, ",\"prefix\":\"%s\",\"content\":", event->message_prefix);
        print_text(out, event->raw.ptr, event->raw.len);
    }
    for (uint32_t i = 0; i < event->mark_count; i++)
        tr_outbuf_printf(out, ",\"%.*s\":\"%.*s\"", (int)event->marks[i].key.len,
                         event->marks[i].key.ptr, (int)event->marks[i].value.len,
                         event->marks[i].value.ptr);
    tr_outbuf_lit(out, "}\n");
}

void print_batch(const struct tr_batch *batch, struct tr_outbuf *out)
{
    for (uint32_t i = 0; i < batch->event_count; i++)
        print_event(&batch->events[i], out);
}

uint64_t next_random(uint64_t *seed)
{
    *seed += UINT64_C(0x9E3779B97F4A7C15);
    uint64_t value = *seed;
    value = (value ^ value >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    value = (value ^ value >> 27) * UINT64_C(0x94D049BB133111EB);
    return value ^ value >> 31;
}

uint64_t seed_of_run(const char *test_name)
{
    const char *given = getenv("TEST_SEED");
    uint64_t seed = given != NULL ? strtoull(given, NULL, 0) : (uint64_t)tr_clock_wall_us();
    printf("%s: TEST_SEED=%" PRIu64 "\n", test_name, seed);
    return seed;
}
