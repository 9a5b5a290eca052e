/* Environment and programs: SQLite's connection, kernels registered with it, one prepared statement
 * per program, rows bound to it. The statement is SELECT output, … WHERE filter without a FROM: a
 * row that the filter refuses has no outputs computed. */
#include "transform/program.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/outbuf.h"

#define SCRATCH_BLOCK_BYTES (16u << 10)
#define SCRATCH_KEEP_BYTES (1u << 20)
#define SQL_DEPTH_MAX 4000
#define CELL_NUMBER_TEXT 48

/* ---- kernels ------------------------------------------------------------------------------------
 */

struct bound_kernel {
    struct tx_env *env;
    const struct tx_kernel *kernel;
};

static struct tx_val val_of(sqlite3_value *value)
{
    switch (sqlite3_value_type(value)) {
    case SQLITE_INTEGER:
        return tx_int(sqlite3_value_int64(value));
    case SQLITE_FLOAT:
        return tx_dbl(sqlite3_value_double(value));
    case SQLITE_TEXT: {
        /* as a blob: asked for as text, SQLite would copy it to put a NUL behind it */
        const char *text = sqlite3_value_blob(value);
        return tx_text(text == NULL ? "" : text, (size_t)sqlite3_value_bytes(value));
    }
    case SQLITE_BLOB: {
        const char *bytes = sqlite3_value_blob(value);
        return tx_blob(bytes == NULL ? "" : bytes, (size_t)sqlite3_value_bytes(value));
    }
    default:
        return tx_null();
    }
}

static void give(sqlite3_context *context, const struct tx_val *value)
{
    switch (value->kind) {
    case TX_VAL_INT:
        sqlite3_result_int64(context, value->i);
        break;
    case TX_VAL_DBL:
        if (value->d != value->d)
            sqlite3_result_text(context, "NaN", 3, SQLITE_STATIC);
        else
            sqlite3_result_double(context, value->d);
        break;
    case TX_VAL_TEXT: /* scratch, an argument or the program: all live until the row is done */
        sqlite3_result_text(context, value->p, (int)value->len, SQLITE_STATIC);
        break;
    case TX_VAL_BLOB:
        sqlite3_result_blob(context, value->p, (int)value->len, SQLITE_STATIC);
        break;
    default:
        sqlite3_result_null(context);
    }
}

/* Whether the text lies in an argument: SQLite may free those behind the call. */
static bool is_argument(const struct tx_val *value, const struct tx_val *args, int count)
{
    if (value->kind != TX_VAL_TEXT && value->kind != TX_VAL_BLOB)
        return false;
    for (int i = 0; i < count; i++) {
        if ((args[i].kind == TX_VAL_TEXT || args[i].kind == TX_VAL_BLOB) && value->p >= args[i].p &&
            value->p <= args[i].p + args[i].len)
            return true;
    }
    return false;
}

static void run_kernel(sqlite3_context *context, int count, sqlite3_value **values)
{
    const struct bound_kernel *bound = sqlite3_user_data(context);
    struct tx_env *env = bound->env;
    struct tx_val args[TX_CALL_ARGUMENTS_MAX];
    if (count < 1 || count > (int)TX_CALL_ARGUMENTS_MAX || env->program == NULL) {
        sqlite3_result_error(context, "kernel", -1);
        return;
    }
    struct tx_site *site = &env->program->sites[sqlite3_value_int(values[0])];
    for (int i = 1; i < count; i++) {
        args[i - 1] = val_of(values[i]);
        if (args[i - 1].kind == TX_VAL_NULL && !bound->kernel->takes_null) {
            sqlite3_result_null(context);
            return;
        }
    }
    struct tx_call call = {env, site, args, (uint32_t)count - 1, tx_null()};
    if (!bound->kernel->run(&call)) {
        sqlite3_result_error(context, "kernel", -1);
        return;
    }
    if (is_argument(&call.result, args, count - 1)) {
        char *copy = tx_call_alloc(&call, call.result.len);
        if (copy == NULL) {
            sqlite3_result_error(context, "kernel", -1);
            return;
        }
        memcpy(copy, call.result.p, call.result.len);
        call.result.p = copy;
    }
    give(context, &call.result);
}

bool tx_call_fail(struct tx_call *call, const char *format, ...)
{
    struct tx_env *env = call->env;
    va_list args;
    va_start(args, format);
    (void)vsnprintf(env->failure, sizeof env->failure, format, args);
    va_end(args);
    env->failed = true;
    env->failed_code = TR_E_TRANSFORM_VALUE;
    env->failed_site = call->site;
    return false;
}

