"""One run of tailrace: a snapshot until the process ends, or a stream until the target holds the last
change. CPU is that of the whole process from its start to its end, the stop included."""
import json
import os
import shutil
import signal
import socket
import sqlite3
import sys
import time

import lab as base
from lab import POLL_SECONDS, WAIT_SECONDS, Skip, Watermark, cpu_of, proc_cpu_seconds, wait
from tr.common import free_port, proc_status, temp_dir
from tr.pipeline import Run
from tr.postgres import Database

sys.dont_write_bytecode = True
RSS_SECONDS = 0.02
STOP_SECONDS = 120
CHECKPOINT_INTERVAL = "1s"  # the default


class Control:
    """The pipeline's control socket: a question costs less than a process `tailrace status`."""

    def __init__(self, state_dir):
        self.path, self.socket, self.pending = None, None, b""
        for folder, _, files in os.walk(state_dir):
            if "control.sock" in files:
                self.path = os.path.join(folder, "control.sock")
        if self.path is None:
            raise FileNotFoundError(state_dir)
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(10)
        self.socket.connect(self.path)

    def ask(self, command):
        self.socket.sendall(json.dumps({"command": command}).encode() + b"\n")
        while b"\n" not in self.pending:
            part = self.socket.recv(1 << 20)
            if not part:
                raise Skip("the control socket was closed")
            self.pending += part
        line, self.pending = self.pending.split(b"\n", 1)
        return json.loads(line)

    def metric_sum(self, prefix, names):
        text = self.ask("metrics")["metrics"]
        total = 0
        for line in text.splitlines():
            name = line.split("{")[0].split(" ")[0]
            if name in [prefix + n for n in names]:
                total += float(line.rsplit(" ", 1)[1])
        return total

    def close(self):
        self.socket.close()


class Job:
    """A pipeline of its own name. sink: the `sink:` mapping. more: settings of `pipeline:`."""

    def __init__(self, lab, source, sink, **more):
        self.lab = lab
        pipeline = {"name": lab.unique("bench"), "restart-strategy.type": "none",
                    "checkpoint.interval": CHECKPOINT_INTERVAL}
        pipeline.update(more)
        self.run = Run({"source": source, "sink": sink, "pipeline": pipeline}, quick=False,
                       name=pipeline["name"])
        self.peak_kb, self.rss, self._rss_at = 0, [], 0.0
        self.slot_conn = None

    def start(self):
        self.began = time.monotonic()
        self.run.start(args=("--log-level", "warn"))

    def look(self):
        """Raises when the process has ended; notes its memory now and then."""
        now = time.monotonic()
        if now - self._rss_at >= RSS_SECONDS:
            self._rss_at = now
            self._memory()
        if self.run.process.poll() is not None:
            raise Skip("tailrace ended with %d: %s" % (self.run.process.returncode,
                                                       self.run.last_line()))

    def _memory(self):
        pid = self.run.process.pid
        self.peak_kb = max(self.peak_kb, proc_status(pid, "VmHWM") or 0)
        rss = proc_status(pid, "VmRSS")
        if rss:
            self.rss.append((time.monotonic() - self.began, rss))

    def _reap(self, limit_seconds, what):
        """Until the process has ended; (when, CPU seconds of the whole run)."""
        process, deadline = self.run.process, time.monotonic() + limit_seconds
        while True:
            found, status, usage = os.wait4(process.pid, os.WNOHANG)
            now = time.monotonic()
            if found:
                process.returncode = os.waitstatus_to_exitcode(status)
                if status:
                    raise Skip("tailrace ended with %d: %s" % (process.returncode,
                                                               self.run.last_line()))
                return now, cpu_of(usage)
            self._memory()
            if now > deadline:
                raise Skip("%s: no end within %d s" % (what, limit_seconds))
            time.sleep(0.005)

    def to_end(self):
        """Until the process ends by itself; (seconds, CPU seconds)."""
        ended, cpu = self._reap(WAIT_SECONDS, "the snapshot")
        return ended - self.began, cpu

    def stop(self):
        """CPU seconds of the whole run."""
        self.run.process.send_signal(signal.SIGTERM)
        return self._reap(STOP_SECONDS, "the stop")[1]

    def control(self):
        def connect():
            try:
                return Control(self.run.state_dir)
            except OSError:
                return None
        found = []

        def answered():
            control = connect()
            if control is not None:
                found.append(control)
            return bool(found)
        wait(answered, "the control socket", self.look)
        return found[0]

    def close(self):
        self.run.close()


