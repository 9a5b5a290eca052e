/* One file being written: bytes → compressor → temporary file. One owner. */
#ifndef TR_SINK_FILE_OUTPUT_H
#define TR_SINK_FILE_OUTPUT_H

#include <stddef.h>
#include <stdint.h>

#include "sink/file/file.h"

#define TR_FILE_NAME_BYTES 96
#define TR_FILE_TEMP_SUFFIX ".tmp"

struct tr_file_output;

/* These give 0, an errno value, or TR_FILE_ECOMPRESS when the compression library fails. */
#define TR_FILE_ECOMPRESS (-1)

const char *tr_file_suffix(enum tr_file_compression compression); /* ".jsonl.gz" */
/* Makes `name`.tmp in the folder. */
int tr_file_output_open(int dir_fd, const char *name, enum tr_file_compression compression,
                        struct tr_file_output **output);
int tr_file_output_write(struct tr_file_output *output, const void *data, size_t len);
/* Ends the compressed stream and makes the bytes durable. The name is still the temporary one. */
int tr_file_output_finish(struct tr_file_output *output);
const char *tr_file_output_name(const struct tr_file_output *output); /* without .tmp */
uint64_t tr_file_output_bytes(const struct tr_file_output *output); /* written to the file so far */
/* Does not remove the file. NULL is fine. */
void tr_file_output_close(struct tr_file_output *output);

#endif
