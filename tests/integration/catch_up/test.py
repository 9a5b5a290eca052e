"""A long log is read in chunks by SQL before it is followed: in order, nothing lost, nothing twice, and
whatever the server does not allow only means that it is followed from the start."""
import signal
import time

from tr import *

# The least lag is small here, so that a little log is many chunks.
LAG = "64KB"
CAUGHT = "caught up: the log is followed"
BEGUN = "catching up: the log is read in chunks"
RETRY = {"restart-strategy.type": "fixed-delay", "restart-strategy.fixed-delay.delay": "200ms",
         "restart-strategy.fixed-delay.attempts": 500}


class Base(Case):
    def setUp(self):
        super().setUp()
        self.db = self.database(LEDGER.format(name="ledger"))

    def make(self, sink, source=None, **pipeline):
        settings = self.db.source("public.ledger", **{"catch-up.min.lag": LAG})
        settings.update(source or {})
        self.run_ = self.pipeline(settings, sink, pipeline=pipeline)
        self.slot = self.run_.name + "_slot"
        return self.run_

    def sqlite(self, **kwargs):
        self.target = self.path("t.db")
        return self.make({"type": "sqlite", "path": self.target}, **kwargs)

    def files(self, **kwargs):
        self.folder = self.path("files")
        return self.make({"type": "file", "path": self.folder, "format": "debezium-json",
                          "rotation.time": "150ms"}, **kwargs)

    def stopped(self):
        """The slot is there, the (empty) table is copied, and nothing runs."""
        self.run_.start()
        self.wait_streaming(self.run_)
        self.run_.stop()
        self.pg.wait_slot_idle(self.slot)

    def backlog(self, transactions=400):
        """Changes of several writers that nobody has read."""
        with Checkpoints(self.db, 0.03):
            load = Loads(self.db, writers=3, pause=0.001).start()
            wait_for(lambda: load.committed >= transactions or load.errors(), 60, "the load")
            return load.stop()

    def equal(self, timeout=40):
        wait_equal(lambda: sqlite_equal(self.db, "ledger", self.target), self.run_, timeout)

    def whole(self, changes, timeout=40):
        wait_equal(lambda: whole_history(read_folder(self.folder), changes, {}), self.run_, timeout)

    def said(self, text):
        """Now or soon: what a target holds may be there before the line is."""
        wait_for(lambda: text in self.run_.text() or not self.run_.running(), 20, repr(text))
        self.assertIn(text, self.run_.text(), self.run_.tail())

    def chunks(self):
        return int(self.run_.wait_log(r"the log is followed\W.* chunks=(\d+)").group(1))

    def measured(self, **values):
        text = self.run_.cli("metrics", self.run_.name).stdout
        for name, value in values.items():
            self.assertIn('tailrace_postgres_%s{pipeline="%s"} %d\n' % (name, self.run_.name, value), text)

    def no_copy_is_left(self):
        self.wait(lambda: self.pg.value("select count(*) from pg_replication_slots where temporary") == 0,
                  None, 10, "the temporary slot to go")


