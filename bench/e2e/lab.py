"""What every measurement of run.py shares: the servers, the table, backlogs, and the record of results."""
import datetime
import functools
import json
import os
import platform
import re
import shutil
import socket
import statistics
import struct
import subprocess
import sys
import time
import unittest

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
PEERS = os.path.join(HERE, "..", "peers")
sys.path[:0] = [PEERS, os.path.join(HERE, "..", "..", "tests", "harness")]
from tr.artifacts import KAFKA_VERSION  # noqa: E402
from tr.common import proc_cpu_seconds, run, temp_dir  # noqa: E402
from tr.kafka import Kafka  # noqa: E402
from tr.pipeline import binary  # noqa: E402
from tr.postgres import Database, Postgres  # noqa: E402

WAIT_SECONDS = 1800
POLL_SECONDS = 0.01

# The same table as in bench/peers/debezium.py: about 150 bytes a row as COPY writes it.
COLUMNS = ("id bigint primary key, kind int not null, amount bigint not null, name text not null, "
           "note text, code char(60) not null, at timestamptz not null")
TIME = "timestamptz '2024-01-01' + i * interval '1 second'"


def values(at=TIME):
    """Of the row whose number is i."""
    return ("i, i %% 7, i::bigint * 7919 %% 1000003, 'name ' || i, md5(i::text), "
            "md5('a' || i) || left(md5('b' || i), 28), %s" % at)


VALUES = values()
UPDATE = "amount = amount + 1, at = at + interval '1 minute'"
SETTINGS = {"shared_buffers": "512MB", "max_wal_size": "8GB", "autovacuum": "off",
            "max_locks_per_transaction": "256", "log_min_messages": "fatal"}


class Skip(Exception):
    """This cannot be measured here; the text says why."""


# ---- processes ----------------------------------------------------------------------------------------


def tree_cpu_seconds(pid):
    """A server's CPU: its own, of its dead children, and of those that live."""
    total = proc_cpu_seconds(pid, children=True) or 0
    with open("/proc/%d/task/%d/children" % (pid, pid)) as file:
        return total + sum(proc_cpu_seconds(int(child)) or 0 for child in file.read().split())


def wait(condition, what, alive=None, interval=POLL_SECONDS, seconds=WAIT_SECONDS):
    deadline = time.monotonic() + seconds
    while not condition():
        if alive is not None:
            alive()
        if time.monotonic() > deadline:
            raise Skip("no end of %s within %d s" % (what, seconds))
        time.sleep(interval)
    return time.monotonic()


def reap(process):
    """Waits for a child and returns its resource usage; subprocess then knows that it has ended."""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return usage


def cpu_of(usage):
    return usage.ru_utime + usage.ru_stime


@functools.lru_cache(None)
def compile_program(name, package, folder=PEERS):
    """A small C program of bench/; its path."""
    out = os.path.join(temp_dir("tailrace-bench-"), name)
    try:
        flags = run(["pkg-config", "--cflags", "--libs", package]).stdout.split()
        run(["cc", "-O2", "-std=c11", "-D_GNU_SOURCE", "-o", out, os.path.join(folder, name + ".c")] +
            flags)
    except (AssertionError, FileNotFoundError) as error:
        raise Skip("cannot compile %s: %s" % (name, str(error).strip().splitlines()[0]))
    return out


# ---- Kafka --------------------------------------------------------------------------------------------


class Watermark:
    """The end of a topic's partition 0, asked for on a connection of its own: starting kcat a hundred
    times would be measured too. Kafka's ListOffsets, version 1."""

    def __init__(self, port, topic):
        self.topic = topic.encode()
        self.socket = socket.create_connection(("127.0.0.1", port), 10)

    def _read(self, count):
        data = b""
        while len(data) < count:
            part = self.socket.recv(count - len(data))
            if not part:
                raise Skip("the broker closed the connection")
            data += part
        return data

    def end(self):
        body = struct.pack(">hhih5s", 2, 1, 1, 5, b"bench")
        body += struct.pack(">iih", -1, 1, len(self.topic)) + self.topic
        body += struct.pack(">iiq", 1, 0, -1)
        self.socket.sendall(struct.pack(">i", len(body)) + body)
        answer = self._read(struct.unpack(">i", self._read(4))[0])
        # correlation, one topic, its name, one partition: index, error, time, offset
        at = 4 + 4 + 2 + len(self.topic) + 4
        _, error, _, offset = struct.unpack(">ihqq", answer[at:at + 22])
        return offset if error == 0 else 0

    def close(self):
        self.socket.close()


# ---- the record ---------------------------------------------------------------------------------------


def first_line(argv):
    try:
        done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              timeout=60)
        return done.stdout.strip().splitlines()[0]
    except (OSError, IndexError, subprocess.SubprocessError):
        return ""


