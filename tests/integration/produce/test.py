"""tailrace produce: lines become messages, with keys, topics made, broken lines as they are."""
import os
import pty
import signal
import subprocess
import time

from tr import *
from tr.pipeline import binary, environment

CREATE = ('{"op":"c","before":null,"after":{"id":%d,"name":"n"},"timestamp":"2025-09-19T10:00:00Z"}')
DELETE = ('{"op":"d","before":{"id":%d,"name":"n"},"after":null,"timestamp":"2025-09-19T10:00:00Z"}')


class Produce(Case):
    PG = False
    KAFKA = True

    def raw(self, topic):
        """(partition, offset, key or None, value) as the broker holds them."""
        done = subprocess.run(
            ["kcat", "-C", "-q", "-e", "-Z", "-b", self.kafka.bootstrap, "-t", topic, "-o", "beginning",
             "-f", "%p\\x01%o\\x01%k\\x01%s\\x02"], stdout=subprocess.PIPE, check=True, timeout=60)
        found = [tuple(part.decode().split("\x01")) for part in done.stdout.split(b"\x02")[:-1]]
        return sorted((int(p), int(o), None if k == "NULL" else k, v) for p, o, k, v in found)

    def produce(self, topic, text, *args, code=0):
        done = cli("produce", "--bootstrap", self.kafka.bootstrap, "--topic", topic, *args, stdin=text)
        self.assertEqual(done.returncode, code, done)
        return done

    def test_lines_are_messages(self):
        topic = self.unique("lines")
        text = '{"a": 1}\n\nnot json\n  {"b":"é"}  \nlast without newline'
        done = self.produce(topic, text)
        self.assertEqual([m[3] for m in self.raw(topic)],
                         ['{"a": 1}', "not json", '  {"b":"é"}  ', "last without newline"])
        self.assertEqual([m[2] for m in self.raw(topic)], [None] * 4)
        self.assertIn("4 messages", done.stderr)

    def test_topic_is_made_with_partitions_and_kept(self):
        topic = self.unique("made")
        self.produce(topic, "", "--create-partitions", "5")
        self.assertEqual(self.kafka.partitions(topic), 5)
        self.produce(topic, "{}\n", "--create-partitions", "9")
        self.assertEqual(self.kafka.partitions(topic), 5)

    def test_keys(self):
        topic = self.unique("keys")
        lines = [CREATE % 1, DELETE % 2, '{"id":"x \\u00e9","after":{"id":9}}', '{"id":null}', '{"other":1}',
                 "not json", '{"id":{"b":[1,2.5]}}', '{"id":true}']
        done = self.produce(topic, "\n".join(lines) + "\n", "--key", "id")
        self.assertEqual([(m[2], m[3]) for m in self.raw(topic)],
                         list(zip(["1", "2", "x é", None, None, None, '{"b":[1,2.5]}', "true"], lines)))
        self.assertIn("3 without a key", done.stderr)

    def test_dotted_keys(self):
        topic = self.unique("dotted")
        lines = [CREATE % 1, DELETE % 2, '{"after.id":7}', '{"after":{"x":{"id":1}}}']
        self.produce(topic, "\n".join(lines), "--key", "after.id")
        self.assertEqual([m[2] for m in self.raw(topic)], ["1", "2", "7", None])

    def test_keys_choose_the_partition(self):
        """The same key, the same partition, and the one that a Java producer takes (murmur2)."""
        topic = self.unique("hash")
        self.produce(topic, "".join(CREATE % (i % 4) + "\n" for i in range(40)), "--key", "id",
                     "--create-partitions", "4")
        place = {}
        for partition, _, key, _ in self.raw(topic):
            place.setdefault(key, set()).add(partition)
        self.assertTrue(all(len(p) == 1 for p in place.values()), place)
        self.assertEqual(len(place), 4)

    def test_file_and_sleep(self):
        topic = self.unique("file")
        path = self.path("events.jsonl")
        with open(path, "w") as out:
            out.write("{}\n" * 3)
        began = time.monotonic()
        self.produce(topic, None, "--file", path, "--sleep", "0.2")
        self.assertGreaterEqual(time.monotonic() - began, 0.6)
        self.assertEqual(len(self.raw(topic)), 3)

    def test_interrupted(self):
        """Ctrl-C on a reading from a pipe that stays open: what was read is sent and told."""
        topic = self.unique("int")
        child = spawn([binary(), "produce", "--bootstrap", self.kafka.bootstrap, "--topic", topic],
                      stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                      env=environment(self.dir))
        child.stdin.write(b'{"n":1}\n{"n":2}\n')
        child.stdin.flush()
        self.wait(lambda: len(self.raw(topic)) == 2 if topic in self.kafka.names(topic) else False)
        child.send_signal(signal.SIGINT)
        _, err = child.communicate(timeout=60)
        self.assertEqual(child.returncode, 130, err)
        self.assertIn(b"2 messages", err)

    def test_progress_on_a_terminal(self):
        topic = self.unique("tty")
        main, other = pty.openpty()
        child = spawn([binary(), "produce", "--bootstrap", self.kafka.bootstrap, "--topic", topic],
                      stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=other,
                      env=environment(self.dir))
        os.close(other)
        child.stdin.write(b"{}\n" * 100)
        child.stdin.close()
        text = b""
        while True:
            try:
                part = os.read(main, 4096)
            except OSError:
                break
            if not part:
                break
            text += part
        os.close(main)
        self.assertEqual(child.wait(60), 0, text)
        self.assertIn(b"100 sent, 100 acknowledged, 0 failed", text)

    def test_refusals(self):
        done = cli("produce", "--topic", "t", stdin="")
        self.assertEqual(done.returncode, 2, done)
        done = self.produce(self.unique("r"), "{}", "--sleep", "abc", code=2)
        self.assertIn("--sleep", done.stderr)
        done = self.produce(self.unique("r"), "{}", "-X", "no.such=1", code=2)
        self.assertIn("KAFKA_PROPERTY", done.stderr)
        done = self.produce(self.unique("r"), None, "--file", self.path("absent"), code=2)
        self.assertIn("absent", done.stderr)
        done = cli("produce", "--bootstrap", "127.0.0.1:%d" % free_port(), "--topic", "t", stdin="{}",
                   timeout=60)
        self.assertEqual(done.returncode, 1, done)
        self.assertIn("KAFKA_UNREACHABLE", done.stderr)

    def test_messages_that_are_refused_count(self):
        topic = self.unique("big")
        done = self.produce(topic, '{"v":"%s"}\n{}\n' % ("x" * 2000), "-X", "message.max.bytes=1500",
                            code=4)
        self.assertIn("KAFKA_MESSAGE_TOO_LARGE", done.stderr)
