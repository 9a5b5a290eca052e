"""Disks that are full and files that are damaged: a clear error, no loss, no crash."""
import glob
import os
import shutil
import subprocess
import time

from tr import *

SQL = "create table t (id int primary key, v text); insert into t select i, 'v' || i from generate_series(1, 100) i"
RETRY = {"restart-strategy.type": "fixed-delay", "restart-strategy.fixed-delay.delay": "300ms",
         "restart-strategy.fixed-delay.attempts": 1000}


class SmallDisk:
    """A tmpfs of a few megabytes; needs root."""

    def __init__(self, path, megabytes):
        self.path = path
        os.mkdir(path)
        self.mounted = os.geteuid() == 0 and subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=%dm" % megabytes, "tmpfs", path],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0

    def grow(self, megabytes):
        run(["mount", "-o", "remount,size=%dm" % megabytes, self.path])

    def close(self):
        if self.mounted:
            subprocess.run(["umount", "-l", self.path])
            self.mounted = False


class Storage(Case):
    def setUp(self):
        super().setUp()
        self.db = self.database(SQL)
        self.target = self.path("t.db")
        self.disks = []

    def tearDown(self):
        super().tearDown()
        for disk in self.disks:
            disk.close()

    def disk(self, megabytes):
        disk = SmallDisk(self.path(self.unique("disk")), megabytes)
        self.disks.append(disk)
        return disk if disk.mounted else None

    def start(self, **kwargs):
        self.run_ = self.pipeline(self.db.source(), {"type": "sqlite", "path": self.target}, **kwargs).start()
        wait_equal(lambda: sqlite_equal(self.db, "t", self.target), self.run_)
        return self.run_

    def checkpoints(self):
        return sorted(path for path in glob.glob(os.path.join(self.run_.state_dir, self.run_.name, "**"),
                                                 recursive=True)
                      if os.path.isfile(path) and "checkpoint" in os.path.relpath(path, self.run_.state_dir)
                      and not path.endswith((".lock", ".tmp")))

    def stopped_with_checkpoints(self):
        self.start()
        for index in range(6):
            self.db.execute("insert into t values (%d, 'x')" % (1000 + index))
            time.sleep(0.35)
        wait_equal(lambda: sqlite_equal(self.db, "t", self.target), self.run_)
        self.run_.stop()
        self.pg.wait_slot_idle(self.run_.name + "_slot")
        files = self.checkpoints()
        self.assertGreaterEqual(len(files), 2, "several generations are kept")
        return files

    # ---- full disks ----

    def test_sqlite_disk_full_by_failpoint(self):
        run_ = self.start(env={"TAILRACE_FAILPOINT": "sink.sqlite.before_commit=enospc@3"})
        self.db.execute("insert into t select i, 'x' from generate_series(1000, 3000) i")
        self.db.execute("insert into t select i, 'x' from generate_series(4000, 5000) i")
        self.db.execute("update t set v = 'y'")
        if run_.running():
            try:
                run_.wait_exit(10)
            except AssertionError:
                self.db.execute("update t set v = 'z'")
                run_.wait_exit(20)
        self.assertIn("SQLITE_DISK_FULL", run_.last_line())
        self.assertIn("hint=", run_.last_line())
        self.pg.wait_slot_idle(run_.name + "_slot")
        run_.env = {}
        run_.start()
        wait_equal(lambda: sqlite_equal(self.db, "t", self.target), run_)

    def test_sqlite_disk_full(self):
        disk = self.disk(3)
        if disk is None:
            self.skipTest("no tmpfs can be mounted here")
        self.target = os.path.join(disk.path, "t.db")
        run_ = self.start()
        self.db.execute("insert into t select i, repeat('x', 500) from generate_series(1000, 20000) i")
        self.assertEqual(run_.wait_exit(), 1)
        self.assertIn("SQLITE_DISK_FULL", run_.last_line())
        self.assertEqual(sqlite_query(self.target, "select count(*) from t"), [(100,)])
        self.pg.wait_slot_idle(run_.name + "_slot")
        disk.grow(200)
        run_.start()
        wait_equal(lambda: sqlite_equal(self.db, "t", self.target), run_)

    def test_sqlite_disk_full_and_room_again_while_it_runs(self):
        disk = self.disk(3)
        if disk is None:
            self.skipTest("no tmpfs can be mounted here")
        self.target = os.path.join(disk.path, "t.db")
        run_ = self.start(pipeline=RETRY)
        self.db.execute("insert into t select i, repeat('x', 500) from generate_series(1000, 20000) i")
        run_.wait_log("SQLITE_DISK_FULL")
        disk.grow(200)
        wait_equal(lambda: sqlite_equal(self.db, "t", self.target), run_, 60)

    def test_state_disk_full(self):
        """The checkpoint cannot be written: nothing is acknowledged, nothing is lost."""
        run_ = self.start()
        self.wait_streaming(run_)
        run_.stop()
        slot = run_.name + "_slot"
        before = self.pg.slot(slot)["confirmed_flush_lsn"]
        run_.start(failpoint="checkpoint.before_write=enospc")
        for index in range(5):
            self.db.execute("insert into t values (%d, 'x')" % (1000 + index))
            time.sleep(0.3)
        wait_equal(lambda: sqlite_equal(self.db, "t", self.target), run_)
        line = run_.wait_log("CHECKPOINT_DISK_FULL").string
        self.assertIn("tried again", line)
        self.assertEqual(self.pg.slot(slot)["confirmed_flush_lsn"], before,
                         "acknowledged without a checkpoint")
        run_.kill()
        self.pg.wait_slot_idle(slot)
        run_.start()
        wait_equal(lambda: sqlite_equal(self.db, "t", self.target), run_)
        self.wait(lambda: self.pg.slot(slot)["confirmed_flush_lsn"] != before
                  or self.db.execute("update t set v = 'y' where id = 1"), run_)

    def test_file_disk_full(self):
        disk = self.disk(2)
        if disk is None:
            self.skipTest("no tmpfs can be mounted here")
        folder = os.path.join(disk.path, "files")
        run_ = self.pipeline(self.db.source(), {"type": "file", "path": folder, "format": "debezium-json",
                                                "rotation.time": "200ms"}).start()
        self.wait(lambda: len(read_folder(folder)) == 100, run_)
        self.db.execute("insert into t select i, repeat('x', 500) from generate_series(1000, 9000) i")
        self.assertEqual(run_.wait_exit(), 1)
        self.assertIn("FILE_DISK_FULL", run_.last_line())
        self.assertEqual(len(read_folder(folder)), 100)
        self.pg.wait_slot_idle(run_.name + "_slot")
        disk.grow(200)
        run_.start()
        self.wait(lambda: len(read_folder(folder)) == 8101, run_)
        ids = [v["after"]["id"] for v in read_folder(folder)]
        self.assertEqual(len(ids), len(set(ids)))

    # ---- checkpoints ----

    def test_truncated_checkpoint(self):
        newest = max(self.stopped_with_checkpoints(), key=os.path.getmtime)
        with open(newest, "r+b") as file:
            file.truncate(os.path.getsize(newest) // 2)
        line = self.run_.fail(error="CHECKPOINT_CORRUPT")
        self.assertIn("hint=", line)
        self.assertIn(os.path.basename(newest), line)
        # Fails closed, and says so again.
        self.run_.fail(error="CHECKPOINT_CORRUPT")

    def test_flipped_bit(self):
        newest = max(self.stopped_with_checkpoints(), key=os.path.getmtime)
        with open(newest, "r+b") as file:
            data = bytearray(file.read())
            data[len(data) * 2 // 3] ^= 1
            file.seek(0)
            file.write(data)
        self.run_.fail(error="CHECKPOINT_CORRUPT")

    def test_empty_checkpoint(self):
        newest = max(self.stopped_with_checkpoints(), key=os.path.getmtime)
        open(newest, "w").close()
        self.run_.fail(error="CHECKPOINT_CORRUPT")

    def test_checkpoint_of_another_pipeline(self):
        self.stopped_with_checkpoints()
        other = self.pipeline(self.db.source(), {"type": "sqlite", "path": self.path("other.db")})
        os.makedirs(other.state_dir, exist_ok=True)
        shutil.copytree(os.path.join(self.run_.state_dir, self.run_.name),
                        os.path.join(other.state_dir, other.name),
                        ignore=shutil.ignore_patterns("*.sock", "*.lock"))
        other.fail(code=2, error="CHECKPOINT_FOREIGN")

    def test_without_its_checkpoints_the_sink_knows(self):
        """The state folder is lost: SQLite's own position is enough."""
        self.stopped_with_checkpoints()
        self.db.execute("insert into t values (7000, 'while away')")
        shutil.rmtree(os.path.join(self.run_.state_dir, self.run_.name))
        self.run_.start()
        wait_equal(lambda: sqlite_equal(self.db, "t", self.target), self.run_)

    def test_without_its_target_the_checkpoint_stops(self):
        """The SQLite file is lost: going on would leave holes."""
        self.stopped_with_checkpoints()
        for path in glob.glob(self.target + "*"):
            os.unlink(path)
        line = self.run_.fail(code=3, error="POSITION_MISMATCH")
        self.assertIn("tailrace drop", line)

    # ---- targets ----

    def test_not_a_database(self):
        with open(self.target, "wb") as file:
            file.write(b"this is not SQLite, " * 100)
        run_ = self.pipeline(self.db.source(), {"type": "sqlite", "path": self.target})
        run_.fail(code=2, error="SQLITE_NOT_A_DATABASE")
        with open(self.target, "rb") as file:
            self.assertTrue(file.read().startswith(b"this is not SQLite"))

    def test_no_folder(self):
        run_ = self.pipeline(self.db.source(), {"type": "sqlite", "path": self.path("no/such/t.db")})
        run_.fail(code=2, error="SQLITE_CANNOT_OPEN")
        self.assertIn("SQLITE_CANNOT_OPEN", run_.check().all)
        self.assertEqual(self.pg.execute("select slot_name from pg_replication_slots"), [])
