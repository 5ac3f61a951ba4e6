"""Ashby charts as inline SVG: logarithmic axes, uncertainty as bars, guide lines, a cloud of known crystals.

The drawing is plain text: no library, no network, colours by CSS variables of the page that holds it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from html import escape

WIDTH, HEIGHT = 620.0, 470.0
LEFT, RIGHT, TOP, BOTTOM = 64.0, 14.0, 14.0, 52.0


@dataclass(frozen=True)
class Point:
    """One candidate on a chart.

    Attributes:
        key: links the point to its row in the table.
        label: what stands beside the point.
        title: what hovering shows.
        x: (low, mean, high) of the abscissa; low and high are the 90 % interval.
        y: (low, mean, high) of the ordinate.
        front: whether it lies on the Pareto front.
        doubtful: whether a surrogate marked it as out of distribution.
    """

    key: str
    label: str
    title: str
    x: tuple[float, float, float]
    y: tuple[float, float, float]
    front: bool = False
    doubtful: bool = False


@dataclass(frozen=True)
class Guide:
    """A line of equal desirability: `y` as a function of `x`, and its label."""

    label: str
    y: Callable[[float], float]


@dataclass(frozen=True)
class Chart:
    """What to draw.

    Attributes:
        title: heading, in words.
        x_label: abscissa with unit.
        y_label: ordinate with unit.
        points: the candidates.
        cloud: known crystals as (x, y).
        guides: lines of equal desirability.
        wanted: (x low, x high, y low, y high) that the query asks for; None is open.
    """

    title: str
    x_label: str
    y_label: str
    points: Sequence[Point]
    cloud: Sequence[tuple[float, float]] = ()
    guides: Sequence[Guide] = ()
    wanted: tuple[float | None, float | None, float | None, float | None] = field(default=(None,) * 4)


@dataclass(frozen=True)
class _Axis:
    """One logarithmic axis: values from `low` to `high` on pixels from `start` to `end`."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        place = (math.log10(value) - math.log10(self.low)) / (math.log10(self.high) - math.log10(self.low))
        return self.start + min(1.0, max(0.0, place)) * (self.end - self.start)

    def holds(self, value: float) -> bool:
        return self.low <= value <= self.high

    def ticks(self) -> list[float]:
        """Values such as 1, 2, 5, 10, 20, …: as many of the mantissas as fit."""
        decades = math.log10(self.high / self.low)
        mantissas: tuple[float, ...] = (1, 2, 5) if decades < 2.5 else (1,)
        if decades < 0.8:
            mantissas = (1, 1.5, 2, 3, 4, 5, 6, 8)
        exponents = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        return [m * 10.0**e for e in exponents for m in mantissas if self.holds(m * 10.0**e)]


def draw(chart: Chart) -> str:
    """The chart as one SVG element; a sentence in its place if no point can be shown."""
    points = [p for p in chart.points if min(*p.x, *p.y) > 0 and all(map(math.isfinite, (*p.x, *p.y)))]
    if not points:
        return '<p class="quiet">No candidate has both properties, so there is nothing to draw.</p>'
    xs, ys = [v for p in points for v in p.x], [v for p in points for v in p.y]
    middle = _middle(chart.cloud)
    x = _axis([*xs, *middle[:1]], chart.wanted[:2], LEFT, WIDTH - RIGHT)
    y = _axis([*ys, *middle[1:]], chart.wanted[2:], HEIGHT - BOTTOM, TOP)
    label = f"{chart.title}: {len(points)} candidates; every value is also in the table."
    return "\n".join(
        [
            f'<svg viewBox="0 0 {WIDTH:g} {HEIGHT:g}" role="img" aria-label="{escape(label)}" class="chart">',
            _wanted(chart.wanted, x, y),
            _grid(chart, x, y),
            _cloud(chart.cloud, x, y),
            *(_guide(guide, x, y) for guide in chart.guides),
            *(_bars(p, x, y) for p in points),
            *(_marker(p, x, y) for p in sorted(points, key=lambda p: p.front)),
            _labels(points, x, y),
            "</svg>",
        ]
    )


