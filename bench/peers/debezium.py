#!/usr/bin/python3
"""Debezium 3.5.0.Final on Kafka Connect 4.3.1 as a peer: one distributed worker on the loopback.

    bench/peers/debezium.py [--rows 1000000] [--changes 500000] [--tuning tuned|tuned-latency|as-shipped]
        [--what snapshot-kafka,stream-kafka,snapshot-postgres,stream-postgres,latency] [--json FILE]

starts a PostgreSQL and a Kafka of its own and prints a table; bench/e2e/run.py uses the classes.

snapshot-kafka     a new source connector copies a table. From the request to Connect until the topic
                   holds a record for each row. ("first s": until the first record was there.)
stream-kafka       the connector is stopped (Connect's STOPPED state: its task is gone, its slot and
                   offsets are kept), --changes changes are made, and it is resumed. From the first
                   record of them in the topic to the last; "first s" is what came before: from
                   the request to that first record. Twice: in transactions of 100 and of 1.
snapshot-postgres  the same with a JDBC sink connector in the same worker, until the other database
stream-postgres    holds exactly what the source holds. Both connectors run at the same time.
latency            500 transactions a second of one row each. From the row's own clock_timestamp()
                   to its record in a consumer (kafka_latency.c), without the first five seconds.

CPU is utime + stime of /proc/PID/stat of Connect, of Kafka, and of PostgreSQL with its backends, from
the request to the end, without the comparison of whole tables; Connect's own start is told apart. Peak is
VmHWM of Connect since it was started. The topic's end offsets are asked for a hundred times a second over
one connection. After each measurement the topic is read, or both tables are compared, and what is missing,
doubled or different is said.

--times N takes every measurement N times in the same worker: the first has a JVM that compiles, the later
ones what a worker does that has run for a while."""
import argparse
import ctypes
import ctypes.util
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
import unittest

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "..", "tests", "harness")]
from debezium_connect import (CONNECT_VERSION, SETTLE_SECONDS, TUNINGS, VERSION, Debezium,  # noqa: E402
                              debezium_home)
from tr.common import end, free_port, proc_cpu_seconds, run, skip, spawn, temp_dir, wait_for  # noqa: E402
from tr.kafka import Kafka  # noqa: E402
from tr.postgres import Postgres  # noqa: E402

RUN_SECONDS = 1800
POLL_SECONDS = 0.01
CHECK_SECONDS = 2.0  # a REST call costs CPU that is counted


# ---- looking at a topic --------------------------------------------------------------------------


class Ends:
    """The end offsets of a topic, over one connection of librdkafka. For topics whose producer makes
    no transactions: there every offset is a record."""

    CONSUMER = 1
    TIMEOUT_MS = 1000

    def __init__(self, bootstrap, topic, partitions=1):
        path = ctypes.util.find_library("rdkafka")
        if path is None:
            skip("librdkafka is not installed, so end offsets cannot be asked for")
        self.lib = ctypes.CDLL(path)
        self.lib.rd_kafka_conf_new.restype = ctypes.c_void_p
        self.lib.rd_kafka_new.restype = ctypes.c_void_p
        why = ctypes.create_string_buffer(256)
        conf = ctypes.c_void_p(self.lib.rd_kafka_conf_new())
        for key, value in (("bootstrap.servers", bootstrap), ("group.id", "ends"),
                           ("log_level", "0"), ("topic.metadata.refresh.interval.ms", "1000")):
            if self.lib.rd_kafka_conf_set(conf, key.encode(), value.encode(), why,
                                          ctypes.c_size_t(len(why))) != 0:
                raise AssertionError("librdkafka: " + why.value.decode())
        self.handle = ctypes.c_void_p(self.lib.rd_kafka_new(self.CONSUMER, conf, why,
                                                            ctypes.c_size_t(len(why))))
        if not self.handle.value:
            raise AssertionError("librdkafka: " + why.value.decode())
        self.topic, self.partitions = topic.encode(), partitions

    def total(self):
        """Records that were ever written; 0 while there is no topic."""
        low, high, total = ctypes.c_int64(), ctypes.c_int64(), 0
        for partition in range(self.partitions):
            if self.lib.rd_kafka_query_watermark_offsets(
                    self.handle, ctypes.c_char_p(self.topic), ctypes.c_int32(partition),
                    ctypes.byref(low), ctypes.byref(high), ctypes.c_int(self.TIMEOUT_MS)) == 0:
                total += high.value
        return total

    def close(self):
        if self.handle.value:
            self.lib.rd_kafka_destroy(self.handle)
            self.handle = ctypes.c_void_p()


