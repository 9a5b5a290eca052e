/* See the header. */
#include "decode/avro_schema.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define ARENA_BLOCK_BYTES (16u << 10)
#define DECIMAL_PRECISION_MAX 100000

struct named {
    const char *full; /* with namespace */
    const struct tr_avro_node *node;
};
struct parser {
    struct tr_avro_schema *schema;
    struct named *names;
    size_t name_count, node_count;
    const char *reason;
    bool no_memory;
};

static const struct tr_avro_node *parse(struct parser *parser, const json_t *json,
                                        const char *namespace, unsigned depth);

static void *take(struct parser *parser, size_t bytes)
{
    void *ptr = tr_arena_alloc(&parser->schema->arena, bytes == 0 ? 1 : bytes, 16);
    if (ptr == NULL)
        parser->no_memory = true;
    else
        memset(ptr, 0, bytes);
    return ptr;
}

static char *copy(struct parser *parser, const char *text)
{
    char *made = tr_arena_strdup(&parser->schema->arena, text);
    if (made == NULL)
        parser->no_memory = true;
    return made;
}

static void *bad(struct parser *parser, const char *reason)
{
    if (parser->reason == NULL)
        parser->reason = reason;
    return NULL;
}

static struct tr_avro_node *node_new(struct parser *parser, enum tr_avro_kind kind,
                                     enum tr_type type)
{
    if (parser->node_count++ == TR_AVRO_NODES_MAX)
        return bad(parser, "the schema has too many parts");
    struct tr_avro_node *node = take(parser, sizeof *node);
    if (node == NULL)
        return NULL;
    node->kind = (uint8_t)kind;
    node->type = type;
    node->precision = -1;
    return node;
}

/* ---- names ---------------------------------------------------------------------------------- */

/* "a.b.C" or C within a namespace → the full name, in the arena. */
static const char *full_name(struct parser *parser, const char *name, const char *namespace)
{
    if (strchr(name, '.') != NULL || namespace[0] == '\0')
        return copy(parser, name);
    size_t space = strlen(namespace), len = strlen(name);
    char *full = take(parser, space + len + 2);
    if (full == NULL)
        return NULL;
    memcpy(full, namespace, space);
    full[space] = '.';
    memcpy(full + space + 1, name, len + 1);
    return full;
}

static const struct tr_avro_node *find_named(const struct parser *parser, const char *full)
{
    for (size_t i = 0; i < parser->name_count; i++) {
        if (strcmp(parser->names[i].full, full) == 0)
            return parser->names[i].node;
    }
    return NULL;
}

/* Before its fields are read, so that they can name it. *namespace becomes that of its parts. */
static bool give_name(struct parser *parser, const json_t *json, struct tr_avro_node *node,
                      const char **namespace)
{
    const char *name = json_string_value(json_object_get(json, "name"));
    const char *own = json_string_value(json_object_get(json, "namespace"));
    if (name == NULL || name[0] == '\0')
        return bad(parser, "a named type has no name") != NULL;
    const char *full = full_name(parser, name, own != NULL ? own : *namespace);
    if (full == NULL)
        return false;
    if (find_named(parser, full) != NULL)
        return bad(parser, "two types have the same name") != NULL;
    if (parser->name_count == TR_AVRO_NAMES_MAX)
        return bad(parser, "the schema has too many named types") != NULL;
    parser->names[parser->name_count++] = (struct named){full, node};
    const char *dot = strrchr(full, '.');
    node->name = dot == NULL ? full : dot + 1;
    char *space = copy(parser, full);
    if (space == NULL)
        return false;
    space[dot == NULL ? 0 : (size_t)(dot - full)] = '\0';
    *namespace = space;
    return true;
}

/* ---- logical types -------------------------------------------------------------------------- */

static void set_time(struct tr_avro_node *node, enum tr_type type, int64_t per_second)
{
    node->type = type;
    node->per_second = per_second;
    if (type != TR_T_DATE)
        node->precision = per_second == 1000 ? 3 : 6;
}

