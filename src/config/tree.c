/* libfyaml's events → tree. Thread: any, no shared state.
 *
 * The event interface is used, and not libfyaml's documents: depth and node count are checked while
 * the text is read, and no alias is ever followed. libfyaml's diagnostics come through a callback
 * as text; the first line has the form "<source>:LINE:COLUMN: error: MESSAGE" and the lines after
 * it quote the file, which is why only the first is kept.
 *
 * libfyaml takes quadratic time for very long runs of blank lines and for long directives; the scan
 * before it bounds the first and refuses the second. */
#include "config/tree.h"

#include <libfyaml.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/quoted.h"

#define PADDING_BYTES                                                                              \
    64u /* libfyaml 0.7 looks a byte past the end when it makes some diagnostics */

struct diagnostic {
    bool taken;
    uint32_t line, column;
    char message[256];
};

struct builder {
    struct tr_pool *pool;
    const char *name;
    const char *input; /* what libfyaml reads */
    size_t input_len;
    struct tr_node *root;
    struct tr_node *stack[TR_TREE_DEPTH_MAX];
    unsigned depth;
    uint32_t node_count;
    uint32_t document_count;
    struct tr_node *pending; /* a mapping's child whose key was read and whose value was not */
    uint32_t last_line, last_column;
};

const char *tr_tree_kind_name(const struct tr_node *node)
{
    switch (node->kind) {
    case TR_NODE_LIST:
        return "a list";
    case TR_NODE_MAPPING:
        return "a mapping";
    default:
        return node->null ? "nothing" : "a value";
    }
}

struct tr_node *tr_tree_find(const struct tr_node *mapping, const char *key)
{
    for (struct tr_node *node = mapping->first; node != NULL; node = node->next)
        if (node->key != NULL && strcmp(node->key, key) == 0)
            return node;
    return NULL;
}

static void take_diagnostic(struct fy_diag *diag, void *user, const char *buf, size_t len)
{
    struct diagnostic *first = user;
    static const char mark[] = ": error: ";
    (void)diag;
    if (first->taken || len == 0)
        return;
    const char *found = memmem(buf, len, mark, sizeof mark - 1);
    if (found == NULL)
        return;
    first->taken = true;
    const char *at = found;
    unsigned long numbers[2] = {0, 0};
    for (int i = 1; i >= 0; i--) { /* backwards over COLUMN, then LINE */
        const char *digits = at;
        while (digits > buf && digits[-1] >= '0' && digits[-1] <= '9')
            digits--;
        for (const char *p = digits; p < at && numbers[i] < 1000000; p++)
            numbers[i] = numbers[i] * 10 + (unsigned long)(*p - '0');
        at = digits > buf ? digits - 1 : buf;
    }
    first->line = (uint32_t)numbers[0];
    first->column = (uint32_t)numbers[1];
    const char *message = found + sizeof mark - 1;
    size_t size = len - (size_t)(message - buf);
    const char *end = memchr(message, '\n', size);
    if (end != NULL)
        size = (size_t)(end - message);
    (void)snprintf(first->message, sizeof first->message, "%.*s", (int)size, message);
}

/* Bytes of the UTF-8 sequence at ptr (which has len bytes), 0 when it is not one that YAML allows.
 */
static unsigned utf8_length(const unsigned char *ptr, size_t len)
{
    unsigned char c = ptr[0];
    if (c < 0x80)
        return c == '\t' || c == '\n' || c == '\r' || (c >= 0x20 && c != 0x7f) ? 1 : 0;
    unsigned size = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;
    if (c < 0xc2 || c > 0xf4 || len < size)
        return 0;
    uint32_t code = c & (0x7fu >> size);
    for (unsigned i = 1; i < size; i++) {
        if ((ptr[i] & 0xc0) != 0x80)
            return 0;
        code = code << 6 | (ptr[i] & 0x3fu);
    }
    if ((size == 3 && code < 0x800) || (size == 4 && code < 0x10000) || code > 0x10ffff)
        return 0;
    return (code >= 0xd800 && code <= 0xdfff) || code == 0xfffe || code == 0xffff ||
                   (code < 0xa0 && code != 0x85)
               ? 0
               : size;
}

