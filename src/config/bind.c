/* Option binding: tree → typed struct.
 *
 * A mapping is first flattened to (dotted key, node) pairs; each pair finds its row in the tables:
 * an exact name or alias wins over a `prefix.*` map. Then every row reads its pair or its default.
 * Ignored rows are never read into the struct (their offset means nothing); they leave a note.
 * Messages show a value only when it was written in the file and its row is not a secret. */
#include "config/bind.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEY_BYTES_MAX 512u

struct pair {
    const char *key; /* dotted, full */
    const struct tr_node *node;
    const struct tr_option *option;
    const char *where; /* of the value */
    struct pair *next;
};

struct tr_config {
    void *values;
    struct pair *pairs, *last_pair;
    struct tr_pool own; /* used by tr_config_from_text only */
};

struct flattening {
    const struct tr_binding *binding;
    struct tr_config *config;
    char key[KEY_BYTES_MAX];
};

static enum tr_status no_memory(struct tr_error *err)
{
    return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for the pipeline file");
}

static bool is_wildcard(const char *name)
{
    size_t len = strlen(name);
    return len > 0 && name[len - 1] == '*';
}

static bool prefix_matches(const char *wildcard, const char *key)
{
    size_t len = strlen(wildcard) - 1;
    return strncmp(wildcard, key, len) == 0 && key[len] != '\0';
}

static const struct tr_option *find_option(const struct tr_option *table, const char *key,
                                           bool wildcards)
{
    for (const struct tr_option *o = table; o != NULL && o->name != NULL; o++) {
        const char *names[] = {o->name, o->alias};
        for (unsigned i = 0; i < 2; i++) {
            if (names[i] == NULL || is_wildcard(names[i]) != wildcards)
                continue;
            if (wildcards ? prefix_matches(names[i], key) : strcmp(names[i], key) == 0)
                return o;
        }
    }
    return NULL;
}

static const struct tr_option *find_row(const struct tr_binding *binding, const char *key)
{
    const struct tr_option *option = find_option(binding->options, key, false);
    if (option == NULL)
        option = find_option(binding->common, key, false);
    if (option == NULL)
        option = find_option(binding->options, key, true);
    return option;
}

/* ---- the nearest key ------------------------------------------------------------------------ */

static void consider(const char *key, const char *name, const char **best, unsigned *best_distance)
{
    size_t key_len = strlen(key), name_len = strlen(name);
    if (is_wildcard(name))
        return;
    unsigned distance = tr_value_distance(key, name);
    /* "host" for "hostname", "startup.mode" for "scan.startup.mode" */
    bool part = key_len >= 4 && name_len > key_len &&
                (strncmp(name, key, key_len) == 0 || (name[name_len - key_len - 1] == '.' &&
                                                      strcmp(name + name_len - key_len, key) == 0));
    unsigned limit = key_len / 3 < 2 ? (key_len < 3 ? 1 : 2) : (unsigned)(key_len / 3);
    if (part && distance > limit)
        distance = limit;
    if (distance <= limit && distance < *best_distance) {
        *best = name;
        *best_distance = distance;
    }
}

const char *tr_option_nearest(const char *key, const struct tr_option *options,
                              const struct tr_option *common)
{
    const struct tr_option *tables[] = {options, common};
    const char *best = NULL;
    unsigned distance = 1000;
    for (unsigned t = 0; t < 2; t++)
        for (const struct tr_option *o = tables[t]; o != NULL && o->name != NULL; o++) {
            consider(key, o->name, &best, &distance);
            if (o->alias != NULL)
                consider(key, o->alias, &best, &distance);
        }
    return best;
}

