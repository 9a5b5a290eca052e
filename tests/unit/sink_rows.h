/* Rows to write, and files to read back, for the tests of the file and stdout sinks. */
#ifndef TEST_SINK_ROWS_H
#define TEST_SINK_ROWS_H

#include <stdbool.h>

#include "event/batch.h"
#include "event/state.h"
#include "sink/file/file.h"

/* Stands for a bound configuration: the sinks only ask for its values. */
struct tr_config {
    const void *values;
};

/* Transactions of a made-up table (id INT32 key, name STRING). Ids count from next_id. */
struct rows {
    struct tr_table *table;
    struct tr_batch *batch;
    uint64_t seq;
    uint32_t next_id;
};
void rows_init(struct rows *rows);
void rows_free(struct rows *rows);
/* Appends `count` rows with names of name_bytes letters to the batch. */
void rows_add(struct rows *rows, unsigned count, size_t name_bytes);
/* Appends a COMMIT with the mark lsn=<next_id - 1>. */
void rows_commit(struct rows *rows);
/* Writes the batch and empties it. */
enum tr_status rows_write(struct rows *rows, const struct tr_sink_ops *ops, void *writer,
                          struct tr_error *err);

/* What a reader finds in the folder's published files, in the order of their names. */
struct found {
    uint32_t *ids;
    size_t count, capacity;
    unsigned files, temps;
    uint32_t last_ids[256]; /* the last id of each file */
};
/* False when a file is not whole (compression, line ends). */
bool found_read(struct found *found, const char *folder);
/* ids are 1, 2, 3 … without a gap or a repeat */
bool found_in_order(const struct found *found);
void found_free(struct found *found);

struct tr_sink_file_options file_options(const char *path);

#endif
