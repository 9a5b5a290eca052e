/* Routes. sink-table is split into its parts when the router is made, before anything is put into
 * it: a dot in a table's own name (or in a capture) never becomes a border between parts. Matching
 * is PCRE2's, in event/table_pattern.c; it happens once per table version, never per event. */
#include "pipeline/route.h"

#include <stdlib.h>
#include <string.h>

#define PARTS_MAX 3u

struct target {
    const struct tr_route_rule *rule;
    unsigned part_count;
    const char *parts[PARTS_MAX];
    bool has_symbol;
    char *text; /* owns the parts: sink_table with NULs in place of the separating dots */
};

struct tr_router {
    struct target *targets;
    size_t count;
    bool first_match;
};

static enum tr_status split_target(struct target *target, const struct tr_route_rule *rule,
                                   struct tr_error *err)
{
    size_t symbol_len = rule->replace_symbol == NULL ? 0 : strlen(rule->replace_symbol);
    target->rule = rule;
    target->text = strdup(rule->sink_table);
    if (target->text == NULL)
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for the routes");
    target->parts[target->part_count++] = target->text;
    for (char *p = target->text; *p != '\0'; p++) {
        if (symbol_len > 0 && strncmp(p, rule->replace_symbol, symbol_len) == 0) {
            target->has_symbol = true;
            p += symbol_len - 1; /* its dots, if any, separate nothing */
        } else if (*p == '.') {
            if (target->part_count == PARTS_MAX) {
                (void)tr_fail(err, TR_E_ROUTE_TARGET, "%s: sink-table has more than three parts",
                              rule->where == NULL ? "route" : rule->where);
                return tr_hint(err, "Write table, schema.table or namespace.schema.table.");
            }
            *p = '\0';
            target->parts[target->part_count++] = p + 1;
        }
    }
    return TR_OK;
}

enum tr_status tr_router_new(const struct tr_route_rule *rules, size_t rule_count, int route_mode,
                             struct tr_router **out, struct tr_error *err)
{
    struct tr_router *router = calloc(1, sizeof *router);
    if (router != NULL)
        router->targets = calloc(rule_count + 1, sizeof *router->targets);
    if (router == NULL || router->targets == NULL) {
        free(router);
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for the routes");
    }
    router->first_match = route_mode == 1;
    for (size_t i = 0; i < rule_count; i++) {
        router->count++;
        if (split_target(&router->targets[i], &rules[i], err) != TR_OK) {
            tr_router_free(router);
            return TR_FAIL;
        }
    }
    *out = router;
    return TR_OK;
}

void tr_router_free(struct tr_router *router)
{
    if (router == NULL)
        return;
    for (size_t i = 0; i < router->count; i++)
        free(router->targets[i].text);
    free(router->targets);
    free(router);
}

/* Puts the source's table name in place of each replace-symbol. False: too long. */
static bool replace_symbol(const char *text, const char *symbol, const char *name, char *out,
                           size_t out_size)
{
    size_t symbol_len = strlen(symbol), name_len = strlen(name), at = 0;
    while (*text != '\0') {
        bool is_symbol = strncmp(text, symbol, symbol_len) == 0;
        const char *from = is_symbol ? name : text;
        size_t len = is_symbol ? name_len : 1;
        if (at + len + 1 > out_size)
            return false;
        memcpy(out + at, from, len);
        at += len;
        text += is_symbol ? symbol_len : 1;
    }
    if (at >= out_size)
        return false;
    out[at] = '\0';
    return true;
}

static enum tr_status fail_target(const struct tr_route_rule *rule,
                                  const struct tr_table_id *source, const char *what,
                                  struct tr_error *err)
{
    (void)tr_fail(err, TR_E_ROUTE_TARGET, "%s: %s for table %.100s.%.100s",
                  rule->where == NULL ? "route" : rule->where, what, source->schema, source->table);
    return tr_hint(err, "Change sink-table, or the captures of source-table that it refers to.");
}

/* TR_AGAIN: the rule does not match. */
static enum tr_status target_of(const struct target *target, const struct tr_table_id *source,
                                char *text, size_t text_size, struct tr_table_id *id,
                                struct tr_error *err)
{
    const struct tr_route_rule *rule = target->rule;
    const char *parts[PARTS_MAX];
    size_t used = 0;
    if (target->has_symbol && !tr_table_pattern_match(rule->source, source))
        return TR_AGAIN;
    for (unsigned i = 0; i < target->part_count; i++) {
        char *part = text + used;
        if (target->has_symbol) {
            if (!replace_symbol(target->parts[i], rule->replace_symbol, source->table, part,
                                text_size - used))
                return fail_target(rule, source, "the name that the route makes is too long", err);
        } else {
            enum tr_status status = tr_table_pattern_expand(rule->source, source, target->parts[i],
                                                            part, text_size - used, err);
            if (status != TR_OK)
                return status;
        }
        if (part[0] == '\0')
            return fail_target(rule, source, "the route gives an empty name", err);
        parts[i] = part;
        used += strlen(part) + 1;
    }
    *id = *source;
    id->table = parts[target->part_count - 1];
    if (target->part_count > 1)
        id->schema = parts[target->part_count - 2];
    if (target->part_count > 2)
        id->namespace = parts[0];
    return TR_OK;
}

static bool is_known(const struct tr_route_result *result, const struct tr_table_id *id)
{
    for (unsigned i = 0; i < result->count; i++)
        if (tr_table_id_equal(&result->ids[i], id))
            return true;
    return false;
}

enum tr_status tr_router_apply(const struct tr_router *router, const struct tr_table_id *source,
                               struct tr_route_result *result, struct tr_error *err)
{
    result->count = 0;
    result->matched = false;
    for (size_t i = 0; i < router->count; i++) {
        struct tr_table_id id;
        char text[TR_ROUTE_TEXT_BYTES_MAX];
        enum tr_status status = target_of(&router->targets[i], source, text, sizeof text, &id, err);
        if (status == TR_FAIL)
            return TR_FAIL;
        if (status == TR_AGAIN)
            continue;
        result->matched = true;
        if (!is_known(result, &id)) {
            if (result->count == TR_ROUTE_TARGETS_MAX) {
                (void)tr_fail(err, TR_E_ROUTE_TARGET,
                              "%.100s.%.100s is routed to more than %d tables", source->schema,
                              source->table, TR_ROUTE_TARGETS_MAX);
                return tr_hint(err, "Set pipeline.route-mode to FIRST_MATCH, or remove routes.");
            }
            /* again, into the place that the ID points to */
            if (target_of(&router->targets[i], source, result->text[result->count],
                          sizeof result->text[0], &result->ids[result->count], err) != TR_OK)
                return TR_FAIL;
            result->count++;
        }
        if (router->first_match)
            break;
    }
    if (!result->matched)
        result->ids[result->count++] = *source;
    return TR_OK;
}
