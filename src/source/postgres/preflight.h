/* Preflight: everything that would make the source fail later, with the SQL that mends it. */
#ifndef TR_SOURCE_POSTGRES_PREFLIGHT_H
#define TR_SOURCE_POSTGRES_PREFLIGHT_H

#include "source/postgres/slot.h"

/* Reports every finding; changes nothing. TR_FAIL only when a question could not be asked. */
enum tr_status tr_pg_preflight(struct tr_pg_conn *conn, const struct tr_pg_settings *settings,
                               const struct tr_pg_server *server, struct tr_pg_catalog *catalog,
                               tr_report_fn report, void *report_ctx, struct tr_error *err);

/* The same as a gate for start: the first finding of severity error becomes the tr_error. resuming:
 * findings about single tables are only logged. */
enum tr_status tr_pg_gate(struct tr_pg_conn *conn, const struct tr_pg_settings *settings,
                          const struct tr_pg_server *server, struct tr_pg_catalog *catalog,
                          bool resuming, struct tr_error *err);

#endif
