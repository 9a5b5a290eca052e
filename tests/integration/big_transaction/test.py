"""A transaction of any size in flat memory, seen whole by a reader of the target."""
import time

from tr import *

SMALL, LARGE = 50000, (400000 if SANITIZED else 1000000)
ROW = "repeat(md5(i::text), 3)"


class BigTransaction(Case):
    SECONDS = 240

    def peak(self, rows, sink, count):
        db = self.database("create table t (id int primary key, v text)")
        run_ = self.pipeline(db.source("public.t"), sink,
                             pipeline={"buffer.memory": "16MiB"}).start()
        self.wait(lambda: (run_.status() or {}).get("state") == "streaming", run_)
        conn = db.connect()
        conn.autocommit = False
        cursor = conn.cursor()
        cursor.execute("insert into t select i, %s from generate_series(1, %d) i" % (ROW, rows))
        cursor.execute("savepoint s")
        cursor.execute("insert into t select -i, 'aborted' from generate_series(1, 5000) i")
        cursor.execute("rollback to savepoint s")
        cursor.execute("update t set v = 'updated' where id %% 10 = 0" .replace("%%", "%"))
        conn.commit()
        conn.close()
        began = time.monotonic()
        count(db, rows, run_)
        peak = run_.peak_rss_kb()
        log("%d rows: peak %.1f MB, %.0f rows/s" % (rows, peak / 1024.0,
                                                    rows / max(0.01, time.monotonic() - began)))
        run_.stop()
        return peak

    def flat(self, sink, count):
        small = self.peak(SMALL, sink(), count)
        large = self.peak(LARGE, sink(), count)
        self.assertLess(large, small * 1.3 + 24 * 1024,
                        "memory grows with the transaction: %d kB for %d rows, %d kB for %d rows"
                        % (small, SMALL, large, LARGE))
        if not SANITIZED:
            self.assertLess(large, 160 * 1024)

    def test_into_sqlite(self):
        def sink():
            self.target = self.path(self.unique("t") + ".db")
            return {"type": "sqlite", "path": self.target}

        def count(db, rows, run_):
            seen = set()

            def done():
                found = sqlite_query(self.target, "select count(*) from t")[0][0]
                seen.add(found)
                return found == rows
            self.wait(done, run_, 120, "%d rows in SQLite" % rows)
            self.assertLessEqual(seen, {0, rows}, "half a transaction was seen")
            self.assertEqual(sqlite_query(self.target, "select count(*) from t where v = 'updated'"),
                             [(rows // 10,)])
        self.flat(sink, count)

    def test_into_postgres(self):
        def sink():
            self.target_db = self.database()
            return self.target_db.sink()

        def count(db, rows, run_):
            seen = set()

            def done():
                found = self.target_db.value("select count(*) from t")
                seen.add(found)
                return found == rows
            self.wait(done, run_, 120, "%d rows in PostgreSQL" % rows)
            self.assertLessEqual(seen, {0, rows}, "half a transaction was seen")
            self.assertEqual(self.target_db.value("select count(*) from t where v = 'updated'"),
                             rows // 10)
        self.flat(sink, count)

    def test_killed_in_the_middle(self):
        target = self.path("killed.db")
        db = self.database("create table t (id int primary key, v text)")
        run_ = self.pipeline(db.source("public.t"), {"type": "sqlite", "path": target}).start()
        self.wait(lambda: (run_.status() or {}).get("state") == "streaming", run_)
        db.execute("insert into t select i, %s from generate_series(1, %d) i" % (ROW, SMALL * 3))
        for delay in (0.1, 0.3, 0.5):
            time.sleep(delay)
            run_.kill()
            self.assertIn(sqlite_query(target, "select count(*) from t"), ([(0,)], [(SMALL * 3,)]))
            self.pg.wait_slot_idle(run_.name + "_slot")
            run_.start()
        wait_equal(lambda: sqlite_equal(db, "t", target), run_, 60)

    def test_a_large_value(self):
        target = self.path("large.db")
        db = self.database("create table t (id int primary key, v text, b bytea)")
        db.execute("insert into t select 1, repeat('0123456789', 3000000), decode(repeat('ab', 5000000), 'hex')")
        run_ = self.pipeline(db.source("public.t"), {"type": "sqlite", "path": target},
                             pipeline={"buffer.memory": "16MiB"}).start()
        wait_equal(lambda: sqlite_equal(db, "t", target), run_, 60)
        db.execute("insert into t select 2, repeat('9876543210', 3000000), null")
        wait_equal(lambda: sqlite_equal(db, "t", target), run_, 60)
