/* Time. Durations use the monotonic clock; stamps that users see use the wall clock. */
#ifndef TR_BASE_CLOCK_H
#define TR_BASE_CLOCK_H
#include <stdint.h>

int64_t tr_clock_mono_us(void);
int64_t tr_clock_mono_ms(void);
int64_t tr_clock_wall_us(void); /* since 1970-01-01 UTC */
void tr_clock_sleep_ms(int ms);
#endif
