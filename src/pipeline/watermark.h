/* Event time: the watermark over all splits, and which events are late.
 *
 * The watermark is the smallest, over the splits that are not idle, of (newest event time - delay). It
 * never falls. An event below it is late.
 *
 * Decisions are made once. Sinks may be durable to different positions when a process dies, and what one
 * of them has already and another has not is read again, in another order over the splits: judged anew,
 * an event could be late for one sink and on time for another. So the positions of late events that are
 * not acknowledged by every sink are part of the position ("late/<split>"): below the furthest position
 * that any sink holds (`covered`) the list decides, and only behind it the watermark does. While such
 * events are read again, no window closes. Thread: the stream reader's; `acked` any. */
#ifndef TR_PIPELINE_WATERMARK_H
#define TR_PIPELINE_WATERMARK_H

#include <stdatomic.h>

#include "event/batch.h"
#include "event/state.h"
#include "pipeline/ranges.h"
#include "tailrace/message.h"

#define TR_MARK_WATERMARK "watermark"
#define TR_MARK_NEWEST "newest/" /* + split name: newest event time, µs */
#define TR_MARK_LATE "late/"     /* + split name: see ranges.h */
#define TR_MARK_COVERED "covered/" /* + split name; only in the state given to tr_watermark_open */

struct tr_watermark_split {
    char *name;
    int64_t newest_us;     /* TR_TIME_NONE: no event yet */
    int64_t heard_mono_us; /* when it last brought one, or was first seen */
    int64_t next, covered;
    bool gone;             /* not this process's now */
    bool newest_changed, late_changed;
    struct tr_ranges late;
};
struct tr_watermark {
    int64_t delay_us, idle_us; /* idle 0: never */
    int64_t watermark_us;      /* TR_TIME_NONE: none yet */
    bool watermark_changed;
    bool tracks_late; /* several sinks: decisions are part of the position */
    bool is_shared;   /* other processes have splits too: nothing of all splits is stored */
    struct tr_state start;
    struct tr_watermark_split *splits; /* by split index */
    uint32_t split_count, split_capacity;
    uint32_t behind; /* splits that are not gone and whose next < covered */
    struct tr_outbuf text;
};

void tr_watermark_init(struct tr_watermark *watermark, int64_t delay_us, int64_t idle_us);
void tr_watermark_free(struct tr_watermark *watermark);
/* Where the last run was; see TR_MARK_… above. */
enum tr_status tr_watermark_restore(struct tr_watermark *watermark, const struct tr_state *marks,
                                    struct tr_error *err) TR_WARN_UNUSED;
/* Makes a split known, so that the watermark waits for it. Idempotent. */
enum tr_status tr_watermark_split(struct tr_watermark *watermark, uint32_t index, const char *name,
                                  int64_t now_us, struct tr_error *err) TR_WARN_UNUSED;
/* The split is another process's now, or ended: it holds nothing back. */
void tr_watermark_split_gone(struct tr_watermark *watermark, uint32_t index);
/* Judges an event of a known split. *late: it is late; then it moves nothing. Decisions are known by
 * position: for every row of a message the time given is that of the earliest. TR_AGAIN: there are more
 * late events outstanding than can be kept: wait until some are acknowledged, and ask again. */
enum tr_status tr_watermark_event(struct tr_watermark *watermark, uint32_t index, int64_t position,
                                  int64_t next, int64_t time_us, int64_t now_us, bool *late,
                                  struct tr_error *err) TR_WARN_UNUSED;
/* A COMMIT says that the split was read up to `next`: what was left out on the way (malformed, filtered)
 * was never judged. */
void tr_watermark_read(struct tr_watermark *watermark, struct tr_slice name, int64_t next);
/* Leaves idle splits out; the watermark may rise. now_us: monotonic. */
void tr_watermark_tick(struct tr_watermark *watermark, int64_t now_us);
/* Events below this position of the split are done for every sink. */
void tr_watermark_acked(struct tr_watermark *watermark, const char *name, int64_t position);
/* True while events that some sink holds already are read again. */
bool tr_watermark_replays(const struct tr_watermark *watermark);
/* The marks that changed since the last call, in the batch's memory. */
enum tr_status tr_watermark_marks(struct tr_watermark *watermark, struct tr_batch *batch,
                                  struct tr_mark *marks, uint32_t marks_max, uint32_t *count,
                                  struct tr_error *err) TR_WARN_UNUSED;
/* Most marks that the next tr_watermark_marks can give. */
uint32_t tr_watermark_marks_max(const struct tr_watermark *watermark);

#endif
