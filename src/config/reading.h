/* The inside of the pipeline file's reader, shared by its two files. */
#ifndef TR_CONFIG_READING_H
#define TR_CONFIG_READING_H

#include "config/bind.h"
#include "config/pipeline_file.h"

struct reading {
    struct tr_pool *pool;
    struct tr_pipeline_file *file;
    struct tr_config_note *notes; /* last first */
    const struct tr_source_entry *sources;
    const struct tr_sink_entry *sinks;
};

/* pipeline_file.c */
enum tr_status tr_reading_no_memory(struct tr_error *err);
/* "file:line:column: message" */
enum tr_status tr_reading_fail(const struct reading *r, const struct tr_node *node, enum tr_code code,
                               const char *message, const char *hint, struct tr_error *err);
bool tr_reading_is_empty(const struct tr_node *node);

/* pipeline_rules.c: what stands between source and sinks. Nodes may be NULL. */
enum tr_status tr_read_routes(struct reading *r, const char *section, const struct tr_node *node,
                              struct tr_route_rule **rules, size_t *count, struct tr_error *err);
enum tr_status tr_read_transforms(struct reading *r, const struct tr_node *node,
                                  struct tr_error *err);
enum tr_status tr_read_event_time(struct reading *r, const struct tr_node *node,
                                  struct tr_error *err);
/* A list of table patterns of a sink or of event-time; NULL when it is empty. */
enum tr_status tr_read_tables(struct reading *r, const char *where,
                              const struct tr_string_list *list, struct tr_table_pattern **out,
                              struct tr_error *err);

#endif