class SlotWatch:
    """When a slot is in use, or the copy of it that tailrace catches up by: the consumer reads."""

    def __init__(self, server, slot):
        self.conn = server.connect()
        self.cursor, self.slot = self.conn.cursor(), slot

    def active(self):
        self.cursor.execute("select from pg_replication_slots where active and slot_name in (%s, %s)",
                            (self.slot, self.slot + "_catchup"))
        return self.cursor.fetchone() is not None

    def close(self):
        self.conn.close()


# ---- targets ------------------------------------------------------------------------------------------


class NullTarget:
    """Asked for its metrics, which costs tailrace 0.1 ms each time."""
    name, sink, poll_seconds = "null", {"type": "null"}, 0.02
    OPS = ["creates", "updates", "deletes", "reads"]

    def __init__(self, lab, backlog=None):
        self.backlog, self.control = backlog, None

    def attach(self, job):
        self.control = job.control()

    def arrived(self):
        """Everything was dropped by the sink."""
        return self.control.metric_sum("tailrace_null_", [op + "_total" for op in self.OPS]) >= \
            self.backlog.count

    def close(self):
        if self.control is not None:
            self.control.close()


class KafkaTarget:
    name, poll_seconds = "kafka", 0.02

    def __init__(self, lab, backlog=None):
        self.lab, self.backlog, self.topic = lab, backlog, lab.unique("topic")
        self.sink = {"type": "kafka", "properties.bootstrap.servers": lab.broker.bootstrap,
                     "topic": self.topic, "value.format": "debezium-json",
                     "sink.delivery-guarantee": "at-least-once"}
        self.watermark = None

    def attach(self, job):
        self.watermark = Watermark(self.lab.broker.port, self.topic)

    def count(self):
        return self.watermark.end()

    def arrived(self):
        return self.count() >= self.backlog.count

    def close(self):
        if self.watermark is not None:
            self.watermark.close()


class PostgresTarget:
    """filled: the table holds the rows that a backlog updates."""
    name, poll_seconds = "postgres", POLL_SECONDS

    def __init__(self, lab, backlog=None, db=None):
        self.lab, self.backlog = lab, backlog
        self.db = db or (lab.full_target() if backlog is not None and backlog.marker else
                         lab.empty_target(False))
        self.sink, self.conn = self.db.sink(), None

    def attach(self, job):
        self.conn = self.db.connect()
        self.cursor = self.conn.cursor()

    def arrived(self):
        """The row that the last transaction inserted can be seen."""
        self.cursor.execute("select 1 from bench where id = %s", (self.backlog.marker,))
        return self.cursor.fetchone() is not None

    def close(self):
        if self.conn is not None:
            self.conn.close()
        self.lab.drop(self.db)


class SqliteTarget:
    name, poll_seconds = "sqlite", 0.02

    def __init__(self, backlog, filled):
        """filled: a file that holds the rows; it is copied."""
        self.path = "%s-%d" % (filled, free_port())
        shutil.copy(filled, self.path)
        self.backlog, self.conn = backlog, None
        self.sink = {"type": "sqlite", "path": self.path}

    def attach(self, job):
        self.conn = sqlite3.connect("file:%s?mode=ro" % self.path, uri=True, isolation_level=None)

    def count(self):
        return self.conn.execute("select count(*) from bench").fetchone()[0]

    def arrived(self):
        return self.conn.execute("select 1 from bench where id = ?",
                                 (self.backlog.marker,)).fetchone() is not None

    def close(self):
        if self.conn is not None:
            self.conn.close()
        for suffix in ("", "-wal", "-shm"):
            if os.path.exists(self.path + suffix):
                os.unlink(self.path + suffix)


