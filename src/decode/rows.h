/* Tables that are learned from messages: which columns each has, how they grow, and the way from a
 * message's fields to cells. Every format of decode/ that has rows uses it. One thread.
 *
 * One message goes like this:
 *
 *     status = tr_rows_table(rows, id, &table, err);
 *     status = tr_rows_settle(table, fill, context, err);   calls fill once, or twice when the
 * schema had to change: fill makes the images status = tr_rows_publish(table, batch, err);
 * CREATE_TABLE / ALTER_TABLE events … append the row events, with tr_rows_current(table) … on any
 * TR_FAIL: tr_rows_rollback(rows, batch)         as if the message had not been there
 *
 * A column is declared (option `columns`, or given by a schema in the message: tr_rows_declare) or
 * inferred from values. Declared columns never change by values; a value that does not convert is
 * malformed. Inferred columns widen: BIGINT and DOUBLE to DECIMAL when a number would lose digits,
 * anything to STRING. A field that was always null has no column yet. Columns are never dropped: a
 * message of an older writer must not take away what a newer one added.
 *
 * Columns keep a number of their own in source_attnum, so that a schema difference is never guessed
 * from names and places. */
#ifndef TR_DECODE_ROWS_H
#define TR_DECODE_ROWS_H

#include "decode/formats.h"
#include "decode/json_reader.h"
#include "event/batch.h"

#define TR_ROWS_TABLES_MAX 4096
#define TR_ROWS_COLUMNS_MAX 1600
#define TR_ROWS_NAME_BYTES_MAX 255
#define TR_ROWS_HIDDEN_MAX 2
#define TR_ROWS_KEY_MAX 32
#define TR_ROWS_MESSAGE_MAX                                                                        \
    (TR_DECODE_EVENTS_MAX - 2) /* rows: CREATE and ALTER come before them                          \
                                */

struct tr_rows;
struct tr_rows_table;

/* hidden: names of STRING columns behind the row's own, up to TR_ROWS_HIDDEN_MAX; a table whose
 * rows have a column of that name goes without. Errors: DECODE_OPTION, OUT_OF_MEMORY. */
enum tr_status tr_rows_new(const struct tr_decoder_options *options,
                           const struct tr_decoder_context *context, const char *const *hidden,
                           size_t hidden_count, struct tr_rows **out,
                           struct tr_error *err) TR_WARN_UNUSED;
void tr_rows_free(struct tr_rows *rows); /* NULL is fine */
/* tr_decoder_ops.restore and .schema_marks. */
enum tr_status tr_rows_restore(struct tr_rows *rows, const struct tr_state *marks,
                               struct tr_error *err) TR_WARN_UNUSED;
enum tr_status tr_rows_marks(struct tr_rows *rows, struct tr_batch *batch,
                             const struct tr_mark **marks, uint32_t *count,
                             struct tr_error *err) TR_WARN_UNUSED;

/* The table of an ID; made when it is new. Slices need not end with NUL.
 * Errors: MESSAGE_LIMIT (too many tables), MESSAGE_ENVELOPE (a name that cannot be one). */
enum tr_status tr_rows_table(struct tr_rows *rows, struct tr_slice namespace,
                             struct tr_slice schema, struct tr_slice name,
                             struct tr_rows_table **out, struct tr_error *err) TR_WARN_UNUSED;
/* The same by the rule of tr_decoder_context.table: the source's name, else the split's. */
enum tr_status tr_rows_table_of_message(struct tr_rows *rows, const struct tr_message *message,
                                        struct tr_rows_table **out,
                                        struct tr_error *err) TR_WARN_UNUSED;

/* The key's columns as the message names them. Taken once: by a table that no row was published of,
 * and only when the options name no key. More than TR_ROWS_KEY_MAX: MESSAGE_LIMIT. */
enum tr_status tr_rows_set_key(struct tr_rows_table *table, const struct tr_slice *names,
                               size_t count, struct tr_error *err) TR_WARN_UNUSED;

/* fill: TR_FAIL ends it. */
typedef enum tr_status (*tr_rows_fill_fn)(void *context, struct tr_rows_table *table,
                                          struct tr_error *err);
enum tr_status tr_rows_settle(struct tr_rows_table *table, tr_rows_fill_fn fill, void *context,
                              struct tr_error *err) TR_WARN_UNUSED;
