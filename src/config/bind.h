/* A mapping of the pipeline file, bound to a C struct through option tables. Nested mappings and dotted
 * keys are the same: `scan: {startup: {mode: initial}}` is `scan.startup.mode: initial`. */
#ifndef TR_CONFIG_BIND_H
#define TR_CONFIG_BIND_H

#include "config/tree.h"
#include "config/value.h"
#include "tailrace/option.h"

/* An accepted option without effect. Strings belong to the pool. */
struct tr_config_note {
    const char *where;   /* "shop.yaml:7:13" */
    const char *key;     /* "pipeline.operator.uid.prefix" */
    const char *message; /* why it has none */
    struct tr_config_note *next;
};

struct tr_binding {
    struct tr_pool *pool;            /* owns the result */
    const char *file;                /* for messages */
    const char *section;             /* "source": put before keys in messages */
    const char *help;                /* "tailrace help postgres", or NULL */
    const struct tr_option *options; /* bound into the struct */
    size_t options_size;
    const struct tr_option *common; /* keys that the caller reads itself with tr_config_node; or NULL */
    struct tr_config_note **notes;  /* list to prepend to, or NULL */
};

/* mapping may be NULL: defaults only. Errors: CONFIG_UNKNOWN_KEY, CONFIG_DUPLICATE_KEY,
 * CONFIG_VALUE, CONFIG_REQUIRED. */
enum tr_status tr_config_bind(const struct tr_binding *binding, const struct tr_node *mapping,
                              struct tr_config **out, struct tr_error *err) TR_WARN_UNUSED;
/* The node that gave an option (also a common one), or NULL. */
const struct tr_node *tr_config_node(const struct tr_config *config, const char *option_name);
/* Reads one node as the option says, into target (a struct that option->offset points into). */
enum tr_status tr_config_read(const struct tr_binding *binding, const struct tr_option *option,
                              const struct tr_node *node, void *target,
                              struct tr_error *err) TR_WARN_UNUSED;

/* A config on its own, from YAML text, without expansion: for tests of connectors.
 * tr_config_free takes only configs that were made by this. */
enum tr_status tr_config_from_text(const char *yaml, const struct tr_option *options,
                                   size_t options_size, struct tr_config **out,
                                   struct tr_error *err) TR_WARN_UNUSED;
void tr_config_free(struct tr_config *config); /* NULL is fine; wipes */

/* The nearest of the tables' names to key, or NULL when none is near. Tables may be NULL. */
const char *tr_option_nearest(const char *key, const struct tr_option *options,
                              const struct tr_option *common);

#endif
