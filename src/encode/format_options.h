/* The options that every encoder understands. A sink embeds struct tr_format_options in its own
 * bound struct and puts TR_FORMAT_OPTION_ROWS into its option table, so that one table still
 * describes it:
 *
 *     struct file_options { const char *path; struct tr_format_options format; };
 *     static const struct tr_option rows[] = {
 *         {.name = "path", …},
 *         TR_FORMAT_OPTION_ROWS(struct file_options, format, "rewrite"),
 *         {.name = NULL},
 *     };
 *
 * and gives &options->format to tr_format_ops.open. The names are Debezium's where it has one. */
#ifndef TR_ENCODE_FORMAT_OPTIONS_H
#define TR_ENCODE_FORMAT_OPTIONS_H

#include "tailrace/option.h"

enum tr_decimal_mode { TR_DECIMAL_PRECISE, TR_DECIMAL_DOUBLE, TR_DECIMAL_STRING };
enum tr_time_mode {
    TR_TIME_ADAPTIVE,
    TR_TIME_ADAPTIVE_TIME_MICROSECONDS,
    TR_TIME_CONNECT,
    TR_TIME_ISOSTRING,
    TR_TIME_MICROSECONDS,
    TR_TIME_NANOSECONDS
};
enum tr_binary_mode { TR_BINARY_BYTES, TR_BINARY_BASE64, TR_BINARY_BASE64_URL_SAFE, TR_BINARY_HEX };
enum tr_interval_mode { TR_INTERVAL_NUMERIC, TR_INTERVAL_STRING };
enum tr_hstore_mode { TR_HSTORE_JSON, TR_HSTORE_MAP };
enum tr_delete_mode {
    TR_DELETE_DROP,
    TR_DELETE_TOMBSTONE,
    TR_DELETE_REWRITE,
    TR_DELETE_REWRITE_WITH_TOMBSTONE
};
enum tr_json_decimal { TR_JSON_DECIMAL_STRING, TR_JSON_DECIMAL_NUMBER };
enum tr_json_timestamp { TR_JSON_TIMESTAMP_ISO8601, TR_JSON_TIMESTAMP_SQL };

struct tr_format_options {
    int decimal_mode;  /* enum tr_decimal_mode */
    int time_mode;     /* enum tr_time_mode */
    int binary_mode;   /* enum tr_binary_mode */
    int interval_mode; /* enum tr_interval_mode */
    int hstore_mode;   /* enum tr_hstore_mode */
    const char *unavailable_placeholder;
    struct tr_string_list skipped_operations; /* c u d r t m, or none */
    int delete_mode;                          /* enum tr_delete_mode; "json" only */
    int json_decimal;                         /* enum tr_json_decimal; "json" only */
    int json_timestamp;                       /* enum tr_json_timestamp; "json" only */
    bool json_metadata;                       /* "json" only */
    bool null_with_default;                   /* debezium-json only */
};

extern const char *const tr_decimal_mode_values[];
extern const char *const tr_time_mode_values[];
extern const char *const tr_binary_mode_values[];
extern const char *const tr_interval_mode_values[];
extern const char *const tr_hstore_mode_values[];
extern const char *const tr_delete_mode_values[];
extern const char *const tr_json_decimal_values[];
extern const char *const tr_json_timestamp_values[];

/* Sets the defaults that the rows below name; for users without a pipeline file (tests, tools). */
void tr_format_options_default(struct tr_format_options *options);

#define TR_FORMAT_AT(owner, member, field)                                                         \
    (offsetof(owner, member) + offsetof(struct tr_format_options, field))

/* owner: the sink's bound struct; member: its tr_format_options; delete_default: what "json" does
 * with deletes when the file does not say ("tombstone" for a log that compacts, "rewrite" for
 * files). */
