"""Running the tailrace binary: pipelines in the foreground, and the short commands."""
import json
import os
import re
import signal
import subprocess
import sys

from .common import (PATIENCE, Dead, end, proc_cpu_seconds, proc_status, spawn, temp_dir, wait_for)

SANITIZER_REPORT = re.compile(
    r"ERROR: (Address|Leak)Sanitizer|runtime error: |WARNING: ThreadSanitizer|"
    r"SUMMARY: \w+Sanitizer|double free|stack smashing|Assertion .* failed")
# What a pipeline gets beyond its own settings so that tests are quick.
QUICK = {"checkpoint.interval": "200ms", "batch.linger": "20ms",
         "restart-strategy.type": "none"}


def binary():
    path = os.environ.get("TAILRACE_BIN")
    if not path or not os.path.exists(path):
        raise SystemExit("set TAILRACE_BIN to the tailrace binary (now: %r)" % path)
    return os.path.abspath(path)


def environment(state_dir, extra=None):
    keep = {k: v for k, v in os.environ.items()
            if not k.startswith(("PG", "TAILRACE_")) and k not in ("XDG_STATE_HOME",)}
    keep.update(
        TAILRACE_STATE_DIR=state_dir, TZ="UTC", LC_ALL="C.UTF-8",
        ASAN_OPTIONS="exitcode=99:quarantine_size_mb=8:malloc_context_size=6:"
                     "allocator_release_to_os_interval_ms=500",
        UBSAN_OPTIONS="print_stacktrace=1:halt_on_error=1:exitcode=99",
        TSAN_OPTIONS="exitcode=99:halt_on_error=0:history_size=3:suppressions="
                     + os.path.join(os.path.dirname(__file__), "..", "tsan.supp"))
    keep.update(extra or {})
    return keep


