/* Settings of the PostgreSQL source: the option table, and what is derived from it. */
#ifndef TR_SOURCE_POSTGRES_OPTIONS_H
#define TR_SOURCE_POSTGRES_OPTIONS_H

#include "event/table_pattern.h"
#include "tailrace/source.h"

enum tr_pg_sslmode {
    TR_PG_SSL_DISABLE,
    TR_PG_SSL_PREFER,
    TR_PG_SSL_REQUIRE,
    TR_PG_SSL_VERIFY_CA,
    TR_PG_SSL_VERIFY_FULL
};
enum tr_pg_startup { TR_PG_INITIAL, TR_PG_SNAPSHOT, TR_PG_LATEST_OFFSET, TR_PG_COMMITTED_OFFSET };
enum tr_pg_autocreate { TR_PG_FILTERED, TR_PG_ALL_TABLES, TR_PG_DISABLED };

/* Bound from tr_pg_option_table. Times are milliseconds and sizes bytes unless a name says more. */
struct tr_pg_options {
    const char *hostname;
    int64_t port;
    const char *username;
    struct tr_secret password;
    const char *database;
    struct tr_secret url; /* may hold a password */
    int sslmode;          /* enum tr_pg_sslmode */
    const char *sslrootcert;
    const char *sslcert;
    const char *sslkey;
    struct tr_string_list tables;
    struct tr_string_list tables_exclude;
    const char *slot_name;
    const char *publication_name;
    int publication_mode; /* enum tr_pg_autocreate */
    int plugin;
    int startup_mode; /* enum tr_pg_startup */
    int64_t snapshot_readers;
    int64_t chunk_bytes;
    bool slot_failover;
    int64_t heartbeat_ms;
    int64_t connect_timeout_ms;
    int64_t gather_us;
    int64_t catch_up_min_lag; /* bytes; 0: never */
    bool schema_change;
    const char *ignored; /* where accepted keys without effect go */
    struct tr_string_map ignored_map;
};
extern const struct tr_option tr_pg_option_table[];

#define TR_PG_NAME_BYTES_MAX 63 /* NAMEDATALEN - 1 */
#define TR_PG_CONNINFO_MAX 40

/* Parameters for PQconnectStartParams; NULL-terminated. The strings belong to the settings. */
struct tr_pg_conninfo {
    const char *keywords[TR_PG_CONNINFO_MAX + 1];
    const char *values[TR_PG_CONNINFO_MAX + 1];
    unsigned count;
};

/* Settings with everything derived. Never printed as a whole: conninfo holds the password. */
struct tr_pg_settings {
    const struct tr_pg_options *options;
    char slot_name[TR_PG_NAME_BYTES_MAX + 1];
    char publication_name[TR_PG_NAME_BYTES_MAX + 1];
    char application_name[TR_PG_NAME_BYTES_MAX + 1];
    char port_text[8];
    char *database;
    struct tr_pg_conninfo conninfo; /* without dbname, replication and application_name */
    void *url_parsed;               /* PQconninfoOption array or NULL */
    bool sslmode_by_default;        /* nobody named a mode */
    bool has_root_file;             /* sslrootcert was given or defaulted to the system's */
    struct tr_table_pattern *include;
    struct tr_table_pattern *exclude; /* or NULL */
};

/* Derives and checks. PG_OPTION and CONFIG errors. config is asked only whether an option was
 * given; NULL means that all defaults count as not given. */
enum tr_status tr_pg_settings_init(struct tr_pg_settings *settings,
                                   const struct tr_pg_options *options,
                                   const struct tr_config *config, const char *pipeline_name,
                                   struct tr_error *err);
void tr_pg_settings_free(struct tr_pg_settings *settings);

/* Does the table belong to those that the user asked for? */
bool tr_pg_settings_match(const struct tr_pg_settings *settings, const struct tr_table_id *id);

/* "{pipeline}_slot" in what a slot name may hold: lower case, [a-z0-9_], at most 63 bytes. */
void tr_pg_default_name(const char *pipeline_name, const char *suffix, char *buf, size_t buf_size);

/* The database that three-part patterns name plainly. TR_AGAIN: none does. PG_OPTION: two different
 * ones. */
enum tr_status tr_pg_patterns_database(const struct tr_string_list *patterns, char *buf,
                                       size_t buf_size, struct tr_error *err);

/* Calls fn for every pattern without a metacharacter: plain schema and table. */
void tr_pg_patterns_plain(const struct tr_string_list *patterns,
                          void (*fn)(void *ctx, const char *schema, const char *table), void *ctx);

#endif
