#!/usr/bin/python3
"""Instructions per event of each decoder, encoder and transform, into docs/performance.md.

    cmake -G Ninja -S . -B build/bench -DCMAKE_BUILD_TYPE=Release -DTAILRACE_TESTS=OFF
    ninja -C build/bench bench_decode bench_json bench_encode bench_copy bench_transform
    bench/micro/instructions.py --build build/bench [--print]

Each benchmark runs with two counts of events; the difference of the instructions divided by that of the
counts has no start and no end in it. They are counted by `perf stat -e instructions:u` where the kernel and
the machine allow it, else by valgrind's callgrind (which counts the same code, without the kernel).
Of a transform the filling of its batches is taken off, which the benchmark `nothing` does alone."""
import argparse
import os
import re
import shutil
import subprocess
import sys

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "e2e"))
from report import replace, table  # noqa: E402

BEGIN, END = "<!-- instructions:begin -->", "<!-- instructions:end -->"
PROGRAMS = [("decoder", "micro/bench_decode"), ("decoder", "micro/bench_json"),
            ("encoder", "encode/bench_encode"), ("encoder", "micro/bench_copy"),
            ("transform", "micro/bench_transform")]
COUNTS = {"perf": (100000, 600000), "callgrind": (5000, 25000)}
TIMEOUT_SECONDS = 300


def perf_works():
    if shutil.which("perf") is None:
        return False
    done = subprocess.run(["perf", "stat", "-x,", "-e", "instructions:u", "true"],
                          stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    return done.returncode == 0 and re.match(r"\d+,", done.stderr.strip()) is not None


def count(tool, argv):
    """(instructions of the process, what it printed)"""
    if tool == "perf":
        wrapped = ["perf", "stat", "-x,", "-e", "instructions:u", "--"] + argv
        pattern = r"^(\d+),"
    else:
        wrapped = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"] + argv
        pattern = r"Collected : (\d+)"
    done = subprocess.run(wrapped, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          timeout=TIMEOUT_SECONDS)
    found = re.search(pattern, done.stderr, re.M)
    if done.returncode or not found:
        raise SystemExit("%s\n%s" % (" ".join(wrapped), done.stderr))
    return int(found.group(1)), done.stdout


def measure(tool, program, name):
    few, many = COUNTS[tool]
    first, _ = count(tool, [program, name, str(few)])
    second, text = count(tool, [program, name, str(many)])
    size = re.search(r"(\d+) bytes", text)
    return (second - first) / (many - few), int(size.group(1)) if size else None


def rows_of(tool, build):
    rows, missing = [], []
    for kind, path in PROGRAMS:
        program = os.path.join(build, "bench", path)
        if not os.path.exists(program):
            missing.append(os.path.basename(path))
            continue
        names = subprocess.run([program, "--list"], stdout=subprocess.PIPE, text=True,
                               check=True).stdout.splitlines()
        base = measure(tool, program, "nothing")[0] if "nothing" in names else 0.0
        for name in names:
            if name == "nothing":
                continue
            instructions, size = measure(tool, program, name)
            prefix = "pgoutput, " if name.startswith(("insert", "update")) else ""
            rows.append([kind, prefix + name, str(size) if size else "–",
                         "{:,.0f}".format(instructions - base),
                         "%.1f" % ((instructions - base) / size) if size else "–"])
            print("%-10s %-42s %6s bytes %8s instructions" % tuple(rows[-1][:4]), flush=True)
    return rows, missing


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", required=True, help="a Release build")
    parser.add_argument("--tool", choices=sorted(COUNTS))
    parser.add_argument("--print", action="store_true", help="do not write the page")
    parser.add_argument("--docs", default=os.path.join(HERE, "..", "..", "docs"))
    args = parser.parse_args()
    tool = args.tool or ("perf" if perf_works() else "callgrind")
    if shutil.which("valgrind" if tool == "callgrind" else tool) is None:
        raise SystemExit("neither perf's counters nor valgrind can be had")
    rows, missing = rows_of(tool, args.build)
    text = table(["", "event", "bytes", "instructions", "a byte"], rows)
    text = re.sub(r"^\|---\|---:\|", "|---|---|", text, flags=re.M)
    compiler = subprocess.run(["cc", "--version"], stdout=subprocess.PIPE, text=True,
                              check=False).stdout.splitlines()[:1]
    text += "\n\nCounted by %s; a Release build by %s." % (
        "perf" if tool == "perf" else "callgrind", (compiler or ["cc"])[0])
    if missing:
        text += " Not built: %s." % ", ".join(missing)
    if not args.print:
        replace(os.path.join(args.docs, "performance.md"), BEGIN, END, text)


if __name__ == "__main__":
    main()
