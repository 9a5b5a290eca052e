#include "pipeline/window.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/clock.h"
#include "base/log.h"
#include "event/dead_letter.h"
#include "event/schema_diff.h"
#include "event/table_text.h"
#include "event/time_text.h"
#include "pipeline/window_state.h"

#define PLANS_MAX 256      /* table versions whose expressions are kept compiled */
#define SLOTS_FIRST 1024   /* of the groups' hash table; doubles */
#define PREFIX_BYTES 96
#define KEY_BYTES (TR_MARK_KEY_BYTES_MAX + 1)
#define RESULT_COLUMNS_MAX (TR_WINDOW_COLUMNS_MAX + 2)
#define MISSED_LOG_INTERVAL_US 10000000
#define US_PER_MS 1000

struct tr_metric tr_metric_windows_closed = {.name = "tailrace_window_results_total",
                                             .unit = "rows",
                                             .help = "Result rows of windows.",
                                             .kind = TR_COUNTER};
struct tr_metric tr_metric_windows_missed = {
    .name = "tailrace_window_late_total",
    .unit = "events",
    .help = "Late events that came after their window had closed (late: process).",
    .kind = TR_COUNTER};

/* How to read one group-by or aggregate from a row of one table version. */
struct reading_of {
    int column;                   /* a plain column, or -1 */
    struct tr_expression *expression;
};
struct plan {
    const struct tr_table *table; /* reference held; NULL: free */
    struct reading_of reads[TR_WINDOW_COLUMNS_MAX];
    enum tr_type types[TR_WINDOW_COLUMNS_MAX]; /* of the values that are read */
};

struct tr_window {
    struct tr_branch *branch;
    const struct tr_window_options *options;
    int64_t size_us, slide_us, gap_us, offset_us;
    struct tr_window_item items[TR_WINDOW_COLUMNS_MAX]; /* group-by, then aggregates */
    unsigned group_count, item_count;
    struct plan plans[PLANS_MAX];
    struct tr_table *result; /* as the branch names it before routing; NULL before the first row */
    char *source_name;       /* whose rows it is made of, when window.table is not given */
    bool result_made, result_changed;
    struct tr_window_group **slots;
    size_t slot_count, group_total;
    struct tr_window_group **dirty;
    size_t dirty_count, dirty_capacity;
    int64_t closed_us;     /* the watermark that windows were closed by */
    bool closed_changed;
    int64_t next_end_us;   /* no open window ends before it */
    char prefix[PREFIX_BYTES];
    struct tr_outbuf key;
    struct tr_outbuf text; /* the marks' bytes */
    struct tr_mark *marks;
    size_t mark_capacity;
    int64_t missed_logged_us;
};

static unsigned sum_count(const struct tr_window *window)
{
    return window->item_count - window->group_count;
}

static enum tr_status no_memory(struct tr_error *err)
{
    return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for a window");
}

/* ---- the groups ----------------------------------------------------------------------------- */

/* Sessions of one group share a slot: their starts move. */
static uint64_t hash_of(const struct tr_window *window, int64_t start_us, const char *key,
                        size_t key_len)
{
    return XXH3_64bits_withSeed(
        key, key_len, window->options->kind == TR_WINDOW_SESSION ? 0 : (uint64_t)start_us);
}

static bool same_key(const struct tr_window_group *group, uint64_t hash, const char *key,
                     size_t key_len)
{
    return group->hash == hash && !group->is_gone && group->key_len == key_len &&
           (key_len == 0 || memcmp(group->key, key, key_len) == 0);
}

static enum tr_status grow_slots(struct tr_window *window, struct tr_error *err)
{
    size_t count = window->slot_count == 0 ? SLOTS_FIRST : window->slot_count * 2;
    struct tr_window_group **slots = calloc(count, sizeof *slots);
    if (slots == NULL)
        return no_memory(err);
    for (size_t i = 0; i < window->slot_count; i++) {
        struct tr_window_group *group = window->slots[i];
        while (group != NULL) {
            struct tr_window_group *next = group->next;
            group->next = slots[group->hash % count];
            slots[group->hash % count] = group;
            group = next;
        }
    }
    free(window->slots);
    window->slots = slots;
    window->slot_count = count;
    return TR_OK;
}

static enum tr_status insert(struct tr_window *window, struct tr_window_group *group,
                             struct tr_error *err)
{
    if (window->group_total >= window->slot_count && grow_slots(window, err) != TR_OK)
        return TR_FAIL;
    group->hash = hash_of(window, group->start_us, group->key, group->key_len);
    struct tr_window_group **slot = &window->slots[group->hash % window->slot_count];
    group->next = *slot;
    *slot = group;
    window->group_total++;
    if (group->end_us < window->next_end_us)
        window->next_end_us = group->end_us;
    return TR_OK;
}

