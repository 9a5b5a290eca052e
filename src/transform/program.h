/* Programs: expressions over one table, compiled to one SQLite statement.
 *
 * The compiler gives every node a static type and writes SQL that calls kernels (C functions registered with
 * SQLite) for what SQLite has not, or has with other types: checked integers, exact decimals, times. What
 * SQLite does by itself is what it does well: order of evaluation, CASE, COALESCE, three-valued logic,
 * comparison of integers and bytes, JSON. Inputs are bound as parameters; text is never copied for it.
 *
 * A *site* is the place of one kernel call: where it is in the user's text, its types, and what it keeps
 * between rows (a compiled regular expression). Its number is the kernel's first argument.
 *
 * Thread: an environment and its programs belong to one thread at a time. */
#ifndef TR_TRANSFORM_PROGRAM_H
#define TR_TRANSFORM_PROGRAM_H

#include <sqlite3.h>

#include "base/arena.h"
#include "base/outbuf.h"
#include "tailrace/message.h"
#include "transform/ast.h"
#include "transform/zone.h"

struct tx_program;
struct tx_regex;

struct tx_site {
    const struct tx_origin *origin;
    uint32_t at;
    enum tx_unit unit;
    enum tx_kind from;  /* CAST, comparisons, times: how the argument is held */
    struct tx_type to;  /* CAST, decimals: the result */
    bool try_;          /* CAST: NULL instead of a failure */
    bool single;        /* CAST of a FLOAT */
    struct tx_val kept; /* k_stash */
    struct tx_regex *regex;
};

enum tx_meta {
    TX_META_NAMESPACE,
    TX_META_SCHEMA,
    TX_META_TABLE,
    TX_META_EVENT_TYPE,
    TX_META_OP,
    TX_META_EVENT_TS,
    TX_META_TOPIC,
    TX_META_PARTITION,
    TX_META_OFFSET,
    TX_META_TIMESTAMP,
    TX_META_KEY,
    TX_META_COUNT
};
struct tx_input {
    bool is_meta;
    enum tx_meta meta;
    uint16_t column; /* of the table */
    enum tx_kind kind;
};

struct tx_output {
    struct tx_type type;
    const char *sql;
    const uint16_t *inputs; /* indexes into the program's */
    uint32_t input_count;
    bool is_constant;       /* no input and nothing of the moment: `constant` holds it */
    struct tr_cell constant;
    sqlite3_stmt *alone;    /* made when it is needed: a row that lacks other outputs' inputs */
    const struct tx_origin *origin;
    uint32_t at;
};

struct tx_env {
    sqlite3 *db;
    struct tx_zone *zone;
    struct tr_arena scratch; /* of the row in work */
    int64_t now_us;
    struct tx_program *program; /* in work */
    bool failed;                /* a kernel failed: */
    enum tr_code failed_code;
    const struct tx_site *failed_site;
    char failure[200];
};
enum tr_status tx_env_new(const char *time_zone, struct tx_env **out, struct tr_error *err) TR_WARN_UNUSED;
void tx_env_free(struct tx_env *env);

struct tx_program {
    struct tx_env *env;
    const struct tr_table *table; /* reference held */
    struct tr_arena arena;
    struct tx_site *sites;
    uint32_t site_count, site_capacity;
    struct tx_input *inputs;
    uint32_t input_count, input_capacity;
    struct tx_output *outputs;
    uint32_t output_count;
    struct tx_output filter; /* sql NULL: none */
    sqlite3_stmt *all;       /* outputs that are not constant, WHERE the filter */
    sqlite3_stmt *unfiltered; /* the same without it */
    uint32_t *computed;      /* outputs in the statements' order */
    uint32_t computed_count;
    bool uses_op;            /* some output shows the event's kind */
};

/* ---- compiling ---- */
/* `outputs` are trees in `arena`, which the program takes (moved). named: what a filter may refer to besides
 * the table's columns: outputs (the same trees) and plain columns under a new name. */
