"""What is wrong with the source is said with a stable code and what mends it; nothing is re-created
silently, nothing crashes."""
import json
import re
import time

from tr import *

SQL = "create table t (id int primary key, v text); insert into t select i, 'v' from generate_series(1, 20) i"


class Base(Case):
    def setUp(self):
        super().setUp()
        self.db = self.database(SQL)
        self.target = self.path("t.db")

    def make(self, tables="public.t", source=None, **kwargs):
        settings = self.db.source(tables)
        settings.update(source or {})
        settings = {k: v for k, v in settings.items() if v is not None}
        self.run_ = self.pipeline(settings, {"type": "sqlite", "path": self.target}, **kwargs)
        return self.run_

    def copied(self):
        self.make().start()
        wait_equal(lambda: sqlite_equal(self.db, "t", self.target), self.run_)
        # A checkpoint exists once the slot has followed.
        lsn = self.pg.current_lsn()
        self.wait(lambda: self.pg.value("select confirmed_flush_lsn >= %s::pg_lsn from "
                                        "pg_replication_slots where slot_name = %s",
                                        args=(lsn, self.run_.name + "_slot"))
                  or self.db.execute("insert into t values ((select max(id) + 1 from t), 'x')"),
                  self.run_)
        self.run_.stop()
        self.slot = self.run_.name + "_slot"
        self.pg.wait_slot_idle(self.slot)
        return self.run_


class Slots(Base):
    PG_SETTINGS = {"max_slot_wal_keep_size": "16MB", "min_wal_size": "32MB", "max_wal_size": "32MB"}

    def test_missing(self):
        run_ = self.copied()
        self.pg.execute("select pg_drop_replication_slot(%s)", args=(self.slot,))
        self.db.execute("insert into t values (1000, 'lost from the log')")
        line = run_.fail(code=3, error="PG_SLOT_MISSING")
        self.assertIn("tailrace drop", line)
        self.assertIsNone(self.pg.slot(self.slot), "the slot was made anew")
        # The command that it names mends it.
        self.assertEqual(run_.cli("drop", run_.file, "--yes").returncode, 0)
        run_.start()
        wait_equal(lambda: sqlite_equal(self.db, "t", self.target), run_)

    def test_lost(self):
        run_ = self.copied()
        conn = self.db.connect()
        cursor = conn.cursor()
        cursor.execute("create table filler (x text)")
        for _ in range(12):
            cursor.execute("insert into filler select repeat(md5(i::text), 20) from generate_series(1, 15000) i")
            cursor.execute("select pg_switch_wal()")
            cursor.execute("checkpoint")
            cursor.execute("select wal_status from pg_replication_slots where slot_name = %s", (self.slot,))
            if cursor.fetchone()[0] == "lost":
                break
        conn.close()
        self.assertEqual(self.pg.slot(self.slot)["wal_status"], "lost")
        line = run_.fail(code=3, error="PG_SLOT_LOST")
        self.assertIn("max_slot_wal_keep_size", line + run_.text())

    def hold_slot(self):
        """A connection that streams from the slot and acknowledges nothing."""
        import psycopg2
        import psycopg2.extras
        holder = psycopg2.connect(connection_factory=psycopg2.extras.LogicalReplicationConnection,
                                  **self.pg.params(self.db.name))
        holder.cursor().start_replication(
            slot_name=self.slot, decode=False, status_interval=1000,
            options={"proto_version": "1", "publication_names": self.run_.name + "_pub"})
        self.wait(lambda: self.pg.slot(self.slot)["active"], what="the slot to be held")
        return holder

    def test_in_use(self):
        run_ = self.copied()
        holder = self.hold_slot()
        line = run_.fail(error="PG_SLOT_IN_USE", code=1)
        self.assertIn(self.slot, line)
        self.assertTrue(self.pg.slot(self.slot)["active"], "the other one was thrown out")
        holder.close()

    def test_in_use_is_retried(self):
        run_ = self.copied()
        holder = self.hold_slot()
        again = self.pipeline(self.db.source("public.t"), {"type": "sqlite", "path": self.target},
                              name=run_.name, state_dir=run_.state_dir,
                              pipeline={"restart-strategy.type": "fixed-delay",
                                        "restart-strategy.fixed-delay.delay": "1s",
                                        "restart-strategy.fixed-delay.attempts": 200}).start()
        again.wait_log("PG_SLOT_IN_USE")
        holder.close()
        self.db.execute("insert into t values (2000, 'after')")
        wait_equal(lambda: sqlite_equal(self.db, "t", self.target), again)

    def test_ahead(self):
        run_ = self.copied()
        self.db.statements("insert into t values (1000, 'skipped by another')",
                           "insert into t values (1001, 'skipped too')")
        self.db.execute("select pg_replication_slot_advance(%s, pg_current_wal_lsn())", (self.slot,))
        line = run_.fail(code=3, error="PG_SLOT_AHEAD")
        self.assertIn("/", line)

    def test_slot_of_another_plugin(self):
        self.pg.statements(self.db.name,
                           "select pg_create_logical_replication_slot('wrong_plugin', 'test_decoding')"
                           if self.has_test_decoding() else
                           "select pg_create_physical_replication_slot('wrong_plugin')")
        self.make(source={"slot.name": "wrong_plugin"}).fail(code=2, error="PG_SLOT_UNFIT")

    def has_test_decoding(self):
        try:
            self.pg.statements(self.db.name,
                               "select pg_create_logical_replication_slot('probe', 'test_decoding')",
                               "select pg_drop_replication_slot('probe')")
            return True
        except Exception:
            return False

    def test_another_cluster(self):
        run_ = self.copied()
        other = Postgres(self.PG_VERSION, settings=self.PG_SETTINGS)
        try:
            other.create_database(self.db.name, SQL)
            other.statements(self.db.name, "create publication %s_pub for table t" % run_.name,
                             "select pg_create_logical_replication_slot('%s', 'pgoutput')" % self.slot)
            moved = self.pipeline({**self.db.source("public.t"), "port": other.port},
                                  {"type": "sqlite", "path": self.target},
                                  name=run_.name, state_dir=run_.state_dir)
            moved.fail(code=3, error="PG_SYSTEM_CHANGED")
        finally:
            other.close()


