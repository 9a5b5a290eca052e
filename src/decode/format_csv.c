/* Format "csv": a record is a row (RFC 4180; frame.h finds where a record ends).
 *
 *   record   = field *(delimiter field)
 *   field    = quote *(byte | quote quote) quote      quoted: may hold delimiters and newlines
 *            | *byte                                  plain: a quote within it is a byte like
 * others
 *
 * Names: with csv.header the message at position 0 of a split is that file's header and makes no
 * event; a file's rows are matched to columns by its own header, so files may have their columns in
 * another order. Without a header the fields are those of `columns`, in their order. Types are
 * those of `columns`; every other column is STRING: nothing is guessed from values, as 007 may be a
 * name.
 *
 * A plain field that is exactly csv.null is NULL. A record with another number of fields than its
 * names is malformed, and so is every record of a file whose header is. */
#include <stdlib.h>
#include <string.h>

#include "decode/format_common.h"
#include "decode/frame.h"
#include "decode/rows_columns.h"

#define CSV_HEADERS_MAX 65536 /* different ones; as many as there may be splits */

struct header {
    size_t count;
    struct tr_slice *names;   /* NUL-terminated; they follow in the same allocation */
    struct tr_slice text;     /* the record, to know an equal one */
    struct tr_rows_table *in; /* whose columns are known to have these names */
};

struct tr_decoder {
    struct tr_rows *rows;
    char delimiter, quote;
    struct tr_slice null;
    bool has_header;
    struct tr_arena arena;   /* what `columns` says */
    struct header *columns;  /* the names without a header */
    struct header **headers; /* different ones */
    size_t header_count, header_capacity;
    struct header **by_split;
    size_t split_capacity;
    struct tr_slice fields[TR_ROWS_COLUMNS_MAX];
};

struct work {
    struct tr_decoder *decoder;
    struct header *header;
    struct tr_rows_input input;
    struct tr_cell *cells;
};

static void close_decoder(struct tr_decoder *decoder)
{
    if (decoder == NULL)
        return;
    tr_rows_free(decoder->rows);
    tr_arena_free(&decoder->arena);
    for (size_t i = 0; i < decoder->header_count; i++)
        free(decoder->headers[i]);
    free(decoder->columns);
    free(decoder->headers);
    free(decoder->by_split);
    free(decoder);
}

/* One allocation: the struct, the names, and their bytes with a NUL each. */
static struct header *new_header(const struct tr_slice *names, size_t count, struct tr_slice text)
{
    size_t bytes = text.len + 1;
    for (size_t i = 0; i < count; i++)
        bytes += names[i].len + 1;
    struct header *header = malloc(sizeof *header + count * sizeof *names + bytes);
    if (header == NULL)
        return NULL;
    *header = (struct header){.count = count, .names = (struct tr_slice *)(header + 1)};
    char *at = (char *)(header->names + count);
    for (size_t i = 0; i < count; i++) {
        memcpy(at, names[i].ptr, names[i].len);
        at[names[i].len] = '\0';
        header->names[i] = (struct tr_slice){at, names[i].len};
        at += names[i].len + 1;
    }
    if (text.len > 0)
        memcpy(at, text.ptr, text.len);
    header->text = (struct tr_slice){at, text.len};
    return header;
}

static enum tr_status names_of_columns(struct tr_decoder *decoder,
                                       const struct tr_decoder_options *options,
                                       struct tr_error *err)
{
    struct tr_column *columns;
    size_t count;
    if (decoder->has_header)
        return TR_OK;
    if (options->columns.count == 0)
        return tr_fail(err, TR_E_DECODE_OPTION, "csv without a header needs the option columns");
    if (tr_columns_parse(&options->columns, &decoder->arena, &columns, &count, err) != TR_OK)
        return TR_FAIL;
    if (count > TR_ROWS_COLUMNS_MAX)
        return tr_fail(err, TR_E_DECODE_OPTION, "columns names more than %d columns",
                       TR_ROWS_COLUMNS_MAX);
    for (size_t i = 0; i < count; i++)
        decoder->fields[i] = tr_slice_of(columns[i].name);
    decoder->columns = new_header(decoder->fields, count, (struct tr_slice){NULL, 0});
    if (decoder->columns == NULL)
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for a decoder");
    return TR_OK;
}

