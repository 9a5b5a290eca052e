"""Every built-in type, its odd values, and arrays: what is in the target is what was in the source."""
from tr import *

# type → values as SQL literals
TYPES = {
    "boolean": ["true", "false"],
    "smallint": ["-32768", "32767", "0"],
    "integer": ["-2147483648", "2147483647"],
    "bigint": ["-9223372036854775808", "9223372036854775807"],
    "oid": ["0", "4294967295"],
    "real": ["'NaN'", "'Infinity'", "'-Infinity'", "1.1", "-0.0", "1e-40", "3.4028235e38"],
    "double precision": ["'NaN'", "'Infinity'", "'-Infinity'", "0.1", "1e308", "5e-324",
                         "1.7976931348623157e308", "123456789.123456789"],
    "numeric": ["'NaN'", "0", "-0.000000000000000000000000000001", "1e100", "1.10", "123456789012345"
                "67890123456789012345678901234567890.00000000000000000001", "-1e-130"],
    "numeric(10,2)": ["1.10", "-99999999.99", "0.00", "100"],
    "numeric(38,0)": ["99999999999999999999999999999999999999"],
    "money": ["'12.34'", "'-92233720368547758.08'", "'0'"],
    "text": ["''", "'plain'", "E'tab\\tnew\\nline\\\\back\\rreturn'", "'quote '' and \"'", "'\\N'",
             "'ünï → 漢字 🚀'", "repeat('x', 100000)", "E'\\x01\\x7f'", "' lead and trail '"],
    "varchar(20)": ["'short'", "''"],
    "char(5)": ["'ab'", "'abcde'", "''"],
    "name": ["'a_name'"],
    '"char"': ["'a'"],
    "bytea": ["''", "'\\x00ff'", "'\\x5c6e'", "decode(repeat('00', 5000), 'hex')"],
    "date": ["'2024-02-29'", "'0001-01-01'", "'4713-01-01 BC'", "'infinity'", "'-infinity'",
             "'5874897-12-31'"],
    "time": ["'00:00:00'", "'24:00:00'", "'23:59:59.999999'", "'12:00:00.5'"],
    "time(3)": ["'12:34:56.789'"],
    "timetz": ["'12:00:00+05:30'", "'24:00:00-12'", "'00:00:00.000001+00'"],
    "timestamp": ["'2024-02-29 12:34:56.789012'", "'infinity'", "'-infinity'",
                  "'4713-01-01 00:00:00 BC'", "'294276-12-31 23:59:59.999999'", "'0001-01-01'"],
    "timestamp(0)": ["'2024-02-29 12:34:56'"],
    "timestamptz": ["'2024-02-29 12:34:56.789012+05:30'", "'infinity'", "'-infinity'",
                    "'4713-11-24 00:00:00+00 BC'", "'294276-12-31 23:59:59.999999+00'"],
    "interval": ["'1 year 2 mons 3 days 04:05:06.7'", "'-1 day +2 hours'", "'0'",
                 "'-178000000 years'", "'00:00:00.000001'"],
    "uuid": ["'00000000-0000-0000-0000-000000000000'", "'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'"],
    "json": ["'{\"a\":  1, \"a\": 2}'", "'null'", "'[1, \"ü\", 1.10]'"],
    "jsonb": ["'{\"b\": 1, \"a\": [true, null, 1e3]}'", "'\"text\"'", "'12345678901234567890.10'"],
    "xml": ["'<a b=\"c\">d</a>'"],
    "bit(1)": ["B'1'"],
    "bit(11)": ["B'10101010101'"],
    "varbit": ["B''", "B'101'"],
    "inet": ["'192.168.0.1/24'", "'::1'"],
    "cidr": ["'10.0.0.0/8'"],
    "macaddr": ["'08:00:2b:01:02:03'"],
    "macaddr8": ["'08:00:2b:01:02:03:04:05'"],
    "point": ["'(1.5,-2)'"],
    "box": ["'(2,2),(1,1)'"],
    "line": ["'{1,2,3}'"],
    "lseg": ["'[(1,2),(3,4)]'"],
    "path": ["'((1,1),(2,2))'"],
    "polygon": ["'((0,0),(1,1),(1,0))'"],
    "circle": ["'<(1,2),3>'"],
    "tsvector": ["'''a'':1A ''b'':2'"],
    "tsquery": ["'''a'' & ''b'''"],
    "pg_lsn": ["'16/B374D848'"],
    "int4range": ["'[1,10)'", "'empty'", "'(,5)'"],
    "numrange": ["'[1.10,2.20]'"],
    "tstzrange": ["'[2024-01-01 00:00:00+00,infinity)'"],
    "daterange": ["'[2024-01-01,2024-02-01)'"],
    "int[]": ["'{}'", "'{1,NULL,-3}'", "'{{1,2},{3,4}}'", "'[0:1]={5,6}'"],
    "text[]": ["'{}'", "'{a,\"b c\",NULL,\"NULL\",\"q\\\"q\",\"b\\\\b\",\"\"}'"],
    "numeric(10,2)[]": ["'{1.10,NULL,-2.00}'"],
    "boolean[]": ["'{t,f,NULL}'"],
    "timestamptz[]": ["'{\"2024-02-29 12:34:56+00\",infinity}'"],
    "bytea[]": ["'{\"\\\\x00ff\"}'"],
    "jsonb[]": ["array['{\"a\": 1}'::jsonb]"],
    "mood": ["'sad'", "'it''s ok'"],
    "mood[]": ["'{sad,\"it''s ok\"}'"],
    "positive": ["5"],
    "pair": ["'(1,\"a b\")'"],
}
SETUP = """
create type mood as enum ('sad', 'it''s ok', 'happy');
create domain positive as int check (value > 0);
create type pair as (a int, b text);
"""
# What a newer server has more.
NEWER = {
    140000: {"numeric": ["'Infinity'", "'-Infinity'"], "int4multirange": ["'{[1,3),[5,7)}'"]},
}


