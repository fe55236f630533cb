"""The fitted line, its confidence, and what it says about a bound."""

import math
import random
from collections.abc import Callable

import pytest

from loadtest.scenarios.slope import Slope, Verdict, fit, student

SAMPLES = 50
TRIALS = 400
TRUE = 3.0


def test_a_line_is_found() -> None:
    """Without noise it is exact; a level is one too."""
    assert fit([1, 2, 4], [10, 12, 16]) == Slope(2, 2, 2, 3)
    assert fit([1, 2, 4], [7, 7, 7]).verdict(0) is Verdict.STEADY


@pytest.mark.parametrize(("freedom", "true"), [(3, 3.182), (5, 2.571), (10, 2.228), (48, 2.011), (1e9, 1.960)])
def test_students_t(freedom: float, true: float) -> None:
    """Against the printed tables."""
    assert student(freedom) == pytest.approx(true, rel=0.01)


def _scatter(source: random.Random) -> list[float]:
    return [source.gauss(0, 20) for _ in range(SAMPLES)]


def _alike(source: random.Random) -> list[float]:
    """Each is half of the one before."""
    values = [source.gauss(0, 20)]
    while len(values) < SAMPLES:
        values.append(0.5 * values[-1] + source.gauss(0, 20))
    return values


def _walk(source: random.Random) -> list[float]:
    """Steps that stay, as memory is taken."""
    values = [0.0]
    while len(values) < SAMPLES:
        values.append(values[-1] + source.gauss(0, 20))
    return values


@pytest.mark.parametrize(("noise", "least"), [(_scatter, 0.92), (_alike, 0.85), (_walk, 0.85)])
def test_the_interval_holds_the_truth(noise: Callable[[random.Random], list[float]], least: float) -> None:
    """As often as it claims, or nearly, also where neighbours resemble each other: there a plain fit is far too sure."""
    source = random.Random(7)
    held = 0
    for _ in range(TRIALS):
        found = fit(range(SAMPLES), [TRUE * x + error for x, error in enumerate(noise(source))])
        held += found.low <= TRUE <= found.high
    assert held / TRIALS >= least


def test_what_is_not_shown_is_not_steady() -> None:
    """The whole interval must be below the bound; at the bound is enough."""
    assert Slope(1, 0.5, 1.5, 9).verdict(1.5) is Verdict.STEADY
    assert Slope(1, 0.5, 1.5, 9).verdict(1.4) is Verdict.UNSURE
    assert Slope(1, 0.5, 1.5, 9).verdict(0.4) is Verdict.GROWS
    assert Slope(0, -math.inf, math.inf, 9).verdict(1e9) is Verdict.UNSURE


def test_a_leak_of_one_small_object_is_seen() -> None:
    """16 bytes for each request, in pages of 4096 and an allocator's arenas of a megabyte, over 100 000 requests."""
    xs = [2000.0 * n for n in range(SAMPLES)]
    arenas = [math.ceil(16 * x / 2**18) * 2.0**18 for x in xs]
    pages = [math.ceil(16 * x / 4096) * 4096.0 for x in xs]
    assert fit(xs, pages).verdict(10) is Verdict.GROWS
    assert fit(xs, arenas).verdict(10) is not Verdict.STEADY


def test_one_step_is_no_growth() -> None:
    """An arena that is taken once, in the middle: the line would rise, the bound holds."""
    xs = [2000.0 * n for n in range(SAMPLES)]
    once = [50e6 + (1e5 if x > 50_000 else 0) for x in xs]
    assert fit(xs, once).verdict(10) is Verdict.STEADY


def test_too_few_samples_say_nothing() -> None:
    """Three that do not lie on a line."""
    assert fit([1, 2, 3], [1, 5, 2]).verdict(1e6) is Verdict.UNSURE