struct tx_named {
    const char *name;
    struct tx_node *expr;
};
struct tx_source {
    const struct tr_table *table;
    struct tr_arena *arena;
    struct tx_node *const *outputs;
    uint32_t output_count;
    const struct tx_named *named;
    uint32_t named_count;
    struct tx_node *filter; /* NULL: none */
};
enum tr_status tx_program_new(struct tx_env *env, const struct tx_source *source,
                              struct tx_program **out, struct tr_error *err) TR_WARN_UNUSED;
void tx_program_free(struct tx_program *program);

/* Index of a table's column: the exact name, else the only one that differs in case alone. -1 none, -2 several. */
/* The tr_column of a result; strings live in `arena` or for ever. NULL name: memory is out. */
struct tr_column tx_result_column(const struct tx_type *type, const char *name, struct tr_arena *arena);
int tx_find_column(const struct tr_table *table, const char *name);
bool tx_same_word(const char *a, const char *b); /* ASCII case apart */

/* ---- running ---- */
struct tx_row {
    const struct tr_event *event;
    uint8_t op;                   /* what the metadata columns say */
    const struct tr_cell *cells;  /* the image */
    const struct tr_cell *before; /* an update's before image, for values the source did not send again;
                                     NULL none */
    int64_t now_us;
};
enum tx_pass { TX_REFUSED, TX_PASSED, TX_UNKNOWN /* the image lacks a column of the filter */ };
/* Filter and outputs. results has output_count cells in `arena`; they are set when *pass is not REFUSED.
 * with_filter false: *pass is PASSED. TR_FAIL: class DATA for the row's values. */
enum tr_status tx_program_run(struct tx_program *program, const struct tx_row *row, bool with_filter,
                              struct tr_arena *arena, struct tr_cell *results, enum tx_pass *pass,
                              struct tr_error *err) TR_WARN_UNUSED;

/* ---- kernels ---- */
#define TX_CALL_ARGUMENTS_MAX (TX_ARGUMENTS_MAX + 2)
struct tx_call {
    struct tx_env *env;
    struct tx_site *site;
    const struct tx_val *args;
    uint32_t count;
    struct tx_val result; /* NULL at first */
};
typedef bool (*tx_kernel_fn)(struct tx_call *call);
struct tx_kernel {
    const char *name;
    tx_kernel_fn run;
    bool takes_null; /* else: a NULL argument makes NULL */
};
extern const struct tx_kernel tx_kernels_text[], tx_kernels_number[], tx_kernels_time[]; /* name NULL ends */
/* false, so that it can end a kernel. Never with values of the row. */
bool tx_call_fail(struct tx_call *call, const char *format, ...) __attribute__((format(printf, 2, 3)));
char *tx_call_alloc(struct tx_call *call, size_t bytes); /* scratch; NULL: failed */
bool tx_call_text(struct tx_call *call, const char *text, size_t len); /* result = copy */
/* Any value of a kind as its canonical text. */
bool tx_to_text(struct tx_call *call, enum tx_kind kind, enum tr_type type, const struct tx_val *value,
                struct tx_val *out);
/* CAST by site->from, site->to. */
bool tx_cast(struct tx_call *call, const struct tx_val *value);
bool tx_compare(struct tx_call *call, enum tx_kind kind, const struct tx_val *a, const struct tx_val *b,
                int *order);
struct tx_dec;
/* Result: rounded to site->to's places. */
bool tx_give_decimal(struct tx_call *call, const struct tx_dec *dec);
double tx_double_of(const struct tx_val *value);
size_t tx_double_write(double value, bool single, char *buf); /* TX_TIME_TEXT_MAX bytes */
struct tx_regex *tx_regex_get(struct tx_call *call, const struct tx_val *pattern);
void tx_regex_free(struct tx_regex *regex);
/* A cell of the column's kind as a value. false: not the canonical text. */
bool tx_cell_value(enum tx_kind kind, const struct tr_cell *cell, struct tr_arena *scratch,
                   struct tx_val *out);

/* The compiler's own part (compile.c). */
enum tr_status tx_compile_type(struct tx_program *program, struct tx_node *node,
                               const struct tx_named *named, uint32_t named_count,
                               struct tr_error *err) TR_WARN_UNUSED;
enum tr_status tx_compile_sql(struct tx_program *program, const struct tx_node *node,
                              struct tx_output *output, struct tr_error *err) TR_WARN_UNUSED;

#endif
