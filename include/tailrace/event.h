/* Events, cells, tables and batches: what flows from a decoder to a sink.
 *
 * Ownership: everything that a batch points to (cells, values, marks, schema changes) lives until
 * tr_batch_reset of that batch. Tables are immutable and counted; a batch holds a reference on each
 * table its events name. A sink may keep nothing of a batch after write() returns, except tables on
 * which it takes a reference of its own.
 *
 * Vocabulary: *index* counts from 0, *count* is a number of things, *size* and *bytes* are bytes. */
#ifndef TAILRACE_EVENT_H
#define TAILRACE_EVENT_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "error.h"

/* (pointer, length); not NUL-terminated unless a field says so. */
struct tr_slice {
    const char *ptr;
    size_t len;
};

/* ---- logical types -------------------------------------------------------------------------- */

/* A column's logical type fixes the canonical TEXT form of its values. Every decoder gives TEXT cells
 * in that form, and a sink may rely on it. The forms are those that PostgreSQL prints with
 * DateStyle=ISO, IntervalStyle=postgres, TimeZone=UTC, bytea_output=hex, extra_float_digits=3. */
enum tr_type {
    TR_T_BOOLEAN,     /* t | f */
    TR_T_INT8,        /* decimal */
    TR_T_INT16,       /* decimal */
    TR_T_INT32,       /* decimal */
    TR_T_INT64,       /* decimal */
    TR_T_UINT64,      /* decimal */
    TR_T_FLOAT32,     /* shortest round-trip decimal, NaN, Infinity, -Infinity */
    TR_T_FLOAT64,     /* same */
    TR_T_DECIMAL,     /* digits with optional sign and point, never an exponent; NaN, +-Infinity.
                         precision 0 = unbounded, any scale */
    TR_T_STRING,      /* UTF-8, no NUL */
    TR_T_BYTES,       /* TEXT: \x and lower-case hex; BINARY: the bytes */
    TR_T_DATE,        /* YYYY-MM-DD, maybe > 4 digits of year, maybe " BC"; infinity, -infinity */
    TR_T_TIME,        /* HH:MM:SS[.ffffff], up to 24:00:00 */
    TR_T_TIMETZ,      /* HH:MM:SS[.ffffff]+HH[:MM[:SS]] */
    TR_T_TIMESTAMP,   /* YYYY-MM-DD HH:MM:SS[.ffffff][ BC]; infinity, -infinity */
    TR_T_TIMESTAMPTZ, /* YYYY-MM-DD HH:MM:SS[.ffffff]+00[ BC]; infinity, -infinity */
    TR_T_INTERVAL,    /* PostgreSQL style: 1 year 2 mons 3 days 04:05:06.7 */
    TR_T_UUID,        /* lower-case, with dashes */
    TR_T_JSON,        /* JSON text, as the source keeps it */
    TR_T_XML,         /* text */
    TR_T_ENUM,        /* the label */
    TR_T_BIT,         /* 0 and 1 digits; length = number of bits, 0 for any (varbit) */
    TR_T_MONEY,       /* plain decimal where the source can print it so, else as printed */
    TR_T_ARRAY,       /* PostgreSQL array literal {a,"b c",NULL}; elem_type names the elements */
    TR_T_POINT,       /* (x,y) */
    TR_T_HSTORE,      /* hstore literal */
    TR_T_OTHER,       /* text as the source prints it: ranges, inet, tsvector, composites … */
    TR_T_COUNT
};
const char *tr_type_name(enum tr_type type); /* "INT32" */

/* ---- tables --------------------------------------------------------------------------------- */

/* Table ID: (namespace, schema, table). namespace is the database for PostgreSQL; a source without
 * one of them gives "". NUL-terminated UTF-8. */
struct tr_table_id {
    const char *namespace;
    const char *schema;
    const char *table;
};

