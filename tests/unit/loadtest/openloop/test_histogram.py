"""The histogram against the sorted values themselves."""

import math

from hypothesis import given
from hypothesis import strategies as st

from loadtest.openloop.histogram import ERROR, LINEAR_BITS, Histogram, last_of

PERCENTS = st.floats(min_value=0.0, max_value=100.0)


@given(st.lists(st.integers(0, 10**12), min_size=1), PERCENTS)
def test_never_too_low_and_at_most_a_thousandth_too_high(values: list[int], percent: float) -> None:
    """The error bound, for any values and any percentile."""
    rank = max(1, math.ceil(round(percent * len(values) / 100, 6)))
    true = sorted(values)[rank - 1]
    shown = Histogram(values).percentile(percent)
    assert true <= shown <= true * (1 + ERROR)
    assert ERROR <= 0.001


@given(st.integers(0, 1 << 62))
def test_a_bucket_ends_where_the_next_begins(value: int) -> None:
    """No value is counted for two buckets, none for a wrong one: alone, it is given back within the bound."""
    histogram = Histogram([value, 1 << 63])
    end = histogram.percentile(50)
    assert value <= end <= value * (1 + ERROR)
    assert Histogram([end, 1 << 63]).percentile(50) == end, "the end belongs to its bucket"
    assert Histogram([end + 1, 1 << 63]).percentile(50) > end, "and what follows does not"


def test_the_edges_of_the_buckets() -> None:
    """Exact as far as each bucket holds one value; then two, from the first octave that is halved."""
    exact = 1 << LINEAR_BITS + 1
    assert [last_of(bucket) for bucket in (0, 1, exact - 1, exact, exact + 1)] == [
        0,
        1,
        exact - 1,
        exact + 1,
        exact + 3,
    ]


def test_percentiles_of_a_known_set() -> None:
    """1 to 1000: the 99.9th percentile is the 999th, in spite of floating point; and the greatest is exact."""
    histogram = Histogram(range(1, 1001))
    assert [histogram.percentile(p) for p in (50, 99, 99.9, 99.99, 100)] == [500, 990, 999, 1000, 1000]
    assert (histogram.count, histogram.greatest) == (1000, 1000)
    assert Histogram([123_456_789]).percentile(99) == 123_456_789


def test_nothing_recorded() -> None:
    """Zero, not an exception."""
    assert Histogram().percentile(99) == 0
