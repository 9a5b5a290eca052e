/* Verify: groups the source's tables by target, compares each group, and sums up.
 *
 * Comparing by merge. The source side is one scan per source table (shard), the sink side is one
 * scan. Rows of one key are gathered from all of them before they are judged, so that a row that is
 * in the target twice is seen. Keys must rise on each scan; where they do not (the side sorts
 * otherwise than tr_verify_compare_keys), the merge is given up and the table is compared through a
 * hash table. */
#include "cli/verify_internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define RANGE_ROWS_DEFAULT 10000
#define ROUNDS_DEFAULT 5
#define SUSPECTS_MAX_DEFAULT 65536
#define HASHED_KEYS_MAX_DEFAULT (1u << 20)

const char *tr_verify_row_kind_name(enum tr_verify_row_kind kind)
{
    static const char *const names[] = {"missing", "extra", "different", "changing"};
    return names[kind];
}

/* ---- small parts ---------------------------------------------------------------------------- */

static enum tr_status out_of_memory(struct tr_error *err)
{
    return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory to compare a table");
}

enum tr_status tr_verify_count_row(struct tr_verify_job *job, struct tr_error *err)
{
    const struct tr_verify_output *output = &job->verify->output;
    if (++job->rows_seen % TR_VERIFY_CHECK_EVERY != 0)
        return TR_OK;
    if (output->cancelled != NULL && output->cancelled(output->ctx))
        return tr_fail(err, TR_E_INTERRUPTED, "verify was interrupted");
    if (output->progress != NULL)
        output->progress(output->ctx, &job->target->id, job->report.source_rows);
    return TR_OK;
}

void tr_verify_key_of(const struct tr_table *table, const struct tr_cell *cells,
                      struct tr_cell *key)
{
    for (uint32_t i = 0; i < table->key_count; i++)
        key[i] = cells[table->key_columns[i]];
}

void tr_verify_list_row(struct tr_verify_job *job, enum tr_verify_row_kind kind, const char *key,
                        const char *columns)
{
    const struct tr_verify_output *output = &job->verify->output;
    struct tr_verify_row row = {kind, key, columns};
    if (output->row == NULL || job->listed >= job->verify->options.listed_rows_max)
        return;
    job->listed++;
    output->row(output->ctx, &job->report, &row);
}

static void tally_add(struct tr_verify_tally *tally, struct tr_verify_tally other)
{
    tally->rows += other.rows;
    tally->checksum += other.checksum;
}

static bool tally_equal(struct tr_verify_tally a, struct tr_verify_tally b)
{
    return a.rows == b.rows && a.checksum == b.checksum;
}

/* ---- suspects ------------------------------------------------------------------------------- */

/* The text form, which either side takes for a look-up. */
static bool copy_as_hex(struct tr_arena *arena, const struct tr_cell *binary, struct tr_cell *text)
{
    size_t len = 2 * (size_t)binary->len + 2;
    char *hex = len > UINT32_MAX ? NULL : tr_arena_alloc(arena, len, 1);
    if (hex == NULL)
        return false;
    hex[0] = '\\';
    hex[1] = 'x';
    for (size_t i = 0; i < binary->len; i++) {
        hex[2 + 2 * i] = "0123456789abcdef"[(uint8_t)binary->ptr[i] >> 4];
        hex[3 + 2 * i] = "0123456789abcdef"[(uint8_t)binary->ptr[i] & 15];
    }
    *text = (struct tr_cell){.ptr = hex, .len = (uint32_t)len, .state = TR_CELL_TEXT};
    return true;
}

static struct tr_cell *copy_key(struct tr_arena *arena, const struct tr_cell *key, uint32_t count)
{
    struct tr_cell *copy =
        tr_arena_alloc(arena, (count + 1) * sizeof *copy, _Alignof(struct tr_cell));
    for (uint32_t i = 0; copy != NULL && i < count; i++) {
        copy[i] = key[i];
        if (key[i].state == TR_CELL_BINARY && !copy_as_hex(arena, &key[i], &copy[i]))
            return NULL;
        if (key[i].state != TR_CELL_TEXT)
            continue;
        copy[i].ptr = tr_arena_strndup(arena, key[i].ptr, key[i].len);
        if (copy[i].ptr == NULL)
            return NULL;
    }
    return copy;
}

