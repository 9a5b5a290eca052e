"""A Kafka Connect worker with Debezium's PostgreSQL source and JDBC sink, in three tunings. What is measured
with it is in debezium.py.

The jars come from Maven (debezium-pom.xml) and are kept in the tests' cache by version."""
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "tests", "harness"))
from tr import artifacts  # noqa: E402
from tr.common import (Dead, end, free_port, proc_cpu_seconds, proc_status, skip, spawn,  # noqa: E402
                       temp_dir, wait_for)

VERSION = "3.5.0.Final"
CONNECT_VERSION = "4.3.1"
CACHE_NAME = "debezium-%s-connect-%s" % (VERSION, CONNECT_VERSION)
# What a plugin must take from the worker, and not bring along.
OF_THE_WORKER = ("com.fasterxml.jackson.core,org.apache.kafka,org.slf4j,com.github.luben,org.lz4,"
                 "at.yawk.lz4,org.xerial.snappy")

START_SECONDS = 120
REQUEST_SECONDS = 60
SETTLE_SECONDS = 60
STOP_SECONDS = 20
PASSWORD = "secret"

# ---- the tunings ---------------------------------------------------------------------------------

JSON = "org.apache.kafka.connect.json.JsonConverter"

# What connect-distributed.properties of the distribution says, and its scripts give to the JVM.
SHIPPED_WORKER = {
    "key.converter": JSON, "key.converter.schemas.enable": "true",
    "value.converter": JSON, "value.converter.schemas.enable": "true",
    "offset.flush.interval.ms": "10000",
}
SHIPPED_JVM = ["-Xms256M", "-Xmx2G", "-server", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20",
               "-XX:InitiatingHeapOccupancyPercent=35", "-XX:+ExplicitGCInvokesConcurrent",
               "-Djava.awt.headless=true"]

TUNINGS = {
    "tuned": {
        "jvm": ["-Xms1g", "-Xmx1g", "-XX:+UseParallelGC", "-Djava.awt.headless=true"],
        "worker": dict(SHIPPED_WORKER, **{
            "producer.compression.type": "lz4",
            "producer.linger.ms": "10",
            "producer.batch.size": "262144",
            "producer.buffer.memory": "67108864",
            "consumer.max.poll.records": "5000",
            "consumer.fetch.min.bytes": "1",
        }),
        "source": {
            "poll.interval.ms": "10",
            # max.batch.size and max.queue.size stay as they are: four times of both was measured to be
            # 15 % slower and to take twice the memory.
            # As patient as by default (60 s) when a slot is still in use after a resumption, but
            # without sleeping for 10 s each time.
            "slot.retry.delay.ms": "200",
            "slot.max.retries": "300",
        },
        # Without the schema in every message; the JDBC sink cannot do without.
        "source-to-kafka": {"key.converter": JSON, "key.converter.schemas.enable": "false",
                            "value.converter": JSON, "value.converter.schemas.enable": "false"},
        # The row instead of the whole envelope, so that a message is a quarter as long (its schema is in it):
        # half the CPU, measured. A delete becomes a tombstone, which the sink understands.
        "source-to-sink": {
            "transforms": "row",
            "transforms.row.type": "io.debezium.transforms.ExtractNewRecordState",
            "transforms.row.delete.tombstone.handling.mode": "tombstone",
        },
        # dialect.postgres.unnest.insert.enabled was measured too: no difference beside the rewriting.
        "sink": {"batch.size": "5000"},
        "jdbc-url": "?reWriteBatchedInserts=true",
    },
    "as-shipped": {
        "jvm": SHIPPED_JVM,
        "worker": SHIPPED_WORKER,
        "source": {},
        "source-to-kafka": {},
        "source-to-sink": {},
        "sink": {},
        "jdbc-url": "",
    },
}
# For latency alone: no waiting for a fuller batch, which costs a tenth more CPU under load.
TUNINGS["tuned-latency"] = dict(TUNINGS["tuned"], worker=dict(TUNINGS["tuned"]["worker"],
                                                              **{"producer.linger.ms": "0"}))