static enum tr_status open_decoder(const void *bound, const struct tr_decoder_context *context,
                                   struct tr_decoder **out, struct tr_error *err)
{
    const struct tr_decoder_options *options = bound;
    struct tr_decoder *decoder = calloc(1, sizeof *decoder);
    if (decoder == NULL)
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for a decoder");
    tr_arena_init(&decoder->arena, 1024, 0);
    decoder->has_header = options->csv_header;
    decoder->null = tr_slice_of(options->csv_null);
    if (tr_csv_characters(options, &decoder->delimiter, &decoder->quote, err) != TR_OK ||
        tr_rows_new(options, context, NULL, 0, &decoder->rows, err) != TR_OK ||
        names_of_columns(decoder, options, err) != TR_OK) {
        close_decoder(decoder);
        return TR_FAIL;
    }
    *out = decoder;
    return TR_OK;
}

static enum tr_status restore(struct tr_decoder *decoder, const struct tr_state *marks,
                              struct tr_error *err)
{
    return tr_rows_restore(decoder->rows, marks, err);
}

/* ---- a record ---------------------------------------------------------------------------------
 */

static enum tr_status bad_quote(size_t offset, size_t field, struct tr_error *err)
{
    (void)tr_fail(err, TR_E_CSV_QUOTE, "a quoted field does not end where it should");
    return tr_detail(err, "field %zu, at byte %zu of the record", field + 1, offset);
}

/* Doubled quotes become one; in the batch's memory. */
static bool undouble(struct tr_batch *batch, char quote, struct tr_slice *field)
{
    char *copy = tr_batch_copy(batch, field->ptr, field->len);
    size_t len = 0;
    if (copy == NULL)
        return false;
    for (size_t i = 0; i < field->len; i++) {
        copy[len++] = copy[i];
        if (copy[i] == quote)
            i++; /* the second of the two */
    }
    *field = (struct tr_slice){copy, len};
    return true;
}

/* A quoted field at `at`; *next is behind its closing quote. */
static enum tr_status take_quoted(const struct tr_decoder *decoder, struct tr_batch *batch,
                                  struct tr_slice record, size_t at, size_t index, size_t *next,
                                  struct tr_slice *field, struct tr_error *err)
{
    bool doubled = false;
    const char *begin = record.ptr + at + 1, *end = record.ptr + record.len, *from = begin;
    for (;;) {
        const char *quote = from == end ? NULL : memchr(from, decoder->quote, (size_t)(end - from));
        if (quote == NULL)
            return bad_quote(at, index, err);
        from = quote + 1;
        if (from == end || *from != decoder->quote) {
            *field = (struct tr_slice){begin, (size_t)(quote - begin)};
            break;
        }
        doubled = true;
        from++;
    }
    *next = (size_t)(from - record.ptr);
    if (*next < record.len && record.ptr[*next] != decoder->delimiter)
        return bad_quote(*next, index, err);
    if (doubled && !undouble(batch, decoder->quote, field))
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for a field");
    return TR_OK;
}

/* Splits a record into decoder->fields. count_max: more are not kept, but counted. NULL: ptr NULL.
 */
static enum tr_status split(struct tr_decoder *decoder, struct tr_batch *batch,
                            struct tr_slice record, bool with_nulls, size_t *count,
                            struct tr_error *err)
{
    size_t at = 0;
    *count = 0;
    for (;;) {
        struct tr_slice field;
        size_t next = record.len;
        if (at < record.len && decoder->quote != '\0' && record.ptr[at] == decoder->quote) {
            if (take_quoted(decoder, batch, record, at, *count, &next, &field, err) != TR_OK)
                return TR_FAIL;
        } else {
            const char *begin = record.ptr + at;
            const char *end =
                at == record.len ? NULL : memchr(begin, decoder->delimiter, record.len - at);
            if (end != NULL)
                next = (size_t)(end - record.ptr);
            field = (struct tr_slice){begin, next - at};
            if (with_nulls && field.len == decoder->null.len &&
                (field.len == 0 || memcmp(field.ptr, decoder->null.ptr, field.len) == 0))
                field.ptr = NULL;
        }
        if (*count < TR_ROWS_COLUMNS_MAX)
            decoder->fields[*count] = field;
        ++*count;
        if (next == record.len)
            return TR_OK;
        at = next + 1;
    }
}

