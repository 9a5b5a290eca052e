/* Rule × table → plan. `*` stands for the columns that are not hidden; an item that is named by the
 * user takes the place of one of the same name that `*` gave, as Flink CDC has it. */
#include "transform/plan.h"

#include <stdlib.h>

#define PLAN_BLOCK_BYTES (4u << 10)

void tx_rule_init(struct tx_rule *rule, const struct tr_transform_rule *spec)
{
    *rule = (struct tx_rule){
        .spec = spec,
        .projection = {spec->projection, spec->path, spec->projection_line, spec->projection_column,
                       "projection"},
        .filter = {spec->filter, spec->path, spec->filter_line, spec->filter_column, "filter"},
        .keys = {spec->primary_keys, spec->path, spec->keys_line, spec->keys_column,
                 "primary-keys"}};
    struct tx_origin *origins[] = {&rule->projection, &rule->filter, &rule->keys};
    for (size_t i = 0; i < sizeof origins / sizeof *origins; i++) {
        if (origins[i]->text != NULL &&
            origins[i]->text[strspn(origins[i]->text, " \t\r\n")] == '\0')
            origins[i]->text = NULL;
    }
}

enum tr_status tx_rule_check(const struct tx_rule *rule, struct tr_error *err)
{
    struct tr_arena arena;
    struct tx_items items;
    struct tx_node *filter;
    const char **names;
    uint32_t count;
    tr_arena_init(&arena, PLAN_BLOCK_BYTES, 0);
    enum tr_status status = TR_OK;
    if (rule->projection.text != NULL)
        status = tx_parse_projection(&rule->projection, &arena, &items, err);
    if (status == TR_OK && rule->filter.text != NULL)
        status = tx_parse_expression(&rule->filter, &arena, &filter, err);
    if (status == TR_OK && rule->keys.text != NULL)
        status = tx_parse_names(&rule->keys, &arena, &names, &count, err);
    tr_arena_free(&arena);
    return status;
}

/* ---- items --------------------------------------------------------------------------------------
 */

struct item {
    const char *name;
    int column;           /* of the source; -1: computed */
    struct tx_node *expr; /* NULL: from `*` */
    uint32_t at;
};
struct builder {
    struct tx_plan *plan;
    const struct tx_rule *rule;
    const struct tr_table *source;
    struct tr_arena arena;
    struct item *items;
    uint32_t count, capacity;
    struct tr_error *err;
};

static bool no_memory(struct builder *builder)
{
    (void)tr_fail(builder->err, TR_E_OUT_OF_MEMORY, "no memory for a transform");
    return false;
}

static bool add_item(struct builder *builder, struct item item)
{
    for (uint32_t i = 0; i < builder->count; i++) {
        if (strcmp(builder->items[i].name, item.name) != 0)
            continue;
        if (item.expr == NULL)
            return true;
        if (builder->items[i].expr != NULL) {
            (void)tx_fail_at(builder->err, TR_E_TRANSFORM_SYNTAX, &builder->rule->projection,
                             item.at, "the result has a column %.80s already", item.name);
            return false;
        }
        builder->items[i] = item;
        return true;
    }
    if (builder->count == builder->capacity) {
        uint32_t capacity = builder->capacity == 0 ? 32 : builder->capacity * 2;
        struct item *items = realloc(builder->items, capacity * sizeof *items);
        if (items == NULL)
            return no_memory(builder);
        builder->items = items;
        builder->capacity = capacity;
    }
    builder->items[builder->count++] = item;
    return true;
}

static bool add_star(struct builder *builder)
{
    for (int i = 0; i < builder->source->column_count; i++) {
        const struct tr_column *column = &builder->source->columns[i];
        if (!column->hidden && !add_item(builder, (struct item){.name = column->name, .column = i}))
            return false;
    }
    return true;
}

static bool add_written(struct builder *builder, const struct tx_item *written)
{
    const struct tr_table *source = builder->source;
    const char *qualifier = written->expr == NULL                ? written->qualifier
                            : written->expr->kind == TX_N_COLUMN ? written->expr->qualifier
                                                                 : NULL;
    if (qualifier != NULL && !tx_same_word(qualifier, source->id.table)) {
        (void)tx_fail_at(builder->err, TR_E_TRANSFORM_COLUMN, &builder->rule->projection,
                         written->at, "the table's name is %.100s here", source->id.table);
        return false;
    }
    if (written->expr == NULL)
        return add_star(builder);
    struct item item = {
        .name = written->name, .column = -1, .expr = written->expr, .at = written->at};
    if (written->expr->kind == TX_N_COLUMN) {
        int column = tx_find_column(source, written->expr->name);
        if (column >= 0) {
            item.column = column;
            if (strcmp(written->name, written->expr->name) == 0 &&
                written->name == written->expr->name)
                item.name = source->columns[column].name; /* as the source writes it */
        }
    }
    return add_item(builder, item);
}