/* "%YAML 1.2" and a line end. */
static bool is_version_line(const char *line, size_t len)
{
    return len >= 10 && memcmp(line, "%YAML 1.", 8) == 0 && line[8] >= '0' && line[8] <= '9' &&
           (line[9] == '\n' || line[9] == '\r');
}

/* Text that libfyaml shall see: valid characters, no directives but %YAML 1.x, bounded blank runs.
 */
static enum tr_status scan_text(const char *text, size_t len, const char *name,
                                struct tr_error *err)
{
    uint32_t line = 1, column = 1, blank_lines = 0;
    bool blank = true;
    for (size_t i = 0; i < len;) {
        unsigned size = utf8_length((const unsigned char *)text + i, len - i);
        if (size == 0) {
            (void)tr_fail(err, TR_E_CONFIG_SYNTAX,
                          "%s:%u:%u: byte 0x%02x is not text (UTF-8 without control characters is "
                          "expected)",
                          name, line, column, (unsigned char)text[i]);
            return tr_hint(err, "Save the file as UTF-8, or write the character as an escape in a "
                                "double-quoted value.");
        }
        if (column == 1 && text[i] == '%' && !is_version_line(text + i, len - i))
            return tr_fail(err, TR_E_CONFIG_REFUSED, "%s:%u:1: directives (%%) are not accepted",
                           name, line);
        if (text[i] == '\n' || text[i] == '\r') {
            if (text[i] == '\r' && i + 1 < len && text[i + 1] == '\n')
                i++;
            blank_lines = blank ? blank_lines + 1 : 0;
            if (blank_lines > TR_TREE_BLANK_LINES_MAX)
                return tr_fail(err, TR_E_CONFIG_LIMIT, "%s:%u:1: more than %u blank lines in a row",
                               name, line, TR_TREE_BLANK_LINES_MAX);
            line++;
            column = 1;
            blank = true;
        } else {
            blank = blank && (text[i] == ' ' || text[i] == '\t');
            column++;
        }
        i += size;
    }
    return TR_OK;
}

/* marked: begins with a quote or a *, which libfyaml's mark leaves out. */
static void note_place(struct builder *b, struct fy_event *event, bool marked)
{
    const struct fy_mark *mark = fy_event_start_mark(event);
    if (mark == NULL || mark->line < 0 || mark->column < 0)
        return; /* an absent value: its key's place is near enough */
    b->last_line = (uint32_t)mark->line + 1;
    b->last_column = (uint32_t)mark->column + 1;
    if (marked && b->last_column > 1)
        b->last_column--;
}

static enum tr_status refuse(const struct builder *b, const char *what, const char *hint,
                             struct tr_error *err)
{
    (void)tr_fail(err, TR_E_CONFIG_REFUSED, "%s:%u:%u: %s", b->name, b->last_line, b->last_column,
                  what);
    return tr_hint(err, "%s", hint);
}

static enum tr_status no_memory(struct tr_error *err)
{
    return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for the pipeline file");
}

static bool text_is_null(const char *text)
{
    return text[0] == '\0' || strcmp(text, "~") == 0 || strcmp(text, "null") == 0 ||
           strcmp(text, "Null") == 0 || strcmp(text, "NULL") == 0;
}

static struct tr_node *top(const struct builder *b)
{
    return b->depth > 0 ? b->stack[b->depth - 1] : NULL;
}

/* A new child of the innermost container, or the root. *out is the node whose value comes now. */
static enum tr_status add_node(struct builder *b, enum tr_node_kind kind, struct tr_node **out,
                               struct tr_error *err)
{
    struct tr_node *parent = top(b);
    struct tr_node *node = b->pending;
    if (++b->node_count > TR_TREE_NODES_MAX)
        return tr_fail(err, TR_E_CONFIG_LIMIT, "%s:%u:%u: more than %u values", b->name,
                       b->last_line, b->last_column, TR_TREE_NODES_MAX);
    if (node == NULL) {
        node = tr_pool_alloc(b->pool, sizeof *node);
        if (node == NULL)
            return no_memory(err);
        if (parent == NULL) {
            b->root = node;
        } else {
            if (parent->last != NULL)
                parent->last->next = node;
            else
                parent->first = node;
            parent->last = node;
            parent->child_count++;
        }
    }
    b->pending = NULL;
    node->kind = kind;
    node->null = false;
    node->text = NULL;
    node->line = b->last_line;
    node->column = b->last_column;
    *out = node;
    return TR_OK;
}

