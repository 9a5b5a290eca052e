/* Settings of the file source. */
#ifndef TR_SOURCE_FILE_OPTIONS_H
#define TR_SOURCE_FILE_OPTIONS_H

#include "decode/formats.h"
#include "tailrace/source.h"

enum tr_filesrc_startup { TR_FILESRC_EARLIEST, TR_FILESRC_LATEST };
enum tr_filesrc_malformed { TR_FILESRC_DEAD_LETTER, TR_FILESRC_SKIP, TR_FILESRC_STOP };
enum tr_filesrc_on_truncate { TR_FILESRC_TRUNCATE_FAIL, TR_FILESRC_TRUNCATE_RESTART };

struct tr_filesrc_options {
    struct tr_string_list path;
    bool follow;
    int startup;     /* enum tr_filesrc_startup */
    int malformed;   /* enum tr_filesrc_malformed; see tr_filesrc_settle */
    int on_truncate; /* enum tr_filesrc_on_truncate */
    int compression; /* index into compression's values: auto, none, gzip, zstd */
    int64_t line_max_bytes;
    int64_t scan_interval_ms;
    const char *table; /* NULL: the file's name without extensions */
    struct tr_decoder_options decoder;
};

extern const struct tr_option tr_filesrc_option_table[];

/* Copies the bound options and settles what depends on more than one of them. */
enum tr_status tr_filesrc_settle(const struct tr_config *config, const struct tr_context *context,
                                 struct tr_filesrc_options *options, struct tr_error *err);
/* path is "-" */
bool tr_filesrc_is_stdin(const struct tr_filesrc_options *options);

#endif