enum tr_status tr_verify_suspect_add(struct tr_verify_job *job, const struct tr_cell *key,
                                     struct tr_verify_tally source, struct tr_verify_tally sink,
                                     uint32_t range, struct tr_error *err)
{
    struct tr_verify_suspects *list = &job->suspects;
    if (list->count == job->verify->options.suspects_max ||
        list->arena.used_bytes >= TR_VERIFY_SUSPECT_BYTES_MAX) {
        list->overflow++;
        if (job->span_count > 0)
            job->spans[range].unequal = true;
        return TR_OK;
    }
    if (list->count == list->capacity) {
        size_t capacity = list->capacity == 0 ? 64 : list->capacity * 2;
        struct tr_verify_suspect *items = realloc(list->items, capacity * sizeof *items);
        if (items == NULL)
            return out_of_memory(err);
        list->items = items;
        list->capacity = capacity;
    }
    struct tr_cell *copy = copy_key(&list->arena, key, job->target->key_count);
    if (copy == NULL)
        return out_of_memory(err);
    list->items[list->count++] =
        (struct tr_verify_suspect){.key = copy, .source = source, .sink = sink, .range = range};
    return TR_OK;
}

void tr_verify_suspects_clear(struct tr_verify_suspects *suspects)
{
    suspects->count = 0;
    suspects->overflow = 0;
    tr_arena_reset(&suspects->arena);
}

/* ---- spans ---------------------------------------------------------------------------------- */

static void span_free(struct tr_verify_span *span)
{
    free(span->first_key);
    free(span->last_key);
}

static void spans_clear(struct tr_verify_job *job)
{
    for (size_t i = 0; i < job->span_count; i++)
        span_free(&job->spans[i]);
    job->span_count = 0;
    job->span_fill = 0;
}

/* Too many: each two neighbours become one, and a span takes twice as many rows from now on. */
static void join_spans(struct tr_verify_job *job)
{
    for (size_t i = 0; i < job->span_count; i += 2) {
        struct tr_verify_span joined = job->spans[i];
        if (i + 1 < job->span_count) {
            struct tr_verify_span *next = &job->spans[i + 1];
            free(joined.last_key);
            free(next->first_key);
            joined.last_key = next->last_key;
            tally_add(&joined.source, next->source);
            tally_add(&joined.sink, next->sink);
            joined.unequal |= next->unequal;
        }
        job->spans[i / 2] = joined;
    }
    job->span_count = (job->span_count + 1) / 2;
    job->span_rows *= 2;
    for (size_t i = 0; i < job->suspects.count; i++)
        job->suspects.items[i].range /= 2;
}

static char *key_text(const struct tr_table *table, const struct tr_cell *key)
{
    struct tr_outbuf text = {0};
    tr_verify_print_key(table, key, &text);
    char *copy = text.failed ? NULL : strdup(tr_outbuf_cstr(&text));
    tr_outbuf_free(&text);
    return copy;
}

static enum tr_status span_close(struct tr_verify_job *job, const struct tr_cell *last_key,
                                 struct tr_error *err)
{
    struct tr_verify_span *span = &job->spans[job->span_count - 1];
    span->last_key = key_text(job->target, last_key);
    return span->last_key == NULL ? out_of_memory(err) : TR_OK;
}

static enum tr_status span_open(struct tr_verify_job *job, const struct tr_cell *first_key,
                                struct tr_error *err)
{
    if (job->span_count == TR_VERIFY_RANGES_MAX)
        join_spans(job);
    struct tr_verify_span *span = &job->spans[job->span_count];
    *span = (struct tr_verify_span){.first_key = key_text(job->target, first_key)};
    if (span->first_key == NULL)
        return out_of_memory(err);
    job->span_count++;
    job->span_fill = 0;
    return TR_OK;
}

/* ---- streams -------------------------------------------------------------------------------- */

