/* A batch: events + cells + an arena. Made by a reader thread, read by writer threads, reset when it
 * returns to its pool. No malloc per event: cells and values come from the arena, whose blocks stay. */
#ifndef TR_EVENT_BATCH_H
#define TR_EVENT_BATCH_H

#include "base/arena.h"
#include "tailrace/event.h"

#define TR_BATCH_EVENTS_MAX 4096
#define TR_BATCH_FOREIGN_MAX 1024
#define TR_BATCH_BYTES_TARGET (1u << 20) /* a batch is full at this many arena + foreign bytes */

struct tr_batch {
    struct tr_event *events; /* TR_BATCH_EVENTS_MAX slots */
    uint32_t event_count;
    struct tr_arena arena;
    size_t foreign_bytes;
    uint32_t foreign_count;
    struct {
        void *ptr;
        void (*release)(void *ptr);
    } foreign[TR_BATCH_FOREIGN_MAX]; /* buffers of libraries whose bytes cells point into */
    uint32_t table_count, table_capacity;
    const struct tr_table **tables; /* references held */
    int64_t first_us;               /* tr_clock_mono_us of the first event: linger */
    _Atomic uint32_t refs;          /* the engine's */
    void *owner;                    /* the engine's */
    unsigned reader_index;          /* the engine's */
};

enum tr_status tr_batch_new(struct tr_batch **out, struct tr_error *err) TR_WARN_UNUSED;
void tr_batch_free(struct tr_batch *batch);
void tr_batch_reset(struct tr_batch *batch);
/* No room for another event, or enough bytes: hand it on. A reader stops at the next event boundary. */
bool tr_batch_full(const struct tr_batch *batch);
/* Next event, zeroed except op; NULL when events are full (callers check tr_batch_full first). */
struct tr_event *tr_batch_event(struct tr_batch *batch, enum tr_op op);
/* Cells, not initialised; NULL when memory is out. */
struct tr_cell *tr_batch_cells(struct tr_batch *batch, size_t count);
/* Copies bytes into the arena. NULL when memory is out. */
char *tr_batch_copy(struct tr_batch *batch, const void *ptr, size_t len);
/* The batch releases ptr at reset. false (and nothing taken) when its slots are used up. */
bool tr_batch_hold(struct tr_batch *batch, void *ptr, size_t len, void (*release)(void *ptr));
/* Holds a reference on the table until reset; cheap when it is among the last used. */
enum tr_status tr_batch_table(struct tr_batch *batch, const struct tr_table *table,
                              struct tr_error *err) TR_WARN_UNUSED;
/* Appends a COMMIT event with copies of the marks. */
enum tr_status tr_batch_commit(struct tr_batch *batch, const struct tr_mark *marks,
                               uint32_t mark_count, struct tr_event **out,
                               struct tr_error *err) TR_WARN_UNUSED;
/* Appends a SCHEMA event; spec is copied, both tables referenced. */
enum tr_status tr_batch_schema_change(struct tr_batch *batch, const struct tr_table *after,
                                      const struct tr_schema_change *spec, struct tr_event **out,
                                      struct tr_error *err) TR_WARN_UNUSED;
static inline struct tr_slice tr_slice_of(const char *string)
{
    return (struct tr_slice){string, string == NULL ? 0 : __builtin_strlen(string)};
}

#endif
