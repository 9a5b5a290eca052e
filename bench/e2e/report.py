#!/usr/bin/python3
"""Writes what run.py measured into docs/performance.md, and the plots beside it.

    bench/e2e/report.py result.json [more.json …] [--docs docs]

Of several files a later one replaces the items that it holds. Only what is between the markers is
written anew; the prose around it stays."""
import argparse
import json
import os
import statistics
import sys

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import plots  # noqa: E402

BEGIN, END = "<!-- measured:begin -->", "<!-- measured:end -->"
TXNS = ("tx 100", "tx 1")
WORK = [("snapshot-null", "", "snapshot → null"), ("snapshot-kafka", "", "snapshot → Kafka"),
        ("snapshot-postgres", "", "snapshot → PostgreSQL")] + \
       [("stream-" + sink, txn, "stream → %s, %s" % (name, txn)) for sink, name in
        (("null", "null"), ("kafka", "Kafka"), ("postgres", "PostgreSQL"), ("sqlite", "SQLite"))
        for txn in TXNS]
MB = 1024.0


class Figures:
    def __init__(self, results):
        self.results = results

    def each(self, item, entrant, variant, value):
        found = []
        for r in self.results:
            if (r["item"], r["entrant"], r["variant"]) == (item, entrant, variant):
                try:
                    found.append(value(r))
                except KeyError:
                    pass
        return found

    def median(self, item, entrant, variant, value):
        found = self.each(item, entrant, variant, value)
        return statistics.median(found) if found else None

    def rate(self, item, entrant, variant=""):
        return self.median(item, entrant, variant, rate)

    def cpu(self, item, entrant, variant="", key="cpu"):
        """CPU seconds for a million rows or changes."""
        return self.median(item, entrant, variant, lambda r: r[key] * 1e6 / r["count"])

    def label(self, item, entrant, variant=""):
        found = self.each(item, entrant, variant, lambda r: r["label"])
        return found[0] if found else ""

    def peak_mb(self):
        found = [(r["peak_kb"] / MB, r) for r in self.results
                 if r["entrant"].startswith("tailrace") and r.get("peak_kb")]
        return max(found, key=lambda pair: pair[0]) if found else (None, None)


def rate(result):
    return result["count"] / result["seconds"]


# ---- goals --------------------------------------------------------------------------------------------


def part(f, item, other, least, variant="", what="the floor"):
    ours, theirs = f.rate(item, "tailrace", variant), f.rate(item, other, variant)
    if ours is None or theirs is None:
        return None
    return "%.2f × %s" % (ours / theirs, what), ours / theirs >= least


def cheaper(f, item, least, variant=""):
    ours, theirs = f.cpu(item, "tailrace", variant), f.cpu(item, "peer", variant)
    if not ours or theirs is None:
        return None
    return "1/%.1f" % (theirs / ours), theirs / ours >= least


def at_most(value, limit, form):
    return None if value is None else (form % value, value <= limit)


def beside_log(f, found, variant):
    """No stream can be faster than the log comes; how fast that is, is said beside the figure."""
    log = f.rate("stream-null", "floor", variant)
    if found is None or log is None:
        return found
    return "%s; a walsender alone: %.0f k/s" % (found[0], log / 1000), found[1]


def sqlite_rate(f, variant):
    ours = f.rate("stream-sqlite", "tailrace", variant)
    found = None if ours is None else ("%.0f k/s" % (ours / 1000), ours >= 150000)
    return beside_log(f, found, variant)


def to_kafka(f, variant):
    """The reader is the lower one of the two floors: the log comes no faster, the producer reads none."""
    ours, log = f.rate("stream-kafka", "tailrace", variant), f.rate("stream-null", "floor", variant)
    producer = f.rate("stream-kafka", "floor", variant)
    if ours is None or log is None:
        return None
    beside = "" if producer is None else "; %.2f × the producer, which reads no log" % (ours / producer)
    return "%.2f × the floor%s" % (ours / log, beside), ours / log >= 0.8


def percentile(f, name, limit):
    return at_most(f.median("latency", "tailrace", "", lambda r: r[name]), limit, "%.1f ms")


def start_ms(f):
    return at_most(f.median("start", "tailrace", "", lambda r: r["seconds"] * 1000), 100, "%.0f ms")


def peak(f):
    most, where = f.peak_mb()
    if most is None:
        return None
    return "%.1f MB (%s)" % (most, ("%s %s" % (where["item"], where["variant"])).strip()), most <= 64


def by_table_count(f, entrant):
    """The dearest table count against a single table, CPU of a row."""
    base = f.median("scaling-tables", entrant, "1 tables", lambda r: r["cpu"] / r["count"])
    most = f.median("scaling-tables", entrant, "1000 tables", lambda r: r["cpu"] / r["count"])
    if not base or most is None:
        return None
    return "%.1f × the CPU a row" % (most / base), most / base <= 1.5