static enum tr_status open_container(struct builder *b, enum tr_node_kind kind,
                                     struct tr_error *err)
{
    struct tr_node *parent = top(b), *node = NULL;
    if (parent != NULL && parent->kind == TR_NODE_MAPPING && b->pending == NULL)
        return refuse(b, "a list or mapping cannot be a key here",
                      "Write the key as plain text: `key: value`.", err);
    if (b->depth == TR_TREE_DEPTH_MAX)
        return tr_fail(err, TR_E_CONFIG_LIMIT,
                       "%s:%u:%u: lists and mappings are nested deeper than %u", b->name,
                       b->last_line, b->last_column, TR_TREE_DEPTH_MAX);
    if (add_node(b, kind, &node, err) != TR_OK)
        return TR_FAIL;
    b->stack[b->depth++] = node;
    return TR_OK;
}

static enum tr_status add_key(struct builder *b, const char *text, struct tr_error *err)
{
    struct tr_node *mapping = top(b), *node;
    const struct tr_node *twin = tr_tree_find(mapping, text);
    if (twin != NULL) {
        (void)tr_fail(err, TR_E_CONFIG_DUPLICATE_KEY, "%s:%u:%u: key \"%.80s\" is given twice",
                      b->name, b->last_line, b->last_column, text);
        return tr_hint(err, "It is given first at %s:%u:%u; remove one of them.", b->name,
                       twin->key_line, twin->key_column);
    }
    if (text[0] == '\0')
        return tr_fail(err, TR_E_CONFIG_SYNTAX, "%s:%u:%u: a key is expected before \":\"", b->name,
                       b->last_line, b->last_column);
    if (add_node(b, TR_NODE_SCALAR, &node, err) != TR_OK)
        return TR_FAIL;
    node->key = text;
    node->key_line = b->last_line;
    node->key_column = b->last_column;
    node->text = "";
    node->null = true;
    b->pending = node;
    return TR_OK;
}

/* Quoted scalars are read here from the input, because libfyaml 0.7 gives wrong texts for some: for
 * '' followed by '', and for \\ before an escaped line end. */
static char *scalar_text(const struct builder *b, struct fy_event *event,
                         enum fy_scalar_style style, size_t *len)
{
    if (style != FYSS_SINGLE_QUOTED && style != FYSS_DOUBLE_QUOTED) {
        const char *raw = fy_token_get_text(event->scalar.value, len);
        if (raw == NULL)
            return NULL;
        *len = strnlen(raw, *len); /* an empty block at the input's end comes as one NUL */
        return tr_pool_strndup(b->pool, raw, *len);
    }
    const struct fy_mark *mark = fy_event_start_mark(event);
    char quote = style == FYSS_SINGLE_QUOTED ? '\'' : '"';
    if (mark == NULL || mark->input_pos == 0 || mark->input_pos > b->input_len ||
        b->input[mark->input_pos - 1] != quote)
        return NULL;
    return tr_quoted_text(b->pool, quote, b->input + mark->input_pos, b->input + b->input_len, len);
}

