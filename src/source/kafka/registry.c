/* Schemas from a registry with Confluent's REST interface: GET /schemas/ids/ID → {"schema": "…"}.
 *
 * Asked once an ID by the reader's thread (the decoder keeps what it got). A registry that is away
 * is transient: the restart strategy waits for it. An ID that it does not know makes the message
 * malformed. */
#include <stdlib.h>
#include <string.h>

#include "source/kafka/internal.h"

#ifdef TR_WITH_CURL
#include <curl/curl.h>
#include <jansson.h>
#include <pthread.h>
#include <stdio.h>

#include "base/outbuf.h"

#define CONNECT_TIMEOUT_MS 5000L
#define TIMEOUT_MS 15000L
#define ANSWER_BYTES_MAX ((size_t)4 << 20)
#define REDIRECTS_MAX 3L
#define URL_BYTES_MAX 2048

struct ksrc_registry {
    const struct ksrc_options *options;
    CURL *curl;
    char *base; /* without a slash at the end */
    struct tr_outbuf answer;
    _Atomic bool interrupted;
};

static size_t take(char *data, size_t size, size_t count, void *context)
{
    struct ksrc_registry *registry = context;
    size_t len = size * count;
    if (registry->answer.len + len > ANSWER_BYTES_MAX)
        return 0;
    tr_outbuf_bytes(&registry->answer, data, len);
    return registry->answer.failed ? 0 : len;
}

static int stop_when_interrupted(void *context, curl_off_t a, curl_off_t b, curl_off_t c,
                                 curl_off_t d)
{
    struct ksrc_registry *registry = context;
    (void)a;
    (void)b;
    (void)c;
    (void)d;
    return atomic_load(&registry->interrupted) ? 1 : 0;
}

static void init_curl(void) { (void)curl_global_init(CURL_GLOBAL_DEFAULT); }

static bool set_up(struct ksrc_registry *registry)
{
    CURL *curl = registry->curl;
    const struct ksrc_options *options = registry->options;
    bool fine =
        curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take) == CURLE_OK &&
        curl_easy_setopt(curl, CURLOPT_WRITEDATA, registry) == CURLE_OK &&
        curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, stop_when_interrupted) == CURLE_OK &&
        curl_easy_setopt(curl, CURLOPT_XFERINFODATA, registry) == CURLE_OK &&
        curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L) == CURLE_OK &&
        curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
        curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_TIMEOUT_MS) == CURLE_OK &&
        curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, TIMEOUT_MS) == CURLE_OK &&
        curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 1L) == CURLE_OK &&
        curl_easy_setopt(curl, CURLOPT_MAXREDIRS, REDIRECTS_MAX) == CURLE_OK &&
        curl_easy_setopt(curl, CURLOPT_USERAGENT, "tailrace/" TAILRACE_VERSION) == CURLE_OK;
    if (fine && options->registry_user != NULL)
        fine = curl_easy_setopt(curl, CURLOPT_HTTPAUTH, CURLAUTH_BASIC) == CURLE_OK &&
               curl_easy_setopt(curl, CURLOPT_USERNAME, options->registry_user) == CURLE_OK;
    if (fine && options->registry_password.value != NULL)
        fine =
            curl_easy_setopt(curl, CURLOPT_PASSWORD, options->registry_password.value) == CURLE_OK;
    if (fine && options->registry_ca != NULL)
        fine = curl_easy_setopt(curl, CURLOPT_CAINFO, options->registry_ca) == CURLE_OK;
    return fine;
}

enum tr_status ksrc_registry_new(const struct ksrc_options *options, struct ksrc_registry **out,
                                 struct tr_error *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    const char *url = options->registry_url;
    *out = NULL;
    if (strncmp(url, "http://", 7) != 0 && strncmp(url, "https://", 8) != 0) {
        (void)tr_fail(err, TR_E_KAFKA_SOURCE_CONFIG,
                      "avro.schema-registry.url is not a web address");
        return tr_hint(err, "Write avro.schema-registry.url: http://host:8081.");
    }
    (void)pthread_once(&once, init_curl);
    struct ksrc_registry *registry = calloc(1, sizeof *registry);
    if (registry == NULL)
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for the registry's client");
    registry->options = options;
    registry->base = strdup(url);
    registry->curl = curl_easy_init();
    if (registry->base == NULL || registry->curl == NULL || !set_up(registry)) {
        ksrc_registry_free(registry);
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for the registry's client");
    }
    for (size_t len = strlen(registry->base); len > 0 && registry->base[len - 1] == '/'; len--)
        registry->base[len - 1] = '\0';
    *out = registry;
    return TR_OK;
}

void ksrc_registry_free(struct ksrc_registry *registry)
{
    if (registry == NULL)
        return;
    if (registry->curl != NULL)
        curl_easy_cleanup(registry->curl);
    tr_outbuf_free(&registry->answer);
    free(registry->base);
    free(registry);
}

void ksrc_registry_interrupt(struct ksrc_registry *registry)
{
    if (registry != NULL)
        atomic_store(&registry->interrupted, true);
}

