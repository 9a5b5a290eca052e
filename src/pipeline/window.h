/* Windows of event time: counts, sums, minima, maxima and means per window and group, for one branch.
 *
 * Rows of the branch go in; rows of the result's table come out when the watermark passes a window's
 * end. The open windows are part of the position: each COMMIT event of the branch carries the groups that
 * changed since the one before it as marks ("w/<sink>/…"), stored where the sink stores its position, in
 * the same transaction as the results. Thread: the branch's writer. */
#ifndef TR_PIPELINE_WINDOW_H
#define TR_PIPELINE_WINDOW_H

#include "pipeline/engine.h"

struct tr_window;

/* Restores what branch->marks says. Errors: WINDOW_EXPRESSION, WINDOW_STATE, OUT_OF_MEMORY. */
enum tr_status tr_window_open(struct tr_branch *branch, struct tr_window **out,
                              struct tr_error *err) TR_WARN_UNUSED;
/* Takes a row into its windows; other events are ignored. Errors: WINDOW_EXPRESSION when the table does
 * not have what the expressions name, WINDOW_GROUP_NULL, WINDOW_OVERFLOW, WINDOW_LIMIT. */
enum tr_status tr_window_row(struct tr_window *window, const struct tr_event *event,
                             struct tr_error *err) TR_WARN_UNUSED;
/* A COMMIT: gives the branch the results of windows that the watermark (event_time_us) has passed, and
 * the marks of what changed. The array is valid until the next call, what it points to as long as the
 * branch's arena is not reset. */
enum tr_status tr_window_commit(struct tr_window *window, const struct tr_event *commit,
                                const struct tr_mark **marks, uint32_t *mark_count,
                                struct tr_error *err) TR_WARN_UNUSED;
/* Open groups. */
size_t tr_window_count(const struct tr_window *window);
void tr_window_close(struct tr_window *window); /* NULL is fine */

extern struct tr_metric tr_metric_windows_closed, tr_metric_windows_missed;

#endif
