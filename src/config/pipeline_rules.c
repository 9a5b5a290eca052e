/* The parts of a pipeline file between source and sinks: routes, transforms, event time. */
#include "config/pipeline_options.h"
#include "config/reading.h"

#include <stdio.h>
#include <string.h>

#define ROUTES_MAX 10000u
#define TRANSFORMS_MAX 10000u

/* ---- routes --------------------------------------------------------------------------------- */

/* sink-table has one to three parts, none empty; captures exist and are not mixed with a symbol. */
static enum tr_status check_sink_table(const struct reading *r, const struct tr_node *place,
                                       const struct tr_route_rule *rule, struct tr_error *err)
{
    unsigned parts = 1, captures = tr_table_pattern_captures(rule->source), highest = 0;
    size_t part_len = 0,
           symbol_len = rule->replace_symbol == NULL ? 0 : strlen(rule->replace_symbol);
    bool empty = false, symbol = false;
    char message[160];
    for (const char *p = rule->sink_table; *p != '\0'; p++) {
        if (symbol_len > 0 && strncmp(p, rule->replace_symbol, symbol_len) == 0) {
            symbol = true;
            p += symbol_len - 1;
        } else if (*p == '.') {
            empty = empty || part_len == 0;
            parts++;
            part_len = 0;
            continue;
        } else if (*p == '$' && p[1] >= '1' && p[1] <= '9' && (unsigned)(p[1] - '0') > highest) {
            highest = (unsigned)(p[1] - '0');
        }
        part_len++;
    }
    if (empty || part_len == 0 || parts > 3)
        return tr_reading_fail(
            r, place, TR_E_ROUTE_TARGET,
            "sink-table: expected table, schema.table or namespace.schema.table",
            "A table's own name must not hold a dot here; parts left out are the source's.", err);
    if (symbol && highest > 0)
        return tr_reading_fail(r, place, TR_E_ROUTE_TARGET,
                         "sink-table holds a capture ($1) and the replace-symbol",
                         "Use one of the two.", err);
    if (highest > captures) {
        (void)snprintf(message, sizeof message,
                       "sink-table refers to $%u, but source-table has %u capture%s", highest,
                       captures, captures == 1 ? "" : "s");
        return tr_reading_fail(r, place, TR_E_ROUTE_TARGET, message,
                         "Put parentheses around the part of source-table that is meant: "
                         "shop.(order|item)_\\.*",
                         err);
    }
    return TR_OK;
}

/* *out is freed with the file by whoever holds it. */
static enum tr_status compile_pattern(const char *where, const struct tr_string_list *elements,
                                      struct tr_table_pattern **out, struct tr_error *err)
{
    struct tr_error inner;
    if (tr_table_pattern_compile(elements, out, &inner) == TR_OK)
        return TR_OK;
    (void)tr_fail(err, inner.code, "%s: %s", where, inner.message);
    return tr_hint(err, "%s", inner.hint);
}

enum tr_status tr_read_tables(struct reading *r, const char *where,
                              const struct tr_string_list *list, struct tr_table_pattern **out,
                              struct tr_error *err)
{
    (void)r;
    return compile_pattern(where, list, out, err);
}

static enum tr_status read_route(struct reading *r, const char *section, const struct tr_node *node,
                                 struct tr_route_rule *rules, size_t *count, struct tr_error *err)
{
    struct tr_config *config;
    struct tr_route_rule *rule = &rules[*count];
    struct tr_binding binding = {.pool = r->pool,
                                 .file = r->file->path,
                                 .section = section,
                                 .options = tr_route_options,
                                 .options_size = sizeof(struct tr_route_options)};
    if (tr_config_bind(&binding, node, &config, err) != TR_OK)
        return TR_FAIL;
    const struct tr_route_options *options = tr_config_values(config);
    struct tr_string_list elements = {&options->source_table, 1};
    *rule = (struct tr_route_rule){.source_text = options->source_table,
                                   .sink_table = options->sink_table,
                                   .replace_symbol = options->replace_symbol,
                                   .description = options->description,
                                   .where = tr_config_where(config, "source-table")};
    if (rule->replace_symbol != NULL && rule->replace_symbol[0] == '\0')
        rule->replace_symbol = NULL;
    if (compile_pattern(rule->where, &elements, &rule->source, err) != TR_OK)
        return TR_FAIL;
    ++*count; /* from here on the pattern is freed with the file */
    return check_sink_table(r, tr_config_node(config, "sink-table"), rule, err);
}

enum tr_status tr_read_routes(struct reading *r, const char *section, const struct tr_node *node,
                              struct tr_route_rule **rules, size_t *count, struct tr_error *err)
{
    if (node == NULL || tr_reading_is_empty(node))
        return TR_OK;
    bool is_list = node->kind == TR_NODE_LIST;
    if (is_list && node->child_count > ROUTES_MAX)
        return tr_reading_fail(r, node, TR_E_CONFIG_LIMIT, "there are more than 10000 routes",
                               "Use patterns with captures.", err);
    *rules = tr_pool_array(r->pool, is_list ? node->child_count : 1, sizeof **rules);
    if (*rules == NULL || section == NULL)
        return tr_reading_no_memory(err);
    if (!is_list)
        return read_route(r, section, node, *rules, count, err);
    size_t index = 0;
    for (const struct tr_node *item = node->first; item != NULL; item = item->next) {
        const char *place = tr_pool_printf(r->pool, "%s[%zu]", section, index++);
        if (place == NULL)
            return tr_reading_no_memory(err);
        if (read_route(r, place, item, *rules, count, err) != TR_OK)
            return TR_FAIL;
    }
    return TR_OK;
}

