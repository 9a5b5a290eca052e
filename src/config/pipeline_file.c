/* A pipeline file: text → tree → expanded → bound.
 *
 * Top-level keys: source, transform, event-time, route, sink, dead-letter, pipeline; and those of
 * Flink CDC that cannot be done here,
 * which are refused with the reason. The pipeline's options are bound first, because a sink's
 * default for exclude.schema.changes depends on them. All memory is one pool, wiped at free.
 * Thread: any; what is returned is read-only. */
#include "config/pipeline_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "config/bind.h"
#include "config/expand.h"
#include "config/pipeline_options.h"
#include "config/reading.h"

#define SINKS_MAX 64u
#define NAME_BYTES_MAX 48u
#define WINDOW_GROUPS_DEFAULT 1000000 /* as the option table says */

/* What a source or sink is called in the registry, seen alike for both. */
struct connector {
    const char *kind; /* "source" */
    const char *name;
    const void *ops;
    const char *why_not;
    char known[400]; /* names for the hint */
    const char *nearest;
};

static const struct {
    const char *name;
    enum tr_change_bits bit;
} change_names[] = {
    {"add.column", TR_CHG_ADD_COLUMN},         {"alter.column.type", TR_CHG_ALTER_COLUMN_TYPE},
    {"create.table", TR_CHG_CREATE_TABLE},     {"drop.column", TR_CHG_DROP_COLUMN},
    {"drop.table", TR_CHG_DROP_TABLE},         {"rename.column", TR_CHG_RENAME_COLUMN},
    {"truncate.table", TR_CHG_TRUNCATE_TABLE},
};
#define CHANGE_NAME_COUNT (sizeof change_names / sizeof change_names[0])

const char *tr_change_bit_name(enum tr_change_bits bit)
{
    for (size_t i = 0; i < CHANGE_NAME_COUNT; i++)
        if (change_names[i].bit == bit)
            return change_names[i].name;
    return "?";
}

enum tr_status tr_reading_no_memory(struct tr_error *err)
{
    return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for the pipeline file");
}

enum tr_status tr_reading_fail(const struct reading *r, const struct tr_node *node,
                                enum tr_code code, const char *message, const char *hint,
                                struct tr_error *err)
{
    (void)tr_fail(err, code, "%s:%u:%u: %s", r->file->path, node->line, node->column, message);
    return tr_hint(err, "%s", hint);
}

/* ---- top level ------------------------------------------------------------------------------ */

static const struct tr_option top_keys[] = {
    {.name = "source"},     {.name = "sink"},        {.name = "route"}, {.name = "transform"},
    {.name = "event-time"}, {.name = "dead-letter"}, {.name = "pipeline"}, {.name = NULL},
};

static const struct {
    const char *key, *message, *hint;
} unsupported[] = {
    {"user-defined-function", "`user-defined-function` runs only in Flink: it names a Java class",
     "Remove it, or run this file with Flink CDC (flink-cdc.sh FILE)."},
    {"model", "`model` runs only in Flink",
     "Remove it, or run this file with Flink CDC (flink-cdc.sh FILE)."},
};
#define UNSUPPORTED_COUNT (sizeof unsupported / sizeof unsupported[0])

bool tr_reading_is_empty(const struct tr_node *node)
{
    return node->kind == TR_NODE_SCALAR ? node->null : node->child_count == 0;
}

/* Refuses what cannot be done here; Flink CDC takes it at the top and in `pipeline`. An empty value
 * asks for nothing. */
static enum tr_status refuse_unsupported(const struct reading *r, const struct tr_node *mapping,
                                         struct tr_error *err)
{
    for (const struct tr_node *node = mapping->first; node != NULL; node = node->next)
        for (size_t i = 0; i < UNSUPPORTED_COUNT; i++)
            if (strcmp(node->key, unsupported[i].key) == 0 && !tr_reading_is_empty(node)) {
                struct tr_node place = {.line = node->key_line, .column = node->key_column};
                return tr_reading_fail(r, &place, TR_E_CONFIG_UNSUPPORTED, unsupported[i].message,
                                 unsupported[i].hint, err);
            }
    return TR_OK;
}

