#include "transform_support.h"

static enum tr_type type_named(const char *name)
{
    for (int type = 0; type < TR_T_COUNT; type++) {
        if (strcmp(tr_type_name((enum tr_type)type), name) == 0)
            return (enum tr_type)type;
    }
    fail_msg("no type %s", name);
    return TR_T_OTHER;
}

static bool word(const char *at, const char *want) { return strstr(at, want) != NULL; }

struct tr_table *table_made(const char *name, const char *columns)
{
    static char copy[8192], texts[200][64];
    struct tr_column made[200];
    struct tr_table *table;
    struct tr_error err;
    uint16_t count = 0, keys = 0;
    (void)snprintf(copy, sizeof copy, "%s", columns);
    char *save = NULL;
    for (char *at = strtok_r(copy, ";", &save); at != NULL;
         at = strtok_r(NULL, ";", &save), count++) {
        int precision = 0, scale = 0;
        char type[64] = "", rest[128] = "";
        while (*at == ' ')
            at++;
        assert_true(sscanf(at, "%63s %63[A-Z0-9] %127[^\n]", texts[count], type, rest) >= 2);
        const char *open = strchr(at, '(');
        if (open != NULL)
            (void)sscanf(open, "(%d,%d)", &precision, &scale);
        else if (strncmp(type, "TIME", 4) == 0)
            precision = -1;
        made[count] = (struct tr_column){.name = texts[count],
                                         .type = type_named(type),
                                         .elem_type = TR_T_OTHER,
                                         .source_type = "x",
                                         .source_type_base = "x",
                                         .source_typmod = -1,
                                         .precision = precision,
                                         .scale = scale,
                                         .length = type_named(type) == TR_T_STRING ? precision : 0,
                                         .nullable = !word(at, " key"),
                                         .hidden = word(at, " hidden"),
                                         .key_index = word(at, " key") ? ++keys : 0};
    }
    const struct tr_table spec = {.id = {"db", "shop", name},
                                  .source_id = 7,
                                  .version = 1,
                                  .column_count = count,
                                  .columns = made,
                                  .replica_identity = TR_RI_FULL,
                                  .key_is_primary = true};
    assert_int_equal(tr_table_new(&spec, &table, &err), TR_OK);
    return table;
}

struct tr_cell *cells_made(struct tr_batch *batch, const struct tr_table *table, const char *row)
{
    struct tr_cell *cells = tr_batch_cells(batch, table->column_count);
    for (uint16_t i = 0; i < table->column_count; i++) {
        size_t len = strcspn(row, "|");
        cells[i] = (struct tr_cell){.state = TR_CELL_TEXT};
        if (len == 4 && memcmp(row, "NULL", 4) == 0)
            cells[i].state = TR_CELL_NULL;
        else if (len == 9 && memcmp(row, "UNCHANGED", 9) == 0)
            cells[i].state = TR_CELL_UNCHANGED;
        else if (len == 6 && memcmp(row, "ABSENT", 6) == 0)
            cells[i].state = TR_CELL_ABSENT;
        if (cells[i].state == TR_CELL_TEXT) {
            /* malloc'd and exactly as long as it is: reading one byte too far is seen */
            char *copy = malloc(len == 0 ? 1 : len);
            memcpy(copy, row, len);
            assert_true(tr_batch_hold(batch, copy, 0, free));
            cells[i].ptr = copy;
            cells[i].len = (uint32_t)len;
        }
        row += len;
        assert_true(i + 1 == table->column_count ? *row == '\0' : *row == '|');
        row++;
    }
    return cells;
}

static size_t add(char *buf, size_t size, size_t len, const char *text)
{
    int n = snprintf(buf + len, size - len, "%s", text);
    return len + (size_t)n < size ? len + (size_t)n : size - 1;
}

static size_t image_text(const struct tr_table *table, const struct tr_cell *cells, char *buf,
                         size_t size, size_t len)
{
    static const char *const states[] = {"NULL", "UNCHANGED", "ABSENT"};
    if (cells == NULL)
        return add(buf, size, len, "-");
    for (uint16_t i = 0; i < table->column_count; i++) {
        len = add(buf, size, len, i > 0 ? "|" : "");
        if (cells[i].state == TR_CELL_TEXT || cells[i].state == TR_CELL_BINARY) {
            char text[256];
            (void)snprintf(text, sizeof text, "%.*s", (int)cells[i].len, cells[i].ptr);
            len = add(buf, size, len, text);
        } else {
            len = add(buf, size, len, states[cells[i].state]);
        }
    }
    return len;
}

void table_text(const struct tr_table *table, char *buf, size_t size)
{
    size_t len = add(buf, size, 0, table->id.table);
    len = add(buf, size, len, "(");
    for (uint16_t i = 0; i < table->column_count; i++) {
        const struct tr_column *column = &table->columns[i];
        char text[160];
        (void)snprintf(text, sizeof text, "%s%s %s%s%s", i > 0 ? ", " : "", column->name,
                       tr_type_name(column->type), column->nullable ? "" : " not null",
                       column->hidden ? " hidden" : "");
        len = add(buf, size, len, text);
        if (column->key_index > 0) {
            (void)snprintf(text, sizeof text, " key%d", column->key_index);
            len = add(buf, size, len, text);
        }
    }
    (void)add(buf, size, len, ")");
}

static size_t change_text(const struct tr_event *event, char *buf, size_t size, size_t len)
{
    static const char *const kinds[] = {"CREATE", "ALTER", "RENAME", "DROP"};
    static const char *const items[] = {"add",      "drop",    "rename", "type",
                                        "nullable", "default", "key"};
    const struct tr_schema_change *change = event->change;
    char text[1024];
    len = add(buf, size, len, kinds[change->kind]);
    for (uint32_t i = 0; i < change->item_count; i++) {
        const struct tr_alter_item *item = &change->items[i];
        const char *name = item->kind == TR_ALTER_KEY ? ""
                           : item->kind == TR_ALTER_DROP_COLUMN
                               ? change->before->columns[item->before_index].name
                               : event->table->columns[item->after_index].name;
        (void)snprintf(text, sizeof text, " %s:%s", items[item->kind], name);
        len = add(buf, size, len, text);
    }
    len = add(buf, size, len, " ");
    table_text(event->table, text, sizeof text);
    return add(buf, size, len, text);
}

void event_text(const struct tr_event *event, char *buf, size_t size)
{
    char op[3] = {(char)event->op, ' ', '\0'};
    size_t len = add(buf, size, 0, op);
    if (event->op == TR_OP_SCHEMA) {
        (void)change_text(event, buf, size, len);
        return;
    }
    if (event->table == NULL)
        return;
    len = image_text(event->table, event->before, buf, size, len);
    len = add(buf, size, len, " ");
    len = image_text(event->table, event->after, buf, size, len);
    if (event->flags & TR_EV_KEY_CHANGED)
        len = add(buf, size, len, " key-changed");
    if (event->flags & TR_EV_BEFORE_KEY_ONLY)
        len = add(buf, size, len, " key-only");
}