struct tr_column {
    const char *name;
    enum tr_type type;
    enum tr_type elem_type;      /* for TR_T_ARRAY, else TR_T_OTHER */
    const char *source_type;     /* as the source writes it: "numeric(10,2)", "int4[]", "public.mood" */
    const char *source_type_base; /* without modifiers and schema: "numeric", "int4[]", "mood" */
    uint32_t source_type_id;     /* PostgreSQL: type oid */
    int32_t source_typmod;       /* PostgreSQL: atttypmod, -1 none */
    int32_t source_attnum;       /* PostgreSQL: attnum when known, else 0; stable across renames */
    int32_t precision;           /* DECIMAL: total digits, 0 unbounded; TIME*, TIMESTAMP*: 0..6, -1 unset (=6) */
    int32_t scale;               /* DECIMAL */
    int32_t length;              /* STRING, BIT: declared length in characters / bits, 0 none */
    uint16_t key_index;          /* 1-based place in the key, 0 = not in the key */
    bool nullable;
    bool generated;              /* GENERATED ALWAYS AS (…) STORED */
    bool identity_always;        /* GENERATED ALWAYS AS IDENTITY */
    bool identity_by_default;
    const char *default_value;   /* canonical TEXT of a constant default, NULL if none or not constant */
    const char *enum_labels;     /* TR_T_ENUM: labels joined by '\n', else NULL */
    bool hidden;                 /* of the envelope, not of the row (the op and timestamp fields of
                                    cdc-json): transforms can name it, nothing else sees it. The engine
                                    takes it away before routing; no sink ever gets a hidden column */
};

enum tr_replica_identity { TR_RI_DEFAULT = 'd', TR_RI_NOTHING = 'n', TR_RI_FULL = 'f', TR_RI_INDEX = 'i' };

/* One schema version of one table. Immutable after tr_table_new's caller publishes it. */
struct tr_table {
    uint32_t magic;
    _Atomic uint32_t refs;
    struct tr_table_id id;
    uint64_t source_id;   /* PostgreSQL: oid; the identity across renames; 0 = none */
    uint32_t version;     /* 1, 2, … within this process, per source_id */
    uint16_t column_count;
    uint16_t key_count;          /* 0 = no key: rows are found by all columns, if at all */
    const struct tr_column *columns;
    const uint16_t *key_columns; /* column index per key position */
    enum tr_replica_identity replica_identity;
    bool key_is_primary;         /* the key is the primary key (not a replica identity index) */
    uint16_t version_column;     /* 1-based index of the column that decides which row of a key is the
                                    newest (last write wins), 0 none. Only sinks with
                                    TR_CAP_LAST_WRITE_WINS get such tables; see sink.h */
};

/* Builder input is copied deeply (strings too). The result has one reference.
 * columns[].key_index decides key_columns. Errors: OUT_OF_MEMORY, INTERNAL (> 65535 columns). */
enum tr_status tr_table_new(const struct tr_table *spec, struct tr_table **out,
                            struct tr_error *err) TR_WARN_UNUSED;
/* A builder input with the table's own values, to be changed and given to tr_table_new. Not a plain copy:
 * the count of references belongs to other threads too. */
void tr_table_spec(const struct tr_table *table, struct tr_table *spec);
/* Same columns under another ID (routes). */
enum tr_status tr_table_with_id(const struct tr_table *table, struct tr_table_id id,
                                struct tr_table **out, struct tr_error *err) TR_WARN_UNUSED;
struct tr_table *tr_table_ref(const struct tr_table *table);
void tr_table_unref(const struct tr_table *table); /* NULL is fine; any thread */
/* Index of a column by name, -1 when absent. */
int tr_table_column(const struct tr_table *table, const char *name);
/* "schema.table", or "table" without a schema, into buf; always NUL-terminated. */
const char *tr_table_id_format(const struct tr_table_id *id, char *buf, size_t buf_size);
bool tr_table_id_equal(const struct tr_table_id *a, const struct tr_table_id *b);