char *tx_call_alloc(struct tx_call *call, size_t bytes)
{
    if (bytes > TX_TEXT_BYTES_MAX) {
        (void)tx_call_fail(call, "the text would be longer than %u MiB", TX_TEXT_BYTES_MAX >> 20);
        return NULL;
    }
    char *text = tr_arena_alloc(&call->env->scratch, bytes + 1, 8);
    if (text == NULL) {
        (void)tx_call_fail(call, "no memory for a value");
        call->env->failed_code = TR_E_OUT_OF_MEMORY;
    }
    return text;
}

bool tx_call_text(struct tx_call *call, const char *text, size_t len)
{
    char *copy = tx_call_alloc(call, len);
    if (copy == NULL)
        return false;
    if (len > 0)
        memcpy(copy, text, len);
    call->result = tx_text(copy, len);
    return true;
}

/* ---- environment --------------------------------------------------------------------------------
 */

static void free_bound(void *bound) { free(bound); }

static bool add_kernels(struct tx_env *env, const struct tx_kernel *kernels)
{
    for (; kernels->name != NULL; kernels++) {
        struct bound_kernel *bound = malloc(sizeof *bound);
        if (bound == NULL)
            return false;
        *bound = (struct bound_kernel){env, kernels};
        /* not SQLITE_DETERMINISTIC: SQLite would move calls without columns out of CASE */
        if (sqlite3_create_function_v2(env->db, kernels->name, -1, SQLITE_UTF8, bound, run_kernel,
                                       NULL, NULL, free_bound) != SQLITE_OK)
            return false;
    }
    return true;
}

enum tr_status tx_env_new(const char *time_zone, struct tx_env **out, struct tr_error *err)
{
    struct tx_env *env = calloc(1, sizeof *env);
    if (env == NULL)
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for transforms");
    tr_arena_init(&env->scratch, SCRATCH_BLOCK_BYTES, SCRATCH_KEEP_BYTES);
    if (tx_zone_open(time_zone, &env->zone, err) != TR_OK)
        goto fail;
    int flags =
        SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_MEMORY | SQLITE_OPEN_NOMUTEX;
    if (sqlite3_open_v2(":memory:", &env->db, flags, NULL) != SQLITE_OK ||
        !add_kernels(env, tx_kernels_text) || !add_kernels(env, tx_kernels_number) ||
        !add_kernels(env, tx_kernels_time)) {
        (void)tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for transforms");
        goto fail;
    }
    (void)sqlite3_limit(env->db, SQLITE_LIMIT_EXPR_DEPTH, SQL_DEPTH_MAX);
    *out = env;
    return TR_OK;
fail:
    tx_env_free(env);
    return TR_FAIL;
}

void tx_env_free(struct tx_env *env)
{
    if (env == NULL)
        return;
    (void)sqlite3_close_v2(env->db);
    tx_zone_free(env->zone);
    tr_arena_free(&env->scratch);
    free(env);
}

/* ---- preparing ----------------------------------------------------------------------------------
 */

static enum tr_status prepare(struct tx_program *program, const char *sql, size_t len,
                              sqlite3_stmt **out, struct tr_error *err)
{
    if (len > INT32_MAX || sqlite3_prepare_v3(program->env->db, sql, (int)len,
                                              SQLITE_PREPARE_PERSISTENT, out, NULL) != SQLITE_OK) {
        (void)tr_fail_as(err, TR_CONFIG, TR_E_TRANSFORM_LIMIT,
                         "the expressions of table %.100s are too large", program->table->id.table);
        return tr_detail(err, "SQLite: %.300s", sqlite3_errmsg(program->env->db));
    }
    return TR_OK;
}

/* SELECT every output that is computed [WHERE filter]. Every parameter is named once, so that all
 * statements number them alike. */
static enum tr_status prepare_all(struct tx_program *program, bool filtered, sqlite3_stmt **out,
                                  struct tr_error *err)
{
    struct tr_outbuf sql = {0};
    tr_outbuf_lit(&sql, "SELECT ");
    for (uint32_t i = 0; i < program->computed_count; i++) {
        if (i > 0)
            tr_outbuf_byte(&sql, ',');
        tr_outbuf_str(&sql, program->outputs[program->computed[i]].sql);
    }
    if (program->computed_count == 0)
        tr_outbuf_byte(&sql, '1');
    if (filtered)
        tr_outbuf_printf(&sql, " WHERE %s", program->filter.sql);
    enum tr_status status = sql.failed
                                ? tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for an expression")
                                : prepare(program, sql.data, sql.len, out, err);
    tr_outbuf_free(&sql);
    return status;
}