static bool is_unsupported_key(const char *key)
{
    for (size_t i = 0; i < UNSUPPORTED_COUNT; i++)
        if (strcmp(key, unsupported[i].key) == 0)
            return true;
    return false;
}

static enum tr_status check_top(const struct reading *r, const struct tr_node *root,
                                struct tr_error *err)
{
    if (root->kind != TR_NODE_MAPPING)
        return tr_reading_fail(r, root, TR_E_CONFIG_SYNTAX,
                         "a mapping with the keys source, sink, route and pipeline is expected",
                         "Begin with `source:`; docs/pipeline-file.md has an example.", err);
    for (const struct tr_node *node = root->first; node != NULL; node = node->next) {
        bool known = is_unsupported_key(node->key);
        for (const struct tr_option *o = top_keys; o->name != NULL; o++)
            known = known || strcmp(o->name, node->key) == 0;
        if (known)
            continue;
        const char *nearest = tr_option_nearest(node->key, top_keys, NULL);
        (void)tr_fail(err, TR_E_CONFIG_UNKNOWN_KEY, "%s:%u:%u: unknown key \"%.120s\"",
                      r->file->path, node->key_line, node->key_column, node->key);
        if (nearest != NULL)
            return tr_hint(err, "Did you mean \"%s\"?", nearest);
        return tr_hint(err, "Known here: source, transform, event-time, route, sink, dead-letter, pipeline.");
    }
    return refuse_unsupported(r, root, err);
}

/* ---- pipeline ------------------------------------------------------------------------------- */

static bool name_char(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '.' || c == '-';
}

static enum tr_status add_note(struct reading *r, const char *where, const char *key,
                               const char *message, struct tr_error *err)
{
    struct tr_config_note *note = tr_pool_alloc(r->pool, sizeof *note);
    if (note == NULL || message == NULL)
        return tr_reading_no_memory(err);
    *note = (struct tr_config_note){where, key, message, r->notes};
    r->notes = note;
    return TR_OK;
}

/* The name of folders and slots from what was written: runs of other characters become one '-'. */
static enum tr_status make_name(struct reading *r, const char *text, const char *where,
                                struct tr_error *err)
{
    char name[NAME_BYTES_MAX + 1];
    size_t len = 0;
    bool fits = true;
    for (const char *p = text; *p != '\0' && fits; p++) {
        char c = name_char(*p) ? *p : '-';
        if (!name_char(*p) && (len == 0 || name[len - 1] == '-'))
            continue;
        fits = len < NAME_BYTES_MAX;
        if (fits)
            name[len++] = c;
    }
    while (len > 0 && name[len - 1] == '-' && !name_char(text[strlen(text) - 1]))
        len--;
    name[len] = '\0';
    if (!fits || len == 0 || name[0] == '.' || name[0] == '-') {
        (void)tr_fail(err, TR_E_CONFIG_VALUE,
                      "%s: pipeline.name: expected 1 to %u characters of A-Z a-z 0-9 _ . and -, "
                      "beginning with none of . and -",
                      where, NAME_BYTES_MAX);
        return tr_hint(err,
                       "It names the state folder and the replication slot. Set pipeline.name to "
                       "a short name such as shop.");
    }
    r->file->title = text;
    r->file->options.name = tr_pool_strdup(r->pool, name);
    if (r->file->options.name == NULL)
        return tr_reading_no_memory(err);
    if (strcmp(name, text) == 0)
        return TR_OK;
    return add_note(r, where, "pipeline.name",
                    tr_pool_printf(r->pool,
                                   "The pipeline's folder, slot and positions are named "
                                   "\"%s\", because a name there has none but A-Z a-z 0-9 _ . -",
                                   name),
                    err);
}

