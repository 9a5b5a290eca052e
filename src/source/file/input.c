/* A gzip file is a row of members and a zstd file a row of frames: both may be appended to. */
#include "source/file/input.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#define PACKED_BYTES (256u << 10)
#define SKIP_BYTES (64u << 10)
#define PIECE_BYTES_MAX (1u << 30) /* zlib counts in unsigned int */
#define GZIP_WINDOW_BITS (15 + 16) /* +16: a gzip header */

struct tr_filesrc_input {
    int fd;
    enum tr_filesrc_packing packing;
    bool is_stream;
    bool within;         /* of a member or frame */
    bool more;           /* the decoder may hold output without new input */
    uint64_t raw_offset; /* of the file */
    uint64_t offset;     /* of the decompressed stream */
    z_stream gzip;
    bool gzip_open;
    ZSTD_DCtx *zstd;
    unsigned char *packed;
    size_t packed_at, packed_len;
};

enum tr_filesrc_packing tr_filesrc_packing_of(const char *path)
{
    static const struct {
        const char *suffix;
        enum tr_filesrc_packing packing;
    } known[] = {{".gz", TR_FILESRC_GZIP}, {".zst", TR_FILESRC_ZSTD}, {".zstd", TR_FILESRC_ZSTD}};
    size_t len = strlen(path);
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        size_t suffix_len = strlen(known[i].suffix);
        if (len > suffix_len && strcmp(path + len - suffix_len, known[i].suffix) == 0)
            return known[i].packing;
    }
    return TR_FILESRC_PLAIN;
}

/* Like pread and read, again after EINTR. 0 or errno. */
static int raw_read(struct tr_filesrc_input *input, void *ptr, size_t size, size_t *got)
{
    ssize_t result;
    do
        result = input->is_stream ? read(input->fd, ptr, size)
                                  : pread(input->fd, ptr, size, (off_t)input->raw_offset);
    while (result < 0 && errno == EINTR);
    *got = 0;
    if (result < 0)
        return input->is_stream && (errno == EAGAIN || errno == EWOULDBLOCK) ? 0 : errno;
    *got = (size_t)result;
    input->raw_offset += (uint64_t)result;
    return 0;
}

static int rewind_packed(struct tr_filesrc_input *input)
{
    input->raw_offset = 0;
    input->offset = 0;
    input->packed_at = input->packed_len = 0;
    input->within = input->more = false;
    if (input->packing == TR_FILESRC_GZIP)
        return inflateReset(&input->gzip) == Z_OK ? 0 : TR_FILESRC_EBROKEN;
    return ZSTD_isError(ZSTD_DCtx_reset(input->zstd, ZSTD_reset_session_only)) ? TR_FILESRC_EBROKEN
                                                                               : 0;
}

int tr_filesrc_input_open(int fd, enum tr_filesrc_packing packing, bool is_stream,
                          struct tr_filesrc_input **out)
{
    struct tr_filesrc_input *input = calloc(1, sizeof *input);
    *out = NULL;
    if (input == NULL)
        return ENOMEM;
    input->fd = fd;
    input->packing = packing;
    input->is_stream = is_stream;
    bool ok = true;
    if (packing != TR_FILESRC_PLAIN)
        ok = (input->packed = malloc(PACKED_BYTES)) != NULL;
    if (ok && packing == TR_FILESRC_GZIP)
        ok = input->gzip_open = inflateInit2(&input->gzip, GZIP_WINDOW_BITS) == Z_OK;
    if (ok && packing == TR_FILESRC_ZSTD)
        ok = (input->zstd = ZSTD_createDCtx()) != NULL;
    if (!ok) {
        tr_filesrc_input_close(input);
        return ENOMEM;
    }
    *out = input;
    return 0;
}

static int gzip_step(struct tr_filesrc_input *input, void *ptr, size_t size, size_t *got)
{
    z_stream *gzip = &input->gzip;
    unsigned in = (unsigned)(input->packed_len - input->packed_at);
    unsigned room = size > PIECE_BYTES_MAX ? PIECE_BYTES_MAX : (unsigned)size;
    gzip->next_in = input->packed + input->packed_at;
    gzip->avail_in = in;
    gzip->next_out = ptr;
    gzip->avail_out = room;
    int result = inflate(gzip, Z_NO_FLUSH);
    input->packed_at += in - gzip->avail_in;
    *got = room - gzip->avail_out;
    input->more = gzip->avail_out == 0;
    if (in > 0)
        input->within = true;
    if (result == Z_STREAM_END) {
        input->within = input->more = false;
        return inflateReset(gzip) == Z_OK ? 0 : TR_FILESRC_EBROKEN;
    }
    if (result == Z_MEM_ERROR)
        return ENOMEM;
    return result == Z_OK || result == Z_BUF_ERROR ? 0 : TR_FILESRC_EBROKEN;
}

static int zstd_step(struct tr_filesrc_input *input, void *ptr, size_t size, size_t *got)
{
    ZSTD_inBuffer in = {input->packed, input->packed_len, input->packed_at};
    ZSTD_outBuffer room = {ptr, size, 0};
    size_t before = in.pos;
    size_t result = ZSTD_decompressStream(input->zstd, &room, &in);
    if (ZSTD_isError(result))
        return TR_FILESRC_EBROKEN;
    input->packed_at = in.pos;
    *got = room.pos;
    input->more = room.pos == size && result != 0;
    if (result == 0)
        input->within = false;
    else if (in.pos > before)
        input->within = true;
    return 0;
}

int tr_filesrc_input_read(struct tr_filesrc_input *input, void *ptr, size_t size, size_t *got)
{
    *got = 0;
    if (input->packing == TR_FILESRC_PLAIN) {
        int error = raw_read(input, ptr, size, got);
        input->offset += *got;
        return error;
    }
    for (;;) {
        if (input->packed_at == input->packed_len && !input->more) {
            size_t read_bytes = 0;
            int error = raw_read(input, input->packed, PACKED_BYTES, &read_bytes);
            if (error != 0 || read_bytes == 0)
                return error;
            input->packed_at = 0;
            input->packed_len = read_bytes;
        }
        int error = input->packing == TR_FILESRC_GZIP ? gzip_step(input, ptr, size, got)
                                                      : zstd_step(input, ptr, size, got);
        input->offset += *got;
        if (error != 0 || *got > 0)
            return error;
    }
}

int tr_filesrc_input_seek(struct tr_filesrc_input *input, uint64_t offset, uint64_t *reached)
{
    char *skipped;
    int error = 0;
    if (input->packing == TR_FILESRC_PLAIN) {
        input->raw_offset = input->offset = *reached = offset;
        return 0;
    }
    if (offset < input->offset && (error = rewind_packed(input)) != 0)
        return error;
    if ((skipped = malloc(SKIP_BYTES)) == NULL)
        return ENOMEM;
    while (error == 0 && input->offset < offset) {
        uint64_t left = offset - input->offset;
        size_t got;
        error = tr_filesrc_input_read(input, skipped, left < SKIP_BYTES ? (size_t)left : SKIP_BYTES,
                                      &got);
        if (got == 0)
            break;
    }
    free(skipped);
    *reached = input->offset;
    return error;
}

bool tr_filesrc_input_is_cut(const struct tr_filesrc_input *input) { return input->within; }

void tr_filesrc_input_close(struct tr_filesrc_input *input)
{
    if (input == NULL)
        return;
    if (input->gzip_open)
        (void)inflateEnd(&input->gzip);
    (void)ZSTD_freeDCtx(input->zstd);
    free(input->packed);
    free(input);
}