static enum tr_status set_dirty(struct tr_window *window, struct tr_window_group *group,
                                struct tr_error *err)
{
    if (group->is_dirty)
        return TR_OK;
    if (window->dirty_count == window->dirty_capacity) {
        size_t capacity = window->dirty_capacity == 0 ? 256 : window->dirty_capacity * 2;
        struct tr_window_group **dirty = realloc(window->dirty, capacity * sizeof *dirty);
        if (dirty == NULL)
            return no_memory(err);
        window->dirty = dirty;
        window->dirty_capacity = capacity;
    }
    group->is_dirty = true;
    window->dirty[window->dirty_count++] = group;
    return TR_OK;
}

static enum tr_status new_group(struct tr_window *window, int64_t start_us, int64_t end_us,
                                struct tr_window_group **out, struct tr_error *err)
{
    if ((int64_t)window->group_total >= window->options->groups_max) {
        (void)tr_fail(err, TR_E_WINDOW_LIMIT, "sink %s has %lld open groups in its windows",
                      window->branch->config->name, (long long)window->options->groups_max);
        return tr_hint(err, "raise window.max-groups, or find out why windows do not close: a "
                            "partition without messages holds the watermark when "
                            "event-time.idle-timeout is 0");
    }
    struct tr_window_group *group =
        calloc(1, sizeof *group + sum_count(window) * sizeof(struct tr_accumulator));
    if (group == NULL || (group->key = malloc(window->key.len + 1)) == NULL) {
        free(group);
        return no_memory(err);
    }
    if (window->key.len > 0)
        memcpy(group->key, window->key.data, window->key.len);
    group->key_len = (uint32_t)window->key.len;
    group->start_us = start_us;
    group->end_us = end_us;
    if (insert(window, group, err) != TR_OK) {
        tr_window_group_free(group, sum_count(window));
        return TR_FAIL;
    }
    *out = group;
    return TR_OK;
}

/* Takes closed groups out of the table; those whose mark must still be deleted stay until then. */
static void sweep(struct tr_window *window)
{
    window->next_end_us = INT64_MAX;
    for (size_t i = 0; i < window->slot_count; i++) {
        struct tr_window_group **link = &window->slots[i];
        while (*link != NULL) {
            struct tr_window_group *group = *link;
            if (group->is_gone) {
                *link = group->next;
                window->group_total--;
                if (!group->is_dirty)
                    tr_window_group_free(group, sum_count(window));
                continue;
            }
            if (group->end_us < window->next_end_us)
                window->next_end_us = group->end_us;
            link = &group->next;
        }
    }
}

/* ---- open and close ------------------------------------------------------------------------- */

static void make_prefix(struct tr_window *window)
{
    const char *name = window->branch->config->name;
    bool plain = strlen(name) < PREFIX_BYTES - 8;
    for (const char *p = name; *p != '\0'; p++)
        plain = plain && *p > ' ' && *p < 0x7f && *p != '=' && *p != '*' && *p != '/';
    if (plain)
        (void)snprintf(window->prefix, sizeof window->prefix, "w/%s/", name);
    else
        (void)snprintf(window->prefix, sizeof window->prefix, "w/%016" PRIx64 "/",
                       (uint64_t)XXH3_64bits(name, strlen(name)));
}

/* A key holds one length and value per column of group-by, and nothing else. */
static enum tr_status check_key(const struct tr_window *window, const struct tr_window_group *group,
                                struct tr_error *err)
{
    size_t at = 0;
    unsigned values = 0;
    for (uint32_t len; values < window->group_count && group->key_len - at >= sizeof len; values++) {
        memcpy(&len, group->key + at, sizeof len);
        at += sizeof len;
        if (len > group->key_len - at)
            break;
        at += len;
    }
    if (values == window->group_count && at == group->key_len)
        return TR_OK;
    return tr_fail(err, TR_E_WINDOW_STATE, "the stored state of a window of sink %s is damaged",
                   window->branch->config->name);
}

static enum tr_status restore_item(struct tr_window *window, const char *name, const char *value,
                                   struct tr_error *err)
{
    if (strcmp(name, "table") == 0) {
        if (tr_table_decode(value, &window->result, err) != TR_OK)
            return TR_FAIL;
        bool same = window->result->column_count == window->item_count + 2;
        for (unsigned i = 0; same && i < window->item_count; i++)
            same = strcmp(window->result->columns[2 + i].name, window->items[i].name) == 0;
        if (!same) {
            (void)tr_fail(err, TR_E_WINDOW_STATE, "window.* of sink %s was changed",
                          window->branch->config->name);
            return tr_hint(err, "give the sink another name, or start over with `tailrace drop`");
        }
        return TR_OK;
    }
    if (strcmp(name, "closed") == 0) {
        window->closed_us = strtoll(value, NULL, 10);
        return TR_OK;
    }
    if (strcmp(name, "source") == 0)
        return (window->source_name = strdup(value)) == NULL ? no_memory(err) : TR_OK;
    struct tr_window_group *group;
    if (tr_window_group_parse(value, sum_count(window), &group, err) != TR_OK)
        return TR_FAIL;
    enum tr_status status = check_key(window, group, err);
    if (status == TR_OK)
        status = insert(window, group, err);
    if (status != TR_OK)
        tr_window_group_free(group, sum_count(window));
    return status;
}

