/* Any bytes as a pipeline file, as YAML and as JSON: no crash, no leak, no hang; an error always
 * has a code and says where. What was read must stand being used: names, routes, patterns. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../unit/config_fakes.h"
#include "config/bind.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds, const char *what)
{
    if (!holds) {
        (void)fprintf(stderr, "does not hold: %s\n", what);
        abort();
    }
}

static void use(const struct tr_pipeline_file *file)
{
    struct tr_table_id id = {"shop", "public", "order_1"};
    struct tr_error err;
    char buf[256];
    const struct fake_source *source = tr_config_values(file->source_config);
    require(file->options.name != NULL && strlen(file->options.name) <= 48, "a short name");
    require(strchr(file->options.name, '/') == NULL && file->options.name[0] != '.',
            "a plain name");
    require(file->sink_count > 0 && file->source_ops != NULL, "source and sink");
    require(source->hostname != NULL && source->port >= 1 && source->port <= 65535, "options");
    for (size_t i = 0; i < file->route_count; i++) {
        (void)tr_table_pattern_match(file->routes[i].source, &id);
        (void)!tr_table_pattern_expand(file->routes[i].source, &id, file->routes[i].sink_table, buf,
                                       sizeof buf, &err);
    }
    for (size_t i = 0; i < source->tables.count; i++)
        require(source->tables.items[i] != NULL, "list items");
    for (size_t i = 0; i < source->debezium.count; i++)
        require(source->debezium.keys[i][0] != '\0', "map keys");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const names[] = {"f.yaml", "f.json"};
    for (size_t i = 0; i < 2; i++) {
        struct tr_pipeline_file *file = NULL;
        struct tr_error err;
        char *exact = malloc(size > 0 ? size : 1);
        require(exact != NULL, "memory");
        if (size > 0)
            memcpy(exact, data, size);
        enum tr_status status =
            tr_pipeline_file_parse(exact, size, names[i], fake_sources, fake_sinks, &file, &err);
        free(exact); /* nothing may point into the text */
        if (status == TR_OK) {
            use(file);
            tr_pipeline_file_free(file);
        } else {
            require(status == TR_FAIL && err.code != TR_E_NONE && err.code != TR_E_INTERNAL,
                    "a code");
            require(err.message[0] != '\0', "a message");
            require(err.code == TR_E_OUT_OF_MEMORY || strncmp(err.message, names[i], 6) == 0,
                    "a place");
        }
    }
    return 0;
}
