/* YAML 1.2 and JSON text → a small owned tree with the place of every node. What makes a file hard to
 * judge by eye is refused: aliases and anchors, tags, several documents, duplicate keys, keys that are
 * not text, directives; and everything is bounded, see the constants. */
#ifndef TR_CONFIG_TREE_H
#define TR_CONFIG_TREE_H

#include <stdint.h>

#include "config/pool.h"
#include "tailrace/error.h"

#define TR_TREE_BYTES_MAX (256u * 1024)
#define TR_TREE_DEPTH_MAX 32u      /* nested lists and mappings */
#define TR_TREE_NODES_MAX 20000u   /* keys count too */
#define TR_TREE_BLANK_LINES_MAX 256u /* in a row */

enum tr_node_kind { TR_NODE_SCALAR, TR_NODE_LIST, TR_NODE_MAPPING };

/* In a mapping every child has a key; in a list none has one. Strings belong to the pool. */
struct tr_node {
    enum tr_node_kind kind;
    uint32_t line, column; /* from 1; column counts characters */
    const char *text;      /* SCALAR: NUL-terminated UTF-8, as written until it is expanded */
    bool plain;            /* SCALAR: without quotes and not a block */
    bool null;             /* SCALAR: plain and empty, ~ or null */
    bool expanded;         /* SCALAR: holds something from outside the file: never print it */
    const char *key;
    uint32_t key_line, key_column;
    struct tr_node *first, *last, *next; /* children in order; next = sibling */
    uint32_t child_count;
};

/* name: for messages; a name that ends in ".json" is read as strict JSON. Every error is
 * CONFIG_SYNTAX, CONFIG_LIMIT, CONFIG_DUPLICATE_KEY or CONFIG_REFUSED with "name:line:column".
 * An empty document gives an empty mapping. */
enum tr_status tr_tree_parse(struct tr_pool *pool, const char *text, size_t len, const char *name,
                             struct tr_node **root, struct tr_error *err) TR_WARN_UNUSED;
/* NULL when absent. */
struct tr_node *tr_tree_find(const struct tr_node *mapping, const char *key);
const char *tr_tree_kind_name(const struct tr_node *node); /* "a list", "a mapping", "a value" */

#endif