static enum tr_status add_scalar(struct builder *b, struct fy_event *event, struct tr_error *err)
{
    enum fy_scalar_style style = fy_token_scalar_style(event->scalar.value);
    size_t len = 0;
    char *text = scalar_text(b, event, style, &len);
    if (text == NULL)
        return tr_fail(err, TR_E_CONFIG_SYNTAX, "%s:%u:%u: the value could not be read", b->name,
                       b->last_line, b->last_column);
    if (len > 0 && memchr(text, '\0', len) != NULL)
        return refuse(b, "the value holds a NUL character", "Remove the \\0 escape.", err);
    for (size_t i = 0; i < len;) { /* escapes can make what the text itself may not hold */
        unsigned char c = (unsigned char)text[i];
        unsigned size = c < 0x80 ? 1 : utf8_length((const unsigned char *)text + i, len - i);
        if (size == 0)
            return refuse(b, "the value's escapes do not make valid UTF-8 text",
                          "Check its \\x and \\u escapes.", err);
        i += size;
    }
    struct tr_node *parent = top(b), *node;
    if (parent != NULL && parent->kind == TR_NODE_MAPPING && b->pending == NULL)
        return add_key(b, text, err);
    if (add_node(b, TR_NODE_SCALAR, &node, err) != TR_OK)
        return TR_FAIL;
    node->text = text;
    node->plain = style == FYSS_PLAIN || style == FYSS_ANY;
    node->null = node->plain && text_is_null(text);
    return TR_OK;
}

static enum tr_status take_event(struct builder *b, struct fy_event *event, struct tr_error *err)
{
    static const char alias_hint[] = "Write the value out where it is needed.";
    struct fy_token *anchor = NULL, *tag = NULL;
    switch (event->type) {
    case FYET_SCALAR:
        anchor = event->scalar.anchor;
        tag = event->scalar.tag;
        break;
    case FYET_SEQUENCE_START:
        anchor = event->sequence_start.anchor;
        tag = event->sequence_start.tag;
        break;
    case FYET_MAPPING_START:
        anchor = event->mapping_start.anchor;
        tag = event->mapping_start.tag;
        break;
    default:
        break;
    }
    enum fy_scalar_style style =
        event->type == FYET_SCALAR ? fy_token_scalar_style(event->scalar.value) : FYSS_PLAIN;
    note_place(b, event,
               style == FYSS_SINGLE_QUOTED || style == FYSS_DOUBLE_QUOTED ||
                   event->type == FYET_ALIAS);
    if (anchor != NULL)
        return refuse(b, "anchors (&name) are not accepted", alias_hint, err);
    if (tag != NULL)
        return refuse(b, "tags (!name) are not accepted",
                      "Leave the tag out; the option's type decides how the value is read.", err);
    switch (event->type) {
    case FYET_ALIAS:
        return refuse(b, "aliases (*name) are not accepted",
                      "Write the value out where it is needed, or quote a text that begins with *.",
                      err);
    case FYET_DOCUMENT_START:
        if (b->document_count++ > 0)
            return refuse(b, "a second document begins here; one file holds one pipeline",
                          "Put the other document into a file of its own.", err);
        return TR_OK;
    case FYET_MAPPING_START:
        return open_container(b, TR_NODE_MAPPING, err);
    case FYET_SEQUENCE_START:
        return open_container(b, TR_NODE_LIST, err);
    case FYET_MAPPING_END:
    case FYET_SEQUENCE_END:
        if (b->depth > 0)
            b->depth--;
        b->pending = NULL;
        return TR_OK;
    case FYET_SCALAR:
        return add_scalar(b, event, err);
    default:
        return TR_OK;
    }
}

static enum tr_status syntax_error(const struct builder *b, const struct diagnostic *first,
                                   const char *text, size_t len, struct tr_error *err)
{
    uint32_t line = first->line > 0 ? first->line : b->last_line;
    uint32_t column = first->line > 0 ? first->column : b->last_column;
    (void)tr_fail(err, TR_E_CONFIG_SYNTAX, "%s:%u:%u: %s", b->name, line, column,
                  first->message[0] != '\0' ? first->message : "this is not valid YAML");
    const char *at = text;
    uint32_t tab_line = 0;
    for (uint32_t number = 1; at != NULL && at < text + len; number++) {
        size_t rest = len - (size_t)(at - text), indent = 0;
        while (indent < rest && at[indent] == ' ')
            indent++;
        if (indent < rest && at[indent] == '\t' && number >= line && number <= line + 1)
            tab_line = number;
        at = memchr(at, '\n', rest);
        at = at == NULL ? NULL : at + 1;
    }
    if (tab_line > 0)
        return tr_hint(err, "Line %u is indented with a tab; YAML wants spaces.", tab_line);
    if (strstr(first->message, "JSON") != NULL)
        return tr_hint(err, "A file named *.json is read as strict JSON: names and texts in double "
                            "quotes, no comments, no comma at the end.");
    if (strstr(first->message, "nested block mapping") != NULL)
        return tr_hint(err, "A value that holds \": \" has to be in quotes.");
    if (strstr(first->message, "cannot start with") != NULL)
        return tr_hint(err, "Put the value in single quotes.");
    return tr_hint(err, "Expected is YAML 1.2 or JSON: `key: value` lines, indented with spaces; "
                        "values with special characters in single quotes.");
}

