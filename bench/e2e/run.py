#!/usr/bin/python3
"""tailrace end to end: PostgreSQL → null, Kafka, PostgreSQL, SQLite, against the floor of the same
machine and against Debezium, in one run.

    bench/e2e/run.py --bin build/bench/src/tailrace --json result.json
    bench/e2e/report.py result.json                        writes docs/performance.md
    bench/e2e/run.py --bin … --quick --only stream-null    one item, small, within a minute

Servers: a PostgreSQL that is read, a second one that is written, one Kafka broker; all on the loopback,
made for the run, fsync off for everybody. The table has --rows rows of about 150 bytes. A backlog is
--changes changes, inserts and updates in turn, in transactions of 100 and of 1, that lie in the log
before anybody reads; every entrant reads it through a copy of the same slot.

Clocks. Snapshot: from the start of the process to its end (Debezium: from the request to Connect, whose
JVM runs already, to the last record in the topic or row in the table). Stream: from the moment when the
slot is in use until the target holds the last change (Debezium: from the first record in the topic). CPU:
user and system time of the whole process from start to end (Debezium: of Connect from the request on,
without the start of its JVM; native subscription: the target server's), and of both servers and the broker
in that time. Peak: VmHWM. Every figure is there --repeat times; report.py takes medians.

What cannot be had here (Java, jars, a compiler) is left out with a line that says so. --json is written
after each measurement: a run that was ended keeps what it has. Use a Release build and a quiet machine."""
import argparse
import os
import signal
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import lab as base  # noqa: E402
import items  # noqa: E402
import peer  # noqa: E402

QUICK = {"rows": 20000, "changes": 20000, "big_rows": 200000, "scaling_changes": 10000, "repeat": 1,
         "starts": 3, "latency_seconds": 3}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", help="the tailrace binary; default: TAILRACE_BIN")
    parser.add_argument("--only", help="items or their beginnings, by commas: %s"
                        % ", ".join(items.NAMES))
    parser.add_argument("--rows", type=int, default=1000000)
    parser.add_argument("--changes", type=int, default=1000000)
    parser.add_argument("--big-rows", type=int, default=10000000, help="of the one large transaction")
    parser.add_argument("--scaling-changes", type=int, default=200000)
    parser.add_argument("--starts", type=int, default=9)
    parser.add_argument("--gulp-us", type=int, default=4000,
                        help="the longest pause of the gulping reader; 0 = none")
    parser.add_argument("--latency-rate", type=int, default=500, help="transactions a second")
    parser.add_argument("--latency-seconds", type=int, default=20)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--peer-repeat", type=int, help="default: as --repeat")
    parser.add_argument("--peer-changes", type=int,
                        help="Debezium's backlogs; default: a quarter of --changes, to save time")
    parser.add_argument("--no-peer", action="store_true", help="without Debezium")
    parser.add_argument("--quick", action="store_true", help="small sizes, everything once: %s" % QUICK)
    parser.add_argument("--json", help="results, for report.py")
    args = parser.parse_args()
    if args.quick:
        for name, value in QUICK.items():
            if getattr(args, name) == parser.get_default(name):
                setattr(args, name, value)
    if args.peer_repeat is None:
        args.peer_repeat = args.repeat
    if args.peer_changes is None:
        args.peer_changes = max(args.changes // 4, 1000)
    chosen = items.NAMES
    if args.only:
        parts = args.only.split(",")
        chosen = [name for name in items.NAMES if name.startswith(tuple(parts))]
        unknown = [part for part in parts if not any(n.startswith(part) for n in items.NAMES)]
        if unknown:
            parser.error("no item begins with %s" % ", ".join(unknown))
    return args, chosen


def measure(lab, chosen, args):
    for name in chosen:
        if name in items.SNAPSHOTS:
            lab.record.begin(name)
            items.attempt(lab, name, lambda: items.SNAPSHOTS[name](lab))
            lab.restart_broker()
    streams = [name for name in chosen if name in items.STREAMS]
    if streams:
        items.run_streams(lab, streams)
        lab.restart_broker()
    for name in chosen:
        if name in items.OTHERS:
            lab.record.begin(name)
            items.attempt(lab, name, lambda: items.OTHERS[name](lab))
    for tuning, possible in (("tuned", items.WITH_PEER),
                             ("as-shipped", items.WITH_PEER_AS_SHIPPED)):
        names = possible & set(chosen)
        if names and not args.no_peer:
            lab.restart_broker()
            items.run_peer(lab, tuning, names)


def main():
    args, chosen = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    if args.bin:
        os.environ["TAILRACE_BIN"] = os.path.abspath(args.bin)
    kept = {key: value for key, value in vars(args).items() if key not in ("bin", "json")}
    record = base.Record(args.json, kept)
    record.head["versions"]["Debezium"] = peer.version()
    lab = base.Lab(args, record)
    head = record.head
    print("%s; %s, %d cores; load %.2f" % ("; ".join("%s %s" % item for item in
                                                     head["versions"].items()),
                                           head["machine"]["cpu"], head["machine"]["cores"],
                                           head["load_at_start"]))
    try:
        measure(lab, chosen, args)
    finally:
        lab.close()
        record.save()
    print("\n%d figures, %d left out" % (len(record.results), len(record.left_out)))


if __name__ == "__main__":
    main()
