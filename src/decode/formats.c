/* The formats by name, and the defaults of their options in one place for callers without a file.
 */
#include "decode/formats.h"

const char *const tr_decoder_format_values[] = {
    "json", "cdc-json", "debezium-json", "canal-json", "maxwell-json", "avro", "csv", NULL};
const char *const tr_unknown_fields_values[] = {"auto", "evolve", "ignore", "fail", NULL};

void tr_decoder_options_default(struct tr_decoder_options *options)
{
    *options = (struct tr_decoder_options){
        .format = TR_DECODE_JSON,
        .unknown_fields = TR_UNKNOWN_AUTO,
        .op_field = "op",
        .before_field = "before",
        .after_field = "after",
        .timestamp_field = "timestamp",
        .csv_delimiter = ",",
        .csv_quote = "\"",
        .csv_null = "",
        .csv_header = true,
    };
}

/* Each format's file defines its own; a format that is not built has none here. */
extern const struct tr_decoder_ops tr_decoder_json, tr_decoder_cdc_json, tr_decoder_debezium_json,
    tr_decoder_canal_json, tr_decoder_maxwell_json, tr_decoder_csv, tr_decoder_avro;

static const struct tr_decoder_ops *const decoders[] = {
    [TR_DECODE_JSON] = &tr_decoder_json,
    [TR_DECODE_CDC_JSON] = &tr_decoder_cdc_json,
    [TR_DECODE_DEBEZIUM_JSON] = &tr_decoder_debezium_json,
    [TR_DECODE_CANAL_JSON] = &tr_decoder_canal_json,
    [TR_DECODE_MAXWELL_JSON] = &tr_decoder_maxwell_json,
    [TR_DECODE_AVRO] = &tr_decoder_avro,
    [TR_DECODE_CSV] = &tr_decoder_csv,
};

const struct tr_decoder_ops *tr_decoder_find(int format)
{
    bool known = format >= 0 && (size_t)format < sizeof decoders / sizeof decoders[0];
    return known ? decoders[format] : NULL;
}
