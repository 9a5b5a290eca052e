/* The sink's life: options, the control link, marks; the table of operations. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "event/state.h"
#include "sink/postgres/writer.h"

enum tr_status tr_pgs_sink_link(struct tr_pgs_sink *sink, struct tr_pgs_link *link,
                                enum tr_pgs_purpose purpose, struct tr_error *err)
{
    enum tr_status status = tr_pgs_link_open(link, sink->options, sink->sslmode_given,
                                             sink->pipeline_name, sink->wake_fd, purpose, err);
    if (status != TR_OK)
        tr_pgs_link_close(link);
    return status;
}

enum tr_status tr_pgs_sink_control(struct tr_pgs_sink *sink, struct tr_error *err)
{
    /* libpq learns only from a statement that an idle connection was cut */
    if (tr_pgs_link_alive(&sink->control) &&
        PQtransactionStatus(sink->control.conn) == PQTRANS_IDLE) {
        if (tr_pgs_exec(&sink->control, "SELECT 1", "could not use the connection", NULL, err) ==
            TR_OK)
            return TR_OK;
        if (err->code == TR_E_INTERRUPTED)
            return TR_FAIL;
    }
    tr_pgs_link_close(&sink->control);
    return tr_pgs_sink_link(sink, &sink->control, TR_PGS_CONTROL, err);
}

static enum tr_status check_options(const struct tr_pgs_options *options, struct tr_error *err)
{
    static const struct {
        const char *key;
        size_t offset;
    } needed[] = {{"hostname", offsetof(struct tr_pgs_options, hostname)},
                  {"username", offsetof(struct tr_pgs_options, username)},
                  {"database", offsetof(struct tr_pgs_options, database)}};
    for (size_t i = 0; i < sizeof needed / sizeof *needed && options->url.value == NULL; i++) {
        const char *value = *(const char *const *)((const char *)options + needed[i].offset);
        if (value == NULL || *value == '\0') {
            (void)tr_fail(err, TR_E_PGSINK_OPTION, "the PostgreSQL sink needs %s", needed[i].key);
            return tr_hint(err, "set sink.%s, or give the whole address by url", needed[i].key);
        }
    }
    if (options->position_table == NULL || *options->position_table == '\0')
        return tr_fail(err, TR_E_PGSINK_OPTION, "position.table must not be empty");
    return TR_OK;
}

static void sink_close(void *self)
{
    struct tr_pgs_sink *sink = self;
    if (sink == NULL)
        return;
    tr_pgs_link_close(&sink->control);
    for (unsigned i = 0; i < sink->idle_scan_count; i++)
        tr_pgs_link_close(&sink->idle_scans[i]);
    if (sink->wake_fd >= 0)
        (void)close(sink->wake_fd);
    free(sink->pipeline_name);
    tr_mark_guard_free(&sink->loaded);
    free(sink);
}

static enum tr_status sink_open(const struct tr_config *config, const struct tr_context *context,
                                void **self, struct tr_error *err)
{
    *self = NULL;
    const struct tr_pgs_options *options = tr_config_values(config);
    if (check_options(options, err) != TR_OK)
        return TR_FAIL;
    struct tr_pgs_sink *sink = calloc(1, sizeof *sink);
    if (sink == NULL)
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for the PostgreSQL sink");
    sink->options = options;
    sink->sslmode_given = tr_config_given(config, "sslmode");
    sink->checking = context->checking;
    sink->shared = context->shared;
    sink->pipeline_name = strdup(context->position_name == NULL ? context->pipeline_name
                                                               : context->position_name);
    sink->position_table = options->position_table;
    sink->position_schema = options->position_schema != NULL ? options->position_schema
                            : options->schema != NULL        ? options->schema
                                                             : "public";
    sink->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    enum tr_status status = TR_FAIL;
    if (sink->pipeline_name == NULL)
        (void)tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for the PostgreSQL sink");
    else if (sink->wake_fd < 0)
        (void)tr_fail(err, TR_E_INTERNAL, "could not make an eventfd: %s", strerror(errno));
    else
        status = tr_pgs_sink_control(sink, err);
    if (status != TR_OK)
        sink_close(sink);
    else
        *self = sink;
    return status;
}

