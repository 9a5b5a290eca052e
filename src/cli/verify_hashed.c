/* Comparing without an order: by key through a hash table (HASHED), or, when there is no key, rows
 * and how often each occurs (BAG, where the whole row is the key).
 *
 * Memory is bounded by working in passes: a pass takes the keys whose hash falls into its part and
 * reads both sides whole. One pass is tried first; when it holds too many keys the number of passes
 * doubles and the work begins anew. Keys that differ are found out by their hashes; a second
 * reading of both sides finds their rows again. */
#include <stdlib.h>
#include <string.h>

#include "cli/verify_internal.h"

#define CAPACITY_MIN 1024u
#define BAG_ROUNDS_MIN 2

struct entry {
    struct tr_verify_hash key; /* both halves 0 = free */
    uint64_t source_checksum, sink_checksum;
    uint32_t source_rows, sink_rows;
};
struct map {
    struct entry *entries;
    uint64_t capacity, count;
};

/* What both readings of one comparison share. */
struct hashed {
    struct tr_verify_job *job;
    bool bag;
    uint32_t pass, pass_count;
    bool full;      /* this number of passes is too small */
    bool gathering; /* the second reading */
    struct map map;
    struct tr_cell *key;
    uint64_t differing;            /* BAG: rows that are too many on either side */
    struct tr_verify_tally source; /* of all passes */
};

static bool is_free(const struct entry *entry) { return (entry->key.low | entry->key.high) == 0; }

static struct entry *probe(const struct map *map, struct tr_verify_hash key)
{
    uint64_t mask = map->capacity - 1, at = key.high & mask;
    while (!is_free(&map->entries[at]) &&
           (map->entries[at].key.low != key.low || map->entries[at].key.high != key.high))
        at = (at + 1) & mask;
    return &map->entries[at];
}

static bool map_grow(struct map *map)
{
    struct map bigger = {.capacity = map->capacity == 0 ? CAPACITY_MIN : map->capacity * 2,
                         .count = map->count};
    bigger.entries = calloc(bigger.capacity, sizeof *bigger.entries);
    if (bigger.entries == NULL)
        return false;
    for (uint64_t i = 0; i < map->capacity; i++) {
        if (!is_free(&map->entries[i]))
            *probe(&bigger, map->entries[i].key) = map->entries[i];
    }
    free(map->entries);
    *map = bigger;
    return true;
}

static void map_clear(struct map *map)
{
    free(map->entries);
    *map = (struct map){0};
}

static bool entry_differs(const struct entry *entry)
{
    return entry->source_rows != entry->sink_rows || entry->source_checksum != entry->sink_checksum;
}

/* First reading: counts a row. */
static enum tr_status count_in(struct hashed *hashed, struct tr_verify_hash key, uint64_t checksum,
                               bool is_sink, struct tr_error *err)
{
    struct map *map = &hashed->map;
    if (map->count * 2 >= map->capacity && !map_grow(map))
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory to compare a table");
    struct entry *entry = probe(map, key);
    if (is_free(entry)) {
        if (map->count == hashed->job->verify->options.hashed_keys_max) {
            hashed->full = true;
            return TR_OK;
        }
        entry->key = key;
        map->count++;
    }
    struct tr_verify_span *span = &hashed->job->spans[0];
    struct tr_verify_tally *tally = is_sink ? &span->sink : &span->source;
    tally->rows++;
    tally->checksum += checksum;
    if (is_sink) {
        entry->sink_rows++;
        entry->sink_checksum += checksum;
    } else {
        entry->source_rows++;
        entry->source_checksum += checksum;
        hashed->job->report.source_rows++;
    }
    return TR_OK;
}

/* Second reading: a row whose key differs becomes a suspect, or is listed when there is no key. The
 * entry is made equal by it, so that it is taken once (a bag: once per row too many). */