static enum tr_status restore(struct tr_window *window, struct tr_error *err)
{
    const struct tr_state *marks = &window->branch->marks;
    size_t prefix_len = strlen(window->prefix);
    for (size_t i = tr_state_seek(marks, window->prefix);
         tr_state_has_prefix(marks, i, window->prefix); i++) {
        if (restore_item(window, marks->items[i].key + prefix_len, marks->items[i].value, err) !=
            TR_OK)
            return TR_FAIL;
    }
    if (window->group_total > 0)
        tr_log(TR_LOG_INFO, "open windows are taken up again", "sink=%s groups=%zu",
               window->branch->config->name, window->group_total);
    return TR_OK;
}

enum tr_status tr_window_open(struct tr_branch *branch, struct tr_window **out,
                              struct tr_error *err)
{
    const struct tr_window_options *options = &branch->config->window;
    struct tr_window *window = calloc(1, sizeof *window);
    if (window == NULL)
        return no_memory(err);
    *out = window;
    window->branch = branch;
    window->options = options;
    window->size_us = options->size_ms * US_PER_MS;
    window->slide_us = options->kind == TR_WINDOW_HOPPING ? options->slide_ms * US_PER_MS
                                                          : window->size_us;
    window->gap_us = options->gap_ms * US_PER_MS;
    window->offset_us = options->offset_ms * US_PER_MS;
    window->closed_us = TR_TIME_NONE;
    window->next_end_us = INT64_MAX;
    make_prefix(window);
    if (tr_window_items(&options->group_by, false,
                        tr_config_where(branch->config->config, "window.group-by"), window->items,
                        &window->group_count, err) != TR_OK) {
        window->item_count = window->group_count;
        return TR_FAIL;
    }
    window->item_count = window->group_count;
    if (tr_window_items(&options->aggregates, true,
                        tr_config_where(branch->config->config, "window.aggregates"),
                        window->items, &window->item_count, err) != TR_OK ||
        grow_slots(window, err) != TR_OK)
        return TR_FAIL;
    return restore(window, err);
}

static void plan_free(struct plan *plan)
{
    for (unsigned i = 0; i < TR_WINDOW_COLUMNS_MAX; i++)
        tr_expression_free(plan->reads[i].expression);
    tr_table_unref(plan->table);
    *plan = (struct plan){0};
}

size_t tr_window_count(const struct tr_window *window)
{
    return window->group_total;
}

void tr_window_close(struct tr_window *window)
{
    if (window == NULL)
        return;
    sweep(window); /* a group that is gone is in the dirty list alone, if anywhere */
    for (size_t i = 0; i < window->dirty_count; i++) {
        if (window->dirty[i]->is_gone)
            tr_window_group_free(window->dirty[i], sum_count(window));
    }
    for (size_t i = 0; i < window->slot_count; i++) {
        while (window->slots[i] != NULL) {
            struct tr_window_group *group = window->slots[i];
            window->slots[i] = group->next;
            tr_window_group_free(group, sum_count(window));
        }
    }
    for (unsigned i = 0; i < PLANS_MAX; i++)
        plan_free(&window->plans[i]);
    tr_window_items_free(window->items, window->item_count);
    tr_table_unref(window->result);
    free(window->source_name);
    free(window->slots);
    free(window->dirty);
    free(window->marks);
    tr_outbuf_free(&window->key);
    tr_outbuf_free(&window->text);
    free(window);
}

/* ---- tables --------------------------------------------------------------------------------- */

static enum tr_status read_column(const struct tr_window *window, const struct tr_table *table,
                                  unsigned index, struct reading_of *read, struct tr_column *column,
                                  struct tr_error *err)
{
    const struct tr_window_item *item = &window->items[index];
    struct tr_error cause;
    read->column = tr_table_column(table, item->text);
    if (read->column >= 0) {
        *column = table->columns[read->column];
        return TR_OK;
    }
    if (tr_expression_new(item->text, table, window->branch->engine->file->options.local_time_zone,
                          &read->expression, &cause) != TR_OK) {
        (void)tr_fail(err, TR_E_WINDOW_EXPRESSION, "%s: \"%.100s\" over table %s: %s",
                      tr_config_where(window->branch->config->config,
                                      index < window->group_count ? "window.group-by"
                                                                  : "window.aggregates"),
                      item->text, table->id.table, cause.message);
        (void)tr_detail(err, "%s", cause.detail);
        return tr_hint(err, "%s", cause.hint);
    }
    tr_expression_column(read->expression, column);
    return TR_OK;
}

static struct tr_column time_result(const char *name, uint16_t key_index)
{
    return (struct tr_column){.name = name,
                              .type = TR_T_TIMESTAMP,
                              .elem_type = TR_T_OTHER,
                              .source_type = "timestamp",
                              .source_type_base = "timestamp",
                              .source_typmod = -1,
                              .precision = 6,
                              .key_index = key_index};
}