static enum tr_status prepare_alone(struct tx_program *program, struct tx_output *output,
                                    struct tr_error *err)
{
    if (output->alone != NULL)
        return TR_OK;
    struct tr_outbuf sql = {0};
    tr_outbuf_lit(&sql, "SELECT ");
    tr_outbuf_str(&sql, output->sql);
    enum tr_status status = sql.failed
                                ? tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for an expression")
                                : prepare(program, sql.data, sql.len, &output->alone, err);
    tr_outbuf_free(&sql);
    return status;
}

/* ---- rows ---------------------------------------------------------------------------------------
 */

static enum tr_status row_failure(struct tx_program *program, struct tr_error *err)
{
    struct tx_env *env = program->env;
    if (env->failed) {
        const struct tx_site *site = env->failed_site;
        env->failed = false;
        return tx_fail_at(err, env->failed_code, site->origin, site->at, "%s", env->failure);
    }
    if (sqlite3_errcode(env->db) == SQLITE_NOMEM)
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for an expression");
    /* SQLite's own words may hold the row's values */
    return tr_fail(err, TR_E_TRANSFORM_VALUE,
                   "an expression failed in SQLite: a text that is not JSON, a path of JSON that "
                   "is none, or a "
                   "value that is too large");
}

static const char event_types[][3] = {"+I", "+U", "-D"};

static struct tx_val meta_value(const struct tx_row *row, enum tx_meta meta,
                                struct tr_arena *scratch)
{
    const struct tr_event *event = row->event;
    const struct tr_message *message = event->message;
    const char *text = NULL;
    switch (meta) {
    case TX_META_NAMESPACE:
        text = event->table->id.namespace;
        break;
    case TX_META_SCHEMA:
        text = event->table->id.schema;
        break;
    case TX_META_TABLE:
        text = event->table->id.table;
        break;
    case TX_META_EVENT_TYPE:
        text = event_types[row->op == TR_OP_DELETE ? 2 : row->op == TR_OP_UPDATE ? 1 : 0];
        break;
    case TX_META_OP: {
        char *op = tr_arena_strndup(scratch, (const char *)&row->op, 1);
        return op == NULL ? tx_null() : tx_text(op, 1);
    }
    case TX_META_EVENT_TS:
        return event->ts_us == TR_TIME_NONE ? tx_null() : tx_int(event->ts_us);
    case TX_META_TOPIC:
        text = message == NULL ? NULL : message->split->container;
        break;
    case TX_META_PARTITION:
        return message == NULL ? tx_null() : tx_int(message->split->partition);
    case TX_META_OFFSET:
        return message == NULL ? tx_null() : tx_int(message->position);
    case TX_META_TIMESTAMP:
        return message == NULL || message->ts_us == TR_TIME_NONE ? tx_null()
                                                                 : tx_int(message->ts_us);
    case TX_META_KEY:
        return message == NULL || message->key.ptr == NULL
                   ? tx_null()
                   : tx_text(message->key.ptr, message->key.len);
    case TX_META_COUNT:
        break;
    }
    return text == NULL ? tx_null() : tx_text(text, strlen(text));
}

/* The cell of an image that an expression sees; an update's UNCHANGED value is the one before it.
 */
static const struct tr_cell *seen_cell(const struct tx_row *row, uint16_t column)
{
    const struct tr_cell *cell = &row->cells[column];
    if (cell->state == TR_CELL_UNCHANGED && row->before != NULL &&
        row->before[column].state != TR_CELL_ABSENT)
        return &row->before[column];
    return cell;
}

static void bind_value(sqlite3_stmt *statement, int parameter, const struct tx_val *value)
{
    switch (value->kind) {
    case TX_VAL_INT:
        (void)sqlite3_bind_int64(statement, parameter, value->i);
        break;
    case TX_VAL_DBL:
        if (value->d != value->d)
            (void)sqlite3_bind_text(statement, parameter, "NaN", 3, SQLITE_STATIC);
        else
            (void)sqlite3_bind_double(statement, parameter, value->d);
        break;
    case TX_VAL_TEXT:
        (void)sqlite3_bind_text(statement, parameter, value->p, (int)value->len, SQLITE_STATIC);
        break;
    case TX_VAL_BLOB:
        (void)sqlite3_bind_blob(statement, parameter, value->p, (int)value->len, SQLITE_STATIC);
        break;
    default:
        (void)sqlite3_bind_null(statement, parameter);
    }
}

