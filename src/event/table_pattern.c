/* Table patterns: text → for every alternative one to three PCRE2 programs, one per part of the ID.
 *
 *   list     = element*            element = alternative ("," alternative)*
 *   alternative = part ("." part){0,2}
 *
 * In the text, outside (), [] and {}, a comma separates alternatives and a dot separates parts;
 * `\.` becomes the regex dot everywhere, so `\.*` is "anything"; a part that is only `*` is taken
 * for it. Inside brackets a comma or a dot is a character of the expression (`[.]` is a literal
 * dot). Each part is compiled on its own and has to match its whole name, so no expression reaches
 * over a part's border; captures are counted through all parts of the alternative that matches, and
 * a back-reference counts within its part.
 *
 * Matching makes its own match data and reads only shared constants: any thread. Step, depth and
 * heap limits keep a hostile expression from hanging or growing. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "event/table_pattern.h"

#include <pcre2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

#define PARTS_MAX 3u
#define PATTERN_BYTES_MAX 4096u /* one alternative */
#define ALTERNATIVES_MAX 4096u
#define MATCH_STEPS_MAX 200000u
#define MATCH_DEPTH_MAX 2000u
#define MATCH_HEAP_KIB_MAX 4096u
#define COMPILED_NESTING_MAX 100u

struct alternative {
    unsigned part_count;
    pcre2_code *parts[PARTS_MAX];
    uint32_t captures[PARTS_MAX];
};
struct tr_table_pattern {
    struct alternative *alternatives;
    size_t count, capacity;
    unsigned captures; /* what every alternative has */
    pcre2_compile_context *compile_context;
    pcre2_match_context *match_context;
};

/* The place of an error: the element, and where in it the alternative begins. */
struct source {
    const char *element;
    size_t offset; /* of the alternative */
    const char *text;
    size_t len;
};

struct part_text {
    char text[PATTERN_BYTES_MAX + 4];
    uint32_t origin[PATTERN_BYTES_MAX + 4]; /* byte of text → byte of the alternative */
    size_t len;
};

static enum tr_status fail_at(const struct source *source, size_t at, const char *what,
                              struct tr_error *err)
{
    (void)tr_fail(err, TR_E_CONFIG_PATTERN, "table pattern \"%.200s\": %s at character %zu",
                  source->element, what, source->offset + at + 1);
    return tr_hint(err, "An unescaped dot separates the parts namespace.schema.table, `\\.` is any "
                        "character, and `\\.*` any name: shop.public.order_\\.*");
}

/* Bytes that belong together at text[i]: an escape is two. Follows the brackets; in a character
 * class only its ] counts. */
struct bracket_state {
    int depth;
    bool in_class;
    size_t class_start;
};
static void follow(struct bracket_state *state, const char *text, size_t i)
{
    char c = text[i];
    if (state->in_class) {
        /* a ] right behind [ or [^ is a character of the class */
        size_t first = state->class_start + 1 + (text[state->class_start + 1] == '^' ? 1 : 0);
        if (c == ']' && i != first)
            state->in_class = false;
    } else if (c == '[') {
        state->in_class = true;
        state->class_start = i;
    } else if (c == '(' || c == '{') {
        state->depth++;
    } else if ((c == ')' || c == '}') && state->depth > 0) {
        state->depth--;
    }
}
static bool outside(const struct bracket_state *state)
{
    return !state->in_class && state->depth == 0;
}

