"""Pipeline files that are wrong: file, line, column and what was expected; and forms that are right."""
import os

from tr import *

GOOD = """source:
  type: postgres
  hostname: 127.0.0.1
  port: 1
  username: u
  password: p
  tables: 'd.public.\\.*'
sink:
  type: sqlite
  path: x.db
pipeline:
  name: good
"""


class PipelineFile(Case):
    PG = False

    def check(self, text, name="p.yaml", env=None):
        path = self.path(name)
        with open(path, "w", newline="") as out:
            out.write(text)
        return cli("check", "--offline", path, env=env, state_dir=self.path("state"))

    def refused(self, text, line, *needles, name="p.yaml", code="CONFIG_"):
        done = self.check(text, name)
        self.assertEqual(done.returncode, 2, done)
        self.assertIn(code, done.all)
        if line is not None:
            self.assertRegex(done.all, r"%s:%d:\d+" % (name.replace(".", r"\."), line), done)
        for needle in needles:
            self.assertIn(needle, done.all)
        # run says the same and starts nothing.
        ran = cli("run", self.path(name), state_dir=self.path("state"))
        self.assertEqual(ran.returncode, 2, ran)
        self.assertIn(code, ran.all)
        self.assertNotIn("hunter2", done.all + ran.all)
        return done

    def test_a_good_one(self):
        done = self.check(GOOD)
        self.assertEqual(done.returncode, 0, done)

    def test_json(self):
        done = self.check('{"source": {"type": "postgres", "hostname": "h", "username": "u", "tables": "d.public.t"},'
                          ' "sink": {"type": "null"}, "pipeline": {"name": "j"}}', "p.json")
        self.assertEqual(done.returncode, 0, done)

    def test_flow_style_as_in_the_readme(self):
        done = self.check("source: {type: postgres, hostname: h, port: 5432, username: u, password: p, "
                          "tables: 'shop.public.\\.*'}\nsink:   {type: sqlite, path: shop.db}\n"
                          "route:  [{source-table: 'shop.public.order_\\.*', sink-table: orders}]\n"
                          "pipeline: {name: shop}\n")
        self.assertEqual(done.returncode, 0, done)

    def test_unknown_keys_name_the_nearest(self):
        self.refused(GOOD.replace("hostname:", "hostnam:"), 3, "hostnam", "hostname")
        self.refused(GOOD.replace("  path: x.db", "  pth: x.db"), 10, "pth", "path")
        self.refused(GOOD.replace("pipeline:", "pipelin:"), 11, "pipelin", "pipeline")
        self.refused(GOOD + "  paralelism: 2\n", 13, "paralelism", "parallelism")

    def test_unknown_connector(self):
        self.refused(GOOD.replace("type: sqlite", "type: sqlit"), 9, "sqlit", "sqlite",
                     code="CONFIG_UNKNOWN_CONNECTOR")
        self.refused(GOOD.replace("type: postgres", "type: oracle"), 2, "oracle",
                     code="CONFIG_UNKNOWN_CONNECTOR")

    def test_wrong_values(self):
        self.refused(GOOD.replace("port: 1", "port: many"), 4, "port")
        self.refused(GOOD.replace("port: 1", "port: 70000"), 4, "65535")
        self.refused(GOOD + "  checkpoint.interval: 5 parsecs\n", 13, "checkpoint.interval")
        self.refused(GOOD + "  schema.change.behavior: sometimes\n", 13, "evolve", "lenient")
        self.refused(GOOD.replace("  tables", "  scan.startup.mode: yesterday\n  tables"), 7, "initial")

    def test_missing_parts(self):
        self.refused("source: {type: postgres, hostname: h, tables: a.b.c}\n", None, "sink")
        self.refused(GOOD.replace("  tables: 'd.public.\\.*'\n", ""), None, "tables")
        self.refused(GOOD.replace("  type: sqlite\n", ""), None, "type")
        self.refused("", None)
        self.refused("- a\n- b\n", None)

    def test_duplicate_keys(self):
        self.refused(GOOD.replace("  port: 1\n", "  port: 1\n  port: 2\n"), 5, "port")

    def test_malformed_yaml_and_json(self):
        self.refused(GOOD.replace("sink:\n", "sink: [\n"), None)
        self.refused("source: {type: postgres\n", None)
        self.refused('{"source": {"type": "postgres",}, "sink"', None, name="p.json")
        self.refused("source:\n\ttype: postgres\n", None)
        self.refused("\x00\x01\x02", None)

    def test_bombs(self):
        aliases = "a: &a [x, x, x, x, x, x, x, x, x]\n"
        previous = "a"
        for name in "bcdefghi":
            aliases += "%s: &%s [%s]\n" % (name, name, ", ".join(["*" + previous] * 9))
            previous = name
        self.refused(aliases + GOOD, None)
        self.refused("source: " + "[" * 10000 + "]" * 10000 + "\n", None)
        self.refused("source: " + "{a: " * 5000 + "1" + "}" * 5000 + "\n", None)

    def test_bad_patterns(self):
        # A source's patterns are its own: it compiles them when it is opened.
        self.check(GOOD.replace("'d.public.\\.*'", "'d.public.(unclosed'"))
        for command in ("check", "run"):
            done = cli(command, self.path("p.yaml"))
            self.assertEqual(done.returncode, 2, done)
            self.assertIn("(unclosed", done.all)
            self.assertRegex(done.all, "CONFIG_PATTERN|PG_OPTION")

    def test_bad_routes(self):
        self.refused(GOOD + "route:\n  - source-table: d.public.t\n", None, "sink-table")
        self.refused(GOOD + "route:\n  - {source-table: d.public.t, sink-tabel: x}\n", 14, "sink-table")

    def test_variables(self):
        text = GOOD.replace("password: p", "password: ${env:SECRET}").replace("port: 1", "port: ${PORT:-5432}")
        self.assertEqual(self.check(text, env={"SECRET": "hunter2"}).returncode, 0)
        done = self.check(text)
        self.assertEqual(done.returncode, 2, done)
        self.assertIn("SECRET", done.all)
        with open(self.path("pw"), "w") as out:
            out.write("hunter2\n")
        done = self.check(GOOD.replace("password: p", "password: ${file:%s}" % self.path("pw")))
        self.assertEqual(done.returncode, 0, done)
        done = self.check(GOOD.replace("password: p", "password: ${file:/no/such/file}"))
        self.assertEqual(done.returncode, 2, done)
        self.assertIn("/no/such/file", done.all)

    def test_a_value_cannot_inject_keys(self):
        """What a variable holds is a value, never YAML."""
        text = GOOD.replace("username: u", "username: ${env:WHO}")
        done = self.check(text, env={"WHO": "u\nsslmode: disable\nbogus: 1"})
        self.assertEqual(done.returncode, 0, done)

    def test_no_such_file(self):
        done = cli("check", self.path("absent.yaml"))
        self.assertEqual(done.returncode, 2)
        self.assertIn("CONFIG_FILE", done.all)
        done = cli("run", self.dir)
        self.assertEqual(done.returncode, 2)

    def test_standard_input(self):
        done = cli("check", "--offline", "-", stdin=GOOD)
        self.assertEqual(done.returncode, 0, done)

    def test_the_examples_are_right(self):
        folder = os.path.join(ROOT, "examples", "shop")
        for name in sorted(os.listdir(folder)):
            if name.endswith(".yaml"):
                with self.subTest(example=name):
                    done = cli("check", "--offline", os.path.join(folder, name))
                    self.assertEqual(done.returncode, 0, done)