def types_for(version):
    types = {name: list(values) for name, values in TYPES.items()}
    for least, more in NEWER.items():
        if version >= least:
            for name, values in more.items():
                types[name] = types.get(name, []) + values
    return types


def build(db, version, prefix="t"):
    """One table a type, so that a difference names its type. Returns their names with the types."""
    statements, tables = [SETUP], []
    for index, (name, values) in enumerate(types_for(version).items()):
        table = "%s_%02d" % (prefix, index)
        tables.append((table, name))
        statements.append("create table %s (id int primary key, v %s)" % (table, name))
        for row, value in enumerate(values):
            statements.append("insert into %s values (%d, %s)" % (table, row, value))
        statements.append("insert into %s values (99, null)" % table)
    db.execute(";\n".join(statements))
    return tables


def live(db, tables, version):
    statements = []
    types = types_for(version)
    for table, name in tables:
        for row, value in enumerate(types[name]):
            statements.append("insert into %s values (%d, %s)" % (table, 200 + row, value))
        # The value of one row goes to another by an update; and one becomes null.
        statements.append("update %s set v = %s where id = 99" % (table, types[name][-1]))
        statements.append("update %s set v = null where id = 200" % table)
    db.execute("begin;" + ";\n".join(statements) + ";commit")


class Types(Case):
    def test_every_type_to_sqlite(self):
        db = self.database()
        version = self.pg.version
        tables = build(db, version)
        target = self.path("types.db")
        run_ = self.pipeline(db.source(), {"type": "sqlite", "path": target}).start()

        def all_equal():
            wrong = []
            for table, name in tables:
                try:
                    sqlite_equal(db, table, target)
                except AssertionError as error:
                    wrong.append("type %s: %s" % (name, str(error)[:700]))
            if wrong:
                raise AssertionError("%d types differ\n%s" % (len(wrong), "\n".join(wrong)))
        wait_equal(all_equal, run_, 20, "the snapshot of all types")
        live(db, tables, version)
        wait_equal(all_equal, run_, 20, "the live changes of all types")
        done = run_.verify()
        self.assertEqual(done.returncode, 0, done)

    def test_every_type_to_postgres(self):
        db = self.database()
        target = self.database()
        version = self.pg.version
        tables = build(db, version)
        # Types that are the source's own do not exist in the target; the sink says or maps.
        target.execute(SETUP)
        run_ = self.pipeline(db.source(), target.sink()).start()

        def all_equal():
            wrong = []
            for table, name in tables:
                try:
                    pg_equal(db, target, table)
                except AssertionError as error:
                    wrong.append("type %s: %s" % (name, str(error)[:700]))
            if wrong:
                raise AssertionError("%d types differ\n%s" % (len(wrong), "\n".join(wrong)))
        wait_equal(all_equal, run_, 20, "the snapshot of all types")
        live(db, tables, version)
        wait_equal(all_equal, run_, 20, "the live changes of all types")
        # The target's columns have the source's types; those that a user made become their base.
        for table, name in tables:
            if name in ("mood", "mood[]", "positive", "pair"):
                continue
            self.assertEqual([c[1] for c in columns(db, table)], [c[1] for c in columns(target, table)])
        done = run_.verify()
        self.assertEqual(done.returncode, 0, done)


class TypesOldest(Types):
    PG_VERSION = "12"


class TypesNewest(Types):
    PG_VERSION = "18"