def machine():
    model = ""
    with open("/proc/cpuinfo") as file:
        for line in file:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    with open("/proc/sys/net/ipv4/tcp_congestion_control") as file:
        congestion = file.read().strip()
    return {"cpu": model, "congestion": congestion, "cores": os.cpu_count(), "kernel": platform.release(),
            "memory_gb": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1)}


class Record:
    """Results as they come, on the terminal and in a file that an aborted run leaves behind."""

    def __init__(self, path, arguments):
        self.path, self.results, self.left_out = path, [], []
        version = first_line([binary(), "version"])
        librdkafka = first_line(["pkg-config", "--modversion", "rdkafka"])
        self.head = {"date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
                     "machine": machine(), "arguments": arguments, "load_at_start": os.getloadavg()[0],
                     "versions": {"tailrace": re.sub(r"^tailrace ", "", version),
                                  "librdkafka": librdkafka, "Kafka": KAFKA_VERSION,
                                  "Java": first_line(["java", "-version"])}}
        self.began = time.monotonic()
        self.item = None

    def begin(self, item):
        self.item = item
        print("\n%s  (%.0f s, load %.2f)" % (item, time.monotonic() - self.began, os.getloadavg()[0]),
              flush=True)
        print("  %-34s %9s %9s %10s %8s %8s %8s %8s %8s"
              % ("", "count", "s", "per s", "CPU s", "source s", "target s", "broker s", "peak MB"))

    def add(self, entrant, label, count, seconds, variant="", load=None, **more):
        """entrant: floor, floor-2, floor-3, peer, peer-shipped, tailrace, … cpu: of the entrant's own processes."""
        result = {"item": self.item, "variant": variant, "entrant": entrant, "label": label,
                  "count": count, "seconds": seconds, "load": load}
        result.update((key, value) for key, value in more.items() if value is not None)
        self.results.append(result)

        def number(key, form="%.2f", scale=1):
            return form % (result[key] * scale) if key in result else ""
        print("  %-34s %9d %9.3f %10.0f %8s %8s %8s %8s %8s"
              % (("%s %s" % (label, variant)).strip(), count, seconds, count / seconds if seconds else 0,
                 number("cpu"), number("source_cpu"), number("target_cpu"), number("broker_cpu"),
                 number("peak_kb", "%.1f", 1 / 1024)), flush=True)
        self.save()

    def skip(self, what, why):
        why = " ".join(str(why).split())[:300]
        self.left_out.append({"item": self.item, "what": what, "why": why})
        print("  %-34s left out: %s" % (what, why), flush=True)
        self.save()

    def save(self):
        if not self.path:
            return
        part = self.path + ".part"
        with open(part, "w") as out:
            json.dump(dict(self.head, seconds=time.monotonic() - self.began, results=self.results,
                           left_out=self.left_out), out, indent=1)
        os.replace(part, self.path)

    def rate(self, item, entrant, variant=""):
        found = [r["count"] / r["seconds"] for r in self.results
                 if (r["item"], r["entrant"], r["variant"]) == (item, entrant, variant)]
        return statistics.median(found) if found else None


# ---- servers and backlogs -----------------------------------------------------------------------------


class Backlog:
    """Changes that wait in the source's log. `base` is a slot that stands before them; each entrant gets
    a copy of it, so that all of them read the same bytes."""

    def __init__(self, db, base, publication, table, count, end, marker=None):
        self.db, self.base, self.publication, self.table = db, base, publication, table
        self.count, self.end, self.marker = count, end, marker
        self.copies = 0

    def slot(self):
        self.copies += 1
        name = "%s_%d" % (self.base, self.copies)
        self.db.execute("select pg_copy_logical_replication_slot(%s, %s)", (self.base, name))
        return name

    def drop_slot(self, name):
        self.db.server.wait_slot_idle(name, 60)
        self.db.execute("select pg_drop_replication_slot(slot_name) from pg_replication_slots "
                        "where slot_name = %s", (name,))

    def close(self):
        self.drop_slot(self.base)