enum tr_status tr_rows_publish(struct tr_rows_table *table, struct tr_batch *batch,
                               struct tr_error *err) TR_WARN_UNUSED;
/* Takes back what the message did to tables; the batch's event_count is the caller's to restore. */
void tr_rows_rollback(struct tr_rows *rows);

/* ---- within fill ---------------------------------------------------------------------------- */

enum tr_rows_image {
    TR_ROWS_FULL, /* a missing column is NULL; `fail-on-missing-field`, NOT NULL and the key hold */
    TR_ROWS_PARTIAL, /* a missing column is ABSENT; only what is there is checked */
    TR_ROWS_KEY      /* as PARTIAL, and the key's columns (if the table has a key) must be there */
};
struct tr_rows_input {
    struct tr_batch *batch;
    const char *text; /* the message's value: offsets in errors count from here */
    struct tr_slice
        key;        /* the message's key: key columns that the image lacks (NULL or ABSENT) are
                       looked for in it: a JSON object, bare or {schema, payload}. ptr NULL: not */
    bool key_plain; /* a key that is no object is the value of the only key column */
    bool json_in_strings;    /* a string for a JSON column holds JSON text */
    const char *placeholder; /* a string that stands for a value that the source did not send:
                                UNCHANGED in a full image, ABSENT in others. NULL: none */
};
/* All cells of one image from an object's members. *cells has room for hidden columns too (NULL
 * until tr_rows_set_hidden). Errors: MESSAGE_VALUE, MESSAGE_FIELD, MESSAGE_KEY, MESSAGE_LIMIT. */
enum tr_status tr_rows_object(struct tr_rows_table *table, const struct tr_rows_input *input,
                              const struct tr_json_doc *doc, const struct tr_json_node *object,
                              enum tr_rows_image image, struct tr_cell **cells,
                              struct tr_error *err) TR_WARN_UNUSED;
/* The same from parallel arrays of names and texts; a value with ptr NULL is NULL. Texts are UTF-8
 * without NUL. New columns are STRING. */
enum tr_status tr_rows_texts(struct tr_rows_table *table, const struct tr_rows_input *input,
                             const struct tr_slice *names, const struct tr_slice *values,
                             size_t count, enum tr_rows_image image, struct tr_cell **cells,
                             struct tr_error *err) TR_WARN_UNUSED;
/* An image to be filled by hand (formats with typed values): ABSENT cells, to be set by the indexes
 * of tr_rows_declare where they are below tr_rows_built, then finish. */
enum tr_status tr_rows_image_new(struct tr_rows_table *table, const struct tr_rows_input *input,
                                 struct tr_cell **cells, struct tr_error *err) TR_WARN_UNUSED;
enum tr_status tr_rows_image_finish(struct tr_rows_table *table, const struct tr_rows_input *input,
                                    enum tr_rows_image image, struct tr_cell *cells,
                                    struct tr_error *err) TR_WARN_UNUSED;
/* Row columns that the cells of this round have room for. A value for a later column is looked at
 * again in the next round. */
size_t tr_rows_built(const struct tr_rows_table *table);
/* Sets hidden column number `hidden`, if the table has it. */
void tr_rows_set_hidden(const struct tr_rows_table *table, size_t hidden, struct tr_cell *cells,
                        struct tr_cell value);
/* A column as a schema in the message describes it: added when new, widened when it must hold more
 * (both types' values), left alone when it holds it already or the option `columns` names it.
 * key_index is not looked at: see tr_rows_set_key. *index is its place in cells. Name and strings
 * are copied. With unknown-fields ignore a column that is not there gives *index -1; with fail,
 * TR_FAIL. */
enum tr_status tr_rows_declare(struct tr_rows_table *table, const struct tr_column *column,
                               int *index, struct tr_error *err) TR_WARN_UNUSED;

/* ---- what a table is ------------------------------------------------------------------------ */

/* The schema of the cells that the last round of fill made; published by tr_rows_publish. */
const struct tr_table *tr_rows_current(const struct tr_rows_table *table);
const struct tr_column *tr_rows_column(const struct tr_rows_table *table, int index);
size_t tr_rows_key_count(const struct tr_rows_table *table);
/* Has a row been published, in this process or before it? */
bool tr_rows_is_known(const struct tr_rows_table *table);
/* Do both images have the key's columns, and do they differ? */
bool tr_rows_key_changed(const struct tr_rows_table *table, const struct tr_cell *before,
                         const struct tr_cell *after);

#endif