/* states: per input 0 when it has a value or is NULL, else UNCHANGED or ABSENT. */
static enum tr_status read_inputs(struct tx_program *program, const struct tx_row *row,
                                  struct tx_val *values, uint8_t *states, struct tr_error *err)
{
    for (uint32_t i = 0; i < program->input_count; i++) {
        const struct tx_input *input = &program->inputs[i];
        states[i] = 0;
        values[i] = tx_null();
        if (input->is_meta) {
            values[i] = meta_value(row, input->meta, &program->env->scratch);
            continue;
        }
        const struct tr_cell *cell = seen_cell(row, input->column);
        if (cell->state == TR_CELL_NULL)
            continue;
        if (cell->state == TR_CELL_UNCHANGED || cell->state == TR_CELL_ABSENT)
            states[i] = cell->state;
        else if (!tx_cell_value(input->kind, cell, &program->env->scratch, &values[i]))
            return tr_fail(
                err, TR_E_TRANSFORM_VALUE,
                "column %.100s holds a value that an expression cannot take (no %s, or beyond its "
                "range)",
                program->table->columns[input->column].name, tx_kind_name(input->kind));
    }
    return TR_OK;
}

static uint8_t output_state(const struct tx_output *output, const uint8_t *states)
{
    uint8_t worst = 0;
    for (uint32_t i = 0; i < output->input_count; i++) {
        uint8_t state = states[output->inputs[i]];
        if (state == TR_CELL_ABSENT || worst == 0)
            worst = state != 0 ? state : worst;
    }
    return worst;
}

/* ---- results ------------------------------------------------------------------------------------
 */

static void result_text(enum tx_kind kind, enum tr_type type, const struct tx_val *value, char *buf,
                        struct tr_slice *out)
{
    size_t len = 0;
    switch (value->kind) {
    case TX_VAL_TEXT:
    case TX_VAL_BLOB:
        *out = (struct tr_slice){value->p, value->len};
        return;
    case TX_VAL_DBL:
        len = tx_double_write(value->d, type == TR_T_FLOAT32, buf);
        break;
    default:
        if (kind == TX_BOOL)
            buf[len++] = value->i != 0 ? 't' : 'f';
        else if (kind == TX_DATE)
            len = tx_date_write(value->i, buf);
        else if (kind == TX_TIME)
            len = tx_time_write(value->i, buf);
        else if (kind == TX_STAMP || kind == TX_INSTANT)
            len = tx_stamp_write(value->i, kind == TX_INSTANT, buf);
        else if (kind == TX_DBL)
            len = tx_double_write((double)value->i, type == TR_T_FLOAT32, buf);
        else
            len = tr_i64_text(value->i, buf);
    }
    *out = (struct tr_slice){buf, len};
}

static enum tr_status set_result(sqlite3_stmt *statement, int column,
                                 const struct tx_output *output, struct tr_arena *arena,
                                 struct tr_cell *cell, struct tr_error *err)
{
    char buf[CELL_NUMBER_TEXT > TX_TIME_TEXT_MAX ? CELL_NUMBER_TEXT : TX_TIME_TEXT_MAX];
    struct tx_val value;
    switch (sqlite3_column_type(statement, column)) {
    case SQLITE_NULL:
        *cell = (struct tr_cell){.state = TR_CELL_NULL};
        return TR_OK;
    case SQLITE_INTEGER:
        value = tx_int(sqlite3_column_int64(statement, column));
        break;
    case SQLITE_FLOAT:
        value = tx_dbl(sqlite3_column_double(statement, column));
        break;
    default: {
        const char *bytes = sqlite3_column_blob(statement, column);
        value =
            tx_text(bytes == NULL ? "" : bytes, (size_t)sqlite3_column_bytes(statement, column));
    }
    }
    struct tr_slice text;
    result_text(output->type.kind, output->type.type, &value, buf, &text);
    char *copy = tr_arena_strndup(arena, text.ptr, text.len);
    if (copy == NULL)
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for a computed value");
    *cell = (struct tr_cell){copy, (uint32_t)text.len,
                             output->type.kind == TX_BYTES ? TR_CELL_BINARY : TR_CELL_TEXT};
    return TR_OK;
}

/* ---- running ------------------------------------------------------------------------------------
 */