# ---- runs ---------------------------------------------------------------------------------------------


def snapshot(lab, target, db=None, tables="public.bench"):
    """From the start of the process to its end (scan.startup.mode: snapshot)."""
    source = (db or lab.db).source(tables, **{"scan.startup.mode": "snapshot"})
    job = Job(lab, source, target.sink)
    load, before = os.getloadavg()[0], lab.cpu()
    try:
        job.start()
        seconds, cpu = job.to_end()
    finally:
        job.close()
    return dict(seconds=seconds, cpu=cpu, load=load, peak_kb=job.peak_kb, **lab.cpu_since(before))


def stream(lab, backlog, target, keep_rss=False):
    """From the moment when the slot is in use until the target holds the last change."""
    slot = backlog.slot()
    source = backlog.db.source(backlog.table, **{
        "slot.name": slot, "publication.name": backlog.publication,
        "publication.autocreate.mode": "disabled", "scan.startup.mode": "committed-offset"})
    job, watch = Job(lab, source, target.sink), SlotWatch(lab.source, slot)
    load, before = os.getloadavg()[0], lab.cpu()
    try:
        job.start()
        began = wait(watch.active, "the start", job.look, 0.002)
        target.attach(job)
        ended = wait(target.arrived, "the stream", job.look, target.poll_seconds)
        cpu = job.stop()
    finally:
        job.close()
        watch.close()
        backlog.drop_slot(slot)
    result = dict(seconds=ended - began, cpu=cpu, load=load, peak_kb=job.peak_kb,
                  **lab.cpu_since(before))
    if keep_rss:
        step = max(1, len(job.rss) // 200)
        result["rss"] = [(round(at, 2), kb) for at, kb in job.rss[::step]]
    return result


def first_change(lab):
    """Seconds from the start of the process, with a checkpoint there, to the first byte on its standard
    output of a change that waited in the log."""
    db = lab.source.create_database(lab.unique("start"), "create table bench (%s)" % base.COLUMNS)
    name = lab.unique("bench")
    spec = {"source": db.source("public.bench", **{"scan.startup.mode": "latest-offset"}),
            "sink": {"type": "stdout"},
            "pipeline": {"name": name, "restart-strategy.type": "none"}}
    run = Run(spec, quick=False, name=name)
    samples = []
    try:
        run.start(args=("--log-level", "warn"))
        wait(lambda: (run.status() or {}).get("state") == "streaming", "the first start", run.alive)
        run.stop(60)
        for i in range(1, 1 + lab.args.starts):
            lab.source.wait_slot_idle(name + "_slot")
            db.execute("insert into bench select %s from generate_series(%d, %d) i"
                       % (base.VALUES, i, i))
            load = os.getloadavg()[0]
            began = time.monotonic()
            run.start(args=("--log-level", "warn"))
            wait(lambda: os.path.getsize(run.stdout_path) > 0, "the first change", run.alive, 0.0005)
            samples.append((time.monotonic() - began, load, proc_cpu_seconds(run.pid),
                            run.peak_rss_kb()))
            run.stop(60)
    finally:
        run.close()
        lab.source.wait_slot_idle(name + "_slot")
        db.execute("select pg_drop_replication_slot(slot_name) from pg_replication_slots "
                   "where slot_name = %s", (name + "_slot",))
        lab.drop(db)
    return samples


def sqlite_with_rows(lab):
    """A SQLite file that holds the table's rows as they were before any backlog, as tailrace copies them
    from the target server's template."""
    path = os.path.join(temp_dir("tailrace-sqlite-"), "bench-%d.db" % free_port())
    job = Job(lab, Database(lab.target, "filled").source("public.bench", **{"scan.startup.mode": "snapshot"}),
              {"type": "sqlite", "path": path})
    try:
        job.start()
        job.to_end()
    finally:
        job.close()
    return path

