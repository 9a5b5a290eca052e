/* The formats of message sources and their options. A source embeds struct tr_decoder_options in its own
 * bound struct and puts TR_DECODER_OPTION_ROWS into its option table (as sinks do with
 * encode/format_options.h). */
#ifndef TR_DECODE_FORMATS_H
#define TR_DECODE_FORMATS_H

#include "tailrace/message.h"

enum tr_decoder_format {
    TR_DECODE_JSON,
    TR_DECODE_CDC_JSON,
    TR_DECODE_DEBEZIUM_JSON,
    TR_DECODE_CANAL_JSON,
    TR_DECODE_MAXWELL_JSON,
    TR_DECODE_AVRO,
    TR_DECODE_CSV
};
/* AUTO: evolve without `columns`, ignore with them. */
enum tr_unknown_fields { TR_UNKNOWN_AUTO, TR_UNKNOWN_EVOLVE, TR_UNKNOWN_IGNORE, TR_UNKNOWN_FAIL };

struct tr_decoder_options {
    int format;                         /* enum tr_decoder_format */
    struct tr_string_list columns;      /* "id INT NOT NULL", "name STRING", …; empty: inferred */
    struct tr_string_list primary_keys; /* columns that are the key where the format names none */
    int unknown_fields;                 /* enum tr_unknown_fields */
    bool fail_on_missing_field;
    /* cdc-json: names of the envelope's fields */
    const char *op_field, *before_field, *after_field, *timestamp_field, *table_field;
    /* csv */
    const char *csv_delimiter, *csv_quote, *csv_null;
    bool csv_header;
};

extern const char *const tr_decoder_format_values[]; /* by enum tr_decoder_format */
extern const char *const tr_unknown_fields_values[];

/* Sets the defaults that the rows name; for users without a pipeline file (tests, tools). */
void tr_decoder_options_default(struct tr_decoder_options *options);
/* NULL: the format is not built. */
const struct tr_decoder_ops *tr_decoder_find(int format);

#define TR_DECODER_AT(owner, member, field)                                                        \
    (offsetof(owner, member) + offsetof(struct tr_decoder_options, field))

