#!/usr/bin/python3
"""End to end: PostgreSQL → null, SQLite, PostgreSQL, Kafka, against the floor of the same machine.

    bench/e2e/run.py --bin build/bench/src/tailrace [--rows 1000000] [--changes 500000] [SINK …]

Two figures a sink. snapshot: a table of --rows rows is copied by a fresh pipeline. stream: the pipeline
is stopped, --changes changes are made (inserts, updates and deletes in transactions of 20), and it is
started again: the time until everything is durable and acknowledged, without the start-up of the
process (checkpoint.interval is 100 ms, so that waiting for a checkpoint is not what is measured). CPU seconds
are utime + stime of tailrace, and of the source's processes (walsender, COPY backends) as the server's
children report them. Peak is VmHWM.

The floor, in the same run: COPY … TO STDOUT into /dev/null by psql for the snapshot, pg_recvlogical
with pgoutput into /dev/null for the stream, and a bare bulk load of the same rows into the target
(sqlite3 insert loop, psql COPY, kcat) where there is one. Use a Release build."""
import argparse
import json
import os
import platform
import signal
import sqlite3
import subprocess
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "tests",
                                "harness"))
from tr.common import free_port, proc_cpu_seconds, proc_status, run, temp_dir  # noqa: E402
from tr.kafka import Kafka, Topics  # noqa: E402
from tr.pipeline import Run, binary  # noqa: E402
from tr.postgres import Postgres  # noqa: E402

ROW = ("create table bench (id bigint primary key, customer bigint not null, status text not null, "
       "amount numeric(12,2) not null, at timestamptz not null, note text)")
VALUES = ("i::bigint * 7919 %% 1000003, (array['new','paid','shipped','returned'])[1 + i %% 4], "
          "(i %% 100000) / 100.0, timestamptz '2024-01-01' + i * interval '1 second', "
          "repeat(md5(i::text), 2)").replace("%%", "%")
TXN_ROWS = 20
WAIT_SECONDS = 1800


class Meter:
    """CPU of a server: the sum over its processes, dead ones included (they are its children)."""

    def __init__(self, server):
        self.pid = server.process.pid

    def _tree(self):
        pids = [self.pid]
        with open("/proc/%d/task/%d/children" % (self.pid, self.pid)) as file:
            pids += [int(p) for p in file.read().split()]
        return pids

    def seconds(self):
        total = proc_cpu_seconds(self.pid, children=True) or 0
        for pid in self._tree()[1:]:
            total += proc_cpu_seconds(pid) or 0
        return total


