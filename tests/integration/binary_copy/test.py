"""PostgreSQL to PostgreSQL by binary COPY: which tables go so, that every value arrives as it was, and what
happens when the target is not what it was, refuses a row, or holds rows already."""
import re

from tr import *

# One column a type that is taken, and rows of (mostly) extreme values.
TYPES = {
    "bool": ["true", "false"],
    "bytea": [r"'\x00ff005c0a09'", "''"],
    '"char"': ["'x'", "'\\'"],
    "int8": ["9223372036854775807", "-9223372036854775808"],
    "int2": ["32767", "-32768"],
    "int4": ["2147483647", "-2147483648"],
    "text": ["repeat('1 MB ', 200000)", "''", r"E'tab\t nl\n cr\r bs\\ \\N \\. \u20ac \U0001F600'", r"'\N'"],
    "varchar(12)": ["'twelve chars'", "''"],
    "char(5)": ["'ab'", "''"],
    "oid": ["4294967295", "0"],
    "json": ["'{\"b\" : 1,  \"a\":null, \"b\": 2}'", "'[]'"],
    "jsonb": ["'{\"b\" : 1e3,  \"a\":[null, \"\\u00e9\"], \"b\": 2}'", "'\"\"'"],
    "point": ["'(1e300,-0.1)'", "'(Infinity,NaN)'"],
    "lseg": ["'[(0,0),(1,1)]'"],
    "path": ["'[(0,0),(1,1)]'", "'((0,0),(1,1))'"],
    "box": ["'(2,2),(0,0)'"],
    "polygon": ["'((0,0),(1,1),(2,0))'"],
    "line": ["'{1,-1,0.3}'"],
    "circle": ["'<(0,0),1.5>'"],
    "float4": ["'NaN'", "'-Infinity'", "3.4028235e38", "1e-45", "'-0'"],
    "float8": ["'NaN'", "'Infinity'", "1.7976931348623157e308", "5e-324", "0.1"],
    "cidr": ["'10.1.0.0/16'", "'2001:db8::/32'"],
    "inet": ["'192.168.1.1/24'", "'::ffff:1.2.3.4'", "'255.255.255.255'"],
    "macaddr": ["'08:00:2b:01:02:03'"],
    "macaddr8": ["'08:00:2b:01:02:03:04:05'"],
    "date": ["'infinity'", "'-infinity'", "'4713-01-01 BC'", "'5874897-12-31'"],
    "time": ["'24:00:00'", "'00:00:00.000001'"],
    "timetz": ["'23:59:59.999999+15:59:59'", "'00:00-15:59'"],
    "timestamp": ["'infinity'", "'4713-11-24 00:00:00 BC'", "'294276-12-31 23:59:59.999999'"],
    "timestamptz": ["'-infinity'", "'2024-02-29 12:00:00.5+05:30'", "'294276-12-31 23:59:59.999999+00'"],
    "interval": ["'-178000000 years 11 mons -5 days 04:05:06.789'", "'0'", "'2147483647 days'"],
    "bit(9)": ["B'101010101'", "B'000000000'"],
    "bit varying": ["B''", "B'1011'"],
    "numeric": ["'NaN'", "repeat('9', 600) || '.' || repeat('7', 400)", "'1e-16000'", "0.000", "-1e1000"],
    "numeric(10,2)": ["99999999.99", "-0.01"],
    "uuid": ["'00000000-0000-0000-0000-000000000000'", "'ffffffff-ffff-ffff-ffff-ffffffffffff'"],
    "pg_lsn": ["'FFFFFFFF/FFFFFFFF'"],
    "int4range": ["'empty'", "'[1,5)'", "'(,)'"],
    "int8range": ["'[-5,)'"],
    "numrange": ["'(1.5,2.50]'"],
    "tsrange": ["'[2020-01-01,infinity]'"],
    "tstzrange": ["'(,2020-01-01 00:00+02)'"],
    "daterange": ["'[2020-01-01,2020-01-02]'"],
    "int4[]": ["'{}'", "'{1,NULL,-3}'", "'[2:3][0:1]={{1,2},{3,NULL}}'"],
    "text[]": ["'{}'", "'{\"\",NULL,\"NULL\",\"a,b\\\"\\\\\"}'"],
    "varchar(3)[]": ["'{abc,\"\"}'"],
    "numeric(6,2)[]": ["'{1.50,NaN}'"],
    "timestamptz[]": ["'{infinity,2020-01-01 00:00+00}'"],
    "bytea[]": [r"'{\"\\\\x00ff\"}'"],
    "uuid[]": ["'{00000000-0000-0000-0000-000000000000}'"],
    "jsonb[]": ["'{\"{\\\"a\\\": 1}\"}'"],
    "small_text": ["'of a domain'"],
    "some_ints": ["'{1,2}'"],
}
SLOW = "source.postgres.mid_copy=sleep:200"
DOMAINS = "create domain small_text as varchar(20); create domain some_ints as int4[];"