static enum tr_status unknown_key(const struct tr_binding *binding, const char *key,
                                  const struct tr_node *node, struct tr_error *err)
{
    const char *nearest = tr_option_nearest(key, binding->options, binding->common);
    (void)tr_fail(err, TR_E_CONFIG_UNKNOWN_KEY, "%s:%u:%u: unknown key \"%.120s\" in %s",
                  binding->file, node->key_line, node->key_column, key, binding->section);
    char known[600];
    size_t len = 0;
    if (nearest != NULL)
        return tr_hint(err, "Did you mean \"%s\"?%s%s%s", nearest,
                       binding->help != NULL ? " `" : "",
                       binding->help != NULL ? binding->help : "",
                       binding->help != NULL ? "` lists all." : "");
    known[0] = '\0';
    const struct tr_option *tables[] = {binding->common, binding->options};
    for (unsigned t = 0; t < 2; t++)
        for (const struct tr_option *o = tables[t]; o != NULL && o->name != NULL; o++)
            if ((o->flags & (TR_OPT_IGNORED | TR_OPT_ADVANCED)) == 0 &&
                len + strlen(o->name) + 3 < sizeof known)
                len += (size_t)snprintf(known + len, sizeof known - len, "%s%s",
                                        len > 0 ? ", " : "", o->name);
    return tr_hint(err, "Known here: %s.%s%s%s", known, binding->help != NULL ? " `" : "",
                   binding->help != NULL ? binding->help : "",
                   binding->help != NULL ? "` lists all." : "");
}

/* ---- flattening ----------------------------------------------------------------------------- */

static enum tr_status add_pair(struct flattening *f, const struct tr_node *node,
                               struct tr_error *err)
{
    const struct tr_binding *binding = f->binding;
    const struct tr_option *option = find_row(binding, f->key);
    if (option == NULL)
        return unknown_key(binding, f->key, node, err);
    bool is_map = option->type == TR_OPT_MAP;
    for (const struct pair *p = f->config->pairs; p != NULL; p = p->next) {
        if (is_map ? strcmp(p->key, f->key) != 0 : p->option != option)
            continue;
        (void)tr_fail(err, TR_E_CONFIG_DUPLICATE_KEY, "%s:%u:%u: %s.%s is given twice",
                      binding->file, node->key_line, node->key_column, binding->section, f->key);
        return tr_hint(err, "It is given first as \"%s\" at %s; remove one of them.", p->key,
                       p->where);
    }
    struct pair *pair = tr_pool_alloc(binding->pool, sizeof *pair);
    if (pair == NULL)
        return no_memory(err);
    pair->key = tr_pool_strdup(binding->pool, f->key);
    pair->where =
        tr_pool_printf(binding->pool, "%s:%u:%u", binding->file, node->line, node->column);
    if (pair->key == NULL || pair->where == NULL)
        return no_memory(err);
    pair->node = node;
    pair->option = option;
    if (f->config->last_pair != NULL)
        f->config->last_pair->next = pair;
    else
        f->config->pairs = pair;
    f->config->last_pair = pair;
    return TR_OK;
}

/* f->key with a dot behind it begins an option's name: an empty mapping there says nothing. */
static bool opens_section(const struct flattening *f)
{
    const struct tr_option *tables[] = {f->binding->options, f->binding->common};
    size_t len = strlen(f->key);
    for (unsigned t = 0; t < 2; t++)
        for (const struct tr_option *o = tables[t]; o != NULL && o->name != NULL; o++)
            if (strncmp(o->name, f->key, len) == 0 && o->name[len] == '.')
                return true;
    return false;
}

/* Recursion is bounded by TR_TREE_DEPTH_MAX. */
static enum tr_status flatten(struct flattening *f, const struct tr_node *mapping, size_t key_len,
                              struct tr_error *err)
{
    for (const struct tr_node *node = mapping->first; node != NULL; node = node->next) {
        size_t len = strlen(node->key), dot = key_len > 0 ? 1 : 0;
        if (key_len + dot + len >= sizeof f->key)
            return tr_fail(err, TR_E_CONFIG_LIMIT, "%s:%u:%u: the key is longer than %u bytes",
                           f->binding->file, node->key_line, node->key_column, KEY_BYTES_MAX - 1);
        if (dot > 0)
            f->key[key_len] = '.';
        memcpy(f->key + key_len + dot, node->key, len + 1);
        if (node->kind == TR_NODE_MAPPING && node->child_count == 0 && opens_section(f))
            continue;
        enum tr_status status = node->kind == TR_NODE_MAPPING && node->child_count > 0
                                    ? flatten(f, node, key_len + dot + len, err)
                                    : add_pair(f, node, err);
        if (status != TR_OK)
            return TR_FAIL;
    }
    return TR_OK;
}

/* ---- values --------------------------------------------------------------------------------- */

