/* The identity of a file.
 *
 * A position belongs to a file, not to a name: logs are renamed (app.log → app.log.1) and another
 * file takes the name. Neither the inode alone (it changes when a file is copied, restored or
 * synced, and the system gives it to the next file when one is deleted) nor the first bytes alone
 * (every CSV file of a folder may begin alike) tell files apart. So three things are kept with each
 * position, in the mark file/NAME: the inode with its birth time, a hash of the head (the first 256
 * bytes, fewer while the file is shorter; more when it has grown), and a hash of the tail (the up
 * to 256 bytes before the position).
 *
 *   inode    birth     head, tail   the file is
 *   same     same      both equal   the same: rename, growth
 *   same     same      one differs, CHANGED: cut or overwritten in place (copytruncate): option
 *                      or shorter   on-truncate decides
 *   same     unknown   head equal,  CHANGED too
 *                      tail differs
 *   same     unknown   head differs another: the inode was given again
 *   same     other     as other inode
 *   other    –         both equal   a copy of what was read: it goes on there, when the file itself
 * is not found (a restored backup, rsync, an editor that saves) other    –         one differs
 * another
 *
 * Two files with equal heads and equal tails at one position have, as far as anybody can tell, the
 * same content up to there, so that going on behind it is right for both. While a file is followed
 * it stays open, and its inode cannot be given to another.
 *
 * The split's name is made of the head's hash and the inode at the first sight and never changes.
 * It is the same when the first run dies before its first checkpoint. */
#include "source/file/identity.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

struct tr_filesrc_sum tr_filesrc_sum_of(const void *ptr, size_t len)
{
    return (struct tr_filesrc_sum){(uint32_t)len, len == 0 ? 0 : XXH3_64bits(ptr, len)};
}

static int read_at(int fd, uint64_t offset, void *ptr, size_t size, size_t *got)
{
    char *to = ptr;
    *got = 0;
    while (*got < size) {
        ssize_t result = pread(fd, to + *got, size - *got, (off_t)(offset + *got));
        if (result < 0 && errno == EINTR)
            continue;
        if (result < 0)
            return errno;
        if (result == 0)
            break;
        *got += (size_t)result;
    }
    return 0;
}

int tr_filesrc_look(int fd, struct tr_filesrc_found *found)
{
    struct stat info;
    struct statx more;
    if (fstat(fd, &info) != 0)
        return errno;
    found->device = info.st_dev;
    found->inode = info.st_ino;
    found->bytes = (uint64_t)info.st_size;
    found->born_us = 0;
    if (statx(fd, "", AT_EMPTY_PATH, STATX_BTIME, &more) == 0 && (more.stx_mask & STATX_BTIME))
        found->born_us = more.stx_btime.tv_sec * 1000000 + more.stx_btime.tv_nsec / 1000;
    size_t got;
    int error = read_at(fd, 0, found->head, sizeof found->head, &got);
    found->head_len = (uint32_t)got;
    if (error == 0 && found->bytes < got)
        found->bytes = got; /* it grew meanwhile */
    return error;
}

static bool head_is_equal(const struct tr_filesrc_identity *known,
                          const struct tr_filesrc_found *found)
{
    return found->head_len >= known->head.len &&
           tr_filesrc_sum_of(found->head, known->head.len).hash == known->head.hash;
}

static bool tail_is_equal(const struct tr_filesrc_identity *known,
                          const struct tr_filesrc_found *found, int fd)
{
    char tail[TR_FILESRC_TAIL_BYTES];
    size_t got;
    if (found->packing != TR_FILESRC_PLAIN || fd < 0 || known->tail.len == 0)
        return true; /* the reader looks when it gets there */
    if (found->bytes < known->tail_at ||
        read_at(fd, known->tail_at - known->tail.len, tail, known->tail.len, &got) != 0)
        return false;
    return got == known->tail.len && tr_filesrc_sum_of(tail, got).hash == known->tail.hash;
}

enum tr_filesrc_likeness tr_filesrc_compare(const struct tr_filesrc_identity *known,
                                            const struct tr_filesrc_found *found, int fd)
{
    bool same_head = head_is_equal(known, found);
    bool equal = same_head && tail_is_equal(known, found, fd);
    bool births_known = known->born_us != 0 && found->born_us != 0;
    bool same_inode =
        known->inode == found->inode && (!births_known || known->born_us == found->born_us);
    if (same_inode && equal)
        return TR_FILESRC_SAME;
    if (same_inode && (births_known || same_head))
        return TR_FILESRC_CHANGED;
    return equal && known->tail_at > 0 && known->head.len > 0 ? TR_FILESRC_COPY : TR_FILESRC_OTHER;
}