def all_types(table, more="", without=()):
    """The table with a row a value: each value in its column, NULL in the others; and a row of first ones."""
    types = {type_: values for type_, values in TYPES.items() if type_ not in without}
    names = ["c%d" % i for i in range(len(types))]
    sql = ["create table %s (id int primary key, %s%s)" % (
        table, ", ".join("%s %s" % pair for pair in zip(names, types)), more)]
    sql.append("insert into %s (id) values (0)" % table)
    sql.append("insert into %s (id, %s) values (1, %s)" % (table, ", ".join(names), ", ".join(
        "(%s)::%s" % (values[0], type_) for type_, values in types.items())))
    number = 2
    for name, (type_, values) in zip(names, types.items()):
        for value in values:
            sql.append("insert into %s (id, %s) values (%d, (%s)::%s)" % (table, name, number, value, type_))
            number += 1
    return ";".join(sql) + ";"


class Copy(Case):
    def start(self, sql, target_sql=None, route=None, source=None, failpoint=None, log=False, **pipeline):
        self.db = self.database(sql)
        self.target = self.database(target_sql)
        if log:
            self.pg.execute("alter database %s set log_statement = 'all'" % self.target.name)
        pipeline.setdefault("schema.change.behavior", "evolve")
        self.run_ = self.pipeline(self.db.source(**(source or {})), self.target.sink(), route=route,
                                  pipeline=pipeline).start(failpoint=failpoint)
        return self.run_

    def counts(self):
        """(tables, those by binary COPY) of each copy that this process has begun."""
        found = re.findall(r"copying tables.* tables=(\d+) binary=(\d+)", self.run_.text())
        return [(int(tables), int(binary)) for tables, binary in found]

    def equal(self, *tables, **kwargs):
        for table in tables:
            wait_equal(lambda: pg_equal(self.db, self.target, table, **kwargs), self.run_, 60,
                       "%s to be equal" % table)


