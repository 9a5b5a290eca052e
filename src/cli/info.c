/* tailrace list, help, version, docs: what this program is and has. No server is asked. */
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/docs_gen.h"

static void list_row(json_t *rows, const char *kind, const char *name, const char *summary,
                     const char *why_not)
{
    if (rows != NULL) {
        json_array_append_new(rows, json_pack("{s:s,s:s,s:b,s:s}", "kind", kind, "name", name,
                                              "available", why_not == NULL, "summary",
                                              why_not == NULL ? summary : why_not));
        return;
    }
    printf("%-7s %-10s %s\n", kind, name, why_not == NULL ? summary : why_not);
}

int tr_cmd_list(int argc, char **argv)
{
    bool as_json = false;
    const struct tr_flag flags[] = {{"--json", &as_json, NULL}};
    int count;
    if (!tr_cli_parse(argc, argv, flags, 1, NULL, 0, 0, &count))
        return TR_EXIT_USAGE;
    json_t *rows = as_json ? json_array() : NULL;
    for (const struct tr_source_entry *entry = tr_sources; entry->name != NULL; entry++)
        list_row(rows, "source", entry->name, entry->ops == NULL ? "" : entry->ops->summary,
                 entry->ops == NULL ? entry->why_not : NULL);
    for (const struct tr_sink_entry *entry = tr_sinks; entry->name != NULL; entry++)
        list_row(rows, "sink", entry->name, entry->ops == NULL ? "" : entry->ops->summary,
                 entry->ops == NULL ? entry->why_not : NULL);
    if (rows != NULL) {
        json_dumpf(rows, stdout, JSON_INDENT(2));
        printf("\n");
        json_decref(rows);
    }
    return TR_EXIT_OK;
}

static void print_commands(void)
{
    printf("tailrace copies a database, follows its log, and delivers every change.\n\n"
           "usage: tailrace COMMAND [ARGUMENTS]\n\n");
    for (const struct tr_command *command = tr_commands; command->name != NULL; command++) {
        if (!command->hidden)
            printf("  %-10s %s\n", command->name, command->summary);
    }
    printf("\n`tailrace help COMMAND` tells more; `tailrace help CONNECTOR` (see `tailrace list`) "
           "prints a\nconnector's options.\n");
}

int tr_cmd_help(int argc, char **argv)
{
    const char *topic;
    int count;
    if (!tr_cli_parse(argc, argv, NULL, 0, &topic, 0, 1, &count))
        return TR_EXIT_USAGE;
    if (count == 0) {
        print_commands();
        return TR_EXIT_OK;
    }
    for (const struct tr_command *command = tr_commands; command->name != NULL; command++) {
        if (strcmp(command->name, topic) == 0) {
            printf("usage: tailrace %s\n\n%s\n", command->synopsis, command->help);
            return TR_EXIT_OK;
        }
    }
    if (tr_docs_help(stdout, topic))
        return TR_EXIT_OK;
    fprintf(stderr, "tailrace help: '%s' is neither a command nor a connector; see tailrace list\n",
            topic);
    return TR_EXIT_USAGE;
}

int tr_cmd_version(int argc, char **argv)
{
    int count;
    if (!tr_cli_parse(argc, argv, NULL, 0, NULL, 0, 0, &count))
        return TR_EXIT_USAGE;
    printf("tailrace %s\n", TAILRACE_VERSION);
    printf("built with");
    const char *separator = " ";
    for (const struct tr_source_entry *entry = tr_sources; entry->name != NULL; entry++) {
        if (entry->ops != NULL)
            printf("%ssource %s", separator, entry->name), separator = ", ";
    }
    for (const struct tr_sink_entry *entry = tr_sinks; entry->name != NULL; entry++) {
        if (entry->ops != NULL)
            printf("%ssink %s", separator, entry->name), separator = ", ";
    }
    printf("\n");
    for (const struct tr_source_entry *entry = tr_sources; entry->name != NULL; entry++) {
        if (entry->ops == NULL)
            printf("without source %s: %s\n", entry->name, entry->why_not);
    }
    for (const struct tr_sink_entry *entry = tr_sinks; entry->name != NULL; entry++) {
        if (entry->ops == NULL)
            printf("without sink %s: %s\n", entry->name, entry->why_not);
    }
    return TR_EXIT_OK;
}

int tr_cmd_docs(int argc, char **argv)
{
    const char *dir;
    int count;
    struct tr_error err;
    if (!tr_cli_parse(argc, argv, NULL, 0, &dir, 1, 1, &count))
        return TR_EXIT_USAGE;
    if (tr_docs_write(dir, &err) != TR_OK)
        return tr_cli_error(&err);
    return TR_EXIT_OK;
}
