"""What every part of the harness needs: bounded waits, children that never outlive us, temporary
folders, ports, and skips that a CI run turns into failures."""
import atexit
import ctypes
import functools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

import psycopg2

CI = os.environ.get("CI", "") == "true"
SANITIZED = os.environ.get("TAILRACE_SANITIZED", "") not in ("", "0")
# How much longer things take under a sanitizer on a small machine.
PATIENCE = 2.5 if SANITIZED else 1.5
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

_libc = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG = 1


class Timeout(AssertionError):
    """A bounded wait ran out."""


def skip(reason):
    """Skips a test because something cannot be had; under CI=true that is a failure."""
    if CI:
        raise AssertionError("skipped, which CI does not allow: " + reason)
    raise unittest.SkipTest(reason)


def log(text):
    sys.stderr.write("    %s\n" % text)
    sys.stderr.flush()


def wait_for(condition, timeout=20.0, what="a condition", interval=0.05):
    """Calls condition until it gives something true, and returns that. An AssertionError of the
    condition counts as "not yet" and is shown when the time is over."""
    deadline = time.monotonic() + timeout * PATIENCE
    last = None
    while True:
        try:
            value = condition()
            if value:
                return value
            last = None
        except AssertionError as error:
            if isinstance(error, Dead):
                raise
            last = error
        except psycopg2.ProgrammingError as error:  # a table or column that is not there yet
            last = error
        if time.monotonic() > deadline:
            raise Timeout("waited %.0f s for %s%s"
                          % (timeout * PATIENCE, what, "\n" + str(last) if last else ""))
        time.sleep(interval)


class Dead(AssertionError):
    """The process that a wait depends on is gone: waiting longer is useless."""


# ---- temporary folders ----------------------------------------------------------------------------

_folders = []


def temp_dir(prefix="tailrace-test-"):
    """A new folder, removed at exit. Kept when TAILRACE_TEST_KEEP is set."""
    path = tempfile.mkdtemp(prefix=prefix, dir=os.environ.get("TAILRACE_TEST_TMP"))
    os.chmod(path, 0o755)
    _folders.append(path)
    return path


# ---- an ordinary user for servers that refuse root ------------------------------------------------


class User:
    def __init__(self, name):
        entry = pwd.getpwnam(name)
        self.name, self.uid, self.gid = name, entry.pw_uid, entry.pw_gid


def server_user():
    """The user that servers run as: None (ourselves) unless we are root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return User(name)
        except KeyError:
            continue
    return None


# ---- children -------------------------------------------------------------------------------------

_children = []


def _die_with_parent(sig):
    def run():
        _libc.prctl(_PR_SET_PDEATHSIG, sig, 0, 0, 0)
    return run


def spawn(argv, user=None, death_signal=signal.SIGKILL, **kwargs):
    """Starts a child that the kernel ends when the thread that started it ends (so: start children
    from the main thread), and that atexit ends in any case."""
    if user is not None:
        kwargs.update(user=user.uid, group=user.gid, extra_groups=[])
    child = subprocess.Popen(argv, preexec_fn=_die_with_parent(death_signal), **kwargs)
    child.death_signal = death_signal
    _children.append(child)
    return child


def end(child, sig=signal.SIGTERM, timeout=15.0):
    """Ends a child by its id: sig first, SIGKILL when that takes too long. Returns its code."""
    if child is None:
        return None
    if child.poll() is None:
        child.send_signal(sig)
        try:
            child.wait(timeout)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait(timeout)
    if child in _children:
        _children.remove(child)
    return child.returncode


@atexit.register
def _cleanup():
    for child in list(_children):
        try:
            end(child, child.death_signal, 5)
        except (OSError, subprocess.SubprocessError):
            pass
    if os.environ.get("TAILRACE_TEST_KEEP"):
        for path in _folders:
            sys.stderr.write("kept %s\n" % path)
        return
    for path in _folders:
        shutil.rmtree(path, ignore_errors=True)


def run(argv, timeout=60.0, check=True, user=None, **kwargs):
    """A short command; its output is text. Raises with all it printed when it fails."""
    if user is not None:
        kwargs.update(user=user.uid, group=user.gid, extra_groups=[])
    done = subprocess.run(argv, timeout=timeout, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, errors="replace", **kwargs)
    if check and done.returncode != 0:
        raise AssertionError("%s ended with %d\n%s%s"
                             % (" ".join(argv), done.returncode, done.stdout, done.stderr))
    return done


# ---- ports ----------------------------------------------------------------------------------------

_holders = []  # the sockets that hold the ports of this process


@functools.lru_cache(maxsize=None)
def _candidates():
    """Ports that the kernel does not give to outgoing connections, which could take one at any
    moment; all of ours where it says that it gives them all."""
    try:
        with open("/proc/sys/net/ipv4/ip_local_port_range") as file:
            low, high = map(int, file.read().split())
    except (FileNotFoundError, ValueError):
        low, high = 32768, 60999
    ours = range(10000, 30000)
    return [port for port in ours if not low <= port <= high] or ours


def _bound(family, address):
    """A socket bound to the address; None when it is taken."""
    found = socket.socket(family)
    try:
        found.bind(address)
    except OSError:
        found.close()
        return None
    return found


def free_port():
    """A loopback port that nobody listens on now and that no process of the harness has been given:
    it stays this one's until the process ends. Tests run beside each other, and a server takes
    seconds from its configuration to its bind; so an abstract socket holds the port. It belongs to
    the network namespace, as ports do, and is gone with its process."""
    candidates = _candidates()
    first = os.getpid() * 37
    for step in range(len(candidates)):
        port = candidates[(first + step) % len(candidates)]
        holder = _bound(socket.AF_UNIX, "\0tailrace-test-port-%d" % port)
        if holder is None:
            continue
        probe = _bound(socket.AF_INET, ("127.0.0.1", port))
        if probe is None:
            holder.close()
            continue
        probe.close()
        _holders.append(holder)
        return port
    raise AssertionError("no free port")


def proc_status(pid, field):
    """A number of /proc/PID/status, for example VmHWM (kB) or Threads; None when it is gone."""
    try:
        with open("/proc/%d/status" % pid) as status:
            for line in status:
                if line.startswith(field + ":"):
                    return int(line.split()[1])
    except (FileNotFoundError, ProcessLookupError):
        pass
    return None


def proc_cpu_seconds(pid, children=False):
    """utime + stime of a process (with its reaped children if asked); None when it is gone."""
    try:
        with open("/proc/%d/stat" % pid) as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    ticks = int(fields[11]) + int(fields[12])
    if children:
        ticks += int(fields[13]) + int(fields[14])
    return ticks / os.sysconf("SC_CLK_TCK")
