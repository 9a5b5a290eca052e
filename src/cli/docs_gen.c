/* Markdown, man page and plain-text help from the option, error and command tables; files of docs/.
 * Single-threaded, run by `tailrace docs` and `tailrace help`. Content is made in memory, compared
 * with the file, and written through a temporary file only when it differs. */
#include "cli/docs_gen.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/pipeline_file.h"
#include "config/pipeline_options.h"
#include "config/value.h"

#define PATH_BYTES_MAX 1024u
#define DOCUMENT_BYTES_MAX (4u << 20) /* an existing page that is read back */
#define HELP_COLUMNS 80u
#define HELP_INDENT 6u

static const char made_by[] = "<!-- Made by `tailrace docs` from the tables in src/. -->\n";

/* ---- option rows ---------------------------------------------------------------------------- */

/* "choice: a, b", "number 1 to 64", "size 8MB to 64GB" */
static void print_type(FILE *out, const struct tr_option *option, const char *quote)
{
    char low[32], high[32];
    if (option->type == TR_OPT_ENUM) {
        for (size_t i = 0; option->values[i] != NULL; i++)
            (void)fprintf(out, "%s%s%s%s", i > 0 ? ", " : "", quote, option->values[i], quote);
        return;
    }
    (void)fputs(tr_value_type_name(option->type), out);
    if (option->type != TR_OPT_INT && option->type != TR_OPT_SIZE &&
        option->type != TR_OPT_DURATION)
        return;
    if (option->min != 0 || option->max != 0)
        (void)fprintf(out, ", %s to %s",
                      tr_value_format(option->type, option->min, low, sizeof low),
                      tr_value_format(option->type, option->max, high, sizeof high));
}

/* A table cell: pipes are escaped, line ends become spaces, and what looks like HTML stays text. */
static void print_cell(FILE *out, const char *text)
{
    for (const char *p = text; *p != '\0'; p++) {
        if (*p == '|')
            (void)fputs("\\|", out);
        else if (*p == '<')
            (void)fputs("&lt;", out);
        else if (*p == '*' || *p == '_' || *p == '\\')
            (void)fprintf(out, "\\%c", *p);
        else
            (void)fputc(*p == '\n' ? ' ' : *p, out);
    }
}

static void print_option_row(FILE *out, const struct tr_option *option)
{
    (void)fprintf(out, "| `%s`", option->name);
    if (option->alias != NULL)
        (void)fprintf(out, " (also `%s`)", option->alias);
    (void)fputs(" | ", out);
    print_type(out, option, "`");
    (void)fputs(" | ", out);
    if ((option->flags & TR_OPT_REQUIRED) != 0)
        (void)fputs("required", out);
    else if ((option->flags & TR_OPT_IGNORED) != 0)
        (void)fputs("ignored", out);
    else if (option->default_text != NULL && option->default_text[0] != '\0')
        (void)fprintf(out, "`%s`", option->default_text);
    (void)fputs(" | ", out);
    print_cell(out, option->help != NULL ? option->help : "");
    (void)fputs(" |\n", out);
}

/* Rows by rank: common keys, plain ones, advanced ones, ignored ones. */
static unsigned rank_of(const struct tr_option *option)
{
    if ((option->flags & TR_OPT_IGNORED) != 0)
        return 2;
    return (option->flags & TR_OPT_ADVANCED) != 0 ? 1 : 0;
}

static void print_option_table(FILE *out, const struct tr_option *options,
                               const struct tr_option *common)
{
    (void)fputs("| option | value | default | meaning |\n|---|---|---|---|\n", out);
    for (const struct tr_option *o = common; o != NULL && o->name != NULL; o++)
        print_option_row(out, o);
    for (unsigned rank = 0; rank < 3; rank++)
        for (const struct tr_option *o = options; o != NULL && o->name != NULL; o++)
            if (rank_of(o) == rank)
                print_option_row(out, o);
}

void tr_docs_connector(FILE *out, const char *kind, const char *name, const char *summary,
                       const struct tr_option *options, const struct tr_option *common)
{
    (void)fprintf(out, "### The %s `%s`\n\n%s\n\n", kind, name, summary);
    print_option_table(out, options, common);
}

/* ---- plain text ----------------------------------------------------------------------------- */