static bool make_items(struct builder *builder)
{
    struct tx_items written;
    if (builder->rule == NULL || builder->rule->projection.text == NULL)
        return add_star(builder);
    if (tx_parse_projection(&builder->rule->projection, &builder->arena, &written, builder->err) !=
        TR_OK)
        return false;
    for (uint32_t i = 0; i < written.count; i++) {
        if (!add_written(builder, &written.items[i]))
            return false;
    }
    if (builder->count == 0) {
        (void)tx_fail_at(builder->err, TR_E_TRANSFORM_SYNTAX, &builder->rule->projection, 0,
                         "no column is left");
        return false;
    }
    return true;
}

/* ---- the program --------------------------------------------------------------------------------
 */

static bool make_program(struct builder *builder, struct tx_env *env)
{
    struct tx_node *filter = NULL, **outputs = calloc(builder->count + 1u, sizeof *outputs);
    struct tx_named *named = calloc(builder->count + 1u, sizeof *named);
    uint32_t output_count = 0, named_count = 0;
    bool made = outputs != NULL && named != NULL;
    if (!made)
        (void)no_memory(builder);
    for (uint32_t i = 0; made && i < builder->count; i++) {
        struct item *item = &builder->items[i];
        if (item->expr != NULL)
            named[named_count++] = (struct tx_named){item->name, item->expr};
        if (item->column < 0)
            outputs[output_count++] = item->expr;
    }
    if (made && builder->rule != NULL && builder->rule->filter.text != NULL)
        made = tx_parse_expression(&builder->rule->filter, &builder->arena, &filter,
                                   builder->err) == TR_OK;
    if (made && (output_count > 0 || filter != NULL)) {
        const struct tx_source source = {builder->source, &builder->arena, outputs, output_count,
                                         named,           named_count,     filter};
        made = tx_program_new(env, &source, &builder->plan->program, builder->err) == TR_OK;
    }
    free(outputs);
    free(named);
    return made;
}

/* ---- the result's table -------------------------------------------------------------------------
 */

static bool make_columns(struct builder *builder, struct tr_column *columns, struct tr_arena *kept)
{
    uint32_t output = 0;
    for (uint32_t i = 0; i < builder->count; i++) {
        const struct item *item = &builder->items[i];
        struct tx_cell_from *from = &builder->plan->from[i];
        if (item->column < 0) {
            *from = (struct tx_cell_from){true, output};
            columns[i] =
                tx_result_column(&builder->plan->program->outputs[output++].type, item->name, kept);
            if (columns[i].name == NULL)
                return no_memory(builder);
            continue;
        }
        *from = (struct tx_cell_from){false, (uint32_t)item->column};
        columns[i] = builder->source->columns[item->column];
        columns[i].name = item->name;
        columns[i].key_index = 0;
        columns[i].hidden = false;
        for (uint32_t k = 0; k < i; k++) { /* a number names one column */
            if (builder->items[k].column == item->column)
                columns[i].source_attnum = 0;
        }
    }
    return true;
}

static int find_item(const struct builder *builder, const char *name)
{
    int found = -1;
    for (uint32_t i = 0; i < builder->count; i++) {
        if (strcmp(builder->items[i].name, name) == 0)
            return (int)i;
        if (tx_same_word(builder->items[i].name, name))
            found = found == -1 ? (int)i : -2;
    }
    return found;
}

static bool written_key(struct builder *builder, struct tr_column *columns)
{
    const char **names;
    uint32_t count;
    struct tr_arena arena;
    bool good = true;
    tr_arena_init(&arena, PLAN_BLOCK_BYTES, 0);
    if (tx_parse_names(&builder->rule->keys, &arena, &names, &count, builder->err) != TR_OK)
        good = false;
    for (uint32_t i = 0; good && i < count; i++) {
        int item = find_item(builder, names[i]);
        if (item < 0 || columns[item].key_index != 0) {
            struct tx_nearest nearest = {.word = names[i]};
            for (uint32_t k = 0; k < builder->count; k++)
                tx_nearest_try(&nearest, builder->items[k].name);
            (void)tx_fail_at(builder->err, TR_E_TRANSFORM_KEY, &builder->rule->keys, 0,
                             item < 0 ? "the result has no column %.80s" : "%.80s is named twice",
                             names[i]);
            if (item < 0 && nearest.best != NULL)
                (void)tr_hint(builder->err, "Did you mean %.200s?", nearest.best);
            good = false;
        } else {
            columns[item].key_index = (uint16_t)(i + 1);
            columns[item].nullable = false;
        }
    }
    tr_arena_free(&arena);
    return good;
}

