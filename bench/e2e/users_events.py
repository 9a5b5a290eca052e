#!/usr/bin/python3
"""Events of a users table as cdc-json, and what a pipeline has to make of them.

    bench/e2e/users_events.py [--events 1000000] [--ids 100000] [--seed 1] … > events

prints "id TAB event" lines: {"op","before","after","timestamp"}, about 200 bytes each. The same arguments
give the same bytes.

Event times advance evenly over --span-seconds. --out-of-order is the share of events that arrive up to
4 s of event time after their turn, which a watermark of 5 s must tolerate; --late is the share that
arrives two minutes after its turn. Before a late event comes, a newer event of its id has come: what
migrated_users holds then does not depend on whether a reader takes the event for late (the order in
which partitions are read side by side decides that). A window may hold it or not: the model gives both
counts. --malformed is the share of messages that are no event: cut off, no JSON, a bad time.

No two events of an id have the same event time."""
import argparse
import collections
import datetime
import heapq
import json
import random
import sys
import zlib

START_MS = 1735689600000  # 2025-01-01T00:00:00Z
TOLERANCE_MS = 5000       # of the watermark
DISORDER_MS_MAX = 4000
LATE_MS = 120000
WINDOW_MS = 60000
DELETE_SHARE = 0.05

ON_TIME, LATE = 0, 1


