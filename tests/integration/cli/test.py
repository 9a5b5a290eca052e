"""The command line: every command, --help, --json, exit codes, the man page, signals."""
import json
import os
import shutil
import signal
import sqlite3
import time

from tr import *

COMMANDS = ["run", "check", "list", "help", "status", "stop", "verify", "drop", "version"]
SQL = "create table t (id int primary key, v text); insert into t select i, 'v' || i from generate_series(1, 200) i"


class Words(Case):
    PG = False

    def test_help(self):
        done = cli("--help")
        self.assertEqual(done.returncode, 0)
        for command in COMMANDS:
            self.assertIn(command, done.stdout)
            helped = cli(command, "--help")
            self.assertEqual(helped.returncode, 0, command)
            self.assertIn("usage: tailrace " + command, helped.stdout)
        self.assertEqual(cli().returncode, 2)
        self.assertEqual(cli("frobnicate").returncode, 2)
        self.assertEqual(cli("run").returncode, 2)
        self.assertEqual(cli("run", "a", "b").returncode, 2)
        self.assertEqual(cli("list", "--frob").returncode, 2)

    def test_list(self):
        done = cli("list")
        self.assertEqual(done.returncode, 0)
        for name in ("postgres", "sqlite", "kafka", "file", "stdout", "null"):
            self.assertIn(name, done.stdout)
        rows = json.loads(cli("list", "--json").stdout)
        self.assertIn(("source", "postgres", True), [(r["kind"], r["name"], r["available"]) for r in rows])

    def test_help_of_connectors(self):
        for name, words in (("postgres", ["hostname", "scan.startup.mode", "slot.name", "sslmode"]),
                            ("sqlite", ["path"]), ("kafka", ["sink.delivery-guarantee", "value.format"]),
                            ("file", ["rotation.size", "compression"]), ("stdout", ["format"])):
            done = cli("help", name)
            self.assertEqual(done.returncode, 0, name)
            for word in words:
                self.assertIn(word, done.stdout, name)
        self.assertEqual(cli("help", "nosuch").returncode, 2)

    def test_version(self):
        done = cli("version")
        self.assertEqual(done.returncode, 0)
        self.assertRegex(done.stdout, r"tailrace \d+\.\d+\.\d+")
        for word in ("postgres", "sqlite", "kafka"):
            self.assertIn(word, done.stdout)

    def test_docs_are_up_to_date(self):
        """The generated pages in docs/ are what this binary writes."""
        folder = self.path("docs")
        shutil.copytree(os.path.join(ROOT, "docs"), folder)  # only marked blocks of a page are made
        done = cli("docs", folder)
        self.assertEqual(done.returncode, 0, done)
        stale = []
        for base, _, names in os.walk(folder):
            for name in names:
                made = os.path.join(base, name)
                kept = os.path.join(ROOT, "docs", os.path.relpath(made, folder))
                with open(made) as one:
                    fresh = one.read()
                if not os.path.exists(kept) or open(kept).read() != fresh:
                    stale.append(os.path.relpath(made, folder))
        self.assertEqual(stale, [], "run `tailrace docs docs`")

    def test_state_folder(self):
        home = self.path("home")
        os.mkdir(home)
        spec = {"source": {"type": "postgres", "hostname": "127.0.0.1", "port": free_port(),
                           "username": "u", "tables": "d.public.t", "sslmode": "disable"},
                "sink": {"type": "null"},
                "pipeline": {"name": "where", "restart-strategy.type": "none"}}
        path = self.path("where.json")
        with open(path, "w") as out:
            json.dump(spec, out)
        for env, expected in (({"TAILRACE_STATE_DIR": home + "/a"}, home + "/a/where"),
                              ({"TAILRACE_STATE_DIR": "", "XDG_STATE_HOME": home + "/b"},
                               home + "/b/tailrace/where"),
                              ({"TAILRACE_STATE_DIR": "", "HOME": home},
                               home + "/.local/state/tailrace/where")):
            cli("run", path, env=dict(env, TAILRACE_X="1"), timeout=60)
            self.assertTrue(os.path.isdir(expected), expected)
            self.assertEqual(os.stat(expected).st_mode & 0o077, 0, "others may read " + expected)
        blocked = self.path("file")
        open(blocked, "w").close()
        done = cli("run", path, env={"TAILRACE_STATE_DIR": blocked + "/x"})
        self.assertEqual(done.returncode, 2)
        self.assertIn("STATE_DIR", done.all)

    def test_status_of_nothing(self):
        self.assertEqual(cli("status").returncode, 0)
        done = cli("status", "nosuch")
        self.assertEqual(done.returncode, 2)
        self.assertIn("NOT_RUNNING", done.all)
        done = cli("stop", "nosuch")
        self.assertEqual(done.returncode, 2)
        self.assertIn("NOT_RUNNING", done.all)


