/* One line a connector. */
#include "registry.h"

#define NO_LIBPQ "built without libpq (package libpq-dev)"

#ifdef TR_WITH_POSTGRES_SOURCE
#include "source/postgres/postgres.h"
#define POSTGRES_SOURCE &tr_source_postgres, NULL
#else
#define POSTGRES_SOURCE NULL, NO_LIBPQ
#endif
#ifdef TR_WITH_POSTGRES_SINK
#include "sink/postgres/postgres.h"
#define POSTGRES_SINK &tr_sink_postgres, NULL
#else
#define POSTGRES_SINK NULL, NO_LIBPQ
#endif
#ifdef TR_WITH_SQLITE_SINK
#include "sink/sqlite/sqlite.h"
#define SQLITE_SINK &tr_sink_sqlite, NULL
#else
#define SQLITE_SINK NULL, "built without sqlite3 (package libsqlite3-dev)"
#endif
#ifdef TR_WITH_KAFKA_SINK
#include "sink/kafka/kafka.h"
#define KAFKA_SINK &tr_sink_kafka, NULL
#else
#define KAFKA_SINK NULL, "built without librdkafka (package librdkafka-dev)"
#endif
#ifdef TR_WITH_KAFKA_SOURCE
#include "source/kafka/kafka.h"
#define KAFKA_SOURCE &tr_source_kafka, NULL
#else
#define KAFKA_SOURCE NULL, "built without librdkafka (package librdkafka-dev)"
#endif
#include "sink/file/file.h"
#include "sink/null/null.h"
#include "source/file/file.h"

const struct tr_source_entry tr_sources[] = {
    {"postgres", "postgresql", POSTGRES_SOURCE},
    {"file", NULL, &tr_source_file, NULL},
    {"kafka", NULL, KAFKA_SOURCE},
    {NULL, NULL, NULL, NULL},
};

const struct tr_sink_entry tr_sinks[] = {
    {"sqlite", NULL, SQLITE_SINK},
    {"postgres", "postgresql", POSTGRES_SINK},
    {"kafka", NULL, KAFKA_SINK},
    {"file", NULL, &tr_sink_file, NULL},
    {"stdout", "print", &tr_sink_stdout, NULL},
    {"null", "blackhole", &tr_sink_null, NULL},
    {NULL, NULL, NULL, NULL},
};