/* The value as a message may show it: in quotes, or "a secret value". */
static const char *shown(const struct tr_option *option, const struct tr_node *node, char *buf,
                         size_t buf_size)
{
    if (node->kind != TR_NODE_SCALAR)
        return tr_tree_kind_name(node);
    if (node->null && node->text[0] == '\0')
        return "nothing";
    if (node->expanded || option->type == TR_OPT_SECRET || option->type == TR_OPT_MAP)
        return "a value that is not shown";
    (void)snprintf(buf, buf_size, "\"%.60s\"", node->text);
    for (char *p = buf; *p != '\0'; p++)
        if ((unsigned char)*p < 0x20)
            *p = ' ';
    return buf;
}

static enum tr_status bad_value(const struct tr_binding *binding, const struct tr_option *option,
                                const struct tr_node *node, const char *expected,
                                struct tr_error *err)
{
    char buf[80];
    (void)tr_fail(err, TR_E_CONFIG_VALUE, "%s:%u:%u: %s.%s: expected %s, found %s", binding->file,
                  node->line, node->column, binding->section, option->name, expected,
                  shown(option, node, buf, sizeof buf));
    return tr_hint(err, "%s", option->help != NULL ? option->help : "");
}

static enum tr_status check_bounds(const struct tr_binding *binding, const struct tr_option *option,
                                   const struct tr_node *node, int64_t value, struct tr_error *err)
{
    char low[32], high[32], expected[120];
    if ((option->min == 0 && option->max == 0) || (value >= option->min && value <= option->max))
        return TR_OK;
    (void)snprintf(expected, sizeof expected, "a %s from %s to %s",
                   tr_value_type_name(option->type),
                   tr_value_format(option->type, option->min, low, sizeof low),
                   tr_value_format(option->type, option->max, high, sizeof high));
    return bad_value(binding, option, node, expected, err);
}

static enum tr_status bad_enum(const struct tr_binding *binding, const struct tr_option *option,
                               const struct tr_node *node, struct tr_error *err)
{
    char expected[300];
    size_t len = (size_t)snprintf(expected, sizeof expected, "one of");
    for (size_t i = 0; option->values[i] != NULL && len < sizeof expected; i++)
        len += (size_t)snprintf(expected + len, sizeof expected - len, "%s %s", i > 0 ? "," : "",
                                option->values[i]);
    return bad_value(binding, option, node, expected, err);
}

static enum tr_status read_list(const struct tr_binding *binding, const struct tr_option *option,
                                const struct tr_node *node, struct tr_string_list *list,
                                struct tr_error *err)
{
    if (node->kind == TR_NODE_SCALAR && (option->flags & TR_OPT_RAW_LIST) == 0)
        return tr_value_split(binding->pool, node->text, list) ? TR_OK : no_memory(err);
    size_t count = node->kind == TR_NODE_LIST ? node->child_count : 1;
    const char **items = tr_pool_array(binding->pool, count, sizeof *items);
    if (items == NULL)
        return no_memory(err);
    *list = (struct tr_string_list){items, count};
    if (node->kind == TR_NODE_SCALAR) {
        items[0] = node->text;
        return TR_OK;
    }
    size_t i = 0;
    for (const struct tr_node *item = node->first; item != NULL; item = item->next) {
        if (item->kind != TR_NODE_SCALAR || item->null)
            return bad_value(binding, option, item, "a text as the list's item", err);
        items[i++] = item->text;
    }
    return TR_OK;
}

static enum tr_status read_scalar(const struct tr_binding *binding, const struct tr_option *option,
                                  const struct tr_node *node, char *slot, struct tr_error *err)
{
    const char *expected = NULL;
    int64_t number = 0;
    switch (option->type) {
    case TR_OPT_STRING:
        *(const char **)(void *)slot = node->text;
        return TR_OK;
    case TR_OPT_SECRET:
        ((struct tr_secret *)(void *)slot)->value = node->text;
        return TR_OK;
    case TR_OPT_BOOL:
        expected = tr_value_bool(node->text, (bool *)slot);
        return expected == NULL ? TR_OK : bad_value(binding, option, node, expected, err);
    case TR_OPT_ENUM: {
        int index = tr_value_enum(node->text, option->values);
        if (index < 0)
            return bad_enum(binding, option, node, err);
        *(int *)(void *)slot = index;
        return TR_OK;
    }
    case TR_OPT_INT:
        expected = tr_value_int(node->text, &number);
        break;
    case TR_OPT_SIZE:
        expected = tr_value_size(node->text, &number);
        break;
    case TR_OPT_DURATION:
        expected = tr_value_duration(node->text, &number);
        break;
    default:
        return tr_fail(err, TR_E_INTERNAL, "option %s has type %d", option->name, option->type);
    }
    if (expected != NULL)
        return bad_value(binding, option, node, expected, err);
    *(int64_t *)(void *)slot = number;
    return check_bounds(binding, option, node, number, err);
}