void tr_filesrc_name(const struct tr_filesrc_found *found, unsigned suffix, char *buf,
                     size_t buf_size)
{
    uint64_t hash = tr_filesrc_sum_of(found->head, found->head_len).hash;
    int len = snprintf(buf, buf_size, "%016" PRIx64 "-%" PRIx64, hash, found->inode);
    if (suffix > 0)
        (void)snprintf(buf + len, buf_size - (size_t)len, "-%u", suffix);
}

int tr_filesrc_identity_format(const struct tr_filesrc_identity *identity, const char *path,
                               char *buf, size_t buf_size)
{
    return snprintf(buf, buf_size,
                    "v1 inode=%" PRIu64 " born=%" PRId64 " head=%" PRIu32 ":%016" PRIx64
                    " tail=%" PRIu64 ":%" PRIu32 ":%016" PRIx64 " seen=%" PRId64 " path=%s",
                    identity->inode, identity->born_us, identity->head.len, identity->head.hash,
                    identity->tail_at, identity->tail.len, identity->tail.hash, identity->seen_s,
                    path);
}

/* Reads "WORD" and then a number up to `end`; moves *at behind it. */
static bool take(const char **at, const char *word, int base, char end, uint64_t *value)
{
    size_t len = strlen(word);
    char *behind;
    if (strncmp(*at, word, len) != 0)
        return false;
    *at += len;
    bool negative = base == 10 && **at == '-';
    const char *digits = *at + (negative ? 1 : 0);
    if (!(*digits >= '0' && *digits <= '9') && !(base == 16 && *digits >= 'a' && *digits <= 'f'))
        return false;
    errno = 0;
    *value = strtoull(digits, &behind, base);
    if (errno != 0 || *behind != end)
        return false;
    if (negative)
        *value = 0 - *value;
    *at = behind + 1;
    return true;
}

bool tr_filesrc_identity_parse(const char *value, struct tr_filesrc_identity *identity,
                               const char **path)
{
    uint64_t born, head_len, tail_len, seen;
    if (!take(&value, "v1 inode=", 10, ' ', &identity->inode) ||
        !take(&value, "born=", 10, ' ', &born) || !take(&value, "head=", 10, ':', &head_len) ||
        !take(&value, "", 16, ' ', &identity->head.hash) ||
        !take(&value, "tail=", 10, ':', &identity->tail_at) ||
        !take(&value, "", 10, ':', &tail_len) || !take(&value, "", 16, ' ', &identity->tail.hash) ||
        !take(&value, "seen=", 10, ' ', &seen) || strncmp(value, "path=", 5) != 0 ||
        head_len > TR_FILESRC_HEAD_BYTES || tail_len > TR_FILESRC_TAIL_BYTES ||
        tail_len > identity->tail_at)
        return false;
    identity->born_us = (int64_t)born;
    identity->head.len = (uint32_t)head_len;
    identity->tail.len = (uint32_t)tail_len;
    identity->seen_s = (int64_t)seen;
    *path = value + 5;
    return true;
}

/* Bytes of the UTF-8 character at text, 0 when it is none. */
static size_t utf8_size(const unsigned char *text)
{
    static const struct {
        unsigned char first_min, first_max, second_min, second_max, size;
    } forms[] = {{0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
                 {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3},
                 {0xee, 0xef, 0x80, 0xbf, 3}, {0xf0, 0xf0, 0x90, 0xbf, 4},
                 {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4}};
    if (text[0] < 0x80)
        return 1;
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        if (text[0] < forms[i].first_min || text[0] > forms[i].first_max ||
            text[1] < forms[i].second_min || text[1] > forms[i].second_max)
            continue;
        for (size_t k = 2; k < forms[i].size; k++) {
            if (text[k] < 0x80 || text[k] > 0xbf)
                return 0;
        }
        return forms[i].size;
    }
    return 0;
}

void tr_filesrc_escape(const char *path, char *buf, size_t buf_size)
{
    size_t at = 0;
    const unsigned char *text = (const unsigned char *)path;
    while (*text != '\0' && at + 4 < buf_size) {
        size_t size = utf8_size(text);
        bool plain = size > 1 || (size == 1 && *text >= 0x20 && *text != 0x7f && *text != '%');
        if (!plain) {
            at += (size_t)snprintf(buf + at, buf_size - at, "%%%02X", *text++);
            continue;
        }
        for (; size > 0; size--)
            buf[at++] = (char)*text++;
    }
    buf[at] = '\0';
}
