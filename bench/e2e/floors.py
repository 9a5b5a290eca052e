"""What the same machine can do at best, by programs that do less than tailrace must."""
import os
import shutil
import sqlite3
import subprocess
import sys
import time

from lab import HERE, Skip, compile_program, cpu_of, reap, run, wait
from tailrace import SlotWatch
from tr.common import free_port, proc_status, temp_dir

sys.dont_write_bytecode = True
SAMPLE_MESSAGES = 10000
SUBSCRIPTION_SECONDS = 120


def _psql(server, database, command, **kwargs):
    return subprocess.Popen(["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p",
                             str(server.port), "-U", "postgres", "-d", database, "-c", command],
                            **kwargs)


def _finish(lab, children, began, before, load):
    usages = [reap(child) for child in children]
    seconds = time.monotonic() - began
    for child in children:
        if child.returncode:
            raise Skip("%s ended with %d" % (child.args[0], child.returncode))
    return dict(seconds=seconds, cpu=sum(cpu_of(u) for u in usages), load=load,
                **lab.cpu_since(before))


def copy_to_null(lab, binary):
    load, before, began = os.getloadavg()[0], lab.cpu(), time.monotonic()
    text = "copy bench to stdout" + (" (format binary)" if binary else "")
    return _finish(lab, [_psql(lab.source, lab.db.name, text, stdout=subprocess.DEVNULL)], began, before,
                   load)


def copy_to_copy(lab):
    """Binary COPY by psql, through a pipe, into an empty table with its primary key."""
    target = lab.empty_target(True)
    load, before, began = os.getloadavg()[0], lab.cpu(), time.monotonic()
    try:
        out = _psql(lab.source, lab.db.name, "copy bench to stdout (format binary)",
                    stdout=subprocess.PIPE)
        into = _psql(lab.target, target.name, "copy bench from stdin (format binary)",
                     stdin=out.stdout)
        out.stdout.close()
        return _finish(lab, [out, into], began, before, load)
    finally:
        lab.drop(target)


def gulp(lab, backlog):
    program = compile_program("pg_gulp", "libpq")
    slot = backlog.slot()
    conninfo = "host=127.0.0.1 port=%d user=postgres dbname=%s replication=database" \
        % (lab.source.port, backlog.db.name)
    argv = [program, conninfo, slot, backlog.publication, backlog.end, str(lab.args.gulp_us)]
    return _reader(lab, backlog, slot, argv, stdout=subprocess.PIPE)


def recvlogical(lab, backlog):
    program = os.path.join(lab.source.home, "bin", "pg_recvlogical")
    if not os.path.exists(program):
        program = shutil.which("pg_recvlogical")
    if program is None:
        raise Skip("pg_recvlogical is not installed")
    slot = backlog.slot()
    argv = [program, "-h", "127.0.0.1", "-p", str(lab.source.port), "-U", "postgres", "-d",
            backlog.db.name, "--slot", slot, "--start", "-o", "proto_version=1", "-o",
            "publication_names=" + backlog.publication, "--endpos", backlog.end, "-f", "/dev/null",
            "--no-loop"]
    return _reader(lab, backlog, slot, argv)


def _reader(lab, backlog, slot, argv, **kwargs):
    """From the moment when the slot is in use, as for tailrace, to the end of the process."""
    watch = SlotWatch(lab.source, slot)
    load, before = os.getloadavg()[0], lab.cpu()
    child = subprocess.Popen(argv, **kwargs)
    try:
        began = wait(lambda: watch.active() or child.poll() is not None, "the start", None, 0.002,
                     60)
        if child.returncode is not None:
            raise Skip("%s ended with %d" % (argv[0], child.returncode))
        return _finish(lab, [child], began, before, load)
    finally:
        if child.returncode is None:
            child.kill()
            child.wait()
        watch.close()
        backlog.drop_slot(slot)


def by_function(lab, backlog):
    """The whole backlog by one call of the function that tailrace catches up by, in psql: the server
    gathers it all before it sends the first row."""
    slot = backlog.slot()
    text = "copy (select data from pg_logical_slot_peek_binary_changes('%s', null, null, " \
        "'proto_version', '1', 'publication_names', '%s')) to stdout (format binary)" \
        % (slot, backlog.publication)
    try:
        load, before, began = os.getloadavg()[0], lab.cpu(), time.monotonic()
        return _finish(lab, [_psql(lab.source, backlog.db.name, text, stdout=subprocess.DEVNULL)],
                       began, before, load)
    finally:
        backlog.drop_slot(slot)


