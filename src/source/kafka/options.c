#include "source/kafka/options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define AT(field) offsetof(struct ksrc_options, field)

static const char *const startup_values[] = {"earliest-offset",
                                             "latest-offset",
                                             "group-offsets",
                                             "timestamp",
                                             "specific-offsets",
                                             "earliest",
                                             "latest",
                                             "group",
                                             "time",
                                             "specific",
                                             NULL};
static const char *const bounded_values[] = {"unbounded", "latest-offset", NULL};
static const char *const malformed_values[] = {"dead-letter", "skip", "fail", NULL};
static const char *const assignment_values[] = {"all", "group", NULL};

const struct tr_option ksrc_option_table[] = {
    {.name = "properties.*",
     .type = TR_OPT_MAP,
     .offset = AT(properties),
     .help =
         "Properties of the Kafka client, above all properties.bootstrap.servers (host:port, …), "
         "properties.group.id (default: the pipeline's name), properties.security.protocol, "
         "properties.sasl.* and properties.ssl.*. librdkafka's names; Java's are translated where "
         "the meaning is the same."},
    {.name = "bootstrap-servers",
     .type = TR_OPT_STRING,
     .offset = AT(bootstrap_servers),
     .help = "Short for properties.bootstrap.servers."},
    {.name = "topic",
     .type = TR_OPT_LIST,
     .offset = AT(topics),
     .help = "Topics to read, parted by commas. Needed unless topic-pattern is given."},
    {.name = "topic-pattern",
     .type = TR_OPT_STRING,
     .offset = AT(topic_pattern),
     .help = "Regular expression (PCRE) that a topic's whole name must match. Topics that begin "
             "with __ "
             "are never read by it."},
    {.name = "scan.startup.mode",
     .type = TR_OPT_ENUM,
     .offset = AT(startup),
     .default_text = "earliest-offset",
     .values = startup_values,
     .help =
         "Where the first run begins; later ones go on from the pipeline's position. "
         "earliest-offset, latest-offset, group-offsets (committed by properties.group.id; without "
         "any, properties.auto.offset.reset decides), timestamp (scan.startup.timestamp-millis), "
         "specific-offsets (scan.startup.specific-offsets). The others are short spellings."},
    {.name = "scan.startup.timestamp-millis",
     .type = TR_OPT_INT,
     .offset = AT(startup_timestamp_ms),
     .min = 0,
     .max = INT64_MAX,
     .help =
         "scan.startup.mode timestamp: the first message at or after this time, in milliseconds "
         "since 1970-01-01 UTC; the end where there is none."},
    {.name = "scan.startup.specific-offsets",
     .type = TR_OPT_STRING,
     .offset = AT(specific_offsets),
     .help =
         "scan.startup.mode specific-offsets: partition:0,offset:42;partition:1,offset:300. With "
         "several topics: topic:NAME,partition:0,offset:42. A partition that it does not name "
         "begins at the group's offset, else at its first message."},
    {.name = "scan.bounded.mode",
     .type = TR_OPT_ENUM,
     .offset = AT(bounded),
     .default_text = "unbounded",
     .values = bounded_values,
     .help =
         "latest-offset: end when every partition has been read up to the end that it had at the "
         "start."},
    {.name = "scan.topic-partition-discovery.interval",
     .type = TR_OPT_DURATION,
     .offset = AT(discovery_ms),
     .default_text = "30s",
     .min = 0,
     .max = 86400000,
     .help = "How often new partitions, and with topic-pattern new topics, are looked for. They "
             "are read "
             "from their first message. 0: never."},
    {.name = "malformed",
     .type = TR_OPT_ENUM,
     .offset = AT(malformed),
     .values = malformed_values,
     .help = "A message that is not what the format asks for. dead-letter (default when the "
             "pipeline has "
             "dead letters): it goes there. fail (default otherwise): the pipeline ends at it. "
             "skip: it "
             "is left out, counted and logged."},
    {.name = "table",
     .type = TR_OPT_STRING,
     .offset = AT(table),
     .help = "Table that the rows are of: table, or schema.table. Default: what the message names, "
             "else "
             "its topic."},
    {.name = "scan.assignment",
     .type = TR_OPT_ENUM,
     .offset = AT(assignment),
     .default_text = "all",
     .values = assignment_values,
     .help =
         "all: this process reads every partition. group: several processes of this pipeline share "
         "the partitions through the consumer group."},
    {.name = "avro.schema-registry.url",
     .alias = "avro-confluent.url",
     .type = TR_OPT_STRING,
     .offset = AT(registry_url),
     .help = "format avro: a registry with Confluent's REST interface, for example "
             "http://registry:8081."},
    {.name = "avro.schema-registry.username",
     .type = TR_OPT_STRING,
     .offset = AT(registry_user),
     .help = "User of the registry (HTTP basic authentication)."},
    {.name = "avro.schema-registry.password",
     .type = TR_OPT_SECRET,
     .offset = AT(registry_password),
     .help = "The user's password."},
    {.name = "avro.schema-registry.ca.location",
     .type = TR_OPT_STRING,
     .flags = TR_OPT_ADVANCED,
     .offset = AT(registry_ca),
     .help = "PEM file with the certificates that the registry's must be signed by; the system's "
             "unless given."},
    {.name = "scan.connect.timeout",
     .type = TR_OPT_DURATION,
     .flags = TR_OPT_ADVANCED,
     .offset = AT(connect_timeout_ms),
     .default_text = "10s",
     .min = 100,
     .max = 600000,
     .help = "How long the start waits for a broker, and a question to one for its answer."},
    {.name = "scan.brokers-down.timeout",
     .type = TR_OPT_DURATION,
     .flags = TR_OPT_ADVANCED,
     .offset = AT(down_timeout_ms),
     .default_text = "60s",
     .min = 1000,
     .max = 86400000,
     .help = "The client connects again by itself; after this long without any broker the attempt "
             "fails "
             "and the restart strategy decides."},
    TR_DECODER_OPTION_ROWS(struct ksrc_options, decoder, "json"),
    {.name = NULL},
};