/* The result's table for rows of `table`, whose values have these columns. */
static enum tr_status make_result(const struct tr_window *window, const struct tr_table *table,
                                  const struct tr_column *values, struct tr_table **out,
                                  struct tr_error *err)
{
    struct tr_column columns[RESULT_COLUMNS_MAX];
    char name[300];
    unsigned count = 0;
    columns[count++] = time_result("window_start", 1);
    columns[count++] = time_result("window_end", 2);
    for (unsigned i = 0; i < window->item_count; i++) {
        const struct tr_window_item *item = &window->items[i];
        struct tr_column *column = &columns[count++];
        const struct tr_column *value = item->text[0] == '\0' ? NULL : &values[i];
        if (i < window->group_count) {
            (void)tr_aggregate_column(TR_AGG_MIN, value, column);
            column->key_index = (uint16_t)count;
            column->nullable = false;
        } else if (!tr_aggregate_column(item->kind, value, column)) {
            (void)tr_fail(err, TR_E_WINDOW_EXPRESSION,
                          "%s: %s cannot be summed: it is %s",
                          tr_config_where(window->branch->config->config, "window.aggregates"),
                          item->text, tr_type_name(value->type));
            return tr_hint(err, "CAST it to a number: SUM(CAST(%s AS DECIMAL(20,2))) AS %s",
                           item->text, item->name);
        }
        column->name = item->name;
    }
    (void)snprintf(name, sizeof name, "%s_windows", table->id.table);
    const char *full = window->options->table != NULL ? window->options->table : name;
    const char *dot = strchr(full, '.');
    char schema[300] = "";
    if (dot != NULL)
        (void)snprintf(schema, sizeof schema, "%.*s", (int)(dot - full), full);
    struct tr_table spec = {.id = {table->id.namespace, dot != NULL ? schema : table->id.schema,
                                   dot != NULL ? dot + 1 : full},
                            .version = window->result == NULL ? 1 : window->result->version + 1,
                            .column_count = (uint16_t)count,
                            .columns = columns,
                            .replica_identity = TR_RI_DEFAULT,
                            .key_is_primary = true};
    return tr_table_new(&spec, out, err);
}

/* Without window.table the result is named after the one table that it is made of. */
static enum tr_status one_source(struct tr_window *window, const struct tr_table *table,
                                 struct tr_error *err)
{
    char name[600];
    if (window->options->table != NULL)
        return TR_OK;
    (void)tr_table_id_format(&table->id, name, sizeof name);
    if (window->source_name == NULL)
        return (window->source_name = strdup(name)) == NULL ? no_memory(err) : TR_OK;
    if (strcmp(window->source_name, name) == 0)
        return TR_OK;
    (void)tr_fail(err, TR_E_WINDOW_EXPRESSION, "sink %s gets rows of %s and of %s into one window",
                  window->branch->config->name, window->source_name, name);
    return tr_hint(err, "set window.table if they belong together, or limit the sink with `tables`");
}

/* A new version may give wider types: the result's table follows. */
static enum tr_status follow_result(struct tr_window *window, struct tr_table *fresh,
                                    struct tr_error *err)
{
    struct tr_arena arena;
    struct tr_schema_change change;
    struct tr_table *before = window->result;
    enum tr_status status = TR_OK;
    window->result_changed = true;
    window->result = fresh;
    if (before == NULL || !window->result_made) {
        tr_table_unref(before);
        return TR_OK;
    }
    tr_arena_init(&arena, 4096, 0);
    status = tr_schema_diff(before, fresh, &arena, &change, err);
    if (status == TR_OK && change.item_count > 0) {
        struct tr_event event = {.op = TR_OP_SCHEMA, .table = fresh, .change = &change};
        status = tr_branch_make_table(window->branch, NULL, err);
        if (status == TR_OK)
            status = tr_branch_schema(window->branch, &event, err);
    }
    tr_arena_free(&arena);
    tr_table_unref(before);
    return status;
}

static bool same_shape(const struct tr_table *a, const struct tr_table *b)
{
    if (a == NULL || a->column_count != b->column_count || !tr_table_id_equal(&a->id, &b->id))
        return false;
    for (uint16_t i = 0; i < a->column_count; i++) {
        const struct tr_column *x = &a->columns[i], *y = &b->columns[i];
        if (x->type != y->type || strcmp(x->name, y->name) != 0 || x->precision != y->precision ||
            x->scale != y->scale)
            return false;
    }
    return true;
}

