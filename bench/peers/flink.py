#!/usr/bin/python3
"""Flink 1.20.3 as a peer: one JobManager, one TaskManager and one SQL gateway, on the loopback.

    bench/peers/flink.py --bootstrap 127.0.0.1:9092 --topic users_cdc \\
                         --postgres 127.0.0.1:5432/db [--user postgres] [--password secret]

starts them, submits users_cdc.sql, and runs until it is interrupted. bench/e2e/users.py uses the class.

The jars come from PyPI (apache-flink-libraries, and the wheel apache-flink for bin/ and conf/) and
from Maven (flink-pom.xml), and are kept in the tests' cache by version. The processes are Flink's own
scripts in the foreground; each becomes its JVM, so they are counted and ended by the ids that started
them.

Settings are meant to be the best that loses nothing: two slots for two cores, object reuse, state on the
heap (the fastest backend), checkpoints every 10 s, exactly-once, batched inserts that the JDBC driver
rewrites into multi-row ones."""
import argparse
import glob
import json
import os
import re
import shutil
import signal
import string
import subprocess
import sys
import tarfile
import time
import urllib.error
import urllib.request
import zipfile

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "tests", "harness"))
from tr import artifacts  # noqa: E402
from tr.common import (Dead, end, free_port, proc_cpu_seconds, proc_status, skip, spawn,  # noqa: E402
                       temp_dir, wait_for)

VERSION = "1.20.3"
CACHE_NAME = "flink-%s-kafka-3.4.0-jdbc-3.3.0-pg-42.7.7" % VERSION
PIP_TIMEOUT_SECONDS = 600
START_SECONDS = 120
STATEMENT_SECONDS = 120
STOP_SECONDS = 20

# How a process is started, by the name that reports use.
PROCESSES = [("jobmanager", "jobmanager.sh"), ("taskmanager", "taskmanager.sh"),
             ("sql-gateway", "sql-gateway.sh")]

CONFIG = {
    "jobmanager.memory.process.size": "1024m",
    "taskmanager.memory.process.size": "2048m",
    # The heap backend needs no managed memory: it goes to the heap.
    "taskmanager.memory.managed.fraction": "0.05",
    "taskmanager.numberOfTaskSlots": "2",
    "parallelism.default": "2",
    # Measured: a fifth less CPU, and less memory, than with G1.
    "env.java.opts.taskmanager": "-XX:+UseParallelGC",
    "env.java.opts.jobmanager": "-XX:+UseSerialGC",
    "env.java.opts.sql-gateway": "-XX:+UseSerialGC -Xmx512m",
    "state.backend.type": "hashmap",
    "restart-strategy.type": "fixed-delay",
    "restart-strategy.fixed-delay.attempts": "5",
    "restart-strategy.fixed-delay.delay": "5 s",
}
SESSION = {
    "table.local-time-zone": "UTC",
    "pipeline.name": "users_cdc",
    "pipeline.object-reuse": "true",
    "execution.checkpointing.interval": "10 s",
    "execution.checkpointing.mode": "EXACTLY_ONCE",
    # Measured: mini-batches (1 s, 5000 rows) cost this job a third more CPU, so they stay off.
}


# ---- artifacts --------------------------------------------------------------------------------------