def _compile(name):
    if shutil.which("cc") is None or run(["pkg-config", "--exists", "rdkafka"],
                                         check=False).returncode != 0:
        skip("%s.c needs a C compiler and librdkafka's headers" % name)
    program = os.path.join(temp_dir(), name)
    run(["cc", "-O2", "-o", program, os.path.join(HERE, name + ".c")] +
        run(["pkg-config", "--cflags", "--libs", "rdkafka"]).stdout.split())
    return program


def measure_latency(bootstrap, topic, writer, count, field="at", skip_count=0):
    """writer() makes skip_count + count rows, whose member `field` is the time at which each was made;
    returns {count, min_ms, p50_ms, p99_ms, p999_ms, max_ms} of count of them, by whoever brings them into
    the topic."""
    child = spawn([_compile("kafka_latency"), bootstrap, topic, field, str(skip_count), str(count)],
                  stdout=subprocess.PIPE, text=True)
    try:
        if child.stdout.readline().strip() != "ready":
            raise AssertionError("kafka_latency did not start")
        writer()
        values = child.stdout.readline().split()
        if child.wait() != 0 or len(values) != 6 or int(values[0]) != count:
            raise AssertionError("kafka_latency ended with %s" % child.returncode)
    finally:
        end(child, signal.SIGKILL)
        child.stdout.close()
    names = ("min_ms", "p50_ms", "p99_ms", "p999_ms", "max_ms")
    return dict(zip(names, map(float, values[1:])), count=count)


# ---- measuring -----------------------------------------------------------------------------------


def tree_cpu_seconds(pid):
    """A server's CPU: its own, of its dead children, and of those that live."""
    total = proc_cpu_seconds(pid, children=True) or 0
    with open("/proc/%d/task/%d/children" % (pid, pid)) as file:
        return total + sum(proc_cpu_seconds(int(child)) or 0 for child in file.read().split())


class Meter:
    """Clock and CPU of Connect, the broker and the database from now on, and of the target when that is
    another server. broker and servers: objects with a .process, as those of the harness."""

    def __init__(self, peer, broker, server, target=None):
        self.peer, self.broker, self.server = peer, broker, server
        self.target = target if target is not server else None
        self.began, self.cpu, self.last = time.monotonic(), self._cpu(), None

    def _cpu(self):
        return (self.peer.cpu_seconds(), proc_cpu_seconds(self.broker.process.pid),
                tree_cpu_seconds(self.server.process.pid),
                tree_cpu_seconds(self.target.process.pid) if self.target else 0)

    def mark(self):
        """What is used from here on does not count: looks at a whole table, for example."""
        self.last = self._cpu()

    def result(self, events, seconds, first_seconds, **more):
        connect, broker, server, target = (now - before for now, before in
                                           zip(self.last or self._cpu(), self.cpu))
        return dict(events=events, seconds=seconds, first_seconds=first_seconds, cpu_seconds=connect,
                    broker_cpu_seconds=broker, server_cpu_seconds=server,
                    target_cpu_seconds=target if self.target else None,
                    peak_kb=self.peer.peak_rss_kb(), start_seconds=self.peer.start_seconds,
                    start_cpu_seconds=self.peer.start_cpu_seconds, **more)


FINGERPRINT = "select count(*), sum(hashtextextended(t::text, 0)) from %s t"
MAX_ID = "select max(id) from %s"