class CatchUp(Base):
    def test_many_chunks_give_each_change_once_and_in_order(self):
        self.files()
        self.stopped()
        load = self.backlog(1500)
        self.run_.start()
        self.whole(load.changes)
        self.said(BEGUN)
        self.assertGreater(self.chunks(), 3)
        self.said("lanes=2")
        self.measured(catching_up=0, catch_up_chunks_total=self.chunks())
        self.no_copy_is_left()
        self.db.execute("insert into ledger values (-5, 0, 0, 0, 'followed', now())")
        self.whole(load.changes + [("c", -5, 0)])

    def test_what_comes_meanwhile_comes_once(self):
        """Writers go on through the chunks and the change to the walsender."""
        self.files()
        self.stopped()
        with Checkpoints(self.db, 0.03):
            load = Loads(self.db, writers=3, pause=0.001).start()
            wait_for(lambda: load.committed >= 600, 60, "the load")
            self.run_.start()
            self.run_.wait_log("following the log", 60)
            time.sleep(0.5)
            load.stop()
        self.said(BEGUN)
        self.whole(load.changes)

    def test_ddl_and_truncate_between(self):
        self.sqlite()
        self.stopped()
        self.backlog(150)
        self.db.execute("alter table ledger add column extra text default 'e'")
        self.db.execute("insert into ledger select i, 1, 1, 1, 'one', now(), 'x' || i "
                        "from generate_series(100000, 101000) i")
        self.db.execute("truncate ledger")
        self.db.execute("insert into ledger select i, 1, 1, 1, repeat('two', 100), now(), 'y' "
                        "from generate_series(200000, 201500) i")
        self.db.execute("alter table ledger rename column note to remark")
        self.db.execute("update ledger set remark = 'three' || remark where id % 3 = 0")
        self.run_.start()
        self.equal()
        self.said(BEGUN)
        self.chunks()
        self.equal()

    def test_a_checkpoint_ahead_of_the_slot(self):
        """What the checkpoint holds and the slot does not know is not given again."""
        self.files()
        self.stopped()
        load = self.backlog(300)
        # Killed after the checkpoint: nothing has moved the slot.
        self.run_.start(failpoint="engine.after_checkpoint=kill@1")
        self.assertEqual(self.run_.wait_exit(), -signal.SIGKILL)
        self.pg.wait_slot_idle(self.slot)
        self.db.execute("create table noise (x text)")
        self.db.execute("insert into noise select repeat('n', 500) from generate_series(1, 2000)")
        self.run_.start()
        self.whole(load.changes)
        self.said(BEGUN)

    def kill_at(self, point, passages):
        self.files()
        self.stopped()
        load = self.backlog(1200)
        for passage in passages:
            self.run_.start(failpoint="%s=kill@%d" % (point, passage))
            self.assertEqual(self.run_.wait_exit(), -signal.SIGKILL, self.run_.tail())
            self.said(BEGUN)
        self.run_.start()
        self.whole(load.changes)

    def test_a_kill_between_chunks(self):
        self.kill_at("source.postgres.between_chunks", (1, 3, 2))

    def test_a_kill_in_a_chunk(self):
        self.kill_at("source.postgres.stream_cut", (200, 1500, 3000))

    def test_a_stop_in_between_moves_the_slot(self):
        self.sqlite()
        self.stopped()
        load = self.backlog(1500)
        confirmed = self.pg.slot(self.slot)["confirmed_flush_lsn"]
        self.run_.start(failpoint="sink.sqlite.before_commit=sleep:300")
        self.run_.wait_log(BEGUN)
        self.wait(lambda: (self.run_.status() or {}).get("tables", [{}])[0].get("creates", 0) > 0,
                  self.run_, 30, "the first changes")
        self.run_.stop()
        self.assertNotIn(CAUGHT, self.run_.text(), "it was over before the stop")
        self.no_copy_is_left()
        self.assertTrue(self.pg.value("select confirmed_flush_lsn > %s::pg_lsn from pg_replication_slots "
                                      "where slot_name = %s", args=(confirmed, self.slot)))
        self.assertGreater(load.committed, 0)
        self.run_.start()
        self.equal()

    def test_the_slot_follows_between_chunks(self):
        """After 16 times the least lag the pipeline's slot has moved, and the log behind it can go."""
        self.sqlite()
        self.stopped()
        work = []
        for start in range(0, 12000, 50):  # 15 kB; after some of them a note of what runs
            work.append("insert into ledger select i, 0, 0, 0, repeat('x', 200), now() "
                        "from generate_series(%d, %d) i" % (start, start + 49))
            if start % 500 == 0:
                work.append("checkpoint")
        self.db.statements(*work)
        before = self.pg.slot(self.slot)["confirmed_flush_lsn"]
        self.run_.start(failpoint="sink.sqlite.before_commit=sleep:30,source.postgres.between_chunks=sleep:250")
        self.wait(lambda: self.pg.value(
            "select confirmed_flush_lsn > %s::pg_lsn + 1000000 and not active from pg_replication_slots "
            "where slot_name = %s", args=(before, self.slot)), self.run_, 40,
            "the slot to move while the log is read in chunks")
        self.assertNotIn("following the log", self.run_.text())
        self.equal()

    def test_a_short_log_is_followed(self):
        self.sqlite(source={"catch-up.min.lag": "32MB"})
        self.stopped()
        self.backlog(100)
        self.run_.start()
        self.equal()
        self.assertNotIn(BEGUN, self.run_.text())

    def test_it_can_be_turned_off(self):
        self.sqlite(source={"catch-up.min.lag": "0"})
        self.stopped()
        self.backlog(400)
        self.run_.start()
        self.equal()
        self.assertNotIn(BEGUN, self.run_.text())


class On12(Base):
    PG_VERSION = "12"
    test_chunks = CatchUp.test_many_chunks_give_each_change_once_and_in_order
    test_meanwhile = CatchUp.test_what_comes_meanwhile_comes_once
    test_ddl = CatchUp.test_ddl_and_truncate_between


class On18(On12):
    PG_VERSION = "18"


