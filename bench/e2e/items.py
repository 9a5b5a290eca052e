"""The work items of run.py: what is measured, how often, and by whom."""
import sys
import threading
import time

import floors
import peer
import tailrace
from lab import COLUMNS, VALUES, Skip, free_space_gb, values, wait
from tailrace import (Job, KafkaTarget, NullTarget, PostgresTarget, SqliteTarget)

sys.dont_write_bytecode = True
TXNS = (100, 1)
TABLE_COUNTS = (1, 10, 100, 1000)
ROW_BYTES = (50, 150, 500, 2000, 10000)
WRITER_COUNTS = (1, 2, 4, 8)
SCALING_BYTES_MAX = 300 << 20
BIG_GB_PER_MILLION = 1.2  # log, spool and target


def attempt(lab, what, measure):
    """Runs one measurement; what cannot be had, or goes wrong, is noted and the rest goes on."""
    try:
        return measure()
    except (Skip, AssertionError) as reason:
        lab.record.skip(what, reason)
    except Exception as error:  # noqa: BLE001: an hour of figures must not be lost
        lab.record.skip(what, "%s: %s" % (type(error).__name__, error))
    return None


def repeat(lab, entrant, label, count, measure, variant=""):
    for _ in range(lab.args.repeat):
        result = attempt(lab, ("%s %s" % (label, variant)).strip(), measure)
        if result is None:
            return
        lab.record.add(entrant, label, count, variant=variant, **result)


def with_target(make, use):
    target = make()
    try:
        return use(target)
    finally:
        target.close()


# ---- snapshots ----------------------------------------------------------------------------------------


def snapshot_null(lab):
    count = lab.db.value("select count(*) from bench")
    repeat(lab, "floor", "COPY to /dev/null, psql", count, lambda: floors.copy_to_null(lab, False))
    repeat(lab, "floor-2", "COPY BINARY to /dev/null, psql", count,
           lambda: floors.copy_to_null(lab, True))
    repeat(lab, "tailrace", "tailrace", count, lambda: with_target(
        lambda: NullTarget(lab), lambda target: tailrace.snapshot(lab, target)))


def snapshot_kafka(lab):
    count, samples = lab.db.value("select count(*) from bench"), []

    def one(target):
        result = tailrace.snapshot(lab, target)
        target.attach(None)
        if target.count() != count:
            raise Skip("the topic holds %d records, not %d" % (target.count(), count))
        if not samples:
            samples.append(floors.sample_messages(lab, target.topic))
        return result
    repeat(lab, "tailrace", "tailrace", count,
           lambda: with_target(lambda: KafkaTarget(lab), one))
    if samples:
        repeat(lab, "floor", "librdkafka producer", count,
               lambda: floors.produce(lab, samples[0], count))


def snapshot_postgres(lab):
    count = lab.db.value("select count(*) from bench")
    repeat(lab, "floor", "COPY BINARY psql | psql", count, lambda: floors.copy_to_copy(lab))

    def one(target):
        result = tailrace.snapshot(lab, target)
        found = target.db.value("select count(*) from bench")
        if found != count:
            raise Skip("the target holds %d rows, not %d" % (found, count))
        return result
    repeat(lab, "tailrace", "tailrace", count,
           lambda: with_target(lambda: PostgresTarget(lab), one))


# ---- streams ------------------------------------------------------------------------------------------


def stream_null(lab, backlog, variant):
    repeat(lab, "floor", "gulping reader", backlog.count, lambda: floors.gulp(lab, backlog), variant)
    repeat(lab, "floor-2", "pg_recvlogical", backlog.count,
           lambda: floors.recvlogical(lab, backlog), variant)
    repeat(lab, "floor-3", "the log by a function, psql", backlog.count,
           lambda: floors.by_function(lab, backlog), variant)
    repeat(lab, "tailrace", "tailrace", backlog.count, lambda: with_target(
        lambda: NullTarget(lab, backlog), lambda target: tailrace.stream(lab, backlog, target)),
        variant)


def stream_kafka(lab, backlog, variant):
    samples = []

    def one(target):
        result = tailrace.stream(lab, backlog, target)
        if target.count() != backlog.count:
            raise Skip("the topic holds %d records, not %d" % (target.count(), backlog.count))
        if not samples:
            samples.append(floors.sample_messages(lab, target.topic))
        return result
    repeat(lab, "tailrace", "tailrace", backlog.count,
           lambda: with_target(lambda: KafkaTarget(lab, backlog), one), variant)
    if samples:
        repeat(lab, "floor", "librdkafka producer", backlog.count,
               lambda: floors.produce(lab, samples[0], backlog.count), variant)


def stream_postgres(lab, backlog, variant):
    repeat(lab, "floor", "native subscription", backlog.count,
           lambda: floors.subscription(lab, backlog), variant)

    def one(target):
        result = tailrace.stream(lab, backlog, target)
        differing = lab.same_rows(target.db)
        if differing:
            raise Skip("the target differs: " + differing)
        return result
    repeat(lab, "tailrace", "tailrace", backlog.count,
           lambda: with_target(lambda: PostgresTarget(lab, backlog), one), variant)


