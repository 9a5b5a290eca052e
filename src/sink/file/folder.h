/* The folder of a file sink: what is published, and the manifest that says how far.
 *
 *   00000000000000000007-20250131T102030Z.jsonl        published: whole, never changed again
 *   00000000000000000008-20250131T102040Z.jsonl.tmp    being written
 *   manifest                                           number and name of the last published file,
 *                                                      and the position after its last row
 *   manifest.tmp                                       being written
 *   tailrace.lock                                      one writer a folder
 *
 * Publishing file 8: (1) its bytes are synced under the .tmp name and the name is synced; (2) the
 * manifest that names file 8 and holds the position after it is put in place atomically; (3) the
 * file is renamed. (2) decides. A crash before it: the position is that of file 7, 8.tmp is removed
 * and its rows come again. A crash between (2) and (3): the start finds 8.tmp named by the manifest
 * and does (3). So a reader, who looks at files without .tmp, meets each row once. The other order,
 * rename first, would show rows that come again after a crash. */
#ifndef TR_SINK_FILE_FOLDER_H
#define TR_SINK_FILE_FOLDER_H

#include "event/state.h"
#include "sink/file/output.h"
#include "tailrace/sink.h"

#define TR_FILE_MANIFEST_NAME "manifest"
#define TR_FILE_MANIFEST_MAGIC "tailrace-file-manifest"

struct tr_file_folder {
    const char *path;     /* borrowed */
    const char *pipeline; /* borrowed */
    int dir_fd, lock_fd;
    uint64_t generation;           /* manifests written so far */
    uint64_t sequence;             /* number of the last published file, 0 none */
    uint64_t file_bytes;           /* its size */
    char file[TR_FILE_NAME_BYTES]; /* its name; "" none */
    struct tr_state marks;         /* as the manifest holds them */
};

void tr_file_folder_init(struct tr_file_folder *folder, const char *path, const char *pipeline);
/* Reads only. TR_END: there is no folder or no manifest. */
enum tr_status tr_file_folder_peek(struct tr_file_folder *folder, struct tr_error *err);
/* Makes, locks, reads and mends the folder. Again: reads it anew, e.g. after a writer failed. */
enum tr_status tr_file_folder_acquire(struct tr_file_folder *folder, struct tr_error *err);
/* Step (2) and (3); output is finished, or NULL when only the marks moved. */
enum tr_status tr_file_folder_publish(struct tr_file_folder *folder,
                                      const struct tr_file_output *output,
                                      const struct tr_state *marks, struct tr_error *err);
/* Forgets the position, keeps the published files and the numbering; also mends a missing, stale or
 * damaged manifest. TR_END: there was nothing. */
enum tr_status tr_file_folder_drop(struct tr_file_folder *folder, struct tr_error *err);
void tr_file_folder_close(struct tr_file_folder *folder);

/* Words an errno value (or TR_FILE_ECOMPRESS) as this sink's error. */
enum tr_status tr_file_fail(const struct tr_file_folder *folder, const char *what, const char *name,
                            int error, struct tr_error *err);

#endif
