/* Transforms: projection and filter of rows by SQL expressions, between source and routes.
 *
 * The reader's thread applies them to a batch in place. Everything is compiled once per rule and table
 * version. Thread: one at a time. */
#ifndef TR_TRANSFORM_TRANSFORM_H
#define TR_TRANSFORM_TRANSFORM_H

#include "event/batch.h"
#include "event/table_pattern.h"
#include "tailrace/message.h"

/* One entry of `transform:`; owned by the pipeline file. Strings may be NULL where the key was left out. */
struct tr_transform_rule {
    struct tr_table_pattern *source; /* compiled source-table */
    const char *source_text;
    const char *projection;          /* SQL select list */
    const char *filter;              /* SQL condition */
    const char *primary_keys;        /* comma-separated names of the result's columns */
    const char *partition_keys;
    const char *table_options, *table_options_delimiter;
    bool soft_delete;                /* converter-after-transform: SOFT_DELETE */
    const char *description;
    const char *where;               /* "file:line:column" of the entry */
    /* Places of the values of projection, filter and primary-keys in the file: an error at character n
     * of the text is reported at the file's line and column (of the first character of the value; for a
     * value of several lines, line + the line within it). */
    const char *path;
    unsigned projection_line, projection_column, filter_line, filter_column, keys_line, keys_column;
};

struct tr_transform;
/* Compiles the rules: a syntax error, an unknown function or a wrong number of arguments is
 * TRANSFORM_SYNTAX / TRANSFORM_FUNCTION with the place in the file and the text under a caret. Unknown
 * columns are found when a table is seen (TRANSFORM_COLUMN, with the nearest name as the hint).
 * time_zone: pipeline.local-time-zone, an IANA name, "+02:00" or NULL (= UTC): what times without a zone
 * mean, and what CURRENT_TIMESTAMP casts to TIMESTAMP show. */
enum tr_status tr_transform_new(const struct tr_transform_rule *rules, size_t rule_count,
                                const char *time_zone, struct tr_transform **out,
                                struct tr_error *err) TR_WARN_UNUSED;
void tr_transform_free(struct tr_transform *transform);

/* An expression failed on the row of batch->events[index] (class TR_DATA). The handler turns the event
 * into a dead letter in place, or gives TR_FAIL, which ends the batch. TR_AGAIN: leave the event out. */
typedef enum tr_status (*tr_transform_failed_fn)(void *context, struct tr_batch *batch,
                                                 uint32_t index, struct tr_error *err);

/* Rewrites the batch's events in place: the first rule whose source-table matches wins; tables without a
 * rule pass, but lose their hidden columns. Events may be removed (filter, schema changes that the
 * projection does not show): event_count shrinks, order is kept. COMMIT, MESSAGE and dead letters are
 * left alone. `now_us` is the processing time of the whole batch. */
enum tr_status tr_transform_batch(struct tr_transform *transform, struct tr_batch *batch,
                                  int64_t now_us, tr_transform_failed_fn failed, void *context,
                                  struct tr_error *err) TR_WARN_UNUSED;
/* The table that rows of `source` become (a new reference): what `check` and `verify` need. */
enum tr_status tr_transform_table(struct tr_transform *transform, const struct tr_table *source,
                                  struct tr_table **out, struct tr_error *err) TR_WARN_UNUSED;
/* Any rule at all for tables that have rows of this ID? Without one a reader may hand on raw rows. */
bool tr_transform_is_empty(const struct tr_transform *transform);

/* One expression by itself, over a table's columns: the engine's event-time column and the windows' group
 * and aggregate expressions. Compile per table version. */
struct tr_expression;
enum tr_status tr_expression_new(const char *text, const struct tr_table *table,
                                 const char *time_zone, struct tr_expression **out,
                                 struct tr_error *err) TR_WARN_UNUSED;
/* Type of the result. */
void tr_expression_column(const struct tr_expression *expression, struct tr_column *column);
/* *cell is valid until the next call. */
enum tr_status tr_expression_eval(struct tr_expression *expression, const struct tr_event *event,
                                  const struct tr_cell *cells, int64_t now_us, struct tr_cell *cell,
                                  struct tr_error *err) TR_WARN_UNUSED;
void tr_expression_free(struct tr_expression *expression);

#endif
