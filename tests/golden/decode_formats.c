/* Messages of every JSON format → events, as told by the files of decode_formats/:
 *
 *   # a comment
 *   @format NAME           a new decoder with defaults, table "users"; options until the first
 * message
 *   @table NAME | -        - : the source names none
 *   @columns A; B          @keys a, b          @unknown WORD          @missing-fails @take-key
 *   @field op|before|after|timestamp|table NAME
 *   @ts                    events show their time from here on
 *   @restart               the decoder is closed, opened again and restored from its marks
 *   @marks                 = the marks since the last time
 *   K KEY                  the key of the next message
 *   > VALUE                a message;  T a message without value;  E an empty value
 *   = LINE                 what it gives, one line each; a message without such lines gives nothing
 *
 * decode_formats FILE… compares; decode_formats --write FILE… prints the file as it would have to
 * be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../unit/decode_json_support.h"

#define LINE_BYTES_MAX 65536
#define ITEMS_MAX 64

struct script {
    struct bench bench;
    bool is_init, is_open;
    char *key;
    char *kept[512]; /* option texts, freed at the end */
    size_t kept_count;
    const char *items[8][ITEMS_MAX];
    size_t list_count;
};

static char *keep(struct script *script, const char *text)
{
    assert_true(script->kept_count < 512);
    return script->kept[script->kept_count++] = strdup(text);
}

static void set_list(struct script *script, struct tr_string_list *list, const char *text,
                     const char *separators)
{
    size_t count = 0;
    assert_true(script->list_count < 8);
    const char **items = script->items[script->list_count++];
    for (char *at = keep(script, text), *item; (item = strsep(&at, separators)) != NULL;) {
        item += strspn(item, " ");
        items[count++] = item;
    }
    bench_list(list, items, count);
}

static void start(struct script *script, const char *format)
{
    int index = 0;
    while (tr_decoder_format_values[index] != NULL &&
           strcmp(tr_decoder_format_values[index], format) != 0)
        index++;
    if (script->is_init)
        bench_free(&script->bench);
    bench_init(&script->bench, index);
    script->is_init = true;
    script->is_open = false;
    script->list_count = 0;
}

static void set_field(struct script *script, const char *text)
{
    struct tr_decoder_options *options = &script->bench.options;
    char *at = keep(script, text), *name = strsep(&at, " ");
    const char **field = strcmp(name, "op") == 0       ? &options->op_field
                         : strcmp(name, "before") == 0 ? &options->before_field
                         : strcmp(name, "after") == 0  ? &options->after_field
                         : strcmp(name, "table") == 0  ? &options->table_field
                                                       : &options->timestamp_field;
    *field = at;
}

static const char *directive(struct script *script, const char *word, const char *text)
{
    struct bench *bench = &script->bench;
    if (strcmp(word, "@format") == 0) {
        start(script, text);
    } else if (strcmp(word, "@table") == 0) {
        bench->context.table = strcmp(text, "-") == 0 ? NULL : keep(script, text);
    } else if (strcmp(word, "@columns") == 0) {
        set_list(script, &bench->options.columns, text, ";");
    } else if (strcmp(word, "@keys") == 0) {
        set_list(script, &bench->options.primary_keys, text, ",");
    } else if (strcmp(word, "@unknown") == 0) {
        while (strcmp(tr_unknown_fields_values[bench->options.unknown_fields], text) != 0)
            bench->options.unknown_fields++;
    } else if (strcmp(word, "@missing-fails") == 0) {
        bench->options.fail_on_missing_field = true;
    } else if (strcmp(word, "@take-key") == 0) {
        bench->context.take_key = true;
    } else if (strcmp(word, "@field") == 0) {
        set_field(script, text);
    } else if (strcmp(word, "@ts") == 0) {
        bench->show_ts = true;
    } else if (strcmp(word, "@restart") == 0) {
        bench_restart(bench);
    } else if (strcmp(word, "@marks") == 0) {
        return bench_marks(bench);
    } else {
        fail_msg("unknown directive %s", word);
    }
    return NULL;
}

static const char *message(struct script *script, char kind, const char *value)
{
    struct bench *bench = &script->bench;
    if (!script->is_open) {
        script->is_open = true;
        if (bench_try_open(bench) != TR_OK) {
            tr_outbuf_clear(&bench->out);
            tr_outbuf_printf(&bench->out, "open %s: %s\n", tr_error_info(bench->err.code)->name,
                             bench->err.message);
            bench->decoder = NULL;
            return tr_outbuf_cstr(&bench->out);
        }
    }
    struct tr_slice key = tr_slice_of(script->key);
    const char *given = bench_feed_bytes(bench, key,
                                         kind == 'T'   ? (struct tr_slice){NULL, 0}
                                         : kind == 'E' ? (struct tr_slice){"", 0}
                                                       : tr_slice_of(value));
    free(script->key);
    script->key = NULL;
    return given;
}

/* What one line of the script gives; NULL: nothing to be compared. */
static const char *run_line(struct script *script, char *line)
{
    switch (line[0]) {
    case '@': {
        char *text = line, *word = strsep(&text, " ");
        return directive(script, word, text == NULL ? "" : text);
    }
    case 'K':
        script->key = strdup(line + 2);
        return NULL;
    case '>':
    case 'T':
    case 'E':
        return message(script, line[0], line[0] == '>' ? line + 2 : NULL);
    default:
        return NULL;
    }
}

struct pending {
    char *lines; /* still to be matched by "=" lines; NULL: none */
    char *at;
};

static void finish(struct pending *pending, const char *path, int line_number, bool write)
{
    while (pending->at != NULL && *pending->at != '\0') {
        char *line = strsep(&pending->at, "\n");
        if (write)
            printf("= %s\n", line);
        else
            fail_msg("%s:%d: not expected: %s", path, line_number, line);
    }
    free(pending->lines);
    *pending = (struct pending){NULL, NULL};
}

static void run_file(const char *path, bool write)
{
    static struct script script;
    static char line[LINE_BYTES_MAX];
    struct pending pending = {NULL, NULL};
    FILE *file = fopen(path, "r");
    int line_number = 0;
    assert_non_null(file);
    script = (struct script){0};
    while (fgets(line, sizeof line, file) != NULL) {
        line_number++;
        line[strcspn(line, "\n")] = '\0';
        if (line[0] == '=') {
            char *given =
                pending.at == NULL || *pending.at == '\0' ? NULL : strsep(&pending.at, "\n");
            if (write) {
                if (given != NULL)
                    printf("= %s\n", given);
            } else if (given == NULL || strcmp(given, line + 2) != 0) {
                fail_msg("%s:%d:\n want: %s\n have: %s", path, line_number, line + 2,
                         given == NULL ? "nothing" : given);
            }
            continue;
        }
        finish(&pending, path, line_number, write);
        if (write)
            puts(line);
        const char *given = run_line(&script, line);
        if (given != NULL)
            pending.at = pending.lines = strdup(given);
    }
    finish(&pending, path, line_number, write);
    (void)fclose(file);
    bench_free(&script.bench);
    free(script.key);
    for (size_t i = 0; i < script.kept_count; i++)
        free(script.kept[i]);
}

static int argument_count;
static char **arguments;

static void test_files(void **state)
{
    (void)state;
    bool write = argument_count > 1 && strcmp(arguments[1], "--write") == 0;
    for (int i = write ? 2 : 1; i < argument_count; i++)
        run_file(arguments[i], write);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_files)};
    argument_count = argc;
    arguments = argv;
    return argc < 2 ? 2 : cmocka_run_group_tests_name("decode_formats", tests, NULL, NULL);
}
