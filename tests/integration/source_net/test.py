"""The connection to the source: idle tables, slow sinks, cuts, TLS, SCRAM, URLs."""
import os
import signal
import subprocess
import time

from tr import *

SQL = "create table t (id int primary key, v text); insert into t select i, 'v' from generate_series(1, 20) i"
RETRY = {"restart-strategy.type": "fixed-delay", "restart-strategy.fixed-delay.delay": "200ms",
         "restart-strategy.fixed-delay.attempts": 500}


class Net(Case):
    PG_SETTINGS = {"wal_sender_timeout": "2s"}

    def setUp(self):
        super().setUp()
        self.db = self.database(SQL)
        self.target = self.path("t.db")

    def start(self, source=None, sink=None, env=None, **pipeline):
        self.run_ = self.pipeline(self.db.source("public.t", **(source or {})),
                                  sink or {"type": "sqlite", "path": self.target}, env=env,
                                  pipeline=pipeline).start()
        return self.run_

    def equal(self, timeout=30):
        wait_equal(lambda: sqlite_equal(self.db, "t", self.target), self.run_, timeout)

    def test_an_idle_table_pins_no_wal(self):
        """Other tables of the cluster are busy, ours is not: the slot follows all the same."""
        self.start(source={"heartbeat.interval": "500ms"})
        self.equal()
        self.db.execute("create table busy (x text)")
        for _ in range(4):
            self.db.execute("insert into busy select repeat('x', 1000) from generate_series(1, 5000)")
        end = self.pg.current_lsn()
        self.wait(lambda: self.pg.value("select confirmed_flush_lsn >= %s::pg_lsn and restart_lsn > "
                                        "%s::pg_lsn - 40000000 from pg_replication_slots "
                                        "where slot_name = %s",
                                        args=(end, end, self.run_.name + "_slot")), self.run_, 20,
                  "the idle slot to follow")
        # And it survives its being idle: a change comes at once.
        self.db.execute("insert into t values (100, 'after idling')")
        self.equal()
        self.run_.kill()
        self.pg.wait_slot_idle(self.run_.name + "_slot")
        self.db.execute("insert into t values (101, 'after a kill while idle')")
        self.run_.start()
        self.equal()

    def test_a_slow_sink_keeps_the_connection(self):
        """wal_sender_timeout is 2 s; one batch takes much longer to write."""
        self.start(env={"TAILRACE_FAILPOINT": "sink.sqlite.before_commit=sleep:700"},
                   **{"buffer.memory": "8MiB"})
        self.equal(60)
        self.wait_streaming(self.run_)
        pid = self.pg.slot(self.run_.name + "_slot")["active_pid"]
        for index in range(12):
            self.db.execute("insert into t select i, repeat('y', 200) from generate_series(%d, %d) i"
                            % (1000 + index * 3000, 3999 + index * 3000))
        self.equal(90)
        self.assertEqual(self.pg.slot(self.run_.name + "_slot")["active_pid"], pid,
                         "the connection was lost while the sink was slow")
        self.assertEqual(self.run_.status()["restarts"], 0)

    def test_a_locked_sqlite_file(self):
        """Another program holds the write lock for longer than wal_sender_timeout."""
        self.start(sink={"type": "sqlite", "path": self.target, "busy-timeout": "30s"})
        self.equal()
        self.wait_streaming(self.run_)
        pid = self.pg.slot(self.run_.name + "_slot")["active_pid"]
        import sqlite3
        lock = sqlite3.connect(self.target, isolation_level=None)
        lock.execute("begin immediate")
        self.db.execute("insert into t select i, 'locked out' from generate_series(500, 900) i")
        time.sleep(5)
        lock.execute("rollback")
        lock.close()
        self.equal()
        self.assertEqual(self.pg.slot(self.run_.name + "_slot")["active_pid"], pid)

    def test_cuts_in_mid_stream(self):
        proxy = Proxy(self.pg.port)
        try:
            db = self.database(LEDGER.format(name="ledger"))
            run_ = self.pipeline({**db.source("public.ledger"), "port": proxy.port},
                                 {"type": "sqlite", "path": self.target}, pipeline=RETRY).start()
            load = Loads(db, writers=1, pause=0.002).start()
            for _ in range(6):
                time.sleep(0.5)
                proxy.cut()
            proxy.cut_after = proxy.bytes_down % 4096 + 5000
            time.sleep(0.6)
            # Away for a while, then slow.
            proxy.refuse = True
            proxy.cut()
            time.sleep(1)
            proxy.refuse = False
            proxy.delay = 0.01
            time.sleep(1)
            proxy.delay = 0
            load.stop()
            wait_equal(lambda: sqlite_equal(db, "ledger", self.target), run_, 60)
            self.assertGreaterEqual(run_.status()["restarts"], 2)
        finally:
            proxy.close()

    def test_a_silent_network_is_noticed(self):
        """Nothing comes any more, and no error either: the source gives up by itself and reconnects."""
        proxy = Proxy(self.pg.port)
        try:
            self.run_ = self.pipeline({**self.db.source("public.t"), "port": proxy.port,
                                       "heartbeat.interval": "1s"},
                                      {"type": "sqlite", "path": self.target}, pipeline=RETRY).start()
            self.equal()
            proxy.stalled = True
            time.sleep(4 * 1.5)  # the server ends its side after wal_sender_timeout
            proxy.cut()
            proxy.stalled = False
            self.db.execute("insert into t values (900, 'after the silence')")
            self.equal(90)
        finally:
            proxy.close()

    def test_stream_cut_failpoint(self):
        self.start(env={"TAILRACE_FAILPOINT": "source.postgres.stream_cut=error@2"}, **RETRY)
        self.equal()
        for index in range(5):
            self.db.execute("insert into t values (%d, 'x')" % (1000 + index))
            time.sleep(0.1)
        self.equal()

    def test_a_stopped_process_is_not_a_lost_one(self):
        """SIGSTOP for longer than wal_sender_timeout: the connection is gone, the data is not."""
        self.start(**RETRY)
        self.equal()
        os.kill(self.run_.pid, signal.SIGSTOP)
        self.db.execute("insert into t values (700, 'while stopped')")
        time.sleep(4)
        os.kill(self.run_.pid, signal.SIGCONT)
        self.equal(60)

    def test_url(self):
        settings = {"type": "postgres", "tables": "public.t",
                    "url": "postgresql://postgres:secret@127.0.0.1:%d/%s?sslmode=disable"
                           % (self.pg.port, self.db.name)}
        self.run_ = self.pipeline(settings, {"type": "sqlite", "path": self.target}).start()
        self.equal()
        self.db.execute("insert into t values (300, 'by url')")
        self.equal()
        self.assertNotIn("secret", self.run_.text())

    def test_unix_socket(self):
        self.run_ = self.pipeline({**self.db.source("public.t"), "hostname": self.pg.dir},
                                  {"type": "sqlite", "path": self.target}).start()
        self.equal()


