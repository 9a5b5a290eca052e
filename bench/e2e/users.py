#!/usr/bin/python3
"""The users_cdc job by tailrace and by Flink 1.20.3: the same topic, the same PostgreSQL, one clock.

    bench/e2e/users.py --bin build/bench/src/tailrace [--events 1000000] [--only floor,flink,flink-warm,tailrace] [--json FILE]

Fills a topic of 8 partitions, keyed by id, with the events of users_events.py. Then, one after the
other and each from the first message into an empty database:

floor       a librdkafka consumer that reads everything and does nothing (bench/peers/kafka_floor.c),
            and tailrace with users_floor.yaml (Kafka → null, decoded; the end is seen in its status).
flink       bench/peers/users_cdc.sql on a cluster that was just started.
flink-warm  the same job again on the same cluster: its code is compiled by now. Its CPU is what was
            added; its memory is the peak of both.
tailrace    users_cdc.yaml beside this file, or --pipeline FILE.

The clock runs from the submission (Flink) or the start of the process (floor, tailrace) until
migrated_users is what the model says and all windows that must have fired are there. A few ids that come
last in each partition are looked at ten times a second; only when they are right is the whole table
summed up. CPU is utime + stime of /proc/PID/stat, of all three processes for Flink: without what they
had used when the job was submitted, and with it ("+ start"). "server s" is PostgreSQL's CPU, all
backends; "broker s" is Kafka's. Peak is VmHWM, summed over Flink's processes.

Afterwards migrated_users is compared with the model row by row, and so are the counts of all windows
that fired; a difference is printed and the exit code is 1. The targets migrated_users (id, name, email,
op, event_time) and user_counts (window_start, op, cnt) are made beforehand for Flink; tailrace makes its
own within the time measured.

PostgreSQL runs with fsync off, for all of them. Use a Release build, and a machine that does nothing
else: the load average before is printed."""
import argparse
import json
import os
import platform
import re
import signal
import subprocess
import sys
import time
import unittest

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
PEERS = os.path.join(HERE, "..", "peers")
sys.path[:0] = [HERE, PEERS, os.path.join(HERE, "..", "..", "tests", "harness")]
import flink  # noqa: E402
import users_events  # noqa: E402
from tr.artifacts import KAFKA_VERSION  # noqa: E402
from tr.common import proc_cpu_seconds, run, temp_dir  # noqa: E402
from tr.kafka import Kafka, Topics  # noqa: E402
from tr.pipeline import Run, binary  # noqa: E402
from tr.postgres import Postgres  # noqa: E402

TOPIC = "users_cdc"
PARTITIONS = 8
FILL_SECONDS = 600
RUN_SECONDS = 1800
POLL_SECONDS = 0.1
PROCESS_CHECK_SECONDS = 2.0  # a REST call of Flink's costs CPU that is counted
DIFFERENCES_SHOWN = 5
ENTRANTS = ["floor", "flink", "flink-warm", "tailrace"]

TABLES = """
create table migrated_users (id int primary key, name text, email text, op text,
                             event_time timestamp(3), processed_at timestamp default now());
create table user_counts (window_start timestamp(3), op text, cnt bigint,
                          primary key (window_start, op));
"""


def epoch_ms(column):
    return "(extract(epoch from %s) * 1000)::bigint" % column


def tree_cpu_seconds(pid):
    """A server's CPU: its own, of its dead children, and of those that live."""
    total = proc_cpu_seconds(pid, children=True) or 0
    with open("/proc/%d/task/%d/children" % (pid, pid)) as file:
        return total + sum(proc_cpu_seconds(int(child)) or 0 for child in file.read().split())


