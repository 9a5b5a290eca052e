/* Where one message ends and the next begins in a stream of bytes: lines, or CSV records, whose
 * quoted fields may hold newlines. Pure and incremental: a byte is looked at once, however the
 * bytes arrive. One owner at a time. */
#ifndef TR_DECODE_FRAME_H
#define TR_DECODE_FRAME_H

#include <stdbool.h>
#include <stddef.h>

#include "decode/formats.h"

struct tr_frame {
    bool csv;
    char delimiter;
    char quote;     /* '\0': there is no quoting */
    size_t scanned; /* bytes of this record looked at */
    unsigned char state;
};

/* The frame of a format: CSV's, or lines. Errors: CONFIG_VALUE (csv.delimiter, csv.quote). */
enum tr_status tr_frame_init(struct tr_frame *frame, const struct tr_decoder_options *options,
                             struct tr_error *err) TR_WARN_UNUSED;
/* A record begins. */
void tr_frame_start(struct tr_frame *frame);
/* data: the record's bytes so far, from its first; never fewer than at the call before. Gives the
 * size of the record with its newline, 0 while its end is not there. */
size_t tr_frame_end(struct tr_frame *frame, const char *data, size_t len);
/* What was looked at ends within quotes. */
bool tr_frame_is_open(const struct tr_frame *frame);
/* The size of a record without its \n or \r\n (a last one without newline may end in \r). */
size_t tr_frame_trim(const char *data, size_t len);

/* The options' characters: one byte each, \t for a tab; quote may be empty ('\0'). */
enum tr_status tr_csv_characters(const struct tr_decoder_options *options, char *delimiter,
                                 char *quote, struct tr_error *err) TR_WARN_UNUSED;

#endif
