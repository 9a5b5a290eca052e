/* JSON reader: one strict pass (RFC 8259) over a bounded slice → a flat list of nodes that point
 * into it.
 *
 * Accepted is exactly the grammar of RFC 8259 in UTF-8: no byte order mark, no comments, no
 * trailing commas, no NaN, no raw control characters in strings, no bytes that are not UTF-8, no \u
 * escape that is half a surrogate pair, nothing behind the value but white space. Any value may be
 * the top. Where the RFC leaves it open: names may repeat (the last one wins in tr_json_member),
 * numbers may have any size (their text is kept), nesting ends at TR_JSON_DEPTH_MAX, and \u0000 is
 * accepted here and refused where a value must be a STRING.
 *
 * Memory: the node list is kept from message to message; nothing is allocated for one that fits. */
#ifndef TR_DECODE_JSON_READER_H
#define TR_DECODE_JSON_READER_H

#include <stdbool.h>
#include <string.h>

#include "tailrace/event.h"

#define TR_JSON_DEPTH_MAX 512
#define TR_JSON_BYTES_MAX (1u << 30) /* a cell is at most 1 GiB */
#define TR_JSON_NODES_MAX (1u << 22)
#define TR_JSON_DEPTH_ALL TR_JSON_DEPTH_MAX

enum tr_json_kind {
    TR_JSON_NULL,
    TR_JSON_FALSE,
    TR_JSON_TRUE,
    TR_JSON_NUMBER,
    TR_JSON_STRING,
    TR_JSON_OBJECT,
    TR_JSON_ARRAY
};
enum tr_json_flags {
    TR_JSON_ESCAPED = 1, /* string: has a backslash, so its bytes are not its value */
    TR_JSON_NUL = 2,     /* string: has \u0000 */
    TR_JSON_INTEGER = 4  /* number: neither fraction nor exponent */
};
struct tr_json_node {
    const char *ptr; /* string: behind the quote; else the first byte of the value's text */
    uint32_t len;   /* string: up to the closing quote; else the text, also of objects and arrays */
    uint32_t next;  /* index of the node behind this value and all in it */
    uint32_t count; /* object: members; array: elements */
    uint8_t kind;   /* enum tr_json_kind */
    uint8_t flags;  /* enum tr_json_flags */
};

/* An object's nodes: itself, then name (a string), value, name, value … An array's: itself,
 * elements. Zeroed before the first use. */
struct tr_json_doc {
    struct tr_json_node *nodes;
    uint32_t node_count, node_capacity;
    const char *text;   /* of the last parse */
    const char *reason; /* why it failed: "a string is not closed"; static */
    size_t offset;      /* where: bytes from the start */
};

/* False: not JSON; reason and offset tell. keep_depth: values nested deeper have no nodes (they are
 * checked all the same): 1 keeps an object's members, 2 theirs too. nodes[0] is the top. */
bool tr_json_parse(struct tr_json_doc *doc, struct tr_slice text, unsigned keep_depth);
/* The parse before failed for want of memory (reason says it too). */
bool tr_json_no_memory(const struct tr_json_doc *doc);
void tr_json_doc_free(struct tr_json_doc *doc);

/* The value's whole text: of a string with its quotes. */
static inline struct tr_slice tr_json_text(const struct tr_json_node *node)
{
    return node->kind == TR_JSON_STRING ? (struct tr_slice){node->ptr - 1, (size_t)node->len + 2}
                                        : (struct tr_slice){node->ptr, node->len};
}
static inline size_t tr_json_offset(const struct tr_json_doc *doc, const struct tr_json_node *node)
{
    return (size_t)(tr_json_text(node).ptr - doc->text);
}
/* Is the string exactly these bytes? Escapes are resolved. */
bool tr_json_equal_escaped(const struct tr_json_node *string, const char *text, size_t len);
static inline bool tr_json_equal(const struct tr_json_node *string, const char *text, size_t len)
{
    if ((string->flags & TR_JSON_ESCAPED) != 0)
        return tr_json_equal_escaped(string, text, len);
    return string->len == len && memcmp(string->ptr, text, len) == 0;
}
/* Writes the string's value; out has room for string->len bytes. Gives its length. */
size_t tr_json_unescape(const struct tr_json_node *string, char *out);
/* UTF-8 without NUL? */
bool tr_utf8_valid(const char *text, size_t len);
/* The last member of that name, NULL when there is none (or node is no object). Its children must
 * have been kept. */
const struct tr_json_node *tr_json_member(const struct tr_json_doc *doc,
                                          const struct tr_json_node *object, const char *name);

#endif
