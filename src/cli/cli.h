/* The command line: one file per subcommand, one table of them (src/main.c). */
#ifndef TR_CLI_CLI_H
#define TR_CLI_CLI_H

#include <stddef.h>

#include "config/pipeline_file.h"
#include "tailrace/error.h"

/* Exit codes; docs/exit-codes.md. tr_error_info.exit_code uses the same numbers. */
enum tr_exit {
    TR_EXIT_OK = 0,
    TR_EXIT_FAILURE = 1,       /* verify: the two sides differ */
    TR_EXIT_USAGE = 2,         /* command line, pipeline file, settings, grants */
    TR_EXIT_POSITION_LOST = 3, /* only a new snapshot helps */
    TR_EXIT_DATA = 4,          /* data or schema that the target cannot take */
    TR_EXIT_RETRIES = 5,
    TR_EXIT_SECOND_SIGNAL = 130
};

struct tr_command {
    const char *name;
    const char *synopsis; /* "run FILE [--log-level LEVEL]" */
    const char *summary;  /* one line */
    const char *help;     /* paragraphs and flags, for --help and the man page */
    int (*run)(int argc, char **argv); /* argv[0] is the command's name; returns an exit code */
    bool hidden;
};
extern const struct tr_command tr_commands[]; /* ends with a NULL name */

int tr_cmd_run(int argc, char **argv);
int tr_cmd_check(int argc, char **argv);
int tr_cmd_list(int argc, char **argv);
int tr_cmd_help(int argc, char **argv);
int tr_cmd_status(int argc, char **argv);
int tr_cmd_control(int argc, char **argv); /* stop, pause, resume, savepoint, metrics */
int tr_cmd_verify(int argc, char **argv);
int tr_cmd_drop(int argc, char **argv);
int tr_cmd_produce(int argc, char **argv);
int tr_cmd_version(int argc, char **argv);
int tr_cmd_docs(int argc, char **argv);

/* ---- common.c ---- */
/* A flag of a command. value != NULL: it takes one (`--x V` or `--x=V`). */
struct tr_flag {
    const char *name; /* "--json" */
    bool *set;
    const char **value;
};
/* Flags may stand anywhere. Positionals go to positionals[0 … *positional_count). Prints what is wrong
 * and returns false on an unknown flag or a wrong number of positionals (min..max). */
bool tr_cli_parse(int argc, char **argv, const struct tr_flag *flags, size_t flag_count,
                  const char **positionals, int positional_min, int positional_max,
                  int *positional_count);
/* Prints code, message, detail and hint to standard error; returns the exit code. */
int tr_cli_error(const struct tr_error *err);
/* The folder that holds every pipeline's state: TAILRACE_STATE_DIR, else $XDG_STATE_HOME/tailrace,
 * else ~/.local/state/tailrace. */
enum tr_status tr_cli_state_root(char *buf, size_t buf_size, struct tr_error *err);
/* The pipeline's own folder below it; made (0700) when `make`. */
enum tr_status tr_cli_state_dir(const char *pipeline_name, bool make, char *buf, size_t buf_size,
                                struct tr_error *err);
bool tr_cli_log_level(const char *name); /* false and a message: unknown */

#endif
