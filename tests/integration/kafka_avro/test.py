"""Avro from Kafka with schemas of a real registry (Apicurio, by Confluent's REST interface). The bytes are
written here by hand, so that writer and reader share nothing."""
import glob
import json
import os
import shutil
import struct
import subprocess
import tarfile
import urllib.error
import urllib.request

from tr import *
from tr import artifacts

VERSION = "2.6.13.Final"

def fill(folder):
    download = os.path.join(folder, "download")
    artifacts._maven(["dependency:copy", "-Dartifact=io.apicurio:apicurio-registry-app:%s:tar.gz:all"
                      % VERSION, "-DoutputDirectory=" + download])
    packed, = glob.glob(os.path.join(download, "*.tar.gz"))
    with tarfile.open(packed, "r:gz") as archive:
        archive.extractall(folder)
    shutil.rmtree(download)


class Registry:
    def __init__(self):
        home = artifacts._fetch("apicurio-" + VERSION, fill)
        self.jar, = glob.glob(home + "/**/*-runner.jar", recursive=True)
        self.port = free_port()
        self.base = "http://127.0.0.1:%d/apis/ccompat/v7" % self.port
        self.process = None
        self.schemas = []
        self.start()

    def start(self):
        self.process = spawn(["java", "-Xmx256m", "-Dquarkus.http.host=127.0.0.1",
                              "-Dquarkus.http.port=%d" % self.port, "-jar", self.jar],
                             stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL, cwd=temp_dir())

        def up():
            try:
                return self.call("/subjects") is not None
            except (urllib.error.URLError, OSError):
                return False
        wait_for(up, 60, "the registry to answer", interval=0.2)

    def call(self, path, body=None):
        request = urllib.request.Request(
            self.base + path, data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/vnd.schemaregistry.v1+json"})
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.load(answer)

    def register(self, subject, schema):
        return self.call("/subjects/%s/versions" % subject, {"schema": json.dumps(schema)})["id"]

    def stop(self):
        end(self.process)


# ---- writing Avro ---------------------------------------------------------------------------------


def number(value):
    value = (value << 1) ^ (value >> 63)
    out = bytearray()
    while value > 0x7f:
        out.append(value & 0x7f | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def text(value):
    raw = value.encode()
    return number(len(raw)) + raw


def optional(value):
    return number(0) if value is None else number(1) + value


def framed(schema_id, value):
    return struct.pack(">bI", 0, schema_id) + value


def record(name, *fields, namespace=None):
    made = {"type": "record", "name": name, "fields": [{"name": n, "type": t} for n, t in fields]}
    return dict(made, namespace=namespace) if namespace else made


class Avro(Case):
    PG = False
    KAFKA = True

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.registry = Registry()

    @classmethod
    def tearDownClass(cls):
        cls.registry.stop()
        super().tearDownClass()

    def send(self, topic, values, keys=None):
        data = b""
        for index, value in enumerate(values):
            key = keys[index] if keys else b"k"
            data += key + b"=KEY=" + value + b"=END="
        subprocess.run(["kcat", "-P", "-b", self.kafka.bootstrap, "-t", topic, "-p", "0", "-K", "=KEY=",
                        "-D", "=END=", "-Z"], input=data, check=True, timeout=60)

    def run_(self, topic, pipeline=None, **more):
        source = {"type": "kafka", "properties.bootstrap.servers": self.kafka.bootstrap, "topic": topic,
                  "format": "avro", "avro.schema-registry.url": self.registry.base, **more}
        self.db = self.path("out.db")
        return self.pipeline(source, {"type": "sqlite", "path": self.db}, pipeline=pipeline or {})

    def rows(self, sql):
        return sqlite_query(self.db, sql)

    def topic(self):
        name = self.unique("avro")
        cli("produce", "--bootstrap", self.kafka.bootstrap, "--topic", name, stdin="")
        return name

    def test_rows_and_a_newer_schema(self):
        topic = self.topic()
        one = self.registry.register(topic, record(
            "Row", ("id", "int"), ("name", ["null", "string"]),
            ("price", {"type": "bytes", "logicalType": "decimal", "precision": 8, "scale": 2}),
            ("day", {"type": "int", "logicalType": "date"})))
        run_ = self.run_(topic, **{"table": "t", "primary-keys": "id"}).start()
        self.send(topic, [framed(one, number(1) + optional(text("é")) + number(2) + b"\xcf\xc7"
                                 + number(19782))])
        self.wait(lambda: self.rows("select id, name, cast(price as text), day from t")
                  == [(1, "é", "-123.45", "2024-02-29")], run_)
        two = self.registry.register(topic, record(
            "Row", ("id", "long"), ("name", ["null", "string"]), ("tags", {
                "type": "array", "items": "string"})))
        self.send(topic, [framed(two, number(1 << 40) + optional(None)
                                 + number(2) + text("a") + text('"') + number(0))])
        self.wait(lambda: self.rows("select id, name, tags from t where id > 1")
                  == [(1 << 40, None, '["a","\\""]')], run_)
        run_.stop()

    def test_debezium_envelope(self):
        topic = self.topic()
        row = record("Value", ("id", "int"), ("v", ["null", "string"]))
        value = self.registry.register(topic + "-value", record(
            "Envelope", ("before", ["null", row]), ("after", ["null", "Value"]),
            ("source", record("Source", ("db", "string"), ("schema", "string"), ("table", "string"))),
            ("op", "string"), namespace="srv.public.orders"))
        key = self.registry.register(topic + "-key", record("Key", ("id", "int"),
                                                            namespace="srv.public.orders"))

        def change(op, number_, before, after):
            images = [optional(None if v is None else number(number_) + optional(text(v)))
                      for v in (before, after)]
            return framed(value, b"".join(images) + text("shop") + text("public") + text("orders")
                          + text(op))
        self.send(topic, [change("c", 1, None, "a"), change("c", 2, None, "b"),
                          change("u", 1, "a", "aa"), change("d", 2, "b", None)],
                  [framed(key, number(n)) for n in (1, 2, 1, 2)])
        run_ = self.run_(topic, **{"scan.bounded.mode": "latest-offset"}).start()
        self.assertEqual(run_.wait_exit(60), 0, run_.tail())
        self.assertEqual(self.rows("select id, v from orders"), [(1, "aa")])

    def test_what_is_not_of_the_registry_is_malformed(self):
        topic = self.topic()
        known = self.registry.register(topic, record("Row", ("id", "int")))
        self.send(topic, [framed(known, number(1)), b"{}", framed(99999999, number(2)),
                          framed(known, b""), framed(known, number(3))])
        run_ = self.run_(topic, **{"table": "t", "malformed": "skip",
                                   "scan.bounded.mode": "latest-offset"}).start()
        self.assertEqual(run_.wait_exit(60), 0, run_.tail())
        self.assertEqual(self.rows("select id from t order by id"), [(1,), (3,)])
        line = self.run_(topic, **{"table": "t"}).fail(4)
        self.assertIn("MESSAGE_SYNTAX", line)

    def test_registry_away(self):
        topic = self.topic()
        known = self.registry.register(topic, record("Row", ("id", "int")))
        self.send(topic, [framed(known, number(1))])
        gone = "http://127.0.0.1:%d" % free_port()
        self.run_(topic, **{"avro.schema-registry.url": gone}).fail(
            1, error="KAFKA_REGISTRY_UNREACHABLE")
        done = self.run_(topic, **{"avro.schema-registry.url": gone}).check()
        self.assertIn("KAFKA_REGISTRY_UNREACHABLE", done.stdout)
        self.run_(topic, **{"avro.schema-registry.url": self.registry.base + "/nowhere"}).fail()
        done = self.run_(topic).check()
        self.assertEqual(done.returncode, 0, done)
