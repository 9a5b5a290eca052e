/* What can be written before any row is seen: per table version the field names with their quotes
 * and colons, the shapes of the columns and the fixed pieces of the source block. Kept in a
 * bounded, set-associative cache; an entry holds a reference on its table, so a pointer names one
 * version. */
#ifndef TR_ENCODE_TEMPLATE_H
#define TR_ENCODE_TEMPLATE_H

#include "encode/value.h"
#include "tailrace/format.h"

#define TR_TEMPLATE_SETS 128
#define TR_TEMPLATE_WAYS 4 /* tables whose templates are kept: 512 */

struct tr_template_column {
    struct tr_slice name; /* "name": with the colon; the first column's with '{' before it, the
                             others with ',' */
    struct tr_slice bare; /* "name": alone */
    struct tr_shape shape;
};
struct tr_template {
    const struct tr_table *table;
    uint64_t used;                /* cache's clock */
    struct tr_outbuf bytes;       /* what the slices point into */
    struct tr_slice source_head;  /* "source":{"version":…,"name":…,"ts_ms": */
    struct tr_slice source_db;    /* ","db":"shop","sequence": */
    struct tr_slice source_table; /* ,"schema":"public","table":"t","txId": */
    struct tr_slice table_name;   /* "public.t", quoted */
    struct tr_template_column *columns;
};

typedef struct tr_shape (*tr_shape_fn)(const struct tr_column *column,
                                       const struct tr_format_options *options);
struct tr_template_cache {
    const struct tr_format_options *options;
    struct tr_format_context context; /* strings are the cache's */
    tr_shape_fn shape_of;
    uint64_t clock;
    struct tr_template *last;
    struct tr_template *entries[TR_TEMPLATE_SETS][TR_TEMPLATE_WAYS];
};

enum tr_status tr_template_cache_init(struct tr_template_cache *cache,
                                      const struct tr_format_options *options,
                                      const struct tr_format_context *context, tr_shape_fn shape_of,
                                      struct tr_error *err);
void tr_template_cache_free(struct tr_template_cache *cache);
/* Valid until the next call. */
enum tr_status tr_template_get(struct tr_template_cache *cache, const struct tr_table *table,
                               const struct tr_template **out, struct tr_error *err);
/* The fixed pieces alone, for a database without a table (messages): bytes is to be freed. */
void tr_template_source(const struct tr_format_context *context, const struct tr_table_id *id,
                        struct tr_template *tpl);

#endif
