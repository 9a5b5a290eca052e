/* What the subcommands share: flags, errors, the state folder. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "base/log.h"
#include "cli/cli.h"

static const struct tr_flag *find_flag(const struct tr_flag *flags, size_t flag_count,
                                       const char *arg, const char **value)
{
    for (size_t i = 0; i < flag_count; i++) {
        size_t len = strlen(flags[i].name);
        if (strncmp(arg, flags[i].name, len) != 0)
            continue;
        if (arg[len] == '\0') {
            *value = NULL;
            return &flags[i];
        }
        if (arg[len] == '=' && flags[i].value != NULL) {
            *value = arg + len + 1;
            return &flags[i];
        }
    }
    return NULL;
}

bool tr_cli_parse(int argc, char **argv, const struct tr_flag *flags, size_t flag_count,
                  const char **positionals, int positional_min, int positional_max,
                  int *positional_count)
{
    int count = 0;
    bool only_positionals = false;
    for (int i = 1; i < argc; i++) {
        const char *value;
        if (only_positionals || argv[i][0] != '-' || strcmp(argv[i], "-") == 0) {
            if (count == positional_max) {
                fprintf(stderr, "tailrace %s: unexpected argument '%s'; see tailrace %s --help\n",
                        argv[0], argv[i], argv[0]);
                return false;
            }
            positionals[count++] = argv[i];
            continue;
        }
        if (strcmp(argv[i], "--") == 0) {
            only_positionals = true;
            continue;
        }
        const struct tr_flag *flag = find_flag(flags, flag_count, argv[i], &value);
        if (flag == NULL) {
            fprintf(stderr, "tailrace %s: unknown option '%s'; see tailrace %s --help\n", argv[0],
                    argv[i], argv[0]);
            return false;
        }
        if (flag->set != NULL)
            *flag->set = true;
        if (flag->value != NULL && value == NULL) {
            if (i + 1 == argc) {
                fprintf(stderr, "tailrace %s: %s needs a value\n", argv[0], flag->name);
                return false;
            }
            value = argv[++i];
        }
        if (flag->value != NULL)
            *flag->value = value;
    }
    if (count < positional_min) {
        fprintf(stderr, "tailrace %s: an argument is missing; see tailrace %s --help\n", argv[0],
                argv[0]);
        return false;
    }
    *positional_count = count;
    return true;
}

int tr_cli_error(const struct tr_error *err)
{
    const struct tr_error_info *info = tr_error_info(err->code);
    fprintf(stderr, "error: %s\n", err->message);
    if (err->detail[0] != '\0')
        fprintf(stderr, "  detail: %s\n", err->detail);
    if (err->hint[0] != '\0')
        fprintf(stderr, "  hint:   %s\n", err->hint);
    fprintf(stderr, "  code:   %s (docs/errors/%s.md)\n", info->name, info->name);
    return info->exit_code;
}

enum tr_status tr_cli_state_root(char *buf, size_t buf_size, struct tr_error *err)
{
    const char *env = getenv("TAILRACE_STATE_DIR");
    int len;
    if (env != NULL && env[0] != '\0') {
        len = snprintf(buf, buf_size, "%s", env);
    } else if ((env = getenv("XDG_STATE_HOME")) != NULL && env[0] == '/') {
        len = snprintf(buf, buf_size, "%s/tailrace", env);
    } else if ((env = getenv("HOME")) != NULL && env[0] != '\0') {
        len = snprintf(buf, buf_size, "%s/.local/state/tailrace", env);
    } else {
        (void)tr_fail(err, TR_E_STATE_DIR, "there is no folder for the state: HOME is not set");
        return tr_hint(err, "set TAILRACE_STATE_DIR");
    }
    if (len < 0 || (size_t)len >= buf_size)
        return tr_fail(err, TR_E_STATE_DIR, "the state folder's path is too long");
    return TR_OK;
}

enum tr_status tr_cli_state_dir(const char *pipeline_name, bool make, char *buf, size_t buf_size,
                                struct tr_error *err)
{
    if (tr_cli_state_root(buf, buf_size, err) != TR_OK)
        return TR_FAIL;
    size_t len = strlen(buf);
    int more = snprintf(buf + len, buf_size - len, "/%s", pipeline_name);
    if (more < 0 || (size_t)more >= buf_size - len)
        return tr_fail(err, TR_E_STATE_DIR, "the state folder's path is too long");
    int error = make ? tr_fs_mkdirs(buf, 0700) : 0;
    if (error != 0) {
        (void)tr_fail(err, TR_E_STATE_DIR, "the state folder %s cannot be made: %s", buf,
                      strerror(error));
        return tr_hint(err, "set TAILRACE_STATE_DIR to a folder that this user may write to");
    }
    return TR_OK;
}

bool tr_cli_log_level(const char *name)
{
    static const char *const names[] = {"debug", "info", "warn", "error"};
    if (name == NULL)
        return true;
    for (int i = 0; i < 4; i++) {
        if (strcmp(name, names[i]) == 0) {
            tr_log_set_level((enum tr_log_level)i);
            return true;
        }
    }
    fprintf(stderr, "--log-level takes debug, info, warn or error\n");
    return false;
}
