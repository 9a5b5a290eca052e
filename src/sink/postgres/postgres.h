/* The PostgreSQL sink: see docs/connectors/postgres-sink.md. */
#ifndef TR_SINK_POSTGRES_H
#define TR_SINK_POSTGRES_H

#include "tailrace/sink.h"

extern const struct tr_sink_ops tr_sink_postgres;

#endif
