#include "sink/file/output.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include "base/failpoint.h"
#include "base/fs.h"

#define PACKED_BYTES (256u << 10)
#define PIECE_BYTES_MAX (1u << 30) /* zlib counts in unsigned int */
#define FILE_MODE 0640
#define GZIP_WINDOW_BITS (15 + 16) /* +16 asks deflateInit2 for a gzip header */
#define GZIP_MEMORY_LEVEL 8

struct tr_file_output {
    int fd;
    enum tr_file_compression compression;
    bool gzip_open;
    z_stream gzip;
    ZSTD_CCtx *zstd;
    unsigned char *packed; /* PACKED_BYTES, NULL without compression */
    uint64_t bytes;
    char name[TR_FILE_NAME_BYTES];
};

const char *tr_file_suffix(enum tr_file_compression compression)
{
    switch (compression) {
    case TR_FILE_GZIP:
        return ".jsonl.gz";
    case TR_FILE_ZSTD:
        return ".jsonl.zst";
    case TR_FILE_NONE:
        break;
    }
    return ".jsonl";
}

static int start_compression(struct tr_file_output *output)
{
    if (output->compression == TR_FILE_NONE)
        return 0;
    output->packed = malloc(PACKED_BYTES);
    if (output->packed == NULL)
        return ENOMEM;
    if (output->compression == TR_FILE_GZIP) {
        int result = deflateInit2(&output->gzip, Z_DEFAULT_COMPRESSION, Z_DEFLATED,
                                  GZIP_WINDOW_BITS, GZIP_MEMORY_LEVEL, Z_DEFAULT_STRATEGY);
        output->gzip_open = result == Z_OK;
        return result == Z_OK ? 0 : result == Z_MEM_ERROR ? ENOMEM : TR_FILE_ECOMPRESS;
    }
    output->zstd = ZSTD_createCCtx();
    if (output->zstd == NULL)
        return ENOMEM;
    /* a reader can then tell a damaged file from a whole one, as with gzip */
    size_t result = ZSTD_CCtx_setParameter(output->zstd, ZSTD_c_checksumFlag, 1);
    return ZSTD_isError(result) ? TR_FILE_ECOMPRESS : 0;
}

int tr_file_output_open(int dir_fd, const char *name, enum tr_file_compression compression,
                        struct tr_file_output **out)
{
    struct tr_file_output *output = calloc(1, sizeof *output);
    *out = NULL;
    if (output == NULL)
        return ENOMEM;
    output->compression = compression;
    output->fd = -1;
    (void)snprintf(output->name, sizeof output->name, "%s", name);
    char temp_name[TR_FILE_NAME_BYTES + sizeof TR_FILE_TEMP_SUFFIX];
    (void)snprintf(temp_name, sizeof temp_name, "%s" TR_FILE_TEMP_SUFFIX, output->name);
    int error = start_compression(output);
    if (error == 0) {
        output->fd = openat(dir_fd, temp_name,
                            O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, FILE_MODE);
        error = output->fd < 0 ? errno : 0;
    }
    if (error != 0) {
        tr_file_output_close(output);
        return error;
    }
    *out = output;
    return 0;
}

static int put(struct tr_file_output *output, const void *data, size_t len)
{
    if (len == 0)
        return 0;
    int error = TR_FAILPOINT("sink.file.write");
    if (error == 0)
        error = tr_fs_write_all(output->fd, data, len);
    if (error == 0)
        output->bytes += len;
    return error;
}

static int pack_gzip(struct tr_file_output *output, const void *data, size_t len, bool end)
{
    z_stream *gzip = &output->gzip;
    gzip->next_in = (Bytef *)(uintptr_t)data;
    gzip->avail_in = (uInt)len;
    for (;;) {
        gzip->next_out = output->packed;
        gzip->avail_out = PACKED_BYTES;
        int result = deflate(gzip, end ? Z_FINISH : Z_NO_FLUSH);
        if (result == Z_STREAM_ERROR)
            return TR_FILE_ECOMPRESS;
        int error = put(output, output->packed, PACKED_BYTES - gzip->avail_out);
        if (error != 0)
            return error;
        if (end ? result == Z_STREAM_END : gzip->avail_in == 0 && gzip->avail_out > 0)
            return 0;
    }
}

static int pack_zstd(struct tr_file_output *output, const void *data, size_t len, bool end)
{
    ZSTD_inBuffer in = {.src = data, .size = len};
    for (;;) {
        ZSTD_outBuffer out = {.dst = output->packed, .size = PACKED_BYTES};
        size_t left =
            ZSTD_compressStream2(output->zstd, &out, &in, end ? ZSTD_e_end : ZSTD_e_continue);
        if (ZSTD_isError(left))
            return TR_FILE_ECOMPRESS;
        int error = put(output, output->packed, out.pos);
        if (error != 0)
            return error;
        if (end ? left == 0 : in.pos == in.size)
            return 0;
    }
}

static int pack(struct tr_file_output *output, const void *data, size_t len, bool end)
{
    switch (output->compression) {
    case TR_FILE_GZIP:
        return pack_gzip(output, data, len, end);
    case TR_FILE_ZSTD:
        return pack_zstd(output, data, len, end);
    case TR_FILE_NONE:
        break;
    }
    return put(output, data, len);
}

int tr_file_output_write(struct tr_file_output *output, const void *data, size_t len)
{
    const char *at = data;
    int error = 0;
    while (len > 0 && error == 0) {
        size_t piece = len > PIECE_BYTES_MAX ? PIECE_BYTES_MAX : len;
        error = pack(output, at, piece, false);
        at += piece;
        len -= piece;
    }
    return error;
}

int tr_file_output_finish(struct tr_file_output *output)
{
    int error = pack(output, "", 0, true);
    while (error == 0 && fsync(output->fd) != 0) {
        if (errno != EINTR)
            error = errno;
    }
    int fd = output->fd;
    output->fd = -1;
    if (close(fd) != 0 && error == 0 && errno != EINTR)
        error = errno;
    return error;
}

const char *tr_file_output_name(const struct tr_file_output *output) { return output->name; }
uint64_t tr_file_output_bytes(const struct tr_file_output *output) { return output->bytes; }

void tr_file_output_close(struct tr_file_output *output)
{
    if (output == NULL)
        return;
    if (output->gzip_open)
        (void)deflateEnd(&output->gzip);
    ZSTD_freeCCtx(output->zstd);
    if (output->fd >= 0)
        (void)close(output->fd);
    free(output->packed);
    free(output);
}
