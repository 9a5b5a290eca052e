/* What the pipeline tells of itself: JSON for `status`, Prometheus text for metrics, a line for the
 * terminal. Status and metrics run on the control server's thread, the line on the control thread.
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "event/time_text.h"
#include "pipeline/engine.h"

const char *tr_phase_name(int phase)
{
    static const char *const names[] = {"starting",   "snapshot", "streaming", "draining",
                                        "restarting", "stopped",  "failed"};
    return phase >= 0 && phase <= TR_PHASE_FAILED ? names[phase] : "?";
}

static void source_progress(struct tr_engine *engine, struct tr_source_progress *progress)
{
    *progress = (struct tr_source_progress){0};
    (void)pthread_mutex_lock(&engine->source_lock);
    if (engine->source != NULL)
        engine->file->source_ops->progress(engine->source, progress);
    (void)pthread_mutex_unlock(&engine->source_lock);
}

static uint64_t bytes_behind(const struct tr_source_progress *progress)
{
    return progress->server_position > progress->acknowledged_position &&
                   progress->acknowledged_position != 0
               ? progress->server_position - progress->acknowledged_position
               : 0;
}

static json_t *error_json(const struct tr_error *err)
{
    return json_pack("{s:s,s:s,s:s,s:s,s:s}", "code", tr_error_info(err->code)->name, "class",
                     tr_err_class_name(err->class), "message", err->message, "detail", err->detail,
                     "hint", err->hint);
}

static json_t *tables_json(struct tr_engine *engine)
{
    json_t *tables = json_array();
    (void)pthread_mutex_lock(&engine->lock);
    for (struct tr_table_stats *stats = engine->stats; stats != NULL; stats = stats->next) {
        json_array_append_new(
            tables,
            json_pack("{s:s,s:s,s:I,s:I,s:I,s:I,s:I,s:I}", "source", stats->source_name, "target",
                      stats->target_name, "reads", (json_int_t)atomic_load(&stats->reads),
                      "creates", (json_int_t)atomic_load(&stats->creates), "updates",
                      (json_int_t)atomic_load(&stats->updates), "deletes",
                      (json_int_t)atomic_load(&stats->deletes), "truncates",
                      (json_int_t)atomic_load(&stats->truncates), "schema_changes",
                      (json_int_t)atomic_load(&stats->schema_changes)));
    }
    (void)pthread_mutex_unlock(&engine->lock);
    return tables;
}

static json_t *sinks_json(struct tr_engine *engine)
{
    json_t *sinks = json_array();
    for (unsigned i = 0; i < engine->file->sink_count && i < TR_BRANCHES_MAX; i++) {
        const struct tr_sink_config *config = &engine->file->sinks[i];
        json_array_append_new(
            sinks, json_pack("{s:s,s:s,s:b,s:I}", "name", config->name, "type", config->ops->name,
                             "dead_letters", (int)config->dead_letters, "events_written",
                             (json_int_t)atomic_load(&engine->branches[i].events_written)));
    }
    return sinks;
}

json_t *tr_engine_status_json(struct tr_engine *engine)
{
    struct tr_source_progress progress;
    source_progress(engine, &progress);
    int64_t now_us = tr_clock_mono_us(), wall_us = tr_clock_wall_us();
    int64_t checkpoint_us = atomic_load(&engine->checkpoint_us);
    int64_t last_event_us = atomic_load(&engine->last_event_us);
    json_t *status = json_pack(
        "{s:b,s:s,s:s,s:b,s:i,s:f,s:I,s:s,s:s,s:I,s:I,s:f,s:f,s:I,s:s,s:I}", "ok", 1, "pipeline",
        engine->file->options.name, "state", tr_phase_name(atomic_load(&engine->phase)), "paused",
        (int)atomic_load(&engine->paused), "pid", (int)getpid(), "uptime_seconds",
        (double)(now_us - engine->started_us) / 1e6, "restarts", (json_int_t)engine->restarts,
        "source", engine->file->source_ops->name, "sink", engine->file->sinks[0].ops->name,
        "events_read", (json_int_t)atomic_load(&engine->events_read), "bytes_read",
        (json_int_t)atomic_load(&engine->bytes_read), "lag_seconds",
        (double)atomic_load(&engine->lag_us) / 1e6, "latency_seconds",
        (double)atomic_load(&engine->latency_us) / 1e6, "bytes_behind",
        (json_int_t)bytes_behind(&progress), "position", progress.position_text, "checkpoints",
        (json_int_t)atomic_load(&engine->checkpoints));
    if (status == NULL)
        return NULL;
    json_object_set_new(status, "checkpoint_age_seconds",
                        checkpoint_us == 0 ? json_null()
                                           : json_real((double)(wall_us - checkpoint_us) / 1e6));
    json_object_set_new(status, "last_event_age_seconds",
                        last_event_us == 0 ? json_null()
                                           : json_real((double)(now_us - last_event_us) / 1e6));
    json_object_set_new(status, "snapshot",
                        json_pack("{s:b,s:I,s:I,s:i,s:i}", "running",
                                  (int)progress.snapshot_running, "rows",
                                  (json_int_t)progress.snapshot_rows, "rows_estimate",
                                  (json_int_t)progress.snapshot_rows_total, "tables_done",
                                  (int)progress.snapshot_tables_done, "tables",
                                  (int)progress.snapshot_tables_total));
    json_object_set_new(status, "memory_bound_bytes",
                        json_integer((json_int_t)(engine->pool.total * TR_BATCH_COST_BYTES)));
    (void)pthread_mutex_lock(&engine->lock);
    json_object_set_new(status, "last_error",
                        engine->has_last_error ? error_json(&engine->last_error) : json_null());
    (void)pthread_mutex_unlock(&engine->lock);
    json_object_set_new(status, "tables", tables_json(engine));
    json_object_set_new(status, "sinks", sinks_json(engine));
    char time[TR_TIME_TEXT_BYTES];
    int64_t watermark_us = atomic_load(&engine->watermark_us);
    size_t len = watermark_us == 0 ? 0 : tr_time_text_format(watermark_us, time);
    json_object_set_new(status, "watermark", len == 0 ? json_null() : json_stringn(time, len));
    return status;
}

char *tr_engine_metrics_text(struct tr_engine *engine)
{
    struct tr_outbuf out = {0};
    struct tr_source_progress progress;
    const char *name = engine->file->options.name;
    source_progress(engine, &progress);
    for (const struct tr_metric *metric = tr_metric_first(); metric != NULL;
         metric = metric->next) {
        tr_outbuf_printf(&out, "# HELP %s %s\n# TYPE %s %s\n%s{pipeline=\"%s\"} %lld\n",
                         metric->name, metric->help, metric->name,
                         metric->kind == TR_COUNTER ? "counter" : "gauge", metric->name, name,
                         (long long)tr_metric_get(metric));
    }
    const struct {
        const char *name, *help;
        double value;
    } gauges[] = {
        {"tailrace_lag_seconds", "Commit at the source to durable at the sinks, of the newest.",
         (double)atomic_load(&engine->lag_us) / 1e6},
        {"tailrace_behind_bytes", "Log between the server's end and what is acknowledged.",
         (double)bytes_behind(&progress)},
        {"tailrace_watermark_seconds",
         "The event-time watermark, seconds since 1970-01-01 UTC; 0 without one.",
         (double)atomic_load(&engine->watermark_us) / 1e6},
        {"tailrace_snapshot_rows", "Rows copied by the snapshot.", (double)progress.snapshot_rows},
        {"tailrace_up", "1 while rows can move.",
         atomic_load(&engine->phase) == TR_PHASE_SNAPSHOT ||
                 atomic_load(&engine->phase) == TR_PHASE_STREAMING
             ? 1.0
             : 0.0},
    };
    for (size_t i = 0; i < sizeof gauges / sizeof gauges[0]; i++)
        tr_outbuf_printf(&out, "# HELP %s %s\n# TYPE %s gauge\n%s{pipeline=\"%s\"} %.6f\n",
                         gauges[i].name, gauges[i].help, gauges[i].name, gauges[i].name, name,
                         gauges[i].value);
    char *text = strdup(tr_outbuf_cstr(&out));
    tr_outbuf_free(&out);
    return text;
}

/* 1234567 → "1,234,567" */
static const char *grouped(uint64_t value, char *buf, size_t buf_size)
{
    char digits[24];
    int len = snprintf(digits, sizeof digits, "%llu", (unsigned long long)value);
    size_t at = 0;
    for (int i = 0; i < len && at + 2 < buf_size; i++) {
        if (i > 0 && (len - i) % 3 == 0)
            buf[at++] = ',';
        buf[at++] = digits[i];
    }
    buf[at] = '\0';
    return buf;
}