static enum tr_status read_events(struct builder *b, struct fy_parser *parser,
                                  const struct diagnostic *first, const char *text, size_t len,
                                  struct tr_error *err)
{
    enum tr_status status = TR_OK;
    bool ended = false;
    while (status == TR_OK && !ended) {
        struct fy_event *event = fy_parser_parse(parser);
        if (event == NULL)
            break;
        ended = event->type == FYET_STREAM_END;
        status = take_event(b, event, err);
        fy_parser_event_free(parser, event);
    }
    if (status == TR_OK && (!ended || fy_parser_get_stream_error(parser) || first->taken))
        return syntax_error(b, first, text, len, err);
    return status;
}

static bool ends_with(const char *string, const char *end)
{
    size_t len = strlen(string), end_len = strlen(end);
    return len >= end_len && strcmp(string + len - end_len, end) == 0;
}

enum tr_status tr_tree_parse(struct tr_pool *pool, const char *text, size_t len, const char *name,
                             struct tr_node **root, struct tr_error *err)
{
    struct builder b = {.pool = pool, .name = name, .last_line = 1, .last_column = 1};
    struct diagnostic first = {0};
    struct fy_diag *diag = NULL;
    struct fy_parser *parser = NULL;
    enum tr_status status = TR_FAIL;
    if (len > TR_TREE_BYTES_MAX)
        return tr_fail(err, TR_E_CONFIG_LIMIT, "%s:1:1: the file is larger than %u bytes", name,
                       TR_TREE_BYTES_MAX);
    if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) {
        text += 3;
        len -= 3;
    }
    if (scan_text(text, len, name, err) != TR_OK)
        return TR_FAIL;
    /* in the pool, so that it is wiped, and zeroed behind its end */
    char *copy = tr_pool_alloc(pool, len + PADDING_BYTES);
    if (copy == NULL)
        return no_memory(err);
    if (len > 0)
        memcpy(copy, text, len);
    text = copy;
    b.input = text;
    b.input_len = len;
    struct fy_diag_cfg diag_cfg;
    fy_diag_cfg_default(&diag_cfg);
    diag_cfg.fp = NULL;
    diag_cfg.output_fn = take_diagnostic;
    diag_cfg.user = &first;
    diag_cfg.level = FYET_ERROR;
    diag_cfg.colorize = false;
    diag = fy_diag_create(&diag_cfg);
    struct fy_parse_cfg cfg = {
        .search_path = "",
        .flags = FYPCF_DEFAULT_VERSION_1_2 | FYPCF_DISABLE_MMAP_OPT |
                 (ends_with(name, ".json") ? FYPCF_JSON_FORCE : FYPCF_JSON_NONE),
        .diag = diag,
    };
    parser = diag == NULL ? NULL : fy_parser_create(&cfg);
    if (parser == NULL ||
        fy_parser_set_string(parser, len > 0 ? text : " ", len > 0 ? len : 1) != 0) {
        status = no_memory(err);
        goto cleanup;
    }
    status = read_events(&b, parser, &first, text, len, err);
    if (status == TR_OK && (b.root == NULL || (b.root->kind == TR_NODE_SCALAR && b.root->null))) {
        b.root = tr_pool_alloc(pool, sizeof *b.root);
        if (b.root == NULL) {
            status = no_memory(err);
            goto cleanup;
        }
        b.root->kind = TR_NODE_MAPPING;
        b.root->line = b.root->column = 1;
    }
    if (status == TR_OK)
        *root = b.root;
cleanup:
    fy_parser_destroy(parser);
    fy_diag_destroy(diag);
    return status;
}
