#include "pipeline/route.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct tr_router {
    const struct tr_route_rule *rules;
    size_t rule_count;
    bool first_match;
};

enum tr_status tr_router_new(const struct tr_route_rule *rules, size_t rule_count, int route_mode,
                             struct tr_router **out, struct tr_error *err)
{
    struct tr_router *router = calloc(1, sizeof *router);
    if (router == NULL)
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for the routes");
    router->rules = rules;
    router->rule_count = rule_count;
    router->first_match = route_mode == 1;
    *out = router;
    return TR_OK;
}

void tr_router_free(struct tr_router *router) { free(router); }

/* Puts the source's table name in place of each replace-symbol. False: too long. */
static bool replace_symbol(const char *text, const char *symbol, const char *name, char *out,
                           size_t out_size)
{
    size_t symbol_len = strlen(symbol), name_len = strlen(name), at = 0;
    while (*text != '\0') {
        const char *from = text;
        size_t len = 1;
        if (symbol_len > 0 && strncmp(text, symbol, symbol_len) == 0) {
            from = name;
            len = name_len;
            text += symbol_len;
        } else {
            text++;
        }
        if (at + len + 1 > out_size)
            return false;
        memcpy(out + at, from, len);
        at += len;
    }
    out[at] = '\0';
    return true;
}

/* Splits in place at dots, from the right: the last part is the table. */
static bool split(char *text, const struct tr_table_id *source, struct tr_table_id *id)
{
    *id = *source;
    char *dot = strrchr(text, '.');
    id->table = dot == NULL ? text : dot + 1;
    if (dot != NULL) {
        *dot = '\0';
        char *second = strrchr(text, '.');
        id->schema = second == NULL ? text : second + 1;
        if (second != NULL) {
            *second = '\0';
            id->namespace = text;
        }
    }
    return id->table[0] != '\0' && (dot == NULL || id->schema[0] != '\0');
}

static enum tr_status target_of(const struct tr_route_rule *rule, const struct tr_table_id *source,
                                char *text, struct tr_table_id *id, struct tr_error *err)
{
    enum tr_status status = TR_OK;
    bool fits = true;
    if (rule->replace_symbol != NULL && rule->replace_symbol[0] != '\0') {
        if (!tr_table_pattern_match(rule->source, source))
            return TR_AGAIN;
        fits = replace_symbol(rule->sink_table, rule->replace_symbol, source->table, text,
                              TR_ROUTE_TEXT_BYTES_MAX);
    } else {
        status = tr_table_pattern_expand(rule->source, source, rule->sink_table, text,
                                         TR_ROUTE_TEXT_BYTES_MAX, err);
    }
    if (status == TR_OK && (!fits || !split(text, source, id))) {
        (void)tr_fail(err, TR_E_ROUTE_TARGET, "%s: the route gives no usable table ID for %s.%s",
                      rule->where == NULL ? "route" : rule->where, source->schema, source->table);
        return tr_hint(err, "sink-table is table, schema.table or namespace.schema.table, each part "
                            "at most 63 characters");
    }
    return status;
}

static bool is_known(const struct tr_route_result *result, const struct tr_table_id *id)
{
    for (unsigned i = 0; i < result->count; i++) {
        if (tr_table_id_equal(&result->ids[i], id))
            return true;
    }
    return false;
}

enum tr_status tr_router_apply(const struct tr_router *router, const struct tr_table_id *source,
                               struct tr_route_result *result, struct tr_error *err)
{
    result->count = 0;
    result->matched = false;
    for (size_t i = 0; i < router->rule_count; i++) {
        struct tr_table_id id;
        if (result->count == TR_ROUTE_TARGETS_MAX)
            return tr_fail(err, TR_E_ROUTE_TARGET, "%s.%s is routed to more than %d tables",
                           source->schema, source->table, TR_ROUTE_TARGETS_MAX);
        enum tr_status status =
            target_of(&router->rules[i], source, result->text[result->count], &id, err);
        if (status == TR_FAIL)
            return TR_FAIL;
        if (status == TR_AGAIN)
            continue;
        result->matched = true;
        if (!is_known(result, &id))
            result->ids[result->count++] = id;
        if (router->first_match)
            break;
    }
    if (!result->matched)
        result->ids[result->count++] = *source;
    return TR_OK;
}
