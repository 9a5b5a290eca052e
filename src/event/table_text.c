/* Table ↔ one line of JSON. Written by hand, read by jansson.
 *
 *   table  = {"v":1, "id":[namespace, schema, table], "oid":N, "version":N, "ri":"d", "pk":bool,
 *             "cols":[column …]}
 *   column = {"n":name, "t":type, "e":element type, "st":source type, "sb":its base spelling,
 *             "oid":N, "tm":typmod, "an":attnum, "p":precision, "s":scale, "l":length, "k":key
 * index, "f":flags, "d":default, "en":enum labels} flags  = letters: n nullable, g generated, a
 * identity always, i identity by default
 *
 * A member that is left out has the value that `absent` below gives it; most columns are short
 * then. Types are named, so the text outlives a new order of enum tr_type. Versions other than 1
 * are refused: it is better to stop than to follow a log with half a schema. */
#include "event/table_text.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define FORMAT_VERSION 1
#define COLUMNS_MAX UINT16_MAX

/* ---- encode --------------------------------------------------------------------------------- */

static bool is_plain(unsigned char byte)
{
    return byte >= 0x20 && byte != '"' && byte != '\\' && byte != 0x7f;
}

static void put_string(struct tr_outbuf *out, const char *string)
{
    tr_outbuf_byte(out, '"');
    for (const char *at = string; *at != '\0';) {
        size_t run = 0;
        while (is_plain((unsigned char)at[run]))
            run++;
        tr_outbuf_bytes(out, at, run);
        at += run;
        if (*at == '"' || *at == '\\') {
            tr_outbuf_byte(out, '\\');
            tr_outbuf_byte(out, *at++);
        } else if (*at != '\0') {
            tr_outbuf_printf(out, "\\u%04x", (unsigned char)*at++);
        }
    }
    tr_outbuf_byte(out, '"');
}

static void put_name(struct tr_outbuf *out, const char *name)
{
    tr_outbuf_lit(out, ",\"");
    tr_outbuf_str(out, name);
    tr_outbuf_lit(out, "\":");
}

static void put_string_member(struct tr_outbuf *out, const char *name, const char *value)
{
    if (value == NULL)
        return;
    put_name(out, name);
    put_string(out, value);
}

static void put_int_member(struct tr_outbuf *out, const char *name, int64_t value, int64_t absent)
{
    if (value == absent)
        return;
    put_name(out, name);
    tr_outbuf_i64(out, value);
}

static void put_column(struct tr_outbuf *out, const struct tr_column *column)
{
    tr_outbuf_lit(out, "{\"n\":");
    put_string(out, column->name);
    put_string_member(out, "t", tr_type_name(column->type));
    if (column->elem_type != TR_T_OTHER)
        put_string_member(out, "e", tr_type_name(column->elem_type));
    put_string_member(out, "st", column->source_type);
    put_string_member(out, "sb", column->source_type_base);
    put_int_member(out, "oid", column->source_type_id, 0);
    put_int_member(out, "tm", column->source_typmod, -1);
    put_int_member(out, "an", column->source_attnum, 0);
    put_int_member(out, "p", column->precision, 0);
    put_int_member(out, "s", column->scale, 0);
    put_int_member(out, "l", column->length, 0);
    put_int_member(out, "k", column->key_index, 0);
    char flags[6] = "";
    size_t flag_count = 0;
    if (column->nullable)
        flags[flag_count++] = 'n';
    if (column->generated)
        flags[flag_count++] = 'g';
    if (column->identity_always)
        flags[flag_count++] = 'a';
    if (column->identity_by_default)
        flags[flag_count++] = 'i';
    if (column->hidden)
        flags[flag_count++] = 'h';
    flags[flag_count] = '\0';
    if (flag_count > 0)
        put_string_member(out, "f", flags);
    put_string_member(out, "d", column->default_value);
    put_string_member(out, "en", column->enum_labels);
    tr_outbuf_byte(out, '}');
}

