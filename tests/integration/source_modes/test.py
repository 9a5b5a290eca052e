"""Startup modes, publication modes, table patterns, names of slot and publication, and drop."""
import json

from tr import *

SQL = """
create table a (id int primary key, v text); insert into a select i, 'a' from generate_series(1, 50) i;
create table b (id int primary key, v text); insert into b select i, 'b' from generate_series(1, 50) i;
create table order_1 (id int primary key, v text); insert into order_1 values (1, 'o1');
create table order_2 (id int primary key, v text); insert into order_2 values (2, 'o2');
create table order_x (id int primary key, v text); insert into order_x values (3, 'ox');
create schema app; create table app.a (id int primary key, v text); insert into app.a values (1, 'app');
"""


class Modes(Case):
    def setUp(self):
        super().setUp()
        self.db = self.database(SQL)
        self.target = self.path("t.db")
        self.sink = {"type": "sqlite", "path": self.target}

    def start(self, tables="public.a", **source):
        self.run_ = self.pipeline(self.db.source(tables, **source), self.sink).start()
        return self.run_

    def equal(self, table="a"):
        wait_equal(lambda: sqlite_equal(self.db, table, self.target), self.run_)

    def tables(self):
        rows = sqlite_query(self.target, "select name from sqlite_master where type = 'table' and "
                                         "name not like 'tailrace%' and name not like 'sqlite%'")
        return sorted(name for name, in rows)

    # ---- startup ----

    def test_initial(self):
        self.start(**{"scan.startup.mode": "initial"})
        self.equal()
        self.db.execute("insert into a values (100, 'live')")
        self.equal()

    def test_snapshot_ends_by_itself(self):
        self.start(**{"scan.startup.mode": "snapshot"})
        self.assertEqual(self.run_.wait_exit(), 0)
        sqlite_equal(self.db, "a", self.target)
        self.assertIsNone(self.pg.slot(self.run_.name + "_slot"),
                          "a bounded copy must leave no slot behind")

    def test_snapshot_by_batch_runtime_mode(self):
        run_ = self.pipeline(self.db.source("public.a", **{"scan.startup.mode": "snapshot"}), self.sink,
                             pipeline={"execution.runtime-mode": "BATCH"}).start()
        self.assertEqual(run_.wait_exit(), 0)
        sqlite_equal(self.db, "a", self.target)

    def test_latest_offset(self):
        self.start(**{"scan.startup.mode": "latest-offset"})
        self.wait(lambda: self.pg.slot(self.run_.name + "_slot"), self.run_)
        self.wait(lambda: (self.run_.status() or {}).get("state") == "streaming", self.run_)
        self.db.statements("insert into a values (100, 'live')", "update a set v = 'u' where id = 1",
                           "delete from a where id = 2")
        self.wait(lambda: self.tables() == ["a"] and sqlite_query(
            self.target, "select v from a where id = 100") == [("live",)], self.run_)
        # Rows from before are not copied; an update of one brings it.
        self.wait(lambda: sqlite_query(self.target, "select id from a order by id") in
                  ([(1,), (100,)], [(100,)]), self.run_)
        # A restart goes on, it does not take the latest again.
        self.run_.stop()
        self.db.execute("insert into a values (101, 'while stopped')")
        self.run_.start()
        self.wait(lambda: sqlite_query(self.target, "select v from a where id = 101"), self.run_)

    def test_committed_offset(self):
        name = self.unique("p")
        self.db.statements("create publication cpub for table a",
                           "select pg_create_logical_replication_slot('%s', 'pgoutput')" % name,
                           "insert into a values (200, 'since the slot')")
        self.start(**{"scan.startup.mode": "committed-offset", "slot.name": name,
                      "publication.name": "cpub", "publication.autocreate.mode": "disabled"})
        self.wait(lambda: self.tables() == ["a"] and sqlite_query(
            self.target, "select id from a") == [(200,)], self.run_)

    def test_committed_offset_needs_the_slot(self):
        line = self.start(**{"scan.startup.mode": "committed-offset",
                             "slot.name": "no_such_slot"}).fail(error="PG_SLOT_MISSING")
        self.assertIn("no_such_slot", line)

    # ---- names ----

    def test_slot_and_publication_are_made_by_default(self):
        self.start()
        self.equal()
        slot = self.pg.slot(self.run_.name + "_slot")
        self.assertEqual((slot["plugin"], slot["database"]), ("pgoutput", self.db.name))
        self.assertEqual(self.db.execute(
            "select schemaname, tablename from pg_publication_tables where pubname = %s",
            (self.run_.name + "_pub",)), [("public", "a")])

    def test_slot_and_publication_by_name(self):
        self.db.execute("create publication mine for table a, b")
        name = self.unique("named")
        self.start("public.(a|b)", **{"slot.name": name, "publication.name": "mine"})
        self.equal()
        self.equal("b")
        self.assertTrue(self.pg.slot(name)["active"])
        self.assertIsNone(self.pg.slot(self.run_.name + "_slot"))

    # ---- publication modes ----

    def test_filtered_is_extended_for_a_new_table(self):
        self.start("public.\\.*")
        self.equal()
        self.run_.stop()
        self.db.execute("create table later (id int primary key, v text)")
        self.db.execute("insert into later values (1, 'x')")
        self.run_.start()
        self.equal("later")
        self.db.execute("insert into later values (2, 'y')")
        self.equal("later")

    def test_all_tables(self):
        self.start(**{"publication.autocreate.mode": "all_tables"})
        self.equal()
        self.assertTrue(self.db.value("select puballtables from pg_publication where pubname = %s",
                                      (self.run_.name + "_pub",)))
        # What is not captured does not come through, though the publication has it.
        self.db.statements("insert into b values (99, 'not captured')", "insert into a values (99, 'x')")
        self.equal()
        self.assertEqual(self.tables(), ["a"])

    def test_disabled_without_publication(self):
        run_ = self.start(**{"publication.autocreate.mode": "disabled"})
        line = run_.fail(code=2, error="PG_PUBLICATION")
        self.assertIn("CREATE PUBLICATION", line)
        self.assertIsNone(self.pg.slot(run_.name + "_slot"), "a slot was left behind")

    def test_disabled_with_a_gap(self):
        self.db.execute("create publication gap for table b")
        run_ = self.start("public.(a|b)", **{"publication.autocreate.mode": "disabled",
                                            "publication.name": "gap"})
        line = run_.fail(code=2, error="PG_PUBLICATION")
        self.assertIn("ALTER PUBLICATION", line)

    # ---- patterns ----

    def test_patterns(self):
        for tables, expected in [
                ("public.order_[0-9]+", ["order_1", "order_2"]),
                ("public.order_\\.*", ["order_1", "order_2", "order_x"]),
                ("public.(a|b)", ["a", "b"]),
                (["public.a", "public.order_2"], ["a", "order_2"])]:
            with self.subTest(tables=tables):
                self.target = self.path(self.unique("p") + ".db")
                self.sink = {"type": "sqlite", "path": self.target}
                run_ = self.start(tables, **{"scan.startup.mode": "snapshot"})
                self.assertEqual(run_.wait_exit(), 0, run_.tail())
                self.assertEqual(self.tables(), expected)

    def test_exclude(self):
        run_ = self.start("public.\\.*", **{"tables.exclude": self.db.name + ".public.order_\\.*",
                                            "scan.startup.mode": "snapshot"})
        self.assertEqual(run_.wait_exit(), 0)
        self.assertEqual(self.tables(), ["a", "b"])

    def test_a_list_in_yaml(self):
        source = self.db.source("public.a", **{"scan.startup.mode": "snapshot"})
        source["tables"] = [self.db.name + ".public.a", self.db.name + ".public.b"]
        run_ = self.pipeline(source, self.sink).start()
        self.assertEqual(run_.wait_exit(), 0, run_.tail())
        self.assertEqual(self.tables(), ["a", "b"])

    # ---- drop ----

    def test_drop_asks_and_then_removes(self):
        self.start()
        self.equal()
        refused = self.run_.cli("drop", self.run_.file, "--yes")
        self.assertNotEqual(refused.returncode, 0, "a running pipeline must not be dropped")
        self.run_.stop()
        asked = self.run_.cli("drop", self.run_.file, stdin="no\n")
        self.assertNotEqual(asked.returncode, 0)
        self.assertIsNotNone(self.pg.slot(self.run_.name + "_slot"))
        self.pg.wait_slot_idle(self.run_.name + "_slot")
        done = self.run_.cli("drop", self.run_.file, stdin=self.run_.name + "\n")
        self.assertEqual(done.returncode, 0, done)
        self.assertIsNone(self.pg.slot(self.run_.name + "_slot"))
        self.assertEqual(self.db.execute("select 1 from pg_publication where pubname = %s",
                                         (self.run_.name + "_pub",)), [])
        # No position is left, only the note that this pipeline filled the tables.
        self.assertEqual(sqlite_query(self.target, "select item from tailrace_position"), [("reload",)])
        # The rows stay, and a new run makes a new snapshot that ends equal.
        self.assertEqual(sqlite_query(self.target, "select count(*) from a"), [(50,)])
        self.db.statements("delete from a where id = 7", "update a set v = 'again' where id = 8")
        self.run_.start()
        self.equal()
        again = self.run_.cli("drop", self.run_.file, "--yes")
        self.assertNotEqual(again.returncode, 0)
        self.run_.stop()
        self.pg.wait_slot_idle(self.run_.name + "_slot")
        self.assertEqual(self.run_.cli("drop", self.run_.file, "--yes").returncode, 0)
        twice = self.run_.cli("drop", self.run_.file, "--yes")
        self.assertEqual(twice.returncode, 0, "dropping what is gone is no failure")

    def test_status_names_the_position(self):
        self.start()
        self.equal()
        status = self.wait(self.run_.status, self.run_)
        self.assertRegex(status["position"], r"^[0-9A-F]+/[0-9A-F]+$")
        json.dumps(status)
