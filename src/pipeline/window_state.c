#include "pipeline/window_state.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define DECIMAL_DIGITS_MAX 38
#define NUMBER_BYTES 64

/* ---- "COUNT(*) AS events" ------------------------------------------------------------------- */

static enum tr_status not_read(const char *where, const char *text, const char *why,
                               struct tr_error *err)
{
    (void)tr_fail(err, TR_E_WINDOW_EXPRESSION, "%s: \"%.100s\": %s", where, text, why);
    return tr_hint(err, "Write for example group-by: [op, \"LOWER(country) AS country\"] and "
                        "aggregates: [\"COUNT(*) AS events\", \"SUM(amount) AS total\"].");
}

/* Where the last top-level " AS " begins, or NULL: outside quotes and parentheses. */
static const char *find_as(const char *text)
{
    const char *found = NULL;
    int depth = 0;
    for (const char *p = text; *p != '\0'; p++) {
        if (*p == '\'' || *p == '"' || *p == '`') {
            const char *end = strchr(p + 1, *p);
            if (end == NULL)
                return found;
            p = end;
        } else if (*p == '(') {
            depth++;
        } else if (*p == ')') {
            depth--;
        } else if (depth == 0 && isspace((unsigned char)*p) && strncasecmp(p + 1, "as", 2) == 0 &&
                   isspace((unsigned char)p[3])) {
            found = p;
        }
    }
    return found;
}

static char *trimmed(const char *from, const char *to)
{
    while (from < to && isspace((unsigned char)*from))
        from++;
    while (to > from && isspace((unsigned char)to[-1]))
        to--;
    if (to - from >= 2 && (*from == '"' || *from == '`') && to[-1] == *from &&
        memchr(from + 1, *from, (size_t)(to - from) - 2) == NULL)
        return strndup(from + 1, (size_t)(to - from) - 2);
    return strndup(from, (size_t)(to - from));
}

static bool is_name(const char *text)
{
    for (const char *p = text; *p != '\0'; p++) {
        if (!isalnum((unsigned char)*p) && *p != '_' && (unsigned char)*p < 0x80)
            return false;
    }
    return text[0] != '\0' && !isdigit((unsigned char)text[0]);
}

static const struct {
    const char *name;
    enum tr_aggregate_kind kind;
} aggregate_names[] = {{"COUNT", TR_AGG_COUNT},
                       {"SUM", TR_AGG_SUM},
                       {"MIN", TR_AGG_MIN},
                       {"MAX", TR_AGG_MAX},
                       {"AVG", TR_AGG_AVG}};

/* item->text is the whole call; it becomes its argument. */
static enum tr_status read_call(struct tr_window_item *item, const char *where,
                                struct tr_error *err)
{
    const char *open = strchr(item->text, '(');
    size_t len = strlen(item->text);
    if (open == NULL || item->text[len - 1] != ')')
        return not_read(where, item->text, "a call such as COUNT(*) or SUM(amount) is expected",
                        err);
    char *function = trimmed(item->text, open);
    char *argument = trimmed(open + 1, item->text + len - 1);
    enum tr_status status = TR_FAIL;
    size_t i = 0;
    const size_t known = sizeof aggregate_names / sizeof aggregate_names[0];
    if (function == NULL || argument == NULL) {
        (void)tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for a window");
        goto cleanup;
    }
    while (i < known && strcasecmp(function, aggregate_names[i].name) != 0)
        i++;
    if (i == known) {
        (void)not_read(where, item->text, "known are COUNT, SUM, MIN, MAX and AVG", err);
        goto cleanup;
    }
    item->kind = aggregate_names[i].kind;
    if (strcmp(argument, "*") == 0 && item->kind == TR_AGG_COUNT) {
        item->kind = TR_AGG_COUNT_ALL;
        argument[0] = '\0';
    } else if (argument[0] == '\0' || strncasecmp(argument, "distinct ", 9) == 0) {
        (void)not_read(where, item->text,
                       argument[0] == '\0' ? "the argument is missing" : "DISTINCT cannot be done",
                       err);
        goto cleanup;
    }
    free(item->text);
    item->text = argument;
    argument = NULL;
    status = TR_OK;
cleanup:
    free(function);
    free(argument);
    return status;
}

