"""The seam between snapshot and stream: writers are active all the time, and no row is lost, repeated
or old."""
import threading
import time

from tr import *

SQL = LEDGER.format(name="ledger") + ACCOUNTS + """
insert into ledger select i, 0, 0, i, repeat('old', 20), now() from generate_series(-30000, -1) i;
create table still (id int primary key, pad text);
insert into still select i, repeat('s', 200) from generate_series(1, 30000) i;
analyze ledger; analyze still;
"""


class Seam(Case):
    def snapshot_under_load(self, sink, equal, **source):
        db = self.db
        load = Loads(db, accounts=True, writers=2).start()
        try:
            self.wait(lambda: load.committed > 30, what="load")
            run_ = self.pipeline(db.source(**source), sink,
                                 pipeline={"schema.change.behavior": "evolve"}).start()
            seen = load.committed
            self.wait(lambda: load.committed > seen + 300, run_, what="load during the snapshot")
            time.sleep(1.0)
        finally:
            load.stop()
        self.assertFalse(load.errors())
        for table in ("ledger", "still", "accounts"):
            wait_equal(lambda: equal(table), run_, 60)
        return run_

    def setUp(self):
        super().setUp()
        self.db = self.database(SQL)

    def test_to_sqlite(self):
        path = self.path("seam.db")
        run_ = self.snapshot_under_load({"type": "sqlite", "path": path},
                                        lambda table: sqlite_equal(self.db, table, path),
                                        **{"scan.snapshot.readers": 3,
                                           "scan.snapshot.chunk.size": "256KB"})
        self.assertEqual(run_.verify().returncode, 0)

    def test_to_postgres(self):
        target = self.database()
        self.snapshot_under_load(target.sink(), lambda table: pg_equal(self.db, target, table),
                                 **{"scan.snapshot.readers": 2, "scan.snapshot.chunk.size": "256KB"})

    def test_each_change_once_to_files(self):
        """A file sink shows every event, so a repeat at the seam cannot hide behind an upsert."""
        folder = self.path("files")
        self.db.execute("truncate ledger")
        load = Loads(self.db, writers=2, key_changes=False).start()
        try:
            self.wait(lambda: load.committed > 100, what="load")
            run_ = self.pipeline(self.db.source("public.ledger", **{"heartbeat.interval": "500ms"}),
                                 {"type": "file", "path": folder, "format": "debezium-json"}).start()
            seen = load.committed
            self.wait(lambda: load.committed > seen + 300, run_, what="load during the snapshot")
        finally:
            load.stop()
        self.wait_streaming(run_)
        self.wait_acknowledged(run_)
        run_.stop()
        whole_history(read_folder(folder), load.changes, {})

    def test_transaction_open_across_the_seam(self):
        """Begun before the slot, committed after the snapshot: it must come by the stream."""
        db = self.database("create table t (id int primary key, v text); insert into t values (1, 'a')")
        conn = db.connect()
        conn.autocommit = False
        cursor = conn.cursor()
        cursor.execute("insert into t values (2, 'open')")
        cursor.execute("update t set v = 'b' where id = 1")
        path = self.path("open.db")
        run_ = self.pipeline(db.source(), {"type": "sqlite", "path": path}).start()

        # Making a slot waits for transactions that run: it must wait, and then be right.
        def commit():
            cursor.execute("insert into t values (3, 'last')")
            conn.commit()
            conn.close()
        timer = threading.Timer(2.0, commit)
        timer.start()
        wait_equal(lambda: sqlite_equal(db, "t", path), run_)
        self.wait(lambda: sqlite_query(path, "select count(*) from t") == [(3,)], run_)
        timer.join()
        wait_equal(lambda: sqlite_equal(db, "t", path), run_)

    def test_the_snapshot_blocks_no_writer(self):
        """Rows can be written and other tables changed while a copy is under way."""
        path = self.path("lock.db")
        run_ = self.pipeline(self.db.source(**{"scan.snapshot.chunk.size": "64KB"}),
                             {"type": "sqlite", "path": path},
                             env={"TAILRACE_FAILPOINT": "source.postgres.mid_copy=sleep:100"}).start()
        self.wait(lambda: self.pg.value(
            "select count(*) from pg_stat_activity where query ilike '%copy (select%' and pid <> pg_backend_pid()") or 0, run_, what="copy")
        conn = self.db.connect()
        cursor = conn.cursor()
        cursor.execute("set lock_timeout = '2s'")
        cursor.execute("insert into still values (-1, 'during')")
        cursor.execute("update still set pad = 'during' where id = 5")
        cursor.execute("delete from still where id = 6")
        locks = self.pg.execute(
            "select distinct mode from pg_locks l join pg_database d on d.oid = l.database "
            "where d.datname = %s and locktype = 'relation' and pid <> pg_backend_pid()",
            args=(self.db.name,))
        conn.close()
        self.assertFalse({m for m, in locks} & {"ShareLock", "ShareRowExclusiveLock", "ExclusiveLock",
                                                "AccessExclusiveLock"}, locks)
        wait_equal(lambda: sqlite_equal(self.db, "still", path), run_, 60)
