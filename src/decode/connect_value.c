/* See the header. */
#include "decode/connect_value.h"

#include <stdio.h>
#include <string.h>

#include "decode/json_number.h"
#include "decode/json_time.h"
#include "decode/rows_cell.h"

#define MS 1000
#define US INT64_C(1000000)
#define NS INT64_C(1000000000)
#define SECONDS_PER_DAY INT64_C(86400)
#define LIMB INT64_C(1000000000)                         /* nine decimal digits */
#define LIMBS_MAX (TR_CONNECT_DECIMAL_BYTES_MAX * 2 / 7) /* a byte is less than 2.41 digits */
#define BITS_MAX 65536

static const char not_kind[] = "a value of another kind than its schema says";

/* ---- schemas -------------------------------------------------------------------------------- */

static bool text_is(const struct tr_json_node *node, const char *text)
{
    return node != NULL && node->kind == TR_JSON_STRING && tr_json_equal(node, text, strlen(text));
}

static bool integer(const struct tr_json_node *node, int64_t *value)
{
    struct tr_number number;
    return node != NULL && (node->kind == TR_JSON_NUMBER || node->kind == TR_JSON_STRING) &&
           tr_number_parse(node->ptr, node->len, &number) && tr_number_int64(&number, value);
}

/* A number among the schema's parameters, which are strings there. */
static bool parameter(const struct tr_json_doc *doc, const struct tr_json_node *schema,
                      const char *name, int64_t min, int64_t max, int32_t *value)
{
    const struct tr_json_node *parameters = tr_json_member(doc, schema, "parameters");
    int64_t found;
    if (!integer(tr_json_member(doc, parameters, name), &found) || found < min || found > max)
        return false;
    *value = (int32_t)found;
    return true;
}

static bool base_type(const struct tr_json_node *type, struct tr_connect_field *field)
{
    static const struct {
        const char *word;
        enum tr_type type;
    } words[] = {{"int8", TR_T_INT8},       {"int16", TR_T_INT16},     {"int32", TR_T_INT32},
                 {"int64", TR_T_INT64},     {"float", TR_T_FLOAT32},   {"double", TR_T_FLOAT64},
                 {"float32", TR_T_FLOAT32}, {"float64", TR_T_FLOAT64}, {"boolean", TR_T_BOOLEAN},
                 {"string", TR_T_STRING},   {"bytes", TR_T_BYTES},     {"struct", TR_T_JSON},
                 {"array", TR_T_JSON},      {"map", TR_T_JSON}};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (text_is(type, words[i].word)) {
            field->column.type = words[i].type;
            field->is_bytes = words[i].type == TR_T_BYTES;
            return true;
        }
    }
    return false;
}

static const struct semantic {
    const char *name;
    enum tr_type type;
    enum tr_connect_form form;
    int64_t units_per_second;
} semantics[] = {
    {"io.debezium.time.Date", TR_T_DATE, TR_CONNECT_DAYS, 1},
    {"org.apache.kafka.connect.data.Date", TR_T_DATE, TR_CONNECT_DAYS, 1},
    {"io.debezium.time.Time", TR_T_TIME, TR_CONNECT_TIME, MS},
    {"org.apache.kafka.connect.data.Time", TR_T_TIME, TR_CONNECT_TIME, MS},
    {"io.debezium.time.MicroTime", TR_T_TIME, TR_CONNECT_TIME, US},
    {"io.debezium.time.NanoTime", TR_T_TIME, TR_CONNECT_TIME, NS},
    {"io.debezium.time.Timestamp", TR_T_TIMESTAMP, TR_CONNECT_TIMESTAMP, MS},
    {"org.apache.kafka.connect.data.Timestamp", TR_T_TIMESTAMP, TR_CONNECT_TIMESTAMP, MS},
    {"io.debezium.time.MicroTimestamp", TR_T_TIMESTAMP, TR_CONNECT_TIMESTAMP, US},
    {"io.debezium.time.NanoTimestamp", TR_T_TIMESTAMP, TR_CONNECT_TIMESTAMP, NS},
    {"io.debezium.time.ZonedTimestamp", TR_T_TIMESTAMPTZ, TR_CONNECT_PLAIN, 1},
    {"io.debezium.time.ZonedTime", TR_T_TIMETZ, TR_CONNECT_ZONED_TIME, 1},
    {"io.debezium.time.IsoDate", TR_T_DATE, TR_CONNECT_ISO, 1},
    {"io.debezium.time.IsoTime", TR_T_TIME, TR_CONNECT_ISO, 1},
    {"io.debezium.time.IsoTimestamp", TR_T_TIMESTAMP, TR_CONNECT_ISO, 1},
    {"io.debezium.time.MicroDuration", TR_T_INTERVAL, TR_CONNECT_DURATION, US},
    {"io.debezium.data.VariableScaleDecimal", TR_T_DECIMAL, TR_CONNECT_SCALED_DECIMAL, 1},
    {"io.debezium.data.Bits", TR_T_BIT, TR_CONNECT_BITS, 1},
    {"io.debezium.data.Json", TR_T_JSON, TR_CONNECT_JSON_TEXT, 1},
    {"io.debezium.data.Xml", TR_T_XML, TR_CONNECT_PLAIN, 1},
    {"io.debezium.data.Uuid", TR_T_UUID, TR_CONNECT_PLAIN, 1},
};

