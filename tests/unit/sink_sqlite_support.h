/* What the SQLite sink's tests share: a file in a folder of its own, tables and events made by
 * hand, and questions to the file through a plain connection. Failures end the test. */
#ifndef TEST_SINK_SQLITE_SUPPORT_H
#define TEST_SINK_SQLITE_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "event/batch.h"
#include "event/state.h"
#include "sink/sqlite/sqlite.h"
#include "sink/sqlite/sqlite_internal.h"

struct tr_config {
    struct sqlite_options options;
};
struct rig {
    char dir[64], path[96];
    struct tr_config config;
    struct tr_context context;
    void *sink, *writer;
    struct tr_batch *batch;
    uint64_t seq;
    struct tr_error err;
};

void rig_start(struct rig *rig); /* a new folder; opens sink and writer */
void rig_open(struct rig *rig);
void rig_close(struct rig *rig); /* sink and writer only: what a stop or crash leaves stays */
void rig_end(struct rig *rig);   /* closes and removes the folder */

#define assert_ok(rig, call)                                                                       \
    do {                                                                                           \
        if ((call) != TR_OK)                                                                       \
            fail_msg("%s: %s | %s | %s", #call, (rig)->err.message, (rig)->err.detail,             \
                     (rig)->err.hint);                                                             \
    } while (0)
#define assert_code(rig, expected, call)                                                           \
    do {                                                                                           \
        if ((call) != TR_FAIL)                                                                     \
            fail_msg("%s did not fail", #call);                                                    \
        if ((rig)->err.code != (expected))                                                         \
            fail_msg("%s failed with %s: %s", #call, tr_error_info((rig)->err.code)->name,         \
                     (rig)->err.message);                                                          \
    } while (0)

/* Columns end with one whose name is NULL. */
struct tr_table *table_of(const char *name, const struct tr_column *columns);
struct tr_table *table_in(const char *schema, const char *name, const struct tr_column *columns);

#define UNCHANGED ((const char *)1)
#define ABSENT ((const char *)2)
/* Appends a row event; cells are canonical text, NULL is SQL NULL. before or after may be NULL. */
struct tr_event *put(struct rig *rig, enum tr_op op, const struct tr_table *table,
                     const char *const *before, const char *const *after);
#define ROW(...) ((const char *const[]){__VA_ARGS__})
void put_commit(struct rig *rig, const char *key, const char *value); /* key NULL: no mark */
/* Writes what was put and empties the batch. */
enum tr_status send_batch(struct rig *rig);
/* send_batch, commit with mark lsn=value, flush; all must do. */
void send_commit(struct rig *rig, const char *lsn);

enum tr_status apply(struct rig *rig, enum tr_change_kind kind, const struct tr_table *before,
                     const struct tr_table *after, const struct tr_alter_item *items,
                     uint32_t count);
void create(struct rig *rig, const struct tr_table *table);

/* Rows of a query: columns by '|', rows by '\n'; NULL prints as <null>. Static buffer. */
const char *query(struct rig *rig, const char *sql);
void assert_query(struct rig *rig, const char *sql, const char *expected);
void execute(struct rig *rig, const char *sql);
/* The table through the scan operations, printed in the same way. */
const char *scan(struct rig *rig, const struct tr_table *table);

#endif
