"""The hot cells."""

import math

import pytest

from proxy.observe.cells import Age, Counter, Gauge, Histogram, Reading


def test_counter_counts() -> None:
    """One at a time, or several."""
    counter = Counter()
    counter.inc()
    counter.inc(3)
    assert counter.value == 4


def test_gauge_goes_both_ways() -> None:
    """Set, up, down."""
    gauge = Gauge()
    gauge.set(10)
    gauge.inc()
    gauge.dec(4)
    assert gauge.value == 7


@pytest.mark.parametrize(
    ("seconds", "index"),
    [(0.0, 0), (1.0, 0), (math.nextafter(1.0, 2), 1), (2.0, 1), (math.nextafter(2.0, 3), 2), (math.inf, 2)],
)
def test_histogram_counts_under_the_first_bound_that_is_not_below(seconds: float, index: int) -> None:
    """A value equal to a bound belongs under it, as ``le`` says; what is above all bounds comes last."""
    histogram = Histogram((1.0, 2.0))
    histogram.observe(seconds)
    assert [i for i, n in enumerate(histogram.counts) if n] == [index]


def test_histogram_sums() -> None:
    """The sum is that of the values."""
    histogram = Histogram((1.0,))
    for seconds in (0.25, 0.5, 4.0):
        histogram.observe(seconds)
    assert histogram.total == 4.75
    assert histogram.counts == [2, 1]


def test_age_is_computed_when_asked() -> None:
    """No age before the first time; then it grows with the clock; a clock set back makes 0."""
    clock = [100.0]
    age = Age(lambda: clock[0])
    values = [age.value]
    age.since = 90.0
    values.append(age.value)
    clock[0] = 50.0
    values.append(age.value)
    assert values == [None, 10.0, 0.0]


def test_reading_asks_its_reader() -> None:
    """No value without a reader."""
    reading = Reading()
    values = [reading.value]
    reading.read = lambda: 3
    values.append(reading.value)
    assert values == [None, 3]
