/* Reading suspects again: was it a difference, or only two readings at two moments?
 *
 *   round:  R1 = the source's rows of the key, for every suspect
 *           L  = the source's log position (so it covers R1)
 *           wait until the sink has passed L, or the time is up
 *           S  = the sink's rows of the key
 *           S = R1                  → equal
 *           R2 = the source's rows again
 *           S = R2                  → equal (the sink is further than L)
 *           R1 = R2, S differs      → different: the sink had what it takes to have R1
 *           R1 ≠ R2                 → it changes; next round, up to a limit
 *
 * When the sink does not pass L in time the verdicts are the same, and the result says how far
 * behind the sink is: what differs may be what it has not delivered. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "cli/verify_internal.h"

static bool tally_equal(struct tr_verify_tally a, struct tr_verify_tally b)
{
    return a.rows == b.rows && a.checksum == b.checksum;
}

static enum tr_status check_cancelled(struct tr_verify *verify, struct tr_error *err)
{
    const struct tr_verify_output *output = &verify->output;
    if (output->cancelled != NULL && output->cancelled(output->ctx))
        return tr_fail(err, TR_E_INTERRUPTED, "verify was interrupted");
    return TR_OK;
}

/* ---- waiting -------------------------------------------------------------------------------- */

enum tr_status tr_verify_wait(struct tr_verify *verify, struct tr_error *err)
{
    uint64_t target = 0, first = 0, now = 0;
    if (verify->source.ops->position == NULL || verify->sink.ops->position == NULL)
        return TR_OK;
    if (verify->source.ops->position(verify->source.self, &target, err) != TR_OK ||
        verify->sink.ops->position(verify->sink.self, &first, err) != TR_OK)
        return TR_FAIL;
    if (first != verify->sink_position)
        verify->stood_still = false;
    verify->sink_position = first;
    if (first >= target)
        return TR_OK;
    /* a sink that stood still through one whole wait gets only a look from then on */
    int64_t end_ms = tr_clock_mono_ms() + (verify->stood_still ? 0 : verify->options.timeout_ms);
    for (now = first; now < target && tr_clock_mono_ms() < end_ms;) {
        if (check_cancelled(verify, err) != TR_OK)
            return TR_FAIL;
        tr_clock_sleep_ms(TR_VERIFY_POLL_MS);
        if (verify->sink.ops->position(verify->sink.self, &now, err) != TR_OK)
            return TR_FAIL;
    }
    verify->sink_position = now;
    verify->stood_still = now < target && (verify->stood_still || now == first);
    return TR_OK;
}

/* ---- reading one key ------------------------------------------------------------------------ */

/* The rows of one key on one side. The first row is kept in the arena, to name columns that differ.
 */
struct reading {
    struct tr_verify_tally tally;
    struct tr_cell *first;                    /* NULL when there is none */
    uint64_t checksums[TR_VERIFY_SHARDS_MAX]; /* of the first rows */
    struct tr_arena arena;
};

static void reading_init(struct reading *reading)
{
    reading->tally = (struct tr_verify_tally){0};
    reading->first = NULL;
    tr_arena_init(&reading->arena, 4096, 64 << 10);
}

static bool keep_row(struct reading *reading, const struct tr_cell *cells, uint32_t column_count)
{
    reading->first = tr_arena_alloc(&reading->arena, (column_count + 1) * sizeof *reading->first,
                                    _Alignof(struct tr_cell));
    for (uint32_t i = 0; reading->first != NULL && i < column_count; i++) {
        reading->first[i] = cells[i];
        if (cells[i].state != TR_CELL_TEXT && cells[i].state != TR_CELL_BINARY)
            continue;
        reading->first[i].ptr = tr_arena_strndup(&reading->arena, cells[i].ptr, cells[i].len);
        if (reading->first[i].ptr == NULL)
            return false;
    }
    return reading->first != NULL;
}

