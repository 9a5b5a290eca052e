/* Documentation made from tables: options, error codes, commands. `tailrace docs DIR` writes it into the
 * repository's docs/ folder, `tailrace help CONNECTOR` prints a part of it. Uses tr_sources, tr_sinks
 * (src/registry.h) and tr_commands (src/cli/cli.h). */
#ifndef TR_CLI_DOCS_GEN_H
#define TR_CLI_DOCS_GEN_H

#include <stdbool.h>
#include <stdio.h>

#include "cli/cli.h"
#include "tailrace/option.h"

#define TR_DOCS_BEGIN "<!-- options:begin -->"
#define TR_DOCS_END "<!-- options:end -->"

/* Writes errors/CODE.md, errors/README.md, tailrace.1 and pipeline.schema.json below `dir`, and
 * replaces what is between the markers in connectors/NAME.md (made when absent) and pipeline-file.md.
 * Files that are right already are left untouched. Errors: DOCS_WRITE. */
enum tr_status tr_docs_write(const char *dir, struct tr_error *err);
/* Prints a connector's options as plain text (its source and its sink, if it is both), or those of
 * "pipeline" and "route". false: there is nothing of that name. */
bool tr_docs_help(FILE *out, const char *connector);

/* The pieces, for tests. kind: "source" or "sink". common may be NULL. */
void tr_docs_connector(FILE *out, const char *kind, const char *name, const char *summary,
                       const struct tr_option *options, const struct tr_option *common);
void tr_docs_error_page(FILE *out, const struct tr_error_info *info);
void tr_docs_error_index(FILE *out);
void tr_docs_man(FILE *out, const struct tr_command *commands);
void tr_docs_schema(FILE *out, const struct tr_source_entry *sources,
                    const struct tr_sink_entry *sinks);

#endif
