"""The users_cdc job as examples/users runs it: change events as JSON from a file or a topic, the newest
of each user by its own time, history, counts by the minute, late and broken events with the reason."""
import collections
import datetime
import json
import os
import random
import signal
import sqlite3
import subprocess
import time

from tr import *

ROOT = os.path.join(os.path.dirname(__file__), "..", "..", "..")
EXAMPLES = os.path.join(ROOT, "examples", "users")
START = datetime.datetime(2025, 9, 19, 10, 0, 0)


def example(name):
    with open(os.path.join(EXAMPLES, name)) as file:
        return file.read()


def event(op, id_, name, email, at, before=None):
    row = {"id": id_, "name": name, "email": email}
    return {"op": op, "before": row if op == "d" else before, "after": None if op == "d" else row,
            "timestamp": at.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z" if at.microsecond else at.isoformat() + "Z"}


def write(path, lines):
    with open(path, "w") as out:
        for line in lines:
            out.write((line if isinstance(line, str) else json.dumps(line)) + "\n")
    return path


class Model:
    """What the tables must hold, computed the slow way."""

    def __init__(self):
        self.users = {}
        self.history = collections.Counter()
        self.counts = collections.Counter()

    def add(self, item, offset):
        row = item["after"] or item["before"]
        at = item["timestamp"].rstrip("Z").replace("T", " ")
        at = at.rstrip("0") if "." in at else at
        full = (row["id"], row["name"], row["email"].lower(), item["op"], at)
        self.history[full] += 1
        minute = at[:17] + "00"
        self.counts[(minute, item["op"])] += 1
        version = (datetime.datetime.fromisoformat(item["timestamp"].rstrip("Z")), offset)
        if row["id"] not in self.users or self.users[row["id"]][0] <= version:
            self.users[row["id"]] = (version, full)

    def current(self):
        return sorted(full for _, full in self.users.values())


def load(count, users, seed, partitions=1):
    """Events of `count` changes in order, with up to 3 s of disorder, none late; then one per partition an
    hour later, which closes every window."""
    chance = random.Random(seed)
    events = []
    for index in range(count):
        at = START + datetime.timedelta(milliseconds=20 * index - chance.randrange(3000) + 3000)
        id_ = chance.randrange(users)
        op = "c" if index < users else chance.choice("cuuuud")
        events.append(event(op, id_, "Name %d" % index, "User%d@Example.com" % id_,
                            at.replace(microsecond=at.microsecond // 1000 * 1000)))
    return events


def closing(partitions):
    return [event("u", 10_000_000 + index, "last", "last@example.com", START + datetime.timedelta(hours=9))
            for index in range(partitions)]


class Sqlite:
    """Reads what the example writes."""

    def __init__(self, path):
        self.path = path

    def rows(self, sql):
        with sqlite3.connect("file:%s?mode=ro" % self.path, uri=True, timeout=30) as db:
            return db.execute(sql).fetchall()

    def users(self):
        return self.rows("select id, name, email, op, event_time from migrated_users order by id")

    def history(self):
        return collections.Counter(
            self.rows("select id, name, email, op, event_time from users_history"))

    def counts(self):
        return {(start, op): events for start, op, events in
                self.rows("select window_start, op, events from user_counts")}

    def letters(self):
        return self.rows("select reason, payload from tailrace_dead_letters order by position")


class FromFile(Case):
    PG = False

    def setUp(self):
        super().setUp()
        self.db = self.path(self.unique("users") + ".db")
        self.target = Sqlite(self.db)

    def events(self, lines):
        return write(self.path(self.unique("events") + ".jsonl"), lines)

    def make(self, path):
        return self.file(example("pipeline-sqlite.yaml"), name="users-sqlite",
                         env={"USERS_EVENTS": path, "USERS_DB": self.db})

    def end(self, run, timeout=60):
        self.assertEqual(run.wait_exit(timeout), 0, run.tail())

    def test_the_sample(self):
        run = self.make(os.path.join(EXAMPLES, "events.jsonl")).start()
        self.end(run)
        self.assertEqual(self.target.users(), [
            (1, "Alice C", "alicec@example.com", "u", "2025-09-19 10:04:00"),
            (2, "Bob", "bob@example.com", "d", "2025-09-19 10:03:00")])
        self.assertEqual(sum(self.target.history().values()), 5)
        self.assertEqual(self.target.counts(), {
            ("2025-09-19 10:00:00", "c"): 1, ("2025-09-19 10:00:00", "u"): 1,
            ("2025-09-19 10:02:00", "c"): 1, ("2025-09-19 10:03:00", "d"): 1,
            ("2025-09-19 10:04:00", "u"): 1})
        run.start()  # nothing comes twice
        self.end(run)
        self.assertEqual(sum(self.target.history().values()), 5)

    def test_each_where_it_belongs(self):
        at = lambda minute, second=0: START + datetime.timedelta(minutes=minute, seconds=second)
        extra = event("c", 4, "Dora", "dora@example.com", at(1))
        extra["after"]["phone"] = "123"
        extra["source"] = "app"
        missing = event("c", 5, "Emil", "e", at(1, 1))
        del missing["after"]["email"]
        duplicate = event("u", 3, "Carl 2", "carl@example.com", at(1, 3))
        late = event("u", 3, "far too late", "carl@example.com", at(0))
        lines = [event("c", 3, "Carl", "CARL@example.com", at(0, 59)),
                 "{not json", '{"op":"x","after":{"id":1},"timestamp":"2025-09-19T10:01:00Z"}', extra, missing,
                 duplicate, duplicate,
                 event("u", 3, "out of order", "carl@example.com", at(1, 1)),  # within the 5 s: not late
                 late,
                 event("c", 6, "no time", "n@example.com", at(1))]
        lines[-1]["timestamp"] = "yesterday"
        run = self.make(self.events(lines)).start()
        self.end(run)
        self.assertEqual(self.target.users(), [
            (3, "Carl 2", "carl@example.com", "u", "2025-09-19 10:01:03"),
            (4, "Dora", "dora@example.com", "c", "2025-09-19 10:01:00"),
            (5, "Emil", None, "c", "2025-09-19 10:01:01")])
        names = sorted(row[1] for row in self.target.history().elements())
        self.assertEqual(names, ["Carl", "Carl 2", "Carl 2", "Dora", "Emil", "out of order"])
        letters = self.target.letters()
        self.assertEqual([reason for reason, _ in letters][:3], ["malformed", "malformed", "late"])
        self.assertEqual(letters[0][1], "{not json")
        self.assertEqual(json.loads(letters[2][1]), late)
        self.assertIn(letters[3][0], ("transform", "no-event-time"))
        self.assertEqual(len(letters), 4)

    def check(self, events):
        model = Model()
        for offset, item in enumerate(events):
            model.add(item, offset)
        self.assertEqual(self.target.users(), model.current())
        self.assertEqual(self.target.history(), model.history)
        self.assertEqual(self.target.counts(), dict(model.counts))
        self.assertEqual(self.target.letters(), [("malformed", "broken")])

    def test_kill_9_with_windows_open(self):
        """Many kills; the tables are those of an uninterrupted run."""
        events = load(100_000, 500, seed=5)
        lines = [json.dumps(item) for item in events]
        lines.insert(40_000, "broken")
        run = self.make(self.events(lines))
        chance = random.Random(11)
        kills = 0
        while kills < 12:
            run.start(failpoint="sink.sqlite.before_commit=sleep:300")  # or it is over too soon
            deadline = time.time() + 0.4 + chance.random() * 0.6
            while run.running() and time.time() < deadline:
                time.sleep(0.01)
            if not run.running():
                break
            run.kill()
            kills += 1
        print("    %d kills" % kills)
        if not run.running():
            run.start()
        self.end(run, 120)
        self.assertGreater(kills, 1, "it was over before it could be killed")
        self.check(events)


class FromKafka(Case):
    KAFKA = True

    def setUp(self):
        super().setUp()
        self.db = self.database()
        self.topic = self.unique("users_cdc")

    def make(self, **kwargs):
        text = example("pipeline.yaml").replace("users_cdc_dlq", self.topic + "_dlq")
        return self.file(text.replace("name: users\n  checkpoint", "name: %s\n  checkpoint" % self.topic),
                         name=self.topic,
                         env={"KAFKA": self.kafka.bootstrap, "USERS_TOPIC": self.topic,
                              "TARGET": self.url()}, **kwargs)

    def url(self):
        return "postgresql://postgres:secret@127.0.0.1:%d/%s?sslmode=disable" % (self.pg.port, self.db.name)

    def produce(self, lines, partitions=4):
        path = write(self.path(self.unique("events") + ".jsonl"), lines)
        subprocess.run([os.environ["TAILRACE_BIN"], "produce", "--bootstrap", self.kafka.bootstrap, "--topic",
                        self.topic, "--file", path, "--key", "id", "--create-partitions", str(partitions)],
                       check=True, timeout=120, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def rows(self, sql):
        connection = self.db.connect()
        try:
            with connection.cursor() as cursor:
                cursor.execute(sql)
                return cursor.fetchall()
        finally:
            connection.close()

    def users(self):
        return self.rows("select id, name, email, op, event_time::text from migrated_users "
                         "where id < 10000000 order by id")

    def test_the_sample(self):
        with open(os.path.join(EXAMPLES, "events.jsonl")) as file:
            self.produce(file.read().splitlines(), partitions=1)
        run = self.make().start()
        wait_equal(lambda: self.assertEqual(self.users(), [
            (1, "Alice C", "alicec@example.com", "u", "2025-09-19 10:04:00"),
            (2, "Bob", "bob@example.com", "d", "2025-09-19 10:03:00")]), run, 60)
        # late by four minutes, and broken: to the topic of dead letters, as they came
        late = json.dumps(event("u", 1, "late", "late@example.com", START))
        self.produce([late, "{broken"], partitions=1)

        def letters():
            found = {m["raw"]: m["headers"] for m in self.dead_letters()}
            self.assertEqual(set(found), {late, "{broken"})
            self.assertEqual(found[late]["tailrace.reason"], "late")
            self.assertEqual(found["{broken"]["tailrace.reason"], "malformed")
            self.assertEqual(found["{broken"]["tailrace.position"], "6")
        wait_equal(letters, run, 60)
        self.assertEqual(self.users()[0][1], "Alice C")
        run.stop()

    def dead_letters(self):
        done = subprocess.run(["kcat", "-C", "-q", "-J", "-e", "-b", self.kafka.bootstrap, "-t",
                               self.topic + "_dlq", "-o", "beginning"], stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, timeout=60)
        found = []
        for line in done.stdout.decode().splitlines():
            message = json.loads(line)
            headers = message.get("headers") or []
            found.append({"raw": message["payload"], "headers": dict(zip(headers[0::2], headers[1::2]))})
        return found

    def test_kill_9_with_windows_open(self):
        partitions = 4
        events = load(100_000, 500, seed=23)
        self.produce(events + ["broken"], partitions)
        run = self.make()
        chance = random.Random(3)
        for _ in range(6):
            run.start()
            time.sleep(0.8 + chance.random())
            run.kill()
        run.start()
        model = Model()
        for offset, item in enumerate(events):
            model.add(item, offset)
        wait_equal(lambda: self.assertEqual(
            self.rows("select count(*) from users_history"), [(len(events),)]), run, 120)
        # an hour later on every partition: the windows close
        last = closing(400)
        self.produce(last, partitions)
        wanted = {key: value for key, value in model.counts.items()}

        def counts():
            found = {(start, op): number for start, op, number in self.rows(
                "select window_start::text, op, events from user_counts")}
            self.assertEqual(found, wanted)
        wait_equal(counts, run, 120)
        history = collections.Counter(self.rows(
            "select id, name, email, op, event_time::text from users_history where id < 10000000"))
        self.assertEqual(history, model.history)
        self.assertEqual(self.users(), model.current())
        run.stop()

    def test_two_processes_and_the_death_of_one(self):
        """Eight partitions shared through the consumer group, into one database: each event once."""
        text = example("pipeline.yaml").replace("users_cdc_dlq", self.topic + "_dlq")
        head, sinks = text.split("sink:\n", 1)
        users = sinks[:sinks.index("  - name: counts")]
        text = (head.replace("scan.startup.mode: earliest-offset",
                             "scan.startup.mode: earliest-offset\n  scan.assignment: group\n"
                             "  properties.session.timeout.ms: 6000\n"
                             "  properties.heartbeat.interval.ms: 1000")
                    .replace("late: dead-letter", "late: process")
                + "sink:\n" + users + "pipeline:\n  name: %s\n  checkpoint.interval: 500ms\n" % self.topic)
        env = {"KAFKA": self.kafka.bootstrap, "USERS_TOPIC": self.topic, "TARGET": self.url()}
        events = load(60_000, 300, seed=31)
        model = Model()
        for offset, item in enumerate(events):
            model.add(item, offset)
        self.produce(events[:1], 8)  # makes the topic
        done = 1
        mortal, survivor = [self.file(text, name=self.topic, env=env) for _ in range(2)]
        survivor.start()
        for place in ("before_commit", "mid_batch", "after_commit"):
            mortal.start(failpoint="sink.postgres.%s=kill@%d" % (place, random.randint(3, 8)))
            self.wait_shared(mortal, survivor, may_die=True)
            while mortal.running():
                self.assertLess(done, len(events), "over before it died")
                self.produce(events[done:done + 1000], 8)
                done += 1000
            self.assertEqual(mortal.wait_exit(), -signal.SIGKILL, mortal.tail())
            self.produce(events[done:done + 2000], 8)
            done = min(done + 2000, len(events))
            print("    %s: %d events, %d of them stored" % (
                place, done, self.rows("select count(*) from users_history")[0][0]))
        mortal.start()  # and back in an orderly way, while the last events come
        self.produce(events[done:], 8)
        self.wait_shared(mortal, survivor)
        wait_equal(lambda: self.assertEqual(
            self.rows("select count(*) from users_history"), [(len(events),)]), survivor, 90)
        mortal.stop()
        more = 0
        deadline = time.time() + 60
        while not self.has_partitions(survivor, 8):  # it takes over while it has much to do
            self.assertLess(time.time(), deadline, survivor.tail())
            self.produce([event("u", 50_000 + n, "more", "m@example.com", START + datetime.timedelta(hours=2))
                          for n in range(more, more + 2000)], 8)
            more += 2000
        wait_equal(lambda: self.assertEqual(
            self.rows("select count(*), count(distinct id) from users_history where id >= 50000"),
            [(more, more)]), survivor, 60)
        survivor.stop()
        # who waits for the dead one's session to end keeps what it has, and commits no offset too late
        self.assertNotIn("level=warn", survivor.text())
        history = collections.Counter(self.rows(
            "select id, name, email, op, event_time::text from users_history where id < 50000"))
        self.assertEqual(history, model.history)
        self.assertEqual([row for row in self.users() if row[0] < 50_000], model.current())

    def has_partitions(self, run, count):
        return "partitions=%d," % count in ((run.status() or {}).get("position") or "")

    def wait_shared(self, mortal, survivor, may_die=False):
        def shared():
            if may_die and not mortal.running():  # it had its half, and its failpoint, between two looks
                return True
            return all(run.alive() and self.has_partitions(run, 4) for run in (mortal, survivor))
        self.wait(shared, survivor, 60, "each to have half of the partitions")


if __name__ == "__main__":
    main()
