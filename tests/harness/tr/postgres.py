"""A private PostgreSQL server in a temporary folder, on a port of its own on the loopback."""
import os
import shutil
import signal
import subprocess
import time

import psycopg2
import psycopg2.extensions

from .artifacts import postgres_home
from .common import (PATIENCE, Dead, end, free_port, run, server_user, spawn, temp_dir, wait_for)

START_SECONDS = 20
TEXT_SETTINGS = ("-c DateStyle=ISO -c IntervalStyle=postgres -c TimeZone=UTC "
                 "-c bytea_output=hex -c extra_float_digits=3")


class Postgres:
    """Postgres("12") … or Postgres() for the machine's own. Settings are postgresql.conf lines.
    auth: trust | scram-sha-256 | md5. The superuser is `postgres` with the password `secret`."""

    def __init__(self, version="", settings=None, auth="trust", fsync=False, hba=None, ssl=None):
        self.home = postgres_home(version)
        self.user = server_user()
        self.dir = temp_dir("tailrace-pg-")
        self.data = os.path.join(self.dir, "data")
        self.port = free_port()
        self.process = None
        self.auth = auth
        password_file = os.path.join(self.dir, "pw")
        with open(password_file, "w") as out:
            out.write("secret\n")
        if self.user is not None:
            os.chown(self.dir, self.user.uid, self.user.gid)
            os.chown(password_file, self.user.uid, self.user.gid)
        self._initdb(password_file)
        values = {
            "listen_addresses": "127.0.0.1", "port": self.port,
            "unix_socket_directories": self.dir, "wal_level": "logical",
            "max_wal_senders": 30, "max_replication_slots": 30, "max_connections": 80,
            "shared_buffers": "64MB", "max_wal_size": "512MB", "timezone": "UTC",
            "log_timezone": "UTC", "fsync": "on" if fsync else "off",
            "full_page_writes": "on" if fsync else "off", "log_min_messages": "warning",
            "log_statement": "none", "lc_messages": "C",
        }
        if auth == "scram-sha-256":
            values["password_encryption"] = "scram-sha-256"
        if ssl:
            values.update(ssl="on", ssl_cert_file=ssl["cert"], ssl_key_file=ssl["key"])
        values.update(settings or {})
        with open(os.path.join(self.data, "postgresql.conf"), "a") as conf:
            for key, value in values.items():
                conf.write("%s = '%s'\n" % (key, value))
        if hba is not None:
            with open(os.path.join(self.data, "pg_hba.conf"), "w") as out:
                out.write(hba)
        self.start()

    def _initdb(self, password_file):
        run([self.home + "/bin/initdb", "-D", self.data, "-U", "postgres", "-A", self.auth,
             "--pwfile", password_file, "-E", "UTF8", "--locale=C", "--no-sync"],
            timeout=120, user=self.user, cwd=self.dir, env=self._env())

    @staticmethod
    def _env():
        env = {k: v for k, v in os.environ.items() if not k.startswith("PG")}
        env.update(LC_ALL="C", TZ="UTC")
        env.pop("LD_PRELOAD", None)
        return env

    # ---- life ----

    def start(self):
        log_path = os.path.join(self.dir, "server.log")
        with open(log_path, "ab") as out:
            self.process = spawn([self.home + "/bin/postgres", "-D", self.data], user=self.user,
                                 death_signal=signal.SIGQUIT, stdout=out, stderr=out,
                                 stdin=subprocess.DEVNULL, cwd=self.dir, env=self._env())

        def up():
            if self.process.poll() is not None:
                raise Dead("postgres did not start:\n" + self.log_text()[-3000:])
            try:
                psycopg2.connect(**self.params("postgres")).close()
                return True
            except psycopg2.OperationalError:
                return False

        wait_for(up, START_SECONDS, "postgres to answer on port %d" % self.port)

    def stop(self, mode="fast"):
        sig = {"fast": signal.SIGINT, "immediate": signal.SIGQUIT, "smart": signal.SIGTERM}[mode]
        end(self.process, sig, 20)
        self.process = None

    def restart(self, mode="fast"):
        self.stop(mode)
        self.start()

    def close(self):
        if self.process is not None:
            self.stop("immediate")
        if not os.environ.get("TAILRACE_TEST_KEEP"):
            shutil.rmtree(self.dir, ignore_errors=True)

    def log_text(self):
        with open(os.path.join(self.dir, "server.log"), errors="replace") as log_file:
            return log_file.read()

    # ---- use ----

    def params(self, database, user="postgres", password="secret"):
        return dict(host="127.0.0.1", port=self.port, dbname=database, user=user,
                    password=password, connect_timeout=10)

    def connect(self, database="postgres", **kwargs):
        """An autocommit connection whose texts have the canonical form."""
        conn = psycopg2.connect(options=TEXT_SETTINGS, **self.params(database, **kwargs))
        conn.autocommit = True
        return conn

    def execute(self, sql, database="postgres", args=None):
        """Runs SQL (several statements may share one string); returns the last one's rows."""
        conn = self.connect(database)
        try:
            with conn.cursor() as cursor:
                cursor.execute(sql, args)
                return cursor.fetchall() if cursor.description is not None else None
        finally:
            conn.close()

    def value(self, sql, database="postgres", args=None):
        rows = self.execute(sql, database, args)
        return rows[0][0] if rows else None

    def statements(self, database, *statements):
        """Each statement in a transaction of its own."""
        conn = self.connect(database)
        try:
            with conn.cursor() as cursor:
                for statement in statements:
                    cursor.execute(statement)
        finally:
            conn.close()

    def create_database(self, name, sql=None):
        self.execute('create database "%s"' % name)
        if sql:
            self.execute(sql, name)
        return Database(self, name)

    @property
    def version(self):
        return int(self.value("show server_version_num"))

    def current_lsn(self):
        return self.value("select pg_current_wal_lsn()::text")

    def slot(self, name):
        """The slot's row as a dict, or None."""
        conn = self.connect()
        try:
            with conn.cursor() as cursor:
                cursor.execute("select * from pg_replication_slots where slot_name = %s", (name,))
                row = cursor.fetchone()
                return dict(zip([c.name for c in cursor.description], row)) if row else None
        finally:
            conn.close()

    def slot_lag_bytes(self, name):
        return int(self.value("select pg_current_wal_lsn() - confirmed_flush_lsn "
                              "from pg_replication_slots where slot_name = %s", args=(name,)))

    def wait_slot_idle(self, name, timeout=10):
        """Until no process holds the slot (a killed reader lets go a moment later)."""
        wait_for(lambda: not self.slot(name) or not self.slot(name)["active"], timeout,
                 "slot %s to be let go" % name)