class Run:
    """One source connector over a table, into Kafka or, with a target (a Database of the harness that
    has the same table), by a JDBC sink into PostgreSQL. A context manager; it leaves no slot behind.

    snapshot() first, then stream(backlog) as often as wanted; backlog() makes changes and returns how
    many. probe(), called after backlog(): a cheap query that gives the same in source and target only
    when the last changes have come; then the tables are compared as a whole."""

    count = 0

    def __init__(self, peer, server, database, broker, table, target=None, partitions=1, tasks=1,
                 source=None, sink=None):
        Run.count += 1
        self.peer, self.server, self.broker = peer, server, broker
        self.database, self.table, self.target = database, table, target
        self.partitions, self.tasks = partitions, tasks
        self.source_more, self.sink_more = source or {}, sink or {}
        self.name = "dbz_%d_%d" % (os.getpid(), Run.count)
        self.topic = "%s.public.%s" % (self.name, table)
        self.sink_name = self.name + "_sink"
        self.names = [self.name] + ([self.sink_name] if target else [])
        self.ends = Ends(broker.bootstrap, self.topic, partitions)
        self.created = []
        self.next_check = 0.0
        self.records = 0  # that must be in the topic
        self.source = server.connect(database)
        self.copy = target.connect() if target else None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # ---- waiting ----

    def _alive(self):
        if time.monotonic() > self.next_check:
            self.peer.check(*self.created)
            self.next_check = time.monotonic() + CHECK_SECONDS

    def _wait(self, condition, what):
        deadline = time.monotonic() + RUN_SECONDS
        while True:
            now = time.monotonic()
            if condition():
                return now
            self._alive()
            if now > deadline:
                raise AssertionError("no end of %s within %d s" % (what, RUN_SECONDS))
            time.sleep(POLL_SECONDS)

    def _wait_records(self, records, what):
        """Until the topic has so many; when that was."""
        self._wait(lambda: self.ends.total() >= records, what)
        return time.monotonic()

    @staticmethod
    def _ask(conn, sql):
        with conn.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchone()

    def _expected(self, probe):
        """What the target must answer; asked for before the clock runs. It warms the caches, too."""
        return [(sql, self._ask(self.source, sql)) for sql in (probe, FINGERPRINT % self.table)] \
            if self.target else None

    def _wait_target(self, expected, meter):
        """Until the target holds what the source holds; when the look began that saw it."""
        (probe, last), (fingerprint, whole) = expected

        def complete():
            if self._ask(self.copy, probe) != last:
                return False
            meter.mark()
            return self._ask(self.copy, fingerprint) == whole
        return self._wait(complete, "the target")

    # ---- measurements ----

    def _meter(self):
        return Meter(self.peer, self.broker, self.server,
                     self.target.server if self.target else None)

    def snapshot(self):
        rows = self._ask(self.source, "select count(*) from " + self.table)[0]
        expected = self._expected(MAX_ID % self.table)
        meter = self._meter()
        self.peer.create_source(self.name, self.server, self.database, self.table,
                                self.target is not None, self.partitions, **self.source_more)
        self.created.append(self.name)
        if self.target:
            self.peer.create_sink(self.sink_name, self.topic, self.target, self.table, self.tasks,
                                  **self.sink_more)
            self.created.append(self.sink_name)
        first = self._wait_records(1, "the start")
        self.records += rows
        ended = self._wait_target(expected, meter) if self.target else \
            self._wait_records(self.records, "the snapshot")
        result = meter.result(rows, ended - meter.began, first - meter.began)
        self._settle()
        return result

    def _settle(self):
        """Until the connectors run and the stream has begun, so that a stop keeps what was done."""
        self.peer.wait_running(*self.created)
        wait_for(lambda: (self.server.slot(self.name) or {}).get("active"), SETTLE_SECONDS,
                 "the slot to be read")

    def stream(self, backlog, probe=None):
        self.peer.stop(self.name)
        self.server.wait_slot_idle(self.name, SETTLE_SECONDS)
        before = self.ends.total()
        changes = backlog()
        self.records += changes
        expected = self._expected(probe() if probe else MAX_ID % self.table)
        meter = self._meter()
        self.peer.resume(self.name)
        first = self._wait_records(before + 1, "the start")
        ended = self._wait_target(expected, meter) if self.target else \
            self._wait_records(self.records, "the stream")
        result = meter.result(changes, ended - first, first - meter.began)
        self._settle()
        return result

    def latency(self, writer, count, field, skip_count):
        """writer() inserts skip_count + count rows; the connector is streaming already."""
        self.records += count + skip_count
        meter = self._meter()
        values = measure_latency(self.broker.bootstrap, self.topic, writer, count, field, skip_count)
        return meter.result(count + skip_count, time.monotonic() - meter.began, None, **values)

    # ---- afterwards ----

    def verdict(self):
        """Is everything there, and once? The last event of each key must be the row of the source.
        Records are kept by the order of their partition, and a key has one partition."""
        rows = {row[0]: row for row in self._rows()}
        if self.target:
            same = self._ask(self.copy, FINGERPRINT % self.table) == \
                self._ask(self.source, FINGERPRINT % self.table)
            return "%d rows, %s" % (len(rows), "equal" if same else "NOT EQUAL")
        kcat = spawn(["kcat", "-C", "-q", "-e", "-b", self.broker.bootstrap, "-t", self.topic, "-o",
                      "beginning", "-X", "isolation.level=read_committed", "-f", "%s\n"],
                     stdout=subprocess.PIPE)
        last, records = {}, 0
        for line in kcat.stdout:
            value = json.loads(line)
            after = value.get("payload", value)["after"]
            last[after["id"]] = after
            records += 1
        kcat.stdout.close()
        kcat.wait()
        wrong = sum(1 for ident in set(rows) | set(last)
                    if not self._same(rows.get(ident), last.get(ident)))
        text = "%d records, %d keys" % (records, len(last))
        if records != self.records:
            text += ", %+d RECORDS" % (records - self.records)
        return text + (", %d keys WRONG" % wrong if wrong else ", equal")

    def _rows(self):
        with self.source.cursor() as cursor:
            cursor.execute("select id, kind, amount, name, note, code from " + self.table)
            return cursor.fetchall()

    @staticmethod
    def _same(row, after):
        return row is not None and after is not None and \
            row == tuple(after[k] for k in ("id", "kind", "amount", "name", "note", "code"))

    def close(self):
        for name in reversed(self.created):
            self.peer.delete(name)
        self.ends.close()
        if self.server.slot(self.name):
            self.server.wait_slot_idle(self.name, SETTLE_SECONDS)
            self._ask(self.source, "select pg_drop_replication_slot('%s')" % self.name)
        with self.source.cursor() as cursor:
            cursor.execute("drop publication if exists " + self.name)
        self.source.close()
        if self.copy:
            self.copy.close()


