#!/usr/bin/env python3
"""Makes debezium.txt: what a real Debezium wrote for rows whose canonical text is known.

usage: make_golden.py DSN_OPTIONS CAPTURE_DIR > debezium.txt

schema.sql and rows.sql are loaded into a PostgreSQL database named ref; Debezium (its version stands in
the output) follows it once per mode below with skipped.operations=none and Kafka Connect's JSON
converter (schemas.enable=false); every topic is then written to CAPTURE_DIR/<mode>.<schema>.<table> as
`key<TAB>headers<TAB>value` lines. Only rows that came through the log are taken: Debezium reads
snapshot rows through java.sql types, whose calendar differs before 1582.

Lines of the result:
  T table                       a table begins
  C name type elem precision scale length nullable key default source_type base
  R id<TAB>cell<TAB>…           canonical text as COPY writes it
  X mode json                   the value's "after" for the row above, per mode
"""
import json, subprocess, sys

MODES = {"da": "adaptive", "ds": "string", "dd": "double", "du": "micros", "dn": "nanos", "dt": "timemicros"}
TABLES = ["t_num", "t_text", "t_time", "t_bin", "t_arr", "t_rng", "t_x"]
TYPES = {
    "int2": "INT16", "int4": "INT32", "int8": "INT64", "oid": "INT64", "bool": "BOOLEAN",
    "float4": "FLOAT32", "float8": "FLOAT64", "numeric": "DECIMAL", "money": "MONEY",
    "bpchar": "STRING", "varchar": "STRING", "text": "STRING", "citext": "STRING", "name": "STRING",
    "json": "JSON", "jsonb": "JSON", "xml": "XML", "uuid": "UUID", "mood": "ENUM", "date": "DATE",
    "time": "TIME", "timetz": "TIMETZ", "timestamp": "TIMESTAMP", "timestamptz": "TIMESTAMPTZ",
    "interval": "INTERVAL", "bytea": "BYTES", "bit": "BIT", "varbit": "BIT", "hstore": "HSTORE",
    "point": "POINT",
}
SETTINGS = ("set datestyle=iso; set intervalstyle=postgres; set timezone='UTC'; "
            "set bytea_output=hex; set extra_float_digits=3;")


def psql(options, sql):
    return subprocess.run(["psql", "-XAtq", *options, "-c", SETTINGS + sql], check=True,
                          capture_output=True, text=True).stdout


def modifiers(base, typmod):
    precision, scale, length = 0, 0, 0
    if base in ("time", "timetz", "timestamp", "timestamptz"):
        precision = typmod
    elif base == "numeric" and typmod >= 0:
        precision, scale = (typmod - 4) >> 16 & 0xffff, (typmod - 4) & 0x7ff
        scale = (scale ^ 1024) - 1024
    elif base in ("bit", "varbit"):
        length = max(typmod, 0)
    return precision, scale, length


def main():
    options, capture = sys.argv[1].split(), sys.argv[2]
    first = True
    for table in TABLES:
        columns = []
        rows = psql(options, f"""select a.attname, t.typname, a.atttypmod, a.attnotnull
            from pg_attribute a join pg_type t on t.oid = a.atttypid
            where a.attrelid = '{table}'::regclass and a.attnum > 0 order by a.attnum""")
        for line in rows.strip("\n").split("\n"):
            name, typname, typmod, notnull = line.split("|")
            array = typname.startswith("_")
            base = typname[1:] if array else typname
            kind = TYPES.get(base, "OTHER")
            precision, scale, length = modifiers(base, int(typmod))
            columns.append((name, "ARRAY" if array else kind, kind if array else "OTHER", precision, scale,
                            length, int(notnull == "f"), int(name == "id"), "-",
                            base + ("[]" if array else "")))
        seen = {}
        for mode in MODES:
            for line in open(f"{capture}/{mode}.public.{table}", encoding="utf-8"):
                value = line.rstrip("\n").split("\t", 2)[2]
                if value in ("", "NULL"):
                    continue
                value = json.loads(value)
                if value["op"] != "c":
                    continue
                if first:
                    print("# Debezium " + value["source"]["version"])
                    first = False
                seen.setdefault(value["after"]["id"], {})[mode] = value["after"]
        print("T", table)
        for column in columns:
            print("C", *column)
        copied = psql(options, f"copy (select * from {table} order by id) to stdout")
        for line in copied.strip("\n").split("\n"):
            id = int(line.split("\t")[0])
            if id not in seen:
                continue
            print("R " + line)
            for mode, after in seen[id].items():
                print("X", MODES[mode], json.dumps(after, ensure_ascii=False, separators=(",", ":")))


main()
