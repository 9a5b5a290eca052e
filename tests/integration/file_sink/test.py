"""PostgreSQL to files and standard output: JSON Lines, rotation, compression, the manifest."""
import glob
import json
import os
import subprocess
import time

from tr import *


class Files(Case):
    def start(self, sql=None, tables=None, **sink):
        self.db = self.database(sql or LEDGER.format(name="ledger"))
        self.folder = self.path(self.unique("files"))
        settings = {"type": "file", "path": self.folder, "format": "debezium-json",
                    "rotation.time": "200ms"}
        settings.update(sink)
        self.run_ = self.pipeline(self.db.source(tables, **{"heartbeat.interval": "500ms"}),
                                  settings).start()
        self.wait_streaming(self.run_)
        return self.run_

    def test_rows_and_changes(self):
        self.start("create table t (id int primary key, v text); insert into t values (1, 'a'), (2, 'b')")
        self.wait(lambda: len(read_folder(self.folder)) == 2, self.run_)
        self.db.statements("insert into t values (3, 'c')", "update t set v = 'B' where id = 2",
                           "delete from t where id = 1", "update t set id = 30 where id = 3")
        self.wait(lambda: len(read_folder(self.folder)) >= 6, self.run_)
        values = read_folder(self.folder)
        state = replay(values, "t")
        self.assertEqual({k[0]: row["v"] for k, row in state.items()}, {2: "B", 30: "c"})
        self.run_.stop()
        self.assertEqual(glob.glob(self.folder + "/*.tmp"), [])

    def test_flat_json(self):
        self.start("create table t (id int primary key, v text); insert into t values (1, 'a')", format="json")
        self.wait(lambda: read_folder(self.folder), self.run_)
        row = read_folder(self.folder)[0]
        self.assertEqual((row["id"], row["v"]), (1, "a"))
        self.db.execute("delete from t")
        self.wait(lambda: len(read_folder(self.folder)) == 2, self.run_)
        self.assertEqual(read_folder(self.folder)[1].get("__deleted"), "true")

    def compressed(self, name, suffix):
        self.start(compression=name)
        load = Loads(self.db, writers=1).start()
        self.wait(lambda: load.committed > 60, self.run_)
        load.stop()
        self.wait_acknowledged(self.run_)
        self.run_.stop()
        files = published_files(self.folder)
        self.assertTrue(files)
        self.assertTrue(all(f.endswith(".jsonl" + suffix) for f in files), files)
        found = [(op, key, None if op == "d" else v) for op, _, key, v in
                 map(change_identity, read_folder(self.folder))]
        stream_holds_each_once(found, [(op, k, None if op == "d" else v) for op, k, v in load.changes])

    def test_gzip(self):
        self.compressed("gzip", ".gz")

    def test_zstd(self):
        self.compressed("zstd", ".zst")

    def test_rotation_by_size(self):
        self.start(**{"rotation.size": "20KB", "rotation.time": "1h"})
        for index in range(40):
            self.db.execute("insert into ledger select i, 0, 0, 0, repeat('x', 100) "
                            "from generate_series(%d, %d) i" % (index * 20, index * 20 + 19))
        self.wait(lambda: len(published_files(self.folder)) >= 5, self.run_)
        self.wait(lambda: self.run_.status()["tables"][0]["creates"] == 800, self.run_, what="every change to be read")
        self.run_.stop()
        files = published_files(self.folder)
        self.assertEqual(len(read_folder(self.folder)), 800)
        for path in files[1:-1]:  # the first holds the copy, which is one piece
            self.assertLess(os.path.getsize(path), 60000)
        self.assertEqual([os.path.basename(f) for f in files], sorted(os.path.basename(f) for f in files))

    def test_rotation_by_time(self):
        self.start(**{"rotation.time": "1s"})
        self.db.execute("insert into ledger values (1, 0, 0, 0)")
        self.wait(lambda: len(read_folder(self.folder)) == 1, self.run_, 15)
        self.db.execute("insert into ledger values (2, 0, 0, 0)")
        self.wait(lambda: len(published_files(self.folder)) == 2, self.run_, 15)

    def test_published_files_never_change(self):
        self.start()
        load = Loads(self.db, writers=1).start()
        seen = {}
        try:
            deadline = time.monotonic() + 4
            while time.monotonic() < deadline:
                for path in published_files(self.folder):
                    with open(path, "rb") as file:
                        data = file.read()
                    self.assertEqual(seen.setdefault(path, data), data, path)
                time.sleep(0.02)
        finally:
            load.stop()
        self.assertGreater(len(seen), 3)

    def test_each_change_once_over_restarts(self):
        self.start()
        load = Loads(self.db, writers=2).start()
        for index in range(6):
            time.sleep(0.4)
            if index % 2:
                self.run_.kill()
                self.pg.wait_slot_idle(self.run_.name + "_slot")
            else:
                self.run_.stop()
            self.run_.start()
        load.stop()
        self.wait(lambda: (self.run_.status() or {}).get("state") == "streaming", self.run_)
        self.wait_acknowledged(self.run_)
        self.run_.stop()
        found = [(op, key, None if op == "d" else v) for op, _, key, v in
                 map(change_identity, read_folder(self.folder))]
        stream_holds_each_once(found, [(op, k, None if op == "d" else v) for op, k, v in load.changes])

    def test_a_damaged_manifest_is_refused(self):
        self.start()
        self.db.execute("insert into ledger values (1, 0, 0, 0)")
        self.wait(lambda: len(read_folder(self.folder)) == 1, self.run_)
        self.run_.stop()
        manifest = os.path.join(self.folder, "manifest")
        with open(manifest, "r+b") as file:
            data = bytearray(file.read())
            data[len(data) // 2] ^= 0x20
            file.seek(0)
            file.write(data)
        self.pg.wait_slot_idle(self.run_.name + "_slot")
        line = self.run_.fail(error="FILE_MANIFEST")
        self.assertIn("hint=", line)

    def test_one_pipeline_a_folder(self):
        self.start()
        self.wait(lambda: os.path.exists(os.path.join(self.folder, "manifest")), self.run_)
        second = self.pipeline(self.db.source(), {"type": "file", "path": self.folder})
        second.fail(code=2, error="FILE_")


class Stdout(Case):
    def test_each_change_is_a_line(self):
        db = self.database("create table t (id int primary key, v text); insert into t values (1, 'a')")
        run_ = self.pipeline(db.source(), {"type": "stdout", "format": "debezium-json"}).start()
        self.wait(lambda: run_.output().count("\n") == 1, run_)
        db.statements("update t set v = 'b'", "delete from t")
        self.wait(lambda: run_.output().count("\n") == 3, run_)
        self.assertEqual([json.loads(line)["op"] for line in run_.output().splitlines()], ["r", "u", "d"])
        run_.stop()
        self.assertEqual(run_.output().count("\n"), 3)

    def test_a_closed_pipe_is_an_error(self):
        db = self.database("create table t (id int primary key, v text);"
                           "insert into t select i, repeat('x', 1000) from generate_series(1, 2000) i")
        run_ = self.pipeline(db.source(), {"type": "stdout"})
        from tr.pipeline import binary, environment
        first = subprocess.Popen([binary(), "run", run_.file], stdout=subprocess.PIPE,
                                 stderr=subprocess.PIPE, env=environment(run_.state_dir))
        try:
            first.stdout.readline()
            first.stdout.close()
            text = first.stderr.read().decode()
            self.assertGreater(first.wait(60), 0)
            self.assertRegex(text.splitlines()[-1], "FILE_(EPIPE|STDOUT)")
        finally:
            if first.poll() is None:
                first.kill()
                first.wait()

    def test_snapshot_to_a_pipe(self):
        db = self.database("create table t (id int primary key);"
                           "insert into t select generate_series(1, 5000)")
        run_ = self.pipeline(db.source(**{"scan.startup.mode": "snapshot"}), {"type": "stdout"})
        done = run_.cli("run", run_.file)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(sorted(json.loads(line)["id"] for line in done.stdout.splitlines()),
                         list(range(1, 5001)))


class Null(Case):
    def test_counts_and_drops(self):
        db = self.database("create table t (id int primary key);"
                           "insert into t select generate_series(1, 1000)")
        run_ = self.pipeline(db.source(**{"heartbeat.interval": "500ms"}), {"type": "null"}).start()
        self.wait(lambda: (run_.status() or {}).get("state") == "streaming", run_)
        db.execute("insert into t select generate_series(1001, 1500)")
        self.wait(lambda: sum(t["reads"] + t["creates"] for t in run_.status()["tables"]) == 1500, run_)
        self.wait_acknowledged(run_)
        run_.stop()