static enum tr_status check_text(struct tr_slice record, struct tr_error *err)
{
    if (record.ptr == NULL)
        return tr_fail(err, TR_E_CSV_FIELDS, "the message has no record");
    if (!tr_utf8_valid(record.ptr, record.len))
        return tr_fail(err, TR_E_CSV_VALUE, "the record is not UTF-8, or holds a NUL byte");
    return TR_OK;
}

/* ---- headers ----------------------------------------------------------------------------------
 */

static enum tr_status check_names(const struct tr_decoder *decoder, size_t count,
                                  struct tr_error *err)
{
    if (count > TR_ROWS_COLUMNS_MAX)
        return tr_fail(err, TR_E_CSV_HEADER, "the header names %zu columns, more than %d", count,
                       TR_ROWS_COLUMNS_MAX);
    for (size_t i = 0; i < count; i++) {
        const struct tr_slice *name = &decoder->fields[i];
        if (name->len == 0 || name->len > TR_ROWS_NAME_BYTES_MAX)
            return tr_fail(err, TR_E_CSV_HEADER, "column %zu of the header has %s", i + 1,
                           name->len == 0 ? "no name" : "too long a name");
        for (size_t k = 0; k < i; k++) {
            if (decoder->fields[k].len == name->len &&
                memcmp(decoder->fields[k].ptr, name->ptr, name->len) == 0)
                return tr_fail(err, TR_E_CSV_HEADER,
                               "columns %zu and %zu of the header have the same name", k + 1,
                               i + 1);
        }
    }
    return TR_OK;
}

static bool grow(void *items, size_t *capacity, size_t wanted, size_t size)
{
    void **place = items;
    size_t larger = *capacity == 0 ? 16 : *capacity;
    if (wanted <= *capacity)
        return true;
    while (larger < wanted)
        larger *= 2;
    char *moved = realloc(*place, larger * size);
    if (moved == NULL)
        return false;
    memset(moved + *capacity * size, 0, (larger - *capacity) * size);
    *place = moved;
    *capacity = larger;
    return true;
}

static struct header *find_header(const struct tr_decoder *decoder, struct tr_slice text)
{
    for (size_t i = 0; i < decoder->header_count; i++) {
        struct header *header = decoder->headers[i];
        if (header->text.len == text.len && memcmp(header->text.ptr, text.ptr, text.len) == 0)
            return header;
    }
    return NULL;
}

static enum tr_status read_header(struct tr_decoder *decoder, struct tr_batch *batch,
                                  struct tr_slice record, struct header **out, struct tr_error *err)
{
    size_t count;
    *out = NULL;
    if (check_text(record, err) != TR_OK)
        return TR_FAIL;
    if ((*out = find_header(decoder, record)) != NULL)
        return TR_OK;
    if (split(decoder, batch, record, false, &count, err) != TR_OK ||
        check_names(decoder, count, err) != TR_OK)
        return TR_FAIL;
    if (decoder->header_count == CSV_HEADERS_MAX)
        return tr_fail(err, TR_E_CSV_HEADER, "more than %d different headers", CSV_HEADERS_MAX);
    struct header *header = new_header(decoder->fields, count, record);
    if (header == NULL || !grow(&decoder->headers, &decoder->header_capacity,
                                decoder->header_count + 1, sizeof *decoder->headers)) {
        free(header);
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for a header");
    }
    decoder->headers[decoder->header_count++] = *out = header;
    return TR_OK;
}

