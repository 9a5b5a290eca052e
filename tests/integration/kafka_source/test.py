"""The Kafka source against a real broker: where it begins, what it finds, what it does with broken
messages, lost offsets, kills, a broker that goes away, and a group of processes."""
import json
import os
import subprocess
import threading
import time

from tr import *
from tr.artifacts import kafka_libs

RETRY = {"restart-strategy.type": "fixed-delay", "restart-strategy.fixed-delay.delay": "300ms",
         "restart-strategy.fixed-delay.attempts": 1000}


def event(number, op="c", **more):
    row = dict({"id": number, "name": "n%d" % number}, **more)
    return json.dumps({"op": op, "before": row if op == "d" else None,
                       "after": None if op == "d" else row, "timestamp": "2025-09-19T10:00:00Z"})


def row(number):
    return json.dumps({"id": number})


class Source(Case):
    PG = False
    KAFKA = True
    SECONDS = 150

    # ---- the broker ----

    def bootstrap(self):
        return self.kafka.bootstrap

    def topic(self, partitions=1, prefix="t"):
        name = self.unique(prefix)
        self.send(name, [], args=("--create-partitions", str(partitions)))
        return name

    def send(self, topic, lines, partition=None, args=()):
        text = "".join(line + "\n" for line in lines)
        if partition is None:
            done = cli("produce", "--bootstrap", self.bootstrap(), "--topic", topic, *args, stdin=text)
            self.assertEqual(done.returncode, 0, done)
            return
        run(["kcat", "-P", "-b", self.bootstrap(), "-t", topic, "-p", str(partition)], input=text)

    def tool(self, name, *args):
        return run(["java", "-Xmx128m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp",
                    kafka_libs() + "/*", "org.apache.kafka.tools." + name, "--bootstrap-server",
                    self.bootstrap()] + list(args), timeout=120).stdout

    def delete_before(self, topic, offsets):
        path = self.path("offsets.json")
        with open(path, "w") as out:
            json.dump({"version": 1, "partitions": [
                {"topic": topic, "partition": p, "offset": o} for p, o in offsets.items()]}, out)
        self.tool("DeleteRecordsCommand", "--offset-json-file", path)

    def committed(self, group, topic):
        text = self.tool("consumer.group.ConsumerGroupCommand", "--describe", "--group", group)
        found = {}
        for line in text.splitlines():
            fields = line.split()
            if len(fields) > 3 and fields[1] == topic and fields[3].isdigit():
                found[int(fields[2])] = int(fields[3])
        return found

    # ---- pipelines ----

    def source(self, topic=None, **more):
        return dict({"type": "kafka", "properties.bootstrap.servers": self.bootstrap(),
                     "format": "json", "table": "t", "primary-keys": "id",
                     **({"topic": topic} if topic else {})}, **more)

    def to_stdout(self, topic=None, pipeline=None, **more):
        return self.pipeline(self.source(topic, **more), {"type": "stdout"}, pipeline=pipeline or {})

    def to_sqlite(self, topic=None, pipeline=None, name=None, **more):
        self.db_path = self.path("out.db")
        return self.pipeline(self.source(topic, **more), {"type": "sqlite", "path": self.db_path},
                             pipeline=pipeline or {}, name=name)

    def bounded(self, topic=None, **more):
        """Ids of a bounded run, in order."""
        run_ = self.to_stdout(topic, **dict({"scan.bounded.mode": "latest-offset"}, **more)).start()
        self.assertEqual(run_.wait_exit(60), 0, run_.tail())
        return self.ids(run_)

    @staticmethod
    def ids(run_):
        return [json.loads(line)["id"] for line in run_.output().splitlines()]

    def rows(self):
        return [r[0] for r in sqlite_query(self.db_path, "select id from t order by id")]

    def wait_ids(self, run_, expected, timeout=40):
        self.wait(lambda: sorted(self.ids(run_)) == sorted(expected), run_, timeout,
                  "the rows %s" % (expected if len(expected) < 20 else len(expected)))