static bool set_decimal(struct tr_avro_node *node, const json_t *json)
{
    const json_t *precision = json_object_get(json, "precision");
    const json_t *scale = json_object_get(json, "scale");
    json_int_t digits = json_integer_value(precision), point = json_integer_value(scale);
    if (digits < 1 || digits > DECIMAL_PRECISION_MAX || point < 0 || point > digits)
        return false; /* as Avro says: a wrong logical type is none */
    node->type = TR_T_DECIMAL;
    node->precision = (int32_t)digits;
    node->scale = (int32_t)point;
    return true;
}

static const struct {
    const char *name;
    enum tr_avro_kind kind;
    enum tr_type type;
    int64_t per_second;
} meanings[] = {
    {"io.debezium.time.Date", TR_AVRO_INT, TR_T_DATE, 1},
    {"io.debezium.time.Time", TR_AVRO_INT, TR_T_TIME, 1000},
    {"io.debezium.time.MicroTime", TR_AVRO_LONG, TR_T_TIME, 1000000},
    {"io.debezium.time.NanoTime", TR_AVRO_LONG, TR_T_TIME, 1000000000},
    {"io.debezium.time.Timestamp", TR_AVRO_LONG, TR_T_TIMESTAMP, 1000},
    {"io.debezium.time.MicroTimestamp", TR_AVRO_LONG, TR_T_TIMESTAMP, 1000000},
    {"io.debezium.time.NanoTimestamp", TR_AVRO_LONG, TR_T_TIMESTAMP, 1000000000},
    {"io.debezium.time.ZonedTimestamp", TR_AVRO_STRING, TR_T_TIMESTAMPTZ, 0},
    {"io.debezium.data.Json", TR_AVRO_STRING, TR_T_JSON, 0},
    {"io.debezium.data.Uuid", TR_AVRO_STRING, TR_T_UUID, 0},
    {"io.debezium.data.Xml", TR_AVRO_STRING, TR_T_XML, 0},
    {"date", TR_AVRO_INT, TR_T_DATE, 1},
    {"time-millis", TR_AVRO_INT, TR_T_TIME, 1000},
    {"time-micros", TR_AVRO_LONG, TR_T_TIME, 1000000},
    {"timestamp-millis", TR_AVRO_LONG, TR_T_TIMESTAMPTZ, 1000},
    {"timestamp-micros", TR_AVRO_LONG, TR_T_TIMESTAMPTZ, 1000000},
    {"timestamp-nanos", TR_AVRO_LONG, TR_T_TIMESTAMPTZ, 1000000000},
    {"local-timestamp-millis", TR_AVRO_LONG, TR_T_TIMESTAMP, 1000},
    {"local-timestamp-micros", TR_AVRO_LONG, TR_T_TIMESTAMP, 1000000},
    {"local-timestamp-nanos", TR_AVRO_LONG, TR_T_TIMESTAMP, 1000000000},
    {"uuid", TR_AVRO_STRING, TR_T_UUID, 0},
};

static bool set_meaning(struct tr_avro_node *node, const char *name)
{
    for (size_t i = 0; name != NULL && i < sizeof meanings / sizeof meanings[0]; i++) {
        if (meanings[i].kind != node->kind || strcmp(meanings[i].name, name) != 0)
            continue;
        node->type = meanings[i].type;
        if (meanings[i].per_second > 0)
            set_time(node, meanings[i].type, meanings[i].per_second);
        return true;
    }
    return false;
}

static void set_logical(struct tr_avro_node *node, const json_t *json)
{
    const char *logical = json_string_value(json_object_get(json, "logicalType"));
    if (set_meaning(node, json_string_value(json_object_get(json, "connect.name"))))
        return;
    if (logical != NULL && strcmp(logical, "decimal") == 0 &&
        (node->kind == TR_AVRO_BYTES || node->kind == TR_AVRO_FIXED))
        (void)set_decimal(node, json);
    else
        (void)set_meaning(node, logical);
}