static enum tr_status gather(struct hashed *hashed, struct tr_verify_hash key,
                             const struct tr_cell *cells, bool is_sink, struct tr_error *err)
{
    struct entry *entry = hashed->map.capacity == 0 ? NULL : probe(&hashed->map, key);
    if (entry == NULL || is_free(entry) || !entry_differs(entry))
        return TR_OK;
    struct tr_verify_job *job = hashed->job;
    if (!hashed->bag) {
        struct tr_verify_tally source = {entry->source_rows, entry->source_checksum},
                               sink = {entry->sink_rows, entry->sink_checksum};
        entry->sink_rows = entry->source_rows;
        entry->sink_checksum = entry->source_checksum;
        return tr_verify_suspect_add(job, hashed->key, source, sink, 0, err);
    }
    bool too_many_here =
        is_sink ? entry->sink_rows > entry->source_rows : entry->source_rows > entry->sink_rows;
    if (!too_many_here)
        return TR_OK;
    struct tr_outbuf text = {0};
    tr_verify_print_row(job->target, cells, &text);
    tr_verify_list_row(job, is_sink ? TR_VERIFY_EXTRA : TR_VERIFY_MISSING, tr_outbuf_cstr(&text),
                       "");
    tr_outbuf_free(&text);
    if (is_sink)
        entry->sink_rows--;
    else
        entry->source_rows--;
    if (entry->sink_rows == entry->source_rows)
        entry->sink_checksum = entry->source_checksum;
    return TR_OK;
}

static enum tr_status read_rows(struct hashed *hashed, const struct tr_verify_side *side,
                                const struct tr_table *table, bool is_sink, struct tr_error *err)
{
    struct tr_scan *scan = NULL;
    const struct tr_cell *cells = NULL;
    enum tr_status status = side->ops->open(side->self, table, NULL, &scan, err);
    for (;;) {
        if (status == TR_OK && !hashed->full)
            status = side->ops->next(scan, &cells, err);
        hashed->job->sink_failed = is_sink && status == TR_FAIL;
        if (status != TR_OK || hashed->full)
            break;
        struct tr_verify_hash row = tr_verify_hash_row(table, cells), key = row;
        tr_verify_key_of(table, cells, hashed->key);
        if (!hashed->bag)
            key = tr_verify_hash_key(table, hashed->key);
        if ((key.low | key.high) == 0)
            key.low = 1; /* 0 marks a free entry */
        if (key.low % hashed->pass_count == hashed->pass)
            status = hashed->gathering ? gather(hashed, key, cells, is_sink, err)
                                       : count_in(hashed, key, row.low, is_sink, err);
        if (status == TR_OK)
            status = tr_verify_count_row(hashed->job, err);
        if (status != TR_OK)
            break;
    }
    if (scan != NULL)
        side->ops->close(scan);
    return status == TR_END ? TR_OK : status;
}

static enum tr_status read_sides(struct hashed *hashed, struct tr_error *err)
{
    struct tr_verify_job *job = hashed->job;
    for (uint32_t i = 0; i < job->shard_count && !hashed->full; i++) {
        if (read_rows(hashed, &job->verify->source, job->shards[i], false, err) != TR_OK)
            return TR_FAIL;
    }
    return hashed->full ? TR_OK : read_rows(hashed, &job->verify->sink, job->target, true, err);
}

/* BAG: rows too many on either side. */
static void count_differing(struct hashed *hashed)
{
    for (uint64_t i = 0; i < hashed->map.capacity; i++) {
        const struct entry *entry = &hashed->map.entries[i];
        uint32_t a = entry->source_rows, b = entry->sink_rows;
        hashed->differing += a > b ? a - b : b - a;
    }
}

static bool any_differs(const struct map *map)
{
    for (uint64_t i = 0; i < map->capacity; i++) {
        if (entry_differs(&map->entries[i]))
            return true;
    }
    return false;
}

/* `gather_rows`: also find the rows that differ. */
static enum tr_status run_passes(struct hashed *hashed, bool gather_rows, struct tr_error *err)
{
    enum tr_status status = TR_OK;
    for (hashed->pass = 0; hashed->pass < hashed->pass_count && status == TR_OK; hashed->pass++) {
        hashed->gathering = false;
        status = read_sides(hashed, err);
        if (status == TR_OK && hashed->full)
            break;
        if (status == TR_OK && hashed->bag)
            count_differing(hashed);
        if (status == TR_OK && gather_rows && any_differs(&hashed->map)) {
            hashed->gathering = true;
            status = read_sides(hashed, err);
        }
        map_clear(&hashed->map);
    }
    map_clear(&hashed->map);
    return status;
}

