/* Option tables: the only parser of configuration. A connector declares one table; the pipeline file's
 * mapping is bound to a C struct through it, and the docs, `tailrace help`, and the man page are made
 * from the same rows. */
#ifndef TAILRACE_OPTION_H
#define TAILRACE_OPTION_H

#include <stddef.h>
#include <stdint.h>

#include "error.h"

enum tr_option_type {
    TR_OPT_STRING,   /* const char *            */
    TR_OPT_SECRET,   /* struct tr_secret        */
    TR_OPT_BOOL,     /* bool                    true|false */
    TR_OPT_INT,      /* int64_t                 within min..max */
    TR_OPT_SIZE,     /* int64_t bytes           64MB, 1GiB, 4096 (KB = 1024 bytes too) */
    TR_OPT_DURATION, /* int64_t milliseconds    100ms, 5s, 2min, 1h, 1d; a bare number is seconds */
    TR_OPT_ENUM,     /* int: index into values  */
    TR_OPT_LIST,     /* struct tr_string_list   a YAML sequence, or a comma-separated string */
    TR_OPT_MAP       /* struct tr_string_map    name ends in '*': "properties.*" collects the rest */
};
enum tr_option_flags {
    TR_OPT_REQUIRED = 1,
    TR_OPT_ADVANCED = 2,   /* printed after the others */
    TR_OPT_IGNORED = 4,    /* accepted for Flink CDC files, without effect; help says why */
    TR_OPT_RAW_LIST = 8    /* LIST: a plain string is one element, not split at commas */
};

/* A secret is never formatted: no code prints `value`; logs and GET answers show "***". */
struct tr_secret {
    const char *value; /* NULL when not given */
};
struct tr_string_list {
    const char *const *items;
    size_t count;
};
struct tr_string_map {
    const char *const *keys; /* without the prefix */
    const char *const *values;
    size_t count;
};

struct tr_option {
    const char *name;         /* "scan.startup.mode" */
    const char *alias;        /* older or shorter spelling, or NULL */
    enum tr_option_type type;
    unsigned flags;
    size_t offset;            /* into the bound struct */
    const char *default_text; /* parsed like a given value; NULL = zero / not set */
    int64_t min, max;         /* INT, SIZE, DURATION (ms); both 0 = no bounds */
    const char *const *values; /* ENUM: NULL-terminated */
    const char *help;         /* one or two sentences; units are named */
};
/* A table ends with a row whose name is NULL. */

/* What a connector's open gets: the bound struct is configuration-owned and outlives the connector.
 * `given` tells whether the file named the option (defaults do not count). */
struct tr_config;
bool tr_config_given(const struct tr_config *config, const char *option_name);
/* The option's place for an error message: "pipeline.yaml:7:13". Empty string if it was not given. */
const char *tr_config_where(const struct tr_config *config, const char *option_name);
/* The bound struct (of the type that the connector's table was made for). */
const void *tr_config_values(const struct tr_config *config);

#endif
