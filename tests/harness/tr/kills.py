"""Kills: at a named failpoint, and at random under load; then the target is compared with the source."""
import os
import random
import signal
import time

from .case import Case
from .common import SANITIZED, log, wait_for
from .load import LEDGER, Checkpoints, Loads
from .oracle import pg_equal, read_folder, sqlite_equal, wait_equal, whole_history

BASE_ROWS = 3000
SOURCE = LEDGER.format(name="ledger") + """
insert into ledger select -i, 0, 0, i, repeat('base', 10), now() from generate_series(1, %d) i;
analyze ledger;
""" % BASE_ROWS
BASE = {-i: 0 for i in range(1, BASE_ROWS + 1)}
HIT_SECONDS = 25


class Kills(Case):
    """A subclass gives sink() and holds(load)."""
    SECONDS = 400
    SHARE = 0.0        # of all random kills
    SETTINGS = {}      # pipeline settings
    CHUNK = "64KB"     # of the snapshot

    def sink(self):
        raise NotImplementedError

    def holds(self, load):
        raise NotImplementedError

    def prepare(self, **source):
        self.db = self.database(SOURCE)
        source.setdefault("scan.snapshot.chunk.size", self.CHUNK)
        # What comes between a kill and the next start is mostly more than that: read in chunks by SQL.
        source.setdefault("catch-up.min.lag", "32KB")
        self.run_ = self.pipeline(self.db.source("public.ledger", **source), self.sink(),
                                  pipeline=dict({"checkpoint.interval": "100ms"}, **self.SETTINGS))
        return self.run_

    def settle(self, load):
        """The load has ended: the pipeline catches up, and both sides are compared."""
        wait_equal(lambda: self.holds(load), self.run_, 40)
        self.run_.stop()
        self.holds(load)

    def wait_slot(self):
        self.pg.wait_slot_idle(self.run_.name + "_slot", 15)

    # ---- at a failpoint ----

    def kill_at(self, point, passages=(1,), writers=2):
        """For each passage: runs until the failpoint kills it, starts again, and compares at the end.
        A failpoint that is never reached fails the test: it would prove nothing."""
        run_ = self.prepare()
        load = Loads(self.db, writers=writers, pause=0.01).start()
        notes = Checkpoints(self.db)
        try:
            notes.start()
            for passage in passages:
                run_.start(failpoint="%s=kill@%d" % (point, passage))

                def hit():
                    if run_.running():
                        return False
                    return True
                wait_for(hit, HIT_SECONDS, "%s to be reached %d times" % (point, passage))
                code = run_.wait_exit()
                self.assertEqual(code, -signal.SIGKILL, run_.tail())
                self.wait_slot()
            run_.start()
            self.wait(lambda: (run_.status() or {}).get("state") == "streaming", run_, 60)
        finally:
            notes.stop()
            load.stop()
        self.settle(load)

    def kill_in_drain(self, point):
        """The kill comes while a SIGTERM is answered."""
        run_ = self.prepare()
        load = Loads(self.db, writers=2, pause=0.01).start()
        try:
            for _ in range(2):
                run_.start(failpoint=point + "=kill@1")
                self.wait(lambda: (run_.status() or {}).get("state") == "streaming", run_, 60)
                time.sleep(0.3)
                os.kill(run_.pid, signal.SIGTERM)
                self.assertEqual(run_.wait_exit(), -signal.SIGKILL, run_.tail())
                self.wait_slot()
            run_.start()
        finally:
            load.stop()
        self.settle(load)

    # ---- at random ----

    def random_kills(self):
        total = int(os.environ.get("TAILRACE_TEST_KILLS", "100"))
        kills = max(2, round(total * self.SHARE))
        seed = int(os.environ.get("TAILRACE_TEST_SEED", str(int(time.time()))))
        log("%d kills, TAILRACE_TEST_SEED=%d" % (kills, seed))
        chance = random.Random(seed)
        run_ = self.prepare()
        load = Loads(self.db, writers=2, seed=seed % 10000, pause=0.015).start()
        notes = Checkpoints(self.db)
        longest = 1.4 if SANITIZED else 0.9
        try:
            notes.start()
            for _ in range(kills):
                run_.start()
                time.sleep(chance.uniform(0, 0.3) if chance.random() < 0.25
                           else chance.uniform(0.2, longest))
                if not run_.running():
                    # It may have met the slot that the killed one still held; nothing else is right.
                    run_.check_sanitizers()
                    self.assertIn("PG_SLOT_IN_USE", run_.last_line(), run_.tail())
                else:
                    run_.kill()
                if chance.random() < 0.7:
                    self.wait_slot()
            self.wait_slot()
            run_.start()
            self.wait(lambda: (run_.status() or {}).get("state") == "streaming", run_, 60)
        finally:
            notes.stop()
            load.stop()
        self.settle(load)
        log("%d transactions, %d changes, %d processes, %d times caught up"
            % (load.committed, len(load.changes), run_.count,
               run_.all_text().count("catching up: the log is read in chunks")))


class ToSqlite(Kills):
    SHARE = 0.3

    def sink(self):
        self.target = self.path("target.db")
        return {"type": "sqlite", "path": self.target}

    def holds(self, load):
        return sqlite_equal(self.db, "ledger", self.target)


class ToPostgres(Kills):
    SHARE = 0.25

    def sink(self):
        self.target = self.database()
        return self.target.sink()

    def holds(self, load):
        return pg_equal(self.db, self.target, "ledger")


class ToFiles(Kills):
    SHARE = 0.1

    def sink(self):
        self.folder = self.path("files")
        return {"type": "file", "path": self.folder, "format": "debezium-json", "rotation.time": "150ms"}

    def holds(self, load):
        return whole_history(read_folder(self.folder), load.changes, BASE)


class ToKafka(Kills):
    KAFKA = True
    SHARE = 0.25
    # One piece, durable as a whole or not at all. A copy of several that is resumed shows what is left as
    # it is by then, and what came between follows once more: rows converge, a history is not whole.
    CHUNK = "64MB"
    GUARANTEE = "exactly-once"

    def sink(self):
        self.topic = self.unique("kills")
        return {"type": "kafka", "properties.bootstrap.servers": self.kafka.bootstrap,
                "topic": self.topic, "value.format": "debezium-json",
                "sink.delivery-guarantee": self.GUARANTEE}

    def holds(self, load):
        values = [m["v"] for m in self.kafka.read(self.topic)]
        return whole_history(values, load.changes, BASE, self.GUARANTEE != "exactly-once")


class ToKafkaAtLeastOnce(ToKafka):
    SHARE = 0.1
    GUARANTEE = "at-least-once"
