/* A pipeline file, read: YAML 1.2 or JSON → typed structs. Every error has file:line:column and what
 * was expected; unknown keys are refused with the nearest right one. */
#ifndef TR_CONFIG_PIPELINE_FILE_H
#define TR_CONFIG_PIPELINE_FILE_H

#include "event/table_pattern.h"
#include "registry.h"
#include "tailrace/option.h"
#include "transform/transform.h"

enum tr_schema_behavior {
    TR_SCHEMA_EXCEPTION,
    TR_SCHEMA_EVOLVE,
    TR_SCHEMA_TRY_EVOLVE,
    TR_SCHEMA_LENIENT,
    TR_SCHEMA_IGNORE
};
enum tr_restart_kind { TR_RESTART_NONE, TR_RESTART_FIXED_DELAY, TR_RESTART_EXPONENTIAL };
enum tr_change_bits { /* Flink CDC's names for include/exclude.schema.changes */
    TR_CHG_ADD_COLUMN = 1,
    TR_CHG_ALTER_COLUMN_TYPE = 2,
    TR_CHG_CREATE_TABLE = 4,
    TR_CHG_DROP_COLUMN = 8,
    TR_CHG_DROP_TABLE = 16,
    TR_CHG_RENAME_COLUMN = 32,
    TR_CHG_TRUNCATE_TABLE = 64,
    TR_CHG_ALL = 127
};

/* Bound from the table tr_pipeline_options: key `pipeline:`. Times are milliseconds, sizes bytes. */
struct tr_pipeline_options {
    const char *name;
    int64_t parallelism;             /* writers per sink, default 1 */
    int schema_behavior;             /* enum tr_schema_behavior, default EVOLVE (Flink CDC: LENIENT) */
    int route_mode;                  /* 0 ALL_MATCH, 1 FIRST_MATCH */
    const char *local_time_zone;
    int runtime_mode;                /* 0 STREAMING, 1 BATCH */
    int64_t checkpoint_interval_ms;  /* checkpoint.interval, default 1s */
    int64_t checkpoint_keep;         /* checkpoint.keep, default 3 */
    int64_t linger_ms;               /* batch.linger: the longest an accepted event waits for company
                                        before a flush, default 100 ms */
    int64_t buffer_memory_bytes;     /* buffer.memory, default 32 MiB */
    int restart_kind;                /* restart-strategy.type: none|fixed-delay|exponential-delay (default) */
    int64_t restart_attempts;        /* restart-strategy.fixed-delay.attempts, default 10 */
    int64_t restart_delay_ms;        /* restart-strategy.fixed-delay.delay, default 5s */
    int64_t restart_initial_ms;      /* restart-strategy.exponential-delay.initial-backoff 1s */
    int64_t restart_max_ms;          /* ….max-backoff 1min */
    int64_t restart_reset_ms;        /* ….reset-backoff-threshold 10min: a run this long resets */
    int64_t stop_timeout_ms;         /* stop.timeout, default 25s (the process exits within 30 s) */
};
extern const struct tr_option tr_pipeline_option_table[];

struct tr_route_rule {
    struct tr_table_pattern *source; /* compiled source-table */
    const char *source_text;
    const char *sink_table;          /* with $1… or the replace-symbol */
    const char *replace_symbol;      /* or NULL */
    const char *description;
    const char *where;               /* "file:line:column" */
};
enum tr_window_kind { TR_WINDOW_NONE, TR_WINDOW_TUMBLING, TR_WINDOW_HOPPING, TR_WINDOW_SESSION };
/* A sink's `window.*`: what it gets is not rows but their aggregates. Times are milliseconds. */
struct tr_window_options {
    int kind; /* enum tr_window_kind */
    int64_t size_ms, slide_ms, gap_ms, offset_ms;
    struct tr_string_list group_by;   /* "op", "LOWER(country) AS country" */
    struct tr_string_list aggregates; /* "COUNT(*) AS events", "SUM(amount) AS total" */
    const char *table;                /* the result's */
    int64_t groups_max;
};

enum tr_late { TR_LATE_DEAD_LETTER, TR_LATE_DROP, TR_LATE_PROCESS };
/* Bound from tr_event_time_option_table: key `event-time:`. */
struct tr_event_time_options {
    const char *column; /* NULL: the pipeline has no event time */
    int64_t delay_ms, idle_ms;
    int late;           /* enum tr_late */
    const char *where;  /* of `column` */
};
extern const struct tr_option tr_event_time_option_table[];

struct tr_sink_config {
    const struct tr_sink_ops *ops;
    struct tr_config *config;
    const char *name;
    const char *position_name;       /* tr_context.position_name */
    unsigned include_changes;        /* enum tr_change_bits after include and exclude */
    struct tr_table_pattern *tables; /* which tables it takes (IDs before routing); NULL: all */
    struct tr_route_rule *routes;    /* its own, instead of the file's, when own_routes */
    size_t route_count;
    bool own_routes;
    bool dead_letters;               /* the key `dead-letter`: takes those and nothing else */
    bool last_write_wins;            /* write.mode */
    const char *version_column;      /* NULL: the event-time column */
    const char *history_table;       /* every change is also appended to this table; NULL: no */
    struct tr_window_options window;
};
struct tr_config_note; /* an accepted option without effect: src/config/bind.h */
struct tr_pipeline_file {
    const char *path;
    const struct tr_source_ops *source_ops;
    struct tr_config *source_config;
    const char *source_name;
    struct tr_sink_config *sinks;    /* at least one; `sink:` takes a mapping (or a list of them) */
    size_t sink_count;               /* the dead-letter sink, if any, is the last */
    struct tr_route_rule *routes;
    size_t route_count;
    struct tr_transform_rule *transforms;
    size_t transform_count;
    struct tr_event_time_options event_time;
    struct tr_pipeline_options options;
    const char *title;               /* pipeline.name as written; options.name is made of it */
    const struct tr_config_note *notes; /* in the file's order; NULL at the end */
    void *owner;                     /* the module's memory */
};

/* Reads `path` ("-" = standard input). Sources and sinks are looked up in the registry tables given
 * (tests give their own). */
enum tr_status tr_pipeline_file_load(const char *path, const struct tr_source_entry *sources,
                                     const struct tr_sink_entry *sinks,
                                     struct tr_pipeline_file **out, struct tr_error *err);
/* The same from memory; name is used in messages. */
enum tr_status tr_pipeline_file_parse(const char *text, size_t len, const char *name,
                                      const struct tr_source_entry *sources,
                                      const struct tr_sink_entry *sinks,
                                      struct tr_pipeline_file **out, struct tr_error *err);
/* One log line (INFO) per note. */
void tr_pipeline_file_log_notes(const struct tr_pipeline_file *file);
/* "drop.table" and the like for one bit of enum tr_change_bits. */
const char *tr_change_bit_name(enum tr_change_bits bit);
void tr_pipeline_file_free(struct tr_pipeline_file *file); /* NULL is fine; wipes secrets */

#endif