void tr_table_encode(const struct tr_table *table, struct tr_outbuf *out)
{
    tr_outbuf_lit(out, "{\"v\":");
    tr_outbuf_i64(out, FORMAT_VERSION);
    tr_outbuf_lit(out, ",\"id\":[");
    put_string(out, table->id.namespace);
    tr_outbuf_byte(out, ',');
    put_string(out, table->id.schema);
    tr_outbuf_byte(out, ',');
    put_string(out, table->id.table);
    tr_outbuf_byte(out, ']');
    /* JSON's integers end at 2^63-1 in jansson; the source's number may use all 64 bits */
    put_name(out, "oid");
    tr_outbuf_i64(out, (int64_t)table->source_id);
    put_name(out, "version");
    tr_outbuf_u64(out, table->version);
    put_name(out, "ri");
    tr_outbuf_byte(out, '"');
    tr_outbuf_byte(out, (char)table->replica_identity);
    tr_outbuf_byte(out, '"');
    put_name(out, "pk");
    tr_outbuf_str(out, table->key_is_primary ? "true" : "false");
    tr_outbuf_lit(out, ",\"cols\":[");
    for (uint32_t i = 0; i < table->column_count; i++) {
        if (i > 0)
            tr_outbuf_byte(out, ',');
        put_column(out, &table->columns[i]);
    }
    tr_outbuf_lit(out, "]}");
}

/* ---- decode --------------------------------------------------------------------------------- */

/* A reader with a sticky error: the first member that is wrong is kept for the message. */
struct reader {
    const char *wrong;
};

static const char *get_string(struct reader *reader, const json_t *object, const char *name,
                              bool required)
{
    const json_t *value = json_object_get(object, name);
    if (value == NULL && !required)
        return NULL;
    if (!json_is_string(value) || strlen(json_string_value(value)) != json_string_length(value)) {
        reader->wrong = name;
        return NULL;
    }
    return json_string_value(value);
}

static int64_t get_int(struct reader *reader, const json_t *object, const char *name,
                       int64_t absent, int64_t min, int64_t max)
{
    const json_t *value = json_object_get(object, name);
    if (value == NULL)
        return absent;
    if (!json_is_integer(value) || json_integer_value(value) < min ||
        json_integer_value(value) > max) {
        reader->wrong = name;
        return absent;
    }
    return json_integer_value(value);
}

static enum tr_type get_type(struct reader *reader, const json_t *object, const char *name,
                             bool required)
{
    const char *text = get_string(reader, object, name, required);
    if (text == NULL)
        return TR_T_OTHER;
    for (enum tr_type type = 0; type < TR_T_COUNT; type++) {
        if (strcmp(text, tr_type_name(type)) == 0)
            return type;
    }
    reader->wrong = name;
    return TR_T_OTHER;
}

static void get_flags(struct reader *reader, const json_t *object, struct tr_column *column)
{
    const char *flags = get_string(reader, object, "f", false);
    for (; flags != NULL && *flags != '\0'; flags++) {
        switch (*flags) {
        case 'n':
            column->nullable = true;
            break;
        case 'g':
            column->generated = true;
            break;
        case 'a':
            column->identity_always = true;
            break;
        case 'i':
            column->identity_by_default = true;
            break;
        case 'h':
            column->hidden = true;
            break;
        default:
            reader->wrong = "f";
            return;
        }
    }
}

static void get_column(struct reader *reader, const json_t *object, struct tr_column *column)
{
    if (!json_is_object(object)) {
        reader->wrong = "cols";
        return;
    }
    column->name = get_string(reader, object, "n", true);
    column->type = get_type(reader, object, "t", true);
    column->elem_type = get_type(reader, object, "e", false);
    column->source_type = get_string(reader, object, "st", false);
    column->source_type_base = get_string(reader, object, "sb", false);
    column->source_type_id = (uint32_t)get_int(reader, object, "oid", 0, 0, UINT32_MAX);
    column->source_typmod = (int32_t)get_int(reader, object, "tm", -1, INT32_MIN, INT32_MAX);
    column->source_attnum = (int32_t)get_int(reader, object, "an", 0, INT32_MIN, INT32_MAX);
    column->precision = (int32_t)get_int(reader, object, "p", 0, INT32_MIN, INT32_MAX);
    column->scale = (int32_t)get_int(reader, object, "s", 0, INT32_MIN, INT32_MAX);
    column->length = (int32_t)get_int(reader, object, "l", 0, INT32_MIN, INT32_MAX);
    column->key_index = (uint16_t)get_int(reader, object, "k", 0, 0, UINT16_MAX);
    column->default_value = get_string(reader, object, "d", false);
    column->enum_labels = get_string(reader, object, "en", false);
    get_flags(reader, object, column);
}

