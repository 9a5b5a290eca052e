#include "encode/template.h"

#include <stdlib.h>

#include "encode/json.h"

/* Offsets until the buffer stops growing, then pointers. */
static struct tr_slice cut(const struct tr_outbuf *bytes, size_t from)
{
    return (struct tr_slice){(const char *)(uintptr_t)from, bytes->len - from};
}

static void settle(const struct tr_outbuf *bytes, struct tr_slice *slice)
{
    slice->ptr = bytes->data + (uintptr_t)slice->ptr;
}

static void put_string(struct tr_outbuf *out, const char *string)
{
    tr_json_string(out, string, strlen(string));
}

static void build_source(const struct tr_format_context *context, const struct tr_table_id *id,
                         struct tr_template *tpl)
{
    struct tr_outbuf *out = &tpl->bytes;
    size_t from = out->len;
    tr_outbuf_lit(out, "\"source\":{\"version\":");
    put_string(out, context->version);
    tr_outbuf_lit(out, ",\"connector\":");
    put_string(out, context->connector);
    tr_outbuf_lit(out, ",\"name\":");
    put_string(out, context->prefix);
    tr_outbuf_lit(out, ",\"ts_ms\":");
    tpl->source_head = cut(out, from);
    from = out->len;
    tr_outbuf_lit(out, "\",\"db\":");
    put_string(out, id->namespace);
    tr_outbuf_lit(out, ",\"sequence\":");
    tpl->source_db = cut(out, from);
    from = out->len;
    tr_outbuf_lit(out, ",\"schema\":");
    put_string(out, id->schema);
    tr_outbuf_lit(out, ",\"table\":");
    put_string(out, id->table);
    tr_outbuf_lit(out, ",\"txId\":");
    tpl->source_table = cut(out, from);
}

static void settle_source(struct tr_template *tpl)
{
    settle(&tpl->bytes, &tpl->source_head);
    settle(&tpl->bytes, &tpl->source_db);
    settle(&tpl->bytes, &tpl->source_table);
}

void tr_template_source(const struct tr_format_context *context, const struct tr_table_id *id,
                        struct tr_template *tpl)
{
    build_source(context, id, tpl);
    if (!tpl->bytes.failed)
        settle_source(tpl);
}

static void template_free(struct tr_template *tpl)
{
    if (tpl == NULL)
        return;
    tr_table_unref(tpl->table);
    tr_outbuf_free(&tpl->bytes);
    free(tpl->columns);
    free(tpl);
}

static enum tr_status template_new(const struct tr_template_cache *cache,
                                   const struct tr_table *table, struct tr_template **out,
                                   struct tr_error *err)
{
    struct tr_template *tpl = calloc(1, sizeof *tpl);
    if (tpl == NULL)
        goto no_memory;
    tpl->table = tr_table_ref(table);
    tpl->columns = calloc((size_t)table->column_count + 1, sizeof *tpl->columns);
    if (tpl->columns == NULL)
        goto no_memory;
    struct tr_outbuf *bytes = &tpl->bytes;
    build_source(&cache->context, &table->id, tpl);
    size_t from = bytes->len;
    tr_outbuf_byte(bytes, '"');
    if (table->id.schema[0] != '\0') {
        tr_json_escape(bytes, table->id.schema, strlen(table->id.schema));
        tr_outbuf_byte(bytes, '.');
    }
    tr_json_escape(bytes, table->id.table, strlen(table->id.table));
    tr_outbuf_byte(bytes, '"');
    tpl->table_name = cut(bytes, from);
    for (size_t i = 0; i < table->column_count; i++) {
        from = bytes->len;
        tr_outbuf_byte(bytes, i == 0 ? '{' : ',');
        size_t bare = bytes->len;
        put_string(bytes, table->columns[i].name);
        tr_outbuf_byte(bytes, ':');
        tpl->columns[i].name = cut(bytes, from);
        tpl->columns[i].bare = cut(bytes, bare);
        tpl->columns[i].shape = cache->shape_of(&table->columns[i], cache->options);
    }
    if (bytes->failed)
        goto no_memory;
    settle_source(tpl);
    settle(bytes, &tpl->table_name);
    for (size_t i = 0; i < table->column_count; i++) {
        settle(bytes, &tpl->columns[i].name);
        settle(bytes, &tpl->columns[i].bare);
    }
    *out = tpl;
    return TR_OK;
no_memory:
    template_free(tpl);
    return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for a table's JSON template");
}

enum tr_status tr_template_cache_init(struct tr_template_cache *cache,
                                      const struct tr_format_options *options,
                                      const struct tr_format_context *context, tr_shape_fn shape_of,
                                      struct tr_error *err)
{
    *cache = (struct tr_template_cache){.options = options, .shape_of = shape_of};
    cache->context.prefix = strdup(context->prefix == NULL ? "" : context->prefix);
    cache->context.version = strdup(context->version == NULL ? "" : context->version);
    cache->context.connector = strdup(context->connector == NULL ? "" : context->connector);
    if (cache->context.prefix == NULL || cache->context.version == NULL ||
        cache->context.connector == NULL)
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for an encoder");
    return TR_OK;
}

void tr_template_cache_free(struct tr_template_cache *cache)
{
    for (size_t set = 0; set < TR_TEMPLATE_SETS; set++) {
        for (size_t way = 0; way < TR_TEMPLATE_WAYS; way++)
            template_free(cache->entries[set][way]);
    }
    free((void *)(uintptr_t)cache->context.prefix);
    free((void *)(uintptr_t)cache->context.version);
    free((void *)(uintptr_t)cache->context.connector);
}

enum tr_status tr_template_get(struct tr_template_cache *cache, const struct tr_table *table,
                               const struct tr_template **out, struct tr_error *err)
{
    if (cache->last != NULL && cache->last->table == table) {
        *out = cache->last;
        return TR_OK;
    }
    uint64_t hash = ((uint64_t)(uintptr_t)table >> 4) * UINT64_C(0x9e3779b97f4a7c15);
    struct tr_template **set = cache->entries[hash >> 57];
    size_t oldest = 0;
    for (size_t way = 0; way < TR_TEMPLATE_WAYS; way++) {
        if (set[way] != NULL && set[way]->table == table) {
            set[way]->used = ++cache->clock;
            cache->last = set[way];
            *out = set[way];
            return TR_OK;
        }
        if (set[way] == NULL)
            oldest = way;
        else if (set[oldest] != NULL && set[way]->used < set[oldest]->used)
            oldest = way;
    }
    struct tr_template *made = NULL;
    if (template_new(cache, table, &made, err) != TR_OK)
        return TR_FAIL;
    if (cache->last == set[oldest])
        cache->last = NULL;
    template_free(set[oldest]);
    made->used = ++cache->clock;
    set[oldest] = made;
    cache->last = made;
    *out = made;
    return TR_OK;
}
