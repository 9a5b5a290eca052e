/* The file source's pure parts: identities, names, compressed input. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include <cmocka.h>

#include "source/file/discover.h"
#include "source/file/identity.h"

static void marks(void **state)
{
    (void)state;
    const struct tr_filesrc_identity identity = {.inode = 12345678901234ull,
                                                 .born_us = -5,
                                                 .head = {256, 0xfedcba9876543210ull},
                                                 .tail_at = 1000,
                                                 .tail = {256, 1},
                                                 .seen_s = 1700000000};
    struct tr_filesrc_identity read;
    char text[512], copy[512];
    const char *path;
    int len = tr_filesrc_identity_format(&identity, "a b/c=d", text, sizeof text);
    assert_true(tr_filesrc_identity_parse(text, &read, &path));
    assert_string_equal(path, "a b/c=d");
    assert_int_equal(read.inode, identity.inode);
    assert_int_equal(read.born_us, identity.born_us);
    assert_int_equal(read.head.len, 256);
    assert_true(read.head.hash == identity.head.hash && read.tail.hash == 1);
    assert_int_equal(read.tail_at, 1000);
    assert_int_equal(read.seen_s, identity.seen_s);
    size_t fixed = (size_t)(path - text);
    for (size_t cut = 0; cut < fixed; cut++) { /* no part of it is taken for the whole */
        memcpy(copy, text, (size_t)len + 1);
        copy[cut] = '\0';
        assert_false(tr_filesrc_identity_parse(copy, &read, &path));
    }
    assert_false(tr_filesrc_identity_parse(
        "v1 inode=1 born=0 head=257:0 tail=0:0:0 seen=0 path=", &read, &path));
    assert_false(tr_filesrc_identity_parse(
        "v1 inode=1 born=0 head=1:0 tail=5:6:0 seen=0 path=", &read, &path));
    assert_false(tr_filesrc_identity_parse(
        "v1 inode=99999999999999999999 born=0 head=1:0 tail=0:0:0 seen=0 path=", &read, &path));
}

static void escapes(void **state)
{
    (void)state;
    char text[64], small[8];
    tr_filesrc_escape("a%b\n\xff\xc3\xa4\x7f", text, sizeof text);
    assert_string_equal(text, "a%25b%0A%FF\xc3\xa4%7F");
    tr_filesrc_escape("\xe2\x82", text, sizeof text); /* cut within a character */
    assert_string_equal(text, "%E2%82");
    tr_filesrc_escape("abcdefghijkl", small, sizeof small);
    assert_true(strlen(small) < sizeof small);
}

static void table_names(void **state)
{
    (void)state;
    static const char *const names[][2] = {{"a/users.v1.csv", "users"}, {"users", "users"},
                                           {"/x.y/users.gz", "users"},  {".hidden.csv", "hidden"},
                                           {"dir/...", "table"},        {"", "table"}};
    char buf[32], small[4];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        tr_filesrc_table_name(names[i][0], buf, sizeof buf);
        assert_string_equal(buf, names[i][1]);
    }
    tr_filesrc_table_name("abcdefgh.csv", small, sizeof small);
    assert_string_equal(small, "abc");
}

static void write_file(int fd, const char *text)
{
    assert_int_equal(ftruncate(fd, 0), 0);
    assert_int_equal(pwrite(fd, text, strlen(text), 0), (ssize_t)strlen(text));
}

static struct tr_filesrc_identity identity_of(const struct tr_filesrc_found *found,
                                              const char *content, size_t position)
{
    size_t tail = position < TR_FILESRC_TAIL_BYTES ? position : TR_FILESRC_TAIL_BYTES;
    return (struct tr_filesrc_identity){.inode = found->inode,
                                        .born_us = found->born_us,
                                        .head = tr_filesrc_sum_of(found->head, found->head_len),
                                        .tail_at = position,
                                        .tail = tr_filesrc_sum_of(content + position - tail, tail)};
}

static void likeness(void **state)
{
    (void)state;
    char path[] = "/tmp/source_file_XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    (void)unlink(path);
    struct tr_filesrc_found found = {.path = path};
    const char *content = "first line\nsecond line\n";
    write_file(fd, content);
    assert_int_equal(tr_filesrc_look(fd, &found), 0);
    assert_int_equal(found.bytes, strlen(content));
    struct tr_filesrc_identity known = identity_of(&found, content, 11);
    assert_int_equal(tr_filesrc_compare(&known, &found, fd), TR_FILESRC_SAME);

    write_file(fd, "first line\nsecond line\nthird line\n"); /* it grew */
    assert_int_equal(tr_filesrc_look(fd, &found), 0);
    assert_int_equal(tr_filesrc_compare(&known, &found, fd), TR_FILESRC_SAME);

    struct tr_filesrc_identity other = known; /* the same content elsewhere */
    other.inode++;
    assert_int_equal(tr_filesrc_compare(&other, &found, fd), TR_FILESRC_COPY);
    other.tail_at = 0;
    other.tail.len = 0;
    assert_int_equal(tr_filesrc_compare(&other, &found, fd), TR_FILESRC_OTHER);
    struct tr_filesrc_identity again = known; /* an inode that was given again */
    again.born_us = known.born_us == 0 ? 0 : known.born_us - 1;
    again.head.hash++;
    assert_int_equal(tr_filesrc_compare(&again, &found, fd), TR_FILESRC_OTHER);

    write_file(fd, "first lin"); /* cut */
    assert_int_equal(tr_filesrc_look(fd, &found), 0);
    known.born_us = found.born_us = 1;
    assert_int_equal(tr_filesrc_compare(&known, &found, fd), TR_FILESRC_CHANGED);
    write_file(fd, "other text that is longer than what was there"); /* overwritten */
    assert_int_equal(tr_filesrc_look(fd, &found), 0);
    found.born_us = 1;
    assert_int_equal(tr_filesrc_compare(&known, &found, fd), TR_FILESRC_CHANGED);
    (void)close(fd);
}

/* Reads and goes back at every place of a file of two members. */
static void gzip_members(void **state)
{
    (void)state;
    char path[] = "/tmp/source_file_XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    for (int member = 0; member < 2; member++) {
        gzFile out = gzopen(path, member == 0 ? "wb" : "ab");
        assert_int_equal(gzputs(out, member == 0 ? "hello " : "world"), member == 0 ? 6 : 5);
        assert_int_equal(gzclose(out), Z_OK);
    }
    (void)unlink(path);
    struct tr_filesrc_input *input;
    assert_int_equal(tr_filesrc_input_open(fd, TR_FILESRC_GZIP, false, &input), 0);
    for (size_t from = 0; from <= 11; from++) {
        char text[16];
        size_t got, len = 0;
        uint64_t reached;
        assert_int_equal(tr_filesrc_input_seek(input, 11 - from, &reached), 0);
        assert_int_equal(reached, 11 - from);
        do {
            assert_int_equal(tr_filesrc_input_read(input, text + len, 3, &got), 0);
            len += got;
        } while (got > 0);
        assert_int_equal(len, from);
        assert_memory_equal(text, "hello world" + 11 - from, len);
        assert_false(tr_filesrc_input_is_cut(input));
    }
    tr_filesrc_input_close(input);
    (void)close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(marks), cmocka_unit_test(escapes),
                                       cmocka_unit_test(table_names), cmocka_unit_test(likeness),
                                       cmocka_unit_test(gzip_members)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
