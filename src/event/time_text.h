/* Times as text → microseconds since 1970-01-01 UTC. */
#ifndef TR_EVENT_TIME_TEXT_H
#define TR_EVENT_TIME_TEXT_H

#include "tailrace/event.h"

/* Reads a cell's text as a time: DATE, TIMESTAMP, TIMESTAMPTZ in their canonical form; STRING as ISO-8601
 * (date, then optionally T or space and hh:mm[:ss[.fraction]], then optionally Z, +hh, +hhmm or +hh:mm;
 * without a zone UTC; digits beyond the sixth of a fraction are cut off); integers as milliseconds since
 * the epoch. false: not a time (also infinity, and years outside 1…9999). */
bool tr_time_text_parse(enum tr_type type, struct tr_slice text, int64_t *time_us) TR_WARN_UNUSED;
/* TIMESTAMP's canonical text, without trailing zeros of the fraction; buf holds TR_TIME_TEXT_BYTES.
 * Returns the length; 0 when the year is outside 1…9999. */
#define TR_TIME_TEXT_BYTES 40
size_t tr_time_text_format(int64_t time_us, char *buf);

#endif
