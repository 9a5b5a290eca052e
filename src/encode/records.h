/* Which records one event becomes. Most events become one; a delete may be followed by a tombstone
 * (same key, no value); an update that changes the key becomes a delete of the old key, its
 * tombstone, and a create of the new one, as Debezium does. Pure, no allocation. */
#ifndef TR_ENCODE_RECORDS_H
#define TR_ENCODE_RECORDS_H

#include "encode/format_options.h"
#include "tailrace/format.h"

#define TR_RECORDS_MAX 3

struct tr_record {
    const struct tr_event *event;   /* for encode_key, and for encode_value unless tombstone */
    const struct tr_event *new_key; /* not NULL: header __debezium.newkey = this event's key */
    const struct tr_event *old_key; /* not NULL: header __debezium.oldkey = this event's key */
    bool tombstone;                 /* no value */
};
struct tr_records {
    size_t count; /* 0: the event has no record (COMMIT, SCHEMA, a skipped operation) */
    struct tr_record items[TR_RECORDS_MAX];
    struct tr_event made[2]; /* helper events of a key change; borrow the event's cells */
};

/* format: tr_format_debezium_json or tr_format_plain_json. tombstones: whether a sink has a use for
 * them (Debezium's tombstones.on.delete; false for files). */
void tr_records_plan(const struct tr_format_ops *format, const struct tr_format_options *options,
                     bool tombstones, const struct tr_event *event, struct tr_records *records);

#endif
