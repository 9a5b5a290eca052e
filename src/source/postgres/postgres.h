/* The PostgreSQL source: snapshot by COPY under the slot's exported snapshot, then pgoutput. */
#ifndef TR_SOURCE_POSTGRES_H
#define TR_SOURCE_POSTGRES_H

#include "tailrace/source.h"

extern const struct tr_source_ops tr_source_postgres;

#endif
