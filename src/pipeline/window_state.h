/* The inside of windows: what is asked for, the groups, their text form as marks. */
#ifndef TR_PIPELINE_WINDOW_STATE_H
#define TR_PIPELINE_WINDOW_STATE_H

#include "base/arena.h"
#include "base/outbuf.h"
#include "event/state.h"
#include "pipeline/window.h"

#define TR_WINDOW_COLUMNS_MAX 64 /* group-by and aggregates together */

enum tr_aggregate_kind {
    TR_AGG_COUNT_ALL,
    TR_AGG_COUNT,
    TR_AGG_SUM,
    TR_AGG_MIN,
    TR_AGG_MAX,
    TR_AGG_AVG
};
struct tr_window_item { /* one of group-by or aggregates, as written */
    char *text;         /* the expression; "" for COUNT(*) */
    char *name;
    enum tr_aggregate_kind kind; /* aggregates */
};
struct tr_accumulator {
    int64_t count;    /* values that were not NULL */
    __int128 sum;     /* integers and decimals: digits at `scale` */
    int32_t scale;
    double float_sum;
    char *text;       /* MIN, MAX: the value; owned */
    uint32_t text_len;
};
struct tr_window_group {
    struct tr_window_group *next; /* of its slot */
    uint64_t hash;
    int64_t start_us, end_us;
    int64_t mark_start_us; /* start when it was first stored: names its mark */
    uint32_t key_len;
    bool is_dirty, is_stored, is_gone;
    char *key; /* the group's values: per value length (4 bytes) and bytes */
    struct tr_accumulator sums[];
};

enum tr_status tr_window_items(const struct tr_string_list *list, bool aggregates, const char *where,
                               struct tr_window_item *items, unsigned *count, struct tr_error *err);
void tr_window_items_free(struct tr_window_item *items, unsigned count);

/* Adds one value of a type; NULL values are not given. DATA errors: WINDOW_OVERFLOW. */
enum tr_status tr_accumulate(struct tr_accumulator *sum, enum tr_aggregate_kind kind,
                             enum tr_type type, struct tr_slice value, struct tr_error *err);
/* b's values join a's (sessions that grow together). */
enum tr_status tr_accumulator_join(struct tr_accumulator *a, const struct tr_accumulator *b,
                                   enum tr_aggregate_kind kind, enum tr_type type,
                                   struct tr_error *err);
/* The result as a cell's text, in the arena; NULL state for nothing. */
enum tr_status tr_accumulator_cell(const struct tr_accumulator *sum, enum tr_aggregate_kind kind,
                                   enum tr_type type, struct tr_arena *arena, struct tr_cell *cell,
                                   struct tr_error *err);
/* The column that an aggregate of values of `of` gives; false: it cannot be made of them. */
bool tr_aggregate_column(enum tr_aggregate_kind kind, const struct tr_column *of,
                         struct tr_column *column);

/* A group as a mark's value and back. */
void tr_window_group_print(const struct tr_window_group *group, unsigned sum_count,
                           struct tr_outbuf *out);
enum tr_status tr_window_group_parse(const char *text, unsigned sum_count,
                                     struct tr_window_group **out, struct tr_error *err);
void tr_window_group_free(struct tr_window_group *group, unsigned sum_count);

#endif
