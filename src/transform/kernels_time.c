/* Kernels of times. Fields and patterns look at the wall clock of pipeline.local-time-zone; the
 * compiler has made it of what they get. */
#include <stdio.h>

#include "transform/program.h"

static bool give(struct tx_call *call, int64_t value)
{
    call->result = tx_int(value);
    return true;
}

static int64_t wall_now(const struct tx_call *call)
{
    return tx_zone_to_wall(call->env->zone, call->env->now_us);
}

static bool k_now(struct tx_call *call) { return give(call, tx_cut_us(call->env->now_us, 3)); }
static bool k_localtimestamp(struct tx_call *call)
{
    return give(call, tx_cut_us(wall_now(call), 3));
}
static bool k_localtime(struct tx_call *call)
{
    int64_t us = tx_cut_us(wall_now(call), 0);
    return give(call, us - tr_floor_div(us, TX_US_PER_DAY) * TX_US_PER_DAY);
}
static bool k_current_date(struct tx_call *call)
{
    return give(call, tr_floor_div(wall_now(call), TX_US_PER_DAY));
}

static bool k_extract(struct tx_call *call)
{
    int64_t value;
    if (tx_is_infinite(call->args[0].i))
        return true; /* NULL */
    if (!tx_field(call->site->unit, call->args[0].i, &value))
        return tx_call_fail(call, "this unit is no field of a time");
    return give(call, value);
}

/* ---- arithmetic ---------------------------------------------------------------------------------
 */

/* site->from: what the time is held as, and the result */
static bool k_timestampadd(struct tx_call *call)
{
    const struct tx_zone *zone = call->env->zone;
    int64_t count = call->args[0].i, us = call->args[1].i, sum;
    bool calendar = call->site->unit >= TX_DAY;
    enum tx_kind kind = call->site->from;
    if (tx_is_infinite(us))
        return give(call, us);
    if (kind == TX_DATE)
        us *= TX_US_PER_DAY;
    if (kind == TX_INSTANT && calendar)
        us = tx_zone_to_wall(zone, us);
    if (!tx_add(us, call->site->unit, count, &sum))
        return tx_call_fail(call, "the time is out of range");
    if (kind == TX_INSTANT && calendar)
        sum = tx_zone_from_wall(zone, sum);
    return give(call, kind == TX_DATE ? tr_floor_div(sum, TX_US_PER_DAY) : sum);
}

static bool k_timestampdiff(struct tx_call *call)
{
    int64_t a = call->args[0].i, b = call->args[1].i;
    if (tx_is_infinite(a) || tx_is_infinite(b))
        return true; /* NULL */
    return give(call, tx_between(call->site->unit, a, b));
}

/* ---- patterns -----------------------------------------------------------------------------------
 */

#define PATTERN_TEXT_MAX 1024u

static bool check_pattern(struct tx_call *call, const struct tx_val *pattern)
{
    const char *why;
    return tx_pattern_check(pattern->p, pattern->len, &why) ||
           tx_call_fail(call, "this is no pattern of a time: %s", why);
}

static bool format(struct tx_call *call, int64_t us, const struct tx_val *pattern)
{
    size_t len;
    if (tx_is_infinite(us))
        return true; /* NULL */
    char *text = tx_call_alloc(call, PATTERN_TEXT_MAX);
    if (text == NULL || !check_pattern(call, pattern))
        return false;
    if (!tx_pattern_write(pattern->p, pattern->len, us, text, PATTERN_TEXT_MAX, &len))
        return tx_call_fail(call, "the pattern makes a text of more than %u bytes",
                            PATTERN_TEXT_MAX);
    call->result = tx_text(text, len);
    return true;
}

static bool k_date_format(struct tx_call *call)
{
    return format(call, call->args[0].i, &call->args[1]);
}

/* A text by the pattern, or as ISO 8601; a zone in it is turned to the wall clock. */
static bool read(struct tx_call *call, int64_t *us)
{
    const struct tx_val *text = &call->args[0];
    struct tx_zone_seen seen;
    if (call->count > 1) {
        return check_pattern(call, &call->args[1]) &&
               (tx_pattern_read(call->args[1].p, call->args[1].len, text->p, text->len, us) ||
                tx_call_fail(call, "the text does not follow the pattern"));
    }
    if (!tx_stamp_read(text->p, text->len, us, &seen))
        return tx_call_fail(
            call, "the text is no date or time (2025-09-19T10:00:00Z, 2025-09-19 10:00:00)");
    if (seen.any)
        *us = tx_zone_to_wall(call->env->zone, *us - seen.east_us);
    return true;
}

static bool k_to_timestamp(struct tx_call *call)
{
    int64_t us;
    return read(call, &us) && give(call, us);
}
static bool k_to_date(struct tx_call *call)
{
    int64_t us;
    return read(call, &us) && give(call, tx_is_infinite(us) ? us : tr_floor_div(us, TX_US_PER_DAY));
}

/* TO_TIMESTAMP_LTZ(number, 0 | 3 | 6): seconds, milliseconds, microseconds since 1970 */
static bool k_to_timestamp_ltz(struct tx_call *call)
{
    int64_t unit = call->count > 1 ? call->args[1].i : 3, us;
    if (unit != 0 && unit != 3 && unit != 6)
        return tx_call_fail(
            call, "TO_TIMESTAMP_LTZ takes 0 for seconds, 3 for milliseconds, 6 for microseconds");
    if (!tx_add(0,
                unit == 0   ? TX_SECOND
                : unit == 3 ? TX_MILLISECOND
                            : TX_MICROSECOND,
                call->args[0].i, &us))
        return tx_call_fail(call, "the time is out of range");
    return give(call, us);
}

static bool k_unix_timestamp(struct tx_call *call)
{
    int64_t us = call->env->now_us;
    if (call->count > 0) {
        if (!read(call, &us))
            return false;
        if (tx_is_infinite(us))
            return true; /* NULL */
        us = tx_zone_from_wall(call->env->zone, us);
    }
    return give(call, tr_floor_div(us, TX_US_PER_SECOND));
}

static bool k_from_unixtime(struct tx_call *call)
{
    static const struct tx_val usual = {.kind = TX_VAL_TEXT, .len = 19, .p = "yyyy-MM-dd HH:mm:ss"};
    int64_t us;
    if (!tx_add(0, TX_SECOND, call->args[0].i, &us))
        return tx_call_fail(call, "the time is out of range");
    return format(call, tx_zone_to_wall(call->env->zone, us),
                  call->count > 1 ? &call->args[1] : &usual);
}

const struct tx_kernel tx_kernels_time[] = {{"k_now", k_now, false},
                                            {"k_localtimestamp", k_localtimestamp, false},
                                            {"k_localtime", k_localtime, false},
                                            {"k_current_date", k_current_date, false},
                                            {"k_extract", k_extract, false},
                                            {"k_timestampadd", k_timestampadd, false},
                                            {"k_timestampdiff", k_timestampdiff, false},
                                            {"k_date_format", k_date_format, false},
                                            {"k_to_timestamp", k_to_timestamp, false},
                                            {"k_to_date", k_to_date, false},
                                            {"k_to_timestamp_ltz", k_to_timestamp_ltz, false},
                                            {"k_unix_timestamp", k_unix_timestamp, false},
                                            {"k_from_unixtime", k_from_unixtime, false},
                                            {NULL, NULL, false}};
