#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "decode_json_support.h"

void bench_list(struct tr_string_list *list, const char *const *items, size_t count)
{
    list->items = items;
    list->count = count;
}

void bench_init(struct bench *bench, int format)
{
    *bench = (struct bench){0};
    tr_decoder_options_default(&bench->options);
    bench->options.format = format;
    bench->context = (struct tr_decoder_context){
        .pipeline_name = "test", .namespace = "", .schema = "", .table = "users"};
    bench->split = (struct tr_split){.name = "users_cdc/0", .container = "users_cdc"};
    bench->ops = tr_decoder_find(format);
    assert_non_null(bench->ops);
    assert_int_equal(tr_batch_new(&bench->batch, &bench->err), TR_OK);
}

enum tr_status bench_try_open(struct bench *bench)
{
    return bench->ops->open(&bench->options, &bench->context, &bench->decoder, &bench->err);
}

void bench_open(struct bench *bench)
{
    if (bench_try_open(bench) != TR_OK)
        fail_msg("open: %s", bench->err.message);
}

void bench_free(struct bench *bench)
{
    bench->ops->close(bench->decoder);
    tr_batch_free(bench->batch);
    tr_outbuf_free(&bench->out);
}

/* ---- events as text ------------------------------------------------------------------------- */

static void put_column(struct tr_outbuf *out, const struct tr_column *column)
{
    tr_outbuf_printf(out, "%s %s", column->name, tr_type_name(column->type));
    if (column->type == TR_T_DECIMAL && column->precision > 0)
        tr_outbuf_printf(out, "(%d,%d)", column->precision, column->scale);
    if (column->length > 0)
        tr_outbuf_printf(out, "(%d)", column->length);
    if (column->key_index > 0)
        tr_outbuf_printf(out, " key%d", column->key_index);
    if (!column->nullable && column->key_index == 0)
        tr_outbuf_lit(out, " not null");
    if (column->hidden)
        tr_outbuf_lit(out, " hidden");
}

static void put_table_name(struct tr_outbuf *out, const struct tr_table *table)
{
    char name[1024];
    if (table->id.namespace[0] != '\0')
        tr_outbuf_printf(out, "%s.", table->id.namespace);
    tr_outbuf_str(out, tr_table_id_format(&table->id, name, sizeof name));
}

static void put_item(struct tr_outbuf *out, const struct tr_table *before,
                     const struct tr_table *after, const struct tr_alter_item *item)
{
    const struct tr_column *was = &before->columns[item->before_index];
    const struct tr_column *is = &after->columns[item->after_index];
    switch (item->kind) {
    case TR_ALTER_ADD_COLUMN:
        tr_outbuf_lit(out, " add ");
        put_column(out, is);
        break;
    case TR_ALTER_COLUMN_TYPE:
        tr_outbuf_printf(out, " type %s %s -> %s", is->name, tr_type_name(was->type),
                         tr_type_name(is->type));
        break;
    case TR_ALTER_COLUMN_NULLABLE:
        tr_outbuf_printf(out, " nullable %s %s", is->name, is->nullable ? "yes" : "no");
        break;
    case TR_ALTER_DROP_COLUMN:
        tr_outbuf_printf(out, " drop %s", was->name);
        break;
    default:
        tr_outbuf_printf(out, " item%d", item->kind);
    }
    tr_outbuf_byte(out, ';');
}

static void put_change(struct tr_outbuf *out, const struct tr_event *event)
{
    const struct tr_table *table = event->table;
    bool create = event->change->kind == TR_CHANGE_CREATE_TABLE;
    tr_outbuf_str(out, create ? "create " : "alter ");
    put_table_name(out, table);
    tr_outbuf_printf(out, " v%u", table->version);
    for (uint32_t i = 0; i < event->change->item_count; i++)
        put_item(out, event->change->before, table, &event->change->items[i]);
    for (uint16_t i = 0; create && i < table->column_count; i++) {
        tr_outbuf_str(out, i == 0 ? " (" : ", ");
        put_column(out, &table->columns[i]);
    }
    tr_outbuf_str(out, create ? ")\n" : "\n");
}

static void put_cell(struct tr_outbuf *out, const struct tr_column *column,
                     const struct tr_cell *cell)
{
    static const char states[] = {
        [TR_CELL_NULL] = '~', [TR_CELL_UNCHANGED] = '?', [TR_CELL_ABSENT] = '-'};
    if (cell->state < TR_CELL_TEXT) {
        tr_outbuf_byte(out, states[cell->state]);
        return;
    }
    bool quoted = column->type == TR_T_STRING;
    if (quoted)
        tr_outbuf_byte(out, '\'');
    if (cell->state == TR_CELL_BINARY)
        tr_outbuf_lit(out, "0x");
    for (uint32_t i = 0; i < cell->len; i++) {
        if (cell->state == TR_CELL_BINARY)
            tr_outbuf_printf(out, "%02x", (uint8_t)cell->ptr[i]);
        else
            tr_outbuf_byte(out, cell->ptr[i]);
    }
    if (quoted)
        tr_outbuf_byte(out, '\'');
}

