/* The bytes of one open file in order, decompressed where it is compressed. One owner at a time. */
#ifndef TR_SOURCE_FILE_INPUT_H
#define TR_SOURCE_FILE_INPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum tr_filesrc_packing { TR_FILESRC_PLAIN, TR_FILESRC_GZIP, TR_FILESRC_ZSTD, TR_FILESRC_AUTO };

#define TR_FILESRC_EBROKEN (-1) /* in place of an errno value: the compressed data is damaged */

struct tr_filesrc_input; /* knows its descriptor, does not own it */

/* Each gives 0, an errno value or TR_FILESRC_EBROKEN. */

/* is_stream: a descriptor that cannot seek (standard input). */
int tr_filesrc_input_open(int fd, enum tr_filesrc_packing packing, bool is_stream,
                          struct tr_filesrc_input **out);
/* The next bytes; *got 0: there are no more now. Call again when the file has grown. */
int tr_filesrc_input_read(struct tr_filesrc_input *input, void *ptr, size_t size, size_t *got);
/* Goes to an offset of the decompressed stream; a compressed one is read up to there. *reached is
 * less when it ends before. */
int tr_filesrc_input_seek(struct tr_filesrc_input *input, uint64_t offset, uint64_t *reached);
/* Behind *got 0: the compressed data ends within a member or frame. */
bool tr_filesrc_input_is_cut(const struct tr_filesrc_input *input);
void tr_filesrc_input_close(struct tr_filesrc_input *input); /* NULL is fine */

/* By the name's end: .gz, .zst, .zstd, else plain. */
enum tr_filesrc_packing tr_filesrc_packing_of(const char *path);

#endif