WORKER = """bootstrap.servers={bootstrap}
group.id=connect
listeners=http://127.0.0.1:{port}
rest.advertised.host.name=127.0.0.1
rest.advertised.port={port}
config.storage.topic=connect-configs
offset.storage.topic=connect-offsets
status.storage.topic=connect-status
config.storage.replication.factor=1
offset.storage.replication.factor=1
status.storage.replication.factor=1
offset.storage.partitions=5
plugin.path={plugins}
plugin.discovery=service_load
connector.client.config.override.policy=All
"""

LOG4J = """<Configuration status="ERROR"><Appenders><Console name="c" target="SYSTEM_OUT">
<PatternLayout pattern="%d %p %m %c%n"/></Console></Appenders>
<Loggers><Root level="WARN"><AppenderRef ref="c"/></Root></Loggers></Configuration>
"""


# ---- artifacts -----------------------------------------------------------------------------------


def _fill(folder):
    """worker/ is the class path of Connect; plugins/source and plugins/sink are its plugins."""
    work = os.path.join(folder, "work")
    os.mkdir(work)
    shutil.copy(os.path.join(HERE, "debezium-pom.xml"), os.path.join(work, "pom.xml"))
    for profile, place in (("connect", "worker"), ("source", "plugins/source"),
                           ("sink", "plugins/sink")):
        artifacts._maven(["dependency:copy-dependencies", "-f", os.path.join(work, "pom.xml"),
                          "-P", profile, "-DincludeScope=runtime",
                          "-DoutputDirectory=" + os.path.join(folder, place)] +
                         (["-DexcludeGroupIds=" + OF_THE_WORKER] if profile != "connect" else []))
    shutil.rmtree(work)


def debezium_home():
    if shutil.which("java") is None:
        skip("java is not installed, so Kafka Connect cannot be started")
    return artifacts._fetch(CACHE_NAME, _fill)


# ---- Kafka Connect -------------------------------------------------------------------------------


