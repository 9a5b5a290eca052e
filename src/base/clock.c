#include "base/clock.h"

#include <time.h>

static int64_t now_us(clockid_t clock)
{
    struct timespec now;
    (void)clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

int64_t tr_clock_mono_us(void) { return now_us(CLOCK_MONOTONIC); }
int64_t tr_clock_mono_ms(void) { return now_us(CLOCK_MONOTONIC) / 1000; }
int64_t tr_clock_wall_us(void) { return now_us(CLOCK_REALTIME); }

void tr_clock_sleep_ms(int ms)
{
    struct timespec rest = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000L};
    (void)nanosleep(&rest, NULL);
}
