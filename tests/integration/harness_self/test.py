"""The harness itself: that its servers start, its proxy cuts, and its oracle sees a difference."""
import os
import sqlite3
import subprocess
import sys

from tr import *


class Servers(Case):
    PG = False

    def start(self, version, number):
        server = Postgres(version)
        try:
            self.assertEqual(server.version // 10000, number)
            self.assertEqual(server.value("show wal_level"), "logical")
        finally:
            server.close()

    def test_postgres_oldest(self):
        self.start("12", 12)

    def test_postgres_15(self):
        self.start("15", 15)

    def test_postgres_newest(self):
        self.start("18", 18)


class Ports(Case):
    PG = False

    def test_a_port_is_given_once(self):
        # Processes that begin their search at one place, as those do whose ids are far apart by the
        # right number; each keeps what it has until its input ends.
        code = ("import os, sys; sys.path.insert(0, %r); os.getpid = lambda: 4242\n"
                "from tr.common import free_port\n"
                "print(*[free_port() for _ in range(200)], flush=True); sys.stdin.read()"
                % os.path.join(ROOT, "tests", "harness"))
        finders = [spawn([sys.executable, "-c", code], stdin=subprocess.PIPE,
                         stdout=subprocess.PIPE, text=True) for _ in range(4)]
        ports = [int(port) for finder in finders for port in finder.stdout.readline().split()]
        for finder in finders:
            finder.communicate()
            end(finder)
        self.assertEqual(len(ports), 800)
        self.assertEqual(len(set(ports)), 800)


class Broker(Case):
    PG = False
    KAFKA = True

    def test_kafka_answers(self):
        topic = self.unique("self")
        run(["kcat", "-P", "-b", self.kafka.bootstrap, "-t", topic, "-K", "|"],
            input='{"id":1}|{"a":1}\n')
        self.assertEqual([(m["k"], m["v"]) for m in self.kafka.read(topic)], [({"id": 1}, {"a": 1})])
        self.assertEqual(self.kafka.read(topic + "_absent"), [])


class Oracle(Case):
    def test_oracle_sees_differences(self):
        db = self.database("create table t (id int primary key, x numeric, b bytea, f float8);"
                           "insert into t values (1, 1.50, '\\x00ff', 'NaN'), (2, null, null, 0.1)")
        path = self.path("t.db")
        conn = sqlite3.connect(path)
        conn.execute("create table t (id integer primary key, x text, b blob, f real)")
        conn.execute("insert into t values (1, '1.50', x'00ff', 'NaN'), (2, null, null, 0.1)")
        conn.commit()
        self.assertTrue(sqlite_equal(db, "t", path))
        for damage in ("update t set x = 1.5 where id = 1", "update t set b = x'00fe' where id = 1",
                       "delete from t where id = 2", "update t set x = '' where id = 2",
                       "update t set f = 0.2 where id = 2", "insert into t (id) values (3)"):
            conn.execute("begin")
            conn.execute(damage)
            conn.execute("commit")
            with self.assertRaises(AssertionError, msg=damage):
                sqlite_equal(db, "t", path)
            conn.execute("begin")
            conn.execute("delete from t")
            conn.execute("insert into t values (1, '1.50', x'00ff', 'NaN'), (2, null, null, 0.1)")
            conn.execute("commit")

    def test_oracle_sees_lost_and_repeated_changes(self):
        right = [("c", 1, 0), ("u", 1, 1), ("c", 2, 0)]
        self.assertTrue(stream_holds_each_once(right, right))
        self.assertTrue(stream_holds_each_once(right + right[2:], right, allow_repeats=True))
        for wrong in (right[:2], right + right[:1], [right[1], right[0], right[2]],
                      right + [("c", 9, 0)]):
            with self.assertRaises(AssertionError):
                stream_holds_each_once(wrong, right)

    def test_load_knows_its_changes(self):
        db = self.database(LEDGER.format(name="ledger") + ACCOUNTS)
        loads = Loads(db, accounts=True).start()
        self.wait(lambda: loads.committed > 100, what="load")
        loads.stop()
        rows = {}
        for op, key, version in loads.changes:
            if op == "d":
                del rows[key]
            else:
                rows[key] = version
        self.assertEqual(rows, dict(db.execute("select id, v from ledger")))
        self.assertEqual(db.value("select sum(balance) from accounts"), ACCOUNTS_SUM)

    def test_proxy_cuts(self):
        proxy = Proxy(self.pg.port)
        conn = None
        try:
            import psycopg2
            conn = psycopg2.connect(host="127.0.0.1", port=proxy.port, user="postgres",
                                    password="secret", dbname="postgres")
            conn.cursor().execute("select 1")
            self.assertEqual(proxy.cut(), 1)
            with self.assertRaises(psycopg2.OperationalError):
                conn.cursor().execute("select 1")
            proxy.refuse = True
            with self.assertRaises(psycopg2.OperationalError):
                psycopg2.connect(host="127.0.0.1", port=proxy.port, user="postgres",
                                 password="secret", dbname="postgres")
        finally:
            proxy.close()