def make_changes(db, count, first_id):
    """count changes in transactions of TXN_ROWS: half inserts, four tenths updates, a tenth deletes."""
    db.execute("""
        do $$
        declare base bigint := %d; done bigint := 0;
        begin
            while done < %d loop
                insert into bench select i, %s from generate_series(base, base + %d) i;
                update bench set status = 'paid', amount = amount + 1 where id between base and base + %d;
                delete from bench where id between base + %d and base + %d;
                base := base + %d; done := done + %d;
                commit;
            end loop;
        end $$""" % (first_id, count, VALUES, TXN_ROWS // 2 - 1, TXN_ROWS * 4 // 10 - 1,
                     TXN_ROWS // 2 - TXN_ROWS // 10, TXN_ROWS // 2 - 1, TXN_ROWS, TXN_ROWS))


def wait(condition, what, process=None):
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        if process is not None and not process.running():
            raise SystemExit("tailrace ended:\n" + process.tail())
        if time.monotonic() > deadline:
            raise SystemExit("no end of " + what)
        time.sleep(0.01)


class Bench:
    def __init__(self, rows, changes):
        self.rows, self.changes = rows, changes
        self.server = Postgres(settings={"shared_buffers": "512MB", "max_wal_size": "8GB",
                                         "wal_keep_size": "0"}, fsync=False)
        self.db = self.server.create_database("bench", ROW)
        self.db.execute("insert into bench select i, %s from generate_series(1, %d) i" % (VALUES, rows))
        self.db.execute("vacuum analyze bench")
        self.db.execute("checkpoint")
        self.next_id = 100000000
        self.results = []

    def report(self, name, what, count, seconds, cpu=None, server_cpu=None, peak_kb=None):
        self.results.append({"sink": name, "what": what, "count": count, "seconds": seconds,
                             "rate": count / seconds, "cpu_seconds": cpu,
                             "server_cpu_seconds": server_cpu, "peak_kb": peak_kb})

        def number(value, form):
            return form % value if value is not None else ""
        print("%-22s %-9s %10d %8.2f %10.0f %9s %9s %8s"
              % (name, what, count, seconds, count / seconds, number(cpu, "%.2f"),
                 number(server_cpu, "%.2f"), number(peak_kb and peak_kb / 1024, "%.1f")), flush=True)

    # ---- floors ----

    def floor_snapshot(self):
        meter, began = Meter(self.server), time.monotonic()
        before = meter.seconds()
        child = subprocess.Popen(["psql", "-X", "-q", "-h", "127.0.0.1", "-p", str(self.server.port),
                                  "-U", "postgres", "-d", "bench", "-c", "copy bench to stdout"],
                                 stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.monotonic() - began
        if status:
            raise SystemExit("psql failed")
        self.report("floor: COPY, psql", "snapshot", self.rows, seconds, usage.ru_utime + usage.ru_stime,
                    meter.seconds() - before, usage.ru_maxrss)

    def floor_stream(self):
        self.db.execute("create publication floor_pub for table bench")
        self.db.execute("select pg_create_logical_replication_slot('floor', 'pgoutput')")
        make_changes(self.db, self.changes, self.next_id)
        self.next_id += self.changes * 2
        end = self.server.current_lsn()
        meter, began = Meter(self.server), time.monotonic()
        before = meter.seconds()
        child = subprocess.Popen([self.server.home + "/bin/pg_recvlogical"
                                  if os.path.exists(self.server.home + "/bin/pg_recvlogical")
                                  else "pg_recvlogical", "-h", "127.0.0.1", "-p", str(self.server.port),
                                  "-U", "postgres", "-d", "bench", "--slot", "floor", "--start", "-o",
                                  "proto_version=1", "-o", "publication_names=floor_pub", "--endpos",
                                  end, "-f", "/dev/null", "--no-loop"])
        _, _, usage = os.wait4(child.pid, 0)
        seconds = time.monotonic() - began
        self.report("floor: pg_recvlogical", "stream", self.changes, seconds,
                    usage.ru_utime + usage.ru_stime, meter.seconds() - before, usage.ru_maxrss)
        self.db.execute("select pg_drop_replication_slot('floor')")
        self.db.execute("drop publication floor_pub")

    def floor_sqlite(self):
        conn = self.db.connect()
        cursor = conn.cursor()
        cursor.execute("select id, customer, status, amount::text, at::text, note from bench")
        rows = cursor.fetchall()
        conn.close()
        path = os.path.join(temp_dir(), "floor.db")
        target = sqlite3.connect(path, isolation_level=None)
        target.execute("pragma journal_mode = wal")
        target.execute("create table bench (id integer primary key, customer integer, status text, "
                       "amount text, at text, note text)")
        began, cpu = time.monotonic(), time.process_time()
        target.execute("begin")
        target.executemany("insert into bench values (?, ?, ?, ?, ?, ?)", rows)
        target.execute("commit")
        self.report("floor: SQLite inserts", "snapshot", len(rows), time.monotonic() - began,
                    time.process_time() - cpu)
        target.close()

    # ---- pipelines ----

    def sink(self, name):
        if name == "null":
            return {"type": "null"}
        if name == "sqlite":
            return {"type": "sqlite", "path": os.path.join(temp_dir(), "bench.db")}
        if name == "postgres":
            self.target = self.server.create_database("target_%d" % free_port())
            return self.target.sink()
        if name == "file":
            return {"type": "file", "path": os.path.join(temp_dir(), "files"),
                    "format": "debezium-json", "rotation.time": "500ms"}
        guarantee = "exactly-once" if name.endswith("exactly-once") else "at-least-once"
        return {"type": "kafka", "properties.bootstrap.servers": self.kafka.bootstrap,
                "topic": "bench-%d" % free_port(), "value.format": "debezium-json",
                "sink.delivery-guarantee": guarantee}

    def measure(self, name, sink):
        pipeline = "bench_" + "".join(c if c.isalnum() else "_" for c in name)
        spec = {"source": self.db.source("public.bench"), "sink": sink,
                "pipeline": {"name": pipeline, "restart-strategy.type": "none",
                             "checkpoint.interval": "100ms"}}
        process = Run(spec, quick=False, name=pipeline)
        slot = pipeline + "_slot"
        meter = Meter(self.server)
        try:
            rows = self.db.value("select count(*) from bench")
            before, began = meter.seconds(), time.monotonic()
            process.start(args=("--log-level", "warn"))
            wait(lambda: (process.status() or {}).get("state") == "streaming", "the snapshot", process)
            seconds = time.monotonic() - began
            self.report(name, "snapshot", rows, seconds, process.cpu_seconds(),
                        meter.seconds() - before, process.peak_rss_kb())
            process.stop(60)
            self.server.wait_slot_idle(slot)

            make_changes(self.db, self.changes, self.next_id)
            self.next_id += self.changes * 2
            end = self.server.current_lsn()
            before = meter.seconds()
            process.start(args=("--log-level", "warn"))
            conn = self.server.connect()
            cursor = conn.cursor()
            query = ("select confirmed_flush_lsn >= %s::pg_lsn, active from pg_replication_slots "
                     "where slot_name = %s")

            def active():
                cursor.execute(query, (end, slot))
                return cursor.fetchone()[1]

            def done():
                cursor.execute(query, (end, slot))
                return cursor.fetchone()[0]
            wait(active, "the start", process)
            began = time.monotonic()
            wait(done, "the stream", process)
            seconds = time.monotonic() - began
            conn.close()
            self.report(name, "stream", self.changes, seconds, process.cpu_seconds(),
                        meter.seconds() - before, process.peak_rss_kb())
            process.stop(60)
        finally:
            process.close()
            self.server.wait_slot_idle(slot)
            if self.server.slot(slot):
                self.db.execute("select pg_drop_replication_slot('%s')" % slot)
            self.db.execute("drop publication if exists %s_pub" % pipeline)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--bin")
    parser.add_argument("--rows", type=int, default=1000000)
    parser.add_argument("--changes", type=int, default=500000)
    parser.add_argument("--json", help="also write the results into this file")
    parser.add_argument("--no-floor", action="store_true")
    parser.add_argument("sinks", nargs="*",
                        default=["null", "sqlite", "postgres", "file", "kafka", "kafka exactly-once"])
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    if args.bin:
        os.environ["TAILRACE_BIN"] = os.path.abspath(args.bin)
    print("%s; %s; %d CPUs" % (run([binary(), "version"]).stdout.splitlines()[0], platform.platform(),
                               os.cpu_count()))
    bench = Bench(args.rows, args.changes)
    if any(name.startswith("kafka") for name in args.sinks):
        broker = Kafka()
        bench.kafka = Topics(broker.bootstrap)
    print("PostgreSQL %s, fsync off; %d rows, %d changes\n"
          % (bench.server.value("show server_version"), args.rows, args.changes))
    print("%-22s %-9s %10s %8s %10s %9s %9s %8s"
          % ("", "", "events", "s", "events/s", "CPU s", "server s", "peak MB"))
    if not args.no_floor:
        bench.floor_snapshot()
        bench.floor_stream()
        if "sqlite" in args.sinks:
            bench.floor_sqlite()
    for name in args.sinks:
        bench.measure(name, bench.sink(name))
    if args.json:
        with open(args.json, "w") as out:
            json.dump(bench.results, out, indent=2)


if __name__ == "__main__":
    main()