class Debezium:
    """A distributed worker with both of Debezium's connectors. heap: an -Xmx in place of the tuning's.
    changes: a dict that changes parts of the tuning, for example {"source": {"poll.interval.ms": "1"}}."""

    def __init__(self, bootstrap, tuning="tuned", heap=None, changes=None):
        self.home = debezium_home()
        self.dir = temp_dir("tailrace-debezium-")
        self.port = free_port()
        self.tuning = dict(TUNINGS[tuning])
        for part, values in (changes or {}).items():
            old = self.tuning[part]
            self.tuning[part] = dict(old, **values) if isinstance(old, dict) else values
        with open(os.path.join(self.dir, "worker.properties"), "w") as out:
            out.write(WORKER.format(bootstrap=bootstrap, port=self.port,
                                    plugins=os.path.join(self.home, "plugins")))
            out.writelines("%s=%s\n" % item for item in self.tuning["worker"].items())
        with open(os.path.join(self.dir, "log4j2.xml"), "w") as out:
            out.write(LOG4J)
        jvm = list(self.tuning["jvm"])
        if heap:
            jvm = [f for f in jvm if not f.startswith(("-Xms", "-Xmx"))] + ["-Xms" + heap, "-Xmx" + heap]
        self.log = os.path.join(self.dir, "connect.log")
        began = time.monotonic()
        with open(self.log, "wb") as out:
            self.process = spawn(
                ["java"] + jvm + ["-Dlog4j2.configurationFile=" + os.path.join(self.dir, "log4j2.xml"),
                                  "-cp", os.path.join(self.home, "worker", "*"),
                                  "org.apache.kafka.connect.cli.ConnectDistributed",
                                  os.path.join(self.dir, "worker.properties")],
                stdout=out, stderr=out, stdin=subprocess.DEVNULL, cwd=self.dir,
                env={k: v for k, v in os.environ.items() if not k.startswith(("KAFKA_", "PG"))})
        try:
            wait_for(self._up, START_SECONDS, "Kafka Connect to answer", interval=0.1)
        except BaseException:
            self.close()
            raise
        self.start_seconds = time.monotonic() - began
        self.start_cpu_seconds = self.cpu_seconds()

    def alive(self):
        if self.process.poll() is not None:
            raise Dead("Kafka Connect ended with %s\n%s" % (self.process.returncode, self.log_text()))

    def log_text(self):
        with open(self.log, errors="replace") as file:
            return file.read()[-3000:]

    def _up(self):
        """It answers requests about connectors only when it has joined its group."""
        self.alive()
        try:
            return self._rest("GET", "/connectors") == []
        except (urllib.error.URLError, OSError):
            return False

    def _rest(self, method, path, body=None):
        request = urllib.request.Request(
            "http://127.0.0.1:%d%s" % (self.port, path), method=method,
            data=json.dumps(body).encode() if body is not None else None,
            headers={"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=REQUEST_SECONDS) as answer:
                text = answer.read()
        except urllib.error.HTTPError as error:
            raise AssertionError("%s %s: %d %s" % (method, path, error.code,
                                                   error.read().decode(errors="replace")[:3000]))
        return json.loads(text) if text.strip() else {}

    # ---- connectors ----

    def create(self, name, config):
        self._rest("POST", "/connectors",
                   {"name": name, "config": {k: str(v) for k, v in config.items()}})

    def create_source(self, name, server, database, table, to_sink=False, partitions=1, **more):
        """A PostgreSQL source; its topic is NAME.public.TABLE, its slot and publication are NAME."""
        config = {
            "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
            "tasks.max": 1, "plugin.name": "pgoutput", "topic.prefix": name,
            "database.hostname": "127.0.0.1", "database.port": server.port,
            "database.user": "postgres", "database.password": PASSWORD, "database.dbname": database,
            "table.include.list": "public." + table, "slot.name": name, "publication.name": name,
            "publication.autocreate.mode": "filtered",
            "topic.creation.default.partitions": partitions,
            "topic.creation.default.replication.factor": 1,
        }
        config.update(self.tuning["source"])
        config.update(self.tuning["source-to-sink" if to_sink else "source-to-kafka"])
        config.update(more)
        self.create(name, config)

    def create_sink(self, name, topic, target, table, tasks=1, **more):
        """A JDBC sink into a table that exists, of a Database of the harness."""
        config = {
            "connector.class": "io.debezium.connector.jdbc.JdbcSinkConnector", "tasks.max": tasks,
            "topics": topic, "collection.name.format": table,
            "connection.url": "jdbc:postgresql://127.0.0.1:%d/%s%s"
                              % (target.server.port, target.name, self.tuning["jdbc-url"]),
            "connection.username": "postgres", "connection.password": PASSWORD,
            "insert.mode": "upsert", "primary.key.mode": "record_key", "delete.enabled": "true",
            "schema.evolution": "none",
        }
        config.update(self.tuning["sink"])
        config.update(more)
        self.create(name, config)

    def check(self, *names):
        """Are all tasks of these connectors running? Raises, with the trace, when one failed."""
        self.alive()
        running = True
        for name in names:
            try:
                status = self._rest("GET", "/connectors/%s/status" % name)
            except AssertionError:  # 404 for a moment after it was created
                return False
            parts = [status["connector"]] + status["tasks"]
            for part in parts:
                if part["state"] == "FAILED":
                    raise Dead("%s failed: %s" % (name, part.get("trace", "")[:3000]))
            running = running and len(parts) > 1 and all(p["state"] == "RUNNING" for p in parts)
        return running

    def wait_running(self, *names):
        wait_for(lambda: self.check(*names), SETTLE_SECONDS, "tasks of %s" % ", ".join(names))

    def stop(self, name):
        """Connect's STOPPED state: no task is left, offsets and slot stay."""
        self._rest("PUT", "/connectors/%s/stop" % name)

        def stopped():
            status = self._rest("GET", "/connectors/%s/status" % name)
            return status["connector"]["state"] == "STOPPED" and not status["tasks"]
        wait_for(stopped, SETTLE_SECONDS, "%s to be stopped" % name)

    def resume(self, name):
        self._rest("PUT", "/connectors/%s/resume" % name)

    def delete(self, name):
        self._rest("DELETE", "/connectors/" + name)
        wait_for(lambda: name not in self._rest("GET", "/connectors"), SETTLE_SECONDS,
                 "%s to be deleted" % name)

    # ---- what it costs ----

    def cpu_seconds(self):
        return proc_cpu_seconds(self.process.pid) or 0.0

    def peak_rss_kb(self):
        return proc_status(self.process.pid, "VmHWM") or 0

    def close(self):
        end(self.process, signal.SIGTERM, STOP_SECONDS)
        if not os.environ.get("TAILRACE_TEST_KEEP"):
            shutil.rmtree(self.dir, ignore_errors=True)