static enum tr_status make_plan(struct tr_window *window, const struct tr_table *table,
                                struct plan *plan, struct tr_error *err)
{
    struct tr_column values[TR_WINDOW_COLUMNS_MAX];
    struct tr_table *result;
    plan_free(plan);
    if (one_source(window, table, err) != TR_OK)
        return TR_FAIL;
    for (unsigned i = 0; i < window->item_count; i++) {
        if (window->items[i].text[0] != '\0' &&
            read_column(window, table, i, &plan->reads[i], &values[i], err) != TR_OK) {
            plan_free(plan);
            return TR_FAIL;
        }
        plan->types[i] = window->items[i].text[0] == '\0' ? TR_T_INT64 : values[i].type;
    }
    if (make_result(window, table, values, &result, err) != TR_OK) {
        plan_free(plan);
        return TR_FAIL;
    }
    plan->table = tr_table_ref(table);
    if (!same_shape(window->result, result))
        return follow_result(window, result, err);
    tr_table_unref(result);
    return TR_OK;
}

static enum tr_status plan_for(struct tr_window *window, const struct tr_table *table,
                               struct plan **out, struct tr_error *err)
{
    struct plan *plan = &window->plans[((uintptr_t)table >> 4) % PLANS_MAX];
    *out = plan;
    return plan->table == table ? TR_OK : make_plan(window, table, plan, err);
}

/* ---- rows ----------------------------------------------------------------------------------- */

static enum tr_status value_of(struct reading_of *read, const struct tr_event *event,
                               const struct tr_cell *cells, struct tr_cell *cell,
                               struct tr_error *err)
{
    if (read->column < 0)
        return tr_expression_eval(read->expression, event, cells, tr_clock_wall_us(), cell, err);
    *cell = cells[read->column];
    if (cell->state == TR_CELL_UNCHANGED && event->before != NULL)
        *cell = event->before[read->column];
    return TR_OK;
}

/* The group's values into window->key. */
static enum tr_status read_group(struct tr_window *window, struct plan *plan,
                                 const struct tr_event *event, const struct tr_cell *cells,
                                 struct tr_error *err)
{
    tr_outbuf_clear(&window->key);
    for (unsigned i = 0; i < window->group_count; i++) {
        struct tr_cell cell;
        if (value_of(&plan->reads[i], event, cells, &cell, err) != TR_OK)
            return TR_FAIL;
        bool known = cell.state == TR_CELL_TEXT || cell.state == TR_CELL_BINARY;
        uint32_t len = known ? cell.len : 0;
        if (!known && plan->types[i] != TR_T_STRING) {
            (void)tr_fail(err, TR_E_WINDOW_GROUP_NULL,
                          "sink %s groups by %s, which is NULL in a row of %s",
                          window->branch->config->name, window->items[i].name,
                          event->table->id.table);
            return tr_hint(err, "group by COALESCE(%s, 0) AS %s, or another value that says so",
                           window->items[i].text, window->items[i].name);
        }
        tr_outbuf_bytes(&window->key, &len, sizeof len);
        tr_outbuf_bytes(&window->key, cell.ptr, len);
    }
    return window->key.failed ? no_memory(err) : TR_OK;
}

static enum tr_status add_row(struct tr_window *window, struct plan *plan,
                              const struct tr_event *event, const struct tr_cell *cells,
                              struct tr_window_group *group, struct tr_error *err)
{
    for (unsigned i = window->group_count; i < window->item_count; i++) {
        struct tr_accumulator *sum = &group->sums[i - window->group_count];
        struct tr_cell cell;
        if (window->items[i].kind == TR_AGG_COUNT_ALL) {
            sum->count++;
            continue;
        }
        if (value_of(&plan->reads[i], event, cells, &cell, err) != TR_OK)
            return TR_FAIL;
        if (cell.state != TR_CELL_TEXT && cell.state != TR_CELL_BINARY)
            continue;
        if (tr_accumulate(sum, window->items[i].kind, plan->types[i],
                          (struct tr_slice){cell.ptr, cell.len}, err) != TR_OK)
            return TR_FAIL;
    }
    return set_dirty(window, group, err);
}

static void missed(struct tr_window *window)
{
    int64_t now_us = tr_clock_mono_us();
    tr_metric_add(&tr_metric_windows_missed, 1);
    if (window->missed_logged_us != 0 &&
        now_us - window->missed_logged_us < MISSED_LOG_INTERVAL_US)
        return;
    window->missed_logged_us = now_us;
    tr_log(TR_LOG_WARN, "events came after their window had closed and are not counted in it",
           "sink=%s total=%lld", window->branch->config->name,
           (long long)tr_metric_get(&tr_metric_windows_missed));
}

/* The start of the window of `slide` that holds the time; times before 1970 too. */
static int64_t window_start(const struct tr_window *window, int64_t time_us)
{
    int64_t shifted = time_us - window->offset_us, slide = window->slide_us;
    int64_t rest = shifted % slide;
    return time_us - (rest < 0 ? rest + slide : rest);
}