static enum tr_status name_pipeline(struct reading *r, const struct tr_config *config,
                                    struct tr_error *err)
{
    const char *path = r->file->path;
    if (tr_config_given(config, "name"))
        return make_name(r, r->file->options.name, tr_config_where(config, "name"), err);
    const char *slash = strrchr(path, '/');
    const char *base = slash == NULL ? path : slash + 1;
    const char *dot = strrchr(base, '.');
    size_t len = dot == NULL || dot == base ? strlen(base) : (size_t)(dot - base);
    if (strcmp(path, "<stdin>") == 0) {
        (void)tr_fail(err, TR_E_CONFIG_REQUIRED,
                      "%s:1:1: pipeline.name is required when the file comes from standard input",
                      path);
        return tr_hint(err, "Add `pipeline: {name: shop}`; it names the state folder.");
    }
    char *text = tr_pool_strndup(r->pool, base, len);
    char *where = tr_pool_printf(r->pool, "%s:1:1", path);
    if (text == NULL || where == NULL)
        return tr_reading_no_memory(err);
    return make_name(r, text, where, err);
}

static enum tr_status read_pipeline(struct reading *r, const struct tr_node *node,
                                    struct tr_error *err)
{
    struct tr_config *config;
    struct tr_node copy;
    const struct tr_node *mapping = node;
    if (node != NULL && node->kind == TR_NODE_MAPPING) {
        if (refuse_unsupported(r, node, err) != TR_OK)
            return TR_FAIL;
        /* without the empty ones among what was refused above */
        copy = *node;
        copy.first = NULL;
        struct tr_node **end = &copy.first;
        for (const struct tr_node *child = node->first; child != NULL; child = child->next) {
            struct tr_node *kept;
            if (is_unsupported_key(child->key))
                continue;
            kept = tr_pool_alloc(r->pool, sizeof *kept);
            if (kept == NULL)
                return tr_reading_no_memory(err);
            *kept = *child;
            kept->next = NULL;
            *end = kept;
            end = &kept->next;
        }
        mapping = &copy;
    }
    struct tr_binding binding = {.pool = r->pool,
                                 .file = r->file->path,
                                 .section = "pipeline",
                                 .options = tr_pipeline_option_table,
                                 .options_size = sizeof(struct tr_pipeline_options),
                                 .notes = &r->notes};
    if (tr_config_bind(&binding, mapping, &config, err) != TR_OK)
        return TR_FAIL;
    r->file->options = *(const struct tr_pipeline_options *)tr_config_values(config);
    return name_pipeline(r, config, err);
}

/* ---- connectors ----------------------------------------------------------------------------- */

static void list_known(struct connector *c, const char *name, const char *type, unsigned *best)
{
    size_t len = strlen(c->known);
    (void)snprintf(c->known + len, sizeof c->known - len, "%s%s", len > 0 ? ", " : "", name);
    unsigned distance = tr_value_distance(type, name);
    if (distance < *best && distance <= (strlen(type) < 6 ? 2 : 3)) {
        *best = distance;
        c->nearest = name;
    }
}

static bool is_type(const char *type, const char *name, const char *alias)
{
    return strcmp(type, name) == 0 || (alias != NULL && strcmp(type, alias) == 0);
}

static bool find_source(const struct reading *r, const char *type, struct connector *c)
{
    unsigned best = 100;
    for (const struct tr_source_entry *e = r->sources; e->name != NULL; e++) {
        list_known(c, e->name, type, &best);
        if (is_type(type, e->name, e->alias)) {
            c->name = e->name;
            c->ops = e->ops;
            c->why_not = e->why_not;
            return true;
        }
    }
    return false;
}

static bool find_sink(const struct reading *r, const char *type, struct connector *c)
{
    unsigned best = 100;
    for (const struct tr_sink_entry *e = r->sinks; e->name != NULL; e++) {
        list_known(c, e->name, type, &best);
        if (is_type(type, e->name, e->alias)) {
            c->name = e->name;
            c->ops = e->ops;
            c->why_not = e->why_not;
            return true;
        }
    }
    return false;
}