static enum tr_status read_table(const struct tr_verify_side *side, const struct tr_table *table,
                                 const struct tr_cell *key, struct reading *reading,
                                 struct tr_error *err)
{
    struct tr_scan *scan = NULL;
    const struct tr_cell *cells = NULL;
    enum tr_status status = side->ops->open(side->self, table, key, &scan, err);
    while (status == TR_OK && (status = side->ops->next(scan, &cells, err)) == TR_OK) {
        uint64_t checksum = tr_verify_hash_row(table, cells).low;
        if (reading->tally.rows < TR_VERIFY_SHARDS_MAX)
            reading->checksums[reading->tally.rows] = checksum;
        reading->tally.rows++;
        reading->tally.checksum += checksum;
        if (reading->first == NULL && !keep_row(reading, cells, table->column_count))
            status = tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for a row");
    }
    if (scan != NULL)
        side->ops->close(scan);
    return status == TR_END ? TR_OK : status;
}

static enum tr_status read_source(const struct tr_verify_job *job, const struct tr_cell *key,
                                  struct reading *reading, struct tr_error *err)
{
    reading->tally = (struct tr_verify_tally){0};
    reading->first = NULL;
    tr_arena_reset(&reading->arena);
    for (uint32_t i = 0; i < job->shard_count; i++) {
        if (read_table(&job->verify->source, job->shards[i], key, reading, err) != TR_OK)
            return TR_FAIL;
    }
    return TR_OK;
}

static enum tr_status read_sink(const struct tr_verify_job *job, const struct tr_cell *key,
                                struct reading *reading, struct tr_error *err)
{
    reading->tally = (struct tr_verify_tally){0};
    reading->first = NULL;
    tr_arena_reset(&reading->arena);
    return read_table(&job->verify->sink, job->target, key, reading, err);
}

/* ---- verdicts ------------------------------------------------------------------------------- */

/* The range holds what the last readings say. */
static void replace_in_span(struct tr_verify_job *job, const struct tr_verify_suspect *suspect,
                            struct tr_verify_tally source, struct tr_verify_tally sink)
{
    struct tr_verify_span *span = &job->spans[suspect->range];
    span->source.rows += source.rows - suspect->source.rows;
    span->source.checksum += source.checksum - suspect->source.checksum;
    span->sink.rows += sink.rows - suspect->sink.rows;
    span->sink.checksum += sink.checksum - suspect->sink.checksum;
}

static void list_suspect(struct tr_verify_job *job, const struct tr_verify_suspect *suspect,
                         enum tr_verify_row_kind kind, const struct reading *source,
                         const struct reading *sink)
{
    struct tr_outbuf key = {0}, columns = {0};
    tr_verify_print_key(job->target, suspect->key, &key);
    for (uint32_t i = 0; kind == TR_VERIFY_DIFFERENT && i < job->target->column_count; i++) {
        const struct tr_column *column = &job->target->columns[i];
        if (tr_verify_cells_equal(column, &source->first[i], &sink->first[i]))
            continue;
        if (columns.len > 0)
            tr_outbuf_lit(&columns, ", ");
        tr_outbuf_str(&columns, column->name);
    }
    tr_verify_list_row(job, kind, tr_outbuf_cstr(&key), tr_outbuf_cstr(&columns));
    tr_outbuf_free(&key);
    tr_outbuf_free(&columns);
}

static void convict(struct tr_verify_job *job, struct tr_verify_suspect *suspect,
                    enum tr_verify_row_kind kind, const struct reading *source,
                    const struct reading *sink)
{
    uint64_t *const counts[] = {&job->report.missing_rows, &job->report.extra_rows,
                                &job->report.different_rows, &job->report.changing_rows};
    suspect->settled = true;
    (*counts[kind])++;
    job->spans[suspect->range].unequal = true;
    replace_in_span(job, suspect, source->tally, sink->tally);
    list_suspect(job, suspect, kind, source, sink);
}

