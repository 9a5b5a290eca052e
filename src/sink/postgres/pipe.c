/* libpq's pipeline mode: many commands, one wait.
 * https://www.postgresql.org/docs/current/libpq-pipeline-mode.html
 *
 * queue…; sync. Each queued command yields one result and a NULL; after a failure the rest yields
 * PGRES_PIPELINE_ABORTED; the sync yields PGRES_PIPELINE_SYNC. A statement is prepared by a command
 * of its own in front of its first run, and counts as prepared only when that command succeeded
 * (prepared statements survive a rollback). What is not yet sent lies in libpq's buffer: when it
 * grows beyond PIPE_SEND_BYTES it is pushed out. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sink/postgres/link.h"

#define PIPE_SEND_BYTES (256u << 10)

enum tr_status tr_pgs_pipe_begin(struct tr_pgs_link *link, struct tr_error *err)
{
    link->queued_count = 0;
    link->queued_bytes = 0;
    if (PQenterPipelineMode(link->conn) != 1)
        return tr_pgs_fail(link, NULL, "could not start a pipeline", err);
    return TR_OK;
}

static enum tr_status remember(struct tr_pgs_link *link, struct tr_pgs_stmt *prepares, uint32_t tag,
                               size_t bytes, struct tr_error *err)
{
    if (link->queued_count == link->queued_capacity) {
        uint32_t capacity = link->queued_capacity == 0 ? 256 : link->queued_capacity * 2;
        struct tr_pgs_queued *queued = realloc(link->queued, capacity * sizeof *queued);
        if (queued == NULL)
            return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for a pipeline");
        link->queued = queued;
        link->queued_capacity = capacity;
    }
    link->queued[link->queued_count++] = (struct tr_pgs_queued){prepares, tag};
    link->queued_bytes += bytes;
    if (link->queued_bytes >= PIPE_SEND_BYTES) {
        link->queued_bytes = 0;
        if (PQflush(link->conn) < 0)
            return tr_pgs_fail(link, NULL, "could not send to the target", err);
    }
    return TR_OK;
}

static size_t params_bytes(int param_count, const struct tr_pgs_params *params)
{
    size_t bytes = 64;
    for (int i = 0; i < param_count; i++) {
        bytes += 4;
        if (params->values[i] != NULL)
            bytes += params->formats != NULL && params->formats[i] != 0 ? (size_t)params->lengths[i]
                                                                        : strlen(params->values[i]);
    }
    return bytes;
}

enum tr_status tr_pgs_pipe_stmt(struct tr_pgs_link *link, struct tr_pgs_stmt *stmt,
                                const struct tr_pgs_params *params, uint32_t tag,
                                struct tr_error *err)
{
    char name[24];
    if (stmt->number == 0)
        stmt->number = ++link->statement_count;
    (void)snprintf(name, sizeof name, "tr_%u", stmt->number);
    if (!stmt->prepared) {
        if (PQsendPrepare(link->conn, name, stmt->sql, 0, NULL) != 1)
            return tr_pgs_fail(link, NULL, "could not prepare a statement", err);
        if (remember(link, stmt, tag, strlen(stmt->sql), err) != TR_OK)
            return TR_FAIL;
        stmt->prepared = true; /* within this pipeline; taken back if it fails */
    }
    if (PQsendQueryPrepared(link->conn, name, stmt->param_count, params->values, params->lengths,
                            params->formats, 0) != 1)
        return tr_pgs_fail(link, NULL, "could not send a statement", err);
    return remember(link, NULL, tag, params_bytes(stmt->param_count, params), err);
}

enum tr_status tr_pgs_pipe_sql(struct tr_pgs_link *link, const char *sql, int param_count,
                               const struct tr_pgs_params *params, uint32_t tag,
                               struct tr_error *err)
{
    static const struct tr_pgs_params none;
    if (params == NULL)
        params = &none;
    if (PQsendQueryParams(link->conn, sql, param_count, NULL, params->values, params->lengths,
                          params->formats, 0) != 1)
        return tr_pgs_fail(link, NULL, "could not send a statement", err);
    return remember(link, NULL, tag, strlen(sql) + params_bytes(param_count, params), err);
}