enum ksrc_startup ksrc_startup_mode(const struct ksrc_options *options)
{
    return (enum ksrc_startup)(options->startup % KSRC_STARTUP_COUNT);
}

const char *ksrc_property(const struct ksrc_options *options, const char *name)
{
    for (size_t i = 0; i < options->properties.count; i++) {
        if (strcmp(options->properties.keys[i], name) == 0)
            return options->properties.values[i];
    }
    return NULL;
}

const char *ksrc_bootstrap_servers(const struct ksrc_options *options)
{
    const char *servers = ksrc_property(options, "bootstrap.servers");
    return servers != NULL ? servers : options->bootstrap_servers;
}

enum tr_status ksrc_topics_each(const struct ksrc_options *options,
                                enum tr_status (*each)(void *context, const char *topic,
                                                       struct tr_error *err),
                                void *context, struct tr_error *err)
{
    char name[KSRC_TOPIC_NAME_MAX + 1];
    for (size_t i = 0; i < options->topics.count; i++) {
        const char *at = options->topics.items[i];
        while (*at != '\0') {
            at += strspn(at, "; ");
            size_t len = strcspn(at, ";"), used = len;
            while (used > 0 && at[used - 1] == ' ')
                used--;
            if (used > KSRC_TOPIC_NAME_MAX) {
                (void)tr_fail(err, TR_E_KAFKA_TOPIC_NAME,
                              "a topic's name is longer than %d characters", KSRC_TOPIC_NAME_MAX);
                return tr_hint(err,
                               "The source keeps positions by topic, and cannot for this one.");
            }
            if (used > 0) {
                memcpy(name, at, used);
                name[used] = '\0';
                if (each(context, name, err) != TR_OK)
                    return TR_FAIL;
            }
            at += len;
        }
    }
    return TR_OK;
}

/* ---- specific offsets ---------------------------------------------------------------------------
 */

static enum tr_status bad_offsets(struct tr_error *err)
{
    (void)tr_fail(err, TR_E_KAFKA_SOURCE_CONFIG, "scan.startup.specific-offsets cannot be read");
    return tr_hint(err, "Write scan.startup.specific-offsets: "
                        "\"partition:0,offset:42;partition:1,offset:300\".");
}

static bool number(const char *text, size_t len, int64_t max, int64_t *out)
{
    int64_t value = 0;
    if (len == 0 || len > 19)
        return false;
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9' || __builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, text[i] - '0', &value))
            return false;
    }
    *out = value;
    return value <= max;
}

struct specific {
    const char *topic; /* NULL: any */
    size_t topic_len;
    int64_t partition, offset;
};