# ---- the four measurements as functions ----------------------------------------------------------


def snapshot_to_kafka(peer, server, database, broker, table, **more):
    with Run(peer, server, database, broker, table, **more) as one:
        return one.snapshot()


def stream_to_kafka(peer, server, database, broker, table, backlog, **more):
    """The snapshot of what is in the table is made first, and not measured."""
    with Run(peer, server, database, broker, table, **more) as one:
        one.snapshot()
        return one.stream(backlog)


def snapshot_to_postgres(peer, server, database, broker, table, target, **more):
    with Run(peer, server, database, broker, table, target, **more) as one:
        return one.snapshot()


def stream_to_postgres(peer, server, database, broker, table, target, backlog, probe=None, **more):
    with Run(peer, server, database, broker, table, target, **more) as one:
        one.snapshot()
        return one.stream(backlog, probe)


# ---- the program ---------------------------------------------------------------------------------

TABLE = "bench"
DDL = ("create table bench (id bigint primary key, kind int not null, amount bigint not null, "
       "name text not null, note text, code char(60) not null, at timestamptz not null)")
VALUES = ("{0} % 7, {0}::bigint * 7919 % 1000003, 'name ' || {0}, repeat(md5({0}::text), 1), "
          "md5('a' || {0}) || left(md5('b' || {0}), 28), {1}")