static void put_image(struct tr_outbuf *out, const char *name, const struct tr_table *table,
                      const struct tr_cell *cells)
{
    if (cells == NULL)
        return;
    tr_outbuf_printf(out, " %s", name);
    for (uint16_t i = 0; i < table->column_count; i++) {
        if (table->columns[i].hidden && cells[i].state == TR_CELL_NULL)
            continue;
        tr_outbuf_printf(out, " %s=", table->columns[i].name);
        put_cell(out, &table->columns[i], &cells[i]);
    }
}

static void put_event(struct bench *bench, const struct tr_event *event)
{
    struct tr_outbuf *out = &bench->out;
    if (event->op == TR_OP_SCHEMA) {
        put_change(out, event);
        return;
    }
    tr_outbuf_printf(out, "%c ", event->op);
    put_table_name(out, event->table);
    put_image(out, "before", event->table, event->before);
    put_image(out, "after", event->table, event->after);
    if ((event->flags & TR_EV_BEFORE_KEY_ONLY) != 0)
        tr_outbuf_lit(out, " [key-only]");
    if ((event->flags & TR_EV_KEY_CHANGED) != 0)
        tr_outbuf_lit(out, " [key-changed]");
    if (bench->show_ts && event->ts_us == TR_TIME_NONE)
        tr_outbuf_lit(out, " ts=none");
    else if (bench->show_ts)
        tr_outbuf_printf(out, " ts=%lld", (long long)event->ts_us);
    tr_outbuf_byte(out, '\n');
}

/* ---- feeding -------------------------------------------------------------------------------- */

const char *bench_feed_bytes(struct bench *bench, struct tr_slice key, struct tr_slice value)
{
    /* exact copies, so that the address sanitizer sees a read beyond them */
    struct tr_message message = {.split = &bench->split, .ts_us = TR_TIME_NONE};
    char *value_copy = malloc(value.len + 1), *key_copy = malloc(key.len + 1);
    assert_true(value_copy != NULL && key_copy != NULL);
    if (value.ptr != NULL) {
        memcpy(value_copy + 1, value.ptr, value.len);
        message.value = (struct tr_slice){value_copy + 1, value.len};
    }
    if (key.ptr != NULL) {
        memcpy(key_copy + 1, key.ptr, key.len);
        message.key = (struct tr_slice){key_copy + 1, key.len};
    }
    tr_batch_reset(bench->batch);
    tr_outbuf_clear(&bench->out);
    enum tr_status status = bench->ops->decode(bench->decoder, &message, bench->batch, &bench->err);
    if (status == TR_OK) {
        for (uint32_t i = 0; i < bench->batch->event_count; i++)
            put_event(bench, &bench->batch->events[i]);
    } else {
        assert_int_equal(bench->batch->event_count, 0);
        tr_outbuf_printf(&bench->out, "fail %s: %s", tr_error_info(bench->err.code)->name,
                         bench->err.message);
        if (bench->err.detail[0] != '\0')
            tr_outbuf_printf(&bench->out, " (%s)", bench->err.detail);
        tr_outbuf_byte(&bench->out, '\n');
    }
    free(value_copy);
    free(key_copy);
    return tr_outbuf_cstr(&bench->out);
}

const char *bench_feed_key(struct bench *bench, const char *key, const char *value)
{
    return bench_feed_bytes(bench, tr_slice_of(key), tr_slice_of(value));
}

const char *bench_feed(struct bench *bench, const char *value)
{
    return bench_feed_key(bench, NULL, value);
}

const char *bench_marks(struct bench *bench)
{
    const struct tr_mark *marks;
    uint32_t count;
    tr_batch_reset(bench->batch);
    tr_outbuf_clear(&bench->out);
    assert_int_equal(
        bench->ops->schema_marks(bench->decoder, bench->batch, &marks, &count, &bench->err), TR_OK);
    for (uint32_t i = 0; i < count; i++) {
        tr_outbuf_bytes(&bench->out, marks[i].key.ptr, marks[i].key.len);
        tr_outbuf_byte(&bench->out, '=');
        tr_outbuf_bytes(&bench->out, marks[i].value.ptr, marks[i].value.len);
        tr_outbuf_byte(&bench->out, '\n');
    }
    return tr_outbuf_cstr(&bench->out);
}

void bench_restart(struct bench *bench)
{
    const struct tr_mark *marks;
    uint32_t count;
    struct tr_state state;
    tr_state_init(&state);
    tr_batch_reset(bench->batch);
    assert_int_equal(
        bench->ops->schema_marks(bench->decoder, bench->batch, &marks, &count, &bench->err), TR_OK);
    for (uint32_t i = 0; i < count; i++)
        assert_int_equal(tr_state_apply(&state, marks[i].key, marks[i].value, &bench->err), TR_OK);
    bench->ops->close(bench->decoder);
    bench_open(bench);
    if (bench->ops->restore(bench->decoder, &state, &bench->err) != TR_OK)
        fail_msg("restore: %s", bench->err.message);
    tr_state_free(&state);
}
