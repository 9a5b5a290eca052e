"""A snapshot that was killed goes on under a new one: rows that moved between pages, large values that the
log does not repeat, rewritten files, changed columns, tables without a key, tables that came later."""
from tr import *

SQL = """
create table moved (id int primary key, n int, big text);
alter table moved alter big set storage external;
insert into moved select i, 0, repeat('v' || i, 700) from generate_series(1, 3000) i;
"""
SLOW = "source.postgres.mid_copy=kill@%d,source.postgres.mid_copy=sleep:25"


class SnapshotResume(Case):
    def begin(self, sql, killed_at, tables=None):
        self.db = self.database(sql)
        self.target = self.path("t.db")
        self.run_ = self.pipeline(
            self.db.source(tables, **{"scan.snapshot.chunk.size": "16KB", "scan.snapshot.readers": 2}),
            {"type": "sqlite", "path": self.target},
            pipeline={"schema.change.behavior": "evolve"})
        self.run_.start(failpoint=SLOW % killed_at)
        self.assertEqual(self.run_.wait_exit(60), -9, self.run_.tail())
        self.pg.wait_slot_idle(self.run_.name + "_slot")

    def go_on(self, *tables):
        self.run_.start()
        for table in tables:
            wait_equal(lambda: sqlite_equal(self.db, table, self.target), self.run_, 60)
        self.wait_streaming(self.run_)
        for table in tables:
            self.db.statements("update %s set n = n + 1 where id %% 7 = 0" % table,
                               "delete from %s where id %% 31 = 0" % table)
        for table in tables:
            wait_equal(lambda: sqlite_equal(self.db, table, self.target), self.run_, 60)

    def test_rows_that_moved_into_finished_pages(self):
        self.begin(SQL, 8)
        # Early pages become free; rows of late, uncopied pages move there. Their large value is not
        # in the log of the update.
        self.db.statements("delete from moved where id <= 400 and id % 2 = 0", "vacuum moved",
                           "update moved set n = 5 where id > 2500", "vacuum moved",
                           "update moved set id = id + 100000 where id > 2900",
                           "insert into moved values (9999, 1, 'late')")
        self.go_on("moved")

    def test_twice(self):
        self.begin(SQL, 6)
        self.db.statements("update moved set n = 1 where id % 3 = 0", "delete from moved where id < 50",
                           "vacuum moved", "update moved set n = 2 where id > 2800")
        self.run_.start(failpoint=SLOW % 4)
        self.assertEqual(self.run_.wait_exit(60), -9, self.run_.tail())
        self.pg.wait_slot_idle(self.run_.name + "_slot")
        self.db.statements("update moved set n = 3 where id % 5 = 0", "vacuum moved",
                           "update moved set n = 4 where id > 2900")
        self.go_on("moved")

    def test_rewritten(self):
        self.begin(SQL, 6)
        self.db.statements("delete from moved where id % 4 = 0", "vacuum full moved",
                           "update moved set n = 6 where id > 1000")
        self.go_on("moved")

    def test_truncated(self):
        self.begin(SQL, 6)
        self.db.statements("truncate moved",
                           "insert into moved select i, 9, 'new' from generate_series(1, 500) i")
        self.go_on("moved")

    def test_columns_changed(self):
        self.begin(SQL, 6)
        self.db.statements("insert into moved values (5001, 1, 'before')",
                           "alter table moved add column extra text default 'dflt'",
                           "insert into moved values (5002, 1, 'between', 'x')",
                           "update moved set extra = 'own' where id between 100 and 200",
                           "alter table moved rename column extra to other",
                           "insert into moved values (5003, 1, 'after', 'y')")
        self.go_on("moved")

    def test_without_key(self):
        self.begin("""
            create table heap (id int, n int, pad text); alter table heap replica identity full;
            insert into heap select i % 1000, 0, repeat('p', 200) from generate_series(1, 3000) i;
        """, 6)
        self.db.statements("update heap set n = 1 where id % 3 = 0", "delete from heap where id % 10 = 0",
                           "insert into heap values (5000, 1, 'x'), (5000, 1, 'x')")
        self.go_on("heap")

    def test_several_tables(self):
        """Finished ones stay, the others go on, and one that came in between is copied too."""
        self.begin(SQL + """
            create table small (id int primary key, n int); insert into small values (1, 1), (2, 2);
            create table mid (id int primary key, n int, pad text);
            insert into mid select i, 0, repeat('m', 100) from generate_series(1, 2000) i;
        """, 25)
        self.db.statements("insert into small values (3, 3)", "delete from small where id = 1",
                           "update mid set n = 1 where id % 2 = 0",
                           "create table late (id int primary key, n int)",
                           "insert into late select i, i from generate_series(1, 100) i")
        self.go_on("moved", "small", "mid", "late")

    def test_bounded_begins_anew(self):
        db = self.database(SQL)
        target = self.path("b.db")
        run_ = self.pipeline(db.source(**{"scan.snapshot.chunk.size": "16KB",
                                          "scan.startup.mode": "snapshot"}),
                             {"type": "sqlite", "path": target})
        run_.start(failpoint=SLOW % 6)
        self.assertEqual(run_.wait_exit(60), -9, run_.tail())
        db.statements("delete from moved where id < 100", "update moved set n = 1 where id < 200")
        run_.start()
        self.assertEqual(run_.wait_exit(60), 0)
        sqlite_equal(db, "moved", target)

    def test_a_table_that_comes_later(self):
        db = self.database("create table first (id int primary key, n int)")
        target = self.path("l.db")
        run_ = self.pipeline(db.source(), {"type": "sqlite", "path": target}).start()
        wait_equal(lambda: sqlite_equal(db, "first", target), run_)
        db.statements("create table heap (id int, n int)", "alter table heap replica identity full",
                      "insert into heap select 1, 1 from generate_series(1, 100)",
                      "insert into first values (1, 1)")
        run_.stop()
        db.execute("update first set n = 2")
        run_.start()
        wait_equal(lambda: sqlite_equal(db, "heap", target), run_)
        db.execute("insert into heap values (2, 2)")
        wait_equal(lambda: sqlite_equal(db, "heap", target), run_)
        wait_equal(lambda: sqlite_equal(db, "first", target), run_)


class SnapshotResume18(SnapshotResume):
    PG_VERSION = "18"
