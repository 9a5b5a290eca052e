#include "encode/records.h"

#include <string.h>

#include "encode/encode.h"

static bool skipped(const struct tr_format_options *options, char op)
{
    for (size_t i = 0; i < options->skipped_operations.count; i++) {
        if (options->skipped_operations.items[i][0] == op &&
            options->skipped_operations.items[i][1] == '\0')
            return true;
    }
    return false;
}

static struct tr_record *add(struct tr_records *records, const struct tr_event *event,
                             bool tombstone)
{
    struct tr_record *record = &records->items[records->count++];
    *record = (struct tr_record){.event = event, .tombstone = tombstone};
    return record;
}

/* The records of a delete. key_known: there is a key that a tombstone can carry. */
static void plan_delete(bool plain, const struct tr_format_options *options, bool tombstones,
                        const struct tr_event *event, struct tr_records *records)
{
    int mode = options->delete_mode;
    if (skipped(options, 'd'))
        return;
    if (!plain) {
        (void)add(records, event, false);
        if (tombstones)
            (void)add(records, event, true);
        return;
    }
    if (mode == TR_DELETE_REWRITE || mode == TR_DELETE_REWRITE_WITH_TOMBSTONE)
        (void)add(records, event, false);
    if (tombstones && (mode == TR_DELETE_TOMBSTONE || mode == TR_DELETE_REWRITE_WITH_TOMBSTONE))
        (void)add(records, event, true);
}

static void plan_key_change(bool plain, const struct tr_format_options *options, bool tombstones,
                            const struct tr_event *event, struct tr_records *records)
{
    struct tr_event *gone = &records->made[0], *come = &records->made[1];
    *gone = *event;
    gone->op = TR_OP_DELETE;
    gone->after = NULL;
    *come = *event;
    come->op = TR_OP_CREATE;
    come->before = NULL;
    plan_delete(plain, options, tombstones, gone, records);
    for (size_t i = 0; i < records->count; i++)
        records->items[i].new_key = come;
    add(records, come, false)->old_key = gone;
}

void tr_records_plan(const struct tr_format_ops *format, const struct tr_format_options *options,
                     bool tombstones, const struct tr_event *event, struct tr_records *records)
{
    bool plain = format == &tr_format_plain_json;
    records->count = 0;
    switch (event->op) {
    case TR_OP_DELETE:
        plan_delete(plain, options, tombstones, event, records);
        break;
    case TR_OP_UPDATE:
        if (skipped(options, 'u'))
            break;
        if ((event->flags & TR_EV_KEY_CHANGED) != 0 && event->before != NULL &&
            event->table->key_count > 0)
            plan_key_change(plain, options, tombstones, event, records);
        else
            (void)add(records, event, false);
        break;
    case TR_OP_CREATE:
    case TR_OP_READ:
        if (!skipped(options, (char)event->op))
            (void)add(records, event, false);
        break;
    case TR_OP_TRUNCATE:
    case TR_OP_MESSAGE:
        if (!plain && !skipped(options, (char)event->op))
            (void)add(records, event, false);
        break;
    default:
        break;
    }
}
