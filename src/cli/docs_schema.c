/* The JSON Schema (draft 2020-12) of a pipeline file, for editors. It follows the option tables:
 * unknown keys are refused, except that a mapping is let through anywhere, since `scan: {startup:
 * …}` is another spelling of scan.startup.…; and every value may be a text with ${…}. */
#include <inttypes.h>
#include <jansson.h>
#include <string.h>

#include "cli/docs_gen.h"
#include "config/pipeline_file.h"
#include "config/pipeline_options.h"
#include "config/value.h"

static bool is_wildcard(const char *name)
{
    size_t len = strlen(name);
    return len > 0 && name[len - 1] == '*';
}

static json_t *type_schema(const struct tr_option *option)
{
    json_t *schema, *choices;
    switch (option->type) {
    case TR_OPT_BOOL:
        return json_pack("{s:[s,s]}", "type", "boolean", "string");
    case TR_OPT_INT:
        schema = json_pack("{s:[s,s]}", "type", "integer", "string");
        if (option->min != 0 || option->max != 0) {
            json_object_set_new(schema, "minimum", json_integer(option->min));
            json_object_set_new(schema, "maximum", json_integer(option->max));
        }
        return schema;
    case TR_OPT_SIZE:
    case TR_OPT_DURATION:
        return json_pack("{s:[s,s]}", "type", "integer", "string");
    case TR_OPT_ENUM:
        choices = json_array();
        for (size_t i = 0; option->values[i] != NULL; i++)
            json_array_append_new(choices, json_string(option->values[i]));
        return json_pack("{s:[{s:o},{s:s}]}", "anyOf", "enum", choices, "type", "string");
    case TR_OPT_LIST:
        return json_pack("{s:[{s:s},{s:s,s:{s:[s,s,s]}}]}", "anyOf", "type", "string", "type",
                         "array", "items", "type", "string", "number", "boolean");
    default:
        return json_pack("{s:[s,s,s]}", "type", "string", "number", "boolean");
    }
}

static json_t *option_schema(const struct tr_option *option)
{
    json_t *schema = type_schema(option);
    json_object_set_new(schema, "description",
                        json_string(option->help != NULL ? option->help : ""));
    if (option->default_text != NULL)
        json_object_set_new(schema, "default", json_string(option->default_text));
    if ((option->flags & TR_OPT_IGNORED) != 0)
        json_object_set_new(schema, "deprecated", json_true());
    return schema;
}

/* "properties.*" → "^properties\\." */
static void add_wildcard(json_t *patterns, const char *name, json_t *schema)
{
    char pattern[256] = "^";
    size_t len = 1;
    for (const char *p = name; *p != '*' && *p != '\0' && len + 3 < sizeof pattern; p++) {
        if (*p == '.')
            pattern[len++] = '\\';
        pattern[len++] = *p;
    }
    pattern[len] = '\0';
    json_object_set_new(patterns, pattern, schema);
}

static void add_options(json_t *properties, json_t *patterns, const struct tr_option *options)
{
    for (const struct tr_option *o = options; o != NULL && o->name != NULL; o++) {
        const char *names[] = {o->name, o->alias};
        for (unsigned i = 0; i < 2; i++) {
            if (names[i] == NULL)
                continue;
            if (is_wildcard(names[i]))
                add_wildcard(patterns, names[i], option_schema(o));
            else
                json_object_set_new(properties, names[i], option_schema(o));
        }
    }
}

static json_t *object_schema(const struct tr_option *options, const struct tr_option *common)
{
    json_t *properties = json_object(), *patterns = json_object();
    add_options(properties, patterns, common);
    add_options(properties, patterns, options);
    return json_pack("{s:s,s:o,s:o,s:{s:s}}", "type", "object", "properties", properties,
                     "patternProperties", patterns, "additionalProperties", "type", "object");
}

static json_t *connector_schema(const char *name, const char *alias, const char *summary,
                                const struct tr_option *options, const struct tr_option *common)
{
    json_t *schema = object_schema(options, common);
    json_t *types = json_pack("[s]", name);
    if (alias != NULL)
        json_array_append_new(types, json_string(alias));
    if (strcmp(name, "null") == 0)
        json_array_append_new(types, json_null()); /* YAML reads a bare null so */
    json_object_set_new(json_object_get(schema, "properties"), "type",
                        json_pack("{s:o,s:s}", "enum", types, "description", summary));
    json_object_set_new(schema, "required", json_pack("[s]", "type"));
    return schema;
}

static json_t *one_or_list(json_t *schema)
{
    json_t *items = json_deep_copy(schema);
    return json_pack("{s:[o,{s:s,s:o}]}", "anyOf", schema, "type", "array", "items", items);
}

void tr_docs_schema(FILE *out, const struct tr_source_entry *sources,
                    const struct tr_sink_entry *sinks)
{
    json_t *source_list = json_array(), *sink_list = json_array();
    for (const struct tr_source_entry *e = sources; e->name != NULL; e++)
        if (e->ops != NULL)
            json_array_append_new(source_list,
                                  connector_schema(e->name, e->alias, e->ops->summary,
                                                   e->ops->options, tr_source_common_options));
    for (const struct tr_sink_entry *e = sinks; e->name != NULL; e++) {
        if (e->ops == NULL)
            continue;
        json_t *sink = connector_schema(e->name, e->alias, e->ops->summary, e->ops->options,
                                        tr_sink_common_options);
        json_object_set_new(json_object_get(sink, "properties"), "route",
                            one_or_list(json_pack("{s:s}", "$ref", "#/$defs/route")));
        json_array_append_new(sink_list, sink);
    }
    json_t *route = object_schema(tr_route_options, NULL);
    json_object_set_new(route, "required", json_pack("[s,s]", "source-table", "sink-table"));
    json_t *transform = object_schema(tr_transform_options, NULL);
    json_object_set_new(transform, "required", json_pack("[s]", "source-table"));
    json_t *event_time = object_schema(tr_event_time_option_table, NULL);
    json_object_set_new(event_time, "required", json_pack("[s]", "column"));
    json_t *defs =
        json_pack("{s:{s:o},s:{s:o},s:o,s:o,s:o,s:o}", "source", "anyOf", source_list, "sink",
                  "anyOf", sink_list, "route", route, "transform", transform, "event-time",
                  event_time, "pipeline", object_schema(tr_pipeline_option_table, NULL));
    json_t *properties =
        json_pack("{s:{s:s},s:o,s:o,s:o,s:{s:s},s:{s:s},s:{s:s}}", "source", "$ref",
                  "#/$defs/source", "sink", one_or_list(json_pack("{s:s}", "$ref", "#/$defs/sink")),
                  "route", one_or_list(json_pack("{s:s}", "$ref", "#/$defs/route")), "transform",
                  one_or_list(json_pack("{s:s}", "$ref", "#/$defs/transform")), "event-time",
                  "$ref", "#/$defs/event-time", "dead-letter", "$ref", "#/$defs/sink", "pipeline",
                  "$ref", "#/$defs/pipeline");
    json_t *root =
        json_pack("{s:s,s:s,s:s,s:s,s:o,s:b,s:[s,s],s:o}", "$schema",
                  "https://json-schema.org/draft/2020-12/schema", "title", "tailrace pipeline file",
                  "description", "Made by `tailrace docs` from the option tables.", "type",
                  "object", "properties", properties, "additionalProperties", 0, "required",
                  "source", "sink", "$defs", defs);
    (void)json_dumpf(root, out, JSON_INDENT(2));
    (void)fputc('\n', out);
    json_decref(root);
}
