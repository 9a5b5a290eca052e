/* The words of the format options, and their defaults in one place for callers without a file. */
#include "encode/format_options.h"

const char *const tr_decimal_mode_values[] = {"precise", "double", "string", NULL};
const char *const tr_time_mode_values[] = {
    "adaptive", "adaptive_time_microseconds", "connect", "isostring", "microseconds", "nanoseconds",
    NULL};
const char *const tr_binary_mode_values[] = {"bytes", "base64", "base64-url-safe", "hex", NULL};
const char *const tr_interval_mode_values[] = {"numeric", "string", NULL};
const char *const tr_hstore_mode_values[] = {"json", "map", NULL};
const char *const tr_delete_mode_values[] = {"drop", "tombstone", "rewrite",
                                             "rewrite-with-tombstone", NULL};
const char *const tr_json_decimal_values[] = {"string", "number", NULL};
const char *const tr_json_timestamp_values[] = {"ISO-8601", "SQL", NULL};

void tr_format_options_default(struct tr_format_options *options)
{
    static const char *const skipped[] = {"t"};
    *options = (struct tr_format_options){
        .unavailable_placeholder = "__debezium_unavailable_value",
        .skipped_operations = {.items = skipped, .count = 1},
        .delete_mode = TR_DELETE_TOMBSTONE,
    };
}
