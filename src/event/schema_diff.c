/* Schema difference: which column became which, then items in an order that can be applied.
 *
 * Which became which. A column's attnum never changes and is never used again, so it is the truth
 * where both sides know it: a rename keeps it, and DROP a + RENAME b TO a is not mistaken for DROP
 * b. A Relation message has no attnums; without them the columns' order is used, for PostgreSQL
 * keeps it and adds columns only at the end. The two column lists are aligned like two texts: keep
 * same name (or same attnum) rename  another name at that place drop    an old column without a
 * partner add     a new column without a partner: only behind the last kept or renamed column As
 * many columns as possible are kept; after that a drop and an add together cost less than a rename
 * at the tail, and a rename to a column of another type costs more than one of the same type. Hence
 * (a,b) → (b,a) is DROP a, ADD a, and never a swap, while (a,c) → (b,c) must be RENAME a TO b.
 *
 * The order. Drops first, so that a freed name can be taken; then renames, each when its new name
 * is free (chains run from their end); what is left are cycles, which no order can serve without a
 * temporary name: rename_cycle says so; then adds, types, nullability, defaults, and the key last.
 */
#include "event/schema_diff.h"

#include <stdlib.h>
#include <string.h>

#define NONE (-1)
/* Alignment needs before × after cells; more columns than this are matched by name alone. */
#define ALIGN_CELLS_MAX (UINT64_C(16) << 20)
#define COST_RENAME 30
#define COST_RENAME_OTHER_TYPE 35
#define COST_DROP 20 /* with an add at the tail: 30 would tie with a rename */
#define COST_ADD 9
#define GAIN_KEEP 1000

struct diff {
    const struct tr_table *before, *after;
    int *partner;      /* per before column: its after column or NONE */
    int *partner_back; /* per after column */
    struct tr_alter_item *items;
    uint32_t item_count;
};

