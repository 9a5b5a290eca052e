"""A one-node Kafka broker (KRaft) for tests, and reading topics back with kcat."""
import json
import os
import shutil
import signal
import socket
import subprocess
import time
import uuid

from .artifacts import kafka_libs
from .common import Dead, end, free_port, run, skip, spawn, temp_dir, wait_for

START_SECONDS = 60
HEAP = "256m"
JVM = ["-Xmx" + HEAP, "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto",
       "-Dlog4j2.configurationFile="]

PROPERTIES = """process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{advertised},CONTROLLER://127.0.0.1:{controller}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT{protocol_map}
log.dirs={dir}/logs
num.partitions=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=5
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=5
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
"""

LOG4J = """<Configuration status="ERROR"><Appenders><Console name="c" target="SYSTEM_OUT">
<PatternLayout pattern="%d %p %m %c%n"/></Console></Appenders>
<Loggers><Root level="WARN"><AppenderRef ref="c"/></Root></Loggers></Configuration>
"""


class Kafka:
    """advertised_port: what the broker tells clients to connect to (a proxy's). sasl: (user, password)
    opens a second listener, SASL_PLAINTEXT with PLAIN, at self.sasl_port. extra: property lines."""

    def __init__(self, advertised_port=None, extra="", sasl=None):
        if shutil.which("kcat") is None:
            skip("kcat is not installed, so topics cannot be read back")
        self.libs = kafka_libs()
        self.dir = temp_dir("tailrace-kafka-")
        self.port = free_port()
        controller = free_port()
        self.sasl_port = None
        text = PROPERTIES.format(port=self.port, controller=controller, dir=self.dir,
                                 advertised=advertised_port or self.port,
                                 protocol_map=",SASLL:SASL_PLAINTEXT" if sasl else "")
        if sasl:
            self.sasl_port = free_port()
            text = text.replace(",CONTROLLER://", ",SASLL://127.0.0.1:%d,CONTROLLER://"
                                % self.sasl_port)
            text += ("inter.broker.listener.name=PLAINTEXT\n"
                     "sasl.enabled.mechanisms=PLAIN\n"
                     "listener.name.sasll.plain.sasl.jaas.config="
                     "org.apache.kafka.common.security.plain.PlainLoginModule required "
                     "user_%s=\"%s\";\n" % sasl)
        else:
            text += "inter.broker.listener.name=PLAINTEXT\n"
        self.properties = os.path.join(self.dir, "server.properties")
        with open(self.properties, "w") as out:
            out.write(text + extra)
        with open(os.path.join(self.dir, "log4j2.xml"), "w") as out:
            out.write(LOG4J)
        self.process = None
        run(self._java("kafka.tools.StorageTool") +
            ["format", "-t", self._cluster_id(), "-c", self.properties, "--standalone"],
            timeout=120)
        self.start()

    @staticmethod
    def _cluster_id():
        import base64
        return base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "A")

    def _java(self, main):
        flags = [f if not f.startswith("-Dlog4j2") else f + os.path.join(self.dir, "log4j2.xml")
                 for f in JVM]
        return ["java"] + flags + ["-cp", self.libs + "/*", main]

    @property
    def bootstrap(self):
        return "127.0.0.1:%d" % self.port

    def start(self):
        log_path = os.path.join(self.dir, "broker.log")
        with open(log_path, "ab") as out:
            self.process = spawn(self._java("kafka.Kafka") + [self.properties], stdout=out,
                                 stderr=out, stdin=subprocess.DEVNULL, cwd=self.dir)

        def up():
            if self.process.poll() is not None:
                with open(log_path, errors="replace") as log_file:
                    raise Dead("kafka did not start:\n" + log_file.read()[-3000:])
            with socket.socket() as probe:
                probe.settimeout(1)
                if probe.connect_ex(("127.0.0.1", self.port)) != 0:
                    return False
            return run(["kcat", "-L", "-J", "-m", "5", "-b", self.bootstrap], check=False,
                       timeout=30).returncode == 0

        wait_for(up, START_SECONDS, "kafka to answer on port %d" % self.port, interval=0.2)

    def stop(self, sig=signal.SIGTERM):
        end(self.process, sig, 30)
        self.process = None

    def pause(self):
        self.process.send_signal(signal.SIGSTOP)

    def resume(self):
        self.process.send_signal(signal.SIGCONT)

    def close(self):
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)
            self.stop(signal.SIGKILL)
        if not os.environ.get("TAILRACE_TEST_KEEP"):
            shutil.rmtree(self.dir, ignore_errors=True)


class Topics:
    """Reads what a broker holds. Works with any bootstrap address."""

    def __init__(self, bootstrap):
        self.bootstrap = bootstrap

    def names(self, prefix=""):
        done = run(["kcat", "-L", "-J", "-m", "10", "-b", self.bootstrap])
        return sorted(t["topic"] for t in json.loads(done.stdout)["topics"]
                      if t["topic"].startswith(prefix) and not t["topic"].startswith("__"))

    def partitions(self, topic):
        done = run(["kcat", "-L", "-J", "-m", "10", "-b", self.bootstrap, "-t", topic])
        topics = json.loads(done.stdout)["topics"]
        return len(topics[0]["partitions"]) if topics else 0

    def read(self, topic, committed=True, timeout=60):
        """All messages of a topic to its present end, as kcat's -J objects, each with its key and
        value parsed as JSON in "k" and "v" (None stays None). By partition and offset."""
        done = subprocess.run(
            ["kcat", "-C", "-q", "-J", "-e", "-b", self.bootstrap, "-t", topic, "-o", "beginning",
             "-X", "isolation.level=" + ("read_committed" if committed else "read_uncommitted"),
             "-X", "topic.metadata.refresh.interval.ms=1000"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout * 2)
        if done.returncode != 0:
            if b"Unknown topic" in done.stderr or b"UNKNOWN_TOPIC" in done.stderr \
                    or b"unknown partition" in done.stderr.lower():
                return []
            raise AssertionError("kcat: " + done.stderr.decode(errors="replace"))
        messages = []
        for line in done.stdout.decode("utf-8", "surrogateescape").splitlines():
            message = json.loads(line)
            message["k"] = json.loads(message["key"]) if message.get("key") else None
            payload = message.get("payload")
            message["v"] = json.loads(payload) if payload else None
            headers = message.get("headers") or []
            message["h"] = dict(zip(headers[0::2], headers[1::2]))
            messages.append(message)
        messages.sort(key=lambda m: (m["partition"], m["offset"]))
        return messages

    def read_all(self, prefix, **kwargs):
        return {name: self.read(name, **kwargs) for name in self.names(prefix)}


def shared():
    """The broker that ctest's fixture started (its file is named by TAILRACE_TEST_SERVERS), else one
    of our own, ended at exit."""
    path = os.environ.get("TAILRACE_TEST_SERVERS")
    if path and os.path.exists(path):
        with open(path) as file:
            servers = json.load(file)
        if servers.get("kafka"):
            return Topics(servers["kafka"])
        skip("no shared broker: " + servers.get("why", "unknown"))
    global _own
    if _own is None:
        _own = Kafka()
    return Topics(_own.bootstrap)


_own = None


def settle(seconds=0.2):
    time.sleep(seconds)
