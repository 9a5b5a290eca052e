/* See marks_text.h for the grammar. The reader checks the last line first: without a right checksum
 * nothing else in the file is believed, not even its version. */
#include "event/marks_text.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/outbuf.h"

#define HEX_DIGITS 16u
#define DECIMAL_DIGITS_MAX 20u
static const char end_word[] = "end count=";
static const char hash_word[] = " xxh3-64=";

struct reader {
    const char *at, *end; /* what is left of the file without its last line */
    uint32_t line;
    const char *why;
};

static enum tr_marks_verdict damaged(struct reader *in, const char *why)
{
    in->why = why;
    return TR_MARKS_DAMAGED;
}

static bool next_line(struct reader *in, struct tr_slice *line)
{
    if (in->at == in->end)
        return false;
    const char *newline = memchr(in->at, '\n', (size_t)(in->end - in->at));
    if (newline == NULL)
        return false;
    *line = (struct tr_slice){in->at, (size_t)(newline - in->at)};
    in->at = newline + 1;
    in->line++;
    return true;
}

static bool skip_word(struct tr_slice *line, const char *word, size_t len)
{
    if (line->len < len || memcmp(line->ptr, word, len) != 0)
        return false;
    line->ptr += len;
    line->len -= len;
    return true;
}

/* The whole slice as a decimal in its only spelling: no sign, no leading zero. */
static bool parse_number(struct tr_slice text, uint64_t *number)
{
    uint64_t value = 0;
    if (text.len == 0 || text.len > DECIMAL_DIGITS_MAX || (text.len > 1 && text.ptr[0] == '0'))
        return false;
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9')
            return false;
        if (__builtin_mul_overflow(value, 10u, &value) ||
            __builtin_add_overflow(value, (uint64_t)(text.ptr[i] - '0'), &value))
            return false;
    }
    *number = value;
    return true;
}

static bool parse_hex(struct tr_slice text, uint64_t *number)
{
    uint64_t value = 0;
    if (text.len != HEX_DIGITS)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (c >= '0' && c <= '9')
            value = value << 4 | (uint64_t)(c - '0');
        else if (c >= 'a' && c <= 'f')
            value = value << 4 | (uint64_t)(c - 'a' + 10);
        else
            return false;
    }
    *number = value;
    return true;
}

static bool is_line_text(struct tr_slice text)
{
    return text.len > 0 && memchr(text.ptr, '\n', text.len) == NULL &&
           memchr(text.ptr, '\0', text.len) == NULL;
}

static bool is_created(struct tr_slice text)
{
    static const char shape[] = "dddd-dd-ddTdd:dd:dd.ddddddZ";
    if (text.len != TR_MARKS_TEXT_CREATED_BYTES)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        bool digit = text.ptr[i] >= '0' && text.ptr[i] <= '9';
        if (shape[i] == 'd' ? !digit : text.ptr[i] != shape[i])
            return false;
    }
    return true;
}

static bool is_note_name(struct tr_slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        if ((text.ptr[i] < 'a' || text.ptr[i] > 'z') && text.ptr[i] != '-')
            return false;
    }
    return text.len > 0;
}

static bool is_mark(struct tr_slice key, struct tr_slice value)
{
    if (key.len == 0 || key.len > TR_MARK_KEY_BYTES_MAX || key.ptr[key.len - 1] == '*' ||
        value.len > TR_MARK_VALUE_BYTES_MAX || !is_line_text(value))
        return false;
    for (size_t i = 0; i < key.len; i++) {
        if (key.ptr[i] <= ' ' || key.ptr[i] > '~' || key.ptr[i] == '=')
            return false;
    }
    return true;
}

/* The last line and its checksum; cuts it off in->end. */
static enum tr_marks_verdict read_end(struct reader *in, uint64_t *mark_count)
{
    size_t len = (size_t)(in->end - in->at);
    if (len == 0)
        return damaged(in, "it is empty");
    if (in->end[-1] != '\n')
        return damaged(in, "it is cut off: the last line has no end");
    const char *start = memrchr(in->at, '\n', len - 1);
    start = start == NULL ? in->at : start + 1;
    struct tr_slice last = {start, (size_t)(in->end - 1 - start)};
    if (!skip_word(&last, end_word, sizeof end_word - 1))
        return damaged(in, "it is cut off: the line with the checksum is missing");
    const char *space = memchr(last.ptr, ' ', last.len);
    struct tr_slice count = {last.ptr, space == NULL ? 0 : (size_t)(space - last.ptr)};
    if (!parse_number(count, mark_count))
        return damaged(in, "its last line has no count");
    struct tr_slice hash = {space, last.len - count.len};
    uint64_t expected;
    if (!skip_word(&hash, hash_word, sizeof hash_word - 1) || !parse_hex(hash, &expected))
        return damaged(in, "its last line has no checksum");
    if (XXH3_64bits(in->at, (size_t)(hash.ptr - in->at)) != expected)
        return damaged(in, "its checksum is wrong");
    in->end = start;
    return TR_MARKS_GOOD;
}