/* One scan, read a row ahead. The last key is kept to see that keys rise. */
struct stream {
    const struct tr_verify_side *side;
    struct tr_scan *scan;
    const struct tr_cell *cells; /* of the row ahead; NULL at the end */
    struct tr_cell *key, *last;  /* key_count cells; key points into the row, last into the arena */
    struct tr_arena arena;
    bool has_last, unordered;
};

static void stream_close(struct stream *stream)
{
    if (stream->scan != NULL)
        stream->side->ops->close(stream->scan);
    free(stream->key);
    tr_arena_free(&stream->arena);
    *stream = (struct stream){0};
}

static enum tr_status stream_open(struct stream *stream, const struct tr_verify_side *side,
                                  const struct tr_table *table, struct tr_error *err)
{
    *stream = (struct stream){.side = side};
    tr_arena_init(&stream->arena, 1024, 64 << 10);
    stream->key = calloc(table->key_count + 1u, sizeof *stream->key);
    if (stream->key == NULL)
        return out_of_memory(err);
    return side->ops->open(side->self, table, NULL, &stream->scan, err);
}

/* Gives up the row ahead and reads the next one. */
static enum tr_status stream_next(struct stream *stream, const struct tr_table *table,
                                  struct tr_error *err)
{
    if (stream->cells != NULL) {
        tr_arena_reset(&stream->arena);
        stream->last = copy_key(&stream->arena, stream->key, table->key_count);
        if (stream->last == NULL)
            return out_of_memory(err);
        stream->has_last = true;
    }
    enum tr_status status = stream->side->ops->next(stream->scan, &stream->cells, err);
    if (status != TR_OK) {
        stream->cells = NULL;
        return status == TR_END ? TR_OK : TR_FAIL;
    }
    tr_verify_key_of(table, stream->cells, stream->key);
    if (stream->has_last && tr_verify_compare_keys(table, stream->last, stream->key) > 0)
        stream->unordered = true;
    return TR_OK;
}

/* ---- merge ---------------------------------------------------------------------------------- */

struct merge {
    struct tr_verify_job *job;
    struct stream *streams; /* the shards, then the sink */
    uint32_t count;
    struct tr_arena arena; /* the key in hand */
};

/* The stream with the lowest key ahead, NULL when all are at their end. */
static const struct stream *lowest(const struct merge *merge)
{
    const struct stream *low = NULL;
    for (uint32_t i = 0; i < merge->count; i++) {
        const struct stream *stream = &merge->streams[i];
        if (stream->cells == NULL)
            continue;
        if (low == NULL || tr_verify_compare_keys(merge->job->target, stream->key, low->key) < 0)
            low = stream;
    }
    return low;
}

/* Takes all rows with this key from one stream. */
static enum tr_status take_key(struct merge *merge, struct stream *stream,
                               const struct tr_cell *key, struct tr_verify_tally *tally,
                               struct tr_error *err)
{
    struct tr_verify_job *job = merge->job;
    while (stream->cells != NULL && !stream->unordered &&
           tr_verify_compare_keys(job->target, stream->key, key) == 0) {
        struct tr_verify_hash hash = tr_verify_hash_row(job->target, stream->cells);
        tally_add(tally, (struct tr_verify_tally){1, hash.low});
        if (stream_next(stream, job->target, err) != TR_OK) {
            job->sink_failed = stream->side == &job->verify->sink;
            return TR_FAIL;
        }
        if (tr_verify_count_row(job, err) != TR_OK)
            return TR_FAIL;
    }
    return TR_OK;
}