static void forget(struct hashed *hashed)
{
    struct tr_verify_job *job = hashed->job;
    hashed->full = false;
    hashed->differing = 0;
    tr_verify_suspects_clear(&job->suspects);
    job->report.source_rows = 0;
    job->spans[0] = (struct tr_verify_span){0};
    job->span_count = 1;
}

/* Doubles the number of passes until one holds its keys. */
static enum tr_status compare(struct hashed *hashed, bool gather_rows, struct tr_error *err)
{
    for (;; hashed->pass_count *= 2) {
        if (hashed->pass_count > TR_VERIFY_PASSES_MAX)
            return tr_fail(err, TR_E_VERIFY_UNSUPPORTED,
                           "table \"%s\" has too many rows to be compared without an ordered key",
                           hashed->job->target->id.table);
        forget(hashed);
        if (run_passes(hashed, gather_rows, err) != TR_OK)
            return TR_FAIL;
        if (!hashed->full)
            return TR_OK;
    }
}

static enum tr_status open_hashed(struct hashed *hashed, struct tr_verify_job *job, bool bag,
                                  struct tr_error *err)
{
    *hashed = (struct hashed){.job = job, .bag = bag, .pass_count = 1};
    hashed->key = calloc(job->target->key_count + 1u, sizeof *hashed->key);
    return hashed->key == NULL ? tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory to compare a table")
                               : TR_OK;
}

enum tr_status tr_verify_hashed(struct tr_verify_job *job, struct tr_error *err)
{
    struct hashed hashed;
    if (open_hashed(&hashed, job, false, err) != TR_OK)
        return TR_FAIL;
    enum tr_status status = compare(&hashed, true, err);
    free(hashed.key);
    return status;
}

/* Single rows cannot be read again without a key, so the whole comparison is repeated, the sink
 * having passed the position of the source's last reading each time. A difference is proven when
 * the source's rows were the same in two readings that follow each other. */
enum tr_status tr_verify_bag(struct tr_verify_job *job, struct tr_error *err)
{
    struct hashed hashed;
    struct tr_verify_tally before = {0}, now = {0};
    bool proven = false;
    if (open_hashed(&hashed, job, true, err) != TR_OK)
        return TR_FAIL;
    unsigned rounds =
        job->verify->options.rounds < BAG_ROUNDS_MIN ? BAG_ROUNDS_MIN : job->verify->options.rounds;
    enum tr_status status = compare(&hashed, false, err);
    for (unsigned round = 1; round < rounds && status == TR_OK && hashed.differing > 0 && !proven;
         round++) {
        before = job->spans[0].source;
        status = tr_verify_wait(job->verify, err);
        if (status == TR_OK)
            status = compare(&hashed, false, err);
        now = job->spans[0].source;
        proven = before.rows == now.rows && before.checksum == now.checksum;
    }
    if (status == TR_OK && hashed.differing > 0 && proven) {
        job->spans[0].unequal = true;
        uint64_t source_rows = job->spans[0].source.rows, sink_rows = job->spans[0].sink.rows;
        /* differing = missing + extra, and missing - extra = source_rows - sink_rows */
        job->report.missing_rows = (hashed.differing + source_rows - sink_rows) / 2;
        job->report.extra_rows = hashed.differing - job->report.missing_rows;
        struct tr_verify_table kept = job->report;
        struct tr_verify_span span = job->spans[0];
        status = compare(&hashed, true, err); /* once more, to list them */
        job->report = kept;
        job->spans[0] = span;
    } else if (status == TR_OK && hashed.differing > 0) {
        job->spans[0].unequal = true;
        job->report.changing_rows = hashed.differing;
    }
    free(hashed.key);
    return status;
}