static enum tr_status sink_load_marks(void *self, struct tr_state *marks, struct tr_error *err)
{
    struct tr_pgs_sink *sink = self;
    if (tr_pgs_sink_control(sink, err) != TR_OK)
        return TR_FAIL;
    if (sink->checking)
        return tr_pgs_position_load(sink, marks, err);
    if (tr_pgs_position_create(sink, err) != TR_OK ||
        tr_pgs_position_lock(sink, &sink->control, 0, err) != TR_OK)
        return TR_FAIL;
    enum tr_status status = tr_pgs_position_load(sink, marks, err);
    struct tr_error other;
    if (tr_pgs_link_alive(&sink->control) &&
        tr_pgs_position_unlock(sink, &sink->control, 0, status == TR_OK ? err : &other) != TR_OK)
        return TR_FAIL;
    return status;
}

/* Without a row on the target that tuples would have to be merged with. */
static enum tr_status sink_takes_binary(void *self, const struct tr_binary_offer *offer,
                                        bool *takes, struct tr_error *err)
{
    struct tr_pgs_sink *sink = self;
    struct tr_pgs_target *target;
    *takes = false;
    if (!tr_pgs_link_alive(&sink->control) && tr_pgs_sink_control(sink, err) != TR_OK)
        return TR_FAIL;
    struct tr_pgs_link *link = &sink->control;
    if (tr_pgs_describe(link, tr_pgs_schema_of(sink, &offer->table->id), offer->table->id.table,
                        &target, err) != TR_OK)
        return TR_FAIL;
    enum tr_status status = TR_OK;
    bool fits = !target->row_security && tr_pgs_binary_fits(target, offer, link->server_version);
    if (fits && target->exists && !offer->emptied)
        status = tr_pgs_target_is_empty(link, target, &fits, err);
    *takes = fits && status == TR_OK;
    tr_pgs_target_free(target);
    return status;
}

static enum tr_status sink_drop(void *self, tr_report_fn report, void *report_ctx,
                                struct tr_error *err)
{
    struct tr_pgs_sink *sink = self;
    if (tr_pgs_sink_control(sink, err) != TR_OK)
        return TR_FAIL;
    return tr_pgs_position_drop(sink, report, report_ctx, err);
}

static void sink_interrupt(void *self)
{
    const struct tr_pgs_sink *sink = self;
    uint64_t one = 1;
    ssize_t done = write(sink->wake_fd, &one, sizeof one); /* never read: it stays readable */
    (void)done;
}

const struct tr_sink_ops tr_sink_postgres = {
    .name = "postgres",
    .abi = TR_SINK_ABI,
    .caps = TR_CAP_UPSERT | TR_CAP_TRANSACTIONS | TR_CAP_POSITION | TR_CAP_DDL | TR_CAP_TRUNCATE |
            TR_CAP_RAW_PGCOPY | TR_CAP_LAST_WRITE_WINS,
    .options = tr_pgs_option_table,
    .options_size = sizeof(struct tr_pgs_options),
    .summary = "PostgreSQL 12 to 18: COPY for the snapshot, set-wise upserts, position stored with "
               "the rows",
    .open = sink_open,
    .validate = tr_pgs_validate,
    .takes_binary = sink_takes_binary,
    .load_marks = sink_load_marks,
    .writer_open = tr_pgs_writer_open,
    .apply = tr_pgs_writer_apply,
    .write = tr_pgs_writer_write,
    .flush = tr_pgs_writer_flush,
    .durable_seq = tr_pgs_writer_durable_seq,
    .interrupt = sink_interrupt,
    .writer_close = tr_pgs_writer_close,
    .drop = sink_drop,
    .close = sink_close,
    .scan = &tr_pgs_scan_ops,
};