static enum tr_status compile_part(struct tr_table_pattern *pattern,
                                   struct alternative *alternative, const struct source *source,
                                   struct part_text *part, size_t end, struct tr_error *err)
{
    unsigned index = alternative->part_count;
    int number;
    PCRE2_SIZE offset;
    if (part->len == 0)
        return fail_at(source, end, "a name or expression is expected", err);
    if (index == PARTS_MAX)
        return fail_at(source, part->origin[0], "there is a fourth part", err);
    const char *text = part->text;
    size_t len = part->len;
    if (len == 1 && text[0] == '*') {
        text = ".*";
        len = 2;
    }
    pcre2_code *code = pcre2_compile((PCRE2_SPTR)text, len,
                                     PCRE2_UTF | PCRE2_ANCHORED | PCRE2_ENDANCHORED | PCRE2_DOTALL |
                                         PCRE2_DOLLAR_ENDONLY | PCRE2_NEVER_BACKSLASH_C,
                                     &number, &offset, pattern->compile_context);
    if (code == NULL) {
        char message[160];
        if (number == PCRE2_ERROR_NOMEMORY)
            return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for a table pattern");
        (void)pcre2_get_error_message(number, (PCRE2_UCHAR *)message, sizeof message);
        return fail_at(source, offset < part->len ? part->origin[offset] : end, message, err);
    }
    alternative->parts[index] = code;
    alternative->part_count = index + 1;
    (void)pcre2_pattern_info(code, PCRE2_INFO_CAPTURECOUNT, &alternative->captures[index]);
    return TR_OK;
}

static enum tr_status compile_parts(struct tr_table_pattern *pattern,
                                    struct alternative *alternative, const struct source *source,
                                    struct part_text *part, struct tr_error *err)
{
    struct bracket_state state = {0};
    const char *text = source->text;
    part->len = 0;
    for (size_t i = 0; i < source->len; i++) {
        if (text[i] == '\\' && i + 1 < source->len) {
            if (text[i + 1] != '.') {
                part->origin[part->len] = (uint32_t)i;
                part->text[part->len++] = '\\';
            }
            i++;
        } else if (text[i] == '.' && outside(&state)) {
            if (compile_part(pattern, alternative, source, part, i, err) != TR_OK)
                return TR_FAIL;
            part->len = 0;
            continue;
        } else {
            follow(&state, text, i);
        }
        part->origin[part->len] = (uint32_t)i;
        part->text[part->len++] = text[i];
    }
    return compile_part(pattern, alternative, source, part, source->len, err);
}

static enum tr_status compile_alternative(struct tr_table_pattern *pattern,
                                          const struct source *source, struct tr_error *err)
{
    struct alternative *alternative;
    if (source->len > PATTERN_BYTES_MAX)
        return fail_at(source, PATTERN_BYTES_MAX, "it is too long (4096 bytes are allowed)", err);
    if (pattern->count == pattern->capacity) {
        size_t capacity = pattern->capacity > 0 ? pattern->capacity * 2 : 4;
        if (capacity > ALTERNATIVES_MAX)
            return fail_at(source, 0, "there are more than 4096 patterns", err);
        void *grown = realloc(pattern->alternatives, capacity * sizeof *pattern->alternatives);
        if (grown == NULL)
            return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for a table pattern");
        pattern->alternatives = grown;
        pattern->capacity = capacity;
    }
    struct part_text *part = malloc(sizeof *part);
    if (part == NULL)
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for a table pattern");
    alternative = &pattern->alternatives[pattern->count++];
    memset(alternative, 0, sizeof *alternative);
    enum tr_status status = compile_parts(pattern, alternative, source, part, err);
    free(part);
    if (status != TR_OK)
        return status;
    unsigned captures = 0;
    for (unsigned i = 0; i < alternative->part_count; i++)
        captures += alternative->captures[i];
    if (pattern->count == 1 || captures < pattern->captures)
        pattern->captures = captures;
    return TR_OK;
}

static bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

static enum tr_status compile_element(struct tr_table_pattern *pattern, const char *element,
                                      struct tr_error *err)
{
    struct bracket_state state = {0};
    size_t start = 0, len = strlen(element);
    for (size_t i = 0; i <= len; i++) {
        if (i < len && element[i] == '\\' && i + 1 < len) {
            i++;
            continue;
        }
        if (i < len && !(element[i] == ',' && outside(&state))) {
            follow(&state, element, i);
            continue;
        }
        size_t from = start, to = i;
        while (from < to && is_space(element[from]))
            from++;
        while (to > from && is_space(element[to - 1]))
            to--;
        struct source source = {element, from, element + from, to - from};
        if (compile_alternative(pattern, &source, err) != TR_OK)
            return TR_FAIL;
        start = i + 1;
    }
    return TR_OK;
}