def _pip(folder, *arguments):
    """Downloads by whichever pip there is; a machine without one skips."""
    tools = [["pip"], ["pip3"], [sys.executable, "-m", "pip"]]
    tools = [t for t in tools if shutil.which(t[0]) and
             subprocess.run(t + ["--version"], stdout=subprocess.DEVNULL,
                            stderr=subprocess.DEVNULL).returncode == 0]
    if not tools:
        skip("pip is not installed, so Flink cannot be fetched")
    try:
        done = subprocess.run(tools[0] + ["download", "-q", "--no-deps", "-d", folder] + list(arguments),
                              timeout=PIP_TIMEOUT_SECONDS, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        skip("pip download had no end within %d s" % PIP_TIMEOUT_SECONDS)
    if done.returncode != 0:
        skip("pip download failed: " + done.stdout.strip()[-600:])


def _fill(folder):
    """bin, conf, lib, opt, plugins: a Flink home as the distribution has it, with the connectors."""
    work = os.path.join(folder, "work")
    os.mkdir(work)
    _pip(work, "apache-flink-libraries==" + VERSION)
    # Only bin/ and conf/ of the wheel are used, so the Python it was made for does not matter.
    _pip(work, "--only-binary=:all:", "--python-version", "3.11", "--platform",
         "manylinux2014_x86_64", "apache-flink==" + VERSION)
    archive, = glob.glob(os.path.join(work, "apache?flink?libraries*.tar.gz"))
    with tarfile.open(archive) as tar:
        tar.extractall(work)
    deps, = glob.glob(os.path.join(work, "apache?flink?libraries*", "deps"))
    for name in ("lib", "opt", "plugins"):
        shutil.move(os.path.join(deps, name), os.path.join(folder, name))
    wheel, = glob.glob(os.path.join(work, "apache_flink-*.whl"))
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(work, [n for n in archive.namelist()
                                  if n.startswith(("pyflink/bin/", "pyflink/conf/"))])
    for name in ("bin", "conf"):
        shutil.move(os.path.join(work, "pyflink", name), os.path.join(folder, name))
    shutil.move(os.path.join(deps, "bin", "bash-java-utils.jar"), os.path.join(folder, "bin"))
    for script in glob.glob(os.path.join(folder, "bin", "*")):
        os.chmod(script, 0o755)
    shutil.copy(os.path.join(HERE, "flink-pom.xml"), os.path.join(work, "pom.xml"))
    jars = os.path.join(work, "jars")
    artifacts._maven(["dependency:copy-dependencies", "-f", os.path.join(work, "pom.xml"),
                      "-DincludeScope=runtime", "-DoutputDirectory=" + jars])
    for jar in glob.glob(os.path.join(jars, "*.jar")):
        place = "opt" if os.path.basename(jar).startswith("flink-sql-gateway") else "lib"
        shutil.move(jar, os.path.join(folder, place))
    shutil.rmtree(work)


def flink_home():
    if shutil.which("java") is None:
        skip("java is not installed, so Flink cannot be started")
    return artifacts._fetch(CACHE_NAME, _fill)


# ---- REST ---------------------------------------------------------------------------------------------


def _rest(method, url, body=None, timeout=30):
    data = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(url, data=data, method=method,
                                     headers={"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            text = answer.read()
    except urllib.error.HTTPError as error:
        raise AssertionError("%s %s: %s" % (method, url, _cause(error.read().decode(errors="replace"))))
    return json.loads(text) if text.strip() else {}


def _cause(text):
    """The innermost causes of a Java stack trace, which is what one wants to read."""
    causes = re.findall(r"Caused by: (.*?)(?:\\n|\n)", text)
    return "\n".join(causes[-3:]) if causes else text[:2000]


# ---- the cluster --------------------------------------------------------------------------------------


class Flink:
    def __init__(self, config=None):
        self.home = flink_home()
        self.dir = temp_dir("tailrace-flink-")
        self.rest_port, self.gateway_port, rpc_port = free_port(), free_port(), free_port()
        self.processes = {}
        self.session = None
        self.began = time.monotonic()
        values = {
            "jobmanager.rpc.address": "127.0.0.1", "jobmanager.rpc.port": rpc_port,
            "jobmanager.bind-host": "127.0.0.1", "taskmanager.host": "127.0.0.1",
            "taskmanager.bind-host": "127.0.0.1", "rest.address": "127.0.0.1",
            "rest.bind-address": "127.0.0.1", "rest.port": self.rest_port,
            "sql-gateway.endpoint.rest.address": "127.0.0.1",
            "sql-gateway.endpoint.rest.bind-address": "127.0.0.1",
            "sql-gateway.endpoint.rest.port": self.gateway_port,
            "execution.checkpointing.dir": "file://" + os.path.join(self.dir, "checkpoints"),
            "io.tmp.dirs": os.path.join(self.dir, "tmp"),
        }
        values.update(CONFIG)
        values.update(config or {})
        self.conf = os.path.join(self.dir, "conf")
        shutil.copytree(os.path.join(self.home, "conf"), self.conf)
        for name in ("tmp", "log", "pid"):
            os.mkdir(os.path.join(self.dir, name))
        with open(os.path.join(self.home, "conf", "config.yaml")) as file:
            values["env.java.opts.all"] = re.search(r"^ +all: (.*)$", file.read(), re.M).group(1)
        with open(os.path.join(self.conf, "config.yaml"), "w") as out:
            for key, value in values.items():
                out.write("%s: %s\n" % (key, value))
        for name, script in PROCESSES:
            self._spawn(name, script)
        wait_for(self._up, START_SECONDS, "Flink to answer", interval=0.2)
        self.start_seconds = time.monotonic() - self.began

    def _spawn(self, name, script):
        env = {k: v for k, v in os.environ.items() if not k.startswith(("FLINK_", "PG"))}
        env.update(FLINK_CONF_DIR=self.conf, FLINK_LOG_DIR=os.path.join(self.dir, "log"),
                   FLINK_PID_DIR=os.path.join(self.dir, "pid"), ROOT_LOG_LEVEL="WARN", TZ="UTC")
        with open(self._log(name), "wb") as out:
            self.processes[name] = spawn([os.path.join(self.home, "bin", script), "start-foreground"],
                                         stdout=out, stderr=out, stdin=subprocess.DEVNULL,
                                         cwd=self.dir, env=env)

    def _log(self, name):
        return os.path.join(self.dir, name + ".out")

    def _alive(self):
        for name, process in self.processes.items():
            if process.poll() is not None:
                with open(self._log(name), errors="replace") as log:
                    raise Dead("Flink's %s ended with %d\n%s"
                               % (name, process.returncode, log.read()[-3000:]))

    def _up(self):
        self._alive()
        try:
            _rest("GET", self._gateway("/v1/info"))
            return _rest("GET", self._jobs("/overview")).get("slots-total", 0) >= 2
        except (urllib.error.URLError, OSError):
            return False

    def _gateway(self, path):
        return "http://127.0.0.1:%d%s" % (self.gateway_port, path)

    def _jobs(self, path):
        return "http://127.0.0.1:%d%s" % (self.rest_port, path)

    # ---- statements ----

    def execute(self, statement):
        """One statement through the gateway; returns its rows (lists of fields)."""
        if self.session is None:
            self.session = _rest("POST", self._gateway("/v1/sessions"),
                                 {"properties": SESSION})["sessionHandle"]
        base = "/v1/sessions/" + self.session
        handle = _rest("POST", self._gateway(base + "/statements"),
                       {"statement": statement})["operationHandle"]
        token, rows = "%s/operations/%s/result/0" % (base, handle), []
        deadline = time.monotonic() + STATEMENT_SECONDS
        while True:
            page = _rest("GET", self._gateway(token))
            rows += [row["fields"] for row in (page.get("results") or {}).get("data", [])]
            if page["resultType"] == "EOS":
                return rows
            if time.monotonic() > deadline:
                raise AssertionError("no end of a statement within %d s" % STATEMENT_SECONDS)
            if page["resultType"] == "NOT_READY":
                time.sleep(0.05)
            else:
                token = page.get("nextResultUri") or token

    def submit(self, path, names):
        """Runs a file of statements; the last one starts the job, whose id is returned."""
        with open(path) as file:
            text = re.sub(r"^--.*\n", "", file.read(), flags=re.M)
        text = string.Template(text).substitute(names)
        rows = []
        for statement in re.split(r";\s*\n\s*\n", text.strip().rstrip(";")):
            rows = self.execute(statement.strip())
        return rows[0][0]

    def close_session(self):
        """Tables and views belong to a session: the next submit begins with none."""
        if self.session is not None:
            _rest("DELETE", self._gateway("/v1/sessions/" + self.session))
            self.session = None

    # ---- jobs ----

    def state(self, job):
        self._alive()
        return _rest("GET", self._jobs("/jobs/" + job))["state"]

    def check(self, job):
        """Fails, with what the job says, when it cannot run any more."""
        state = self.state(job)
        if state in ("FAILING", "FAILED", "CANCELLING", "CANCELED", "SUSPENDED"):
            text = json.dumps(_rest("GET", self._jobs("/jobs/%s/exceptions" % job)))
            raise Dead("the Flink job is %s: %s" % (state, _cause(text)))

    def running_since(self, job):
        """Wall clock, seconds: when the last of its tasks ran."""
        base, latest_ms = "/jobs/" + job, 0
        for vertex in _rest("GET", self._jobs(base))["vertices"]:
            times = _rest("GET", self._jobs("%s/vertices/%s/subtasktimes" % (base, vertex["id"])))
            latest_ms = max([latest_ms] + [task["timestamps"].get("RUNNING", 0)
                                           for task in times["subtasks"]])
        return latest_ms / 1000

    def failures(self, job):
        answer = _rest("GET", self._jobs("/jobs/%s/exceptions" % job))
        return len((answer.get("exceptionHistory") or {}).get("entries", []))

    def checkpoints(self, job):
        return _rest("GET", self._jobs("/jobs/%s/checkpoints" % job))["counts"]["completed"]

    def cancel(self, job):
        _rest("PATCH", self._jobs("/jobs/%s?mode=cancel" % job))
        wait_for(lambda: self.state(job) == "CANCELED", 60, "the job to be cancelled")

    # ---- what it costs ----

    def cpu_seconds(self):
        """Of all three processes since they were started, their start included, by process."""
        return {name: proc_cpu_seconds(process.pid, children=True) or 0
                for name, process in self.processes.items()}

    def peak_rss_kb(self):
        return {name: proc_status(process.pid, "VmHWM") or 0
                for name, process in self.processes.items()}

    def close(self):
        for process in reversed(list(self.processes.values())):
            end(process, signal.SIGTERM, STOP_SECONDS)
        self.processes = {}
        if not os.environ.get("TAILRACE_TEST_KEEP"):
            shutil.rmtree(self.dir, ignore_errors=True)


def job_names(bootstrap, topic, host, port, database, user, password, dead_letters, group="flink"):
    """What users_cdc.sql wants filled in."""
    return {"BOOTSTRAP": bootstrap, "TOPIC": topic, "DLQ_TOPIC": dead_letters, "GROUP": group,
            "JDBC_URL": "jdbc:postgresql://%s:%s/%s?reWriteBatchedInserts=true"
                        % (host, port, database),
            "JDBC_USER": user, "JDBC_PASSWORD": password}


JOB_FILE = os.path.join(HERE, "users_cdc.sql")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--topic", default="users_cdc")
    parser.add_argument("--postgres", required=True, help="host:port/database; its tables exist")
    parser.add_argument("--user", default="postgres")
    parser.add_argument("--password", default="")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    host, port, database = re.fullmatch(r"(.*):(\d+)/(.+)", args.postgres).groups()
    flink = Flink()
    try:
        job = flink.submit(JOB_FILE, job_names(args.bootstrap, args.topic, host, port, database,
                                               args.user, args.password, args.topic + "_dlq"))
        print("job %s at http://127.0.0.1:%d" % (job, flink.rest_port), flush=True)
        while True:
            flink.check(job)
            time.sleep(2)
    except KeyboardInterrupt:
        pass
    finally:
        flink.close()


if __name__ == "__main__":
    main()