/* The source's key, when all of it is there. */
static void kept_key(const struct builder *builder, struct tr_column *columns)
{
    const struct tr_table *source = builder->source;
    for (uint16_t k = 0; k < source->key_count; k++) {
        uint32_t i = 0;
        while (i < builder->count && builder->items[i].column != source->key_columns[k])
            i++;
        if (i == builder->count) {
            for (i = 0; i < builder->count; i++)
                columns[i].key_index = 0;
            return;
        }
        columns[i].key_index = (uint16_t)(k + 1);
    }
}

static bool in_key(const struct tr_table *table, uint32_t column)
{
    return table->columns[column].key_index > 0;
}

static void compare_keys(struct tx_plan *plan)
{
    const struct tr_table *source = plan->source, *result = plan->result;
    plan->key_of_source_key = true;
    plan->same_key = result->key_count == source->key_count;
    for (uint16_t k = 0; k < result->key_count; k++) {
        const struct tx_cell_from *from = &plan->from[result->key_columns[k]];
        plan->same_key = plan->same_key && !from->computed && in_key(source, from->index);
        if (!from->computed) {
            plan->key_of_source_key = plan->key_of_source_key && in_key(source, from->index);
            continue;
        }
        const struct tx_output *output = &plan->program->outputs[from->index];
        for (uint32_t i = 0; i < output->input_count; i++) {
            const struct tx_input *input = &plan->program->inputs[output->inputs[i]];
            bool fixed =
                input->is_meta ? input->meta <= TX_META_TABLE : in_key(source, input->column);
            plan->key_of_source_key = plan->key_of_source_key && fixed;
        }
        plan->key_of_source_key =
            plan->key_of_source_key && (output->is_constant || output->input_count > 0);
    }
}

static bool make_table(struct builder *builder)
{
    struct tx_plan *plan = builder->plan;
    struct tr_arena kept;
    struct tr_column *columns = calloc(builder->count + 1u, sizeof *columns);
    plan->from = calloc(builder->count + 1u, sizeof *plan->from);
    uint32_t output_count = plan->program == NULL ? 0 : plan->program->output_count;
    plan->computed = calloc(output_count + 1u, sizeof *plan->computed);
    plan->count = (uint16_t)builder->count;
    tr_arena_init(&kept, PLAN_BLOCK_BYTES, 0);
    bool made = columns != NULL && plan->from != NULL && plan->computed != NULL;
    if (!made)
        (void)no_memory(builder);
    made = made && make_columns(builder, columns, &kept);
    bool written = builder->rule != NULL && builder->rule->keys.text != NULL;
    if (made && written)
        made = written_key(builder, columns);
    else if (made)
        kept_key(builder, columns);
    if (made) {
        struct tr_table spec;
        tr_table_spec(plan->source, &spec);
        spec.columns = columns;
        spec.column_count = plan->count;
        spec.version_column = 0;
        for (uint32_t i = 0; i < builder->count; i++) {
            if (builder->items[i].column >= 0 &&
                builder->items[i].column + 1 == plan->source->version_column &&
                spec.version_column == 0)
                spec.version_column = (uint16_t)(i + 1);
        }
        if (written)
            spec.key_is_primary = true;
        made = tr_table_new(&spec, &plan->result, builder->err) == TR_OK;
    }
    if (made)
        compare_keys(plan);
    tr_arena_free(&kept);
    free(columns);
    return made;
}

static bool shows_all(const struct tr_table *table)
{
    for (int i = 0; i < table->column_count; i++) {
        if (table->columns[i].hidden)
            return false;
    }
    return true;
}

enum tr_status tx_plan_new(struct tx_env *env, const struct tx_rule *rule,
                           const struct tr_table *source, struct tx_plan **out,
                           struct tr_error *err)
{
    struct tx_plan *plan = calloc(1, sizeof *plan);
    if (plan == NULL)
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for a transform");
    plan->source = tr_table_ref(source);
    plan->rule = rule;
    if (rule == NULL && shows_all(source)) {
        plan->passes = true;
        plan->result = tr_table_ref(source);
        *out = plan;
        return TR_OK;
    }
    struct builder builder = {.plan = plan, .rule = rule, .source = source, .err = err};
    tr_arena_init(&builder.arena, PLAN_BLOCK_BYTES, 0);
    bool made = make_items(&builder);
    if (made && builder.count > UINT16_MAX) {
        (void)tr_fail(err, TR_E_TRANSFORM_LIMIT, "the result of table %.100s has too many columns",
                      source->id.table);
        made = false;
    }
    made = made && make_program(&builder, env) && make_table(&builder);
    tr_arena_free(&builder.arena);
    free(builder.items);
    if (!made) {
        tx_plan_free(plan);
        return TR_FAIL;
    }
    *out = plan;
    return TR_OK;
}

void tx_plan_free(struct tx_plan *plan)
{
    if (plan == NULL)
        return;
    tx_program_free(plan->program);
    tr_table_unref(plan->source);
    tr_table_unref(plan->result);
    free(plan->from);
    free(plan->computed);
    free(plan);
}