class Preflight(Base):
    def refused(self, error, code=2, tables="public.t", source=None, hint=None):
        """Refused by `check` and at start alike, with the same code; check --json names it too."""
        run_ = self.make(tables, source)
        checked = run_.check()
        self.assertNotEqual(checked.returncode, 0, checked)
        self.assertIn(error, checked.all)
        findings = json.loads(run_.check("--json").stdout)
        self.assertFalse(findings["ok"])
        found = [f for f in findings["findings"] if f["code"] == error]
        self.assertTrue(found, findings)
        line = run_.fail(code=code, error=error)
        if hint:
            self.assertIn(hint, line)
            self.assertTrue(any(hint in f["remedy"] for f in found), found)
        self.assertNotIn("secret", checked.all + run_.all_text())
        self.assertEqual(self.pg.execute("select slot_name from pg_replication_slots"), [])
        return line

    def test_wrong_password(self):
        # trust lets anyone in: this needs a user whose password counts
        server = Postgres(self.PG_VERSION, auth="scram-sha-256")
        try:
            db = server.create_database("d", SQL)
            run_ = self.pipeline({**db.source("public.t"), "password": "wr0ng-pass"},
                                 {"type": "sqlite", "path": self.target})
            line = run_.fail(code=2, error="PG_AUTH")
            checked = run_.check()
            self.assertIn("PG_AUTH", checked.all)
            self.assertNotIn("wr0ng-pass", line + run_.all_text() + checked.all)
        finally:
            server.close()

    def test_nobody_listens(self):
        self.make(source={"port": free_port()}).fail(code=1, error="PG_CONNECT")

    def test_unknown_database(self):
        run_ = self.pipeline({**self.db.source(), "tables": "no_such_db.public.t"},
                             {"type": "sqlite", "path": self.target})
        run_.fail(code=2, error="PG_DATABASE")

    def test_absent_table(self):
        line = self.refused("PG_TABLE_MISSING", tables="public.absent")
        self.assertIn("absent", line)

    def test_pattern_that_matches_nothing(self):
        self.refused("PG_NO_TABLES", tables="public.zzz_\\.*")

    def test_replica_identity_nothing(self):
        self.db.execute("create table n (id int primary key); alter table n replica identity nothing")
        self.refused("PG_REPLICA_IDENTITY", tables="public.n", hint="ALTER TABLE")

    def test_table_without_key(self):
        self.db.execute("create table k (a int)")
        self.refused("PG_REPLICA_IDENTITY", tables="public.k", hint="REPLICA IDENTITY FULL")
        # What the hint says mends it.
        self.db.execute("alter table k replica identity full")
        run_ = self.make("public.k").start()
        wait_equal(lambda: sqlite_equal(self.db, "k", self.target), run_)

    def test_no_grant(self):
        self.pg.execute("drop role if exists reader")
        self.pg.execute("create role reader login replication password 'x'")
        self.db.execute("create publication granted for table t")
        line = self.refused("PG_TABLE_GRANT", hint="GRANT SELECT",
                            source={"username": "reader", "password": "x",
                                    "publication.name": "granted"})
        self.assertIn("reader", line)

    def test_no_replication_role(self):
        self.pg.execute("drop role if exists plain")
        self.pg.execute("create role plain login password 'x'")
        self.db.execute("grant select on t to plain; create publication for_plain for table t")
        run_ = self.make(source={"username": "plain", "password": "x", "publication.name": "for_plain"})
        # check only warns: some hosted servers grant it in another way.
        self.assertIn("PG_REPLICATION_ROLE", run_.check().all)
        line = run_.fail(code=2, error="PG_REPLICATION_ROLE")
        self.assertIn("REPLICATION", line)

    def test_an_ordinary_replication_user_is_enough(self):
        """Least rights: REPLICATION, SELECT, and a publication made by the owner."""
        self.pg.execute("drop role if exists least")
        self.pg.execute("create role least login replication password 'x'")
        self.db.execute("grant select on t to least; create publication for_least for table t")
        run_ = self.make(source={"username": "least", "password": "x", "publication.name": "for_least",
                                 "publication.autocreate.mode": "disabled"}).start()
        wait_equal(lambda: sqlite_equal(self.db, "t", self.target), run_)
        self.db.execute("insert into t values (77, 'live')")
        wait_equal(lambda: sqlite_equal(self.db, "t", self.target), run_)

    def test_views_are_not_tables(self):
        self.db.execute("create view v as select 1 as x")
        line = self.make("public.v").fail(code=2)
        self.assertRegex(line, "PG_(TABLE_SKIPPED|TABLE_MISSING|NO_TABLES)")

    def test_check_is_content_with_what_is_right(self):
        run_ = self.make()
        checked = run_.check("--json")
        self.assertEqual(checked.returncode, 0, checked)
        self.assertTrue(json.loads(checked.stdout)["ok"])
        self.assertEqual(self.pg.execute("select slot_name from pg_replication_slots"), [])
        self.assertEqual(self.db.execute("select pubname from pg_publication"), [])