/* ---- transforms ----------------------------------------------------------------------------- */

static void place_of(const struct tr_config *config, const char *option, unsigned *line,
                     unsigned *column)
{
    const struct tr_node *node = tr_config_node(config, option);
    *line = node == NULL ? 1 : node->line;
    *column = node == NULL ? 1 : node->column;
}

static enum tr_status read_transform(struct reading *r, const char *section,
                                     const struct tr_node *node, struct tr_error *err)
{
    struct tr_config *config;
    struct tr_transform_rule *rule = &r->file->transforms[r->file->transform_count];
    struct tr_binding binding = {.pool = r->pool,
                                 .file = r->file->path,
                                 .section = section,
                                 .options = tr_transform_options,
                                 .options_size = sizeof(struct tr_transform_options),
                                 .notes = &r->notes};
    if (tr_config_bind(&binding, node, &config, err) != TR_OK)
        return TR_FAIL;
    const struct tr_transform_options *options = tr_config_values(config);
    struct tr_string_list elements = {&options->source_table, 1};
    *rule = (struct tr_transform_rule){.source_text = options->source_table,
                                       .projection = options->projection,
                                       .filter = options->filter,
                                       .primary_keys = options->primary_keys,
                                       .partition_keys = options->partition_keys,
                                       .table_options = options->table_options,
                                       .table_options_delimiter = options->table_options_delimiter,
                                       .soft_delete = options->converter == 1,
                                       .description = options->description,
                                       .where = tr_config_where(config, "source-table"),
                                       .path = r->file->path};
    place_of(config, "projection", &rule->projection_line, &rule->projection_column);
    place_of(config, "filter", &rule->filter_line, &rule->filter_column);
    place_of(config, "primary-keys", &rule->keys_line, &rule->keys_column);
    if (compile_pattern(rule->where, &elements, &rule->source, err) != TR_OK)
        return TR_FAIL;
    r->file->transform_count++; /* from here on the pattern is freed with the file */
    return TR_OK;
}

enum tr_status tr_read_transforms(struct reading *r, const struct tr_node *node,
                                  struct tr_error *err)
{
    if (node == NULL || tr_reading_is_empty(node))
        return TR_OK;
    bool is_list = node->kind == TR_NODE_LIST;
    if (is_list && node->child_count > TRANSFORMS_MAX)
        return tr_reading_fail(r, node, TR_E_CONFIG_LIMIT, "there are more than 10000 transforms",
                               "Use patterns.", err);
    r->file->transforms =
        tr_pool_array(r->pool, is_list ? node->child_count : 1, sizeof *r->file->transforms);
    if (r->file->transforms == NULL)
        return tr_reading_no_memory(err);
    if (!is_list)
        return read_transform(r, "transform", node, err);
    size_t index = 0;
    for (const struct tr_node *item = node->first; item != NULL; item = item->next) {
        const char *section = tr_pool_printf(r->pool, "transform[%zu]", index++);
        if (section == NULL)
            return tr_reading_no_memory(err);
        if (read_transform(r, section, item, err) != TR_OK)
            return TR_FAIL;
    }
    return TR_OK;
}

/* ---- event time ----------------------------------------------------------------------------- */

enum tr_status tr_read_event_time(struct reading *r, const struct tr_node *node,
                                  struct tr_error *err)
{
    struct tr_config *config;
    struct tr_pipeline_file *file = r->file;
    bool has_dead_letters =
        file->sink_count > 0 && file->sinks[file->sink_count - 1].dead_letters;
    for (size_t i = 0; i < file->sink_count && (node == NULL || tr_reading_is_empty(node)); i++) {
        const struct tr_sink_config *sink = &file->sinks[i];
        if (sink->window.kind == TR_WINDOW_NONE &&
            (!sink->last_write_wins || sink->version_column != NULL))
            continue;
        (void)tr_fail(err, TR_E_CONFIG_REQUIRED, "%s: the key `event-time` is required: sink %s %s",
                      file->path, sink->name,
                      sink->last_write_wins ? "has write.mode last-write-wins"
                                            : "has a window");
        return tr_hint(err, "Add `event-time: {column: event_time, watermark-delay: 5s}`.");
    }
    if (node == NULL || tr_reading_is_empty(node))
        return TR_OK;
    struct tr_binding binding = {.pool = r->pool,
                                 .file = file->path,
                                 .section = "event-time",
                                 .options = tr_event_time_option_table,
                                 .options_size = sizeof(struct tr_event_time_options),
                                 .notes = &r->notes};
    if (tr_config_bind(&binding, node, &config, err) != TR_OK)
        return TR_FAIL;
    file->event_time = *(const struct tr_event_time_options *)tr_config_values(config);
    file->event_time.where = tr_config_where(config, "column");
    if (!tr_config_given(config, "late"))
        file->event_time.late = has_dead_letters ? TR_LATE_DEAD_LETTER : TR_LATE_PROCESS;
    if (file->event_time.late == TR_LATE_DEAD_LETTER && !has_dead_letters) {
        (void)tr_fail(err, TR_E_CONFIG_REQUIRED,
                      "%s: late is dead-letter, and there is no `dead-letter`",
                      tr_config_where(config, "late"));
        return tr_hint(err, "Add a sink for them: dead-letter: {type: file, path: dead}.");
    }
    return TR_OK;
}
