/* The Kafka source's options: what their own parser takes and refuses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "config/bind.h"
#include "source/kafka/options.h"

static enum tr_status check(const char *yaml, struct tr_error *err)
{
    struct tr_config *config;
    assert_int_equal(
        tr_config_from_text(yaml, ksrc_option_table, sizeof(struct ksrc_options), &config, err),
        TR_OK);
    enum tr_status status = ksrc_options_check(tr_config_values(config), err);
    tr_config_free(config);
    return status;
}

static void test_what_is_needed(void **state)
{
    static const struct {
        const char *yaml, *says;
    } refused[] = {
        {"topic: a", "brokers"},
        {"bootstrap-servers: h:1", "what to read"},
        {"{bootstrap-servers: h:1, topic: \" ; \"}", "what to read"},
        {"{bootstrap-servers: h:1, topic: a, topic-pattern: b}", "both"},
        {"{bootstrap-servers: h:1, topic: a, scan.startup.mode: timestamp}", "time"},
        {"{bootstrap-servers: h:1, topic: a, scan.startup.mode: specific}", "specific-offsets"},
        {"{bootstrap-servers: h:1, topic: a, scan.startup.mode: specific-offsets, "
         "scan.startup.specific-offsets: \"partition:0\"}",
         "specific-offsets"},
        {"{bootstrap-servers: h:1, topic: a, scan.assignment: group, scan.bounded.mode: "
         "latest-offset}",
         "exclude"},
        {"{bootstrap-servers: h:1, topic: a, format: avro}", "registry"},
        {"{bootstrap-servers: h:1, topic: a, format: csv, columns: [id INT]}", "header"},
        {"{bootstrap-servers: h:1, topic: a, format: csv, csv.header: false}", "columns"},
    };
    struct tr_error err;
    (void)state;
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        assert_int_equal(check(refused[i].yaml, &err), TR_FAIL);
        assert_int_equal(err.code, TR_E_KAFKA_SOURCE_CONFIG);
        assert_non_null(strstr(err.message, refused[i].says));
        assert_true(err.hint[0] != '\0');
    }
    assert_int_equal(check("{bootstrap-servers: h:1, topic: a}", &err), TR_OK);
    assert_int_equal(check("{properties: {bootstrap: {servers: h:1}}, topic-pattern: a.*}", &err),
                     TR_OK);
}

static enum tr_status collect(void *context, const char *topic, struct tr_error *err)
{
    char *text = context;
    (void)err;
    strcat(strcat(text, topic), "|");
    return TR_OK;
}

static void test_topics(void **state)
{
    char long_name[300], text[64] = "";
    const char *items[] = {"a", " b ;c", ";"};
    struct ksrc_options options = {.topics = {items, 3}};
    struct tr_error err;
    (void)state;
    assert_int_equal(ksrc_topics_each(&options, collect, text, &err), TR_OK);
    assert_string_equal(text, "a|b|c|");
    memset(long_name, 'x', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = '\0';
    items[0] = long_name;
    assert_int_equal(ksrc_topics_each(&options, collect, text, &err), TR_FAIL);
    assert_int_equal(err.code, TR_E_KAFKA_TOPIC_NAME);
}

static void test_specific_offsets(void **state)
{
    static const char *const refused[] = {"partition:0",
                                          "offset:1",
                                          "partition:0,offset:",
                                          "partition:0,offset:-1",
                                          "partition:0,offset:9223372036854775807",
                                          "partition:0,offset:99999999999999999999",
                                          "partition:2147483648,offset:1",
                                          "partition:x,offset:1",
                                          "partition:0;offset:1",
                                          "partition:0,offset:1,colour:2",
                                          "topic:,partition:0,offset:1",
                                          "0:42",
                                          "partition:0,offset:42;x"};
    int64_t offset;
    struct tr_error err;
    (void)state;
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        assert_int_equal(ksrc_specific_offset(refused[i], "t", 0, &offset, &err), TR_FAIL);
        assert_int_equal(err.code, TR_E_KAFKA_SOURCE_CONFIG);
    }
    assert_int_equal(ksrc_specific_offset(NULL, "t", 0, &offset, &err), TR_FAIL);
    const char *text =
        "partition:0,offset:42; partition:1, offset:300;topic:u,partition:1,offset:7;";
    assert_int_equal(ksrc_specific_offset(text, "t", 0, &offset, &err), TR_OK);
    assert_int_equal(offset, 42);
    assert_int_equal(ksrc_specific_offset(text, "t", 1, &offset, &err), TR_OK);
    assert_int_equal(offset, 300);
    assert_int_equal(ksrc_specific_offset(text, "u", 1, &offset, &err), TR_OK);
    assert_int_equal(offset, 7);
    assert_int_equal(ksrc_specific_offset(text, "t", 2, &offset, &err), TR_OK);
    assert_int_equal(offset, -1);
}

static void test_short_modes(void **state)
{
    static const struct {
        const char *word;
        enum ksrc_startup mode;
    } words[] = {{"earliest-offset", KSRC_EARLIEST},
                 {"earliest", KSRC_EARLIEST},
                 {"latest", KSRC_LATEST},
                 {"group-offsets", KSRC_GROUP_OFFSETS},
                 {"timestamp", KSRC_TIMESTAMP},
                 {"specific", KSRC_SPECIFIC}};
    (void)state;
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        char yaml[100];
        struct tr_config *config;
        struct tr_error err;
        (void)snprintf(yaml, sizeof yaml, "{topic: a, scan.startup.mode: %s}", words[i].word);
        assert_int_equal(tr_config_from_text(yaml, ksrc_option_table, sizeof(struct ksrc_options),
                                             &config, &err),
                         TR_OK);
        assert_int_equal(ksrc_startup_mode(tr_config_values(config)), words[i].mode);
        tr_config_free(config);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_needed),
        cmocka_unit_test(test_topics),
        cmocka_unit_test(test_specific_offsets),
        cmocka_unit_test(test_short_modes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