static enum tr_status fail_transport(const struct ksrc_registry *registry, CURLcode code,
                                     struct tr_error *err)
{
    if (atomic_load(&registry->interrupted))
        return tr_fail(err, TR_E_INTERRUPTED, "interrupted while asking the schema registry");
    (void)tr_fail(err, TR_E_KAFKA_REGISTRY_UNREACHABLE, "the schema registry did not answer");
    (void)tr_detail(err, "%s", curl_easy_strerror(code));
    if (code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CACERT_BADFILE) {
        err->class = TR_CONFIG;
        return tr_hint(err, "Give the certificate that signed the registry's by "
                            "avro.schema-registry.ca.location.");
    }
    return tr_hint(err, "Check avro.schema-registry.url and that the registry runs.");
}

/* GET base + path into answer; *http is the answer's status. */
static enum tr_status get(struct ksrc_registry *registry, const char *path, long *http,
                          struct tr_error *err)
{
    char url[URL_BYTES_MAX];
    if (snprintf(url, sizeof url, "%s%s", registry->base, path) >= (int)sizeof url)
        return tr_fail(err, TR_E_KAFKA_SOURCE_CONFIG, "avro.schema-registry.url is too long");
    tr_outbuf_clear(&registry->answer);
    CURLcode code = curl_easy_setopt(registry->curl, CURLOPT_URL, url);
    if (code == CURLE_OK)
        code = curl_easy_perform(registry->curl);
    if (code != CURLE_OK)
        return fail_transport(registry, code, err);
    (void)curl_easy_getinfo(registry->curl, CURLINFO_RESPONSE_CODE, http);
    if (*http == 401 || *http == 403) {
        (void)tr_fail(err, TR_E_KAFKA_REGISTRY_REFUSED, "the schema registry refused (HTTP %ld)",
                      *http);
        return tr_hint(err, "Check avro.schema-registry.username and .password.");
    }
    if (*http >= 500 || *http == 429) {
        (void)tr_fail(err, TR_E_KAFKA_REGISTRY_UNREACHABLE,
                      "the schema registry cannot answer now (HTTP %ld)", *http);
        return tr_hint(err, "Look at the registry's own log.");
    }
    return TR_OK;
}

static enum tr_status bad_answer(uint32_t schema_id, long http, struct tr_error *err)
{
    (void)tr_fail(err, TR_E_KAFKA_REGISTRY_REFUSED,
                  "the schema registry's answer for schema %u cannot be used (HTTP %ld)", schema_id,
                  http);
    return tr_hint(err, "Check that avro.schema-registry.url is the base of Confluent's REST "
                        "interface, for Apicurio http://host:8080/apis/ccompat/v7.");
}

enum tr_status ksrc_registry_schema(void *self, uint32_t schema_id, char **text,
                                    struct tr_error *err)
{
    struct ksrc_registry *registry = self;
    char path[64];
    long http = 0;
    *text = NULL;
    (void)snprintf(path, sizeof path, "/schemas/ids/%u", schema_id);
    if (get(registry, path, &http, err) != TR_OK)
        return TR_FAIL;
    json_t *root = json_loadb(registry->answer.data == NULL ? "" : registry->answer.data,
                              registry->answer.len, 0, NULL);
    const char *type = json_string_value(json_object_get(root, "schemaType"));
    const char *schema = json_string_value(json_object_get(root, "schema"));
    bool refers = json_array_size(json_object_get(root, "references")) > 0;
    bool is_avro = type == NULL || strcmp(type, "AVRO") == 0;
    enum tr_status status = TR_OK;
    if (http == 404 && root != NULL)
        status = tr_fail(err, TR_E_AVRO_SCHEMA_UNKNOWN,
                         "the schema registry does not know the message's schema %u", schema_id);
    else if (http != 200 || schema == NULL)
        status = bad_answer(schema_id, http, err);
    else if (!is_avro || refers)
        status = tr_fail(err, TR_E_AVRO_SCHEMA_UNKNOWN,
                         is_avro ? "schema %u refers to other schemas, which are not followed"
                                 : "schema %u is not an Avro schema",
                         schema_id);
    else if ((*text = strdup(schema)) == NULL)
        status = tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for a schema");
    json_decref(root);
    return status;
}

enum tr_status ksrc_registry_check(struct ksrc_registry *registry, struct tr_error *err)
{
    long http = 0;
    if (get(registry, "/subjects", &http, err) != TR_OK)
        return TR_FAIL;
    return http == 200 ? TR_OK : bad_answer(0, http, err);
}

#else /* without libcurl */

enum tr_status ksrc_registry_new(const struct ksrc_options *options, struct ksrc_registry **out,
                                 struct tr_error *err)
{
    (void)options;
    *out = NULL;
    (void)tr_fail(err, TR_E_KAFKA_SOURCE_CONFIG, "this build cannot ask a schema registry");
    return tr_hint(err, "Build it with libcurl (package libcurl4-openssl-dev).");
}
enum tr_status ksrc_registry_schema(void *registry, uint32_t schema_id, char **text,
                                    struct tr_error *err)
{
    (void)registry;
    (void)schema_id;
    *text = NULL;
    return tr_fail(err, TR_E_INTERNAL, "a schema was asked for without a registry");
}
enum tr_status ksrc_registry_check(struct ksrc_registry *registry, struct tr_error *err)
{
    (void)registry;
    return tr_fail(err, TR_E_INTERNAL, "there is no registry");
}
void ksrc_registry_interrupt(struct ksrc_registry *registry) { (void)registry; }
void ksrc_registry_free(struct ksrc_registry *registry) { (void)registry; }
#endif