static enum tr_status row_fixed(struct tr_window *window, struct plan *plan,
                                const struct tr_event *event, const struct tr_cell *cells,
                                struct tr_error *err)
{
    int64_t start_us = window_start(window, event->event_time_us);
    bool any = false;
    for (; start_us > event->event_time_us - window->size_us; start_us -= window->slide_us) {
        int64_t end_us = start_us + window->size_us;
        if (window->closed_us != TR_TIME_NONE && end_us <= window->closed_us)
            continue;
        any = true;
        uint64_t hash = hash_of(window, start_us, window->key.data, window->key.len);
        struct tr_window_group *group = window->slots[hash % window->slot_count];
        while (group != NULL &&
               (group->start_us != start_us ||
                !same_key(group, hash, window->key.data, window->key.len)))
            group = group->next;
        if (group == NULL && new_group(window, start_us, end_us, &group, err) != TR_OK)
            return TR_FAIL;
        if (add_row(window, plan, event, cells, group, err) != TR_OK)
            return TR_FAIL;
    }
    if (!any)
        missed(window);
    return TR_OK;
}

/* b becomes part of a, and goes. */
static enum tr_status join_sessions(struct tr_window *window, const struct plan *plan,
                                    struct tr_window_group *a, struct tr_window_group *b,
                                    struct tr_error *err)
{
    for (unsigned i = 0; i < sum_count(window); i++) {
        unsigned item = window->group_count + i;
        if (tr_accumulator_join(&a->sums[i], &b->sums[i], window->items[item].kind,
                                plan->types[item], err) != TR_OK)
            return TR_FAIL;
    }
    if (b->start_us < a->start_us)
        a->start_us = b->start_us;
    if (b->end_us > a->end_us)
        a->end_us = b->end_us;
    b->is_gone = true;
    return set_dirty(window, b, err);
}

static enum tr_status row_session(struct tr_window *window, struct plan *plan,
                                  const struct tr_event *event, const struct tr_cell *cells,
                                  struct tr_error *err)
{
    int64_t time_us = event->event_time_us, end_us = time_us + window->gap_us;
    uint64_t hash = hash_of(window, 0, window->key.data, window->key.len);
    struct tr_window_group *mine = NULL;
    bool joined = false;
    for (struct tr_window_group *group = window->slots[hash % window->slot_count]; group != NULL;
         group = group->next) {
        if (!same_key(group, hash, window->key.data, window->key.len) ||
            group->start_us >= end_us || group->end_us <= time_us)
            continue;
        if (mine == NULL) {
            mine = group;
            continue;
        }
        if (join_sessions(window, plan, mine, group, err) != TR_OK)
            return TR_FAIL;
        joined = true;
    }
    if (mine == NULL && window->closed_us != TR_TIME_NONE && end_us <= window->closed_us) {
        missed(window);
        return TR_OK;
    }
    if (mine == NULL && new_group(window, time_us, end_us, &mine, err) != TR_OK)
        return TR_FAIL;
    if (time_us < mine->start_us)
        mine->start_us = time_us;
    if (end_us > mine->end_us)
        mine->end_us = end_us;
    enum tr_status status = add_row(window, plan, event, cells, mine, err);
    if (joined)
        sweep(window);
    return status;
}

enum tr_status tr_window_row(struct tr_window *window, const struct tr_event *event,
                             struct tr_error *err)
{
    const struct tr_cell *cells = event->after != NULL ? event->after : event->before;
    struct plan *plan;
    if (cells == NULL || event->event_time_us == TR_TIME_NONE || tr_is_dead_letter(event) ||
        (event->op != TR_OP_CREATE && event->op != TR_OP_UPDATE && event->op != TR_OP_DELETE &&
         event->op != TR_OP_READ))
        return TR_OK;
    if (window->branch->config->tables != NULL &&
        !tr_table_pattern_match(window->branch->config->tables, &event->table->id))
        return TR_OK;
    if (plan_for(window, event->table, &plan, err) != TR_OK ||
        read_group(window, plan, event, cells, err) != TR_OK)
        return TR_FAIL;
    return window->options->kind == TR_WINDOW_SESSION
               ? row_session(window, plan, event, cells, err)
               : row_fixed(window, plan, event, cells, err);
}

/* ---- results -------------------------------------------------------------------------------- */

static int by_end(const void *a, const void *b)
{
    const struct tr_window_group *x = *(struct tr_window_group *const *)a;
    const struct tr_window_group *y = *(struct tr_window_group *const *)b;
    if (x->end_us != y->end_us)
        return x->end_us < y->end_us ? -1 : 1;
    if (x->start_us != y->start_us)
        return x->start_us < y->start_us ? -1 : 1;
    size_t len = x->key_len < y->key_len ? x->key_len : y->key_len;
    int order = memcmp(x->key, y->key, len);
    return order != 0 ? order : (x->key_len > y->key_len) - (x->key_len < y->key_len);
}

static bool text_cell(struct tr_arena *arena, struct tr_cell *cell, const char *text, size_t len)
{
    char *copy = tr_arena_alloc(arena, len + 1, 1);
    if (copy == NULL)
        return false;
    memcpy(copy, text, len);
    copy[len] = '\0';
    *cell = (struct tr_cell){copy, (uint32_t)len, TR_CELL_TEXT};
    return true;
}