/* Words of text, wrapped at HELP_COLUMNS behind an indent. */
static void print_wrapped(FILE *out, const char *text)
{
    size_t column = 0;
    for (const char *p = text; *p != '\0';) {
        size_t len = strcspn(p, " \n");
        if (len > 0) {
            if (column > 0 && column + 1 + len > HELP_COLUMNS) {
                (void)fputc('\n', out);
                column = 0;
            }
            if (column == 0) {
                (void)fprintf(out, "%*s", (int)HELP_INDENT, "");
                column = HELP_INDENT;
            } else {
                (void)fputc(' ', out);
                column++;
            }
            (void)fwrite(p, 1, len, out);
            column += len;
        }
        p += len;
        if (*p != '\0')
            p++;
    }
    if (column > 0)
        (void)fputc('\n', out);
}

static void print_help_row(FILE *out, const struct tr_option *option)
{
    (void)fprintf(out, "  %s", option->name);
    if (option->alias != NULL)
        (void)fprintf(out, " (also %s)", option->alias);
    (void)fputs("  [", out);
    print_type(out, option, "");
    if ((option->flags & TR_OPT_REQUIRED) != 0)
        (void)fputs("; required", out);
    else if ((option->flags & TR_OPT_IGNORED) != 0)
        (void)fputs("; ignored", out);
    else if (option->default_text != NULL && option->default_text[0] != '\0')
        (void)fprintf(out, "; default %s", option->default_text);
    (void)fputs("]\n", out);
    print_wrapped(out, option->help != NULL ? option->help : "");
}

static void print_help_rows(FILE *out, const struct tr_option *options,
                            const struct tr_option *common)
{
    static const char *const titles[] = {"", "\n more:\n", "\n accepted without effect:\n"};
    for (const struct tr_option *o = common; o != NULL && o->name != NULL; o++)
        print_help_row(out, o);
    for (unsigned rank = 0; rank < 3; rank++) {
        bool titled = false;
        for (const struct tr_option *o = options; o != NULL && o->name != NULL; o++) {
            if (rank_of(o) != rank)
                continue;
            if (!titled)
                (void)fputs(titles[rank], out);
            titled = true;
            print_help_row(out, o);
        }
    }
}

static bool is_called(const char *topic, const char *name, const char *alias)
{
    return strcmp(topic, name) == 0 || (alias != NULL && strcmp(topic, alias) == 0);
}

bool tr_docs_help(FILE *out, const char *connector)
{
    unsigned found = 0;
    for (const struct tr_source_entry *e = tr_sources; e->name != NULL; e++) {
        if (!is_called(connector, e->name, e->alias))
            continue;
        (void)fprintf(out, "%ssource %s: %s\n\n", found++ > 0 ? "\n" : "", e->name,
                      e->ops != NULL ? e->ops->summary : e->why_not);
        if (e->ops != NULL)
            print_help_rows(out, e->ops->options, tr_source_common_options);
    }
    for (const struct tr_sink_entry *e = tr_sinks; e->name != NULL; e++) {
        if (!is_called(connector, e->name, e->alias))
            continue;
        (void)fprintf(out, "%ssink %s: %s\n\n", found++ > 0 ? "\n" : "", e->name,
                      e->ops != NULL ? e->ops->summary : e->why_not);
        if (e->ops != NULL)
            print_help_rows(out, e->ops->options, tr_sink_common_options);
    }
    if (strcmp(connector, "pipeline") == 0 && ++found > 0) {
        (void)fputs("pipeline: options of the key `pipeline` of a pipeline file\n\n", out);
        print_help_rows(out, tr_pipeline_option_table, NULL);
    }
    if (strcmp(connector, "route") == 0 && ++found > 0) {
        (void)fputs("route: keys of one route of a pipeline file\n\n", out);
        print_help_rows(out, tr_route_options, NULL);
    }
    if (strcmp(connector, "transform") == 0 && ++found > 0) {
        (void)fputs("transform: keys of one transform of a pipeline file\n\n", out);
        print_help_rows(out, tr_transform_options, NULL);
    }
    if (strcmp(connector, "event-time") == 0 && ++found > 0) {
        (void)fputs("event-time: keys of event-time of a pipeline file\n\n", out);
        print_help_rows(out, tr_event_time_option_table, NULL);
    }
    return found > 0;
}

/* ---- errors --------------------------------------------------------------------------------- */