def goals(f):
    """(work, goal, what was measured and whether that reaches it, or None)"""
    yield "snapshot → null", "≥ 0.8 of COPY", part(f, "snapshot-null", "floor", 0.8)
    yield "snapshot → Kafka", "≥ 3 × Debezium, tuned", \
        part(f, "snapshot-kafka", "peer", 3, what="Debezium")
    yield "snapshot → Kafka", "≤ 1/6 of Debezium's CPU", cheaper(f, "snapshot-kafka", 6)
    yield "snapshot → PostgreSQL", "≥ 0.8 of psql | psql", part(f, "snapshot-postgres", "floor", 0.8)
    yield "snapshot → PostgreSQL", "≤ 0.5 CPU s for 1 M rows", \
        at_most(f.cpu("snapshot-postgres", "tailrace"), 0.5, "%.2f CPU s")
    for txn in TXNS:
        yield "stream → null, " + txn, "≥ 0.95 of the gulping reader", \
            part(f, "stream-null", "floor", 0.95, txn)
    for txn in TXNS:
        yield "stream → Kafka, " + txn, "≥ 0.8 of the gulping reader", to_kafka(f, txn)
        yield "stream → Kafka, " + txn, "≤ 1/10 of Debezium's CPU", cheaper(f, "stream-kafka", 10, txn)
    for txn, least in (("tx 100", 1.0), ("tx 1", 2.0)):
        yield "stream → PostgreSQL, " + txn, "≥ %.1f × the native subscription" % least, \
            part(f, "stream-postgres", "floor", least, txn, "the subscription")
    for txn in TXNS:
        yield "stream → SQLite, " + txn, "≥ 150 k/s", sqlite_rate(f, txn)
    yield "commit → visible in Kafka", "p50 ≤ 3 ms", percentile(f, "p50_ms", 3)
    yield "commit → visible in Kafka", "p99 ≤ 15 ms", percentile(f, "p99_ms", 15)
    yield "peak memory, everywhere", "≤ 64 MB", peak(f)
    yield "start → first change", "≤ 100 ms", start_ms(f)
    yield "stream, 1 → 1,000 tables", "flat: ≤ 1.5 × the CPU a row", by_table_count(f, "tailrace")


# ---- tables -------------------------------------------------------------------------------------------


def table(head, rows):
    def line(cells):
        return "| %s |" % " | ".join(cell.replace("|", "\\|") for cell in cells)
    return "\n".join([line(head), "|%s|" % "|".join(["---"] + ["---:"] * (len(head) - 1))] +
                     [line(row) for row in rows])


def thousands(value):
    if value is None:
        return "–"
    return "%.1f" % (value / 1000) if value < 99500 else "%.0f" % (value / 1000)


def with_range(f, item, entrant, variant):
    found = f.each(item, entrant, variant, rate)
    if not found:
        return "–"
    middle = thousands(statistics.median(found))
    if len(found) == 1:
        return middle
    return "%s (%s–%s)" % (middle, thousands(min(found)), thousands(max(found)))


def goal_table(f):
    rows, reached, known = [], 0, 0
    for work, goal, found in goals(f):
        if found is None:
            rows.append([work, goal, "not measured", ""])
            continue
        known += 1
        reached += found[1]
        rows.append([work, goal, found[0], "yes" if found[1] else "**no**"])
    return "%d of %d goals that were measured are reached.\n\n%s" \
        % (reached, known, table(["work", "goal", "measured", "reached"], rows))


def rate_table(f):
    rows = []
    for item, variant, name in WORK:
        if f.rate(item, "tailrace", variant) is None:
            continue
        shown = with_range(f, item, "floor", variant)
        label = f.label(item, "floor", variant)
        floor = "%s: %s" % (label, shown) if label else "–"
        for other in ("floor-2", "floor-3"):
            rate = f.rate(item, other, variant)
            if rate:
                floor += "; %s: %s" % (f.label(item, other, variant), thousands(rate))
        peer = with_range(f, item, "peer", variant)
        shipped = f.rate(item, "peer-shipped", variant)
        if shipped:
            peer += "; as shipped %s" % thousands(shipped)
        rows.append([name, floor, peer, with_range(f, item, "tailrace", variant)])
    return table(["thousands a second", "floor", "Debezium, tuned", "tailrace"], rows)


def cost_table(f):
    def number(value, form="%.2f"):
        return "–" if value is None else form % value
    rows = []
    for item, variant, name in WORK:
        for entrant in ("floor", "peer", "tailrace"):
            if f.rate(item, entrant, variant) is None:
                continue
            peak = f.median(item, entrant, variant, lambda r: r["peak_kb"] / MB)
            label = f.label(item, entrant, variant)
            rows.append([name, label] +
                        [number(f.cpu(item, entrant, variant, key))
                         for key in ("cpu", "source_cpu", "target_cpu", "broker_cpu")] +
                        [number(peak, "%.0f")])
            name = ""
    return table(["CPU seconds for 1 M", "program", "its own", "source", "target", "broker",
                  "peak MB"], rows)


