"""Numbers with bounds: counts, durations, sizes."""

import re
from collections.abc import Callable
from typing import TypeVar

from proxy.config.value import Unfit, Value

N = TypeVar("N", int, float)

KIB = 1024
MIB = 1024 * KIB
SECOND = 1.0
MINUTE = 60.0
HOUR = 3600.0
DAY = 86400.0

# One digit is ASCII here: \d and int() take the digits of every script.
_DURATION = re.compile(r"((?:0|[1-9][0-9]{0,9})(?:\.[0-9]{1,9})?)(ms|s|m|h)?")
_SIZE = re.compile(r"(0|[1-9][0-9]{0,12})(B|KiB|MiB)?")
_COUNT = re.compile(r"0|[1-9][0-9]{0,12}")

_UNITS_S = {"ms": 0.001, "s": SECOND, None: SECOND, "m": MINUTE, "h": HOUR}
_UNITS_BYTES = {"B": 1, None: 1, "KiB": KIB, "MiB": MIB}


def count(low: int, high: int) -> Value[int]:
    """A whole number from ``low`` to ``high``."""

    def parse(raw: str) -> int:
        if not _COUNT.fullmatch(raw):
            raise Unfit
        return _within(int(raw), low, high, str)

    return Value(
        expected="a whole number",
        example=str(max(low, 1)),
        parse=parse,
        json={"type": "integer", "minimum": low, "maximum": high},
        bare=frozenset({"str", "int"}),
        written=int,
        bounds=(low, high),
    )


def duration(low: float, high: float) -> Value[float]:
    """Seconds, written ``5s``, ``500ms``, ``2m``, ``1h``, or as a plain number."""

    def parse(raw: str) -> float:
        found = _DURATION.fullmatch(raw)
        if found is None:
            raise Unfit
        return _within(round(float(found[1]) * _UNITS_S[found[2]], 6), low, high, write_duration)

    numeric = {"type": "number", "minimum": low, "maximum": high}
    return Value(
        expected="a duration",
        example="500ms, 5s, 2m or 1h",
        parse=parse,
        json={"anyOf": [numeric, {"type": "string", "pattern": f"^{_DURATION.pattern}$"}]},
        bare=frozenset({"str", "int", "float"}),
        written=write_duration,
        bounds=(low, high),
    )


def size(low: int, high: int) -> Value[int]:
    """Bytes, written ``64KiB``, ``1MiB``, or as a plain number."""

    def parse(raw: str) -> int:
        found = _SIZE.fullmatch(raw)
        if found is None:
            raise Unfit
        return _within(int(found[1]) * _UNITS_BYTES[found[2]], low, high, write_size)

    numeric = {"type": "integer", "minimum": low, "maximum": high}
    return Value(
        expected="a size in bytes",
        example="64KiB or 1MiB",
        parse=parse,
        json={"anyOf": [numeric, {"type": "string", "pattern": f"^{_SIZE.pattern}$"}]},
        bare=frozenset({"str", "int"}),
        written=write_size,
        bounds=(low, high),
    )


def write_duration(seconds: float) -> str:
    """The shortest way to write it that reads back as the same."""
    for unit, factor in (("h", HOUR), ("m", MINUTE), ("s", SECOND)):
        if seconds and seconds % factor == 0:
            return f"{seconds / factor:.0f}{unit}"
    return f"{seconds * 1000:.0f}ms" if seconds else "0s"


def write_size(number: int) -> str:
    """The shortest way to write it that reads back as the same."""
    for unit, factor in (("MiB", MIB), ("KiB", KIB)):
        if number and number % factor == 0:
            return f"{number // factor}{unit}"
    return str(number)


def _within(number: N, low: N, high: N, write: Callable[[N], str]) -> N:
    if not low <= number <= high:
        raise Unfit(f"is out of bounds: from {write(low)} to {write(high)}")
    return number