#define TR_FORMAT_OPTION_ROWS(owner, member, delete_default)                                       \
    {.name = "decimal.handling.mode",                                                              \
     .type = TR_OPT_ENUM,                                                                          \
     .offset = TR_FORMAT_AT(owner, member, decimal_mode),                                          \
     .default_text = "precise",                                                                    \
     .values = tr_decimal_mode_values,                                                             \
     .help = "debezium-json: how numeric and money are written. precise: base64 of the unscaled "  \
             "two's complement bytes; double: a JSON number, may lose digits; string: exact "      \
             "digits. NaN and infinity need double or string."},                                   \
        {.name = "time.precision.mode",                                                            \
         .type = TR_OPT_ENUM,                                                                      \
         .offset = TR_FORMAT_AT(owner, member, time_mode),                                         \
         .default_text = "adaptive",                                                               \
         .values = tr_time_mode_values,                                                            \
         .help = "debezium-json: how date, time and timestamp are written, as in Debezium."},      \
        {.name = "binary.handling.mode",                                                           \
         .type = TR_OPT_ENUM,                                                                      \
         .offset = TR_FORMAT_AT(owner, member, binary_mode),                                       \
         .default_text = "bytes",                                                                  \
         .values = tr_binary_mode_values,                                                          \
         .help = "How bytea is written. bytes and base64 are both base64 in JSON."},               \
        {.name = "interval.handling.mode",                                                         \
         .type = TR_OPT_ENUM,                                                                      \
         .offset = TR_FORMAT_AT(owner, member, interval_mode),                                     \
         .default_text = "numeric",                                                                \
         .values = tr_interval_mode_values,                                                        \
         .help =                                                                                   \
             "debezium-json: numeric writes microseconds (a month has 365.25/12 days); string "    \
             "writes P1Y2M3DT4H5M6.78S."},                                                         \
        {.name = "hstore.handling.mode",                                                           \
         .type = TR_OPT_ENUM,                                                                      \
         .offset = TR_FORMAT_AT(owner, member, hstore_mode),                                       \
         .default_text = "json",                                                                   \
         .values = tr_hstore_mode_values,                                                          \
         .help = "debezium-json: hstore as a string that holds JSON, or as a JSON object (map)."}, \
        {.name = "unavailable.value.placeholder",                                                  \
         .type = TR_OPT_STRING,                                                                    \
         .flags = TR_OPT_ADVANCED,                                                                 \
         .offset = TR_FORMAT_AT(owner, member, unavailable_placeholder),                           \
         .default_text = "__debezium_unavailable_value",                                           \
         .help = "Written for a large value that an update did not change and the source did not " \
                 "send (TOAST). Use REPLICA IDENTITY FULL to have the value itself."},             \
        {.name = "replace.null.with.default",                                                      \
         .type = TR_OPT_BOOL,                                                                      \
         .flags = TR_OPT_ADVANCED,                                                                 \
         .offset = TR_FORMAT_AT(owner, member, null_with_default),                                 \
         .default_text = "false",                                                                  \
         .help =                                                                                   \
             "debezium-json: write a column's default in place of NULL, as Kafka Connect's JSON "  \
             "converter does unless told otherwise. It hides which values were NULL."},            \
        {.name = "skipped.operations",                                                             \
         .type = TR_OPT_LIST,                                                                      \
         .offset = TR_FORMAT_AT(owner, member, skipped_operations),                                \
         .default_text = "t",                                                                      \
         .help = "Operations that are not written: c, u, d, r (snapshot rows), t (truncate), m "   \
                 "(messages), or none."},                                                          \
        {.name = "delete.tombstone.handling.mode",                                                 \
         .type = TR_OPT_ENUM,                                                                      \
         .offset = TR_FORMAT_AT(owner, member, delete_mode),                                       \
         .default_text = delete_default,                                                           \
         .values = tr_delete_mode_values,                                                          \
         .help =                                                                                   \
             "json: what a delete becomes. drop: nothing; tombstone: a record without value; "     \
             "rewrite: the last row with \"__deleted\":\"true\"; rewrite-with-tombstone: both."},  \
        {.name = "json.decimal-format",                                                            \
         .type = TR_OPT_ENUM,                                                                      \
         .offset = TR_FORMAT_AT(owner, member, json_decimal),                                      \
         .default_text = "string",                                                                 \
         .values = tr_json_decimal_values,                                                         \
         .help =                                                                                   \
             "json: numeric as a string, or as a JSON number with all its digits (many readers "   \
             "round those)."},                                                                     \
        {.name = "json.timestamp-format.standard",                                                 \
         .type = TR_OPT_ENUM,                                                                      \
         .offset = TR_FORMAT_AT(owner, member, json_timestamp),                                    \
         .default_text = "ISO-8601",                                                               \
         .values = tr_json_timestamp_values,                                                       \
         .help = "json: 2020-12-30T12:13:14.123Z (ISO-8601) or 2020-12-30 12:13:14.123Z (SQL)."},  \
    {                                                                                              \
        .name = "json.include-metadata", .type = TR_OPT_BOOL,                                      \
        .offset = TR_FORMAT_AT(owner, member, json_metadata), .default_text = "false",             \
        .help = "json: adds __op, __table, __ts_ms and __lsn to every row."                        \
    }

#endif
