/* Settings of the PostgreSQL sink. */
#ifndef TR_SINK_POSTGRES_OPTIONS_H
#define TR_SINK_POSTGRES_OPTIONS_H

#include <stdbool.h>

#include "tailrace/option.h"

enum tr_pgs_role { TR_PGS_ROLE_AUTO, TR_PGS_ROLE_REPLICA, TR_PGS_ROLE_ORIGIN };

struct tr_pgs_options {
    const char *hostname;
    int64_t port;
    const char *username;
    struct tr_secret password;
    const char *database;
    struct tr_secret url;
    int sslmode;
    const char *sslrootcert, *sslcert, *sslkey;
    const char *schema;
    bool table_create;
    int replication_role; /* enum tr_pgs_role */
    const char *position_schema;
    const char *position_table;
    int synchronous_commit;
    int64_t connect_timeout_ms;
    int64_t lock_timeout_ms;
    int64_t apply_rows;
    int64_t apply_bytes;
    int64_t tombstone_retention_ms; /* 0: for ever */
};
extern const struct tr_option tr_pgs_option_table[];
/* The words of the two enums that go into SQL and connection strings. */
const char *tr_pgs_sslmode_name(int sslmode);
const char *tr_pgs_synchronous_commit_name(int value);

#endif
