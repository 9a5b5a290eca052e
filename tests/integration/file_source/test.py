"""Files and standard input to SQLite and standard output: lines, CSV, following, rotation, kills."""
import contextlib
import csv
import glob
import gzip
import io
import json
import os
import random
import re
import shlex
import shutil
import subprocess
import time

from tr import *
from tr.pipeline import binary, environment

LINES = 200000


def lines(first, last, pad=""):
    return "".join('{"id":%d,"v":"v%d%s"}\n' % (i, i, pad) for i in range(first, last + 1))


class Files(Case):
    PG = False

    def setUp(self):
        super().setUp()
        self.folder = self.path("in")
        os.mkdir(self.folder)
        self.db = self.path("out.db")

    def at(self, name):
        return os.path.join(self.folder, name)

    def write(self, name, text, mode="w"):
        data = text if isinstance(text, bytes) else text.encode()
        with open(self.at(name), mode.replace("b", "") + "b") as out:
            out.write(data)
        return self.at(name)

    def source(self, path=None, **options):
        return dict({"type": "file", "path": path or self.folder, "table": "t"},
                    **{k.replace("__", "-").replace("_", "."): v for k, v in options.items()})

    def to_sqlite(self, path=None, **options):
        options.setdefault("primary__keys", "id")
        return self.pipeline(self.source(path, **options), {"type": "sqlite", "path": self.db})

    def to_stdout(self, path=None, **options):
        return self.pipeline(self.source(path, **options), {"type": "stdout", "format": "json"})

    def ends(self, run, code=0):
        run.start()
        self.assertEqual(run.wait_exit(60), code, run.tail())
        return run

    def rows(self, columns="id, v", order="id"):
        if not os.path.exists(self.db):
            return []
        try:
            return sqlite_query(self.db, "select %s from t order by %s" % (columns, order))
        except Exception as error:  # the table is not there yet
            if "no such table" in str(error):
                return []
            raise

    def ids(self):
        return [row[0] for row in self.rows()]

    def wait_ids(self, run, expected, what=None):
        expected = list(expected)
        self.wait(lambda: self.ids() == expected, run, what=what or "%d rows" % len(expected))

    def printed(self, run):
        return [json.loads(line) for line in run.output().splitlines()]

    def state(self, run):
        """The newest checkpoint's marks."""
        newest, marks = -1, {}
        for path in glob.glob(run.state_dir + "/**/*", recursive=True):
            if not os.path.isfile(path):
                continue
            with open(path, errors="replace") as file:
                text = file.read()
            if not text.startswith("tailrace-checkpoint"):
                continue
            generation = int(text.split("generation: ")[1].split("\n")[0])
            if generation > newest:
                newest = generation
                marks = dict(line.split("=", 1) for line in text.splitlines()[4:-1] if "=" in line)
        return marks


