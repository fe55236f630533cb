"""Numbers, labels and lines, with prometheus_client as their judge."""

from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from prometheus_client.utils import floatToGoString
from support.prometheus import declared, read, written

from proxy.observe.cells import Gauge, Histogram
from proxy.observe.exposition import OPENMETRICS, TEXT, Piece, render
from proxy.observe.family import Family
from proxy.observe.lines import escape, histogram, number, single, write_labels
from proxy.observe.table import Declaration, Kind

FORMATS = pytest.mark.parametrize("content_type", [TEXT, OPENMETRICS])
LEVEL = Declaration(name="level", kind=Kind.GAUGE, help="L.", labels=("a", "z"), constants=(("m", "fixed"),))
TIMES = Declaration(name="t_seconds", kind=Kind.HISTOGRAM, help="T.", labels=("a", "z"), buckets=(1e-6, 0.5, 2.5, 1e7))
VALUES = st.tuples(st.text(), st.text())


@given(st.one_of(st.floats(), st.integers(-(2**1000), 2**1000)))
@example(999999.9999999999)
@example(1e6)
@example(1234567.25)
@example(100000000.0)
@example(1e16)
@example(1.5e300)
@example(-1e9)
@example(-0.0)
@example(5e-324)
def test_numbers_are_written_as_the_library_writes_them(value: float) -> None:
    """Counts that pass a million too: a series must not look different to a reader after an upgrade."""
    library: Callable[[float], str] = floatToGoString
    assert number(value) == library(value)


@given(st.floats(allow_nan=False))
def test_numbers_lose_nothing(value: float) -> None:
    """What is read is what was counted."""
    assert float(number(value)) == value


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("plain", "plain"),
        ('a"b', 'a\\"b'),
        ("a\nb", "a\\nb"),
        ("a\\b", "a\\\\b"),
        ("\\n", "\\\\n"),
        ('\\"', '\\\\\\"'),
        ("é漢", "é漢"),
        ("\ud800", "\\\\ud800"),
        ("\r\t\x00", "\r\t\x00"),
    ],
)
def test_escape(value: str, expected: str) -> None:
    """Backslash first, or the others would be escaped twice; half a surrogate pair is shown by its name."""
    assert escape(value) == expected


@given(st.text(alphabet=st.characters(exclude_categories=())))
def test_no_value_leaves_its_quotes(value: str) -> None:
    """Whatever it is: it can be encoded, it has no line feed, and every quote in it is escaped."""
    escaped = escape(value)
    escaped.encode()
    assert "\n" not in escaped
    assert '"' not in escaped.replace("\\\\", "").replace('\\"', "")


def test_labels_stand_in_order_and_le_among_them() -> None:
    """A label that sorts before ``le`` stands before it: the library's order, so that no series changes its text."""
    cell = Histogram((0.5,))
    cell.observe(0.25)
    cell.observe(4)
    text = histogram("t", write_labels([("z", "1"), ("a", "2")]), ["0.5"], cell)
    assert text.splitlines() == [
        't_bucket{a="2",le="0.5",z="1"} 1.0',
        't_bucket{a="2",le="+Inf",z="1"} 2.0',
        't_count{a="2",z="1"} 2.0',
        't_sum{a="2",z="1"} 4.25',
    ]


def test_without_labels_there_are_no_braces() -> None:
    """Except for the one that a bucket has."""
    assert single("x", (), 3) == "x 3.0\n"
    assert histogram("t", (), [], Histogram(())) == 't_bucket{le="+Inf"} 0.0\nt_count 0.0\nt_sum 0.0\n'


def _pieces(declaration: Declaration, values: tuple[str, str], cell: Gauge | Histogram) -> list[Piece]:
    family: Family[Gauge | Histogram] = Family(declaration, lambda: cell)
    family.learn(values)
    return [*family.pieces()]


@FORMATS
@given(values=VALUES, value=st.floats())
def test_any_gauge_is_written_as_the_library_writes_it(
    content_type: str, values: tuple[str, str], value: float
) -> None:
    """Byte for byte, whatever stands in the labels."""
    cell = Gauge()
    cell.set(value)
    ours = b"".join(render(_pieces(LEVEL, values, cell), content_type))
    assert ours == written([declared(LEVEL, [(values, cell)])], content_type)


@FORMATS
@given(values=VALUES, seen=st.lists(st.floats(0, 1e9)))
def test_any_histogram_is_written_and_read_as_the_library_does(
    content_type: str, values: tuple[str, str], seen: list[float]
) -> None:
    """Byte for byte; and its own reader finds the same values, labels and counts again."""
    cell = Histogram(TIMES.buckets)
    for seconds in seen:
        cell.observe(seconds)
    ours = b"".join(render(_pieces(TIMES, values, cell), content_type))
    assert ours == written([declared(TIMES, [(values, cell)])], content_type)
    samples = read(ours, content_type)["t_seconds"].samples
    assert all((sample.labels["a"], sample.labels["z"]) == values for sample in samples)
    found = {sample.labels.get("le", sample.name): sample.value for sample in samples}
    assert found["+Inf"] == found["t_seconds_count"] == len(seen)
    assert found["t_seconds_sum"] == cell.total
