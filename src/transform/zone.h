/* Time zones: a fixed offset, or an IANA name whose TZif file (RFC 8536) is read once. Immutable after
 * open. The C library's own zones would need TZ in the environment, which threads share. */
#ifndef TR_TRANSFORM_ZONE_H
#define TR_TRANSFORM_ZONE_H

#include "transform/value.h"

struct tx_zone;
/* NULL, "", "UTC", "Z", "GMT", "+02:00", "UTC+2", "Europe/Berlin". Errors: TRANSFORM_TIME_ZONE. */
enum tr_status tx_zone_open(const char *name, struct tx_zone **out, struct tr_error *err) TR_WARN_UNUSED;
void tx_zone_free(struct tx_zone *zone);
/* The parser by itself: bytes of a TZif file. NULL: not one, or memory is out. */
struct tx_zone *tx_zone_parse(const char *data, size_t len);
/* µs UTC → µs of the wall clock. */
int64_t tx_zone_to_wall(const struct tx_zone *zone, int64_t us);
/* The other way. A wall clock that is there twice is the earlier instant; one that is left out is moved on
 * by the gap, as java.time does. */
int64_t tx_zone_from_wall(const struct tx_zone *zone, int64_t us);

#endif