/* Finds the connector that `type` names; `type: null` is the null sink's name, not nothing. */
static enum tr_status find_connector(const struct reading *r, const struct tr_node *mapping,
                                     struct connector *c, struct tr_error *err)
{
    char message[160];
    if (mapping->kind != TR_NODE_MAPPING) {
        (void)snprintf(message, sizeof message, "%s: expected a mapping of options, found %s",
                       c->kind, tr_tree_kind_name(mapping));
        return tr_reading_fail(r, mapping, TR_E_CONFIG_VALUE, message,
                         "Write `type: …` and the connector's options below it.", err);
    }
    const struct tr_node *type = tr_tree_find(mapping, "type");
    if (type == NULL || (type->kind == TR_NODE_SCALAR && type->text[0] == '\0')) {
        (void)snprintf(message, sizeof message, "%s.type is required", c->kind);
        return tr_reading_fail(r, type != NULL ? type : mapping, TR_E_CONFIG_REQUIRED, message,
                         "Name the connector; `tailrace list` prints them.", err);
    }
    if (type->kind != TR_NODE_SCALAR) {
        (void)snprintf(message, sizeof message, "%s.type: expected a connector's name, found %s",
                       c->kind, tr_tree_kind_name(type));
        return tr_reading_fail(r, type, TR_E_CONFIG_VALUE, message, "`tailrace list` prints them.", err);
    }
    bool is_source = strcmp(c->kind, "source") == 0;
    if (!(is_source ? find_source(r, type->text, c) : find_sink(r, type->text, c))) {
        (void)tr_fail(err, TR_E_CONFIG_UNKNOWN_CONNECTOR,
                      "%s:%u:%u: there is no %s of type \"%.60s\"", r->file->path, type->line,
                      type->column, is_source ? "source" : "sink",
                      type->expanded ? "(not shown)" : type->text);
        if (c->nearest != NULL)
            return tr_hint(err, "Did you mean \"%s\"? Known: %s.", c->nearest, c->known);
        return tr_hint(err, "Known: %s.", c->known);
    }
    if (c->ops == NULL) {
        (void)tr_fail(err, TR_E_CONFIG_CONNECTOR_NOT_BUILT,
                      "%s:%u:%u: the %s \"%s\" is not in this program: %s", r->file->path,
                      type->line, type->column, is_source ? "source" : "sink", c->name,
                      c->why_not != NULL ? c->why_not : "it was left out of the build");
        return tr_hint(err,
                       "Install the library and build again; `tailrace version` shows what is in.");
    }
    return TR_OK;
}

static enum tr_status bind_connector(struct reading *r, const char *section,
                                     const struct connector *c, const struct tr_node *mapping,
                                     const struct tr_option *options, size_t options_size,
                                     const struct tr_option *common_options,
                                     struct tr_common_options *common, struct tr_config **config,
                                     struct tr_error *err)
{
    struct tr_binding binding = {.pool = r->pool,
                                 .file = r->file->path,
                                 .section = section,
                                 .help = tr_pool_printf(r->pool, "tailrace help %s", c->name),
                                 .options = options,
                                 .options_size = options_size,
                                 .common = common_options,
                                 .notes = &r->notes};
    if (tr_config_bind(&binding, mapping, config, err) != TR_OK)
        return TR_FAIL;
    for (const struct tr_option *o = common_options; o->name != NULL; o++) {
        const struct tr_node *node = tr_config_node(*config, o->name);
        if (node == NULL || strcmp(o->name, "type") == 0 || strcmp(o->name, "route") == 0)
            continue; /* read elsewhere */
        if (tr_config_read(&binding, o, node, common, err) != TR_OK)
            return TR_FAIL;
    }
    return TR_OK;
}

static enum tr_status read_source(struct reading *r, const struct tr_node *root,
                                  struct tr_error *err)
{
    const struct tr_node *node = tr_tree_find(root, "source");
    struct connector c = {.kind = "source"};
    struct tr_common_options common = {0};
    if (node == NULL || tr_reading_is_empty(node))
        return tr_reading_fail(
            r, node != NULL ? node : root, TR_E_CONFIG_REQUIRED, "the key `source` is required",
            "Add `source: {type: postgres, …}`; `tailrace list` prints the types.", err);
    if (find_connector(r, node, &c, err) != TR_OK)
        return TR_FAIL;
    const struct tr_source_ops *ops = c.ops;
    if (bind_connector(r, "source", &c, node, ops->options, ops->options_size,
                       tr_source_common_options, &common, &r->file->source_config, err) != TR_OK)
        return TR_FAIL;
    r->file->source_ops = ops;
    r->file->source_name = common.name != NULL ? common.name : c.name;
    return TR_OK;
}