static const char *short_bytes(uint64_t bytes, char *buf, size_t buf_size)
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB"};
    double value = (double)bytes;
    size_t unit = 0;
    while (value >= 1024 && unit < 4) {
        value /= 1024;
        unit++;
    }
    (void)snprintf(buf, buf_size, unit == 0 ? "%.0f %s" : "%.1f %s", value, units[unit]);
    return buf;
}

void tr_engine_progress_line(struct tr_engine *engine, bool last)
{
    /* only the control thread comes here: the previous reading can be static */
    static uint64_t events_before;
    static int64_t us_before;
    static double rate;
    struct tr_source_progress progress;
    char line[400], a[32], b[32], c[32], eta[40] = "";
    source_progress(engine, &progress);
    uint64_t events = atomic_load(&engine->events_read);
    int64_t now_us = tr_clock_mono_us();
    if (us_before != 0 && now_us > us_before) {
        double fresh = (double)(events - events_before) * 1e6 / (double)(now_us - us_before);
        rate = rate == 0 ? fresh : rate * 0.6 + fresh * 0.4;
    }
    events_before = events;
    us_before = now_us;
    int phase = atomic_load(&engine->phase);
    if (!engine->run_options->show_progress) {
        tr_log(TR_LOG_INFO, "progress",
               "state=%s events=%llu events_per_second=%.0f lag_ms=%lld behind_bytes=%llu "
               "position=%s snapshot_rows=%llu",
               tr_phase_name(phase), (unsigned long long)events, rate,
               (long long)(atomic_load(&engine->lag_us) / 1000),
               (unsigned long long)bytes_behind(&progress), progress.position_text,
               (unsigned long long)progress.snapshot_rows);
        return;
    }
    int len;
    if (phase == TR_PHASE_SNAPSHOT) {
        uint64_t total = progress.snapshot_rows_total, rows = progress.snapshot_rows;
        if (total > rows && rate > 1)
            (void)snprintf(eta, sizeof eta, "  ETA %.0f s", (double)(total - rows) / rate);
        int percent = total == 0 ? 0 : rows >= total ? 99 : (int)(rows * 100 / total);
        len =
            snprintf(line, sizeof line, "\r\033[K%s  snapshot %d%%  tables %u/%u  rows %s  %s/s%s",
                     engine->file->options.name, percent, progress.snapshot_tables_done,
                     progress.snapshot_tables_total, grouped(rows, a, sizeof a),
                     grouped((uint64_t)rate, b, sizeof b), eta);
    } else {
        int64_t lag_ms = atomic_load(&engine->lag_us) / 1000;
        len = snprintf(
            line, sizeof line, "\r\033[K%s  %s  events %s  %s/s  lag %lld ms  behind %s  %s",
            engine->file->options.name, tr_phase_name(phase), grouped(events, a, sizeof a),
            grouped((uint64_t)rate, b, sizeof b), (long long)lag_ms,
            short_bytes(bytes_behind(&progress), c, sizeof c), progress.position_text);
    }
    if (len > (int)sizeof line - 2)
        len = (int)sizeof line - 2;
    if (last)
        line[len++] = '\n';
    tr_log_set_progress(!last);
    ssize_t written = write(STDERR_FILENO, line, (size_t)len);
    (void)written;
}