class Database:
    """One database of a server, with short words for what tests do all the time."""

    def __init__(self, server, name):
        self.server, self.name = server, name

    def execute(self, sql, args=None):
        return self.server.execute(sql, self.name, args)

    def value(self, sql, args=None):
        return self.server.value(sql, self.name, args)

    def statements(self, *statements):
        self.server.statements(self.name, *statements)

    def connect(self, **kwargs):
        return self.server.connect(self.name, **kwargs)

    def source(self, tables=None, **more):
        """The `source:` mapping of a pipeline file; tables: schema.table patterns without the
        database, which is put before each (default: all of public)."""
        names = tables if isinstance(tables, list) else [tables or "public.\\.*"]
        settings = {"type": "postgres", "hostname": "127.0.0.1", "port": self.server.port,
                    "username": "postgres", "password": "secret", "sslmode": "disable",
                    "tables": ",".join("%s.%s" % (self.name, name) for name in names)}
        settings.update(more)
        return {key: value for key, value in settings.items() if value is not None}

    def sink(self, **more):
        settings = {"type": "postgres", "hostname": "127.0.0.1", "port": self.server.port,
                    "username": "postgres", "password": "secret", "database": self.name,
                    "sslmode": "disable"}
        settings.update(more)
        return settings


def stay_awake(seconds):
    """A plain wait, longer under a sanitizer: for things that must NOT happen."""
    time.sleep(seconds * (1.5 if PATIENCE > 2 else 1.0))