static const char *class_meaning(enum tr_err_class class)
{
    switch (class) {
    case TR_TRANSIENT:
        return "It may pass: the restart strategy tries again.";
    case TR_DATA:
        return "One event cannot be delivered; a retry alone does not help.";
    case TR_SCHEMA:
        return "The target cannot take a table, or a change of one.";
    case TR_CONFIG:
        return "The pipeline file, a grant or a server's setting has to change.";
    case TR_POSITION_LOST:
        return "The log no longer holds what is needed; only a new snapshot helps.";
    default:
        return "It is never retried.";
    }
}

void tr_docs_error_page(FILE *out, const struct tr_error_info *info)
{
    (void)fprintf(out, "# %s\n\n%s\n%s\n\n", info->name, made_by, info->meaning);
    (void)fprintf(out, "**What to do:** %s\n\n", info->remedy);
    (void)fputs("| | |\n|---|---|\n", out);
    (void)fprintf(out, "| Class | %s. %s |\n", tr_err_class_name(info->class),
                  class_meaning(info->class));
    (void)fprintf(out, "| Exit code of `tailrace run` | %d |\n\n[All errors](README.md)\n",
                  info->exit_code);
}

void tr_docs_error_index(FILE *out)
{
    (void)fprintf(
        out,
        "# Errors\n\n%s\nEvery error has a stable code. It is in the log line as `code=`, "
        "in what a command prints, and here.\n\n| code | class | exit code | meaning |\n"
        "|---|---|---|---|\n",
        made_by);
    for (unsigned code = TR_E_NONE + 1; code < TR_E_COUNT; code++) {
        const struct tr_error_info *info = tr_error_info((enum tr_code)code);
        (void)fprintf(out, "| [%s](%s.md) | %s | %d | ", info->name, info->name,
                      tr_err_class_name(info->class), info->exit_code);
        print_cell(out, info->meaning);
        (void)fputs(" |\n", out);
    }
}

/* ---- man page ------------------------------------------------------------------------------- */

/* roff text: backslashes and a dot or quote at a line's start are protected; '-' is a real minus.
 */
static void print_roff(FILE *out, const char *text)
{
    bool at_start = true;
    for (const char *p = text; *p != '\0'; p++) {
        if (at_start && (*p == '.' || *p == '\''))
            (void)fputs("\\&", out);
        if (*p == '\\')
            (void)fputs("\\e", out);
        else if (*p == '-')
            (void)fputs("\\-", out);
        else
            (void)fputc(*p, out);
        at_start = *p == '\n';
    }
}

static void print_roff_options(FILE *out, const char *title, const struct tr_option *options,
                               const struct tr_option *common)
{
    const struct tr_option *tables[] = {common, options};
    (void)fprintf(out, ".SS \"");
    print_roff(out, title);
    (void)fputs("\"\n", out);
    for (unsigned t = 0; t < 2; t++)
        for (const struct tr_option *o = tables[t]; o != NULL && o->name != NULL; o++) {
            (void)fputs(".TP\n.B \"", out);
            print_roff(out, o->name);
            (void)fputs("\"\n", out);
            print_type(out, o, "");
            if ((o->flags & TR_OPT_REQUIRED) != 0)
                (void)fputs("; required", out);
            else if (o->default_text != NULL && o->default_text[0] != '\0') {
                (void)fputs("; default ", out);
                print_roff(out, o->default_text);
            }
            (void)fputs(".\n", out);
            print_roff(out, o->help != NULL ? o->help : "");
            (void)fputc('\n', out);
        }
}

