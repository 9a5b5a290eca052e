/* The error table and the functions that fill a tr_error. */
#include "tailrace/error.h"

#include <stdio.h>
#include <string.h>

static const struct tr_error_info table[TR_E_COUNT] = {
    [TR_E_NONE] = {TR_E_NONE, "NONE", TR_FATAL, 0, "No error.", ""},
#define TR_ERROR(code, class, exit_code, meaning, remedy)                                          \
    [TR_E_##code] = {TR_E_##code, #code, class, exit_code, meaning, remedy},
#include "errors/all.def"
#undef TR_ERROR
};

const struct tr_error_info *tr_error_info(enum tr_code code)
{
    return &table[code < TR_E_COUNT ? code : TR_E_INTERNAL];
}

const char *tr_err_class_name(enum tr_err_class class)
{
    static const char *const names[] = {"transient",     "data",  "schema", "config",
                                        "position-lost", "fatal"};
    return names[class];
}

static enum tr_status fill(struct tr_error *err, enum tr_err_class class, enum tr_code code,
                           const char *format, va_list args)
{
    err->code = code;
    err->class = class;
    err->seq = 0;
    err->detail[0] = '\0';
    err->hint[0] = '\0';
    (void)vsnprintf(err->message, sizeof err->message, format, args);
    return TR_FAIL;
}

enum tr_status tr_fail(struct tr_error *err, enum tr_code code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)fill(err, tr_error_info(code)->class, code, format, args);
    va_end(args);
    return TR_FAIL;
}

enum tr_status tr_fail_as(struct tr_error *err, enum tr_err_class class, enum tr_code code,
                          const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)fill(err, class, code, format, args);
    va_end(args);
    return TR_FAIL;
}

enum tr_status tr_detail(struct tr_error *err, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(err->detail, sizeof err->detail, format, args);
    va_end(args);
    for (size_t len = strlen(err->detail); len > 0 && err->detail[len - 1] == '\n'; len--)
        err->detail[len - 1] = '\0';
    return TR_FAIL;
}

enum tr_status tr_hint(struct tr_error *err, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(err->hint, sizeof err->hint, format, args);
    va_end(args);
    return TR_FAIL;
}