static enum tr_marks_verdict read_header(struct reader *in, const char *magic,
                                         struct tr_marks_stamp *stamp)
{
    struct tr_slice line;
    uint64_t version;
    if (!next_line(in, &line) || !skip_word(&line, magic, strlen(magic)) ||
        !skip_word(&line, " ", 1))
        return damaged(in, "its first line is not the expected one: it is another kind of file");
    if (!parse_number(line, &version) || version == 0)
        return damaged(in, "its format version is not a number");
    if (version > TR_MARKS_TEXT_VERSION)
        return TR_MARKS_NEWER;
    if (!next_line(in, &line) || !skip_word(&line, "pipeline: ", 10) || !is_line_text(line) ||
        line.len > TR_MARKS_TEXT_PIPELINE_BYTES_MAX)
        return damaged(in, "the pipeline's name is missing");
    stamp->pipeline = line;
    if (!next_line(in, &line) || !skip_word(&line, "generation: ", 12) ||
        !parse_number(line, &stamp->generation))
        return damaged(in, "the generation is missing");
    if (!next_line(in, &line) || !skip_word(&line, "created: ", 9) || !is_created(line))
        return damaged(in, "the time of creation is missing");
    stamp->created = line;
    return TR_MARKS_GOOD;
}

/* A line whose first colon-space comes before any '=' is a note: a mark's key holds no space. */
static bool read_note(struct tr_slice line, struct tr_marks_note *note)
{
    const char *colon = memchr(line.ptr, ':', line.len);
    if (colon == NULL)
        return false;
    note->name = (struct tr_slice){line.ptr, (size_t)(colon - line.ptr)};
    note->value = (struct tr_slice){colon, line.len - note->name.len};
    return is_note_name(note->name) && skip_word(&note->value, ": ", 2) &&
           is_line_text(note->value);
}

static enum tr_marks_verdict read_marks(struct reader *in, struct tr_marks_stamp *stamp,
                                        struct tr_state *marks)
{
    struct tr_slice line;
    struct tr_error err;
    while (next_line(in, &line)) {
        struct tr_marks_note note;
        if (marks->count == 0 && read_note(line, &note)) {
            if (stamp->note_count == TR_MARKS_TEXT_NOTES_MAX)
                return damaged(in, "it has too many notes");
            stamp->notes[stamp->note_count++] = note;
            continue;
        }
        const char *equals = memchr(line.ptr, '=', line.len);
        if (equals == NULL)
            return damaged(in, "a line is not key=value");
        struct tr_slice key = {line.ptr, (size_t)(equals - line.ptr)};
        struct tr_slice value = {equals + 1, line.len - key.len - 1};
        if (!is_mark(key, value))
            return damaged(in, "a key or a value breaks the rules");
        if (marks->count == TR_MARKS_TEXT_MARKS_MAX)
            return damaged(in, "it has too many lines");
        if (marks->count > 0) {
            /* the key holds no NUL: equal over its length means previous >= key */
            if (strncmp(marks->items[marks->count - 1].key, key.ptr, key.len) >= 0)
                return damaged(in, "its keys are not in order");
        }
        if (tr_state_apply(marks, key, value, &err) != TR_OK)
            return TR_MARKS_NO_MEMORY; /* the rules were checked above */
    }
    if (in->at != in->end)
        return damaged(in, "a line has no end");
    return TR_MARKS_GOOD;
}

