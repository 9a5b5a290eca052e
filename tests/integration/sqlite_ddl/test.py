"""Schema changes of the source, and what each schema.change.behavior makes of them in SQLite."""
from tr import *

SQL = """
create table t (id int primary key, a int, b text default 'x', c numeric(10,2));
insert into t select i, i, 'b' || i, i / 2.0 from generate_series(1, 20) i;
"""


class Ddl(Case):
    def start(self, behavior="evolve", sink=None, sql=SQL):
        self.db = self.database(sql)
        self.target = self.path("ddl.db")
        settings = {"schema.change.behavior": behavior} if behavior else {}
        self.run_ = self.pipeline(self.db.source(),
                                  dict({"type": "sqlite", "path": self.target}, **(sink or {})),
                                  pipeline=settings).start()
        self.equal()
        return self.run_

    def equal(self, table="t", **kwargs):
        wait_equal(lambda: sqlite_equal(self.db, table, self.target, **kwargs), self.run_)

    def test_add_drop_rename_type(self):
        self.start()
        steps = [
            ("alter table t add column d int", "update t set d = id where id < 5"),
            ("alter table t add column e text default 'given'", "insert into t (id) values (100)"),
            ("alter table t add column f int not null default 7", "insert into t (id) values (101)"),
            ("alter table t rename column a to renamed", "update t set renamed = -1 where id = 3"),
            ("alter table t drop column b", "insert into t (id) values (102)"),
            ("alter table t alter column c type numeric(20,6)", "update t set c = 1.123456 where id = 4"),
            ("alter table t alter column d type text", "insert into t (id, d) values (103, 'z')"),
            ("alter table t alter column renamed type bigint",
             "update t set renamed = 9000000000 where id = 5"),
        ]
        for change, row in steps:
            with self.subTest(change=change):
                self.db.statements(change, row)
                self.equal()

    def test_change_in_mid_transaction(self):
        self.start()
        self.db.statements("begin; update t set a = 1000 where id = 1; alter table t add column z int;"
                           "update t set z = 5 where id = 2; alter table t drop column b;"
                           "insert into t (id, z) values (200, 1); commit")
        self.equal()

    def test_default_follows_the_column_not_its_name(self):
        # Between two relation messages a column is renamed and another takes its old name.
        self.start(sql="create table t (id int primary key, a text default 'for a');"
                       "insert into t (id) select generate_series(1, 5)")
        self.db.statements("alter table t rename column a to was_a",
                           "alter table t add column a text default 'for new a'",
                           "alter table t add column n int default 3",
                           "alter table t rename column n to m",
                           "insert into t (id) values (10)")
        self.equal()

    def test_rename_and_add_under_the_old_name(self):
        self.start()
        self.db.statements("alter table t rename column a to a_old",
                           "alter table t add column a text",
                           "update t set a = 'text now' where id < 3")
        self.equal()

    def test_key_changes(self):
        self.start(sql="create table t (id int primary key, k int not null, v text);"
                       "insert into t select i, i + 100, 'v' from generate_series(1, 9) i")
        self.db.statements("begin; alter table t drop constraint t_pkey; alter table t add primary key (k);"
                           "commit",
                           "update t set v = 'by the new key' where k = 105",
                           "delete from t where k = 106", "insert into t values (5, 500, 'same id')")
        self.equal()

    def test_table_rename(self):
        self.start()
        self.db.statements("alter table t rename to t2", "insert into t2 (id, a) values (300, 1)",
                           "update t2 set a = 5 where id = 1")
        self.equal("t2")

    def test_new_table_that_matches(self):
        self.start()
        self.db.statements("create table later (id int primary key, v text)",
                           "insert into later values (1, 'before the restart')")
        self.run_.stop()
        self.run_.start()
        self.equal("later")
        self.db.statements("insert into later values (2, 'after')", "update t set a = 0 where id = 1")
        self.equal("later")
        self.equal("t")

    def test_enum_gets_a_value(self):
        self.start(sql="create type m as enum ('a', 'b'); create table t (id int primary key, v m);"
                       "insert into t values (1, 'a')")
        self.db.statements("alter type m add value 'between' before 'b'")
        self.db.statements("insert into t values (2, 'between')")
        self.equal()

    def test_exception_stops(self):
        self.start("exception")
        self.db.statements("insert into t (id) values (400)", "alter table t add column d int",
                           "insert into t (id, d) values (401, 1)")
        self.assertEqual(self.run_.wait_exit(), 4)
        self.assertIn("SCHEMA_CHANGE_REFUSED", self.run_.last_line())
        # What came before the change is there.
        self.assertEqual(sqlite_query(self.target, "select count(*) from t where id = 400"), [(1,)])
        # With another behaviour it goes on, and loses nothing.
        again = self.pipeline(self.db.source(), {"type": "sqlite", "path": self.target},
                              name=self.run_.name, state_dir=self.run_.state_dir,
                              pipeline={"schema.change.behavior": "evolve"}).start()
        wait_equal(lambda: sqlite_equal(self.db, "t", self.target), again)

    def test_ignore_keeps_the_target_as_it_is(self):
        self.start("ignore")
        self.db.statements("alter table t add column d int", "insert into t (id, a, d) values (500, 1, 1)")
        wait_equal(lambda: sqlite_equal(self.db, "t", self.target, names=["id", "a", "b", "c"]),
                   self.run_)
        self.assertNotIn("d", sqlite_columns(self.target, "t"))

    def test_evolve_is_the_default(self):
        self.start(None)
        self.db.statements("alter table t drop column b", "insert into t (id) values (650)")
        self.equal()

    def test_lenient_takes_nothing_away(self):
        self.start("lenient")
        self.db.statements("alter table t add column d int", "update t set d = id",
                           "alter table t drop column b", "insert into t (id, a) values (600, 1)")
        wait_equal(lambda: sqlite_equal(self.db, "t", self.target, names=["id", "a", "c", "d"]),
                   self.run_)
        # A dropped column stays in the target.
        self.assertIn("b", sqlite_columns(self.target, "t"))

    def test_exclude_schema_changes(self):
        self.start("evolve", sink={"exclude.schema.changes": ["drop"]})
        self.db.statements("alter table t add column d int", "alter table t drop column b",
                           "insert into t (id, d) values (700, 1)")
        wait_equal(lambda: sqlite_equal(self.db, "t", self.target, names=["id", "a", "c", "d"]),
                   self.run_)
        self.assertIn("b", sqlite_columns(self.target, "t"))

    def test_changes_while_stopped(self):
        self.start()
        self.run_.stop()
        self.db.statements("insert into t (id) values (800)", "alter table t add column d int default 4",
                           "insert into t (id) values (801)", "alter table t rename column a to aa",
                           "alter table t drop column c", "insert into t (id, aa) values (802, 1)")
        self.run_.start()
        self.equal()

    def test_hundred_changes(self):
        self.start()
        for index in range(50):
            self.db.statements("alter table t add column n%d int default %d" % (index, index),
                               "insert into t (id) values (%d)" % (1000 + index))
        for index in range(0, 50, 2):
            self.db.statements("alter table t drop column n%d" % index,
                               "update t set a = a + 1 where id = 1")
        self.equal()

    def test_many_tables_are_asked_for_at_once(self):
        """Twelve tables change while the pipeline is stopped and twice while it runs: the first are told
        apart with the columns that the start has read, the others with columns that were read at once or
        one by one, and never with those of before."""
        names = ["t%d" % i for i in range(12)]
        self.db = self.database("create type m as enum ('a', 'b'); create table p (id int, v text, "
                                "primary key (id)) partition by range (id); create table p1 partition "
                                "of p for values from (0) to (1000); insert into p values (1, 'p');" +
                                "".join("create table %s (id int primary key, a int, b m default 'a');"
                                        "insert into %s select i, i from generate_series(1, 5) i;"
                                        % (name, name) for name in names))
        self.target = self.path("ddl.db")
        self.run_ = self.pipeline(self.db.source(), {"type": "sqlite", "path": self.target}).start()
        self.all_equal(names)
        self.run_.stop()
        for name in names:
            self.db.statements("insert into %s values (10, 10)" % name,
                               "alter table %s rename column a to was_a" % name,
                               "alter table %s add column a int default 7" % name,
                               "insert into %s (id) values (11)" % name)
        self.db.statements("insert into p values (2, 'p')")
        self.run_.start(args=["--log-level", "debug"])
        self.all_equal(names)
        self.run_.wait_log("the columns that the start has read are used")
        for number in (12, 13):
            for name in names:
                self.db.statements("alter table %s drop column a" % name,
                                   "alter table %s add column a int default %d" % (name, number),
                                   "insert into %s (id) values (%d)" % (name, number))
            self.db.statements("insert into p values (%d, 'p')" % number)
            self.all_equal(names)
        self.run_.wait_log("the columns of all tables were read at once")

    def all_equal(self, names):
        for name in names + ["p"]:
            self.equal(name)
