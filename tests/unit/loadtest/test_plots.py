"""Where things stand in a drawing."""

import itertools
import re
from xml.etree import ElementTree as ET

import pytest

from loadtest import plots
from loadtest.figures import Figure
from loadtest.plots import Bar

CURVE = {"p50": 0.1, "p75": 0.2, "p90": 0.3, "p99": 1.0, "p99.9": 10.0, "p99.99": 100.0, "max": 200.0}


def points(svg: str) -> list[tuple[float, float]]:
    """Of the first curve."""
    found = re.search(r'<polyline points="([^"]*)"', svg)
    assert found is not None
    return [(float(x), float(y)) for x, _, y in (pair.partition(",") for pair in found[1].split())]


def test_a_nine_has_the_same_width_as_the_next() -> None:
    """And a factor of ten the same height as the next: both axes are logarithms."""
    (x99, y99), (x999, y999), (x9999, y9999) = points(plots.percentiles({"envoy": CURVE}))[-3:]
    assert x9999 - x999 == pytest.approx(x999 - x99, abs=0.2)
    assert y99 - y999 == pytest.approx(y999 - y9999, abs=0.2)


def test_bars_begin_at_zero_and_have_one_scale() -> None:
    """Twice as much is twice as long; parts stand side by side."""
    svg = plots.bars([Bar("envoy", {"a": 100, "b": 50}), Bar("nginx", {"a": 75})], "us")
    widths = [float(width) for width in re.findall(r'<rect [^>]*width="([0-9.]+)"', svg)]
    assert widths[0] == pytest.approx(2 * widths[1], abs=0.2)
    assert widths[0] + widths[1] == pytest.approx(2 * widths[2], abs=0.2)


def test_a_spread_stays_inside_the_drawing() -> None:
    """The scale knows of the greatest round, not only of the medians."""
    svg = plots.bars([Bar("envoy", {"a": 10.0}, Figure(10.0, 5.0, 100.0, 3))], "us")
    assert max(float(x) for x in re.findall(r'x2="([0-9.]+)"', svg)) <= plots.WIDTH


def test_labels_never_stand_on_another() -> None:
    """Curves that end at one place have theirs below each other."""
    svg = plots.percentiles({"envoy": CURVE, "nginx": CURVE, "direct": CURVE})
    heights = sorted(float(y) for y in re.findall(r'y="([0-9.]+)"[^>]*>(?:envoy|nginx|direct)</text>', svg))
    assert all(below - above >= 15 for above, below in itertools.pairwise(heights))


@pytest.mark.parametrize(
    "svg",
    [
        plots.bars([], "us"),
        plots.bars([Bar("a<b>&", {"x": 0.0})], "us"),
        plots.percentiles({"envoy": dict.fromkeys(CURVE, 0.0)}),
        plots.percentiles({}),
        plots.ranges({"a": (0.0, 0.0, 0.0)}, "us"),
        plots.lines({"envoy": {1.0: 5.0}}, "connections", "us"),
    ],
)
def test_zeros_and_little_still_make_a_drawing(svg: str) -> None:
    """Well-formed, and without a number that is none."""
    assert ET.fromstring(svg).tag == "svg"  # noqa: S314 - our own
    assert "nan" not in svg
    assert "inf" not in svg