/* ---- sinks ---------------------------------------------------------------------------------- */

/* "drop" stands for drop.column and drop.table, "column" for all that have it: `tag` has to be a
 * run of whole dot-separated words of the name. */
static bool change_matches(const char *tag, const char *name)
{
    size_t len = strlen(tag);
    for (const char *at = name; (at = strstr(at, tag)) != NULL; at++)
        if ((at == name || at[-1] == '.') && (at[len] == '\0' || at[len] == '.'))
            return len > 0;
    return strcmp(tag, "all") == 0;
}

static enum tr_status change_bits(const struct reading *r, const struct tr_config *config,
                                  const char *option, const struct tr_string_list *tags,
                                  unsigned *bits, struct tr_error *err)
{
    *bits = 0;
    for (size_t i = 0; i < tags->count; i++) {
        unsigned found = 0;
        for (size_t n = 0; n < CHANGE_NAME_COUNT; n++)
            if (change_matches(tags->items[i], change_names[n].name))
                found |= change_names[n].bit;
        if (found == 0) {
            (void)tr_fail(err, TR_E_CONFIG_VALUE, "%s: %s: there is no schema change \"%.60s\"",
                          tr_config_where(config, option), option, tags->items[i]);
            return tr_hint(err,
                           "Known: add.column, alter.column.type, create.table, drop.column, "
                           "drop.table, rename.column, truncate.table, and parts of these names.");
        }
        *bits |= found;
    }
    (void)r;
    return TR_OK;
}

/* As Flink CDC has it: what is included (all by default) without what is excluded; when nothing
 * says what to exclude, lenient excludes drop.table and truncate.table. */
static enum tr_status resolve_changes(const struct reading *r,
                                      const struct tr_common_options *common,
                                      struct tr_sink_config *sink, struct tr_error *err)
{
    unsigned include = TR_CHG_ALL, exclude = 0;
    if (common->include.count > 0 && change_bits(r, sink->config, "include.schema.changes",
                                                 &common->include, &include, err) != TR_OK)
        return TR_FAIL;
    if (tr_config_given(sink->config, "exclude.schema.changes")) {
        if (change_bits(r, sink->config, "exclude.schema.changes", &common->exclude, &exclude,
                        err) != TR_OK)
            return TR_FAIL;
    } else if (r->file->options.schema_behavior == TR_SCHEMA_LENIENT) {
        exclude = TR_CHG_DROP_TABLE | TR_CHG_TRUNCATE_TABLE;
    }
    sink->include_changes = include & ~exclude;
    return TR_OK;
}

static bool sink_name_taken(const struct tr_pipeline_file *file, const char *name)
{
    for (size_t i = 0; i < file->sink_count; i++)
        if (strcmp(file->sinks[i].name, name) == 0)
            return true;
    return false;
}

static enum tr_status name_sink(const struct reading *r, const struct connector *c,
                                const char *given, const struct tr_node *node,
                                struct tr_sink_config *sink, struct tr_error *err)
{
    sink->name = given != NULL ? given : c->name;
    for (unsigned n = 2; given == NULL && sink_name_taken(r->file, sink->name); n++) {
        sink->name = tr_pool_printf(r->pool, "%s-%u", c->name, n);
        if (sink->name == NULL)
            return tr_reading_no_memory(err);
    }
    if (!sink_name_taken(r->file, sink->name))
        return TR_OK;
    return tr_reading_fail(r, node, TR_E_CONFIG_VALUE, "two sinks have the same name",
                     "Give each sink of the list another `name`.", err);
}

