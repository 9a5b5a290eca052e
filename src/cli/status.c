/* tailrace status [NAME] [--json]; stop, pause, resume, savepoint, metrics NAME: they talk to the
 * pipeline's control socket. */
#include <dirent.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "cli/cli.h"
#include "control/control.h"

#define CALL_TIMEOUT_MS 5000
#define STOP_TIMEOUT_MS 35000
#define STOP_POLL_MS 50

static double number(const json_t *object, const char *key)
{
    return json_number_value(json_object_get(object, key));
}

static const char *text(const json_t *object, const char *key)
{
    const char *value = json_string_value(json_object_get(object, key));
    return value == NULL ? "" : value;
}

static void print_one(const json_t *status)
{
    printf("%s  %s%s\n", text(status, "pipeline"), text(status, "state"),
           json_is_true(json_object_get(status, "paused")) ? " (paused)" : "");
    printf("  %s -> %s  pid %.0f  up %.0f s  restarts %.0f\n", text(status, "source"),
           text(status, "sink"), number(status, "pid"), number(status, "uptime_seconds"),
           number(status, "restarts"));
    printf("  events %.0f  lag %.3f s  latency %.3f s  behind %.0f bytes\n",
           number(status, "events_read"), number(status, "lag_seconds"),
           number(status, "latency_seconds"), number(status, "bytes_behind"));
    printf("  position %s  checkpoints %.0f", text(status, "position"),
           number(status, "checkpoints"));
    const json_t *age = json_object_get(status, "checkpoint_age_seconds");
    if (json_is_number(age))
        printf(" (last %.1f s ago)", json_number_value(age));
    printf("\n");
    const json_t *snapshot = json_object_get(status, "snapshot");
    if (json_is_true(json_object_get(snapshot, "running")))
        printf("  snapshot: tables %.0f/%.0f, rows %.0f of about %.0f\n",
               number(snapshot, "tables_done"), number(snapshot, "tables"),
               number(snapshot, "rows"), number(snapshot, "rows_estimate"));
    size_t i;
    json_t *table;
    json_array_foreach(json_object_get(status, "tables"), i, table)
    {
        if (i == 0)
            printf("  %-32s %10s %10s %10s %10s\n", "table", "copied", "inserts", "updates",
                   "deletes");
        printf("  %-32s %10.0f %10.0f %10.0f %10.0f\n", text(table, "source"),
               number(table, "reads"), number(table, "creates"), number(table, "updates"),
               number(table, "deletes"));
    }
    const json_t *error = json_object_get(status, "last_error");
    if (json_is_object(error))
        printf("  last error: %s %s\n", text(error, "code"), text(error, "message"));
}

static enum tr_status ask(const char *name, const char *command, json_t **answer,
                          struct tr_error *err)
{
    char state_dir[4096], request[128];
    char *line = NULL;
    *answer = NULL;
    if (tr_cli_state_dir(name, false, state_dir, sizeof state_dir, err) != TR_OK)
        return TR_FAIL;
    (void)snprintf(request, sizeof request, "{\"command\":\"%s\"}", command);
    if (tr_control_call(state_dir, request, CALL_TIMEOUT_MS, &line, err) != TR_OK)
        return TR_FAIL;
    *answer = json_loads(line, 0, NULL);
    free(line);
    if (*answer == NULL)
        return tr_fail(err, TR_E_INTERNAL, "the answer of pipeline %s is not JSON", name);
    return TR_OK;
}

static int status_all(bool as_json)
{
    char root[4096];
    struct tr_error err;
    if (tr_cli_state_root(root, sizeof root, &err) != TR_OK)
        return tr_cli_error(&err);
    json_t *all = json_array();
    struct dirent **entries = NULL;
    int count = scandir(root, &entries, NULL, alphasort), shown = 0;
    for (int i = 0; i < count; i++) {
        char path[4096 + 300];
        struct stat info;
        json_t *status = NULL;
        (void)snprintf(path, sizeof path, "%s/%s", root, entries[i]->d_name);
        if (entries[i]->d_name[0] != '.' && stat(path, &info) == 0 && S_ISDIR(info.st_mode)) {
            if (ask(entries[i]->d_name, "status", &status, &err) != TR_OK)
                status =
                    json_pack("{s:s,s:s}", "pipeline", entries[i]->d_name, "state", "not running");
            shown++;
            if (!as_json && json_object_get(status, "pid") == NULL)
                printf("%s  not running\n", entries[i]->d_name);
            else if (!as_json)
                print_one(status);
            json_array_append_new(all, status);
        }
        free(entries[i]);
    }
    free(entries);
    if (as_json) {
        json_dumpf(all, stdout, JSON_INDENT(2));
        printf("\n");
    } else if (shown == 0) {
        printf("no pipeline has run with the state folder %s\n", root);
    }
    json_decref(all);
    return TR_EXIT_OK;
}

int tr_cmd_status(int argc, char **argv)
{
    bool as_json = false;
    const char *name;
    const struct tr_flag flags[] = {{"--json", &as_json, NULL}};
    int count;
    struct tr_error err;
    json_t *status;
    if (!tr_cli_parse(argc, argv, flags, 1, &name, 0, 1, &count))
        return TR_EXIT_USAGE;
    if (count == 0)
        return status_all(as_json);
    if (ask(name, "status", &status, &err) != TR_OK)
        return tr_cli_error(&err);
    if (as_json) {
        json_dumpf(status, stdout, JSON_INDENT(2));
        printf("\n");
    } else {
        print_one(status);
    }
    json_decref(status);
    return TR_EXIT_OK;
}

/* The process lets go of its lock when it has ended: then nobody answers any more. */
static int wait_until_gone(const char *name)
{
    int64_t deadline_ms = tr_clock_mono_ms() + STOP_TIMEOUT_MS;
    struct tr_error err;
    json_t *answer;
    while (tr_clock_mono_ms() < deadline_ms) {
        if (ask(name, "status", &answer, &err) != TR_OK && err.code == TR_E_NOT_RUNNING)
            return TR_EXIT_OK;
        json_decref(answer);
        tr_clock_sleep_ms(STOP_POLL_MS);
    }
    fprintf(stderr, "pipeline %s still runs after %d s\n", name, STOP_TIMEOUT_MS / 1000);
    return TR_EXIT_FAILURE;
}

int tr_cmd_control(int argc, char **argv)
{
    const char *name;
    int count;
    struct tr_error err;
    json_t *answer;
    if (!tr_cli_parse(argc, argv, NULL, 0, &name, 1, 1, &count))
        return TR_EXIT_USAGE;
    if (ask(name, argv[0], &answer, &err) != TR_OK)
        return tr_cli_error(&err);
    int code = json_is_true(json_object_get(answer, "ok")) ? TR_EXIT_OK : TR_EXIT_FAILURE;
    if (code != TR_EXIT_OK)
        fprintf(stderr, "error: %s\n", text(json_object_get(answer, "error"), "message"));
    else if (strcmp(argv[0], "metrics") == 0)
        fputs(text(answer, "metrics"), stdout);
    else if (strcmp(argv[0], "savepoint") == 0)
        printf("%s\n", text(answer, "path"));
    json_decref(answer);
    if (code == TR_EXIT_OK && strcmp(argv[0], "stop") == 0)
        code = wait_until_gone(name);
    return code;
}