def stream_sqlite(lab, backlog, variant):
    path = tailrace.sqlite_with_rows(lab)

    def floor():
        result, count = floors.sqlite_loop(lab, backlog, path)
        lab.record.add("floor", "insert and update loop", count, variant=variant, **result)

    def one(target):
        result = tailrace.stream(lab, backlog, target)
        found, count = target.count(), lab.db.value("select count(*) from bench")
        if found != count:
            raise Skip("the file holds %d rows, not %d" % (found, count))
        return result
    for _ in range(lab.args.repeat):
        attempt(lab, "insert and update loop", floor)
    repeat(lab, "tailrace", "tailrace", backlog.count,
           lambda: with_target(lambda: SqliteTarget(backlog, path), one), variant)


# ---- latency, start, memory ---------------------------------------------------------------------------


def insert_at_rate(db, rate, count):
    """One row a transaction, by the clock, with the server's time of the insert; late ones follow at
    once."""
    conn = db.connect()
    cursor = conn.cursor()
    cursor.execute("prepare one as insert into bench select %s from (select $1::bigint) as v(i)"
                   % values("clock_timestamp()"))
    began = time.monotonic()
    for number in range(count):
        ahead = began + number / rate - time.monotonic()
        if ahead > 0:
            time.sleep(ahead)
        cursor.execute("execute one(%d)" % (number + 2))
    conn.close()


def latency(lab):
    rate = lab.args.latency_rate
    count, skipped = rate * lab.args.latency_seconds, rate * peer.LATENCY_SKIP_SECONDS

    def one():
        db = lab.source.create_database(lab.unique("latency"), "create table bench (%s)" % COLUMNS)
        target = KafkaTarget(lab)
        job = Job(lab, db.source("public.bench", **{"scan.startup.mode": "latest-offset"}),
                  target.sink)
        try:
            job.start()
            wait(lambda: (job.run.status() or {}).get("state") == "streaming", "the start", job.look)
            db.execute("insert into bench select %s from (select 1) as v(i)" % values("now()"))
            target.attach(job)
            wait(lambda: target.count() >= 1, "the first record", job.look)
            before = lab.cpu()
            found = peer.latency_of(lab.broker.bootstrap, target.topic,
                                    lambda: insert_at_rate(db, rate, count + skipped), count,
                                    skipped)
            used = lab.cpu_since(before)
            return dict(found, seconds=lab.args.latency_seconds, cpu=job.stop(), peak_kb=job.peak_kb,
                        **used)
        finally:
            job.close()
            target.close()
            name = job.run.name + "_slot"
            lab.source.wait_slot_idle(name, 60)
            db.execute("select pg_drop_replication_slot(slot_name) from pg_replication_slots "
                       "where slot_name = %s", (name,))
            lab.drop(db)
    for _ in range(lab.args.repeat):
        result = attempt(lab, "tailrace", one)
        if result is None:
            return
        lab.record.add("tailrace", "tailrace", **result)
        print("    ms: p50 %(p50_ms).2f, p99 %(p99_ms).2f, p99.9 %(p999_ms).2f, max %(max_ms).2f"
              % result, flush=True)


def start(lab):
    samples = attempt(lab, "tailrace", lambda: tailrace.first_change(lab))
    for seconds, load, cpu, peak in samples or []:
        lab.record.add("tailrace", "tailrace", 1, seconds, load=load, cpu=cpu, peak_kb=peak)


def big_transaction(lab):
    rows = lab.args.big_rows
    needed = BIG_GB_PER_MILLION * rows / 1e6 + 1
    if free_space_gb() < needed:
        raise Skip("%.0f GB are needed and %.0f GB are free" % (needed, free_space_gb()))
    db = lab.source.create_database(lab.unique("big"), "create table bench (%s)" % COLUMNS)

    def fill():
        began = time.monotonic()
        db.execute("insert into bench select %s from generate_series(1, %d) i" % (VALUES, rows))
        print("made a transaction of %d rows in %.0f s" % (rows, time.monotonic() - began), flush=True)
        return rows
    backlog = lab.other_backlog(db, "public.bench", fill)
    backlog.marker = rows

    def one(target):
        return tailrace.stream(lab, backlog, target, keep_rss=True)
    try:
        for name, make in (("null", lambda: NullTarget(lab, backlog)),
                           ("postgres", lambda: PostgresTarget(
                               lab, backlog, lab.empty_target(True)))):
            result = attempt(lab, "tailrace → " + name, lambda: with_target(make, one))
            if result:
                lab.record.add("tailrace", "tailrace → " + name, rows, variant=name, **result)
    finally:
        backlog.close()
        lab.drop(db)


# ---- scaling ------------------------------------------------------------------------------------------


def _null_stream(lab, db, tables, fill, variant, what):
    backlog = lab.other_backlog(db, tables, fill)

    def one(target):
        return tailrace.stream(lab, backlog, target)
    try:
        for _ in range(lab.args.repeat):
            result = attempt(lab, "%s %s" % (what, variant), lambda: with_target(
                lambda: NullTarget(lab, backlog), one))
            if result is None:
                return
            lab.record.add("tailrace", what, backlog.count, variant=variant, **result)
    finally:
        backlog.close()