static enum tr_status required_with(const struct tr_sink_config *sink, const char *section,
                                    const char *option, const char *because, struct tr_error *err)
{
    (void)tr_fail(err, TR_E_CONFIG_REQUIRED, "%s: %s.%s is required %s",
                  tr_config_where(sink->config, "window.type"), section, option, because);
    return tr_hint(err, "docs/streams.md has examples of every kind of window.");
}

static enum tr_status check_window(const struct tr_sink_config *sink, const char *section,
                                   struct tr_error *err)
{
    const struct tr_window_options *window = &sink->window;
    if (window->kind == TR_WINDOW_NONE)
        return TR_OK;
    if (sink->last_write_wins || sink->history_table != NULL) {
        (void)tr_fail(err, TR_E_CONFIG_VALUE,
                      "%s: a window takes neither write.mode last-write-wins nor history-table",
                      tr_config_where(sink->config, "window.type"));
        return tr_hint(err, "Its results are written once each; remove the other key.");
    }
    if (window->kind == TR_WINDOW_SESSION && window->gap_ms == 0)
        return required_with(sink, section, "window.gap", "for a session window", err);
    if (window->kind != TR_WINDOW_SESSION && window->size_ms == 0)
        return required_with(sink, section, "window.size", "for this window", err);
    if (window->kind == TR_WINDOW_HOPPING && window->slide_ms == 0)
        return required_with(sink, section, "window.slide", "for a hopping window", err);
    if (window->aggregates.count == 0)
        return required_with(sink, section, "window.aggregates", "for a window", err);
    if (window->kind == TR_WINDOW_HOPPING && window->size_ms % window->slide_ms != 0) {
        (void)tr_fail(err, TR_E_CONFIG_VALUE, "%s: window.size must be a multiple of window.slide",
                      tr_config_where(sink->config, "window.slide"));
        return tr_hint(err, "For example size 10min and slide 1min.");
    }
    return TR_OK;
}

static enum tr_status shape_sink(struct reading *r, const char *section,
                                 const struct tr_common_options *common,
                                 struct tr_sink_config *sink, struct tr_error *err)
{
    sink->history_table = common->history_table;
    sink->last_write_wins = common->write_mode == 1;
    sink->version_column = common->version_column;
    sink->window = common->window;
    if (sink->window.groups_max == 0)
        sink->window.groups_max = WINDOW_GROUPS_DEFAULT;
    if (common->tables.count > 0 &&
        tr_read_tables(r, tr_config_where(sink->config, "tables"), &common->tables, &sink->tables,
                       err) != TR_OK)
        return TR_FAIL;
    const struct tr_node *route = tr_config_node(sink->config, "route");
    if (route != NULL && tr_read_routes(r, tr_pool_printf(r->pool, "%s.route", section), route,
                                        &sink->routes, &sink->route_count, err) != TR_OK)
        return TR_FAIL;
    sink->own_routes = route != NULL;
    return check_window(sink, section, err);
}

static enum tr_status read_sink(struct reading *r, const char *section, const struct tr_node *node,
                                struct tr_error *err)
{
    struct connector c = {.kind = section};
    struct tr_common_options common = {0};
    struct tr_sink_config *sink = &r->file->sinks[r->file->sink_count];
    if (find_connector(r, node, &c, err) != TR_OK)
        return TR_FAIL;
    sink->ops = c.ops;
    if (bind_connector(r, section, &c, node, sink->ops->options, sink->ops->options_size,
                       tr_sink_common_options, &common, &sink->config, err) != TR_OK ||
        name_sink(r, &c, common.name, node, sink, err) != TR_OK ||
        resolve_changes(r, &common, sink, err) != TR_OK)
        return TR_FAIL;
    r->file->sink_count++; /* from here on its patterns are freed with the file */
    return shape_sink(r, section, &common, sink, err);
}