static void bind_all(struct tx_program *program, sqlite3_stmt *statement,
                     const struct tx_val *values)
{
    int count = sqlite3_bind_parameter_count(statement);
    for (int i = 0; i < count && i < (int)program->input_count; i++)
        bind_value(statement, i + 1, &values[i]);
}

static enum tr_status run_alone(struct tx_program *program, struct tx_output *output,
                                const struct tx_val *values, struct tr_arena *arena,
                                struct tr_cell *cell, struct tr_error *err)
{
    if (prepare_alone(program, output, err) != TR_OK)
        return TR_FAIL;
    bind_all(program, output->alone, values);
    int result = sqlite3_step(output->alone);
    enum tr_status status = result == SQLITE_ROW
                                ? set_result(output->alone, 0, output, arena, cell, err)
                                : row_failure(program, err);
    (void)sqlite3_reset(output->alone);
    return status;
}

/* Every input of the statement has a value: one step for all. */
static enum tr_status run_together(struct tx_program *program, bool filtered,
                                   const struct tx_val *values, struct tr_arena *arena,
                                   struct tr_cell *results, enum tx_pass *pass,
                                   struct tr_error *err)
{
    sqlite3_stmt **statement = filtered ? &program->all : &program->unfiltered;
    if (!filtered && program->computed_count == 0) {
        *pass = TX_PASSED;
        return TR_OK;
    }
    if (*statement == NULL && prepare_all(program, filtered, statement, err) != TR_OK)
        return TR_FAIL;
    bind_all(program, *statement, values);
    int result = sqlite3_step(*statement);
    enum tr_status status = TR_OK;
    if (result == SQLITE_DONE) {
        *pass = TX_REFUSED;
    } else if (result == SQLITE_ROW) {
        *pass = TX_PASSED;
        for (uint32_t i = 0; i < program->computed_count && status == TR_OK; i++) {
            uint32_t output = program->computed[i];
            status = set_result(*statement, (int)i, &program->outputs[output], arena,
                                &results[output], err);
        }
    } else {
        status = row_failure(program, err);
    }
    (void)sqlite3_reset(*statement);
    return status;
}

static enum tr_status run_apart(struct tx_program *program, bool filtered,
                                const struct tx_val *values, const uint8_t *states,
                                struct tr_arena *arena, struct tr_cell *results, enum tx_pass *pass,
                                struct tr_error *err)
{
    *pass = TX_PASSED;
    if (filtered && output_state(&program->filter, states) != 0) {
        *pass = TX_UNKNOWN;
    } else if (filtered) {
        struct tr_cell cell;
        if (run_alone(program, &program->filter, values, &program->env->scratch, &cell, err) !=
            TR_OK)
            return TR_FAIL;
        if (cell.state != TR_CELL_TEXT || cell.ptr[0] != 't') {
            *pass = TX_REFUSED;
            return TR_OK;
        }
    }
    for (uint32_t i = 0; i < program->computed_count; i++) {
        struct tx_output *output = &program->outputs[program->computed[i]];
        struct tr_cell *cell = &results[program->computed[i]];
        uint8_t state = output_state(output, states);
        if (state != 0)
            *cell = (struct tr_cell){.state = state};
        else if (run_alone(program, output, values, arena, cell, err) != TR_OK)
            return TR_FAIL;
    }
    return TR_OK;
}

enum tr_status tx_program_run(struct tx_program *program, const struct tx_row *row,
                              bool with_filter, struct tr_arena *arena, struct tr_cell *results,
                              enum tx_pass *pass, struct tr_error *err)
{
    struct tx_env *env = program->env;
    bool filtered = with_filter && program->filter.sql != NULL, together = true;
    tr_arena_reset(&env->scratch);
    struct tx_val *values =
        tr_arena_alloc(&env->scratch, (program->input_count + 1) * sizeof *values, 16);
    uint8_t *states = tr_arena_alloc(&env->scratch, program->input_count + 1, 1);
    if (values == NULL || states == NULL)
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for an expression");
    for (uint32_t i = 0; i < program->output_count; i++) {
        if (program->outputs[i].is_constant)
            results[i] = program->outputs[i].constant;
    }
    env->program = program;
    env->now_us = row->now_us;
    env->failed = false;
    if (read_inputs(program, row, values, states, err) != TR_OK)
        return TR_FAIL;
    for (uint32_t i = 0; i < program->input_count; i++)
        together = together && states[i] == 0;
    return together ? run_together(program, filtered, values, arena, results, pass, err)
                    : run_apart(program, filtered, values, states, arena, results, pass, err);
}

/* ---- making -------------------------------------------------------------------------------------
 */

