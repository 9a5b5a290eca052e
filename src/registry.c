/* One line a connector. */
#include "registry.h"

#ifdef TR_WITH_POSTGRES
#include "sink/postgres/postgres.h"
#include "source/postgres/postgres.h"
#endif
#ifdef TR_WITH_SQLITE
#include "sink/sqlite/sqlite.h"
#endif
#ifdef TR_WITH_KAFKA
#include "sink/kafka/kafka.h"
#endif
#include "sink/file/file.h"
#include "sink/null/null.h"

#ifdef TR_WITH_POSTGRES
#define POSTGRES(ops) &ops, NULL
#else
#define POSTGRES(ops) NULL, "built without libpq (package libpq-dev)"
#endif
#ifdef TR_WITH_SQLITE
#define SQLITE(ops) &ops, NULL
#else
#define SQLITE(ops) NULL, "built without sqlite3 (package libsqlite3-dev)"
#endif
#ifdef TR_WITH_KAFKA
#define KAFKA(ops) &ops, NULL
#else
#define KAFKA(ops) NULL, "built without librdkafka (package librdkafka-dev)"
#endif

const struct tr_source_entry tr_sources[] = {
    {"postgres", "postgresql", POSTGRES(tr_source_postgres)},
    {NULL, NULL, NULL, NULL},
};

const struct tr_sink_entry tr_sinks[] = {
    {"sqlite", NULL, SQLITE(tr_sink_sqlite)},
    {"postgres", "postgresql", POSTGRES(tr_sink_postgres)},
    {"kafka", NULL, KAFKA(tr_sink_kafka)},
    {"file", NULL, &tr_sink_file, NULL},
    {"stdout", "print", &tr_sink_stdout, NULL},
    {"null", "blackhole", &tr_sink_null, NULL},
    {NULL, NULL, NULL, NULL},
};