/* One key of all streams. TR_END: there is none. TR_AGAIN: a scan is not in order. */
static enum tr_status merge_key(struct merge *merge, struct tr_error *err)
{
    struct tr_verify_job *job = merge->job;
    const struct stream *low = lowest(merge);
    if (low == NULL)
        return TR_END;
    tr_arena_reset(&merge->arena);
    const struct tr_cell *key = copy_key(&merge->arena, low->key, job->target->key_count);
    if (key == NULL)
        return out_of_memory(err);
    struct tr_verify_tally source = {0}, sink = {0};
    for (uint32_t i = 0; i < merge->count; i++) {
        bool is_sink = i == job->shard_count;
        if (take_key(merge, &merge->streams[i], key, is_sink ? &sink : &source, err) != TR_OK)
            return TR_FAIL;
        if (merge->streams[i].unordered)
            return TR_AGAIN;
    }
    if (job->span_count == 0 && span_open(job, key, err) != TR_OK)
        return TR_FAIL;
    struct tr_verify_span *span = &job->spans[job->span_count - 1];
    tally_add(&span->source, source);
    tally_add(&span->sink, sink);
    job->report.source_rows += source.rows;
    if (!tally_equal(source, sink) &&
        tr_verify_suspect_add(job, key, source, sink, (uint32_t)job->span_count - 1, err) != TR_OK)
        return TR_FAIL;
    job->span_fill += source.rows > sink.rows ? source.rows : sink.rows;
    bool last = lowest(merge) == NULL;
    if (!last && job->span_fill < job->span_rows)
        return TR_OK;
    if (span_close(job, key, err) != TR_OK)
        return TR_FAIL;
    return last ? TR_OK : span_open(job, lowest(merge)->key, err);
}

/* TR_AGAIN: this table cannot be merged. */
static enum tr_status merge_table(struct tr_verify_job *job, struct tr_error *err)
{
    struct merge merge = {.job = job, .count = job->shard_count + 1};
    enum tr_status status = TR_FAIL;
    tr_arena_init(&merge.arena, 1024, 64 << 10);
    merge.streams = calloc(merge.count, sizeof *merge.streams);
    if (merge.streams == NULL) {
        (void)out_of_memory(err);
        goto cleanup;
    }
    for (uint32_t i = 0; i < merge.count; i++) {
        bool is_sink = i == job->shard_count;
        if (stream_open(&merge.streams[i], is_sink ? &job->verify->sink : &job->verify->source,
                        is_sink ? job->target : job->shards[i], err) != TR_OK ||
            stream_next(&merge.streams[i], job->target, err) != TR_OK) {
            job->sink_failed = is_sink;
            goto cleanup;
        }
    }
    do
        status = merge_key(&merge, err);
    while (status == TR_OK);
    if (status == TR_END)
        status = TR_OK;
cleanup:
    for (uint32_t i = 0; merge.streams != NULL && i < merge.count; i++)
        stream_close(&merge.streams[i]);
    free(merge.streams);
    tr_arena_free(&merge.arena);
    return status;
}

/* ---- one table ------------------------------------------------------------------------------ */

static bool key_is_ordered(const struct tr_table *table)
{
    for (uint32_t i = 0; i < table->key_count; i++) {
        if (!tr_verify_type_is_ordered(table->columns[table->key_columns[i]].type))
            return false;
    }
    return true;
}

static void start_over(struct tr_verify_job *job)
{
    spans_clear(job);
    tr_verify_suspects_clear(&job->suspects);
    job->report.source_rows = job->report.sink_rows = 0;
}

static enum tr_status compare_once(struct tr_verify_job *job, struct tr_error *err)
{
    start_over(job);
    if (job->target->key_count == 0)
        return tr_verify_bag(job, err);
    if (job->report.method == TR_VERIFY_MERGED) {
        enum tr_status status = merge_table(job, err);
        if (status != TR_AGAIN)
            return status;
        job->report.method = TR_VERIFY_HASHED;
        start_over(job);
    }
    return tr_verify_hashed(job, err);
}

/* The sink's table cannot be read: how many rows should it have? */
static enum tr_status count_source(struct tr_verify_job *job, struct tr_error *err)
{
    size_t len = strlen(err->message);
    memcpy(job->problem, err->message, len + 1); /* both hold 512 bytes */
    job->report.problem = job->problem;
    start_over(job);
    for (uint32_t i = 0; i < job->shard_count; i++) {
        struct stream stream;
        enum tr_status status = stream_open(&stream, &job->verify->source, job->shards[i], err);
        while (status == TR_OK &&
               (status = stream.side->ops->next(stream.scan, &stream.cells, err)) == TR_OK) {
            struct tr_verify_hash hash = tr_verify_hash_row(job->target, stream.cells);
            job->report.source_rows++;
            job->report.source_checksum += hash.low;
            status = tr_verify_count_row(job, err);
        }
        stream_close(&stream);
        if (status == TR_FAIL)
            return TR_FAIL;
    }
    job->report.missing_rows = job->report.source_rows;
    return TR_OK;
}