enum tr_status tr_window_items(const struct tr_string_list *list, bool aggregates, const char *where,
                               struct tr_window_item *items, unsigned *count, struct tr_error *err)
{
    for (size_t i = 0; i < list->count; i++) {
        const char *text = list->items[i], *as = find_as(text);
        if (*count == TR_WINDOW_COLUMNS_MAX)
            return not_read(where, text, "there are more than 64", err);
        struct tr_window_item *item = &items[(*count)++];
        item->text = trimmed(text, as != NULL ? as : text + strlen(text));
        item->name = as != NULL ? trimmed(as + 4, text + strlen(text))
                                : trimmed(text, text + strlen(text));
        if (item->text == NULL || item->name == NULL)
            return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for a window");
        if (as == NULL && (aggregates || !is_name(item->name)))
            return not_read(where, text, "a name is missing: … AS name", err);
        if (item->name[0] == '\0' || item->text[0] == '\0')
            return not_read(where, text, "an expression and a name are expected", err);
        if (aggregates && read_call(item, where, err) != TR_OK)
            return TR_FAIL;
    }
    return TR_OK;
}

void tr_window_items_free(struct tr_window_item *items, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        free(items[i].text);
        free(items[i].name);
    }
}

/* ---- accumulators --------------------------------------------------------------------------- */

static bool is_integer(enum tr_type type)
{
    return type >= TR_T_INT8 && type <= TR_T_UINT64;
}

static bool is_float(enum tr_type type)
{
    return type == TR_T_FLOAT32 || type == TR_T_FLOAT64;
}

static bool is_decimal(enum tr_type type)
{
    return type == TR_T_DECIMAL || type == TR_T_MONEY;
}

bool tr_aggregate_column(enum tr_aggregate_kind kind, const struct tr_column *of,
                         struct tr_column *column)
{
    enum tr_type type = of == NULL ? TR_T_INT64 : of->type;
    bool is_number = is_integer(type) || is_float(type) || is_decimal(type);
    *column = (struct tr_column){.elem_type = TR_T_OTHER, .source_typmod = -1, .nullable = true};
    switch (kind) {
    case TR_AGG_COUNT_ALL:
    case TR_AGG_COUNT:
        column->type = TR_T_INT64;
        column->nullable = false;
        break;
    case TR_AGG_SUM:
        column->type = is_integer(type) ? TR_T_INT64 : is_float(type) ? TR_T_FLOAT64 : TR_T_DECIMAL;
        if (column->type == TR_T_DECIMAL && of != NULL && of->precision > 0) {
            column->precision = DECIMAL_DIGITS_MAX;
            column->scale = of->scale;
        }
        break;
    case TR_AGG_AVG:
        column->type = TR_T_FLOAT64;
        break;
    case TR_AGG_MIN:
    case TR_AGG_MAX:
        if (of != NULL)
            *column = *of;
        column->key_index = 0;
        column->nullable = true;
        column->hidden = column->generated = column->identity_always =
            column->identity_by_default = false;
        column->default_value = NULL;
        column->source_attnum = 0;
        return true;
    }
    switch (column->type) {
    case TR_T_INT64:
        column->source_type = column->source_type_base = "int8";
        break;
    case TR_T_FLOAT64:
        column->source_type = column->source_type_base = "float8";
        break;
    default:
        column->source_type = column->source_type_base = "numeric";
        break;
    }
    return kind == TR_AGG_COUNT_ALL || kind == TR_AGG_COUNT || is_number;
}

static enum tr_status overflow(struct tr_error *err)
{
    (void)tr_fail(err, TR_E_WINDOW_OVERFLOW, "a window's sum does not fit");
    return tr_hint(err, "Sum a smaller unit, or CAST the value to DOUBLE in window.aggregates.");
}

/* 10^power; power is at most DECIMAL_DIGITS_MAX. */
static __int128 power_of_ten(int32_t power)
{
    __int128 value = 1;
    for (int32_t i = 0; i < power; i++)
        value *= 10;
    return value;
}

/* Digits with an optional sign and point. */
static bool read_decimal(struct tr_slice text, __int128 *digits, int32_t *scale)
{
    size_t i = 0;
    unsigned count = 0;
    bool negative = text.len > 0 && text.ptr[0] == '-', point = false;
    *digits = 0;
    *scale = 0;
    for (i = negative; i < text.len; i++) {
        if (text.ptr[i] == '.' && !point) {
            point = true;
            continue;
        }
        if (text.ptr[i] < '0' || text.ptr[i] > '9' ||
            (count == DECIMAL_DIGITS_MAX && *digits != 0))
            return false;
        *digits = *digits * 10 + (text.ptr[i] - '0');
        count += *digits != 0;
        *scale += point;
    }
    if (negative)
        *digits = -*digits;
    return text.len > (size_t)negative && *scale <= DECIMAL_DIGITS_MAX;
}

