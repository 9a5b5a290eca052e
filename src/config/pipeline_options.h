/* Option tables of the pipeline file itself; tr_pipeline_option_table is declared in pipeline_file.h.
 * The docs are made from them. */
#ifndef TR_CONFIG_PIPELINE_OPTIONS_H
#define TR_CONFIG_PIPELINE_OPTIONS_H

#include "config/pipeline_file.h"

struct tr_common_options { /* of a source or sink, besides its own */
    const char *name;
    struct tr_string_list include, exclude;
    struct tr_string_list tables;
    const char *history_table;
    int write_mode; /* 0 arrival, 1 last-write-wins */
    const char *version_column;
    struct tr_window_options window;
};
extern const struct tr_option tr_source_common_options[];
extern const struct tr_option tr_sink_common_options[];

struct tr_route_options {
    const char *source_table;
    const char *sink_table;
    const char *replace_symbol;
    const char *description;
};
extern const struct tr_option tr_route_options[];

struct tr_transform_options {
    const char *source_table, *projection, *filter, *primary_keys, *partition_keys;
    const char *table_options, *table_options_delimiter, *description;
    int converter; /* 0 none, 1 SOFT_DELETE */
};
extern const struct tr_option tr_transform_options[];

#endif