static enum tr_status compare_table(struct tr_verify_job *job, struct tr_error *err)
{
    enum tr_status status = compare_once(job, err);
    if (status == TR_OK && job->suspects.overflow > 0) {
        /* the sink is far behind: wait once, and if it moved on, read both sides again */
        status = tr_verify_wait(job->verify, err);
        if (status == TR_OK && !job->verify->stood_still)
            status = compare_once(job, err);
    }
    if (status == TR_FAIL && job->sink_failed && err->class == TR_SCHEMA)
        return count_source(job, err);
    return status == TR_OK ? tr_verify_recheck(job, err) : status;
}

/* Sums up the spans and hands the table over. */
static enum tr_status report_table(struct tr_verify_job *job, struct tr_error *err)
{
    struct tr_verify_table *report = &job->report;
    struct tr_verify_range *ranges = calloc(job->span_count + 1, sizeof *ranges);
    if (ranges == NULL)
        return out_of_memory(err);
    struct tr_verify_tally source = {0}, sink = {0};
    for (size_t i = 0; i < job->span_count; i++) {
        const struct tr_verify_span *span = &job->spans[i];
        ranges[i] = (struct tr_verify_range){
            .first_key = span->first_key != NULL ? span->first_key : "",
            .last_key = span->last_key != NULL ? span->last_key : "",
            .source_rows = span->source.rows,
            .sink_rows = span->sink.rows,
            .source_checksum = span->source.checksum,
            .sink_checksum = span->sink.checksum,
            .equal = !span->unequal && tally_equal(span->source, span->sink)};
        tally_add(&source, span->source);
        tally_add(&sink, span->sink);
    }
    if (report->problem == NULL) {
        report->source_rows = source.rows;
        report->source_checksum = source.checksum;
        report->sink_rows = sink.rows;
        report->sink_checksum = sink.checksum;
    }
    report->ranges = ranges;
    report->range_count = job->span_count;
    report->unchecked_rows = job->suspects.overflow;
    report->equal = report->missing_rows + report->extra_rows + report->different_rows +
                        report->changing_rows + report->unchecked_rows ==
                    0;
    if (job->verify->output.table != NULL)
        job->verify->output.table(job->verify->output.ctx, report);
    free(ranges);
    report->ranges = NULL;
    return TR_OK;
}

/* ---- groups --------------------------------------------------------------------------------- */

/* One source table and one of its targets. */
struct pairing {
    struct tr_table *source, *target;
    bool done;
};
struct plan {
    const struct tr_verify_router *router;
    struct pairing *items;
    size_t count, capacity;
    const struct tr_table *routing; /* the source table in the router's hands */
    struct tr_error *err;
    enum tr_status status;
};

static enum tr_status plan_add(void *add_ctx, const struct tr_table_id *target,
                               struct tr_error *err)
{
    struct plan *plan = add_ctx;
    if (plan->count == plan->capacity) {
        size_t capacity = plan->capacity == 0 ? 32 : plan->capacity * 2;
        struct pairing *items = realloc(plan->items, capacity * sizeof *items);
        if (items == NULL)
            return out_of_memory(err);
        plan->items = items;
        plan->capacity = capacity;
    }
    struct tr_table *routed = NULL;
    if (tr_table_with_id(plan->routing, *target, &routed, err) != TR_OK)
        return TR_FAIL;
    plan->items[plan->count++] = (struct pairing){tr_table_ref(plan->routing), routed, false};
    return TR_OK;
}

static void plan_table(void *ctx, const struct tr_table *table)
{
    struct plan *plan = ctx;
    if (plan->status != TR_OK)
        return;
    plan->routing = table;
    plan->status = plan->router == NULL || plan->router->route == NULL
                       ? plan_add(plan, &table->id, plan->err)
                       : plan->router->route(plan->router->ctx, table, plan_add, plan, plan->err);
}