static bool specific_part(const char *text, size_t len, struct specific *out)
{
    *out = (struct specific){NULL, 0, -1, -1};
    while (len > 0) {
        const char *comma = memchr(text, ',', len);
        size_t field = comma == NULL ? len : (size_t)(comma - text);
        const char *colon = memchr(text, ':', field);
        if (colon == NULL)
            return false;
        size_t name_len = (size_t)(colon - text), value_len = field - name_len - 1;
        const char *value = colon + 1;
        while (name_len > 0 && *text == ' ') {
            text++;
            name_len--;
            len--;
            field--;
        }
        bool fine;
        if (name_len == 9 && memcmp(text, "partition", 9) == 0) {
            fine = number(value, value_len, INT32_MAX, &out->partition);
        } else if (name_len == 6 && memcmp(text, "offset", 6) == 0) {
            fine = number(value, value_len, INT64_MAX - 1, &out->offset);
        } else {
            fine = name_len == 5 && memcmp(text, "topic", 5) == 0 && value_len > 0;
            out->topic = value;
            out->topic_len = value_len;
        }
        if (!fine)
            return false;
        size_t whole = comma == NULL ? field : field + 1;
        text += whole;
        len -= whole;
    }
    return out->partition >= 0 && out->offset >= 0;
}

enum tr_status ksrc_specific_offset(const char *text, const char *topic, int32_t partition,
                                    int64_t *offset, struct tr_error *err)
{
    *offset = -1;
    if (text == NULL)
        return bad_offsets(err);
    for (const char *at = text; *at != '\0';) {
        at += strspn(at, " ");
        size_t len = strcspn(at, ";");
        struct specific part;
        if (len > 0) {
            if (!specific_part(at, len, &part))
                return bad_offsets(err);
            bool ours = part.topic == NULL || (strlen(topic) == part.topic_len &&
                                               memcmp(topic, part.topic, part.topic_len) == 0);
            if (ours && part.partition == partition)
                *offset = part.offset;
        }
        at += len + (at[len] == ';' ? 1 : 0);
    }
    return TR_OK;
}

/* ---- contradictions -----------------------------------------------------------------------------
 */

static enum tr_status wrong(struct tr_error *err, const char *message, const char *hint)
{
    (void)tr_fail(err, TR_E_KAFKA_SOURCE_CONFIG, "%s", message);
    return tr_hint(err, "%s", hint);
}

static enum tr_status count_topic(void *context, const char *topic, struct tr_error *err)
{
    (void)topic;
    (void)err;
    ++*(size_t *)context;
    return TR_OK;
}

enum tr_status ksrc_options_check(const struct ksrc_options *options, struct tr_error *err)
{
    size_t topics = 0;
    int64_t ignored;
    const char *servers = ksrc_bootstrap_servers(options);
    if (servers == NULL || servers[0] == '\0')
        return wrong(err, "the Kafka source does not say where the brokers are",
                     "Give properties.bootstrap.servers: host:9092.");
    if (ksrc_topics_each(options, count_topic, &topics, err) != TR_OK)
        return TR_FAIL;
    if ((topics == 0) == (options->topic_pattern == NULL))
        return wrong(err,
                     topics == 0 ? "the Kafka source does not say what to read"
                                 : "topic and topic-pattern are both given",
                     "Give either topic: a,b or topic-pattern: a regular expression.");
    enum ksrc_startup mode = ksrc_startup_mode(options);
    if (mode == KSRC_TIMESTAMP && options->startup_timestamp_ms == 0)
        return wrong(err, "scan.startup.mode timestamp needs a time",
                     "Give scan.startup.timestamp-millis.");
    if (mode == KSRC_SPECIFIC &&
        ksrc_specific_offset(options->specific_offsets, "", -1, &ignored, err) != TR_OK)
        return TR_FAIL;
    if (options->assignment == KSRC_GROUP && options->bounded != KSRC_UNBOUNDED)
        return wrong(err, "scan.bounded.mode and scan.assignment: group exclude each other",
                     "A bounded run is one process: leave scan.assignment: all.");
    if (options->decoder.format == TR_DECODE_AVRO && options->registry_url == NULL)
        return wrong(err, "format avro needs a schema registry",
                     "Give avro.schema-registry.url: http://host:8081.");
    if (options->decoder.format == TR_DECODE_CSV &&
        (options->decoder.csv_header || options->decoder.columns.count == 0))
        return wrong(err, "a topic has no header line that could name the columns of CSV",
                     "Give csv.header: false and columns: [id INT, name STRING].");
    return TR_OK;
}