enum tr_status tr_config_read(const struct tr_binding *binding, const struct tr_option *option,
                              const struct tr_node *node, void *target, struct tr_error *err)
{
    char *slot = (char *)target + option->offset;
    if (node->null)
        return bad_value(binding, option, node,
                         node->text[0] == '\0'
                             ? "a value (an empty text is written \"\")"
                             : "a value (a text that says null is written in quotes)",
                         err);
    if (option->type == TR_OPT_LIST && node->kind != TR_NODE_MAPPING)
        return read_list(binding, option, node, (struct tr_string_list *)(void *)slot, err);
    if (node->kind != TR_NODE_SCALAR)
        return bad_value(binding, option, node,
                         option->type == TR_OPT_LIST  ? "a list or a text with commas"
                         : option->type == TR_OPT_MAP ? "a mapping of texts"
                                                      : "a single value",
                         err);
    return read_scalar(binding, option, node, slot, err);
}

static enum tr_status read_map(const struct tr_binding *binding, const struct tr_config *config,
                               const struct tr_option *option, struct tr_error *err)
{
    struct tr_string_map *map =
        (struct tr_string_map *)(void *)((char *)config->values + option->offset);
    size_t count = 0;
    for (const struct pair *p = config->pairs; p != NULL; p = p->next)
        count += p->option == option;
    const char **keys = tr_pool_array(binding->pool, count, sizeof *keys);
    const char **texts = tr_pool_array(binding->pool, count, sizeof *texts);
    if (keys == NULL || texts == NULL)
        return no_memory(err);
    size_t used = 0;
    for (const struct pair *p = config->pairs; p != NULL; p = p->next) {
        if (p->option != option)
            continue;
        if (p->node->kind != TR_NODE_SCALAR || p->node->null)
            return bad_value(binding, option, p->node, "a text", err);
        bool by_name = prefix_matches(option->name, p->key);
        keys[used] = p->key + strlen(by_name ? option->name : option->alias) - 1;
        texts[used++] = p->node->text;
    }
    *map = (struct tr_string_map){keys, texts, count};
    return TR_OK;
}

static enum tr_status read_default(const struct tr_binding *binding, const struct tr_option *option,
                                   void *values, struct tr_error *err)
{
    struct tr_node node = {.kind = TR_NODE_SCALAR, .text = option->default_text};
    struct tr_error inner;
    if (option->default_text == NULL)
        return TR_OK;
    if (tr_config_read(binding, option, &node, values, &inner) != TR_OK)
        return inner.code == TR_E_OUT_OF_MEMORY
                   ? no_memory(err)
                   : tr_fail(err, TR_E_INTERNAL, "the default of option %s.%s does not fit its row",
                             binding->section, option->name);
    return TR_OK;
}

static enum tr_status add_note(const struct tr_binding *binding, const struct pair *pair,
                               struct tr_error *err)
{
    if (binding->notes == NULL)
        return TR_OK;
    struct tr_config_note *note = tr_pool_alloc(binding->pool, sizeof *note);
    if (note == NULL)
        return no_memory(err);
    note->where = pair->where;
    note->key = tr_pool_printf(binding->pool, "%s.%s", binding->section, pair->key);
    note->message = pair->option->help != NULL ? pair->option->help : "It has no effect here.";
    if (note->key == NULL)
        return no_memory(err);
    note->next = *binding->notes;
    *binding->notes = note;
    return TR_OK;
}