/* The key's places must be 1, 2, … k, each once. */
static bool key_is_whole(const struct tr_column *columns, size_t count)
{
    uint8_t *seen = calloc(count + 1, 1);
    size_t places = 0, highest = 0;
    bool whole = seen != NULL;
    for (size_t i = 0; whole && i < count; i++) {
        size_t place = columns[i].key_index;
        if (place == 0)
            continue;
        whole = place <= count && !seen[place];
        if (whole)
            seen[place] = 1;
        places++;
        highest = place > highest ? place : highest;
    }
    free(seen);
    return whole && places == highest;
}

static void get_table(struct reader *reader, const json_t *root, struct tr_table *spec)
{
    const json_t *id = json_object_get(root, "id"), *pk = json_object_get(root, "pk");
    const char *parts[3] = {"", "", ""};
    if (get_int(reader, root, "v", 0, 0, INT32_MAX) != FORMAT_VERSION)
        reader->wrong = "v";
    for (size_t i = 0; i < 3; i++) {
        const json_t *part = json_array_get(id, i);
        if (!json_is_string(part) || strlen(json_string_value(part)) != json_string_length(part))
            reader->wrong = "id";
        else
            parts[i] = json_string_value(part);
    }
    spec->id = (struct tr_table_id){parts[0], parts[1], parts[2]};
    spec->source_id = (uint64_t)get_int(reader, root, "oid", 0, INT64_MIN, INT64_MAX);
    spec->version = (uint32_t)get_int(reader, root, "version", 0, 0, UINT32_MAX);
    const char *identity = get_string(reader, root, "ri", true);
    if (identity == NULL || identity[0] == '\0' || strchr("dnfi", identity[0]) == NULL ||
        identity[1] != '\0')
        reader->wrong = "ri";
    else
        spec->replica_identity = (enum tr_replica_identity)identity[0];
    if (!json_is_boolean(pk))
        reader->wrong = "pk";
    spec->key_is_primary = json_is_true(pk);
}

enum tr_status tr_table_decode(const char *text, struct tr_table **out, struct tr_error *err)
{
    struct tr_table spec = {0};
    struct reader reader = {NULL};
    struct tr_column *columns = NULL;
    json_error_t json_error;
    enum tr_status status = TR_FAIL;
    json_t *root = json_loads(text, JSON_REJECT_DUPLICATES, &json_error);
    if (!json_is_object(root)) {
        (void)tr_fail(err, TR_E_STORED_SCHEMA, "a stored table schema is not a JSON object");
        goto cleanup;
    }
    get_table(&reader, root, &spec);
    const json_t *list = json_object_get(root, "cols");
    size_t count = json_array_size(list);
    if (!json_is_array(list) || count > COLUMNS_MAX)
        reader.wrong = "cols";
    columns = reader.wrong == NULL ? calloc(count + 1, sizeof *columns) : NULL;
    if (reader.wrong == NULL && columns == NULL) {
        (void)tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for a table's schema");
        goto cleanup;
    }
    for (size_t i = 0; reader.wrong == NULL && i < count; i++)
        get_column(&reader, json_array_get(list, i), &columns[i]);
    if (reader.wrong == NULL && !key_is_whole(columns, count))
        reader.wrong = "k";
    if (reader.wrong != NULL) {
        (void)tr_fail(err, TR_E_STORED_SCHEMA,
                      "a stored table schema has a wrong or missing \"%s\"", reader.wrong);
        goto cleanup;
    }
    spec.column_count = (uint16_t)count;
    spec.columns = columns;
    status = tr_table_new(&spec, out, err);
cleanup:
    free(columns);
    json_decref(root);
    return status;
}