static void plan_free(struct plan *plan)
{
    for (size_t i = 0; i < plan->count; i++) {
        tr_table_unref(plan->items[i].source);
        tr_table_unref(plan->items[i].target);
    }
    free(plan->items);
}

/* `table` with only these columns, in this order, found by name. TR_AGAIN: a column is not there.
 */
static enum tr_status project(const struct tr_table *table, const struct tr_column *columns,
                              uint16_t column_count, struct tr_table **out, struct tr_error *err)
{
    struct tr_column *copy = calloc(column_count + 1u, sizeof *copy);
    enum tr_status status = TR_OK;
    if (copy == NULL)
        return out_of_memory(err);
    for (uint16_t i = 0; i < column_count && status == TR_OK; i++) {
        int at = tr_table_column(table, columns[i].name);
        if (at < 0) {
            status = TR_AGAIN;
            break;
        }
        copy[i] = table->columns[at];
        copy[i].key_index = columns[i].key_index;
    }
    struct tr_table spec = *table;
    spec.column_count = column_count;
    spec.columns = copy;
    if (status == TR_OK)
        status = tr_table_new(&spec, out, err);
    free(copy);
    return status;
}

/* Shards of one target: the columns that all of them have, as the first one orders them. */
static enum tr_status common_columns(struct tr_verify_job *job, struct tr_error *err)
{
    const struct tr_table *first = job->shards[0];
    struct tr_column *columns = calloc(first->column_count + 1u, sizeof *columns);
    uint16_t count = 0, keys = 0;
    if (columns == NULL)
        return out_of_memory(err);
    for (uint16_t i = 0; i < first->column_count; i++) {
        bool everywhere = true;
        for (uint32_t k = 1; k < job->shard_count && everywhere; k++) {
            int at = tr_table_column(job->shards[k], first->columns[i].name);
            everywhere = at >= 0 && (first->columns[i].key_index > 0) ==
                                        (job->shards[k]->columns[at].key_index > 0);
        }
        if (!everywhere)
            continue;
        columns[count++] = first->columns[i];
        keys = (uint16_t)(keys + (first->columns[i].key_index > 0));
    }
    enum tr_status status = TR_OK;
    if (keys != first->key_count)
        status = tr_fail(err, TR_E_VERIFY_UNSUPPORTED,
                         "the tables that are routed to \"%s\" have different keys",
                         job->target->id.table);
    struct tr_table *narrow = NULL;
    if (status == TR_OK)
        status = project(job->target, columns, count, &narrow, err);
    if (status == TR_OK) {
        tr_table_unref(job->target);
        job->target = narrow;
    }
    for (uint32_t k = 0; k < job->shard_count && status == TR_OK; k++) {
        status = project(job->shards[k], columns, count, &narrow, err);
        if (status == TR_OK) {
            tr_table_unref(job->shards[k]);
            job->shards[k] = narrow;
        }
    }
    free(columns);
    return status == TR_AGAIN ? tr_fail(err, TR_E_INTERNAL, "a common column is not common")
                              : status;
}

/* Takes every pairing with this target into the job. */
static enum tr_status gather_shards(struct tr_verify_job *job, struct plan *plan, size_t from,
                                    struct tr_error *err)
{
    job->shards = calloc(TR_VERIFY_SHARDS_MAX, sizeof(const struct tr_table *));
    if (job->shards == NULL)
        return out_of_memory(err);
    job->target = tr_table_ref(plan->items[from].target);
    for (size_t i = from; i < plan->count; i++) {
        struct pairing *pairing = &plan->items[i];
        if (pairing->done || !tr_table_id_equal(&pairing->target->id, &job->target->id))
            continue;
        if (job->shard_count == TR_VERIFY_SHARDS_MAX)
            return tr_fail(err, TR_E_VERIFY_UNSUPPORTED, "more than %d tables are routed to \"%s\"",
                           TR_VERIFY_SHARDS_MAX, job->target->id.table);
        pairing->done = true;
        job->shards[job->shard_count++] = tr_table_ref(pairing->source);
    }
    return job->shard_count > 1 ? common_columns(job, err) : TR_OK;
}

