"""Routes: other names, merges of shards, captures, replace-symbol, route-mode."""
from tr import *

SHARDS = "".join("create table order_%d (id int primary key, v text); insert into order_%d "
                 "select i * 10 + %d, 's%d' from generate_series(1, 20) i;" % (n, n, n, n)
                 for n in range(3)) + "create table other (id int primary key, v text); insert into other values (1, 'x');"


class Routes(Case):
    def start(self, sql, route, tables=None, expect=None, sink=None, **pipeline):
        self.db = self.database(sql)
        self.target = self.path(self.unique("t") + ".db")
        self.run_ = self.pipeline(self.db.source(tables), sink or {"type": "sqlite", "path": self.target},
                                  route=route, pipeline=pipeline)
        return self.run_

    def table(self, table):
        return sqlite_query(self.target, 'select * from "%s" order by 1' % table)

    def merged(self):
        rows = []
        for n in range(3):
            rows += self.db.execute("select id, v from order_%d" % n)
        self.assertEqual(self.table("orders"), sorted(rows))
        return True

    def test_merge_of_shards(self):
        self.start(SHARDS, [{"source-table": "\\.*.public.order_\\.*",
                             "sink-table": "orders"}]).start()
        wait_equal(self.merged, self.run_)
        self.db.statements("insert into order_1 values (1001, 'n')", "update order_2 set v = 'u' where id < 60",
                           "delete from order_0 where id < 50")
        wait_equal(self.merged, self.run_)
        self.assertEqual(self.table("other"), [(1, "x")])
        self.run_.kill()
        self.pg.wait_slot_idle(self.run_.name + "_slot")
        self.db.execute("insert into order_0 values (2000, 'after the kill')")
        self.run_.start()
        wait_equal(self.merged, self.run_)

    def test_merge_of_different_columns(self):
        self.start("create table s_1 (id int primary key, a text); insert into s_1 values (1, 'a');"
                   "create table s_2 (id int primary key, a text, b int); insert into s_2 values (2, 'a', 5)",
                   [{"source-table": "public.s_\\.*", "sink-table": "s"}],
                   **{"schema.change.behavior": "evolve"}).start()
        self.wait(lambda: sqlite_query(self.target, "select id, a, b from s order by id") ==
                  [(1, "a", None), (2, "a", 5)], self.run_)

    def test_captures(self):
        self.start(SHARDS, [{"source-table": "public.order_([0-9])", "sink-table": "copy_$1"}]).start()
        self.wait(lambda: len(self.table("copy_1")) == 20, self.run_)

    def test_replace_symbol(self):
        self.start(SHARDS, [{"source-table": "public.\\.*", "sink-table": "ods_<>",
                             "replace-symbol": "<>"}]).start()
        self.wait(lambda: self.table("ods_other") == [(1, "x")] and len(self.table("ods_order_2")) == 20,
                  self.run_)

    def test_a_single_mapping_and_first_match(self):
        self.start(SHARDS, {"source-table": "public.other", "sink-table": "renamed"}).start()
        self.wait(lambda: self.table("renamed") == [(1, "x")], self.run_)
        self.start(SHARDS, [{"source-table": "public.other", "sink-table": "first"},
                            {"source-table": "public.\\.*", "sink-table": "rest"}],
                   **{"route-mode": "FIRST_MATCH"}).start()
        self.wait(lambda: self.table("first") == [(1, "x")] and len(self.table("rest")) == 60, self.run_)

    def test_all_match_writes_both(self):
        self.start(SHARDS, [{"source-table": "public.other", "sink-table": "one"},
                            {"source-table": "public.other", "sink-table": "two"}],
                   tables="public.other").start()
        self.wait(lambda: self.table("one") == self.table("two") == [(1, "x")], self.run_)
        self.db.execute("update other set v = 'y'")
        self.wait(lambda: self.table("one") == self.table("two") == [(1, "y")], self.run_)

    def test_into_another_schema_of_postgres(self):
        target = self.database()
        self.start(SHARDS, [{"source-table": "public.order_\\.*", "sink-table": "warehouse.orders"}],
                   tables="public.order_\\.*", sink=target.sink()).start()
        self.wait(lambda: target.value("select to_regclass('warehouse.orders') is not null") and
                  target.value("select count(*) from warehouse.orders") == 60, self.run_)

    def test_verify_follows_routes(self):
        self.start(SHARDS, [{"source-table": "public.other", "sink-table": "renamed"}],
                   tables="public.other").start()
        self.wait(lambda: self.table("renamed") == [(1, "x")], self.run_)
        done = self.run_.verify()
        self.assertEqual(done.returncode, 0, done)

    def test_a_clash_without_a_route_is_refused(self):
        run_ = self.start("create table a (id int primary key); create table b (id int primary key)",
                          [{"source-table": "public.a", "sink-table": "b"}])
        run_.fail(code=2, error="SINK_TABLE_CLASH")