class Lab:
    def __init__(self, args, record):
        self.args, self.record = args, record
        self.rows, self.changes = args.rows, args.changes
        self.source = Postgres(settings=SETTINGS, fsync=False)
        version = self.source.value("show server_version").split()[0]
        record.head["versions"]["PostgreSQL"] = version
        self._db = self._target = self._broker = None
        self.next_id, self.serial = 1000000000, 0

    def unique(self, prefix):
        self.serial += 1
        return "%s_%d" % (prefix, self.serial)

    @property
    def db(self):
        """The source's database with the table of --rows rows."""
        if self._db is None:
            print("filling the table: %d rows" % self.rows, flush=True)
            self._db = self.source.create_database("bench", "create table bench (%s)" % COLUMNS)
            self._db.execute("insert into bench select %s from generate_series(1, %d) i"
                             % (VALUES, self.rows))
            self._db.execute("vacuum (freeze, analyze) bench")
            self._db.execute("create publication bench_pub for table bench")
            self._db.execute("checkpoint")
            size = self._db.value("select avg(length(b::text)) from bench b")
            self.record.head["row_bytes"] = round(float(size))
        return self._db

    @property
    def target(self):
        """A second server: what it writes must not be in the log that is read."""
        if self._target is None:
            self._target = Postgres(settings=SETTINGS, fsync=False)
        return self._target

    @property
    def broker(self):
        if self._broker is None:
            try:
                self._broker = Kafka()
            except unittest.SkipTest as reason:
                raise Skip(reason)
        return self._broker

    def empty_target(self, with_table):
        db = self.target.create_database(self.unique("empty"))
        if with_table:
            db.execute("create table bench (%s)" % COLUMNS)
        return db

    def fill_template(self):
        """Keeps the table, as it is now, on the target server: full_target() copies that."""
        self.target.execute("drop database if exists filled")
        self.target.create_database("filled", "create table bench (%s)" % COLUMNS)
        base = ["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-U", "postgres"]
        out = subprocess.Popen(base + ["-p", str(self.source.port), "-d", self.db.name, "-c",
                                       "copy bench to stdout (format binary)"],
                               stdout=subprocess.PIPE)
        run(base + ["-p", str(self.target.port), "-d", "filled", "-c",
                    "copy bench from stdin (format binary)"], timeout=600, stdin=out.stdout)
        out.stdout.close()
        out.wait()
        self.target.execute("vacuum (freeze, analyze) bench", "filled")

    def full_target(self):
        """A database that holds the table's rows from before the backlog: where updates find them."""
        name = self.unique("full")
        self.target.execute("create database %s template filled" % name)
        self.target.execute("checkpoint")
        return Database(self.target, name)

    def drop(self, db):
        db.server.execute("drop database if exists %s with (force)" % db.name)

    def backlog(self, per_txn):
        """self.changes changes of the table, half inserts and half updates, in transactions of per_txn,
        and the insert of a row that marks the end."""
        db, base = self.db, self.unique("base")
        db.execute("select pg_create_logical_replication_slot(%s, 'pgoutput')", (base,))
        half = max(1, per_txn // 2)
        separate = "commit;" if per_txn == 1 else ""
        count = self.changes // (2 * half) * 2 * half
        began = time.monotonic()
        db.execute("""
            do $$
            declare k bigint := %d;
            begin
                while k < %d loop
                    insert into bench select %s from generate_series(k, k + %d) i; %s
                    update bench set %s where id in
                        (select n * 7919 %% %d + 1 from generate_series(k, k + %d) n);
                    k := k + %d;
                    commit;
                end loop;
            end $$""" % (self.next_id, self.next_id + count // 2, VALUES, half - 1, separate, UPDATE,
                         self.rows, half - 1, half))
        self.next_id += count // 2
        marker, self.next_id = self.next_id, self.next_id + 1
        db.execute("insert into bench select %s from generate_series(%d, %d) i"
                   % (VALUES, marker, marker))
        print("made a backlog of %d changes in transactions of %d in %.0f s"
              % (count + 1, per_txn, time.monotonic() - began), flush=True)
        return Backlog(db, base, "bench_pub", "public.bench", count + 1, self.source.current_lsn(),
                       marker)

    def other_backlog(self, db, tables, fill, publication="other_pub"):
        """A backlog in a database of its own; fill() makes the changes and returns how many."""
        base = self.unique("base")
        db.execute("create publication %s for all tables" % publication)
        db.execute("select pg_create_logical_replication_slot(%s, 'pgoutput')", (base,))
        count = fill()
        return Backlog(db, base, publication, tables, count, self.source.current_lsn())

    def same_rows(self, db):
        """What of the table is not in db as it is in the source; "" when they are equal."""
        sums = ["%s rows, %s" % one.execute("select count(*), sum(hashtextextended(t::text, 0)) "
                                            "from bench t")[0] for one in (self.db, db)]
        return "" if sums[0] == sums[1] else " and ".join(sums)

    def cpu(self):
        """CPU seconds of the servers that run, by the name that results use."""
        used = {"source_cpu": tree_cpu_seconds(self.source.process.pid)}
        if self._target is not None:
            used["target_cpu"] = tree_cpu_seconds(self._target.process.pid)
        if self._broker is not None:
            used["broker_cpu"] = proc_cpu_seconds(self._broker.process.pid)
        return used

    def cpu_since(self, before):
        return {key: value - before[key] for key, value in self.cpu().items() if key in before}

    def restart_broker(self):
        """An empty broker: topics of earlier items are gone from disk and page cache."""
        if self._broker is not None:
            self._broker.close()
            self._broker = None

    def close(self):
        for server in (self._broker, self._target, self.source):
            if server is not None:
                server.close()


def free_space_gb(path="/tmp"):
    return shutil.disk_usage(os.environ.get("TAILRACE_TEST_TMP") or path).free / 2**30