ENTRANTS = [("tailrace", "tailrace"), ("peer", "Debezium, poll 10 ms"),
            ("peer-shipped", "Debezium, as shipped")]


def latencies(f):
    found = []
    for entrant, name in ENTRANTS:
        points = [(label, f.median("latency", entrant, "", lambda r: r[key])) for label, key in
                  (("p50", "p50_ms"), ("p99", "p99_ms"), ("p99.9", "p999_ms"), ("max", "max_ms"))]
        if points[0][1]:
            found.append((name, entrant, points))
    return found


def latency_table(f):
    rows = [[name] + ["%.1f" % value for _, value in points] for name, _, points in latencies(f)]
    return table(["commit → visible, ms", "p50", "p99", "p99.9", "max"], rows) if rows else ""


def other_lines(f):
    lines = []
    starts = f.each("start", "tailrace", "", lambda r: r["seconds"] * 1000)
    if starts:
        lines.append("- Start of the process to the first change on standard output, a checkpoint being "
                     "there: %.0f ms (median of %d; %.0f to %.0f)."
                     % (statistics.median(starts), len(starts), min(starts), max(starts)))
    for sink in ("null", "postgres"):
        count = f.median("big-transaction", "tailrace", sink, lambda r: r["count"])
        if count:
            lines.append("- One transaction of %s rows → %s: %.0f k/s, peak %.1f MB."
                         % ("{:,.0f}".format(count), {"postgres": "PostgreSQL"}.get(sink, sink),
                            f.rate("big-transaction", "tailrace", sink) / 1000,
                            f.median("big-transaction", "tailrace", sink,
                                     lambda r: r["peak_kb"] / MB)))
    return "\n".join(lines)


# ---- plots --------------------------------------------------------------------------------------------

LEGEND = [("floor", "floor"), ("peer", "Debezium, tuned"), ("tailrace", "tailrace")]


def bar_groups(value, entrants):
    groups = []
    for item, variant, name in WORK:
        entries = [(entrant, value(item, entrant, variant), "") for entrant in entrants]
        entries = [entry for entry in entries if entry[1] is not None]
        if any(entrant == "tailrace" for entrant, _, _ in entries):
            groups.append((name, entries))
    return groups


def legend_of(groups):
    used = {entrant for _, entries in groups for entrant, _, _ in entries}
    return [entry for entry in LEGEND if entry[0] in used]


def plot_rates(f):
    groups = bar_groups(lambda *key: (lambda r: r and r / 1000)(f.rate(*key)),
                        ("floor", "peer", "tailrace"))
    return groups and plots.bars("Throughput", "Thousands of rows or changes a second; longer is better",
                                 "thousands a second", groups, legend_of(groups))


def plot_cpu(f):
    groups = bar_groups(f.cpu, ("peer", "tailrace"))
    groups = [(name, entries) for name, entries in groups if len(entries) == 2]
    return groups and plots.bars("What a million costs",
                                 "CPU seconds of the program itself; shorter is better",
                                 "CPU seconds for 1 M rows or changes", groups, legend_of(groups))


def plot_latency(f):
    rows = [(name, entrant, points[:3]) for name, entrant, points in latencies(f)]
    return rows and plots.dots("Commit → visible in Kafka",
                               "500 transactions a second of one row; milliseconds, logarithmic",
                               "milliseconds", rows, (("p50: 3", 3), ("p99: 15", 15)))


def curve(f, item, entrant, unit):
    found = {}
    for r in f.results:
        if r["item"] == item and r["entrant"] == entrant and "cpu" in r:
            found.setdefault(float(r["variant"].split()[0]), []).append(r["cpu"] * 1e6 / r["count"])
    return sorted((x, statistics.median(y)) for x, y in found.items()) if unit else []


def plot_scaling(f):
    specs = []
    for item, name, x_unit in (("scaling-tables", "Tables", "tables"),
                               ("scaling-rows", "Size of a row", "bytes"),
                               ("scaling-writers", "Writers at the source", "sessions")):
        lines = [("tailrace", "stream", curve(f, item, "tailrace", True)),
                 ("second", "snapshot", curve(f, item, "tailrace-snapshot", True))]
        lines = [line for line in lines if len(line[2]) > 1]
        if lines:
            specs.append((name, x_unit, "CPU µs a row", True, lines, None))
    return specs and plots.panels("Scaling", "CPU of tailrace for one row, PostgreSQL → null; lower is "
                                  "better, flat is good", specs)