static enum tr_status add_decimal(struct tr_accumulator *sum, __int128 digits, int32_t scale,
                                  struct tr_error *err)
{
    const __int128 limit = power_of_ten(DECIMAL_DIGITS_MAX);
    while (scale < sum->scale) {
        if (digits >= limit / 10 || digits <= -(limit / 10))
            return overflow(err);
        digits *= 10;
        scale++;
    }
    while (sum->scale < scale) {
        if (sum->sum >= limit / 10 || sum->sum <= -(limit / 10))
            return overflow(err);
        sum->sum *= 10;
        sum->scale++;
    }
    __int128 total; /* both are below 10^38, and an __int128 holds only 1.7 × 10^38 */
    if (__builtin_add_overflow(sum->sum, digits, &total) || total >= limit || total <= -limit)
        return overflow(err);
    sum->sum = total;
    return TR_OK;
}

static double read_float(struct tr_slice text)
{
    char buf[NUMBER_BYTES];
    size_t len = text.len < sizeof buf - 1 ? text.len : sizeof buf - 1;
    memcpy(buf, text.ptr, len);
    buf[len] = '\0';
    return strtod(buf, NULL);
}

/* < 0, 0, > 0; by the type's order. */
static int compare(enum tr_type type, struct tr_slice a, struct tr_slice b)
{
    if (is_integer(type) || is_decimal(type)) {
        __int128 x, y;
        int32_t x_scale, y_scale;
        if (read_decimal(a, &x, &x_scale) && read_decimal(b, &y, &y_scale) &&
            x_scale + y_scale < DECIMAL_DIGITS_MAX) {
            struct tr_accumulator difference = {.sum = x, .scale = x_scale};
            struct tr_error ignored;
            if (add_decimal(&difference, -y, y_scale, &ignored) == TR_OK)
                return difference.sum < 0 ? -1 : difference.sum > 0;
        }
    }
    if (is_integer(type) || is_decimal(type) || is_float(type)) {
        double x = read_float(a), y = read_float(b);
        if (isnan(x) || isnan(y)) /* the greatest, or the order of rows would decide */
            return (isnan(x) != 0) - (isnan(y) != 0);
        return x < y ? -1 : x > y;
    }
    size_t len = a.len < b.len ? a.len : b.len;
    int order = memcmp(a.ptr, b.ptr, len);
    return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

static enum tr_status keep_text(struct tr_accumulator *sum, struct tr_slice value,
                                struct tr_error *err)
{
    char *copy = realloc(sum->text, value.len + 1);
    if (copy == NULL)
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for a window's value");
    memcpy(copy, value.ptr, value.len);
    copy[value.len] = '\0';
    sum->text = copy;
    sum->text_len = (uint32_t)value.len;
    return TR_OK;
}

enum tr_status tr_accumulate(struct tr_accumulator *sum, enum tr_aggregate_kind kind,
                             enum tr_type type, struct tr_slice value, struct tr_error *err)
{
    sum->count++;
    switch (kind) {
    case TR_AGG_COUNT_ALL:
    case TR_AGG_COUNT:
        return TR_OK;
    case TR_AGG_MIN:
    case TR_AGG_MAX: {
        int order = sum->text == NULL
                        ? 0
                        : compare(type, value, (struct tr_slice){sum->text, sum->text_len});
        if (sum->text == NULL || (kind == TR_AGG_MIN ? order < 0 : order > 0))
            return keep_text(sum, value, err);
        return TR_OK;
    }
    case TR_AGG_SUM:
    case TR_AGG_AVG:
        break;
    }
    if (is_float(type)) {
        sum->float_sum += read_float(value);
        return TR_OK;
    }
    __int128 digits;
    int32_t scale;
    if (!read_decimal(value, &digits, &scale))
        return overflow(err);
    return add_decimal(sum, digits, scale, err);
}

enum tr_status tr_accumulator_join(struct tr_accumulator *a, const struct tr_accumulator *b,
                                   enum tr_aggregate_kind kind, enum tr_type type,
                                   struct tr_error *err)
{
    int64_t count = a->count + b->count;
    enum tr_status status = TR_OK;
    if (b->text != NULL)
        status =
            tr_accumulate(a, kind, type, (struct tr_slice){b->text, b->text_len}, err);
    if (status == TR_OK)
        status = add_decimal(a, b->sum, b->scale, err);
    a->float_sum += b->float_sum;
    a->count = count;
    return status;
}

static size_t print_decimal(__int128 value, int32_t scale, char *buf)
{
    char digits[NUMBER_BYTES];
    size_t count = 0, len = 0;
    bool negative = value < 0;
    unsigned __int128 rest = negative ? -(unsigned __int128)value : (unsigned __int128)value;
    do {
        digits[count++] = (char)('0' + (int)(rest % 10));
        rest /= 10;
    } while (rest > 0 || count <= (size_t)scale);
    if (negative)
        buf[len++] = '-';
    while (count > 0) {
        if (count == (size_t)scale)
            buf[len++] = '.';
        buf[len++] = digits[--count];
    }
    return len;
}

static size_t print_float(double value, char *buf)
{
    if (isnan(value))
        return (size_t)snprintf(buf, NUMBER_BYTES, "NaN");
    if (isinf(value))
        return (size_t)snprintf(buf, NUMBER_BYTES, value < 0 ? "-Infinity" : "Infinity");
    for (int precision = 15; precision < 17; precision++) { /* the shortest that reads back */
        int len = snprintf(buf, NUMBER_BYTES, "%.*g", precision, value);
        if (strtod(buf, NULL) == value)
            return (size_t)len;
    }
    return (size_t)snprintf(buf, NUMBER_BYTES, "%.17g", value);
}

/* A column may have become a float within the window: both sums count. */
static double float_total(const struct tr_accumulator *sum)
{
    char buf[NUMBER_BYTES];
    buf[print_decimal(sum->sum, sum->scale, buf)] = '\0';
    return sum->float_sum + strtod(buf, NULL);
}

enum tr_status tr_accumulator_cell(const struct tr_accumulator *sum, enum tr_aggregate_kind kind,
                                   enum tr_type type, struct tr_arena *arena, struct tr_cell *cell,
                                   struct tr_error *err)
{
    char buf[2 * NUMBER_BYTES];
    size_t len = 0;
    const char *text = buf;
    *cell = (struct tr_cell){.state = TR_CELL_NULL};
    if (sum->count == 0 && kind != TR_AGG_COUNT && kind != TR_AGG_COUNT_ALL)
        return TR_OK;
    switch (kind) {
    case TR_AGG_COUNT_ALL:
    case TR_AGG_COUNT:
        len = (size_t)snprintf(buf, sizeof buf, "%" PRId64, sum->count);
        break;
    case TR_AGG_SUM:
        if (is_integer(type) && (sum->sum > INT64_MAX || sum->sum < INT64_MIN))
            return overflow(err);
        len = is_float(type) ? print_float(float_total(sum), buf)
                             : print_decimal(sum->sum, sum->scale, buf);
        break;
    case TR_AGG_AVG:
        len = print_float(float_total(sum) / (double)sum->count, buf);
        break;
    case TR_AGG_MIN:
    case TR_AGG_MAX:
        text = sum->text;
        len = sum->text_len;
        break;
    }
    char *copy = tr_arena_alloc(arena, len + 1, 1);
    if (copy == NULL)
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for a window's result");
    memcpy(copy, text, len);
    copy[len] = '\0';
    *cell = (struct tr_cell){copy, (uint32_t)len, TR_CELL_TEXT};
    return TR_OK;
}

/* ---- a group as text: [start,end,name,"key",[count,"sum",scale,float,"text"],…] ------------------ */

static void print_string(struct tr_outbuf *out, const char *text, size_t len)
{
    static const char digits[] = "0123456789abcdef";
    tr_outbuf_byte(out, '"');
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c > 0x20 && c < 0x7f && c != '"' && c != '%' && c != '\\') {
            tr_outbuf_byte(out, (char)c);
        } else { /* any other byte as %xx: a key has lengths in it */
            const char escaped[3] = {'%', digits[c >> 4], digits[c & 15]};
            tr_outbuf_bytes(out, escaped, 3);
        }
    }
    tr_outbuf_byte(out, '"');
}

