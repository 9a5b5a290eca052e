"""The oracle of nearly every test: the target equals the source."""
import collections
import glob
import gzip
import json
import math
import os
import shutil
import sqlite3
import subprocess

import psycopg2

from .common import skip, wait_for

DIFFERENCES_SHOWN = 8


def quote(name):
    return '"' + name.replace('"', '""') + '"'


def qualified(table):
    """("s", "t") or "t" or "s.t" → quoted SQL name."""
    schema, name = split(table)
    return quote(schema) + "." + quote(name)


def split(table):
    if isinstance(table, tuple):
        return table
    schema, _, name = table.rpartition(".")
    return schema or "public", name


def columns(db, table):
    """[(name, type as format_type prints it)] of a table, generated columns included."""
    return db.execute(
        "select attname, format_type(atttypid, atttypmod) from pg_attribute "
        "where attrelid = %s::regclass and attnum > 0 and not attisdropped order by attnum",
        (qualified(table),))


def pg_rows(db, table, names=None):
    """All rows as canonical text, unordered: (columns, types, Counter of tuples)."""
    cols = columns(db, table)
    if names is not None:
        by_name = dict(cols)
        cols = [(name, by_name[name]) for name in names]
    # format('%s') prints by the type's output function, as pgoutput and COPY do; a cast to text would
    # trim char(n) and spell booleans out.
    wanted = ", ".join("case when %s is null then null else format('%%s', %s) end"
                       % (quote(name), quote(name)) for name, _ in cols) or "1"
    rows = db.execute("select %s from %s" % (wanted, qualified(table)))
    return [c[0] for c in cols], [c[1] for c in cols], collections.Counter(map(tuple, rows))


def _show(rows):
    shown = ["      %s" % (row,) for row in list(rows)[:DIFFERENCES_SHOWN]]
    if len(rows) > DIFFERENCES_SHOWN:
        shown.append("      … %d in all" % len(rows))
    return "\n".join(shown)


def _compare(what, source, target):
    if source == target:
        return True
    missing, extra = source - target, target - source
    parts = ["%s differs from its source (%d rows against %d)"
             % (what, sum(target.values()), sum(source.values()))]
    if missing:
        parts.append("    only in the source:\n" + _show(missing))
    if extra:
        parts.append("    only in the target:\n" + _show(extra))
    raise AssertionError("\n".join(parts))


# ---- PostgreSQL against PostgreSQL ----------------------------------------------------------------


def pg_equal(source, target, table, target_table=None, names=None):
    name, _, rows = pg_rows(source, table, names)
    target_names, _, target_rows = pg_rows(target, target_table or table, names)
    if name != target_names:
        raise AssertionError("columns of %s: %s in the source, %s in the target"
                             % (table, name, target_names))
    return _compare("%s in PostgreSQL" % (target_table or table,), rows, target_rows)


# ---- PostgreSQL against SQLite --------------------------------------------------------------------


def sqlite_open(path, timeout=30):
    if not os.path.exists(path):
        raise AssertionError("there is no %s" % path)
    conn = sqlite3.connect("file:%s?mode=ro" % path, uri=True, timeout=timeout,
                           isolation_level=None)
    conn.text_factory = lambda raw: raw.decode("utf-8", "surrogateescape")
    return conn


def sqlite_query(path, sql, args=()):
    conn = sqlite_open(path)
    try:
        return conn.execute(sql, args).fetchall()
    except sqlite3.OperationalError as error:
        raise AssertionError("sqlite: %s" % error) from None
    finally:
        conn.close()


def sqlite_columns(path, table):
    return [row[1] for row in sqlite_query(path, "select * from pragma_table_xinfo(?)", (table,))]


def _float_key(text):
    value = float(text)
    return "NaN" if math.isnan(value) else repr(value)


def canonical_sqlite(value, pg_type):
    """A SQLite value in the text form that PostgreSQL prints for the column's type. What cannot be
    made equal again without loss stays different on purpose."""
    if value is None:
        return None
    if pg_type == "boolean":
        return {0: "f", 1: "t"}.get(value, value)
    if pg_type in ("real", "double precision"):
        return _float_key(value.decode() if isinstance(value, bytes) else value)
    if pg_type.endswith("with time zone") and pg_type.startswith("timestamp") \
            and isinstance(value, str):
        # Kept with +00:00, which SQLite's date functions read.
        return value.replace("+00:00", "+00")
    if isinstance(value, bytes):
        return "\\x" + value.hex()
    if pg_type == "money" and isinstance(value, str):
        return value.replace("$", "").replace(",", "")  # as printed under lc_monetary C
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        # A REAL in a column that is not a float: only right if its digits survived.
        return "REAL(%r)" % value
    return value


def canonical_pg(text, pg_type):
    if text is None:
        return None
    if pg_type == "real":
        # SQLite has only doubles: the shortest decimal of a float4, read as a double.
        return _float_key(text)
    if pg_type == "double precision":
        return _float_key(text)
    if pg_type == "money":
        return text.replace("$", "").replace(",", "")
    return text


def sqlite_equal(source, table, path, target=None, names=None):
    """table in the source, target (default: the table's own name) in the SQLite file."""
    target = target or split(table)[1]
    name, types, rows = pg_rows(source, table, names)
    found = sqlite_columns(path, target) if os.path.exists(path) else []
    if not found:
        raise AssertionError("no table %s in %s" % (target, path))
    missing = [n for n in name if n not in found]
    if missing:
        raise AssertionError("%s lacks the columns %s" % (target, missing))
    if names is None and [n for n in found if n not in name]:
        raise AssertionError("%s has columns that the source lacks: %s"
                             % (target, [n for n in found if n not in name]))
    wanted = ", ".join(quote(n) for n in name)
    target_rows = sqlite_query(path, "select %s from %s" % (wanted, quote(target)))
    left = collections.Counter()
    for row, count in rows.items():
        left[tuple(canonical_pg(v, t) for v, t in zip(row, types))] += count
    right = collections.Counter(tuple(canonical_sqlite(v, t) for v, t in zip(row, types))
                                for row in target_rows)
    return _compare("%s in SQLite" % target, left, right)