static void acquit(struct tr_verify_job *job, struct tr_verify_suspect *suspect,
                   struct tr_verify_tally agreed)
{
    suspect->settled = true;
    replace_in_span(job, suspect, agreed, agreed);
}

/* Source tables that share a target may hold the same key: the sink has one of their rows. */
static bool is_one_of(const struct tr_verify_job *job, const struct reading *source,
                      const struct reading *sink)
{
    if (job->shard_count < 2 || sink->tally.rows != 1)
        return false;
    for (uint64_t i = 0; i < source->tally.rows && i < TR_VERIFY_SHARDS_MAX; i++) {
        if (source->checksums[i] == sink->checksums[0])
            return true;
    }
    return false;
}

static enum tr_status judge(struct tr_verify_job *job, struct tr_verify_suspect *suspect,
                            bool last_round, struct reading *source, struct reading *sink,
                            struct tr_error *err)
{
    if (read_sink(job, suspect->key, sink, err) != TR_OK)
        return TR_FAIL;
    if (tally_equal(sink->tally, suspect->again)) {
        acquit(job, suspect, sink->tally);
        return TR_OK;
    }
    if (read_source(job, suspect->key, source, err) != TR_OK)
        return TR_FAIL;
    if (tally_equal(sink->tally, source->tally) || is_one_of(job, source, sink)) {
        acquit(job, suspect, sink->tally);
    } else if (tally_equal(source->tally, suspect->again)) {
        enum tr_verify_row_kind kind =
            source->tally.rows > sink->tally.rows && sink->tally.rows == 0 ? TR_VERIFY_MISSING
            : sink->tally.rows > source->tally.rows                        ? TR_VERIFY_EXTRA
                                                                           : TR_VERIFY_DIFFERENT;
        convict(job, suspect, kind, source, sink);
    } else if (last_round) {
        convict(job, suspect, TR_VERIFY_CHANGING, source, sink);
    }
    return TR_OK;
}

/* One round over all that is not settled; *left = how many are not after it. */
static enum tr_status run_round(struct tr_verify_job *job, bool last_round, struct reading *source,
                                struct reading *sink, size_t *left, struct tr_error *err)
{
    struct tr_verify_suspects *list = &job->suspects;
    for (size_t i = 0; i < list->count; i++) {
        struct tr_verify_suspect *suspect = &list->items[i];
        if (suspect->settled)
            continue;
        if (check_cancelled(job->verify, err) != TR_OK ||
            read_source(job, suspect->key, source, err) != TR_OK)
            return TR_FAIL;
        suspect->again = source->tally;
    }
    if (tr_verify_wait(job->verify, err) != TR_OK)
        return TR_FAIL;
    *left = 0;
    for (size_t i = 0; i < list->count; i++) {
        struct tr_verify_suspect *suspect = &list->items[i];
        if (suspect->settled)
            continue;
        if (check_cancelled(job->verify, err) != TR_OK ||
            judge(job, suspect, last_round, source, sink, err) != TR_OK)
            return TR_FAIL;
        *left += !suspect->settled;
    }
    return TR_OK;
}

enum tr_status tr_verify_recheck(struct tr_verify_job *job, struct tr_error *err)
{
    struct reading *readings = calloc(2, sizeof *readings);
    size_t left = job->suspects.count;
    enum tr_status status = TR_OK;
    if (readings == NULL)
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory to read rows again");
    reading_init(&readings[0]);
    reading_init(&readings[1]);
    job->report.suspect_rows = job->suspects.count;
    for (unsigned round = 1; left > 0 && status == TR_OK && round <= job->verify->options.rounds;
         round++)
        status = run_round(job, round == job->verify->options.rounds, &readings[0], &readings[1],
                           &left, err);
    tr_arena_free(&readings[0].arena);
    tr_arena_free(&readings[1].arena);
    free(readings);
    return status;
}
