#include "sink_rows.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

const void *tr_config_values(const struct tr_config *config) { return config->values; }

static void must(bool good)
{
    if (!good)
        abort();
}

void rows_init(struct rows *rows)
{
    static const struct tr_column columns[] = {
        {.name = "id",
         .type = TR_T_INT32,
         .elem_type = TR_T_OTHER,
         .source_type = "int4",
         .source_type_base = "int4",
         .key_index = 1},
        {.name = "name",
         .type = TR_T_STRING,
         .elem_type = TR_T_OTHER,
         .source_type = "text",
         .source_type_base = "text",
         .nullable = true},
    };
    struct tr_error err;
    struct tr_table spec = {.id = {"shop", "public", "items"},
                            .version = 1,
                            .column_count = 2,
                            .columns = columns,
                            .replica_identity = TR_RI_DEFAULT,
                            .key_is_primary = true};
    *rows = (struct rows){.next_id = 1};
    must(tr_table_new(&spec, &rows->table, &err) == TR_OK);
    must(tr_batch_new(&rows->batch, &err) == TR_OK);
}

void rows_free(struct rows *rows)
{
    tr_batch_free(rows->batch);
    tr_table_unref(rows->table);
}

void rows_add(struct rows *rows, unsigned count, size_t name_bytes)
{
    struct tr_error err;
    must(tr_batch_table(rows->batch, rows->table, &err) == TR_OK);
    for (unsigned i = 0; i < count; i++) {
        char id[16];
        struct tr_event *event = tr_batch_event(rows->batch, TR_OP_CREATE);
        struct tr_cell *cells = tr_batch_cells(rows->batch, 2);
        must(event != NULL && cells != NULL);
        int len = snprintf(id, sizeof id, "%u", rows->next_id++);
        char *name = tr_arena_alloc(&rows->batch->arena, name_bytes + 1, 1);
        must(name != NULL);
        /* not too easy to compress */
        for (size_t k = 0; k < name_bytes; k++)
            name[k] = (char)('a' + ((rows->next_id * 2654435761u + k * k * 40503u) >> 7) % 26);
        cells[0] = (struct tr_cell){tr_batch_copy(rows->batch, id, (size_t)len), (uint32_t)len,
                                    TR_CELL_TEXT};
        cells[1] = (struct tr_cell){name, (uint32_t)name_bytes, TR_CELL_TEXT};
        event->seq = ++rows->seq;
        event->table = rows->table;
        event->after = cells;
    }
}

void rows_commit(struct rows *rows)
{
    char value[16];
    struct tr_event *event;
    struct tr_error err;
    int len = snprintf(value, sizeof value, "%u", rows->next_id - 1);
    struct tr_mark mark = {{"lsn", 3}, {value, (size_t)len}};
    must(tr_batch_commit(rows->batch, &mark, 1, &event, &err) == TR_OK);
    event->seq = ++rows->seq;
}

enum tr_status rows_write(struct rows *rows, const struct tr_sink_ops *ops, void *writer,
                          struct tr_error *err)
{
    enum tr_status status = ops->write(writer, rows->batch->events, rows->batch->event_count, err);
    tr_batch_reset(rows->batch);
    return status;
}

/* ---- reading back ---------------------------------------------------------------------------- */

static char *read_gzip_or_plain(const char *path, size_t *len)
{
    gzFile file = gzopen(path, "rb"); /* reads plain files too */
    size_t capacity = 1 << 16;
    char *data = malloc(capacity);
    must(file != NULL && data != NULL);
    *len = 0;
    for (;;) {
        int n = gzread(file, data + *len, (unsigned)(capacity - *len));
        if (n < 0) {
            (void)gzclose(file);
            free(data);
            return NULL;
        }
        if (n == 0)
            break;
        *len += (size_t)n;
        if (*len == capacity) {
            capacity *= 2;
            data = realloc(data, capacity);
            must(data != NULL);
        }
    }
    bool whole = gzclose(file) == Z_OK; /* Z_BUF_ERROR: it ends in mid-stream */
    if (!whole) {
        free(data);
        return NULL;
    }
    return data;
}

static char *read_zstd(const char *path, size_t *len)
{
    size_t packed_len;
    char *packed = read_gzip_or_plain(path, &packed_len);
    size_t capacity = 1 << 16, left = 1;
    char *data = malloc(capacity);
    ZSTD_DCtx *context = ZSTD_createDCtx();
    must(packed != NULL && data != NULL && context != NULL);
    ZSTD_inBuffer in = {packed, packed_len, 0};
    ZSTD_outBuffer out = {data, capacity, 0};
    while (left != 0) {
        size_t before = out.pos;
        left = ZSTD_decompressStream(context, &out, &in);
        if (ZSTD_isError(left) || (left != 0 && in.pos == in.size && out.pos == before)) {
            free(data);
            data = NULL;
            break;
        }
        if (out.pos == out.size) {
            out.size *= 2;
            out.dst = data = realloc(data, out.size);
            must(data != NULL);
        }
    }
    (void)ZSTD_freeDCtx(context);
    free(packed);
    *len = out.pos;
    return data;
}

static bool add_ids(struct found *found, const char *data, size_t len)
{
    const char *at = data, *end = data + len;
    if (len == 0 || end[-1] != '\n')
        return false;
    while (at < end) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        const char *id = memmem(at, (size_t)(newline - at), "\"id\":", 5);
        if (id == NULL || at[0] != '{' || newline[-1] != '}')
            return false;
        if (found->count == found->capacity) {
            found->capacity = found->capacity == 0 ? 1024 : found->capacity * 2;
            found->ids = realloc(found->ids, found->capacity * sizeof *found->ids);
            must(found->ids != NULL);
        }
        found->ids[found->count++] = (uint32_t)strtoul(id + 5, NULL, 10);
        at = newline + 1;
    }
    return true;
}

static int is_rows_file(const struct dirent *entry)
{
    return strstr(entry->d_name, ".jsonl") != NULL;
}

static bool ends_in(const char *name, const char *suffix)
{
    size_t len = strlen(name), suffix_len = strlen(suffix);
    return len >= suffix_len && strcmp(name + len - suffix_len, suffix) == 0;
}

bool found_read(struct found *found, const char *folder)
{
    struct dirent **entries;
    bool good = true;
    *found = (struct found){0};
    int count = scandir(folder, &entries, is_rows_file, alphasort);
    must(count >= 0);
    for (int i = 0; i < count; i++) {
        char path[4096];
        const char *name = entries[i]->d_name;
        (void)snprintf(path, sizeof path, "%s/%s", folder, name);
        if (ends_in(name, ".tmp")) {
            found->temps++;
        } else {
            size_t len = 0;
            char *data =
                ends_in(name, ".zst") ? read_zstd(path, &len) : read_gzip_or_plain(path, &len);
            good = good && data != NULL && add_ids(found, data, len);
            free(data);
            if (good && found->files < 256)
                found->last_ids[found->files] = found->ids[found->count - 1];
            found->files++;
        }
        free(entries[i]);
    }
    free(entries);
    return good;
}

bool found_in_order(const struct found *found)
{
    for (size_t i = 0; i < found->count; i++) {
        if (found->ids[i] != i + 1)
            return false;
    }
    return true;
}

void found_free(struct found *found)
{
    free(found->ids);
    *found = (struct found){0};
}

struct tr_sink_file_options file_options(const char *path)
{
    struct tr_sink_file_options options = {
        .path = path, .rotation_size_bytes = 64 << 20, .rotation_time_ms = 3600000};
    tr_format_options_default(&options.format_options);
    return options;
}
