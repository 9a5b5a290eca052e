"""Delivery to Kafka: exactly once under read_committed, at least once without a loss, through kills."""
import random
import time

from tr import *


class Delivery(Case):
    KAFKA = True
    SECONDS = 200

    def stream(self, guarantee, kills, seconds=0.7, **sink):
        self.db = self.database(LEDGER.format(name="ledger"))
        self.topic = self.unique("ledger")
        self.run_ = self.pipeline(
            self.db.source("public.ledger"),
            {"type": "kafka", "properties.bootstrap.servers": self.kafka.bootstrap, "topic": self.topic,
             "value.format": "debezium-json", "sink.delivery-guarantee": guarantee, **sink}).start()
        self.wait(lambda: (self.run_.status() or {}).get("state") == "streaming", self.run_, 60)
        load = Loads(self.db, writers=2, pause=0.01).start()
        chance = random.Random(7)
        for _ in range(kills):
            time.sleep(seconds * chance.random() + 0.2)
            self.run_.kill()
            self.pg.wait_slot_idle(self.run_.name + "_slot")
            self.run_.start()
        time.sleep(seconds)
        load.stop()
        self.expected = [(op, key, None if op == "d" else v) for op, key, v in load.changes]

    def found(self, committed=True):
        changes = []
        for message in self.kafka.read(self.topic, committed=committed):
            if message["v"] is None:
                continue
            op, _, key, version = change_identity(message["v"])
            changes.append((op, key, None if op == "d" else version))
        return changes

    def test_exactly_once(self):
        self.stream("exactly-once", kills=4)
        wait_equal(lambda: stream_holds_each_once(self.found(), self.expected), self.run_, 60)
        self.run_.stop()
        stream_holds_each_once(self.found(), self.expected)

    def test_exactly_once_over_orderly_stops(self):
        self.stream("exactly-once", kills=0)
        for _ in range(3):
            self.run_.stop()
            self.run_.start()
            self.wait_streaming(self.run_, 60)
        wait_equal(lambda: stream_holds_each_once(self.found(), self.expected), self.run_, 60)

    def test_at_least_once(self):
        self.stream("at-least-once", kills=4)
        wait_equal(lambda: stream_holds_each_once(self.found(), self.expected, allow_repeats=True),
                   self.run_, 60)
        self.run_.stop()

    def test_at_least_once_without_kills_is_each_once(self):
        self.stream("at-least-once", kills=0)
        wait_equal(lambda: stream_holds_each_once(self.found(), self.expected), self.run_, 60)
        self.run_.stop()
        stream_holds_each_once(self.found(), self.expected)

    def test_snapshot_exactly_once(self):
        """Killed in the middle of the copy: each row of the snapshot once."""
        db = self.database("create table t (id int primary key, v text);"
                           "insert into t select i, repeat('x', 100) from generate_series(1, 60000) i; analyze t")
        topic = self.unique("snap")
        run_ = self.pipeline(
            db.source("public.t", **{"scan.snapshot.chunk.size": "512KB"}),
            {"type": "kafka", "properties.bootstrap.servers": self.kafka.bootstrap, "topic": topic,
             "value.format": "debezium-json", "sink.delivery-guarantee": "exactly-once"})
        for delay in (0.7, 0.9, 1.1):
            run_.start()
            time.sleep(delay)
            run_.kill()
        run_.start()

        def each_once():
            ids = [m["v"]["after"]["id"] for m in self.kafka.read(topic) if m["v"]]
            self.assertGreaterEqual(len(ids), 60000)
            self.assertEqual(len(ids), len(set(ids)), "rows twice")
            self.assertEqual(len(ids), 60000)
            return True
        wait_equal(each_once, run_, 60)
