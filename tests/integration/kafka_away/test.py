"""A broker that is away, slow, restarted, or that refuses; SASL."""
import time

from tr import *

RETRY = {"restart-strategy.type": "fixed-delay", "restart-strategy.fixed-delay.delay": "300ms",
         "restart-strategy.fixed-delay.attempts": 1000}


class Away(Case):
    SECONDS = 240

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.broker = Kafka(sasl=("alice", "sasl-pass"), extra="message.max.bytes=200000\n")
        cls.topics = Topics(cls.broker.bootstrap)

    @classmethod
    def tearDownClass(cls):
        cls.broker.close()
        super().tearDownClass()

    def make(self, sink=None, **pipeline):
        self.db = self.database(LEDGER.format(name="ledger"))
        self.topic = self.unique("away")
        settings = {"type": "kafka", "properties.bootstrap.servers": self.broker.bootstrap,
                    "topic": self.topic, "value.format": "debezium-json"}
        settings.update(sink or {})
        self.run_ = self.pipeline(self.db.source("public.ledger"), settings, pipeline=pipeline)
        return self.run_

    def found(self):
        return [change_identity(m["v"])[::2] + (change_identity(m["v"])[3],)
                for m in self.topics.read(self.topic) if m["v"] is not None]

    def holds(self, load, repeats):
        expected = [(op, key, None if op == "d" else v) for op, key, v in load.changes]
        found = [(op, key, None if op == "d" else v) for op, key, v in self.found()]
        return stream_holds_each_once(found, expected, allow_repeats=repeats)

    def ride(self, guarantee, outage):
        run_ = self.make({"sink.delivery-guarantee": guarantee}, **RETRY).start()
        self.wait(lambda: (run_.status() or {}).get("state") == "streaming", run_, 60)
        load = Loads(self.db, writers=1, pause=0.01).start()
        time.sleep(1)
        outage()
        time.sleep(1)
        load.stop()
        wait_equal(lambda: self.holds(load, guarantee != "exactly-once"), run_, 90)

    def freeze(self):
        self.broker.pause()
        time.sleep(4)
        self.broker.resume()

    def restart(self):
        self.broker.stop()
        time.sleep(1)
        self.broker.start()

    def test_frozen_at_least_once(self):
        self.ride("at-least-once", self.freeze)

    def test_frozen_exactly_once(self):
        self.ride("exactly-once", self.freeze)

    def test_restarted_at_least_once(self):
        self.ride("at-least-once", self.restart)

    def test_restarted_exactly_once(self):
        self.ride("exactly-once", self.restart)

    def test_nobody_listens(self):
        run_ = self.make({"properties.bootstrap.servers": "127.0.0.1:%d" % free_port()})
        began = time.monotonic()
        line = run_.fail(timeout=60, error="KAFKA_")
        self.assertIn("hint=", line)
        self.assertLess(time.monotonic() - began, 60)
        checked = run_.check(timeout=60)
        self.assertNotEqual(checked.returncode, 0)
        self.assertIn("KAFKA_", checked.all)

    def test_sasl(self):
        sasl = {"properties.bootstrap.servers": "127.0.0.1:%d" % self.broker.sasl_port,
                "properties.security.protocol": "SASL_PLAINTEXT", "properties.sasl.mechanism": "PLAIN",
                "properties.sasl.username": "alice", "properties.sasl.password": "sasl-pass"}
        run_ = self.make(sasl).start()
        self.db.execute("insert into ledger values (1, 0, 0, 1, 'x')")
        self.wait(lambda: len(self.topics.read(self.topic)) == 1, run_)
        self.assertNotIn("sasl-pass", run_.text())
        sasl["properties.sasl.password"] = "wr0ng-pass"
        bad = self.make(sasl)
        line = bad.fail(timeout=60, error="KAFKA_")
        self.assertNotIn("wr0ng-pass", line + bad.all_text())

    def test_tls_is_not_spoken_by_a_plain_broker(self):
        run_ = self.make({"properties.security.protocol": "SSL"})
        run_.fail(timeout=60, error="KAFKA_")

    def test_a_message_that_is_too_large(self):
        run_ = self.make().start()
        self.wait(lambda: (run_.status() or {}).get("state") == "streaming", run_)
        # letters that do not compress: a broker measures the compressed batch
        self.db.execute("insert into ledger select 1, 0, 0, 1, string_agg(md5(i::text), '')"
                        " from generate_series(1, 12500) i")
        self.assertNotEqual(run_.wait_exit(), 0)
        line = run_.last_line()
        self.assertRegex(line, "KAFKA_\\w*(LARGE|SIZE)")
        self.assertIn("hint=", line)