void tr_docs_man(FILE *out, const struct tr_command *commands)
{
    char title[128];
    (void)fputs(".\\\" Made by `tailrace docs` from the tables in src/.\n", out);
    (void)fprintf(out, ".TH TAILRACE 1 \"\" \"tailrace %s\" \"User Commands\"\n", TAILRACE_VERSION);
    (void)fputs(".SH NAME\ntailrace \\- change data capture in one program\n"
                ".SH SYNOPSIS\n.B tailrace\n.I COMMAND\n.RI [ ARGUMENTS ]\n"
                ".SH DESCRIPTION\n"
                "Copies a database as it is, then follows its log, and delivers every change to "
                "other databases, streams and files: in order, and exactly once where the sink can "
                "hold a position.\nA pipeline file names source, sink, routes and settings.\n"
                ".SH COMMANDS\n",
                out);
    for (const struct tr_command *c = commands; c->name != NULL; c++) {
        if (c->hidden)
            continue;
        (void)fputs(".TP\n.B \"tailrace ", out);
        print_roff(out, c->synopsis);
        (void)fputs("\"\n", out);
        print_roff(out, c->help != NULL ? c->help : c->summary);
        (void)fputc('\n', out);
    }
    (void)fputs(".SH PIPELINE FILE\nYAML or JSON with the keys source, transform, event-time, route, sink, dead-letter and pipeline.\n",
                out);
    print_roff_options(out, "Options of pipeline", tr_pipeline_option_table, NULL);
    print_roff_options(out, "Keys of a route", tr_route_options, NULL);
    print_roff_options(out, "Keys of a transform", tr_transform_options, NULL);
    print_roff_options(out, "Keys of event-time", tr_event_time_option_table, NULL);
    for (const struct tr_source_entry *e = tr_sources; e->name != NULL; e++) {
        (void)snprintf(title, sizeof title, "Source %s", e->name);
        if (e->ops != NULL)
            print_roff_options(out, title, e->ops->options, tr_source_common_options);
    }
    for (const struct tr_sink_entry *e = tr_sinks; e->name != NULL; e++) {
        (void)snprintf(title, sizeof title, "Sink %s", e->name);
        if (e->ops != NULL)
            print_roff_options(out, title, e->ops->options, tr_sink_common_options);
    }
    (void)fputs(
        ".SH EXIT STATUS\n.TP\n.B 0\nDone; for verify: both sides are equal.\n"
        ".TP\n.B 1\nA failure; for verify: the sides differ.\n"
        ".TP\n.B 2\nThe command line, the pipeline file, a setting or a grant is not right.\n"
        ".TP\n.B 3\nThe position is lost: only a new snapshot helps.\n"
        ".TP\n.B 4\nData or a schema that the target cannot take.\n"
        ".TP\n.B 5\nThe restart strategy's attempts are used up.\n"
        ".SH ENVIRONMENT\n.TP\n.B TAILRACE_STATE_DIR\n"
        "Folder of checkpoints, control sockets and logs. Default: $XDG_STATE_HOME/tailrace, "
        "else ~/.local/state/tailrace.\n",
        out);
}

/* ---- files ---------------------------------------------------------------------------------- */

struct document { /* text in memory */
    char *text;
    size_t len;
    FILE *stream;
};

static enum tr_status fail_io(const char *path, struct tr_error *err)
{
    return tr_fail(err, TR_E_DOCS_WRITE, "could not write %s: %s", path, strerror(errno));
}

static enum tr_status document_open(struct document *document, struct tr_error *err)
{
    *document = (struct document){NULL, 0, NULL};
    document->stream = open_memstream(&document->text, &document->len);
    return document->stream == NULL ? tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for the docs")
                                    : TR_OK;
}

static void document_free(struct document *document)
{
    if (document->stream != NULL)
        (void)fclose(document->stream);
    free(document->text);
    document->stream = NULL;
    document->text = NULL;
}

/* Whole file, NUL-terminated; *text stays NULL when it is absent. */
static enum tr_status read_page(const char *path, char **text, size_t *len, struct tr_error *err)
{
    *text = NULL;
    *len = 0;
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        return errno == ENOENT ? TR_OK : fail_io(path, err);
    char *buf = malloc(DOCUMENT_BYTES_MAX);
    if (buf == NULL) {
        (void)fclose(file);
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for the docs");
    }
    size_t got = fread(buf, 1, DOCUMENT_BYTES_MAX, file);
    bool failed = ferror(file) != 0;
    (void)fclose(file);
    if (failed || got == DOCUMENT_BYTES_MAX) {
        free(buf);
        errno = failed ? EIO : EFBIG;
        return fail_io(path, err);
    }
    buf[got] = '\0';
    *text = buf;
    *len = got;
    return TR_OK;
}

static enum tr_status write_file(const char *path, const char *text, size_t len,
                                 struct tr_error *err)
{
    char temporary[PATH_BYTES_MAX + 8];
    char *old;
    size_t old_len;
    if (read_page(path, &old, &old_len, err) != TR_OK)
        return TR_FAIL;
    bool same = old != NULL && old_len == len && memcmp(old, text, len) == 0;
    free(old);
    if (same)
        return TR_OK;
    (void)snprintf(temporary, sizeof temporary, "%s.tmp", path);
    FILE *file = fopen(temporary, "wb");
    if (file == NULL)
        return fail_io(temporary, err);
    bool written = fwrite(text, 1, len, file) == len;
    if (fclose(file) != 0 || !written || rename(temporary, path) != 0) {
        (void)fail_io(path, err);
        (void)unlink(temporary);
        return TR_FAIL;
    }
    return TR_OK;
}