class WalLevel(Base):
    PG_SETTINGS = {"wal_level": "replica"}

    def test_wal_level(self):
        run_ = self.make()
        line = run_.fail(code=2, error="PG_WAL_LEVEL")
        self.assertIn("ALTER SYSTEM SET wal_level", line)
        self.assertIn("PG_WAL_LEVEL", run_.check().all)


class FullSlots(Base):
    PG_SETTINGS = {"max_replication_slots": 1}

    def test_no_free_slot(self):
        self.pg.execute("select pg_create_physical_replication_slot('taken')")
        self.make().fail(code=2, error="PG_SLOTS_FULL")


class Restart(Base):
    def test_the_source_restarts(self):
        """A server that goes away and comes back costs nothing but time."""
        run_ = self.make(pipeline={"restart-strategy.type": "fixed-delay",
                                   "restart-strategy.fixed-delay.delay": "300ms",
                                   "restart-strategy.fixed-delay.attempts": 100}).start()
        wait_equal(lambda: sqlite_equal(self.db, "t", self.target), run_)
        for mode in ("fast", "immediate"):
            self.pg.restart(mode)
            self.db.execute("insert into t values ((select max(id) + 1 from t), 'after %s')" % mode)
            wait_equal(lambda: sqlite_equal(self.db, "t", self.target), run_)
        self.assertGreaterEqual(run_.status()["restarts"], 1)

    def gone(self, **strategy):
        """A pipeline that ran, and whose server then goes away for good."""
        server = Postgres(self.PG_VERSION)
        db = server.create_database("d", SQL)
        run_ = self.pipeline(db.source("public.t"), {"type": "sqlite", "path": self.target},
                             pipeline=strategy).start()
        wait_equal(lambda: sqlite_equal(db, "t", self.target), run_)
        server.close()
        return run_

    def test_attempts_are_used_up(self):
        run_ = self.gone(**{"restart-strategy.type": "fixed-delay",
                            "restart-strategy.fixed-delay.delay": "200ms",
                            "restart-strategy.fixed-delay.attempts": 3})
        self.assertEqual(run_.wait_exit(), 5)
        self.assertIn("RETRIES_EXHAUSTED", run_.last_line())
        self.assertGreaterEqual(run_.text().count("retry_in_ms=200"), 3)

    def test_exponential_backoff(self):
        run_ = self.gone(**{"restart-strategy.type": "exponential-delay",
                            "restart-strategy.exponential-delay.initial-backoff": "50ms",
                            "restart-strategy.exponential-delay.max-backoff": "400ms"})
        time.sleep(3)
        run_.alive()
        delays = [int(d) for d in re.findall(r"retry_in_ms=(\d+)", run_.text())]
        self.assertEqual(delays[:4], [50, 100, 200, 400])
        self.assertEqual(max(delays), 400)
        self.assertLess(len(delays), 30)
        run_.stop(code=None)
