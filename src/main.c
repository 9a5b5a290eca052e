/* tailrace: argv → subcommand. The commands' table makes `help` and the man page too. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "base/failpoint.h"
#include "cli/cli.h"

const struct tr_command tr_commands[] = {
    {"run", "run FILE [--no-progress] [--until-caught-up] [--log-level LEVEL]",
     "run a pipeline in the foreground",
     "Copies the source and follows its log until it is stopped. FILE is a pipeline file in YAML "
     "or\n"
     "JSON, '-' for standard input. On a terminal one line shows the progress; otherwise logs are\n"
     "key=value lines on standard error. SIGTERM and SIGINT drain, save and end with 0; a second "
     "one\n"
     "ends at once, and nothing is lost by it.\n\n"
     "  --no-progress        log lines also on a terminal\n"
     "  --until-caught-up    end when everything that the log held at the start is delivered\n"
     "  --log-level LEVEL    debug, info (default), warn or error",
     tr_cmd_run, false},
    {"check", "check FILE [--json] [--offline]",
     "lint a file, try its connections, run the preflight",
     "Changes nothing. Every finding comes with what mends it, as SQL where SQL mends it. Ends "
     "with 0\n"
     "when the pipeline can run.\n\n"
     "  --json       the findings as one JSON object\n"
     "  --offline    only the file",
     tr_cmd_check, false},
    {"list", "list [--json]", "list the connectors of this build", "  --json    as a JSON array",
     tr_cmd_list, false},
    {"help", "help [COMMAND|CONNECTOR]", "tell about a command, or a connector's options",
     "Without an argument it lists the commands.", tr_cmd_help, false},
    {"status", "status [NAME] [--json]", "show running pipelines",
     "NAME is a pipeline's name; without it every pipeline of the state folder is shown.\n\n"
     "  --json    everything, for scripts",
     tr_cmd_status, false},
    {"stop", "stop NAME", "stop a pipeline: drain, save, end",
     "Returns when the process has ended.", tr_cmd_control, false},
    {"pause", "pause NAME", "stop reading, keep everything open",
     "The source's connection is kept alive; its log is kept by the server meanwhile.",
     tr_cmd_control, false},
    {"resume", "resume NAME", "go on after pause", "The opposite of pause.", tr_cmd_control, false},
    {"savepoint", "savepoint NAME", "keep a copy of the newest checkpoint",
     "Prints its path. Retention never removes a savepoint.", tr_cmd_control, false},
    {"metrics", "metrics NAME", "print metrics in Prometheus text format",
     "Counters and gauges of one pipeline, with their help lines.", tr_cmd_control, false},
    {"verify", "verify FILE [--json] [--max-rows N] [--timeout SECONDS]",
     "compare target and source, row by row",
     "Reads both sides in key order and compares counts, checksums by key range and rows. It may "
     "run\n"
     "while the pipeline runs: a row that changes meanwhile is looked at again once the target "
     "has\n"
     "passed the change. Ends with 0 when both are equal, 1 when they differ (the rows are "
     "listed).\n"
     "PostgreSQL against PostgreSQL and SQLite.\n\n"
     "  --json               the result as one JSON object\n"
     "  --max-rows N         differing rows listed per table (default 20)\n"
     "  --timeout SECONDS    how long to wait for the target's position (default 30)",
     tr_cmd_verify, false},
    {"drop", "drop FILE [--yes]", "remove slot, publication, positions and checkpoints",
     "Asks first. Copied rows stay in the target until the next run, which empties the tables "
     "that\n"
     "this pipeline filled and copies them again.\n\n"
     "  --yes    do not ask",
     tr_cmd_drop, false},
    {"produce",
     "produce --bootstrap HOST:PORT --topic TOPIC [--file FILE|-] [--sleep SECONDS] [--key FIELD]",
     "send JSON Lines to a Kafka topic",
     "Each line that is not empty becomes one message, its bytes as they are, also when they are "
     "not "
     "JSON.\n"
     "Ends with 0 when the brokers acknowledged every message. A signal stops the reading; what "
     "was "
     "sent\n"
     "is waited for and told. A topic that does not exist is made.\n\n"
     "  --bootstrap HOST:PORT     the brokers, parted by commas\n"
     "  --topic TOPIC             where to\n"
     "  --file FILE               the lines; '-' (default): standard input\n"
     "  --sleep SECONDS           wait this long behind each message\n"
     "  --key FIELD               the message's key: this field of the line (a.b: b within a). In "
     "a "
     "change\n"
     "                            envelope id means after.id, and before.id of a delete. A line "
     "without it\n"
     "                            has no key; they are counted\n"
     "  --create-partitions N     partitions of a topic that is made (default: the broker's)\n"
     "  -X NAME=VALUE             a property of the Kafka client, for example "
     "security.protocol=SSL;\n"
     "                            any number of times",
     tr_cmd_produce, false},
    {"version", "version", "tell the version, what was built in, and why not", "", tr_cmd_version,
     false},
    {"docs", "docs DIR", "write the generated documentation", "For the project's own build.",
     tr_cmd_docs, true},
    {NULL, NULL, NULL, NULL, NULL, false}};

int main(int argc, char **argv)
{
    (void)signal(SIGPIPE, SIG_IGN);
    (void)setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0}); /* a core file would hold secrets */
    tr_failpoint_init();
    if (argc < 2 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        char *help[] = {(char[]){"help"}, NULL};
        (void)tr_cmd_help(1, help);
        return argc < 2 ? TR_EXIT_USAGE : TR_EXIT_OK;
    }
    if (strcmp(argv[1], "--version") == 0) {
        char *version[] = {(char[]){"version"}, NULL};
        return tr_cmd_version(1, version);
    }
    for (const struct tr_command *command = tr_commands; command->name != NULL; command++) {
        if (strcmp(command->name, argv[1]) != 0)
            continue;
        for (int i = 2; i < argc && strcmp(argv[i], "--") != 0; i++) {
            if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
                char *help[] = {(char[]){"help"}, argv[1], NULL};
                return tr_cmd_help(2, help);
            }
        }
        return command->run(argc - 1, argv + 1);
    }
    fprintf(stderr, "tailrace: '%s' is not a command; see tailrace help\n", argv[1]);
    return TR_EXIT_USAGE;
}
