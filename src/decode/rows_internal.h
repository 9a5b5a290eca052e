/* What rows.c (tables) and rows_image.c (cells) share. */
#ifndef TR_DECODE_ROWS_INTERNAL_H
#define TR_DECODE_ROWS_INTERNAL_H

#include "base/arena.h"
#include "decode/rows.h"

#define TR_ROWS_NONE UINT16_MAX

enum tr_rows_origin {
    TR_ROWS_FROM_OPTION, /* `columns`: never changes */
    TR_ROWS_FROM_SCHEMA, /* a schema in a message: changes by tr_rows_declare only */
    TR_ROWS_INFERRED     /* widens as values ask */
};
struct tr_rows_column {
    struct tr_column
        spec; /* name: the table's own (malloc); other strings: static, or of the option */
    uint32_t name_len;
    uint8_t origin; /* enum tr_rows_origin */
};

struct tr_rows_table {
    struct tr_rows *rows;
    struct tr_table_id id; /* one malloc, at id.namespace */
    struct tr_rows_column *columns;
    uint16_t column_count, column_capacity;
    int32_t attnum_last;

    struct tr_table *current; /* published, or restored; NULL before the first row */
    struct tr_table *next;    /* built for the message at hand */
    bool announced;           /* CREATE_TABLE was sent in this process */
    bool stale;               /* restored: the option `columns` may have other ideas */
    bool changed;             /* columns differ from what is built */
    bool mark_due;
    uint16_t built_count;                /* row columns of next, else of current */
    uint16_t hidden[TR_ROWS_HIDDEN_MAX]; /* index in cells, TR_ROWS_NONE */

    struct tr_rows_column *undo; /* columns before this message; NULL: untouched */
    uint16_t undo_count;
    int32_t undo_attnum;

    uint16_t key_count;
    const char *key_names[TR_ROWS_KEY_MAX]; /* of the options, or in own_keys */
    char *own_keys; /* names of tr_rows_set_key or of a restored table; NULL: none */
    uint16_t keys[TR_ROWS_KEY_MAX]; /* column index, TR_ROWS_NONE while there is no such column */

    /* lookup: the place where a name stood the last time, then a hash */
    uint16_t *order;
    uint16_t *slots; /* column index + 1 */
    uint32_t slot_mask;
};

struct tr_rows {
    const struct tr_decoder_options *options;
    struct tr_decoder_context context;
    struct tr_arena arena; /* what the options say */
    struct tr_column *declared;
    size_t declared_count;
    enum tr_unknown_fields unknown; /* never UNSET here */
    const char *hidden[TR_ROWS_HIDDEN_MAX];
    size_t hidden_count;
    uint16_t key_count; /* of primary-keys, or PRIMARY KEY columns */
    const char *keys[TR_ROWS_KEY_MAX];

    struct tr_rows_table **tables; /* in the order of their making */
    size_t table_count, table_capacity;
    struct tr_rows_table *last;  /* of the message before */
    struct tr_rows_table *dirty; /* touched by the message at hand */
    size_t due_count;
    uint32_t *table_slots; /* hash of the ID → index in tables + 1 */
    uint32_t table_mask;
    struct tr_json_doc key_doc;
    struct tr_json_doc text_doc; /* to check JSON that comes in strings */
};

/* Index of a column, -1. position: the place of the field in its row, for the guess. */
int tr_rows_find(struct tr_rows_table *table, uint32_t position, const char *name, size_t len);
/* Before any change of columns: what they were is kept for tr_rows_rollback. */
enum tr_status tr_rows_touch(struct tr_rows_table *table, struct tr_error *err) TR_WARN_UNUSED;
/* Adds a column; spec.name is copied (name_len bytes). key_index and nullable follow the table's
 * key. */
enum tr_status tr_rows_add(struct tr_rows_table *table, const struct tr_column *spec,
                           const char *name, size_t name_len, enum tr_rows_origin origin,
                           struct tr_error *err) TR_WARN_UNUSED;
/* Place of the name in the table's key from 1, 0. */
uint16_t tr_rows_key_place(const struct tr_rows_table *table, const char *name, size_t len);

#endif