static enum tr_status read_row(const struct tr_binding *binding, struct tr_config *config,
                               const struct tr_option *option, const struct tr_node *mapping,
                               struct tr_error *err)
{
    const struct pair *pair = config->pairs;
    while (pair != NULL && pair->option != option)
        pair = pair->next;
    if ((option->flags & TR_OPT_IGNORED) != 0)
        return pair == NULL ? TR_OK : add_note(binding, pair, err);
    if (pair == NULL) {
        if ((option->flags & TR_OPT_REQUIRED) != 0) {
            (void)tr_fail(err, TR_E_CONFIG_REQUIRED, "%s:%u:%u: %s.%s is required", binding->file,
                          mapping != NULL ? mapping->line : 1,
                          mapping != NULL ? mapping->column : 1, binding->section, option->name);
            return tr_hint(err, "%s", option->help != NULL ? option->help : "");
        }
        return option->type == TR_OPT_MAP ? TR_OK
                                          : read_default(binding, option, config->values, err);
    }
    if (option->type == TR_OPT_MAP)
        return read_map(binding, config, option, err);
    return tr_config_read(binding, option, pair->node, config->values, err);
}

enum tr_status tr_config_bind(const struct tr_binding *binding, const struct tr_node *mapping,
                              struct tr_config **out, struct tr_error *err)
{
    struct tr_config *config = tr_pool_alloc(binding->pool, sizeof *config);
    struct flattening f = {.binding = binding, .config = config};
    if (config == NULL ||
        (config->values = tr_pool_alloc(binding->pool, binding->options_size)) == NULL)
        return no_memory(err);
    if (mapping != NULL && mapping->kind != TR_NODE_MAPPING && !mapping->null) {
        (void)tr_fail(err, TR_E_CONFIG_VALUE,
                      "%s:%u:%u: %s: expected a mapping of options, found %s", binding->file,
                      mapping->line, mapping->column, binding->section, tr_tree_kind_name(mapping));
        return tr_hint(err, "Write `key: value` lines below `%s:`, indented with spaces.",
                       binding->section);
    }
    if (mapping != NULL && mapping->kind == TR_NODE_MAPPING &&
        flatten(&f, mapping, 0, err) != TR_OK)
        return TR_FAIL;
    for (const struct tr_option *o = binding->options; o != NULL && o->name != NULL; o++)
        if (read_row(binding, config, o, mapping, err) != TR_OK)
            return TR_FAIL;
    *out = config;
    return TR_OK;
}

/* ---- accessors ------------------------------------------------------------------------------ */

static const struct pair *find_pair(const struct tr_config *config, const char *name)
{
    for (const struct pair *p = config->pairs; p != NULL; p = p->next)
        if (strcmp(p->option->name, name) == 0 || strcmp(p->key, name) == 0)
            return p;
    return NULL;
}

const struct tr_node *tr_config_node(const struct tr_config *config, const char *option_name)
{
    const struct pair *pair = find_pair(config, option_name);
    return pair == NULL ? NULL : pair->node;
}

bool tr_config_given(const struct tr_config *config, const char *option_name)
{
    return find_pair(config, option_name) != NULL;
}

const char *tr_config_where(const struct tr_config *config, const char *option_name)
{
    const struct pair *pair = find_pair(config, option_name);
    return pair == NULL ? "" : pair->where;
}

const void *tr_config_values(const struct tr_config *config) { return config->values; }

enum tr_status tr_config_from_text(const char *yaml, const struct tr_option *options,
                                   size_t options_size, struct tr_config **out,
                                   struct tr_error *err)
{
    struct tr_pool pool;
    struct tr_node *root = NULL;
    struct tr_config *config = NULL;
    tr_pool_init(&pool);
    struct tr_binding binding = {.pool = &pool,
                                 .file = "text",
                                 .section = "options",
                                 .options = options,
                                 .options_size = options_size};
    if (tr_tree_parse(&pool, yaml, strlen(yaml), "text", &root, err) != TR_OK ||
        tr_config_bind(&binding, root, &config, err) != TR_OK) {
        tr_pool_free(&pool);
        return TR_FAIL;
    }
    config->own = pool; /* the config lies in the pool that it frees */
    *out = config;
    return TR_OK;
}

void tr_config_free(struct tr_config *config)
{
    if (config == NULL)
        return;
    struct tr_pool pool = config->own;
    tr_pool_free(&pool);
}
