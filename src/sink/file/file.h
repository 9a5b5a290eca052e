/* The sinks that write JSON Lines: into files of a folder, and to standard output. */
#ifndef TR_SINK_FILE_FILE_H
#define TR_SINK_FILE_FILE_H

#include "encode/format_options.h"
#include "tailrace/sink.h"

extern const struct tr_sink_ops tr_sink_file;
extern const struct tr_sink_ops tr_sink_stdout;

enum tr_file_compression { TR_FILE_NONE, TR_FILE_GZIP, TR_FILE_ZSTD };

struct tr_sink_file_options {
    const char *path;
    int format;      /* index into tr_lines_formats */
    int compression; /* enum tr_file_compression */
    int64_t rotation_size_bytes;
    int64_t rotation_time_ms;
    const char *topic_prefix;
    struct tr_format_options format_options;
};
struct tr_sink_stdout_options {
    int format;
    const char *topic_prefix;
    struct tr_format_options format_options;
};

#endif
