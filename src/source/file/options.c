#include "source/file/options.h"

#include <string.h>

#include "source/file/input.h"

#define LINE_BYTES_MAX ((int64_t)512 << 20) /* a value is at most 1 GiB, and is held twice */

static const char *const startup_values[] = {"earliest", "latest", NULL};
static const char *const malformed_values[] = {"dead-letter", "skip", "fail", NULL};
static const char *const on_truncate_values[] = {"fail", "restart", NULL};
/* as enum tr_filesrc_packing */
static const char *const compression_values[] = {"none", "gzip", "zstd", "auto", NULL};

#define AT(field) offsetof(struct tr_filesrc_options, field)

const struct tr_option tr_filesrc_option_table[] = {
    {.name = "path",
     .type = TR_OPT_LIST,
     .flags = TR_OPT_REQUIRED,
     .offset = AT(path),
     .help =
         "A file, a glob (*.jsonl), a folder (its files, without those that begin with a dot), or "
         "a list of them; - alone is standard input."},
    {.name = "follow",
     .type = TR_OPT_BOOL,
     .offset = AT(follow),
     .default_text = "false",
     .help = "false: the files are read to their ends, one after another in the order of their "
             "names, and the pipeline ends. true: it waits for more lines and for new files."},
    {.name = "scan.startup.mode",
     .type = TR_OPT_ENUM,
     .offset = AT(startup),
     .default_text = "earliest",
     .values = startup_values,
     .help =
         "Where the first run begins. earliest: with the first line. latest (with follow): with "
         "the lines that are appended from now on."},
    {.name = "table",
     .type = TR_OPT_STRING,
     .offset = AT(table),
     .help =
         "The table that the rows are of. Default: the file's name without extensions; table for "
         "standard input; formats that name it themselves come first."},
    TR_DECODER_OPTION_ROWS(struct tr_filesrc_options, decoder, "json"),
    {.name = "malformed",
     .type = TR_OPT_ENUM,
     .offset = AT(malformed),
     .values = malformed_values,
     .help =
         "What becomes of a line that cannot be decoded. dead-letter (default when the pipeline "
         "has a dead-letter sink): it goes there. skip: it is counted and left out. fail (default "
         "else): the pipeline stops."},
    {.name = "line.max-bytes",
     .type = TR_OPT_SIZE,
     .flags = TR_OPT_ADVANCED,
     .offset = AT(line_max_bytes),
     .default_text = "16MB",
     .min = 64,
     .max = LINE_BYTES_MAX,
     .help = "A longer line (bytes) is malformed; it is skipped without being held in memory."},
    {.name = "compression",
     .type = TR_OPT_ENUM,
     .offset = AT(compression),
     .default_text = "auto",
     .values = compression_values,
     .help = "auto: .gz is gzip, .zst and .zstd are zstd, all else is none."},
    {.name = "on-truncate",
     .type = TR_OPT_ENUM,
     .flags = TR_OPT_ADVANCED,
     .offset = AT(on_truncate),
     .default_text = "fail",
     .values = on_truncate_values,
     .help =
         "A file that was cut or overwritten in place. fail: the pipeline stops, as lines may be "
         "lost. restart: it is read from its beginning, as a new file."},
    {.name = "scan.interval",
     .type = TR_OPT_DURATION,
     .flags = TR_OPT_ADVANCED,
     .offset = AT(scan_interval_ms),
     .default_text = "1s",
     .min = 10,
     .max = 3600000,
     .help = "follow: how often files and folders are looked at where the system does not tell of "
             "changes (network file systems); milliseconds inside."},
    {.name = NULL}};

bool tr_filesrc_is_stdin(const struct tr_filesrc_options *options)
{
    return options->path.count == 1 && strcmp(options->path.items[0], "-") == 0;
}

static enum tr_status refuse(const struct tr_config *config, const char *option, const char *why,
                             struct tr_error *err)
{
    (void)tr_fail(err, TR_E_CONFIG_VALUE, "source: %s %s", option, why);
    return tr_detail(err, "%s", tr_config_where(config, option));
}

static enum tr_status settle_paths(const struct tr_config *config,
                                   const struct tr_filesrc_options *options, struct tr_error *err)
{
    if (options->path.count == 0)
        return refuse(config, "path", "names no file", err);
    for (size_t i = 0; i < options->path.count; i++) {
        if (options->path.items[i][0] == '\0')
            return refuse(config, "path", "holds an empty name", err);
        if (strcmp(options->path.items[i], "-") == 0 && options->path.count > 1)
            return refuse(config, "path", "takes - (standard input) only alone", err);
    }
    if (options->startup == TR_FILESRC_LATEST && !options->follow)
        return refuse(config, "scan.startup.mode", "latest needs follow: true", err);
    if (options->startup == TR_FILESRC_LATEST && tr_filesrc_is_stdin(options))
        return refuse(config, "scan.startup.mode", "latest has no meaning for standard input", err);
    return TR_OK;
}

enum tr_status tr_filesrc_settle(const struct tr_config *config, const struct tr_context *context,
                                 struct tr_filesrc_options *options, struct tr_error *err)
{
    *options = *(const struct tr_filesrc_options *)tr_config_values(config);
    if (settle_paths(config, options, err) != TR_OK)
        return TR_FAIL;
    if (options->table != NULL && options->table[0] == '\0')
        return refuse(config, "table", "is empty", err);
    if (options->decoder.format == TR_DECODE_AVRO)
        return refuse(config, "format", "avro is not written in lines; files take the others", err);
    if (!tr_config_given(config, "malformed"))
        options->malformed = context->has_dead_letters ? TR_FILESRC_DEAD_LETTER : TR_FILESRC_STOP;
    else if (options->malformed == TR_FILESRC_DEAD_LETTER && !context->has_dead_letters)
        return refuse(config, "malformed", "dead-letter needs a dead-letter sink", err);
    return TR_OK;
}
