"""The base of every scenario: servers for the class, databases and pipelines for each test, and an end
for all of them."""
import os
import signal
import time
import unittest

import psycopg2

from . import kafka as kafka_module
from .common import PATIENCE, Timeout, temp_dir, wait_for
from .pipeline import Run
from .postgres import Postgres

TEST_SECONDS = 150


class Case(unittest.TestCase):
    PG_VERSION = ""
    PG_SETTINGS = {}
    PG_OPTIONS = {}        # further arguments of Postgres
    PG = True
    KAFKA = False
    SECONDS = TEST_SECONDS  # for one test, before PATIENCE
    longMessage = True
    pg = None
    kafka = None
    _serial = 0

    @classmethod
    def setUpClass(cls):
        if cls.PG:
            cls.pg = Postgres(cls.PG_VERSION, settings=cls.PG_SETTINGS, **cls.PG_OPTIONS)
        if cls.KAFKA:
            cls.kafka = kafka_module.shared()

    @classmethod
    def tearDownClass(cls):
        if cls.pg is not None:
            cls.pg.close()
            cls.pg = None

    def setUp(self):
        self.runs = []
        self.dir = temp_dir()

        def late(*_):
            raise Timeout("the test took longer than %.0f s" % (self.SECONDS * PATIENCE))
        signal.signal(signal.SIGALRM, late)
        signal.alarm(int(self.SECONDS * PATIENCE))

    def tearDown(self):
        problems = []
        for run in self.runs:
            try:
                run.close()
            except AssertionError as error:
                problems.append(str(error))
        if self.pg is not None and self.pg.process is not None:
            self._drop_slots()
        signal.alarm(0)
        if problems:
            raise AssertionError("\n".join(problems))

    def _drop_slots(self):
        """Slots left behind would keep log for the tests that follow."""
        try:
            for _ in range(50):
                left = self.pg.execute(
                    "select slot_name, active_pid from pg_replication_slots")
                for name, pid in left:
                    try:
                        if pid is not None:
                            self.pg.execute("select pg_terminate_backend(%s)", args=(pid,))
                        self.pg.execute("select pg_drop_replication_slot(%s)", args=(name,))
                    except psycopg2.Error:
                        pass
                if not left:
                    return
                time.sleep(0.1)
        except psycopg2.Error:
            pass

    # ---- making things ----

    @classmethod
    def unique(cls, prefix):
        Case._serial += 1
        return "%s_%d_%d" % (prefix, os.getpid() % 100000, Case._serial)

    def database(self, sql=None, server=None, prefix="db"):
        return (server or self.pg).create_database(self.unique(prefix), sql)

    def path(self, name):
        return os.path.join(self.dir, name)

    def pipeline(self, source, sink, route=None, name=None, quick=True, env=None, state_dir=None,
                 start=False, **settings):
        """A pipeline file (not started). settings: keys of `pipeline:`, with _ for - and ."""
        spec = {"source": source, "sink": sink}
        if route is not None:
            spec["route"] = route
        name = name or self.unique("p")
        spec["pipeline"] = dict({"name": name}, **settings.pop("pipeline", {}))
        assert not settings, settings
        run = Run(spec, name=name, quick=quick, env=env, state_dir=state_dir)
        self.runs.append(run)
        return run.start() if start else run

    def file(self, text, name=None, **kwargs):
        """A pipeline from the text of its file."""
        run = Run(text, name=name, **kwargs)
        self.runs.append(run)
        return run

    # ---- questions ----

    def wait(self, condition, run=None, timeout=30, what="the condition"):
        def holds():
            result = None
            try:
                result = condition()
            except (AssertionError, psycopg2.ProgrammingError):
                if run is not None:
                    run.alive()
                raise
            if not result and run is not None:
                run.alive()
            return result
        return wait_for(holds, timeout, what)

    def wait_streaming(self, run, timeout=30):
        self.wait(lambda: (run.status() or {}).get("state") == "streaming", run, timeout,
                  "the pipeline to follow the log")

    def wait_acknowledged(self, run, timeout=30):
        """Until the slot has passed everything that is committed now: all of it is durable then. A
        position without rows moves by heartbeats, so the source's heartbeat.interval must be short."""
        lsn = self.pg.current_lsn()
        self.wait(lambda: self.pg.value(
            "select confirmed_flush_lsn >= %s::pg_lsn from pg_replication_slots where slot_name = %s",
            args=(lsn, run.name + "_slot")), run, timeout, "the slot to pass " + lsn)
