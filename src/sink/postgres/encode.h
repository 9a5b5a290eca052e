/* Cells → COPY text lines and array literals; COPY text lines → cells. Pure. */
#ifndef TR_SINK_POSTGRES_ENCODE_H
#define TR_SINK_POSTGRES_ENCODE_H

#include "base/arena.h"
#include "base/outbuf.h"
#include "tailrace/event.h"

/* One line with its newline: the cells of `columns`. Cells are TEXT, BINARY or NULL. */
void tr_pgs_copy_line(struct tr_outbuf *out, const struct tr_cell *cells, const uint16_t *columns,
                      uint16_t count);
/* A raw COPY line without the fields whose target_column is negative. false: not column_count
 * fields. */
bool tr_pgs_cut_line(struct tr_outbuf *out, struct tr_slice line, const int32_t *target_column,
                     uint16_t column_count);
/* Splits and unescapes a raw COPY line into NUL-terminated TEXT cells in the arena. false: wrong
 * number of fields, or no memory. */
bool tr_pgs_split_line(struct tr_slice line, struct tr_cell *cells, uint16_t column_count,
                       struct tr_arena *arena);
/* One element of an array literal (without braces and commas). `plain`: values of this type never
 * need quotes. */
void tr_pgs_array_item(struct tr_outbuf *out, const struct tr_cell *cell, bool plain);
bool tr_pgs_type_is_plain(enum tr_type type);
/* Bytes → \x and hex digits; out has 2 * len + 2 bytes. */
void tr_pgs_hex(char *out, const char *bytes, size_t len);

#endif