/* Decimal's scale must be there; without a precision the column takes any digits. */
static bool decimal_field(const struct tr_json_doc *doc, const struct tr_json_node *schema,
                          struct tr_connect_field *field)
{
    int32_t scale, precision;
    if (!parameter(doc, schema, "scale", -TR_CONNECT_SCALE_MAX, TR_CONNECT_SCALE_MAX, &scale))
        return false;
    field->form = TR_CONNECT_DECIMAL;
    field->column.type = TR_T_DECIMAL;
    field->units_per_second = scale; /* kept beside the column, which may have no scale */
    if (scale >= 0 && parameter(doc, schema, "connect.decimal.precision", scale > 0 ? scale : 1,
                                TR_CONNECT_SCALE_MAX, &precision)) {
        field->column.precision = precision;
        field->column.scale = scale;
    }
    return true;
}

bool tr_connect_field_read(const struct tr_json_doc *doc, const struct tr_json_node *schema,
                           struct tr_connect_field *field)
{
    const struct tr_json_node *name = tr_json_member(doc, schema, "name");
    const struct tr_json_node *optional = tr_json_member(doc, schema, "optional");
    field->column = (struct tr_column){
        .elem_type = TR_T_OTHER,
        .source_typmod = -1,
        .nullable = optional != NULL && optional->kind == TR_JSON_TRUE,
    };
    field->form = TR_CONNECT_PLAIN;
    field->units_per_second = 1;
    if (!base_type(tr_json_member(doc, schema, "type"), field))
        return false;
    if (text_is(name, "org.apache.kafka.connect.data.Decimal"))
        return decimal_field(doc, schema, field);
    for (size_t i = 0; i < sizeof semantics / sizeof semantics[0]; i++) {
        if (!text_is(name, semantics[i].name))
            continue;
        field->column.type = semantics[i].type;
        field->form = semantics[i].form;
        field->units_per_second = semantics[i].units_per_second;
    }
    if (field->column.type == TR_T_TIME || field->column.type == TR_T_TIMETZ ||
        field->column.type == TR_T_TIMESTAMP || field->column.type == TR_T_TIMESTAMPTZ)
        field->column.precision = -1;
    if (field->form == TR_CONNECT_BITS)
        (void)parameter(doc, schema, "length", 1, BITS_MAX, &field->column.length);
    return true;
}

/* ---- values --------------------------------------------------------------------------------- */

static const char *copy(struct tr_cell *cell, const char *text, size_t len, struct tr_batch *batch)
{
    char *made = tr_batch_copy(batch, text, len);
    if (made == NULL)
        return tr_cell_no_memory;
    *cell = (struct tr_cell){made, (uint32_t)len, TR_CELL_TEXT};
    return NULL;
}

static const char *from_count(const struct tr_connect_field *field,
                              const struct tr_json_node *value, struct tr_batch *batch,
                              struct tr_cell *cell)
{
    char buf[TR_TIME_TEXT_BYTES];
    struct tr_moment moment;
    int64_t count, units = field->units_per_second;
    size_t len = 0;
    if (value->kind != TR_JSON_NUMBER || !integer(value, &count))
        return not_kind;
    if (field->form == TR_CONNECT_DAYS) {
        if (count > INT32_MIN && count < INT32_MAX &&
            tr_moment_from_epoch(count * SECONDS_PER_DAY, 1, &moment))
            len = tr_moment_date(&moment, buf);
    } else if (field->form == TR_CONNECT_TIMESTAMP) {
        if (tr_moment_from_epoch(count, units, &moment))
            len = tr_moment_timestamp(&moment, false, buf);
    } else if (count >= 0 && count <= SECONDS_PER_DAY * units) {
        moment = (struct tr_moment){.us_of_day =
                                        units > US ? count / (units / US) : count * (US / units),
                                    .has_time = true};
        len = tr_moment_time(&moment, buf);
    }
    return len == 0 ? "a time out of range" : copy(cell, buf, len, batch);
}

