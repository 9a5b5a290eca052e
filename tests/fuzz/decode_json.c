/* The JSON reader on any bytes: every node lies within the text, what is kept less is judged alike,
 * and each piece of the text is itself JSON. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "decode/json_number.h"
#include "decode/json_reader.h"
#include "decode/json_time.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool good)
{
    if (!good)
        abort();
}

static void check_number(struct tr_slice text)
{
    struct tr_number number;
    char out[TR_NUMBER_TEXT_BYTES];
    size_t len;
    if (!tr_number_parse(text.ptr, text.len, &number))
        return;
    int64_t value;
    (void)tr_number_int64(&number, &value);
    if (tr_number_double(&number, false, out, &len, NULL))
        require(len <= sizeof out);
    if (tr_number_double(&number, true, out, &len, NULL))
        require(len <= sizeof out);
    size_t room = tr_number_decimal_bytes(&number, -1);
    char *decimal = malloc(room + 1);
    require(decimal != NULL);
    if (room > 0)
        require(tr_number_decimal(&number, -1, decimal) <= room);
    free(decimal);
}

static void check_time(struct tr_slice text)
{
    struct tr_moment moment, back;
    char out[TR_TIME_TEXT_BYTES];
    if (!tr_moment_parse(text.ptr, text.len, &moment))
        return;
    (void)tr_moment_us(&moment);
    (void)tr_moment_date(&moment, out);
    (void)tr_moment_time(&moment, out);
    size_t len = tr_moment_timestamp(&moment, true, out);
    if (len > 0)
        require(tr_moment_parse(out, len, &back) && tr_moment_us(&back) == tr_moment_us(&moment));
}

static void check_node(const struct tr_json_doc *doc, const struct tr_json_node *node,
                       struct tr_slice all)
{
    struct tr_slice text = tr_json_text(node);
    require(text.ptr >= all.ptr && text.ptr + text.len <= all.ptr + all.len);
    require(node->next > (uint32_t)(node - doc->nodes) && node->next <= doc->node_count);
    if (node->kind == TR_JSON_NUMBER)
        check_number(text);
    if (node->kind != TR_JSON_STRING)
        return;
    char *out = malloc((size_t)node->len + 1);
    require(out != NULL);
    size_t len = tr_json_unescape(node, out);
    require(len <= node->len && tr_json_equal(node, out, len));
    require(tr_utf8_valid(out, len) == ((node->flags & TR_JSON_NUL) == 0));
    free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct tr_json_doc doc, part;
    struct tr_slice text = {(const char *)data, size};
    check_number(text);
    check_time(text);
    bool good = tr_json_parse(&doc, text, TR_JSON_DEPTH_ALL);
    require(tr_json_parse(&part, text, 1) == good);
    if (!good) {
        require(doc.reason != NULL && doc.offset <= size);
        return 0;
    }
    require(doc.nodes[0].next == doc.node_count);
    for (uint32_t i = 0; i < doc.node_count; i++)
        check_node(&doc, &doc.nodes[i], text);
    struct tr_slice last = tr_json_text(&doc.nodes[doc.node_count - 1]);
    require(tr_json_parse(&part, last, TR_JSON_DEPTH_ALL));
    return 0;
}