def time_text(ms):
    """2025-01-01T00:00:00.003Z"""
    at = datetime.datetime.fromtimestamp(ms // 1000, datetime.timezone.utc)
    return at.strftime("%Y-%m-%dT%H:%M:%S.") + "%03dZ" % (ms % 1000)


def partition_of(key, count):
    """librdkafka's `consistent` partitioner."""
    return zlib.crc32(key) % count


class Model:
    """What the target tables must hold, and how to see cheaply that they may do so already."""

    def __init__(self, partitions):
        self.partitions = partitions
        self.latest = {}       # id → (ms, op, version), of what is not malformed
        self.counts = [collections.Counter(), collections.Counter()]  # (window ms, op) → events
        self.ahead_ms = [0] * partitions  # by partition: the greatest event time
        self.messages = [0] * partitions
        self.bytes = 0
        self.events = self.late = self.malformed = self.out_of_order = 0

    def users(self):
        """{id: (name, email, op, ms)}"""
        return {ident: (name_of(ident, version), email_of(ident, version).lower(), op, ms)
                for ident, (ms, op, version) in self.latest.items()}

    def fired_until_ms(self):
        """The watermark when all partitions are read: windows that end by then have fired."""
        return min(self.ahead_ms) - TOLERANCE_MS

    def windows_fired(self):
        """{(window ms, op): (fewest, most)} of the windows that must have fired."""
        end = self.fired_until_ms()
        keys = set(self.counts[ON_TIME]) | set(self.counts[LATE])
        return {key: self.window(key) for key in keys if key[0] + WINDOW_MS - 1 <= end}

    def window(self, key):
        on_time = self.counts[ON_TIME][key]
        return on_time, on_time + self.counts[LATE][key]

    def probes(self, per_partition=8):
        """[(id, ms)]: in each partition the ids whose last event is the newest."""
        newest = [[] for _ in range(self.partitions)]
        for ident, (ms, _, _) in self.latest.items():
            newest[partition_of(b"%d" % ident, self.partitions)].append((ms, ident))
        return [(ident, ms) for rows in newest for ms, ident in heapq.nlargest(per_partition, rows)]


def name_of(ident, version):
    return "User %d v%d" % (ident, version)


def email_of(ident, version):
    return "User.%d.V%d@Mail%d.Example.COM" % (ident, version, ident % 10)


def image(ident, version):
    return '{"id":%d,"name":"%s","email":"%s"}' % (ident, name_of(ident, version),
                                                   email_of(ident, version))


class Events:
    """Iterating gives (key, message) as bytes, `count` of them; then .model is complete."""

    def __init__(self, count, ids=100000, seed=1, span_seconds=3600, out_of_order=0.02, late=0.0,
                 malformed=0.0, partitions=8):
        self.count, self.ids = count, ids
        self.random = random.Random(seed)
        self.step_ms = max(1, span_seconds * 1000 // count)
        self.shares = (malformed, malformed + late, malformed + late + out_of_order)
        self.model = Model(partitions)
        self.versions, self.gone = {}, set()
        self.turn = 0
        self.held = []  # (turn when it comes, number, kind, event)
        self._second = (None, "")

    def _time(self, ms):
        if self._second[0] != ms // 1000:
            self._second = (ms // 1000, time_text(ms)[:-4])
        return "%s%03dZ" % (self._second[1], ms % 1000)

    def _make(self, ident=None, may_delete=True):
        """The next event in the order of event times: (id, ms, op, version, message)."""
        if ident is None:
            ident = 1 + int(self.random.random() * self.ids)
        ms = START_MS + self.turn * self.step_ms
        self.turn += 1
        version = self.versions.get(ident, 0)
        if version == 0 or ident in self.gone:
            op, version = "c", version + 1
            self.gone.discard(ident)
            text = '"before":null,"after":%s' % image(ident, version)
        elif may_delete and self.random.random() < DELETE_SHARE:
            op = "d"
            self.gone.add(ident)
            text = '"before":%s,"after":null' % image(ident, version)
        else:
            op, version = "u", version + 1
            text = '"before":%s,"after":%s' % (image(ident, version - 1), image(ident, version))
        self.versions[ident] = version
        return ident, ms, op, version, '{"op":"%s",%s,"timestamp":"%s"}' % (op, text, self._time(ms))

    def _emit(self, event, kind):
        ident, ms, op, version, text = event
        model = self.model
        model.events += 1
        latest = model.latest.get(ident)
        if latest is None or latest[0] < ms:
            model.latest[ident] = (ms, op, version)
        model.counts[kind][(ms - ms % WINDOW_MS, op)] += 1
        key = b"%d" % ident
        partition = partition_of(key, model.partitions)
        if ms > model.ahead_ms[partition]:
            model.ahead_ms[partition] = ms
        return self._message(key, partition, text.encode())

    def _message(self, key, partition, value):
        self.model.messages[partition] += 1
        self.model.bytes += len(value)
        return key, value

    def _emit_malformed(self):
        ident, _, op, version, text = self._make(may_delete=False)
        # Its change never happened: the next event of the id must not build on it.
        self.versions[ident] = version - 1
        if op == "c" and version > 1:
            self.gone.add(ident)
        kind = self.model.malformed % 3
        self.model.malformed += 1
        if kind == 0:
            text = text[:len(text) // 2]
        elif kind == 1:
            text = "no json: " + text[2:40]
        else:
            text = text[:text.rindex('"timestamp"')] + '"timestamp":"yesterday"}'
        key = b"%d" % ident
        return self._message(key, partition_of(key, self.model.partitions), text.encode())

    def _release(self):
        """What was held comes; before a late event, a newer one of its id if there was none."""
        _, _, kind, event = self.held[0]
        if kind == LATE and self.model.latest.get(event[0], (0,))[0] <= event[1]:
            return self._emit(self._make(event[0]), ON_TIME)
        heapq.heappop(self.held)
        if kind == LATE:
            self.model.late += 1
        else:
            self.model.out_of_order += 1
        return self._emit(event, kind)

    def __iter__(self):
        made = 0
        while made < self.count:
            made += 1
            # A held event needs up to two messages: its own and a newer one.
            if self.held and (self.held[0][0] <= self.turn or
                              self.count - made < 2 * len(self.held)):
                yield self._release()
                continue
            chance = self.random.random()
            if chance < self.shares[0]:
                yield self._emit_malformed()
                continue
            event = self._make()
            if chance >= self.shares[2] or self.count - made < 2 * len(self.held) + 4:
                yield self._emit(event, ON_TIME)
                continue
            kind = LATE if chance < self.shares[1] else ON_TIME
            delay_ms = LATE_MS if kind == LATE else self.random.random() * DISORDER_MS_MAX
            heapq.heappush(self.held, (self.turn + int(delay_ms // self.step_ms), made, kind, event))
            made -= 1  # nothing came yet


def add_arguments(parser):
    parser.add_argument("--events", type=int, default=1000000)
    parser.add_argument("--ids", type=int, default=100000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--span-seconds", type=int, default=3600, help="of event time")
    parser.add_argument("--out-of-order", type=float, default=0.02)
    parser.add_argument("--late", type=float, default=0.0)
    parser.add_argument("--malformed", type=float, default=0.0)


def from_arguments(args, partitions=8):
    return Events(args.events, args.ids, args.seed, args.span_seconds, args.out_of_order, args.late,
                  args.malformed, partitions)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add_arguments(parser)
    parser.add_argument("--model", help="also write what migrated_users must hold, as JSON lines")
    args = parser.parse_args()
    events = from_arguments(args)
    write = sys.stdout.buffer.write
    for key, message in events:
        write(b"%s\t%s\n" % (key, message))
    if args.model:
        with open(args.model, "w") as out:
            for ident, (name, email, op, ms) in sorted(events.model.users().items()):
                out.write(json.dumps({"id": ident, "name": name, "email": email, "op": op,
                                      "event_time": time_text(ms)}) + "\n")


if __name__ == "__main__":
    main()