/* PostgreSQL's style without days: [-]HH:MM:SS[.ffffff]. */
static const char *from_duration(const struct tr_json_node *value, struct tr_batch *batch,
                                 struct tr_cell *cell)
{
    char buf[64];
    int64_t us;
    if (value->kind != TR_JSON_NUMBER || !integer(value, &us))
        return not_kind;
    uint64_t size = us < 0 ? 0 - (uint64_t)us : (uint64_t)us, seconds = size / (uint64_t)US;
    int len = snprintf(buf, sizeof buf, "%s%02llu:%02u:%02u", us < 0 ? "-" : "",
                       (unsigned long long)(seconds / 3600), (unsigned)(seconds / 60 % 60),
                       (unsigned)(seconds % 60));
    if (size % (uint64_t)US != 0) {
        len +=
            snprintf(buf + len, sizeof buf - (size_t)len, ".%06u", (unsigned)(size % (uint64_t)US));
        while (buf[len - 1] == '0')
            len--;
    }
    return copy(cell, buf, (size_t)len, batch);
}

static const char *from_zoned(const struct tr_connect_field *field, struct tr_slice text,
                              struct tr_batch *batch, struct tr_cell *cell)
{
    char buf[TR_TIME_TEXT_BYTES];
    struct tr_moment moment;
    size_t len = text.len;
    if (field->form == TR_CONNECT_ISO && len > 0 && text.ptr[len - 1] == 'Z')
        len--;
    if (!tr_moment_parse(text.ptr, len, &moment))
        return "not a date or time in ISO 8601";
    if (field->form == TR_CONNECT_ISO)
        len = field->column.type == TR_T_DATE   ? tr_moment_date(&moment, buf)
              : field->column.type == TR_T_TIME ? tr_moment_time(&moment, buf)
                                                : tr_moment_timestamp(&moment, false, buf);
    else if (moment.zone_s == 0 && (len = tr_moment_time(&moment, buf)) > 0) {
        memcpy(buf + len, "+00", 3); /* Debezium writes UTC */
        len += 3;
    } else {
        len = 0;
    }
    return len == 0 ? "not the kind of time that its schema says" : copy(cell, buf, len, batch);
}

/* ---- decimals ------------------------------------------------------------------------------- */

/* Big-endian two's complement → decimal digits, by repeated multiplication with 256 in limbs of
 * nine digits. Gives the count of digits (at least one); digits has room for LIMBS_MAX * 9. */
static size_t unscaled_digits(const uint8_t *bytes, size_t count, bool negative, char *digits)
{
    uint32_t limbs[LIMBS_MAX + 2] = {0};
    size_t used = 1, len = 0;
    for (size_t i = 0; i < count; i++) {
        /* of a negative number the complement is taken: -n = ~n + 1, and the 1 is added at the end
         */
        uint64_t carry = negative ? (uint8_t)~bytes[i] : bytes[i];
        carry += negative && i + 1 == count;
        for (size_t k = 0; k < used; k++) {
            carry += (uint64_t)limbs[k] * 256;
            limbs[k] = (uint32_t)(carry % (uint64_t)LIMB);
            carry /= (uint64_t)LIMB;
        }
        if (carry > 0)
            limbs[used++] = (uint32_t)carry;
    }
    for (size_t k = used; k-- > 0;) {
        char part[10];
        (void)snprintf(part, sizeof part, k + 1 == used ? "%u" : "%09u", limbs[k]);
        size_t part_len = strlen(part);
        memcpy(digits + len, part, part_len);
        len += part_len;
    }
    return len;
}

static const char *from_unscaled(struct tr_cell *bytes, int64_t scale, struct tr_batch *batch,
                                 struct tr_cell *cell)
{
    char digits[(LIMBS_MAX + 2) * 9 + 32];
    const uint8_t *ptr = (const uint8_t *)bytes->ptr;
    struct tr_number number;
    if (bytes->len == 0 || bytes->len > TR_CONNECT_DECIMAL_BYTES_MAX)
        return "a decimal without bytes, or with too many";
    bool negative = (ptr[0] & 0x80) != 0;
    digits[0] = negative ? '-' : '+';
    size_t len = 1 + unscaled_digits(ptr, bytes->len, negative, digits + 1);
    int exponent = snprintf(digits + len, sizeof digits - len, "e%lld", (long long)-scale);
    if (!tr_number_parse(digits, len + (size_t)exponent, &number))
        return "a decimal that cannot be read";
    int32_t shown = scale > 0 ? (int32_t)scale : 0;
    size_t room = tr_number_decimal_bytes(&number, shown);
    if (room == 0)
        return "a decimal beyond the range";
    char *out = tr_arena_alloc(&batch->arena, room, 1);
    if (out == NULL)
        return tr_cell_no_memory;
    *cell = (struct tr_cell){out, (uint32_t)tr_number_decimal(&number, shown, out), TR_CELL_TEXT};
    return NULL;
}