def make_certificates(folder, owner):
    """A CA, a certificate for localhost and one for another name, by openssl."""
    def ssl(*args):
        run(["openssl"] + list(args), cwd=folder)
    ssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.crt",
        "-days", "2", "-subj", "/CN=tailrace test CA")
    for name, subject in (("good", "localhost"), ("other", "elsewhere.example")):
        ssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", name + ".key", "-out", name + ".csr",
            "-subj", "/CN=" + subject)
        with open(os.path.join(folder, name + ".ext"), "w") as ext:
            ext.write("subjectAltName=DNS:%s\n" % subject)
        ssl("x509", "-req", "-in", name + ".csr", "-CA", "ca.crt", "-CAkey", "ca.key",
            "-CAcreateserial", "-out", name + ".crt", "-days", "2", "-extfile", name + ".ext")
        key = os.path.join(folder, name + ".key")
        os.chmod(key, 0o600)
        if owner is not None:
            os.chown(key, owner.uid, owner.gid)


class Tls(Case):
    PG = False

    @classmethod
    def setUpClass(cls):
        from tr.common import server_user
        cls.certs = temp_dir("tailrace-tls-")
        make_certificates(cls.certs, server_user())
        cls.servers = {}
        for name in ("good", "other"):
            cls.servers[name] = Postgres("", auth="scram-sha-256", ssl={
                "cert": os.path.join(cls.certs, name + ".crt"),
                "key": os.path.join(cls.certs, name + ".key")}, hba=(
                "local all all trust\n"
                "host all postgres 127.0.0.1/32 scram-sha-256\n"
                "hostssl all tls_user 127.0.0.1/32 scram-sha-256\n"
                "hostssl all all ::1/128 scram-sha-256\n"))
            cls.servers[name].execute("create role tls_user superuser login password 'tls pass'")
            cls.servers[name].create_database("d", SQL)

    @classmethod
    def tearDownClass(cls):
        for server in cls.servers.values():
            server.close()

    def pipeline_for(self, server, sslmode=None, **more):
        from tr import Database
        db = Database(self.servers[server], "d")
        source = db.source("public.t", hostname="localhost", username="tls_user", password="tls pass",
                           sslmode=sslmode, sslrootcert=os.path.join(self.certs, "ca.crt"))
        source.update(more)
        self.target = self.path(self.unique("t") + ".db")
        source = {k: v for k, v in source.items() if v is not None}
        return db, self.pipeline(source, {"type": "sqlite", "path": self.target})

    def tearDown(self):
        super().tearDown()
        for server in self.servers.values():
            self.pg = server
            self._drop_slots()
        self.pg = None

    def works(self, *args, **kwargs):
        db, run_ = self.pipeline_for(*args, **kwargs)
        run_.start()
        wait_equal(lambda: sqlite_equal(db, "t", self.target), run_)
        encrypted = db.value("select count(*) from pg_stat_ssl s join pg_stat_activity a using (pid) "
                             "where a.usename = 'tls_user' and s.ssl")
        run_.stop()
        return encrypted

    def test_verify_full_is_the_default(self):
        self.assertGreater(self.works("good"), 0)

    def test_wrong_name_is_refused(self):
        _, run_ = self.pipeline_for("other")
        run_.fail(code=2, error="PG_TLS")

    def test_wrong_authority_is_refused(self):
        other = os.path.join(temp_dir(), "none.crt")
        run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", other + ".key",
             "-out", other, "-days", "2", "-subj", "/CN=another CA"])
        _, run_ = self.pipeline_for("good", sslrootcert=other)
        line = run_.fail(code=2, error="PG_TLS")
        self.assertIn("sslrootcert", line)

    def test_verify_ca_takes_another_name(self):
        self.assertGreater(self.works("other", "verify-ca"), 0)

    def test_require_does_not_verify(self):
        self.assertGreater(self.works("other", "require", sslrootcert=None), 0)

    def test_a_server_without_tls_is_refused_by_default(self):
        plain = Postgres()
        try:
            db = plain.create_database("d", SQL)
            run_ = self.pipeline(db.source("public.t", sslmode=None,
                                           sslrootcert=os.path.join(self.certs, "ca.crt")),
                                 {"type": "null"})
            line = run_.fail(code=2, error="PG_TLS")
            self.assertIn("sslmode", line)
            unnamed = self.pipeline(db.source("public.t", sslmode=None), {"type": "null"})
            unnamed.fail(code=2, error="PG_TLS")
        finally:
            plain.close()

    def test_scram(self):
        self.works("good", "require", username="postgres", password="secret")
        _, run_ = self.pipeline_for("good", "require", password="no")
        run_.fail(code=2, error="PG_AUTH")

    def test_password_from_a_file_and_the_environment(self):
        secret = self.path("password")
        with open(secret, "w") as out:
            out.write("tls pass\n")
        self.works("good", password="${file:%s}" % secret)
        db, run_ = self.pipeline_for("good", password="${env:SHOP_PASSWORD}")
        run_.start(env={"SHOP_PASSWORD": "tls pass"})
        wait_equal(lambda: sqlite_equal(db, "t", self.target), run_)
        with open(run_.file) as file:
            self.assertNotIn("tls pass", file.read())


if subprocess.run(["sh", "-c", "command -v openssl"], stdout=subprocess.DEVNULL).returncode != 0:
    skip("openssl is not installed")