class Table:
    """The table that is measured: about 150 bytes a row."""

    def __init__(self, server, rows):
        self.server, self.rows = server, rows
        self.db = server.create_database("source", DDL)
        self.next_id = rows + 1
        self.db.execute("insert into bench select i, %s from generate_series(1, %d) i"
                        % (VALUES.format("i", "timestamptz '2024-01-01' + i * interval '1 second'"),
                           rows))
        self.db.execute("vacuum analyze bench")
        self.db.execute("checkpoint")

    def target(self):
        return self.server.create_database("target_%d" % free_port(), DDL)

    def changes(self, count, txn):
        """Half inserts, half updates of older rows, in transactions of txn; returns how many."""
        half = max(1, txn // 2)
        insert = "insert into bench select i, %s from generate_series(base, base + n - 1) i" \
            % VALUES.format("i", "clock_timestamp()")
        update = ("update bench set amount = -base, at = clock_timestamp() where id in (select 1 + "
                  "(base + i) * 7919 %% %d from generate_series(0, n - 1) i)" % self.rows)
        between = "commit;" if txn == 1 else ""
        steps = count // (2 * half)
        self.db.execute("""
            do $$
            declare base bigint := %d; n int := %d;
            begin
                for step in 1..%d loop
                    %s; %s
                    %s;
                    commit;
                    base := base + n;
                end loop;
            end $$""" % (self.next_id, half, steps, insert, between, update))
        last = self.next_id + (steps - 1) * half
        self.next_id += steps * half
        # The last update of all, and the last insert.
        self.probe = ("select (select max(id) from bench), (select amount from bench where id = %d)"
                      % (1 + (last + half - 1) * 7919 % self.rows))
        return steps * 2 * half

    def insert_at_rate(self, per_second, count):
        """One row a transaction, by the clock; late ones follow at once."""
        conn = self.server.connect(self.db.name)
        values = VALUES.format("i", "clock_timestamp()")
        began = time.monotonic()
        with conn.cursor() as cursor:
            cursor.execute("prepare one as insert into bench select i, %s from (select $1::bigint) "
                           "as v(i)" % values)
            for number in range(count):
                wait = began + number / per_second - time.monotonic()
                if wait > 0:
                    time.sleep(wait)
                cursor.execute("execute one(%d)" % (self.next_id + number))
        self.seconds_written = time.monotonic() - began
        self.next_id += count
        conn.close()


LATENCY_PER_SECOND = 500
LATENCY_SECONDS = 20
LATENCY_SKIP_SECONDS = 5
WHATS = ["snapshot-kafka", "stream-kafka", "snapshot-postgres", "stream-postgres", "latency"]
TXNS = (100, 1)


class Bench:
    def __init__(self, args):
        self.args, self.results, self.bad = args, [], False
        self.server = self.broker = self.peer = None
        try:
            debezium_home()
            self.server = Postgres(settings={"shared_buffers": "512MB", "max_wal_size": "8GB"},
                                   fsync=False)
            self.broker = Kafka()
            self.table = Table(self.server, args.rows)
            self.peer = Debezium(self.broker.bootstrap, args.tuning, args.heap, args.changed)
        except BaseException:
            self.close()
            raise

    def report(self, what, result):
        self.results.append(dict(result, what=what, tuning=self.args.tuning))
        first = result["first_seconds"]
        print("%-22s %9d %8.2f %9.0f %8s %8.2f %10.0f %8.2f %8.2f %8.0f"
              % (what, result["events"], result["seconds"], result["events"] / result["seconds"],
                 "" if first is None else "%.2f" % first, result["cpu_seconds"],
                 result["events"] / max(result["cpu_seconds"], 0.01), result["broker_cpu_seconds"],
                 result["server_cpu_seconds"], result["peak_kb"] / 1024), flush=True)
        if "p50_ms" in result:
            print("    commit → visible, ms: min %(min_ms).1f, p50 %(p50_ms).1f, p99 %(p99_ms).1f, "
                  "p99.9 %(p999_ms).1f, max %(max_ms).1f" % result, flush=True)

    def _verdict(self, one):
        text = one.verdict()
        self.bad = self.bad or any(c.isupper() for c in text)
        print("    %s" % text, flush=True)

    def _run(self, **more):
        return Run(self.peer, self.server, self.table.db.name, self.broker, TABLE,
                   partitions=self.args.partitions, tasks=self.args.tasks, **more)

    def kafka(self, what):
        with self._run() as one:
            result = one.snapshot()
            if "snapshot-kafka" in what:
                self.report("snapshot-kafka", result)
            for txn in TXNS if "stream-kafka" in what else ():
                self.report("stream-kafka, txn %d" % txn,
                            one.stream(lambda: self.table.changes(self.args.changes, txn)))
            if "latency" in what:
                skip_count = LATENCY_PER_SECOND * LATENCY_SKIP_SECONDS
                count = LATENCY_PER_SECOND * LATENCY_SECONDS
                result = one.latency(lambda: self.table.insert_at_rate(LATENCY_PER_SECOND,
                                                                       count + skip_count),
                                     count, "at", skip_count)
                self.report("latency", result)
                print("    %.0f transactions/s" % ((count + skip_count) / self.table.seconds_written))
            self._verdict(one)

    def postgres(self, what):
        with self._run(target=self.table.target()) as one:
            result = one.snapshot()
            if "snapshot-postgres" in what:
                self.report("snapshot-postgres", result)
            for txn in TXNS if "stream-postgres" in what else ():
                self.report("stream-postgres, txn %d" % txn,
                            one.stream(lambda: self.table.changes(self.args.changes, txn),
                                       lambda: self.table.probe))
            self._verdict(one)

    def measure(self):
        what = set(self.args.what.split(","))
        for _ in range(self.args.times):
            if what & {"snapshot-kafka", "stream-kafka", "latency"}:
                self.kafka(what)
            if what & {"snapshot-postgres", "stream-postgres"}:
                self.postgres(what)

    def close(self):
        for part in (self.peer, self.broker, self.server):
            if part is not None:
                part.close()


def print_head(bench, args):
    java = subprocess.run(["java", "-version"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True).stdout.splitlines()[0]
    print("Debezium %s, Kafka Connect %s, %s; %s; PostgreSQL %s, fsync off"
          % (VERSION, CONNECT_VERSION, args.tuning, java, bench.server.value("show server_version")))
    print("Connect's start: %.1f s, %.1f CPU s; topic of %d partitions, JDBC sink of %d tasks\n"
          % (bench.peer.start_seconds, bench.peer.start_cpu_seconds, args.partitions, args.tasks))
    print("%-22s %9s %8s %9s %8s %8s %10s %8s %8s %8s"
          % ("", "events", "s", "events/s", "first s", "CPU s", "ev./CPU s", "broker s", "server s",
             "peak MB"), flush=True)


def change(text):
    """PART:KEY=VALUE, for the tuning."""
    part, _, setting = text.partition(":")
    key, _, value = setting.partition("=")
    if not isinstance(TUNINGS["tuned"].get(part), dict) or not key:
        raise argparse.ArgumentTypeError("PART:KEY=VALUE, of worker, source, source-to-kafka, "
                                         "source-to-sink or sink")
    return part, key, value


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0],
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1000000)
    parser.add_argument("--changes", type=int, default=500000)
    parser.add_argument("--what", default=",".join(WHATS), help="default: %(default)s")
    parser.add_argument("--tuning", choices=sorted(TUNINGS), default="tuned")
    parser.add_argument("--times", type=int, default=1, help="each so often, in one worker")
    parser.add_argument("--partitions", type=int, default=1, help="of the topic")
    parser.add_argument("--tasks", type=int, default=1, help="of the JDBC sink")
    parser.add_argument("--heap", help="of Connect, for example 512m")
    parser.add_argument("--set", type=change, action="append", default=[], metavar="PART:KEY=VALUE",
                        help="change the tuning, for example source:poll.interval.ms=1")
    parser.add_argument("--jvm", help="options of the JVM in place of the tuning's")
    parser.add_argument("--json", help="also write the results into this file")
    args = parser.parse_args()
    if set(args.what.split(",")) - set(WHATS):
        parser.error("--what takes %s" % ", ".join(WHATS))
    args.changed = {}
    for part, key, value in args.set:
        args.changed.setdefault(part, {})[key] = value
    if args.jvm:
        args.changed["jvm"] = args.jvm.split()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    print("%s; %d CPUs; load average before: %.2f %.2f %.2f"
          % ((platform.platform(), os.cpu_count()) + os.getloadavg()))
    bench = None
    try:
        bench = Bench(args)
        print_head(bench, args)
        bench.measure()
    except unittest.SkipTest as reason:
        print("skipped: %s" % reason)
    finally:
        if bench is not None:
            bench.close()
    if args.json and bench is not None:
        with open(args.json, "w") as out:
            json.dump(bench.results, out, indent=2)
    return 1 if bench is not None and bench.bad else 0


if __name__ == "__main__":
    sys.exit(main())