static const char *base64(const struct tr_json_node *value, struct tr_batch *batch,
                          struct tr_cell *cell)
{
    static const struct tr_column bytes = {.name = "", .type = TR_T_BYTES};
    if (value == NULL || value->kind != TR_JSON_STRING)
        return not_kind;
    return tr_cell_from_json(&bytes, value, batch, cell);
}

static const char *from_decimal(const struct tr_connect_field *field, const struct tr_json_doc *doc,
                                const struct tr_json_node *value, struct tr_batch *batch,
                                struct tr_cell *cell)
{
    struct tr_cell bytes;
    int64_t scale = field->units_per_second;
    if (field->form == TR_CONNECT_SCALED_DECIMAL) {
        if (value->kind != TR_JSON_OBJECT ||
            !integer(tr_json_member(doc, value, "scale"), &scale) ||
            scale < -TR_CONNECT_SCALE_MAX || scale > TR_CONNECT_SCALE_MAX)
            return not_kind;
        value = tr_json_member(doc, value, "value");
    } else if (value->kind == TR_JSON_NUMBER) { /* the converter's decimal.format=numeric */
        return tr_cell_from_json(&field->column, value, batch, cell);
    }
    const char *reason = base64(value, batch, &bytes);
    return reason != NULL ? reason : from_unscaled(&bytes, scale, batch, cell);
}

static const char *from_bits(const struct tr_connect_field *field, const struct tr_json_node *value,
                             struct tr_batch *batch, struct tr_cell *cell)
{
    struct tr_cell bytes;
    const char *reason = base64(value, batch, &bytes);
    if (reason != NULL)
        return reason;
    size_t count = field->column.length > 0 ? (size_t)field->column.length : (size_t)bytes.len * 8;
    if (count > BITS_MAX || bytes.len > BITS_MAX / 8)
        return "too many bits";
    char *out = tr_arena_alloc(&batch->arena, count + 1, 1);
    if (out == NULL)
        return tr_cell_no_memory;
    for (size_t i = 0; i < count; i++) {
        size_t bit = count - 1 - i; /* the last one written is bit 0 */
        unsigned byte = bit / 8 < bytes.len ? (uint8_t)bytes.ptr[bit / 8] : 0;
        out[i] = (byte >> bit % 8 & 1) != 0 ? '1' : '0';
    }
    *cell = (struct tr_cell){out, (uint32_t)count, TR_CELL_TEXT};
    return NULL;
}

static const char *from_json_text(const struct tr_json_node *value, struct tr_json_doc *text_doc,
                                  struct tr_batch *batch, struct tr_cell *cell)
{
    if (value->kind != TR_JSON_STRING)
        return not_kind;
    struct tr_slice text = tr_json_string_value(value, batch);
    if (text.ptr == NULL)
        return tr_cell_no_memory;
    if (!tr_json_parse(text_doc, text, 0))
        return "a string that does not hold JSON";
    *cell = (struct tr_cell){text.ptr, (uint32_t)text.len, TR_CELL_TEXT};
    return NULL;
}

const char *tr_connect_cell(const struct tr_connect_field *field, const struct tr_json_doc *doc,
                            const struct tr_json_node *value, struct tr_json_doc *text_doc,
                            struct tr_batch *batch, struct tr_cell *cell)
{
    switch (field->form) {
    case TR_CONNECT_DAYS:
    case TR_CONNECT_TIME:
    case TR_CONNECT_TIMESTAMP:
        return from_count(field, value, batch, cell);
    case TR_CONNECT_DURATION:
        return from_duration(value, batch, cell);
    case TR_CONNECT_ZONED_TIME:
    case TR_CONNECT_ISO:
        if (value->kind != TR_JSON_STRING || (value->flags & TR_JSON_ESCAPED) != 0)
            return not_kind;
        return from_zoned(field, (struct tr_slice){value->ptr, value->len}, batch, cell);
    case TR_CONNECT_DECIMAL:
    case TR_CONNECT_SCALED_DECIMAL:
        return from_decimal(field, doc, value, batch, cell);
    case TR_CONNECT_BITS:
        return from_bits(field, value, batch, cell);
    case TR_CONNECT_JSON_TEXT:
        return from_json_text(value, text_doc, batch, cell);
    default:
        return tr_cell_from_json(&field->column, value, batch, cell);
    }
}