def plot_memory(f):
    lines = []
    for sink, colour in (("null", "tailrace"), ("postgres", "second")):
        found = f.each("big-transaction", "tailrace", sink, lambda r: r["rss"])
        if found and len(found[0]) > 1:
            lines.append((colour, "→ " + {"postgres": "PostgreSQL"}.get(sink, sink),
                          [(at, kb / MB) for at, kb in found[0]]))
    count = f.median("big-transaction", "tailrace", "null", lambda r: r["count"]) or 0
    return lines and plots.panels("Memory in one transaction of %s rows" % "{:,.0f}".format(count),
                                  "Resident memory of tailrace from its start to its end",
                                  [("", "seconds", "MB", False, lines, ("goal: 64 MB", 64))])


PLOTS = [("throughput", plot_rates, "Bars of the throughput of each work item"),
         ("cpu", plot_cpu, "Bars of the CPU seconds of each work item"),
         ("latency", plot_latency, "Percentiles of the latency from commit to Kafka"),
         ("scaling", plot_scaling, "CPU of a row by tables, row size and writers"),
         ("memory", plot_memory, "Resident memory during one large transaction")]


# ---- the page -----------------------------------------------------------------------------------------


def head_lines(head):
    versions, machine = head["versions"], head["machine"]
    sizes = head["arguments"]
    loads = [r["load"] for r in head["results"] if r.get("load") is not None]
    lines = ["Measured %s on %s, %d cores, %.0f GB, Linux %s, TCP's congestion control %s."
             % (head["date"], machine["cpu"], machine["cores"], machine["memory_gb"], machine["kernel"],
                machine.get("congestion", "not noted")),
             "", ", ".join("%s %s" % (name, value.replace("openjdk version ", "").replace('"', ""))
                           for name, value in versions.items() if value) + ".", "",
             "%s rows of %s bytes, backlogs of %s changes, medians of %d (Debezium %d); in brackets the "
             "slowest and the fastest. Load average (1 min) at the start %.2f, before each figure %.2f to "
             "%.2f (the run's own work included)."
             % ("{:,}".format(sizes["rows"]), head.get("row_bytes", "about 150"),
                "{:,}".format(sizes["changes"]), sizes["repeat"], sizes["peer_repeat"],
                head["load_at_start"], min(loads or [0]), max(loads or [0]))]
    return "\n".join(lines)


def generated(head, drawn):
    f = Figures(head["results"])

    def image(name):
        return "![%s](performance/%s.svg)\n" % (dict((n, t) for n, _, t in PLOTS)[name], name) \
            if name in drawn else ""
    sections = [("", head_lines(head)), ("## Goals", goal_table(f)),
                ("## Throughput", image("throughput") + "\n" + rate_table(f)),
                ("## CPU and memory", image("cpu") + "\n" + cost_table(f)),
                ("## Latency", image("latency") + "\n" + latency_table(f)),
                ("## Start, memory, scaling", "\n".join([other_lines(f), "", image("memory"),
                                                         image("scaling")]))]
    if head["left_out"]:
        sections.append(("## Left out", "\n".join("- %s: %s (%s)" % (entry["item"], entry["what"],
                                                                   entry["why"])
                                                  for entry in head["left_out"])))
    return "\n\n".join("\n\n".join(piece for piece in (title, text.strip()) if piece)
                       for title, text in sections if text.strip())


def replace(path, begin, end, text):
    with open(path) as file:
        page = file.read()
    before, _, rest = page.partition(begin)
    _, found, after = rest.partition(end)
    if not found:
        raise SystemExit("%s: %s or %s is missing" % (path, begin, end))
    with open(path, "w") as file:
        file.write("%s%s\n\n%s\n\n%s%s" % (before, begin, text.strip(), end, after))


def merge(paths):
    """The first file's head; of each item the last file that holds it."""
    head = None
    for path in paths:
        with open(path) as file:
            found = json.load(file)
        if head is None:
            head = found
            continue
        items = {r["item"] for r in found["results"]}
        for key in ("results", "left_out"):
            head[key] = [r for r in head[key] if r["item"] not in items] + found[key]
    return head


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", nargs="+", help="what run.py --json wrote")
    parser.add_argument("--docs", default=os.path.join(HERE, "..", "..", "docs"))
    args = parser.parse_args()
    head = merge(args.results)
    folder = os.path.join(args.docs, "performance")
    os.makedirs(folder, exist_ok=True)
    drawn = set()
    for name, draw, _ in PLOTS:
        path = os.path.join(folder, name + ".svg")
        text = draw(Figures(head["results"]))
        if text:
            with open(path, "w") as out:
                out.write(text)
            drawn.add(name)
        elif os.path.exists(path):
            os.unlink(path)
    replace(os.path.join(args.docs, "performance.md"), BEGIN, END, generated(head, drawn))


if __name__ == "__main__":
    main()
