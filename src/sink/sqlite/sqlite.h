/* The SQLite sink: docs/connectors/sqlite-sink.md. */
#ifndef TR_SINK_SQLITE_H
#define TR_SINK_SQLITE_H

#include "tailrace/sink.h"

extern const struct tr_sink_ops tr_sink_sqlite;

#endif