/* ---- cells ---------------------------------------------------------------------------------- */

enum tr_cell_state {
    TR_CELL_NULL,      /* SQL NULL */
    TR_CELL_UNCHANGED, /* TOAST value that the source did not send: keep the target's; NOT a NULL */
    TR_CELL_ABSENT,    /* not part of this image (a key-only before image) */
    TR_CELL_TEXT,      /* canonical text of the column's type */
    TR_CELL_BINARY     /* raw bytes, only for TR_T_BYTES */
};
struct tr_cell {
    const char *ptr; /* undefined unless TEXT or BINARY */
    uint32_t len;    /* bytes; values are at most 1 GiB */
    uint8_t state;   /* enum tr_cell_state */
};

/* ---- events --------------------------------------------------------------------------------- */

enum tr_op {
    TR_OP_CREATE = 'c',
    TR_OP_UPDATE = 'u',
    TR_OP_DELETE = 'd',
    TR_OP_READ = 'r',     /* a row of the snapshot */
    TR_OP_TRUNCATE = 't', /* one event per table; flags carry CASCADE / RESTART IDENTITY */
    TR_OP_MESSAGE = 'm',  /* table NULL; message_prefix, raw = content */
    TR_OP_SCHEMA = 's',   /* change != NULL; table = the table after the change (before it for DROP) */
    TR_OP_COMMIT = 'C'    /* a boundary: everything before it in this stream may be made durable with
                             its marks. table NULL. Ends a transaction or a snapshot chunk, or only
                             carries a position when the source is idle */
};

enum tr_event_flags {
    TR_EV_BEFORE_KEY_ONLY = 1,   /* before holds only the key columns, the rest is ABSENT */
    TR_EV_KEY_CHANGED = 2,       /* an update whose key differs from the before image's */
    TR_EV_TRUNCATE_CASCADE = 4,
    TR_EV_TRUNCATE_RESTART = 8,
    TR_EV_SNAPSHOT_FIRST = 16,   /* first row of the whole snapshot */
    TR_EV_SNAPSHOT_LAST_IN_TABLE = 32,
    TR_EV_IDLE = 64,             /* COMMIT: no transaction, only a position that moved */
    TR_EV_SNAPSHOT = 128,        /* READ, SCHEMA and COMMIT that belong to the snapshot */
    TR_EV_TRUNCATE_FOR_RELOAD = 256, /* TRUNCATE made by the source to copy a table again; always applied */
    TR_EV_SNAPSHOT_LAST = 512,    /* last row of the whole snapshot, where the source can know it */
    TR_EV_SNAPSHOT_FIRST_IN_TABLE = 1024,
    TR_EV_END_OF_INPUT = 2048,   /* COMMIT: the source has ended for good; windows close */
    TR_EV_RAW_BINARY = 4096      /* READ: raw is a tuple of COPY's binary format, after is NULL; only for
                                    tables whose tr_binary_offer (source.h) was accepted */
};

struct tr_schema_change;
struct tr_mark;
struct tr_message; /* message.h */

#define TR_TIME_NONE INT64_MIN /* no time */