/* After the sinks of the list, so that it has the last index. */
static enum tr_status read_dead_letter(struct reading *r, const struct tr_node *node,
                                       struct tr_error *err)
{
    if (node == NULL || tr_reading_is_empty(node))
        return TR_OK;
    size_t index = r->file->sink_count;
    if (read_sink(r, "dead-letter", node, err) != TR_OK)
        return TR_FAIL;
    struct tr_sink_config *sink = &r->file->sinks[index];
    sink->dead_letters = true;
    if (sink->window.kind != TR_WINDOW_NONE || sink->last_write_wins || sink->history_table != NULL)
        return tr_reading_fail(r, node, TR_E_CONFIG_VALUE,
                               "dead-letter takes no window, write.mode or history-table",
                               "Remove them: dead letters are written as they come.", err);
    return TR_OK;
}

static enum tr_status read_sinks(struct reading *r, const struct tr_node *root,
                                 struct tr_error *err)
{
    const struct tr_node *node = tr_tree_find(root, "sink");
    if (node == NULL || tr_reading_is_empty(node))
        return tr_reading_fail(
            r, node != NULL ? node : root, TR_E_CONFIG_REQUIRED, "the key `sink` is required",
            "Add `sink: {type: sqlite, path: shop.db}`; `tailrace list` prints the types.", err);
    bool is_list = node->kind == TR_NODE_LIST;
    if (is_list && node->child_count > SINKS_MAX)
        return tr_reading_fail(r, node, TR_E_CONFIG_LIMIT, "there are more than 64 sinks",
                         "Split the pipeline.", err);
    r->file->sinks = tr_pool_array(r->pool, (is_list ? node->child_count : 1) + 1 /* dead-letter */,
                                   sizeof *r->file->sinks);
    if (r->file->sinks == NULL)
        return tr_reading_no_memory(err);
    if (!is_list)
        return read_sink(r, "sink", node, err);
    size_t index = 0;
    for (const struct tr_node *item = node->first; item != NULL; item = item->next) {
        const char *section = tr_pool_printf(r->pool, "sink[%zu]", index++);
        if (section == NULL)
            return tr_reading_no_memory(err);
        if (read_sink(r, section, item, err) != TR_OK)
            return TR_FAIL;
    }
    return TR_OK;
}

/* Several sinks may write into one database: each has positions of its own there. A dead-letter sink that
 * is added later does not rename those of the one that was there. */
static enum tr_status name_positions(struct tr_pipeline_file *file, struct tr_pool *pool)
{
    size_t rows = file->sink_count - file->sinks[file->sink_count - 1].dead_letters;
    for (size_t i = 0; i < file->sink_count; i++) {
        struct tr_sink_config *sink = &file->sinks[i];
        bool alone = rows == 1 && !sink->dead_letters;
        sink->position_name = alone ? file->options.name
                                    : tr_pool_printf(pool, "%s:%s", file->options.name, sink->name);
        if (sink->position_name == NULL)
            return TR_FAIL;
    }
    return TR_OK;
}

/* ---- the file ------------------------------------------------------------------------------- */

static enum tr_status read_all(struct reading *r, const char *text, size_t len,
                               struct tr_error *err)
{
    struct tr_node *root;
    if (tr_tree_parse(r->pool, text, len, r->file->path, &root, err) != TR_OK ||
        check_top(r, root, err) != TR_OK ||
        tr_expand_tree(r->pool, root, r->file->path, err) != TR_OK ||
        read_pipeline(r, tr_tree_find(root, "pipeline"), err) != TR_OK ||
        read_source(r, root, err) != TR_OK || read_sinks(r, root, err) != TR_OK ||
        read_dead_letter(r, tr_tree_find(root, "dead-letter"), err) != TR_OK ||
        tr_read_routes(r, "route", tr_tree_find(root, "route"), &r->file->routes,
                       &r->file->route_count, err) != TR_OK ||
        tr_read_transforms(r, tr_tree_find(root, "transform"), err) != TR_OK ||
        tr_read_event_time(r, tr_tree_find(root, "event-time"), err) != TR_OK)
        return TR_FAIL;
    if (name_positions(r->file, r->pool) != TR_OK)
        return tr_reading_no_memory(err);
    struct tr_config_note *in_order = NULL;
    while (r->notes != NULL) {
        struct tr_config_note *note = r->notes;
        r->notes = note->next;
        note->next = in_order;
        in_order = note;
    }
    r->file->notes = in_order;
    return TR_OK;
}