/* Ends the document and writes it. The document is freed in any case. */
static enum tr_status document_write(struct document *document, const char *dir, const char *name,
                                     struct tr_error *err)
{
    char path[PATH_BYTES_MAX];
    int size = snprintf(path, sizeof path, "%s/%s", dir, name);
    bool failed = fclose(document->stream) != 0 || size < 0 || (size_t)size >= sizeof path;
    document->stream = NULL;
    enum tr_status status = failed
                                ? tr_fail(err, TR_E_DOCS_WRITE,
                                          "could not make %s/%s: the path is too long, or memory "
                                          "is out",
                                          dir, name)
                                : write_file(path, document->text, document->len, err);
    document_free(document);
    return status;
}

/* Puts the block between the page's markers; a page without markers gets them at its end. */
static void splice(FILE *out, const char *page, const struct document *block)
{
    const char *begin = strstr(page, TR_DOCS_BEGIN);
    const char *end = begin == NULL ? NULL : strstr(begin, TR_DOCS_END);
    size_t before = end == NULL ? strlen(page) : (size_t)(begin - page);
    (void)fwrite(page, 1, before, out);
    if (end == NULL)
        (void)fputs(before > 0 && page[before - 1] != '\n' ? "\n\n" : "\n", out);
    (void)fprintf(out, "%s\n\n", TR_DOCS_BEGIN);
    (void)fwrite(block->text, 1, block->len, out);
    (void)fprintf(out, "\n%s", TR_DOCS_END);
    (void)fputs(end == NULL ? "\n" : end + strlen(TR_DOCS_END), out);
}

/* fallback: the page when there is none yet. `block` is freed. */
static enum tr_status write_block(const char *dir, const char *name, const char *fallback,
                                  struct document *block, struct tr_error *err)
{
    char path[PATH_BYTES_MAX];
    char *page = NULL;
    size_t len;
    struct document whole = {NULL, 0, NULL};
    (void)fclose(block->stream);
    block->stream = NULL;
    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    enum tr_status status = read_page(path, &page, &len, err);
    if (status == TR_OK)
        status = document_open(&whole, err);
    if (status == TR_OK) {
        splice(whole.stream, page != NULL ? page : fallback, block);
        status = document_write(&whole, dir, name, err);
    }
    free(page);
    document_free(block);
    return status;
}

static enum tr_status write_connector(const char *dir, const char *name, struct tr_error *err)
{
    char file[128], fallback[256];
    struct document block;
    unsigned count = 0;
    if (document_open(&block, err) != TR_OK)
        return TR_FAIL;
    for (const struct tr_source_entry *e = tr_sources; e->name != NULL; e++)
        if (e->ops != NULL && strcmp(e->name, name) == 0) {
            count++;
            tr_docs_connector(block.stream, "source", name, e->ops->summary, e->ops->options,
                              tr_source_common_options);
        }
    for (const struct tr_sink_entry *e = tr_sinks; e->name != NULL; e++)
        if (e->ops != NULL && strcmp(e->name, name) == 0) {
            if (count++ > 0)
                (void)fputc('\n', block.stream);
            tr_docs_connector(block.stream, "sink", name, e->ops->summary, e->ops->options,
                              tr_sink_common_options);
        }
    if (count == 0) { /* not built in: its page stays as it is */
        document_free(&block);
        return TR_OK;
    }
    (void)snprintf(file, sizeof file, "connectors/%s.md", name);
    (void)snprintf(fallback, sizeof fallback, "# %s\n\n## Options\n", name);
    return write_block(dir, file, fallback, &block, err);
}

static enum tr_status write_connectors(const char *dir, struct tr_error *err)
{
    for (const struct tr_source_entry *e = tr_sources; e->name != NULL; e++)
        if (write_connector(dir, e->name, err) != TR_OK)
            return TR_FAIL;
    for (const struct tr_sink_entry *e = tr_sinks; e->name != NULL; e++)
        if (write_connector(dir, e->name, err) != TR_OK)
            return TR_FAIL;
    return TR_OK;
}

