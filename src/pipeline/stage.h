/* What happens to a batch on the reader's thread, between source and rings: transforms, then event time:
 * the watermark, late events, dead letters. Thread: one stage per reader thread. */
#ifndef TR_PIPELINE_STAGE_H
#define TR_PIPELINE_STAGE_H

#include "config/pipeline_file.h"
#include "pipeline/watermark.h"

#define TR_STAGE_TABLES_MAX 256 /* table versions whose event-time column is remembered */

struct tr_stage {
    const struct tr_pipeline_file *file;
    const struct tr_source_ops *source_ops;
    void *source;
    bool is_stream;         /* the stream reader's: has the watermark */
    struct tr_transform *transform; /* NULL: none needed */
    bool has_dead_letters;
    struct tr_watermark watermark;
    struct {
        const struct tr_table *table; /* reference held */
        int column;                   /* -1: it has none of that name */
    } times[TR_STAGE_TABLES_MAX];
    struct tr_mark *marks;
    uint32_t marks_capacity;
    const struct tr_message *judged; /* the message judged last, and its time */
    int64_t judged_us;
    bool is_prepared; /* the batch was transformed, and its judging has begun */
};

enum tr_status tr_stage_open(struct tr_stage *stage, const struct tr_pipeline_file *file,
                             const struct tr_source_ops *source_ops, void *source, bool is_stream,
                             struct tr_error *err) TR_WARN_UNUSED;
void tr_stage_close(struct tr_stage *stage);
/* Works on a batch in place. TR_AGAIN: too many late events are outstanding; events from *at on are
 * not judged yet: call again with the same *at (0 at first) when something was acknowledged. */
enum tr_status tr_stage_batch(struct tr_stage *stage, struct tr_batch *batch, uint32_t *at,
                              struct tr_error *err) TR_WARN_UNUSED;
/* The source had nothing: splits may have become idle. Adds a COMMIT event when the watermark rose.
 * end: the source will never have more: the COMMIT closes every window. */
enum tr_status tr_stage_idle(struct tr_stage *stage, struct tr_batch *batch, bool end,
                             struct tr_error *err) TR_WARN_UNUSED;

extern struct tr_metric tr_metric_dead_letters, tr_metric_late, tr_metric_late_dropped;

#endif
