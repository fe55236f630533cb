"""Plots as SVG text, for a page without a network. Pure."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from loadtest.figures import Figure

WIDTH = 760
LEFT, RIGHT, TOP, BOTTOM = 150, 90, 8, 34
BAR, GAP = 22, 12
COLOURS = {
    "svidecar": "#d55e00",
    "svidecar-interpreted": "#e69f00",
    "envoy": "#0072b2",
    "envoy-uncached": "#56b4e9",
    "haproxy": "#8e4b9e",
    "nginx": "#009e73",
    "ghostunnel": "#8c6d31",
    "direct": "#666666",
}
"""Told apart by colour-blind readers too; each contender has its own in every plot."""
SHADE = 0.55  # of the second part of a bar


@dataclass(frozen=True, slots=True)
class Bar:
    """One row: parts side by side, each with its name; the spread is of their sum."""

    name: str
    parts: Mapping[str, float]
    spread: Figure | None = None

    @property
    def total(self) -> float:
        """Of all parts."""
        return sum(self.parts.values())


def colour(name: str) -> str:
    """Of a contender."""
    return COLOURS.get(name, "#444444")


def bars(rows: Sequence[Bar], unit: str, digits: int = 0) -> str:
    """Horizontal bars from zero; a thin line is the spread of the rounds."""
    most = max([max(row.total, row.spread.high if row.spread else 0) for row in rows] or [1]) or 1.0
    scale = (WIDTH - LEFT - RIGHT) / most
    height = TOP + len(rows) * (BAR + GAP) + BOTTOM
    drawn = [_x_axis(_ticks(most), height - BOTTOM, lambda value: LEFT + value * scale, unit)]
    for number, row in enumerate(rows):
        y = TOP + number * (BAR + GAP)
        drawn.append(_text(LEFT - 8, y + BAR * 0.7, row.name, "end"))
        x = float(LEFT)
        for part, (label, value) in enumerate(row.parts.items()):
            fill = f'fill="{colour(row.name)}" fill-opacity="{SHADE if part else 1}"'
            title = f"<title>{escape(row.name)}, {escape(label)}: {value:.{digits}f} {escape(unit)}</title>"
            drawn.append(f'<rect x="{x:.1f}" y="{y}" width="{value * scale:.1f}" height="{BAR}" {fill}>{title}</rect>')
            x += value * scale
        end = x
        if row.spread is not None and row.spread.rounds > 1:
            low, end = LEFT + row.spread.low * scale, max(x, LEFT + row.spread.high * scale)
            middle = y + BAR / 2
            drawn.append(_line(low, middle, LEFT + row.spread.high * scale, middle, "#111", 1.5))
        drawn.append(_text(end + 6, y + BAR * 0.7, f"{row.total:.{digits}f}", "start", bold=True))
    return _svg(height, drawn)


def percentiles(curves: Mapping[str, Mapping[str, float]], unit: str = "ms") -> str:
    """Latency by percentile, both on a log scale: each nine has the same width (as HdrHistogram draws it)."""
    values = [value for curve in curves.values() for value in curve.values() if value > 0]
    low, high = _decades(values)
    height, right = 340, WIDTH - 130
    places = {"p50": 0.5, "p75": 0.75, "p90": 0.9, "p99": 0.99, "p99.9": 0.999, "p99.99": 0.9999}
    first, last = (-math.log10(1 - places[name]) for name in ("p50", "p99.99"))

    def x(name: str) -> float:
        return LEFT - 80 + (-math.log10(1 - places[name]) - first) / (last - first) * (right - LEFT + 80)

    def y(value: float) -> float:
        return TOP + (high - math.log10(max(value, 10**low))) / (high - low) * (height - TOP - BOTTOM)

    drawn = [_y_grid(low, high, y, x("p50"), right, unit)]
    drawn += [_text(x(name), height - BOTTOM + 20, name, "middle") for name in places]
    drawn += [_line(x(name), TOP, x(name), height - BOTTOM, "#eee") for name in places]
    ends = _apart([(y(curve["p99.99"]), name) for name, curve in curves.items()])
    for name, curve in curves.items():
        points = [(x(each), y(curve[each])) for each in places if each in curve]
        path = " ".join(f"{px:.1f},{py:.1f}" for px, py in points)
        style = f'fill="none" stroke="{colour(name)}" stroke-width="{3 if name == "svidecar" else 2}"'
        drawn.append(f'<polyline points="{path}" {style}/>')
        for (px, py), each in zip(points, curve, strict=False):
            title = f"<title>{escape(name)} {each}: {curve[each]:.3f} {unit}</title>"
            drawn.append(f'<circle cx="{px:.1f}" cy="{py:.1f}" r="3.5" fill="{colour(name)}">{title}</circle>')
        drawn.append(_text(right + 8, ends[name] + 4, name, "start", fill=colour(name), bold=name == "svidecar"))
    return _svg(height, drawn)


def ranges(rows: Mapping[str, tuple[float, float, float]], unit: str) -> str:
    """p50, p90 and p99 of each row on one log scale."""
    low, high = _decades([value for row in rows.values() for value in row if value > 0])
    left = 310
    height = TOP + len(rows) * (BAR + GAP) + BOTTOM

    def x(value: float) -> float:
        return left + (math.log10(max(value, 10**low)) - low) / (high - low) * (WIDTH - left - 40)

    drawn = []
    for decade in range(low, high + 1):
        drawn.append(_line(x(10**decade), TOP, x(10**decade), height - BOTTOM, "#ddd"))
        drawn.append(
            _text(
                x(10**decade),
                height - BOTTOM + 18,
                f"{float(10**decade):,g}" if decade < 6 else f"{10**decade:,}",
                "middle",
            )
        )
    drawn.append(_text(WIDTH - 4, height - 2, unit, "end"))
    for number, (name, values) in enumerate(rows.items()):
        y = TOP + number * (BAR + GAP) + BAR / 2
        drawn.append(_text(left - 10, y + 4, name, "end"))
        drawn.append(_line(x(values[0]), y, x(values[2]), y, COLOURS["svidecar"], 5, 0.35))
        for label, value, radius in zip(("p50", "p90", "p99"), values, (6, 4.5, 3), strict=True):
            title = f"<title>{escape(name)}, {label}: {value:.0f} {escape(unit)}</title>"
            place = f'cx="{x(value):.1f}" cy="{y:.1f}" r="{radius}" fill="{COLOURS["svidecar"]}"'
            drawn.append(f"<circle {place}>{title}</circle>")
    return _svg(height, drawn)


def lines(curves: Mapping[str, Mapping[float, float]], across: str, unit: str) -> str:
    """A curve a contender over a few places, which stand at equal distances; from zero up."""
    places = sorted({place for curve in curves.values() for place in curve})
    most = max([value for curve in curves.values() for value in curve.values()] or [1]) * 1.12
    height, left, right = 300, 70, WIDTH - 150

    def x(place: float) -> float:
        return left + (places.index(place) + 0.5) / len(places) * (right - left)

    def y(value: float) -> float:
        return TOP + (1 - value / most) * (height - TOP - BOTTOM)

    drawn = []
    for tick in _ticks(most):
        drawn += [_line(left, y(tick), right, y(tick), "#ddd"), _text(left - 6, y(tick) + 4, f"{tick:g}", "end")]
    drawn += [_text(x(place), height - BOTTOM + 18, f"{place:g}", "middle") for place in places]
    drawn += [_text(right, height - 2, across, "end"), _text(left + 6, TOP + 8, unit, "start")]
    ends = _apart([(y(curve[max(curve)]), name) for name, curve in curves.items()])
    for name, curve in curves.items():
        points = [(x(place), y(curve[place]), curve[place]) for place in sorted(curve)]
        path = " ".join(f"{px:.1f},{py:.1f}" for px, py, _ in points)
        drawn.append(f'<polyline points="{path}" fill="none" stroke="{colour(name)}" stroke-width="2"/>')
        for px, py, value in points:
            title = f"<title>{escape(name)}: {value:.1f} {escape(unit)}</title>"
            drawn.append(f'<circle cx="{px:.1f}" cy="{py:.1f}" r="3.5" fill="{colour(name)}">{title}</circle>')
        drawn.append(_text(right + 8, ends[name] + 4, name, "start", fill=colour(name), bold=name == "svidecar"))
    return _svg(height, drawn)


def _apart(wanted: Sequence[tuple[float, str]], least: float = 15.0) -> dict[str, float]:
    """Labels near where they belong, but never one on another."""
    placed: dict[str, float] = {}
    last = -least
    for at, name in sorted(wanted):
        last = max(at, last + least)
        placed[name] = last
    return placed


def _decades(values: Sequence[float]) -> tuple[int, int]:
    if not values:
        return 0, 1
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    return low, max(high, low + 1)


def _ticks(most: float) -> list[float]:
    """Four to nine round numbers from zero to ``most``."""
    step = 10 ** math.floor(math.log10(most))
    step = next((step * part for part in (0.1, 0.2, 0.25, 0.5, 1.0) if most / (step * part) < 9), step)
    return [number * step for number in range(int(most / step) + 1)]


def _x_axis(ticks: Sequence[float], bottom: float, x: Callable[[float], float], unit: str) -> str:
    drawn = []
    for tick in ticks:
        drawn.append(_line(x(tick), TOP, x(tick), bottom, "#ddd"))
        drawn.append(_text(x(tick), bottom + 16, f"{tick:g}", "middle"))
    return "".join([*drawn, _text(WIDTH - 4, bottom + 30, unit, "end")])


def _y_grid(low: int, high: int, y: Callable[[float], float], left: float, right: float, unit: str) -> str:
    drawn = []
    for decade in range(low, high + 1):
        drawn.append(_text(left - 8, y(10**decade) + 4, f"{10**decade:g} {unit}", "end"))
        for part in range(1, 10 if decade < high else 2):
            shade = "#ccc" if part == 1 else "#f0f0f0"
            drawn.append(_line(left, y(part * 10**decade), right, y(part * 10**decade), shade))
    return "".join(drawn)


def _line(x1: float, y1: float, x2: float, y2: float, stroke: str, width: float = 1, opacity: float = 1) -> str:
    place = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
    return f'<line {place} stroke="{stroke}" stroke-width="{width:g}" stroke-opacity="{opacity:g}"/>'


def _text(x: float, y: float, text: str, anchor: str, *, fill: str = "#222", bold: bool = False) -> str:
    weight = ' font-weight="600"' if bold else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{fill}"{weight}>{escape(text)}</text>'


def _svg(height: float, drawn: Sequence[str]) -> str:
    return f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img">{"".join(drawn)}</svg>'