enum tr_status tr_table_pattern_compile(const struct tr_string_list *elements,
                                        struct tr_table_pattern **out, struct tr_error *err)
{
    struct tr_table_pattern *pattern = calloc(1, sizeof *pattern);
    enum tr_status status = TR_OK;
    if (pattern == NULL)
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for a table pattern");
    pattern->compile_context = pcre2_compile_context_create(NULL);
    pattern->match_context = pcre2_match_context_create(NULL);
    if (pattern->compile_context == NULL || pattern->match_context == NULL)
        status = tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for a table pattern");
    else {
        (void)pcre2_set_parens_nest_limit(pattern->compile_context, COMPILED_NESTING_MAX);
        (void)pcre2_set_match_limit(pattern->match_context, MATCH_STEPS_MAX);
        (void)pcre2_set_depth_limit(pattern->match_context, MATCH_DEPTH_MAX);
        (void)pcre2_set_heap_limit(pattern->match_context, MATCH_HEAP_KIB_MAX);
    }
    for (size_t i = 0; status == TR_OK && i < elements->count; i++)
        status = compile_element(pattern, elements->items[i], err);
    if (status == TR_OK)
        *out = pattern;
    else
        tr_table_pattern_free(pattern);
    return status;
}

void tr_table_pattern_free(struct tr_table_pattern *pattern)
{
    if (pattern == NULL)
        return;
    for (size_t i = 0; i < pattern->count; i++)
        for (unsigned part = 0; part < PARTS_MAX; part++)
            pcre2_code_free(pattern->alternatives[i].parts[part]);
    free(pattern->alternatives);
    pcre2_compile_context_free(pattern->compile_context);
    pcre2_match_context_free(pattern->match_context);
    free(pattern);
}

unsigned tr_table_pattern_captures(const struct tr_table_pattern *pattern)
{
    return pattern->count > 0 ? pattern->captures : 0;
}

/* The names that an alternative's parts are held against. */
static void names_of(const struct alternative *alternative, const struct tr_table_id *id,
                     const char *names[PARTS_MAX])
{
    const char *all[PARTS_MAX] = {id->namespace, id->schema, id->table};
    for (unsigned i = 0; i < alternative->part_count; i++) {
        const char *name = all[PARTS_MAX - alternative->part_count + i];
        names[i] = name == NULL ? "" : name;
    }
}

/* 1 match, 0 none, < 0 a PCRE2 error. */
static int match_part(const struct tr_table_pattern *pattern, const pcre2_code *code,
                      const char *name, pcre2_match_data *data)
{
    int result =
        pcre2_match(code, (PCRE2_SPTR)name, strlen(name), 0, 0, data, pattern->match_context);
    if (result == PCRE2_ERROR_NOMATCH)
        return 0;
    return result < 0 ? result : 1;
}

static int match_alternative(const struct tr_table_pattern *pattern,
                             const struct alternative *alternative, const struct tr_table_id *id)
{
    const char *names[PARTS_MAX];
    int result = 1;
    names_of(alternative, id, names);
    for (unsigned i = alternative->part_count; result == 1 && i-- > 0;) {
        pcre2_match_data *data = pcre2_match_data_create(1, NULL);
        if (data == NULL)
            return PCRE2_ERROR_NOMEMORY;
        result = match_part(pattern, alternative->parts[i], names[i], data);
        pcre2_match_data_free(data);
    }
    return result;
}

static const struct alternative *find(const struct tr_table_pattern *pattern,
                                      const struct tr_table_id *id, int *failure)
{
    *failure = 0;
    for (size_t i = 0; i < pattern->count; i++) {
        int result = match_alternative(pattern, &pattern->alternatives[i], id);
        if (result == 1)
            return &pattern->alternatives[i];
        if (result < 0)
            *failure = result;
    }
    return NULL;
}

