#!/usr/bin/python3
"""The servers that scenarios share, as a ctest fixture: servers.py start FILE | stop FILE.

start leaves a supervisor behind that owns the broker and writes its address into FILE. The supervisor
ends it on `stop`, and also when ctest (our parent) is gone, so nothing outlives a broken run."""
import json
import os
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
START_SECONDS = 900  # the first start may have to download
LIFE_SECONDS = 3 * 3600


def write(path, data):
    with open(path + ".new", "w") as out:
        json.dump(data, out)
    os.rename(path + ".new", path)


def supervise(path, watched):
    """Runs until told to stop, or until the process `watched` is gone."""
    import unittest

    from tr.kafka import Kafka
    stopping = []
    signal.signal(signal.SIGTERM, lambda *_: stopping.append(True))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    broker, why = None, None
    try:
        try:
            broker = Kafka()
        except unittest.SkipTest as reason:
            why = str(reason)
        except AssertionError as reason:
            why = str(reason)
        write(path, {"pid": os.getpid(), "kafka": broker.bootstrap if broker else None, "why": why})
        began = time.monotonic()
        while not stopping and time.monotonic() - began < LIFE_SECONDS:
            try:
                os.kill(watched, 0)
            except ProcessLookupError:
                break
            time.sleep(0.3)
    finally:
        if broker is not None:
            broker.close()
        if os.path.exists(path):
            os.unlink(path)


def start(path):
    if os.path.exists(path):
        stop(path)
    log = open(path + ".log", "wb")
    child = subprocess.Popen([sys.executable, os.path.abspath(__file__), "supervise", path,
                              str(os.getppid())], stdout=log, stderr=log,
                             stdin=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if os.path.exists(path):
            with open(path) as file:
                found = json.load(file)
            if found["kafka"]:
                print("kafka at %s" % found["kafka"])
                return 0
            print("no kafka: %s" % found["why"])
            return 1 if os.environ.get("CI") == "true" else 0
        if child.poll() is not None:
            with open(path + ".log", errors="replace") as file:
                print(file.read()[-4000:])
            return 1
        time.sleep(0.1)
    child.terminate()
    print("the servers did not start within %d s" % START_SECONDS)
    return 1


def stop(path):
    try:
        with open(path) as file:
            pid = json.load(file)["pid"]
    except FileNotFoundError:
        return 0
    # The id may have been given to someone else since: look before ending it.
    try:
        with open("/proc/%d/cmdline" % pid, "rb") as cmdline:
            ours = path.encode() in cmdline.read()
    except FileNotFoundError:
        ours = False
    if ours:
        os.kill(pid, signal.SIGTERM)
        for _ in range(300):
            if not os.path.exists(path):
                return 0
            time.sleep(0.1)
        os.kill(pid, signal.SIGKILL)
    if os.path.exists(path):
        os.unlink(path)
    return 0


if __name__ == "__main__":
    if len(sys.argv) >= 3 and sys.argv[1] == "start":
        sys.exit(start(sys.argv[2]))
    if len(sys.argv) >= 3 and sys.argv[1] == "stop":
        sys.exit(stop(sys.argv[2]))
    if len(sys.argv) == 4 and sys.argv[1] == "supervise":
        supervise(sys.argv[2], int(sys.argv[3]))
        sys.exit(0)
    sys.exit("usage: servers.py start|stop FILE")