/* Removes the page of a code that is no more; pages written by hand stay. */
static enum tr_status remove_stale(const char *dir, const char *name, struct tr_error *err)
{
    char path[PATH_BYTES_MAX], code_name[128];
    size_t len = strlen(name);
    char *page;
    if (len < 4 || len >= sizeof code_name || strcmp(name + len - 3, ".md") != 0 ||
        strcmp(name, "README.md") == 0)
        return TR_OK;
    memcpy(code_name, name, len - 3);
    code_name[len - 3] = '\0';
    for (unsigned code = TR_E_NONE + 1; code < TR_E_COUNT; code++)
        if (strcmp(tr_error_info((enum tr_code)code)->name, code_name) == 0)
            return TR_OK;
    (void)snprintf(path, sizeof path, "%s/errors/%s", dir, name);
    if (read_page(path, &page, &len, err) != TR_OK)
        return TR_FAIL;
    bool ours = page != NULL && strstr(page, made_by) != NULL;
    free(page);
    return ours && unlink(path) != 0 ? fail_io(path, err) : TR_OK;
}

static enum tr_status remove_stale_errors(const char *dir, struct tr_error *err)
{
    char path[PATH_BYTES_MAX];
    const struct dirent *entry;
    enum tr_status status = TR_OK;
    (void)snprintf(path, sizeof path, "%s/errors", dir);
    DIR *folder = opendir(path);
    if (folder == NULL)
        return fail_io(path, err);
    while (status == TR_OK && (entry = readdir(folder)) != NULL)
        status = remove_stale(dir, entry->d_name, err);
    (void)closedir(folder);
    return status;
}

static enum tr_status write_errors(const char *dir, struct tr_error *err)
{
    struct document document;
    if (remove_stale_errors(dir, err) != TR_OK)
        return TR_FAIL;
    for (unsigned code = TR_E_NONE + 1; code < TR_E_COUNT; code++) {
        const struct tr_error_info *info = tr_error_info((enum tr_code)code);
        char name[128];
        if (document_open(&document, err) != TR_OK)
            return TR_FAIL;
        tr_docs_error_page(document.stream, info);
        (void)snprintf(name, sizeof name, "errors/%s.md", info->name);
        if (document_write(&document, dir, name, err) != TR_OK)
            return TR_FAIL;
    }
    if (document_open(&document, err) != TR_OK)
        return TR_FAIL;
    tr_docs_error_index(document.stream);
    return document_write(&document, dir, "errors/README.md", err);
}

static enum tr_status write_pipeline(const char *dir, struct tr_error *err)
{
    struct document block;
    if (document_open(&block, err) != TR_OK)
        return TR_FAIL;
    (void)fputs("### `pipeline`\n\n", block.stream);
    print_option_table(block.stream, tr_pipeline_option_table, NULL);
    (void)fputs("\n### `route`\n\n", block.stream);
    print_option_table(block.stream, tr_route_options, NULL);
    (void)fputs("\n### `transform`\n\n", block.stream);
    print_option_table(block.stream, tr_transform_options, NULL);
    (void)fputs("\n### `event-time`\n\n", block.stream);
    print_option_table(block.stream, tr_event_time_option_table, NULL);
    (void)fputs("\n### Every source\n\n", block.stream);
    print_option_table(block.stream, NULL, tr_source_common_options);
    (void)fputs("\n### Every sink\n\n", block.stream);
    print_option_table(block.stream, NULL, tr_sink_common_options);
    return write_block(dir, "pipeline-file.md", "# The pipeline file\n", &block, err);
}

static enum tr_status make_folder(const char *dir, const char *name, struct tr_error *err)
{
    char path[PATH_BYTES_MAX];
    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    return mkdir(path, 0777) == 0 || errno == EEXIST ? TR_OK : fail_io(path, err);
}

enum tr_status tr_docs_write(const char *dir, struct tr_error *err)
{
    struct document document;
    if (make_folder(dir, "", err) != TR_OK || make_folder(dir, "errors", err) != TR_OK ||
        make_folder(dir, "connectors", err) != TR_OK || write_errors(dir, err) != TR_OK ||
        write_connectors(dir, err) != TR_OK || write_pipeline(dir, err) != TR_OK)
        return TR_FAIL;
    if (document_open(&document, err) != TR_OK)
        return TR_FAIL;
    tr_docs_man(document.stream, tr_commands);
    if (document_write(&document, dir, "tailrace.1", err) != TR_OK ||
        document_open(&document, err) != TR_OK)
        return TR_FAIL;
    tr_docs_schema(document.stream, tr_sources, tr_sinks);
    return document_write(&document, dir, "pipeline.schema.json", err);
}
