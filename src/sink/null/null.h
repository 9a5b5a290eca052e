/* The null sink: docs/connectors/null-sink.md. */
#ifndef TR_SINK_NULL_H
#define TR_SINK_NULL_H

#include "tailrace/sink.h"

extern const struct tr_sink_ops tr_sink_null;

#endif