static bool time_cell(struct tr_arena *arena, struct tr_cell *cell, int64_t time_us)
{
    char text[TR_TIME_TEXT_BYTES];
    size_t len = tr_time_text_format(time_us, text);
    return len > 0 ? text_cell(arena, cell, text, len)
                   : text_cell(arena, cell, time_us < 0 ? "-infinity" : "infinity",
                               time_us < 0 ? 9 : 8);
}

static enum tr_status result_cells(struct tr_window *window, const struct tr_window_group *group,
                                   struct tr_cell *cells, struct tr_error *err)
{
    struct tr_arena *arena = &window->branch->arena;
    const char *key = group->key;
    if (!time_cell(arena, &cells[0], group->start_us) || !time_cell(arena, &cells[1], group->end_us))
        return no_memory(err);
    for (unsigned i = 0; i < window->group_count; i++) {
        uint32_t len;
        memcpy(&len, key, sizeof len);
        if (!text_cell(arena, &cells[2 + i], key + sizeof len, len))
            return no_memory(err);
        key += sizeof len + len;
    }
    for (unsigned i = window->group_count; i < window->item_count; i++) {
        if (tr_accumulator_cell(&group->sums[i - window->group_count], window->items[i].kind,
                                window->result->columns[2 + i].type, arena, &cells[2 + i],
                                err) != TR_OK)
            return TR_FAIL;
    }
    return TR_OK;
}

static enum tr_status emit(struct tr_window *window, const struct tr_window_group *group,
                           const struct tr_event *commit, struct tr_error *err)
{
    struct tr_target_entry *entry;
    struct tr_branch *branch = window->branch;
    struct tr_cell *cells =
        tr_arena_alloc(&branch->arena, window->result->column_count * sizeof *cells,
                       _Alignof(struct tr_cell));
    if (cells == NULL)
        return no_memory(err);
    if (!window->result_made) {
        window->result_made = true;
        if (tr_branch_make_table(branch, window->result, err) != TR_OK)
            return TR_FAIL;
    }
    if (result_cells(window, group, cells, err) != TR_OK ||
        tr_branch_targets(branch, window->result, &entry, err) != TR_OK)
        return TR_FAIL;
    const struct tr_event row = {.op = TR_OP_CREATE,
                                 .table = window->result,
                                 .after = cells,
                                 .ts_us = group->end_us,
                                 .recv_ts_us = commit->recv_ts_us,
                                 .event_time_us = group->end_us};
    tr_metric_add(&tr_metric_windows_closed, 1);
    for (uint32_t i = 0; i < entry->target_count; i++) {
        if (tr_branch_add(branch, &row, &entry->targets[i], err) != TR_OK)
            return TR_FAIL;
    }
    return TR_OK;
}

/* Results of every window that ends at or before `until_us`, in order of their ends; what ends after
 * `keep_us` stays open. */
static enum tr_status close_until(struct tr_window *window, int64_t until_us, int64_t keep_us,
                                  const struct tr_event *commit, struct tr_error *err)
{
    size_t count = 0;
    enum tr_status status = TR_OK;
    struct tr_window_group **closing = malloc((window->group_total + 1) * sizeof(void *));
    if (closing == NULL)
        return no_memory(err);
    for (size_t i = 0; i < window->slot_count; i++) {
        for (struct tr_window_group *group = window->slots[i]; group != NULL; group = group->next) {
            if (!group->is_gone && group->end_us <= until_us)
                closing[count++] = group;
        }
    }
    qsort(closing, count, sizeof *closing, by_end);
    for (size_t i = 0; i < count && status == TR_OK; i++) {
        status = emit(window, closing[i], commit, err);
        if (status != TR_OK || closing[i]->end_us > keep_us)
            continue;
        status = set_dirty(window, closing[i], err);
        closing[i]->is_gone = true;
    }
    free(closing);
    sweep(window);
    return status;
}

/* ---- marks ---------------------------------------------------------------------------------- */

/* Offsets into window->text first: it may move while it grows. */
static enum tr_status mark_begin(struct tr_window *window, size_t *count, struct tr_error *err)
{
    if (*count == window->mark_capacity) {
        size_t capacity = window->mark_capacity == 0 ? 256 : window->mark_capacity * 2;
        struct tr_mark *marks = realloc(window->marks, capacity * sizeof *marks);
        if (marks == NULL)
            return no_memory(err);
        window->marks = marks;
        window->mark_capacity = capacity;
    }
    window->marks[*count].key.ptr = (const char *)(uintptr_t)window->text.len;
    tr_outbuf_bytes(&window->text, window->prefix, strlen(window->prefix));
    return TR_OK;
}

static void mark_value(struct tr_window *window, size_t count)
{
    struct tr_mark *mark = &window->marks[count];
    mark->key.len = window->text.len - (size_t)(uintptr_t)mark->key.ptr;
    mark->value.ptr = (const char *)(uintptr_t)window->text.len;
}

static void mark_end(struct tr_window *window, size_t *count)
{
    struct tr_mark *mark = &window->marks[(*count)++];
    mark->value.len = window->text.len - (size_t)(uintptr_t)mark->value.ptr;
}

