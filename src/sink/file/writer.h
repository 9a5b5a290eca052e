/* The file sink's one writer. */
#ifndef TR_SINK_FILE_WRITER_H
#define TR_SINK_FILE_WRITER_H

#include "sink/file/folder.h"

struct tr_file_writer;

/* folder: acquired, borrowed. */
enum tr_status tr_file_writer_open(struct tr_file_folder *folder,
                                   const struct tr_sink_file_options *options,
                                   struct tr_file_writer **writer, struct tr_error *err);
enum tr_status tr_file_writer_write(struct tr_file_writer *writer, const struct tr_event *events,
                                    size_t event_count, struct tr_error *err);
enum tr_status tr_file_writer_flush(struct tr_file_writer *writer, int timeout_ms,
                                    struct tr_error *err);
uint64_t tr_file_writer_durable_seq(const struct tr_file_writer *writer);
void tr_file_writer_close(struct tr_file_writer *writer);

#endif
