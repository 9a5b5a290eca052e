#!/usr/bin/python3
"""Runs one scenario: run.py SCENARIO/test.py [--bin TAILRACE] [--servers FILE] [Class[.test] …]

Prints one line a test. Exit: 0 all passed, 1 something failed, 77 everything was skipped (under
CI=true a skip is a failure)."""
import argparse
import importlib.util
import os
import signal
import sys
import time
import traceback
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.dont_write_bytecode = True
LOG_LINES = 30


class Result(unittest.TestResult):
    def startTest(self, test):
        super().startTest(test)
        self.began = time.monotonic()

    def _line(self, word, test, more=""):
        name = getattr(test, "_testMethodName", str(test))
        print("%-7s %6.2f s  %s%s" % (word, time.monotonic() - getattr(self, "began", time.monotonic()),
                                      name, more), flush=True)

    def addSuccess(self, test):
        super().addSuccess(test)
        self._line("passed", test)

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self._line("skipped", test, ": " + reason)

    def _bad(self, test, err):
        self._line("FAILED", test)
        text = "".join(traceback.format_exception(*err))
        sys.stdout.write("".join("    " + line + "\n" for line in text.splitlines()[-60:]))
        for run in getattr(test, "runs", []):
            if run.stderr_path:
                print("    --- %s (process %d), last lines:" % (run.file, run.count))
                print(run.tail(LOG_LINES))
        sys.stdout.flush()

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self._bad(test, err)

    def addError(self, test, err):
        super().addError(test, err)
        self._bad(test, err)

    def addExpectedFailure(self, test, err):
        super().addExpectedFailure(test, err)
        self._bad(test, err)

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            print("    in %s" % subtest)
            self._bad(test, err)


def terminated(*_):
    # Unwinds, so that atexit ends the children.
    sys.exit(1)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("scenario")
    parser.add_argument("names", nargs="*")
    parser.add_argument("--bin")
    parser.add_argument("--servers")
    parser.add_argument("-x", "--first", action="store_true", help="stop at the first failure")
    args = parser.parse_args()
    if args.bin:
        os.environ["TAILRACE_BIN"] = os.path.abspath(args.bin)
    if args.servers:
        os.environ["TAILRACE_TEST_SERVERS"] = args.servers
    signal.signal(signal.SIGTERM, terminated)
    path = args.scenario
    if os.path.isdir(path):
        path = os.path.join(path, "test.py")
    spec = importlib.util.spec_from_file_location("scenario", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["scenario"] = module
    try:
        spec.loader.exec_module(module)
    except unittest.SkipTest as reason:
        print("skipped: %s" % reason)
        return 77
    loader = unittest.TestLoader()
    suite = (loader.loadTestsFromNames(args.names, module) if args.names
             else loader.loadTestsFromModule(module))
    result = Result()
    result.failfast = args.first
    suite.run(result)
    bad = len(result.failures) + len(result.errors)
    skipped = len(result.skipped)
    print("%d run, %d failed, %d skipped" % (result.testsRun, bad, skipped), flush=True)
    if bad or loader.errors:
        return 1
    if skipped and os.environ.get("CI") == "true":
        return 1
    return 77 if skipped and skipped >= result.testsRun else 0


if __name__ == "__main__":
    sys.exit(main())