class BinaryCopy(Copy):
    def test_every_type(self):
        self.start(DOMAINS + "create type mood as enum ('sad', 'ok');" + all_types("by_binary") +
                   all_types("by_text", ", m mood default 'ok'"), log=True)
        self.equal("by_binary", "by_text")
        self.assertEqual(self.counts(), [(2, 1)])
        log = self.pg.log_text()
        for table, binary in ("by_binary", True), ("by_text", False):
            copies = re.findall(r'COPY "public"."%s" .*FROM STDIN(.*)' % table, log)
            self.assertTrue(copies, "no COPY into %s" % table)
            self.assertEqual(["binary" in rest for rest in copies], [binary] * len(copies))
        # Row for row: the text and, in case that hides something, the bytes.
        names = [name for name, _ in columns(self.target, "by_binary")]
        same = "select count(*), count(*) filter (where record_send(row(%s)) = record_send(row(%s))) " \
               "from by_binary b join by_text t using (id)" % (
                   ", ".join('b."%s"' % n for n in names), ", ".join('t."%s"' % n for n in names))
        found = self.target.execute(same)[0]
        self.assertEqual(found, self.db.execute(same)[0])
        self.assertGreater(found[0], 100)
        self.assertEqual(found[0], found[1])
        # The same with the source's; a domain's own oid would differ.
        own = [name for name, type_ in columns(self.db, "by_binary") if type_ not in ("small_text", "some_ints")]
        digest = "select id, md5(record_send(row(%s))) from by_binary b order by id" % \
                 ", ".join('"%s"' % name for name in own)
        self.assertEqual(self.target.execute(digest), self.db.execute(digest))
        # The stream goes on from there, as text.
        self.db.statements("update by_binary set c5 = 7 where id % 2 = 0", "delete from by_binary where id = 5",
                           "update by_binary set id = id + 1000 where id > 20")
        self.equal("by_binary")

    def test_many_rows_by_several_readers(self):
        self.start("create table t (id bigint primary key, v text, n numeric, at timestamptz);"
                   "insert into t select i, repeat('v' || i, i % 30), i / 7.0, now() from "
                   "generate_series(1, 30000) i; insert into t values (0, repeat('large', 100000), 0, null);"
                   "create table none (id int primary key, v text); create table bare (a int, b text); alter table bare replica identity full;"
                   "insert into bare select i % 5, 'b' from generate_series(1, 100) i;",
                   source={"scan.snapshot.chunk.size": "256KB", "scan.snapshot.readers": 3})
        self.equal("t", "none", "bare")
        self.assertEqual(self.counts(), [(3, 3)])
        self.assertEqual(self.run_.verify().returncode, 0)

    def test_what_goes_as_text(self):
        self.start("create type mood as enum ('sad', 'ok'); create type pair as (a int, b text);"
                   "create table an_enum (id int primary key, v mood); insert into an_enum values (1, 'ok');"
                   "create table enums (id int primary key, v mood[]); insert into enums values (1, '{sad,ok}');"
                   "create table a_pair (id int primary key, v pair); insert into a_pair values (1, '(1,x)');"
                   "create table cash (id int primary key, v money); insert into cash values (1, 12.5);"
                   "create table wider (id int primary key, v int); insert into wider values (1, 5);"
                   "create table moment (id int primary key, v int8); insert into moment values (1, 5);"
                   "create table strings (id int primary key, v varchar[]); insert into strings values (1, '{a}');"
                   "create table made (id int primary key, v int); insert into made values (1, 2);"
                   "create table held (id int primary key, v int); insert into held values (1, 1), (2, 2);"
                   "create table fewer (id int primary key, v int, w int); insert into fewer values (1, 2, 3);"
                   "create table taken (id int primary key, v varchar(9), w text); insert into taken values (1, 'a', 'b')",
                   "create domain whole as int; create table wider (id int primary key, v bigint);"
                   "create table moment (id int primary key, v numeric);"
                   "create table strings (id int primary key, v text[]);"
                   "create table made (id int primary key, v int generated always as (id + 1) stored);"
                   "create table held (id int primary key, v int); insert into held values (1, 100);"
                   "create table fewer (id whole primary key, v int);"
                   # Another order, a column more, text for varchar and back: that is no obstacle.
                   "create table taken (more int default 7, w char(3), v text, id int primary key)")
        self.equal("an_enum", "enums", "a_pair", "cash", "wider", "moment", "strings", "made", "held", "fewer")
        wait_equal(lambda: self.assertEqual(self.target.execute("select id, v, w, more from taken"),
                                            [(1, "a", "b  ", 7)]) or True, self.run_)
        self.assertEqual(self.counts(), [(11, 1)])

    def test_routes(self):
        self.start("create table s_1 (id int primary key, v text); insert into s_1 values (1, 'a');"
                   "create table s_2 (id int primary key, v text); insert into s_2 values (2, 'b'), (1, 'c');"
                   "create table plain (id int primary key, v text); insert into plain values (3, 'x')",
                   route=[{"source-table": "public.s_\\.*", "sink-table": "merged"},
                          {"source-table": "public.plain", "sink-table": "other.renamed"}])
        self.wait(lambda: self.target.value("select to_regclass('other.renamed') is not null and "
                                            "to_regclass('merged') is not null"), self.run_)
        self.wait(lambda: self.target.execute("select * from other.renamed") == [(3, "x")] and
                  self.target.value("select count(*) from merged") == 2, self.run_)
        self.assertEqual(self.counts(), [(3, 1)])

    def test_a_refused_row(self):
        self.start("create table t (id int primary key, v int, w text);"
                   "insert into t select i, i, 'secret words' from generate_series(1, 5000) i",
                   "create table t (id int primary key, v int constraint v_odd check (v <> 4711), w text)")
        self.assertEqual(self.run_.wait_exit(), 4, self.run_.tail())
        self.assertEqual(self.counts(), [(1, 1)])
        line = self.run_.last_line()
        self.assertIn("v_odd", line)
        self.assertNotIn("4711", line, "row values do not belong into logs")
        self.assertNotIn("secret", self.run_.text())
        self.assertEqual(self.target.value("select count(*) from t"), 0)
        self.target.execute("alter table t drop constraint v_odd")
        self.pg.wait_slot_idle(self.run_.name + "_slot")
        self.run_.start()
        self.equal("t")
        self.assertEqual(self.counts(), [(1, 1)])

    def change_under_way(self, change):
        """The target is changed between the sink's answer and the first row."""
        shape = "create table t (id int primary key, v int8);"
        target = self.database(shape)
        conn = target.connect()
        conn.autocommit = False
        with conn.cursor() as cursor:
            cursor.execute("lock table t in share mode")  # reading goes on, a COPY waits
            self.db = self.database(shape + "insert into t select i, i from generate_series(1, 300) i")
            self.target = target
            self.run_ = self.pipeline(self.db.source(), target.sink(),
                                      pipeline={"schema.change.behavior": "evolve",
                                                "restart-strategy.type": "fixed-delay",
                                                "restart-strategy.fixed-delay.delay": "200ms"}).start()
            self.wait(lambda: self.pg.value("select count(*) from pg_locks l join pg_database d on "
                                            "d.oid = l.database where not granted and datname = %s",
                                            args=(target.name,)) > 0, self.run_, what="the writer to wait")
            cursor.execute(change)
        conn.commit()
        conn.close()

    def test_the_target_gets_another_type(self):
        # An int8 that is read as a timestamp would be a value, and a wrong one; here it would be none.
        self.change_under_way("alter table t alter v type numeric")
        self.wait_streaming(self.run_)
        self.assertIn("PGSINK_TARGET_CHANGED", self.run_.text())
        self.assertEqual(self.counts(), [(1, 1), (1, 0)])
        self.assertEqual(self.target.execute("select count(*), sum(v) from t where v = id"), [(300, 45150)])

    def test_the_target_gets_a_type_of_the_same_size(self):
        self.change_under_way("alter table t alter v type float8")
        self.wait_streaming(self.run_)
        self.assertIn("PGSINK_TARGET_CHANGED", self.run_.text())
        self.assertEqual(self.target.execute("select count(*), sum(v) from t where v = id"), [(300, 45150)])

    def test_the_target_is_another_table(self):
        self.change_under_way("drop table t; create table t (v int8, extra text, id int primary key)")
        self.equal("t", names=["id", "v"])


