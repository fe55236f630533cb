"""Samples as the exposition formats write them: one line each, the same in the text format 0.0.4 and OpenMetrics 1.0.

What differs between the two is in the header of a metric alone (``exposition``). Labels stand in the order of their
names, so that a series reads the same in every scrape.
"""

from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Final

from proxy.observe.cells import Histogram

_INFINITY: Final = float("inf")
_PLAIN_BELOW: Final = 1e6
"""From here on a number is written with an exponent, as Go's clients do: some readers compare ``le`` as text."""


def number(value: float) -> str:
    """Write a sample's value or a bound: always a real number (``5.0``), ``+Inf``, ``-Inf`` or ``NaN``."""
    value = float(value)
    if -_INFINITY < value < _PLAIN_BELOW:
        return repr(value)
    if value == _INFINITY:
        return "+Inf"
    if value != value:  # noqa: PLR0124 - this is what NaN is
        return "NaN"
    if value < 0:
        return "-Inf"
    digits = repr(value)
    whole, point, rest = digits.partition(".")
    if not point or "e" in rest:
        return digits
    mantissa = f"{whole[0]}.{whole[1:]}{rest}".rstrip("0.")
    return f"{mantissa}e+{len(whole) - 1:02d}"


def escape(value: str) -> str:
    """Escape a label's value, in which any character may stand.

    A lone surrogate, which YAML can write, is no text: it would end every scrape with an error, so its name is shown.
    """
    if not value.isascii():
        value = value.encode("utf-8", "backslashreplace").decode()
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def write_labels(values: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Give each label by its name, and as it is written, in the order of the names."""
    return [(name, f'{name}="{escape(value)}"') for name, value in sorted(values)]


def single(name: str, labels: Sequence[tuple[str, str]], value: float) -> str:
    """Write the line of a counter or gauge."""
    return f"{_series(name, [written for _, written in labels])} {number(value)}\n"


def histogram(name: str, labels: Sequence[tuple[str, str]], bounds: Sequence[str], cell: Histogram) -> str:
    """Write the lines of one child: each bucket with what lies below it too, then count and sum.

    ``bounds`` are those of the cell as ``number`` writes them: the children of a metric have the same.
    """
    before = "".join(f"{written}," for label, written in labels if label < "le")
    after = "".join(f",{written}" for label, written in labels if label > "le")
    head, tail = f'{name}_bucket{{{before}le="', f'"{after}}} '
    counts = [*accumulate(cell.counts)]
    lines = [f"{head}{le}{tail}{number(count)}\n" for le, count in zip((*bounds, "+Inf"), counts, strict=True)]
    everything = [written for _, written in labels]
    lines.append(f"{_series(f'{name}_count', everything)} {number(counts[-1])}\n")
    lines.append(f"{_series(f'{name}_sum', everything)} {number(cell.total)}\n")
    return "".join(lines)


def _series(name: str, labels: Sequence[str]) -> str:
    return f"{name}{{{','.join(labels)}}}" if labels else name