static int hex(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* In place; -1: damaged. */
static int64_t unescape(char *text)
{
    char *to = text;
    for (const char *p = text; *p != '\0'; p++) {
        if (*p != '%') {
            *to++ = *p;
            continue;
        }
        int high = hex(p[1]), low = high < 0 ? -1 : hex(p[2]);
        if (low < 0)
            return -1;
        *to++ = (char)(high << 4 | low);
        p += 2;
    }
    return to - text;
}

void tr_window_group_print(const struct tr_window_group *group, unsigned sum_count,
                           struct tr_outbuf *out)
{
    char number[NUMBER_BYTES];
    tr_outbuf_printf(out, "[%" PRId64 ",%" PRId64 ",%" PRId64 ",", group->start_us,
                     group->end_us, group->mark_start_us);
    print_string(out, group->key, group->key_len);
    for (unsigned i = 0; i < sum_count; i++) {
        const struct tr_accumulator *sum = &group->sums[i];
        size_t len = print_decimal(sum->sum, 0, number);
        tr_outbuf_printf(out, ",[%" PRId64 ",\"%.*s\",%d,\"%a\",", sum->count, (int)len, number,
                         sum->scale, sum->float_sum);
        if (sum->text == NULL)
            tr_outbuf_bytes(out, "null", 4);
        else
            print_string(out, sum->text, sum->text_len);
        tr_outbuf_byte(out, ']');
    }
    tr_outbuf_byte(out, ']');
}

static bool parse_sum(const json_t *item, struct tr_accumulator *sum)
{
    json_int_t count;
    int scale;
    const char *digits, *float_text;
    json_t *text;
    int32_t no_scale;
    if (json_unpack((json_t *)(uintptr_t)item, "[I,s,i,s,o]", &count, &digits, &scale,
                    &float_text, &text) != 0 ||
        !read_decimal((struct tr_slice){digits, strlen(digits)}, &sum->sum, &no_scale) ||
        scale < 0 || scale > DECIMAL_DIGITS_MAX)
        return false;
    sum->count = count;
    sum->scale = scale;
    sum->float_sum = strtod(float_text, NULL);
    if (json_is_null(text))
        return true;
    if (!json_is_string(text))
        return false;
    sum->text = strdup(json_string_value(text));
    int64_t len = sum->text == NULL ? -1 : unescape(sum->text);
    sum->text_len = len < 0 ? 0 : (uint32_t)len;
    return len >= 0;
}

enum tr_status tr_window_group_parse(const char *text, unsigned sum_count,
                                     struct tr_window_group **out, struct tr_error *err)
{
    json_t *root = json_loads(text, 0, NULL);
    struct tr_window_group *group =
        calloc(1, sizeof *group + sum_count * sizeof(struct tr_accumulator));
    bool ok = group != NULL && json_array_size(root) == sum_count + 4u &&
              json_is_integer(json_array_get(root, 0)) &&
              json_is_integer(json_array_get(root, 1)) && json_is_integer(json_array_get(root, 2)) &&
              json_is_string(json_array_get(root, 3));
    if (ok) {
        group->start_us = json_integer_value(json_array_get(root, 0));
        group->end_us = json_integer_value(json_array_get(root, 1));
        group->mark_start_us = json_integer_value(json_array_get(root, 2));
        group->key = strdup(json_string_value(json_array_get(root, 3)));
        int64_t len = group->key == NULL ? -1 : unescape(group->key);
        group->key_len = len < 0 ? 0 : (uint32_t)len;
        ok = len >= 0;
    }
    for (unsigned i = 0; ok && i < sum_count; i++)
        ok = parse_sum(json_array_get(root, i + 4), &group->sums[i]);
    json_decref(root);
    if (ok) {
        group->is_stored = true;
        *out = group;
        return TR_OK;
    }
    if (group != NULL)
        tr_window_group_free(group, sum_count);
    (void)tr_fail(err, TR_E_WINDOW_STATE, "the stored state of a window cannot be read");
    return tr_hint(err, "if window.* of the sink was changed: drain and start over with `tailrace "
                        "drop`, or give the sink another name");
}

void tr_window_group_free(struct tr_window_group *group, unsigned sum_count)
{
    for (unsigned i = 0; i < sum_count; i++)
        free(group->sums[i].text);
    free(group->key);
    free(group);
}
