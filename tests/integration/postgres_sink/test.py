"""PostgreSQL to PostgreSQL: load by COPY, changes in commit order, constraints, DDL, exactly once."""
import time

from tr import *


class PostgresSink(Case):
    def start(self, sql, target_sql=None, tables=None, sink=None, source=None, **pipeline):
        self.db = self.database(sql)
        self.target = self.database(target_sql)
        pipeline.setdefault("schema.change.behavior", "evolve")
        self.run_ = self.pipeline(self.db.source(tables, **(source or {})), self.target.sink(**(sink or {})),
                                  pipeline=pipeline).start()
        return self.run_

    def equal(self, *tables, timeout=30, names=None):
        for table in tables:
            wait_equal(lambda: pg_equal(self.db, self.target, table, names=names), self.run_, timeout,
                       "%s to be equal" % (table,))

    def test_tables_are_made_loaded_and_followed(self):
        self.start("""
            create table plain (id int primary key, a text not null default 'x', b numeric(10,2), c timestamptz);
            insert into plain select i, 'row ' || i, i / 3.0, now() from generate_series(1, 5000) i;
            create table two (a text, b int, v jsonb, primary key (b, a));
            insert into two select 'a' || i, i % 5, '{"x": 1}' from generate_series(1, 100) i;
            create table bare (x int, y text); alter table bare replica identity full;
            insert into bare select i % 3, 'y' from generate_series(1, 12) i;
        """)
        self.equal("plain", "two", "bare")
        self.db.statements("insert into plain values (9001, 'n', 1, null)",
                           "update plain set a = 'u' where id < 50", "delete from plain where id > 4990",
                           "update plain set id = id + 100000 where id between 60 and 70",
                           "update two set v = v || '{\"y\": [1, null]}' where b = 3",
                           "delete from bare where ctid = (select ctid from bare where x = 1 limit 1)",
                           "update bare set y = 'one' where ctid = (select ctid from bare where x = 2 limit 1)",
                           "begin; truncate two; insert into two values ('after', 1, 'null'); commit")
        self.equal("plain", "two", "bare")
        # The key came along.
        self.assertEqual(self.target.execute(
            "select array_agg(a.attname order by array_position(i.indkey::int[], a.attnum::int)) "
            "from pg_index i join pg_attribute a on a.attrelid = i.indrelid and a.attnum = any(i.indkey) "
            "where i.indrelid = 'two'::regclass and i.indisprimary"), [(["b", "a"],)])
        self.assertEqual(self.target.value("select count(*) from tailrace_position where true") > 0, True)

    def test_another_schema_is_made(self):
        self.start("create schema app; create table app.t (id int primary key, v text);"
                   "insert into app.t values (1, 'x')", tables="app.t")
        self.equal("app.t")

    def test_foreign_keys_of_the_target(self):
        shape = """
            create table parents (id int primary key, v text);
            create table children (id int primary key, parent_id int not null references parents, v text);
        """
        self.start(shape + """
            insert into parents select i, 'p' from generate_series(1, 300) i;
            insert into children select i, 1 + i % 300, 'c' from generate_series(1, 900) i;
        """, target_sql=shape)
        self.equal("parents", "children")
        self.db.statements(
            "begin; insert into parents values (1000, 'new'); insert into children values (5000, 1000, 'n');"
            "commit",
            # A child that moves to a parent made in the same transaction; the old parent goes.
            "begin; insert into parents values (1001, 'p2'); update children set parent_id = 1001 "
            "where parent_id = 1000; delete from parents where id = 1000; commit",
            "begin; delete from children where parent_id = 5; delete from parents where id = 5; commit")
        self.equal("parents", "children")

    def test_secondary_unique_keys(self):
        shape = """create table u (id int primary key, code text unique, n int,
                                   constraint u_n unique (n) deferrable initially immediate);"""
        self.start(shape + "insert into u select i, 'c' || i, i from generate_series(1, 100) i",
                   target_sql=shape)
        self.equal("u")
        self.db.statements(
            # A value that goes from one row to another within one transaction, in both directions.
            "begin; update u set code = 'tmp' where id = 1; update u set code = 'c1' where id = 2;"
            "update u set code = 'c2' where id = 1; commit",
            "begin; delete from u where id = 3; insert into u values (300, 'c3', 3); commit",
            "begin; set constraints u_n deferred; update u set n = n + 1 where id between 51 and 100; commit",
            "begin; update u set id = 1000 where id = 4; update u set id = 4 where id = 5; commit",
            "begin; update u set code = null where id = 10; update u set code = 'c10' where id = 11; commit")
        self.equal("u")

    def test_many_changes_of_one_row_in_one_batch(self):
        self.start("create table t (id int primary key, v int, w text)")
        self.equal("t")
        self.db.statements(*(["begin; insert into t values (1, 0, 'a'), (2, 0, 'a'); commit"] + [
            "update t set v = v + 1 where id = 1" for _ in range(50)] + [
            "begin; delete from t where id = 2; insert into t values (2, %d, 'again'); commit" % i
            for i in range(30)] + ["begin; delete from t where id = 2; commit",
                                   "update t set id = 2, w = 'moved' where id = 1",
                                   "insert into t values (1, 7, 'new one')"]))
        self.equal("t")

    def test_generated_and_identity_columns(self):
        shape = """
            create table g (id bigint generated always as identity primary key, a int, b int,
                            s int generated always as (a + b) stored);
            create table d (id bigint generated by default as identity primary key, v text);
        """
        for target_shape in (None, shape):
            with self.subTest(existing=target_shape is not None):
                self.start(shape + "insert into g (a, b) select i, i from generate_series(1, 50) i;"
                                   "insert into d (v) select 'v' from generate_series(1, 50)",
                           target_sql=target_shape)
                self.equal("g", names=["id", "a", "b"])
                self.equal("d")
                self.db.statements("insert into g (a, b) values (100, 200)", "update g set a = 0 where id = 3",
                                   "delete from g where id = 4", "insert into d (id, v) values (5000, 'x')")
                self.equal("g", names=["id", "a", "b"])
                self.equal("d")
                if target_shape is not None:
                    self.equal("g")
                self.assertEqual(self.run_.verify().returncode, 0)
                self.run_.stop()

    def test_unchanged_toast_is_kept(self):
        self.start("""
            create table big (id int primary key, note text, body text);
            alter table big alter body set storage external;
            insert into big select i, 'n', repeat('body' || i, 3000) from generate_series(1, 20) i;
        """)
        self.equal("big")
        self.db.statements("update big set note = 'changed'", "update big set id = id + 100 where id < 5",
                           "begin; update big set note = 'a' where id = 10;"
                           "update big set body = 'short now' where id = 10;"
                           "update big set note = 'b' where id = 10; commit",
                           "begin; insert into big values (900, 'new', repeat('z', 9000));"
                           "update big set note = 'new, changed' where id = 900; commit")
        self.equal("big")

    def test_ddl(self):
        self.start("create table t (id int primary key, a int, b text default 'x');"
                   "insert into t select i, i, 'b' from generate_series(1, 20) i")
        self.equal("t")
        for change, row in [
                ("alter table t add column c timestamptz default '2024-01-01'", "insert into t (id) values (100)"),
                ("alter table t rename column a to aa", "update t set aa = 5 where id = 1"),
                ("alter table t alter column aa type bigint", "update t set aa = 5000000000 where id = 2"),
                ("alter table t add column e numeric(10,4) not null default 1.5", "insert into t (id) values (101)"),
                ("alter table t drop column b", "insert into t (id) values (102)"),
                ("alter table t alter column aa type text", "update t set aa = 'text' where id = 3"),
                ("alter table t rename to t_new", "insert into t_new (id) values (103)"),
                ("alter table t_new rename to t", "insert into t (id) values (104)")]:
            with self.subTest(change=change):
                self.db.statements(change, row)
                self.equal("t_new" if change.endswith("to t_new") else "t")

    def test_enum_and_array_types_that_the_target_lacks(self):
        self.start("create type mood as enum ('a', 'b'); create domain pos as int check (value > 0);"
                   "create table t (id int primary key, m mood, ms mood[], p pos, r int4range, x xml);"
                   "insert into t values (1, 'a', '{a,b}', 4, '[1,5)', '<a/>'), (2, null, null, null, null, null)")

        def same_text():
            left = self.db.execute("select id, m::text, ms::text, p::text, r::text, x::text from t order by id")
            right = self.target.execute("select id, m::text, ms::text, p::text, r::text, x::text from t order by id")
            self.assertEqual(left, right)
        wait_equal(same_text, self.run_)
        self.db.execute("insert into t values (3, 'b', '{}', 5, 'empty', null)")
        wait_equal(same_text, self.run_)

    def test_existing_table_with_more_and_fewer_columns(self):
        self.start("create table t (id int primary key, a text, b text); insert into t values (1, 'a', 'b')",
                   target_sql="create table t (id int primary key, a text, extra text default 'kept')")

        def rows():
            self.assertEqual(self.target.execute("select id, a, b, extra from t order by id")[:1],
                             [(1, "a", "b", "kept")])
        wait_equal(rows, self.run_)

    def test_a_constraint_violation_stops_with_its_name(self):
        self.start("create table t (id int primary key, v int); insert into t values (1, 1)",
                   target_sql="create table t (id int primary key, v int constraint v_small check (v < 100))")
        self.equal("t")
        self.db.statements("insert into t values (2, 2)", "insert into t values (3, 4711)")
        self.assertEqual(self.run_.wait_exit(), 4)
        line = self.run_.last_line()
        self.assertIn("v_small", line)
        self.assertNotIn("4711", line, "row values do not belong into logs")
        # Nothing is half done, and after mending it goes on.
        self.assertEqual(self.target.value("select count(*) from t where id = 3"), 0)
        self.target.execute("alter table t drop constraint v_small")
        self.pg.wait_slot_idle(self.run_.name + "_slot")
        self.run_.start()
        self.equal("t")

    def test_reader_never_sees_half_a_transaction(self):
        self.start(ACCOUNTS + LEDGER.format(name="ledger"))
        self.equal("accounts", "ledger")
        load = Loads(self.db, accounts=True).start()
        conn = self.target.connect()
        try:
            cursor = conn.cursor()
            for _ in range(400):
                cursor.execute("select sum(balance) from accounts")
                self.assertEqual(cursor.fetchone()[0], ACCOUNTS_SUM)
        finally:
            conn.close()
            load.stop()
        self.equal("accounts", "ledger")
        self.assertEqual(self.run_.verify().returncode, 0)

    def test_position_in_the_same_transaction(self):
        """Killed again and again, with the checkpoint behind: the sink's position wins."""
        self.start(LEDGER.format(name="ledger"), **{"checkpoint.interval": "10s"})
        load = Loads(self.db).start()
        for _ in range(5):
            time.sleep(0.6)
            self.run_.kill()
            self.pg.wait_slot_idle(self.run_.name + "_slot")
            self.run_.start()
        load.stop()
        self.equal("ledger", timeout=60)

    def test_deadlock_is_retried(self):
        # PostgreSQL looks for a cycle once, deadlock_timeout after a wait began: the sink has to be the
        # one that looks, and the cycle has to be there by then.
        self.start("create table t (id int primary key, v int); insert into t select i, 0 from generate_series(1, 10) i",
                   target_sql="do $$ begin execute format('alter database %I set deadlock_timeout = 4000', "
                              "current_database()); end $$",
                   **{"restart-strategy.type": "fixed-delay", "restart-strategy.fixed-delay.delay": "200ms"})
        self.equal("t")
        conn = self.target.connect()
        conn.autocommit = False
        cursor = conn.cursor()
        cursor.execute("set deadlock_timeout = '60s'; update t set v = -1 where id = 2")
        self.db.execute("begin; update t set v = 1 where id = 1; update t set v = 1 where id = 2; commit")
        self.wait(lambda: self.target.value("select count(*) from pg_locks where not granted") > 0, self.run_)
        cursor.execute("set lock_timeout = '30s'; update t set v = -1 where id = 1")
        conn.rollback()
        conn.close()
        self.equal("t", timeout=60)
        self.wait(lambda: self.target.value("select deadlocks from pg_stat_database "
                                            "where datname = current_database()") > 0, self.run_)

    def test_target_away_and_back(self):
        server = Postgres(self.PG_VERSION)
        try:
            db = self.database("create table t (id int primary key, v text); insert into t values (1, 'x')")
            target = server.create_database("target")
            run_ = self.pipeline(db.source(), target.sink(),
                                 pipeline={"restart-strategy.type": "fixed-delay",
                                           "restart-strategy.fixed-delay.delay": "200ms",
                                           "restart-strategy.fixed-delay.attempts": 100}).start()
            wait_equal(lambda: pg_equal(db, target, "t"), run_)
            server.stop("immediate")
            db.execute("insert into t values (2, 'while away')")
            time.sleep(1)
            run_.alive()
            server.start()
            wait_equal(lambda: pg_equal(db, target, "t"), run_)
        finally:
            server.close()

    def test_wrong_password_of_the_target(self):
        server = Postgres(self.PG_VERSION, auth="scram-sha-256")
        try:
            target = server.create_database("target")
            db = self.database("create table t (id int primary key)")
            run_ = self.pipeline(db.source(), target.sink(password="wr0ng-pass"))
            line = run_.fail(code=2, error="PGSINK_")
            self.assertNotIn("wr0ng-pass", line + run_.all_text())
            self.assertEqual(self.pg.execute("select slot_name from pg_replication_slots"), [],
                             "a slot was made though the target cannot be used")
        finally:
            server.close()


class PostgresSink12(PostgresSink):
    PG_VERSION = "12"


class PostgresSink18(PostgresSink):
    PG_VERSION = "18"