static bool text_equal(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static bool type_equal(const struct tr_column *a, const struct tr_column *b)
{
    return a->type == b->type && a->elem_type == b->elem_type &&
           a->source_type_id == b->source_type_id && a->source_typmod == b->source_typmod &&
           a->precision == b->precision && a->scale == b->scale && a->length == b->length &&
           text_equal(a->source_type, b->source_type) && text_equal(a->enum_labels, b->enum_labels);
}

/* ---- which became which --------------------------------------------------------------------- */

static void pair(struct diff *diff, int i, int j)
{
    diff->partner[i] = j;
    diff->partner_back[j] = i;
}

static bool all_have_attnum(const struct tr_table *table)
{
    for (int i = 0; i < table->column_count; i++) {
        if (table->columns[i].source_attnum == 0)
            return false;
    }
    return true;
}

struct by_attnum {
    int32_t attnum;
    int index;
};

static int compare_attnum(const void *a, const void *b)
{
    int32_t x = ((const struct by_attnum *)a)->attnum, y = ((const struct by_attnum *)b)->attnum;
    return x < y ? -1 : x > y;
}

static bool match_by_attnum(struct diff *diff)
{
    int count = diff->before->column_count;
    struct by_attnum *sorted = malloc(((size_t)count + 1) * sizeof *sorted);
    if (sorted == NULL)
        return false;
    for (int i = 0; i < count; i++)
        sorted[i] = (struct by_attnum){diff->before->columns[i].source_attnum, i};
    qsort(sorted, (size_t)count, sizeof *sorted, compare_attnum);
    for (int j = 0; j < diff->after->column_count; j++) {
        struct by_attnum want = {diff->after->columns[j].source_attnum, 0};
        const struct by_attnum *found =
            bsearch(&want, sorted, (size_t)count, sizeof *sorted, compare_attnum);
        if (found != NULL && diff->partner[found->index] == NONE)
            pair(diff, found->index, j);
    }
    free(sorted);
    return true;
}

static void match_by_name(struct diff *diff)
{
    for (int i = 0; i < diff->before->column_count; i++) {
        int j = tr_table_column(diff->after, diff->before->columns[i].name);
        if (j >= 0 && diff->partner_back[j] == NONE)
            pair(diff, i, j);
    }
}

enum step { STEP_TAIL, STEP_PAIR, STEP_DROP };

/* The cost of making column i into column j; -1 when they are known to be different columns. */
static int pair_cost(const struct tr_column *a, const struct tr_column *b)
{
    if (a->source_attnum != 0 && b->source_attnum != 0)
        return a->source_attnum == b->source_attnum ? 0 : -1;
    if (strcmp(a->name, b->name) == 0)
        return 0;
    return type_equal(a, b) ? COST_RENAME : COST_RENAME_OTHER_TYPE;
}

/* Fills one row of the table: best[j] = the cost of aligning before[i..] with after[j..], from the
 * row below. The tail (drop the rest, add the rest) is open at every place. */
static void align_row(const struct diff *diff, int i, const int64_t *below, int64_t *best,
                      uint8_t *steps)
{
    int n = diff->before->column_count, m = diff->after->column_count;
    for (int j = m; j >= 0; j--) {
        int64_t cost = (int64_t)(n - i) * COST_DROP + (int64_t)(m - j) * COST_ADD;
        uint8_t step = STEP_TAIL;
        if (i < n && j < m) {
            int changed = pair_cost(&diff->before->columns[i], &diff->after->columns[j]);
            int64_t paired = below[j + 1] + (changed == 0 ? -GAIN_KEEP : changed);
            if (changed >= 0 && paired < cost) {
                cost = paired;
                step = STEP_PAIR;
            }
        }
        if (i < n && below[j] + COST_DROP < cost) {
            cost = below[j] + COST_DROP;
            step = STEP_DROP;
        }
        best[j] = cost;
        steps[j] = step;
    }
}

static bool match_by_alignment(struct diff *diff)
{
    int n = diff->before->column_count, m = diff->after->column_count;
    size_t width = (size_t)m + 1;
    int64_t *rows = malloc(2 * width * sizeof *rows);
    uint8_t *steps = malloc(((size_t)n + 1) * width);
    bool done = rows != NULL && steps != NULL;
    if (!done)
        goto cleanup;
    for (int i = n; i >= 0; i--) {
        int64_t *best = rows + (size_t)(i & 1) * width, *below = rows + (size_t)(~i & 1) * width;
        align_row(diff, i, below, best, steps + (size_t)i * width);
    }
    for (int i = 0, j = 0; i < n && steps[(size_t)i * width + (size_t)j] != STEP_TAIL; i++) {
        if (steps[(size_t)i * width + (size_t)j] == STEP_PAIR)
            pair(diff, i, j++);
    }
cleanup:
    free(rows);
    free(steps);
    return done;
}

static bool match(struct diff *diff)
{
    if (all_have_attnum(diff->before) && all_have_attnum(diff->after))
        return match_by_attnum(diff);
    if (((uint64_t)diff->before->column_count + 1) * ((uint64_t)diff->after->column_count + 1) >
        ALIGN_CELLS_MAX) {
        match_by_name(diff);
        return true;
    }
    return match_by_alignment(diff);
}

/* ---- items ---------------------------------------------------------------------------------- */

static void add_item(struct diff *diff, enum tr_alter_kind kind, int before_index, int after_index)
{
    diff->items[diff->item_count++] =
        (struct tr_alter_item){kind, (uint16_t)(before_index == NONE ? 0 : before_index),
                               (uint16_t)(after_index == NONE ? 0 : after_index)};
}

static bool is_renamed(const struct diff *diff, int i)
{
    int j = diff->partner[i];
    return j != NONE && strcmp(diff->before->columns[i].name, diff->after->columns[j].name) != 0;
}

/* The pending column that still holds the name that column i wants, or NONE. */
static int holder_of_new_name(const struct diff *diff, const bool *pending, int i)
{
    int holder = tr_table_column(diff->before, diff->after->columns[diff->partner[i]].name);
    return holder != NONE && pending[holder] ? holder : NONE;
}

/* A chain is walked to its end and given backwards. What comes back to its start is a cycle: its
 * items follow each other, and the first of them meets a taken name. */
static bool add_renames(struct diff *diff, bool *cycle)
{
    int count = diff->before->column_count, depth;
    bool *pending = calloc((size_t)count + 1, sizeof *pending);
    int *chain = malloc(((size_t)count + 1) * sizeof *chain);
    bool done = pending != NULL && chain != NULL;
    if (!done)
        goto cleanup;
    for (int i = 0; i < count; i++)
        pending[i] = is_renamed(diff, i);
    for (int i = 0; i < count; i++) {
        depth = 0;
        for (int at = i; at != NONE && pending[at] && depth <= count;) {
            chain[depth++] = at;
            at = holder_of_new_name(diff, pending, at);
            if (at == i) {
                *cycle = true;
                break;
            }
        }
        while (depth > 0) {
            int at = chain[--depth];
            if (!pending[at])
                continue;
            pending[at] = false;
            add_item(diff, TR_ALTER_RENAME_COLUMN, at, diff->partner[at]);
        }
    }
cleanup:
    free(pending);
    free(chain);
    return done;
}

static bool key_differs(const struct diff *diff)
{
    if (diff->before->key_count != diff->after->key_count)
        return true;
    for (int k = 0; k < diff->after->key_count; k++) {
        if (diff->partner[diff->before->key_columns[k]] != diff->after->key_columns[k])
            return true;
    }
    return false;
}

static bool make_items(struct diff *diff, bool *cycle)
{
    for (int i = 0; i < diff->before->column_count; i++) {
        if (diff->partner[i] == NONE)
            add_item(diff, TR_ALTER_DROP_COLUMN, i, NONE);
    }
    if (!add_renames(diff, cycle))
        return false;
    for (int j = 0; j < diff->after->column_count; j++) {
        if (diff->partner_back[j] == NONE)
            add_item(diff, TR_ALTER_ADD_COLUMN, NONE, j);
    }
    for (enum tr_alter_kind kind = TR_ALTER_COLUMN_TYPE; kind <= TR_ALTER_COLUMN_DEFAULT; kind++) {
        for (int i = 0; i < diff->before->column_count; i++) {
            int j = diff->partner[i];
            if (j == NONE)
                continue;
            const struct tr_column *a = &diff->before->columns[i], *b = &diff->after->columns[j];
            bool differs = kind == TR_ALTER_COLUMN_TYPE ? !type_equal(a, b)
                           : kind == TR_ALTER_COLUMN_NULLABLE
                               ? a->nullable != b->nullable
                               : !text_equal(a->default_value, b->default_value);
            if (differs)
                add_item(diff, kind, i, j);
        }
    }
    if (key_differs(diff))
        add_item(diff, TR_ALTER_KEY, NONE, NONE);
    return true;
}

enum tr_status tr_schema_diff(const struct tr_table *before, const struct tr_table *after,
                              struct tr_arena *arena, struct tr_schema_change *out,
                              struct tr_error *err)
{
    size_t n = before->column_count, m = after->column_count;
    struct diff diff = {.before = before, .after = after};
    /* a column gives at most a rename, a type, a nullable and a default item, and there is one key
     */
    diff.items =
        tr_arena_alloc(arena, (4 * n + m + 1) * sizeof *diff.items, _Alignof(struct tr_alter_item));
    diff.partner = malloc((n + m + 1) * sizeof *diff.partner);
    bool cycle = false, made = false;
    if (diff.items == NULL || diff.partner == NULL)
        goto cleanup;
    diff.partner_back = diff.partner + n;
    for (size_t i = 0; i < n + m; i++)
        diff.partner[i] = NONE;
    made = match(&diff) && make_items(&diff, &cycle);
    if (made) {
        bool same_id = tr_table_id_equal(&before->id, &after->id);
        *out = (struct tr_schema_change){.kind = diff.item_count == 0 && !same_id
                                                     ? TR_CHANGE_RENAME_TABLE
                                                     : TR_CHANGE_ALTER_TABLE,
                                         .before = before,
                                         .item_count = diff.item_count,
                                         .items = diff.items,
                                         .rename_cycle = cycle};
    }
cleanup:
    free(diff.partner);
    return made ? TR_OK : tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for a schema change");
}