def subscription(lab, backlog):
    """Native logical replication into a table that holds the rows. Its CPU is the target server's."""
    slot, target = backlog.slot(), lab.full_target()
    name = lab.unique("sub")
    source = "host=127.0.0.1 port=%d user=postgres dbname=%s" % (lab.source.port, backlog.db.name)
    target.execute("create subscription %s connection '%s' publication %s with (slot_name = %s, "
                   "create_slot = false, copy_data = false, enabled = false)"
                   % (name, source, backlog.publication, slot))
    watch, conn = SlotWatch(lab.source, slot), target.connect()
    cursor = conn.cursor()

    def arrived():
        cursor.execute("select 1 from bench where id = %s", (backlog.marker,))
        return cursor.fetchone() is not None
    try:
        load = os.getloadavg()[0]
        target.execute("alter subscription %s enable" % name)
        # The launcher may let it wait for seconds, which are not counted.
        began = wait(watch.active, "the subscription", None, 0.002, SUBSCRIPTION_SECONDS)
        before = lab.cpu()
        ended = wait(arrived, "the subscription's work")
        result = dict(seconds=ended - began, load=load, **lab.cpu_since(before))
    finally:
        target.execute("alter subscription %s disable" % name)
        target.execute("alter subscription %s set (slot_name = none)" % name)
        target.execute("drop subscription %s" % name)
        conn.close()
        watch.close()
        backlog.drop_slot(slot)
        lab.drop(target)
    return result


# ---- Kafka --------------------------------------------------------------------------------------------


def sample_messages(lab, topic):
    """A file with messages of a topic that tailrace has written."""
    path = os.path.join(temp_dir("tailrace-sample-"), "messages")
    done = subprocess.run(["kcat", "-C", "-q", "-e", "-b", lab.broker.bootstrap, "-t", topic, "-o",
                           "beginning", "-c", str(SAMPLE_MESSAGES), "-f", "%k\t%s\n"],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120)
    if done.returncode or not done.stdout:
        raise Skip("no sample of %s: %s" % (topic, done.stderr.decode(errors="replace")))
    with open(path, "wb") as out:
        out.write(done.stdout)
    return path


def produce(lab, sample, count):
    program, topic = compile_program("kafka_produce", "rdkafka", HERE), lab.unique("floor")
    # The topic is there when the clock starts: librdkafka waits a second for one that is not.
    run(["kcat", "-P", "-b", lab.broker.bootstrap, "-t", topic], timeout=60, input="first\n")
    load, before, began = os.getloadavg()[0], lab.cpu(), time.monotonic()
    child = subprocess.Popen([program, lab.broker.bootstrap, topic, sample, str(count)])
    peak = 0
    while True:
        found, status, usage = os.wait4(child.pid, os.WNOHANG)
        if found:
            break
        peak = max(peak, proc_status(child.pid, "VmHWM") or 0)
        time.sleep(0.005)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise Skip("kafka_produce ended with %d" % child.returncode)
    return dict(seconds=time.monotonic() - began, cpu=cpu_of(usage), load=load, peak_kb=peak,
                **lab.cpu_since(before))


# ---- SQLite -------------------------------------------------------------------------------------------


def sqlite_loop(lab, backlog, path):
    """The backlog's inserts and updates by one prepared statement each, from memory, by Python's
    sqlite3 in transactions of 10,000 changes, into a copy of the file that tailrace made."""
    copy = os.path.join(temp_dir("tailrace-sqlite-"), "floor-%d.db" % free_port())
    shutil.copy(path, copy)
    first = backlog.marker - (backlog.count - 1) // 2
    conn = backlog.db.connect()
    cursor = conn.cursor()
    cursor.execute("select id, kind, amount, name, note, code, at::text from bench "
                   "where id >= %s and id < %s order by id", (first, backlog.marker))
    inserts = cursor.fetchall()
    conn.close()
    updates = [(row[2] + 1, row[6], (row[0] * 7919) % lab.rows + 1) for row in inserts]
    target = sqlite3.connect(copy, isolation_level=None)
    target.execute("pragma journal_mode = wal")
    load, began, used = os.getloadavg()[0], time.monotonic(), time.process_time()
    for at in range(0, len(inserts), 5000):
        target.execute("begin")
        target.executemany("insert into bench values (?, ?, ?, ?, ?, ?, ?)", inserts[at:at + 5000])
        target.executemany("update bench set amount = ?, at = ? where id = ?", updates[at:at + 5000])
        target.execute("commit")
    result = dict(seconds=time.monotonic() - began, cpu=time.process_time() - used, load=load)
    target.close()
    os.unlink(copy)
    return result, 2 * len(inserts)