static void job_free(struct tr_verify_job *job)
{
    spans_clear(job);
    free(job->spans);
    free(job->suspects.items);
    tr_arena_free(&job->suspects.arena);
    for (uint32_t i = 0; i < job->shard_count; i++)
        tr_table_unref(job->shards[i]);
    free(job->shards);
    tr_table_unref(job->target);
}

static enum tr_status run_job(struct tr_verify *verify, struct plan *plan, size_t from,
                              struct tr_verify_result *result, struct tr_error *err)
{
    struct tr_verify_job job = {.verify = verify, .span_rows = verify->options.range_rows};
    tr_arena_init(&job.suspects.arena, 64 << 10, 0);
    job.spans = calloc(TR_VERIFY_RANGES_MAX, sizeof *job.spans);
    enum tr_status status =
        job.spans == NULL ? out_of_memory(err) : gather_shards(&job, plan, from, err);
    if (status == TR_OK) {
        job.report.source = &job.shards[0]->id;
        job.report.source_count = job.shard_count;
        job.report.target = &job.target->id;
        job.report.method = job.target->key_count == 0   ? TR_VERIFY_BAG
                            : key_is_ordered(job.target) ? TR_VERIFY_MERGED
                                                         : TR_VERIFY_HASHED;
        status = compare_table(&job, err);
    }
    if (status == TR_OK)
        status = report_table(&job, err);
    if (status == TR_OK) {
        result->table_count++;
        result->unequal_table_count += !job.report.equal;
        result->source_rows += job.report.source_rows;
        result->sink_rows += job.report.sink_rows;
    }
    job_free(&job);
    return status;
}

/* ---- the whole ------------------------------------------------------------------------------ */

static enum tr_status final_positions(const struct tr_verify *verify,
                                      struct tr_verify_result *result, struct tr_error *err)
{
    if (verify->source.ops->position == NULL || verify->sink.ops->position == NULL)
        return TR_OK;
    if (verify->source.ops->position(verify->source.self, &result->source_position, err) != TR_OK ||
        verify->sink.ops->position(verify->sink.self, &result->sink_position, err) != TR_OK)
        return TR_FAIL;
    result->positions_known = true;
    if (result->source_position > result->sink_position)
        result->behind = result->source_position - result->sink_position;
    return TR_OK;
}

enum tr_status tr_verify(const struct tr_verify_side *source, const struct tr_verify_side *sink,
                         const struct tr_verify_router *router,
                         const struct tr_verify_options *options,
                         const struct tr_verify_output *output, struct tr_verify_result *result,
                         struct tr_error *err)
{
    struct tr_verify verify = {
        .source = *source, .sink = *sink, .options = *options, .output = *output};
    struct plan plan = {.router = router, .err = err};
    *result = (struct tr_verify_result){0};
    if (source->ops == NULL || source->ops->list == NULL)
        return tr_fail(err, TR_E_VERIFY_UNSUPPORTED, "this source cannot be read back");
    if (sink->ops == NULL)
        return tr_fail(err, TR_E_VERIFY_UNSUPPORTED, "this sink cannot be read back");
    if (verify.options.range_rows == 0)
        verify.options.range_rows = RANGE_ROWS_DEFAULT;
    if (verify.options.rounds == 0)
        verify.options.rounds = ROUNDS_DEFAULT;
    if (verify.options.suspects_max == 0)
        verify.options.suspects_max = SUSPECTS_MAX_DEFAULT;
    if (verify.options.hashed_keys_max == 0)
        verify.options.hashed_keys_max = HASHED_KEYS_MAX_DEFAULT;
    enum tr_status status = source->ops->list(source->self, plan_table, &plan, err);
    if (status == TR_OK)
        status = plan.status;
    for (size_t i = 0; i < plan.count && status == TR_OK; i++) {
        if (!plan.items[i].done)
            status = run_job(&verify, &plan, i, result, err);
    }
    if (status == TR_OK)
        status = final_positions(&verify, result, err);
    result->equal = status == TR_OK && result->unequal_table_count == 0;
    result->sink_stood_still = verify.stood_still;
    plan_free(&plan);
    return status;
}