class Bounded(Files):
    def test_one_file(self):
        path = self.write("a.jsonl", lines(1, 1000))
        run = self.ends(self.to_sqlite(path))
        self.assertEqual(self.rows(), [(i, "v%d" % i) for i in range(1, 1001)])
        self.write("a.jsonl", lines(1001, 1010), "a")
        self.ends(run)  # goes on behind what it read
        self.assertEqual(self.ids(), list(range(1, 1011)))

    def test_default_table_is_the_files_name(self):
        path = self.write("users.v1.jsonl", lines(1, 2))
        source = self.source(path)
        del source["table"]
        source["primary-keys"] = "id"
        self.ends(self.pipeline(source, {"type": "sqlite", "path": self.db}))
        self.assertEqual(sqlite_query(self.db, "select count(*) from users"), [(2,)])

    def test_glob_folder_and_list_in_order(self):
        self.write("b.jsonl", lines(3, 4))
        self.write("a.jsonl", lines(1, 2))
        self.write("c.txt", lines(5, 6))
        self.write(".hidden", lines(7, 8))
        os.mkdir(self.at("d"))
        run = self.ends(self.to_stdout(self.at("*.jsonl")))
        self.assertEqual([row["id"] for row in self.printed(run)], [1, 2, 3, 4])
        run = self.ends(self.to_stdout(self.folder))
        self.assertEqual([row["id"] for row in self.printed(run)], [1, 2, 3, 4, 5, 6])
        run = self.ends(self.to_stdout([self.at("c.txt"), self.at("a.*"), self.at("a.jsonl")]))
        self.assertEqual([row["id"] for row in self.printed(run)], [1, 2, 5, 6])

    def test_line_ends(self):
        self.write("a.jsonl", b'{"id":1}\r\n\r\n\n{"id":2}\n{"id":3}')
        run = self.ends(self.to_stdout())
        self.assertEqual([row["id"] for row in self.printed(run)], [1, 2, 3])

    def test_byte_order_mark(self):
        self.write("a.jsonl", b'\xef\xbb\xbf{"id":1}\n{"id":2}\n')
        run = self.ends(self.to_stdout())
        self.assertEqual([row["id"] for row in self.printed(run)], [1, 2])

    def test_empty(self):
        self.write("a.jsonl", "")
        run = self.ends(self.to_stdout())
        self.assertEqual(run.output(), "")
        self.write("a.jsonl", lines(1, 1))
        self.ends(run)
        self.assertEqual(len(self.printed(run)), 1)

    def test_garbage_is_malformed(self):
        noise = random.Random(7).randbytes(300000)
        self.write("a.jsonl", noise + b"\n" + lines(1, 3).encode())
        self.to_sqlite().fail(code=4, error="MESSAGE_")
        run = self.ends(self.to_stdout(malformed="skip"))
        self.assertEqual([row["id"] for row in self.printed(run)], [1, 2, 3])
        self.assertIn("malformed lines were skipped", run.text())

    def test_malformed_fail_names_the_place(self):
        first = lines(1, 2)
        path = self.write("a.jsonl", first + '{"id":\n' + lines(3, 4))
        run = self.to_sqlite(path)
        run.fail(code=4, error="MESSAGE_SYNTAX")
        self.assertIn("line at byte %d of %s" % (len(first), path), run.text())

    def test_malformed_skip(self):
        self.write("a.jsonl", lines(1, 2) + '{"id":\nnull\n[1]\n' + lines(3, 4))
        self.ends(self.to_sqlite(malformed="skip"))
        self.assertEqual(self.ids(), [1, 2, 3, 4])

    def test_long_line(self):
        long = '{"id":9,"v":"%s"}\n' % ("x" * 3000000)
        path = self.write("a.jsonl", lines(1, 2) + long + lines(3, 4))
        options = {"malformed": "skip", "line.max-bytes": "10KB"}
        run = self.pipeline(dict(self.source(path), **options), {"type": "stdout", "format": "json"})
        self.ends(run)
        self.assertEqual([row["id"] for row in self.printed(run)], [1, 2, 3, 4])
        options["malformed"] = "fail"
        run = self.pipeline(dict(self.source(path), **options), {"type": "stdout", "format": "json"})
        run.fail(code=4, error="FILESRC_LINE_TOO_LONG")

    def test_compressed(self):
        with gzip.open(self.at("a.jsonl.gz"), "wt") as out:
            out.write(lines(1, 30000))
        with gzip.open(self.at("a.jsonl.gz"), "at") as out:  # a second member
            out.write(lines(30001, 30010))
        zstd = shutil.which("zstd")
        last = 30010
        if zstd:
            self.write("b.jsonl", lines(30011, 60000))
            subprocess.run([zstd, "-q", "--rm", self.at("b.jsonl")], check=True, timeout=60)
            last = 60000
        run = self.ends(self.to_sqlite())
        self.assertEqual(self.ids(), list(range(1, last + 1)))
        self.ends(run)  # nothing new: nothing happens
        with gzip.open(self.at("a.jsonl.gz"), "at") as out:
            out.write(lines(last + 1, last + 5))
        self.ends(run)
        self.assertEqual(self.ids(), list(range(1, last + 6)))

    def test_cut_and_broken_gzip(self):
        whole = gzip.compress(lines(1, 20000).encode())
        self.write("a.gz", whole[:len(whole) // 2])
        self.to_sqlite().fail(code=1, error="FILESRC_COMPRESSED")
        self.write("a.gz", b"this is no gzip file at all")
        self.to_sqlite().fail(code=1, error="FILESRC_COMPRESSED")

    def test_check(self):
        path = self.write("a.jsonl", lines(1, 1))
        self.assertEqual(self.to_stdout(path).check().returncode, 0)
        missing = self.to_stdout(self.at("none.jsonl"))
        done = missing.check()
        self.assertEqual(done.returncode, 2, done)
        self.assertIn("FILESRC_MISSING", done.all)
        missing.fail(code=2, error="FILESRC_MISSING")

    def test_permissions(self):
        path = self.write("a.jsonl", lines(1, 1))
        os.chmod(path, 0)
        run = self.to_stdout(path)
        with self.bound_by_permissions():
            self.assertIn("FILESRC_UNREADABLE", run.check().all)
            run.fail(code=2, error="FILESRC_UNREADABLE")

    @contextlib.contextmanager
    def bound_by_permissions(self):
        """What root may do beyond the file's mode bits is taken away from the tested program."""
        real = binary()
        if os.geteuid() == 0:
            wrapper = self.path("as-an-ordinary-reader")
            with open(wrapper, "w") as out:
                out.write("#!/bin/sh\nexec setpriv --bounding-set=-dac_override,-dac_read_search "
                          "%s \"$@\"\n" % shlex.quote(real))
            os.chmod(wrapper, 0o700)
            os.environ["TAILRACE_BIN"] = wrapper
        try:
            yield
        finally:
            os.environ["TAILRACE_BIN"] = real

    def test_what_is_no_file(self):
        os.mkfifo(self.at("pipe"))
        run = self.to_stdout(self.at("pipe"))
        self.assertIn("FILESRC_UNREADABLE", run.check().all)
        run.fail(code=2, error="FILESRC_UNREADABLE")

    def test_options_that_contradict(self):
        path = self.write("a.jsonl", lines(1, 1))
        for options in ({"scan.startup.mode": "latest"}, {"malformed": "dead-letter"}, {"format": "avro"},
                        {"path": ["-", path]}, {"format": "csv", "csv.delimiter": "ab"}):
            run = self.pipeline(dict(self.source(path), **options), {"type": "stdout", "format": "json"})
            run.fail(code=2, error="CONFIG_VALUE")


class Kill(Files):
    SECONDS = 300

    def kills(self, run, start, count):
        """Kills `count` times; at least once with a part of the rows there."""
        seen = []
        for _ in range(count):
            start(run)
            seen.append(len(self.rows("1", "1")))
        log("rows at the kills: %s" % seen)
        self.assertTrue(any(0 < rows < LINES for rows in seen), seen)
        self.ends(run)
        # the table has no key, so that a line that came twice would be two rows
        self.assertEqual(self.ids(), list(range(1, LINES + 1)))

    def test_kill_and_go_on(self):
        self.write("a.jsonl", lines(1, LINES // 2))
        self.write("b.jsonl", lines(LINES // 2 + 1, LINES)[:-1])

        def some_rows_and_kill(run):
            before = len(self.rows("1", "1"))
            run.start()
            self.wait(lambda: len(self.rows("1", "1")) > before or not run.running(), what="rows")
            run.kill()
        self.kills(self.to_sqlite(), some_rows_and_kill, 3)

    def test_kill_at_each_commit(self):
        self.write("a.csv", "id,v\n" + "".join("%d,v%d\n" % (i, i) for i in range(1, LINES + 1)))

        def third_commit(run):
            run.start(failpoint="sink.sqlite.before_commit=kill@3")
            self.assertEqual(run.process.wait(60), -9)
        self.kills(self.to_sqlite(format="csv", columns=["id INT", "v STRING"]), third_commit, 3)

    def test_kill_within_a_compressed_file(self):
        with gzip.open(self.at("a.jsonl.gz"), "wt", compresslevel=1) as out:
            out.write(lines(1, LINES))

        def third_commit(run):
            run.start(failpoint="sink.sqlite.before_commit=kill@3")
            self.assertEqual(run.process.wait(60), -9)
        self.kills(self.to_sqlite(), third_commit, 3)

    def to_sqlite(self, path=None, **options):
        options.setdefault("primary__keys", [])
        return super().to_sqlite(path, **options)


class Follow(Files):
    def follow(self, path=None, **options):
        options.setdefault("scan_interval", "50ms")
        return self.to_sqlite(path, follow=True, **options)

    def test_appends_and_new_files(self):
        self.write("a.jsonl", lines(1, 10))
        run = self.follow(self.at("*.jsonl")).start()
        self.wait_ids(run, range(1, 11))
        self.write("a.jsonl", lines(11, 12), "a")
        self.wait_ids(run, range(1, 13))
        self.write("a.jsonl", '{"id":13,', "a")      # a line under way
        self.write("b.jsonl", lines(20, 21))
        self.wait_ids(run, list(range(1, 13)) + [20, 21])
        self.write("a.jsonl", '"v":"v13"}\n', "a")
        self.wait_ids(run, list(range(1, 14)) + [20, 21])
        run.stop()
        self.write("a.jsonl", lines(14, 14), "a")
        self.write("c.jsonl", lines(30, 30))
        run.start()
        self.wait_ids(run, list(range(1, 15)) + [20, 21, 30])
        run.stop()

    def test_waits_for_a_file(self):
        run = self.follow(self.at("late.jsonl")).start()
        run.wait_log("the source waits for it")
        self.write("late.jsonl", lines(1, 2))
        self.wait_ids(run, [1, 2])
        run.stop()

    def test_latest(self):
        self.write("a.jsonl", lines(1, 10) + '{"id":11,')
        run = self.follow(scan_startup_mode="latest").start()
        self.wait(lambda: any(k.startswith("at/") for k in self.state(run)), run, what="a checkpoint")
        self.write("a.jsonl", '"v":"v11"}\n' + lines(12, 12), "a")
        self.wait_ids(run, [11, 12])
        run.stop()
        self.write("b.jsonl", lines(20, 21))  # a file that came while it was down is new
        run.start()
        self.wait_ids(run, [11, 12, 20, 21])
        run.stop()

    def test_rotation_by_rename(self):
        self.write("app.log", lines(1, 5))
        run = self.follow(self.at("app.log*")).start()
        self.wait_ids(run, range(1, 6))
        writer = open(self.at("app.log"), "a")
        os.rename(self.at("app.log"), self.at("app.log.1"))
        writer.write(lines(6, 7))  # still writes to the old file
        writer.close()
        self.write("app.log", lines(8, 9))
        self.wait_ids(run, range(1, 10))
        run.stop()
        os.rename(self.at("app.log.1"), self.at("app.log.2"))
        os.rename(self.at("app.log"), self.at("app.log.1"))
        self.write("app.log.1", lines(10, 10), "a")
        self.write("app.log", lines(11, 12))
        run.start()
        self.wait_ids(run, range(1, 13))
        run.stop()

    def test_rotation_out_of_sight(self):
        self.write("app.log", lines(1, 5))
        run = self.follow(self.at("app.log")).start()
        self.wait_ids(run, range(1, 6))
        os.rename(self.at("app.log"), self.at("old"))
        self.write("old", lines(6, 7), "a")  # it is open, and read to its end
        self.write("app.log", lines(8, 9))
        self.wait_ids(run, range(1, 10))
        run.stop()

    def test_deleted_files_are_forgotten(self):
        self.write("keep.jsonl", lines(1, 1))
        run = self.follow(self.at("*.jsonl")).start()
        for index in range(2, 6):
            self.write("n%d.jsonl" % index, lines(index, index))
        self.wait_ids(run, range(1, 6))
        self.wait(lambda: len([k for k in self.marks(run) if k.startswith("at/")]) == 5, run)
        for index in range(2, 6):
            os.unlink(self.at("n%d.jsonl" % index))
        self.wait(lambda: [k.split("/")[0] for k in self.marks(run)
                           if k.startswith(("at/", "file/"))] == ["at", "file"], run,
                  what="the marks of deleted files to go")
        run.stop()

    def marks(self, run):
        return self.state(run)

    def test_cut_while_running(self):
        self.write("a.log", lines(1, 50))
        run = self.follow(self.at("a.log")).start()
        self.wait_ids(run, range(1, 51))
        os.truncate(self.at("a.log"), 0)
        self.assertEqual(run.wait_exit(30), 3, run.tail())
        self.assertIn("FILESRC_TRUNCATED", run.last_line())

    def test_cut_and_restart(self):
        self.write("a.log", lines(1, 50))
        run = self.follow(self.at("a.log"), on__truncate="restart").start()
        self.wait_ids(run, range(1, 51))
        os.truncate(self.at("a.log"), 0)
        run.wait_log("it is read from its beginning")
        self.write("a.log", lines(51, 60), "a")
        self.wait_ids(run, range(1, 61))
        run.stop()
        run.start()
        self.write("a.log", lines(61, 61), "a")
        self.wait_ids(run, range(1, 62))
        run.stop()

    def test_cut_and_grown_again_is_noticed(self):
        """Longer than before, so that its size alone tells nothing."""
        self.write("a.log", lines(1, 50))
        run = self.follow(self.at("a.log")).start()
        self.wait_ids(run, range(1, 51))
        run.stop()
        self.write("a.log", lines(1001, 1200))  # the same inode
        run.fail(code=3, error="FILESRC_TRUNCATED")


class Identity(Files):
    """Bounded runs, one after the other."""

    def test_rename(self):
        self.write("a.jsonl", lines(1, 10))
        run = self.ends(self.to_stdout(self.at("*.jsonl")))
        os.rename(self.at("a.jsonl"), self.at("z.jsonl"))
        self.write("z.jsonl", lines(11, 11), "a")
        self.ends(run)
        self.assertEqual([row["id"] for row in self.printed(run)], [11])

    def test_copy_with_more(self):
        """What rsync, sed -i and most editors do: another inode under the same name."""
        self.write("a.jsonl", lines(1, 100))
        run = self.ends(self.to_stdout(self.at("*.jsonl")))
        self.write("tmp", lines(1, 101))
        os.rename(self.at("tmp"), self.at("a.jsonl"))
        self.ends(run)
        self.assertEqual([row["id"] for row in self.printed(run)], [101])

    def test_other_file_with_an_equal_head(self):
        head = '{"id":0,"v":"%s"}\n' % ("h" * 400)
        self.write("a.jsonl", head + lines(1, 10))
        run = self.ends(self.to_stdout(self.at("*.jsonl")))
        self.write("tmp", head + lines(21, 40))
        os.rename(self.at("tmp"), self.at("a.jsonl"))
        self.ends(run)
        self.assertEqual([row["id"] for row in self.printed(run)], [0] + list(range(21, 41)))

    def test_two_files_with_equal_heads(self):
        head = '{"id":0,"v":"%s"}\n' % ("h" * 400)
        self.write("a.jsonl", head + lines(1, 2))
        self.write("b.jsonl", head + lines(3, 4))
        run = self.ends(self.to_stdout())
        self.assertEqual([row["id"] for row in self.printed(run)], [0, 1, 2, 0, 3, 4])
        self.write("a.jsonl", lines(5, 5), "a")
        self.write("b.jsonl", lines(6, 6), "a")
        self.ends(run)
        self.assertEqual([row["id"] for row in self.printed(run)], [5, 6])

    def test_short_file_grows(self):
        self.write("a.jsonl", '{"id":1}\n')
        run = self.ends(self.to_stdout())
        for index in range(2, 60):
            self.write("a.jsonl", '{"id":%d}\n' % index, "a")
            if index % 10 == 0:
                self.ends(run)
                self.assertEqual([row["id"] for row in self.printed(run)][-1], index)
        self.ends(run)
        self.assertEqual([row["id"] for row in self.printed(run)], list(range(51, 60)))

    def test_copytruncate_with_both_in_sight(self):
        self.write("a.log", lines(1, 50))
        run = self.ends(self.to_stdout(self.at("a.log*")))
        self.write("a.log", lines(51, 52), "a")
        shutil.copy(self.at("a.log"), self.at("a.log.1"))
        os.truncate(self.at("a.log"), 0)
        self.write("a.log", lines(53, 54), "a")
        self.ends(run)
        self.assertEqual(sorted(row["id"] for row in self.printed(run)), [51, 52, 53, 54])

    def test_cut_while_stopped(self):
        self.write("a.log", lines(1, 50))
        run = self.ends(self.to_stdout(self.at("a.log")))
        os.truncate(self.at("a.log"), 100)
        run.fail(code=3, error="FILESRC_TRUNCATED")

    def test_a_name_that_is_no_text(self):
        name = os.fsencode(self.folder) + b"/\xff \xc3\xa4%.jsonl"
        with open(name, "wb") as out:
            out.write(lines(1, 2).encode())
        run = self.ends(self.to_stdout())
        self.assertEqual(len(self.printed(run)), 2)
        with open(name, "ab") as out:
            out.write(lines(3, 3).encode())
        self.ends(run)
        self.assertEqual([row["id"] for row in self.printed(run)], [3])


class Examples(Files):
    def run_users(self, name):
        path = os.path.join(ROOT, "examples", "users", name + ".jsonl")
        run = self.to_sqlite(path, format="cdc-json", malformed="skip")
        self.ends(run)
        return run

    def test_events(self):
        self.run_users("events")
        self.assertEqual(self.rows("id, name, email"), [(1, "Alice C", "alicec@example.com")])

    def test_new_and_missing_fields(self):
        self.run_users("new-field")
        self.assertEqual(self.rows("id, phone"), [(3, None), (4, "+1 555 0100")])

    def test_malformed(self):
        run = self.run_users("malformed")
        self.assertEqual(self.rows("id, name"), [(3, "Carol D"), (5, "Eve")])
        counts = re.findall(r'malformed lines were skipped" count=(\d+)', run.text())
        self.assertEqual(sum(map(int, counts)), 4)


class Stdin(Files):
    def feed(self, run, data):
        done = subprocess.run([binary(), "run", run.file], input=data, timeout=60 * PATIENCE,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              env=environment(run.state_dir), cwd=run.dir)
        self.assertEqual(done.returncode, 0, done.stderr)
        return [json.loads(line) for line in done.stdout.splitlines()]

    def test_lines(self):
        run = self.to_stdout("-")
        rows = self.feed(run, lines(1, 20000).encode()[:-1])
        self.assertEqual([row["id"] for row in rows], list(range(1, 20001)))
        rows = self.feed(run, lines(1, 3).encode())  # another input: nothing is left out
        self.assertEqual([row["id"] for row in rows], [1, 2, 3])

    def test_empty(self):
        self.assertEqual(self.feed(self.to_stdout("-"), b""), [])

    def test_as_it_comes(self):
        run = self.to_sqlite("-")
        with subprocess.Popen([binary(), "run", run.file], stdin=subprocess.PIPE, cwd=run.dir,
                              stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                              env=environment(run.state_dir)) as process:
            try:
                for index in range(1, 4):
                    process.stdin.write(lines(index, index).encode())
                    process.stdin.flush()
                    self.wait(lambda: self.ids() == list(range(1, index + 1)))
                process.stdin.close()
                self.assertEqual(process.wait(30), 0)
            finally:
                process.kill()


class Csv(Files):
    def expect(self, text, **dialect):
        table = list(csv.reader(io.StringIO(text, newline=""), **dialect))
        table = [row for row in table if row]
        return [dict(zip(table[0], row)) for row in table[1:]]

    def found(self, run):
        rows = self.printed(run)
        for row in rows:
            row.pop("__deleted", None)
        return [{k: "" if v is None else v for k, v in row.items()} for row in rows]

    def test_as_python_reads_it(self):
        seed = int.from_bytes(os.urandom(4), "big")
        chance = random.Random(seed)
        log("seed %d" % seed)
        out = io.StringIO(newline="")
        writer = csv.writer(out, lineterminator=chance.choice(["\n", "\r\n"]))
        writer.writerow(["id", "a b", "c"])
        pieces = ["x", '"', ",", "\n", " ", "é", "\t", "''", '""', "long" * 50]
        for index in range(3000):
            writer.writerow([index] + ["".join(chance.choices(pieces, k=chance.randint(0, 5)))
                                       for _ in range(2)])
        text = out.getvalue()
        self.write("t.csv", text)
        run = self.ends(self.to_stdout(format="csv"))
        self.assertEqual(self.found(run), self.expect(text))

    def test_other_characters_and_nulls(self):
        self.write("t.csv", "a;b\n'x;1';NULL\n'NULL';''\n")
        run = self.pipeline(dict(self.source(format="csv"), **{"csv.delimiter": ";", "csv.quote": "'",
                                                               "csv.null": "NULL"}),
                            {"type": "stdout", "format": "json"})
        self.ends(run)
        rows = self.printed(run)
        self.assertEqual([(r["a"], r["b"]) for r in rows], [("x;1", None), ("NULL", "")])

    def test_types_and_columns_by_name(self):
        self.write("a.csv", "id,price,at\n1,2.50,2024-02-29 10:00:00\n")
        self.write("b.csv", "at,id,price\n2024-03-01T00:00:00,2,3\n")
        run = self.pipeline(dict(self.source(format="csv"), **{
            "columns": ["id INT NOT NULL", "price DECIMAL(10,2)", "at TIMESTAMP"],
            "primary-keys": "id"}), {"type": "sqlite", "path": self.db})
        self.ends(run)
        self.assertEqual(sqlite_query(self.db, "select id, cast(price as real) from t order by id"),
                         [(1, 2.5), (2, 3.0)])

    def test_no_header(self):
        self.write("a.csv", "1,x\n2,y\n")
        run = self.pipeline(dict(self.source(format="csv"), **{"csv.header": False,
                                                               "columns": ["id INT", "v STRING"]}),
                            {"type": "stdout", "format": "json"})
        self.ends(run)
        self.assertEqual([(r["id"], r["v"]) for r in self.printed(run)], [(1, "x"), (2, "y")])

    def test_new_column(self):
        self.write("a.csv", "id,v\n1,x\n")
        self.write("b.csv", "id,v,w\n2,y,z\n")
        self.ends(self.to_sqlite(format="csv"))
        self.assertEqual(self.rows("id, v, w"), [("1", "x", None), ("2", "y", "z")])

    def test_malformed(self):
        text = 'id,v\n1,x\n2\n3,y,z\n4,"a"b\n5,ok\n6,"never closed\n7,fine\n'
        self.write("a.csv", text)
        run = self.ends(self.to_stdout(format="csv", malformed="skip"))
        self.assertEqual([row["id"] for row in self.printed(run)], ["1", "5", "7"])
        self.to_stdout(format="csv").fail(code=4, error="CSV_FIELDS")

    def test_bad_header(self):
        self.write("a.csv", "id,id\n1,x\n")
        self.to_stdout(format="csv").fail(code=4, error="CSV_HEADER")
        run = self.ends(self.to_stdout(format="csv", malformed="skip"))
        self.assertEqual(run.output(), "")

    def test_resume_reads_the_header_again(self):
        self.write("a.csv", "v,id\nx,1\n")
        run = self.ends(self.to_sqlite(format="csv"))
        self.write("a.csv", 'y,2\n"z\n",3\n', "a")
        self.ends(run)
        self.assertEqual(self.rows(), [("1", "x"), ("2", "y"), ("3", "z\n")])

    def test_followed(self):
        self.write("a.csv", "id,")
        run = self.to_sqlite(format="csv", follow=True, scan_interval="50ms").start()
        self.write("a.csv", 'v\n1,"x\n', "a")
        run.wait_log("streaming|open")
        self.write("a.csv", 'y"\n2,z\n', "a")
        self.wait(lambda: self.rows() == [("1", "x\ny"), ("2", "z")], run)
        run.stop()


class Memory(Files):
    def test_flat(self):
        """A file of 300 MB with a line of 100 MB in it; the pool is bounded and the window too."""
        piece = lines(1, 40000, "x" * 200)
        with open(self.at("a.jsonl"), "w") as out:
            for _ in range(16):
                out.write(piece)
            out.write("y" * 100000000 + "\n")
            for _ in range(8):
                out.write(piece)
        run = self.pipeline(self.source(malformed="skip"), {"type": "null"}).start()
        peak = 0
        while run.running():
            peak = max(peak, run.peak_rss_kb() or 0)
            time.sleep(0.02)
        self.assertEqual(run.wait_exit(), 0, run.tail())
        self.assertGreater(peak, 0)
        print("    peak %d kB" % peak)
        self.assertLess(peak, 130000, "kB")
