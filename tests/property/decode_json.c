/* Random JSON, whole and damaged: the reader takes and refuses what jansson does, and sees the same
 * values. Where they differ by rule it is said below. TEST_SEED repeats a run. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/outbuf.h"
#include "decode/json_number.h"
#include "decode/json_reader.h"

#define WHOLE_RUNS 20000
#define DAMAGED_RUNS 100000
#define DEPTH_MAX 6

static uint64_t seed;

static uint64_t next(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

static unsigned below(unsigned bound) { return (unsigned)(next() % bound); }

static void put_space(struct tr_outbuf *out)
{
    while (below(8) == 0)
        tr_outbuf_byte(out, " \t\n\r"[below(4)]);
}

static void put_string(struct tr_outbuf *out)
{
    static const char *const parts[] = {"a",
                                        "bc",
                                        "12345678",
                                        " ",
                                        "\\\"",
                                        "\\\\",
                                        "\\/",
                                        "\\b",
                                        "\\f",
                                        "\\n",
                                        "\\r",
                                        "\\t",
                                        "\\u0041",
                                        "\\u00e9",
                                        "\\u20AC",
                                        "\\ud83d\\ude00",
                                        "\xc3\xa9",
                                        "\xe2\x82\xac",
                                        "\xf0\x9f\x98\x80",
                                        "\x7f",
                                        "{",
                                        "}",
                                        "[",
                                        "]",
                                        ":",
                                        ",",
                                        "'"};
    tr_outbuf_byte(out, '"');
    for (unsigned i = below(6); i > 0; i--)
        tr_outbuf_str(out, parts[below(sizeof parts / sizeof parts[0])]);
    tr_outbuf_byte(out, '"');
}

static void put_number(struct tr_outbuf *out)
{
    static const char *const numbers[] = {
        "0",   "-0",   "1",    "-1",      "12",    "9223372036854775807", "0.5", "-0.0",
        "1e5", "1E+2", "2e-3", "123.456", "1.5e10"};
    tr_outbuf_str(out, numbers[below(sizeof numbers / sizeof numbers[0])]);
}

static void put_value(struct tr_outbuf *out, int depth)
{
    static const char *const words[] = {"true", "false", "null"};
    unsigned kind = below(depth >= DEPTH_MAX ? 4 : 8);
    put_space(out);
    if (kind == 0) {
        tr_outbuf_str(out, words[below(3)]);
    } else if (kind == 1) {
        put_number(out);
    } else if (kind <= 3) {
        put_string(out);
    } else {
        bool is_object = kind >= 6;
        tr_outbuf_byte(out, is_object ? '{' : '[');
        unsigned count = below(5);
        for (unsigned i = 0; i < count; i++) {
            if (i > 0)
                tr_outbuf_byte(out, ',');
            if (is_object) {
                put_space(out);
                put_string(out);
                put_space(out);
                tr_outbuf_byte(out, ':');
            }
            put_value(out, depth + 1);
        }
        put_space(out);
        tr_outbuf_byte(out, is_object ? '}' : ']');
    }
    put_space(out);
}

static void agree_string(const struct tr_json_node *node, const char *text, size_t len)
{
    char *own = malloc((size_t)node->len + 1);
    assert_non_null(own);
    assert_int_equal(tr_json_unescape(node, own), len);
    assert_memory_equal(own, text, len);
    assert_true(tr_json_equal(node, text, len));
    free(own);
}

static void agree(const struct tr_json_doc *doc, const struct tr_json_node *node,
                  const json_t *other);

static void agree_object(const struct tr_json_doc *doc, const struct tr_json_node *node,
                         const json_t *other)
{
    const char *name;
    json_t *value;
    assert_true(node->count >= json_object_size(other)); /* repeated names count here */
    json_object_foreach((json_t *)(uintptr_t)other, name, value)
    {
        const struct tr_json_node *own = tr_json_member(doc, node, name);
        assert_non_null(own);
        agree(doc, own, value);
    }
}

static void agree_number(const struct tr_json_node *node, const json_t *other)
{
    struct tr_number number;
    int64_t value;
    assert_int_equal(node->kind, TR_JSON_NUMBER);
    assert_true(tr_number_parse(node->ptr, node->len, &number));
    assert_int_equal((node->flags & TR_JSON_INTEGER) != 0, json_is_integer(other));
    if (json_is_integer(other)) {
        assert_true(tr_number_int64(&number, &value) && value == json_integer_value(other));
        return;
    }
    char text[TR_NUMBER_TEXT_BYTES + 1];
    size_t len;
    assert_true(tr_number_double(&number, false, text, &len, NULL));
    text[len] = '\0';
    assert_true(strtod(text, NULL) == json_real_value(other));
}