class Startup(Source):
    def test_bounded_reads_all_partitions_and_ends(self):
        topic = self.topic(3)
        for partition in range(3):
            self.send(topic, [row(partition * 10 + i) for i in range(5)], partition)
        self.assertEqual(sorted(self.bounded(topic)), [p * 10 + i for p in range(3) for i in range(5)])

    def test_bounded_of_an_empty_topic_ends(self):
        self.assertEqual(self.bounded(self.topic(2)), [])

    def test_earliest(self):
        topic = self.topic()
        self.send(topic, [row(1), row(2)])
        run_ = self.to_stdout(topic, **{"scan.startup.mode": "earliest"}).start()
        self.wait_ids(run_, [1, 2])
        self.send(topic, [row(3)])
        self.wait_ids(run_, [1, 2, 3])
        run_.stop()

    def test_latest_is_decided_once(self):
        """Messages that come while it is down are not skipped by the mode of the first start."""
        topic = self.topic(2)
        self.send(topic, [row(1)], 0)
        run_ = self.to_sqlite(topic, **{"scan.startup.mode": "latest-offset"}).start()
        self.wait_streaming(run_)
        self.wait(lambda: len(sqlite_query(self.db_path, "select * from tailrace_position")) > 0, run_)
        run_.kill()
        self.send(topic, [row(2)], 0)
        self.send(topic, [row(3)], 1)
        run_.start()
        self.wait(lambda: self.rows() == [2, 3], run_)
        run_.stop()

    def test_timestamp(self):
        topic = self.topic(2)
        self.send(topic, [row(1)], 0)
        self.send(topic, [row(2)], 1)
        time.sleep(0.05)
        now_ms = int(time.time() * 1000)
        time.sleep(0.05)
        self.send(topic, [row(3)], 0)
        self.assertEqual(self.bounded(topic, **{"scan.startup.mode": "timestamp",
                                                "scan.startup.timestamp-millis": now_ms}), [3])

    def test_specific_offsets(self):
        topic = self.topic(2)
        self.send(topic, [row(i) for i in range(4)], 0)
        self.send(topic, [row(10 + i) for i in range(3)], 1)
        self.assertEqual(sorted(self.bounded(topic, **{
            "scan.startup.mode": "specific-offsets",
            "scan.startup.specific-offsets": "partition:0,offset:2;partition:1,offset:3"})), [2, 3])

    def test_group_offsets(self):
        topic, group = self.topic(), self.unique("g")
        self.send(topic, [row(i) for i in range(4)])
        more = {"scan.startup.mode": "group-offsets", "properties.group.id": group}
        run_ = self.to_stdout(topic, **more)
        self.assertIn("KAFKA_GROUP_OFFSETS", run_.fail(2))
        self.tool("consumer.group.ConsumerGroupCommand", "--reset-offsets", "--group", group, "--topic",
                  topic + ":0", "--to-offset", "3", "--execute")
        self.assertEqual(self.bounded(topic, **more), [3])
        other = dict(more, **{"properties.group.id": self.unique("g"),
                              "properties.auto.offset.reset": "earliest"})
        self.assertEqual(self.bounded(topic, **other), [0, 1, 2, 3])

    def test_csv(self):
        topic = self.topic()
        self.send(topic, ["1,one", '2,"two, too"', "3,"])
        csv = {"format": "csv", "columns": ["id INT NOT NULL", "name STRING"]}
        self.to_sqlite(topic, **csv).fail(2, error="KAFKA_SOURCE_CONFIG")  # a header that is none
        run_ = self.to_sqlite(topic, **dict(csv, **{"csv.header": False, "scan.bounded.mode": "latest-offset"}))
        run_.start()
        self.assertEqual(run_.wait_exit(60), 0, run_.tail())
        self.assertEqual(sqlite_query(self.db_path, "select id, name from t order by id"),
                         [(1, "one"), (2, "two, too"), (3, None)])

    def test_pattern_and_lists(self):
        prefix = self.unique("pat")
        for number, suffix in enumerate(("_a", "_b", "_c")):
            self.send(prefix + suffix, [row(number)])
        self.assertEqual(sorted(self.bounded(None, **{"topic-pattern": prefix + "_[ab]"})), [0, 1])
        self.assertEqual(sorted(self.bounded("%s_a;%s_c" % (prefix, prefix))), [0, 2])
        self.assertEqual(sorted(self.bounded([prefix + "_b", prefix + "_c"])), [1, 2])

    def test_transactions(self):
        """Aborted messages are not read, and a bounded run ends behind the markers that nobody sees."""
        topic, name = self.topic(), self.unique("x")
        for number, commit in ((1, True), (2, False), (3, True)):
            child = spawn(["kcat", "-P", "-b", self.bootstrap(), "-t", topic, "-X",
                           "transactional.id=" + name],  # the next one ends what is left open
                          stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            # kcat reads in blocks: an open transaction needs more than one to be seen
            child.stdin.write((row(number) + "\n").encode() * (1 if commit else 30000))
            if commit:
                child.stdin.close()
            else:
                child.stdin.flush()
                self.wait(lambda: len(self.kafka.read(topic, committed=False)) > 1)
                child.send_signal(2)
                child.stdin.close()
            child.wait(60)
        self.assertEqual(self.bounded(topic), [1, 3])
        self.assertEqual(set(self.bounded(topic, **{"properties.isolation.level": "read_uncommitted"})),
                         {1, 2, 3})

    def test_offsets_are_committed_to_the_group(self):
        topic, group = self.topic(), self.unique("g")
        self.send(topic, [row(i) for i in range(7)])
        run_ = self.to_stdout(topic, **{"properties.group.id": group}).start()
        self.wait_ids(run_, list(range(7)))
        self.wait(lambda: self.committed(group, topic) == {0: 7}, run_, 60)
        run_.stop()

    def test_until_caught_up(self):
        topic = self.topic(2)
        self.send(topic, [row(1)], 0)
        run_ = self.to_stdout(topic).start(args=("--until-caught-up",))
        self.assertEqual(run_.wait_exit(60), 0, run_.tail())
        self.assertEqual(self.ids(run_), [1])


class Discovery(Source):
    SOON = {"scan.topic-partition-discovery.interval": "200ms"}

    def test_new_partition_is_read_from_its_first_message(self):
        topic = self.topic(1)
        run_ = self.to_stdout(topic, **dict(self.SOON, **{"scan.startup.mode": "latest-offset"})).start()
        self.wait_streaming(run_)
        self.tool("TopicCommand", "--alter", "--topic", topic, "--partitions", "3")
        self.send(topic, [row(1)], 1)
        self.send(topic, [row(2)], 2)
        self.wait_ids(run_, [1, 2])
        self.send(topic, [row(3)], 0)
        self.wait_ids(run_, [1, 2, 3])
        run_.stop()

    def test_new_topic_of_a_pattern(self):
        prefix = self.unique("np")
        run_ = self.to_stdout(None, **dict(self.SOON, **{"topic-pattern": prefix + ".*",
                                                         "scan.startup.mode": "latest-offset"})).start()
        self.wait_streaming(run_)
        self.send(prefix + "_later", [row(1)])
        self.wait_ids(run_, [1])
        run_.stop()

    def test_missing_topic(self):
        line = self.to_stdout(self.unique("none")).fail(2)
        self.assertIn("KAFKA_TOPIC_MISSING", line)

    def test_deleted_while_read(self):
        topic = self.topic(1)
        self.send(topic, [row(1)])
        run_ = self.to_stdout(topic, **{"properties.topic.metadata.refresh.interval.ms": "200"}).start()
        self.wait_ids(run_, [1])
        self.tool("TopicCommand", "--delete", "--topic", topic)
        self.assertEqual(run_.wait_exit(60), 2, run_.tail())
        self.assertIn("KAFKA_TOPIC_MISSING", run_.last_line())


class Malformed(Source):
    LINES = [row(1), "not json", row(2), '[1,2]', row(3)]

    def test_skip(self):
        topic = self.topic()
        self.send(topic, self.LINES)
        run_ = self.to_stdout(topic, malformed="skip").start()
        self.wait_ids(run_, [1, 2, 3])
        self.wait(lambda: "tailrace_messages_skipped_total{pipeline=\"%s\"} 2" % run_.name
                  in run_.cli("metrics", run_.name).stdout, run_)
        run_.stop()

    def test_fail_names_the_place(self):
        topic = self.topic()
        self.send(topic, self.LINES)
        line = self.to_stdout(topic, malformed="fail").fail(4)
        self.assertIn("MESSAGE_SYNTAX", line)
        self.assertIn("%s/0 offset 1" % topic, line)
        self.assertNotIn("not json", line.replace("is not JSON", ""))

    def test_fail_is_the_default_and_goes_on_after_it(self):
        """What stands before the broken message is delivered; nothing behind it is."""
        topic = self.topic()
        self.send(topic, self.LINES)
        run_ = self.to_sqlite(topic)
        run_.fail(4, error="MESSAGE_SYNTAX")
        with open(run_.file) as file:
            spec = json.load(file)
        spec["source"]["malformed"] = "skip"
        with open(run_.file, "w") as file:
            json.dump(spec, file)
        run_.start()
        self.wait(lambda: self.rows() == [1, 2, 3], run_)
        run_.stop()


class Lost(Source):
    def test_retention_took_the_position(self):
        topic = self.topic()
        self.send(topic, [row(i) for i in range(3)])
        run_ = self.to_sqlite(topic).start()
        self.wait(lambda: self.rows() == [0, 1, 2], run_)
        run_.stop()
        self.send(topic, [row(i) for i in range(3, 9)])
        self.delete_before(topic, {0: 7})
        line = run_.fail(3, error="KAFKA_POSITION_LOST")
        self.assertIn("offsets 3 to 6 are gone", line)
        self.assertEqual(self.rows(), [0, 1, 2])

    def test_position_at_the_new_beginning_is_fine(self):
        topic = self.topic()
        self.send(topic, [row(i) for i in range(3)])
        run_ = self.to_sqlite(topic).start()
        self.wait(lambda: self.rows() == [0, 1, 2], run_)
        run_.stop()
        self.delete_before(topic, {0: 3})
        self.send(topic, [row(3)])
        run_.start()
        self.wait(lambda: self.rows() == [0, 1, 2, 3], run_)
        run_.stop()

    def test_topic_made_anew(self):
        topic = self.topic()
        self.send(topic, [row(i) for i in range(5)])
        run_ = self.to_sqlite(topic).start()
        self.wait(lambda: len(self.rows()) == 5, run_)
        run_.stop()
        self.tool("TopicCommand", "--delete", "--topic", topic)
        self.wait(lambda: topic not in self.kafka.names(topic))
        self.send(topic, [row(7)])
        line = run_.fail(3, error="KAFKA_POSITION_BEYOND")
        self.assertIn("made anew", line)

    def test_check_finds_what_is_wrong(self):
        topic, group = self.topic(), self.unique("g")
        self.send(topic, [row(i) for i in range(6)])
        self.tool("consumer.group.ConsumerGroupCommand", "--reset-offsets", "--group", group, "--topic",
                  topic + ":0", "--to-offset", "1", "--execute")
        more = {"scan.startup.mode": "group-offsets", "properties.group.id": group}
        done = self.to_stdout(topic, **more).check()
        self.assertEqual(done.returncode, 0, done)
        self.assertIn("1 partition, 6 messages", done.stdout)
        self.delete_before(topic, {0: 4})
        done = self.to_stdout(topic, **more).check()
        self.assertEqual(done.returncode, 3, done)
        self.assertIn("KAFKA_POSITION_LOST", done.stdout)
        done = self.to_stdout(self.unique("none")).check()
        self.assertIn("KAFKA_TOPIC_MISSING", done.stdout)


class Crash(Source):
    def delivered(self):
        try:
            return len(self.rows())
        except AssertionError:  # no table yet
            return 0

    def test_kills_deliver_each_message_once(self):
        """Into SQLite without a key: a row that came twice would be seen."""
        topic = self.topic(4)
        run_ = self.to_sqlite(topic, **{"primary-keys": []})
        total, sent = 6000, 0
        for cycle in range(5):
            run_.start()
            for part in range(4):
                self.send(topic, [row(sent + i) for i in range(300)], part)
                sent += 300
            # in the middle of the last lines as a rule: they need not be there
            self.wait(lambda: len(self.rows()) > cycle * 1200, run_, 60)
            run_.kill()
        self.assertEqual(sent, total)
        run_.start()
        self.wait_streaming(run_)
        self.wait(lambda: len(self.rows()) >= total, run_, 60)
        self.assertEqual(self.rows(), list(range(total)))
        run_.stop()

    def test_killed_while_it_reads_a_backlog(self):
        topic = self.topic(3)
        total = 30000
        self.send(topic, [row(i) for i in range(total)])
        run_ = self.to_sqlite(topic, **{"primary-keys": []})
        for passage in (3, 2, 4):
            # under load it may need fewer commits than that
            run_.start(failpoint="sink.sqlite.before_commit=kill@%d" % passage)
            wait_for(lambda: not run_.running() or self.delivered() >= total, 60)
            run_.kill()
        run_.start()
        self.wait_streaming(run_)
        self.wait(lambda: len(self.rows()) >= total, run_, 90)
        self.assertEqual(self.rows(), list(range(total)))
        run_.stop()


class Away(Source):
    """A broker of its own, that is stopped and started."""
    KAFKA = False

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.broker = Kafka(sasl=("alice", "sasl-pass"))
        cls.kafka = Topics(cls.broker.bootstrap)

    @classmethod
    def tearDownClass(cls):
        cls.broker.close()
        super().tearDownClass()

    def test_restart_in_mid_stream(self):
        topic = self.topic(2)
        run_ = self.to_sqlite(topic, **{"primary-keys": []}).start()
        self.send(topic, [row(i) for i in range(100)])
        self.wait(lambda: len(self.rows()) == 100, run_)
        self.broker.stop()
        time.sleep(1)
        self.broker.start()
        self.send(topic, [row(i) for i in range(100, 200)])
        self.wait(lambda: len(self.rows()) >= 200, run_, 60)
        self.assertEqual(self.rows(), list(range(200)))
        run_.stop()

    def test_away_for_long_is_a_transient_failure(self):
        topic = self.topic()
        run_ = self.to_sqlite(topic, pipeline=RETRY, **{"scan.brokers-down.timeout": "2s",
                                                        "scan.connect.timeout": "2s"}).start()
        self.send(topic, [row(1)])
        self.wait(lambda: self.rows() == [1], run_)
        self.broker.stop()
        self.wait(lambda: (run_.status() or {}).get("restarts", 0) > 0, run_, 60)
        self.assertEqual(run_.status()["last_error"]["code"], "KAFKA_UNREACHABLE")
        self.broker.start()
        self.send(topic, [row(2)])
        self.wait(lambda: self.rows() == [1, 2], run_, 60)
        run_.stop()

    def test_unreachable_at_start(self):
        self.to_stdout("t", **{"properties.bootstrap.servers": "127.0.0.1:%d" % free_port(),
                               "scan.connect.timeout": "1s"}).fail(1, error="KAFKA_UNREACHABLE")

    def test_wrong_password_is_final(self):
        sasl = {"properties.bootstrap.servers": "127.0.0.1:%d" % self.broker.sasl_port,
                "properties.security.protocol": "SASL_PLAINTEXT", "properties.sasl.mechanism": "PLAIN",
                "properties.sasl.username": "alice"}
        topic = self.topic()
        run_ = self.to_stdout(topic, pipeline=RETRY, **dict(sasl, **{"properties.sasl.password": "no"}))
        line = run_.fail(2, error="KAFKA_AUTH")
        self.assertNotIn("sasl-pass", run_.all_text() + line)
        run_ = self.to_stdout(topic, **dict(sasl, **{"properties.sasl.password": "sasl-pass",
                                                     "scan.bounded.mode": "latest-offset"})).start()
        self.assertEqual(run_.wait_exit(60), 0, run_.tail())


class Group(Source):
    """Several processes of one pipeline on the partitions of one topic. Each writes to an output of its
    own, so that what was delivered is the sum of them."""
    SECONDS = 240

    def setUp(self):
        super().setUp()
        self.group = self.unique("grp")
        self.target = self.topic(8)
        self.sent = 0
        self.members = []

    def member(self, number):
        run_ = self.pipeline(
            self.source(self.target, **{"scan.assignment": "group", "properties.group.id": self.group,
                                        "properties.session.timeout.ms": "6000"}),
            {"type": "stdout"}, name=self.group, state_dir=self.path("state%d" % number),
            pipeline=dict(RETRY))
        self.members.append(run_)
        return run_

    def found(self):
        found = []
        for run_ in self.members:
            for index in range(1, run_.count + 1):
                with open(os.path.join(run_.dir, "stdout.%d" % index)) as out:
                    found += [json.loads(line)["id"] for line in out if line.endswith("\n")]
        return sorted(found)

    def feed(self, count):
        for partition in range(8):
            self.send(self.target, [row(self.sent + i) for i in range(count)], partition)
            self.sent += count

    def partitions_of(self, run_):
        text = (run_.status() or {}).get("position", "")
        return int(text.split("partitions=")[1].split(",")[0]) if "partitions=" in text else 0

    def wait_partitions(self, *counts):
        self.wait(lambda: [self.partitions_of(run_) for run_, _ in counts] == [n for _, n in counts],
                  counts[0][0], 60, "the partitions to be shared")

    def wait_each_once(self, run_):
        self.wait(lambda: len(set(self.found())) >= self.sent, run_, 60)
        found = self.found()
        if any("KAFKA_ASSIGNMENT_LOST" in member.all_text() for member in self.members):
            # A process that could not keep its session, on a machine with too much to do, starts over;
            # to a sink without positions messages then come again, which is what is promised.
            print("    a session was lost: %d messages came again" % (len(found) - self.sent))
            found = sorted(set(found))
        self.assertEqual(found, list(range(self.sent)))

    def test_shared_and_given_back_in_order(self):
        """A partition that moves in order brings no message twice, even to a sink without positions."""
        one, two = self.member(1).start(), self.member(2)
        self.feed(50)
        self.wait_each_once(one)
        two.start()
        self.wait_partitions((one, 4), (two, 4))
        self.feed(50)
        self.wait_each_once(one)
        two.stop()
        self.wait_partitions((one, 8))
        self.feed(50)
        self.wait_each_once(one)
        one.stop()

    def test_moves_under_load(self):
        one, two = self.member(1).start(), self.member(2)
        self.wait_partitions((one, 8))
        ended = []

        def load():
            for _ in range(6):
                self.feed(200)
            ended.append(True)
        thread = threading.Thread(target=load)
        thread.start()
        two.start()
        self.wait_partitions((one, 4), (two, 4))
        thread.join()
        self.assertTrue(ended)
        one.stop()
        self.wait_partitions((two, 8))
        self.wait_each_once(two)
        two.stop()

    def test_one_is_killed(self):
        """Nothing is lost; what the dead one had not committed comes again to a sink without positions."""
        one, two = self.member(1).start(), self.member(2).start()
        self.wait_partitions((one, 4), (two, 4))
        self.feed(300)
        two.kill()
        self.feed(300)
        self.wait(lambda: set(self.found()) == set(range(self.sent)), one, 90)
        two.start()
        self.wait_partitions((one, 4), (two, 4))
        self.feed(100)
        self.wait(lambda: set(self.found()) == set(range(self.sent)), one, 60)
        one.stop()
        two.stop()
