"""Plots as SVG text: bars, dots on a logarithmic axis, lines. Each brings its own background and its own
colours for a light and a dark page."""
import html
import math
import sys

sys.dont_write_bytecode = True

# class: (light, dark)
COLOURS = {"page": ("#ffffff", "#0d1117"), "text": ("#1f2328", "#e6edf3"),
           "soft": ("#59636e", "#9198a1"), "grid": ("#e3e7eb", "#2a313a"),
           "floor": ("#9aa4ae", "#6e7985"), "peer": ("#d4711a", "#e39a4f"),
           "peer-shipped": ("#eab98a", "#96602c"), "tailrace": ("#1a66d0", "#4f9bff"),
           "second": ("#1b8a5a", "#3fbf85"), "goal": ("#c0362c", "#ff7b72")}
FONT = "font-family=\"system-ui, 'Segoe UI', 'DejaVu Sans', Helvetica, Arial, sans-serif\""


def _style():
    def rules(which):
        return "".join(".%s{fill:%s}.line-%s{stroke:%s}" % (name, pair[which], name, pair[which])
                       for name, pair in COLOURS.items())
    return "<style>%s@media (prefers-color-scheme:dark){%s}</style>" % (rules(0), rules(1))


class Canvas:
    def __init__(self, width, height, title, subtitle):
        self.width, self.height, self.title = width, height, title
        self.parts = []
        self.text(20, 28, title, size=16, weight="600")
        self.text(20, 47, subtitle, "soft", size=12)

    def text(self, x, y, text, colour="text", size=12, anchor="start", weight="400", turn=None):
        self.parts.append("<text x=\"%.1f\" y=\"%.1f\" class=\"%s\" font-size=\"%d\" text-anchor=\"%s\" "
                          "font-weight=\"%s\"%s>%s</text>"
                          % (x, y, colour, size, anchor, weight,
                             "" if turn is None else " transform=\"rotate(%d %.1f %.1f)\"" % (turn, x, y),
                             html.escape(text)))

    def box(self, x, y, width, height, colour):
        self.parts.append("<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" rx=\"2\" "
                          "class=\"%s\"/>" % (x, y, max(width, 1), height, colour))

    def line(self, points, colour="grid", width=1.0, dash=None):
        self.parts.append("<polyline fill=\"none\" points=\"%s\" class=\"line-%s\" stroke-width=\"%.1f\"%s/>"
                          % (" ".join("%.1f,%.1f" % p for p in points), colour, width,
                             " stroke-dasharray=\"%s\"" % dash if dash else ""))

    def dot(self, x, y, colour, radius=4.0):
        self.parts.append("<circle cx=\"%.1f\" cy=\"%.1f\" r=\"%.1f\" class=\"%s\"/>"
                          % (x, y, radius, colour))

    def legend(self, x, y, entries):
        for colour, text in entries:
            self.box(x, y - 9, 11, 11, colour)
            self.text(x + 16, y + 1, text)
            x += 16 + 7.0 * len(text) + 18

    def svg(self):
        return ("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\" "
                "role=\"img\" aria-label=\"%s\" %s>%s<rect width=\"100%%\" height=\"100%%\" rx=\"8\" "
                "class=\"page\"/>%s</svg>\n"
                % (self.width, self.height, self.width, self.height, html.escape(self.title, True), FONT,
                   _style(), "\n".join([""] + self.parts + [""])))


def ticks(largest, count=5):
    """Round steps from 0 to at least the largest."""
    raw = largest / count or 1
    power = 10 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= raw)
    return [step * i for i in range(int(math.ceil(largest / step)) + 1)]


def plain(value):
    """Three digits that mean something."""
    if value >= 1000:
        return "{:,.0f}".format(value)
    if value == 0 or value >= 100:
        return "%.0f" % value
    return "%.3g" % value


def bars(title, subtitle, unit, groups, legend, width=860, label_width=210):
    """groups: [(name, [(class, value, note), …]), …], drawn from top to bottom."""
    bar, gap = 15, 13
    top, count = 92, sum(len(entries) for _, entries in groups)
    height = top + count * (bar + 2) + len(groups) * gap + 44
    canvas = Canvas(width, height, title, subtitle)
    canvas.legend(20, 70, legend)
    marks = ticks(max(value for _, entries in groups for _, value, _ in entries))
    left, room = label_width, width - label_width - 120
    scale = room / marks[-1]
    for mark in marks:
        x = left + mark * scale
        canvas.line([(x, top - 4), (x, height - 40)])
        canvas.text(x, height - 25, plain(mark), "soft", 11, "middle")
    canvas.text(left + room / 2, height - 8, unit, "soft", 11, "middle")
    y = top
    for name, entries in groups:
        middle = y + len(entries) * (bar + 2) / 2 + 4
        canvas.text(left - 10, middle, name, anchor="end")
        for colour, value, note in entries:
            canvas.box(left, y, value * scale, bar, colour)
            canvas.text(left + value * scale + 6, y + 12, plain(value) + (" " + note if note else ""),
                        "text" if colour == "tailrace" else "soft", 11,
                        weight="600" if colour == "tailrace" else "400")
            y += bar + 2
        y += gap
    return canvas.svg()