def scaling_tables(lab):
    for tables in TABLE_COUNTS:
        variant = "%d tables" % tables
        count = max(lab.args.scaling_changes // 100 * 100, tables)
        db = lab.source.create_database(lab.unique("scale"))
        db.execute("do $$ begin for t in 1..%d loop execute format('create table t%%s (%s)', t); "
                   "end loop; end $$" % (tables, COLUMNS))

        def fill(per_txn=100):
            """Transactions of 100 inserts into one table each, the tables in turn."""
            db.execute("""
                do $$
                declare k bigint := 0; t int := 0;
                begin
                    while k < %d loop
                        execute format($f$insert into t%%s select %s
                                       from generate_series(%%s, %%s) i$f$, t + 1, k, k + %d);
                        t := (t + 1) %% %d;
                        k := k + %d;
                        commit;
                    end loop;
                end $$""" % (count, VALUES.replace("%", "%%"), per_txn - 1, tables, per_txn))
            return (count + per_txn - 1) // per_txn * per_txn
        try:
            _null_stream(lab, db, "public.t\\.*", fill, variant, "stream")
            total = (count + 99) // 100 * 100
            for _ in range(lab.args.repeat):
                result = attempt(lab, "snapshot " + variant, lambda: with_target(
                    lambda: NullTarget(lab),
                    lambda target: tailrace.snapshot(lab, target, db, "public.t\\.*")))
                if result is None:
                    break
                lab.record.add("tailrace-snapshot", "snapshot", total, variant=variant, **result)
        finally:
            lab.drop(db)


def scaling_rows(lab):
    for size in ROW_BYTES:
        count = max(100, min(lab.args.scaling_changes, SCALING_BYTES_MAX // size) // 100 * 100)
        db = lab.source.create_database(
            lab.unique("scale"), "create table bench (id bigint primary key, filler text not null);"
            "alter table bench alter column filler set storage external")
        filler = "left(repeat(md5(i::text), %d), %d)" % (size // 32 + 1, max(1, size - 10))

        def fill():
            db.execute("""
                do $$
                begin
                    for k in 0..%d - 1 by 100 loop
                        insert into bench select i, %s from generate_series(k, k + 99) i;
                        commit;
                    end loop;
                end $$""" % (count, filler))
            return count
        try:
            _null_stream(lab, db, "public.bench", fill, "%d B" % size, "stream")
        finally:
            lab.drop(db)


def scaling_writers(lab):
    for writers in WRITER_COUNTS:
        each = max(10, lab.args.scaling_changes // writers // 10 * 10)
        db = lab.source.create_database(lab.unique("scale"), "create table bench (%s)" % COLUMNS)

        def write(number):
            db.execute("""
                do $$
                begin
                    for k in 0..%d - 1 by 10 loop
                        insert into bench select %s from generate_series(%d + k, %d + k + 9) i;
                        commit;
                    end loop;
                end $$""" % (each, VALUES, number * 100000000, number * 100000000))

        def fill():
            threads = [threading.Thread(target=write, args=(number,)) for number in range(writers)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            return db.value("select count(*) from bench")
        try:
            _null_stream(lab, db, "public.bench", fill, "%d writers" % writers, "stream")
        finally:
            lab.drop(db)


SNAPSHOTS = {"snapshot-null": snapshot_null, "snapshot-kafka": snapshot_kafka,
             "snapshot-postgres": snapshot_postgres}
STREAMS = {"stream-null": stream_null, "stream-kafka": stream_kafka,
           "stream-postgres": stream_postgres, "stream-sqlite": stream_sqlite}
OTHERS = {"latency": latency, "start": start, "big-transaction": big_transaction,
          "scaling-tables": scaling_tables, "scaling-rows": scaling_rows,
          "scaling-writers": scaling_writers}
WITH_PEER = {"snapshot-kafka", "snapshot-postgres", "stream-kafka", "stream-postgres", "latency"}
WITH_PEER_AS_SHIPPED = {"snapshot-kafka", "latency"}
NAMES = list(SNAPSHOTS) + list(STREAMS) + list(OTHERS)


def run_streams(lab, names):
    """All streams of one kind of backlog read the same one."""
    for per_txn in TXNS:
        if {"stream-postgres", "stream-sqlite"} & set(names):
            lab.fill_template()
        backlog = lab.backlog(per_txn)
        try:
            for name in names:
                lab.record.begin(name)
                STREAMS[name](lab, backlog, "tx %d" % per_txn)
        finally:
            backlog.close()


def run_peer(lab, tuning, names):
    lab.record.item = "peer"
    one = attempt(lab, "Debezium, " + tuning, lambda: peer.Peer(lab, tuning))
    if one is None:
        return
    try:
        for number in range(lab.args.peer_repeat):
            lab.record.begin("peer")
            attempt(lab, "Debezium, " + tuning,
                    lambda: one.repetition(names, number == lab.args.peer_repeat - 1))
    finally:
        one.close()
