#include "base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static _Atomic int log_level = TR_LOG_INFO;
static _Atomic bool progress_active;
static char log_context[256];

void tr_log_set_level(enum tr_log_level level) { atomic_store(&log_level, (int)level); }
void tr_log_set_progress(bool active) { atomic_store(&progress_active, active); }
bool tr_log_enabled(enum tr_log_level level) { return (int)level >= atomic_load(&log_level); }

void tr_log_set_context(const char *context)
{
    (void)snprintf(log_context, sizeof log_context, "%s%s", context[0] ? " " : "", context);
}

const char *tr_log_quote(const char *value, char *buf, unsigned buf_size)
{
    static const char hex[] = "0123456789abcdef";
    unsigned at = 0;
    if (buf_size < 3)
        return "";
    buf[at++] = '"';
    for (const unsigned char *c = (const unsigned char *)value; *c != '\0' && at + 6 < buf_size; c++) {
        if (*c == '"' || *c == '\\') {
            buf[at++] = '\\';
            buf[at++] = (char)*c;
        } else if (*c == '\n') {
            buf[at++] = '\\';
            buf[at++] = 'n';
        } else if (*c < 0x20 || *c == 0x7f) {
            buf[at++] = '\\';
            buf[at++] = 'x';
            buf[at++] = hex[*c >> 4];
            buf[at++] = hex[*c & 15];
        } else {
            buf[at++] = (char)*c;
        }
    }
    buf[at++] = '"';
    buf[at] = '\0';
    return buf;
}

void tr_log(enum tr_log_level level, const char *message, const char *fields_format, ...)
{
    static const char *const names[] = {"debug", "info", "warn", "error"};
    if (!tr_log_enabled(level))
        return;
    struct timespec now;
    struct tm utc;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    (void)gmtime_r(&now.tv_sec, &utc);
    char line[4096], quoted[1024];
    size_t len = 0;
    if (atomic_load(&progress_active))
        len = (size_t)snprintf(line, sizeof line, "\r\033[K");
    len += strftime(line + len, sizeof line - len, "time=%Y-%m-%dT%H:%M:%S", &utc);
    len += (size_t)snprintf(line + len, sizeof line - len, ".%03ldZ level=%s%s msg=%s",
                            now.tv_nsec / 1000000, names[level], log_context,
                            tr_log_quote(message, quoted, sizeof quoted));
    if (fields_format != NULL && len < sizeof line - 2) {
        line[len++] = ' ';
        va_list args;
        va_start(args, fields_format);
        int more = vsnprintf(line + len, sizeof line - len, fields_format, args);
        va_end(args);
        if (more > 0)
            len += (size_t)more;
    }
    if (len > sizeof line - 2)
        len = sizeof line - 2;
    line[len++] = '\n';
    ssize_t written = write(STDERR_FILENO, line, len);
    (void)written;
}