def dots(title, subtitle, unit, rows, goals=(), width=860):
    """rows: [(name, class, [(label, value), …]), …] on a logarithmic axis; goals: [(label, value), …]"""
    top, row_height, left = 96, 52, 210
    height = top + len(rows) * row_height + 44
    canvas = Canvas(width, height, title, subtitle)
    values = [v for _, _, points in rows for _, v in points] + [v for _, v in goals]
    low = math.floor(math.log10(min(values)))
    high = max(math.ceil(math.log10(max(values))), low + 1)
    room = width - left - 90

    def place(value):
        return left + (math.log10(value) - low) / (high - low) * room
    for power in range(low, high + 1):
        for step in (1, 2, 5):
            mark = step * 10.0 ** power
            if mark > 10.0 ** high * 1.001:
                break
            canvas.line([(place(mark), top - 8), (place(mark), height - 40)])
            canvas.text(place(mark), height - 25, plain(mark), "soft", 11, "middle")
    canvas.text(left + room / 2, height - 8, unit, "soft", 11, "middle")
    for label, value in goals:
        canvas.line([(place(value), top - 12), (place(value), height - 40)], "goal", 1.5, "4 3")
        canvas.text(place(value), top - 17, label, "goal", 11, "middle")
    for number, (name, colour, points) in enumerate(rows):
        y = top + number * row_height + row_height / 2
        canvas.text(left - 14, y + 4, name, anchor="end")
        canvas.line([(place(points[0][1]), y), (place(points[-1][1]), y)], colour, 2.0)
        for index, (label, value) in enumerate(points):
            canvas.dot(place(value), y, colour, 5)
            # Above, below, above, and away from each other: percentiles lie close together.
            anchor, shift = ("end", 8) if index == 0 else ("start", -8) if index > 1 else ("middle", 0)
            canvas.text(place(value) + shift, y - 10 if index % 2 == 0 else y + 19,
                        "%s %s" % (label, plain(value)), "text", 11, anchor)
    return canvas.svg()


class Axis:
    def __init__(self, values, start, end, logarithmic=False, marks=None):
        self.logarithmic, self.start, self.end = logarithmic, start, end
        if logarithmic:
            self.marks = marks or sorted(set(values))
            self.low, self.high = math.log10(min(self.marks)), math.log10(max(self.marks))
        else:
            self.marks = marks or ticks(max(values), 4)
            self.low, self.high = self.marks[0], self.marks[-1]
        self.high = self.high if self.high > self.low else self.low + 1

    def place(self, value):
        value = math.log10(value) if self.logarithmic else value
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


def panels(title, subtitle, specs, width=860, height=340):
    """specs: [(name, x unit, y unit, logarithmic x, [(class, label, [(x, y), …]), …], goal), …]; goal is
    None or (label, y)."""
    canvas = Canvas(width, height, title, subtitle)
    room = (width - 30) / len(specs)
    for number, (name, x_unit, y_unit, log_x, lines, goal) in enumerate(specs):
        left, right = 20 + number * room + 48, 20 + (number + 1) * room - 26
        top, bottom = 112, height - 54
        points = [p for _, _, found in lines for p in found]
        x_axis = Axis([p[0] for p in points], left, right, log_x)
        y_axis = Axis([p[1] for p in points] + ([goal[1]] if goal else []), bottom, top)
        canvas.text(left - 44, 74, name, weight="600")
        canvas.text(left - 44, 90, y_unit, "soft", 11)
        for mark in y_axis.marks:
            canvas.line([(left, y_axis.place(mark)), (right, y_axis.place(mark))])
            canvas.text(left - 7, y_axis.place(mark) + 4, plain(mark), "soft", 11, "end")
        for mark in x_axis.marks:
            canvas.text(x_axis.place(mark), bottom + 17, plain(mark), "soft", 11, "middle")
        canvas.text((left + right) / 2, bottom + 36, x_unit, "soft", 11, "middle")
        if goal:
            y = y_axis.place(goal[1])
            canvas.line([(left, y), (right, y)], "goal", 1.5, "4 3")
            canvas.text(right, y - 5, goal[0], "goal", 11, "end")
        for rank, (colour, label, found) in enumerate(reversed(lines)):
            if len(lines) > 1 and len(found) <= 10:  # the lines' names, from the right
                canvas.text(right - 68 * rank, 90, label, colour, 11, "end", "600")
            canvas.line([(x_axis.place(x), y_axis.place(y)) for x, y in found], colour, 2.0)
            if len(found) > 10:
                x, y = found[len(found) // 2]
                canvas.text(x_axis.place(x), y_axis.place(y) - 8, label, colour, 11, "middle", "600")
                continue
            for index, (x, y) in enumerate(found):
                above = all(y >= other for _, _, others in lines for at, other in others if at == x)
                last = index == len(found) - 1
                place = x_axis.place(x), y_axis.place(y) + (-8 if above else 16)
                canvas.dot(x_axis.place(x), y_axis.place(y), colour, 3.5)
                anchor = "end" if last else "start" if index == 0 else "middle"
                canvas.text(place[0] - (6 if index == 0 else 0), place[1], plain(y), "text", 10, anchor)
    return canvas.svg()