static void agree(const struct tr_json_doc *doc, const struct tr_json_node *node,
                  const json_t *other)
{
    const struct tr_json_node *element = node + 1;
    switch (json_typeof(other)) {
    case JSON_OBJECT:
        assert_int_equal(node->kind, TR_JSON_OBJECT);
        agree_object(doc, node, other);
        break;
    case JSON_ARRAY:
        assert_int_equal(node->kind, TR_JSON_ARRAY);
        assert_int_equal(node->count, json_array_size(other));
        for (uint32_t i = 0; i < node->count; i++) {
            agree(doc, element, json_array_get(other, i));
            element = &doc->nodes[element->next];
        }
        break;
    case JSON_STRING:
        assert_int_equal(node->kind, TR_JSON_STRING);
        agree_string(node, json_string_value(other), json_string_length(other));
        break;
    case JSON_INTEGER:
    case JSON_REAL:
        agree_number(node, other);
        break;
    default:
        assert_int_equal(node->kind, json_is_true(other)    ? TR_JSON_TRUE
                                     : json_is_false(other) ? TR_JSON_FALSE
                                                            : TR_JSON_NULL);
    }
}

static void test_whole(void **state)
{
    (void)state;
    struct tr_json_doc doc = {0};
    struct tr_outbuf text = {0};
    for (int i = 0; i < WHOLE_RUNS; i++) {
        tr_outbuf_clear(&text);
        put_value(&text, 0);
        json_error_t error;
        json_t *other = json_loadb(text.data, text.len, JSON_DECODE_ANY, &error);
        assert_non_null(other);
        if (!tr_json_parse(&doc, (struct tr_slice){text.data, text.len}, TR_JSON_DEPTH_ALL))
            fail_msg("%s at %zu: %.*s", doc.reason, doc.offset, (int)text.len, text.data);
        assert_int_equal(doc.nodes[0].next, doc.node_count);
        agree(&doc, &doc.nodes[0], other);
        json_decref(other);
    }
    tr_outbuf_free(&text);
    tr_json_doc_free(&doc);
}

static void damage(struct tr_outbuf *text)
{
    static const char bytes[] =
        "{}[]:,\"\\u0123456789abcdefEe+-.tfn \n\t\x01\x7f\x80\xc3\xe2\xed\xf0\xff/";
    for (unsigned i = 1 + below(3); i > 0 && text->len > 0; i--) {
        size_t at = below((unsigned)text->len);
        switch (below(3)) {
        case 0:
            text->data[at] = bytes[below(sizeof bytes - 1)];
            break;
        case 1:
            memmove(text->data + at, text->data + at + 1, text->len - at - 1);
            text->len--;
            break;
        default:
            text->len = at;
        }
    }
}

/* jansson refuses what we keep as text: integers beyond 64 bits and reals beyond binary64. */
static bool jansson_takes_less(const json_error_t *error)
{
    return json_error_code(error) == json_error_numeric_overflow ||
           json_error_code(error) == json_error_null_character ||
           json_error_code(error) == json_error_null_byte_in_key;
}

static void test_damaged(void **state)
{
    (void)state;
    struct tr_json_doc doc = {0};
    struct tr_outbuf text = {0};
    int taken = 0;
    for (int i = 0; i < DAMAGED_RUNS; i++) {
        tr_outbuf_clear(&text);
        put_value(&text, 0);
        damage(&text);
        char *exact = malloc(text.len + 1);
        assert_non_null(exact);
        memcpy(exact + 1, text.data, text.len);
        json_error_t error;
        json_t *other = json_loadb(exact + 1, text.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);
        bool own = tr_json_parse(&doc, (struct tr_slice){exact + 1, text.len}, TR_JSON_DEPTH_ALL);
        if (own != (other != NULL) && !(own && jansson_takes_less(&error)))
            fail_msg("we %s, jansson %s (%s): %.*s", own ? "take" : doc.reason,
                     other != NULL ? "takes" : "refuses", error.text, (int)text.len, exact + 1);
        taken += own;
        json_decref(other);
        free(exact);
    }
    assert_true(taken > 0 && taken < DAMAGED_RUNS);
    tr_outbuf_free(&text);
    tr_json_doc_free(&doc);
}

int main(void)
{
    const char *given = getenv("TEST_SEED");
    seed = given != NULL ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
    print_message("TEST_SEED=%llu\n", (unsigned long long)seed);
    seed = seed * UINT64_C(0x9E3779B97F4A7C15) | 1;
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_whole),
                                       cmocka_unit_test(test_damaged)};
    return cmocka_run_group_tests_name("property_decode_json", tests, NULL, NULL);
}
