/* Recorded wire bytes → canonical JSON lines, compared with what was reviewed and committed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../unit/decode_support.h"

static char *read_file(const char *path, size_t *len)
{
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    long size = ftell(file);
    rewind(file);
    char *data = malloc((size_t)size + 1);
    assert_int_equal(fread(data, 1, (size_t)size, file), (size_t)size);
    (void)fclose(file);
    *len = (size_t)size;
    return data;
}

static void write_file(const char *path, const struct tr_outbuf *out)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(out->data, 1, out->len, file), out->len);
    (void)fclose(file);
}

static void check(const char *name)
{
    char path[4096], got_path[256];
    (void)snprintf(path, sizeof path, TEST_DATA_DIR "/golden/%s.hex", name);
    struct recording recording = recording_load(path);
    struct catalog catalog = {.hidden = "hidden", .announce = true};
    struct tr_pgoutput_callbacks callbacks = {catalog_relation, &catalog};
    struct tr_pgoutput *decoder = NULL;
    struct tr_batch *batch = NULL;
    struct tr_error err;
    struct tr_outbuf got = {0};
    assert_int_equal(tr_pgoutput_new(&callbacks, &decoder, &err), TR_OK);
    assert_int_equal(tr_batch_new(&batch, &err), TR_OK);
    for (size_t i = 0; i < recording.count; i++) {
        const struct recorded *message = &recording.messages[i];
        enum tr_status status =
            tr_pgoutput_decode(decoder, (struct tr_slice){message->payload, message->len}, false,
                               message->lsn, 1, batch, &err);
        if (status != TR_OK)
            fail_msg("message %zu: %s", i, status == TR_FAIL ? err.message : "not TR_OK");
        print_batch(batch, &got);
        tr_batch_reset(batch);
    }
    assert_false(got.failed);
    assert_false(tr_pgoutput_in_transaction(decoder));
    size_t want_len;
    (void)snprintf(path, sizeof path, TEST_DATA_DIR "/golden/%s.jsonl", name);
    char *want = read_file(path, &want_len);
    if (want_len != got.len || memcmp(want, got.data, got.len) != 0) {
        (void)snprintf(got_path, sizeof got_path, "%s.got.jsonl", name);
        write_file(got_path, &got);
        fail_msg("%s differs: compare it with %s in the working folder", path, got_path);
    }
    free(want);
    tr_outbuf_free(&got);
    tr_batch_free(batch);
    tr_pgoutput_free(decoder);
    recording_free(&recording);
}

static void every_kind(void **state)
{
    (void)state;
    check("decode_pgoutput");
}

static void binary_values(void **state)
{
    (void)state;
    check("decode_pgoutput_binary");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_kind),
                                       cmocka_unit_test(binary_values)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
