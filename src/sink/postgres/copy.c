/* A large set of new rows: COPY straight into the table.
 *
 * As text, or as binary tuples, where every column's type is one of array.c's: those spare the
 * target's backend the lines, the escapes and the input functions. A tuple's values are read as
 * what the column is at that moment, so the types are looked at once more under a lock first
 * (binary.c); if they are others by now, or the first piece has a value that is not sure to be the
 * same in binary form, text goes. A later value like that ends the COPY (*odd): the batch is rolled
 * back and the table's rows go as text for a while. */
#include "sink/postgres/array.h"
#include "sink/postgres/encode.h"
#include "sink/postgres/writer.h"

#define COPY_PIECE_BYTES (128u << 10)
#define BINARY_ROWS_MIN 1024u /* fewer are not worth the second look */

struct set {
    struct tr_pgs_writer *writer;
    struct tr_pgs_layout *layout;
    struct tr_pgs_shape *shape;
    const struct tr_pgs_row *rows;
    const struct tr_pgs_order *order;
    uint32_t count;
    bool binary;
};

static enum tr_status no_memory(struct tr_error *err)
{
    return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory to copy rows");
}

/* false: a value that is not converted. */
static bool tuple(const struct set *set, const struct tr_cell *cells, struct tr_outbuf *out)
{
    const struct tr_pgs_shape *shape = set->shape;
    tr_outbuf_byte(out, (char)(unsigned char)(shape->column_count >> 8));
    tr_outbuf_byte(out, (char)(unsigned char)(shape->column_count & 255));
    for (uint16_t i = 0; i < shape->column_count; i++) {
        const struct tr_cell *cell = &cells[shape->columns[i]];
        if (cell->state != TR_CELL_TEXT)
            tr_outbuf_lit(out, "\xff\xff\xff\xff");
        else if (!set->writer->value_fns[i](out, cell))
            return false;
    }
    return true;
}

/* Rows from `from` on, as many as make a piece, into writer->sql; *to is the first that is not in
 * it. false: a value that is not converted. */
static bool piece(const struct set *set, uint32_t from, uint32_t *to)
{
    struct tr_outbuf *out = &set->writer->sql;
    uint32_t i = from;
    tr_outbuf_clear(out);
    if (set->binary && from == 0)
        tr_outbuf_bytes(out, TR_PGS_COPY_HEADER, TR_PGS_COPY_HEADER_BYTES);
    for (; i < set->count && out->len < COPY_PIECE_BYTES; i++) {
        const struct tr_cell *cells = set->rows[set->order[i].row].cells;
        if (!set->binary)
            tr_pgs_copy_line(out, cells, set->shape->columns, set->shape->column_count);
        else if (!tuple(set, cells, out))
            return false;
    }
    if (set->binary && i == set->count)
        tr_outbuf_lit(out, TR_PGS_COPY_TRAILER);
    *to = i;
    return true;
}

/* Finds the columns' conversions, and makes the first piece. */
static enum tr_status choose_form(struct set *set, uint32_t *to, struct tr_error *err)
{
    const struct tr_pgs_layout *layout = set->layout;
    struct tr_pgs_writer *writer = set->writer;
    set->binary = set->count >= BINARY_ROWS_MIN && layout->target->text_applies == 0 &&
                  (layout->target->relkind == 'r' || layout->target->relkind == 'p');
    if (set->binary && tr_pgs_params_reserve(writer, set->shape->column_count, err) != TR_OK)
        return TR_FAIL;
    for (uint16_t i = 0; i < set->shape->column_count && set->binary; i++) {
        int32_t column = layout->target_column[set->shape->columns[i]];
        writer->value_fns[i] = tr_pgs_value_of(layout->target->columns[column].type_oid);
        set->binary = writer->value_fns[i] != NULL;
    }
    if (set->binary)
        set->binary = piece(set, 0, to);
    if (set->binary && tr_pgs_types_hold(&writer->link, layout, &set->binary, err) != TR_OK)
        return TR_FAIL;
    if (!set->binary)
        (void)piece(set, 0, to);
    return TR_OK;
}

enum tr_status tr_pgs_copy_rows(struct tr_pgs_writer *writer, struct tr_pgs_layout *layout,
                                struct tr_pgs_shape *shape, const struct tr_pgs_row *rows,
                                const struct tr_pgs_order *order, uint32_t count, bool *odd,
                                struct tr_error *err)
{
    struct set set = {writer, layout, shape, rows, order, count, false};
    uint32_t to = 0;
    uint64_t line;
    *odd = false;
    if (choose_form(&set, &to, err) != TR_OK)
        return TR_FAIL;
    const char *sql = tr_pgs_copy_sql(&writer->link, layout, shape, set.binary);
    if (sql == NULL)
        return no_memory(err);
    if (tr_pgs_copy_begin(&writer->link, sql, err) != TR_OK)
        return TR_FAIL;
    for (;;) {
        if (writer->sql.failed)
            return no_memory(err);
        if (tr_pgs_copy_data(&writer->link, writer->sql.data, writer->sql.len, err) != TR_OK)
            return TR_FAIL;
        if (to == count)
            return tr_pgs_copy_end(&writer->link, NULL, &line, err);
        if (!piece(&set, to, &to)) {
            *odd = true;
            return tr_pgs_copy_give_up(&writer->link, err);
        }
    }
}