def _middle(cloud: Sequence[tuple[float, float]]) -> list[float]:
    """Medians of the known crystals, which the axes take in so that the candidates are seen beside them."""
    return [sorted(p[k] for p in cloud)[len(cloud) // 2] for k in (0, 1)] if cloud else []


def _axis(values: Sequence[float], wanted: Sequence[float | None], start: float, end: float) -> _Axis:
    everything = [*values, *(w for w in wanted if w)]
    low, high = min(everything), max(everything)
    margin = max((high / low) ** 0.08, 1.12)
    low, high = low / margin, high * margin
    if high / low < 3.0:
        middle = math.sqrt(low * high)
        low, high = middle / math.sqrt(3.0), middle * math.sqrt(3.0)
    return _Axis(low, high, start, end)


def _wanted(wanted: Sequence[float | None], x: _Axis, y: _Axis) -> str:
    if all(w is None for w in wanted):
        return ""
    x0, x1 = x.at(wanted[0] or x.low), x.at(wanted[1] or x.high)
    y0, y1 = y.at(wanted[2] or y.low), y.at(wanted[3] or y.high)
    if x1 <= x0 or y0 <= y1:
        return ""
    shape = f'<rect x="{x0:.1f}" y="{y1:.1f}" width="{x1 - x0:.1f}" height="{y0 - y1:.1f}" class="wanted"/>'
    return shape + f'<text x="{x0 + 6:.1f}" y="{y1 + 15:.1f}" class="note">asked for</text>'


def _grid(chart: Chart, x: _Axis, y: _Axis) -> str:
    parts = []
    for value in x.ticks():
        at = x.at(value)
        parts.append(f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{y.start:g}" y2="{y.end:g}" class="grid"/>')
        parts.append(f'<text x="{at:.1f}" y="{y.start + 17:g}" class="tick" text-anchor="middle">{value:g}</text>')
    for value in y.ticks():
        at = y.at(value)
        parts.append(f'<line x1="{x.start:g}" x2="{x.end:g}" y1="{at:.1f}" y2="{at:.1f}" class="grid"/>')
        parts.append(f'<text x="{x.start - 7:g}" y="{at + 4:.1f}" class="tick" text-anchor="end">{value:g}</text>')
    width, height = x.end - x.start, y.start - y.end
    parts.append(f'<rect x="{x.start:g}" y="{y.end:g}" width="{width:g}" height="{height:g}" class="frame"/>')
    middle, centre = (x.start + x.end) / 2, (y.start + y.end) / 2
    parts.append(f'<text x="{middle:.1f}" y="{HEIGHT - 12:g}" class="axis">{escape(chart.x_label)}</text>')
    turn = f'transform="translate(17 {centre:.1f}) rotate(-90)"'
    parts.append(f'<text {turn} class="axis">{escape(chart.y_label)}</text>')
    return "\n".join(parts)


def _cloud(cloud: Sequence[tuple[float, float]], x: _Axis, y: _Axis) -> str:
    """All known crystals as one path of dots."""
    dots = "".join(f"M{x.at(a):.0f} {y.at(b):.0f}h0" for a, b in cloud if x.holds(a) and y.holds(b))
    return f'<path d="{dots}" class="cloud"/>' if dots else ""


def _guide(guide: Guide, x: _Axis, y: _Axis) -> str:
    """The part of a guide line within the frame, labelled where it leaves at the top or the right."""
    steps = [x.low * (x.high / x.low) ** (k / 60) for k in range(61)]
    inside = [(v, w) for v in steps if y.holds(w := guide.y(v))]
    if len(inside) < 8:
        return ""
    path = "M" + "L".join(f"{x.at(v):.1f} {y.at(w):.1f}" for v, w in inside)
    (v0, w0), (v1, w1) = inside[-8], inside[-2]
    slope = math.degrees(math.atan2(y.at(w1) - y.at(w0), x.at(v1) - x.at(v0)))
    place = f'transform="translate({x.at(v1) - 4:.1f} {y.at(w1) - 4:.1f}) rotate({slope:.1f})"'
    text = f'<text {place} class="note" text-anchor="end">{escape(guide.label)}</text>'
    return f'<path d="{path}" class="guide"/>{text}'


def _bars(point: Point, x: _Axis, y: _Axis) -> str:
    cx, cy = x.at(point.x[1]), y.at(point.y[1])
    across = f"M{x.at(point.x[0]):.1f} {cy:.1f}H{x.at(point.x[2]):.1f}"
    along = f"M{cx:.1f} {y.at(point.y[0]):.1f}V{y.at(point.y[2]):.1f}"
    return f'<path d="{across}{along}" class="bar" data-key="{escape(point.key)}"/>'


def _marker(point: Point, x: _Axis, y: _Axis) -> str:
    kind = "front" if point.front else "other"
    kind += " doubtful" if point.doubtful else ""
    place = f'cx="{x.at(point.x[1]):.1f}" cy="{y.at(point.y[1]):.1f}"'
    title = f"<title>{escape(point.title)}</title>"
    return f'<circle {place} r="5.5" class="{kind}" data-key="{escape(point.key)}">{title}</circle>'


def _labels(points: Sequence[Point], x: _Axis, y: _Axis) -> str:
    """Labels where they are free of markers and of each other; a label without room is left out."""
    markers = [(x.at(p.x[1]), y.at(p.y[1])) for p in points]
    taken = [(cx - 6, cy - 6, cx + 6, cy + 6) for cx, cy in markers]
    parts = []
    for point, (cx, cy) in zip(points, markers, strict=True):
        width = 6.4 * len(point.label) + 2
        for dx, dy, anchor in ((9, -7, "start"), (9, 15, "start"), (-9, -7, "end"), (-9, 15, "end")):
            left = cx + dx - (width if anchor == "end" else 0)
            box = (left, cy + dy - 10, left + width, cy + dy + 2)
            fits = x.start < box[0] and box[2] < x.end and y.end < box[1] and box[3] < y.start
            if fits and not any(_overlap(box, other) for other in taken):
                taken.append(box)
                place = f'x="{cx + dx:.1f}" y="{cy + dy:.1f}" text-anchor="{anchor}"'
                parts.append(f'<text {place} class="label">{escape(point.label)}</text>')
                break
    return "\n".join(parts)


def _overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