static const char *failure_text(int failure, char *buf, size_t buf_size)
{
    if (pcre2_get_error_message(failure, (PCRE2_UCHAR *)buf, buf_size) < 0)
        (void)snprintf(buf, buf_size, "PCRE2 error %d", failure);
    return buf;
}

bool tr_table_pattern_match(const struct tr_table_pattern *pattern, const struct tr_table_id *id)
{
    int failure;
    if (find(pattern, id, &failure) != NULL)
        return true;
    if (failure != 0) {
        char text[160], name[256], quoted[300];
        tr_log(TR_LOG_ERROR, "a table pattern could not be decided and counts as no match",
               "code=CONFIG_PATTERN_LIMIT table=%s reason=\"%s\"",
               tr_log_quote(tr_table_id_format(id, name, sizeof name), quoted, sizeof quoted),
               failure_text(failure, text, sizeof text));
    }
    return false;
}

/* Text of capture `number` (from 1) of the alternative that matched; empty when the group took no
 * part. */
static int capture(const struct tr_table_pattern *pattern, const struct alternative *alternative,
                   const struct tr_table_id *id, uint32_t number, char *buf, size_t buf_size,
                   size_t *len)
{
    const char *names[PARTS_MAX];
    unsigned part = 0;
    names_of(alternative, id, names);
    while (part < alternative->part_count && number > alternative->captures[part])
        number -= alternative->captures[part++];
    *len = 0;
    if (part == alternative->part_count)
        return 1;
    pcre2_match_data *data = pcre2_match_data_create_from_pattern(alternative->parts[part], NULL);
    if (data == NULL)
        return PCRE2_ERROR_NOMEMORY;
    int result = match_part(pattern, alternative->parts[part], names[part], data);
    const PCRE2_SIZE *ovector = pcre2_get_ovector_pointer(data);
    PCRE2_SIZE from = ovector[2 * number], to = ovector[2 * number + 1];
    if (result == 1 && from != PCRE2_UNSET && to != PCRE2_UNSET && to > from) {
        *len = to - from;
        if (*len > buf_size)
            result = PCRE2_ERROR_NOMEMORY;
        else
            memcpy(buf, names[part] + from, *len);
    }
    pcre2_match_data_free(data);
    return result;
}

enum tr_status tr_table_pattern_expand(const struct tr_table_pattern *pattern,
                                       const struct tr_table_id *id, const char *replacement,
                                       char *buf, size_t buf_size, struct tr_error *err)
{
    char text[160];
    int failure;
    size_t used = 0;
    const struct alternative *alternative = find(pattern, id, &failure);
    if (alternative == NULL && failure != 0)
        return tr_fail(err, TR_E_CONFIG_PATTERN_LIMIT,
                       "a table pattern could not be decided for table %.100s: %s", id->table,
                       failure_text(failure, text, sizeof text));
    if (alternative == NULL)
        return TR_AGAIN;
    for (const char *p = replacement; *p != '\0'; p++) {
        size_t len = 1;
        if (used + 1 >= buf_size)
            goto too_long;
        if (p[0] != '$' || p[1] < '1' || p[1] > '9') {
            buf[used++] = *p;
            continue;
        }
        int result = capture(pattern, alternative, id, (uint32_t)(p[1] - '0'), buf + used,
                             buf_size - used - 1, &len);
        if (len > buf_size - used - 1)
            goto too_long;
        if (result != 1)
            return tr_fail(err, TR_E_CONFIG_PATTERN_LIMIT,
                           "a capture of table %.100s could not be read: %s", id->table,
                           failure_text(result, text, sizeof text));
        used += len;
        p++;
    }
    if (buf_size == 0)
        goto too_long;
    buf[used] = '\0';
    return TR_OK;
too_long:
    return tr_fail(err, TR_E_ROUTE_TARGET,
                   "the name that a route makes of table %.100s is too long", id->table);
}