class BinaryCopy12(BinaryCopy):
    PG_VERSION = "12"


class BinaryCopy18(BinaryCopy):
    PG_VERSION = "18"


class BinaryCopyKilled(Copy):
    """Several chunks a table: from PostgreSQL 14 on."""

    def kill_half_way(self):
        """Some chunks are in the target; the reader sleeps at each, so that others are not."""
        self.wait(lambda: self.target.value("select to_regclass('t') is not null") and
                  self.target.value("select count(*) from t") > 0, self.run_, what="the first rows")
        self.run_.kill()
        self.assertLess(self.target.value("select count(*) from t"), 3000)

    def test_a_copy_that_was_killed_goes_on(self):
        self.start("create table t (id int primary key, n int, v text);"
                   "insert into t select i, 0, repeat('v' || i, 100) from generate_series(1, 3000) i;"
                   "create table two (id int primary key, v text);"
                   "insert into two select i, 'v' from generate_series(1, 100) i;",
                   source={"scan.snapshot.chunk.size": "16KB", "scan.snapshot.readers": 2},
                   failpoint=SLOW)
        self.kill_half_way()
        self.assertEqual(self.counts(), [(2, 2)])
        self.pg.wait_slot_idle(self.run_.name + "_slot")
        self.db.statements("update t set n = 1 where id % 3 = 0", "delete from t where id < 50", "vacuum t",
                           "insert into t values (5000, 5, 'late')")
        self.run_.start()
        self.equal("t", "two")
        self.wait_streaming(self.run_)
        # Its rows go by key now.
        self.assertLess(self.counts()[0][1], self.counts()[0][0])
        self.db.statements("update t set n = n + 1 where id % 7 = 0")
        self.equal("t", "two")

    def test_a_bounded_copy_begins_anew(self):
        """The target is emptied first, so that its rows are no reason for text."""
        self.start("create table t (id int primary key, v text);"
                   "insert into t select i, repeat('v', 100) from generate_series(1, 3000) i",
                   source={"scan.startup.mode": "snapshot", "scan.snapshot.chunk.size": "16KB"},
                   failpoint=SLOW)
        self.kill_half_way()
        self.assertEqual(self.counts(), [(1, 1)])
        self.db.statements("update t set v = 'w' where id % 2 = 0", "delete from t where id < 10")
        self.run_.start()
        self.assertEqual(self.run_.wait_exit(60), 0, self.run_.tail())
        self.assertEqual(self.counts(), [(1, 1)])
        self.assertTrue(pg_equal(self.db, self.target, "t"))


class BinaryCopyKilled18(BinaryCopyKilled):
    PG_VERSION = "18"


class BinaryCopyAcross(Case):
    """Between servers whose intervals differ: since 17 they have infinities."""
    PG_VERSION = "12"

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.other = Postgres("18")

    @classmethod
    def tearDownClass(cls):
        cls.other.close()
        super().tearDownClass()

    def test_both_ways(self):
        for source, target in (self.pg, self.other), (self.other, self.pg):
            db = self.database(DOMAINS + all_types("plain", without=["interval"]) +
                               "create table spans (id int primary key, v interval);"
                               "insert into spans values (1, '1 year -2 days 03:04:05.6'), (2, '2147483647 days')",
                               server=source)
            into = self.database(server=target)
            run_ = self.pipeline(db.source(**{"scan.startup.mode": "snapshot"}), into.sink(),
                                 pipeline={"schema.change.behavior": "evolve"}).start()
            self.assertEqual(run_.wait_exit(60), 0, run_.tail())
            self.assertIn("tables=2 binary=1", run_.text())
            for table in "plain", "spans":
                self.assertTrue(pg_equal(db, into, table))