/* One command's result and its closing NULL. */
static enum tr_status take(struct tr_pgs_link *link, PGresult **result, struct tr_error *err)
{
    PGresult *end = NULL;
    if (tr_pgs_next_result(link, result, err) != TR_OK)
        return TR_FAIL;
    if (*result == NULL)
        return tr_pgs_fail(link, NULL, "the target sent no result", err);
    if (PQresultStatus(*result) == PGRES_PIPELINE_SYNC)
        return TR_OK;
    if (tr_pgs_next_result(link, &end, err) != TR_OK) {
        PQclear(*result);
        *result = NULL;
        return TR_FAIL;
    }
    PQclear(end);
    return TR_OK;
}

enum tr_status tr_pgs_pipe_sync(struct tr_pgs_link *link, tr_pgs_done_fn done, void *ctx,
                                uint32_t *failed_tag, struct tr_error *err)
{
    enum tr_status status = TR_OK;
    struct tr_error other;
    PGresult *result;
    if (PQpipelineSync(link->conn) != 1)
        return tr_pgs_fail(link, NULL, "could not send to the target", err);
    for (uint32_t i = 0; i < link->queued_count; i++) {
        const struct tr_pgs_queued *queued = &link->queued[i];
        if (take(link, &result, status == TR_OK ? err : &other) != TR_OK)
            goto lost;
        ExecStatusType outcome = PQresultStatus(result);
        bool good = outcome == PGRES_COMMAND_OK || outcome == PGRES_TUPLES_OK;
        if (!good && queued->prepares != NULL)
            queued->prepares->prepared = false;
        if (!good && status == TR_OK) {
            status = tr_pgs_fail(link, result, "could not apply changes", err);
            if (failed_tag != NULL)
                *failed_tag = queued->tag;
        } else if (good && queued->prepares == NULL && done != NULL) {
            const char *rows = PQcmdTuples(result);
            done(ctx, queued->tag, *rows == '\0' ? 0 : strtol(rows, NULL, 10), PQcmdStatus(result));
        }
        bool fatal = !good && PQstatus(link->conn) == CONNECTION_BAD;
        PQclear(result);
        if (fatal)
            return TR_FAIL;
    }
    link->queued_count = 0;
    if (take(link, &result, status == TR_OK ? err : &other) != TR_OK)
        goto lost;
    PQclear(result);
    return status;
lost:
    if (status == TR_FAIL)
        link->sqlstate[0] = '\0'; /* whatever the first failure was, the connection is gone */
    return TR_FAIL;
}

enum tr_status tr_pgs_pipe_end(struct tr_pgs_link *link, struct tr_error *err)
{
    if (PQpipelineStatus(link->conn) == PQ_PIPELINE_OFF)
        return TR_OK;
    if (PQexitPipelineMode(link->conn) != 1)
        return tr_pgs_fail(link, NULL, "could not end a pipeline", err);
    return TR_OK;
}

void tr_pgs_stmt_free(struct tr_pgs_link *link, struct tr_pgs_stmt *stmt)
{
    if (stmt->prepared && link != NULL && tr_pgs_link_alive(link) &&
        PQtransactionStatus(link->conn) != PQTRANS_ACTIVE &&
        PQtransactionStatus(link->conn) != PQTRANS_INERROR &&
        PQpipelineStatus(link->conn) == PQ_PIPELINE_OFF) {
        char sql[48];
        struct tr_error ignored;
        (void)snprintf(sql, sizeof sql, "DEALLOCATE tr_%u", stmt->number);
        if (tr_pgs_exec(link, sql, "could not deallocate", NULL, &ignored) != TR_OK)
            stmt->prepared = false; /* the session's end frees it */
    }
    free(stmt->sql);
    *stmt = (struct tr_pgs_stmt){0};
}