/* ---- types ---------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    enum tr_avro_kind kind;
    enum tr_type type;
} primitives[] = {
    {"null", TR_AVRO_NULL, TR_T_OTHER},     {"boolean", TR_AVRO_BOOLEAN, TR_T_BOOLEAN},
    {"int", TR_AVRO_INT, TR_T_INT32},       {"long", TR_AVRO_LONG, TR_T_INT64},
    {"float", TR_AVRO_FLOAT, TR_T_FLOAT32}, {"double", TR_AVRO_DOUBLE, TR_T_FLOAT64},
    {"bytes", TR_AVRO_BYTES, TR_T_BYTES},   {"string", TR_AVRO_STRING, TR_T_STRING},
};

static const struct tr_avro_node *parse_word(struct parser *parser, const char *word,
                                             const char *namespace, const json_t *json)
{
    for (size_t i = 0; i < sizeof primitives / sizeof primitives[0]; i++) {
        if (strcmp(primitives[i].name, word) != 0)
            continue;
        struct tr_avro_node *node = node_new(parser, primitives[i].kind, primitives[i].type);
        if (node != NULL && json != NULL)
            set_logical(node, json);
        return node;
    }
    const char *full = full_name(parser, word, namespace);
    const struct tr_avro_node *node = full == NULL ? NULL : find_named(parser, full);
    if (node == NULL && full != NULL)
        node = find_named(parser, word);
    return node != NULL ? node : bad(parser, "a type is not known");
}

static const struct tr_avro_node *parse_record(struct parser *parser, const json_t *json,
                                               const char *namespace, unsigned depth)
{
    const json_t *fields = json_object_get(json, "fields");
    struct tr_avro_node *node = node_new(parser, TR_AVRO_RECORD, TR_T_JSON);
    if (node == NULL || !give_name(parser, json, node, &namespace))
        return NULL;
    if (!json_is_array(fields) || json_array_size(fields) > TR_AVRO_NODES_MAX)
        return bad(parser, "a record has no fields");
    struct tr_avro_field *made = take(parser, json_array_size(fields) * sizeof *made);
    if (made == NULL)
        return NULL;
    for (size_t i = 0; i < json_array_size(fields); i++) {
        const json_t *field = json_array_get(fields, i);
        const char *name = json_string_value(json_object_get(field, "name"));
        if (name == NULL || name[0] == '\0')
            return bad(parser, "a record's field has no name");
        made[i].name = copy(parser, name);
        made[i].node = parse(parser, json_object_get(field, "type"), namespace, depth + 1);
        if (made[i].name == NULL || made[i].node == NULL)
            return NULL;
    }
    node->fields = made;
    node->count = (uint32_t)json_array_size(fields);
    return node;
}

static const struct tr_avro_node *parse_enum(struct parser *parser, const json_t *json,
                                             const char *namespace)
{
    const json_t *symbols = json_object_get(json, "symbols");
    struct tr_avro_node *node = node_new(parser, TR_AVRO_ENUM, TR_T_STRING);
    if (node == NULL || !give_name(parser, json, node, &namespace))
        return NULL;
    if (!json_is_array(symbols) || json_array_size(symbols) > TR_AVRO_NODES_MAX)
        return bad(parser, "an enum has no symbols");
    const char **made = take(parser, json_array_size(symbols) * sizeof *made);
    for (size_t i = 0; made != NULL && i < json_array_size(symbols); i++) {
        const char *symbol = json_string_value(json_array_get(symbols, i));
        if (symbol == NULL)
            return bad(parser, "an enum's symbol is not a string");
        if ((made[i] = copy(parser, symbol)) == NULL)
            return NULL;
    }
    node->symbols = made;
    node->count = (uint32_t)json_array_size(symbols);
    return made == NULL ? NULL : node;
}

static const struct tr_avro_node *parse_fixed(struct parser *parser, const json_t *json,
                                              const char *namespace)
{
    json_int_t size = json_integer_value(json_object_get(json, "size"));
    struct tr_avro_node *node = node_new(parser, TR_AVRO_FIXED, TR_T_BYTES);
    if (node == NULL || !give_name(parser, json, node, &namespace))
        return NULL;
    if (!json_is_integer(json_object_get(json, "size")) || size < 0 || size > INT32_MAX)
        return bad(parser, "a fixed type has no size");
    node->size = (uint32_t)size;
    set_logical(node, json);
    return node;
}

static const struct tr_avro_node *parse_parts(struct parser *parser, enum tr_avro_kind kind,
                                              const json_t *const *parts, size_t count,
                                              const char *namespace, unsigned depth)
{
    struct tr_avro_node *node = node_new(parser, kind, TR_T_JSON);
    struct tr_avro_field *made = take(parser, count * sizeof *made);
    if (node == NULL || made == NULL)
        return NULL;
    for (size_t i = 0; i < count; i++) {
        made[i].node = parse(parser, parts[i], namespace, depth + 1);
        if (made[i].node == NULL)
            return NULL;
        if (kind == TR_AVRO_UNION && made[i].node->kind == TR_AVRO_UNION)
            return bad(parser, "a union is directly within a union");
    }
    node->fields = made;
    node->count = (uint32_t)count;
    return node;
}

static const struct tr_avro_node *parse_object(struct parser *parser, const json_t *json,
                                               const char *namespace, unsigned depth)
{
    const json_t *type = json_object_get(json, "type");
    const char *word = json_string_value(type);
    if (word == NULL)
        return type == NULL ? bad(parser, "a type is not named")
                            : parse(parser, type, namespace, depth + 1);
    if (strcmp(word, "record") == 0 || strcmp(word, "error") == 0)
        return parse_record(parser, json, namespace, depth);
    if (strcmp(word, "enum") == 0)
        return parse_enum(parser, json, namespace);
    if (strcmp(word, "fixed") == 0)
        return parse_fixed(parser, json, namespace);
    if (strcmp(word, "array") == 0 || strcmp(word, "map") == 0) {
        bool array = word[0] == 'a';
        const json_t *part = json_object_get(json, array ? "items" : "values");
        return parse_parts(parser, array ? TR_AVRO_ARRAY : TR_AVRO_MAP, &part, 1, namespace, depth);
    }
    return parse_word(parser, word, namespace, json);
}

static const struct tr_avro_node *parse(struct parser *parser, const json_t *json,
                                        const char *namespace, unsigned depth)
{
    const json_t *branches[TR_AVRO_BRANCHES_MAX];
    if (depth > TR_AVRO_DEPTH_MAX)
        return bad(parser, "the schema is nested too deep");
    if (json_is_string(json))
        return parse_word(parser, json_string_value(json), namespace, NULL);
    if (json_is_object(json))
        return parse_object(parser, json, namespace, depth);
    if (!json_is_array(json) || json_array_size(json) == 0 ||
        json_array_size(json) > TR_AVRO_BRANCHES_MAX)
        return bad(parser, "a type is neither a name, an object nor a union");
    for (size_t i = 0; i < json_array_size(json); i++)
        branches[i] = json_array_get(json, i);
    return parse_parts(parser, TR_AVRO_UNION, branches, json_array_size(json), namespace, depth);
}

bool tr_avro_schema_parse(const char *text, struct tr_avro_schema **out, const char **reason)
{
    struct parser parser = {0};
    size_t len = strlen(text);
    *out = NULL;
    *reason = "the schema is too large";
    if (len > TR_AVRO_SCHEMA_BYTES_MAX)
        return false;
    *reason = "the schema is not JSON";
    json_t *json = json_loadb(text, len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    if (json == NULL)
        return false;
    parser.schema = calloc(1, sizeof *parser.schema);
    parser.names = calloc(TR_AVRO_NAMES_MAX, sizeof *parser.names);
    if (parser.schema != NULL)
        tr_arena_init(&parser.schema->arena, ARENA_BLOCK_BYTES, 0);
    if (parser.schema != NULL && parser.names != NULL)
        parser.schema->root = parse(&parser, json, "", 0);
    json_decref(json);
    free(parser.names);
    *reason = parser.reason;
    if (parser.schema == NULL || parser.schema->root == NULL) {
        tr_avro_schema_free(parser.schema);
        return false;
    }
    *out = parser.schema;
    return true;
}

void tr_avro_schema_free(struct tr_avro_schema *schema)
{
    if (schema == NULL)
        return;
    tr_arena_free(&schema->arena);
    free(schema);
}

int tr_avro_field_find(const struct tr_avro_node *record, const char *name)
{
    for (uint32_t i = 0; i < record->count; i++) {
        if (strcmp(record->fields[i].name, name) == 0)
            return (int)i;
    }
    return -1;
}