enum tr_marks_verdict tr_marks_text_parse(const char *magic, const char *data, size_t len,
                                          struct tr_marks_stamp *stamp, struct tr_state *marks,
                                          const char **why, uint32_t *line)
{
    struct reader in = {.at = data, .end = data + len};
    uint64_t mark_count = 0;
    *stamp = (struct tr_marks_stamp){0};
    tr_state_clear(marks);
    enum tr_marks_verdict verdict = TR_MARKS_GOOD;
    if (len > TR_MARKS_TEXT_BYTES_MAX)
        verdict = damaged(&in, "it is longer than such a file can be");
    if (verdict == TR_MARKS_GOOD)
        verdict = read_end(&in, &mark_count);
    if (verdict == TR_MARKS_GOOD)
        verdict = read_header(&in, magic, stamp);
    if (verdict == TR_MARKS_GOOD)
        verdict = read_marks(&in, stamp, marks);
    if (verdict == TR_MARKS_GOOD && marks->count != mark_count)
        verdict = damaged(&in, "its count does not match its lines");
    if (verdict != TR_MARKS_GOOD)
        tr_state_clear(marks);
    *why = in.why == NULL ? "" : in.why;
    *line = in.line;
    return verdict;
}

bool tr_marks_text_format(const char *magic, const struct tr_marks_stamp *stamp,
                          const struct tr_state *marks, struct tr_outbuf *out)
{
    tr_outbuf_clear(out);
    if (!is_line_text(stamp->pipeline) || stamp->pipeline.len > TR_MARKS_TEXT_PIPELINE_BYTES_MAX ||
        !is_created(stamp->created) || stamp->note_count > TR_MARKS_TEXT_NOTES_MAX ||
        marks->count > TR_MARKS_TEXT_MARKS_MAX)
        return false;
    tr_outbuf_str(out, magic);
    tr_outbuf_lit(out, " ");
    tr_outbuf_u64(out, TR_MARKS_TEXT_VERSION);
    tr_outbuf_lit(out, "\npipeline: ");
    tr_outbuf_bytes(out, stamp->pipeline.ptr, stamp->pipeline.len);
    tr_outbuf_lit(out, "\ngeneration: ");
    tr_outbuf_u64(out, stamp->generation);
    tr_outbuf_lit(out, "\ncreated: ");
    tr_outbuf_bytes(out, stamp->created.ptr, stamp->created.len);
    tr_outbuf_lit(out, "\n");
    for (uint32_t i = 0; i < stamp->note_count; i++) {
        const struct tr_marks_note *note = &stamp->notes[i];
        if (!is_note_name(note->name) || !is_line_text(note->value))
            return false;
        tr_outbuf_bytes(out, note->name.ptr, note->name.len);
        tr_outbuf_lit(out, ": ");
        tr_outbuf_bytes(out, note->value.ptr, note->value.len);
        tr_outbuf_lit(out, "\n");
    }
    for (size_t i = 0; i < marks->count; i++) {
        const struct tr_state_item *item = &marks->items[i];
        if (!is_mark((struct tr_slice){item->key, strlen(item->key)},
                     (struct tr_slice){item->value, strlen(item->value)}))
            return false;
        tr_outbuf_str(out, item->key);
        tr_outbuf_lit(out, "=");
        tr_outbuf_str(out, item->value);
        tr_outbuf_lit(out, "\n");
        if (out->len > TR_MARKS_TEXT_BYTES_MAX)
            return false;
    }
    tr_outbuf_str(out, end_word);
    tr_outbuf_u64(out, marks->count);
    tr_outbuf_str(out, hash_word);
    if (out->failed)
        return false;
    tr_outbuf_printf(out, "%016llx\n", (unsigned long long)XXH3_64bits(out->data, out->len));
    return !out->failed && out->len <= TR_MARKS_TEXT_BYTES_MAX;
}

struct tr_slice tr_marks_text_created(int64_t wall_us, char *buf, size_t buf_size)
{
    time_t seconds = (time_t)(wall_us / 1000000);
    long micros = (long)(wall_us % 1000000);
    if (micros < 0) {
        micros += 1000000;
        seconds--;
    }
    struct tm utc;
    (void)gmtime_r(&seconds, &utc);
    size_t len = strftime(buf, buf_size, "%Y-%m-%dT%H:%M:%S", &utc);
    if (len > 0)
        (void)snprintf(buf + len, buf_size - len, ".%06ldZ", micros);
    return (struct tr_slice){buf, strlen(buf)};
}

struct tr_slice tr_marks_text_note(const struct tr_marks_stamp *stamp, const char *name)
{
    for (uint32_t i = 0; i < stamp->note_count; i++) {
        if (stamp->notes[i].name.len == strlen(name) &&
            memcmp(stamp->notes[i].name.ptr, name, stamp->notes[i].name.len) == 0)
            return stamp->notes[i].value;
    }
    return (struct tr_slice){NULL, 0};
}