def catches(pid, number):
    """Whether the process has a handler for the signal (proc(5): SigCgt)."""
    with open("/proc/%d/status" % pid) as status:
        mask = next(int(line.split()[1], 16) for line in status if line.startswith("SigCgt:"))
    return bool(mask >> (number - 1) & 1)


class Running(Case):
    def setUp(self):
        super().setUp()
        self.db = self.database(SQL)
        self.target = self.path("t.db")

    def start(self, sink=None, **kwargs):
        self.run_ = self.pipeline(self.db.source(), sink or {"type": "sqlite", "path": self.target},
                                  **kwargs).start()
        if sink is None:
            wait_equal(lambda: sqlite_equal(self.db, "t", self.target), self.run_)
            self.wait(lambda: (self.run_.status() or {}).get("state") == "streaming", self.run_)
        return self.run_

    def test_status(self):
        self.start()
        self.db.statements("insert into t values (1000, 'x')", "update t set v = 'y' where id = 1",
                           "delete from t where id = 2")
        wait_equal(lambda: sqlite_equal(self.db, "t", self.target), self.run_)
        self.wait(lambda: self.run_.status()["tables"][0]["deletes"] == 1, self.run_)
        status = self.run_.status()
        self.assertEqual((status["pipeline"], status["pid"], status["source"], status["sink"]),
                         (self.run_.name, self.run_.pid, "postgres", "sqlite"))
        table, = status["tables"]
        self.assertEqual((table["reads"], table["creates"], table["updates"], table["deletes"]),
                         (200, 1, 1, 1))
        self.assertLess(status["lag_seconds"], 30)
        text = self.run_.cli("status", self.run_.name)
        self.assertEqual(text.returncode, 0)
        self.assertIn("streaming", text.stdout)
        everyone = self.run_.cli("status")
        self.assertIn(self.run_.name, everyone.stdout)

    def test_metrics(self):
        self.start()
        done = self.run_.cli("metrics", self.run_.name)
        self.assertEqual(done.returncode, 0, done)
        self.assertIn("# HELP tailrace_", done.stdout)
        self.assertIn("# TYPE tailrace_", done.stdout)

    def test_pause_and_resume(self):
        self.start()
        self.assertEqual(self.run_.cli("pause", self.run_.name).returncode, 0)
        time.sleep(0.3)
        self.db.execute("insert into t values (5000, 'while paused')")
        stay_awake(1.0)
        self.assertEqual(sqlite_query(self.target, "select count(*) from t where id = 5000"), [(0,)])
        self.assertTrue(self.run_.status()["paused"])
        self.assertEqual(self.run_.cli("resume", self.run_.name).returncode, 0)
        wait_equal(lambda: sqlite_equal(self.db, "t", self.target), self.run_)

    def test_stop(self):
        self.start()
        self.db.execute("insert into t select i, 'late' from generate_series(1000, 5000) i")
        done = self.run_.cli("stop", self.run_.name, timeout=40)
        self.assertEqual(done.returncode, 0, done)
        self.assertEqual(self.run_.wait_exit(), 0)

    def test_sigterm_drains_and_exits_0(self):
        for sig in (signal.SIGTERM, signal.SIGINT):
            with self.subTest(signal=sig):
                self.start()
                self.db.execute("update t set v = v || '.'")
                began = time.monotonic()
                os.kill(self.run_.pid, sig)
                self.assertEqual(self.run_.wait_exit(), 0)
                self.assertLess(time.monotonic() - began, 30)
                self.run_.start()
                self.run_.wait_log("the pipeline is open")  # the target may be equal before it lives
                wait_equal(lambda: sqlite_equal(self.db, "t", self.target), self.run_)
                self.run_.stop()

    def test_sigterm_with_a_sink_that_hangs(self):
        """Draining is bounded: within 30 s it ends, and says that it was not done."""
        self.start(pipeline={"stop.timeout": "3s"})
        lock = sqlite3.connect(self.target, isolation_level=None)
        lock.execute("begin immediate")
        self.db.execute("insert into t values (7777, 'cannot be written')")
        time.sleep(0.7)
        began = time.monotonic()
        os.kill(self.run_.pid, signal.SIGTERM)
        code = self.run_.wait_exit()
        self.assertLess(time.monotonic() - began, 30)
        self.assertNotEqual(code, 0)
        lock.execute("rollback")
        lock.close()
        self.pg.wait_slot_idle(self.run_.name + "_slot")
        self.run_.start()
        wait_equal(lambda: sqlite_equal(self.db, "t", self.target), self.run_)

    def test_a_second_signal_ends_at_once(self):
        self.start(pipeline={"stop.timeout": "25s"})
        lock = sqlite3.connect(self.target, isolation_level=None)
        lock.execute("begin immediate")
        self.db.execute("insert into t values (7777, 'cannot be written')")
        time.sleep(0.7)
        os.kill(self.run_.pid, signal.SIGTERM)
        time.sleep(1.0)
        began = time.monotonic()
        os.kill(self.run_.pid, signal.SIGTERM)
        self.assertEqual(self.run_.wait_exit(), 130)
        self.assertLess(time.monotonic() - began, 3)
        lock.execute("rollback")
        lock.close()

    def test_signal_during_the_snapshot(self):
        self.db.execute("insert into t select i, repeat('x', 300) from generate_series(1000, 60000) i")
        run_ = self.pipeline(self.db.source(**{"scan.snapshot.chunk.size": "256KB"}),
                             {"type": "sqlite", "path": self.target},
                             env={"TAILRACE_FAILPOINT": "source.postgres.mid_copy=sleep:30"}).start()
        self.wait(lambda: os.path.exists(self.target), run_)
        time.sleep(0.7)
        run_.stop()
        run_.env = {}
        run_.start()
        wait_equal(lambda: sqlite_equal(self.db, "t", self.target), run_)

    def test_signal_at_once(self):
        """However early it comes, SIGTERM ends with 0."""
        run_ = self.pipeline(self.db.source(), {"type": "sqlite", "path": self.target})
        for delay in (0.03, 0.06, 0.1, 0.15, 0.25, 0.4):
            run_.start()
            # The program has to be there at all: its first act is to take the signal over. Before
            # that the loader and a sanitizer's runtime are at work, for longer on a busy machine.
            self.wait(lambda: catches(run_.pid, signal.SIGTERM), run_)
            time.sleep(delay)
            os.kill(run_.pid, signal.SIGTERM)
            self.assertEqual(run_.wait_exit(), 0, "SIGTERM after %.2f s" % delay)
        run_.start()
        wait_equal(lambda: sqlite_equal(self.db, "t", self.target), run_)

    def test_one_process_a_pipeline(self):
        self.start()
        second = self.run_.cli("run", self.run_.file)
        self.assertEqual(second.returncode, 2, second)
        self.assertIn("ALREADY_RUNNING", second.all)
        self.run_.alive()

    def test_until_caught_up(self):
        run_ = self.pipeline(self.db.source(), {"type": "sqlite", "path": self.target})
        done = run_.cli("run", run_.file, "--until-caught-up", timeout=60)
        self.assertEqual(done.returncode, 0, done)
        sqlite_equal(self.db, "t", self.target)
        self.db.statements("insert into t values (300, 'later')", "delete from t where id = 5")
        done = run_.cli("run", run_.file, "--until-caught-up", timeout=60)
        self.assertEqual(done.returncode, 0, done)
        sqlite_equal(self.db, "t", self.target)

    def test_verify_equal_and_different(self):
        self.start()
        done = self.run_.verify()
        self.assertEqual(done.returncode, 0, done)
        self.assertTrue(json.loads(self.run_.verify("--json").stdout))
        self.run_.stop()
        for damage, key in (("update t set v = 'damaged' where id = 77", "77"),
                            ("delete from t where id = 123", "123"),
                            ("insert into t values (9999, 'too much')", "9999")):
            conn = sqlite3.connect(self.target)
            conn.execute(damage)
            conn.commit()
            conn.close()
            done = self.run_.verify()
            self.assertEqual(done.returncode, 1, done)
            self.assertIn(key, done.stdout)
        listed = self.run_.verify("--max-rows", "1")
        self.assertEqual(listed.returncode, 1)

    def test_verify_under_load(self):
        db = self.database(LEDGER.format(name="ledger"))
        target = self.path("load.db")
        run_ = self.pipeline(db.source(), {"type": "sqlite", "path": target}).start()
        load = Loads(db, writers=1, pause=0.01).start()
        try:
            self.wait(lambda: load.committed > 50, run_)
            for _ in range(3):
                done = run_.verify()
                self.assertEqual(done.returncode, 0, done)
        finally:
            load.stop()

    def test_verify_against_postgres(self):
        target = self.database()
        run_ = self.pipeline(self.db.source(), target.sink()).start()
        wait_equal(lambda: pg_equal(self.db, target, "t"), run_)
        self.assertEqual(run_.verify().returncode, 0)
        run_.stop()
        target.execute("update t set v = null where id = 3")
        self.assertEqual(run_.verify().returncode, 1)

    def test_verify_of_what_cannot_be_read_back(self):
        run_ = self.pipeline(self.db.source(), {"type": "null"})
        done = run_.verify()
        self.assertEqual(done.returncode, 2)
        self.assertIn("VERIFY_UNSUPPORTED", done.all)

    def test_savepoint(self):
        self.start()
        done = self.run_.cli("savepoint", self.run_.name)
        self.assertEqual(done.returncode, 0, done)
        self.assertTrue(os.path.exists(done.stdout.strip()), done)

    def test_progress_on_a_terminal(self):
        """A pseudo terminal gets one line that is drawn anew, with rows, rate and lag."""
        import pty
        import select
        import subprocess
        run_ = self.pipeline(self.db.source(), {"type": "sqlite", "path": self.target})
        from tr.pipeline import binary, environment
        parent, child = pty.openpty()
        process = subprocess.Popen([binary(), "run", run_.file, "--log-level", "warn"], stdin=child,
                                   stdout=child, stderr=child, env=environment(run_.state_dir))
        os.close(child)
        text = b""
        try:
            deadline = time.monotonic() + 20
            while time.monotonic() < deadline and not (b"lag" in text and b"\r" in text):
                if select.select([parent], [], [], 0.2)[0]:
                    text += os.read(parent, 65536)
        finally:
            process.terminate()
            try:
                deadline = time.monotonic() + 30
                while process.poll() is None and time.monotonic() < deadline:
                    if select.select([parent], [], [], 0.1)[0]:
                        try:
                            os.read(parent, 65536)
                        except OSError:
                            break
                process.wait(30)
            finally:
                if process.poll() is None:
                    process.kill()
                    process.wait()
            os.close(parent)
        self.assertIn(b"\r", text)
        self.assertRegex(text.decode(errors="replace"), r"lag .*ms")