static enum tr_status take_header(struct tr_decoder *decoder, const struct tr_message *message,
                                  struct tr_batch *batch, struct tr_error *err)
{
    struct header *header;
    if (!grow(&decoder->by_split, &decoder->split_capacity, (size_t)message->split->index + 1,
              sizeof *decoder->by_split))
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for headers");
    enum tr_status status = read_header(decoder, batch, message->value, &header, err);
    decoder->by_split[message->split->index] = header; /* NULL after a failure */
    return status;
}

/* ---- rows -------------------------------------------------------------------------------------
 */

static enum tr_status declare(struct header *header, struct tr_rows_table *table,
                              struct tr_error *err)
{
    for (size_t i = 0; i < header->count; i++) {
        const struct tr_column column = {.name = header->names[i].ptr,
                                         .type = TR_T_STRING,
                                         .elem_type = TR_T_OTHER,
                                         .source_type = "STRING",
                                         .source_type_base = "STRING",
                                         .source_typmod = -1,
                                         .nullable = true};
        int index;
        if (tr_rows_declare(table, &column, &index, err) != TR_OK)
            return TR_FAIL;
    }
    return TR_OK;
}

static enum tr_status fill(void *context, struct tr_rows_table *table, struct tr_error *err)
{
    struct work *work = context;
    struct header *header = work->header;
    if (header->in != table && declare(header, table, err) != TR_OK)
        return TR_FAIL;
    return tr_rows_texts(table, &work->input, header->names, work->decoder->fields, header->count,
                         TR_ROWS_FULL, &work->cells, err);
}

static enum tr_status decode_row(struct work *work, const struct tr_message *message,
                                 struct tr_error *err)
{
    struct tr_decoder *decoder = work->decoder;
    struct tr_rows_table *table;
    size_t count;
    if (work->header == NULL)
        return tr_fail(err, TR_E_CSV_HEADER, "the header of this record's file is not usable");
    if (check_text(message->value, err) != TR_OK ||
        split(decoder, work->input.batch, message->value, true, &count, err) != TR_OK)
        return TR_FAIL;
    if (count != work->header->count)
        return tr_fail(err, TR_E_CSV_FIELDS, "the record has %zu fields, not %zu", count,
                       work->header->count);
    if (tr_rows_table_of_message(decoder->rows, message, &table, err) != TR_OK ||
        tr_rows_settle(table, fill, work, err) != TR_OK)
        return TR_FAIL;
    const struct tr_format_row row = {.op = TR_OP_CREATE, .after = work->cells};
    if (tr_format_rows(table, work->input.batch, &row, 1, message->ts_us, err) != TR_OK)
        return TR_FAIL;
    work->header->in = table;
    return TR_OK;
}

static enum tr_status decode(struct tr_decoder *decoder, const struct tr_message *message,
                             struct tr_batch *batch, struct tr_error *err)
{
    uint32_t first = batch->event_count, index = message->split->index;
    if (decoder->has_header && message->position == 0)
        return take_header(decoder, message, batch, err);
    struct work work = {.decoder = decoder,
                        .header = decoder->columns,
                        .input = {.batch = batch, .text = message->value.ptr}};
    if (decoder->has_header)
        work.header = index < decoder->split_capacity ? decoder->by_split[index] : NULL;
    return tr_format_end(decoder->rows, batch, first, decode_row(&work, message, err));
}

static enum tr_status schema_marks(struct tr_decoder *decoder, struct tr_batch *batch,
                                   const struct tr_mark **marks, uint32_t *count,
                                   struct tr_error *err)
{
    return tr_rows_marks(decoder->rows, batch, marks, count, err);
}

extern const struct tr_decoder_ops tr_decoder_csv;
const struct tr_decoder_ops tr_decoder_csv = {
    .name = "csv",
    .summary = "a row per record (RFC 4180), columns by the header or the option columns",
    .open = open_decoder,
    .restore = restore,
    .decode = decode,
    .schema_marks = schema_marks,
    .close = close_decoder,
};