class Target:
    """A fresh database, and the looks at it that tell when the job is done and whether it is right."""

    def __init__(self, server, name, model, tables=""):
        self.db, self.model = server.create_database(name, tables), model
        self.tables_exist = False
        self.conn = self.db.connect()
        self.cursor = self.conn.cursor()
        probes = model.probes()
        self.probe = ("select count(*) from migrated_users where (id, %s) in (%s)"
                      % (epoch_ms("event_time"), ",".join("(%d,%d)" % probe for probe in probes)))
        self.probe_count = len(probes)
        self.total = (len(model.latest), sum(ms for ms, _, _ in model.latest.values()))
        self.fired = model.windows_fired()
        self.counted = sum(fewest for fewest, _ in self.fired.values())
        self.first_row = None

    def _row(self, sql):
        self.cursor.execute(sql)
        return self.cursor.fetchone()

    def done(self):
        if not self.tables_exist:
            self.tables_exist = self._row("select to_regclass('migrated_users') is not null"
                                          " and to_regclass('user_counts') is not null")[0]
            if not self.tables_exist:
                return False
        if self.first_row is None:
            if not self._row("select exists (select from migrated_users)")[0]:
                return False
            self.first_row = time.monotonic()
        if self._row(self.probe)[0] < self.probe_count:
            return False
        if self._row("select count(*), coalesce(sum(cnt), 0) from user_counts")[1] < self.counted:
            return False
        return self._row("select count(*), coalesce(sum(%s), 0) from migrated_users"
                         % epoch_ms("event_time")) == self.total

    def differences(self):
        """Lines about what is not as the model has it."""
        users = self.model.users()
        found = {row[0]: tuple(row[1:]) for row in self.db.execute(
            "select id, name, email, op, %s from migrated_users" % epoch_ms("event_time"))}
        lines = ["id %s: %s, expected %s" % (ident, found.get(ident), users.get(ident))
                 for ident in sorted(set(users) | set(found)) if found.get(ident) != users.get(ident)]
        windows = {(row[0], row[1]): row[2] for row in self.db.execute(
            "select %s, op, cnt from user_counts" % epoch_ms("window_start"))}
        for key in sorted(set(windows) | set(self.fired)):
            fewest, most = self.model.window(key)
            if not fewest <= windows.get(key, 0) <= most:
                lines.append("window %s, op %s: %s, expected %d%s"
                             % (users_events.time_text(key[0]), key[1], windows.get(key), fewest,
                                " to %d" % most if most > fewest else ""))
        self.window_rows = len(windows)
        return lines

    def close(self):
        self.conn.close()