# ---- files ----------------------------------------------------------------------------------------


def published_files(folder):
    found = []
    for pattern in ("*.jsonl", "*.jsonl.gz", "*.jsonl.zst"):
        found += glob.glob(os.path.join(folder, "**", pattern), recursive=True)
    return sorted(found)


def read_jsonl(path):
    if path.endswith(".gz"):
        with gzip.open(path, "rb") as file:
            data = file.read()
    elif path.endswith(".zst"):
        if shutil.which("zstd") is None:
            skip("the zstd program is not installed")
        data = subprocess.run(["zstd", "-dc", path], check=True, stdout=subprocess.PIPE).stdout
    else:
        with open(path, "rb") as file:
            data = file.read()
    if data and not data.endswith(b"\n"):
        raise AssertionError("%s ends in half a line" % path)
    return [json.loads(line) for line in data.splitlines()]


def read_folder(folder):
    """All published records in order."""
    records = []
    for path in published_files(folder):
        records += read_jsonl(path)
    return records


# ---- change streams (debezium-json values) --------------------------------------------------------


def change_identity(value):
    """What names one change: (op, table, id, v) of tables made by tr.load."""
    row = value["after"] if value.get("after") is not None else value["before"]
    return value["op"], value["source"]["table"], row["id"], row.get("v")


def replay(values, table, key=("id",)):
    """Applies debezium-json values of one table in order; returns {key: after row}."""
    state = {}
    for value in values:
        if value is None or value.get("source", {}).get("table") != table:
            continue
        op = value["op"]
        if op == "t":
            state.clear()
        elif op == "d":
            state.pop(tuple(value["before"][k] for k in key), None)
        elif op in "cru":
            if op == "u" and value.get("before") is not None:
                state.pop(tuple(value["before"][k] for k in key), None)
            state[tuple(value["after"][k] for k in key)] = value["after"]
    return state


def stream_holds_each_once(found, expected, allow_repeats=False):
    """found, expected: lists of (op, id, v). Every expected change is there, in order per id; once
    unless repeats are allowed; and nothing else."""
    want, have = collections.Counter(expected), collections.Counter(found)
    missing = want - have
    if missing:
        raise AssertionError("lost %d changes:\n%s" % (sum(missing.values()), _show(missing)))
    unknown = set(have) - set(want)
    if unknown:
        raise AssertionError("changes that never were:\n" + _show(unknown))
    if allow_repeats:
        return True
    twice = have - want
    if twice:
        raise AssertionError("%d changes twice:\n%s" % (sum(twice.values()), _show(twice)))
    order = collections.defaultdict(list)
    for op, key, version in found:
        order[key].append((op, version))
    right = collections.defaultdict(list)
    for op, key, version in expected:
        right[key].append((op, version))
    for key, changes in right.items():
        if order[key] != changes:
            raise AssertionError("order of id %s: %s, not %s" % (key, order[key], changes))
    return True


def wait_equal(condition, run=None, timeout=20, what="the target to equal its source"):
    """condition raises AssertionError while they differ. run: a pipeline that must stay alive."""
    def equal():
        try:
            result = condition()
            return True if result is None else result
        except (AssertionError, psycopg2.ProgrammingError):
            if run is not None:
                run.alive()
            raise
    return wait_for(equal, timeout, what, interval=0.1)


def whole_history(values, changes, base, allow_repeats=False):
    """Snapshot rows and streamed changes (debezium-json values of one table, in order) together are the
    whole history: for each id a first part of its changes is what the snapshot's row shows, and the
    rest was streamed, in order and once.

    changes: (op, id, v) as tr.load keeps them; base: {id: v} of rows that nobody changes."""
    rows, streamed = collections.defaultdict(list), collections.defaultdict(list)
    for value in values:
        if value is None:
            continue
        op, _, key, version = change_identity(value)
        if op == "r":
            rows[key].append(version)
        else:
            streamed[key].append((op, None if op == "d" else version))
    history = collections.defaultdict(list)
    for op, key, version in changes:
        history[key].append((op, None if op == "d" else version))
    for key, version in base.items():
        history[key] = [("c", version)]
    wrong = []
    for key in set(rows) | set(streamed) | set(history):
        all_changes, rest, shown = history.get(key, []), streamed.get(key, []), rows.get(key, [])
        if allow_repeats:
            rest = list(dict.fromkeys(rest))
            # A copy that was begun anew may have shown the row at several times.
            shown = shown[-1:]
            if shown:
                rest = [c for c in all_changes if c in rest and
                        (c[0] == "d" or c[1] > shown[0])]
        before = all_changes[:len(all_changes) - len(rest)]
        expected = [] if not before or before[-1][0] == "d" else [before[-1][1]]
        if len(rest) > len(all_changes) or all_changes[len(before):] != rest or shown != expected:
            wrong.append("id %s: committed %s, snapshot %s, streamed %s"
                         % (key, all_changes, rows.get(key, []), streamed.get(key, [])))
    if wrong:
        raise AssertionError("%d ids are not whole:\n      %s"
                             % (len(wrong), "\n      ".join(wrong[:DIFFERENCES_SHOWN])))
    return True
