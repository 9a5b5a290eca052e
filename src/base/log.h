/* Log lines: `time=… level=… <context> msg="…" key=value …` to stderr, one write each. Any thread.
 * Never row values or secrets. Log once, where a thing is handled. */
#ifndef TR_BASE_LOG_H
#define TR_BASE_LOG_H
#include <stdbool.h>

enum tr_log_level { TR_LOG_DEBUG, TR_LOG_INFO, TR_LOG_WARN, TR_LOG_ERROR };

void tr_log_set_level(enum tr_log_level level);
/* Printed into each line, e.g. `pipeline=shop`. Copied; call before threads start. */
void tr_log_set_context(const char *context);
/* While a progress line is on the terminal it is wiped before a log line is written. */
void tr_log_set_progress(bool active);
bool tr_log_enabled(enum tr_log_level level);

/* message: a fixed sentence. fields: printf format of `key=value` pairs, or NULL. Values with spaces
 * are to be given as %s through tr_log_quote, or in quotes by the caller. */
void tr_log(enum tr_log_level level, const char *message, const char *fields_format, ...)
    __attribute__((format(printf, 3, 4)));
/* Quotes a value: control characters, quotes and backslashes are escaped; returns buf. */
const char *tr_log_quote(const char *value, char *buf, unsigned buf_size);
#endif
