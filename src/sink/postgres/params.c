/* The parameters of a set statement: one array per column, in scratch memory that the writer keeps.
 *
 * A column's array is of its type on the target, as the statement names it (statement.c): so the
 * form is chosen by that type, and an array that travels as text[] is one of texts. Each array of
 * each execution goes in the form that its own values allow; formats belong to the Bind message, so
 * the prepared statement and its plan are the same. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "sink/postgres/array.h"
#include "sink/postgres/encode.h"
#include "sink/postgres/writer.h"

static enum tr_status no_memory(struct tr_error *err)
{
    return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory to apply changes");
}

enum tr_status tr_pgs_params_reserve(struct tr_pgs_writer *writer, uint32_t count,
                                     struct tr_error *err)
{
    struct tr_pgs_params *params = &writer->params;
    if (count <= writer->column_capacity)
        return TR_OK;
    struct tr_outbuf *columns = realloc(writer->columns, count * sizeof *columns);
    if (columns == NULL)
        return no_memory(err);
    memset(columns + writer->column_capacity, 0,
           (count - writer->column_capacity) * sizeof *columns);
    writer->columns = columns;
    const char **values = realloc(params->values, count * sizeof *values);
    if (values != NULL)
        params->values = values;
    int *lengths = realloc(params->lengths, count * sizeof *lengths);
    if (lengths != NULL)
        params->lengths = lengths;
    int *formats = realloc(params->formats, count * sizeof *formats);
    if (formats != NULL)
        params->formats = formats;
    tr_pgs_value_fn *value_fns = realloc(writer->value_fns, count * sizeof *value_fns);
    if (value_fns != NULL)
        writer->value_fns = value_fns;
    if (values == NULL || lengths == NULL || formats == NULL || value_fns == NULL)
        return no_memory(err);
    writer->column_capacity = count;
    return TR_OK;
}

void tr_pgs_params_free(struct tr_pgs_writer *writer)
{
    for (uint32_t i = 0; i < writer->column_capacity; i++)
        tr_outbuf_free(&writer->columns[i]);
    free(writer->columns);
    free(writer->params.values);
    free(writer->params.lengths);
    free(writer->params.formats);
    free(writer->value_fns);
    free(writer->cells);
}

enum tr_status tr_pgs_params_cells(struct tr_pgs_writer *writer, uint32_t count,
                                   struct tr_error *err)
{
    if (count <= writer->cell_capacity)
        return TR_OK;
    const struct tr_cell **cells = realloc(writer->cells, count * sizeof *cells);
    if (cells == NULL)
        return no_memory(err);
    writer->cells = cells;
    writer->cell_capacity = count;
    return TR_OK;
}

enum tr_status tr_pgs_params_array(struct tr_pgs_writer *writer, uint32_t index,
                                   const struct tr_pgs_layout *layout, uint16_t column,
                                   uint32_t count, struct tr_error *err)
{
    const struct tr_pgs_column *target = &layout->target->columns[layout->target_column[column]];
    struct tr_outbuf *out = &writer->columns[index];
    bool binary = tr_pgs_array(out, target->array_type == NULL ? TR_PGS_TEXT_OID : target->type_oid,
                               tr_pgs_type_is_plain(layout->table->columns[column].type),
                               writer->cells, count);
    if (out->failed || out->len > INT_MAX)
        return no_memory(err);
    writer->params.values[index] = out->data;
    writer->params.lengths[index] = (int)out->len;
    writer->params.formats[index] = binary;
    return TR_OK;
}