/* format_default: "json". */
#define TR_DECODER_OPTION_ROWS(owner, member, format_default)                                      \
    {.name = "format",                                                                             \
     .alias = "value.format",                                                                      \
     .type = TR_OPT_ENUM,                                                                          \
     .offset = TR_DECODER_AT(owner, member, format),                                               \
     .default_text = format_default,                                                               \
     .values = tr_decoder_format_values,                                                           \
     .help = "What the messages are. json: a row per message. cdc-json: an envelope with op (c, " \
             "u, d, r), before, after and timestamp. debezium-json, canal-json, maxwell-json: as " \
             "those systems write them, with or without schema. avro: Confluent wire format, a "   \
             "row or a Debezium envelope. csv: a row per line."},                                  \
        {.name = "columns",                                                                        \
         .type = TR_OPT_LIST,                                                                      \
         .offset = TR_DECODER_AT(owner, member, columns),                                          \
         .help = "The row's columns as in CREATE TABLE: id INT, name STRING, price DECIMAL(10,2), " \
                 "at TIMESTAMP. Default: learned from the messages (whole numbers BIGINT, other "  \
                 "numbers DOUBLE, the rest STRING, objects and arrays JSON) and widened when a "   \
                 "value does not fit."},                                                           \
        {.name = "primary-keys",                                                                   \
         .alias = "primary.key",                                                                   \
         .type = TR_OPT_LIST,                                                                      \
         .offset = TR_DECODER_AT(owner, member, primary_keys),                                     \
         .help = "The key's columns, where the format does not name them. A transform's "          \
                 "primary-keys comes after it."},                                                  \
        {.name = "unknown-fields",                                                                 \
         .type = TR_OPT_ENUM,                                                                      \
         .offset = TR_DECODER_AT(owner, member, unknown_fields),                                   \
         .default_text = "auto",                                                                   \
         .values = tr_unknown_fields_values,                                                       \
         .help = "A field that no column is for. evolve: it becomes a column. ignore: it is left " \
                 "out. fail: the message is malformed. auto: evolve when columns are not given, "  \
                 "ignore when they are."},                                                         \
        {.name = "fail-on-missing-field",                                                          \
         .type = TR_OPT_BOOL,                                                                      \
         .offset = TR_DECODER_AT(owner, member, fail_on_missing_field),                            \
         .default_text = "false",                                                                  \
         .help = "true: a message without a field for a column is malformed. false: the column is " \
                 "NULL."},                                                                         \
        {.name = "cdc-json.op.field",                                                              \
         .type = TR_OPT_STRING,                                                                    \
         .flags = TR_OPT_ADVANCED,                                                                 \
         .offset = TR_DECODER_AT(owner, member, op_field),                                         \
         .default_text = "op",                                                                     \
         .help = "cdc-json: the field with c, u, d or r. Transforms see it as a column of this "   \
                 "name."},                                                                         \
        {.name = "cdc-json.before.field",                                                          \
         .type = TR_OPT_STRING,                                                                    \
         .flags = TR_OPT_ADVANCED,                                                                 \
         .offset = TR_DECODER_AT(owner, member, before_field),                                     \
         .default_text = "before",                                                                 \
         .help = "cdc-json: the field with the row before the change."},                           \
        {.name = "cdc-json.after.field",                                                           \
         .type = TR_OPT_STRING,                                                                    \
         .flags = TR_OPT_ADVANCED,                                                                 \
         .offset = TR_DECODER_AT(owner, member, after_field),                                      \
         .default_text = "after",                                                                  \
         .help = "cdc-json: the field with the row after the change."},                            \
        {.name = "cdc-json.timestamp.field",                                                       \
         .type = TR_OPT_STRING,                                                                    \
         .flags = TR_OPT_ADVANCED,                                                                 \
         .offset = TR_DECODER_AT(owner, member, timestamp_field),                                  \
         .default_text = "timestamp",                                                              \
         .help = "cdc-json: the field with the time of the change: ISO-8601, or milliseconds. "    \
                 "Transforms see it as a column of this name."},                                   \
        {.name = "cdc-json.table.field",                                                           \
         .type = TR_OPT_STRING,                                                                    \
         .flags = TR_OPT_ADVANCED,                                                                 \
         .offset = TR_DECODER_AT(owner, member, table_field),                                      \
         .help = "cdc-json: the field that names the table (table, or schema.table). Default: "    \
                 "none, every message is of one table."},                                          \
        {.name = "csv.delimiter",                                                                  \
         .type = TR_OPT_STRING,                                                                    \
         .flags = TR_OPT_ADVANCED,                                                                 \
         .offset = TR_DECODER_AT(owner, member, csv_delimiter),                                    \
         .default_text = ",",                                                                      \
         .help = "csv: one character between fields; \\t for a tab."},                             \
        {.name = "csv.quote",                                                                      \
         .type = TR_OPT_STRING,                                                                    \
         .flags = TR_OPT_ADVANCED,                                                                 \
         .offset = TR_DECODER_AT(owner, member, csv_quote),                                        \
         .default_text = "\"",                                                                     \
         .help = "csv: the quoting character; doubled within a quoted field."},                    \
        {.name = "csv.null",                                                                       \
         .type = TR_OPT_STRING,                                                                    \
         .flags = TR_OPT_ADVANCED,                                                                 \
         .offset = TR_DECODER_AT(owner, member, csv_null),                                         \
         .default_text = "",                                                                       \
         .help = "csv: an unquoted field that is exactly this is NULL."},                          \
    {                                                                                              \
        .name = "csv.header", .type = TR_OPT_BOOL, .flags = TR_OPT_ADVANCED,                       \
        .offset = TR_DECODER_AT(owner, member, csv_header), .default_text = "true",                \
        .help = "csv: the first line of each file names the columns."                              \
    }

#endif
