/* What the transform tests share: tables written as text, rows, batches as lines. */
#ifndef TR_TESTS_TRANSFORM_SUPPORT_H
#define TR_TESTS_TRANSFORM_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "event/batch.h"
#include "transform/transform.h"

/* "id INT32 key, name STRING, op STRING hidden, d DECIMAL(10,2)"; schema "shop", namespace "db" */
struct tr_table *table_made(const char *name, const char *columns);
/* "1|Ann|NULL|UNCHANGED|ABSENT": cells that live until the batch is reset; \x… for BYTES is text too */
struct tr_cell *cells_made(struct tr_batch *batch, const struct tr_table *table, const char *row);
/* "op before after flags" of one event, schema changes as "s KIND items columns" */
void event_text(const struct tr_event *event, char *buf, size_t size);
void table_text(const struct tr_table *table, char *buf, size_t size);

#endif
