/* Status, error classes and stable error codes.
 *
 * Every function that can fail returns enum tr_status and takes a `struct tr_error *` as its last
 * argument. The error is filled if and only if TR_FAIL is returned; no caller has to clear it first.
 * Codes are stable: scripts, logs and docs/errors/CODE.md name them. The tables in src/errors/ (one
 * .def file per area) are their only definition; the docs pages are made from them. */
#ifndef TAILRACE_ERROR_H
#define TAILRACE_ERROR_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>

#define TR_WARN_UNUSED __attribute__((warn_unused_result))

enum tr_status {
    TR_OK,    /* done */
    TR_AGAIN, /* nothing yet, or the timeout passed: call again */
    TR_END,   /* no more, ever */
    TR_FAIL   /* see the tr_error */
};

/* Who must act, and whether a retry can help. */
enum tr_err_class {
    TR_TRANSIENT,     /* may work later: the restart strategy retries */
    TR_DATA,          /* one event cannot be delivered; tr_error.seq names it */
    TR_SCHEMA,        /* the target cannot take a table or a change of one */
    TR_CONFIG,        /* the pipeline file, a grant or a server setting must change */
    TR_POSITION_LOST, /* the log no longer holds what is needed; only a new snapshot helps */
    TR_FATAL          /* a defect or an unusable environment; never retried */
};

enum tr_code {
    TR_E_NONE,
#define TR_ERROR(code, class, exit_code, meaning, remedy) TR_E_##code,
#include "../../src/errors/all.def"
#undef TR_ERROR
    TR_E_COUNT
};

struct tr_error_info {
    enum tr_code code;
    const char *name;        /* "PG_SLOT_MISSING" */
    enum tr_err_class class; /* the usual class; tr_fail_as overrides it */
    int exit_code;           /* of `tailrace run` when this error ends it, see docs/exit-codes.md */
    const char *meaning;     /* docs: what happened and what is safe */
    const char *remedy;      /* docs: what to do */
};

struct tr_error {
    enum tr_code code;
    enum tr_err_class class;
    uint64_t seq; /* the offending event, 0 when none */
    char message[512];
    char detail[512]; /* may be empty: the server's own words, a position */
    char hint[768];   /* may be empty: the setting to change or the SQL that mends it */
};

const struct tr_error_info *tr_error_info(enum tr_code code);
const char *tr_err_class_name(enum tr_err_class class);

/* Fills *err (class from the table) and returns TR_FAIL. Never put row values or secrets in it. */
enum tr_status tr_fail(struct tr_error *err, enum tr_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
enum tr_status tr_fail_as(struct tr_error *err, enum tr_err_class class, enum tr_code code,
                          const char *format, ...) __attribute__((format(printf, 4, 5)));
/* Add to an error just made; both return TR_FAIL so that they can end a function. */
enum tr_status tr_detail(struct tr_error *err, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
enum tr_status tr_hint(struct tr_error *err, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* What `check` and a source's or sink's validate report: one line each, with what mends it. */
enum tr_severity { TR_INFO, TR_WARNING, TR_ERROR_SEVERITY };
struct tr_finding {
    enum tr_severity severity;
    enum tr_code code;   /* TR_E_NONE for an informational line */
    const char *object;  /* "public.orders", "slot shop_slot", "wal_level" */
    const char *message; /* one sentence */
    const char *remedy;  /* SQL or setting; NULL or "" when none */
};
/* Strings are valid during the call only. */
typedef void (*tr_report_fn)(void *report_ctx, const struct tr_finding *finding);

#endif
