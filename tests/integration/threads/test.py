"""What the thread sanitizer watches: a snapshot with several readers, a stream under load, status,
pause, restarts and a stop, in one process each."""
import time

from tr import *

SQL = LEDGER.format(name="ledger") + """
create table still (id int primary key, pad text);
insert into still select i, repeat('s', 100) from generate_series(1, 8000) i;
analyze still;
"""


class Threads(Case):
    def test_a_life(self):
        db = self.database(SQL)
        target = self.path("t.db")
        proxy = Proxy(self.pg.port)
        try:
            run_ = self.pipeline({**db.source(**{"scan.snapshot.readers": 4,
                                                 "scan.snapshot.chunk.size": "64KB"}),
                                  "port": proxy.port},
                                 {"type": "sqlite", "path": target},
                                 pipeline={"restart-strategy.type": "fixed-delay",
                                           "restart-strategy.fixed-delay.delay": "200ms",
                                           "restart-strategy.fixed-delay.attempts": 50}).start()
            load = Loads(db, writers=2, pause=0.005).start()
            for _ in range(10):
                run_.status()
                time.sleep(0.15)
            run_.cli("pause", run_.name)
            time.sleep(0.3)
            run_.cli("resume", run_.name)
            run_.cli("metrics", run_.name)
            run_.cli("savepoint", run_.name)
            proxy.cut()
            time.sleep(1.0)
            load.stop()
            for table in ("ledger", "still"):
                wait_equal(lambda: sqlite_equal(db, table, target), run_, 60)
            run_.stop()
        finally:
            proxy.close()

    def test_postgres_sink(self):
        db, target = self.database(SQL), self.database()
        run_ = self.pipeline(db.source(**{"scan.snapshot.readers": 3}), target.sink()).start()
        load = Loads(db, writers=1, pause=0.005).start()
        time.sleep(2)
        load.stop()
        wait_equal(lambda: pg_equal(db, target, "ledger"), run_, 60)
        run_.stop()