static enum tr_status compute_constant(struct tx_program *program, struct tx_output *output,
                                       struct tr_error *err)
{
    struct tx_val none = tx_null();
    program->env->program = program;
    program->env->failed = false;
    tr_arena_reset(&program->env->scratch);
    if (run_alone(program, output, &none, &program->arena, &output->constant, err) != TR_OK) {
        err->class = TR_CONFIG; /* it would fail on every row */
        return TR_FAIL;
    }
    (void)sqlite3_finalize(output->alone);
    output->alone = NULL;
    return TR_OK;
}

static enum tr_status compile_output(struct tx_program *program, struct tx_node *node,
                                     struct tx_output *output, struct tr_error *err)
{
    if (tx_compile_sql(program, node, output, err) != TR_OK)
        return TR_FAIL;
    return output->is_constant ? compute_constant(program, output, err) : TR_OK;
}

static enum tr_status compile_filter(struct tx_program *program, const struct tx_source *source,
                                     struct tr_error *err)
{
    if (tx_compile_type(program, source->filter, source->named, source->named_count, err) != TR_OK)
        return TR_FAIL;
    if (source->filter->type.kind != TX_BOOL && source->filter->type.kind != TX_NULL) {
        (void)tx_fail_at(err, TR_E_TRANSFORM_TYPE, source->filter->origin, source->filter->at,
                         "a filter is a condition, and this is a %s",
                         tx_kind_name(source->filter->type.kind));
        return tr_hint(err, "Compare it with something: … = value, … IS NOT NULL.");
    }
    if (tx_compile_sql(program, source->filter, &program->filter, err) != TR_OK)
        return TR_FAIL;
    program->filter.type = tx_type_plain(TR_T_BOOLEAN);
    return TR_OK;
}

static enum tr_status compile_all(struct tx_program *program, const struct tx_source *source,
                                  struct tr_error *err)
{
    uint32_t count = source->output_count;
    program->outputs = calloc(count + 1, sizeof *program->outputs);
    program->computed = calloc(count + 1, sizeof *program->computed);
    if (program->outputs == NULL || program->computed == NULL)
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for an expression");
    program->output_count = count;
    for (uint32_t i = 0; i < count; i++) {
        if (tx_compile_type(program, source->outputs[i], NULL, 0, err) != TR_OK ||
            compile_output(program, source->outputs[i], &program->outputs[i], err) != TR_OK)
            return TR_FAIL;
        if (!program->outputs[i].is_constant)
            program->computed[program->computed_count++] = i;
    }
    for (uint32_t i = 0; i < program->input_count; i++) {
        const struct tx_input *input = &program->inputs[i];
        program->uses_op |=
            input->is_meta && (input->meta == TX_META_OP || input->meta == TX_META_EVENT_TYPE);
    }
    if (source->filter != NULL && compile_filter(program, source, err) != TR_OK)
        return TR_FAIL;
    /* at once, so that what is too large is told at start */
    if (program->filter.sql != NULL)
        return prepare_all(program, true, &program->all, err);
    return program->computed_count > 0 ? prepare_all(program, false, &program->unfiltered, err)
                                       : TR_OK;
}

enum tr_status tx_program_new(struct tx_env *env, const struct tx_source *source,
                              struct tx_program **out, struct tr_error *err)
{
    struct tx_program *program = calloc(1, sizeof *program);
    if (program == NULL)
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for an expression");
    program->env = env;
    program->table = tr_table_ref(source->table);
    program->arena = *source->arena;
    *source->arena = (struct tr_arena){.block_bytes = program->arena.block_bytes};
    if (compile_all(program, source, err) != TR_OK) {
        tx_program_free(program);
        return TR_FAIL;
    }
    *out = program;
    return TR_OK;
}

void tx_program_free(struct tx_program *program)
{
    if (program == NULL)
        return;
    for (uint32_t i = 0; i < program->output_count; i++)
        (void)sqlite3_finalize(program->outputs[i].alone);
    (void)sqlite3_finalize(program->filter.alone);
    (void)sqlite3_finalize(program->all);
    (void)sqlite3_finalize(program->unfiltered);
    for (uint32_t i = 0; i < program->site_count; i++)
        tx_regex_free(program->sites[i].regex);
    if (program->env->program == program)
        program->env->program = NULL;
    tr_table_unref(program->table);
    tr_arena_free(&program->arena);
    free(program->sites);
    free(program->inputs);
    free(program->outputs);
    free(program->computed);
    free(program);
}