class Run:
    """One pipeline file and the processes that ran it, one after the other.

    spec: a mapping (written as JSON, which the parser reads too) or the text of a file. A mapping gets
    short intervals and no restart strategy unless it names its own."""

    def __init__(self, spec, name=None, quick=True, state_dir=None, env=None, directory=None):
        self.dir = directory or temp_dir("tailrace-run-")
        self.state_dir = state_dir or os.path.join(self.dir, "state")
        self.env = env or {}
        if isinstance(spec, dict):
            spec = dict(spec)
            pipeline = dict(QUICK) if quick else {}
            pipeline.update(spec.get("pipeline") or {})
            spec["pipeline"] = {k: v for k, v in pipeline.items() if v is not None}
            name = name or pipeline.get("name")
            text, suffix = json.dumps(spec, indent=2, ensure_ascii=False), ".json"
        else:
            text, suffix = spec, ".yaml"
        self.name = name
        self.file = os.path.join(self.dir, (name or "pipeline") + suffix)
        with open(self.file, "w") as out:
            out.write(text)
        self.process = None
        self.count = 0            # processes started
        self.stderr_path = None
        self.stdout_path = None

    # ---- the process ----

    def start(self, failpoint=None, env=None, args=()):
        assert self.process is None or self.process.poll() is not None, "already running"
        self.count += 1
        self.stderr_path = os.path.join(self.dir, "stderr.%d" % self.count)
        self.stdout_path = os.path.join(self.dir, "stdout.%d" % self.count)
        extra = dict(self.env, **(env or {}))
        if failpoint:
            extra["TAILRACE_FAILPOINT"] = failpoint
        with open(self.stdout_path, "wb") as out, open(self.stderr_path, "wb") as err:
            self.process = spawn([binary(), "run", self.file] + list(args), stdout=out, stderr=err,
                                 stdin=subprocess.DEVNULL, cwd=self.dir,
                                 env=environment(self.state_dir, extra))
        return self

    @property
    def pid(self):
        return self.process.pid

    def running(self):
        return self.process is not None and self.process.poll() is None

    def alive(self):
        """For conditions: fails at once when the process has ended."""
        if not self.running():
            raise Dead("tailrace ended with %s\n%s" % (self.process.returncode, self.tail()))
        return True

    def wait_exit(self, timeout=30):
        try:
            code = self.process.wait(timeout * PATIENCE)
        except subprocess.TimeoutExpired:
            raise AssertionError("tailrace did not end within %.0f s\n%s"
                                 % (timeout * PATIENCE, self.tail())) from None
        self.check_sanitizers()
        return code

    def kill(self):
        """SIGKILL, and gone when it returns."""
        end(self.process, signal.SIGKILL)
        self.check_sanitizers()

    def stop(self, timeout=30, code=0):
        """SIGTERM; the pipeline drains and exits 0."""
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        found = self.wait_exit(timeout / PATIENCE if timeout <= 30 else timeout)
        end(self.process)
        if code is not None and found != code:
            raise AssertionError("tailrace ended with %s, not %s\n%s" % (found, code, self.tail()))

    def close(self):
        if self.process is not None and self.process.poll() is None:
            end(self.process, signal.SIGKILL)
            self.check_sanitizers()

    def fail(self, code=None, timeout=30, error=None, **start):
        """Runs a pipeline that has to end with a failure. Checks the exit code and that the last log
        line holds the stable error code; returns that line."""
        if self.process is None or self.process.poll() is not None:
            self.start(**start)
        found = self.wait_exit(timeout)
        line = self.last_line()
        if found == 0 or found < 0 or found == 99:
            raise AssertionError("expected a failure, ended with %s\n%s" % (found, self.tail()))
        if code is not None and found != code:
            raise AssertionError("exit code %s, not %s\n%s" % (found, code, self.tail()))
        if error is not None and error not in line:
            raise AssertionError("last line does not hold %s\n%s" % (error, self.tail()))
        return line

    # ---- what it said ----

    def text(self):
        if self.stderr_path is None:
            return ""
        with open(self.stderr_path, errors="replace") as file:
            return file.read()

    def output(self):
        with open(self.stdout_path, errors="replace") as file:
            return file.read()

    def all_text(self):
        parts = []
        for index in range(1, self.count + 1):
            with open(os.path.join(self.dir, "stderr.%d" % index), errors="replace") as file:
                parts.append(file.read())
        return "".join(parts)

    def last_line(self):
        lines = [line for line in self.text().splitlines() if line.strip()]
        return lines[-1] if lines else ""

    def tail(self, lines=25):
        return "\n".join("      | " + line for line in self.text().splitlines()[-lines:])

    def check_sanitizers(self):
        text = self.text()
        match = SANITIZER_REPORT.search(text)
        if match:
            raise AssertionError("sanitizer report:\n" + text[max(0, match.start() - 200):][:6000])

    def wait_log(self, pattern, timeout=20):
        regex = re.compile(pattern)

        def seen():
            found = regex.search(self.text())
            return found or (self.alive() and None)
        return wait_for(seen, timeout, "log line %r" % pattern)

    # ---- what it costs ----

    def peak_rss_kb(self):
        return proc_status(self.pid, "VmHWM")

    def cpu_seconds(self):
        return proc_cpu_seconds(self.pid)

    # ---- commands on the same state ----

    def cli(self, *args, **kwargs):
        return cli(*args, state_dir=self.state_dir, **kwargs)

    def check(self, *args, **kwargs):
        return self.cli("check", self.file, *args, **kwargs)

    def verify(self, *args, **kwargs):
        kwargs.setdefault("timeout", 60)
        return self.cli("verify", self.file, *args, **kwargs)

    def status(self):
        """status --json of this pipeline, or None while it does not answer."""
        done = self.cli("status", self.name, "--json")
        if done.returncode != 0:
            return None
        return json.loads(done.stdout)


class Done:
    def __init__(self, code, out, err):
        self.returncode, self.stdout, self.stderr = code, out, err

    @property
    def all(self):
        return self.stdout + self.stderr

    def __repr__(self):
        return "exit %s\n--- stdout\n%s\n--- stderr\n%s" % (self.returncode, self.stdout, self.stderr)


def cli(*args, state_dir=None, stdin=None, timeout=30, env=None, cwd=None):
    """A short command. Fails on a crash or a sanitizer's report; the exit code is the caller's."""
    state_dir = state_dir or os.path.join(temp_dir(), "state")
    try:
        done = subprocess.run([binary()] + list(args), input=stdin if stdin is not None else "",
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              errors="replace", timeout=timeout * PATIENCE, cwd=cwd,
                              env=environment(state_dir, env))
    except subprocess.TimeoutExpired as late:
        raise AssertionError("%s did not end within %.0f s: %s"
                             % (" ".join(args), timeout * PATIENCE, late.stderr)) from None
    text = done.stdout + done.stderr
    if done.returncode < 0 or done.returncode == 99 or SANITIZER_REPORT.search(text):
        raise AssertionError("%s crashed with %d\n%s" % (" ".join(args), done.returncode, text))
    return Done(done.returncode, done.stdout, done.stderr)


def warn(text):
    sys.stderr.write("    %s\n" % text)