class Bench:
    def __init__(self, args):
        self.args = args
        self.broker = Kafka(extra="num.partitions=%d\n" % PARTITIONS)
        self.server = Postgres(settings={"shared_buffers": "512MB", "max_wal_size": "8GB"}, fsync=False)
        self.results, self.bad = [], False
        self.model = self._fill()

    def _fill(self):
        events = users_events.from_arguments(self.args, PARTITIONS)
        path = os.path.join(temp_dir("tailrace-users-"), "events")
        began = time.monotonic()
        with open(path, "wb", buffering=1 << 20) as out:
            for key, message in events:
                out.write(b"%s\t%s\n" % (key, message))
        made = time.monotonic()
        run(["kcat", "-P", "-b", self.broker.bootstrap, "-t", TOPIC, "-K", "\t", "-l",
             "-X", "topic.partitioner=consistent", "-X", "linger.ms=50",
             "-X", "queue.buffering.max.messages=200000", path], timeout=FILL_SECONDS)
        os.unlink(path)
        model = events.model
        found = self._ends(TOPIC)
        if found != model.messages:
            raise SystemExit("the topic holds %s messages, not %s" % (found, model.messages))
        print("%d messages of %.0f bytes on average in %d partitions: %d out of order, %d late, "
              "%d malformed; %d ids; made in %.1f s, sent in %.1f s"
              % (sum(model.messages), model.bytes / sum(model.messages), PARTITIONS,
                 model.out_of_order, model.late, model.malformed, len(model.latest), made - began,
                 time.monotonic() - made))
        return model

    def _ends(self, topic):
        argv = ["kcat", "-Q", "-b", self.broker.bootstrap]
        for partition in range(PARTITIONS):
            argv += ["-t", "%s:%d:-1" % (topic, partition)]
        found = re.findall(r"\[(\d+)\] offset (-?\d+)", run(argv).stdout)
        return [int(offset) for _, offset in sorted(found, key=lambda item: int(item[0]))]

    # ---- one measurement ----

    def _servers(self):
        return (tree_cpu_seconds(self.server.process.pid),
                proc_cpu_seconds(self.broker.process.pid))

    def report(self, name, seconds, cpu, servers, peak_kb, start_seconds=None, start_cpu=None,
               to_first=None, note=""):
        """cpu and seconds are those of the job; start_* come before it. servers: what _servers() gave
        before and after."""
        server, broker = (now - then for then, now in zip(*servers))
        events = sum(self.model.messages)
        result = {"entrant": name, "events": events, "seconds": seconds, "cpu_seconds": cpu,
                  "start_seconds": start_seconds, "start_cpu_seconds": start_cpu,
                  "rate": events / seconds, "rate_per_core": events / cpu,
                  "seconds_to_first_row": to_first, "peak_kb": peak_kb,
                  "server_cpu_seconds": server, "broker_cpu_seconds": broker}
        self.results.append(result)
        print("%-12s %9d %8.2f %10.0f %12.0f %8.2f %8s %8s %8.2f %8.2f %9.1f  %s"
              % (name, events, seconds, events / seconds, events / cpu, cpu,
                 "" if start_cpu is None else "%.2f" % (cpu + start_cpu),
                 "" if start_seconds is None else "%.2f" % (seconds + start_seconds),
                 server, broker, peak_kb / 1024, note), flush=True)

    def wait(self, target, check):
        """Until the target is right; check() raises when the job cannot get there any more."""
        deadline, next_check = time.monotonic() + RUN_SECONDS, 0
        while not target.done():
            now = time.monotonic()
            if now > deadline:
                raise SystemExit("no end within %d s; for example: %s"
                                 % (RUN_SECONDS, target.differences()[:DIFFERENCES_SHOWN]))
            if now > next_check:
                check()
                next_check = now + PROCESS_CHECK_SECONDS
            time.sleep(POLL_SECONDS)
        return time.monotonic()

    @staticmethod
    def _dead_letters(database):
        return "%s_dlq_%s" % (TOPIC, database)

    def verdict(self, target, database):
        lines = target.differences()
        for line in lines[:DIFFERENCES_SHOWN]:
            print("    wrong: " + line)
        if lines:
            self.bad = True
            return "WRONG in %d places" % len(lines)
        text = "right: %d users, %d windows" % (len(self.model.latest), target.window_rows)
        if self.model.late or self.model.malformed:
            topic = self._dead_letters(database)
            known = topic in Topics(self.broker.bootstrap).names()  # made by the first message
            text += ", %d dead letters" % (sum(self._ends(topic)) if known else 0)
        return text

    # ---- entrants ----

    def floor_pipeline(self):
        process = Run(self._pipeline_text(os.path.join(HERE, "users_floor.yaml")), quick=False, name="users_floor",
                      env=self._pipeline_env("none"))
        before, began = self._servers(), time.monotonic()
        try:
            process.start(args=("--log-level", "warn"))
            while (process.status() or {}).get("events_read", 0) < self.model.events:
                process.alive()
                if time.monotonic() - began > RUN_SECONDS:
                    raise SystemExit("no end of the floor within %d s" % RUN_SECONDS)
                time.sleep(POLL_SECONDS / 2)
            seconds, cpu = time.monotonic() - began, process.cpu_seconds()
            after, peak = self._servers(), process.peak_rss_kb()
            process.stop(60)
        finally:
            process.close()
        self.report("floor", seconds, cpu, (before, after), peak, note="tailrace, Kafka to nothing")

    def floor(self):
        program = os.path.join(temp_dir("tailrace-floor-"), "kafka_floor")
        flags = run(["pkg-config", "--cflags", "--libs", "rdkafka"]).stdout.split()
        run(["cc", "-O2", "-o", program, os.path.join(PEERS, "kafka_floor.c")] + flags)
        before, began = self._servers(), time.monotonic()
        child = subprocess.Popen([program, self.broker.bootstrap, TOPIC], stdout=subprocess.PIPE)
        count = child.stdout.read().split()
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.monotonic() - began
        if status or int(count[0]) != sum(self.model.messages):
            raise SystemExit("the floor read %s messages" % count)
        self.report("floor", seconds, usage.ru_utime + usage.ru_stime,
                    (before, self._servers()), usage.ru_maxrss, note="librdkafka")

    def flink(self, names):
        cluster = flink.Flink()
        try:
            start_cpu = cluster.cpu_seconds()
            print("    Flink's start: %.1f s, %.1f CPU s" % (cluster.start_seconds,
                                                          sum(start_cpu.values())), flush=True)
            for name in names:
                self._flink_job(cluster, name, cluster.start_seconds,
                                sum(start_cpu.values()) if name == "flink" else None)
        finally:
            cluster.close()

    def _flink_job(self, cluster, name, start_seconds, start_cpu):
        database = name.replace("-", "_")
        target = Target(self.server, database, self.model, TABLES)
        cpu, before, began = sum(cluster.cpu_seconds().values()), self._servers(), time.monotonic()
        began_wall = time.time()
        job = cluster.submit(flink.JOB_FILE, flink.job_names(
            self.broker.bootstrap, TOPIC, "127.0.0.1", self.server.port, database, "postgres",
            "secret", self._dead_letters(database), group=database))
        ended = self.wait(target, lambda: cluster.check(job))
        cpu, after = sum(cluster.cpu_seconds().values()) - cpu, self._servers()
        running = cluster.running_since(job) - began_wall
        checkpoints, failures = cluster.checkpoints(job), cluster.failures(job)
        cluster.cancel(job)
        cluster.close_session()
        note = "%s; %d checkpoints" % (self.verdict(target, database), checkpoints)
        if failures:
            note += "; %d FAILURES" % failures
        self.report(name, ended - began, cpu, (before, after), sum(cluster.peak_rss_kb().values()),
                    start_seconds if start_cpu is not None else None, start_cpu,
                    target.first_row - began, note)
        print("    all tasks ran after %.1f s, first row after %.1f s; CPU s since the start and peak "
              "MB: %s" % (running, target.first_row - began, ", ".join(
                  "%s %.1f, %.0f" % (part, cluster.cpu_seconds()[part], kb / 1024)
                  for part, kb in cluster.peak_rss_kb().items())), flush=True)
        target.close()

    @staticmethod
    def _pipeline_text(path):
        with open(path) as file:
            return file.read()

    def _pipeline_env(self, database):
        return {"USERS_BOOTSTRAP": self.broker.bootstrap, "USERS_TOPIC": TOPIC,
                "USERS_DLQ_TOPIC": self._dead_letters(database),
                "USERS_PG_HOST": "127.0.0.1", "USERS_PG_PORT": str(self.server.port),
                "USERS_PG_DATABASE": database, "USERS_PG_USER": "postgres",
                "USERS_PG_PASSWORD": "secret"}

    def tailrace(self):
        target = Target(self.server, "tailrace", self.model)
        process = Run(self._pipeline_text(self.args.pipeline), quick=False, name="users",
                      env=self._pipeline_env("tailrace"))
        before, began = self._servers(), time.monotonic()
        try:
            process.start(args=("--log-level", "warn"))
            ended = self.wait(target, process.alive)
            cpu, after, peak = process.cpu_seconds(), self._servers(), process.peak_rss_kb()
            process.stop(60)
        finally:
            process.close()
        # Its start is within both figures: there is nothing to leave out.
        self.report("tailrace", ended - began, cpu, (before, after), peak, 0.0, 0.0,
                    target.first_row - began, self.verdict(target, "tailrace"))
        target.close()

    def close(self):
        self.server.close()
        self.broker.close()


