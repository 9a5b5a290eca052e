/* The columns of many tables, asked from the catalog at once. See ahead.c. */
#ifndef TR_SOURCE_POSTGRES_AHEAD_H
#define TR_SOURCE_POSTGRES_AHEAD_H

#include "source/postgres/types.h"

struct tr_pg_source;
struct tr_pg_ahead;

/* Is what is held of this table as new as a transaction whose commit record is at commit_lsn? Asks
 * for all tables when asking one by one has become a pattern. The source's catalog must stay as it
 * is: what it holds is used here. */
bool tr_pg_ahead_covers(struct tr_pg_source *source, uint32_t oid, uint64_t commit_lsn);

/* Only after tr_pg_ahead_covers, and valid until it is called again. */
const struct tr_pg_attrs *tr_pg_ahead_attrs(const struct tr_pg_source *source, uint32_t oid);
/* What the start has made of them; NULL when they were read later. */
const struct tr_table *tr_pg_ahead_table(const struct tr_pg_source *source, uint32_t oid);
/* From the parent outwards. */
const struct tr_pg_ancestor *tr_pg_ahead_ancestors(const struct tr_pg_source *source, uint32_t oid,
                                                   size_t *count);

void tr_pg_ahead_free(struct tr_pg_ahead *ahead);

#endif