/* A group keeps its mark while it lives, also a session whose start moves: the name is that of the key
 * and, where several windows of a key are open, of the first start. */
static void mark_name(struct tr_window *window, const struct tr_window_group *group)
{
    XXH128_hash_t hash = XXH3_128bits(group->key, group->key_len);
    tr_outbuf_printf(&window->text, "%016" PRIx64 "%016" PRIx64 "/%" PRId64, hash.high64,
                     hash.low64, group->mark_start_us);
}

static enum tr_status group_mark(struct tr_window *window, struct tr_window_group *group,
                                 size_t *count, struct tr_error *err)
{
    if (!group->is_stored && group->is_gone)
        return TR_OK; /* opened and closed since the last COMMIT */
    if (!group->is_stored)
        group->mark_start_us = group->start_us;
    if (mark_begin(window, count, err) != TR_OK)
        return TR_FAIL;
    mark_name(window, group);
    mark_value(window, *count);
    if (!group->is_gone)
        tr_window_group_print(group, sum_count(window), &window->text);
    mark_end(window, count);
    group->is_stored = true;
    return TR_OK;
}

static enum tr_status own_marks(struct tr_window *window, size_t *count, struct tr_error *err)
{
    if (window->result_changed && window->result != NULL) {
        if (mark_begin(window, count, err) != TR_OK)
            return TR_FAIL;
        tr_outbuf_bytes(&window->text, "table", 5);
        mark_value(window, *count);
        tr_table_encode(window->result, &window->text);
        mark_end(window, count);
        if (window->source_name != NULL) {
            if (mark_begin(window, count, err) != TR_OK)
                return TR_FAIL;
            tr_outbuf_bytes(&window->text, "source", 6);
            mark_value(window, *count);
            tr_outbuf_bytes(&window->text, window->source_name, strlen(window->source_name));
            mark_end(window, count);
        }
    }
    if (window->closed_changed) {
        if (mark_begin(window, count, err) != TR_OK)
            return TR_FAIL;
        tr_outbuf_bytes(&window->text, "closed", 6);
        mark_value(window, *count);
        tr_outbuf_i64(&window->text, window->closed_us);
        mark_end(window, count);
    }
    window->result_changed = window->closed_changed = false;
    return TR_OK;
}

static enum tr_status make_marks(struct tr_window *window, const struct tr_mark **marks,
                                 uint32_t *mark_count, struct tr_error *err)
{
    size_t count = 0;
    tr_outbuf_clear(&window->text);
    enum tr_status status = own_marks(window, &count, err);
    /* what goes comes first: a session that took in a stored one may have got its name */
    for (size_t i = 0; i < window->dirty_count && status == TR_OK; i++) {
        if (window->dirty[i]->is_gone)
            status = group_mark(window, window->dirty[i], &count, err);
    }
    for (size_t i = 0; i < window->dirty_count && status == TR_OK; i++) {
        if (!window->dirty[i]->is_gone)
            status = group_mark(window, window->dirty[i], &count, err);
    }
    if (status != TR_OK)
        return status;
    for (size_t i = 0; i < window->dirty_count; i++) {
        window->dirty[i]->is_dirty = false;
        if (window->dirty[i]->is_gone)
            tr_window_group_free(window->dirty[i], sum_count(window));
    }
    window->dirty_count = 0;
    if (window->text.failed)
        return no_memory(err);
    /* a batch may have several COMMITs, and all of it is handed to the sink at once */
    char *text = tr_arena_alloc(&window->branch->arena, window->text.len + 1, 1);
    if (text == NULL)
        return no_memory(err);
    if (window->text.len > 0)
        memcpy(text, window->text.data, window->text.len);
    for (size_t i = 0; i < count; i++) {
        window->marks[i].key.ptr = text + (uintptr_t)window->marks[i].key.ptr;
        window->marks[i].value.ptr = text + (uintptr_t)window->marks[i].value.ptr;
    }
    *marks = window->marks;
    *mark_count = (uint32_t)count;
    return TR_OK;
}

enum tr_status tr_window_commit(struct tr_window *window, const struct tr_event *commit,
                                const struct tr_mark **marks, uint32_t *mark_count,
                                struct tr_error *err)
{
    int64_t watermark_us = commit->event_time_us;
    bool end = (commit->flags & TR_EV_END_OF_INPUT) != 0;
    if (watermark_us != TR_TIME_NONE && watermark_us > window->closed_us) {
        /* windows that end at the watermark are complete: an event below it would be late */
        if (window->next_end_us <= watermark_us) {
            if (close_until(window, watermark_us, watermark_us, commit, err) != TR_OK)
                return TR_FAIL;
            window->closed_changed = true;
        }
        window->closed_us = watermark_us;
    }
    if (end && window->group_total > 0 &&
        close_until(window, INT64_MAX, window->closed_us, commit, err) != TR_OK)
        return TR_FAIL;
    return make_marks(window, marks, mark_count, err);
}