def why_no_tailrace(args):
    """A reason to leave tailrace out, or None."""
    if not args.bin:
        return "no --bin"
    for row in json.loads(run([binary(), "list", "--json"]).stdout):
        if (row["kind"], row["name"]) == ("source", "kafka") and row["available"]:
            return None
    return "this tailrace has no Kafka source"


def print_versions(bench, args):
    java = subprocess.run(["java", "-version"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True).stdout.splitlines()[0]
    print("Flink %s; %s; PostgreSQL %s, fsync off; Kafka %s; librdkafka %s%s"
          % (flink.VERSION, java, bench.server.value("show server_version"), KAFKA_VERSION,
             run(["pkg-config", "--modversion", "rdkafka"]).stdout.strip(),
             "; " + run([binary(), "version"]).stdout.splitlines()[0] if args.bin else ""))
    print("\n%-12s %9s %8s %10s %12s %8s %8s %8s %8s %8s %9s"
          % ("", "events", "s", "events/s", "events/CPU s", "CPU s", "CPU s", "s", "server s",
             "broker s", "peak MB"))
    print("%-12s %9s %8s %10s %12s %8s %8s %8s"
          % ("", "", "", "", "", "", "+ start", "+ start"), flush=True)


def measure(bench, wanted, args):
    """Each entrant; one that cannot be had says so in a line and does not stop the others."""
    if "floor" in wanted:
        bench.floor()
        reason = why_no_tailrace(args)
        if reason:
            print("floor        of tailrace skipped: %s" % reason)
        else:
            bench.floor_pipeline()
    names = ["flink", "flink-warm"] if "flink-warm" in wanted else ["flink"]
    if set(names) & set(wanted):
        try:
            bench.flink(names)
        except unittest.SkipTest as reason:
            print("flink        skipped: %s" % reason)
    if "tailrace" in wanted:
        reason = why_no_tailrace(args)
        if reason:
            print("tailrace     skipped: %s" % reason)
        else:
            bench.tailrace()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0],
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    users_events.add_arguments(parser)
    parser.add_argument("--bin")
    parser.add_argument("--pipeline", default=os.path.join(HERE, "users_cdc.yaml"),
                        help="tailrace's pipeline file")
    parser.add_argument("--only", default=",".join(ENTRANTS), help="default: %(default)s")
    parser.add_argument("--json", help="also write the results into this file")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    if args.bin:
        os.environ["TAILRACE_BIN"] = os.path.abspath(args.bin)
    wanted = args.only.split(",")
    if set(wanted) - set(ENTRANTS):
        parser.error("--only takes %s" % ", ".join(ENTRANTS))
    bench = None
    try:
        print("%s; %d CPUs; load average before: %.2f %.2f %.2f"
              % ((platform.platform(), os.cpu_count()) + os.getloadavg()))
        bench = Bench(args)
        print_versions(bench, args)
        measure(bench, wanted, args)
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
