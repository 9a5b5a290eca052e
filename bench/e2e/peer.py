"""Debezium on Kafka Connect in the same run (bench/peers/debezium.py does the work): Kafka by snapshot,
stream and latency, PostgreSQL through its JDBC sink."""
import os
import sys
import unittest

from lab import Skip

sys.dont_write_bytecode = True
try:
    import debezium
    WHY = ""
except ImportError as error:
    debezium, WHY = None, str(error)

TXNS = (100, 1)
LATENCY_SKIP_SECONDS = 5


def version():
    return "" if debezium is None else "%s, Kafka Connect %s" % (debezium.VERSION,
                                                                 debezium.CONNECT_VERSION)


class Peer:
    """One worker. The first repetition has a JVM that compiles, later ones a warm one: medians are
    those of a worker that has run for a while, which is the better of the two."""

    def __init__(self, lab, tuning):
        if debezium is None:
            raise Skip("bench/peers/debezium.py: " + WHY)
        self.lab, self.tuning = lab, tuning
        self.entrant = "peer" if tuning == "tuned" else "peer-shipped"
        self.label = "Debezium" + (", as shipped" if tuning != "tuned" else "")
        try:
            self.worker = debezium.Debezium(lab.broker.bootstrap, tuning)
        except unittest.SkipTest as reason:
            raise Skip(reason)
        self.load = 0.0

    def _add(self, item, result, variant="", label=""):
        record = self.lab.record
        record.item, kept = item, record.item
        keys = ("first_seconds", "start_seconds", "start_cpu_seconds", "min_ms", "p50_ms", "p99_ms",
                "p999_ms", "max_ms")
        record.add(self.entrant, self.label + label, result["events"], result["seconds"], variant,
                   self.load, cpu=result["cpu_seconds"], broker_cpu=result["broker_cpu_seconds"],
                   source_cpu=result["server_cpu_seconds"],
                   target_cpu=result.get("target_cpu_seconds"), peak_kb=result["peak_kb"],
                   **{key: result.get(key) for key in keys})
        record.item = kept

    def _stream(self, one, table, item, label, probe=None):
        for per_txn in TXNS:
            self.load = os.getloadavg()[0]
            self._add(item, one.stream(lambda: table.changes(self.lab.args.peer_changes, per_txn), probe),
                      "tx %d" % per_txn, label)

    def repetition(self, items, check):
        """Each of `items` that the peer can do, once, with a fresh table."""
        lab = self.lab
        lab.source.execute("drop database if exists source with (force)")
        table = debezium.Table(lab.source, lab.rows)
        self.load = os.getloadavg()[0]
        if items & {"snapshot-kafka", "stream-kafka", "latency"}:
            with debezium.Run(self.worker, lab.source, table.db.name, lab.broker, debezium.TABLE) as one:
                self._kafka(one, table, items, check)
        if items & {"snapshot-postgres", "stream-postgres"}:
            self._postgres(table, items, check)

    def _kafka(self, one, table, items, check):
        result = one.snapshot()
        if "snapshot-kafka" in items:
            self._add("snapshot-kafka", result)
        if "stream-kafka" in items:
            self._stream(one, table, "stream-kafka", "")
        if "latency" in items:
            rate = self.lab.args.latency_rate
            count, skipped = rate * self.lab.args.latency_seconds, rate * LATENCY_SKIP_SECONDS
            self.load = os.getloadavg()[0]
            self._add("latency", one.latency(lambda: table.insert_at_rate(rate, count + skipped),
                                             count, "at", skipped))
        if check:
            self._verdict(one, "Kafka")

    def _postgres(self, table, items, check):
        target = self.lab.target.create_database(self.lab.unique("peer"), debezium.DDL)
        url = "jdbc:postgresql://127.0.0.1:%d/%s%s" % (target.server.port, target.name,
                                                       debezium.TUNINGS[self.tuning]["jdbc-url"])
        try:
            with debezium.Run(self.worker, self.lab.source, table.db.name, self.lab.broker,
                              debezium.TABLE, target, sink={"connection.url": url}) as one:
                result = one.snapshot()
                if "snapshot-postgres" in items:
                    self._add("snapshot-postgres", result, label=" + JDBC sink")
                if "stream-postgres" in items:
                    self._stream(one, table, "stream-postgres", " + JDBC sink",
                                 lambda: table.probe)  # known when the backlog is made
                if check:
                    self._verdict(one, "JDBC")
        finally:
            self.lab.drop(target)

    def _verdict(self, one, what):
        """A figure counts only when everything came."""
        text = one.verdict()
        print("    %s, %s: %s" % (self.label, what, text), flush=True)
        if any(letter.isupper() for letter in text):
            self.lab.record.skip("%s, %s" % (self.label, what), "the result is wrong: " + text)

    def close(self):
        self.worker.close()
        self.lab.source.execute("drop database if exists source with (force)")


def latency_of(bootstrap, topic, writer, count, skipped):
    if debezium is None:
        raise Skip("bench/peers/debezium.py: " + WHY)
    try:
        return debezium.measure_latency(bootstrap, topic, writer, count, "at", skipped)
    except unittest.SkipTest as reason:
        raise Skip(reason)