enum tr_status tr_pipeline_file_parse(const char *text, size_t len, const char *name,
                                      const struct tr_source_entry *sources,
                                      const struct tr_sink_entry *sinks,
                                      struct tr_pipeline_file **out, struct tr_error *err)
{
    struct tr_pipeline_file *file = calloc(1, sizeof *file);
    struct tr_pool *pool = calloc(1, sizeof *pool);
    if (file == NULL || pool == NULL) {
        free(file);
        free(pool);
        return tr_reading_no_memory(err);
    }
    tr_pool_init(pool);
    file->owner = pool;
    file->path = tr_pool_strdup(pool, name);
    struct reading r = {.pool = pool, .file = file, .sources = sources, .sinks = sinks};
    enum tr_status status = file->path == NULL ? tr_reading_no_memory(err) : read_all(&r, text, len, err);
    if (status == TR_OK)
        *out = file;
    else
        tr_pipeline_file_free(file);
    return status;
}

static enum tr_status read_descriptor(int fd, const char *name, char *buf, size_t *len,
                                      struct tr_error *err)
{
    size_t used = 0;
    while (used <= TR_TREE_BYTES_MAX) {
        ssize_t got = read(fd, buf + used, TR_TREE_BYTES_MAX + 1 - used);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            (void)tr_fail(err, TR_E_CONFIG_FILE, "could not read %s: %s", name, strerror(errno));
            return tr_hint(err, "Name a pipeline file, or - for standard input.");
        }
        if (got == 0)
            break;
        used += (size_t)got;
    }
    *len = used;
    return TR_OK;
}

enum tr_status tr_pipeline_file_load(const char *path, const struct tr_source_entry *sources,
                                     const struct tr_sink_entry *sinks,
                                     struct tr_pipeline_file **out, struct tr_error *err)
{
    bool is_stdin = strcmp(path, "-") == 0;
    const char *name = is_stdin ? "<stdin>" : path;
    size_t len = 0;
    int fd = is_stdin ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        (void)tr_fail(err, TR_E_CONFIG_FILE, "could not open %s: %s", path, strerror(errno));
        return tr_hint(err, "Name a pipeline file, or - for standard input.");
    }
    char *buf = malloc(TR_TREE_BYTES_MAX + 1);
    enum tr_status status =
        buf == NULL ? tr_reading_no_memory(err) : read_descriptor(fd, name, buf, &len, err);
    if (!is_stdin)
        (void)close(fd);
    if (status == TR_OK)
        status = tr_pipeline_file_parse(buf, len, name, sources, sinks, out, err);
    if (buf != NULL)
        explicit_bzero(buf, TR_TREE_BYTES_MAX + 1);
    free(buf);
    return status;
}

void tr_pipeline_file_log_notes(const struct tr_pipeline_file *file)
{
    for (const struct tr_config_note *note = file->notes; note != NULL; note = note->next) {
        char message[400];
        tr_log(TR_LOG_INFO, "pipeline file", "where=%s key=%s note=%s", note->where, note->key,
               tr_log_quote(note->message, message, sizeof message));
    }
}

void tr_pipeline_file_free(struct tr_pipeline_file *file)
{
    if (file == NULL)
        return;
    struct tr_pool *pool = file->owner;
    for (size_t i = 0; i < file->route_count; i++)
        tr_table_pattern_free(file->routes[i].source);
    for (size_t i = 0; i < file->transform_count; i++)
        tr_table_pattern_free(file->transforms[i].source);
    for (size_t i = 0; i < file->sink_count; i++) {
        tr_table_pattern_free(file->sinks[i].tables);
        for (size_t k = 0; k < file->sinks[i].route_count; k++)
            tr_table_pattern_free(file->sinks[i].routes[k].source);
    }
    tr_pool_free(pool);
    free(pool);
    free(file);
}