class Limits(Base):
    def test_a_large_transaction_is_followed(self):
        """The function would have to gather it whole."""
        self.sqlite()
        self.stopped()
        self.db.execute("insert into ledger select i, 0, 0, 0, repeat('big', 30), now() "
                        "from generate_series(1000001, 1020000) i")
        self.backlog(100)
        self.run_.start()
        self.equal(60)
        self.said(BEGUN)
        self.said("a transaction is open for long, or large: the log is followed")

    def test_a_transaction_that_stays_open(self):
        self.sqlite()
        self.stopped()
        conn = self.db.connect()
        conn.autocommit = False
        cursor = conn.cursor()
        cursor.execute("insert into ledger values (-1, 0, 0, 0, 'open', now())")
        self.db.execute("checkpoint")
        load = self.backlog(2500)
        self.run_.start()
        self.wait(lambda: sqlite_query(self.target, "select count(*) from ledger")[0][0] > 0, self.run_,
                  30, "the first rows")
        self.run_.wait_log("the log is followed", 60)
        self.equal()
        conn.commit()
        conn.close()
        self.equal()
        self.assertGreater(load.committed, 0)

    def test_the_copy_of_a_killed_process(self):
        """Its server process may live a little longer: the next start waits for it."""
        self.files()
        self.stopped()
        load = self.backlog(800)
        self.run_.start()
        self.run_.wait_log(BEGUN)
        self.run_.kill()
        self.run_.start()
        self.whole(load.changes)

    def test_another_process_catches_up(self):
        self.sqlite()
        self.stopped()
        self.backlog(400)
        holder = self.db.connect()
        cursor = holder.cursor()
        cursor.execute("select pg_copy_logical_replication_slot(%s, %s, true)",
                       (self.slot, self.slot + "_catchup"))
        line = self.run_.fail(error="PG_SLOT_IN_USE", timeout=40)
        self.assertIn("pg_terminate_backend", line)
        holder.close()
        self.no_copy_is_left()
        self.run_.start()
        self.equal()
        self.said(BEGUN)


class Full(Base):
    PG_SETTINGS = {"max_replication_slots": 1}

    def test_no_slot_is_free(self):
        self.sqlite()
        self.stopped()
        self.backlog(400)
        self.run_.start()
        self.equal()
        self.said("the log cannot be read in chunks and is followed from the start")
        self.assertNotIn(BEGUN, self.run_.text())


class OneLane(Base):
    PG_SETTINGS = {"max_replication_slots": 2}

    def test_one_slot_is_free(self):
        self.files()
        self.stopped()
        load = self.backlog(1000)
        self.run_.start()
        self.whole(load.changes)
        self.said("chunks are made one after the other")
        self.assertGreater(self.chunks(), 3)
        self.said("lanes=1")


class Forbidden(Base):
    """A role that may follow the log and not call the functions."""

    def make(self, sink, source=None, **pipeline):
        self.role = self.unique("role")
        self.db.execute("create role {0} login replication; alter table ledger owner to {0}; "
                        "grant create on database {1} to {0}".format(self.role, self.db.name))
        return super().make(sink, dict(source or {}, username=self.role), **pipeline)

    def forbid(self, function):
        self.files()
        self.stopped()
        load = self.backlog(400)
        self.db.execute("revoke execute on function %s from public" % function)
        self.run_.start()
        self.whole(load.changes)

    def test_no_copy_of_the_slot(self):
        self.forbid("pg_copy_logical_replication_slot(name, name, boolean)")
        self.said("the log cannot be read in chunks and is followed from the start")

    def test_no_chunk(self):
        self.forbid("pg_logical_slot_get_binary_changes(name, pg_lsn, int, text[])")
        self.said("a chunk of the log could not be read: the log is followed")
        self.no_copy_is_left()


class Cuts(Base):
    PG_SETTINGS = {"wal_sender_timeout": "2s"}

    def test_cuts_and_a_server_that_goes_away(self):
        proxy = Proxy(self.pg.port)
        try:
            self.files(source={"port": proxy.port}, **RETRY)
            self.stopped()
            load = self.backlog(1500)
            self.run_.start(failpoint="source.postgres.between_chunks=sleep:60")
            for _ in range(4):
                self.wait(lambda: BEGUN in self.run_.text(), self.run_)
                time.sleep(0.25)
                proxy.cut()
            self.pg.restart()
            self.whole(load.changes, 60)
            self.assertGreaterEqual(self.run_.text().count(BEGUN), 2)
        finally:
            proxy.close()

    def test_a_blocked_sink_in_a_chunk(self):
        """Longer than the server waits for a walsender: nobody asks, nothing is lost."""
        self.sqlite()
        self.stopped()
        self.backlog(1500)
        import sqlite3
        lock = sqlite3.connect(self.target, isolation_level=None)
        lock.execute("begin immediate")
        self.run_.start()
        self.run_.wait_log(BEGUN)
        time.sleep(5)
        lock.execute("rollback")
        lock.close()
        self.equal()
