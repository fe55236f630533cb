"""Counts, durations and sizes, with their bounds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config.number import count, duration, size, write_duration, write_size
from proxy.config.value import Unfit


@pytest.mark.parametrize(
    ("raw", "seconds"),
    [
        ("5s", 5.0),
        ("500ms", 0.5),
        ("2m", 120.0),
        ("1h", 3600.0),
        ("1.5s", 1.5),
        ("0.25m", 15.0),
        ("7", 7.0),
        ("0.1", 0.1),
        ("0", 0.0),
    ],
)
def test_durations(raw: str, seconds: float) -> None:
    """A unit, or a plain number of seconds."""
    assert duration(0, 86400).parse(raw) == seconds


@pytest.mark.parametrize(
    "raw",
    [
        "",
        "s",
        "5 s",
        "5S",
        "5sec",
        "1m30s",
        "-1s",
        "+1",
        "1_0",
        "1e3",
        "05",
        ".5",
        "5.",
        "\u0665",
        "1:30",
        "inf",
        "nan",
    ],
)
def test_no_duration(raw: str) -> None:
    """One way to write it, in ASCII digits: what int() and float() take beyond that is refused."""
    with pytest.raises(Unfit):
        duration(0, 86400).parse(raw)


@pytest.mark.parametrize(
    ("raw", "number"), [("64KiB", 65536), ("1MiB", 1048576), ("8192", 8192), ("10B", 10), ("0", 0)]
)
def test_sizes(raw: str, number: int) -> None:
    """A unit of 1024, or a plain number of bytes."""
    assert size(0, 1 << 30).parse(raw) == number


@pytest.mark.parametrize("raw", ["", "64KB", "64K", "64kib", "1.5MiB", "1 MiB", "-1", "0x10", "1_000", "010", "1GiB"])
def test_no_size(raw: str) -> None:
    """KB is 1000 to some and 1024 to others, so it is nothing here."""
    with pytest.raises(Unfit):
        size(0, 1 << 30).parse(raw)


@pytest.mark.parametrize("raw", ["", "1.0", "1e3", "1_000", "+1", "-1", "007", "0x1f", "²", "9" * 5000])
def test_no_count(raw: str) -> None:
    """Digits, and nothing that only Python takes for a number."""
    with pytest.raises(Unfit):
        count(0, 10**15).parse(raw)


@pytest.mark.parametrize(
    ("kind", "low", "high", "below", "above"),
    [
        (count(2, 5), "2", "5", "1", "6"),
        (duration(0.5, 60), "500ms", "1m", "499ms", "60.001s"),
        (size(1024, 2048), "1KiB", "2048", "1023", "2049"),
    ],
)
def test_bounds(kind: object, low: str, high: str, below: str, above: str) -> None:
    """Both ends belong to the range; what is beyond is told both."""
    parse = kind.parse  # type: ignore[attr-defined]
    parse(low)
    parse(high)
    for outside in (below, above):
        with pytest.raises(Unfit, match="is out of bounds: from "):
            parse(outside)


@given(st.integers(0, 10**8))
def test_durations_are_written_as_they_are_read(milliseconds: int) -> None:
    """What an error or the schema shows can be pasted."""
    seconds = milliseconds / 1000
    assert duration(0, 10**9).parse(write_duration(seconds)) == seconds


@given(st.integers(0, 1 << 32))
def test_sizes_are_written_as_they_are_read(number: int) -> None:
    """The same for bytes."""
    assert size(0, 1 << 40).parse(write_size(number)) == number


def test_the_shortest_way_to_write() -> None:
    """As a person would."""
    assert [write_duration(s) for s in (0, 0.5, 1, 75, 60, 300, 3600)] == ["0s", "500ms", "1s", "75s", "1m", "5m", "1h"]
    assert [write_size(n) for n in (0, 256, 1024, 65536, 1 << 20)] == ["0", "256", "1KiB", "64KiB", "1MiB"]