struct tr_event {
    uint64_t seq;                 /* dense, from 1, per sink writer; set by the engine, 0 before */
    const struct tr_table *table; /* schema version of the row; NULL for COMMIT and MESSAGE */
    const struct tr_cell *before; /* NULL when there is no before image; column_count cells */
    const struct tr_cell *after;  /* NULL for DELETE; column_count cells. READ may leave it NULL when
                                     raw is set and the reader was asked for raw rows */
    struct tr_slice raw;          /* READ: the row as a PostgreSQL COPY text line with its newline, if
                                     the source has it, or with TR_EV_RAW_BINARY as a tuple (count of
                                     fields, then length and bytes of each; no file header, no
                                     trailer); MESSAGE: content */
    union {
        const struct tr_schema_change *change; /* SCHEMA */
        const struct tr_mark *marks;           /* COMMIT: mark_count of them */
        const char *message_prefix;            /* MESSAGE, NUL-terminated */
    };
    uint32_t mark_count;
    uint32_t txn_index;  /* place within its transaction, from 0; with commit_position it names an event */
    uint64_t position;   /* PostgreSQL: the change's own LSN */
    uint64_t commit_position; /* PostgreSQL: LSN of the commit record; snapshot: the snapshot's LSN */
    uint64_t prev_commit_position; /* end LSN of the transaction before this one, 0 unknown */
    int64_t ts_us;       /* commit time (snapshot: time of reading), µs since 1970-01-01 UTC */
    int64_t recv_ts_us;  /* when the reader received it, same clock as tr_clock_wall_us */
    uint64_t txn_id;     /* PostgreSQL xid, 0 none */
    const char *origin;  /* replication origin name or NULL */
    const struct tr_message *message; /* what it was decoded from, in the batch's memory; NULL for
                                         sources without messages */
    int64_t event_time_us; /* the event-time column, µs since 1970-01-01 UTC; of a COMMIT the watermark;
                              set by the engine; TR_TIME_NONE: there is none (0 before the engine saw it) */
    uint16_t flags;      /* enum tr_event_flags */
    uint8_t op;          /* enum tr_op */
};

/* A mark is one item of a source's resume position: a small key and a printable value, for example
 * lsn=0/16B3748, chunk/16412/3=done, or topic/0=1042. They travel with the COMMIT event that makes
 * them true. The engine keeps the merged map, puts it into checkpoints and gives it back at start; a
 * sink with TR_CAP_POSITION stores them in the transaction that holds the rows.
 * An empty value deletes the key; a key that ends in '*' deletes every key with that prefix. */
struct tr_mark {
    struct tr_slice key;   /* printable ASCII without spaces or '=' ; at most TR_MARK_KEY_BYTES_MAX */
    struct tr_slice value; /* printable UTF-8 without newline; at most TR_MARK_VALUE_BYTES_MAX */
};
#define TR_MARK_KEY_BYTES_MAX 255
#define TR_MARK_VALUE_BYTES_MAX (1 << 20)

enum tr_change_kind {
    TR_CHANGE_CREATE_TABLE,  /* "this table exists with these columns": create it when absent, add what
                                it lacks, drop nothing. Sent for every table before its first row */
    TR_CHANGE_ALTER_TABLE,   /* items[] in order */
    TR_CHANGE_RENAME_TABLE,  /* from `before`'s ID to the event's table's */
    TR_CHANGE_DROP_TABLE
};
enum tr_alter_kind {
    TR_ALTER_ADD_COLUMN,
    TR_ALTER_DROP_COLUMN,
    TR_ALTER_RENAME_COLUMN,
    TR_ALTER_COLUMN_TYPE,
    TR_ALTER_COLUMN_NULLABLE, /* NOT NULL set or dropped */
    TR_ALTER_COLUMN_DEFAULT,
    TR_ALTER_KEY              /* the key columns are those of the event's table */
};
struct tr_alter_item {
    enum tr_alter_kind kind;
    uint16_t before_index; /* column in change->before (DROP, RENAME, TYPE, NULLABLE, DEFAULT) */
    uint16_t after_index;  /* column in event->table (ADD, RENAME, TYPE, NULLABLE, DEFAULT) */
};
struct tr_schema_change {
    enum tr_change_kind kind;
    const struct tr_table *before; /* NULL for CREATE_TABLE */
    uint32_t item_count;
    const struct tr_alter_item *items;
    bool rename_cycle; /* some RENAME items trade names (a↔b): a sink goes through a temporary name
                          for an item whose new name is still taken */
};

/* ---- batches -------------------------------------------------------------------------------- */

struct tr_batch; /* src/event/batch.h has the inside */

#endif
