/* Which file is which, over renames, copies, growth and restarts. Pure but for reading heads and
 * tails through a descriptor. The rules are at the head of identity.c. */
#ifndef TR_SOURCE_FILE_IDENTITY_H
#define TR_SOURCE_FILE_IDENTITY_H

#include "event/state.h"
#include "source/file/input.h"

#define TR_FILESRC_HEAD_BYTES 256u
#define TR_FILESRC_TAIL_BYTES 256u
#define TR_FILESRC_NAME_BYTES 64u
#define TR_FILESRC_MARK_INFO "file/"

struct tr_filesrc_sum {
    uint32_t len;  /* bytes that were hashed */
    uint64_t hash; /* XXH3-64 */
};

/* What is stored of a file beside its position. */
struct tr_filesrc_identity {
    uint64_t inode;
    int64_t born_us;            /* birth time; 0: the file system has none */
    struct tr_filesrc_sum head; /* of the file's first bytes, as they are on disk */
    uint64_t tail_at;           /* a position that was reached (of the decompressed stream) … */
    struct tr_filesrc_sum tail; /* … and the bytes before it */
    int64_t seen_s;             /* when this was written, seconds since the epoch */
};

/* A file as it is now. */
struct tr_filesrc_found {
    char *path;
    uint64_t device, inode, bytes;
    int64_t born_us;
    uint32_t head_len;
    char head[TR_FILESRC_HEAD_BYTES];
    enum tr_filesrc_packing packing;
};

enum tr_filesrc_likeness {
    TR_FILESRC_OTHER,   /* another file */
    TR_FILESRC_SAME,    /* the same file, and what was read is in it */
    TR_FILESRC_CHANGED, /* the same file, but what was read is no longer in it */
    TR_FILESRC_COPY     /* another file that begins with what was read */
};

struct tr_filesrc_sum tr_filesrc_sum_of(const void *ptr, size_t len);
/* 0 or an errno value: device, inode, bytes, birth and head of an open file. */
int tr_filesrc_look(int fd, struct tr_filesrc_found *found);
/* fd may be -1: then a tail cannot be read and counts as equal. */
enum tr_filesrc_likeness tr_filesrc_compare(const struct tr_filesrc_identity *known,
                                            const struct tr_filesrc_found *found, int fd);
/* The name of a new file's split: from its head and inode. suffix: 0, or a number that makes it
 * unique. */
void tr_filesrc_name(const struct tr_filesrc_found *found, unsigned suffix, char *buf,
                     size_t buf_size);

/* The mark's value: "v1 inode=… born=… head=LEN:HASH tail=AT:LEN:HASH seen=… path=…", the path with
 * %XX for what may not stand in a mark. */
int tr_filesrc_identity_format(const struct tr_filesrc_identity *identity, const char *path,
                               char *buf, size_t buf_size);
/* False when value is nothing that format can have written. *path points into value. */
bool tr_filesrc_identity_parse(const char *value, struct tr_filesrc_identity *identity,
                               const char **path);
/* A path as a mark and a message may hold it: valid UTF-8 without control characters; other bytes
 * and % are written %XX. */
void tr_filesrc_escape(const char *path, char *buf, size_t buf_size);

#endif
