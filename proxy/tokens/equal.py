"""When two values of JSON are one: RFC 6902 section 4.6, by type and value, at any depth."""

from typing import Any


def equal(one: Any, other: Any) -> bool:
    """Whether two JSON values are equal: 3 is 3.0, exactly; ``true`` is not 1, and "3" is not 3."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, int | float) and isinstance(other, int | float):
        return one == other  # exact in Python, also between the two
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(equal, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(equal(value, other[name]) for name, value in one.items())
    return type(one) is type(other) and bool(one == other)
